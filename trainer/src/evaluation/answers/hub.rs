//! The rules of chain-of-thought-hub (Fu et al., "Chain-of-Thought Hub", 2023).

use regex::Regex;

/// The text up to the end of the first line that says `answer is`.
pub(super) fn up_to_answer(text: &str) -> &str {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        end += line.len();
        if line.contains("answer is") {
            return &text[..end];
        }
    }
    text
}

/// The last of `\d*\.?\d+`: no sign, and a comma parts a number.
pub(super) fn last_number(text: &str) -> Option<String> {
    let number = Regex::new(r"\d*\.?\d+").expect("the pattern is a regular expression");
    number
        .find_iter(text)
        .last()
        .map(|found| found.as_str().to_owned())
}

/// What follows the last `The answer is `, or the last number.
pub(super) fn math(text: &str) -> Option<String> {
    match text.rsplit_once("The answer is ") {
        Some((_, after)) => Some(after.trim().to_owned()),
        None => last_number(text),
    }
}

/// What follows the last `answer is `; of a task whose answers are letters, the first in the alphabet of those in brackets, of others
/// without a full stop.
pub(super) fn bbh(text: &str, target: &str) -> Option<String> {
    let Some((_, after)) = text.rsplit_once("answer is ") else {
        return Some(text.to_owned());
    };
    let after = after.trim();
    if letter(target).is_some() {
        let there = ('A'..='Z').find(|letter| after.contains(&format!("({letter})")));
        return Some(there.map_or_else(|| after.to_owned(), String::from));
    }
    Some(after.strip_suffix('.').unwrap_or(after).to_owned())
}

/// The right answer: a letter without its brackets.
pub(super) fn bbh_target(target: &str) -> String {
    letter(target).map_or_else(|| target.to_owned(), String::from)
}

/// The letter of `(A)`, as all answers of a multiple-choice task are.
fn letter(target: &str) -> Option<char> {
    let inside = target.strip_prefix('(')?.strip_suffix(')')?;
    let mut characters = inside.chars();
    let first = characters.next()?;
    (first.is_ascii_uppercase() && characters.next().is_none()).then_some(first)
}

/// The character after the first `the answer is (`, small; where there is none, `C`, which is no small letter and so never right.
pub(super) fn letter_in_brackets(text: &str) -> Option<String> {
    let text = text.to_lowercase();
    match text.split_once("the answer is (") {
        Some((_, after)) => after.chars().next().map(String::from),
        None => Some("C".to_owned()),
    }
}
