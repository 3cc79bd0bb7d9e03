//! Brings remote files to this machine: several at once, each once, and every hash that is learned on the way into the lock
//! file. Which came first leaves no trace: the places are in plan order, and so is the failure that is told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::BuildError;
use super::extract::Places;
use crate::fetch::{FetchError, FetchEvent, Hub, HubOptions, Parts, Pin, Store, Web, free_bytes};
use crate::lock::Lock;
use crate::plan::{PlannedDataset, Unit};
use crate::progress::{Event, Progress, Stage};
use crate::read::{
    Compression, FileFormat, PARQUET_TAIL_BYTES, ReadOptions, Share, parquet_extents,
    parquet_footer_bytes,
};
use crate::render::Render;
use crate::source::{self, Location, PlannedFile, object_name};

/// Files at once. Connections are bounded by the clients; a thread that has none waits.
const AT_ONCE: usize = 8;
/// What must be free beside the missing bytes, as a share of them: file systems round up, and others write too.
const SPARE_SHARE: u64 = 10;

/// Parts that stand less far apart than this are brought as one.
const NEAR_BYTES: u64 = 128 << 10;

/// A content that is wanted, perhaps by several files of the plan.
struct Wanted<'a> {
    dataset: &'a str,
    file: &'a PlannedFile,
    /// What is read of it, where that is not the whole.
    part: Option<Part<'a>>,
}

/// A share of a parquet file's blocks, whose bytes can be had without the others.
#[derive(Clone, Copy)]
struct Part<'a> {
    dataset: &'a PlannedDataset,
    share: Share,
}

impl Wanted<'_> {
    /// About how many bytes of it are read.
    fn bytes(&self) -> u64 {
        let share = self.part.map(|part| part.share.take);
        share.map_or(self.file.bytes, |take| take.min(self.file.bytes))
    }
}

struct Clients {
    hub: Option<Hub>,
    web: Option<Web>,
    /// By address.
    stores: BTreeMap<String, Store>,
}

/// Where downloads lie, and where their hashes are pinned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    /// The work folder.
    pub(super) work: &'a Path,
    /// The lock file.
    pub(super) lock: &'a Path,
}

/// Local places of all files of `datasets`, of which remote ones are downloaded or found in their caches.
pub(super) fn fetch(
    datasets: &[&PlannedDataset],
    kept: Kept<'_>,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Places, BuildError> {
    let (wanted, number) = wanted(datasets);
    let total: u64 = wanted.iter().map(Wanted::bytes).sum();
    if total > 0 {
        progress.event(&Event::Stage {
            stage: Stage::Fetch,
            total,
        });
    }
    let downloads = source::downloads(kept.work);
    let clients = connect(&wanted, &downloads)?;
    must_fit(&wanted, &clients)?;
    let (local, learned) = bring(&wanted, &clients, &downloads, progress, stop);
    // What was learned is kept even where something else failed.
    keep(learned, kept)?;
    let local = local?;
    let place = |unit: &Unit, file: &PlannedFile| match &file.location {
        Location::Local { path, .. } => path.clone(),
        remote => local[number[&(key(remote), unit.share)]].clone(),
    };
    let places = datasets.iter().map(|dataset| {
        let units = dataset.units.iter();
        units
            .map(|unit| unit.files.iter().map(|file| place(unit, file)).collect())
            .collect()
    });
    Ok(places.collect())
}

/// The remote files of datasets, each content at its address once, and their numbers by address and share.
#[expect(clippy::type_complexity, reason = "said in words above")]
fn wanted<'a>(
    datasets: &[&'a PlannedDataset],
) -> (Vec<Wanted<'a>>, BTreeMap<(String, Option<Share>), usize>) {
    let mut wanted = Vec::new();
    let mut number = BTreeMap::new();
    for &dataset in datasets {
        for unit in &dataset.units {
            for file in unit.files.iter().filter(|file| file.location.is_remote()) {
                let name = (key(&file.location), unit.share);
                number.entry(name).or_insert_with(|| {
                    wanted.push(Wanted {
                        dataset: &dataset.name,
                        file,
                        part: part(dataset, unit, file),
                    });
                    wanted.len() - 1
                });
            }
        }
    }
    (wanted, number)
}

/// Whether the bytes that are read of a file can be had without the others.
fn part<'a>(dataset: &'a PlannedDataset, unit: &Unit, file: &PlannedFile) -> Option<Part<'a>> {
    let can = unit.format == FileFormat::Parquet
        && unit.compression == Compression::None
        && matches!(file.location, Location::Hub { .. });
    let share = unit.share.filter(|_| can)?;
    Some(Part { dataset, share })
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

fn connect(wanted: &[Wanted<'_>], downloads: &Path) -> Result<Clients, BuildError> {
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
        clients.web = Some(Web::from_env(downloads).map_err(|error| failed(wanted, error))?);
    }
    Ok(clients)
}

/// Refuses, before a byte is asked for, what the disks of the caches cannot take.
fn must_fit(wanted: &[Wanted<'_>], clients: &Clients) -> Result<(), BuildError> {
    let mut missing: BTreeMap<&Path, (u64, &str)> = BTreeMap::new();
    for of in wanted {
        let Wanted { dataset, file, .. } = of;
        let (folder, bytes) = match (&file.location, clients) {
            (
                Location::Hub {
                    repository, file, ..
                },
                Clients { hub: Some(hub), .. },
            ) => (
                hub.cache(),
                hub.missing_bytes(repository, file).min(of.bytes()),
            ),
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
    downloads: &Path,
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
                    let result = one(wanted, clients, downloads, progress, halt);
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

fn one(
    wanted: &Wanted<'_>,
    clients: &Clients,
    downloads: &Path,
    progress: &dyn Progress,
    halt: &AtomicBool,
) -> Came {
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
    match &wanted.file.location {
        Location::Local { path, .. } => Ok((path.clone(), None)),
        Location::Hub {
            repository,
            commit,
            file,
        } => {
            let hub = clients.hub.as_ref().expect(connected);
            // What is whole in the cache need not be there twice.
            if let Some(part) = wanted.part
                && hub.missing_bytes(repository, file) > 0
            {
                let mut parts = hub.parts(halt, repository, commit, file, downloads)?;
                if bring_part(&mut parts, part, file.bytes, halt, &on_event)? {
                    return Ok((parts.path(), None));
                }
            }
            let path = hub.fetch_until(halt, repository, commit, file, &on_event)?;
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

/// Brings the footer of a parquet file and the row groups that hold the blocks of a share. False where the file is not what
/// that takes, or its server does not send parts.
fn bring_part(
    parts: &mut Parts<'_>,
    part: Part<'_>,
    bytes: u64,
    halt: &AtomicBool,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<bool, FetchError> {
    if bytes < PARQUET_TAIL_BYTES {
        return Ok(false);
    }
    // The footer is a hundredth of a percent of a usual file and comes with its tail, as a rule.
    let near_end = bytes.saturating_sub(NEAR_BYTES);
    if !parts.bring(halt, near_end..bytes, on_event)? {
        return Ok(false);
    }
    let mut tail = [0; 8];
    parts.read_at(&mut tail, bytes - PARQUET_TAIL_BYTES)?;
    let Some(footer) = parquet_footer_bytes(tail).filter(|footer| *footer <= bytes) else {
        return Ok(false);
    };
    if !parts.bring(halt, bytes - footer..bytes, on_event)? {
        return Ok(false);
    }
    let options = read_options(part.dataset);
    let Ok(mut extents) = parquet_extents(&parts.path(), &options, part.share) else {
        return Ok(false);
    };
    extents.sort_by_key(|extent| extent.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for extent in extents {
        match joined.last_mut() {
            Some(last) if extent.start <= last.end.saturating_add(NEAR_BYTES) => {
                last.end = last.end.max(extent.end);
            }
            _ => joined.push(extent),
        }
    }
    let wanted: u64 = joined.iter().map(|extent| extent.end - extent.start).sum();
    // Nearly everything is better had whole, and held against its hash.
    if wanted > bytes / 2 {
        return Ok(false);
    }
    for extent in joined {
        if !parts.bring(halt, extent, on_event)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// As the rows are read later: the columns that the render asks for.
fn read_options(dataset: &PlannedDataset) -> ReadOptions {
    let render = Render::new(&dataset.render).ok();
    ReadOptions {
        format: Some(FileFormat::Parquet),
        compression: Some(Compression::None),
        fields: render.map(|render| render.fields()),
        ..dataset.read.clone()
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
fn keep(learned: Vec<Learned>, kept: Kept<'_>) -> Result<(), BuildError> {
    if learned.is_empty() {
        return Ok(());
    }
    let listings = kept.work.join("listings");
    let mut lock = Lock::open(kept.lock, &listings).map_err(std::io::Error::other)?;
    for Learned { url, pin } in learned {
        lock.pin_web(&url, &pin);
    }
    lock.save()?;
    Ok(())
}
