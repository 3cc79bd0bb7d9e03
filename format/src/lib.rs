//! The contract between pipeline and trainer: shards of token ids and the manifest of a build.
//!
//! The principal type is [`Build`], an open folder of shards; [`Loader`] reads sequences from it, [`ShardWriter`] and
//! [`Manifest`] make one, [`verify`] checks every byte. The bytes and the order of sequences are specified in `SPEC.md` beside
//! this crate's source. No network, tokenizer or tensor is in here, and one thread: that of [`Prefetch`].
//!
//! ```
//! use andromeda_format::{DocumentEntry, ShardFlags, ShardReader, ShardSpec, TokenWidth, write_shard};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let spec = ShardSpec {
//!     width: TokenWidth::U16,
//!     vocab_size: 50_277,
//!     end_of_text: 0,
//!     frame_tokens: 65_536,
//!     tokenizer_sha256: [0; 32],
//!     level: 3,
//! };
//! let documents = [DocumentEntry { end: 3, source: 0, row: 0 }, DocumentEntry { end: 5, source: 0, row: 1 }];
//! let (bytes, _) = write_shard(&spec, &[11, 12, 0, 13, 0], &documents, &[], ShardFlags::default(), Vec::new())?;
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("train-00000.zst");
//! andromeda_format::write_atomic(&path, &bytes)?;
//!
//! let mut shard = ShardReader::open(&path)?;
//! let mut ids = Vec::new();
//! shard.read_tokens(3..5, &mut ids)?;
//! assert_eq!(ids, [13, 0]);
//! # Ok(())
//! # }
//! ```

mod build;
mod chunk;
mod dialogue;
mod error;
mod loader;
mod manifest;
pub mod memory;
mod order;
mod packing;
mod prefetch;
mod publish;
mod reader;
mod shard;
mod source;
mod state;
mod store;
mod stored;

pub use build::{Build, VerifyEvent, VerifyReport, verify};
pub use dialogue::{ChatFormat, Piece};
pub use error::{FormatError, Result};
pub use loader::{Account, Loader, LoaderOptions, MixtureSource, Packing, Sequence, Shuffle};
pub use manifest::{
    BUILD_FORMAT, BenchmarkEntry, Count, DatasetEntry, EndOfText, FaultEntry, FileEntry, Funnel,
    Manifest, Redacted, ShardEntry, Split, SplitEntry, SplitTokens, TokenizerEntry, VERSION,
};
pub use prefetch::{Prefetch, Stride};
pub use publish::write_atomic;
pub use reader::ShardReader;
pub use shard::{
    DocumentEntry, Frame, ShardFlags, ShardIndex, ShardSpec, ShardSummary, ShardWriter, TokenWidth,
    encode_frame, write_shard,
};
pub use state::LoaderState;
pub use store::{Copied, Folder, Store, copy_build, remote_manifest};
