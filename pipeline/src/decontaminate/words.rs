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

fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(PRIME).rotate_left(29)
}

/// Hashes are for looking up; what is found is compared letter by letter.
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ hash >> 32
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
pub fn for_each_word(text: &str, mut each: impl FnMut(Word) -> bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    'words: while at < bytes.len() {
        if CLASSES[usize::from(bytes[at])] <= APOSTROPHE {
            at += 1;
            continue;
        }
        let start = at;
        let (mut end, mut hash) = (at, 0);
        while let Some(byte) = bytes.get(at) {
            match CLASSES[usize::from(*byte)] {
                SEPARATOR => break,
                APOSTROPHE => at += 1,
                BEYOND_ASCII => {
                    let Some(c) = text[at..].chars().next() else {
                        break;
                    };
                    match class(c) {
                        Class::Separator if end == start => {
                            at += c.len_utf8();
                            continue 'words;
                        }
                        Class::Separator => break,
                        // The word before it ends here, and it goes on as far as its marks.
                        Class::Alone if end > start => break,
                        Class::Alone => {
                            hash = mix_char(hash, c);
                            at += c.len_utf8();
                            at += marks(&text[at..], &mut hash);
                            end = at;
                            break;
                        }
                        Class::Letter => {
                            hash = mix_char(hash, c);
                            at += c.len_utf8();
                            end = at;
                        }
                        Class::Apostrophe | Class::Ignored if end == start => {
                            at += c.len_utf8();
                            continue 'words;
                        }
                        Class::Apostrophe | Class::Ignored => at += c.len_utf8(),
                    }
                }
                lower => {
                    hash = mix(hash, lower);
                    at += 1;
                    end = at;
                }
            }
        }
        if end > start {
            let word = Word {
                start,
                end,
                hash: finish(hash),
            };
            if !each(word) {
                return;
            }
        }
    }
}

/// Bytes of the marks at the beginning of a text, which are mixed into the hash.
fn marks(text: &str, hash: &mut u64) -> usize {
    let mut bytes = 0;
    for c in text.chars().take_while(|c| is_combining_mark(*c)) {
        *hash = mix_char(*hash, c);
        bytes += c.len_utf8();
    }
    bytes
}

fn mix_char(mut hash: u64, c: char) -> u64 {
    let mut buffer = [0; 4];
    for lower in c.to_lowercase() {
        for byte in lower.encode_utf8(&mut buffer).bytes() {
            hash = mix(hash, byte);
        }
    }
    hash
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

    proptest! {
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
