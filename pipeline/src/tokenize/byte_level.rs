//! Byte-level BPE by tokenizers 1.0's engine. A release candidate: pinned to the letter, and used through this file alone.

use tokenizers::pipeline::{EncodeOptions, PipelineTokenizer};

use super::{EncodeError, Encoder};

/// The engine.
pub(super) struct ByteLevel {
    inner: PipelineTokenizer,
    options: EncodeOptions,
}

impl ByteLevel {
    pub(super) fn new(json: &[u8]) -> Result<Self, String> {
        let json = std::str::from_utf8(json).map_err(|error| error.to_string())?;
        let canonical = tokenizers::canonicalize_str(json).map_err(|error| error.to_string())?;
        let inner = tokenizers::from_json(canonical.as_ref()).map_err(|error| error.to_string())?;
        let options = EncodeOptions { add_special_tokens: false, encode_special_tokens: true, ..EncodeOptions::no_specials() };
        Ok(Self { inner, options })
    }
}

impl Encoder for ByteLevel {
    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let mut tokens = Vec::with_capacity(text.len() / 3);
        self.inner
            .encode_into(text, &self.options, &mut tokens)
            .map_err(|error| EncodeError::Refused(error.to_string()))?;
        ids.extend(tokens.into_iter().map(u32::from));
        Ok(())
    }

    fn name(&self) -> &'static str {
        "tokenizers 1.0.0-rc.3"
    }
}
