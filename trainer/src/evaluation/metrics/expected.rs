//! The number that a model takes, where its answers are numbers.

/// The mean of `values`, each weighted by its likelihood among all of them: the sum of `v exp(l)` over that of `exp(l)`, l in nats. None
/// where there is no value, or a log-likelihood that is no number, or none above minus infinity.
pub fn expected_value(nats: &[f64], values: &[f64]) -> Option<f64> {
    let largest = nats.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (mut sum, mut weights) = (0.0, 0.0);
    for (nats, value) in nats.iter().zip(values) {
        let weight = (nats - largest).exp();
        sum += weight * value;
        weights += weight;
    }
    let mean = sum / weights;
    mean.is_finite().then_some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_are_weights() {
        // 1 : 3, whatever they are of, and however small.
        let third = 3.0_f64.ln();
        for base in [0.0, -40.0, -2000.0] {
            let mean = expected_value(&[base, base + third], &[0.0, 4.0]).unwrap();
            assert!((mean - 3.0).abs() < 1e-9, "{base}: {mean}");
        }
        assert_eq!(
            expected_value(&[f64::NEG_INFINITY, -1.0], &[0.0, 5.0]),
            Some(5.0)
        );
        assert_eq!(expected_value(&[f64::NAN, -1.0], &[0.0, 5.0]), None);
        assert_eq!(expected_value(&[f64::NEG_INFINITY; 2], &[0.0, 5.0]), None);
        assert_eq!(expected_value(&[], &[]), None);
    }
}
