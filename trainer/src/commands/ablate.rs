//! `andromeda-train ablate`: the same model on two builds, under several seeds, and which build is better.

use std::path::{Path, PathBuf};

use andromeda_trainer::ablate::{AboutJudge, JudgeText, SeedRun, Side, Verdict, Which};
use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::config::{Derived, RunConfig, WrittenConfig};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::held_out::losses_of_checkpoint;
use andromeda_trainer::objective::Kind;
use andromeda_trainer::progress::Progress;
use serde::Serialize;

use super::{Signals, Standing, folder_of, newest, run, standing};
use crate::cli::AblateArgs;
use crate::render;
use crate::render::brief::Brief;

/// More seeds than anybody trains.
const MOST_SEEDS: u64 = 100;

/// What two builds came to.
#[derive(Serialize)]
pub(crate) struct Report<'a> {
    /// What they were judged on.
    pub(crate) judge: &'a AboutJudge,
    /// The first build.
    pub(crate) a: &'a Side,
    /// The second build.
    pub(crate) b: &'a Side,
    /// Which is better.
    pub(crate) verdict: &'a Verdict,
}

/// A run that is to be trained.
struct Planned {
    name: String,
    folder: PathBuf,
    config: RunConfig,
    done: bool,
}

/// A build and its runs, everything checked.
struct Builder {
    opened: OpenBuild,
    epochs: f64,
    runs: Vec<Planned>,
}

pub(crate) fn ablate(arguments: &AblateArgs) -> Result<()> {
    let shards = &arguments.folders.shards;
    let open = |build: &Path| OpenBuild::open(&build::meant(shards, build)?);
    let builds = [open(&arguments.a)?, open(&arguments.b)?];
    let judge = arguments.judge.as_deref().map(open).transpose()?;
    let configs = configs(arguments, &builds, judge.as_ref())?;
    let [a, b] = builds;
    let (a, b) = (plan(arguments, a, &configs)?, plan(arguments, b, &configs)?);
    let most = arguments.judge_tokens;
    let text = match &judge {
        Some(judge) => JudgeText::of(judge, &a.opened, &b.opened, most)?,
        None => JudgeText::in_common(&a.opened, &b.opened, most)?,
    };
    let signals = Signals::catch()?;
    // Seed by seed, so that what an interrupted one has done is pairs.
    for (number, (of_a, of_b)) in (1..).zip(a.runs.iter().zip(&b.runs)) {
        for (which, builder, planned) in [(Which::A, &a, of_a), (Which::B, &b, of_b)] {
            if planned.done {
                continue;
            }
            let what = format!(
                "{}, seed {number} of {}, on {}",
                which.name(),
                arguments.seeds,
                builder.opened.path().display()
            );
            let mut progress: Box<dyn Progress> = if arguments.folders.json {
                Box::new(())
            } else {
                Box::new(Brief::begin(&planned.name, &what))
            };
            run::go_alone(
                &planned.folder,
                &builder.opened,
                &planned.config,
                &signals,
                &mut *progress,
            )?;
        }
    }
    let talk = !arguments.folders.json;
    let (of_a, nats_a) = judged(&a, &text, &signals, talk)?;
    let (of_b, nats_b) = judged(&b, &text, &signals, talk)?;
    let verdict = text.verdict(&nats_a, &nats_b);
    let report = Report {
        judge: &text.about,
        a: &of_a,
        b: &of_b,
        verdict: &verdict,
    };
    if arguments.folders.json {
        return render::json(&report);
    }
    render::ablate::ablation(&report)
}

/// The configurations, one a seed, the same for both builds. Everything that is wrong is said at once.
fn configs(
    arguments: &AblateArgs,
    builds: &[OpenBuild; 2],
    judge: Option<&OpenBuild>,
) -> Result<Vec<RunConfig>> {
    let mut problems = Vec::new();
    let [a, b] = builds;
    if !(2..=MOST_SEEDS).contains(&arguments.seeds) {
        problems.push(format!(
            "--seeds must be between 2 and {MOST_SEEDS}, not {}: one seed does not tell how much of a difference is chance",
            arguments.seeds
        ));
    }
    if a.root() == b.root() {
        problems.push(format!(
            "{} and {} are the same build, {}",
            a.path().display(),
            b.path().display(),
            a.root()
        ));
    }
    let of_a = a.tokenizer()?;
    for other in [Some(b), judge].into_iter().flatten() {
        if other.tokenizer()? != of_a || other.end_of_text() != a.end_of_text() {
            problems.push(format!(
                "{} and {} have different tokenizers ({}, {}), so no document of one is a document of the other; make them with the same tokenizer",
                a.path().display(),
                other.path().display(),
                short(&a.manifest().tokenizer.sha256),
                short(&other.manifest().tokenizer.sha256)
            ));
        }
    }
    let path = &arguments.configuration.config;
    let written = WrittenConfig::read(path, &arguments.configuration.overrides)?;
    let mut configs = Vec::new();
    match written.resolve(a.vocabulary(), path) {
        Ok(config) => {
            if config.objective.kind != Kind::NextToken {
                problems.push(
                    "builds are judged by the next token alone: objective.kind = \"next-token\""
                        .to_owned(),
                );
            }
            for seed in 0..arguments.seeds.min(MOST_SEEDS) {
                let mut config = config.clone();
                config.run.seed = config.run.seed.wrapping_add(seed);
                config.data.order_seed = config.data.order_seed.wrapping_add(seed);
                configs.push(config);
            }
        }
        Err(error) => problems.push(error.to_string()),
    }
    if problems.is_empty() {
        return Ok(configs);
    }
    Err(Error::Usage(format!(
        "{}\nhint: nothing was begun",
        problems.join("\n")
    )))
}

/// The beginning of a hash.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// Names the runs of a build, whose root is in the name, so that it is trained on once whatever it is held against.
fn plan(arguments: &AblateArgs, opened: OpenBuild, configs: &[RunConfig]) -> Result<Builder> {
    let mut problems = Vec::new();
    let root = opened.root().get(..8).unwrap_or(opened.root()).to_owned();
    let (mut runs, mut epochs) = (Vec::with_capacity(configs.len()), 0.0);
    for config in configs {
        let training = opened.source(Part::Training, &config.data)?;
        let sequences = training.sequences.sequences();
        if sequences == 0 {
            let tokens = config.data.sequence_tokens;
            return Err(Error::Usage(format!(
                "{} has nothing to train on in sequences of {tokens} tokens\nhint: lower data.sequence-tokens, as --set data.sequence-tokens=64",
                opened.path().display()
            )));
        }
        epochs = Derived::new(config, sequences).epochs;
        let name = format!("{}-{root}-{}", arguments.name, config.run.seed);
        let folder = folder_of(&arguments.folders.runs, &name)?;
        let mut done = false;
        match standing(&folder, config, opened.root())? {
            Standing::Begins => {}
            Standing::Done => done = true,
            Standing::Other(problem) => problems.push(problem),
        }
        runs.push(Planned {
            name,
            folder,
            config: config.clone(),
            done,
        });
    }
    if problems.is_empty() {
        return Ok(Builder {
            opened,
            epochs,
            runs,
        });
    }
    Err(Error::Usage(format!(
        "{}\nhint: nothing was begun; --name gives the runs of this ablation a name of their own",
        problems.join("\n")
    )))
}

/// What the runs of a build make of the judge's text: what is to be said of them, and nats a document of each.
fn judged(
    builder: &Builder,
    text: &JudgeText,
    signals: &Signals,
    talk: bool,
) -> Result<(Side, Vec<Vec<f64>>)> {
    let (mut runs, mut all) = (Vec::new(), Vec::new());
    for planned in &builder.runs {
        let (checkpoint, state) = newest(&planned.folder)?;
        let mut source = text.source(state.config.data.sequence_tokens);
        let mut told = |done, of| match signals.received() {
            Some(signal) => Err(Error::Ended(signal)),
            None => {
                if talk {
                    render::brief::reading(&planned.name, done, of);
                }
                Ok(())
            }
        };
        let losses = losses_of_checkpoint(&checkpoint, &state, &mut source, u64::MAX, &mut told)?;
        let nats = text.nats(&losses);
        runs.push(SeedRun {
            run: planned.name.clone(),
            seed: state.config.run.seed,
            step: state.step,
            value: text.mean(&nats),
        });
        all.push(nats);
    }
    let sum: f64 = runs.iter().map(|run| run.value).sum();
    Ok((
        Side {
            build: builder.opened.path().to_owned(),
            root: builder.opened.root().to_owned(),
            epochs: builder.epochs,
            mean: sum / runs.len().max(1) as f64,
            runs,
        },
        all,
    ))
}
