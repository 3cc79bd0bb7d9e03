//! The lock file: which commit each revision of a hub repository was pinned to, and the file lists of those commits.
//!
//! Pins are kept in one small TOML file that can be committed, so that a plan made today is the plan made next year. File
//! lists belong to a commit and never change, so they are kept in the work folder and asked for once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fetch::{Commit, FetchError, Hub, RemoteFile, RepoId};
use crate::written::{self, Problem, Problems};

/// Pinned revisions, and where listings are kept.
#[derive(Debug, Default)]
pub struct Lock {
    file: PathBuf,
    listings: PathBuf,
    pins: Pins,
    changed: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pins {
    /// By endpoint, then `owner/name@revision`: the commit.
    #[serde(default)]
    pinned: BTreeMap<String, BTreeMap<String, Commit>>,
}

impl Lock {
    /// Opens the lock file `file` (an absent one is empty), with listings kept in the folder `listings`.
    pub fn open(file: &Path, listings: &Path) -> Result<Self, Problems> {
        let pins = match fs_err::read_to_string(file) {
            Ok(text) => written::parse(file, &text).map_err(Problems)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Pins::default(),
            // Taken for an empty one, it would be written over and every revision pinned anew.
            Err(error) => {
                let problem =
                    Problem::of_file(file, format!("the lock file cannot be read: {error}"), None);
                return Err(Problems(vec![
                    problem.hint("restore it, or delete it to pin every revision anew"),
                ]));
            }
        };
        Ok(Self {
            file: file.to_path_buf(),
            listings: listings.to_path_buf(),
            pins,
            changed: false,
        })
    }

    /// The commit that `revision` of `repository` is pinned to.
    pub fn commit(&self, endpoint: &str, repository: &RepoId, revision: &str) -> Option<Commit> {
        self.pins
            .pinned
            .get(endpoint)?
            .get(&format!("{repository}@{revision}"))
            .cloned()
    }

    /// Pins a revision.
    pub fn pin(&mut self, endpoint: &str, repository: &RepoId, revision: &str, commit: &Commit) {
        let pins = self.pins.pinned.entry(endpoint.to_owned()).or_default();
        pins.insert(format!("{repository}@{revision}"), commit.clone());
        self.changed = true;
    }

    /// The files of a commit, from the folder of listings or from the hub.
    pub fn listing(
        &self,
        hub: &Hub,
        repository: &RepoId,
        commit: &Commit,
    ) -> Result<Vec<RemoteFile>, FetchError> {
        let kept = self.listings.join(format!(
            "{}-{commit}.json",
            repository.as_str().replace('/', "--")
        ));
        if let Some(files) = fs_err::read(&kept)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return Ok(files);
        }
        let files = hub.list(repository, commit)?;
        if let Ok(bytes) = serde_json::to_vec(&files) {
            // A listing that cannot be kept is asked for again.
            let _ = fs_err::create_dir_all(&self.listings).and_then(|()| {
                andromeda_format::write_atomic(&kept, &bytes).map_err(std::io::Error::other)
            });
        }
        Ok(files)
    }

    /// Writes the lock file if a revision was pinned.
    pub fn save(&mut self) -> std::io::Result<()> {
        if self.changed {
            let text =
                toml::to_string(&self.pins).expect("maps of strings always have a TOML form");
            let head = "# Commits that revisions were pinned to. Delete a line to pin anew; keep the file to build the same again.\n";
            andromeda_format::write_atomic(&self.file, format!("{head}{text}").as_bytes())
                .map_err(std::io::Error::other)?;
            self.changed = false;
        }
        Ok(())
    }
}
