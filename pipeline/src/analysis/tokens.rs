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
use super::repetition::Tally;

use self::seen::{Before, Cover, Keys, key, sum_of, sum_of_sixteen};

mod seen;

/// What a language's tokens are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
    /// Tokens after which the next stretch is looked for.
    cursor: usize,
    twice: Twice,
    seen: Keys,
    is_squeezed: bool,
    pairs: Vec<u64>,
    /// How many 2-, 3- and 4-grams fell into each cell, and into which that of each token did.
    counts: Vec<[u32; CELLS]>,
    cells: Vec<[u16; 3]>,
    pair_cells: Vec<u16>,
    /// For [`BEGINNING`] bytes from each token on.
    keys: Vec<u64>,
    starts: Vec<(u32, u32)>,
    /// The text without white space, and a margin.
    squeezed: Vec<u8>,
    /// What stands before each token, at the end what all are, and once more [`FAR`].
    before: Vec<Before>,
    /// Tokens at which a repeated n-gram may start, with [`REPEATS`] where the first sixteen bytes may repeat; elsewhere
    /// the n-gram is shorter than those.
    candidates: Vec<u32>,
    /// Those of them for which that holds of one token more.
    narrowed: Vec<u32>,
}

/// Tells keys that may occur twice from those that do not, in two bits a cell, sixteen cells a key: of keys that
/// occur once, one in sixteen is not told.
#[derive(Debug, Default)]
struct Twice {
    /// Whether a key fell into each cell, and whether another had before, side by side: both are asked for at once.
    cells: Vec<[u64; 2]>,
    shift: u32,
}

impl Twice {
    fn begin(&mut self, keys: usize) {
        let cells = (16 * keys).next_power_of_two().max(1 << 10);
        self.shift = u64::BITS - cells.trailing_zeros();
        self.cells.clear();
        self.cells.resize(cells / 64, [0; 2]);
    }

    /// Notes a key.
    #[inline(always)]
    fn see(&mut self, key: u64) {
        let cell = key >> self.shift;
        let [once, twice] = &mut self.cells[(cell >> 6) as usize];
        let bit = 1 << (cell & 63);
        *twice |= *once & bit;
        *once |= bit;
    }

    #[inline(always)]
    fn may_repeat(&self, key: u64) -> bool {
        let cell = key >> self.shift;
        self.cells[(cell >> 6) as usize][1] >> (cell & 63) & 1 == 1
    }
}

/// Bytes that equal n-grams of five tokens or more have in common, if they have as many.
const BEGINNING: usize = 16;

/// Marks a candidate whose first [`BEGINNING`] bytes may repeat. Tokens are fewer than 2^30.
const REPEATS: u32 = 1 << 31;

/// Where the token after the last would end.
const FAR: u32 = u32::MAX;

/// Whether an n-gram that begins at a candidate with the byte `from`, and ends before `to`, may repeat.
#[inline(always)]
fn stays(candidate: u32, from: u32, to: u32) -> bool {
    let is_there = to != FAR;
    is_there & ((candidate & REPEATS != 0) | (to.wrapping_sub(from) < narrow(BEGINNING)))
}

/// Cells that n-grams are thrown into to bound how often one occurs; three times as many stay in the innermost cache.
const CELLS: usize = 1 << CELL_BITS;
const CELL_BITS: u32 = 11;

const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

impl TokenScratch {
    pub(super) fn read(&mut self, text: &str, kind: TokenKind) -> Tokens {
        self.cursor = 0;
        self.is_squeezed = false;
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

    /// Tokens and sentences, at least one, of the stretch of the text that was read last from `start` to `end`. Quick
    /// where stretches come in order.
    pub(super) fn stretch(&mut self, start: usize, end: usize) -> (u64, u64) {
        let tokens = &self.tokenizer.tokens;
        let starts = |at: usize| tokens.get(at).map(|token| token.start as usize);
        if self.cursor > 0 && starts(self.cursor - 1).is_none_or(|before| before >= start) {
            self.cursor = tokens.partition_point(|token| (token.start as usize) < start);
        }
        while starts(self.cursor).is_some_and(|at| at < start) {
            self.cursor += 1;
        }
        let from = self.cursor;
        while starts(self.cursor).is_some_and(|at| at < end) {
            self.cursor += 1;
        }
        let stretch = &tokens[from..self.cursor];
        (stretch.len() as u64, count_sentences(stretch).max(1))
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

    /// The characters of [`TokenNgrams::top`] of the text that was read last.
    pub(super) fn top_ngrams(&mut self, text: &str, tally: &mut Tally) -> [u64; 3] {
        self.squeeze(text);
        let mut found = [0; 3];
        for (n, found) in (2..).zip(&mut found) {
            if self.tokenizer.tokens.len() < n {
                break;
            }
            if n == 2 {
                self.repeated_pairs(tally);
            } else {
                self.extend(n, tally);
            }
            *found = self.top(n, tally);
        }
        found
    }

    /// The first n of 2 to 4, less two, whose share of `characters` is above its limit, with the characters. Most texts
    /// are so far below that a bound tells.
    pub(super) fn first_top_above(
        &mut self,
        text: &str,
        characters: u64,
        limits: &[f64; 3],
        tally: &mut Tally,
    ) -> Option<(usize, u64)> {
        self.squeeze(text);
        let above = |part: u64, limit: f64| {
            let whole = characters;
            Fraction { part, whole }.value() > limit
        };
        let most = self.most_pairs();
        if !limits.iter().any(|&limit| above(most, limit)) {
            return None;
        }
        let bounds = self.most_top();
        let mut all = None;
        for (at, (most, &limit)) in bounds.into_iter().zip(limits).enumerate() {
            if !above(most, limit) {
                continue;
            }
            match self.top_of_most(at, |part| above(part, limit), tally) {
                Some(0) => {}
                Some(part) => return Some((at, part)),
                None => {
                    let part = all.get_or_insert_with(|| self.top_ngrams(text, tally))[at];
                    if above(part, limit) {
                        return Some((at, part));
                    }
                }
            }
        }
        None
    }

    /// The characters of the most frequent n-gram times its count, of n = `at` + 2, if one of those whose bounds are
    /// above a limit is it and is above itself; 0 if it is not above; `None` if this does not tell. After
    /// [`Self::most_top`].
    fn top_of_most(
        &mut self,
        at: usize,
        above: impl Fn(u64) -> bool,
        tally: &mut Tally,
    ) -> Option<u64> {
        let n = at + 2;
        let tokens = &self.tokenizer.tokens;
        let characters = |start: usize| {
            let end = (start + n).min(tokens.len());
            u64::from(self.before[end].characters - self.before[start].characters) + at as u64 + 1
        };
        let whole = (tokens.len() + 1).saturating_sub(n);
        // Equal n-grams have equal bounds, so all of them are here or none.
        let mut others = 1;
        self.starts.clear();
        for (start, cells) in self.cells.iter().take(whole).enumerate() {
            let count = self.counts[at][usize::from(cells[at]) % CELLS];
            if above(u64::from(count) * characters(start)) {
                self.starts.push((narrow(start), 0));
            } else {
                others = others.max(count);
            }
        }
        tally.begin(self.starts.len());
        for (start, slot) in &mut self.starts {
            let start = *start as usize;
            let key = tokens[start + 1..start + n]
                .iter()
                .fold(tokens[start].hash, |key, token| joined(key, token.hash));
            *slot = tally.add(key);
        }
        let (mut most, mut part, mut any) = (0, 0, false);
        for &(start, slot) in &self.starts {
            let count = tally.count(slot);
            let product = u64::from(count) * characters(start as usize);
            any |= above(product);
            if count > most {
                (most, part) = (count, product);
            }
        }
        if !any {
            return Some(0);
        }
        (most > others).then_some(if above(part) { part } else { 0 })
    }

    /// No fewer characters than [`Self::top_ngrams`] has of any n: an n-gram occurs no more often than the 2-gram that it
    /// begins with, and that no more often than 2-grams fell into its cell.
    fn most_pairs(&mut self) -> u64 {
        let tokens = &self.tokenizer.tokens;
        self.counts.resize(3, [0; CELLS]);
        let counts = &mut self.counts[0];
        counts.fill(0);
        self.pair_cells.clear();
        self.pair_cells.extend(tokens.windows(2).map(|pair| {
            // A bound bears that different pairs meet, so half the work of a hash will do.
            let pair = pair[0].hash.rotate_left(29).wrapping_add(pair[1].hash);
            let cell = cell_of(pair.wrapping_mul(MULTIPLIERS[0]));
            let count = &mut counts[usize::from(cell) % CELLS];
            *count = count.wrapping_add(1);
            cell
        }));
        let bound = |cell: u16, start: u32, end: u32| {
            let count = u64::from(counts[usize::from(cell) % CELLS]);
            count.wrapping_mul(u64::from(end.wrapping_sub(start)).wrapping_add(3))
        };
        let before = &self.before[..=tokens.len()];
        let fours = self.pair_cells.iter().zip(before.windows(5));
        let most = fours.map(|(&cell, four)| bound(cell, four[0].characters, four[4].characters));
        // The last tokens begin shorter ones alone.
        let end = before[tokens.len()].characters;
        let shorter = self.pair_cells.iter().zip(before).rev().take(2);
        let last = shorter.map(|(&cell, start)| bound(cell, start.characters, end));
        most.chain(last).max().unwrap_or_default()
    }

    /// No fewer characters than [`Self::top_ngrams`] has: an n-gram occurs no more often than n-grams fell into its cell.
    fn most_top(&mut self) -> [u64; 3] {
        let tokens = &self.tokenizer.tokens;
        self.counts.resize(3, [0; CELLS]);
        self.counts.iter_mut().for_each(|counts| counts.fill(0));
        let [pairs, triples, fours] = &mut self.counts[..] else {
            return [u64::MAX; 3];
        };
        let note = |counts: &mut [u32; CELLS], key: u64| {
            let cell = cell_of(key);
            let count = &mut counts[usize::from(cell) % CELLS];
            *count = count.wrapping_add(1);
            cell
        };
        self.cells.clear();
        self.cells.extend(tokens.windows(4).map(|four| {
            let pair = joined(four[0].hash, four[1].hash);
            let triple = joined(pair, four[2].hash);
            let four = joined(triple, four[3].hash);
            [note(pairs, pair), note(triples, triple), note(fours, four)]
        }));
        // The last tokens begin shorter ones alone.
        let whole = self.cells.len();
        for start in whole..tokens.len().saturating_sub(1) {
            let pair = joined(tokens[start].hash, tokens[start + 1].hash);
            let third = tokens.get(start + 2).map(|third| joined(pair, third.hash));
            let triple = third.map_or(0, |triple| note(triples, triple));
            self.cells.push([note(pairs, pair), triple, 0]);
        }
        let mut most = [0; 3];
        for (start, cells) in self.cells.iter().enumerate() {
            let before = self.before[start].characters;
            for (at, &cell) in cells.iter().enumerate() {
                // Past the end there is no n-gram, and the shorter one that is taken for it is no more than its bound.
                let end = self.before[(start + at + 2).min(tokens.len())].characters;
                let characters = u64::from(end - before) + at as u64 + 1;
                let count = u64::from(self.counts[at][usize::from(cell) % CELLS]);
                most[at] = characters.wrapping_mul(count).max(most[at]);
            }
        }
        most
    }

    /// The characters of [`TokenNgrams::duplicate`] of the text that was read last.
    pub(super) fn duplicate_ngrams(&mut self, text: &str, tally: &mut Tally) -> [u64; 6] {
        self.find_candidates(text);
        [5, 6, 7, 8, 9, 10].map(|n| {
            let part = self.duplicates(n, tally);
            self.narrow_candidates(n);
            part
        })
    }

    /// The first n of 5 to 10, less five, whose share of `characters` is above its limit, with the characters. Most
    /// texts have so few candidates that nothing needs to be counted.
    pub(super) fn first_above(
        &mut self,
        text: &str,
        characters: u64,
        limits: &[f64; 6],
        tally: &mut Tally,
    ) -> Option<(usize, u64)> {
        self.find_candidates(text);
        let above = |part: u64, limit: f64| {
            let whole = characters;
            Fraction { part, whole }.value() > limit
        };
        limits.iter().enumerate().find_map(|(at, &limit)| {
            let n = at + 5;
            let most = self.most_duplicates(n);
            let part = above(most, limit).then(|| self.duplicates(n, tally));
            std::mem::swap(&mut self.candidates, &mut self.narrowed);
            let part = part.filter(|&part| above(part, limit))?;
            Some((at, part))
        })
    }

    /// No fewer characters than [`Self::duplicates`] has, and seldom more by much. Leaves the candidates of n + 1 tokens in
    /// `narrowed`.
    fn most_duplicates(&mut self, n: usize) -> u64 {
        let Self {
            seen,
            candidates,
            narrowed,
            before,
            ..
        } = self;
        let mut seen = seen.begin(candidates.len());
        narrowed.resize(candidates.len(), 0);
        let mut cover = Cover::default();
        let mut kept = 0;
        for &candidate in &*candidates {
            let start = (candidate & !REPEATS) as usize;
            let Some([from, .., to, next]) = before.get(start..start + n + 2) else {
                break;
            };
            // Which n-grams are short is what no processor foresees, so there is no branch.
            let is_known = seen.see(key(from, to));
            cover.put(from.characters, to.characters, is_known);
            narrowed[kept] = candidate;
            kept += usize::from(stays(candidate, from.offset, next.offset));
        }
        narrowed.truncate(kept);
        cover.characters
    }

    /// Turns the candidates of n tokens into those of n + 1.
    fn narrow_candidates(&mut self, n: usize) {
        let before = &self.before;
        self.candidates.retain(|&candidate| {
            let start = (candidate & !REPEATS) as usize;
            let ends = before.get(start..start + n + 2);
            ends.is_some_and(|ends| stays(candidate, ends[0].offset, ends[n + 1].offset))
        });
    }

    fn squeeze(&mut self, text: &str) {
        if std::mem::replace(&mut self.is_squeezed, true) {
            return;
        }
        let bytes = text.as_bytes();
        self.squeezed.resize(bytes.len() + BEGINNING, 0);
        self.before.clear();
        let mut before = Before::default();
        for token in &self.tokenizer.tokens {
            self.before.push(before);
            let at = before.offset as usize;
            let (start, length) = (token.start as usize, token.length as usize);
            // Sixteen bytes at once are quicker than the few that are wanted; the next token covers the rest.
            if length <= BEGINNING
                && let Some(from) = bytes.get(start..).and_then(<[u8]>::first_chunk)
            {
                self.squeezed[at..at + BEGINNING].copy_from_slice(from);
                before.take(sum_of_sixteen(from, length), token);
            } else {
                let from = &bytes[start..start + length];
                self.squeezed[at..at + length].copy_from_slice(from);
                before.take(sum_of(from), token);
            }
        }
        let end = before.offset as usize;
        self.before.push(before);
        before.offset = FAR;
        self.before.push(before);
        self.squeezed[end..end + BEGINNING].fill(0);
    }

    /// Finds the repeated 2-grams.
    fn repeated_pairs(&mut self, tally: &mut Tally) {
        let tokens = &self.tokenizer.tokens;
        self.twice.begin(tokens.len());
        self.pairs.clear();
        let pairs = tokens.windows(2);
        self.pairs
            .extend(pairs.map(|pair| joined(pair[0].hash, pair[1].hash)));
        self.pairs.iter().for_each(|&key| self.twice.see(key));
        // Whether a pair repeats is a toss-up that no processor foresees, so it is no branch.
        self.starts.resize(self.pairs.len(), (0, 0));
        let mut kept = 0;
        for (start, &key) in (0_u32..).zip(&self.pairs) {
            self.starts[kept] = (start, 0);
            kept += usize::from(self.twice.may_repeat(key));
        }
        self.starts.truncate(kept);
        tally.begin(self.starts.len());
        for (start, slot) in &mut self.starts {
            *slot = tally.add(self.pairs[*start as usize]);
        }
        self.retain_repeated(tally);
    }

    /// Turns the repeated (n-1)-grams into the repeated n-grams.
    fn extend(&mut self, n: usize, tally: &mut Tally) {
        let tokens = &self.tokenizer.tokens;
        tally.begin(self.starts.len());
        let mut kept = 0;
        for index in 0..self.starts.len() {
            let (start, shorter) = self.starts[index];
            // The (n-1)-gram one further on has to repeat as well.
            let next = self.starts.get(index + 1);
            if let Some(last) = tokens.get(start as usize + n - 1)
                && next.is_some_and(|&(next, _)| next == start + 1)
            {
                let shorter = (u64::from(shorter) + 1).wrapping_mul(MULTIPLIERS[0]);
                self.starts[kept] = (start, tally.add(shorter ^ last.hash));
                kept += 1;
            }
        }
        self.starts.truncate(kept);
        self.retain_repeated(tally);
    }

    /// Keeps the starts whose number was counted more than once.
    fn retain_repeated(&mut self, tally: &Tally) {
        let mut kept = 0;
        for index in 0..self.starts.len() {
            let (start, slot) = self.starts[index];
            self.starts[kept] = (start, slot);
            kept += usize::from(tally.count(slot) > 1);
        }
        self.starts.truncate(kept);
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
        let characters = self.before[first + n].characters - self.before[first].characters;
        (u64::from(characters) + n as u64 - 1) * u64::from(most)
    }

    fn find_candidates(&mut self, text: &str) {
        self.squeeze(text);
        self.candidates.clear();
        let count = self.tokenizer.tokens.len();
        let Some(last) = count.checked_sub(5) else {
            return;
        };
        self.twice.begin(last + 1);
        self.keys.clear();
        for before in &self.before[..=last] {
            let key = near_beginning(&self.squeezed, before.offset as usize);
            self.twice.see(key);
            self.keys.push(key);
        }
        // No branch, as in `repeated_pairs`.
        self.candidates.resize(last + 1, 0);
        let mut kept = 0;
        for (start, ends) in self.before[..=count].windows(6).enumerate() {
            let repeats = u32::from(self.twice.may_repeat(self.keys[start])) * REPEATS;
            let candidate = narrow(start) | repeats;
            self.candidates[kept] = candidate;
            kept += usize::from(stays(candidate, ends[0].offset, ends[5].offset));
        }
        self.candidates.truncate(kept);
    }

    /// The hash of the bytes of the tokens from `start` to `end`, a candidate: those that are equal have the same.
    #[inline(always)]
    fn hash_of(&self, start: usize, end: usize) -> u64 {
        let [from, to] = [start, end].map(|at| self.before[at].offset as usize);
        // Beginning and end overlap where they have to, so that each byte is in one of them.
        if (BEGINNING..=2 * BEGINNING).contains(&(to - from)) {
            let first = beginning(&self.squeezed, from);
            let last = beginning(&self.squeezed, to - BEGINNING);
            return joined(first, last) ^ (to - from) as u64;
        }
        xxh3_64(&self.squeezed[from..to])
    }

    fn duplicates(&mut self, n: usize, tally: &mut Tally) -> u64 {
        tally.begin(self.candidates.len());
        let count = self.tokenizer.tokens.len();
        let mut repeated = 0;
        let mut free = 0;
        for &candidate in &self.candidates {
            let start = (candidate & !REPEATS) as usize;
            let end = start + n;
            if start < free || end > count {
                continue;
            }
            let slot = tally.add(self.hash_of(start, end));
            if tally.count(slot) > 1 {
                repeated += u64::from(self.before[end].characters - self.before[start].characters);
                free = end;
            }
        }
        repeated
    }
}

/// One number for two, by the halves of their product: a product's lower half alone tells little of the upper bits,
/// and texts that differ in two such places, as tables of code do, would be taken for equal.
#[inline(always)]
fn joined(first: u64, second: u64) -> u64 {
    let first = u128::from(first ^ MULTIPLIERS[0]);
    let product = first.wrapping_mul(u128::from(second ^ MULTIPLIERS[1]));
    let [lower, upper] = [product, product >> 64].map(|half| half & u128::from(u64::MAX));
    u64::try_from(lower ^ upper).unwrap_or_default()
}

#[inline(always)]
fn cell_of(key: u64) -> u16 {
    (key >> (u64::BITS - CELL_BITS)) as u16
}

/// Two numbers for [`BEGINNING`] bytes.
#[inline(always)]
fn halves(bytes: &[u8], at: usize) -> [u64; 2] {
    let group = bytes.get(at..).and_then(<[u8]>::first_chunk::<BEGINNING>);
    let halves = group.map(|group| group.as_chunks::<8>().0);
    let Some(&[first, second]) = halves else {
        return [0; 2];
    };
    [u64::from_le_bytes(first), u64::from_le_bytes(second)]
}

/// A number for [`BEGINNING`] bytes.
#[inline(always)]
fn beginning(bytes: &[u8], at: usize) -> u64 {
    let [first, second] = halves(bytes, at);
    joined(first, second)
}

/// The same where it does no harm that a few others have the same number.
#[inline(always)]
fn near_beginning(bytes: &[u8], at: usize) -> u64 {
    let [first, second] = halves(bytes, at);
    (first ^ second.rotate_left(29)).wrapping_mul(MULTIPLIERS[0])
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
