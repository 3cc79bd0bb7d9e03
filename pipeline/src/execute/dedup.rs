//! Files to files: the rows that are no duplicates, with all of their fields as they were.
//!
//! The same stages as a build up to the search for duplicates, without texts kept in between; then every file is read once
//! more and its surviving rows are copied byte for byte (JSON Lines) or column by column (parquet). A row that has no text
//! to compare is no duplicate of anything: it is copied and counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufWriter, Read as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::block::verdict;
use super::extract::{self, DoneBlock, Extracted, Places};
use super::reread::RereadTexts;
use super::resolve::{self, ResolveCounters, Survivors};
use super::spill::{Spill, Spilling};
use super::store::{Store, StoreError};
use super::{BuildError, Fault, Rate};
use crate::dedup::cluster::{Clusters, Method, Ordinal};
use crate::dedup::groups::Marks;
use crate::digest::Stamp;
use crate::plan::{Plan, Unit};
use crate::progress::{Event, Progress, Stage};
use crate::read::{self, Compression, FileFormat, ReadOptions};
use crate::source::Location;

/// How files are deduplicated. Nothing here changes which rows survive.
#[derive(Debug, Clone)]
pub struct FilesToFiles {
    /// Where the survivors go.
    pub out: PathBuf,
    /// Where the table of duplicates goes; `duplicates.tsv` in `out` by default.
    pub pairs: Option<PathBuf>,
    /// The field with the id.
    pub id: String,
    /// Folder of intermediates.
    pub work: PathBuf,
    /// Worker threads.
    pub threads: usize,
    /// Bytes of memory to stay within.
    pub memory_bytes: u64,
    /// Rows of files that cannot be read to their end are taken as far as they go.
    pub skip_bad_files: bool,
}

/// What became of a file's rows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCounts {
    /// Rows that were read.
    pub rows: u64,
    /// Rows that were copied, those without text included.
    pub kept: u64,
    /// Duplicates, by method.
    pub duplicates: BTreeMap<String, u64>,
    /// Copied rows that have no text to compare, by reason.
    pub without_text: BTreeMap<String, u64>,
    /// Documents with too few words for a shingle: they are only ever exact duplicates.
    pub short: u64,
    /// Bytes of normalized text.
    pub text_bytes: u64,
}

impl FileCounts {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.kept += other.kept;
        self.short += other.short;
        self.text_bytes += other.text_bytes;
        for (into, from) in [
            (&mut self.duplicates, &other.duplicates),
            (&mut self.without_text, &other.without_text),
        ] {
            from.iter()
                .for_each(|(reason, count)| *into.entry(reason.clone()).or_default() += count);
        }
    }

    fn balances(&self) -> bool {
        self.rows == self.kept + self.duplicates.values().sum::<u64>()
    }
}

/// `dedup.json`: what was done. It is written last, so where it is, everything is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Hash of inputs and options.
    pub fingerprint: String,
    /// `[normalize]` and `[dedup]` as used.
    pub options: serde_json::Value,
    /// Counts of each file, by the name that its survivors have.
    pub files: BTreeMap<String, FileCounts>,
    /// Their sum.
    pub total: FileCounts,
    /// What the search for duplicates counted.
    pub resolve: ResolveCounters,
}

/// Deduplicated files.
#[derive(Debug)]
pub struct Deduplicated {
    /// What was done.
    pub report: Report,
    /// The table of duplicates.
    pub pairs: PathBuf,
    /// Whether an earlier run had done it.
    pub was_there: bool,
    /// How fast it went.
    pub rates: Vec<Rate>,
    /// Files that could not be read to their end.
    pub faults: Vec<Fault>,
}

/// The report's name in the folder of survivors.
pub const REPORT: &str = "dedup.json";
/// Marks a folder as one that a run was at, until the report is there.
const MARK: &str = ".dedup-unfinished";

/// Removes the duplicates among the files of `plan`, which [`crate::plan::of_files`] made.
pub fn dedup(
    plan: &Plan,
    options: &FilesToFiles,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Deduplicated, BuildError> {
    let pairs = options
        .pairs
        .clone()
        .unwrap_or_else(|| options.out.join("duplicates.tsv"));
    let fingerprint = fingerprint(plan, options);
    if let Some(report) = there(plan, options, &pairs, &fingerprint)? {
        return Ok(Deduplicated {
            report,
            pairs,
            was_there: true,
            rates: Vec::new(),
            faults: Vec::new(),
        });
    }
    let store = Store::open(&options.work)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|i| format!("worker-{i}"))
        .build()
        .map_err(|error| BuildError::Threads(error.to_string()))?;
    let run = Run {
        plan,
        options,
        pairs: &pairs,
        fingerprint,
        store: &store,
        progress,
        stop,
    };
    match pool.install(|| run.all()) {
        Err(_) if stop.load(Ordering::Relaxed) => Err(BuildError::Interrupted),
        other => other,
    }
}

fn fingerprint(plan: &Plan, options: &FilesToFiles) -> String {
    crate::digest::Digest::of_value(&(
        "dedup",
        plan.fingerprint,
        &options.id,
        options.skip_bad_files,
    ))
    .hex()
}

/// The report of an earlier run with the same inputs and options. A folder that holds anything else is refused.
fn there(
    plan: &Plan,
    options: &FilesToFiles,
    pairs: &Path,
    fingerprint: &str,
) -> Result<Option<Report>, BuildError> {
    let out = &options.out;
    let in_the_way = |why: String| BuildError::InTheWay {
        folder: out.clone(),
        why,
    };
    for unit in &plan.datasets[0].units {
        if let Location::Local { path, .. } = &unit.files[0].location {
            let target = out.join(&unit.files[0].path);
            let same = fs_err::canonicalize(path).ok() == fs_err::canonicalize(&target).ok();
            if same && target.exists() {
                return Err(in_the_way(format!("{} is read from it", path.display())));
            }
        }
    }
    let report = fs_err::read(out.join(REPORT))
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
    if let Some(report) = report {
        let all = report.files.keys().all(|name| out.join(name).is_file()) && pairs.is_file();
        if report.fingerprint == fingerprint && all {
            return Ok(Some(report));
        }
        if report.fingerprint != fingerprint {
            return Err(in_the_way(
                "survivors of other files, or with other options".to_owned(),
            ));
        }
    }
    let holds_something = fs_err::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if holds_something && !out.join(MARK).exists() && !out.join(REPORT).exists() {
        return Err(in_the_way("it is not empty".to_owned()));
    }
    Ok(None)
}

struct Run<'a> {
    plan: &'a Plan,
    options: &'a FilesToFiles,
    pairs: &'a Path,
    fingerprint: String,
    store: &'a Store,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl Run<'_> {
    fn all(&self) -> Result<Deduplicated, BuildError> {
        let units = &self.plan.datasets[0].units;
        let of_unit = |unit: &Unit| -> Vec<PathBuf> {
            let files = unit.files.iter();
            files
                .filter_map(|file| match &file.location {
                    Location::Local { path, .. } => Some(path.clone()),
                    _ => None,
                })
                .collect()
        };
        let places: Places = vec![units.iter().map(of_unit).collect()];
        let extracted = extract::extract(self.plan, &places, self.store, self.progress, self.stop)?;
        self.must_go_on()?;
        let passing = extracted.faults.iter().any(|fault| fault.passing);
        if !extracted.faults.is_empty() && (passing || !self.options.skip_bad_files) {
            return Err(BuildError::BadFiles(extracted.faults));
        }
        let texts = RereadTexts {
            plan: self.plan,
            extracted: &extracted,
            places: &places,
        };
        let memory = self.options.memory_bytes;
        let survivors =
            Survivors::load(self.plan, &extracted, self.store, &texts, memory, self.stop)?;
        let (clusters, resolve) = resolve::resolve(
            self.plan,
            &extracted,
            &survivors,
            self.store,
            memory,
            self.progress,
        )?;
        let report = self.write(&extracted, &places, &survivors, &clusters, resolve)?;
        self.progress.event(&Event::Finished {
            folder: self.options.out.clone(),
            root: self.fingerprint.clone(),
        });
        Ok(Deduplicated {
            rates: super::rates_of_extract(&extracted),
            report,
            pairs: self.pairs.to_path_buf(),
            was_there: false,
            faults: extracted.faults,
        })
    }

    fn must_go_on(&self) -> Result<(), BuildError> {
        if self.stop.load(Ordering::Relaxed) {
            Err(BuildError::Interrupted)
        } else {
            Ok(())
        }
    }

    fn write(
        &self,
        extracted: &Extracted,
        places: &Places,
        survivors: &Survivors<'_>,
        clusters: &Clusters,
        resolve: ResolveCounters,
    ) -> Result<Report, BuildError> {
        let out = &self.options.out;
        fs_err::create_dir_all(out)?;
        fs_err::write(out.join(MARK), &self.fingerprint)?;
        let units = &self.plan.datasets[0].units;
        self.progress.event(&Event::Stage {
            stage: Stage::Finish,
            total: units.iter().map(Unit::bytes).sum(),
        });
        let named = Marks::new(survivors.own());
        for (document, keeper) in (0..).zip(&clusters.keeper) {
            if *keeper != document {
                named.mark(document);
                named.mark(*keeper);
            }
        }
        let ids = Spilling::new(self.store)?;
        let counts: Mutex<BTreeMap<String, FileCounts>> = Mutex::default();
        // Blocks are in the order of units, and in that of their unit.
        let of_unit: Vec<usize> = (0..=units.len())
            .map(|u| extracted.blocks.partition_point(|block| block.unit < u))
            .collect();
        units.par_iter().enumerate().try_for_each(|(u, unit)| {
            let copy = Copy {
                run: self,
                unit,
                place: &places[0][u][0],
                blocks: &extracted.blocks[of_unit[u]..of_unit[u + 1]],
                first_block: of_unit[u],
                survivors,
                clusters,
                named: &named,
                ids: &ids,
            };
            let of_file = copy.file()?;
            let name = unit.files[0].path.clone();
            counts
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .insert(name, of_file);
            self.progress.event(&Event::Advanced {
                stage: Stage::Finish,
                by: unit.bytes(),
                reused: false,
            });
            Ok::<_, BuildError>(())
        })?;
        let files = counts
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        self.write_pairs(survivors, clusters, &ids.finish()?)?;
        let mut total = FileCounts::default();
        files.values().for_each(|counts| total.add(counts));
        let dedup = &self.plan.recipe.dedup;
        let report = Report {
            fingerprint: self.fingerprint.clone(),
            options: serde_json::json!({ "normalize": self.plan.recipe.normalize, "dedup": dedup }),
            files,
            total,
            resolve,
        };
        let bytes = serde_json::to_vec_pretty(&report).expect("a report is plain data");
        fs_err::File::open(out)?.sync_all()?;
        andromeda_format::write_atomic(&out.join(REPORT), &bytes)?;
        fs_err::remove_file(out.join(MARK))?;
        Ok(report)
    }

    /// Writes a line for every duplicate, in the order of the documents.
    fn write_pairs(
        &self,
        survivors: &Survivors<'_>,
        clusters: &Clusters,
        ids: &Spill,
    ) -> Result<(), BuildError> {
        let mut aside = self.pairs.as_os_str().to_owned();
        aside.push(".part");
        let aside = PathBuf::from(aside);
        let mut file = BufWriter::new(fs_err::File::create(&aside)?);
        file.write_all(b"dropped\tkept\tsimilarity\tmethod\tcluster\n")?;
        let mut sizes = vec![0_u32; clusters.cluster.len()];
        for root in &clusters.cluster {
            sizes[*root as usize] += 1;
        }
        let (mut dropped, mut kept, mut line) = (Vec::new(), Vec::new(), String::new());
        for (document, keeper) in (0..survivors.own()).zip(&clusters.keeper) {
            let at = document as usize;
            let Some(method) = Method::name(clusters.method[at]) else {
                continue;
            };
            ids.read(document, &mut dropped)?;
            ids.read(*keeper, &mut kept)?;
            line.clear();
            let _ = write!(
                line,
                "{}\t{}\t",
                String::from_utf8_lossy(&dropped),
                String::from_utf8_lossy(&kept)
            );
            let similarity = clusters.similarity[at];
            if similarity >= 0.0 {
                let _ = write!(line, "{similarity:.4}");
            }
            let size = sizes[clusters.cluster[at] as usize];
            let _ = writeln!(line, "\t{method}\t{size}");
            file.write_all(line.as_bytes())?;
        }
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        drop(file);
        Ok(fs_err::rename(&aside, self.pairs)?)
    }
}

/// One file, copied without its duplicates.
struct Copy<'a> {
    run: &'a Run<'a>,
    unit: &'a Unit,
    place: &'a Path,
    blocks: &'a [DoneBlock],
    first_block: usize,
    survivors: &'a Survivors<'a>,
    clusters: &'a Clusters,
    named: &'a Marks,
    ids: &'a Spilling,
}

/// What becomes of a row: its ordinal among the documents, if it is one, and whether it stays.
#[derive(Clone, Copy)]
struct Fate {
    document: Option<Ordinal>,
    kept: bool,
}

impl Copy<'_> {
    fn file(&self) -> Result<FileCounts, BuildError> {
        let target = self.run.options.out.join(&self.unit.files[0].path);
        if let Some(folder) = target.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let mut aside = target.as_os_str().to_owned();
        aside.push(".part");
        let aside = PathBuf::from(aside);
        let file = fs_err::File::create(&aside)?.into_file();
        let mut counts = FileCounts::default();
        let file = match (self.unit.format, self.unit.compression) {
            (FileFormat::Parquet, _) => self.parquet(file, &mut counts)?,
            (_, Compression::None) => self.plain_lines(file, &mut counts)?,
            (_, Compression::Gzip) => {
                let file = BufWriter::with_capacity(1 << 20, file);
                let mut to = flate2::write::GzEncoder::new(file, flate2::Compression::default());
                self.lines(&mut to, &mut counts)?;
                to.finish()?
                    .into_inner()
                    .map_err(std::io::IntoInnerError::into_error)?
            }
            (_, Compression::Zstd) => {
                let mut to = zstd::Encoder::new(file, 3)?;
                self.lines(&mut to, &mut counts)?;
                to.finish()?
            }
        };
        file.sync_all()?;
        drop(file);
        if let Location::Local { path, stamp } = &self.unit.files[0].location
            && Stamp::of(path)? != *stamp
        {
            return Err(self.changed().into());
        }
        if !counts.balances() {
            return Err(BuildError::Store(StoreError::Damaged {
                file: self.place.to_path_buf(),
                what: "its rows do not add up".to_owned(),
            }));
        }
        fs_err::rename(&aside, &target)?;
        Ok(counts)
    }

    /// What becomes of the rows of a block, in order; adds them to the counts.
    fn fates(&self, block: usize, counts: &mut FileCounts) -> Result<Vec<Fate>, StoreError> {
        let done = &self.blocks[block];
        let of = &self.survivors.blocks[self.first_block + block];
        let verdicts = of.file.read("verdicts")?;
        let mut ordinals = of.ordinals();
        counts.rows += verdicts.len() as u64;
        counts.text_bytes += done.counters.bytes;
        for (reason, count) in &done.counters.quarantined {
            *counts.without_text.entry(reason.clone()).or_default() += count.documents;
        }
        if self.run.plan.recipe.dedup.near.is_some() {
            counts.short += of.unsigned() as u64;
        }
        let fates: Vec<Fate> = verdicts
            .iter()
            .map(|verdict| {
                let document = match *verdict == verdict::SURVIVED {
                    true => ordinals.next(),
                    false => None,
                };
                let method = document.map(|d| self.clusters.method[d as usize]);
                match method.and_then(Method::name) {
                    Some(name) => *counts.duplicates.entry(name.to_owned()).or_default() += 1,
                    None => counts.kept += 1,
                }
                let kept = method.is_none_or(|method| method == Method::Kept as u8);
                Fate { document, kept }
            })
            .collect();
        Ok(fates)
    }

    fn changed(&self) -> StoreError {
        StoreError::Io(std::io::Error::other(format!(
            "{} changed while it was deduplicated; run again when it is at rest",
            self.place.display()
        )))
    }

    fn bad(&self, message: &str) -> BuildError {
        BuildError::BadFiles(vec![Fault {
            dataset: self.run.plan.datasets[0].name.clone(),
            file: self.unit.files[0].path.clone(),
            message: format!("{}: {message}", self.place.display()),
            problem: message.to_owned(),
            passing: false,
        }])
    }

    fn options(&self, fields: Option<Vec<String>>) -> ReadOptions {
        let mut options = self.run.plan.datasets[0].read.clone();
        options.format = Some(self.unit.format);
        options.compression = Some(self.unit.compression);
        options.fields = fields;
        options
    }

    fn note_id(
        &self,
        fate: Fate,
        row: u64,
        id: impl FnOnce() -> Option<serde_json::Value>,
    ) -> Result<(), StoreError> {
        let Some(document) = fate.document.filter(|document| self.named.has(*document)) else {
            return Ok(());
        };
        let id = match id() {
            Some(serde_json::Value::String(id)) => id,
            Some(serde_json::Value::Null) | None => format!("{}#{row}", self.unit.files[0].path),
            Some(other) => other.to_string(),
        };
        self.ids.put(document, escaped(&id).as_bytes())
    }

    fn lines(&self, to: &mut impl Write, counts: &mut FileCounts) -> Result<(), BuildError> {
        let mut source = read::open(self.place, &self.options(None))
            .map_err(|error| self.bad(&error.to_string()))?;
        for number in 0..self.blocks.len() {
            self.run.must_go_on()?;
            let block = source
                .next_block()
                .map_err(|error| self.bad(&error.to_string()))?;
            let fates = self.fates(number, counts)?;
            let Some(block) = block.filter(|block| block.rows() == fates.len() as u64) else {
                return Err(self.changed().into());
            };
            let mut row = block.first_row;
            let mut fates = fates.into_iter();
            let mut outcome: Result<(), BuildError> = Ok(());
            block.raw(&mut |bytes| {
                let fate = fates.next().expect("as many fates as rows");
                if outcome.is_ok() {
                    outcome = match bytes {
                        Ok(bytes) => self.line(to, fate, row, bytes),
                        Err(fault) => Err(self.bad(&format!("row {row}: {fault}"))),
                    };
                }
                row += 1;
            });
            outcome?;
        }
        Ok(to.flush()?)
    }

    /// As [`lines`](Self::lines) for a file that is not compressed: neighbours that stay are written as one.
    fn plain_lines(
        &self,
        to: std::fs::File,
        counts: &mut FileCounts,
    ) -> Result<std::fs::File, BuildError> {
        let mut to = BufWriter::with_capacity(1 << 16, to);
        let mut file = fs_err::File::open(self.place)?;
        // It stays in the second-level cache on its way from one file to the other.
        let mut buffer = vec![0; 256 << 10];
        let (mut filled, mut row, mut begun) = (0, 0, false);
        let mut fates = Vec::new().into_iter();
        let mut next_block = 0;
        loop {
            if filled == buffer.len() {
                // One row is longer than all of it.
                if filled > self.run.plan.datasets[0].read.max_row_bytes {
                    return Err(self.bad(&format!("row {row} is too long to be copied")));
                }
                buffer.resize(2 * filled, 0);
            }
            let got = file.read(&mut buffer[filled..])?;
            filled += got;
            let held = &buffer[..filled];
            if !begun && held.len() < 3 && got > 0 {
                continue;
            }
            let mut at = if begun || !held.starts_with(b"\xef\xbb\xbf") {
                0
            } else {
                3
            };
            begun = true;
            // The rows from here to `at` stay and are not written yet.
            let mut from = at;
            loop {
                let end = match memchr::memchr(b'\n', &held[at..]) {
                    Some(length) => at + length,
                    None if got == 0 && at < filled => filled,
                    None => break,
                };
                let line = &held[at..end];
                let next = (end + 1).min(filled);
                let is_row = !line.trim_ascii().is_empty();
                let mut kept = false;
                if is_row {
                    let mut fate = fates.next();
                    while fate.is_none() && next_block < self.blocks.len() {
                        self.run.must_go_on()?;
                        fates = self.fates(next_block, counts)?.into_iter();
                        next_block += 1;
                        fate = fates.next();
                    }
                    let fate = fate.ok_or_else(|| self.changed())?;
                    self.note_id(fate, row, || read::field_of(line, &self.run.options.id))?;
                    kept = fate.kept;
                    row += 1;
                }
                if !kept {
                    to.write_all(&held[from..at])?;
                    from = next;
                }
                at = next;
            }
            to.write_all(&held[from..at])?;
            if got == 0 {
                let ends = from == at || held.last() == Some(&b'\n');
                to.write_all(if ends { b"" } else { b"\n" })?;
                break;
            }
            buffer.copy_within(at..filled, 0);
            filled -= at;
        }
        if fates.next().is_some() || next_block < self.blocks.len() {
            return Err(self.changed().into());
        }
        Ok(to
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?)
    }

    fn line(
        &self,
        to: &mut impl Write,
        fate: Fate,
        row: u64,
        bytes: &[u8],
    ) -> Result<(), BuildError> {
        self.note_id(fate, row, || read::field_of(bytes, &self.run.options.id))?;
        if fate.kept {
            to.write_all(bytes)?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }

    fn parquet(
        &self,
        file: std::fs::File,
        counts: &mut FileCounts,
    ) -> Result<std::fs::File, BuildError> {
        let mut fates = Vec::new();
        for block in 0..self.blocks.len() {
            fates.extend(self.fates(block, counts)?);
        }
        // Ids are read as rows are: one column, whatever its type.
        let fields = Some(vec![self.run.options.id.clone()]);
        let mut source = read::open(self.place, &self.options(fields))
            .map_err(|error| self.bad(&error.to_string()))?;
        let mut outcome: Result<(), StoreError> = Ok(());
        while let Some(block) = source
            .next_block()
            .map_err(|error| self.bad(&error.to_string()))?
        {
            self.run.must_go_on()?;
            let of_block = usize::try_from(block.first_row).unwrap_or(usize::MAX);
            let named = fates.iter().skip(of_block);
            let mut named = named.take(usize::try_from(block.rows()).unwrap_or(usize::MAX));
            if !named.any(|fate| fate.document.is_some_and(|d| self.named.has(d))) {
                continue;
            }
            block
                .decode(&mut |row, fields| {
                    let at = usize::try_from(row).unwrap_or(usize::MAX);
                    if let (Ok(()), Some(fate), Ok(mut fields)) = (&outcome, fates.get(at), fields)
                    {
                        outcome = self.note_id(*fate, row, || fields.remove(&self.run.options.id));
                    }
                })
                .map_err(|error| self.bad(&error.to_string()))?;
        }
        outcome?;
        let keep: Vec<bool> = fates.iter().map(|fate| fate.kept).collect();
        read::copy_parquet(self.place, file, &keep).map_err(|error| self.bad(&error.to_string()))
    }
}

/// An id as it stands in a table of tabs and lines.
fn escaped(id: &str) -> String {
    if !id.contains(['\t', '\n', '\r', '\\']) {
        return id.to_owned();
    }
    let mut out = String::with_capacity(id.len() + 8);
    for character in id.chars() {
        match character {
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\\' => out.push_str("\\\\"),
            other => out.push(other),
        }
    }
    out
}
