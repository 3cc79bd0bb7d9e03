//! Why there is no plan.

use std::path::PathBuf;

use crate::fetch::FetchError;
use crate::source::SourceError;
use crate::written::Problems;

/// A dataset that cannot be had.
#[derive(Debug)]
pub struct Unavailable {
    /// Its name.
    pub name: String,
    /// How to get access, as its manifest says; for a gated one.
    pub access: Option<String>,
    /// How the hub refused.
    pub error: FetchError,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Something written is wrong.
    #[error(transparent)]
    Written(#[from] Problems),
    /// Something outside did not work.
    #[error(transparent)]
    Source(SourceError),
    /// A model or a tokenizer of the hub could not be had.
    #[error(
        "{file} names {name}: {error}\n  hint: a path in its place names a file on this machine; the tokenizer that is shipped is tokenizers/andromeda-16k.json"
    )]
    HubFile {
        /// The recipe.
        file: String,
        /// As written there.
        name: String,
        /// Why.
        error: FetchError,
    },
    /// The lock file could not be written.
    #[error("the lock file {file} could not be written: {error}")]
    Lock {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Datasets whose terms were not accepted, or that are not there any more.
    #[error("{}", unavailable(datasets, *others))]
    Unavailable {
        /// All of them.
        datasets: Vec<Unavailable>,
        /// Whether there are datasets besides.
        others: bool,
    },
    /// It would not fit.
    #[error("{what} is too small: this build needs about {} MB and {} MB are allowed ({hint})", needed / 1_000_000, available / 1_000_000)]
    DoesNotFit {
        /// Memory or the disk of a folder.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        available: u64,
        /// What to do.
        hint: String,
    },
}

fn unavailable(datasets: &[Unavailable], others: bool) -> String {
    let mut lines = Vec::new();
    for dataset in datasets {
        lines.push(format!("dataset {}: {}", dataset.name, dataset.error));
        lines.extend(
            dataset
                .access
                .iter()
                .map(|access| format!("  hint: {access}")),
        );
    }
    if others {
        lines.push("  hint: --skip-unavailable builds the others without".to_owned());
    }
    lines.join("\n")
}
