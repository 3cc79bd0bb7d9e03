//! What `metrics.jsonl` tells of a run, read again: its steps and evaluations, and on which build it was trained from which step on.
//!
//! Files of before a key was written have nothing under it, and keys of a later program are passed over.

use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

use crate::config::DataOptions;
use crate::error::{Error, Result};
use crate::metrics::METRICS;

/// A step as it was written. Numbers that were not finite are none.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct StepLine {
    /// Finished steps, this one included.
    pub step: u64,
    /// Mean loss in nats per trained token.
    pub loss: Option<f64>,
    /// Learning rate.
    pub learning_rate: Option<f64>,
    /// Norm of the gradient before it was clipped.
    pub gradient_norm: Option<f64>,
    /// Tokens read since the beginning of the run.
    #[serde(default)]
    pub tokens: u64,
    /// Tokens per second of this step.
    pub tokens_per_second: Option<f64>,
    /// Seconds in which the step waited for its batch to be read.
    pub data_wait_seconds: Option<f64>,
    /// Model FLOPs utilization.
    pub mfu: Option<f64>,
    /// Position of its batch: sequences consumed before it.
    pub position: Option<u64>,
}

/// An evaluation as it was written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EvaluationLine {
    /// Finished steps.
    pub step: u64,
    /// Mean loss in nats per trained token.
    pub validation_loss: Option<f64>,
    /// Bits per byte.
    pub bits_per_byte: Option<f64>,
    /// The same by dataset.
    #[serde(default)]
    pub datasets: Vec<DatasetLine>,
}

/// What an evaluation found of a dataset.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DatasetLine {
    /// Its name.
    pub dataset: String,
    /// Mean loss in nats per trained token.
    pub validation_loss: Option<f64>,
    /// Bits per byte.
    pub bits_per_byte: Option<f64>,
}

/// A run as its metrics tell it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Steps, ascending.
    pub steps: Vec<StepLine>,
    /// Evaluations, ascending.
    pub evaluations: Vec<EvaluationLine>,
    /// Root hashes of the builds that it was trained on, each with the steps that were done when it came.
    pub roots: Vec<(u64, String)>,
    /// Steps done, and the position that the run went on at, where it went back last because of a step without a finite loss.
    pub went_on: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct RootLine {
    step: u64,
    root: String,
}

#[derive(Deserialize)]
struct RollbackLine {
    step: u64,
    end: u64,
}

/// The last value that the metrics of the run in `folder` have for `key`; none if there is none.
///
/// # Errors
/// The metrics cannot be read.
pub fn last_value(folder: &Path, key: &str) -> Result<Option<f64>> {
    let mut value = None;
    each_from_the_end(folder, &mut |line| {
        value = line.get(key).and_then(serde_json::Value::as_f64);
        value.is_some()
    })?;
    Ok(value)
}

/// The last object that the metrics of the run in `folder` have for `key`; none if there is none.
///
/// # Errors
/// The metrics cannot be read.
pub fn last_object(
    folder: &Path,
    key: &str,
) -> Result<Option<serde_json::Map<String, serde_json::Value>>> {
    let mut object = None;
    each_from_the_end(folder, &mut |mut line| match line.remove(key) {
        Some(serde_json::Value::Object(found)) => {
            object = Some(found);
            true
        }
        _ => false,
    })?;
    Ok(object)
}

/// Shows the lines of the metrics to `found`, the last first, until it says that it has what it looks for.
fn each_from_the_end(
    folder: &Path,
    found: &mut dyn FnMut(serde_json::Map<String, serde_json::Value>) -> bool,
) -> Result<()> {
    let text = match fs_err::read_to_string(folder.join(METRICS)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        text => text.map_err(Error::io("reading metrics"))?,
    };
    // A last line that is torn is none.
    let lines = text.lines().rev();
    for line in lines.filter_map(|line| serde_json::from_str(line).ok()) {
        if found(line) {
            break;
        }
    }
    Ok(())
}

impl History {
    /// Reads the metrics of the run in `folder`. A last line that is torn is left out: a step may be being written.
    ///
    /// # Errors
    /// There are none, or they cannot be read, or a line is no metrics.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(METRICS);
        let file = match fs_err::File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Usage(format!(
                    "{} has no metrics: it was not trained yet",
                    folder.display()
                )));
            }
            file => file.map_err(Error::io("reading metrics"))?,
        };
        let mut lines = BufReader::new(file).lines().peekable();
        let mut history = Self::default();
        let mut number = 0;
        while let Some(line) = lines.next() {
            let line = line.map_err(Error::io("reading metrics"))?;
            number += 1;
            if let Err(error) = history.take(&line)
                && lines.peek().is_some()
            {
                return Err(Error::Integrity {
                    path,
                    problem: format!(
                        "line {number} is no metrics ({error})\nhint: resuming the run leaves such lines out"
                    ),
                });
            }
        }
        Ok(history)
    }

    fn take(&mut self, line: &str) -> serde_json::Result<()> {
        let value: serde_json::Value = serde_json::from_str(line)?;
        if value.get("loss").is_some() {
            self.steps.push(serde_json::from_value(value)?);
        } else if value.get("validation_loss").is_some() {
            self.evaluations.push(serde_json::from_value(value)?);
        } else if value.get("root").is_some() {
            let root: RootLine = serde_json::from_value(value)?;
            self.roots.push((root.step, root.root));
        } else if value.get("rollback").is_some() {
            let rollback: RollbackLine = serde_json::from_value(value)?;
            self.went_on = Some((rollback.step, rollback.end));
        }
        Ok(())
    }

    /// Root hash of the build that `step`, counted from 1, was or would be trained on.
    pub fn root_of(&self, step: u64) -> Option<&str> {
        let before = self.roots.iter().rev().find(|(after, _)| *after < step);
        before.map(|(_, root)| root.as_str())
    }

    /// The positions of the sequences that `step`, counted from 1, was trained on, or would be if it is the next one; batches are
    /// as large as `options` say.
    ///
    /// # Errors
    /// There is no such step.
    pub fn positions_of(&self, step: u64, options: &DataOptions) -> Result<Range<u64>> {
        let done = self.steps.last().map_or(0, |last| last.step);
        if step == 0 || step > done + 1 {
            return Err(Error::Usage(format!(
                "the run has no step {step}: it has done {done}\nhint: steps are counted from 1, and {} is the next one",
                done + 1
            )));
        }
        let start = match self.went_on {
            Some((after, position)) if step == after + 1 => position,
            _ if step > done => self.end_of(done, options),
            _ => self.start_of(step, options),
        };
        Ok(start..end(start, options))
    }

    /// Where the batch of a step that is done begins.
    fn start_of(&self, step: u64, options: &DataOptions) -> u64 {
        let at = self.steps.partition_point(|line| line.step < step);
        let line = self.steps.get(at).filter(|line| line.step == step);
        line.and_then(|line| line.position)
            .unwrap_or_else(|| options.sequences_after(step.saturating_sub(1)))
    }

    /// Where the batch of a step that is done ends; 0 where none is.
    fn end_of(&self, step: u64, options: &DataOptions) -> u64 {
        match step {
            0 => 0,
            step => end(self.start_of(step, options), options),
        }
    }
}

/// Where the batch that begins at `start` ends.
fn end(start: u64, options: &DataOptions) -> u64 {
    let sequences =
        options.micro_batches_at(start) as u64 * options.sequences_per_micro_batch as u64;
    start.saturating_add(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(text: &str) -> Result<History> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(METRICS), text).unwrap();
        History::read(folder.path())
    }

    #[test]
    fn positions_and_builds_are_those_that_were_written() {
        let text = "{\"step\":0,\"root\":\"a\"}\n\
            {\"step\":1,\"loss\":3.5,\"learning_rate\":0.1,\"gradient_norm\":1.0,\"tokens\":8,\"tokens_per_second\":5.0,\"position\":0}\n\
            {\"step\":2,\"loss\":null,\"learning_rate\":0.1,\"gradient_norm\":null,\"tokens\":24,\"tokens_per_second\":5.0,\"position\":3}\n\
            {\"step\":2,\"validation_loss\":3.0,\"bits_per_byte\":1.0,\"datasets\":[{\"dataset\":\"x\",\"validation_loss\":2.0,\"bits_per_byte\":0.5}]}\n\
            {\"step\":2,\"root\":\"b\"}\n\
            {\"rollback\":1,\"step\":2,\"failed_step\":4,\"position\":6,\"end\":12,\"rows\":\"1, 2\"}\n\
            {\"step\":3,\"loss\":3.0,\"position\":12,\"of a later program\":[]}\n\
            {\"step\":4,\"lo";
        let history = history(text).unwrap();
        assert_eq!(history.steps.len(), 3);
        assert_eq!(history.steps[1].loss, None);
        let of_x = history.evaluations[0].datasets[0].validation_loss;
        assert_eq!(of_x, Some(2.0));
        let of = |step| history.positions_of(step, &options(3)).unwrap();
        // After the second step the run went back and on behind what it had read since; the fourth step is not done.
        assert_eq!([of(1), of(2), of(3), of(4)], [0..3, 3..6, 12..15, 15..18]);
        for wrong in [0, 5] {
            let error = history.positions_of(wrong, &options(3)).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().contains("it has done 3"));
        }
        let roots = [1, 2, 3, 4].map(|step| history.root_of(step).unwrap());
        assert_eq!(roots, ["a", "a", "b", "b"]);
        // Where it went back and made no step since, the next one is behind what was left out.
        let end = text.find("{\"step\":3").unwrap();
        let history = super::tests::history(&text[..end]).unwrap();
        assert_eq!(history.positions_of(3, &options(3)).unwrap(), 12..15);
    }

    #[test]
    fn what_was_not_written_yet_is_what_every_step_has() {
        let history = history("{\"step\":1,\"loss\":3.5}\n{\"step\":2,\"loss\":3.5}\n").unwrap();
        assert_eq!(history.positions_of(2, &options(8)).unwrap(), 8..16);
        assert_eq!(history.root_of(1), None);
        let error = super::tests::history("{\"step\":1}\nno\n{\"step\":2}\n").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }

    fn options(sequences: usize) -> DataOptions {
        DataOptions {
            sequences_per_micro_batch: sequences,
            ..DataOptions::default()
        }
    }
}
