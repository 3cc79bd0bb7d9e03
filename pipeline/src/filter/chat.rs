//! Sanity of dialogues and tasks: an answer that says something, turns that take turns, no refusal learned by heart.
//!
//! Ours; the phrases are of the kind that `FastChat`'s cleaning of `ShareGPT` and the unfiltered sets made from it look
//! for. A dialogue's roles are known by the marks it is rendered with, and its answers by what is trained on. Of a
//! document without answers, such as a plain text, only the length is asked.

use serde::{Deserialize, Serialize};

use super::verdict::{above, below, beyond};
use super::{Filter, FilterError, Reason, Verdict, check_order, check_thresholds};
use crate::analysis::{Analysis, count_characters, strip};

/// The switches. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ChatOptions {
    /// Characters of all answers together at least, without the space around each.
    pub min_answer_characters: u64,
    /// Characters of the whole document at most.
    pub max_characters: u64,
    /// Turns at most: marks of either role.
    pub max_turns: u64,
    /// Whether a dialogue goes of which a turn is blank.
    pub drop_empty_turns: bool,
    /// Whether a dialogue goes in which a role follows itself.
    pub drop_repeated_roles: bool,
    /// Answers that begin with a refusal, of all, at most.
    pub max_refusal_fraction: f64,
    /// Answers that speak of themselves as a language model, of all, at most.
    pub max_boilerplate_fraction: f64,
}

impl Default for ChatOptions {
    fn default() -> Self {
        Self {
            min_answer_characters: 1,
            max_characters: 1_000_000,
            max_turns: 1000,
            drop_empty_turns: true,
            drop_repeated_roles: true,
            max_refusal_fraction: 0.5,
            max_boilerplate_fraction: 0.5,
        }
    }
}

impl ChatOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        let thresholds = [
            ("max-refusal-fraction", self.max_refusal_fraction),
            ("max-boilerplate-fraction", self.max_boilerplate_fraction),
        ];
        check_thresholds("chat", &thresholds, errors);
        let (min, max) = (self.min_answer_characters, self.max_characters);
        check_order("chat", "characters", min as f64, max as f64, errors);
    }
}

/// How a refusal begins, in small letters and with a plain apostrophe.
const REFUSALS: [&str; 14] = [
    "i'm sorry, but i can",
    "i'm sorry, but as an",
    "i am sorry, but i can",
    "i apologize, but i can",
    "sorry, but i can",
    "sorry, i can't",
    "i'm sorry, i can't",
    "i cannot fulfill",
    "i can't fulfill",
    "i cannot assist with",
    "i can't assist with",
    "i cannot help with that",
    "i'm not able to help with that",
    "i'm unable to assist",
];
/// What says that a language model speaks, likewise.
const BOILERPLATE: [&str; 5] = [
    "as an ai language model",
    "as a large language model",
    "as a language model",
    "i'm an ai language model",
    "i am an ai language model",
];

pub(super) struct Chat(pub(super) ChatOptions);

impl Filter for Chat {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.reason(document).into()
    }
}

impl Chat {
    fn reason(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        let characters = document.character_count() as f64;
        let max = options.max_characters as f64;
        above("chat-too-long", "characters", characters, max)
            .or_else(|| self.turns(document.text()))
            .or_else(|| self.answers(document))
    }

    fn turns(&self, text: &str) -> Option<Reason> {
        let options = &self.0;
        let mut turns = 0_u64;
        let mut last = None;
        for (role, said) in marked_turns(text) {
            turns += 1;
            if options.drop_repeated_roles && last == Some(role) {
                return Some(beyond(
                    "chat-repeated-role",
                    "chat-turn",
                    turns as f64,
                    0.0,
                    true,
                ));
            }
            if options.drop_empty_turns && strip(said).is_empty() {
                return Some(beyond(
                    "chat-empty-turn",
                    "chat-turn",
                    turns as f64,
                    0.0,
                    true,
                ));
            }
            last = Some(role);
        }
        above(
            "chat-too-many-turns",
            "chat-turns",
            turns as f64,
            options.max_turns as f64,
        )
    }

    fn answers(&self, document: &Analysis<'_>) -> Option<Reason> {
        let options = &self.0;
        let (mut answers, mut refusals, mut boilerplate, mut said) = (0_u64, 0_u64, 0_u64, 0);
        for range in document.answers() {
            let Some(answer) = document.text().get(range.clone()).map(strip) else {
                continue;
            };
            answers += 1;
            said += count_characters(answer);
            let start: String = answer.chars().take(400).collect();
            let start = start.to_lowercase().replace('’', "'");
            refusals += u64::from(REFUSALS.iter().any(|phrase| start.starts_with(phrase)));
            boilerplate += u64::from(BOILERPLATE.iter().any(|phrase| start.contains(phrase)));
        }
        if answers == 0 {
            return None;
        }
        let share = |part: u64| part as f64 / answers as f64;
        let min = options.min_answer_characters as f64;
        below(
            "chat-short-answer",
            "chat-answer-characters",
            said as f64,
            min,
        )
        .or_else(|| {
            let max = options.max_refusal_fraction;
            above(
                "chat-refusal",
                "chat-refusal-fraction",
                share(refusals),
                max,
            )
        })
        .or_else(|| {
            let max = options.max_boilerplate_fraction;
            above(
                "chat-boilerplate",
                "chat-boilerplate-fraction",
                share(boilerplate),
                max,
            )
        })
    }
}

/// Turns by their marks: whether the assistant speaks, and what is said up to the next mark or the end.
fn marked_turns(text: &str) -> impl Iterator<Item = (bool, &str)> {
    const MARKS: [(bool, &str); 2] = [(false, "\n\nHuman:"), (true, "\n\nAssistant:")];
    let next = move |from: usize| {
        MARKS
            .iter()
            .filter_map(|&(role, mark)| {
                text[from..]
                    .find(mark)
                    .map(|at| (from + at, from + at + mark.len(), role))
            })
            .min()
    };
    let mut coming = next(0);
    std::iter::from_fn(move || {
        let (_, start, role) = coming?;
        coming = next(start);
        let end = coming.map_or(text.len(), |(at, ..)| at);
        Some((role, &text[start..end]))
    })
}

#[cfg(test)]
mod tests;
