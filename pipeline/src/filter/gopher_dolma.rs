//! Gopher's rules (Rae et al. 2021, arXiv 2112.11446, appendix A.1) on the attributes that Dolma's tagger
//! `gopher_v1` writes: `gopher-quality@dolma` and `gopher-repetition@dolma`.
//!
//! Source: `allenai/dolma` 1.2, `python/dolma/taggers/gopher.py`; thresholds of
//! `configs/dolma-v1_5/mixing/cc-head.yaml` where that has them (duplicate line characters 0.30, not 0.20) and the
//! paper's otherwise. Words are split at space, their middle length counts instead of the mean, and there are no
//! paragraphs. The most frequent n-gram counts even where it occurs once.

use serde::{Deserialize, Serialize};

use super::verdict::{above, below};
use super::{Filter, FilterError, Reason, Verdict, check_order, check_thresholds};
use crate::analysis::{Analysis, Fraction};

/// Thresholds of the quality rules. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GopherQualityDolmaOptions {
    /// Words at least.
    pub min_words: u64,
    /// Words at most.
    pub max_words: u64,
    /// Median characters a word at least.
    pub min_median_word_characters: f64,
    /// Median characters a word at most.
    pub max_median_word_characters: f64,
    /// Words that hold a symbol, of all, at most.
    pub max_symbol_word_fraction: f64,
    /// Words with a letter, of all, at least.
    pub min_alphabetic_word_fraction: f64,
    /// Occurrences of stop words at least.
    pub min_stop_words: u64,
    /// Lines that start with a bullet, of all, at most.
    pub max_bullet_line_fraction: f64,
    /// Lines that end in an ellipsis, of all, at most.
    pub max_ellipsis_line_fraction: f64,
}

impl Default for GopherQualityDolmaOptions {
    fn default() -> Self {
        Self {
            min_words: 50,
            max_words: 100_000,
            min_median_word_characters: 3.0,
            max_median_word_characters: 10.0,
            max_symbol_word_fraction: 0.1,
            min_alphabetic_word_fraction: 0.8,
            min_stop_words: 2,
            max_bullet_line_fraction: 0.9,
            max_ellipsis_line_fraction: 0.3,
        }
    }
}

impl GopherQualityDolmaOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        const TABLE: &str = "gopher-quality@dolma";
        let thresholds = [
            (
                "min-median-word-characters",
                self.min_median_word_characters,
            ),
            (
                "max-median-word-characters",
                self.max_median_word_characters,
            ),
            ("max-symbol-word-fraction", self.max_symbol_word_fraction),
            (
                "min-alphabetic-word-fraction",
                self.min_alphabetic_word_fraction,
            ),
            ("max-bullet-line-fraction", self.max_bullet_line_fraction),
            (
                "max-ellipsis-line-fraction",
                self.max_ellipsis_line_fraction,
            ),
        ];
        check_thresholds(TABLE, &thresholds, errors);
        check_order(
            TABLE,
            "words",
            self.min_words as f64,
            self.max_words as f64,
            errors,
        );
        check_order(
            TABLE,
            "median-word-characters",
            self.min_median_word_characters,
            self.max_median_word_characters,
            errors,
        );
    }
}

pub(super) struct GopherQualityDolma(pub(super) GopherQualityDolmaOptions);

fn share(part: u64, whole: u64) -> f64 {
    Fraction { part, whole }.value()
}

impl Filter for GopherQualityDolma {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        let options = &self.0;
        let found = document.dolma();
        let words = found.words as f64;
        let median = found.median_word_characters;
        let symbols = share(found.with_symbol, found.words);
        let letters = share(found.with_letter, found.words);
        let bullets = share(found.bullets, found.lines);
        let ellipses = share(found.ellipses, found.lines);
        let min_stop_words = options.min_stop_words as f64;
        let checks = [
            below(
                "gopher-too-few-words",
                "dolma-words",
                words,
                options.min_words as f64,
            ),
            above(
                "gopher-too-many-words",
                "dolma-words",
                words,
                options.max_words as f64,
            ),
            below(
                "gopher-short-words",
                "dolma-median-word-characters",
                median,
                options.min_median_word_characters,
            ),
            above(
                "gopher-long-words",
                "dolma-median-word-characters",
                median,
                options.max_median_word_characters,
            ),
            above(
                "gopher-symbols",
                "dolma-symbol-word-fraction",
                symbols,
                options.max_symbol_word_fraction,
            ),
            below(
                "gopher-non-alphabetic-words",
                "dolma-alphabetic-word-fraction",
                letters,
                options.min_alphabetic_word_fraction,
            ),
            below(
                "gopher-few-stop-words",
                "dolma-stop-words",
                found.stop_words as f64,
                min_stop_words,
            ),
            above(
                "gopher-bullets",
                "dolma-bullet-line-fraction",
                bullets,
                options.max_bullet_line_fraction,
            ),
            above(
                "gopher-ellipses",
                "dolma-ellipsis-line-fraction",
                ellipses,
                options.max_ellipsis_line_fraction,
            ),
        ];
        checks.into_iter().flatten().next().into()
    }
}

/// Thresholds of the repetition rules, shares from 0 up. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GopherRepetitionDolmaOptions {
    /// Lines that have an equal, of all.
    pub max_duplicate_line_fraction: f64,
    /// Characters of those, of all words'.
    pub max_duplicate_line_character_fraction: f64,
    /// Most frequent 2-, 3- and 4-gram, of all words' characters.
    pub max_top_ngram_character_fractions: [f64; 3],
    /// Repeated 5- to 10-grams, of all n-grams' characters.
    pub max_duplicate_ngram_character_fractions: [f64; 6],
}

impl Default for GopherRepetitionDolmaOptions {
    fn default() -> Self {
        Self {
            max_duplicate_line_fraction: 0.3,
            max_duplicate_line_character_fraction: 0.3,
            max_top_ngram_character_fractions: [0.2, 0.18, 0.16],
            max_duplicate_ngram_character_fractions: [0.15, 0.14, 0.13, 0.12, 0.11, 0.1],
        }
    }
}

impl GopherRepetitionDolmaOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        let mut thresholds = vec![
            (
                "max-duplicate-line-fraction",
                self.max_duplicate_line_fraction,
            ),
            (
                "max-duplicate-line-character-fraction",
                self.max_duplicate_line_character_fraction,
            ),
        ];
        let top = self.max_top_ngram_character_fractions;
        thresholds.extend(top.map(|max| ("max-top-ngram-character-fractions", max)));
        let duplicate = self.max_duplicate_ngram_character_fractions;
        thresholds.extend(duplicate.map(|max| ("max-duplicate-ngram-character-fractions", max)));
        check_thresholds("gopher-repetition@dolma", &thresholds, errors);
    }
}

/// Reasons and statistics of the n-grams.
const TOP: [(&str, &str); 3] = [
    ("gopher-top-2-gram", "dolma-top-2-gram-fraction"),
    ("gopher-top-3-gram", "dolma-top-3-gram-fraction"),
    ("gopher-top-4-gram", "dolma-top-4-gram-fraction"),
];
const DUPLICATE: [(&str, &str); 6] = [
    ("gopher-dup-5-gram", "dolma-duplicate-5-gram-fraction"),
    ("gopher-dup-6-gram", "dolma-duplicate-6-gram-fraction"),
    ("gopher-dup-7-gram", "dolma-duplicate-7-gram-fraction"),
    ("gopher-dup-8-gram", "dolma-duplicate-8-gram-fraction"),
    ("gopher-dup-9-gram", "dolma-duplicate-9-gram-fraction"),
    ("gopher-dup-10-gram", "dolma-duplicate-10-gram-fraction"),
];

pub(super) struct GopherRepetitionDolma(pub(super) GopherRepetitionDolmaOptions);

impl Filter for GopherRepetitionDolma {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.reason(document).into()
    }
}

impl GopherRepetitionDolma {
    fn reason(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        let found = document.dolma();
        let lines = share(found.duplicate_lines, found.lines);
        let characters = share(found.duplicate_line_characters, found.characters.max(1));
        let max = options.max_duplicate_line_character_fraction;
        above(
            "gopher-dup-line",
            "dolma-duplicate-line-fraction",
            lines,
            options.max_duplicate_line_fraction,
        )
        .or_else(|| {
            above(
                "gopher-dup-line-characters",
                "dolma-duplicate-line-character-fraction",
                characters,
                max,
            )
        })
        .or_else(|| {
            let top = found
                .top
                .map(|part| share(part, found.characters))
                .into_iter()
                .zip(options.max_top_ngram_character_fractions)
                .zip(TOP);
            let duplicate = found
                .duplicate
                .map(Fraction::value)
                .into_iter()
                .zip(options.max_duplicate_ngram_character_fractions)
                .zip(DUPLICATE);
            top.chain(duplicate)
                .find_map(|((value, max), (name, statistic))| above(name, statistic, value, max))
        })
    }
}

#[cfg(test)]
mod tests;
