//! Many files read at random places with a bounded number of them open.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use fs_err::File;

/// Keeps at most this many files open: well under the usual limit of 1,024 a process.
const MAX_OPEN: usize = 256;

/// Open files by a number of the caller's.
#[derive(Debug, Default)]
pub(super) struct Files {
    open: Mutex<BTreeMap<usize, Arc<File>>>,
}

impl Files {
    /// Reads `buffer.len()` bytes of the file `number`, which is at `path`, from `offset` on.
    pub(super) fn read_at(
        &self,
        number: usize,
        path: &Path,
        offset: u64,
        buffer: &mut [u8],
    ) -> std::io::Result<()> {
        let file = {
            let mut open = self
                .open
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            match open.get(&number) {
                Some(file) => Arc::clone(file),
                None => {
                    if open.len() >= MAX_OPEN {
                        // Which one goes matters to speed alone, and access is near enough to random.
                        open.pop_first();
                    }
                    let file = Arc::new(File::open(path)?);
                    open.insert(number, Arc::clone(&file));
                    file
                }
            }
        };
        file.file().read_exact_at(buffer, offset).map_err(|error| {
            std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))
        })
    }
}
