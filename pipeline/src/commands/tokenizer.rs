//! `andromeda tokenizer`.

use std::path::Path;

use super::{Interruption, grouped, memory, plan_options, print, say, threads};
use crate::cli::{Limits, Place, What};
use crate::execute::{self, BuildOptions};
use crate::screen::Screen;
use crate::tokenize::{self, TrainOptions};

/// Trains on the documents that a build of `what` would keep.
pub(super) fn train(
    what: &What,
    place: &Place,
    vocab_size: u32,
    text_bytes: u64,
    out: &Path,
) -> anyhow::Result<()> {
    let mut options = plan_options(what, place);
    options.needs_tokenizer = false;
    let plan = crate::plan::plan(&options)?;
    let limits = Limits {
        threads: None,
        memory: None,
    };
    let options = BuildOptions {
        work: place.work.clone(),
        shards: place.shards.clone(),
        lock: options.lock,
        threads: threads(&limits),
        memory_bytes: memory(&limits),
        skip_bad_files: false,
    };
    let interruption = Interruption::listen()?;
    let screen = Screen::new();
    let texts = execute::texts(&plan, &options, text_bytes, &screen, &interruption.stop)
        .map_err(|error| interruption.name(error))?;
    screen.clear();
    let total: usize = texts.iter().map(String::len).sum();
    say(format!(
        "training on {} documents, {} bytes",
        grouped(texts.len() as u64),
        grouped(total as u64)
    ));
    let options = TrainOptions {
        vocab_size,
        ..TrainOptions::default()
    };
    let bytes = tokenize::train(texts.into_iter(), &options)?;
    andromeda_format::write_atomic(out, &bytes)?;
    print(out.display())
}
