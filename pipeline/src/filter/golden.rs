//! What publishers' programs say of some two hundred texts, and what they measure, beside what is said here.
//!
//! `golden.jsonl` is written by `bench/quality/golden-cases.py`: datatrove 0.10.1, Dolma 1.2.1's tagger and TensorFlow
//! Datasets 4.9.10's C4 run as they are, DCLM by a transcription. Among the texts are the published vectors.

use serde::Deserialize;

use super::*;
use crate::analysis::signals::{Signal, chosen, fill};

#[derive(Deserialize)]
struct Case {
    text: String,
    /// By rule: the reason, or what is left if that is another text.
    rules: std::collections::BTreeMap<String, Option<Said>>,
    /// By statistic; those that are 0 are left out.
    signals: std::collections::BTreeMap<String, f64>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Reason(String),
    Text(String),
}

fn cases() -> Vec<Case> {
    include_str!("golden.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn verdicts_and_texts_are_those_of_the_publishers() {
    let mut scratch = Scratch::default();
    let mut asked = 0;
    let mut wrong = Vec::new();
    for case in cases() {
        for (rule, expected) in &case.rules {
            let options = FilterOptions {
                rules: vec![rule.clone()],
                ..FilterOptions::default()
            };
            let filters = Filters::new(&options).unwrap();
            let found = match filters.apply(&case.text, None, &mut scratch) {
                Outcome::Drop(reason) => Some(Said::Reason(reason.name.to_owned())),
                Outcome::Keep(text) if *text == case.text => None,
                Outcome::Keep(text) => Some(Said::Text(text.into_owned())),
            };
            asked += 1;
            if found != *expected {
                wrong.push(format!(
                    "{rule} of {:?}: {found:?} is not {expected:?}",
                    case.text
                ));
            }
        }
    }
    assert!(asked > 1500, "{asked}");
    assert!(
        wrong.is_empty(),
        "{} of {asked}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn statistics_are_those_of_the_publishers() {
    let cases = cases();
    let names: std::collections::BTreeSet<&str> = cases
        .iter()
        .flat_map(|case| case.signals.keys().map(String::as_str))
        .collect();
    assert!(names.len() > 40, "{names:?}");
    let signals: Vec<Signal> = chosen(names).unwrap();
    let mut scratch = Scratch::default();
    let mut row = Vec::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let document = Analysis::new(&case.text, &mut scratch).unwrap();
        fill(&signals, &document, &mut row);
        for (signal, &value) in signals.iter().zip(&row) {
            let expected = case.signals.get(signal.name).copied().unwrap_or(0.0);
            // Nine digits are written.
            if (value - expected).abs() > 1e-8 * expected.max(1.0) {
                let text = &case.text;
                wrong.push(format!(
                    "{} of {text:?}: {value} is not {expected}",
                    signal.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
}
