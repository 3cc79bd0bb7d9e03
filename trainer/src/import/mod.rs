//! A folder of `transformers` as a run: a checkpoint of step 0 that is sampled, evaluated and trained on like any other.
//!
//! What is read was written by others: sizes are held against files before memory is taken for them, names that are not expected
//! are refused, and so is every key of the configuration that this program does not know the meaning of.

mod config;
mod tensor_file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use tokenizers_reference::Tokenizer;

use crate::checkpoint::{self, State};
use crate::config::{RunConfig, WrittenConfig};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Fused;
use crate::optimizer::Optimizer;
use crate::parallel::Team;
use crate::published::{Form, tensors};
use crate::run::Run;
use config::Described;
use tensor_file::TensorFile;

pub(crate) use config::read_json;

/// What stands in a state for the root of a build where there was none.
pub const IMPORTED: &str = "imported";

const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The largest tokenizer files are some tens of megabytes.
const LARGEST_TOKENIZER: u64 = 1 << 28;
/// A head of its own, which a folder with tied weights may hold too.
const HEAD: &str = "lm_head.weight";

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// The checkpoint.
    pub checkpoint: PathBuf,
    /// Class of `transformers`.
    pub class: &'static str,
    /// Numbers of all parameters.
    pub parameters: u64,
    /// Most tokens of a sequence, as the configuration says.
    pub sequence_tokens: usize,
    /// Token that ends a document.
    pub end_of_text: u32,
}

/// Reads the folder `from` and saves a checkpoint of step 0 in `run`. Without `end_of_text`, the token that ends a document is the
/// one that the configuration names.
///
/// # Errors
/// The run has checkpoints, the folder is of no known architecture, says what is not known, or its tensors are not those of its
/// configuration.
pub fn import(from: &Path, run: &Run, end_of_text: Option<&str>) -> Result<Imported> {
    if !checkpoint::steps(run.path())?.is_empty() {
        return Err(Error::Usage(format!(
            "{} has checkpoints already\nhint: give the imported one another name with --run",
            run.path().display()
        )));
    }
    let described = Described::read(&from.join(CONFIG))?;
    let (tokenizer, end_of_text) = tokenizer(from, &described, end_of_text)?;
    let source = Source::open(from, &described)?;
    let mut model = Model::zeros(described.model, Fused::<f32>::default())?;
    source.load(&described, &mut model)?;
    let config = run_config(&described);
    let optimizer = Optimizer::new(config.optimizer.clone(), &model)?;
    run.write_config(&config)?;
    run.write_tokenizer(&tokenizer)?;
    let mut state = State::new(config, IMPORTED.to_owned(), end_of_text);
    let checkpoint = checkpoint::save(
        run.path(),
        &mut state,
        &model,
        &optimizer,
        &Team::alone(&model),
    )?;
    Ok(Imported {
        checkpoint,
        class: described.architecture.class(),
        parameters: described.model.parameters(),
        sequence_tokens: described.sequence_tokens,
        end_of_text,
    })
}

/// All defaults but for the model and the length of sequences.
fn run_config(described: &Described) -> RunConfig {
    let WrittenConfig {
        mut data,
        objective,
        loss,
        optimizer,
        schedule,
        run,
        sample,
        compute,
        ..
    } = WrittenConfig::default();
    data.sequence_tokens = described.sequence_tokens;
    RunConfig {
        model: described.model,
        data,
        objective,
        loss,
        optimizer,
        schedule,
        run,
        sample,
        compute,
    }
}

/// The bytes of the tokenizer, and the token that ends a document.
fn tokenizer(from: &Path, described: &Described, named: Option<&str>) -> Result<(Vec<u8>, u32)> {
    let path = from.join(TOKENIZER);
    let unusable = |problem: String| Error::Tokenizer {
        path: path.clone(),
        problem,
    };
    let length = fs_err::metadata(&path)
        .map_err(Error::io("reading the tokenizer"))?
        .len();
    if length > LARGEST_TOKENIZER {
        return Err(unusable("too large for a tokenizer".to_owned()));
    }
    let bytes = fs_err::read(&path).map_err(Error::io("reading the tokenizer"))?;
    let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|error| unusable(error.to_string()))?;
    let id = match (named, described.end_of_text) {
        (Some(token), _) => tokenizer
            .token_to_id(token)
            .ok_or_else(|| unusable(format!("it has no token {token:?}")))?,
        (None, Some(id)) => id,
        (None, None) => {
            return Err(unusable(
                "config.json names no single eos_token_id\nhint: name the token that ends a document with --end-of-text"
                    .to_owned(),
            ));
        }
    };
    if tokenizer.id_to_token(id).is_none() {
        return Err(unusable(format!(
            "it has no token {id}, which config.json says ends a document\nhint: name that token with --end-of-text"
        )));
    }
    let (has, rows) = (tokenizer.get_vocab_size(true), described.model.vocabulary);
    if has > rows || id as usize >= rows {
        return Err(unusable(format!(
            "it has {has} tokens, and the model only {rows}: it is of another model"
        )));
    }
    Ok((bytes, id))
}

/// The tensors of a folder, every one at its place and of its shape.
struct Source {
    files: Vec<TensorFile>,
    /// The file of each tensor.
    of: BTreeMap<String, usize>,
}

impl Source {
    /// Opens all files and holds names and shapes against those of the configuration. No number is read yet.
    fn open(from: &Path, described: &Described) -> Result<Self> {
        let mut files = Vec::new();
        let mut of = BTreeMap::new();
        for name in file_names(from)? {
            let file = TensorFile::open(&from.join(name))?;
            for tensor in file.names() {
                if of.insert(tensor.to_owned(), files.len()).is_some() {
                    return Err(integrity(
                        file.path(),
                        format!("tensor {tensor:?} stands in another file too"),
                    ));
                }
            }
            files.push(file);
        }
        let source = Self { files, of };
        let mut unknown: BTreeSet<&str> = source.of.keys().map(String::as_str).collect();
        for tensor in tensors(described.architecture, Form::Transformers, &described.model) {
            let file = source.file(from, &tensor.name)?;
            file.check(&tensor.name, &tensor.shape)?;
            unknown.remove(tensor.name.as_str());
        }
        unknown.remove(HEAD);
        // What older versions stored of the angles, which are computed.
        unknown.retain(|name| !name.ends_with(".rotary_emb.inv_freq"));
        if let Some(name) = unknown.first() {
            return Err(integrity(
                from,
                format!(
                    "tensor {name:?} is none of {}'s without biases ({} such tensors)\nhint: only models whose layers have no biases and whose head is the embedding can be imported",
                    described.architecture.class(),
                    unknown.len()
                ),
            ));
        }
        if source.of.contains_key(HEAD) {
            source.check_head(from, described)?;
        }
        Ok(source)
    }

    fn file(&self, from: &Path, tensor: &str) -> Result<&TensorFile> {
        let index = self.of.get(tensor);
        index.map(|&index| &self.files[index]).ok_or_else(|| {
            integrity(
                from,
                format!("it has no tensor {tensor:?}, which its config.json asks for"),
            )
        })
    }

    /// A head must be the embedding: ours has no other.
    fn check_head(&self, from: &Path, described: &Described) -> Result<()> {
        let shape = [described.model.vocabulary, described.model.width];
        let all = tensors(described.architecture, Form::Transformers, &described.model);
        let Some(embedding) = all.first() else {
            return Ok(());
        };
        let head = self.file(from, HEAD)?;
        head.check(HEAD, &shape)?;
        let embedding = self.file(from, &embedding.name)?.read(&embedding.name)?;
        let head = head.read(HEAD)?;
        let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits();
        if embedding.iter().zip(&head).all(same) {
            return Ok(());
        }
        Err(integrity(
            from,
            format!(
                "{HEAD} is not the embedding: the head is not tied, and models here have no other"
            ),
        ))
    }

    /// Puts all numbers into `model`, a tensor at a time.
    fn load(&self, described: &Described, model: &mut Model<Fused<f32>>) -> Result<()> {
        use crate::ops::Backend as _;
        // Parameters that are made of several tensors wait for all of them.
        let mut waiting: BTreeMap<usize, (Vec<f32>, usize)> = BTreeMap::new();
        for tensor in tensors(described.architecture, Form::Transformers, &described.model) {
            let Some(&file) = self.of.get(&tensor.name) else {
                continue;
            };
            let numbers = self.files[file].read(&tensor.name)?;
            let columns = tensor.shape.last().copied().unwrap_or(1);
            let mut rows = numbers.chunks_exact(columns);
            for piece in &tensor.pieces {
                let place = model.shapes[piece.parameter].place();
                let (values, left) = waiting
                    .entry(piece.parameter)
                    .or_insert_with(|| (vec![0.0; place.count()], place.rows));
                for (row, numbers) in piece.order().zip(rows.by_ref()) {
                    values[row * columns..(row + 1) * columns].copy_from_slice(numbers);
                    *left -= 1;
                }
                if *left == 0
                    && let Some((values, _)) = waiting.remove(&piece.parameter)
                {
                    let Model {
                        backend,
                        parameters,
                        ..
                    } = model;
                    backend.write(parameters, piece.parameter, &values)?;
                }
            }
        }
        Ok(())
    }
}

/// The files with tensors: one, or those of an index.
fn file_names(from: &Path) -> Result<BTreeSet<String>> {
    let index = from.join(INDEX);
    if !index.exists() {
        return Ok(BTreeSet::from([TENSORS.to_owned()]));
    }
    let json = read_json(&index)?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| integrity(&index, "it has no weight_map".to_owned()))?;
    let mut names = BTreeSet::new();
    for name in map.values() {
        let plain = name.as_str().filter(|name| {
            // A name, and not a way out of the folder.
            name.ends_with(".safetensors")
                && !name.starts_with('.')
                && !name.contains(['/', '\\', '\0'])
        });
        let name = plain
            .ok_or_else(|| integrity(&index, format!("{name} is no name of a safetensors file")))?;
        names.insert(name.to_owned());
    }
    if names.is_empty() {
        return Err(integrity(&index, "its weight_map is empty".to_owned()));
    }
    Ok(names)
}

fn integrity(path: &Path, problem: String) -> Error {
    Error::Integrity {
        path: path.to_owned(),
        problem,
    }
}

#[cfg(test)]
mod tests;
