//! Personal data that was replaced in a block's documents, counted by document and kind.

use std::collections::BTreeMap;

use super::block::{SegmentEnd, json};
use super::store::{SectionFile, Sections, StoreError, column_u64};
use crate::redact::{Counts, Numbers, Redactor};

/// What was replaced in a block, growing.
#[derive(Debug, Default)]
pub(super) struct Personal {
    /// Verdict and counts of each document that had something.
    counts: Vec<(u32, Counts)>,
}

impl Personal {
    /// Replaces what is in a document, the next of its block; `ends` are those of its segments, if it has several.
    pub(super) fn take(
        &mut self,
        redactor: &Redactor,
        row: usize,
        text: &mut String,
        ends: &mut [SegmentEnd],
    ) {
        let mut numbers = Numbers::default();
        let mut counts = Counts::new();
        if ends.is_empty() {
            if let Some((redacted, found)) = redactor.redact_part(text, &mut numbers) {
                *text = redacted;
                counts = found;
            }
        } else {
            // Nothing is looked for over the end of a segment, and one person has one number in all of them.
            let mut out = String::with_capacity(text.len());
            let mut start = 0;
            for end in ends {
                let stop = usize::try_from(end.0).unwrap_or(text.len());
                let part = &text[start..stop];
                match redactor.redact_part(part, &mut numbers) {
                    Some((redacted, found)) => {
                        out.push_str(&redacted);
                        for (kind, count) in found {
                            *counts.entry(kind).or_default() += count;
                        }
                    }
                    None => out.push_str(part),
                }
                start = stop;
                end.0 = out.len() as u64;
            }
            *text = out;
        }
        if !counts.is_empty() {
            let row = u32::try_from(row).expect("a block has fewer than 2^32 rows");
            self.counts.push((row, counts));
        }
    }

    /// Adds what there is to a block; nothing where nothing was replaced.
    pub(super) fn write(&mut self, sections: &mut Sections) -> std::io::Result<()> {
        if !self.counts.is_empty() {
            let bytes = json(&self.counts);
            sections.push("pii-bytes", column_u64([bytes.len() as u64]));
            sections.push("pii", zstd::bulk::compress(&bytes, 1)?);
        }
        Ok(())
    }
}

/// By verdict of a block: what was replaced. Of documents without personal data there is nothing.
pub(super) fn replaced(block: &SectionFile) -> Result<BTreeMap<u32, Counts>, StoreError> {
    let counts: Vec<(u32, Counts)> = match block.has("pii") {
        true => block.read_compressed_json("pii", "pii-bytes")?,
        false => Vec::new(),
    };
    Ok(counts.into_iter().collect())
}
