//! Files become judged, hashed and signed documents: one pass over the text, block by block.
//!
//! A block is a task. Its output holds a verdict for every row and, for the rows that passed, the text and all that
//! finding duplicates needs. Which thread takes which block, and in what order, leaves no trace: the output of a block
//! depends on the block, and blocks are put back into order by unit and index.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::Count;
use serde::{Deserialize, Serialize};

use super::cpu::Watch;
use super::store::{Receipt, SectionFile, Sections, Store, StoreError, column_u32, column_u64};
use crate::analysis::Scratch;
use crate::dedup::exact;
use crate::dedup::signature::{MinHasher, Signer};
use crate::digest::{Digest, Stamp};
use crate::filter::{Filters, Verdict};
use crate::normalize::Normalize;
use crate::plan::{BYTES_VERSION, Plan, PlannedDataset, Unit};
use crate::progress::{Event, Progress, Stage};
use crate::read::{self, Block, BlockSource, ReadOptions};
use crate::render::{Content, Render};
use crate::source::{Location, PlannedFile};

/// What became of a row, as stored.
pub(super) mod verdict {
    /// Passed; it goes on to the search for duplicates.
    pub(crate) const SURVIVED: u8 = 0;
    /// A rule dropped it.
    pub(crate) const DROPPED: u8 = 1;
    /// It is no document.
    pub(crate) const QUARANTINED: u8 = 2;
}

/// Why a row is no document whose part of the file is damaged.
const UNREADABLE: &str = "unreadable";

/// Documents are worked on in batches of about this many bytes: small enough for the second-level cache, large enough
/// that looking at the clock costs nothing.
const BATCH_BYTES: usize = 256 << 10;

/// What a block counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockCounters {
    /// Number in the file of the first row.
    pub first_row: u64,
    /// Rows, quarantined ones included.
    pub rows: u64,
    /// Bytes of normalized text of all rows that are documents.
    pub bytes: u64,
    /// Rows that passed the rules.
    pub survivors: Count,
    /// Dropped, by reason.
    pub dropped: BTreeMap<String, Count>,
    /// Quarantined, by reason.
    pub quarantined: BTreeMap<String, Count>,
}

/// A block that is done.
#[derive(Debug, Clone)]
pub(super) struct DoneBlock {
    /// Index of its dataset in the plan.
    pub dataset: usize,
    /// Index of its unit in the dataset.
    pub unit: usize,
    /// Its place among the blocks of the unit.
    pub index: u64,
    /// Its proof.
    pub receipt: Receipt,
    /// What it counted.
    pub counters: BlockCounters,
}

/// A file that could not be read to its end.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its dataset.
    pub dataset: String,
    /// Its path in the dataset.
    pub file: String,
    /// What happened and what to do.
    pub message: String,
}

/// Everything extracted, in plan order.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// By dataset, unit and index.
    pub blocks: Vec<DoneBlock>,
    /// In plan order.
    pub faults: Vec<Fault>,
}

/// Where the files of a unit are on this machine: one list a dataset, in it one list a unit.
pub(super) type Places = Vec<Vec<Vec<PathBuf>>>;

/// Runs the stage on the calling rayon pool.
pub(super) fn extract(
    plan: &Plan,
    places: &Places,
    store: &Store,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Extracted, StoreError> {
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (d, dataset) in plan.datasets.iter().enumerate() {
        for (u, unit) in dataset.units.iter().enumerate() {
            jobs.push(Job {
                plan,
                dataset,
                unit,
                at: (d, u),
                places: &places[d][u],
            });
        }
    }
    progress.event(&Event::Stage {
        stage: Stage::Extract,
        total: jobs.iter().map(|job| job.unit.bytes()).sum(),
    });
    let queue = Mutex::new(Queue {
        next: 0,
        open: Vec::new(),
    });
    let done: Mutex<Extracted> = Mutex::default();
    let failed: Mutex<Option<StoreError>> = Mutex::default();
    let halt = AtomicBool::new(false);
    rayon::scope(|scope| {
        for _ in 0..rayon::current_num_threads() {
            scope.spawn(|_| {
                let mut worker = Worker::default();
                while !stop.load(Ordering::Relaxed) && !halt.load(Ordering::Relaxed) {
                    match worker.step(&jobs, &queue, &done, store, progress) {
                        Ok(Step::Worked) => {}
                        // Every open file is being read by somebody else just now.
                        Ok(Step::Waited) => std::thread::sleep(std::time::Duration::from_millis(1)),
                        Ok(Step::NothingLeft) => break,
                        Err(error) => {
                            halt.store(true, Ordering::Relaxed);
                            lock(&failed).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = failed
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
    {
        return Err(error);
    }
    let mut done = done
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    done.blocks
        .sort_by_key(|block| (block.dataset, block.unit, block.index));
    for block in &done.blocks {
        // Rows that a file has and that cannot be decoded: such a file is as bad as one that ends too soon.
        if block.counters.quarantined.contains_key(UNREADABLE) {
            let messages: Vec<String> =
                SectionFile::open(&store.data(Stage::Extract, block.receipt.key))?
                    .read_json("faults")?;
            let dataset = &plan.datasets[block.dataset];
            let file = &dataset.units[block.unit].files[0].path;
            let known = done
                .faults
                .iter()
                .any(|fault| fault.dataset == dataset.name && fault.file == *file);
            if let (false, Some(message)) = (known, messages.into_iter().next()) {
                done.faults.push(Fault {
                    dataset: dataset.name.clone(),
                    file: file.clone(),
                    message,
                });
            }
        }
    }
    done.faults
        .sort_by(|a, b| (&a.dataset, &a.file).cmp(&(&b.dataset, &b.file)));
    Ok(done)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A worker that panicked left no half-made value behind: values go in whole.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Job<'a> {
    plan: &'a Plan,
    dataset: &'a PlannedDataset,
    unit: &'a Unit,
    at: (usize, usize),
    places: &'a [PathBuf],
}

impl Job<'_> {
    fn key(&self, part: &str, index: u64) -> Digest {
        let options = self.plan.recipe.extract_options(&self.dataset.filter);
        Digest::of_value(&(
            "extract",
            BYTES_VERSION,
            part,
            self.unit.digest,
            index,
            self.dataset.kind,
            &self.dataset.read,
            &self.dataset.render,
            options,
        ))
    }

    /// What was read of a file that was written to since it was planned belongs to no content that has a digest. Asked after
    /// reading and before anything is committed.
    fn must_be_unchanged(&self) -> Result<(), StoreError> {
        for file in &self.unit.files {
            if let Location::Local { path, stamp } = &file.location
                && Stamp::of(path)? != *stamp
            {
                return Err(changed(path));
            }
        }
        Ok(())
    }
}

/// Files that are open for reading, and the next one to open.
struct Queue {
    next: usize,
    open: Vec<std::sync::Arc<Mutex<Stream>>>,
}

struct Stream {
    job: usize,
    source: Option<Box<dyn BlockSource>>,
    index: u64,
    ended: bool,
}

enum Step {
    Worked,
    Waited,
    NothingLeft,
}

/// A block to work on, or news of one.
enum Task {
    Rows(Box<Block>),
    Group,
}

#[derive(Default)]
struct Worker {
    scratch: Scratch,
}

impl Worker {
    fn step(
        &mut self,
        jobs: &[Job<'_>],
        queue: &Mutex<Queue>,
        done: &Mutex<Extracted>,
        store: &Store,
        progress: &dyn Progress,
    ) -> Result<Step, StoreError> {
        let stream = {
            let mut queue = lock(queue);
            queue
                .open
                .retain(|stream| stream.try_lock().map_or(true, |s| !s.ended));
            if queue.next < jobs.len() && queue.open.len() < rayon::current_num_threads() {
                let stream = Stream {
                    job: queue.next,
                    source: None,
                    index: 0,
                    ended: false,
                };
                queue.next += 1;
                queue.open.push(std::sync::Arc::new(Mutex::new(stream)));
            }
            let free = queue
                .open
                .iter()
                .rev()
                .find(|stream| stream.try_lock().is_ok_and(|s| !s.ended))
                .cloned();
            match free {
                Some(stream) => stream,
                None if queue.open.is_empty() && queue.next == jobs.len() => {
                    return Ok(Step::NothingLeft);
                }
                None => return Ok(Step::Waited),
            }
        };
        let mut guard = lock(&stream);
        if guard.ended {
            return Ok(Step::Worked);
        }
        let job = &jobs[guard.job];
        let Some((index, task, watch)) = next_task(job, &mut guard, done, store, progress)? else {
            return Ok(Step::Worked);
        };
        drop(guard);
        let (counters, receipt) = self.work(job, index, task, watch, store)?;
        let bytes = if job.unit.is_group() {
            job.unit.bytes()
        } else {
            counters.bytes
        };
        progress.event(&Event::Advanced {
            stage: Stage::Extract,
            by: bytes,
            reused: false,
        });
        lock(done).blocks.push(DoneBlock {
            dataset: job.at.0,
            unit: job.at.1,
            index,
            receipt,
            counters,
        });
        Ok(Step::Worked)
    }

    fn work(
        &mut self,
        job: &Job<'_>,
        index: u64,
        task: Task,
        mut watch: Watch,
        store: &Store,
    ) -> Result<(BlockCounters, Receipt), StoreError> {
        let plan = job.plan;
        let near = plan.recipe.dedup.near.as_ref();
        let stages = Stages {
            normalize: plan.recipe.normalize,
            filters: Filters::new(&job.dataset.filter).expect("the plan checked the profiles"),
            hasher: near.map(|near| {
                MinHasher::new(near.minhash()).expect("the plan checked the signature's shape")
            }),
        };
        let mut signer = stages.hasher.as_ref().map(MinHasher::signer);
        let render = Render::new(&job.dataset.render).expect("the plan checked the render table");
        let mut out = Output::new(&stages, job.unit.is_group());
        let mut batch: Vec<(u64, Result<Content, &'static str>)> = Vec::new();
        let mut weight = 0;
        let mut first_row = 0;
        match task {
            Task::Rows(block) => {
                first_row = block.first_row;
                let decoded = block.decode(&mut |row, fields| {
                    let content = match fields {
                        Ok(fields) => render
                            .render(fields)
                            .map(|r| r.content)
                            .map_err(|fault| fault.reason()),
                        Err(fault) => Err(fault.reason()),
                    };
                    weight += content.as_ref().map_or(0, weigh);
                    batch.push((row, content));
                    if weight >= BATCH_BYTES {
                        watch.lap("read");
                        out.take(
                            &mut batch,
                            &stages,
                            &mut self.scratch,
                            signer.as_mut(),
                            &mut watch,
                        );
                        weight = 0;
                    }
                });
                if let Err(error) = decoded {
                    // Only a parquet file that changed or is damaged inside fails here; its rows are all accounted for.
                    out.fault(&error.to_string());
                    for row in out.rows() + batch.len() as u64..block.rows() {
                        batch.push((first_row + row, Err(UNREADABLE)));
                    }
                }
            }
            Task::Group => {
                for (row, (file, place)) in job.unit.files.iter().zip(job.places).enumerate() {
                    out.names.push(file.path.clone());
                    let content = read_whole(place, file, &job.dataset.read)?;
                    let content = content.and_then(|text| {
                        let mut fields = read::Row::new();
                        fields.insert("path".to_owned(), file.path.clone().into());
                        fields.insert("text".to_owned(), text.into());
                        render
                            .render(fields)
                            .map(|r| r.content)
                            .map_err(|fault| fault.reason())
                    });
                    weight += content.as_ref().map_or(0, weigh);
                    batch.push((row as u64, content));
                    if weight >= BATCH_BYTES {
                        watch.lap("read");
                        out.take(
                            &mut batch,
                            &stages,
                            &mut self.scratch,
                            signer.as_mut(),
                            &mut watch,
                        );
                        weight = 0;
                    }
                }
            }
        }
        watch.lap("read");
        out.take(
            &mut batch,
            &stages,
            &mut self.scratch,
            signer.as_mut(),
            &mut watch,
        );
        out.counters.first_row = first_row;
        job.must_be_unchanged()?;
        let mut attempt = store.attempt()?;
        out.write(&mut attempt)?;
        watch.lap("write");
        let receipt = store.commit(
            Stage::Extract,
            job.key("block", index),
            attempt,
            &out.counters,
            watch.seconds(),
        )?;
        Ok((out.counters, receipt))
    }
}

/// The next block of a file that is not done yet; `None` when there was only something to note.
fn next_task(
    job: &Job<'_>,
    stream: &mut Stream,
    done: &Mutex<Extracted>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Option<(u64, Task, Watch)>, StoreError> {
    let watch = Watch::start();
    let reuse = |index: u64, receipt: Receipt| -> Result<u64, StoreError> {
        let counters: BlockCounters = counters(&receipt, store)?;
        let bytes = counters.bytes;
        lock(done).blocks.push(DoneBlock {
            dataset: job.at.0,
            unit: job.at.1,
            index,
            receipt,
            counters,
        });
        Ok(bytes)
    };
    let end = job.key("end", 0);
    if stream.source.is_none() {
        // A unit that was finished before need not even be opened.
        if let Some(receipt) = store.receipt(Stage::Extract, end)? {
            stream.ended = true;
            let blocks: u64 = counters(&receipt, store)?;
            for index in 0..blocks {
                let key = job.key("block", index);
                let missing = || StoreError::Damaged {
                    file: store.data(Stage::Extract, key),
                    what: "it is gone".to_owned(),
                };
                reuse(
                    index,
                    store.receipt(Stage::Extract, key)?.ok_or_else(missing)?,
                )?;
            }
            progress.event(&Event::Advanced {
                stage: Stage::Extract,
                by: job.unit.bytes(),
                reused: true,
            });
            return Ok(None);
        }
        if job.unit.is_group() {
            stream.ended = true;
            if let Some(receipt) = store.receipt(Stage::Extract, job.key("block", 0))? {
                reuse(0, receipt)?;
                progress.event(&Event::Advanced {
                    stage: Stage::Extract,
                    by: job.unit.bytes(),
                    reused: true,
                });
                return Ok(None);
            }
            return Ok(Some((0, Task::Group, watch)));
        }
    }
    let fault = |message: String| {
        let file = job.unit.files[0].path.clone();
        progress.event(&Event::Fault {
            dataset: job.dataset.name.clone(),
            file: PathBuf::from(&file),
            message: message.clone(),
        });
        lock(done).faults.push(Fault {
            dataset: job.dataset.name.clone(),
            file,
            message,
        });
    };
    let mut source = match stream.source.take() {
        Some(source) => source,
        None => {
            let mut options = job.dataset.read.clone();
            options.format = Some(job.unit.format);
            options.compression = Some(job.unit.compression);
            options.fields = Render::new(&job.dataset.render)
                .ok()
                .map(|render| render.fields());
            match read::open(&job.places[0], &options) {
                Ok(source) => source,
                Err(error) => {
                    job.must_be_unchanged()?;
                    fault(error.to_string());
                    stream.ended = true;
                    return Ok(None);
                }
            }
        }
    };
    let index = stream.index;
    let known = store.receipt(Stage::Extract, job.key("block", index))?;
    let next = match &known {
        Some(_) => source.skip_block().map(|head| head.map(|_| None)),
        None => source
            .next_block()
            .map(|block| block.map(|block| Some(Task::Rows(Box::new(block))))),
    };
    match next {
        Ok(Some(task)) => {
            stream.index += 1;
            stream.source = Some(source);
            if let Some(receipt) = known {
                let bytes = reuse(index, receipt)?;
                progress.event(&Event::Advanced {
                    stage: Stage::Extract,
                    by: bytes,
                    reused: true,
                });
            }
            Ok(task.map(|task| (index, task, watch)))
        }
        Ok(None) => {
            stream.ended = true;
            job.must_be_unchanged()?;
            store.commit(
                Stage::Extract,
                end,
                store.attempt()?,
                &index,
                BTreeMap::new(),
            )?;
            Ok(None)
        }
        Err(error) => {
            job.must_be_unchanged()?;
            fault(error.to_string());
            stream.ended = true;
            Ok(None)
        }
    }
}

fn counters<T: serde::de::DeserializeOwned>(
    receipt: &Receipt,
    store: &Store,
) -> Result<T, StoreError> {
    serde_json::from_value(receipt.counters.clone()).map_err(|error| StoreError::Damaged {
        file: store
            .data(Stage::Extract, receipt.key)
            .with_extension("json"),
        what: error.to_string(),
    })
}

/// Bytes of a document, near enough to cut batches by.
fn weigh(content: &Content) -> usize {
    match content {
        Content::Text(text) => text.len(),
        other => other
            .segments()
            .iter()
            .map(|segment| segment.text.len())
            .sum(),
    }
}

/// A small file that is one document. The outer error is the machine's, the inner one the document's.
fn read_whole(
    place: &Path,
    file: &PlannedFile,
    options: &ReadOptions,
) -> Result<Result<String, &'static str>, StoreError> {
    if file.bytes > options.max_row_bytes as u64 {
        return Ok(Err("row-too-long"));
    }
    let mut bytes = Vec::new();
    // One byte more than was planned, so that a file that grew is noticed and not held.
    fs_err::File::open(place)?
        .take(file.bytes + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 != file.bytes
        || (file.digest.starts_with("sha256:")
            && format!("sha256:{}", Digest::of(&bytes)) != file.digest)
    {
        return Err(changed(place));
    }
    Ok(String::from_utf8(bytes).map_err(|_| "invalid-utf-8"))
}

fn changed(place: &Path) -> StoreError {
    StoreError::Io(std::io::Error::other(format!(
        "{} changed while the build ran; run again when it is at rest",
        place.display()
    )))
}

struct Stages {
    normalize: Normalize,
    filters: Filters,
    hasher: Option<MinHasher>,
}

/// The output of a block, growing.
struct Output {
    counters: BlockCounters,
    verdicts: Vec<u8>,
    reasons: Vec<u8>,
    reason_names: Vec<String>,
    row_bytes: Vec<u64>,
    names: Vec<String>,
    group: bool,
    hashes: Vec<u8>,
    checks: Vec<u64>,
    lengths: Vec<u64>,
    signed: Vec<u32>,
    signatures: Vec<u8>,
    bands: Vec<Vec<u64>>,
    segments: Vec<(u32, u64, bool, bool)>,
    texts: Vec<u8>,
    faults: Vec<String>,
}

impl Output {
    fn new(stages: &Stages, group: bool) -> Self {
        Self {
            counters: BlockCounters::default(),
            verdicts: Vec::new(),
            reasons: Vec::new(),
            reason_names: Vec::new(),
            row_bytes: Vec::new(),
            names: Vec::new(),
            group,
            hashes: Vec::new(),
            checks: Vec::new(),
            lengths: Vec::new(),
            signed: Vec::new(),
            signatures: Vec::new(),
            bands: vec![
                Vec::new();
                stages
                    .hasher
                    .as_ref()
                    .map_or(0, |hasher| hasher.options().bands)
            ],
            segments: Vec::new(),
            texts: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn rows(&self) -> u64 {
        self.verdicts.len() as u64
    }

    fn fault(&mut self, message: &str) {
        self.faults.push(message.to_owned());
    }

    /// Puts a batch through the stages, part by part, so that each part's time is known.
    fn take(
        &mut self,
        batch: &mut Vec<(u64, Result<Content, &'static str>)>,
        stages: &Stages,
        scratch: &mut Scratch,
        signer: Option<&mut Signer<'_>>,
        watch: &mut Watch,
    ) {
        // Normalized text of each row, and its segments if there are several.
        let texts: Vec<Result<(String, Vec<(u64, bool, bool)>), &'static str>> = batch
            .drain(..)
            .map(|(_, content)| {
                let mut ends = Vec::new();
                let text = match content? {
                    Content::Text(text) => match stages.normalize.normalize(&text) {
                        // Nothing to repair: the row's own string goes on, uncopied.
                        Cow::Borrowed(_) => text,
                        Cow::Owned(repaired) => repaired,
                    },
                    other => {
                        let mut text = String::new();
                        for segment in other.segments() {
                            text.push_str(&stages.normalize.normalize(&segment.text));
                            ends.push((text.len() as u64, segment.trained, segment.end_of_text));
                        }
                        text
                    }
                };
                Ok((text, ends))
            })
            .collect();
        watch.lap("normalize");
        let verdicts: Vec<Verdict> = texts
            .iter()
            .map(|text| {
                text.as_ref().map_or(Verdict::Keep, |(text, _)| {
                    stages.filters.judge(text, scratch)
                })
            })
            .collect();
        watch.lap("filter");
        let first = self.lengths.len();
        for (text, verdict) in texts.iter().zip(&verdicts) {
            self.counters.rows += 1;
            let (code, reason, bytes) = match (text, verdict) {
                (Err(reason), _) => (verdict::QUARANTINED, *reason, 0),
                (Ok((text, _)), Verdict::Drop(reason)) => {
                    (verdict::DROPPED, *reason, text.len() as u64)
                }
                (Ok((text, _)), Verdict::Keep) => (verdict::SURVIVED, "", text.len() as u64),
            };
            let count = Count {
                documents: 1,
                bytes,
            };
            self.counters.bytes += bytes;
            match code {
                verdict::QUARANTINED => {
                    *self
                        .counters
                        .quarantined
                        .entry(reason.to_owned())
                        .or_default() += count
                }
                verdict::DROPPED => {
                    *self.counters.dropped.entry(reason.to_owned()).or_default() += count
                }
                _ => self.counters.survivors += count,
            }
            self.verdicts.push(code);
            let reason = self.reason(reason);
            self.reasons.push(reason);
            self.row_bytes.push(bytes);
        }
        let survivors = || {
            let passed = texts
                .iter()
                .zip(&verdicts)
                .filter(|(_, verdict)| **verdict == Verdict::Keep);
            passed.filter_map(|(text, _)| text.as_ref().ok())
        };
        for (text, _) in survivors() {
            let hashes = exact::text_hashes(text);
            self.hashes.extend_from_slice(&hashes.hash.to_le_bytes());
            self.checks.push(hashes.check);
        }
        watch.lap("exact");
        if let (Some(hasher), Some(signer)) = (&stages.hasher, signer) {
            for (i, (text, _)) in survivors().enumerate() {
                if let Some(signature) = signer.sign(text) {
                    let start = self.signatures.len();
                    self.signatures
                        .extend(signature.iter().flat_map(|hash| hash.to_le_bytes()));
                    let check = xxhash_rust::xxh3::xxh3_64(&self.signatures[start..]);
                    self.signatures.extend_from_slice(&check.to_le_bytes());
                    hasher
                        .band_keys(signature)
                        .zip(&mut self.bands)
                        .for_each(|(key, band)| band.push(key));
                    self.signed
                        .push(u32::try_from(first + i).expect("a block has fewer than 2^32 rows"));
                }
            }
        }
        watch.lap("signature");
        for (text, ends) in survivors() {
            let document =
                u32::try_from(self.lengths.len()).expect("a block has fewer than 2^32 rows");
            self.segments.extend(
                ends.iter()
                    .map(|(end, trained, ends)| (document, *end, *trained, *ends)),
            );
            self.lengths.push(text.len() as u64);
            self.texts.extend_from_slice(text.as_bytes());
        }
        watch.lap("write");
    }

    fn reason(&mut self, reason: &str) -> u8 {
        let at = self
            .reason_names
            .iter()
            .position(|known| known == reason)
            .unwrap_or_else(|| {
                self.reason_names.push(reason.to_owned());
                self.reason_names.len() - 1
            });
        u8::try_from(at).expect("there are far fewer than 256 reasons in the whole program")
    }

    fn write(&mut self, to: &mut impl std::io::Write) -> std::io::Result<()> {
        let mut sections = Sections::default();
        sections.push("verdicts", std::mem::take(&mut self.verdicts));
        sections.push("reasons", std::mem::take(&mut self.reasons));
        sections.push("reason-names", json(&self.reason_names));
        sections.push("row-bytes", column_u64(self.row_bytes.drain(..)));
        if self.group {
            sections.push("names", json(&self.names));
        }
        sections.push("hashes", std::mem::take(&mut self.hashes));
        sections.push("checks", column_u64(self.checks.drain(..)));
        sections.push("lengths", column_u64(self.lengths.drain(..)));
        sections.push("signed", column_u32(self.signed.drain(..)));
        sections.push("signatures", std::mem::take(&mut self.signatures));
        for (band, keys) in self.bands.drain(..).enumerate() {
            sections.push(format!("band-{band}"), column_u64(keys));
        }
        sections.push("segments", json(&self.segments));
        sections.push("faults", json(&self.faults));
        let texts = zstd::bulk::compress(&self.texts, 1)?;
        sections.push("texts", texts);
        sections.write(to)
    }
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("plain data has a JSON form")
}
