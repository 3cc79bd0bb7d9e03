//! Gopher's quality rules (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1) as DataComp-LM computes them:
//! profile `gopher@dclm`.
//!
//! Source: `mlfoundations/dclm`, `baselines/mappers/filters/content_filters.py`, with the thresholds of
//! `baselines_configs/dclm_baseline_refinedweb.yaml` and in its order. Where the definitions part from the
//! paper's wording: words for the count are fastText tokens that begin with a letter or digit, for everything
//! else those of Python's `split`; symbols are summed and counted as they occur, not by words; blank lines
//! count nowhere; stop words are counted with repetition, in any case. A document without words is dropped
//! whatever the thresholds.

use serde::{Deserialize, Serialize};

use super::verdict::{above, below, beyond};
use super::{Filter, FilterError, Reason, Verdict, check_order, check_thresholds};
use crate::analysis::Analysis;

/// Thresholds of the quality rules. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GopherQualityOptions {
    /// Words at least.
    pub min_words: u64,
    /// Words at most.
    pub max_words: u64,
    /// Mean characters a word at least.
    pub min_mean_word_characters: f64,
    /// Mean characters a word at most.
    pub max_mean_word_characters: f64,
    /// `#` and ellipses a word at most.
    pub max_symbol_word_fraction: f64,
    /// Lines that start with a bullet, of all lines, at most.
    pub max_bullet_line_fraction: f64,
    /// Lines that end in an ellipsis, of all lines, at most.
    pub max_ellipsis_line_fraction: f64,
    /// Words without a letter, of all words, at most.
    pub max_non_alphabetic_word_fraction: f64,
    /// Occurrences of `the be to of and that have with` at least.
    pub min_stop_words: u64,
}

impl Default for GopherQualityOptions {
    fn default() -> Self {
        Self {
            min_words: 50,
            max_words: 100_000,
            min_mean_word_characters: 3.0,
            max_mean_word_characters: 10.0,
            max_symbol_word_fraction: 0.1,
            max_bullet_line_fraction: 0.9,
            max_ellipsis_line_fraction: 0.3,
            max_non_alphabetic_word_fraction: 0.2,
            min_stop_words: 2,
        }
    }
}

const TABLE: &str = "gopher-quality";

impl GopherQualityOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        let thresholds = [
            ("min-mean-word-characters", self.min_mean_word_characters),
            ("max-mean-word-characters", self.max_mean_word_characters),
            ("max-symbol-word-fraction", self.max_symbol_word_fraction),
            ("max-bullet-line-fraction", self.max_bullet_line_fraction),
            (
                "max-ellipsis-line-fraction",
                self.max_ellipsis_line_fraction,
            ),
            (
                "max-non-alphabetic-word-fraction",
                self.max_non_alphabetic_word_fraction,
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

pub(super) struct GopherQualityFilter(pub(super) GopherQualityOptions);

impl Filter for GopherQualityFilter {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.reason(document).into()
    }
}

impl GopherQualityFilter {
    fn reason(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        let words = document.split_words();
        let tokens = words.tokens as f64;
        let min = options.min_words as f64;
        if words.count == 0 {
            return Some(beyond(
                "gopher-too-few-words",
                "dclm-split-words",
                0.0,
                1.0,
                false,
            ));
        }
        let count = words.count as f64;
        let mean = words.characters as f64 / count;
        below("gopher-too-few-words", "dclm-words", tokens, min)
            .or_else(|| {
                above(
                    "gopher-too-many-words",
                    "dclm-words",
                    tokens,
                    options.max_words as f64,
                )
            })
            .or_else(|| {
                let min = options.min_mean_word_characters;
                below("gopher-short-words", "dclm-mean-word-characters", mean, min)
            })
            .or_else(|| {
                let max = options.max_mean_word_characters;
                above("gopher-long-words", "dclm-mean-word-characters", mean, max)
            })
            .or_else(|| {
                let value = document.symbols() as f64 / count;
                let max = options.max_symbol_word_fraction;
                above("gopher-symbols", "dclm-symbol-word-fraction", value, max)
            })
            .or_else(|| {
                let layout = document.layout();
                let lines = layout.lines.count;
                let max = options.max_bullet_line_fraction;
                let bullets = "dclm-bullet-line-fraction";
                above_of("gopher-bullets", bullets, layout.bullets, lines, max).or_else(|| {
                    let max = options.max_ellipsis_line_fraction;
                    let ellipses = "dclm-ellipsis-line-fraction";
                    above_of("gopher-ellipses", ellipses, layout.ellipses, lines, max)
                })
            })
            .or_else(|| {
                let value = words.without_letter as f64 / count;
                let max = options.max_non_alphabetic_word_fraction;
                let statistic = "dclm-non-alphabetic-word-fraction";
                above("gopher-non-alphabetic-words", statistic, value, max)
            })
            .or_else(|| {
                let min = options.min_stop_words as f64;
                let found = words.stop_words as f64;
                below("gopher-few-stop-words", "dclm-stop-words", found, min)
            })
    }
}

/// DCLM multiplies here and divides elsewhere; the last bit can differ, so it is done the same way.
fn above_of(
    name: &'static str,
    statistic: &'static str,
    part: u64,
    whole: u64,
    max: f64,
) -> Option<Reason> {
    let (part, whole) = (part as f64, whole as f64);
    (part > max * whole).then(|| beyond(name, statistic, part / whole.max(1.0), max, true))
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    fn judge(text: &str) -> Verdict {
        verdict(&GopherQualityFilter(GopherQualityOptions::default()), text)
    }

    /// A document of the given number of five-letter words on lines of ten, two of them stop words.
    fn document(words: usize) -> String {
        let plain = (0..words - 2).map(|number| {
            if number % 10 == 9 {
                "horse\n"
            } else {
                "horse "
            }
        });
        plain.chain(["the ", "With"]).collect()
    }

    #[test]
    fn words_are_bounded_at_both_ends() {
        assert_eq!(judge(&document(49)), Verdict::drop("gopher-too-few-words"));
        assert_eq!(judge(&document(50)), Verdict::Keep);
        assert_eq!(judge(&document(100_000)), Verdict::Keep);
        assert_eq!(
            judge(&document(100_001)),
            Verdict::drop("gopher-too-many-words")
        );
    }

    #[test]
    fn only_tokens_that_begin_with_a_letter_or_digit_count() {
        // 49 words, and tokens that fastText makes of punctuation alone.
        assert_eq!(
            judge(&format!("{} \" ( _x", document(49))),
            Verdict::drop("gopher-too-few-words")
        );
        // A no-break space parts words for Python and not for fastText.
        assert_eq!(
            judge(&format!("{}\u{a0}horse", document(49))),
            Verdict::drop("gopher-too-few-words")
        );
        assert_eq!(judge(&format!("{} horse", document(49))), Verdict::Keep);
    }

    #[test]
    fn mean_word_length_may_be_three_and_ten_with_punctuation_attached() {
        let words = |word: &str, count: usize| {
            format!("the with that {}", format!("{word} ").repeat(count))
        };
        // 3 + 4 + 4 + 1 + 99 * 3 characters in 103 words: exactly 3.
        assert_eq!(judge(&format!("{} I", words("cat", 99))), Verdict::Keep);
        assert_eq!(
            judge(&format!("{} I I", words("cat", 99))),
            Verdict::drop("gopher-short-words")
        );
        let long = "elevencha10,"; // 12 characters, the comma one of them
        assert_eq!(judge(&words(long, 60)), Verdict::drop("gopher-long-words"));
        // In bytes Cyrillic words of seven letters would be too long.
        assert_eq!(
            judge(&words(
                "\u{430}\u{431}\u{432}\u{433}\u{434}\u{435}\u{436}",
                60
            )),
            Verdict::Keep
        );
    }

    #[test]
    fn symbols_are_summed_over_words() {
        // 50 words with five symbols: exactly a tenth. "......" is two.
        let with = |symbols: &str| format!("ho{symbols}rse the {}", document(48));
        assert_eq!(judge(&with("#####")), Verdict::Keep);
        assert_eq!(judge(&with("######")), Verdict::drop("gopher-symbols"));
        assert_eq!(judge(&with("##\u{2026}......")), Verdict::Keep);
        assert_eq!(
            judge(&with("##\u{2026}\u{2026}......")),
            Verdict::drop("gopher-symbols")
        );
        // ". . ." is one symbol and three words: 5 of 53, and 6.
        assert_eq!(judge(&with("####ho . . . ho")), Verdict::Keep);
        assert_eq!(
            judge(&with("#####ho . . . ho")),
            Verdict::drop("gopher-symbols")
        );
    }

    #[test]
    fn bullets_may_start_nine_lines_of_ten() {
        let line = "horse horse horse horse the with\n";
        let bullets = |marks: &[&str], plain: usize| {
            let listed: String = marks
                .iter()
                .map(|mark| format!("  {mark} {line}\n"))
                .collect();
            format!("{listed}{}", line.repeat(plain))
        };
        let nine = ["-", "*", "\u{2022}", "\u{25cf}", "-", "-", "-", "-", "-"];
        assert_eq!(judge(&bullets(&nine, 1)), Verdict::Keep);
        assert_eq!(judge(&bullets(&nine, 0)), Verdict::drop("gopher-bullets"));
    }

    #[test]
    fn an_ellipsis_may_end_three_lines_of_ten() {
        let line = "horse horse horse horse the with\n";
        let ends = |marks: &[&str], plain: usize| {
            let cut: String = marks
                .iter()
                .map(|mark| format!("horse the horse horse horse with{mark} \n\n"))
                .collect();
            format!("{cut}{}", line.repeat(plain))
        };
        assert_eq!(
            judge(&ends(&["...", ". . .", "\u{2026}"], 7)),
            Verdict::Keep
        );
        assert_eq!(
            judge(&ends(&["...", ". . .", "\u{2026}", "..."], 9)),
            Verdict::drop("gopher-ellipses")
        );
    }

    #[test]
    fn one_word_in_five_may_be_without_a_letter() {
        let words = |numbers: usize| {
            format!(
                "the with {}{}",
                "1234 ".repeat(numbers),
                "horse ".repeat(78)
            )
        };
        assert_eq!(judge(&words(20)), Verdict::Keep);
        assert_eq!(
            judge(&words(21)),
            Verdict::drop("gopher-non-alphabetic-words")
        );
        // A lone vowel sign is alphabetic by Unicode's property and no letter: the 21st of 101 words.
        assert_eq!(
            judge(&format!("{} \u{93f}", words(20))),
            Verdict::drop("gopher-non-alphabetic-words")
        );
    }

    #[test]
    fn two_stop_words_are_enough_be_they_equal() {
        let plain = "horse ".repeat(60);
        assert_eq!(judge(&plain), Verdict::drop("gopher-few-stop-words"));
        assert_eq!(
            judge(&format!("{plain} the")),
            Verdict::drop("gopher-few-stop-words")
        );
        assert_eq!(judge(&format!("{plain} the THE")), Verdict::Keep);
        // Python's split leaves punctuation on words.
        assert_eq!(
            judge(&format!("{plain} the, the.")),
            Verdict::drop("gopher-few-stop-words")
        );
    }

    #[test]
    fn a_document_without_words_is_dropped_whatever_the_bounds() {
        let filter = GopherQualityFilter(GopherQualityOptions {
            min_words: 0,
            ..GopherQualityOptions::default()
        });
        for text in ["", "   ", "\n\n"] {
            assert_eq!(
                verdict(&filter, text),
                Verdict::drop("gopher-too-few-words")
            );
        }
        assert_eq!(judge("one"), Verdict::drop("gopher-too-few-words"));
    }
}
