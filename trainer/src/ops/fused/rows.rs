//! Operations on rows by themselves: norm, rotary positions, activations.

use rayon::prelude::*;

use super::numeric::{LANES, Real, dot, rows_per_task, sigmoid, spread, sum, vectorized};
use crate::ops::{NORM_EPSILON, Norm};

/// Mean (0 for RMS) and the inverse of the deviation of a row.
#[inline(always)]
fn statistics<T: Real>(norm: Norm, row: &[T]) -> (T, T) {
    let width = T::of(row.len() as f64);
    let mean = match norm {
        Norm::Layer => sum(row) / width,
        Norm::Rms => T::ZERO,
    };
    let variance = spread(row, mean) / width;
    (mean, T::ONE / (variance + T::of(NORM_EPSILON)).sqrt())
}

/// `y` = (x - mean) / deviation times the gain.
pub(super) fn norm<T: Real>(norm: Norm, x: &[T], gain: &[T], y: &mut [T]) {
    let width = gain.len();
    let task = rows_per_task(width) * width;
    y.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        let (mean, inverse) = statistics(norm, x);
                        for ((y, &x), &g) in y.iter_mut().zip(x).zip(gain) {
                            *y = (x - mean) * inverse * g;
                        }
                    }
                },
            );
        });
}

// The loops of a norm's backward are functions, since the compiler makes vectors of a loop only where it knows that what is read and what is written
// are apart, which it does of a function's arguments.

#[inline(always)]
fn normalize<T: Real>(x: &[T], (mean, inverse): (T, T), h: &mut [T]) {
    for (h, &x) in h.iter_mut().zip(x) {
        *h = (x - mean) * inverse;
    }
}

#[inline(always)]
fn weigh<T: Real>(dy: &[T], gain: &[T], w: &mut [T]) {
    for ((w, &dy), &gain) in w.iter_mut().zip(dy).zip(gain) {
        *w = dy * gain;
    }
}

#[inline(always)]
fn add_products<T: Real>(dy: &[T], h: &[T], sums: &mut [T]) {
    for ((sum, &dy), &h) in sums.iter_mut().zip(dy).zip(h) {
        *sum = dy.fused(h, *sum);
    }
}

#[inline(always)]
fn add_slopes<T: Real>(
    w: &[T],
    h: &[T],
    (of_mean, of_deviation, inverse): (T, T, T),
    dx: &mut [T],
) {
    for ((dx, &w), &h) in dx.iter_mut().zip(w).zip(h) {
        *dx += inverse * (w - of_mean - h * of_deviation);
    }
}

/// Adds to `dx` and `dgain`: with h the normalized row and w = dy gain, dx = (w - mean(w) - h mean(w h)) / deviation.
pub(super) fn norm_backward<T: Real>(
    norm: Norm,
    x: &[T],
    gain: &[T],
    dy: &[T],
    dx: &mut [T],
    dgain: &mut [T],
) {
    let width = gain.len();
    let task = rows_per_task(width) * width;
    let parts: Vec<Vec<T>> = dx
        .par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .zip(dy.par_chunks(task))
        .map(|((dx, x), dy)| {
            let mut part = vec![T::ZERO; width];
            let (mut h, mut w) = (vec![T::ZERO; width], vec![T::ZERO; width]);
            vectorized(
                #[inline(always)]
                || {
                    let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width));
                    for ((dx, x), dy) in rows.zip(dy.chunks_exact(width)) {
                        let (mean, inverse) = statistics(norm, x);
                        normalize(x, (mean, inverse), &mut h);
                        weigh(dy, gain, &mut w);
                        add_products(dy, &h, &mut part);
                        let count = T::of(width as f64);
                        let of_mean = match norm {
                            Norm::Layer => sum(&w) / count,
                            Norm::Rms => T::ZERO,
                        };
                        let of_deviation = dot(&w, &h) / count;
                        add_slopes(&w, &h, (of_mean, of_deviation, inverse), dx);
                    }
                },
            );
            part
        })
        .collect();
    for part in parts {
        for (sum, part) in dgain.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

/// Cosines and sines (positions, half) in the numbers of the kernels.
#[derive(Debug)]
pub struct Table<T> {
    pub(super) cos: Vec<T>,
    pub(super) sin: Vec<T>,
    pub(super) half: usize,
}

/// Rotates the heads of each row, in place.
pub(super) fn rotate<T: Real>(x: &mut [T], table: &Table<T>, heads: usize, inverse: bool) {
    let half = table.half;
    let width = heads * 2 * half;
    let positions = table.cos.len() / half;
    let sign = if inverse { -T::ONE } else { T::ONE };
    let rows = rows_per_task(width);
    x.par_chunks_mut(rows * width)
        .enumerate()
        .for_each(|(task, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (row, x) in x.chunks_exact_mut(width).enumerate() {
                        let at = (task * rows + row) % positions * half;
                        let (cos, sin) = (&table.cos[at..at + half], &table.sin[at..at + half]);
                        for x in x.chunks_exact_mut(2 * half) {
                            let (first, second) = x.split_at_mut(half);
                            let pairs = first.iter_mut().zip(second).zip(cos).zip(sin);
                            for (((a, b), &cos), &sin) in pairs {
                                let sin = sign * sin;
                                let (x, y) = (*a, *b);
                                *a = x * cos - y * sin;
                                *b = y * cos + x * sin;
                            }
                        }
                    }
                },
            );
        });
}

/// `y` = u silu(g) of rows [u | g].
pub(super) fn swiglu<T: Real>(x: &[T], y: &mut [T], width: usize) {
    let rows = rows_per_task(width);
    y.par_chunks_mut(rows * width)
        .zip(x.par_chunks(rows * 2 * width))
        .for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(2 * width)) {
                        let (up, gate) = x.split_at(width);
                        for ((y, &u), &g) in y.iter_mut().zip(up).zip(gate) {
                            *y = u * g * sigmoid(g);
                        }
                    }
                },
            );
        });
}

/// [du | dg] in the place of [u | g]: du = dy silu(g); dg = dy u s (1 + g (1 - s)) with s = sigmoid(g).
pub(super) fn swiglu_backward<T: Real>(x: &mut [T], dy: &[T], width: usize) {
    let rows = rows_per_task(width);
    x.par_chunks_mut(rows * 2 * width)
        .zip(dy.par_chunks(rows * width))
        .for_each(|(x, dy)| {
            vectorized(
                #[inline(always)]
                || {
                    for (x, dy) in x.chunks_exact_mut(2 * width).zip(dy.chunks_exact(width)) {
                        let (up, gate) = x.split_at_mut(width);
                        swiglu_slopes(up, gate, dy);
                    }
                },
            );
        });
}

/// du and dg in the places of u and g. By lanes, since the compiler makes no vectors of the whole loop, which took nine times as long.
#[inline(always)]
fn swiglu_slopes<T: Real>(up: &mut [T], gate: &mut [T], dy: &[T]) {
    let (up, up_rest) = up.as_chunks_mut::<LANES>();
    let (gate, gate_rest) = gate.as_chunks_mut::<LANES>();
    let (dy, dy_rest) = dy.as_chunks::<LANES>();
    for ((up, gate), dy) in up.iter_mut().zip(gate).zip(dy) {
        for ((u, g), &dy) in up.iter_mut().zip(gate).zip(dy) {
            (*u, *g) = swiglu_slope(*u, *g, dy);
        }
    }
    for ((u, g), &dy) in up_rest.iter_mut().zip(gate_rest).zip(dy_rest) {
        (*u, *g) = swiglu_slope(*u, *g, dy);
    }
}

#[inline(always)]
fn swiglu_slope<T: Real>(u: T, g: T, dy: T) -> (T, T) {
    let s = sigmoid(g);
    (dy * g * s, dy * u * s * (T::ONE + g * (T::ONE - s)))
}

/// `y` = x Φ(x).
pub(super) fn gelu<T: Real>(x: &[T], y: &mut [T]) {
    let task = super::numeric::CHUNK;
    let half = T::of(0.5);
    let root = T::of(std::f64::consts::FRAC_1_SQRT_2);
    y.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .for_each(|(y, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = x * half * (T::ONE + (x * root).erf());
                    }
                },
            );
        });
}

/// dx in the place of x: dx = dy (Φ(x) + x φ(x)).
pub(super) fn gelu_backward<T: Real>(x: &mut [T], dy: &[T]) {
    let task = super::numeric::CHUNK;
    let half = T::of(0.5);
    let root = T::of(std::f64::consts::FRAC_1_SQRT_2);
    // 1 / sqrt(2 pi)
    let density = T::of(0.398_942_280_401_432_7);
    x.par_chunks_mut(task)
        .zip(dy.par_chunks(task))
        .for_each(|(x, dy)| {
            vectorized(
                #[inline(always)]
                || {
                    for (x, &dy) in x.iter_mut().zip(dy) {
                        let part = half * (T::ONE + (*x * root).erf());
                        let at = density * (-half * *x * *x).exp();
                        *x = dy * x.fused(at, part);
                    }
                },
            );
        });
}
