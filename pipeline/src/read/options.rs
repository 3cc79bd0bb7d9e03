//! How a file is to be read: its format and compression, the fields wanted, and the bounds on what it may make us hold.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::ReadError;

/// The layout of rows in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// One JSON object a line. Blank lines are no rows.
    Jsonl,
    /// One array of objects, or objects one after another however they are laid out: a single object is one row.
    Json,
    /// Columns of a parquet file.
    Parquet,
    /// Comma-separated values with quoting and a header row.
    Csv,
    /// Tab-separated values with a header row; quotes are ordinary characters.
    Tsv,
    /// The whole file is one row: `text` and `path` (the file's own name, without folders).
    Text,
    /// Every regular file of the archive is one row: `text` and `path` (the entry's name).
    Tar,
}

/// The compression around a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// The file's bytes are its content.
    None,
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

impl Compression {
    /// The compression that the last extension of a name says.
    #[must_use]
    pub fn from_path(path: &Path) -> Self {
        match extension(path).as_deref() {
            Some("gz" | "gzip" | "tgz") => Self::Gzip,
            Some("zst" | "zstd" | "tzst") => Self::Zstd,
            _ => Self::None,
        }
    }
}

impl FileFormat {
    /// The format and compression that a file's name says, such as `x.jsonl.gz`; `None` for a name that says nothing.
    ///
    /// `.json` is [`FileFormat::Json`], which also reads one object a line, so that C4's `.json.gz` files work unasked.
    #[must_use]
    pub fn from_path(path: &Path) -> Option<(Self, Compression)> {
        let compression = Compression::from_path(path);
        let format = match extension(path).as_deref() {
            Some("tgz" | "tzst") => Some(Self::Tar),
            Some("gz" | "gzip" | "zst" | "zstd") => {
                path.file_stem().and_then(|stem| Self::from_extension(&extension(Path::new(stem))?))
            }
            Some(plain) => Self::from_extension(plain),
            None => None,
        };
        Some((format?, compression))
    }

    fn from_extension(extension: &str) -> Option<Self> {
        Some(match extension {
            "jsonl" | "ndjson" => Self::Jsonl,
            "json" => Self::Json,
            "parquet" => Self::Parquet,
            "csv" => Self::Csv,
            "tsv" | "tab" => Self::Tsv,
            "txt" | "text" | "md" => Self::Text,
            "tar" => Self::Tar,
            _ => return None,
        })
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

/// The `[read]` table of a dataset manifest: how its files become rows, and what one file may make us hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ReadOptions {
    /// Format; by default what the file's name says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<FileFormat>,
    /// Compression; by default what the file's name says. The first bytes must agree with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compression: Option<Compression>,
    /// Top-level fields to keep; all by default. What renders the rows knows this, so no manifest says it.
    #[serde(skip)]
    pub fields: Option<Vec<String>>,
    /// Bytes of decoded content after which a block ends: a block holds at most this and one row.
    pub block_bytes: usize,
    /// Bytes that one row may have; a longer one is a fault and is not held.
    pub max_row_bytes: usize,
    /// Bytes that one byte of a compressed file may become, once 64 MiB have come out.
    pub max_compression_ratio: u64,
    /// Largest zstd window to allow, as a power of two; the window is memory.
    pub max_window_log: u32,
    /// Column names of a CSV or TSV file that has no header row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The character between CSV or TSV columns; by default a comma or a tab.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Whether `"` quotes CSV or TSV values; by default yes for CSV and no for TSV.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quoting: Option<bool>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: None,
            compression: None,
            fields: None,
            block_bytes: 16 << 20,
            max_row_bytes: 64 << 20,
            // gzip cannot exceed 1,032; zstd reaches 32,000 on zeros, and no text comes near.
            max_compression_ratio: 1000,
            max_window_log: 27,
            columns: None,
            delimiter: None,
            quoting: None,
        }
    }
}

impl ReadOptions {
    pub(super) fn check(&self, path: &Path) -> Result<(), ReadError> {
        let problem = if self.block_bytes == 0 {
            "block-bytes must be at least 1"
        } else if self.max_row_bytes == 0 {
            "max-row-bytes must be at least 1"
        } else if self.max_compression_ratio == 0 {
            "max-compression-ratio must be at least 1"
        } else if !(10..=31).contains(&self.max_window_log) {
            "max-window-log must be from 10 to 31"
        } else {
            return Ok(());
        };
        Err(ReadError::Options { path: path.to_owned(), problem: problem.to_owned() })
    }

    pub(super) fn resolve(&self, path: &Path) -> Result<(FileFormat, Compression), ReadError> {
        let compression = self.compression.unwrap_or_else(|| Compression::from_path(path));
        let format = match self.format {
            Some(format) => format,
            None => {
                FileFormat::from_path(path).ok_or_else(|| ReadError::UnknownFormat { path: path.to_owned() })?.0
            }
        };
        Ok((format, compression))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Option<(FileFormat, Compression)> {
        FileFormat::from_path(Path::new(name))
    }

    #[test]
    fn names_say_format_and_compression() {
        assert_eq!(named("a/x.jsonl"), Some((FileFormat::Jsonl, Compression::None)));
        assert_eq!(named("x.ndjson.ZST"), Some((FileFormat::Jsonl, Compression::Zstd)));
        assert_eq!(named("en/c4-train.00000-of-01024.json.gz"), Some((FileFormat::Json, Compression::Gzip)));
        // RedPajama's own name of a common_crawl file.
        let name = "en_head_0000.json.gz.dedup.classifier.jsonl.zst";
        assert_eq!(named(name), Some((FileFormat::Jsonl, Compression::Zstd)));
        assert_eq!(named("train-00000-of-00001.parquet"), Some((FileFormat::Parquet, Compression::None)));
        assert_eq!(named("MRPC/train.tsv"), Some((FileFormat::Tsv, Compression::None)));
        assert_eq!(named("urlsf_subset00.tar"), Some((FileFormat::Tar, Compression::None)));
        assert_eq!(named("x.tgz"), Some((FileFormat::Tar, Compression::Gzip)));
        for name in ["x", "x.gz", ".gz", "x.bin", "x.jsonl.xz", ""] {
            assert_eq!(named(name), None, "{name}");
        }
    }

    #[test]
    fn options_are_a_strict_kebab_case_table() {
        let options: ReadOptions = toml::from_str("format = \"jsonl\"\nmax-row-bytes = 5").unwrap();
        assert_eq!(options.format, Some(FileFormat::Jsonl));
        assert_eq!(options.max_row_bytes, 5);
        assert_eq!(options.block_bytes, ReadOptions::default().block_bytes);
        assert!(toml::from_str::<ReadOptions>("max_row_bytes = 5").is_err());
        assert!(toml::from_str::<ReadOptions>("fields = [\"text\"]").is_err());
    }

    #[test]
    fn options_out_of_range_are_named() {
        let path = Path::new("x.jsonl");
        let default = ReadOptions::default;
        for (options, name) in [
            (ReadOptions { block_bytes: 0, ..default() }, "block-bytes"),
            (ReadOptions { max_row_bytes: 0, ..default() }, "max-row-bytes"),
            (ReadOptions { max_compression_ratio: 0, ..default() }, "max-compression-ratio"),
            (ReadOptions { max_window_log: 32, ..default() }, "max-window-log"),
        ] {
            assert!(options.check(path).unwrap_err().to_string().contains(name));
        }
    }
}
