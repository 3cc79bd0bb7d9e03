//! Text from a model: temperature, top-k and top-p sampling with counter-based random numbers, so that equal seeds give equal text.

use std::path::Path;

use andromeda_format::Piece;
use serde::{Deserialize, Serialize};
use tokenizers_reference::Tokenizer;

use crate::error::{Error, Result};
use crate::model::Model;
use crate::ops::Backend;
use crate::random::Stream;
use crate::streaming::Streaming;

/// `[sample]` of a run configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SampleOptions {
    /// What the model goes on from; empty for the beginning of a document.
    pub prompt: String,
    /// In training, what the model goes on from one after the other, instead of the one prompt.
    pub prompts: Vec<String>,
    /// Steps between samples in training; 0 for one at the end alone.
    pub every_steps: u64,
    /// Tokens to make at most; the end of the document ends it earlier.
    pub tokens: usize,
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f64,
    /// Only this many of the likeliest tokens are drawn from; 0 for all.
    pub top_k: usize,
    /// Of these, only the likeliest whose probabilities first reach this sum are drawn from, 0 to 1, at least one (Holtzman et al.,
    /// "The Curious Case of Neural Text Degeneration", 2020); 1 for all. After temperature and top-k, as in transformers.
    pub top_p: f64,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            prompts: Vec::new(),
            every_steps: 0,
            tokens: 64,
            temperature: 0.8,
            top_k: 50,
            top_p: 1.0,
            seed: 0,
        }
    }
}

impl SampleOptions {
    /// What the model goes on from in training.
    pub fn all_prompts(&self) -> Vec<&str> {
        if self.prompts.is_empty() {
            vec![&self.prompt]
        } else {
            self.prompts.iter().map(String::as_str).collect()
        }
    }

    /// Whether there are samples after `step` steps, though they are not the last.
    pub const fn is_due(&self, step: u64) -> bool {
        self.every_steps > 0 && step.is_multiple_of(self.every_steps)
    }

    /// Every problem of the options, as sentences.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            problems.push(format!(
                "sample.temperature must not be negative, not {}",
                self.temperature
            ));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            problems.push(format!(
                "sample.top-p must be above 0 and at most 1, not {}",
                self.top_p
            ));
        }
        if !self.prompts.is_empty() && !self.prompt.is_empty() {
            problems.push(
                "sample.prompts stand instead of sample.prompt: leave one of them out".to_owned(),
            );
        }
        if self.tokens > 1 << 20 {
            problems.push(format!(
                "sample.tokens must be at most {}, not {}",
                1 << 20,
                self.tokens
            ));
        }
        problems
    }
}

/// The tokenizer of a run. What looks like a special token in a text is text, as it is in training data.
pub struct Text {
    tokenizer: Tokenizer,
    end_of_text: u32,
}

impl Text {
    /// Reads `tokenizer.json` at `path`.
    pub fn open(path: &Path, end_of_text: u32) -> Result<Self> {
        let mut tokenizer =
            Tokenizer::from_file(path).map_err(|error| unusable(path, &error.to_string()))?;
        tokenizer.set_encode_special_tokens(true);
        Ok(Self {
            tokenizer,
            end_of_text,
        })
    }

    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// They are no tokenizer.
    pub fn of(bytes: &[u8], end_of_text: u32) -> Result<Self> {
        let tokenizer = Tokenizer::from_bytes(bytes);
        let mut tokenizer =
            tokenizer.map_err(|error| unusable(Path::new("tokenizer.json"), &error.to_string()))?;
        tokenizer.set_encode_special_tokens(true);
        Ok(Self {
            tokenizer,
            end_of_text,
        })
    }

    /// The text that `model` goes on with after the prompt, not including it. At most `context_tokens` tokens are looked back at.
    /// `show` is given the text piece by piece as it is made; the pieces together are the text.
    ///
    /// # Errors
    /// The prompt cannot be tokenized or is unknown to the model, the device failed, or `show` did.
    pub fn sample<B: Backend>(
        &self,
        model: &Model<B>,
        options: &SampleOptions,
        context_tokens: usize,
        show: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<String> {
        let mut ids = vec![self.end_of_text];
        ids.extend(self.encode(&options.prompt)?);
        let known = self.known();
        let (mut streaming, mut text) = (self.streaming(), String::new());
        let mut give = |piece: String| {
            if piece.is_empty() {
                return Ok(());
            }
            text.push_str(&piece);
            show(&piece)
        };
        generate(
            model,
            &mut ids,
            options,
            context_tokens,
            known,
            self.end_of_text,
            &mut |ids| match ids.last() {
                Some(&id) => give(streaming.push(id)?),
                None => Ok(()),
            },
        )?;
        give(streaming.rest()?)?;
        Ok(text)
    }

    /// The text of tokens, special ones left out.
    ///
    /// # Errors
    /// The tokenizer refused.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        let text = self.tokenizer.decode(ids, true);
        text.map_err(|error| Error::Usage(format!("the tokens cannot be decoded: {error}")))
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// It cannot be tokenized.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoded = self.tokenizer.encode(text, false);
        let encoded = encoded
            .map_err(|error| Error::Usage(format!("the prompt cannot be tokenized: {error}")))?;
        Ok(encoded.get_ids().to_vec())
    }

    /// The tokens of a dialogue as it is written down.
    ///
    /// # Errors
    /// It cannot be tokenized, or the tokenizer has not a token that it takes.
    pub fn encode_pieces(&self, pieces: &[Piece<'_>]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => ids.extend(self.encode(text)?),
                Piece::Token(token) => ids.push(self.token(token)?),
            }
        }
        Ok(ids)
    }

    /// The id of a token that stands for itself.
    ///
    /// # Errors
    /// The tokenizer has it not.
    pub fn token(&self, token: &str) -> Result<u32> {
        self.tokenizer.token_to_id(token).ok_or_else(|| {
            Error::Usage(format!(
                "the tokenizer has no token {token}, which the dialogues of the run's build are written with; restore the tokenizer of the build"
            ))
        })
    }

    /// Tokens of the tokenizer; rows of a model above them are never drawn.
    pub fn known(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Token that ends a document.
    pub const fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// Tokens as text, piece by piece.
    pub const fn streaming(&self) -> Streaming<'_> {
        Streaming::new(&self.tokenizer)
    }
}

fn unusable(path: &Path, problem: &str) -> Error {
    Error::Tokenizer {
        path: path.to_owned(),
        problem: problem.to_owned(),
    }
}

/// Appends up to `options.tokens` tokens below `known` to `ids`, stopping before an end-of-text. `made` is given all `ids` after each.
///
/// # Errors
/// `ids` are none or unknown to the model, the device failed, or `made` did.
pub fn generate<B: Backend>(
    model: &Model<B>,
    ids: &mut Vec<u32>,
    options: &SampleOptions,
    context_tokens: usize,
    known: usize,
    end_of_text: u32,
    made: &mut dyn FnMut(&[u32]) -> Result<()>,
) -> Result<()> {
    if let Some(id) = ids
        .iter()
        .find(|&&id| id as usize >= model.config.vocabulary)
    {
        return Err(Error::Usage(format!(
            "token {id} of the prompt is unknown to the model; use the run's own tokenizer"
        )));
    }
    let stream = Stream::new(options.seed, "sample");
    let mut cache = model.cache(context_tokens)?;
    for counter in 0..options.tokens {
        let logits = model.next_logits(&mut cache, ids)?;
        let next = choose(
            &logits[..known.clamp(1, logits.len())],
            options,
            stream.uniform(counter as u64),
        );
        if next == end_of_text {
            break;
        }
        ids.push(next);
        made(ids)?;
    }
    Ok(())
}

/// The token at `uniform` of the distribution, tokens in order of falling logits and then of ids.
pub(crate) fn choose(logits: &[f64], options: &SampleOptions, uniform: f64) -> u32 {
    let mut order: Vec<u32> = (0u32..).take(logits.len()).collect();
    order.sort_by(|&a, &b| {
        logits[b as usize]
            .total_cmp(&logits[a as usize])
            .then(a.cmp(&b))
    });
    let first = order.first().copied().unwrap_or(0);
    if options.temperature == 0.0 {
        return first;
    }
    if options.top_k > 0 {
        order.truncate(options.top_k);
    }
    let largest = logits.get(first as usize).copied().unwrap_or(0.0);
    let weight = |id: u32| ((logits[id as usize] - largest) / options.temperature).exp();
    let mut total: f64 = order.iter().map(|&id| weight(id)).sum();
    if options.top_p < 1.0 {
        // A token stays where those before it have not reached the sum; the first always does.
        let reach = options.top_p * total;
        let mut before = 0.0;
        let beyond = order.iter().position(|&id| {
            let reached = before >= reach;
            before += weight(id);
            reached
        });
        order.truncate(beyond.unwrap_or(order.len()).max(1));
        total = order.iter().map(|&id| weight(id)).sum();
    }
    let mut left = uniform * total;
    for &id in &order {
        left -= weight(id);
        if left < 0.0 {
            return id;
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, ModelConfig, Positions};
    use crate::ops::Fused;

    #[test]
    fn draws_follow_the_distribution_of_the_likeliest() {
        let logits = [0.0, 2f64.ln(), 3f64.ln(), -50.0];
        let options = SampleOptions {
            temperature: 1.0,
            top_k: 2,
            ..SampleOptions::default()
        };
        let count = (0..1000)
            .filter(|&i| choose(&logits, &options, (f64::from(i) + 0.5) / 1000.0) == 2)
            .count();
        assert_eq!(count, 600);
        assert!((0..1000).all(|i| choose(&logits, &options, (f64::from(i) + 0.5) / 1000.0) != 0));
        let coldest = SampleOptions {
            temperature: 0.0,
            ..options
        };
        assert_eq!(choose(&logits, &coldest, 0.999), 2);
    }

    /// How often each of the first `N` tokens is drawn at 1000 even places of the distribution.
    fn counts<const N: usize>(logits: [f64; N], options: &SampleOptions) -> [usize; N] {
        let mut counts = [0; N];
        for i in 0..1000 {
            counts[choose(&logits, options, (f64::from(i) + 0.5) / 1000.0) as usize] += 1;
        }
        counts
    }

    #[test]
    fn the_nucleus_is_the_fewest_likeliest_that_reach_the_sum() {
        // Probabilities 1/2, 1/4, 1/8, 1/8.
        let logits = [1f64.ln(), 4f64.ln(), 2f64.ln(), 1f64.ln()];
        let options = |top_p, top_k, temperature| SampleOptions {
            temperature,
            top_k,
            top_p,
            ..SampleOptions::default()
        };
        assert_eq!(counts(logits, &options(1.0, 0, 1.0)), [125, 500, 250, 125]);
        // The first alone does not reach 0.6, two do: 2/3 and 1/3.
        assert_eq!(counts(logits, &options(0.6, 0, 1.0)), [0, 667, 333, 0]);
        // 1/2 is reached by the first; what is hardly anything still leaves one.
        assert_eq!(counts(logits, &options(0.5, 0, 1.0)), [0, 1000, 0, 0]);
        assert_eq!(counts(logits, &options(1e-9, 0, 1.0)), [0, 1000, 0, 0]);
        // Of equal ones the lower id stays: 4/7, 2/7, 1/7.
        assert_eq!(counts(logits, &options(0.8, 0, 1.0)), [143, 571, 286, 0]);
        // After top-k, of 2/3 and 1/3: the first is within 0.65 of what is left, though it is only 1/2 of all.
        assert_eq!(counts(logits, &options(0.65, 2, 1.0)), [0, 1000, 0, 0]);
        // After temperature: at 1/2 the weights are 16, 4, 1, 1, and 16/22 reaches 0.7.
        assert_eq!(counts(logits, &options(0.7, 0, 0.5)), [0, 1000, 0, 0]);
        assert_eq!(counts(logits, &options(0.75, 0, 0.5)), [0, 800, 200, 0]);
        for wrong in [0.0, -0.1, 1.01, f64::NAN] {
            assert!(options(wrong, 0, 1.0).problems()[0].contains("top-p"));
        }
    }

    #[test]
    fn equal_seeds_give_equal_tokens_and_padding_is_never_drawn() {
        let config = ModelConfig {
            positions: Positions::Xpos,
            ..Family::Palm.model(64, 8, 1, 2, 4)
        };
        let model = Model::new(config, 1, Fused::<f32>::default()).unwrap();
        let run = |seed| {
            let options = SampleOptions {
                tokens: 30,
                temperature: 5.0,
                top_k: 0,
                seed,
                ..SampleOptions::default()
            };
            let mut ids = vec![1, 2];
            let mut told = Vec::new();
            let mut made = |ids: &[u32]| {
                told.push(ids.len());
                Ok(())
            };
            generate(&model, &mut ids, &options, 8, 10, 63, &mut made).unwrap();
            assert_eq!(told, (3..=ids.len()).collect::<Vec<_>>());
            ids
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
        assert_eq!(run(1).len(), 32);
        assert!(run(1).iter().all(|&id| id < 10));
    }

    #[test]
    fn pieces_that_are_shown_are_the_text() {
        // In byte-level BPE the bytes of é (C3 A9) are written Ã and ©, and a space Ġ.
        let json = r#"{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
            "pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
            "post_processor":null,
            "decoder":{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true},
            "model":{"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,
            "end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,
            "vocab":{"a":0,"Ã":1,"©":2,"Ġ":3},"merges":[]}}"#;
        let text = Text {
            tokenizer: json.parse().unwrap(),
            end_of_text: 63,
        };
        let config = Family::Palm.model(64, 8, 1, 2, 4);
        let model = Model::new(config, 1, Fused::<f32>::default()).unwrap();
        let options = SampleOptions {
            prompt: "aé a".to_owned(),
            tokens: 40,
            temperature: 9.0,
            ..SampleOptions::default()
        };
        let mut pieces = Vec::new();
        let mut show = |piece: &str| {
            pieces.push(piece.to_owned());
            Ok(())
        };
        let made = text.sample(&model, &options, 8, &mut show).unwrap();
        assert!(!made.is_empty() && pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(pieces.concat(), made);
    }
}
