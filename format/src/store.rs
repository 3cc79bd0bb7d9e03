//! Where a build's files come from, and a checked copy of them on this machine.
//!
//! Shards are read from local disk. A build that is elsewhere is copied first, file by file, each held against the manifest
//! before it takes its name: what a reader finds is whole and right, and there is no cache to go stale or to be cleared.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::build::{Build, MANIFEST, MAX_MANIFEST_BYTES, inside};
use crate::error::{FormatError, Result};
use crate::manifest::{Manifest, hex};
use crate::publish::{create_aside, write_atomic};

/// Bytes asked of a store at once: 8 MiB.
const PIECE: u64 = 8 << 20;

/// Files by name: a folder, a web server, a bucket. Names are those of a manifest, without folders.
pub trait Store {
    /// The length of a file in bytes.
    ///
    /// # Errors
    ///
    /// [`FormatError::Missing`] without the file, [`FormatError::Io`] if the store cannot be asked.
    fn length(&self, file: &str) -> Result<u64>;

    /// Appends bytes `range` of a file to `into`.
    ///
    /// # Errors
    ///
    /// As [`Self::length`]. An answer that is shorter or longer than the range is an error of the caller's to find.
    fn read(&self, file: &str, range: Range<u64>, into: &mut Vec<u8>) -> Result<()>;
}

/// A folder of this machine.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Store for Folder {
    fn length(&self, file: &str) -> Result<u64> {
        let path = self.0.join(file);
        match fs::metadata(&path) {
            Ok(found) => Ok(found.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(FormatError::Missing { file: path })
            }
            Err(error) => Err(FormatError::io(&path)(error)),
        }
    }

    fn read(&self, file: &str, range: Range<u64>, into: &mut Vec<u8>) -> Result<()> {
        let path = self.0.join(file);
        let length = usize::try_from(range.end.saturating_sub(range.start))
            .map_err(|_| FormatError::io(&path)(std::io::ErrorKind::OutOfMemory.into()))?;
        let before = into.len();
        into.resize(before + length, 0);
        let read =
            File::open(&path).and_then(|file| file.read_exact_at(&mut into[before..], range.start));
        read.map_err(FormatError::io(&path))
    }
}

/// A file of a build that is on this machine now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Its name.
    pub file: String,
    /// Its length.
    pub bytes: u64,
    /// Whether it was there already, with the right content.
    pub was_there: bool,
}

/// The manifest of the build in `store`, checked, and its bytes; `file` is for errors.
fn manifest_at(store: &dyn Store, file: &Path) -> Result<(Manifest, Vec<u8>)> {
    let length = store.length(MANIFEST)?;
    if length > MAX_MANIFEST_BYTES {
        return Err(FormatError::Manifest {
            file: file.to_path_buf(),
            what: "it is over 1 GiB long".to_owned(),
        });
    }
    let mut text = Vec::new();
    store.read(MANIFEST, 0..length, &mut text)?;
    Ok((Manifest::parse(file, &text)?, text))
}

/// The manifest of the build in `store`, of which nothing is copied.
///
/// # Errors
///
/// What [`Manifest::parse`] finds, and [`FormatError::Missing`] or [`FormatError::Io`] of the store.
pub fn remote_manifest(store: &dyn Store) -> Result<Manifest> {
    Ok(manifest_at(store, Path::new(MANIFEST))?.0)
}

/// Copies the build in `store` into `folder` and opens it. `root` is the root hash it must have, if one is known; `each` is told
/// of every file.
///
/// The manifest is read first and written last. A file whose size and sha256 are right already is left alone, so a copy that
/// was interrupted goes on with the file it was at; any other is written aside, hashed as it comes, and renamed when it is
/// what the manifest says.
///
/// # Errors
///
/// [`FormatError::Root`] for another root, what [`Manifest::parse`] finds, [`FormatError::Size`] and [`FormatError::Content`]
/// for a file that is not what the manifest says, with the name of the copy; [`FormatError::Io`] of store or folder.
pub fn copy_build(
    store: &dyn Store,
    folder: &Path,
    root: Option<&str>,
    each: &mut dyn FnMut(Copied),
) -> Result<Build> {
    let target = folder.join(MANIFEST);
    let (manifest, text) = manifest_at(store, &target)?;
    if let Some(root) = root.filter(|root| *root != manifest.root) {
        return Err(FormatError::Root {
            file: target,
            written: root.to_owned(),
            computed: manifest.root,
        });
    }
    fs::create_dir_all(folder).map_err(FormatError::io(folder))?;
    let mut done = BTreeSet::new();
    for (name, bytes, sha256) in manifest.files() {
        if !done.insert(name) {
            continue;
        }
        let path = inside(folder, name)?;
        let bytes = match bytes {
            Some(bytes) => bytes,
            // Of the tokenizer the manifest has the hash alone.
            None => store.length(name)?,
        };
        let was_there = is_there(&path, bytes, sha256)?;
        if !was_there {
            copy(store, name, &path, bytes, sha256)?;
        }
        each(Copied {
            file: name.to_owned(),
            bytes,
            was_there,
        });
    }
    write_atomic(&target, &text)?;
    each(Copied {
        file: MANIFEST.to_owned(),
        bytes: text.len() as u64,
        was_there: false,
    });
    Build::open(folder)
}

/// Whether a file is here already, and what the manifest says.
fn is_there(path: &Path, bytes: u64, sha256: &str) -> Result<bool> {
    match fs::metadata(path) {
        Ok(found) if found.len() == bytes => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(FormatError::io(path)(error)),
    }
    match crate::build::check_content(path, sha256) {
        Ok(_) => Ok(true),
        Err(FormatError::Content { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

fn copy(store: &dyn Store, name: &str, path: &Path, bytes: u64, sha256: &str) -> Result<()> {
    let length = store.length(name)?;
    if length != bytes {
        return Err(FormatError::Size {
            file: path.to_path_buf(),
            found: length,
            listed: bytes,
        });
    }
    let (aside, mut file) = create_aside(path).map_err(FormatError::io(path))?;
    let mut fill = || {
        let mut hash = Sha256::new();
        let mut piece = Vec::new();
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at + PIECE);
            piece.clear();
            store.read(name, at..end, &mut piece)?;
            if piece.len() as u64 != end - at {
                return Err(FormatError::Size {
                    file: path.to_path_buf(),
                    found: at + piece.len() as u64,
                    listed: bytes,
                });
            }
            hash.update(&piece);
            file.write_all(&piece).map_err(FormatError::io(path))?;
            at = end;
        }
        let found = hex(&hash.finalize());
        if found != sha256 {
            return Err(FormatError::Content {
                file: path.to_path_buf(),
                found,
                listed: sha256.to_owned(),
            });
        }
        let publish = file.sync_all().and_then(|()| fs::rename(&aside, path));
        publish.map_err(FormatError::io(path))
    };
    fill().inspect_err(|_| drop(fs::remove_file(&aside)))
}
