//! Where a loader stands: one integer, and in which order it was counted.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{FormatError, Result};
use crate::loader::{Packing, Shuffle};
use crate::manifest::{Split, hex};

/// All that decides an order of sequences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderIdentity {
    /// Version of the order; 1 is that of `SPEC.md`.
    pub(crate) order: u32,
    pub(crate) sequence_tokens: u64,
    pub(crate) seed: u64,
    pub(crate) packing: Packing,
    pub(crate) shuffle: Shuffle,
    pub(crate) sources: Vec<SourceIdentity>,
}

/// A source of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceIdentity {
    /// The build's root hash, which stands for every byte of it.
    pub(crate) root: String,
    pub(crate) split: Split,
    pub(crate) dataset: Option<String>,
    pub(crate) weight: u64,
}

impl OrderIdentity {
    /// In words, the first thing in which a loader's order is another than this one.
    pub(crate) fn difference(&self, loader: &Self) -> Option<String> {
        fn other<T: PartialEq + std::fmt::Debug>(
            what: &str,
            here: &T,
            there: &T,
        ) -> Option<String> {
            (here != there).then(|| format!("{what} was {here:?}, and is {there:?} now"))
        }
        let options = || {
            other("the version of the order", &self.order, &loader.order)
                .or_else(|| {
                    let tokens = (&self.sequence_tokens, &loader.sequence_tokens);
                    other("the number of tokens in a sequence", tokens.0, tokens.1)
                })
                .or_else(|| other("the seed", &self.seed, &loader.seed))
                .or_else(|| other("the packing", &self.packing, &loader.packing))
                .or_else(|| other("the shuffle", &self.shuffle, &loader.shuffle))
        };
        let counts = (&self.sources.len(), &loader.sources.len());
        let sources = || {
            let pairs = self.sources.iter().zip(&loader.sources).zip(1..);
            let mut each = pairs.map(|((here, there), number)| {
                let of = |what: &str| format!("{what} of source {number}");
                other(&of("the root hash of the build"), &here.root, &there.root)
                    .or_else(|| other(&of("the split"), &here.split, &there.split))
                    .or_else(|| other(&of("the dataset"), &here.dataset, &there.dataset))
                    .or_else(|| other(&of("the weight"), &here.weight, &there.weight))
            });
            each.find_map(|difference| difference)
        };
        options()
            .or_else(|| other("the number of sources", counts.0, counts.1))
            .or_else(sources)
    }
}

/// A position and the order it was counted in: the whole state of a loader, whatever number of machines reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderState {
    /// Sequences given so far, by all machines together.
    pub position: u64,
    pub(crate) identity: OrderIdentity,
}

/// As it is written: the digest tells a state that was edited from one that was kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    position: u64,
    digest: String,
    order: OrderIdentity,
}

impl LoaderState {
    /// sha256, in hexadecimal digits, of the builds' root hashes and the options: equal if the order is.
    pub fn digest(&self) -> String {
        // Of numbers, names and lists: there is nothing in it that JSON does not have.
        let text = serde_json::to_string(&self.identity).unwrap_or_default();
        hex(&Sha256::digest(text))
    }

    /// The state as one line of JSON.
    pub fn to_json(&self) -> String {
        let written = Written {
            position: self.position,
            digest: self.digest(),
            order: self.identity.clone(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads what [`Self::to_json`] wrote.
    ///
    /// # Errors
    ///
    /// [`FormatError::Position`] for anything else.
    pub fn from_json(text: &str) -> Result<Self> {
        let wrong = |position, what: String| FormatError::Position { position, what };
        let written: Written = serde_json::from_str(text)
            .map_err(|error| wrong(0, format!("it is written in another way: {error}")))?;
        let state = Self {
            position: written.position,
            identity: written.order,
        };
        if state.digest() == written.digest {
            Ok(state)
        } else {
            let what = "its order does not hash to its digest, so it was edited".to_owned();
            Err(wrong(state.position, what))
        }
    }
}
