//! A checkpoint as other programs read it, a form a file: a folder for `transformers`, a file for `llama.cpp`.
//!
//! Nothing is computed and no device is needed: tensors are rows of the checkpoint's file under other names ([`crate::published`]).
//! Equal checkpoints give equal bytes.

mod folder;
mod gguf;
mod precision;
mod template;
mod tokenizer;
mod transformers;
mod vocabulary;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::checkpoint::{State, Weights};
use crate::error::{Error, Result};
use crate::published::Architecture;
use crate::run::{read_dialogues, tokenizer_path};
use folder::Unfinished;
use tokenizer::ExportedTokenizer;

pub use precision::Precision;

/// Who is to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `transformers`, without custom code.
    Transformers,
    /// `llama.cpp`: one file, the tokenizer in it.
    Gguf,
}

/// What is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportOptions {
    /// Who is to read it.
    pub target: Target,
    /// The numbers of the tensors.
    pub precision: Precision,
    /// The average of the weights and not the weights.
    pub average: bool,
}

/// A file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportedFile {
    /// Its name in the folder.
    pub path: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The folder.
    pub folder: PathBuf,
    /// Class of `transformers` that computes it.
    pub class: &'static str,
    /// Steps that the checkpoint had done.
    pub step: u64,
    /// The files by name.
    pub files: Vec<ExportedFile>,
}

/// Writes a `checkpoint` of `run` with the run's tokenizer to the folder `out`, which must not exist; it is there whole or not at
/// all.
///
/// # Errors
/// No published architecture computes what the model does, `out` exists, the checkpoint or the tokenizer cannot be read, or the disk
/// failed.
pub fn export(
    run: &Path,
    checkpoint: &Path,
    state: &State,
    options: ExportOptions,
    out: &Path,
) -> Result<Exported> {
    let architecture = Architecture::of(&state.config.model)?;
    let dialogues = read_dialogues(run)?.filter(|dialogues| dialogues.trained);
    let format = dialogues.map(|dialogues| dialogues.format);
    let tokenizer = ExportedTokenizer::read(&tokenizer_path(run), state.end_of_text, format)?;
    if tokenizer.known() > state.config.model.vocabulary {
        return Err(Error::Usage(format!(
            "the run's tokenizer has {} tokens and its model {}: it is not the tokenizer that the model was trained with",
            tokenizer.known(),
            state.config.model.vocabulary
        )));
    }
    let unfinished = Unfinished::create(out)?;
    let weights = Weights::read(checkpoint, state, options.average)?;
    let exporting = Exporting {
        architecture,
        state,
        weights: &weights,
        tokenizer: &tokenizer,
        precision: options.precision,
    };
    match options.target {
        Target::Transformers => transformers::write(&exporting, &unfinished)?,
        Target::Gguf => gguf::write(&exporting, &unfinished)?,
    }
    Ok(Exported {
        folder: out.to_owned(),
        class: architecture.class(),
        step: state.step,
        files: unfinished.publish()?,
    })
}

/// What is written, for whomever.
struct Exporting<'a> {
    architecture: Architecture,
    state: &'a State,
    weights: &'a Weights,
    tokenizer: &'a ExportedTokenizer,
    precision: Precision,
}
