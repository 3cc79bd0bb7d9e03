//! Rules that keep or drop one document, each from a published source and in a file of its own.
//!
//! A rule reads the shared [`Analysis`]; [`Filters`] asks the rules in a fixed order, the cheapest first:
//! length (one count), code (two passes over characters), Gopher quality (words split at space), Gopher
//! repetition (words of Unicode and their n-grams). The first that says no names the reason, so a reason's
//! count depends on that order, and what is kept does not.

pub mod code;
pub mod gopher_quality;
pub mod gopher_repetition;
pub mod length;

use serde::{Deserialize, Serialize};

use self::code::{CodeFilter, CodeOptions};
use self::gopher_quality::{GopherQualityFilter, GopherQualityOptions};
use self::gopher_repetition::{GopherRepetitionFilter, GopherRepetitionOptions};
use self::length::{LengthFilter, LengthOptions};
use crate::analysis::{Analysis, Scratch};

/// What a rule says of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The document stays.
    Keep,
    /// The document goes, for this reason: a short word for the funnel.
    Drop(&'static str),
}

/// A rule.
pub trait Filter: Send + Sync {
    /// Judges one document. Total: every text has a verdict.
    fn check(&self, document: &Analysis<'_>) -> Verdict;
}

/// Which rules are on: those whose table is present, with its values over the published ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FilterOptions {
    /// Characters of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<LengthOptions>,
    /// The rules of `StarCoder` for code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeOptions>,
    /// Gopher's quality rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gopher_quality: Option<GopherQualityOptions>,
    /// Gopher's repetition rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gopher_repetition: Option<GopherRepetitionOptions>,
}

/// An option that no document could be judged by.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FilterError {
    /// A threshold that is not a number, or below zero.
    #[error("filter.{table}: {key} = {value}: write a number that is not negative")]
    Threshold {
        /// The rule's table.
        table: &'static str,
        /// The option, as written.
        key: &'static str,
        /// Its value.
        value: f64,
    },
    /// A minimum above its maximum.
    #[error(
        "filter.{table}: min-{quantity} is above max-{quantity}, which drops every document: swap or change them"
    )]
    Reversed {
        /// The rule's table.
        table: &'static str,
        /// What is bounded.
        quantity: &'static str,
    },
}

/// The reason for texts that are too long to be analysed at all.
pub const TOO_LARGE: &str = "text-too-large";

/// The rules of a recipe, in order.
pub struct Filters {
    rules: Vec<Box<dyn Filter>>,
}

impl Filters {
    /// The rules that `options` turn on.
    ///
    /// # Errors
    /// All thresholds that make no sense, not only the first.
    pub fn new(options: &FilterOptions) -> Result<Self, Vec<FilterError>> {
        let mut rules: Vec<Box<dyn Filter>> = Vec::new();
        let mut errors = Vec::new();
        if let Some(options) = &options.length {
            options.check(&mut errors);
            rules.push(Box::new(LengthFilter(options.clone())));
        }
        if let Some(options) = &options.code {
            options.check(&mut errors);
            rules.push(Box::new(CodeFilter(options.clone())));
        }
        if let Some(options) = &options.gopher_quality {
            options.check(&mut errors);
            rules.push(Box::new(GopherQualityFilter(options.clone())));
        }
        if let Some(options) = &options.gopher_repetition {
            options.check(&mut errors);
            rules.push(Box::new(GopherRepetitionFilter(options.clone())));
        }
        if errors.is_empty() {
            Ok(Self { rules })
        } else {
            Err(errors)
        }
    }

    /// Whether no rule is on, so that every document that is not too large stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The verdict on a document: that of the first rule which drops it. `scratch` is one thread's, kept from
    /// document to document; nothing is allocated once it has seen a large one.
    pub fn judge(&self, text: &str, scratch: &mut Scratch) -> Verdict {
        let Some(document) = Analysis::new(text, scratch) else {
            return Verdict::Drop(TOO_LARGE);
        };
        self.rules
            .iter()
            .map(|rule| rule.check(&document))
            .find(|verdict| *verdict != Verdict::Keep)
            .unwrap_or(Verdict::Keep)
    }
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Filters")
            .field("rules", &self.rules.len())
            .finish()
    }
}

/// Notes every threshold that is not a number or negative.
fn check_thresholds(
    table: &'static str,
    thresholds: &[(&'static str, f64)],
    errors: &mut Vec<FilterError>,
) {
    for &(key, value) in thresholds {
        if !value.is_finite() || value < 0.0 {
            errors.push(FilterError::Threshold { table, key, value });
        }
    }
}

/// The verdict of one rule on a text, for the tests of the rules.
#[cfg(test)]
fn verdict(filter: &dyn Filter, text: &str) -> Verdict {
    filter.check(&Analysis::new(text, &mut Scratch::default()).unwrap())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all() -> FilterOptions {
        FilterOptions {
            length: Some(LengthOptions {
                min_characters: 1,
                ..LengthOptions::default()
            }),
            code: Some(CodeOptions::default()),
            gopher_quality: Some(GopherQualityOptions::default()),
            gopher_repetition: Some(GopherRepetitionOptions::default()),
        }
    }

    #[test]
    fn a_table_turns_its_rule_on_and_an_unknown_key_is_an_error() {
        let options: FilterOptions =
            toml::from_str("[length]\nmin-characters = 3\n[gopher-quality]\n").unwrap();
        assert_eq!(options.length.as_ref().unwrap().min_characters, 3);
        assert_eq!(
            options.gopher_quality,
            Some(GopherQualityOptions::default())
        );
        assert_eq!((options.code, options.gopher_repetition), (None, None));
        assert!(toml::from_str::<FilterOptions>("[lenght]\n").is_err());
        assert!(toml::from_str::<FilterOptions>("[length]\nmin-chars = 3\n").is_err());
    }

    #[test]
    fn without_rules_every_text_stays() {
        let filters = Filters::new(&FilterOptions::default()).unwrap();
        assert!(filters.is_empty());
        assert_eq!(filters.judge("", &mut Scratch::default()), Verdict::Keep);
    }

    #[test]
    fn the_first_rule_names_the_reason() {
        let filters = Filters::new(&all()).unwrap();
        let mut scratch = Scratch::default();
        assert_eq!(filters.judge("", &mut scratch), Verdict::Drop("too-short"));
        assert_eq!(
            filters.judge("?!?!?!", &mut scratch),
            Verdict::Drop("code-few-alphanumeric")
        );
        assert_eq!(
            filters.judge("a few words", &mut scratch),
            Verdict::Drop("gopher-too-few-words")
        );
    }

    #[test]
    fn all_faults_of_the_options_are_told_at_once() {
        let mut options = all();
        options.length = Some(LengthOptions {
            min_characters: 10,
            max_characters: Some(5),
        });
        options.gopher_quality = Some(GopherQualityOptions {
            max_symbol_word_fraction: f64::NAN,
            ..GopherQualityOptions::default()
        });
        let messages: Vec<String> = Filters::new(&options)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            messages,
            [
                "filter.length: min-characters is above max-characters, which drops every document: swap or change them",
                "filter.gopher-quality: max-symbol-word-fraction = NaN: write a number that is not negative",
            ]
        );
    }

    proptest! {
        #[test]
        fn every_text_has_a_verdict_and_always_the_same(text in "\\PC{0,200}") {
            let filters = Filters::new(&all()).unwrap();
            let mut scratch = Scratch::default();
            let verdict = filters.judge(&text, &mut scratch);
            prop_assert_eq!(verdict, filters.judge(&text, &mut scratch));
        }
    }
}
