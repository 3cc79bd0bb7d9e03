//! The training loop. Everything that a step does stands in [`train`], in the order in which it happens.

mod non_finite;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::build::Part;
use crate::checkpoint::{self, State};
use crate::config::{Derived, NonFinite, RunConfig};
use crate::data::{Batches, MicroBatch, Source};
use crate::error::{Error, Result};
use crate::eval::evaluate;
use crate::memory;
use crate::metrics::Metrics;
use crate::model::Model;
use crate::objective::preference::{At, Margins, PreferenceFigures};
use crate::objective::{Objective, Reading, Step};
use crate::ops::Backend;
use crate::optimizer::Optimizer;
use crate::parallel::{Gradients, Team, Transport};
use crate::peak::Peak;
use crate::progress::{Event, Progress, StepMetrics};
use crate::run::Run;
use crate::sample::Text;
use crate::samples;
use non_finite::{Verdict, judge, roll_back};

/// What to train on what.
pub struct Job<'a> {
    /// The run's folder, locked.
    pub run: &'a Run,
    /// The configuration.
    pub config: &'a RunConfig,
    /// Folder of the build, for the report.
    pub build: &'a Path,
    /// Root hash of the build.
    pub root: &'a str,
    /// What the objective reads.
    pub reading: Reading,
    /// The sequences to evaluate on; without any, there is no evaluation.
    pub validation: Source,
    /// A root hash that may differ from the one the run was trained on so far.
    pub accept_root: Option<&'a str>,
    /// The build's tokenizer file, copied into the run.
    pub tokenizer: &'a [u8],
    /// Token that ends a document.
    pub end_of_text: u32,
    /// What prints samples; without it there are none.
    pub text: Option<Text>,
    /// What utilization is measured against.
    pub peak: Option<Peak>,
    /// To the other workers of the run, if there are any.
    pub transport: &'a dyn Transport,
}

/// Trains on `backend` until the last step of the schedule or until `stop` names a signal, resuming the newest valid checkpoint.
/// Returns the folder of the last checkpoint and the model. With other workers each calls this with the same configuration, and the
/// first alone writes to the run.
///
/// # Errors
/// The run cannot go on from its checkpoint, its data or its device failed, or its numbers are none any more.
pub fn train<B: Backend>(
    backend: B,
    job: Job<'_>,
    stop: &dyn Fn() -> Option<i32>,
    progress: &mut dyn Progress,
) -> Result<(PathBuf, Model<B>)> {
    let (config, run, root) = (job.config, job.run.path(), job.root);
    let sequences = job.reading.training.sequences.sequences();
    if sequences == 0 {
        let tokens = config.data.sequence_tokens;
        return Err(Error::Usage(format!(
            "the training split has nothing to train on in sequences of {tokens} tokens\nhint: another data.sequence-tokens"
        )));
    }
    let derived = Derived::new(config, sequences);
    let accounts = job.reading.training.sequences.accounts(derived.sequences);
    let mut derived = derived.with_accounts(&accounts);
    if job.transport.workers() > 1 {
        derived = derived.with_workers(config, job.transport.workers());
    }
    progress.report(&Event::Planned {
        run,
        build: job.build,
        root,
        config,
        derived: &derived,
        peak: job.peak.as_ref(),
    });
    // Only a warning: estimates err, and what else takes memory may soon be done.
    let short = memory::available(config.compute.device)
        .and_then(|available| memory::shortfall(config, available));
    if let Some(message) = short {
        progress.report(&Event::Warned { message: &message });
    }

    let mut model = Model::new(config.model, config.run.seed, backend)?;
    let team = Team::new(job.transport, config.data.parts_per_step, &model)?;
    let mut optimizer = Optimizer::of_owned(config.optimizer.clone(), &model, team.owned())?;
    let (resumes, mut state) = restore(&job, &team, &mut model, &mut optimizer, progress)?;
    let mut reading = job.reading;
    if let Some(message) = reading.omitted.message() {
        progress.report(&Event::Warned { message: &message });
    }
    let step = state.step;
    let at = At { run, root, step };
    let objective = Objective::prepare(&at, config, &model, &mut reading, progress)?;
    let open_metrics = |state: &State| {
        let (step, rollbacks) = (state.step, state.rollbacks.len());
        Metrics::open(run, step, rollbacks, root, config.run.tensorboard)
    };
    let mut metrics = None;
    if team.is_first() {
        job.run.write_config(config)?;
        job.run.write_tokenizer(job.tokenizer)?;
        metrics = Some(open_metrics(&state)?);
        // A run that was killed between saving and removing may have one too many, and nothing left to do.
        checkpoint::retain(run, config.run.keep_checkpoints)?;
    }
    if config.run.non_finite == NonFinite::Rollback && !resumes {
        // There is always something to go back to.
        checkpoint::save(run, &mut state, &model, &optimizer, &team)?;
    }
    let mut gradients = Gradients::new(&model, &team)?;
    let length = model.length(config.data.sequence_tokens)?;
    let (schedule, steps) = (&config.schedule, derived.steps);
    let mut saved = checkpoint::folder(run, state.step);
    let mut validation = job.validation;
    let has_validation = validation.sequences.sequences() > 0;
    if !has_validation {
        let message =
            "the build has no validation sequence of this length: the run is not evaluated";
        progress.report(&Event::Warned { message });
    }
    let evaluates = has_validation && team.is_first();
    let batches = Batches::start(reading.training, state.position, &config.data, team.reads())?;

    while !schedule.is_over(state.step, state.tokens) {
        let start = Instant::now();
        let mut batch = batches.next_batch()?;
        let data_wait_seconds = start.elapsed().as_secs_f64();

        let trained_tokens = team.total(batch.trained_tokens)?;
        let pass = Step {
            config,
            length: &length,
            count: objective.count(&batch, trained_tokens),
        };
        let mut margins = Margins::default();
        let mut add = |micro: &MicroBatch, gradients: &mut B::Store| {
            objective.add_gradients(&pass, &model, micro, gradients, &mut margins)
        };
        let losses = gradients.add_up(&model, &team, &batch, &mut add)?;
        gradients.reduce(&model.backend, &team)?;
        let (sum, squares) = team.sums(&model.backend, &losses, &gradients)?;
        let (loss, norm) = (sum / pass.count.max(1) as f64, squares.sqrt());
        if !(loss.is_finite() && norm.is_finite()) {
            batch.documents = team.documents(&batch.documents)?;
        }
        let learning_rate = schedule.learning_rate(state.step, state.tokens + batch.tokens);
        match judge(loss, norm, &mut state, &batch)? {
            Verdict::Apply => {
                let factor = config.optimizer.clip_factor(norm);
                optimizer.step(&mut model, gradients.sum()?, learning_rate, factor)?;
                team.spread(&mut model)?;
                state.trained_tokens += trained_tokens;
            }
            Verdict::Skip(warning) => progress.report(&Event::Warned { message: &warning }),
            Verdict::RollBack(warning) => {
                progress.report(&Event::Warned { message: &warning });
                let trained = (&mut model, &mut optimizer);
                roll_back(job.run, &mut state, &batch, trained, &team, progress)?;
                if let Some(metrics) = &mut metrics {
                    *metrics = open_metrics(&state)?;
                    metrics.rollback(&state.rollbacks, &batch)?;
                }
                continue;
            }
        }
        state.step += 1;
        state.position = batch.end;
        state.tokens += batch.tokens;

        let tokens_per_second = batch.tokens as f64 / start.elapsed().as_secs_f64().max(1e-9);
        let utilization =
            |peak: &Peak| peak.utilization(tokens_per_second, derived.flops_per_token);
        let told_apart = PreferenceFigures::new(sum, &margins);
        let step = StepMetrics {
            step: state.step,
            loss,
            learning_rate,
            gradient_norm: norm,
            position: batch.position,
            tokens: state.tokens,
            tokens_per_second,
            data_wait_seconds,
            mfu: job.peak.as_ref().map(utilization),
            skipped_steps: state.skipped_steps,
            preference_accuracy: told_apart.as_ref().map(|pairs| pairs.preference_accuracy),
            margin: told_apart.as_ref().map(|pairs| pairs.margin),
        };
        if let Some(metrics) = &mut metrics {
            metrics.step(&step)?;
        }
        progress.report(&Event::Stepped {
            metrics: &step,
            steps,
        });

        let last = schedule.is_over(state.step, state.tokens);
        let due = last || state.step % config.run.evaluate_every_steps == 0;
        if evaluates && due {
            let most = config.run.evaluation_sequences;
            let evaluation = evaluate(&model, &mut validation, most, &config.data)?;
            if let Some(metrics) = &mut metrics {
                metrics.evaluation(state.step, &evaluation)?;
            }
            progress.report(&Event::Evaluated {
                step: state.step,
                evaluation: &evaluation,
            });
        }

        if let (Some(text), Some(metrics)) = (&job.text, &mut metrics)
            && (last || config.sample.is_due(state.step))
        {
            samples::take(text, &model, config, state.step, metrics, progress)?;
        }

        let judged = metrics.as_mut().filter(|_| due);
        if let Some(metrics) = judged {
            let most = config.run.evaluation_sequences;
            let mut sources = vec![(Part::Validation, &mut reading.validation, most)];
            if last {
                sources.push((Part::Test, &mut reading.test, u64::MAX));
            }
            for (part, source, most) in sources {
                if let Some(judgement) = objective.judge(&model, source, most)? {
                    metrics.judgement(state.step, part, &judgement)?;
                    progress.report(&Event::Judged {
                        step: state.step,
                        split: part.name(),
                        judgement: &judgement,
                    });
                }
            }
        }

        let signal = team.signal(stop())?;
        if last || signal.is_some() || state.step % config.run.save_every_steps == 0 {
            if let Some(metrics) = &metrics {
                metrics.sync()?;
            }
            saved = checkpoint::save(run, &mut state, &model, &optimizer, &team)?;
            if team.is_first() {
                checkpoint::retain(run, config.run.keep_checkpoints)?;
            }
            progress.report(&Event::Saved {
                step: state.step,
                checkpoint: &saved,
            });
        }
        if let (Some(signal), false) = (signal, last) {
            return Err(Error::Interrupted(signal));
        }
    }
    progress.report(&Event::Finished {
        step: state.step,
        tokens: state.tokens,
        checkpoint: &saved,
    });
    Ok((saved, model))
}

/// Loads the newest valid checkpoint, and says whether there is one; if not, the state is that of step 0. The first worker does, and
/// tells the others.
fn restore<B: Backend>(
    job: &Job<'_>,
    team: &Team<'_>,
    model: &mut Model<B>,
    optimizer: &mut Optimizer<B>,
    progress: &mut dyn Progress,
) -> Result<(bool, State)> {
    let (mut path, mut found) = (PathBuf::new(), None);
    if team.is_first() {
        let (newest, state) = newest(job, progress)?;
        found = Some((newest.is_some(), state));
        path = newest.unwrap_or_default();
    }
    let (resumes, state) = team.tell(found)?;
    if resumes {
        checkpoint::load(&path, &state, model, optimizer, team)?;
        progress.report(&Event::Resumed {
            checkpoint: &path,
            step: state.step,
            position: state.position,
        });
    } else {
        team.spread_first(model)?;
    }
    Ok((resumes, state))
}

/// The newest valid checkpoint, if there is one that this job can go on from, and the state.
fn newest(job: &Job<'_>, progress: &mut dyn Progress) -> Result<(Option<PathBuf>, State)> {
    let (run, root) = (job.run.path(), job.root);
    checkpoint::remove_partial(run)?;
    let mut corrupt = Vec::new();
    let newest =
        checkpoint::newest_valid(run, |step, error| corrupt.push((step, error.to_string())))?;
    if let (None, Some((_, problem))) = (&newest, corrupt.first()) {
        // Starting anew over damaged checkpoints would hide the loss of a run.
        return Err(Error::Integrity {
            path: run.to_owned(),
            problem: format!(
                "no checkpoint is valid; the newest: {problem}; restore one or remove the run's folder"
            ),
        });
    }
    for (step, problem) in corrupt {
        let aside = checkpoint::set_aside(run, step)?;
        let message = format!(
            "{problem}; set aside as {}, going on from the one before",
            aside.display()
        );
        progress.report(&Event::Warned { message: &message });
    }
    let Some((path, mut state)) = newest else {
        let state = State::new(job.config.clone(), root.to_owned(), job.end_of_text);
        return Ok((None, state));
    };
    if state.root != root {
        if job.accept_root != Some(root) {
            return Err(Error::OtherBuild {
                trained: state.root,
                found: root.to_owned(),
            });
        }
        let message = format!(
            "going on with build {root} instead of {} at position {}",
            state.root, state.position
        );
        progress.report(&Event::Warned { message: &message });
        root.clone_into(&mut state.root);
    }
    let differences = job.config.differences(&state.config)?;
    if !differences.is_empty() {
        let keys = differences.join(", ");
        return Err(Error::Usage(format!(
            "the run was started with other values of {keys}\nhint: resume it without changes, or give this run another name with --run"
        )));
    }
    // With what may change: when to save, what to do without a finite loss, where to compute.
    state.config = job.config.clone();
    Ok((Some(path), state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WrittenConfig;
    use crate::data::{Row, Sequences};
    use crate::metrics::METRICS;
    use crate::objective::preference::Omitted;
    use crate::ops::Fused;
    use crate::ops::fused::Kernel;
    use crate::parallel::Alone;
    use crate::planted::Planted;
    use crate::random::Stream;

    /// An order-1 Markov source: after token i come i + 1, i + 2, i + 4 modulo the vocabulary with 1/2, 1/4, 1/4.
    struct Markov {
        tokens: Vec<u32>,
        length: usize,
    }

    const VOCABULARY: u32 = 32;
    /// Nats a token: ln 2 (1/2 + 2/4 + 2/4).
    const ENTROPY: f64 = 1.5 * std::f64::consts::LN_2;

    impl Markov {
        fn source(seed: u64, count: u64, length: usize) -> Source {
            let stream = Stream::new(seed, "markov");
            let mut last = 0;
            let tokens = (0..count)
                .map(|i| {
                    let step = [1, 1, 2, 4][(stream.bits(i) >> 62) as usize];
                    last = (last + step) % VOCABULARY;
                    last
                })
                .collect();
            let sequences = Box::new(Self { tokens, length });
            Source {
                tokens: count,
                text_bytes: 4 * count,
                datasets: Vec::new(),
                sequence_tokens: length,
                sequences,
            }
        }
    }

    impl Sequences for Markov {
        fn sequences(&self) -> u64 {
            ((self.tokens.len() - 1) / self.length) as u64
        }

        fn read(&mut self, position: u64, row: &mut Row) -> Result<()> {
            self.read_in_order(position % self.sequences(), row)
        }

        fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
            let first = usize::try_from(index).unwrap() * self.length;
            row.ids = self.tokens[first..=first + self.length].to_vec();
            row.trained = vec![true; self.length];
            row.documents = vec![first as u64 / 1000];
            row.datasets = vec![0];
            row.document_starts.clear();
            Ok(())
        }
    }

    #[derive(Default)]
    struct Recorded {
        losses: Vec<f64>,
        rates: Vec<f64>,
        evaluation: Option<crate::eval::Evaluation>,
        warnings: Vec<String>,
    }

    impl Progress for Recorded {
        fn report(&mut self, event: &Event<'_>) {
            match event {
                Event::Stepped { metrics, .. } => {
                    self.losses.push(metrics.loss);
                    self.rates.push(metrics.learning_rate);
                }
                Event::Evaluated { evaluation, .. } => {
                    self.evaluation = Some((*evaluation).clone());
                }
                Event::Warned { message } => self.warnings.push((*message).to_owned()),
                _ => {}
            }
        }
    }

    fn config(changes: &str) -> RunConfig {
        let text = format!(
            "[model]\nwidth = 32\nlayers = 2\nheads = 2\nhead-size = 16\n\
             [data]\nsequence-tokens = 64\nsequences-per-micro-batch = 8\n\
             [schedule]\nsteps = 350\nwarmup-steps = 20\npeak-learning-rate = 8e-3\n{changes}"
        );
        toml::from_str::<WrittenConfig>(&text)
            .unwrap()
            .resolve(VOCABULARY as usize, Path::new("test"))
            .unwrap()
    }

    fn run(
        folder: &Path,
        config: &RunConfig,
        root: &str,
        stop: &dyn Fn() -> Option<i32>,
    ) -> (Result<PathBuf>, Recorded) {
        run_on(Fused::<f32>::default(), folder, config, root, stop)
    }

    fn run_on<B: Backend>(
        backend: B,
        folder: &Path,
        config: &RunConfig,
        root: &str,
        stop: &dyn Fn() -> Option<i32>,
    ) -> (Result<PathBuf>, Recorded) {
        let mut recorded = Recorded::default();
        let run = Run::lock(folder).unwrap();
        let length = config.data.sequence_tokens;
        let job = Job {
            run: &run,
            config,
            build: Path::new("markov"),
            root,
            reading: Reading {
                training: Markov::source(1, 200_001, length),
                validation: Markov::source(2, 1, length),
                test: Markov::source(2, 1, length),
                marks: None,
                omitted: Omitted::default(),
            },
            validation: Markov::source(2, 20_001, length),
            accept_root: None,
            transport: &Alone,
            tokenizer: b"{}",
            end_of_text: 0,
            text: None,
            peak: None,
        };
        let result = train(backend, job, stop, &mut recorded).map(|(checkpoint, _)| checkpoint);
        (result, recorded)
    }

    #[test]
    fn loss_of_a_markov_source_approaches_its_entropy() {
        let folder = tempfile::tempdir().unwrap();
        let (result, recorded) = run(folder.path(), &config(""), "root", &|| None);
        result.unwrap();
        let evaluation = recorded.evaluation.unwrap();
        let loss = evaluation.validation_loss;
        assert!(recorded.losses[0] > 3.3, "{}", recorded.losses[0]);
        assert!(
            loss > ENTROPY - 0.01 && loss < ENTROPY + 0.02,
            "{loss}, entropy {ENTROPY}"
        );
        // Four bytes a token.
        assert!((evaluation.bits_per_byte - loss / std::f64::consts::LN_2 / 4.0).abs() < 1e-3);
        assert!(!evaluation.whole_split || evaluation.sequences == 312);
    }

    #[test]
    fn in_bf16_too_the_loss_of_a_markov_source_approaches_its_entropy() {
        for kernel in Kernel::available() {
            let folder = tempfile::tempdir().unwrap();
            let backend = Fused::<f32>::in_bf16(kernel);
            let (result, recorded) = run_on(backend, folder.path(), &config(""), "root", &|| None);
            result.unwrap();
            let loss = recorded.evaluation.unwrap().validation_loss;
            assert!(
                loss > ENTROPY - 0.01 && loss < ENTROPY + 0.03,
                "{kernel:?}: {loss}, entropy {ENTROPY}"
            );
        }
    }

    #[test]
    fn stopped_and_resumed_equals_uninterrupted() {
        let config =
            config("final-ratio = 0.5\n[run]\nsave-every-steps = 4\nevaluate-every-steps = 5\n");
        let config = RunConfig {
            schedule: crate::schedule::Schedule {
                steps: 11,
                ..config.schedule.clone()
            },
            ..config
        };
        let config = RunConfig {
            schedule: crate::schedule::Schedule {
                warmup_steps: 3,
                ..config.schedule.clone()
            },
            ..config
        };
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let uninterrupted = run(whole.path(), &config, "root", &|| None).0.unwrap();
        let asked = std::cell::Cell::new(0);
        let after_seven = || {
            asked.set(asked.get() + 1);
            (asked.get() == 7).then_some(15)
        };
        let stopped = run(parts.path(), &config, "root", &after_seven)
            .0
            .unwrap_err();
        assert_eq!(stopped.exit_code(), 143);
        let (resumed, recorded) = run(parts.path(), &config, "root", &|| None);
        assert_eq!(recorded.losses.len(), 4);
        let resumed = resumed.unwrap();
        for name in ["model.safetensors", "optimizer.safetensors", "state.json"] {
            assert!(
                std::fs::read(uninterrupted.join(name)).unwrap()
                    == std::fs::read(resumed.join(name)).unwrap(),
                "{name} differs"
            );
        }
    }

    #[test]
    fn a_run_by_tokens_with_growing_batches_is_resumed_exactly() {
        let mut config = config("[run]\nsave-every-steps = 2\nkeep-checkpoints = 20\n");
        config.schedule = crate::schedule::Schedule {
            tokens: Some(7000),
            warmup_tokens: Some(2000),
            ..Default::default()
        };
        config.data.sequences_per_micro_batch = 3;
        config.data.micro_batches_per_step = 4;
        config.data.batch_warmup_tokens = 3000;
        // By hand: a thousand tokens are read after 16 sequences of 64, so the first six steps have 3; those that begin at 18, 24 and
        // 30 have 6, at 36 and 45 they have 9, from 54 on 12; 7000 tokens are read with the 110th, in the step up to 114.
        let sizes = [3, 3, 3, 3, 3, 3, 6, 6, 6, 9, 9, 12, 12, 12, 12, 12];
        let derived = Derived::new(&config, 3000);
        assert_eq!((derived.steps, derived.total_tokens), (16, 114 * 64));

        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (result, recorded) = run(whole.path(), &config, "root", &|| None);
        let uninterrupted = result.unwrap();
        assert_eq!(recorded.losses.len(), 16);
        let mut read = 0;
        for (step, rate) in recorded.rates.into_iter().enumerate() {
            read += 64 * sizes[step];
            let expected = config.schedule.learning_rate(0, read);
            assert_eq!(rate, expected, "step {step}");
        }
        for stops in [1, 7, 11] {
            let asked = std::cell::Cell::new(0);
            let stop = || {
                asked.set(asked.get() + 1);
                (asked.get() == stops).then_some(15)
            };
            run(parts.path(), &config, "root", &stop).0.unwrap_err();
            let resumed = run(parts.path(), &config, "root", &|| None).0.unwrap();
            for name in ["model.safetensors", "optimizer.safetensors", "state.json"] {
                assert!(
                    std::fs::read(uninterrupted.join(name)).unwrap()
                        == std::fs::read(resumed.join(name)).unwrap(),
                    "{name} differs after {stops}"
                );
            }
            std::fs::remove_dir_all(parts.path()).unwrap();
        }
    }

    #[test]
    fn a_run_that_is_over_keeps_no_more_checkpoints_than_it_should() {
        let mut config = config("[run]\nsave-every-steps = 1\nkeep-checkpoints = 3\n");
        config.schedule.steps = 3;
        config.schedule.warmup_steps = 0;
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &config, "root", &|| None).0.unwrap();
        assert_eq!(checkpoint::steps(folder.path()).unwrap(), [3, 2, 1]);
        // As if it had been killed before it removed the first.
        config.run.keep_checkpoints = 2;
        run(folder.path(), &config, "root", &|| None).0.unwrap();
        assert_eq!(checkpoint::steps(folder.path()).unwrap(), [3, 2]);
    }

    #[test]
    fn another_build_or_configuration_is_refused() {
        let mut config = config("");
        config.schedule.steps = 1;
        config.schedule.warmup_steps = 0;
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), &config, "root", &|| None).0.unwrap();
        let error = run(folder.path(), &config, "other", &|| None)
            .0
            .unwrap_err();
        assert!(
            matches!(error, Error::OtherBuild { .. }) && error.exit_code() == 30,
            "{error}"
        );
        config.optimizer.beta1 = 0.5;
        let error = run(folder.path(), &config, "root", &|| None).0.unwrap_err();
        assert!(
            error.to_string().contains("optimizer.beta1") && error.exit_code() == 2,
            "{error}"
        );
    }

    #[test]
    fn a_run_goes_on_with_other_intervals_and_its_state_tells_them() {
        let mut config = config("");
        config.schedule.steps = 2;
        config.schedule.warmup_steps = 0;
        let (folder, whole) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let stopped = run(folder.path(), &config, "root", &|| Some(15)).0;
        assert_eq!(stopped.unwrap_err().exit_code(), 143);
        config.run.save_every_steps = 1;
        config.run.non_finite = NonFinite::Skip;
        config.sample.prompt = "Once".to_owned();
        let resumed = run(folder.path(), &config, "root", &|| None).0.unwrap();
        let state = checkpoint::read_state(&resumed).unwrap();
        assert_eq!((state.step, &state.config), (2, &config));
        // As if it had always been configured so.
        let uninterrupted = run(whole.path(), &config, "root", &|| None).0.unwrap();
        for name in ["model.safetensors", "optimizer.safetensors", "state.json"] {
            assert!(
                std::fs::read(uninterrupted.join(name)).unwrap()
                    == std::fs::read(resumed.join(name)).unwrap(),
                "{name} differs"
            );
        }
    }

    #[test]
    fn a_loss_that_is_no_number_stops_and_names_the_batch() {
        let mut config = config("");
        config.schedule.peak_learning_rate = 1e30;
        config.schedule.warmup_steps = 0;
        let folder = tempfile::tempdir().unwrap();
        let error = run(folder.path(), &config, "root", &|| None).0.unwrap_err();
        assert_eq!(error.exit_code(), 20, "{error}");
        let Error::NonFinite {
            step,
            position,
            rows,
            ..
        } = error
        else {
            panic!("{error}")
        };
        assert_eq!(position, (step - 1) * 8);
        assert!(!rows.is_empty());
    }

    /// The `step`s of metrics.jsonl that have a loss, with `skipped_steps` and whether the norm is a number.
    fn told(folder: &Path) -> Vec<(u64, u64, bool)> {
        let text = std::fs::read_to_string(folder.join(METRICS)).unwrap();
        let lines = text.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            Some((
                line["step"].as_u64()?,
                line.get("skipped_steps")?.as_u64()?,
                line["gradient_norm"].is_number(),
            ))
        });
        lines.flatten().collect()
    }

    fn skipping(steps: u64) -> RunConfig {
        let mut config =
            config("[run]\nnon-finite = \"skip\"\nsave-every-steps = 1\nkeep-checkpoints = 20\n");
        config.schedule.steps = steps;
        config.schedule.warmup_steps = 1;
        config
    }

    #[test]
    fn a_step_without_a_finite_gradient_is_skipped() {
        let (folder, updates) = (tempfile::tempdir().unwrap(), Default::default());
        let config = skipping(6);
        let backend = Planted::new(&[3, 4], &updates);
        let (result, recorded) = run_on(backend, folder.path(), &config, "root", &|| None);
        let last = result.unwrap();
        assert_eq!(*updates.borrow(), [1, 2, 5, 6]);
        assert_eq!(
            told(folder.path()),
            [
                (1, 0, true),
                (2, 0, true),
                (3, 1, false),
                (4, 2, false),
                (5, 2, true),
                (6, 2, true)
            ]
        );
        // Step 3 begins at position 16; its rows are those of the source: a thousand tokens each.
        let warning = &recorded.warnings[0];
        assert_eq!(recorded.warnings.len(), 2, "{:?}", recorded.warnings);
        assert!(
            warning.contains("step 3, position 16 (rows 1") && warning.contains("1 in a row"),
            "{warning}"
        );

        let at = |step| checkpoint::folder(folder.path(), step);
        let same = |name: &str, one, other| {
            std::fs::read(at(one).join(name)).unwrap()
                == std::fs::read(at(other).join(name)).unwrap()
        };
        for name in ["model.safetensors", "optimizer.safetensors"] {
            assert!(same(name, 2, 4), "{name} was touched");
            assert!(!same(name, 4, 5), "{name} stands still");
        }
        let state = checkpoint::read_state(&last).unwrap();
        assert_eq!((state.step, state.position), (6, 48));
        assert_eq!((state.skipped_steps, state.skipped_in_a_row), (2, 0));
        assert_eq!((state.tokens, state.trained_tokens), (6 * 512, 4 * 512));
    }

    #[test]
    fn a_run_with_a_skipped_step_is_resumed_exactly() {
        // The corrections of AdamW's moments count updates, and a skipped step is none.
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (config, updates) = (skipping(6), Default::default());
        let planted = || Planted::new(&[3], &updates);
        let (result, _) = run_on(planted(), whole.path(), &config, "root", &|| None);
        let uninterrupted = result.unwrap();
        let asked = std::cell::Cell::new(0);
        let after_four = || {
            asked.set(asked.get() + 1);
            (asked.get() == 4).then_some(15)
        };
        let (result, _) = run_on(planted(), parts.path(), &config, "root", &after_four);
        assert_eq!(result.unwrap_err().exit_code(), 143);
        let unspoilt = Planted::new(&[], &updates);
        let (result, _) = run_on(unspoilt, parts.path(), &config, "root", &|| None);
        let resumed = result.unwrap();
        for name in ["model.safetensors", "optimizer.safetensors", "state.json"] {
            assert!(
                std::fs::read(uninterrupted.join(name)).unwrap()
                    == std::fs::read(resumed.join(name)).unwrap(),
                "{name} differs"
            );
        }
    }

    fn rolling_back(steps: u64) -> RunConfig {
        let mut config = skipping(steps);
        config.run.non_finite = NonFinite::Rollback;
        config.run.save_every_steps = 2;
        config
    }

    /// Lines of the metrics without the numbers that depend on the clock.
    fn lines(folder: &Path) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(METRICS)).unwrap();
        let lines = text.lines().map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
            for clock in ["tokens_per_second", "data_wait_seconds"] {
                line.as_object_mut().unwrap().remove(clock);
            }
            line
        });
        lines.collect()
    }

    #[test]
    fn a_run_goes_back_behind_the_batch_and_does_so_again_after_a_kill() {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (config, updates) = (rolling_back(8), Default::default());
        // The gradient of step 6 is spoilt.
        let backend = Planted::new(&[6], &updates);
        let (result, recorded) = run_on(backend, whole.path(), &config, "root", &|| None);
        let uninterrupted = result.unwrap();
        assert_eq!(recorded.warnings.len(), 1, "{:?}", recorded.warnings);
        assert!(
            recorded.warnings[0].contains("step 6, position 40 (rows 2")
                && recorded.warnings[0].contains("(1 of at most 5 times)"),
            "{:?}",
            recorded.warnings
        );
        let state = checkpoint::read_state(&uninterrupted).unwrap();
        let left_out = checkpoint::Rollback {
            step: 4,
            failed_step: 6,
            position: 32,
            end: 48,
        };
        assert_eq!(state.rollbacks, [left_out]);
        // Eight steps of 8 sequences, and two batches that are left out.
        assert_eq!((state.step, state.position), (8, 80));
        assert_eq!((state.tokens, state.trained_tokens), (8 * 512, 8 * 512));
        let told = lines(whole.path());
        let steps: Vec<_> = told
            .iter()
            .map(|line| line["step"].as_u64().unwrap())
            .collect();
        // The first line names the build.
        assert_eq!(steps, [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8], "{told:?}");
        assert_eq!(
            (
                &told[5]["rollback"],
                &told[5]["failed_step"],
                &told[5]["end"]
            ),
            (&1.into(), &6.into(), &48.into())
        );
        assert!(
            told[5]["rows"].as_str().unwrap().starts_with('2'),
            "{told:?}"
        );

        // What a process leaves that was killed after it went back, before it saved anything again.
        let asked = std::cell::Cell::new(0);
        let after_four = || {
            asked.set(asked.get() + 1);
            (asked.get() == 4).then_some(15)
        };
        let backend = Planted::new(&[], &updates);
        let (result, _) = run_on(backend, parts.path(), &config, "root", &after_four);
        assert_eq!(result.unwrap_err().exit_code(), 143);
        let metrics = std::fs::read_to_string(whole.path().join(METRICS)).unwrap();
        let left: Vec<&str> = metrics.lines().take(8).collect();
        std::fs::write(parts.path().join(METRICS), left.join("\n") + "\n").unwrap();
        // Step 6 is the second one now.
        let backend = Planted::new(&[2], &updates);
        let (result, _) = run_on(backend, parts.path(), &config, "root", &|| None);
        let resumed = result.unwrap();
        for name in ["model.safetensors", "optimizer.safetensors", "state.json"] {
            assert!(
                std::fs::read(uninterrupted.join(name)).unwrap()
                    == std::fs::read(resumed.join(name)).unwrap(),
                "{name} differs"
            );
        }
        assert_eq!(lines(parts.path()), told);
    }

    #[test]
    fn a_run_says_which_checkpoint_it_cannot_go_back_to() {
        let (folder, updates) = (tempfile::tempdir().unwrap(), Default::default());
        let config = rolling_back(6);
        let damaged = checkpoint::folder(folder.path(), 4).join("model.safetensors");
        let asked = std::cell::Cell::new(0);
        let damage_after_five = || {
            asked.set(asked.get() + 1);
            if asked.get() == 5 {
                std::fs::write(&damaged, b"torn").unwrap();
            }
            None
        };
        let backend = Planted::new(&[6], &updates);
        let (result, recorded) =
            run_on(backend, folder.path(), &config, "root", &damage_after_five);
        let state = checkpoint::read_state(&result.unwrap()).unwrap();
        // Steps 1 to 6 were read, and 1 and 2 are what is left of them.
        assert_eq!((state.rollbacks[0].step, state.position), (2, 80));
        assert_eq!(recorded.warnings.len(), 2, "{:?}", recorded.warnings);
        assert!(
            recorded.warnings[1].contains("model.safetensors")
                && recorded.warnings[1].contains("the one before"),
            "{:?}",
            recorded.warnings
        );
    }

    #[test]
    fn a_run_that_went_back_five_times_stops() {
        let mut config = rolling_back(30);
        // The first step is finite and spoils the parameters.
        config.schedule.peak_learning_rate = 1e30;
        let folder = tempfile::tempdir().unwrap();
        let (result, recorded) = run(folder.path(), &config, "root", &|| None);
        let error = result.unwrap_err();
        let Error::NonFinite { step, position, .. } = error else {
            panic!("{error}")
        };
        // Back to step 0 each time, two batches on.
        assert_eq!((step, position, recorded.warnings.len()), (2, 88, 5));
        assert!(error.to_string().contains("five times"), "{error}");
    }

    #[test]
    fn ten_steps_in_a_row_without_a_finite_loss_stop_the_run_also_when_resumed() {
        let mut config = skipping(30);
        config.schedule.peak_learning_rate = 1e30;
        let folder = tempfile::tempdir().unwrap();
        // The first step is finite and spoils the parameters.
        let asked = std::cell::Cell::new(0);
        let after_four = || {
            asked.set(asked.get() + 1);
            (asked.get() == 4).then_some(15)
        };
        let (result, before) = run(folder.path(), &config, "root", &after_four);
        assert_eq!(result.unwrap_err().exit_code(), 143);
        let (result, after) = run(folder.path(), &config, "root", &|| None);
        let error = result.unwrap_err();
        let Error::NonFinite { step, .. } = error else {
            panic!("{error}")
        };
        assert_eq!(
            (step, before.warnings.len(), after.warnings.len()),
            (11, 3, 6)
        );
        assert_eq!(told(folder.path()).last(), Some(&(10, 9, false)));
    }
}
