//! Repeated word n-grams as DataComp-LM counts them (`repetition_filter` in `content_filters.py`), n from 2 to
//! 10 in little more than the time of one n.
//!
//! Words are those of UAX #29 that begin with a letter or digit, case kept. An n-gram can repeat only if both
//! (n-1)-grams in it do. So the bigrams of all positions are tallied, and for each further n the positions that
//! are left; in prose few get beyond 4. The n-gram at a position is told by the number of the (n-1)-gram there
//! and that of the word it adds, so there is no hash of an n-gram that could collide.

use super::Fraction;
use super::characters::{ALPHANUMERICS, count_characters};
use crate::dedup::words::{WordHasher, for_each_word};

/// Repeated n-grams of a document. Wholes are the characters of all words, without what stands between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ngrams {
    /// n = 2, 3, 4: characters of the n-gram that occurs most often (the longest, if several do), times its
    /// count; 0 if none occurs twice. Overlaps count each time.
    pub top: [Fraction; 3],
    /// n = 5 to 10: characters of the words that are in any n-gram which occurs more than once, each word
    /// counted once.
    pub duplicate: [Fraction; 6],
}

/// Buffers of [`NgramScratch::measure`], as long as the document with the most words so far.
#[derive(Debug, Default)]
pub(super) struct NgramScratch {
    hasher: WordHasher,
    hashes: Vec<u64>,
    /// The number of each word: equal words, equal numbers.
    words: Vec<u32>,
    /// Characters of the words before each, and at the end those of all.
    characters_before: Vec<u32>,
    /// Where an n-gram starts that may repeat, and the number of the (n-1)-gram there.
    starts: Vec<(u32, u32)>,
}

impl NgramScratch {
    pub(super) fn measure(&mut self, text: &str, tally: &mut Tally) -> Ngrams {
        self.number_words(text, tally);
        let mut ngrams = Ngrams::default();
        let whole = u64::from(self.characters_before.last().copied().unwrap_or(0));
        for fraction in ngrams.top.iter_mut().chain(&mut ngrams.duplicate) {
            fraction.whole = whole;
        }
        for n in 2..=10 {
            extend(&self.words, &mut self.starts, n, tally);
            if self.starts.is_empty() {
                break;
            }
            match n {
                ..5 => ngrams.top[n - 2].part = self.top_characters(n, tally),
                _ => ngrams.duplicate[n - 5].part = self.covered_characters(n),
            }
        }
        ngrams
    }

    fn number_words(&mut self, text: &str, tally: &mut Tally) {
        let Self {
            hasher,
            hashes,
            words,
            characters_before,
            starts,
        } = self;
        let alphanumerics = &*ALPHANUMERICS;
        hashes.clear();
        words.clear();
        characters_before.clear();
        starts.clear();
        let mut characters = 0;
        for_each_word(text, |start, end| {
            let word = &text[start..end];
            // A word of Unicode may begin with an underscore or a mark.
            let first = word.as_bytes().first().copied().unwrap_or_default();
            if !(first.is_ascii_alphanumeric()
                || word.starts_with(|first| alphanumerics.contains(first)))
            {
                return;
            }
            characters_before.push(characters);
            // The text is shorter than 2^30 bytes, so 32 bits hold any count of its characters or words.
            let length = if word.is_ascii() {
                word.len() as u64
            } else {
                count_characters(word)
            };
            characters += u32::try_from(length).unwrap_or(u32::MAX);
            hashes.push(hasher.exact(text, start, end));
        });
        characters_before.push(characters);
        tally.begin(hashes.len());
        words.extend(hashes.iter().map(|&hash| tally.add(hash)));
        for (start, &word) in (0_u32..).zip(words.iter()) {
            if tally.count(word) > 1 {
                starts.push((start, word));
            }
        }
    }

    fn characters(&self, from: usize, to: usize) -> u64 {
        u64::from(self.characters_before[to] - self.characters_before[from])
    }

    fn top_characters(&self, n: usize, tally: &Tally) -> u64 {
        let counted = self.starts.iter().map(|&(start, slot)| {
            let start = start as usize;
            (
                u64::from(tally.count(slot)),
                self.characters(start, start + n),
            )
        });
        counted
            .max()
            .map_or(0, |(count, characters)| count * characters)
    }

    fn covered_characters(&self, n: usize) -> u64 {
        let mut covered = 0;
        let mut end = 0;
        for &(start, _) in &self.starts {
            let start = start as usize;
            covered += self.characters(start.max(end), start + n);
            end = start + n;
        }
        covered
    }
}

/// Turns the repeated (n-1)-grams of `words`, given by start and number, into the repeated n-grams.
pub(super) fn extend(words: &[u32], starts: &mut Vec<(u32, u32)>, n: usize, tally: &mut Tally) {
    tally.begin(starts.len());
    let mut kept = 0;
    for index in 0..starts.len() {
        let (start, shorter) = starts[index];
        // The (n-1)-gram one further on has to repeat as well.
        let follows = starts
            .get(index + 1)
            .is_some_and(|&(next, _)| next == start + 1);
        if let Some(&last) = words.get(start as usize + n - 1)
            && follows
        {
            let slot = tally.add(u64::from(shorter) << 32 | u64::from(last));
            starts[kept] = (start, slot);
            kept += 1;
        }
    }
    starts.truncate(kept);
    starts.retain(|&(_, slot)| tally.count(slot) > 1);
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    key: u64,
    /// The tally in which the entry was made: entries of earlier ones count as free, so nothing is ever
    /// cleared.
    generation: u32,
    count: u32,
}

/// Counts keys: an open-addressing table that is used again without being cleared.
#[derive(Debug)]
pub(super) struct Tally {
    entries: Vec<Entry>,
    generation: u32,
    /// Slots in use, a power of two, less one: no more than the document needs, so that small ones stay in the
    /// cache.
    last_slot: usize,
    /// What brings a 64-bit product down to a slot.
    shift: u32,
}

impl Default for Tally {
    fn default() -> Self {
        let mut tally = Self {
            entries: Vec::new(),
            generation: 0,
            last_slot: 0,
            shift: 0,
        };
        tally.begin(0);
        tally
    }
}

impl Tally {
    /// Starts anew, with room for `keys` different keys; more must not be added. The caller's texts are shorter
    /// than 2^30 bytes, so slots fit 32 bits.
    pub(super) fn begin(&mut self, keys: usize) {
        if self.generation == u32::MAX {
            self.entries.fill(Entry::default());
            self.generation = 0;
        }
        self.generation += 1;
        let slots = (2 * keys).next_power_of_two().max(64);
        if self.entries.len() < slots {
            self.entries.resize(slots, Entry::default());
        }
        self.last_slot = slots - 1;
        self.shift = u64::BITS - slots.trailing_zeros();
    }

    /// Counts one occurrence of `key`; returns the number that stands for the key until the next
    /// [`Tally::begin`].
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "slots are fewer than 2^32, see `begin`"
    )]
    pub(super) fn add(&mut self, key: u64) -> u32 {
        let mut slot =
            ((key ^ key >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize;
        loop {
            let entry = &mut self.entries[slot & self.last_slot];
            if entry.generation != self.generation {
                *entry = Entry {
                    key,
                    generation: self.generation,
                    count: 1,
                };
                return (slot & self.last_slot) as u32;
            }
            if entry.key == key {
                entry.count += 1;
                return (slot & self.last_slot) as u32;
            }
            slot += 1;
        }
    }

    /// How often the key behind `slot` was added.
    #[inline(always)]
    pub(super) fn count(&self, slot: u32) -> u32 {
        self.entries[slot as usize].count
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;
    use crate::analysis::{Analysis, Scratch};

    fn ngrams(text: &str) -> Ngrams {
        let mut scratch = Scratch::default();
        Analysis::new(text, &mut scratch).unwrap().ngrams()
    }

    fn slow_ngrams(text: &str) -> Ngrams {
        let words: Vec<&str> = text
            .unicode_words()
            .filter(|word| word.starts_with(|c| ALPHANUMERICS.contains(c)))
            .collect();
        let characters = |words: &[&str]| {
            words
                .iter()
                .map(|word| word.chars().count() as u64)
                .sum::<u64>()
        };
        let whole = characters(&words);
        let fraction = |n: usize| {
            let mut counts: BTreeMap<&[&str], u64> = BTreeMap::new();
            for ngram in words.windows(n) {
                *counts.entry(ngram).or_default() += 1;
            }
            let repeated = |ngram: &[&str]| counts.get(ngram).is_some_and(|&count| count > 1);
            let part = if n < 5 {
                let most = counts.values().copied().max().unwrap_or(0);
                let longest = counts
                    .iter()
                    .filter(|&(_, &count)| count == most)
                    .map(|(ngram, _)| characters(ngram))
                    .max();
                if most > 1 {
                    longest.unwrap_or(0) * most
                } else {
                    0
                }
            } else {
                let mut covered = vec![false; words.len()];
                for (start, ngram) in words.windows(n).enumerate() {
                    covered[start..start + n]
                        .iter_mut()
                        .for_each(|word| *word |= repeated(ngram));
                }
                words
                    .iter()
                    .zip(covered)
                    .filter(|(_, covered)| *covered)
                    .map(|(word, _)| word.chars().count() as u64)
                    .sum()
            };
            Fraction { part, whole }
        };
        Ngrams {
            top: [2, 3, 4].map(fraction),
            duplicate: [5, 6, 7, 8, 9, 10].map(fraction),
        }
    }

    /// A few words over and over, with runs that repeat as a whole.
    fn repetitive_text() -> impl Strategy<Value = String> {
        let word = prop::sample::select(vec![
            "a", "bb", "ccc", "d\u{e9}d", "1", "_x", "it's", "\u{4f60}",
        ]);
        let run = prop::collection::vec(word, 1..14);
        let runs = prop::collection::vec((run, 1_usize..4), 1..8);
        runs.prop_map(|runs| {
            let words = runs.into_iter().flat_map(|(run, times)| run.repeat(times));
            words.collect::<Vec<&str>>().join(" ")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn ngrams_equal_those_of_the_obvious_way(text in repetitive_text()) {
            prop_assert_eq!(ngrams(&text), slow_ngrams(&text));
        }
    }

    proptest! {
        #[test]
        fn ngrams_of_any_text_equal_those_of_the_obvious_way(text in "[ab ,_\u{e9}]{0,120}") {
            prop_assert_eq!(ngrams(&text), slow_ngrams(&text));
        }
    }

    #[test]
    fn a_tally_outlives_its_generations() {
        let mut tally = Tally {
            generation: u32::MAX,
            ..Tally::default()
        };
        tally.begin(1);
        let slot = tally.add(7);
        assert_eq!((tally.add(7), tally.count(slot)), (slot, 2));
        tally.begin(1);
        let slot = tally.add(7);
        assert_eq!(tally.count(slot), 1);
    }
}
