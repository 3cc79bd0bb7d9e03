//! Two answers to one prompt, one of them preferred.
//!
//! hh-rlhf publishes two whole transcripts; what they share up to the last `\n\nAssistant:` is the prompt
//! (direct-preference-optimization, `preference_datasets.py`). Pairs that part earlier, are equal, or have an empty
//! answer say nothing about a preference and are faults.

use std::collections::BTreeSet;

use super::content::{ASSISTANT, Content, HUMAN};
use super::field::Path;
use super::options::Preference;
use super::{RenderError, RenderFault};
use crate::read::Row;

#[derive(Debug, Clone)]
pub(super) struct PreferenceForm {
    prompt: Option<Path>,
    chosen: Path,
    rejected: Path,
}

impl PreferenceForm {
    pub(super) fn new(options: &Preference) -> Result<Self, RenderError> {
        let prompt = options
            .prompt
            .as_deref()
            .map(|prompt| Path::new("preference.prompt", prompt));
        Ok(Self {
            prompt: prompt.transpose()?,
            chosen: Path::new("preference.chosen", &options.chosen)?,
            rejected: Path::new("preference.rejected", &options.rejected)?,
        })
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        let paths = [
            Some(&self.chosen),
            Some(&self.rejected),
            self.prompt.as_ref(),
        ];
        fields.extend(
            paths
                .into_iter()
                .flatten()
                .map(|path| path.top().to_owned()),
        );
    }

    pub(super) fn render(&self, row: &mut Row) -> Result<Content, RenderFault> {
        let mut chosen = self.chosen.take_text(row)?;
        let mut rejected = self.rejected.take_text(row)?;
        let prompt = match &self.prompt {
            Some(prompt) => {
                chosen.insert(0, ' ');
                rejected.insert(0, ' ');
                format!("{HUMAN} {}{ASSISTANT}", prompt.take_text(row)?)
            }
            None => {
                let end = |text: &str| text.rfind(ASSISTANT).map(|at| at + ASSISTANT.len());
                let (Some(end), Some(other)) = (end(&chosen), end(&rejected)) else {
                    return Err(RenderFault::BadPair {
                        problem: "a transcript without an assistant",
                    });
                };
                if chosen.as_bytes()[..end] != rejected.as_bytes()[..other] {
                    return Err(RenderFault::BadPair {
                        problem: "the prompts differ",
                    });
                }
                rejected.drain(..other);
                let answer = chosen.split_off(end);
                std::mem::replace(&mut chosen, answer)
            }
        };
        if chosen.trim().is_empty() || rejected.trim().is_empty() {
            return Err(RenderFault::Empty { what: "an answer" });
        }
        if chosen == rejected {
            return Err(RenderFault::BadPair {
                problem: "the answers are the same",
            });
        }
        Ok(Content::Preference {
            prompt,
            chosen,
            rejected,
        })
    }
}
