//! A `tokenizer.json` with tokens added that a chat format takes for itself.
//!
//! They get the ids after the file's last one: where a model's vocabulary is padded (GPT-NeoX's 50,277 ids to 50,304 rows) they
//! are rows that would be there in any case. The file that a build carries has them as special tokens, so that whoever loads it
//! has them too: readers, the trainer, transformers. All else of the file stays as it is, byte for byte.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Value, json};

use super::definition::{Definition, MAX_VOCAB_SIZE};
use super::reference::Reference;
use super::{TokenizeError, guarded};

/// The bytes of a `tokenizer.json` with `names` among its added tokens; unchanged where all of them are. `path` is for errors.
///
/// # Errors
///
/// What [`super::Tokenizer::from_bytes`] finds, and a file in which there is no room for another id or no place for it.
pub fn with_reserved<'a>(
    bytes: &'a [u8],
    names: &[&str],
    path: &Path,
    end_of_text: Option<&str>,
) -> Result<Cow<'a, [u8]>, TokenizeError> {
    if names.is_empty() {
        return Ok(Cow::Borrowed(bytes));
    }
    let malformed = |problem: String| TokenizeError::Malformed {
        path: path.into(),
        problem,
    };
    let definition = Definition::read(bytes, path, end_of_text)?;
    let reference = guarded(|| Reference::load(&definition.json))
        .map_err(|panic| malformed(format!("the tokenizers library panicked on it: {panic}")))?
        .map_err(malformed)?;
    let mut id = reference.vocab_size();
    let mut added = String::new();
    for name in names {
        if definition.added.iter().any(|there| there == name) {
            continue;
        }
        if reference.token_to_id(name).is_some() {
            return Err(malformed(format!(
                "its vocabulary has {name:?}, which is no added token: a document could spell it"
            )));
        }
        if u64::from(id) >= MAX_VOCAB_SIZE {
            return Err(malformed(format!(
                "there is no room for the token {name:?}"
            )));
        }
        let token = json!({
            "id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true,
        });
        added.push(',');
        added.push_str(&token.to_string());
        id += 1;
    }
    if added.is_empty() {
        return Ok(Cow::Borrowed(bytes));
    }
    let at = end_of_list(bytes, "added_tokens").ok_or_else(|| {
        malformed("it has no list `added_tokens` with a token in it, once, at its top".to_owned())
    })?;
    let whole = [&bytes[..at], added.as_bytes(), &bytes[at..]].concat();
    Ok(Cow::Owned(whole))
}

/// Where, in JSON that is an object and was read before, the last element of the list `key` ends; nothing where there is none,
/// or more than one list of this name.
fn end_of_list(json: &[u8], key: &str) -> Option<usize> {
    let mut found = None;
    let (mut depth, mut at, mut in_list) = (0_usize, 0, false);
    // The last byte that is no space, and whether a string that begins now is a key of the object.
    let (mut last, mut names) = (0, false);
    while let Some(&byte) = json.get(at) {
        match byte {
            b'"' => {
                let end = end_of_string(json, at)?;
                let is_key = depth == 1 && names;
                if is_key && spells(&json[at..end], key) {
                    let rest = json[end..].iter().position(|b| !b.is_ascii_whitespace())?;
                    let value = json[end + rest + 1..]
                        .iter()
                        .find(|b| !b.is_ascii_whitespace());
                    in_list = value == Some(&b'[');
                    if !in_list || found.is_some() {
                        return None;
                    }
                }
                at = end;
                last = at;
                names = false;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                if in_list && depth == 2 && byte == b']' {
                    // Empty, it has nothing that another could follow.
                    if json[last - 1] == b'[' {
                        return None;
                    }
                    found = Some(last);
                    in_list = false;
                }
                depth = depth.checked_sub(1)?;
            }
            _ => {}
        }
        names = depth == 1 && matches!(byte, b'{' | b',') || names && byte.is_ascii_whitespace();
        at += 1;
        if !byte.is_ascii_whitespace() {
            last = at;
        }
    }
    found
}

/// Where the string that begins at `at` ends.
fn end_of_string(json: &[u8], at: usize) -> Option<usize> {
    let mut place = at + 1;
    loop {
        match json.get(place)? {
            b'\\' => place += 2,
            b'"' => return Some(place + 1),
            _ => place += 1,
        }
    }
}

/// Whether a written string, escapes and all, is `text`.
fn spells(written: &[u8], text: &str) -> bool {
    let read: Result<Value, _> = serde_json::from_slice(written);
    read.is_ok_and(|read| read == text)
}

#[cfg(test)]
mod tests {
    use super::super::Tokenizer;
    use super::super::tests::{data, small};
    use super::*;

    const NAMES: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

    #[test]
    fn tokens_take_the_ids_after_the_last_and_no_text_spells_them() {
        let mut files = vec![(small().to_string().into_bytes(), 1_200)];
        // As their publishers count them.
        for (name, first) in [("gpt-neox-20b", 50_277), ("gpt2", 50_257)] {
            let file = data().map(|data| data.join(name).join("tokenizer.json"));
            files.extend(file.map(|file| (std::fs::read(file).unwrap(), first)));
        }
        let path = Path::new("t.json");
        for (bytes, first) in files {
            let extended = with_reserved(&bytes, &NAMES, path, None).unwrap();
            let plain = Tokenizer::from_bytes(&bytes, path, None).unwrap();
            let own = Tokenizer::with_reserved(&extended, path, None, &NAMES).unwrap();
            assert_eq!((plain.vocab_size(), own.vocab_size()), (first, first + 2));
            assert_eq!(own.reserved(), [first, first + 1]);
            assert_eq!(own.end_of_text(), plain.end_of_text());
            assert_eq!(own.encoder_name(), plain.encoder_name());
            assert_eq!(own.decode(&[first, first + 1]), NAMES.concat());
            for text in [
                "<|im_start|>user\nHi<|im_end|>\n",
                "a <|im_end|>b  <|im_start|>",
                "plain",
            ] {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                own.encode(text, &mut ours).unwrap();
                plain.encode(text, &mut theirs).unwrap();
                assert_eq!(ours, theirs, "{text}");
            }
            // Nothing is added twice.
            assert!(matches!(
                with_reserved(&extended, &NAMES, path, None).unwrap(),
                Cow::Borrowed(_)
            ));
        }
    }

    #[test]
    fn the_end_of_a_list_is_found_whatever_stands_around_it() {
        for (json, before) in [
            (r#"{"list":[1,2]}"#, Some(r#"{"list":[1,2"#)),
            (
                "{ \"list\" : [ {\"a\": [3]} \n ] }",
                Some("{ \"list\" : [ {\"a\": [3]}"),
            ),
            (
                r#"{"a":{"list":[1]},"list":["]"],"b":2}"#,
                Some(r#"{"a":{"list":[1]},"list":["]""#),
            ),
            (
                r#"{"a":"list","list":["\"]"]}"#,
                Some(r#"{"a":"list","list":["\"]""#),
            ),
            (
                r#"{"a":["list",[1]], "\u006cist":[4]}"#,
                Some(r#"{"a":["list",[1]], "\u006cist":[4"#),
            ),
            (r#"{"list":[]}"#, None),
            (r#"{"list":null}"#, None),
            (r#"{"list":[1],"list":[2]}"#, None),
            (r#"{"a":{"list":[1]}}"#, None),
        ] {
            let end = end_of_list(json.as_bytes(), "list");
            assert_eq!(end.map(|at| &json[..at]), before, "{json}");
        }
    }
}
