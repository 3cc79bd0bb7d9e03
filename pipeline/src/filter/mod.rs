//! Rules that keep, edit or drop one document, each from a published source and in a file of its own.
//!
//! A rule reads the shared [`Analysis`]; [`Filters`] asks the rules in the order of the recipe's list `rules`, or
//! without one those whose table stands, the cheapest first. The first that says no names the reason, so a reason's
//! count depends on the order, and what is kept does not, but for rules that edit: those hand the text on, and what
//! follows them judges that. What exists is in [`rules`].

pub mod beside;
pub mod c4;
pub mod ccnet;
pub mod chat;
pub mod code;
pub mod fineweb;
pub mod gopher_datatrove;
pub mod gopher_dolma;
pub mod gopher_quality;
pub mod gopher_repetition;
pub mod length;
pub mod licence;
pub mod lists;
pub mod named;
pub mod refinedweb;
pub mod rules;
pub mod thresholds;
pub mod url_lists;
mod verdict;
pub mod words_list;

use std::borrow::Cow;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use self::c4::{C4DatatroveOptions, C4Options};
use self::ccnet::CcnetOptions;
use self::chat::ChatOptions;
use self::code::CodeOptions;
use self::code::files::CodeFilesOptions;
use self::fineweb::FinewebOptions;
use self::gopher_datatrove::{GopherQualityDatatroveOptions, GopherRepetitionDatatroveOptions};
use self::gopher_dolma::{GopherQualityDolmaOptions, GopherRepetitionDolmaOptions};
use self::gopher_quality::GopherQualityOptions;
use self::gopher_repetition::GopherRepetitionOptions;
use self::length::LengthOptions;
use self::licence::LicenceOptions;
use self::refinedweb::RefinedwebLinesOptions;
use self::rules::NoOptions;
use self::url_lists::UrlOptions;
pub use self::verdict::{Measured, Reason, Verdict};
use self::words_list::BadWordsOptions;
use crate::analysis::{Analysis, Scratch};
use crate::classify::rule::QualityOptions;
use crate::language::rule::LanguageOptions;
use crate::redact::PiiOptions;

/// A rule that keeps or drops.
pub trait Filter: Send + Sync {
    /// Judges one document. Total: every text has a verdict.
    fn check(&self, document: &Analysis<'_>) -> Verdict;
}

/// A rule that cuts something from a text, or drops it.
pub trait Edit: Send + Sync {
    /// What is left of one document; `None` if all of it.
    ///
    /// # Errors
    /// Why the document goes.
    fn edit(&self, document: &Analysis<'_>) -> Result<Option<Edited>, Reason>;

    /// Whether one document goes, where nobody wants what is left of it.
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.edit(document).err().into()
    }
}

/// What a rule left of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The text.
    pub text: String,
    /// Its English tokens, if the rule counted them.
    pub tokens: Option<u64>,
}

/// Which rules are on, with the values that are written over the published ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct FilterOptions {
    /// The rules, in order, by name (`andromeda profiles` lists them); a table of a rule's name gives it other values.
    /// Without this list the rules are on whose tables stand.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Characters of a document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<LengthOptions>,
    /// The rules of `StarCoder` for code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<CodeOptions>,
    /// Gopher's quality rules as DCLM has them.
    #[serde(alias = "gopher-quality@dclm", skip_serializing_if = "Option::is_none")]
    pub gopher_quality: Option<GopherQualityOptions>,
    /// Gopher's repetition rules as DCLM has them.
    #[serde(
        alias = "gopher-repetition@dclm",
        skip_serializing_if = "Option::is_none"
    )]
    pub gopher_repetition: Option<GopherRepetitionOptions>,
    /// Gopher's quality rules as datatrove has them.
    #[serde(
        rename = "gopher-quality@datatrove",
        skip_serializing_if = "Option::is_none"
    )]
    pub gopher_quality_datatrove: Option<GopherQualityDatatroveOptions>,
    /// Gopher's repetition rules as datatrove has them.
    #[serde(
        rename = "gopher-repetition@datatrove",
        skip_serializing_if = "Option::is_none"
    )]
    pub gopher_repetition_datatrove: Option<GopherRepetitionDatatroveOptions>,
    /// Gopher's quality rules as Dolma has them.
    #[serde(
        rename = "gopher-quality@dolma",
        skip_serializing_if = "Option::is_none"
    )]
    pub gopher_quality_dolma: Option<GopherQualityDolmaOptions>,
    /// Gopher's repetition rules as Dolma has them.
    #[serde(
        rename = "gopher-repetition@dolma",
        skip_serializing_if = "Option::is_none"
    )]
    pub gopher_repetition_dolma: Option<GopherRepetitionDolmaOptions>,
    /// C4's rules as released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub c4: Option<C4Options>,
    /// C4's rules as datatrove has them.
    #[serde(rename = "c4@datatrove", skip_serializing_if = "Option::is_none")]
    pub c4_datatrove: Option<C4DatatroveOptions>,
    /// `FineWeb`'s own quality rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fineweb: Option<FinewebOptions>,
    /// `RefinedWeb`'s line rules as DCLM has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refinedweb_lines: Option<RefinedwebLinesOptions>,
    /// DCLM's limit on line ends in a row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refinedweb_newlines: Option<NoOptions>,
    /// `CCNet`'s length rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ccnet: Option<CcnetOptions>,
    /// Sanity of dialogues and tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<ChatOptions>,
    /// The document's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<UrlOptions>,
    /// The document's licence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<LicenceOptions>,
    /// Rules for code that ask for the language.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_files: Option<CodeFilesOptions>,
    /// Lists of words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_words: Option<BadWordsOptions>,
    /// Personal data, which is replaced before the rules judge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pii: Option<PiiOptions>,
    /// Languages that stay; judged before the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<LanguageOptions>,
    /// What a classifier must say; judged after the rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<QualityOptions>,
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
    /// A value that makes no sense.
    #[error("filter.{table}: {key}: {message}")]
    Value {
        /// The table.
        table: &'static str,
        /// The option, as written.
        key: &'static str,
        /// What is wrong, and what to write.
        message: &'static str,
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
    /// A rule that does not exist.
    #[error(
        "no rule is called `{name}`{}",
        .nearest.map_or(String::new(), |nearest| format!(": did you mean `{nearest}`?"))
    )]
    Unknown {
        /// Its place in `rules`.
        at: usize,
        /// Its name.
        name: String,
        /// The one most like it.
        nearest: Option<&'static str>,
    },
    /// A rule that stands in the list before, by itself or in a composition.
    #[error("the rule `{name}` is in the list already: write it once")]
    Twice {
        /// Its place in `rules`.
        at: usize,
        /// Its name.
        name: &'static str,
    },
    /// A table of a rule that is not in the list.
    #[error(
        "the table `{table}` changes nothing, as `rules` names no rule of this name itself: add it to the list, in place of the composition that holds it, or take the table out"
    )]
    Idle {
        /// The table.
        table: &'static str,
    },
}

impl FilterError {
    /// Where in the profile it is.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        match self {
            Self::Value { table, key, .. } => vec![(*table).to_owned(), (*key).to_owned()],
            Self::Threshold { .. } | Self::Reversed { .. } => Vec::new(),
            Self::Unknown { at, .. } | Self::Twice { at, .. } => {
                vec!["rules".to_owned(), at.to_string()]
            }
            Self::Idle { table } => vec![(*table).to_owned()],
        }
    }
}

/// The reason for texts that are too long to be analysed at all.
pub const TOO_LARGE: &str = "text-too-large";

/// A rule of either kind.
pub enum Step {
    /// Keeps or drops.
    Judge(Box<dyn Filter>),
    /// Cuts or drops.
    Edit(Box<dyn Edit>),
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'t> {
    /// It stays, with this text.
    Keep(Cow<'t, str>),
    /// It goes.
    Drop(Reason),
}

/// The rules of a recipe, in order.
pub struct Filters {
    steps: Vec<Step>,
}

impl Filters {
    /// The rules that `options` turn on.
    ///
    /// # Errors
    /// All that makes no sense, not only the first.
    pub fn new(options: &FilterOptions) -> Result<Self, Vec<FilterError>> {
        let mut errors = Vec::new();
        let steps = rules::steps(options, &mut errors);
        errors.extend(faults("url", options.url.as_ref().map(UrlOptions::faults)));
        errors.extend(faults(
            "licence",
            options.licence.as_ref().map(LicenceOptions::faults),
        ));
        let words = options.bad_words.as_ref();
        errors.extend(faults("bad-words", words.map(BadWordsOptions::faults)));
        let code = options.code_files.as_ref();
        errors.extend(faults("code-files", code.map(CodeFilesOptions::faults)));
        errors.extend(faults("pii", options.pii.as_ref().map(PiiOptions::faults)));
        if errors.is_empty() {
            Ok(Self { steps })
        } else {
            Err(errors)
        }
    }

    /// Whether no rule is on, so that every document that is not too large stays.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The verdict on a text: that of the first rule which drops it, or what was left of it.
    pub fn judge(&self, text: &str, scratch: &mut Scratch) -> Verdict {
        match self.apply(text, None, scratch) {
            Outcome::Keep(_) => Verdict::Keep,
            Outcome::Drop(reason) => Verdict::Drop(reason),
        }
    }

    /// What becomes of a document. One with parts of its own, such as a dialogue, comes with the bytes of those that
    /// are trained on, and is not edited: its parts end at bytes of its text. `scratch` is one thread's, kept from
    /// document to document; nothing but edited text is allocated once it has seen a large one.
    pub fn apply<'t>(
        &self,
        text: &'t str,
        answers: Option<&[Range<usize>]>,
        scratch: &mut Scratch,
    ) -> Outcome<'t> {
        let text = Cow::Borrowed(text);
        run(&mut self.steps.iter(), text, None, answers, scratch)
    }

    /// As [`apply`](Self::apply) to a document without parts of its own, whose analysis several lists of rules share. What a rule
    /// leaves of it is no longer theirs: that is analysed in `scratch`.
    pub fn apply_shared<'t>(&self, document: &Analysis<'t>, scratch: &mut Scratch) -> Outcome<'t> {
        let mut steps = self.steps.iter();
        match next_change(&mut steps, document, true) {
            None => Outcome::Keep(Cow::Borrowed(document.text())),
            Some(Err(reason)) => Outcome::Drop(reason),
            Some(Ok(edited)) => {
                let text = Cow::Owned(edited.text);
                run(&mut steps, text, edited.tokens, None, scratch)
            }
        }
    }

    /// Whether a rule may cut something from a text.
    #[must_use]
    pub fn may_edit(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Edit(_)))
    }
}

/// What the steps that are left make of a text.
fn run<'t>(
    steps: &mut std::slice::Iter<'_, Step>,
    mut text: Cow<'t, str>,
    mut tokens: Option<u64>,
    answers: Option<&[Range<usize>]>,
    scratch: &mut Scratch,
) -> Outcome<'t> {
    loop {
        let Some(document) = Analysis::new(&text, scratch) else {
            return Outcome::Drop(Reason {
                name: TOO_LARGE,
                measured: None,
            });
        };
        let document = document
            .with_answers(answers.unwrap_or_default())
            .with_token_count(tokens);
        match next_change(steps, &document, answers.is_none()) {
            None => return Outcome::Keep(text),
            Some(Err(reason)) => return Outcome::Drop(reason),
            Some(Ok(edited)) => {
                tokens = edited.tokens;
                text = Cow::Owned(edited.text);
            }
        }
    }
}

/// Asks one step after another until one drops the document or leaves less of it.
fn next_change(
    steps: &mut std::slice::Iter<'_, Step>,
    document: &Analysis<'_>,
    may_edit: bool,
) -> Option<Result<Edited, Reason>> {
    steps.find_map(|step| match step {
        Step::Judge(rule) => match rule.check(document) {
            Verdict::Keep => None,
            Verdict::Drop(reason) => Some(Err(reason)),
        },
        Step::Edit(_) if !may_edit => None,
        Step::Edit(rule) => rule.edit(document).transpose(),
    })
}

impl Filters {
    /// What each rule by itself says of a text as it came, into `verdicts`: none is spared by another's drop, and none
    /// sees what another left. One pass over the text serves them all.
    pub fn judge_each(
        &self,
        text: &str,
        answers: Option<&[Range<usize>]>,
        scratch: &mut Scratch,
        verdicts: &mut Vec<Verdict>,
    ) {
        verdicts.clear();
        let Some(document) = Analysis::new(text, scratch) else {
            verdicts.extend(self.steps.iter().map(|_| Verdict::drop(TOO_LARGE)));
            return;
        };
        let document = document.with_answers(answers.unwrap_or_default());
        verdicts.extend(self.steps.iter().map(|step| match step {
            Step::Judge(rule) => rule.check(&document),
            Step::Edit(_) if answers.is_some() => Verdict::Keep,
            Step::Edit(rule) => rule.check(&document),
        }));
    }
}

impl std::fmt::Debug for Filters {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Filters")
            .field("steps", &self.steps.len())
            .finish()
    }
}

/// The faults of a table that is no rule on texts.
fn faults(
    table: &'static str,
    found: Option<Vec<(&'static str, &'static str)>>,
) -> impl Iterator<Item = FilterError> {
    let found = found.into_iter().flatten();
    found.map(move |(key, message)| FilterError::Value {
        table,
        key,
        message,
    })
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

/// Notes a minimum above its maximum.
fn check_order(
    table: &'static str,
    quantity: &'static str,
    min: f64,
    max: f64,
    errors: &mut Vec<FilterError>,
) {
    if min > max {
        errors.push(FilterError::Reversed { table, quantity });
    }
}

/// The verdict of one rule on a text, for the tests of the rules; without what was measured.
#[cfg(test)]
fn verdict(filter: &dyn Filter, text: &str) -> Verdict {
    match filter.check(&Analysis::new(text, &mut Scratch::default()).unwrap()) {
        Verdict::Keep => Verdict::Keep,
        Verdict::Drop(reason) => Verdict::drop(reason.name),
    }
}

/// What one rule leaves of a text, or the name of its reason, for the tests of the rules.
#[cfg(test)]
fn edited(rule: &dyn Edit, text: &str) -> Result<String, &'static str> {
    let mut scratch = Scratch::default();
    match rule.edit(&Analysis::new(text, &mut scratch).unwrap()) {
        Ok(edited) => Ok(edited.map_or_else(|| text.to_owned(), |edited| edited.text)),
        Err(reason) => Err(reason.name),
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
