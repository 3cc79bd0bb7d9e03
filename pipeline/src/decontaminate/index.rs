//! The n-grams of all items of the evaluation sets, and finding them in a text.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use xxhash_rust::xxh3::xxh3_128;

use super::options::DecontaminateOptions;
use super::words::{Word, for_each_word, push_letters};

/// More words than an n-gram can have; a power of two.
const RING: usize = 128;
const BASE: u64 = 0x9fb2_1c65_1e98_df25;

/// An evaluation set, as far as it is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its items.
    pub items: u64,
    /// Those that are looked for; the others have too few words.
    pub sought: u64,
}

/// Something of an item in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The item's number in the index.
    pub item: u32,
    /// The first byte of the text that it is in.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
    /// n-grams that matched there; 1 for a short item found whole.
    pub matches: u32,
}

/// The sets are larger than an index can number: more than 4.29 billion items, words or bytes of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the evaluation sets have more than 4 GB of text: name fewer of them in `against`")]
pub struct TooLarge;

/// An item of a set.
#[derive(Debug)]
struct Item {
    set: u32,
    id: String,
    /// n-grams that are looked for.
    grams: usize,
}

/// A text of an item: a stretch of all words.
#[derive(Debug, Clone, Copy)]
struct Piece {
    item: u32,
    first: u32,
    words: u32,
}

/// An n-gram, or the beginning of a short text: its piece, and its first word among all words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Posting {
    piece: u32,
    word: u32,
}

/// The words of all pieces, in lower case.
#[derive(Debug, Default)]
struct Words {
    /// Each followed by a space.
    letters: String,
    /// Where each begins, and the end.
    starts: Vec<u32>,
}

impl Words {
    fn range(&self, first: u32, words: u32) -> &str {
        let at = |word: u32| self.starts[word as usize] as usize;
        // Without the last space.
        &self.letters[at(first)..at(first + words) - 1]
    }
}

/// Bits that say of most hashes that they are none of the keys (Bloom 1970), three of a key in one word of memory (Putze,
/// Sanders and Singler 2007). With so many bits a key, one in 200 others is not told from them.
#[derive(Debug)]
struct Filter(Vec<u64>);

impl Filter {
    const BITS_PER_KEY: usize = 24;

    fn new(keys: &[u64]) -> Self {
        let mut filter = Self(vec![
            0;
            (keys.len() * Self::BITS_PER_KEY).div_ceil(64).max(1)
        ]);
        for key in keys {
            let (at, bits) = filter.place(*key);
            filter.0[at] |= bits;
        }
        filter
    }

    /// By the highest bits of a hash the word of memory, and by the lowest the bits in it.
    #[inline]
    fn place(&self, hash: u64) -> (usize, u64) {
        let at = (u128::from(hash) * self.0.len() as u128) >> 64;
        let bits = 1 << (hash & 63) | 1 << (hash >> 6 & 63) | 1 << (hash >> 12 & 63);
        // It is less than the number of words.
        (usize::try_from(at).unwrap_or(0), bits)
    }

    #[inline]
    fn may_have(&self, hash: u64) -> bool {
        let (at, bits) = self.place(hash);
        self.0[at] & bits == bits
    }
}

/// Postings by hash.
#[derive(Debug, Default)]
struct Table {
    slots: Vec<(u64, u32, u32)>,
    postings: Vec<Posting>,
}

impl Table {
    /// `sorted` is by hash.
    fn new(sorted: &[(u64, Posting)]) -> Result<Self, TooLarge> {
        if sorted.is_empty() {
            return Ok(Self::default());
        }
        let runs = || sorted.chunk_by(|a, b| a.0 == b.0);
        let size = (runs().count() * 2).next_power_of_two();
        let mut table = Self {
            slots: vec![(0, 0, 0); size],
            postings: sorted.iter().map(|(_, posting)| *posting).collect(),
        };
        let mut start = 0u32;
        for run in runs() {
            let hash = run[0].0;
            let mut slot = slot(hash, size);
            while table.slots[slot].2 != 0 {
                slot = (slot + 1) % size;
            }
            let length = u32::try_from(run.len()).map_err(|_| TooLarge)?;
            table.slots[slot] = (hash, start, length);
            start = start.checked_add(length).ok_or(TooLarge)?;
        }
        Ok(table)
    }

    fn get(&self, hash: u64) -> &[Posting] {
        let size = self.slots.len();
        if size == 0 {
            return &[];
        }
        let mut at = slot(hash, size);
        loop {
            let (found, start, length) = self.slots[at];
            if length == 0 {
                return &[];
            }
            if found == hash {
                return &self.postings[start as usize..(start + length) as usize];
            }
            at = (at + 1) % size;
        }
    }
}

/// `size` is a power of two.
fn slot(hash: u64, size: usize) -> usize {
    usize::try_from(hash & (size as u64 - 1)).unwrap_or(0)
}

/// The hash of all words of a text up to one, from that of those before it (Karp and Rabin 1987).
#[inline]
fn sum(before: u64, word: u64) -> u64 {
    before.wrapping_mul(BASE).wrapping_add(word)
}

/// So many words in a row, whose hash is that of the difference of two sums.
#[derive(Debug, Clone, Copy)]
struct Window {
    words: usize,
    /// `BASE` to the power of `words`.
    power: u64,
}

impl Window {
    fn new(words: usize) -> Self {
        Self {
            words,
            power: (0..words).fold(1u64, |power, _| power.wrapping_mul(BASE)),
        }
    }

    /// From the sum with its last word, and the one with the word before its first.
    #[inline]
    fn hash(self, last: u64, before: u64) -> u64 {
        let sum = last.wrapping_sub(before.wrapping_mul(self.power));
        let hash = (sum ^ sum >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash ^ hash >> 32
    }

    /// Of the words that have these hashes.
    fn hash_of(self, words: &[u64]) -> u64 {
        self.hash(words.iter().fold(0, |before, word| sum(before, *word)), 0)
    }
}

/// The last words of a text.
struct Last {
    words: [Word; RING],
    /// That of the first `count` words, at `count`; 0 before.
    sums: [u64; RING],
    count: usize,
}

impl Last {
    fn new() -> Self {
        let none = Word {
            start: 0,
            end: 0,
            hash: 0,
        };
        Self {
            words: [none; RING],
            sums: [0; RING],
            count: 0,
        }
    }

    /// The word that is `back` words before the last one.
    fn get(&self, back: usize) -> Word {
        self.words[(self.count - 1 - back) % RING]
    }

    #[inline]
    fn push(&mut self, word: Word) {
        let before = self.sums[self.count % RING];
        self.words[self.count % RING] = word;
        self.count += 1;
        self.sums[self.count % RING] = sum(before, word.hash);
    }

    /// The hash of the last words, if there are as many.
    #[inline]
    fn hash(&self, window: Window) -> u64 {
        let before = self.count.wrapping_sub(window.words) % RING;
        window.hash(self.sums[self.count % RING], self.sums[before])
    }
}

/// Makes an [`Index`], item by item.
#[derive(Debug)]
pub struct Builder {
    options: DecontaminateOptions,
    sets: Vec<Set>,
    items: Vec<Item>,
    pieces: Vec<Piece>,
    words: Words,
    /// The hash of each word.
    hashes: Vec<u64>,
    /// Pieces that are there, by set and hash of their letters.
    known: HashSet<(u32, u128)>,
    grams: Vec<(u64, Posting)>,
    shorts: Vec<(u64, Posting)>,
}

impl Builder {
    /// `options` have no faults.
    #[must_use]
    pub fn new(options: &DecontaminateOptions) -> Self {
        let mut options = options.clone();
        // Whatever is asked for fits the ring.
        options.n = options.n.clamp(1, RING - 1);
        options.min_item_words = options.min_item_words.clamp(1, options.n);
        Self {
            options,
            sets: Vec::new(),
            items: Vec::new(),
            pieces: Vec::new(),
            words: Words {
                letters: String::new(),
                starts: vec![0],
            },
            hashes: Vec::new(),
            known: HashSet::new(),
            grams: Vec::new(),
            shorts: Vec::new(),
        }
    }

    /// Begins a set; the items that follow are its.
    pub fn set(&mut self, name: &str) {
        self.sets.push(Set {
            name: name.to_owned(),
            items: 0,
            sought: 0,
        });
    }

    /// Adds an item: its fields, and all of it as it is asked. A field that an earlier item of the set has too, such as a
    /// passage, is known by that item.
    ///
    /// # Errors
    /// The sets are too large.
    pub fn item(
        &mut self,
        id: String,
        fields: &[&str],
        whole: Option<&str>,
    ) -> Result<(), TooLarge> {
        let set = u32::try_from(self.sets.len().saturating_sub(1)).map_err(|_| TooLarge)?;
        let number = u32::try_from(self.items.len()).map_err(|_| TooLarge)?;
        self.items.push(Item { set, id, grams: 0 });
        let mut own = HashSet::new();
        let mut sought = false;
        for field in fields {
            sought |= self.piece(number, set, field, &mut own, false)?;
        }
        if let Some(whole) = whole {
            sought |= self.piece(number, set, whole, &mut own, true)?;
        }
        if let Some(of) = self.sets.last_mut() {
            of.items += 1;
            of.sought += u64::from(sought);
        }
        Ok(())
    }

    /// Whether the piece is looked for. `own` are the n-grams of the item's fields; of the whole item only others are new.
    fn piece(
        &mut self,
        item: u32,
        set: u32,
        text: &str,
        own: &mut HashSet<u64>,
        whole: bool,
    ) -> Result<bool, TooLarge> {
        let (n, least) = (self.options.n, self.options.min_item_words);
        let first = self.words.starts.len() - 1;
        let before = self.words.letters.len();
        for_each_word(text, |word| {
            push_letters(text, word, &mut self.words.letters);
            self.words.letters.push(' ');
            // One that does not fit any more is told below.
            self.words
                .starts
                .push(u32::try_from(self.words.letters.len()).unwrap_or(u32::MAX));
            self.hashes.push(word.hash);
            true
        });
        u32::try_from(self.words.letters.len()).map_err(|_| TooLarge)?;
        u32::try_from(self.words.starts.len()).map_err(|_| TooLarge)?;
        let key = (set, xxh3_128(&self.words.letters.as_bytes()[before..]));
        let count = self.hashes.len() - first;
        if count < least || !self.known.insert(key) {
            self.words.starts.truncate(first + 1);
            self.words.letters.truncate(before);
            self.hashes.truncate(first);
            return Ok(count >= least);
        }
        let number = u32::try_from(self.pieces.len()).map_err(|_| TooLarge)?;
        let piece = Piece {
            item,
            first: u32::try_from(first).map_err(|_| TooLarge)?,
            words: u32::try_from(count).map_err(|_| TooLarge)?,
        };
        self.pieces.push(piece);
        let short = count < n;
        let window = Window::new(if short { least } else { n });
        for (word, words) in (piece.first..).zip(self.hashes[first..].windows(window.words)) {
            let gram = window.hash_of(words);
            let posting = Posting {
                piece: number,
                word,
            };
            if short {
                self.shorts.push((gram, posting));
                break;
            }
            if !whole {
                own.insert(gram);
            }
            if !(whole && own.contains(&gram)) {
                self.grams.push((gram, posting));
            }
        }
        Ok(true)
    }

    /// The index.
    ///
    /// # Errors
    /// The sets are too large.
    pub fn build(mut self) -> Result<Index, TooLarge> {
        self.grams.sort_unstable();
        self.shorts.sort_unstable();
        // Of an n-gram that a text has several times, the first is enough.
        self.grams
            .dedup_by(|b, a| a.0 == b.0 && a.1.piece == b.1.piece);
        let most = self.options.max_items;
        let mut has_own = vec![false; self.items.len()];
        let pieces = &self.pieces;
        let item = |posting: &Posting| pieces[posting.piece as usize].item as usize;
        for (_, posting) in &self.shorts {
            has_own[item(posting)] = true;
        }
        for run in self.grams.chunk_by(|a, b| a.0 == b.0) {
            if run.len() <= most {
                run.iter().for_each(|(_, p)| has_own[item(p)] = true);
            }
        }
        let mut kept: Vec<(u64, Posting)> = Vec::with_capacity(self.grams.len());
        for run in self.grams.chunk_by(|a, b| a.0 == b.0) {
            if run.len() <= most {
                kept.extend(run);
            } else {
                let only = run.iter().filter(|(_, p)| !has_own[item(p)]);
                kept.extend(only.take(most));
            }
        }
        let mut grams = vec![0usize; self.items.len()];
        kept.iter().for_each(|(_, p)| grams[item(p)] += 1);
        for (item, grams) in self.items.iter_mut().zip(grams) {
            item.grams = grams;
        }
        // A document is asked once a word for the last words of what is looked for: with short texts as many as begin them.
        let n = self.options.n;
        let last = Window::new(match self.shorts.is_empty() {
            true => n,
            false => self.options.min_item_words,
        });
        let of_long = kept.iter().map(|(_, posting)| {
            let end = posting.word as usize + n;
            last.hash_of(&self.hashes[end - last.words..end])
        });
        let of_short = self.shorts.iter().map(|(hash, _)| *hash);
        let keys: Vec<u64> = of_long.chain(of_short).collect();
        Ok(Index {
            last,
            filter: Filter::new(&keys),
            long: Table::new(&kept)?,
            short: Table::new(&self.shorts)?,
            options: self.options,
            sets: self.sets,
            items: self.items,
            pieces: self.pieces,
            words: self.words,
        })
    }
}

/// What is looked for.
#[derive(Debug)]
pub struct Index {
    options: DecontaminateOptions,
    sets: Vec<Set>,
    items: Vec<Item>,
    pieces: Vec<Piece>,
    words: Words,
    /// The last words of all that is looked for.
    last: Window,
    filter: Filter,
    long: Table,
    short: Table,
}

/// What a text has of one item.
#[derive(Default)]
struct Matched {
    runs: Vec<Run>,
    /// Its n-grams that were found, by their first words.
    grams: BTreeSet<u32>,
    /// Whether it is a short one, found whole.
    whole: bool,
}

struct Run {
    start: usize,
    end: usize,
    last_word: usize,
    matches: u32,
}

impl Index {
    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &DecontaminateOptions {
        &self.options
    }

    /// The evaluation sets, in the order of `against`.
    #[must_use]
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// The set of an item, and the item's id.
    #[must_use]
    pub fn item(&self, item: u32) -> (&str, &str) {
        let item = &self.items[item as usize];
        (&self.sets[item.set as usize].name, &item.id)
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.long.slots.is_empty() && self.short.slots.is_empty()
    }

    /// What a text has of the items, by place: one entry for each stretch that has words of one item, with fewer words
    /// between than an n-gram has.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Found> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut last = Last::new();
        let mut matched: BTreeMap<u32, Matched> = BTreeMap::new();
        for_each_word(text, |word| {
            last.push(word);
            if self.filter.may_have(last.hash(self.last)) {
                self.match_last(text, &last, &mut matched);
            }
            true
        });
        let mut found = Vec::new();
        for (item, matched) in matched {
            let needed = self.options.min_matches;
            let needed = needed.min(self.items[item as usize].grams);
            if matched.whole || matched.grams.len() >= needed {
                found.extend(matched.runs.into_iter().map(|run| Found {
                    item,
                    start: run.start,
                    end: run.end,
                    matches: run.matches,
                }));
            }
        }
        found.sort_by_key(|found| (found.start, found.end, found.item));
        found
    }

    /// Adds what ends with the last word.
    #[cold]
    fn match_last(&self, text: &str, last: &Last, matched: &mut BTreeMap<u32, Matched>) {
        if last.count >= self.options.n {
            self.match_long(text, last, matched);
        }
        if last.count >= self.options.min_item_words {
            self.match_short(text, last, matched);
        }
    }

    fn match_long(&self, text: &str, last: &Last, matched: &mut BTreeMap<u32, Matched>) {
        let n = self.options.n;
        let hash = last.hash(Window::new(n));
        let mut letters = String::new();
        for posting in self.long.get(hash) {
            if letters.is_empty() {
                for back in (0..n).rev() {
                    push_letters(text, last.get(back), &mut letters);
                    letters.push(' ');
                }
                letters.pop();
            }
            let words = u32::try_from(n).unwrap_or(u32::MAX);
            if self.words.range(posting.word, words) != letters {
                continue;
            }
            let item = self.pieces[posting.piece as usize].item;
            let of_item = matched.entry(item).or_default();
            of_item.grams.insert(posting.word);
            let (start, end) = (last.get(n - 1).start, last.get(0).end);
            of_item.add(start, end, last.count - n, last.count - 1, n);
        }
    }

    fn match_short(&self, text: &str, last: &Last, matched: &mut BTreeMap<u32, Matched>) {
        let least = self.options.min_item_words;
        let hash = last.hash(Window::new(least));
        let start = last.get(least - 1).start;
        for posting in self.short.get(hash) {
            let piece = self.pieces[posting.piece as usize];
            let mut letters = String::new();
            let (mut count, mut end) = (0, start);
            for_each_word(&text[start..], |word| {
                push_letters(&text[start..], word, &mut letters);
                letters.push(' ');
                count += 1;
                end = start + word.end;
                count < piece.words
            });
            letters.pop();
            if count < piece.words || self.words.range(piece.first, piece.words) != letters {
                continue;
            }
            let of_item = matched.entry(piece.item).or_default();
            of_item.whole = true;
            let first = last.count - least;
            let last_word = first + piece.words as usize - 1;
            of_item.add(start, end, first, last_word, self.options.n);
        }
    }
}

impl Matched {
    /// Adds a stretch of a text, whose first and last words have these numbers; one that begins fewer than `n` words after
    /// the run before goes on with it.
    fn add(&mut self, start: usize, end: usize, first_word: usize, last_word: usize, n: usize) {
        match self.runs.last_mut() {
            Some(run) if first_word < run.last_word + n => {
                run.start = run.start.min(start);
                run.end = run.end.max(end);
                run.last_word = run.last_word.max(last_word);
                run.matches = run.matches.saturating_add(1);
            }
            _ => self.runs.push(Run {
                start,
                end,
                last_word,
                matches: 1,
            }),
        }
    }
}
