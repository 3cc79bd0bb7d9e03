//! Arithmetic that has the same bits on every machine: additions, multiplications, divisions and roots, which IEEE 754 defines
//! to the last bit, and no library's exponentials or logarithms, which it does not.

/// e to the power of `x`, at most 0: by halving and squaring a series of eleven terms.
pub(crate) fn exp(x: f64) -> f64 {
    const SHARES: [f64; 11] = [
        1.0,
        1.0 / 2.0,
        1.0 / 3.0,
        1.0 / 4.0,
        1.0 / 5.0,
        1.0 / 6.0,
        1.0 / 7.0,
        1.0 / 8.0,
        1.0 / 9.0,
        1.0 / 10.0,
        1.0 / 11.0,
    ];
    if x < -700.0 {
        return 0.0;
    }
    let x = x.min(0.0) / 256.0;
    let mut sum = 1.0;
    for share in SHARES.iter().rev() {
        sum = 1.0 + sum * x * share;
    }
    for _ in 0..8 {
        sum *= sum;
    }
    sum
}

/// Probabilities of log-odds. Those below a ten-billionth are 0.
pub(crate) fn softmax(logits: &mut [f64]) {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut total = 0.0;
    for logit in &mut *logits {
        let below = *logit - most;
        *logit = if below > -23.0 { exp(below) } else { 0.0 };
        total += *logit;
    }
    for share in logits {
        *share /= total;
    }
}

/// The logistic function: 1 / (1 + e^-x).
pub(crate) fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + exp(-x))
    } else {
        let e = exp(x);
        e / (1.0 + e)
    }
}

/// `SplitMix64` (Steele, Lea, Flood, 2014).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `most`, which is small.
    pub(crate) fn below(&mut self, most: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
        let number = ((u128::from(self.next()) * most as u128) >> 64) as usize;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_those_of_the_library_to_twelve_digits() {
        for step in 0..3000 {
            let x = -f64::from(step) / 50.0;
            let (ours, theirs) = (exp(x), x.exp());
            assert!(
                (ours - theirs).abs() <= 1e-12 * theirs,
                "{x}: {ours} {theirs}"
            );
        }
        assert_eq!((exp(0.0), exp(f64::NEG_INFINITY)), (1.0, 0.0));
    }

    #[test]
    fn shares_add_up_to_one_and_logistic_is_their_form_of_two() {
        let mut shares = [3.0, 1.0, -200.0];
        softmax(&mut shares);
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-15);
        assert!((shares[0] - logistic(2.0)).abs() < 1e-15);
        assert!((logistic(-2.0) + logistic(2.0) - 1.0).abs() < 1e-15);
    }

    #[test]
    fn the_generator_is_the_published_one() {
        // First outputs for seed 1234567, as in the tests of the generator's ports:
        // https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
        let mut random = Random(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }
}
