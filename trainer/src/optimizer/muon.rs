//! Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) for the matrices of the blocks: Nesterov's
//! momentum made nearly orthogonal, so that every direction of a matrix moves alike. The embedding, which is the head too, and the norms
//! move by [`AdamW`](super::adamw). As in `torch.optim.Muon`, but that the iteration is in single precision and not in bfloat16.

use serde::{Deserialize, Serialize};

use super::{Moving, Step};
use crate::error::Result;
use crate::ops::{Backend, Place, Rule};

/// What is remembered of each number.
pub(super) const MOMENTS: &[&str] = &["first"];

/// What the rate of a matrix is multiplied by, as its orthogonal step has a norm that depends on its shape alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MuonScale {
    /// `0.2 sqrt(max(rows, columns))`: a step as large as one of `AdamW`, so that rate and decay are those that suit `AdamW`
    /// (Liu et al., "Muon is Scalable for LLM Training", 2025; `match_rms_adamw` of torch).
    #[default]
    MatchAdamw,
    /// `sqrt(max(1, rows / columns))`, as in the author's code (`original` of torch): rates of some 0.02.
    Original,
}

impl MuonScale {
    fn factor(self, place: Place) -> f64 {
        let (rows, columns) = (place.rows as f64, place.columns as f64);
        match self {
            Self::MatchAdamw => 0.2 * rows.max(columns).sqrt(),
            Self::Original => (rows / columns).max(1.0).sqrt(),
        }
    }
}

pub(super) fn step<B: Backend>(step: Step<'_>, place: Place, moving: Moving<'_, B>) -> Result<()> {
    let rule = Rule::Muon {
        keep: 1.0 - step.learning_rate * moving.decay,
        rate: step.learning_rate * step.options.muon_scale.factor(place),
        momentum: step.options.muon_momentum,
    };
    moving.update(rule, step.factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_scaled_by_the_shape() {
        let factor = |scale: MuonScale, rows, columns| scale.factor(Place { rows, columns });
        assert_eq!(factor(MuonScale::Original, 400, 100), 2.0);
        assert_eq!(factor(MuonScale::Original, 100, 400), 1.0);
        assert_eq!(factor(MuonScale::MatchAdamw, 100, 400), 4.0);
        assert_eq!(factor(MuonScale::MatchAdamw, 400, 100), 4.0);
    }
}
