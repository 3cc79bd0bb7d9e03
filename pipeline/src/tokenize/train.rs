//! Trains a byte-level BPE tokenizer on given text (Sennrich et al. 2016, arXiv:1508.07909, on bytes as GPT-2 does),
//! for builds that must not depend on a published vocabulary. Words are split as GPT-2 and GPT-NeoX split them, all 256
//! bytes are tokens, and there is no normalizer, because documents are normalized before they get here.

use serde::{Deserialize, Serialize};
use tokenizers_reference as library;

use super::TokenizeError;

/// Ends a document; always id 0.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// Fills sequences; always id 1.
pub const PADDING: &str = "<|padding|>";

/// Two special tokens and all bytes.
const SMALLEST_VOCAB: u32 = 258;

/// More than this many bytes of text could overflow the trainer's pair counts, which are signed 32-bit.
const MAX_TRAINING_BYTES: u64 = i32::MAX as u64;

/// How to train a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Tokens in all, with the two special ones and the 256 bytes; fewer come out where the text has no more pairs.
    pub vocab_size: u32,
    /// A pair is merged only if the text has it this often.
    pub min_frequency: u64,
    /// No token is longer than this, in bytes; none: no limit.
    pub max_token_bytes: Option<u32>,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            // Fits 16-bit ids with room, and is a multiple of 128 for the output layer of a model.
            vocab_size: 32_768,
            min_frequency: 2,
            // Longer tokens are rules of dashes and runs of spaces, which no model needs as one symbol.
            max_token_bytes: Some(32),
        }
    }
}

/// Trains a tokenizer and returns its `tokenizer.json`: the same bytes for the same texts, whatever their order and the
/// number of threads.
pub fn train(
    texts: impl Iterator<Item = String> + Send,
    options: &TrainOptions,
) -> Result<Vec<u8>, TokenizeError> {
    use library::models::bpe::{BPE, BpeTrainer};
    use library::pre_tokenizers::byte_level::ByteLevel;
    let said = |error: library::Error| TokenizeError::Train(error.to_string());
    let special = |text: &str| library::AddedToken::from(text, true);
    let trainer = BpeTrainer::builder()
        .vocab_size(options.vocab_size as usize)
        .min_frequency(options.min_frequency)
        .max_token_length(options.max_token_bytes.map(|bytes| bytes as usize))
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![special(END_OF_TEXT), special(PADDING)])
        .show_progress(false)
        .build();
    let mut trainer = library::models::TrainerWrapper::from(trainer);
    let mut tokenizer = library::Tokenizer::new(BPE::default());
    tokenizer
        .with_pre_tokenizer(Some(ByteLevel::new(false, true, true)))
        .with_decoder(Some(ByteLevel::new(false, true, true)));
    tokenizer.train(&mut trainer, texts).map_err(said)?;
    Ok(tokenizer.to_string(true).map_err(said)?.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_give_the_same_bytes() {
        let path = std::env::var("TRAIN_TEXT").unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        for size in [400, 3000, 20000] {
            let options = TrainOptions {
                vocab_size: size,
                ..Default::default()
            };
            let started = std::time::Instant::now();
            let texts = || {
                text.split("\n\n")
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
                    .into_iter()
            };
            let one = train(texts(), &options).unwrap();
            println!("{size} {:?}", started.elapsed());
            for _ in 0..4 {
                println!("{}", one == train(texts(), &options).unwrap());
            }
        }
    }
}
