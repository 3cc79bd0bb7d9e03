//! The first process of the namespaces: it builds the other layers around itself, looks whether each holds, and only then starts the two
//! interpreters. With it all processes end.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use libc::pid_t;
use serde::{Deserialize, Serialize};

use super::calls::{self, Alone, End};
use super::{filter, namespaces, powers, root};
use crate::evaluation::execute::job::{Job, Missing};

/// Sources of the interpreters.
const CHECKER: &str = concat!(include_str!("../values.py"), include_str!("../checker.py"));
const CANDIDATE: &str = concat!(
    include_str!("../values.py"),
    include_str!("../candidate.py")
);

/// How long the end of the program is waited for after that of its test, to know its reason.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// What the first process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Said {
    Missing(Missing),
    /// The signals that ended the interpreters, where signals did.
    Ended {
        checker: Option<i32>,
        candidate: Option<i32>,
    },
}

/// What it is given.
pub(super) struct Given {
    /// For the process that runs the test.
    pub(super) test: File,
    /// For the one that runs the program.
    pub(super) program: File,
    /// What the first process says.
    pub(super) says: PipeWriter,
    /// What the test says.
    pub(super) verdicts: PipeWriter,
    /// What the interpreter of the test writes to stderr.
    pub(super) talk: PipeWriter,
}

/// Does it all, and ends the process.
pub(super) fn first(alone: &Alone, job: &Job, mut given: Given) -> ! {
    let said = run(alone, job, &given).unwrap_or_else(Said::Missing);
    let written = serde_json::to_vec(&said).map(|bytes| given.says.write_all(&bytes));
    calls::leave(i32::from(!matches!(written, Ok(Ok(())))));
}

fn missing(layer: &'static str, hint: &'static str) -> impl FnOnce(std::io::Error) -> Missing {
    move |error| Missing {
        layer: layer.to_owned(),
        problem: error.to_string(),
        hint: hint.to_owned(),
    }
}

fn run(alone: &Alone, job: &Job, given: &Given) -> Result<Said, Missing> {
    let other = "another kernel may have it: Linux 5.14 is the oldest that this is written for";
    namespaces::look_from_inside()?;
    calls::new_session().map_err(missing("a session", other))?;
    // Where memory runs out, this is what goes first.
    let first_to_go = std::fs::write("/proc/self/oom_score_adj", "1000");
    first_to_go.map_err(missing(
        "first to go when memory runs out",
        "/proc must be mounted",
    ))?;
    let mut paths = job.interpreter.paths.clone();
    paths.push(job.interpreter.executable.clone());
    root::enter(&paths, job.limits.folder_bytes).map_err(missing("a root of its own", other))?;
    std::env::set_current_dir("/tmp").map_err(missing("a root of its own", other))?;
    powers::give_up().map_err(missing("no powers", other))?;
    // Who watches may have gone before this process could be told.
    let nobody = calls::poll(&[given.says.as_fd()], Duration::ZERO);
    if nobody.is_ok_and(|gone| gone.contains(&true)) {
        calls::leave(1);
    }
    powers::limit(&job.limits).map_err(missing(
        "resource limits",
        "raise the limits of the shell, `ulimit -H -a`",
    ))?;
    filter::install().map_err(missing("a filter of system calls (seccomp)", other))?;
    start(alone, job, given).map_err(missing("processes", other))
}

fn start(alone: &Alone, job: &Job, given: &Given) -> std::io::Result<Said> {
    let nothing = File::open("/dev/null")?;
    let nowhere = File::options().write(true).open("/dev/null")?;
    let (requests, asks) = std::io::pipe()?;
    let (replies, answers) = std::io::pipe()?;
    let interpreter = |source: &str, files: &[i32]| {
        let executed = calls::place(files).and_then(|()| {
            let path = &job.interpreter.executable;
            let name = path.to_string_lossy();
            let arguments = [&*name, "-B", "-s", "-S", "-c", source];
            calls::execute(path, &arguments, &["PYTHONHASHSEED=0", "LANG=C.UTF-8"])
        });
        let Err(error) = executed;
        // Its stderr is what was placed there.
        let _ = writeln!(
            std::io::stderr(),
            "{}: {error}",
            job.interpreter.executable.display()
        );
        calls::leave(127)
    };
    let fds = |files: &[&dyn AsRawFd]| {
        files
            .iter()
            .map(|file| file.as_raw_fd())
            .collect::<Vec<_>>()
    };
    let Some(checker) = calls::fork(alone)? else {
        let files: [&dyn AsRawFd; 7] = [
            &nothing,
            &nowhere,
            &given.talk,
            &given.test,
            &replies,
            &asks,
            &given.verdicts,
        ];
        interpreter(CHECKER, &fds(&files))
    };
    let Some(candidate) = calls::fork(alone)? else {
        let files: [&dyn AsRawFd; 6] = [
            &nothing,
            &nowhere,
            &nowhere,
            &given.program,
            &requests,
            &answers,
        ];
        interpreter(CANDIDATE, &fds(&files))
    };
    // Each must see the end of the other.
    drop::<(PipeReader, PipeWriter, PipeReader, PipeWriter)>((requests, asks, replies, answers));
    watch(checker, candidate)
}

/// Waits for the end of the test, and takes up whoever loses its parent.
fn watch(checker: pid_t, candidate: pid_t) -> std::io::Result<Said> {
    let signal = |end: End| match end {
        End::Killed(signal) => Some(signal),
        End::Exited(_) => None,
    };
    let (mut of_checker, mut of_candidate, mut ended_at) = (None, None, None);
    loop {
        let patient = ended_at.is_none();
        match calls::wait(None, patient) {
            Ok(Some((pid, end))) if pid == checker => {
                of_checker = signal(end);
                ended_at = Some(Instant::now());
            }
            Ok(Some((pid, end))) if pid == candidate => {
                of_candidate = Some(end);
            }
            Ok(Some(_)) => {}
            Ok(None) => std::thread::sleep(Duration::from_millis(2)),
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => break,
            Err(error) => return Err(error),
        }
        if let Some(at) = ended_at
            && (of_candidate.is_some() || at.elapsed() > AFTERWARDS)
        {
            break;
        }
    }
    Ok(Said::Ended {
        checker: of_checker,
        candidate: of_candidate.and_then(signal),
    })
}
