//! `metrics.jsonl` of a run: a line with the build's root hash where the run begins and where it goes on with another build, one
//! line a step, one line an evaluation. A resumed run cuts off what came after its checkpoint, so that the file tells one history,
//! which [`crate::history`] reads. Beside it `samples.jsonl` has the samples, and TensorBoard's event file all of it once more, where
//! `run.tensorboard` says so.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::build::Part;
use crate::checkpoint::{Rollback, sync};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::objective::Judgement;
use crate::progress::StepMetrics;
use crate::tensorboard::Events;

/// Name of the file of steps and evaluations in a run's folder.
pub const METRICS: &str = "metrics.jsonl";
/// Name of the file of samples in a run's folder.
pub const SAMPLES: &str = "samples.jsonl";

/// The open files.
#[derive(Debug)]
pub struct Metrics {
    lines: Lines,
    samples: Lines,
    events: Option<Events>,
}

/// A text that the model made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Finished steps.
    pub step: u64,
    /// What the model was given.
    pub prompt: String,
    /// What it went on with.
    pub text: String,
}

#[derive(Serialize)]
struct Began<'a> {
    step: u64,
    root: &'a str,
}

impl Metrics {
    /// Opens the files of `run`, keeps what they have up to `step` of a history that has gone back `rollbacks` times, and says that
    /// the run goes on with the build of the root hash `root`. With `tensorboard` there is an event file too.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn open(
        run: &Path,
        step: u64,
        rollbacks: usize,
        root: &str,
        tensorboard: bool,
    ) -> Result<Self> {
        let mut trained = None;
        let of_history = |line: &Line| line.step <= step && line.rollback <= rollbacks;
        let lines = Lines::open(run, METRICS, &of_history, &mut |line| {
            trained = line.root.or(trained.take());
        })?;
        let mut metrics = Self {
            lines,
            samples: Lines::open(run, SAMPLES, &of_history, &mut |_| ())?,
            events: tensorboard.then(|| Events::open(run, step)).transpose()?,
        };
        if trained.as_deref() != Some(root) {
            metrics.lines.append(&Began { step, root })?;
        }
        Ok(metrics)
    }

    /// Appends what a step gave.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn step(&mut self, metrics: &StepMetrics) -> Result<()> {
        self.lines.append(metrics)?;
        let Some(events) = &mut self.events else {
            return Ok(());
        };
        let scalars = [
            ("train/loss", Some(metrics.loss)),
            ("train/learning_rate", Some(metrics.learning_rate)),
            ("train/gradient_norm", Some(metrics.gradient_norm)),
            ("train/tokens_per_second", Some(metrics.tokens_per_second)),
            ("train/mfu", metrics.mfu),
        ];
        let told = scalars
            .iter()
            .filter_map(|(tag, number)| Some((*tag, (*number)?)));
        events.scalars(metrics.step, &told.collect::<Vec<_>>())
    }

    /// Appends what an evaluation after `step` steps gave.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn evaluation(&mut self, step: u64, evaluation: &Evaluation) -> Result<()> {
        #[derive(Serialize)]
        struct Evaluated<'a> {
            step: u64,
            #[serde(flatten)]
            evaluation: &'a Evaluation,
        }
        self.lines.append(&Evaluated { step, evaluation })?;
        let Some(events) = &mut self.events else {
            return Ok(());
        };
        let both = |of: &str, loss, bits| {
            [
                (format!("validation/loss{of}"), loss),
                (format!("validation/bits_per_byte{of}"), bits),
            ]
        };
        let mut scalars = Vec::new();
        scalars.extend(both(
            "",
            evaluation.validation_loss,
            evaluation.bits_per_byte,
        ));
        for dataset in &evaluation.datasets {
            let of = format!("/{}", dataset.dataset);
            scalars.extend(both(&of, dataset.validation_loss, dataset.bits_per_byte));
        }
        let scalars = scalars.iter().map(|(tag, number)| (tag.as_str(), *number));
        events.scalars(step, &scalars.collect::<Vec<_>>())
    }

    /// Appends the line of the last of `rollbacks`, which `batch` was the reason of.
    ///
    /// # Errors
    /// The file cannot be written.
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
        self.lines.append(&RolledBack {
            rollback: rollbacks.len(),
            left_out,
            rows: batch.rows(),
        })
    }

    /// Appends the line of what was judged of a split after `step` steps. What the test split gives stands under `test`, so that
    /// nothing is chosen by it that asks for a figure by its name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn judgement(&mut self, step: u64, part: Part, judgement: &Judgement) -> Result<()> {
        #[derive(Serialize)]
        struct Judged<'a> {
            step: u64,
            #[serde(flatten)]
            judgement: &'a Judgement,
        }
        #[derive(Serialize)]
        struct OfTest<'a> {
            step: u64,
            test: &'a Judgement,
        }
        match part {
            Part::Test => self.lines.append(&OfTest {
                step,
                test: judgement,
            }),
            _ => self.lines.append(&Judged { step, judgement }),
        }
    }

    /// Appends the samples of a step.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn samples(&mut self, samples: &[Sample]) -> Result<()> {
        for (number, sample) in samples.iter().enumerate() {
            self.samples.append(sample)?;
            if let Some(events) = &mut self.events {
                let text = format!("{}{}", sample.prompt, sample.text);
                events.text(sample.step, &format!("sample/{number}"), &text)?;
            }
        }
        Ok(())
    }

    /// Makes sure that all is on disk; before a checkpoint is published.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync(&self) -> Result<()> {
        self.lines.sync()?;
        self.samples.sync()?;
        self.events.as_ref().map_or(Ok(()), Events::sync)
    }
}

/// A file of JSON lines that have a step, ascending.
#[derive(Debug)]
struct Lines {
    file: fs_err::File,
}

/// What every line has, and what one of a build has.
#[derive(Deserialize)]
struct Line {
    step: u64,
    root: Option<String>,
    /// Of a line that tells that the run went back: how often it had by then.
    #[serde(default)]
    rollback: usize,
}

impl Lines {
    /// Opens the file called `name` and keeps its lines that are `of_history`, each of which is told to `kept`.
    fn open(
        run: &Path,
        name: &str,
        of_history: &dyn Fn(&Line) -> bool,
        kept: &mut dyn FnMut(Line),
    ) -> Result<Self> {
        let path = run.join(name);
        let aside = run.join(format!(".{name}.partial"));
        let mut written = fs_err::File::create(&aside).map_err(Error::io("writing metrics"))?;
        if path.exists() {
            let before = fs_err::File::open(&path).map_err(Error::io("reading metrics"))?;
            for line in BufReader::new(before).lines() {
                let line = line.map_err(Error::io("reading metrics"))?;
                // A line torn by a crash belongs to a step that is made again.
                let known = serde_json::from_str::<Line>(&line).ok();
                if let Some(known) = known.filter(of_history) {
                    writeln!(written, "{line}").map_err(Error::io("writing metrics"))?;
                    kept(known);
                }
            }
        }
        written.sync_all().map_err(Error::io("writing metrics"))?;
        fs_err::rename(&aside, &path).map_err(Error::io("writing metrics"))?;
        sync(run)?;
        let file = fs_err::OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(Error::io("writing metrics"))?;
        Ok(Self { file })
    }

    fn sync(&self) -> Result<()> {
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
            position: step,
            tokens: 10 * step,
            tokens_per_second: 1.0,
            data_wait_seconds: 0.0,
            mfu: None,
            skipped_steps: 0,
            preference_accuracy: None,
            margin: None,
        }
    }

    #[test]
    fn lines_after_the_checkpoint_and_torn_lines_are_cut_off() {
        let run = tempfile::tempdir().unwrap();
        let mut metrics = Metrics::open(run.path(), 0, 0, "a", false).unwrap();
        for step in 1..=4 {
            metrics.step(&at(step)).unwrap();
        }
        let path = run.path().join(METRICS);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let mut resumed = Metrics::open(run.path(), 2, 0, "a", false).unwrap();
        resumed.step(&at(3)).unwrap();
        Metrics::open(run.path(), 3, 0, "b", false).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Line> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let steps: Vec<u64> = lines.iter().map(|line| line.step).collect();
        assert_eq!(steps, [0, 1, 2, 3, 3]);
        // The build is told where the run began and where it became another one, and not by resuming with the same.
        let roots: Vec<_> = lines.iter().map(|line| line.root.as_deref()).collect();
        assert_eq!(roots, [Some("a"), None, None, None, Some("b")]);
        let first = text.lines().nth(1).unwrap();
        assert!(
            first.starts_with("{\"step\":1,\"loss\":1.5,\"learning_rate\":0.1"),
            "{text}"
        );
    }
}
