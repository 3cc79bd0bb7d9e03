//! The lock file: which commit each revision of a hub repository was pinned to, the file lists of those commits, and what
//! files at plain addresses were when they were first seen.
//!
//! Pins are kept in one small TOML file that can be committed, so that a plan made today is the plan made next year. File
//! lists belong to a commit and never change, so they are kept in the work folder and asked for once. Several runs may pin at
//! the same time: what another wrote meanwhile is kept.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fetch::{Commit, FetchError, Hub, Pin, RemoteFile, RepoId};
use crate::written::{self, Problem, Problems};

/// Pinned revisions and addresses, and where listings are kept.
#[derive(Debug, Default)]
pub struct Lock {
    file: PathBuf,
    listings: PathBuf,
    pins: Pins,
    /// What was pinned since the file was last read or written.
    news: Pins,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pins {
    /// By endpoint, then `owner/name@revision`: the commit.
    #[serde(default)]
    pinned: BTreeMap<String, BTreeMap<String, Commit>>,
    /// By address: what was there.
    #[serde(default)]
    web: BTreeMap<String, Pin>,
}

impl Pins {
    fn read(file: &Path) -> Result<Self, Problems> {
        match fs_err::read_to_string(file) {
            Ok(text) => written::parse(file, &text).map_err(Problems),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            // Taken for an empty one, it would be written over and everything pinned anew.
            Err(error) => {
                let problem =
                    Problem::of_file(file, format!("the lock file cannot be read: {error}"), None);
                Err(Problems(vec![
                    problem.hint("restore it, or delete it to pin everything anew"),
                ]))
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.pinned.is_empty() && self.web.is_empty()
    }

    fn extend(&mut self, news: Self) {
        for (endpoint, commits) in news.pinned {
            self.pinned.entry(endpoint).or_default().extend(commits);
        }
        self.web.extend(news.web);
    }

    /// As TOML, a line a pin.
    fn text(&self) -> String {
        // A string of JSON is a basic string of TOML, which is what a key has to be.
        let quoted = |text: &str| serde_json::Value::String(text.to_owned()).to_string();
        let mut text = String::from(
            "# What revisions and addresses were pinned to. Delete a line to pin anew; keep the file to build the same again.\n",
        );
        for (endpoint, commits) in &self.pinned {
            let _ = writeln!(text, "\n[pinned.{}]", quoted(endpoint));
            for (revision, commit) in commits {
                let _ = writeln!(text, "{} = \"{commit}\"", quoted(revision));
            }
        }
        if !self.web.is_empty() {
            text.push_str("\n[web]\n");
        }
        for (url, pin) in &self.web {
            let _ = write!(text, "{} = {{ bytes = {}", quoted(url), pin.bytes);
            for (key, value) in [("etag", &pin.etag), ("sha256", &pin.sha256)] {
                if let Some(value) = value {
                    let _ = write!(text, ", {key} = {}", quoted(value));
                }
            }
            text.push_str(" }\n");
        }
        text
    }
}

impl Lock {
    /// Opens the lock file `file` (an absent one is empty), with listings kept in the folder `listings`.
    pub fn open(file: &Path, listings: &Path) -> Result<Self, Problems> {
        Ok(Self {
            file: file.to_path_buf(),
            listings: listings.to_path_buf(),
            pins: Pins::read(file)?,
            news: Pins::default(),
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
        let name = format!("{repository}@{revision}");
        for pins in [&mut self.pins, &mut self.news] {
            let commits = pins.pinned.entry(endpoint.to_owned()).or_default();
            commits.insert(name.clone(), commit.clone());
        }
    }

    /// What the file at `url` was pinned to.
    pub fn web(&self, url: &str) -> Option<Pin> {
        self.pins.web.get(url).cloned()
    }

    /// What all files whose address begins with `root` were pinned to, by the rest of their addresses.
    pub fn below(&self, root: &str) -> Vec<(String, Pin)> {
        self.pins
            .web
            .range(root.to_owned()..)
            .map_while(|(url, pin)| Some((url.strip_prefix(root)?.to_owned(), pin.clone())))
            .collect()
    }

    /// Pins what is at `url`.
    pub fn pin_web(&mut self, url: &str, pin: &Pin) {
        for pins in [&mut self.pins, &mut self.news] {
            pins.web.insert(url.to_owned(), pin.clone());
        }
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

    /// Writes the lock file if something was pinned.
    pub fn save(&mut self) -> std::io::Result<()> {
        if self.news.is_empty() {
            return Ok(());
        }
        let mut pins = Pins::read(&self.file).map_err(std::io::Error::other)?;
        pins.extend(std::mem::take(&mut self.news));
        andromeda_format::write_atomic(&self.file, pins.text().as_bytes())
            .map_err(std::io::Error::other)?;
        self.pins = pins;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_runs_pin_at_the_same_time_is_all_kept_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("datasets.lock");
        let open = || Lock::open(&file, folder.path()).unwrap();
        let (mut first, mut second) = (open(), open());
        let repository: RepoId = "owner/name".parse().unwrap();
        let commit: Commit = "1".repeat(40).parse().unwrap();
        first.pin("https://hub.example", &repository, "main", &commit);
        let address = "https://host.example/a \"b\"?c='d'";
        let pin = Pin {
            bytes: u64::from(u32::MAX) * 3,
            etag: Some("W/\"x\"".to_owned()),
            sha256: None,
        };
        second.pin_web(address, &pin);
        first.save().unwrap();
        second.save().unwrap();
        let third = open();
        assert_eq!(
            third.commit("https://hub.example", &repository, "main"),
            Some(commit)
        );
        assert_eq!(third.web(address), Some(pin));
        let text = fs_err::read_to_string(&file).unwrap();
        first.save().unwrap();
        assert_eq!(fs_err::read_to_string(&file).unwrap(), text, "nothing new");
    }

    #[test]
    fn a_lock_file_that_cannot_be_read_is_not_taken_for_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        for text in [&b"[webb]\n"[..], b"\xff"] {
            let file = folder.path().join("datasets.lock");
            fs_err::write(&file, text).unwrap();
            let error = Lock::open(&file, folder.path()).unwrap_err();
            assert!(error.to_string().contains("datasets.lock"), "{error}");
        }
    }
}
