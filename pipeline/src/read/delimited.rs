//! CSV and TSV: RFC 4180 with one header row, as the `csv` crate reads it.
//!
//! A quoted value may hold line breaks, so a state machine of our own, the quoting rules of the `csv` crate and nothing
//! else, finds where rows end; the crate splits the values on another thread. Lines end with `\n` or `\r\n`; empty lines
//! are no rows. All values are strings. TSV has no quoting by default: in GLUE's files quotes are ordinary characters.

use std::io::Read;
use std::sync::Arc;

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::bytes::Bytes;
use super::error::utf8;
use super::rows::{Cut, Room, RowBuffer};
use super::{Content, EachRow, FileFormat, Projection, ReadError, ReadOptions, Row, RowFault};

#[derive(Clone, Copy)]
struct Dialect {
    delimiter: u8,
    quoting: bool,
}

impl Dialect {
    /// Splits rows that end with `\n`.
    fn reader<R: Read>(self, rows: R) -> csv::Reader<R> {
        ReaderBuilder::new()
            .delimiter(self.delimiter)
            .quoting(self.quoting)
            .terminator(Terminator::Any(b'\n'))
            .has_headers(false)
            .flexible(true)
            .from_reader(rows)
    }
}

/// Rows of a CSV file, each ending with `\n`.
pub(super) struct DelimitedRows {
    rows: RowBuffer,
    dialect: Dialect,
    columns: Arc<[String]>,
    projection: Projection,
}

impl DelimitedRows {
    fn row(&self, record: &ByteRecord) -> Result<Row, RowFault> {
        if record.len() != self.columns.len() {
            return Err(RowFault::ValueCount {
                found: record.len(),
                expected: self.columns.len(),
            });
        }
        let mut row = Row::new();
        for (column, value) in self.columns.iter().zip(record) {
            let value = utf8(value)?;
            if self.projection.keeps(column) {
                row.insert(column.clone(), value.into());
            }
        }
        Ok(row)
    }
}

impl Content for DelimitedRows {
    fn rows(&self) -> u64 {
        self.rows.rows() as u64
    }

    fn bytes(&self) -> usize {
        self.rows.held_bytes()
    }

    fn decode(&self, first_row: u64, each: &mut EachRow<'_>) -> Result<(), ReadError> {
        // The crate takes a byte order mark off the first thing it reads, which here may be the middle of a file.
        let mut reader = self.dialect.reader((&b"\n"[..]).chain(self.rows.bytes()));
        let mut record = ByteRecord::new();
        for (position, row) in self.rows.iter() {
            let row = row.and_then(|_| match reader.read_byte_record(&mut record) {
                Ok(true) => self.row(&record),
                // Would need our state machine and the crate's to differ; the tests compare them.
                Ok(false) | Err(_) => Err(RowFault::ValueCount {
                    found: 0,
                    expected: self.columns.len(),
                }),
            });
            each(first_row + position as u64, row);
        }
        Ok(())
    }
}

/// Where in a row the state machine stands; the names are those of the `csv` crate's own states.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    StartField,
    InField,
    InQuotedField,
    InDoubledQuote,
}

pub(super) struct Records {
    bytes: Bytes,
    projection: Projection,
    dialect: Dialect,
    columns: Option<Arc<[String]>>,
    max_row_bytes: usize,
    begun: bool,
}

impl Records {
    pub(super) fn new(
        bytes: Bytes,
        projection: Projection,
        format: FileFormat,
        options: &ReadOptions,
    ) -> Result<Self, ReadError> {
        let csv = format == FileFormat::Csv;
        let quoting = options.quoting.unwrap_or(csv);
        let delimiter = options.delimiter.unwrap_or(if csv { ',' } else { '\t' });
        let delimiter = u8::try_from(delimiter)
            .ok()
            .filter(|byte| {
                byte.is_ascii() && !matches!(byte, b'\n' | b'\r') && !(quoting && *byte == b'"')
            })
            .ok_or_else(|| ReadError::Options {
                path: bytes.path().to_owned(),
                problem: "delimiter must be one ASCII character, no line break and not the quote"
                    .to_owned(),
            })?;
        let columns = options
            .columns
            .as_deref()
            .map(|names| checked(names.to_vec(), &bytes))
            .transpose()?;
        let dialect = Dialect { delimiter, quoting };
        Ok(Self {
            bytes,
            projection,
            dialect,
            columns,
            max_row_bytes: options.max_row_bytes,
            begun: false,
        })
    }

    /// Reads one row, white space lines left out, and ends it with `\n`.
    fn take_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError> {
        let Dialect { delimiter, quoting } = self.dialect;
        let mut state = State::StartField;
        loop {
            let piece = self.bytes.fill()?;
            if piece.is_empty() {
                if state == State::InQuotedField {
                    rows.fail_row(RowFault::UnclosedQuote);
                    return Ok(true);
                }
                return Ok(end_line(rows));
            }
            let newline = if quoting {
                piece.iter().position(|byte| {
                    state = match (state, *byte) {
                        (State::InQuotedField, b'"') => State::InDoubledQuote,
                        (State::InQuotedField, _)
                        | (State::StartField | State::InDoubledQuote, b'"') => State::InQuotedField,
                        (_, b'\n') => return true,
                        (_, byte) if byte == delimiter => State::StartField,
                        _ => State::InField,
                    };
                    false
                })
            } else {
                memchr::memchr(b'\n', piece)
            };
            let (line, taken) = newline.map_or((piece.len(), piece.len()), |at| (at, at + 1));
            rows.push(&piece[..line]);
            self.bytes.consume(taken);
            if newline.is_some() {
                if end_line(rows) {
                    return Ok(true);
                }
                state = State::StartField;
            }
        }
    }

    fn header(&mut self) -> Result<Option<Arc<[String]>>, ReadError> {
        let fault = |this: &Self, problem: String| ReadError::Header {
            path: this.bytes.path().to_owned(),
            problem,
        };
        let mut rows = RowBuffer::new(0, self.max_row_bytes, &Room::default());
        if !self.take_row(&mut rows)? {
            return Ok(None);
        }
        if let Some((_, Err(row))) = rows.iter().next() {
            return Err(fault(self, row.to_string()));
        }
        let mut record = ByteRecord::new();
        let mut reader = self.dialect.reader(rows.bytes());
        reader
            .read_byte_record(&mut record)
            .map_err(|error| fault(self, error.to_string()))?;
        let names: Result<Vec<String>, RowFault> = record
            .iter()
            .map(|name| Ok(utf8(name)?.to_owned()))
            .collect();
        let names = names.map_err(|error| fault(self, error.to_string()))?;
        checked(names, &self.bytes).map(Some)
    }
}

/// Ends the open row, unless the line is empty.
fn end_line(rows: &mut RowBuffer) -> bool {
    if !rows.is_too_long() {
        if rows.open_row().ends_with(b"\r") {
            rows.trim(1);
        }
        if rows.open_row().is_empty() {
            return false;
        }
        rows.push(b"\n");
    }
    rows.end_row();
    true
}

fn checked(names: Vec<String>, bytes: &Bytes) -> Result<Arc<[String]>, ReadError> {
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(ReadError::Header {
            path: bytes.path().to_owned(),
            problem: format!("the name {:?} occurs twice", pair[0]),
        }),
        None => Ok(names.into()),
    }
}

impl Cut for Records {
    type Content = DelimitedRows;

    fn next_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError> {
        if !self.begun {
            self.bytes.skip_bom()?;
            self.begun = true;
        }
        if self.columns.is_none() {
            self.columns = self.header()?;
        }
        Ok(self.columns.is_some() && self.take_row(rows)?)
    }

    fn content(&mut self, rows: RowBuffer) -> DelimitedRows {
        DelimitedRows {
            rows,
            dialect: self.dialect,
            columns: self.columns.clone().unwrap_or_default(),
            projection: self.projection.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Folder, rows, rows_with, shown};
    use super::*;

    #[test]
    fn values_are_strings_under_the_header_s_names() {
        let text = "\u{feff}a,b\r\n1,\"x, \"\"y\"\"\r\nz\"\r\n\r\n\n2,\n";
        let expected = [r#"{"a":"1","b":"x, \"y\"\r\nz"}"#, r#"{"a":"2","b":""}"#];
        assert_eq!(shown(&rows("x.csv", text.as_bytes())), expected);
        assert!(rows("x.csv", b"a,b\n").is_empty());
    }

    #[test]
    fn quotes_of_a_tsv_file_are_ordinary() {
        let text = b"a\tb\n\"1\t2\"\n3\"\t\"\"4\n";
        assert_eq!(
            shown(&rows("x.tsv", text)),
            [r#"{"a":"\"1","b":"2\""}"#, r#"{"a":"3\"","b":"\"\"4"}"#]
        );
        let quoting = ReadOptions {
            quoting: Some(true),
            ..ReadOptions::default()
        };
        assert_eq!(
            shown(&rows_with("x.tsv", b"a\tb\n\"1\t2\"\t3\n", &quoting)),
            [r#"{"a":"1\t2","b":"3"}"#]
        );
    }

    #[test]
    fn a_file_without_header_takes_its_names_from_the_options() {
        let columns = Some(["q", "a"].map(str::to_owned).to_vec());
        let options = ReadOptions {
            columns,
            delimiter: Some(';'),
            ..ReadOptions::default()
        };
        assert_eq!(
            shown(&rows_with("x.csv", b"1;2\n3;4", &options)),
            [r#"{"a":"2","q":"1"}"#, r#"{"a":"4","q":"3"}"#]
        );
    }

    #[test]
    fn ragged_rows_and_open_quotes_are_faults() {
        let expected = [
            "value-count",
            "value-count",
            r#"{"a":"1","b":"2"}"#,
            "unclosed-quote",
        ];
        assert_eq!(
            shown(&rows("x.csv", b"a,b\n1\n1,2,3\n1,2\n1,\"2\n3,4\n")),
            expected
        );
    }

    #[test]
    fn a_long_row_is_a_fault_between_its_neighbours() {
        let options = ReadOptions {
            max_row_bytes: 20,
            ..ReadOptions::default()
        };
        let text = format!("a,b\n1,2\n1,\"{}\n\"\n3,4\n", "x".repeat(30));
        let rows = rows_with("x.csv", text.as_bytes(), &options);
        assert_eq!(
            shown(&rows),
            [
                r#"{"a":"1","b":"2"}"#,
                "row-too-long",
                r#"{"a":"3","b":"4"}"#
            ]
        );
    }

    #[test]
    fn headers_and_options_that_cannot_be_used_are_errors() {
        let failure = |text: &[u8], options: &ReadOptions| {
            Folder::new()
                .read("x.csv", text, options)
                .1
                .map(|error| error.to_string())
                .unwrap_or_default()
        };
        let default = ReadOptions::default();
        assert!(failure(b"a,b,a\n", &default).contains("occurs twice"));
        assert!(failure(b"a,\xff\n", &default).contains("UTF-8"));
        assert!(failure(b"\"a\n", &default).contains("never closed"));
        for delimiter in ['\n', '"', 'é'] {
            let options = ReadOptions {
                delimiter: Some(delimiter),
                ..ReadOptions::default()
            };
            assert!(
                failure(b"a\n", &options).contains("delimiter"),
                "{delimiter:?}"
            );
        }
    }

    /// The boundaries that our state machine finds are those of the crate: random texts of the characters that matter.
    #[test]
    fn rows_end_where_the_csv_crate_ends_them() {
        let mut state: u64 = 7;
        let folder = Folder::new();
        for _ in 0..3000 {
            let mut text = String::from("h\n");
            for _ in 0..30 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push(
                    ['a', ',', '"', '"', '\n', 'b'][usize::try_from(state >> 33).unwrap() % 6],
                );
            }
            let dialect = Dialect {
                delimiter: b',',
                quoting: true,
            };
            let crate_rows = dialect.reader(&text.as_bytes()[2..]).byte_records().count();
            let (ours, error) = folder.read("x.csv", text.as_bytes(), &ReadOptions::default());
            assert!(error.is_none());
            assert_eq!(ours.len(), crate_rows, "{text:?}");
        }
    }
}
