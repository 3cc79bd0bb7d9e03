//! `andromeda-train evaluate`: tasks with known answers, put to a run's newest checkpoint.

use std::io::{IsTerminal, Write};

use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::evaluation::evaluate::{self, Evaluating, Evaluation};
use andromeda_trainer::evaluation::respond::Answered;
use andromeda_trainer::evaluation::score::TaskScore;
use serde::Serialize;

use super::{Signals, existing, newest};
use crate::cli::EvaluateArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

pub(crate) fn evaluate(arguments: &EvaluateArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (checkpoint, state) = newest(&folder)?;
    let opened = build::with_root(&arguments.folders.shards, &state.root)
        .ok()
        .and_then(|path| OpenBuild::open(&path).ok());
    let signals = Signals::catch()?;
    let evaluating = Evaluating {
        run: &folder,
        checkpoint: &checkpoint,
        state: &state,
        build: opened.as_ref(),
        tasks: &arguments.tasks,
        data: &arguments.sets.data,
        limit: arguments.sets.limit,
    };
    let mut told = |task: &str, answered: Answered| match signals.received() {
        Some(signal) => Err(Error::Interrupted(signal)),
        None => {
            show(task, answered);
            Ok(())
        }
    };
    let evaluation = evaluate::evaluate(evaluating, &mut told)?;
    if arguments.folders.json {
        return render::json(&Report {
            run: &arguments.run,
            evaluation: &evaluation,
        });
    }
    render::line(&format!("{} step {}", arguments.run, evaluation.step))?;
    let tasks = &evaluation.tasks;
    let scores: Vec<TaskScore> = tasks.iter().map(|of| of.score.clone()).collect();
    render::scores(&scores, arguments.parts)?;
    for of in tasks {
        render::line(&format!(
            "{:<14} {}",
            of.score.task,
            of.contamination.shown()
        ))?;
        if of.truncated > 0 {
            let (truncated, requests, tokens) =
                (of.truncated, of.requests, evaluation.context_tokens);
            render::line(&format!(
                "{:<14} {truncated} of {requests} requests are longer than the model's context of {tokens} tokens and lost their beginning",
                of.score.task
            ))?;
        }
    }
    Ok(())
}

/// On a terminal, how far a task is.
fn show(task: &str, answered: Answered) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let Answered { done, requests } = answered;
        let end = if done == requests { "\n" } else { "" };
        let _ = write!(stderr, "\r{task}: {done} of {requests} requests{end}");
    }
}
