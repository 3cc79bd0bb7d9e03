//! What runs the programs of tasks, where that is asked for.

use std::time::Duration;

use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::evaluation::execute::{Executor, Limits};
use andromeda_trainer::evaluation::task::task;

use crate::cli::ExecuteArgs;

/// None where it is not asked for, or no task of `tasks` has programs.
pub(super) fn executor(arguments: &ExecuteArgs, tasks: &[String]) -> Result<Option<Executor>> {
    let mut programs = false;
    for name in tasks {
        programs |= task(name)?.has_programs();
    }
    if !(arguments.execute_untrusted && programs) {
        return Ok(None);
    }
    let this = std::env::current_exe().map_err(|source| Error::Io {
        what: "looking for the file of this program".to_owned(),
        source,
    })?;
    let limits = Limits {
        time: Duration::from_secs(arguments.program_seconds),
        ..Limits::default()
    };
    Executor::new(&this, &arguments.python, limits).map(Some)
}
