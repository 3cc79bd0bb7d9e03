//! The learning rate as a pure function of the steps or tokens so far, so that a resumed run cannot differ from an uninterrupted one and
//! a plan can be printed before it starts. Every kind begins with a straight rise that reaches the peak with its last step, as in
//! `karpathy/llm.c` `llmc/schedulers.h`, where the cosine is from too.

use serde::{Deserialize, Serialize};

/// What happens after the warmup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleKind {
    /// Half a cosine down to the final rate (Loshchilov and Hutter, "SGDR", 2017).
    Cosine,
    /// A straight line down to the final rate.
    Linear,
    /// Warmup, stable, decay: the peak rate, then over the last `decay-steps` a straight line down to the final rate (Hu et al.,
    /// "`MiniCPM`", 2024; the line as in Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations",
    /// 2024).
    Wsd,
    /// The peak rate times `sqrt(warmup / step)`, the step counted from 1; it knows no end, so that the final ratio does not count
    /// (Vaswani et al., "Attention Is All You Need", 2017).
    InverseSqrt,
    /// The peak rate until the end.
    Constant,
}

/// `[schedule]` of a run configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Schedule {
    /// What happens after the warmup. Runs written before there were so many call it `shape`.
    #[serde(alias = "shape")]
    pub kind: ScheduleKind,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps of the linear rise to the peak.
    pub warmup_steps: u64,
    /// Steps of the fall at the end; of `wsd` alone.
    pub decay_steps: u64,
    /// Tokens of the whole run, instead of `steps`: the last step is the one with which so many are read. Then the rise and the fall are
    /// counted in tokens too, and the rate stays the same function of the data where batches have other sizes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Tokens of the linear rise, with `tokens`; without the key there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_tokens: Option<u64>,
    /// Tokens of the fall at the end, with `tokens`; of `wsd` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_tokens: Option<u64>,
    /// Learning rate at the end of the warmup.
    pub peak_learning_rate: f64,
    /// Learning rate of the last step, as a part of the peak; of `cosine`, `linear` and `wsd`.
    pub final_ratio: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            kind: ScheduleKind::Cosine,
            steps: 1000,
            warmup_steps: 100,
            decay_steps: 200,
            tokens: None,
            warmup_tokens: None,
            decay_tokens: None,
            peak_learning_rate: 1e-3,
            final_ratio: 0.1,
        }
    }
}

/// Lengths of a schedule, all in steps or all in tokens.
#[derive(Debug, Clone, Copy)]
struct Lengths {
    unit: &'static str,
    whole: u64,
    warmup: u64,
    decay: u64,
}

impl Schedule {
    fn lengths(&self) -> Lengths {
        match self.tokens {
            None => Lengths {
                unit: "steps",
                whole: self.steps,
                warmup: self.warmup_steps,
                decay: self.decay_steps,
            },
            Some(whole) => Lengths {
                unit: "tokens",
                whole,
                warmup: self.warmup_tokens.unwrap_or(0),
                decay: self.decay_tokens.unwrap_or(0),
            },
        }
    }

    /// Whether a run that has done `steps` steps and read `tokens` tokens is at its end.
    pub const fn is_over(&self, steps: u64, tokens: u64) -> bool {
        match self.tokens {
            None => steps >= self.steps,
            Some(whole) => tokens >= whole,
        }
    }

    /// Learning rate of `step`, the first being 0, with whose end `tokens` are read.
    pub fn learning_rate(&self, step: u64, tokens: u64) -> f64 {
        let Lengths {
            whole,
            warmup,
            decay,
            ..
        } = self.lengths();
        // The rate of a step is what its end reaches; so steps count from 1.
        let done = match self.tokens {
            None => step.saturating_add(1),
            Some(_) => tokens.max(1),
        };
        if done <= warmup {
            return self.peak_learning_rate * done as f64 / warmup as f64;
        }
        let stable_end = whole.saturating_sub(decay);
        let above_final = match self.kind {
            ScheduleKind::Cosine => {
                let part = part(done, warmup, whole);
                0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            ScheduleKind::Linear => 1.0 - part(done, warmup, whole),
            ScheduleKind::Wsd => 1.0 - part(done, stable_end, whole),
            ScheduleKind::InverseSqrt => {
                return self.peak_learning_rate * (warmup.max(1) as f64 / done as f64).sqrt();
            }
            ScheduleKind::Constant => return self.peak_learning_rate,
        };
        self.peak_learning_rate * (self.final_ratio + (1.0 - self.final_ratio) * above_final)
    }

    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = self.contradictions();
        let Lengths {
            unit,
            whole,
            warmup,
            decay,
        } = self.lengths();
        if whole == 0 {
            problems.push(format!("schedule.{unit} must be at least 1"));
        }
        if warmup > whole {
            problems.push(format!(
                "schedule.warmup-{unit} must not exceed schedule.{unit}"
            ));
        }
        if self.kind == ScheduleKind::Wsd {
            let after_warmup = whole.saturating_sub(warmup);
            if decay == 0 {
                problems.push(format!(
                    "schedule.decay-{unit} must be at least 1; schedule.kind = \"constant\" does without"
                ));
            } else if decay > after_warmup {
                problems.push(format!(
                    "schedule.decay-{unit} is {decay}, and {after_warmup} {unit} are left after the warmup: lower it or raise schedule.{unit}"
                ));
            }
        }
        if self.kind == ScheduleKind::InverseSqrt && self.tokens.is_some() && warmup == 0 {
            // The rate falls from where the warmup ends, and the first token is no place to begin.
            problems.push(
                "schedule.warmup-tokens must be at least 1 with schedule.kind = \"inverse-sqrt\""
                    .to_owned(),
            );
        }
        if !(self.peak_learning_rate.is_finite() && self.peak_learning_rate > 0.0) {
            problems.push("schedule.peak-learning-rate must be a positive number".to_owned());
        }
        if !(0.0..=1.0).contains(&self.final_ratio) {
            problems.push("schedule.final-ratio must be between 0 and 1".to_owned());
        }
        problems
    }

    /// Keys that count in the unit that the run is not counted in.
    fn contradictions(&self) -> Vec<String> {
        let default = Self::default();
        let in_steps = [
            ("steps", self.steps != default.steps),
            ("warmup-steps", self.warmup_steps != default.warmup_steps),
            ("decay-steps", self.decay_steps != default.decay_steps),
        ];
        let in_tokens = [
            ("warmup-tokens", self.warmup_tokens.is_some()),
            ("decay-tokens", self.decay_tokens.is_some()),
        ];
        let (keys, relation) = match self.tokens {
            Some(_) => (&in_steps[..], "with schedule.tokens"),
            None => (&in_tokens[..], "without schedule.tokens"),
        };
        let set = keys.iter().filter(|(_, is_set)| *is_set);
        set.map(|(key, _)| {
            format!("schedule.{key} has no meaning {relation}; leave one of them out")
        })
        .collect()
    }
}

/// How much of the way from `start` to `end` is done, from 0 to 1.
fn part(done: u64, start: u64, end: u64) -> f64 {
    let length = end.saturating_sub(start).max(1) as f64;
    (done.saturating_sub(start) as f64 / length).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(kind: ScheduleKind) -> Schedule {
        Schedule {
            kind,
            steps: 110,
            warmup_steps: 10,
            decay_steps: 20,
            peak_learning_rate: 1.0,
            final_ratio: 0.1,
            ..Schedule::default()
        }
    }

    /// The same in tokens, a hundred for a step.
    fn by_tokens(kind: ScheduleKind) -> Schedule {
        Schedule {
            kind,
            tokens: Some(11_000),
            warmup_tokens: Some(1_000),
            decay_tokens: Some(2_000),
            peak_learning_rate: 1.0,
            final_ratio: 0.1,
            ..Schedule::default()
        }
    }

    fn assert_rates(kind: ScheduleKind, expected: &[(u64, f64)]) {
        for &(step, rate) in expected {
            let ours = schedule(kind).learning_rate(step, 0);
            assert!(
                (ours - rate).abs() < 1e-12,
                "{kind:?} at {step}: {ours}, not {rate}"
            );
        }
    }

    #[test]
    fn golden_rates() {
        // By hand: warmup (step + 1)/10; then x = (step - 9)/100 and 0.1 + 0.9 (1 + cos(pi x))/2, or 1 - 0.9 x.
        assert_rates(
            ScheduleKind::Cosine,
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
            ScheduleKind::Cosine,
            &[(34, 0.1 + 0.45 * (1.0 + std::f64::consts::FRAC_1_SQRT_2))],
        );
        assert_rates(
            ScheduleKind::Linear,
            &[(0, 0.1), (9, 1.0), (34, 0.775), (59, 0.55), (109, 0.1)],
        );
        assert_rates(
            ScheduleKind::Constant,
            &[(0, 0.1), (9, 1.0), (60, 1.0), (109, 1.0)],
        );
    }

    #[test]
    fn rates_are_those_of_transformers() {
        // Run in Hugging Face transformers 4.57.6: `get_wsd_schedule(num_warmup_steps=10, num_stable_steps=80, num_decay_steps=20,
        // min_lr_ratio=0.1, decay_type="linear")`, whose warmup alone is another, and
        // `get_inverse_sqrt_schedule(num_warmup_steps=10)`, both at the step + 1, since their first rate is for nothing done.
        assert_rates(
            ScheduleKind::Wsd,
            &[
                (9, 1.0),
                (50, 1.0),
                (89, 1.0),
                (90, 0.955),
                (94, 0.775),
                (99, 0.55),
                (104, 0.325),
                (109, 0.1),
                (110, 0.1),
            ],
        );
        assert_rates(
            ScheduleKind::InverseSqrt,
            &[
                (0, 0.1),
                (4, 0.5),
                (9, 1.0),
                (10, 0.953_462_589_245_592_2),
                (39, 0.5),
                (59, 0.408_248_290_463_863_1),
                (109, 0.301_511_344_577_763_63),
            ],
        );
    }

    #[test]
    fn the_rate_never_jumps() {
        for kind in [
            ScheduleKind::Cosine,
            ScheduleKind::Linear,
            ScheduleKind::Wsd,
            ScheduleKind::InverseSqrt,
            ScheduleKind::Constant,
        ] {
            let schedule = schedule(kind);
            for step in 1..110 {
                let change = schedule.learning_rate(step, 0) - schedule.learning_rate(step - 1, 0);
                assert!(
                    change.abs() <= 0.1 + 1e-12,
                    "{kind:?}: step {step} changes the rate by {change}"
                );
            }
            assert!(schedule.learning_rate(u64::MAX, u64::MAX).is_finite());
        }
    }

    #[test]
    fn by_tokens_the_rate_is_that_of_as_many_steps() {
        for kind in [
            ScheduleKind::Cosine,
            ScheduleKind::Linear,
            ScheduleKind::Wsd,
            ScheduleKind::InverseSqrt,
            ScheduleKind::Constant,
        ] {
            let (steps, tokens) = (schedule(kind), by_tokens(kind));
            assert!(tokens.problems().is_empty(), "{kind:?}");
            for step in 0..120 {
                let read = (step + 1) * 100;
                let (one, other) = (
                    steps.learning_rate(step, u64::MAX),
                    tokens.learning_rate(u64::MAX, read),
                );
                assert!((one - other).abs() < 1e-12, "{kind:?} at {step}");
                assert_eq!(
                    steps.is_over(step + 1, 0),
                    tokens.is_over(0, read),
                    "{kind:?} at {step}"
                );
            }
        }
    }

    #[test]
    fn steps_and_tokens_are_not_mixed() {
        let both = Schedule {
            warmup_steps: 3,
            steps: 7,
            ..by_tokens(ScheduleKind::Cosine)
        };
        let problems = both.problems();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("schedule.steps has no meaning with schedule.tokens"));
        let stray = Schedule {
            warmup_tokens: Some(3),
            ..schedule(ScheduleKind::Cosine)
        };
        assert!(stray.problems()[0].contains("warmup-tokens has no meaning without"));
        let nothing_to_fall_from = Schedule {
            warmup_tokens: None,
            ..by_tokens(ScheduleKind::InverseSqrt)
        };
        assert_eq!(nothing_to_fall_from.problems().len(), 1);
        let too_long = Schedule {
            warmup_tokens: Some(11_001),
            ..by_tokens(ScheduleKind::Wsd)
        };
        let problems = too_long.problems();
        assert!(problems[0].contains("warmup-tokens must not exceed schedule.tokens"));
        assert!(problems[1].contains("decay-tokens is 2000, and 0 tokens are left"));
        let read: Schedule = toml::from_str("tokens = 5\nwarmup-tokens = 1").unwrap();
        assert_eq!((read.tokens, read.warmup_tokens), (Some(5), Some(1)));
        let written = toml::to_string(&read).unwrap();
        assert_eq!(toml::from_str::<Schedule>(&written).unwrap(), read);
    }

    #[test]
    fn a_schedule_of_an_older_run_loads() {
        let older = "shape = \"linear\"\nsteps = 7\nwarmup-steps = 2\npeak-learning-rate = 0.5\nfinal-ratio = 0.0\n";
        let schedule: Schedule = toml::from_str(older).unwrap();
        assert_eq!((schedule.kind, schedule.steps), (ScheduleKind::Linear, 7));
        let nothing_said: Schedule = toml::from_str("steps = 7").unwrap();
        assert_eq!(nothing_said.kind, ScheduleKind::Cosine);
        for (kind, name) in [
            (ScheduleKind::Wsd, "wsd"),
            (ScheduleKind::InverseSqrt, "inverse-sqrt"),
        ] {
            let read: Schedule = toml::from_str(&format!("kind = \"{name}\"")).unwrap();
            assert_eq!(read.kind, kind);
        }
    }

    #[test]
    fn no_warmup_starts_at_the_shape() {
        let schedule = Schedule {
            warmup_steps: 0,
            steps: 1,
            ..schedule(ScheduleKind::Constant)
        };
        assert_eq!(schedule.learning_rate(0, 0), 1.0);
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
        for (decay_steps, problems) in [(0, 1), (1, 0), (100, 0), (101, 1), (u64::MAX, 1)] {
            let wsd = Schedule {
                decay_steps,
                ..schedule(ScheduleKind::Wsd)
            };
            assert_eq!(wsd.problems().len(), problems, "{decay_steps}");
            let cosine = Schedule {
                decay_steps,
                ..schedule(ScheduleKind::Cosine)
            };
            assert!(cosine.problems().is_empty());
        }
    }
}
