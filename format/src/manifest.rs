//! `manifest.json`: what a build is made of, what became of every document, and a hash over all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{FormatError, Result};
use crate::shard::{MAX_FRAME_TOKENS, TokenWidth};

/// The newest version of shards and manifests that this crate writes; it reads all from 1 on.
pub const VERSION: u32 = 1;
/// The manifest's `format`.
pub const BUILD_FORMAT: &str = "andromeda-build";

/// What a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// To train on.
    Train,
    /// To watch training with.
    Val,
    /// To look at once.
    Test,
}

impl Split {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// Its name, as in file names and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

/// Documents and bytes of their normalized text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Documents.
    pub documents: u64,
    /// Bytes.
    pub bytes: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.documents += other.documents;
        self.bytes += other.bytes;
    }
}

/// What became of the documents that came in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Funnel {
    /// Rows read.
    pub documents_in: u64,
    /// Bytes of normalized text of those that are documents.
    pub bytes_in: u64,
    /// In the shards: their text as it is there, without what was cut from it.
    pub kept: Count,
    /// What was cut from kept documents because it stood before, by what was sought: `lines`, `paragraphs`, `spans`; or because
    /// it is of an evaluation set: `contamination`. The documents are those of which something was cut; they are among the
    /// kept ones.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub trimmed: BTreeMap<String, Count>,
    /// Dropped by a rule, by reason.
    pub dropped: BTreeMap<String, Count>,
    /// Duplicates of kept documents, by method: `exact`, `near`.
    pub duplicates: BTreeMap<String, Count>,
    /// No documents, by reason.
    pub quarantined: BTreeMap<String, Count>,
}

impl Funnel {
    /// Whether in = kept + dropped + duplicates + quarantined, in documents and, with what was trimmed, in bytes.
    pub fn balances(&self) -> bool {
        let out = || {
            let others = [&self.dropped, &self.duplicates, &self.quarantined];
            let others = others.into_iter().flat_map(BTreeMap::values);
            others.chain([&self.kept])
        };
        let trimmed = || self.trimmed.values();
        total(out().map(|count| count.documents)) == u128::from(self.documents_in)
            && total(out().chain(trimmed()).map(|count| count.bytes)) == u128::from(self.bytes_in)
            && trimmed().all(|count| count.documents <= self.kept.documents)
    }
}

/// A sum that no manifest makes overflow.
fn total(numbers: impl Iterator<Item = u64>) -> u128 {
    numbers.map(u128::from).sum()
}

impl AddAssign<&Self> for Funnel {
    fn add_assign(&mut self, other: &Self) {
        self.documents_in += other.documents_in;
        self.bytes_in += other.bytes_in;
        self.kept += other.kept;
        let add = |into: &mut BTreeMap<String, Count>, from: &BTreeMap<String, Count>| {
            from.iter()
                .for_each(|(reason, count)| *into.entry(reason.clone()).or_default() += *count);
        };
        add(&mut self.trimmed, &other.trimmed);
        add(&mut self.dropped, &other.dropped);
        add(&mut self.duplicates, &other.duplicates);
        add(&mut self.quarantined, &other.quarantined);
    }
}

/// A file and its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path within the dataset or the build's folder.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its sha256, in hexadecimal digits.
    pub sha256: String,
}

/// A file that could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultEntry {
    /// Its path within the dataset.
    pub path: String,
    /// Rows that could be read; they are in the funnel.
    pub rows_read: u64,
    /// What is wrong with it.
    pub problem: String,
}

/// The token that ends every document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndOfText {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub token: String,
}

/// The tokenizer that made the ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerEntry {
    /// Its file in the build's folder.
    pub file: String,
    /// sha256 of that file.
    pub sha256: String,
    /// Its type, such as `byte-level-bpe`.
    pub kind: String,
    /// Largest id plus one.
    pub vocab_size: u32,
    /// What stands after every document.
    pub end_of_text: EndOfText,
}

/// A shard file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// Its name in the build's folder.
    pub file: String,
    /// Its size.
    pub bytes: u64,
    /// Its sha256.
    pub sha256: String,
    /// Tokens in it.
    pub tokens: u64,
    /// Documents that are in it, whole or in part.
    pub documents: u64,
}

/// A split and its shards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitEntry {
    /// Tokens, ends of text included.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of the documents' text: what turns nats per token into bits per byte.
    pub text_bytes: u64,
    /// In order.
    pub shards: Vec<ShardEntry>,
}

/// One dataset's part of a split.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitTokens {
    /// Tokens, ends of text included.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of their text.
    pub text_bytes: u64,
}

/// Personal data of a kind that was replaced by placeholders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redacted {
    /// Documents that had some.
    pub documents: u64,
    /// Places.
    pub items: u64,
}

/// A dataset of the build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetEntry {
    /// Its name in the catalogue.
    pub name: String,
    /// The tier it was taken in.
    pub tier: String,
    /// What its rows are.
    pub kind: String,
    /// Its licence.
    pub licence: String,
    /// Where it came from.
    pub source: String,
    /// What it was pinned to.
    pub revision: String,
    /// The files that were read.
    pub files: Vec<FileEntry>,
    /// Those of them that could not be read to their end, where the person who built said to go on without: how many rows
    /// stood behind the fault is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultEntry>,
    /// What became of its documents.
    pub funnel: Funnel,
    /// Personal data that was replaced in its documents, whatever became of them, by kind: `email`, `ip`, `phone`, `card`,
    /// `secret`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub redacted: BTreeMap<String, Redacted>,
    /// What of it is in which split.
    pub splits: BTreeMap<Split, SplitTokens>,
}

/// An evaluation set that the build's documents were held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BenchmarkEntry {
    /// Its name in the catalogue, or its path.
    pub name: String,
    /// Where it came from.
    pub source: String,
    /// What it was pinned to.
    pub revision: String,
    /// The files that were read.
    pub files: Vec<FileEntry>,
    /// Its items.
    pub items: u64,
    /// Those that were looked for; the others have too few words.
    pub sought: u64,
    /// Those that were found, in documents that passed the rules.
    pub found: u64,
    /// Documents that had something of it.
    pub documents: u64,
}

/// A build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`BUILD_FORMAT`].
    pub format: String,
    /// Version of the format.
    pub version: u32,
    /// sha256 over the manifest's bytes with these 64 digits as zeros. Since the manifest holds the sha256 of every file,
    /// it covers all of the build.
    pub root: String,
    /// The build's name.
    pub name: String,
    /// Hash of the plan that made it.
    pub fingerprint: String,
    /// The tokenizer.
    pub tokenizer: TokenizerEntry,
    /// How ids are stored.
    pub token_width: TokenWidth,
    /// Tokens in every frame but the last of its shard.
    pub frame_tokens: u32,
    /// Tokens in every shard but the last of its split.
    pub shard_tokens: u64,
    /// The splits that have tokens.
    pub splits: BTreeMap<Split, SplitEntry>,
    /// A document's source is an index into this list.
    pub datasets: Vec<DatasetEntry>,
    /// All datasets together.
    pub funnel: Funnel,
    /// Benchmarks whose rows are training data of this build: a score on them says nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contaminates: Vec<String>,
    /// Evaluation sets whose items were taken out of the documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decontaminated: Vec<BenchmarkEntry>,
    /// Files with lists by which documents were judged, as the recipe names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<FileEntry>,
    /// Tables beside the shards.
    pub tables: Vec<FileEntry>,
    /// The options it was made with.
    pub recipe: serde_json::Value,
    /// The program that made it.
    pub program: String,
}

const ZEROS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Manifest {
    /// Every file it lists: its name, and size and sha256 where they are given.
    pub(crate) fn files(&self) -> Vec<(&str, Option<u64>, &str)> {
        let shards = self.splits.values().flat_map(|entry| &entry.shards);
        let tokenizer = &self.tokenizer;
        let mut files = vec![(tokenizer.file.as_str(), None, tokenizer.sha256.as_str())];
        files.extend(shards.map(|s| (s.file.as_str(), Some(s.bytes), s.sha256.as_str())));
        let tables = self.tables.iter();
        files.extend(tables.map(|t| (t.path.as_str(), Some(t.bytes), t.sha256.as_str())));
        files
    }

    /// Sets the root and gives the bytes to publish.
    ///
    /// # Errors
    ///
    /// [`FormatError::Unwritable`] for what [`Self::parse`] would refuse, so that no build is published that cannot be
    /// opened.
    pub fn to_bytes(&mut self) -> Result<Vec<u8>> {
        self.check_settings()
            .and_then(|()| self.check_counts())
            .map_err(FormatError::unwritable)?;
        self.root = ZEROS.to_owned();
        let mut text = serde_json::to_string_pretty(self)
            .map_err(|error| FormatError::unwritable(error.to_string()))?;
        text.push('\n');
        let at =
            root_at(&text).ok_or_else(|| FormatError::unwritable("the manifest has no root"))?;
        self.root = hex(&Sha256::digest(text.as_bytes()));
        text.replace_range(at..at + 64, &self.root);
        Ok(text.into_bytes())
    }

    /// Reads and checks a manifest; `file` is for errors.
    ///
    /// # Errors
    ///
    /// [`FormatError::Manifest`], [`FormatError::Version`], [`FormatError::Root`] and [`FormatError::Counts`].
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self> {
        let wrong = |what: String| FormatError::Manifest {
            file: file.to_path_buf(),
            what,
        };
        let text = std::str::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        // The version first: a later one may have fields that this program does not know.
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        if head.format != BUILD_FORMAT {
            return Err(wrong(format!(
                "its format is {:?}, not {BUILD_FORMAT:?}",
                head.format
            )));
        }
        if !(1..=VERSION).contains(&head.version) {
            return Err(FormatError::Version {
                file: file.to_path_buf(),
                found: head.version,
                newest: VERSION,
            });
        }
        let manifest: Self =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        let at = root_at(text).ok_or_else(|| wrong("it has no root of 64 digits".to_owned()))?;
        let mut hash = Sha256::new();
        hash.update(&text[..at]);
        hash.update(ZEROS);
        hash.update(&text[at + 64..]);
        let computed = hex(&hash.finalize());
        if computed != manifest.root {
            return Err(FormatError::Root {
                file: file.to_path_buf(),
                written: manifest.root,
                computed,
            });
        }
        manifest.check_settings().map_err(wrong)?;
        manifest
            .check_counts()
            .map_err(|what| FormatError::Counts { what })?;
        Ok(manifest)
    }

    /// Whether shards and a loader can be made of what it says; `Err` is why not.
    fn check_settings(&self) -> std::result::Result<(), String> {
        let TokenizerEntry {
            vocab_size,
            end_of_text,
            ..
        } = &self.tokenizer;
        if end_of_text.id >= *vocab_size {
            return Err(format!(
                "its end of text is {}, outside the vocabulary of {vocab_size}",
                end_of_text.id
            ));
        }
        if self.token_width != TokenWidth::for_vocab(*vocab_size) {
            return Err("the bytes of a token do not suit the vocabulary".to_owned());
        }
        if !(1..=MAX_FRAME_TOKENS).contains(&self.frame_tokens) || self.shard_tokens == 0 {
            return Err("its frames or shards have no size, or frames too large a one".to_owned());
        }
        let mut names = BTreeSet::from([self.tokenizer.file.as_str()]);
        let shards = self.splits.values().flat_map(|entry| &entry.shards);
        let files = shards.map(|shard| &shard.file);
        let mut files = files.chain(self.tables.iter().map(|table| &table.path));
        match files.find(|name| !names.insert(name)) {
            Some(name) => Err(format!("it lists {name:?} twice")),
            None => Ok(()),
        }
    }

    /// Whether the counts add up; `Err` is which do not.
    fn check_counts(&self) -> std::result::Result<(), String> {
        let funnels = || self.datasets.iter().map(|dataset| &dataset.funnel);
        // No part of a balanced funnel is larger than what came in, so no sum below overflows.
        if let Some(dataset) = self.datasets.iter().find(|d| !d.funnel.balances()) {
            return Err(format!(
                "dataset {}: in is not kept, trimmed, dropped, duplicates and quarantined together",
                dataset.name
            ));
        }
        let most = u128::from(u64::MAX);
        if total(funnels().map(|f| f.documents_in)) > most
            || total(funnels().map(|f| f.bytes_in)) > most
        {
            return Err("more came in than can be counted".to_owned());
        }
        let mut funnel = Funnel::default();
        funnels().for_each(|f| funnel += f);
        if funnel != self.funnel {
            return Err("the datasets' documents are not those of the build".to_owned());
        }
        for dataset in &self.datasets {
            let documents = total(dataset.splits.values().map(|s| s.documents));
            if documents != u128::from(dataset.funnel.kept.documents) {
                return Err(format!(
                    "dataset {}: the splits do not hold the documents that were kept",
                    dataset.name
                ));
            }
            let unknown = |(split, part): &(&Split, &SplitTokens)| {
                !self.splits.contains_key(split) && **part != SplitTokens::default()
            };
            if let Some((split, _)) = dataset.splits.iter().find(unknown) {
                return Err(format!(
                    "dataset {}: the build has no split {}",
                    dataset.name,
                    split.name()
                ));
            }
        }
        for (split, entry) in &self.splits {
            let sum = |of: fn(&SplitTokens) -> u64| {
                total(
                    self.datasets
                        .iter()
                        .filter_map(|d| d.splits.get(split))
                        .map(of),
                )
            };
            if sum(|s| s.tokens) != u128::from(entry.tokens)
                || sum(|s| s.documents) != u128::from(entry.documents)
                || sum(|s| s.text_bytes) != u128::from(entry.text_bytes)
            {
                return Err(format!(
                    "split {}: the datasets' parts are not the whole",
                    split.name()
                ));
            }
            let full = entry.shards.len().saturating_sub(1);
            let fits = |(number, shard): (usize, &ShardEntry)| {
                shard.tokens == self.shard_tokens
                    || number == full && (1..self.shard_tokens).contains(&shard.tokens)
            };
            if total(entry.shards.iter().map(|s| s.tokens)) != u128::from(entry.tokens)
                || !entry.shards.iter().enumerate().all(fits)
            {
                return Err(format!(
                    "split {}: the shards do not hold its tokens",
                    split.name()
                ));
            }
        }
        Ok(())
    }
}

/// Where the 64 digits of the root begin. The fields before it hold no text that could look like it.
fn root_at(text: &str) -> Option<usize> {
    let key = "\"root\": \"";
    let at = text.find(key)? + key.len();
    let digits = text.as_bytes().get(at..at + 64)?;
    (digits.iter().all(u8::is_ascii_hexdigit) && text.as_bytes().get(at + 64) == Some(&b'"'))
        .then_some(at)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}
