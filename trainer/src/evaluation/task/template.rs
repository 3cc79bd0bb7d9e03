//! Templates of prompts: `Question: {goal}\nAnswer:`. `{outer.inner}` and `{list.0}` are fields of a row, `{{` and `}}` the characters
//! themselves. Filters do to a field what published prompts do, several one after another: `{premise:strip:drop-last}`.
//!
//! | filter | what it writes |
//! |---|---|
//! | `strip` | no white space at the ends |
//! | `drop-last` | all but the last character |
//! | `lower-first` | a first letter small |
//! | `full-stop` | no white space at the ends, and a full stop at the end where there is none |
//! | `words` | blanks for `_` |

use serde::Deserialize;
use serde_json::Value;

use super::Row;
use crate::evaluation::metrics::is_space;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field { path: String, filters: Vec<Filter> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Strip,
    DropLast,
    LowerFirst,
    FullStop,
    Words,
}

impl Filter {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "strip" => Self::Strip,
            "drop-last" => Self::DropLast,
            "lower-first" => Self::LowerFirst,
            "full-stop" => Self::FullStop,
            "words" => Self::Words,
            _ => return None,
        })
    }

    fn apply(self, text: &str) -> String {
        match self {
            Self::Strip => text.trim_matches(is_space).to_owned(),
            Self::DropLast => {
                let mut characters = text.chars();
                characters.next_back();
                characters.as_str().to_owned()
            }
            Self::LowerFirst => {
                let mut characters = text.chars();
                let first = characters.next().into_iter().flat_map(char::to_lowercase);
                first.chain(characters).collect()
            }
            Self::FullStop => {
                let text = text.trim_matches(is_space);
                let stop = if text.ends_with('.') { "" } else { "." };
                format!("{text}{stop}")
            }
            Self::Words => text.replace('_', " "),
        }
    }
}

/// A template that was read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Template {
    written: String,
    parts: Vec<Part>,
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = written.as_str();
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = after;
            } else if brace == "}" {
                return Err(format!(
                    "`}}` without `{{` in {written:?}; write `}}}}` for the character itself"
                ));
            } else {
                let (field, after) = rest
                    .split_once('}')
                    .ok_or_else(|| format!("`{{` is never closed in {written:?}"))?;
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text)));
                }
                parts.push(field_of(field)?);
                rest = after;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Self { written, parts })
    }
}

fn field_of(written: &str) -> Result<Part, String> {
    let mut names = written.split(':');
    let path = names.next().unwrap_or_default().to_owned();
    if path.is_empty() || path.contains(|c: char| is_space(c) || c == '{') {
        return Err(format!("{written:?} in a template is no field of a row"));
    }
    let filters = names.map(|name| {
        Filter::named(name).ok_or_else(|| {
            format!("{name:?} is no filter; there are strip, drop-last, lower-first, full-stop and words")
        })
    });
    let filters = filters.collect::<Result<_, _>>()?;
    Ok(Part::Field { path, filters })
}

impl Template {
    /// As it was written.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The text of a row.
    ///
    /// # Errors
    /// The row has no such field, or it is a list or a table; a sentence says which.
    pub fn fill(&self, row: &Row) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { path, filters } => {
                    let mut value = text(row, path)?;
                    for filter in filters {
                        value = filter.apply(&value);
                    }
                    out.push_str(&value);
                }
            }
        }
        Ok(out)
    }
}

/// The field of a row at a path of names and positions.
pub(super) fn field<'a>(row: &'a Row, path: &str) -> Result<&'a Value, String> {
    let mut names = path.split('.');
    let first = names.next().and_then(|name| row.get(name));
    let found = names.fold(first, |value, name| match value? {
        Value::Object(table) => table.get(name),
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        _ => None,
    });
    found.ok_or_else(|| format!("the row has no field {path:?}"))
}

/// A field as text, a number as its digits.
pub(super) fn text(row: &Row, path: &str) -> Result<String, String> {
    scalar(field(row, path)?)
        .ok_or_else(|| format!("the field {path:?} is neither a text nor a number"))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// A field that is a list of texts.
pub(super) fn texts(row: &Row, path: &str) -> Result<Vec<String>, String> {
    let list = field(row, path)?.as_array();
    let texts = list.and_then(|list| list.iter().map(scalar).collect());
    texts.ok_or_else(|| format!("the field {path:?} is no list of texts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(json: serde_json::Value) -> Row {
        json.as_object().unwrap().clone()
    }

    fn fill(template: &str, json: serde_json::Value) -> Result<String, String> {
        Template::try_from(template.to_owned())?.fill(&row(json))
    }

    #[test]
    fn fields_are_found_and_filtered() {
        let json = serde_json::json!({"a": " Émile ran. ", "b": {"c": ["x_y", 7, null]}});
        assert_eq!(
            fill("{{{a:strip:drop-last}}}|{b.c.1}", json.clone()).unwrap(),
            "{Émile ran}|7"
        );
        assert_eq!(
            fill("{a:strip:lower-first} {b.c.0:words}", json.clone()).unwrap(),
            "émile ran. x y"
        );
        assert_eq!(fill("{a:full-stop}", json.clone()).unwrap(), "Émile ran.");
        for (template, problem) in [
            ("{d}", "the row has no field \"d\""),
            ("{b.c.9}", "the row has no field \"b.c.9\""),
            ("{b}", "the field \"b\" is neither a text nor a number"),
            ("{a", "`{` is never closed"),
            ("a}", "`}` without `{`"),
            ("{a:upper}", "\"upper\" is no filter"),
            ("{}", "is no field of a row"),
        ] {
            let error = fill(template, json.clone()).unwrap_err();
            assert!(error.contains(problem), "{template}: {error}");
        }
    }
}
