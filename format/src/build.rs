//! A build's folder: opening it, and checking every byte of it.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{FormatError, Result};
use crate::manifest::{Manifest, ShardEntry, Split, hex, unhex};
use crate::reader::ShardReader;

/// An open build: its manifest, checked, and the certainty that its files are there with the right sizes.
#[derive(Debug, Clone)]
pub struct Build {
    folder: PathBuf,
    manifest: Manifest,
    tokenizer_sha256: [u8; 32],
}

impl Build {
    /// Opens a build. Costs one look a file; no shard is read.
    pub fn open(folder: &Path) -> Result<Self> {
        let file = folder.join("manifest.json");
        let bytes = fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => FormatError::Missing { file: file.clone() },
            _ => FormatError::Io {
                file: file.clone(),
                error,
            },
        })?;
        let manifest = Manifest::parse(&file, &bytes)?;
        let no_hash = || FormatError::Manifest {
            file: file.clone(),
            what: "the tokenizer's sha256 is none".to_owned(),
        };
        let tokenizer_sha256 = unhex(&manifest.tokenizer.sha256).ok_or_else(no_hash)?;
        let build = Self {
            folder: folder.to_path_buf(),
            manifest,
            tokenizer_sha256,
        };
        for (name, bytes, _) in build.files() {
            let file = build.inside(name)?;
            let found = size(&file)?;
            if bytes.is_some_and(|listed| listed != found) {
                return Err(FormatError::Size {
                    file,
                    found,
                    listed: bytes.unwrap_or(0),
                });
            }
        }
        Ok(build)
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

    /// Every file the manifest lists: its name, and size and sha256 where they are given.
    fn files(&self) -> Vec<(&str, Option<u64>, &str)> {
        let manifest = &self.manifest;
        let shards = manifest.splits.values().flat_map(|entry| &entry.shards);
        let mut files: Vec<(&str, Option<u64>, &str)> = vec![(
            manifest.tokenizer.file.as_str(),
            None,
            manifest.tokenizer.sha256.as_str(),
        )];
        files.extend(shards.map(|s| (s.file.as_str(), Some(s.bytes), s.sha256.as_str())));
        files.extend(
            manifest
                .tables
                .iter()
                .map(|t| (t.path.as_str(), Some(t.bytes), t.sha256.as_str())),
        );
        files
    }

    /// A file of the build's folder; a name that leads elsewhere is refused.
    fn inside(&self, name: &str) -> Result<PathBuf> {
        let plain =
            !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', '\0']);
        if plain {
            Ok(self.folder.join(name))
        } else {
            let file = self.folder.join("manifest.json");
            Err(FormatError::Manifest {
                file,
                what: format!("{name:?} is no name of a file in the build's folder"),
            })
        }
    }
}

fn size(file: &Path) -> Result<u64> {
    match fs::metadata(file) {
        Ok(meta) => Ok(meta.len()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(FormatError::Missing {
            file: file.to_path_buf(),
        }),
        Err(error) => Err(FormatError::Io {
            file: file.to_path_buf(),
            error,
        }),
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

/// Reads every byte of a build and checks it against the manifest, telling `each` as it goes. Faults are collected; the
/// error is for a folder that is no build at all.
pub fn verify(folder: &Path, each: &mut dyn FnMut(VerifyEvent)) -> Result<VerifyReport> {
    let file = folder.join("manifest.json");
    let bytes = fs::read(&file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FormatError::Missing { file: file.clone() },
        _ => FormatError::Io {
            file: file.clone(),
            error,
        },
    })?;
    let mut report = VerifyReport::default();
    let mut fault = |report: &mut VerifyReport, name: &str, fault: String| {
        report.faults.push((name.to_owned(), fault.clone()));
        each(VerifyEvent::Fault {
            file: name.to_owned(),
            fault,
        });
    };
    let manifest = match Manifest::parse(&file, &bytes) {
        Ok(manifest) => manifest,
        Err(error) => {
            fault(&mut report, "manifest.json", error.to_string());
            return Ok(report);
        }
    };
    report.root.clone_from(&manifest.root);
    report.files = 1;
    report.bytes = bytes.len() as u64;
    let tokenizer_sha256 = unhex(&manifest.tokenizer.sha256).unwrap_or_default();
    let build = Build {
        folder: folder.to_path_buf(),
        manifest,
        tokenizer_sha256,
    };
    let mut known: BTreeSet<String> = ["manifest.json".to_owned()].into();
    for (name, listed_bytes, listed) in build.files() {
        known.insert(name.to_owned());
        let checked = build
            .inside(name)
            .and_then(|path| check_content(&path, listed_bytes, listed));
        match checked {
            Ok(bytes) => {
                report.files += 1;
                report.bytes += bytes;
            }
            Err(error) => fault(&mut report, name, error.to_string()),
        }
    }
    for (split, entry) in &build.manifest.splits {
        let mut documents = 0;
        let mut goes_on = false;
        for (number, shard) in entry.shards.iter().enumerate() {
            let opened = build.shard(*split, number).and_then(|reader| {
                reader.verify()?;
                Ok(reader)
            });
            match opened {
                Err(error) => fault(&mut report, &shard.file, error.to_string()),
                Ok(reader) => {
                    let index = reader.index();
                    report.tokens += index.tokens;
                    documents +=
                        index.documents.len() as u64 - u64::from(index.continues_from_previous);
                    if index.continues_from_previous != goes_on {
                        fault(
                            &mut report,
                            &shard.file,
                            "its first document does not continue the shard before it".to_owned(),
                        );
                    }
                    goes_on = index.continues_in_next;
                }
            }
        }
        if goes_on || documents != entry.documents {
            fault(
                &mut report,
                "manifest.json",
                format!(
                    "split {} has {} documents, its shards {documents}",
                    split.name(),
                    entry.documents
                ),
            );
        }
    }
    for entry in fs::read_dir(folder).map_err(FormatError::io(folder))? {
        let name = entry
            .map_err(FormatError::io(folder))?
            .file_name()
            .to_string_lossy()
            .into_owned();
        if !known.contains(&name) {
            fault(
                &mut report,
                &name,
                FormatError::Stray {
                    file: folder.join(&name),
                }
                .to_string(),
            );
        }
    }
    Ok(report)
}

fn check_content(path: &Path, listed_bytes: Option<u64>, listed: &str) -> Result<u64> {
    let found = size(path)?;
    if let Some(listed) = listed_bytes.filter(|listed| *listed != found) {
        return Err(FormatError::Size {
            file: path.to_path_buf(),
            found,
            listed,
        });
    }
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
