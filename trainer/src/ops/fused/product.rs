//! Matrix products, by the crate `gemm` (AVX-512, AVX2, NEON, chosen at run time).

#![expect(
    unsafe_code,
    reason = "gemm takes pointers; every element that it may touch is checked to be there before it is called"
)]

use std::ops::Range;

use super::numeric::Real;

/// A matrix in a slice: element (i, j) is `numbers[i * row + j * column]`.
#[derive(Clone, Copy)]
pub(super) struct View<'a, T> {
    numbers: &'a [T],
    rows: usize,
    columns: usize,
    row: usize,
    column: usize,
}

impl<'a, T: Real> View<'a, T> {
    /// Rows of `columns` numbers, `stride` apart.
    pub(super) fn strided(numbers: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        let view = Self {
            numbers,
            rows,
            columns,
            row: stride,
            column: 1,
        };
        assert!(
            view.last() <= numbers.len(),
            "a matrix goes beyond its numbers"
        );
        view
    }

    /// Rows one after the other.
    pub(super) fn new(numbers: &'a [T], rows: usize, columns: usize) -> Self {
        Self::strided(numbers, rows, columns, columns)
    }

    /// Rows and columns.
    pub(super) fn shape(&self) -> (usize, usize) {
        (self.rows, self.columns)
    }

    /// Some of its rows and columns.
    pub(super) fn part(self, rows: Range<usize>, columns: Range<usize>) -> Self {
        assert!(rows.end <= self.rows && columns.end <= self.columns);
        let first = rows.start * self.row + columns.start * self.column;
        Self {
            numbers: self.numbers.get(first..).unwrap_or_default(),
            rows: rows.len(),
            columns: columns.len(),
            ..self
        }
    }

    /// How far apart rows stand, and columns.
    pub(super) fn strides(&self) -> (usize, usize) {
        (self.row, self.column)
    }

    /// Columns of a row, which stand one after the other.
    #[inline(always)]
    pub(super) fn line(self, row: usize, columns: Range<usize>) -> &'a [T] {
        debug_assert!(self.column == 1 && columns.end <= self.columns && row < self.rows);
        let first = row * self.row;
        &self.numbers[first + columns.start..first + columns.end]
    }

    /// The same, if the numbers are single ones.
    pub(super) fn singles(self) -> Option<View<'a, f32>> {
        Some(View {
            numbers: T::singles(self.numbers)?,
            rows: self.rows,
            columns: self.columns,
            row: self.row,
            column: self.column,
        })
    }

    /// Rows and columns exchanged.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row: self.column,
            column: self.row,
            ..self
        }
    }

    /// One beyond the last number.
    fn last(&self) -> usize {
        if self.rows == 0 || self.columns == 0 {
            return 0;
        }
        (self.rows - 1) * self.row + (self.columns - 1) * self.column + 1
    }
}

/// Rows of a product that are formed at one time: `gemm` packs all of one side at once, which for the gradient of a head of 50,304 were
/// 100 MB that the system had to give anew each time. By blocks it took 0.75 to 0.9 of the time (one core of an Emerald Rapids).
const ROWS: usize = 1024;

/// Whether a product takes all threads, or only the one it is called on, which shares the work in another way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum On {
    AllThreads,
    ThisThread,
}

/// `c = a b`, or `c += a b` with `add`; rows of `c` are `stride` apart.
pub(super) fn product<T: Real>(
    a: View<'_, T>,
    b: View<'_, T>,
    c: &mut [T],
    stride: usize,
    add: bool,
    on: On,
) {
    assert_eq!(a.columns, b.rows, "matrices that do not fit");
    let (m, n, k) = (a.rows, b.columns, a.columns);
    if m == 0 || n == 0 {
        return;
    }
    let parallelism = match on {
        On::AllThreads if rayon::current_num_threads() > 1 => gemm::Parallelism::Rayon(0),
        _ => gemm::Parallelism::None,
    };
    for first in (0..m).step_by(ROWS) {
        let rows = first..m.min(first + ROWS);
        let c = &mut c[first * stride..];
        block(a.part(rows, 0..k), b, c, stride, add, parallelism);
    }
}

/// [`product`] for some of the rows.
fn block<T: Real>(
    a: View<'_, T>,
    b: View<'_, T>,
    c: &mut [T],
    stride: usize,
    add: bool,
    parallelism: gemm::Parallelism,
) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let target = View::strided(c, m, n, stride);
    assert!(b.rows == k && stride >= n && target.last() <= c.len());
    let signed = |stride: usize| isize::try_from(stride).unwrap_or(isize::MAX);
    // SAFETY: `View` has checked that all elements of `a` and `b` are in their slices and the assertion above that those of `c`
    // are in its own, which is borrowed mutably and so does not overlap them; slices are shorter than isize::MAX.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            signed(stride),
            add,
            a.numbers.as_ptr(),
            signed(a.column),
            signed(a.row),
            b.numbers.as_ptr(),
            signed(b.column),
            signed(b.row),
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_strided_and_transposed_views_are_those_of_loops() {
        let number = |i: usize| (i as f64 * 0.7).sin();
        let a: Vec<f64> = (0..60).map(number).collect();
        let b: Vec<f64> = (0..60).map(|i| number(i + 100)).collect();
        for add in [false, true] {
            let mut c: Vec<f64> = (0..40).map(|i| number(i + 200)).collect();
            let before = c.clone();
            // (3, 4) with rows 7 apart, times the transpose of (5, 4).
            let left = View::strided(&a, 3, 4, 7);
            let right = View::new(&b, 5, 4).transposed();
            product(left, right, &mut c, 6, add, On::AllThreads);
            for i in 0..3 {
                for j in 0..6 {
                    let sum: f64 = (0..4).map(|k| a[i * 7 + k] * b[j * 4 + k]).sum();
                    let kept = if add || j == 5 {
                        before[i * 6 + j]
                    } else {
                        0.0
                    };
                    let expected = if j == 5 { kept } else { sum + kept };
                    assert!((c[i * 6 + j] - expected).abs() < 1e-12, "({i}, {j})");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "beyond its numbers")]
    fn a_view_beyond_its_slice_is_refused() {
        let _ = View::new(&[0f32; 5], 2, 3);
    }
}
