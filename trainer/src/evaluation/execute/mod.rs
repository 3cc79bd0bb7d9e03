//! Programs that a model made, run where they can do no harm.
//!
//! The principal type is [`Executor`]: making one looks whether every layer below is there and runs a trial, and it refuses, by the
//! layer's name, where one is not; there is no running with less. [`Executor::run`] turns [`Program`]s into [`Outcome`]s.
//!
//! Each program runs in processes of its own (`sandbox`), behind
//! - namespaces of users, mounts, processes, networks, IPC, host names and cgroups, all new and empty: no network interface is up;
//! - a root that has the interpreter's files and the machine's libraries, read-only, without devices but `null`, `zero` and `urandom`,
//!   without `/proc`, `/sys` or a home; one folder in memory, `/tmp`, of limited size;
//! - no capabilities, none that could be had again, and nobody for a user where root runs it;
//! - a filter of system calls;
//! - limits of processor time, addresses, files, their sizes, and processes; a limit of time, at which all processes end at once;
//! - no environment, no descriptor, nothing to read, and nobody who reads what it writes.
//!
//! A program does not judge itself. Its test runs in a second interpreter, without the completion, and what it calls there are calls of
//! the first interpreter, whose answers come back as plain values: numbers, texts, lists, dictionaries and the like, not objects. The
//! program thus never sees its test nor the descriptor on which the test says that it came to its end; ending early, walking frames,
//! replacing builtins and objects that equal everything are of no use to it. The price: what a test changes in an argument's place
//! afterwards, and what a program does to its arguments, the other does not see; an iterator is a list of what it gives; a value
//! of a class of the program's own equals nothing.
//!
//! Not defended against: a fault of the kernel in a call that the filter permits; what a program learns from the time that things take;
//! that programs use the processors, and up to `processes * memory_bytes` of memory, until their time is up (they are the first to go
//! when memory runs out); and answers that are right for the arguments of a test and for no others. Nothing here counts memory over processes:
//! that takes a control group, which not every user may make.

mod interpreter;
mod job;
mod programs;
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod sandbox;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

pub use self::job::{Interpreter, Limits, Missing, Outcome, Program};
use self::job::{Job, Report};
pub use self::programs::{Ran, run_programs};
#[cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
pub use self::sandbox::sandbox;
use crate::error::{Error, Result};

/// The argument with which a program that is given as `helper` calls [`sandbox`] and does nothing else.
pub const SUBCOMMAND: &str = "sandbox";

/// A report has no more bytes.
const MOST_REPORTED: u64 = 1 << 16;

/// The trial is no measure of a program, so it may wait for the machine.
const TRIAL_TIME: Duration = Duration::from_secs(60);

const TRIAL: &str = include_str!("trial.py");

/// Nothing is run elsewhere.
#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
pub fn sandbox() -> std::process::ExitCode {
    std::process::ExitCode::FAILURE
}

/// Runs programs. That there is one means that every layer was there.
#[derive(Debug)]
pub struct Executor {
    helper: PathBuf,
    interpreter: Interpreter,
    limits: Limits,
    at_once: usize,
}

impl Executor {
    /// Looks for an interpreter and runs a trial through all layers. `helper` is the path of a program that calls [`sandbox`] where its
    /// argument is [`SUBCOMMAND`]; `python` is an interpreter, its name or its path. As many programs will be run at once as there are
    /// processors.
    ///
    /// # Errors
    /// A layer is missing: [`Error::Sandbox`] has its name and what to do.
    pub fn new(helper: &Path, python: &Path, limits: Limits) -> Result<Self> {
        if cfg!(not(all(
            target_os = "linux",
            any(target_arch = "x86_64", target_arch = "aarch64")
        ))) {
            return Err(Error::Sandbox(Missing {
                layer: "Linux on x86-64 or aarch64".to_owned(),
                problem: "this is another system".to_owned(),
                hint: "run it on such a machine, which may be a virtual one".to_owned(),
            }));
        }
        let executor = Self {
            helper: helper.to_owned(),
            interpreter: interpreter::find(python).map_err(Error::Sandbox)?,
            limits,
            at_once: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let entry = "open_layers".to_owned();
        let trial = Program {
            before: format!("def {entry}():\n    pass\n"),
            completion: TRIAL.to_owned(),
            after: format!("held = {entry}()\nif held: raise Exception(', '.join(held))\n"),
            entry,
        };
        let patient = Limits {
            time: TRIAL_TIME.max(limits.time),
            ..limits
        };
        let (layer, problem) = match executor.run_one(&trial, patient)? {
            Outcome::Passed => return Ok(executor),
            Outcome::Failed(why) => match why.strip_prefix("Exception: ") {
                Some(layers) => (layers.to_owned(), "a program got past it".to_owned()),
                None => ("a trial".to_owned(), why),
            },
            other => ("a trial".to_owned(), format!("it came to {other:?}")),
        };
        Err(Error::Sandbox(Missing {
            layer,
            problem,
            hint: "as root of a container without other users, run it as one of the machine's users; else this is a fault of andromeda-train: report it with the kernel's version".to_owned(),
        }))
    }

    /// The interpreter that was found.
    pub const fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    /// Runs programs, several at once; their outcomes are in their order. `told` is told how many are done, and ends the run with an
    /// error of its own.
    ///
    /// # Errors
    /// That of `told`, or a layer is no longer there.
    pub fn run(
        &self,
        programs: &[Program],
        told: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Vec<Outcome>> {
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let (sender, results) = mpsc::channel();
        let work = |sender: mpsc::Sender<(usize, Result<Outcome>)>| {
            while !stopped.load(Ordering::Relaxed) {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(program) = programs.get(at) else {
                    break;
                };
                if sender
                    .send((at, self.run_one(program, self.limits)))
                    .is_err()
                {
                    break;
                }
            }
        };
        let mut outcomes: Vec<Option<Outcome>> = vec![None; programs.len()];
        std::thread::scope(|scope| {
            for _ in 0..self.at_once.min(programs.len()) {
                let sender = sender.clone();
                scope.spawn(|| work(sender));
            }
            drop(sender);
            for (done, (at, outcome)) in results.iter().enumerate() {
                let kept = outcome.and_then(|outcome| {
                    if let Some(place) = outcomes.get_mut(at) {
                        *place = Some(outcome);
                    }
                    told(done + 1)
                });
                if let Err(error) = kept {
                    stopped.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        })?;
        Ok(outcomes.into_iter().flatten().collect())
    }

    fn run_one(&self, program: &Program, limits: Limits) -> Result<Outcome> {
        let failed = || Error::io("running a program of a task");
        let job = Job {
            interpreter: self.interpreter.clone(),
            limits,
            program: program.clone(),
        };
        let mut line = serde_json::to_vec(&job).map_err(|error| failed()(error.into()))?;
        line.push(b'\n');
        let mut command = Command::new(&self.helper);
        command
            .arg(SUBCOMMAND)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        // An interrupt from the keyboard is for this process, which then decides.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut helper = command.spawn().map_err(failed())?;
        // Kept open until the end: its end is that of the program.
        let mut control = helper.stdin.take();
        if let Some(control) = &mut control {
            control.write_all(&line).map_err(failed())?;
        }
        let mut report = Vec::new();
        if let Some(stdout) = helper.stdout.take() {
            let mut stdout = stdout.take(MOST_REPORTED);
            stdout.read_to_end(&mut report).map_err(failed())?;
        }
        let status = helper.wait().map_err(failed())?;
        drop(control);
        match serde_json::from_slice(&report) {
            Ok(Report::Ended(outcome)) => Ok(outcome),
            Ok(Report::Missing(missing)) => Err(Error::Sandbox(missing)),
            Err(_) => Err(Error::Sandbox(Missing {
                layer: "a process of its own".to_owned(),
                problem: format!("it ended without a report ({status})"),
                hint: "try again when the machine has less to do".to_owned(),
            })),
        }
    }
}
