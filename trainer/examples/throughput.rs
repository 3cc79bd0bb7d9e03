//! Tokens per second and peak memory of training steps: `cargo run --release --example throughput -- CONFIG VOCABULARY STEPS`.
//! The tokens are random, so that nothing but the model is measured.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use andromeda_trainer::config::{Derived, WrittenConfig};
use andromeda_trainer::gradient::{Gradients, add_loss_and_gradients};
use andromeda_trainer::loss::Targets;
use andromeda_trainer::model::Model;
use andromeda_trainer::optimizer::AdamW;
use andromeda_trainer::random::Stream;
use candle_core::{DType, Device};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, vocabulary, steps] = arguments.as_slice() else {
        return Err("usage: throughput CONFIG VOCABULARY STEPS".into());
    };
    let path = Path::new(path);
    let config = WrittenConfig::read(path, &[])?.resolve(vocabulary.parse()?, path)?;
    let derived = Derived::new(&config, 1);
    let (model, parameters) = Model::new(config.model, 1, DType::F32, &Device::Cpu)?;
    let mut optimizer = AdamW::new(config.optimizer.clone(), &parameters);
    let mut gradients = Gradients::new(&parameters);
    let positions = model.positions(config.data.sequence_tokens);
    let count = config.data.sequences_per_micro_batch * config.data.sequence_tokens;
    let stream = Stream::new(1, "throughput");
    let vocabulary = config.model.vocabulary as u64;
    let mut ids = Vec::with_capacity(count + 1);
    for index in 0..=count as u64 {
        ids.push(u32::try_from(stream.bits(index) % vocabulary)?);
    }
    let targets = Targets {
        ids: &ids[1..],
        trained: &vec![true; count],
    };
    let mut best = f64::INFINITY;
    for _ in 0..steps.parse::<u64>()? {
        let start = Instant::now();
        gradients.clear();
        let scale = 1.0 / count as f64;
        add_loss_and_gradients(
            &model,
            &parameters,
            &positions,
            &ids[..count],
            targets,
            scale,
            &mut gradients,
        )?;
        let backward = start.elapsed();
        optimizer.step(
            &parameters,
            &gradients,
            1e-3,
            config.optimizer.clip_factor(gradients.norm()),
        )?;
        let seconds = start.elapsed().as_secs_f64();
        best = best.min(seconds);
        let rate = count as f64 / seconds;
        println!("{rate:8.0} tokens/s, {backward:.1?} of {seconds:.3} s before the optimizer");
    }
    let gigaflops = derived.flops_per_token as f64 * count as f64 / best / 1e9;
    println!(
        "{} parameters, best {:.0} tokens/s, {gigaflops:.0} GFLOP/s",
        derived.parameters,
        count as f64 / best
    );
    Ok(())
}
