//! The work folder: outputs of tasks, each proved by a receipt.
//!
//! A task writes its output aside, syncs it, moves it to a name made of its key and then creates the receipt, which
//! lists the output's size and sha256. The receipt is the only mark of completion. The key is a hash of everything that
//! can change the output, so a receipt that is there is true, whoever wrote it and when; a changed option gives another
//! key. Nothing here is ever edited.
//!
//! ```text
//! work/lock                                  held by the one process that builds
//! work/attempts/<n>                          being written; worthless after a crash
//! work/<stage>/<2 digits>/<key>.data         an output
//! work/<stage>/<2 digits>/<key>.json         its receipt
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

use fs_err::File;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::digest::Digest;
use crate::progress::Stage;

/// Why an intermediate could not be written or used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process builds in this folder.
    #[error(
        "{folder} is in use by another run (process {owner}); wait for it, or name another folder with --work"
    )]
    Busy {
        /// The work folder.
        folder: PathBuf,
        /// What the lock says of its owner.
        owner: String,
    },
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Bytes are not what was written.
    #[error("{file} is damaged ({what}); remove it with `andromeda gc --all --yes` and run again")]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Two runs of one task gave different bytes.
    #[error(
        "task {key} of stage {stage} gave other bytes than before: the build is not deterministic, please report it"
    )]
    NotDeterministic {
        /// The stage.
        stage: &'static str,
        /// The task.
        key: Digest,
    },
}

impl StoreError {
    /// Whether the disk is full or the like: the same command may succeed later.
    pub fn is_retriable(&self) -> bool {
        matches!(self, Self::Io(_))
    }
}

/// Proof that a task is done.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Stage of the task.
    pub stage: String,
    /// Key of the task.
    pub key: Digest,
    /// Bytes of the output.
    pub bytes: u64,
    /// sha256 of the output.
    pub sha256: Digest,
    /// Counters: a function of the inputs alone.
    pub counters: serde_json::Value,
    /// Seconds of processor time by part: for people, and in nothing that is hashed.
    pub seconds: BTreeMap<String, f64>,
}

/// An open work folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Held for its lock.
    _lock: File,
    next: AtomicU64,
    used: Mutex<BTreeSet<(&'static str, Digest)>>,
    /// Tasks that a thread is just committing. Equal inputs make equal tasks, so two threads may be at one of them.
    committing: Mutex<BTreeSet<(&'static str, Digest)>>,
    committed: Condvar,
}

impl Store {
    /// Opens the folder, takes its lock and clears what a dead run left behind.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        fs_err::create_dir_all(root)?;
        let lock = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(root.join("lock"))?;
        // The kernel drops the lock with the process, however it dies.
        let take = || {
            let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
            rustix::fs::flock(lock.file(), exclusive).is_ok()
        };
        // Whoever asks for the owner holds the lock for an instant; only one that stays held is a run.
        let taken = take()
            || (0..5).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                take()
            });
        if !taken {
            let owner = fs_err::read_to_string(root.join("lock")).unwrap_or_default();
            return Err(StoreError::Busy {
                folder: root.to_path_buf(),
                owner: owner.trim().to_owned(),
            });
        }
        let mut lock = lock;
        lock.set_len(0)?;
        lock.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        let store = Self {
            root: root.to_path_buf(),
            _lock: lock,
            next: AtomicU64::new(0),
            used: Mutex::default(),
            committing: Mutex::default(),
            committed: Condvar::new(),
        };
        let attempts = store.root.join("attempts");
        if attempts.exists() {
            fs_err::remove_dir_all(&attempts)?;
        }
        fs_err::create_dir_all(&attempts)?;
        store.sweep()?;
        Ok(store)
    }

    /// Removes outputs that have no receipt and files that never got their name: their writer was killed before.
    fn sweep(&self) -> Result<(), StoreError> {
        let mut found: Vec<PathBuf> = self.objects()?.into_iter().map(|(path, _)| path).collect();
        for folder in [self.root.clone(), self.root.join("builds")] {
            found.extend(
                fs_err::read_dir(folder)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            );
        }
        for path in found {
            let is = |extension: &str| path.extension().is_some_and(|e| e == extension);
            if is("part") || (is("data") && !path.with_extension("json").exists()) {
                fs_err::remove_file(&path)?;
            }
        }
        Ok(())
    }

    /// Removes a task's receipt and output, so that it is done again.
    pub fn forget(&self, stage: Stage, key: Digest) -> Result<(), StoreError> {
        fs_err::remove_file(self.path(stage, key, "json"))?;
        Ok(fs_err::remove_file(self.data(stage, key))?)
    }

    /// Every output and receipt in the folder, with its stage's name.
    pub fn objects(&self) -> Result<Vec<(PathBuf, String)>, StoreError> {
        objects(&self.root)
    }

    /// The work folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, stage: Stage, key: Digest, extension: &str) -> PathBuf {
        data_path(&self.root, stage, key).with_extension(extension)
    }

    /// Where the output of a task is.
    pub fn data(&self, stage: Stage, key: Digest) -> PathBuf {
        self.path(stage, key, "data")
    }

    /// The receipt of a task, if it is done.
    pub fn receipt(&self, stage: Stage, key: Digest) -> Result<Option<Receipt>, StoreError> {
        let path = self.path(stage, key, "json");
        let bytes = match fs_err::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let receipt: Receipt =
            serde_json::from_slice(&bytes).map_err(|error| StoreError::Damaged {
                file: path.clone(),
                what: error.to_string(),
            })?;
        let data = self.data(stage, key);
        let there = fs_err::metadata(&data).map(|m| m.len()).ok();
        if receipt.key != key || receipt.stage != stage.name() || there != Some(receipt.bytes) {
            return Err(StoreError::Damaged {
                file: data,
                what: "its receipt does not fit it".to_owned(),
            });
        }
        self.mark(stage, key);
        Ok(Some(receipt))
    }

    fn mark(&self, stage: Stage, key: Digest) {
        self.used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert((stage.name(), key));
    }

    /// The tasks that this process asked for or did: what a build needs of the folder.
    pub fn used(&self) -> Vec<(String, Digest)> {
        let used = self
            .used
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        used.iter()
            .map(|(stage, key)| ((*stage).to_owned(), *key))
            .collect()
    }

    /// Begins to write the output of a task.
    pub fn attempt(&self) -> Result<Attempt, StoreError> {
        let path = self
            .root
            .join("attempts")
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create(&path)?;
        Ok(Attempt {
            file,
            path,
            sha256: sha2::Digest::new(),
            bytes: 0,
        })
    }

    /// A file without a name, for what is needed during this run alone.
    pub fn scratch(&self) -> Result<std::fs::File, StoreError> {
        let path = self
            .root
            .join("attempts")
            .join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = fs_err::OpenOptions::new()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)?;
        fs_err::remove_file(&path)?;
        Ok(file.into_file())
    }

    /// Commits an attempt: from here on the task is done.
    pub fn commit(
        &self,
        stage: Stage,
        key: Digest,
        attempt: Attempt,
        counters: &impl Serialize,
        seconds: BTreeMap<String, f64>,
    ) -> Result<Receipt, StoreError> {
        let counters = serde_json::to_value(counters).expect("counters are plain data");
        let Attempt {
            file,
            path,
            sha256,
            bytes,
        } = attempt;
        file.sync_all()?;
        drop(file);
        let sha256 = Digest(sha2::Digest::finalize(sha256).into());
        let receipt = Receipt {
            stage: stage.name().to_owned(),
            key,
            bytes,
            sha256,
            counters,
            seconds,
        };
        let _turn = Turn::take(self, stage, key);
        let data = self.data(stage, key);
        let folder = data
            .parent()
            .expect("every output is in a folder of its stage");
        fs_err::create_dir_all(folder)?;
        if let Some(there) = self.receipt(stage, key)? {
            fs_err::remove_file(&path)?;
            return if there.sha256 == sha256 {
                Ok(there)
            } else {
                Err(StoreError::NotDeterministic {
                    stage: stage.name(),
                    key,
                })
            };
        }
        fs_err::rename(&path, &data)?;
        File::open(folder)?.sync_all()?;
        let text = serde_json::to_vec(&receipt).expect("a receipt is plain data");
        andromeda_format::write_atomic(&data.with_extension("json"), &text)
            .map_err(std::io::Error::other)?;
        self.mark(stage, key);
        Ok(receipt)
    }
}

/// The right to commit a task, until it is dropped.
struct Turn<'a> {
    store: &'a Store,
    task: (&'static str, Digest),
}

impl<'a> Turn<'a> {
    /// Waits until nobody else is committing the task.
    fn take(store: &'a Store, stage: Stage, key: Digest) -> Self {
        let task = (stage.name(), key);
        let tasks = store
            .committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut tasks = store
            .committed
            .wait_while(tasks, |tasks| tasks.contains(&task))
            .unwrap_or_else(PoisonError::into_inner);
        tasks.insert(task);
        Self { store, task }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.store
            .committing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.task);
        self.store.committed.notify_all();
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What a failed run was writing gives its room back; what cannot be removed now is removed by the next run.
        for entry in fs_err::read_dir(self.root.join("attempts"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let _ = fs_err::remove_file(entry.path());
        }
    }
}

/// Where the output of a task is in the work folder `root`.
pub fn data_path(root: &Path, stage: Stage, key: Digest) -> PathBuf {
    let name = key.hex();
    let folder = root.join(stage.name()).join(&name[..2]);
    folder.join(format!("{name}.data"))
}

/// Process id of whoever builds in a work folder now.
pub fn owner(root: &Path) -> Option<String> {
    let lock = File::open(root.join("lock")).ok()?;
    let free = rustix::fs::flock(
        lock.file(),
        rustix::fs::FlockOperation::NonBlockingLockShared,
    )
    .is_ok();
    if free {
        None
    } else {
        Some(
            fs_err::read_to_string(root.join("lock"))
                .ok()?
                .trim()
                .to_owned(),
        )
    }
}

/// What one stage's outputs weigh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// The stage.
    pub stage: String,
    /// Finished tasks.
    pub tasks: u64,
    /// Bytes of their outputs.
    pub bytes: u64,
}

/// What the outputs in a work folder weigh, by stage. Takes no lock.
pub fn usage(root: &Path) -> Result<Vec<Usage>, StoreError> {
    let mut by_stage: BTreeMap<String, Usage> = BTreeMap::new();
    for (path, stage) in objects(root)? {
        let entry = by_stage.entry(stage.clone()).or_insert(Usage {
            stage,
            tasks: 0,
            bytes: 0,
        });
        entry.tasks += u64::from(path.extension().is_some_and(|e| e == "json"));
        // A running build may move a file between the listing and this look.
        entry.bytes += fs_err::metadata(&path).map_or(0, |m| m.len());
    }
    Ok(by_stage.into_values().collect())
}

fn objects(root: &Path) -> Result<Vec<(PathBuf, String)>, StoreError> {
    let mut found = Vec::new();
    for stage in [
        Stage::Extract,
        Stage::Resolve,
        Stage::Trim,
        Stage::Tokenize,
        Stage::Shards,
    ] {
        let folder = root.join(stage.name());
        if !folder.exists() {
            continue;
        }
        for part in fs_err::read_dir(&folder)? {
            for entry in fs_err::read_dir(part?.path())? {
                found.push((entry?.path(), stage.name().to_owned()));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// An output being written. Dropped without a commit, it stays worthless and is cleared by the next run.
#[derive(Debug)]
pub struct Attempt {
    file: File,
    path: PathBuf,
    sha256: sha2::Sha256,
    bytes: u64,
}

impl Write for Attempt {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.write_all(buffer)?;
        Ok(buffer.len())
    }

    fn write_all(&mut self, buffer: &[u8]) -> std::io::Result<()> {
        self.file.write_all(buffer)?;
        sha2::Digest::update(&mut self.sha256, buffer);
        self.bytes += buffer.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// An output made of named columns of fixed-width values, each with its own hash.
///
/// ```text
/// magic "ANDRTASK" · u32 sections · sections × { name [u8; 16] · offset u64 · bytes u64 · xxh3 u64 } · xxh3 of all before · data
/// ```
#[derive(Debug, Default)]
pub struct Sections {
    named: Vec<(String, Vec<u8>)>,
}

const MAGIC: &[u8; 8] = b"ANDRTASK";
const ENTRY: usize = 16 + 24;

impl Sections {
    /// Adds a section; names have at most 16 bytes.
    pub fn push(&mut self, name: impl Into<String>, bytes: Vec<u8>) {
        let name = name.into();
        assert!(name.len() <= 16, "section names are our own and short");
        self.named.push((name, bytes));
    }

    /// Writes all of it.
    pub fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let mut head = Vec::with_capacity(20 + self.named.len() * ENTRY);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(
            &u32::try_from(self.named.len())
                .map_err(std::io::Error::other)?
                .to_le_bytes(),
        );
        let mut offset = (12 + self.named.len() * ENTRY + 8) as u64;
        for (name, bytes) in &self.named {
            let mut padded = [0u8; 16];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            head.extend_from_slice(&padded);
            head.extend_from_slice(&offset.to_le_bytes());
            head.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            head.extend_from_slice(&xxh3_64(bytes).to_le_bytes());
            offset += bytes.len() as u64;
        }
        head.extend_from_slice(&xxh3_64(&head).to_le_bytes());
        to.write_all(&head)?;
        self.named
            .iter()
            .try_for_each(|(_, bytes)| to.write_all(bytes))
    }
}

/// An output opened for reading section by section.
#[derive(Debug, Clone)]
pub struct SectionFile {
    path: PathBuf,
    table: BTreeMap<String, (u64, u64, u64)>,
}

impl SectionFile {
    /// Reads and checks the table.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            file: path.to_path_buf(),
            what: what.to_owned(),
        };
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut file = BufReader::new(file);
        let mut start = [0u8; 12];
        file.read_exact(&mut start)
            .map_err(|_| damaged("it is too short"))?;
        let (magic, count) = start.split_at(8);
        let count = u32::from_le_bytes(count.try_into().expect("four bytes")) as usize;
        if magic != MAGIC || (12 + count * ENTRY + 8) as u64 > length {
            return Err(damaged("its head is wrong"));
        }
        let mut rest = vec![0u8; count * ENTRY + 8];
        file.read_exact(&mut rest)
            .map_err(|_| damaged("it is too short"))?;
        let (entries, hash) = rest.split_at(count * ENTRY);
        let head = [&start[..], entries].concat();
        if xxh3_64(&head).to_le_bytes() != hash {
            return Err(damaged("its head does not hash to what it says"));
        }
        let word = |entry: &[u8], at: usize| {
            u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"))
        };
        let mut table = BTreeMap::new();
        for entry in entries.chunks_exact(ENTRY) {
            let name = String::from_utf8_lossy(&entry[..16])
                .trim_end_matches('\0')
                .to_owned();
            let (offset, bytes, hash) = (word(entry, 16), word(entry, 24), word(entry, 32));
            if offset.checked_add(bytes).is_none_or(|end| end > length) {
                return Err(damaged("a section ends outside the file"));
            }
            table.insert(name, (offset, bytes, hash));
        }
        Ok(Self {
            path: path.to_path_buf(),
            table,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Offset and bytes of a section in the file.
    pub fn extent(&self, name: &str) -> Result<(u64, u64), StoreError> {
        let (offset, bytes, _) = self.entry(name)?;
        Ok((offset, bytes))
    }

    fn entry(&self, name: &str) -> Result<(u64, u64, u64), StoreError> {
        let missing = || StoreError::Damaged {
            file: self.path.clone(),
            what: format!("it has no section {name}"),
        };
        self.table.get(name).copied().ok_or_else(missing)
    }

    /// A whole section, checked.
    pub fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let (offset, bytes, hash) = self.entry(name)?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut buffer = vec![0u8; usize::try_from(bytes).map_err(std::io::Error::other)?];
        file.read_exact(&mut buffer)?;
        if xxh3_64(&buffer) != hash {
            return Err(StoreError::Damaged {
                file: self.path.clone(),
                what: format!("section {name}"),
            });
        }
        Ok(buffer)
    }

    /// Whether there is such a section.
    pub fn has(&self, name: &str) -> bool {
        self.entry(name).is_ok()
    }

    /// A section of little-endian `u32`.
    pub fn read_u32(&self, name: &str) -> Result<Vec<u32>, StoreError> {
        Ok(self
            .read(name)?
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
            .collect())
    }

    /// A section of little-endian `u64`.
    pub fn read_u64(&self, name: &str) -> Result<Vec<u64>, StoreError> {
        Ok(self
            .read(name)?
            .chunks_exact(8)
            .map(|b| u64::from_le_bytes(b.try_into().expect("eight bytes")))
            .collect())
    }

    /// A section of JSON in a zstd frame, whose size stands in another section.
    pub fn read_compressed_json<T: serde::de::DeserializeOwned>(
        &self,
        name: &str,
        size: &str,
    ) -> Result<T, StoreError> {
        let damaged = |what: String| StoreError::Damaged {
            file: self.path.clone(),
            what: format!("section {name}: {what}"),
        };
        // The size is our own record of what was compressed, so a damaged frame cannot ask for more.
        let size = self.read_u64(size)?.first().copied();
        let size = size
            .and_then(|size| usize::try_from(size).ok())
            .ok_or_else(|| damaged("no size".to_owned()))?;
        let bytes = zstd::bulk::decompress(&self.read(name)?, size)
            .map_err(|error| damaged(error.to_string()))?;
        serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))
    }

    /// A section of JSON.
    pub fn read_json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, StoreError> {
        serde_json::from_slice(&self.read(name)?).map_err(|error| StoreError::Damaged {
            file: self.path.clone(),
            what: format!("section {name}: {error}"),
        })
    }
}

/// Little-endian bytes of a column.
pub fn column_u32(values: impl IntoIterator<Item = u32>) -> Vec<u8> {
    values.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// Little-endian bytes of a column.
pub fn column_u64(values: impl IntoIterator<Item = u64>) -> Vec<u8> {
    values.into_iter().flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn put(store: &Store, name: &str, content: &[u8]) -> Result<Receipt, StoreError> {
        let mut attempt = store.attempt()?;
        let mut sections = Sections::default();
        sections.push("content", content.to_vec());
        sections.push("numbers", column_u32([1, 2, 3]));
        sections.write(&mut attempt)?;
        store.commit(
            Stage::Extract,
            key(name),
            attempt,
            &serde_json::json!({"in": 1}),
            BTreeMap::new(),
        )
    }

    #[test]
    fn a_task_is_done_once_its_receipt_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert!(store.receipt(Stage::Extract, key("a")).unwrap().is_none());
        put(&store, "a", b"hello").unwrap();
        assert!(store.receipt(Stage::Extract, key("a")).unwrap().is_some());
        let file = SectionFile::open(&store.data(Stage::Extract, key("a"))).unwrap();
        assert_eq!(file.read("content").unwrap(), b"hello");
        assert_eq!(file.read_u32("numbers").unwrap(), [1, 2, 3]);
    }

    #[test]
    fn an_output_without_a_receipt_and_attempts_are_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        put(&store, "a", b"x").unwrap();
        put(&store, "b", b"x").unwrap();
        drop(store.attempt().unwrap());
        let lost = store.data(Stage::Extract, key("b"));
        fs_err::remove_file(lost.with_extension("json")).unwrap();
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        assert!(!lost.exists());
        assert!(
            fs_err::read_dir(folder.path().join("attempts"))
                .unwrap()
                .next()
                .is_none()
        );
        assert!(store.receipt(Stage::Extract, key("a")).unwrap().is_some());
    }

    #[test]
    fn a_second_process_is_told_who_builds() {
        let folder = tempfile::tempdir().unwrap();
        let _held = Store::open(folder.path()).unwrap();
        let error = Store::open(folder.path()).unwrap_err();
        assert!(
            error.to_string().contains(&std::process::id().to_string()),
            "{error}"
        );
    }

    #[test]
    fn other_bytes_for_the_same_task_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        put(&store, "a", b"x").unwrap();
        put(&store, "a", b"x").unwrap();
        assert!(matches!(
            put(&store, "a", b"y"),
            Err(StoreError::NotDeterministic { .. })
        ));
    }

    #[test]
    fn threads_that_do_the_same_task_at_once_all_find_it_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        for round in 0..20 {
            let name = round.to_string();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| put(&store, &name, b"x").unwrap());
                }
            });
            assert!(store.receipt(Stage::Extract, key(&name)).unwrap().is_some());
        }
        assert!(
            fs_err::read_dir(folder.path().join("attempts"))
                .unwrap()
                .next()
                .is_none()
        );
    }

    #[test]
    fn every_flipped_bit_of_an_output_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        put(&store, "a", b"some content").unwrap();
        let path = store.data(Stage::Extract, key("a"));
        let good = fs_err::read(&path).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs_err::write(&path, &bad).unwrap();
            let read = SectionFile::open(&path).and_then(|f| {
                f.read("content")?;
                f.read("numbers")
            });
            assert!(read.is_err(), "bit {bit}");
        }
    }
}
