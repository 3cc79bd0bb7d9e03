//! Who a document is: its id, its dataset, and its row in the build's table of documents.

use super::block::verdict;
use super::extract::Extracted;
use super::resolve::Survivors;
use super::store::StoreError;
use crate::dedup::cluster::Ordinal;
use crate::plan::Plan;

/// Ids and rows of all documents that passed the rules.
///
/// An id is `dataset/path` for a document that is a whole small file and `dataset/path#row` otherwise; it depends on the
/// pinned file and the row, and never on a place in somebody's listing.
pub(super) struct Identities<'a> {
    plan: &'a Plan,
    extracted: &'a Extracted,
    survivors: &'a Survivors,
    /// Row of each block's first row in the table of documents.
    first_rows: Vec<u64>,
    /// By ordinal: the row within its block.
    rows: Vec<u32>,
}

impl<'a> Identities<'a> {
    /// Reads the verdicts of all blocks.
    pub(super) fn load(
        plan: &'a Plan,
        extracted: &'a Extracted,
        survivors: &'a Survivors,
    ) -> Result<Self, StoreError> {
        let mut first_rows = Vec::with_capacity(extracted.blocks.len());
        let mut rows = Vec::with_capacity(survivors.lengths.len());
        let mut at = 0;
        for (done, block) in extracted.blocks.iter().zip(&survivors.blocks) {
            first_rows.push(at);
            at += done.counters.rows;
            let verdicts = block.file.read("verdicts")?;
            rows.extend(
                (0u32..)
                    .zip(&verdicts)
                    .filter(|(_, v)| **v == verdict::SURVIVED)
                    .map(|(row, _)| row),
            );
        }
        Ok(Self {
            plan,
            extracted,
            survivors,
            first_rows,
            rows,
        })
    }

    /// The id of the row `row` of a block.
    pub(super) fn of_row(&self, block: usize, row: u32) -> String {
        let done = &self.extracted.blocks[block];
        let dataset = &self.plan.datasets[done.dataset];
        let unit = &dataset.units[done.unit];
        if unit.is_group() {
            format!("{}/{}", dataset.name, unit.files[row as usize].path)
        } else {
            format!(
                "{}/{}#{}",
                dataset.name,
                unit.files[0].path,
                done.counters.first_row + u64::from(row)
            )
        }
    }

    /// The id of a document.
    pub(super) fn of(&self, document: Ordinal) -> String {
        self.of_row(
            self.survivors.locate(document).0,
            self.rows[document as usize],
        )
    }

    /// Index of its dataset in the manifest.
    pub(super) fn source(&self, document: Ordinal) -> u32 {
        let block = self.survivors.locate(document).0;
        u32::try_from(self.extracted.blocks[block].dataset)
            .expect("a catalogue has fewer than 2^32 datasets")
    }

    /// Its row in the table of documents.
    pub(super) fn row(&self, document: Ordinal) -> u64 {
        let block = self.survivors.locate(document).0;
        self.first_rows[block] + u64::from(self.rows[document as usize])
    }
}
