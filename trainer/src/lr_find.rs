//! A sweep of the learning rate over some steps from the initial values: it rises exponentially until the loss runs away, and where the
//! loss was lowest says what a run can bear (Smith, "Cyclical Learning Rates for Training Neural Networks", 2017; exponential and with a
//! tenth of the lowest as in `fastai`'s `lr_find`, which smooths by the past alone and so is late). Nothing is saved.

use serde::Serialize;

use crate::config::RunConfig;
use crate::data::{Batches, Source};
use crate::error::{Error, Result};
use crate::model::{Model, Sequences};
use crate::ops::{Backend, Targets};
use crate::optimizer::Optimizer;

/// Neighbours on each side that a smoothed loss is the mean of, beside itself.
const NEIGHBOURS: usize = 3;
/// How much of the mean that is watched while a sweep goes on the losses before the last one are.
const PAST: f64 = 0.8;
/// A loss has fallen where its mean is so many times the first one; if it then rises above that, it has run away.
const FALLEN: f64 = 0.95;

/// Where a sweep begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SweepOptions {
    /// Rate of the first step.
    pub first_rate: f64,
    /// Rate of the last step.
    pub last_rate: f64,
    /// Steps at most.
    pub steps: u64,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            first_rate: 1e-6,
            last_rate: 1.0,
            steps: 100,
        }
    }
}

impl SweepOptions {
    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let rising = self.first_rate > 0.0 && self.first_rate < self.last_rate;
        if !(rising && self.last_rate.is_finite()) {
            problems.push(format!(
                "--first and --last must be positive numbers, the first the lower one, not {} and {}",
                self.first_rate, self.last_rate
            ));
        }
        if !(10..=100_000).contains(&self.steps) {
            problems.push(format!(
                "--steps must be between 10 and 100000, not {}",
                self.steps
            ));
        }
        problems
    }

    /// Learning rate of `step`, the first being 0: each is as many times the one before.
    pub fn learning_rate(&self, step: u64) -> f64 {
        let part = step as f64 / self.steps.saturating_sub(1).max(1) as f64;
        self.first_rate * (self.last_rate / self.first_rate).powf(part)
    }
}

/// A step of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// Counted from 1.
    pub step: u64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Mean loss of the batch in nats per trained token, before the step; `null` in JSON where it is no finite number.
    pub loss: f64,
    /// The mean of it and of its neighbours, three on each side where there are so many; while the sweep goes on, the loss itself.
    pub smoothed_loss: f64,
}

/// What a sweep found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// Its steps, in order.
    pub points: Vec<Point>,
    /// Whether it ended early since the loss ran away, as it should: else the highest rate was still borne.
    pub ran_away: bool,
    /// The rate at which the smoothed loss fell most for the logarithm of the rate.
    pub steepest: Option<f64>,
    /// A tenth of the rate at which the smoothed loss was lowest: what is suggested as `schedule.peak-learning-rate`.
    pub suggestion: Option<f64>,
}

/// Sweeps on `backend`, and tells each step to `each`, which may end it by returning a signal.
///
/// # Errors
/// The data or the device failed, or a signal ended it.
pub fn sweep<B: Backend>(
    backend: B,
    config: &RunConfig,
    training: Source,
    options: SweepOptions,
    each: &mut dyn FnMut(&Point) -> Option<i32>,
) -> Result<Sweep> {
    let mut model = Model::new(config.model, config.run.seed, backend)?;
    let mut optimizer = Optimizer::new(config.optimizer.clone(), &model)?;
    let mut gradients = model.store()?;
    let length = model.length(config.data.sequence_tokens)?;
    let batches = Batches::start(training, 0, &config.data, Box::new(|all| 0..all))?;
    let (mut points, mut mean) = (Vec::new(), 0.0);
    let (mut first, mut lowest, mut ran_away) = (0.0, f64::INFINITY, false);
    for step in 0..options.steps {
        let batch = batches.next_batch()?;
        model.backend.clear(&mut gradients)?;
        let scaled = config.loss.scaled(batch.trained_tokens);
        let mut nats = 0.0;
        for micro in &batch.micro_batches {
            let sequences = Sequences {
                ids: &micro.ids,
                starts: config.data.stay_in_documents.then_some(&micro.starts),
            };
            let targets = Targets {
                ids: &micro.next,
                trained: &micro.trained,
            };
            let keep = config.compute.keep();
            let losses =
                model.add_gradients(sequences, targets, &length, scaled, keep, &mut gradients)?;
            nats += losses.nats;
        }
        let loss = nats * scaled.scale;
        let norm = model.backend.squares(&gradients)?.sqrt();
        if step == 0 {
            (first, mean) = (loss, loss);
        }
        mean = PAST * mean + (1.0 - PAST) * loss;
        let point = Point {
            step: step + 1,
            learning_rate: options.learning_rate(step),
            loss,
            smoothed_loss: loss,
        };
        points.push(point);
        if let Some(signal) = each(&point) {
            return Err(Error::Ended(signal));
        }
        lowest = lowest.min(mean);
        let rose = lowest < FALLEN * first && mean > first;
        if rose || !norm.is_finite() || !mean.is_finite() {
            ran_away = true;
            break;
        }
        let factor = config.optimizer.clip_factor(norm);
        optimizer.step(&mut model, &gradients, point.learning_rate, factor)?;
    }
    smooth(&mut points);
    Ok(Sweep {
        ran_away,
        steepest: steepest(&points),
        suggestion: lowest_point(&points).map(|point| point.learning_rate / 10.0),
        points,
    })
}

/// Sets the smoothed losses to the means of the neighbours' losses.
fn smooth(points: &mut [Point]) {
    let losses: Vec<f64> = points.iter().map(|point| point.loss).collect();
    for (at, point) in points.iter_mut().enumerate() {
        let end = (at + NEIGHBOURS + 1).min(losses.len());
        let near = &losses[at.saturating_sub(NEIGHBOURS)..end];
        point.smoothed_loss = near.iter().sum::<f64>() / near.len() as f64;
    }
}

fn lowest_point(points: &[Point]) -> Option<&Point> {
    let finite = points
        .iter()
        .filter(|point| point.smoothed_loss.is_finite());
    finite.min_by(|a, b| a.smoothed_loss.total_cmp(&b.smoothed_loss))
}

/// The rate in the middle of the three neighbours between which the smoothed loss falls most. Rates are evenly apart in their
/// logarithm, so differences are slopes.
fn steepest(points: &[Point]) -> Option<f64> {
    let fall = |three: &[Point]| three[0].smoothed_loss - three[2].smoothed_loss;
    let steepest = points
        .windows(3)
        .filter(|three| fall(three).is_finite() && fall(three) > 0.0)
        .max_by(|a, b| fall(a).total_cmp(&fall(b)));
    steepest.map(|three| three[1].learning_rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(losses: &[f64]) -> Vec<Point> {
        let options = SweepOptions {
            first_rate: 1e-4,
            last_rate: 1e4,
            steps: 9,
        };
        (0..)
            .zip(losses)
            .map(|(step, &loss)| Point {
                step: step + 1,
                learning_rate: options.learning_rate(step),
                loss,
                smoothed_loss: loss,
            })
            .collect()
    }

    #[test]
    fn rates_rise_from_the_first_to_the_last_by_the_same_factor() {
        let rates: Vec<f64> = points(&[0.0; 9])
            .iter()
            .map(|point| point.learning_rate)
            .collect();
        for (power, rate) in (-4..).zip(rates) {
            assert!((rate / 10f64.powi(power) - 1.0).abs() < 1e-12, "{rate}");
        }
    }

    #[test]
    fn smoothed_losses_are_means_of_neighbours() {
        let mut points = points(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]);
        smooth(&mut points);
        let smoothed = [0, 1, 3, 4, 7].map(|at| points[at].smoothed_loss);
        let expected = [
            15.0 / 4.0,
            31.0 / 5.0,
            127.0 / 7.0,
            254.0 / 7.0,
            240.0 / 4.0,
        ];
        assert_eq!(smoothed, expected);
    }

    #[test]
    fn the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_loss() {
        let points = points(&[4.0, 3.9, 3.7, 2.5, 2.0, 1.9, 3.0, f64::NAN]);
        let lowest = lowest_point(&points).unwrap().learning_rate;
        assert!((lowest / 10.0 - 1.0).abs() < 1e-12, "{lowest}");
        // From 3.7 to 2.0 is the deepest fall, and its middle the fourth rate.
        assert_eq!(steepest(&points), Some(points[3].learning_rate));
        assert_eq!(steepest(&points[..2]), None);
        assert!(lowest_point(&[]).is_none());
    }

    #[test]
    fn ranges_without_meaning_are_refused() {
        let options = |first_rate, last_rate, steps| SweepOptions {
            first_rate,
            last_rate,
            steps,
        };
        assert!(SweepOptions::default().problems().is_empty());
        for bad in [
            options(0.0, 1.0, 100),
            options(1.0, 1.0, 100),
            options(1e-3, f64::INFINITY, 100),
            options(f64::NAN, 1.0, 100),
            options(1e-3, 1.0, 9),
        ] {
            assert_eq!(bad.problems().len(), 1, "{bad:?}");
        }
    }
}
