//! `StableAdamW`: [`AdamW`](super::adamw) with each tensor's rate lowered where its gradient outgrows the second moment (Wortsman et
//! al., "Stable and low-precision training for large-scale vision-language models", 2023, Algorithm 2).

use super::{Moving, Step, adamw};
use crate::error::{Error, Result};
use crate::ops::Backend;

pub(super) fn step<B: Backend>(step: Step<'_>, moving: Moving<'_, B>) -> Result<()> {
    let Some(second) = moving.moments.get(1) else {
        return Err(Error::Usage(
            "StableAdamW without a second moment".to_owned(),
        ));
    };
    let rule = adamw::rule(step, moving.decay);
    let (gradients, index) = (moving.gradients, moving.index);
    let outgrown = (moving.backend).outgrown(rule, gradients, step.factor, second, index)?;
    let lowered = Step {
        learning_rate: step.learning_rate / outgrown.sqrt().max(1.0),
        ..step
    };
    adamw::step(lowered, moving)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::model::{Family, Model};
    use crate::ops::{Fused, Portable};
    use crate::optimizer::{Optimizer, OptimizerKind, OptimizerOptions};
    use crate::planted::Planted;

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
        let portable = Portable::new(candle_core::Device::Cpu, candle_core::DType::F32);
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
}
