//! SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020) as PaLM's published code has it: the projection is [u | g], the
//! gate is the second half, y = u silu(g). du = dy silu(g); dg = dy u s (1 + g (1 - s)) with s = sigmoid(g).

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::numeric::{Real, rows_per_task};
use super::{Numbers, by_dtype, node1, on_cpu};

/// `x` (rows, 2 f) to (rows, f).
pub fn swiglu(x: &Tensor) -> Result<Tensor> {
    let (_, width) = x.dims2()?;
    if width == 0 || width % 2 != 0 {
        candle_core::bail!("swiglu: the projection must have an even width, it has {width}");
    }
    if on_cpu(x) {
        by_dtype!(x, analytic(x))
    } else {
        composed(x)
    }
}

fn composed(x: &Tensor) -> Result<Tensor> {
    let half = x.dim(1)? / 2;
    x.narrow(1, 0, half)? * x.narrow(1, half, half)?.silu()?
}

fn analytic<T: Real>(x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let x = x.contiguous()?;
    let half = width / 2;
    let value = forward::<T>(Numbers::of(&x)?.slice()?, half);
    let input = x.detach();
    node1("swiglu", &x, value, (rows, half), move |gradient| {
        let dx = backward::<T>(
            Numbers::of(&input)?.slice()?,
            Numbers::of(gradient)?.slice()?,
            half,
        );
        Tensor::from_vec(dx, (rows, 2 * half), &candle_core::Device::Cpu)
    })
}

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (T::zero() - x).exp())
}

fn forward<T: Real>(x: &[T], half: usize) -> Vec<T> {
    let rows = rows_per_task(half);
    let mut y = vec![T::zero(); x.len() / 2];
    y.par_chunks_mut(rows * half)
        .zip(x.par_chunks(rows * 2 * half))
        .for_each(|(y, x)| {
            for (y, x) in y.chunks_mut(half).zip(x.chunks(2 * half)) {
                let (up, gate) = x.split_at(half);
                for ((y, &u), &g) in y.iter_mut().zip(up).zip(gate) {
                    *y = u * g * sigmoid(g);
                }
            }
        });
    y
}

fn backward<T: Real>(x: &[T], gradient: &[T], half: usize) -> Vec<T> {
    let rows = rows_per_task(half);
    let mut dx = vec![T::zero(); x.len()];
    dx.par_chunks_mut(rows * 2 * half)
        .zip(x.par_chunks(rows * 2 * half))
        .zip(gradient.par_chunks(rows * half))
        .for_each(|((dx, x), gradient)| {
            for ((dx, x), gradient) in dx
                .chunks_mut(2 * half)
                .zip(x.chunks(2 * half))
                .zip(gradient.chunks(half))
            {
                let ((up, gate), (dup, dgate)) = (x.split_at(half), dx.split_at_mut(half));
                for j in 0..half {
                    let s = sigmoid(gate[j]);
                    dup[j] = gradient[j] * gate[j] * s;
                    dgate[j] = gradient[j] * up[j] * s * (T::one() + gate[j] * (T::one() - s));
                }
            }
        });
    dx
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::oracle::{assert_same, variable};

    #[test]
    fn value_and_gradient_equal_the_composed_form() {
        for (rows, half) in [(1, 1), (300, 33)] {
            let x = variable("x", &[rows, 2 * half]);
            assert_same(&[&x], 1e-13, || swiglu(&x), || composed(&x));
        }
    }

    #[test]
    fn odd_width_is_refused() {
        assert!(swiglu(&variable("x", &[2, 3])).is_err());
    }
}
