//! What was not kept, to be read: the samples of a build's `rejects.parquet`, and duplicates beside what stayed instead.

use std::path::Path;

use serde::Serialize;

use super::columns::{self, Table};
use crate::documents::TableError;

/// A document that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// Its id.
    pub id: String,
    /// Its dataset.
    pub dataset: String,
    /// The file it was in.
    pub file: String,
    /// Its row in that file.
    pub file_row: u64,
    /// Its row in the table of documents.
    pub document: u64,
    /// Why.
    pub reason: String,
    /// The values that caused it.
    pub evidence: Option<String>,
    /// The beginning of its text; nothing where the row is no document.
    pub text: Option<String>,
}

/// All samples of a build, by dataset, reason and key; none for a build of before there were any.
///
/// # Errors
/// The table is damaged.
pub fn read(folder: &Path) -> Result<Vec<Reject>, TableError> {
    let mut all = Vec::new();
    if !folder.join("rejects.parquet").is_file() {
        return Ok(all);
    }
    Table::open(folder, "rejects.parquet", None)?.for_each(&mut |_, batch| {
        let (id, dataset) = (batch.words("id")?, batch.words("dataset")?);
        let (file, file_row) = (batch.words("file")?, batch.longs("file_row")?);
        let (document, reason) = (batch.longs("document")?, batch.words("reason")?);
        let (evidence, text) = (batch.words("evidence")?, batch.words("text")?);
        for i in 0..batch.rows() {
            let word = |column: &columns::Words| column.get(i).unwrap_or_default().to_owned();
            all.push(Reject {
                id: word(&id),
                dataset: word(&dataset),
                file: word(&file),
                file_row: file_row.get(i).unwrap_or_default(),
                document: document.get(i).unwrap_or_default(),
                reason: word(&reason),
                evidence: evidence.get(i).map(str::to_owned),
                text: text.get(i).map(str::to_owned),
            });
        }
        Ok(())
    })?;
    Ok(all)
}
