//! Documents become a build as they come: frame by frame into shards, a row each into the table of documents.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use andromeda_format::{
    Count, DocumentEntry, FileEntry, Frame, ShardEntry, ShardFlags, ShardSpec, ShardWriter, Split,
    SplitEntry, SplitTokens, encode_frame,
};

use super::ImportError;
use crate::execute::tables::{
    Columns, DocumentRow, DocumentsWriter, DuplicatesWriter, RejectsWriter,
};
use crate::publish::HashedFile;
use crate::tokenize::Tokenizer;

/// Ids that are decoded at once to measure a text.
const TEXT_IDS: usize = 1 << 14;

/// What was written of the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// By split.
    pub splits: BTreeMap<Split, SplitEntry>,
    /// The tables.
    pub tables: Vec<FileEntry>,
    /// Documents that had no end of text, and were given one.
    pub ended: u64,
    /// Documents without a token, which were left out.
    pub empty: u64,
}

impl Written {
    /// Documents, and bytes of their text.
    pub(super) fn count(&self) -> Count {
        let mut count = Count::default();
        for entry in self.splits.values() {
            count += Count {
                documents: entry.documents,
                bytes: entry.text_bytes,
            };
        }
        count
    }

    /// The splits as a dataset has them.
    pub(super) fn of_dataset(&self) -> BTreeMap<Split, SplitTokens> {
        let of = |entry: &SplitEntry| SplitTokens {
            tokens: entry.tokens,
            documents: entry.documents,
            text_bytes: entry.text_bytes,
        };
        self.splits
            .iter()
            .map(|(split, entry)| (*split, of(entry)))
            .collect()
    }
}

/// A shard that is being written.
struct OpenShard {
    name: String,
    writer: ShardWriter<HashedFile>,
    frame: Vec<u32>,
    tokens: u64,
    documents: Vec<DocumentEntry>,
    masked: Vec<Range<u64>>,
    continues_from_previous: bool,
}

/// The document that is under way.
#[derive(Default)]
struct OpenDocument {
    tokens: u64,
    bytes: u64,
    shard: String,
    token: u64,
    ends: bool,
}

/// Writes a build's shards and tables.
pub(super) struct BuildWriter<'a> {
    folder: &'a Path,
    spec: ShardSpec,
    shard_tokens: u64,
    tokenizer: &'a Tokenizer,
    dataset: &'a str,
    table: DocumentsWriter,
    row: u64,
    split: Split,
    file: String,
    file_row: u64,
    open: BTreeMap<Split, OpenShard>,
    document: OpenDocument,
    text: Vec<u32>,
    written: Written,
}

impl<'a> BuildWriter<'a> {
    pub(super) fn create(
        folder: &'a Path,
        spec: ShardSpec,
        shard_tokens: u64,
        tokenizer: &'a Tokenizer,
        dataset: &'a str,
    ) -> Result<Self, ImportError> {
        let table = folder.join("documents.parquet");
        Ok(Self {
            folder,
            spec,
            shard_tokens,
            tokenizer,
            dataset,
            table: DocumentsWriter::create(&table, &Columns::default())?,
            row: 0,
            split: Split::Train,
            file: String::new(),
            file_row: 0,
            open: BTreeMap::new(),
            document: OpenDocument::default(),
            text: Vec::new(),
            written: Written::default(),
        })
    }

    /// Documents that follow are of this file and go to this split.
    pub(super) fn file(&mut self, name: &str, split: Split) {
        name.clone_into(&mut self.file);
        self.split = split;
        self.file_row = 0;
    }

    /// A document of no tokens: counted, and left out.
    pub(super) fn empty(&mut self) {
        self.written.empty += 1;
        self.file_row += 1;
    }

    /// More ids of the document that is under way, and which of them carry loss; all where that is not said.
    pub(super) fn ids(&mut self, ids: &[u32], trained: Option<&[bool]>) -> Result<(), ImportError> {
        let end_of_text = self.spec.end_of_text;
        let mut done = 0;
        while done < ids.len() {
            let mut shard = self.shard_with_room()?;
            if self.document.tokens == 0 && done == 0 {
                shard.name.clone_into(&mut self.document.shard);
                self.document.token = shard.tokens;
            }
            let room = self.shard_tokens - shard.tokens;
            let room = usize::try_from(room).unwrap_or(usize::MAX);
            let room = room.min(self.spec.frame_tokens as usize - shard.frame.len());
            let part = &ids[done..ids.len().min(done + room)];
            for (flag, token) in trained
                .into_iter()
                .flat_map(|flags| &flags[done..])
                .zip(shard.tokens..shard.tokens + part.len() as u64)
            {
                if *flag {
                    continue;
                }
                match shard.masked.last_mut() {
                    Some(last) if last.end == token => last.end += 1,
                    _ => shard.masked.push(token..token + 1),
                }
            }
            shard.frame.extend_from_slice(part);
            shard.tokens += part.len() as u64;
            if shard.frame.len() == self.spec.frame_tokens as usize {
                shard.writer.push_frame(self.frame(&shard.frame)?)?;
                shard.frame.clear();
            }
            self.open.insert(self.split, shard);
            done += part.len();
            self.document.tokens += part.len() as u64;
        }
        self.document.ends = ids.last() == Some(&end_of_text);
        self.text
            .extend(ids.iter().filter(|id| **id != end_of_text));
        while self.text.len() >= TEXT_IDS {
            self.measure(TEXT_IDS);
        }
        Ok(())
    }

    /// The document is whole: it gets an end of text where it has none, and its row.
    pub(super) fn end(&mut self) -> Result<(), ImportError> {
        if !self.document.ends {
            self.ids(&[self.spec.end_of_text], None)?;
            self.written.ended += 1;
        }
        self.measure(self.text.len());
        let document = std::mem::take(&mut self.document);
        let tokens = u32::try_from(document.tokens).map_err(|_| ImportError::TooLong {
            file: self.file.clone(),
            document: self.file_row,
            tokens: document.tokens,
        })?;
        let row = self.row;
        if let Some(shard) = self.open.get_mut(&self.split) {
            shard.documents.push(DocumentEntry {
                end: shard.tokens,
                source: 0,
                row,
            });
        }
        let id = format!("{}/{}#{}", self.dataset, self.file, self.file_row);
        self.table.push(&DocumentRow {
            id: &id,
            dataset: self.dataset,
            file: &self.file,
            file_row: self.file_row,
            bytes: document.bytes,
            verdict: "kept",
            split: Some(self.split.name()),
            shard: Some(&document.shard),
            token: Some(document.token),
            tokens: Some(tokens),
            ..DocumentRow::default()
        })?;
        let entry = self.written.splits.entry(self.split).or_default();
        entry.documents += 1;
        entry.tokens += document.tokens;
        entry.text_bytes += document.bytes;
        self.row += 1;
        self.file_row += 1;
        Ok(())
    }

    /// Writes what is open, and the tables.
    pub(super) fn finish(mut self) -> Result<Written, ImportError> {
        while let Some((split, shard)) = self.open.pop_first() {
            self.close(split, shard, false)?;
        }
        self.table.finish()?;
        DuplicatesWriter::create(&self.folder.join("duplicates.parquet"))?.finish()?;
        RejectsWriter::create(&self.folder.join("rejects.parquet"))?.finish()?;
        for name in ["documents.parquet", "duplicates.parquet", "rejects.parquet"] {
            let path = self.folder.join(name);
            self.written.tables.push(FileEntry {
                path: name.to_owned(),
                bytes: fs_err::metadata(&path)?.len(),
                sha256: crate::digest::Digest::of_file(&path)?.hex(),
            });
        }
        Ok(self.written)
    }

    fn frame(&self, ids: &[u32]) -> Result<Frame, ImportError> {
        Ok(encode_frame(&self.spec, ids)?)
    }

    /// Takes the split's shard out, or the next one where it is full.
    fn shard_with_room(&mut self) -> Result<OpenShard, ImportError> {
        let split = self.split;
        let mut continues = false;
        if let Some(shard) = self.open.remove(&split) {
            if shard.tokens < self.shard_tokens {
                return Ok(shard);
            }
            continues = self.document.tokens > 0;
            self.close(split, shard, continues)?;
        }
        let entry = self.written.splits.entry(split).or_default();
        let name = format!("{}-{:05}.zst", split.name(), entry.shards.len());
        let file = HashedFile::create(&self.folder.join(&name))?;
        Ok(OpenShard {
            name,
            writer: ShardWriter::new(self.spec.clone(), file),
            frame: Vec::new(),
            tokens: 0,
            documents: Vec::new(),
            masked: Vec::new(),
            continues_from_previous: continues,
        })
    }

    fn close(
        &mut self,
        split: Split,
        mut shard: OpenShard,
        continues_in_next: bool,
    ) -> Result<(), ImportError> {
        if !shard.frame.is_empty() {
            shard.writer.push_frame(self.frame(&shard.frame)?)?;
        }
        if continues_in_next {
            shard.documents.push(DocumentEntry {
                end: shard.tokens,
                source: 0,
                row: self.row,
            });
        }
        let flags = ShardFlags {
            continues_from_previous: shard.continues_from_previous,
            continues_in_next,
        };
        let (file, summary) = shard
            .writer
            .finish(&shard.documents, &shard.masked, flags)?;
        let file = file.finish(&shard.name)?;
        let entry = self.written.splits.entry(split).or_default();
        entry.shards.push(ShardEntry {
            file: file.path,
            bytes: file.bytes,
            sha256: file.sha256,
            tokens: summary.tokens,
            documents: summary.documents,
        });
        Ok(())
    }

    /// Measures the text of the first `ids` of what is held, or of a few less where that would cut a character.
    fn measure(&mut self, ids: usize) {
        if ids == 0 {
            return;
        }
        let whole = self.text.len() == ids;
        let mut cut = ids;
        let mut text = self.tokenizer.decode(&self.text[..cut]);
        // A character has at most four bytes, so at most four tokens.
        while !whole && text.ends_with('\u{fffd}') && cut > ids.saturating_sub(4).max(1) {
            cut -= 1;
            text = self.tokenizer.decode(&self.text[..cut]);
        }
        self.document.bytes += text.len() as u64;
        self.text.drain(..cut);
    }
}
