//! Texts of documents, as the extract stage kept them.

use rayon::prelude::*;

use super::extract::Extracted;
use super::resolve::Survivors;
use super::shingles::{EachText, MarkedTexts};
use super::store::{SectionFile, StoreError};
use crate::dedup::groups::Marks;
use crate::dedup::signature::MinHasher;
use crate::plan::Plan;

/// The texts of a block's survivors.
pub(super) struct Texts {
    path: std::path::PathBuf,
    all: String,
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn read(block: &SectionFile) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            file: block.path().to_path_buf(),
            what: what.to_owned(),
        };
        let mut ends = Vec::new();
        let mut at = 0usize;
        for length in block.read_u64("lengths")? {
            let length = usize::try_from(length).map_err(|_| damaged("its texts are too long"))?;
            at = at
                .checked_add(length)
                .ok_or_else(|| damaged("its texts are too long"))?;
            ends.push(at);
        }
        // The size is our own record of what was compressed, so a damaged frame cannot ask for more.
        let bytes = zstd::bulk::decompress(&block.read("texts")?, at)?;
        let all = String::from_utf8(bytes).map_err(|_| damaged("its texts are not UTF-8"))?;
        Ok(Self {
            path: block.path().to_path_buf(),
            all,
            ends,
        })
    }

    pub(super) fn get(&self, document: u32) -> Result<&str, StoreError> {
        let at = document as usize;
        let start = if at == 0 {
            Some(0)
        } else {
            self.ends.get(at - 1).copied()
        };
        let text = start.and_then(|start| self.all.get(start..*self.ends.get(at)?));
        text.ok_or_else(|| StoreError::Damaged {
            file: self.path.clone(),
            what: "it has fewer texts than it says".to_owned(),
        })
    }
}

/// The texts of a build's blocks.
pub(super) struct StoredTexts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its blocks.
    pub extracted: &'a Extracted,
}

impl MarkedTexts for StoredTexts<'_> {
    fn for_each(
        &self,
        survivors: &Survivors<'_>,
        marked: &Marks,
        each: &EachText<'_>,
    ) -> Result<(), StoreError> {
        let blocks = self.extracted.blocks.par_iter().zip(&survivors.blocks);
        blocks.try_for_each(|(done, block)| {
            let dataset = &self.plan.datasets[done.dataset];
            let Some(hasher) = hasher(self.plan, &dataset.profile) else {
                return Ok(());
            };
            let mut signer = hasher.signer();
            let mut texts = None;
            for document in block.ordinals().filter(|document| marked.has(*document)) {
                let texts = match &mut texts {
                    Some(texts) => texts,
                    none => none.insert(Texts::read(&block.file)?),
                };
                each(document, &mut signer, texts.get(document - block.first)?)?;
            }
            Ok(())
        })
    }
}

/// What signs the documents of a profile.
pub(super) fn hasher(plan: &Plan, profile: &str) -> Option<MinHasher> {
    let near = plan.recipe.dedup.near.as_ref()?;
    Some(MinHasher::new(near.minhash(profile)).expect("the plan checked the signature's shape"))
}
