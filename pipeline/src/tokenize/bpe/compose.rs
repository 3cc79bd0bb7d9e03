//! NFC where it matters. A character is settled if it has combining class 0, never joins the one before it, and stays what it is: what
//! stands before it and what begins with it are composed apart from each other (Unicode Standard Annex 15, 9.1 "Stable code points"), so a
//! text is looked at in pieces from a settled character over all that are not up to the next that is. Composition is
//! `unicode-normalization-alignments`', whose tables `tokenizers` 0.23 has.

use std::borrow::Cow;

use unicode_normalization_alignments::{IsNormalized, UnicodeNormalization as _, is_nfc_quick};

use super::classes::Classes;

/// Whether composing leaves alone what stands around `at..end` of a text, from a settled character at or before `at` to one at or after
/// `end`; the place of the second, or the end of the text.
pub(super) fn stays(classes: &Classes, text: &str, at: usize, end: usize) -> Option<usize> {
    let mut from = at;
    while from > 0 && !classes.is_settled(text, from) {
        from = text.floor_char_boundary(from - 1);
    }
    while let Some(unsettled) = classes.next_unsettled(text, from) {
        if unsettled > end {
            break;
        }
        let (start, after) = piece(classes, text, unsettled);
        let piece = text.get(start..after).unwrap_or_default();
        let stays = match is_nfc_quick(piece.chars()) {
            IsNormalized::Yes => true,
            IsNormalized::No => false,
            IsNormalized::Maybe => piece
                .chars()
                .eq(piece.nfc().map(|(character, _)| character)),
        };
        if !stays {
            return None;
        }
        from = after;
    }
    Some(from.max(end))
}

/// A text in NFC.
pub(super) fn composed<'a>(classes: &Classes, text: &'a str) -> Cow<'a, str> {
    let (mut from, mut copied) = (0, 0);
    let mut made = String::new();
    while let Some(unsettled) = classes.next_unsettled(text, from) {
        let (start, after) = piece(classes, text, unsettled);
        let piece = text.get(start..after).unwrap_or_default();
        if !matches!(is_nfc_quick(piece.chars()), IsNormalized::Yes) {
            made.push_str(text.get(copied..start).unwrap_or_default());
            made.extend(piece.nfc().map(|(character, _)| character));
            copied = after;
        }
        from = after;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    made.push_str(text.get(copied..).unwrap_or_default());
    Cow::Owned(made)
}

/// From the character before an unsettled one to the next that is settled, or the end of the text.
fn piece(classes: &Classes, text: &str, unsettled: usize) -> (usize, usize) {
    let start = text.floor_char_boundary(unsettled.saturating_sub(1));
    let mut after = unsettled;
    while !classes.is_settled(text, after) {
        after = text.ceil_char_boundary(after + 1);
    }
    (start, after)
}

#[cfg(test)]
mod tests {
    use super::super::super::mutate::Random;
    use super::super::classes::GPT2;
    use super::*;

    /// Characters that compose, reorder, decompose, and none of these.
    const SOME: [char; 24] = [
        'a', '=', ' ', 'é', 'e', '\u{301}', '\u{327}', '\u{338}', '\u{323}', '\u{1100}',
        '\u{1161}', '\u{11a8}', '가', '\u{958}', '\u{93c}', '\u{928}', '中', '\u{f900}',
        '\u{212b}', '\u{e33}', '\u{e49}', '\u{344}', '\u{9c7}', '\u{9be}',
    ];

    #[test]
    fn pieces_compose_as_the_whole() {
        let mut random = Random::new(5);
        let mut changed = 0;
        for _ in 0..100_000 {
            let count = random.below(14);
            let text: String = (0..count).map(|_| SOME[random.below(SOME.len())]).collect();
            let whole: String = text.nfc().map(|(character, _)| character).collect();
            assert_eq!(composed(&GPT2, &text), whole, "{text:?}");
            assert_eq!(
                stays(&GPT2, &text, 0, text.len()).is_some(),
                whole == text,
                "{text:?}"
            );
            changed += usize::from(whole != text);
            // Of a place within it, what is told to stay does not compose, whatever stands further away.
            let at = text.floor_char_boundary(random.below(text.len() + 1));
            let end = text.ceil_char_boundary(at + random.below(text.len() - at + 1));
            if let Some(until) = stays(&GPT2, &text, at, end) {
                let from = text.len() - text[at..].len();
                assert!(GPT2.is_settled(&text, until), "{text:?}");
                let before: String = text[..until]
                    .nfc()
                    .map(|(character, _)| character)
                    .collect();
                assert!(before.ends_with(&text[from..until]), "{text:?} {at} {end}");
            }
        }
        assert!(changed > 10_000);
    }
}
