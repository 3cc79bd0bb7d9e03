//! Text repairs that every document gets before anything judges or hashes it.
//!
//! Few, and none that a reader would see: one kind of line end, no byte order marks, no control characters,
//! composed characters (Unicode Normalization Form C, UAX #15). Two files that differ in these alone become
//! equal, which is what exact deduplication compares; no tokenizer of ours wants them. Everything else,
//! trailing space included, is the document's own. The result is a fixed point: normalizing it again changes
//! nothing.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// Which repairs are made. All, unless a recipe turns one off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Normalize {
    /// `\r\n`, `\r`, vertical tab, form feed and U+0085 become `\n`.
    pub line_ends: bool,
    /// Control characters go (general category Cc: NUL and the others), except `\n` and `\t`, and line ends if
    /// those are left alone.
    pub control_characters: bool,
    /// U+FEFF goes, wherever it stands.
    pub byte_order_marks: bool,
    /// Characters are composed: Normalization Form C.
    pub nfc: bool,
}

impl Default for Normalize {
    fn default() -> Self {
        Self {
            line_ends: true,
            control_characters: true,
            byte_order_marks: true,
            nfc: true,
        }
    }
}

impl Normalize {
    /// The repaired text; borrowed if there was nothing to repair.
    #[must_use]
    pub fn normalize<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if is_normal(text) {
            return Cow::Borrowed(text);
        }
        // Removing what stands between a letter and its accent lets them compose: so NFC comes last.
        match self.clean(text) {
            Cow::Borrowed(text) => self.compose(text),
            Cow::Owned(text) => match self.compose(&text) {
                Cow::Owned(composed) => Cow::Owned(composed),
                Cow::Borrowed(_) => Cow::Owned(text),
            },
        }
    }

    fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut cleaned = String::new();
        // The text before `copied` is in `cleaned`, repaired.
        let mut copied = 0;
        let mut at = 0;
        while let Some(found) = next_suspect(text.as_bytes(), at) {
            let Some(character) = text[found..].chars().next() else {
                break;
            };
            let after = found + character.len_utf8();
            at = after;
            let replacement = match character {
                '\u{feff}' if self.byte_order_marks => "",
                '\r' if self.line_ends && text[after..].starts_with('\n') => "",
                '\r' | '\u{b}' | '\u{c}' | '\u{85}' => {
                    match (self.line_ends, self.control_characters) {
                        (true, _) => "\n",
                        (false, true) if character != '\r' => "",
                        (false, _) => continue,
                    }
                }
                _ if character.is_control() && self.control_characters => "",
                _ => continue,
            };
            cleaned.push_str(&text[copied..found]);
            cleaned.push_str(replacement);
            copied = after;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        cleaned.push_str(&text[copied..]);
        Cow::Owned(cleaned)
    }

    /// Composes the stretches beyond ASCII one by one. That is exact: an ASCII character is a starter that
    /// composes with nothing before it, so no stretch reaches beyond the next one, and it reaches back to
    /// the ASCII character before it, with which its first mark may compose, and no further.
    fn compose<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.nfc {
            return Cow::Borrowed(text);
        }
        let mut composed = String::new();
        let mut copied = 0;
        let mut at = 0;
        while let Some(start) = next_wide(text.as_bytes(), at) {
            let end = end_of_wide(text.as_bytes(), start);
            at = end;
            if below_marks(&text.as_bytes()[start..end])
                || is_nfc_quick(text[start..end].chars()) == IsNormalized::Yes
            {
                continue;
            }
            let start = start.saturating_sub(1).max(copied);
            let stretch = &text[start..end];
            // "Maybe" is mostly yes: nothing is copied until something changes.
            if stretch.chars().eq(stretch.nfc()) {
                continue;
            }
            composed.push_str(&text[copied..start]);
            composed.extend(stretch.nfc());
            copied = end;
        }
        if copied == 0 {
            return Cow::Borrowed(text);
        }
        composed.push_str(&text[copied..]);
        Cow::Owned(composed)
    }
}

/// Bytes looked at together; the loops over so many compile to vector code.
const BLOCK: usize = 64;

/// Whether a byte begins a character that may have to go: controls but `\n` and `\t`, DEL, the first byte of
/// U+0080 to U+00BF, and that of U+F000 to U+FFFF.
#[inline(always)]
fn is_suspect(byte: u8) -> bool {
    (byte < b' ') & (byte != b'\n') & (byte != b'\t')
        | (byte == 0x7f)
        | (byte == 0xc2)
        | (byte == 0xef)
}

/// Whether no repair can change the text, found in one pass: most texts. `false` says nothing.
fn is_normal(text: &str) -> bool {
    let bytes = text.as_bytes();
    // Printable ASCII, `\n` and `\t`.
    let is_special =
        |byte: u8| (byte.wrapping_sub(b' ') > b'~' - b' ') & (byte != b'\n') & (byte != b'\t');
    let mut at = 0;
    while let Some(start) = next(bytes, at, is_special) {
        at = end_of_wide(bytes, start);
        if !is_normal_stretch(&text[start..at]) {
            return false;
        }
    }
    true
}

/// `is_normal` of characters beyond ASCII between two of ASCII. A control character of ASCII leaves an empty stretch.
fn is_normal_stretch(stretch: &str) -> bool {
    match stretch.as_bytes() {
        // Curly quotes, dashes and the like, U+2002 to U+203F: no marks, and nothing decomposes into them or they into
        // something.
        [0xe2, 0x80, 0x82..=0xbf] => true,
        [] => false,
        bytes if below_marks(bytes) => !bytes
            .windows(2)
            .any(|pair| pair[0] == 0xc2 && pair[1] < 0xa0),
        _ => {
            let mut characters = stretch.chars();
            characters.all(|character| !character.is_control() && character != '\u{feff}')
                && is_nfc_quick(stretch.chars()) == IsNormalized::Yes
        }
    }
}

fn next_suspect(bytes: &[u8], from: usize) -> Option<usize> {
    next(bytes, from, is_suspect)
}

fn next_wide(bytes: &[u8], from: usize) -> Option<usize> {
    next(bytes, from, |byte| byte >= 0x80)
}

fn end_of_wide(bytes: &[u8], from: usize) -> usize {
    bytes[from..]
        .iter()
        .position(|&byte| byte < 0x80)
        .map_or(bytes.len(), |length| from + length)
}

/// Whether all characters are below U+0300, where the first combining mark is: these are in NFC whatever their
/// order.
fn below_marks(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte < 0xcc)
}

/// The first byte from `from` on for which `wanted` holds.
#[inline(always)]
fn next(bytes: &[u8], from: usize, wanted: impl Fn(u8) -> bool + Copy) -> Option<usize> {
    let rest = bytes.get(from..)?;
    let mut at = from;
    for block in rest.chunks(BLOCK) {
        if block.iter().fold(false, |any, &byte| any | wanted(byte)) {
            return block
                .iter()
                .position(|&byte| wanted(byte))
                .map(|found| at + found);
        }
        at += block.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalize(text: &str) -> String {
        Normalize::default().normalize(text).into_owned()
    }

    /// The whole definition, without any shortcut.
    fn slow(options: Normalize, text: &str) -> String {
        let mut text = text.to_owned();
        if options.line_ends {
            text = text
                .replace("\r\n", "\n")
                .replace(['\r', '\u{b}', '\u{c}', '\u{85}'], "\n");
        }
        text.retain(|character| match character {
            '\u{feff}' => !options.byte_order_marks,
            '\n' | '\t' => true,
            '\r' if !options.line_ends => true,
            _ => !(options.control_characters && character.is_control()),
        });
        if options.nfc {
            text.nfc().collect()
        } else {
            text
        }
    }

    fn nasty_text() -> impl Strategy<Value = String> {
        let alphabet: Vec<char> = "abe \n\n\t\r\r\0\u{1}\u{b}\u{c}\u{1c}\u{7f}\u{80}\u{85}\u{9f}\u{a0}\u{e9}\u{feff}\u{fffd}\u{301}\u{301}\u{323}\u{327}\u{344}\u{340}\u{958}\u{93c}\
            \u{1100}\u{1161}\u{11a8}\u{ac00}\u{2126}\u{212b}\u{2019}\u{9c7}\u{9be}\u{1d15e}\u{fb1d}\u{4f60}\u{f900}\u{1f600}\u{3099}\u{30ab}"
            .chars()
            .collect();
        prop::collection::vec(prop::sample::select(alphabet), 0..80).prop_map(String::from_iter)
    }

    fn any_options() -> impl Strategy<Value = Normalize> {
        any::<[bool; 4]>().prop_map(|[line_ends, control_characters, byte_order_marks, nfc]| {
            Normalize {
                line_ends,
                control_characters,
                byte_order_marks,
                nfc,
            }
        })
    }

    #[test]
    fn clean_text_is_borrowed() {
        let text =
            "Plain text,\n\twith na\u{ef}ve caf\u{e9} \u{201c}quotes\u{201d} and \u{4f60}\u{597d}."
                .repeat(20);
        assert!(matches!(
            Normalize::default().normalize(&text),
            Cow::Borrowed(_)
        ));
        assert!(matches!(
            Normalize::default().normalize(""),
            Cow::Borrowed("")
        ));
    }

    #[test]
    fn each_repair_is_made() {
        assert_eq!(
            normalize("a\r\nb\rc\u{c}d\u{85}e\r\r\nf"),
            "a\nb\nc\nd\ne\n\nf"
        );
        assert_eq!(
            normalize("\u{feff}a\0b\u{1b}[0m\u{7f}\u{9f}\tc\u{feff}"),
            "ab[0m\tc"
        );
        assert_eq!(normalize("cafe\u{301} A\u{30a}"), "caf\u{e9} \u{c5}");
        assert_eq!(normalize("e\0\u{301}"), "\u{e9}");
        assert_eq!(normalize("  trailing space  \n"), "  trailing space  \n");
    }

    #[test]
    fn an_option_turned_off_leaves_its_characters() {
        let text = "\u{feff}a\r\nb\0e\u{301}";
        let off = Normalize {
            line_ends: false,
            control_characters: false,
            byte_order_marks: false,
            nfc: false,
        };
        assert_eq!(off.normalize(text), text);
        assert_eq!(
            Normalize {
                control_characters: true,
                ..off
            }
            .normalize(text),
            "\u{feff}a\r\nbe\u{301}"
        );
        assert!(toml::from_str::<Normalize>("newlines = true").is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn normalized_text_equals_that_of_the_definition(text in nasty_text(), options in any_options()) {
            prop_assert_eq!(options.normalize(&text), slow(options, &text));
        }

        #[test]
        fn normalizing_twice_changes_nothing_more(text in nasty_text(), options in any_options()) {
            let once = options.normalize(&text).into_owned();
            prop_assert!(matches!(options.normalize(&once), Cow::Borrowed(_)));
        }
    }

    proptest! {
        #[test]
        fn any_text_is_in_form_c_afterwards(text in "\\PC{0,60}") {
            let once = normalize(&text);
            prop_assert!(unicode_normalization::is_nfc(&once));
            prop_assert_eq!(normalize(&once), once);
        }
    }
}
