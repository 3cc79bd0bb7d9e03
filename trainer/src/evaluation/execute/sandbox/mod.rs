//! The process that stands between this program and another one's: it makes the namespaces, and watches them from outside.
//!
//! A process of many threads cannot enter namespaces, so this program starts itself again ([`sandbox`]), for each program that is run.
//! The one line on its standard input is the job; when that input ends, nobody waits any more, and all is killed. What it writes to its
//! standard output is the report.

mod calls;
mod filter;
mod inside;
mod namespaces;
mod powers;
mod root;

use std::io::{BufRead, PipeReader, Read, Write, pipe, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libc::pid_t;
use serde::Deserialize;

use self::calls::Alone;
use self::inside::{Given, Said};
use super::job::{Job, Missing, Outcome, Report};

/// How long layers and interpreters may take until they are there, on a machine that has much else to do.
const START: Duration = Duration::from_secs(60);

/// What is kept of what a process says.
const MOST_SAID: usize = 1 << 16;

/// Runs the job that the standard input has, and writes its report to the standard output.
pub fn sandbox() -> ExitCode {
    let Some(job) = job() else {
        return ExitCode::FAILURE;
    };
    let Some(report) = run(&job).unwrap_or_else(|missing| Some(Report::Missing(missing))) else {
        return ExitCode::FAILURE;
    };
    let written = serde_json::to_writer(stdout(), &report);
    match written.map(|()| stdout().flush()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn job() -> Option<Job> {
    let mut line = String::new();
    stdin().lock().read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn failed(error: std::io::Error) -> Missing {
    Missing {
        layer: "a process of its own".to_owned(),
        problem: error.to_string(),
        hint: "try again when the machine has less to do".to_owned(),
    }
}

/// Nothing is told where nobody waits any more.
fn run(job: &Job) -> Result<Option<Report>, Missing> {
    let alone = Alone::check().map_err(failed)?;
    namespaces::enter(&alone)?;
    prepare(job, &alone).map_err(failed)?
}

fn prepare(job: &Job, alone: &Alone) -> std::io::Result<Result<Option<Report>, Missing>> {
    let program = &job.program;
    let test = serde_json::json!({
        "before": program.before, "after": program.after, "entry": program.entry
    });
    let (hears, says) = pipe()?;
    let (verdicts, of_test) = pipe()?;
    let (talk, talks) = pipe()?;
    let given = Given {
        test: calls::memory_file(test.to_string().as_bytes())?,
        program: calls::memory_file(
            format!("{}{}", program.before, program.completion).as_bytes(),
        )?,
        says,
        verdicts: of_test,
        talk: talks,
    };
    let Some(first) = calls::fork(alone)? else {
        inside::first(alone, job, given);
    };
    drop(given);
    let watched = Watched {
        first,
        hears: Heard::of(hears),
        verdicts: Heard::of(verdicts),
        talk: Heard::of(talk),
    };
    watched.watch(job.limits.time)
}

/// What one process says, as far as it is kept.
struct Heard {
    from: PipeReader,
    bytes: Vec<u8>,
    ended: bool,
}

impl Heard {
    fn of(from: PipeReader) -> Self {
        Self {
            from,
            bytes: Vec::new(),
            ended: false,
        }
    }

    /// Reads what there is; waits where there is nothing yet.
    fn read(&mut self) -> std::io::Result<()> {
        let mut buffer = [0; 4096];
        let count = self.from.read(&mut buffer)?;
        self.ended |= count == 0;
        let room = MOST_SAID.saturating_sub(self.bytes.len());
        self.bytes.extend(buffer.iter().take(count.min(room)));
        Ok(())
    }

    /// Reads until nobody can say anything any more.
    fn read_to_end(&mut self) -> std::io::Result<()> {
        while !self.ended {
            self.read()?;
        }
        Ok(())
    }
}

/// A line of the process that runs the test: what, and why.
#[derive(Deserialize)]
struct Verdict(String, String);

/// The first process of the namespaces, from outside.
struct Watched {
    first: pid_t,
    hears: Heard,
    verdicts: Heard,
    talk: Heard,
}

impl Watched {
    fn watch(mut self, time: Duration) -> std::io::Result<Result<Option<Report>, Missing>> {
        let (started, mut begun) = (Instant::now(), None::<Instant>);
        let late = loop {
            let left = match begun {
                Some(begun) => time.saturating_sub(begun.elapsed()),
                None => START.saturating_sub(started.elapsed()),
            };
            if left.is_zero() {
                break true;
            }
            let control = stdin();
            let (verdicts, talk, hears) = (&self.verdicts.from, &self.talk.from, &self.hears.from);
            let fds: [BorrowedFd<'_>; 4] = [
                control.as_fd(),
                verdicts.as_fd(),
                talk.as_fd(),
                hears.as_fd(),
            ];
            let ready = calls::poll(&fds, left)?;
            let ready = |at: usize| ready.get(at) == Some(&true);
            // There is one line of input, which was read: this is its end.
            if ready(0) {
                self.end()?;
                return Ok(Ok(None));
            }
            if ready(1) {
                self.verdicts.read()?;
                if begun.is_none() && self.verdict("begun").is_some() {
                    begun = Some(Instant::now());
                }
                if self.verdict("passed").is_some() {
                    break false;
                }
            }
            if ready(2) {
                self.talk.read()?;
            }
            if ready(3) {
                self.hears.read()?;
                if self.hears.ended {
                    break false;
                }
            }
        };
        self.end()?;
        Ok(self.report(late, begun.is_some()).map(Some))
    }

    /// Ends all processes, and waits until they are gone: the kernel does not let the first one go before.
    fn end(&mut self) -> std::io::Result<()> {
        calls::kill(self.first, libc::SIGKILL)?;
        calls::wait(Some(self.first), true)?;
        self.verdicts.read_to_end()?;
        self.talk.read_to_end()?;
        self.hears.read_to_end()
    }

    /// Why the test said so, if it did.
    fn verdict(&self, what: &str) -> Option<String> {
        let mut lines = self.verdicts.bytes.split(|byte| *byte == b'\n');
        lines.find_map(|line| {
            let Verdict(said, why) = serde_json::from_slice(line).ok()?;
            (said == what).then_some(why)
        })
    }

    fn report(&self, late: bool, begun: bool) -> Result<Report, Missing> {
        let (mut of_checker, mut of_candidate) = (None, None);
        match serde_json::from_slice(&self.hears.bytes) {
            Ok(Said::Missing(missing)) => return Err(missing),
            Ok(Said::Ended { checker, candidate }) => {
                (of_checker, of_candidate) = (checker, candidate);
            }
            Err(_) => {}
        }
        if let Some(why) = self.verdict("unfit") {
            return Ok(Report::Ended(Outcome::Unfit(why)));
        }
        if !begun {
            let talk = String::from_utf8_lossy(&self.talk.bytes);
            let how = match (late, of_checker) {
                (true, _) => format!("it is not there after {} seconds", START.as_secs()),
                (false, Some(signal)) => format!("it was ended by signal {signal}"),
                (false, None) => "it ended".to_owned(),
            };
            return Err(Missing {
                layer: "the interpreter".to_owned(),
                problem: format!("{how} {}", talk.trim()),
                hint: "name another one with --python: it must run with its own library and those in /lib, /usr/lib and /usr/local/lib".to_owned(),
            });
        }
        let outcome = match (self.verdict("failed"), of_candidate) {
            _ if late => Outcome::TimedOut,
            _ if self.verdict("passed").is_some() => Outcome::Passed,
            (_, Some(libc::SIGSYS)) => Outcome::Blocked,
            (_, Some(libc::SIGXCPU)) => Outcome::TimedOut,
            (Some(why), _) => Outcome::Failed(why),
            (None, _) => Outcome::Failed("the process of its test ended".to_owned()),
        };
        Ok(Report::Ended(outcome))
    }
}
