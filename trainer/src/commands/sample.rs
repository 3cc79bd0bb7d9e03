//! `andromeda-train sample`: text from a run.

use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::run::tokenizer_path;
use andromeda_trainer::sample::{SampleOptions, Text};
use serde::Serialize;

use super::{existing, load_model};
use crate::cli::SampleArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    step: u64,
    prompt: &'a str,
    text: &'a str,
}

pub(crate) fn sample(arguments: &SampleArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (model, state) = load_model(&folder)?;
    let configured = &state.config.sample;
    let options = SampleOptions {
        prompt: arguments
            .prompt
            .clone()
            .unwrap_or_else(|| configured.prompt.clone()),
        tokens: arguments.tokens.unwrap_or(configured.tokens),
        temperature: arguments.temperature.unwrap_or(configured.temperature),
        top_k: arguments.top_k.unwrap_or(configured.top_k),
        seed: arguments.seed.unwrap_or(configured.seed),
    };
    let problems = options.problems();
    if !problems.is_empty() {
        return Err(Error::Usage(problems.join("; ")));
    }
    let text = Text::open(&tokenizer_path(&folder), state.end_of_text)?;
    let text = text.sample(&model, &options, state.config.data.sequence_tokens)?;
    if arguments.folders.json {
        return render::json(&Report {
            run: &arguments.run,
            step: state.step,
            prompt: &options.prompt,
            text: &text,
        });
    }
    render::line(&format!("{}{text}", options.prompt))
}
