//! What can go wrong in the trainer, and the exit code that says so to a script.

use std::path::PathBuf;

use crate::evaluation::execute::Missing;

/// Failures of the trainer. Every message names the thing and what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration cannot be read or contradicts itself.
    #[error("{path}: {problem}\nhint: see trainer/configs/tiny.toml for a complete configuration", path = path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// All problems.
        problem: String,
    },
    /// A task's file cannot be read or contradicts itself.
    #[error("{path}: {problem}\nhint: `andromeda-train tasks --show piqa` prints a task that is complete", path = path.display())]
    Task {
        /// The file, or the task's name.
        path: PathBuf,
        /// All problems.
        problem: String,
    },
    /// A request that cannot be met.
    #[error("{0}")]
    Usage(String),
    /// Another process holds the run.
    #[error("{}: another process is training this run\nhint: wait for it, or give this run another name with --run", .0.display())]
    Busy(PathBuf),
    /// A file or folder could not be read or written.
    #[error("{what}: {source}")]
    Io {
        /// What was being done, with the path.
        what: String,
        /// The reason.
        source: std::io::Error,
    },
    /// Stored bytes are not what was written.
    #[error("{path}: {problem}", path = path.display())]
    Integrity {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Something that a newer program wrote.
    #[error("{}: format {format} is not known to this program\nhint: use the program that wrote it, or a newer one", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format it says it has.
        format: u64,
    },
    /// The run was trained on other data.
    #[error(
        "the run was trained on the build {trained}, this build is {found}\n\
         hint: name the first build with --build, start another run with --run, or go on here with other data with --accept-root {found}"
    )]
    OtherBuild {
        /// Root hash in the checkpoint.
        trained: String,
        /// Root hash of the build at hand.
        found: String,
    },
    /// The build cannot be used or a sequence cannot be read.
    #[error("{what}: {source}")]
    Build {
        /// The build and what was being read.
        what: String,
        /// The reason.
        source: andromeda_format::FormatError,
    },
    /// Loss or gradient is no number.
    #[error(
        "{what} is {value} at step {step}, position {position} (rows {rows})\n\
         hint: {hint}; the last checkpoint is untouched"
    )]
    NonFinite {
        /// Loss or gradient norm.
        what: &'static str,
        /// Its value.
        value: f64,
        /// The step, counted from 1.
        step: u64,
        /// Position of the batch: sequences consumed before it.
        position: u64,
        /// Rows of the documents in it.
        rows: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A stage of a strategy did not reach what the next one needs.
    #[error(
        "stage {stage} does not pass its gates: {refusals}\n\
         hint: train it longer or otherwise (its run is kept), or change its gates; the stages after it were not begun"
    )]
    Gate {
        /// The stage.
        stage: String,
        /// What it did not reach.
        refusals: String,
    },
    /// Trials of a sweep failed.
    #[error(
        "{failed} of {of} trials failed, the first of them {first}\n\
         hint: the others are done and kept; the same command tries those again that failed, each from its last checkpoint"
    )]
    Trials {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
        /// A run, and why it failed.
        first: String,
    },
    /// The tokenizer of the run cannot be used.
    #[error("{path}: {problem}", path = path.display())]
    Tokenizer {
        /// The tokenizer file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A tensor operation failed.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// A device failed.
    #[error(
        "the device failed: {0}\nhint: `nvidia-smi` shows whether a GPU and its driver are there and have memory left; compute.device = \"cpu\" does without"
    )]
    Device(String),
    /// A layer between programs that a model made and the machine is missing.
    #[error("no program of a task is run without {}: {}\nhint: {}", .0.layer, .0.problem, .0.hint)]
    Sandbox(Missing),
    /// Stopped by a signal, with nothing to save.
    #[error("ended by signal {0}")]
    Ended(i32),
    /// Another worker of the run is lost.
    #[error(
        "worker {rank}: {problem}\nhint: start all workers again; the run goes on from its last checkpoint"
    )]
    Worker {
        /// Which.
        rank: usize,
        /// What is known of it.
        problem: String,
    },
    /// Stopped by a signal after the step was finished and saved.
    #[error("interrupted by signal {0}; saved, go on with `andromeda-train resume`")]
    Interrupted(i32),
}

/// Results of the trainer.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// Whether stored bytes were read and are wrong, or are missing; not when the disk failed or a newer program wrote them.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Integrity { .. } => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Exit code: 2 usage, 10 retriable, 20 permanent, 30 integrity, 40 busy, 128 + signal.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } | Self::Task { .. } | Self::Usage(_) => 2,
            Self::Io { .. } | Self::Device(_) | Self::Worker { .. } => 10,
            Self::Build { source, .. } if source.is_io() => 10,
            Self::NonFinite { .. }
            | Self::Gate { .. }
            | Self::Sandbox(_)
            | Self::Trials { .. }
            | Self::Tokenizer { .. }
            | Self::Tensor(_) => 20,
            Self::Integrity { .. }
            | Self::Newer { .. }
            | Self::OtherBuild { .. }
            | Self::Build { .. } => 30,
            Self::Busy(_) => 40,
            Self::Interrupted(signal) | Self::Ended(signal) => {
                u8::try_from(128 + signal).unwrap_or(130)
            }
        }
    }
}
