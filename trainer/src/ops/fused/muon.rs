//! Muon's step of a matrix: the moment, [`NewtonSchulz`] by the same products as the model's, and the parameters.

use rayon::prelude::*;

use super::super::NewtonSchulz;
use super::Place;
use super::numeric::{CHUNK, Real, vectorized};
use super::pool::Pool;
use super::product::{On, View, product};

/// The numbers of a step.
pub(super) struct Muon<T> {
    pub(super) keep: T,
    pub(super) rate: T,
    pub(super) momentum: T,
    /// What the gradient is multiplied by.
    pub(super) factor: T,
}

impl<T: Real> Muon<T> {
    /// Moves the matrix `p` of the shape `place` against `g`; `m` is its moment.
    pub(super) fn update(self, pool: &Pool<T>, place: Place, p: &mut [T], g: &[T], m: &mut [T]) {
        let (keep, rate, old, factor) = (self.keep, self.rate, self.momentum, self.factor);
        let new = T::ONE - old;
        let mut x = pool.take(g.len());
        let moments = m.par_chunks_mut(CHUNK).zip(x.par_chunks_mut(CHUNK));
        moments.zip(g.par_chunks(CHUNK)).for_each(|((m, x), g)| {
            vectorized(
                #[inline(always)]
                || {
                    for ((m, x), &g) in m.iter_mut().zip(x).zip(g) {
                        let g = g * factor;
                        *m = old * *m + new * g;
                        *x = old * *m + new * g;
                    }
                },
            );
        });
        orthogonalize(pool, place, &mut x);
        let values = p.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK));
        values.for_each(|(p, x)| {
            vectorized(
                #[inline(always)]
                || {
                    for (p, &x) in p.iter_mut().zip(x) {
                        *p = *p * keep - rate * x;
                    }
                },
            );
        });
    }
}

/// [`NewtonSchulz`] of `x` in place. The square matrices are of its smaller side, so a tall one is multiplied from the right:
/// `X (X^T X)` is `(X X^T) X`.
fn orthogonalize<T: Real>(pool: &Pool<T>, place: Place, x: &mut [T]) {
    let (rows, columns) = (place.rows, place.columns);
    let side = rows.min(columns);
    let squares = x.par_chunks(CHUNK).map(|chunk| {
        let squares = chunk.iter().map(|&x| x.wide() * x.wide());
        squares.sum::<f64>()
    });
    // Chunk by chunk, so that the sum does not depend on the threads.
    let norm = squares.collect::<Vec<_>>().iter().sum::<f64>().sqrt();
    scale(x, T::of(norm.max(NewtonSchulz::LEAST).recip()));
    let (mut square, mut polynomial) = (pool.take(side * side), pool.take(side * side));
    let mut before = pool.take(x.len());
    for _ in 0..NewtonSchulz::STEPS {
        before.copy_from_slice(x);
        let matrix = View::new(&before, rows, columns);
        let (left, right) = if rows > columns {
            (matrix.transposed(), matrix)
        } else {
            (matrix, matrix.transposed())
        };
        product(left, right, &mut square, side, false, On::AllThreads);
        let a = View::new(&square, side, side);
        product(a, a, &mut polynomial, side, false, On::AllThreads);
        let (b, c) = (T::of(NewtonSchulz::B), T::of(NewtonSchulz::C));
        let both = polynomial
            .par_chunks_mut(CHUNK)
            .zip(square.par_chunks(CHUNK));
        both.for_each(|(polynomial, square)| {
            for (p, &a) in polynomial.iter_mut().zip(square) {
                *p = b * a + c * *p;
            }
        });
        scale(x, T::of(NewtonSchulz::A));
        let polynomial = View::new(&polynomial, side, side);
        let (left, right) = if rows > columns {
            (matrix, polynomial)
        } else {
            (polynomial, matrix)
        };
        product(left, right, x, columns, true, On::AllThreads);
    }
}

fn scale<T: Real>(x: &mut [T], by: T) {
    x.par_chunks_mut(CHUNK).for_each(|chunk| {
        for x in chunk {
            *x *= by;
        }
    });
}

/// The step of a device that has no products of its own for it: all numbers of the matrix are copied here and back.
///
/// # Errors
/// The rule is another one, or the device failed.
#[cfg(any(test, feature = "cuda"))]
pub(in super::super) fn on_host<B: super::Backend>(
    backend: &B,
    rule: super::Rule,
    parameters: &mut B::Store,
    gradients: &B::Store,
    factor: f64,
    moments: &mut [B::Store],
    place: (usize, Place),
) -> crate::error::Result<()> {
    let (
        super::Rule::Muon {
            keep,
            rate,
            momentum,
        },
        [moment, ..],
    ) = (rule, moments)
    else {
        return Err(super::misfit("a step of the optimizer"));
    };
    let (index, place) = place;
    let mut values = backend.read(parameters, index)?;
    let mut moments = backend.read(moment, index)?;
    let [keep, rate, momentum, factor] = [keep, rate, momentum, factor].map(f32::of);
    let rule = Muon {
        keep,
        rate,
        momentum,
        factor,
    };
    let gradients = backend.read(gradients, index)?;
    rule.update(
        &Pool::default(),
        place,
        &mut values,
        &gradients,
        &mut moments,
    );
    backend.write(parameters, index, &values)?;
    backend.write(moment, index, &moments)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Backend, Fused, Rule};

    #[test]
    fn the_singular_values_end_near_one() {
        // A product of rotations around a diagonal: its singular values are known.
        for (rows, columns) in [(3, 3), (3, 5), (5, 3)] {
            let mut x = vec![0.0f64; rows * columns];
            for (i, value) in [2.0, -0.5, 0.1].into_iter().enumerate() {
                x[i * columns + i] = value;
            }
            let (sin, cos) = 0.7f64.sin_cos();
            // Rows 0 and 1, then 1 and 2, are turned.
            for (one, other) in [(0, 1), (1, 2)] {
                for j in 0..columns {
                    let (a, b) = (x[one * columns + j], x[other * columns + j]);
                    x[one * columns + j] = cos * a - sin * b;
                    x[other * columns + j] = sin * a + cos * b;
                }
            }
            // The polynomial on each singular value alone gives what is left of it.
            let norm = (4.0f64 + 0.25 + 0.01).sqrt();
            let left = [2.0, 0.5, 0.1].map(|value| {
                (0..5).fold(value / norm, |s: f64, _| {
                    3.4445 * s - 4.7750 * s.powi(3) + 2.0315 * s.powi(5)
                })
            });
            assert!(
                left.iter().all(|left| (0.6..1.2).contains(left)),
                "{left:?}"
            );
            orthogonalize(&Pool::default(), Place { rows, columns }, &mut x);
            let sum: f64 = x.iter().map(|x| x * x).sum();
            let expected: f64 = left.iter().map(|left| left * left).sum();
            assert!((sum - expected).abs() < 1e-12, "{sum}, not {expected}");
            // Turned back it is a diagonal with the signs it had.
            for (one, other) in [(1, 2), (0, 1)] {
                for j in 0..columns {
                    let (a, b) = (x[one * columns + j], x[other * columns + j]);
                    x[one * columns + j] = cos * a + sin * b;
                    x[other * columns + j] = cos * b - sin * a;
                }
            }
            for (i, (left, sign)) in left.into_iter().zip([1.0, -1.0, 1.0]).enumerate() {
                let ours = x[i * columns + i];
                assert!((ours - sign * left).abs() < 1e-12, "{ours}, not {left}");
            }
        }
    }

    #[test]
    fn by_way_of_the_host_a_step_is_the_same() {
        let backend = Fused::<f32>::default();
        let place = Place {
            rows: 4,
            columns: 3,
        };
        let store = |seed: f32| {
            let mut store = backend.store(&[place]).unwrap();
            let numbers: Vec<f32> = (0..12u8).map(|i| (f32::from(i) * seed).sin()).collect();
            backend.write(&mut store, 0, &numbers).unwrap();
            store
        };
        let rule = Rule::Muon {
            keep: 0.99,
            rate: 0.1,
            momentum: 0.9,
        };
        let gradients = store(0.3);
        let (mut here, mut moment) = (store(0.7), [store(0.1)]);
        backend
            .update(rule, &mut here, &gradients, 0.5, &mut moment, 0)
            .unwrap();
        let (mut host, mut copied) = (store(0.7), [store(0.1)]);
        let at = (0, place);
        on_host(&backend, rule, &mut host, &gradients, 0.5, &mut copied, at).unwrap();
        assert_eq!(here.of(0), host.of(0));
        assert_eq!(moment[0].of(0), copied[0].of(0));
        assert_ne!(here.of(0), store(0.7).of(0));
    }

    #[test]
    fn zeros_stay_zeros() {
        let mut x = [0.0f32; 6];
        orthogonalize(
            &Pool::default(),
            Place {
                rows: 2,
                columns: 3,
            },
            &mut x,
        );
        assert_eq!(x, [0.0; 6]);
    }
}
