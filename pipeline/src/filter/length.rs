//! Documents too short to teach anything, or too long to be one document. The default minimum is the number of
//! `SlimPajama` (200 characters, which it counts without punctuation and space,
//! <https://www.cerebras.net/blog/slimpajama-a-627b-token-cleaned-and-deduplicated-version-of-redpajama>);
//! there is no published maximum for anything but web pages (C4: 190,000), so none is set.

use serde::{Deserialize, Serialize};

use super::verdict::{above, below};
use super::{Filter, FilterError, Verdict};
use crate::analysis::Analysis;

/// Bounds on the characters (Unicode scalars) of a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LengthOptions {
    /// Fewer characters than this drop a document.
    pub min_characters: u64,
    /// More characters than this drop a document; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_characters: Option<u64>,
}

impl Default for LengthOptions {
    fn default() -> Self {
        Self {
            min_characters: 200,
            max_characters: None,
        }
    }
}

impl LengthOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        if self
            .max_characters
            .is_some_and(|max| self.min_characters > max)
        {
            errors.push(FilterError::Reversed {
                table: "length",
                quantity: "characters",
            });
        }
    }
}

pub(super) struct LengthFilter(pub(super) LengthOptions);

impl Filter for LengthFilter {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        let characters = document.character_count() as f64;
        let min = self.0.min_characters as f64;
        below("too-short", "characters", characters, min)
            .or_else(|| {
                let max = self.0.max_characters? as f64;
                above("too-long", "characters", characters, max)
            })
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    #[test]
    fn bounds_are_inclusive_and_count_characters() {
        let filter = LengthFilter(LengthOptions {
            min_characters: 2,
            max_characters: Some(3),
        });
        assert_eq!(verdict(&filter, "\u{4f60}"), Verdict::drop("too-short"));
        assert_eq!(verdict(&filter, "\u{4f60}\u{597d}"), Verdict::Keep);
        assert_eq!(verdict(&filter, "\u{4f60}\u{597d}!"), Verdict::Keep);
        assert_eq!(
            verdict(&filter, "\u{4f60}\u{597d}!!"),
            Verdict::drop("too-long")
        );
        assert_eq!(verdict(&filter, ""), Verdict::drop("too-short"));
    }
}
