//! Repeated pieces of texts: lines, paragraphs or runs of words that stood before, in the same document or in an earlier
//! one. The first copy stays, by document and then by place; what is found is what to cut.
//!
//! **How.** Each piece has a 128-bit hash, and no piece is ever compared with another otherwise: among 10^11 pieces the
//! chance that any two different ones share a hash is 10^-17. A first walk over the texts enters every hash in a table of
//! two bits a cell (`table`): seen once, seen again. Most pieces are alone in the world and so, nearly always, in
//! their cell; a second walk gathers the others with their places, sorts them, and marks all but the first of each hash, one
//! bit a piece (`gather`). The table only spares work: a cell shared by chance sends a piece to the sorting, where it turns
//! out to be alone. A last walk makes ranges of what is marked (`pieces`, `spans`) and lays them so that what [`remaining`]
//! gives reads on (`cut`).
//!
//! **Memory.** Table and sorting share [`RepeatOptions::memory_bytes`]; where the sorting needs more it takes a part of
//! the hashes at a time, at the price of a walk each. Beside them stand one bit a piece, four bytes a document, the result,
//! and the text being read with some eight bytes for each of its words. Within a document there is no corpus-wide table, and the
//! first walk is the last.
//!
//! The result depends on texts, unit and scope alone: neither on memory nor threads, nor on how documents are put in chunks.

mod cut;
mod gather;
mod pieces;
mod spans;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::num::NonZeroU32;
use std::ops::{AddAssign, Range};

use rayon::prelude::*;

use super::cluster::Ordinal;
use crate::analysis::MAX_TEXT_BYTES;

pub use self::cut::remaining;
use self::gather::Gather;
use self::pieces::{for_each_line, for_each_paragraph};
use self::spans::Windows;
use self::table::{AT_ONCE, Bits, Cells};

/// The texts in which repeats are sought. They are walked several times and are the same each time.
pub trait Texts: Sync {
    /// Why a text could not be read.
    type Error: Send;
    /// Bytes of all texts together. It sizes tables and changes no result, so it may be an estimate.
    fn bytes(&self) -> u64;
    /// Parts that may be read at the same time by different threads.
    fn chunks(&self) -> usize;
    /// Calls back with each document of a chunk and its text, in ordinal order. All ordinals of a chunk are below those
    /// of the next; ordinals may be left out.
    ///
    /// # Errors
    /// A text cannot be read; the search ends.
    fn for_each_in(
        &self,
        chunk: usize,
        each: &mut dyn FnMut(Ordinal, &str),
    ) -> Result<(), Self::Error>;
}

/// What is taken for a copy as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A line without the white space around it, byte for byte. Indentation and line ends are layout; case, digits and
    /// punctuation are not: two rows of a table that differ in a number are two rows.
    Lines {
        /// Characters from which on a line is looked at.
        min_chars: u32,
    },
    /// Lines between blank ones, taken together: from the first character that is not white space to the last such,
    /// byte for byte. A line of white space is blank, so line ends of any kind make the same paragraphs.
    Paragraphs {
        /// Characters from which on a paragraph is looked at.
        min_chars: u32,
    },
    /// Runs of words ([`super::words`], with their case), whatever stands between them.
    Spans {
        /// Words from which on a run is a copy.
        words: NonZeroU32,
    },
}

impl Unit {
    /// Lines of 32 characters. What is shorter is structure more often than content: `}`, `return None`, `</table>`,
    /// "Yes, sir." and "Read more" repeat without being copies of anything.
    pub const LINES: Self = Self::Lines { min_chars: 32 };
    /// Paragraphs of 64 characters, which leaves a dialogue its short turns.
    pub const PARAGRAPHS: Self = Self::Paragraphs { min_chars: 64 };
    /// Runs of 50 words. Lee et al., "Deduplicating Training Data Makes Language Models Better" (2021), section 4.1,
    /// take 50 tokens of a byte-pair encoding, some 40 words; idioms, licences' first lines and quotations are shorter.
    pub const SPANS: Self = Self::Spans {
        words: NonZeroU32::MIN.saturating_add(49),
    };

    /// The bytes of text that hold a piece, at least or in practice.
    fn bytes_per_piece(self) -> u64 {
        match self {
            Self::Lines { min_chars } | Self::Paragraphs { min_chars } => u64::from(min_chars) + 1,
            // Six in English, three in Chinese.
            Self::Spans { .. } => 4,
        }
    }
}

/// Where an earlier copy counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In the same document only.
    Document,
    /// In any document.
    Corpus,
}

/// What is sought, and in what memory.
#[derive(Debug, Clone, Copy)]
pub struct RepeatOptions {
    /// What is a piece.
    pub unit: Unit,
    /// Where an earlier copy counts.
    pub scope: Scope,
    /// Bytes that the table and the sorting of a search through the corpus may hold; changes no result.
    pub memory_bytes: u64,
}

/// What was seen and what is to be cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines or paragraphs that are long enough, or windows of so many words.
    pub pieces: u64,
    /// Pieces that have an earlier copy.
    pub repeats: u64,
    /// Ranges to cut.
    pub cuts: u64,
    /// Bytes in these.
    pub bytes: u64,
    /// Documents that hold any of these.
    pub documents: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.pieces += other.pieces;
        self.repeats += other.repeats;
        self.cuts += other.cuts;
        self.bytes += other.bytes;
        self.documents += other.documents;
    }
}

/// What is to be cut from which document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repeats {
    documents: Vec<Ordinal>,
    /// Where the cuts of each of these documents end.
    ends: Vec<usize>,
    cuts: Vec<Range<u32>>,
    /// In numbers.
    pub counts: Counts,
}

impl Repeats {
    /// Each document of which something is to be cut and the byte ranges of that, in order. The ranges are not empty,
    /// do not touch each other and begin and end between characters.
    pub fn iter(&self) -> impl Iterator<Item = (Ordinal, &[Range<u32>])> {
        self.documents
            .iter()
            .enumerate()
            .map(|(at, document)| (*document, self.cuts_at(at)))
    }

    /// The byte ranges to cut from a document; none for most.
    #[must_use]
    pub fn cuts(&self, document: Ordinal) -> &[Range<u32>] {
        self.documents
            .binary_search(&document)
            .map_or(&[], |at| self.cuts_at(at))
    }

    fn cuts_at(&self, at: usize) -> &[Range<u32>] {
        let start = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cuts[start..self.ends[at]]
    }

    fn add(&mut self, document: Ordinal, cuts: &[Range<u32>]) {
        if cuts.is_empty() {
            return;
        }
        self.documents.push(document);
        self.cuts.extend_from_slice(cuts);
        self.ends.push(self.cuts.len());
        self.counts.documents += 1;
        self.counts.cuts += cuts.len() as u64;
        self.counts.bytes += cuts
            .iter()
            .map(|cut| u64::from(cut.end - cut.start))
            .sum::<u64>();
    }

    fn append(&mut self, next: Self) {
        let held = self.cuts.len();
        self.documents.extend(next.documents);
        self.ends
            .extend(next.ends.into_iter().map(|end| held + end));
        self.cuts.extend(next.cuts);
        self.counts += next.counts;
    }
}

/// Finds what to cut. A text of more than [`MAX_TEXT_BYTES`] is passed over.
///
/// # Errors
/// A text could not be read.
pub fn repeated<T: Texts>(texts: &T, options: &RepeatOptions) -> Result<Repeats, T::Error> {
    match options.scope {
        Scope::Document => within_documents(texts, options.unit),
        Scope::Corpus => within_corpus(texts, options),
    }
}

fn within_documents<T: Texts>(texts: &T, unit: Unit) -> Result<Repeats, T::Error> {
    by_chunk(
        texts,
        |_, repeats, scanner: &mut Scanner, document, text| {
            let cells = Cells::new(cells_wanted(unit, text.len() as u64));
            let mut pieces = 0;
            scanner.scan(unit, text, |hash| {
                cells.enter(hash.low);
                pieces += 1;
            });
            // Reading from the front, the first that comes is the first there is.
            let mut seen: HashSet<PieceHash, BuildHasherDefault<Unhashed>> = HashSet::default();
            let marks = Bits::new(pieces);
            let (mut at, mut marked) = (0, 0);
            scanner.scan(unit, text, |hash| {
                if cells.entered_again(hash.low) && !seen.insert(hash) {
                    marks.set(at);
                    marked += 1;
                }
                at += 1;
            });
            repeats.counts.pieces += pieces as u64;
            repeats.counts.repeats += marked;
            if marked > 0 {
                let cuts = scanner.cuts(unit, text, |piece| marks.get(piece));
                repeats.add(document, &cuts);
            }
        },
    )
}

fn within_corpus<T: Texts>(texts: &T, options: &RepeatOptions) -> Result<Repeats, T::Error> {
    let unit = options.unit;
    let wanted = cells_wanted(unit, texts.bytes());
    let cells = Cells::new(wanted.min(Cells::in_bytes(options.memory_bytes / 2)));
    // Pieces are numbered through all texts; each chunk knows how many each of its documents has.
    let counted: Vec<Vec<u32>> = (0..texts.chunks())
        .into_par_iter()
        .map(|chunk| {
            let mut scanner = Scanner::default();
            let mut counts = Vec::new();
            let mut seen = Vec::with_capacity(AT_ONCE);
            texts.for_each_in(chunk, &mut |_, text| {
                let mut pieces = 0;
                scanner.scan(unit, text, |hash| {
                    seen.push(hash.low);
                    if seen.len() == AT_ONCE {
                        cells.enter_all(&seen);
                        seen.clear();
                    }
                    pieces += 1;
                });
                counts.push(pieces);
            })?;
            cells.enter_all(&seen);
            Ok(counts)
        })
        .collect::<Result<_, T::Error>>()?;
    let mut pieces = 0;
    let firsts: Vec<usize> = counted
        .iter()
        .map(|counts| {
            let first = pieces;
            pieces += counts.iter().map(|count| *count as usize).sum::<usize>();
            first
        })
        .collect();

    let marks = Bits::new(pieces);
    let left = options.memory_bytes.saturating_sub(cells.bytes());
    let mut gather = Gather::new(left);
    while gather.is_unfinished() {
        (0..texts.chunks()).into_par_iter().try_for_each(|chunk| {
            let mut scanner = Scanner::default();
            let mut batch = gather.batch(&cells, &marks);
            let mut at = firsts[chunk];
            texts.for_each_in(chunk, &mut |_, text| {
                scanner.scan(unit, text, |hash| {
                    batch.push(hash, at);
                    at += 1;
                });
            })
        })?;
        gather.settle(&marks);
    }
    drop(gather);
    drop(cells);

    let mut repeats = by_chunk(
        texts,
        |chunk, repeats, place: &mut CorpusPlace, document, text| {
            let first = *place.at.get_or_insert(firsts[chunk]);
            let count = counted[chunk]
                .get(place.documents)
                .map_or(0, |count| *count as usize);
            place.documents += 1;
            let next = first + count;
            place.at = Some(next);
            repeats.counts.pieces += count as u64;
            let marked = marks.count(first..next);
            if marked > 0 {
                repeats.counts.repeats += marked;
                let marked = |piece| piece < count && marks.get(first + piece);
                repeats.add(document, &place.scanner.cuts(unit, text, marked));
            }
        },
    )?;
    repeats.documents.shrink_to_fit();
    repeats.cuts.shrink_to_fit();
    Ok(repeats)
}

/// Where a walk through a chunk stands.
#[derive(Default)]
struct CorpusPlace {
    at: Option<usize>,
    documents: usize,
    scanner: Scanner,
}

/// Walks every chunk with a state of its own and puts the results in order.
fn by_chunk<T: Texts, S: Default>(
    texts: &T,
    each: impl Fn(usize, &mut Repeats, &mut S, Ordinal, &str) + Sync,
) -> Result<Repeats, T::Error> {
    let parts: Vec<Repeats> = (0..texts.chunks())
        .into_par_iter()
        .map(|chunk| {
            let mut repeats = Repeats::default();
            let mut state = S::default();
            texts.for_each_in(chunk, &mut |document, text| {
                each(chunk, &mut repeats, &mut state, document, text);
            })?;
            Ok(repeats)
        })
        .collect::<Result<_, T::Error>>()?;
    let mut all = Repeats::default();
    for part in parts {
        all.append(part);
    }
    Ok(all)
}

/// Four cells for each piece that so much text may hold: one piece in eight, or fewer, then shares a cell by chance.
fn cells_wanted(unit: Unit, text_bytes: u64) -> u64 {
    (text_bytes / unit.bytes_per_piece()).saturating_mul(4)
}

/// The hash of a piece: 128 bits of which each half is as good as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PieceHash {
    high: u64,
    low: u64,
}

impl PieceHash {
    fn of(content: &[u8]) -> Self {
        let hash = xxhash_rust::xxh3::xxh3_128(content);
        Self {
            high: low_half(hash >> 64),
            low: low_half(hash),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is above is another half"
)]
fn low_half(number: u128) -> u64 {
    number as u64
}

impl Hash for PieceHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.high);
    }
}

/// For keys that are hashes already.
#[derive(Default)]
struct Unhashed(u64);

impl Hasher for Unhashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Makes pieces of texts. It keeps its buffers from text to text.
#[derive(Default)]
struct Scanner {
    windows: Windows,
}

impl Scanner {
    /// Calls back with the hash of each piece, in order.
    fn scan(&mut self, unit: Unit, text: &str, mut each: impl FnMut(PieceHash)) {
        if text.len() > MAX_TEXT_BYTES {
            return;
        }
        match unit {
            Unit::Lines { min_chars } => for_each_line(text, min_chars, |line, _| {
                each(PieceHash::of(line.as_bytes()));
            }),
            Unit::Paragraphs { min_chars } => {
                for_each_paragraph(text, min_chars, |paragraph, _| {
                    each(PieceHash::of(paragraph.as_bytes()));
                });
            }
            Unit::Spans { words } => self.windows.for_each(text, words, &mut each),
        }
    }

    /// What to cut from a text of which some pieces, by number, are repeats.
    fn cuts(
        &mut self,
        unit: Unit,
        text: &str,
        is_repeat: impl Fn(usize) -> bool,
    ) -> Vec<Range<u32>> {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        let mut piece = 0;
        let mut take = |_: &str, range| {
            if is_repeat(piece) {
                ranges.push(range);
            }
            piece += 1;
        };
        match unit {
            Unit::Lines { min_chars } => for_each_line(text, min_chars, take),
            Unit::Paragraphs { min_chars } => for_each_paragraph(text, min_chars, &mut take),
            Unit::Spans { words } => {
                ranges = self.windows.repeated_spans(text, words, is_repeat);
            }
        }
        cut::lay(text, &ranges)
    }
}
