//! Dialogues: from lists of turns, from marked transcripts, from instructions.
//!
//! Published chats are ragged. Empty turns are left out, runs of one role are joined, and the dialogue begins with the
//! user's first turn and ends with the assistant's last (`lm-sys/FastChat` cleans its data so); what has no
//! answer then is a fault.

use std::collections::BTreeSet;

use serde_json::Value;

use super::content::{Content, Role, Turn};
use super::field::Path;
use super::html;
use super::options::{Instruction, Roles, Transcript, Turns};
use super::{RenderError, RenderFault};
use crate::read::Row;

/// `tatsu-lab/stanford_alpaca`, `train.py`, `PROMPT_DICT`; the answer follows on a line of its own, as in the published `text` column.
const ALPACA_INPUT: &str = "Below is an instruction that describes a task, paired with an input that provides further \
    context. Write a response that appropriately completes the request.\n\n### Instruction:\n";
pub(super) const ALPACA_PLAIN: &str = "Below is an instruction that describes a task. Write a response that appropriately \
    completes the request.\n\n### Instruction:\n";

pub(super) fn bad(problem: impl Into<String>) -> RenderFault {
    RenderFault::BadTurns {
        problem: problem.into(),
    }
}

/// A dialogue out of turns as they were published.
pub(super) fn dialogue(turns: Vec<Turn>) -> Result<Content, RenderFault> {
    let mut clean: Vec<Turn> = Vec::with_capacity(turns.len());
    for turn in turns
        .into_iter()
        .filter(|turn| !turn.text.trim().is_empty())
    {
        let asked = clean.iter().any(|before| before.role == Role::User);
        match clean.last_mut() {
            Some(last) if last.role == turn.role => {
                last.text.push_str("\n\n");
                last.text.push_str(&turn.text);
            }
            _ if turn.role == Role::Assistant && !asked => {}
            Some(_) if turn.role == Role::System => {
                return Err(bad("a system turn inside the dialogue"));
            }
            _ => clean.push(turn),
        }
    }
    while clean
        .last()
        .is_some_and(|turn| turn.role != Role::Assistant)
    {
        clean.pop();
    }
    if clean.is_empty() {
        Err(bad("no turn of the user that is answered"))
    } else {
        Ok(Content::Chat(clean))
    }
}

/// The role of a speaker.
pub(super) fn role_of(name: &str, roles: &Roles) -> Result<Role, RenderFault> {
    // A name of any length may come from the data; the message is for people.
    roles.get(name).copied().ok_or_else(|| {
        bad(format!(
            "no role for speaker {:?}",
            name.chars().take(40).collect::<String>()
        ))
    })
}

pub(super) fn check_roles(key: &'static str, roles: &Roles) -> Result<Roles, RenderError> {
    if roles.values().any(|role| *role == Role::Prompt) {
        return Err(RenderError::Value {
            key,
            problem: "a speaker is system, user or assistant",
        });
    }
    if [Role::User, Role::Assistant]
        .iter()
        .any(|role| !roles.values().any(|there| there == role))
    {
        return Err(RenderError::Value {
            key,
            problem: "some speaker must be user and some assistant",
        });
    }
    Ok(roles.clone())
}

/// A list of objects, each a turn.
#[derive(Debug, Clone)]
pub(super) struct TurnsForm {
    field: Path,
    role: Path,
    text: Path,
    roles: Roles,
    html: bool,
}

impl TurnsForm {
    pub(super) fn new(options: &Turns) -> Result<Self, RenderError> {
        Ok(Self {
            field: Path::new("turns.field", &options.field)?,
            role: Path::new("turns.role", &options.role)?,
            text: Path::new("turns.text", &options.text)?,
            roles: check_roles("turns.roles", &options.roles)?,
            html: options.html,
        })
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        fields.insert(self.field.top().to_owned());
    }

    pub(super) fn render(&self, row: &mut Row) -> Result<Content, RenderFault> {
        let turns = self.field.take_list(row)?.into_iter().map(|turn| {
            let Value::Object(mut turn) = turn else {
                return Err(self.field.wrong("a list of objects"));
            };
            let role = role_of(&self.role.take_text(&mut turn)?, &self.roles)?;
            let mut text = self.text.take_text(&mut turn)?;
            if self.html
                && let Some(clean) = html::clean(&text)
            {
                text = clean;
            }
            Ok(Turn { role, text })
        });
        dialogue(turns.collect::<Result<_, _>>()?)
    }
}

/// One string in which marks begin the turns.
#[derive(Debug, Clone)]
pub(super) struct TranscriptForm {
    field: Path,
    user: String,
    assistant: String,
}

impl TranscriptForm {
    pub(super) fn new(options: &Transcript) -> Result<Self, RenderError> {
        let (user, assistant) = (options.user.clone(), options.assistant.clone());
        if user.is_empty()
            || assistant.is_empty()
            || user.contains(&assistant)
            || assistant.contains(&user)
        {
            let problem = "marks must not be empty, and neither may contain the other";
            return Err(RenderError::Value {
                key: "transcript",
                problem,
            });
        }
        Ok(Self {
            field: Path::new("transcript.field", &options.field)?,
            user,
            assistant,
        })
    }

    /// The string.
    pub(super) fn field(&self) -> &Path {
        &self.field
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        fields.insert(self.field.top().to_owned());
    }

    pub(super) fn render(&self, row: &mut Row) -> Result<Content, RenderFault> {
        let text = self.field.take_text(row)?;
        let marks = [(Role::User, &self.user), (Role::Assistant, &self.assistant)];
        let mut places: Vec<(usize, usize, Role)> = marks
            .iter()
            .flat_map(|(role, mark)| {
                text.match_indices(mark.as_str())
                    .map(|(at, mark)| (at, mark.len(), *role))
            })
            .collect();
        places.sort_unstable();
        let first = places.first().map_or(text.len(), |place| place.0);
        if !text[..first].trim().is_empty() {
            return Err(bad("text before the first mark"));
        }
        let ends = places
            .iter()
            .skip(1)
            .map(|place| place.0)
            .chain([text.len()]);
        let turns = places.iter().zip(ends).map(|((at, mark, role), end)| {
            // Marks of which the end of one is the beginning of the other may overlap.
            let said = text.get(at + mark..end).unwrap_or("");
            Turn {
                role: *role,
                text: said.trim().to_owned(),
            }
        });
        dialogue(turns.collect())
    }
}

/// An instruction and its answer in the Alpaca template.
#[derive(Debug, Clone)]
pub(super) struct InstructionForm {
    prompt: Path,
    input: Path,
    response: Path,
    dialogue: bool,
    escaped_lines: bool,
}

impl InstructionForm {
    pub(super) fn new(options: &Instruction) -> Result<Self, RenderError> {
        Ok(Self {
            prompt: Path::new("instruction.prompt", &options.prompt)?,
            input: Path::new("instruction.input", &options.input)?,
            response: Path::new("instruction.response", &options.response)?,
            dialogue: options.dialogue,
            escaped_lines: options.escaped_lines,
        })
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        fields
            .extend([&self.prompt, &self.input, &self.response].map(|path| path.top().to_owned()));
    }

    pub(super) fn render(&self, row: &mut Row) -> Result<Content, RenderFault> {
        let mut instruction = self.prompt.take_text(row)?;
        let mut answer = self.response.take_text(row)?;
        let mut input = match self.input.take(row) {
            Some(Value::String(input)) => input,
            Some(_) => return Err(self.input.wrong("a string")),
            None => String::new(),
        };
        if self.escaped_lines {
            for text in [&mut instruction, &mut answer, &mut input] {
                *text = text.replace("\\n", "\n");
            }
        }
        if self.dialogue
            && let Some(mut turns) = turns_within(&instruction, &input)
        {
            turns.push(Turn {
                role: Role::Assistant,
                text: answer,
            });
            return dialogue(turns);
        }
        if instruction.trim().is_empty() {
            return Err(RenderFault::Empty {
                what: "the instruction",
            });
        }
        if answer.trim().is_empty() {
            return Err(RenderFault::Empty { what: "the answer" });
        }
        let prompt = if input.trim().is_empty() {
            [ALPACA_PLAIN, &instruction, "\n\n### Response:\n"].concat()
        } else {
            [
                ALPACA_INPUT,
                &instruction,
                "\n\n### Input:\n",
                &input,
                "\n\n### Response:\n",
            ]
            .concat()
        };
        let turns = [(Role::Prompt, prompt), (Role::Assistant, answer)];
        Ok(Content::Chat(
            turns.map(|(role, text)| Turn { role, text }).into(),
        ))
    }
}

/// The speakers' names that begin the lines of `GuanacoDataset`'s dialogues.
const SPEAKERS: [(&str, Role); 4] = [
    ("User:", Role::User),
    ("Human:", Role::User),
    ("Assistant:", Role::Assistant),
    ("AI:", Role::Assistant),
];

/// The turns of a dialogue that was written into the instruction and the input, a speaker's name at the beginning of a line;
/// nothing where no assistant speaks. `GuanacoDataset` keeps what was said before in `instruction` and the last
/// question in `input`.
fn turns_within(instruction: &str, input: &str) -> Option<Vec<Turn>> {
    let mut turns: Vec<Turn> = Vec::new();
    for part in [instruction, input] {
        // What stands before the first name is the user's.
        let mut fresh = true;
        for line in part.lines() {
            let named = SPEAKERS.iter().find_map(|(name, role)| {
                let said = line.trim_start().strip_prefix(name)?;
                Some((*role, said.trim_start()))
            });
            match (named, turns.last_mut()) {
                (Some((role, said)), _) => turns.push(Turn {
                    role,
                    text: said.to_owned(),
                }),
                (None, Some(last)) if !fresh => {
                    last.text.push('\n');
                    last.text.push_str(line);
                }
                (None, _) => turns.push(Turn {
                    role: Role::User,
                    text: line.to_owned(),
                }),
            }
            fresh = false;
        }
    }
    for turn in &mut turns {
        turn.text.truncate(turn.text.trim_end().len());
    }
    turns
        .iter()
        .any(|turn| turn.role == Role::Assistant)
        .then_some(turns)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{chat, reason, rendered};

    #[test]
    fn turns_of_sharegpt_become_a_dialogue() {
        let row = serde_json::json!({"conversations": [
            {"from": "gpt", "value": "an answer to nothing"},
            {"from": "system", "value": "S"},
            {"from": "human", "value": "a"}, {"from": "human", "value": "b"},
            {"from": "gpt", "value": " "}, {"from": "gpt", "value": "c"},
            {"from": "human", "value": "unanswered"},
        ]});
        assert_eq!(
            chat("turns = {}", &row),
            [("system", "S"), ("user", "a\n\nb"), ("assistant", "c")]
        );
    }

    #[test]
    fn a_manifest_names_its_own_speakers() {
        let table = "turns = { field = \"m.list\", role = \"who\", text = \"says\", roles = { q = \"user\", a = \"assistant\" } }";
        let row = serde_json::json!({"m": {"list": [{"who": "q", "says": "1"}, {"who": "a", "says": "2"}]}});
        assert_eq!(chat(table, &row), [("user", "1"), ("assistant", "2")]);
    }

    #[test]
    fn turns_that_are_no_dialogue_are_faults() {
        for (turns, expected) in [
            (serde_json::json!([]), "bad-turns"),
            (
                serde_json::json!([{"from": "human", "value": "a"}]),
                "bad-turns",
            ),
            (
                serde_json::json!([{"from": "gpt", "value": "a"}]),
                "bad-turns",
            ),
            (
                serde_json::json!([{"from": "robot", "value": "a"}]),
                "bad-turns",
            ),
            (
                serde_json::json!([{"from": "human", "value": "a"}, {"from": "system", "value": "s"}]),
                "bad-turns",
            ),
            (serde_json::json!([{"from": "human"}]), "missing-field"),
            (
                serde_json::json!([{"from": "human", "value": 1}]),
                "wrong-type",
            ),
            (serde_json::json!(["a"]), "wrong-type"),
            (serde_json::json!("a"), "wrong-type"),
            (serde_json::Value::Null, "missing-field"),
        ] {
            assert_eq!(
                reason("turns = {}", &serde_json::json!({"conversations": turns})),
                expected
            );
        }
    }

    #[test]
    fn transcripts_part_at_their_marks() {
        // openassistant-guanaco has no line break before the assistant's mark.
        let table = "transcript = { user = \"### Human:\", assistant = \"### Assistant:\" }";
        let row = serde_json::json!({"text": "### Human: a\nb### Assistant: c### Human: d### Assistant: e"});
        let expected = [
            ("user", "a\nb"),
            ("assistant", "c"),
            ("user", "d"),
            ("assistant", "e"),
        ];
        assert_eq!(chat(table, &row), expected);
        assert_eq!(
            reason(table, &serde_json::json!({"text": "Hi ### Human: a"})),
            "bad-turns"
        );
        assert_eq!(
            reason(table, &serde_json::json!({"text": "no mark"})),
            "bad-turns"
        );
        let overlapping = "transcript = { user = \"ab\", assistant = \"bc\" }";
        assert_eq!(
            reason(overlapping, &serde_json::json!({"text": "abc"})),
            "bad-turns"
        );
    }

    #[test]
    fn a_transcript_is_its_plain_text_again() {
        let text = "\n\nHuman: a\n\nAssistant: b";
        let row = serde_json::json!({"chosen": text});
        assert_eq!(
            rendered("transcript = { field = \"chosen\" }", &row)
                .unwrap()
                .content
                .to_text(),
            text
        );
    }

    #[test]
    fn the_best_replies_of_a_tree_are_followed() {
        let row = serde_json::json!({"prompt": {"role": "prompter", "text": "q", "replies": [
            {"role": "assistant", "text": "unranked"},
            {"role": "assistant", "text": "second", "rank": 1, "replies": []},
            {"role": "assistant", "text": "deleted", "rank": 0, "deleted": true},
            {"role": "assistant", "text": "best", "rank": 0, "replies": [{"role": "prompter", "text": "more?"}]},
        ]}});
        assert_eq!(
            chat("tree = {}", &row),
            [("user", "q"), ("assistant", "best")]
        );
        assert_eq!(
            reason("tree = {}", &serde_json::json!({"prompt": null})),
            "missing-field"
        );
        assert_eq!(
            reason("tree = {}", &serde_json::json!({"prompt": "q"})),
            "wrong-type"
        );
    }

    #[test]
    fn instructions_read_as_alpaca_s_own_text() {
        // Rows of tatsu-lab/alpaca, whose text column is what the template gives.
        let with_input = serde_json::json!({"instruction": "Sum.", "input": "1, 2", "output": "3"});
        let text = "Below is an instruction that describes a task, paired with an input that provides further context. \
            Write a response that appropriately completes the request.\n\n### Instruction:\nSum.\n\n### Input:\n1, 2\
            \n\n### Response:\n3";
        assert_eq!(
            rendered("instruction = {}", &with_input)
                .unwrap()
                .content
                .to_text(),
            text
        );
        for without in [
            serde_json::json!({"instruction": "Sum.", "output": "3"}),
            serde_json::json!({"instruction": "Sum.", "input": "", "output": "3"}),
        ] {
            let text = "Below is an instruction that describes a task. Write a response that appropriately completes \
                the request.\n\n### Instruction:\nSum.\n\n### Response:\n3";
            assert_eq!(
                rendered("instruction = {}", &without)
                    .unwrap()
                    .content
                    .to_text(),
                text
            );
        }
        assert_eq!(
            reason(
                "instruction = {}",
                &serde_json::json!({"instruction": "a", "output": " "})
            ),
            "empty"
        );
        assert_eq!(
            reason(
                "instruction = {}",
                &serde_json::json!({"instruction": " ", "output": "a"})
            ),
            "empty"
        );
        assert_eq!(
            reason(
                "instruction = {}",
                &serde_json::json!({"instruction": "a", "input": 1, "output": "a"})
            ),
            "wrong-type"
        );
    }

    #[test]
    fn an_exchange_is_a_dialogue_of_two_turns() {
        let table = "exchange = { prompt = \"question\", response = \"answer\" }";
        let row = |answer: &str| serde_json::json!({"question": "q", "answer": answer});
        assert_eq!(chat(table, &row("a")), [("user", "q"), ("assistant", "a")]);
        assert_eq!(reason(table, &row("")), "bad-turns");
    }

    #[test]
    fn marks_and_speakers_that_cannot_work_are_refused() {
        for table in [
            "transcript = { user = \"\" }",
            "transcript = { user = \"### A\", assistant = \"### A B\" }",
            "turns = { roles = { a = \"user\" } }",
            "turns = { roles = { a = \"user\", b = \"assistant\", c = \"prompt\" } }",
            "tree = { roles = {} }",
        ] {
            assert!(
                super::super::Render::new(&toml::from_str(table).unwrap()).is_err(),
                "{table}"
            );
        }
    }
}
