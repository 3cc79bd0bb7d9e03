//! Datasets that are addresses: written one by one, or in lists that a hub repository keeps.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::Deserialize;

use super::{Context, Listing, Location, PlannedFile, SourceError, at_hub, globs};
use crate::catalogue::{Dataset, patterns};
use crate::digest::Digest;
use crate::fetch::{FetchError, Pin, RepoId, Web, check_address, is_hex, path_problem};
use crate::written::Problem;

/// Questions to servers at once.
const PROBES: usize = 8;
/// Largest list of addresses, in bytes.
const MAX_LIST_BYTES: u64 = 64 << 20;

/// Files at addresses of their own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebSource {
    /// The files.
    pub files: Vec<WebFile>,
    /// Glob patterns of the paths of held-out files, which are never training data.
    #[serde(default)]
    pub evaluation_files: Vec<String>,
}

/// A file at an address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WebFile {
    /// What it is called within the dataset, `/`-separated.
    pub path: String,
    /// Where it is: `https://host/path`.
    pub url: String,
    /// Its size, if it is to be stated. Otherwise the server is asked once, and the answer is in the lock file.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal, if it is to be stated. Otherwise that of the first download is in the lock file.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// Files whose addresses stand in lists, one a line, that a hub repository keeps.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct UrlListSource {
    /// The repository, `owner/name`.
    pub repository: RepoId,
    /// Branch, tag or commit; pinned to a commit in the lock file the first time it is used.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// Glob patterns of the lists in the repository.
    pub lists: Vec<String>,
    /// How every address begins; the rest is the file's path within the dataset.
    pub strip: String,
    /// Glob patterns of the paths to take.
    #[serde(default = "everything")]
    pub files: Vec<String>,
    /// Glob patterns of paths to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Glob patterns of the paths of held-out files, which are never training data.
    #[serde(default)]
    pub evaluation_files: Vec<String>,
}

fn main_branch() -> String {
    "main".to_owned()
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

/// A mistake in a source's table: the key, what is wrong and what to write.
pub type Mistake = (&'static str, String, String);

impl WebSource {
    /// What is wrong with it by itself.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        let mut wrong = |message: String, hint: &str| {
            mistakes.push(("files", message, hint.to_owned()));
        };
        if self.files.is_empty() {
            wrong(
                "the source names no files".to_owned(),
                "write files = [{ path = \"train.jsonl\", url = \"https://host/train.jsonl\" }]",
            );
        }
        let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
        for WebFile {
            path, url, sha256, ..
        } in &self.files
        {
            if let Some(rule) = path_problem(path) {
                wrong(
                    format!("`{}` is no path of a file: {rule}", path.escape_debug()),
                    "write what the file is called within the dataset, such as \"data/train.jsonl\"",
                );
            }
            if seen.insert(path, url).is_some() {
                wrong(
                    format!("the path `{path}` is there twice"),
                    "give each file its own path",
                );
            }
            if let Err(error) = check_address(url) {
                wrong(
                    error.to_string(),
                    "an address looks like https://host/data/train.jsonl",
                );
            }
            if let Some(sha256) = sha256.as_ref().filter(|sha256| !is_hex(sha256, 64)) {
                wrong(
                    format!("`{}` is no sha256", sha256.escape_debug()),
                    "write its 64 lower-case hexadecimal digits, as `sha256sum` prints them",
                );
            }
        }
        mistakes
    }
}

impl UrlListSource {
    /// What is wrong with it by itself.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.lists.is_empty() {
            mistakes.push((
                "lists",
                "the source names no lists".to_owned(),
                "write lists = [\"urls/*.txt\"]".to_owned(),
            ));
        }
        if check_address(&self.strip).is_err() || !self.strip.ends_with('/') {
            mistakes.push((
                "strip",
                format!(
                    "`{}` is no beginning of an address",
                    self.strip.escape_debug()
                ),
                "write what all addresses share, up to a slash: strip = \"https://host/data/\""
                    .to_owned(),
            ));
        }
        mistakes
    }
}

/// An address with what its manifest states of it.
struct Wanted {
    path: String,
    url: String,
    bytes: Option<u64>,
    sha256: Option<String>,
}

pub(super) fn web(
    dataset: &Dataset,
    source: &WebSource,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let wanted: Vec<Wanted> = source
        .files
        .iter()
        .cloned()
        .map(|file| Wanted {
            path: file.path,
            url: file.url,
            bytes: file.bytes,
            sha256: file.sha256,
        })
        .collect();
    let mut hosts: Vec<&str> = wanted.iter().map(|file| host(&file.url)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let place = format!("web:{}", hosts.join(","));
    pin(dataset, place, wanted, context)
}

pub(super) fn url_list(
    dataset: &Dataset,
    source: &UrlListSource,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let failed = |error| SourceError::Fetch {
        dataset: dataset.manifest.name.clone(),
        error,
    };
    let wrong = |message: String, hint: &str| {
        SourceError::Written(Problem::of_file(&dataset.file, message, None).hint(hint))
    };
    let (commit, listed) = at_hub(dataset, &source.repository, &source.revision, context)?;
    let (lists, _) = globs(dataset, &source.lists, &[])?;
    let paths: Vec<&str> = listed.iter().map(|file| file.path.as_str()).collect();
    let place = format!("hub:{}@{commit}", source.repository);
    let unmatched = |globs: &[String], paths: &[&str], place: &str| {
        let (pattern, like) = patterns::unmatched(globs, paths)?;
        Some(SourceError::Unmatched {
            dataset: dataset.manifest.name.clone(),
            pattern: pattern.to_owned(),
            place: place.to_owned(),
            files: paths.len(),
            like,
        })
    };
    if let Some(error) = unmatched(&source.lists, &paths, &place) {
        return Err(error);
    }
    let hub = context
        .hub
        .as_ref()
        .expect("its listing was just asked for");
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for list in listed.iter().filter(|file| lists.is_match(&file.path)) {
        if list.bytes > MAX_LIST_BYTES {
            let message = format!(
                "`{}` has {} bytes: no list of addresses",
                list.path, list.bytes
            );
            return Err(wrong(
                message,
                "let `lists` match the lists of addresses alone",
            ));
        }
        let local = hub
            .fetch(&source.repository, &commit, list, &|_| {})
            .map_err(failed)?;
        let text = read_list(&local).map_err(|error| SourceError::Io {
            dataset: dataset.manifest.name.clone(),
            error,
        })?;
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = || format!("line {} of `{}` at {place}", number + 1, list.path);
            if let Err(error) = check_address(line) {
                return Err(wrong(
                    format!("{}: {error}", at()),
                    "let `lists` match the lists of addresses alone",
                ));
            }
            let Some(path) = line.strip_prefix(&source.strip) else {
                return Err(wrong(
                    format!("{}: `{line}` does not begin with `{}`", at(), source.strip),
                    "let `strip` be what all addresses begin with",
                ));
            };
            if let Some(reason) = path_problem(path) {
                return Err(failed(FetchError::FileName {
                    repo: source.repository.to_string(),
                    path: path
                        .chars()
                        .take(300)
                        .flat_map(char::escape_debug)
                        .collect(),
                    reason,
                }));
            }
            wanted.insert(path.to_owned(), line.to_owned());
        }
    }
    let (files, exclude) = globs(dataset, &source.files, &source.exclude)?;
    let paths: Vec<&str> = wanted.keys().map(String::as_str).collect();
    if let Some(error) = unmatched(&source.files, &paths, &format!("the lists of {place}")) {
        return Err(error);
    }
    let wanted = wanted
        .into_iter()
        .filter(|(path, _)| files.is_match(path) && !exclude.is_match(path))
        .map(|(path, url)| Wanted {
            path,
            url,
            bytes: None,
            sha256: None,
        })
        .collect();
    pin(
        dataset,
        format!("urls:{}", source.repository),
        wanted,
        context,
    )
}

fn read_list(path: &Path) -> std::io::Result<String> {
    String::from_utf8(fs_err::read(path)?).map_err(|_| {
        let message = format!("{}: a list of addresses is not UTF-8", path.display());
        std::io::Error::new(std::io::ErrorKind::InvalidData, message)
    })
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// Pins every address: by what its manifest states, else by the lock file, else by asking its server.
fn pin(
    dataset: &Dataset,
    source: String,
    mut wanted: Vec<Wanted>,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let failed = |error| SourceError::Fetch {
        dataset: dataset.manifest.name.clone(),
        error,
    };
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    let known = |file: &Wanted, context: &Context<'_>| match (file.bytes, &file.sha256) {
        (Some(bytes), Some(sha256)) => Some(Pin {
            bytes,
            etag: None,
            sha256: Some(sha256.clone()),
        }),
        (bytes, sha256) => {
            let pin = context.lock.web(&file.url)?;
            // Who states another size or hash than the one that was pinned wants another file.
            let same_size = bytes.is_none_or(|bytes| bytes == pin.bytes);
            let same_hash = sha256.is_none() || pin.sha256.is_none() || *sha256 == pin.sha256;
            (same_size && same_hash).then(|| Pin {
                sha256: sha256.clone().or(pin.sha256),
                ..pin
            })
        }
    };
    let mut pins: Vec<Option<Pin>> = wanted.iter().map(|file| known(file, context)).collect();
    let unknown: Vec<usize> = (0..pins.len()).filter(|i| pins[*i].is_none()).collect();
    if !unknown.is_empty() {
        if context.web.is_none() {
            *context.web = Some(Web::from_env(context.downloads).map_err(failed)?);
        }
        let web = context.web.as_ref().expect("set just above");
        let urls: Vec<&str> = unknown.iter().map(|i| wanted[*i].url.as_str()).collect();
        let answers = probe_all(web, &urls);
        let mut first_error = None;
        for (i, answer) in unknown.into_iter().zip(answers) {
            match answer {
                Ok(mut pin) => {
                    let file = &wanted[i];
                    if let Some(bytes) = file.bytes.filter(|bytes| *bytes != pin.bytes) {
                        let error = FetchError::Changed {
                            url: file.url.clone(),
                            what: format!(
                                "its manifest states {bytes} bytes, and it has {}",
                                pin.bytes
                            ),
                        };
                        first_error.get_or_insert(error);
                        continue;
                    }
                    pin.sha256.clone_from(&file.sha256);
                    context.lock.pin_web(&file.url, &pin);
                    pins[i] = Some(pin);
                }
                // Not asked, since another failed.
                Err(FetchError::Stopped) => {}
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        if let Some(error) = first_error {
            // What the others answered is not asked again.
            let _ = context.lock.save();
            return Err(failed(error));
        }
    }
    let files: Vec<PlannedFile> = wanted
        .into_iter()
        .zip(pins)
        .filter_map(|(file, pin)| Some((file, pin?)))
        .map(|(file, pin)| PlannedFile {
            path: file.path,
            bytes: pin.bytes,
            // A hash that only becomes known with the first download must not turn the plan into another.
            digest: match &file.sha256 {
                Some(sha256) => format!("sha256:{sha256}"),
                None => format!("web:{}", pin.version(&file.url)),
            },
            location: Location::Web { url: file.url, pin },
        })
        .collect();
    let revision = Digest::of_value(
        &files
            .iter()
            .map(|file| (&file.path, &file.digest))
            .collect::<Vec<_>>(),
    );
    Ok(Listing {
        source,
        revision: revision.hex(),
        files,
        notes: Vec::new(),
    })
}

/// Asks many servers at once; the answers are in the order of the addresses. None is asked after a failure.
fn probe_all(web: &Web, urls: &[&str]) -> Vec<Result<Pin, FetchError>> {
    let next = AtomicUsize::new(0);
    let answers: Vec<Mutex<Result<Pin, FetchError>>> = urls
        .iter()
        .map(|_| Mutex::new(Err(FetchError::Stopped)))
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..PROBES.min(urls.len()) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(url) = urls.get(i) else { return };
                    let answer = web.probe(url);
                    if answer.is_err() {
                        next.store(urls.len(), Ordering::Relaxed);
                    }
                    *lock(&answers[i]) = answer;
                }
            });
        }
    });
    answers
        .into_iter()
        .map(|answer| {
            answer
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
