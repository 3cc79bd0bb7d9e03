//! Megatron's indexed datasets, `<split>.bin` and `<split>.idx`, one sequence a document.
//!
//! The layout is that of `megatron/core/datasets/indexed_dataset.py` (NVIDIA/Megatron-LM), all little-endian: `MMIDIDX\0\0`, version 1 as
//! u64, a code for the type of ids in one byte (8 for u16, 4 for i32), sequences and documents as u64, then lengths as i32, places
//! in bytes as i64, and for each document its first sequence as i64, with the number of sequences at the end.

use std::io::Write as _;
use std::path::Path;

use andromeda_format::{Build, FileEntry, Split, TokenWidth};

use super::walk::{self, Sink, Whole};
use super::{ExportError, put_ids};
use crate::publish::HashedFile;

/// First bytes of an index.
pub(crate) const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
/// Bytes of an index before its arrays.
pub(crate) const HEAD: usize = 9 + 8 + 1 + 8 + 8;

/// Writes `<split>.bin`; the index is made of the shards' indices afterwards.
pub(super) struct Megatron {
    file: HashedFile,
    split: Split,
    width: TokenWidth,
    documents: u64,
    bytes: Vec<u8>,
}

impl Megatron {
    pub(super) fn create(
        folder: &Path,
        split: Split,
        width: TokenWidth,
    ) -> Result<Self, ExportError> {
        Ok(Self {
            file: HashedFile::create(&folder.join(format!("{}.bin", split.name())))?,
            split,
            width,
            documents: 0,
            bytes: Vec::new(),
        })
    }

    /// Both files. The indices are read once for each of the index's arrays, so that none is held in memory.
    pub(super) fn finish(
        self,
        build: &Build,
        folder: &Path,
    ) -> Result<[FileEntry; 2], ExportError> {
        let (split, name) = (self.split, self.split.name());
        let bin = self.file.finish(&format!("{name}.bin"))?;
        let index = format!("{name}.idx");
        let mut file = HashedFile::create(&folder.join(&index))?;
        let code: u8 = match self.width {
            TokenWidth::U16 => 8,
            TokenWidth::U32 => 4,
        };
        file.write_all(MAGIC)?;
        file.write_all(&1u64.to_le_bytes())?;
        file.write_all(&[code])?;
        file.write_all(&self.documents.to_le_bytes())?;
        file.write_all(&(self.documents + 1).to_le_bytes())?;
        walk::documents(build, split, &mut |document| {
            let tokens = tokens_of(document)?;
            Ok(file.write_all(&tokens.to_le_bytes())?)
        })?;
        // Below 2^63: the file that they point into was just written.
        let mut place = 0u64;
        walk::documents(build, split, &mut |document| {
            file.write_all(&place.to_le_bytes())?;
            place += document.tokens * self.width.bytes() as u64;
            Ok(())
        })?;
        for first in 0..=self.documents {
            file.write_all(&first.to_le_bytes())?;
        }
        Ok([bin, file.finish(&index)?])
    }
}

fn tokens_of(document: &Whole<'_>) -> Result<i32, ExportError> {
    i32::try_from(document.tokens).map_err(|_| ExportError::TooLong {
        row: document.row,
        tokens: document.tokens,
        most: i32::MAX.unsigned_abs().into(),
    })
}

impl Sink for Megatron {
    fn ids(&mut self, ids: &[u32]) -> Result<(), ExportError> {
        self.bytes.clear();
        put_ids(ids, self.width, &mut self.bytes);
        Ok(self.file.write_all(&self.bytes)?)
    }

    fn end(&mut self, document: &Whole<'_>) -> Result<(), ExportError> {
        tokens_of(document)?;
        self.documents += 1;
        Ok(())
    }
}
