//! Sequences of equal length from a split, in an order that is a pure function of seed, epoch and build.
//!
//! Window `k` of a split is its tokens `k·T` to `k·T + T` inclusive: `T` inputs and the `T` targets one further, so that
//! neighbouring windows share one token and every token but the first is a target once. An epoch is all windows in a
//! pseudo-random order, computed for any place in constant memory and time by a Feistel network with cycle walking (Black
//! and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002). The position is one integer and the whole state: a
//! run that was stopped anywhere, or goes on with another number of workers, reads the sequences it would have read.

use std::ops::Range;

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::build::Build;
use crate::error::{FormatError, Result};
use crate::manifest::Split;
use crate::reader::ShardReader;

/// Decoded frames kept: 16 MiB of ids in frames of 65,536 tokens.
const CACHED_FRAMES: usize = 64;
/// Ids in the kept frames, where frames are larger than that: one frame is kept in any case.
const CACHED_IDS: usize = CACHED_FRAMES << 16;
/// Shards kept open: each costs a file handle.
const OPEN_SHARDS: usize = 256;
/// Documents in the indices of open shards, 24 bytes each: 96 MiB. One shard is open in any case.
const OPEN_DOCUMENTS: usize = 1 << 22;

/// What is read, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Tokens in a sequence: inputs, and as many targets.
    pub sequence_tokens: usize,
    /// Decides the order.
    pub seed: u64,
}

/// A window of a split.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// `sequence_tokens + 1` ids: inputs are all but the last, targets all but the first.
    pub ids: Vec<u32>,
    /// For each target, whether it carries loss.
    pub loss: Vec<bool>,
    /// Places in `ids` where a document begins, ascending; a document that began before the window is not among them.
    pub document_starts: Vec<u32>,
    /// Rows of the documents that have a token in the window, in order.
    pub rows: Vec<u64>,
    /// Place of the first id in the split.
    pub first_token: u64,
}

/// Reads the sequences of a split.
#[derive(Debug)]
pub struct Loader {
    build: Build,
    split: Split,
    options: LoaderOptions,
    sequences: u64,
    key: u64,
    shards: Vec<(usize, ShardReader)>,
    frames: Vec<((usize, usize), Vec<u32>)>,
}

impl Loader {
    /// Opens a split; no shard is touched yet.
    ///
    /// # Errors
    ///
    /// [`FormatError::TooShort`] if there is no sequence in the split.
    pub fn new(build: &Build, split: Split, options: LoaderOptions) -> Result<Self> {
        let tokens = build
            .manifest()
            .splits
            .get(&split)
            .map_or(0, |entry| entry.tokens);
        let sequences = if options.sequence_tokens == 0 {
            0
        } else {
            tokens.saturating_sub(1) / options.sequence_tokens as u64
        };
        if sequences == 0 {
            return Err(FormatError::TooShort {
                split: split.name(),
                tokens,
                sequence_tokens: options.sequence_tokens,
            });
        }
        let key = xxh3_64_with_seed(build.manifest().root.as_bytes(), options.seed);
        Ok(Self {
            build: build.clone(),
            split,
            options,
            sequences,
            key,
            shards: Vec::new(),
            frames: Vec::new(),
        })
    }

    /// Sequences in an epoch.
    pub fn sequences(&self) -> u64 {
        self.sequences
    }

    /// The sequence at `position`, which counts over all epochs.
    ///
    /// # Errors
    ///
    /// What [`Build::shard`] and [`ShardReader::frame`] find; `sequence` is then of no use.
    pub fn read(&mut self, position: u64, sequence: &mut Sequence) -> Result<()> {
        let (epoch, place) = (position / self.sequences, position % self.sequences);
        let window = permute(
            place,
            self.sequences,
            self.key ^ xxh3_64(&epoch.to_le_bytes()),
        );
        self.read_in_order(window, sequence)
    }

    /// Window `window` of the split, for evaluation; below [`Self::sequences`].
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and [`FormatError::OutOfRange`].
    pub fn read_in_order(&mut self, window: u64, sequence: &mut Sequence) -> Result<()> {
        let length = self.options.sequence_tokens as u64;
        let first = window.saturating_mul(length);
        let tokens = first..first.saturating_add(length + 1);
        if window >= self.sequences {
            return Err(self.outside(&tokens));
        }
        sequence.ids.clear();
        sequence.loss.clear();
        sequence.loss.resize(self.options.sequence_tokens, true);
        sequence.document_starts.clear();
        sequence.rows.clear();
        sequence.first_token = first;
        let shard_tokens = self.build.manifest().shard_tokens;
        let mut at = tokens.start;
        while at < tokens.end {
            let number = usize::try_from(at / shard_tokens).map_err(|_| self.outside(&tokens))?;
            let shard_start = number as u64 * shard_tokens;
            let end = tokens.end.min(shard_start + shard_tokens);
            self.read_part(
                number,
                at - shard_start..end - shard_start,
                at - tokens.start,
                sequence,
            )?;
            at = end;
        }
        Ok(())
    }

    fn outside(&self, tokens: &Range<u64>) -> FormatError {
        let all = self
            .build
            .manifest()
            .splits
            .get(&self.split)
            .map_or(0, |entry| entry.tokens);
        FormatError::OutOfRange {
            file: self.build.folder().to_path_buf(),
            start: tokens.start,
            end: tokens.end,
            tokens: all,
        }
    }

    /// The part of a window that is in one shard: `range` in the shard, `offset` in the window.
    fn read_part(
        &mut self,
        number: usize,
        range: Range<u64>,
        offset: u64,
        sequence: &mut Sequence,
    ) -> Result<()> {
        let reader = self.shard(number)?;
        let index = reader.index();
        let step = u64::from(index.frame_tokens);
        if range.end > index.tokens {
            let tokens = index.tokens;
            return Err(FormatError::OutOfRange {
                file: reader.path().to_path_buf(),
                start: range.start,
                end: range.end,
                tokens,
            });
        }
        let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let first = index
            .documents
            .partition_point(|document| document.end <= range.start);
        for d in first..index.documents.len() {
            let start = if d == 0 {
                0
            } else {
                index.documents[d - 1].end
            };
            if start >= range.end {
                break;
            }
            let begins_here = !(d == 0 && index.continues_from_previous);
            if begins_here && start >= range.start {
                sequence
                    .document_starts
                    .push(small(offset + start - range.start));
            }
            if sequence.rows.last() != Some(&index.documents[d].row) {
                sequence.rows.push(index.documents[d].row);
            }
        }
        let first = index.masked.partition_point(|span| span.end <= range.start);
        for span in index.masked[first..]
            .iter()
            .take_while(|span| span.start < range.end)
        {
            for token in span.start.max(range.start)..span.end.min(range.end) {
                // The id at place p of the window is the target at p - 1.
                let place = usize::try_from(offset + token - range.start)
                    .expect("a window is held in memory");
                if place > 0 {
                    sequence.loss[place - 1] = false;
                }
            }
        }
        let mut at = range.start;
        while at < range.end {
            let frame = usize::try_from(at / step).expect("fewer frames than memory");
            let start = frame as u64 * step;
            let end = range.end.min(start + step);
            let ids = self.frame(number, frame)?;
            let within =
                |token: u64| usize::try_from(token - start).expect("a frame is held in memory");
            sequence
                .ids
                .extend_from_slice(&ids[within(at)..within(end)]);
            at = end;
        }
        Ok(())
    }

    fn shard(&mut self, number: usize) -> Result<&ShardReader> {
        if let Some(at) = self.shards.iter().position(|(open, _)| *open == number) {
            return Ok(&used_last(&mut self.shards, at).1);
        }
        let reader = self.build.shard(self.split, number)?;
        self.shards.push((number, reader));
        let documents = |shard: &ShardReader| shard.index().documents.len();
        forget_oldest(&mut self.shards, OPEN_SHARDS, OPEN_DOCUMENTS, documents);
        let newest = self.shards.len() - 1;
        Ok(&self.shards[newest].1)
    }

    fn frame(&mut self, shard: usize, frame: usize) -> Result<&[u32]> {
        let key = (shard, frame);
        if let Some(at) = self.frames.iter().position(|(kept, _)| *kept == key) {
            return Ok(&used_last(&mut self.frames, at).1);
        }
        let ids = self.shard(shard)?.frame(frame)?;
        self.frames.push((key, ids));
        forget_oldest(&mut self.frames, CACHED_FRAMES, CACHED_IDS, Vec::len);
        let newest = self.frames.len() - 1;
        Ok(&self.frames[newest].1)
    }
}

/// Moves entry `at` to the end, where it is forgotten last.
fn used_last<T>(kept: &mut [T], at: usize) -> &T {
    kept[at..].rotate_left(1);
    &kept[kept.len() - 1]
}

/// Forgets the entries unused for longest until there are at most `entries`, of at most `size` together; never the last.
fn forget_oldest<K, V>(
    kept: &mut Vec<(K, V)>,
    entries: usize,
    size: usize,
    of: impl Fn(&V) -> usize,
) {
    let mut total: usize = kept.iter().map(|(_, value)| of(value)).sum();
    while kept.len() > 1 && (kept.len() > entries || total > size) {
        let (_, oldest) = kept.remove(0);
        total -= of(&oldest);
    }
}

/// A permutation of `0..n`: a balanced Feistel network on the next even number of bits, walked until it lands inside.
fn permute(place: u64, n: u64, key: u64) -> u64 {
    let bits = (64 - (n - 1).leading_zeros()).max(2).div_ceil(2);
    let mask = (1u64 << bits) - 1;
    let mut at = place;
    loop {
        let (mut left, mut right) = (at >> bits, at & mask);
        for round in 0..ROUNDS {
            let mixed = xxh3_64_with_seed(&right.to_le_bytes(), key.wrapping_add(round)) & mask;
            (left, right) = (right, left ^ mixed);
        }
        at = left << bits | right;
        if at < n {
            return at;
        }
    }
}

/// Six rounds of a Feistel network are indistinguishable from random for this use; four are the theoretical least.
const ROUNDS: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_a_permutation_of_every_size() {
        for n in [1, 2, 3, 5, 16, 17, 100, 1000, 4097] {
            let mut seen = vec![false; usize::try_from(n).unwrap()];
            for place in 0..n {
                let at = usize::try_from(permute(place, n, 0x1234)).unwrap();
                assert!(!std::mem::replace(&mut seen[at], true), "n {n}");
            }
        }
    }

    #[test]
    fn a_permutation_of_more_places_than_can_be_listed_stays_inside_and_does_not_repeat() {
        for n in [
            (1u64 << 32) - 1,
            1 << 32,
            (1 << 32) + 1,
            1 << 63,
            (1 << 63) + 1,
            u64::MAX,
        ] {
            let places = (0..1000).chain(n - 1000..n);
            let mut order: Vec<u64> = places.map(|place| permute(place, n, 7)).collect();
            order.sort_unstable();
            assert!(
                order.windows(2).all(|w| w[0] < w[1]) && order[order.len() - 1] < n,
                "n {n}"
            );
        }
    }

    #[test]
    fn what_was_unused_for_longest_is_forgotten_first() {
        let mut kept = vec![('a', 1), ('b', 1), ('c', 1)];
        assert_eq!(used_last(&mut kept, 0).0, 'a');
        kept.push(('d', 1));
        forget_oldest(&mut kept, 3, 100, |size| *size);
        assert_eq!(kept, [('c', 1), ('a', 1), ('d', 1)]);
        kept.push(('e', 9));
        forget_oldest(&mut kept, 3, 9, |size| *size);
        assert_eq!(kept, [('e', 9)]);
        kept.push(('f', 99));
        forget_oldest(&mut kept, 3, 9, |size| *size);
        assert_eq!(kept, [('f', 99)]);
    }

    #[test]
    fn other_keys_give_other_orders_and_places_spread() {
        let n = 10_000;
        let order = |key| {
            (0..n)
                .map(|place| permute(place, n, key))
                .collect::<Vec<_>>()
        };
        let (a, b) = (order(1), order(2));
        let same = a.iter().zip(&b).filter(|(x, y)| x == y).count();
        assert!(same < 20, "{same}");
        // The mean distance of neighbours in a random order is n / 3.
        let distance: f64 = a
            .windows(2)
            .map(|w| w[0].abs_diff(w[1]) as f64)
            .sum::<f64>()
            / (n - 1) as f64;
        assert!((distance / n as f64 - 1.0 / 3.0).abs() < 0.02, "{distance}");
    }
}
