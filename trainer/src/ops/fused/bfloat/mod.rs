//! Products of numbers rounded to bf16 (eight bits of exponent as `f32` has them, eight of mantissa), added up in single precision.
//!
//! Where the processor multiplies pairs of such numbers ([`Kernel::Dot`]), blocks are rounded and packed so that a tile of the result stays in
//! registers while the inputs stream through it from the caches (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication",
//! 2008). Elsewhere [`Kernel::Rounded`] rounds blocks and multiplies them as single precision: the same products, since
//! two numbers of eight bits have one of sixteen, in another order of their sums. Neither depends on the number of threads.

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "instructions that are looked for before, and loads and stores within slices"
)]
mod dot;

use andromeda_format::memory::Pages;
use rayon::prelude::*;

use super::blocks;
use super::numeric::{Real, vectorized};
use super::product::{On, View, product};

/// Terms of a sum that are packed at one time, at most: the words of a tile's rows and columns stay in the first two caches. Sums of blocks
/// are added up in their order, so this is a part of the result.
const DEPTH: usize = 768;

/// Rows or columns that are rounded at one time, 12 MB of each and 6 MB where they are packed: enough that this is a small part, and little
/// memory.
const BLOCK: usize = 4096;

/// Bytes of the rounded blocks, at most.
pub const PACKED_BYTES: u64 = 2 * 4 * (BLOCK * DEPTH) as u64;

/// How numbers of bf16 are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// By `vdpbf16ps` of AVX-512, of numbers of single precision; double ones are multiplied as by the other.
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
        if dot::is_here() {
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

/// Products of the numbers as they are, or rounded to bf16.
#[derive(Debug, Default)]
pub(super) struct Products<T>(Option<Bfloat<T>>);

impl<T: Real> Products<T> {
    /// Rounded where there is a kernel for it.
    pub(super) fn new(kernel: Option<Kernel>) -> Self {
        Self(kernel.map(Bfloat::new))
    }

    pub(super) fn kernel(&self) -> Option<Kernel> {
        self.0.as_ref().map(|bfloat| bfloat.kernel)
    }

    /// `c = a b`, or `c += a b` with `add`; rows of `c` are `stride` apart.
    pub(super) fn form(
        &mut self,
        a: View<'_, T>,
        b: View<'_, T>,
        c: &mut [T],
        stride: usize,
        add: bool,
        on: On,
    ) {
        match &mut self.0 {
            None => product(a, b, c, stride, add, on),
            Some(bfloat) => bfloat.product(a, b, c, stride, add, on),
        }
    }
}

/// A kernel with its blocks.
#[derive(Debug)]
struct Bfloat<T> {
    kernel: Kernel,
    packed: Pages<u32>,
    rounded: [Pages<T>; 2],
}

impl<T: Real> Bfloat<T> {
    fn new(kernel: Kernel) -> Self {
        Self {
            kernel,
            packed: Default::default(),
            rounded: Default::default(),
        }
    }

    /// `c = a b`, or `c += a b` with `add`, of the rounded numbers of `a` and `b`; rows of `c` are `stride` apart.
    fn product(
        &mut self,
        a: View<'_, T>,
        b: View<'_, T>,
        c: &mut [T],
        stride: usize,
        add: bool,
        on: On,
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
        // Blocks of terms as long as each other.
        let terms_at_once = depth.max(1).div_ceil(depth.div_ceil(DEPTH).max(1));
        for columns in blocks(n, BLOCK) {
            for terms in blocks(depth, terms_at_once.next_multiple_of(2)) {
                let add = add || terms.start > 0;
                let mut b = self.right(b.part(terms.clone(), columns.clone()), on);
                for rows in blocks(m, BLOCK) {
                    let first = rows.start * stride + columns.start;
                    let last = (rows.end - 1) * stride + columns.end;
                    let a = a.part(rows, terms.clone());
                    b.multiply(a, &mut c[first..last], stride, add, on);
                }
            }
        }
    }

    /// The right side of a block's product.
    fn right(&mut self, b: View<'_, T>, on: On) -> Right<'_, T> {
        #[cfg(target_arch = "x86_64")]
        if let (Kernel::Dot, Some(b)) = (self.kernel, b.singles()) {
            return Right::Packed(dot::pack::<{ dot::COLUMNS }>(
                b.transposed(),
                &mut self.packed,
                on,
            ));
        }
        let [left, right] = &mut self.rounded;
        let right = round(b, right, on);
        Right::Rounded { left, right }
    }
}

/// A block of the right side, as its kernel takes it, and memory for blocks of the left one where a thread has none of its own for them.
enum Right<'a, T> {
    #[cfg(target_arch = "x86_64")]
    Packed(dot::Packed<'a>),
    Rounded {
        left: &'a mut Pages<T>,
        right: View<'a, T>,
    },
}

impl<T: Real> Right<'_, T> {
    fn multiply(&mut self, a: View<'_, T>, c: &mut [T], stride: usize, add: bool, on: On) {
        match self {
            Self::Rounded { left, right } => {
                product(round(a, left, on), *right, c, stride, add, on);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Packed(right) => {
                if let (Some(a), Some(c)) = (a.singles(), T::singles_mut(c)) {
                    dot::multiply(a, *right, c, stride, add, on);
                }
            }
        }
    }
}

/// The first `count` numbers of `memory`, more of which is had where there is too little.
fn first<T: Copy + Default>(memory: &mut Pages<T>, count: usize) -> &mut [T] {
    if memory.len() < count {
        *memory = Pages::default();
        *memory = Pages::zeroed(count);
    }
    &mut memory[..count]
}

/// Rounds the numbers of `view`, in the order in which they stand.
fn round<'a, T: Real>(view: View<'_, T>, memory: &'a mut Pages<T>, on: On) -> View<'a, T> {
    let (rows, columns) = view.shape();
    let by_columns = view.strides().0 == 1;
    let lines = if by_columns { view.transposed() } else { view };
    let (count, length) = lines.shape();
    let numbers = first(memory, count * length);
    let round = |(line, to): (usize, &mut [T])| {
        vectorized(
            #[inline(always)]
            || {
                let from = lines.line(line, 0..length);
                for (to, &x) in to.iter_mut().zip(from) {
                    *to = x.bf16();
                }
            },
        );
    };
    match on {
        On::AllThreads => (numbers.par_chunks_mut(length.max(1)))
            .enumerate()
            .with_min_len(16)
            .for_each(round),
        On::ThisThread => (numbers.chunks_mut(length.max(1)))
            .enumerate()
            .for_each(round),
    }
    if by_columns {
        View::new(numbers, columns, rows).transposed()
    } else {
        View::new(numbers, rows, columns)
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
    const SHAPES: [[usize; 3]; 8] = [
        [28, 64, 64],
        [1, 1, 1],
        [15, 33, 37],
        [130, 1030, 70],
        [17, 2 * DEPTH + 1, 33],
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
                    bfloat.product(left, right, &mut c, n + 2, add, On::AllThreads);
                    let mut alone = before.clone();
                    bfloat.product(left, right, &mut alone, n + 2, add, On::ThisThread);
                    assert!(alone == c);
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
            bfloat.product(
                nothing,
                View::new(&[], 0, 3),
                &mut c,
                3,
                true,
                On::AllThreads,
            );
            assert_eq!(c, [1.0; 6]);
            bfloat.product(
                nothing,
                View::new(&[], 0, 3),
                &mut c,
                3,
                false,
                On::AllThreads,
            );
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
            bfloat.product(View::new(&a, 2, 3), b, &mut c, 2, false, On::AllThreads);
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
                        On::AllThreads,
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
