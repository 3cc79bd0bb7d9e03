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
        Self {
            bytes,
            projection,
            begun: false,
        }
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

#[cfg(test)]
mod tests {
    use super::super::tests::{rows, rows_with, shown};
    use super::super::{ReadOptions, RowFault};

    #[test]
    fn lines_are_rows_and_blank_lines_are_none() {
        let text =
            "\u{feff}{\"a\":1}\r\n\n  \t\r\n {\"a\":2} \n{\"b\":{\"c\":[null]},\"a\":\"x\\u00e9\"}";
        assert_eq!(
            shown(&rows("x.jsonl", text.as_bytes())),
            [r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":"xé","b":{"c":[null]}}"#]
        );
        assert!(rows("x.jsonl", b"").is_empty());
        assert!(rows("x.jsonl", &b"\n".repeat(1_000_000)).is_empty());
    }

    #[test]
    fn a_faulty_line_says_why_and_the_file_goes_on() {
        let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
        for (line, reason) in [
            ("{\"a\":1", "invalid-json"),
            ("{\"a\":1} {}", "invalid-json"),
            ("{\"a\":\"\\ud800\"}", "invalid-json"),
            ("{\"a\":1e400}", "invalid-json"),
            ("{'a':1}", "invalid-json"),
            ("{\"a\":NaN}", "invalid-json"),
            (&deep, "invalid-json"),
            ("[{}]", "not-an-object"),
            ("\"a\"", "not-an-object"),
            ("null", "not-an-object"),
        ] {
            let text = format!("{{}}\n{line}\n{{}}\n");
            assert_eq!(
                shown(&rows("x.jsonl", text.as_bytes())),
                ["{}", reason, "{}"]
            );
        }
    }

    #[test]
    fn odd_but_sound_text_is_kept_as_it_is() {
        let line = "{\"a\":\"\u{2028}e\u{301}\u{feff}\",\"b\":1,\"b\":\"\\u0000 \\ud83d\\ude00 last wins\"}";
        let kept = "{\"a\":\"\u{2028}e\u{301}\u{feff}\",\"b\":\"\\u0000 😀 last wins\"}";
        assert_eq!(shown(&rows("x.jsonl", line.as_bytes())), [kept]);
    }

    #[test]
    fn a_long_line_is_counted_and_not_held() {
        let text = format!("{{}}\n{{\"a\":\"{}\"}}\n{{}}\n", "x".repeat(92));
        for (max_row_bytes, reason) in [(99, Some("row-too-long")), (100, None)] {
            let options = ReadOptions {
                max_row_bytes,
                ..ReadOptions::default()
            };
            let rows = rows_with("x.jsonl", text.as_bytes(), &options);
            assert_eq!(rows.len(), 3);
            assert_eq!(rows[1].as_ref().err().map(RowFault::reason), reason);
        }
    }
}
