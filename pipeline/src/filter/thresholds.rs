//! Which statistic each threshold of a rule is held against: what tuning it on data has to look at.

use super::FilterOptions;

/// From which side a threshold bounds its statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Documents below it go.
    Min,
    /// Documents above it go.
    Max,
}

/// A threshold of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threshold {
    /// The rule's table in a recipe.
    pub table: &'static str,
    /// Its key in that table.
    pub key: &'static str,
    /// The statistic, one of [`crate::analysis::signals`].
    pub signal: &'static str,
    /// Which documents go.
    pub side: Side,
}

impl Threshold {
    /// As it is written: `gopher-quality.min-words`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.table, self.key)
    }

    /// Its published value, if it has one.
    pub fn published(&self) -> Option<f64> {
        let rule = super::rules::rule(self.table)?;
        (rule.defaults)().get(self.key)?.as_f64()
    }

    /// Its value in a profile that has the rule's table, or has the rule in its list.
    pub fn of(&self, options: &FilterOptions) -> Option<f64> {
        let written = serde_json::to_value(options).ok()?;
        let value = written
            .get(self.table)
            .and_then(|table| table.get(self.key));
        value.and_then(serde_json::Value::as_f64)
    }
}

const fn min(table: &'static str, key: &'static str, signal: &'static str) -> Threshold {
    Threshold {
        table,
        key,
        signal,
        side: Side::Min,
    }
}

const fn max(table: &'static str, key: &'static str, signal: &'static str) -> Threshold {
    Threshold {
        table,
        key,
        signal,
        side: Side::Max,
    }
}

const DCLM: &str = "gopher-quality";
const DCLM_REPETITION: &str = "gopher-repetition";
const DATATROVE: &str = "gopher-quality@datatrove";
const DATATROVE_REPETITION: &str = "gopher-repetition@datatrove";
const DOLMA: &str = "gopher-quality@dolma";
const DOLMA_REPETITION: &str = "gopher-repetition@dolma";

/// Those of one number each, by rule. What a rule counts in its own way, such as sentences left of a page that it edits, is
/// no signal and so not here.
pub const THRESHOLDS: &[Threshold] = &[
    min("length", "min-characters", "characters"),
    max("length", "max-characters", "characters"),
    min("ccnet", "min-characters", "characters"),
    max(
        "code",
        "max-line-characters",
        "code-longest-line-characters",
    ),
    max(
        "code",
        "max-mean-line-characters",
        "code-mean-line-characters",
    ),
    min("code", "min-alphanumeric-fraction", "alphanumeric-fraction"),
    min(DCLM, "min-words", "dclm-words"),
    max(DCLM, "max-words", "dclm-words"),
    min(
        DCLM,
        "min-mean-word-characters",
        "dclm-mean-word-characters",
    ),
    max(
        DCLM,
        "max-mean-word-characters",
        "dclm-mean-word-characters",
    ),
    max(
        DCLM,
        "max-symbol-word-fraction",
        "dclm-symbol-word-fraction",
    ),
    max(
        DCLM,
        "max-bullet-line-fraction",
        "dclm-bullet-line-fraction",
    ),
    max(
        DCLM,
        "max-ellipsis-line-fraction",
        "dclm-ellipsis-line-fraction",
    ),
    max(
        DCLM,
        "max-non-alphabetic-word-fraction",
        "dclm-non-alphabetic-word-fraction",
    ),
    min(DCLM, "min-stop-words", "dclm-stop-words"),
    max(
        DCLM_REPETITION,
        "max-duplicate-line-fraction",
        "dclm-duplicate-line-fraction",
    ),
    max(
        DCLM_REPETITION,
        "max-duplicate-paragraph-fraction",
        "dclm-duplicate-paragraph-fraction",
    ),
    max(
        DCLM_REPETITION,
        "max-duplicate-line-character-fraction",
        "dclm-duplicate-line-character-fraction",
    ),
    max(
        DCLM_REPETITION,
        "max-duplicate-paragraph-character-fraction",
        "dclm-duplicate-paragraph-character-fraction",
    ),
    min(DATATROVE, "min-words", "datatrove-words"),
    max(DATATROVE, "max-words", "datatrove-words"),
    min(
        DATATROVE,
        "min-mean-word-characters",
        "datatrove-mean-word-characters",
    ),
    max(
        DATATROVE,
        "max-mean-word-characters",
        "datatrove-mean-word-characters",
    ),
    max(
        DATATROVE,
        "max-symbol-token-fraction",
        "datatrove-hash-token-fraction",
    ),
    max(
        DATATROVE,
        "max-bullet-line-fraction",
        "datatrove-bullet-line-fraction",
    ),
    max(
        DATATROVE,
        "max-ellipsis-line-fraction",
        "datatrove-ellipsis-line-fraction",
    ),
    min(
        DATATROVE,
        "min-alphabetic-token-fraction",
        "datatrove-alphabetic-token-fraction",
    ),
    min(DATATROVE, "min-stop-words", "datatrove-stop-words"),
    max(
        DATATROVE_REPETITION,
        "max-duplicate-paragraph-fraction",
        "datatrove-duplicate-paragraph-fraction",
    ),
    max(
        DATATROVE_REPETITION,
        "max-duplicate-paragraph-character-fraction",
        "datatrove-duplicate-paragraph-character-fraction",
    ),
    max(
        DATATROVE_REPETITION,
        "max-duplicate-line-fraction",
        "datatrove-duplicate-line-fraction",
    ),
    max(
        DATATROVE_REPETITION,
        "max-duplicate-line-character-fraction",
        "datatrove-duplicate-line-character-fraction",
    ),
    min(DOLMA, "min-words", "dolma-words"),
    max(DOLMA, "max-words", "dolma-words"),
    min(
        DOLMA,
        "min-median-word-characters",
        "dolma-median-word-characters",
    ),
    max(
        DOLMA,
        "max-median-word-characters",
        "dolma-median-word-characters",
    ),
    max(
        DOLMA,
        "max-symbol-word-fraction",
        "dolma-symbol-word-fraction",
    ),
    min(
        DOLMA,
        "min-alphabetic-word-fraction",
        "dolma-alphabetic-word-fraction",
    ),
    min(DOLMA, "min-stop-words", "dolma-stop-words"),
    max(
        DOLMA,
        "max-bullet-line-fraction",
        "dolma-bullet-line-fraction",
    ),
    max(
        DOLMA,
        "max-ellipsis-line-fraction",
        "dolma-ellipsis-line-fraction",
    ),
    max(
        DOLMA_REPETITION,
        "max-duplicate-line-fraction",
        "dolma-duplicate-line-fraction",
    ),
    max(
        DOLMA_REPETITION,
        "max-duplicate-line-character-fraction",
        "dolma-duplicate-line-character-fraction",
    ),
    min(
        "fineweb",
        "min-terminal-line-fraction",
        "fineweb-terminal-line-fraction",
    ),
    max(
        "fineweb",
        "max-short-line-fraction",
        "fineweb-short-line-fraction",
    ),
    max(
        "fineweb",
        "max-duplicate-line-character-fraction",
        "fineweb-duplicate-line-character-fraction",
    ),
    max(
        "fineweb",
        "max-line-break-token-fraction",
        "fineweb-line-break-token-fraction",
    ),
];

#[cfg(test)]
mod tests {
    use super::super::{Filters, Verdict};
    use super::*;
    use crate::analysis::signals::chosen;
    use crate::analysis::{Analysis, Scratch};

    /// Enough of everything that every statistic is above zero and none is one.
    const TEXT: &str = "The first heading of the page\n\n• a line that starts with a bullet and goes on to be of some length\n\
        - another such line, with the words of a list and that of others ...\nThis is the sentence that stands in it twice over.\n\
        This is the sentence that stands in it twice over.\n\nThe same paragraph twice\n\nThe same paragraph twice\n\n\
        # 12 34 ### and words # to have with it, to be more of them than numbers 5 6 # …\nline that ends in an ellipsis ...\n\
        line that ends in another …\n";

    /// One threshold alone: at the value of the statistic the document stays, a little beyond it goes, and the reason names
    /// the statistic. All else of the rule is as lax as can be.
    #[test]
    fn every_threshold_bounds_its_signal() {
        let mut scratch = Scratch::default();
        for threshold in THRESHOLDS {
            let signal = chosen([threshold.signal]).unwrap()[0];
            let value = (signal.value)(&Analysis::new(TEXT, &mut scratch).unwrap());
            assert!(value > 0.0, "{}: {value}", threshold.name());
            let rule = super::super::rules::rule(threshold.table).unwrap();
            let mut lax = (rule.defaults)();
            for (key, default) in lax.as_object_mut().unwrap() {
                if !key.starts_with("min-") && !key.starts_with("max-") && !default.is_boolean() {
                    continue;
                }
                let kind = default.clone();
                *default = match &kind {
                    serde_json::Value::Number(_) if key.starts_with("min-") => 0.into(),
                    serde_json::Value::Number(n) if n.is_u64() => 1_000_000_000.into(),
                    serde_json::Value::Number(_) => 1e9.into(),
                    serde_json::Value::Array(of) if of.iter().all(|n| n.is_number()) => {
                        vec![1e9; of.len()].into()
                    }
                    serde_json::Value::Bool(_) => false.into(),
                    other => other.clone(),
                };
            }
            let mut judge = |limit: f64| {
                let mut table = lax.clone();
                let old = (rule.defaults)()[threshold.key].clone();
                // Whole numbers are written as such; none is the default of the only option without a number.
                table[threshold.key] = match old.is_f64() {
                    true => limit.into(),
                    false => limit.to_string().parse::<u64>().unwrap().into(),
                };
                let options = serde_json::json!({ threshold.table: table });
                let options: FilterOptions = serde_json::from_value(options).unwrap();
                assert!((threshold.of(&options).unwrap() - limit).abs() < 1e-9);
                Filters::new(&options).unwrap().judge(TEXT, &mut scratch)
            };
            let step = if value.fract() == 0.0 {
                1.0
            } else {
                value * 1e-6
            };
            let (inside, beyond) = match threshold.side {
                Side::Min => (value - step, value + step),
                Side::Max => (value + step, value - step),
            };
            assert_eq!(judge(inside), Verdict::Keep, "{}", threshold.name());
            let Verdict::Drop(reason) = judge(beyond) else {
                panic!("{} does not bound {}", threshold.name(), threshold.signal);
            };
            let measured = reason.measured.unwrap();
            let above = threshold.side == Side::Max;
            assert_eq!(
                (measured.statistic, measured.above),
                (threshold.signal, above),
                "{}",
                threshold.name()
            );
        }
    }

    #[test]
    fn published_values_are_those_of_the_rules() {
        let of = |name: &str| {
            THRESHOLDS
                .iter()
                .find(|t| t.name() == name)
                .unwrap()
                .published()
        };
        assert_eq!(of("gopher-quality.min-words"), Some(50.0));
        assert_eq!(of("length.max-characters"), None);
    }
}
