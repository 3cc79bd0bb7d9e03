//! Words that were seen, with their ids: most words of a text are in it. Its size is fixed; what is forgotten is encoded again.

use super::merge::{Merges, Scratch};

/// Ids of a word of at most 16 bytes that are remembered.
const SHORT_IDS: usize = 6;
/// Pairs of places for words of at most 16 bytes: 4 MiB.
const SHORT_SETS: usize = 1 << 16;
/// Bytes of a longer word that is remembered.
const LONG_BYTES: usize = 64;
/// Ids of a longer word that are remembered.
const LONG_IDS: usize = 15;
/// Places for longer words: 1.5 MiB.
const LONG_PLACES: usize = 1 << 14;
/// Ids that are gathered before they go to their vector.
const GATHERED: usize = 1024;

/// A word of at most 16 bytes: they, followed by zeros, are the key.
#[derive(Clone, Copy, Default)]
struct Short {
    key: u128,
    ids: [u16; SHORT_IDS],
    count: u8,
    /// 0 in an empty place.
    length: u8,
}

/// A word of 17 to 64 bytes.
#[derive(Clone, Copy)]
struct Long {
    bytes: [u8; LONG_BYTES],
    ids: [u16; LONG_IDS],
    count: u8,
    length: u8,
}

/// What one thread remembers, and where it gathers ids.
pub(super) struct Cache {
    short: Vec<[Short; 2]>,
    long: Vec<Long>,
    scratch: Scratch,
    made: Vec<u16>,
    gathered: [u32; GATHERED],
    count: usize,
}

impl Cache {
    pub(super) fn new() -> Self {
        let empty = Long {
            bytes: [0; LONG_BYTES],
            ids: [0; LONG_IDS],
            count: 0,
            length: 0,
        };
        Self {
            short: vec![[Short::default(); 2]; SHORT_SETS],
            long: vec![empty; LONG_PLACES],
            scratch: Scratch::new(),
            made: Vec::new(),
            gathered: [0; GATHERED],
            count: 0,
        }
    }

    /// Forgets ids that were gathered for a text that was given up.
    pub(super) fn begin(&mut self) {
        self.count = 0;
    }

    /// Appends what is gathered.
    pub(super) fn flush(&mut self, out: &mut Vec<u32>) {
        out.extend_from_slice(self.gathered.get(..self.count).unwrap_or_default());
        self.count = 0;
    }

    /// Appends an id.
    pub(super) fn push(&mut self, id: u16, out: &mut Vec<u32>) {
        if self.count >= GATHERED {
            self.flush(out);
        }
        self.gathered[self.count] = u32::from(id);
        self.count += 1;
    }

    /// Appends the ids of a word of 1 to 16 bytes, whose bytes, followed by zeros, are `key`.
    #[inline(always)]
    pub(super) fn short(&mut self, merges: &Merges, key: u128, length: usize, out: &mut Vec<u32>) {
        let set = spread(key, length) & (SHORT_SETS - 1);
        for place in &self.short[set] {
            if place.key == key && usize::from(place.length) == length {
                if self.count > GATHERED - SHORT_IDS {
                    out.extend_from_slice(&self.gathered[..self.count]);
                    self.count = 0;
                }
                // All places, of which the next word overwrites those too many: shorter than a loop over the right number.
                let room = &mut self.gathered[self.count..self.count + SHORT_IDS];
                for (room, id) in room.iter_mut().zip(place.ids) {
                    *room = u32::from(id);
                }
                self.count += usize::from(place.count);
                return;
            }
        }
        self.new_short(merges, key, length, set, out);
    }

    #[inline(never)]
    fn new_short(
        &mut self,
        merges: &Merges,
        key: u128,
        length: usize,
        set: usize,
        out: &mut Vec<u32>,
    ) {
        let bytes = key.to_le_bytes();
        let word = bytes.get(..length).unwrap_or_default();
        self.made.clear();
        merges.encode(word, &mut self.scratch, &mut self.made);
        if let (Ok(count @ 0..=6), Ok(length)) =
            (u8::try_from(self.made.len()), u8::try_from(length))
        {
            let mut ids = [0; SHORT_IDS];
            for (place, id) in ids.iter_mut().zip(&self.made) {
                *place = *id;
            }
            let places = &mut self.short[set];
            // The newest first; the oldest is forgotten.
            places[1] = places[0];
            places[0] = Short {
                key,
                ids,
                count,
                length,
            };
        }
        self.gather(out);
    }

    /// Appends the ids of a word of more than 16 bytes.
    #[inline(never)]
    pub(super) fn long(&mut self, merges: &Merges, word: &[u8], out: &mut Vec<u32>) {
        if word.len() > LONG_BYTES {
            self.made.clear();
            merges.encode(word, &mut self.scratch, &mut self.made);
            self.gather(out);
            return;
        }
        let mut hash = word.len();
        let mut rest = word;
        while let Some((part, after)) = rest.split_first_chunk::<16>() {
            hash = spread(u128::from_le_bytes(*part), hash);
            rest = after;
        }
        // The last 16 once more: some of them may have been left over.
        if let Some(last) = word.last_chunk::<16>() {
            hash = spread(u128::from_le_bytes(*last), hash);
        }
        let at = hash & (LONG_PLACES - 1);
        let place = &self.long[at];
        if usize::from(place.length) == word.len() && place.bytes.starts_with(word) {
            self.made.clear();
            self.made
                .extend(place.ids.iter().take(usize::from(place.count)));
            self.gather(out);
            return;
        }
        self.made.clear();
        merges.encode(word, &mut self.scratch, &mut self.made);
        if let (Ok(count @ 0..=15), Ok(length)) =
            (u8::try_from(self.made.len()), u8::try_from(word.len()))
        {
            let place = &mut self.long[at];
            for (into, byte) in place.bytes.iter_mut().zip(word) {
                *into = *byte;
            }
            for (into, id) in place.ids.iter_mut().zip(&self.made) {
                *into = *id;
            }
            (place.count, place.length) = (count, length);
        }
        self.gather(out);
    }

    /// Appends `made`.
    fn gather(&mut self, out: &mut Vec<u32>) {
        let end = self.count + self.made.len();
        if end <= GATHERED {
            for (place, id) in self.gathered[self.count..end].iter_mut().zip(&self.made) {
                *place = u32::from(*id);
            }
            self.count = end;
        } else {
            self.flush(out);
            out.extend(self.made.iter().map(|id| u32::from(*id)));
        }
    }
}

/// A hash by one multiplication of both halves (as wyhash folds, Wang Yi 2019). Words that collide on purpose are encoded anew each time,
/// which is all that they can do.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "halves of a number are taken, and a hash of them"
)]
fn spread(key: u128, length: usize) -> usize {
    let (lower, upper) = (key as u64, (key >> 64) as u64);
    let product = u128::from(lower ^ 0x2d35_8dcc_aa6c_78a5)
        * u128::from(upper ^ 0x8bb8_4b93_962e_acc9 ^ ((length as u64) << 56));
    (product as u64 ^ (product >> 64) as u64) as usize
}
