//! The commands, one a file, and what they share: names of runs, and signals.

pub(crate) mod ablate;
pub(crate) mod bench;
pub(crate) mod chat;
pub(crate) mod compare;
pub(crate) mod eval;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod lr_find;
pub(crate) mod plan;
mod programs;
pub(crate) mod report;
pub(crate) mod resume;
pub(crate) mod run;
pub(crate) mod sample;
pub(crate) mod score;
pub(crate) mod strategy;
pub(crate) mod sweep;
pub(crate) mod tasks;
pub(crate) mod threads;
pub(crate) mod trace;
mod workers;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use andromeda_trainer::checkpoint::{self, State};
use andromeda_trainer::config::RunConfig;
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::model::Model;
use andromeda_trainer::ops::Backend;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// Folder of the run called `name`. A name is one folder, whatever it was typed as.
fn folder_of(runs: &Path, name: &str) -> Result<PathBuf> {
    // A shell completes `runs/name/`.
    let name = Path::new(name)
        .strip_prefix(runs)
        .ok()
        .and_then(Path::to_str)
        .unwrap_or(name);
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    if name.is_empty() || name.starts_with('.') || !plain {
        return Err(Error::Usage(format!(
            "{name:?} is no name for a run: use letters, digits, '-', '_' and '.'"
        )));
    }
    Ok(runs.join(name))
}

/// Folder of a run that must exist.
fn existing(runs: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder_of(runs, name)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let runs = runs.display();
    Err(Error::Usage(format!(
        "no run {name:?} in {runs}\nhint: start one with `andromeda-train run`, or name its folder with --runs"
    )))
}

/// The newest valid checkpoint of a run, for reading only: nothing is moved or removed.
fn newest(run: &Path) -> Result<(PathBuf, State)> {
    let mut problem = None;
    let newest = checkpoint::newest_valid(run, |step, error| {
        let _ = writeln!(
            std::io::stderr().lock(),
            "warning: step {step} cannot be used ({error}); using the one before"
        );
        problem.get_or_insert_with(|| error.to_string());
    })?;
    newest.ok_or_else(|| match problem {
        Some(problem) => Error::Integrity {
            path: run.to_owned(),
            problem: format!("no checkpoint is valid; the newest: {problem}"),
        },
        None => Error::Usage(format!("{} has no checkpoint yet", run.display())),
    })
}

/// Where the run in `folder` stands, if there is one, that is to be trained as `config` says on the build of the root hash `root`.
fn standing(folder: &Path, config: &RunConfig, root: &str) -> Result<Standing> {
    if !folder.is_dir() {
        return Ok(Standing::Begins);
    }
    let Some((_, state)) = checkpoint::newest_valid(folder, |_, _| ())? else {
        return Ok(Standing::Begins);
    };
    if state.root != root {
        return Ok(Standing::Other(format!(
            "{} was trained on another build, {}; give this another name, or remove that run",
            folder.display(),
            state.root
        )));
    }
    let differences = config.differences(&state.config)?;
    if !differences.is_empty() {
        return Ok(Standing::Other(format!(
            "{} was started with other values of {}; give this another name, or remove that run",
            folder.display(),
            differences.join(", ")
        )));
    }
    let done = config.schedule.is_over(state.step, state.tokens);
    Ok(if done {
        Standing::Done
    } else {
        Standing::Begins
    })
}

/// Where a run stands that is to be trained.
enum Standing {
    /// It is begun or gone on with.
    Begins,
    /// Nothing is left to do.
    Done,
    /// It is another run.
    Other(String),
}

/// Makes the folder of a file that is to be written, and writes it: whole, or not at all.
fn write_page(out: &Path, page: &str) -> Result<()> {
    let failed = |source| Error::Io {
        what: format!("writing {}", out.display()),
        source,
    };
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder).map_err(failed)?;
    }
    andromeda_format::write_atomic(out, page.as_bytes()).map_err(|source| Error::Build {
        what: format!("writing {}", out.display()),
        source,
    })
}

/// The checkpoint of a run after `step` steps, every byte checked; without a step the newest valid one.
fn at_step(run: &Path, step: Option<u64>) -> Result<(PathBuf, State)> {
    let Some(step) = step else {
        return newest(run);
    };
    let path = checkpoint::folder(run, step);
    if path.is_dir() {
        let state = checkpoint::verify(&path)?;
        return Ok((path, state));
    }
    let steps = checkpoint::steps(run)?;
    let steps: Vec<String> = steps.iter().map(u64::to_string).collect();
    Err(Error::Usage(format!(
        "{} has no checkpoint of step {step}; there are: {}",
        run.display(),
        steps.join(", ")
    )))
}

/// The model of a checkpoint.
fn load_model<B: Backend>(checkpoint: &Path, state: &State, backend: B) -> Result<Model<B>> {
    let mut model = Model::zeros(state.config.model, backend)?;
    checkpoint::load_model(checkpoint, state, &mut model)?;
    Ok(model)
}

/// The model of a checkpoint with the average of its weights.
fn load_average<B: Backend>(checkpoint: &Path, state: &State, backend: B) -> Result<Model<B>> {
    let mut model = Model::zeros(state.config.model, backend)?;
    checkpoint::load_average(checkpoint, state, &mut model)?;
    Ok(model)
}

/// The first of interrupt and termination that arrived. A second one ends the process at once.
struct Signals(Arc<AtomicUsize>);

impl Signals {
    fn catch() -> Result<Self> {
        let (second, which) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        for (signal, value) in [(SIGINT, 2), (SIGTERM, 15)] {
            let registered = flag::register_conditional_default(signal, Arc::clone(&second))
                .and_then(|_| flag::register(signal, Arc::clone(&second)))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&which), value));
            registered.map_err(|source| Error::Io {
                what: "catching signals".to_owned(),
                source,
            })?;
        }
        Ok(Self(which))
    }

    fn received(&self) -> Option<i32> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }
}
