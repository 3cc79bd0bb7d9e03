//! Text repairs that every document gets before anything judges or hashes it.
//!
//! Three, each switchable: line ends become `\n` (CR LF, CR, NEL), control characters other than `\n` and `\t` and byte order
//! marks go, and the text is brought into Unicode normalization form C (UAX #15). Nothing else is touched: not spaces, not
//! quotes, not case. Applying it twice is applying it once.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// The `[normalize]` table of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NormalizeOptions {
    /// Unicode normalization form C.
    pub nfc: bool,
    /// CR LF, CR and NEL become `\n`.
    pub newlines: bool,
    /// Control characters other than `\n` and `\t`, and byte order marks, go.
    pub control_characters: bool,
}

impl Default for NormalizeOptions {
    fn default() -> Self {
        Self { nfc: true, newlines: true, control_characters: true }
    }
}

/// The repairs, ready to use.
#[derive(Debug, Clone)]
pub struct Normalize {
    options: NormalizeOptions,
}

impl Normalize {
    /// As the options say.
    pub fn new(options: &NormalizeOptions) -> Self {
        Self { options: options.clone() }
    }

    /// The text, borrowed if it needs no repair.
    pub fn normalize<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let ascii = text.is_ascii();
        let clean = if self.has_unwanted(text, ascii) { Cow::Owned(self.without_unwanted(text)) } else { Cow::Borrowed(text) };
        if self.options.nfc && !ascii && is_nfc_quick(clean.chars()) != IsNormalized::Yes {
            return Cow::Owned(clean.nfc().collect());
        }
        clean
    }

    fn has_unwanted(&self, text: &str, ascii: bool) -> bool {
        // One comparison a byte, which the compiler turns into vector code: a byte below a space that is neither \n nor \t.
        let low = text.bytes().fold(false, |found, b| found | (((b < 0x20) & (b != b'\n') & (b != b'\t')) | (b == 0x7f)));
        low || (!ascii && text.chars().any(|c| matches!(c, '\u{80}'..='\u{9f}' | '\u{feff}')))
    }

    fn without_unwanted(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\r' if self.options.newlines => {
                    chars.next_if_eq(&'\n');
                    out.push('\n');
                }
                '\u{85}' if self.options.newlines => out.push('\n'),
                '\n' | '\t' => out.push(c),
                '\u{feff}' if self.options.control_characters => {}
                c if c.is_control() && self.options.control_characters => {}
                c => out.push(c),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all() -> Normalize {
        Normalize::new(&NormalizeOptions::default())
    }

    #[test]
    fn clean_text_is_borrowed() {
        for text in ["", "plain\ttext\n", "caf\u{e9} \u{4e2d}\u{6587}"] {
            assert!(matches!(all().normalize(text), Cow::Borrowed(_)), "{text:?}");
        }
    }

    #[test]
    fn line_ends_controls_marks_and_accents_are_repaired() {
        assert_eq!(all().normalize("\u{feff}a\r\nb\rc\u{85}d\0\u{7}e\u{9b}f"), "a\nb\nc\ndef");
        assert_eq!(all().normalize("cafe\u{301}"), "caf\u{e9}");
        let off = NormalizeOptions { nfc: false, newlines: false, control_characters: false };
        assert_eq!(Normalize::new(&off).normalize("a\r\n\u{feff}e\u{301}"), "a\r\n\u{feff}e\u{301}");
    }

    #[test]
    fn a_removed_control_does_not_keep_an_accent_from_its_letter() {
        assert_eq!(all().normalize("e\0\u{301}"), "\u{e9}");
    }

    proptest! {
        #[test]
        fn twice_is_once(text in "\\PC*|(.|\r|\n|\u{85}|\u{feff}|\u{301}|\u{1100}|\u{1161}|\u{11a8}|\u{212b}){0,40}") {
            let once = all().normalize(&text).into_owned();
            let twice = all().normalize(&once);
            prop_assert!(matches!(twice, Cow::Borrowed(_)) || twice == once);
            prop_assert_eq!(all().normalize(&once), once.clone());
        }
    }
}
