//! `andromeda-train sample`: text from a run.

use std::path::Path;

use andromeda_trainer::checkpoint::State;
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::ops::Backend;
use andromeda_trainer::run::tokenizer_path;
use andromeda_trainer::sample::{SampleOptions, Text};
use serde::Serialize;

use super::{existing, load_average, load_model, newest};
use crate::cli::SampleArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    step: u64,
    prompt: &'a str,
    text: &'a str,
}

/// A checkpoint and what it is to go on from.
struct Sampling<'a> {
    checkpoint: &'a Path,
    state: &'a State,
    ema: bool,
    text: Text,
    options: &'a SampleOptions,
    show: &'a mut dyn FnMut(&str) -> Result<()>,
}

impl OnBackend for Sampling<'_> {
    type Output = String;

    fn on<B: Backend>(self, backend: B) -> Result<String> {
        let load = if self.ema { load_average } else { load_model };
        let model = load(self.checkpoint, self.state, backend)?;
        let context = self.state.config.data.sequence_tokens;
        (self.show)(&self.options.prompt)?;
        self.text.sample(&model, self.options, context, self.show)
    }
}

pub(crate) fn sample(arguments: &SampleArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (checkpoint, state) = newest(&folder)?;
    let configured = &state.config.sample;
    let first = configured
        .all_prompts()
        .first()
        .copied()
        .unwrap_or_default();
    let options = SampleOptions {
        prompt: arguments.prompt.clone().unwrap_or_else(|| first.to_owned()),
        prompts: Vec::new(),
        tokens: arguments.tokens.unwrap_or(configured.tokens),
        temperature: arguments.temperature.unwrap_or(configured.temperature),
        top_k: arguments.top_k.unwrap_or(configured.top_k),
        top_p: arguments.top_p.unwrap_or(configured.top_p),
        seed: arguments.seed.unwrap_or(configured.seed),
        ..configured.clone()
    };
    let problems = options.problems();
    if !problems.is_empty() {
        return Err(Error::Usage(problems.join("; ")));
    }
    let json = arguments.folders.json;
    let mut show = |piece: &str| if json { Ok(()) } else { render::piece(piece) };
    let sampling = Sampling {
        checkpoint: &checkpoint,
        state: &state,
        ema: arguments.ema,
        text: Text::open(&tokenizer_path(&folder), state.end_of_text)?,
        options: &options,
        show: &mut show,
    };
    let text = on_device(&state.config.compute, sampling)?;
    if json {
        return render::json(&Report {
            run: &arguments.run,
            step: state.step,
            prompt: &options.prompt,
            text: &text,
        });
    }
    render::line("")
}
