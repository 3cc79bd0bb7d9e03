//! A row of JSON Lines again, with another text in one of its fields: every other byte stays what it was.

use std::ops::Range;

use memchr::memchr2;

/// Appends `row` to `to`, with `text` for the string at `path`, which is written as fields are named: `text`, or
/// `outer.inner`, with positions from 0 in lists. The row is one that was read without a fault; of a name that occurs twice
/// the last counts, as for the reader. `false`, and nothing is appended, where the row has no string there.
#[must_use]
pub fn replace_text(row: &[u8], path: &str, text: &str, to: &mut Vec<u8>) -> bool {
    let place = path
        .split('.')
        .try_fold(space(row, 0), |at, part| inner(row, at, part));
    let Some(place) = place.filter(|at| row.get(*at) == Some(&b'"')) else {
        return false;
    };
    let Some(end) = end_of_value(row, place) else {
        return false;
    };
    to.reserve(row.len() + text.len() / 8);
    to.extend_from_slice(&row[..place]);
    to.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
    to.extend_from_slice(&row[end..]);
    true
}

/// Where the part of the value at `at` begins that is called `name`, in an object, or stands at this position, in a list.
fn inner(row: &[u8], at: usize, name: &str) -> Option<usize> {
    let position = match row.get(at)? {
        b'{' => None,
        b'[' => Some(name.parse::<usize>().ok()?),
        _ => return None,
    };
    let mut found = None;
    let mut at = space(row, at + 1);
    let mut number = 0;
    while !matches!(row.get(at)?, b'}' | b']') {
        let mut is_it = position == Some(number);
        if position.is_none() {
            let key = at..end_of_string(row, at)?;
            at = space(row, key.end);
            at = space(row, at + usize::from(row.get(at) == Some(&b':')));
            is_it = is_called(row, key, name);
        }
        if is_it {
            found = Some(at);
        }
        at = space(row, end_of_value(row, at)?);
        if row.get(at) == Some(&b',') {
            at = space(row, at + 1);
        }
        number += 1;
    }
    found
}

/// Whether the string of these bytes, quotes included, is `name`.
fn is_called(row: &[u8], key: Range<usize>, name: &str) -> bool {
    let quoted = &row[key];
    match quoted.contains(&b'\\') {
        false => quoted.get(1..quoted.len() - 1) == Some(name.as_bytes()),
        true => serde_json::from_slice::<String>(quoted).is_ok_and(|key| key == name),
    }
}

/// The first byte from `at` on that is no white space.
fn space(row: &[u8], at: usize) -> usize {
    let rest = row.get(at..).unwrap_or_default();
    let length = rest
        .iter()
        .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
        .count();
    at + length
}

/// Behind the string that begins at `at`; `None` if none does.
fn end_of_string(row: &[u8], at: usize) -> Option<usize> {
    let mut at = at + usize::from(*row.get(at)? == b'"');
    loop {
        at += memchr2(b'"', b'\\', row.get(at..)?)?;
        if row[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Behind the value that begins at `at`.
fn end_of_value(row: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = at;
    loop {
        at = match row.get(at)? {
            b'"' => end_of_string(row, at)?,
            b'{' | b'[' => {
                depth += 1;
                at + 1
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at + 1
            }
            _ if depth > 0 => at + 1,
            _ => {
                let rest = &row[at..];
                let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r');
                return Some(at + rest.iter().position(ends).unwrap_or(rest.len()));
            }
        };
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn replaced(row: &str, path: &str) -> Option<String> {
        let mut to = b"before ".to_vec();
        let done = replace_text(row.as_bytes(), path, "a \"b\"\n", &mut to);
        let to = String::from_utf8(to).unwrap();
        assert_eq!(done, to != "before ");
        done.then(|| to.strip_prefix("before ").unwrap().to_owned())
    }

    #[test]
    fn the_text_is_replaced_and_every_other_byte_stays() {
        for (row, path, expected) in [
            (r#"{"text":"x"}"#, "text", r#"{"text":"a \"b\"\n"}"#),
            (
                r#" { "n":1.50 , "text" : "\"}\\" ,"z":[ ] } "#,
                "text",
                r#" { "n":1.50 , "text" : "a \"b\"\n" ,"z":[ ] } "#,
            ),
            (
                r#"{"text":"first","a":{"text":"inner"},"te\u0078t":"last"}"#,
                "text",
                r#"{"text":"first","a":{"text":"inner"},"te\u0078t":"a \"b\"\n"}"#,
            ),
            (
                r#"{"a":"}","b":[{"c":[1,"]"]},{"c":["x","y"]}]}"#,
                "b.1.c.0",
                r#"{"a":"}","b":[{"c":[1,"]"]},{"c":["a \"b\"\n","y"]}]}"#,
            ),
        ] {
            assert_eq!(replaced(row, path).as_deref(), Some(expected));
        }
        for (row, path) in [
            (r#"{"text":5}"#, "text"),
            (r#"{"text":null}"#, "text"),
            (r#"{"txt":"x"}"#, "text"),
            (r#"{"text":"x"}"#, "text.inner"),
            (r#"{"text":["x"]}"#, "text.1"),
            (r#"["x"]"#, "text"),
            ("", "text"),
            (r#"{"text":"x"#, "text"),
            (r#"{"text""#, "text"),
            (r#"{"text":"x\"#, "text"),
        ] {
            assert_eq!(replaced(row, path), None, "{row}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-c\"\\\\{}\\[\\],: é\n]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"é]{1,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_read_again_differs_in_the_text_alone(other in value(), more in value(), pretty in any::<bool>(), text in ".{0,20}") {
            let row = json!({ "a": other, "text": "old \\\" }", "zz": more });
            let written = match pretty {
                true => serde_json::to_string_pretty(&row).unwrap(),
                false => row.to_string(),
            };
            let mut to = Vec::new();
            prop_assert!(replace_text(written.as_bytes(), "text", &text, &mut to));
            let mut expected = row;
            expected["text"] = text.into();
            prop_assert_eq!(serde_json::from_slice::<Value>(&to).unwrap(), expected);
        }

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(prop::sample::select(b"{}[]\"\\:, atext1n".to_vec()), 0..40)) {
            let mut to = Vec::new();
            let _ = replace_text(&bytes, "text.1", "x", &mut to);
        }
    }
}
