//! Files read, judged and written by several threads: each cuts a block, judges it, and writes it behind the block before it.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::FilterFiles;
use super::report::{FileCounts, FilterFilesError};
use super::verdicts::{Place, write_id, write_verdict};
use crate::digest::Stamp;
use crate::execute::Fault;
use crate::execute::cpu::Watch;
use crate::execute::profiles::{Profiles, Room, Said};
use crate::plan::{PlannedDataset, Unit};
use crate::progress::{Event, Progress, Stage};
use crate::read::{
    self, Block, BlockSource, Compression, Fate, FileFormat, ParquetCopy, ReadError, Row, RowFault,
};
use crate::render::{Content, Render};
use crate::source::Location;

/// Undecoded bytes of a block: what a thread works on, and what is held of a file while it does.
const BLOCK_BYTES: usize = 4 << 20;

/// Files that are being filtered.
pub(super) struct Run<'a> {
    pub(super) dataset: &'a PlannedDataset,
    pub(super) options: &'a FilterFiles,
    pub(super) profiles: Profiles,
    /// The profiles' names as JSON has them.
    pub(super) names: Vec<String>,
    pub(super) asks_beside: bool,
    pub(super) render: Render,
    pub(super) folder: &'a Path,
    /// In the folder, where each file's verdicts are until all are there.
    pub(super) parts: String,
    pub(super) progress: &'a dyn Progress,
    pub(super) stop: &'a AtomicBool,
    /// Something failed that ends the run.
    pub(super) halt: AtomicBool,
    /// Blocks that were read and are not written yet.
    pub(super) held: AtomicUsize,
}

/// What became of a file: no counts if none of it is there.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) counts: Option<FileCounts>,
    pub(super) fault: Option<Fault>,
}

/// What became of all, and the processor seconds of each part of the work.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) files: Vec<Ended>,
    pub(super) seconds: BTreeMap<String, f64>,
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
    pub(super) fn all(&self) -> Result<Done, FilterFilesError> {
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
