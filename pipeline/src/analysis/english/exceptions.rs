//! The exceptions to the rules ("don't", "e.g.", ":-)"), and what neighbouring tokens can become one.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use super::rules::Cutter;
use super::{MULTIPLIERS, hash, token};

/// Bytes of the longest exception; a test says so.
pub(super) const LONGEST: usize = 29;

/// Keys that are hashes are their own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own(u64);

impl Hasher for Own {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxhash_rust::xxh3::xxh3_64(bytes);
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

pub(super) type Build = BuildHasherDefault<Own>;

/// The tokens of an exception as the rules alone cut it, by hash, and its number.
pub(super) type Pattern = (Vec<u64>, u16);

/// The exceptions, and what neighbouring tokens can become one.
pub(super) struct Exceptions {
    /// Of each, the bytes at which its tokens end.
    ends: Vec<Vec<usize>>,
    /// By hash.
    numbers: HashMap<u64, u16, Build>,
    /// By the first two tokens: all tokens of those that the rules without exceptions cut, and the exception.
    pub(super) patterns: HashMap<(u64, u64), Vec<Pattern>>,
    /// A bit for each hash's highest sixteen bits: what is not here is neither an exception nor begins one.
    seen: Vec<u64>,
    /// Hashes of tokens that begin an exception.
    pub(super) begins: HashSet<u64, Build>,
    /// A bit for each of the pairs, as [`Exceptions::seen`].
    pairs: Vec<u64>,
    /// Every token of one ASCII character: its hash and facts.
    pub(super) ascii: Vec<(u64, u8)>,
    /// By first byte, a bit for each length.
    lengths: [u32; 256],
}

pub(super) static EXCEPTIONS: LazyLock<Exceptions> = LazyLock::new(|| {
    let mut exceptions = Exceptions {
        ends: Vec::new(),
        numbers: HashMap::default(),
        patterns: HashMap::new(),
        seen: vec![0; 1 << 10],
        begins: HashSet::default(),
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
        exceptions.numbers.insert(whole, number);
        exceptions.see(whole);
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
            exceptions.see(first);
            exceptions.begins.insert(first);
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
    fn see(&mut self, hash: u64) {
        self.seen[(hash >> 54) as usize] |= 1 << (hash >> 48 & 63);
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
        self.may_know(hash)
            .then(|| self.numbers.get(&hash).copied())
            .flatten()
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
