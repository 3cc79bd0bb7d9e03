//! Where the files of a dataset are: folders, the sources of this project's dependencies, repositories on the hub.
//!
//! A listing is sorted by path, so that nothing later depends on the order in which a file system or a server names files.

mod store;
mod web;

pub use store::{StoreSource, object_name};
pub use web::{Mistake, UrlListSource, WebFile, WebSource};

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::catalogue::{CargoSource, Dataset, FolderSource, HubSource, patterns};
use crate::digest::{Digest, Remembered, Stamp};
use crate::fetch::{Commit, FetchError, Hub, Pin, RemoteFile, RepoId, Web, is_pointer};
use crate::lock::Lock;
use crate::written::Problem;

/// A file of a dataset, pinned.
#[derive(Debug, Clone)]
pub struct PlannedFile {
    /// Its path within the dataset, `/`-separated, the same on every machine.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// What its content hashes to: `sha256:...`, or `git:...` for small files of a hub repository.
    pub digest: String,
    /// Where its bytes are.
    pub location: Location,
}

/// Where a planned file's bytes are.
#[derive(Debug, Clone)]
pub enum Location {
    /// On this machine.
    Local {
        /// Where.
        path: PathBuf,
        /// What the file system said of it when it was hashed.
        stamp: Stamp,
    },
    /// On the hub.
    Hub {
        /// `owner/name`.
        repository: RepoId,
        /// The pinned commit.
        commit: Commit,
        /// The file as the hub lists it.
        file: RemoteFile,
    },
    /// At an address.
    Web {
        /// The address.
        url: String,
        /// What it was when it was first seen.
        pin: Pin,
    },
    /// In a store of objects.
    Store {
        /// The store, as the manifest has it: `s3://bucket/prefix`.
        url: String,
        /// The object's path in it.
        key: String,
        /// What it was when it was first seen.
        pin: Pin,
    },
}

impl Location {
    /// Whether its bytes must come over a network.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self, Self::Local { .. })
    }
}

/// Where downloads lie that belong in no cache of the hub's.
#[must_use]
pub fn downloads(work: &Path) -> PathBuf {
    work.join("downloads")
}

/// A dataset's files and what they were pinned to.
#[derive(Debug, Clone)]
pub struct Listing {
    /// What a person would call the place: a path as written, `hub:owner/name`, `cargo:Cargo.lock`.
    pub source: String,
    /// Commit of a hub repository; the digest of the file list otherwise.
    pub revision: String,
    /// Sorted by path.
    pub files: Vec<PlannedFile>,
    /// What was left out and why, for people.
    pub notes: Vec<String>,
}

/// What listing a dataset needs from outside.
pub struct Context<'a> {
    /// Digests of local files seen before.
    pub remembered: &'a mut Remembered,
    /// Pinned revisions.
    pub lock: &'a mut Lock,
    /// Opened when the first hub dataset asks for it.
    pub hub: &'a mut Option<Hub>,
    /// Opened when the first address asks for it.
    pub web: &'a mut Option<Web>,
    /// Folder of [`downloads`].
    pub downloads: &'a Path,
}

/// Why a dataset has no listing.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Something a person wrote.
    #[error("{0}")]
    Written(Problem),
    /// The hub.
    #[error("dataset {dataset}: {error}")]
    Fetch {
        /// The dataset.
        dataset: String,
        /// What happened.
        error: FetchError,
    },
    /// Nothing that the manifest asks for is there.
    #[error("dataset `{dataset}` has no files at {place}")]
    NoFiles {
        /// The dataset.
        dataset: String,
        /// Where it was looked for.
        place: String,
    },
    /// A pattern of the manifest that no file of the source has a name for.
    #[error("dataset `{dataset}`: `{pattern}` matches none of the {files} files at {place}")]
    Unmatched {
        /// The dataset.
        dataset: String,
        /// The pattern.
        pattern: String,
        /// Where it was looked for.
        place: String,
        /// How many files are there.
        files: usize,
        /// Names that are most like the pattern.
        like: String,
    },
    /// A local file.
    #[error("dataset {dataset}: {error}")]
    Io {
        /// The dataset.
        dataset: String,
        /// What happened; names the file.
        error: std::io::Error,
    },
}

/// Lists and pins the files of a dataset.
pub fn list(dataset: &Dataset, context: &mut Context<'_>) -> Result<Listing, SourceError> {
    let manifest = &dataset.manifest;
    let listing = if let Some(source) = &manifest.source.folder {
        folder(dataset, source, context)
    } else if let Some(source) = &manifest.source.cargo {
        cargo(dataset, source, context)
    } else if let Some(source) = &manifest.source.hub {
        hub(dataset, source, context)
    } else if let Some(source) = &manifest.source.web {
        web::web(dataset, source, context)
    } else if let Some(source) = &manifest.source.url_list {
        web::url_list(dataset, source, context)
    } else if let Some(source) = &manifest.source.store {
        store::store(dataset, source, context)
    } else {
        unreachable!("a checked manifest has exactly one source")
    }?;
    if listing.files.is_empty() {
        return Err(SourceError::NoFiles {
            dataset: manifest.name.clone(),
            place: listing.source,
        });
    }
    Ok(listing)
}

fn globs(
    dataset: &Dataset,
    files: &[String],
    exclude: &[String],
) -> Result<(GlobSet, GlobSet), SourceError> {
    let set = |list: &[String]| {
        let mut builder = GlobSetBuilder::new();
        for pattern in list {
            builder.add(Glob::new(pattern)?);
        }
        builder.build()
    };
    let both = set(files).and_then(|files| Ok((files, set(exclude)?)));
    both.map_err(|error| {
        SourceError::Written(Problem::of_file(&dataset.file, error.to_string(), None))
    })
}

/// Files below a folder, and what there is that is none.
#[derive(Default)]
struct Walked {
    /// Regular files as `/`-separated relative paths; links are followed to files, not into folders.
    files: Vec<(String, PathBuf)>,
    /// Names that are not UTF-8 and links that lead nowhere: no document's id could be made of them.
    nameless: u64,
    dangling: u64,
}

impl Walked {
    /// What was left out, for people.
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.nameless > 0 {
            notes.push(format!(
                "{} files were left out whose names are not UTF-8; rename them",
                self.nameless
            ));
        }
        if self.dangling > 0 {
            notes.push(format!(
                "{} links were left out that lead to no file",
                self.dangling
            ));
        }
        notes
    }
}

fn walk(root: &Path) -> std::io::Result<Walked> {
    let mut found = Walked::default();
    if root.is_file() {
        let name = root
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        found.files.push((name, root.to_path_buf()));
        return Ok(found);
    }
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() || (kind.is_symlink() && path.is_file()) {
                match portable(&path, root) {
                    Some(relative) => found.files.push((relative, path)),
                    None => found.nameless += 1,
                }
            } else if kind.is_symlink() && !path.exists() {
                found.dangling += 1;
            }
        }
    }
    Ok(found)
}

/// The files below a folder, each with its `/`-separated path from there, in no order. Files whose names are no UTF-8 are an
/// error: none is lost silently.
pub fn files_below(root: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let found = walk(root)?;
    match found.notes().into_iter().next() {
        Some(note) => Err(std::io::Error::other(note)),
        None => Ok(found.files),
    }
}

/// Whether a repository was cloned without its large files and this is what stands for one. Pointers have about 130 bytes.
fn holds_pointer(path: &Path) -> bool {
    let may_be = std::fs::metadata(path).is_ok_and(|file| (100..=300).contains(&file.len()));
    let mut head = Vec::new();
    may_be
        && fs_err::File::open(path)
            .and_then(|file| file.take(300).read_to_end(&mut head))
            .is_ok()
        && is_pointer(&head)
}

fn portable(path: &Path, root: &Path) -> Option<String> {
    let relative = path.strip_prefix(root).ok()?;
    let parts: Option<Vec<&str>> = relative
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    Some(parts?.join("/"))
}

fn beside(dataset: &Dataset, path: &Path) -> PathBuf {
    dataset.file.parent().unwrap_or(Path::new(".")).join(path)
}

fn pin(
    dataset: &Dataset,
    source: String,
    mut found: Vec<(String, PathBuf)>,
    notes: Vec<String>,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    found.sort();
    let paths: Vec<PathBuf> = found.iter().map(|(_, path)| path.clone()).collect();
    let digests = context
        .remembered
        .digest_all(&paths)
        .map_err(|error| SourceError::Io {
            dataset: dataset.manifest.name.clone(),
            error,
        })?;
    let files: Vec<PlannedFile> = found
        .into_iter()
        .zip(digests)
        .map(|((path, local), (stamp, digest))| PlannedFile {
            path,
            bytes: stamp.bytes(),
            digest: format!("sha256:{digest}"),
            location: Location::Local { path: local, stamp },
        })
        .collect();
    let revision = Digest::of_value(
        &files
            .iter()
            .map(|f| (&f.path, &f.digest))
            .collect::<Vec<_>>(),
    )
    .hex();
    Ok(Listing {
        source,
        revision,
        files,
        notes,
    })
}

fn folder(
    dataset: &Dataset,
    source: &FolderSource,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let root = beside(dataset, &source.path);
    let (files, exclude) = globs(dataset, &source.files, &source.exclude)?;
    let found = walk(&root).map_err(|error| {
        SourceError::Written(
            Problem::of_file(
                &dataset.file,
                format!(
                    "the folder of `{}` cannot be read: {error}",
                    dataset.manifest.name
                ),
                None,
            )
            .hint("`path` is absolute, or relative to the manifest's folder"),
        )
    })?;
    let notes = found.notes();
    let found: Vec<(String, PathBuf)> = found
        .files
        .into_iter()
        .filter(|(path, _)| files.is_match(path) && !exclude.is_match(path))
        .collect();
    if let Some((path, _)) = found.iter().find(|(_, local)| holds_pointer(local)) {
        return Err(SourceError::Written(
            Problem::of_file(
                &dataset.file,
                format!(
                    "`{path}` of `{}` is the pointer of a file in Git LFS and not the file",
                    dataset.manifest.name
                ),
                None,
            )
            .hint("run `git lfs pull` in its folder"),
        ));
    }
    pin(
        dataset,
        format!("folder:{}", source.path.display()),
        found,
        notes,
        context,
    )
}

/// The packages of a lock file in the registry sources below `CARGO_HOME`, each file as `package-version/path`.
fn cargo(
    dataset: &Dataset,
    source: &CargoSource,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let problem = |message: String, hint: &str| {
        SourceError::Written(Problem::of_file(&dataset.file, message, None).hint(hint))
    };
    let lock_file = beside(dataset, &source.lock);
    let text = fs_err::read_to_string(&lock_file).map_err(|error| {
        problem(
            format!("the lock file cannot be read: {error}"),
            "`lock` is relative to the manifest's folder",
        )
    })?;
    let lock: toml::Table = toml::from_str(&text).map_err(|error| {
        problem(
            format!("{}: {}", lock_file.display(), error.message()),
            "it is not a Cargo.lock",
        )
    })?;
    let mut packages: BTreeMap<String, Option<PathBuf>> = BTreeMap::new();
    for package in lock
        .get("package")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
    {
        // Packages without a source are this workspace's own.
        if let (Some(name), Some(version), Some(_)) = (
            package.get("name").and_then(|v| v.as_str()),
            package.get("version").and_then(|v| v.as_str()),
            package.get("source"),
        ) {
            packages.insert(format!("{name}-{version}"), None);
        }
    }
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let registries = home.join("registry").join("src");
    let mut folders: Vec<PathBuf> = fs_err::read_dir(&registries)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    folders.sort();
    for (name, place) in &mut packages {
        *place = folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|folder| folder.is_dir());
    }
    let missing = packages.values().filter(|place| place.is_none()).count();
    if missing == packages.len() {
        return Err(problem(
            format!("no dependency's sources are in {}", registries.display()),
            "set CARGO_HOME to where cargo keeps its registry, or run `cargo fetch`",
        ));
    }
    let (files, exclude) = globs(dataset, &source.files, &source.exclude)?;
    let mut found = Vec::new();
    for (name, place) in &packages {
        let Some(place) = place else { continue };
        let inside = walk(place).map_err(|error| SourceError::Io {
            dataset: dataset.manifest.name.clone(),
            error,
        })?;
        found.extend(
            inside
                .files
                .into_iter()
                .filter(|(path, _)| {
                    files.is_match(path) && !exclude.is_match(path) && path != ".cargo-ok"
                })
                .map(|(path, local)| (format!("{name}/{path}"), local)),
        );
    }
    let mut notes = Vec::new();
    if missing > 0 {
        notes.push(format!(
            "{missing} of {} packages are not on this machine (other platforms' and unused ones; `cargo fetch` brings them)",
            packages.len()
        ));
    }
    pin(
        dataset,
        format!(
            "cargo:{}",
            source
                .lock
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
        ),
        found,
        notes,
        context,
    )
}

/// A repository of the hub at its pinned commit, and all of its files.
fn at_hub(
    dataset: &Dataset,
    repository: &RepoId,
    revision: &str,
    context: &mut Context<'_>,
) -> Result<(Commit, Vec<RemoteFile>), SourceError> {
    let failed = |error| SourceError::Fetch {
        dataset: dataset.manifest.name.clone(),
        error,
    };
    if context.hub.is_none() {
        *context.hub = Some(Hub::from_env().map_err(failed)?);
    }
    let hub = context.hub.as_ref().expect("set just above");
    let commit = match context.lock.commit(hub.endpoint(), repository, revision) {
        Some(commit) => commit,
        None => {
            let commit = hub.resolve(repository, revision).map_err(failed)?;
            context
                .lock
                .pin(hub.endpoint(), repository, revision, &commit);
            commit
        }
    };
    let listed = context
        .lock
        .listing(hub, repository, &commit)
        .map_err(failed)?;
    Ok((commit, listed))
}

/// Where the hub keeps the parquet files that it makes of every dataset it can.
const CONVERTED: &str = "refs/convert/parquet";

/// Whether a repository holds nothing but a program that would fetch its data. We run none.
fn is_script(paths: &[&str]) -> bool {
    const DATA: [&str; 12] = [
        "parquet", "jsonl", "csv", "tsv", "tar", "tgz", "gz", "zst", "xz", "zip", "arrow", "bz2",
    ];
    let has = |path: &&str, extensions: &[&str]| {
        let extension = Path::new(path).extension().and_then(|e| e.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    };
    paths.iter().any(|path| has(path, &["py"])) && !paths.iter().any(|path| has(path, &DATA))
}

fn hub(
    dataset: &Dataset,
    source: &HubSource,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let (wanted, exclude) = globs(dataset, &source.files, &source.exclude)?;
    let (commit, listed) = at_hub(dataset, &source.repository, &source.revision, context)?;
    let paths: Vec<&str> = listed.iter().map(|file| file.path.as_str()).collect();
    if let Some((pattern, mut like)) = patterns::unmatched(&source.files, &paths) {
        if is_script(&paths) && source.revision != CONVERTED {
            let _ = write!(
                like,
                ": a script and no data. The hub's own parquet files are at revision = \"{CONVERTED}\", as \
                 files = [\"<config>/<split>/*.parquet\"]"
            );
        }
        return Err(SourceError::Unmatched {
            dataset: dataset.manifest.name.clone(),
            pattern: pattern.to_owned(),
            place: format!("hub:{}@{commit}", source.repository),
            files: paths.len(),
            like,
        });
    }
    let files = listed
        .into_iter()
        .filter(|file| wanted.is_match(&file.path) && !exclude.is_match(&file.path))
        .map(|file| PlannedFile {
            path: file.path.clone(),
            bytes: file.bytes,
            digest: match &file.sha256 {
                Some(sha256) => format!("sha256:{sha256}"),
                None => format!("git:{}", file.git_sha1),
            },
            location: Location::Hub {
                repository: source.repository.clone(),
                commit: commit.clone(),
                file,
            },
        })
        .collect();
    Ok(Listing {
        source: format!("hub:{}", source.repository),
        revision: commit.to_string(),
        files,
        notes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "name = \"own\"\ndescription = \"Mine.\"\nprofile = \"plain\"\nlicence = \"CC0-1.0\"\n[source.folder]\npath = \".\"\n[render]\ntext = \"text\"\n";

    #[test]
    fn the_order_in_which_files_are_named_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = folder.path().join("own.toml");
        fs_err::write(&manifest, MANIFEST).unwrap();
        let dataset = Dataset::load(&manifest).unwrap();
        let mut found = Vec::new();
        for name in [
            "b.jsonl",
            "a/z.jsonl",
            "a.jsonl",
            "c/a.jsonl",
            "C.jsonl",
            "é.jsonl",
        ] {
            let place = folder.path().join(name);
            fs_err::create_dir_all(place.parent().unwrap()).unwrap();
            fs_err::write(&place, name).unwrap();
            found.push((name.to_owned(), place));
        }
        let listed = |found: Vec<(String, PathBuf)>| {
            let mut remembered = Remembered::open(&folder.path().join("digests.json"));
            let mut lock = Lock::open(&folder.path().join("lock"), folder.path()).unwrap();
            let mut context = Context {
                remembered: &mut remembered,
                lock: &mut lock,
                hub: &mut None,
                web: &mut None,
                downloads: folder.path(),
            };
            let listing =
                pin(&dataset, "here".to_owned(), found, Vec::new(), &mut context).unwrap();
            let files: Vec<(String, String)> = listing
                .files
                .into_iter()
                .map(|file| (file.path, file.digest))
                .collect();
            (listing.revision, files)
        };
        let expected = listed(found.clone());
        for turn in 1..found.len() {
            found.rotate_left(1);
            assert_eq!(listed(found.clone()), expected, "turned by {turn}");
        }
        found.reverse();
        assert_eq!(listed(found), expected, "backwards");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_no_id_could_be_made_of_are_counted() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("good"), b"x").unwrap();
        let odd = std::ffi::OsStr::from_bytes(b"odd-\xff");
        fs_err::write(folder.path().join(odd), b"x").unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("link")).unwrap();
        let walked = walk(folder.path()).unwrap();
        assert_eq!(
            (walked.files.len(), walked.nameless, walked.dangling),
            (1, 1, 1)
        );
        assert_eq!(walked.notes().len(), 2);
    }
}
