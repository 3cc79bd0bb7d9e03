//! Whether a build holds what a task asks, as far as its manifest knows.

use andromeda_format::Manifest;
use serde::Serialize;

/// What a build has to do with a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contamination {
    /// Its rows are training data: a score says nothing.
    TrainedOn,
    /// Rows of its training split are training data, in the form of its prompts or another, and its items were not looked for.
    TrainingSplit,
    /// Its items were looked for in all other data, and taken out.
    Removed,
    /// Nothing was looked for: what is on the web may hold it.
    NotLookedFor,
    /// The build is not at hand.
    Unknown,
}

impl Contamination {
    /// What `manifest` knows of `benchmark`.
    pub fn of(manifest: Option<&Manifest>, benchmark: &str) -> Self {
        let Some(manifest) = manifest else {
            return Self::Unknown;
        };
        if manifest.contaminates.iter().any(|name| name == benchmark) {
            Self::TrainedOn
        } else if manifest
            .decontaminated
            .iter()
            .any(|entry| entry.name == benchmark)
        {
            Self::Removed
        } else if manifest
            .datasets
            .iter()
            .any(|dataset| dataset.name == benchmark)
        {
            Self::TrainingSplit
        } else {
            Self::NotLookedFor
        }
    }

    /// As it is shown.
    pub const fn shown(self) -> &'static str {
        match self {
            Self::TrainedOn => "CONTAMINATED: its rows are training data",
            Self::TrainingSplit => "its training split is training data",
            Self::Removed => "its items were taken out of the training data",
            Self::NotLookedFor => "not looked for in the training data",
            Self::Unknown => "the build is not at hand",
        }
    }
}
