//! Files become judged, hashed and signed documents: one pass over the text, block by block.
//!
//! A block is a task. Its output holds a verdict for every row and, for the rows that passed, the text and all that
//! finding duplicates needs. Which thread takes which block, and in what order, leaves no trace: the output of a block
//! depends on the block, and blocks are put back into order by unit and index.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::block::{BlockCounters, Entry, Output, Stages};
use super::cpu::Watch;
use super::judge::Judge;
use super::prepared::Prepared;
use super::store::{Receipt, SectionFile, Store, StoreError};
use crate::analysis::Scratch;
use crate::catalogue::Kind;
use crate::dedup::signature::MinHasher;
use crate::digest::{Digest, Stamp};
use crate::filter::Filters;
use crate::filter::beside::About;
use crate::plan::{BYTES_VERSION, Plan, PlannedDataset, Unit};
use crate::progress::{Event, Progress, Stage};
use crate::read::{self, Block, BlockSource, ReadError, ReadOptions};
use crate::render::{ChatFormat, Content, Facts, Render, RenderFault};
use crate::source::{Location, PlannedFile};

/// Why a row is no document whose part of the file is damaged.
const UNREADABLE: &str = "unreadable";

/// Documents are worked on in batches of about this many bytes: small enough for the second-level cache, large enough
/// that looking at the clock costs nothing.
const BATCH_BYTES: usize = 256 << 10;

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

impl DoneBlock {
    /// Rows of the file that could be read, whatever became of them.
    pub(super) fn readable_rows(&self) -> u64 {
        let unreadable = self.counters.quarantined.get(UNREADABLE);
        self.counters.file_rows - unreadable.map_or(0, |count| count.documents)
    }
}

/// A file that could not be read to its end.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Its dataset.
    pub dataset: String,
    /// Its path in the dataset.
    pub file: String,
    /// What happened and what to do; names the file where it lies on this machine.
    pub message: String,
    /// The same without that place.
    pub problem: String,
    /// Whether the machine failed and not the file: reading again may succeed.
    pub passing: bool,
}

/// Everything extracted, in plan order.
#[derive(Debug, Default)]
pub(super) struct Extracted {
    /// By dataset, unit and index.
    pub blocks: Vec<DoneBlock>,
    /// In plan order.
    pub faults: Vec<Fault>,
    /// What the documents were judged with.
    pub prepared: Prepared,
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
    let prepared = Prepared::default();
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for (d, dataset) in plan.datasets.iter().enumerate() {
        for (u, unit) in dataset.units.iter().enumerate() {
            jobs.push(Job {
                plan,
                dataset,
                unit,
                at: (d, u),
                places: &places[d][u],
                all_places: places,
                prepared: &prepared,
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
    drop(jobs);
    done.prepared = prepared;
    done.blocks
        .sort_by_key(|block| (block.dataset, block.unit, block.index));
    for block in &done.blocks {
        // Rows that a file has and that cannot be decoded: such a file is as bad as one that ends too soon.
        if block.counters.quarantined.contains_key(UNREADABLE) {
            let problems: Vec<String> =
                SectionFile::open(&store.data(Stage::Extract, block.receipt.key))?
                    .read_json("faults")?;
            let dataset = &plan.datasets[block.dataset];
            let file = &dataset.units[block.unit].files[0].path;
            let known = done
                .faults
                .iter()
                .any(|fault| fault.dataset == dataset.name && fault.file == *file);
            if let (false, Some(problem)) = (known, problems.into_iter().next()) {
                let place = places[block.dataset][block.unit][0].display();
                done.faults.push(Fault {
                    dataset: dataset.name.clone(),
                    file: file.clone(),
                    message: format!("{place}: {problem}"),
                    problem,
                    passing: false,
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
    all_places: &'a Places,
    prepared: &'a Prepared,
}

impl Job<'_> {
    fn key(&self, part: &str, index: u64) -> Digest {
        let recipe = &self.plan.recipe;
        let mut options = recipe.extract_options(&self.dataset.profile, &self.dataset.filter);
        options.benchmarks = self.plan.benchmarks_digest();
        options.lists = self.plan.lists_digest(&self.dataset.filter);
        options.chat = chat_format(self.plan, self.dataset);
        Digest::of_value(&(
            "extract",
            BYTES_VERSION,
            part,
            self.unit.digest,
            index,
            self.dataset.kind,
            self.dataset.near,
            &self.dataset.read,
            &self.dataset.render,
            options,
            self.plan.keep_texts,
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
        let (counters, receipt) = match self.work(job, index, task, watch, store)? {
            Ok(done_block) => done_block,
            Err(error) => {
                note_fault(job, &error, done, progress);
                return Ok(Step::Worked);
            }
        };
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

    /// A block's output, committed. The inner error is a passing one of the file, for which nothing was committed, so that the
    /// next run reads the block again.
    fn work(
        &mut self,
        job: &Job<'_>,
        index: u64,
        task: Task,
        mut watch: Watch,
        store: &Store,
    ) -> Result<Result<(BlockCounters, Receipt), ReadError>, StoreError> {
        let plan = job.plan;
        let render = Render::new(&job.dataset.render).expect("the plan checked the render table");
        let stages = Stages {
            facts: render.fact_fields().clone(),
            keep_texts: plan.keep_texts,
            rejects: plan.recipe.rejects,
            signals: plan.recipe.signals.signals(),
            normalize: plan.recipe.normalize,
            chat: chat_format(plan, job.dataset),
            index: job.prepared.index(plan, job.all_places)?,
            beside: job.prepared.beside(plan, &job.dataset.profile)?,
            redactor: job.prepared.redactor(plan, &job.dataset.profile),
            filters: Filters::new(&job.dataset.filter).expect("the plan checked the profiles"),
            judge: Judge::new(&job.dataset.filter),
            hasher: super::texts::hasher(plan, &job.dataset.profile),
        };
        let hasher = stages.hasher.as_ref().filter(|_| job.dataset.near);
        let mut signer = hasher.map(MinHasher::signer);
        let mut out = Output::new(&stages, job.unit.is_group());
        let mut batch: Vec<Entry> = Vec::new();
        let mut weight = 0;
        match task {
            Task::Rows(block) => {
                out.counters.first_row = block.first_row;
                out.counters.file_rows = block.rows();
                let place = |row: u64| {
                    u32::try_from(row - block.first_row).expect("a block has fewer than 2^32 rows")
                };
                let mut next_row = 0;
                let decoded = block.decode(&mut |row, fields| {
                    next_row = place(row) + 1;
                    match fields {
                        Err(fault) => batch.push(Entry {
                            row: place(row),
                            part: 0,
                            content: Err(fault.reason()),
                            meta: None,
                            about: None,
                            facts: Facts::default(),
                        }),
                        Ok(fields) => {
                            let meta = render.meta(&fields);
                            let facts = render.facts(&fields);
                            let about = stages.beside.map(|_| render.about(&fields));
                            let documents = render.render_all(fields);
                            let about = about.as_ref();
                            weight += push(&mut batch, place(row), documents, meta, about, facts);
                        }
                    }
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
                match decoded {
                    Ok(()) => {}
                    Err(error) if error.is_io() => {
                        job.must_be_unchanged()?;
                        return Ok(Err(error));
                    }
                    Err(error) => {
                        // Only a parquet file that is damaged inside fails here; its rows are all accounted for.
                        // A block depends on its content alone, so its place on this machine is left out.
                        out.fault(&problem(&error.to_string(), &job.places[0]));
                        batch.extend((next_row..place(block.first_row + block.rows())).map(
                            |row| Entry {
                                row,
                                part: 0,
                                content: Err(UNREADABLE),
                                meta: None,
                                about: None,
                                facts: Facts::default(),
                            },
                        ));
                    }
                }
            }
            Task::Group => {
                out.counters.file_rows = job.unit.files.len() as u64;
                for (row, (file, place)) in (0u32..).zip(job.unit.files.iter().zip(job.places)) {
                    out.names.push(file.path.clone());
                    let content = read_whole(place, file, &job.dataset.read)?;
                    let documents = match content {
                        Ok(text) => {
                            let mut fields = read::Row::new();
                            fields.insert("path".to_owned(), file.path.clone().into());
                            fields.insert("text".to_owned(), text.into());
                            render.render_all(fields)
                        }
                        Err(reason) => {
                            batch.push(Entry {
                                row,
                                part: 0,
                                content: Err(reason),
                                meta: None,
                                about: None,
                                facts: Facts::default(),
                            });
                            Vec::new()
                        }
                    };
                    let about = stages.beside.map(|_| About {
                        path: Some(file.path.clone()),
                        ..About::default()
                    });
                    let about = about.as_ref();
                    weight += push(&mut batch, row, documents, None, about, Facts::default());
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
        Ok(Ok((out.counters, receipt)))
    }
}

/// Says that a file could not be read to its end; once a file.
fn note_fault(job: &Job<'_>, error: &ReadError, done: &Mutex<Extracted>, progress: &dyn Progress) {
    let file = job.unit.files[0].path.clone();
    let message = error.to_string();
    let mut done = lock(done);
    let known = |fault: &Fault| fault.dataset == job.dataset.name && fault.file == file;
    if done.faults.iter().any(known) {
        return;
    }
    progress.event(&Event::Fault {
        dataset: job.dataset.name.clone(),
        file: PathBuf::from(&file),
        message: message.clone(),
    });
    done.faults.push(Fault {
        dataset: job.dataset.name.clone(),
        file,
        problem: problem(&message, &job.places[0]),
        passing: error.is_io(),
        message,
    });
}

/// What is wrong with a file, without the place it has on this machine.
fn problem(message: &str, place: &Path) -> String {
    message
        .strip_prefix(&format!("{}: ", place.display()))
        .unwrap_or(message)
        .to_owned()
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
        // A unit that was finished before need not even be opened. Its end may have been seen while other threads were
        // still at its last blocks, and the run killed then: with a block missing, the file is read again.
        let finished: Option<Vec<Receipt>> = match store.receipt(Stage::Extract, end)? {
            Some(receipt) => (0..counters(&receipt, store)?)
                .map(|index: u64| store.receipt(Stage::Extract, job.key("block", index)))
                .collect::<Result<_, _>>()?,
            None => None,
        };
        if let Some(receipts) = finished {
            stream.ended = true;
            for (index, receipt) in (0u64..).zip(receipts) {
                reuse(index, receipt)?;
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
                Ok(source) => read::sampled(source, job.unit.share),
                Err(error) => {
                    job.must_be_unchanged()?;
                    note_fault(job, &error, done, progress);
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
            note_fault(job, &error, done, progress);
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

/// Adds the documents of a row to a batch; their bytes.
fn push(
    batch: &mut Vec<Entry>,
    row: u32,
    documents: Vec<Result<Content, RenderFault>>,
    meta: Option<String>,
    about: Option<&About>,
    facts: Facts,
) -> usize {
    let several = documents.len() > 1;
    let mut weight = 0;
    for (part, content) in (1u32..).zip(documents) {
        weight += content.as_ref().map_or(0, weigh);
        batch.push(Entry {
            row,
            part: if several { part } else { 0 },
            content: content.map_err(|fault| fault.reason()),
            meta: meta.clone(),
            about: about.cloned().map(Box::new),
            facts,
        });
    }
    weight
}

/// How a dataset's dialogues and prompts are written down, if it has some.
fn chat_format(plan: &Plan, dataset: &PlannedDataset) -> ChatFormat {
    match dataset.kind {
        Kind::Chat | Kind::Preference | Kind::Process => plan.recipe.chat.format,
        Kind::Text => ChatFormat::default(),
    }
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
