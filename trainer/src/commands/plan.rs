//! `andromeda-train plan`: what a run would be, before it is one.

use std::path::Path;

use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::config::{Derived, WrittenConfig};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::memory;
use andromeda_trainer::parallel;
use andromeda_trainer::peak::Peak;
use serde::Serialize;

use crate::cli::PlanArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    build: &'a Path,
    root: &'a str,
    #[serde(flatten)]
    derived: &'a Derived,
    /// Datasets of the training split that the mixture leaves out.
    left_out: Vec<&'a str>,
    /// Bytes that the machine has left, where memory is checked.
    available_bytes: Option<u64>,
    /// What the machine can do, where that is known.
    peak: Option<&'a Peak>,
}

pub(crate) fn plan(arguments: &PlanArgs) -> Result<()> {
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
    let source = opened.reading(&config)?.training;
    let sequences = source.sequences.sequences();
    if sequences == 0 {
        let tokens = config.data.sequence_tokens;
        return Err(Error::Usage(format!(
            "the training split of {} has no sequence of {tokens} tokens\nhint: lower data.sequence-tokens",
            build.display()
        )));
    }
    parallel::check(config.data.parts_per_step, arguments.workers)?;
    let derived = Derived::new(&config, sequences);
    let accounts = source.sequences.accounts(derived.sequences);
    let mut derived = derived.with_accounts(&accounts);
    if arguments.workers > 1 {
        derived = derived.with_workers(&config, arguments.workers);
    }
    let available = memory::available(config.compute.device);
    let peak = Peak::of(&config.compute)?;
    let report = Report {
        build: &build,
        root: opened.root(),
        derived: &derived,
        left_out: opened.left_out(&config.data),
        available_bytes: available,
        peak: peak.as_ref(),
    };
    if arguments.json {
        render::json(&report)?;
    } else {
        render::plan(&derived, &report.left_out, available, peak.as_ref())?;
    }
    // Several may be on several machines.
    let available = available.filter(|_| arguments.workers == 1);
    match available.and_then(|available| memory::shortfall(&config, available)) {
        Some(message) => Err(Error::Usage(message)),
        None => Ok(()),
    }
}
