//! Reading a build's table of contamination: what documents have of evaluation sets.

use std::path::Path;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt32Type, UInt64Type};
use fs_err::File;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::{TableError, word_at};

/// A stretch of a document that is of an evaluation set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contamination {
    /// Row of the document.
    pub row: u64,
    /// `dropped` if the document was dropped for it, `cut` if the stretch was cut from it.
    pub verdict: String,
    /// The evaluation set.
    pub benchmark: String,
    /// The item's id: set, file and row.
    pub item: String,
    /// The first byte of the document's normalized text that it is in.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
    /// n-grams of the item that it has.
    pub matches: u32,
    /// What stands there, or the beginning of it.
    pub text: String,
}

/// The stretches of some documents, by their rows; none in a build that was held against no evaluation set.
///
/// # Errors
/// The table cannot be read.
pub fn contaminations(folder: &Path, rows: &[u64]) -> Result<Vec<Contamination>, TableError> {
    let path = folder.join("contamination.parquet");
    let mut found = Vec::new();
    if rows.is_empty() || !path.is_file() {
        return Ok(found);
    }
    let damaged = |what: String| TableError::Damaged {
        file: path.clone(),
        what,
    };
    let file = File::open(&path)?.into_file();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(8192).build())
        .map_err(|error| damaged(error.to_string()))?;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let long = |name: &str| {
            let column = batch.column_by_name(name);
            let column = column.and_then(|c| c.as_primitive_opt::<UInt64Type>().cloned());
            column.ok_or_else(|| damaged(format!("it has no column {name}")))
        };
        let (row, start, end) = (long("row")?, long("start")?, long("end")?);
        let matches = batch.column_by_name("matches");
        let matches = matches
            .and_then(|column| column.as_primitive_opt::<UInt32Type>())
            .ok_or_else(|| damaged("it has no column matches".to_owned()))?;
        for i in (0..batch.num_rows()).filter(|i| rows.contains(&row.value(*i))) {
            let word = |name: &str| {
                let word = word_at(&batch, name, i).flatten();
                word.ok_or_else(|| damaged(format!("it has no column {name}")))
            };
            found.push(Contamination {
                row: row.value(i),
                verdict: word("verdict")?,
                benchmark: word("benchmark")?,
                item: word("item")?,
                start: start.value(i),
                end: end.value(i),
                matches: if matches.is_valid(i) {
                    matches.value(i)
                } else {
                    0
                },
                text: word("text")?,
            });
        }
    }
    Ok(found)
}
