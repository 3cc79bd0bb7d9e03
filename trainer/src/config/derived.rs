//! What follows from a configuration and a build.

use andromeda_format::Account;
use serde::Serialize;

use super::{DeviceName, Dtype, RunConfig};
use crate::memory::Memory;
use crate::model::Keep;
use crate::ops::Heads;
use crate::ops::fused::{PACKED_BYTES, backward_sums, loss_numbers};
use crate::parallel::{Owners, tree};

/// The numbers that follow from a configuration and a build, said before the first step.
#[derive(Debug, Clone, Serialize)]
pub struct Derived {
    /// Parameters, the tied head counted once.
    pub parameters: u64,
    /// Sequences of a step, after a warmup of batches.
    pub sequences_per_step: u64,
    /// Micro-batches of a step, after a warmup of batches.
    pub micro_batches_per_step: u64,
    /// Tokens of a step, after a warmup of batches.
    pub tokens_per_step: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Sequences of the run.
    pub sequences: u64,
    /// Tokens of the run.
    pub total_tokens: u64,
    /// Passes over the training split, or of a mixture over all of its datasets together.
    pub epochs: f64,
    /// Of a mixture, what the run reads of each dataset.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetShare>,
    /// Operations of forward and backward a token, attention counted causally.
    pub flops_per_token: u64,
    /// Operations of the run.
    pub total_flops: f64,
    /// Workers that share each step.
    pub workers: u64,
    /// Estimate of a worker's memory in bytes by what it holds; of the one that holds most.
    pub memory: Memory,
    /// All of it.
    pub memory_bytes: u64,
}

/// What a run reads of a dataset of its mixture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetShare {
    /// Its name.
    pub dataset: String,
    /// Its weight.
    pub weight: u64,
    /// Sequences that it gives to the run.
    pub sequences: u64,
    /// Sequences of its epoch.
    pub epoch_sequences: u64,
    /// Tokens of its epoch.
    pub epoch_tokens: u64,
    /// Passes over it.
    pub epochs: f64,
}

impl DatasetShare {
    fn new(account: &Account) -> Option<Self> {
        Some(Self {
            dataset: account.dataset.clone()?,
            weight: account.weight,
            sequences: account.given,
            epoch_sequences: account.epoch_sequences,
            epoch_tokens: account.epoch_tokens,
            epochs: account.given as f64 / account.epoch_sequences.max(1) as f64,
        })
    }
}

impl std::fmt::Display for DatasetShare {
    /// `prose: weight 2, 1.25 epochs, 125 sequences; an epoch is 100 sequences, 204800 tokens`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: weight {}, {:.2} epochs, {} sequences; an epoch is {} sequences, {} tokens",
            self.dataset,
            self.weight,
            self.epochs,
            self.sequences,
            self.epoch_sequences,
            self.epoch_tokens
        )
    }
}

impl Derived {
    /// Derives the numbers for a training split of `sequences`.
    pub fn new(config: &RunConfig, sequences: u64) -> Self {
        let (model, data) = (&config.model, &config.data);
        let parameters = model.parameters();
        let steps = match config.schedule.tokens {
            None => config.schedule.steps,
            Some(tokens) => data.steps_for(tokens),
        };
        let consumed = data.sequences_after(steps);
        let total_tokens = consumed.saturating_mul(data.sequence_tokens as u64);
        let flops_per_token = model.flops_per_token(data.sequence_tokens);
        let micro_batch_tokens =
            (data.sequences_per_micro_batch as u64).saturating_mul(data.sequence_tokens as u64);
        let kept = match config.compute.keep() {
            Keep::All => model.layers as u64 * model.kept_per_token(),
            Keep::Inputs => {
                model.layers as u64 * model.kept_input_per_token() + model.kept_per_token()
            }
        };
        let activations = micro_batch_tokens.saturating_mul(kept + model.work_per_token());
        let logits = loss_numbers(micro_batch_tokens, model.vocabulary);
        let sums = match config.compute.device {
            DeviceName::Cpu => backward_sums(
                data.sequences_per_micro_batch,
                data.sequence_tokens,
                Heads {
                    queries: model.heads,
                    keys: model.key_heads,
                    size: model.head_size,
                },
            ),
            _ => 0,
        };
        let packed = match (config.compute.dtype, config.compute.device) {
            (Dtype::Bf16, DeviceName::Cpu) => PACKED_BYTES,
            _ => 0,
        };
        let average = config.optimizer.ema_decay.map_or(0, |_| parameters);
        let memory = Memory {
            parameters: 4 * parameters,
            gradients: 4
                * parameters
                * tree::stores(data.parts_per_step, &(0..data.parts_per_step)) as u64,
            moments: 4 * (config.optimizer.kind.moments(model) + average),
            activations: activations
                .saturating_add(sums)
                .saturating_mul(4)
                .saturating_add(packed),
            logits: 4 * logits,
        };
        Self {
            parameters,
            sequences_per_step: data.sequences_per_step(),
            micro_batches_per_step: data.micro_batches_per_step as u64,
            tokens_per_step: data.tokens_per_step(),
            steps,
            sequences: consumed,
            total_tokens,
            epochs: consumed as f64 / sequences.max(1) as f64,
            datasets: Vec::new(),
            flops_per_token,
            total_flops: flops_per_token as f64 * total_tokens as f64,
            workers: 1,
            memory,
            memory_bytes: memory.total(),
        }
    }

    /// The same for one of several `workers` that share each step of `config`: fewer gradients of parts, and of the moments a share.
    #[must_use]
    pub fn with_workers(mut self, config: &RunConfig, workers: usize) -> Self {
        let parts = config.data.parts_per_step;
        let shares = (0..workers).map(|rank| tree::share(parts, rank, workers));
        let stores = shares.map(|share| tree::stores(parts, &share)).max();
        let shapes = config.model.shapes();
        let owners = Owners::of(&shapes, workers);
        let averages = usize::from(config.optimizer.ema_decay.is_some());
        let of_rank = |rank| -> u64 {
            let owned = owners.owned(rank).into_iter().map(|index| &shapes[index]);
            let stores = |role| config.optimizer.kind.moments_of(role).len() + averages;
            owned.map(|of| (of.count() * stores(of.role)) as u64).sum()
        };
        self.workers = workers as u64;
        self.memory.gradients = 4 * self.parameters * stores.unwrap_or(1) as u64;
        self.memory.moments = 4 * (0..workers).map(of_rank).max().unwrap_or(0);
        self.memory_bytes = self.memory.total();
        self
    }

    /// With what the run reads of each dataset: the `accounts` at its end, where the data is a mixture of datasets.
    #[must_use]
    pub fn with_accounts(mut self, accounts: &[Account]) -> Self {
        self.datasets = accounts.iter().filter_map(DatasetShare::new).collect();
        self
    }
}
