//! `andromeda-train sweep`: trials of a configuration, each begun or gone on with, then sorted by what they are judged by.

use std::path::{Path, PathBuf};

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::checkpoint;
use andromeda_trainer::config::RunConfig;
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::history::last_value;
use andromeda_trainer::origin::{self, Beginning, Source};
use andromeda_trainer::progress::Progress;
use andromeda_trainer::report::{ReportedRun, sweep_page};
use andromeda_trainer::run::Run;
use andromeda_trainer::sweep::{Sweep, SweepResult, Told, Trial, TrialResult};

use super::{Signals, Standing, folder_of, run, standing, write_page};
use crate::cli::SweepArgs;
use crate::render;
use crate::render::brief::Brief;

/// A trial and what it is trained with, everything checked.
struct Planned<'a> {
    trial: &'a Trial,
    folder: PathBuf,
    config: RunConfig,
    done: bool,
}

pub(crate) fn sweep(arguments: &SweepArgs) -> Result<()> {
    let sweep = Sweep::read(&arguments.sweep)?;
    let opened = OpenBuild::open(&build_of(arguments, &sweep)?)?;
    let source = match &sweep.from {
        None => None,
        Some(from) => {
            let runs = &arguments.folders.runs;
            Some(run::source(runs, &from.run, from.moments)?)
        }
    };
    let planned = plan(arguments, &sweep, &opened, source.as_ref())?;
    let signals = Signals::catch()?;
    let json = arguments.folders.json;
    let mut result = SweepResult {
        sweep: sweep.name.clone(),
        build: opened.path().to_owned(),
        root: opened.root().to_owned(),
        metric: sweep.metric.name,
        lowest_is_best: sweep.metric.lowest_is_best,
        fields: sweep.fields.clone(),
        trials: Vec::with_capacity(planned.len()),
    };
    for (number, planned) in (1..).zip(&planned) {
        let mut failure = None;
        if !planned.done {
            let what = format!(
                "trial {number} of {}, {}",
                sweep.trials.len(),
                shown(planned.trial)
            );
            let mut progress: Box<dyn Progress> = if json {
                Box::new(())
            } else {
                Box::new(Brief::begin(&planned.trial.run, &what))
            };
            let begun = match &source {
                None => Ok(()),
                Some(source) => begin(planned, &opened, source),
            };
            let done = begun.and_then(|()| {
                run::go_alone(
                    &planned.folder,
                    &opened,
                    &planned.config,
                    &signals,
                    &mut *progress,
                )
            });
            match done {
                Err(stopped @ (Error::Interrupted(_) | Error::Ended(_))) => return Err(stopped),
                Err(error) => failure = Some(error.to_string()),
                Ok(()) => {}
            }
        }
        result
            .trials
            .push(measured(planned, sweep.metric.name, failure)?);
    }
    result.sort();
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| Path::new("reports").join(format!("{}.html", sweep.name)));
    write_page(&out, &page(arguments, &result)?)?;
    if json {
        render::json(&result)?;
    } else {
        render::sweep::trials(&result)?;
        render::line(&out.display().to_string())?;
    }
    let failed = result.failed().count();
    match result.failed().next() {
        None => Ok(()),
        Some(first) => Err(Error::Trials {
            failed,
            of: result.trials.len(),
            first: format!(
                "{}: {}",
                first.run,
                first.failure.as_deref().unwrap_or_default()
            ),
        }),
    }
}

/// The build: the one that trials were begun on, else the one that the sweep names, else the newest.
fn build_of(arguments: &SweepArgs, sweep: &Sweep) -> Result<PathBuf> {
    let shards = &arguments.folders.shards;
    // A folder that is named is that build, whatever was trained before.
    let folder = sweep.build.as_ref().filter(|build| build.is_dir());
    if folder.is_none() {
        for trial in &sweep.trials {
            // What is no name for a run is told with all other problems.
            let Ok(folder) = folder_of(&arguments.folders.runs, &trial.run) else {
                continue;
            };
            if folder.is_dir()
                && let Some((_, state)) = checkpoint::newest_valid(&folder, |_, _| ())?
            {
                return build::with_root(shards, &state.root).map_err(|_| {
                    Error::Usage(format!(
                        "{} was trained on the build {}, which is not in {}\nhint: name its folder as `build` in {}, or give the sweep another name",
                        folder.display(),
                        state.root,
                        shards.display(),
                        arguments.sweep.display()
                    ))
                });
            }
        }
    }
    match &sweep.build {
        Some(build) => build::meant(shards, build),
        None => build::newest(shards),
    }
}

/// Gives the run of a trial its beginning.
fn begin(planned: &Planned<'_>, opened: &OpenBuild, source: &Source) -> Result<()> {
    let beginning = Beginning {
        run: &Run::lock(&planned.folder)?,
        config: &planned.config,
        root: opened.root(),
        tokenizer: &opened.tokenizer()?,
        end_of_text: opened.end_of_text(),
    };
    origin::begin(beginning, source)
}

/// Resolves every trial, and says everything that is wrong, before any work.
fn plan<'a>(
    arguments: &SweepArgs,
    sweep: &'a Sweep,
    opened: &OpenBuild,
    source: Option<&Source>,
) -> Result<Vec<Planned<'a>>> {
    let mut problems = sweep.problems.clone();
    let mut told = Told::default();
    let mut planned = Vec::with_capacity(sweep.trials.len());
    for trial in &sweep.trials {
        let mut wrong = |problem: String| told.add(&trial.run, problem);
        let (written, vocabulary) = (&trial.config, opened.vocabulary());
        let resolved = match source {
            None => written.resolve(vocabulary, &sweep.base),
            Some(source) => {
                written.resolve_from(&source.state.config.model, vocabulary, &sweep.base)
            }
        };
        let config = match resolved {
            Ok(config) => config,
            Err(Error::Config { problem, .. }) => {
                problem
                    .split("; ")
                    .for_each(|problem| wrong(problem.to_owned()));
                continue;
            }
            Err(error) => return Err(error),
        };
        let (metric, tokens) = (&sweep.metric, config.data.sequence_tokens);
        if metric.of.is_some_and(|kind| kind != config.objective.kind) {
            wrong(format!(
                "metric: {} is not measured where objective.kind is another",
                metric.name
            ));
        }
        match opened.reading(&config) {
            Ok(reading) if reading.training.sequences.sequences() == 0 => wrong(format!(
                "{} has nothing to train on in sequences of {tokens} tokens: lower data.sequence-tokens, or name another build",
                opened.path().display()
            )),
            Ok(_) => {}
            Err(Error::Usage(problem)) => wrong(problem),
            Err(error) => return Err(error),
        }
        let validation = opened.source(Part::Validation, &config.data)?;
        if metric.needs_validation() && validation.sequences.sequences() == 0 {
            wrong(format!(
                "{} has no validation sequence of {tokens} tokens to measure {} on: lower data.sequence-tokens, or metric = \"loss\"",
                opened.path().display(),
                metric.name
            ));
        }
        let folder = match folder_of(&arguments.folders.runs, &trial.run) {
            Ok(folder) => folder,
            // The name of the sweep is none: said already.
            Err(_) if !sweep.problems.is_empty() => continue,
            Err(error) => return Err(error),
        };
        let mut done = false;
        match standing(&folder, &config, opened.root())? {
            Standing::Begins => {}
            Standing::Done => done = true,
            Standing::Other(problem) => wrong(problem),
        }
        planned.push(Planned {
            trial,
            folder,
            config,
            done,
        });
    }
    problems.extend(told.sentences());
    if problems.is_empty() {
        return Ok(planned);
    }
    Err(Error::Usage(format!(
        "{}: {}\nhint: nothing was begun; the README has a sweep that is complete",
        arguments.sweep.display(),
        problems.join("\n")
    )))
}

/// The values of a trial.
fn shown(trial: &Trial) -> String {
    let values = trial.values.iter();
    let values: Vec<String> = values
        .map(|(field, value)| format!("{field} = {value}"))
        .collect();
    values.join(", ")
}

/// What a trial came to.
fn measured(planned: &Planned<'_>, metric: &str, failure: Option<String>) -> Result<TrialResult> {
    let step = checkpoint::steps(&planned.folder)
        .unwrap_or_default()
        .first()
        .copied();
    let value = last_value(&planned.folder, metric)?;
    let missing =
        (failure.is_none() && value.is_none()).then(|| format!("{metric} is no number at its end"));
    Ok(TrialResult {
        run: planned.trial.run.clone(),
        values: planned.trial.values.clone(),
        step: step.unwrap_or(0),
        // Of what failed on the way nothing can be said.
        value: value.filter(|_| failure.is_none()),
        failure: failure.or(missing),
    })
}

fn page(arguments: &SweepArgs, result: &SweepResult) -> Result<String> {
    let mut reported = Vec::with_capacity(result.trials.len());
    for trial in &result.trials {
        let folder = folder_of(&arguments.folders.runs, &trial.run)?;
        match ReportedRun::read(&folder, &trial.run) {
            Ok(run) => reported.push(run),
            // One that failed before its first step has nothing to show.
            Err(_) if trial.failure.is_some() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sweep_page(result, &reported))
}
