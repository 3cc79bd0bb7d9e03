//! `andromeda-train eval`: loss and bits per byte of a run on a split it was not trained on.

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::eval::{Evaluation, evaluate};
use serde::Serialize;

use super::{existing, load_model};
use crate::cli::{EvalArgs, SplitArg};
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    step: u64,
    root: &'a str,
    split: &'static str,
    #[serde(flatten)]
    evaluation: &'a Evaluation,
}

pub(crate) fn eval(arguments: &EvalArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let (model, state) = load_model(&folder)?;
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
    let evaluation = evaluate(&model, &mut source, most, data.sequences_per_micro_batch)?;
    let report = Report {
        run: &arguments.run,
        step: state.step,
        root: opened.root(),
        split,
        evaluation: &evaluation,
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
    ))
}
