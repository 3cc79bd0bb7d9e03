//! Pieces with their places, sorted by hash: all but the first of each hash are marked.
//!
//! The hashes are divided among shards, each with a lock and a share of the memory. A shard that is full sorts what it has
//! and keeps of each hash only the first: whatever else has that hash is a repeat for certain, and marked. So a line that
//! stands in every document costs one entry. A shard that is still half full goes on with the lower part of its hashes and
//! takes the rest in a later walk.

use std::sync::{Mutex, MutexGuard, PoisonError};

use rayon::prelude::*;

use super::PieceHash;
use super::table::{AT_ONCE, Bits, Cells};

/// A hash and the number of a piece that has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    hash: PieceHash,
    piece: usize,
}

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
/// Entries that a thread keeps for a shard before it asks for the lock.
const BATCH: usize = 256;
/// A shard with room for one entry would take a walk for each hash.
const LEAST_CAPACITY: usize = 16;

/// All shards.
pub(super) struct Gather {
    shards: Vec<Mutex<Shard>>,
    /// Entries that a shard may hold.
    capacity: usize,
}

struct Shard {
    /// The high halves of hashes that are gathered in this walk.
    first: u64,
    last: u64,
    /// The last that the shard will ever gather.
    end: u64,
    is_finished: bool,
    held: Vec<Entry>,
}

impl Gather {
    pub(super) fn new(memory_bytes: u64) -> Self {
        let entries = memory_bytes / (SHARDS * size_of::<Entry>()) as u64;
        let span = u64::MAX >> SHARD_BITS;
        Self {
            shards: (0..SHARDS as u64)
                .map(|shard| shard << (u64::BITS - SHARD_BITS))
                .map(|first| {
                    Mutex::new(Shard {
                        first,
                        last: first + span,
                        end: first + span,
                        is_finished: false,
                        held: Vec::new(),
                    })
                })
                .collect(),
            capacity: usize::try_from(entries)
                .unwrap_or(usize::MAX)
                .max(LEAST_CAPACITY),
        }
    }

    /// Whether another walk over the texts is needed.
    pub(super) fn is_unfinished(&self) -> bool {
        self.shards.iter().any(|shard| !locked(shard).is_finished)
    }

    /// What one thread gathers of the pieces whose cells were entered again; it is handed over in parts, and at the end
    /// by being dropped.
    pub(super) fn batch<'a>(&'a self, cells: &'a Cells, marks: &'a Bits) -> Batch<'a> {
        Batch {
            gather: self,
            cells,
            marks,
            seen: Vec::with_capacity(AT_ONCE),
            parts: std::iter::repeat_with(Vec::new).take(SHARDS).collect(),
        }
    }

    /// Ends a walk: marks what is left to mark, and turns to the hashes that found no room.
    pub(super) fn settle(&mut self, marks: &Bits) {
        self.shards.par_iter().for_each(|shard| {
            let mut shard = locked(shard);
            shard.mark_repeats(marks);
            shard.held.clear();
            shard.is_finished |= shard.last == shard.end;
            if !shard.is_finished {
                shard.first = shard.last + 1;
                shard.last = shard.end;
            }
        });
    }
}

/// A panic elsewhere leaves a shard as good as it was.
fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Entries on their way to the shards.
pub(super) struct Batch<'a> {
    gather: &'a Gather,
    cells: &'a Cells,
    marks: &'a Bits,
    /// Pieces not looked up yet.
    seen: Vec<Entry>,
    parts: Vec<Vec<Entry>>,
}

impl Batch<'_> {
    #[inline]
    pub(super) fn push(&mut self, hash: PieceHash, piece: usize) {
        self.seen.push(Entry { hash, piece });
        if self.seen.len() == AT_ONCE {
            self.look_up();
        }
    }

    fn look_up(&mut self) {
        // Nothing waits for one look-up before the next.
        let wanted = self
            .seen
            .iter()
            .enumerate()
            .fold(0u64, |wanted, (at, entry)| {
                wanted | u64::from(self.cells.entered_again(entry.hash.low)) << at
            });
        for at in 0..self.seen.len() {
            if wanted >> at & 1 != 0 {
                self.put(self.seen[at]);
            }
        }
        self.seen.clear();
    }

    fn put(&mut self, entry: Entry) {
        let shard = (entry.hash.high >> (u64::BITS - SHARD_BITS)) as usize;
        let part = &mut self.parts[shard];
        part.push(entry);
        if part.len() >= BATCH {
            self.hand_over(shard);
        }
    }

    fn hand_over(&mut self, shard: usize) {
        // Nothing in here waits for another thread: the sorting under the lock is not rayon's.
        let mut to = locked(&self.gather.shards[shard]);
        for entry in self.parts[shard].drain(..) {
            to.take(entry, self.gather.capacity, self.marks);
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.look_up();
        for shard in 0..SHARDS {
            if !self.parts[shard].is_empty() {
                self.hand_over(shard);
            }
        }
    }
}

impl Shard {
    fn take(&mut self, entry: Entry, capacity: usize, marks: &Bits) {
        if self.held.len() >= capacity && self.wants(entry) {
            self.mark_repeats(marks);
            if self.held.len() > capacity / 2 {
                self.narrow(capacity / 2);
            }
        }
        if self.wants(entry) {
            if self.held.len() == self.held.capacity() {
                // Doubled, but never beyond what was allowed.
                let more = self
                    .held
                    .len()
                    .max(BATCH)
                    .min(capacity - self.held.len().min(capacity));
                self.held.reserve_exact(more.max(1));
            }
            self.held.push(entry);
        }
    }

    fn wants(&self, entry: Entry) -> bool {
        !self.is_finished && (self.first..=self.last).contains(&entry.hash.high)
    }

    /// Marks all but the first of each hash and keeps these firsts, sorted.
    fn mark_repeats(&mut self, marks: &Bits) {
        self.held.sort_unstable();
        self.held.dedup_by(|later, first| {
            let is_repeat = later.hash == first.hash;
            if is_repeat {
                marks.set(later.piece);
            }
            is_repeat
        });
    }

    /// Gives up the upper hashes, so that some `keep` of the sorted entries are left.
    fn narrow(&mut self, keep: usize) {
        let above = self.held[keep].hash.high;
        // At least one hash stays, so that each walk gets further.
        self.last = above.saturating_sub(1).max(self.first);
        let kept = self
            .held
            .partition_point(|entry| entry.hash.high <= self.last);
        self.held.truncate(kept);
    }
}
