//! What rules and compositions of rules there are, by name.
//!
//! A name says whose rule it is, and after an `@` whose way of computing it. A rule's version grows when it begins to
//! judge a text otherwise; it goes into the keys of tasks where a recipe lists its rules.

use serde::{Deserialize, Serialize};

use super::c4::{C4, C4DatatroveOptions};
use super::ccnet::Ccnet;
use super::chat::Chat;
use super::code::CodeFilter;
use super::fineweb::{Fineweb, FinewebOptions};
use super::gopher_datatrove::{
    GopherQualityDatatrove, GopherQualityDatatroveOptions, GopherRepetitionDatatrove,
    GopherRepetitionDatatroveOptions,
};
use super::gopher_dolma::{GopherQualityDolma, GopherRepetitionDolma};
use super::gopher_quality::GopherQualityFilter;
use super::gopher_repetition::GopherRepetitionFilter;
use super::length::LengthFilter;
use super::refinedweb::{RefinedwebLines, RefinedwebNewlines};
use super::{FilterError, FilterOptions, Step};
use crate::analysis::TokenKind;

/// A rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// Grows when it judges otherwise.
    pub version: u32,
    /// What it does, in a sentence.
    pub about: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// The table of its values in a recipe; empty if it has none.
    pub table: &'static str,
    /// Whether it changes texts.
    pub edits: bool,
    /// Its published values.
    pub defaults: fn() -> serde_json::Value,
    /// Whether the options hold a table of it.
    has_table: fn(&FilterOptions) -> bool,
    make: fn(&FilterOptions, &mut Vec<FilterError>) -> Step,
}

macro_rules! rules {
    ($($name:literal v $version:literal, $table:literal $field:ident, $kind:ident $make:expr, $about:literal, $source:literal;)*) => {
        /// All rules, in the order in which tables without a list are asked: the cheapest first.
        pub const RULES: &[Rule] = &[$(Rule {
            name: $name,
            version: $version,
            about: $about,
            source: $source,
            table: $table,
            edits: rules!(@edits $kind),
            defaults: || {
                let options = FilterOptions { $field: Some(Default::default()), ..FilterOptions::default() };
                options.$field.and_then(|table| serde_json::to_value(table).ok()).unwrap_or_default()
            },
            has_table: |options| options.$field.is_some(),
            make: |options, errors| {
                let table = options.$field.clone().unwrap_or_default();
                table.check(errors);
                let make = $make;
                Step::$kind(Box::new(make(table)))
            },
        },)*];
    };
    (@edits Judge) => { false };
    (@edits Edit) => { true };
}

rules! {
    "length" v 1, "length" length, Judge LengthFilter,
        "characters of a document", "ours; the minimum is SlimPajama's";
    "code" v 1, "code" code, Judge CodeFilter,
        "long lines, few letters and digits, generated files", "StarCoder, arXiv 2305.06161; bigcode-project/bigcode-dataset, preprocessing/filtering.py";
    "ccnet" v 1, "ccnet" ccnet, Judge Ccnet,
        "pages of few characters", "CCNet, arXiv 1911.00359; facebookresearch/cc_net, cc_net/mine.py";
    "chat" v 1, "chat" chat, Judge Chat,
        "dialogues with blank turns, roles out of order, refusals, empty answers", "ours";
    "gopher-quality@dclm" v 1, "gopher-quality" gopher_quality, Judge GopherQualityFilter,
        "Gopher's quality rules as DCLM computes them: fastText tokens and words split at space", "Gopher, arXiv 2112.11446, A.1.1; mlfoundations/dclm, baselines/mappers/filters/content_filters.py";
    "gopher-repetition@dclm" v 1, "gopher-repetition" gopher_repetition, Judge GopherRepetitionFilter,
        "Gopher's repetition rules as DCLM computes them: words of UAX #29, every copy counted", "Gopher, arXiv 2112.11446, table A1; mlfoundations/dclm, baselines/mappers/filters/content_filters.py";
    "gopher-quality@dolma" v 1, "gopher-quality@dolma" gopher_quality_dolma, Judge GopherQualityDolma,
        "Gopher's quality rules as Dolma computes them: words split at space, their median length", "Gopher, arXiv 2112.11446, A.1.1; allenai/dolma 1.2, python/dolma/taggers/gopher.py";
    "gopher-repetition@dolma" v 1, "gopher-repetition@dolma" gopher_repetition_dolma, Judge GopherRepetitionDolma,
        "Gopher's repetition rules as Dolma computes them: words split at space, no paragraphs", "Gopher, arXiv 2112.11446, table A1; allenai/dolma 1.2, python/dolma/taggers/gopher.py";
    "gopher-repetition@datatrove" v 1, "gopher-repetition@datatrove" gopher_repetition_datatrove, Judge GopherRepetitionDatatrove,
        "Gopher's repetition rules as datatrove computes them: spaCy's tokens, repeats after the first", "Gopher, arXiv 2112.11446, table A1; huggingface/datatrove 0.10, pipeline/filters/gopher_repetition_filter.py";
    "gopher-quality@datatrove" v 1, "gopher-quality@datatrove" gopher_quality_datatrove, Judge GopherQualityDatatrove,
        "Gopher's quality rules as datatrove computes them: spaCy's tokens, punctuation among them", "Gopher, arXiv 2112.11446, A.1.1; huggingface/datatrove 0.10, pipeline/filters/gopher_quality_filter.py";
    "refinedweb-newlines" v 1, "refinedweb-newlines" refinedweb_newlines, Edit |_: NoOptions| RefinedwebNewlines,
        "runs of three line ends and more become two", "mlfoundations/dclm, baselines/mappers/modifiers.py, newline_removal_modifier";
    "refinedweb-lines" v 1, "refinedweb-lines" refinedweb_lines, Edit RefinedwebLines,
        "lines of capitals, digits, counters or one word go, and then the page if too much went", "RefinedWeb, arXiv 2306.01116, G.2; mlfoundations/dclm, baselines_configs/dclm_baseline_refinedweb.yaml";
    "c4" v 1, "c4" c4, Edit |options| C4::released(&options),
        "lines without end mark or of few words go, and pages with braces, lorem ipsum or few sentences", "C4, JMLR 21(140); tensorflow/datasets, text/c4_utils.py";
    "c4@datatrove" v 1, "c4@datatrove" c4_datatrove, Edit |options| C4::datatrove(&options),
        "C4's rules as datatrove computes them: the paper's numbers, spaCy's sentences", "C4, JMLR 21(140); huggingface/datatrove 0.10, pipeline/filters/c4_filters.py";
    "fineweb" v 1, "fineweb" fineweb, Judge Fineweb,
        "lines that end a sentence, short lines, repeated lines, lists", "FineWeb, arXiv 2406.17557, 3.6; huggingface/datatrove 0.10, pipeline/filters/fineweb_quality_filter.py";
}

/// A rule without values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

impl NoOptions {
    fn check(self, _: &mut Vec<FilterError>) {}
}

/// Several rules, in order, some with values of their own.
#[derive(Clone, Copy)]
pub struct Composition {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub about: &'static str,
    /// Where it is published.
    pub source: &'static str,
    /// The rules, as a recipe would list them.
    pub rules: fn() -> FilterOptions,
}

macro_rules! fineweb_2 {
    ($($name:literal $language:literal,)*) => {
        [$(Composition {
            name: $name,
            about: concat!("FineWeb-2's rules for ", $language, ", with its values; words are UAX #29's, not its tokenizer's"),
            source: "FineWeb-2, arXiv 2506.20920; huggingface/fineweb-2, fineweb-2-pipeline.py and configs",
            rules: || fineweb_2_rules($name),
        },)*]
    };
}

/// All compositions.
pub fn compositions() -> impl Iterator<Item = Composition> {
    COMPOSITIONS.into_iter().chain(FINEWEB_2)
}

const COMPOSITIONS: [Composition; 5] = [
    Composition {
        name: "gopher@dclm",
        about: "both of Gopher's rule sets as DCLM has them, in its order",
        source: "mlfoundations/dclm, baselines_configs/dclm_baseline_refinedweb.yaml",
        rules: || listed(&["gopher-quality@dclm", "gopher-repetition@dclm"]),
    },
    Composition {
        name: "gopher@datatrove",
        about: "both of Gopher's rule sets as datatrove has them, in FineWeb's order",
        source: "huggingface/datatrove 0.10, examples/fineweb.py",
        rules: || listed(&["gopher-repetition@datatrove", "gopher-quality@datatrove"]),
    },
    Composition {
        name: "gopher@dolma",
        about: "both of Gopher's rule sets as Dolma has them",
        source: "allenai/dolma 1.2, configs/dolma-v1_5/mixing",
        rules: || listed(&["gopher-quality@dolma", "gopher-repetition@dolma"]),
    },
    Composition {
        name: "refinedweb",
        about: "RefinedWeb's text rules as DCLM-Baseline runs them, without the cutting of addresses",
        source: "mlfoundations/dclm, baselines_configs/dclm_baseline_refinedweb.yaml",
        rules: || {
            listed(&[
                "refinedweb-newlines",
                "gopher-quality@dclm",
                "gopher-repetition@dclm",
                "refinedweb-lines",
            ])
        },
    },
    Composition {
        name: "fineweb-recipe",
        about: "FineWeb's text rules in its order; C4's without the one on end marks",
        source: "huggingface/datatrove 0.10, examples/fineweb.py",
        rules: || FilterOptions {
            c4_datatrove: Some(C4DatatroveOptions {
                require_terminal_mark: false,
                ..C4DatatroveOptions::default()
            }),
            ..listed(&[
                "gopher-repetition@datatrove",
                "gopher-quality@datatrove",
                "c4@datatrove",
                "fineweb",
            ])
        },
    },
];

const FINEWEB_2: [Composition; 28] = fineweb_2![
    "fineweb-2@arb_Arab" "Arabic",
    "fineweb-2@ces_Latn" "Czech",
    "fineweb-2@cmn_Hani" "Chinese",
    "fineweb-2@dan_Latn" "Danish",
    "fineweb-2@deu_Latn" "German",
    "fineweb-2@ell_Grek" "Greek",
    "fineweb-2@fas_Arab" "Persian",
    "fineweb-2@fin_Latn" "Finnish",
    "fineweb-2@fra_Latn" "French",
    "fineweb-2@heb_Hebr" "Hebrew",
    "fineweb-2@hin_Deva" "Hindi",
    "fineweb-2@hun_Latn" "Hungarian",
    "fineweb-2@ind_Latn" "Indonesian",
    "fineweb-2@ita_Latn" "Italian",
    "fineweb-2@jpn_Jpan" "Japanese",
    "fineweb-2@kor_Hang" "Korean",
    "fineweb-2@nld_Latn" "Dutch",
    "fineweb-2@nob_Latn" "Norwegian",
    "fineweb-2@pol_Latn" "Polish",
    "fineweb-2@por_Latn" "Portuguese",
    "fineweb-2@ron_Latn" "Romanian",
    "fineweb-2@rus_Cyrl" "Russian",
    "fineweb-2@spa_Latn" "Spanish",
    "fineweb-2@swe_Latn" "Swedish",
    "fineweb-2@tha_Thai" "Thai",
    "fineweb-2@tur_Latn" "Turkish",
    "fineweb-2@ukr_Cyrl" "Ukrainian",
    "fineweb-2@vie_Latn" "Vietnamese",
];

fn listed(rules: &[&str]) -> FilterOptions {
    FilterOptions {
        rules: rules.iter().map(|&rule| rule.to_owned()).collect(),
        ..FilterOptions::default()
    }
}

/// `FineWeb-2`'s values for a language; its tests of words have no bounds on their number but the general ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Fineweb2 {
    duplicate_lines: f64,
    top_ngrams: [f64; 3],
    duplicate_ngrams: [f64; 6],
    terminal_lines: f64,
    line_breaks: f64,
    word_characters: [f64; 2],
    alphabetic_words: f64,
    stop_words: Vec<String>,
}

fn fineweb_2_rules(name: &str) -> FilterOptions {
    let language = name.trim_start_matches("fineweb-2@");
    let mut table: toml::Table = toml::from_str(include_str!("fineweb-2.toml")).unwrap_or_default();
    let values = table.remove(language).map(Fineweb2::deserialize);
    let Some(Ok(values)) = values else {
        return FilterOptions::default();
    };
    let tokens = TokenKind::Unicode;
    FilterOptions {
        gopher_repetition_datatrove: Some(GopherRepetitionDatatroveOptions {
            tokens,
            max_duplicate_paragraph_fraction: None,
            max_duplicate_paragraph_character_fraction: None,
            max_duplicate_line_fraction: Some(values.duplicate_lines),
            max_duplicate_line_character_fraction: None,
            max_top_ngram_character_fractions: values.top_ngrams,
            max_duplicate_ngram_character_fractions: values.duplicate_ngrams,
        }),
        fineweb: Some(FinewebOptions {
            tokens,
            min_terminal_line_fraction: values.terminal_lines,
            max_short_line_fraction: None,
            max_duplicate_line_character_fraction: 0.1,
            max_line_break_token_fraction: values.line_breaks,
            ..FinewebOptions::default()
        }),
        gopher_quality_datatrove: Some(GopherQualityDatatroveOptions {
            tokens,
            min_mean_word_characters: values.word_characters[0],
            max_mean_word_characters: values.word_characters[1],
            min_alphabetic_token_fraction: values.alphabetic_words,
            stop_words: Some(values.stop_words),
            ..GopherQualityDatatroveOptions::default()
        }),
        ..listed(&[
            "gopher-repetition@datatrove",
            "fineweb",
            "gopher-quality@datatrove",
        ])
    }
}

/// The names that a list may hold: of rules, then of compositions.
pub fn names() -> impl Iterator<Item = &'static str> {
    RULES
        .iter()
        .map(|rule| rule.name)
        .chain(compositions().map(|composition| composition.name))
}

/// The rule of a name; a name without publisher is DCLM's.
#[must_use]
pub fn rule(name: &str) -> Option<&'static Rule> {
    RULES
        .iter()
        .find(|rule| rule.name == name || rule.table == name)
}

/// The rules that `options` turn on, in order, with the options each takes its values from.
fn chosen(
    options: &FilterOptions,
    errors: &mut Vec<FilterError>,
) -> Vec<(&'static Rule, FilterOptions)> {
    if options.rules.is_empty() {
        return RULES
            .iter()
            .filter(|rule| (rule.has_table)(options))
            .map(|rule| (rule, options.clone()))
            .collect();
    }
    let mut chosen: Vec<(&'static Rule, FilterOptions)> = Vec::new();
    let mut by_name = Vec::new();
    for (at, name) in options.rules.iter().enumerate() {
        let found = if let Some(rule) = rule(name) {
            by_name.push(rule.name);
            vec![(rule, options.clone())]
        } else if let Some(of) = compositions().find(|of| of.name == name) {
            let inner = (of.rules)();
            let rules = inner.rules.iter().filter_map(|name| rule(name));
            rules.map(|rule| (rule, inner.clone())).collect()
        } else {
            errors.push(FilterError::Unknown {
                at,
                name: name.clone(),
                nearest: crate::written::nearest(name, names()),
            });
            continue;
        };
        for (rule, options) in found {
            if chosen.iter().any(|(other, _)| other.name == rule.name) {
                errors.push(FilterError::Twice {
                    at,
                    name: rule.name,
                });
            } else {
                chosen.push((rule, options));
            }
        }
    }
    for rule in RULES {
        if (rule.has_table)(options) && !by_name.contains(&rule.name) {
            errors.push(FilterError::Idle { table: rule.table });
        }
    }
    chosen
}

pub(super) fn steps(options: &FilterOptions, errors: &mut Vec<FilterError>) -> Vec<Step> {
    let rules = chosen(options, errors);
    rules
        .iter()
        .map(|(rule, options)| (rule.make)(options, errors))
        .collect()
}

/// Name and version of each rule of a list, for the keys of tasks; none where tables alone turn rules on.
#[must_use]
pub fn versions(options: &FilterOptions) -> Vec<String> {
    if options.rules.is_empty() {
        return Vec::new();
    }
    chosen(options, &mut Vec::new())
        .iter()
        .map(|(rule, _)| format!("{}.{}", rule.name, rule.version))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filters;

    #[test]
    fn every_composition_is_of_rules_that_exist_and_makes_sense() {
        for composition in compositions() {
            let options = (composition.rules)();
            assert!(!options.rules.is_empty(), "{}", composition.name);
            assert!(options.rules.iter().all(|name| rule(name).is_some()));
            Filters::new(&options).unwrap();
        }
    }

    #[test]
    fn every_rule_has_a_table_of_its_name_and_its_values_can_be_written() {
        for rule in RULES {
            let written = serde_json::json!({ rule.table: (rule.defaults)() });
            let options: FilterOptions = serde_json::from_value(written).unwrap();
            assert!((rule.has_table)(&options), "{}", rule.name);
            assert_eq!(chosen(&options, &mut Vec::new()).len(), 1);
        }
    }

    #[test]
    fn versions_are_told_of_lists_alone() {
        let options = listed(&["gopher@dclm"]);
        assert_eq!(
            versions(&options),
            ["gopher-quality@dclm.1", "gopher-repetition@dclm.1"]
        );
        let tables: FilterOptions = toml::from_str("[length]\n").unwrap();
        assert!(versions(&tables).is_empty());
    }
}
