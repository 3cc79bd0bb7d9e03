//! Folders that are whole or absent: filled aside, synced, renamed.

use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use andromeda_format::FileEntry;
use sha2::{Digest as _, Sha256};

use crate::digest::Digest;

/// Why a folder cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is there already.
    #[error("{0} is there already; name another folder, or move it away")]
    Taken(PathBuf),
    /// Another process fills it.
    #[error("another run is filling {0}; wait for it to end")]
    Busy(PathBuf),
    /// It is no name of a folder.
    #[error("{0} is no name of a new folder")]
    NoName(PathBuf),
}

/// A folder that is being filled, `.<name>.part` beside the place where it is going to be.
///
/// Dropped without [`Self::publish`] it is removed; what a killed process left is removed by the next that fills the same
/// one. A lock of the kernel's, which ends with its process, keeps two from filling it at once.
#[derive(Debug)]
pub struct NewFolder {
    aside: PathBuf,
    target: PathBuf,
    /// Holds the lock.
    handle: fs_err::File,
    published: bool,
}

impl NewFolder {
    /// Begins a folder that shall be at `target`, where nothing is or an empty folder.
    ///
    /// # Errors
    ///
    /// [`PublishError`] as its variants say.
    pub fn create(target: &Path) -> Result<Self, PublishError> {
        let name = target.file_name();
        let name = name.ok_or_else(|| PublishError::NoName(target.to_path_buf()))?;
        match fs_err::read_dir(target) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(PublishError::Taken(target.to_path_buf()));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
                return Err(PublishError::Taken(target.to_path_buf()));
            }
            Err(error) => return Err(error.into()),
        }
        if let Some(parent) = target.parent().filter(|parent| *parent != Path::new("")) {
            fs_err::create_dir_all(parent)?;
        }
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(".part");
        let aside = target.with_file_name(aside);
        fs_err::create_dir_all(&aside)?;
        let handle = fs_err::File::open(&aside)?;
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        let busy = || PublishError::Busy(target.to_path_buf());
        rustix::fs::flock(handle.file(), exclusive).map_err(|_| busy())?;
        // Whoever held the lock until now may have published what we opened.
        let ours = handle.file().metadata()?.ino();
        if fs_err::metadata(&aside).map_or(true, |there| there.ino() != ours) {
            return Err(busy());
        }
        let folder = Self {
            aside,
            target: target.to_path_buf(),
            handle,
            published: false,
        };
        for entry in fs_err::read_dir(&folder.aside)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs_err::remove_dir_all(entry.path())?;
            } else {
                fs_err::remove_file(entry.path())?;
            }
        }
        Ok(folder)
    }

    /// Where it is filled.
    pub fn path(&self) -> &Path {
        &self.aside
    }

    /// Puts it in its place. What is in it must be synced, but for the folder itself.
    ///
    /// # Errors
    ///
    /// [`PublishError::Io`], also where somebody took the place meanwhile.
    pub fn publish(mut self) -> Result<(), PublishError> {
        self.handle.sync_all()?;
        fs_err::rename(&self.aside, &self.target)?;
        self.published = true;
        let parent = self.target.parent();
        let parent = parent.filter(|parent| *parent != Path::new(""));
        Ok(fs_err::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?)
    }
}

impl Drop for NewFolder {
    fn drop(&mut self) {
        if !self.published {
            // What cannot be removed now is removed by the next run.
            let _ = fs_err::remove_dir_all(&self.aside);
        }
    }
}

/// A new file that counts and hashes what is written to it.
#[derive(Debug)]
pub struct HashedFile {
    to: BufWriter<fs_err::File>,
    hash: Sha256,
    bytes: u64,
}

impl HashedFile {
    /// Creates it.
    ///
    /// # Errors
    ///
    /// That of the system, with the file's name.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            to: BufWriter::with_capacity(1 << 18, fs_err::File::create_new(path)?),
            hash: Sha256::new(),
            bytes: 0,
        })
    }

    /// Syncs it; `name` is what its entry calls it.
    ///
    /// # Errors
    ///
    /// That of the system, with the file's name.
    pub fn finish(mut self, name: &str) -> io::Result<FileEntry> {
        self.to.flush()?;
        self.to.get_ref().sync_all()?;
        Ok(FileEntry {
            path: name.to_owned(),
            bytes: self.bytes,
            sha256: Digest(self.hash.finalize().into()).hex(),
        })
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("a/out");
        let folder = NewFolder::create(&target).unwrap();
        fs_err::write(folder.path().join("x"), b"x").unwrap();
        assert!(!target.exists());
        drop(folder);
        assert_eq!(
            fs_err::read_dir(root.path().join("a")).unwrap().count(),
            0,
            "nothing is left of it"
        );
        let folder = NewFolder::create(&target).unwrap();
        fs_err::write(folder.path().join("x"), b"x").unwrap();
        folder.publish().unwrap();
        assert_eq!(fs_err::read(target.join("x")).unwrap(), b"x");
        assert!(matches!(
            NewFolder::create(&target),
            Err(PublishError::Taken(_))
        ));
    }

    #[test]
    fn what_a_dead_process_left_is_removed_and_a_living_one_is_not_disturbed() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        let aside = root.path().join(".out.part");
        fs_err::create_dir_all(aside.join("old")).unwrap();
        fs_err::write(aside.join("old/y"), b"y").unwrap();
        let folder = NewFolder::create(&target).unwrap();
        assert!(matches!(
            NewFolder::create(&target),
            Err(PublishError::Busy(_))
        ));
        folder.publish().unwrap();
        assert_eq!(fs_err::read_dir(&target).unwrap().count(), 0);
    }

    #[test]
    fn an_empty_folder_is_filled_and_a_file_is_in_the_way() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("out");
        fs_err::create_dir(&target).unwrap();
        NewFolder::create(&target).unwrap().publish().unwrap();
        let file = root.path().join("file");
        fs_err::write(&file, b"").unwrap();
        assert!(matches!(
            NewFolder::create(&file),
            Err(PublishError::Taken(_))
        ));
        assert!(matches!(
            NewFolder::create(Path::new("/")),
            Err(PublishError::NoName(_))
        ));
    }
}
