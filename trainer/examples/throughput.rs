//! Tokens per second, peak memory and each operation's share of training steps: `cargo run --release --example throughput -- CONFIG VOCABULARY STEPS`.
//! The tokens are random, so that nothing but the model is measured.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use andromeda_trainer::config::RunConfig;
use andromeda_trainer::config::{Derived, WrittenConfig};
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::model::{Model, Sequences};
use andromeda_trainer::ops::{Backend, Targets, Timed};
use andromeda_trainer::optimizer::Optimizer;
use andromeda_trainer::random::Stream;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, vocabulary, steps] = arguments.as_slice() else {
        return Err("usage: throughput CONFIG VOCABULARY STEPS".into());
    };
    let path = Path::new(path);
    let config = WrittenConfig::read(path, &[])?.resolve(vocabulary.parse()?, path)?;
    let steps = steps.parse()?;
    Ok(on_device(
        &config.compute,
        Measuring {
            config: &config,
            steps,
        },
    )?)
}

struct Measuring<'a> {
    config: &'a RunConfig,
    steps: u64,
}

impl OnBackend for Measuring<'_> {
    type Output = ();

    fn on<B: Backend>(self, backend: B) -> andromeda_trainer::error::Result<()> {
        let config = self.config;
        let derived = Derived::new(config, 1);
        let mut model = Model::new(config.model, 1, Timed::new(backend))?;
        let mut optimizer = Optimizer::new(config.optimizer.clone(), &model)?;
        let mut gradients = model.store()?;
        let length = model.length(config.data.sequence_tokens)?;
        let count = config.data.sequences_per_micro_batch * config.data.sequence_tokens;
        let stream = Stream::new(1, "throughput");
        let vocabulary = config.model.vocabulary as u64;
        let ids: Vec<u32> = (0..=count as u64)
            .map(|index| u32::try_from(stream.bits(index) % vocabulary).unwrap_or(0))
            .collect();
        let trained = vec![true; count];
        let targets = Targets {
            ids: &ids[1..],
            trained: &trained,
        };
        let sequences = Sequences {
            ids: &ids[..count],
            starts: None,
        };
        let mut best = (f64::INFINITY, f64::INFINITY);
        let mut parts = Vec::new();
        for step in 0..self.steps {
            model.backend.take();
            let (start, processor) = (Instant::now(), processor_seconds());
            model.backend.clear(&mut gradients)?;
            let options = config.loss.scaled(count as u64);
            let keep = config.compute.keep();
            let losses =
                model.add_gradients(sequences, targets, &length, options, keep, &mut gradients)?;
            let backward = start.elapsed();
            let norm = model.backend.squares(&gradients)?.sqrt();
            optimizer.step(
                &mut model,
                &gradients,
                1e-3,
                config.optimizer.clip_factor(norm),
            )?;
            let seconds = start.elapsed().as_secs_f64();
            let processor = processor_seconds() - processor;
            // The first step brings memory into the process; it counts where it is the only one.
            if step > 0 || self.steps == 1 {
                if seconds < best.0 {
                    parts = model.backend.take();
                }
                best = (best.0.min(seconds), best.1.min(processor));
            }
            println!(
                "{seconds:.3} s, {processor:.3} CPU-s, {backward:.1?} before the optimizer, loss {:.4}",
                losses.nats * options.scale
            );
        }
        for (part, time) in parts {
            let share = 100.0 * time.as_secs_f64() / best.0;
            println!("{:>32} {share:5.1} % {time:10.2?}", part.name());
        }
        let tokens = count as f64;
        let gigaflops = derived.flops_per_token as f64 * tokens / 1e9;
        println!(
            "{} parameters, best {:.0} tokens/s, {:.0} tokens/CPU-s, {:.0} GFLOP/s, {:.0} GFLOP/CPU-s, peak {} MB, estimated {} MB",
            derived.parameters,
            tokens / best.0,
            tokens / best.1,
            gigaflops / best.0,
            gigaflops / best.1,
            peak_megabytes(),
            derived.memory_bytes >> 20,
        );
        Ok(())
    }
}

fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory that the process has had, from the system's own account.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    kilobytes.unwrap_or(0_u64) / 1024
}
