//! Optimizers in place: `AdamW` (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) in `PyTorch`'s form: p *= 1 - lr wd; m, v as
//! in Adam; p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps); the same with each tensor's rate lowered where its gradient outgrows
//! the second moment (`StableAdamW`); and Lion (Chen et al., 2023). Matrices decay, norms and the
//! embedding do not. candle's own keeps its moments private, so that a run could not be resumed.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Model;
use crate::ops::{Backend, Rule};

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
    /// Moments a number.
    pub const fn moments(self) -> u64 {
        match self {
            Self::AdamW | Self::StableAdamW => 2,
            Self::Lion => 1,
        }
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
        match self.options.kind {
            OptimizerKind::AdamW | OptimizerKind::StableAdamW => &["first", "second"],
            OptimizerKind::Lion => &["first"],
        }
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
        for index in 0..model.shapes.len() {
            let decays = model.shapes[index].role.decays();
            let rule = self.options.rule(self.updates, learning_rate, decays);
            let (parameters, moments) = (&mut model.parameters, &mut self.moments);
            let rule = match (self.options.kind, &moments[..]) {
                (OptimizerKind::StableAdamW, [_, second]) => {
                    let outgrown = model
                        .backend
                        .outgrown(rule, gradients, factor, second, index)?;
                    let rate = learning_rate / outgrown.sqrt().max(1.0);
                    self.options.rule(self.updates, rate, decays)
                }
                _ => rule,
            };
            model
                .backend
                .update(rule, parameters, gradients, factor, moments, index)?;
        }
        Ok(())
    }
}

impl OptimizerOptions {
    /// The step after which there were `updates`.
    fn rule(&self, updates: u64, learning_rate: f64, decays: bool) -> Rule {
        let decay = if decays { self.weight_decay } else { 0.0 };
        let keep = 1.0 - learning_rate * decay;
        let (beta1, beta2) = (self.beta1, self.beta2);
        match self.kind {
            OptimizerKind::AdamW | OptimizerKind::StableAdamW => {
                let correction = |beta: f64| 1.0 - beta.powf(updates as f64);
                Rule::Adam {
                    keep,
                    rate: learning_rate / correction(beta1),
                    beta1,
                    beta2,
                    root: correction(beta2).sqrt().recip(),
                    epsilon: self.epsilon,
                }
            }
            OptimizerKind::Lion => Rule::Lion {
                keep,
                rate: learning_rate,
                beta1,
                beta2,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, Keep, Role, Sequences};
    use crate::ops::{Fused, LossOptions, Place, Targets};
    use crate::planted::Planted;
    use std::cell::RefCell;

    #[test]
    fn updates_follow_the_formula_of_pytorch() {
        // torch.optim.AdamW, written out in double precision.
        let options = OptimizerOptions::default();
        let backend = Fused::<f32>::default();
        let place = [Place {
            rows: 1,
            columns: 1,
        }];
        let store = |value: f32| {
            let mut store = backend.store(&place).unwrap();
            backend.write(&mut store, 0, &[value]).unwrap();
            store
        };
        let (mut p, mut m, mut v) = (0.5f64, 0.0f64, 0.0f64);
        let (mut values, mut moments) = (store(0.5), [store(0.0), store(0.0)]);
        for t in 1..=50i32 {
            let (lr, g) = (1e-2 / f64::from(t), (t as f32 * 0.7).sin());
            let rule = options.rule(t.unsigned_abs().into(), lr, true);
            backend
                .update(rule, &mut values, &store(g), 0.5, &mut moments, 0)
                .unwrap();
            let g = f64::from(g) * 0.5;
            p *= 1.0 - lr * 0.1;
            m = 0.9 * m + 0.1 * g;
            v = 0.95 * v + 0.05 * g * g;
            let denominator = v.sqrt() / (1.0 - 0.95f64.powi(t)).sqrt() + 1e-8;
            p -= lr / (1.0 - 0.9f64.powi(t)) * m / denominator;
            let ours = f64::from(backend.read(&values, 0).unwrap()[0]);
            assert!((ours - p).abs() < 1e-6, "after {t}: {ours} is not {p}");
        }
    }

    /// The parameter after each of `gradients`, the first matrix of a model being it.
    fn stable_steps<B: Backend>(backend: B, gradients: &[[f32; 4]]) -> Vec<Vec<f32>> {
        let config = Family::Mpt.model(16, 8, 1, 2, 4);
        let mut model = Model::new(config, 1, backend).unwrap();
        let index = (model.shapes.iter())
            .position(|shape| shape.role.decays())
            .unwrap();
        // Four numbers over and over: the mean over the tensor is theirs.
        let count = model.backend.read(&model.parameters, index).unwrap().len();
        let repeated =
            |four: &[f32; 4]| -> Vec<f32> { four.iter().copied().cycle().take(count).collect() };
        let first = repeated(&[0.5, -0.25, 1.0, 0.125]);
        model
            .backend
            .write(&mut model.parameters, index, &first)
            .unwrap();
        let options = OptimizerOptions {
            kind: OptimizerKind::StableAdamW,
            ..OptimizerOptions::default()
        };
        let mut optimizer = Optimizer::new(options, &model).unwrap();
        let steps = gradients.iter().map(|gradient| {
            let mut store = model.store().unwrap();
            let doubled = gradient.map(|g| 2.0 * g);
            model
                .backend
                .write(&mut store, index, &repeated(&doubled))
                .unwrap();
            optimizer.step(&mut model, &store, 0.1, 0.5).unwrap();
            model.backend.read(&model.parameters, index).unwrap()[count - 4..].to_vec()
        });
        steps.collect()
    }

    #[test]
    fn stable_adamw_follows_optimi() {
        // `optimi.StableAdamW` of torch-optimi 0.2.1 in double precision: lr 0.1, betas (0.9, 0.95), eps 1e-8, weight_decay 0.1. The
        // third gradient outgrows the second moment.
        let gradients = [
            [0.01, -0.02, 0.03, 0.0],
            [0.01, 0.02, -0.03, 0.04],
            [1.0, -2.0, 0.5, 0.25],
            [0.5, 0.25, -0.125, 0.0625],
            [0.01, 0.01, 0.01, 0.01],
        ];
        let expected = [
            [
                0.3950000999999,
                -0.147500049999975,
                0.8900000333333222,
                0.12375,
            ],
            [
                0.30155608805678746,
                -0.1509053478937238,
                0.8867307535270442,
                0.05656960229578102,
            ],
            [
                0.2620907909313998,
                -0.11300219610163745,
                0.8447395303826116,
                0.014362302865486287,
            ],
            [
                0.1871094576567362,
                -0.06775058022943847,
                0.8004949093136849,
                -0.05620598706312792,
            ],
            [
                0.12278923388469795,
                -0.02956144834807773,
                0.7607858458917472,
                -0.11799567006954723,
            ],
        ];
        let portable = crate::ops::Portable::new(candle_core::Device::Cpu, candle_core::DType::F32);
        for ours in [
            stable_steps(Fused::<f32>::default(), &gradients),
            stable_steps(portable, &gradients),
            // By way of the host.
            stable_steps(Planted::new(&[], &RefCell::default()), &gradients),
        ] {
            for (step, (ours, expected)) in ours.iter().zip(&expected).enumerate() {
                for (&ours, &expected) in ours.iter().zip(expected) {
                    let ours = f64::from(ours);
                    assert!(
                        (ours - expected).abs() < 2e-6,
                        "step {step}: {ours}, not {expected}"
                    );
                }
            }
        }
    }

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
