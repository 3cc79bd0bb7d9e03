//! A file that `llama.cpp` reads: GGUF 3 (`ggml-org/ggml`, `docs/gguf.md`).
//!
//! The layout, all integers the least significant byte first: magic and version, how many tensors and keys, the keys, the names and
//! places of the tensors, then their numbers, each tensor at a multiple of 32 bytes. Names of keys and tensors are those of
//! `gguf-py/gguf/constants.py`; `llama.cpp` rotates neighbours in both architectures with rotary positions, and reads gains in single
//! precision whatever the matrices are.

use std::io::{BufWriter, Write};

use super::folder::Unfinished;
use super::transformers::gathered;
use super::vocabulary::{self, TokenType};
use super::{Exporting, Precision};
use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::ops::{NORM_EPSILON, THETA};
use crate::published::{Architecture, Form, PublishedTensor, tensors};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
/// Tensors begin at multiples of it: the default of `general.alignment`.
const ALIGNMENT: usize = 32;
/// The file of the folder.
pub(super) const FILE: &str = "model.gguf";

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    U32(u32),
    F32(f32),
    Bool(bool),
    String(String),
    Strings(Vec<String>),
    I32s(Vec<i32>),
}

impl Value {
    /// `GGUFValueType`.
    const fn kind(&self) -> u32 {
        match self {
            Self::U32(_) => 4,
            Self::F32(_) => 6,
            Self::Bool(_) => 7,
            Self::String(_) => 8,
            Self::Strings(_) | Self::I32s(_) => 9,
        }
    }

    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::U32(value) => out.extend(value.to_le_bytes()),
            Self::F32(value) => out.extend(value.to_le_bytes()),
            Self::Bool(value) => out.push(u8::from(*value)),
            Self::String(value) => string(value, out),
            Self::Strings(values) => {
                out.extend(8u32.to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| string(value, out));
            }
            Self::I32s(values) => {
                out.extend(5u32.to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                values
                    .iter()
                    .for_each(|value| out.extend(value.to_le_bytes()));
            }
        }
    }
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// As `llama.cpp` calls it.
const fn name_of(architecture: Architecture) -> &'static str {
    match architecture {
        Architecture::Mpt => "mpt",
        Architecture::Cohere => "command-r",
        Architecture::Llama => "llama",
    }
}

pub(super) fn write(exporting: &Exporting<'_>, unfinished: &Unfinished) -> Result<()> {
    let keys = keys(exporting)?;
    let all = tensors(
        exporting.architecture,
        Form::Gguf,
        &exporting.state.config.model,
    );
    let header = header(&keys, &all, exporting.precision);
    let path = unfinished.file(FILE);
    let written = || -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, fs_err::File::create(&path)?);
        file.write_all(&header)?;
        for tensor in &all {
            let mut bytes = gathered(exporting.weights, tensor, of(tensor, exporting.precision));
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            file.write_all(&bytes)?;
        }
        file.flush()
    };
    written().map_err(Error::io(format!("writing {}", path.display())))
}

/// Gains are single precision.
fn of(tensor: &PublishedTensor, precision: Precision) -> Precision {
    match tensor.shape.len() {
        1 => Precision::F32,
        _ => precision,
    }
}

/// All before the numbers.
fn header(keys: &[(String, Value)], tensors: &[PublishedTensor], precision: Precision) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend((tensors.len() as u64).to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        string(key, &mut out);
        out.extend(value.kind().to_le_bytes());
        value.append(&mut out);
    }
    let mut offset = 0;
    for tensor in tensors {
        let precision = of(tensor, precision);
        string(&tensor.name, &mut out);
        let dimensions: u32 = tensor.shape.iter().map(|_| 1).sum();
        out.extend(dimensions.to_le_bytes());
        // The innermost first.
        for &size in tensor.shape.iter().rev() {
            out.extend((size as u64).to_le_bytes());
        }
        // `GGMLQuantizationType`.
        let kind: u32 = match precision {
            Precision::F32 => 0,
            Precision::Bf16 => 30,
        };
        out.extend(kind.to_le_bytes());
        out.extend((offset as u64).to_le_bytes());
        let bytes = precision.bytes() * tensor.shape.iter().product::<usize>();
        offset += bytes.next_multiple_of(ALIGNMENT);
    }
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
    out
}

fn keys(exporting: &Exporting<'_>) -> Result<Vec<(String, Value)>> {
    let ModelConfig {
        vocabulary: rows,
        width,
        layers,
        heads,
        key_heads,
        head_size,
        feed_forward,
        ..
    } = exporting.state.config.model;
    let context = exporting.state.config.data.sequence_tokens;
    let architecture = name_of(exporting.architecture);
    let mut keys = vec![
        (
            "general.architecture".to_owned(),
            Value::String(architecture.to_owned()),
        ),
        // `LlamaFileType`: all F32, mostly BF16.
        (
            "general.file_type".to_owned(),
            Value::U32(match exporting.precision {
                Precision::F32 => 0,
                Precision::Bf16 => 32,
            }),
        ),
    ];
    let mut add = |key: &str, value| keys.push((format!("{architecture}.{key}"), value));
    let size = |value: usize| {
        // The bounds of a model's sizes are far below.
        u32::try_from(value)
            .map(Value::U32)
            .map_err(|_| Error::Usage(format!("{value} is too large a size for a GGUF file")))
    };
    add("vocab_size", size(rows)?);
    add("context_length", size(context)?);
    add("embedding_length", size(width)?);
    add("block_count", size(layers)?);
    add("feed_forward_length", size(feed_forward)?);
    add("attention.head_count", size(heads)?);
    add("attention.head_count_kv", size(key_heads)?);
    let epsilon = Value::F32(single(NORM_EPSILON));
    match exporting.architecture {
        Architecture::Mpt => {
            add("attention.layer_norm_epsilon", epsilon);
            add("attention.max_alibi_bias", Value::F32(8.0));
        }
        Architecture::Cohere => {
            add("attention.layer_norm_epsilon", epsilon);
            add("logit_scale", Value::F32(1.0));
        }
        Architecture::Llama => add("attention.layer_norm_rms_epsilon", epsilon),
    }
    if exporting.architecture != Architecture::Mpt {
        add("attention.key_length", size(head_size)?);
        add("attention.value_length", size(head_size)?);
        add("rope.dimension_count", size(head_size)?);
        add("rope.freq_base", Value::F32(single(THETA)));
        add("rope.scaling.type", Value::String("none".to_owned()));
    }
    let read = vocabulary::read(exporting.tokenizer.bytes(), rows)
        .map_err(|problem| Error::Usage(format!(
            "llama.cpp cannot be given the run's tokenizer: {problem}\nhint: export for transformers, which reads every tokenizer"
        )))?;
    let end = exporting.tokenizer.end_of_text();
    let types = read.types.iter().map(|kind| *kind as i32).collect();
    let tokenizer = [
        ("model", Value::String("gpt2".to_owned())),
        ("pre", Value::String(read.pre.to_owned())),
        ("tokens", Value::Strings(read.tokens)),
        ("token_type", Value::I32s(types)),
        ("merges", Value::Strings(read.merges)),
        ("bos_token_id", Value::U32(end)),
        ("eos_token_id", Value::U32(end)),
        // A document begins after the token that ends one.
        ("add_bos_token", Value::Bool(true)),
        ("add_space_prefix", Value::Bool(false)),
    ];
    if let Some(end) = exporting.tokenizer.end_of_turn() {
        keys.push(("tokenizer.ggml.eot_token_id".to_owned(), Value::U32(end)));
    }
    if let Some(template) = exporting.tokenizer.template() {
        let template = Value::String(template.to_owned());
        keys.push(("tokenizer.chat_template".to_owned(), template));
    }
    keys.extend(
        tokenizer
            .into_iter()
            .map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)),
    );
    Ok(keys)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the file has single precision"
)]
const fn single(value: f64) -> f32 {
    value as f32
}

const _: () = assert!(TokenType::Normal as i32 == 1 && TokenType::Unused as i32 == 5);
