//! A checkpoint and some tasks become scores: what `andromeda-train evaluate` prints.

use std::path::Path;

use serde::Serialize;

use super::best_of::{Judge, JudgedBy, Judgements, best_of};
use super::contamination::Contamination;
use super::execute::{Executor, Ran, run_programs};
use super::kept::Kept;
use super::respond::{Answered, Counts, Drawing, Responder, tokenizer};
use super::responses::Answers;
use super::score::{MetricScore, Passed, TaskScore, score};
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
    /// The builds of [`State::roots`], where they are at hand.
    pub builds: &'a [Option<&'a OpenBuild>],
    /// Names of tasks, or paths of files of some.
    pub tasks: &'a [String],
    /// Folder of evaluation sets.
    pub data: &'a Path,
    /// Only the first items of each part.
    pub limit: Option<usize>,
    /// How text is made, where a task wants text.
    pub drawing: &'a Drawing,
    /// Who chooses among several completions.
    pub judge: Option<Judge<'a>>,
    /// What runs the programs of tasks whose answers are such; without it they are not scored.
    pub executor: Option<&'a Executor>,
}

/// What is told while tasks are put to a checkpoint.
#[derive(Debug, Clone, Copy)]
pub enum Told {
    /// Questions that have an answer.
    Answered(Answered),
    /// Programs whose outcome is known.
    Ran {
        /// So many.
        done: usize,
        /// All.
        programs: usize,
    },
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
    /// Who chose among completions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgedBy>,
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
    /// What became of its programs, where they were run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programs: Option<Ran>,
    /// What the build has to do with the benchmark.
    pub contamination: Contamination,
}

/// A task and a checkpoint's answers to it.
#[derive(Debug, Clone)]
pub struct TaskAnswers {
    /// The task.
    pub task: Task,
    /// What was asked.
    pub items: Vec<Item>,
    /// The answers, a list an item.
    pub answers: Answers,
    /// What answering came to.
    pub counts: Counts,
}

/// Puts tasks to a checkpoint. `told` is told the task and how far it is, and ends the evaluation with an error of its own; the next one
/// goes on from what was answered.
///
/// # Errors
/// A task is unknown or its evaluation set missing, both said before the model is loaded; the run's tokenizer is another than the
/// build's; the device or the disk failed; a layer between programs and the machine is no longer there.
pub fn evaluate(
    evaluating: Evaluating<'_>,
    told: &mut dyn FnMut(&str, Told) -> Result<()>,
) -> Result<Evaluation> {
    let Evaluating { state, builds, .. } = evaluating;
    let mut judged = |task: &str, answered: Answered| told(task, Told::Answered(answered));
    let answered = answers(evaluating, &mut judged)?;
    let chosen = choose(&evaluating, &answered, &mut judged)?;
    let mut tasks = Vec::with_capacity(answered.len());
    for (of, chosen) in answered.iter().zip(chosen) {
        let task = &of.task;
        let executor = evaluating.executor.filter(|_| task.has_programs());
        let (passed, programs) = match executor {
            Some(executor) => {
                let mut told = |done, programs| told(&task.name, Told::Ran { done, programs });
                let (passed, ran) =
                    run_programs(executor, task, &of.items, &of.answers, &mut told)?;
                (passed, Some(ran))
            }
            None => (Passed::new(), None),
        };
        let mut score = score(task, &of.items, &of.answers, &passed);
        score.metrics.extend(chosen);
        tasks.push(Evaluated {
            score,
            requests: of.counts.requests,
            truncated: of.counts.truncated,
            programs,
            contamination: Contamination::of(
                builds.iter().map(|build| build.map(OpenBuild::manifest)),
                &task.benchmark,
            ),
        });
    }
    Ok(Evaluation {
        step: state.step,
        checkpoint: state.digest.clone(),
        root: state.root.clone(),
        context_tokens: state.config.data.sequence_tokens,
        judge: evaluating.judge.as_ref().map(Judge::name),
        tasks,
    })
}

/// The answers of a checkpoint to tasks, in the order they were asked for; those from before are found again.
///
/// # Errors
/// As [`evaluate`].
pub fn answers(
    evaluating: Evaluating<'_>,
    told: &mut dyn FnMut(&str, Answered) -> Result<()>,
) -> Result<Vec<TaskAnswers>> {
    let asked = asked(evaluating.tasks, evaluating.data, evaluating.limit)?;
    check_tokenizer(evaluating.run, evaluating.builds.last().copied().flatten())?;
    if let Some(judge) = &evaluating.judge {
        judge.check()?;
    }
    let asking = Asking {
        evaluating,
        asked: &asked,
        told,
    };
    let answered = on_device(&evaluating.state.config.compute, asking)?;
    let both = asked.into_iter().zip(answered);
    Ok(both
        .map(|((task, items), (answers, counts))| TaskAnswers {
            task,
            items,
            answers,
            counts,
        })
        .collect())
}

/// Where there is a judge, what its choices among the completions of each task come to.
fn choose(
    evaluating: &Evaluating<'_>,
    answered: &[TaskAnswers],
    told: &mut dyn FnMut(&str, Answered) -> Result<()>,
) -> Result<Vec<Vec<MetricScore>>> {
    let Some(judge) = &evaluating.judge else {
        return Ok(vec![Vec::new(); answered.len()]);
    };
    let all = answered.iter();
    let all: Vec<(&Task, &[Item], &Answers)> = all
        .map(|of| (&of.task, of.items.as_slice(), &of.answers))
        .collect();
    let judgements = judge.judge(&all, told)?;
    let of_tasks = all.iter().zip(&judgements);
    let of_task =
        |((task, items, answers), judgements): (&(&Task, &[Item], &Answers), &Judgements)| {
            if judgements.iter().all(Vec::is_empty) {
                return Vec::new();
            }
            best_of(task, items, answers, judgements)
        };
    Ok(of_tasks.map(of_task).collect())
}

/// The tasks called so, each with its items out of the evaluation sets in `data`, of each part the first `limit`.
///
/// # Errors
/// A task is unknown, or its evaluation set missing or not what it should be.
pub fn asked(
    tasks: &[String],
    data: &Path,
    limit: Option<usize>,
) -> Result<Vec<(Task, Vec<Item>)>> {
    let one = |name: &String| {
        let task = task(name)?;
        let items = items(&task, data, limit)?;
        Ok((task, items))
    };
    tasks.iter().map(one).collect()
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
            drawing: self.evaluating.drawing,
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
