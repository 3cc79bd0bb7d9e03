//! A text's ids, stretch by stretch. A stretch reaches from the beginning of a word to the next ASCII character that is no letter (a space at
//! its own beginning is not one). If it ends in a letter it is split the same wherever it stands: the words of an expression never look
//! back, what may follow a word's end can only be more of its own kind, and an ASCII character that is no letter ends a run of letters. If
//! it ends in something else, it is so before white space alone. It also composes the same, since ASCII characters are settled and it must
//! begin with a settled one. So most of a text, whatever its script, is looked up by bytes that nobody has classified; only what is new is
//! split, composed and encoded.
//!
//! Where words end does not depend on what is remembered, so that some are found ahead, and memory is asked for them before it is needed.

use super::block::Block;
use super::cache::{Cache, Key, Known, Short};
use super::classes::{LETTER, SPACE, UNSETTLED};
use super::merge::NEAR;
use super::split::{self, Found, sixteen};
use super::{Bpe, compose};

/// How many pieces of a text are found before the first of them is looked up.
const AHEAD: usize = 24;

/// Reads one text.
pub(super) struct Reader<'a, const FALCON: bool> {
    pub(super) bpe: &'a Bpe,
    pub(super) text: &'a str,
    /// Whether the text is in NFC, or need not be.
    pub(super) composed: bool,
}

/// A piece of a text.
#[derive(Clone, Copy, Default)]
struct Piece {
    /// Of a short one.
    key: Short,
    /// In bytes.
    length: usize,
    /// Where it may be remembered.
    set: u32,
    kind: Kind,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// A stretch of fewer than 16 bytes.
    #[default]
    ShortStretch,
    /// A stretch of fewer than 32 bytes.
    LongStretch,
    ShortWord,
    LongWord,
    /// A word of 32 bytes or more.
    FarWord,
    /// A word of Falcon's, of which digits are apart.
    Parts,
    /// A run of spaces that are tokens.
    Spaces,
    /// A word that composing changes.
    Uncomposed,
}

/// What came of a piece.
enum Outcome {
    Appended,
    /// It is a stretch that is split in other ways elsewhere.
    Apart,
    Uncomposed,
}

/// Up to where is known what.
struct Until {
    /// That composing leaves it as it is, but for stretches that are still to be appended.
    settled: usize,
    /// That it is no stretch.
    apart: usize,
}

impl<const FALCON: bool> Reader<'_, FALCON> {
    /// Appends the ids of the text; gives up where it finds that composing changes it, unless it is said to be composed.
    pub(super) fn read(&self, cache: &mut Cache, out: &mut Vec<u32>) -> bool {
        let length = self.text.len();
        let mut pieces = [Piece::default(); AHEAD];
        let mut until = Until {
            settled: if self.composed { usize::MAX } else { 0 },
            apart: 0,
        };
        let mut at = 0;
        while at < length {
            let (mut ahead, mut count) = (at, 0);
            for into in &mut pieces {
                let piece = self.piece(ahead, &mut until, cache);
                *into = piece;
                ahead += piece.length;
                count += 1;
                if ahead >= length || piece.kind == Kind::FarWord {
                    break;
                }
            }
            for piece in &pieces[..count] {
                match self.append(*piece, at, cache, out) {
                    Outcome::Appended => at += piece.length,
                    Outcome::Apart => {
                        // Its words are looked at one by one, and what was found ahead once more.
                        until.apart = at + piece.length;
                        if !self.composed {
                            until.settled = until.settled.min(at);
                        }
                        break;
                    }
                    Outcome::Uncomposed => return false,
                }
            }
        }
        true
    }

    /// The piece that begins at a place before the end.
    #[inline(always)]
    fn piece(&self, at: usize, until: &mut Until, cache: &Cache) -> Piece {
        let bytes = self.text.as_bytes();
        let low = sixteen(bytes, at);
        let block = Block::new(low);
        let edges = block.edges();
        let spaced = u32::from(bytes[at] == b' ');
        let length = (edges & !spaced | 1 << 16).trailing_zeros();
        if at >= until.apart {
            if length < 16 {
                if length > spaced {
                    let key = low & below(length) | tag(STRETCH, length);
                    return short(key, length, Kind::ShortStretch, cache);
                }
            } else {
                let high = sixteen(bytes, at + 16);
                let more = (Block::new(high).edges() | 1 << 16).trailing_zeros();
                if more < 16 {
                    let key = [low, high & below(more) | tag(STRETCH, more)];
                    return Piece {
                        key: 0,
                        length: 16 + more as usize,
                        set: cache.ask_long(key),
                        kind: Kind::LongStretch,
                    };
                }
                until.apart = at + 32;
            }
        }
        if !FALCON && at + 16 <= bytes.len() {
            let (length, kind) = self.ascii(block, edges, bytes[at]);
            if length > 0 && kind == Kind::Spaces {
                return self.spaces(length as usize);
            } else if length > 0 {
                let key = low & below(length) | tag(WORD, length);
                return short(key, length, kind, cache);
            }
        }
        self.other(at, until, cache)
    }

    /// Length of a word of ASCII digits, white space or other signs, or of a run of spaces; 0 where a closer look is needed.
    #[inline(always)]
    fn ascii(&self, block: Block, edges: u32, first: u8) -> (u32, Kind) {
        let (white, digits, beyond) = (block.white(), block.digits(), block.beyond());
        let signs = edges & !(white | digits);
        let spaced = u32::from(first == b' ');
        let begins = 1 << spaced;
        let same = if digits & begins != 0 {
            digits
        } else if signs & begins != 0 {
            signs
        } else {
            white
        };
        let run = (!(same | spaced) | 1 << 16).trailing_zeros();
        let is_end = run < 16 && beyond >> run & 1 == 0;
        // A contraction may begin with a quote.
        if !is_end || same & begins == 0 || first == b'\'' {
            return (0, Kind::ShortWord);
        }
        if white & 1 == 0 || same != white {
            return (run, Kind::ShortWord);
        }
        if !self.bpe.spaces.is_empty() {
            let spaces = block.spaces();
            let double = spaces & spaces >> 1;
            if double & 1 == 1 {
                return ((!spaces | 1 << 16).trailing_zeros(), Kind::Spaces);
            }
            let single = (double | 1 << 16).trailing_zeros();
            if single < run {
                return (single, Kind::ShortWord);
            }
        }
        // All but the last, which is left to what follows.
        (run.max(2) - 1, Kind::ShortWord)
    }

    /// A run of spaces that are tokens, the longest first; a single one left over belongs to the word after it.
    fn spaces(&self, count: usize) -> Piece {
        let left_over = usize::from(count % (self.bpe.spaces.len() + 1) == 1);
        Piece {
            length: count - left_over,
            kind: Kind::Spaces,
            ..Piece::default()
        }
    }

    /// The piece at a place, by the classes of its characters.
    #[inline(never)]
    fn other(&self, at: usize, until: &mut Until, cache: &Cache) -> Piece {
        let bytes = self.text.as_bytes();
        let runs = !self.bpe.spaces.is_empty();
        let (end, unsettled) = match split::next::<FALCON>(self.bpe.classes, bytes, at, runs) {
            Found::Word(end, unsettled) => (end, unsettled),
            Found::Spaces(end) => return self.spaces(end - at),
        };
        let mut piece = Piece {
            length: end - at,
            kind: Kind::FarWord,
            ..Piece::default()
        };
        if unsettled && end > until.settled {
            match compose::stays(self.bpe.classes, self.text, at, end) {
                Some(settled) => until.settled = settled,
                None => piece.kind = Kind::Uncomposed,
            }
        }
        if piece.kind == Kind::FarWord {
            if FALCON && !split::is_one_part(bytes.get(at..end).unwrap_or_default()) {
                piece.kind = Kind::Parts;
                return piece;
            }
            match word_key(bytes, at, end) {
                Some(Key::Short(key)) => {
                    (piece.key, piece.set, piece.kind) =
                        (key, cache.ask_short(key), Kind::ShortWord);
                }
                Some(Key::Long(key)) => {
                    (piece.set, piece.kind) = (cache.ask_long(key), Kind::LongWord);
                }
                None => {}
            }
        }
        piece
    }

    /// Appends the ids of a piece.
    #[inline(always)]
    fn append(&self, piece: Piece, at: usize, cache: &mut Cache, out: &mut Vec<u32>) -> Outcome {
        if matches!(piece.kind, Kind::ShortStretch | Kind::ShortWord) {
            match cache.short(piece.set, piece.key, out) {
                Known::Anywhere => return Outcome::Appended,
                Known::BeforeWhite(count) => {
                    return self.before_white(at + piece.length, count, cache);
                }
                Known::Not => {}
            }
        }
        self.append_rare(piece, at, cache, out)
    }

    #[inline(never)]
    fn append_rare(
        &self,
        piece: Piece,
        at: usize,
        cache: &mut Cache,
        out: &mut Vec<u32>,
    ) -> Outcome {
        let (bpe, bytes, end) = (self.bpe, self.text.as_bytes(), at + piece.length);
        let word = bytes.get(at..end).unwrap_or_default();
        match piece.kind {
            Kind::ShortStretch => self.stretch(at, end, Key::Short(piece.key), cache, out),
            Kind::LongStretch => {
                let more = u32::try_from(word.len()).unwrap_or_default() & 15;
                let high = sixteen(bytes, at + 16) & below(more) | tag(STRETCH, more);
                let key = [sixteen(bytes, at), high];
                match cache.long(piece.set, key, out) {
                    Known::Anywhere => Outcome::Appended,
                    Known::BeforeWhite(count) => self.before_white(end, count, cache),
                    Known::Not => self.stretch(at, end, Key::Long(key), cache, out),
                }
            }
            Kind::ShortWord => {
                cache.new_word(&bpe.merges, Some(Key::Short(piece.key)), word, out);
                Outcome::Appended
            }
            Kind::LongWord | Kind::FarWord => {
                append_word(bpe, bytes, at, end, cache, out);
                Outcome::Appended
            }
            Kind::Parts => {
                append_parts(bpe, word, cache, out);
                Outcome::Appended
            }
            Kind::Spaces => {
                let mut left = word.len();
                while let Some(longest) = left.checked_sub(2) {
                    let longest = longest.min(bpe.spaces.len() - 1);
                    cache.push(bpe.spaces[longest], out);
                    left -= longest + 2;
                }
                Outcome::Appended
            }
            Kind::Uncomposed => Outcome::Uncomposed,
        }
    }

    /// Takes the ids that were found for what ends at a place, if white space follows or nothing.
    fn before_white(&self, end: usize, count: usize, cache: &mut Cache) -> Outcome {
        let next = self.text.as_bytes().get(end);
        if next.is_none_or(|next| matches!(next, b' ' | b'\t'..=b'\r')) {
            cache.take(count);
            Outcome::Appended
        } else {
            Outcome::Apart
        }
    }

    /// Appends the ids of a stretch that is not remembered, and remembers them.
    #[inline(never)]
    fn stretch(
        &self,
        at: usize,
        end: usize,
        key: Key,
        cache: &mut Cache,
        out: &mut Vec<u32>,
    ) -> Outcome {
        let Some(mut text) = self.text.get(at..end) else {
            return Outcome::Apart;
        };
        let bpe = self.bpe;
        let composed;
        let mut is_letter = true;
        if !text.is_ascii() {
            let unsettled = bpe.classes.next_unsettled(text, 0);
            if unsettled == Some(0) {
                return Outcome::Apart;
            }
            if unsettled.is_some() && !self.composed {
                composed = compose::composed(bpe.classes, text);
                text = &composed;
                if text.len() > NEAR {
                    // Some signs become three of their kind.
                    return Outcome::Apart;
                }
            }
            let last = text.floor_char_boundary(text.len() - 1);
            let class = bpe.classes.at(text.as_bytes(), last).0 & !UNSETTLED;
            if class == SPACE {
                return Outcome::Apart;
            }
            is_letter = class == LETTER;
        }
        let start = cache.begin_stretch(out);
        let bytes = text.as_bytes();
        let mut from = 0;
        while from < bytes.len() {
            let end = match split::next::<FALCON>(bpe.classes, bytes, from, false) {
                Found::Word(end, _) | Found::Spaces(end) => end,
            };
            let word = bytes.get(from..end).unwrap_or_default();
            if FALCON && !split::is_one_part(word) {
                append_parts(bpe, word, cache, out);
            } else if word.len() == bytes.len() {
                cache.new_word(&bpe.merges, None, word, out);
            } else {
                append_word(bpe, bytes, from, end, cache, out);
            }
            from = end;
        }
        if is_letter {
            cache.keep_since(key, start, false);
            return Outcome::Appended;
        }
        cache.keep_since(key, start, true);
        let count = cache.take_back(start);
        self.before_white(end, count, cache)
    }
}

#[inline(always)]
fn short(key: Short, length: u32, kind: Kind, cache: &Cache) -> Piece {
    Piece {
        key,
        length: length as usize,
        set: cache.ask_short(key),
        kind,
    }
}

/// In the highest byte of a key, which has the number of bytes too: that it is a stretch, which may be several words.
const STRETCH: u8 = 0x80;
/// That it is one word.
const WORD: u8 = 0x40;

#[inline(always)]
fn tag(kind: u8, length: u32) -> u128 {
    u128::from(u32::from(kind) | length) << 120
}

/// The bits of so many bytes, fewer than 16: a look at two cache lines is less than shifting by 128 bits.
#[inline(always)]
fn below(length: u32) -> u128 {
    BELOW[length as usize & 15]
}

static BELOW: [u128; 16] = {
    let (mut below, mut length) = ([0; 16], 0);
    while length < 16 {
        below[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    below
};

/// The key of a word; none if it is too long to be remembered.
#[inline(always)]
fn word_key(text: &[u8], at: usize, end: usize) -> Option<Key> {
    match u32::try_from(end - at).unwrap_or(u32::MAX) {
        length @ 0..16 => {
            let key = sixteen(text, at) & below(length) | tag(WORD, length);
            Some(Key::Short(key))
        }
        length @ 16..32 => {
            let more = length - 16;
            let high = sixteen(text, at + 16) & below(more) | tag(WORD, more);
            Some(Key::Long([sixteen(text, at), high]))
        }
        _ => None,
    }
}

/// Appends the ids of a word.
fn append_word(
    bpe: &Bpe,
    text: &[u8],
    at: usize,
    end: usize,
    cache: &mut Cache,
    out: &mut Vec<u32>,
) {
    let key = word_key(text, at, end);
    let known = match key {
        Some(Key::Short(key)) => cache.short(cache.ask_short(key), key, out),
        Some(Key::Long(key)) => cache.long(cache.ask_long(key), key, out),
        None => Known::Not,
    };
    if matches!(known, Known::Not) {
        let word = text.get(at..end).unwrap_or_default();
        cache.new_word(&bpe.merges, key, word, out);
    }
}

/// Appends the ids of a word of Falcon's that has digits.
fn append_parts(bpe: &Bpe, word: &[u8], cache: &mut Cache, out: &mut Vec<u32>) {
    split::falcon_parts(word, |part| {
        append_word(bpe, part, 0, part.len(), cache, out);
    });
}
