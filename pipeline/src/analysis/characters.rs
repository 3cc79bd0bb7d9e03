//! Character classes as Python has them, since the published rules were computed with it.
//!
//! `str.isalpha` is general category L\* and `str.isalnum` adds N\*; Rust's `is_alphabetic` is the wider
//! property Alphabetic, which counts vowel signs and circled letters. `str.split`, `str.strip` and `isspace`
//! also take U+001C to U+001F for space. The categories are those of `regex-syntax` (Unicode 16); characters
//! assigned later count as neither.

use std::sync::LazyLock;

use regex_syntax::hir::{Class, HirKind};

/// One bit a code point.
pub(crate) struct Set(Vec<u64>);

impl Set {
    fn parse(pattern: &str) -> Self {
        let mut bits = vec![0_u64; (char::MAX as usize >> 6) + 1];
        if let Ok(tree) = regex_syntax::parse(pattern)
            && let HirKind::Class(Class::Unicode(class)) = tree.kind()
        {
            for code in class
                .ranges()
                .iter()
                .flat_map(|range| range.start() as usize..=range.end() as usize)
            {
                bits[code >> 6] |= 1 << (code & 63);
            }
        }
        Self(bits)
    }

    #[inline]
    pub(crate) fn contains(&self, character: char) -> bool {
        let code = character as usize;
        self.0[code >> 6] >> (code & 63) & 1 == 1
    }
}

/// `str.isalpha` of one character.
pub(crate) static LETTERS: LazyLock<Set> = LazyLock::new(|| Set::parse(r"\p{L}"));
/// `str.isalnum` of one character.
pub(crate) static ALPHANUMERICS: LazyLock<Set> = LazyLock::new(|| Set::parse(r"[\p{L}\p{N}]"));
/// `str.isdecimal` of one character, and `\d` of Python's regular expressions.
pub(crate) static DECIMALS: LazyLock<Set> = LazyLock::new(|| Set::parse(r"\p{Nd}"));

/// `str.isspace` of one character.
#[inline]
pub(crate) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&character)
}

/// Where `str.splitlines` breaks; `"\r\n"` is one break.
#[inline]
pub(crate) fn is_line_break(character: char) -> bool {
    matches!(character, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// `str.strip`.
#[inline]
pub(crate) fn strip(text: &str) -> &str {
    strip_start(strip_end(text))
}

/// `str.lstrip`.
#[inline]
pub(crate) fn strip_start(text: &str) -> &str {
    let bytes = text.as_bytes();
    let visible = bytes.iter().position(|&byte| !is_ascii_space(byte));
    match visible.map(|at| (at, bytes[at])) {
        None => "",
        Some((at, ..0x80)) => &text[at..],
        Some((at, _)) => text[at..].trim_start_matches(is_space),
    }
}

/// `str.rstrip`.
#[inline]
pub(crate) fn strip_end(text: &str) -> &str {
    let bytes = text.as_bytes();
    let visible = bytes.iter().rposition(|&byte| !is_ascii_space(byte));
    match visible.map(|at| (at, bytes[at])) {
        None => "",
        Some((at, ..0x80)) => &text[..=at],
        Some((at, _)) => text[..=at].trim_end_matches(is_space),
    }
}

#[inline(always)]
fn is_ascii_space(byte: u8) -> bool {
    byte::FLAGS[usize::from(byte)] & byte::SPACE != 0
}

/// Whether there is nothing but space, or nothing.
#[inline]
pub(crate) fn is_blank(text: &str) -> bool {
    strip_start(text).is_empty()
}

/// Whether `str.split` makes at least so many words of a line, looking no further.
pub(crate) fn has_words(line: &str, least: usize) -> bool {
    let mut words = 0;
    let mut parted = true;
    for (at, &byte) in line.as_bytes().iter().enumerate() {
        if words >= least {
            return true;
        }
        if !byte.is_ascii() {
            let rest = line[at..].split(is_space);
            let ends = usize::from(parted);
            // What stands before the first space goes on with the word that was counted last.
            let more = rest
                .enumerate()
                .filter(|(i, word)| !word.is_empty() && i + ends > 0);
            return words + more.take(least - words).count() >= least;
        }
        let space = byte::FLAGS[usize::from(byte)] & byte::SPACE != 0;
        words += usize::from(parted && !space);
        parted = space;
    }
    words >= least
}

/// Unicode scalars, which is what Python counts.
#[inline]
pub(crate) fn count_characters(text: &str) -> u64 {
    // A byte a lane, and no more than a lane holds.
    const GROUP: usize = 128;
    let starts = |bytes: &[u8]| {
        let ones = bytes.iter().map(|&byte| u8::from(byte & 0xc0 != 0x80));
        u64::from(ones.fold(0, u8::wrapping_add))
    };
    let (groups, rest) = text.as_bytes().as_chunks::<GROUP>();
    groups.iter().map(|group| starts(group)).sum::<u64>() + starts(rest)
}

/// What an ASCII byte is, in bits; one load a byte in the loops over words.
pub(crate) mod byte {
    /// Python's space.
    pub(crate) const SPACE: u8 = 1;
    /// fastText's separators: ASCII space without U+001C to U+001F, and NUL.
    pub(crate) const SEPARATOR: u8 = 2;

    pub(crate) static FLAGS: [u8; 256] = {
        let mut flags = [0; 256];
        let mut code = 0_u8;
        while code < 0x80 {
            flags[code as usize] = match code {
                0 => SEPARATOR,
                b'\t'..=b'\r' | b' ' => SPACE | SEPARATOR,
                0x1c..=0x1f => SPACE,
                _ => 0,
            };
            code += 1;
        }
        flags
    };
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn classes_are_those_of_python() {
        // CPython 3.11: [c.isalpha() for c in s], [c.isalnum() for c in s].
        let characters = [
            'a', '\u{e9}', '\u{4f60}', '1', '\u{bd}', '\u{2167}', '\u{b2}', '\u{93f}', '\u{e31}',
            '\u{345}', '\u{24b6}', '_',
        ];
        let letters = characters.map(|character| LETTERS.contains(character));
        assert_eq!(
            letters,
            [
                true, true, true, false, false, false, false, false, false, false, false, false
            ]
        );
        let alphanumerics = characters.map(|character| ALPHANUMERICS.contains(character));
        assert_eq!(
            alphanumerics,
            [
                true, true, true, true, true, true, true, false, false, false, false, false
            ]
        );
    }

    #[test]
    fn classes_lie_within_those_of_rust_and_miss_nothing_that_python_knows() {
        let count = |set: &Set| ('\0'..=char::MAX).filter(|&c| set.contains(c)).count();
        assert!(('\0'..=char::MAX).all(|c| !LETTERS.contains(c) || c.is_alphabetic()));
        assert!(('\0'..=char::MAX).all(|c| !ALPHANUMERICS.contains(c) || c.is_alphanumeric()));
        // CPython 3.11 (Unicode 14): sum(chr(i).isalpha() for i in range(0x110000)), and isalnum. Later
        // versions only add.
        assert!(count(&LETTERS) >= 131_756 && count(&LETTERS) < 131_756 + 12_000);
        assert!(count(&ALPHANUMERICS) >= 133_547 && count(&ALPHANUMERICS) < 133_547 + 12_000);
    }

    #[test]
    fn spaces_and_line_breaks_are_those_of_python() {
        // CPython 3.11: the characters where c.isspace(), and where len(("a" + c + "a").splitlines()) == 2.
        let spaces: Vec<u32> = ('\0'..=char::MAX)
            .filter(|&c| is_space(c))
            .map(u32::from)
            .collect();
        let mut expected: Vec<u32> = (0x9..=0xd)
            .chain(0x1c..=0x20)
            .chain([0x85, 0xa0, 0x1680])
            .collect();
        expected.extend((0x2000..=0x200a).chain([0x2028, 0x2029, 0x202f, 0x205f, 0x3000]));
        assert_eq!(spaces, expected);
        let breaks: Vec<u32> = ('\0'..=char::MAX)
            .filter(|&c| is_line_break(c))
            .map(u32::from)
            .collect();
        assert_eq!(
            breaks,
            [0xa, 0xb, 0xc, 0xd, 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn ends_words_and_characters_are_those_of_the_obvious_way(
            text in "[ab\t \u{1c}\u{7f}\u{85}\u{a0}\u{e9}\u{3000}\u{4f60}\u{1f600}]{0,20}",
            times in 1_usize..30,
            least in 0_usize..6,
        ) {
            prop_assert_eq!(strip_start(&text), text.trim_start_matches(is_space));
            prop_assert_eq!(strip_end(&text), text.trim_end_matches(is_space));
            prop_assert_eq!(strip(&text), text.trim_matches(is_space));
            prop_assert_eq!(is_blank(&text), text.chars().all(is_space));
            let words = text.split(is_space).filter(|word| !word.is_empty()).count();
            prop_assert_eq!(has_words(&text, least), words >= least);
            let long = text.repeat(times);
            prop_assert_eq!(count_characters(&long), long.chars().count() as u64);
        }
    }

    #[test]
    fn byte_flags_know_the_same_spaces() {
        for code in 0..0x80_u8 {
            let flags = byte::FLAGS[usize::from(code)];
            let character = char::from(code);
            assert_eq!(flags & byte::SPACE != 0, is_space(character));
        }
    }
}
