//! What several profiles say of one document, each of it as it came; and what is left of it.

use std::borrow::Cow;

use super::judge::Judge;
use crate::analysis::{Analysis, Scratch};
use crate::classify;
use crate::filter::beside::{About, BesideFilters};
use crate::filter::lists::Lists;
use crate::filter::named::NamedProfile;
use crate::filter::{Filters, Measured, Outcome, Reason};
use crate::language::rule::{PerLine, RuleScratch};
use crate::redact::Redactor;

/// Why a profile drops a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dropped {
    /// The reason.
    pub reason: &'static str,
    /// What was measured, if anything was.
    pub measured: Option<Measured>,
    /// What was found: an entry of a list, a language, a score.
    pub found: Option<String>,
}

impl Dropped {
    fn found(reason: &'static str, found: String) -> Self {
        Self {
            reason,
            measured: None,
            found: (!found.is_empty()).then_some(found),
        }
    }
}

impl From<Reason> for Dropped {
    fn from(reason: Reason) -> Self {
        Self {
            reason: reason.name,
            measured: reason.measured,
            found: None,
        }
    }
}

/// What a profile says of a document: that it stays, with another text where the profile edits it, or why it goes.
pub(super) type Said = Result<Option<String>, Dropped>;

/// Room of one thread, kept from document to document.
#[derive(Default)]
pub(super) struct Room {
    document: Scratch,
    own: OwnRoom,
}

#[derive(Default)]
struct OwnRoom {
    edited: Scratch,
    language: RuleScratch,
    classifier: classify::Scratch,
}

/// The rules of all profiles, in the order given.
#[derive(Debug)]
pub(super) struct Profiles(Vec<Rules>);

impl Profiles {
    /// Reads the lists. The models of profiles were read when they were found.
    ///
    /// # Errors
    /// The name of a profile and what is wrong with it.
    pub(super) fn new(profiles: &[NamedProfile], lists: &Lists) -> Result<Self, (String, String)> {
        let rules = profiles
            .iter()
            .map(|profile| Rules::new(profile, lists).map_err(|why| (profile.name.clone(), why)));
        Ok(Self(rules.collect::<Result<_, _>>()?))
    }

    /// What each profile says of a text as it came, into `said`; with `first_drop`, no more once one drops it. One pass over the
    /// text serves them all.
    pub(super) fn judge(
        &self,
        text: &str,
        about: &About,
        first_drop: bool,
        room: &mut Room,
        said: &mut Vec<Said>,
    ) {
        said.clear();
        let shared = Analysis::new(text, &mut room.document);
        for rules in &self.0 {
            said.push(rules.judge(text, about, shared.as_ref(), &mut room.own));
            if first_drop && said.last().is_some_and(Result::is_err) {
                return;
            }
        }
    }

    /// What becomes of a document of which the profiles said this: the text that is left of it, if it is another; or the
    /// place of the first profile that drops it, and why. Of several that edit, each edits what those before it left, and
    /// drops what of that it would not keep.
    pub(super) fn fate(
        &self,
        said: &mut [Said],
        about: &About,
        room: &mut Room,
    ) -> Result<Option<String>, (usize, Dropped)> {
        let dropped = said.iter().position(Result::is_err);
        if let Some((at, Err(dropped))) = dropped.map(|at| (at, said[at].clone())) {
            return Err((at, dropped));
        }
        let mut left: Option<String> = None;
        for (at, (rules, said)) in self.0.iter().zip(said).enumerate() {
            let edited = match &left {
                None => said.as_mut().ok().and_then(Option::take),
                Some(text) if rules.edits => rules
                    .judge(text, about, None, &mut room.own)
                    .map_err(|dropped| (at, dropped))?,
                Some(_) => None,
            };
            left = edited.or(left);
        }
        Ok(left)
    }
}

/// The rules of one profile.
struct Rules {
    redactor: Option<Redactor>,
    models: Judge,
    beside: Option<BesideFilters>,
    filters: Filters,
    /// Whether anything of it may change a text.
    edits: bool,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rules").finish_non_exhaustive()
    }
}

impl Rules {
    fn new(profile: &NamedProfile, lists: &Lists) -> Result<Self, String> {
        let options = &profile.options;
        let filters = Filters::new(options).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            errors.join("; ")
        })?;
        let language = options.language.as_ref();
        let cuts = language.is_some_and(|language| language.per_line == Some(PerLine::Cut));
        Ok(Self {
            redactor: options.pii.as_ref().map(Redactor::new),
            models: Judge::new(options),
            beside: BesideFilters::new(options, lists)?,
            edits: filters.may_edit() || options.pii.is_some() || cuts,
            filters,
        })
    }

    /// What it says of a text, in the order of a build: personal data, language, what asks for more than the text, rules,
    /// quality. `document` is the text's analysis, as far as others share it.
    fn judge(
        &self,
        text: &str,
        about: &About,
        document: Option<&Analysis<'_>>,
        room: &mut OwnRoom,
    ) -> Said {
        let redactor = self.redactor.as_ref();
        let redacted = redactor.and_then(|redactor| redactor.redact(text));
        let mut changed = redacted.map(|(text, _)| text);
        if let Some(rule) = &self.models.language {
            let mut whole = changed.take().unwrap_or_else(|| text.to_owned());
            let verdict = rule.judge(&mut whole, true, &mut room.language);
            if let Some(reason) = verdict.reason {
                let language = verdict.language.unwrap_or_default();
                let found = match language.is_empty() {
                    true => language,
                    false => format!("{language} {:.3}", verdict.score),
                };
                return Err(Dropped::found(reason, found));
            }
            changed = (whole != text).then_some(whole);
        }
        let now = changed.as_deref().unwrap_or(text);
        if let Some(rules) = &self.beside
            && let Some((reason, found)) = rules.judge(about, now, &mut room.edited)
        {
            return Err(Dropped::found(reason, found));
        }
        let outcome = match document {
            Some(document) if changed.is_none() => {
                self.filters.apply_shared(document, &mut room.edited)
            }
            _ => self.filters.apply(now, None, &mut room.edited),
        };
        match outcome {
            Outcome::Drop(reason) => return Err(reason.into()),
            Outcome::Keep(Cow::Owned(edited)) => changed = Some(edited),
            Outcome::Keep(Cow::Borrowed(_)) => {}
        }
        if let Some(rule) = &self.models.quality {
            let now = changed.as_deref().unwrap_or(text);
            let (score, reason) = rule.judge(now, &mut room.classifier);
            if let Some(reason) = reason {
                return Err(Dropped::found(reason, format!("score {score:.4}")));
            }
        }
        Ok(changed.filter(|changed| changed != text))
    }
}
