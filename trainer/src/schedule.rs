//! The learning rate as a pure function of the step, so that a resumed run cannot differ from an uninterrupted one and a
//! plan can be printed before it starts. Cosine as in `karpathy/llm.c` `llmc/schedulers.h`; the warmup reaches the peak with its last step.

use serde::{Deserialize, Serialize};

/// What happens after the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Half a cosine down to the final rate.
    Cosine,
    /// A straight line down to the final rate.
    Linear,
    /// The peak rate until the end.
    Constant,
}

/// `[schedule]` of a run configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Schedule {
    /// What happens after the warmup.
    pub shape: Shape,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of the linear rise to the peak.
    pub warmup_steps: u64,
    /// Learning rate at the end of the warmup.
    pub peak_learning_rate: f64,
    /// Learning rate of the last step, as a part of the peak.
    pub final_ratio: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            shape: Shape::Cosine,
            steps: 1000,
            warmup_steps: 100,
            peak_learning_rate: 1e-3,
            final_ratio: 0.1,
        }
    }
}

impl Schedule {
    /// Learning rate of `step`, the first being 0 and the last `steps - 1`.
    pub fn learning_rate(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak_learning_rate * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let length = self.steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let part = ((step - self.warmup_steps + 1) as f64 / length).min(1.0);
        let above_final = match self.shape {
            Shape::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * part).cos()),
            Shape::Linear => 1.0 - part,
            Shape::Constant => return self.peak_learning_rate,
        };
        self.peak_learning_rate * (self.final_ratio + (1.0 - self.final_ratio) * above_final)
    }

    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.steps == 0 {
            problems.push("schedule.steps must be at least 1".to_owned());
        }
        if self.warmup_steps > self.steps {
            problems.push("schedule.warmup-steps must not exceed schedule.steps".to_owned());
        }
        if !(self.peak_learning_rate.is_finite() && self.peak_learning_rate > 0.0) {
            problems.push("schedule.peak-learning-rate must be a positive number".to_owned());
        }
        if !(0.0..=1.0).contains(&self.final_ratio) {
            problems.push("schedule.final-ratio must be between 0 and 1".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(shape: Shape) -> Schedule {
        Schedule {
            shape,
            steps: 110,
            warmup_steps: 10,
            peak_learning_rate: 1.0,
            final_ratio: 0.1,
        }
    }

    fn assert_rates(shape: Shape, expected: &[(u64, f64)]) {
        for &(step, rate) in expected {
            let ours = schedule(shape).learning_rate(step);
            assert!(
                (ours - rate).abs() < 1e-12,
                "{shape:?} at {step}: {ours}, not {rate}"
            );
        }
    }

    #[test]
    fn golden_rates() {
        // By hand: warmup (step + 1)/10; then x = (step - 9)/100 and 0.1 + 0.9 (1 + cos(pi x))/2, or 1 - 0.9 x.
        assert_rates(
            Shape::Cosine,
            &[
                (0, 0.1),
                (4, 0.5),
                (9, 1.0),
                (59, 0.55),
                (109, 0.1),
                (500, 0.1),
            ],
        );
        assert_rates(
            Shape::Cosine,
            &[(34, 0.1 + 0.45 * (1.0 + std::f64::consts::FRAC_1_SQRT_2))],
        );
        assert_rates(
            Shape::Linear,
            &[(0, 0.1), (9, 1.0), (34, 0.775), (59, 0.55), (109, 0.1)],
        );
        assert_rates(
            Shape::Constant,
            &[(0, 0.1), (9, 1.0), (60, 1.0), (109, 1.0)],
        );
    }

    #[test]
    fn the_rate_never_jumps() {
        let schedule = schedule(Shape::Cosine);
        for step in 1..110 {
            let change = schedule.learning_rate(step) - schedule.learning_rate(step - 1);
            assert!(
                change.abs() <= 0.1 + 1e-12,
                "step {step} changes the rate by {change}"
            );
        }
    }

    #[test]
    fn no_warmup_starts_at_the_shape() {
        let schedule = Schedule {
            warmup_steps: 0,
            steps: 1,
            ..schedule(Shape::Constant)
        };
        assert_eq!(schedule.learning_rate(0), 1.0);
    }

    #[test]
    fn every_problem_is_named() {
        let bad = Schedule {
            steps: 0,
            warmup_steps: 1,
            peak_learning_rate: f64::NAN,
            final_ratio: 2.0,
            ..Schedule::default()
        };
        assert_eq!(bad.problems().len(), 4);
    }
}
