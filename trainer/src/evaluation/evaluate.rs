//! A checkpoint and some tasks become scores: what `andromeda-train evaluate` prints.

use std::path::Path;

use serde::Serialize;

use super::contamination::Contamination;
use super::kept::Kept;
use super::respond::{Answered, Counts, Responder, tokenizer};
use super::responses::Answers;
use super::score::{Passed, TaskScore, score};
use super::task::{Item, Task, items, task};
use crate::build::OpenBuild;
use crate::checkpoint::{self, State};
use crate::device::{OnBackend, on_device};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Backend;
use crate::run::tokenizer_path;

/// The folder of a run in which answers are kept.
const KEPT: &str = "evaluation";

/// What is asked of which checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Evaluating<'a> {
    /// Folder of the run, which has the tokenizer; answers are kept there.
    pub run: &'a Path,
    /// Folder of the checkpoint.
    pub checkpoint: &'a Path,
    /// Its state.
    pub state: &'a State,
    /// The build that it was trained on, where it is at hand.
    pub build: Option<&'a OpenBuild>,
    /// Names of tasks, or paths of files of some.
    pub tasks: &'a [String],
    /// Folder of evaluation sets.
    pub data: &'a Path,
    /// Only the first items of each part.
    pub limit: Option<usize>,
}

/// What a checkpoint can do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Steps of the checkpoint.
    pub step: u64,
    /// Digest of the checkpoint.
    pub checkpoint: String,
    /// Root hash of the build that it was trained on.
    pub root: String,
    /// Tokens that the model looks back at.
    pub context_tokens: usize,
    /// Of each task, in the order they were asked for.
    pub tasks: Vec<Evaluated>,
}

/// What a checkpoint made of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluated {
    /// Metrics, and what was left out.
    #[serde(flatten)]
    pub score: TaskScore,
    /// Questions to the model.
    pub requests: usize,
    /// Of these, contexts that lost their beginning.
    pub truncated: usize,
    /// What the build has to do with the benchmark.
    pub contamination: Contamination,
}

/// Puts tasks to a checkpoint. `told` is told the task and how far it is, and ends the evaluation with an error of its own; the next one
/// goes on from what was answered.
///
/// # Errors
/// A task is unknown or its evaluation set missing, both said before the model is loaded; the run's tokenizer is another than the
/// build's; the device or the disk failed.
pub fn evaluate(
    evaluating: Evaluating<'_>,
    told: &mut dyn FnMut(&str, Answered) -> Result<()>,
) -> Result<Evaluation> {
    let Evaluating { state, build, .. } = evaluating;
    let mut asked = Vec::new();
    for name in evaluating.tasks {
        let task = task(name)?;
        let items = items(&task, evaluating.data, evaluating.limit)?;
        asked.push((task, items));
    }
    check_tokenizer(evaluating.run, build)?;
    let asking = Asking {
        evaluating,
        asked: &asked,
        told,
    };
    let answered = on_device(&state.config.compute, asking)?;
    let tasks = asked.iter().zip(&answered);
    let tasks = tasks.map(|((task, items), (answers, counts))| Evaluated {
        score: score(task, items, answers, &Passed::new()),
        requests: counts.requests,
        truncated: counts.truncated,
        contamination: Contamination::of(build.map(OpenBuild::manifest), &task.benchmark),
    });
    Ok(Evaluation {
        step: state.step,
        checkpoint: state.digest.clone(),
        root: state.root.clone(),
        context_tokens: state.config.data.sequence_tokens,
        tasks: tasks.collect(),
    })
}

/// Other words for the model's tokens would give scores that look like any.
fn check_tokenizer(run: &Path, build: Option<&OpenBuild>) -> Result<()> {
    let path = tokenizer_path(run);
    let own = fs_err::read(&path).map_err(Error::io("reading the run's tokenizer"))?;
    match build.map(OpenBuild::tokenizer) {
        Some(Ok(trained)) if trained != own => Err(Error::Tokenizer {
            path,
            problem: "it is not the tokenizer of the build that the run was trained on\nhint: copy tokenizer.json of the build there"
                .to_owned(),
        }),
        _ => Ok(()),
    }
}

struct Asking<'a, 'b> {
    evaluating: Evaluating<'a>,
    asked: &'b [(Task, Vec<Item>)],
    told: &'b mut dyn FnMut(&str, Answered) -> Result<()>,
}

impl OnBackend for Asking<'_, '_> {
    type Output = Vec<(Answers, Counts)>;

    fn on<B: Backend>(self, backend: B) -> Result<Self::Output> {
        let Evaluating { run, state, .. } = self.evaluating;
        let mut model = Model::zeros(state.config.model, backend)?;
        checkpoint::load_model(self.evaluating.checkpoint, state, &mut model)?;
        let tokenizer = tokenizer(&tokenizer_path(run))?;
        let mut kept = Kept::open(&run.join(KEPT), &state.digest)?;
        let mut responder = Responder {
            model: &model,
            tokenizer: &tokenizer,
            end_of_text: state.end_of_text,
            context_tokens: state.config.data.sequence_tokens,
            kept: &mut kept,
        };
        let mut all = Vec::new();
        for (task, items) in self.asked {
            let mut told = |answered: Answered| (self.told)(&task.name, answered);
            all.push(responder.answer(items, &mut told)?);
        }
        Ok(all)
    }
}
