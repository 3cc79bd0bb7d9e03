//! ASCII letters, sixteen bytes at once.

#![expect(
    unsafe_code,
    reason = "SSE2 instructions, which every x86-64 processor has, are unsafe to call where a function does not name them"
)]

#[cfg(any(not(target_arch = "x86_64"), test))]
use crate::dedup::words::{HIGH_BITS, letter_bits};

/// How many of sixteen bytes are ASCII letters before another comes.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn leading_letters(bytes: &[u8; 16]) -> usize {
    use std::arch::x86_64::{
        _mm_add_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of x86-64, and sixteen bytes are read from an array of as many, at any alignment.
    let letters = unsafe {
        let lower = _mm_or_si128(_mm_loadu_si128(bytes.as_ptr().cast()), _mm_set1_epi8(0x20));
        // Brings `a` to the lowest signed byte, so that one comparison tells letters.
        let from_a = _mm_add_epi8(lower, _mm_set1_epi8(0x1f));
        _mm_movemask_epi8(_mm_cmpgt_epi8(_mm_set1_epi8(i8::MIN + 26), from_a))
    };
    (!letters).trailing_zeros() as usize
}

/// The same, and how many come before the first that is white space of ASCII to Python.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn leading(bytes: &[u8; 16]) -> (usize, usize) {
    use std::arch::x86_64::{
        _mm_add_epi8, _mm_cmpgt_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: as in `leading_letters`.
    let spaces = unsafe {
        let bytes = _mm_loadu_si128(bytes.as_ptr().cast());
        // Brings `\t` and U+001C to the lowest signed byte: `\t` to `\r` are five, and so are U+001C to space.
        let limit = _mm_set1_epi8(i8::MIN + 5);
        let from_tab = _mm_add_epi8(bytes, _mm_set1_epi8(0x77));
        let from_separator = _mm_add_epi8(bytes, _mm_set1_epi8(0x64));
        _mm_movemask_epi8(_mm_or_si128(
            _mm_cmpgt_epi8(limit, from_tab),
            _mm_cmpgt_epi8(limit, from_separator),
        ))
    };
    let visible = (spaces | 1 << 16).trailing_zeros() as usize;
    (leading_letters(bytes), visible)
}

/// How many of sixteen bytes are ASCII letters before another comes.
#[cfg(not(target_arch = "x86_64"))]
pub(super) use self::leading_letters_of_any as leading_letters;

/// The same, and how many come before the first that is white space of ASCII to Python.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(super) fn leading(bytes: &[u8; 16]) -> (usize, usize) {
    use crate::analysis::characters::byte;

    let space = |byte: &u8| byte::FLAGS[usize::from(*byte)] & byte::SPACE != 0;
    let visible = bytes.iter().position(space).unwrap_or(16);
    (leading_letters(bytes), visible)
}

#[cfg(any(not(target_arch = "x86_64"), test))]
#[inline(always)]
pub(super) fn leading_letters_of_any(bytes: &[u8; 16]) -> usize {
    let (halves, _) = bytes.as_chunks::<8>();
    let [first, second] = [halves[0], halves[1]].map(|half| {
        let others = !letter_bits(u64::from_le_bytes(half)) & HIGH_BITS;
        others.trailing_zeros() as usize / 8
    });
    first + if first == 8 { second } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::characters::is_space;

    #[test]
    fn white_space_is_found_in_every_place() {
        for place in 0..16 {
            for byte in 0..=u8::MAX {
                let mut bytes = *b"abcdefghijklmnop";
                bytes[place] = byte;
                let space = byte.is_ascii() && is_space(char::from(byte));
                let expected = if space { place } else { 16 };
                assert_eq!(
                    leading(&bytes),
                    (leading_letters(&bytes), expected),
                    "{byte:#x} at {place}"
                );
            }
        }
    }

    #[test]
    fn letters_end_at_every_other_byte_in_every_place() {
        for place in 0..16 {
            for byte in 0..=u8::MAX {
                for letter in [b'a', b'z', b'A', b'Z', b'q'] {
                    let mut bytes = [letter; 16];
                    bytes[place] = byte;
                    let expected = if byte.is_ascii_alphabetic() {
                        16
                    } else {
                        place
                    };
                    assert_eq!(leading_letters(&bytes), expected, "{byte:#x} at {place}");
                    assert_eq!(leading_letters_of_any(&bytes), expected);
                }
            }
        }
    }
}
