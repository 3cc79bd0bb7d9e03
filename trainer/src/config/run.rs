//! `[run]`: seeds, and when to save and to evaluate.

use serde::{Deserialize, Serialize};

/// What becomes of a step whose loss or gradient is no finite number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NonFinite {
    /// The run stops before the step is applied.
    #[default]
    Stop,
    /// The step is not applied: parameters and moments stay as they are, and the run goes on with the next batch. After
    /// [`NonFinite::MOST_IN_A_ROW`] such steps it stops all the same.
    Skip,
    /// The run goes back to its last checkpoint and on with the data behind the batch: what was read since that checkpoint is left
    /// out. After [`NonFinite::MOST_ROLLBACKS`] times it stops all the same.
    Rollback,
}

impl NonFinite {
    /// So many steps in a row without a finite number are no chance: the parameters themselves are spoilt.
    pub const MOST_IN_A_ROW: u64 = 10;
    /// Whoever needs more needs another learning rate.
    pub const MOST_ROLLBACKS: usize = 5;
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RunOptions {
    /// Seed of the initial values.
    pub seed: u64,
    /// Steps between checkpoints; one is saved at the end and on a signal too.
    pub save_every_steps: u64,
    /// Valid checkpoints to keep.
    pub keep_checkpoints: usize,
    /// Steps between evaluations; one is made at the end too.
    pub evaluate_every_steps: u64,
    /// Sequences of the validation split that an evaluation in the loop reads, from its beginning.
    pub evaluation_sequences: u64,
    /// What becomes of a step whose loss or gradient is no finite number.
    pub non_finite: NonFinite,
    /// Whether the metrics are written for TensorBoard too, into the folder `tensorboard` of the run.
    pub tensorboard: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            seed: 1337,
            save_every_steps: 500,
            keep_checkpoints: 3,
            evaluate_every_steps: 250,
            evaluation_sequences: 256,
            non_finite: NonFinite::Stop,
            tensorboard: true,
        }
    }
}

impl RunOptions {
    pub(super) fn problems(&self) -> Vec<String> {
        let zero = [
            ("run.save-every-steps", self.save_every_steps == 0),
            ("run.keep-checkpoints", self.keep_checkpoints == 0),
            ("run.evaluate-every-steps", self.evaluate_every_steps == 0),
            ("run.evaluation-sequences", self.evaluation_sequences == 0),
        ];
        zero.iter()
            .filter(|(_, is_zero)| *is_zero)
            .map(|(name, _)| format!("{name} must be at least 1"))
            .collect()
    }
}
