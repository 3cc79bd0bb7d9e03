//! Which worker of a run this process is, and how it finds the others.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use andromeda_trainer::device::LOCAL_RANK;
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::parallel::rendezvous::{MOST_WORKERS, Purpose, Timeouts, join, lead};
use andromeda_trainer::parallel::{Alone, Tcp, Transport};
use andromeda_trainer::progress::{Event, Progress};

use crate::cli::{TransportName, WorkersArgs};

/// How long workers that were started here may take to end by themselves.
const TO_END: Duration = Duration::from_secs(10);

/// What the command line and the environment say.
pub(crate) struct Place {
    kind: Kind,
    workers: usize,
    transport: TransportName,
    timeouts: Timeouts,
}

enum Kind {
    /// The first or only one; the others are started here.
    Starts,
    /// One of several that are started elsewhere.
    Joins { rank: usize, coordinator: String },
}

impl Place {
    pub(crate) fn of(arguments: &WorkersArgs) -> Result<Self> {
        let place = |kind, workers| {
            if (1..=MOST_WORKERS).contains(&workers) {
                let timeouts = Timeouts {
                    join: Duration::from_secs(arguments.join_seconds),
                    // A time of zero is none at all.
                    silence: Duration::from_secs(arguments.silence_seconds.max(1)),
                };
                if arguments.transport == TransportName::Nccl && !cfg!(feature = "nccl") {
                    return Err(without_nccl());
                }
                return Ok(Self {
                    kind,
                    workers,
                    transport: arguments.transport,
                    timeouts,
                });
            }
            Err(Error::Usage(format!(
                "there can be 1 to {MOST_WORKERS} workers, not {workers}"
            )))
        };
        if let Some(workers) = arguments.workers {
            return place(Kind::Starts, workers);
        }
        let asked = arguments.rank.is_some() || arguments.coordinator.is_some();
        let workers = match arguments.world_size {
            Some(workers) => Some(workers),
            None => number("WORLD_SIZE")?,
        };
        // Only one is no group, whatever else the environment says.
        let Some(workers) = workers.filter(|&workers| workers != 1 || asked) else {
            if asked {
                return Err(missing("--world-size", "WORLD_SIZE"));
            }
            return place(Kind::Starts, 1);
        };
        let rank = match arguments.rank {
            Some(rank) => Some(rank),
            None => number("RANK")?,
        };
        let rank = rank.ok_or_else(|| missing("--rank", "RANK"))?;
        if rank >= workers {
            return Err(Error::Usage(format!(
                "--rank must be below --world-size, {workers}, not {rank}"
            )));
        }
        let coordinator = match &arguments.coordinator {
            Some(coordinator) => coordinator.clone(),
            None => match (variable("MASTER_ADDR"), variable("MASTER_PORT")) {
                (Some(host), Some(port)) => format!("{host}:{port}"),
                _ => return Err(missing("--coordinator", "MASTER_ADDR and MASTER_PORT")),
            },
        };
        place(Kind::Joins { rank, coordinator }, workers)
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    pub(crate) fn is_first(&self) -> bool {
        !matches!(self.kind, Kind::Joins { rank: 1.., .. })
    }

    /// Finds the others, which would train the same.
    pub(crate) fn connect(
        self,
        purpose: &Purpose,
        progress: &mut dyn Progress,
    ) -> Result<Connected> {
        let Self {
            kind,
            workers,
            transport,
            timeouts,
        } = self;
        let over = |tcp| over(tcp, transport, purpose, timeouts);
        let mut children = Children(Vec::new());
        let alone = matches!(kind, Kind::Starts) && workers == 1;
        let address = match kind {
            Kind::Starts if alone => {
                return Ok(Connected {
                    transport: Box::new(Alone),
                    _children: children,
                });
            }
            Kind::Starts => "127.0.0.1:0".to_owned(),
            Kind::Joins { rank, coordinator } if rank > 0 => {
                let tcp = join(&coordinator, rank, workers, purpose, timeouts)?;
                return Ok(Connected {
                    transport: over(tcp)?,
                    _children: children,
                });
            }
            Kind::Joins { coordinator, .. } => {
                let message = format!("waiting at {coordinator} for {} workers", workers - 1);
                progress.report(&Event::Warned { message: &message });
                coordinator
            }
        };
        let listener = TcpListener::bind(&address).map_err(|source| Error::Io {
            what: format!("listening at {address} for other workers (another --coordinator HOST:PORT may be free)"),
            source,
        })?;
        if address.ends_with(":0") {
            let address = listener.local_addr().map_err(|source| Error::Io {
                what: "listening for other workers".to_owned(),
                source,
            })?;
            children.start(workers, &address.to_string())?;
        }
        let mut warn = |message: &str| progress.report(&Event::Warned { message });
        let mut attend = || children.attend();
        let tcp = lead(
            &listener,
            workers,
            purpose,
            timeouts,
            &mut attend,
            &mut warn,
        )?;
        Ok(Connected {
            transport: over(tcp)?,
            _children: children,
        })
    }
}

/// What workers that found each other by TCP go on talking by.
fn over(
    tcp: Tcp,
    transport: TransportName,
    purpose: &Purpose,
    timeouts: Timeouts,
) -> Result<Box<dyn Transport>> {
    match transport {
        TransportName::Tcp => Ok(Box::new(tcp)),
        TransportName::Nccl => by_nccl(tcp, purpose, timeouts),
    }
}

#[cfg(feature = "nccl")]
fn by_nccl(tcp: Tcp, purpose: &Purpose, timeouts: Timeouts) -> Result<Box<dyn Transport>> {
    use andromeda_trainer::config::DeviceName;
    use andromeda_trainer::device::gpu;
    use andromeda_trainer::parallel::Nccl;

    let device = purpose.config.compute.device;
    if !matches!(device, DeviceName::Cuda | DeviceName::CudaPortable) {
        let error = Error::Usage(
            "--transport nccl is for workers with a GPU each\nhint: set compute.device = \"cuda\", or leave it out"
                .to_owned(),
        );
        tcp.abort(&error.to_string());
        return Err(error);
    }
    Ok(Box::new(Nccl::new(tcp, gpu()?, timeouts.silence)?))
}

#[cfg(not(feature = "nccl"))]
fn by_nccl(_: Tcp, _: &Purpose, _: Timeouts) -> Result<Box<dyn Transport>> {
    Err(without_nccl())
}

fn without_nccl() -> Error {
    Error::Usage(
        "this program was built without nccl\nhint: build it with `cargo build --release --features nccl --bin andromeda-train`, or leave --transport out: workers then talk by TCP"
            .to_owned(),
    )
}

/// The connections to the others. When it is dropped those that were started here are waited for.
pub(crate) struct Connected {
    // Before the children, so that they see the connection end.
    transport: Box<dyn Transport>,
    _children: Children,
}

impl Connected {
    pub(crate) fn transport(&self) -> &dyn Transport {
        &*self.transport
    }
}

/// Workers that this process started, from the second on.
struct Children(Vec<Child>);

impl Children {
    /// Starts this program again for each of them, as it was called itself.
    fn start(&mut self, workers: usize, coordinator: &str) -> Result<()> {
        let starting = |source| Error::Io {
            what: "starting a worker".to_owned(),
            source,
        };
        let program = std::env::current_exe().map_err(starting)?;
        let mut arguments = Vec::new();
        let mut given = std::env::args_os().skip(1);
        while let Some(argument) = given.next() {
            let bytes = argument.as_encoded_bytes();
            if bytes == b"--workers" {
                given.next();
            } else if !bytes.starts_with(b"--workers=") {
                arguments.push(argument);
            }
        }
        // Each of them with all threads would only be in the others' way.
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (threads / workers).max(1);
        let told = variable("RAYON_NUM_THREADS").is_some();
        super::threads::begin((!told).then_some(threads))?;
        for rank in 1..workers {
            let mut command = Command::new(&program);
            command
                .args(&arguments)
                .stdin(Stdio::null())
                .stdout(Stdio::null());
            command.args(["--coordinator", coordinator, "--rank", &rank.to_string()]);
            command.args(["--world-size", &workers.to_string()]);
            command.env(LOCAL_RANK, rank.to_string());
            if !told {
                command.env("RAYON_NUM_THREADS", threads.to_string());
            }
            self.0.push(command.spawn().map_err(starting)?);
        }
        Ok(())
    }

    /// Fails if one of them has ended.
    fn attend(&mut self) -> Result<()> {
        for (child, rank) in self.0.iter_mut().zip(1..) {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Error::Worker {
                    rank,
                    problem: format!("it ended before all were there, with {status}"),
                });
            }
        }
        Ok(())
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        let start = Instant::now();
        for child in &mut self.0 {
            // They end with the run or with the connection; none is left behind.
            while let Ok(None) = child.try_wait() {
                if start.elapsed() >= TO_END {
                    let _ = child.kill();
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn number(name: &str) -> Result<Option<usize>> {
    let Some(value) = variable(name) else {
        return Ok(None);
    };
    value.parse().map(Some).map_err(|_| {
        Error::Usage(format!(
            "the variable {name} is {value:?} and should be a number"
        ))
    })
}

fn missing(option: &str, variable: &str) -> Error {
    Error::Usage(format!(
        "several workers need {option} or {variable}\nhint: all of them take --coordinator HOST:PORT, --rank and --world-size; or start them here with --workers N"
    ))
}
