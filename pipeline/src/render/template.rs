//! Templates: `Question: {question}\nAnswer: {answer}`.
//!
//! `{outer.inner}` is a field, `{label?no|yes}` chooses by a number from 0 or by false and true, and alternatives may
//! hold fields in turn: `{goal}\n{label?{sol1}|{sol2}}`. `{{`, `}}` and, in alternatives, `||` are the characters
//! themselves. A field that the manifest's `choices` table names is replaced by the text that its value has there; inside
//! one that its `replace` table names, stretches are replaced by templates of their own.
//!
//! Filters do to a field what the published prompts of some tasks do to join their parts; several apply one after another,
//! `{text:star(place, words):detokenize}`:
//!
//! | filter | what it writes |
//! |---|---|
//! | `lower-first` | a first letter small |
//! | `strip` | no white space at the ends |
//! | `no-stop` | no full stop at the end |
//! | `full-stop` | no white space at the ends, and a full stop at the end |
//! | `round-1` | a number with one digit after the point |
//! | `characters(from, to)` | the characters from one position up to another, both fields of the row |
//! | `star(place, words)` | asterisks around `words`, which stand at that place, counted in words from 0 |
//! | `detokenize` | no blanks before and after the marks that tokenized English sets apart |
//! | `highlights` | an article's `@highlight` lines as a list |
//! | `at(label)` | of a list, the item at that position |
//! | `where(labels, label)` | of a list, the item at the position that `label` has in the list `labels` |

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
        filters: Vec<Filter>,
    },
    Choice {
        path: Path,
        alternatives: Vec<Vec<Self>>,
    },
}

/// What is done to a field's value.
#[derive(Debug, Clone)]
enum Filter {
    LowerFirst,
    Strip,
    NoStop,
    FullStop,
    RoundOne,
    Characters { from: Path, to: Path },
    Star { place: Path, words: Path },
    Detokenize,
    Highlights,
    At { label: Path },
    Where { labels: Path, label: Path },
}

const UNKNOWN_FILTER: &str = "this is no filter; there are lower-first, strip, no-stop, full-stop, round-1, \
                              characters(from, to), star(place, words), detokenize, highlights, at(label) and \
                              where(labels, label)";

impl Filter {
    /// `None` for a name that is none, or one with other arguments than it takes.
    fn named(written: &str) -> Result<Option<Self>, RenderError> {
        let (name, arguments) = match written.split_once('(') {
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(arguments) => (name.trim(), arguments.split(',').map(str::trim).collect()),
                None => return Ok(None),
            },
            None => (written, Vec::new()),
        };
        let path = |written: &str| Path::new("template", written);
        Ok(Some(match (name, arguments.as_slice()) {
            ("lower-first", []) => Self::LowerFirst,
            ("strip", []) => Self::Strip,
            ("no-stop", []) => Self::NoStop,
            ("full-stop", []) => Self::FullStop,
            ("round-1", []) => Self::RoundOne,
            ("characters", [from, to]) => Self::Characters {
                from: path(from)?,
                to: path(to)?,
            },
            ("star", [place, words]) => Self::Star {
                place: path(place)?,
                words: path(words)?,
            },
            ("detokenize", []) => Self::Detokenize,
            ("highlights", []) => Self::Highlights,
            ("at", [label]) => Self::At {
                label: path(label)?,
            },
            ("where", [labels, label]) => Self::Where {
                labels: path(labels)?,
                label: path(label)?,
            },
            _ => return Ok(None),
        }))
    }

    /// The fields that its arguments name.
    fn arguments(&self) -> Vec<&Path> {
        match self {
            Self::Characters { from, to } => vec![from, to],
            Self::Star { place, words } => vec![place, words],
            Self::At { label } => vec![label],
            Self::Where { labels, label } => vec![labels, label],
            Self::LowerFirst
            | Self::Strip
            | Self::NoStop
            | Self::FullStop
            | Self::RoundOne
            | Self::Detokenize
            | Self::Highlights => Vec::new(),
        }
    }

    /// Of a list, the item that the filter chooses; `None` for a filter of texts.
    fn item<'a>(
        &self,
        list: &'a Value,
        path: &Path,
        row: &Row,
    ) -> Option<Result<&'a Value, RenderFault>> {
        let choose = |label: &Path, place: Option<usize>, written: String| {
            let items = list.as_array().ok_or_else(|| path.wrong("a list"))?;
            let chosen = place.and_then(|place| items.get(place));
            chosen.ok_or_else(|| no_choice(label, written))
        };
        match self {
            Self::At { label } => Some(text_of(label, row).and_then(|written| {
                // HellaSwag's test rows have an empty label where others have -1.
                let written = if written.is_empty() {
                    "-1".to_owned()
                } else {
                    written
                };
                choose(label, written.parse().ok(), written)
            })),
            Self::Where { labels, label } => Some(text_of(label, row).and_then(|written| {
                let names = match labels.get(row) {
                    Some(Value::Array(names)) => names,
                    Some(_) => return Err(labels.wrong("a list")),
                    None => return Err(labels.missing()),
                };
                let place = names.iter().position(|name| *name == *written);
                choose(label, place, written)
            })),
            _ => None,
        }
    }

    fn apply(&self, text: String, path: &Path, row: &Row) -> Result<String, RenderFault> {
        Ok(match self {
            Self::LowerFirst => {
                let mut rest = text.chars();
                let first = rest.next().into_iter().flat_map(char::to_lowercase);
                first.chain(rest).collect()
            }
            Self::Strip => text.trim().to_owned(),
            Self::NoStop => text.strip_suffix('.').unwrap_or(&text).to_owned(),
            Self::FullStop => {
                let text = text.trim();
                format!("{}.", text.strip_suffix('.').unwrap_or(text))
            }
            Self::RoundOne => {
                let number: f64 = text.parse().map_err(|_| path.wrong("a number"))?;
                if number == -1.0 {
                    return Err(no_choice(path, "-1".to_owned()));
                }
                format!("{number:.1}")
            }
            Self::Characters { from, to } => {
                let (from, to) = (position(from, row)?, position(to, row)?);
                let range = from..to;
                let inside = text.chars().skip(from).take(range.len());
                let inside: String = inside.collect();
                if inside.is_empty() || inside.chars().count() < range.len() {
                    return Err(path.wrong("a text as long as its span says"));
                }
                inside
            }
            Self::Star { place, words } => {
                let (place, words) = (position(place, row)?, text_of(words, row)?);
                starred(&text, place, &words)
                    .ok_or_else(|| path.wrong("a text with the words at their place"))?
            }
            Self::Detokenize => detokenized(&text),
            Self::Highlights => highlights(&text),
            Self::At { .. } | Self::Where { .. } => {
                return Err(path.wrong("a list, with the filter that chooses in it first"));
            }
        })
    }
}

/// A position that a field states.
fn position(path: &Path, row: &Row) -> Result<usize, RenderFault> {
    let value = path.get(row).ok_or_else(|| path.missing())?;
    let number = value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| path.wrong("a position"))
}

/// A field's text, of a number its digits.
fn text_of(path: &Path, row: &Row) -> Result<String, RenderFault> {
    scalar(path, path.get(row).ok_or_else(|| path.missing())?)
}

/// The text with asterisks around `words`; `None` if they do not stand at that place, capitals apart.
fn starred(text: &str, place: usize, words: &str) -> Option<String> {
    let mut starts = text.char_indices().scan(true, |blank, (at, c)| {
        let start = std::mem::replace(blank, c.is_whitespace()) && !c.is_whitespace();
        Some(start.then_some(at))
    });
    let from = starts.by_ref().flatten().nth(place)?;
    let to = from + words.len();
    let there = text.get(from..to)?;
    if words.is_empty() || there.to_lowercase() != words.to_lowercase() {
        return None;
    }
    Some(format!("{}*{words}*{}", &text[..from], &text[to..]))
}

/// Blanks taken out as the evaluation harness does it for the Winograd sentences of `SuperGLUE`.
fn detokenized(text: &str) -> String {
    let mut text = text.to_owned();
    for (apart, joined) in [
        (" n't", "n't"),
        (" )", ")"),
        ("( ", "("),
        ("\" ", "\""),
        (" \"", "\""),
        (" '", "'"),
        (" .", "."),
        (" ,", ","),
    ] {
        text = text.replace(apart, joined);
    }
    text
}

/// `ReCoRD`'s articles end in points that stand after lines of `@highlight`.
fn highlights(text: &str) -> String {
    let mut parts = text.trim().split("\n@highlight\n");
    let mut out = parts.next().unwrap_or_default().to_owned();
    out.push_str("\n\n");
    for point in parts {
        out.extend(["  - ", point, ".\n"]);
    }
    out
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
                    let mut parts = name.split(':');
                    let name = parts.next().unwrap_or_default();
                    let filters = parts
                        .map(|filter| {
                            let found = Filter::named(filter.trim())?;
                            found.ok_or_else(|| self.fault(UNKNOWN_FILTER))
                        })
                        .collect::<Result<Vec<_>, _>>()?;
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
                        filters,
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
            Part::Field {
                path,
                replace,
                filters,
                ..
            } => {
                each(path);
                filters
                    .iter()
                    .flat_map(Filter::arguments)
                    .for_each(&mut *each);
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
                filters,
            } => {
                let mut value = path.get(row).ok_or_else(|| path.missing())?;
                let mut filters = filters.as_slice();
                if let [first, rest @ ..] = filters
                    && let Some(item) = first.item(value, path, row)
                {
                    (value, filters) = (item?, rest);
                }
                let mut value = match value {
                    Value::String(value) if python_bytes => path.python_bytes(value)?,
                    value => scalar(path, value)?,
                };
                for filter in filters {
                    value = filter.apply(value, path, row)?;
                }
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

    #[test]
    fn filters_take_what_other_fields_say() {
        let row = serde_json::json!({
            "w": "Crème brûlée tastes good .", "from": 6, "to": 12, "far": 99,
            "t": "The cat saw the dog , and It ran ( fast ) .", "i": 7, "p": "it", "j": 5,
            "h": "An article.\n@highlight\nOne point\n@highlight\nAnother\n",
            "e": ["first", "second"], "l": "1", "n": -1, "none": "",
            "c": {"text": ["red", "blue"], "label": ["A", "B"]}, "k": "B", "z": "Z",
            "s": " It is so ", "d": "It is so.",
        });
        let filled = |template: &str| filled(template, row.clone());
        for (template, text) in [
            ("{w:characters(from, to)}", "brûlée"),
            (
                "{t:star(i, p):detokenize}",
                "The cat saw the dog, and *it* ran (fast).",
            ),
            (
                "{h:highlights}",
                "An article.\n\n  - One point.\n  - Another.\n",
            ),
            ("{e:at(l)} {e:at(l):lower-first}", "second second"),
            ("{c.text:where(c.label, k)}", "blue"),
            (
                "{s:full-stop}|{d:full-stop}|{s:strip}",
                "It is so.|It is so.|It is so",
            ),
        ] {
            assert_eq!(filled(template).unwrap(), text, "{template}");
        }
        for (template, reason) in [
            ("{w:characters(from, far)}", "wrong-type"),
            ("{w:characters(to, from)}", "wrong-type"),
            ("{w:characters(n, to)}", "wrong-type"),
            ("{t:star(j, p)}", "wrong-type"),
            ("{t:star(far, p)}", "wrong-type"),
            ("{e:at(n)}", "unlabelled"),
            ("{e:at(none)}", "unlabelled"),
            ("{e:at(far)}", "unknown-choice"),
            ("{w:at(l)}", "wrong-type"),
            ("{w:strip:at(l)}", "wrong-type"),
            ("{c.text:where(c.label, z)}", "unknown-choice"),
            ("{c.text:where(w, z)}", "wrong-type"),
            ("{e:at(absent)}", "missing-field"),
        ] {
            assert_eq!(filled(template).unwrap_err().reason(), reason, "{template}");
        }
        for written in [
            "{a:at}",
            "{a:at(}",
            "{a:at(b, c)}",
            "{a:strip(b)}",
            "{a:at()}",
        ] {
            refused(written);
        }
        let written = "{t:star(i, p)} {e:at(l)}";
        let mut fields = BTreeSet::new();
        let template = Template::new(written, &Words::new(), &Words::new()).unwrap();
        template.fields(&mut fields);
        assert_eq!(
            fields.into_iter().collect::<Vec<_>>(),
            ["e", "i", "l", "p", "t"]
        );
    }
}
