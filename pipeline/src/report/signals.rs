//! The statistics in a build's table of documents: which there are, and how they are spread.

use std::path::Path;

use serde::Serialize;

use super::columns::Table;
use crate::analysis::signals::{SIGNALS, Signal};
use crate::documents::TableError;

/// Shares of documents at which values are shown, in per cent.
pub const QUANTILES: [f64; 9] = [0.0, 1.0, 5.0, 25.0, 50.0, 75.0, 95.0, 99.0, 100.0];

/// How a statistic is spread over documents.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spread {
    /// Its name.
    pub signal: &'static str,
    /// Documents that have a value.
    pub documents: u64,
    /// Their mean.
    pub mean: f64,
    /// The values below which [`QUANTILES`] of the documents are; each is a value of a document.
    pub quantiles: Vec<f64>,
}

/// The statistics that a build has of its documents, in the order of its columns.
///
/// # Errors
/// The table cannot be read.
pub fn of_build(folder: &Path) -> Result<Vec<&'static Signal>, TableError> {
    let table = Table::open(folder, "documents.parquet", Some(&["id"]))?;
    let has = |signal: &&Signal| table.has(&signal.column());
    Ok(SIGNALS.iter().filter(has).collect())
}

/// The value at a share of `sorted` values, from 0 to 1: the smallest that at least so many are not above.
pub(super) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is no more than it"
    )]
    let at = (share.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1).min(last)).copied()
}

/// How a statistic is spread over the documents of a dataset, or of all. Memory: eight bytes a document.
///
/// # Errors
/// The table cannot be read, or has no such column.
pub fn spread(
    folder: &Path,
    signal: &'static Signal,
    dataset: Option<&str>,
) -> Result<Spread, TableError> {
    let column = signal.column();
    let mut values: Vec<f64> = Vec::new();
    let columns = ["dataset", column.as_str()];
    Table::open(folder, "documents.parquet", Some(&columns))?.for_each(&mut |_, batch| {
        let (datasets, numbers) = (batch.words("dataset")?, batch.doubles(&column)?);
        values.extend((0..batch.rows()).filter_map(|row| {
            let wanted = dataset.is_none_or(|name| datasets.get(row) == Some(name));
            numbers.get(row).filter(|_| wanted)
        }));
        Ok(())
    })?;
    values.sort_by(f64::total_cmp);
    Ok(Spread {
        signal: signal.name,
        documents: values.len() as u64,
        mean: values.iter().sum::<f64>() / (values.len().max(1)) as f64,
        quantiles: QUANTILES
            .iter()
            .filter_map(|percent| quantile(&values, percent / 100.0))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_is_there() {
        let values = [1.0, 2.0, 3.0, 4.0];
        let at = |share| quantile(&values, share).unwrap();
        assert_eq!(
            [0.0, 0.25, 0.26, 0.5, 0.75, 1.0].map(at),
            [1.0, 1.0, 2.0, 2.0, 3.0, 4.0]
        );
        assert_eq!(quantile(&[], 0.5), None);
    }
}
