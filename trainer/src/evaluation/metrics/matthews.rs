//! Matthews' correlation coefficient (Matthews, "Comparison of the predicted and observed secondary structure of T4 phage lysozyme",
//! 1975), for any number of classes (Gorodkin, 2004), as scikit-learn's `matthews_corrcoef` has it.

use std::collections::BTreeMap;

/// From -1 to 1; 0 where all are expected or predicted to be of one class.
pub fn matthews(expected: &[usize], predicted: &[usize]) -> f64 {
    let mut counts: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    let (mut right, mut n) = (0.0, 0.0);
    for (&gold, &made) in expected.iter().zip(predicted) {
        counts.entry(gold).or_default().0 += 1.0;
        counts.entry(made).or_default().1 += 1.0;
        right += f64::from(u8::from(gold == made));
        n += 1.0;
    }
    let sum = |f: fn(&(f64, f64)) -> f64| counts.values().map(f).sum::<f64>();
    let covariance = right * n - sum(|(gold, made)| gold * made);
    let of_gold = n * n - sum(|(gold, _)| gold * gold);
    let of_made = n * n - sum(|(_, made)| made * made);
    if of_gold * of_made == 0.0 {
        return 0.0;
    }
    covariance / (of_gold * of_made).sqrt()
}
