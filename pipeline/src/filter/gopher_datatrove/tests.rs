use super::super::verdict;
use super::*;
use crate::analysis::{Lines, Scratch, TokenNgrams};

/// Five letters each, as in the published vectors ("alpha bravo cargo ..."); which letters does not matter.
fn words(from: u8, count: u8) -> String {
    let words: Vec<String> = (from..from + count)
        .map(|number| format!("word{}", char::from(b'a' + number)))
        .collect();
    words.join(" ")
}

fn measure(text: &str) -> (Lines, TokenNgrams) {
    let mut scratch = Scratch::default();
    let document = Analysis::new(text, &mut scratch).unwrap();
    (document.lines(), document.token_ngrams(TokenKind::English))
}

fn repetition(text: &str) -> Verdict {
    let rule = GopherRepetitionDatatrove(GopherRepetitionDatatroveOptions::default());
    verdict(&rule, text)
}

fn quality(text: &str) -> Verdict {
    verdict(
        &GopherQualityDatatrove(GopherQualityDatatroveOptions::default()),
        text,
    )
}

fn near(value: f64, expected: f64) {
    assert!(
        (value - expected).abs() < 0.0006,
        "{value} is not {expected}"
    );
}

// The numbers of the golden tests are those of datatrove's filters on the same documents.

#[test]
fn golden_words_that_come_again() {
    let text = format!("{} {}", words(0, 26), words(0, 10));
    assert_eq!(text.chars().count(), 215);
    let ngrams = measure(&text).1;
    near(ngrams.duplicate[0].value(), 0.233);
    near(ngrams.duplicate[5].value(), 0.233);
    let letters: Vec<String> = (b'a'..=b'z')
        .chain(b'a'..=b'j')
        .map(|letter| char::from(letter).to_string())
        .collect();
    near(measure(&letters.join(" ")).1.duplicate[0].value(), 0.141);
}

#[test]
fn golden_ten_lines_of_which_two_are_equal() {
    let lines: Vec<String> = [0_u8, 1, 2, 3, 4, 5, 0, 0, 0, 0]
        .iter()
        .enumerate()
        .map(|(number, &line)| match number {
            9 => words(0, 4),
            6..=8 => words(4 * line + 1, 4) + &"x".repeat(number - 5),
            _ => words(4 * line, 4),
        })
        .collect();
    let found = measure(&lines.join("\n")).0.lines;
    assert_eq!((found.count, found.repeats, found.characters), (10, 1, 23));
}

#[test]
fn golden_one_word_twelve_times() {
    let text = "ab ".repeat(12);
    let ngrams = measure(text.trim_end()).1;
    near(ngrams.top[0].value(), 1.571);
    near(ngrams.top[2].value(), 2.829);
    near(ngrams.duplicate[0].value(), 0.571);
}

#[test]
fn golden_six_different_words() {
    let ngrams = measure(&words(0, 6)).1;
    near(ngrams.top[0].value(), 0.314);
    near(ngrams.top[1].value(), 0.486);
    near(ngrams.top[2].value(), 0.657);
    assert_eq!(repetition(&words(0, 6)), Verdict::drop("gopher-top-2-gram"));
}

#[test]
fn golden_a_paragraph_and_a_line_that_come_again() {
    let (a, b) = (words(0, 8), words(8, 8));
    let text = format!("{a}\n\n{b}\n\n{a}");
    let paragraphs = measure(&text).0.paragraphs;
    near(paragraphs.fraction().value(), 0.333);
    near(paragraphs.characters as f64 / text.len() as f64, 0.324);
    let text = format!("{a}\n{a}\n{a}");
    let lines = measure(&text).0.lines;
    near(lines.fraction().value(), 0.667);
    near(lines.characters as f64 / text.len() as f64, 0.657);
}

#[test]
fn edge_cases_are_those_of_datatrove() {
    assert_eq!(repetition(""), Verdict::drop("empty"));
    assert_eq!(repetition("   "), Verdict::Keep);
    assert_eq!(repetition("\n\n"), Verdict::drop("gopher-dup-line"));
    assert_eq!(repetition("one"), Verdict::Keep);
    for text in ["", "   ", "\n\n", "one"] {
        assert_eq!(quality(text), Verdict::drop("gopher-too-few-words"));
    }
    // Without the bound on words datatrove divides by zero; nothing of nothing is no reason to drop here.
    let unbounded = GopherQualityDatatrove(GopherQualityDatatroveOptions {
        min_words: 0,
        min_mean_word_characters: 0.0,
        min_alphabetic_token_fraction: 0.0,
        min_stop_words: 0,
        ..GopherQualityDatatroveOptions::default()
    });
    assert_eq!(verdict(&unbounded, ""), Verdict::Keep);
}

/// Fifty words of two stop words and a mark every ten.
fn page(words: usize, last: &str) -> String {
    let plain = (0..words - 2).map(|number| {
        if number % 10 == 9 {
            "horse.\n"
        } else {
            "horse "
        }
    });
    plain.chain(["the ", last]).collect()
}

#[test]
fn punctuation_is_no_word_and_stop_words_are_small_and_different() {
    assert_eq!(quality(&page(50, "with")), Verdict::Keep);
    assert_eq!(
        quality(&page(49, "with , . !")),
        Verdict::drop("gopher-too-few-words")
    );
    for other in ["With", "the"] {
        assert_eq!(
            quality(&page(50, other)),
            Verdict::drop("gopher-few-stop-words")
        );
    }
    // Commas lower the share of tokens with a letter.
    let commas = page(50, "with").replace("horse horse", "horse, horse");
    assert_eq!(
        quality(&commas),
        Verdict::drop("gopher-non-alphabetic-words")
    );
}

#[test]
fn hashes_and_ellipses_are_asked_one_by_one() {
    let text = page(60, "with");
    let hashes = text.replacen("horse ", "horse # ", 8);
    assert_eq!(quality(&hashes), Verdict::drop("gopher-hashes"));
    let ellipses = text.replacen("horse ", "horse... ", 9);
    assert_eq!(quality(&ellipses), Verdict::drop("gopher-ellipsis-marks"));
    let both = text
        .replacen("horse ", "horse # ", 4)
        .replacen("horse ", "horse... ", 4);
    assert_eq!(quality(&both), Verdict::Keep);
}

#[test]
fn a_reason_carries_what_was_measured() {
    let rule = GopherRepetitionDatatrove(GopherRepetitionDatatroveOptions::default());
    let text = words(0, 6);
    let mut scratch = Scratch::default();
    let verdict = rule.check(&Analysis::new(&text, &mut scratch).unwrap());
    assert_eq!(
        verdict.reason().unwrap().to_string(),
        "gopher-top-2-gram 0.3143 > 0.2"
    );
}
