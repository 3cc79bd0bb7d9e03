//! How workers find each other: all connect to the first, say who they are and what they would train, and are told of one another.
//!
//! The first worker listens; each other one says hello with its rank, what it would train, and where it listens itself. A worker
//! that would train something else is refused and told why; whatever else comes to the port is dropped, and a run waits on. When
//! all are there each is told a number drawn for this meeting and the addresses, and connects to those of lower rank with that
//! number.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::tcp::{Broken, Kind, Tcp, read, write};
use super::transport::Transport;
use crate::config::RunConfig;
use crate::error::{Error, Result};

/// The most workers of a run: each has a connection to each other.
pub const MOST_WORKERS: usize = 256;
/// The largest hello, welcome or greeting.
const LARGEST: usize = 1 << 20;
/// How long somebody who connected may take to say who they are.
const HELLO: Duration = Duration::from_secs(10);
/// Connections that have not said who they are.
const MOST_STRANGERS: usize = 64;
const PAUSE: Duration = Duration::from_millis(5);

/// How long workers wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Until all are there.
    pub join: Duration,
    /// For a worker that says nothing, in a step.
    pub silence: Duration,
}

/// What a worker would train; all workers of a run have to agree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Purpose {
    /// Version of the program: another may compute other bits.
    pub program: String,
    /// Name of the run.
    pub run: String,
    /// Root hash of the build.
    pub root: String,
    /// The configuration.
    pub config: RunConfig,
}

impl Purpose {
    /// What this program would train.
    pub fn new(run: &str, root: &str, config: &RunConfig) -> Self {
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            run: run.to_owned(),
            root: root.to_owned(),
            config: config.clone(),
        }
    }

    /// Why a worker with this purpose cannot take part in `other`.
    fn problem(&self, other: &Self) -> Option<String> {
        let pairs = [
            ("version of andromeda-train", &self.program, &other.program),
            ("run", &self.run, &other.run),
            ("build", &self.root, &other.root),
        ];
        let differs = pairs.iter().find(|(_, mine, theirs)| mine != theirs);
        if let Some((what, mine, theirs)) = differs {
            return Some(format!(
                "its {what} is {mine}, the first worker's is {theirs}"
            ));
        }
        // Blocks computed again give the same bits.
        let mut config = self.config.clone();
        config.compute.recompute = other.config.compute.recompute;
        if config == other.config {
            return None;
        }
        let keys = differing(&config, &other.config);
        Some(format!("its configuration differs in {}", keys.join(", ")))
    }
}

/// The keys in which two configurations differ, as `section.key`.
fn differing(one: &RunConfig, other: &RunConfig) -> Vec<String> {
    let value = |config: &RunConfig| serde_json::to_value(config).unwrap_or_default();
    let (one, other) = (value(one), value(other));
    let mut keys = Vec::new();
    for (section, values) in one.as_object().into_iter().flatten() {
        for (key, value) in values.as_object().into_iter().flatten() {
            if other[section].get(key) != Some(value) {
                keys.push(format!("{section}.{key}"));
            }
        }
    }
    if keys.is_empty() {
        keys.push("a key that one of them leaves out".to_owned());
    }
    keys
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    rank: usize,
    workers: usize,
    /// Where the worker itself listens.
    port: u16,
    purpose: Purpose,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Welcome {
    session: String,
    /// Where workers listen, from the second on.
    others: Vec<SocketAddr>,
}

#[derive(Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Greeting {
    session: String,
    rank: usize,
}

/// Waits on `listener` for `workers - 1` others, as the first of them. `attend` is called all the while and may end the waiting by
/// an error; `warn` is told of those who are refused.
///
/// # Errors
/// Not all came in time, or the network failed.
pub fn lead(
    listener: &TcpListener,
    workers: usize,
    purpose: &Purpose,
    timeouts: Timeouts,
    attend: &mut dyn FnMut() -> Result<()>,
    warn: &mut dyn FnMut(&str),
) -> Result<Tcp> {
    let network = |source| Error::Io {
        what: "waiting for workers".to_owned(),
        source,
    };
    listener.set_nonblocking(true).map_err(network)?;
    let deadline = Instant::now() + timeouts.join;
    let (sender, arrivals) = channel();
    let mut joined: Vec<Option<(TcpStream, SocketAddr)>> = (0..workers).map(|_| None).collect();
    let mut strangers = 0;
    while joined.iter().flatten().count() + 1 < workers {
        attend()?;
        if Instant::now() >= deadline {
            let missing = joined.iter().enumerate().skip(1);
            let missing: Vec<String> = missing
                .filter(|(_, joined)| joined.is_none())
                .map(|(rank, _)| rank.to_string())
                .collect();
            let reason = format!(
                "workers {} did not come within {} seconds",
                missing.join(", "),
                timeouts.join.as_secs()
            );
            for (stream, _) in joined.iter().flatten() {
                let _ = write(stream, Kind::Refusal, reason.as_bytes());
            }
            return Err(Error::Io {
                what: "waiting for workers".to_owned(),
                source: std::io::Error::new(
                    ErrorKind::TimedOut,
                    format!(
                        "{reason}\nhint: start all of them with the same --coordinator and --world-size and a --rank of their own"
                    ),
                ),
            });
        }
        if strangers < MOST_STRANGERS {
            match listener.accept() {
                Ok((stream, _)) => {
                    strangers += 1;
                    hear(stream, sender.clone())?;
                }
                // One that went away while it waited is no reason to stop.
                Err(error) if error.kind() != ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(_) => {}
            }
        }
        let Ok((stream, heard)) = arrivals.recv_timeout(PAUSE) else {
            continue;
        };
        strangers -= 1;
        let address = stream.peer_addr().ok();
        let from =
            address.map_or_else(|| "somebody".to_owned(), |address| address.ip().to_string());
        match heard.and_then(|hello| placed(&hello, workers, &joined, purpose).map(|()| hello)) {
            Ok(hello) => {
                if let Some(address) = address {
                    let listens = SocketAddr::new(address.ip(), hello.port);
                    joined[hello.rank] = Some((stream, listens));
                }
            }
            Err(reason) => {
                warn(&format!("a connection from {from} is refused: {reason}"));
                let _ = stream.set_write_timeout(Some(PAUSE));
                let _ = write(&stream, Kind::Refusal, reason.as_bytes());
            }
        }
    }
    let (streams, others): (Vec<_>, Vec<_>) = joined.into_iter().flatten().unzip();
    let welcome = Welcome {
        session: drawn(),
        others,
    };
    let bytes = json(&welcome)?;
    for (stream, rank) in streams.iter().zip(1..) {
        write(stream, Kind::Welcome, &bytes).map_err(|error| Error::Worker {
            rank,
            problem: format!("it went away before all were there: {error}"),
        })?;
    }
    let connections = std::iter::once(None).chain(streams.into_iter().map(Some));
    let tcp = Tcp::new(0, connections.collect(), timeouts.silence).map_err(network)?;
    tcp.barrier()?;
    Ok(tcp)
}

/// Whether `hello` is from one that is missing.
fn placed(
    hello: &Hello,
    workers: usize,
    joined: &[Option<(TcpStream, SocketAddr)>],
    purpose: &Purpose,
) -> Result<(), String> {
    if hello.workers != workers {
        return Err(format!(
            "it is one of {} workers, and there are {workers}",
            hello.workers
        ));
    }
    match joined.get(hello.rank) {
        Some(None) if hello.rank > 0 => {}
        Some(_) => return Err(format!("rank {} is taken", hello.rank)),
        None => return Err(format!("rank {} is none of {workers} workers'", hello.rank)),
    }
    hello.purpose.problem(purpose).map_or(Ok(()), Err)
}

/// What somebody who connected said, or why it cannot be taken in.
type Heard = (TcpStream, Result<Hello, String>);

/// Hears who somebody is, without letting others wait.
fn hear(stream: TcpStream, sender: Sender<Heard>) -> Result<()> {
    let listen = move || {
        let ready = stream
            .set_nonblocking(false)
            .and_then(|()| stream.set_read_timeout(Some(HELLO)));
        let mut bytes = Vec::new();
        let heard = ready
            .map_err(Broken::from)
            .and_then(|()| read(&stream, Kind::Hello, &mut bytes, LARGEST))
            .map_err(|broken| match broken {
                Broken::Io(error) => format!("it did not say who it is: {error}"),
                Broken::Strange(problem) | Broken::Abort(problem) => problem,
            })
            .and_then(|()| {
                serde_json::from_slice(&bytes)
                    .map_err(|error| format!("its hello cannot be read: {error}"))
            });
        // Nobody waits any more.
        let _ = sender.send((stream, heard));
    };
    let thread = std::thread::Builder::new()
        .name("hello".to_owned())
        .spawn(listen);
    thread
        .map(drop)
        .map_err(Error::io("starting a thread that hears a worker"))
}

/// A number that somebody who was not told it does not guess.
fn drawn() -> String {
    // The keys of the standard library's maps are the system's random numbers.
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::Usage(format!("a message cannot be written: {error}")))
}

/// Joins the others at `coordinator`, where the first of them listens or will, as worker `rank` of `workers`.
///
/// # Errors
/// The first worker refuses this one, or not all came in time, or the network failed.
pub fn join(
    coordinator: &str,
    rank: usize,
    workers: usize,
    purpose: &Purpose,
    timeouts: Timeouts,
) -> Result<Tcp> {
    let deadline = Instant::now() + timeouts.join;
    let first = connected(coordinator, deadline)?;
    let network = |source| Error::Io {
        what: "joining the other workers".to_owned(),
        source,
    };
    let here: IpAddr = first.local_addr().map_err(network)?.ip();
    let listener = TcpListener::bind((here, 0)).map_err(network)?;
    let hello = Hello {
        rank,
        workers,
        port: listener.local_addr().map_err(network)?.port(),
        purpose: purpose.clone(),
    };
    write(&first, Kind::Hello, &json(&hello)?).map_err(network)?;
    let left = deadline.saturating_duration_since(Instant::now()) + HELLO;
    first.set_read_timeout(Some(left)).map_err(network)?;
    let mut bytes = Vec::new();
    read(&first, Kind::Welcome, &mut bytes, LARGEST).map_err(|broken| match broken {
        Broken::Io(source) => Error::Io {
            what: format!("waiting at {coordinator} for the other workers"),
            source,
        },
        Broken::Strange(problem) => Error::Usage(format!(
            "{coordinator} is no first worker: {problem}\nhint: name it with --coordinator HOST:PORT"
        )),
        Broken::Abort(reason) => Error::Usage(format!(
            "the first worker refuses worker {rank}: {reason}\nhint: start all workers with the same configuration, run and build"
        )),
    })?;
    let welcome: Welcome = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Usage(format!("{coordinator} is no first worker: {error}")))?;
    if welcome.others.len() + 1 != workers {
        return Err(Error::Usage(format!(
            "{coordinator} is no first worker of {workers}"
        )));
    }
    let mut connections: Vec<Option<TcpStream>> = (0..workers).map(|_| None).collect();
    connections[0] = Some(first);
    let session = &welcome.session;
    for (other, address) in (1..rank).zip(&welcome.others) {
        let stream = connected(&address.to_string(), deadline + HELLO)?;
        let greeting = Greeting {
            session: session.clone(),
            rank,
        };
        write(&stream, Kind::Greeting, &json(&greeting)?).map_err(network)?;
        connections[other] = Some(stream);
    }
    listener.set_nonblocking(true).map_err(network)?;
    while connections.iter().flatten().count() + 1 < workers {
        if Instant::now() >= deadline + HELLO {
            return Err(network(ErrorKind::TimedOut.into()));
        }
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(PAUSE);
            continue;
        };
        // Who does not know the session's number is none of us.
        if let Some(greeting) = greeted(&stream)
            && greeting.session == *session
            && (rank + 1..workers).contains(&greeting.rank)
        {
            connections[greeting.rank] = Some(stream);
        }
    }
    let tcp = Tcp::new(rank, connections, timeouts.silence).map_err(network)?;
    tcp.barrier()?;
    Ok(tcp)
}

fn greeted(stream: &TcpStream) -> Option<Greeting> {
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut bytes = Vec::new();
    read(stream, Kind::Greeting, &mut bytes, LARGEST).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// A connection to `address`, as soon as somebody listens there.
fn connected(address: &str, deadline: Instant) -> Result<TcpStream> {
    loop {
        let attempt = address.to_socket_addrs().and_then(|mut found| {
            let address = found
                .next()
                .ok_or_else(|| std::io::Error::from(ErrorKind::NotFound))?;
            let left = deadline.saturating_duration_since(Instant::now());
            TcpStream::connect_timeout(&address, left.max(PAUSE))
        });
        match attempt {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                return Err(Error::Usage(format!(
                    "{address:?} is no address: {error}\nhint: --coordinator takes HOST:PORT"
                )));
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(Error::Io {
                    what: format!("connecting to the worker at {address}"),
                    source: error,
                });
            }
            Err(_) => std::thread::sleep(10 * PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;

    use super::*;
    use crate::config::WrittenConfig;
    use crate::parallel::transport::tests::carries;

    const TIMEOUTS: Timeouts = Timeouts {
        join: Duration::from_secs(20),
        silence: Duration::from_secs(20),
    };

    fn purpose(changes: &str) -> Purpose {
        let text = format!("[model]\npreset = \"palm-tiny\"\n{changes}");
        let written: WrittenConfig = toml::from_str(&text).unwrap();
        let config = written.resolve(100, Path::new("test")).unwrap();
        Purpose::new("run", "root", &config)
    }

    fn listener() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    }

    fn led(listener: &TcpListener, workers: usize) -> (Result<Tcp>, Vec<String>) {
        let mut warnings = Vec::new();
        let purpose = purpose("");
        let warn = &mut |message: &str| warnings.push(message.to_owned());
        let tcp = lead(listener, workers, &purpose, TIMEOUTS, &mut || Ok(()), warn);
        (tcp, warnings)
    }

    #[test]
    fn processes_carry_messages() {
        for workers in 2..=5 {
            let (listener, address) = listener();
            std::thread::scope(|scope| {
                for rank in 1..workers {
                    let address = &address;
                    scope.spawn(move || {
                        let purpose = purpose("");
                        carries(&join(address, rank, workers, &purpose, TIMEOUTS).unwrap());
                    });
                }
                carries(&led(&listener, workers).0.unwrap());
            });
        }
    }

    #[test]
    fn strangers_are_refused_and_the_others_meet() {
        let (listener, address) = listener();
        std::thread::scope(|scope| {
            let leading = scope.spawn(|| led(&listener, 2));
            // One who says nothing, and waits.
            let silent = TcpStream::connect(&address).unwrap();
            let mut garbage: Vec<Vec<u8>> = vec![
                b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
                vec![0xff; 100],
                // A hello of 2^63 bytes.
                [&b"ADP1\x03\0\0\0"[..], &[0, 0, 0, 0, 0, 0, 0, 0x80]].concat(),
                // A hello of two bytes that is no hello.
                [&b"ADP1\x03\0\0\0"[..], &[2, 0, 0, 0, 0, 0, 0, 0], b"{}"].concat(),
                // Numbers of a step.
                [&b"ADP1\x01\0\0\0"[..], &[0; 8]].concat(),
            ];
            garbage.extend((0..40).map(|length| vec![b'A'; length]));
            for bytes in &garbage {
                TcpStream::connect(&address)
                    .unwrap()
                    .write_all(bytes)
                    .unwrap();
            }
            for (wrong, rank, workers, told) in [
                (
                    purpose("[schedule]\nsteps = 7\nwarmup-steps = 1"),
                    1,
                    2,
                    "schedule.steps",
                ),
                (
                    purpose("[compute]\ndevice = \"portable\""),
                    1,
                    2,
                    "compute.device",
                ),
                (
                    Purpose {
                        root: "other".to_owned(),
                        ..purpose("")
                    },
                    1,
                    2,
                    "its build is other",
                ),
                (
                    Purpose {
                        run: "other".to_owned(),
                        ..purpose("")
                    },
                    1,
                    2,
                    "its run is other",
                ),
                (
                    Purpose {
                        program: "9".to_owned(),
                        ..purpose("")
                    },
                    1,
                    2,
                    "its version",
                ),
                (purpose(""), 1, 3, "one of 3 workers"),
                (purpose(""), 2, 2, "rank 2"),
                (purpose(""), 0, 2, "rank 0 is taken"),
            ] {
                let error = join(&address, rank, workers, &wrong, TIMEOUTS).unwrap_err();
                assert_eq!(error.exit_code(), 2);
                assert!(error.to_string().contains(told), "{error}");
            }
            let recomputed = purpose("[compute]\nrecompute = true");
            let address = &address;
            let second = scope.spawn(move || {
                let tcp = join(address, 1, 2, &recomputed, TIMEOUTS).unwrap();
                tcp.all_gather(b"second").unwrap()
            });
            let (tcp, warnings) = leading.join().unwrap();
            let all = tcp.unwrap().all_gather(b"first").unwrap();
            assert_eq!(all, [&b"first"[..], b"second"]);
            assert_eq!(all, second.join().unwrap());
            assert!(warnings.len() >= 8, "{warnings:?}");
            drop(silent);
        });
    }

    #[test]
    fn who_does_not_come_is_named() {
        let (listener, address) = listener();
        let timeouts = Timeouts {
            join: Duration::from_millis(300),
            ..TIMEOUTS
        };
        std::thread::scope(|scope| {
            let second = scope.spawn(|| join(&address, 1, 3, &purpose(""), TIMEOUTS).unwrap_err());
            let error = lead(
                &listener,
                3,
                &purpose(""),
                timeouts,
                &mut || Ok(()),
                &mut |_| {},
            )
            .unwrap_err();
            assert_eq!(error.exit_code(), 10);
            assert!(
                error.to_string().contains("workers 2 did not come"),
                "{error}"
            );
            let error = second.join().unwrap();
            assert!(
                error.to_string().contains("workers 2 did not come"),
                "{error}"
            );
        });
        drop(listener);
        let error = join(&address, 1, 2, &purpose(""), timeouts).unwrap_err();
        assert!(
            error.to_string().contains(&address) && error.exit_code() == 10,
            "{error}"
        );
        let error = join("nonsense", 1, 2, &purpose(""), timeouts).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
    }

    #[test]
    fn a_worker_that_goes_or_is_silent_or_babbles_is_named_in_time() {
        let timeouts = Timeouts {
            silence: Duration::from_millis(300),
            ..TIMEOUTS
        };
        for (deed, told) in [
            ("goes", "it has gone"),
            ("waits", "said nothing"),
            ("babbles", "no message"),
            ("gives up", "disk is full"),
        ] {
            let (listener, address) = listener();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let tcp = join(&address, 1, 2, &purpose(""), TIMEOUTS).unwrap();
                    match deed {
                        "waits" => std::thread::sleep(Duration::from_secs(1)),
                        "babbles" => tcp.babble(b"It was a dark and stormy night"),
                        "gives up" => tcp.abort("the disk is full"),
                        _ => {}
                    }
                });
                let purpose = purpose("");
                let tcp = lead(
                    &listener,
                    2,
                    &purpose,
                    timeouts,
                    &mut || Ok(()),
                    &mut |_| {},
                )
                .unwrap();
                let start = Instant::now();
                // More than the system takes without a reader.
                let error = tcp.all_gather(&vec![0; 40 << 20]).unwrap_err();
                assert!(matches!(error, Error::Worker { rank: 1, .. }) && error.exit_code() == 10);
                assert!(error.to_string().contains(told), "{deed}: {error}");
                assert!(start.elapsed() < Duration::from_secs(5));
            });
        }
    }
}
