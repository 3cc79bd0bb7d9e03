//! What 16 bytes are, a bit each: letters, digits, white space, other ASCII, and bytes beyond it. The lowest bit is the first byte.

#![cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "SSE2, which every processor of x86-64 has")
)]

/// 16 bytes.
#[derive(Clone, Copy)]
pub(super) struct Block(u128);

impl Block {
    #[inline(always)]
    pub(super) fn new(bytes: u128) -> Self {
        Self(bytes)
    }

    /// Those that are ASCII and no letters.
    #[inline(always)]
    pub(super) fn edges(self) -> u32 {
        !(self.letters_and_others() & 0xffff) & 0xffff
    }

    /// Those that are spaces.
    #[inline(always)]
    pub(super) fn spaces(self) -> u32 {
        self.between(b' ', b' ')
    }

    /// Those that are white space.
    #[inline(always)]
    pub(super) fn white(self) -> u32 {
        self.between(b'\t', b'\r') | self.spaces()
    }

    /// Those that are digits.
    #[inline(always)]
    pub(super) fn digits(self) -> u32 {
        self.between(b'0', b'9')
    }
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::Block;

    impl Block {
        #[inline(always)]
        #[expect(
            clippy::cast_possible_truncation,
            reason = "halves of a number are taken"
        )]
        fn vector(self) -> __m128i {
            // SAFETY: the processor has SSE2, and nothing is read from memory.
            unsafe { _mm_set_epi64x((self.0 >> 64) as i64, self.0 as i64) }
        }

        /// Those from `first` to `last`.
        #[inline(always)]
        pub(super) fn between(self, first: u8, last: u8) -> u32 {
            bits(within(self.vector(), first, last))
        }

        /// Letters and all that is not ASCII.
        #[inline(always)]
        pub(super) fn letters_and_others(self) -> u32 {
            let bytes = self.vector();
            // SAFETY: as above.
            unsafe {
                let lower = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
                bits(_mm_or_si128(bytes, within(lower, b'a', b'z')))
            }
        }

        /// Those beyond ASCII.
        #[inline(always)]
        pub(in super::super) fn beyond(self) -> u32 {
            bits(self.vector())
        }
    }

    #[inline(always)]
    fn within(bytes: __m128i, first: u8, last: u8) -> __m128i {
        // SAFETY: as above.
        unsafe {
            let above = _mm_sub_epi8(bytes, _mm_set1_epi8(first.cast_signed()));
            let most = _mm_set1_epi8((last - first).cast_signed());
            _mm_cmpeq_epi8(_mm_min_epu8(above, most), above)
        }
    }

    /// The high bits.
    #[inline(always)]
    fn bits(bytes: __m128i) -> u32 {
        // SAFETY: as above.
        unsafe { _mm_movemask_epi8(bytes).cast_unsigned() }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl Block {
    #[inline(always)]
    fn bits(self, is: impl Fn(u8) -> bool) -> u32 {
        let bytes = self.0.to_le_bytes().into_iter();
        bytes
            .rev()
            .fold(0, |bits, byte| bits << 1 | u32::from(is(byte)))
    }

    /// Those from `first` to `last`.
    #[inline(always)]
    fn between(self, first: u8, last: u8) -> u32 {
        self.bits(|byte| (first..=last).contains(&byte))
    }

    /// Letters and all that is not ASCII.
    #[inline(always)]
    fn letters_and_others(self) -> u32 {
        self.bits(|byte| byte >= 0x80 || byte.is_ascii_alphabetic())
    }

    /// Those beyond ASCII.
    #[inline(always)]
    pub(super) fn beyond(self) -> u32 {
        self.bits(|byte| byte >= 0x80)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_seen_at_each_place() {
        for byte in 0..=255u8 {
            for at in 0..16 {
                let mut bytes = [b'a'; 16];
                bytes[at] = byte;
                let block = Block::new(u128::from_le_bytes(bytes));
                let is = |bits: u32| bits >> at & 1 == 1;
                let is_edge = byte.is_ascii() && !byte.is_ascii_alphabetic();
                assert_eq!(block.edges(), u32::from(is_edge) << at, "{byte}");
                assert_eq!(
                    is(block.white()),
                    char::from(byte).is_whitespace() && byte.is_ascii()
                );
                assert_eq!(is(block.digits()), byte.is_ascii_digit(), "{byte}");
                assert_eq!(block.spaces(), u32::from(byte == b' ') << at);
                assert_eq!(block.beyond(), u32::from(!byte.is_ascii()) << at);
            }
        }
    }
}
