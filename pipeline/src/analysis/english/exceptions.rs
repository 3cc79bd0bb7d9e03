//! The exceptions to the rules ("don't", "e.g.", ":-)"), and what neighbouring tokens can become one.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::rules::Cutter;
use super::{MULTIPLIERS, fact, hash, token};

/// Bytes of the longest exception; a test says so.
pub(super) const LONGEST: usize = 29;

/// The tokens of an exception as the rules alone cut it, by hash, and its number.
pub(super) type Pattern = (Vec<u64>, u16);

/// The exceptions, and what neighbouring tokens can become one.
pub(super) struct Exceptions {
    /// Of each, the bytes at which its tokens end.
    ends: Vec<Vec<usize>>,
    /// What is known of hashes, each at the first place from its own on that was free: its number, counted from 1, or 0
    /// for one that only begins an exception.
    known: Vec<Known>,
    /// By the first two tokens: all tokens of those that the rules without exceptions cut, and the exception.
    pub(super) patterns: HashMap<(u64, u64), Vec<Pattern>>,
    /// A bit for each hash's highest sixteen bits: what is not here is neither an exception nor begins one.
    seen: Vec<u64>,
    /// A bit for each of the pairs, as [`Exceptions::seen`].
    pairs: Vec<u64>,
    /// Every token of one ASCII character: its hash and facts.
    pub(super) ascii: Vec<(u64, u8)>,
    /// By first byte, a bit for each length.
    lengths: [u32; 256],
}

/// What a hash means.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    hash: u64,
    number: u16,
    begins: u8,
}

impl Known {
    fn is_taken(&self) -> bool {
        self.number > 0 || self.begins > 0
    }
}

/// Places for what is known, some three times as many as are taken.
const KNOWN: usize = 1 << 12;

/// A hash's own place.
#[inline(always)]
fn place(hash: u64) -> usize {
    (hash >> 20) as usize % KNOWN
}

pub(super) static EXCEPTIONS: LazyLock<Exceptions> = LazyLock::new(|| {
    let mut exceptions = Exceptions {
        ends: Vec::new(),
        known: vec![Known::default(); KNOWN],
        patterns: HashMap::new(),
        seen: vec![0; 1 << 10],
        pairs: vec![0; 1 << 10],
        ascii: Vec::new(),
        lengths: [0; 256],
    };
    let mut cutter = Cutter::default();
    for (number, line) in (0_u16..).zip(include_str!("exceptions.txt").lines()) {
        let text = line.replace('\u{1f}', "");
        let mut end = 0;
        exceptions.ends.push(
            line.split('\u{1f}')
                .map(|token| {
                    end += token.len();
                    end
                })
                .collect(),
        );
        let whole = hash(text.as_bytes(), 0, text.len());
        exceptions.know(whole).number = number + 1;
        if let Some(first) = text.bytes().next() {
            exceptions.lengths[usize::from(first)] |= 1 << text.len();
        }
        // What is cut by no rule is found chunk by chunk.
        cutter.cut(&text, None);
        let mut start = 0;
        let tokens: Vec<u64> = cutter
            .ends
            .iter()
            .map(|&end| hash(text.as_bytes(), std::mem::replace(&mut start, end), end))
            .collect();
        if let [first, second, ..] = tokens[..] {
            exceptions.know(first).begins = fact::BEGINS;
            let pair = pair(first, second);
            exceptions.pairs[(pair >> 54) as usize] |= 1 << (pair >> 48 & 63);
            exceptions
                .patterns
                .entry((first, second))
                .or_default()
                .push((tokens, number));
        }
    }
    for code in 0..0x80_u8 {
        let text = char::from(code).to_string();
        let token = token(&text, 0, 1, 0, &exceptions);
        exceptions.ascii.push((token.hash, token.facts));
    }
    exceptions
});

/// One number for two neighbours.
#[inline(always)]
fn pair(first: u64, second: u64) -> u64 {
    (first ^ second.rotate_left(23)).wrapping_mul(MULTIPLIERS[1])
}

impl Exceptions {
    /// What is known of a hash, from now on.
    fn know(&mut self, hash: u64) -> &mut Known {
        self.seen[(hash >> 54) as usize] |= 1 << (hash >> 48 & 63);
        let mut place = place(hash);
        while self.known[place].is_taken() && self.known[place].hash != hash {
            place = (place + 1) % KNOWN;
        }
        self.known[place].hash = hash;
        &mut self.known[place]
    }

    /// The exception of a hash, and [`fact::BEGINS`] if one begins with it.
    #[inline]
    pub(super) fn known(&self, hash: u64) -> (Option<u16>, u8) {
        if !self.may_know(hash) {
            return (None, 0);
        }
        let mut place = place(hash);
        while self.known[place].is_taken() {
            let known = self.known[place];
            if known.hash == hash {
                return (known.number.checked_sub(1), known.begins);
            }
            place = (place + 1) % KNOWN;
        }
        (None, 0)
    }

    /// Whether a hash may be of an exception or of what begins one: nearly no other is.
    #[inline(always)]
    pub(super) fn may_know(&self, hash: u64) -> bool {
        self.seen[(hash >> 54) as usize] >> (hash >> 48 & 63) & 1 == 1
    }

    /// Whether two neighbours may begin an exception.
    #[inline(always)]
    pub(super) fn may_join(&self, first: u64, second: u64) -> bool {
        let pair = pair(first, second);
        self.pairs[(pair >> 54) as usize] >> (pair >> 48 & 63) & 1 == 1
            && self.patterns.contains_key(&(first, second))
    }

    #[inline]
    pub(super) fn number(&self, hash: u64) -> Option<u16> {
        self.known(hash).0
    }

    #[inline]
    pub(super) fn number_of(&self, text: &str) -> Option<u16> {
        let bytes = text.as_bytes();
        let first = usize::from(*bytes.first()?);
        if bytes.len() > LONGEST || self.lengths[first] >> bytes.len() & 1 == 0 {
            return None;
        }
        self.number(hash(bytes, 0, bytes.len()))
    }

    pub(super) fn ends(&self, number: u16) -> &[usize] {
        &self.ends[usize::from(number)]
    }
}
