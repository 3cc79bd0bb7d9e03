//! `andromeda tokenizer`.

mod check;
mod code;
mod documents;
mod show;

use std::path::Path;

use super::{Interruption, find_tokenizer, grouped, memory, plan_options, print, say, threads};
use crate::cli::{Limits, Place, TokenizerCommand, What, WhichTokenizer};
use crate::execute::{self, BuildOptions};
use crate::screen::Screen;
use crate::tokenize::{self, Tokenizer, TrainOptions};

pub(super) fn run(command: TokenizerCommand) -> anyhow::Result<()> {
    match command {
        TokenizerCommand::Train {
            what,
            place,
            vocab_size,
            text,
            out,
        } => train(&what, &place, vocab_size, text, &out),
        TokenizerCommand::Show {
            which,
            on,
            text,
            language,
            documents,
            json,
        } => show::run(&which, &on, &text, &language, documents, json),
        TokenizerCommand::Check {
            which,
            build,
            documents,
            json,
        } => check::run(&which, build, documents, json),
        TokenizerCommand::Encode { which, lines, json } => code::encode(&which, lines, json),
        TokenizerCommand::Decode { which, json } => code::decode(&which, json),
    }
}

/// A tokenizer of the command line, and what it is called with its commit.
fn open(which: &WhichTokenizer) -> anyhow::Result<(Tokenizer, String)> {
    let in_build = Path::new(&which.tokenizer).join("tokenizer.json");
    let (file, name) = match in_build.is_file() {
        true => (in_build.clone(), in_build.display().to_string()),
        false => find_tokenizer(&which.tokenizer, &which.place)?,
    };
    Ok((Tokenizer::load(&file, which.end_of_text.as_deref())?, name))
}

/// Trains on the documents that a build of `what` would keep.
fn train(
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
