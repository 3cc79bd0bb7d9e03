//! Merges by rank without merging. A word's ids are what is left when of all neighbours that a merge joins those of the lowest rank are
//! joined first, and of several with that rank the leftmost (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword
//! Units", as GPT-2 applies it to bytes). Vocabularies here have at most 65,535 ids, and a merge's id grows with its rank, so that the id
//! is the rank.
//!
//! Ids are a word's encoding exactly if each two neighbours are the encoding of their own text (were it not so, look at the first merge
//! across a border of two of them: up to it all went as it goes for the two alone, so it is made there too). So a word is read from its
//! beginning: the longest token that agrees with the one before it is taken, and where none does, the one before is taken shorter; a place
//! from which there is no way on is never tried again. Both are the method of `github/rust-gems`, `crates/bpe` (van Antwerpen and Neubeck 2024,
//! "So many tokens, so little time"), whose README proves it. It takes time in proportion to a word's length, whatever the word.

use super::trie::Trie;

/// No id.
pub(super) const NONE: u16 = u16::MAX;

/// No pair: none has twice the id that there is not.
const NO_PAIR: u32 = u32::MAX;

/// Bytes of a word for which all that encoding needs is a few registers and cache lines.
pub(super) const NEAR: usize = 64;

/// Bits of the places for what is known of two ids side by side.
const AGREED_BITS: u32 = 16;

/// Merges, and the ids of bytes.
pub(super) struct Merges {
    /// Whether a byte of UTF-8 has no id: then it is left out, as the reference leaves it out.
    lacks: Option<Box<[bool; 256]>>,
    trie: Trie,
    tokens: Vec<Token>,
    /// Of each id, kinds of first bytes of what it or an end of it is merged with, a bit each: side by side with an id that begins otherwise it
    /// is left as it is. So it is with most pairs of scripts of three bytes a character.
    followed: Vec<u64>,
    /// Open addressing, a power of two: left id and right id, [`NO_PAIR`] in an empty place. Apart from what they merge to: most pairs are
    /// not there, and what is looked at for those should be small.
    pairs: Vec<u32>,
    /// What those merge to.
    merged: Vec<u16>,
    /// Bits of all pairs, a power of two of words.
    filter: Vec<u64>,
    /// What an id was merged from; itself, if it was not.
    parts: Vec<[u16; 2]>,
    /// The first id that is merged. Bytes are below.
    first: u16,
    /// Bytes of each id.
    bytes: Vec<Vec<u8>>,
}

/// An id that can stand in an encoding.
#[derive(Clone, Copy)]
struct Token {
    /// In bytes.
    length: u16,
    /// The longest of those that it begins with, [`NONE`] if there is none.
    shorter: u16,
}

/// Space that encoding needs, kept between words.
pub(super) struct Scratch {
    agreed: Vec<u32>,
    /// Places of a long word from which there is no way on, a bit each.
    dead: Vec<u64>,
    /// Bytes that have ids, of a word in which others have none.
    text: Vec<u8>,
    /// Whether a word was met that no ids spell.
    lost: bool,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            // Two ids side by side, and in the lowest bit whether they agree; by a hash of them.
            agreed: vec![u32::MAX; 1 << AGREED_BITS],
            dead: Vec::new(),
            text: Vec::new(),
            lost: false,
        }
    }

    /// Whether a word was met that no ids spell, which the tables exclude; and forgets it.
    pub(super) fn was_lost(&mut self) -> bool {
        std::mem::take(&mut self.lost)
    }
}

/// The ids so far of a word that is read.
trait Path {
    fn push(&mut self, id: u16);
    /// Takes the last id off.
    fn pop(&mut self) -> Option<u16>;
    fn last(&self) -> u16;
    /// Marks a place from which there is no way on.
    fn kill(&mut self, at: usize);
    fn is_dead(&self, at: usize) -> bool;
}

/// Of a word of at most [`NEAR`] bytes.
struct Near<'a> {
    ids: &'a mut [u16; NEAR],
    count: usize,
    dead: u64,
}

impl Path for Near<'_> {
    #[inline(always)]
    fn push(&mut self, id: u16) {
        // Fewer than there are bytes before.
        self.ids[self.count & (NEAR - 1)] = id;
        self.count += 1;
    }

    #[inline(always)]
    fn pop(&mut self) -> Option<u16> {
        self.count = self.count.checked_sub(1)?;
        Some(self.ids[self.count & (NEAR - 1)])
    }

    #[inline(always)]
    fn last(&self) -> u16 {
        match self.count.checked_sub(1) {
            Some(last) => self.ids[last & (NEAR - 1)],
            None => NONE,
        }
    }

    #[inline(always)]
    fn kill(&mut self, at: usize) {
        self.dead |= 1 << (at & (NEAR - 1));
    }

    #[inline(always)]
    fn is_dead(&self, at: usize) -> bool {
        // The end of a word of 64 bytes has the bit of its beginning, and neither is ever marked.
        self.dead >> (at & (NEAR - 1)) & 1 == 1
    }
}

/// Of a longer word.
struct Far<'a> {
    out: &'a mut Vec<u32>,
    start: usize,
    dead: &'a mut [u64],
}

impl Path for Far<'_> {
    fn push(&mut self, id: u16) {
        self.out.push(u32::from(id));
    }

    fn pop(&mut self) -> Option<u16> {
        if self.out.len() <= self.start {
            return None;
        }
        self.out.pop().and_then(|id| u16::try_from(id).ok())
    }

    fn last(&self) -> u16 {
        let own = self.out.get(self.start..).and_then(<[u32]>::last);
        own.and_then(|id| u16::try_from(*id).ok()).unwrap_or(NONE)
    }

    fn kill(&mut self, at: usize) {
        self.dead[at / 64] |= 1 << (at % 64);
    }

    fn is_dead(&self, at: usize) -> bool {
        self.dead[at / 64] >> (at % 64) & 1 == 1
    }
}

impl Merges {
    /// `bytes` of each id, and merges in order of rank, each as two ids and the one they make. The error says why these cannot be
    /// encoded here.
    pub(super) fn new(bytes: Vec<Vec<u8>>, merges: &[(u16, u16, u16)]) -> Result<Self, String> {
        if bytes.len() > usize::from(NONE) {
            return Err("its vocabulary has 65,535 ids or more".to_owned());
        }
        if bytes.iter().any(|bytes| bytes.len() >= usize::from(NONE)) {
            return Err("it has a token of 65,535 bytes or more".to_owned());
        }
        let size = (merges.len() * 5 / 2 + 1).next_power_of_two();
        let mut made = Self {
            lacks: None,
            trie: Trie::new(Vec::new())?,
            tokens: Vec::new(),
            followed: Vec::new(),
            pairs: vec![NO_PAIR; size],
            merged: vec![NONE; size],
            filter: vec![0; (merges.len() / 6 + 1).next_power_of_two()],
            parts: (0..NONE).zip(&bytes).map(|(id, _)| [id, id]).collect(),
            first: merges.first().map_or(NONE, |(_, _, id)| *id),
            bytes,
        };
        let is_byte = |bytes: &Vec<u8>| bytes.len() == 1;
        if made.bytes.iter().skip(usize::from(made.first)).any(is_byte) {
            return Err("a byte has an id above that of a merge".to_owned());
        }
        let mut last = None;
        for &(left, right, id) in merges {
            if last.is_some_and(|last| id <= last) {
                return Err("the order of its merges is not that of their ids".to_owned());
            }
            last = Some(id);
            if made.bytes_of(id).len() < 2 {
                return Err("it merges to a single byte".to_owned());
            }
            made.parts[usize::from(id)] = [left, right];
            let key = pair(left, right);
            let mut at = made.first_place(key);
            while made.pairs[at] != NO_PAIR {
                if made.pairs[at] == key {
                    return Err("it has a merge twice".to_owned());
                }
                at = (at + 1) & (size - 1);
            }
            made.pairs[at] = key;
            made.merged[at] = id;
            let (word, bits) = filtered(key, made.filter.len());
            made.filter[word] |= bits;
        }
        made.find_tokens(merges)?;
        Ok(made)
    }

    /// Which ids can stand in an encoding: those that are the encoding of their own bytes.
    fn find_tokens(&mut self, merges: &[(u16, u16, u16)]) -> Result<(), String> {
        let mut whole: Vec<bool> = self.bytes.iter().map(|bytes| bytes.len() == 1).collect();
        for &(left, right, id) in merges {
            let is_made = |part: u16| self.parts[usize::from(part)] != [part; 2];
            if [left, right]
                .into_iter()
                .any(|part| part >= id && is_made(part))
            {
                return Err("one of its merges is of a token that a later one makes".to_owned());
            }
            whole[usize::from(id)] = whole[usize::from(left)]
                && whole[usize::from(right)]
                && self.is_agreed(left, right, u32::from(id));
        }
        self.followed = vec![0; self.bytes.len()];
        for &(left, right, _) in merges {
            if let Some(first) = self.bytes_of(right).first() {
                self.followed[usize::from(left)] |= 1 << kind(*first);
            }
        }
        for &(_, right, id) in merges {
            // Ends of what it was merged from come before it.
            self.followed[usize::from(id)] |= self.followed[usize::from(right)];
        }
        let tokens = (0..NONE).zip(&self.bytes).zip(&whole);
        let tokens: Vec<(&[u8], u16)> = tokens
            .filter(|(_, whole)| **whole)
            .map(|((id, bytes), _)| (bytes.as_slice(), id))
            .collect();
        let mut of_byte = [false; 256];
        for (bytes, _) in &tokens {
            if let [byte] = bytes {
                of_byte[usize::from(*byte)] = true;
            }
        }
        self.trie = Trie::new(tokens)?;
        self.tokens = self
            .bytes
            .iter()
            .map(|bytes| Token {
                // Checked above to fit.
                length: u16::try_from(bytes.len()).unwrap_or(NONE),
                shorter: match bytes.split_last() {
                    Some((_, before)) => self.trie.longest(before).id,
                    None => NONE,
                },
            })
            .collect();
        let in_utf8 = |byte: usize| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        if (0..256).any(|byte| in_utf8(byte) && !of_byte[byte]) {
            self.lacks = Some(Box::new(of_byte.map(|there| !there)));
        }
        Ok(())
    }

    /// The bytes of an id; none if there is no such id.
    pub(super) fn bytes_of(&self, id: u16) -> &[u8] {
        self.bytes.get(usize::from(id)).map_or(&[], Vec::as_slice)
    }

    #[inline(always)]
    fn first_place(&self, key: u32) -> usize {
        hash(key) >> 6 & (self.pairs.len() - 1)
    }

    /// What two ids merge to.
    #[inline(always)]
    fn merged(&self, left: u16, right: u16) -> u16 {
        let key = pair(left, right);
        let mut at = self.first_place(key);
        loop {
            let found = self.pairs[at];
            if found == key {
                return self.merged[at];
            }
            if found == NO_PAIR {
                return NONE;
            }
            at = (at + 1) & (self.pairs.len() - 1);
        }
    }

    /// Whether two ids side by side, each the encoding of its own bytes, are the encoding of their text as far as merges below `limit` go.
    /// Both are taken apart, the one that was made last first, and what then stands at the border must not have been merged before that.
    fn is_agreed(&self, left: u16, right: u16, limit: u32) -> bool {
        let (mut left, mut right, mut limit) = (left, right, limit);
        loop {
            if self.may_merge(left, right) {
                let merged = self.merged(left, right);
                if merged != NONE && u32::from(merged) < limit {
                    return false;
                }
            }
            let later = left.max(right);
            if later < self.first {
                return true;
            }
            let [first, second] = self.parts[usize::from(later)];
            if left > right {
                (left, limit) = (second, u32::from(later));
            } else {
                // Of merges of one rank the leftmost is first.
                (right, limit) = (first, u32::from(later) + 1);
            }
        }
    }

    /// Whether two ids may merge, which most do not; some are told to that do not either (Bloom 1970, with two bits of one word).
    #[inline(always)]
    fn may_merge(&self, left: u16, right: u16) -> bool {
        let (word, bits) = filtered(pair(left, right), self.filter.len());
        self.filter[word] & bits == bits
    }

    /// The same for all merges, remembered.
    #[inline(always)]
    fn agree(&self, left: u16, right: u16, agreed: &mut [u32]) -> bool {
        // A product with an odd number has another one for each pair: what is not the place tells pairs apart.
        let mixed = pair(left, right).wrapping_mul(0x9e37_79b1);
        let place = (mixed >> (32 - AGREED_BITS)) as usize & ((1 << AGREED_BITS) - 1);
        let rest = mixed & ((1 << (32 - AGREED_BITS)) - 1);
        let known = agreed[place];
        if known >> 1 == rest {
            return known & 1 == 1;
        }
        let agree = self.is_agreed(left, right, u32::MAX);
        agreed[place] = rest << 1 | u32::from(agree);
        agree
    }

    /// The ids of a word of at most [`NEAR`] bytes, and how many they are.
    pub(super) fn encode_near(
        &self,
        word: &[u8],
        scratch: &mut Scratch,
        ids: &mut [u16; NEAR],
    ) -> usize {
        let mut text = [0; NEAR + 1];
        let mut word = word;
        if let Some(lacks) = &self.lacks {
            let mut count = 0;
            for (byte, _) in word.iter().zip(0..NEAR) {
                text[count] = *byte;
                count += usize::from(!lacks[usize::from(*byte)]);
            }
            word = &text[..count];
        }
        let mut path = Near {
            ids,
            count: 0,
            dead: 0,
        };
        if !self.read(word, &mut path, &mut scratch.agreed) {
            scratch.lost = true;
        }
        path.count
    }

    /// Appends the ids of a word of any length.
    pub(super) fn encode_far(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u32>) {
        let mut text = std::mem::take(&mut scratch.text);
        let mut word = word;
        if let Some(lacks) = &self.lacks {
            text.clear();
            let there = word.iter().filter(|byte| !lacks[usize::from(**byte)]);
            text.extend(there);
            word = &text;
        }
        scratch.dead.clear();
        scratch.dead.resize(word.len() / 64 + 1, 0);
        let start = out.len();
        let mut path = Far {
            out,
            start,
            dead: &mut scratch.dead,
        };
        if !self.read(word, &mut path, &mut scratch.agreed) {
            scratch.lost = true;
        }
        scratch.text = text;
    }

    /// Reads a word to its end; false if there is no way, which only happens where the tables are wrong.
    #[inline(always)]
    fn read(&self, word: &[u8], path: &mut impl Path, agreed: &mut [u32]) -> bool {
        // Nothing follows on nothing.
        let (mut at, mut last, mut followed) = (0, NONE, 0);
        while at < word.len() {
            let mut first = kind(word[at]);
            let longest = self.trie.longest(&word[at..]);
            let (mut token, mut length) = (longest.id, usize::from(longest.bytes));
            if token == NONE {
                // Bytes without an id are taken out before.
                return false;
            }
            if length == 0 {
                length = self.length(token);
            }
            loop {
                // None is longer than the word has bytes left, since all begin the rest of it.
                let end = at + length;
                let is_apart = followed >> first & 1 == 0;
                if !path.is_dead(end) && (is_apart || self.agree(last, token, agreed)) {
                    path.push(token);
                    (at, last, followed) = (end, token, self.followed(token));
                    break;
                }
                token = self.shorter(token);
                while token == NONE {
                    path.kill(at);
                    let Some(before) = path.pop() else {
                        return false;
                    };
                    at -= self.length(before);
                    token = self.shorter(before);
                    last = path.last();
                    followed = self.followed(last);
                    first = kind(word[at]);
                }
                length = self.length(token);
            }
        }
        true
    }

    #[inline(always)]
    fn followed(&self, id: u16) -> u64 {
        let followed = self.followed.get(usize::from(id));
        followed.copied().unwrap_or_default()
    }

    fn length(&self, id: u16) -> usize {
        let token = self.tokens.get(usize::from(id));
        token.map_or(0, |token| usize::from(token.length))
    }

    fn shorter(&self, id: u16) -> u16 {
        let token = self.tokens.get(usize::from(id));
        token.map_or(NONE, |token| token.shorter)
    }
}

/// One of 64 kinds of bytes: each first byte of three is one by itself, of two are two each, others are sixteen kinds of each.
#[inline(always)]
fn kind(byte: u8) -> u32 {
    KINDS[usize::from(byte)]
}

static KINDS: [u32; 256] = {
    let (mut kinds, mut byte) = ([0; 256], 0u8);
    loop {
        kinds[byte as usize] = match byte {
            0..0x80 => byte as u32 & 15,
            0x80..0xc0 => 16 + (byte as u32 >> 2 & 15),
            0xc0..0xe0 => 32 + (byte as u32 >> 1 & 15),
            0xe0.. => 48 + (byte as u32 & 15),
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    kinds
};

#[inline(always)]
fn pair(left: u16, right: u16) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

/// The word of a filter of so many, and the bits in it.
#[inline(always)]
fn filtered(key: u32, words: usize) -> (usize, u64) {
    let mixed = hash(key);
    (
        mixed >> 12 & (words - 1),
        1 << (mixed & 63) | 1 << (mixed >> 6 & 63),
    )
}

/// The upper bits of a product are the well mixed ones.
#[inline(always)]
fn hash(key: u32) -> usize {
    (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize
}
