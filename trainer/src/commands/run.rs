//! `andromeda-train run`: a configuration and a build make a run, new or gone on with.

use std::path::Path;

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::config::{RunConfig, WrittenConfig};
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::ops::Backend;
use andromeda_trainer::origin::{self, Beginning, Source};
use andromeda_trainer::parallel::rendezvous::Purpose;
use andromeda_trainer::parallel::{self, Alone, Transport};
use andromeda_trainer::peak::Peak;
use andromeda_trainer::progress::{Event, Progress};
use andromeda_trainer::run::{Run, tokenizer_path};
use andromeda_trainer::sample::Text;
use andromeda_trainer::train::{Job, train};

use super::workers::Place;
use super::{Signals, at_step, existing, folder_of, strategy};
use crate::cli::{RunArgs, StrategyArgs, WorkersArgs};
use crate::render;

pub(crate) fn run(arguments: &RunArgs) -> Result<()> {
    if let Some(path) = &arguments.strategy {
        return strategy::strategy(&StrategyArgs {
            strategy: path.clone(),
            size: arguments.size.clone(),
            overrides: arguments.configuration.overrides.clone(),
            folders: arguments.folders.clone(),
        });
    }
    let written = WrittenConfig::read(
        &arguments.configuration.config,
        &arguments.configuration.overrides,
    )?;
    let name = match &arguments.run {
        Some(name) => name.clone(),
        None => {
            let stem = arguments
                .configuration
                .config
                .file_stem()
                .and_then(|stem| stem.to_str());
            stem.ok_or_else(|| Error::Usage("name the run with --run".to_owned()))?
                .to_owned()
        }
    };
    let folder = folder_of(&arguments.folders.runs, &name)?;
    let build = match &arguments.build.build {
        Some(build) => build.clone(),
        None => build::newest(&arguments.folders.shards)?,
    };
    let opened = OpenBuild::open(&build)?;
    let path = &arguments.configuration.config;
    let config = match &arguments.from {
        None => written.resolve(opened.vocabulary(), path)?,
        Some(from) => {
            let source = source(&arguments.folders.runs, from, arguments.carry_moments)?;
            let model = &source.state.config.model;
            let config = written.resolve_from(model, opened.vocabulary(), path)?;
            let beginning = Beginning {
                run: &Run::lock(&folder)?,
                config: &config,
                root: opened.root(),
                tokenizer: &opened.tokenizer()?,
                end_of_text: opened.end_of_text(),
            };
            origin::begin(beginning, &source)?;
            config
        }
    };
    go(
        &folder,
        &build,
        &opened,
        &config,
        arguments.build.accept_root.as_deref(),
        arguments.folders.json,
        &arguments.workers,
    )
}

/// The checkpoint that `RUN` or `RUN@STEP` names.
pub(super) fn source(runs: &Path, from: &str, moments: bool) -> Result<Source> {
    let (name, step) = match from.rsplit_once('@') {
        None => (from, None),
        Some((name, step)) => {
            let step = step.parse().map_err(|_| {
                Error::Usage(format!("--from {from}: after '@' comes a number of steps"))
            })?;
            (name, Some(step))
        }
    };
    let folder = existing(runs, name)?;
    let (checkpoint, state) = at_step(&folder, step)?;
    let name = folder.file_name().unwrap_or_default();
    Ok(Source {
        run: name.to_string_lossy().into_owned(),
        checkpoint,
        state,
        tokenizer: tokenizer_path(&folder),
        moments,
    })
}

/// Trains, and prints samples on the way and at the end.
pub(super) fn go(
    folder: &Path,
    build: &Path,
    opened: &OpenBuild,
    config: &RunConfig,
    accept_root: Option<&str>,
    json: bool,
    workers: &WorkersArgs,
) -> Result<()> {
    let place = Place::of(workers)?;
    parallel::check(config.data.parts_per_step, place.workers())?;
    let first = place.is_first();
    let (mut progress, run) = if first {
        (render::progress(json), Run::lock(folder)?)
    } else {
        let silent: Box<dyn Progress> = Box::new(());
        (silent, Run::of_first_worker(folder))
    };
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let purpose = Purpose::new(&name, opened.root(), config);
    let connected = place.connect(&purpose, &mut *progress)?;
    let signals = Signals::catch()?;
    if first {
        run.write_dialogues(opened.dialogues()?, accept_root.is_some())?;
    }
    let work = Work {
        run: &run,
        build,
        opened,
        config,
        accept_root,
        transport: connected.transport(),
    };
    let done = work.done(&signals, &mut *progress);
    if let Err(error) = &done {
        connected.transport().abort(&error.to_string());
    }
    done
}

/// Begins the run in `folder`, or goes on with it, in this process alone.
pub(super) fn go_alone(
    folder: &Path,
    opened: &OpenBuild,
    config: &RunConfig,
    signals: &Signals,
    progress: &mut dyn Progress,
) -> Result<()> {
    let run = Run::lock(folder)?;
    run.write_dialogues(opened.dialogues()?, false)?;
    let work = Work {
        run: &run,
        build: opened.path(),
        opened,
        config,
        accept_root: None,
        transport: &Alone,
    };
    work.done(signals, progress)
}

/// A run that is to be trained.
struct Work<'a> {
    run: &'a Run,
    build: &'a Path,
    opened: &'a OpenBuild,
    config: &'a RunConfig,
    accept_root: Option<&'a str>,
    transport: &'a dyn Transport,
}

impl Work<'_> {
    fn done(self, signals: &Signals, progress: &mut dyn Progress) -> Result<()> {
        let (config, opened) = (self.config, self.opened);
        let tokenizer = opened.tokenizer()?;
        let job = Job {
            run: self.run,
            config,
            build: self.build,
            root: opened.root(),
            reading: opened.reading(config)?,
            validation: opened.source(Part::Validation, &config.data)?,
            accept_root: self.accept_root,
            tokenizer: &tokenizer,
            end_of_text: opened.end_of_text(),
            text: text_of(&tokenizer, opened.end_of_text(), progress),
            peak: Peak::of(&config.compute)?,
            transport: self.transport,
        };
        let training = Training {
            job,
            signals,
            progress,
        };
        on_device(&config.compute, training)
    }
}

/// A job and who watches it.
struct Training<'a> {
    job: Job<'a>,
    signals: &'a Signals,
    progress: &'a mut dyn Progress,
}

impl OnBackend for Training<'_> {
    type Output = ();

    fn on<B: Backend>(self, backend: B) -> Result<()> {
        let stop = || self.signals.received();
        train(backend, self.job, &stop, self.progress).map(drop)
    }
}

/// What prints the samples of a run. A tokenizer that cannot is no reason not to train.
fn text_of(tokenizer: &[u8], end_of_text: u32, progress: &mut dyn Progress) -> Option<Text> {
    let text = Text::of(tokenizer, end_of_text);
    if let Err(error) = &text {
        let message = format!("there are no samples: {error}");
        progress.report(&Event::Warned { message: &message });
    }
    text.ok()
}
