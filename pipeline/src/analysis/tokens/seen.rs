//! How much of a text could at most be n-grams that were there before: enough to spare most texts an exact count.

/// Tells keys that may have been noted before, in two bits of one word. Of keys that were not, with 32 bits a key,
/// some two in a thousand are not told.
#[derive(Debug, Default)]
pub(super) struct Seen {
    words: Vec<u64>,
    shift: u32,
}

impl Seen {
    /// Forgets all; as many keys as given may follow.
    pub(super) fn begin(&mut self, keys: usize) {
        let words = (keys / 2).next_power_of_two().max(32);
        self.shift = u64::BITS - words.trailing_zeros();
        self.words.clear();
        self.words.resize(words, 0);
    }

    /// Notes a key; whether it may have been noted before.
    #[inline(always)]
    pub(super) fn see(&mut self, key: u64) -> bool {
        let bits = 1 << (key & 63) | 1 << (key >> 6 & 63);
        let word = &mut self.words[usize::try_from(key >> self.shift).unwrap_or_default()];
        let before = *word & bits;
        *word |= bits;
        before == bits
    }
}

/// Sixteen bytes of which the first are kept, as two numbers.
type Sixteen = [u64; 2];

/// What keeps the first 0 to 16 bytes.
static KEPT: [Sixteen; 17] = {
    let mut kept = [[u64::MAX; 2]; 17];
    let mut length = 0;
    while length < 16 {
        kept[length] = if length < 8 {
            [(1 << (8 * length)) - 1, 0]
        } else {
            [u64::MAX, (1 << (8 * (length - 8))) - 1]
        };
        length += 1;
    }
    kept
};

/// Sixteen bytes at a place; zeros where there are none.
#[inline(always)]
fn sixteen(bytes: &[u8], at: usize) -> Sixteen {
    let group = bytes.get(at..).and_then(<[u8]>::first_chunk::<16>);
    group.map_or([0; 2], |group| {
        let number = u128::from_le_bytes(*group);
        let [lower, upper] = [number, number >> 64].map(|half| half & u128::from(u64::MAX));
        [lower, upper].map(|half| u64::try_from(half).unwrap_or_default())
    })
}

/// A key that equal stretches share, whatever stands around them: of the first sixteen bytes, the last sixteen, and the
/// length.
#[inline(always)]
pub(super) fn key(bytes: &[u8], from: usize, to: usize) -> u64 {
    let length = to - from;
    let first = sixteen(bytes, from);
    let [lower, upper] = KEPT[length.min(16)];
    let last = sixteen(bytes, if length < 16 { from } else { to - 16 });
    super::joined(
        super::joined(first[0] & lower, first[1] & upper),
        super::joined(last[0] & lower, last[1] & upper) ^ length as u64,
    )
}

/// The same of sixteen bytes or more, whose first sixteen have the number `first`.
#[inline(always)]
pub(super) fn long_key(first: u64, bytes: &[u8], from: usize, to: usize) -> u64 {
    let last = sixteen(bytes, to - 16);
    super::joined(first, super::joined(last[0], last[1]) ^ (to - from) as u64)
}

/// Characters under n-grams that are put down from left to right, those under several once.
#[derive(Debug, Default)]
pub(super) struct Cover {
    pub(super) characters: u64,
    free: usize,
}

impl Cover {
    /// Puts down the n-gram of the tokens from `start` to `end`, if it counts. `before` are the characters before each.
    #[inline(always)]
    pub(super) fn put(&mut self, before: &[u32], start: usize, end: usize, counts: bool) {
        let characters = before[end] - before[start.max(self.free)];
        self.characters += u64::from(if counts { characters } else { 0 });
        self.free = if counts { end } else { self.free };
    }
}
