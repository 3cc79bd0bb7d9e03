//! `andromeda-train lr-find`: which learning rate a configuration bears, by a short sweep.

use std::path::Path;

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::config::{RunConfig, WrittenConfig};
use andromeda_trainer::data::Source;
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::lr_find::{Point, Sweep, SweepOptions, sweep};
use andromeda_trainer::objective::Kind;
use andromeda_trainer::ops::Backend;
use serde::Serialize;

use super::Signals;
use crate::cli::LrFindArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    build: &'a Path,
    root: &'a str,
    #[serde(flatten)]
    sweep: &'a Sweep,
}

struct Sweeping<'a> {
    config: &'a RunConfig,
    training: Source,
    options: SweepOptions,
    each: &'a mut dyn FnMut(&Point) -> Option<i32>,
}

impl OnBackend for Sweeping<'_> {
    type Output = Sweep;

    fn on<B: Backend>(self, backend: B) -> Result<Sweep> {
        sweep(backend, self.config, self.training, self.options, self.each)
    }
}

pub(crate) fn lr_find(arguments: &LrFindArgs) -> Result<()> {
    let options = SweepOptions {
        first_rate: arguments.first,
        last_rate: arguments.last,
        steps: arguments.steps,
    };
    let problems = options.problems();
    if !problems.is_empty() {
        return Err(Error::Usage(problems.join("; ")));
    }
    let written = WrittenConfig::read(
        &arguments.configuration.config,
        &arguments.configuration.overrides,
    )?;
    let build = match &arguments.build {
        Some(build) => build.clone(),
        None => build::newest(&arguments.shards)?,
    };
    let opened = OpenBuild::open(&build)?;
    let config = written.resolve(opened.vocabulary(), &arguments.configuration.config)?;
    if config.objective.kind != Kind::NextToken {
        return Err(Error::Usage(
            "a sweep of the learning rate is of the next token alone\nhint: sweep with objective.kind = \"next-token\"; a preference wants a hundredth of that rate"
                .to_owned(),
        ));
    }
    let training = opened.source(Part::Training, &config.data)?;
    if training.sequences.sequences() == 0 {
        let tokens = config.data.sequence_tokens;
        return Err(Error::Usage(format!(
            "the training split of {} has no sequence of {tokens} tokens\nhint: lower data.sequence-tokens",
            build.display()
        )));
    }
    let signals = Signals::catch()?;
    let json = arguments.json;
    let mut each = |point: &Point| {
        if !json {
            render::swept(point, options.steps);
        }
        signals.received()
    };
    let sweeping = Sweeping {
        config: &config,
        training,
        options,
        each: &mut each,
    };
    let sweep = on_device(&config.compute, sweeping)?;
    if json {
        return render::json(&Report {
            build: &build,
            root: opened.root(),
            sweep: &sweep,
        });
    }
    render::learning_rates(&sweep)
}
