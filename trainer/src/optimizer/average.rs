//! An exponential moving average of the weights beside them: `a = d a + (1 - d) p` after every update (Polyak and Juditsky, "Acceleration
//! of Stochastic Approximation by Averaging", 1992, with the weights of Tarvainen and Valpola, "Mean teachers", 2017). It trains
//! nothing, and often evaluates like weights whose rate has fallen.

use crate::error::Result;
use crate::model::Model;
use crate::ops::{Backend, Place};

/// What the average keeps of itself with the update after which there were `updates`: at most `(1 + t) / (10 + t)`, so that it does not
/// hang on to the initial values (`TensorFlow`'s `ExponentialMovingAverage` with `num_updates`).
pub(super) fn kept(decay: f64, updates: u64) -> f64 {
    let updates = updates as f64;
    decay.min((1.0 + updates) / (10.0 + updates))
}

/// An average of the parameters in `owned` that has seen the present weights only.
pub(super) fn new<B: Backend>(model: &Model<B>, owned: &[bool]) -> Result<B::Store> {
    let nothing = Place {
        rows: 0,
        columns: 0,
    };
    let places = model.shapes.iter().zip(owned);
    let places: Vec<Place> = places
        .map(|(of, &owned)| if owned { of.place() } else { nothing })
        .collect();
    let mut average = model.backend.store(&places)?;
    for index in (0..model.shapes.len()).filter(|&index| owned[index]) {
        let values = model.backend.read(&model.parameters, index)?;
        model.backend.write(&mut average, index, &values)?;
    }
    Ok(average)
}

/// Lets the average, which keeps `keep` of itself, see the weights after an update.
pub(super) fn update<B: Backend>(
    keep: f64,
    model: &Model<B>,
    average: &mut B::Store,
    owned: &[bool],
) -> Result<()> {
    for index in (0..model.shapes.len()).filter(|&index| owned[index]) {
        (model.backend).average(keep, &model.parameters, average, index)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::model::Family;
    use crate::ops::{Fused, Portable};
    use crate::optimizer::{Optimizer, OptimizerOptions};
    use crate::planted::Planted;

    /// The first numbers of the embedding and of its average after each of 30 steps.
    fn steps<B: Backend>(backend: B) -> Vec<(f64, f64)> {
        let config = Family::Mpt.model(16, 8, 1, 2, 4);
        let mut model = Model::new(config, 1, backend).unwrap();
        let options = OptimizerOptions {
            ema_decay: Some(0.6),
            ..OptimizerOptions::default()
        };
        let mut optimizer = Optimizer::new(options, &model).unwrap();
        let mut gradients = model.store().unwrap();
        let first = |model: &Model<B>, store: &B::Store| {
            f64::from(model.backend.read(store, 0).unwrap()[0])
        };
        let average = optimizer.average().unwrap();
        let mut seen = vec![(first(&model, &model.parameters), first(&model, average))];
        for step in 0..30u8 {
            let made_up = vec![f32::from(step % 3) - 0.5; model.shapes[0].count()];
            model.backend.write(&mut gradients, 0, &made_up).unwrap();
            optimizer.step(&mut model, &gradients, 0.1, 1.0).unwrap();
            let average = optimizer.average().unwrap();
            seen.push((first(&model, &model.parameters), first(&model, average)));
        }
        seen
    }

    #[test]
    fn the_average_follows_its_formula_on_every_backend() {
        let portable = Portable::new(candle_core::Device::Cpu, candle_core::DType::F32);
        for seen in [
            steps(Fused::<f32>::default()),
            steps(portable),
            // By way of the host.
            steps(Planted::new(&[], &RefCell::default())),
        ] {
            let mut expected = seen[0].0;
            assert_eq!(seen[0].1, expected);
            for (update, (parameter, average)) in seen.iter().enumerate().skip(1) {
                // 2/11, 3/12, .. reach 0.6 at (1 + 12.5) / (10 + 12.5).
                let decay = if update < 13 {
                    (1.0 + update as f64) / (10.0 + update as f64)
                } else {
                    0.6
                };
                expected = decay * expected + (1.0 - decay) * parameter;
                assert!(
                    (average - expected).abs() < 1e-6,
                    "after {update}: {average}, not {expected}"
                );
            }
            assert!((seen[30].0 - seen[30].1).abs() > 1e-3, "it is no copy");
        }
    }
}
