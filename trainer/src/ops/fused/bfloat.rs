//! Products of numbers rounded to bf16 (eight bits of exponent as `f32` has them, eight of mantissa), added up in single precision.
//!
//! Where the processor multiplies pairs of such numbers ([`Kernel::Dot`], `vdpbf16ps`), blocks are rounded and packed so that a tile of the
//! result stays in registers while the inputs stream through it from the caches (Goto and van de Geijn, "Anatomy of High-Performance Matrix
//! Multiplication", 2008). Elsewhere [`Kernel::Rounded`] rounds blocks and multiplies them as single precision: the same products, since
//! two numbers of eight bits have one of sixteen, in another order of their sums. Neither depends on the number of threads.

#![expect(
    unsafe_code,
    reason = "a kernel for instructions that are looked for before it is chosen, and loads from arrays whose lengths are in their types"
)]

use std::ops::Range;

use rayon::prelude::*;

use super::numeric::{Real, vectorized};
use super::product::{On, View, product};

/// Rows and columns of the tile that a kernel holds: 28 of 32 registers, which leaves two for columns and one for a row.
const ROWS: usize = 14;
const COLUMNS: usize = 32;

/// Terms of a sum that are packed at one time. [`COLUMNS`] of them take 32 KB and stay in the first cache. Sums of blocks are added up in
/// their order, so this is a part of the result.
const DEPTH: usize = 512;

/// Rows or columns that are packed at one time, 4 MB of each: enough that packing is a small part, and little memory.
const BLOCK: usize = 4096;

/// Bytes of the packed blocks, at most.
pub const PACKED_BYTES: u64 = 2 * 4 * (BLOCK * DEPTH) as u64;

/// How numbers of bf16 are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// By `vdpbf16ps` of AVX-512.
    #[cfg(target_arch = "x86_64")]
    Dot,
    /// By the products of single precision, on rounded inputs: on any processor.
    Rounded,
}

impl Kernel {
    /// All that this processor has.
    pub fn available() -> Vec<Self> {
        let mut kernels = vec![Self::Rounded];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
            kernels.push(Self::Dot);
        }
        kernels
    }

    /// The faster one. Intel's cores from Sapphire Rapids on (known by `avx512fp16`) leave bf16 to their matrix units, which this program does not
    /// use, and begin one `vdpbf16ps` every other cycle, half the rate of their products in single precision: 83 GFLOP/s beside 171 on one
    /// core of an Emerald Rapids at 2.7 GHz. AMD's begin one (Zen 4) or two (Zen 5) a cycle, twice that rate (`uops.info`).
    pub fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16")
            && is_x86_feature_detected!("avx512fp16")
            && intel()
        {
            return Self::Rounded;
        }
        Self::available().pop().unwrap_or(Self::Rounded)
    }
}

#[cfg(target_arch = "x86_64")]
fn intel() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    [leaf.ebx, leaf.edx, leaf.ecx]
        .map(u32::to_le_bytes)
        .as_flattened()
        == b"GenuineIntel"
}

/// A kernel with its packed blocks.
#[derive(Debug)]
pub(super) struct Bfloat<T> {
    kernel: Kernel,
    packed: [Vec<u32>; 2],
    rounded: [Vec<T>; 2],
}

impl<T: Real> Bfloat<T> {
    pub(super) const fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            packed: [Vec::new(), Vec::new()],
            rounded: [Vec::new(), Vec::new()],
        }
    }

    /// `c = a b`, or `c += a b` with `add`, of the rounded numbers of `a` and `b`; rows of `c` are `stride` apart.
    pub(super) fn product(
        &mut self,
        a: View<'_, T>,
        b: View<'_, T>,
        c: &mut [T],
        stride: usize,
        add: bool,
    ) {
        let ((m, depth), (inner, n)) = (a.shape(), b.shape());
        assert_eq!(depth, inner, "matrices that do not fit");
        if m == 0 || n == 0 {
            return;
        }
        assert!(stride >= n && (m - 1) * stride + n <= c.len());
        if depth == 0 && !add {
            c.chunks_mut(stride)
                .take(m)
                .for_each(|row| row[..n].fill(T::ZERO));
        }
        for columns in blocks(n, BLOCK) {
            for terms in blocks(depth, DEPTH) {
                let add = add || terms.start > 0;
                let b = b.part(terms.clone(), columns.clone());
                let mut b = self.right(b);
                for rows in blocks(m, BLOCK) {
                    let first = rows.start * stride + columns.start;
                    let last = (rows.end - 1) * stride + columns.end;
                    let a = a.part(rows, terms.clone());
                    b.multiply(a, &mut c[first..last], stride, add);
                }
            }
        }
    }

    /// The right side of a block's product.
    fn right(&mut self, b: View<'_, T>) -> Right<'_, T> {
        let [packed_left, packed] = &mut self.packed;
        let [rounded_left, rounded] = &mut self.rounded;
        match self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Dot => Right::Packed {
                left: packed_left,
                right: pack::<T, COLUMNS>(b.transposed(), packed),
                columns: b.shape().1,
            },
            Kernel::Rounded => Right::Rounded {
                left: rounded_left,
                right: round(b, rounded),
            },
        }
    }
}

fn blocks(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count)
        .step_by(size)
        .map(move |first| first..count.min(first + size))
}

/// A block of the right side, as its kernel takes it, and memory for blocks of the left one.
enum Right<'a, T> {
    #[cfg(target_arch = "x86_64")]
    Packed {
        left: &'a mut Vec<u32>,
        right: &'a [u32],
        columns: usize,
    },
    Rounded {
        left: &'a mut Vec<T>,
        right: View<'a, T>,
    },
}

impl<T: Real> Right<'_, T> {
    fn multiply(&mut self, a: View<'_, T>, c: &mut [T], stride: usize, add: bool) {
        match self {
            Self::Rounded { left, right } => {
                product(round(a, left), *right, c, stride, add, On::AllThreads);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Packed {
                left,
                right,
                columns,
            } => {
                let (rows, depth) = a.shape();
                let pairs = depth.div_ceil(2);
                let left = pack::<T, ROWS>(a, left);
                // Some tasks a thread; which task a row is in changes nothing in it.
                let tasks = 4 * rayon::current_num_threads();
                let panels = rows.div_ceil(ROWS).div_ceil(tasks).clamp(1, 18);
                let of_task = panels * ROWS;
                let (right, columns) = (*right, *columns);
                c.par_chunks_mut(of_task * stride)
                    .zip(left.par_chunks(pairs * of_task))
                    .enumerate()
                    .for_each(|(task, (c, left))| {
                        let size = Size {
                            rows: of_task.min(rows - task * of_task),
                            columns,
                            pairs,
                        };
                        // SAFETY: `Kernel::Dot`, and with it a packed side, is made where the processor has these instructions.
                        unsafe { dot(size, left, right, c, stride, add) }
                    });
            }
        }
    }
}

/// Rounds the numbers of `view`, in the order in which they stand.
fn round<'a, T: Real>(view: View<'_, T>, memory: &'a mut Vec<T>) -> View<'a, T> {
    let (rows, columns) = view.shape();
    let by_columns = view.strides().0 == 1;
    let lines = if by_columns { view.transposed() } else { view };
    let (count, length) = lines.shape();
    memory.resize(memory.len().max(count * length), T::ZERO);
    let numbers = &mut memory[..count * length];
    numbers
        .par_chunks_mut(length)
        .enumerate()
        .with_min_len(16)
        .for_each(|(line, to)| {
            vectorized(
                #[inline(always)]
                || {
                    let from = lines.line(line, 0..length);
                    for (to, &x) in to.iter_mut().zip(from) {
                        *to = x.bf16();
                    }
                },
            );
        });
    if by_columns {
        View::new(numbers, columns, rows).transposed()
    } else {
        View::new(numbers, rows, columns)
    }
}

/// Panels of `LINES` rows of `view`, for each pair of columns a word for each row: the even column below, the odd one above. What is beyond
/// the view is 0.
#[cfg(target_arch = "x86_64")]
fn pack<'a, T: Real, const LINES: usize>(view: View<'_, T>, memory: &'a mut Vec<u32>) -> &'a [u32] {
    let (rows, depth) = view.shape();
    let pairs = depth.div_ceil(2);
    let count = rows.div_ceil(LINES) * pairs * LINES;
    memory.resize(memory.len().max(count), 0);
    let packed = &mut memory[..count];
    packed
        .par_chunks_exact_mut(pairs * LINES)
        .enumerate()
        .for_each(|(panel, packed)| {
            let first = panel * LINES;
            let view = view.part(first..rows.min(first + LINES), 0..depth);
            vectorized(
                #[inline(always)]
                || {
                    if view.strides().0 == 1 {
                        pack_across::<T, LINES>(view, packed);
                    } else {
                        pack_along::<T, LINES>(view, packed);
                    }
                },
            );
        });
    packed
}

#[inline(always)]
fn word<T: Real>(low: T, high: T) -> u32 {
    low.bf16_bits() >> 16 | high.bf16_bits()
}

/// [`pack`] where the numbers of a column stand one after the other.
#[inline(always)]
fn pack_across<T: Real, const LINES: usize>(view: View<'_, T>, packed: &mut [u32]) {
    let (rows, depth) = view.shape();
    let view = view.transposed();
    let zeros = [T::ZERO; LINES];
    let (words, _) = packed.as_chunks_mut::<LINES>();
    for (pair, words) in words.iter_mut().enumerate() {
        let low = view.line(2 * pair, 0..rows);
        let high = if 2 * pair + 1 < depth {
            view.line(2 * pair + 1, 0..rows)
        } else {
            &zeros[..rows]
        };
        if let (Some(low), Some(high)) = (low.first_chunk::<LINES>(), high.first_chunk::<LINES>()) {
            for ((word_, &low), &high) in words.iter_mut().zip(low).zip(high) {
                *word_ = word(low, high);
            }
        } else {
            words.fill(0);
            for ((word_, &low), &high) in words.iter_mut().zip(low).zip(high) {
                *word_ = word(low, high);
            }
        }
    }
}

/// [`pack`] where the numbers of a row stand one after the other.
#[inline(always)]
fn pack_along<T: Real, const LINES: usize>(view: View<'_, T>, packed: &mut [u32]) {
    const AT_ONCE: usize = 16;
    let (rows, depth) = view.shape();
    if rows < LINES || depth % 2 > 0 {
        packed.fill(0);
    }
    for row in 0..rows {
        let mut words = packed[row..].chunks_mut(LINES);
        let numbers = view.line(row, 0..depth);
        let (blocks, rest) = numbers.as_chunks::<{ 2 * AT_ONCE }>();
        for block in blocks {
            let mut of_block = [0; AT_ONCE];
            for (to, pair) in of_block.iter_mut().zip(block.as_chunks::<2>().0) {
                *to = word(pair[0], pair[1]);
            }
            for (&word, to) in of_block.iter().zip(&mut words) {
                to[0] = word;
            }
        }
        for (pair, to) in rest.chunks(2).zip(words) {
            to[0] = word(pair[0], pair.get(1).copied().unwrap_or(T::ZERO));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Size {
    rows: usize,
    columns: usize,
    pairs: usize,
}

/// Panels of rows times panels of columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
fn dot<T: Real>(size: Size, left: &[u32], right: &[u32], c: &mut [T], stride: usize, add: bool) {
    let mut tile = [[0.0_f32; COLUMNS]; ROWS];
    for (panel, right) in right.chunks_exact(size.pairs * COLUMNS).enumerate() {
        let column = panel * COLUMNS;
        let columns = COLUMNS.min(size.columns - column);
        for (panel, left) in left.chunks_exact(size.pairs * ROWS).enumerate() {
            let row = panel * ROWS;
            let rows = ROWS.min(size.rows - row);
            dot_tile(left.as_chunks().0, right.as_chunks().0, &mut tile);
            for (row, tile) in (row..row + rows).zip(&tile) {
                let at = row * stride + column;
                let to = &mut c[at..at + columns];
                if add {
                    to.iter_mut()
                        .zip(tile)
                        .for_each(|(sum, &x)| *sum += T::of(f64::from(x)));
                } else {
                    to.iter_mut()
                        .zip(tile)
                        .for_each(|(to, &x)| *to = T::of(f64::from(x)));
                }
            }
        }
    }
}

/// A tile: for each row and column the sum over pairs.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn dot_tile(left: &[[u32; ROWS]], right: &[[u32; COLUMNS]], tile: &mut [[f32; COLUMNS]; ROWS]) {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32,
        _mm512_setzero_ps, _mm512_storeu_ps,
    };
    // SAFETY: 512 bits are 512 bits.
    let pairs = |words: __m512i| -> __m512bh { unsafe { std::mem::transmute(words) } };
    let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
    for (left, right) in left.iter().zip(right) {
        // SAFETY: there are 32 words, two times 512 bits.
        let columns = unsafe {
            let words = right.as_ptr();
            [
                _mm512_loadu_si512(words.cast()),
                _mm512_loadu_si512(words.add(16).cast()),
            ]
        };
        let columns = columns.map(pairs);
        for (sums, &row) in sums.iter_mut().zip(left) {
            let row = pairs(_mm512_set1_epi32(row.cast_signed()));
            for (sum, columns) in sums.iter_mut().zip(columns) {
                *sum = _mm512_dpbf16_ps(*sum, row, columns);
            }
        }
    }
    for (tile, sums) in tile.iter_mut().zip(sums) {
        // SAFETY: there are 32 numbers, two times 512 bits.
        unsafe {
            _mm512_storeu_ps(tile.as_mut_ptr(), sums[0]);
            _mm512_storeu_ps(tile.as_mut_ptr().add(16), sums[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::*;
    use crate::random::Stream;

    fn made_up(name: &str, count: usize) -> Vec<f32> {
        let stream = Stream::new(3, name);
        (0..count as u64)
            .map(|index| f32::of(stream.normal(index)))
            .collect()
    }

    #[test]
    fn numbers_are_rounded_as_by_the_crate_half() {
        let odd = [
            0.0,
            -0.0,
            1.0,
            1.003_906_2,
            1.011_718_7,
            1.011_718_9,
            f32::MAX,
            f32::MIN_POSITIVE,
            1e-40,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            -f32::NAN,
            f32::from_bits(0x7f80_0001),
        ];
        let numbers = [made_up("rounded", 10_000), odd.to_vec()].concat();
        let tensor = Tensor::new(numbers.as_slice(), &Device::Cpu).unwrap();
        let theirs = tensor.to_dtype(DType::BF16).unwrap();
        let theirs: Vec<f32> = theirs.to_dtype(DType::F32).unwrap().to_vec1().unwrap();
        for (x, theirs) in numbers.into_iter().zip(theirs) {
            let ours = x.bf16();
            let same = ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan());
            assert!(
                same && ours.is_nan() == x.is_nan(),
                "{x}: {ours} and {theirs}"
            );
        }
    }

    /// Rows, terms and columns: whole tiles, ragged ones, an odd number of terms, more than a block of each.
    const SHAPES: [[usize; 3]; 7] = [
        [28, 64, 64],
        [1, 1, 1],
        [15, 33, 37],
        [130, 1030, 70],
        [2, BLOCK, 3],
        [BLOCK + 20, 5, 3],
        [3, 2, BLOCK + 40],
    ];

    #[test]
    fn products_are_those_of_loops_over_rounded_numbers() {
        for kernel in Kernel::available() {
            let mut bfloat = Bfloat::<f32>::new(kernel);
            for [m, depth, n] in SHAPES {
                let (a, b) = (made_up("a", m * depth), made_up("b", depth * n));
                let before = made_up("c", m * (n + 2));
                for turned in 0..4 {
                    // Both ways to lie in memory, and what was there kept or not.
                    let (left, add) = if turned % 2 == 0 {
                        (View::new(&a, m, depth), false)
                    } else {
                        (View::new(&a, depth, m).transposed(), true)
                    };
                    let right = if turned < 2 {
                        View::new(&b, depth, n)
                    } else {
                        View::new(&b, n, depth).transposed()
                    };
                    let mut c = before.clone();
                    bfloat.product(left, right, &mut c, n + 2, add);
                    let of_a = |i: usize, k: usize| {
                        a[if turned % 2 == 0 {
                            i * depth + k
                        } else {
                            k * m + i
                        }]
                        .bf16()
                        .wide()
                    };
                    let of_b = |k: usize, j: usize| {
                        b[if turned < 2 { k * n + j } else { j * depth + k }]
                            .bf16()
                            .wide()
                    };
                    for i in (0..m).step_by(m / 40 + 1).chain([m - 1]) {
                        for j in (0..n).step_by(n / 40 + 1).chain([n - 1]) {
                            let at = i * (n + 2) + j;
                            let start = if add { before[at].wide() } else { 0.0 };
                            let terms = (0..depth).map(|k| of_a(i, k) * of_b(k, j));
                            let (sum, size) = terms
                                .fold((start, start.abs()), |(sum, size), term| {
                                    (sum + term, size + term.abs())
                                });
                            // Of the sum of the sizes, one of 2^24 for each time it is rounded, which is rarely all the same way.
                            let error = (c[at].wide() - sum).abs();
                            assert!(
                                error <= size * 6e-7,
                                "{kernel:?} {m} {depth} {n} [{i}, {j}]: {} is not {sum}",
                                c[at]
                            );
                        }
                        // What stands between the rows stays.
                        let between = i * (n + 2) + n..(i + 1) * (n + 2);
                        assert_eq!(c[between.clone()], before[between]);
                    }
                }
            }
        }
    }

    #[test]
    fn a_sum_of_nothing_is_zero() {
        for kernel in Kernel::available() {
            let mut bfloat = Bfloat::<f32>::new(kernel);
            let mut c = [1.0; 6];
            let nothing = View::new(&[], 2, 0);
            bfloat.product(nothing, View::new(&[], 0, 3), &mut c, 3, true);
            assert_eq!(c, [1.0; 6]);
            bfloat.product(nothing, View::new(&[], 0, 3), &mut c, 3, false);
            assert_eq!(c, [0.0; 6]);
        }
    }

    #[test]
    fn what_is_no_number_stays_none() {
        for kernel in Kernel::available() {
            let mut bfloat = Bfloat::<f32>::new(kernel);
            let mut a = [1.0; 6];
            a[4] = f32::NAN;
            let mut c = [0.0; 4];
            let b = View::new(&[1.0; 6], 3, 2);
            bfloat.product(View::new(&a, 2, 3), b, &mut c, 2, false);
            assert_eq!(c[..2], [3.0; 2]);
            assert!(c[2..].iter().all(|x| x.is_nan()));
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let (m, depth, n) = (301, 700, 90);
        let (a, b) = (made_up("a", m * depth), made_up("b", depth * n));
        for kernel in Kernel::available() {
            let with = |threads| {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                pool.install(|| {
                    let mut c = vec![0.0; m * n];
                    Bfloat::<f32>::new(kernel).product(
                        View::new(&a, m, depth),
                        View::new(&b, depth, n),
                        &mut c,
                        n,
                        false,
                    );
                    c
                })
            };
            let one = with(1);
            for threads in [2, 3, 7] {
                assert!(one == with(threads), "{kernel:?}, {threads} threads");
            }
        }
    }
}
