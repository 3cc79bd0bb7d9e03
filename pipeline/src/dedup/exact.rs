//! The key of exact duplicates: XXH3-128 of the whole text, as it stands after normalization.
//!
//! XXH3 is <https://github.com/Cyan4973/xxHash>, version 0.8, seed 0. At 10^10 documents the chance of
//! any false match is about 10^-19; it is no defence against texts made to collide, so a stage that would lose
//! data by a false match compares bytes too.

use xxhash_rust::xxh3::xxh3_128;

/// The 128-bit hash of `text`. Case, punctuation and space count: two texts differ in nothing when they share
/// it.
#[must_use]
pub fn exact_hash(text: &str) -> u128 {
    xxh3_128(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_the_empty_text_is_the_published_one() {
        // XXH3-128 of no bytes, seed 0: sanity vector of the xxHash repository.
        assert_eq!(exact_hash(""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }

    #[test]
    fn one_changed_letter_changes_the_hash() {
        assert_ne!(exact_hash("the same text"), exact_hash("the same test"));
        assert_eq!(
            exact_hash("the same text"),
            exact_hash(&String::from("the same text"))
        );
    }
}
