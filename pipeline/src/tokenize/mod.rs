//! Documents become token ids.
//!
//! The principal type is [`Tokenizer`]: any `tokenizer.json`, loaded once, shared by all threads. Three engines stand
//! behind it. `tokenizers` 0.23 reads everything and gives the ids that models were published with. Our own encoder gives
//! the same ids for byte-level BPE with the splits of GPT-2, GPT-NeoX and Falcon, and `tokenizers` 1.0 (release candidate)
//! for those of Llama 3, Qwen and others, both some thirty times faster. Which one runs is decided at load time: by the
//! shape of the file, then by comparing with the first on texts that are known to be difficult. A document can not
//! forge its own end: special tokens inside text are text, and ids that contain the end of text are refused.

mod bpe;
mod byte_level;
mod definition;
mod newer_unicode;
mod probes;
mod reference;
mod reserve;
mod train;

#[cfg(test)]
mod mutate;
#[cfg(test)]
mod tests;

use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use bpe::Bpe;
use byte_level::ByteLevel;
use definition::{Definition, MAX_DEFINITION_BYTES};
use reference::Reference;

pub use reserve::with_reserved;
pub use train::{END_OF_TEXT, PADDING, TrainOptions, train};

/// Longest text that is encoded, in bytes. A longer one is a file that was taken for a document.
pub const MAX_TEXT_BYTES: usize = 256 << 20;

/// A text is handed to the engine in pieces of about this size where that cannot change the ids: the engines keep
/// buffers of several times a piece for every thread.
const PIECE_BYTES: usize = 1 << 20;

/// A tokenizer could not be loaded or trained.
#[derive(Debug, thiserror::Error)]
pub enum TokenizeError {
    /// The file could not be read.
    #[error("tokenizer {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any tokenizer.
    #[error(
        "tokenizer {path}: {bytes} bytes is more than the {limit} bytes a tokenizer.json may have; is it another file?",
        path = path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes, or the limit + 1 where reading stopped.
        bytes: u64,
        /// The largest size in bytes.
        limit: u64,
    },
    /// The file is not JSON, or only the beginning of one.
    #[error(
        "tokenizer {path} is not JSON ({source}); download it again, or give a `tokenizer.json` and not a `tokenizer.model`",
        path = path.display()
    )]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Line, column and fault.
        source: serde_json::Error,
    },
    /// The file is JSON, but not a tokenizer that can be used.
    #[error("tokenizer {path} cannot be used: {problem}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No token to end documents with.
    #[error(
        "tokenizer {path} has no added token {}; name the token that ends a document, one of: {candidates}",
        wanted.as_ref().map_or_else(|| "that usually ends a document".to_owned(), |name| format!("{name:?}")),
        path = path.display()
    )]
    NoEndOfText {
        /// The file.
        path: PathBuf,
        /// The token that was asked for, if one was.
        wanted: Option<String>,
        /// The added tokens of the file, separated by spaces.
        candidates: String,
    },
    /// A tokenizer could not be trained.
    #[error("the tokenizer cannot be trained: {0}")]
    Train(String),
}

/// A text could not be encoded; the document is dropped with [`EncodeError::reason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The engine panicked on this text.
    #[error("the tokenizer panicked on this text: {0}")]
    Panicked(String),
    /// The engine refused this text.
    #[error("the tokenizer cannot encode this text: {0}")]
    Engine(String),
    /// The text is longer than [`MAX_TEXT_BYTES`].
    #[error("the text has {bytes} bytes; the most is {MAX_TEXT_BYTES}")]
    TooLong {
        /// Length of the text in bytes.
        bytes: usize,
    },
    /// A run of like characters is too long for the engine.
    #[error(
        "the text has a run of more than {limit} letters and digits, white space, or other signs"
    )]
    LongRun {
        /// The longest run that the engine takes, in characters.
        limit: usize,
    },
    /// The ids would contain the end of a document.
    #[error("the text would end its own document: its ids contain the end-of-text token")]
    ForgedEndOfText,
    /// The text became a token that begins or ends a turn.
    #[error("the text contains a token that begins or ends a turn")]
    ForgedTurn,
    /// The engine gave an id outside the vocabulary.
    #[error("the tokenizer gave the id {0}, which is outside its vocabulary")]
    UnknownId(u32),
}

impl EncodeError {
    /// A short word for the funnel and for receipts.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Panicked(_) => "tokenizer-panicked",
            Self::Engine(_) => "not-tokenizable",
            Self::TooLong { .. } => "too-long-to-tokenize",
            Self::LongRun { .. } => "run-too-long-to-tokenize",
            Self::ForgedEndOfText => "forged-end-of-text",
            Self::ForgedTurn => "forged-turn",
            Self::UnknownId(_) => "id-outside-vocabulary",
        }
    }
}

/// One engine with one tokenizer loaded.
trait Encoder: Send + Sync {
    /// Exact name and version of the engine.
    fn name(&self) -> &'static str;
    /// Longest run of letters and digits, of white space, or of other characters that it takes, in characters.
    fn max_run(&self) -> usize;
    /// Appends the ids of a text, special tokens in it taken as text.
    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError>;
    /// The text of ids, special tokens spelled out; unknown ids are left out.
    fn decode(&self, ids: &[u32]) -> String;
}

/// A `tokenizer.json`, ready to encode.
pub struct Tokenizer {
    encoder: Box<dyn Encoder>,
    /// Encodes the texts with characters that `encoder` sees otherwise than the reference.
    unsettled: Option<Reference>,
    cuttable: bool,
    kind: &'static str,
    choice: String,
    vocab_size: u32,
    end_of_text: (u32, String),
    reserved: Vec<u32>,
    sha256: [u8; 32],
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Tokenizer")
            .field("kind", &self.kind)
            .field("vocab_size", &self.vocab_size)
            .field("end_of_text", &self.end_of_text)
            .field("choice", &self.choice)
            .finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Loads a `tokenizer.json`. `end_of_text` names the added token that ends a document; without it the usual names
    /// are looked for.
    pub fn load(path: &Path, end_of_text: Option<&str>) -> Result<Self, TokenizeError> {
        let read = |source| TokenizeError::Read {
            path: path.into(),
            source,
        };
        let file = std::fs::File::open(path).map_err(read)?;
        let mut bytes = Vec::new();
        file.take(MAX_DEFINITION_BYTES + 1)
            .read_to_end(&mut bytes)
            .map_err(read)?;
        Self::from_bytes(&bytes, path, end_of_text)
    }

    /// Loads the bytes of a `tokenizer.json`; `path` is what errors call it.
    pub fn from_bytes(
        bytes: &[u8],
        path: &Path,
        end_of_text: Option<&str>,
    ) -> Result<Self, TokenizeError> {
        Self::with_reserved(bytes, path, end_of_text, &[])
    }

    /// The same, with the added tokens that a chat format takes for itself: a text that becomes one of them is refused.
    pub fn with_reserved(
        bytes: &[u8],
        path: &Path,
        end_of_text: Option<&str>,
        reserved: &[&str],
    ) -> Result<Self, TokenizeError> {
        let malformed = |problem: String| TokenizeError::Malformed {
            path: path.into(),
            problem,
        };
        let definition = Definition::read(bytes, path, end_of_text)?;
        let reference = guarded(|| Reference::load(&definition.json))
            .map_err(|panic| malformed(format!("the tokenizers library panicked on it: {panic}")))?
            .map_err(malformed)?;
        let vocab_size = reference.vocab_size();
        let (declared, name) = &definition.end_of_text;
        match reference.token_to_id(name) {
            Some(id) if id == *declared => {}
            other => {
                return Err(malformed(format!(
                    "it gives {name:?} the id {declared}, but the tokenizers library counts added tokens on from the \
                     vocabulary and arrives at {}",
                    other.map_or_else(|| "none".to_owned(), |id| id.to_string())
                )));
            }
        }
        let reserved = reserved.iter().map(|name| {
            let id = reference.token_to_id(name);
            id.ok_or_else(|| malformed(format!("it has no token {name:?}")))
        });
        let reserved = reserved.collect::<Result<Vec<u32>, _>>()?;
        if reserved.contains(declared) {
            return Err(malformed(format!(
                "{name:?} ends documents and turns too; name another end of text"
            )));
        }
        let Choice {
            encoder,
            unsettled,
            sentence,
        } = choose(&definition, reference);
        Ok(Self {
            encoder,
            unsettled,
            cuttable: definition.cuttable,
            kind: definition.kind,
            choice: sentence,
            vocab_size,
            end_of_text: definition.end_of_text,
            reserved,
            sha256: Sha256::digest(bytes).into(),
        })
    }

    /// Appends the ids of a text. Special tokens in the text are taken as text; every id is below
    /// [`Self::vocab_size`] and none is the end of text. On an error `ids` is as it was.
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(EncodeError::TooLong { bytes: text.len() });
        }
        let start = ids.len();
        let encoded = self
            .encode_pieces(text, ids)
            .and_then(|()| self.check(ids.get(start..).unwrap_or_default()));
        if encoded.is_err() {
            ids.truncate(start);
        }
        encoded
    }

    /// The text of ids, special tokens spelled out. Ids outside the vocabulary are left out, bytes that are not UTF-8
    /// become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        guarded(|| self.encoder.decode(ids)).unwrap_or_default()
    }

    /// The largest id + 1, over the vocabulary and the added tokens.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The id and the spelling of the token that ends a document.
    pub fn end_of_text(&self) -> (u32, &str) {
        (self.end_of_text.0, &self.end_of_text.1)
    }

    /// Ids of the tokens that are a chat format's, as they were named.
    pub fn reserved(&self) -> &[u32] {
        &self.reserved
    }

    /// The kind of model: `byte-level-bpe`, `bpe`, `unigram`, `wordpiece` or `wordlevel`.
    pub fn kind(&self) -> &str {
        self.kind
    }

    /// Exact name and version of the engine that encodes; a part of task keys.
    pub fn encoder_name(&self) -> &str {
        self.encoder.name()
    }

    /// One sentence on why that engine encodes.
    pub fn choice(&self) -> &str {
        &self.choice
    }

    /// SHA-256 of the bytes of the `tokenizer.json`.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    fn encode_pieces(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let encoder: &dyn Encoder = match &self.unsettled {
            Some(reference) if !newer_unicode::is_settled(text) => reference,
            _ => self.encoder.as_ref(),
        };
        let limit = encoder.max_run();
        if text.len() > limit && longest_run(text) > limit {
            return Err(EncodeError::LongRun { limit });
        }
        let mut rest = text;
        while !rest.is_empty() {
            let (piece, after) = if self.cuttable { cut(rest) } else { (rest, "") };
            guarded(|| encoder.encode(piece, ids)).map_err(EncodeError::Panicked)??;
            rest = after;
        }
        Ok(())
    }

    fn check(&self, ids: &[u32]) -> Result<(), EncodeError> {
        let largest = ids.iter().copied().max().unwrap_or(0);
        if largest >= self.vocab_size {
            return Err(EncodeError::UnknownId(largest));
        }
        if ids.contains(&self.end_of_text.0) {
            return Err(EncodeError::ForgedEndOfText);
        }
        if !self.reserved.is_empty() && ids.iter().any(|id| self.reserved.contains(id)) {
            return Err(EncodeError::ForgedTurn);
        }
        Ok(())
    }
}

/// Cuts after an ASCII letter that is followed by a space and another ASCII letter, at or after [`PIECE_BYTES`]. No
/// match of a known pre-tokenizer holds a letter and the space after it, and NFC leaves all three as they are.
fn cut(text: &str) -> (&str, &str) {
    let from = PIECE_BYTES.min(text.len());
    let at = text.as_bytes()[from..].windows(3).position(|around| {
        around[0].is_ascii_alphabetic() && around[1] == b' ' && around[2].is_ascii_alphabetic()
    });
    match at {
        Some(at) => text.split_at(from + at + 1),
        None => (text, ""),
    }
}

/// Length of the longest run of one kind of character, in characters.
fn longest_run(text: &str) -> usize {
    let kind = |character: char| {
        if character.is_whitespace() {
            0
        } else if character.is_alphanumeric() {
            1
        } else {
            2
        }
    };
    let (mut longest, mut run, mut last) = (0, 0, 3);
    for character in text.chars() {
        let this = kind(character);
        run = if this == last { run + 1 } else { 1 };
        last = this;
        longest = longest.max(run);
    }
    longest
}

/// Runs foreign code; a panic becomes its message.
fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    // What a panic may leave half-done is either dropped by the caller or cleared by the engine before its next use.
    catch_unwind(AssertUnwindSafe(run)).map_err(|payload| {
        if let Some(text) = payload.downcast_ref::<&str>() {
            (*text).to_owned()
        } else if let Some(text) = payload.downcast_ref::<String>() {
            text.clone()
        } else {
            "without a message".to_owned()
        }
    })
}

/// Which engine encodes, and why.
struct Choice {
    encoder: Box<dyn Encoder>,
    unsettled: Option<Reference>,
    sentence: String,
}

/// The fastest encoder that knows the file's parts and agrees with the reference on every probe, else the reference.
fn choose(definition: &Definition, reference: Reference) -> Choice {
    let equal = |name: &str, probes: usize| {
        format!(
            "{name}: byte-level BPE, and its ids equal those of {} on {probes} difficult texts",
            reference::NAME
        )
    };
    if let Some(split) = definition.own
        && let Ok((own, probes)) = try_own(definition, split, &reference)
    {
        return Choice {
            encoder: Box::new(own),
            unsettled: None,
            sentence: equal(bpe::NAME, probes),
        };
    }
    match try_fast(definition, &reference) {
        Ok((fast, probes)) => Choice {
            encoder: Box::new(fast),
            unsettled: Some(reference),
            sentence: equal(byte_level::NAME, probes),
        },
        Err(why) => Choice {
            encoder: Box::new(reference),
            unsettled: None,
            sentence: format!("{}: {why}", reference::NAME),
        },
    }
}

/// Our own encoder and the number of texts it was compared on, or why it does not do.
fn try_own(
    definition: &Definition,
    split: bpe::Split,
    reference: &Reference,
) -> Result<(Bpe, usize), String> {
    let own = guarded(|| Bpe::load(&definition.json, split)).and_then(|loaded| loaded)?;
    let probes = compared(definition, &own, reference)?;
    Ok((own, probes))
}

/// The fast encoder and the number of texts it was compared on, or why the reference must do the work.
fn try_fast(definition: &Definition, reference: &Reference) -> Result<(ByteLevel, usize), String> {
    if let Some(why) = &definition.only_reference {
        return Err(why.clone());
    }
    let fast = guarded(|| ByteLevel::load(&definition.json))
        .and_then(|loaded| loaded)
        .map_err(|why| format!("{} cannot load this file ({why})", byte_level::NAME))?;
    let probes = compared(definition, &fast, reference)?;
    Ok((fast, probes))
}

/// How many texts two encoders give the same ids for, or the first for which they do not.
fn compared(
    definition: &Definition,
    encoder: &dyn Encoder,
    reference: &Reference,
) -> Result<usize, String> {
    let probes = probes::texts(&definition.added);
    match first_difference(encoder, reference, &probes) {
        Some(text) => Err(format!("{} gives other ids for {text:?}", encoder.name())),
        None => Ok(probes.len()),
    }
}

/// The first text that two encoders do not give the same ids for.
fn first_difference<'a>(
    one: &dyn Encoder,
    other: &dyn Encoder,
    texts: &'a [String],
) -> Option<&'a str> {
    let ids = |encoder: &dyn Encoder, text: &str| {
        let mut ids = Vec::new();
        guarded(|| encoder.encode(text, &mut ids)).map(|result| result.map(|()| ids))
    };
    texts
        .iter()
        .find(|text| match (ids(one, text), ids(other, text)) {
            (Ok(Ok(one)), Ok(Ok(other))) => one != other,
            _ => true,
        })
        .map(String::as_str)
}
