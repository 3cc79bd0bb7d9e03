//! Losses document by document, of text that is not trained on: what models are held against each other with ([`crate::compare`],
//! [`crate::ablate`]). A token counts to its own document, whatever else its sequence holds, as in [`crate::eval`].

use std::path::Path;

use crate::checkpoint::{self, State};
use crate::config::DataOptions;
use crate::data::{MicroBatch, Row, Source};
use crate::device::{OnBackend, on_device};
use crate::error::Result;
use crate::eval::runs;
use crate::model::{Model, Sequences};
use crate::ops::{Backend, Targets};

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
    let count = source.sequences.sequences().min(most);
    let length = model.length(source.sequence_tokens)?;
    let mut losses: Vec<DocumentLoss> = Vec::new();
    let mut row = Row::default();
    let mut start = 0;
    while start < count {
        let end = (start + options.sequences_per_micro_batch.max(1) as u64).min(count);
        let mut batch = MicroBatch::default();
        // Of each target the row and the dataset of its document.
        let mut documents = Vec::new();
        for index in start..end {
            source.sequences.read_in_order(index, &mut row)?;
            batch.push(&row)?;
            let of = |document: usize| {
                let dataset = row.datasets.get(document).copied();
                Some((row.documents.get(document).copied()?, dataset?))
            };
            documents.extend(row.documents_of_targets().map(of));
        }
        let targets = Targets {
            ids: &batch.next,
            trained: &batch.trained,
        };
        let sequences = Sequences {
            ids: &batch.ids,
            starts: options.stay_in_documents.then_some(&batch.starts),
        };
        let stretches = runs(&documents);
        let found = model.losses_of(sequences, targets, &length, &stretches)?;
        for (stretch, found) in stretches.into_iter().zip(found) {
            let Some((row, dataset)) = documents[stretch.start] else {
                continue;
            };
            let trained = batch.trained[stretch].iter().filter(|&&trained| trained);
            let trained_tokens = trained.count() as u64;
            match losses.last_mut() {
                Some(last) if last.row == row => {
                    last.nats += found.nats;
                    last.trained_tokens += trained_tokens;
                }
                _ => losses.push(DocumentLoss {
                    row,
                    dataset,
                    nats: found.nats,
                    trained_tokens,
                }),
            }
        }
        start = end;
        told(start, count)?;
    }
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
