//! What a step was trained on: the documents of its sequences, where they lie in the build, and their text.
//!
//! The sequences are read by the same source as in training, at the positions that the run's metrics tell.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Serialize;

use crate::build::{DocumentPlace, OpenBuild, Part};
use crate::config::RunConfig;
use crate::data::Row;
use crate::error::Result;
use crate::sample::Text;

/// A sequence that a step was trained on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedSequence {
    /// Its position: sequences consumed before it.
    pub position: u64,
    /// The documents in it, or the pieces of them, in order.
    pub documents: Vec<TracedDocument>,
    /// Tokens at its end that are filling.
    pub padding: usize,
}

/// A document of a sequence, or a piece of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TracedDocument {
    /// Its row in the build's table of documents.
    pub row: u64,
    /// Its dataset.
    pub dataset: String,
    /// Where it begins in the build.
    #[serde(flatten)]
    pub place: DocumentPlace,
    /// The tokens of the sequence that are of it, the first being 0.
    pub start: usize,
    /// The token of the sequence after its last one.
    pub end: usize,
    /// Its tokens that are targets with loss.
    pub trained_tokens: usize,
    /// The text of its tokens here; a character of which they hold only a part is U+FFFD.
    pub text: String,
}

/// The sequences at `positions` of what a run of `config` reads of the training split of `opened`.
///
/// # Errors
/// A sequence or an index cannot be read, or a token is unknown to the tokenizer.
pub fn trace(
    opened: &OpenBuild,
    config: &RunConfig,
    positions: Range<u64>,
    text: &Text,
) -> Result<Vec<TracedSequence>> {
    let mut source = opened.reading(config)?.training;
    let mut rows = Vec::new();
    for position in positions {
        let mut row = Row::default();
        source.sequences.read(position, &mut row)?;
        rows.push((position, row));
    }
    let documents: BTreeSet<u64> = rows
        .iter()
        .flat_map(|(_, row)| row.documents.iter().copied())
        .collect();
    let places = opened.places(Part::Training, documents)?;
    let names: Vec<&str> = source
        .datasets
        .iter()
        .map(|part| part.name.as_str())
        .collect();
    rows.iter()
        .map(|(position, row)| {
            Ok(TracedSequence {
                position: *position,
                documents: traced(opened, row, &places, &names, text)?,
                padding: row.padding,
            })
        })
        .collect()
}

fn traced(
    opened: &OpenBuild,
    row: &Row,
    places: &BTreeMap<u64, DocumentPlace>,
    names: &[&str],
    text: &Text,
) -> Result<Vec<TracedDocument>> {
    let filled = row.ids.len().saturating_sub(row.padding);
    let starts = row.document_starts.iter().map(|start| *start as usize);
    // What a document that began before has here begins nowhere.
    let mut starts: Vec<usize> = [0].into_iter().chain(starts).collect();
    starts.dedup();
    let ends = starts.iter().skip(1).copied().chain([filled]);
    let pieces = starts.iter().zip(ends).filter(|(start, end)| *start < end);
    let documents = row.documents.iter().zip(&row.datasets);
    pieces
        .zip(documents)
        .map(|((&start, end), (&document, &dataset))| {
            let place = places.get(&document).cloned();
            let place = place.ok_or_else(|| {
                opened.damaged(&format!("document {document} is in no index of the split"))
            })?;
            let targets = start.max(1) - 1..end.max(1) - 1;
            let trained = row.trained.get(targets).unwrap_or_default();
            let name = usize::try_from(dataset).ok().and_then(|at| names.get(at));
            Ok(TracedDocument {
                row: document,
                dataset: name.copied().unwrap_or_default().to_owned(),
                place,
                start,
                end,
                trained_tokens: trained.iter().filter(|&&trained| trained).count(),
                text: text.decode(&row.ids[start..end])?,
            })
        })
        .collect()
}
