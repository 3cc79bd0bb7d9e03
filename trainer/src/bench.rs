//! Training steps on made-up tokens, so that nothing but the model is measured: tokens a second, utilization of the machine, and
//! each operation's share.

use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::config::{Derived, DeviceName, RunConfig};
use crate::error::{Error, Result};
use crate::model::{Model, Sequences};
use crate::ops::timed::{Part, Timed};
use crate::ops::{Backend, Targets};
use crate::optimizer::Optimizer;
use crate::peak::Peak;
use crate::random::Stream;

/// What steps took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bench {
    /// Parameters of the model.
    pub parameters: u64,
    /// Tokens of a step.
    pub tokens_per_step: u64,
    /// Seconds of each step, in order. The first brings memory into the process.
    pub seconds: Vec<f64>,
    /// Tokens per second of the fastest step.
    pub tokens_per_second: f64,
    /// Tokens per second of processor time, user and system and of all threads, of the step that took the least.
    pub tokens_per_processor_second: f64,
    /// The fastest step's model FLOPs utilization ([`crate::peak`]); none where no peak is known.
    pub mfu: Option<f64>,
    /// The most memory that the process has had, in bytes, where the system says; of a GPU's own memory it knows nothing.
    pub peak_memory_bytes: Option<u64>,
    /// What the run was estimated to take, in bytes.
    pub estimated_memory_bytes: u64,
    /// The parts of the fastest step, the largest first; none of devices that go on after a call.
    pub parts: Vec<Share>,
}

/// A part of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Which operations.
    pub part: Part,
    /// What they took together.
    pub seconds: f64,
    /// Of the step, 0 to 1.
    pub share: f64,
}

/// Makes `steps` training steps of `config` and tells `each` its number, from 1, and its seconds.
///
/// # Errors
/// `steps` is 0, or the device failed.
pub fn bench<B: Backend>(
    backend: B,
    config: &RunConfig,
    steps: u64,
    peak: Option<&Peak>,
    each: &mut dyn FnMut(u64, f64),
) -> Result<Bench> {
    if steps == 0 {
        return Err(Error::Usage(
            "there is nothing to measure in 0 steps".to_owned(),
        ));
    }
    let derived = Derived::new(config, 1);
    let mut model = Model::new(config.model, config.run.seed, Timed::new(backend))?;
    let mut optimizer = Optimizer::new(config.optimizer.clone(), &model)?;
    let mut gradients = model.store()?;
    let data = &config.data;
    let length = model.length(data.sequence_tokens)?;
    let count = data.sequences_per_micro_batch * data.sequence_tokens;
    let ids = made_up(count + 1, config.model.vocabulary);
    let trained = vec![true; count];
    let sequences = Sequences {
        ids: &ids[..count],
        starts: None,
    };
    let targets = Targets {
        ids: &ids[1..],
        trained: &trained,
    };
    let options = config.loss.scaled(data.tokens_per_step());
    let keep = config.compute.keep();
    let mut all = Vec::new();
    let mut fastest = (f64::INFINITY, Vec::new());
    let mut least = f64::INFINITY;
    for step in 1..=steps {
        model.backend.take();
        let (start, processor) = (Instant::now(), processor_seconds());
        model.backend.clear(&mut gradients)?;
        for _ in 0..data.micro_batches_per_step {
            model.add_gradients(sequences, targets, &length, options, keep, &mut gradients)?;
        }
        let norm = model.backend.squares(&gradients)?.sqrt();
        let factor = config.optimizer.clip_factor(norm);
        let rate = config.schedule.learning_rate(0, data.tokens_per_step());
        optimizer.step(&mut model, &gradients, rate, factor)?;
        let seconds = start.elapsed().as_secs_f64().max(1e-9);
        let processor = processor_seconds() - processor;
        let parts = model.backend.take();
        if step > 1 || steps == 1 {
            least = least.min(processor.max(1e-9));
            if seconds < fastest.0 {
                fastest = (seconds, parts);
            }
        }
        all.push(seconds);
        each(step, seconds);
    }
    let (seconds, parts) = fastest;
    let tokens_per_second = data.tokens_per_step() as f64 / seconds;
    let waits = matches!(
        config.compute.device,
        DeviceName::Cpu | DeviceName::Portable
    );
    let mut parts: Vec<Share> = parts
        .into_iter()
        .filter(|_| waits)
        .map(|(part, time)| Share {
            part,
            seconds: time.as_secs_f64(),
            share: time.as_secs_f64() / seconds,
        })
        .collect();
    parts.sort_by(|one, other| other.seconds.total_cmp(&one.seconds));
    Ok(Bench {
        parameters: derived.parameters,
        tokens_per_step: data.tokens_per_step(),
        seconds: all,
        tokens_per_second,
        tokens_per_processor_second: data.tokens_per_step() as f64 / least,
        mfu: peak.map(|peak| peak.utilization(tokens_per_second, derived.flops_per_token)),
        peak_memory_bytes: peak_memory(),
        estimated_memory_bytes: derived.memory_bytes,
        parts,
    })
}

/// Tokens that nothing can be learnt of.
fn made_up(count: usize, vocabulary: usize) -> Vec<u32> {
    let stream = Stream::new(1, "bench");
    let id = |index: u64| u32::try_from(stream.bits(index) % vocabulary.max(1) as u64);
    (0..count as u64)
        .map(|index| id(index).unwrap_or(0))
        .collect()
}

/// Processor time of this process so far, user and system, of all threads.
fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory that this process has had, from Linux's own account.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}
