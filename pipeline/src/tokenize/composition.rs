//! Letters and marks on which the two engines' NFC differs. `tokenizers` 0.23 carries tables of an old Unicode version,
//! 1.0 those of a recent one: what has been given a decomposition or a combining class since is composed and ordered by
//! one engine only. Ids must be those of the reference, so a text with such a character goes to the reference when the
//! tokenizer composes. All of them belong to scripts and notations with next to no text on the web.

/// First and last code point of each run, from a comparison of both normalizers over all code points (see the test);
/// with the letters that such characters are composed from.
const NEWER: [(u32, u32); 63] = [
    (0x7fd, 0x7fd),
    (0x897, 0x89f),
    (0x8ca, 0x8d3),
    (0x9fe, 0x9fe),
    (0xc3c, 0xc3c),
    (0xd3b, 0xd3c),
    (0xeba, 0xeba),
    (0x1715, 0x1715),
    (0x1abf, 0x1add),
    (0x1ae0, 0x1aeb),
    (0x1df6, 0x1dfa),
    (0xa82c, 0xa82c),
    (0x105c9, 0x105c9),
    (0x105d2, 0x105d2),
    (0x105da, 0x105da),
    (0x105e4, 0x105e4),
    (0x10d24, 0x10d27),
    (0x10d69, 0x10d6d),
    (0x10eab, 0x10eac),
    (0x10efa, 0x10efb),
    (0x10efd, 0x10eff),
    (0x10f46, 0x10f50),
    (0x10f82, 0x10f85),
    (0x11070, 0x11070),
    (0x1133b, 0x1133b),
    (0x11382, 0x11385),
    (0x1138b, 0x1138b),
    (0x1138e, 0x1138e),
    (0x11390, 0x11391),
    (0x113c2, 0x113c2),
    (0x113c5, 0x113c5),
    (0x113c7, 0x113c8),
    (0x113ce, 0x113d0),
    (0x1145e, 0x1145e),
    (0x11839, 0x1183a),
    (0x11935, 0x11935),
    (0x11938, 0x11938),
    (0x1193d, 0x1193e),
    (0x11943, 0x11943),
    (0x119e0, 0x119e0),
    (0x11a34, 0x11a34),
    (0x11a47, 0x11a47),
    (0x11a99, 0x11a99),
    (0x11d42, 0x11d42),
    (0x11d44, 0x11d45),
    (0x11d97, 0x11d97),
    (0x11f41, 0x11f42),
    (0x1611e, 0x1611e),
    (0x16121, 0x16129),
    (0x1612f, 0x1612f),
    (0x16d63, 0x16d63),
    (0x16d67, 0x16d6a),
    (0x16ff0, 0x16ff1),
    (0x1e08f, 0x1e08f),
    (0x1e130, 0x1e136),
    (0x1e2ae, 0x1e2ae),
    (0x1e2ec, 0x1e2ef),
    (0x1e4ec, 0x1e4ef),
    (0x1e5ee, 0x1e5ef),
    (0x1e6e3, 0x1e6e3),
    (0x1e6e6, 0x1e6e6),
    (0x1e6ee, 0x1e6ef),
    (0x1e6f5, 0x1e6f5),
];

/// Whether both engines compose this text alike.
pub(super) fn is_settled(text: &str) -> bool {
    text.is_ascii() || !text.chars().any(is_newer)
}

fn is_newer(character: char) -> bool {
    match u32::from(character) {
        // Latin to Arabic, Latin Extended to Yi, and the rest of the basic plane: most text ends here.
        ..=0x7fc | 0x1e00..=0xa82b | 0xa82d..=0x105c8 => false,
        code => NEWER
            .binary_search_by(|&(first, last)| {
                if last < code {
                    std::cmp::Ordering::Less
                } else if first > code {
                    std::cmp::Ordering::Greater
                } else {
                    std::cmp::Ordering::Equal
                }
            })
            .is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tokenizers_reference::{
        NormalizedString, Normalizer,
        normalizers::{NFC, NFD},
    };
    use unicode_normalization::UnicodeNormalization as _;

    use super::*;

    fn reference(normalizer: impl Normalizer, text: &str) -> String {
        let mut normalized = NormalizedString::from(text);
        normalizer.normalize(&mut normalized).unwrap();
        normalized.get().to_owned()
    }

    /// Alone, and among marks of combining classes 1, 230 and 240, which shows every class.
    fn contexts(character: char) -> [String; 4] {
        [
            format!("{character}"),
            format!("a\u{345}{character}\u{334}"),
            format!("a{character}\u{345}"),
            format!("a\u{301}{character}\u{334}"),
        ]
    }

    fn is_treated_alike(character: char) -> bool {
        contexts(character).iter().all(|text| {
            reference(NFC, text) == text.nfc().collect::<String>()
                && reference(NFD, text) == text.nfd().collect::<String>()
        })
    }

    #[test]
    fn every_listed_character_is_found_and_its_neighbours_are_not() {
        for (first, last) in NEWER {
            for code in first..=last {
                assert!(is_newer(char::from_u32(code).unwrap()), "U+{code:04X}");
            }
            for code in [first - 1, last + 1] {
                let listed = NEWER.iter().any(|&(a, b)| (a..=b).contains(&code));
                assert_eq!(
                    is_newer(char::from_u32(code).unwrap()),
                    listed,
                    "U+{code:04X}"
                );
            }
        }
        assert!(is_settled("plain") && is_settled("é 中文 हिन्दी") && !is_settled("x\u{16d68}"));
    }

    #[test]
    #[ignore = "a minute: normalizes every code point in four contexts with two libraries"]
    fn the_list_holds_every_character_that_is_composed_differently() {
        let mut newer = BTreeSet::new();
        for character in ('\u{80}'..=char::MAX).filter(|&character| !is_treated_alike(character)) {
            newer.insert(character);
            // What it is composed from is common to no other text: the first part gives it away.
            newer.extend(character.nfd().next());
        }
        let wrong: Vec<String> = ('\u{80}'..=char::MAX)
            .filter(|character| newer.contains(character) != is_newer(*character))
            .map(|character| format!("U+{:04X}", u32::from(character)))
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}
