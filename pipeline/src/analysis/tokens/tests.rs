use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::analysis::characters::count_characters;

fn texts<'t>(scratch: &TokenScratch, text: &'t str) -> Vec<&'t str> {
    scratch
        .tokenizer
        .tokens
        .iter()
        .map(|token| &text[token.start as usize..][..token.length as usize])
        .collect()
}

/// What datatrove's functions come to, written as plainly as they are.
fn slow(words: &[&str]) -> ([u64; 3], [u64; 6]) {
    let mut top = [0; 3];
    for n in 2..=4 {
        let mut counts: HashMap<String, u64> = HashMap::new();
        let grams: Vec<String> = words.windows(n).map(|gram| gram.join(" ")).collect();
        grams
            .iter()
            .for_each(|gram| *counts.entry(gram.clone()).or_default() += 1);
        let most = counts.values().max().copied().unwrap_or(0);
        let first = grams.iter().find(|gram| counts[*gram] == most);
        top[n - 2] = first.map_or(0, |gram| count_characters(gram) * most);
    }
    let mut duplicate = [0; 6];
    for n in 5..=10 {
        let mut seen: HashSet<String> = HashSet::new();
        let mut at = 0;
        while at + n <= words.len() {
            let gram = words[at..at + n].concat();
            if seen.contains(&gram) {
                duplicate[n - 5] += count_characters(&gram);
                at += n;
            } else {
                seen.insert(gram);
                at += 1;
            }
        }
    }
    (top, duplicate)
}

fn compare(text: &str, kind: TokenKind) -> Result<(), TestCaseError> {
    let mut scratch = TokenScratch::default();
    let mut tally = Tally::default();
    let counted = scratch.read(text, kind);
    let found_top = scratch.top_ngrams(text, &mut tally);
    let found_duplicate = scratch.duplicate_ngrams(text, &mut tally);
    let words = texts(&scratch, text);
    prop_assert_eq!(counted.count, words.len() as u64);
    let (top, duplicate) = slow(&words);
    prop_assert_eq!(found_top, top);
    prop_assert_eq!(found_duplicate, duplicate);
    // The quick way gives the first that is above, whatever the limits.
    let characters = count_characters(text);
    for limit in [0.0, 0.05, 0.15, 0.3, 0.6] {
        let first = duplicate
            .iter()
            .enumerate()
            .find(|(_, part)| **part as f64 / characters as f64 > limit)
            .map(|(at, part)| (at, *part));
        let quick = scratch.first_above(text, characters, &[limit; 6], &mut tally);
        prop_assert_eq!(quick, first);
        let first = top
            .iter()
            .enumerate()
            .find(|(_, part)| **part as f64 / characters as f64 > limit)
            .map(|(at, part)| (at, *part));
        let quick = scratch.first_top_above(text, characters, &[limit; 3], &mut tally);
        prop_assert_eq!(quick, first);
    }
    Ok(())
}

/// Few words in runs that repeat, some of which are others put together.
fn repetitive_text() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "a",
        "b",
        "ab",
        "1",
        "11",
        "111",
        "word",
        "longerword",
        "d\u{e9}d",
        "it's",
        "x,",
        "(y)",
        "\u{4f60}",
    ]);
    let run = prop::collection::vec(word, 1..16);
    let runs = prop::collection::vec((run, 1_usize..4), 1..8);
    runs.prop_map(|runs| {
        let words = runs.into_iter().flat_map(|(run, times)| run.repeat(times));
        words.collect::<Vec<&str>>().join(" ")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn ngrams_equal_those_of_the_obvious_way(text in repetitive_text()) {
        compare(&text, TokenKind::English)?;
        compare(&text, TokenKind::Unicode)?;
    }
}

#[test]
fn ngrams_that_are_cut_differently_are_equal_all_the_same() {
    // "1 11 1 1 1" and "11 1 1 1 1" are both "111111" of five tokens.
    let text = "1 11 1 1 1 x y z u v w 11 1 1 1 1";
    compare(text, TokenKind::English).unwrap();
    let mut scratch = TokenScratch::default();
    scratch.read(text, TokenKind::English);
    let found = scratch.duplicate_ngrams(text, &mut Tally::default());
    assert_eq!(found[0], 6);
}

#[test]
fn ngrams_that_differ_in_two_places_are_told_apart() {
    // Two multiplications took the first and the last, and the other two, for one.
    let lines = ["u64x4", "u64x2", "i64x4", "i64x2"].map(|of| {
        let half = if of.ends_with('4') { "256" } else { "128" };
        format!("from_transmute! {{ unsafe {of} => __m{half}i }}")
    });
    compare(&lines.join("\n"), TokenKind::English).unwrap();
}

#[test]
fn segments_are_tokens_but_for_space() {
    let mut scratch = TokenScratch::default();
    let text =
        "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}, \u{43c}\u{438}\u{440}! \u{4f60}\u{597d}";
    let counted = scratch.read(text, TokenKind::Unicode);
    assert_eq!(
        texts(&scratch, text),
        [
            "\u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
            ",",
            "\u{43c}\u{438}\u{440}",
            "!",
            "\u{4f60}",
            "\u{597d}"
        ]
    );
    assert_eq!((counted.words, counted.word_characters), (4, 11));
    assert_eq!(scratch.distinct(text, &["\u{43c}\u{438}\u{440}", "x"]), 1);
}

#[test]
fn stretches_have_the_tokens_and_sentences_that_they_have_alone() {
    let lines = [
        "It is so. Is it?",
        "",
        "Yes (e.g. p. 3) it is.",
        "x):)",
        "And. So. On.",
    ];
    let text = lines.join("\n");
    let mut scratch = TokenScratch::default();
    scratch.read(&text, TokenKind::English);
    // In order, and then backwards.
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0]] {
        for number in order {
            let start = lines[..number]
                .iter()
                .map(|line| line.len() + 1)
                .sum::<usize>();
            let found = scratch.stretch(start, start + lines[number].len());
            assert_eq!(found, scratch.line(lines[number]), "{}", lines[number]);
        }
    }
}
