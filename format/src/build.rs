//! A build's folder: opening it, and checking every byte of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{FormatError, Result};
use crate::manifest::{Manifest, ShardEntry, Split, SplitTokens, hex, unhex};
use crate::reader::ShardReader;
use crate::shard::DocumentEntry;

pub(crate) const MANIFEST: &str = "manifest.json";
/// A build of a million files has a manifest a quarter as long.
pub(crate) const MAX_MANIFEST_BYTES: u64 = 1 << 30;

/// An open build: its manifest, checked, and the certainty that its files are there with the right sizes.
#[derive(Debug, Clone)]
pub struct Build {
    folder: PathBuf,
    manifest: Manifest,
    tokenizer_sha256: [u8; 32],
}

impl Build {
    /// Opens a build. Costs one look a file; no shard is read.
    ///
    /// # Errors
    ///
    /// [`FormatError::Missing`] without a manifest or a file it lists, [`FormatError::Size`] for a file of another size, and
    /// what [`Manifest::parse`] finds.
    pub fn open(folder: &Path) -> Result<Self> {
        let (build, _) = Self::read(folder)?;
        for (name, bytes, _) in build.files() {
            check_size(&build.inside(name)?, bytes)?;
        }
        Ok(build)
    }

    /// Reads the manifest only, and says how long it is.
    fn read(folder: &Path) -> Result<(Self, u64)> {
        let file = folder.join(MANIFEST);
        let wrong = |what: &str| FormatError::Manifest {
            file: file.clone(),
            what: what.to_owned(),
        };
        if size(&file)? > MAX_MANIFEST_BYTES {
            return Err(wrong("it is over 1 GiB long"));
        }
        let bytes = fs::read(&file).map_err(FormatError::io(&file))?;
        let manifest = Manifest::parse(&file, &bytes)?;
        let tokenizer_sha256 = unhex(&manifest.tokenizer.sha256)
            .ok_or_else(|| wrong("the tokenizer's sha256 is none"))?;
        let build = Self {
            folder: folder.to_path_buf(),
            manifest,
            tokenizer_sha256,
        };
        Ok((build, bytes.len() as u64))
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Opens a shard of a split and checks that it is the one the manifest lists.
    pub fn shard(&self, split: Split, number: usize) -> Result<ShardReader> {
        let shards = self
            .manifest
            .splits
            .get(&split)
            .map_or(&[][..], |entry| &entry.shards);
        let entry = shards.get(number).ok_or_else(|| FormatError::Missing {
            file: self
                .folder
                .join(format!("{}-{number:05}.zst", split.name())),
        })?;
        self.open_shard(entry)
    }

    fn open_shard(&self, entry: &ShardEntry) -> Result<ShardReader> {
        let path = self.inside(&entry.file)?;
        let reader = ShardReader::open(&path)?;
        let index = reader.index();
        let manifest = &self.manifest;
        let foreign = |what| FormatError::Foreign {
            file: path.clone(),
            what,
        };
        let checks = [
            (index.tokenizer_sha256 == self.tokenizer_sha256, "tokenizer"),
            (
                index.vocab_size == manifest.tokenizer.vocab_size,
                "vocabulary",
            ),
            (
                index.end_of_text == manifest.tokenizer.end_of_text.id,
                "end of text",
            ),
            (index.width == manifest.token_width, "token width"),
            (index.frame_tokens == manifest.frame_tokens, "frame size"),
            (index.tokens == entry.tokens, "number of tokens"),
            (
                index.documents.len() as u64 == entry.documents,
                "number of documents",
            ),
            (
                index
                    .documents
                    .iter()
                    .all(|d| (d.source as usize) < manifest.datasets.len()),
                "list of datasets",
            ),
        ];
        match checks.into_iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(foreign(what)),
            None => Ok(reader),
        }
    }

    fn files(&self) -> Vec<(&str, Option<u64>, &str)> {
        self.manifest.files()
    }

    fn inside(&self, name: &str) -> Result<PathBuf> {
        inside(&self.folder, name)
    }
}

/// A file of a build's folder; a name that leads elsewhere is refused.
pub(crate) fn inside(folder: &Path, name: &str) -> Result<PathBuf> {
    let plain =
        !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
    if plain {
        Ok(folder.join(name))
    } else {
        let file = folder.join(MANIFEST);
        Err(FormatError::Manifest {
            file,
            what: format!("{name:?} is no name of a file in the build's folder"),
        })
    }
}

/// News of a verification.
#[derive(Debug)]
pub enum VerifyEvent {
    /// A file was read to its end.
    Checked {
        /// Its name in the build's folder.
        file: String,
        /// Its size.
        bytes: u64,
    },
    /// Something is wrong.
    Fault {
        /// The file's name in the build's folder.
        file: String,
        /// What.
        fault: String,
    },
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The manifest's root, if it could be read.
    pub root: String,
    /// Files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Tokens that were decoded.
    pub tokens: u64,
    /// Faults: file and what is wrong with it. The build is sound if there are none.
    pub faults: Vec<(String, String)>,
}

/// Reads every byte of a build and checks it against the manifest, telling `each` as it goes.
///
/// Every file is hashed; every frame of every shard is decoded; tokens and documents are counted by dataset and split; every
/// document ends with the end of text; documents that cross shards do so on both sides; and nothing else is in the folder.
///
/// # Errors
///
/// [`FormatError::Missing`] and [`FormatError::Io`] for a folder that is no build at all. All else is collected as faults.
pub fn verify(folder: &Path, each: &mut dyn FnMut(VerifyEvent)) -> Result<VerifyReport> {
    let mut check = Check {
        report: VerifyReport::default(),
        each,
    };
    let (build, manifest_bytes) = match Build::read(folder) {
        Ok(read) => read,
        Err(error @ (FormatError::Missing { .. } | FormatError::Io { .. })) => return Err(error),
        Err(error) => {
            check.fault(MANIFEST, error.to_string());
            return Ok(check.report);
        }
    };
    check.report.root.clone_from(&build.manifest.root);
    check.checked(MANIFEST, manifest_bytes);
    let mut known = BTreeSet::from([MANIFEST]);
    for (name, bytes, sha256) in build.files() {
        known.insert(name);
        let content = build.inside(name).and_then(|path| {
            check_size(&path, bytes)?;
            check_content(&path, sha256)
        });
        match content {
            Ok(bytes) => check.checked(name, bytes),
            Err(error) => check.fault(name, error.to_string()),
        }
    }
    for split in build.manifest.splits.keys() {
        check.split(&build, *split);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(FormatError::io(folder))? {
        let entry = entry.map_err(FormatError::io(folder))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    for name in names.iter().filter(|name| !known.contains(name.as_str())) {
        let file = folder.join(name);
        check.fault(name, FormatError::Stray { file }.to_string());
    }
    Ok(check.report)
}

/// A verification under way.
struct Check<'a> {
    report: VerifyReport,
    each: &'a mut dyn FnMut(VerifyEvent),
}

impl Check<'_> {
    fn checked(&mut self, file: &str, bytes: u64) {
        self.report.files += 1;
        self.report.bytes += bytes;
        (self.each)(VerifyEvent::Checked {
            file: file.to_owned(),
            bytes,
        });
    }

    fn fault(&mut self, file: &str, fault: String) {
        self.report.faults.push((file.to_owned(), fault.clone()));
        (self.each)(VerifyEvent::Fault {
            file: file.to_owned(),
            fault,
        });
    }

    /// Decodes a split's shards and counts what is in them.
    fn split(&mut self, build: &Build, split: Split) {
        let mut found = vec![SplitTokens::default(); build.manifest.datasets.len()];
        // The document that the shard before leaves open; unknown after a shard that cannot be read.
        let mut open: Option<Option<(u32, u64)>> = Some(None);
        let mut all_read = true;
        for number in 0..build.manifest.splits[&split].shards.len() {
            let name = &build.manifest.splits[&split].shards[number].file;
            let read = build.shard(split, number).and_then(|shard| {
                let ends_well = documents_end_with_end_of_text(&shard)?;
                Ok((shard, ends_well))
            });
            let (shard, ends_well) = match read {
                Ok(read) => read,
                Err(error) => {
                    self.fault(name, error.to_string());
                    (open, all_read) = (None, false);
                    continue;
                }
            };
            let index = shard.index();
            self.report.tokens += index.tokens;
            if !ends_well {
                self.fault(
                    name,
                    "a document in it does not end with the end of text".to_owned(),
                );
            }
            let identity = |document: &DocumentEntry| (document.source, document.row);
            let first = index.documents.first().map(identity);
            let continued = first.filter(|_| index.continues_from_previous);
            if open.is_some_and(|open| open != continued) {
                self.fault(
                    name,
                    "its first document does not continue the shard before it".to_owned(),
                );
            }
            let last = index.documents.last().map(identity);
            open = Some(last.filter(|_| index.continues_in_next));
            let mut start = 0;
            for (i, document) in index.documents.iter().enumerate() {
                let of = &mut found[document.source as usize];
                of.tokens += document.end - start;
                of.documents += u64::from(i > 0 || !index.continues_from_previous);
                start = document.end;
            }
        }
        if open.is_some_and(|open| open.is_some()) {
            self.fault(
                MANIFEST,
                format!("the last document of split {} has no end", split.name()),
            );
        }
        if !all_read {
            return;
        }
        for (dataset, found) in build.manifest.datasets.iter().zip(found) {
            let listed = dataset.splits.get(&split).copied().unwrap_or_default();
            if (listed.tokens, listed.documents) != (found.tokens, found.documents) {
                let fault = format!(
                    "dataset {} has {} tokens in {} documents in split {}, the shards {} in {}",
                    dataset.name,
                    listed.tokens,
                    listed.documents,
                    split.name(),
                    found.tokens,
                    found.documents
                );
                self.fault(MANIFEST, fault);
            }
        }
    }
}

/// Decodes all of a shard; whether each document that ends in it does so with the end of text.
fn documents_end_with_end_of_text(shard: &ShardReader) -> Result<bool> {
    let index = shard.index();
    let whole = index.documents.len() - usize::from(index.continues_in_next);
    let mut ends = index.documents[..whole]
        .iter()
        .map(|document| document.end - 1)
        .peekable();
    let mut ends_well = true;
    let mut first = 0;
    for frame in 0..shard.frames() {
        let ids = shard.frame(frame)?;
        let next = first + ids.len() as u64;
        while let Some(last) = ends.next_if(|last| *last < next) {
            let place = usize::try_from(last - first).expect("a frame is held in memory");
            ends_well &= ids[place] == index.end_of_text;
        }
        first = next;
    }
    Ok(ends_well)
}

fn size(file: &Path) -> Result<u64> {
    match fs::metadata(file) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(FormatError::Missing {
            file: file.to_path_buf(),
        }),
        Err(error) => Err(FormatError::io(file)(error)),
    }
}

fn check_size(file: &Path, listed: Option<u64>) -> Result<()> {
    let found = size(file)?;
    match listed {
        Some(listed) if listed != found => Err(FormatError::Size {
            file: file.to_path_buf(),
            found,
            listed,
        }),
        _ => Ok(()),
    }
}

/// Hashes a file; how long it is.
pub(crate) fn check_content(path: &Path, listed: &str) -> Result<u64> {
    let mut file = fs::File::open(path).map_err(FormatError::io(path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 20];
    let mut bytes = 0;
    loop {
        match file.read(&mut buffer).map_err(FormatError::io(path))? {
            0 => break,
            n => {
                bytes += n as u64;
                hash.update(&buffer[..n]);
            }
        }
    }
    let found = hex(&hash.finalize());
    if found == listed {
        Ok(bytes)
    } else {
        Err(FormatError::Content {
            file: path.to_path_buf(),
            found,
            listed: listed.to_owned(),
        })
    }
}
