//! Words by the rules of Unicode (UAX #29, default word boundaries, Unicode 17), and a hash of each in lower
//! case.
//!
//! A word is a stretch between two word boundaries that holds a letter or a digit, which is what
//! `unicode-segmentation` calls `unicode_words()`; the words here are the same on every input. That crate walks
//! characters through a binary search each; here the common scripts go through one table
//! (`word_classes`) and the rest is handed to the crate, one stretch at a time.
//!
//! Why the hand-over is exact: the crate's forward iterator keeps nothing across a boundary but the category of
//! the next character, so it may be started afresh at any boundary. Every stretch handed over starts at one:
//! where the last word ended, or before a character that breaks on both sides. And no decision is taken here on
//! a character the table calls complex: meeting one hands over the stretch that it might belong to, from its
//! start.

use unicode_segmentation::UnicodeSegmentation;

use super::word_classes::{CLASSES, Class};

/// Calls `found` with the byte range of each word of `text`, in order.
#[inline]
pub fn for_each_word(text: &str, mut found: impl FnMut(usize, usize)) {
    let bytes = text.as_bytes();
    // Nothing before `floor` can belong to a later word.
    let mut floor = 0;
    let mut at = 0;
    while at < bytes.len() {
        let (class, width) = class_at(bytes, at);
        if width == 1 && matches!(class, Class::Letter | Class::Numeric) {
            let end = end_of_plain_run(bytes, at + 1);
            let next = bytes.get(end).copied().unwrap_or(b' ');
            // What follows nearly every word: nothing that could join.
            if next < 0x80 && CLASSES[usize::from(next)] == Class::Other {
                found(at, end);
                at = end;
                floor = end;
                continue;
            }
        }
        match class {
            Class::Other | Class::MidLetter | Class::MidNum | Class::MidNumLet => at += width,
            Class::Letter
            | Class::Numeric
            | Class::Katakana
            | Class::ExtendNumLet
            | Class::Single => {
                match word_end(bytes, at, class, width) {
                    Some((end, is_word)) => {
                        if is_word {
                            found(at, end);
                        }
                        at = end;
                    }
                    None => at = hand_over(text, at, &mut found),
                }
                floor = at;
            }
            Class::Mark | Class::Complex => {
                at = hand_over(text, stretch_start(text, floor, at), &mut found);
                floor = at;
            }
        }
    }
}

/// The class of the character at `at` and its length in bytes.
#[inline(always)]
fn class_at(bytes: &[u8], at: usize) -> (Class, usize) {
    let first = bytes[at];
    if first < 0x80 {
        return (CLASSES[usize::from(first)], 1);
    }
    let tail = |distance: usize| usize::from(bytes[at + distance] & 0x3f);
    if first < 0xe0 {
        (CLASSES[usize::from(first & 0x1f) << 6 | tail(1)], 2)
    } else if first < 0xf0 {
        (
            CLASSES[usize::from(first & 0x0f) << 12 | tail(1) << 6 | tail(2)],
            3,
        )
    } else {
        (Class::Complex, 4)
    }
}

/// Where the run of ASCII letters, digits and underscores around `at` ends: none of these breaks from the
/// others.
#[inline(always)]
fn end_of_plain_run(bytes: &[u8], mut at: usize) -> usize {
    while let Some(group) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let group = u64::from_le_bytes(*group);
        let seven = group & !HIGH_BITS;
        let digits =
            seven.wrapping_add(each(0x80 - b'0')) & !seven.wrapping_add(each(0x80 - b'9' - 1));
        let underscores = !(seven ^ each(b'_')).wrapping_add(each(0x7f));
        let plain = letter_bits(group) | ((digits | underscores) & !group & HIGH_BITS);
        let others = !plain & HIGH_BITS;
        if others != 0 {
            return at + (others.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_')
        .unwrap_or(rest.len())
}

/// The high bit of each byte that is an ASCII letter, of eight bytes at once.
#[inline(always)]
pub(crate) fn letter_bits(group: u64) -> u64 {
    // Sums of seven-bit numbers do not carry into the next byte; they reach the high bit from a limit on.
    let lower = (group & !HIGH_BITS) | each(0x20);
    lower.wrapping_add(each(0x80 - b'a'))
        & !lower.wrapping_add(each(0x80 - b'z' - 1))
        & !group
        & HIGH_BITS
}

/// Eight times the same byte.
const fn each(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

/// The end of the stretch that starts at `start` and whether it is a word; `None` if the table cannot tell.
#[inline(always)]
fn word_end(bytes: &[u8], start: usize, class: Class, width: usize) -> Option<(usize, bool)> {
    let mut state = class;
    let mut is_word = class != Class::ExtendNumLet;
    let mut at = start + width;
    while at < bytes.len() {
        let (class, width) = class_at(bytes, at);
        match (state, class) {
            (_, Class::Complex) => return None,
            // Some marks count as letters: they could make a word of underscores.
            (_, Class::Mark) if !is_word => return None,
            (_, Class::Mark) => {}
            // WB5, WB8, WB9, WB10; WB13a, WB13b; WB13
            (
                Class::Letter | Class::Numeric | Class::ExtendNumLet,
                Class::Letter | Class::Numeric | Class::ExtendNumLet,
            )
            | (Class::ExtendNumLet, Class::Katakana)
            | (Class::Katakana, Class::Katakana | Class::ExtendNumLet) => {
                state = class;
                is_word |= class != Class::ExtendNumLet;
            }
            // WB6, WB7; WB11, WB12
            (Class::Letter, Class::MidLetter | Class::MidNumLet)
            | (Class::Numeric, Class::MidNum | Class::MidNumLet) => {
                let next = at + width;
                if next >= bytes.len() {
                    break;
                }
                match class_at(bytes, next) {
                    (Class::Complex | Class::Mark, _) => return None,
                    (class, width) if class == state => {
                        at = next + width;
                        continue;
                    }
                    _ => break,
                }
            }
            _ => break,
        }
        at += width;
    }
    Some((at, is_word))
}

/// The boundary from which the stretch around the mark or complex character at `at` has to be judged.
#[cold]
fn stretch_start(text: &str, floor: usize, at: usize) -> usize {
    let before = &text[floor..at];
    // Spaces join each other (WB3d) and a mark joins what stands before it (WB4).
    match before.chars().next_back() {
        None => at,
        Some(' ') => floor + before.trim_end_matches(' ').len(),
        Some(character) => at - character.len_utf8(),
    }
}

/// Lets `unicode-segmentation` judge the stretch that starts at the boundary `start`; returns its end.
#[cold]
fn hand_over(text: &str, start: usize, found: &mut impl FnMut(usize, usize)) -> usize {
    let Some(stretch) = text[start..].split_word_bounds().next() else {
        return text.len();
    };
    let end = start + stretch.len();
    if stretch.unicode_words().next().is_some() {
        found(start, end);
    }
    end
}

const WORD_SEED: u64 = 0x243f_6a88_85a3_08d3;
const WORD_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const LENGTH_MASKS: [u64; 9] = {
    let mut masks = [u64::MAX; 9];
    let mut length = 0;
    while length < 8 {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Hashes words as they are or in lower case. The hash is part of the signature format: it never changes.
///
/// The bytes are taken eight at a time, little endian, the last group filled with zeros (no word holds a NUL);
/// each group is exclusive-ored in, multiplied by an odd constant and folded. The steps can be undone, so words
/// of up to eight bytes never collide with each other. Lower case is that of each character by itself (no final
/// sigma), full mappings included.
#[derive(Debug, Default)]
pub struct WordHasher {
    lower: String,
}

impl WordHasher {
    /// The hash of `text[start..end]` as it is. The range comes from [`for_each_word`] on the same text.
    #[inline]
    pub fn exact(&self, text: &str, start: usize, end: usize) -> u64 {
        hash_groups(text.as_bytes(), start, end, |group| group)
    }

    /// The hash of `text[start..end]` in lower case. The range comes from [`for_each_word`] on the same text.
    #[inline]
    pub fn lower_case(&mut self, text: &str, start: usize, end: usize) -> u64 {
        let bytes = text.as_bytes();
        // Fast for what is nearly all words in practice: at most eight ASCII bytes.
        if end - start <= 8 {
            let group = load(bytes, start, end);
            if group & HIGH_BITS == 0 {
                return mix(WORD_SEED, lower_group(group));
            }
        } else if bytes[start..end].is_ascii() {
            return hash_groups(bytes, start, end, lower_group);
        }
        self.lower_case_of_any(&text[start..end])
    }

    #[cold]
    fn lower_case_of_any(&mut self, word: &str) -> u64 {
        self.lower.clear();
        for character in word.chars() {
            // No character from here to there has case, and the mapping is a slow search.
            if ('\u{2e80}'..'\u{a640}').contains(&character) {
                self.lower.push(character);
            } else {
                self.lower.extend(character.to_lowercase());
            }
        }
        hash_groups(self.lower.as_bytes(), 0, self.lower.len(), |group| group)
    }
}

#[inline(always)]
fn hash_groups(bytes: &[u8], start: usize, end: usize, map: impl Fn(u64) -> u64) -> u64 {
    let mut hash = WORD_SEED;
    let mut at = start;
    while at < end {
        let next = end.min(at + 8);
        hash = mix(hash, map(load(bytes, at, next)));
        at = next;
    }
    hash
}

/// Up to eight bytes, zero-filled.
#[inline(always)]
fn load(bytes: &[u8], start: usize, end: usize) -> u64 {
    let mask = LENGTH_MASKS[end - start];
    if let Some(group) = bytes.get(start..).and_then(|rest| rest.first_chunk::<8>()) {
        return u64::from_le_bytes(*group) & mask;
    }
    let mut group = [0; 8];
    group[..end - start].copy_from_slice(&bytes[start..end]);
    u64::from_le_bytes(group)
}

#[inline(always)]
fn mix(hash: u64, group: u64) -> u64 {
    let product = (hash ^ group).wrapping_mul(WORD_MULTIPLIER);
    product ^ (product >> 32)
}

pub(crate) const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Eight ASCII bytes in lower case: the sums carry into a byte's high bit from `A` on, and from beyond `Z` on.
#[inline(always)]
fn lower_group(group: u64) -> u64 {
    let from_a = group.wrapping_add(each(0x80 - b'A'));
    let beyond_z = group.wrapping_add(each(0x80 - b'Z' - 1));
    group | ((from_a & !beyond_z & HIGH_BITS) >> 2)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ours(text: &str) -> Vec<(usize, &str)> {
        let mut words = Vec::new();
        for_each_word(text, |start, end| words.push((start, &text[start..end])));
        words
    }

    fn theirs(text: &str) -> Vec<(usize, &str)> {
        text.unicode_word_indices().collect()
    }

    fn lower_hashes(text: &str) -> Vec<u64> {
        let mut hasher = WordHasher::default();
        let mut hashes = Vec::new();
        for_each_word(text, |start, end| {
            hashes.push(hasher.lower_case(text, start, end));
        });
        hashes
    }

    #[test]
    fn words_of_a_sentence_are_found_where_they_stand() {
        let text = "Can't stop: 3,141.5 foo_bar __ don\u{2019}t \u{4f60}\u{597d} e.g.";
        let words: Vec<&str> = ours(text).into_iter().map(|(_, word)| word).collect();
        let expected = [
            "Can't",
            "stop",
            "3,141.5",
            "foo_bar",
            "don\u{2019}t",
            "\u{4f60}",
            "\u{597d}",
            "e.g",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn every_character_in_every_neighbourhood_breaks_as_in_unicode_segmentation() {
        for character in '\0'..=char::MAX {
            let c = character;
            let text = format!(
                "{c}a{c}b{c}.{c}a.{c}1{c}2,{c}3  {c}\u{301}{c}\u{200d}{c}\u{5d0}{c}\u{30a1}{c}_{c}{c}\u{1f1e6}{c}\u{1f600}{c}\u{e01}{c}a'{c}\n{c}"
            );
            assert_eq!(ours(&text), theirs(&text), "U+{:04X}", c as u32);
        }
    }

    /// Every class of character, the troublemakers twice.
    fn nasty_text() -> impl Strategy<Value = String> {
        let alphabet: Vec<char> = "aZ\u{e9}\u{3b1}\u{416}\u{628}19\u{661}\u{30a1}\u{30fc}\u{ff76}__\u{203f}::\u{b7}\u{387},;..''\"\u{2018}\u{2019}\u{2024}\
            \u{5d0}\u{5d1}\u{301}\u{308}\u{ad}\u{200b}\u{200c}\u{200d}\u{200d}\u{feff}\u{93f}\u{915}\u{e31}\u{e01}\u{1f1e6}\u{1f1e7}\u{1f600}\u{263a}\u{24c2}\u{2139}\u{fe0f}\
            \u{4f60}\u{3042}\u{20000}\u{ac00}\u{1100}\u{b2}\u{bd}  \u{3000}\u{2003}\u{a0}\t\n\r\u{b}\u{85}\u{2028}!#\0\u{345}\u{10400}\u{1d7ce}"
            .chars()
            .collect();
        prop::collection::vec(prop::sample::select(alphabet), 0..24).prop_map(String::from_iter)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn nasty_texts_break_as_in_unicode_segmentation(text in nasty_text()) {
            prop_assert_eq!(ours(&text), theirs(&text));
        }
    }

    proptest! {
        #[test]
        fn any_text_breaks_as_in_unicode_segmentation(text in "\\PC{0,80}") {
            prop_assert_eq!(ours(&text), theirs(&text));
        }

        #[test]
        fn ascii_texts_break_as_in_unicode_segmentation(text in "[ -~\n]{0,300}") {
            prop_assert_eq!(ours(&text), theirs(&text));
        }

        #[test]
        fn hashes_follow_the_lower_case_word(text in nasty_text()) {
            let lower: String = text.chars().flat_map(char::to_lowercase).collect();
            let mut hasher = WordHasher::default();
            let whole = hasher.lower_case(&text, 0, text.len());
            // NUL fills the last group, so only its absence makes lengths distinct.
            prop_assume!(!text.is_empty() && !text.contains('\0'));
            prop_assert_eq!(whole, hash_groups(lower.as_bytes(), 0, lower.len(), |group| group));
            prop_assert_eq!(whole, hasher.exact(&lower, 0, lower.len()));
        }
    }

    #[test]
    fn case_does_not_change_the_lower_case_hash_and_letters_do() {
        let hashes = lower_hashes(
            "Strasse STRASSE \u{c9}t\u{e9} \u{e9}T\u{c9} internationalization INTERNATIONALIZATION other",
        );
        assert_eq!(hashes[0], hashes[1]);
        assert_eq!(hashes[2], hashes[3]);
        assert_eq!(hashes[4], hashes[5]);
        assert_ne!(hashes[0], hashes[6]);
    }

    #[test]
    fn a_hash_does_not_depend_on_what_follows_the_word() {
        let alone = lower_hashes("word");
        assert_eq!(lower_hashes("word and so on and on")[0], alone[0]);
        assert_eq!(lower_hashes("(word)")[0], alone[0]);
    }
}
