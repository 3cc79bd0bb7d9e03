//! The length rule of `CCNet` (Wenzek et al. 2020, LREC, arXiv 1911.00359): pages under 300 characters go.
//!
//! Source: `facebookresearch/cc_net`, `cc_net/mine.py` (`min_len`), which asks it of the lines that are left after lines
//! that many pages share were removed; here that is `[dedup.trim.lines]`, and language is the language rule.

use serde::{Deserialize, Serialize};

use super::verdict::below;
use super::{Filter, FilterError, Verdict};
use crate::analysis::Analysis;

/// The threshold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CcnetOptions {
    /// Characters of a page at least.
    pub min_characters: u64,
}

impl Default for CcnetOptions {
    fn default() -> Self {
        Self {
            min_characters: 300,
        }
    }
}

impl CcnetOptions {
    // Every whole number makes sense.
    pub(super) fn check(&self, _: &mut Vec<FilterError>) {}
}

pub(super) struct Ccnet(pub(super) CcnetOptions);

impl Filter for Ccnet {
    fn check(&self, document: &Analysis<'_>) -> Verdict {
        let characters = document.character_count() as f64;
        below(
            "ccnet-too-short",
            "characters",
            characters,
            self.0.min_characters as f64,
        )
        .into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::verdict;
    use super::*;

    #[test]
    fn three_hundred_characters_are_enough() {
        let rule = Ccnet(CcnetOptions::default());
        assert_eq!(verdict(&rule, &"é".repeat(300)), Verdict::Keep);
        assert_eq!(
            verdict(&rule, &"é".repeat(299)),
            Verdict::drop("ccnet-too-short")
        );
    }
}
