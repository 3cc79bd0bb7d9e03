//! `andromeda-train compare`: runs on the same text and the same questions.

use std::io::{IsTerminal, Write};

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::compare::{self, Compared, LossComparison, Questions, TaskComparison, Text};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::evaluation::respond::Answered;
use andromeda_trainer::report::{ReportedRun, comparison_page};
use serde::Serialize;

use super::{Signals, existing, newest, write_page};
use crate::cli::{CompareArgs, SplitArg};
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    losses: Option<&'a LossComparison>,
    tasks: &'a [TaskComparison],
}

pub(crate) fn compare(arguments: &CompareArgs) -> Result<()> {
    let folders = &arguments.folders;
    let mut runs: Vec<Compared> = Vec::with_capacity(arguments.run.len());
    for name in &arguments.run {
        let folder = existing(&folders.runs, name)?;
        let (checkpoint, state) = newest(&folder)?;
        // The folder's name, whatever was typed for it.
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        if runs.iter().any(|run| run.name == name) {
            return Err(Error::Usage(format!("the run {name} is named twice")));
        }
        runs.push(Compared {
            name: name.into_owned(),
            folder,
            checkpoint,
            state,
        });
    }
    let signals = Signals::catch()?;
    let go_on = || match signals.received() {
        Some(signal) => Err(Error::Ended(signal)),
        None => Ok(()),
    };
    let losses = if arguments.tasks_only {
        None
    } else {
        let mut told = |name: &str, done, of| {
            go_on()?;
            if !folders.json {
                render::brief::reading(name, done, of);
            }
            Ok(())
        };
        Some(losses(arguments, &runs, &mut told)?)
    };
    let questions = Questions {
        shards: &folders.shards,
        tasks: &arguments.tasks,
        data: &arguments.sets.data,
        limit: arguments.sets.limit,
    };
    let mut told = |name: &str, task: &str, answered| {
        go_on()?;
        if !folders.json {
            show(name, task, answered);
        }
        Ok(())
    };
    let tasks = if arguments.tasks.is_empty() {
        Vec::new()
    } else {
        compare::tasks(&runs, questions, &mut told)?
    };
    if let Some(out) = &arguments.out {
        let mut reported = Vec::with_capacity(runs.len());
        for run in &runs {
            reported.push(ReportedRun::of_any(&run.folder, &run.name)?);
        }
        write_page(out, &comparison_page(&reported, losses.as_ref(), &tasks)?)?;
    }
    if folders.json {
        return render::json(&Report {
            losses: losses.as_ref(),
            tasks: &tasks,
        });
    }
    if let Some(losses) = &losses {
        render::compare::losses(losses)?;
    }
    if !tasks.is_empty() {
        render::compare::tasks(&tasks)?;
    }
    arguments
        .out
        .as_ref()
        .map_or(Ok(()), |out| render::line(&out.display().to_string()))
}

fn losses(
    arguments: &CompareArgs,
    runs: &[Compared],
    told: &mut dyn FnMut(&str, u64, u64) -> Result<()>,
) -> Result<LossComparison> {
    let build = match (&arguments.build, runs.first()) {
        (None, Some(first)) => build::with_root(&arguments.folders.shards, &first.state.root)?,
        (build, _) => build.clone().unwrap_or_default(),
    };
    let opened = OpenBuild::open(&build)?;
    let text = Text {
        opened: &opened,
        part: match arguments.split {
            SplitArg::Val => Part::Validation,
            SplitArg::Test => Part::Test,
        },
        tokens: arguments.tokens,
    };
    compare::losses(runs, text, told)
}

/// On a terminal, how far a task is.
fn show(name: &str, task: &str, answered: Answered) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let Answered { done, requests } = answered;
        let end = if done == requests { "\n" } else { "" };
        let _ = write!(
            stderr,
            "\r{name}, {task}: {done} of {requests} requests{end}"
        );
    }
}
