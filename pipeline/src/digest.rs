//! Content digests: sha256 of files and of canonical values, and a memory of file digests between runs.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A sha256, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of a value's JSON, whose field order is fixed by its type.
    pub fn of_value<T: Serialize>(value: &T) -> Self {
        let bytes =
            serde_json::to_vec(value).expect("plain data with string keys always has a JSON form");
        Self::of(&bytes)
    }

    /// Of a file's bytes, read once.
    pub fn of_file(path: &Path) -> std::io::Result<Self> {
        let mut file = fs_err::File::open(path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 18];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self(hash.finalize().into())),
                n => hash.update(&buffer[..n]),
            }
        }
    }

    /// 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.iter().map(|b| format!("{b:02x}")).collect()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.hex())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.as_bytes();
        let mut out = [0u8; 32];
        if bytes.len() != 64 {
            return Err(serde::de::Error::custom(
                "a sha256 has 64 hexadecimal digits",
            ));
        }
        for (i, pair) in bytes.chunks_exact(2).enumerate() {
            let hex = std::str::from_utf8(pair)
                .ok()
                .and_then(|s| u8::from_str_radix(s, 16).ok());
            out[i] =
                hex.ok_or_else(|| serde::de::Error::custom("a sha256 has 64 hexadecimal digits"))?;
        }
        Ok(Self(out))
    }
}

/// Digests of files seen before, so that a rerun with nothing to do need not read its inputs again.
///
/// An entry counts only while the file's size, modification and change times (to the nanosecond) and inode are what they
/// were, and only if the file had been at rest for two seconds when it was read.
#[derive(Debug, Default)]
pub struct Remembered {
    path: PathBuf,
    known: BTreeMap<PathBuf, (Stamp, Digest)>,
    changed: bool,
}

/// What a file system says of a file and changes whenever the file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
}

impl Remembered {
    /// Opens the memory kept in the file `path`; a missing or unreadable one is an empty one.
    pub fn open(path: &Path) -> Self {
        let known = fs_err::read(path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Vec<(PathBuf, Stamp, Digest)>>(&bytes).ok())
            .unwrap_or_default()
            .into_iter()
            .map(|(file, stamp, digest)| (file, (stamp, digest)))
            .collect();
        Self {
            path: path.to_path_buf(),
            known,
            changed: false,
        }
    }

    /// Size in bytes and, if it is still known, the digest of `file`.
    pub fn look(&self, file: &Path) -> std::io::Result<(u64, Option<Digest>)> {
        let stamp = Stamp::of(file)?;
        let digest = self
            .known
            .get(file)
            .filter(|(known, _)| *known == stamp)
            .map(|(_, digest)| *digest);
        Ok((stamp.bytes, digest))
    }

    /// Reads the files that are not known and remembers them. Returns stamp and digest in the order of `files`.
    pub fn digest_all(&mut self, files: &[PathBuf]) -> std::io::Result<Vec<(Stamp, Digest)>> {
        use rayon::prelude::*;
        let found: Vec<(Stamp, Digest, bool)> = files
            .par_iter()
            .map(|file| {
                let stamp = Stamp::of(file)?;
                if let Some((_, digest)) = self.known.get(file).filter(|(known, _)| *known == stamp)
                {
                    return Ok((stamp, *digest, false));
                }
                let digest = Digest::of_file(file)?;
                if Stamp::of(file)? != stamp {
                    return Err(std::io::Error::other(format!(
                        "{} changed while it was read; run again when it is at rest",
                        file.display()
                    )));
                }
                Ok((stamp, digest, true))
            })
            .collect::<std::io::Result<_>>()?;
        for (file, (stamp, digest, new)) in files.iter().zip(&found) {
            if *new && stamp.at_rest() {
                self.known.insert(file.clone(), (*stamp, *digest));
                self.changed = true;
            }
        }
        Ok(found
            .into_iter()
            .map(|(stamp, digest, _)| (stamp, digest))
            .collect())
    }

    /// Writes what was learnt. A memory that cannot be written costs time on the next run and nothing else.
    pub fn save(&mut self) {
        if self.changed {
            let rows: Vec<_> = self
                .known
                .iter()
                .map(|(file, (stamp, digest))| (file, stamp, digest))
                .collect();
            if let Ok(bytes) = serde_json::to_vec(&rows) {
                self.changed = andromeda_format::write_atomic(&self.path, &bytes).is_err();
            }
        }
    }
}

impl Stamp {
    /// Of a file as it is now.
    pub fn of(file: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs_err::metadata(file)?;
        Ok(Self {
            bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
        })
    }

    /// Size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether nobody wrote to the file in the last two seconds: a clock that coarse tells every later write.
    pub fn at_rest(&self) -> bool {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        self.changed.0.max(self.modified.0) + 2 <= now.tv_sec
    }
}
