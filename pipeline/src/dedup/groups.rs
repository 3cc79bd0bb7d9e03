//! Groups of equal keys among those of all documents, found in bounded memory.
//!
//! Most keys occur once, and those are never sorted. A first walk over the keys counts them in a table of two-bit cells
//! ("seen", "seen again"); a second one counts, part by part of the key space, the keys whose cell was seen again; further
//! walks gather the keys of as many parts as memory holds, which are sorted and handed out part by part. Keys that share a
//! cell by chance are sorted for nothing and change no result. Nothing is written to disk.
//!
//! The parts are cut by the number of documents alone, so what is handed out, and in which order, depends on the keys and
//! on nothing else.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::cluster::Ordinal;

/// A key whose equality means something.
pub(super) trait Key: Copy + Ord + Send + Sync {
    /// 64 uniform bits of it: the upper ones choose the part, the lower ones the cell.
    fn bits(&self) -> u64;
}

impl Key for u64 {
    fn bits(&self) -> u64 {
        *self
    }
}

/// A 128-bit hash, low half first, and an independent check of it.
pub type TextKey = [u64; 3];

impl Key for TextKey {
    fn bits(&self) -> u64 {
        self[0]
    }
}

/// Keys of one chunk of the documents, pushed as (key, document).
pub(super) type Keys<'a, K, E> = dyn Fn(usize, &mut Vec<(K, Ordinal)>) -> Result<(), E> + Sync + 'a;

/// Documents of one part of the key space at most, on average, before those with a key of their own are left out.
const PART_DOCUMENTS: u32 = 1 << 16;
const MOST_PARTS: u32 = 1 << 10;
/// Cells a key, as a power of two: one key in nine of those that occur once shares its cell.
const CELLS_A_KEY: u64 = 8;
/// Four cells a byte.
const CELLS_A_BYTE: u64 = 4;
/// No table is smaller: less would save nothing.
const FEWEST_CELLS: u64 = 1 << 12;

/// Cells of two bits.
struct Cells {
    bytes: Vec<AtomicU8>,
    mask: u64,
}

impl Cells {
    fn new(keys: u64, memory_bytes: u64) -> Self {
        let most = (memory_bytes * CELLS_A_BYTE).max(FEWEST_CELLS);
        // The largest power of two that is not above `most`.
        let most = 1u64 << (63 - most.leading_zeros());
        let cells = (keys * CELLS_A_KEY)
            .next_power_of_two()
            .clamp(FEWEST_CELLS, most);
        let bytes = usize::try_from(cells / CELLS_A_BYTE).unwrap_or(usize::MAX);
        Self {
            bytes: std::iter::repeat_with(|| AtomicU8::new(0))
                .take(bytes)
                .collect(),
            mask: cells - 1,
        }
    }

    fn place(&self, bits: u64) -> (&AtomicU8, u8) {
        let cell = bits & self.mask;
        let byte = usize::try_from(cell / CELLS_A_BYTE).unwrap_or(0);
        (&self.bytes[byte], ((cell % CELLS_A_BYTE) * 2) as u8)
    }

    fn count(&self, bits: u64) {
        let (byte, shift) = self.place(bits);
        let now = byte.load(Ordering::Relaxed) >> shift;
        if now & 2 != 0 {
            return;
        }
        // Of two threads at one cell, the second to come sees what the first one set.
        if byte.fetch_or(1 << shift, Ordering::Relaxed) >> shift & 1 != 0 {
            byte.fetch_or(2 << shift, Ordering::Relaxed);
        }
    }

    fn again(&self, bits: u64) -> bool {
        let (byte, shift) = self.place(bits);
        byte.load(Ordering::Relaxed) >> shift & 2 != 0
    }
}

/// Hands out the keys that may occur more than once, sorted by key and document, part by part of the key space. Groups of
/// equal keys stand together and are whole; keys that occur once may be among them.
pub(super) fn for_each_part<K: Key, E: Send>(
    documents: Ordinal,
    chunks: usize,
    memory_bytes: u64,
    keys: &Keys<'_, K, E>,
    each: &mut dyn FnMut(&[(K, Ordinal)]) -> Result<(), E>,
) -> Result<(), E> {
    let walk = |visit: &(dyn Fn(&[(K, Ordinal)]) + Sync)| -> Result<(), E> {
        (0..chunks)
            .into_par_iter()
            .try_for_each_init(Vec::new, |buffer, chunk| {
                buffer.clear();
                keys(chunk, buffer)?;
                visit(buffer);
                Ok(())
            })
    };
    let parts = documents
        .div_ceil(PART_DOCUMENTS)
        .next_power_of_two()
        .min(MOST_PARTS);
    let part_of = |key: &K| (u128::from(key.bits()) * u128::from(parts) >> 64) as usize;

    let cells = Cells::new(u64::from(documents), memory_bytes / 4);
    walk(&|keys| keys.iter().for_each(|(key, _)| cells.count(key.bits())))?;
    let wanted: Vec<AtomicU64> = (0..parts).map(|_| AtomicU64::new(0)).collect();
    walk(&|keys| {
        for (key, _) in keys.iter().filter(|(key, _)| cells.again(key.bits())) {
            wanted[part_of(key)].fetch_add(1, Ordering::Relaxed);
        }
    })?;
    let wanted: Vec<u64> = wanted.into_iter().map(AtomicU64::into_inner).collect();

    let room = (memory_bytes / 2 / size_of::<(K, Ordinal)>() as u64).max(1);
    let mut first = 0;
    while first < wanted.len() {
        let mut end = first;
        let mut total = 0;
        // At least one part, however large: it cannot be taken in less.
        while end < wanted.len() && (end == first || total + wanted[end] <= room) {
            total += wanted[end];
            end += 1;
        }
        if total > 0 {
            let capacity = usize::try_from(total).unwrap_or(usize::MAX);
            let gathered = Mutex::new(Vec::with_capacity(capacity));
            walk(&|keys| {
                let mine = keys.iter().filter(|(key, _)| {
                    cells.again(key.bits()) && (first..end).contains(&part_of(key))
                });
                let mine: Vec<(K, Ordinal)> = mine.copied().collect();
                gathered
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .extend(mine);
            })?;
            let mut gathered = gathered
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner);
            gathered.par_sort_unstable();
            for part in gathered.chunk_by(|a, b| part_of(&a.0) == part_of(&b.0)) {
                each(part)?;
            }
        }
        first = end;
    }
    Ok(())
}

/// The groups of at least two equal keys of a sorted part.
pub(super) fn groups<K: Key>(part: &[(K, Ordinal)]) -> impl Iterator<Item = &[(K, Ordinal)]> {
    part.chunk_by(|a, b| a.0 == b.0)
        .filter(|group| group.len() > 1)
}

/// One bit a document, set by any thread.
#[derive(Debug)]
pub struct Marks {
    bits: Vec<AtomicU64>,
}

impl Marks {
    /// No document is marked.
    #[must_use]
    pub fn new(documents: Ordinal) -> Self {
        Self {
            bits: (0..documents.div_ceil(64))
                .map(|_| AtomicU64::new(0))
                .collect(),
        }
    }

    /// Marks a document; whether it was marked before.
    pub fn mark(&self, document: Ordinal) -> bool {
        let bit = 1 << (document % 64);
        self.bits[(document / 64) as usize].fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    /// Whether a document is marked.
    #[must_use]
    pub fn has(&self, document: Ordinal) -> bool {
        let word = self.bits[(document / 64) as usize].load(Ordering::Relaxed);
        word >> (document % 64) & 1 != 0
    }

    /// How many documents are marked.
    #[must_use]
    pub fn count(&self) -> u64 {
        let words = self.bits.iter();
        words
            .map(|word| u64::from(word.load(Ordering::Relaxed).count_ones()))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::convert::Infallible;
    use std::sync::atomic::AtomicBool;

    fn found(all: &[u64], chunk: usize, memory: u64) -> Vec<Vec<(u64, Ordinal)>> {
        let mut out = Vec::new();
        let chunks: Vec<&[u64]> = all.chunks(chunk.max(1)).collect();
        let keys = |number: usize, into: &mut Vec<(u64, Ordinal)>| -> Result<(), Infallible> {
            let first = number * chunk.max(1);
            into.extend(
                chunks[number]
                    .iter()
                    .enumerate()
                    .map(|(i, key)| (*key, u32::try_from(first + i).unwrap())),
            );
            Ok(())
        };
        let documents = u32::try_from(all.len()).unwrap();
        for_each_part(documents, chunks.len(), memory, &keys, &mut |part| {
            out.extend(groups(part).map(<[_]>::to_vec));
            Ok(())
        })
        .unwrap();
        out
    }

    proptest! {
        #[test]
        fn groups_are_those_of_a_map_whatever_the_memory_and_the_chunks(
            small in prop::collection::vec(0u64..300, 0..400),
            chunk in 1usize..50,
            memory in prop::sample::select(vec![0u64, 1, 64, 5_000, 1 << 30]),
        ) {
            let all: Vec<u64> = small.iter().map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            let mut map: BTreeMap<u64, Vec<(u64, Ordinal)>> = BTreeMap::new();
            for (document, key) in (0u32..).zip(&all) {
                map.entry(*key).or_default().push((*key, document));
            }
            let expected: Vec<_> = map.into_values().filter(|group| group.len() > 1).collect();
            prop_assert_eq!(found(&all, chunk, memory), expected);
        }
    }

    #[test]
    fn many_parts_and_passes_change_nothing() {
        let all: Vec<u64> = (0u64..300_000)
            .map(|n| (n / 3 * 2 % 70_000 + n % 5).wrapping_mul(0x9e37_79b9_7f4a_7c15))
            .collect();
        let whole = found(&all, 1_000, 1 << 30);
        assert!(whole.len() > 1_000);
        assert_eq!(found(&all, 77_777, 1 << 16), whole);
    }

    #[test]
    fn a_failing_chunk_ends_the_walk_with_its_error() {
        let halt = AtomicBool::new(false);
        let keys = |chunk: usize, _: &mut Vec<(u64, Ordinal)>| {
            if chunk == 3 {
                halt.store(true, Ordering::Relaxed);
                return Err("chunk 3");
            }
            Ok(())
        };
        assert_eq!(
            for_each_part(10, 8, 100, &keys, &mut |_| Ok(())),
            Err("chunk 3")
        );
        assert!(halt.load(Ordering::Relaxed));
    }

    #[test]
    fn marks_are_counted() {
        let marks = Marks::new(130);
        assert!(!marks.mark(129));
        assert!(marks.mark(129));
        marks.mark(0);
        assert_eq!(
            (marks.count(), marks.has(0), marks.has(1), marks.has(129)),
            (2, true, false, true)
        );
    }
}
