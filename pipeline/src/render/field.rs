//! A path to a value of a row: `text`, or `question.problem`, or `choices.0`.

use serde_json::Value;

use super::{RenderError, RenderFault};
use crate::read::Row;

/// Names from the row inwards; in a list, positions from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    written: String,
}

impl Path {
    pub(super) fn new(key: &'static str, written: &str) -> Result<Self, RenderError> {
        if written.split('.').any(|part| part.trim().is_empty()) {
            return Err(RenderError::Path {
                key,
                path: written.to_owned(),
            });
        }
        Ok(Self {
            written: written.to_owned(),
        })
    }

    /// The top-level field.
    pub(super) fn top(&self) -> &str {
        self.written.split('.').next().unwrap_or(&self.written)
    }

    pub(super) fn written(&self) -> &str {
        &self.written
    }

    pub(super) fn missing(&self) -> RenderFault {
        RenderFault::MissingField {
            field: self.written.clone(),
        }
    }

    pub(super) fn wrong(&self, expected: &'static str) -> RenderFault {
        RenderFault::WrongType {
            field: self.written.clone(),
            expected,
        }
    }

    /// The value, if it is there and not null.
    pub(super) fn get<'a>(&self, row: &'a Row) -> Option<&'a Value> {
        let mut parts = self.written.split('.');
        let mut value = row.get(parts.next()?)?;
        for part in parts {
            value = match value {
                Value::Object(object) => object.get(part)?,
                Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        (!value.is_null()).then_some(value)
    }

    /// Moves the value out of the row, if it is there and not null.
    pub(super) fn take(&self, row: &mut Row) -> Option<Value> {
        Some(self.get_mut(row)?.take()).filter(|value| !value.is_null())
    }

    /// The place of the value, if there is one.
    pub(super) fn get_mut<'a>(&self, row: &'a mut Row) -> Option<&'a mut Value> {
        let mut parts = self.written.split('.');
        let mut value = row.get_mut(parts.next()?)?;
        for part in parts {
            value = match value {
                Value::Object(object) => object.get_mut(part)?,
                Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// Moves the text out of the row.
    pub(super) fn take_text(&self, row: &mut Row) -> Result<String, RenderFault> {
        match self.take(row) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(self.wrong("a string")),
            None => Err(self.missing()),
        }
    }

    /// Moves the list out of the row.
    pub(super) fn take_list(&self, row: &mut Row) -> Result<Vec<Value>, RenderFault> {
        match self.take(row) {
            Some(Value::Array(items)) => Ok(items),
            Some(_) => Err(self.wrong("a list")),
            None => Err(self.missing()),
        }
    }

    /// The text inside the printed form of a Python bytes object, such as `b'Solve x.\n'`, white space at its ends
    /// taken off: `deepmind/math_dataset` was published with such strings.
    pub(super) fn python_bytes(&self, printed: &str) -> Result<String, RenderFault> {
        let wrong = || self.wrong("the printed form of a Python bytes object");
        let inner = printed.strip_prefix('b').ok_or_else(wrong)?;
        let quote = inner
            .chars()
            .next()
            .filter(|quote| matches!(quote, '\'' | '"'))
            .ok_or_else(wrong)?;
        let inner = inner[1..].strip_suffix(quote).ok_or_else(wrong)?;
        let mut bytes = Vec::with_capacity(inner.len());
        let mut rest = inner.bytes();
        while let Some(byte) = rest.next() {
            if byte != b'\\' {
                bytes.push(byte);
                continue;
            }
            bytes.push(match rest.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(b'r') => b'\r',
                Some(b'x') => {
                    let mut digit = || char::from(rest.next()?).to_digit(16);
                    let value = digit().zip(digit()).map(|(high, low)| high * 16 + low);
                    value
                        .and_then(|value| u8::try_from(value).ok())
                        .ok_or_else(wrong)?
                }
                Some(byte @ (b'\\' | b'\'' | b'"')) => byte,
                _ => return Err(wrong()),
            });
        }
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        Ok(text.trim().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> Row {
        match serde_json::json!({"a": "x", "b": {"c": ["y", null]}, "n": null}) {
            Value::Object(row) => row,
            _ => unreachable!(),
        }
    }

    #[test]
    fn paths_reach_into_objects_and_lists() {
        let at = |path: &str| Path::new("text", path).unwrap().get(&row()).cloned();
        assert_eq!(at("a"), Some("x".into()));
        assert_eq!(at("b.c.0"), Some("y".into()));
        for missing in ["z", "n", "a.b", "b.c.1", "b.c.2", "b.c.x", "b.d"] {
            assert_eq!(at(missing), None, "{missing}");
        }
        for wrong in ["", ".", "a.", " "] {
            assert!(Path::new("text", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_taken_text_is_gone() {
        let (mut row, path) = (row(), Path::new("text", "b.c.0").unwrap());
        assert_eq!(path.take_text(&mut row).unwrap(), "y");
        assert_eq!(
            path.take_text(&mut row).unwrap_err().reason(),
            "missing-field"
        );
        assert_eq!(
            Path::new("text", "b")
                .unwrap()
                .take_text(&mut row)
                .unwrap_err()
                .reason(),
            "wrong-type"
        );
    }

    #[test]
    fn printed_python_bytes_are_undone() {
        let path = Path::new("text", "q").unwrap();
        // The first is a row of math_dataset's card.
        for (printed, text) in [
            (
                r"b'Solve 14*r - 27*r = -78 for r.\n'",
                "Solve 14*r - 27*r = -78 for r.",
            ),
            (r#"b"it's""#, "it's"),
            (r"b'\xc3\xa9\\n'", "é\\n"),
        ] {
            assert_eq!(path.python_bytes(printed).unwrap(), text);
        }
        for wrong in [
            "", "b", "b'", "x", "b'a\"", r"b'\'", r"b'\xg0'", r"b'\xff'", r"b'\q'",
        ] {
            assert!(path.python_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
