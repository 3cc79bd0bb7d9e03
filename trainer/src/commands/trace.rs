//! `andromeda-train trace`: the documents and the text that a step was trained on.

use andromeda_trainer::build::{self, OpenBuild};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::history::History;
use andromeda_trainer::run::{read_config, tokenizer_path};
use andromeda_trainer::sample::Text;
use andromeda_trainer::trace::{TracedSequence, trace as read};
use serde::Serialize;

use super::{existing, newest};
use crate::cli::TraceArgs;
use crate::render;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a str,
    step: u64,
    /// Whether the step is done; otherwise it is the next one.
    done: bool,
    root: &'a str,
    /// Sequences consumed before the step.
    position: u64,
    sequences: &'a [TracedSequence],
}

pub(crate) fn trace(arguments: &TraceArgs) -> Result<()> {
    let folder = existing(&arguments.folders.runs, &arguments.run)?;
    let config = read_config(&folder)?;
    let history = History::read(&folder)?;
    let positions = history.positions_of(arguments.step, &config.data)?;
    let root = match history.root_of(arguments.step) {
        Some(root) => root.to_owned(),
        // Metrics of before the build was written into them; then the checkpoint knows.
        None => newest(&folder)?.1.root,
    };
    let build = match &arguments.build {
        Some(build) => build.clone(),
        None => build::with_root(&arguments.folders.shards, &root)?,
    };
    let opened = OpenBuild::open(&build)?;
    if opened.root() != root {
        return Err(Error::Usage(format!(
            "step {} was trained on the build {root}, and {} is {}\nhint: name the folder of the first one with --build",
            arguments.step,
            build.display(),
            opened.root()
        )));
    }
    let text = Text::open(&tokenizer_path(&folder), opened.end_of_text())?;
    let position = positions.start;
    let sequences = read(&opened, &config, positions, &text)?;
    let done = history
        .steps
        .last()
        .is_some_and(|last| last.step >= arguments.step);
    if arguments.folders.json {
        return render::json(&Report {
            run: &arguments.run,
            step: arguments.step,
            done,
            root: &root,
            position,
            sequences: &sequences,
        });
    }
    render::line(&format!(
        "{} step {}{}, build {} ({root})",
        arguments.run,
        arguments.step,
        if done { "" } else { ", not done yet" },
        build.display()
    ))?;
    for sequence in &sequences {
        let filling = match sequence.padding {
            0 => String::new(),
            padding => format!(", {padding} tokens of filling at its end"),
        };
        render::line(&format!("\nsequence {}{filling}", sequence.position))?;
        for document in &sequence.documents {
            render::line(&format!(
                "  {} row {}, train:{} ({} token {}): tokens {}..{} of the sequence, {} with loss",
                document.dataset,
                document.row,
                document.place.split_token,
                document.place.shard,
                document.place.shard_token,
                document.start,
                document.end,
                document.trained_tokens
            ))?;
            for line in document.text.lines() {
                render::line(&format!("  | {}", render::safe(line)))?;
            }
        }
    }
    Ok(())
}
