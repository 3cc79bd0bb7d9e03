//! JSON lines: an object a document, with the columns that [`super::parquet`] has; `masked` is pairs of numbers.

use std::io::Write as _;
use std::path::Path;

use andromeda_format::{FileEntry, Split};
use serde::Serialize;
use zstd::stream::write::Encoder;

use super::ExportError;
use super::walk::{Sink, Whole};
use crate::publish::HashedFile;

enum To {
    Plain(HashedFile),
    Zstd(Encoder<'static, HashedFile>),
}

/// Writes `<split>.jsonl` or `<split>.jsonl.zst`.
pub(super) struct Lines<'a> {
    to: To,
    name: String,
    split: Split,
    datasets: Vec<&'a str>,
    ids: Vec<u32>,
    line: Vec<u8>,
}

#[derive(Serialize)]
struct Line<'a> {
    ids: &'a [u32],
    dataset: &'a str,
    row: u64,
    split: Split,
    masked: Vec<[u64; 2]>,
}

impl<'a> Lines<'a> {
    pub(super) fn create(
        folder: &Path,
        split: Split,
        level: Option<i32>,
        datasets: Vec<&'a str>,
    ) -> Result<Self, ExportError> {
        let ending = level.map_or("", |_| ".zst");
        let name = format!("{}.jsonl{ending}", split.name());
        let file = HashedFile::create(&folder.join(&name))?;
        let to = match level {
            None => To::Plain(file),
            Some(level) => {
                let mut encoder = Encoder::new(file, level)?;
                encoder.include_checksum(true)?;
                To::Zstd(encoder)
            }
        };
        Ok(Self {
            to,
            name,
            split,
            datasets,
            ids: Vec::new(),
            line: Vec::new(),
        })
    }

    pub(super) fn finish(self) -> Result<FileEntry, ExportError> {
        let file = match self.to {
            To::Plain(file) => file,
            To::Zstd(encoder) => encoder.finish()?,
        };
        Ok(file.finish(&self.name)?)
    }
}

impl Sink for Lines<'_> {
    fn ids(&mut self, ids: &[u32]) -> Result<(), ExportError> {
        self.ids.extend_from_slice(ids);
        Ok(())
    }

    fn end(&mut self, document: &Whole<'_>) -> Result<(), ExportError> {
        let dataset = self.datasets.get(document.source as usize);
        let line = Line {
            ids: &self.ids,
            dataset: dataset.copied().unwrap_or_default(),
            row: document.row,
            split: self.split,
            masked: document.masked.iter().map(|s| [s.start, s.end]).collect(),
        };
        self.line.clear();
        serde_json::to_writer(&mut self.line, &line).map_err(std::io::Error::from)?;
        self.line.push(b'\n');
        match &mut self.to {
            To::Plain(file) => file.write_all(&self.line)?,
            To::Zstd(encoder) => encoder.write_all(&self.line)?,
        }
        self.ids.clear();
        Ok(())
    }
}
