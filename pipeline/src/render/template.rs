//! Templates: `Question: {question}\nAnswer: {answer}`.
//!
//! `{outer.inner}` is a field, `{label?no|yes}` chooses by a number from 0 or by false and true, and alternatives may
//! hold fields in turn: `{goal}\n{label?{sol1}|{sol2}}`. `{{`, `}}` and, in alternatives, `||` are the characters
//! themselves. A field that the manifest's `choices` table names is replaced by the text that its value has there.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

use super::field::Path;
use super::{RenderError, RenderFault};
use crate::read::Row;

/// Alternatives inside alternatives; nobody reads more.
const MAX_DEPTH: usize = 8;

#[derive(Debug, Clone)]
enum Part {
    Literal(String),
    Field {
        path: Path,
        words: Option<BTreeMap<String, String>>,
    },
    Choice {
        path: Path,
        alternatives: Vec<Vec<Self>>,
    },
}

/// A template that was read.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

type Words = BTreeMap<String, BTreeMap<String, String>>;

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    at: usize,
    words: &'a Words,
}

impl Parser<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.at += usize::from(next.is_some());
        next
    }

    fn fault(&self, problem: &'static str) -> RenderError {
        RenderError::Template {
            at: self.at,
            problem,
        }
    }

    /// Parts up to the end, or inside alternatives up to `|` or `}`, which is returned.
    fn parts(&mut self, depth: usize) -> Result<(Vec<Part>, Option<char>), RenderError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let end = loop {
            let Some(next) = self.next() else { break None };
            let doubled = self.rest.peek() == Some(&next);
            match next {
                '{' | '}' if doubled && (depth == 0 || next == '{') => {
                    self.next();
                    literal.push(next);
                }
                '|' if depth > 0 && doubled => {
                    self.next();
                    literal.push('|');
                }
                '|' | '}' if depth > 0 => break Some(next),
                '}' => return Err(self.fault("} without {; write }} for the character itself")),
                '{' => {
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(self.field(depth)?);
                }
                _ => literal.push(next),
            }
        };
        if depth > 0 && end.is_none() {
            return Err(self.fault("{ is never closed"));
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok((parts, end))
    }

    fn field(&mut self, depth: usize) -> Result<Part, RenderError> {
        let mut name = String::new();
        loop {
            match self.next() {
                Some('}') => {
                    let path = Path::new("template", name.trim())?;
                    let words = self.words.get(path.written()).cloned();
                    return Ok(Part::Field { path, words });
                }
                Some('?') => break,
                Some('{') => {
                    return Err(
                        self.fault("{ inside a field name; write {{ for the character itself")
                    );
                }
                Some(next) => name.push(next),
                None => return Err(self.fault("{ is never closed")),
            }
        }
        if depth >= MAX_DEPTH {
            return Err(self.fault("alternatives are nested too deep"));
        }
        let path = Path::new("template", name.trim())?;
        let mut alternatives = Vec::new();
        loop {
            let (parts, end) = self.parts(depth + 1)?;
            alternatives.push(parts);
            if end == Some('}') {
                return Ok(Part::Choice { path, alternatives });
            }
        }
    }
}

impl Template {
    pub(super) fn new(written: &str, words: &Words) -> Result<Self, RenderError> {
        let mut parser = Parser {
            rest: written.chars().peekable(),
            at: 0,
            words,
        };
        let template = Self(parser.parts(0)?.0);
        let mut used = BTreeSet::new();
        paths(&template.0, &mut |path| {
            used.insert(path.written().to_owned());
        });
        if used.is_empty() {
            return Err(parser.fault("the template names no field"));
        }
        if words.keys().any(|name| !used.contains(name)) {
            return Err(RenderError::Unused {
                key: "choices",
                with: "fields that the template names",
            });
        }
        Ok(template)
    }

    /// Adds the top-level fields.
    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        paths(&self.0, &mut |path| {
            fields.insert(path.top().to_owned());
        });
    }

    pub(super) fn fill(&self, row: &Row, python_bytes: bool) -> Result<String, RenderFault> {
        let mut text = String::new();
        fill(&self.0, row, python_bytes, &mut text)?;
        Ok(text)
    }
}

fn paths(parts: &[Part], each: &mut dyn FnMut(&Path)) {
    for part in parts {
        match part {
            Part::Literal(_) => {}
            Part::Field { path, .. } => each(path),
            Part::Choice { path, alternatives } => {
                each(path);
                alternatives.iter().for_each(|parts| paths(parts, each));
            }
        }
    }
}

fn fill(
    parts: &[Part],
    row: &Row,
    python_bytes: bool,
    text: &mut String,
) -> Result<(), RenderFault> {
    for part in parts {
        match part {
            Part::Literal(literal) => text.push_str(literal),
            Part::Field { path, words: None } => match path.get(row) {
                Some(Value::String(value)) if python_bytes => {
                    text.push_str(&path.python_bytes(value)?);
                }
                Some(Value::String(value)) => text.push_str(value),
                Some(value) => text.push_str(&scalar(path, value)?),
                None => return Err(path.missing()),
            },
            Part::Field {
                path,
                words: Some(words),
            } => {
                let value = path.get(row).ok_or_else(|| path.missing())?;
                let value = scalar(path, value)?;
                text.push_str(words.get(&value).ok_or_else(|| no_choice(path, value))?);
            }
            Part::Choice { path, alternatives } => {
                let value = path.get(row).ok_or_else(|| path.missing())?;
                let number = match value {
                    Value::Bool(value) => Some(i64::from(*value)),
                    value => value.as_i64(),
                };
                let number = number.ok_or_else(|| path.wrong("a number or a boolean"))?;
                let chosen = usize::try_from(number)
                    .ok()
                    .and_then(|number| alternatives.get(number));
                let chosen = chosen.ok_or_else(|| no_choice(path, number.to_string()))?;
                fill(chosen, row, python_bytes, text)?;
            }
        }
    }
    Ok(())
}

/// A label without a text. Test splits are published with -1 in place of every label.
fn no_choice(path: &Path, value: String) -> RenderFault {
    let field = path.written().to_owned();
    if value == "-1" {
        RenderFault::Unlabelled { field }
    } else {
        RenderFault::UnknownChoice { field, value }
    }
}

fn scalar(path: &Path, value: &Value) -> Result<String, RenderFault> {
    match value {
        Value::String(value) => Ok(value.clone()),
        Value::Number(value) => Ok(value.to_string()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(path.wrong("a string, number or boolean"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(written: &str, row: Value) -> Result<String, RenderFault> {
        let Value::Object(row) = row else {
            unreachable!()
        };
        Template::new(written, &Words::new())
            .unwrap()
            .fill(&row, false)
    }

    fn refused(written: &str) -> String {
        Template::new(written, &Words::new())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn fields_and_doubled_braces_fill_in() {
        let row = serde_json::json!({"q": "2 {x}", "a": {"b": [4.5]}, "t": true});
        assert_eq!(
            filled("Q: {q}\nA: {a.b.0} {t} {{q}} | ?", row).unwrap(),
            "Q: 2 {x}\nA: 4.5 true {q} | ?"
        );
    }

    #[test]
    fn labels_choose_alternatives_with_fields_of_their_own() {
        let row = |label: Value| serde_json::json!({"goal": "g", "sol1": "one", "sol2": "two", "label": label});
        let written = "{goal}\n{label?{sol1}|{sol2}}";
        assert_eq!(filled(written, row(0.into())).unwrap(), "g\none");
        assert_eq!(filled(written, row(1.into())).unwrap(), "g\ntwo");
        assert_eq!(
            filled("{label?no|yes||no}", row(true.into())).unwrap(),
            "yes|no"
        );
        assert_eq!(filled("{label?|{{{sol2}}", row(1.into())).unwrap(), "{two");
        for (label, reason) in [
            (Value::from(-1), "unlabelled"),
            (2.into(), "unknown-choice"),
            (Value::Null, "missing-field"),
            ("x".into(), "wrong-type"),
        ] {
            assert_eq!(filled(written, row(label)).unwrap_err().reason(), reason);
        }
    }

    #[test]
    fn words_replace_values() {
        let words = |value: &str| BTreeMap::from([("effect".to_owned(), value.to_owned())]);
        let words = Words::from([("q".to_owned(), words("therefore"))]);
        let template = Template::new("{q}", &words).unwrap();
        let row = |value: &str| Row::from_iter([("q".to_owned(), value.into())]);
        assert_eq!(template.fill(&row("effect"), false).unwrap(), "therefore");
        assert_eq!(
            template.fill(&row("cause"), false).unwrap_err().reason(),
            "unknown-choice"
        );
        assert!(Template::new("{p}", &words).is_err());
    }

    #[test]
    fn what_cannot_be_read_is_placed() {
        assert!(refused("ab{q").contains("character 4"));
        for written in [
            "}", "{a}}", "{}", "{a?b", "{a?b|", "{a{b}}", "{a..b}", "no field", "",
        ] {
            refused(written);
        }
        refused(&"{a?".repeat(100));
    }
}
