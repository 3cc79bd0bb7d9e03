//! Rows become documents: which fields of a row make a text, a chat, a preference or a process.
//!
//! [`RenderOptions`] is the `[render]` table of a dataset manifest; [`Render`] is what it means, checked; every row that
//! does not fit is a [`RenderFault`] with a reason. Formats of the published datasets are the ones their own code or
//! card describes: the Alpaca template (`tatsu-lab/stanford_alpaca`, `train.py`), hh-rlhf's transcripts
//! (direct-preference-optimization `preference_datasets.py`), PRM800K's label tree (its README), the turns of `ShareGPT`.

mod about;
mod chat;
mod chatml;
mod content;
mod facts;
mod field;
mod html;
mod options;
mod preference;
mod process;
mod template;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

pub use andromeda_format::ChatFormat;
pub use content::{Content, Role, Segment, Step, Turn};
pub use facts::{FactFields, Facts};
pub use options::{
    Exchange, Instruction, Preference, Process, RenderOptions, Roles, Transcript, Tree, TreePaths,
    Turns, default_roles,
};

use crate::filter::beside::About;
use crate::read::Row;
use about::AboutFields;
use field::Path;
use template::Template;

/// A `[render]` table that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderError {
    /// None of the forms is there.
    #[error("[render] says no form; set exactly one of {}", options::FORMS.join(", "))]
    NoForm,
    /// More than one form is there.
    #[error("[render] says {}; keep exactly one of them", forms.join(" and "))]
    ManyForms {
        /// The forms found.
        forms: Vec<&'static str>,
    },
    /// A template that cannot be read.
    #[error("[render] template, character {at}: {problem}")]
    Template {
        /// Characters before the fault.
        at: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// A field name without letters, or a path with an empty part.
    #[error("[render] {key}: {path:?} is no field name; write name or outer.inner")]
    Path {
        /// The key that holds it.
        key: &'static str,
        /// What was written.
        path: String,
    },
    /// An option that has no effect on the form chosen.
    #[error("[render] {key} only goes with {with}; remove it or change the form")]
    Unused {
        /// The option.
        key: &'static str,
        /// The forms that it goes with.
        with: &'static str,
    },
    /// A value that the form cannot work with.
    #[error("[render] {key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong, and what to write.
        problem: &'static str,
    },
}

/// Why a row makes no document. The run counts it under [`reason`](Self::reason) and goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RenderFault {
    /// A field is absent or null.
    #[error("field {field} is missing")]
    MissingField {
        /// Its path.
        field: String,
    },
    /// A field has a value of another type.
    #[error("field {field} is not {expected}")]
    WrongType {
        /// Its path.
        field: String,
        /// The type wanted.
        expected: &'static str,
    },
    /// Nothing but white space would remain.
    #[error("{what} is empty")]
    Empty {
        /// What is empty.
        what: &'static str,
    },
    /// The label is absent by the dataset's convention, such as -1 in test splits.
    #[error("field {field} is no label")]
    Unlabelled {
        /// Its path.
        field: String,
    },
    /// A label that the manifest has no text for.
    #[error("field {field}: no choice for {value}")]
    UnknownChoice {
        /// Its path.
        field: String,
        /// The value found.
        value: String,
    },
    /// Turns that are no dialogue.
    #[error("the turns are no dialogue: {problem}")]
    BadTurns {
        /// What is wrong with them.
        problem: String,
    },
    /// Chosen and rejected do not answer the same prompt.
    #[error("no preference: {problem}")]
    BadPair {
        /// What is wrong with them.
        problem: &'static str,
        /// The word that the run counts it under.
        reason: &'static str,
    },
    /// The publisher marks the row as not meant for training.
    #[error("marked by its publisher: {mark}")]
    MarkedUnusable {
        /// The mark.
        mark: &'static str,
    },
}

impl RenderFault {
    /// The word that a run counts the fault under.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::MissingField { .. } => "missing-field",
            Self::WrongType { .. } => "wrong-type",
            Self::Empty { .. } => "empty",
            Self::Unlabelled { .. } => "unlabelled",
            Self::UnknownChoice { .. } => "unknown-choice",
            Self::BadTurns { .. } => "bad-turns",
            Self::BadPair { reason, .. } => reason,
            Self::MarkedUnusable { .. } => "marked-unusable",
        }
    }
}

/// A document's content and the fields that go with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// What the row says.
    pub content: Content,
    /// The fields that `meta` names, as far as the row has them.
    pub meta: Row,
}

/// One form, its paths and templates checked.
#[derive(Debug, Clone)]
enum Form {
    Text {
        field: Path,
        python_bytes: bool,
    },
    Template {
        template: Template,
        python_bytes: bool,
    },
    Turns(chat::TurnsForm),
    Transcript(chat::TranscriptForm),
    Tree(tree::TreeForm),
    Exchange {
        system: Option<Path>,
        prompt: Path,
        response: Path,
    },
    Instruction(chat::InstructionForm),
    Preference(preference::PreferenceForm),
    Process(process::ProcessForm),
}

/// Turns rows of one dataset into documents.
#[derive(Debug, Clone)]
pub struct Render {
    form: Form,
    /// The line between documents, and the field that it stands in.
    between: Option<(Path, String)>,
    meta: Vec<String>,
    facts: FactFields,
    about: AboutFields,
}

impl Render {
    /// Checks the `[render]` table.
    ///
    /// # Errors
    /// Not exactly one form, a template or path that cannot be read, or an option that the form does not use.
    pub fn new(options: &RenderOptions) -> Result<Self, RenderError> {
        let form = options.form()?;
        let field = match &form {
            Form::Text { field, .. } => Some(field.clone()),
            Form::Transcript(form) => Some(form.field().clone()),
            _ => None,
        };
        Ok(Self {
            form,
            between: field.zip(options.between.clone()),
            meta: options.meta.clone(),
            facts: FactFields::new(options),
            about: AboutFields::new(options),
        })
    }

    /// The top-level fields that rows need, sorted: the projection for the reader.
    #[must_use]
    pub fn fields(&self) -> Vec<String> {
        let named = self.meta.iter().chain(self.facts.names());
        let named = named.chain(self.about.names());
        let mut fields: BTreeSet<String> = named.cloned().collect();
        match &self.form {
            Form::Text { field, .. } => {
                fields.insert(field.top().to_owned());
            }
            Form::Template { template, .. } => template.fields(&mut fields),
            Form::Turns(form) => form.fields(&mut fields),
            Form::Transcript(form) => form.fields(&mut fields),
            Form::Tree(form) => form.fields(&mut fields),
            Form::Exchange {
                system,
                prompt,
                response,
            } => {
                let all = [Some(prompt), Some(response), system.as_ref()];
                fields.extend(all.into_iter().flatten().map(|path| path.top().to_owned()));
            }
            Form::Instruction(form) => form.fields(&mut fields),
            Form::Preference(form) => form.fields(&mut fields),
            Form::Process(form) => form.fields(&mut fields),
        }
        fields.into_iter().collect()
    }

    /// The fields that `meta` names, as far as the row has them, as a JSON object; nothing where it has none.
    #[must_use]
    pub fn meta(&self, row: &Row) -> Option<String> {
        let kept: Row = self
            .meta
            .iter()
            .filter_map(|name| Some((name.clone(), row.get(name)?.clone())))
            .collect();
        (!kept.is_empty()).then(|| Value::Object(kept).to_string())
    }

    /// The fields that hold facts of a document.
    #[must_use]
    pub fn fact_fields(&self) -> &FactFields {
        &self.facts
    }

    /// What a row says of its documents besides their text.
    #[must_use]
    pub fn facts(&self, row: &Row) -> Facts {
        self.facts.of(row)
    }

    /// What a row says of its documents besides their text, as far as rules ask.
    #[must_use]
    pub fn about(&self, row: &Row) -> About {
        self.about.of(row)
    }

    /// The documents that a row makes: one or several, or one reason why there is none. Never empty.
    pub fn render_all(&self, mut row: Row) -> Vec<Result<Content, RenderFault>> {
        if let Some((field, line)) = &self.between {
            return self.pieces(&row, field, line);
        }
        match &self.form {
            Form::Tree(form) => form.render(&mut row),
            Form::Process(form) => form.render(&mut row),
            _ => vec![self.render(row).map(|rendered| rendered.content)],
        }
    }

    /// A document for each piece of the field between lines that are `line`; pieces without text are none.
    fn pieces(&self, row: &Row, field: &Path, line: &str) -> Vec<Result<Content, RenderFault>> {
        let text = match field.get(row) {
            Some(Value::String(text)) => text,
            Some(_) => return vec![Err(field.wrong("a string"))],
            None => return vec![Err(field.missing())],
        };
        let mut pieces = vec![String::new()];
        for written in text.split_inclusive('\n') {
            if written.trim() == line.trim() {
                pieces.push(String::new());
            } else if let Some(last) = pieces.last_mut() {
                last.push_str(written);
            }
        }
        let pieces = pieces.iter().map(|piece| piece.trim_matches('\n'));
        let given: Vec<_> = pieces
            .filter(|piece| !piece.trim().is_empty())
            .map(|piece| {
                let mut row = row.clone();
                if let Some(value) = field.get_mut(&mut row) {
                    *value = piece.into();
                }
                self.render(row).map(|rendered| rendered.content)
            })
            .collect();
        if given.is_empty() {
            vec![Err(RenderFault::Empty { what: "the text" })]
        } else {
            given
        }
    }

    /// The first document that a row makes, with the fields that go with it. Texts move out of the row where they are used once.
    ///
    /// # Errors
    /// The row lacks a field, has one of another type, or says nothing.
    pub fn render(&self, mut row: Row) -> Result<Rendered, RenderFault> {
        let meta = self
            .meta
            .iter()
            .filter_map(|name| Some((name.clone(), row.get(name)?.clone())))
            .collect();
        let content = match &self.form {
            Form::Text {
                field,
                python_bytes,
            } => {
                let text = field.take_text(&mut row)?;
                Content::Text(if *python_bytes {
                    field.python_bytes(&text)?
                } else {
                    text
                })
            }
            Form::Template {
                template,
                python_bytes,
            } => Content::Text(template.fill(&row, *python_bytes)?),
            Form::Turns(form) => form.render(&mut row)?,
            Form::Transcript(form) => form.render(&mut row)?,
            Form::Tree(form) => first(form.render(&mut row))?,
            Form::Exchange {
                system,
                prompt,
                response,
            } => {
                let before = match system.as_ref().and_then(|system| system.take(&mut row)) {
                    Some(Value::String(text)) => text,
                    Some(_) => return Err(system.as_ref().expect("just taken").wrong("a string")),
                    None => String::new(),
                };
                let before = Turn {
                    role: Role::System,
                    text: before,
                };
                let user = Turn {
                    role: Role::User,
                    text: prompt.take_text(&mut row)?,
                };
                let assistant = Turn {
                    role: Role::Assistant,
                    text: response.take_text(&mut row)?,
                };
                chat::dialogue(vec![before, user, assistant])?
            }
            Form::Instruction(form) => form.render(&mut row)?,
            Form::Preference(form) => form.render(&mut row)?,
            Form::Process(form) => first(form.render(&mut row))?,
        };
        match &content {
            Content::Text(text) if text.trim().is_empty() => {
                Err(RenderFault::Empty { what: "the text" })
            }
            _ => Ok(Rendered { content, meta }),
        }
    }
}

fn first(documents: Vec<Result<Content, RenderFault>>) -> Result<Content, RenderFault> {
    documents
        .into_iter()
        .next()
        .expect("a row gives a document or a reason")
}
