//! AdamW (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) in PyTorch's form, in one pass and in place:
//! p *= 1 - lr wd; m, v as in Adam; p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps). candle's own keeps its moments
//! private, so that a run could not be resumed, and decays norms and embedding too.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::gradient::Gradients;
use crate::model::{Parameter, Role};
use crate::ops::change_in_place;

/// `[optimizer]` of a run configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct AdamWOptions {
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

impl Default for AdamWOptions {
    /// The settings of conceptofmind/PaLM.
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip_norm: 1.0,
        }
    }
}

impl AdamWOptions {
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

/// The moments of one parameter.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of gradients.
    pub first: Vec<f32>,
    /// Running mean of their squares.
    pub second: Vec<f32>,
}

/// The optimizer and its state, in the parameters' order.
#[derive(Debug)]
pub struct AdamW {
    options: AdamWOptions,
    moments: Vec<Moments>,
    updates: u64,
}

/// Coefficients of one update, the same for all numbers of a parameter.
struct Update {
    keep: f32,
    rate: f32,
    beta1: f32,
    new1: f32,
    beta2: f32,
    new2: f32,
    inverse_root2: f32,
    epsilon: f32,
    factor: f32,
}

impl AdamW {
    /// Zero moments for `parameters`.
    pub fn new(options: AdamWOptions, parameters: &[Parameter]) -> Self {
        let zeros = |parameter: &Parameter| {
            let zeros = vec![0.0; parameter.count()];
            Moments {
                first: zeros.clone(),
                second: zeros,
            }
        };
        Self {
            options,
            moments: parameters.iter().map(zeros).collect(),
            updates: 0,
        }
    }

    /// The moments, in the parameters' order.
    pub fn moments(&self) -> &[Moments] {
        &self.moments
    }

    /// For a checkpoint to fill: the moments, in the parameters' order.
    pub fn moments_mut(&mut self) -> &mut [Moments] {
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

    /// Moves `parameters` against `gradients` times `factor`.
    pub fn step(
        &mut self,
        parameters: &[Parameter],
        gradients: &Gradients,
        learning_rate: f64,
        factor: f64,
    ) -> Result<()> {
        self.updates += 1;
        for (index, (parameter, moments)) in parameters.iter().zip(&mut self.moments).enumerate() {
            let decay = if parameter.of.role == Role::Matrix {
                self.options.weight_decay
            } else {
                0.0
            };
            let update = Update::new(&self.options, self.updates, learning_rate, decay, factor);
            change_in_place::<f32>(&parameter.variable.as_detached_tensor(), |values| {
                update.apply(
                    values,
                    gradients.of(index),
                    &mut moments.first,
                    &mut moments.second,
                );
                Ok(())
            })?;
        }
        Ok(())
    }
}

impl Update {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "coefficients are rounded once to single precision"
    )]
    fn new(
        options: &AdamWOptions,
        updates: u64,
        learning_rate: f64,
        decay: f64,
        factor: f64,
    ) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(updates as f64);
        Self {
            keep: (1.0 - learning_rate * decay) as f32,
            rate: (learning_rate / correction(options.beta1)) as f32,
            beta1: options.beta1 as f32,
            new1: (1.0 - options.beta1) as f32,
            beta2: options.beta2 as f32,
            new2: (1.0 - options.beta2) as f32,
            inverse_root2: correction(options.beta2).sqrt().recip() as f32,
            epsilon: options.epsilon as f32,
            factor: factor as f32,
        }
    }

    fn apply(&self, values: &mut [f32], gradients: &[f32], first: &mut [f32], second: &mut [f32]) {
        const CHUNK: usize = 1 << 14;
        values
            .par_chunks_mut(CHUNK)
            .zip(gradients.par_chunks(CHUNK))
            .zip(
                first
                    .par_chunks_mut(CHUNK)
                    .zip(second.par_chunks_mut(CHUNK)),
            )
            .for_each(|((values, gradients), (first, second))| {
                for (((p, &g), m), v) in values.iter_mut().zip(gradients).zip(first).zip(second) {
                    let g = g * self.factor;
                    *m = self.beta1 * *m + self.new1 * g;
                    *v = self.beta2 * *v + self.new2 * g * g;
                    *p = *p * self.keep
                        - self.rate * *m / (v.sqrt() * self.inverse_root2 + self.epsilon);
                }
            });
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::gradient::add_loss_and_gradients;
    use crate::loss::Targets;
    use crate::model::{Model, ModelConfig};

    #[test]
    fn updates_follow_the_formula_of_pytorch() {
        // torch.optim.AdamW, written out in double precision.
        let options = AdamWOptions {
            weight_decay: 0.1,
            ..AdamWOptions::default()
        };
        let (mut p, mut m, mut v) = (0.5f64, 0.0f64, 0.0f64);
        let (mut values, mut first, mut second) = ([0.5f32], [0f32], [0f32]);
        for t in 1..=50i32 {
            let (lr, g) = (1e-2 / f64::from(t), (t as f32 * 0.7).sin());
            Update::new(
                &options,
                t.unsigned_abs().into(),
                lr,
                options.weight_decay,
                0.5,
            )
            .apply(&mut values, &[g], &mut first, &mut second);
            let g = f64::from(g) * 0.5;
            p *= 1.0 - lr * 0.1;
            m = 0.9 * m + 0.1 * g;
            v = 0.95 * v + 0.05 * g * g;
            let denominator = v.sqrt() / (1.0 - 0.95f64.powi(t)).sqrt() + 1e-8;
            p -= lr / (1.0 - 0.9f64.powi(t)) * m / denominator;
            assert!(
                (f64::from(values[0]) - p).abs() < 1e-6,
                "after {t}: {} is not {p}",
                values[0]
            );
        }
    }

    #[test]
    fn norms_and_embedding_do_not_decay() {
        let config = ModelConfig {
            vocabulary: 16,
            width: 8,
            layers: 1,
            heads: 2,
            head_size: 4,
            xpos: false,
        };
        let (_, parameters) = Model::new(config, 1, DType::F32, &Device::Cpu).unwrap();
        let numbers = |p: &Parameter| p.variable.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let before: Vec<Vec<f32>> = parameters.iter().map(numbers).collect();
        let mut optimizer = AdamW::new(AdamWOptions::default(), &parameters);
        optimizer
            .step(&parameters, &Gradients::new(&parameters), 0.1, 1.0)
            .unwrap();
        for (parameter, before) in parameters.iter().zip(before) {
            let keep = if parameter.of.role == Role::Matrix {
                0.99
            } else {
                1.0
            };
            for (after, before) in numbers(parameter).iter().zip(before) {
                assert!(
                    (after - before * keep).abs() < 1e-7,
                    "{}",
                    parameter.of.name
                );
            }
        }
    }

    #[test]
    fn a_clipped_gradient_has_the_largest_norm_allowed() {
        let options = AdamWOptions {
            clip_norm: 2.0,
            ..AdamWOptions::default()
        };
        assert_eq!(options.clip_factor(1.0), 1.0);
        assert_eq!(options.clip_factor(8.0) * 8.0, 2.0);
    }

    #[test]
    fn a_batch_is_learnt_by_heart() {
        let config = ModelConfig {
            vocabulary: 32,
            width: 32,
            layers: 2,
            heads: 2,
            head_size: 16,
            xpos: true,
        };
        let (model, parameters) = Model::new(config, 1, DType::F32, &Device::Cpu).unwrap();
        let mut optimizer = AdamW::new(AdamWOptions::default(), &parameters);
        let mut gradients = Gradients::new(&parameters);
        let ids: Vec<u32> = (0..16).map(|i| i * 7 % 32).collect();
        let next: Vec<u32> = (0..16).map(|i| i * i % 32).collect();
        let targets = Targets {
            ids: &next,
            trained: &[true; 16],
        };
        let positions = model.positions(8);
        let mut loss = f64::INFINITY;
        for _ in 0..60 {
            gradients.clear();
            loss = add_loss_and_gradients(
                &model,
                &parameters,
                &positions,
                &ids,
                targets,
                1.0 / 16.0,
                &mut gradients,
            )
            .unwrap()
                / 16.0;
            let factor = optimizer.options.clip_factor(gradients.norm());
            optimizer
                .step(&parameters, &gradients, 1e-2, factor)
                .unwrap();
        }
        assert!(loss < 0.05, "{loss}");
    }
}
