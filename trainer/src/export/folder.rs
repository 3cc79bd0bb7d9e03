//! A folder that is whole or absent: written under another name beside it, synced, renamed.

use std::path::{Path, PathBuf};

use super::ExportedFile;
use crate::checkpoint::{entry_of, sync};
use crate::error::{Error, Result};

/// A folder that is being written, removed again unless it is published.
#[derive(Debug)]
pub(super) struct Unfinished {
    aside: PathBuf,
    out: PathBuf,
    published: bool,
}

impl Unfinished {
    /// An empty folder beside `out`.
    ///
    /// # Errors
    /// `out` exists or has no name, or the disk failed.
    pub(super) fn create(out: &Path) -> Result<Self> {
        let absent = |path: &Path| match fs_err::symlink_metadata(path) {
            Ok(_) => Err(Error::Usage(format!(
                "{} exists already\nhint: name another folder with --out, or remove this one",
                path.display()
            ))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::io("looking for the folder of the export")(source)),
        };
        absent(out)?;
        let name = out
            .file_name()
            .ok_or_else(|| Error::Usage(format!("{} is no name for a folder", out.display())))?;
        if let Some(parent) = parent(out) {
            fs_err::create_dir_all(parent).map_err(Error::io("creating the export"))?;
        }
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}.partial", std::process::id()));
        let aside = out.with_file_name(aside);
        // Left by a process that was killed and had the same id.
        if aside.exists() {
            fs_err::remove_dir_all(&aside).map_err(Error::io("removing an unfinished export"))?;
        }
        fs_err::create_dir(&aside).map_err(Error::io("creating the export"))?;
        Ok(Self {
            aside,
            out: out.to_owned(),
            published: false,
        })
    }

    /// Where a file of the folder is written.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.aside.join(name)
    }

    /// Writes a whole file.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs_err::write(self.file(name), bytes).map_err(Error::io("writing the export"))
    }

    /// Writes a value as JSON for people.
    pub(super) fn write_json(&self, name: &str, value: &serde_json::Value) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)
            .map_err(|error| Error::Usage(format!("{name} cannot be written: {error}")))?;
        bytes.push(b'\n');
        self.write(name, &bytes)
    }

    /// Gives the folder its name and tells its files by name.
    ///
    /// # Errors
    /// The disk failed, or somebody else made a folder of that name.
    pub(super) fn publish(mut self) -> Result<Vec<ExportedFile>> {
        let mut files = Vec::new();
        for entry in fs_err::read_dir(&self.aside).map_err(Error::io("listing the export"))? {
            let entry = entry.map_err(Error::io("listing the export"))?;
            let path = entry.path();
            sync(&path)?;
            // Read back from the file, so that the hash is of what was stored.
            let stored = entry_of(&path)?;
            files.push(ExportedFile {
                path: entry.file_name().to_string_lossy().into_owned(),
                bytes: stored.bytes,
                sha256: stored.sha256,
            });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        sync(&self.aside)?;
        // A rename onto an empty folder would succeed too, and takes nothing away.
        fs_err::rename(&self.aside, &self.out).map_err(Error::io("publishing the export"))?;
        self.published = true;
        sync(parent(&self.out).unwrap_or(Path::new(".")))?;
        Ok(files)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.published {
            // What is left is found by its name.
            let _ = fs_err::remove_dir_all(&self.aside);
        }
    }
}

fn parent(path: &Path) -> Option<&Path> {
    path.parent().filter(|parent| *parent != Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_there_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("a/b");
        let listed = |path: &Path| std::fs::read_dir(path).unwrap().count();
        let unfinished = Unfinished::create(&out).unwrap();
        unfinished.write("two", b"22").unwrap();
        assert!(!out.exists() && listed(&folder.path().join("a")) == 1);
        drop(unfinished);
        assert_eq!(listed(&folder.path().join("a")), 0);

        let unfinished = Unfinished::create(&out).unwrap();
        unfinished.write("two", b"22").unwrap();
        unfinished.write("one", b"").unwrap();
        let files = unfinished.publish().unwrap();
        assert_eq!(std::fs::read(out.join("two")).unwrap(), b"22");
        assert_eq!(listed(&folder.path().join("a")), 1);
        assert_eq!((files[0].path.as_str(), files[0].bytes), ("one", 0));
        // SHA-256 of nothing (FIPS 180-4).
        assert!(files[0].sha256.starts_with("e3b0c44298fc1c14"));
        assert_eq!((files[1].path.as_str(), files[1].bytes), ("two", 2));

        let refusal = Unfinished::create(&out).unwrap_err();
        assert!(refusal.exit_code() == 2 && refusal.to_string().contains("exists"));
        assert_eq!(
            Unfinished::create(Path::new("..")).unwrap_err().exit_code(),
            2
        );
    }
}
