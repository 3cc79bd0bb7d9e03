//! Rotary position embedding (Su et al., "`RoFormer`", 2021), half-split: rot(x) = (-x2, x1), frequency 10000^(-2j/n) for pair j of
//! n/2. With `xPos` (Sun et al., "A Length-Extrapolatable Transformer", 2022) queries are multiplied by `s_j^((t - centre)/512)` and keys by the
//! inverse, `s_j = (2j + 0.4 n) / 1.4 n`: only the distance remains in their product. y = s (x cos + rot(x) sin), so
//! dx = s (g cos - rot(g) sin).

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::numeric::{Real, rows_per_task};
use super::{Numbers, by_dtype, node1, on_cpu};

const THETA: f64 = 10_000.0;
const XPOS_SCALE_BASE: f64 = 512.0;

/// Cosines and sines, already multiplied by the xPos scale, of `positions` positions: (positions, head size / 2) each.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    cos: Arc<Vec<f64>>,
    sin: Arc<Vec<f64>>,
    positions: usize,
    half: usize,
}

/// The power of the xPos scale that a table carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XPos {
    /// Plain rotary.
    Off,
    /// Scale of queries.
    Query,
    /// Inverse scale, of keys.
    Key,
}

impl RotaryTable {
    /// The table of a sequence of `positions` tokens and heads of `head_size` numbers (even).
    pub fn new(positions: usize, head_size: usize, xpos: XPos) -> Self {
        let (half, n) = (head_size / 2, head_size as f64);
        let entries = (0..positions).flat_map(|t| {
            (0..half).map(move |j| {
                let angle = t as f64 * THETA.powf(-2.0 * j as f64 / n);
                let base = (2.0 * j as f64 + 0.4 * n) / (1.4 * n);
                let power = (t as f64 - (positions / 2) as f64) / XPOS_SCALE_BASE;
                let scale = match xpos {
                    XPos::Off => 1.0,
                    XPos::Query => base.powf(power),
                    XPos::Key => base.powf(-power),
                };
                (angle.cos() * scale, angle.sin() * scale)
            })
        });
        let (cos, sin): (Vec<f64>, Vec<f64>) = entries.unzip();
        Self {
            cos: Arc::new(cos),
            sin: Arc::new(sin),
            positions,
            half,
        }
    }

    fn tensor(&self, numbers: &[f64], dtype: DType, device: &Device) -> Result<Tensor> {
        Tensor::from_slice(numbers, (1, self.positions, 1, self.half), device)?.to_dtype(dtype)
    }
}

/// Rotates each head of `x` (sequences x positions, heads x head size) by its row's position in the sequence.
pub fn rotary(x: &Tensor, table: &RotaryTable) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    if table.half == 0
        || table.positions == 0
        || width % (2 * table.half) != 0
        || rows % table.positions != 0
    {
        let (positions, head) = (table.positions, 2 * table.half);
        candle_core::bail!(
            "rotary: ({rows}, {width}) does not split into {positions} positions and heads of {head}"
        );
    }
    if on_cpu(x) {
        by_dtype!(x, analytic(x, table))
    } else {
        composed(x, table)
    }
}

fn composed(x: &Tensor, table: &RotaryTable) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let half = table.half;
    let cos = table.tensor(&table.cos, x.dtype(), x.device())?;
    let sin = table.tensor(&table.sin, x.dtype(), x.device())?;
    // (B, T, H, n)
    let x = x.reshape((
        rows / table.positions,
        table.positions,
        width / (2 * half),
        2 * half,
    ))?;
    let (first, second) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let turned = (
        (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?,
        (second.broadcast_mul(&cos)? + first.broadcast_mul(&sin)?)?,
    );
    Tensor::cat(&[turned.0, turned.1], 3)?.reshape((rows, width))
}

fn analytic<T: Real>(x: &Tensor, table: &RotaryTable) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let x = x.contiguous()?;
    let cos: Vec<T> = table.cos.iter().map(|&v| T::from_f64(v)).collect();
    let sin: Vec<T> = table.sin.iter().map(|&v| T::from_f64(v)).collect();
    let half = table.half;
    let value = rotate::<T>(Numbers::of(&x)?.slice()?, &cos, &sin, half, width, false);
    node1("rotary", &x, value, (rows, width), move |gradient| {
        let dx = rotate::<T>(
            Numbers::of(gradient)?.slice()?,
            &cos,
            &sin,
            half,
            width,
            true,
        );
        Tensor::from_vec(dx, (rows, width), &Device::Cpu)
    })
}

fn rotate<T: Real>(
    x: &[T],
    cos: &[T],
    sin: &[T],
    half: usize,
    width: usize,
    inverse: bool,
) -> Vec<T> {
    let positions = cos.len() / half;
    let sign = if inverse {
        T::zero() - T::one()
    } else {
        T::one()
    };
    let rows = rows_per_task(width);
    let mut y = vec![T::zero(); x.len()];
    y.par_chunks_mut(rows * width)
        .zip(x.par_chunks(rows * width))
        .enumerate()
        .for_each(|(task, (y, x))| {
            for (row, (y, x)) in y.chunks_mut(width).zip(x.chunks(width)).enumerate() {
                let at = (task * rows + row) % positions * half;
                let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
                for (y, x) in y.chunks_mut(2 * half).zip(x.chunks(2 * half)) {
                    let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
                    for j in 0..half {
                        let sin = sign * sin[j];
                        y1[j] = x1[j] * cos[j] - x2[j] * sin;
                        y2[j] = x2[j] * cos[j] + x1[j] * sin;
                    }
                }
            }
        });
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::oracle::{assert_same, variable};

    #[test]
    fn value_and_gradient_equal_the_composed_form() {
        for xpos in [XPos::Off, XPos::Query, XPos::Key] {
            let table = RotaryTable::new(7, 6, xpos);
            let x = variable("x", &[3 * 7, 2 * 6]);
            assert_same(&[&x], 1e-13, || rotary(&x, &table), || composed(&x, &table));
        }
    }

    #[test]
    fn products_of_rotated_queries_and_keys_depend_on_the_distance_only() {
        let (positions, head) = (40, 8);
        let (q, k) = (variable("q", &[head]), variable("k", &[head]));
        let at_all = |x: &Tensor, xpos| {
            let rows = x
                .reshape((1, head))
                .unwrap()
                .repeat((positions, 1))
                .unwrap();
            rotary(&rows, &RotaryTable::new(positions, head, xpos))
                .unwrap()
                .to_vec2::<f64>()
                .unwrap()
        };
        for (of_queries, of_keys) in [(XPos::Off, XPos::Off), (XPos::Query, XPos::Key)] {
            let (q, k) = (at_all(&q, of_queries), at_all(&k, of_keys));
            let product =
                |i: usize, j: usize| q[i].iter().zip(&k[j]).map(|(a, b)| a * b).sum::<f64>();
            assert!((product(9, 4) - product(35, 30)).abs() < 1e-12);
            assert!((product(9, 4) - product(9, 5)).abs() > 1e-3);
        }
    }

    #[test]
    fn rows_that_are_no_whole_sequences_are_refused() {
        assert!(rotary(&variable("x", &[6, 12]), &RotaryTable::new(7, 6, XPos::Off)).is_err());
    }
}
