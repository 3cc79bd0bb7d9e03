//! Optimizers in place, one a file: how a parameter moves against its gradient. Matrices decay, norms and the embedding do not.
//! candle's own keeps its moments private, so that a run could not be resumed.

mod adamw;
mod lion;
mod stable_adamw;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Model;
use crate::ops::Backend;

/// The rule by which parameters move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OptimizerKind {
    /// `AdamW` in `PyTorch`'s form.
    #[serde(rename = "adamw")]
    AdamW,
    /// `AdamW` with the rate of each tensor divided by the root of the mean of `g^2 / v`, v the corrected second moment with this
    /// gradient in it, where that is above 1: a gradient much larger than those before does not throw the parameters about
    /// (Wortsman et al., "Stable and low-precision training for large-scale vision-language models", 2023, Algorithm 2). The decay
    /// goes with the lowered rate.
    #[serde(rename = "stable-adamw")]
    StableAdamW,
    /// Lion: by the sign of the moment alone, with one moment instead of two; a rate some ten times lower and a decay as much
    /// higher.
    Lion,
}

impl OptimizerKind {
    /// What its moments are called in a checkpoint, in their order.
    pub const fn names(self) -> &'static [&'static str] {
        match self {
            Self::AdamW | Self::StableAdamW => adamw::MOMENTS,
            Self::Lion => lion::MOMENTS,
        }
    }

    /// Moments a number.
    pub const fn moments(self) -> u64 {
        self.names().len() as u64
    }
}

/// `[optimizer]` of a run configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct OptimizerOptions {
    /// The rule.
    pub kind: OptimizerKind,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decay of matrices; norms and the embedding do not decay.
    pub weight_decay: f64,
    /// Largest norm of the gradient over all parameters; a larger gradient is scaled down to it.
    pub clip_norm: f64,
}

impl Default for OptimizerOptions {
    /// The settings of conceptofmind/PaLM.
    fn default() -> Self {
        Self {
            kind: OptimizerKind::AdamW,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
        }
    }
}

impl OptimizerOptions {
    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                problems.push(format!(
                    "optimizer.{name} must be at least 0 and below 1, not {value}"
                ));
            }
        }
        for (name, value) in [("epsilon", self.epsilon), ("clip-norm", self.clip_norm)] {
            if !(value.is_finite() && value > 0.0) {
                problems.push(format!(
                    "optimizer.{name} must be a positive number, not {value}"
                ));
            }
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            problems.push(format!(
                "optimizer.weight-decay must not be negative, not {}",
                self.weight_decay
            ));
        }
        problems
    }

    /// What a gradient of norm `norm` is multiplied by.
    pub fn clip_factor(&self, norm: f64) -> f64 {
        if norm > self.clip_norm {
            self.clip_norm / norm
        } else {
            1.0
        }
    }
}

/// What all parameters of one step have in common.
#[derive(Debug, Clone, Copy)]
struct Step<'a> {
    options: &'a OptimizerOptions,
    /// Updates that the moments will have seen.
    updates: u64,
    learning_rate: f64,
    /// What gradients are multiplied by.
    factor: f64,
}

/// A parameter that is to move.
struct Moving<'a, B: Backend> {
    backend: &'a B,
    parameters: &'a mut B::Store,
    gradients: &'a B::Store,
    moments: &'a mut [B::Store],
    index: usize,
    /// Weight decay, 0 where the parameter has none.
    decay: f64,
}

impl<B: Backend> Moving<'_, B> {
    fn update(self, rule: crate::ops::Rule, factor: f64) -> Result<()> {
        let (parameters, moments) = (self.parameters, self.moments);
        self.backend.update(
            rule,
            parameters,
            self.gradients,
            factor,
            moments,
            self.index,
        )
    }
}

/// The optimizer and its state, in the parameters' order.
#[derive(Debug)]
pub struct Optimizer<B: Backend> {
    options: OptimizerOptions,
    moments: Vec<B::Store>,
    updates: u64,
}

impl<B: Backend> Optimizer<B> {
    /// Zero moments for the parameters of `model`.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn new(options: OptimizerOptions, model: &Model<B>) -> Result<Self> {
        let moments = (0..options.kind.moments())
            .map(|_| model.store())
            .collect::<Result<_>>()?;
        Ok(Self {
            options,
            moments,
            updates: 0,
        })
    }

    /// What its moments are called in a checkpoint, in their order.
    pub const fn names(&self) -> &'static [&'static str] {
        self.options.kind.names()
    }

    /// The moments, one store a name.
    pub fn moments(&self) -> &[B::Store] {
        &self.moments
    }

    /// For a checkpoint to fill.
    pub fn moments_mut(&mut self) -> &mut [B::Store] {
        &mut self.moments
    }

    /// How many updates the moments have seen.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Says how many updates the moments have seen.
    pub fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }

    /// Moves the parameters of `model` against `gradients` times `factor`.
    ///
    /// # Errors
    /// The device failed.
    pub fn step(
        &mut self,
        model: &mut Model<B>,
        gradients: &B::Store,
        learning_rate: f64,
        factor: f64,
    ) -> Result<()> {
        self.updates += 1;
        let step = Step {
            options: &self.options,
            updates: self.updates,
            learning_rate,
            factor,
        };
        for (index, shape) in model.shapes.iter().enumerate() {
            let decays = shape.role.decays();
            let moving = Moving {
                backend: &model.backend,
                parameters: &mut model.parameters,
                gradients,
                moments: &mut self.moments,
                index,
                decay: if decays {
                    step.options.weight_decay
                } else {
                    0.0
                },
            };
            match step.options.kind {
                OptimizerKind::AdamW => adamw::step(step, moving)?,
                OptimizerKind::StableAdamW => stable_adamw::step(step, moving)?,
                OptimizerKind::Lion => lion::step(step, moving)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, Keep, Role, Sequences};
    use crate::ops::{Fused, LossOptions, Targets};

    #[test]
    fn norms_and_embedding_do_not_decay() {
        for kind in [
            OptimizerKind::AdamW,
            OptimizerKind::StableAdamW,
            OptimizerKind::Lion,
        ] {
            let config = Family::Mpt.model(16, 8, 1, 2, 4);
            let mut model = Model::new(config, 1, Fused::<f32>::default()).unwrap();
            let options = OptimizerOptions {
                kind,
                ..OptimizerOptions::default()
            };
            let all = |model: &Model<Fused<f32>>| -> Vec<Vec<f32>> {
                (0..model.shapes.len())
                    .map(|index| model.backend.read(&model.parameters, index).unwrap())
                    .collect()
            };
            let before = all(&model);
            let mut optimizer = Optimizer::new(options, &model).unwrap();
            let gradients = model.store().unwrap();
            optimizer.step(&mut model, &gradients, 0.1, 1.0).unwrap();
            for ((of, before), after) in model.shapes.iter().zip(before).zip(all(&model)) {
                let decays = !matches!(of.role, Role::Gain | Role::Embedding);
                let keep = if decays { 0.99 } else { 1.0 };
                for (after, before) in after.iter().zip(before) {
                    assert!((after - before * keep).abs() < 1e-7, "{}", of.name);
                }
            }
        }
    }

    #[test]
    fn a_clipped_gradient_has_the_largest_norm_allowed() {
        let options = OptimizerOptions {
            clip_norm: 2.0,
            ..OptimizerOptions::default()
        };
        assert_eq!(options.clip_factor(1.0), 1.0);
        assert_eq!(options.clip_factor(8.0) * 8.0, 2.0);
    }

    #[test]
    fn a_batch_is_learnt_by_heart_by_both_families() {
        for (kind, rate) in [
            (OptimizerKind::AdamW, 1e-2),
            (OptimizerKind::StableAdamW, 1e-2),
            (OptimizerKind::Lion, 3e-3),
        ] {
            for family in [Family::Palm, Family::Mpt] {
                let config = family.model(32, 32, 2, 2, 16);
                let mut model = Model::new(config, 1, Fused::<f32>::default()).unwrap();
                let options = OptimizerOptions {
                    kind,
                    ..OptimizerOptions::default()
                };
                let mut optimizer = Optimizer::new(options.clone(), &model).unwrap();
                let mut gradients = model.store().unwrap();
                let ids: Vec<u32> = (0..16).map(|i| i * 7 % 32).collect();
                let next: Vec<u32> = (0..16).map(|i| i * i % 32).collect();
                let sequences = Sequences {
                    ids: &ids,
                    starts: None,
                };
                let targets = Targets {
                    ids: &next,
                    trained: &[true; 16],
                };
                let length = model.length(8).unwrap();
                let scaled = LossOptions::scaled(1.0 / 16.0);
                let mut loss = f64::INFINITY;
                for _ in 0..100 {
                    model.backend.clear(&mut gradients).unwrap();
                    loss = model
                        .add_gradients(
                            sequences,
                            targets,
                            &length,
                            scaled,
                            Keep::All,
                            &mut gradients,
                        )
                        .unwrap()
                        .nats
                        / 16.0;
                    let norm = model.backend.squares(&gradients).unwrap().sqrt();
                    let factor = options.clip_factor(norm);
                    optimizer
                        .step(&mut model, &gradients, rate, factor)
                        .unwrap();
                }
                assert!(loss < 0.05, "{kind:?} {family:?}: {loss}");
            }
        }
    }
}
