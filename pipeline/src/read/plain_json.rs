//! The common kind of row, parsed without detours: an object whose wanted fields are strings.
//!
//! Whatever is unusual (a name with escapes, half a surrogate pair, a control character, a mistake) is left to `serde_json`, which
//! stays the judge of what is valid: a row from here is the row it would have given.

use memchr::memchr2;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::json_string::{escape, unescape};
use super::{Projection, Row};

/// Opening brackets that a value left to `serde_json` may have: far below its own limit of depth, which counts from the row.
const MOST_BRACKETS: usize = 64;

/// The row, or nothing where it takes the long way to find out.
pub(super) fn row(text: &str, projection: &Projection) -> Option<Row> {
    let mut cursor = Cursor { text, at: 0 };
    let mut row = Row::new();
    cursor.space();
    cursor.take(b'{')?;
    cursor.space();
    if cursor.take(b'}').is_none() {
        loop {
            cursor.take(b'"')?;
            let name = cursor.plain_name()?;
            cursor.space();
            cursor.take(b':')?;
            cursor.space();
            let value = cursor.value(projection.keeps(name))?;
            if let Some(value) = value {
                row.insert(name.to_owned(), value);
            }
            cursor.space();
            if cursor.take(b'}').is_some() {
                break;
            }
            cursor.take(b',')?;
            cursor.space();
        }
    }
    cursor.space();
    (cursor.at == text.len()).then_some(row)
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn space(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += self.rest().iter().take_while(space).count();
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.rest().first() == Some(&byte)).then(|| self.at += 1)
    }

    /// The rest of a name, up to its quote; none with escapes.
    fn plain_name(&mut self) -> Option<&'a str> {
        let length = memchr2(b'"', b'\\', self.rest())?;
        let name = &self.text[self.at..self.at + length];
        (self.rest()[length] == b'"' && is_plain(name.as_bytes())).then(|| {
            self.at += length + 1;
            name
        })
    }

    /// A value, passed over if it is not wanted.
    fn value(&mut self, wanted: bool) -> Option<Option<Value>> {
        match (self.take(b'"'), wanted) {
            (Some(()), true) => self.string().map(|text| Some(Value::String(text))),
            (Some(()), false) => self.pass_string().map(|()| None),
            (None, true) => self.other::<Value>().map(Some),
            (None, false) => self.other::<IgnoredAny>().map(|_| None),
        }
    }

    fn string(&mut self) -> Option<String> {
        let (text, length) = unescape(&self.text[self.at..])?;
        self.at += length;
        Some(text)
    }

    fn pass_string(&mut self) -> Option<()> {
        loop {
            let length = memchr2(b'"', b'\\', self.rest())?;
            if !is_plain(&self.rest()[..length]) {
                return None;
            }
            self.at += length + 1;
            if self.text.as_bytes()[self.at - 1] == b'"' {
                return Some(());
            }
            self.at += escape(self.rest())?.1;
        }
    }

    /// A value that is no string.
    fn other<T: serde::de::DeserializeOwned>(&mut self) -> Option<T> {
        let rest = &self.text[self.at..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        let value = values.next()?.ok()?;
        let length = values.byte_offset();
        let brackets = rest.as_bytes()[..length]
            .iter()
            .filter(|byte| matches!(byte, b'[' | b'{'));
        (brackets.count() <= MOST_BRACKETS).then(|| {
            self.at += length;
            value
        })
    }
}

/// Whether there is no control character, which JSON wants escaped.
fn is_plain(bytes: &[u8]) -> bool {
    // Without a way out early it is a few instructions for sixteen bytes.
    !bytes
        .iter()
        .fold(false, |found, byte| found | (*byte < 0x20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `serde_json` makes of it.
    fn judged(text: &str, projection: &Projection) -> Option<Row> {
        let value: serde_json::Map<String, Value> = serde_json::from_str(text).ok()?;
        Some(
            value
                .into_iter()
                .filter(|(name, _)| projection.keeps(name))
                .collect(),
        )
    }

    fn wanted() -> Projection {
        Projection::new(Some(&["text".to_owned(), "id".to_owned()]))
    }

    #[test]
    fn the_common_row_takes_the_short_way() {
        for text in [
            "{}",
            r#" { "id" : 5 , "text":"a\nb \"c\" \u00e9 \\ é" } "#,
            r#"{"text":"","n":[1,2.5e3,{"x":null}],"deep":{"a":[true]},"id":"1"}"#,
            r#"{"text":"one","text":"two"}"#,
            r#"{"text":"\ud83d\ude00","other":"\udbff\udfff"}"#,
            r#"{"meta":"with \n escapes \u12ab","text":"x"}"#,
        ] {
            let found = row(text, &wanted());
            assert!(found.is_some(), "{text}");
            assert_eq!(found, judged(text, &wanted()), "{text}");
        }
    }

    #[test]
    fn the_unusual_is_left_to_others() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        for text in [
            "",
            "{",
            "[]",
            "{} {}",
            r#"{"a" 1}"#,
            r#"{"a":1,}"#,
            r#"{"text":"\ud800"}"#,
            r#"{"text":"\ud83d\ud83d"}"#,
            r#"{"other":"\ude00"}"#,
            r#"{"te\u0078t":"x"}"#,
            "{\"text\":\"a\u{1}b\"}",
            "{\"other\":\"a\nb\"}",
            r#"{"text":"\x"}"#,
            r#"{"text":"\u12g4"}"#,
            r#"{"text":"open"#,
            r#"{"text":tru}"#,
            r#"{"n":01}"#,
            r#"{"n":1x}"#,
            &deep,
        ] {
            assert_eq!(row(text, &wanted()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_row_is_what_the_judge_says(
            pieces in prop::collection::vec(prop::sample::select(vec![
                "{", "}", "\"", "\"text\"", "\"id\"", "\"n\"", ":", ",", " ", "\\", "\\n", "\\u00e9", "\\ud83d", "\\ude00", "[", "]", "1",
                "-2.5e3", "01", "null", "true", "é", "😀", "\u{1}", "\t", "\"a b\"", "\"text\":\"x\\ty\"", "\"n\":[1,2]", "x",
            ]), 0..14),
            around in any::<bool>(),
        ) {
            let inner = pieces.concat();
            let text = if around { format!("{{\"text\":\"{inner}\"}}") } else { format!("{{{inner}}}") };
            if let Some(found) = row(&text, &wanted()) {
                prop_assert_eq!(Some(found), judged(&text, &wanted()), "{}", text);
            }
        }
    }
}
