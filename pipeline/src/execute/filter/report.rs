//! `filter.json`, and why there is none.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::execute::{Fault, Rate};
use crate::publish::PublishError;
use crate::render::RenderError;

/// What a profile said of documents, each as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileCounts {
    /// Documents that it keeps.
    pub kept: u64,
    /// Documents that it drops, by reason.
    pub dropped: BTreeMap<String, u64>,
}

/// What became of a file's rows: `rows = kept + dropped + unjudged`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileCounts {
    /// Rows that were read.
    pub rows: u64,
    /// Documents that all profiles keep: they were copied.
    pub kept: u64,
    /// Those of them whose text was edited.
    pub edited: u64,
    /// Documents that went, by the first profile that drops them and its reason.
    pub dropped: BTreeMap<String, BTreeMap<String, u64>>,
    /// Rows without text, by what is wrong with them: they were copied.
    pub unjudged: BTreeMap<String, u64>,
    /// Bytes of the documents' texts as they came.
    pub text_bytes: u64,
    /// Bytes of the texts that were kept, as they are now.
    pub kept_text_bytes: u64,
    /// What each profile said of all documents, whatever the others say; where verdicts are written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub profiles: BTreeMap<String, ProfileCounts>,
}

fn add_counts(into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (reason, count) in from {
        *into.entry(reason.clone()).or_default() += count;
    }
}

impl FileCounts {
    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.kept += other.kept;
        self.edited += other.edited;
        self.text_bytes += other.text_bytes;
        self.kept_text_bytes += other.kept_text_bytes;
        for (profile, dropped) in &other.dropped {
            add_counts(self.dropped.entry(profile.clone()).or_default(), dropped);
        }
        add_counts(&mut self.unjudged, &other.unjudged);
        for (profile, counts) in &other.profiles {
            let own = self.profiles.entry(profile.clone()).or_default();
            own.kept += counts.kept;
            add_counts(&mut own.dropped, &counts.dropped);
        }
    }

    /// Documents that went.
    #[must_use]
    pub fn dropped_documents(&self) -> u64 {
        self.dropped.values().flat_map(BTreeMap::values).sum()
    }

    pub(super) fn balances(&self) -> bool {
        let unjudged: u64 = self.unjudged.values().sum();
        let documents = self.rows - unjudged.min(self.rows);
        let of_all = |counts: &ProfileCounts| {
            counts.kept + counts.dropped.values().sum::<u64>() == documents
        };
        documents == self.kept + self.dropped_documents() && self.profiles.values().all(of_all)
    }
}

/// A profile as it was used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileUsed {
    /// Its name.
    pub name: String,
    /// Its rules and the values that are written over the published ones.
    pub options: Value,
    /// Name and version of each rule, where it lists them.
    pub versions: Vec<String>,
}

/// A file that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BadFile {
    /// Its name.
    pub file: String,
    /// What is wrong with it.
    pub problem: String,
}

/// `filter.json`: what was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The profiles, in the order in which they were asked.
    pub profiles: Vec<ProfileUsed>,
    /// The field with the text.
    pub text: String,
    /// The field with the id.
    pub id: String,
    /// Counts of each file, by its name.
    pub files: BTreeMap<String, FileCounts>,
    /// Their sum.
    pub total: FileCounts,
    /// Files that could not be read to their end, of which rows are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bad_files: Vec<BadFile>,
}

/// Filtered files.
#[derive(Debug)]
pub struct Filtered {
    /// What was done.
    pub report: Report,
    /// How fast it went.
    pub rates: Vec<Rate>,
    /// Files that could not be read to their end.
    pub faults: Vec<Fault>,
}

/// The report's name in the folder.
pub const REPORT: &str = "filter.json";

/// Why there are no filtered files.
#[derive(Debug, thiserror::Error)]
pub enum FilterFilesError {
    /// The folder.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A profile that nothing can be judged by.
    #[error("profile {name}: {why}")]
    Profile {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The name of a field is none.
    #[error(transparent)]
    Field(#[from] RenderError),
    /// Two files of the folder would have one name.
    #[error("two files of {} would be called {name}: {way_out}", folder.display())]
    Names {
        /// The folder.
        folder: PathBuf,
        /// The name.
        name: String,
        /// What to do.
        way_out: &'static str,
    },
    /// Files that could not be read to their end.
    #[error("{} of the files could not be read to the end, so none is written. {}", .0.len(), way_out(.0))]
    BadFiles(Vec<Fault>),
    /// A file that somebody writes to.
    #[error("{} changed while it was read; run again when it is at rest", .0.display())]
    Changed(PathBuf),
    /// A mistake of the program, found before anything is published.
    #[error("the rows of {} do not add up; please report it", .0.display())]
    Unbalanced(PathBuf),
    /// The machine gave no threads.
    #[error("no worker threads could be started: {0}")]
    Threads(String),
    /// Someone asked it to stop.
    #[error("interrupted; nothing was written")]
    Interrupted,
}

fn way_out(faults: &[Fault]) -> &'static str {
    match faults.iter().any(|fault| fault.passing) {
        true => "Run again when the disk is well",
        false => "Mend them and run again, or take them as far as they go with --skip-bad-files",
    }
}

impl FilterFilesError {
    /// The exit code that it ends a program with.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self {
            Self::Publish(PublishError::Taken(_) | PublishError::NoName(_))
            | Self::Profile { .. }
            | Self::Field(_)
            | Self::Names { .. } => exit::USAGE,
            Self::Publish(PublishError::Busy(_)) => exit::BUSY,
            Self::BadFiles(faults) if !faults.iter().any(|fault| fault.passing) => exit::PERMANENT,
            Self::Unbalanced(_) => exit::INTEGRITY,
            Self::Interrupted => exit::INTERRUPTED,
            Self::Publish(PublishError::Io(_))
            | Self::Io(_)
            | Self::BadFiles(_)
            | Self::Changed(_)
            | Self::Threads(_) => exit::RETRIABLE,
        }
    }
}
