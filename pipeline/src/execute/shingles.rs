//! The shingles of candidates, for the exact similarity of two documents: read again from their texts.

use super::resolve::Survivors;
use super::spill::{Spill, Spilling};
use super::store::{Store, StoreError};
use crate::dedup::cluster::Ordinal;
use crate::dedup::groups::Marks;
use crate::dedup::signature::Signer;

/// What is done with the text of a document: its ordinal, a signer for its kind of text, and its normalized text.
pub(super) type EachText<'a> =
    dyn Fn(Ordinal, &mut Signer<'_>, &str) -> Result<(), StoreError> + Sync + 'a;

/// Gives texts of documents again.
pub(super) trait MarkedTexts: Sync {
    /// Calls `each`, from any thread and in any order, with every marked document of the build.
    fn for_each(
        &self,
        survivors: &Survivors<'_>,
        marked: &Marks,
        each: &EachText<'_>,
    ) -> Result<(), StoreError>;
}

/// Sets of shingles on disk.
pub(super) struct ShingleFile(Spill);

impl ShingleFile {
    /// Reads the texts of the marked documents and writes their shingles.
    pub(super) fn gather(
        survivors: &Survivors<'_>,
        marked: &Marks,
        texts: &dyn MarkedTexts,
        store: &Store,
    ) -> Result<Self, StoreError> {
        let file = Spilling::new(store)?;
        texts.for_each(survivors, marked, &|document, signer, text| {
            let mut shingles = Vec::new();
            signer.shingles(text, &mut shingles);
            let bytes: Vec<u8> = shingles.iter().flat_map(|s| s.to_le_bytes()).collect();
            file.put(document, &bytes)
        })?;
        Ok(Self(file.finish()?))
    }

    pub(super) fn has(&self, document: Ordinal) -> bool {
        self.0.has(document)
    }

    pub(super) fn read(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        self.0.read(document, &mut bytes)?;
        into.clear();
        let words = bytes.as_chunks::<4>().0.iter();
        into.extend(words.map(|b| u32::from_le_bytes(*b)));
        Ok(())
    }
}
