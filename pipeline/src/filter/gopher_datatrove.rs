//! Gopher's rules (Rae et al. 2021, arXiv 2112.11446, appendix A.1) as datatrove computes them:
//! `gopher-quality@datatrove` and `gopher-repetition@datatrove`.
//!
//! Source: `huggingface/datatrove` 0.10, `pipeline/filters/gopher_quality_filter.py` and
//! `gopher_repetition_filter.py`. Words are spaCy's tokens, so a comma is one; those that are not all punctuation
//! count for number and length, all of them for the rest. Repeats count after the first, on the unstripped text, and
//! the most frequent n-gram counts even where it occurs once: a text under some 24 words goes for that alone.
//! datatrove's option `max_non_alpha_words_ratio` is a minimum of words with a letter, and is called so here. Where
//! datatrove divides by zero, there is a verdict here: nothing of nothing is 0.

use serde::{Deserialize, Serialize};

use super::verdict::{above, below};
use super::{Filter, FilterError, Reason, Verdict, check_order, check_thresholds};
use crate::analysis::signals::occurrences;
use crate::analysis::{Analysis, TokenKind};

/// Thresholds of the quality rules. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GopherQualityDatatroveOptions {
    /// What words are: tokens of `english`, or of `unicode` for other languages.
    pub tokens: TokenKind,
    /// Words at least.
    pub min_words: u64,
    /// Words at most.
    pub max_words: u64,
    /// Mean characters a word at least.
    pub min_mean_word_characters: f64,
    /// Mean characters a word at most.
    pub max_mean_word_characters: f64,
    /// `#` a token at most, and ellipses a token at most.
    pub max_symbol_token_fraction: f64,
    /// Lines that start with a bullet, of all lines, at most.
    pub max_bullet_line_fraction: f64,
    /// Lines that end in an ellipsis, of all lines, at most.
    pub max_ellipsis_line_fraction: f64,
    /// Tokens with a letter, of all tokens, at least.
    pub min_alphabetic_token_fraction: f64,
    /// How many of the stop words must occur.
    pub min_stop_words: u64,
    /// The stop words; English ones when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_words: Option<Vec<String>>,
}

impl Default for GopherQualityDatatroveOptions {
    fn default() -> Self {
        Self {
            tokens: TokenKind::English,
            min_words: 50,
            max_words: 100_000,
            min_mean_word_characters: 3.0,
            max_mean_word_characters: 10.0,
            max_symbol_token_fraction: 0.1,
            max_bullet_line_fraction: 0.9,
            max_ellipsis_line_fraction: 0.3,
            min_alphabetic_token_fraction: 0.8,
            min_stop_words: 2,
            stop_words: None,
        }
    }
}

impl GopherQualityDatatroveOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        const TABLE: &str = "gopher-quality@datatrove";
        let thresholds = [
            ("min-mean-word-characters", self.min_mean_word_characters),
            ("max-mean-word-characters", self.max_mean_word_characters),
            ("max-symbol-token-fraction", self.max_symbol_token_fraction),
            ("max-bullet-line-fraction", self.max_bullet_line_fraction),
            (
                "max-ellipsis-line-fraction",
                self.max_ellipsis_line_fraction,
            ),
            (
                "min-alphabetic-token-fraction",
                self.min_alphabetic_token_fraction,
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
            "mean-word-characters",
            self.min_mean_word_characters,
            self.max_mean_word_characters,
            errors,
        );
    }
}

pub(super) struct GopherQualityDatatrove(pub(super) GopherQualityDatatroveOptions);

impl Filter for GopherQualityDatatrove {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.reason(document).into()
    }
}

fn quotient(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}

impl GopherQualityDatatrove {
    fn reason(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        let tokens = document.tokens(options.tokens);
        let words = tokens.words as f64;
        let mean = quotient(tokens.word_characters, tokens.words);
        below(
            "gopher-too-few-words",
            "datatrove-words",
            words,
            options.min_words as f64,
        )
        .or_else(|| {
            above(
                "gopher-too-many-words",
                "datatrove-words",
                words,
                options.max_words as f64,
            )
        })
        .or_else(|| {
            let min = options.min_mean_word_characters;
            below(
                "gopher-short-words",
                "datatrove-mean-word-characters",
                mean,
                min,
            )
        })
        .or_else(|| {
            let max = options.max_mean_word_characters;
            above(
                "gopher-long-words",
                "datatrove-mean-word-characters",
                mean,
                max,
            )
        })
        .or_else(|| self.symbols(document, tokens.count))
        .or_else(|| {
            let lines = document.lines();
            let max = options.max_bullet_line_fraction;
            let bullets = quotient(lines.bullets, lines.split);
            let ellipses = quotient(lines.ellipses, lines.split);
            above(
                "gopher-bullets",
                "datatrove-bullet-line-fraction",
                bullets,
                max,
            )
            .or_else(|| {
                let max = options.max_ellipsis_line_fraction;
                above(
                    "gopher-ellipses",
                    "datatrove-ellipsis-line-fraction",
                    ellipses,
                    max,
                )
            })
        })
        .or_else(|| {
            let value = quotient(tokens.with_letter, tokens.count);
            let min = options.min_alphabetic_token_fraction;
            below(
                "gopher-non-alphabetic-words",
                "datatrove-alphabetic-token-fraction",
                value,
                min,
            )
        })
        .or_else(|| {
            let found = match &options.stop_words {
                None => tokens.stop_words,
                Some(words) => {
                    let words: Vec<&str> = words.iter().map(String::as_str).collect();
                    document.tokens_among(options.tokens, &words)
                }
            };
            let min = options.min_stop_words as f64;
            below(
                "gopher-few-stop-words",
                "datatrove-stop-words",
                found as f64,
                min,
            )
        })
    }

    fn symbols(&self, document: &Analysis<'_>, tokens: u64) -> Option<Reason> {
        let max = self.0.max_symbol_token_fraction;
        let text = document.text();
        let hashes = quotient(occurrences(text, "#"), tokens);
        above(
            "gopher-hashes",
            "datatrove-hash-token-fraction",
            hashes,
            max,
        )
        .or_else(|| {
            let ellipses = occurrences(text, "...") + occurrences(text, "…");
            let value = quotient(ellipses, tokens);
            above(
                "gopher-ellipsis-marks",
                "datatrove-ellipsis-token-fraction",
                value,
                max,
            )
        })
    }
}

/// Thresholds of the repetition rules, shares from 0 up. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GopherRepetitionDatatroveOptions {
    /// What words are: tokens of `english`, or of `unicode` for other languages.
    pub tokens: TokenKind,
    /// Paragraphs that stood before, of all; not asked where absent, as are the other three.
    pub max_duplicate_paragraph_fraction: Option<f64>,
    /// Characters of those, of the text's.
    pub max_duplicate_paragraph_character_fraction: Option<f64>,
    /// Lines that stood before, of all.
    pub max_duplicate_line_fraction: Option<f64>,
    /// Characters of those, of the text's.
    pub max_duplicate_line_character_fraction: Option<f64>,
    /// Most frequent 2-, 3- and 4-gram, of the text's characters.
    pub max_top_ngram_character_fractions: [f64; 3],
    /// 5- to 10-grams that stood before, of the text's characters.
    pub max_duplicate_ngram_character_fractions: [f64; 6],
}

impl Default for GopherRepetitionDatatroveOptions {
    fn default() -> Self {
        Self {
            tokens: TokenKind::English,
            max_duplicate_paragraph_fraction: Some(0.3),
            max_duplicate_paragraph_character_fraction: Some(0.2),
            max_duplicate_line_fraction: Some(0.3),
            max_duplicate_line_character_fraction: Some(0.2),
            max_top_ngram_character_fractions: [0.2, 0.18, 0.16],
            max_duplicate_ngram_character_fractions: [0.15, 0.14, 0.13, 0.12, 0.11, 0.1],
        }
    }
}

impl GopherRepetitionDatatroveOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        let mut thresholds: Vec<(&'static str, f64)> = [
            (
                "max-duplicate-paragraph-fraction",
                self.max_duplicate_paragraph_fraction,
            ),
            (
                "max-duplicate-paragraph-character-fraction",
                self.max_duplicate_paragraph_character_fraction,
            ),
            (
                "max-duplicate-line-fraction",
                self.max_duplicate_line_fraction,
            ),
            (
                "max-duplicate-line-character-fraction",
                self.max_duplicate_line_character_fraction,
            ),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect();
        let top = self.max_top_ngram_character_fractions;
        thresholds.extend(top.map(|max| ("max-top-ngram-character-fractions", max)));
        let duplicate = self.max_duplicate_ngram_character_fractions;
        thresholds.extend(duplicate.map(|max| ("max-duplicate-ngram-character-fractions", max)));
        check_thresholds("gopher-repetition@datatrove", &thresholds, errors);
    }
}

/// Reasons and statistics of the n-grams.
const TOP: [(&str, &str); 3] = [
    ("gopher-top-2-gram", "datatrove-top-2-gram-fraction"),
    ("gopher-top-3-gram", "datatrove-top-3-gram-fraction"),
    ("gopher-top-4-gram", "datatrove-top-4-gram-fraction"),
];
const DUPLICATE: [(&str, &str); 6] = [
    ("gopher-dup-5-gram", "datatrove-duplicate-5-gram-fraction"),
    ("gopher-dup-6-gram", "datatrove-duplicate-6-gram-fraction"),
    ("gopher-dup-7-gram", "datatrove-duplicate-7-gram-fraction"),
    ("gopher-dup-8-gram", "datatrove-duplicate-8-gram-fraction"),
    ("gopher-dup-9-gram", "datatrove-duplicate-9-gram-fraction"),
    ("gopher-dup-10-gram", "datatrove-duplicate-10-gram-fraction"),
];

pub(super) struct GopherRepetitionDatatrove(pub(super) GopherRepetitionDatatroveOptions);

impl Filter for GopherRepetitionDatatrove {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.reason(document).into()
    }
}

impl GopherRepetitionDatatrove {
    fn reason(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        if document.text().is_empty() {
            return Some(Reason {
                name: "empty",
                measured: None,
            });
        }
        let lines = document.lines();
        let characters = document.character_count();
        let checks = [
            (
                "gopher-dup-paragraph",
                "datatrove-duplicate-paragraph-fraction",
                lines.paragraphs.fraction().value(),
                options.max_duplicate_paragraph_fraction,
            ),
            (
                "gopher-dup-paragraph-characters",
                "datatrove-duplicate-paragraph-character-fraction",
                quotient(lines.paragraphs.characters, characters),
                options.max_duplicate_paragraph_character_fraction,
            ),
            (
                "gopher-dup-line",
                "datatrove-duplicate-line-fraction",
                lines.lines.fraction().value(),
                options.max_duplicate_line_fraction,
            ),
            (
                "gopher-dup-line-characters",
                "datatrove-duplicate-line-character-fraction",
                quotient(lines.lines.characters, characters),
                options.max_duplicate_line_character_fraction,
            ),
        ];
        checks
            .into_iter()
            .find_map(|(name, statistic, value, max)| above(name, statistic, value, max?))
            .or_else(|| {
                let limits = &options.max_top_ngram_character_fractions;
                let (at, fraction) = document.top_token_ngrams_above(options.tokens, limits)?;
                let (name, statistic) = TOP[at];
                above(name, statistic, fraction.value(), limits[at])
            })
            .or_else(|| {
                let limits = &options.max_duplicate_ngram_character_fractions;
                let (at, fraction) =
                    document.duplicate_token_ngrams_above(options.tokens, limits)?;
                let (name, statistic) = DUPLICATE[at];
                above(name, statistic, fraction.value(), limits[at])
            })
    }
}

#[cfg(test)]
mod tests;
