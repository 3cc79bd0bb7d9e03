//! The tokenizer that travels along.

use std::path::Path;

use andromeda_format::ChatFormat;
use serde_json::{Value, json};
use tokenizers_reference::Tokenizer;

use super::folder::Unfinished;
use super::template::template;
use crate::error::{Error, Result};

/// A run's tokenizer.
pub(super) struct ExportedTokenizer {
    bytes: Vec<u8>,
    tokenizer: Tokenizer,
    /// The token that ends a document.
    end_of_text: (u32, String),
    /// How dialogues are written down, of a run that was trained on some.
    format: Option<ChatFormat>,
    /// The token that ends an answer in them, if that is another.
    end_of_turn: Option<u32>,
}

impl ExportedTokenizer {
    /// Reads `tokenizer.json` at `path`.
    ///
    /// # Errors
    /// It cannot be read, or has no token `end_of_text`, or none of those that `format` takes.
    pub(super) fn read(path: &Path, end_of_text: u32, format: Option<ChatFormat>) -> Result<Self> {
        let unusable = |problem: String| Error::Tokenizer {
            path: path.to_owned(),
            problem,
        };
        let bytes = fs_err::read(path).map_err(Error::io("reading the tokenizer"))?;
        let tokenizer =
            Tokenizer::from_bytes(&bytes).map_err(|error| unusable(error.to_string()))?;
        let token = tokenizer.id_to_token(end_of_text).ok_or_else(|| {
            unusable(format!(
                "it has no token {end_of_text}, which ends a document of this run; restore the tokenizer of the build"
            ))
        })?;
        let end_of_turn = format.and_then(ChatFormat::ends).map(|token| {
            tokenizer.token_to_id(token).ok_or_else(|| {
                unusable(format!(
                    "it has no token {token}, which ends an answer in dialogues of this run; restore the tokenizer of the build"
                ))
            })
        });
        Ok(Self {
            bytes,
            end_of_turn: end_of_turn.transpose()?,
            tokenizer,
            end_of_text: (end_of_text, token),
            format,
        })
    }

    /// How many tokens it has; the ids above are rows that fill up a model's vocabulary.
    pub(super) fn known(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Writes its files as `transformers` expects them. `context` is the most tokens that the model was trained on at once.
    pub(super) fn write(&self, context: usize, unfinished: &Unfinished) -> Result<()> {
        unfinished.write("tokenizer.json", &self.bytes)?;
        let (_, token) = &self.end_of_text;
        let mut config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token,
            "eos_token": token,
            "model_max_length": context,
            // Spaces before punctuation are the text's own.
            "clean_up_tokenization_spaces": false,
        });
        if let Some(template) = self.template() {
            config["chat_template"] = json!(template);
        }
        unfinished.write_json("tokenizer_config.json", &config)?;
        let special = json!({ "bos_token": token, "eos_token": token });
        unfinished.write_json("special_tokens_map.json", &special)
    }

    /// What `transformers` generates by, for a model of `vocabulary` rows: a document begins after the token that ends one, and rows
    /// without a token are never drawn.
    pub(super) fn generation(&self, vocabulary: usize) -> Value {
        let (id, _) = &self.end_of_text;
        let mut config = json!({ "bos_token_id": id, "eos_token_id": id });
        if let Some(end) = self.end_of_turn {
            config["eos_token_id"] = json!([id, end]);
        }
        let without: Vec<usize> = (self.known()..vocabulary).collect();
        if !without.is_empty() {
            config["suppress_tokens"] = json!(without);
        }
        config
    }

    /// How dialogues are written down, of a run that was trained on some.
    pub(super) fn template(&self) -> Option<&'static str> {
        self.format.map(template)
    }

    /// Id of the token that ends an answer, where that is not [`Self::end_of_text`].
    pub(super) const fn end_of_turn(&self) -> Option<u32> {
        self.end_of_turn
    }

    /// The bytes of its file.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Id of the token that ends a document.
    pub(super) const fn end_of_text(&self) -> u32 {
        self.end_of_text.0
    }
}
