//! The backward pass as the rest of the trainer sees it: losses and gradients of a micro-batch, added to one flat buffer in the
//! parameters' fixed order. Whatever computes gradients (now candle's graph) stays behind [`add_loss_and_gradients`].

use std::ops::Range;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::loss::{Targets, linear_cross_entropy};
use crate::model::{Model, Parameter, Positions};
use crate::ops::Numbers;

/// Numbers that one task of a sum or an addition takes: fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 1 << 15;

/// Gradients of all parameters, one after the other.
#[derive(Debug)]
pub struct Gradients {
    numbers: Vec<f32>,
    places: Vec<Range<usize>>,
}

impl Gradients {
    /// Zeros for `parameters`.
    pub fn new(parameters: &[Parameter]) -> Self {
        let mut end = 0;
        let places = parameters
            .iter()
            .map(|parameter| {
                let start = end;
                end += parameter.count();
                start..end
            })
            .collect();
        Self {
            numbers: vec![0.0; end],
            places,
        }
    }

    /// Forgets what was added.
    pub fn clear(&mut self) {
        self.numbers
            .par_chunks_mut(CHUNK)
            .for_each(|chunk| chunk.fill(0.0));
    }

    /// The gradient of the parameter at `index`.
    pub fn of(&self, index: usize) -> &[f32] {
        &self.numbers[self.places[index].clone()]
    }

    /// The Euclidean norm over all parameters, summed in double precision and in fixed order.
    pub fn norm(&self) -> f64 {
        let squares = |chunk: &[f32]| {
            chunk
                .iter()
                .map(|&g| f64::from(g) * f64::from(g))
                .sum::<f64>()
        };
        let sums: Vec<f64> = self.numbers.par_chunks(CHUNK).map(squares).collect();
        sums.iter().sum::<f64>().sqrt()
    }

    fn add(&mut self, index: usize, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.contiguous()?;
        let added = Numbers::of(&gradient)?;
        let sum = &mut self.numbers[self.places[index].clone()];
        sum.par_chunks_mut(CHUNK)
            .zip(added.slice::<f32>()?.par_chunks(CHUNK))
            .for_each(|(sum, added)| {
                for (sum, &added) in sum.iter_mut().zip(added) {
                    *sum += added;
                }
            });
        Ok(())
    }
}

/// Adds the gradients of `scale` times the summed loss of some sequences, and returns that sum in nats, not scaled.
///
/// # Errors
/// [`Error::NoGradient`] if any parameter is not reached.
pub fn add_loss_and_gradients(
    model: &Model,
    parameters: &[Parameter],
    positions: &Positions,
    ids: &[u32],
    targets: Targets<'_>,
    scale: f64,
    gradients: &mut Gradients,
) -> Result<f64> {
    let hidden = model.forward(ids, positions)?;
    let loss = linear_cross_entropy(&hidden, model.head(), targets, scale)?;
    let mut store = loss.scaled.backward()?;
    for (index, parameter) in parameters.iter().enumerate() {
        let Some(gradient) = store.remove(&parameter.variable) else {
            return Err(Error::NoGradient(parameter.of.name.clone()));
        };
        gradients.add(index, &gradient)?;
    }
    Ok(loss.nats)
}

/// The summed loss of some sequences in nats, without a graph.
pub fn loss_only(
    model: &Model,
    positions: &Positions,
    ids: &[u32],
    targets: Targets<'_>,
) -> Result<f64> {
    let model = model.detached();
    let hidden = model.forward(ids, positions)?;
    Ok(linear_cross_entropy(&hidden, model.head(), targets, 1.0)?.nats)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::model::ModelConfig;

    #[test]
    fn micro_batches_with_unequal_masks_add_up_to_the_whole_batch() {
        let config = ModelConfig {
            vocabulary: 16,
            width: 8,
            layers: 1,
            heads: 2,
            head_size: 4,
            xpos: false,
        };
        let (model, parameters) = Model::new(config, 1, DType::F32, &Device::Cpu).unwrap();
        let positions = model.positions(3);
        let (ids, next) = ([1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 7]);
        let mask = [true, true, true, false, false, true];
        let mut whole = Gradients::new(&parameters);
        let targets = Targets {
            ids: &next,
            trained: &mask,
        };
        let nats = add_loss_and_gradients(
            &model,
            &parameters,
            &positions,
            &ids,
            targets,
            0.25,
            &mut whole,
        )
        .unwrap();
        let mut parts = Gradients::new(&parameters);
        let mut sum = 0.0;
        for half in [0..3, 3..6] {
            let targets = Targets {
                ids: &next[half.clone()],
                trained: &mask[half.clone()],
            };
            sum += add_loss_and_gradients(
                &model,
                &parameters,
                &positions,
                &ids[half],
                targets,
                0.25,
                &mut parts,
            )
            .unwrap();
        }
        assert!((nats - sum).abs() < 1e-5);
        assert!((whole.norm() - parts.norm()).abs() < 1e-6);
        for (index, parameter) in parameters.iter().enumerate() {
            for (left, right) in whole.of(index).iter().zip(parts.of(index)) {
                assert!((left - right).abs() < 1e-6, "{}", parameter.of.name);
            }
        }
    }
}
