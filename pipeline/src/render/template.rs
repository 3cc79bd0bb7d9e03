//! Templates: `Question: {question}\nAnswer: {answer}`.
//!
//! `{outer.inner}` is a field, `{label?no|yes}` chooses by a number from 0 or by false and true, and alternatives may
//! hold fields in turn: `{goal}\n{label?{sol1}|{sol2}}`. `{{`, `}}` and, in alternatives, `||` are the characters
//! themselves. A field that the manifest's `choices` table names is replaced by the text that its value has there; inside
//! one that its `replace` table names, stretches are replaced by templates of their own.
//!
//! `{field:lower-first}` writes a first letter small, `{field:no-stop}` leaves out a full stop at the end, `{field:round-1}`
//! writes a number with one digit after the point: what the published prompts of some tasks do to join their parts.

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
        replace: Vec<(String, Vec<Self>)>,
        filter: Option<Filter>,
    },
    Choice {
        path: Path,
        alternatives: Vec<Vec<Self>>,
    },
}

/// What is done to a field's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    LowerFirst,
    NoStop,
    RoundOne,
}

impl Filter {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "lower-first" => Self::LowerFirst,
            "no-stop" => Self::NoStop,
            "round-1" => Self::RoundOne,
            _ => return None,
        })
    }

    fn apply(self, text: &str, path: &Path) -> Result<String, RenderFault> {
        Ok(match self {
            Self::LowerFirst => {
                let mut rest = text.chars();
                let first = rest.next().into_iter().flat_map(char::to_lowercase);
                first.chain(rest).collect()
            }
            Self::NoStop => text.strip_suffix('.').unwrap_or(text).to_owned(),
            Self::RoundOne => {
                let number: f64 = text.parse().map_err(|_| path.wrong("a number"))?;
                if number == -1.0 {
                    return Err(no_choice(path, "-1".to_owned()));
                }
                format!("{number:.1}")
            }
        })
    }
}

/// A template that was read.
#[derive(Debug, Clone)]
pub(super) struct Template(Vec<Part>);

type Words = BTreeMap<String, BTreeMap<String, String>>;

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
    at: usize,
    words: &'a Words,
    replace: &'a Words,
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
                    let (name, filter) = match name.split_once(':') {
                        Some((name, filter)) => {
                            let found = Filter::named(filter.trim());
                            let unknown =
                                "this is no filter; there are lower-first, no-stop and round-1";
                            (name, Some(found.ok_or_else(|| self.fault(unknown))?))
                        }
                        None => (name.as_str(), None),
                    };
                    let path = Path::new("template", name.trim())?;
                    let words = self.words.get(path.written()).cloned();
                    let mut replace = Vec::new();
                    for (stretch, template) in
                        self.replace.get(path.written()).into_iter().flatten()
                    {
                        if stretch.is_empty() {
                            return Err(RenderError::Value {
                                key: "replace",
                                problem: "the stretch to replace must not be empty",
                            });
                        }
                        // What stands in for a stretch has no replacements of its own.
                        let none = Words::new();
                        let mut inner = Parser {
                            rest: template.chars().peekable(),
                            at: 0,
                            words: &none,
                            replace: &none,
                        };
                        replace.push((stretch.clone(), inner.parts(0)?.0));
                    }
                    return Ok(Part::Field {
                        path,
                        words,
                        replace,
                        filter,
                    });
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
    pub(super) fn new(written: &str, words: &Words, replace: &Words) -> Result<Self, RenderError> {
        let mut parser = Parser {
            rest: written.chars().peekable(),
            at: 0,
            words,
            replace,
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
        if replace.keys().any(|name| !used.contains(name)) {
            return Err(RenderError::Unused {
                key: "replace",
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
            Part::Field { path, replace, .. } => {
                each(path);
                replace.iter().for_each(|(_, parts)| paths(parts, each));
            }
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
            Part::Field {
                path,
                words: None,
                replace,
                filter,
            } => {
                let value = match path.get(row) {
                    Some(Value::String(value)) if python_bytes => path.python_bytes(value)?,
                    Some(value) => scalar(path, value)?,
                    None => return Err(path.missing()),
                };
                let value = match filter {
                    Some(filter) => filter.apply(&value, path)?,
                    None => value,
                };
                let mut rest = value.as_str();
                // The stretch that occurs first; of two at one place, the longer.
                while let Some((at, stretch, parts)) = replace
                    .iter()
                    .filter_map(|(stretch, parts)| {
                        Some((rest.find(stretch.as_str())?, stretch, parts))
                    })
                    .min_by_key(|(at, stretch, _)| (*at, std::cmp::Reverse(stretch.len())))
                {
                    text.push_str(&rest[..at]);
                    fill(parts, row, python_bytes, text)?;
                    rest = &rest[at + stretch.len()..];
                }
                text.push_str(rest);
            }
            Part::Field {
                path,
                words: Some(words),
                ..
            } => {
                let value = path.get(row).ok_or_else(|| path.missing())?;
                let value = scalar(path, value)?;
                text.push_str(words.get(&value).ok_or_else(|| no_choice(path, value))?);
            }
            Part::Choice { path, alternatives } => {
                let value = path.get(row).ok_or_else(|| path.missing())?;
                let number = match value {
                    Value::Bool(value) => Some(i64::from(*value)),
                    // HellaSwag publishes its labels as text, and those of its test split as an empty one.
                    Value::String(value) if value.is_empty() => Some(-1),
                    Value::String(value) => value.parse().ok(),
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
        Template::new(written, &Words::new(), &Words::new())
            .unwrap()
            .fill(&row, false)
    }

    fn refused(written: &str) -> String {
        Template::new(written, &Words::new(), &Words::new())
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
        let template = Template::new("{q}", &words, &Words::new()).unwrap();
        let row = |value: &str| Row::from_iter([("q".to_owned(), value.into())]);
        assert_eq!(template.fill(&row("effect"), false).unwrap(), "therefore");
        assert_eq!(
            template.fill(&row("cause"), false).unwrap_err().reason(),
            "unknown-choice"
        );
        assert!(Template::new("{p}", &words, &Words::new()).is_err());
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

    #[test]
    fn stretches_are_replaced_and_filters_applied() {
        let words = |text: &str| -> Words { toml::from_str(text).unwrap() };
        let row = match serde_json::json!({"q": "@p saw @p, @q.", "a": ["Ann"], "n": 3.799_999_952, "e": "It was."})
        {
            Value::Object(row) => row,
            _ => unreachable!(),
        };
        let filled = |template: &str, replace: &str| {
            let template = Template::new(template, &Words::new(), &words(replace)).unwrap();
            template.fill(&row, false)
        };
        assert_eq!(
            filled("{q}", "q = { \"@p\" = \"{a.0}\", \"@q\" = \"<{{}}>\" }").unwrap(),
            "Ann saw Ann, <{}>."
        );
        assert_eq!(
            filled("{n:round-1} {e:lower-first} {e:no-stop}", "").unwrap(),
            "3.8 it was. It was"
        );
        assert!(filled("{e:round-1}", "").is_err());
        let refused = |template: &str, replace: &str| {
            Template::new(template, &Words::new(), &words(replace))
                .unwrap_err()
                .to_string()
        };
        assert!(refused("{q:shout}", "").contains("no filter"));
        assert!(refused("{q}", "z = { a = \"b\" }").contains("replace"));
        assert!(refused("{q}", "q = { \"\" = \"b\" }").contains("must not be empty"));
        assert!(refused("{q}", "q = { a = \"{b\" }").contains("never closed"));
        // A row without what stands in for a stretch is a fault, not a text with a hole.
        assert!(filled("{q}", "q = { \"@p\" = \"{z}\" }").is_err());
    }
}
