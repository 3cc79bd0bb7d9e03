//! The words by which benchmarks are recognised: what is left when case, punctuation and white space do not count.
//!
//! A word is a run of letters, digits and combining marks in lower case. An apostrophe between two of them is left out
//! ("don't" is "dont"), and so are characters without width, such as soft hyphens. Everything else separates. In scripts
//! that are written without spaces between words, every letter is a word.

use unicode_normalization::char::is_combining_mark;

/// Separates words; it stands for itself as an apostrophe may join two halves of one.
const SEPARATOR: u8 = 0;
const APOSTROPHE: u8 = 1;
const BEYOND_ASCII: u8 = 2;

/// Of each byte: its lower case, if it is a letter or digit of ASCII, or one of the classes above.
const CLASSES: [u8; 256] = {
    let mut classes = [SEPARATOR; 256];
    let mut byte = 0u8;
    loop {
        classes[byte as usize] = match byte {
            b'0'..=b'9' | b'a'..=b'z' => byte,
            b'A'..=b'Z' => byte.to_ascii_lowercase(),
            b'\'' => APOSTROPHE,
            0x80.. => BEYOND_ASCII,
            _ => SEPARATOR,
        };
        if byte == u8::MAX {
            break;
        }
        byte += 1;
    }
    classes
};

/// What a character beyond ASCII is to words.
enum Class {
    Letter,
    /// A letter of a script without spaces: a word of its own.
    Alone,
    Apostrophe,
    Ignored,
    Separator,
}

fn class(c: char) -> Class {
    match c {
        '\u{2019}' | '\u{02bc}' | '\u{ff07}' => Class::Apostrophe,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' => Class::Ignored,
        // Thai, Lao, Burmese, Khmer; kana; Han and its extensions. Marks of these join the letter before.
        '\u{0e00}'..='\u{0eff}'
        | '\u{1000}'..='\u{109f}'
        | '\u{1780}'..='\u{17ff}'
        | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}'
            if c.is_alphanumeric() && !is_combining_mark(c) =>
        {
            Class::Alone
        }
        _ if c.is_alphanumeric() || is_combining_mark(c) => Class::Letter,
        _ => Class::Separator,
    }
}

const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(hash: u64, eight: u64) -> u64 {
    (hash ^ eight).wrapping_mul(PRIME).rotate_left(29)
}

/// Hashes are for looking up; what is found is compared letter by letter.
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
}

/// The hash of a word as its letters come: eight bytes of UTF-8 at once, the last ones with zeros after them.
#[derive(Default)]
struct Letters {
    hash: u64,
    eight: u64,
    bits: u32,
}

impl Letters {
    fn push(&mut self, byte: u8) {
        self.eight |= u64::from(byte) << self.bits;
        self.bits += 8;
        if self.bits == 64 {
            *self = Self {
                hash: mix(self.hash, self.eight),
                ..Self::default()
            };
        }
    }

    fn push_char(&mut self, c: char) {
        let mut buffer = [0; 4];
        for lower in c.to_lowercase() {
            let bytes = lower.encode_utf8(&mut buffer).bytes();
            bytes.for_each(|byte| self.push(byte));
        }
    }

    fn hash(&self) -> u64 {
        finish(match self.bits {
            0 => self.hash,
            _ => mix(self.hash, self.eight),
        })
    }
}

/// A byte in all eight places of a word of the machine.
const fn eight_times(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of each byte that is no letter or digit of ASCII. What is added is below 128 in each byte, and so is what
/// it is added to, so nothing is carried into the next one.
fn others(eight: u64) -> u64 {
    const HIGH: u64 = eight_times(0x80);
    let low = eight & !HIGH;
    let small = low | eight_times(0x20);
    let from_a = small.wrapping_add(eight_times(0x80 - b'a'));
    let after_z = small.wrapping_add(eight_times(0x80 - b'z' - 1));
    let from_0 = low.wrapping_add(eight_times(0x80 - b'0'));
    let after_9 = low.wrapping_add(eight_times(0x80 - b'9' - 1));
    !((from_a & !after_z | from_0 & !after_9) & !eight) & HIGH
}

/// The eight bytes at a place, the first in the lowest bits; zeros where the text has ended.
#[inline]
fn eight_at(bytes: &[u8], at: usize) -> u64 {
    match bytes[at..].first_chunk() {
        Some(eight) => u64::from_le_bytes(*eight),
        None => {
            let rest = &bytes[at..];
            let mut eight = [0; 8];
            eight[..rest.len()].copy_from_slice(rest);
            u64::from_le_bytes(eight)
        }
    }
}

/// The word at a letter or digit of ASCII; `None` if it has anything else in it or right after it but a separator of ASCII.
#[inline]
fn plain_word(bytes: &[u8], start: usize) -> Option<Word> {
    let (mut at, mut hash) = (start, 0);
    while at < bytes.len() {
        let eight = eight_at(bytes, at);
        let others = others(eight);
        // Small letters and digits have this bit, and capitals lack no other one.
        let lower = eight | eight_times(0x20);
        if others == 0 {
            hash = mix(hash, lower);
            at += 8;
            continue;
        }
        let length = others.trailing_zeros() / 8;
        if length > 0 {
            let lowest = others & others.wrapping_neg();
            hash = mix(hash, lower & (lowest >> 7).wrapping_sub(1));
            at += length as usize;
        }
        break;
    }
    let next = bytes.get(at).map(|byte| CLASSES[usize::from(*byte)]);
    (next.unwrap_or(SEPARATOR) == SEPARATOR).then(|| Word {
        start,
        end: at,
        hash: finish(hash),
    })
}

/// A word of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word {
    /// Its first byte in the text.
    pub start: usize,
    /// The byte after its last.
    pub end: usize,
    /// Hash of its letters in lower case.
    pub hash: u64,
}

/// Calls `each` with every word of `text` in order, until it says stop.
#[inline]
pub fn for_each_word(text: &str, mut each: impl FnMut(Word) -> bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let class = CLASSES[usize::from(bytes[at])];
        if class <= APOSTROPHE {
            at += 1;
            continue;
        }
        let plain = match class {
            BEYOND_ASCII => None,
            _ => plain_word(bytes, at),
        };
        let (word, next) = match plain {
            Some(word) => (word, word.end),
            None => any_word(text, at),
        };
        at = next;
        if word.end > word.start && !each(word) {
            return;
        }
    }
}

/// The word that begins at a place, character by character, and where to go on. It is empty if none begins there.
fn any_word(text: &str, start: usize) -> (Word, usize) {
    let bytes = text.as_bytes();
    let mut letters = Letters::default();
    let (mut at, mut end) = (start, start);
    while let Some(byte) = bytes.get(at) {
        match CLASSES[usize::from(*byte)] {
            SEPARATOR => break,
            APOSTROPHE => at += 1,
            BEYOND_ASCII => {
                let Some(c) = text[at..].chars().next() else {
                    break;
                };
                match class(c) {
                    Class::Separator | Class::Apostrophe | Class::Ignored if end == start => {
                        at += c.len_utf8();
                        break;
                    }
                    Class::Separator => break,
                    // The word before it ends here, and it goes on as far as its marks.
                    Class::Alone if end > start => break,
                    Class::Alone => {
                        letters.push_char(c);
                        at += c.len_utf8();
                        at += marks(&text[at..], &mut letters);
                        end = at;
                        break;
                    }
                    Class::Letter => {
                        letters.push_char(c);
                        at += c.len_utf8();
                        end = at;
                    }
                    Class::Apostrophe | Class::Ignored => at += c.len_utf8(),
                }
            }
            lower => {
                letters.push(lower);
                at += 1;
                end = at;
            }
        }
    }
    let hash = letters.hash();
    (Word { start, end, hash }, at)
}

/// Bytes of the marks at the beginning of a text, which are added to the letters.
fn marks(text: &str, letters: &mut Letters) -> usize {
    let mut bytes = 0;
    for c in text.chars().take_while(|c| is_combining_mark(*c)) {
        letters.push_char(c);
        bytes += c.len_utf8();
    }
    bytes
}

/// Adds the letters of a word of `text` in lower case, as they count.
pub fn push_letters(text: &str, word: Word, into: &mut String) {
    for c in text[word.start..word.end].chars() {
        match c {
            c if c.is_ascii_alphanumeric() => into.push(c.to_ascii_lowercase()),
            c if c.is_ascii() => {}
            c => {
                if matches!(class(c), Class::Letter | Class::Alone) {
                    into.extend(c.to_lowercase());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut found = Vec::new();
        for_each_word(text, |word| {
            let mut letters = String::new();
            push_letters(text, word, &mut letters);
            found.push(letters);
            true
        });
        found
    }

    #[test]
    fn case_punctuation_and_space_do_not_count() {
        let expected = ["dont", "stop", "42", "times", "she", "said"];
        for text in [
            "Don't stop 42 times, she said.",
            "DON\u{2019}T  stop\n\n(42) times -- SHE said!",
            "dont\u{a0}st\u{ad}op;42;times;she;said",
        ] {
            assert_eq!(words(text), expected, "{text}");
        }
        assert_eq!(words("'quoted' 'tis"), ["quoted", "tis"]);
        assert_eq!(words("snake_case x2"), ["snake", "case", "x2"]);
        assert_eq!(words("\u{201c}\u{c9}T\u{c9}\u{201d}"), ["\u{e9}t\u{e9}"]);
        assert_eq!(words("... \u{2014} \u{2019}"), [""; 0]);
    }

    #[test]
    fn letters_of_scripts_without_spaces_are_words() {
        assert_eq!(
            words("\u{4f60}\u{597d}, abc\u{4e16}"),
            ["\u{4f60}", "\u{597d}", "abc", "\u{4e16}"]
        );
        // A Thai consonant with its vowel sign.
        assert_eq!(
            words("\u{e17}\u{e35}\u{e48}\u{e01}"),
            ["\u{e17}\u{e35}\u{e48}", "\u{e01}"]
        );
    }

    #[test]
    fn eight_bytes_are_told_apart_as_one_is() {
        for byte in 0..=u8::MAX {
            let other = u64::from(!byte.is_ascii_alphanumeric()) * 0x80;
            for place in 0..8 {
                // Beside what is most and least, so that a carry would be seen.
                for beside in [0, b'a', b'Z', 0xff] {
                    let mut eight = [beside; 8];
                    eight[place] = byte;
                    let found = others(u64::from_le_bytes(eight)) >> (8 * place) & 0xff;
                    assert_eq!(found, other, "{byte} at {place} beside {beside}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn words_are_the_same_eight_bytes_at_a_time_and_one_by_one(
            text in "([a-zA-Z0-9]{1,20}|[' .,\u{e9}\u{c9}\u{ad}\u{2019}\u{4f60}]){0,20}",
        ) {
            let mut found = Vec::new();
            for_each_word(&text, |word| { found.push(word); true });
            let mut expected = Vec::new();
            let mut at = 0;
            while let Some(byte) = text.as_bytes().get(at) {
                if byte.is_ascii() && !byte.is_ascii_alphanumeric() {
                    at += 1;
                    continue;
                }
                let (word, next) = any_word(&text, at);
                if word.end > word.start {
                    expected.push(word);
                }
                at = next;
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn words_are_in_order_and_equal_letters_have_equal_hashes(text in "\\PC{0,60}") {
            let mut before = 0;
            let mut found = Vec::new();
            for_each_word(&text, |word| {
                assert!(word.start >= before && word.end > word.start);
                before = word.end;
                let mut letters = String::new();
                push_letters(&text, word, &mut letters);
                found.push((letters, word.hash));
                true
            });
            // A word alone, in its plain form, is the same word.
            for (letters, hash) in found {
                let mut again = Vec::new();
                for_each_word(&letters, |word| { again.push(word.hash); true });
                prop_assert_eq!(again, vec![hash], "{}", letters);
            }
        }
    }
}
