//! Rows of any file as JSON lines, for programs that read nothing else.

use std::io::Write;
use std::path::Path;

use super::{Compression, FileFormat, ReadError, ReadOptions, open};

/// Why a file's rows are not all lines.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    /// The file cannot be read to its end.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A row of it cannot be read; a set with a row less is another set.
    #[error("row {row} cannot be read: {reason}")]
    Row {
        /// Its number in the file, from 0.
        row: u64,
        /// Why.
        reason: &'static str,
    },
    /// The lines cannot be written.
    #[error("the rows cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

/// Writes every row of the file at `input` to `to`, a line of JSON each, and returns how many there are.
///
/// # Errors
/// As [`LinesError`] says; what was written until then is no set.
pub fn write_lines(
    input: &Path,
    options: &ReadOptions,
    to: &mut dyn Write,
) -> Result<u64, LinesError> {
    let mut source = open(input, options)?;
    let mut rows = 0;
    while let Some(block) = source.next_block()? {
        let mut written = Ok(());
        block.decode(&mut |number, row| {
            if written.is_err() {
                return;
            }
            written = match row {
                Ok(row) => serde_json::to_writer(&mut *to, &row)
                    .map_err(std::io::Error::from)
                    .and_then(|()| to.write_all(b"\n"))
                    .map_err(LinesError::Write),
                Err(fault) => Err(LinesError::Row {
                    row: number,
                    reason: fault.reason(),
                }),
            };
            rows += 1;
        })?;
        written?;
    }
    Ok(rows)
}

/// The path of the lines of the file at `path`: `x.parquet` and `x.csv.gz` as `x.jsonl`; nothing for what has no rows.
#[must_use]
pub fn lines_path(path: &str) -> Option<String> {
    let (format, compression) = FileFormat::from_path(Path::new(path))?;
    if matches!(format, FileFormat::Text | FileFormat::Tar) {
        return None;
    }
    let mut stem = Path::new(path).with_extension("");
    if compression != Compression::None {
        stem = stem.with_extension("");
    }
    Some(format!("{}.jsonl", stem.to_str()?))
}
