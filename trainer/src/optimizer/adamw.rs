//! `AdamW` (Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019) in `PyTorch`'s form: p *= 1 - lr wd; m, v as in
//! Adam; p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps).

use super::{Moving, Step};
use crate::error::Result;
use crate::ops::{Backend, Rule};

/// What is remembered of each number.
pub(super) const MOMENTS: &[&str] = &["first", "second"];

pub(super) fn step<B: Backend>(step: Step<'_>, moving: Moving<'_, B>) -> Result<()> {
    let rule = rule(step, moving.decay);
    moving.update(rule, step.factor)
}

/// The coefficients of the step, `decay` being that of the parameter.
pub(super) fn rule(step: Step<'_>, decay: f64) -> Rule {
    let (beta1, beta2) = (step.options.beta1, step.options.beta2);
    let correction = |beta: f64| 1.0 - beta.powf(step.updates as f64);
    Rule::Adam {
        keep: 1.0 - step.learning_rate * decay,
        rate: step.learning_rate / correction(beta1),
        beta1,
        beta2,
        root: correction(beta2).sqrt().recip(),
        epsilon: step.options.epsilon,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Fused, Place};
    use crate::optimizer::OptimizerOptions;

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
            let step = Step {
                options: &options,
                updates: t.unsigned_abs().into(),
                learning_rate: lr,
                factor: 0.5,
            };
            let rule = super::rule(step, options.weight_decay);
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
}
