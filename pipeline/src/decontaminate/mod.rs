//! Decontamination: documents that hold items of evaluation sets are dropped, or the items are cut from them.
//!
//! The method is that of GPT-3 (Brown et al. 2020, arXiv 2005.14165, appendix C): word n-grams of the items, 13 words by
//! default, sought in every document. An [`Index`] holds the n-grams of all items by hash; a hit counts only where the
//! words themselves are equal, so there is no false one. Case, punctuation and white space do not count ([`words`]). What is
//! taken of an item are its fields, each by itself, and the n-grams that only the whole item has, which straddle its
//! fields, as in datatrove (`pipeline/decont/n_grams.py`, there for question and answer).

pub mod index;
pub mod options;
pub mod words;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use index::{Builder, Found, Index, Set, TooLarge};
pub use options::{Action, DecontaminateOptions};

/// The reason of a document that is dropped.
pub const REASON: &str = "contaminated";

/// What becomes of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It has nothing of any item.
    Clean,
    /// It is dropped for what was found in it.
    Drop(Vec<Found>),
    /// It stays without these ranges of bytes, which are in order and apart from each other.
    Cut(Vec<Found>, Vec<Range<usize>>),
}

/// Looks for the items of `index` in a document. `whole` says that nothing can be cut from it.
#[must_use]
pub fn judge(index: &Index, text: &str, whole: bool) -> Outcome {
    let found = index.find(text);
    if found.is_empty() {
        return Outcome::Clean;
    }
    let options = index.options();
    if whole || options.action == Action::Drop {
        return Outcome::Drop(found);
    }
    let mut cuts: Vec<Range<usize>> = Vec::new();
    for hit in &found {
        match cuts.last_mut() {
            Some(last) if hit.start <= last.end => last.end = last.end.max(hit.end),
            _ => cuts.push(hit.start..hit.end),
        }
    }
    let characters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count() as u64;
    let mut left = 0;
    let mut at = 0;
    for cut in &cuts {
        left += characters(&text[at..cut.start]);
        at = cut.end;
    }
    left += characters(&text[at..]);
    if left < options.min_left_characters {
        Outcome::Drop(found)
    } else {
        Outcome::Cut(found, cuts)
    }
}

/// A text without ranges of its bytes, which are in order and apart from each other.
#[must_use]
pub fn without(text: &str, cuts: &[Range<usize>]) -> String {
    let mut left = String::with_capacity(text.len());
    let mut at = 0;
    for cut in cuts {
        left.push_str(&text[at..cut.start]);
        at = cut.end;
    }
    left.push_str(&text[at..]);
    left
}
