//! What the work folder knows of a build: `work/builds/<name>.json`, the intermediates that it stands on.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::block::verdict;
use super::store::{self, SectionFile, StoreError};
use super::texts::Texts;
use crate::digest::Digest;
use crate::progress::Stage;

/// The intermediates of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Stage and key of every task.
    pub used: Vec<(String, Digest)>,
    /// Key of every extracted block and its rows in the table of documents, in the order of that table.
    pub blocks: Vec<(Digest, u64)>,
}

impl Note {
    fn path(work: &Path, name: &str) -> PathBuf {
        work.join("builds").join(format!("{name}.json"))
    }

    /// Writes it.
    pub(super) fn write(&self, work: &Path, name: &str) -> Result<(), StoreError> {
        let path = Self::path(work, name);
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        let bytes = serde_json::to_vec(self).expect("names and digests are plain data");
        andromeda_format::write_atomic(&path, &bytes)
            .map_err(|error| StoreError::Io(std::io::Error::other(error)))
    }

    /// Reads one from its file. Notes of older versions name no blocks.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = fs_err::read(path)?;
        let older = |_| {
            serde_json::from_slice(&bytes).map(|used| Self {
                used,
                blocks: Vec::new(),
            })
        };
        serde_json::from_slice(&bytes)
            .or_else(older)
            .map_err(|error| StoreError::Damaged {
                file: path.to_path_buf(),
                what: error.to_string(),
            })
    }
}

/// Texts of a build's documents, as far as the work folder still has them.
#[derive(Debug)]
pub struct BuildTexts {
    work: PathBuf,
    blocks: Vec<(Digest, u64)>,
}

impl BuildTexts {
    /// Of the build called `name`.
    ///
    /// # Errors
    /// The work folder's note of it cannot be read; one that is not there is no error.
    pub fn open(work: &Path, name: &str) -> Result<Self, StoreError> {
        let path = Note::path(work, name);
        let blocks = match path.is_file() {
            true => Note::read(&path)?.blocks,
            false => Vec::new(),
        };
        Ok(Self {
            work: work.to_path_buf(),
            blocks,
        })
    }

    /// The normalized text of the document of a row of the table of documents; `None` where it is not there any more, or
    /// the document was dropped by a rule.
    ///
    /// # Errors
    /// An intermediate is damaged.
    pub fn of_row(&self, row: u64) -> Result<Option<String>, StoreError> {
        let mut first = 0;
        for (key, rows) in &self.blocks {
            if row >= first + rows {
                first += rows;
                continue;
            }
            let path = store::data_path(&self.work, Stage::Extract, *key);
            if !path.is_file() {
                return Ok(None);
            }
            let file = SectionFile::open(&path)?;
            let verdicts = file.read("verdicts")?;
            let at = usize::try_from(row - first).unwrap_or(usize::MAX);
            if verdicts.get(at) != Some(&verdict::SURVIVED) {
                return Ok(None);
            }
            let before = verdicts[..at].iter();
            let local = before.filter(|v| **v == verdict::SURVIVED).count();
            let local = u32::try_from(local).expect("a block has fewer than 2^32 documents");
            return Ok(Some(Texts::read(&file)?.get(local)?.to_owned()));
        }
        Ok(None)
    }
}
