//! `[data]`: the batches.

use std::collections::BTreeMap;

use andromeda_format::{LoaderOptions, Packing, Shuffle};
use serde::{Deserialize, Serialize};

/// The largest chunk in tokens, and the most chunks of a group: far above what is of use, and within what TOML can hold.
const LARGEST_CHUNK: u64 = 1 << 40;
const MOST_CHUNKS: u64 = 1 << 20;
/// The largest sum of weights: finer shares than any run could tell.
const LARGEST_WEIGHTS: u64 = 1 << 40;

/// Which sequences of the training split are permuted among each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Those of a group of chunks, which is decoded once ([`Shuffle`]).
    #[default]
    Groups,
    /// All of the split. Of a split of more than 16 chunks each sequence decodes a frame of its own.
    Full,
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataOptions {
    /// T: tokens of a sequence.
    pub sequence_tokens: usize,
    /// Sequences that go through the model at once.
    pub sequences_per_micro_batch: usize,
    /// Micro-batches whose gradients make one step.
    pub micro_batches_per_step: usize,
    /// Seed of the order of sequences.
    pub order_seed: u64,
    /// How documents of the training split are laid into sequences. Those evaluated on are always laid end to end, so that
    /// the losses of runs can be compared.
    pub packing: Packing,
    /// How far the order of the training split is from the stored one.
    pub shuffle: Among,
    /// Tokens of a chunk, more or less; at most 2^40. With `best-fit` also the stretch of documents that are packed together.
    pub chunk_tokens: u64,
    /// Chunks of a group, at most 2^20; so many are held in memory. Of no meaning where all of the split is shuffled.
    pub group_chunks: u64,
    /// Whether attention stays within a document, so that the documents of a sequence do not see each other.
    pub stay_in_documents: bool,
    /// Datasets of the build by name, each with its share of the training sequences: its weight of the sum of all weights. A
    /// dataset that is not named is not trained on; without any name, all are, each with its share of the split. Reading
    /// decodes the split once for every dataset named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u64>,
}

impl Default for DataOptions {
    fn default() -> Self {
        let Shuffle {
            chunk_tokens,
            group_chunks,
        } = Shuffle::default();
        Self {
            sequence_tokens: 256,
            sequences_per_micro_batch: 8,
            micro_batches_per_step: 1,
            order_seed: 0,
            packing: Packing::default(),
            shuffle: Among::default(),
            chunk_tokens,
            group_chunks,
            stay_in_documents: false,
            weights: BTreeMap::new(),
        }
    }
}

impl DataOptions {
    /// Sequences of one step.
    pub fn sequences_per_step(&self) -> u64 {
        self.sequences_per_micro_batch as u64 * self.micro_batches_per_step as u64
    }

    /// Tokens of one step.
    pub fn tokens_per_step(&self) -> u64 {
        self.sequences_per_step() * self.sequence_tokens as u64
    }

    /// What the loader of the training split is asked for.
    pub fn loader_options(&self) -> LoaderOptions {
        let group_chunks = match self.shuffle {
            Among::Groups => self.group_chunks,
            Among::Full => Shuffle::FULL.group_chunks,
        };
        LoaderOptions {
            packing: self.packing,
            shuffle: Shuffle {
                chunk_tokens: self.chunk_tokens,
                group_chunks,
            },
            ..LoaderOptions::new(self.sequence_tokens, self.order_seed)
        }
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        let bounds = [
            ("data.sequence-tokens", self.sequence_tokens as u64, 1 << 20),
            (
                "data.sequences-per-micro-batch",
                self.sequences_per_micro_batch as u64,
                1 << 16,
            ),
            (
                "data.micro-batches-per-step",
                self.micro_batches_per_step as u64,
                1 << 16,
            ),
            ("data.chunk-tokens", self.chunk_tokens, LARGEST_CHUNK),
            ("data.group-chunks", self.group_chunks, MOST_CHUNKS),
        ];
        let mut problems: Vec<String> = bounds
            .iter()
            .filter(|(_, value, most)| *value == 0 || value > most)
            .map(|(name, value, most)| format!("{name} must be between 1 and {most}, not {value}"))
            .collect();
        if self.shuffle == Among::Full && self.group_chunks != Shuffle::default().group_chunks {
            problems.push(
                "data.group-chunks has no meaning with data.shuffle = \"full\"; leave one of them out"
                    .to_owned(),
            );
        }
        let mut sum = 0_u64;
        for (name, &weight) in &self.weights {
            if weight == 0 {
                problems.push(format!(
                    "data.weights.{name} must be at least 1; leave {name} out to train on none of it"
                ));
            }
            sum = sum.saturating_add(weight);
        }
        if sum > LARGEST_WEIGHTS {
            problems.push(format!(
                "data.weights are {sum} together, and at most {LARGEST_WEIGHTS}; make all smaller"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<DataOptions, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn without_keys_the_loader_has_its_own_defaults() {
        let options = parsed("sequence-tokens = 64\norder-seed = 7").unwrap();
        assert_eq!(options.loader_options(), LoaderOptions::new(64, 7));
        // What a run wrote before there were these keys is read as those defaults.
        assert!(options.problems().is_empty());
    }

    #[test]
    fn each_key_reaches_the_loader() {
        let text = "packing = \"best-fit\"\nchunk-tokens = 4096\ngroup-chunks = 2";
        let options = parsed(text).unwrap();
        let expected = LoaderOptions {
            packing: Packing::BestFit,
            shuffle: Shuffle {
                chunk_tokens: 4096,
                group_chunks: 2,
            },
            ..LoaderOptions::new(256, 0)
        };
        assert_eq!(options.loader_options(), expected);
        assert_eq!(
            parsed("shuffle = \"full\"")
                .unwrap()
                .loader_options()
                .shuffle,
            Shuffle::FULL
        );
        let written = toml::to_string(&options).unwrap();
        assert_eq!(parsed(&written).unwrap(), options);
    }

    #[test]
    fn values_without_meaning_are_refused() {
        for (text, key) in [
            ("chunk-tokens = 0", "data.chunk-tokens"),
            ("chunk-tokens = 1099511627777", "data.chunk-tokens"),
            ("group-chunks = 0", "data.group-chunks"),
            ("group-chunks = 1048577", "data.group-chunks"),
            ("shuffle = \"full\"\ngroup-chunks = 3", "data.group-chunks"),
            ("weights = { prose = 0, code = 1 }", "data.weights.prose"),
            (
                "weights = { prose = 1099511627776, code = 1 }",
                "data.weights",
            ),
        ] {
            let problems = parsed(text).unwrap().problems();
            assert!(
                problems.len() == 1 && problems[0].contains(key),
                "{text}: {problems:?}"
            );
        }
        let error = parsed("packing = \"first-fit\"").unwrap_err();
        assert!(error.contains("best-fit"), "{error}");
        let error = parsed("shuffle = \"none\"").unwrap_err();
        assert!(error.contains("groups"), "{error}");
    }
}
