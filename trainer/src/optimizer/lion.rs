//! Lion: by the sign of the moment alone (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023).

use super::{Moving, Step};
use crate::error::Result;
use crate::ops::{Backend, Rule};

/// What is remembered of each number.
pub(super) const MOMENTS: &[&str] = &["first"];

pub(super) fn step<B: Backend>(step: Step<'_>, moving: Moving<'_, B>) -> Result<()> {
    let rule = Rule::Lion {
        keep: 1.0 - step.learning_rate * moving.decay,
        rate: step.learning_rate,
        beta1: step.options.beta1,
        beta2: step.options.beta2,
    };
    moving.update(rule, step.factor)
}
