//! One variant for each way a build can be wrong.

use std::path::{Path, PathBuf};

/// Why a shard, a manifest or a build cannot be used. Every variant but `Io` means that bytes are not what they should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("{file}: {error}")]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The end of the file is no seek table, so it is no shard or was cut short.
    #[error("{file} does not end as a shard does; it was cut short or is no shard")]
    NoSeekTable {
        /// The shard.
        file: PathBuf,
    },
    /// The seek table's sizes do not add up to the file's.
    #[error("{file} is {found} bytes long, its seek table describes {described}")]
    WrongLength {
        /// The shard.
        file: PathBuf,
        /// Bytes there.
        found: u64,
        /// Bytes described.
        described: u64,
    },
    /// The index frame does not begin as it must.
    #[error("{file} has no Andromeda index; it is another program's file")]
    NoIndex {
        /// The shard.
        file: PathBuf,
    },
    /// Written by a later version.
    #[error("{file} has version {found}; this program reads 1 to {newest}. A newer one is needed")]
    Version {
        /// The shard or manifest.
        file: PathBuf,
        /// The version found.
        found: u32,
        /// The newest this program reads.
        newest: u32,
    },
    /// The index does not hash to what it says.
    #[error("the index of {file} is damaged")]
    IndexDamaged {
        /// The shard.
        file: PathBuf,
    },
    /// The index contradicts itself.
    #[error("the index of {file} is wrong: {what}")]
    IndexWrong {
        /// The shard.
        file: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A frame does not hash to what the index says.
    #[error("frame {frame} of {file} is damaged")]
    FrameDamaged {
        /// The shard.
        file: PathBuf,
        /// The frame, from 0.
        frame: usize,
    },
    /// A token id outside the vocabulary.
    #[error("frame {frame} of {file} holds token {id}, outside the vocabulary of {vocab_size}")]
    TokenOutside {
        /// The shard.
        file: PathBuf,
        /// The frame, from 0.
        frame: usize,
        /// The id.
        id: u32,
        /// Ids there are.
        vocab_size: u32,
    },
    /// Tokens were asked for that are not there.
    #[error("tokens {start} to {end} were asked of {file}, which has {tokens}")]
    OutOfRange {
        /// The shard.
        file: PathBuf,
        /// First token asked for.
        start: u64,
        /// End of the tokens asked for.
        end: u64,
        /// Tokens there are.
        tokens: u64,
    },
    /// Tokens or documents were given to the writer that a shard cannot hold.
    #[error("a shard cannot be written: {what}")]
    Unwritable {
        /// Why.
        what: String,
    },
    /// The manifest is no manifest.
    #[error("{file} cannot be read as a build's manifest: {what}")]
    Manifest {
        /// The manifest.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The manifest does not hash to its own root.
    #[error("{file} was changed: its root says {written}, its content hashes to {computed}")]
    Root {
        /// The manifest.
        file: PathBuf,
        /// The root in it.
        written: String,
        /// The hash of its content.
        computed: String,
    },
    /// A file that the manifest lists is not there.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: PathBuf,
    },
    /// A file has another size than the manifest says.
    #[error("{file} is {found} bytes long, the manifest says {listed}")]
    Size {
        /// The file.
        file: PathBuf,
        /// Bytes there.
        found: u64,
        /// Bytes listed.
        listed: u64,
    },
    /// A file has other bytes than the manifest says.
    #[error("{file} is damaged: its sha256 is {found}, the manifest says {listed}")]
    Content {
        /// The file.
        file: PathBuf,
        /// sha256 of the bytes there.
        found: String,
        /// sha256 listed.
        listed: String,
    },
    /// A shard belongs to another build than its manifest.
    #[error("{file} does not belong to this build: its {what} differs from the manifest's")]
    Foreign {
        /// The shard.
        file: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A file that the manifest does not list.
    #[error("{file} is in the build's folder, and the manifest does not know it")]
    Stray {
        /// The file.
        file: PathBuf,
    },
    /// Counts of the manifest do not add up.
    #[error("the manifest's counts do not add up: {what}")]
    Counts {
        /// Which.
        what: String,
    },
    /// A split has too few tokens for one sequence.
    #[error(
        "split {split} has {tokens} tokens, too few for a sequence of {sequence_tokens}; use shorter sequences or more data"
    )]
    TooShort {
        /// The split.
        split: &'static str,
        /// Its tokens.
        tokens: u64,
        /// The sequence asked for.
        sequence_tokens: usize,
    },
    /// A loader cannot be made of these options.
    #[error("the loader's options are wrong: {what}")]
    Options {
        /// What is wrong, and what to do.
        what: String,
    },
    /// A position was counted in another order of sequences.
    #[error(
        "position {position} cannot be gone on from: {what}. Go on with the builds and options it was counted with, or begin at position 0"
    )]
    Position {
        /// The position.
        position: u64,
        /// What differs.
        what: String,
    },
    /// The thread that reads ahead is gone.
    #[error("nothing more is read ahead: {why}")]
    Ended {
        /// Why.
        why: &'static str,
    },
}

impl FormatError {
    pub(crate) fn options(what: impl Into<String>) -> Self {
        Self::Options { what: what.into() }
    }

    /// Whether the operating system refused, as against bytes being wrong: the same call may succeed later.
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    pub(crate) fn io(file: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Self::Io {
            file: file.to_path_buf(),
            error,
        }
    }

    pub(crate) fn unwritable(what: impl Into<String>) -> Self {
        Self::Unwritable { what: what.into() }
    }
}

impl From<FormatError> for std::io::Error {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Io { error, file } => {
                Self::new(error.kind(), format!("{}: {error}", file.display()))
            }
            other => Self::other(other),
        }
    }
}

/// What comes out of this crate.
pub type Result<T> = std::result::Result<T, FormatError>;
