//! What a running build tells whoever started it: typed events, no text.
//!
//! A build sends, in this order: one [`Event::Stage`] for each stage it enters, any number of [`Event::Advanced`] within
//! it, [`Event::Fault`] for each file or document range that could not be used, and one [`Event::Finished`]. Handlers are
//! called from worker threads and must not block.

use std::path::PathBuf;

use serde::Serialize;

/// The parts of a build, in the order they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Files of remote datasets come down and are verified.
    Fetch,
    /// Files become judged, hashed and signed documents.
    Extract,
    /// Duplicates are found among all documents.
    Resolve,
    /// What stood before is cut from the documents that stay, where the recipe asks for it.
    Trim,
    /// Kept documents become token ids.
    Tokenize,
    /// Token ids are permuted and written.
    Shards,
    /// Tables and the manifest are written.
    Finish,
    /// Files are judged and copied without what goes: of no build, but `andromeda filter`.
    Filter,
}

impl Stage {
    /// The stage's name, as it stands in paths and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Extract => "extract",
            Self::Resolve => "resolve",
            Self::Trim => "trim",
            Self::Tokenize => "tokenize",
            Self::Shards => "shards",
            Self::Finish => "finish",
            Self::Filter => "filter",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A stage begins; `total` is in the unit of its `Advanced` events, 0 if unknown.
    Stage {
        /// Which.
        stage: Stage,
        /// Work ahead: bytes for fetch, extract, tokenize and filter, tokens for shards, steps for the others.
        total: u64,
    },
    /// Work was done, or found done by an earlier run.
    Advanced {
        /// In which stage.
        stage: Stage,
        /// How much, in the stage's unit.
        by: u64,
        /// Whether it was found done.
        reused: bool,
    },
    /// A file could not be used whole; the run goes on and ends unsuccessful.
    Fault {
        /// The dataset it belongs to.
        dataset: String,
        /// The file.
        file: PathBuf,
        /// What happened and what to do.
        message: String,
    },
    /// The build is complete.
    Finished {
        /// The build folder.
        folder: PathBuf,
        /// Root hash of its manifest.
        root: String,
    },
}

/// Receives the events of a build.
pub trait Progress: Sync {
    /// Called once an event, from any thread.
    fn event(&self, event: &Event);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: &Event) {}
}
