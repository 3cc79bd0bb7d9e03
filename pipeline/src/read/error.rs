//! What can be wrong with a file, and what can be wrong with one row of it.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::Compression;

/// A file that cannot be read, or not further. Offsets are bytes of the file as it lies on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The operating system refused.
    #[error("{}: cannot read at byte {offset}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// An option that makes no sense.
    #[error("{}: {problem}; correct the [read] table of the dataset manifest", path.display())]
    Options {
        /// The file it was to be used for.
        path: PathBuf,
        /// Which option, and its range.
        problem: String,
    },
    /// The name does not say what the file is.
    #[error("{}: the name does not say the format; set format in the [read] table of the dataset manifest", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The first bytes say another compression than the name or the option.
    #[error(
        "{}: the name or the options say compression {expected}, the first bytes say {found}; set compression in the [read] table, or fetch the file again",
        path.display()
    )]
    CompressionMismatch {
        /// The file.
        path: PathBuf,
        /// What the name or the option says.
        expected: Compression,
        /// What the first bytes say.
        found: &'static str,
    },
    /// The file ends inside something.
    #[error("{}: ends at byte {offset} inside {inside}; fetch the file again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length as far as it was read.
        offset: u64,
        /// What was not complete.
        inside: &'static str,
    },
    /// The compressed data are damaged.
    #[error("{}: damaged {compression} data near byte {offset}: {problem}; fetch the file again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the decoder stood.
        offset: u64,
        /// What was being undone.
        compression: Compression,
        /// What the decoder said.
        problem: String,
    },
    /// A small file that becomes very large.
    #[error(
        "{}: {offset} bytes became {produced}, more than {limit} to one; if the file is meant to be so, raise max-compression-ratio",
        path.display()
    )]
    Bomb {
        /// The file.
        path: PathBuf,
        /// Bytes taken from the file.
        offset: u64,
        /// Bytes that came out.
        produced: u64,
        /// `max-compression-ratio`.
        limit: u64,
    },
    /// A zstd frame that asks for a larger window than allowed.
    #[error(
        "{}: the zstd frame near byte {offset} asks for a window above 2^{limit} bytes; if there is memory for it, raise max-window-log",
        path.display()
    )]
    Window {
        /// The file.
        path: PathBuf,
        /// Where the decoder stood.
        offset: u64,
        /// `max-window-log`.
        limit: u32,
    },
    /// A JSON file whose outer layout is broken.
    #[error(
        "{}: near byte {offset}: {problem}; if the file has one object a line, set format = \"jsonl\"",
        path.display()
    )]
    Json {
        /// The file.
        path: PathBuf,
        /// Where the scanner stood.
        offset: u64,
        /// What was expected.
        problem: &'static str,
    },
    /// The header row of a CSV or TSV file.
    #[error("{}: header row: {problem}; set columns in the [read] table if the file has no header", path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An archive whose headers are damaged.
    #[error("{}: tar header near byte {offset}: {problem}; fetch the file again", path.display())]
    Tar {
        /// The file.
        path: PathBuf,
        /// Where the reader stood.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// The metadata of a parquet file.
    #[error("{}: parquet metadata: {problem}; fetch the file again", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A column of a type that has no place in a row.
    #[error("{}: column {column} has type {kind}, which cannot become text; leave it out of the render table", path.display())]
    Column {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// The content of a parquet file.
    #[error(
        "{}: row group {row_group}, rows {} to {} of the file: {problem}; fetch the file again",
        path.display(), rows.start, rows.end
    )]
    ParquetRows {
        /// The file.
        path: PathBuf,
        /// The row group.
        row_group: usize,
        /// Rows not delivered, by their numbers in the file; the end is excluded.
        rows: Range<u64>,
        /// What the decoder said.
        problem: String,
    },
}

impl ReadError {
    /// Whether the machine failed and not the file: reading again may succeed.
    #[must_use]
    pub fn is_io(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}

/// Why a row is none. The run counts it under [`reason`](Self::reason) and goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// Bytes that are not UTF-8.
    #[error("not UTF-8 from byte {valid_bytes} of the row")]
    InvalidUtf8 {
        /// Bytes before the first that is wrong.
        valid_bytes: usize,
    },
    /// Not JSON, or JSON that cannot be held: a lone surrogate, a number beyond f64, nesting beyond 128.
    #[error("not JSON: {problem}")]
    InvalidJson {
        /// What the parser said.
        problem: String,
    },
    /// JSON, but a string, number or array.
    #[error("not a JSON object")]
    NotAnObject,
    /// More bytes than `max-row-bytes`.
    #[error("{bytes} bytes, more than max-row-bytes = {limit}")]
    RowTooLong {
        /// Bytes of the row, as far as they were counted.
        bytes: u64,
        /// `max-row-bytes`.
        limit: usize,
    },
    /// A CSV or TSV row with another number of values than the header.
    #[error("{found} values for {expected} columns")]
    ValueCount {
        /// Values in the row.
        found: usize,
        /// Columns.
        expected: usize,
    },
    /// A CSV quote that the end of the file closes.
    #[error("a quoted value is never closed")]
    UnclosedQuote,
    /// An archive inside an archive.
    #[error("{name} is an archive inside an archive, which is not opened")]
    NestedArchive {
        /// The entry's name.
        name: String,
    },
    /// A parquet value out of the range of its type, such as a date in the year 300,000.
    #[error("column {column}: {problem}")]
    InvalidValue {
        /// The column.
        column: String,
        /// What is wrong with the value.
        problem: &'static str,
    },
}

impl RowFault {
    /// The word that a run counts the fault under.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::InvalidUtf8 { .. } => "invalid-utf-8",
            Self::InvalidJson { .. } => "invalid-json",
            Self::NotAnObject => "not-an-object",
            Self::RowTooLong { .. } => "row-too-long",
            Self::ValueCount { .. } => "value-count",
            Self::UnclosedQuote => "unclosed-quote",
            Self::NestedArchive { .. } => "nested-archive",
            Self::InvalidValue { .. } => "invalid-value",
        }
    }
}

/// The text of a row's bytes.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, RowFault> {
    // The compatible form says where the text stops being one, as the standard library does, and is faster.
    simdutf8::compat::from_utf8(bytes).map_err(|error| RowFault::InvalidUtf8 {
        valid_bytes: error.valid_up_to(),
    })
}
