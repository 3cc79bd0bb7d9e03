//! Who a document is: its id, its dataset, and its row in the build's table of documents.

use super::block::verdict;
use super::extract::Extracted;
use super::resolve::Survivors;
use super::store::StoreError;
use crate::dedup::cluster::Ordinal;
use crate::plan::Plan;

/// Ids and rows of all documents that passed the rules.
///
/// An id is `dataset/path` for a document that is a whole small file, `dataset/path#row` for the only document of a row, and
/// `dataset/path#row.1`, `.2` and so on for the documents of a row that gives several (`dataset/path#1` where the small file
/// gives them). It depends on the pinned file and the row, and never on a place in somebody's listing.
pub(super) struct Identities<'a> {
    plan: &'a Plan,
    extracted: &'a Extracted,
    survivors: &'a Survivors<'a>,
    /// Row of each block's first row in the table of documents.
    first_rows: Vec<u64>,
    /// By ordinal: the verdict within its block.
    rows: Vec<u32>,
    /// Of blocks in which a row gave several documents.
    places: Vec<Option<FilePlaces>>,
}

/// By verdict of a block: the row after the block's first, and the document of that row.
struct FilePlaces {
    rows: Vec<u32>,
    parts: Vec<u32>,
}

impl<'a> Identities<'a> {
    /// Reads the verdicts of all blocks.
    pub(super) fn load(
        plan: &'a Plan,
        extracted: &'a Extracted,
        survivors: &'a Survivors<'a>,
    ) -> Result<Self, StoreError> {
        let mut first_rows = Vec::with_capacity(extracted.blocks.len());
        let mut rows = Vec::with_capacity(survivors.lengths.len());
        let mut places = Vec::with_capacity(extracted.blocks.len());
        let mut at = 0;
        for (done, block) in extracted.blocks.iter().zip(&survivors.blocks) {
            first_rows.push(at);
            at += done.counters.rows;
            let verdicts = block.file.read("verdicts")?;
            places.push(match block.file.has("parts") {
                true => Some(FilePlaces {
                    rows: block.file.read_u32("file-rows")?,
                    parts: block.file.read_u32("parts")?,
                }),
                false => None,
            });
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
            places,
        })
    }

    /// Rows of the verdict `at` after the block's first, and which document of that row it is of.
    fn place(&self, block: usize, at: u32) -> (u32, u32) {
        match &self.places[block] {
            Some(places) => (places.rows[at as usize], places.parts[at as usize]),
            None => (at, 0),
        }
    }

    /// The path of the file that the verdict `at` of a block is of, and the row in it; 0 where the file is the row.
    pub(super) fn file_row(&self, block: usize, at: u32) -> (&'a str, u64) {
        let done = &self.extracted.blocks[block];
        let unit = &self.plan.datasets[done.dataset].units[done.unit];
        let (row, _) = self.place(block, at);
        if unit.is_group() {
            (&unit.files[row as usize].path, 0)
        } else {
            (
                &unit.files[0].path,
                done.counters.first_row + u64::from(row),
            )
        }
    }

    /// The id of what the verdict `at` of a block is of.
    pub(super) fn of_row(&self, block: usize, at: u32) -> String {
        let done = &self.extracted.blocks[block];
        let dataset = &self.plan.datasets[done.dataset];
        let (path, row) = self.file_row(block, at);
        let row = if dataset.units[done.unit].is_group() {
            String::new()
        } else {
            format!("#{row}")
        };
        let part = match (self.place(block, at).1, row.is_empty()) {
            (0, _) => String::new(),
            (part, true) => format!("#{part}"),
            (part, false) => format!(".{part}"),
        };
        format!("{}/{path}{row}{part}", dataset.name)
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

    /// The row in the table of documents of the verdict `at` of a block.
    pub(super) fn table_row(&self, block: usize, at: u32) -> u64 {
        self.first_rows[block] + u64::from(at)
    }

    /// Its row in the table of documents.
    pub(super) fn row(&self, document: Ordinal) -> u64 {
        let block = self.survivors.locate(document).0;
        self.first_rows[block] + u64::from(self.rows[document as usize])
    }
}
