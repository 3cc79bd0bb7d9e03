//! Answers that a model gave before, kept beside its run: `evaluation/<checkpoint>.jsonl`, a line a batch of questions. The name is of
//! the checkpoint's digest, so that no other checkpoint's answers are found; a line that is cut off, as a killed process leaves it, is
//! as good as none.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::responses::Answer;
use crate::error::{Error, Result};

/// Answers from before, and the file that more are appended to.
#[derive(Debug)]
pub struct Kept {
    known: BTreeMap<String, Vec<Answer>>,
    file: Option<File>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    answers: Vec<Answer>,
}

impl Kept {
    /// Keeps nothing.
    pub const fn nothing() -> Self {
        Self {
            known: BTreeMap::new(),
            file: None,
        }
    }

    /// Opens the answers of the checkpoint with this `digest` in `folder`, which is made if need be.
    ///
    /// # Errors
    /// The disk failed.
    pub fn open(folder: &Path, digest: &str) -> Result<Self> {
        let failed = || Error::io("keeping answers");
        fs_err::create_dir_all(folder).map_err(failed())?;
        let path = folder.join(format!("{digest}.jsonl"));
        let mut known = BTreeMap::new();
        let mut cut_off = false;
        if path.exists() {
            let bytes = fs_err::read(&path).map_err(failed())?;
            cut_off = bytes.last().is_some_and(|&byte| byte != b'\n');
            for line in bytes.split(|&byte| byte == b'\n') {
                if let Ok(line) = serde_json::from_slice::<Line>(line) {
                    known.insert(line.key, line.answers);
                }
            }
        }
        let mut options = fs_err::OpenOptions::new();
        let file = options
            .create(true)
            .append(true)
            .open(&path)
            .map_err(failed())?;
        let mut file = file.into_parts().0;
        if cut_off {
            // What is appended must not become the end of what is no line.
            file.write_all(b"\n").map_err(failed())?;
        }
        Ok(Self {
            known,
            file: Some(file),
        })
    }

    /// The answers of a batch.
    pub fn get(&self, key: &str) -> Option<&Vec<Answer>> {
        self.known.get(key)
    }

    /// Keeps the answers of a batch.
    ///
    /// # Errors
    /// The disk failed.
    pub fn put(&mut self, key: &str, answers: &[Answer]) -> Result<()> {
        let line = Line {
            key: key.to_owned(),
            answers: answers.to_vec(),
        };
        if let Some(file) = &mut self.file {
            let mut bytes = serde_json::to_vec(&line)
                .map_err(|error| Error::io("keeping answers")(error.into()))?;
            bytes.push(b'\n');
            file.write_all(&bytes)
                .map_err(Error::io("keeping answers"))?;
        }
        self.known.insert(line.key, line.answers);
        Ok(())
    }
}
