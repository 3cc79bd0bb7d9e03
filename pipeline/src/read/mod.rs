//! Files become rows: blocks cut at row boundaries, decoded in bounded memory.
//!
//! One thread calls [`BlockSource::next_block`], which decompresses and finds where rows begin and end and nothing
//! else; any number of threads call [`Block::decode`], which parses. Where blocks are cut depends on the content and
//! [`ReadOptions::block_bytes`] alone, so a resumed run finds the blocks it already has; the rows do not depend even
//! on that.
//!
//! A row that cannot be read is a [`RowFault`] at its number and the file goes on. A file that cannot be read further is
//! a [`ReadError`]: every whole row before the fault has been delivered by then, and the error is the last thing a source
//! says. No reader runs anything that a file holds, writes a path that a file names, or trusts a size that a file declares.

mod bytes;
mod copy;
mod delimited;
mod error;
mod json;
mod json_string;
mod jsonl;
mod lines;
mod options;
mod parquet;
mod plain_json;
mod rows;
mod sample;
mod splice;
mod tar;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

pub use copy::{Fate, ParquetCopy, copy_parquet};
pub use error::{ReadError, RowFault};
pub use lines::{LinesError, lines_path, write_lines};
pub use options::{Compression, FileFormat, ReadOptions};
pub use sample::{PARQUET_TAIL_BYTES, Share, parquet_extents, parquet_footer_bytes, sampled};
pub use splice::replace_text;

/// A row as its file has it: field names and values. A name that occurs twice keeps its last value.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// What [`Block::decode`] calls for each row: the row's number in its file and the row, or why it is none.
pub type EachRow<'a> = dyn FnMut(u64, Result<Row, RowFault>) + 'a;

/// A file as a sequence of blocks.
pub trait BlockSource: Send {
    /// The next block, or `None` after the last.
    ///
    /// # Errors
    /// The file cannot be read further. All whole rows before the fault were in earlier blocks; the source is then at its end.
    fn next_block(&mut self) -> Result<Option<Block>, ReadError>;

    /// As [`next_block`](Self::next_block) for a block whose rows are already there: what it spans, without its content.
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    fn skip_block(&mut self) -> Result<Option<BlockHead>, ReadError> {
        Ok(self.next_block()?.map(|block| block.head()))
    }
}

/// What a block spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHead {
    /// Position among the blocks of the file, from 0.
    pub index: u64,
    /// Number in the file of the block's first row, from 0.
    pub first_row: u64,
    /// Rows, those with a fault included.
    pub rows: u64,
    /// Bytes of undecoded content: held in memory for text formats, an estimate from the metadata for parquet.
    pub bytes: usize,
}

/// Whole rows, not yet decoded.
pub struct Block {
    /// Position among the blocks of the file, from 0.
    pub index: u64,
    /// Number in the file of the block's first row, from 0.
    pub first_row: u64,
    content: Box<dyn Content>,
}

impl Block {
    /// Rows, those with a fault included.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.content.rows()
    }

    /// Bytes of undecoded content: held in memory for text formats, an estimate from the metadata for parquet.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.content.bytes()
    }

    /// What the block spans.
    #[must_use]
    pub fn head(&self) -> BlockHead {
        BlockHead {
            index: self.index,
            first_row: self.first_row,
            rows: self.rows(),
            bytes: self.bytes(),
        }
    }

    /// Calls `each` with the bytes of every row in order; `false`, and no call, where the format has no such thing.
    pub fn raw(&self, each: &mut EachRaw<'_>) -> bool {
        self.content.raw(each)
    }

    /// Calls `each` for every row in order, with the row's number in its file.
    ///
    /// # Errors
    /// A parquet file turned out to be damaged or changed; the rows before the fault were passed to `each`. Blocks of
    /// other formats do not fail as a whole.
    pub fn decode(&self, each: &mut EachRow<'_>) -> Result<(), ReadError> {
        self.content.decode(self.first_row, each)
    }
}

/// What a format puts into a block.
trait Content: Send + Sync {
    fn rows(&self) -> u64;
    fn bytes(&self) -> usize;
    fn decode(&self, first_row: u64, each: &mut EachRow<'_>) -> Result<(), ReadError>;
    /// Calls `each` with the bytes of every row in order, or why it has none; `false` where rows are no stretches of bytes.
    fn raw(&self, _each: &mut EachRaw<'_>) -> bool {
        false
    }
}

/// What [`Block::raw`] calls for each row: its bytes, without the end of the line, or why it has none.
pub type EachRaw<'a> = dyn FnMut(Result<&[u8], RowFault>) + 'a;

/// One top-level field of a row of JSON Lines; `None` where the row has no such field or is no object.
#[must_use]
pub fn field_of(row: &[u8], field: &str) -> Option<serde_json::Value> {
    json::field_of(row, field)
}

/// The top-level fields a row keeps; all of them when there is no list.
#[derive(Debug, Clone, Default)]
struct Projection(Option<Arc<BTreeSet<String>>>);

impl Projection {
    fn new(fields: Option<&[String]>) -> Self {
        Self(fields.map(|fields| Arc::new(fields.iter().cloned().collect())))
    }

    fn keeps(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|fields| fields.contains(name))
    }
}

/// Opens a file for reading by blocks.
///
/// # Errors
/// The file cannot be opened, its format or compression is unknown or contradicts its first bytes, or an option is out of range.
pub fn open(path: &Path, options: &ReadOptions) -> Result<Box<dyn BlockSource>, ReadError> {
    options.check(path)?;
    let (format, compression) = options.resolve(path)?;
    if format == FileFormat::Parquet {
        return Ok(Box::new(parquet::ParquetSource::open(path, options)?));
    }
    let bytes = bytes::Bytes::open(path, compression, options)?;
    let projection = Projection::new(options.fields.as_deref());
    Ok(match format {
        FileFormat::Jsonl => rows::source(jsonl::Lines::new(bytes, projection), options),
        FileFormat::Json => rows::source(json::Elements::new(bytes, projection), options),
        FileFormat::Csv | FileFormat::Tsv => rows::source(
            delimited::Records::new(bytes, projection, format, options)?,
            options,
        ),
        FileFormat::Text => rows::source(text::WholeFile::new(bytes, projection), options),
        FileFormat::Tar => rows::source(tar::Entries::new(bytes, projection), options),
        FileFormat::Parquet => unreachable!("opened above"),
    })
}
