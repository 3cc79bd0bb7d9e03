//! Tokens of English as spaCy's tokenizer (3.8, MIT licence, `spacy.blank("en")`) makes them, which is what
//! datatrove calls the words of an English text.
//!
//! A text is cut at white space into chunks, and each chunk by itself: exceptions first ("don't", "e.g.", ":-)"),
//! then what comes off at either end (quotation marks, brackets, units after a number), again and again until
//! nothing does, then an address stays whole and anything else is cut at what joins words ("-", "/" between
//! letters). At the end, neighbouring tokens that together are an exception become it, also where they came from
//! the ends of a chunk. The rules are spaCy's; the code is not its regular expressions but what they come to.
//!
//! Nearly all chunks of prose are letters, or letters and a mark: these are told without the rules. What the
//! rules say of other chunks is remembered by hash, so a chunk that comes again costs a look.

mod address;
mod characters;
mod exceptions;
mod letters;
mod rules;
mod tables;

use xxhash_rust::xxh3::xxh3_64;

pub(super) use self::characters::ends_terminal;
use self::characters::{CLASSES, class};
use self::exceptions::{EXCEPTIONS, Exceptions};
use self::letters::{leading, leading_letters};
use self::rules::Cutter;
use super::characters::{byte, is_space};

/// What a token is, in bits.
pub(super) mod fact {
    /// It holds a character that is not one of datatrove's punctuation.
    pub(crate) const WORD: u8 = 1;
    /// It holds a letter.
    pub(crate) const LETTER: u8 = 1 << 1;
    /// It is all punctuation (general category P).
    pub(crate) const PUNCTUATION: u8 = 1 << 2;
    /// It is one mark that ends a sentence.
    pub(crate) const SENTENCE_END: u8 = 1 << 3;
    /// A space stands before it, and nothing else.
    pub(crate) const AFTER_SPACE: u8 = 1 << 4;
    /// Other white space stands before it, which is a token of its own to spaCy.
    pub(crate) const AFTER_GAP: u8 = 1 << 5;
    /// An exception may begin with it.
    pub(crate) const BEGINS: u8 = 1 << 6;
}

/// One token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Of its bytes. Equal tokens have equal hashes.
    pub(super) hash: u64,
    /// Where it starts in the text.
    pub(super) start: u32,
    /// Its bytes.
    pub(super) length: u32,
    /// Its characters.
    pub(super) characters: u32,
    /// See [`fact`].
    pub(super) facts: u8,
    /// 0, or the number from 1 of the stop word that it is.
    pub(super) stop_word: u8,
}

const MULTIPLIERS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// The hash of `bytes[start..end]`.
#[inline(always)]
fn hash(bytes: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    if length > 16 {
        return xxh3_64(&bytes[start..end]);
    }
    // Nothing here depends on the length, which no processor foresees.
    let [first, second] = sixteen(bytes, start, length);
    hash_of_sixteen(first, second, length)
}

/// The hash of up to sixteen bytes, given as two numbers: by one multiplication of both (as wyhash folds, Wang Yi 2019).
#[expect(
    clippy::cast_possible_truncation,
    reason = "the halves of a product are taken"
)]
#[inline(always)]
const fn hash_of_sixteen(first: u64, second: u64, length: usize) -> u64 {
    let second = second ^ MULTIPLIERS[1] ^ (length as u64) << 56;
    let product = (first ^ MULTIPLIERS[0]) as u128 * second as u128;
    product as u64 ^ (product >> 64) as u64
}

/// What keeps the first 0 to 16 bytes of two numbers.
const MASKS: [[u64; 2]; 17] = {
    let mut masks = [[u64::MAX; 2]; 17];
    let mut length = 0;
    while length < 16 {
        masks[length] = if length < 8 {
            [(1 << (8 * length)) - 1, 0]
        } else {
            [u64::MAX, (1 << (8 * (length - 8))) - 1]
        };
        length += 1;
    }
    masks
};

/// Up to sixteen bytes as two numbers, the first bytes the lowest, and zeros behind them.
#[inline(always)]
fn sixteen(bytes: &[u8], start: usize, length: usize) -> [u64; 2] {
    if let Some(&[first, second]) = bytes
        .get(start..)
        .and_then(<[u8]>::first_chunk::<16>)
        .map(|sixteen| sixteen.as_chunks::<8>().0)
    {
        let [first_mask, second_mask] = MASKS[length];
        return [
            u64::from_le_bytes(first) & first_mask,
            u64::from_le_bytes(second) & second_mask,
        ];
    }
    last_sixteen(bytes, start, length)
}

/// The same near the end of the text.
#[cold]
fn last_sixteen(bytes: &[u8], start: usize, length: usize) -> [u64; 2] {
    let number = |bytes: &[u8]| {
        let bytes = bytes.iter().rev();
        bytes.fold(0, |number, &byte| number << 8 | u64::from(byte))
    };
    let (first, second) = bytes[start..start + length].split_at(length.min(8));
    [number(first), number(second)]
}

/// What the rules made of a chunk of up to 255 bytes and seven tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    hash: u64,
    count: u8,
    ends: [u8; 7],
    facts: [u8; 7],
    characters: [u8; 7],
}

const REMEMBERED: usize = 1 << 12;

/// Tokenizes texts one after the other, and keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Tokenizer {
    /// The tokens of the text, without white space.
    pub(super) tokens: Vec<Token>,
    spare: Vec<Token>,
    /// Tokens with which an exception may begin.
    suspects: Vec<u32>,
    cutter: Cutter,
    remembered: Vec<Remembered>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "texts are shorter than 2^30 bytes, what is remembered than 2^8"
)]
impl Tokenizer {
    /// Forgets the tokens.
    pub(super) fn begin(&mut self) {
        self.tokens.clear();
        self.suspects.clear();
    }

    /// Adds a token that no rule of English looks at.
    pub(super) fn push_segment(&mut self, text: &str, start: usize, end: usize, before: u8) {
        self.tokens
            .push(token(text, start, end, before, &EXCEPTIONS));
    }

    /// Makes the tokens of `text`.
    pub(super) fn read(&mut self, text: &str) {
        let exceptions = &*EXCEPTIONS;
        let bytes = text.as_bytes();
        self.begin();
        self.remembered.resize(REMEMBERED, Remembered::default());
        let mut at = 0;
        let mut before = fact::AFTER_GAP;
        while at < bytes.len() {
            if byte::FLAGS[usize::from(bytes[at])] & byte::SPACE != 0 {
                // One space only parts; anything more, or else, is a token.
                before = if before == 0 && bytes[at] == b' ' {
                    fact::AFTER_SPACE
                } else {
                    fact::AFTER_GAP
                };
                at += 1;
                continue;
            }
            let is_end = |at: usize| is_end(bytes, at);
            let (letters, ends, marked) = if let Some(sixteen) = bytes[at..].first_chunk::<16>()
                && let (letters @ ..15, visible) = leading(sixteen)
            {
                (at + letters, visible == letters, visible == letters + 1)
            } else {
                let letters = letters_end(bytes, at);
                (letters, is_end(letters), is_end(letters + 1))
            };
            if ends {
                self.take_letters(text, at, letters, before, exceptions);
                at = letters;
                before = 0;
                continue;
            }
            if marked && self.take_letters_and_mark(text, at, letters, before, exceptions) {
                at = letters + 1;
                before = 0;
                continue;
            }
            if let Some(end) = self.take_between_marks(text, at, letters, before, exceptions) {
                at = end;
                before = 0;
                continue;
            }
            let (end, _) = super::plain_word_end(bytes, letters);
            if is_end(end) {
                self.take(text, at, end, before, exceptions);
                at = end;
            } else {
                let rest = &text[at..];
                let length = rest.find(is_space).unwrap_or(rest.len());
                if length == 0 {
                    // A space beyond ASCII.
                    before = fact::AFTER_GAP;
                    at += rest.chars().next().map_or(1, char::len_utf8);
                    continue;
                }
                self.take(text, at, at + length, before, exceptions);
                at += length;
            }
            before = 0;
        }
        if !self.suspects.is_empty() {
            self.join_exceptions(text, exceptions);
        }
    }

    /// Takes letters, or none, and one more character, if that is ASCII and comes off.
    #[inline(always)]
    fn take_letters_and_mark(
        &mut self,
        text: &str,
        start: usize,
        mark: usize,
        before: u8,
        exceptions: &Exceptions,
    ) -> bool {
        let bytes = text.as_bytes();
        if !bytes[mark].is_ascii() || !(mark == start || comes_off(bytes, start, mark, exceptions))
        {
            return false;
        }
        let mut after = before;
        if mark > start {
            self.take_letters(text, start, mark, before, exceptions);
            after = 0;
        }
        self.push_mark(text, mark, after, exceptions);
        true
    }

    /// Takes a chunk of letters with a bracket or a quotation mark before them or behind, and at most one more mark;
    /// returns its end.
    #[inline(always)]
    fn take_between_marks(
        &mut self,
        text: &str,
        start: usize,
        letters: usize,
        before: u8,
        exceptions: &Exceptions,
    ) -> Option<usize> {
        let bytes = text.as_bytes();
        let opens = letters == start && matches!(bytes[start], b'(' | b'[' | b'{' | b'"');
        let first = start + usize::from(opens);
        let last = if opens {
            letters_end(bytes, first)
        } else {
            letters
        };
        if last == first {
            return None;
        }
        let end = (last..last + 3).find(|&at| is_end(bytes, at))?;
        let comes_off = match &bytes[last..end] {
            [] => true,
            [_] => comes_off(bytes, first, last, exceptions),
            [b')' | b']' | b'}' | b'"', outer] => match outer {
                b',' | b';' | b':' | b'!' | b'?' => true,
                b'.' => CLASSES.ascii()[usize::from(bytes[last])] & class::BEFORE_STOP != 0,
                _ => false,
            },
            _ => false,
        };
        // Such are "(o:" and what is left of others without the mark in front.
        let is_exception = |start: usize| exceptions.number_of(&text[start..end]).is_some();
        if !comes_off || is_exception(start) || (end > last + 1 && is_exception(first)) {
            return None;
        }
        let mut after = before;
        if opens {
            self.push_mark(text, start, before, exceptions);
            after = 0;
        }
        self.take_letters(text, first, last, after, exceptions);
        for mark in last..end {
            self.push_mark(text, mark, 0, exceptions);
        }
        Some(end)
    }

    /// Adds a token of one ASCII character.
    #[inline(always)]
    fn push_mark(&mut self, text: &str, start: usize, before: u8, exceptions: &Exceptions) {
        let byte = usize::from(text.as_bytes()[start]);
        let Some(&(hash, facts)) = exceptions.ascii.get(byte) else {
            return;
        };
        self.push(
            Token {
                hash,
                start: start as u32,
                length: 1,
                characters: 1,
                facts: facts | before,
                stop_word: 0,
            },
            exceptions,
        );
    }

    /// Takes letters that no rule cuts.
    #[inline(always)]
    fn take_letters(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        before: u8,
        exceptions: &Exceptions,
    ) {
        let hash = hash(text.as_bytes(), start, end);
        if exceptions.may_know(hash) {
            self.take_known(text, start, end, before, exceptions, hash);
            return;
        }
        self.push(
            Token {
                hash,
                start: start as u32,
                length: (end - start) as u32,
                characters: (end - start) as u32,
                facts: fact::WORD | fact::LETTER | before,
                stop_word: stop_word(hash),
            },
            exceptions,
        );
    }

    #[inline(never)]
    fn take_known(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        mut before: u8,
        exceptions: &Exceptions,
        hash: u64,
    ) {
        let (number, begins) = exceptions.known(hash);
        match number {
            None => self.push(
                Token {
                    hash,
                    start: start as u32,
                    length: (end - start) as u32,
                    characters: (end - start) as u32,
                    facts: fact::WORD | fact::LETTER | before | begins,
                    stop_word: stop_word(hash),
                },
                exceptions,
            ),
            Some(number) => {
                let mut from = start;
                for token in exceptions.ends(number) {
                    self.push_any(text, from, start + token, before, exceptions);
                    from = start + token;
                    before = 0;
                }
            }
        }
    }

    /// Takes any chunk, by exceptions and rules.
    #[inline(never)]
    fn take(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        mut before: u8,
        exceptions: &Exceptions,
    ) {
        let hash = hash(text.as_bytes(), start, end);
        let slot = (hash >> 20) as usize % REMEMBERED;
        let known = self.remembered[slot];
        if known.hash == hash && known.count > 0 {
            let bytes = text.as_bytes();
            let mut from = start;
            for i in 0..usize::from(known.count).min(7) {
                let to = start + usize::from(known.ends[i]);
                let hash = self::hash(bytes, from, to);
                self.push(
                    Token {
                        hash,
                        start: from as u32,
                        length: (to - from) as u32,
                        characters: u32::from(known.characters[i]),
                        facts: known.facts[i] | before,
                        stop_word: stop_word(hash),
                    },
                    exceptions,
                );
                from = to;
                before = 0;
            }
            return;
        }
        let mut cutter = std::mem::take(&mut self.cutter);
        cutter.cut(&text[start..end], Some(exceptions));
        let count = cutter.ends.len();
        let remembered = count <= 7 && end - start < 256;
        let mut entry = Remembered {
            hash,
            count: count as u8,
            ..Remembered::default()
        };
        let mut from = start;
        for (i, cut) in cutter.ends.iter().enumerate() {
            let token = token(text, from, start + cut, before, exceptions);
            if remembered {
                entry.ends[i] = *cut as u8;
                entry.facts[i] = token.facts & !(fact::AFTER_SPACE | fact::AFTER_GAP);
                entry.characters[i] = token.characters as u8;
            }
            self.push(token, exceptions);
            from = start + cut;
            before = 0;
        }
        if remembered {
            self.remembered[slot] = entry;
        }
        self.cutter = cutter;
    }

    #[inline]
    fn push_any(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        before: u8,
        exceptions: &Exceptions,
    ) {
        let token = token(text, start, end, before, exceptions);
        self.push(token, exceptions);
    }

    #[inline(always)]
    fn push(&mut self, token: Token, exceptions: &Exceptions) {
        if let Some(last) = self.tokens.last()
            && last.facts & fact::BEGINS != 0
            && token.facts & fact::AFTER_GAP == 0
            && exceptions.may_join(last.hash, token.hash)
        {
            self.suspects.push(self.tokens.len() as u32 - 1);
        }
        self.tokens.push(token);
    }

    /// Turns neighbours that are an exception into it: the longest first, then the first.
    #[cold]
    fn join_exceptions(&mut self, text: &str, exceptions: &Exceptions) {
        let mut found: Vec<(usize, usize, u16)> = Vec::new();
        for &start in &self.suspects {
            let start = start as usize;
            let tokens = &self.tokens[start..];
            let patterns = &exceptions.patterns[&(tokens[0].hash, tokens[1].hash)];
            for (pattern, number) in patterns {
                let hit = pattern.len() <= tokens.len()
                    && pattern
                        .iter()
                        .zip(tokens)
                        .all(|(hash, token)| *hash == token.hash)
                    && tokens[1..pattern.len()]
                        .iter()
                        .all(|token| token.facts & fact::AFTER_GAP == 0);
                if hit {
                    found.push((start, start + pattern.len(), *number));
                }
            }
        }
        found.sort_by_key(|&(start, end, _)| (std::cmp::Reverse(end - start), start));
        let mut taken = vec![false; self.tokens.len()];
        found.retain(|&(start, end, _)| {
            let free = !taken[start] && !taken[end - 1];
            taken[start..end].fill(true);
            free
        });
        // Over a space they stay as they are, but were in the way of others.
        found.retain(|&(start, end, _)| {
            self.tokens[start + 1..end]
                .iter()
                .all(|token| token.facts & fact::AFTER_SPACE == 0)
        });
        if found.is_empty() {
            return;
        }
        found.sort_unstable();
        let mut kept = 0;
        self.spare.clear();
        for (start, end, number) in found {
            self.spare.extend_from_slice(&self.tokens[kept..start]);
            kept = end;
            let first = self.tokens[start].start as usize;
            let mut before = self.tokens[start].facts & (fact::AFTER_SPACE | fact::AFTER_GAP);
            let mut from = first;
            for cut in exceptions.ends(number) {
                self.spare
                    .push(token(text, from, first + cut, before, exceptions));
                from = first + cut;
                before = 0;
            }
        }
        self.spare.extend_from_slice(&self.tokens[kept..]);
        std::mem::swap(&mut self.tokens, &mut self.spare);
    }
}

/// Whether white space of ASCII stands at `at`, or the text ends there.
#[inline(always)]
fn is_end(bytes: &[u8], at: usize) -> bool {
    let next = bytes.get(at);
    next.is_none_or(|&next| byte::FLAGS[usize::from(next)] & byte::SPACE != 0)
}

/// Whether the mark behind the letters from `start` on comes off, and they are no exception with it.
#[inline(always)]
fn comes_off(bytes: &[u8], start: usize, mark: usize, exceptions: &Exceptions) -> bool {
    match bytes[mark] {
        b',' | b';' | b':' | b'!' | b'?' | b')' | b']' | b'}' | b'"' | b'>' => true,
        b'.' => {
            let last = bytes[mark - 1];
            let cut = last.is_ascii_lowercase()
                || (mark > start + 1 && bytes[mark - 2].is_ascii_uppercase());
            cut && exceptions.number(hash(bytes, start, mark + 1)).is_none()
        }
        _ => false,
    }
}

/// Where the ASCII letters from `start` on end.
#[inline(always)]
fn letters_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(sixteen) = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        let letters = leading_letters(sixteen);
        at += letters;
        if letters < 16 {
            return at;
        }
    }
    while bytes.get(at).is_some_and(u8::is_ascii_alphabetic) {
        at += 1;
    }
    at
}

/// Hashes of `the be to of and that have with`, each in a place of its own, and their numbers from 1.
struct StopWords {
    shift: u32,
    hashes: [u64; 32],
    numbers: [u8; 32],
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "places are below 32, numbers below 9"
)]
static STOP_WORDS: StopWords = {
    const WORDS: [&[u8]; 8] = [
        b"the", b"be", b"to", b"of", b"and", b"that", b"have", b"with",
    ];
    let mut shift = 0;
    loop {
        let mut found = StopWords {
            shift,
            hashes: [0; 32],
            numbers: [0; 32],
        };
        let mut number = 0;
        while number < 8 {
            let word = WORDS[number];
            let mut bytes = 0;
            let mut at = word.len();
            while at > 0 {
                at -= 1;
                bytes = bytes << 8 | word[at] as u64;
            }
            let hash = hash_of_sixteen(bytes, 0, word.len());
            let place = (hash >> shift) as usize % 32;
            if found.numbers[place] > 0 {
                break;
            }
            found.hashes[place] = hash;
            number += 1;
            found.numbers[place] = number as u8;
        }
        if number == 8 {
            break found;
        }
        shift += 1;
    }
};

/// The number of the stop word with this hash, or 0.
#[expect(clippy::cast_possible_truncation, reason = "places are below 32")]
#[inline(always)]
fn stop_word(hash: u64) -> u8 {
    let place = (hash >> STOP_WORDS.shift) as usize % 32;
    STOP_WORDS.numbers[place] * u8::from(STOP_WORDS.hashes[place] == hash)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "texts are shorter than 2^30 bytes"
)]
fn token(text: &str, start: usize, end: usize, before: u8, exceptions: &Exceptions) -> Token {
    let bytes = &text.as_bytes()[start..end];
    // Most are a mark, or letters.
    if let [byte] = bytes
        && let Some(&(hash, facts)) = exceptions.ascii.get(usize::from(*byte))
    {
        return Token {
            hash,
            start: start as u32,
            length: 1,
            characters: 1,
            facts: facts | before,
            stop_word: 0,
        };
    }
    let hash = hash(text.as_bytes(), start, end);
    let (_, begins) = exceptions.known(hash);
    let bit = |holds: bool, bit: u8| if holds { bit } else { 0 };
    if letters_end(text.as_bytes(), start) >= end {
        return Token {
            hash,
            start: start as u32,
            length: bytes.len() as u32,
            characters: bytes.len() as u32,
            facts: before | fact::WORD | fact::LETTER | begins,
            stop_word: stop_word(hash),
        };
    }
    let classes = &*CLASSES;
    let ascii = classes.ascii();
    let mut characters = 0;
    let (mut any, mut all, mut word) = (0, u16::MAX, 0);
    let mut take = |flags: u16| {
        characters += 1;
        any |= flags;
        all &= flags;
        word |= !flags;
    };
    if bytes.is_ascii() {
        bytes
            .iter()
            .for_each(|&byte| take(ascii[usize::from(byte)]));
    } else {
        text[start..end]
            .chars()
            .for_each(|character| take(classes.of(character)));
    }
    let word = word & class::SYMBOL != 0;
    Token {
        hash,
        start: start as u32,
        length: (end - start) as u32,
        characters,
        facts: before
            | bit(word, fact::WORD)
            | bit(any & class::LETTER != 0, fact::LETTER)
            | bit(all & class::PUNCTUATION != 0, fact::PUNCTUATION)
            | bit(
                characters == 1 && all & class::SENTENCE_END != 0,
                fact::SENTENCE_END,
            )
            | begins,
        stop_word: stop_word(hash),
    }
}

/// How many sentences spaCy's `sentencizer` makes of a stretch of tokens: one ends at a mark, and the next begins
/// with the first token that is no punctuation.
pub(super) fn count_sentences(tokens: &[Token]) -> u64 {
    let mut count = u64::from(!tokens.is_empty());
    let mut ended = false;
    for (number, token) in tokens.iter().enumerate() {
        // White space between is a token that is no punctuation.
        if ended && number > 0 && token.facts & fact::AFTER_GAP != 0 {
            count += 1;
            ended = false;
        }
        if token.facts & fact::SENTENCE_END != 0 {
            ended = true;
        } else if ended && token.facts & fact::PUNCTUATION == 0 {
            count += 1;
            ended = false;
        }
    }
    count
}

#[cfg(test)]
mod tests;
