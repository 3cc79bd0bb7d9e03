//! Products by `vdpbf16ps`, which multiplies pairs of bf16 and adds both products to a number of single precision, sixteen at once.
//!
//! Both sides are packed in panels: of [`ROWS`] rows of the left one and of [`COLUMNS`] columns of the right one, for each pair of terms
//! a word for each of them, the even term below and the odd one above. Packing reads what it packs in the order in which it lies in
//! memory, and writes whole vectors: single numbers, set down far from each other, took a quarter of a product.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm512_add_ps, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps,
    _mm512_loadu_si512, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps,
    _mm512_permutexvar_epi16, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_shuffle_i32x4, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};
use std::cell::RefCell;

use andromeda_format::memory::{Pages, bring};
use rayon::prelude::*;

use crate::ops::fused::product::{On, View};

/// Rows and columns of the tile that is held in registers: 28 of 32, which leaves two for columns and one for a row.
pub(super) const ROWS: usize = 14;
pub(super) const COLUMNS: usize = 32;

/// Numbers or words of a register.
const LANES: usize = 16;

/// Panels of rows that one task multiplies at most: so many stay in the second cache while the columns go by.
const PANELS: usize = 18;

/// Whether this processor has the instructions.
pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512bf16")
}

/// A side of a product in panels. It is made by [`pack`] alone, so that where there is one there are the instructions.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    words: &'a [u32],
    /// Rows of a left side, columns of a right one.
    lines: usize,
    pairs: usize,
}

/// Packs the rows of `view`, `LINES` to a panel, in `memory`, where 0 stands for what is beyond the view.
///
/// # Panics
/// Where the processor has not the instructions.
pub(super) fn pack<'a, const LINES: usize>(
    view: View<'_, f32>,
    memory: &'a mut Pages<u32>,
    on: On,
) -> Packed<'a> {
    assert!(is_here(), "bf16 on a processor without AVX-512 for it");
    let (lines, depth) = view.shape();
    let pairs = depth.div_ceil(2);
    let count = lines.div_ceil(LINES) * pairs * LINES;
    let words = super::first(memory, count);
    // Panels whose numbers lie side by side are packed together, so that what is read at a time is long; but each thread is to have some.
    let panels = match on {
        _ if view.strides().0 != 1 => 1,
        On::AllThreads => (lines.div_ceil(LINES))
            .div_ceil(2 * rayon::current_num_threads())
            .clamp(1, 32),
        On::ThisThread => 32,
    };
    let size = (panels * pairs * LINES).max(1);
    let pack = |(task, words): (usize, &mut [u32])| {
        let first = task * panels * LINES;
        let view = view.part(first..lines.min(first + panels * LINES), 0..depth);
        // SAFETY: the instructions are there, by the assertion above.
        unsafe {
            if view.strides().0 == 1 {
                pack_across::<LINES>(view, words);
            } else {
                pack_along::<LINES>(view, words);
            }
        }
    };
    match on {
        On::AllThreads => words.par_chunks_mut(size).enumerate().for_each(pack),
        On::ThisThread => words.chunks_mut(size).enumerate().for_each(pack),
    }
    Packed {
        words,
        lines,
        pairs,
    }
}

thread_local! {
    /// Rows that a thread has packed, which its second cache holds while they are multiplied.
    static LEFT: RefCell<Pages<u32>> = RefCell::default();
}

/// `c = left right`, or `c += left right` with `add`; rows of `c` are `stride` apart.
pub(super) fn multiply(
    left: View<'_, f32>,
    right: Packed<'_>,
    c: &mut [f32],
    stride: usize,
    add: bool,
    on: On,
) {
    let (lines, depth) = left.shape();
    assert_eq!(depth.div_ceil(2), right.pairs, "sides that do not fit");
    // Some tasks a thread; which task a row is in changes nothing in it.
    let tasks = match on {
        On::AllThreads => 4 * rayon::current_num_threads(),
        On::ThisThread => 1,
    };
    let rows = ROWS * lines.div_ceil(ROWS).div_ceil(tasks).clamp(1, PANELS);
    let multiply = |(task, c): (usize, &mut [f32])| {
        let left = left.part(task * rows..lines.min((task + 1) * rows), 0..depth);
        LEFT.with_borrow_mut(|memory| {
            let left = pack::<ROWS>(left, memory, On::ThisThread);
            // SAFETY: there are packed sides, so the instructions are there.
            unsafe { panels_times_panels(left, right, c, stride, add) }
        });
    };
    match on {
        On::AllThreads => (c.par_chunks_mut(rows * stride))
            .enumerate()
            .for_each(multiply),
        On::ThisThread => (c.chunks_mut(rows * stride)).enumerate().for_each(multiply),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn panels_times_panels(
    left: Packed<'_>,
    right: Packed<'_>,
    c: &mut [f32],
    stride: usize,
    add: bool,
) {
    let pairs = left.pairs;
    for (panel, words) in right.words.chunks_exact(pairs * COLUMNS).enumerate() {
        let columns = panel * COLUMNS..right.lines.min((panel + 1) * COLUMNS);
        for (panel, rows) in left.words.chunks_exact(pairs * ROWS).enumerate() {
            let tile = Tile {
                rows: ROWS.min(left.lines - panel * ROWS),
                columns: columns.len(),
                stride,
            };
            let c = &mut c[panel * ROWS * stride + columns.start..];
            tile.multiply(rows.as_chunks().0, words.as_chunks().0, c, add);
        }
    }
}

/// A part of `c` that is formed at one time: so many of its first rows and columns.
struct Tile {
    rows: usize,
    columns: usize,
    stride: usize,
}

impl Tile {
    /// For each row and column the sum over pairs, set down in `c` or added to it.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    #[inline]
    fn multiply(&self, left: &[[u32; ROWS]], right: &[[u32; COLUMNS]], c: &mut [f32], add: bool) {
        // What is there comes from the memory meanwhile.
        for row in 0..self.rows {
            let at = row * self.stride;
            bring(&c[at]);
            bring(&c[at + self.columns - 1]);
        }
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for (left, right) in left.iter().zip(right) {
            // SAFETY: there are 32 words, two times 512 bits.
            let columns = unsafe {
                let words = right.as_ptr();
                [
                    _mm512_loadu_si512(words.cast()),
                    _mm512_loadu_si512(words.add(LANES).cast()),
                ]
            };
            let columns = [as_pairs(columns[0]), as_pairs(columns[1])];
            for (sums, &row) in sums.iter_mut().zip(left) {
                let row = as_pairs(_mm512_set1_epi32(row.cast_signed()));
                for (sum, columns) in sums.iter_mut().zip(columns) {
                    *sum = _mm512_dpbf16_ps(*sum, row, columns);
                }
            }
        }
        if self.rows == ROWS && self.columns == COLUMNS {
            // Row by row from the registers, since all that is counted is known.
            for (row, sums) in sums.into_iter().enumerate() {
                let at = row * self.stride;
                set_down(&mut c[at..at + COLUMNS], sums, add);
            }
        } else {
            let mut tile = [[0.0; COLUMNS]; ROWS];
            for (to, sums) in tile.iter_mut().zip(sums) {
                set_down(to, sums, false);
            }
            for (row, tile) in tile.iter().enumerate().take(self.rows) {
                let at = row * self.stride;
                let sums = [load(&tile[..LANES]), load(&tile[LANES..])];
                set_down(&mut c[at..at + self.columns], sums, add);
            }
        }
    }
}

/// Sets down in `to`, or adds to it, what it has room for.
#[target_feature(enable = "avx512f")]
#[inline]
fn set_down(to: &mut [f32], sums: [__m512; 2], add: bool) {
    let (first, second) = to.split_at_mut(to.len().min(LANES));
    add_or_set(first, sums[0], add);
    add_or_set(second, sums[1], add);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn add_or_set(to: &mut [f32], numbers: __m512, add: bool) {
    let numbers = if add {
        _mm512_add_ps(load(to), numbers)
    } else {
        numbers
    };
    store(to, numbers);
}

#[target_feature(enable = "avx512f")]
#[inline]
fn as_pairs(words: __m512i) -> __m512bh {
    // SAFETY: 512 bits are 512 bits.
    unsafe { std::mem::transmute(words) }
}

/// The lanes that so many numbers take.
fn mask(count: usize) -> __mmask16 {
    if count < LANES {
        (1 << count) - 1
    } else {
        __mmask16::MAX
    }
}

/// The first numbers, 0 where there are none.
#[target_feature(enable = "avx512f")]
#[inline]
fn load(numbers: &[f32]) -> __m512 {
    // SAFETY: what the mask leaves out is not read.
    unsafe { _mm512_maskz_loadu_ps(mask(numbers.len()), numbers.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(to: &mut [f32], numbers: __m512) {
    // SAFETY: what the mask leaves out is not written.
    unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), numbers) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store_words(to: &mut [u32], words: __m512i) {
    // SAFETY: what the mask leaves out is not written.
    unsafe { _mm512_mask_storeu_epi32(to.as_mut_ptr().cast(), mask(to.len()), words) }
}

/// Numbers of bf16, those of `low` below. Of two as near the even one; numbers below the smallest normal one are 0, as they are in the
/// products too.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn round(low: __m512, high: __m512) -> __m512i {
    // SAFETY: 512 bits are 512 bits.
    unsafe { std::mem::transmute(_mm512_cvtne2ps_pbh(high, low)) }
}

/// [`pack`] where the numbers of a column stand one after the other.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pack_across<'a, const LINES: usize>(view: View<'a, f32>, words: &mut [u32]) {
    /// Pairs that are set down in a panel before it is the next one's turn.
    const AT_ONCE: usize = 8;
    let (lines, depth) = view.shape();
    let pairs = depth.div_ceil(2);
    let view = view.transposed();
    // A word of each two lanes, as far apart as the two vectors that were rounded.
    let order: [u16; 2 * LANES] = std::array::from_fn(|at| {
        let at = u16::try_from(at).unwrap_or_default();
        at / 2 + 16 * (at % 2)
    });
    // SAFETY: there are 32 of 16 bits.
    let order = unsafe { _mm512_loadu_si512(order.as_ptr().cast()) };
    for first in (0..pairs).step_by(AT_ONCE) {
        for (panel, words) in words.chunks_exact_mut(pairs * LINES).enumerate() {
            let of_panel = panel * LINES..lines.min((panel + 1) * LINES);
            let words = words[first * LINES..].chunks_exact_mut(LINES);
            for (pair, words) in (first..pairs.min(first + AT_ONCE)).zip(words) {
                let low = view.line(2 * pair, of_panel.clone());
                let high = if 2 * pair + 1 < depth {
                    view.line(2 * pair + 1, of_panel.clone())
                } else {
                    &[]
                };
                for (at, words) in words.chunks_mut(LANES).enumerate() {
                    let from = |line: &'a [f32]| line.get(at * LANES..).unwrap_or_default();
                    let rounded = round(load(from(low)), load(from(high)));
                    store_words(words, _mm512_permutexvar_epi16(order, rounded));
                }
            }
        }
    }
}

/// [`pack`] where the numbers of a row stand one after the other; `words` are those of one panel.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn pack_along<const LINES: usize>(view: View<'_, f32>, words: &mut [u32]) {
    let (lines, depth) = view.shape();
    for first in (0..LINES).step_by(LANES) {
        let of_group = first..LINES.min(first + LANES);
        for term in (0..depth).step_by(2 * LANES) {
            let terms = term..depth.min(term + 2 * LANES);
            let mut pairs = [_mm512_setzero_si512(); LANES];
            for (line, pairs) in (of_group.start..lines.min(of_group.end)).zip(&mut pairs) {
                let numbers = view.line(line, terms.clone());
                let (low, high) = numbers.split_at(numbers.len().min(LANES));
                *pairs = round(load(low), load(high));
            }
            let words = words[term / 2 * LINES..].chunks_exact_mut(LINES);
            for (of_lines, words) in transposed(pairs).into_iter().zip(words) {
                store_words(&mut words[of_group.clone()], of_lines);
            }
        }
    }
}

/// Words of sixteen vectors of sixteen, those of each place together: by exchanging single words, then two, then four and eight.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
    let mut twos = rows;
    for (twos, rows) in twos
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .zip(rows.as_chunks::<2>().0)
    {
        *twos = [
            _mm512_unpacklo_epi32(rows[0], rows[1]),
            _mm512_unpackhi_epi32(rows[0], rows[1]),
        ];
    }
    // Of each four rows: places 0, 4, 8 and 12, then 1, 5, 9 and 13, and so on.
    let mut fours = twos;
    for (fours, twos) in fours
        .as_chunks_mut::<4>()
        .0
        .iter_mut()
        .zip(twos.as_chunks::<4>().0)
    {
        *fours = [
            _mm512_unpacklo_epi64(twos[0], twos[2]),
            _mm512_unpackhi_epi64(twos[0], twos[2]),
            _mm512_unpacklo_epi64(twos[1], twos[3]),
            _mm512_unpackhi_epi64(twos[1], twos[3]),
        ];
    }
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let mut columns = fours;
    for at in 0..4 {
        let [first, second, third, fourth] = [0, 4, 8, 12].map(|four| fours[four + at]);
        let (even, odd) = (
            _mm512_shuffle_i32x4::<EVEN>(first, second),
            _mm512_shuffle_i32x4::<ODD>(first, second),
        );
        let (even_after, odd_after) = (
            _mm512_shuffle_i32x4::<EVEN>(third, fourth),
            _mm512_shuffle_i32x4::<ODD>(third, fourth),
        );
        columns[at] = _mm512_shuffle_i32x4::<EVEN>(even, even_after);
        columns[at + 4] = _mm512_shuffle_i32x4::<EVEN>(odd, odd_after);
        columns[at + 8] = _mm512_shuffle_i32x4::<ODD>(even, even_after);
        columns[at + 12] = _mm512_shuffle_i32x4::<ODD>(odd, odd_after);
    }
    columns
}
