//! The fast encoder: `tokenizers` 1.0 (release candidate), for the byte-level BPE family of GPT-2, GPT-NeoX, Llama 3 and
//! Qwen. It splits text with vectorized scanners in place of a regular expression engine and remembers words, and gives
//! the ids of `tokenizers` 0.23 some thirty times faster. Its interface may still move, so nothing outside this file
//! knows it; whether it may be used at all is decided by comparison when a tokenizer is loaded.

use tokenizers as library;
use tokenizers::pipeline::{EncodeOptions, Override, PipelineTokenizer};

use super::{EncodeError, Encoder};

/// Exact name of this engine, part of task keys.
pub(super) const NAME: &str = "tokenizers 1.0.0-rc.3";

/// A run of like characters can be one word, for which the library takes, and keeps for the next text, some 40 bytes a
/// byte: this bound keeps that below 200 MB a thread.
const MAX_RUN: usize = 4_000_000;

/// A tokenizer loaded with the fast library.
pub(super) struct ByteLevel {
    tokenizer: PipelineTokenizer,
    options: EncodeOptions,
}

impl ByteLevel {
    /// Loads a checked definition; the error is the library's own sentence.
    pub(super) fn load(json: &str) -> Result<Self, String> {
        let canonical = library::canonicalize_str(json).map_err(|error| error.to_string())?;
        let tokenizer = library::from_json(&canonical).map_err(|error| error.to_string())?;
        Ok(Self {
            tokenizer,
            options: EncodeOptions {
                add_special_tokens: false,
                encode_special_tokens: true,
                padding: Override::Off,
                truncation: Override::Off,
            },
        })
    }
}

impl Encoder for ByteLevel {
    fn name(&self) -> &'static str {
        NAME
    }

    fn max_run(&self) -> usize {
        MAX_RUN
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let mut tokens = Vec::with_capacity(text.len() / 4);
        self.tokenizer
            .encode_into(text, &self.options, &mut tokens)
            .map_err(|error| EncodeError::Engine(error.to_string()))?;
        ids.extend(tokens.into_iter().map(u32::from));
        Ok(())
    }

    fn decode(&self, ids: &[u32]) -> String {
        // Byte-level decoding has no error path; the signature is that of the other model types.
        self.tokenizer.decode(ids, false).unwrap_or_default()
    }
}
