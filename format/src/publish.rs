//! Files that are whole or absent: written aside, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{FormatError, Result};

/// Puts `bytes` at `path` so that whoever looks finds the old content or the new, never a part, whatever happens.
///
/// The bytes go to a file `.<name>.<process>-<number>.part` beside it, which no other writer has, are synced, take the
/// name by rename, and the folder is synced. Of several writers at once the last to rename wins, with its whole content.
///
/// # Errors
///
/// [`FormatError::Io`] with `path`; what was written aside is removed.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        let (aside, mut file) = create_aside(path)?;
        let mut publish = || {
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&aside, path)
        };
        publish().inspect_err(|_| drop(fs::remove_file(&aside)))?;
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    };
    write().map_err(FormatError::io(path))
}

/// A new file beside `path`. One name for all writers would let one rename what another is still writing.
pub(crate) fn create_aside(path: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut aside = std::ffi::OsString::from(".");
        aside.push(name);
        aside.push(format!(".{}-{number}.part", std::process::id()));
        let aside = path.with_file_name(aside);
        match File::create_new(&aside) {
            // Left by a dead process that had the same id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            file => return Ok((aside, file?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn new_content_replaces_the_old_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("manifest.json");
        write_atomic(&path, b"a much longer old content").unwrap();
        write_atomic(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["manifest.json"]);
    }

    #[test]
    fn a_failure_names_the_path_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        let error = write_atomic(&path, b"new").unwrap_err();
        assert!(
            error.is_io() && error.to_string().contains("taken"),
            "{error}"
        );
        assert_eq!(names(folder.path()), ["taken"]);
        let nowhere = folder.path().join("absent").join("file");
        assert!(write_atomic(&nowhere, b"new").unwrap_err().is_io());
        assert!(write_atomic(Path::new("/"), b"new").unwrap_err().is_io());
    }

    #[test]
    fn of_many_writers_at_once_one_wins_with_its_whole_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.json");
        let contents: Vec<Vec<u8>> = (0..8u8)
            .map(|i| vec![i; 1 << 16 | usize::from(i)])
            .collect();
        std::thread::scope(|scope| {
            for content in &contents {
                scope.spawn(|| (0..20).for_each(|_| write_atomic(&path, content).unwrap()));
            }
            for _ in 0..200 {
                if let Ok(seen) = fs::read(&path) {
                    assert!(
                        contents.contains(&seen),
                        "a part of {} bytes was seen",
                        seen.len()
                    );
                }
            }
        });
        assert_eq!(names(folder.path()), ["receipt.json"]);
    }
}
