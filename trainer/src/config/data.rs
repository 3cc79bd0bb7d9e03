//! `[data]`: the batches.

use serde::{Deserialize, Serialize};

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
    /// Whether attention stays within a document, so that the documents of a sequence do not see each other.
    pub stay_in_documents: bool,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            sequence_tokens: 256,
            sequences_per_micro_batch: 8,
            micro_batches_per_step: 1,
            order_seed: 0,
            stay_in_documents: false,
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

    pub(super) fn problems(&self) -> Vec<String> {
        let bounds = [
            ("data.sequence-tokens", self.sequence_tokens, 1 << 20),
            (
                "data.sequences-per-micro-batch",
                self.sequences_per_micro_batch,
                1 << 16,
            ),
            (
                "data.micro-batches-per-step",
                self.micro_batches_per_step,
                1 << 16,
            ),
        ];
        bounds
            .iter()
            .filter(|(_, value, most)| *value == 0 || value > most)
            .map(|(name, value, most)| format!("{name} must be between 1 and {most}, not {value}"))
            .collect()
    }
}
