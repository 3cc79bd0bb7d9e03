//! The number types of the kernels and the few slice functions they share. Sums run in sixteen lanes whose order is fixed, so that
//! they vectorize and still give the same bits on every run and with any number of threads. Loops are compiled once for each
//! set of instructions and chosen at run time by [`vectorized`]; what is called in one has to be inlined to take part.

use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

pub(super) const LANES: usize = 16;

/// `f32`, or `f64` in the tests that need an exact oracle.
pub trait Real:
    Copy
    + Default
    + Send
    + Sync
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + 'static
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest number.
    fn of(value: f64) -> Self;
    /// The same number.
    fn wide(self) -> f64;
    /// `self * by + plus`, rounded once.
    #[must_use]
    fn fused(self, by: Self, plus: Self) -> Self;
    /// e to the power of this.
    #[must_use]
    fn exp(self) -> Self;
    /// The square root.
    #[must_use]
    fn sqrt(self) -> Self;
    /// The absolute value.
    #[must_use]
    fn abs(self) -> Self;
    /// The error function.
    #[must_use]
    fn erf(self) -> Self;
    /// Numbers, if they are single ones.
    fn singles(numbers: &[Self]) -> Option<&[f32]>;
    /// The same, to be changed.
    fn singles_mut(numbers: &mut [Self]) -> Option<&mut [f32]>;
    /// The bits of the nearest number of bf16, of two as near the even one: the upper sixteen of these.
    fn bf16_bits(self) -> u32;
    /// The nearest number of bf16.
    #[must_use]
    #[inline(always)]
    fn bf16(self) -> Self {
        Self::of(f64::from(f32::from_bits(self.bf16_bits())))
    }
}

impl Real for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding is what it is for"
    )]
    fn of(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn fused(self, by: Self, plus: Self) -> Self {
        self.mul_add(by, plus)
    }

    /// Branch-free, so that loops over it vectorize: Cephes `expf` polynomial, within 2 ulp on [-87, 88], clamped outside.
    #[inline(always)]
    fn exp(self) -> Self {
        // Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits of the sum.
        const ROUND: f32 = 12_582_912.0;
        let x = if self > -87.3 { self } else { -87.3 };
        let x = if x < 88.3 { x } else { 88.3 };
        let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        // ln 2 in two parts, the first exact in few bits, keeps the remainder accurate.
        let r = n.mul_add(-0.693_359_4, x);
        let r = n.mul_add(2.121_944_4e-4, r);
        let p = 1.987_569_1e-4_f32
            .mul_add(r, 1.398_2e-3)
            .mul_add(r, 8.333_452e-3)
            .mul_add(r, 4.166_579_6e-2)
            .mul_add(r, 1.666_666_5e-1)
            .mul_add(r, 0.5);
        let y = p.mul_add(r * r, r) + 1.0;
        let power = Self::from_bits((shifted.to_bits() << 23).wrapping_add(y.to_bits()));
        // What is no number stays none: a clamp would hide it.
        if self.is_nan() { self } else { power }
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    /// By a rational argument in an exponential (Press et al., "Numerical Recipes", `erfcc`): of erfc within 1.2e-7 of itself.
    #[inline(always)]
    #[expect(
        clippy::excessive_precision,
        reason = "the coefficients as they were published"
    )]
    fn erf(self) -> Self {
        let z = self.abs();
        let t = 1.0 / 0.5_f32.mul_add(z, 1.0);
        let p = 0.170_872_77_f32
            .mul_add(t, -0.822_152_23)
            .mul_add(t, 1.488_515_87)
            .mul_add(t, -1.135_203_98)
            .mul_add(t, 0.278_868_07)
            .mul_add(t, -0.186_288_06)
            .mul_add(t, 0.096_784_18)
            .mul_add(t, 0.374_091_96)
            .mul_add(t, 1.000_023_68)
            .mul_add(t, -1.265_512_23);
        let complement = t * Real::exp((-z).mul_add(z, p));
        if self < 0.0 {
            complement - 1.0
        } else {
            1.0 - complement
        }
    }

    fn singles(numbers: &[Self]) -> Option<&[f32]> {
        Some(numbers)
    }

    fn singles_mut(numbers: &mut [Self]) -> Option<&mut [f32]> {
        Some(numbers)
    }

    #[inline(always)]
    fn bf16_bits(self) -> u32 {
        let bits = self.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) & 0xffff_0000;
        // Rounding could make an infinity of what is no number.
        if self.is_nan() { 0x7fc0_0000 } else { nearest }
    }
}

impl Real for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;

    #[inline(always)]
    fn of(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn fused(self, by: Self, plus: Self) -> Self {
        self * by + plus
    }

    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn erf(self) -> Self {
        candle_core::cpu::erf::erf_f64(self)
    }

    fn singles(_: &[Self]) -> Option<&[f32]> {
        None
    }

    fn singles_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounding is what it is for"
    )]
    fn bf16_bits(self) -> u32 {
        (self as f32).bf16_bits()
    }
}

/// Runs `task` with the best instructions of this processor.
#[inline(always)]
pub(super) fn vectorized<R>(task: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(task)
}

#[inline(always)]
fn total<T: Real>(lanes: [T; LANES]) -> T {
    let mut sum = T::ZERO;
    for lane in lanes {
        sum += lane;
    }
    sum
}

#[inline(always)]
pub(super) fn sum<T: Real>(numbers: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (blocks, remainder) = numbers.as_chunks::<LANES>();
    let mut rest = T::ZERO;
    for &x in remainder {
        rest += x;
    }
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane += x;
        }
    }
    total(lanes) + rest
}

/// The sum of the squares of the distances from `centre`.
#[inline(always)]
pub(super) fn spread<T: Real>(numbers: &[T], centre: T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let (blocks, remainder) = numbers.as_chunks::<LANES>();
    let mut rest = T::ZERO;
    for &x in remainder {
        rest = (x - centre).fused(x - centre, rest);
    }
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = (x - centre).fused(x - centre, *lane);
        }
    }
    total(lanes) + rest
}

#[inline(always)]
pub(super) fn dot<T: Real>(left: &[T], right: &[T]) -> T {
    let mut lanes = [T::ZERO; LANES];
    let ((left, left_rest), (right, right_rest)) =
        (left.as_chunks::<LANES>(), right.as_chunks::<LANES>());
    let mut rest = T::ZERO;
    for (&x, &y) in left_rest.iter().zip(right_rest) {
        rest = x.fused(y, rest);
    }
    for (left, right) in left.iter().zip(right) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(left).zip(right) {
            *lane = x.fused(y, *lane);
        }
    }
    total(lanes) + rest
}

/// The largest number, and `least` of none. NaN is passed over; the sum of exponentials that follows is NaN then.
#[inline(always)]
pub(super) fn maximum<T: Real>(numbers: &[T], least: T) -> T {
    let mut lanes = [least; LANES];
    let (blocks, remainder) = numbers.as_chunks::<LANES>();
    let mut largest = least;
    for &x in remainder {
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
#[inline(always)]
pub(super) fn exponentials<T: Real>(numbers: &mut [T], shift: T) -> T {
    let mut lanes = [T::ZERO; LANES];
    let mut rest = T::ZERO;
    let (blocks, remainder) = numbers.as_chunks_mut::<LANES>();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *x = (*x - shift).exp();
            *lane += *x;
        }
    }
    for x in remainder {
        *x = (*x - shift).exp();
        rest += *x;
    }
    total(lanes) + rest
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid<T: Real>(x: T) -> T {
    T::ONE / (T::ONE + (-x).exp())
}

/// Rows that one task takes: fixed, so that no result depends on the number of threads.
pub(super) fn rows_per_task(width: usize) -> usize {
    (16_384 / width.max(1)).clamp(1, 256)
}

/// Numbers that one task of an addition or a sum takes: fixed likewise.
pub(super) const CHUNK: usize = 1 << 14;

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
        assert!(Real::exp(f32::NAN).is_nan());
    }

    #[test]
    fn error_function_is_near_to_the_exact_one() {
        for i in -6000..6000 {
            let x = i as f32 * 1e-3;
            let (ours, exact) = (Real::erf(x), Real::erf(f64::from(x)));
            assert!(
                (f64::from(ours) - exact).abs() <= 3e-7,
                "erf({x}) = {ours}, not {exact}"
            );
        }
        // scipy.special.erf.
        assert!((Real::erf(0.5f64) - 0.520_499_877_813_046_5).abs() < 1e-15);
    }

    #[test]
    fn lanes_and_remainder_are_all_counted() {
        for n in [0, 1, 15, 16, 17, 100] {
            let numbers: Vec<f64> = (0..n).map(f64::from).collect();
            let expected: f64 = numbers.iter().sum();
            assert_eq!(sum(&numbers), expected);
            assert_eq!(dot(&numbers, &vec![2.0; numbers.len()]), 2.0 * expected);
            assert_eq!(maximum(&numbers, -1.0), f64::from(n - 1));
            let squares: f64 = numbers.iter().map(|x| (x - 2.0) * (x - 2.0)).sum();
            assert_eq!(spread(&numbers, 2.0), squares);
        }
    }

    #[test]
    fn every_set_of_instructions_gives_the_same_bits() {
        let numbers: Vec<f32> = (0..1003).map(|i| (i as f32 * 0.37).sin() * 20.0).collect();
        let work = || {
            let mut powers = numbers.clone();
            let sum = exponentials(&mut powers, 19.0);
            (
                sum,
                dot(&powers, &numbers),
                powers.iter().map(|&x| Real::erf(x)).collect::<Vec<_>>(),
            )
        };
        assert_eq!(vectorized(work), work());
    }
}
