//! What stood before is cut from the documents that stay, and those of which too little is left go.
//!
//! One task. Pieces are sought in the texts that the extract stage kept, unit after unit, each in what the one before left;
//! what all of them cut of a document is then one list of ranges of its text. Documents that have segments, such as
//! dialogues, are not looked at: their segments end at bytes of the text as it is.
//!
//! Which documents go is decided last. So a first copy may stand in one of them, and its later copies are cut all the same:
//! of each document that goes, less than the shortest text that may stay is lost that way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use super::cpu::Watch;
use super::extract::Extracted;
use super::resolve::Survivors;
use super::segments::StoredSegment;
use super::store::{SectionFile, Sections, Store, StoreError, column_u32};
use super::texts::Texts;
use crate::dedup::cluster::{Clusters, Method, Ordinal};
use crate::dedup::repeat::{self, RepeatOptions, Repeats, remaining};
use crate::digest::Digest;
use crate::plan::{BYTES_VERSION, Plan};
use crate::progress::{Event, Progress, Stage};
use crate::recipe::{TrimOptions, TrimUnit};

/// Number of units that cut.
const UNITS: usize = TrimUnit::ALL.len();

/// What the stage found; nothing where the recipe does not trim.
#[derive(Debug, Default)]
pub(super) struct Trimmed {
    /// Documents of which something is cut, ascending.
    documents: Vec<Ordinal>,
    /// Where the cuts of each of these end.
    ends: Vec<usize>,
    /// Ranges of the documents' texts: in order, not touching, not empty.
    cuts: Vec<Range<u32>>,
    /// Bytes that each unit cuts of each of these.
    bytes: Vec<[u32; UNITS]>,
    /// Which of these are dropped, since too little is left.
    dropped: Vec<bool>,
}

impl Trimmed {
    fn place(&self, document: Ordinal) -> Option<usize> {
        self.documents.binary_search(&document).ok()
    }

    fn cuts_at(&self, at: usize) -> &[Range<u32>] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cuts[start..self.ends[at]]
    }

    /// What is cut of a document.
    pub(super) fn cuts(&self, document: Ordinal) -> &[Range<u32>] {
        self.place(document).map_or(&[], |at| self.cuts_at(at))
    }

    /// The bytes that are cut of a document, by unit; nothing where it stays as it is.
    pub(super) fn bytes(&self, document: Ordinal) -> Option<[(TrimUnit, u64); UNITS]> {
        let bytes = self.bytes[self.place(document)?];
        Some(std::array::from_fn(|unit| {
            (TrimUnit::ALL[unit], u64::from(bytes[unit]))
        }))
    }

    /// Why a document is dropped, if it is: the unit that took the most of it, the first of those that took the same.
    pub(super) fn dropped(&self, document: Ordinal) -> Option<TrimUnit> {
        let at = self.place(document).filter(|at| self.dropped[*at])?;
        let bytes = &self.bytes[at];
        let most = bytes.iter().max()?;
        let unit = bytes.iter().position(|bytes| bytes == most)?;
        Some(TrimUnit::ALL[unit])
    }

    /// Whether a document that stays after the search for duplicates stays after this one.
    pub(super) fn stays(&self, document: Ordinal) -> bool {
        self.dropped(document).is_none()
    }

    fn push(&mut self, document: Ordinal, cuts: &[Range<u32>], bytes: [u32; UNITS]) {
        self.documents.push(document);
        self.cuts.extend_from_slice(cuts);
        self.ends.push(self.cuts.len());
        self.bytes.push(bytes);
        self.dropped.push(false);
    }

    /// The same and what one more unit cuts of what was left.
    fn and(self, unit: TrimUnit, repeats: &Repeats) -> Self {
        let mut all = Self::default();
        let mut before = (0..self.documents.len()).peekable();
        for (document, cuts) in repeats.iter() {
            while let Some(at) = before.next_if(|at| self.documents[*at] < document) {
                all.push(self.documents[at], self.cuts_at(at), self.bytes[at]);
            }
            let (first, mut bytes): (&[Range<u32>], _) =
                match before.next_if(|at| self.documents[*at] == document) {
                    Some(at) => (self.cuts_at(at), self.bytes[at]),
                    None => (&[], [0; UNITS]),
                };
            bytes[unit as usize] = cuts.iter().map(|cut| cut.end - cut.start).sum();
            all.push(document, &together(first, cuts), bytes);
        }
        for at in before {
            all.push(self.documents[at], self.cuts_at(at), self.bytes[at]);
        }
        all
    }

    fn sections(&self) -> Sections {
        let mut sections = Sections::default();
        sections.push("documents", column_u32(self.documents.iter().copied()));
        let counts = (0..self.documents.len()).map(|at| {
            u32::try_from(self.cuts_at(at).len()).expect("a document has fewer cuts than bytes")
        });
        sections.push("counts", column_u32(counts));
        let cuts = self.cuts.iter().flat_map(|cut| [cut.start, cut.end]);
        sections.push("cuts", column_u32(cuts));
        let bytes = self.bytes.iter().flatten().copied();
        sections.push("bytes", column_u32(bytes));
        let dropped = self.dropped.iter().map(|dropped| u8::from(*dropped));
        sections.push("dropped", dropped.collect());
        sections
    }

    fn read(file: &SectionFile) -> Result<Self, StoreError> {
        let documents = file.read_u32("documents")?;
        let ends: Vec<usize> = file
            .read_u32("counts")?
            .into_iter()
            .scan(0, |at, count| {
                *at += count as usize;
                Some(*at)
            })
            .collect();
        let cuts = file.read_u32("cuts")?;
        let cuts = cuts.as_chunks::<2>().0.iter();
        let cuts: Vec<Range<u32>> = cuts.map(|[start, end]| *start..*end).collect();
        let bytes = file.read_u32("bytes")?.as_chunks::<UNITS>().0.to_vec();
        let dropped = file.read("dropped")?.into_iter().map(|byte| byte != 0);
        let read = Self {
            dropped: dropped.collect(),
            documents,
            ends,
            cuts,
            bytes,
        };
        let count = read.documents.len();
        let whole = [read.ends.len(), read.bytes.len(), read.dropped.len()] == [count; 3]
            && read.ends.last().copied().unwrap_or(0) == read.cuts.len();
        if whole {
            Ok(read)
        } else {
            Err(StoreError::Damaged {
                file: file.path().to_path_buf(),
                what: "its columns are not of one length".to_owned(),
            })
        }
    }

    /// What it comes to, for people.
    fn counters(&self) -> serde_json::Value {
        let mut units: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for bytes in &self.bytes {
            for (unit, bytes) in TrimUnit::ALL.iter().zip(bytes).filter(|(_, b)| **b > 0) {
                let count = units.entry(unit.name()).or_default();
                count.0 += 1;
                count.1 += u64::from(*bytes);
            }
        }
        let dropped = self.dropped.iter().filter(|dropped| **dropped).count();
        serde_json::json!({ "documents": self.documents.len(), "dropped": dropped, "units": units })
    }
}

/// The cuts of a text and those of what they left of it, as cuts of the text.
fn together(first: &[Range<u32>], second: &[Range<u32>]) -> Vec<Range<u32>> {
    let mut all: Vec<Range<u32>> = first.to_vec();
    // Bytes of `first` that are cut before the place reached.
    let (mut cut, mut rest) = (0, first.iter().peekable());
    for range in second {
        // The place of a byte that is left: behind every cut that begins at or before it.
        let mut place = |byte: u32| {
            while let Some(before) = rest.next_if(|before| before.start <= byte + cut) {
                cut += before.end - before.start;
            }
            byte + cut
        };
        let start = place(range.start);
        all.push(start..place(range.end - 1) + 1);
    }
    all.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u32>> = Vec::with_capacity(all.len());
    for range in all {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// The texts of the documents that are trimmed, without what was cut of them so far.
struct Kept<'a> {
    plan: &'a Plan,
    options: &'a TrimOptions,
    extracted: &'a Extracted,
    survivors: &'a Survivors<'a>,
    clusters: &'a Clusters,
    trimmed: &'a Trimmed,
    stop: &'a AtomicBool,
}

impl repeat::Texts for Kept<'_> {
    type Error = StoreError;

    fn bytes(&self) -> u64 {
        let blocks = self.extracted.blocks.iter().zip(&self.survivors.blocks);
        let taken = blocks.filter(|(done, _)| self.takes(done.dataset));
        taken
            .flat_map(|(_, block)| block.ordinals())
            .filter(|document| is_kept(self.clusters, *document))
            .map(|document| self.survivors.lengths[document as usize])
            .sum()
    }

    fn chunks(&self) -> usize {
        self.survivors.blocks.len()
    }

    fn for_each_in(
        &self,
        chunk: usize,
        each: &mut dyn FnMut(Ordinal, &str),
    ) -> Result<(), StoreError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
        }
        if !self.takes(self.extracted.blocks[chunk].dataset) {
            return Ok(());
        }
        let block = &self.survivors.blocks[chunk];
        let segments: Vec<StoredSegment> = block.file.read_json("segments")?;
        let segmented: BTreeSet<u32> = segments.into_iter().map(|segment| segment.0).collect();
        let mut texts = None;
        for document in block.ordinals() {
            let local = document - block.first;
            if !is_kept(self.clusters, document) || segmented.contains(&local) {
                continue;
            }
            let texts = match &mut texts {
                Some(texts) => texts,
                none => none.insert(Texts::read(&block.file)?),
            };
            let cuts = self.trimmed.cuts(document);
            each(document, &remaining(texts.get(local)?, cuts));
        }
        Ok(())
    }
}

impl Kept<'_> {
    fn takes(&self, dataset: usize) -> bool {
        self.options.takes(&self.plan.datasets[dataset].profile)
    }
}

fn is_kept(clusters: &Clusters, document: Ordinal) -> bool {
    clusters.method[document as usize] == Method::Kept as u8
}

/// Runs the stage on the calling rayon pool, or takes what an earlier run found.
#[expect(clippy::too_many_arguments, reason = "each is another stage's result")]
pub(super) fn trim(
    plan: &Plan,
    extracted: &Extracted,
    survivors: &Survivors<'_>,
    clusters: &Clusters,
    store: &Store,
    memory: u64,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Trimmed, StoreError> {
    let Some(options) = &plan.recipe.dedup.trim else {
        return Ok(Trimmed::default());
    };
    progress.event(&Event::Stage {
        stage: Stage::Trim,
        total: 1,
    });
    let inputs: Vec<(bool, Digest)> = extracted
        .blocks
        .iter()
        .map(|block| {
            let taken = options.takes(&plan.datasets[block.dataset].profile);
            (taken, block.receipt.sha256)
        })
        .collect();
    let kept: Vec<u8> = (0..survivors.own())
        .map(|document| u8::from(is_kept(clusters, document)))
        .collect();
    let key = Digest::of_value(&(
        "trim",
        BYTES_VERSION,
        inputs,
        Digest::of(&kept),
        (options.min_left_characters, &options.lines),
        (&options.paragraphs, &options.spans),
    ));
    let receipt = store.receipt(Stage::Trim, key)?;
    let was = receipt.is_some();
    let trimmed = if was {
        Trimmed::read(&SectionFile::open(&store.data(Stage::Trim, key))?)?
    } else {
        let mut watch = Watch::start();
        let mut trimmed = Trimmed::default();
        for (unit, sought, scope) in options.units() {
            let kept = Kept {
                plan,
                options,
                extracted,
                survivors,
                clusters,
                trimmed: &trimmed,
                stop,
            };
            let found = repeat::repeated(
                &kept,
                &RepeatOptions {
                    unit: sought,
                    scope,
                    memory_bytes: memory / 4,
                },
            )?;
            trimmed = trimmed.and(unit, &found);
        }
        trimmed.dropped = too_short(&trimmed, survivors, options.min_left_characters, stop)?;
        watch.lap("trim");
        let mut attempt = store.attempt()?;
        trimmed.sections().write(&mut attempt)?;
        let counters = trimmed.counters();
        store.commit(Stage::Trim, key, attempt, &counters, watch.seconds())?;
        trimmed
    };
    progress.event(&Event::Advanced {
        stage: Stage::Trim,
        by: 1,
        reused: was,
    });
    Ok(trimmed)
}

/// Which documents of which something is cut have fewer than so many characters left.
fn too_short(
    trimmed: &Trimmed,
    survivors: &Survivors<'_>,
    least: u64,
    stop: &AtomicBool,
) -> Result<Vec<bool>, StoreError> {
    let by_block: Vec<Vec<bool>> = survivors
        .blocks
        .par_iter()
        .map(|block| {
            if stop.load(Ordering::Relaxed) {
                return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
            }
            let of_block = block.ordinals();
            let first = trimmed.documents.partition_point(|d| *d < of_block.start);
            let end = trimmed.documents.partition_point(|d| *d < of_block.end);
            let mut texts = None;
            let mut short = Vec::with_capacity(end - first);
            for at in first..end {
                let document = trimmed.documents[at];
                let cut: u64 = trimmed.bytes[at].iter().map(|b| u64::from(*b)).sum();
                let left = survivors.lengths[document as usize] - cut;
                // A character has one to four bytes.
                short.push(if left < least {
                    true
                } else if left / 4 >= least {
                    false
                } else {
                    let texts = match &mut texts {
                        Some(texts) => texts,
                        none => none.insert(Texts::read(&block.file)?),
                    };
                    let text = texts.get(document - block.first)?;
                    let left = remaining(text, trimmed.cuts_at(at));
                    (left.chars().count() as u64) < least
                });
            }
            Ok(short)
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(by_block.into_iter().flatten().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ranges of a text of `length` bytes, of which every subset of its bytes is one.
    fn ranges(length: u32, bits: u32) -> Vec<Range<u32>> {
        let mut found: Vec<Range<u32>> = Vec::new();
        for byte in (0..length).filter(|byte| bits >> byte & 1 == 1) {
            match found.last_mut() {
                Some(last) if last.end == byte => last.end += 1,
                _ => found.push(byte..byte + 1),
            }
        }
        found
    }

    #[test]
    fn cuts_of_what_was_left_are_cuts_of_the_text() {
        let text = "abcdefgh";
        for first in 0..256 {
            let first = ranges(8, first);
            let left = remaining(text, &first);
            let length = u32::try_from(left.len()).unwrap();
            for second in 0..1 << length {
                let second = ranges(length, second);
                let together = together(&first, &second);
                assert_eq!(
                    remaining(text, &together),
                    remaining(&left, &second),
                    "{first:?} then {second:?}"
                );
                assert!(together.iter().all(|range| !range.is_empty()));
                assert!(together.windows(2).all(|w| w[0].end < w[1].start));
            }
        }
    }

    #[test]
    fn what_was_found_is_read_as_it_was_written() {
        let mut trimmed = Trimmed::default();
        trimmed.push(3, &[0..4, 9..10], [5, 0, 0]);
        trimmed.push(70_000, &[1..3, 5..6], [0, 2, 1]);
        trimmed.dropped[1] = true;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("trim");
        let mut file = fs_err::File::create(&path).unwrap();
        trimmed.sections().write(&mut file).unwrap();
        let read = Trimmed::read(&SectionFile::open(&path).unwrap()).unwrap();
        assert_eq!(read.cuts(3), [0..4, 9..10]);
        assert_eq!(read.cuts(70_000), [1..3, 5..6]);
        assert_eq!(read.cuts(4), []);
        assert_eq!(read.dropped(3), None);
        assert_eq!(read.dropped(70_000), Some(TrimUnit::Paragraphs));
        assert_eq!(read.bytes, trimmed.bytes);
        assert_eq!(read.counters(), trimmed.counters());
    }
}
