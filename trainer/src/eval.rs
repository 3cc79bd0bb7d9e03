//! Validation: the loss over the first sequences of a split, in the split's own order and therefore the same at every step of
//! every run, and bits per byte, which can be compared between tokenizers: total nats / (ln 2 x bytes of text).

use serde::Serialize;

use crate::config::DataOptions;
use crate::data::{MicroBatch, Row, Source};
use crate::error::Result;
use crate::model::{Model, Sequences};
use crate::ops::{Backend, Targets};

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Mean loss in nats per trained token.
    pub validation_loss: f64,
    /// Total nats over ln 2 and the bytes of text behind the tokens.
    pub bits_per_byte: f64,
    /// Sequences read.
    pub sequences: u64,
    /// Tokens that carried loss.
    pub trained_tokens: u64,
    /// False if only a part of the split was read; its bytes are then those of the split times the part of its tokens.
    pub whole_split: bool,
}

/// Evaluates on the first `most` sequences of `source`, a micro-batch at a time.
///
/// # Errors
/// A sequence cannot be read, or the device failed.
pub fn evaluate<B: Backend>(
    model: &Model<B>,
    source: &mut Source,
    most: u64,
    options: &DataOptions,
) -> Result<Evaluation> {
    let sequences = source.sequences.sequences().min(most);
    let length = model.length(source.sequence_tokens)?;
    let (mut nats, mut trained_tokens) = (0.0, 0);
    let mut row = Row::default();
    let mut start = 0;
    while start < sequences {
        let end = (start + options.sequences_per_micro_batch.max(1) as u64).min(sequences);
        let mut batch = MicroBatch::default();
        for index in start..end {
            source.sequences.read_in_order(index, &mut row)?;
            batch.push(&row)?;
        }
        let targets = Targets {
            ids: &batch.next,
            trained: &batch.trained,
        };
        let sequences = Sequences {
            ids: &batch.ids,
            starts: options.stay_in_documents.then_some(&batch.starts),
        };
        nats += model.losses(sequences, targets, &length)?.nats;
        trained_tokens += batch.trained_tokens();
        start = end;
    }
    let bytes = source.text_bytes as f64 * trained_tokens as f64 / source.tokens.max(1) as f64;
    Ok(Evaluation {
        validation_loss: nats / trained_tokens.max(1) as f64,
        bits_per_byte: if bytes > 0.0 {
            nats / (std::f64::consts::LN_2 * bytes)
        } else {
            0.0
        },
        sequences,
        trained_tokens,
        whole_split: sequences == source.sequences.sequences(),
    })
}
