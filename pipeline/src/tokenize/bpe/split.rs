//! Where words end: scanners by hand that give the pieces of the GPT-2 expression
//! (`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`, `openai/gpt-2`, `src/encoder.py`) and those of Falcon's
//! sequence (`tiiuae/falcon-40b`, `tokenizer.json`: punctuation apart, then the GPT-2 expression on what is between, then digits apart and
//! in threes), and, where a vocabulary has tokens for runs of spaces (`EleutherAI/gpt-neox-20b`), take these out first.

use super::classes::{Classes, PUNCTUATION, SPACE, UNSETTLED};

/// A vocabulary's pre-tokenizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tokenize) enum Split {
    /// The GPT-2 expression.
    Gpt2,
    /// Falcon's sequence.
    Falcon,
}

/// What is found at a place of the text.
pub(super) enum Found {
    /// A word, with its end, and whether one of its characters is unsettled.
    Word(usize, bool),
    /// A run of at least two spaces, with its end.
    Spaces(usize),
}

/// The next word of a text at `at`, which is before its end. `runs` takes runs of spaces for pieces of their own.
pub(super) fn next<const FALCON: bool>(
    classes: &Classes,
    text: &[u8],
    at: usize,
    runs: bool,
) -> Found {
    let first = text[at];
    if !FALCON && first == b'\'' {
        match text.get(at + 1..).unwrap_or_default() {
            [b's' | b't' | b'm' | b'd', ..] => return Found::Word(at + 2, false),
            [b'r' | b'v', b'e', ..] | [b'l', b'l', ..] => return Found::Word(at + 3, false),
            _ => {}
        }
    }
    let (mut class, mut length) = classes.at(text, at);
    let mut from = at;
    if first == b' ' && at + 1 < text.len() {
        if runs && text[at + 1] == b' ' {
            return Found::Spaces(end_of_spaces(text, at));
        }
        let (following, bytes) = classes.at(text, at + 1);
        if !matches!(following & !UNSETTLED, SPACE | PUNCTUATION) {
            (class, length, from) = (following, bytes, at + 1);
        }
    }
    let mut flags = class;
    class &= !UNSETTLED;
    let mut end = from + length;
    if class != SPACE {
        while end < text.len() {
            let (next, bytes) = classes.at(text, end);
            if next & !UNSETTLED != class {
                break;
            }
            flags |= next;
            end += bytes;
        }
        return Found::Word(end, flags & UNSETTLED != 0);
    }
    // White space up to the last of it, which is left to what follows, unless nothing follows in this piece.
    let mut last = at;
    while end < text.len() {
        let (next, bytes) = classes.at(text, end);
        let next_class = next & !UNSETTLED;
        if next_class == PUNCTUATION
            || (runs && next_class == SPACE && text[end..].starts_with(b"  "))
        {
            return Found::Word(end, flags & UNSETTLED != 0);
        }
        if next_class != SPACE {
            let end = if last == at { end } else { last };
            return Found::Word(end, flags & UNSETTLED != 0);
        }
        flags |= next;
        last = end;
        end += bytes;
    }
    Found::Word(end, flags & UNSETTLED != 0)
}

fn end_of_spaces(text: &[u8], at: usize) -> usize {
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| **byte == b' ').count()
}

/// The 16 bytes at `at`; zeros stand for those after the end.
#[inline(always)]
pub(super) fn sixteen(text: &[u8], at: usize) -> u128 {
    match text.get(at..).and_then(<[u8]>::first_chunk::<16>) {
        Some(bytes) => u128::from_le_bytes(*bytes),
        None => tail(text.get(at..).unwrap_or_default()),
    }
}

#[cold]
fn tail(rest: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    for (byte, into) in rest.iter().zip(&mut bytes) {
        *into = *byte;
    }
    u128::from_le_bytes(bytes)
}

/// The parts of a word of Falcon's, each given to `each`: its digits apart, and ASCII digits in threes. The sequence looks for digits when
/// bytes have become letters of GPT-2's alphabet, so that bytes which stand for `²³¹¼½¾` there are digits too, wherever they come from.
pub(super) fn falcon_parts<'a>(word: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    let mut rest = word;
    while let Some(first) = rest.first() {
        let numeric = is_numeric(*first);
        let run = rest
            .iter()
            .take_while(|byte| is_numeric(**byte) == numeric)
            .count();
        let (mut run, after) = rest.split_at(run);
        rest = after;
        if numeric {
            while let Some(at) = run
                .windows(3)
                .position(|three| three.iter().all(u8::is_ascii_digit))
            {
                let (before, three) = run.split_at(at);
                if !before.is_empty() {
                    each(before);
                }
                let (three, after) = three.split_at(3);
                each(three);
                run = after;
            }
        }
        if !run.is_empty() {
            each(run);
        }
    }
}

/// Whether `falcon_parts` would leave a word whole.
pub(super) fn is_one_part(word: &[u8]) -> bool {
    !word.iter().any(|byte| is_numeric(*byte))
}

fn is_numeric(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | 0xb2 | 0xb3 | 0xb9 | 0xbc..=0xbe)
}
