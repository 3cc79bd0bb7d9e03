//! What documents have of evaluation sets: as a block keeps it, and as the build's table `contamination.parquet`.

use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{StringBuilder, UInt32Builder, UInt64Builder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use fs_err::File;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use serde::{Deserialize, Serialize};

use super::store::{SectionFile, Sections, StoreError, column_u64};
use super::tables::{BATCH_ROWS, Words, properties, word};
use crate::decontaminate::{Found, Index, Outcome, judge, without};
use crate::filter::Verdict;

/// The table's file.
pub(super) const TABLE: &str = "contamination.parquet";
/// Bytes of a stretch that are kept as evidence.
const MAX_TEXT_BYTES: usize = 2000;
/// Stretches of a document that are kept; the first of each item is kept beyond.
const MAX_STRETCHES: usize = 1000;

/// A stretch of a document that is of an evaluation set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stretch {
    /// The document's verdict in its block.
    pub row: u32,
    /// Whether the document was dropped for it; otherwise it was cut.
    pub dropped: bool,
    /// The evaluation set.
    pub set: String,
    /// The item's id.
    pub item: String,
    /// The first byte of the normalized text that it is in.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// n-grams of the item that it has.
    pub matches: u32,
    /// What stands there, or the beginning of it.
    pub text: String,
}

/// What a block's documents have of evaluation sets, growing.
#[derive(Debug, Default)]
pub(super) struct Contamination {
    stretches: Vec<Stretch>,
    /// Bytes cut, by verdict.
    cuts: Vec<u64>,
}

impl Contamination {
    /// Judges a document that passed the rules, the next of its block. What is cut of it is gone from `text` afterwards.
    pub(super) fn take(
        &mut self,
        index: Option<&Index>,
        row: usize,
        text: &mut String,
        segmented: bool,
        verdict: &mut Verdict,
    ) {
        self.cuts.resize(row + 1, 0);
        let Some(index) = index else { return };
        match judge(index, text, segmented) {
            Outcome::Clean => {}
            Outcome::Drop(found) => {
                self.keep(index, row, &found, text, true);
                *verdict = Verdict::drop(crate::decontaminate::REASON);
            }
            Outcome::Cut(found, cuts) => {
                self.keep(index, row, &found, text, false);
                let left = without(text, &cuts);
                self.cuts[row] = (text.len() - left.len()) as u64;
                *text = left;
            }
        }
    }

    /// The first item that a document has something of.
    pub(super) fn said(&self, row: u32) -> Option<String> {
        let at = self.stretches.partition_point(|stretch| stretch.row < row);
        let stretch = self
            .stretches
            .get(at)
            .filter(|stretch| stretch.row == row)?;
        Some(format!("{}: {}", stretch.item, stretch.text.trim()))
    }

    /// Bytes that were cut of a document.
    pub(super) fn cut(&self, row: usize) -> u64 {
        self.cuts.get(row).copied().unwrap_or(0)
    }

    fn keep(&mut self, index: &Index, row: usize, found: &[Found], text: &str, dropped: bool) {
        let mut seen = std::collections::BTreeSet::new();
        for (number, found) in found.iter().enumerate() {
            if !seen.insert(found.item) && number >= MAX_STRETCHES {
                continue;
            }
            let mut end = found.end.min(found.start + MAX_TEXT_BYTES);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let (set, item) = index.item(found.item);
            self.stretches.push(Stretch {
                row: u32::try_from(row).expect("a block has fewer than 2^32 rows"),
                dropped,
                set: set.to_owned(),
                item: item.to_owned(),
                start: found.start as u64,
                end: found.end as u64,
                matches: found.matches,
                text: text[found.start..end].to_owned(),
            });
        }
    }

    /// Adds what there is to a block; nothing where nothing was found.
    pub(super) fn write(&mut self, sections: &mut Sections) -> std::io::Result<()> {
        if !self.stretches.is_empty() {
            let bytes = super::block::json(&self.stretches);
            sections.push("stretches-bytes", column_u64([bytes.len() as u64]));
            sections.push("stretches", zstd::bulk::compress(&bytes, 1)?);
        }
        if self.cuts.iter().any(|cut| *cut > 0) {
            sections.push("item-cuts", column_u64(self.cuts.drain(..)));
        }
        Ok(())
    }
}

/// The stretches of a block, by verdict.
pub(super) fn stretches(block: &SectionFile) -> Result<Vec<Stretch>, StoreError> {
    match block.has("stretches") {
        true => block.read_compressed_json("stretches", "stretches-bytes"),
        false => Ok(Vec::new()),
    }
}

/// By verdict of a block: the bytes that were cut. Empty where none was.
pub(super) fn cuts(block: &SectionFile) -> Result<Vec<u64>, StoreError> {
    match block.has("item-cuts") {
        true => block.read_u64("item-cuts"),
        false => Ok(Vec::new()),
    }
}

/// Writes `contamination.parquet`.
pub(super) struct ContaminationWriter {
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    rows: usize,
    document: StringBuilder,
    row: UInt64Builder,
    verdict: Words,
    benchmark: Words,
    item: StringBuilder,
    start: UInt64Builder,
    end: UInt64Builder,
    matches: UInt32Builder,
    text: StringBuilder,
}

impl ContaminationWriter {
    /// Creates the file.
    pub(super) fn create(path: &Path) -> Result<Self, ParquetError> {
        let field = |name: &str, kind: DataType| Field::new(name, kind, false);
        let schema = Arc::new(Schema::new(vec![
            field("document", DataType::Utf8),
            field("row", DataType::UInt64),
            field("verdict", word()),
            field("benchmark", word()),
            field("item", DataType::Utf8),
            field("start", DataType::UInt64),
            field("end", DataType::UInt64),
            field("matches", DataType::UInt32),
            field("text", DataType::Utf8),
        ]));
        let file = File::create(path)?;
        Ok(Self {
            writer: ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties()))?,
            schema,
            rows: 0,
            document: StringBuilder::new(),
            row: UInt64Builder::new(),
            verdict: Words::new(),
            benchmark: Words::new(),
            item: StringBuilder::new(),
            start: UInt64Builder::new(),
            end: UInt64Builder::new(),
            matches: UInt32Builder::new(),
            text: StringBuilder::new(),
        })
    }

    /// Adds a stretch of the document `id`, which is in this row of the table of documents.
    pub(super) fn push(&mut self, id: &str, row: u64, of: &Stretch) -> Result<(), ParquetError> {
        self.document.append_value(id);
        self.row.append_value(row);
        let verdict = if of.dropped { "dropped" } else { "cut" };
        self.verdict.append_value(verdict);
        self.benchmark.append_value(&of.set);
        self.item.append_value(&of.item);
        self.start.append_value(of.start);
        self.end.append_value(of.end);
        self.matches.append_value(of.matches);
        self.text.append_value(&of.text);
        self.rows += 1;
        if self.rows == BATCH_ROWS {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), ParquetError> {
        self.rows = 0;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.document.finish()),
            Arc::new(self.row.finish()),
            Arc::new(self.verdict.finish()),
            Arc::new(self.benchmark.finish()),
            Arc::new(self.item.finish()),
            Arc::new(self.start.finish()),
            Arc::new(self.end.finish()),
            Arc::new(self.matches.finish()),
            Arc::new(self.text.finish()),
        ];
        self.writer
            .write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Writes the rest, the footer, and syncs.
    pub(super) fn finish(mut self) -> Result<(), ParquetError> {
        self.flush()?;
        Ok(self.writer.into_inner()?.sync_all()?)
    }
}
