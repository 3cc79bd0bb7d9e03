//! Runs of words: windows of a fixed number of words have a rolling hash, and what repeated windows cover is cut between
//! sentences.
//!
//! A word is covered if it lies in a window that has an earlier copy. If that copy overlaps the window (its document goes
//! `la la la`), the words in both are the copy's, and not covered; so of a stretch that repeats itself at least one window
//! stays. Runs of at least a window of covered words are cut. Between words of a cut nothing is compared.
//!
//! No sentence is left half: a cut shrinks to the first and the last boundary in it, the gaps beside it included. Lines
//! bound sentences, wrapped ones too. Within a line a sentence ends after `.`, `!`, `?` and their like, closing quotes and
//! brackets, and white space; after those of Chinese and Japanese without it; and not after a full stop before a small
//! letter, as in "e.g. this". These are the rules of UAX #29 but for rare characters and "3.Four"; the segmentation
//! crate's own are quadratic in a text that ends in a full stop and spaces. A sentence of more than 100 words is none:
//! of a run that goes on so long without a boundary, the words are cut as they are.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::num::NonZeroU32;
use std::ops::Range;

use memchr::memrchr;
use xxhash_rust::xxh3::xxh3_128;

use super::table::Bits;
use super::{PieceHash, Unhashed, low_half};
use crate::dedup::words::for_each_word;

/// Words further from which a boundary does not count.
const LONGEST_SENTENCE: usize = 100;

/// Two polynomials in the hashes of words, modulo the prime 2^61 - 1. Modulo 2^64 there would be texts that collide whatever
/// the base (Thue and Morse's). A word's halves of XXH3-128 go one into each, as 64 bits for both would be the weak link.
const PRIME: u64 = (1 << 61) - 1;
/// Digits of pi in hexadecimal, cut to the field.
const BASES: [u64; 2] = [0x0243_f6a8_885a_308d, 0x1319_8a2e_0370_7344];

/// Windows of words over a text. It keeps its buffers from text to text.
#[derive(Default)]
pub(super) struct Windows {
    /// What each word of the window adds to the hash, times what takes it out again.
    leaving: Vec<[u64; 2]>,
    places: Vec<(u32, u32)>,
}

impl Windows {
    /// Calls back with the hash of each window of so many words, in order.
    pub(super) fn for_each(
        &mut self,
        text: &str,
        words: NonZeroU32,
        mut each: impl FnMut(PieceHash),
    ) {
        self.walk(text, words, |_, _, window| {
            if let Some(hash) = window {
                each(hash);
            }
        });
    }

    /// Calls back with each word and the hash of the window that ends with it.
    fn walk(
        &mut self,
        text: &str,
        words: NonZeroU32,
        mut each: impl FnMut(usize, usize, Option<PieceHash>),
    ) {
        let words = words.get() as usize;
        let powers = BASES.map(|base| power(base, words));
        let leaving = &mut self.leaving;
        leaving.clear();
        let mut at = 0;
        let mut hash = [0; 2];
        for_each_word(text, |start, end| {
            let word = halves(xxh3_128(&text.as_bytes()[start..end])).map(reduced);
            for half in 0..2 {
                hash[half] = reduced(times(hash[half], BASES[half]) + word[half]);
            }
            let entering = [times(word[0], powers[0]), times(word[1], powers[1])];
            if leaving.len() < words {
                leaving.push(entering);
            } else {
                let left = std::mem::replace(&mut leaving[at], entering);
                at = if at + 1 == words { 0 } else { at + 1 };
                for half in 0..2 {
                    hash[half] = reduced(hash[half] + PRIME - left[half]);
                }
            }
            each(start, end, (leaving.len() == words).then(|| finished(hash)));
        });
    }

    /// What to cut of a text, given which of its windows are repeats.
    pub(super) fn repeated_spans(
        &mut self,
        text: &str,
        words: NonZeroU32,
        is_repeat: impl Fn(usize) -> bool,
    ) -> Vec<Range<usize>> {
        let width = words.get() as usize;
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        let mut covered = Cover::new(text.len());
        let mut recent = Recent::new(width);
        let mut window = 0;
        self.walk(text, words, |start, end, hash| {
            places.push((narrow(start), narrow(end)));
            if let Some(hash) = hash {
                let before = recent.replace(hash.low, window);
                if is_repeat(window) {
                    let start = before.map_or(window, |before| before + width);
                    covered.add(start..window + width);
                }
                window += 1;
            }
        });
        let spans = covered.bits.runs().filter(|run| run.len() >= width);
        let cuts = between_sentences(text, &places, spans);
        self.places = places;
        cuts
    }
}

/// Texts are at most [`crate::analysis::MAX_TEXT_BYTES`] long.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn halves(hash: u128) -> [u64; 2] {
    [low_half(hash >> 64), low_half(hash)]
}

/// The remainder of any number below 2^64 - 1, and of 2^64 - 1 too.
#[inline]
fn reduced(number: u64) -> u64 {
    let folded = (number & PRIME) + (number >> 61);
    if folded >= PRIME {
        folded - PRIME
    } else {
        folded
    }
}

/// The product of two remainders.
#[inline]
fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    reduced((low_half(product) & PRIME) + low_half(product >> 61))
}

fn power(base: u64, mut exponent: usize) -> u64 {
    let (mut square, mut product) = (base, 1);
    while exponent > 0 {
        if exponent % 2 == 1 {
            product = times(product, square);
        }
        square = times(square, square);
        exponent /= 2;
    }
    product
}

/// Spreads both remainders over all bits of both halves; each step can be undone, so nothing is lost.
#[inline]
fn finished(hash: [u64; 2]) -> PieceHash {
    let high = hash[0] ^ mixed(hash[1]);
    let low = hash[1] ^ mixed(high);
    PieceHash {
        high: high ^ mixed(low),
        low,
    }
}

/// The finisher of `SplitMix64` (Steele, Lea and Flood, 2014, with Stafford's variant 13 of the constants).
#[inline]
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The windows that overlap the next one, by hash: a map of those since the last multiple of the width, and one of those
/// in the width before.
struct Recent {
    width: usize,
    current: HashMap<u64, usize, BuildHasherDefault<Unhashed>>,
    previous: HashMap<u64, usize, BuildHasherDefault<Unhashed>>,
}

impl Recent {
    fn new(width: usize) -> Self {
        Self {
            width,
            current: HashMap::default(),
            previous: HashMap::default(),
        }
    }

    /// Takes the next window; the last before it with its hash that has a word in common with it.
    fn replace(&mut self, hash: u64, window: usize) -> Option<usize> {
        if window.is_multiple_of(self.width) {
            std::mem::swap(&mut self.current, &mut self.previous);
            self.current.clear();
        }
        self.current
            .insert(hash, window)
            .or_else(|| self.previous.get(&hash).copied())
            .filter(|before| window - before < self.width)
    }
}

/// Words that are covered. Ranges come with ends that rise, most of them one word further than the last.
struct Cover {
    bits: Bits,
    /// A range that is covered whole: where the last one fell.
    last: Range<usize>,
}

impl Cover {
    fn new(words: usize) -> Self {
        Self {
            bits: Bits::new(words),
            last: 0..0,
        }
    }

    fn add(&mut self, range: Range<usize>) {
        let mut set = |range: Range<usize>| {
            self.bits.set_range(range);
        };
        if range.start > self.last.end {
            set(range.clone());
            self.last = range;
            return;
        }
        if range.start < self.last.start {
            set(range.start..self.last.start);
            self.last.start = range.start;
        }
        if range.end > self.last.end {
            set(self.last.end..range.end);
            self.last.end = range.end;
        }
    }
}

/// Shrinks runs of words to whole sentences.
fn between_sentences(
    text: &str,
    places: &[(u32, u32)],
    spans: impl Iterator<Item = Range<usize>>,
) -> Vec<Range<usize>> {
    let start_of = |word: usize| {
        places
            .get(word)
            .map_or(text.len(), |place| place.0 as usize)
    };
    let mut sentences = Sentences::new(text);
    let mut cuts = Vec::new();
    for span in spans {
        let is_long = span.len() > LONGEST_SENTENCE;
        // The gap before the first word and that after the last are bare of words.
        let first = match span.start.checked_sub(1) {
            Some(before) => places[before].1 as usize,
            None => 0,
        };
        let last = start_of(span.end);
        let latest_start = if is_long {
            start_of(span.start + LONGEST_SENTENCE)
        } else {
            last
        };
        let start = match sentences.at_or_after(first) {
            Some(boundary) if boundary <= latest_start => boundary,
            _ if is_long => start_of(span.start),
            _ => continue,
        };
        let mut end = is_long.then_some(last);
        let mut from = if is_long {
            start_of(span.end - LONGEST_SENTENCE).max(start)
        } else {
            start
        };
        while let Some(boundary) = sentences.at_or_after(from).filter(|found| *found <= last) {
            end = Some(boundary);
            from = boundary + 1;
        }
        if let Some(end) = end
            && start < end
        {
            cuts.push(start..end);
        }
    }
    cuts
}

/// The boundaries of a text's sentences, found as far as they are asked for and never twice.
struct Sentences<'a> {
    text: &'a str,
    /// What is read.
    at: usize,
    /// The last boundary found.
    found: usize,
    /// What may end a sentence, if that was the last but for what may follow it.
    ended: Option<Ended>,
}

#[derive(Clone, Copy)]
struct Ended {
    by: Terminator,
    is_spaced: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminator {
    /// Ends no sentence before a small letter.
    FullStop,
    /// Needs white space.
    Narrow,
    /// Needs none.
    Wide,
}

impl<'a> Sentences<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            at: 0,
            found: 0,
            ended: None,
        }
    }

    /// The first boundary that is not before `from`. Each `from` is at least the one before.
    fn at_or_after(&mut self, from: usize) -> Option<usize> {
        if from > self.text.len() {
            return None;
        }
        if self.found < from && self.at < from {
            // A line begins afresh, so the lines between need not be read.
            if let Some(line_end) = memrchr(b'\n', &self.text.as_bytes()[self.at..from]) {
                self.at += line_end + 1;
                self.found = self.at;
                self.ended = None;
            }
        }
        while self.found < from {
            self.found = self.next()?;
        }
        Some(self.found)
    }

    /// The boundary after the last one found.
    fn next(&mut self) -> Option<usize> {
        let begun = self.at;
        for (offset, character) in self.text[begun..].char_indices() {
            let here = begun + offset;
            self.at = here + character.len_utf8();
            if character == '\n' {
                self.ended = None;
                return Some(self.at);
            }
            if let Some(by) = terminator(character) {
                let is_spaced = false;
                self.ended = Some(Ended { by, is_spaced });
                continue;
            }
            let Some(ended) = &mut self.ended else {
                continue;
            };
            if character.is_whitespace() {
                ended.is_spaced = true;
            } else if ended.is_spaced || !closes(character) {
                let Ended { by, is_spaced } = *ended;
                self.ended = None;
                if by == Terminator::Wide
                    || is_spaced && !(by == Terminator::FullStop && character.is_lowercase())
                {
                    return Some(here);
                }
            }
        }
        (self.found < self.text.len()).then_some(self.text.len())
    }
}

/// Sentence terminators of the scripts most written.
fn terminator(character: char) -> Option<Terminator> {
    match character {
        '.' | '\u{2024}' | '\u{2026}' => Some(Terminator::FullStop),
        '!' | '?' | '\u{203c}' | '\u{203d}' | '\u{2047}'..='\u{2049}' => Some(Terminator::Narrow),
        // Greek has none of its own; Armenian, Arabic, Devanagari, Burmese, Ethiopic, Khmer.
        '\u{589}' | '\u{61f}' | '\u{6d4}' | '\u{964}' | '\u{965}' | '\u{104a}' | '\u{104b}'
        | '\u{1362}' | '\u{1367}' | '\u{17d4}' | '\u{17d5}' => Some(Terminator::Narrow),
        '\u{3002}' | '\u{ff01}' | '\u{ff0e}' | '\u{ff1f}' | '\u{ff61}' => Some(Terminator::Wide),
        _ => None,
    }
}

/// Quotes and brackets that may stand between the terminator and the end.
fn closes(character: char) -> bool {
    matches!(
        character,
        '"' | '\''
            | ')'
            | ']'
            | '}'
            | '\u{bb}'
            | '\u{2019}'
            | '\u{201d}'
            | '\u{203a}'
            | '\u{300b}'
            | '\u{300d}'
            | '\u{300f}'
            | '\u{3011}'
            | '\u{3015}'
            | '\u{ff09}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boundaries(text: &str) -> Vec<usize> {
        let mut sentences = Sentences::new(text);
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(boundary) = sentences.at_or_after(from) {
            found.push(boundary);
            from = boundary + 1;
        }
        found
    }

    /// The text with its sentences between bars.
    fn parted(text: &str) -> String {
        let found = boundaries(text);
        let parts: Vec<&str> = found
            .windows(2)
            .map(|pair| &text[pair[0]..pair[1]])
            .collect();
        assert_eq!(parts.concat(), text);
        parts.join("|")
    }

    #[test]
    fn sentences_end_where_a_reader_would_end_them() {
        for expected in [
            "One. |Two! |Three?  |Four",
            "He said \"No.\" |\"Why?\" |(Because.) |So",
            "See e.g. this, at 3.5 of v1.2.3 ... or not. |Then",
            "Wait... |What?! |Yes",
            "One.\n|\n|two\r\n|three",
            "End. \n|Next.",
            "\u{4f60}\u{597d}\u{3002}|\u{300c}\u{55ce}\u{ff1f}\u{300d}|\u{597d}\u{3002} |a\u{3002}",
            "\u{928}\u{92e}\u{964} |\u{928}",
            " .a. |A . . . |B",
        ] {
            assert_eq!(parted(&expected.replace('|', "")), expected);
        }
        assert_eq!(boundaries(""), [0]);
        assert_eq!(boundaries("\n"), [0, 1]);
        assert_eq!(boundaries("a. "), [0, 3]);
    }

    #[test]
    fn boundaries_are_the_same_from_wherever_they_are_asked() {
        let text = "One. Two.\nThree\nfour. Five!\n\nSix? Seven";
        let all = boundaries(text);
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut sentences = Sentences::new(text);
                for from in [first, second] {
                    let expected = all.iter().copied().find(|boundary| *boundary >= from);
                    assert_eq!(sentences.at_or_after(from), expected, "{first} {second}");
                }
            }
        }
    }

    #[test]
    fn the_hash_of_a_window_is_that_of_its_words_wherever_it_stands() {
        let words = NonZeroU32::new(3).unwrap();
        let hashes = |text: &str| {
            let mut all = Vec::new();
            Windows::default().for_each(text, words, |hash| all.push(hash));
            all
        };
        let found = hashes("a b c, d a b c. e f B c d");
        assert_eq!(found.len(), 10);
        assert_eq!(found[0], found[4]);
        let others: std::collections::BTreeSet<_> = found.iter().collect();
        assert_eq!(others.len(), 9);
        assert_eq!(hashes("xyz a b c")[1], found[0]);
        assert_eq!(hashes("a b"), []);
        assert_eq!(hashes("d b a c a b d c")[2..3], hashes("a c a"));
    }

    #[test]
    fn arithmetic_is_that_of_the_field() {
        let numbers = [0, 1, 2, PRIME - 1, PRIME / 2, BASES[0], BASES[1], 1 << 60];
        for a in numbers {
            for b in numbers {
                let product = u128::from(a) * u128::from(b) % u128::from(PRIME);
                assert_eq!(u128::from(times(a, b)), product);
            }
        }
        for number in [PRIME, u64::MAX, u64::MAX - 1, 1 << 61, PRIME * 7 + 3] {
            assert_eq!(reduced(number), number % PRIME);
        }
        assert_eq!(
            power(BASES[0], 5),
            (0..5).fold(1, |product, _| times(product, BASES[0]))
        );
    }

    #[test]
    fn a_window_finds_the_last_equal_one_that_overlaps_it() {
        let mut state = 1u64;
        for width in [1, 2, 3, 7, 50] {
            let mut recent = Recent::new(width);
            let mut all = Vec::new();
            for window in 0..500usize {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                let hash = (state >> 33) % 20;
                let expected = (window.saturating_sub(width - 1)..window)
                    .rev()
                    .find(|before| all[*before] == hash);
                all.push(hash);
                assert_eq!(recent.replace(hash, window), expected, "{width} {window}");
            }
        }
    }
}
