//! Standard errors of what is no mean over items: the deviation of the metric over corpora drawn from the items with replacement
//! (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

use super::mean::Mean;
use crate::random::Stream;

/// Corpora drawn. The error of a standard error is then about 1 in 30.
const DRAWS: usize = 500;

/// The standard error of `metric` over `items`; none of fewer than two items, or where the metric is not defined on a draw. The
/// draws depend on the number of items alone.
pub fn bootstrap<T: Clone>(items: &[T], metric: impl Fn(&[T]) -> Option<f64>) -> Option<f64> {
    if items.len() < 2 {
        return None;
    }
    let stream = Stream::new(0, "bootstrap");
    let mut counter = 0;
    let mut values = Vec::with_capacity(DRAWS);
    for _ in 0..DRAWS {
        let drawn: Vec<T> = items
            .iter()
            .map(|_| {
                counter += 1;
                items[below(stream.bits(counter), items.len())].clone()
            })
            .collect();
        values.push(metric(&drawn)?);
    }
    // The deviation of the draws is the standard error itself.
    Mean::of(&values)
        .standard_error
        .map(|error| error * (DRAWS as f64).sqrt())
}

/// 64 random bits as a number below `n`.
fn below(bits: u64, n: usize) -> usize {
    // The upper half of the product of bits and n: below n.
    usize::try_from((u128::from(bits) * n as u128) >> 64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mean_it_is_what_the_formula_gives() {
        let items: Vec<f64> = (0..400).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
        let drawn = bootstrap(&items, |items| Some(Mean::of(items).value)).unwrap();
        let exact = Mean::of(&items).standard_error.unwrap();
        // sqrt(0.75 * 0.25 / 399) = 0.02168; three times the error of 500 draws, 1 / sqrt(1000).
        assert!((drawn / exact - 1.0).abs() < 0.095, "{drawn} {exact}");
        assert_eq!(
            bootstrap(&items, |items| Some(Mean::of(items).value)),
            Some(drawn)
        );
        assert_eq!(bootstrap(&items[..1], |_| Some(0.0)), None);
    }
}
