//! The text of a JSON string, taken out of its row in one go: looked at, copied and unescaped at once.
//!
//! Long texts are most of what a corpus file is. Looking for the closing quote, for backslashes and for control
//! characters, and copying, are four passes when done one after another, and code has an escape every few words, so
//! that none of them gets going. Here a block of bytes is copied whether or not it is wanted to its end, and one
//! comparison says how much of it was; where the processor can, escapes are taken out of the block on the way.

#![expect(
    unsafe_code,
    reason = "blocks are stored beyond the end of what is known to be wanted"
)]

/// Bytes looked at together.
const BLOCK: usize = 32;
/// The most bytes that are stored at once.
const ROOM: usize = 64;

/// How blocks are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    /// Up to the first escape, on any processor.
    Stretches,
    /// Escapes and all, 64 bytes at a time: AVX-512 with VBMI2, as of Ice Lake and Zen 4.
    #[cfg(target_arch = "x86_64")]
    Compress,
}

impl Kernel {
    fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512bw")
            && std::arch::is_x86_feature_detected!("avx512vbmi")
            && std::arch::is_x86_feature_detected!("avx512vbmi2")
        {
            return Self::Compress;
        }
        Self::Stretches
    }
}

/// The string that begins at `from`, just after its opening quote, and how many bytes it takes with its closing quote.
/// `None` for what is not valid, half a surrogate pair included.
pub(super) fn unescape(from: &str) -> Option<(String, usize)> {
    unescape_by(Kernel::best(), from)
}

#[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
fn unescape_by(kernel: Kernel, from: &str) -> Option<(String, usize)> {
    let bytes = from.as_bytes();
    // Names and ids: no room for the rest of the row is asked for and given back.
    let first = bytes.iter().take(BLOCK).position(|byte| is_special(*byte));
    if let Some(end) = first.filter(|at| bytes[*at] == b'"') {
        return Some((from[..end].to_owned(), end + 1));
    }
    // What comes out is never longer than what went in, and a block is stored whole: this much room is always enough.
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len() + ROOM);
    let to = out.as_mut_ptr();
    let (mut at, mut length) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    let wide = kernel == Kernel::Compress;
    loop {
        #[cfg(target_arch = "x86_64")]
        if wide {
            // SAFETY: the processor was asked; the room is there as for the block below.
            unsafe { compress_blocks(bytes, &mut at, to, &mut length) };
        }
        let special = match bytes[at..].first_chunk::<BLOCK>() {
            Some(block) => {
                // SAFETY: `length <= at`, for every step below adds at most as much to `length` as to `at`; and
                // `at <= bytes.len()`. So BLOCK bytes behind `length` are within the capacity.
                unsafe { to.add(length).cast::<[u8; BLOCK]>().write_unaligned(*block) };
                specials(block).trailing_zeros() as usize
            }
            None => {
                let rest = &bytes[at..];
                let special = rest.iter().position(|byte| is_special(*byte))?;
                // SAFETY: as above; `rest` is shorter than a block, and `out` was allocated apart from it.
                unsafe {
                    to.add(length)
                        .copy_from_nonoverlapping(rest.as_ptr(), special);
                };
                special
            }
        };
        at += special;
        length += special;
        if special == BLOCK {
            continue;
        }
        if bytes[at] != b'\\' {
            break;
        }
        let kind = *bytes.get(at + 1)?;
        let character = SHORT[kind as usize];
        if character != 0 {
            // SAFETY: as above.
            unsafe { to.add(length).write(character) };
            at += 2;
            length += 1;
        } else {
            let (character, taken) = escape(&bytes[at + 1..])?;
            at += 1 + taken;
            let mut utf8 = [0; 4];
            let utf8 = character.encode_utf8(&mut utf8);
            // SAFETY: as above: six bytes went in for at most three, or twelve for four.
            unsafe {
                to.add(length)
                    .copy_from_nonoverlapping(utf8.as_ptr(), utf8.len());
            }
            length += utf8.len();
        }
    }
    if bytes[at] != b'"' {
        // A control character, which JSON wants escaped.
        return None;
    }
    // SAFETY: the first `length` bytes were written. `from` is UTF-8; what was copied are stretches of it between ASCII
    // characters, so no character was cut, and what was put between them are whole characters.
    let mut text = unsafe {
        out.set_len(length);
        String::from_utf8_unchecked(out)
    };
    // A text may be most of its row or little of it.
    if text.capacity() > 2 * text.len() + BLOCK {
        text.shrink_to_fit();
    }
    Some((text, at + 1))
}

/// What the short escapes stand for, by the character after the backslash; 0 for others.
const SHORT: [u8; 256] = {
    let mut table = [0; 256];
    table[b'n' as usize] = b'\n';
    table[b't' as usize] = b'\t';
    table[b'r' as usize] = b'\r';
    table[b'b' as usize] = 8;
    table[b'f' as usize] = 12;
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table
};

/// The character that an escape stands for, and how many bytes it takes after its backslash: a character beyond 16 bits is two
/// escapes, a surrogate pair. `None` for what is no escape.
pub(super) fn escape(after: &[u8]) -> Option<(char, usize)> {
    let (kind, digits) = after.split_first()?;
    let character = SHORT[*kind as usize];
    if character != 0 {
        return Some((char::from(character), 1));
    }
    if *kind != b'u' {
        return None;
    }
    let number = hex(digits.get(..4)?)?;
    if !(0xd800..0xdc00).contains(&number) {
        return Some((char::from_u32(number)?, 5));
    }
    let low = match digits.get(4..6)? {
        b"\\u" => hex(digits.get(6..10)?)?.checked_sub(0xdc00)?,
        _ => return None,
    };
    let character = (low < 0x400).then(|| 0x10000 + ((number - 0xd800) << 10) + low)?;
    Some((char::from_u32(character)?, 11))
}

/// The number that four hexadecimal digits are.
fn hex(digits: &[u8]) -> Option<u32> {
    let mut number = 0;
    for digit in digits {
        number = number << 4 | char::from(*digit).to_digit(16)?;
    }
    Some(number)
}

/// Whether a plain stretch ends here: a quote, a backslash, or a control character.
#[inline(always)]
fn is_special(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// Unescapes whole blocks from `at` on, and moves `at` and `length`, until fewer bytes than a block are left or one is met that
/// is no text and no short escape: the closing quote, a control character, a long escape, a mistake.
///
/// The backslashes that begin an escape are taken out of the block, and what they escape is looked up, all bytes at once; so
/// neither how many escapes there are nor where they stand costs anything.
///
/// # Safety
/// The processor has the features. From `length` on, `to` has room for what is left of `bytes` and [`ROOM`] more.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vbmi2")]
unsafe fn compress_blocks(bytes: &[u8], at: &mut usize, to: *mut u8, length: &mut usize) {
    use std::arch::x86_64::{
        _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_loadu_si512, _mm512_mask_mov_epi8,
        _mm512_maskz_compress_epi8, _mm512_movepi8_mask, _mm512_permutex2var_epi8,
        _mm512_set1_epi8, _mm512_storeu_si512, _mm512_testn_epi8_mask,
    };
    // SAFETY: the table is longer than what is loaded of it.
    let (low, high) = unsafe {
        let table = SHORT.as_ptr();
        (
            _mm512_loadu_si512(table.cast()),
            _mm512_loadu_si512(table.add(64).cast()),
        )
    };
    while let Some(block) = bytes[*at..].first_chunk::<64>() {
        // SAFETY: a block has as many bytes as are loaded.
        let text = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        let backslashes = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(0x5c));
        let controls = _mm512_cmplt_epu8_mask(text, _mm512_set1_epi8(0x20));
        let quotes = _mm512_cmpeq_epi8_mask(text, _mm512_set1_epi8(0x22));
        // Those that begin an escape. Where several follow each other, every other one.
        let mut begins = backslashes;
        if backslashes & backslashes << 1 != 0 {
            let mut left = backslashes;
            begins = 0;
            while left != 0 {
                let first = left & left.wrapping_neg();
                begins |= first;
                left &= !(first | first << 1);
            }
        }
        // An escape that begins with the last byte is the next block's.
        let whole = 64 - u32::from(begins >> 63 != 0);
        let escaped = begins << 1;
        let meant = _mm512_permutex2var_epi8(low, text, high);
        let unknown = _mm512_testn_epi8_mask(meant, meant) | _mm512_movepi8_mask(text);
        let stops = controls | quotes & !escaped | (unknown & escaped) >> 1;
        let taken = whole.min(stops.trailing_zeros());
        let wanted = !begins & u64::MAX.checked_shr(64 - taken).unwrap_or(0);
        let text = _mm512_mask_mov_epi8(text, escaped, meant);
        let text = _mm512_maskz_compress_epi8(wanted, text);
        // SAFETY: the caller's promise, which holds for the new `at` and `length` too, for no more is written than taken.
        unsafe { _mm512_storeu_si512(to.add(*length).cast(), text) };
        *at += taken as usize;
        *length += wanted.count_ones() as usize;
        if taken < whole {
            return;
        }
    }
}

/// A bit for every special byte of a block, the first one lowest.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn specials(block: &[u8; BLOCK]) -> u32 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8,
    };
    // SAFETY: SSE2 is part of this architecture, and both loads are within `block`.
    unsafe {
        let of_half = |half: __m128i| {
            let control = _mm_cmpeq_epi8(_mm_min_epu8(half, _mm_set1_epi8(0x1f)), half);
            let quote = _mm_cmpeq_epi8(half, _mm_set1_epi8(0x22));
            let backslash = _mm_cmpeq_epi8(half, _mm_set1_epi8(0x5c));
            let any = _mm_or_si128(control, _mm_or_si128(quote, backslash));
            _mm_movemask_epi8(any).cast_unsigned()
        };
        let from = block.as_ptr().cast::<__m128i>();
        of_half(_mm_loadu_si128(from)) | of_half(_mm_loadu_si128(from.add(1))) << 16
    }
}

/// A bit for every special byte of a block, the first one lowest.
#[cfg(not(target_arch = "x86_64"))]
fn specials(block: &[u8; BLOCK]) -> u32 {
    // Without a way out early it is a few instructions for sixteen bytes, and most blocks have none.
    if !block
        .iter()
        .fold(false, |any, &byte| any | is_special(byte))
    {
        return 0;
    }
    (0..).zip(block).fold(0, |mask, (bit, &byte)| {
        mask | u32::from(is_special(byte)) << bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `serde_json` makes of the string, and how many bytes it takes.
    fn judged(from: &str) -> Option<(String, usize)> {
        let quoted = format!("\"{from}");
        let mut values = serde_json::Deserializer::from_str(&quoted).into_iter::<String>();
        let text = values.next()?.ok()?;
        Some((text, values.byte_offset() - 1))
    }

    /// What all kernels make of it.
    fn everywhere(from: &str) -> Option<(String, usize)> {
        let found = unescape(from);
        assert_eq!(unescape_by(Kernel::Stretches, from), found, "{from:?}");
        found
    }

    #[test]
    fn every_special_byte_is_found_at_every_place() {
        for length in 0..140 {
            for special in (0..=255_u8).filter(u8::is_ascii) {
                let text = format!("{}{}\" rest", "é".repeat(length), char::from(special));
                assert_eq!(everywhere(&text), judged(&text), "{text:?}");
                let text = format!("{}{}\" {0}", "x".repeat(length), char::from(special));
                assert_eq!(everywhere(&text), judged(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn a_short_text_does_not_hold_the_room_of_its_row() {
        let row = format!("short\"{}", " ".repeat(1 << 20));
        assert!(everywhere(&row).unwrap().0.capacity() < 1 << 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_string_is_what_the_judge_says(pieces in prop::collection::vec(prop::sample::select(vec![
            "\"", "\\", "\\n", "\\\"", "\\\\", "\\/", "\\u00e9", "\\u20ac", "\\ud83d", "\\ude00", "\\ud83d\\ude00", "\\udbff\\udfff", "\\u12g4", "é", "😀", "\u{1}", "\t", "\u{7f}",
            "a", "eight by", "\\\\\\\\\\n", "a stretch that is longer than one block of bytes is", "\\b\\f\\r\\t",
        ]), 0..24)) {
            let text = pieces.concat();
            if let Some(found) = everywhere(&text) {
                prop_assert_eq!(Some(found), judged(&text), "{}", text);
            } else {
                prop_assert_eq!(None, judged(&text), "{}", text);
            }
        }
    }
}
