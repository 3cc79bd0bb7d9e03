//! Token files of other programs arrive: they become a build, documents in the order of the files.
//!
//! The principal function is [`import`]. Each program is one file of this folder, from its files to documents. Nothing in a file is
//! believed: sizes, counts and places are held against each other before they are used, every id against the vocabulary, and
//! no more memory is asked for than a piece of 65,536 ids and the index of a shard.

mod build;
mod datatrove;
mod ids;
mod megatron;
mod nanogpt;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::{
    DatasetEntry, EndOfText, FileEntry, FormatError, Funnel, Manifest, ShardSpec, Split,
    TokenWidth, TokenizerEntry,
};
use serde::Serialize;

use crate::digest::Digest;
use crate::plan::BYTES_VERSION;
use crate::publish::{NewFolder, PublishError};
use crate::recipe::ShardOptions;
use crate::tokenize::{TokenizeError, Tokenizer};
use build::BuildWriter;
pub use ids::IdType;

/// What the manifest calls the kind of documents that came as ids: what of them carries loss is what their files say.
pub const KIND: &str = "tokens";

/// Whose files are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Ids and nothing else; documents end with the end of text.
    Nanogpt,
    /// `.bin` and `.idx`.
    Megatron,
    /// `.ds`, `.ds.index`, `.ds.loss`.
    Datatrove,
}

impl Origin {
    const fn name(self) -> &'static str {
        match self {
            Self::Nanogpt => "nanogpt",
            Self::Megatron => "megatron",
            Self::Datatrove => "datatrove",
        }
    }
}

/// What is read, and what is made of it.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// Whose files.
    pub from: Origin,
    /// The files. One whose name begins with `val` or `test` goes to that split, others to `train`, unless `split` says.
    pub files: Vec<PathBuf>,
    /// The `tokenizer.json` that made the ids.
    pub tokenizer: PathBuf,
    /// The token that ends a document; the usual names are looked for otherwise.
    pub end_of_text: Option<String>,
    /// How ids are stored, where files do not say; as the vocabulary needs it otherwise.
    pub kind: Option<IdType>,
    /// The split of all files.
    pub split: Option<Split>,
    /// What the manifest says of the licence.
    pub licence: String,
    /// Sizes of shards and frames.
    pub shard: ShardOptions,
    /// The build's folder, whose name is the build's; nothing or an empty folder is there.
    pub out: PathBuf,
}

/// A build that was made.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Its manifest.
    pub manifest: Manifest,
    /// Documents that had no end of text at their end, and were given one.
    pub ended: u64,
    /// Documents of no tokens, which were left out.
    pub empty: u64,
}

/// Why there is no build. Nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file is not what it should be.
    #[error("{file}: {what}")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A document of more tokens than are counted of one.
    #[error(
        "document {document} of {file} has {tokens} tokens; there may be 4,294,967,295 in one. Is the end of text another?"
    )]
    TooLong {
        /// The file.
        file: String,
        /// Its number in the file.
        document: u64,
        /// Its tokens.
        tokens: u64,
    },
    /// Options that do not go together.
    #[error("{0}")]
    Options(String),
    /// The tokenizer.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The build's folder.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The format refused.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A table.
    #[error("a table of the build could not be written: {0}")]
    Table(#[from] parquet::errors::ParquetError),
    /// Someone asked it to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

impl ImportError {
    fn damaged(file: &Path, what: impl Into<String>) -> Self {
        Self::Damaged {
            file: file.to_path_buf(),
            what: what.into(),
        }
    }

    /// The exit code it ends with.
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self {
            Self::Damaged { .. } | Self::TooLong { .. } => exit::PERMANENT,
            Self::Options(_) | Self::Tokenize(_) => exit::USAGE,
            Self::Publish(PublishError::Taken(_) | PublishError::NoName(_)) => exit::USAGE,
            Self::Publish(PublishError::Busy(_)) => exit::BUSY,
            Self::Format(error) if !error.is_io() => exit::INTEGRITY,
            Self::Interrupted => exit::INTERRUPTED,
            Self::Io(_) | Self::Publish(_) | Self::Format(_) | Self::Table(_) => exit::RETRIABLE,
        }
    }
}

/// What every reader needs to know.
struct Input<'a> {
    vocab_size: u32,
    end_of_text: u32,
    stop: &'a AtomicBool,
}

impl Input<'_> {
    fn go_on(&self) -> Result<(), ImportError> {
        match self.stop.load(Ordering::Relaxed) {
            true => Err(ImportError::Interrupted),
            false => Ok(()),
        }
    }
}

/// Makes a build of token files; `stop` asks it to end soon, without one.
///
/// # Errors
///
/// [`ImportError`]; whatever it is, no folder is published.
pub fn import(options: &ImportOptions, stop: &AtomicBool) -> Result<Imported, ImportError> {
    let tokenizer = Tokenizer::load(&options.tokenizer, options.end_of_text.as_deref())?;
    with_tokenizer(options, &tokenizer, stop)
}

fn with_tokenizer(
    options: &ImportOptions,
    tokenizer: &Tokenizer,
    stop: &AtomicBool,
) -> Result<Imported, ImportError> {
    let name = options.out.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| PublishError::NoName(options.out.clone()))?;
    if options.files.is_empty() {
        return Err(ImportError::Options("no files to import".to_owned()));
    }
    if options.shard.tokens == 0 || !(1..=1 << 24).contains(&options.shard.frame_tokens) {
        return Err(ImportError::Options(
            "a shard has at least one token, a frame 1 to 16,777,216".to_owned(),
        ));
    }
    let (end_of_text, token) = tokenizer.end_of_text();
    let vocab_size = tokenizer.vocab_size();
    let width = TokenWidth::for_vocab(vocab_size);
    let kind = options.kind.unwrap_or(match width {
        TokenWidth::U16 => IdType::U16,
        TokenWidth::U32 => IdType::U32,
    });
    let inputs = inputs(options);
    let mut files = Vec::new();
    for (path, listed) in inputs.iter().flat_map(|input| &input.files) {
        files.push(FileEntry {
            path: listed.clone(),
            bytes: fs_err::metadata(path)?.len(),
            sha256: Digest::of_file(path)?.hex(),
        });
    }
    let folder = NewFolder::create(&options.out)?;
    let at = folder.path();
    let spec = ShardSpec {
        width,
        vocab_size,
        end_of_text,
        frame_tokens: options.shard.frame_tokens,
        tokenizer_sha256: tokenizer.sha256(),
        level: options.shard.level,
    };
    let mut writer = BuildWriter::create(at, spec, options.shard.tokens, tokenizer, name)?;
    let input = Input {
        vocab_size,
        end_of_text,
        stop,
    };
    let said = options.kind;
    for OneInput {
        path,
        listed,
        split,
        ..
    } in &inputs
    {
        writer.file(listed, *split);
        match options.from {
            Origin::Nanogpt => nanogpt::read(path, kind, &input, &mut writer)?,
            Origin::Megatron => megatron::read(path, said, &input, &mut writer)?,
            Origin::Datatrove => datatrove::read(path, kind, said.is_some(), &input, &mut writer)?,
        }
    }
    let written = writer.finish()?;
    if written.splits.values().all(|split| split.tokens == 0) {
        let first = &options.files[0];
        return Err(ImportError::damaged(first, "there is no document in it"));
    }
    let bytes = fs_err::read(&options.tokenizer)?;
    if Digest::of(&bytes).0 != tokenizer.sha256() {
        return Err(ImportError::damaged(
            &options.tokenizer,
            "it was changed meanwhile",
        ));
    }
    andromeda_format::write_atomic(&at.join("tokenizer.json"), &bytes)?;
    let digests: Vec<(&str, &str)> = files
        .iter()
        .map(|file| (file.path.as_str(), file.sha256.as_str()))
        .collect();
    let revision = Digest::of_value(&digests);
    let recipe = serde_json::json!({
        "import": {
            "from": options.from,
            "dtype": said.map(IdType::name),
            "split": options.split,
        },
        "shard": options.shard,
    });
    let fingerprint = Digest::of_value(&(
        "import",
        BYTES_VERSION,
        andromeda_format::VERSION,
        &recipe,
        &digests,
        Digest(tokenizer.sha256()),
        end_of_text,
        name,
    ));
    let count = written.count();
    let funnel = Funnel {
        documents_in: count.documents,
        bytes_in: count.bytes,
        kept: count,
        ..Funnel::default()
    };
    let dataset = DatasetEntry {
        name: name.to_owned(),
        tier: "imported".to_owned(),
        kind: KIND.to_owned(),
        licence: options.licence.clone(),
        source: format!("token files of {}", options.from.name()),
        revision: revision.hex(),
        files,
        faults: Vec::new(),
        funnel: funnel.clone(),
        redacted: Default::default(),
        splits: written.of_dataset(),
    };
    let mut manifest = Manifest {
        format: andromeda_format::BUILD_FORMAT.to_owned(),
        version: andromeda_format::VERSION,
        root: String::new(),
        name: name.to_owned(),
        fingerprint: fingerprint.hex(),
        tokenizer: TokenizerEntry {
            file: "tokenizer.json".to_owned(),
            sha256: Digest(tokenizer.sha256()).hex(),
            kind: tokenizer.kind().to_owned(),
            vocab_size,
            end_of_text: EndOfText {
                id: end_of_text,
                token: token.to_owned(),
            },
        },
        token_width: width,
        frame_tokens: options.shard.frame_tokens,
        shard_tokens: options.shard.tokens,
        splits: written.splits,
        datasets: vec![dataset],
        funnel,
        contaminates: Vec::new(),
        decontaminated: Vec::new(),
        lists: Vec::new(),
        tables: written.tables,
        recipe,
        program: format!("andromeda {}", env!("CARGO_PKG_VERSION")),
    };
    let bytes = manifest.to_bytes()?;
    andromeda_format::write_atomic(&at.join("manifest.json"), &bytes)?;
    folder.publish()?;
    Ok(Imported {
        manifest,
        ended: written.ended,
        empty: written.empty,
    })
}

/// A file of ids with what belongs to it.
struct OneInput {
    path: PathBuf,
    /// What the build calls it.
    listed: String,
    split: Split,
    /// All files that are read for it, with what the build calls them.
    files: Vec<(PathBuf, String)>,
}

fn inputs(options: &ImportOptions) -> Vec<OneInput> {
    let main = |path: &PathBuf| match options.from {
        Origin::Megatron => megatron::pair(path).0,
        Origin::Nanogpt | Origin::Datatrove => path.clone(),
    };
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let paths: Vec<PathBuf> = options.files.iter().map(main).collect();
    let names: BTreeSet<String> = paths.iter().map(|path| name(path)).collect();
    // Names alone, so that a build does not depend on where its files were; but names that tell the files apart.
    let distinct = names.len() == paths.len();
    let listed = |path: &Path| match distinct {
        true => name(path),
        false => path.to_string_lossy().into_owned(),
    };
    let one = |path: PathBuf| {
        let mut files = vec![path.clone()];
        match options.from {
            Origin::Nanogpt => {}
            Origin::Megatron => files.push(megatron::pair(&path).1),
            Origin::Datatrove => files.extend(datatrove::beside(&path)),
        }
        let begins = |with: &str| name(&path).starts_with(with);
        let by_name = match () {
            () if begins("val") => Split::Val,
            () if begins("test") => Split::Test,
            () => Split::Train,
        };
        OneInput {
            listed: listed(&path),
            split: options.split.unwrap_or(by_name),
            files: files
                .into_iter()
                .map(|file| (file.clone(), listed(&file)))
                .collect(),
            path,
        }
    };
    paths.into_iter().map(one).collect()
}
