//! F1, the harmonic mean of precision and recall, as scikit-learn's `f1_score` has it.

/// F1 of the class `positive`; 0 where it is neither expected nor predicted.
pub fn binary_f1(expected: &[usize], predicted: &[usize], positive: usize) -> f64 {
    let (mut both, mut either) = (0u64, 0u64);
    for (&gold, &made) in expected.iter().zip(predicted) {
        both += u64::from(gold == positive && made == positive);
        either += u64::from(gold == positive) + u64::from(made == positive);
    }
    if either == 0 {
        return 0.0;
    }
    2.0 * both as f64 / either as f64
}

/// The mean of the F1 of each of `classes` against the others.
pub fn macro_f1(expected: &[usize], predicted: &[usize], classes: usize) -> f64 {
    let of = |class| binary_f1(expected, predicted, class);
    (0..classes).map(of).sum::<f64>() / classes.max(1) as f64
}
