//! The words and labels of a model, and the rows of the input matrix that a text picks.
//!
//! fastText's `dictionary.cc`: words are found by their bytes; a word's pieces and the n-grams of words are hashed into
//! buckets; a model that was pruned keeps some of the buckets. Its hash is FNV-1a over bytes that are taken as signed: above
//! 127 a byte flips all upper bits.

use super::{Arguments, Scratch};

/// What a label begins with. The file does not say; this is fastText's default.
pub(super) const PREFIX: &str = "__label__";
/// The word at the end of a line.
pub(super) const END_OF_LINE: &[u8] = b"</s>";
/// The most entries of precomputed pieces; models with more compute them when words come.
const MOST_PIECES: usize = 1 << 25;
/// No row.
const NOWHERE: u32 = u32::MAX;

/// What an entry of the dictionary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Label,
}

/// Words, then labels.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dictionary {
    /// All names, one after another.
    names: Vec<u8>,
    /// Where each name ends.
    ends: Vec<usize>,
    pub(super) counts: Vec<i64>,
    kinds: Vec<Kind>,
    words: usize,
    pub(super) tokens: i64,
    /// Entries by hash: an open table of entry + 1, whose size is a power of two.
    slots: Vec<u32>,
    /// Which buckets are left, in a pruned model: sorted, with the number of each row after the words.
    pub(super) kept: Option<Vec<(u32, u32)>>,
    /// Pieces of each word: where they end in `pieces`. Empty where they are computed when words come.
    piece_ends: Vec<usize>,
    pieces: Vec<u32>,
}

/// FNV-1a, 32 bits, of bytes taken as signed, as fastText has it.
pub(super) fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash: u32, byte| {
        let signed = i32::from(byte.cast_signed()).cast_unsigned();
        (hash ^ signed).wrapping_mul(16_777_619)
    })
}

impl Dictionary {
    pub(super) fn new(
        entries: Vec<(Vec<u8>, i64, Kind)>,
        tokens: i64,
        kept: Option<Vec<(u32, u32)>>,
        arguments: &Arguments,
    ) -> Self {
        let mut dictionary = Self {
            names: Vec::new(),
            ends: Vec::new(),
            counts: Vec::new(),
            kinds: Vec::new(),
            words: entries.iter().filter(|entry| entry.2 == Kind::Word).count(),
            tokens,
            slots: vec![0; (entries.len() * 2 + 1).next_power_of_two()],
            kept,
            piece_ends: Vec::new(),
            pieces: Vec::new(),
        };
        for (number, (name, count, kind)) in (1u32..).zip(entries) {
            let mut slot = dictionary.slot(hash(&name));
            while dictionary.slots[slot] != 0 {
                slot = (slot + 1) & (dictionary.slots.len() - 1);
            }
            dictionary.slots[slot] = number;
            dictionary.names.extend_from_slice(&name);
            dictionary.ends.push(dictionary.names.len());
            dictionary.counts.push(count);
            dictionary.kinds.push(kind);
        }
        dictionary.cut_words(arguments);
        dictionary
    }

    /// Precomputes the pieces of all words, if they are not too many.
    fn cut_words(&mut self, arguments: &Arguments) {
        if arguments.maxn <= 0 {
            return;
        }
        let mut pieces = Vec::new();
        let mut ends = Vec::new();
        let mut word = Vec::new();
        for number in 0..self.words {
            if self.name(number) != END_OF_LINE {
                enclose(&mut word, self.name(number));
                self.cut(&word, arguments, &mut pieces);
            }
            if pieces.len() > MOST_PIECES {
                return;
            }
            ends.push(pieces.len());
        }
        (self.pieces, self.piece_ends) = (pieces, ends);
    }

    fn slot(&self, hash: u32) -> usize {
        // The table has as many slots as a mask has ones; the upper bits of a multiplicative hash are its best.
        (hash as usize).wrapping_mul(0x9e37_79b9) >> 7 & (self.slots.len() - 1)
    }

    fn find(&self, name: &[u8], hash: u32) -> Option<usize> {
        let mut slot = self.slot(hash);
        loop {
            let entry = (*self.slots.get(slot)? as usize).checked_sub(1)?;
            if self.name(entry) == name {
                return Some(entry);
            }
            slot = (slot + 1) & (self.slots.len() - 1);
        }
    }

    pub(super) fn name(&self, entry: usize) -> &[u8] {
        let start = match entry.checked_sub(1) {
            Some(before) => self.ends.get(before).copied().unwrap_or(0),
            None => 0,
        };
        let end = self.ends.get(entry).copied().unwrap_or(start);
        self.names.get(start..end).unwrap_or(&[])
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn words(&self) -> usize {
        self.words
    }

    pub(super) fn labels(&self) -> usize {
        self.len() - self.words
    }

    pub(super) fn kind(&self, entry: usize) -> Kind {
        self.kinds[entry]
    }

    /// A label with its prefix; empty if it is none, or no text.
    pub(super) fn label(&self, label: usize) -> &str {
        std::str::from_utf8(self.name(self.words + label)).unwrap_or("")
    }

    /// The rows that a text picks, into `scratch.rows`.
    pub(super) fn rows(&self, text: &str, arguments: &Arguments, scratch: &mut Scratch) {
        scratch.rows.clear();
        scratch.hashes.clear();
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0);
        let words = text.as_bytes().split(is_space);
        // Written out in a text, the end-of-line word ends the line for fastText.
        for word in words.take_while(|word| *word != END_OF_LINE) {
            if !word.is_empty() {
                self.add(word, arguments, scratch);
            }
        }
        self.add(END_OF_LINE, arguments, scratch);
        self.add_word_ngrams(arguments, scratch);
    }

    fn add(&self, word: &[u8], arguments: &Arguments, scratch: &mut Scratch) {
        let hash = hash(word);
        let entry = self.find(word, hash);
        let is_label = match entry {
            Some(entry) => self.kinds.get(entry) == Some(&Kind::Label),
            None => word.starts_with(PREFIX.as_bytes()),
        };
        if is_label {
            return;
        }
        scratch.hashes.push(hash);
        if let Some(entry) = entry {
            scratch.rows.push(u32::try_from(entry).unwrap_or(NOWHERE));
        }
        if arguments.maxn <= 0 || word == END_OF_LINE {
            return;
        }
        match entry.and_then(|entry| Some((entry, *self.piece_ends.get(entry)?))) {
            Some((entry, end)) => {
                let before = entry
                    .checked_sub(1)
                    .and_then(|before| self.piece_ends.get(before));
                let start = before.copied().unwrap_or(0);
                scratch
                    .rows
                    .extend_from_slice(self.pieces.get(start..end).unwrap_or(&[]));
            }
            None => {
                enclose(&mut scratch.word, word);
                self.cut(&scratch.word, arguments, &mut scratch.rows);
            }
        }
    }

    /// The rows of the pieces of a word that stands between `<` and `>`.
    fn cut(&self, word: &[u8], arguments: &Arguments, rows: &mut Vec<u32>) {
        let continues = |at: usize| word.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
        for start in 0..word.len() {
            if continues(start) {
                continue;
            }
            let mut end = start;
            let mut sum = 2_166_136_261u32;
            let mut characters = 1;
            while end < word.len() && characters <= arguments.maxn {
                loop {
                    let signed = i32::from(word[end].cast_signed()).cast_unsigned();
                    sum = (sum ^ signed).wrapping_mul(16_777_619);
                    end += 1;
                    if !continues(end) {
                        break;
                    }
                }
                let is_edge = characters == 1 && (start == 0 || end == word.len());
                if characters >= arguments.minn && !is_edge {
                    rows.extend(self.bucket(u64::from(sum), arguments));
                }
                characters += 1;
            }
        }
    }

    /// The rows of the n-grams of two words and more.
    fn add_word_ngrams(&self, arguments: &Arguments, scratch: &mut Scratch) {
        let most = usize::try_from(arguments.word_ngrams).unwrap_or(1);
        // fastText keeps hashes of words as signed numbers of 32 bits.
        let widen = |hash: u32| i64::from(hash.cast_signed()).cast_unsigned();
        for start in 0..scratch.hashes.len() {
            let mut sum = widen(scratch.hashes[start]);
            let after = start.saturating_add(most).min(scratch.hashes.len());
            for hash in scratch.hashes.get(start + 1..after).unwrap_or(&[]) {
                sum = sum.wrapping_mul(116_049_371).wrapping_add(widen(*hash));
                scratch.rows.extend(self.bucket(sum, arguments));
            }
        }
    }

    /// The row of a hash, if its bucket is there.
    fn bucket(&self, hash: u64, arguments: &Arguments) -> Option<u32> {
        let buckets = u64::try_from(arguments.bucket)
            .ok()
            .filter(|buckets| *buckets > 0)?;
        let bucket = u32::try_from(hash % buckets).ok()?;
        let row = match &self.kept {
            None => bucket,
            Some(kept) => kept[kept.binary_search_by_key(&bucket, |kept| kept.0).ok()?].1,
        };
        u32::try_from(self.words).ok()?.checked_add(row)
    }
}

fn enclose(to: &mut Vec<u8>, word: &[u8]) {
    to.clear();
    to.push(b'<');
    to.extend_from_slice(word);
    to.push(b'>');
}
