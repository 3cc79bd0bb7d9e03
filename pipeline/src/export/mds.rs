//! The datasets of mosaicml-streaming, version 2, byte for byte as `MDSWriter` of mosaicml/streaming writes them.
//!
//! A shard is the number of its samples as u32, their places and the end as u32, the columns as JSON, and the samples: sizes of the
//! columns whose size is not fixed, as u32, and the columns' bytes in the order of their names. `index.json` lists the shards with
//! size, sha1 and xxh64, of the compressed file too where there is one.

use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use andromeda_format::{FileEntry, Split, TokenWidth};
use serde::Serialize;
use serde_json::ser::Formatter;
use sha1::{Digest as _, Sha1};
use xxhash_rust::xxh64::xxh64;

use super::walk::{Sink, Whole};
use super::{ExportError, put_ids};
use crate::publish::HashedFile;

/// Bytes of a shard at most, but where a single sample is larger: `MDSWriter`'s default.
const SIZE_LIMIT: u64 = 1 << 26;
/// Hashes of every file, sorted, as the writer wants them.
const HASHES: [&str; 2] = ["sha1", "xxh64"];

/// Writes the folder `<split>/`.
pub(super) struct Mds<'a> {
    folder: PathBuf,
    split: Split,
    width: TokenWidth,
    /// Tokens of a sample; a sample is a document where there is none.
    length: Option<usize>,
    level: Option<i32>,
    /// Whether samples say which tokens carry loss.
    with_loss: bool,
    datasets: Vec<&'a str>,
    config: Config,
    config_bytes: Vec<u8>,
    ids: Vec<u32>,
    loss: Vec<u8>,
    samples: Vec<u8>,
    ends: Vec<u64>,
    shards: Vec<Shard>,
    files: Vec<FileEntry>,
}

/// What all shards of a folder have in common, keys sorted.
#[derive(Debug, Clone, Serialize)]
struct Config {
    column_encodings: Vec<String>,
    column_names: Vec<&'static str>,
    column_sizes: Vec<Option<u64>>,
    compression: Option<String>,
    format: &'static str,
    hashes: [&'static str; 2],
    size_limit: u64,
    version: u32,
}

/// A shard in the index, keys sorted.
#[derive(Debug, Serialize)]
struct Shard {
    column_encodings: Vec<String>,
    column_names: Vec<&'static str>,
    column_sizes: Vec<Option<u64>>,
    compression: Option<String>,
    format: &'static str,
    hashes: [&'static str; 2],
    raw_data: File,
    samples: usize,
    size_limit: u64,
    version: u32,
    zip_data: Option<File>,
}

#[derive(Debug, Serialize)]
struct File {
    basename: String,
    bytes: usize,
    hashes: Hashes,
}

#[derive(Debug, Serialize)]
struct Hashes {
    sha1: String,
    xxh64: String,
}

impl File {
    fn of(basename: String, bytes: &[u8]) -> Self {
        let sha1: [u8; 20] = Sha1::digest(bytes).into();
        Self {
            basename,
            bytes: bytes.len(),
            hashes: Hashes {
                sha1: sha1.iter().map(|byte| format!("{byte:02x}")).collect(),
                xxh64: format!("{:016x}", xxh64(bytes, 0)),
            },
        }
    }
}

#[derive(Serialize)]
struct Index<'a> {
    shards: &'a [Shard],
    version: u32,
}

/// JSON with a space after commas and colons, as Python's `json.dumps` writes it.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        to: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        to: &mut W,
    ) -> std::io::Result<()> {
        to.write_all(b": ")
    }
}

fn spaced(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut to = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    value
        .serialize(&mut to)
        .expect("plain data with string keys always has a JSON form");
    bytes
}

impl<'a> Mds<'a> {
    pub(super) fn create(
        folder: &Path,
        split: Split,
        width: TokenWidth,
        length: Option<usize>,
        level: Option<i32>,
        with_loss: bool,
        datasets: Vec<&'a str>,
    ) -> Result<Self, ExportError> {
        let folder = folder.join(split.name());
        fs_err::create_dir(&folder)?;
        let ids = match width {
            TokenWidth::U16 => "ndarray:uint16",
            TokenWidth::U32 => "ndarray:uint32",
        };
        let sized = |encoding: &str| match length {
            Some(length) => format!("{encoding}:{length}"),
            None => encoding.to_owned(),
        };
        let bytes = |of: usize| length.map(|length| length as u64 * of as u64);
        // Sorted by name.
        let mut columns: Vec<(&'static str, String, Option<u64>)> = Vec::new();
        if length.is_none() {
            columns.push(("dataset", "str".to_owned(), None));
        }
        if with_loss {
            columns.push(("loss", sized("ndarray:uint8"), bytes(1)));
        }
        if length.is_none() {
            columns.push(("row", "int".to_owned(), Some(8)));
        }
        columns.push(("tokens", sized(ids), bytes(width.bytes())));
        let config = Config {
            column_encodings: columns.iter().map(|c| c.1.clone()).collect(),
            column_names: columns.iter().map(|c| c.0).collect(),
            column_sizes: columns.iter().map(|c| c.2).collect(),
            compression: level.map(|level| format!("zstd:{level}")),
            format: "mds",
            hashes: HASHES,
            size_limit: SIZE_LIMIT,
            version: 2,
        };
        Ok(Self {
            folder,
            split,
            width,
            length,
            level,
            with_loss,
            datasets,
            config_bytes: spaced(&config),
            config,
            ids: Vec::new(),
            loss: Vec::new(),
            samples: Vec::new(),
            ends: Vec::new(),
            shards: Vec::new(),
            files: Vec::new(),
        })
    }

    /// The files, and how many tokens at the end were too few for a sample.
    pub(super) fn finish(mut self) -> Result<(Vec<FileEntry>, u64), ExportError> {
        if !self.ends.is_empty() {
            self.write_shard()?;
        }
        let left = self.ids.len() as u64;
        let index = Index {
            shards: &self.shards,
            version: 2,
        };
        let bytes = spaced(&index);
        self.write_file("index.json", &bytes)?;
        fs_err::File::open(&self.folder)?.sync_all()?;
        Ok((self.files, left))
    }

    fn write_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), ExportError> {
        let mut file = HashedFile::create(&self.folder.join(name))?;
        file.write_all(bytes)?;
        let entry = file.finish(&format!("{}/{name}", self.split.name()))?;
        self.files.push(entry);
        Ok(())
    }

    /// Bytes of a shard before its samples, without the 4 that each sample adds.
    fn head(&self) -> u64 {
        8 + self.config_bytes.len() as u64
    }

    fn write_shard(&mut self) -> Result<(), ExportError> {
        let samples = self.ends.len();
        let head = self.head() + 4 * samples as u64;
        let mut raw =
            Vec::with_capacity(self.samples.len() + 4 * samples + self.config_bytes.len() + 8);
        let places = std::iter::once(0).chain(self.ends.iter().copied());
        let small = |place: u64| {
            u32::try_from(place)
                .map_err(|_| ExportError::Options("a sample of MDS has at most 4 GiB".to_owned()))
        };
        raw.extend_from_slice(&small(samples as u64)?.to_le_bytes());
        for place in places {
            raw.extend_from_slice(&small(head + place)?.to_le_bytes());
        }
        raw.extend_from_slice(&self.config_bytes);
        raw.extend_from_slice(&self.samples);
        self.samples.clear();
        self.ends.clear();
        let name = format!("shard.{:05}.mds", self.shards.len());
        let raw_data = File::of(name.clone(), &raw);
        let zip_data = match self.level {
            None => {
                self.write_file(&name, &raw)?;
                None
            }
            Some(level) => {
                let name = format!("{name}.zstd");
                let zip = zstd::bulk::compress(&raw, level)?;
                self.write_file(&name, &zip)?;
                Some(File::of(name, &zip))
            }
        };
        let Config {
            column_encodings,
            column_names,
            column_sizes,
            compression,
            ..
        } = self.config.clone();
        self.shards.push(Shard {
            column_encodings,
            column_names,
            column_sizes,
            compression,
            format: "mds",
            hashes: HASHES,
            raw_data,
            samples,
            size_limit: SIZE_LIMIT,
            version: 2,
            zip_data,
        });
        Ok(())
    }

    /// Adds a sample of a range of what is held: a document, or a window of fixed length.
    fn sample(&mut self, range: Range<usize>, of: Option<&Whole<'_>>) -> Result<(), ExportError> {
        let mut sizes = Vec::new();
        let mut data = Vec::new();
        let mut put = |column: &[u8], fixed: bool| -> Result<(), ExportError> {
            if !fixed {
                let size = u32::try_from(column.len()).map_err(|_| {
                    ExportError::Options("a sample of MDS has at most 4 GiB".to_owned())
                })?;
                sizes.extend_from_slice(&size.to_le_bytes());
            }
            data.extend_from_slice(column);
            Ok(())
        };
        if let Some(document) = of {
            let dataset = self.datasets.get(document.source as usize);
            put(dataset.copied().unwrap_or_default().as_bytes(), false)?;
        }
        let shape = match of {
            Some(_) => shape(range.len() as u64),
            None => Vec::new(),
        };
        if self.with_loss {
            let loss = [&shape[..], &self.loss[range.clone()]].concat();
            put(&loss, of.is_none())?;
        }
        if let Some(document) = of {
            put(&document.row.to_le_bytes(), true)?;
        }
        let mut ids = shape;
        put_ids(&self.ids[range], self.width, &mut ids);
        put(&ids, of.is_none())?;
        let size = (sizes.len() + data.len()) as u64;
        let held = self.head() + self.samples.len() as u64 + 4 * self.ends.len() as u64;
        if held + size + 4 > SIZE_LIMIT && !self.ends.is_empty() {
            self.write_shard()?;
        }
        self.samples.extend_from_slice(&sizes);
        self.samples.extend_from_slice(&data);
        self.ends.push(self.samples.len() as u64);
        Ok(())
    }
}

/// The head of an array whose shape is not fixed: one axis, its length in the smallest type.
fn shape(length: u64) -> Vec<u8> {
    let (code, bytes) = match length {
        0..0x100 => (0, 1),
        0x100..0x1_0000 => (1, 2),
        0x1_0000..0x1_0000_0000 => (2, 4),
        _ => (3, 8),
    };
    let mut out = vec![1 << 2 | code];
    out.extend_from_slice(&length.to_le_bytes()[..bytes]);
    out
}

/// Zeros where tokens carry no loss; `loss` has ones.
fn mask(loss: &mut [u8], masked: &[Range<u64>]) {
    let place = |token: u64| usize::try_from(token).unwrap_or(usize::MAX).min(loss.len());
    let spans: Vec<Range<usize>> = masked
        .iter()
        .map(|s| place(s.start)..place(s.end))
        .collect();
    for span in spans {
        loss[span].fill(0);
    }
}

impl Sink for Mds<'_> {
    fn ids(&mut self, ids: &[u32]) -> Result<(), ExportError> {
        self.ids.extend_from_slice(ids);
        Ok(())
    }

    fn end(&mut self, document: &Whole<'_>) -> Result<(), ExportError> {
        if self.with_loss {
            let before = self.loss.len();
            self.loss.resize(self.ids.len(), 1);
            mask(&mut self.loss[before..], document.masked);
        }
        match self.length {
            None => {
                self.sample(0..self.ids.len(), Some(document))?;
                self.ids.clear();
                self.loss.clear();
            }
            Some(length) => {
                let mut done = 0;
                while self.ids.len() - done >= length {
                    self.sample(done..done + length, None)?;
                    done += length;
                }
                self.ids.drain(..done);
                if self.with_loss {
                    self.loss.drain(..done);
                }
            }
        }
        Ok(())
    }
}
