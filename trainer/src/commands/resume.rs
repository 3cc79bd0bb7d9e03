//! `andromeda-train resume`: goes on with a run from its newest valid checkpoint, configured as that says.

use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::error::Result;

use super::{existing, newest, run};
use crate::cli::ResumeArgs;

pub(crate) fn resume(arguments: &ResumeArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (_, state) = newest(&folder)?;
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
    )
}
