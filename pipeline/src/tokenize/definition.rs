//! What a `tokenizer.json` says, read with suspicion before either engine sees it. The file comes from a hub or a
//! person: its size, its ids and its shape are checked here, the token that ends a document is chosen and made special
//! (so that no document can contain it), and the file is matched against the few pre-tokenizers for which the fast
//! encoder was shown to give the reference's ids. The format has no specification; it is what the
//! `tokenizers` library reads and writes (`huggingface/tokenizers`, `tokenizers/src/tokenizer/serialization.rs`).

use std::path::Path;

use serde_json::{Map, Value};

use super::TokenizeError;
use super::bpe::Split;

/// Largest `tokenizer.json` that is read, in bytes. The largest published ones have some 35 MB.
pub(super) const MAX_DEFINITION_BYTES: u64 = 256 << 20;

/// Ids at and above this are taken for damage: engines allocate tables up to the largest id.
pub(super) const MAX_VOCAB_SIZE: u64 = 1 << 24;

/// Added tokens that end a document, in the order in which they are looked for.
const END_OF_TEXT_NAMES: [&str; 9] = [
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|end▁of▁sentence|>",
    "<|end_of_document|>",
    "</s>",
    "<eos>",
    "<|eos|>",
    "[EOS]",
    "[SEP]",
];

/// GPT-2 and GPT-NeoX, as `ByteLevel` with `use_regex` runs it.
pub(super) const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// `Split` patterns whose matches never hold a letter followed by a space, and whose fast form passed the sweep over
/// all code points: cl100k and Llama 3, Qwen 2, o200k, Mistral's tekken.
pub(super) const KNOWN_SPLITS: [&str; 5] = [
    GPT2,
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The last member of Falcon's sequence.
const THREE_DIGITS: &str = "[0-9][0-9][0-9]";

/// A checked `tokenizer.json`.
pub(super) struct Definition {
    /// The file with the end-of-text token made special; what both engines load.
    pub(super) json: String,
    /// Kind of the model in kebab-case.
    pub(super) kind: &'static str,
    /// Contents of the added tokens, in the order of the file.
    pub(super) added: Vec<String>,
    /// Id that the file gives to the end of a document, and its text.
    pub(super) end_of_text: (u32, String),
    /// Whether a long text may be cut between an ASCII letter and a space without any effect on the ids.
    pub(super) cuttable: bool,
    /// The pre-tokenizer, if all of the file is of the kinds that our own encoder knows.
    pub(super) own: Option<Split>,
    /// Why the library's fast encoder must not be used, if it must not.
    pub(super) only_reference: Option<String>,
}

impl Definition {
    /// Checks the bytes of a `tokenizer.json`; `path` is for messages.
    pub(super) fn read(
        bytes: &[u8],
        path: &Path,
        end_of_text: Option<&str>,
    ) -> Result<Self, TokenizeError> {
        let size = bytes.len() as u64;
        if size > MAX_DEFINITION_BYTES {
            return Err(TokenizeError::TooLarge {
                path: path.into(),
                bytes: size,
                limit: MAX_DEFINITION_BYTES,
            });
        }
        let malformed = |problem: String| TokenizeError::Malformed {
            path: path.into(),
            problem,
        };
        let mut root: Value =
            serde_json::from_slice(bytes).map_err(|source| TokenizeError::NotJson {
                path: path.into(),
                source,
            })?;
        let root = root
            .as_object_mut()
            .ok_or_else(|| malformed("the file is not a JSON object".into()))?;
        let model = root
            .get("model")
            .and_then(Value::as_object)
            .ok_or_else(|| malformed("it has no `model` object".into()))?;
        let model_type = model_type(model);
        check_ids(model).map_err(malformed)?;
        if model
            .get("dropout")
            .and_then(Value::as_f64)
            .is_some_and(|dropout| dropout != 0.0)
        {
            return Err(malformed(
                "`model.dropout` makes the ids random; set it to null".into(),
            ));
        }
        let byte_level = model_type == "BPE" && has_byte_level(root.get("pre_tokenizer"));
        let kind = match model_type {
            "BPE" if byte_level => "byte-level-bpe",
            "BPE" => "bpe",
            "Unigram" => "unigram",
            "WordPiece" => "wordpiece",
            "WordLevel" => "wordlevel",
            _ => {
                return Err(malformed(
                    "`model.type` is none of BPE, Unigram, WordPiece, WordLevel".into(),
                ));
            }
        };

        let unusual =
            unusual_model(model, byte_level).or_else(|| unusual_normalizer(root.get("normalizer")));
        let own = own_split(root.get("pre_tokenizer")).filter(|_| unusual.is_none());
        let unusual = unusual.or_else(|| unusual_split(root.get("pre_tokenizer")));

        let chosen = choose_end_of_text(root, path, end_of_text)?;
        let added = added_tokens(root);
        let plain = unusual_normalizer(root.get("normalizer")).is_none()
            && added.iter().all(|token| token.is_plain());
        let cuttable = byte_level && plain && splits_before_space(root.get("pre_tokenizer"));
        let added = added
            .into_iter()
            .map(|token| token.content.to_owned())
            .collect();

        let json = serde_json::to_string(root).map_err(|source| TokenizeError::NotJson {
            path: path.into(),
            source,
        })?;
        Ok(Self {
            json,
            kind,
            added,
            end_of_text: chosen,
            cuttable,
            own,
            only_reference: unusual,
        })
    }
}

/// The type of the model; files written before types were stored are told apart by their keys, as the library does.
fn model_type(model: &Map<String, Value>) -> &str {
    match model.get("type").and_then(Value::as_str) {
        Some(name) => name,
        None if model.contains_key("merges") => "BPE",
        None if model.contains_key("continuing_subword_prefix") => "WordPiece",
        None if model.get("vocab").is_some_and(Value::is_array) => "Unigram",
        None => "WordLevel",
    }
}

/// Every id of the vocabulary is a whole number below [`MAX_VOCAB_SIZE`], and none is used twice.
fn check_ids(model: &Map<String, Value>) -> Result<(), String> {
    match model.get("vocab") {
        Some(Value::Array(pieces)) if pieces.len() as u64 > MAX_VOCAB_SIZE => Err(format!(
            "the vocabulary has {} pieces; the most is {MAX_VOCAB_SIZE}",
            pieces.len()
        )),
        Some(Value::Array(_)) => Ok(()),
        Some(Value::Object(vocab)) => {
            let mut ids = Vec::with_capacity(vocab.len());
            for (token, id) in vocab {
                match id.as_u64() {
                    Some(id) if id < MAX_VOCAB_SIZE => ids.push((id, token)),
                    _ => {
                        return Err(format!(
                            "token {token:?} has id {id}; ids are whole numbers below {MAX_VOCAB_SIZE}"
                        ));
                    }
                }
            }
            ids.sort_unstable();
            match ids.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                Some(pair) => Err(format!(
                    "tokens {:?} and {:?} share the id {}",
                    pair[0].1, pair[1].1, pair[0].0
                )),
                None => Ok(()),
            }
        }
        _ => Err("`model.vocab` is neither an object nor an array".into()),
    }
}

fn type_of(component: Option<&Value>) -> Option<&str> {
    component?.get("type")?.as_str()
}

/// The members of a `Sequence` pre-tokenizer, or the one pre-tokenizer.
fn members(pre_tokenizer: Option<&Value>) -> &[Value] {
    match pre_tokenizer {
        None | Some(Value::Null) => &[],
        Some(one) => match one.get("pretokenizers").and_then(Value::as_array) {
            Some(members) => members,
            None => std::slice::from_ref(one),
        },
    }
}

fn has_byte_level(pre_tokenizer: Option<&Value>) -> bool {
    members(pre_tokenizer)
        .iter()
        .any(|member| type_of(Some(member)) == Some("ByteLevel"))
}

/// `ByteLevel` without an added space; the answer says whether it runs the GPT-2 expression.
fn plain_byte_level(member: &Value) -> Option<bool> {
    // The library's defaults for keys that older files lack.
    let flag = |key| member.get(key).and_then(Value::as_bool).unwrap_or(true);
    (type_of(Some(member)) == Some("ByteLevel") && !flag("add_prefix_space"))
        .then(|| flag("use_regex"))
}

/// The expression of a `Split` whose matches are pieces of their own.
fn isolated(member: &Value) -> Option<&str> {
    let isolates = type_of(Some(member)) == Some("Split")
        && member.get("behavior").and_then(Value::as_str) == Some("Isolated")
        && member.get("invert").and_then(Value::as_bool) == Some(false);
    let pattern = member.get("pattern")?.get("Regex")?.as_str()?;
    isolates.then_some(pattern)
}

fn is_known_split(member: &Value) -> bool {
    isolated(member).is_some_and(|pattern| KNOWN_SPLITS.contains(&pattern))
}

/// The pre-tokenizers that our own encoder knows.
fn own_split(pre_tokenizer: Option<&Value>) -> Option<Split> {
    let says = |member: &Value, kind: &str, key: &str, value: Value| {
        type_of(Some(member)) == Some(kind) && member.get(key) == Some(&value)
    };
    match members(pre_tokenizer) {
        [only] if plain_byte_level(only) == Some(true) => Some(Split::Gpt2),
        [split, last] if isolated(split) == Some(GPT2) && plain_byte_level(last) == Some(false) => {
            Some(Split::Gpt2)
        }
        [punctuation, byte_level, digits, threes]
            if says(punctuation, "Punctuation", "behavior", "Contiguous".into())
                && plain_byte_level(byte_level) == Some(true)
                && says(digits, "Digits", "individual_digits", false.into())
                && isolated(threes) == Some(THREE_DIGITS) =>
        {
            Some(Split::Falcon)
        }
        _ => None,
    }
}

/// A character that stands for a byte in the alphabet of GPT-2's `bytes_to_unicode`.
fn stands_for_byte(character: char) -> bool {
    matches!(character, '!'..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{143}')
}

fn unusual_model(model: &Map<String, Value>, byte_level: bool) -> Option<String> {
    if !byte_level {
        return Some("the fast encoder is for byte-level BPE only".into());
    }
    for key in [
        "continuing_subword_prefix",
        "end_of_word_suffix",
        "unk_token",
    ] {
        if model
            .get(key)
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty())
        {
            return Some(format!("the model sets `{key}`"));
        }
    }
    if model.get("byte_fallback").and_then(Value::as_bool) == Some(true) {
        return Some("the model sets `byte_fallback`".into());
    }
    let vocab = model.get("vocab").and_then(Value::as_object)?;
    vocab
        .keys()
        .find(|token| token.is_empty() || !token.chars().all(stands_for_byte))
        .map(|token| format!("vocabulary entry {token:?} is not spelled in the byte alphabet"))
}

fn unusual_normalizer(normalizer: Option<&Value>) -> Option<String> {
    match normalizer {
        None | Some(Value::Null) => None,
        some if type_of(some) == Some("NFC") => None,
        some => Some(format!(
            "normalizer {:?} was not compared",
            type_of(some).unwrap_or("without a type")
        )),
    }
}

fn unusual_split(pre_tokenizer: Option<&Value>) -> Option<String> {
    let known = match members(pre_tokenizer) {
        [only] => plain_byte_level(only) == Some(true),
        [split, last] => is_known_split(split) && plain_byte_level(last) == Some(false),
        _ => false,
    };
    (!known).then(|| {
        let names: Vec<&str> = members(pre_tokenizer)
            .iter()
            .map(|member| type_of(Some(member)).unwrap_or("?"))
            .collect();
        format!(
            "its pre-tokenizer ({}) is not one that the fast encoder is known to repeat exactly",
            names.join(", ")
        )
    })
}

/// Whether every split begins a new piece at a space between two ASCII letters, whatever stands around them.
fn splits_before_space(pre_tokenizer: Option<&Value>) -> bool {
    let mut splits = false;
    for member in members(pre_tokenizer) {
        // Falcon's other members only cut further, at characters that are neither letters nor spaces.
        let digits = member.pointer("/pattern/Regex").and_then(Value::as_str) == Some(THREE_DIGITS);
        match plain_byte_level(member) {
            Some(regex) => splits |= regex,
            None if is_known_split(member) => splits = true,
            None if matches!(type_of(Some(member)), Some("Punctuation" | "Digits")) || digits => {}
            None => return false,
        }
    }
    splits
}

/// One added token as the file spells it.
struct AddedToken<'a> {
    content: &'a str,
    fields: &'a Map<String, Value>,
}

impl AddedToken<'_> {
    /// Matches neither depend on the text around them nor reach across a letter and a space.
    fn is_plain(&self) -> bool {
        let flag = |key| self.fields.get(key).and_then(Value::as_bool) == Some(true);
        let crosses = self
            .content
            .as_bytes()
            .windows(2)
            .any(|pair| pair[0].is_ascii_alphabetic() && pair[1] == b' ');
        flag("special") || !(crosses || flag("lstrip") || flag("rstrip") || flag("single_word"))
    }
}

fn added_tokens(root: &Map<String, Value>) -> Vec<AddedToken<'_>> {
    root.get("added_tokens")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|token| {
            let fields = token.as_object()?;
            let content = fields.get("content")?.as_str()?;
            Some(AddedToken { content, fields })
        })
        .collect()
}

/// Finds the added token that ends a document and marks it special, so that its text inside a document stays text.
fn choose_end_of_text(
    root: &mut Map<String, Value>,
    path: &Path,
    wanted: Option<&str>,
) -> Result<(u32, String), TokenizeError> {
    let added = added_tokens(root);
    let has = |name: &str| added.iter().any(|token| token.content == name);
    let found = match wanted {
        Some(name) => has(name).then_some(name),
        None => END_OF_TEXT_NAMES.into_iter().find(|name| has(name)),
    };
    let Some(name) = found.map(str::to_owned) else {
        let mut candidates: Vec<&str> = added
            .iter()
            .filter(|token| !token.content.trim().is_empty())
            .map(|token| token.content)
            .collect();
        candidates.truncate(24);
        return Err(TokenizeError::NoEndOfText {
            path: path.into(),
            wanted: wanted.map(str::to_owned),
            candidates: if candidates.is_empty() {
                "none".into()
            } else {
                candidates.join(" ")
            },
        });
    };
    let entry = root
        .get_mut("added_tokens")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
        .find(|token| token.get("content").and_then(Value::as_str) == Some(name.as_str()));
    let id = entry.and_then(|token| {
        token.insert("special".into(), Value::Bool(true));
        let id = token
            .get("id")?
            .as_u64()
            .filter(|id| *id < MAX_VOCAB_SIZE)?;
        u32::try_from(id).ok()
    });
    match id {
        Some(id) => Ok((id, name)),
        None => Err(TokenizeError::Malformed {
            path: path.into(),
            problem: format!("the added token {name:?} has no id below {MAX_VOCAB_SIZE}"),
        }),
    }
}
