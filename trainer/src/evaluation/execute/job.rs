//! What a program is run with, and what is told of it: between this program and itself in its own namespaces.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A program, in the parts that a task has it in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What the completion goes on from; a program by itself.
    pub before: String,
    /// What a model made of it.
    pub completion: String,
    /// The test, which calls what the program defines.
    pub after: String,
    /// The name of what is tested.
    pub entry: String,
}

/// What became of a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "why", rename_all = "kebab-case")]
pub enum Outcome {
    /// The test ran to its end.
    Passed,
    /// It did not, for this reason, in the program's own words.
    Failed(String),
    /// It took longer than it may.
    TimedOut,
    /// It was killed for a system call that nothing but an attempt to get out makes.
    Blocked,
    /// Its test cannot be run here, whatever the program, for this reason.
    Unfit(String),
}

/// What a program may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From when both interpreters are there to the end of the test; of the processor, a second more for each process.
    pub time: Duration,
    /// Addresses of each process.
    pub memory_bytes: u64,
    /// Processes and threads together, of which three are the sandbox's own, and a fourth where it is not root who runs it.
    pub processes: u64,
    /// Open files of each process.
    pub files: u64,
    /// The longest file.
    pub file_bytes: u64,
    /// All files together.
    pub folder_bytes: u64,
}

impl Default for Limits {
    /// 3 seconds, as human-eval has; 512 MiB; 12 processes; 64 open files; files of 8 MiB and of 16 MiB together.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(3),
            memory_bytes: 512 << 20,
            processes: 12,
            files: 64,
            file_bytes: 8 << 20,
            folder_bytes: 16 << 20,
        }
    }
}

/// An interpreter, and what must be seen for it to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interpreter {
    /// The file of the interpreter, no link.
    pub executable: PathBuf,
    /// As `3.11.7`.
    pub version: String,
    /// Folders and files beside those where a machine has its libraries.
    pub paths: Vec<PathBuf>,
}

/// A layer that is not there, so that nothing is run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Which.
    pub layer: String,
    /// How that is known.
    pub problem: String,
    /// What to do.
    pub hint: String,
}

/// One program to run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Job {
    pub(super) interpreter: Interpreter,
    pub(super) limits: Limits,
    pub(super) program: Program,
}

/// What came of a job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Report {
    Ended(Outcome),
    Missing(Missing),
}
