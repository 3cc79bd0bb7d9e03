//! `andromeda-train evaluate`: tasks with known answers, put to a run's newest checkpoint.

use std::io::{IsTerminal, Write};

use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::evaluation::best_of::Judge;
use andromeda_trainer::evaluation::evaluate::{self, Evaluating, Evaluation, Told};
use andromeda_trainer::evaluation::respond::{Answered, Drawing};
use andromeda_trainer::evaluation::score::TaskScore;
use andromeda_trainer::sample::SampleOptions;
use serde::Serialize;

use super::{Signals, existing, newest, programs};
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
    let open = |root: &str| {
        let path = build::with_root(&arguments.folders.shards, root).ok()?;
        OpenBuild::open(&path).ok()
    };
    let opened: Vec<Option<OpenBuild>> = state.roots().into_iter().map(open).collect();
    let builds: Vec<Option<&OpenBuild>> = opened.iter().map(Option::as_ref).collect();
    let drawing = drawing(arguments)?;
    let judge = match &arguments.judge {
        None => None,
        Some(name) => {
            let folder = existing(&arguments.folders.runs, name)?;
            let (checkpoint, state) = newest(&folder)?;
            Some((folder, checkpoint, state))
        }
    };
    let judge = judge.as_ref().map(|(run, checkpoint, state)| Judge {
        run,
        checkpoint,
        state,
    });
    let executor = programs::executor(&arguments.execute, &arguments.tasks)?;
    let evaluation = watched(Evaluating {
        run: &folder,
        checkpoint: &checkpoint,
        state: &state,
        builds: &builds,
        tasks: &arguments.tasks,
        data: &arguments.sets.data,
        limit: arguments.sets.limit,
        drawing: &drawing,
        judge,
        executor: executor.as_ref(),
    })?;
    if arguments.folders.json {
        return render::json(&Report {
            run: &arguments.run,
            evaluation: &evaluation,
        });
    }
    render::line(&format!("{} step {}", arguments.run, evaluation.step))?;
    if let Some(judge) = &evaluation.judge {
        render::line(&format!(
            "completions chosen by {} step {}",
            judge.run, judge.step
        ))?;
    }
    let tasks = &evaluation.tasks;
    let scores: Vec<TaskScore> = tasks.iter().map(|of| of.score.clone()).collect();
    render::scores(&scores, arguments.parts)?;
    for of in tasks {
        render::line(&format!(
            "{:<14} {}",
            of.score.task,
            of.contamination.shown()
        ))?;
        if let Some(ran) = &of.programs {
            render::programs(&of.score.task, ran)?;
        }
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

/// How completions are made.
fn drawing(arguments: &EvaluateArgs) -> Result<Drawing> {
    let several = arguments.samples > 1;
    let options = SampleOptions {
        temperature: arguments
            .temperature
            .unwrap_or(if several { 0.8 } else { 0.0 }),
        top_k: 0,
        top_p: arguments.top_p,
        seed: arguments.seed,
        ..SampleOptions::default()
    };
    let mut problems = options.problems();
    if several && options.temperature == 0.0 {
        problems.push(
            "--samples above 1 needs a --temperature above 0: else all are the same".to_owned(),
        );
    }
    if !several && arguments.judge.is_some() {
        problems.push("--judge chooses among several: give --samples".to_owned());
    }
    if !problems.is_empty() {
        return Err(Error::Usage(problems.join("\n")));
    }
    Ok(Drawing {
        samples: arguments.samples,
        options,
    })
}

/// Evaluates until a signal comes, and shows how far it is.
pub(super) fn watched(evaluating: Evaluating<'_>) -> Result<Evaluation> {
    let signals = Signals::catch()?;
    let mut told = |task: &str, told: Told| match signals.received() {
        Some(signal) => Err(Error::Interrupted(signal)),
        None => {
            show(task, told);
            Ok(())
        }
    };
    evaluate::evaluate(evaluating, &mut told)
}

/// On a terminal, how far a task is.
fn show(task: &str, told: Told) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let (done, of, what) = match told {
            Told::Answered(Answered { done, requests }) => (done, requests, "requests"),
            Told::Ran { done, programs } => (done, programs, "programs"),
        };
        let end = if done == of { "\n" } else { "" };
        let _ = write!(stderr, "\r{task}: {done} of {of} {what}{end}");
    }
}
