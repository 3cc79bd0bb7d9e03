//! What rules ask of a document, computed once, when first asked for.
//!
//! Twenty rules then cost one pass over the lines, one over the words split at space, and one over the words of
//! Unicode or the tokens of English. Publishers define the same statistic differently, so each definition stands by
//! itself: `lines` and `tokens` are datatrove's, `dolma` is Dolma's; the ones in this file are those of DataComp-LM (`mlfoundations/dclm`, `baselines/mappers/core_utils.py`
//! and `filters/content_filters.py`), whose rules rest on nothing but Unicode and so can be met exactly;
//! characters are Unicode scalars throughout.
//!
//! **On hashes.** Lines and paragraphs are told apart by XXH3-64, words by the 64-bit hash of
//! [`crate::dedup::words`], and n-grams exactly, by the numbers of their parts. A document of a million
//! different words has a chance of 3 * 10^-8 that any two of them collide, and a collision would move a
//! fraction by a word or a line: no verdict rests on it in practice.

mod characters;
mod dolma;
mod english;
mod lines;
mod repetition;
pub mod signals;
mod tokens;

use std::cell::{OnceCell, RefCell};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem};
use xxhash_rust::xxh3::xxh3_64;

use crate::dedup::words::{HIGH_BITS, letter_bits};

pub(crate) use self::characters::{
    ALPHANUMERICS, DECIMALS, LETTERS, count_characters, has_words, is_blank, is_space, strip,
    strip_end, strip_start,
};
use self::characters::{byte, is_line_break};
pub use self::dolma::Dolma;
use self::dolma::DolmaScratch;
use self::lines::breaks::{self, Bytes as Breaks};
pub use self::lines::{Lines, PageLines, Repeats, SHORT_LINE_CHARACTERS};
pub use self::repetition::Ngrams;
use self::repetition::{NgramScratch, Tally};
use self::tokens::TokenScratch;
pub use self::tokens::{TokenKind, TokenNgrams, Tokens};

/// The longest text that is analysed, in bytes: word and line numbers fit 32 bits with room to spare.
pub const MAX_TEXT_BYTES: usize = 1 << 30;

/// A part of a whole, both in the same unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fraction {
    /// The part. It may exceed the whole where a definition counts overlaps twice.
    pub part: u64,
    /// The whole.
    pub whole: u64,
}

impl Fraction {
    /// The quotient; 0 where the whole is 0.
    #[must_use]
    pub fn value(self) -> f64 {
        if self.whole == 0 {
            0.0
        } else {
            self.part as f64 / self.whole as f64
        }
    }
}

/// The characters of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Characters {
    /// All.
    pub count: u64,
    /// Letters and digits, as Python's `isalnum` has them.
    pub alphanumeric: u64,
}

/// The lines of a text as Python's `splitlines` makes them: broken at every kind of line end, blank ones
/// included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AllLines {
    /// All.
    pub count: u64,
    /// The characters of the longest, without its line end.
    pub longest: u64,
    /// The characters of all, without line ends.
    pub characters: u64,
}

/// Stripped, non-empty lines, or paragraphs, and how many of them occur more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// All.
    pub count: u64,
    /// Those that have an equal, every one of them counted.
    pub duplicates: u64,
    /// The characters of all.
    pub characters: u64,
    /// The characters of those that have an equal.
    pub duplicate_characters: u64,
}

impl Segments {
    /// Duplicates by number.
    #[must_use]
    pub fn duplicate_fraction(&self) -> Fraction {
        Fraction {
            part: self.duplicates,
            whole: self.count,
        }
    }

    /// Duplicates by characters.
    #[must_use]
    pub fn duplicate_character_fraction(&self) -> Fraction {
        Fraction {
            part: self.duplicate_characters,
            whole: self.characters,
        }
    }
}

/// The lines of a text (between `\n`, stripped, not empty) and the paragraphs (between `\n\n`, likewise).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Lines.
    pub lines: Segments,
    /// Paragraphs.
    pub paragraphs: Segments,
    /// Lines that start with a bullet: one of `●•*-`.
    pub bullets: u64,
    /// Lines that end in an ellipsis: `...`, `. . .` or `…`.
    pub ellipses: u64,
}

/// The words that Python's `split` makes, and what stands in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SplitWords {
    /// All.
    pub count: u64,
    /// The characters of all.
    pub characters: u64,
    /// Those without a letter.
    pub without_letter: u64,
    /// Occurrences of `the be to of and that have with`, in any case.
    pub stop_words: u64,
    /// Tokens as fastText cuts them (at ASCII space and NUL) that begin with a letter or digit.
    pub tokens: u64,
}

/// Buffers that a document leaves to the next, so that a thread allocates for its largest document only.
#[derive(Debug, Default)]
pub struct Scratch {
    ngrams: NgramScratch,
    dolma: DolmaScratch,
    tokens: [TokenScratch; 2],
    lower: Vec<u8>,
    /// Places of `\n`.
    line_ends: Vec<u32>,
    tally: Tally,
}

/// One document, as rules see it.
#[derive(Debug)]
pub struct Analysis<'a> {
    text: &'a str,
    scratch: RefCell<&'a mut Scratch>,
    characters: OnceCell<Characters>,
    all_lines: OnceCell<AllLines>,
    layout: OnceCell<Layout>,
    split_words: OnceCell<SplitWords>,
    symbols: OnceCell<u64>,
    ngrams: OnceCell<Ngrams>,
    character_count: OnceCell<u64>,
    lines: OnceCell<Lines>,
    breaks: OnceCell<Breaks>,
    other_breaks: OnceCell<bool>,
    dolma: OnceCell<Dolma>,
    tokens: [OnceCell<Tokens>; 2],
    token_count: [OnceCell<u64>; 2],
    token_top: [OnceCell<[u64; 3]>; 2],
    token_duplicates: [OnceCell<[u64; 6]>; 2],
    answers: &'a [Range<usize>],
}

impl<'a> Analysis<'a> {
    /// Looks at nothing yet. `None` if the text is longer than [`MAX_TEXT_BYTES`].
    #[must_use]
    pub fn new(text: &'a str, scratch: &'a mut Scratch) -> Option<Self> {
        (text.len() <= MAX_TEXT_BYTES).then(|| Self {
            text,
            scratch: RefCell::new(scratch),
            characters: OnceCell::new(),
            all_lines: OnceCell::new(),
            layout: OnceCell::new(),
            split_words: OnceCell::new(),
            symbols: OnceCell::new(),
            ngrams: OnceCell::new(),
            character_count: OnceCell::new(),
            lines: OnceCell::new(),
            breaks: OnceCell::new(),
            other_breaks: OnceCell::new(),
            dolma: OnceCell::new(),
            tokens: Default::default(),
            token_count: Default::default(),
            token_top: Default::default(),
            token_duplicates: Default::default(),
            answers: &[],
        })
    }

    /// The same with what is known of a dialogue: the bytes of its trained stretches.
    #[must_use]
    pub fn with_answers(self, answers: &'a [Range<usize>]) -> Self {
        Self { answers, ..self }
    }

    /// The same with the number of its English tokens, where what the text was made of was counted before.
    #[must_use]
    pub fn with_token_count(self, tokens: Option<u64>) -> Self {
        if let Some(tokens) = tokens {
            self.token_count[0].get_or_init(|| tokens);
        }
        self
    }

    /// The stretches of a dialogue that are trained on, in bytes of the text; none of other documents.
    #[must_use]
    pub fn answers(&self) -> &'a [Range<usize>] {
        self.answers
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// How many characters there are; a quick pass of its own.
    #[must_use]
    pub fn character_count(&self) -> u64 {
        *self
            .character_count
            .get_or_init(|| count_characters(self.text))
    }

    /// Characters and their classes.
    #[must_use]
    pub fn characters(&self) -> Characters {
        *self.characters.get_or_init(|| characters_of(self.text))
    }

    /// Lines as `splitlines` makes them.
    #[must_use]
    pub fn all_lines(&self) -> AllLines {
        *self
            .all_lines
            .get_or_init(|| all_lines_of(self.split_lines()))
    }

    /// Lines and paragraphs as DCLM makes them.
    #[must_use]
    pub fn layout(&self) -> Layout {
        *self
            .layout
            .get_or_init(|| layout_of(self.text, &mut self.scratch.borrow_mut().tally))
    }

    /// Words split at space.
    #[must_use]
    pub fn split_words(&self) -> SplitWords {
        *self.split_words.get_or_init(|| split_words_of(self.text))
    }

    /// How often `#`, `...`, `. . .` and `…` occur, each counted without overlap with itself, summed.
    #[must_use]
    pub fn symbols(&self) -> u64 {
        *self.symbols.get_or_init(|| symbols_of(self.text))
    }

    /// Repeated word n-grams, n from 2 to 10.
    #[must_use]
    pub fn ngrams(&self) -> Ngrams {
        *self.ngrams.get_or_init(|| {
            let Scratch { ngrams, tally, .. } = &mut **self.scratch.borrow_mut();
            ngrams.measure(self.text, tally)
        })
    }

    /// Lines and paragraphs as datatrove makes them.
    #[must_use]
    pub fn lines(&self) -> Lines {
        *self.lines.get_or_init(|| {
            let ascii = !self.breaks().beyond_ascii;
            let other_breaks = self.has_other_breaks();
            let Scratch {
                line_ends, tally, ..
            } = &mut **self.scratch.borrow_mut();
            lines::lines_of(self.text, line_ends, ascii, other_breaks, tally)
        })
    }

    /// Finds the places of `\n`, once.
    fn breaks(&self) -> Breaks {
        *self.breaks.get_or_init(|| {
            let ends = &mut self.scratch.borrow_mut().line_ends;
            breaks::find(self.text.as_bytes(), ends)
        })
    }

    fn has_other_breaks(&self) -> bool {
        *self
            .other_breaks
            .get_or_init(|| lines::has_other_breaks(self.text, self.breaks()))
    }

    /// Lines of up to so many characters that are not blank, between `\n`.
    #[must_use]
    pub fn short_lines(&self, characters: u64) -> u64 {
        if characters == SHORT_LINE_CHARACTERS {
            self.lines().page.short
        } else {
            lines::short_lines(self.text, characters)
        }
    }

    /// Statistics of Gopher as Dolma counts them.
    #[must_use]
    pub fn dolma(&self) -> Dolma {
        *self.dolma.get_or_init(|| {
            let Scratch { dolma, tally, .. } = &mut **self.scratch.borrow_mut();
            dolma.measure(self.text, tally)
        })
    }

    /// The tokens.
    #[must_use]
    pub fn tokens(&self, kind: TokenKind) -> Tokens {
        *self.tokens[kind as usize]
            .get_or_init(|| self.scratch.borrow_mut().tokens[kind as usize].read(self.text, kind))
    }

    /// How many tokens there are.
    #[must_use]
    pub fn token_count(&self, kind: TokenKind) -> u64 {
        *self.token_count[kind as usize].get_or_init(|| self.tokens(kind).count)
    }

    /// How many of `words` are among the tokens.
    #[must_use]
    pub fn tokens_among(&self, kind: TokenKind, words: &[&str]) -> u64 {
        let _ = self.tokens(kind);
        self.scratch.borrow().tokens[kind as usize].distinct(self.text, words)
    }

    /// Repeated n-grams of tokens, n from 2 to 10.
    #[must_use]
    pub fn token_ngrams(&self, kind: TokenKind) -> TokenNgrams {
        let whole = self.character_count();
        let fraction = |part| Fraction { part, whole };
        let duplicate = *self.token_duplicates[kind as usize].get_or_init(|| {
            let _ = self.tokens(kind);
            let Scratch { tokens, tally, .. } = &mut **self.scratch.borrow_mut();
            tokens[kind as usize].duplicate_ngrams(self.text, tally)
        });
        TokenNgrams {
            top: self.top_token_ngrams(kind),
            duplicate: duplicate.map(fraction),
        }
    }

    /// Of those the most frequent ones, n from 2 to 4.
    #[must_use]
    pub fn top_token_ngrams(&self, kind: TokenKind) -> [Fraction; 3] {
        let whole = self.character_count();
        let top = *self.token_top[kind as usize].get_or_init(|| {
            let _ = self.tokens(kind);
            let Scratch { tokens, tally, .. } = &mut **self.scratch.borrow_mut();
            tokens[kind as usize].top_ngrams(self.text, tally)
        });
        top.map(|part| Fraction { part, whole })
    }

    /// The first n of 2 to 4, less two, for which [`TokenNgrams::top`] is above its limit, with its value. Quicker than
    /// all of them.
    #[must_use]
    pub fn top_token_ngrams_above(
        &self,
        kind: TokenKind,
        limits: &[f64; 3],
    ) -> Option<(usize, Fraction)> {
        let _ = self.tokens(kind);
        let whole = self.character_count();
        let Scratch { tokens, tally, .. } = &mut **self.scratch.borrow_mut();
        let (at, part) = tokens[kind as usize].first_top_above(self.text, whole, limits, tally)?;
        Some((at, Fraction { part, whole }))
    }

    /// The first n of 5 to 10, less five, for which [`TokenNgrams::duplicate`] is above its limit, with its value.
    /// Quicker than all of them.
    #[must_use]
    pub fn duplicate_token_ngrams_above(
        &self,
        kind: TokenKind,
        limits: &[f64; 6],
    ) -> Option<(usize, Fraction)> {
        let _ = self.tokens(kind);
        let whole = self.character_count();
        let Scratch { tokens, tally, .. } = &mut **self.scratch.borrow_mut();
        let (at, part) = tokens[kind as usize].first_above(self.text, whole, limits, tally)?;
        Some((at, Fraction { part, whole }))
    }

    /// English tokens of a stretch of the text between white space, and spaCy's sentences in it, at least one.
    pub(crate) fn tokens_and_sentences(&self, stretch: Range<usize>) -> (u64, u64) {
        let _ = self.tokens(TokenKind::English);
        self.scratch.borrow_mut().tokens[0].stretch(stretch.start, stretch.end)
    }

    /// The same of a line that is not a stretch of the text.
    pub(crate) fn tokens_and_sentences_of(&self, line: &str) -> (u64, u64) {
        self.scratch.borrow_mut().tokens[0].line(line)
    }

    /// Calls `found` with the place of each of `phrases` in the text and its number: they are ASCII in small
    /// letters, and found in any case of ASCII.
    pub(crate) fn for_each_phrase(
        &self,
        phrases: &[memmem::Finder<'_>],
        mut found: impl FnMut(usize, usize),
    ) {
        let lower = &mut self.scratch.borrow_mut().lower;
        lower.clear();
        lower.extend(self.text.bytes().map(|byte| byte.to_ascii_lowercase()));
        for (number, phrase) in phrases.iter().enumerate() {
            for at in phrase.find_iter(lower) {
                found(at, number);
            }
        }
    }

    /// Whether one of `phrases`, ASCII in small letters, stands in one of `lines` in any case of ASCII.
    pub(crate) fn holds_any<'l>(
        &self,
        lines: impl Iterator<Item = &'l str>,
        phrases: &[memmem::Finder<'_>],
    ) -> bool {
        let lower = &mut self.scratch.borrow_mut().lower;
        lower.clear();
        for line in lines {
            lower.extend(line.bytes().map(|byte| byte.to_ascii_lowercase()));
            lower.push(b'\n');
        }
        let mut phrases = phrases.iter();
        phrases.any(|phrase| phrase.find(lower).is_some())
    }

    /// The lines of Python's `splitlines`, each with its place.
    pub(crate) fn split_lines(&self) -> impl Iterator<Item = (usize, &'a str)> {
        let text = self.text;
        let mut others = self.has_other_breaks().then(|| SplitLines::new(text));
        let (mut number, mut next) = (0, 0);
        std::iter::from_fn(move || {
            if let Some(others) = &mut others {
                return others.next();
            }
            let start = next;
            if start >= text.len() {
                return None;
            }
            let ends = &self.scratch.borrow().line_ends;
            let end = ends.get(number).map_or(text.len(), |&end| end as usize);
            (number, next) = (number + 1, end + 1);
            Some((start, &text[start..end]))
        })
    }
}

/// The lines of Python's `splitlines`.
#[derive(Debug)]
struct SplitLines<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> SplitLines<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for SplitLines<'a> {
    type Item = (usize, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = &self.text[start..];
        if rest.is_empty() {
            return None;
        }
        let Some(end) = rest.find(is_line_break) else {
            self.at = self.text.len();
            return Some((start, rest));
        };
        let after = rest[end..].chars().next().map_or(1, char::len_utf8);
        let pair = rest[end..].starts_with("\r\n");
        self.at = start + end + after + usize::from(pair);
        Some((start, &rest[..end]))
    }
}

fn characters_of(text: &str) -> Characters {
    let alphanumerics = &*ALPHANUMERICS;
    let mut count = 0;
    let mut alphanumeric = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest
            .bytes()
            .position(|byte| byte >= 0x80)
            .unwrap_or(rest.len());
        let (plain, after) = rest.split_at(ascii);
        count += plain.len() as u64;
        alphanumeric += plain.bytes().filter(u8::is_ascii_alphanumeric).count() as u64;
        let wide = after
            .bytes()
            .position(|byte| byte < 0x80)
            .unwrap_or(after.len());
        let (others, after) = after.split_at(wide);
        for character in others.chars() {
            count += 1;
            alphanumeric += u64::from(alphanumerics.contains(character));
        }
        rest = after;
    }
    Characters {
        count,
        alphanumeric,
    }
}

fn all_lines_of<'a>(split: impl Iterator<Item = (usize, &'a str)>) -> AllLines {
    let mut lines = AllLines::default();
    for (_, line) in split {
        let characters = count_characters(line);
        lines.count += 1;
        lines.longest = lines.longest.max(characters);
        lines.characters += characters;
    }
    lines
}

fn layout_of(text: &str, tally: &mut Tally) -> Layout {
    let mut layout = Layout::default();
    tally.begin(memchr_iter(b'\n', text.as_bytes()).count() + 1);
    let mut rest = Some(text);
    while let Some(unread) = rest {
        let end = memchr(b'\n', unread.as_bytes());
        let line = strip(&unread[..end.unwrap_or(unread.len())]);
        rest = end.map(|end| &unread[end + 1..]);
        if !line.is_empty() {
            layout.lines.add(line, tally);
            layout.bullets += u64::from(line.starts_with(['●', '•', '*', '-']));
            layout.ellipses +=
                u64::from(line.ends_with("...") || line.ends_with(". . .") || line.ends_with('…'));
        }
    }
    // No paragraph is without a line.
    tally.begin(usize::try_from(layout.lines.count).unwrap_or(usize::MAX));
    let mut rest = Some(text);
    while let Some(unread) = rest {
        let end = memmem::find(unread.as_bytes(), b"\n\n");
        let paragraph = strip(&unread[..end.unwrap_or(unread.len())]);
        rest = end.map(|end| &unread[end + 2..]);
        if !paragraph.is_empty() {
            layout.paragraphs.add(paragraph, tally);
        }
    }
    layout
}

impl Segments {
    fn add(&mut self, segment: &str, tally: &mut Tally) {
        let characters = count_characters(segment);
        self.count += 1;
        self.characters += characters;
        let slot = tally.add(xxh3_64(segment.as_bytes()));
        // The first occurrence turns out a duplicate when the second comes.
        let newly = match tally.count(slot) {
            1 => 0,
            2 => 2,
            _ => 1,
        };
        self.duplicates += newly;
        self.duplicate_characters += newly * characters;
    }
}

/// fastText tokens of a text that begin with a letter or digit. None goes beyond a line end.
pub(crate) fn tokens_of(text: &str) -> u64 {
    split_words_of(text).tokens
}

fn split_words_of(text: &str) -> SplitWords {
    let bytes = text.as_bytes();
    let mut words = SplitWords::default();
    let mut at = 0;
    while at < bytes.len() {
        let flags = byte::FLAGS[usize::from(bytes[at])];
        if flags & byte::SPACE != 0 {
            at += 1;
            continue;
        }
        let start = at;
        let (plain_end, has_letter) = plain_word_end(bytes, start);
        let next = bytes
            .get(plain_end)
            .map_or(byte::SPACE, |&next| byte::FLAGS[usize::from(next)]);
        at = if next & byte::SPACE != 0 {
            words.add_plain(bytes, start, plain_end, has_letter);
            plain_end
        } else {
            words.add_any(text, start)
        };
    }
    words
}

impl SplitWords {
    #[inline(always)]
    fn add_plain(&mut self, bytes: &[u8], start: usize, end: usize, has_letter: bool) {
        let word = &bytes[start..end];
        self.count += 1;
        self.characters += word.len() as u64;
        self.without_letter += u64::from(!has_letter);
        self.stop_words += u64::from(is_stop_word(word));
        self.tokens += u64::from(word[0].is_ascii_alphanumeric() && begins_token(bytes, start));
    }

    /// Takes the word at `start`, or a space beyond ASCII if that stands there; returns its end.
    fn add_any(&mut self, text: &str, start: usize) -> usize {
        let letters = &*LETTERS;
        let rest = &text[start..];
        let word = &rest[..rest.find(characters::is_space).unwrap_or(rest.len())];
        let Some(first) = word.chars().next() else {
            return start + rest.chars().next().map_or(0, char::len_utf8);
        };
        self.count += 1;
        self.characters += count_characters(word);
        self.without_letter +=
            u64::from(!word.chars().any(|character| letters.contains(character)));
        // A stop word is all ASCII, and no character beyond it has a lower case that completes one.
        self.stop_words += u64::from(is_stop_word(word.as_bytes()));
        self.tokens +=
            u64::from(ALPHANUMERICS.contains(first) && begins_token(text.as_bytes(), start));
        self.tokens += tokens_after_nul(word.as_bytes());
        start + word.len()
    }
}

/// Where the visible ASCII characters from `start` on end, and whether a letter is among them.
#[inline(always)]
fn plain_word_end(bytes: &[u8], start: usize) -> (usize, bool) {
    let mut at = start;
    let mut letters = 0;
    while let Some(group) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let group = u64::from_le_bytes(*group);
        // The high bit of each byte that is below `!` or beyond ASCII.
        let visible = (group & !HIGH_BITS).wrapping_add(0x5f5f_5f5f_5f5f_5f5f) & !group;
        let stops = !visible & HIGH_BITS;
        if stops != 0 {
            // The bits below the first stop.
            letters |= letter_bits(group) & (stops ^ (stops - 1));
            return (at + (stops.trailing_zeros() / 8) as usize, letters != 0);
        }
        letters |= letter_bits(group);
        at += 8;
    }
    let rest = &bytes[at..];
    let length = rest
        .iter()
        .position(|byte| !(b'!'..0x80).contains(byte))
        .unwrap_or(rest.len());
    let has_letter = letters != 0 || rest[..length].iter().any(u8::is_ascii_alphabetic);
    (at + length, has_letter)
}

/// Whether a fastText token may begin at `start`: not after a space that fastText does not know.
#[inline(always)]
fn begins_token(bytes: &[u8], start: usize) -> bool {
    start == 0 || byte::FLAGS[usize::from(bytes[start - 1])] & byte::SEPARATOR != 0
}

#[cold]
fn tokens_after_nul(word: &[u8]) -> u64 {
    let alphanumerics = &*ALPHANUMERICS;
    let begins = |at: usize| {
        let rest = word.get(at + 1..).unwrap_or_default();
        let character = rest
            .utf8_chunks()
            .next()
            .and_then(|chunk| chunk.valid().chars().next());
        character.is_some_and(|character| alphanumerics.contains(character))
    };
    memchr_iter(0, word).filter(|&at| begins(at)).count() as u64
}

#[inline(always)]
fn is_stop_word(word: &[u8]) -> bool {
    let mut lower = [0; 4];
    let Some(lower) = lower.get_mut(..word.len()) else {
        return false;
    };
    lower.copy_from_slice(word);
    lower.make_ascii_lowercase();
    matches!(
        &*lower,
        b"the" | b"be" | b"to" | b"of" | b"and" | b"that" | b"have" | b"with"
    )
}

fn symbols_of(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let hashes = memchr_iter(b'#', bytes).count();
    let ellipses = memmem::find_iter(bytes, "…".as_bytes()).count();
    let mut dots = 0;
    let (mut after_close, mut after_spaced) = (0, 0);
    for at in memchr_iter(b'.', bytes) {
        let rest = &bytes[at..];
        if at >= after_close && rest.starts_with(b"...") {
            dots += 1;
            after_close = at + 3;
        }
        if at >= after_spaced && rest.starts_with(b". . .") {
            dots += 1;
            after_spaced = at + 5;
        }
    }
    (hashes + ellipses + dots) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts of few letters, so that everything repeats, with each kind of space, end and symbol.
    pub(crate) fn any_text() -> impl Strategy<Value = String> {
        let pieces: Vec<&str> = vec![
            "a",
            "b",
            "the",
            "The",
            "with",
            "word",
            "12",
            " ",
            " ",
            " ",
            "\n",
            "\n",
            "\n\n",
            "\t",
            "\r",
            "\r\n",
            "\u{b}",
            "\u{1c}",
            "\u{1f}",
            "\0",
            "\u{85}",
            "\u{a0}",
            "\u{2028}",
            "\u{3000}",
            "\u{e9}",
            "\u{93f}",
            "\u{4f60}",
            "\u{bd}",
            "\u{1f600}",
            ".",
            "...",
            ". . .",
            "\u{2026}",
            "#",
            "*",
            "-",
            "\u{2022}",
            "\u{25cf}",
            "_",
            "'",
            "\u{212a}",
        ];
        prop::collection::vec(prop::sample::select(pieces), 0..60)
            .prop_map(|pieces| pieces.concat())
    }

    fn stripped<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
        text.split(separator)
            .map(strip)
            .filter(|segment| !segment.is_empty())
            .collect()
    }

    fn slow_segments(segments: &[&str]) -> Segments {
        let repeated =
            |segment: &&&str| segments.iter().filter(|other| other == segment).count() > 1;
        let characters = |segment: &str| segment.chars().count() as u64;
        Segments {
            count: segments.len() as u64,
            duplicates: segments.iter().filter(repeated).count() as u64,
            characters: segments.iter().map(|segment| characters(segment)).sum(),
            duplicate_characters: segments
                .iter()
                .filter(repeated)
                .map(|segment| characters(segment))
                .sum(),
        }
    }

    fn slow_split_words(text: &str) -> SplitWords {
        let words: Vec<&str> = text
            .split(is_space)
            .filter(|word| !word.is_empty())
            .collect();
        let stop_words = ["the", "be", "to", "of", "and", "that", "have", "with"];
        let tokens = text.split([' ', '\n', '\r', '\t', '\u{b}', '\u{c}', '\0']);
        SplitWords {
            count: words.len() as u64,
            characters: words.iter().map(|word| word.chars().count() as u64).sum(),
            without_letter: words
                .iter()
                .filter(|word| !word.chars().any(|c| LETTERS.contains(c)))
                .count() as u64,
            stop_words: words
                .iter()
                .filter(|word| stop_words.contains(&word.to_lowercase().as_str()))
                .count() as u64,
            tokens: tokens
                .filter(|token| token.starts_with(|c| ALPHANUMERICS.contains(c)))
                .count() as u64,
        }
    }

    fn slow_all_lines(text: &str) -> AllLines {
        let joined = text.replace("\r\n", "\n");
        let mut lines: Vec<&str> = joined.split(is_line_break).collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        let lengths: Vec<u64> = lines
            .iter()
            .map(|line| line.chars().count() as u64)
            .collect();
        AllLines {
            count: lines.len() as u64,
            longest: lengths.iter().copied().max().unwrap_or(0),
            characters: lengths.iter().sum(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn counts_equal_those_of_the_obvious_way(text in any_text()) {
            let mut scratch = Scratch::default();
            let analysis = Analysis::new(&text, &mut scratch).unwrap();
            prop_assert_eq!(analysis.characters().count, text.chars().count() as u64);
            let alphanumeric = text.chars().filter(|&c| ALPHANUMERICS.contains(c)).count() as u64;
            prop_assert_eq!(analysis.characters().alphanumeric, alphanumeric);
            prop_assert_eq!(analysis.all_lines(), slow_all_lines(&text));
            let lines = stripped(&text, "\n");
            let layout = analysis.layout();
            prop_assert_eq!(layout.lines, slow_segments(&lines));
            prop_assert_eq!(layout.paragraphs, slow_segments(&stripped(&text, "\n\n")));
            let bullets = lines.iter().filter(|line| line.starts_with(['●', '•', '*', '-'])).count() as u64;
            prop_assert_eq!(layout.bullets, bullets);
            let ends = |line: &&&str| ["...", ". . .", "…"].iter().any(|ellipsis| line.ends_with(ellipsis));
            prop_assert_eq!(layout.ellipses, lines.iter().filter(ends).count() as u64);
            prop_assert_eq!(analysis.split_words(), slow_split_words(&text));
            let symbols: usize = ["#", "...", ". . .", "…"].iter().map(|symbol| text.matches(symbol).count()).sum();
            prop_assert_eq!(analysis.symbols(), symbols as u64);
        }
    }

    #[test]
    fn words_split_where_python_splits() {
        // CPython 3.11: len("a\x1cb\x85c\xa0d\u200be\u3000f".split()) == 5.
        let mut scratch = Scratch::default();
        let analysis =
            Analysis::new("a\u{1c}b\u{85}c\u{a0}d\u{200b}e\u{3000}f", &mut scratch).unwrap();
        assert_eq!(analysis.split_words().count, 5);
        // fastText knows none of these spaces: one token.
        assert_eq!(analysis.split_words().tokens, 1);
    }

    #[test]
    fn a_scratch_carries_nothing_from_one_document_to_the_next() {
        let mut scratch = Scratch::default();
        for text in ["a\na\na a a a a a", "x\ny z"] {
            let shared = {
                let analysis = Analysis::new(text, &mut scratch).unwrap();
                (analysis.layout(), analysis.ngrams())
            };
            let mut fresh = Scratch::default();
            let analysis = Analysis::new(text, &mut fresh).unwrap();
            assert_eq!(shared, (analysis.layout(), analysis.ngrams()));
        }
    }
}
