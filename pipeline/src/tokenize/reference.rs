//! The reference encoder: `tokenizers` 0.23, which reads every kind of `tokenizer.json` and whose ids are what models
//! were published with. It encodes what the fast encoder does not, and is what the fast encoder is compared with.

use tokenizers_reference as library;

use super::{EncodeError, Encoder};

/// Exact name of this engine, part of task keys.
pub(super) const NAME: &str = "tokenizers 0.23.2";

/// The library's regular expressions give up after a million steps of backtracking, and the library then takes the rest
/// of the text as one word without a sign of it. Runs below this bound stay far below a million steps.
const MAX_RUN: usize = 250_000;

/// A tokenizer loaded with the reference library.
pub(super) struct Reference {
    tokenizer: library::Tokenizer,
    vocab_size: u32,
}

impl Reference {
    /// Loads a checked definition; the error is the library's own sentence.
    pub(super) fn load(json: &str) -> Result<Self, String> {
        let mut tokenizer: library::Tokenizer = json.parse().map_err(said)?;
        // A document is encoded whole and alone: what frames, cuts or fills it is for the stages that pack sequences.
        tokenizer.with_truncation(None).map_err(said)?;
        tokenizer
            .with_padding(None)
            .with_post_processor(None::<library::PostProcessorWrapper>);
        tokenizer.set_encode_special_tokens(true);
        let largest = tokenizer.get_vocab(true).into_values().max();
        let vocab_size = largest
            .and_then(|id| id.checked_add(1))
            .ok_or("the vocabulary is empty")?;
        Ok(Self {
            tokenizer,
            vocab_size,
        })
    }

    /// Largest id + 1, over the vocabulary and the added tokens.
    pub(super) fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The id of a token as it is spelled in the file.
    pub(super) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }
}

fn said(error: library::Error) -> String {
    error.to_string()
}

impl Encoder for Reference {
    fn name(&self) -> &'static str {
        NAME
    }

    fn max_run(&self) -> usize {
        MAX_RUN
    }

    fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|error| EncodeError::Engine(error.to_string()))?;
        ids.extend_from_slice(encoding.get_ids());
        Ok(())
    }

    fn decode(&self, ids: &[u32]) -> String {
        // Decoders refuse nothing that this program produces; for foreign ids the plain tokens are the best answer.
        self.tokenizer.decode(ids, false).unwrap_or_else(|_| {
            ids.iter()
                .filter_map(|&id| self.tokenizer.id_to_token(id))
                .collect()
        })
    }
}
