//! `[loss]`.

use serde::{Deserialize, Serialize};

use crate::ops::LossOptions;

/// `[loss]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of the square of the logarithm of the sum of exponentials; 1e-4 in `PaLM`.
    pub z_loss: f64,
    /// The part of a target's probability that is spread over the vocabulary.
    pub label_smoothing: f64,
}

impl LossConfig {
    /// The losses of a batch of so many trained tokens.
    pub fn scaled(&self, trained_tokens: u64) -> LossOptions {
        LossOptions {
            scale: 1.0 / trained_tokens.max(1) as f64,
            z_loss: self.z_loss,
            smoothing: self.label_smoothing,
        }
    }

    pub(super) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(self.z_loss.is_finite() && self.z_loss >= 0.0) {
            problems.push(format!(
                "loss.z-loss must not be negative, not {}",
                self.z_loss
            ));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            problems.push(format!(
                "loss.label-smoothing must be at least 0 and below 1, not {}",
                self.label_smoothing
            ));
        }
        problems
    }
}
