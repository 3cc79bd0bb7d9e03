//! The log-likelihoods of chosen tokens, without gradients: what multiple choice and perplexity ask for.

use super::{Length, Model, Sequences};
use crate::error::Result;
use crate::model::ModelConfig;
use crate::ops::Backend;

/// Tokens of a sequence, each after the row of the pass that predicts it.
#[derive(Debug, Clone, Copy)]
pub struct Predicted<'a> {
    /// Row of the first one's prediction: sequence times length plus position.
    pub row: usize,
    /// The tokens.
    pub ids: &'a [u32],
}

/// The log-likelihood of a stretch of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likelihood {
    /// Its sum, in nats.
    pub nats: f64,
    /// Whether each token is the likeliest where it stands, the first of equals.
    pub greedy: bool,
}

impl<B: Backend> Model<B> {
    /// The log-likelihood of each of `predicted` after a pass over `sequences`.
    ///
    /// # Errors
    /// A token is outside the vocabulary, or the device failed.
    pub fn likelihoods(
        &self,
        sequences: Sequences<'_>,
        length: &Length<B>,
        predicted: &[Predicted<'_>],
    ) -> Result<Vec<Likelihood>> {
        let hidden = self.hidden(sequences, length)?;
        let vocabulary = self.config.vocabulary;
        let mut likelihoods = Vec::with_capacity(predicted.len());
        // Stretches of one place share their logits: the choices of a question are often one token each.
        let mut known: Option<(usize, usize, Vec<f64>)> = None;
        for of in predicted {
            let end = of.row + of.ids.len();
            let logits = match known.take() {
                Some((start, stop, logits)) if start == of.row && stop == end => logits,
                _ => {
                    let rows = self.backend.rows(&hidden, self.config.width, of.row, end)?;
                    let logits =
                        self.backend
                            .linear(&rows, &self.parameters, ModelConfig::EMBEDDING)?;
                    self.backend.numbers(&logits)?
                }
            };
            let mut likelihood = Likelihood {
                nats: 0.0,
                greedy: true,
            };
            for (logits, &id) in logits.chunks_exact(vocabulary).zip(of.ids) {
                let (nats, greedy) = of_token(logits, id as usize);
                likelihood.nats += nats;
                likelihood.greedy &= greedy;
            }
            likelihoods.push(likelihood);
            known = Some((of.row, end, logits));
        }
        Ok(likelihoods)
    }
}

fn of_token(logits: &[f64], id: usize) -> (f64, bool) {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    let own = logits.get(id).copied().unwrap_or(f64::NEG_INFINITY);
    let first = logits.iter().position(|&logit| logit == largest);
    (own - largest - sum.ln(), first == Some(id))
}
