//! Hashes by which equal texts are found.

use xxhash_rust::{xxh3, xxh64};

/// A 128-bit hash that groups, and an independent 64-bit one that confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextHashes {
    /// XXH3-128 of the text's bytes.
    pub hash: u128,
    /// XXH64 of the same bytes: another construction, so that a pair made to collide in one does not in the other.
    pub check: u64,
}

/// Hashes the normalized text, byte for byte: case, spaces and punctuation count. Texts that differ in those alone are near
/// duplicates.
pub fn text_hashes(text: &str) -> TextHashes {
    TextHashes {
        hash: xxh3::xxh3_128(text.as_bytes()),
        check: xxh64::xxh64(text.as_bytes(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_the_published_ones() {
        // XXH3-128 and XXH64 of the empty input with seed 0, from the xxHash specification's test vectors.
        let empty = text_hashes("");
        assert_eq!(empty.hash, 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
        assert_eq!(empty.check, 0xef46_db37_51d8_e999);
    }

    #[test]
    fn every_byte_counts() {
        assert_ne!(text_hashes("a b"), text_hashes("a  b"));
        assert_ne!(text_hashes("a"), text_hashes("A"));
    }
}
