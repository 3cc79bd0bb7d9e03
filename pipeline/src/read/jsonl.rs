//! One JSON object a line.
//!
//! Lines end with `\n`; a `\r` before it is JSON white space; the last line needs no end. Lines of white space alone are
//! skipped and have no row number. A byte order mark at the start is ignored.

use memchr::memchr;

use super::bytes::Bytes;
use super::json::JsonRows;
use super::rows::{Cut, RowBuffer};
use super::{Projection, ReadError};

pub(super) struct Lines {
    bytes: Bytes,
    projection: Projection,
    begun: bool,
}

impl Lines {
    pub(super) fn new(bytes: Bytes, projection: Projection) -> Self {
        Self { bytes, projection, begun: false }
    }
}

impl Cut for Lines {
    type Content = JsonRows;

    fn next_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError> {
        if !self.begun {
            self.bytes.skip_bom()?;
            self.begun = true;
        }
        loop {
            let piece = self.bytes.fill()?;
            let at_end = piece.is_empty();
            let newline = memchr(b'\n', piece);
            let (line, taken) = newline.map_or((piece.len(), piece.len()), |at| (at, at + 1));
            rows.push(&piece[..line]);
            self.bytes.consume(taken);
            if !at_end && newline.is_none() {
                continue;
            }
            if rows.is_too_long() || !rows.open_row().trim_ascii().is_empty() {
                rows.end_row();
                return Ok(true);
            }
            rows.discard();
            if at_end {
                return Ok(false);
            }
        }
    }

    fn content(&mut self, rows: RowBuffer) -> JsonRows {
        JsonRows::new(rows, self.projection.clone())
    }
}
