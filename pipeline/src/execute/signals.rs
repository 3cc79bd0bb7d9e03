//! Statistics of documents on their way from the blocks into the table of documents.

use super::store::{SectionFile, Sections, StoreError, column_u64};
use crate::analysis::signals::Signal;
use crate::analysis::{Analysis, Scratch};

/// A value of every row for each signal, as bits; NaN where a row is no document or too long to be looked at.
#[derive(Debug, Default)]
pub(super) struct SignalColumns {
    values: Vec<Vec<u64>>,
}

impl SignalColumns {
    pub(super) fn of(signals: &[Signal]) -> Self {
        Self {
            values: vec![Vec::new(); signals.len()],
        }
    }

    /// Adds a row.
    pub(super) fn note(&mut self, signals: &[Signal], text: Option<&str>, scratch: &mut Scratch) {
        if signals.is_empty() {
            return;
        }
        let document = text.and_then(|text| Analysis::new(text, scratch));
        for (signal, column) in signals.iter().zip(&mut self.values) {
            let value = document
                .as_ref()
                .map_or(f64::NAN, |document| (signal.value)(document));
            column.push(value.to_bits());
        }
    }

    /// One column after the other, in the order in which the recipe asks for them, which is in the task's key.
    pub(super) fn write(&mut self, sections: &mut Sections) {
        if !self.values.is_empty() {
            let all = self.values.iter_mut().flat_map(|column| column.drain(..));
            sections.push(SECTION, column_u64(all));
        }
    }

    /// Of a block of so many rows: for each signal its values.
    pub(super) fn read(
        block: &SectionFile,
        signals: &[Signal],
        rows: usize,
    ) -> Result<Vec<Vec<f64>>, StoreError> {
        if signals.is_empty() || rows == 0 {
            return Ok(vec![Vec::new(); signals.len()]);
        }
        let bits = block.read_u64(SECTION)?;
        if bits.len() != rows * signals.len() {
            return Err(StoreError::Damaged {
                file: block.path().to_path_buf(),
                what: format!(
                    "section {SECTION} is not {} columns of {rows} rows",
                    signals.len()
                ),
            });
        }
        let columns = bits.chunks(rows);
        Ok(columns
            .map(|column| column.iter().map(|bits| f64::from_bits(*bits)).collect())
            .collect())
    }
}

const SECTION: &str = "signals";
