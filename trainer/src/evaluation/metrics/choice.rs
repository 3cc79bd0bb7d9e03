//! Which of several continuations a model takes, by its log-likelihoods (lm-evaluation-harness: `acc`, `acc_norm`, `acc_bytes`).
//! Ties go to the first; a log-likelihood that is no number is never taken before one that is.

/// The position of the largest log-likelihood.
pub fn likeliest(nats: &[f64]) -> Option<usize> {
    largest(nats.iter().copied())
}

/// As [`likeliest`], of log-likelihoods over the characters of `choices`, the blank that joins a choice to its context not counted.
pub fn likeliest_by_characters(nats: &[f64], choices: &[String]) -> Option<usize> {
    let lengths = choices.iter().map(|choice| choice.chars().count());
    largest(nats.iter().zip(lengths).map(per))
}

/// As [`likeliest_by_characters`], over bytes of UTF-8.
pub fn likeliest_by_bytes(nats: &[f64], choices: &[String]) -> Option<usize> {
    largest(nats.iter().zip(choices.iter().map(String::len)).map(per))
}

/// A choice without a character has a log-likelihood of 0 over 0, or of less: no number, or the least.
fn per((nats, length): (&f64, usize)) -> f64 {
    nats / length as f64
}

fn largest(values: impl Iterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, value) in values.enumerate() {
        if best.is_none_or(|(_, largest)| value > largest || (largest.is_nan() && !value.is_nan()))
        {
            best = Some((index, value));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_taken() {
        assert_eq!(likeliest(&[-2.0, -1.0, -1.0]), Some(1));
        assert_eq!(likeliest(&[f64::NAN, -1.0]), Some(1));
        assert_eq!(likeliest(&[]), None);
    }

    #[test]
    fn lengths_are_of_characters_or_bytes() {
        // -6 over 2 characters and 4 bytes, -4 over 3 of both.
        let choices = ["éé".to_owned(), "abc".to_owned()];
        assert_eq!(likeliest_by_characters(&[-6.0, -5.0], &choices), Some(1));
        assert_eq!(likeliest_by_bytes(&[-6.0, -5.0], &choices), Some(0));
        let one_empty = [String::new(), "abc".to_owned()];
        assert_eq!(likeliest_by_characters(&[0.0, -5.0], &one_empty), Some(1));
    }
}
