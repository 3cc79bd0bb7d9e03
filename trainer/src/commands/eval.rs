//! `andromeda-train eval`: loss, bits per byte and perplexities of a run on a split it was not trained on.

use std::collections::BTreeMap;
use std::path::Path;

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::checkpoint::State;
use andromeda_trainer::data::Source;
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::eval::{Evaluation, evaluate};
use andromeda_trainer::ops::Backend;
use andromeda_trainer::perplexity::{Perplexity, Words};
use andromeda_trainer::run::tokenizer_path;
use andromeda_trainer::sample::Text;
use serde::Serialize;

use super::{existing, load_average, load_model, newest};
use crate::cli::{EvalArgs, SplitArg};
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    step: u64,
    root: &'a str,
    split: &'static str,
    ema: bool,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    perplexity: Perplexity,
    /// By dataset.
    perplexities: BTreeMap<&'a str, Perplexity>,
}

/// A checkpoint and what it is evaluated on.
struct Evaluating<'a> {
    checkpoint: &'a Path,
    state: &'a State,
    ema: bool,
    source: &'a mut Source,
    most: u64,
}

impl OnBackend for Evaluating<'_> {
    type Output = Evaluation;

    fn on<B: Backend>(self, backend: B) -> Result<Evaluation> {
        let load = if self.ema { load_average } else { load_model };
        let model = load(self.checkpoint, self.state, backend)?;
        evaluate(&model, self.source, self.most, &self.state.config.data)
    }
}

pub(crate) fn eval(arguments: &EvalArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (checkpoint, state) = newest(&folder)?;
    let build = match &arguments.build {
        Some(build) => build.clone(),
        None => build::with_root(&arguments.folders.shards, &state.root)?,
    };
    let opened = OpenBuild::open(&build)?;
    let (part, split) = match arguments.split {
        SplitArg::Val => (Part::Validation, "val"),
        SplitArg::Test => (Part::Test, "test"),
    };
    let data = &state.config.data;
    let mut source = opened.source(part, data)?;
    if source.sequences.sequences() == 0 {
        let tokens = data.sequence_tokens;
        return Err(Error::Usage(format!(
            "the {split} split of {} has no sequence of {tokens} tokens",
            build.display()
        )));
    }
    let most = arguments.sequences.unwrap_or(u64::MAX);
    let evaluating = Evaluating {
        checkpoint: &checkpoint,
        state: &state,
        ema: arguments.ema,
        source: &mut source,
        most,
    };
    let evaluation = on_device(&state.config.compute, evaluating)?;
    let text = Text::open(&tokenizer_path(&folder), state.end_of_text)?;
    let words = Words::count(&mut source, most, &text)?;
    let of_dataset = |of| Perplexity::of_dataset(of, &words);
    let perplexities = evaluation.datasets.iter();
    let report = Report {
        run: &arguments.run,
        step: state.step,
        root: opened.root(),
        split,
        ema: arguments.ema,
        evaluation: &evaluation,
        perplexity: Perplexity::of(&evaluation, &words),
        perplexities: perplexities
            .map(|of| (of.dataset.as_str(), of_dataset(of)))
            .collect(),
    };
    if arguments.folders.json {
        return render::json(&report);
    }
    let whole = if evaluation.whole_split {
        ""
    } else {
        " (a part of the split: bytes estimated by its share of tokens)"
    };
    render::line(&format!(
        "{} step {}, {split}: {:.4} nats per token, {:.4} bits per byte, {} tokens{whole}",
        arguments.run,
        state.step,
        evaluation.validation_loss,
        evaluation.bits_per_byte,
        evaluation.trained_tokens
    ))?;
    render::line(&format!(
        "perplexity: {}",
        render::perplexity(&report.perplexity)
    ))?;
    for text in render::of_datasets(&evaluation) {
        render::line(&text)?;
    }
    if evaluation.datasets.len() > 1 {
        for (dataset, perplexity) in &report.perplexities {
            render::line(&format!(
                "  {dataset}: perplexity {}",
                render::perplexity(perplexity)
            ))?;
        }
    }
    Ok(())
}
