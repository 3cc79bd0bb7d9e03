//! Optimizers in place, one a file: how a parameter moves against its gradient. Matrices decay, norms and the embedding do not.
//! candle's own keeps its moments private, so that a run could not be resumed.

mod adamw;
mod average;
mod lion;
mod muon;
mod stable_adamw;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Model, ModelConfig, Role};
use crate::ops::{Backend, Place};

pub use muon::MuonScale;

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
    /// Muon: matrices by a momentum made nearly orthogonal, the embedding and the norms by `AdamW`.
    Muon,
}

impl OptimizerKind {
    /// What the moments of a parameter of that role are called in a checkpoint, in their order.
    pub const fn moments_of(self, role: Role) -> &'static [&'static str] {
        match self {
            Self::AdamW | Self::StableAdamW => adamw::MOMENTS,
            Self::Lion => lion::MOMENTS,
            Self::Muon if is_hidden(role) => muon::MOMENTS,
            Self::Muon => adamw::MOMENTS,
        }
    }

    /// Numbers that its moments are of a model.
    pub fn moments(self, model: &ModelConfig) -> u64 {
        let shapes = model.shapes();
        let numbers = shapes
            .iter()
            .map(|of| of.count() * self.moments_of(of.role).len());
        numbers.map(|count| count as u64).sum()
    }
}

/// Whether a parameter is a matrix of a block.
const fn is_hidden(role: Role) -> bool {
    matches!(role, Role::Matrix | Role::Residual)
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
    /// Decay of an average of the weights that is kept beside them, such as 0.999; without the key there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema_decay: Option<f64>,
    /// Decay of the momentum; of `muon` alone.
    pub muon_momentum: f64,
    /// How the step of a matrix depends on its shape; of `muon` alone.
    pub muon_scale: MuonScale,
    /// Learning rate of what Muon does not move, as a part of the schedule's; of `muon` alone.
    pub adamw_rate: f64,
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
            ema_decay: None,
            muon_momentum: 0.95,
            muon_scale: MuonScale::default(),
            adamw_rate: 1.0,
        }
    }
}

impl OptimizerOptions {
    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (name, value) in [
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("muon-momentum", self.muon_momentum),
        ] {
            if !(0.0..1.0).contains(&value) {
                problems.push(format!(
                    "optimizer.{name} must be at least 0 and below 1, not {value}"
                ));
            }
        }
        for (name, value) in [
            ("epsilon", self.epsilon),
            ("clip-norm", self.clip_norm),
            ("adamw-rate", self.adamw_rate),
        ] {
            if !(value.is_finite() && value > 0.0) {
                problems.push(format!(
                    "optimizer.{name} must be a positive number, not {value}"
                ));
            }
        }
        if let Some(decay) = self
            .ema_decay
            .filter(|decay| !(*decay > 0.0 && *decay < 1.0))
        {
            problems.push(format!(
                "optimizer.ema-decay must be above 0 and below 1, not {decay}; leave it out for no average"
            ));
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            problems.push(format!(
                "optimizer.weight-decay must not be negative, not {}",
                self.weight_decay
            ));
        }
        let default = Self::default();
        let of_muon = [
            ("muon-momentum", self.muon_momentum != default.muon_momentum),
            ("muon-scale", self.muon_scale != default.muon_scale),
            ("adamw-rate", self.adamw_rate != default.adamw_rate),
        ];
        for (name, _) in of_muon
            .iter()
            .filter(|(_, is_set)| *is_set && self.kind != OptimizerKind::Muon)
        {
            problems.push(format!(
                "optimizer.{name} has no meaning without optimizer.kind = \"muon\"; leave it out"
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
    average: Option<B::Store>,
    /// Whether it steps a parameter; of others it has neither moments nor an average.
    owned: Vec<bool>,
    updates: u64,
}

impl<B: Backend> Optimizer<B> {
    /// Zero moments for the parameters of `model`.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn new(options: OptimizerOptions, model: &Model<B>) -> Result<Self> {
        Self::of_owned(options, model, vec![true; model.shapes.len()])
    }

    /// The same for those parameters of `model` alone whose flag in `owned` is set; others are left to other workers.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn of_owned(options: OptimizerOptions, model: &Model<B>, owned: Vec<bool>) -> Result<Self> {
        let names = |role| options.kind.moments_of(role).len();
        let most = model.shapes.iter().map(|of| names(of.role)).max();
        let store = |moment: usize| {
            let places: Vec<Place> = (model.shapes.iter().zip(&owned))
                .map(|(of, &owned)| match names(of.role) {
                    count if owned && moment < count => of.place(),
                    _ => Place {
                        rows: 0,
                        columns: 0,
                    },
                })
                .collect();
            model.backend.store(&places)
        };
        let moments = (0..most.unwrap_or_default())
            .map(store)
            .collect::<Result<_>>()?;
        let average = options.ema_decay.map(|_| average::new(model, &owned));
        Ok(Self {
            options,
            moments,
            average: average.transpose()?,
            owned,
            updates: 0,
        })
    }

    /// The moments of a parameter of that role: what they are called in a checkpoint, and the stores that have them.
    pub fn moments(&self, role: Role) -> impl Iterator<Item = (&'static str, &B::Store)> {
        let names = self.options.kind.moments_of(role).iter().copied();
        names.zip(&self.moments)
    }

    /// The same for a checkpoint to fill.
    pub fn moments_mut(
        &mut self,
        role: Role,
    ) -> impl Iterator<Item = (&'static str, &mut B::Store)> {
        let names = self.options.kind.moments_of(role).iter().copied();
        names.zip(&mut self.moments)
    }

    /// The average of the weights, where one is kept.
    pub const fn average(&self) -> Option<&B::Store> {
        self.average.as_ref()
    }

    /// The same for a checkpoint to fill.
    pub const fn average_mut(&mut self) -> Option<&mut B::Store> {
        self.average.as_mut()
    }

    /// Which number [`Optimizer::store`] has the average under.
    pub const fn average_number(&self) -> usize {
        self.moments.len()
    }

    /// The moments by number, in their order, and after them the average.
    pub fn store(&self, number: usize) -> Option<&B::Store> {
        self.moments.iter().chain(&self.average).nth(number)
    }

    /// How many updates the moments have seen.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Says how many updates the moments have seen.
    pub fn set_updates(&mut self, updates: u64) {
        self.updates = updates;
    }

    /// Moves the parameters of `model` that it owns against `gradients` times `factor`.
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
        let shapes = model.shapes.iter().enumerate();
        for (index, shape) in shapes.filter(|(index, _)| self.owned[*index]) {
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
                OptimizerKind::Muon if is_hidden(shape.role) => {
                    muon::step(step, shape.place(), moving)?;
                }
                OptimizerKind::Muon => {
                    let learning_rate = learning_rate * step.options.adamw_rate;
                    adamw::step(
                        Step {
                            learning_rate,
                            ..step
                        },
                        moving,
                    )?;
                }
            }
        }
        if let (Some(decay), Some(average)) = (self.options.ema_decay, &mut self.average) {
            let keep = average::kept(decay, self.updates);
            average::update(keep, model, average, &self.owned)?;
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
            OptimizerKind::Muon,
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
    fn keys_of_muon_are_refused_for_others() {
        let options = |text: &str| toml::from_str::<OptimizerOptions>(text).unwrap();
        let muon = "kind = \"muon\"\nmuon-scale = \"original\"\nadamw-rate = 0.02";
        assert!(options(muon).problems().is_empty());
        for key in ["muon-momentum = 0.9", "adamw-rate = 0.5"] {
            let problems = options(key).problems();
            assert!(
                problems.len() == 1 && problems[0].contains("no meaning without"),
                "{problems:?}"
            );
        }
        let bad = options("kind = \"muon\"\nmuon-momentum = 1.0\nadamw-rate = 0.0");
        assert_eq!(bad.problems().len(), 2);
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
            (OptimizerKind::Muon, 1e-2),
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
