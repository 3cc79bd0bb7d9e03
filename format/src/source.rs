//! A source of sequences: a split of a build, or the documents of one dataset in it.

use std::collections::VecDeque;
use std::ops::ControlFlow;

use crate::chunk::{Chunk, Cut, Cutter};
use crate::error::{FormatError, Result};
use crate::loader::{LoaderOptions, Packing, Sequence};
use crate::memory::Pages;
use crate::order::{Order, Table};
use crate::stored::Stored;

/// Chunks of which it is known what they are made of, where their ids are not kept: 50 kB each or so.
const KNOWN_CHUNKS: usize = 64;
/// With the full shuffle, a split of at most so many chunks is kept as a whole.
const SMALL_SPLIT: u64 = 16;

/// What to take of a split.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The dataset's place in the manifest, and its name.
    pub(crate) dataset: Option<(u32, String)>,
    /// Its tokens.
    pub(crate) tokens: u64,
}

/// Reads the sequences of a source.
#[derive(Debug)]
pub(crate) struct Source {
    dataset: Option<u32>,
    tokens: u64,
    sequence_tokens: usize,
    packing: Packing,
    cut: Cut,
    table: Table,
    order: Order,
    chunks: Vec<Known>,
    /// Their numbers once more, in the same places: they are sought for every sequence.
    numbers: Vec<u64>,
    most_chunks: usize,
    keeps_ids: bool,
    clock: u64,
    ahead: Ahead,
}

/// Where the next sequences are, if positions go on by the same step: what is sought before it is wanted, and brought near,
/// is not waited for.
#[derive(Debug, Default)]
struct Ahead {
    /// The position asked for last, and the step to it from the one before.
    last: u64,
    step: u64,
    /// Positions one, two and more steps on.
    next: VecDeque<Place>,
}

/// So many positions after the next its ids are brought near: memory answers while so many sequences are given.
const FAR: usize = 3;

/// So many positions are located together.
const LOCATED: usize = 8;

/// Where a sequence is.
#[derive(Debug, Clone, Copy)]
struct Place {
    position: u64,
    /// The chunk, and the sequence in it.
    chunk: u64,
    at: u64,
    /// Where the chunk was among those known; it may not be there any more.
    known: usize,
}

impl Place {
    fn new(position: u64, (chunk, at): (u64, u64)) -> Self {
        Self {
            position,
            chunk,
            at,
            known: 0,
        }
    }
}

#[derive(Debug)]
struct Known {
    used: u64,
    chunk: Chunk,
}

impl Source {
    pub(crate) fn new(
        stored: &mut Stored,
        root: &str,
        taken: &Taken,
        options: &LoaderOptions,
    ) -> Result<Self> {
        let shuffle = options.shuffle;
        let length = options.sequence_tokens as u64;
        let all = u128::from(stored.tokens().max(1));
        let share = u128::from(shuffle.chunk_tokens) * u128::from(taken.tokens) / all;
        let chunk_tokens = u64::try_from(share).unwrap_or(u64::MAX);
        let cut = Cut {
            sequence: length.saturating_add(1),
            chunk: chunk_tokens.max(1),
        };
        let enough = taken.tokens >= cut.sequence && length > 0;
        if !enough {
            return Err(match &taken.dataset {
                None => FormatError::TooShort {
                    split: stored.split().name(),
                    tokens: taken.tokens,
                    sequence_tokens: options.sequence_tokens,
                },
                Some((_, name)) => FormatError::options(format!(
                    "dataset {name} has {} tokens in split {}, too few for a sequence of {length}; use shorter sequences or leave it out",
                    taken.tokens,
                    stored.split().name(),
                )),
            });
        }
        let dataset = taken.dataset.as_ref().map(|(number, _)| *number);
        let windows = (taken.tokens - 1) / length;
        let per_chunk = (chunk_tokens / length).max(1);
        let table = match (options.packing, dataset) {
            (Packing::Concatenate, None) => Table::Even {
                sequences: windows,
                per_chunk,
            },
            (Packing::Concatenate, Some(_)) => {
                windows_of(stored, dataset, windows, per_chunk, length)?
            }
            (Packing::BestFit, _) => pieces_of(stored, dataset, cut)?,
        };
        if table.sequences() == 0 {
            // The manifest says otherwise.
            return Err(stored.outside(0, taken.tokens));
        }
        let chunks = table.chunks();
        let keeps_ids = !shuffle.is_full() || chunks <= SMALL_SPLIT;
        let most_chunks = if keeps_ids {
            usize::try_from(chunks.min(shuffle.group_chunks)).unwrap_or(usize::MAX)
        } else {
            KNOWN_CHUNKS
        };
        let name = taken.dataset.as_ref().map(|(_, name)| name.as_str());
        Ok(Self {
            dataset,
            tokens: taken.tokens,
            sequence_tokens: options.sequence_tokens,
            packing: options.packing,
            cut,
            table,
            order: Order::new(root, name, options.seed, shuffle.group_chunks),
            chunks: Vec::new(),
            numbers: Vec::new(),
            most_chunks,
            keeps_ids,
            clock: 0,
            ahead: Ahead::default(),
        })
    }

    /// Sequences of an epoch.
    pub(crate) fn sequences(&self) -> u64 {
        self.table.sequences()
    }

    /// Tokens of an epoch.
    pub(crate) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// The sequence at a position of the source's own.
    pub(crate) fn read(
        &mut self,
        stored: &mut Stored,
        position: u64,
        sequence: &mut Sequence,
    ) -> Result<()> {
        let place = self.locate(position);
        self.give(stored, place, sequence)
    }

    /// Where the sequence at a position is. Of a second step as long as the first, a third is expected.
    fn locate(&mut self, position: u64) -> Place {
        let step = position.wrapping_sub(self.ahead.last);
        // Packed sequences are pieces from all over a chunk.
        let is_near = self.keeps_ids && self.packing == Packing::Concatenate;
        let steady = is_near && step == self.ahead.step;
        (self.ahead.last, self.ahead.step) = (position, step);
        let expected = self.ahead.next.pop_front();
        let expected = expected.filter(|expected| expected.position == position);
        let place = expected.unwrap_or_else(|| {
            self.ahead.next.clear();
            Place::new(position, self.order.locate(position, &self.table))
        });
        if steady && self.ahead.next.len() <= FAR {
            let last = self
                .ahead
                .next
                .back()
                .map_or(position, |last| last.position);
            self.expect(last, step);
        }
        // First what tells where its documents are, then these.
        if let Some(place) = self.ahead.next.get_mut(FAR)
            && let Some(known) = position_of(&self.numbers, place.chunk)
        {
            place.known = known;
            let chunk = &self.chunks[known].chunk;
            chunk.bring_window(place.at, self.sequence_tokens);
        }
        if let Some(place) = self.ahead.next.front()
            && self.numbers.get(place.known) == Some(&place.chunk)
        {
            self.chunks[place.known].chunk.bring_pieces(place.at);
        }
        place
    }

    /// Locates the positions that come after `last`, if there are so many.
    fn expect(&mut self, last: u64, step: u64) {
        let reach = step.checked_mul(LOCATED as u64);
        if reach.is_none_or(|reach| last.checked_add(reach).is_none()) {
            return;
        }
        let mut position = last;
        let positions: [u64; LOCATED] = std::array::from_fn(|_| {
            position += step;
            position
        });
        let places = self.order.locate_each(positions, &self.table);
        let places = positions.into_iter().zip(places);
        let places = places.map(|(position, place)| Place::new(position, place));
        self.ahead.next.extend(places);
    }

    /// Sequence `number` of the stored order, below [`Self::sequences`].
    pub(crate) fn read_in_order(
        &mut self,
        stored: &mut Stored,
        number: u64,
        sequence: &mut Sequence,
    ) -> Result<()> {
        let place = Place::new(number, self.table.locate(number));
        self.give(stored, place, sequence)
    }

    fn give(&mut self, stored: &mut Stored, place: Place, sequence: &mut Sequence) -> Result<()> {
        let (length, packing) = (self.sequence_tokens, self.packing);
        let end_of_text = stored.end_of_text();
        let at = usize::try_from(place.at).map_err(|_| stored.outside(place.at, place.at))?;
        let chunk = self.chunk(stored, place)?;
        sequence.clear(length);
        match packing {
            Packing::Concatenate => {
                let range = at * length..at * length + length + 1;
                sequence.first_token = chunk.place_of(range.start);
                chunk.ids(stored, range.clone(), &mut sequence.ids)?;
                for piece in chunk.pieces_from(at) {
                    if piece.at >= range.end {
                        break;
                    }
                    if piece.begins && piece.at >= range.start {
                        sequence.starts_at(piece.at - range.start);
                    }
                    sequence.has_row(piece.row, piece.dataset);
                }
                sequence.mask(chunk, range, 0);
            }
            Packing::BestFit => {
                let pieces = chunk.packed.sequence(at).to_vec();
                for number in pieces {
                    let piece = chunk.pieces[number].clone();
                    let place = sequence.ids.len();
                    if place == 0 {
                        sequence.first_token = piece.start;
                    }
                    chunk.ids(stored, piece.range(), &mut sequence.ids)?;
                    if piece.begins || place > 0 {
                        sequence.starts_at(place);
                    }
                    sequence.has_row(piece.row, piece.dataset);
                    sequence.mask(chunk, piece.range(), place);
                    if place > 0 && !piece.begins {
                        sequence.loss[place - 1] = false;
                    }
                }
                let filled = sequence.ids.len();
                sequence.padding = (length + 1).saturating_sub(filled);
                sequence.ids.resize(length + 1, end_of_text);
                sequence.loss[filled.saturating_sub(1)..].fill(false);
            }
        }
        Ok(())
    }

    /// A chunk, known from now on.
    fn chunk(&mut self, stored: &mut Stored, place: Place) -> Result<&mut Chunk> {
        self.clock += 1;
        let number = place.chunk;
        let known = match self.numbers.get(place.known) {
            Some(known) if *known == number => Some(place.known),
            _ => position_of(&self.numbers, number),
        };
        if let Some(at) = known {
            self.chunks[at].used = self.clock;
            return Ok(&mut self.chunks[at].chunk);
        }
        let first = self.table.first(number);
        let mut chunk = match self.packing {
            Packing::Concatenate => {
                let length = self.sequence_tokens as u64;
                let start = match &self.table {
                    Table::Even { .. } => first * length,
                    Table::Listed { starts, .. } => listed(stored, starts, number)?,
                };
                let tokens = self.table.size(number) * length + 1;
                let tokens = usize::try_from(tokens).map_err(|_| stored.outside(start, start))?;
                Chunk::of_windows(stored, start, self.dataset, self.sequence_tokens, tokens)?
            }
            Packing::BestFit => {
                let start = match &self.table {
                    Table::Even { .. } => 0,
                    Table::Listed { starts, .. } => listed(stored, starts, number)?,
                };
                let chunk = Chunk::of_pieces(stored, start, self.dataset, self.cut)?;
                if chunk.packed.sequences() as u64 != self.table.size(number) {
                    // The shards were changed since the loader was made.
                    return Err(stored.outside(start, start));
                }
                chunk
            }
        };
        let mut spare = Pages::default();
        if self.chunks.len() >= self.most_chunks.max(1) {
            let oldest = self.chunks.iter().enumerate().min_by_key(|(_, k)| k.used);
            let oldest = oldest.map_or(0, |(at, _)| at);
            spare = self.chunks.swap_remove(oldest).chunk.into_ids();
            self.numbers.swap_remove(oldest);
        }
        if self.keeps_ids {
            chunk.keep_ids(stored, spare);
        }
        self.numbers.push(number);
        self.chunks.push(Known {
            used: self.clock,
            chunk,
        });
        let newest = self.chunks.len() - 1;
        Ok(&mut self.chunks[newest].chunk)
    }
}

fn position_of(numbers: &[u64], number: u64) -> Option<usize> {
    numbers.iter().position(|known| *known == number)
}

fn listed(stored: &Stored, starts: &[u64], chunk: u64) -> Result<u64> {
    let at = usize::try_from(chunk).ok();
    let start = at.and_then(|at| starts.get(at)).copied();
    start.ok_or_else(|| stored.outside(chunk, chunk))
}

/// Where the chunks of a dataset's windows begin: every index of the split is read.
fn windows_of(
    stored: &mut Stored,
    dataset: Option<u32>,
    windows: u64,
    per_chunk: u64,
    length: u64,
) -> Result<Table> {
    let chunks = windows.div_ceil(per_chunk);
    let step = per_chunk.saturating_mul(length);
    let mut starts = Vec::new();
    let (mut seen, mut next) = (0u64, 0u64);
    stored.documents(0, dataset, |part| {
        let tokens = part.tokens.end - part.tokens.start;
        while next < seen + tokens && (starts.len() as u64) < chunks {
            starts.push(part.tokens.start + (next - seen));
            next = next.saturating_add(step);
        }
        seen += tokens;
        ControlFlow::Continue(())
    })?;
    if (starts.len() as u64) < chunks {
        return Err(stored.outside(seen, next));
    }
    let firsts = (0..=chunks).map(|chunk| chunk.saturating_mul(per_chunk).min(windows));
    Ok(Table::Listed {
        starts,
        firsts: firsts.collect(),
    })
}

/// Where the chunks of packed pieces begin, and how many sequences they make: every index of the split is read.
fn pieces_of(stored: &mut Stored, dataset: Option<u32>, cut: Cut) -> Result<Table> {
    let mut starts = Vec::new();
    let mut firsts = vec![0u64];
    let mut sum = 0;
    let mut add = |chunk: &Chunk| {
        if let Some((start, sequences)) = chunk.count(cut) {
            sum += sequences;
            starts.push(start);
            firsts.push(sum);
        }
    };
    let mut cutter = Cutter::new(cut);
    stored.documents(0, dataset, |part| {
        cutter.part(part, &mut |chunk| {
            add(&chunk);
            ControlFlow::Continue(())
        })
    })?;
    add(&cutter.rest());
    Ok(Table::Listed { starts, firsts })
}
