//! JSON objects in one array, or one after another, and how the bytes of an object become a row.
//!
//! Files of hundreds of megabytes are one array, so a scanner of our own finds where elements end (strings, escapes and
//! depth, nothing more) and `serde_json` parses each element by itself, on another thread and with its own limit of depth.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr2;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::bytes::Bytes;
use super::error::utf8;
use super::rows::{Cut, RowBuffer};
use super::{Content, EachRaw, EachRow, Projection, ReadError, Row, RowFault};

/// Rows that are JSON texts.
pub(super) struct JsonRows {
    rows: RowBuffer,
    projection: Projection,
}

impl JsonRows {
    pub(super) fn new(rows: RowBuffer, projection: Projection) -> Self {
        Self { rows, projection }
    }
}

impl Content for JsonRows {
    fn rows(&self) -> u64 {
        self.rows.rows() as u64
    }

    fn bytes(&self) -> usize {
        self.rows.held_bytes()
    }

    fn decode(&self, first_row: u64, each: &mut EachRow<'_>) -> Result<(), ReadError> {
        for (row, bytes) in self.rows.iter() {
            each(
                first_row + row as u64,
                bytes.and_then(|bytes| parse(bytes, &self.projection)),
            );
        }
        Ok(())
    }

    fn raw(&self, each: &mut EachRaw<'_>) -> bool {
        self.rows.iter().for_each(|(_, bytes)| each(bytes));
        true
    }
}

pub(super) fn field_of(row: &[u8], field: &str) -> Option<Value> {
    let projection = Projection::new(Some(&[field.to_owned()]));
    parse(row, &projection).ok()?.remove(field)
}

fn parse(bytes: &[u8], projection: &Projection) -> Result<Row, RowFault> {
    let text = utf8(bytes)?;
    let invalid = |error: serde_json::Error| RowFault::InvalidJson {
        problem: error.to_string(),
    };
    if !text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<IgnoredAny>(text).map_err(invalid)?;
        return Err(RowFault::NotAnObject);
    }
    let mut parser = serde_json::Deserializer::from_str(text);
    let row = Object(projection)
        .deserialize(&mut parser)
        .map_err(invalid)?;
    parser.end().map_err(invalid)?;
    Ok(row)
}

/// Builds the wanted fields of an object and passes over the others without building them.
struct Object<'a>(&'a Projection);

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
        let mut row = Row::new();
        while let Some(Name(name)) = map.next_key()? {
            if self.0.keeps(&name) {
                row.insert(name.into_owned(), map.next_value::<Value>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(row)
    }
}

/// A field name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

enum Shape {
    /// Nothing but white space so far.
    Start,
    /// Inside the array; whether an element must follow, because a comma was read.
    Array { comma: bool },
    /// Objects one after another.
    Sequence,
    /// After the array.
    After,
}

/// Finds the elements of the file.
pub(super) struct Elements {
    bytes: Bytes,
    projection: Projection,
    shape: Shape,
}

impl Elements {
    pub(super) fn new(bytes: Bytes, projection: Projection) -> Self {
        Self {
            bytes,
            projection,
            shape: Shape::Start,
        }
    }

    /// The next byte that is not white space, not consumed.
    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        loop {
            let piece = self.bytes.fill()?;
            if piece.is_empty() {
                return Ok(None);
            }
            match piece.iter().position(|byte| !is_space(*byte)) {
                Some(at) => {
                    let byte = piece[at];
                    self.bytes.consume(at);
                    return Ok(Some(byte));
                }
                None => {
                    let all = piece.len();
                    self.bytes.consume(all);
                }
            }
        }
    }

    fn fault(&self, problem: &'static str) -> ReadError {
        ReadError::Json {
            path: self.bytes.path().to_owned(),
            offset: self.bytes.offset(),
            problem,
        }
    }

    /// Reads up to where `scan` says the row ends; `false` when the file ends before.
    fn take_row(&mut self, rows: &mut RowBuffer, scan: &mut Scan) -> Result<bool, ReadError> {
        loop {
            let piece = self.bytes.fill()?;
            if piece.is_empty() {
                return Ok(false);
            }
            let end = scan.end_of_row(piece);
            let taken = end.unwrap_or(piece.len());
            rows.push(&piece[..taken]);
            self.bytes.consume(taken);
            if end.is_some() {
                return Ok(true);
            }
        }
    }

    fn next_element(&mut self, rows: &mut RowBuffer, comma: bool) -> Result<bool, ReadError> {
        match self.peek()? {
            None => return Err(self.bytes.truncated("a JSON array")),
            Some(b']') if !comma => {
                self.bytes.consume(1);
                self.shape = Shape::After;
                return self.next_row(rows);
            }
            Some(_) => {}
        }
        if !self.take_row(rows, &mut Scan::new(Until::Comma))? {
            return Err(self.bytes.truncated("a JSON array"));
        }
        // The byte that ended the element is still in the buffer: a fault behind it cannot take the element with it.
        let comma = self.peek()? == Some(b',');
        if comma {
            self.bytes.consume(1);
        }
        self.shape = Shape::Array { comma };
        if rows.is_too_long() || !rows.open_row().trim_ascii().is_empty() {
            rows.end_row();
        } else {
            rows.fail_row(RowFault::InvalidJson {
                problem: "no element beside a comma".to_owned(),
            });
        }
        Ok(true)
    }
}

impl Cut for Elements {
    type Content = JsonRows;

    fn next_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError> {
        if matches!(self.shape, Shape::Start) {
            self.bytes.skip_bom()?;
            self.shape = match self.peek()? {
                None => return Err(self.bytes.truncated("a JSON document")),
                Some(b'[') => {
                    self.bytes.consume(1);
                    Shape::Array { comma: false }
                }
                Some(b'{') => Shape::Sequence,
                Some(_) => return Err(self.fault("the file begins with neither [ nor {")),
            };
        }
        match self.shape {
            Shape::Array { comma } => self.next_element(rows, comma),
            Shape::After => match self.peek()? {
                None => Ok(false),
                Some(_) => Err(self.fault("something follows the array")),
            },
            Shape::Start | Shape::Sequence => {
                let until = match self.peek()? {
                    None => return Ok(false),
                    Some(b'{' | b'[') => Until::Closed,
                    Some(_) => Until::Line,
                };
                let nested = until == Until::Closed;
                if !self.take_row(rows, &mut Scan::new(until))? && nested {
                    return Err(self.bytes.truncated("a JSON object"));
                }
                rows.end_row();
                Ok(true)
            }
        }
    }

    fn content(&mut self, rows: RowBuffer) -> JsonRows {
        JsonRows::new(rows, self.projection.clone())
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// A comma or closing bracket outside the element, not part of it.
    Comma,
    /// The bracket that closes the first one, part of the row.
    Closed,
    /// The end of the line.
    Line,
}

/// Where in a JSON text the scanner stands.
struct Scan {
    until: Until,
    depth: u64,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    fn new(until: Until) -> Self {
        Self {
            until,
            depth: 0,
            in_string: false,
            escaped: false,
        }
    }

    /// Where the row ends in this piece, if it does.
    fn end_of_row(&mut self, piece: &[u8]) -> Option<usize> {
        if self.until == Until::Line {
            return memchr::memchr(b'\n', piece);
        }
        let mut at = 0;
        while at < piece.len() {
            if self.escaped {
                self.escaped = false;
                at += 1;
                continue;
            }
            if self.in_string {
                at += memchr2(b'"', b'\\', &piece[at..])?;
                self.in_string = piece[at] != b'"';
                self.escaped = self.in_string;
                at += 1;
                continue;
            }
            match piece[at] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b',' | b']' if self.depth == 0 && self.until == Until::Comma => return Some(at),
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 && self.until == Until::Closed {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReadOptions;
    use super::super::tests::{Folder, rows, shown};

    fn fault(text: &str) -> String {
        let (_, error) = Folder::new().read("x.json", text.as_bytes(), &ReadOptions::default());
        error.map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn elements_of_the_array_are_rows() {
        let text = " [ {\"a\":\"],}\\\\\\\"[\"} ,\n{\"b\":[{},[]]},5,\"x,]\" , null ] \n";
        let fault = "not-an-object";
        let expected = [
            "{\"a\":\"],}\\\\\\\"[\"}",
            "{\"b\":[{},[]]}",
            fault,
            fault,
            fault,
        ];
        assert_eq!(shown(&rows("x.json", text.as_bytes())), expected);
        assert!(rows("x.json", b" [ ] ").is_empty());
    }

    #[test]
    fn objects_one_after_another_are_rows_however_laid_out() {
        assert_eq!(shown(&rows("x.json", b"{\n \"a\": 1\n}\n")), [r#"{"a":1}"#]);
        let text = "{\"a\":1}\n{\"a\":2} {\"a\":\n3}[4]\nrest of line\n{\"a\":5}";
        let expected = [
            r#"{"a":1}"#,
            r#"{"a":2}"#,
            r#"{"a":3}"#,
            "not-an-object",
            "invalid-json",
            r#"{"a":5}"#,
        ];
        assert_eq!(shown(&rows("x.json", text.as_bytes())), expected);
    }

    #[test]
    fn a_faulty_element_is_one_row() {
        for (text, expected) in [
            ("[{},,{}]", vec!["{}", "invalid-json", "{}"]),
            ("[{},]", vec!["{}", "invalid-json"]),
            ("[{} {}, {}]", vec!["invalid-json", "{}"]),
            ("[{]}, {}]", vec!["invalid-json", "{}"]),
            ("[}, {}]", vec!["invalid-json", "{}"]),
        ] {
            assert_eq!(shown(&rows("x.json", text.as_bytes())), expected, "{text}");
        }
        for (before, after, reason) in [("", "", "not-an-object"), ("{\"a\":", "}", "invalid-json")]
        {
            let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
            let deep = format!("[{before}{open}{close}{after}, {{}}]");
            assert_eq!(shown(&rows("x.json", deep.as_bytes())), [reason, "{}"]);
        }
    }

    #[test]
    fn a_broken_layout_names_the_file_and_what_to_do() {
        for (text, problem) in [
            ("hello", "neither [ nor {"),
            (" ", "inside a JSON document"),
            ("[{}] {}", "something follows the array"),
            ("[{}", "inside a JSON array"),
            ("[", "inside a JSON array"),
            ("{\"a\":", "inside a JSON object"),
        ] {
            let error = fault(text);
            assert!(
                error.contains(problem) && error.contains("x.json"),
                "{text}: {error}"
            );
        }
    }
}
