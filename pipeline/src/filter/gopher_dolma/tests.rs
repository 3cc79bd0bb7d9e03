use super::super::verdict;
use super::*;
use crate::analysis::{Dolma, Scratch};

fn words(from: u8, count: u8) -> String {
    let words: Vec<String> = (from..from + count)
        .map(|number| format!("word{}", char::from(b'a' + number)))
        .collect();
    words.join(" ")
}

fn measure(text: &str) -> Dolma {
    let mut scratch = Scratch::default();
    Analysis::new(text, &mut scratch).unwrap().dolma()
}

fn near(value: f64, expected: f64) {
    assert!(
        (value - expected).abs() < 0.0006,
        "{value} is not {expected}"
    );
}

// The numbers of the golden tests are those of a transcription of Dolma's tagger run on the same documents.

#[test]
fn golden_words_that_come_again() {
    let text = format!("{} {}", words(0, 26), words(0, 10));
    let found = measure(&text);
    near(found.duplicate[0].value(), 0.375);
    near(found.duplicate[5].value(), 0.074);
}

#[test]
fn golden_ten_lines_of_which_two_are_equal() {
    let mut lines: Vec<String> = (0..6).map(|line| words(4 * line, 4)).collect();
    lines.extend((1..4).map(|line| words(4 * line + 1, 4)));
    lines.push(words(0, 4));
    let found = measure(&lines.join("\n"));
    near(share(found.duplicate_lines, found.lines), 0.2);
    near(
        share(found.duplicate_line_characters, found.characters),
        0.23,
    );
}

#[test]
fn golden_one_word_twelve_times_and_six_different() {
    let text = "ab ".repeat(12);
    let found = measure(text.trim_end());
    near(share(found.top[0], found.characters), 1.833);
    near(share(found.top[2], found.characters), 3.0);
    near(found.duplicate[0].value(), 1.0);
    let found = measure(&words(0, 6));
    near(share(found.top[0], found.characters), 0.333);
    near(share(found.top[1], found.characters), 0.5);
    near(share(found.top[2], found.characters), 0.667);
}

#[test]
fn golden_a_line_that_comes_again() {
    let a = words(0, 8);
    let found = measure(&format!("{a}\n{a}\n{a}"));
    near(share(found.duplicate_lines, found.lines), 1.0);
    near(
        share(found.duplicate_line_characters, found.characters),
        1.175,
    );
}

#[test]
fn edge_cases_are_those_of_dolma() {
    let repetition = GopherRepetitionDolma(GopherRepetitionDolmaOptions::default());
    assert_eq!(verdict(&repetition, ""), Verdict::Keep);
    assert_eq!(verdict(&repetition, "   "), Verdict::Keep);
    assert_eq!(
        verdict(&repetition, "\n\n"),
        Verdict::drop("gopher-dup-line")
    );
    assert_eq!(verdict(&repetition, "one"), Verdict::Keep);
    let quality = GopherQualityDolma(GopherQualityDolmaOptions::default());
    assert_eq!(verdict(&quality, ""), Verdict::drop("gopher-too-few-words"));
}

#[test]
fn the_middle_of_an_even_number_is_a_mean() {
    assert_eq!(measure("a bb ccc dddd").median_word_characters, 2.5);
    assert_eq!(measure("dddd a ccc").median_word_characters, 3.0);
    assert_eq!(measure("").median_word_characters, 0.0);
}
