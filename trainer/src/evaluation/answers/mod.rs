//! How an answer is read out of what a model made. A reading is a published rule, faults included: two rules on the same text give two
//! numbers, and both are reported.

mod harness;
mod hub;
mod math;

use serde::{Deserialize, Serialize};

pub use math::boxed;

/// A rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reading {
    /// The harness on GSM8K, `strict-match`: the number after `####`.
    Gsm8kStrict,
    /// The harness on GSM8K with chains of thought, `strict-match`: the number after `The answer is`.
    Gsm8kCotStrict,
    /// The harness on GSM8K, `flexible-extract`: the last number.
    Gsm8kFlexible,
    /// The harness on BIG-Bench Hard: what follows `the answer is`, without the last character of the line.
    BbhHarness,
    /// The harness on MATH (`hendrycks_math`): what stands between the first dollar and the last, or all.
    MathHarness,
    /// The hub on GSM8K: the last number without a sign, of the text up to the line that says `answer is`.
    Gsm8kHub,
    /// The hub on MATH: what follows the last `The answer is`, or the last number.
    MathHub,
    /// The hub on BIG-Bench Hard: what follows the last `answer is`, a letter where the answer is one.
    BbhHub,
    /// The hub on MMLU with chains of thought: the letter after `the answer is (`.
    MmluCotHub,
    /// The hub on MMLU: the last character.
    MmluHub,
}

impl Reading {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gsm8kStrict => "gsm8k-strict",
            Self::Gsm8kCotStrict => "gsm8k-cot-strict",
            Self::Gsm8kFlexible => "gsm8k-flexible",
            Self::BbhHarness => "bbh-harness",
            Self::MathHarness => "math-harness",
            Self::Gsm8kHub => "gsm8k-hub",
            Self::MathHub => "math-hub",
            Self::BbhHub => "bbh-hub",
            Self::MmluCotHub => "mmlu-cot-hub",
            Self::MmluHub => "mmlu-hub",
        }
    }

    /// The answer in `completion`, if it has one; `target` is what holds the right one.
    pub fn answer(self, completion: &str, target: &str) -> Option<String> {
        match self {
            Self::Gsm8kStrict => harness::after_hashes(completion),
            Self::Gsm8kCotStrict => harness::after_the_answer_is(completion),
            Self::Gsm8kFlexible => harness::last_number(completion),
            Self::BbhHarness => harness::rest_of_line(completion),
            Self::MathHarness => Some(math::between_dollars(completion).to_owned()),
            Self::Gsm8kHub => hub::last_number(hub::up_to_answer(completion)),
            Self::MathHub => hub::math(completion),
            Self::BbhHub => hub::bbh(completion, target),
            Self::MmluCotHub => hub::letter_in_brackets(completion),
            Self::MmluHub => completion.chars().next_back().map(String::from),
        }
    }

    /// The right answer in `target`, as answers are compared with it; none where there is none.
    pub fn expected(self, target: &str) -> Option<String> {
        match self {
            Self::Gsm8kStrict | Self::Gsm8kCotStrict | Self::Gsm8kFlexible => {
                target.contains("####").then(|| target.to_owned())
            }
            Self::BbhHarness | Self::MmluHub => Some(target.to_owned()),
            Self::MathHarness | Self::MathHub => boxed(target),
            Self::Gsm8kHub => hub::last_number(target),
            Self::BbhHub => Some(hub::bbh_target(target)),
            Self::MmluCotHub => Some(target.to_lowercase()),
        }
    }

    /// Whether `completion` has the right answer.
    pub fn right(self, completion: &str, target: &str) -> bool {
        let (Some(answer), Some(expected)) =
            (self.answer(completion, target), self.expected(target))
        else {
            return false;
        };
        match self {
            Self::Gsm8kStrict | Self::Gsm8kCotStrict | Self::Gsm8kFlexible => {
                harness::as_compared(&answer) == harness::as_compared(&expected)
            }
            Self::MathHarness => math::equivalent(&answer, &expected),
            _ => answer == expected,
        }
    }
}

/// The beginning of `text` before the first of `stops` in it.
pub fn cut<'a>(text: &'a str, stops: &[String]) -> &'a str {
    let first = stops
        .iter()
        .filter_map(|stop| text.find(stop.as_str()))
        .min();
    first.map_or(text, |at| &text[..at])
}
