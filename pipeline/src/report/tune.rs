//! What a threshold on a statistic would drop, before it is in a recipe.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use super::columns::Table;
use super::summary::ReportError;
use crate::analysis::signals::Signal;
use crate::documents::TableError;
use crate::execute::BuildTexts;
use crate::filter::thresholds::Side;

/// The threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// This value.
    Value(f64),
    /// The value that keeps at least this share of the documents, from 0 to 1.
    Keep(f64),
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct TuneOptions {
    /// The statistic.
    pub signal: &'static Signal,
    /// Which side of the threshold goes.
    pub side: Side,
    /// The threshold.
    pub limit: Limit,
    /// Only documents of this dataset.
    pub dataset: Option<String>,
    /// Documents next to the threshold that are shown on either side.
    pub samples: usize,
    /// Characters of each.
    pub characters: usize,
}

/// Documents and the bytes of their texts, in all and on the side that goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Share {
    /// Documents.
    pub documents: u64,
    /// Bytes of their texts.
    pub bytes: u64,
    /// Documents that would go.
    pub dropped_documents: u64,
    /// Bytes of theirs.
    pub dropped_bytes: u64,
}

impl Share {
    fn add(&mut self, bytes: u64, goes: bool) {
        self.documents += 1;
        self.bytes += bytes;
        if goes {
            self.dropped_documents += 1;
            self.dropped_bytes += bytes;
        }
    }
}

/// A document near the threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Near {
    /// Its id.
    pub id: String,
    /// Its value.
    pub value: f64,
    /// Whether it would go.
    pub goes: bool,
    /// What became of it in the build.
    pub fate: String,
    /// The beginning of its text; nothing where it is not at hand.
    pub text: Option<String>,
}

/// What the threshold would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tune {
    /// The statistic.
    pub signal: &'static str,
    /// Which side goes.
    pub side: Side,
    /// The threshold; a value of exactly that stays.
    pub limit: f64,
    /// All documents that have a value.
    pub all: Share,
    /// By dataset.
    pub datasets: BTreeMap<String, Share>,
    /// By what became of them in the build: `kept`, or verdict and reason.
    pub fates: BTreeMap<String, Share>,
    /// Documents next to the threshold: those that would go, nearest first, then those that would stay.
    pub samples: Vec<Near>,
}

impl TuneOptions {
    fn goes(&self, value: f64, limit: f64) -> bool {
        match self.side {
            Side::Min => value < limit,
            Side::Max => value > limit,
        }
    }

    /// The value at which at least a share of the documents stays.
    fn keeping(&self, sorted: &[f64], share: f64) -> Option<f64> {
        match self.side {
            Side::Max => super::signals::quantile(sorted, share),
            Side::Min => {
                // The largest value that at least that share is not below.
                let mut mirrored: Vec<f64> = sorted.iter().rev().map(|value| -value).collect();
                mirrored.sort_by(f64::total_cmp);
                super::signals::quantile(&mirrored, share).map(|value| -value)
            }
        }
    }
}

/// Rows near the threshold on one side.
#[derive(Default)]
struct Nearest(BTreeMap<(u64, u64, u64), (String, f64, String)>);

impl Nearest {
    /// Nearest first; of equally near ones those with the smallest hashes of their ids.
    fn offer(&mut self, most: usize, row: u64, id: &str, value: f64, limit: f64, fate: &str) {
        // Bits of numbers that are not negative stand in their order.
        let key = ((value - limit).abs().to_bits(), xxh3_64(id.as_bytes()), row);
        let last = self.0.last_key_value().map(|(key, _)| *key);
        if self.0.len() < most || last.is_some_and(|last| key < last) {
            self.0.insert(key, (id.to_owned(), value, fate.to_owned()));
            if self.0.len() > most {
                self.0.pop_last();
            }
        }
    }
}

/// Tries a threshold on the build in `folder`; nothing is changed. Texts are taken from the intermediates in `work`, as far
/// as they are still there, and from the samples of rejected documents.
///
/// # Errors
/// The build, a table or an intermediate cannot be read.
pub fn tune(folder: &Path, work: &Path, options: &TuneOptions) -> Result<Tune, ReportError> {
    let build = andromeda_format::Build::open(folder)?;
    let limit = match options.limit {
        Limit::Value(value) => value,
        Limit::Keep(share) => {
            let mut values = Vec::new();
            each(folder, options, &mut |_, document| {
                values.push(document.value);
            })?;
            values.sort_by(f64::total_cmp);
            options.keeping(&values, share).unwrap_or_default()
        }
    };
    let mut found = Tune {
        signal: options.signal.name,
        side: options.side,
        limit,
        all: Share::default(),
        datasets: BTreeMap::new(),
        fates: BTreeMap::new(),
        samples: Vec::new(),
    };
    let texts = BuildTexts::open(work, &build.manifest().name)?;
    let rejected: BTreeMap<u64, String> = super::rejects::read(folder)?
        .into_iter()
        .filter_map(|reject| Some((reject.document, reject.text?)))
        .collect();
    let (mut gone, mut left) = (Nearest::default(), Nearest::default());
    each(folder, options, &mut |row, document| {
        let goes = options.goes(document.value, limit);
        found.all.add(document.bytes, goes);
        let of_dataset = found
            .datasets
            .entry(document.dataset.to_owned())
            .or_default();
        of_dataset.add(document.bytes, goes);
        found
            .fates
            .entry(document.fate.clone())
            .or_default()
            .add(document.bytes, goes);
        // Of what was dropped only samples have their texts still.
        if document.passed || rejected.contains_key(&row) {
            let nearest = if goes { &mut gone } else { &mut left };
            nearest.offer(
                options.samples,
                row,
                document.id,
                document.value,
                limit,
                &document.fate,
            );
        }
    })?;
    for (goes, nearest) in [(true, gone), (false, left)] {
        for ((_, _, row), (id, value, fate)) in nearest.0 {
            let text = texts.of_row(row)?.or_else(|| rejected.get(&row).cloned());
            let text = text.map(|text| text.chars().take(options.characters).collect());
            found.samples.push(Near {
                id,
                value,
                goes,
                fate,
                text,
            });
        }
    }
    Ok(found)
}

struct Document<'a> {
    id: &'a str,
    dataset: &'a str,
    bytes: u64,
    fate: String,
    /// Whether the rules let it pass.
    passed: bool,
    value: f64,
}

/// Every document of the options' dataset that has a value.
fn each(
    folder: &Path,
    options: &TuneOptions,
    each: &mut dyn FnMut(u64, &Document<'_>),
) -> Result<(), TableError> {
    let column = options.signal.column();
    let columns = [
        "id",
        "dataset",
        "bytes",
        "verdict",
        "reason",
        column.as_str(),
    ];
    Table::open(folder, "documents.parquet", Some(&columns))?.for_each(&mut |first, batch| {
        let (ids, datasets) = (batch.words("id")?, batch.words("dataset")?);
        let (verdicts, reasons) = (batch.words("verdict")?, batch.words("reason")?);
        let (bytes, values) = (batch.longs("bytes")?, batch.doubles(&column)?);
        for (i, row) in (0..batch.rows()).zip(first..) {
            let dataset = datasets.get(i).unwrap_or_default();
            let wanted = options
                .dataset
                .as_deref()
                .is_none_or(|name| name == dataset);
            let Some(value) = values.get(i).filter(|_| wanted) else {
                continue;
            };
            let verdict = verdicts.get(i).unwrap_or_default();
            let fate = reasons.get(i).map_or_else(
                || verdict.to_owned(),
                |reason| format!("{verdict}: {reason}"),
            );
            let id = ids.get(i).unwrap_or_default();
            each(
                row,
                &Document {
                    id,
                    dataset,
                    bytes: bytes.get(i).unwrap_or_default(),
                    fate,
                    passed: matches!(verdict, "kept" | "duplicate"),
                    value,
                },
            );
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::signals::chosen;

    #[test]
    fn a_share_is_kept_at_least_whichever_side_goes() {
        let sorted = [1.0, 2.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let signal = crate::analysis::signals::SIGNALS
            .iter()
            .find(|signal| signal.name == chosen(["characters"]).unwrap()[0].name)
            .unwrap();
        for side in [Side::Min, Side::Max] {
            let options = TuneOptions {
                signal,
                side,
                limit: Limit::Keep(0.0),
                dataset: None,
                samples: 0,
                characters: 0,
            };
            for tenths in 1..=10 {
                let share = f64::from(tenths) / 10.0;
                let limit = options.keeping(&sorted, share).unwrap();
                let kept = sorted
                    .iter()
                    .filter(|value| !options.goes(**value, limit))
                    .count();
                assert!(
                    kept as f64 >= share * 10.0 - 1e-9,
                    "{side:?} {share} {limit} {kept}"
                );
                // No tighter threshold keeps as much.
                let tighter = match side {
                    Side::Min => sorted.iter().copied().find(|value| *value > limit),
                    Side::Max => sorted.iter().copied().rev().find(|value| *value < limit),
                };
                if let Some(tighter) = tighter {
                    let kept = sorted
                        .iter()
                        .filter(|value| !options.goes(**value, tighter))
                        .count();
                    assert!(
                        (kept as f64) < share * 10.0 - 1e-9,
                        "{side:?} {share} {tighter} {kept}"
                    );
                }
            }
        }
    }
}
