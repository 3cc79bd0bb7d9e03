//! A matrix of a model: numbers row by row, or rows quantized by product quantization (Jégou et al. 2011, as in fastText's
//! `productquantizer.cc` and `quantmatrix.cc`).

#![expect(
    unsafe_code,
    reason = "a kernel compiled for a wider instruction set is entered after the processor was asked"
)]

/// Rows of a quantized matrix are unpacked when it is read if it has no more numbers than this.
const MOST_UNPACKED: usize = 1 << 26;

/// Rows of numbers.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Matrix {
    Dense(Dense),
    Quantized(Quantized),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Dense {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Row by row.
    pub(super) numbers: Vec<f32>,
}

/// Each part of a row is one of 256 centroids.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quantized {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Parts of a row.
    pub(super) parts: usize,
    /// Numbers in a part.
    pub(super) width: usize,
    /// Numbers in the last one.
    pub(super) last_width: usize,
    /// A byte for each part of each row.
    pub(super) codes: Vec<u8>,
    /// All centroids of a part, then those of the next.
    pub(super) centroids: Vec<f32>,
    /// The length of each row, where it was quantized apart: a byte for each row, and what it stands for.
    pub(super) norms: Option<(Vec<u8>, Vec<f32>)>,
}

impl Matrix {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.rows,
            Self::Quantized(matrix) => matrix.rows,
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Dense(matrix) => matrix.columns,
            Self::Quantized(matrix) => matrix.columns,
        }
    }

    /// The same matrix in a form that is quicker to add up.
    pub(super) fn unpacked(self) -> Self {
        match self {
            Self::Quantized(matrix)
                if matrix.rows.saturating_mul(matrix.columns) <= MOST_UNPACKED =>
            {
                let mut numbers = vec![0.0; matrix.rows * matrix.columns];
                for (row, out) in numbers.chunks_mut(matrix.columns.max(1)).enumerate() {
                    matrix.add(row, out);
                }
                Self::Dense(Dense {
                    rows: matrix.rows,
                    columns: matrix.columns,
                    numbers,
                })
            }
            other => other,
        }
    }

    /// The mean of some rows, into `out`. Rows that are not there count as zeros.
    pub(super) fn mean(&self, rows: &[u32], out: &mut Vec<f32>) {
        match self {
            Self::Dense(matrix) => matrix.mean(rows, out),
            Self::Quantized(matrix) => {
                out.clear();
                out.resize(matrix.columns, 0.0);
                for row in rows {
                    matrix.add(*row as usize, out);
                }
                divide(out, rows.len());
            }
        }
    }

    /// The product of a row and a vector.
    pub(super) fn dot(&self, row: usize, vector: &[f32]) -> f32 {
        match self {
            Self::Dense(matrix) => dot(matrix.row(row), vector),
            Self::Quantized(matrix) => {
                let mut numbers = vec![0.0; matrix.columns];
                matrix.add(row, &mut numbers);
                dot(&numbers, vector)
            }
        }
    }
}

impl Dense {
    pub(super) fn row(&self, row: usize) -> &[f32] {
        let start = row.saturating_mul(self.columns);
        self.numbers
            .get(start..start.saturating_add(self.columns))
            .unwrap_or(&[])
    }

    /// As [`Matrix::mean`].
    pub(super) fn mean(&self, rows: &[u32], out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.columns, 0.0);
        self.add(rows, out);
        divide(out, rows.len());
    }

    fn add(&self, rows: &[u32], out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was just asked.
            unsafe { add_avx2(self, rows, out) };
            return;
        }
        add(self, rows, out);
    }
}

fn divide(sums: &mut [f32], by: usize) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "fastText divides in single precision"
    )]
    let share = (1.0 / by.max(1) as f64) as f32;
    sums.iter_mut().for_each(|sum| *sum *= share);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2(matrix: &Dense, rows: &[u32], out: &mut [f32]) {
    add(matrix, rows, out);
}

/// Sums of some usual widths stay in registers; every sum adds its rows in order, so that all ways give equal bits.
#[inline(always)]
fn add(matrix: &Dense, rows: &[u32], out: &mut [f32]) {
    match matrix.columns {
        16 => add_fixed::<16>(matrix, rows, out),
        32 => add_fixed::<32>(matrix, rows, out),
        64 => add_fixed::<64>(matrix, rows, out),
        _ => {
            for row in rows {
                for (sum, number) in out.iter_mut().zip(matrix.row(*row as usize)) {
                    *sum += number;
                }
            }
        }
    }
}

#[inline(always)]
fn add_fixed<const N: usize>(matrix: &Dense, rows: &[u32], out: &mut [f32]) {
    let (table, _) = matrix.numbers.as_chunks::<N>();
    let none = [0.0; N];
    let mut sums = [0.0; N];
    for row in rows {
        let row = table.get(*row as usize).unwrap_or(&none);
        for (sum, number) in sums.iter_mut().zip(row) {
            *sum += number;
        }
    }
    out.copy_from_slice(&sums);
}

impl Quantized {
    /// Adds a row to a vector.
    pub(super) fn add(&self, row: usize, to: &mut [f32]) {
        let Some(codes) = self.codes.get(row.saturating_mul(self.parts)..) else {
            return;
        };
        let norm = match &self.norms {
            None => 1.0,
            Some((norms, values)) => norms
                .get(row)
                .and_then(|code| values.get(usize::from(*code)))
                .copied()
                .unwrap_or(0.0),
        };
        let parts = to.chunks_mut(self.width.max(1));
        for (part, (to, code)) in parts.zip(codes.iter().take(self.parts)).enumerate() {
            let first = part * 256 * self.width;
            let width = if part + 1 == self.parts {
                self.last_width
            } else {
                self.width
            };
            let centroid = self.centroids.get(first + usize::from(*code) * width..);
            for (to, number) in to.iter_mut().zip(centroid.unwrap_or(&[])) {
                *to += norm * number;
            }
        }
    }
}

/// Eight sums that are added up at the end: an order of its own, the same everywhere.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a, rest_a) = a.as_chunks::<8>();
    let (b, rest_b) = b.as_chunks::<8>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (b + f)) + ((c + g) + (d + h)) + rest
}
