//! Brings remote files to this machine: several at once, each once, and every hash that is learned on the way into the lock
//! file. Which came first leaves no trace: the places are in plan order, and so is the failure that is told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::extract::Places;
use super::{BuildError, BuildOptions};
use crate::fetch::{FetchError, FetchEvent, Hub, HubOptions, Pin, Store, Web, free_bytes};
use crate::lock::Lock;
use crate::plan::Plan;
use crate::progress::{Event, Progress, Stage};
use crate::source::{self, Location, PlannedFile, object_name};

/// Files at once. Connections are bounded by the clients; a thread that has none waits.
const AT_ONCE: usize = 8;
/// What must be free beside the missing bytes, as a share of them: file systems round up, and others write too.
const SPARE_SHARE: u64 = 10;

/// A content that is wanted, perhaps by several files of the plan.
struct Wanted<'a> {
    dataset: &'a str,
    file: &'a PlannedFile,
}

struct Clients {
    hub: Option<Hub>,
    web: Option<Web>,
    /// By address.
    stores: BTreeMap<String, Store>,
}

/// Local places of all files of the plan, of which remote ones are downloaded or found in their caches.
pub(super) fn fetch(
    plan: &Plan,
    options: &BuildOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Places, BuildError> {
    let (wanted, number) = wanted(plan);
    let total: u64 = wanted.iter().map(|wanted| wanted.file.bytes).sum();
    if total > 0 {
        progress.event(&Event::Stage {
            stage: Stage::Fetch,
            total,
        });
    }
    let clients = connect(&wanted, options)?;
    must_fit(&wanted, &clients)?;
    let (local, learned) = bring(&wanted, &clients, progress, stop);
    // What was learned is kept even where something else failed.
    keep(learned, options)?;
    let local = local?;
    let place = |file: &PlannedFile| match &file.location {
        Location::Local { path, .. } => path.clone(),
        remote => local[number[&key(remote)]].clone(),
    };
    let places = plan.datasets.iter().map(|dataset| {
        let units = dataset.units.iter();
        units
            .map(|unit| unit.files.iter().map(place).collect())
            .collect()
    });
    Ok(places.collect())
}

/// The remote files of a plan, each content at its address once, and their numbers by address.
fn wanted(plan: &Plan) -> (Vec<Wanted<'_>>, BTreeMap<String, usize>) {
    let mut wanted = Vec::new();
    let mut number = BTreeMap::new();
    for dataset in &plan.datasets {
        for file in dataset.units.iter().flat_map(|unit| &unit.files) {
            if !file.location.is_remote() {
                continue;
            }
            number.entry(key(&file.location)).or_insert_with(|| {
                wanted.push(Wanted {
                    dataset: &dataset.name,
                    file,
                });
                wanted.len() - 1
            });
        }
    }
    (wanted, number)
}

/// What tells remote files apart.
fn key(location: &Location) -> String {
    match location {
        Location::Local { path, .. } => path.display().to_string(),
        Location::Hub {
            repository,
            commit,
            file,
        } => format!("{repository} {commit} {}", file.path),
        Location::Web { url, pin } => format!("{url} {}", pin.version(url)),
        Location::Store { url, key, pin } => {
            let name = object_name(url, key);
            format!("{name} {}", pin.version(&name))
        }
    }
}

fn connect(wanted: &[Wanted<'_>], options: &BuildOptions) -> Result<Clients, BuildError> {
    let first = |of: fn(&Location) -> bool| wanted.iter().find(|wanted| of(&wanted.file.location));
    let failed = |wanted: &Wanted<'_>, error| BuildError::Fetch {
        dataset: wanted.dataset.to_owned(),
        error,
    };
    let mut clients = Clients {
        hub: None,
        web: None,
        stores: BTreeMap::new(),
    };
    if let Some(wanted) = first(|location| matches!(location, Location::Hub { .. })) {
        clients.hub = Some(Hub::from_env().map_err(|error| failed(wanted, error))?);
    }
    for wanted in wanted {
        if let Location::Store { url, .. } = &wanted.file.location
            && !clients.stores.contains_key(url)
        {
            let store = HubOptions::from_env().and_then(|options| Store::open(url, &options));
            let store = store.map_err(|error| failed(wanted, error))?;
            clients.stores.insert(url.clone(), store);
        }
    }
    let of_web =
        |location: &Location| matches!(location, Location::Web { .. } | Location::Store { .. });
    if let Some(wanted) = first(of_web) {
        let folder = source::downloads(&options.work);
        clients.web = Some(Web::from_env(&folder).map_err(|error| failed(wanted, error))?);
    }
    Ok(clients)
}

/// Refuses, before a byte is asked for, what the disks of the caches cannot take.
fn must_fit(wanted: &[Wanted<'_>], clients: &Clients) -> Result<(), BuildError> {
    let mut missing: BTreeMap<&Path, (u64, &str)> = BTreeMap::new();
    for Wanted { dataset, file } in wanted {
        let (folder, bytes) = match (&file.location, clients) {
            (
                Location::Hub {
                    repository, file, ..
                },
                Clients { hub: Some(hub), .. },
            ) => (hub.cache(), hub.missing_bytes(repository, file)),
            (Location::Web { url, pin }, Clients { web: Some(web), .. }) => {
                (web.folder(), web.missing_bytes(url, pin))
            }
            (Location::Store { url, key, pin }, Clients { web: Some(web), .. }) => {
                let name = object_name(url, key);
                (web.folder(), web.missing_bytes(&name, pin))
            }
            _ => continue,
        };
        let sum = &mut missing.entry(folder).or_insert((0, dataset)).0;
        *sum = sum.saturating_add(bytes);
    }
    for (folder, (missing, dataset)) in missing {
        if missing == 0 {
            continue;
        }
        let needed = missing.saturating_add(missing / SPARE_SHARE);
        let there = folder.ancestors().find(|folder| folder.is_dir());
        let free = there.map_or(Ok(u64::MAX), free_bytes);
        let error = match free {
            Ok(free) if needed <= free => continue,
            Ok(free) => FetchError::NoSpace {
                folder: folder.to_owned(),
                needed,
                free,
            },
            Err(error) => error,
        };
        return Err(BuildError::Fetch {
            dataset: dataset.to_owned(),
            error,
        });
    }
    Ok(())
}

/// What one content came to.
type Came = Result<(PathBuf, Option<Learned>), FetchError>;

/// A hash that was not known before the content came.
struct Learned {
    url: String,
    pin: Pin,
}

/// Downloads everything, or stops at the first failure. In both cases tells what was learned.
fn bring(
    wanted: &[Wanted<'_>],
    clients: &Clients,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> (Result<Vec<PathBuf>, BuildError>, Vec<Learned>) {
    let next = AtomicUsize::new(0);
    let halt = AtomicBool::new(false);
    let came: Vec<Mutex<Came>> = wanted
        .iter()
        .map(|_| Mutex::new(Err(FetchError::Stopped)))
        .collect();
    std::thread::scope(|scope| {
        let (ended, ending) = crossbeam_channel::bounded::<()>(0);
        for _ in 0..AT_ONCE.min(wanted.len()) {
            let ended = ended.clone();
            let (next, halt, came) = (&next, &halt, &came);
            scope.spawn(move || {
                // Dropped with the thread, however it ends.
                let _ended = ended;
                while !halt.load(Ordering::Relaxed) {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(wanted) = wanted.get(i) else { return };
                    let result = one(wanted.file, clients, progress, halt);
                    if result.is_err() {
                        halt.store(true, Ordering::Relaxed);
                    }
                    *came[i]
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner) = result;
                }
            });
        }
        drop(ended);
        // A download looks at one flag alone; whoever asks the run to stop sets another.
        while ending.recv_timeout(std::time::Duration::from_millis(50))
            == Err(crossbeam_channel::RecvTimeoutError::Timeout)
        {
            if stop.load(Ordering::Relaxed) {
                halt.store(true, Ordering::Relaxed);
            }
        }
    });
    let (mut local, mut learned) = (Vec::new(), Vec::new());
    let mut failure: Option<(&str, FetchError)> = None;
    for (wanted, came) in wanted.iter().zip(came) {
        match came
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
        {
            Ok((path, news)) => {
                local.push(path);
                learned.extend(news);
            }
            Err(error) => match &failure {
                // Those that were stopped were so for a reason.
                Some((_, FetchError::Stopped)) | None => failure = Some((wanted.dataset, error)),
                Some(_) => {}
            },
        }
    }
    let result = match failure {
        None => Ok(local),
        Some((_, FetchError::Stopped)) => Err(BuildError::Interrupted),
        Some((dataset, error)) => Err(BuildError::Fetch {
            dataset: dataset.to_owned(),
            error,
        }),
    };
    (result, learned)
}

fn one(file: &PlannedFile, clients: &Clients, progress: &dyn Progress, halt: &AtomicBool) -> Came {
    let on_event = |event: FetchEvent<'_>| {
        let (by, reused) = match event {
            FetchEvent::Received { bytes } => (bytes, false),
            FetchEvent::Cached { bytes } | FetchEvent::Started { kept: bytes, .. } => (bytes, true),
            _ => return,
        };
        progress.event(&Event::Advanced {
            stage: Stage::Fetch,
            by,
            reused,
        });
    };
    let connected = "a client is made for every kind of place that is wanted";
    match &file.location {
        Location::Local { path, .. } => Ok((path.clone(), None)),
        Location::Hub {
            repository,
            commit,
            file,
        } => {
            let hub = clients.hub.as_ref().expect(connected);
            let path = hub.fetch_unless(halt, repository, commit, file, &on_event)?;
            Ok((path, None))
        }
        Location::Web { url, pin } => {
            let web = clients.web.as_ref().expect(connected);
            let (path, sha256) = web.fetch(halt, url, pin, &on_event)?;
            Ok((path, learned(url.clone(), pin, sha256)))
        }
        Location::Store { url, key, pin } => {
            let web = clients.web.as_ref().expect(connected);
            let store = clients.stores.get(url).expect(connected);
            let name = object_name(url, key);
            let (path, sha256) =
                web.fetch_at(halt, &name, &|| store.address(key), pin, &on_event)?;
            Ok((path, learned(name, pin, sha256)))
        }
    }
}

fn learned(url: String, pin: &Pin, sha256: String) -> Option<Learned> {
    pin.sha256.is_none().then(|| Learned {
        url,
        pin: Pin {
            sha256: Some(sha256),
            ..pin.clone()
        },
    })
}

/// Pins hashes that were learned.
fn keep(learned: Vec<Learned>, options: &BuildOptions) -> Result<(), BuildError> {
    if learned.is_empty() {
        return Ok(());
    }
    let mut lock =
        Lock::open(&options.lock, &options.work.join("listings")).map_err(std::io::Error::other)?;
    for Learned { url, pin } in learned {
        lock.pin_web(&url, &pin);
    }
    lock.save()?;
    Ok(())
}
