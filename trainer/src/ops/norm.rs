//! Layer normalization with a gain and no bias, mean removed, epsilon 1e-5 (Ba, Kiros, Hinton, "Layer Normalization", 2016). With
//! xh = (x - mean) * rstd and gy = g * gain: dx = rstd (gy - mean(gy) - xh mean(gy xh)), dgain = sum of g xh over rows.

use candle_core::{D, Result, Tensor};
use rayon::prelude::*;

use super::numeric::{Real, dot, rows_per_task, sum};
use super::{Numbers, by_dtype, node2, on_cpu};

/// Added to the variance under the root.
pub const NORM_EPSILON: f64 = 1e-5;

/// Normalizes each row of `x` (rows, d) and multiplies it by `gain` (d).
pub fn layer_norm(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    if on_cpu(x) {
        by_dtype!(x, analytic(x, gain))
    } else {
        composed(x, gain)
    }
}

fn composed(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + NORM_EPSILON)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gain)
}

fn analytic<T: Real>(x: &Tensor, gain: &Tensor) -> Result<Tensor> {
    let (rows, d) = x.dims2()?;
    if gain.dims1()? != d || d == 0 {
        candle_core::bail!(
            "layer-norm: rows of {d} numbers meet a gain of {:?}",
            gain.dims()
        );
    }
    let (x, gain) = (x.contiguous()?, gain.contiguous()?);
    let value = forward::<T>(Numbers::of(&x)?.slice()?, Numbers::of(&gain)?.slice()?);
    let (input, weight) = (x.detach(), gain.detach());
    node2(
        "layer-norm",
        (&x, &gain),
        value,
        (rows, d),
        move |gradient| {
            let (input, weight, gradient) = (
                Numbers::of(&input)?,
                Numbers::of(&weight)?,
                Numbers::of(gradient)?,
            );
            let (dx, dgain) = backward::<T>(input.slice()?, weight.slice()?, gradient.slice()?);
            let device = candle_core::Device::Cpu;
            Ok((
                Tensor::from_vec(dx, (rows, d), &device)?,
                Tensor::from_vec(dgain, d, &device)?,
            ))
        },
    )
}

/// Mean and reciprocal deviation of a row.
fn moments<T: Real>(row: &[T]) -> (T, T) {
    let count = T::from_f64(row.len() as f64);
    let mean = sum(row) / count;
    // Two passes: the one-pass form loses the variance when the mean is large.
    let mut squares = [T::zero(); 16];
    let blocks = row.chunks_exact(16);
    let mut rest = T::zero();
    for &value in blocks.remainder() {
        rest += (value - mean) * (value - mean);
    }
    for block in blocks {
        for (lane, &value) in squares.iter_mut().zip(block) {
            *lane += (value - mean) * (value - mean);
        }
    }
    let variance = (sum(&squares) + rest) / count;
    (
        mean,
        T::one() / (variance + T::from_f64(NORM_EPSILON)).sqrt(),
    )
}

fn forward<T: Real>(x: &[T], gain: &[T]) -> Vec<T> {
    let mut y = vec![T::zero(); x.len()];
    let chunk = rows_per_task(gain.len()) * gain.len();
    y.par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .for_each(|(y, x)| {
            for (y, x) in y.chunks_mut(gain.len()).zip(x.chunks(gain.len())) {
                let (mean, rstd) = moments(x);
                for ((y, &x), &gain) in y.iter_mut().zip(x).zip(gain) {
                    *y = (x - mean) * rstd * gain;
                }
            }
        });
    y
}

fn backward<T: Real>(x: &[T], gain: &[T], gradient: &[T]) -> (Vec<T>, Vec<T>) {
    let d = gain.len();
    let count = T::from_f64(d as f64);
    let chunk = rows_per_task(d) * d;
    let mut dx = vec![T::zero(); x.len()];
    let parts: Vec<Vec<T>> = dx
        .par_chunks_mut(chunk)
        .zip(x.par_chunks(chunk))
        .zip(gradient.par_chunks(chunk))
        .map(|((dx, x), gradient)| {
            let (mut part, mut normal, mut scaled) =
                (vec![T::zero(); d], vec![T::zero(); d], vec![T::zero(); d]);
            for ((dx, x), gradient) in dx.chunks_mut(d).zip(x.chunks(d)).zip(gradient.chunks(d)) {
                let (mean, rstd) = moments(x);
                for j in 0..d {
                    normal[j] = (x[j] - mean) * rstd;
                    scaled[j] = gradient[j] * gain[j];
                    part[j] += gradient[j] * normal[j];
                }
                let (along_one, along_normal) =
                    (sum(&scaled) / count, dot(&scaled, &normal) / count);
                for j in 0..d {
                    dx[j] = rstd * (scaled[j] - along_one - normal[j] * along_normal);
                }
            }
            part
        })
        .collect();
    let mut dgain = vec![T::zero(); d];
    for part in parts {
        for (total, part) in dgain.iter_mut().zip(part) {
            *total += part;
        }
    }
    (dx, dgain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::oracle::{assert_same, variable};

    #[test]
    fn value_and_gradients_equal_the_composed_form() {
        for (rows, d) in [(1, 1), (5, 19), (300, 64)] {
            let (x, gain) = (variable("x", &[rows, d]), variable("gain", &[d]));
            assert_same(
                &[&x, &gain],
                1e-11,
                || layer_norm(&x, &gain),
                || composed(&x, &gain),
            );
        }
    }

    #[test]
    fn gain_of_another_length_is_refused() {
        assert!(layer_norm(&variable("x", &[2, 3]), &variable("gain", &[4])).is_err());
    }
}
