//! What people write: strict TOML with every problem reported at once.
//!
//! An unknown key or a wrong type is an error that shows the file, the line, a caret and what was probably meant. The
//! TOML reader stops at its first complaint, so the offending entry is taken out of the parsed table (or a missing one put
//! in) and the rest read again, until nothing new is found.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

/// One thing wrong with a written file, with the place and, where one is known, the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file it is in, or the folder a selection was made from.
    pub file: PathBuf,
    /// Line and column, both from 1, and the text of that line with the length to underline.
    pub place: Option<Place>,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// A place in a written file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Line number, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The whole line.
    pub text: String,
    /// Characters to underline, at least 1.
    pub length: usize,
}

impl Problem {
    /// A problem of a whole file.
    pub fn of_file(
        file: &Path,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) -> Self {
        Self {
            file: file.to_path_buf(),
            place: None,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A problem at the entry `keys` (outermost first; an item of a list by its number) of `source`; the file as a whole
    /// when there is no such entry.
    pub fn at(file: &Path, source: &str, keys: &[&str], message: impl Into<String>) -> Self {
        let place = DeTable::parse(source).ok().and_then(|table| {
            let span = find(table.get_ref(), keys)?;
            Some(place(source, span))
        });
        Self {
            file: file.to_path_buf(),
            place,
            message: message.into(),
            hint: None,
        }
    }

    /// The same problem with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            None => write!(f, "{}: {}", self.file.display(), self.message)?,
            Some(place) => {
                let gutter = place.line.to_string().len();
                let pad = " ".repeat(gutter);
                writeln!(
                    f,
                    "{}:{}:{}: {}",
                    self.file.display(),
                    place.line,
                    place.column,
                    self.message
                )?;
                writeln!(f, "{pad} |")?;
                writeln!(f, "{} | {}", place.line, place.text)?;
                // Tabs stay tabs, so that the caret stands under the key whatever their width.
                let lead: String = place
                    .text
                    .chars()
                    .take(place.column - 1)
                    .map(|c| if c == '\t' { '\t' } else { ' ' })
                    .collect();
                write!(f, "{pad} | {lead}{}", "^".repeat(place.length))?;
            }
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// All problems of a catalogue or recipe; printed one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                writeln!(f, "\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Reads `source` as a `T`, or says everything that is wrong with it, in the order of the lines.
pub fn parse<T: DeserializeOwned>(file: &Path, source: &str) -> Result<T, Vec<Problem>> {
    // Broken syntax hides what stands behind it: its first place is told, and nothing that follows from it.
    let (mut table, faults) = DeTable::parse_recoverable(source);
    let start = |fault: &toml::de::Error| fault.span().map_or(0, |span| span.start);
    if let Some(fault) = faults.iter().min_by_key(|fault| start(fault)) {
        return Err(vec![Problem {
            file: file.to_path_buf(),
            place: fault.span().map(|span| place(source, span)),
            message: fault.message().trim().replace('\n', "; "),
            hint: None,
        }]);
    }
    let mut problems: Vec<(usize, Problem)> = Vec::new();
    let mut removed: Vec<String> = Vec::new();
    let mut stand_ins: Vec<StandIn> = Vec::new();
    while problems.len() < MOST_PROBLEMS {
        let error = match T::deserialize(toml::de::Deserializer::from(table.clone())) {
            Ok(value) if problems.is_empty() => return Ok(value),
            Ok(_) => break,
            Err(error) => error,
        };
        let message = error.message().trim().replace('\n', "; ");
        let span = error.span();
        let missing = message
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'));
        let put_in = span
            .as_ref()
            .and_then(|span| span.start.checked_sub(source.len() + 1));
        if let (Some(i), None) = (put_in, missing) {
            // The complaint is of what was put in below, not of what was written.
            let exhausted = stand_ins.get_mut(i).is_none_or(|stand_in| {
                stand_in.tried += 1;
                !stand_in.put(&mut table, source.len() + 1 + i)
            });
            if exhausted {
                break;
            }
            continue;
        }
        // A required entry that was taken out for another fault is not also missing.
        if put_in.is_none() && missing.is_none_or(|name| !removed.iter().any(|key| key == name)) {
            problems.push((
                span.as_ref().map_or(0, |span| span.start),
                Problem {
                    file: file.to_path_buf(),
                    // A missing entry of the file as a whole has no line of its own.
                    place: span
                        .clone()
                        .filter(|span| missing.is_none() || *span != table.span())
                        .map(|span| place(source, span)),
                    hint: did_you_mean(&message),
                    message: message.clone(),
                },
            ));
        }
        let Some(span) = span else { break };
        match missing {
            Some(name) => {
                let Some(within) = table_at(&mut table, &span, name)
                    .filter(|_| stand_ins.len() < 10 * MOST_PROBLEMS)
                else {
                    break;
                };
                let stand_in = StandIn {
                    within,
                    key: name.to_owned(),
                    tried: 0,
                };
                stand_in.put(&mut table, source.len() + 1 + stand_ins.len());
                stand_ins.push(stand_in);
            }
            None => match remove(table.get_mut(), &span) {
                Some(key) => removed.push(key),
                None => break,
            },
        }
    }
    problems.sort_by_key(|(start, _)| *start);
    Err(problems.into_iter().map(|(_, problem)| problem).collect())
}

/// After so many the rest is left for the next time.
const MOST_PROBLEMS: usize = 50;

/// A value put where a required one is missing, so that what stands after it is looked at too. Its span lies behind the
/// end of the text, by which complaints of it are known.
struct StandIn {
    /// Span of the table it stands in.
    within: Range<usize>,
    key: String,
    /// How many kinds of value were refused.
    tried: usize,
}

impl StandIn {
    /// Puts in the next kind of value; false when there is none left.
    fn put(&self, table: &mut Spanned<DeTable<'_>>, at: usize) -> bool {
        let value = match self.tried {
            0 => DeValue::String("".into()),
            1 => DeValue::Integer(DeInteger::default()),
            2 => DeValue::Table(DeTable::new()),
            3 => DeValue::Array(toml::de::DeArray::new()),
            4 => DeValue::Boolean(false),
            _ => return false,
        };
        with_table(table, &self.within, &mut |inside| {
            let key = Spanned::new(at..at, self.key.clone().into());
            // The first one's key would stay, and with it an older span.
            inside.remove(&key);
            inside.insert(key, Spanned::new(at..at, value.clone()));
            true
        })
    }
}

/// Calls `each` with the tables that have this span, outermost first, until it says that it was the right one.
fn with_table(
    table: &mut Spanned<DeTable<'_>>,
    span: &Range<usize>,
    each: &mut impl FnMut(&mut DeTable<'_>) -> bool,
) -> bool {
    fn below(
        table: &mut DeTable<'_>,
        span: &Range<usize>,
        each: &mut impl FnMut(&mut DeTable<'_>) -> bool,
    ) -> bool {
        table
            .iter_mut()
            .any(|(_, value)| of_value(value, span, each))
    }
    fn of_value(
        value: &mut Spanned<DeValue<'_>>,
        span: &Range<usize>,
        each: &mut impl FnMut(&mut DeTable<'_>) -> bool,
    ) -> bool {
        let here = value.span() == *span;
        match value.get_mut() {
            DeValue::Table(inner) => (here && each(inner)) || below(inner, span, each),
            DeValue::Array(items) => items.iter_mut().any(|item| of_value(item, span, each)),
            _ => false,
        }
    }
    (table.span() == *span && each(table.get_mut())) || below(table.get_mut(), span, each)
}

/// The span of the outermost table that has this span and lacks `key`, if there is one.
fn table_at(
    table: &mut Spanned<DeTable<'_>>,
    span: &Range<usize>,
    key: &str,
) -> Option<Range<usize>> {
    with_table(table, span, &mut |inside| {
        !inside.keys().any(|known| known.get_ref() == key)
    })
    .then(|| span.clone())
}

/// Takes out the innermost entry whose key or value holds `span`; its name.
fn remove(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    fn within(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
        match value {
            DeValue::Table(inner) => remove(inner, span),
            DeValue::Array(items) => items
                .iter_mut()
                .find_map(|item| within(item.get_mut(), span)),
            _ => None,
        }
    }
    let inside = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let nested = table
        .iter_mut()
        .find_map(|(_, value)| within(value.get_mut(), span));
    if nested.is_some() {
        return nested;
    }
    let key = table
        .iter()
        .find(|(key, value)| inside(key.span()) || inside(value.span()))?
        .0
        .clone();
    table.remove(&key);
    Some(key.get_ref().to_string())
}

fn find(table: &DeTable<'_>, keys: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = keys.split_first()?;
    let (key, value) = table
        .iter()
        .find(|(key, _)| key.get_ref().as_ref() == *first)?;
    match (rest, value.get_ref()) {
        ([], _) => Some(key.span()),
        (_, DeValue::Table(inner)) => find(inner, rest).or(Some(key.span())),
        // An item of a list is named by its number. A key that an item lacks is shown as the list's.
        ([number, rest @ ..], DeValue::Array(items)) => number
            .parse::<usize>()
            .ok()
            .and_then(|number| items.get(number))
            .and_then(|item| match item.get_ref() {
                DeValue::Table(inner) if !rest.is_empty() => find(inner, rest),
                _ => Some(item.span()),
            })
            .or(Some(key.span())),
        _ => Some(key.span()),
    }
}

fn place(source: &str, span: Range<usize>) -> Place {
    let start = span.start.min(source.len());
    let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
    let line_end = source[start..]
        .find('\n')
        .map_or(source.len(), |i| start + i);
    let end = span.end.clamp(start, line_end);
    Place {
        line: source[..start].matches('\n').count() + 1,
        column: source[line_start..start].chars().count() + 1,
        text: source[line_start..line_end]
            .trim_end_matches('\r')
            .to_owned(),
        length: source[start..end].chars().count().max(1),
    }
}

/// "unknown field `budjet`, expected one of `budget`, ...": the expected name nearest to the written one.
fn did_you_mean(message: &str) -> Option<String> {
    let (found, expected) = message.split_once(", expected")?;
    let written = found.split('`').nth(1)?;
    let names: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    nearest(written, names.iter().copied()).map(|name| format!("did you mean `{name}`?"))
}

/// The name most like `written`, if any is near enough to be a slip of the hand.
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (written.chars().count() / 3).max(1);
    names
        .into_iter()
        .map(|name| (edits(written, name), name))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, name)| name)
}

/// Characters to insert, remove, replace or exchange with their neighbour: the optimal string alignment distance.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Written {
        name: String,
        budget_bytes: Option<u64>,
        #[serde(default)]
        source: Source,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    #[expect(dead_code, reason = "only the shape matters")]
    struct Source {
        path: Option<String>,
        files: Option<Vec<String>>,
    }

    #[test]
    fn every_problem_of_a_file_is_reported_at_once() {
        let source = "name = 7\nbudjet-bytes = 3\n[source]\npaht = \"x\"\nfiles = \"a\"\n";
        let problems = parse::<Written>(Path::new("d.toml"), source).unwrap_err();
        let mut lines: Vec<usize> = problems
            .iter()
            .map(|p| p.place.as_ref().unwrap().line)
            .collect();
        assert_eq!(problems.len(), 4, "{problems:#?}");
        lines.sort_unstable();
        assert_eq!(lines, [1, 2, 4, 5]);
        let hints: Vec<_> = problems.iter().filter_map(|p| p.hint.clone()).collect();
        assert!(
            hints.contains(&"did you mean `budget-bytes`?".to_owned()),
            "{hints:?}"
        );
        assert!(
            hints.contains(&"did you mean `path`?".to_owned()),
            "{hints:?}"
        );
    }

    #[test]
    fn an_unknown_table_hides_nothing_that_stands_after_it() {
        let source = "name = 7\n\n[floppy]\nside = \"a\"\n[floppy.label]\ncolour = 1\n\n[source]\npaht = \"x\"\n[source.tape]\nreel = 1\n[[disk]]\nn = 1\n";
        let problems = parse::<Written>(Path::new("d.toml"), source).unwrap_err();
        let told: Vec<(usize, &str)> = problems
            .iter()
            .map(|p| {
                let message = p.message.split(',').next().unwrap();
                (p.place.as_ref().unwrap().line, message)
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, "invalid type: integer `7`"),
                (3, "unknown field `floppy`"),
                (9, "unknown field `paht`"),
                (10, "unknown field `tape`"),
                (12, "unknown field `disk`"),
            ],
            "{problems:#?}"
        );
    }

    #[test]
    fn several_missing_entries_are_all_named() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only the shape matters")]
        struct Outer {
            name: String,
            size: u64,
            inner: Inner,
            list: Vec<Inner>,
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[expect(dead_code, reason = "only the shape matters")]
        struct Inner {
            path: String,
            depth: u8,
        }
        let of = |source: &str| -> Vec<String> {
            let problems = parse::<Outer>(Path::new("d.toml"), source).unwrap_err();
            problems.into_iter().map(|p| p.message).collect()
        };
        assert_eq!(
            of(""),
            [
                "missing field `name`",
                "missing field `size`",
                "missing field `inner`",
                "missing field `list`"
            ]
        );
        assert_eq!(
            of(
                "name = \"n\"\nsize = true\n[inner]\n[[list]]\npath = \"p\"\n[[list]]\ndepth = 300\n"
            ),
            [
                "invalid type: boolean `true`, expected u64",
                "missing field `path`",
                "missing field `depth`",
                "missing field `depth`",
                "missing field `path`",
                "invalid value: integer `300`, expected u8",
            ]
        );
    }

    #[test]
    fn the_caret_stands_under_the_key() {
        let problems =
            parse::<Written>(Path::new("d.toml"), "name = \"n\"\nbudjet-bytes = 3\n").unwrap_err();
        let shown = problems[0].to_string();
        assert!(
            shown.starts_with("d.toml:2:1: unknown field `budjet-bytes`"),
            "{shown}"
        );
        assert!(shown.contains("\n  | ^^^^^^^^^^^^\n"), "{shown}");
    }

    #[test]
    fn an_item_of_a_list_is_named_by_its_number() {
        let source = "[[config]]\nname = \"a\"\n[[config]]\nname = \"b\"\n[[config.example]]\ntext = \"t\"\nlist = [1, 2]\n";
        let line = |keys: &[&str]| {
            let problem = Problem::at(Path::new("d.toml"), source, keys, "wrong");
            problem.place.map(|place| place.line)
        };
        assert_eq!(line(&["config", "0", "name"]), Some(2));
        assert_eq!(line(&["config", "1", "name"]), Some(4));
        assert_eq!(line(&["config", "1", "example", "0", "text"]), Some(6));
        assert_eq!(line(&["config", "1", "example", "0", "list", "1"]), Some(7));
        // What is not there is shown at the list, or not at all.
        assert_eq!(line(&["config", "7", "name"]), line(&["config"]));
        assert_eq!(line(&["other", "0"]), None);
    }

    #[test]
    fn broken_syntax_is_one_problem_with_a_place() {
        let problems = parse::<Written>(Path::new("d.toml"), "name = \"n\nx").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].place.as_ref().unwrap().line, 1);
    }

    #[test]
    fn a_missing_field_is_named() {
        let problems = parse::<Written>(Path::new("d.toml"), "budget-bytes = 1\n").unwrap_err();
        assert!(problems[0].message.contains("missing field `name`"));
    }

    #[test]
    fn nearest_is_careful() {
        assert_eq!(nearest("gopher", ["length", "gofer-x"]), None);
        assert_eq!(nearest("lenght", ["length", "other"]), Some("length"));
        assert_eq!(nearest("raed", ["render", "read"]), Some("read"));
        assert_eq!(
            (
                edits("", "ab"),
                edits("ab", ""),
                edits("ab", "ba"),
                edits("kitten", "sitting")
            ),
            (2, 2, 1, 3)
        );
    }
}
