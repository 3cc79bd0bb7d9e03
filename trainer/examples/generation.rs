//! Tokens per second of generation, with keys and values kept and without: `cargo run --release --example generation -- CONFIG
//! VOCABULARY TOKENS`. The weights are random, which changes nothing in the time.
#![expect(clippy::print_stdout, reason = "an example talks")]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use andromeda_trainer::config::{RunConfig, WrittenConfig};
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::model::{Model, Sequences};
use andromeda_trainer::ops::Backend;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, path, vocabulary, tokens] = arguments.as_slice() else {
        return Err("usage: generation CONFIG VOCABULARY TOKENS".into());
    };
    let path = Path::new(path);
    let config = WrittenConfig::read(path, &[])?.resolve(vocabulary.parse()?, path)?;
    let measuring = Measuring {
        config: &config,
        tokens: tokens.parse()?,
    };
    Ok(on_device(&config.compute, measuring)?)
}

struct Measuring<'a> {
    config: &'a RunConfig,
    tokens: usize,
}

impl OnBackend for Measuring<'_> {
    type Output = ();

    fn on<B: Backend>(self, backend: B) -> andromeda_trainer::error::Result<()> {
        let model = Model::new(self.config.model, 1, backend)?;
        let ids: Vec<u32> = (1..).take(self.tokens).map(|id| id % 64).collect();
        let began = Instant::now();
        let mut cache = model.cache(self.tokens)?;
        for end in 1..=ids.len() {
            model.next_logits(&mut cache, &ids[..end])?;
        }
        let kept = began.elapsed().as_secs_f64();
        let began = Instant::now();
        for end in 1..=ids.len() {
            let sequences = Sequences {
                ids: &ids[..end],
                starts: None,
            };
            model.last_logits(sequences, &model.length(end)?)?;
        }
        let anew = began.elapsed().as_secs_f64();
        let tokens = self.tokens as f64;
        println!(
            "{} tokens: {:.1} tokens/s kept, {:.1} tokens/s anew, {:.1} times",
            self.tokens,
            tokens / kept,
            tokens / anew,
            anew / kept
        );
        Ok(())
    }
}
