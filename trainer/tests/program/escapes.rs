//! Programs that try to get out of where the programs of tasks are run, each seen to fail from outside: no byte was read or written, no
//! connection arrived, nobody was signalled, no process is left, no verdict is forged. Where the same program does no harm by itself it
//! is also run by a plain interpreter, in which it succeeds: an attempt that could not succeed anywhere shows nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use andromeda_trainer::evaluation::execute::{Executor, Limits, Outcome, Program};
use tempfile::TempDir;

use self::Control::{Alone, Forges, No};
use self::Is::{Blocked, Failed, Late};
use crate::execute::executor;

/// What the sandbox says of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// Killed for a system call.
    Blocked,
    /// It did not succeed.
    Failed,
    /// Its time was up.
    Late,
}

/// Whether the attempt is also made outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Control {
    /// It would harm the machine, or needs powers that not every user has.
    No,
    /// By a plain interpreter, where it returns "escaped" or leaves a trace.
    Alone,
    /// With its test in one process, which then ends well although the answer is wrong.
    Forges,
}

const ATTEMPTS: &str = include_str!("../escapes.py");

/// An attempt, as the file has it.
struct Attempt {
    name: &'static str,
    is: Is,
    control: Control,
    code: String,
}

/// Those that this processor can make.
fn attempts() -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut here = false;
    for line in ATTEMPTS.lines() {
        if let Some(head) = line.strip_prefix("#: ") {
            let words: Vec<&str> = head.split(" | ").collect();
            here = words
                .get(3)
                .is_none_or(|only| *only == std::env::consts::ARCH);
            if here {
                attempts.push(Attempt {
                    name: words[0],
                    is: match words[1] {
                        "blocked" => Blocked,
                        "failed" => Failed,
                        "late" => Late,
                        other => panic!("{head}: {other}"),
                    },
                    control: match words[2] {
                        "no" => No,
                        "alone" => Alone,
                        "forges" => Forges,
                        other => panic!("{head}: {other}"),
                    },
                    code: String::new(),
                });
            }
        } else if let Some(attempt) = attempts.last_mut().filter(|_| here) {
            attempt.code += line;
            attempt.code.push('\n');
        }
    }
    attempts
}

/// Numbers of calls, by name.
fn numbers() -> BTreeMap<&'static str, i64> {
    macro_rules! numbers {
        ($($name:ident = $number:ident),* $(,)?) => {
            BTreeMap::from([$((stringify!($name), libc::$number)),*])
        };
    }
    let mut numbers = numbers!(
        socket = SYS_socket,
        shmget = SYS_shmget,
        pivot_root = SYS_pivot_root,
        mount = SYS_mount,
        umount2 = SYS_umount2,
        fsopen = SYS_fsopen,
        open_tree = SYS_open_tree,
        open_by_handle_at = SYS_open_by_handle_at,
        name_to_handle_at = SYS_name_to_handle_at,
        unshare = SYS_unshare,
        setns = SYS_setns,
        clone = SYS_clone,
        clone3 = SYS_clone3,
        tgkill = SYS_tgkill,
        ptrace = SYS_ptrace,
        process_vm_readv = SYS_process_vm_readv,
        process_vm_writev = SYS_process_vm_writev,
        pidfd_getfd = SYS_pidfd_getfd,
        io_uring_setup = SYS_io_uring_setup,
        bpf = SYS_bpf,
        perf_event_open = SYS_perf_event_open,
        userfaultfd = SYS_userfaultfd,
        keyctl = SYS_keyctl,
        add_key = SYS_add_key,
        init_module = SYS_init_module,
        finit_module = SYS_finit_module,
        kexec_load = SYS_kexec_load,
        reboot = SYS_reboot,
        swapon = SYS_swapon,
        quotactl = SYS_quotactl,
        settimeofday = SYS_settimeofday,
        syslog = SYS_syslog,
        personality = SYS_personality,
    );
    numbers.insert("none", 500);
    numbers
}

/// What programs could reach if they got out, on this machine.
struct Outside {
    folder: TempDir,
    /// The name of every process of an attempt.
    mark: String,
    tcp: TcpListener,
    udp: UdpSocket,
    unix: UnixListener,
    abstract_unix: UnixListener,
    victim: Child,
}

impl Drop for Outside {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        self.end_marked();
        let _ = fs::remove_file(self.socket());
    }
}

const OF_THE_HOME: &str = "of the home";

impl Outside {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        fs::create_dir(folder.path().join("home")).unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        fs::write(folder.path().join("home/file"), OF_THE_HOME).unwrap();
        let mark = format!("{name}{}", std::process::id());
        // Paths of sockets are short.
        let unix = UnixListener::bind(std::env::temp_dir().join(&mark)).unwrap();
        let name = SocketAddr::from_abstract_name(&mark).unwrap();
        let outside = Self {
            folder,
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp: UdpSocket::bind("127.0.0.1:0").unwrap(),
            unix,
            abstract_unix: UnixListener::bind_addr(&name).unwrap(),
            victim: victim(),
            mark,
        };
        outside.tcp.set_nonblocking(true).unwrap();
        outside.udp.set_nonblocking(true).unwrap();
        outside.unix.set_nonblocking(true).unwrap();
        outside.abstract_unix.set_nonblocking(true).unwrap();
        outside
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        std::env::temp_dir().join(&self.mark)
    }

    /// What every attempt begins with.
    fn prelude(&self) -> String {
        let text = |path: &Path| serde_json::to_string(path).unwrap();
        format!(
            "import ctypes, os, signal, socket, sys, time\n\
             HOME, FILE, OUTSIDE, UNIX = {}, {}, {}, {}\n\
             PORT, UDP, VICTIM, MARK, NR = {}, {}, {}, {:?}, {}\n\
             c = ctypes.CDLL(None, use_errno=True)\n\
             c.prctl(15, MARK.encode(), 0, 0, 0)\n\
             def call(name, *arguments):\n    \
                 arguments = [ctypes.c_long(of) if isinstance(of, int) else of for of in arguments]\n    \
                 if c.syscall(ctypes.c_long(NR[name]), *arguments) == -1:\n        \
                     raise OSError(ctypes.get_errno(), name)\n    \
                 return 'escaped'\n",
            text(&self.path("home")),
            text(&self.path("home/file")),
            text(&self.path("outside")),
            text(&self.socket()),
            self.tcp.local_addr().unwrap().port(),
            self.udp.local_addr().unwrap().port(),
            self.victim.id(),
            self.mark,
            serde_json::to_string(&numbers()).unwrap(),
        )
    }

    /// Processes of an attempt; not those that have ended and that nobody has asked for yet, as of a plain interpreter's.
    fn marked(&self) -> Vec<String> {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let named = processes.filter(|process| {
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            let named = format!(" ({}) ", self.mark);
            stat.split_once(&named)
                .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        });
        named
            .map(|process| process.file_name().into_string().unwrap())
            .collect()
    }

    fn end_marked(&self) {
        loop {
            let marked = self.marked();
            if marked.is_empty() {
                return;
            }
            for pid in marked {
                let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
                let kill = rustix::process::Signal::KILL;
                let _ = rustix::process::kill_process(pid.unwrap(), kill);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What has happened out here since it was asked last; it is made undone.
    fn traces(&mut self) -> Vec<String> {
        let mut traces = Vec::new();
        let mut seen = |holds: bool, trace: &str| {
            if holds {
                traces.push(trace.to_owned());
            }
        };
        let file = fs::read_to_string(self.path("home/file")).unwrap_or_default();
        seen(file != OF_THE_HOME, "a file was changed");
        seen(
            fs::read_dir(self.path("home")).unwrap().count() != 1,
            "a file was made",
        );
        seen(
            fs::remove_file(self.path("outside")).is_ok(),
            "a file was written",
        );
        seen(
            Path::new("/").join(&self.mark).exists(),
            "a file was written to the root",
        );
        seen(self.tcp.accept().is_ok(), "there was a connection");
        seen(self.udp.recv(&mut [0; 8]).is_ok(), "there was a datagram");
        seen(
            self.unix.accept().is_ok(),
            "there was a connection in a folder",
        );
        seen(
            self.abstract_unix.accept().is_ok(),
            "there was a connection by a name",
        );
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.victim.id()));
        let state = stat
            .ok()
            .and_then(|stat| stat.rsplit(") ").next()?.chars().next());
        let ended = self.victim.try_wait().unwrap().is_some();
        seen(
            ended || !matches!(state, Some('S' | 'R')),
            "a process was signalled",
        );
        let marked = self.marked();
        seen(
            !marked.is_empty(),
            &format!("processes are left: {marked:?}"),
        );
        if ended {
            self.victim = victim();
        }
        self.end_marked();
        traces
    }

    /// The attempt by a plain interpreter, in a folder of its own: whether it succeeds.
    fn succeeds(&mut self, control: Control, code: &str) -> bool {
        let work = self.path("work");
        fs::remove_dir_all(&work).unwrap();
        fs::create_dir(&work).unwrap();
        let end = match control {
            Forges => "ANSWER = 8346172\nassert attempt() == ANSWER",
            _ => "sys.stdout.write(str(attempt()))\nsys.stdout.flush()",
        };
        // What is inherited.
        let inherited = fs::File::open(self.path("home/file")).unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        let mut child = Command::new("python3")
            .args(["-B", "-c", &format!("{}{code}\n{end}\n", self.prelude())])
            .current_dir(&work)
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.path("said")).unwrap())
            .stderr(fs::File::create(self.path("talk")).unwrap())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let said = fs::read_to_string(self.path("said")).unwrap();
        // All are looked at and made undone.
        let traces = self.traces();
        match control {
            Forges => status.success(),
            _ => said == "escaped" || !traces.is_empty(),
        }
    }
}

fn victim() -> Child {
    let sleep = Command::new("sleep").arg("100000").spawn();
    sleep.unwrap()
}

fn program(outside: &Outside, control: Control, code: &str) -> Program {
    let test = match control {
        // The answer is never right by itself.
        Alone => "ANSWER = 'escaped'".to_owned(),
        _ if code.contains("\"escaped\"") => "ANSWER = 'escaped'".to_owned(),
        _ => "ANSWER = 8346172".to_owned(),
    };
    Program {
        before: "def attempt():\n    pass\n".to_owned(),
        completion: format!("{}{code}\n", outside.prelude()),
        after: format!("\n{test}\nassert attempt() == ANSWER\n"),
        entry: "attempt".to_owned(),
    }
}

fn outcome(executor: &Executor, program: Program) -> Outcome {
    let outcomes = executor.run(&[program], &mut |_| Ok(())).unwrap();
    outcomes.into_iter().next().unwrap()
}

#[test]
fn no_program_gets_out() {
    // What is to be late has little time, and all others have what a busy machine may take.
    let [short, long] = [1, 120].map(Duration::from_secs);
    let of = |time| {
        executor(Limits {
            time,
            ..Limits::default()
        })
    };
    let (Some(for_late), Some(for_others)) = (of(short), of(long)) else {
        return;
    };
    let attempts = attempts();
    let names: BTreeSet<&str> = attempts.iter().map(|of| of.name).collect();
    assert_eq!(names.len(), attempts.len(), "two attempts have one name");
    assert!(names.len() >= 120, "{names:?}");
    let mut outside = Outside::new("out");
    assert_eq!(outside.traces(), Vec::<String>::new());
    let mut problems = Vec::new();
    for Attempt {
        name,
        is,
        control,
        code,
    } in attempts
    {
        let begun = Instant::now();
        let inherited = fs::File::open(outside.path("home/file")).unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        let (executor, time) = match is {
            Late => (&for_late, short),
            _ => (&for_others, long),
        };
        let outcome = outcome(executor, program(&outside, control, &code));
        let took = begun.elapsed();
        drop(inherited);
        let as_said = match is {
            Blocked => outcome == Outcome::Blocked,
            Failed => matches!(outcome, Outcome::Failed(_)),
            Late => outcome == Outcome::TimedOut,
        };
        if !as_said {
            problems.push(format!("{name}: {outcome:?} and not {is:?}"));
        }
        // Starting takes its time on a busy machine.
        if took > time + Duration::from_secs(20) {
            problems.push(format!("{name}: took {took:?}"));
        }
        for trace in outside.traces() {
            problems.push(format!("{name}: {trace}"));
        }
        if control != No && !outside.succeeds(control, &code) {
            let talk = fs::read_to_string(outside.path("talk")).unwrap();
            problems.push(format!(
                "{name}: it does not succeed outside either: {talk}"
            ));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// The harness by itself: what does succeed inside is seen to.
#[test]
fn a_program_that_is_right_passes_among_them() {
    let Some(executor) = executor(Limits::default()) else {
        return;
    };
    let outside = Outside::new("own");
    let code = "def attempt():\n    return 8346172\n";
    assert_eq!(
        outcome(&executor, program(&outside, No, code)),
        Outcome::Passed
    );
    let code = "def attempt():\n    open('own', 'w').write('x')\n    return \"escaped\"\n";
    assert_eq!(
        outcome(&executor, program(&outside, No, code)),
        Outcome::Passed
    );
}
