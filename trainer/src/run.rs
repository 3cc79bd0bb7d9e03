//! The folder of a run: `config.toml`, `tokenizer.json`, `metrics.jsonl` and the checkpoints, held by one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::checkpoint::sync;
use crate::config::RunConfig;
use crate::error::{Error, Result};

const CONFIG: &str = "config.toml";
const TOKENIZER: &str = "tokenizer.json";

/// A run's folder, locked until dropped.
#[derive(Debug)]
pub struct Run {
    path: PathBuf,
    _lock: File,
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
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(Error::Busy(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(Error::Io {
                what: format!("locking {}", path.display()),
                source,
            }),
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

    fn publish(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let aside = self.path.join(format!(".{name}.partial"));
        fs_err::write(&aside, bytes).map_err(Error::io("writing to the run"))?;
        sync(&aside)?;
        fs_err::rename(&aside, self.path.join(name)).map_err(Error::io("writing to the run"))?;
        sync(&self.path)
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

/// Where the tokenizer of the run at `path` lies.
pub fn tokenizer_path(path: &Path) -> PathBuf {
    path.join(TOKENIZER)
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
