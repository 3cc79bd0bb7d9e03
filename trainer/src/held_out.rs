//! Losses document by document, of text that is not trained on: what models are held against each other with ([`crate::compare`],
//! [`crate::ablate`]). A token counts to its own document, whatever else its sequence holds, as in [`crate::eval`].

use std::path::Path;

use crate::checkpoint::{self, State};
use crate::config::DataOptions;
use crate::data::{Row, Source};
use crate::device::{OnBackend, on_device};
use crate::error::Result;
use crate::eval::{Stretch, losses_by};
use crate::model::Model;
use crate::ops::Backend;

/// What a model makes of a document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DocumentLoss {
    /// Its row in the build's table of documents.
    pub row: u64,
    /// Its dataset, as its place in [`Source::datasets`].
    pub dataset: u32,
    /// The sum over its tokens that carry loss.
    pub nats: f64,
    /// How many there are: all but those of a sequence that was not read, and the first token of the split, which nothing stands before.
    pub trained_tokens: u64,
}

/// Told how many sequences are read of how many; an error of its own ends the reading.
pub type Told<'a> = &'a mut dyn FnMut(u64, u64) -> Result<()>;

/// The losses of the documents in the first `most` sequences of `source`, in stored order, a micro-batch of `options` at a time.
///
/// # Errors
/// A sequence cannot be read, the device failed, or `told` ended it.
pub fn document_losses<B: Backend>(
    model: &Model<B>,
    source: &mut Source,
    most: u64,
    options: &DataOptions,
    told: Told<'_>,
) -> Result<Vec<DocumentLoss>> {
    let mut losses: Vec<DocumentLoss> = Vec::new();
    // Of a document its row and its dataset.
    let of = |row: &Row, document: usize| {
        let dataset = row.datasets.get(document).copied();
        Some((row.documents.get(document).copied()?, dataset?))
    };
    let add = &mut |stretch: Stretch<Option<(u64, u32)>>| {
        let Some((row, dataset)) = stretch.of else {
            return;
        };
        match losses.last_mut() {
            Some(last) if last.row == row => {
                last.nats += stretch.nats;
                last.trained_tokens += stretch.trained_tokens;
            }
            _ => losses.push(DocumentLoss {
                row,
                dataset,
                nats: stretch.nats,
                trained_tokens: stretch.trained_tokens,
            }),
        }
    };
    losses_by(model, source, most, options, &of, add, told)?;
    Ok(losses)
}

/// [`document_losses`] of the model of `checkpoint`, where and as its run computes.
///
/// # Errors
/// As there, or the checkpoint is not what was saved.
pub fn losses_of_checkpoint(
    checkpoint: &Path,
    state: &State,
    source: &mut Source,
    most: u64,
    told: Told<'_>,
) -> Result<Vec<DocumentLoss>> {
    let reading = OfCheckpoint {
        checkpoint,
        state,
        source,
        most,
        told,
    };
    on_device(&state.config.compute, reading)
}

struct OfCheckpoint<'a> {
    checkpoint: &'a Path,
    state: &'a State,
    source: &'a mut Source,
    most: u64,
    told: Told<'a>,
}

impl OnBackend for OfCheckpoint<'_> {
    type Output = Vec<DocumentLoss>;

    fn on<B: Backend>(self, backend: B) -> Result<Self::Output> {
        let mut model = Model::zeros(self.state.config.model, backend)?;
        checkpoint::load_model(self.checkpoint, self.state, &mut model)?;
        let options = &self.state.config.data;
        document_losses(&model, self.source, self.most, options, self.told)
    }
}
