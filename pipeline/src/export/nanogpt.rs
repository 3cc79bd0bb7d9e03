//! nanoGPT's token files: ids and nothing else.
//!
//! `data/openwebtext/prepare.py` of karpathy/nanoGPT writes them and `train.py` maps them: little-endian u16 without a header,
//! documents one after another, each with its end of text. A vocabulary of more than 65,536 ids does not fit; its files hold
//! u32, which `train.py` must be told.

use std::io::Write as _;
use std::path::Path;

use andromeda_format::{FileEntry, Split, TokenWidth};

use super::walk::{Sink, Whole};
use super::{ExportError, put_ids};
use crate::publish::HashedFile;

/// Writes `<split>.bin`.
pub(super) struct Nanogpt {
    file: HashedFile,
    name: String,
    width: TokenWidth,
    end_of_text: u32,
    documents: u64,
    ends: u64,
    bytes: Vec<u8>,
}

impl Nanogpt {
    pub(super) fn create(
        folder: &Path,
        split: Split,
        width: TokenWidth,
        end_of_text: u32,
    ) -> Result<Self, ExportError> {
        let name = format!("{}.bin", split.name());
        Ok(Self {
            file: HashedFile::create(&folder.join(&name))?,
            name,
            width,
            end_of_text,
            documents: 0,
            ends: 0,
            bytes: Vec::new(),
        })
    }

    /// The file, and how many ends of text stand within documents, so that they do not tell where documents end.
    pub(super) fn finish(self) -> Result<(FileEntry, u64), ExportError> {
        let within = self.ends.saturating_sub(self.documents);
        Ok((self.file.finish(&self.name)?, within))
    }
}

impl Sink for Nanogpt {
    fn ids(&mut self, ids: &[u32]) -> Result<(), ExportError> {
        self.ends += ids.iter().filter(|id| **id == self.end_of_text).count() as u64;
        self.bytes.clear();
        put_ids(ids, self.width, &mut self.bytes);
        Ok(self.file.write_all(&self.bytes)?)
    }

    fn end(&mut self, _: &Whole<'_>) -> Result<(), ExportError> {
        self.documents += 1;
        Ok(())
    }
}
