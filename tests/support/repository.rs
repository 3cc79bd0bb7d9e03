//! A repository as the hub sees it: paths, contents and the ids that git and LFS give them.

use fs_err as fs;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Files over this size are LFS files, as on the hub where `.gitattributes` does not say otherwise sooner.
const LFS_BYTES: u64 = 1_000_000;

/// Where bytes come from.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes in memory.
    Memory(Arc<[u8]>),
    /// A file that does not change while it is served.
    File(PathBuf),
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub struct RemoteEntry {
    /// Its bytes.
    pub content: Content,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content in hexadecimal.
    pub sha256: String,
    /// Git's id of the content.
    pub git_sha1: String,
    /// True where git holds a pointer and the storage the content.
    pub is_lfs: bool,
}

impl RemoteEntry {
    /// A file with its ids.
    ///
    /// # Errors
    /// Where the content cannot be read.
    pub fn new(content: Content) -> io::Result<Self> {
        let mut reader: Box<dyn Read + '_> = match &content {
            Content::Memory(bytes) => Box::new(&bytes[..]),
            Content::File(path) => Box::new(fs::File::open(path)?),
        };
        let bytes = match &content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File(path) => fs::metadata(path)?.len(),
        };
        let mut sha256 = Sha256::new();
        let mut sha1 = Sha1::new().chain_update(format!("blob {bytes}\0"));
        let mut buffer = vec![0; 64 * 1024];
        let mut first = true;
        let mut is_binary = false;
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            // Git's own test of what is binary: a zero byte near the beginning.
            is_binary |= first && buffer[..read.min(8000)].contains(&0);
            first = false;
            sha256.update(&buffer[..read]);
            sha1.update(&buffer[..read]);
        }
        drop(reader);
        let (sha256, git_sha1) = (hex(&sha256.finalize()), hex(&sha1.finalize()));
        Ok(Self {
            content,
            bytes,
            sha256,
            git_sha1,
            is_lfs: is_binary || bytes > LFS_BYTES,
        })
    }

    /// What git holds of an LFS file.
    #[must_use]
    pub fn pointer(&self) -> String {
        format!(
            "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n",
            self.sha256, self.bytes
        )
    }

    /// Id of what git holds: the content, or the pointer of an LFS file.
    #[must_use]
    pub fn oid(&self) -> String {
        if !self.is_lfs {
            return self.git_sha1.clone();
        }
        let pointer = self.pointer();
        hex(&Sha1::new()
            .chain_update(format!("blob {}\0", pointer.len()))
            .chain_update(pointer)
            .finalize())
    }
}

/// One commit of a repository. The commit's id is derived from the files' paths and contents.
#[derive(Clone, Debug)]
pub struct Repository {
    /// `owner/name`, or `models/owner/name` of a model.
    pub id: String,
    /// Commit, 40 hexadecimal digits.
    pub commit: String,
    /// Files by path.
    pub files: BTreeMap<String, RemoteEntry>,
}

impl Repository {
    /// A repository from contents in memory.
    #[must_use]
    pub fn from_files<'a>(id: &str, files: impl IntoIterator<Item = (&'a str, Vec<u8>)>) -> Self {
        let entry = |bytes: Vec<u8>| {
            RemoteEntry::new(Content::Memory(bytes.into())).expect("memory can be read")
        };
        Self::from_entries(
            id,
            files
                .into_iter()
                .map(|(path, bytes)| (path.to_owned(), entry(bytes)))
                .collect(),
        )
    }

    /// A repository from the files below a folder.
    ///
    /// # Errors
    /// Where a file cannot be read or a name is not Unicode.
    pub fn open(id: &str, folder: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(next)? {
                let path = entry?.path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let below = path.strip_prefix(folder).ok().and_then(Path::to_str);
                let below = below.ok_or_else(|| {
                    io::Error::other(format!("{}: the name is not Unicode", path.display()))
                })?;
                files.insert(
                    below.to_owned(),
                    RemoteEntry::new(Content::File(path.clone()))?,
                );
            }
        }
        Ok(Self::from_entries(id, files))
    }

    /// Every `<owner>/<name>` below a folder, and every `models/<owner>/<name>`, by id.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn open_all(root: &Path) -> io::Result<Vec<Self>> {
        let folders = |folder: &Path| -> io::Result<Vec<(String, PathBuf)>> {
            let mut found = Vec::new();
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if let (true, Ok(name)) = (entry.path().is_dir(), entry.file_name().into_string()) {
                    found.push((name, entry.path()));
                }
            }
            found.sort();
            Ok(found)
        };
        let mut all = Vec::new();
        for (owner, folder) in folders(root)? {
            for (name, folder) in folders(&folder)? {
                if owner != "models" {
                    all.push(Self::open(&format!("{owner}/{name}"), &folder)?);
                    continue;
                }
                for (model, folder) in folders(&folder)? {
                    all.push(Self::open(&format!("models/{name}/{model}"), &folder)?);
                }
            }
        }
        Ok(all)
    }

    /// A repository whose listing has `files` files of a large dataset's names, all small.
    #[must_use]
    pub fn of_many_files(id: &str, files: usize) -> Self {
        let number =
            |i: usize| u64::try_from(i).map_or(0, |i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let named = (0..files).map(|i| {
            let content = format!("{{\"text\": \"Row of file {i}.\"}}\n").into_bytes();
            let path = format!("data/train-{i:05}-of-{files:05}-{:016x}.jsonl", number(i));
            let entry = RemoteEntry::new(Content::Memory(content.into()));
            (path, entry.expect("memory can be read"))
        });
        Self::from_entries(id, named.collect())
    }

    /// The branch `refs/convert/parquet` as the hub makes it for every dataset: `<config>/<split>/0000.parquet`. `None` where
    /// there is no parquet file to make it of.
    #[must_use]
    pub fn converted(&self) -> Option<Self> {
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        let mut files = BTreeMap::new();
        for (path, entry) in &self.files {
            let Some(stem) = path.strip_suffix(".parquet") else {
                continue;
            };
            let (folder, name) = stem.rsplit_once('/').unwrap_or(("default", stem));
            let config = if folder == "data" { "default" } else { folder };
            let split = name.split_once("-0").map_or(name, |(split, _)| split);
            let folder = format!("{config}/{split}");
            let number = numbers.entry(folder.clone()).or_default();
            files.insert(format!("{folder}/{number:04}.parquet"), entry.clone());
            *number += 1;
        }
        (!files.is_empty()).then(|| Self::from_entries(&self.id, files))
    }

    /// A repository of files that are described already.
    #[must_use]
    pub fn from_entries(id: &str, files: BTreeMap<String, RemoteEntry>) -> Self {
        let mut commit = Sha1::new().chain_update(id);
        for (path, entry) in &files {
            commit.update(format!("\0{path}\0{}", entry.git_sha1));
        }
        Self {
            id: id.to_owned(),
            commit: hex(&commit.finalize()),
            files,
        }
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
