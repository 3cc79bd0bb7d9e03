//! Exact match and token F1 of short answers, as the script of `SQuAD` has them (Rajpurkar et al., 2016; the empty answers of 2.0).

use std::collections::BTreeMap;

use super::is_space;

/// An answer as it is compared: small letters, no ASCII punctuation, no articles, single blanks.
pub fn normalized(answer: &str) -> String {
    let lower = answer.to_lowercase();
    let plain: String = lower
        .chars()
        .filter(|c| !c.is_ascii_punctuation())
        .collect();
    let without = without_articles(&plain);
    let words: Vec<&str> = without
        .split(is_space)
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ")
}

/// Python's `re.sub(r"\b(a|an|the)\b", " ", text)`: an article may be a part of what blanks cut.
fn without_articles(text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest
            .find(|c| is_word(c) != is_word(first))
            .unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        out.push_str(if matches!(run, "a" | "an" | "the") {
            " "
        } else {
            run
        });
        rest = after;
    }
    out
}

/// Whether two answers are the same once normalized.
pub fn exact_match(answer: &str, reference: &str) -> bool {
    normalized(answer) == normalized(reference)
}

/// F1 of the words two answers share, each as often as both have it. Of two empty answers it is 1, of one 0.
pub fn token_f1(answer: &str, reference: &str) -> f64 {
    let (answer, reference) = (normalized(answer), normalized(reference));
    let answer: Vec<&str> = answer.split(' ').filter(|word| !word.is_empty()).collect();
    let reference: Vec<&str> = reference
        .split(' ')
        .filter(|word| !word.is_empty())
        .collect();
    if answer.is_empty() || reference.is_empty() {
        return f64::from(u8::from(answer.is_empty() && reference.is_empty()));
    }
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    for word in &reference {
        *left.entry(word).or_default() += 1;
    }
    let mut same = 0.0;
    for word in &answer {
        if let Some(count) = left.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            same += 1.0;
        }
    }
    if same == 0.0 {
        return 0.0;
    }
    let (precision, recall) = (same / answer.len() as f64, same / reference.len() as f64);
    2.0 * precision * recall / (precision + recall)
}
