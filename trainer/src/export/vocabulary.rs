//! A `tokenizer.json` as GGUF files have it: tokens, their kinds, merges, and the name of the split before them.
//!
//! `llama.cpp` has byte-level BPE with a list of splits that it knows by name, and no normalizer. NFC, which GPT-NeoX's has, is let
//! pass, as its converter does: it changes composed letters of texts that are not composed already, and no others.

use serde_json::Value;

/// `llama_token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum TokenType {
    /// Made of bytes.
    Normal = 1,
    /// Special: stands for no text.
    Control = 3,
    /// Added, and stands for its text.
    UserDefined = 4,
    /// A row without a token.
    Unused = 5,
}

/// What a GGUF file has of a tokenizer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Vocabulary {
    /// Name of the split.
    pub(super) pre: &'static str,
    /// One a row of the embedding.
    pub(super) tokens: Vec<String>,
    /// What each is.
    pub(super) types: Vec<TokenType>,
    /// Two tokens with a blank between them, the first to be joined first.
    pub(super) merges: Vec<String>,
}

/// The splits that are known by name, as regular expressions: `llama-vocab.cpp`'s of these names.
const SPLITS: [(&str, &str); 2] = [
    (
        "llama-bpe",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    (
        "qwen2",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
];

/// Reads `tokenizer.json` for a model of `rows` tokens.
///
/// # Errors
/// `llama.cpp` has no such tokenizer; the message says what of it.
pub(super) fn read(bytes: &[u8], rows: usize) -> Result<Vocabulary, String> {
    let json: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let kind = &json["model"]["type"];
    if kind != "BPE" {
        return Err(format!("its model is {kind}, and it has byte-level BPE"));
    }
    let normalizer = &json["normalizer"];
    if !normalizer.is_null() && normalizer["type"] != "NFC" {
        return Err(format!("it has no normalizer {}", normalizer["type"]));
    }
    let pre = split(&json["pre_tokenizer"])?;
    let mut tokens: Vec<Option<(String, TokenType)>> = vec![None; rows];
    let mut put = |id: &Value, token: &str, kind| {
        let id = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let place = id.and_then(|id| tokens.get_mut(id));
        let place = place.ok_or_else(|| format!("the model has no row for token {token:?}"))?;
        *place = Some((token.to_owned(), kind));
        Ok::<(), String>(())
    };
    let vocabulary = json["model"]["vocab"].as_object();
    for (token, id) in vocabulary.ok_or("it has no vocabulary")? {
        put(id, token, TokenType::Normal)?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true {
            TokenType::Control
        } else {
            TokenType::UserDefined
        };
        let content = added["content"].as_str().unwrap_or_default();
        put(&added["id"], content, kind)?;
    }
    let merges = json["model"]["merges"].as_array().into_iter().flatten();
    let merges: Option<Vec<String>> = merges
        .map(|merge| match merge {
            Value::String(merge) => Some(merge.clone()),
            pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
        })
        .collect();
    let all = tokens.into_iter().enumerate();
    let (tokens, types) = all
        .map(|(row, token)| token.unwrap_or_else(|| (format!("[PAD{row}]"), TokenType::Unused)))
        .unzip();
    Ok(Vocabulary {
        pre,
        tokens,
        types,
        merges: merges.ok_or("a merge is no pair of tokens")?,
    })
}

/// The name of the split that a pre-tokenizer makes.
fn split(pre: &Value) -> Result<&'static str, String> {
    let is_bytes = |part: &Value, splits: bool| {
        // Absent is true in files of before it could be told.
        let regex = part["use_regex"].as_bool().unwrap_or(true);
        part["type"] == "ByteLevel" && part["add_prefix_space"] != true && regex == splits
    };
    if is_bytes(pre, true) {
        return Ok("gpt-2");
    }
    let parts = pre["pretokenizers"].as_array().map(Vec::as_slice);
    if let (true, Some([first, second])) = (pre["type"] == "Sequence", parts) {
        let pattern = first["pattern"]["Regex"].as_str();
        let cuts = first["type"] == "Split"
            && first["behavior"] == "Isolated"
            && first["invert"] != true
            && is_bytes(second, false);
        let known = SPLITS.iter().find(|(_, split)| Some(*split) == pattern);
        if let (true, Some((name, _))) = (cuts, known) {
            return Ok(name);
        }
    }
    Err(
        "its split is none of those of GPT-2, Llama 3 and Qwen 2, which are known here by name"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tokenizer() -> Value {
        json!({
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true},
            "added_tokens": [
                {"id": 0, "content": "<|endoftext|>", "special": true},
                {"id": 5, "content": "  ", "special": false}
            ],
            "model": {"type": "BPE", "vocab": {"<|endoftext|>": 0, "a": 1, "Ġ": 2, "Ġa": 3},
                "merges": ["Ġ a", ["a", "Ġ"]]}
        })
    }

    fn read_json(json: &Value, rows: usize) -> Result<Vocabulary, String> {
        read(json.to_string().as_bytes(), rows)
    }

    #[test]
    fn every_row_has_a_token_and_a_kind() {
        use TokenType::{Control, Normal, Unused, UserDefined};
        let read = read_json(&tokenizer(), 7).unwrap();
        assert_eq!(
            read.tokens,
            ["<|endoftext|>", "a", "Ġ", "Ġa", "[PAD4]", "  ", "[PAD6]"]
        );
        assert_eq!(
            read.types,
            [Control, Normal, Normal, Normal, Unused, UserDefined, Unused]
        );
        assert_eq!(
            (read.pre, read.merges),
            ("gpt-2", vec!["Ġ a".to_owned(), "a Ġ".to_owned()])
        );
        assert!(read_json(&tokenizer(), 5).unwrap_err().contains("no row"));
    }

    #[test]
    fn splits_are_known_by_name_or_refused() {
        for (name, pattern) in SPLITS {
            let mut json = tokenizer();
            json["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
                {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
            ]});
            assert_eq!(read_json(&json, 7).unwrap().pre, name);
            json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = json!("x");
            assert!(read_json(&json, 7).unwrap_err().contains("split"));
        }
        for (key, value) in [
            ("normalizer", json!({"type": "Lowercase"})),
            ("pre_tokenizer", json!({"type": "Whitespace"})),
            (
                "pre_tokenizer",
                json!({"type": "ByteLevel", "add_prefix_space": true}),
            ),
            (
                "pre_tokenizer",
                json!({"type": "ByteLevel", "use_regex": false}),
            ),
            ("pre_tokenizer", Value::Null),
            ("model", json!({"type": "Unigram"})),
            ("model", json!({"type": "BPE"})),
            ("model", json!({"type": "BPE", "vocab": {"a": -1}})),
            (
                "model",
                json!({"type": "BPE", "vocab": {"a": 1}, "merges": [["a"]]}),
            ),
            ("added_tokens", json!([{"id": "x"}])),
        ] {
            let mut json = tokenizer();
            json[key] = value;
            assert!(read_json(&json, 7).is_err(), "{json}");
        }
    }
}
