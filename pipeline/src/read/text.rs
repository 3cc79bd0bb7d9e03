//! The whole file as one row: `text`, and `path`, the file's own name.
//!
//! The folders above the file are left out of `path`: rows must not depend on where a machine keeps its files.

use super::bytes::Bytes;
use super::error::utf8;
use super::rows::{Cut, RowBuffer};
use super::{Content, EachRow, Projection, ReadError, Row, RowFault};

/// Rows that are whole texts, each with a name.
pub(super) struct Texts {
    pub(super) rows: RowBuffer,
    pub(super) names: Vec<Vec<u8>>,
    pub(super) projection: Projection,
}

impl Texts {
    fn row(&self, row: usize, bytes: &[u8]) -> Result<Row, RowFault> {
        let name = self.names.get(row).map_or(&b""[..], Vec::as_slice);
        let mut fields = Row::new();
        for (field, value) in [("path", name), ("text", bytes)] {
            let value = utf8(value)?;
            if self.projection.keeps(field) {
                fields.insert(field.to_owned(), value.into());
            }
        }
        Ok(fields)
    }
}

impl Content for Texts {
    fn rows(&self) -> u64 {
        self.rows.rows() as u64
    }

    fn bytes(&self) -> usize {
        self.rows.held_bytes() + self.names.iter().map(Vec::len).sum::<usize>()
    }

    fn decode(&self, first_row: u64, each: &mut EachRow<'_>) -> Result<(), ReadError> {
        for (row, bytes) in self.rows.iter() {
            each(first_row + row as u64, bytes.and_then(|bytes| self.row(row, bytes)));
        }
        Ok(())
    }
}

pub(super) struct WholeFile {
    bytes: Bytes,
    projection: Projection,
    done: bool,
}

impl WholeFile {
    pub(super) fn new(bytes: Bytes, projection: Projection) -> Self {
        Self { bytes, projection, done: false }
    }
}

impl Cut for WholeFile {
    type Content = Texts;

    fn next_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError> {
        if std::mem::replace(&mut self.done, true) {
            return Ok(false);
        }
        self.bytes.skip_bom()?;
        loop {
            let piece = self.bytes.fill()?;
            if piece.is_empty() {
                rows.end_row();
                return Ok(true);
            }
            rows.push(piece);
            let all = piece.len();
            self.bytes.consume(all);
        }
    }

    fn content(&mut self, rows: RowBuffer) -> Texts {
        let name = self.bytes.path().file_name().map(|name| name.as_encoded_bytes().to_vec());
        Texts { rows, names: vec![name.unwrap_or_default()], projection: self.projection.clone() }
    }
}
