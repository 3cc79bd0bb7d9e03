//! Shingles: hashes of every run of n consecutive words (Broder, "On the resemblance and containment of
//! documents", 1997), rolling, so that a word costs two multiplications whatever n is.
//!
//! A document with fewer than n words has no shingle: it can be an exact duplicate, not a near one. (Hashing
//! what there is would make all texts like "Page not found." one bucket.) A shingle that occurs twice may be
//! given twice: the minimum over a multiset is that over its set.

/// The multiplier of the polynomial: odd, so that a step can be undone.
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Turns a stream of word hashes into a stream of shingle hashes.
#[derive(Clone, Debug)]
pub struct Shingler {
    /// The last n word hashes; the oldest stands at `oldest`.
    window: Box<[u64]>,
    oldest: usize,
    /// How many of the window are still missing.
    missing: usize,
    hash: u64,
    /// The multiplier to the n-th power: what a word is worth when it leaves.
    leaving: u64,
}

impl Shingler {
    /// Shingles of `words` words; 0 counts as 1.
    #[must_use]
    pub fn new(words: usize) -> Self {
        let words = words.max(1);
        let leaving = (0..words).fold(1_u64, |power, _| power.wrapping_mul(MULTIPLIER));
        Self {
            window: vec![0; words].into_boxed_slice(),
            oldest: 0,
            missing: words,
            hash: 0,
            leaving,
        }
    }

    /// Forgets the words seen: the next one begins a document.
    pub fn clear(&mut self) {
        self.window.fill(0);
        self.oldest = 0;
        self.missing = self.window.len();
        self.hash = 0;
    }

    /// Takes the hash of the next word; gives that of the shingle which ends with it, once there are enough
    /// words.
    #[inline(always)]
    pub fn push(&mut self, word: u64) -> Option<u32> {
        let left = std::mem::replace(&mut self.window[self.oldest], word);
        self.oldest += 1;
        if self.oldest == self.window.len() {
            self.oldest = 0;
        }
        self.hash = self
            .hash
            .wrapping_mul(MULTIPLIER)
            .wrapping_add(word)
            .wrapping_sub(left.wrapping_mul(self.leaving));
        if self.missing > 1 {
            self.missing -= 1;
            return None;
        }
        Some(high_half(finish(self.hash)))
    }
}

/// The finalizer of `MurmurHash3` (Appleby, 2011): every bit in moves every bit out.
#[inline(always)]
fn finish(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[inline(always)]
fn high_half(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shingles(shingler: &mut Shingler, words: &[u64]) -> Vec<u32> {
        shingler.clear();
        words
            .iter()
            .filter_map(|&word| shingler.push(word))
            .collect()
    }

    #[test]
    fn a_document_shorter_than_a_shingle_has_none() {
        let mut shingler = Shingler::new(5);
        assert!(shingles(&mut shingler, &[1, 2, 3, 4]).is_empty());
        assert_eq!(shingles(&mut shingler, &[1, 2, 3, 4, 5]).len(), 1);
        assert!(shingles(&mut shingler, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn a_shingle_depends_on_its_own_words_and_their_order_only(
            words in prop::collection::vec(any::<u64>(), 0..40),
            length in 1_usize..9,
        ) {
            let mut shingler = Shingler::new(length);
            let rolled = shingles(&mut shingler, &words);
            let mut alone = Vec::new();
            for window in words.windows(length) {
                let polynomial =
                    window.iter().fold(0_u64, |hash, &word| hash.wrapping_mul(MULTIPLIER).wrapping_add(word));
                alone.push(high_half(finish(polynomial)));
            }
            prop_assert_eq!(rolled, alone);
        }
    }

    #[test]
    fn order_within_a_shingle_matters() {
        let mut shingler = Shingler::new(3);
        assert_ne!(
            shingles(&mut shingler, &[1, 2, 3]),
            shingles(&mut shingler, &[2, 1, 3])
        );
    }
}
