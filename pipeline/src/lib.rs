//! From prioritized datasets to deduplicated, filtered, tokenized shards.
//!
//! The principal function is [`plan::plan`], which resolves what a person wrote into a [`plan::Plan`], and
//! [`execute::build`], which makes of it a build that [`andromeda_format`] describes. Modules stand here in the order the
//! data flows: what is written, what is pinned, what happens to a file, a row, a document, all documents together, and
//! what is shown.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//! use andromeda_pipeline::{catalogue::{Selection, Tier}, execute, plan, progress::Silent};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plan = plan::plan(&plan::PlanOptions {
//!     manifests: "manifests".into(),
//!     selection: Selection::Tiers(vec![Tier::Sample]),
//!     recipe: "sample".into(),
//!     work: "work".into(),
//!     lock: "manifests/datasets.lock".into(),
//!     full: false,
//!     with_benchmarks: false,
//!     skip_unavailable: false,
//!     shards: "shards".into(),
//!     against: Vec::new(),
//!     needs_tokenizer: true,
//! })?;
//! let options = execute::BuildOptions {
//!     work: "work".into(),
//!     shards: "shards".into(),
//!     lock: "manifests/datasets.lock".into(),
//!     threads: 2,
//!     memory_bytes: 4 << 30,
//!     skip_bad_files: false,
//! };
//! let built = execute::build(&plan, &options, &Silent, &AtomicBool::new(false))?;
//! println!("{}", built.manifest.root);
//! # Ok(())
//! # }
//! ```

// What is written, and what it resolves to.
pub mod catalogue;
pub mod lock;
pub mod plan;
pub mod recipe;
pub mod source;
pub mod written;

// What happens to a file, a row, a document.
pub mod fetch;

pub mod read;

pub mod render;

pub mod normalize;
pub mod redact;

pub mod analysis;
pub mod classify;
pub mod filter;
pub mod language;

pub mod dedup;

pub mod decontaminate;

pub mod tokenize;

// All of it together.
pub mod digest;
pub mod execute;
pub mod progress;
pub mod publish;

// What leaves, and what arrives.
pub mod export;
pub mod import;

// What is shown.
pub mod cli;
pub mod commands;
pub mod documents;
pub mod exit;
pub mod report;
pub mod screen;
