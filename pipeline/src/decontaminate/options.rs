//! The `[decontaminate]` table of a recipe.

use serde::{Deserialize, Serialize};

/// Against which benchmarks documents are held, and what becomes of those that have something of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DecontaminateOptions {
    /// Evaluation sets: datasets of the catalogue by name (of a dataset for training, its `evaluation-files`), or files whose
    /// rows are items, absolute or relative to the manifests' folder.
    pub against: Vec<String>,
    /// Words of an n-gram: a document that shares so many in a row with an item has something of it.
    pub n: usize,
    /// What becomes of a document that has something of an item.
    pub action: Action,
    /// Different n-grams of one item that a document must have; an item with fewer must be there with all of them.
    pub min_matches: usize,
    /// Words from which on a text that is shorter than an n-gram is looked for, as a whole. Shorter ones stand everywhere.
    pub min_item_words: usize,
    /// An n-gram that more texts of benchmarks have than this is a way of asking and no item, and is not looked for, unless
    /// an item has no other.
    pub max_items: usize,
    /// Characters that are no white space and must be left of a document from which something was cut; others are dropped.
    pub min_left_characters: u64,
}

/// What becomes of a document that has something of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is dropped.
    Drop,
    /// What it has of the items is cut from it. A document with parts of its own, such as a dialogue, is dropped.
    Cut,
}

impl Default for DecontaminateOptions {
    fn default() -> Self {
        Self {
            against: Vec::new(),
            // The n-gram of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C), which also looks for items of eight
            // words and more as a whole.
            n: 13,
            action: Action::Drop,
            min_matches: 1,
            min_item_words: 8,
            // As `contamination frequency` there and in NVIDIA-NeMo/Curator, `nemo_curator/modules/task.py`.
            max_items: 10,
            min_left_characters: 100,
        }
    }
}

impl DecontaminateOptions {
    /// What no index can be made of: the key, and what to write.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        let mut require = |holds: bool, key, message| {
            if !holds {
                faults.push((key, message));
            }
        };
        require(
            !self.against.is_empty(),
            "against",
            "name the evaluation sets: datasets of the catalogue or files",
        );
        require(
            (2..=64).contains(&self.n),
            "n",
            "an n-gram has 2 to 64 words",
        );
        require(
            self.min_matches > 0,
            "min-matches",
            "at least 1 n-gram makes a match",
        );
        require(
            (2..=self.n).contains(&self.min_item_words),
            "min-item-words",
            "a text that is looked for has at least 2 words, and one of n words is an n-gram: write a number from 2 to n",
        );
        require(
            self.max_items > 0,
            "max-items",
            "at least 1 item has an n-gram",
        );
        require(
            self.min_left_characters > 0,
            "min-left-characters",
            "a document has at least 1 character",
        );
        faults
    }
}
