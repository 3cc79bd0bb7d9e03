//! Merges by rank. A word is its bytes; of all neighbours that a merge joins, those of the lowest rank are joined first, and of several
//! with that rank the leftmost (Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units", as GPT-2 applies it
//! to bytes). Vocabularies here have at most 65,535 ids, and a merge's id grows with its rank, so that the id is the rank.
//!
//! A word of any length takes time in proportion to its length. What makes that so: ids are a word's encoding exactly if each two
//! neighbours are the encoding of their own text (were it not so, look at the first merge across a border of two of them: up to it all
//! went as it goes for the two alone, so it is made there too). So a long word is encoded in windows, and only where two windows meet
//! are some ids made again, until both ends of what was made again agree with their neighbours.

/// No id.
const NONE: u16 = u16::MAX;

/// No pair: none has twice the id that there is not.
const NO_PAIR: u32 = u32::MAX;

/// Words of more bytes are encoded in windows of as many: a multiple of two and three, so that runs of one character and the like have
/// equal windows, which are encoded once.
pub(super) const WINDOW: usize = 768;

/// Bytes of a word for which all that encoding needs is a few registers and cache lines.
const SMALL: usize = 64;

/// Neighbours whose lowest rank is kept.
const BLOCK: usize = 16;

/// Of neighbours that nothing joins, and of places without any.
const NEVER: i32 = i32::MAX;

/// Places for what is known of two ids side by side.
const AGREED: usize = 1 << 12;

/// Merges, and the ids of bytes.
pub(super) struct Merges {
    /// Id of each byte, [`NONE`] where the vocabulary lacks it: then it is left out, as the reference leaves it out.
    of_byte: [u16; 256],
    /// What two bytes merge to, by their values.
    of_bytes: Vec<u16>,
    /// Open addressing, a power of two: left id and right id, [`NO_PAIR`] in an empty place. Apart from what they merge to: most pairs are
    /// not there, and what is looked at for those should be small.
    pairs: Vec<u32>,
    /// What those merge to.
    merged: Vec<u16>,
    /// Bytes of each id.
    bytes: Vec<Vec<u8>>,
}

/// Space that encoding needs, kept between words.
pub(super) struct Scratch {
    small: Small,
    large: Large,
    /// The last window, and its ids.
    window: Vec<u8>,
    made: Vec<u16>,
    text: Vec<u8>,
    /// Two ids side by side, and in the lowest bit whether they agree; by a hash of them.
    agreed: Vec<u64>,
}

/// Of a word of at most [`SMALL`] bytes.
struct Small {
    ids: [u16; SMALL],
    ranks: [[i32; BLOCK]; SMALL / BLOCK],
}

/// Of a longer one.
#[derive(Default)]
struct Large {
    ids: Vec<u16>,
    before: Vec<u32>,
    after: Vec<u32>,
    ranks: Vec<[i32; BLOCK]>,
    lowest: Vec<i32>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self {
            small: Small {
                ids: [0; SMALL],
                ranks: [[NEVER; BLOCK]; SMALL / BLOCK],
            },
            large: Large::default(),
            window: Vec::new(),
            made: Vec::new(),
            text: Vec::new(),
            agreed: vec![u64::MAX; AGREED],
        }
    }
}

impl Merges {
    /// `bytes` of each id, and merges in order of rank, each as two ids and the one they make. The error says why these cannot be
    /// encoded here.
    pub(super) fn new(bytes: Vec<Vec<u8>>, merges: &[(u16, u16, u16)]) -> Result<Self, String> {
        if bytes.len() > usize::from(NONE) {
            return Err("its vocabulary has 65,535 ids or more".to_owned());
        }
        let mut of_byte = [NONE; 256];
        for (id, bytes) in (0u16..).zip(&bytes) {
            if let [byte] = bytes[..] {
                of_byte[usize::from(byte)] = id;
            }
        }
        let size = (merges.len() * 5 / 2 + 1).next_power_of_two();
        let mut made = Self {
            of_byte,
            of_bytes: vec![NONE; 1 << 16],
            pairs: vec![NO_PAIR; size],
            merged: vec![NONE; size],
            bytes,
        };
        let mut last = None;
        for &(left, right, id) in merges {
            if last.is_some_and(|last| id <= last) {
                return Err("the order of its merges is not that of their ids".to_owned());
            }
            last = Some(id);
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
            if let ([one], [other]) = (made.bytes_of(left), made.bytes_of(right)) {
                let place = usize::from(*one) << 8 | usize::from(*other);
                made.of_bytes[place] = id;
            }
        }
        Ok(made)
    }

    /// The bytes of an id; none if there is no such id.
    pub(super) fn bytes_of(&self, id: u16) -> &[u8] {
        self.bytes.get(usize::from(id)).map_or(&[], Vec::as_slice)
    }

    #[inline(always)]
    fn first_place(&self, key: u32) -> usize {
        hash(key) & (self.pairs.len() - 1)
    }

    /// What two ids merge to.
    #[inline(always)]
    fn merged(&self, left: u16, right: u16) -> u16 {
        let key = pair(left, right);
        let at = self.first_place(key);
        self.look(key, at, self.pairs[at])
    }

    /// What two pairs merge to, each.
    #[inline(always)]
    fn merged_both(&self, one: (u16, u16), other: (u16, u16)) -> (u16, u16) {
        let (one, other) = (pair(one.0, one.1), pair(other.0, other.1));
        let (at, at_other) = (self.first_place(one), self.first_place(other));
        let (found, found_other) = (self.pairs[at], self.pairs[at_other]);
        (
            self.look(one, at, found),
            self.look(other, at_other, found_other),
        )
    }

    #[inline(always)]
    fn look(&self, key: u32, mut at: usize, mut found: u32) -> u16 {
        loop {
            if found == key {
                return self.merged[at];
            }
            if found == NO_PAIR {
                return NONE;
            }
            at = (at + 1) & (self.pairs.len() - 1);
            found = self.pairs[at];
        }
    }

    /// Appends the ids of a word.
    pub(super) fn encode(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u16>) {
        if word.len() <= WINDOW {
            self.encode_whole(word, scratch, out);
            return;
        }
        let start = out.len();
        let (mut last, mut ids) = (
            std::mem::take(&mut scratch.window),
            std::mem::take(&mut scratch.made),
        );
        last.clear();
        for window in word.chunks(WINDOW) {
            if window != last {
                ids.clear();
                self.encode_whole(window, scratch, &mut ids);
                last.clear();
                last.extend_from_slice(window);
            }
            self.join(start, &ids, scratch, out);
        }
        (scratch.window, scratch.made) = (last, ids);
    }

    /// Whether two ids side by side are the encoding of their text.
    fn agree(&self, left: u16, right: u16, scratch: &mut Scratch) -> bool {
        let both = u64::from(pair(left, right));
        let place = hash(pair(left, right)) & (AGREED - 1);
        if scratch.agreed[place] >> 1 == both {
            return scratch.agreed[place] & 1 == 1;
        }
        let mut text = std::mem::take(&mut scratch.text);
        text.clear();
        text.extend_from_slice(self.bytes_of(left));
        text.extend_from_slice(self.bytes_of(right));
        let mut ids = Vec::with_capacity(4);
        self.encode_whole(&text, scratch, &mut ids);
        scratch.text = text;
        let agree = ids == [left, right];
        scratch.agreed[place] = both << 1 | u64::from(agree);
        agree
    }

    /// Appends the ids of the text after that of `out[start..]`.
    fn join(&self, start: usize, ids: &[u16], scratch: &mut Scratch, out: &mut Vec<u16>) {
        // How many ids are made again, of those before the border and of those after it.
        let (mut before, mut after) = (0, 0);
        loop {
            let kept = out.len().saturating_sub(before).max(start);
            let rest = ids.get(after..).unwrap_or_default();
            let mut text = Vec::new();
            for id in out
                .get(kept..)
                .into_iter()
                .flatten()
                .chain(ids.iter().take(after))
            {
                text.extend_from_slice(self.bytes_of(*id));
            }
            let mut made = Vec::new();
            self.encode_whole(&text, scratch, &mut made);
            let left = (kept > start).then(|| out.get(kept - 1)).flatten().copied();
            let right = rest.first().copied();
            let mut agree = |one: Option<u16>, other: Option<u16>| match (one, other) {
                (Some(one), Some(other)) => self.agree(one, other, scratch),
                _ => true,
            };
            let at_left = agree(left, made.first().copied().or(right));
            let at_right = agree(made.last().copied().or(left), right);
            if at_left && at_right {
                out.truncate(kept);
                out.extend_from_slice(&made);
                out.extend_from_slice(rest);
                return;
            }
            // Twice as much each time: all of it together costs a few times the last.
            if !at_left {
                before = (2 * before).max(2);
            }
            if !at_right {
                after = (2 * after).max(2);
            }
        }
    }

    /// Appends the ids of a text that is not too long to be looked at as a whole.
    fn encode_whole(&self, word: &[u8], scratch: &mut Scratch, out: &mut Vec<u16>) {
        if word.len() <= SMALL {
            self.encode_small(word, &mut scratch.small, out);
        } else {
            self.encode_large(word, &mut scratch.large, out);
        }
    }

    fn encode_small(&self, word: &[u8], small: &mut Small, out: &mut Vec<u16>) {
        let mut count = 0;
        for (byte, _) in word.iter().zip(0..SMALL) {
            let id = self.of_byte[usize::from(*byte)];
            // Written over by the next where there is none.
            small.ids[count] = id;
            count += usize::from(id != NONE);
        }
        if count < 2 {
            out.extend_from_slice(small.ids.get(..count).unwrap_or_default());
            return;
        }
        let blocks = (count - 1).div_ceil(BLOCK);
        for block in small.ranks.iter_mut().take(blocks) {
            *block = [NEVER; BLOCK];
        }
        let whole = count == word.len();
        for at in 0..count - 1 {
            let id = if whole {
                self.of_bytes[usize::from(word[at]) << 8 | usize::from(word[at + 1])]
            } else {
                self.merged(small.ids[at], small.ids[at + 1])
            };
            small.ranks[at / BLOCK][at % BLOCK] = rank(id, at);
        }
        let mut lowest = [NEVER; SMALL / BLOCK];
        for (lowest, block) in lowest.iter_mut().zip(&small.ranks).take(blocks) {
            *lowest = least(block);
        }
        // A bit for each place that has an id.
        let mut alive = u64::MAX >> (SMALL - count);
        while let Some((at, id)) = first_of_least(&lowest[..blocks]) {
            let later = alive & (u64::MAX - 1) << at;
            let gone = later.trailing_zeros() as usize & (SMALL - 1);
            let later = later & later.wrapping_sub(1);
            alive &= !(1 << gone);
            small.ids[at] = id;
            small.ranks[gone / BLOCK][gone % BLOCK] = NEVER;
            let earlier = alive & !(u64::MAX << at);
            let after = later.trailing_zeros() as usize & (SMALL - 1);
            let before = SMALL - 1 - (earlier | 1).leading_zeros() as usize;
            // Where there is no neighbour, what comes of it is not used: two looks at the table that wait for each other cost more.
            let (with_before, with_after) =
                self.merged_both((small.ids[before], id), (id, small.ids[after]));
            small.ranks[at / BLOCK][at % BLOCK] = if later == 0 {
                NEVER
            } else {
                rank(with_after, at)
            };
            if earlier != 0 {
                small.ranks[before / BLOCK][before % BLOCK] = rank(with_before, before);
                if before / BLOCK != at / BLOCK {
                    lowest[before / BLOCK] = least(&small.ranks[before / BLOCK]);
                }
            }
            // Most words have one block.
            if gone / BLOCK != at / BLOCK {
                lowest[gone / BLOCK] = least(&small.ranks[gone / BLOCK]);
            }
            lowest[at / BLOCK] = least(&small.ranks[at / BLOCK]);
        }
        while alive != 0 {
            out.push(small.ids[alive.trailing_zeros() as usize & (SMALL - 1)]);
            alive &= alive - 1;
        }
    }

    fn encode_large(&self, word: &[u8], large: &mut Large, out: &mut Vec<u16>) {
        const END: u32 = u32::MAX;
        let Large {
            ids,
            before,
            after,
            ranks,
            lowest,
        } = large;
        ids.clear();
        ids.extend(
            word.iter()
                .map(|byte| self.of_byte[usize::from(*byte)])
                .filter(|id| *id != NONE),
        );
        let count = ids.len();
        before.clear();
        before.extend((0u32..).take(count).map(|at| at.wrapping_sub(1)));
        after.clear();
        after.extend((1u32..).take(count));
        if let Some(last) = after.last_mut() {
            *last = END;
        }
        ranks.clear();
        ranks.resize(count.div_ceil(BLOCK), [NEVER; BLOCK]);
        for (at, two) in ids.windows(2).enumerate() {
            ranks[at / BLOCK][at % BLOCK] = rank(self.merged(two[0], two[1]), at);
        }
        lowest.clear();
        lowest.extend(ranks.iter().map(least));
        while let Some((at, id)) = first_of_least(lowest) {
            let gone = after[at] as usize;
            let next = after[gone];
            ids[at] = id;
            ids[gone] = NONE;
            after[at] = next;
            ranks[gone / BLOCK][gone % BLOCK] = NEVER;
            ranks[at / BLOCK][at % BLOCK] = if next == END {
                NEVER
            } else {
                before[next as usize] = before[gone];
                rank(self.merged(id, ids[next as usize]), at)
            };
            let earlier = before[at];
            if earlier != END {
                let earlier = earlier as usize;
                ranks[earlier / BLOCK][earlier % BLOCK] =
                    rank(self.merged(ids[earlier], id), earlier);
                if earlier / BLOCK != at / BLOCK {
                    lowest[earlier / BLOCK] = least(&ranks[earlier / BLOCK]);
                }
            }
            if gone / BLOCK != at / BLOCK {
                lowest[gone / BLOCK] = least(&ranks[gone / BLOCK]);
            }
            lowest[at / BLOCK] = least(&ranks[at / BLOCK]);
        }
        out.extend(ids.iter().copied().filter(|id| *id != NONE));
    }
}

/// A merge's rank, and in the lowest four bits its place in its block.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a place in a block is below 16"
)]
fn rank(id: u16, at: usize) -> i32 {
    if id == NONE {
        NEVER
    } else {
        i32::from(id) << 4 | (at % BLOCK) as i32
    }
}

/// The least of a block: vector instructions.
#[inline(always)]
fn least(block: &[i32; BLOCK]) -> i32 {
    block.iter().copied().min().unwrap_or(NEVER)
}

/// Of blocks' lowest, the first place of the lowest rank and what is made there.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a rank is an id, of 16 bits"
)]
fn first_of_least(lowest: &[i32]) -> Option<(usize, u16)> {
    let (mut block, mut best) = (0, NEVER);
    for (at, lowest) in lowest.iter().enumerate() {
        // Equal ranks differ in their places, which only count within a block.
        if *lowest | 15 < best | 15 {
            (block, best) = (at, *lowest);
        }
    }
    (best != NEVER).then(|| (block * BLOCK + (best & 15) as usize, (best >> 4) as u16))
}

#[inline(always)]
fn pair(left: u16, right: u16) -> u32 {
    u32::from(left) << 16 | u32::from(right)
}

/// The upper bits of a product are the well mixed ones.
#[inline(always)]
fn hash(key: u32) -> usize {
    (u64::from(key).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize
}
