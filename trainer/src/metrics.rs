//! `metrics.jsonl` of a run: one line a step, one line an evaluation. A resumed run cuts off what came after its checkpoint,
//! so that the file tells one history.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{Rollback, sync};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::progress::StepMetrics;

/// Name of the file in a run's folder.
pub const METRICS: &str = "metrics.jsonl";

/// The open file.
#[derive(Debug)]
pub struct Metrics {
    file: fs_err::File,
}

#[derive(Deserialize)]
struct Line {
    step: u64,
    /// Of a line that tells that the run went back: how often it had by then.
    #[serde(default)]
    rollback: usize,
}

impl Metrics {
    /// Opens the file of `run` and keeps the lines up to `step` of a history that has gone back `rollbacks` times.
    pub fn open(run: &Path, step: u64, rollbacks: usize) -> Result<Self> {
        let path = run.join(METRICS);
        let aside = run.join(".metrics.partial");
        let mut kept = fs_err::File::create(&aside).map_err(Error::io("writing metrics"))?;
        if path.exists() {
            let written = fs_err::File::open(&path).map_err(Error::io("reading metrics"))?;
            for line in BufReader::new(written).lines() {
                let line = line.map_err(Error::io("reading metrics"))?;
                // A line torn by a crash belongs to a step that is made again.
                let of_history = |line: Line| line.step <= step && line.rollback <= rollbacks;
                if serde_json::from_str(&line).is_ok_and(of_history) {
                    writeln!(kept, "{line}").map_err(Error::io("writing metrics"))?;
                }
            }
        }
        kept.sync_all().map_err(Error::io("writing metrics"))?;
        fs_err::rename(&aside, &path).map_err(Error::io("writing metrics"))?;
        sync(run)?;
        let file = fs_err::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(Error::io("writing metrics"))?;
        Ok(Self { file })
    }

    /// Appends the line of a step.
    pub fn step(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.append(metrics)
    }

    /// Appends the line of an evaluation after `step` steps.
    pub fn evaluation(&mut self, step: u64, evaluation: &Evaluation) -> Result<()> {
        #[derive(Serialize)]
        struct Evaluated<'a> {
            step: u64,
            #[serde(flatten)]
            evaluation: &'a Evaluation,
        }
        self.append(&Evaluated { step, evaluation })
    }

    /// Appends the line of the last of `rollbacks`, which `batch` was the reason of.
    pub fn rollback(&mut self, rollbacks: &[Rollback], batch: &Batch) -> Result<()> {
        #[derive(Serialize)]
        struct RolledBack<'a> {
            rollback: usize,
            #[serde(flatten)]
            left_out: &'a Rollback,
            /// Rows of the documents of the batch.
            rows: String,
        }
        let Some(left_out) = rollbacks.last() else {
            return Ok(());
        };
        self.append(&RolledBack {
            rollback: rollbacks.len(),
            left_out,
            rows: batch.rows(),
        })
    }

    /// Makes sure that all lines are on disk; before a checkpoint is published.
    pub fn sync(&self) -> Result<()> {
        self.file.sync_all().map_err(Error::io("writing metrics"))
    }

    fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec(line).map_err(|error| Error::Io {
            what: "writing metrics".to_owned(),
            source: error.into(),
        })?;
        bytes.push(b'\n');
        self.file
            .write_all(&bytes)
            .map_err(Error::io("writing metrics"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            loss: 1.5,
            learning_rate: 0.1,
            gradient_norm: 2.0,
            tokens: 10 * step,
            tokens_per_second: 1.0,
            data_wait_seconds: 0.0,
            skipped_steps: 0,
        }
    }

    #[test]
    fn lines_after_the_checkpoint_and_torn_lines_are_cut_off() {
        let run = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(run.path(), 0, 0).unwrap();
        for step in 1..=4 {
            metrics.step(&at(step)).unwrap();
        }
        let path = run.path().join(METRICS);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut metrics = Metrics::open(run.path(), 2, 0).unwrap();
        metrics.step(&at(3)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).unwrap().step)
            .collect();
        assert_eq!(steps, [1, 2, 3]);
        assert!(
            text.starts_with("{\"step\":1,\"loss\":1.5,\"learning_rate\":0.1"),
            "{text}"
        );
    }
}
