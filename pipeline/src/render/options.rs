//! The `[render]` table of a dataset manifest, and the form that it chooses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::field::Path;
use super::template::Template;
use super::{Form, RenderError, Role, chat, preference, process, tree as trees};

/// Every form, as a manifest names it.
pub(super) const FORMS: [&str; 12] = [
    "text",
    "template",
    "turns",
    "transcript",
    "tree",
    "ranked-siblings",
    "exchange",
    "instruction",
    "preference",
    "process",
    "process-solutions",
    "process-pairs",
];

/// The `[render]` table: exactly one form, and what goes with it. Fields are paths such as `text` or `question.problem`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RenderOptions {
    /// Form: the field is the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Form: a text made of fields, such as `"Question: {question}\nAnswer: {label?no|yes}"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Form: a list of turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
    /// Form: one string in which marks begin the turns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcript: Option<Transcript>,
    /// Form: a tree of messages, of which the best path is the dialogue, or every path one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree: Option<Tree>,
    /// Form: a tree of messages; of ranked answers to one message, the best is preferred to each of the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ranked_siblings: Option<Tree>,
    /// Form: a question and its answer as a dialogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
    /// Form: an instruction and its answer in the Alpaca template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction: Option<Instruction>,
    /// Form: two answers, one preferred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference: Option<Preference>,
    /// Form: a problem and judged steps, as PRM800K has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// Form: the same rows; a solution that ends becomes a dialogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_solutions: Option<Process>,
    /// Form: the same rows; completions of one step rated +1 and -1 become preferences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_pairs: Option<Process>,
    /// For `template`: stretches of a field's value that stand for something else, such as `{ query = { "@placeholder" =
    /// "{answers.0}" } }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub replace: BTreeMap<String, BTreeMap<String, String>>,
    /// For `template`: what a field's values read as, such as `{ question = { cause = "because" } }`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub choices: BTreeMap<String, BTreeMap<String, String>>,
    /// For `text` and `transcript`: a line of the field that stands between documents, so that one row gives several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub between: Option<String>,
    /// For `text` and `template`: strings are the printed form of Python bytes objects, `b'…'`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub python_bytes: bool,
    /// Top-level fields that the document keeps beside its content, such as `url`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub meta: Vec<String>,
    /// A top-level field with the document's address, for `[dedup] url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A top-level field with its date, for `[dedup] keep = "newest"`: RFC 3339, or seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// A top-level field with a number, for `[dedup] keep = "highest-quality"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<String>,
    /// A top-level field with the path of the document's file, for a profile's `code-files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A top-level field with the language of a program, for a profile's `code-files`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// A top-level field with the document's licence, or a list of them, for a profile's `licence`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

/// The role that a speaker's name stands for.
pub type Roles = BTreeMap<String, Role>;

/// The speakers' names that `ShareGPT`, `OpenAI` and `OpenAssistant` use.
#[must_use]
pub fn default_roles() -> Roles {
    let roles = [
        ("assistant", Role::Assistant),
        ("gpt", Role::Assistant),
        ("human", Role::User),
        ("prompter", Role::User),
        ("system", Role::System),
        ("user", Role::User),
    ];
    roles.map(|(name, role)| (name.to_owned(), role)).into()
}

/// A list of objects, each a turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Turns {
    /// The list.
    pub field: String,
    /// In a turn, the speaker's name.
    pub role: String,
    /// In a turn, what is said.
    pub text: String,
    /// What the names mean; a name not here makes the row a fault.
    pub roles: Roles,
    /// Whether a turn that is HTML, as in early exports of `ShareGPT`, is made text.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub html: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            field: "conversations".to_owned(),
            role: "from".to_owned(),
            text: "value".to_owned(),
            roles: default_roles(),
            html: false,
        }
    }
}

/// One string in which marks begin the turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Transcript {
    /// The string.
    pub field: String,
    /// What begins a user's turn.
    pub user: String,
    /// What begins an assistant's turn.
    pub assistant: String,
}

impl Default for Transcript {
    fn default() -> Self {
        Self {
            field: "text".to_owned(),
            user: super::content::HUMAN.to_owned(),
            assistant: super::content::ASSISTANT.to_owned(),
        }
    }
}

/// Which paths of a tree are dialogues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreePaths {
    /// The one that follows the best reply of every message.
    #[default]
    Best,
    /// Every one from the first message to one without replies.
    All,
}

impl TreePaths {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A message that holds its replies; of several replies the one with the lowest rank is the best.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tree {
    /// The first message.
    pub root: String,
    /// In a message, the speaker's name.
    pub role: String,
    /// In a message, what is said.
    pub text: String,
    /// In a message, its replies.
    pub replies: String,
    /// In a message, its place among its siblings, 0 the best; those without come last.
    pub rank: String,
    /// In a message, whether it was deleted; such a one is not followed.
    pub deleted: String,
    /// In a message, whether it passed review; one that did not is not followed.
    #[serde(skip_serializing_if = "is_review_result")]
    pub reviewed: String,
    /// Which paths are dialogues.
    #[serde(skip_serializing_if = "TreePaths::is_default")]
    pub paths: TreePaths,
    /// What the names mean.
    pub roles: Roles,
}

const REVIEW_RESULT: &str = "review_result";

fn is_review_result(name: &str) -> bool {
    name == REVIEW_RESULT
}

impl Default for Tree {
    fn default() -> Self {
        Self {
            root: "prompt".to_owned(),
            role: "role".to_owned(),
            text: "text".to_owned(),
            replies: "replies".to_owned(),
            rank: "rank".to_owned(),
            deleted: "deleted".to_owned(),
            reviewed: REVIEW_RESULT.to_owned(),
            paths: TreePaths::default(),
            roles: default_roles(),
        }
    }
}

/// A question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Exchange {
    /// What stands before the question; the field may be absent, null or empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// The question.
    pub prompt: String,
    /// The answer.
    pub response: String,
}

/// An instruction, further input if any, and the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Instruction {
    /// The instruction.
    pub prompt: String,
    /// Further input; the field may be absent, null or empty.
    pub input: String,
    /// The answer.
    pub response: String,
    /// Whether instruction and input may hold a dialogue, each turn on a line that begins with `User:` or `Assistant:`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dialogue: bool,
    /// Whether a backslash and an n stand for the end of a line, as in parts of Alpaca-CoT. Not for text with formulas:
    /// `\neq` begins so too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub escaped_lines: bool,
}

impl Default for Instruction {
    fn default() -> Self {
        Self {
            prompt: "instruction".to_owned(),
            input: "input".to_owned(),
            response: "output".to_owned(),
            dialogue: false,
            escaped_lines: false,
        }
    }
}

/// Two answers, one preferred.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Preference {
    /// The question; without it, `chosen` and `rejected` are whole transcripts with hh-rlhf's marks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// The answer preferred.
    pub chosen: String,
    /// The other.
    pub rejected: String,
}

impl Default for Preference {
    fn default() -> Self {
        Self {
            prompt: None,
            chosen: "chosen".to_owned(),
            rejected: "rejected".to_owned(),
        }
    }
}

/// A problem and judged steps, as PRM800K has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Process {
    /// The problem.
    pub problem: String,
    /// What the labeller said: `steps` and `finish_reason`.
    pub label: String,
}

impl Default for Process {
    fn default() -> Self {
        Self {
            problem: "question.problem".to_owned(),
            label: "label".to_owned(),
        }
    }
}

impl RenderOptions {
    /// The forms that the table has, as it names them.
    fn forms(&self) -> Vec<&'static str> {
        let there = [
            self.text.is_some(),
            self.template.is_some(),
            self.turns.is_some(),
            self.transcript.is_some(),
            self.tree.is_some(),
            self.ranked_siblings.is_some(),
            self.exchange.is_some(),
            self.instruction.is_some(),
            self.preference.is_some(),
            self.process.is_some(),
            self.process_solutions.is_some(),
            self.process_pairs.is_some(),
        ];
        FORMS
            .into_iter()
            .zip(there)
            .filter(|(_, there)| *there)
            .map(|(form, _)| form)
            .collect()
    }

    pub(super) fn form(&self) -> Result<Form, RenderError> {
        let forms = self.forms();
        if forms.len() > 1 {
            return Err(RenderError::ManyForms { forms });
        }
        if self.template.is_none() && !self.choices.is_empty() {
            return Err(RenderError::Unused {
                key: "choices",
                with: "template",
            });
        }
        if self.template.is_none() && !self.replace.is_empty() {
            return Err(RenderError::Unused {
                key: "replace",
                with: "template",
            });
        }
        if self.text.is_none() && self.transcript.is_none() && self.between.is_some() {
            return Err(RenderError::Unused {
                key: "between",
                with: "text or transcript",
            });
        }
        if self
            .between
            .as_ref()
            .is_some_and(|line| line.trim().is_empty() || line.contains('\n'))
        {
            return Err(RenderError::Value {
                key: "between",
                problem: "it is one line, such as \"-----\"",
            });
        }
        if self.template.is_none() && self.text.is_none() && self.python_bytes {
            return Err(RenderError::Unused {
                key: "python-bytes",
                with: "text or template",
            });
        }
        let python_bytes = self.python_bytes;
        if let Some(field) = &self.text {
            Ok(Form::Text {
                field: Path::new("text", field)?,
                python_bytes,
            })
        } else if let Some(template) = &self.template {
            Ok(Form::Template {
                template: Template::new(template, &self.choices, &self.replace)?,
                python_bytes,
            })
        } else if let Some(turns) = &self.turns {
            chat::TurnsForm::new(turns).map(Form::Turns)
        } else if let Some(transcript) = &self.transcript {
            chat::TranscriptForm::new(transcript).map(Form::Transcript)
        } else if let Some(tree) = &self.tree {
            trees::TreeForm::paths(tree).map(Form::Tree)
        } else if let Some(tree) = &self.ranked_siblings {
            trees::TreeForm::siblings(tree).map(Form::Tree)
        } else if let Some(exchange) = &self.exchange {
            let prompt = Path::new("exchange.prompt", &exchange.prompt)?;
            let system = exchange.system.as_deref();
            let system = system.map(|system| Path::new("exchange.system", system));
            Ok(Form::Exchange {
                system: system.transpose()?,
                prompt,
                response: Path::new("exchange.response", &exchange.response)?,
            })
        } else if let Some(instruction) = &self.instruction {
            chat::InstructionForm::new(instruction).map(Form::Instruction)
        } else if let Some(pair) = &self.preference {
            preference::PreferenceForm::new(pair).map(Form::Preference)
        } else if let Some(process) = &self.process {
            process::ProcessForm::new(process, process::Gives::Steps).map(Form::Process)
        } else if let Some(process) = &self.process_solutions {
            process::ProcessForm::new(process, process::Gives::Solution).map(Form::Process)
        } else if let Some(process) = &self.process_pairs {
            process::ProcessForm::new(process, process::Gives::Pairs).map(Form::Process)
        } else {
            Err(RenderError::NoForm)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Render;
    use super::*;

    fn checked(table: &str) -> Result<Render, RenderError> {
        Render::new(&toml::from_str(table).unwrap())
    }

    #[test]
    fn a_table_has_exactly_one_form() {
        assert_eq!(checked("").unwrap_err(), RenderError::NoForm);
        let error = checked("text = \"a\"\ntemplate = \"{a}\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("text and template"), "{error}");
        for form in FORMS
            .iter()
            .filter(|form| !["text", "template", "exchange"].contains(form))
        {
            checked(&format!("{form} = {{}}")).unwrap();
        }
    }

    #[test]
    fn unknown_keys_and_options_without_effect_are_errors() {
        for table in [
            "txt = \"a\"",
            "turns = { list = \"a\" }",
            "exchange = { prompt = \"a\" }",
        ] {
            assert!(toml::from_str::<RenderOptions>(table).is_err(), "{table}");
        }
        for table in [
            "turns = {}\npython-bytes = true",
            "text = \"a\"\nchoices = { a = { x = \"y\" } }",
        ] {
            assert!(
                matches!(checked(table), Err(RenderError::Unused { .. })),
                "{table}"
            );
        }
    }

    #[test]
    fn the_reader_is_asked_for_the_fields_used_and_no_others() {
        let fields = |table: &str| checked(table).unwrap().fields();
        assert_eq!(
            fields("text = \"content\"\nmeta = [\"url\"]"),
            ["content", "url"]
        );
        assert_eq!(
            fields("template = \"{q.x} {label?{a}|{b.c}}\""),
            ["a", "b", "label", "q"]
        );
        assert_eq!(fields("turns = {}"), ["conversations"]);
        assert_eq!(
            fields("instruction = {}"),
            ["input", "instruction", "output"]
        );
        assert_eq!(fields("preference = {}"), ["chosen", "rejected"]);
        assert_eq!(fields("tree = {}"), ["prompt"]);
    }

    #[test]
    fn a_table_survives_writing_and_reading() {
        let options: RenderOptions = toml::from_str(
            "turns = { field = \"c\", role = \"r\", text = \"t\", roles = { bot = \"assistant\" } }\nmeta = [\"id\"]",
        )
        .unwrap();
        assert_eq!(
            toml::from_str::<RenderOptions>(&toml::to_string(&options).unwrap()).unwrap(),
            options
        );
    }
}
