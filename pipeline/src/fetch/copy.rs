//! A finished build that is elsewhere becomes a checked build of the shards' folder.
//!
//! [`copy_build`] of `andromeda-format` copies and checks; here is what a program adds: where the copy belongs, that one
//! process at a time makes it, room on the disk, progress in bytes, and an end when somebody asks for one.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::{Build, FormatError, Manifest, copy_build, remote_manifest};

use super::store::Store as Objects;
use super::{FetchError, HubOptions, RemoteBuild, Web, check_address, free_bytes, path_problem};
use crate::progress::{Event, Progress, Stage};

const MANIFEST: &str = "manifest.json";

/// Which build, and where to.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// `https://host/path`, below which the build's files are, or `s3://bucket/prefix`.
    pub address: String,
    /// Folder of builds.
    pub shards: PathBuf,
    /// Name of the copy's folder; the build's own where none is given.
    pub name: Option<String>,
    /// The root hash that the build must have.
    pub root: Option<String>,
}

/// A build that is here now.
#[derive(Debug)]
pub struct CopiedBuild {
    /// Its folder.
    pub folder: PathBuf,
    /// The build.
    pub build: Build,
    /// Files, its manifest included.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes of those that were there already, and right.
    pub bytes_there: u64,
}

/// Why a build was not copied. Files that came whole stay, for the next try; without its manifest the folder is no build.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The address cannot be meant.
    #[error(
        "`{address}` is no address of a build: {reason}\n  hint: write https://host/path or s3://bucket/prefix, the folder that has its manifest.json"
    )]
    Address {
        /// As it was given.
        address: String,
        /// The rule it breaks.
        reason: String,
    },
    /// The server, or the way to it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// What came is not what it should be, or could not be written.
    #[error(transparent)]
    Format(FormatError),
    /// The operating system refused; the message names the file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Its manifest gives it a name that is no folder's.
    #[error(
        "the build is called `{name}`, and {reason}\n  hint: give its folder a name with --name"
    )]
    Name {
        /// The name, as it can be shown.
        name: String,
        /// Why it is none.
        reason: &'static str,
    },
    /// Another build has the folder.
    #[error("{} holds another build, of root {found}\n  hint: give the copy a folder of its own with --name, or move that one away", folder.display())]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The root of the build in it.
        found: String,
    },
    /// Another process fills the folder.
    #[error("another run is copying to {}; wait for it to end", folder.display())]
    Busy {
        /// The folder.
        folder: PathBuf,
    },
    /// Someone asked it to stop.
    #[error("interrupted; run the same command again to go on")]
    Interrupted,
}

impl From<FormatError> for CopyError {
    fn from(error: FormatError) -> Self {
        match error {
            // What a store of ours says of the network is told as such.
            FormatError::Io { file, error } => match error.downcast::<FetchError>() {
                Ok(FetchError::Stopped) => Self::Interrupted,
                Ok(failure) => Self::Fetch(failure),
                Err(error) => Self::Format(FormatError::Io { file, error }),
            },
            other => Self::Format(other),
        }
    }
}

impl CopyError {
    /// The exit code it ends with.
    pub fn exit_code(&self) -> u8 {
        use crate::exit;
        match self {
            Self::Address { .. } | Self::Name { .. } | Self::Taken { .. } => exit::USAGE,
            Self::Fetch(error) => exit::of_fetch(error),
            Self::Format(error) if !error.is_io() => exit::INTEGRITY,
            Self::Format(_) | Self::Io(_) => exit::RETRIABLE,
            Self::Busy { .. } => exit::BUSY,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }
}

/// Copies a build and opens the copy. `web` asks the servers of addresses, `objects` describes stores of objects.
///
/// # Errors
///
/// [`CopyError`]; what came whole until then is there for the next try.
pub fn copy(
    options: &CopyOptions,
    web: &Web,
    objects: &HubOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<CopiedBuild, CopyError> {
    let refused = |reason: String| CopyError::Address {
        address: options
            .address
            .chars()
            .take(300)
            .flat_map(char::escape_debug)
            .collect(),
        reason,
    };
    if options.address.starts_with("s3://") {
        let bucket = Objects::open(&options.address, objects)?;
        return copy_from(
            &RemoteBuild::in_store(web, &bucket, ""),
            options,
            progress,
            stop,
        );
    }
    match check_address(&options.address) {
        Ok(()) => {}
        Err(FetchError::Address { reason, .. }) => return Err(refused(reason.to_owned())),
        Err(error) => return Err(error.into()),
    }
    if options.address.contains(['?', '#']) {
        return Err(refused(
            "a query or fragment cannot stand before the names of files".to_owned(),
        ));
    }
    copy_from(
        &RemoteBuild::at(web, &options.address),
        options,
        progress,
        stop,
    )
}

fn copy_from(
    remote: &dyn andromeda_format::Store,
    options: &CopyOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<CopiedBuild, CopyError> {
    let manifest = remote_manifest(remote)?;
    let folder = options.shards.join(name(options, &manifest)?);
    fs_err::create_dir_all(&folder)?;
    // Ends with the process that holds it.
    let lock = fs_err::File::open(&folder)?;
    rustix::fs::flock(
        lock.file(),
        rustix::fs::FlockOperation::NonBlockingLockExclusive,
    )
    .map_err(|_| CopyError::Busy {
        folder: folder.clone(),
    })?;
    match Build::open(&folder) {
        Ok(build) if build.manifest().root != manifest.root => {
            let found = build.manifest().root.clone();
            return Err(CopyError::Taken { folder, found });
        }
        // What cannot be opened is mended by the copy.
        Ok(_) | Err(_) => {}
    }
    let (total, missing) = sizes(&manifest, &folder);
    let free = free_bytes(&folder)?;
    if missing > free {
        return Err(FetchError::NoSpace {
            folder,
            needed: missing,
            free,
        }
        .into());
    }
    let stage = Stage::Fetch;
    progress.event(&Event::Stage { stage, total });
    let watched = Watched {
        remote,
        progress,
        stop,
    };
    let (mut files, mut bytes, mut bytes_there) = (0, 0, 0);
    // The first reading of the manifest decided where everything goes, so the second must give the same.
    let root = options.root.as_deref().unwrap_or(&manifest.root);
    let build = copy_build(&watched, &folder, Some(root), &mut |file| {
        files += 1;
        bytes += file.bytes;
        if file.was_there {
            bytes_there += file.bytes;
            let by = file.bytes;
            progress.event(&Event::Advanced {
                stage,
                by,
                reused: true,
            });
        }
    })?;
    Ok(CopiedBuild {
        folder,
        build,
        files,
        bytes,
        bytes_there,
    })
}

/// The name of the copy's folder.
fn name(options: &CopyOptions, manifest: &Manifest) -> Result<String, CopyError> {
    let name = options.name.as_ref().unwrap_or(&manifest.name);
    let reason = match path_problem(name) {
        None if name.contains('/') => {
            Some("a folder of the shards' folder has no slash in its name")
        }
        None if name.starts_with('.') => Some("a build's folder is not a hidden one"),
        other => other,
    };
    match reason {
        None => Ok(name.clone()),
        Some(reason) => Err(CopyError::Name {
            name: name
                .chars()
                .take(300)
                .flat_map(char::escape_debug)
                .collect(),
            reason,
        }),
    }
}

/// Bytes of the listed files, and of those that are not here in their size.
fn sizes(manifest: &Manifest, folder: &Path) -> (u64, u64) {
    let shards = manifest.splits.values().flat_map(|entry| &entry.shards);
    let shards = shards.map(|shard| (shard.file.as_str(), shard.bytes));
    let tables = manifest.tables.iter();
    let tables = tables.map(|table| (table.path.as_str(), table.bytes));
    let (mut all, mut missing) = (0_u64, 0_u64);
    for (file, bytes) in shards.chain(tables) {
        all = all.saturating_add(bytes);
        let here = fs_err::metadata(folder.join(file)).map_or(0, |found| found.len());
        if here != bytes {
            missing = missing.saturating_add(bytes);
        }
    }
    (all, missing)
}

/// A store whose reading is told, and ends when somebody asks it to.
struct Watched<'a> {
    remote: &'a dyn andromeda_format::Store,
    progress: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl andromeda_format::Store for Watched<'_> {
    fn length(&self, file: &str) -> andromeda_format::Result<u64> {
        self.remote.length(file)
    }

    fn read(
        &self,
        file: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> andromeda_format::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(FormatError::Io {
                file: file.into(),
                error: std::io::Error::other(FetchError::Stopped),
            });
        }
        let before = into.len();
        self.remote.read(file, range, into)?;
        if file != MANIFEST {
            let (stage, by) = (Stage::Fetch, (into.len() - before) as u64);
            self.progress.event(&Event::Advanced {
                stage,
                by,
                reused: false,
            });
        }
        Ok(())
    }
}
