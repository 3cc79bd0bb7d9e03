//! The number types of the CPU kernels and the few slice functions they share. Sums run in sixteen lanes whose order is fixed,
//! so that they vectorize and still give the same bits on every run and with any number of threads.

use candle_core::{CpuStorage, WithDType};

const LANES: usize = 16;

/// `f32`, or `f64` in the tests that need an exact oracle.
pub(crate) trait Real: WithDType {
    fn exp(self) -> Self;
    fn sqrt(self) -> Self;
    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]>;
}

impl Real for f32 {
    /// Branch-free, so that loops over it vectorize: Cephes `expf` polynomial, within 2 ulp on [-87, 88], clamped outside.
    #[inline(always)]
    fn exp(self) -> Self {
        // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the sum.
        const ROUND: f32 = 12_582_912.0;
        let x = self.clamp(-87.3, 88.3);
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        // ln 2 in two parts, the first exact in few bits, keeps the remainder accurate.
        let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
        let mut p = 1.987_569_1e-4;
        for coefficient in [
            1.398_2e-3,
            8.333_452e-3,
            4.166_579_6e-2,
            1.666_666_5e-1,
            0.5,
        ] {
            p = p * r + coefficient;
        }
        let y = p * r * r + r + 1.0;
        Self::from_bits((shifted.to_bits() << 23).wrapping_add(y.to_bits()))
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F32(numbers) => Some(numbers),
            _ => None,
        }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn slice_mut(storage: &mut CpuStorage) -> Option<&mut [Self]> {
        match storage {
            CpuStorage::F64(numbers) => Some(numbers),
            _ => None,
        }
    }
}

fn total<T: Real>(lanes: [T; LANES]) -> T {
    let mut sum = T::zero();
    for lane in lanes {
        sum += lane;
    }
    sum
}

pub(crate) fn sum<T: Real>(numbers: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let blocks = numbers.chunks_exact(LANES);
    let mut rest = T::zero();
    for &x in blocks.remainder() {
        rest += x;
    }
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += x;
        }
    }
    total(lanes) + rest
}

pub(crate) fn dot<T: Real>(left: &[T], right: &[T]) -> T {
    let mut lanes = [T::zero(); LANES];
    let (left, right) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let mut rest = T::zero();
    for (&x, &y) in left.remainder().iter().zip(right.remainder()) {
        rest += x * y;
    }
    for (left, right) in left.zip(right) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(left).zip(right) {
            *lane += x * y;
        }
    }
    total(lanes) + rest
}

/// The largest number; NaN only if the first of a lane is.
pub(crate) fn maximum<T: Real>(numbers: &[T]) -> T {
    let Some(&first) = numbers.first() else {
        return T::zero();
    };
    let mut lanes = [first; LANES];
    let blocks = numbers.chunks_exact(LANES);
    let mut largest = first;
    for &x in blocks.remainder() {
        largest = if x > largest { x } else { largest };
    }
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for lane in lanes {
        largest = if lane > largest { lane } else { largest };
    }
    largest
}

/// Replaces each x by exp(x - shift) and returns the sum.
pub(crate) fn exponentials<T: Real>(numbers: &mut [T], shift: T) -> T {
    let mut lanes = [T::zero(); LANES];
    let mut rest = T::zero();
    let mut blocks = numbers.chunks_exact_mut(LANES);
    for block in &mut blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *x = (*x - shift).exp();
            *lane += *x;
        }
    }
    for x in blocks.into_remainder() {
        *x = (*x - shift).exp();
        rest += *x;
    }
    total(lanes) + rest
}

/// Rows that one task takes: fixed, so that no result depends on the number of threads.
pub(crate) fn rows_per_task(width: usize) -> usize {
    (16_384 / width.max(1)).clamp(1, 256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_within_a_few_units_in_the_last_place() {
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let (ours, exact) = (Real::exp(x), f64::from(x).exp());
            assert!(
                (f64::from(ours) - exact).abs() <= 4e-7 * exact,
                "exp({x}) = {ours}, not {exact}"
            );
        }
        assert_eq!(Real::exp(0f32), 1.0);
        assert!(Real::exp(-1e30f32) < 1e-37);
    }

    #[test]
    fn lanes_and_remainder_are_all_counted() {
        for n in [0, 1, 15, 16, 17, 100] {
            let numbers: Vec<f64> = (0..n).map(f64::from).collect();
            let expected: f64 = numbers.iter().sum();
            assert_eq!(sum(&numbers), expected);
            assert_eq!(dot(&numbers, &vec![2.0; numbers.len()]), 2.0 * expected);
            assert_eq!(maximum(&numbers), f64::from((n - 1).max(0)));
        }
    }
}
