//! Data in the text of a file: base64, hexadecimal and escaped characters.
//!
//! The expressions are those of `StarCoder2` (Lozhkov et al. 2024, arXiv 2402.19173, section 3):
//! `[a-zA-Z0-9+/\n=]{64,}`, `(?:\b(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|\b\s*)){8,}` and `(?:\\u[0-9a-fA-F]{4}){8,}`. The first and
//! the last are read by hand, the second by the expression, with the word boundaries of ASCII. All take linear time.

use std::sync::LazyLock;

use regex::Regex;

const HEXADECIMAL: &str = r"(?:(?-u:\b)(?:0x|\\x)?[0-9a-fA-F]{2}(?:,|(?-u:\b)\s*)){8,}";
static HEX: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(HEXADECIMAL).ok());

/// What of a text is encoded data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Encoded {
    /// Characters of the longest piece.
    pub longest: u64,
    /// Characters of all pieces; what two expressions match counts twice.
    pub all: u64,
}

impl Encoded {
    fn add(&mut self, characters: usize) {
        self.longest = self.longest.max(characters as u64);
        self.all += characters as u64;
    }
}

/// Looks for encoded data.
pub(super) fn encoded(text: &str) -> Encoded {
    let mut found = Encoded::default();
    let is_base64 =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'\n' | b'=');
    for run in text.as_bytes().split(|byte| !is_base64(byte)) {
        if run.len() >= 64 {
            found.add(run.len());
        }
    }
    if let Some(hex) = &*HEX {
        for piece in hex.find_iter(text) {
            found.add(piece.as_str().chars().count());
        }
    }
    let mut rest = text;
    while let Some(at) = rest.find("\\u") {
        rest = &rest[at..];
        let count = rest
            .as_bytes()
            .chunks(6)
            .take_while(|chunk| {
                chunk.len() == 6
                    && chunk.starts_with(b"\\u")
                    && chunk[2..].iter().all(u8::is_ascii_hexdigit)
            })
            .count();
        if count >= 8 {
            found.add(6 * count);
        }
        rest = &rest[(6 * count).max(2)..];
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_is_measured() {
        let base64 = "QUJD".repeat(16);
        for (text, longest) in [
            (base64.clone(), 64),
            (base64[1..].to_owned(), 0),
            (format!("x = \"{base64}\n{base64}==\""), 64 + 1 + 66),
            ("0x01,0x02,0x03,0x04,0x05,0x06,0x07,0x08".to_owned(), 39),
            ("01 02 03 04 05 06 07 08".to_owned(), 23),
            ("01 02 03 04 05 06 07".to_owned(), 0),
            ("\\u0041".repeat(8), 48),
            ("\\u0041".repeat(7), 0),
            ("plain words of a text".to_owned(), 0),
        ] {
            assert_eq!(encoded(&text).longest, longest, "{text}");
        }
    }

    proptest! {
        /// The two that are read by hand are what their expressions match.
        #[test]
        fn what_is_read_by_hand_is_what_the_expressions_match(
            text in "([aZ9+/=\n]{1,70}|[ .\u{e9}]|(\\\\u00aF){1,10}|\\\\u){0,12}",
        ) {
            let mut expected = Encoded::default();
            for expression in [r"[a-zA-Z0-9+/\n=]{64,}", HEXADECIMAL, r"(?:\\u[0-9a-fA-F]{4}){8,}"] {
                let expression = Regex::new(expression).unwrap();
                expression
                    .find_iter(&text)
                    .for_each(|piece| expected.add(piece.as_str().chars().count()));
            }
            prop_assert_eq!(encoded(&text), expected);
        }
    }
}
