//! What was seen, with its ids: most of a text is in it. Its size is fixed; what is forgotten is encoded again.

use andromeda_format::memory::{bring, large_pages};

use super::merge::{Merges, NEAR, Scratch};

/// Ids that are remembered by a short key.
const SHORT_IDS: usize = 7;
/// Pairs of places for short keys: 16 MiB.
const SHORT_SETS: u32 = 1 << 18;
/// Ids that are remembered by a long key.
const LONG_IDS: usize = 15;
/// Pairs of places for long keys: 8 MiB.
const LONG_SETS: u32 = 1 << 16;
/// Ids that are gathered before they go to their vector.
const GATHERED: usize = 1024;
/// Most ids of a stretch, which has at most [`NEAR`] bytes, and places too many.
const STRETCH_IDS: usize = NEAR + LONG_IDS + 1;

/// Up to 15 bytes, zeros, and a byte that is not zero and tells how many bytes there are.
pub(super) type Short = u128;
/// The same with 16 more bytes.
pub(super) type Long = [u128; 2];

/// What ids are remembered by.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Short(Short),
    Long(Long),
}

/// What is known of a key.
pub(super) enum Known {
    /// Its ids, which are appended.
    Anywhere,
    /// Its ids, so many, if white space follows: appended once they are taken.
    BeforeWhite(usize),
    Not,
}

/// Ids, and in the last place their number, and [`BEFORE_WHITE`]. In an empty place the key is 0.
#[derive(Clone, Copy, Default)]
struct ShortPlace {
    key: Short,
    ids: [u16; SHORT_IDS + 1],
}

#[derive(Clone, Copy, Default)]
struct LongPlace {
    key: Long,
    ids: [u16; LONG_IDS + 1],
}

/// Set in a number of ids that only hold if white space follows.
const BEFORE_WHITE: u16 = 0x100;

/// A cache line.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct ShortSet([ShortPlace; 2]);

/// Two cache lines, of which one is usually looked at.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct LongSet([LongPlace; 2]);

/// What one thread remembers, and where it gathers ids.
pub(super) struct Cache {
    short: Vec<ShortSet>,
    long: Vec<LongSet>,
    pub(super) scratch: Scratch,
    gathered: [u32; GATHERED],
    count: usize,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self {
            short: table(ShortSet::default(), SHORT_SETS as usize),
            long: table(LongSet::default(), LONG_SETS as usize),
            scratch: Scratch::new(),
            gathered: [0; GATHERED],
            count: 0,
        }
    }

    /// Forgets ids that were gathered for a text that was given up.
    pub(super) fn begin(&mut self) {
        self.count = 0;
        self.scratch.was_lost();
    }

    /// Appends what is gathered.
    pub(super) fn flush(&mut self, out: &mut Vec<u32>) {
        out.extend_from_slice(self.gathered.get(..self.count).unwrap_or_default());
        self.count = 0;
    }

    /// Appends an id.
    pub(super) fn push(&mut self, id: u16, out: &mut Vec<u32>) {
        self.room::<1>(out)[0] = u32::from(id);
        self.count += 1;
    }

    /// Places for the next ids.
    #[inline(always)]
    fn room<const IDS: usize>(&mut self, out: &mut Vec<u32>) -> &mut [u32; IDS] {
        if self.count > GATHERED - IDS {
            self.flush(out);
        }
        let room = self.gathered[self.count..].first_chunk_mut::<IDS>();
        room.expect("there are as many places left")
    }

    /// Where a key may be remembered, which is asked for ahead.
    #[inline(always)]
    pub(super) fn ask_short(&self, key: Short) -> u32 {
        let set = spread(key) & (SHORT_SETS - 1);
        bring(&self.short[set as usize]);
        set
    }

    /// The same of a long key.
    #[inline(always)]
    pub(super) fn ask_long(&self, key: Long) -> u32 {
        let set = spread_long(key) & (LONG_SETS - 1);
        let LongSet(places) = &self.long[set as usize];
        bring(&places[0]);
        bring(&places[1]);
        set
    }

    /// The ids of a short key, where it may be remembered.
    #[inline(always)]
    pub(super) fn short(&mut self, set: u32, key: Short, out: &mut Vec<u32>) -> Known {
        let set = &self.short[(set & (SHORT_SETS - 1)) as usize].0;
        // Which of them is no branch: it would be as good as random.
        let place = set[usize::from(set[0].key != key)];
        if place.key != key {
            return Known::Not;
        }
        self.found(place.ids, out)
    }

    /// The same of a long key.
    #[inline(always)]
    pub(super) fn long(&mut self, set: u32, key: Long, out: &mut Vec<u32>) -> Known {
        let set = &self.long[(set & (LONG_SETS - 1)) as usize].0;
        // Which of them is no branch: it would be as good as random.
        let place = set[usize::from(set[0].key != key)];
        if place.key != key {
            return Known::Not;
        }
        self.found(place.ids, out)
    }

    #[inline(always)]
    fn found<const IDS: usize>(&mut self, place: [u16; IDS], out: &mut Vec<u32>) -> Known {
        // All places, of which the next ones overwrite those too many: shorter than a loop over the right number.
        *self.room(out) = place.map(u32::from);
        let count = usize::from(place[IDS - 1]);
        if count < usize::from(BEFORE_WHITE) {
            self.count += count;
            return Known::Anywhere;
        }
        Known::BeforeWhite(count & 0xff)
    }

    /// Appends so many ids that were found last.
    pub(super) fn take(&mut self, count: usize) {
        self.count += count;
    }

    /// Takes off what was appended since a stretch began; how many ids that is.
    pub(super) fn take_back(&mut self, start: usize) -> usize {
        std::mem::replace(&mut self.count, start) - start
    }

    /// Makes room for the ids of a stretch; where they begin.
    pub(super) fn begin_stretch(&mut self, out: &mut Vec<u32>) -> usize {
        if self.count > GATHERED - STRETCH_IDS {
            self.flush(out);
        }
        self.count
    }

    /// Remembers by a key what was appended since, and whether it only holds before white space.
    pub(super) fn keep_since(&mut self, key: Key, start: usize, before_white: bool) {
        let mut made = [0; LONG_IDS];
        let Some(ids) = self.gathered.get(start..self.count) else {
            return;
        };
        let Some(made) = made.get_mut(..ids.len()) else {
            return;
        };
        for (place, id) in made.iter_mut().zip(ids) {
            // It was one of 16 bits.
            *place = u16::try_from(*id).unwrap_or_default();
        }
        self.keep(key, made, before_white);
    }

    /// Remembers ids, unless they are too many. The key must not be there.
    fn keep(&mut self, key: Key, made: &[u16], before_white: bool) {
        match key {
            Key::Short(key) if made.len() <= SHORT_IDS => {
                let set = &mut self.short[(spread(key) & (SHORT_SETS - 1)) as usize].0;
                // The newest first; the oldest is forgotten.
                set[1] = set[0];
                set[0] = ShortPlace {
                    key,
                    ids: counted(made, before_white),
                };
            }
            Key::Long(key) if made.len() <= LONG_IDS => {
                let set = &mut self.long[(spread_long(key) & (LONG_SETS - 1)) as usize].0;
                set[1] = set[0];
                set[0] = LongPlace {
                    key,
                    ids: counted(made, before_white),
                };
            }
            _ => {}
        }
    }

    /// Appends the ids of a word, and remembers them by its key if it has one.
    #[inline(never)]
    pub(super) fn new_word(
        &mut self,
        merges: &Merges,
        key: Option<Key>,
        word: &[u8],
        out: &mut Vec<u32>,
    ) {
        if word.len() > NEAR {
            self.flush(out);
            merges.encode_far(word, &mut self.scratch, out);
            return;
        }
        let mut ids = [0; NEAR];
        let count = merges.encode_near(word, &mut self.scratch, &mut ids);
        let made = ids.get(..count).unwrap_or_default();
        if let Some(key) = key {
            self.keep(key, made, false);
        }
        self.gather(made, out);
    }

    /// Appends ids that are made.
    fn gather(&mut self, made: &[u16], out: &mut Vec<u32>) {
        if self.count + made.len() > GATHERED {
            self.flush(out);
        }
        let room = self.gathered.get_mut(self.count..).unwrap_or_default();
        for (place, id) in room.iter_mut().zip(made) {
            *place = u32::from(*id);
        }
        self.count += made.len();
    }
}

/// Ids, of which there are fewer than places, and in the last place their number.
fn counted<const PLACES: usize>(made: &[u16], before_white: bool) -> [u16; PLACES] {
    let mut ids = [0; PLACES];
    for (place, id) in ids.iter_mut().zip(made) {
        *place = *id;
    }
    let count = u16::try_from(made.len()).unwrap_or_default();
    ids[PLACES - 1] = count | if before_white { BEFORE_WHITE } else { 0 };
    ids
}

/// A hash by one multiplication of both halves (as wyhash folds, Wang Yi 2019). Words that collide on purpose are encoded anew each time,
/// which is all that they can do.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "halves of a number are taken, and a hash of them"
)]
fn spread(key: Short) -> u32 {
    let (lower, upper) = (key as u64, (key >> 64) as u64);
    let product =
        u128::from(lower ^ 0x2d35_8dcc_aa6c_78a5) * u128::from(upper ^ 0x8bb8_4b93_962e_acc9);
    (product as u64 ^ (product >> 64) as u64) as u32
}

#[inline(always)]
fn spread_long(key: Long) -> u32 {
    spread(key[0]) ^ spread(key[1]).rotate_left(5)
}

/// A table of so many equal places, in large pages.
fn table<T: Copy>(place: T, count: usize) -> Vec<T> {
    let mut table = Vec::with_capacity(count);
    large_pages(table.spare_capacity_mut());
    table.resize(count, place);
    table
}
