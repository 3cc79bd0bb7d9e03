//! Objects of a store: `s3://bucket/prefix`.
//!
//! Stores need many more crates than everything else here together, so they are behind the feature `object-store`. A manifest
//! that names one is read and checked without it all the same.

use serde::Deserialize;

use super::{Listing, SourceError, web::Mistake};
use crate::catalogue::Dataset;

/// Objects below a prefix of a store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreSource {
    /// `s3://bucket/prefix`. Keys, region and endpoint are those of the environment (`AWS_...`).
    pub url: String,
    /// Glob patterns of the objects to take, relative to the prefix.
    #[serde(default = "everything")]
    pub files: Vec<String>,
    /// Glob patterns of objects to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

impl StoreSource {
    /// What is wrong with it by itself.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let rest = self.url.strip_prefix("s3://");
        if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) {
            return Vec::new();
        }
        vec![(
            "url",
            format!("`{}` is no store", self.url.escape_debug()),
            "write s3://bucket/prefix".to_owned(),
        )]
    }
}

#[cfg(not(feature = "object-store"))]
pub(super) fn store(dataset: &Dataset, source: &StoreSource) -> Result<Listing, SourceError> {
    let message = format!(
        "this program was built without stores such as {}",
        source.url
    );
    let problem = crate::written::Problem::of_file(&dataset.file, message, None);
    Err(SourceError::Written(problem.hint(
        "build it with `cargo build --release --features object-store`",
    )))
}
