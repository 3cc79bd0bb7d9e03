//! Whether a build holds what a task asks, as far as its manifest knows.

use andromeda_format::Manifest;
use serde::Serialize;

/// What builds have to do with a benchmark: the worse is above the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Contamination {
    /// Its items were looked for in all other data, and taken out.
    Removed,
    /// Nothing was looked for: what is on the web may hold it.
    NotLookedFor,
    /// A build is not at hand.
    Unknown,
    /// Rows of its training split are training data, in the form of its prompts or another, and its items were not looked for.
    TrainingSplit,
    /// Its rows are training data: a score says nothing.
    TrainedOn,
}

impl Contamination {
    /// What the builds that a model was trained on know of `benchmark`, a dataset or one of its configs (`glue/sst2`); nothing stands
    /// for a build that is not at hand.
    pub fn of<'a>(
        manifests: impl IntoIterator<Item = Option<&'a Manifest>>,
        benchmark: &str,
    ) -> Self {
        let of_each = manifests.into_iter().map(|manifest| match manifest {
            Some(manifest) => Self::of_build(manifest, benchmark),
            None => Self::Unknown,
        });
        of_each.max().unwrap_or(Self::Unknown)
    }

    fn of_build(manifest: &Manifest, benchmark: &str) -> Self {
        // Who names a dataset means all of its configs.
        let holds = |name: &str| match benchmark.strip_prefix(name) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        };
        if manifest.contaminates.iter().any(|name| holds(name)) {
            Self::TrainedOn
        } else if manifest
            .decontaminated
            .iter()
            .any(|entry| holds(&entry.name))
        {
            Self::Removed
        } else if manifest.datasets.iter().any(|dataset| holds(&dataset.name)) {
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
