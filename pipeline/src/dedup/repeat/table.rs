//! Bits that any number of threads set at once. Bits are only ever set, so the order in which threads come leaves no trace.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A table of two bits a cell, which knows whether a hash was entered more than once. It may say so of one that shares a
/// cell with another, and never says no of one that was.
pub(super) struct Cells {
    words: Vec<AtomicU64>,
}

const CELLS_PER_WORD: u64 = 32;
/// Hashes that are looked up together.
pub(super) const AT_ONCE: usize = 64;

impl Cells {
    /// At least one cell.
    pub(super) fn new(cells: u64) -> Self {
        let words = cells.div_ceil(CELLS_PER_WORD).max(1);
        Self {
            words: zeros(usize::try_from(words).unwrap_or(usize::MAX)),
        }
    }

    /// The number of cells that so much memory holds.
    pub(super) fn in_bytes(bytes: u64) -> u64 {
        bytes.saturating_mul(4)
    }

    /// The memory that the table takes.
    pub(super) fn bytes(&self) -> u64 {
        self.words.len() as u64 * 8
    }

    /// Enters a hash, of which all bits are used.
    #[inline]
    pub(super) fn enter(&self, hash: u64) {
        let (word, once, again) = self.place(hash);
        let held = word.load(Relaxed);
        if held & again != 0 {
            return;
        }
        // Of two threads that come with one hash, one finds the other's bit.
        if held & once != 0 || word.fetch_or(once, Relaxed) & once != 0 {
            word.fetch_or(again, Relaxed);
        }
    }

    /// Enters many hashes. Their cells are far apart: here memory is asked for all of them before any is needed.
    pub(super) fn enter_all(&self, hashes: &[u64]) {
        for hashes in hashes.chunks(AT_ONCE) {
            let mut held = [0; AT_ONCE];
            for (held, hash) in held.iter_mut().zip(hashes) {
                *held = self.place(*hash).0.load(Relaxed);
            }
            for (held, hash) in held.iter().zip(hashes) {
                if held & self.place(*hash).2 == 0 {
                    self.enter(*hash);
                }
            }
        }
    }

    /// Whether a hash, or another of its cell, was entered a second time.
    #[inline]
    pub(super) fn entered_again(&self, hash: u64) -> bool {
        let (word, _, again) = self.place(hash);
        word.load(Relaxed) & again != 0
    }

    #[inline]
    fn place(&self, hash: u64) -> (&AtomicU64, u64, u64) {
        let cells = self.words.len() as u64 * CELLS_PER_WORD;
        let cell = ((u128::from(hash) * u128::from(cells)) >> 64) as u64;
        let shift = 2 * (cell % CELLS_PER_WORD);
        let word = &self.words[(cell / CELLS_PER_WORD) as usize];
        (word, 1 << shift, 2 << shift)
    }
}

/// One bit a number.
pub(super) struct Bits {
    words: Vec<AtomicU64>,
}

impl Bits {
    /// For the numbers below `count`, none of them set.
    pub(super) fn new(count: usize) -> Self {
        Self {
            words: zeros(count.div_ceil(64)),
        }
    }

    /// Sets the bit of a number.
    pub(super) fn set(&self, number: usize) {
        if let Some(word) = self.words.get(number / 64) {
            word.fetch_or(1 << (number % 64), Relaxed);
        }
    }

    /// Whether a number's bit is set.
    pub(super) fn get(&self, number: usize) -> bool {
        self.words
            .get(number / 64)
            .is_some_and(|word| word.load(Relaxed) >> (number % 64) & 1 != 0)
    }

    /// Sets the bits of a range.
    pub(super) fn set_range(&mut self, range: Range<usize>) {
        for (word, mask) in masks(range) {
            if let Some(word) = self.words.get_mut(word) {
                *word.get_mut() |= mask;
            }
        }
    }

    /// How many bits of a range are set.
    pub(super) fn count(&self, range: Range<usize>) -> u64 {
        masks(range)
            .filter_map(|(word, mask)| {
                Some((self.words.get(word)?.load(Relaxed) & mask).count_ones())
            })
            .map(u64::from)
            .sum()
    }

    /// The ranges of numbers that are set, as long as they come.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<usize>> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, 0)?;
            let end = self.next(start, u64::MAX).unwrap_or(self.words.len() * 64);
            at = end;
            Some(start..end)
        })
    }

    /// The first number from `from` on whose bit differs from those of `flip`.
    fn next(&self, from: usize, flip: u64) -> Option<usize> {
        let first = from / 64;
        let words = self.words.get(first..)?;
        let mut mask = u64::MAX << (from % 64);
        for (word, at) in words.iter().zip(first..) {
            let held = (word.load(Relaxed) ^ flip) & mask;
            if held != 0 {
                return Some(at * 64 + held.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

/// The words that a range of bits touches, and its bits in each.
fn masks(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    let words = range.start / 64..range.end.div_ceil(64).max(range.start / 64);
    words.map(move |word| {
        let mut mask = u64::MAX;
        if word == range.start / 64 {
            mask &= u64::MAX << (range.start % 64);
        }
        if word == range.end / 64 {
            mask &= !(u64::MAX << (range.end % 64));
        }
        (word, mask)
    })
}

fn zeros(words: usize) -> Vec<AtomicU64> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_knows_once_from_again() {
        let cells = Cells::new(1000);
        for hash in [3 << 60, 5 << 58, u64::MAX] {
            assert!(!cells.entered_again(hash));
            cells.enter(hash);
            assert!(!cells.entered_again(hash));
            cells.enter(hash);
            assert!(cells.entered_again(hash));
            cells.enter(hash);
            assert!(cells.entered_again(hash));
        }
        assert!(!cells.entered_again(0));
    }

    #[test]
    fn threads_that_meet_in_a_cell_count_to_two() {
        use rayon::prelude::*;
        let mixed = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for round in 0..20 {
            let cells = Cells::new(1 << 20);
            (0..20_000u64).into_par_iter().for_each(|number| {
                cells.enter(mixed(number % 10_000 + round * 10_000));
            });
            for number in 0..10_000 {
                assert!(cells.entered_again(mixed(number + round * 10_000)));
            }
        }
    }

    #[test]
    fn the_smallest_table_works_and_forgets_nothing() {
        let cells = Cells::new(0);
        assert_eq!(cells.bytes(), 8);
        cells.enter(1);
        cells.enter(u64::MAX);
        cells.enter(1);
        assert!(cells.entered_again(1));
    }

    #[test]
    fn ranges_of_bits_are_those_of_a_list_of_flags() {
        for (start, end) in [
            (0, 0),
            (0, 1),
            (5, 64),
            (63, 65),
            (64, 128),
            (1, 200),
            (130, 130),
            (199, 200),
        ] {
            let mut bits = Bits::new(200);
            bits.set_range(start..end);
            for number in 0..260 {
                assert_eq!(
                    bits.get(number),
                    (start..end).contains(&number),
                    "{start}..{end}: {number}"
                );
            }
            assert_eq!(bits.count(0..200), (end - start) as u64);
            let inside = (60..70).filter(|number| (start..end).contains(number));
            assert_eq!(bits.count(60..70), inside.count() as u64);
            let runs: Vec<Range<usize>> = bits.runs().collect();
            let expected = Some(start..end).filter(|run| !run.is_empty());
            assert_eq!(runs, Vec::from_iter(expected));
        }
        let bits = Bits::new(200);
        for number in [0, 1, 63, 64, 66, 127, 128, 199] {
            bits.set(number);
        }
        let runs: Vec<Range<usize>> = bits.runs().collect();
        assert_eq!(runs, [0..2, 63..65, 66..67, 127..129, 199..200]);
    }
}
