//! Every type of tokenizer by tokenizers 0.23: the oracle of the fast engine, and the engine of all it does not read.

use tokenizers_reference::models::ModelWrapper;
use tokenizers_reference::pre_tokenizers::PreTokenizerWrapper;
use tokenizers_reference::Tokenizer;

use super::{EncodeError, Encoder};

/// The engine.
#[derive(Clone)]
pub(super) struct Reference {
    inner: Tokenizer,
}

impl Reference {
    pub(super) fn new(json: &[u8]) -> Result<Self, String> {
        let mut inner = Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        // Special tokens in a text are text.
        inner.set_encode_special_tokens(true);
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|error| error.to_string())?;
        Ok(Self { inner })
    }

    pub(super) fn vocab_size(&self) -> u32 {
        self.inner.get_vocab(true).into_values().max().map_or(0, |id| id.saturating_add(1))
    }

    pub(super) fn added_token(&self, name: &str) -> Option<u32> {
        // A token of the plain vocabulary of that name could be made by a document's text.
        self.inner.get_added_tokens_decoder().into_iter().find(|(_, token)| token.content == name).map(|(id, _)| id)
    }

    /// Contents of the added tokens, by id.
    pub(super) fn added_tokens(&self) -> Vec<String> {
        let mut tokens: Vec<(u32, String)> =
            self.inner.get_added_tokens_decoder().into_iter().map(|(id, token)| (id, token.content)).collect();
        tokens.sort();
        tokens.into_iter().map(|(_, content)| content).collect()
    }

    pub(super) fn kind(&self) -> String {
        let byte_level = match self.inner.get_pre_tokenizer() {
            Some(PreTokenizerWrapper::ByteLevel(_)) => true,
            Some(PreTokenizerWrapper::Sequence(sequence)) => {
                sequence.as_ref().iter().any(|step| matches!(step, PreTokenizerWrapper::ByteLevel(_)))
            }
            _ => false,
        };
        match self.inner.get_model() {
            ModelWrapper::BPE(_) if byte_level => "byte-level-bpe",
            ModelWrapper::BPE(_) => "bpe",
            ModelWrapper::WordPiece(_) => "wordpiece",
            ModelWrapper::WordLevel(_) => "wordlevel",
            ModelWrapper::Unigram(_) => "unigram",
        }
        .to_owned()
    }

    pub(super) fn decode(&self, ids: &[u32]) -> String {
        self.inner.decode(ids, false).unwrap_or_default()
    }
}

impl Encoder for Reference {
    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|error| EncodeError::Refused(error.to_string()))?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    fn name(&self) -> &'static str {
        "tokenizers 0.23.2"
    }
}
