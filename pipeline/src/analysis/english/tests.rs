use proptest::prelude::*;
use serde::Deserialize;

use super::rules::{prefix, suffix};
use super::*;

#[derive(Deserialize)]
struct Case {
    text: String,
    tokens: Vec<String>,
    sentences: u64,
}

fn tokens<'t>(tokenizer: &mut Tokenizer, text: &'t str) -> Vec<&'t str> {
    tokenizer.read(text);
    tokenizer
        .tokens
        .iter()
        .map(|token| &text[token.start as usize..(token.start + token.length) as usize])
        .collect()
}

// The cases are spaCy 3.8.18's own answers: `bench/quality/english-cases.py`.
#[test]
fn tokens_and_sentences_are_those_of_spacy() {
    let mut tokenizer = Tokenizer::default();
    let mut wrong = Vec::new();
    for line in include_str!("cases.jsonl").lines() {
        let case: Case = serde_json::from_str(line).unwrap();
        let found = tokens(&mut tokenizer, &case.text);
        if found != case.tokens {
            wrong.push(format!("{:?}: {found:?}, not {:?}", case.text, case.tokens));
            continue;
        }
        let stripped = crate::analysis::characters::strip(&case.text);
        let whole = case.text == stripped;
        let sentences = count_sentences(&tokenizer.tokens);
        if whole && sentences != case.sentences {
            wrong.push(format!(
                "{:?}: {sentences} sentences, not {}",
                case.text, case.sentences
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn facts_are_the_same_on_both_ways() {
    let exceptions = &*EXCEPTIONS;
    let mut tokenizer = Tokenizer::default();
    let text = "The words, of A text. And cats: dogs; yes! no? (maybe) I can";
    tokenizer.read(text);
    for found in &tokenizer.tokens {
        let (start, end) = (found.start as usize, (found.start + found.length) as usize);
        let before = found.facts & (fact::AFTER_SPACE | fact::AFTER_GAP);
        let slow = token(text, start, end, before, exceptions);
        assert_eq!(
            (found.facts, found.characters, found.stop_word, found.hash),
            (slow.facts, slow.characters, slow.stop_word, slow.hash),
        );
    }
}

#[test]
fn no_exception_is_letters_and_a_mark_that_is_taken_for_granted() {
    for line in include_str!("exceptions.txt").lines() {
        let text = line.replace('\u{1f}', "");
        assert!(text.len() <= super::exceptions::LONGEST);
        let letters = text.trim_end_matches([',', ';', ':', '!', '?', ')', ']', '}', '"', '>']);
        let granted = letters.len() + 1 == text.len()
            && !letters.is_empty()
            && letters.bytes().all(|byte| byte.is_ascii_alphabetic());
        assert!(!granted, "{text}");
    }
}

#[test]
fn an_exception_that_is_one_token_to_the_rules_is_one_token() {
    // `join_exceptions` looks for two tokens or more.
    let mut cutter = Cutter::default();
    for line in include_str!("exceptions.txt").lines() {
        let text = line.replace('\u{1f}', "");
        cutter.cut(&text, None);
        let special = suffix(&text, &CLASSES) + prefix(&text, &CLASSES) > 0;
        if cutter.ends.len() == 1 && special {
            assert!(!line.contains('\u{1f}'), "{text}");
        }
    }
}

/// Tokens of a chunk by the rules alone.
fn by_rules(text: &str) -> Vec<Token> {
    let mut tokenizer = Tokenizer::default();
    tokenizer
        .remembered
        .resize(REMEMBERED, Remembered::default());
    tokenizer.take(text, 0, text.len(), fact::AFTER_GAP, &EXCEPTIONS);
    if !tokenizer.suspects.is_empty() {
        tokenizer.join_exceptions(text, &EXCEPTIONS);
    }
    tokenizer.tokens
}

fn compare(text: &str) -> Result<(), TestCaseError> {
    let mut tokenizer = Tokenizer::default();
    tokenizer.read(text);
    // Twice, as the second time may be from memory.
    for _ in 0..2 {
        let seen = |token: &Token| format!("{token:?}");
        let quick: Vec<String> = tokenizer.tokens.iter().map(seen).collect();
        let slow: Vec<String> = by_rules(text).iter().map(seen).collect();
        prop_assert_eq!(quick, slow, "{}", text);
        tokenizer.read(text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn words_and_marks_are_cut_as_the_rules_cut_them(
        open in "[!-/:-@\\[-`{-~]{0,1}",
        word in prop_oneof!["[a-zA-Z]{1,4}", "[a-zA-Z0-9_]{1,20}", "[0-9]{1,3}(km|s|MB|a)?", "(the|of|can|etc|Mr|US|wont|x|D|8)"],
        close in "[!-/:-@\\[-`{-~]{0,3}",
    ) {
        compare(&format!("{open}{word}{close}"))?;
    }
}

#[test]
fn exceptions_with_a_mark_are_cut_as_the_rules_cut_them() {
    for line in include_str!("exceptions.txt").lines() {
        let text = line.replace('\u{1f}', "");
        if text.contains(|c: char| c.is_whitespace()) {
            continue;
        }
        for mark in [
            "", "(", ")", ".", ",", "'", "\"", ":", "]", ".)", "),", "_", "1",
        ] {
            compare(&format!("{text}{mark}")).unwrap();
            compare(&format!("{mark}{text}")).unwrap();
            compare(&format!("({text}{mark}")).unwrap();
        }
    }
}
