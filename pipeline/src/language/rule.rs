//! The language a document must be in: `[profile.X.language]` of a recipe.
//!
//! FineWeb keeps a page if fastText's lid.176 says English with 0.65 or more (arXiv 2406.17557, section 3.3); here the model is the one
//! in the program, or a fastText model by path, and languages and threshold are the recipe's. On top of that, a page of
//! several languages can be taken apart: each line that is surely in another language is cut, or counted.

use serde::{Deserialize, Serialize};

use super::{Identifier, Scratch};
use crate::classify::{self, Classifier, ModelFile};

/// Dropped: surely in another language.
pub const LANGUAGE: &str = "language";
/// Dropped: not surely in any of those allowed, or without letters.
pub const UNCERTAIN: &str = "language-uncertain";
/// Dropped: too much of it is in other languages.
pub const MIXED: &str = "language-mixed";

/// Which languages stay, and how sure one must be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LanguageOptions {
    /// Languages that stay, as the model calls them: ISO 639-1 for the one in the program and lid.176 (`en`), with script for
    /// `GlotLID` (`eng_Latn`). Where it is empty all stay, and their languages are written to the documents table.
    pub allowed: Vec<String>,
    /// The score from which on a language is sure, 0 to 1.
    pub min_score: f64,
    /// What is done with lines that are surely in a language that is not allowed. Without it, lines are not looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_line: Option<PerLine>,
    /// Letters from which on a line has a language of its own; a shorter one goes with the others.
    pub min_line_letters: u32,
    /// The largest share of bytes in lines of other languages that a document may have; with `per-line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_other_share: Option<f64>,
    /// A fastText model instead of the one in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelFile>,
}

/// What is done with lines in other languages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PerLine {
    /// They are cut, of documents without parts of their own; of others they are counted. What is cut is no part of the
    /// document any more, as if its source had not had it; how much it was stands in the documents table.
    Cut,
    /// They stay, and their bytes are counted.
    Count,
}

impl Default for LanguageOptions {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            min_score: 0.65,
            per_line: None,
            min_line_letters: 40,
            max_other_share: None,
            model: None,
        }
    }
}

impl LanguageOptions {
    /// What cannot be meant: the key and the message, all of them.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if !(0.0..=1.0).contains(&self.min_score) {
            faults.push(("min-score", "a score is from 0 to 1".to_owned()));
        }
        if let Some(share) = self.max_other_share {
            if !(0.0..=1.0).contains(&share) {
                faults.push(("max-other-share", "a share is from 0 to 1".to_owned()));
            }
            if self.per_line.is_none() {
                let message = "lines are not looked at: add per-line = \"cut\" or \"count\"";
                faults.push(("max-other-share", message.to_owned()));
            }
        }
        if self.per_line.is_some() && self.allowed.is_empty() {
            let message =
                "every language is allowed, so no line is in another one: list the allowed ones";
            faults.push(("per-line", message.to_owned()));
        }
        if self.model.is_none() {
            let known = Identifier::embedded().languages();
            for language in &self.allowed {
                if !known.contains(&language.as_str()) {
                    let message = format!(
                        "the model in the program does not know `{language}`; it knows {}",
                        known.join(" ")
                    );
                    faults.push(("allowed", message));
                }
            }
        }
        faults
    }
}

/// The rule, ready to judge. Shared by all threads.
#[derive(Debug)]
pub struct LanguageRule {
    options: LanguageOptions,
    model: Option<std::sync::Arc<Classifier>>,
}

/// What the rule says of a document.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LanguageVerdict {
    /// Why it goes, if it does.
    pub reason: Option<&'static str>,
    /// The likeliest language: of what is left of a document that stays, of the whole of one that goes.
    pub language: Option<String>,
    /// How sure that is, 0 to 1.
    pub score: f64,
    /// Bytes of lines in other languages, cut or counted.
    pub other_bytes: u64,
}

/// One thread's, kept from document to document.
#[derive(Debug, Default)]
pub struct RuleScratch {
    identifier: Scratch,
    classifier: classify::Scratch,
    left: String,
}

impl LanguageRule {
    /// A rule; `model` is what the options' path leads to.
    #[must_use]
    pub fn new(options: LanguageOptions, model: Option<std::sync::Arc<Classifier>>) -> Self {
        Self { options, model }
    }

    /// Judges a document, and cuts its lines where the options say so and `may_cut`. One that goes is left whole.
    pub fn judge(
        &self,
        text: &mut String,
        may_cut: bool,
        scratch: &mut RuleScratch,
    ) -> LanguageVerdict {
        let mut other_bytes = 0;
        let mut was_cut = false;
        let whole = text.len();
        if let Some(per_line) = self.options.per_line {
            let cuts = per_line == PerLine::Cut && may_cut;
            scratch.left.clear();
            let mut left = std::mem::take(&mut scratch.left);
            for line in text.split_inclusive('\n') {
                if self.is_other(line, scratch) {
                    other_bytes += line.len() as u64;
                } else if cuts {
                    left.push_str(line);
                }
            }
            if cuts && other_bytes > 0 {
                std::mem::swap(text, &mut left);
                was_cut = true;
            }
            scratch.left = left;
        }
        let mut verdict = self.judge_whole(text, scratch);
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of bytes need not be exact"
        )]
        let too_mixed = self
            .options
            .max_other_share
            .is_some_and(|most| other_bytes as f64 > most * whole as f64);
        verdict.reason = verdict.reason.or(too_mixed.then_some(MIXED));
        if let Some(reason) = verdict.reason
            && was_cut
        {
            // What a few left lines are in says nothing of a document that goes.
            std::mem::swap(text, &mut scratch.left);
            verdict = self.judge_whole(text, scratch);
            if reason != UNCERTAIN || verdict.reason != Some(LANGUAGE) {
                verdict.reason = Some(reason);
            }
        }
        verdict.other_bytes = other_bytes;
        verdict
    }

    /// Judges a text without its lines.
    fn judge_whole(&self, text: &str, scratch: &mut RuleScratch) -> LanguageVerdict {
        let (language, score) = match self.identify(text, scratch) {
            Some((language, score)) => (Some(language), score),
            None => (None, 0.0),
        };
        let sure = score >= self.options.min_score;
        let reason = match language {
            _ if self.options.allowed.is_empty() => None,
            Some(language) if self.is_allowed(language) && sure => None,
            Some(language) if !self.is_allowed(language) && sure => Some(LANGUAGE),
            _ => Some(UNCERTAIN),
        };
        LanguageVerdict {
            reason,
            language: language.map(str::to_owned),
            score,
            other_bytes: 0,
        }
    }

    /// Whether a line is surely in a language that is not allowed.
    fn is_other(&self, line: &str, scratch: &mut RuleScratch) -> bool {
        let letters = line.chars().filter(|c| c.is_alphabetic());
        let least = self.options.min_line_letters as usize;
        if line.len() < least || letters.take(least).count() < least {
            return false;
        }
        self.identify(line, scratch)
            .is_some_and(|(language, score)| {
                score >= self.options.min_score && !self.is_allowed(language)
            })
    }

    fn is_allowed(&self, language: &str) -> bool {
        let allowed = &self.options.allowed;
        allowed.is_empty() || allowed.iter().any(|name| name == language)
    }

    fn identify(&self, text: &str, scratch: &mut RuleScratch) -> Option<(&str, f64)> {
        match &self.model {
            Some(model) => {
                let best = model.best(text, &mut scratch.classifier)?;
                Some((model.name(best.label), best.probability.min(1.0)))
            }
            None => Identifier::embedded()
                .identify(text, &mut scratch.identifier)
                .map(|guess| (guess.language, guess.score)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str =
        "The river runs past the old mill, under the bridge and out into the open country.\n";
    const GERMAN: &str =
        "Der Fluss fließt an der alten Mühle vorbei und unter der Brücke hindurch ins Freie.\n";

    fn judge(options: LanguageOptions, text: &str, may_cut: bool) -> (LanguageVerdict, String) {
        let mut text = text.to_owned();
        let rule = LanguageRule::new(options, None);
        let verdict = rule.judge(&mut text, may_cut, &mut RuleScratch::default());
        (verdict, text)
    }

    fn english() -> LanguageOptions {
        LanguageOptions {
            allowed: vec!["en".to_owned()],
            ..LanguageOptions::default()
        }
    }

    #[test]
    fn what_is_surely_another_language_goes_and_so_does_what_is_nothing_surely() {
        assert_eq!(judge(english(), ENGLISH, true).0.reason, None);
        let (verdict, _) = judge(english(), GERMAN, true);
        assert_eq!(
            (verdict.reason, verdict.language.as_deref()),
            (Some(LANGUAGE), Some("de"))
        );
        let (verdict, _) = judge(english(), "2 + 2 = 4", true);
        assert_eq!((verdict.reason, verdict.language), (Some(UNCERTAIN), None));
        let strict = LanguageOptions {
            min_score: 1.0,
            ..english()
        };
        assert_eq!(judge(strict, "tree 1 to 3", true).0.reason, Some(UNCERTAIN));
        // Without a list all stay, and have their languages.
        let (verdict, _) = judge(LanguageOptions::default(), GERMAN, true);
        assert_eq!(
            (verdict.reason, verdict.language.as_deref()),
            (None, Some("de"))
        );
    }

    #[test]
    fn lines_of_other_languages_are_cut_or_counted() {
        let mixed = format!("{ENGLISH}{GERMAN}{ENGLISH}Brücke?\n");
        let cut = LanguageOptions {
            per_line: Some(PerLine::Cut),
            ..english()
        };
        let (verdict, text) = judge(cut.clone(), &mixed, true);
        assert_eq!(verdict.reason, None);
        assert_eq!(verdict.other_bytes, GERMAN.len() as u64);
        // The last line is too short to have a language of its own.
        assert_eq!(text, format!("{ENGLISH}{ENGLISH}Brücke?\n"));
        // Of a document with parts nothing is cut.
        let (verdict, text) = judge(cut.clone(), &mixed, false);
        assert_eq!(
            (verdict.other_bytes, text.as_str()),
            (GERMAN.len() as u64, mixed.as_str())
        );
        let (verdict, text) = judge(cut, GERMAN, true);
        // What goes, goes whole.
        assert_eq!((verdict.reason, text.as_str()), (Some(LANGUAGE), GERMAN));
        let count = LanguageOptions {
            per_line: Some(PerLine::Count),
            ..english()
        };
        let (verdict, text) = judge(count.clone(), &mixed, true);
        assert_eq!(
            (verdict.other_bytes, text.as_str()),
            (GERMAN.len() as u64, mixed.as_str())
        );
        let mixed = format!("{}{GERMAN}", ENGLISH.repeat(3));
        let strict = LanguageOptions {
            max_other_share: Some(0.2),
            ..count
        };
        assert_eq!(judge(strict.clone(), &mixed, true).0.reason, Some(MIXED));
        let lenient = LanguageOptions {
            max_other_share: Some(0.3),
            ..strict
        };
        assert_eq!(judge(lenient, &mixed, true).0.reason, None);
    }

    #[test]
    fn options_that_cannot_be_meant_are_named() {
        let options: LanguageOptions =
            toml::from_str("allowed = [\"en\", \"xx\"]\nmin-score = 1.5\nmax-other-share = -1.0")
                .unwrap();
        let keys: Vec<&str> = options.faults().iter().map(|fault| fault.0).collect();
        assert_eq!(
            keys,
            ["min-score", "max-other-share", "max-other-share", "allowed"]
        );
        let options: LanguageOptions = toml::from_str("per-line = \"cut\"").unwrap();
        assert_eq!(options.faults()[0].0, "per-line");
        assert!(toml::from_str::<LanguageOptions>("per-lines = \"cut\"").is_err());
    }
}
