//! Perplexity by token, by word and by byte: exp of the nats over how many there are of each. Tokens depend on the tokenizer; words, what
//! white space parts, and bytes do not, so models of different tokenizers can be compared by them (as `word_perplexity` and
//! `byte_perplexity` of lm-evaluation-harness).

use serde::Serialize;

use crate::data::{Row, Source};
use crate::error::Result;
use crate::eval::{DatasetEvaluation, Evaluation};
use crate::sample::Text;

/// The perplexities of some text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Perplexity {
    /// exp of the nats a token that carried loss.
    pub token: f64,
    /// exp of the nats a word; none where there is no word.
    pub word: Option<f64>,
    /// exp of the nats a byte.
    pub byte: f64,
    /// Words.
    pub words: u64,
}

impl Perplexity {
    fn new(loss: f64, bits_per_byte: f64, tokens: u64, words: u64) -> Self {
        let nats = loss * tokens as f64;
        Self {
            token: loss.exp(),
            word: (words > 0).then(|| (nats / words as f64).exp()),
            byte: bits_per_byte.exp2(),
            words,
        }
    }

    /// Of all that was evaluated.
    pub fn of(evaluation: &Evaluation, words: &Words) -> Self {
        let Evaluation {
            validation_loss,
            bits_per_byte,
            trained_tokens,
            ..
        } = *evaluation;
        Self::new(validation_loss, bits_per_byte, trained_tokens, words.all)
    }

    /// Of a dataset of it.
    pub fn of_dataset(evaluation: &DatasetEvaluation, words: &Words) -> Self {
        let mut named = words.datasets.iter();
        let of_dataset = named.find(|(name, _)| *name == evaluation.dataset);
        Self::new(
            evaluation.validation_loss,
            evaluation.bits_per_byte,
            evaluation.trained_tokens,
            of_dataset.map_or(0, |(_, words)| *words),
        )
    }
}

/// Words whose tokens carry loss.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// All.
    pub all: u64,
    /// Those of each dataset, in the order of the build.
    pub datasets: Vec<(String, u64)>,
}

impl Words {
    /// Counts the words of the first `most` sequences of `source`, which are laid end to end: what white space parts in each stretch of
    /// tokens that carry loss and are of one document, decoded by `text`. A word of which a part is masked is one.
    ///
    /// # Errors
    /// A sequence cannot be read, or the tokenizer refused.
    pub fn count(source: &mut Source, most: u64, text: &Text) -> Result<Self> {
        let names = source.datasets.iter().map(|part| (part.name.clone(), 0));
        let mut words = Self {
            all: 0,
            datasets: names.collect(),
        };
        let mut stretch = Stretch::default();
        let mut row = Row::default();
        for index in 0..source.sequences.sequences().min(most) {
            source.sequences.read_in_order(index, &mut row)?;
            let documents: Vec<usize> = row.documents_of_targets().collect();
            let targets = row.ids.iter().skip(1).zip(&row.trained);
            for ((&id, &trained), document) in targets.zip(documents) {
                let of = row.documents.get(document).copied();
                if !trained || stretch.document != of {
                    words.add(&mut stretch, text)?;
                    stretch.document = of;
                    stretch.dataset = row.datasets.get(document).copied();
                }
                if trained {
                    stretch.ids.push(id);
                }
            }
        }
        words.add(&mut stretch, text)?;
        Ok(words)
    }

    fn add(&mut self, stretch: &mut Stretch, text: &Text) -> Result<()> {
        if stretch.ids.is_empty() {
            return Ok(());
        }
        let words = text.decode(&stretch.ids)?.split_whitespace().count() as u64;
        stretch.ids.clear();
        self.all += words;
        let dataset = stretch.dataset.and_then(|at| usize::try_from(at).ok());
        if let Some((_, of_dataset)) = dataset.and_then(|at| self.datasets.get_mut(at)) {
            *of_dataset += words;
        }
        Ok(())
    }
}

/// Tokens that carry loss and stand beside each other in a document.
#[derive(Default)]
struct Stretch {
    ids: Vec<u32>,
    document: Option<u64>,
    dataset: Option<u32>,
}
