//! The mean over items and its standard error.

use serde::Serialize;

/// A mean over items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Mean {
    /// The mean; 0 of none.
    pub value: f64,
    /// Sample deviation over the square root of the number, as lm-evaluation-harness has it; none of fewer than two.
    pub standard_error: Option<f64>,
}

impl Mean {
    /// The mean of `values`.
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        if values.is_empty() {
            return Self {
                value: 0.0,
                standard_error: None,
            };
        }
        let value = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|x| (x - value) * (x - value)).sum();
        Self {
            value,
            standard_error: (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt() / n.sqrt()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_have_no_standard_error() {
        assert_eq!(Mean::of(&[]).value, 0.0);
        assert_eq!(Mean::of(&[3.0]).standard_error, None);
        // One right of four: sqrt(0.75 / 3) / 2.
        let mean = Mean::of(&[1.0, 0.0, 0.0, 0.0]);
        assert_eq!(mean.value, 0.25);
        assert!((mean.standard_error.unwrap() - 0.25).abs() < 1e-15);
    }
}
