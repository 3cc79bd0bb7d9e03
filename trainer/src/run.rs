//! The folder of a run: `config.toml`, `tokenizer.json`, `dialogues.json`, `metrics.jsonl` and the checkpoints, held by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::chat::Dialogues;
use crate::checkpoint::sync;
use crate::config::RunConfig;
use crate::error::{Error, Result};

const CONFIG: &str = "config.toml";
const TOKENIZER: &str = "tokenizer.json";
const DIALOGUES: &str = "dialogues.json";

/// A run's folder, locked until dropped.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    /// None where another worker of the run has it.
    _lock: Option<File>,
}

impl Run {
    /// Creates the folder if need be and locks it.
    pub fn lock(path: &Path) -> Result<Self> {
        fs_err::create_dir_all(path).map_err(Error::io("creating the run"))?;
        // The operating system drops this lock with the process, however that ends.
        let lock = fs_err::File::create(path.join("lock"))
            .map_err(Error::io("locking the run"))?
            .into_parts()
            .0;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: Some(lock),
            }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(Error::Io {
                what: format!("locking {}", path.display()),
                source,
            }),
        }
    }

    /// The folder of a run that its first worker has locked, for the others, which write nothing there and need not see it.
    pub fn of_first_worker(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            _lock: None,
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `config.toml`, for people; checkpoints carry their own.
    pub fn write_config(&self, config: &RunConfig) -> Result<()> {
        self.publish(CONFIG, config.to_toml()?.as_bytes())
    }

    /// Copies the build's tokenizer, so that the run can be sampled without the build.
    pub fn write_tokenizer(&self, bytes: &[u8]) -> Result<()> {
        self.publish(TOKENIZER, bytes)
    }

    /// Writes how the build's dialogues are written down, so that the run can be talked to without the build. What is there stays
    /// unless `anew`.
    pub fn write_dialogues(&self, dialogues: Dialogues, anew: bool) -> Result<()> {
        if !anew && self.path.join(DIALOGUES).exists() {
            return Ok(());
        }
        let mut bytes = serde_json::to_vec(&dialogues)
            .map_err(|error| Error::Usage(format!("{DIALOGUES} cannot be written: {error}")))?;
        bytes.push(b'\n');
        self.publish(DIALOGUES, &bytes)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> Result<()> {
        publish(&self.path, name, bytes)
    }
}

/// Reads `config.toml` of the run at `path`: what it was started with last.
///
/// # Errors
/// There is none, or it is no configuration of a run.
pub fn read_config(path: &Path) -> Result<RunConfig> {
    let path = path.join(CONFIG);
    let text =
        fs_err::read_to_string(&path).map_err(Error::io("reading the run's configuration"))?;
    toml::from_str(&text).map_err(|error| Error::Config {
        path,
        problem: error.to_string(),
    })
}

/// Writes the file `name` of the run at `path`: whole, or not at all. For the holder of the run's lock.
pub(crate) fn publish(path: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let aside = path.join(format!(".{name}.partial"));
    fs_err::write(&aside, bytes).map_err(Error::io("writing to the run"))?;
    sync(&aside)?;
    fs_err::rename(&aside, path.join(name)).map_err(Error::io("writing to the run"))?;
    sync(path)
}

/// Where the tokenizer of the run at `path` lies.
pub fn tokenizer_path(path: &Path) -> PathBuf {
    path.join(TOKENIZER)
}

/// How the build of the run at `path` wrote dialogues down; none for a run of before that was kept.
///
/// # Errors
/// It cannot be read, or says something that is not known.
pub fn read_dialogues(path: &Path) -> Result<Option<Dialogues>> {
    let path = path.join(DIALOGUES);
    let bytes = match fs_err::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.map_err(Error::io("reading the run"))?,
    };
    let read = serde_json::from_slice(&bytes);
    read.map(Some).map_err(|error| Error::Integrity {
        path,
        problem: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Run::lock(folder.path()).unwrap();
        assert!(matches!(Run::lock(folder.path()), Err(Error::Busy(_))));
        drop(held);
        Run::lock(folder.path()).unwrap();
    }
}
