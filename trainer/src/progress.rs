//! What a run reports while it goes on. The library reports typed events and the program shows them.
//!
//! The order: `planned`, perhaps `resumed`, then per step `stepped`, and `evaluated`, `saved`, `warned` as they
//! happen; at the end `evaluated`, `sampled`, `saved`, `finished`.

use std::path::Path;

use serde::Serialize;

use crate::config::{Derived, RunConfig};
use crate::eval::Evaluation;
use crate::objective::Judgement;
use crate::peak::Peak;

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, Serialize)]
pub struct StepMetrics {
    /// Finished steps, this one included.
    pub step: u64,
    /// Mean loss of the batch in nats per trained token; `null` in JSON where it is no finite number.
    pub loss: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradient before it was clipped; `null` in JSON where it is no finite number.
    pub gradient_norm: f64,
    /// Position of its batch: sequences consumed before it.
    pub position: u64,
    /// Tokens read since the beginning of the run.
    pub tokens: u64,
    /// Tokens per second of this step.
    pub tokens_per_second: f64,
    /// Seconds of this step in which it waited for its batch to be read.
    pub data_wait_seconds: f64,
    /// Model FLOPs utilization of this step, 0 to 1: tokens per second x FLOPs a token / peak ([`crate::peak`]); `null` where no peak
    /// is known.
    pub mfu: Option<f64>,
    /// Steps since the beginning of the run that were not applied, since their loss or gradient was no finite number.
    pub skipped_steps: u64,
    /// Of a step on pairs: the part of them that the model tells apart better than the reference did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preference_accuracy: Option<f64>,
    /// Of a step on pairs: their mean margin over the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

/// An event of a run.
#[derive(Debug, Clone, Serialize)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum Event<'a> {
    /// Before anything is done.
    Planned {
        /// Name of the run's folder.
        run: &'a Path,
        /// The build.
        build: &'a Path,
        /// Root hash of the build.
        root: &'a str,
        /// The configuration.
        config: &'a RunConfig,
        /// What follows from it.
        derived: &'a Derived,
        /// What utilization is measured against; none where nothing is known of the device.
        peak: Option<&'a Peak>,
    },
    /// A checkpoint was loaded.
    Resumed {
        /// Its folder.
        checkpoint: &'a Path,
        /// Steps done.
        step: u64,
        /// Sequences consumed.
        position: u64,
    },
    /// Something is not as it should be, and the run goes on.
    Warned {
        /// What, and what was done about it.
        message: &'a str,
    },
    /// A step is done.
    Stepped {
        /// Its numbers.
        #[serde(flatten)]
        metrics: &'a StepMetrics,
        /// Steps of the run.
        steps: u64,
    },
    /// An evaluation is done.
    Evaluated {
        /// Steps done.
        step: u64,
        /// Its result.
        #[serde(flatten)]
        evaluation: &'a Evaluation,
    },
    /// Something that has to be known before the first step is being computed.
    Prepared {
        /// Of what.
        what: &'static str,
        /// So many are done.
        done: u64,
        /// Of so many.
        of: u64,
    },
    /// Documents that are not trained on were judged.
    Judged {
        /// Steps done.
        step: u64,
        /// The split that they are of.
        split: &'static str,
        /// How well.
        #[serde(flatten)]
        judgement: &'a Judgement,
    },
    /// A checkpoint is on disk.
    Saved {
        /// Steps done.
        step: u64,
        /// Its folder.
        checkpoint: &'a Path,
    },
    /// Text was made.
    Sampled {
        /// Steps done.
        step: u64,
        /// What the model was given.
        prompt: &'a str,
        /// What it went on with.
        text: &'a str,
    },
    /// The run is complete.
    Finished {
        /// Steps done.
        step: u64,
        /// Tokens read.
        tokens: u64,
        /// The last checkpoint.
        checkpoint: &'a Path,
    },
}

/// Somebody who is told.
pub trait Progress {
    /// Takes note of an event.
    fn report(&mut self, event: &Event<'_>);
}

/// Nobody is told.
impl Progress for () {
    fn report(&mut self, _: &Event<'_>) {}
}
