//! Perplexity of tokens, words and bytes, and bits per byte. That of tokens compares models of one tokenizer only; words and bytes
//! are those of the text, whatever the tokenizer.

use serde::Serialize;

use super::is_space;

/// Sums over the documents of a corpus.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Perplexity {
    /// Negative log-likelihood, in nats.
    pub nats: f64,
    /// Tokens it is of.
    pub tokens: u64,
    /// Words of the text, as lm-evaluation-harness counts them: parts between stretches of white space, the empty ones at the ends of
    /// a document included.
    pub words: u64,
    /// Bytes of the text in UTF-8.
    pub bytes: u64,
}

impl Perplexity {
    /// Adds a document: its text, its tokens and their negative log-likelihood.
    pub fn add(&mut self, text: &str, tokens: u64, nats: f64) {
        self.nats += nats;
        self.tokens += tokens;
        self.words += words(text);
        self.bytes += text.len() as u64;
    }

    /// exp(nats / tokens).
    pub fn of_tokens(&self) -> f64 {
        (self.nats / self.tokens as f64).exp()
    }

    /// exp(nats / words).
    pub fn of_words(&self) -> f64 {
        (self.nats / self.words as f64).exp()
    }

    /// exp(nats / bytes).
    pub fn of_bytes(&self) -> f64 {
        (self.nats / self.bytes as f64).exp()
    }

    /// nats / (bytes ln 2).
    pub fn bits_per_byte(&self) -> f64 {
        self.nats / (self.bytes as f64 * std::f64::consts::LN_2)
    }
}

/// The length of Python's `re.split(r"\s+", text)`: one more than there are stretches of white space.
fn words(text: &str) -> u64 {
    let mut stretches = 0;
    let mut inside = false;
    for c in text.chars() {
        let space = is_space(c);
        stretches += u64::from(space && !inside);
        inside = space;
    }
    stretches + 1
}
