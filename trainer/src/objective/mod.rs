//! What a step makes better: the next token, the preference between two answers, or the judgement of a solution's steps.
//!
//! The principal type is [`Objective`]. The first reads sequences end to end; the others read whole documents, one a micro-batch,
//! through [`preference::Pairs`] and [`process::Steps`].

pub mod preference;
pub mod process;

use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::data::{Batch, MicroBatch, Source};
use crate::error::{Error, Result};
use crate::model::{Length, Model, Sequences};
use crate::ops::{Backend, Targets};
use crate::progress::Progress;

use preference::{Margins, Omitted, Preference, PreferenceLoss};
use process::{Marks, ProcessFigures};

/// What is learnt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The next token, wherever it carries loss: pretraining, and fine-tuning on the answers of dialogues.
    #[default]
    NextToken,
    /// Of two answers to a prompt the preferred one, against the model at the beginning of the run.
    Preference,
    /// At the end of each step of a solution, whether it is right.
    Process,
}

impl Kind {
    /// The kind of the datasets whose documents it reads whole; none where it reads sequences of any.
    pub const fn documents(self) -> Option<&'static str> {
        match self {
            Self::NextToken => None,
            Self::Preference => Some("preference"),
            Self::Process => Some("process"),
        }
    }
}

/// `[objective]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ObjectiveOptions {
    /// What is learnt.
    pub kind: Kind,
    /// Of a preference: how far from the reference it pulls; 0.1 in both papers.
    pub beta: f64,
    /// Of a preference: the loss.
    pub loss: PreferenceLoss,
    /// Of a preference: the part of the pairs that is taken to be the wrong way round, below 1/2 (conservative DPO).
    pub smoothing: f64,
    /// Of a process: the text, one token, that follows a right step.
    pub good: String,
    /// Of a process: the text, one token, that follows a wrong one.
    pub bad: String,
}

impl Default for ObjectiveOptions {
    fn default() -> Self {
        Self {
            kind: Kind::NextToken,
            beta: 0.1,
            loss: PreferenceLoss::Sigmoid,
            smoothing: 0.0,
            good: "+".to_owned(),
            bad: "-".to_owned(),
        }
    }
}

impl ObjectiveOptions {
    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(self.beta.is_finite() && self.beta > 0.0) {
            problems.push(format!("objective.beta must be above 0, not {}", self.beta));
        }
        if !(0.0..0.5).contains(&self.smoothing) {
            problems.push(format!(
                "objective.smoothing must be at least 0 and below 0.5, not {}",
                self.smoothing
            ));
        }
        if self.loss == PreferenceLoss::Ipo && self.smoothing != 0.0 {
            problems.push(
                "objective.smoothing has no meaning with objective.loss = \"ipo\"".to_owned(),
            );
        }
        if self.good == self.bad || self.good.is_empty() || self.bad.is_empty() {
            problems.push("objective.good and objective.bad must be two texts".to_owned());
        }
        problems
    }
}

/// How well what is not trained on is judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "objective")]
pub enum Judgement {
    /// Pairs.
    Preference(preference::PreferenceFigures),
    /// Steps.
    Process(ProcessFigures),
}

/// What a run learns, ready to be learnt.
#[derive(Debug)]
pub enum Objective {
    /// The next token.
    NextToken,
    /// The preferred answer.
    Preference(Preference),
    /// Whether steps are right.
    Process(Marks),
}

/// What an objective reads of a build.
pub struct Reading {
    /// What is trained on.
    pub training: Source,
    /// What is judged in the loop and not trained on; nothing for the next token.
    pub validation: Source,
    /// What is judged once, at the end; nothing for the next token.
    pub test: Source,
    /// What stands for right and wrong, where steps are judged.
    pub marks: Option<Marks>,
    /// What was left out of them.
    pub omitted: Omitted,
}

impl Objective {
    /// Prepares the objective of `config` for the run `at`, whose model is as it was at the beginning if no step is done.
    ///
    /// # Errors
    /// A document cannot be read, the disk or the device failed, or what was prepared at the beginning is gone.
    pub fn prepare<B: Backend>(
        at: &preference::At<'_>,
        config: &RunConfig,
        model: &Model<B>,
        reading: &mut Reading,
        progress: &mut dyn Progress,
    ) -> Result<Self> {
        Ok(match (config.objective.kind, reading.marks) {
            (Kind::NextToken, _) => Self::NextToken,
            (Kind::Preference, _) => {
                let options = config.objective.clone();
                let sources = [
                    &mut reading.training,
                    &mut reading.validation,
                    &mut reading.test,
                ];
                Self::Preference(Preference::prepare(at, options, model, sources, progress)?)
            }
            (Kind::Process, Some(marks)) => Self::Process(marks),
            (Kind::Process, None) => {
                return Err(Error::Usage(
                    "steps are to be judged without marks; this is a fault of the program"
                        .to_owned(),
                ));
            }
        })
    }

    /// What the loss of a step is divided by: `trained_tokens`, which are all of the step's, pairs, or judged steps.
    pub fn count(&self, batch: &Batch, trained_tokens: u64) -> u64 {
        match self {
            Self::NextToken | Self::Process(_) => trained_tokens,
            Self::Preference(_) => batch.micro_batches_of_step as u64,
        }
    }

    /// Adds the gradient of the loss of `micro`, divided by `count`, to `gradients`, and returns the loss, which is not. The margin of a
    /// pair is added to `margins`.
    ///
    /// # Errors
    /// The device failed, or a pair is none.
    pub fn add_gradients<B: Backend>(
        &self,
        pass: &Step<'_, B>,
        model: &Model<B>,
        micro: &MicroBatch,
        gradients: &mut B::Store,
        margins: &mut Margins,
    ) -> Result<f64> {
        if let Self::Preference(preference) = self {
            return preference.add_gradients(pass, model, micro, gradients, margins);
        }
        let of_documents;
        let length = match self {
            Self::Process(_) => {
                of_documents = model.length(micro.ids.len())?;
                &of_documents
            }
            _ => pass.length,
        };
        let sequences = Sequences {
            ids: &micro.ids,
            starts: pass.config.data.stay_in_documents.then_some(&micro.starts),
        };
        let targets = Targets {
            ids: &micro.next,
            trained: &micro.trained,
        };
        let (options, keep) = (
            pass.config.loss.scaled(pass.count),
            pass.config.compute.keep(),
        );
        let losses = model.add_gradients(sequences, targets, length, options, keep, gradients)?;
        Ok(losses.nats)
    }

    /// Judges the first `most` documents of what is held out; nothing for the next token.
    ///
    /// # Errors
    /// A document cannot be read, or the device failed.
    pub fn judge<B: Backend>(
        &self,
        model: &Model<B>,
        held_out: &mut Source,
        most: u64,
    ) -> Result<Option<Judgement>> {
        Ok(match self {
            Self::NextToken => None,
            Self::Preference(preference) => {
                let figures = preference.judge(model, held_out, most)?;
                figures.map(Judgement::Preference)
            }
            Self::Process(marks) => {
                process::judge(model, *marks, held_out, most)?.map(Judgement::Process)
            }
        })
    }
}

/// What all micro-batches of a step share.
pub struct Step<'a, B: Backend> {
    /// The configuration.
    pub config: &'a RunConfig,
    /// What sequences of `data.sequence-tokens` need.
    pub length: &'a Length<B>,
    /// What the loss is divided by.
    pub count: u64,
}
