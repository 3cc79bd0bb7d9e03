//! A build leaves: token files of other trainers, made of its shards frame by frame.
//!
//! The principal function is [`export`]. Each target is one file of this folder, which names the program whose files it
//! writes. The bytes depend on the build and the options alone. What a target cannot carry is said, in the result and in
//! `export.json` beside the files: the loss masks of dialogues, tokens that fill no window, ends of documents.

mod jsonl;
mod mds;
pub(crate) mod megatron;
mod nanogpt;
mod parquet;
mod walk;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use andromeda_format::{Build, EndOfText, FileEntry, FormatError, Split, TokenWidth};
use serde::Serialize;

use crate::digest::Digest;
use crate::publish::{NewFolder, PublishError};

/// Whose files are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// `<split>.bin`, ids and nothing else.
    Nanogpt,
    /// `<split>.bin` and `<split>.idx`.
    Megatron,
    /// `<split>/index.json` and `<split>/shard.NNNNN.mds`.
    Mds,
    /// `<split>-NNNNN.parquet`.
    Parquet,
    /// `<split>.jsonl`.
    Jsonl,
}

/// What is written, and where.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Whose files.
    pub target: Target,
    /// The folder; nothing or an empty folder is there.
    pub out: PathBuf,
    /// The splits; all that the build has, where none is named.
    pub splits: Vec<Split>,
    /// Of [`Target::Mds`]: tokens of a sample, which is a document otherwise.
    pub length: Option<usize>,
    /// Of [`Target::Mds`] and [`Target::Jsonl`]: the zstd level; not compressed otherwise.
    pub level: Option<i32>,
    /// Whether nothing may be lost.
    pub strict: bool,
}

/// What was written: `export.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// `andromeda-export`.
    pub format: &'static str,
    /// 1.
    pub version: u32,
    /// Whose files they are.
    pub to: Target,
    /// The build's name.
    pub build: String,
    /// The build's root, which names all of its bytes.
    pub root: String,
    /// How ids are stored; in JSON lines, the smallest type that holds them.
    pub token_width: TokenWidth,
    /// Largest id plus one.
    pub vocab_size: u32,
    /// What stands after every document.
    pub end_of_text: EndOfText,
    /// Documents and tokens by split.
    pub splits: BTreeMap<Split, ExportedSplit>,
    /// What the files do not say that the build says and that changes what is trained; nothing, if all is well.
    pub lost: Vec<String>,
    /// The files, but for this one.
    pub files: Vec<FileEntry>,
}

/// A split that was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ExportedSplit {
    /// Documents.
    pub documents: u64,
    /// Tokens, ends of text included.
    pub tokens: u64,
}

/// Why a build was not exported. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The build.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The folder.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A parquet file.
    #[error("a parquet file could not be written: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// Options that do not go together.
    #[error("{0}")]
    Options(String),
    /// A document that the target's numbers do not hold.
    #[error(
        "the document of row {row} has {tokens} tokens, and such a file holds at most {most} of one; export to nanogpt"
    )]
    TooLong {
        /// Its row in the table of documents.
        row: u64,
        /// Its tokens.
        tokens: u64,
        /// The most that there may be.
        most: u64,
    },
    /// Shards that do not continue each other.
    #[error(
        "{0} does not go on where the shard before it stops; `andromeda verify` tells what is wrong with the build"
    )]
    Crossing(PathBuf),
    /// Something would be lost, and nothing may be.
    #[error("this would be lost: {}; export to parquet, or leave out --strict", .0.join("; "))]
    Lost(Vec<String>),
    /// Someone asked it to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl ExportError {
    /// The exit code it ends with.
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self {
            Self::Format(error) if !error.is_io() => exit::INTEGRITY,
            Self::Crossing(_) => exit::INTEGRITY,
            Self::Publish(PublishError::Busy(_)) => exit::BUSY,
            Self::Publish(PublishError::Taken(_) | PublishError::NoName(_)) | Self::Options(_) => {
                exit::USAGE
            }
            Self::TooLong { .. } | Self::Lost(_) => exit::PERMANENT,
            Self::Interrupted => exit::INTERRUPTED,
            Self::Format(_) | Self::Io(_) | Self::Publish(_) | Self::Parquet(_) => exit::RETRIABLE,
        }
    }
}

/// The file that says what was written.
const NOTE: &str = "export.json";

/// Writes a build as another program's files. Holds one frame, one shard's index, and for all but nanoGPT and Megatron one
/// document; `stop` asks it to end soon, without a result.
///
/// # Errors
///
/// [`ExportError`]; whatever it is, no folder is published.
pub fn export(
    build: &Build,
    options: &ExportOptions,
    stop: &AtomicBool,
) -> Result<Exported, ExportError> {
    let splits = check(build, options)?;
    let manifest = build.manifest();
    let width = manifest.token_width;
    let mut masked = Vec::new();
    for split in &splits {
        if walk::has_masks(build, *split)? {
            masked.push(split.name());
        }
    }
    let mut lost = Vec::new();
    if !masked.is_empty() && matches!(options.target, Target::Nanogpt | Target::Megatron) {
        lost.push(format!(
            "which tokens of {} carry no loss, so that prompts would be trained like answers",
            masked.join(", ")
        ));
    }
    if options.strict && !lost.is_empty() {
        return Err(ExportError::Lost(lost));
    }
    let folder = NewFolder::create(&options.out)?;
    let at = folder.path();
    let datasets = || manifest.datasets.iter().map(|d| d.name.as_str()).collect();
    let mut files = vec![tokenizer(build, at)?];
    for split in &splits {
        let split = *split;
        match options.target {
            Target::Nanogpt => {
                let end_of_text = manifest.tokenizer.end_of_text.id;
                let mut sink = nanogpt::Nanogpt::create(at, split, width, end_of_text)?;
                walk::walk(build, split, &mut sink, stop)?;
                let (file, within) = sink.finish()?;
                files.push(file);
                if within > 0 {
                    lost.push(format!(
                        "where the documents of {} end, since {within} ends of text stand within documents",
                        split.name()
                    ));
                }
            }
            Target::Megatron => {
                let mut sink = megatron::Megatron::create(at, split, width)?;
                walk::walk(build, split, &mut sink, stop)?;
                files.extend(sink.finish(build, at)?);
            }
            Target::Mds => {
                let mut sink = mds::Mds::create(
                    at,
                    split,
                    width,
                    options.length,
                    options.level,
                    !masked.is_empty(),
                    datasets(),
                )?;
                walk::walk(build, split, &mut sink, stop)?;
                let (written, left) = sink.finish()?;
                files.extend(written);
                if left > 0 {
                    lost.push(format!(
                        "the last {left} tokens of {}, which fill no window",
                        split.name()
                    ));
                }
            }
            Target::Parquet => {
                let mut sink = parquet::Rows::create(at, split, width, datasets());
                walk::walk(build, split, &mut sink, stop)?;
                files.extend(sink.finish()?);
            }
            Target::Jsonl => {
                let mut sink = jsonl::Lines::create(at, split, options.level, datasets())?;
                walk::walk(build, split, &mut sink, stop)?;
                files.push(sink.finish()?);
            }
        }
    }
    if options.strict && !lost.is_empty() {
        return Err(ExportError::Lost(lost));
    }
    let exported = Exported {
        format: "andromeda-export",
        version: 1,
        to: options.target,
        build: manifest.name.clone(),
        root: manifest.root.clone(),
        token_width: width,
        vocab_size: manifest.tokenizer.vocab_size,
        end_of_text: manifest.tokenizer.end_of_text.clone(),
        splits: splits
            .iter()
            .map(|split| {
                let entry = &manifest.splits[split];
                let (documents, tokens) = (entry.documents, entry.tokens);
                (*split, ExportedSplit { documents, tokens })
            })
            .collect(),
        lost,
        files,
    };
    let mut note = serde_json::to_vec_pretty(&exported).map_err(io::Error::from)?;
    note.push(b'\n');
    andromeda_format::write_atomic(&at.join(NOTE), &note)?;
    folder.publish()?;
    Ok(exported)
}

/// The splits to write, if the options go together.
fn check(build: &Build, options: &ExportOptions) -> Result<Vec<Split>, ExportError> {
    let wrong = |what: String| Err(ExportError::Options(what));
    let manifest = build.manifest();
    if options.length.is_some() && options.target != Target::Mds {
        return wrong("--length is for --to mds: other targets have documents".to_owned());
    }
    if options.length == Some(0) {
        return wrong("--length: a sample has at least one token".to_owned());
    }
    if options.level.is_some() && !matches!(options.target, Target::Mds | Target::Jsonl) {
        return wrong(
            "--zstd is for --to mds and --to jsonl; parquet is compressed in any case".to_owned(),
        );
    }
    if options
        .level
        .is_some_and(|level| !(1..=22).contains(&level))
    {
        return wrong("--zstd: levels are 1 to 22".to_owned());
    }
    if options.target == Target::Megatron && i32::try_from(manifest.tokenizer.vocab_size).is_err() {
        return wrong("Megatron's ids are at most 2,147,483,647".to_owned());
    }
    let has = |split: &Split| manifest.splits.get(split).is_some_and(|s| s.tokens > 0);
    if let Some(absent) = options.splits.iter().find(|split| !has(split)) {
        return wrong(format!(
            "{} has no split {}",
            build.folder().display(),
            absent.name()
        ));
    }
    let wanted = |split: &Split| options.splits.is_empty() || options.splits.contains(split);
    let splits: Vec<Split> = Split::ALL.into_iter().filter(has).filter(wanted).collect();
    if options.target == Target::Mds
        && let Some(length) = options.length
        && let Some(short) = splits
            .iter()
            .find(|s| manifest.splits[s].tokens < length as u64)
    {
        return wrong(format!(
            "--length {length}: split {} has only {} tokens",
            short.name(),
            manifest.splits[short].tokens
        ));
    }
    Ok(splits)
}

/// Copies the tokenizer, without which ids mean nothing, and checks that it is the build's.
fn tokenizer(build: &Build, folder: &Path) -> Result<FileEntry, ExportError> {
    let entry = &build.manifest().tokenizer;
    let from = build.folder().join(&entry.file);
    let bytes = fs_err::read(&from)?;
    let found = Digest::of(&bytes).hex();
    if found != entry.sha256 {
        return Err(FormatError::Content {
            file: from,
            found,
            listed: entry.sha256.clone(),
        }
        .into());
    }
    andromeda_format::write_atomic(&folder.join("tokenizer.json"), &bytes)?;
    Ok(FileEntry {
        path: "tokenizer.json".to_owned(),
        bytes: bytes.len() as u64,
        sha256: found,
    })
}

/// Appends ids as bytes. Readers of shards have checked that each is within the vocabulary, and the width suits that.
fn put_ids(ids: &[u32], width: TokenWidth, to: &mut Vec<u8>) {
    to.reserve(ids.len() * width.bytes());
    match width {
        TokenWidth::U16 => ids
            .iter()
            .for_each(|id| to.extend_from_slice(&id.to_le_bytes()[..2])),
        TokenWidth::U32 => ids
            .iter()
            .for_each(|id| to.extend_from_slice(&id.to_le_bytes())),
    }
}
