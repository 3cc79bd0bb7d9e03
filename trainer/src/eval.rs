//! Validation: the loss over the first sequences of a split, in the split's own order and therefore the same at every step of
//! every run, and bits per byte, which can be compared between tokenizers: total nats / (ln 2 x bytes of text). Both of the split
//! and of each dataset in it: a token counts to the dataset of its own document, whatever else its sequence holds.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::config::DataOptions;
use crate::data::{MicroBatch, Row, Source};
use crate::error::Result;
use crate::model::{Model, Sequences};
use crate::ops::{Backend, Targets};

/// The result of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The same by dataset, in the order of the build, of those that had a trained token.
    #[serde(default)]
    pub datasets: Vec<DatasetEvaluation>,
}

/// What an evaluation found of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetEvaluation {
    /// Its name.
    pub dataset: String,
    /// Mean loss in nats per trained token of its documents.
    pub validation_loss: f64,
    /// Nats over ln 2 and the bytes of its text: those of its part of the split times the part of its tokens.
    pub bits_per_byte: f64,
    /// Tokens of its documents that carried loss.
    pub trained_tokens: u64,
}

/// Nats and the tokens that they are of.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    nats: f64,
    trained_tokens: u64,
}

impl Sum {
    fn add(&mut self, nats: f64, trained_tokens: u64) {
        self.nats += nats;
        self.trained_tokens += trained_tokens;
    }

    fn loss(&self) -> f64 {
        self.nats / self.trained_tokens.max(1) as f64
    }

    /// Bits per byte where `tokens` are of `text_bytes`; 0 where no byte is known.
    fn bits_per_byte(&self, tokens: u64, text_bytes: u64) -> f64 {
        let bytes = text_bytes as f64 * self.trained_tokens as f64 / tokens.max(1) as f64;
        if bytes > 0.0 {
            self.nats / (std::f64::consts::LN_2 * bytes)
        } else {
            0.0
        }
    }
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
    let mut all = Sum::default();
    let mut of_datasets = vec![Sum::default(); source.datasets.len()];
    let dataset = |row: &Row, document: usize| row.datasets.get(document).copied();
    let add = &mut |stretch: Stretch<Option<u32>>| {
        all.add(stretch.nats, stretch.trained_tokens);
        let dataset = stretch.of.and_then(|dataset| usize::try_from(dataset).ok());
        if let Some(sum) = dataset.and_then(|dataset| of_datasets.get_mut(dataset)) {
            sum.add(stretch.nats, stretch.trained_tokens);
        }
    };
    let sequences = losses_by(model, source, most, options, &dataset, add, &mut |_, _| {
        Ok(())
    })?;
    let parts = source.datasets.iter().zip(&of_datasets);
    let found = parts.filter(|(_, sum)| sum.trained_tokens > 0);
    Ok(Evaluation {
        validation_loss: all.loss(),
        bits_per_byte: all.bits_per_byte(source.tokens, source.text_bytes),
        sequences,
        trained_tokens: all.trained_tokens,
        whole_split: sequences == source.sequences.sequences(),
        datasets: found
            .map(|(part, sum)| DatasetEvaluation {
                dataset: part.name.clone(),
                validation_loss: sum.loss(),
                bits_per_byte: sum.bits_per_byte(part.tokens, part.text_bytes),
                trained_tokens: sum.trained_tokens,
            })
            .collect(),
    })
}

/// Targets beside each other that are of the same.
pub(crate) struct Stretch<K> {
    /// What they are of.
    pub(crate) of: K,
    /// The sum over those that carry loss.
    pub(crate) nats: f64,
    /// How many those are.
    pub(crate) trained_tokens: u64,
}

/// The losses of the first `most` sequences of `source`, in stored order, a micro-batch of `options` at a time: `found` is given each stretch of
/// targets whose document is of the same, as `of` says of a document of a row. `told` is told how many sequences are read of how many,
/// and ends it with an error of its own. Returns how many were read.
///
/// # Errors
/// A sequence cannot be read, the device failed, or `told` ended it.
pub(crate) fn losses_by<B: Backend, K: Copy + PartialEq>(
    model: &Model<B>,
    source: &mut Source,
    most: u64,
    options: &DataOptions,
    of: &dyn Fn(&Row, usize) -> K,
    found: &mut dyn FnMut(Stretch<K>),
    told: &mut dyn FnMut(u64, u64) -> Result<()>,
) -> Result<u64> {
    let count = source.sequences.sequences().min(most);
    let length = model.length(source.sequence_tokens)?;
    let mut row = Row::default();
    let mut start = 0;
    while start < count {
        let end = (start + options.sequences_per_micro_batch.max(1) as u64).min(count);
        let mut batch = MicroBatch::default();
        let mut of_targets = Vec::new();
        for index in start..end {
            source.sequences.read_in_order(index, &mut row)?;
            batch.push(&row)?;
            of_targets.extend(
                row.documents_of_targets()
                    .map(|document| of(&row, document)),
            );
        }
        let targets = Targets {
            ids: &batch.next,
            trained: &batch.trained,
        };
        let sequences = Sequences {
            ids: &batch.ids,
            starts: options.stay_in_documents.then_some(&batch.starts),
        };
        let runs = runs(&of_targets);
        let losses = model.losses_of(sequences, targets, &length, &runs)?;
        for (run, losses) in runs.into_iter().zip(losses) {
            let of = of_targets[run.start];
            let trained = batch.trained[run].iter().filter(|&&trained| trained);
            found(Stretch {
                of,
                nats: losses.nats,
                trained_tokens: trained.count() as u64,
            });
        }
        start = end;
        told(start, count)?;
    }
    Ok(count)
}

/// The ranges of equal neighbours; they cover `values` in order.
fn runs<T: PartialEq>(values: &[T]) -> Vec<Range<usize>> {
    let mut end = 0;
    let equal = values.chunk_by(|one, next| one == next);
    equal
        .map(|run| {
            let start = end;
            end += run.len();
            start..end
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DatasetPart, Sequences as Stored};
    use crate::model::Family;
    use crate::ops::{Fused, Portable};
    use crate::random::Stream;

    /// Sequences of T + 1 random tokens over documents of 10 tokens, which are of the datasets 0, 1, 0, 1, ...; every fifth target is masked.
    struct Mixed {
        count: u64,
        length: u64,
    }

    impl Stored for Mixed {
        fn sequences(&self) -> u64 {
            self.count
        }

        fn read(&mut self, position: u64, row: &mut Row) -> Result<()> {
            self.read_in_order(position, row)
        }

        fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
            let places = index * self.length..=(index + 1) * self.length;
            let stream = Stream::new(7, "mixed");
            let id = |place: u64| u32::try_from(stream.bits(place) % 60).unwrap();
            let documents: Vec<u64> = (places.start() / 10..=places.end() / 10).collect();
            let begins = documents.iter().map(|document| document * 10);
            let begins = begins.filter_map(|begin| begin.checked_sub(*places.start()));
            *row = Row {
                ids: places.clone().map(id).collect(),
                trained: places.clone().skip(1).map(|place| place % 5 != 0).collect(),
                document_starts: begins.map(|begin| u32::try_from(begin).unwrap()).collect(),
                datasets: documents
                    .iter()
                    .map(|document| u32::from(document % 2 == 1))
                    .collect(),
                targets: None,
                padding: 0,
                documents,
            };
            Ok(())
        }
    }

    fn source(count: u64, length: u64) -> Source {
        let part = |name: &str, tokens, text_bytes| DatasetPart {
            name: name.to_owned(),
            tokens,
            text_bytes,
        };
        Source {
            tokens: 1000,
            text_bytes: 3000,
            // The last has no document here and is left out.
            datasets: vec![
                part("even", 500, 2500),
                part("odd", 500, 500),
                part("absent", 0, 0),
            ],
            sequence_tokens: usize::try_from(length).unwrap(),
            sequences: Box::new(Mixed { count, length }),
        }
    }

    /// Nats and tokens of one dataset: a pass in which no other dataset's target carries loss, which place / 10 tells.
    fn masked<B: Backend>(model: &Model<B>, count: u64, length: u64, dataset: u64) -> (f64, u64) {
        let mut source = source(count, length);
        let (mut nats, mut tokens) = (0.0, 0);
        for index in 0..count {
            let (mut row, mut batch) = (Row::default(), MicroBatch::default());
            source.sequences.read_in_order(index, &mut row).unwrap();
            for (trained, place) in row.trained.iter_mut().zip(index * length + 1..) {
                *trained &= place / 10 % 2 == dataset;
            }
            batch.push(&row).unwrap();
            let sequences = Sequences {
                ids: &batch.ids,
                starts: None,
            };
            let targets = Targets {
                ids: &batch.next,
                trained: &batch.trained,
            };
            let positions = model.length(source.sequence_tokens).unwrap();
            nats += model.losses(sequences, targets, &positions).unwrap().nats;
            tokens += batch.trained_tokens();
        }
        (nats, tokens)
    }

    fn each_token_counts_to_its_own_dataset<B: Backend>(backend: B) {
        let model = Model::new(Family::Palm.model(64, 16, 2, 2, 8), 3, backend).unwrap();
        let (count, length) = (5, 33);
        let options = DataOptions {
            sequences_per_micro_batch: 2,
            ..DataOptions::default()
        };
        let found = evaluate(&model, &mut source(count, length), 100, &options).unwrap();
        assert_eq!((found.sequences, found.whole_split), (5, true));
        let (mut nats, mut tokens) = (0.0, 0);
        let bytes_a_token = [5.0, 1.0];
        assert_eq!(found.datasets.len(), 2, "{found:?}");
        for (dataset, of) in (0..).zip(&found.datasets) {
            let expected = masked(&model, count, length, dataset);
            assert_eq!(
                of.dataset,
                ["even", "odd"][usize::try_from(dataset).unwrap()]
            );
            assert_eq!(of.trained_tokens, expected.1);
            let loss = expected.0 / expected.1 as f64;
            assert!((of.validation_loss - loss).abs() < 1e-5, "{of:?} {loss}");
            let bits =
                loss / std::f64::consts::LN_2 / bytes_a_token[usize::try_from(dataset).unwrap()];
            assert!((of.bits_per_byte - bits).abs() < 1e-5, "{of:?} {bits}");
            nats += expected.0;
            tokens += expected.1;
        }
        assert_eq!((found.trained_tokens, tokens), (132, 132));
        assert!((found.validation_loss - nats / tokens as f64).abs() < 1e-5);
        // The split's own: 3 bytes a token.
        let bits = found.validation_loss / std::f64::consts::LN_2 / 3.0;
        assert!((found.bits_per_byte - bits).abs() < 1e-9);
    }

    #[test]
    fn each_token_counts_to_the_dataset_of_its_document() {
        each_token_counts_to_its_own_dataset(Fused::<f32>::default());
        let device = candle_core::Device::Cpu;
        each_token_counts_to_its_own_dataset(Portable::new(device, candle_core::DType::F32));
    }

    #[test]
    fn runs_cover_their_values_in_order() {
        assert_eq!(runs(&[1, 1, 2, 1]), [0..2, 2..3, 3..4]);
        assert!(runs::<u8>(&[]).is_empty());
    }
}
