//! Tokens of a text and their n-grams as datatrove counts them (`huggingface/datatrove` 0.10,
//! `pipeline/filters/gopher_quality_filter.py` and `gopher_repetition_filter.py`).
//!
//! Two kinds of tokens: English ones are spaCy's ([`super::english`]) and exact; those of any other language are
//! the word segments of UAX #29 without white space, punctuation by itself as a token, which is near to what
//! datatrove's tokenizers of other languages make where words stand apart, and nowhere exact.
//!
//! The n-grams that datatrove looks for twice are joined without a space, so equal ones may be cut differently.
//! What two of them share is their beginning: sixteen bytes of the text without white space. Places whose sixteen
//! bytes occur once cannot repeat and are left out, all others are looked at one n after the other.

use unicode_segmentation::UnicodeSegmentation;
use xxhash_rust::xxh3::xxh3_64;

use super::Fraction;
use super::characters::is_space;
use super::english::{Tokenizer, count_sentences, fact};
use super::repetition::{Tally, extend};

/// What a language's tokens are.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum TokenKind {
    /// spaCy's English tokenizer.
    #[default]
    English,
    /// Word segments of UAX #29, without white space.
    Unicode,
}

/// What the tokens of a text are, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// All.
    pub count: u64,
    /// Those that are not all punctuation.
    pub words: u64,
    /// Characters of those.
    pub word_characters: u64,
    /// Tokens with a letter.
    pub with_letter: u64,
    /// How many of `the be to of and that have with` occur, in small letters.
    pub stop_words: u64,
}

/// Repeated n-grams of tokens. Wholes are the characters of the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenNgrams {
    /// n = 2, 3, 4: characters of the n-gram that occurs most often, with a space between its tokens, times its
    /// count, which may be 1. Of several the first.
    pub top: [Fraction; 3],
    /// n = 5 to 10: characters of n-grams that were there before, from left to right, none overlapping another.
    pub duplicate: [Fraction; 6],
}

/// Buffers, as long as the text with the most tokens so far.
#[derive(Debug, Default)]
pub(super) struct TokenScratch {
    tokenizer: Tokenizer,
    lines: Tokenizer,
    words: Vec<u32>,
    starts: Vec<(u32, u32)>,
    /// Characters of the tokens before each, and at the end those of all.
    characters: Vec<u32>,
    /// The text without white space, and a margin.
    squeezed: Vec<u8>,
    /// Where each token starts in it, and at the end where the last ends.
    offsets: Vec<u32>,
    /// Tokens at which a repeated n-gram may start.
    candidates: Vec<u32>,
}

/// Bytes that equal n-grams of five tokens or more have in common, if they have as many.
const BEGINNING: usize = 16;

impl TokenScratch {
    pub(super) fn read(&mut self, text: &str, kind: TokenKind) -> Tokens {
        match kind {
            TokenKind::English => self.tokenizer.read(text),
            TokenKind::Unicode => self.tokenizer.read_segments(text),
        }
        let mut tokens = Tokens {
            count: self.tokenizer.tokens.len() as u64,
            ..Tokens::default()
        };
        let mut stop_words = 0_u16;
        let mut words = 0_u32;
        let mut letters = 0_u32;
        for token in &self.tokenizer.tokens {
            let word = u32::from(token.facts & fact::WORD);
            words += word;
            tokens.word_characters += u64::from(word * token.characters);
            letters += u32::from(token.facts & fact::LETTER != 0);
            stop_words |= 1 << token.stop_word;
        }
        tokens.words = u64::from(words);
        tokens.with_letter = u64::from(letters);
        tokens.stop_words = u64::from((stop_words >> 1).count_ones());
        tokens
    }

    /// Sentences of the stretch of the text that was read last from `start` to `end`: at least one.
    pub(super) fn sentences(&self, start: usize, end: usize) -> u64 {
        let tokens = &self.tokenizer.tokens;
        let from = tokens.partition_point(|token| (token.start as usize) < start);
        let length = tokens[from..].partition_point(|token| (token.start as usize) < end);
        count_sentences(&tokens[from..from + length]).max(1)
    }

    /// How many tokens of the text that was read last start from `start` to `end`.
    pub(super) fn between(&self, start: usize, end: usize) -> u64 {
        let tokens = &self.tokenizer.tokens;
        let before = |at: usize| tokens.partition_point(|token| (token.start as usize) < at);
        (before(end) - before(start)) as u64
    }

    /// Tokens and sentences of a line by itself.
    pub(super) fn line(&mut self, line: &str) -> (u64, u64) {
        self.lines.read(line);
        let tokens = &self.lines.tokens;
        (tokens.len() as u64, count_sentences(tokens).max(1))
    }

    /// Whether one of `words` is among the tokens, each counted once.
    pub(super) fn distinct(&self, text: &str, words: &[&str]) -> u64 {
        let mut found = vec![false; words.len()];
        for token in &self.tokenizer.tokens {
            let bytes = &text.as_bytes()[token.start as usize..][..token.length as usize];
            if let Some(at) = words.iter().position(|word| word.as_bytes() == bytes) {
                found[at] = true;
            }
        }
        found.iter().filter(|found| **found).count() as u64
    }

    /// The n-grams of the text that was read last.
    pub(super) fn ngrams(&mut self, text: &str, characters: u64, tally: &mut Tally) -> TokenNgrams {
        let mut ngrams = TokenNgrams::default();
        for fraction in ngrams.top.iter_mut().chain(&mut ngrams.duplicate) {
            fraction.whole = characters;
        }
        self.squeeze(text);
        self.number(tally);
        for n in 2..=4 {
            if self.words.len() < n {
                break;
            }
            if n == 2 || !self.starts.is_empty() {
                extend(&self.words, &mut self.starts, n, tally);
            }
            ngrams.top[n - 2].part = self.top(n, tally);
        }
        self.find_candidates(tally);
        if !self.candidates.is_empty() {
            for n in 5..=10 {
                ngrams.duplicate[n - 5].part = self.duplicates(n, tally);
            }
        }
        ngrams
    }

    fn squeeze(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.squeezed.resize(bytes.len() + BEGINNING, 0);
        self.offsets.clear();
        self.characters.clear();
        let mut characters = 0;
        let mut at = 0_usize;
        for token in &self.tokenizer.tokens {
            self.offsets.push(narrow(at));
            self.characters.push(characters);
            characters += token.characters;
            let (start, length) = (token.start as usize, token.length as usize);
            // Sixteen bytes at once are quicker than the few that are wanted; the next token covers the rest.
            if length <= BEGINNING
                && let Some(from) = bytes.get(start..start + BEGINNING)
            {
                self.squeezed[at..at + BEGINNING].copy_from_slice(from);
            } else {
                self.squeezed[at..at + length].copy_from_slice(&bytes[start..start + length]);
            }
            at += length;
        }
        self.offsets.push(narrow(at));
        self.characters.push(characters);
        self.squeezed[at..at + BEGINNING].fill(0);
    }

    fn number(&mut self, tally: &mut Tally) {
        let tokens = &self.tokenizer.tokens;
        tally.begin(tokens.len());
        self.words.clear();
        self.words
            .extend(tokens.iter().map(|token| tally.add(token.hash)));
        self.starts.clear();
        for (start, &word) in (0_u32..).zip(&self.words) {
            if tally.count(word) > 1 {
                self.starts.push((start, word));
            }
        }
    }

    /// Characters of the most frequent n-gram times its count, after [`extend`] for this n.
    fn top(&self, n: usize, tally: &Tally) -> u64 {
        let (mut most, mut first) = (1, 0);
        for &(start, slot) in &self.starts {
            let count = tally.count(slot);
            if count > most {
                (most, first) = (count, start as usize);
            }
        }
        let characters = self.characters[first + n] - self.characters[first];
        (u64::from(characters) + n as u64 - 1) * u64::from(most)
    }

    fn find_candidates(&mut self, tally: &mut Tally) {
        self.candidates.clear();
        let Some(last) = self.words.len().checked_sub(5) else {
            return;
        };
        tally.begin(last + 1);
        // The slots stand where the words' numbers stood.
        for (offset, word) in self.offsets[..=last].iter().zip(&mut self.words) {
            let beginning = &self.squeezed[*offset as usize..*offset as usize + BEGINNING];
            let half = |bytes: &[u8]| {
                bytes
                    .first_chunk::<8>()
                    .map_or(0, |bytes| u64::from_le_bytes(*bytes))
            };
            let (low, high) = (half(beginning), half(&beginning[8..]));
            let key = (low.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ high)
                .wrapping_mul(0xd6e8_feb8_6659_fd93);
            *word = tally.add(key ^ key >> 29 ^ low.rotate_left(17));
        }
        for start in 0..=last {
            let short = (self.offsets[start + 5] - self.offsets[start]) < narrow(BEGINNING);
            if short || tally.count(self.words[start]) > 1 {
                self.candidates.push(narrow(start));
            }
        }
    }

    fn duplicates(&mut self, n: usize, tally: &mut Tally) -> u64 {
        tally.begin(self.candidates.len());
        let count = self.offsets.len() - 1;
        let mut repeated = 0;
        let mut free = 0;
        for &start in &self.candidates {
            let start = start as usize;
            let end = start + n;
            if start < free || end > count {
                continue;
            }
            let bytes = self.offsets[start] as usize..self.offsets[end] as usize;
            let slot = tally.add(xxh3_64(&self.squeezed[bytes]));
            if tally.count(slot) > 1 {
                repeated += u64::from(self.characters[end] - self.characters[start]);
                free = end;
            }
        }
        repeated
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "texts are shorter than 2^30 bytes"
)]
fn narrow(number: usize) -> u32 {
    number as u32
}

impl Tokenizer {
    /// Makes tokens of the word segments of UAX #29 that are not white space.
    fn read_segments(&mut self, text: &str) {
        self.begin();
        let mut before = fact::AFTER_GAP;
        for (start, segment) in text.split_word_bound_indices() {
            if segment.starts_with(is_space) {
                before = if segment == " " && before == 0 {
                    fact::AFTER_SPACE
                } else {
                    fact::AFTER_GAP
                };
                continue;
            }
            self.push_segment(text, start, start + segment.len(), before);
            before = 0;
        }
    }
}

#[cfg(test)]
mod tests;
