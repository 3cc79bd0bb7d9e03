//! How often a language is told rightly, how sure it was said, and how fast: on texts whose language is known.

use std::collections::BTreeMap;

use serde::Serialize;

/// Right answers among texts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Right {
    /// Texts.
    pub texts: u64,
    /// Texts whose language was told.
    pub right: u64,
}

/// Texts whose scores are in one tenth.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Texts, and those told rightly.
    #[serde(flatten)]
    pub right: Right,
    /// The sum of their scores.
    pub scores: f64,
}

/// What was found of many texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Measured {
    /// By language.
    pub languages: BTreeMap<String, Right>,
    /// By language that was meant, those that were told instead.
    pub mistakes: BTreeMap<String, BTreeMap<String, u64>>,
    /// By score, in tenths.
    pub scores: [Bin; 10],
    /// Bytes of all texts.
    pub bytes: u64,
}

impl Measured {
    /// Notes what was told of a text.
    pub fn add(&mut self, text: &str, meant: &str, told: Option<(&str, f64)>) {
        self.bytes += text.len() as u64;
        let (language, score) = told.unwrap_or(("und", 0.0));
        let is_right = u64::from(language == meant);
        let of_language = self.languages.entry(meant.to_owned()).or_default();
        of_language.texts += 1;
        of_language.right += is_right;
        if is_right == 0 {
            let told = self.mistakes.entry(meant.to_owned()).or_default();
            *told.entry(language.to_owned()).or_default() += 1;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a score is from 0 to 1"
        )]
        let bin = &mut self.scores[((score * 10.0) as usize).min(9)];
        bin.right.texts += 1;
        bin.right.right += is_right;
        bin.scores += score;
    }

    /// All texts of some languages.
    #[must_use]
    pub fn total(&self, counts: impl Fn(&str) -> bool) -> Right {
        let mut total = Right::default();
        for (_, of_language) in self
            .languages
            .iter()
            .filter(|(language, _)| counts(language))
        {
            total.texts += of_language.texts;
            total.right += of_language.right;
        }
        total
    }

    /// The mean distance between score and share told rightly, over texts, by tenths: 0 if a score means what it says.
    #[must_use]
    pub fn calibration_error(&self) -> f64 {
        let distances = self
            .scores
            .iter()
            .map(|bin| (bin.scores - float(bin.right.right)).abs());
        distances.sum::<f64>() / float(self.total(|_| true).texts).max(1.0)
    }
}

impl Right {
    /// In percent; 0 where there are no texts.
    #[must_use]
    pub fn percent(self) -> f64 {
        100.0 * float(self.right) / float(self.texts).max(1.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53 are exact")]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_calibration_are_those_of_a_case_by_hand() {
        let mut measured = Measured::default();
        measured.add("abcd", "en", Some(("en", 0.95)));
        measured.add("abcd", "en", Some(("de", 0.65)));
        measured.add("abcd", "de", Some(("de", 1.0)));
        measured.add("1234", "de", None);
        assert_eq!(measured.languages["en"], Right { texts: 2, right: 1 });
        assert_eq!(measured.total(|_| true).percent(), 50.0);
        assert_eq!(measured.mistakes["de"]["und"], 1);
        // |0.95 + 1.0 - 2| in the last tenth, 0.65 in the seventh, nothing in the first.
        assert!((measured.calibration_error() - 0.70 / 4.0).abs() < 1e-12);
        assert_eq!(measured.bytes, 16);
    }
}
