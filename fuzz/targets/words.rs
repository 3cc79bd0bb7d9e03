//! The words of a text are those of `unicode-segmentation`.

#![no_main]

use andromeda_pipeline::dedup::words::{WordHasher, for_each_word};
use libfuzzer_sys::fuzz_target;
use unicode_segmentation::UnicodeSegmentation;

fuzz_target!(|text: &str| {
    let mut found = Vec::new();
    let mut hasher = WordHasher::default();
    for_each_word(text, |start, end| {
        found.push((start, &text[start..end]));
        hasher.lower_case(text, start, end);
    });
    let expected: Vec<(usize, &str)> = text.unicode_word_indices().collect();
    assert_eq!(found, expected);
});
