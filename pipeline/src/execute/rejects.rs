//! Samples of what was not kept: for every reason some documents, with the values that caused it and the beginning of the
//! text, so that a rule can be judged by what it drops.
//!
//! Which documents are the samples depends on their texts alone (the smallest hashes), neither on how files were cut into
//! blocks nor on which thread came first.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::store::{SectionFile, StoreError};
use crate::recipe::RejectOptions;

/// Apart from every other use of the hash.
const SEED: u64 = 0xa409_3822_299f_31d0;

/// A sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Hash of the text, or of the row where there is none: the smaller, the sooner it is one.
    pub key: u64,
    /// The verdict within the block.
    pub row: u32,
    /// The values that caused it.
    pub evidence: Option<String>,
    /// The beginning of the text; nothing where the row is no document.
    pub text: Option<String>,
}

/// The samples of a block, or of a dataset.
#[derive(Debug, Default)]
pub(super) struct Samples {
    options: RejectOptions,
    by_reason: BTreeMap<String, Vec<Sample>>,
}

impl Samples {
    pub(super) fn new(options: RejectOptions) -> Self {
        Self {
            options,
            by_reason: BTreeMap::new(),
        }
    }

    /// Takes a document if it is among the first of its reason so far. `number` is its row in its file.
    pub(super) fn offer(
        &mut self,
        reason: &str,
        row: u32,
        number: u64,
        text: Option<&str>,
        evidence: impl FnOnce() -> Option<String>,
    ) {
        let most = self.options.samples as usize;
        if most == 0 {
            return;
        }
        let key = match text {
            Some(text) => xxh3_64_with_seed(text.as_bytes(), SEED),
            None => xxh3_64_with_seed(&number.to_le_bytes(), SEED),
        };
        if !self.by_reason.contains_key(reason) {
            self.by_reason.insert(reason.to_owned(), Vec::new());
        }
        let Some(samples) = self.by_reason.get_mut(reason) else {
            return;
        };
        // Of equal texts the first stays: rows come in order.
        let place = samples.partition_point(|sample| sample.key <= key);
        if place >= most {
            return;
        }
        samples.truncate(most - 1);
        let text = text.map(|text| beginning(text, self.options.characters));
        let evidence = evidence();
        samples.insert(
            place,
            Sample {
                key,
                row,
                evidence,
                text,
            },
        );
    }

    /// As a section of a block's output; nothing where there are none.
    pub(super) fn section(&self) -> std::io::Result<Option<Vec<u8>>> {
        if self.by_reason.is_empty() {
            return Ok(None);
        }
        let json = super::block::json(&self.by_reason);
        let mut section = (json.len() as u64).to_le_bytes().to_vec();
        section.extend(zstd::bulk::compress(&json, 1)?);
        Ok(Some(section))
    }

    /// The samples of a block's output, by reason.
    pub(super) fn read(block: &SectionFile) -> Result<BTreeMap<String, Vec<Sample>>, StoreError> {
        if !block.has(SECTION) {
            return Ok(BTreeMap::new());
        }
        let damaged = |what: String| StoreError::Damaged {
            file: block.path().to_path_buf(),
            what: format!("section {SECTION}: {what}"),
        };
        let section = block.read(SECTION)?;
        let (size, frame) = section
            .split_first_chunk::<8>()
            .ok_or_else(|| damaged("it is too short".to_owned()))?;
        // The size is our own record of what was compressed.
        let size = usize::try_from(u64::from_le_bytes(*size)).unwrap_or(usize::MAX);
        let json = zstd::bulk::decompress(frame, size)?;
        serde_json::from_slice(&json).map_err(|error| damaged(error.to_string()))
    }
}

/// The section's name.
pub(super) const SECTION: &str = "rejects";

fn beginning(text: &str, characters: u32) -> String {
    text.chars().take(characters as usize).collect()
}

/// The samples of a dataset, out of those of its blocks: by reason, each with the number of its block.
#[derive(Debug, Default)]
pub(super) struct OfDataset(BTreeMap<String, Vec<(usize, Sample)>>);

impl OfDataset {
    pub(super) fn add(&mut self, block: usize, samples: BTreeMap<String, Vec<Sample>>, most: u32) {
        for (reason, samples) in samples {
            let all = self.0.entry(reason).or_default();
            all.extend(samples.into_iter().map(|sample| (block, sample)));
            all.sort_by_key(|(block, sample)| (sample.key, *block, sample.row));
            all.truncate(most as usize);
        }
    }

    /// By reason, smallest key first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &(usize, Sample))> {
        let each = self.0.iter();
        each.flat_map(|(reason, all)| all.iter().map(move |sample| (reason.as_str(), sample)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(rows: &[(u32, &str)], options: RejectOptions) -> Samples {
        let mut samples = Samples::new(options);
        for (row, text) in rows {
            samples.offer("short", *row, u64::from(*row), Some(text), || None);
        }
        samples
    }

    fn merged(blocks: &[&[(u32, &str)]], options: RejectOptions) -> Vec<String> {
        let mut all = OfDataset::default();
        for (number, rows) in blocks.iter().enumerate() {
            all.add(number, offered(rows, options).by_reason, options.samples);
        }
        all.iter()
            .map(|(_, (_, sample))| sample.text.clone().unwrap())
            .collect()
    }

    #[test]
    fn samples_do_not_depend_on_how_rows_are_cut_into_blocks() {
        let texts: Vec<String> = (0..200).map(|number| format!("text {number}")).collect();
        let rows: Vec<(u32, &str)> = (0..).zip(texts.iter().map(String::as_str)).collect();
        let options = RejectOptions {
            samples: 7,
            characters: 6,
        };
        let whole = merged(&[&rows], options);
        assert_eq!(whole.len(), 7);
        assert!(whole.iter().all(|text| text.len() == 6), "{whole:?}");
        for cut in [1, 50, 199] {
            assert_eq!(merged(&[&rows[..cut], &rows[cut..]], options), whole);
        }
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let options = RejectOptions {
            samples: 0,
            characters: 6,
        };
        assert_eq!(offered(&[(0, "a")], options).section().unwrap(), None);
    }
}
