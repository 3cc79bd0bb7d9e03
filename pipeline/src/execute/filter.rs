//! Files to files: the documents that profiles of rules keep, with all of their fields as they were.
//!
//! One pass: a thread cuts a block from a file, judges its documents, and puts what stays behind what came before; rows are
//! copied byte for byte (JSON Lines) or column by column (parquet), but for what a profile edits in their text. A row
//! without text is judged by nobody: it is copied and counted. Files are many at once, blocks of one file too, and leave no
//! trace of who did what. The folder is filled aside and is there whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cpu::Watch;
use super::profiles::{Profiles, Room, Said};
use super::{Fault, Rate};
use crate::digest::Stamp;
use crate::filter::lists::Lists;
use crate::filter::named::NamedProfile;
use crate::filter::rules;
use crate::plan::{Plan, PlannedDataset, Unit};
use crate::progress::{Event, Progress, Stage};
use crate::publish::{NewFolder, PublishError};
use crate::read::{
    self, Block, BlockSource, Compression, Fate, FileFormat, ParquetCopy, ReadError, Row, RowFault,
};
use crate::render::{Content, Render, RenderError};
use crate::source::Location;

/// Undecoded bytes of a block: what a thread works on, and what is held of a file while it does.
const BLOCK_BYTES: usize = 4 << 20;

/// How files are filtered.
#[derive(Debug, Clone)]
pub struct FilterFiles {
    /// Folder that is made.
    pub out: PathBuf,
    /// Profiles; a document stays that all of them keep.
    pub profiles: Vec<NamedProfile>,
    /// Where the lists are that profiles name.
    pub lists: Lists,
    /// Where a line a row goes that says what each profile says of it.
    pub verdicts: Option<PathBuf>,
    /// The field with the id.
    pub id: String,
    /// Worker threads. They change no byte.
    pub threads: usize,
    /// Rows of files of lines that cannot be read to their end are taken as far as they go, and parquet files that cannot are
    /// left out.
    pub skip_bad_files: bool,
}

/// What a profile said of documents, each as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileCounts {
    /// Documents that it keeps.
    pub kept: u64,
    /// Documents that it drops, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// What became of a file's rows: `rows = kept + dropped + unjudged`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCounts {
    /// Rows that were read.
    pub rows: u64,
    /// Documents that all profiles keep: they were copied.
    pub kept: u64,
    /// Those of them whose text was edited.
    pub edited: u64,
    /// Documents that went, by the first profile that drops them and its reason.
    pub dropped: BTreeMap<String, BTreeMap<String, u64>>,
    /// Rows without text, by what is wrong with them: they were copied.
    pub unjudged: BTreeMap<String, u64>,
    /// Bytes of the documents' texts as they came.
    pub text_bytes: u64,
    /// Bytes of the texts that were kept, as they are now.
    pub kept_text_bytes: u64,
    /// What each profile said of all documents, whatever the others say; where verdicts are written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, ProfileCounts>,
}

fn add_counts(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (reason, count) in from {
        *into.entry(reason.clone()).or_default() += count;
    }
}

impl FileCounts {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.kept += other.kept;
        self.edited += other.edited;
        self.text_bytes += other.text_bytes;
        self.kept_text_bytes += other.kept_text_bytes;
        for (profile, dropped) in &other.dropped {
            add_counts(self.dropped.entry(profile.clone()).or_default(), dropped);
        }
        add_counts(&mut self.unjudged, &other.unjudged);
        for (profile, counts) in &other.profiles {
            let own = self.profiles.entry(profile.clone()).or_default();
            own.kept += counts.kept;
            add_counts(&mut own.dropped, &counts.dropped);
        }
    }

    /// Documents that went.
    #[must_use]
    pub fn dropped_documents(&self) -> u64 {
        self.dropped.values().flat_map(BTreeMap::values).sum()
    }

    fn balances(&self) -> bool {
        let unjudged: u64 = self.unjudged.values().sum();
        let documents = self.rows - unjudged.min(self.rows);
        let of_all = |counts: &ProfileCounts| {
            counts.kept + counts.dropped.values().sum::<u64>() == documents
        };
        documents == self.kept + self.dropped_documents() && self.profiles.values().all(of_all)
    }
}

/// A profile as it was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileUsed {
    /// Its name.
    pub name: String,
    /// Its rules and the values that are written over the published ones.
    pub options: Value,
    /// Name and version of each rule, where it lists them.
    pub versions: Vec<String>,
}

/// A file that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadFile {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// `filter.json`: what was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The profiles, in the order in which they were asked.
    pub profiles: Vec<ProfileUsed>,
    /// The field with the text.
    pub text: String,
    /// The field with the id.
    pub id: String,
    /// Counts of each file, by its name.
    pub files: BTreeMap<String, FileCounts>,
    /// Their sum.
    pub total: FileCounts,
    /// Files that could not be read to their end, of which rows are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_files: Vec<BadFile>,
}

/// Filtered files.
#[derive(Debug)]
pub struct Filtered {
    /// What was done.
    pub report: Report,
    /// How fast it went.
    pub rates: Vec<Rate>,
    /// Files that could not be read to their end.
    pub faults: Vec<Fault>,
}

/// The report's name in the folder.
pub const REPORT: &str = "filter.json";

/// Why there are no filtered files.
#[derive(Debug, thiserror::Error)]
pub enum FilterFilesError {
    /// The folder.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A profile that nothing can be judged by.
    #[error("profile {name}: {why}")]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The name of a field is none.
    #[error(transparent)]
    Field(#[from] RenderError),
    /// Two files of the folder would have one name.
    #[error("two files of {} would be called {name}: {way_out}", folder.display())]
    Names {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: String,
        /// What to do.
        way_out: &'static str,
    },
    /// Files that could not be read to their end.
    #[error("{} of the files could not be read to the end, so none is written. {}", .0.len(), way_out(.0))]
    BadFiles(Vec<Fault>),
    /// A file that somebody writes to.
    #[error("{} changed while it was read; run again when it is at rest", .0.display())]
    Changed(PathBuf),
    /// A mistake of the program, found before anything is published.
    #[error("the rows of {} do not add up; please report it", .0.display())]
    Unbalanced(PathBuf),
    /// The machine gave no threads.
    #[error("no worker threads could be started: {0}")]
    Threads(String),
    /// Someone asked it to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

fn way_out(faults: &[Fault]) -> &'static str {
    match faults.iter().any(|fault| fault.passing) {
        true => "Run again when the disk is well",
        false => "Mend them and run again, or take them as far as they go with --skip-bad-files",
    }
}

impl FilterFilesError {
    /// The exit code that it ends a program with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self {
            Self::Publish(PublishError::Taken(_) | PublishError::NoName(_))
            | Self::Profile { .. }
            | Self::Field(_)
            | Self::Names { .. } => exit::USAGE,
            Self::Publish(PublishError::Busy(_)) => exit::BUSY,
            Self::BadFiles(faults) if !faults.iter().any(|fault| fault.passing) => exit::PERMANENT,
            Self::Unbalanced(_) => exit::INTEGRITY,
            Self::Interrupted => exit::INTERRUPTED,
            Self::Publish(PublishError::Io(_))
            | Self::Io(_)
            | Self::BadFiles(_)
            | Self::Changed(_)
            | Self::Threads(_) => exit::RETRIABLE,
        }
    }
}

/// Writes the documents of the files of `plan`, which [`crate::plan::of_files`] made, that all profiles keep. `stop` asks it to
/// end soon, without a result. Holds two blocks a thread, and of a parquet file a batch of rows.
///
/// # Errors
/// [`FilterFilesError`] as its variants say. Nothing is left of the folder then.
pub fn filter(
    plan: &Plan,
    options: &FilterFiles,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Filtered, FilterFilesError> {
    let dataset = &plan.datasets[0];
    let profiles = Profiles::new(&options.profiles, &options.lists)
        .map_err(|(name, why)| FilterFilesError::Profile { name, why })?;
    let reserved = |profile: &&NamedProfile| matches!(profile.name.as_str(), "id" | "unjudged");
    if let (Some(_), Some(profile)) = (&options.verdicts, options.profiles.iter().find(reserved)) {
        return Err(FilterFilesError::Profile {
            name: profile.name.clone(),
            why: "a line of verdicts has another field of this name; give the profile another one"
                .to_owned(),
        });
    }
    let verdicts = options
        .verdicts
        .as_deref()
        .map(|path| Verdicts::new(path, &options.out));
    let verdicts = verdicts.transpose()?;
    check_names(dataset, options, verdicts.as_ref())?;
    let render = Render::new(&dataset.render)?;
    let folder = NewFolder::create(&options.out)?;
    let run = Run {
        dataset,
        options,
        profiles,
        names: options
            .profiles
            .iter()
            .map(|profile| json!(profile.name).to_string())
            .collect(),
        asks_beside: options.profiles.iter().any(|p| p.options.asks_beside()),
        render,
        folder: folder.path(),
        parts: parts_folder(dataset),
        progress,
        stop,
        halt: AtomicBool::new(false),
        held: AtomicUsize::new(0),
    };
    if verdicts.is_some() {
        fs_err::create_dir_all(run.folder.join(&run.parts))?;
    }
    progress.event(&Event::Stage {
        stage: Stage::Filter,
        total: dataset.bytes(),
    });
    let done = run.all()?;
    if stop.load(Ordering::Relaxed) {
        return Err(FilterFilesError::Interrupted);
    }
    let mut report = Report {
        profiles: options.profiles.iter().map(used).collect(),
        text: dataset.render.text.clone().unwrap_or_default(),
        id: options.id.clone(),
        files: BTreeMap::new(),
        total: FileCounts::default(),
        bad_files: Vec::new(),
    };
    let mut faults = Vec::new();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for (unit, ended) in dataset.units.iter().zip(done.files) {
        let name = &unit.files[0].path;
        if let Some(counts) = ended.counts {
            report.total.add(&counts);
            report.files.insert(name.clone(), counts);
            let above = Path::new(name).ancestors().skip(1);
            folders.extend(above.map(|above| run.folder.join(above)));
        }
        if let Some(fault) = ended.fault {
            report.bad_files.push(BadFile {
                file: name.clone(),
                problem: fault.problem.clone(),
            });
            faults.push(fault);
        }
    }
    let passing = faults.iter().any(|fault| fault.passing);
    if !faults.is_empty() && (passing || !options.skip_bad_files) {
        return Err(FilterFilesError::BadFiles(faults));
    }
    let rates = rates(&done.seconds, report.total.text_bytes);
    let bytes = serde_json::to_vec_pretty(&report).map_err(io::Error::from)?;
    let mut file = fs_err::File::create_new(run.folder.join(REPORT))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    if let Some(verdicts) = &verdicts {
        let parts = run.folder.join(&run.parts);
        verdicts.gather(run.folder, &parts, dataset, &report)?;
        fs_err::remove_dir_all(&parts)?;
    }
    for below in folders.iter().rev() {
        fs_err::File::open(below)?.sync_all()?;
    }
    folder.publish()?;
    progress.event(&Event::Finished {
        folder: options.out.clone(),
        root: crate::digest::Digest::of(&bytes).hex(),
    });
    Ok(Filtered {
        report,
        rates,
        faults,
    })
}

fn used(profile: &NamedProfile) -> ProfileUsed {
    ProfileUsed {
        name: profile.name.clone(),
        options: serde_json::to_value(&profile.options).unwrap_or_default(),
        versions: rules::versions(&profile.options),
    }
}

fn rates(seconds: &BTreeMap<String, f64>, bytes: u64) -> Vec<Rate> {
    let parts = ["read", "judge", "write"].into_iter();
    parts
        .filter_map(|part| {
            Some(Rate {
                part: part.to_owned(),
                bytes,
                seconds: *seconds.get(part)?,
            })
        })
        .collect()
}

/// No file may have the name of another.
fn check_names(
    dataset: &PlannedDataset,
    options: &FilterFiles,
    verdicts: Option<&Verdicts>,
) -> Result<(), FilterFilesError> {
    let names = |name: &str, way_out| FilterFilesError::Names {
        folder: options.out.clone(),
        name: name.to_owned(),
        way_out,
    };
    let is_input = |name: &str| dataset.units.iter().any(|unit| unit.files[0].path == name);
    if is_input(REPORT) {
        return Err(names(
            REPORT,
            "it says what was done; rename the input of this name, or name the files beside it instead of their folder",
        ));
    }
    match verdicts.and_then(|verdicts| verdicts.inside.as_deref()) {
        Some(inside) if inside == REPORT || is_input(inside) => {
            Err(names(inside, "name another file for the verdicts"))
        }
        _ => Ok(()),
    }
}

/// A name for the folder of the files' verdicts that no input has.
fn parts_folder(dataset: &PlannedDataset) -> String {
    let mut name = ".verdicts".to_owned();
    let taken = |name: &str| {
        dataset
            .units
            .iter()
            .any(|u| u.files[0].path.starts_with(name))
    };
    while taken(&name) {
        name.push('_');
    }
    name
}

/// Where the verdicts go.
struct Verdicts {
    path: PathBuf,
    /// Its name in the folder that is made, if it is to be there.
    inside: Option<String>,
}

impl Verdicts {
    fn new(path: &Path, out: &Path) -> Result<Self, FilterFilesError> {
        let whole = std::path::absolute(path)?;
        let inside = whole.strip_prefix(std::path::absolute(out)?);
        let inside = inside.ok().and_then(Path::to_str).map(str::to_owned);
        Ok(Self {
            path: whole,
            inside: inside.filter(|inside| !inside.is_empty()),
        })
    }

    /// Puts the verdicts of all files behind each other, in the order of the files, and into their place.
    fn gather(
        &self,
        folder: &Path,
        parts: &Path,
        dataset: &PlannedDataset,
        report: &Report,
    ) -> Result<(), FilterFilesError> {
        let aside = parts.join("all");
        let mut all = fs_err::File::create_new(&aside)?;
        for (number, unit) in dataset.units.iter().enumerate() {
            if report.files.contains_key(&unit.files[0].path) {
                let part = parts.join(number.to_string());
                io::copy(&mut fs_err::File::open(&part)?, &mut all)?;
                fs_err::remove_file(&part)?;
            }
        }
        all.sync_all()?;
        drop(all);
        let target = match &self.inside {
            Some(inside) => folder.join(inside),
            None => self.path.clone(),
        };
        if let Some(above) = target.parent() {
            fs_err::create_dir_all(above)?;
        }
        if fs_err::rename(&aside, &target).is_err() {
            // It lies on another disk.
            let mut beside = target.as_os_str().to_owned();
            beside.push(".part");
            fs_err::copy(&aside, &beside)?;
            fs_err::File::open(&beside)?.sync_all()?;
            fs_err::rename(&beside, &target)?;
        }
        if let Some(above) = target.parent() {
            fs_err::File::open(above)?.sync_all()?;
        }
        Ok(())
    }
}

struct Run<'a> {
    dataset: &'a PlannedDataset,
    options: &'a FilterFiles,
    profiles: Profiles,
    /// The profiles' names as JSON has them.
    names: Vec<String>,
    asks_beside: bool,
    render: Render,
    folder: &'a Path,
    /// In the folder, where each file's verdicts are until all are there.
    parts: String,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
    /// Something failed that ends the run.
    halt: AtomicBool,
    /// Blocks that were read and are not written yet.
    held: AtomicUsize,
}

/// What became of a file: no counts if none of it is there.
#[derive(Debug, Default)]
struct Ended {
    counts: Option<FileCounts>,
    fault: Option<Fault>,
}

#[derive(Debug, Default)]
struct Done {
    files: Vec<Ended>,
    seconds: BTreeMap<String, f64>,
}

/// A file that is being read, judged and written.
struct Stream<'a> {
    number: usize,
    unit: &'a Unit,
    reading: Mutex<Reading>,
    writing: Mutex<Writing>,
}

struct Reading {
    source: Option<Box<dyn BlockSource>>,
    next: u64,
    ended: bool,
}

/// What was written, and what waits for a block before it.
#[derive(Default)]
struct Writing {
    to: Option<(Target, PathBuf)>,
    verdicts: Option<BufWriter<std::fs::File>>,
    next: u64,
    waiting: BTreeMap<u64, Judged>,
    /// How many blocks there are, once that is known.
    blocks: Option<u64>,
    counts: FileCounts,
    /// What ended the file before its end.
    fault: Option<ReadFault>,
    told: u64,
}

/// Why a file cannot be read further.
#[derive(Debug)]
struct ReadFault {
    message: String,
    passing: bool,
}

impl From<ReadError> for ReadFault {
    fn from(error: ReadError) -> Self {
        Self {
            message: error.to_string(),
            passing: error.is_io(),
        }
    }
}

/// A block's rows.
#[derive(Default)]
struct Judged {
    counts: FileCounts,
    /// Survivors, where rows are lines.
    lines: Vec<u8>,
    /// What becomes of each row, where rows are of columns.
    fates: Vec<Fate>,
    verdicts: Vec<u8>,
    bytes: u64,
    fault: Option<ReadFault>,
}

enum Step {
    Worked,
    Waited,
    NothingLeft,
}

struct Queue<'a> {
    next: usize,
    open: Vec<Arc<Stream<'a>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Values go in whole, so that a thread that panicked left no half-made one.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Run<'a> {
    fn all(&self) -> Result<Done, FilterFilesError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.options.threads)
            .thread_name(|i| format!("worker-{i}"))
            .build()
            .map_err(|error| FilterFilesError::Threads(error.to_string()))?;
        let queue = Mutex::new(Queue {
            next: 0,
            open: Vec::new(),
        });
        let done: Mutex<Done> = Mutex::default();
        lock(&done)
            .files
            .resize_with(self.dataset.units.len(), Ended::default);
        let failed: Mutex<Option<FilterFilesError>> = Mutex::default();
        pool.install(|| {
            rayon::scope(|scope| {
                for _ in 0..self.options.threads {
                    scope.spawn(|_| {
                        if let Err(error) = self.work(&queue, &done) {
                            self.halt.store(true, Ordering::Relaxed);
                            lock(&failed).get_or_insert(error);
                        }
                    });
                }
            });
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(done.into_inner().unwrap_or_else(PoisonError::into_inner)),
        }
    }

    fn work(&self, queue: &Mutex<Queue<'a>>, done: &Mutex<Done>) -> Result<(), FilterFilesError> {
        let mut worker = Worker {
            room: Room::default(),
            said: Vec::new(),
            watch: Watch::start(),
        };
        while !self.stop.load(Ordering::Relaxed) && !self.halt.load(Ordering::Relaxed) {
            match self.step(queue, done, &mut worker)? {
                Step::Worked => {}
                // Every open file is being read by somebody else, or enough is held.
                Step::Waited => std::thread::sleep(std::time::Duration::from_millis(1)),
                Step::NothingLeft => break,
            }
        }
        worker.watch.lap("write");
        let mut done = lock(done);
        for (part, seconds) in worker.watch.seconds() {
            *done.seconds.entry(part).or_default() += seconds;
        }
        Ok(())
    }

    /// The next file to read a block of, and whether there may be one later.
    fn choose(&self, queue: &Mutex<Queue<'a>>) -> Result<Arc<Stream<'a>>, Step> {
        let mut queue = lock(queue);
        let reads = |stream: &Arc<Stream<'_>>| stream.reading.try_lock().map_or(true, |r| !r.ended);
        queue.open.retain(reads);
        let units = &self.dataset.units;
        if queue.open.is_empty() && queue.next == units.len() {
            return Err(Step::NothingLeft);
        }
        if self.held.load(Ordering::Relaxed) >= 2 * self.options.threads {
            return Err(Step::Waited);
        }
        let is_free = |stream: &&Arc<Stream<'_>>| stream.reading.try_lock().is_ok();
        if let Some(stream) = queue.open.iter().find(is_free) {
            return Ok(Arc::clone(stream));
        }
        if queue.next == units.len() || queue.open.len() >= self.options.threads {
            return Err(Step::Waited);
        }
        let stream = Arc::new(Stream {
            number: queue.next,
            unit: &units[queue.next],
            reading: Mutex::new(Reading {
                source: None,
                next: 0,
                ended: false,
            }),
            writing: Mutex::default(),
        });
        queue.next += 1;
        queue.open.push(Arc::clone(&stream));
        Ok(stream)
    }

    fn step(
        &self,
        queue: &Mutex<Queue<'a>>,
        done: &Mutex<Done>,
        worker: &mut Worker,
    ) -> Result<Step, FilterFilesError> {
        let stream = match self.choose(queue) {
            Ok(stream) => stream,
            Err(step) => return Ok(step),
        };
        let mut reading = lock(&stream.reading);
        if reading.ended {
            return Ok(Step::Worked);
        }
        worker.watch.lap("write");
        let read = self.next_block(&stream, &mut reading);
        worker.watch.lap("read");
        let block = match read {
            Ok(Some(block)) => block,
            ended => {
                reading.ended = true;
                reading.source = None;
                let blocks = reading.next;
                drop(reading);
                let mut writing = lock(&stream.writing);
                writing.blocks = Some(blocks);
                if let Err(fault) = ended {
                    // What was read before it is written first.
                    writing.waiting.insert(
                        blocks,
                        Judged {
                            fault: Some(fault),
                            ..Judged::default()
                        },
                    );
                    writing.blocks = Some(blocks + 1);
                    self.held.fetch_add(1, Ordering::Relaxed);
                }
                return self.write_ready(&stream, &mut writing, done);
            }
        };
        let index = reading.next;
        reading.next += 1;
        self.held.fetch_add(1, Ordering::Relaxed);
        drop(reading);
        let judged = self.judge(stream.unit, &block, worker);
        drop(block);
        worker.watch.lap("judge");
        let mut writing = lock(&stream.writing);
        writing.waiting.insert(index, judged);
        self.write_ready(&stream, &mut writing, done)
    }

    fn next_block(
        &self,
        stream: &Stream<'_>,
        reading: &mut Reading,
    ) -> Result<Option<Block>, ReadFault> {
        if reading.source.is_none() {
            let mut options = self.dataset.read.clone();
            options.format = Some(stream.unit.format);
            options.compression = Some(stream.unit.compression);
            options.block_bytes = BLOCK_BYTES;
            let mut fields = self.render.fields();
            if self.options.verdicts.is_some() {
                fields.push(self.options.id.clone());
            }
            options.fields = Some(fields);
            reading.source = Some(read::open(place(stream.unit), &options)?);
        }
        match &mut reading.source {
            Some(source) => Ok(source.next_block()?),
            None => Ok(None),
        }
    }

    fn judge(&self, unit: &Unit, block: &Block, worker: &mut Worker) -> Judged {
        let mut judged = Judged {
            bytes: block.bytes() as u64,
            ..Judged::default()
        };
        let mut counts = Counts::default();
        let name = &unit.files[0].path;
        let mut fates = Vec::with_capacity(usize::try_from(block.rows()).unwrap_or_default());
        let decoded = block.decode(&mut |row, fields| {
            let line = self.options.verdicts.is_some();
            let line = line.then_some(&mut judged.verdicts);
            let at = Place { file: name, row };
            fates.push(self.row(&at, fields, &mut counts, line, worker));
        });
        if let Err(error) = decoded {
            judged.fault = Some(error.into());
            return judged;
        }
        if unit.format == FileFormat::Parquet {
            judged.fates = fates;
        } else if let Err(fault) = self.lines(unit, block, &fates, &mut judged.lines) {
            judged.fault = Some(fault);
            return judged;
        }
        judged.counts = self.named(&counts);
        judged
    }

    /// The survivors' lines.
    fn lines(
        &self,
        unit: &Unit,
        block: &Block,
        fates: &[Fate],
        to: &mut Vec<u8>,
    ) -> Result<(), ReadFault> {
        let path = self.dataset.render.text.as_deref().unwrap_or_default();
        let fault = |row: usize, what: &str| ReadFault {
            message: format!(
                "{}: row {}: {what}",
                place(unit).display(),
                block.first_row + row as u64
            ),
            passing: false,
        };
        let mut outcome = Ok(());
        let mut row = 0;
        to.reserve(block.bytes());
        block.raw(&mut |bytes| {
            let at = row;
            row += 1;
            if outcome.is_err() {
                return;
            }
            outcome = match (bytes, fates.get(at)) {
                (Err(error), _) => Err(fault(at, &error.to_string())),
                (Ok(_), Some(Fate::Dropped)) => return,
                (Ok(bytes), Some(Fate::Edited(text))) => {
                    match read::replace_text(bytes, path, text, to) {
                        true => Ok(()),
                        false => Err(fault(at, "its text cannot be found again")),
                    }
                }
                (Ok(bytes), Some(Fate::Kept)) => {
                    to.extend_from_slice(bytes);
                    Ok(())
                }
                (Ok(_), None) => Err(fault(at, "it was not judged")),
            };
            to.push(b'\n');
        });
        outcome
    }

    /// What becomes of a row; notes what is said of it.
    fn row(
        &self,
        at: &Place<'_>,
        fields: Result<Row, RowFault>,
        counts: &mut Counts,
        verdicts: Option<&mut Vec<u8>>,
        worker: &mut Worker,
    ) -> Fate {
        counts.rows += 1;
        let (mut id, mut about) = (None, None);
        let text = fields.map_err(|fault| fault.reason()).and_then(|fields| {
            if verdicts.is_some() {
                id = fields
                    .get(&self.options.id)
                    .filter(|id| !id.is_null())
                    .cloned();
            }
            about = self.asks_beside.then(|| self.render.about(&fields));
            match self.render.render_all(fields).into_iter().next() {
                Some(Ok(Content::Text(text))) => Ok(text),
                Some(Err(fault)) => Err(fault.reason()),
                Some(Ok(_)) | None => Err("no-text"),
            }
        });
        let text = match text {
            Ok(text) => text,
            Err(reason) => {
                *counts.unjudged.entry(reason).or_default() += 1;
                if let Some(to) = verdicts {
                    write_id(to, at, id);
                    to.extend_from_slice(br#","unjudged":""#);
                    to.extend_from_slice(reason.as_bytes());
                    to.extend_from_slice(b"\"}\n");
                }
                return Fate::Kept;
            }
        };
        let about = about.unwrap_or_default();
        let Worker { room, said, .. } = worker;
        self.profiles
            .judge(&text, &about, verdicts.is_none(), room, said);
        if let Some(to) = verdicts {
            write_id(to, at, id);
            for (name, said) in self.names.iter().zip(&*said) {
                write_verdict(to, name, said);
            }
            to.extend_from_slice(b"}\n");
            for (profile, said) in said.iter().enumerate() {
                let reason = said.as_ref().err().map(|dropped| dropped.reason);
                *counts.said.entry((profile, reason)).or_default() += 1;
            }
        }
        counts.text_bytes += text.len() as u64;
        match self.profiles.fate(said, &about, room) {
            Err((profile, dropped)) => {
                *counts.dropped.entry((profile, dropped.reason)).or_default() += 1;
                Fate::Dropped
            }
            Ok(left) => {
                counts.kept += 1;
                counts.edited += u64::from(left.is_some());
                counts.kept_text_bytes += left.as_ref().unwrap_or(&text).len() as u64;
                left.map_or(Fate::Kept, Fate::Edited)
            }
        }
    }

    /// A block's counts with names.
    fn named(&self, counts: &Counts) -> FileCounts {
        let name = |profile: usize| {
            let profile = self.options.profiles.get(profile);
            profile.map_or_else(String::new, |profile| profile.name.clone())
        };
        let mut named = FileCounts {
            rows: counts.rows,
            kept: counts.kept,
            edited: counts.edited,
            text_bytes: counts.text_bytes,
            kept_text_bytes: counts.kept_text_bytes,
            ..FileCounts::default()
        };
        for (reason, count) in &counts.unjudged {
            named.unjudged.insert((*reason).to_owned(), *count);
        }
        for ((profile, reason), count) in &counts.dropped {
            let of = named.dropped.entry(name(*profile)).or_default();
            of.insert((*reason).to_owned(), *count);
        }
        for ((profile, reason), count) in &counts.said {
            let of = named.profiles.entry(name(*profile)).or_default();
            match reason {
                None => of.kept += count,
                Some(reason) => {
                    of.dropped.insert((*reason).to_owned(), *count);
                }
            }
        }
        named
    }

    /// Writes the blocks whose turn it is, and ends the file behind its last.
    fn write_ready(
        &self,
        stream: &Stream<'_>,
        writing: &mut Writing,
        done: &Mutex<Done>,
    ) -> Result<Step, FilterFilesError> {
        while let Some(judged) = writing.waiting.remove(&writing.next) {
            writing.next += 1;
            self.held.fetch_sub(1, Ordering::Relaxed);
            if writing.fault.is_some() {
                continue;
            }
            let bytes = judged.bytes;
            match judged.fault {
                None => self.write(stream, writing, judged)?,
                Some(fault) => writing.fault = Some(fault),
            }
            self.tell(stream, writing, bytes);
        }
        if writing.blocks == Some(writing.next) {
            let ended = self.end(stream, writing)?;
            lock(done).files[stream.number] = ended;
        }
        Ok(Step::Worked)
    }

    fn write(
        &self,
        stream: &Stream<'_>,
        writing: &mut Writing,
        judged: Judged,
    ) -> Result<(), FilterFilesError> {
        self.begin(stream, writing)?;
        let Some((target, _)) = &mut writing.to else {
            return Ok(());
        };
        let written = match target {
            Target::Plain(to) => to.write_all(&judged.lines).map_err(Unwritten::from),
            Target::Gzip(to) => to.write_all(&judged.lines).map_err(Unwritten::from),
            Target::Zstd(to) => to.write_all(&judged.lines).map_err(Unwritten::from),
            Target::Parquet(to) => to.push(judged.fates).map_err(Unwritten::from),
        };
        match written {
            Ok(()) => {}
            Err(Unwritten::Io(error)) => return Err(error.into()),
            Err(Unwritten::Unread(error)) => {
                writing.fault = Some(error.into());
                return Ok(());
            }
        }
        if let Some(to) = &mut writing.verdicts {
            to.write_all(&judged.verdicts)?;
        }
        writing.counts.add(&judged.counts);
        Ok(())
    }

    fn begin(&self, stream: &Stream<'_>, writing: &mut Writing) -> Result<(), FilterFilesError> {
        if writing.to.is_some() || writing.fault.is_some() {
            return Ok(());
        }
        let path = self.folder.join(&stream.unit.files[0].path);
        if let Some(above) = path.parent() {
            fs_err::create_dir_all(above)?;
        }
        let file = fs_err::File::create_new(&path)?.into_file();
        let target = match (stream.unit.format, stream.unit.compression) {
            (FileFormat::Parquet, _) => {
                let text = self.dataset.render.text.as_deref().unwrap_or_default();
                match ParquetCopy::new(place(stream.unit), file, text) {
                    Ok(copy) => Target::Parquet(Box::new(copy)),
                    Err(error) => {
                        writing.fault = Some(error.into());
                        return Ok(fs_err::remove_file(&path)?);
                    }
                }
            }
            (_, Compression::None) => Target::Plain(BufWriter::new(file)),
            (_, Compression::Gzip) => {
                let file = BufWriter::with_capacity(1 << 20, file);
                let level = flate2::Compression::default();
                Target::Gzip(flate2::write::GzEncoder::new(file, level))
            }
            (_, Compression::Zstd) => Target::Zstd(zstd::Encoder::new(file, 3)?),
        };
        writing.to = Some((target, path));
        if self.options.verdicts.is_some() {
            let part = self
                .folder
                .join(&self.parts)
                .join(stream.number.to_string());
            let part = fs_err::File::create_new(part)?.into_file();
            writing.verdicts = Some(BufWriter::with_capacity(1 << 16, part));
        }
        Ok(())
    }

    /// Ends a file behind its last block, or where it cannot be read further.
    fn end(&self, stream: &Stream<'_>, writing: &mut Writing) -> Result<Ended, FilterFilesError> {
        let at = place(stream.unit);
        // An empty file has no block.
        self.begin(stream, writing)?;
        let mut counts = Some(std::mem::take(&mut writing.counts));
        if let Some((target, path)) = writing.to.take() {
            // Of a parquet file that breaks off, nothing can be read without its end.
            let whole = writing.fault.is_none();
            let finished = match target {
                Target::Parquet(_) if !whole => Ok(None),
                target => target.finish().map(Some),
            };
            match finished {
                Ok(Some(file)) => file.sync_all()?,
                Ok(None) => {}
                Err(Unwritten::Io(error)) => return Err(error.into()),
                Err(Unwritten::Unread(error)) => writing.fault = Some(error.into()),
            }
            if writing.fault.is_some() && stream.unit.format == FileFormat::Parquet {
                fs_err::remove_file(&path)?;
                counts = None;
            }
        } else {
            counts = None;
        }
        if let Some(to) = writing.verdicts.take() {
            to.into_inner().map_err(io::IntoInnerError::into_error)?;
        }
        if let Location::Local { path, stamp } = &stream.unit.files[0].location
            && Stamp::of(path)? != *stamp
        {
            return Err(FilterFilesError::Changed(at.to_path_buf()));
        }
        if counts.as_ref().is_some_and(|counts| !counts.balances()) {
            return Err(FilterFilesError::Unbalanced(at.to_path_buf()));
        }
        self.tell(stream, writing, u64::MAX);
        let fault = writing.fault.take().map(|fault| {
            let problem = fault.message.strip_prefix(&format!("{}: ", at.display()));
            Fault {
                dataset: self.dataset.name.clone(),
                file: stream.unit.files[0].path.clone(),
                problem: problem.unwrap_or(&fault.message).to_owned(),
                passing: fault.passing,
                message: fault.message,
            }
        });
        Ok(Ended { counts, fault })
    }

    /// Tells how far a file is, in bytes of it.
    fn tell(&self, stream: &Stream<'_>, writing: &mut Writing, bytes: u64) {
        let unit = stream.unit;
        let bytes = match (unit.format, unit.compression) {
            (FileFormat::Parquet, _) => bytes / 2,
            (_, Compression::None) => bytes,
            // About what text is compressed to; at its end the file has all of its bytes, whatever it was.
            (_, Compression::Gzip | Compression::Zstd) => bytes / 3,
        };
        let by = bytes.min(unit.bytes() - writing.told);
        writing.told += by;
        self.progress.event(&Event::Advanced {
            stage: Stage::Filter,
            by,
            reused: false,
        });
    }
}

/// Where a unit's file is on this machine.
fn place(unit: &Unit) -> &Path {
    match &unit.files[0].location {
        Location::Local { path, .. } => path,
        // Files that were named are here.
        _ => Path::new(&unit.files[0].path),
    }
}

/// One thread's.
struct Worker {
    room: Room,
    said: Vec<Said>,
    watch: Watch,
}

struct Place<'a> {
    file: &'a str,
    row: u64,
}

/// A block's counts; profiles by their place.
#[derive(Default)]
struct Counts {
    rows: u64,
    kept: u64,
    edited: u64,
    text_bytes: u64,
    kept_text_bytes: u64,
    unjudged: BTreeMap<&'static str, u64>,
    dropped: BTreeMap<(usize, &'static str), u64>,
    said: BTreeMap<(usize, Option<&'static str>), u64>,
}

/// Where survivors go.
enum Target {
    Plain(BufWriter<std::fs::File>),
    Gzip(flate2::write::GzEncoder<BufWriter<std::fs::File>>),
    Zstd(zstd::Encoder<'static, std::fs::File>),
    Parquet(Box<ParquetCopy>),
}

/// Why survivors were not written: the system refused, or the file they are copied from is no good.
enum Unwritten {
    Io(io::Error),
    Unread(ReadError),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ReadError> for Unwritten {
    fn from(error: ReadError) -> Self {
        Self::Unread(error)
    }
}

impl Target {
    fn finish(self) -> Result<std::fs::File, Unwritten> {
        let whole = |to: BufWriter<std::fs::File>| {
            to.into_inner().map_err(|error| error.into_error().into())
        };
        match self {
            Self::Plain(to) => whole(to),
            Self::Gzip(to) => whole(to.finish()?),
            Self::Zstd(to) => Ok(to.finish()?),
            Self::Parquet(to) => Ok(to.finish()?),
        }
    }
}

/// Begins a line of verdicts: the row's own id, or its place.
fn write_id(to: &mut Vec<u8>, at: &Place<'_>, id: Option<Value>) {
    let id = id.unwrap_or_else(|| format!("{}#{}", at.file, at.row).into());
    let _ = write!(to, "{{\"id\":{id}");
}

/// `,"c4":{"keep":false,"reason":"c4-few-sentences","values":{"c4-sentences":2},"limit":5}`
fn write_verdict(to: &mut Vec<u8>, name: &str, said: &Said) {
    let _ = write!(to, ",{name}:");
    let Err(dropped) = said else {
        to.extend_from_slice(br#"{"keep":true,"values":{}}"#);
        return;
    };
    let _ = write!(
        to,
        r#"{{"keep":false,"reason":"{}","values":{{"#,
        dropped.reason
    );
    match &dropped.measured {
        None => to.push(b'}'),
        Some(measured) => {
            let value = Value::from(measured.value);
            let limit = Value::from(measured.limit);
            let _ = write!(to, "\"{}\":{value}}},\"limit\":{limit}", measured.statistic);
        }
    }
    if let Some(found) = &dropped.found {
        let _ = write!(to, ",\"found\":{}", Value::from(found.as_str()));
    }
    to.push(b'}');
}
