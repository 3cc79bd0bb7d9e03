//! Documents become token ids.
//!
//! Any `tokenizer.json` of the Hugging Face tokenizers library works. Two engines stand behind [`Tokenizer`]: the 1.0
//! release candidate, some twenty times faster, for byte-level BPE, and 0.23 for every other type and as the oracle. When a
//! tokenizer is loaded the two are compared on texts that are hard to get right, and any difference hands the work to 0.23.
//!
//! Special tokens found in a document are plain text in both: a document cannot forge an end of document.

mod byte_level;
mod reference;
mod train;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

pub use train::{TrainOptions, train};

/// Larger files are no tokenizers; the largest published ones have about 30 MB.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// Names of the token that ends a document, most specific first.
const ENDS_OF_TEXT: [&str; 6] = ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "<|eos|>", "[EOS]"];

/// Why a tokenizer cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// The file could not be read.
    #[error("the tokenizer {file} cannot be read: {error}")]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is far too large.
    #[error("{file} has {bytes} bytes; a tokenizer.json has at most {MAX_FILE_BYTES}")]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The file is no tokenizer.
    #[error("{file} is no usable tokenizer.json: {what}")]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What the library says.
        what: String,
    },
    /// There is no token that ends a document.
    #[error("{file} has no token {wanted}; set tokenize.end-of-text to one of its added tokens: {candidates}")]
    NoEndOfText {
        /// The file.
        file: PathBuf,
        /// What was looked for.
        wanted: String,
        /// The added tokens, some of them.
        candidates: String,
    },
    /// Training went wrong.
    #[error("no tokenizer could be trained: {0}")]
    Train(String),
}

/// Why a document has no ids. The run counts it and goes on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The tokenizer's library panicked.
    #[error("the tokenizer's library panicked")]
    Panicked,
    /// The tokenizer's library refused the text.
    #[error("the tokenizer's library refused the text: {0}")]
    Refused(String),
    /// An id that the vocabulary does not have.
    #[error("the tokenizer gave id {0}, which its vocabulary does not have")]
    OutOfVocabulary(u32),
}

impl EncodeError {
    /// The reason under which a document is counted.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Panicked => "tokenizer-panicked",
            Self::Refused(_) => "not-tokenizable",
            Self::OutOfVocabulary(_) => "token-out-of-vocabulary",
        }
    }
}

/// An engine. Both give the same ids for the texts they share.
trait Encoder: Send + Sync {
    /// Appends the ids of a text, special tokens in it being plain text, with nothing added around it.
    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError>;
    /// Name and version.
    fn name(&self) -> &'static str;
}

/// A tokenizer, ready to use from many threads.
pub struct Tokenizer {
    encoder: Box<dyn Encoder>,
    decoder: reference::Reference,
    choice: String,
    kind: String,
    vocab_size: u32,
    end_of_text: (u32, String),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokenizer").field("kind", &self.kind).field("encoder", &self.encoder.name()).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Loads a `tokenizer.json`. `end_of_text` names the token that ends a document; by default the file's own.
    pub fn load(file: &Path, end_of_text: Option<&str>) -> Result<Self, TokenizeError> {
        let io = |error| TokenizeError::Io { file: file.to_path_buf(), error };
        let bytes = fs_err::metadata(file).map_err(io)?.len();
        if bytes > MAX_FILE_BYTES {
            return Err(TokenizeError::TooLarge { file: file.to_path_buf(), bytes });
        }
        Self::from_bytes(&fs_err::read(file).map_err(io)?, file, end_of_text)
    }

    /// As [`Self::load`], from memory; `file` is for errors.
    pub fn from_bytes(json: &[u8], file: &Path, end_of_text: Option<&str>) -> Result<Self, TokenizeError> {
        let unusable = |what: String| TokenizeError::Unusable { file: file.to_path_buf(), what };
        let reference = caught(|| reference::Reference::new(json)).unwrap_or_else(|| Err("its library panicked".to_owned()));
        let reference = reference.map_err(unusable)?;
        let vocab_size = reference.vocab_size();
        let wanted: Vec<&str> = end_of_text.map_or_else(|| ENDS_OF_TEXT.to_vec(), |name| vec![name]);
        let found = wanted.iter().find_map(|name| Some((reference.added_token(name)?, (*name).to_owned())));
        let end_of_text = found.ok_or_else(|| TokenizeError::NoEndOfText {
            file: file.to_path_buf(),
            wanted: wanted.join(" or "),
            candidates: reference.added_tokens().into_iter().take(12).collect::<Vec<_>>().join(", "),
        })?;
        let kind = reference.kind();
        let (encoder, choice): (Box<dyn Encoder>, String) = match fast(json, &kind, &reference) {
            Ok(fast) => (Box::new(fast), "byte-level BPE, equal to 0.23 on the texts that are hard to get right".to_owned()),
            Err(why) => (Box::new(reference.clone()), why),
        };
        Ok(Self { encoder, decoder: reference, choice, kind, vocab_size, end_of_text })
    }

    /// Appends the ids of a text. All are below [`Self::vocab_size`].
    pub fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let first = ids.len();
        caught(|| self.encoder.encode(text, ids)).unwrap_or(Err(EncodeError::Panicked))?;
        match ids[first..].iter().find(|id| **id >= self.vocab_size) {
            None => Ok(()),
            Some(id) => Err(EncodeError::OutOfVocabulary(*id)),
        }
    }

    /// The text of some ids; ids that stand for parts of characters become replacement characters.
    pub fn decode(&self, ids: &[u32]) -> String {
        caught(|| self.decoder.decode(ids)).unwrap_or_default()
    }

    /// Largest id plus one.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The token that ends a document.
    pub fn end_of_text(&self) -> (u32, &str) {
        (self.end_of_text.0, &self.end_of_text.1)
    }

    /// Its type: `byte-level-bpe`, `bpe`, `unigram`, `wordpiece`, `wordlevel`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Name and version of the engine that encodes: part of what the ids depend on.
    pub fn encoder_name(&self) -> &'static str {
        self.encoder.name()
    }

    /// Why that engine.
    pub fn choice(&self) -> &str {
        &self.choice
    }
}

/// The fast engine, or why not.
fn fast(json: &[u8], kind: &str, reference: &reference::Reference) -> Result<byte_level::ByteLevel, String> {
    if kind != "byte-level-bpe" {
        return Err(format!("{kind} is encoded by 0.23"));
    }
    let fast = caught(|| byte_level::ByteLevel::new(json)).unwrap_or_else(|| Err("its library panicked".to_owned()));
    let fast = fast.map_err(|why| format!("the fast engine does not read it ({why}); 0.23 does"))?;
    for text in hard_texts(&reference.added_tokens()) {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let both = caught(|| fast.encode(&text, &mut a)).zip(caught(|| reference.encode(&text, &mut b)));
        if both != Some((Ok(()), Ok(()))) || a != b {
            return Err(format!("the fast engine differs from 0.23 on {:?}; 0.23 encodes", text.chars().take(40).collect::<String>()));
        }
    }
    Ok(fast)
}

/// Texts on which tokenizers go wrong.
fn hard_texts(added: &[String]) -> Vec<String> {
    let mut texts: Vec<String> = [
        "", " ", "  ", "a", "Hello, world!", "don't I'LL we've it's\n's 't", "1 12 123 1234567 3.14 1e-9 \u{b2}\u{661}\u{2167}",
        "tabs\tand\r\nline ends\n\n\n  indented\n\tcode() { return x; }\n", "\u{a0}\u{3000}\u{2003} \u{85}\u{2028}x",
        "caf\u{e9} cafe\u{301} \u{212b} \u{1100}\u{1161}\u{11a8} \u{fb1d} q\u{307}\u{323}", "\u{4e2d}\u{6587}\u{5b57}\u{7b26} \u{3053}\u{3093} \u{e01}\u{e33} \u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea} \u{0}\u{1c}\u{1f}\u{7f}\u{feff}", "<|endof <|endoftext| text|> <|", "_a__b___ ++ == !!! ... // /* */ #[x] \\n",
    ]
    .map(str::to_owned)
    .to_vec();
    for token in added.iter().take(64) {
        texts.push(format!("before {token} after{token}{token}\n {token}"));
    }
    for n in [2, 3, 23, 24, 25, 100, 1000] {
        texts.push(format!("x{}y", " ".repeat(n)));
        texts.push("\n".repeat(n));
        texts.push("a".repeat(n));
        texts.push("=".repeat(n));
        texts.push("\u{4e2d}".repeat(n));
    }
    texts
}

/// Runs foreign code whose panics are its own affair: nothing of ours is left half done by one.
fn caught<T>(run: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

#[cfg(test)]
mod tests;
