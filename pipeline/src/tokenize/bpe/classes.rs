//! Which characters are letters, digits, white space, marks: by the tables that the reference's regular expressions, its list of
//! punctuation and its normalizer have, each of another Unicode version. They are read out of the same crates, so that they are the
//! reference's by construction.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};
use unicode_categories::UnicodeCategories as _;
use unicode_normalization_alignments::char::canonical_combining_class;
use unicode_normalization_alignments::{IsNormalized, is_nfc_quick};

/// `\p{L}`.
pub(super) const LETTER: u8 = 1;
/// `\p{N}`.
const NUMBER: u8 = 2;
/// `\s`.
pub(super) const SPACE: u8 = 3;
/// What Falcon's `Punctuation` takes out first.
pub(super) const PUNCTUATION: u8 = 4;
/// Set where a text with this character may not be in NFC.
pub(super) const UNSETTLED: u8 = 0x80;

/// Code points of a leaf of the table.
const LEAF: usize = 128;
const CODE_POINTS: usize = 0x11_0000;

/// The class of every character, in two levels: equal leaves are stored once.
pub(super) struct Classes {
    ascii: [u8; 128],
    leaf_of: Vec<u16>,
    leaves: Vec<[u8; LEAF]>,
    /// Of the first byte of a character, whether any that begins so is unsettled.
    unsettled_first: [bool; 256],
}

/// For the GPT-2 expression, where everything else is one class: 0.
pub(super) static GPT2: LazyLock<Classes> = LazyLock::new(|| Classes::new(false));

/// For Falcon's sequence, in which punctuation is a class of its own.
pub(super) static FALCON: LazyLock<Classes> = LazyLock::new(|| Classes::new(true));

impl Classes {
    fn new(punctuation: bool) -> Self {
        let mut flat = vec![0u8; CODE_POINTS];
        for (pattern, class) in [(r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE)] {
            for (first, last) in ranges(pattern) {
                if let Some(range) = flat.get_mut(first..=last) {
                    range.fill(class);
                }
            }
        }
        let mut unsettled_first = [false; 256];
        for character in '\0'..=char::MAX {
            let Some(class) = flat.get_mut(character as usize) else {
                continue;
            };
            if punctuation && (character.is_ascii_punctuation() || character.is_punctuation()) {
                *class = PUNCTUATION;
            }
            let settled = character < '\u{300}'
                || (canonical_combining_class(character) == 0
                    && matches!(is_nfc_quick(std::iter::once(character)), IsNormalized::Yes));
            if !settled {
                *class |= UNSETTLED;
                let mut bytes = [0; 4];
                let first = character.encode_utf8(&mut bytes).as_bytes().first();
                if let Some(flag) =
                    first.and_then(|byte| unsettled_first.get_mut(usize::from(*byte)))
                {
                    *flag = true;
                }
            }
        }
        let mut ascii = [0; 128];
        ascii.copy_from_slice(&flat[..128]);
        let mut known: HashMap<[u8; LEAF], u16> = HashMap::new();
        let mut leaves: Vec<[u8; LEAF]> = Vec::new();
        let leaf_of = flat
            .chunks_exact(LEAF)
            .map(|chunk| {
                let mut leaf = [0; LEAF];
                leaf.copy_from_slice(chunk);
                *known.entry(leaf).or_insert_with(|| {
                    leaves.push(leaf);
                    // At most as many as there are chunks: 8,704.
                    u16::try_from(leaves.len() - 1).unwrap_or_default()
                })
            })
            .collect();
        Self {
            ascii,
            leaf_of,
            leaves,
            unsettled_first,
        }
    }

    /// Class and length in bytes of the character that begins at `at` of a UTF-8 text, which is before its end; [`UNSETTLED`] is set in the
    /// class of a character that is.
    #[inline(always)]
    pub(super) fn at(&self, text: &[u8], at: usize) -> (u8, usize) {
        let first = text[at];
        if first < 0x80 {
            return (self.ascii[usize::from(first)], 1);
        }
        self.beyond_ascii(text, at, first)
    }

    #[inline(always)]
    fn beyond_ascii(&self, text: &[u8], at: usize, first: u8) -> (u8, usize) {
        let part = |offset: usize| usize::from(text[at + offset] & 0x3f);
        let first = usize::from(first);
        let (code, length) = match first {
            ..0xe0 => ((first & 0x1f) << 6 | part(1), 2),
            0xe0..0xf0 => ((first & 0xf) << 12 | part(1) << 6 | part(2), 3),
            _ => (
                (first & 7) << 18 | part(1) << 12 | part(2) << 6 | part(3),
                4,
            ),
        };
        (
            self.leaves[usize::from(self.leaf_of[code / LEAF])][code % LEAF],
            length,
        )
    }

    /// Whether the character that begins at `at` of a text is settled (see `compose`), as the end of a text is.
    pub(super) fn is_settled(&self, text: &str, at: usize) -> bool {
        at >= text.len() || self.at(text.as_bytes(), at).0 & UNSETTLED == 0
    }

    /// The first character at or after `at` that is not settled.
    pub(super) fn next_unsettled(&self, text: &str, at: usize) -> Option<usize> {
        let bytes = text.as_bytes();
        let mut at = at;
        while at < bytes.len() {
            if let Some(eight) = bytes.get(at..at + 8)
                && eight.iter().fold(0, |all, byte| all | byte) < 0x80
            {
                at += 8;
                continue;
            }
            let first = bytes[at];
            if self.unsettled_first[usize::from(first)] {
                let (class, length) = self.beyond_ascii(bytes, at, first);
                if class & UNSETTLED != 0 {
                    return Some(at);
                }
                at += length;
            } else {
                // Bytes that continue a character begin none, so that they are passed one by one.
                at += 1;
            }
        }
        None
    }
}

/// The code points of a class of regular expressions.
fn ranges(pattern: &str) -> Vec<(usize, usize)> {
    let parsed = regex_syntax::parse(pattern);
    match parsed.as_ref().map(regex_syntax::hir::Hir::kind) {
        Ok(HirKind::Class(Class::Unicode(class))) => class
            .iter()
            .map(|range| (range.start() as usize, range.end() as usize))
            .collect(),
        // The three patterns are classes; a table without them fails every comparison with the reference.
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_the_expressions() {
        let expressions = [(r"\p{L}", LETTER), (r"\p{N}", NUMBER), (r"\s", SPACE)]
            .map(|(pattern, class)| (regex::Regex::new(&format!("^{pattern}$")).unwrap(), class));
        for character in '\0'..=char::MAX {
            let text = character.to_string();
            let expected = expressions
                .iter()
                .find(|(expression, _)| expression.is_match(&text))
                .map_or(0, |(_, class)| *class);
            let (class, length) = GPT2.at(text.as_bytes(), 0);
            assert_eq!(
                (class & !UNSETTLED, length),
                (expected, text.len()),
                "U+{:04X}",
                character as u32
            );
            let falcon = FALCON.at(text.as_bytes(), 0).0 & !UNSETTLED;
            // A run of punctuation is one word, which holds as long as none of it is a letter, a digit or white space.
            assert!(
                falcon == expected || (falcon, expected) == (PUNCTUATION, 0),
                "U+{:04X}",
                character as u32
            );
        }
    }

    #[test]
    fn what_normalizes_to_something_else_is_unsettled() {
        use unicode_normalization_alignments::UnicodeNormalization as _;
        for character in '\0'..=char::MAX {
            for text in [
                format!("a{character}b"),
                format!("e\u{301}{character}"),
                format!("{character}\u{327}"),
            ] {
                if GPT2.next_unsettled(&text, 0).is_none() {
                    let normal: String = text.nfc().map(|(character, _)| character).collect();
                    assert_eq!(text, normal);
                }
            }
        }
        assert_eq!(GPT2.next_unsettled("Ünïcödé, 中文 и ещё; 한국어", 0), None);
        assert_eq!(GPT2.next_unsettled("éxe\u{301}", 0), Some(4));
    }
}
