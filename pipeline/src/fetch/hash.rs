//! What a file's bytes must add up to. The hub knows large files (LFS) by the SHA-256 of their content and small ones by
//! git's blob id: SHA-1 of `blob <bytes>\0` and the content (git book, "Git Internals: Git Objects").

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

use super::RemoteFile;

/// What a file must be, and how to call it.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    /// Repository or address it belongs to.
    pub owner: String,
    /// Its path there.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// What is known of its content.
    pub promise: Promise,
}

/// What is known of a content before it is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// Its SHA-256.
    Sha256(String),
    /// Git's blob id.
    GitSha1(String),
    /// Nothing but perhaps the tag that its server gave this version of it.
    Tag(Option<String>),
}

impl Expected {
    pub(super) fn of(owner: String, file: &RemoteFile) -> Self {
        Self {
            owner,
            path: file.path.clone(),
            bytes: file.bytes,
            promise: match &file.sha256 {
                Some(sha256) => Promise::Sha256(sha256.clone()),
                None => Promise::GitSha1(file.git_sha1.clone()),
            },
        }
    }

    /// The hash that the content must have, if one is known.
    pub(super) fn hash(&self) -> Option<&str> {
        match &self.promise {
            Promise::Sha256(hash) | Promise::GitSha1(hash) => Some(hash),
            Promise::Tag(_) => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.promise {
            Promise::GitSha1(_) => "git sha1",
            Promise::Sha256(_) | Promise::Tag(_) => "sha256",
        }
    }
}

/// True for the beginning of the text that stands in git for a large file (git-lfs `docs/spec.md`).
pub(crate) fn is_pointer(content: &[u8]) -> bool {
    content.len() < 1024 && content.starts_with(b"version https://git-lfs.github.com/spec/")
}

/// A running hash of the kind that is promised, or SHA-256.
pub(super) enum ContentHash {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl ContentHash {
    pub(super) fn new(expected: &Expected) -> Self {
        match expected.promise {
            Promise::GitSha1(_) => Self::GitBlob(blob_prefix(expected.bytes)),
            Promise::Sha256(_) | Promise::Tag(_) => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::GitBlob(hash) => hash.update(bytes),
        }
    }

    /// Adds up to `limit` bytes of `reader` and returns how many there were.
    pub(super) fn update_from(&mut self, reader: impl Read, limit: u64) -> io::Result<u64> {
        let mut reader = reader.take(limit);
        let mut buffer = vec![0; 256 * 1024];
        let mut total: u64 = 0;
        loop {
            let read = reader.read(&mut buffer)?;
            if read == 0 {
                return Ok(total);
            }
            self.update(&buffer[..read]);
            total += read as u64;
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::GitBlob(hash) => hex(&hash.finalize()),
        }
    }
}

fn blob_prefix(bytes: u64) -> Sha1 {
    Sha1::new().chain_update(format!("blob {bytes}\0"))
}

/// Git's id of the pointer that stands for a large file in git (git-lfs `docs/spec.md`, version 1).
pub(super) fn pointer_git_sha1(sha256: &str, bytes: u64) -> String {
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {bytes}\n");
    hex(&blob_prefix(pointer.len() as u64)
        .chain_update(&pointer)
        .finalize())
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(sha256: Option<&str>, content: &[u8]) -> String {
        let file = RemoteFile {
            path: "x".to_owned(),
            bytes: content.len() as u64,
            sha256: sha256.map(str::to_owned),
            git_sha1: String::new(),
        };
        let mut hash = ContentHash::new(&Expected::of("owner/name".to_owned(), &file));
        assert_eq!(
            hash.update_from(content, u64::MAX).unwrap(),
            content.len() as u64
        );
        hash.finish()
    }

    #[test]
    fn hashes_are_those_of_git_and_sha256sum() {
        // `git hash-object --stdin` and `sha256sum`
        assert_eq!(hash(None, b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(
            hash(None, b"hello\n"),
            "ce013625030ba8dba906f756967f9e9ca394464a"
        );
        assert_eq!(
            hash(Some(""), b"hello\n"),
            "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
        );
    }

    #[test]
    fn a_pointer_has_the_id_that_git_gives_it() {
        // `printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 12345\n' 4d7a...2393 | git hash-object --stdin`
        let sha256 = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        assert_eq!(
            pointer_git_sha1(sha256, 12345),
            "60c8d8ab2adcf57a391163a7eeb0cdb8bf348e44"
        );
    }
}
