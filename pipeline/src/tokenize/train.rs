//! Training a byte-level BPE.

use tokenizers_reference::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers_reference::pre_tokenizers::byte_level::ByteLevel;
use tokenizers_reference::{AddedToken, TokenizerBuilder, normalizers::NormalizerWrapper};

use super::TokenizeError;

/// What is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainOptions {
    /// Ids, special tokens and the 256 bytes included.
    pub vocab_size: u32,
    /// Pairs that occur less often are not merged.
    pub min_frequency: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self { vocab_size: 16_384, min_frequency: 2 }
    }
}

/// Trains a byte-level BPE (Sennrich et al. 2016; bytes as GPT-2 has them) and returns its `tokenizer.json`.
///
/// Words are cut by GPT-2's pattern, with no space put before the first; `<|endoftext|>` is id 0 and `<|padding|>` id 1.
/// There is no normalizer: documents are normalized before they are tokenized. The same texts in the same order give the
/// same bytes, whatever the number of threads.
pub fn train(texts: impl Iterator<Item = String> + Send, options: &TrainOptions) -> Result<Vec<u8>, TokenizeError> {
    let failed = |error: tokenizers_reference::Error| TokenizeError::Train(error.to_string());
    let byte_level = ByteLevel::new(false, false, true);
    let mut tokenizer = TokenizerBuilder::<BPE, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>::default()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(byte_level))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(options.vocab_size as usize)
        .min_frequency(options.min_frequency)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from("<|endoftext|>", true), AddedToken::from("<|padding|>", true)])
        .build();
    tokenizer.train(&mut trainer, texts).map_err(failed)?;
    let json = tokenizer.to_string(true).map_err(failed)?;
    Ok(json.into_bytes())
}
