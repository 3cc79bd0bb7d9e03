//! How much of a text could at most be n-grams that were there before: enough to spare most texts an exact count.

use crate::analysis::english::Token;

/// The words of [`Seen`], kept from one use to the next.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<u64>);

/// Tells keys that may have been noted before, in two bits of one word. Of keys that were not, with 16 bits a key,
/// some fifteen in a thousand are not told.
pub(super) struct Seen<'w> {
    words: &'w mut [u64],
    shift: u32,
}

impl Keys {
    /// Forgets all; as many keys as given may follow.
    pub(super) fn begin(&mut self, keys: usize) -> Seen<'_> {
        let words = (keys / 4).next_power_of_two().max(32);
        self.0.clear();
        self.0.resize(words, 0);
        Seen {
            words: &mut self.0,
            shift: u64::BITS - words.trailing_zeros(),
        }
    }
}

impl Seen<'_> {
    /// Notes a key; whether it may have been noted before.
    #[inline(always)]
    pub(super) fn see(&mut self, key: u64) -> bool {
        let bits = 1 << (key & 63) | 1 << (key >> 6 & 63);
        let word = &mut self.words[usize::try_from(key >> (self.shift & 63)).unwrap_or_default()];
        let before = *word & bits;
        *word |= bits;
        before == bits
    }
}

/// What stands before a token in a text without white space.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Before {
    /// The sum of the bytes, see [`sum_of`].
    sum: u64,
    /// Bytes.
    pub(super) offset: u32,
    /// Characters.
    pub(super) characters: u32,
}

impl Before {
    /// Puts a token behind the others, of which the sum is given.
    #[inline(always)]
    pub(super) fn take(&mut self, sum: u64, token: &Token) {
        self.sum = added(self.sum, sum.rotate_left(8 * (self.offset & 7)));
        self.offset += token.length;
        self.characters += token.characters;
    }
}

/// `a + b` modulo 2^64 - 1, of which 0 has two names.
#[inline(always)]
const fn added(a: u64, b: u64) -> u64 {
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u64)
}

/// Bytes as numbers of eight, added up modulo 2^64 - 1. There, a byte counts 2^8 times as much one further on, and after
/// eight as much as at first: a rotation moves a sum to another place, so that those of stretches come out of those of what
/// stands before them, however they are cut.
pub(super) fn sum_of(bytes: &[u8]) -> u64 {
    let (eights, rest) = bytes.as_chunks::<8>();
    let rest = rest.iter().rev();
    let last = rest.fold(0, |number, &byte| number << 8 | u64::from(byte));
    let eights = eights.iter().map(|eight| u64::from_le_bytes(*eight));
    eights.fold(last, added)
}

/// The same of the first bytes of sixteen.
#[inline(always)]
pub(super) fn sum_of_sixteen(bytes: &[u8; 16], length: usize) -> u64 {
    let halves = bytes.as_chunks::<8>().0;
    let [lower, upper] = KEPT[length.min(16)];
    added(
        u64::from_le_bytes(halves[0]) & lower,
        u64::from_le_bytes(halves[1]) & upper,
    )
}

/// What keeps the first 0 to 16 of sixteen bytes, as two numbers.
static KEPT: [[u64; 2]; 17] = {
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

/// A key that equal stretches share, whatever stands around them; others may share it too, such as one with its first and
/// second eight bytes exchanged.
#[inline(always)]
pub(super) fn key(from: &Before, to: &Before) -> u64 {
    let sum = added(to.sum, !from.sum).rotate_right(8 * (from.offset & 7));
    // The other name of 0.
    let sum = sum.wrapping_add(u64::from(sum == u64::MAX));
    let length = u64::from(to.offset.wrapping_sub(from.offset));
    let mixed = (sum ^ sum >> 32 ^ length << 40).wrapping_mul(super::MULTIPLIERS[1]);
    mixed ^ mixed >> 29
}

/// Characters under n-grams that are put down from left to right, those under several once.
#[derive(Debug, Default)]
pub(super) struct Cover {
    pub(super) characters: u64,
    /// Those before the end of the last one.
    free: u32,
}

impl Cover {
    /// Puts down an n-gram, if it counts, by the characters before it and before its end.
    #[inline(always)]
    pub(super) fn put(&mut self, from: u32, to: u32, counts: bool) {
        let characters = to.wrapping_sub(from.max(self.free));
        self.characters += u64::from(if counts { characters } else { 0 });
        self.free = if counts { to } else { self.free };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What stands before each of the pieces, and at the end.
    fn before(pieces: &[Vec<u8>]) -> Vec<Before> {
        let mut all = vec![Before::default()];
        for piece in pieces {
            let mut before = all[all.len() - 1];
            let length = u32::try_from(piece.len()).unwrap();
            let token = Token {
                hash: 0,
                start: 0,
                length,
                characters: length,
                facts: 0,
                stop_word: 0,
            };
            before.take(sum_of(piece), &token);
            all.push(before);
        }
        all
    }

    proptest! {
        #[test]
        fn equal_stretches_share_a_key_however_they_are_cut_and_whatever_stands_around(
            first in prop::collection::vec(any::<u8>(), 0..40),
            second in prop::collection::vec(any::<u8>(), 0..40),
            stretch in prop::collection::vec(prop::sample::select(vec![0, 1, 0x61, 0xff]), 1..60),
            cut in any::<prop::sample::Index>(),
            after in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let (one, two) = stretch.split_at(cut.index(stretch.len()));
            let whole = before(&[first, stretch.clone()]);
            let parts = before(&[second, one.to_vec(), two.to_vec(), after]);
            prop_assert_eq!(key(&whole[1], &whole[2]), key(&parts[1], &parts[3]));
        }

        #[test]
        fn sixteen_bytes_have_the_sum_of_those_that_count(bytes in any::<[u8; 16]>(), length in 0..=16_usize) {
            let sums = [sum_of_sixteen(&bytes, length), sum_of(&bytes[..length])];
            prop_assert_eq!(sums[0] % u64::MAX, sums[1] % u64::MAX);
        }
    }
}
