//! Two answers to one prompt, one of them preferred.
//!
//! hh-rlhf publishes two whole transcripts; what they share up to the last `\n\nAssistant:` is the prompt
//! (direct-preference-optimization, `preference_datasets.py`). Pairs that part earlier, are equal, or have an empty
//! answer say nothing about a preference and are faults.

use std::collections::BTreeSet;

use super::content::{ASSISTANT, Content, HUMAN, Role, Turn};
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
        let (prompt, turns) = match &self.prompt {
            Some(prompt) => {
                chosen.insert(0, ' ');
                rejected.insert(0, ' ');
                let text = prompt.take_text(row)?;
                let whole = format!("{HUMAN} {text}{ASSISTANT}");
                let role = Role::User;
                (whole, vec![Turn { role, text }])
            }
            None => {
                let end = |text: &str| text.rfind(ASSISTANT).map(|at| at + ASSISTANT.len());
                let (Some(end), Some(other)) = (end(&chosen), end(&rejected)) else {
                    return Err(RenderFault::BadPair {
                        problem: "a transcript without an assistant",
                        reason: "pair-without-answer",
                    });
                };
                if chosen.as_bytes()[..end] != rejected.as_bytes()[..other] {
                    return Err(RenderFault::BadPair {
                        problem: "the prompts differ",
                        reason: "pair-of-different-prompts",
                    });
                }
                rejected.drain(..other);
                let answer = chosen.split_off(end);
                let prompt = std::mem::replace(&mut chosen, answer);
                let turns = turns_of(&prompt[..end - ASSISTANT.len()]);
                (prompt, turns)
            }
        };
        if chosen.trim().is_empty() || rejected.trim().is_empty() {
            return Err(RenderFault::Empty { what: "an answer" });
        }
        if chosen == rejected {
            return Err(RenderFault::BadPair {
                problem: "the answers are the same",
                reason: "pair-of-equal-answers",
            });
        }
        Ok(Content::Preference {
            prompt,
            turns,
            chosen,
            rejected,
        })
    }
}

/// The turns of a transcript; what stands before the first mark is the system's.
fn turns_of(transcript: &str) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let (mut rest, mut role) = (transcript, Role::System);
    loop {
        let marks = [(HUMAN, Role::User), (ASSISTANT, Role::Assistant)];
        let next = marks
            .iter()
            .filter_map(|(mark, role)| Some((rest.find(mark)?, *mark, *role)));
        let next = next.min_by_key(|(at, ..)| *at);
        let text = rest[..next.map_or(rest.len(), |(at, ..)| at)]
            .trim()
            .to_owned();
        if !text.is_empty() {
            match turns.last_mut() {
                Some(last) if last.role == role => last.text.extend(["\n\n", &text]),
                _ => turns.push(Turn { role, text }),
            }
        }
        let Some((at, mark, speaker)) = next else {
            // What is asked comes last, as in the transcript: an answer in front of an answer is no turn that goes on.
            if turns
                .last()
                .is_some_and(|turn| turn.role == Role::Assistant)
            {
                let (role, text) = (Role::User, String::new());
                turns.push(Turn { role, text });
            }
            return turns;
        };
        (rest, role) = (&rest[at + mark.len()..], speaker);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{reason, rendered};
    use super::*;

    #[test]
    fn transcripts_part_at_the_last_assistant_mark() {
        let start = "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:";
        let row =
            serde_json::json!({"chosen": format!("{start} d"), "rejected": format!("{start} e")});
        let expected = Content::Preference {
            prompt: start.to_owned(),
            turns: [(Role::User, "a"), (Role::Assistant, "b"), (Role::User, "c")]
                .map(|(role, text)| Turn {
                    role,
                    text: text.to_owned(),
                })
                .into(),
            chosen: " d".to_owned(),
            rejected: " e".to_owned(),
        };
        assert_eq!(rendered("preference = {}", &row).unwrap().content, expected);
    }

    #[test]
    fn a_prompt_of_its_own_gets_the_marks() {
        let row = serde_json::json!({"q": "a", "chosen": "d", "rejected": "e"});
        let content = rendered("preference = { prompt = \"q\" }", &row)
            .unwrap()
            .content;
        assert_eq!(content.to_text(), "\n\nHuman: a\n\nAssistant: d e");
    }

    #[test]
    fn pairs_without_a_preference_are_faults() {
        let pair = |chosen: &str, rejected: &str| serde_json::json!({"chosen": chosen, "rejected": rejected});
        let mark = "\n\nAssistant:";
        for (chosen, rejected, expected) in [
            (
                format!("x{mark} a"),
                format!("y{mark} b"),
                "pair-of-different-prompts",
            ),
            (
                format!("x{mark} a"),
                format!("x{mark} b{mark} c"),
                "pair-of-different-prompts",
            ),
            (
                format!("é{mark} a"),
                format!("x{mark} b"),
                "pair-of-different-prompts",
            ),
            (
                format!("x{mark} a"),
                format!("x{mark} a"),
                "pair-of-equal-answers",
            ),
            (format!("x{mark} a"), format!("x{mark} "), "empty"),
            ("a".to_owned(), "b".to_owned(), "pair-without-answer"),
        ] {
            assert_eq!(
                reason("preference = {}", &pair(&chosen, &rejected)),
                expected
            );
        }
    }
}
