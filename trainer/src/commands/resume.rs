//! `andromeda-train resume`: goes on with a run from its newest valid checkpoint, configured as that says.

use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::import::IMPORTED;

use super::{existing, newest, run};
use crate::cli::ResumeArgs;

pub(crate) fn resume(arguments: &ResumeArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (_, state) = newest(&folder)?;
    if state.root == IMPORTED {
        return Err(Error::Usage(format!(
            "{0} was imported and has no build to go on with\nhint: `andromeda-train run --from {0}` begins another run with its parameters",
            arguments.run
        )));
    }
    let build = match &arguments.build.build {
        Some(build) => build.clone(),
        None => build::with_root(&arguments.folders.shards, &state.root)?,
    };
    let opened = OpenBuild::open(&build)?;
    run::go(
        &folder,
        &build,
        &opened,
        &state.config,
        arguments.build.accept_root.as_deref(),
        arguments.folders.json,
        &arguments.workers,
    )
}
