//! Fields that the prompts of some tasks need and their rows do not have: each rule is that of lm-evaluation-harness 0.4.13.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::Row;
use super::template::{field, text, texts};
use crate::evaluation::metrics::is_space;

/// What is added to a row before its prompt is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prepare {
    /// `connector`: because or therefore.
    Copa,
    /// `query`, `choices` and `gold`: the brackets of `WikiHow` taken out.
    Hellaswag,
    /// `context` and `target`: all words but the last, and the last after a blank.
    Lambada,
    /// `letter` and `position` of an answer that is either: A to D, 0 to 3.
    Letters,
    /// `text` with the highlights as a list, `names` and `answers` without repetition and in order, `choices`: the query with each name.
    Record,
    /// `span`: the characters of the word in the first sentence.
    Wic,
    /// `passage`: the pronoun between asterisks, blanks of tokenization taken out.
    Wsc,
}

impl Prepare {
    /// Adds to `row`.
    ///
    /// # Errors
    /// A field is missing or not what it should be; a sentence says which.
    pub(super) fn apply(self, row: &mut Row) -> Result<(), String> {
        match self {
            Self::Copa => {
                let connector = match text(row, "question")?.as_str() {
                    "cause" => "because",
                    "effect" => "therefore",
                    other => return Err(format!("the question is {other:?}, not cause or effect")),
                };
                put(row, "connector", connector);
            }
            Self::Hellaswag => hellaswag(row)?,
            Self::Lambada => {
                let whole = text(row, "text")?;
                let (context, last) = whole.rsplit_once(' ').unwrap_or(("", &whole));
                let (context, target) = (context.to_owned(), format!(" {last}"));
                put(row, "context", context);
                put(row, "target", target);
            }
            Self::Letters => {
                let answer = text(row, "answer")?;
                let (letter, position) = match answer.as_str() {
                    "0" | "A" => ("A", 0),
                    "1" | "B" => ("B", 1),
                    "2" | "C" => ("C", 2),
                    "3" | "D" => ("D", 3),
                    _ => return Err(format!("the answer is {answer:?}, not one of four")),
                };
                put(row, "letter", letter);
                put(row, "position", position);
            }
            Self::Record => record(row)?,
            Self::Wic => {
                let position = |name| {
                    let value = field(row, name)?
                        .as_u64()
                        .and_then(|at| usize::try_from(at).ok());
                    value.ok_or_else(|| format!("the field {name:?} is no position"))
                };
                let (start, end) = (position("start1")?, position("end1")?);
                let sentence = text(row, "sentence1")?;
                let length = end.saturating_sub(start);
                let span: String = sentence.chars().skip(start).take(length).collect();
                put(row, "span", span);
            }
            Self::Wsc => wsc(row)?,
        }
        Ok(())
    }
}

fn put(row: &mut Row, name: &str, value: impl Into<Value>) {
    row.insert(name.to_owned(), value.into());
}

fn hellaswag(row: &mut Row) -> Result<(), String> {
    let brackets = Regex::new(r"\[.*?\]").expect("the pattern is a regular expression");
    let clean = |text: &str| {
        let text = text.trim_matches(is_space).replace(" [title]", ". ");
        brackets.replace_all(&text, "").replace("  ", " ")
    };
    let second = text(row, "ctx_b")?;
    let mut letters = second.chars();
    // As Python capitalizes: the first letter large, all others small.
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    let second = first + &letters.as_str().to_lowercase();
    let query = format!(
        "{}: {} {second}",
        text(row, "activity_label")?,
        text(row, "ctx_a")?
    );
    let choices: Vec<String> = texts(row, "endings")?
        .iter()
        .map(|ending| clean(ending))
        .collect();
    put(row, "query", clean(&query));
    put(row, "choices", choices);
    Ok(())
}

fn record(row: &mut Row) -> Result<(), String> {
    let passage = text(row, "passage")?;
    let mut parts = passage.trim_matches(is_space).split("\n@highlight\n");
    let mut article = parts.next().unwrap_or_default().to_owned();
    article.push_str("\n\n");
    for highlight in parts {
        article.extend(["  - ", highlight, ".\n"]);
    }
    let distinct = |name| {
        let mut values = texts(row, name)?;
        values.sort_unstable();
        values.dedup();
        Ok::<_, String>(values)
    };
    let (names, answers) = (distinct("entities")?, distinct("answers")?);
    let query = format!("  - {}", text(row, "query")?);
    let choices: Vec<String> = names
        .iter()
        .map(|name| query.replace("@placeholder", name))
        .collect();
    put(row, "text", article);
    put(row, "names", names);
    put(row, "answers", answers);
    put(row, "choices", choices);
    Ok(())
}

fn wsc(row: &mut Row) -> Result<(), String> {
    let whole = text(row, "text")?;
    let pronoun = text(row, "span2_text")?;
    // Counted in words, not in characters.
    let place = field(row, "span2_index")?.as_u64();
    let place = place.and_then(|place| usize::try_from(place).ok());
    let place = place.ok_or("the field \"span2_index\" is no position")?;
    let words: Vec<&str> = whole
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect();
    let before = words.get(..place).unwrap_or(&words).join(" ");
    let skipped = before.chars().count() + pronoun.chars().count() + 1;
    let after: String = whole.chars().skip(skipped).collect();
    let mut passage = format!("{before} *{pronoun}*{after}");
    for (apart, joined) in [
        (" n't", "n't"),
        (" )", ")"),
        ("( ", "("),
        ("\" ", "\""),
        (" \"", "\""),
    ] {
        passage = passage.replace(apart, joined);
    }
    let marks = Regex::new(r" (['.,])").expect("the pattern is a regular expression");
    let passage = marks.replace_all(&passage, "$1").into_owned();
    put(row, "passage", passage);
    Ok(())
}
