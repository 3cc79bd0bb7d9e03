//! The program's own encoder, for byte-level BPE of at most 65,535 ids with the splits of GPT-2, GPT-NeoX and Falcon: a text is looked up in
//! stretches of words (`words`, `block`) in a bounded memory (`cache`), from which ids go straight into the output; what is new is composed
//! (`compose`), split by tables of characters as the reference has them (`split`, `classes`), and read token by token (`trie`, `merge`).
//! Whether it may be used is decided by comparison with the reference when a tokenizer is loaded; figures beside other encoders are in
//! `bench/tokenize`.

mod block;
mod cache;
mod classes;
mod compose;
mod merge;
mod split;
#[cfg(test)]
mod tests;
mod trie;
mod words;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use cache::Cache;
use classes::Classes;
use merge::Merges;
pub(super) use split::Split;
use words::Reader;

use super::{EncodeError, Encoder};

/// Name and version of this engine, part of task keys.
pub(super) const NAME: &str = "andromeda bpe 2";

/// A tokenizer loaded here.
pub(super) struct Bpe {
    merges: Merges,
    split: Split,
    classes: &'static Classes,
    composes: bool,
    /// Ids of tokens for runs of 2, 3, ... spaces.
    spaces: Vec<u16>,
    /// Spelling of the added tokens by id, for decoding.
    added: HashMap<u32, String>,
    /// Memories that no thread uses at the moment: at most as many as there were threads at once.
    caches: Mutex<Vec<Box<Cache>>>,
}

impl Bpe {
    /// Loads a checked definition whose model, normalizer and pre-tokenizer were found to be of the kinds that this encoder knows;
    /// the error says what else is not.
    pub(super) fn load(json: &str, split: Split) -> Result<Self, String> {
        let root: Value = serde_json::from_str(json).map_err(|error| error.to_string())?;
        let vocab = root.pointer("/model/vocab").and_then(Value::as_object);
        let vocab = vocab.ok_or("its vocabulary is not an object")?;
        if root
            .pointer("/model/ignore_merges")
            .and_then(Value::as_bool)
            == Some(true)
        {
            return Err("it sets `ignore_merges`".to_owned());
        }
        let mut bytes: Vec<Vec<u8>> = Vec::new();
        for (token, id) in vocab {
            let id = narrow(id)?;
            if bytes.len() <= usize::from(id) {
                bytes.resize(usize::from(id) + 1, Vec::new());
            }
            bytes[usize::from(id)] = spelled(token)?;
        }
        let id_of = |token: &str| {
            vocab
                .get(token)
                .map_or_else(|| Err(format!("a merge has no id for {token:?}")), narrow)
        };
        let list = root.pointer("/model/merges").and_then(Value::as_array);
        let mut merges = Vec::new();
        for merge in list.ok_or("its merges are not an array")? {
            let (left, right) = two(merge).ok_or("a merge is not two tokens")?;
            merges.push((
                id_of(left)?,
                id_of(right)?,
                id_of(&format!("{left}{right}"))?,
            ));
        }
        let mut added = HashMap::new();
        let mut spaces: Vec<(usize, u16)> = Vec::new();
        for token in root
            .get("added_tokens")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let flag = |key: &str| token.get(key).and_then(Value::as_bool) == Some(true);
            let content = token
                .get("content")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let id = narrow(token.get("id").unwrap_or(&Value::Null))?;
            added.insert(u32::from(id), content.to_owned());
            if flag("special") {
                if content.contains("  ") {
                    return Err(format!("its special token {content:?} holds spaces"));
                }
                continue;
            }
            let run = content.len() >= 2 && content.bytes().all(|byte| byte == b' ');
            if !run
                || !flag("normalized")
                || flag("lstrip")
                || flag("rstrip")
                || flag("single_word")
            {
                return Err(format!(
                    "its added token {content:?} is neither special nor a plain run of spaces"
                ));
            }
            spaces.push((content.len(), id));
        }
        spaces.sort_unstable();
        if !spaces
            .iter()
            .map(|(length, _)| *length)
            .eq(2..spaces.len() + 2)
        {
            return Err("its tokens for runs of spaces leave out a length".to_owned());
        }
        if !spaces.is_empty() && split == Split::Falcon {
            return Err(
                "its split and its tokens for runs of spaces were not seen together".to_owned(),
            );
        }
        Ok(Self {
            merges: Merges::new(bytes, &merges)?,
            split,
            classes: match split {
                Split::Gpt2 => &classes::GPT2,
                Split::Falcon => &classes::FALCON,
            },
            composes: root.pointer("/normalizer/type").and_then(Value::as_str) == Some("NFC"),
            spaces: spaces.into_iter().map(|(_, id)| id).collect(),
            added,
            caches: Mutex::new(Vec::new()),
        })
    }
}

impl Encoder for Bpe {
    fn name(&self) -> &'static str {
        NAME
    }

    fn max_run(&self) -> usize {
        usize::MAX
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let idle = self
            .caches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let mut cache = idle.unwrap_or_else(|| Box::new(Cache::new()));
        cache.begin();
        let start = ids.len();
        let read =
            |text: &str, composed: bool, cache: &mut Cache, ids: &mut Vec<u32>| match self.split {
                Split::Gpt2 => Reader::<false> {
                    bpe: self,
                    text,
                    composed,
                }
                .read(cache, ids),
                Split::Falcon => Reader::<true> {
                    bpe: self,
                    text,
                    composed,
                }
                .read(cache, ids),
            };
        if !read(text, !self.composes, &mut cache, ids) {
            // It is not in NFC, which is seen where it matters: once more, composed.
            ids.truncate(start);
            cache.begin();
            read(
                &compose::composed(self.classes, text),
                true,
                &mut cache,
                ids,
            );
        }
        cache.flush(ids);
        let lost = cache.scratch.was_lost();
        self.caches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(cache);
        if lost {
            ids.truncate(start);
            let why = "no tokens of the vocabulary spell one of its words";
            return Err(EncodeError::Engine(why.to_owned()));
        }
        Ok(())
    }

    fn decode(&self, ids: &[u32]) -> String {
        let mut bytes = Vec::new();
        for id in ids {
            if let Some(spelling) = self.added.get(id) {
                bytes.extend_from_slice(spelling.as_bytes());
            } else if let Ok(id) = u16::try_from(*id) {
                bytes.extend_from_slice(self.merges.bytes_of(id));
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn narrow(id: &Value) -> Result<u16, String> {
    let id = id.as_u64().and_then(|id| u16::try_from(id).ok());
    id.filter(|id| *id < u16::MAX)
        .ok_or_else(|| "it has ids above 65,534".to_owned())
}

/// A merge is `"a b"` or `["a", "b"]`.
fn two(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(both) => both.split_once(' '),
        Value::Array(both) => match both.as_slice() {
            [Value::String(left), Value::String(right)] => Some((left, right)),
            _ => None,
        },
        _ => None,
    }
}

/// The bytes that a token's characters stand for in GPT-2's alphabet (`bytes_to_unicode`): printable ones of Latin-1 stand for themselves,
/// and U+0100 and on for the others in order.
fn spelled(token: &str) -> Result<Vec<u8>, String> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    token
        .chars()
        .map(|character| {
            u8::try_from(character)
                .ok()
                .filter(|byte| printable(*byte))
                .or_else(|| {
                    let nth = (character as usize).checked_sub(0x100)?;
                    (0..=255u8).filter(|byte| !printable(*byte)).nth(nth)
                })
                .ok_or_else(|| format!("token {token:?} is not spelled in the byte alphabet"))
        })
        .collect()
}
