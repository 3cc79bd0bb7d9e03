//! Byte strings of some documents, in a file without a name, until the run ends.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use super::store::{Store, StoreError};
use crate::dedup::cluster::Ordinal;

/// Where the bytes of a document stand.
#[derive(Debug, Clone, Copy)]
struct Extent {
    document: Ordinal,
    bytes: u32,
    at: u64,
}

/// Grows from any thread, in any order.
pub(super) struct Spilling {
    inner: Mutex<(std::io::BufWriter<std::fs::File>, u64, Vec<Extent>)>,
}

impl Spilling {
    pub(super) fn new(store: &Store) -> Result<Self, StoreError> {
        let file = std::io::BufWriter::with_capacity(1 << 20, store.scratch()?);
        Ok(Self {
            inner: Mutex::new((file, 0, Vec::new())),
        })
    }

    /// Adds what is kept of a document; at most once a document.
    pub(super) fn put(&self, document: Ordinal, bytes: &[u8]) -> Result<(), StoreError> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, at, extents) = &mut *inner;
        file.write_all(bytes)?;
        extents.push(Extent {
            document,
            bytes: u32::try_from(bytes.len()).map_err(std::io::Error::other)?,
            at: *at,
        });
        *at += bytes.len() as u64;
        Ok(())
    }

    /// From here on it is read.
    pub(super) fn finish(self) -> Result<Spill, StoreError> {
        let (file, _, mut extents) = self
            .inner
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        extents.sort_unstable_by_key(|extent| extent.document);
        Ok(Spill { file, extents })
    }
}

/// What was kept.
pub(super) struct Spill {
    file: std::fs::File,
    /// By document.
    extents: Vec<Extent>,
}

impl Spill {
    fn extent(&self, document: Ordinal) -> Option<Extent> {
        let at = self
            .extents
            .binary_search_by_key(&document, |extent| extent.document);
        at.ok().map(|at| self.extents[at])
    }

    /// Whether something was kept of a document.
    pub(super) fn has(&self, document: Ordinal) -> bool {
        self.extent(document).is_some()
    }

    /// What was kept of a document; nothing leaves `into` empty.
    pub(super) fn read(&self, document: Ordinal, into: &mut Vec<u8>) -> Result<(), StoreError> {
        into.clear();
        if let Some(extent) = self.extent(document) {
            into.resize(extent.bytes as usize, 0);
            self.file.read_exact_at(into, extent.at)?;
        }
        Ok(())
    }
}
