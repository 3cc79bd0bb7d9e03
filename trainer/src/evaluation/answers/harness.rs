//! The rules of lm-evaluation-harness 0.4.13 (`filter_list` and `regexes_to_ignore` of its tasks).

use regex::Regex;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the patterns of this file are regular expressions")
}

/// The first match's text, blanks at its ends taken off.
fn first(pattern: &str, text: &str) -> Option<String> {
    let captures = regex(pattern).captures(text)?;
    let group = captures.iter().skip(1).flatten().next();
    group.map(|group| group.as_str().trim().to_owned())
}

/// gsm8k, `strict-match`.
pub(super) fn after_hashes(text: &str) -> Option<String> {
    first(r"#### (\-?[0-9\.,]+)", text)
}

/// `gsm8k_cot`, `strict-match`.
pub(super) fn after_the_answer_is(text: &str) -> Option<String> {
    first(r"The answer is (\-?[0-9\.,]+).", text)
}

/// gsm8k, `flexible-extract`.
pub(super) fn last_number(text: &str) -> Option<String> {
    let number = regex(r"(-?[$0-9.,]{2,})|(-?[0-9]+)");
    number
        .find_iter(text)
        .last()
        .map(|found| found.as_str().to_owned())
}

/// bbh, `get-answer`: `(?<=the answer is )(.*)(?=.)`. The last character of the line is left out, which is a full stop if all is well.
pub(super) fn rest_of_line(text: &str) -> Option<String> {
    const BEFORE: &str = "the answer is ";
    let mut from = 0;
    while let Some(at) = text[from..].find(BEFORE) {
        from += at + BEFORE.len();
        let line = text[from..].split('\n').next().unwrap_or_default();
        let mut characters = line.chars();
        if characters.next_back().is_some() {
            // What is found is looked for within the line only, and an empty answer is as good as any.
            return Some(characters.as_str().trim().to_owned());
        }
    }
    None
}

/// What is left of an answer of GSM8K for comparison: no commas, no dollars, nothing up to the last `#### `, no full stop at the end.
pub(super) fn as_compared(answer: &str) -> String {
    let answer = answer.replace([',', '$'], "");
    let answer = answer
        .rsplit_once("#### ")
        .map_or(answer.as_str(), |(_, after)| after);
    // Python's `$` is before a line break at the end, too.
    let (body, end) = answer
        .strip_suffix('\n')
        .map_or((answer, ""), |body| (body, "\n"));
    let body = body.strip_suffix('.').unwrap_or(body);
    format!("{body}{end}").to_lowercase()
}
