//! Gopher's statistics as Dolma counts them (`allenai/dolma` 1.2, `python/dolma/taggers/gopher.py`, `gopher_v1`):
//! words split at space, lines between `\n` as they are, every copy of what repeats counted.

use super::Fraction;
use super::characters::{LETTERS, count_characters, is_space};
use super::repetition::{Tally, extend};
use xxhash_rust::xxh3::xxh3_64;

/// What Dolma's tagger writes, but for what the other definitions share.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dolma {
    /// Words split at space.
    pub words: u64,
    /// Characters of all of them.
    pub characters: u64,
    /// The middle of their lengths in characters; of an even number the mean of two.
    pub median_word_characters: f64,
    /// Words that hold `#` or `…`.
    pub with_symbol: u64,
    /// Words with a letter.
    pub with_letter: u64,
    /// Occurrences of `the be to of and that have with`, in small letters.
    pub stop_words: u64,
    /// Lines, blank ones included.
    pub lines: u64,
    /// Lines that start with `*` or `-`.
    pub bullets: u64,
    /// Lines that end in `…`.
    pub ellipses: u64,
    /// Lines that have an equal, every one counted.
    pub duplicate_lines: u64,
    /// Characters of those.
    pub duplicate_line_characters: u64,
    /// n = 2, 3, 4: characters of the words of the most frequent n-gram times its count, which may be 1.
    pub top: [u64; 3],
    /// n = 5 to 10: characters of repeated n-grams, each as often as it occurs, of those of all n-grams.
    pub duplicate: [Fraction; 6],
}

#[derive(Debug, Default)]
pub(super) struct DolmaScratch {
    hashes: Vec<u64>,
    lengths: Vec<u32>,
    words: Vec<u32>,
    starts: Vec<(u32, u32)>,
    before: Vec<u64>,
    lines: Vec<(u32, u32)>,
}

impl DolmaScratch {
    pub(super) fn measure(&mut self, text: &str, tally: &mut Tally) -> Dolma {
        let mut found = Dolma::default();
        self.lines(text, tally, &mut found);
        self.words(text, &mut found);
        self.ngrams(tally, &mut found);
        found
    }

    fn lines(&mut self, text: &str, tally: &mut Tally, found: &mut Dolma) {
        self.lines.clear();
        tally.begin(memchr::memchr_iter(b'\n', text.as_bytes()).count() + 1);
        for line in text.split('\n') {
            found.lines += 1;
            found.bullets += u64::from(line.starts_with(['*', '-']));
            found.ellipses += u64::from(line.ends_with('…'));
            let slot = tally.add(xxh3_64(line.as_bytes()));
            // The text is shorter than 2^30 bytes.
            let characters = u32::try_from(count_characters(line)).unwrap_or(u32::MAX);
            self.lines.push((slot, characters));
        }
        for &(slot, characters) in &self.lines {
            if tally.count(slot) > 1 {
                found.duplicate_lines += 1;
                found.duplicate_line_characters += u64::from(characters);
            }
        }
    }

    fn words(&mut self, text: &str, found: &mut Dolma) {
        self.hashes.clear();
        self.lengths.clear();
        self.before.clear();
        for word in text.split(is_space).filter(|word| !word.is_empty()) {
            let characters = count_characters(word);
            self.before.push(found.characters);
            self.hashes.push(xxh3_64(word.as_bytes()));
            self.lengths
                .push(u32::try_from(characters).unwrap_or(u32::MAX));
            found.words += 1;
            found.characters += characters;
            found.with_symbol += u64::from(word.contains(['#', '…']));
            found.with_letter += u64::from(word.chars().any(|c| LETTERS.contains(c)));
            found.stop_words += u64::from(matches!(
                word,
                "the" | "be" | "to" | "of" | "and" | "that" | "have" | "with"
            ));
        }
        self.before.push(found.characters);
        let middle = self.lengths.len() / 2;
        if !self.lengths.is_empty() {
            let (below, upper, _) = self.lengths.select_nth_unstable(middle);
            let upper = f64::from(*upper);
            found.median_word_characters = match below.iter().max() {
                Some(lower) if self.hashes.len().is_multiple_of(2) => {
                    f64::midpoint(f64::from(*lower), upper)
                }
                _ => upper,
            };
        }
    }

    fn ngrams(&mut self, tally: &mut Tally, found: &mut Dolma) {
        let Self {
            hashes,
            words,
            starts,
            before,
            ..
        } = self;
        tally.begin(hashes.len());
        words.clear();
        words.extend(hashes.iter().map(|&hash| tally.add(hash)));
        starts.clear();
        starts.extend(
            (0_u32..)
                .zip(words.iter().copied())
                .filter(|&(_, word)| tally.count(word) > 1),
        );
        let span = |start: usize, n: usize| before[start + n] - before[start];
        for n in 2..=10 {
            if words.len() < n {
                break;
            }
            if !starts.is_empty() || n == 2 {
                extend(words, starts, n, tally);
            }
            if n < 5 {
                let (mut most, mut first) = (1, 0);
                for &(start, slot) in starts.iter() {
                    if tally.count(slot) > most {
                        (most, first) = (tally.count(slot), start as usize);
                    }
                }
                found.top[n - 2] = span(first, n) * u64::from(most);
            } else {
                // Each word is in as many n-grams as there are places for it.
                found.duplicate[n - 5] = Fraction {
                    part: starts
                        .iter()
                        .map(|&(start, _)| span(start as usize, n))
                        .sum(),
                    whole: (0..=words.len() - n).map(|start| span(start, n)).sum(),
                };
            }
        }
    }
}
