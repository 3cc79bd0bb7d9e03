//! Where lines may end, sixty-four bytes at once.

#![cfg_attr(
    target_arch = "x86_64",
    expect(
        unsafe_code,
        reason = "SSE2 instructions, which every x86-64 processor has, are unsafe to call where a function does not name them"
    )
)]

/// What stands in a text, beside the places of its `\n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::analysis) struct Bytes {
    /// Whether a byte is beyond ASCII.
    pub(in crate::analysis) beyond_ascii: bool,
    /// Whether a control character of ASCII other than `\t` and `\n` is among them: lines may end there too.
    pub(in crate::analysis) control: bool,
}

/// Puts the places of all `\n` into `ends`; the text is shorter than 2^30 bytes.
pub(in crate::analysis) fn find(text: &[u8], ends: &mut Vec<u32>) -> Bytes {
    ends.clear();
    let (blocks, rest) = text.as_chunks::<64>();
    let mut last = [b' '; 64];
    last[..rest.len()].copy_from_slice(rest);
    let mut seen = Seen::default();
    let mut base = 0;
    for block in blocks.iter().chain([&last]) {
        let mut breaks = seen.take(block);
        ends.reserve(64);
        while breaks != 0 {
            ends.push(base + breaks.trailing_zeros());
            breaks &= breaks - 1;
        }
        base += 64;
    }
    seen.told()
}

#[cfg(target_arch = "x86_64")]
use self::sse2::Seen;

#[cfg(target_arch = "x86_64")]
mod sse2 {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_cmpgt_epi8, _mm_loadu_si128,
        _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi8, _mm_setzero_si128,
    };

    use super::Bytes;

    /// All bytes, and of each place whether a control character stood there.
    pub(super) struct Seen {
        all: __m128i,
        control: __m128i,
    }

    impl Default for Seen {
        fn default() -> Self {
            // SAFETY: SSE2 is part of x86-64.
            let zero = unsafe { _mm_setzero_si128() };
            Self {
                all: zero,
                control: zero,
            }
        }
    }

    impl Seen {
        /// Takes 64 bytes; returns a bit for each `\n`.
        #[inline(always)]
        pub(super) fn take(&mut self, block: &[u8; 64]) -> u64 {
            let (parts, _) = block.as_chunks::<16>();
            let mut breaks = 0;
            for (number, part) in parts.iter().enumerate() {
                // SAFETY: SSE2 is part of x86-64, and sixteen bytes are read from an array of as many, at any
                // alignment.
                let found = unsafe {
                    let bytes = _mm_loadu_si128(part.as_ptr().cast());
                    let newline = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(10));
                    let tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(9));
                    // Signed, so that what is beyond ASCII is below too.
                    let below = _mm_cmpgt_epi8(_mm_set1_epi8(0x20), bytes);
                    let ascii = _mm_cmpgt_epi8(bytes, _mm_set1_epi8(-1));
                    let control = _mm_and_si128(below, ascii);
                    let others = _mm_andnot_si128(_mm_or_si128(newline, tab), control);
                    self.all = _mm_or_si128(self.all, bytes);
                    self.control = _mm_or_si128(self.control, others);
                    _mm_movemask_epi8(newline)
                };
                breaks |= u64::from(found.cast_unsigned()) << (16 * number);
            }
            breaks
        }

        pub(super) fn told(&self) -> Bytes {
            // SAFETY: SSE2 is part of x86-64.
            let [all, control] =
                [self.all, self.control].map(|bytes| unsafe { _mm_movemask_epi8(bytes) });
            Bytes {
                beyond_ascii: all != 0,
                control: control != 0,
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use self::portable::Seen;

#[cfg(any(not(target_arch = "x86_64"), test))]
mod portable {
    use super::Bytes;

    #[derive(Default)]
    pub(super) struct Seen(Bytes);

    impl Seen {
        pub(super) fn take(&mut self, block: &[u8; 64]) -> u64 {
            let mut breaks = 0;
            for (at, &byte) in block.iter().enumerate() {
                breaks |= u64::from(byte == b'\n') << at;
                self.0.beyond_ascii |= !byte.is_ascii();
                self.0.control |= byte < b' ' && !matches!(byte, b'\t' | b'\n');
            }
            breaks
        }

        pub(super) fn told(&self) -> Bytes {
            self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn breaks_are_found_at_every_place(text in "[a\t\n\r\u{b}\u{1c}\u{1f}\u{7f}\u{85}\u{4f60}]{0,150}") {
            let mut ends = Vec::new();
            let told = find(text.as_bytes(), &mut ends);
            let places: Vec<u32> = (0_u32..).zip(text.bytes()).filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect();
            prop_assert_eq!(ends, places);
            prop_assert_eq!(told.beyond_ascii, !text.is_ascii());
            let control = |c: char| c < ' ' && c != '\t' && c != '\n';
            prop_assert_eq!(told.control, text.contains(control));
            let mut block = [b' '; 64];
            for (byte, at) in text.bytes().zip(&mut block) {
                *at = byte;
            }
            let (mut one, mut other) = (Seen::default(), portable::Seen::default());
            prop_assert_eq!(one.take(&block), other.take(&block));
            prop_assert_eq!(one.told(), other.told());
        }
    }
}
