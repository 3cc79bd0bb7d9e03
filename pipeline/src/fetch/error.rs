//! What can go wrong between a repository on the hub and a verified local file.

use std::io;
use std::path::PathBuf;

/// A failure of the hub client. Addresses in messages carry no query (signatures live there) and no token.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The repository id does not follow the hub's rules.
    #[error("`{repo}` is not a repository id: {reason}; write it as `owner/name`")]
    RepoId {
        /// The id as it was given.
        repo: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The revision could not be a branch, tag, reference or commit.
    #[error("`{revision}` is not a revision: {reason}; write a branch, a tag or a full commit")]
    Revision {
        /// The revision as it was given.
        revision: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A file name from the hub that must not reach the file system.
    #[error("repository `{repo}` names a file `{path}`, which is not used: {reason}")]
    FileName {
        /// Repository that lists the file.
        repo: String,
        /// The name, control characters escaped.
        path: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A hash in a file's description is not lower-case hexadecimal of the right length.
    #[error("`{path}` of `{repo}` is described with a malformed {what}; list the repository again")]
    Hash {
        /// Repository of the file.
        repo: String,
        /// The file.
        path: String,
        /// Which hash.
        what: &'static str,
    },
    /// An environment variable or option holds a value that cannot be used. The value is not repeated: it may be a secret.
    #[error("{name} cannot be used: {reason}")]
    Setting {
        /// Name of the variable.
        name: &'static str,
        /// What is wrong with its value, and what to write.
        reason: String,
    },
    /// The repository asks its readers to accept terms.
    #[error("{holds} `{repo}` is gated: open {page}, accept its terms, then {remedy}")]
    Gated {
        /// A dataset or a model.
        holds: &'static str,
        /// The repository.
        repo: String,
        /// Page on which the terms are accepted.
        page: String,
        /// What is left to do with the token.
        remedy: &'static str,
    },
    /// The hub wants to know who asks, or knows and refuses.
    #[error("the hub refused {what} of `{repo}` (HTTP {status}): {remedy}")]
    Refused {
        /// The repository.
        repo: String,
        /// What was asked for.
        what: String,
        /// HTTP status.
        status: u16,
        /// What to do.
        remedy: &'static str,
    },
    /// The repository, revision or file is not there.
    #[error("{what} of `{repo}` is not on the hub (HTTP 404): {remedy}")]
    NotFound {
        /// The repository.
        repo: String,
        /// What was asked for.
        what: String,
        /// What to check.
        remedy: &'static str,
    },
    /// An address of a file on the hub that cannot be meant.
    #[error(
        "`{address}` is not an address of a file on the hub: {reason}; write hf://owner/name/path, or hf://owner/name@revision/path"
    )]
    HubAddress {
        /// The address as it was given.
        address: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A repository does not hold the file that was named.
    #[error("`{repo}` has no file `{path}` at commit {commit}{like}")]
    NoFile {
        /// The repository.
        repo: String,
        /// The file.
        path: String,
        /// The commit.
        commit: String,
        /// The names that are most like it, or nothing.
        like: String,
    },
    /// A server that is no hub refuses an address of a manifest, or does not know it.
    #[error("{url} (HTTP {status}): {remedy}")]
    Web {
        /// Address without its query.
        url: String,
        /// HTTP status.
        status: u16,
        /// What to do.
        remedy: &'static str,
    },
    /// An address of a manifest that cannot be requested.
    #[error("`{url}` is not an address of a file: {reason}; write https://host/path")]
    Address {
        /// The address as it was given.
        url: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A server that does not say how large a file is.
    #[error(
        "{url}: the server does not say how many bytes it has; write `bytes` and `sha256` beside the address"
    )]
    NoSize {
        /// Address without its query.
        url: String,
    },
    /// A file of the web is not what it was when it was pinned.
    #[error(
        "{url} is not the file that was pinned: {what}. If the new one is wanted, delete its line in the lock file, or state its sha256 in the manifest"
    )]
    Changed {
        /// Address without its query.
        url: String,
        /// What differs.
        what: String,
    },
    /// The pointer of a large file stands where the file should be.
    #[error("`{path}` of `{place}` is the pointer of a file in Git LFS and not the file: {remedy}")]
    Pointer {
        /// Repository or address.
        place: String,
        /// The file.
        path: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Whoever asked for a download asked it to end.
    #[error(
        "the download was interrupted; run the same command again, it goes on where it stopped"
    )]
    Stopped,
    /// An answer that no retry will change.
    #[error("{url}: {reason}")]
    Protocol {
        /// Address without its query.
        url: String,
        /// What was wrong with the answer.
        reason: String,
    },
    /// Every attempt failed for a reason that may pass.
    #[error(
        "{url}: gave up after {attempts} attempts: {reason}; run the same command again, it goes on where it stopped"
    )]
    Unreachable {
        /// Address without its query.
        url: String,
        /// Number of attempts made.
        attempts: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// The file has another size than its repository promises.
    #[error(
        "`{path}` of `{repo}` should have {expected} bytes, but {found} were sent: nothing was kept under its name"
    )]
    WrongSize {
        /// The repository.
        repo: String,
        /// The file.
        path: String,
        /// Size in bytes that the repository lists.
        expected: u64,
        /// Size in bytes that was sent or promised.
        found: u64,
    },
    /// The file's bytes do not have the hash its repository promises.
    #[error(
        "`{path}` of `{repo}` should have {kind} {expected}, but has {found}: nothing was kept under its name"
    )]
    WrongHash {
        /// The repository.
        repo: String,
        /// The file.
        path: String,
        /// `sha256` or `git sha1`.
        kind: &'static str,
        /// Hexadecimal hash that the repository lists.
        expected: String,
        /// Hexadecimal hash of the bytes.
        found: String,
    },
    /// Something is missing locally and `HF_HUB_OFFLINE` forbids asking for it.
    #[error(
        "{what} of `{repo}` is not in the cache {cache} and HF_HUB_OFFLINE is set: unset it and run once with a network"
    )]
    Offline {
        /// The repository.
        repo: String,
        /// What was needed.
        what: String,
        /// Cache folder that was searched.
        cache: String,
    },
    /// The disk cannot hold the file.
    #[error("{folder}: {needed} bytes are needed and {free} are free: free some space, or put the folder on a larger disk (HF_HUB_CACHE for the hub's files, --work for others)", folder = folder.display())]
    NoSpace {
        /// Folder of the cache.
        folder: PathBuf,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes that may be written.
        free: u64,
    },
    /// The local file system failed; the message of the source names the path.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The failure, which names the path.
        #[source]
        source: io::Error,
    },
}

impl FetchError {
    /// True where what is written can not be meant: an id, a revision, an address, a path.
    #[must_use]
    pub fn is_written(&self) -> bool {
        matches!(
            self,
            Self::RepoId { .. }
                | Self::Revision { .. }
                | Self::FileName { .. }
                | Self::HubAddress { .. }
                | Self::NoFile { .. }
        )
    }

    /// True where the same call may succeed later without any change: networks come back, disks get space.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoSpace { .. } | Self::Stopped => true,
            Self::Io { source, .. } => !matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied
                    | io::ErrorKind::ReadOnlyFilesystem
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::IsADirectory
                    | io::ErrorKind::InvalidFilename
            ),
            _ => false,
        }
    }

    /// True where the bytes are not the ones that the repository promises.
    #[must_use]
    pub fn is_integrity(&self) -> bool {
        matches!(
            self,
            Self::WrongSize { .. } | Self::WrongHash { .. } | Self::Changed { .. }
        )
    }

    /// Wraps a failure of the file system, for `map_err`.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
