//! Samples while a run goes on: every prompt of `[sample]`, each with its own draws, so that a run's progress can be read. They
//! depend on the model, the options and the seed alone.

use crate::config::RunConfig;
use crate::error::Result;
use crate::metrics::{Metrics, Sample};
use crate::model::Model;
use crate::ops::Backend;
use crate::progress::{Event, Progress};
use crate::sample::{SampleOptions, Text};

/// Lets `model` go on from every prompt after `step` steps, writes what comes of it down, and reports it. A prompt that cannot be
/// gone on from is warned of: no reason to stop a training.
///
/// # Errors
/// The samples cannot be written.
pub fn take<B: Backend>(
    text: &Text,
    model: &Model<B>,
    config: &RunConfig,
    step: u64,
    metrics: &mut Metrics,
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut samples = Vec::new();
    for prompt in config.sample.all_prompts() {
        let options = SampleOptions {
            prompt: prompt.to_owned(),
            ..config.sample.clone()
        };
        let context = config.data.sequence_tokens;
        match text.sample(model, &options, context, &mut |_| Ok(())) {
            Ok(made) => samples.push(Sample {
                step,
                prompt: prompt.to_owned(),
                text: made,
            }),
            Err(error) => {
                let message = format!("no sample of {prompt:?}: {error}");
                progress.report(&Event::Warned { message: &message });
            }
        }
    }
    metrics.samples(&samples)?;
    for sample in &samples {
        progress.report(&Event::Sampled {
            step,
            prompt: &sample.prompt,
            text: &sample.text,
        });
    }
    Ok(())
}
