//! The hub's own cache layout, as the Python library documents it ("Understand caching"), so that one copy serves every
//! client on the machine:
//!
//! ```text
//! <cache>/datasets--owner--name/
//!     blobs/<sha256 or git sha1>             content, named by its hash
//!     blobs/<hash>.incomplete                what has come so far; <hash>.etag beside it is the storage's own tag
//!     snapshots/<commit>/<path>              relative link into blobs
//!     refs/<revision>                        the commit a branch or tag stood for when last asked
//!     trees/<commit>.json                    the commit's whole listing, so that offline runs know what they lack
//! <cache>/.locks/datasets--owner--name/<hash>.lock
//! ```
//!
//! Locks are kernel locks (`flock`), so none outlives its process; the Python library takes the same ones.

use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::TryLockError;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::download::pause;
use super::hash::{ContentHash, Expected, pointer_git_sha1};
use super::name::is_hex;
use super::{Commit, FetchError, RemoteFile, RepoId};

/// Largest listing that is read back, in bytes: two million files.
const MAX_LISTING_BYTES: u64 = 1 << 30;
/// Deepest folder that is searched when a snapshot of another client is listed.
const MAX_DEPTH: usize = 64;

/// The one version of `trees/*.json` there is (`_tree_cache.py` of the Python library).
const TREE_VERSION: u32 = 1;

/// A kept listing. What other clients add to an entry is not ours to refuse.
#[derive(Serialize, Deserialize)]
struct Tree {
    format_version: u32,
    files: BTreeMap<String, TreeEntry>,
}

#[derive(Serialize, Deserialize)]
struct TreeEntry {
    size: u64,
    blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lfs_size: Option<u64>,
}

/// The folder of one repository in the cache.
pub(super) struct RepoCache<'a> {
    repo: &'a RepoId,
    folder: PathBuf,
    locks: PathBuf,
}

/// Held until dropped.
pub(super) struct Lock {
    _file: fs::File,
}

/// Where one content is kept, whole or not.
pub(super) struct Slot {
    /// Folder of the contents.
    pub folder: PathBuf,
    /// Folder of the locks.
    pub locks: PathBuf,
    /// Name of the content.
    pub id: String,
}

impl Slot {
    /// The whole content.
    pub(super) fn blob(&self) -> PathBuf {
        self.folder.join(&self.id)
    }

    /// What has come of it.
    pub(super) fn incomplete(&self) -> PathBuf {
        self.folder.join(format!("{}.incomplete", self.id))
    }

    /// The server's tag of what has come.
    pub(super) fn tag(&self) -> PathBuf {
        self.folder.join(format!("{}.etag", self.id))
    }

    /// The hash that the content had when it came, where none was promised.
    pub(super) fn learned(&self) -> PathBuf {
        self.folder.join(format!("{}.sha256", self.id))
    }

    /// Bytes of a file of this size that are not here yet. Looks at sizes alone.
    pub(super) fn missing(&self, bytes: u64) -> u64 {
        let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
        let here = length(&self.blob()).max(length(&self.incomplete()));
        bytes.saturating_sub(here)
    }

    /// Waits for the one copy of the content; `waiting` is called if somebody else holds it.
    pub(super) fn lock(
        &self,
        stop: &AtomicBool,
        waiting: impl FnOnce(),
    ) -> Result<Lock, FetchError> {
        fs::create_dir_all(&self.locks).map_err(FetchError::io("make the folder for locks"))?;
        let path = self.locks.join(format!("{}.lock", self.id));
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        let file = file.map_err(FetchError::io("open a lock"))?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    // Asked again and again, since a wait in the kernel could not be interrupted.
                    pause(Duration::from_millis(50), stop)?;
                }
                // A file system without locks costs work, not correctness: what is published was hashed.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Lock { _file: file });
                }
                Err(TryLockError::Error(error)) => {
                    return Err(FetchError::io("take a lock")(error));
                }
            }
        }
    }
}

impl<'a> RepoCache<'a> {
    pub(super) fn new(cache: &Path, repo: &'a RepoId) -> Self {
        let name = repo.folder();
        Self {
            repo,
            folder: cache.join(&name),
            locks: cache.join(".locks").join(name),
        }
    }

    /// Where a content of the repository is.
    pub(super) fn slot(&self, etag: &str) -> Slot {
        Slot {
            folder: self.blobs(),
            locks: self.locks.clone(),
            id: etag.to_owned(),
        }
    }

    pub(super) fn pointer(&self, commit: &Commit, path: &str) -> PathBuf {
        self.folder
            .join("snapshots")
            .join(commit.as_str())
            .join(path)
    }

    fn blobs(&self) -> PathBuf {
        self.folder.join("blobs")
    }

    /// Gives a blob its name in a snapshot, as a relative link. The lock of the blob is held.
    pub(super) fn link(
        &self,
        commit: &Commit,
        path: &str,
        etag: &str,
    ) -> Result<PathBuf, FetchError> {
        let pointer = self.pointer(commit, path);
        let up = "../".repeat(path.split('/').count() + 1);
        let target = PathBuf::from(format!("{up}blobs/{etag}"));
        if fs::read_link(&pointer).is_ok_and(|present| present == target) {
            return Ok(pointer);
        }
        let parent = pointer.parent().expect("a pointer lies in its snapshot");
        fs::create_dir_all(parent).map_err(FetchError::io("make the folder of a snapshot"))?;
        let aside = self.blobs().join(format!("{etag}.link"));
        remove(&aside)?;
        fs::os::unix::fs::symlink(&target, &aside)
            .map_err(FetchError::io("make a link in the cache"))?;
        fs::rename(&aside, &pointer).map_err(FetchError::io("publish a link in the cache"))?;
        sync_folder(parent)?;
        Ok(pointer)
    }

    pub(super) fn read_ref(&self, revision: &str) -> Result<Option<Commit>, FetchError> {
        match read_capped(&self.folder.join("refs").join(revision), 256) {
            Ok(text) => String::from_utf8_lossy(&text).trim().parse().map(Some),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(FetchError::io("read a reference in the cache")(error)),
        }
    }

    pub(super) fn write_ref(&self, revision: &str, commit: &Commit) -> Result<(), FetchError> {
        let path = self.folder.join("refs").join(revision);
        if self
            .read_ref(revision)
            .is_ok_and(|present| present.as_ref() == Some(commit))
        {
            return Ok(());
        }
        write_aside(&path, commit.as_str().as_bytes())
    }

    /// Keeps a whole listing, unless one is there: another client's may know more of each file than we do.
    pub(super) fn write_listing(
        &self,
        commit: &Commit,
        files: &[RemoteFile],
    ) -> Result<(), FetchError> {
        if self.read_tree(commit)?.is_some() {
            return Ok(());
        }
        // Without it the Python library takes the folder for a damaged cache.
        fs::create_dir_all(self.folder.join("snapshots"))
            .map_err(FetchError::io("make the folder of snapshots"))?;
        let entry = |file: &RemoteFile| TreeEntry {
            size: file.bytes,
            blob_id: file.git_sha1.clone(),
            lfs_sha256: file.sha256.clone(),
            lfs_size: file.sha256.as_ref().map(|_| file.bytes),
        };
        let files = files
            .iter()
            .map(|file| (file.path.clone(), entry(file)))
            .collect();
        let tree = Tree {
            format_version: TREE_VERSION,
            files,
        };
        let text = serde_json::to_vec_pretty(&tree)
            .map_err(|error| FetchError::io("write a listing")(error.into()))?;
        write_aside(&self.tree(commit), &text)
    }

    fn read_tree(&self, commit: &Commit) -> Result<Option<Vec<RemoteFile>>, FetchError> {
        let text = match read_capped(&self.tree(commit), MAX_LISTING_BYTES) {
            Ok(text) => text,
            Err(error) if absent(&error) => return Ok(None),
            Err(error) => return Err(FetchError::io("read a listing in the cache")(error)),
        };
        // As the library does, a damaged or newer one counts as absent: it can be had again.
        let tree = serde_json::from_slice::<Tree>(&text)
            .ok()
            .filter(|tree| tree.format_version == TREE_VERSION);
        let file = |(path, entry): (String, TreeEntry)| RemoteFile {
            path,
            bytes: entry.lfs_size.unwrap_or(entry.size),
            sha256: entry.lfs_sha256,
            git_sha1: entry.blob_id,
        };
        Ok(tree.map(|tree| tree.files.into_iter().map(file).collect()))
    }

    /// The listing that this or another client kept, or else the files of the snapshot that another client left, sorted.
    pub(super) fn read_listing(
        &self,
        commit: &Commit,
    ) -> Result<Option<Vec<RemoteFile>>, FetchError> {
        if let Some(files) = self.read_tree(commit)? {
            return Ok(Some(files));
        }
        let root = self.folder.join("snapshots").join(commit.as_str());
        let mut files = Vec::new();
        let mut folders = vec![(root.clone(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match fs::read_dir(&folder) {
                Ok(entries) => entries,
                Err(error) if absent(&error) && depth == 0 => return Ok(None),
                Err(error) => return Err(FetchError::io("list a snapshot in the cache")(error)),
            };
            for entry in entries {
                let entry = entry.map_err(FetchError::io("list a snapshot in the cache"))?;
                let kind = entry
                    .file_type()
                    .map_err(FetchError::io("list a snapshot in the cache"))?;
                if kind.is_dir() && depth < MAX_DEPTH {
                    folders.push((entry.path(), depth + 1));
                } else if !kind.is_dir() {
                    files.extend(
                        describe(&root, &entry.path())
                            .map_err(FetchError::io("read a file in the cache"))?,
                    );
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        for file in &files {
            super::check_path(self.repo, &file.path)?;
        }
        Ok((!files.is_empty()).then_some(files))
    }

    fn tree(&self, commit: &Commit) -> PathBuf {
        self.folder.join("trees").join(format!("{commit}.json"))
    }
}

/// Describes a file of a snapshot by the name of its blob; a dangling link or a name outside Unicode is no file of ours.
fn describe(root: &Path, pointer: &Path) -> io::Result<Option<RemoteFile>> {
    let Ok(below) = pointer.strip_prefix(root) else {
        return Ok(None);
    };
    let parts: Option<Vec<&str>> = below
        .components()
        .map(|part| {
            if let Component::Normal(part) = part {
                part.to_str()
            } else {
                None
            }
        })
        .collect();
    let Some(parts) = parts else { return Ok(None) };
    let bytes = match fs::metadata(pointer) {
        Ok(metadata) if metadata.is_file() => metadata.len(),
        Ok(_) => return Ok(None),
        Err(error) if absent(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let blob = fs::read_link(pointer).ok();
    let blob = blob
        .as_deref()
        .and_then(Path::file_name)
        .and_then(|name| name.to_str())
        .unwrap_or("");
    let mut file = RemoteFile {
        path: parts.join("/"),
        bytes,
        sha256: None,
        git_sha1: blob.to_owned(),
    };
    if is_hex(blob, 64) {
        file.sha256 = Some(blob.to_owned());
        file.git_sha1 = pointer_git_sha1(blob, bytes);
    } else if !is_hex(blob, 40) {
        // A copy in place of a link, as on systems without them.
        let mut hash = ContentHash::new(&Expected::of(String::new(), &file));
        hash.update_from(fs::File::open(pointer)?, bytes)?;
        file.git_sha1 = hash.finish();
    }
    Ok(Some(file))
}

/// True where nothing is at a path, its folders included.
pub(super) fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Removes a file that may be absent.
pub(super) fn remove(path: &Path) -> Result<(), FetchError> {
    match fs::remove_file(path) {
        Err(error) if !absent(&error) => Err(FetchError::io("remove a file of the cache")(error)),
        _ => Ok(()),
    }
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), FetchError> {
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(FetchError::io("sync a folder of the cache"))
}

/// Bytes that may still be written below `folder`, which exists.
///
/// # Errors
/// [`FetchError::Io`] where the file system does not say.
pub fn free_bytes(folder: &Path) -> Result<u64, FetchError> {
    let disk = rustix::fs::statvfs(folder)
        .map_err(|error| FetchError::io("ask for the free space of the cache")(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn read_capped(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path)?
        .take(limit + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let message = format!("{} is larger than {limit} bytes; remove it", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

/// Reads a small file that may be absent.
pub(super) fn read_small(path: &Path) -> Option<String> {
    String::from_utf8(read_capped(path, 1024).ok()?).ok()
}

/// Writes a small file under a name of this process, syncs it and renames it, so that no reader sees half of it.
pub(super) fn write_aside(path: &Path, bytes: &[u8]) -> Result<(), FetchError> {
    let failed = || FetchError::io("write a file of the cache");
    let parent = path.parent().expect("a file of the cache lies in a folder");
    fs::create_dir_all(parent).map_err(failed())?;
    let aside = tempfile_in(parent);
    let written = fs::write(&aside, bytes)
        .and_then(|()| fs::File::open(&aside)?.sync_all())
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        remove(&aside)?;
    }
    written.map_err(failed())
}

/// A name that no other process or thread uses. Never part of what is published.
fn tempfile_in(folder: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!(".{}-{number}.aside", std::process::id()))
}
