//! Files that are whole or absent: written aside, synced, renamed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use crate::error::{FormatError, Result};

/// Puts `bytes` at `path` so that whoever looks finds the old content or the new, never a part, whatever happens.
///
/// The bytes go to `.<name>.part` beside it, are synced, take the name by rename, and the folder is synced.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.part"));
    let write = || {
        let mut file = File::create(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        match path.parent().filter(|folder| *folder != Path::new("")) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    };
    write().map_err(FormatError::io(path))
}
