//! Remote files become verified local files: those of a dataset hub, those at plain addresses ([`Web`]) and
//! those of stores of objects ([`Store`]).
//!
//! A client of the dataset hub that keeps four promises which the ready-made ones do not: a download goes on where it stopped,
//! also in another process; nothing is published under its name before its size and hash are those that the repository lists;
//! the token reaches the endpoint's own origin and nothing else; and no name from a server leaves its folder. The protocol is
//! that of the hub's REST API (`/api/datasets/{id}/revision/{rev}`, `/api/datasets/{id}/tree/{commit}`,
//! `/datasets/{id}/resolve/{commit}/{path}`, and for models `/api/models/{id}/...` and `/{id}/resolve/...`); the cache is
//! the one all its clients share.
//!
//! The order of calls is resolve, list, fetch: a branch is resolved once, and all that follows names the commit.
//!
//! ```no_run
//! # fn main() -> Result<(), andromeda_pipeline::fetch::FetchError> {
//! use andromeda_pipeline::fetch::{Hub, RepoId};
//!
//! let hub = Hub::from_env()?;
//! let repo: RepoId = "allenai/c4".parse()?;
//! let commit = hub.resolve(&repo, "main")?;
//! for file in hub.list(&repo, &commit)? {
//!     let local = hub.fetch(&repo, &commit, &file, &|_event| {})?;
//!     assert!(local.starts_with(hub.cache()));
//! }
//! # Ok(())
//! # }
//! ```

mod access;
mod cache;
mod copy;
mod download;
mod error;
mod gate;
mod hash;
mod http;
mod name;
mod options;
mod parts;
mod pieces;
mod reference;
mod remote_build;
mod store;
mod url;
mod web;

pub use cache::free_bytes;
pub use copy::{CopiedBuild, CopyError, CopyOptions, copy};
pub use error::FetchError;
pub(crate) use hash::is_pointer;
pub use name::{Commit, RepoId, check_path, check_revision};
pub(crate) use name::{is_hex, path_problem};
pub use options::{HubOptions, Token};
pub use parts::Parts;
pub use reference::HubFile;
pub use remote_build::RemoteBuild;
pub use store::Store;
pub use web::{Pin, Web, check_address};

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use ureq::http::header;

use cache::RepoCache;
use download::{Found, Job};
use gate::Gate;
use hash::Expected;
use http::{Client, Failure, Patience, Place, Subject};
use url::{Url, escape, escape_path};

/// Most files a listing may have.
const MAX_FILES: usize = 2_000_000;
/// Largest answer of the API, in bytes; a page of a listing has about 300 KB.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// A file as its repository lists it: all that is needed to fetch it and to know that it is whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteFile {
    /// Path inside the repository, with slashes.
    pub path: String,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 of the content in hexadecimal, known for large files (LFS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Git's blob id in hexadecimal: of the content for small files, of the pointer for large ones.
    pub git_sha1: String,
}

impl RemoteFile {
    /// The hash that the content must have, which names its blob in the cache.
    #[must_use]
    pub fn content_id(&self) -> &str {
        self.sha256.as_deref().unwrap_or(&self.git_sha1)
    }

    fn check(&self, repo: &RepoId) -> Result<(), FetchError> {
        check_path(repo, &self.path)?;
        let malformed = |what| {
            Err(FetchError::Hash {
                repo: repo.to_string(),
                path: self.path.clone(),
                what,
            })
        };
        if self
            .sha256
            .as_deref()
            .is_some_and(|sha256| !name::is_hex(sha256, 64))
        {
            return malformed("sha256");
        }
        if !name::is_hex(&self.git_sha1, 40) {
            malformed("git sha1")
        } else {
            Ok(())
        }
    }
}

/// What happens during [`Hub::fetch`], in this order: `Waiting`?, (`Cached` | `Started` (`Received` | `Restarted` | `Retry`)*).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent<'a> {
    /// Another run is fetching the same content; its copy will be shared.
    Waiting,
    /// The content is in the cache and was checked.
    Cached {
        /// Size in bytes.
        bytes: u64,
    },
    /// The download begins.
    Started {
        /// Bytes that an earlier attempt left.
        kept: u64,
        /// Size in bytes of the whole.
        bytes: u64,
    },
    /// New bytes arrived.
    Received {
        /// How many since the last event of this kind.
        bytes: u64,
    },
    /// What had come is given up, and the file begins anew.
    Restarted {
        /// Bytes that are given up.
        lost: u64,
        /// Why.
        reason: &'a str,
    },
    /// An attempt failed and another follows.
    Retry {
        /// Wait before it.
        wait: Duration,
        /// Why the last one failed.
        reason: &'a str,
    },
}

/// A client of one hub with one cache. Calls may be made from many threads: they share [`HubOptions::connections`].
pub struct Hub {
    options: HubOptions,
    client: Client,
    gate: Gate,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Hub")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct RevisionAnswer {
    sha: String,
}

#[derive(Deserialize)]
struct TreeEntry {
    #[serde(rename = "type")]
    kind: String,
    oid: String,
    #[serde(default)]
    size: u64,
    path: String,
    #[serde(default)]
    lfs: Option<LfsEntry>,
}

#[derive(Deserialize)]
struct LfsEntry {
    oid: String,
    size: u64,
}

impl Hub {
    /// A client as the environment describes it.
    ///
    /// # Errors
    /// [`FetchError::Setting`] naming the variable that cannot be used.
    pub fn from_env() -> Result<Self, FetchError> {
        Self::new(HubOptions::from_env()?)
    }

    /// A client with these options.
    ///
    /// # Errors
    /// [`FetchError::Setting`] where the endpoint is not a plain `http(s)://host[:port][/path]`.
    pub fn new(options: HubOptions) -> Result<Self, FetchError> {
        let client = Client::new(&options)?;
        let gate = Gate::new(options.connections);
        Ok(Self {
            options,
            client,
            gate,
        })
    }

    /// Root of the hub's addresses.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.options.endpoint
    }

    /// Folder of the cache.
    #[must_use]
    pub fn cache(&self) -> &Path {
        &self.options.cache
    }

    /// The commit that a branch, tag or reference stands for now; a full commit stands for itself and is not asked for.
    /// Offline, the commit it stood for when last asked.
    ///
    /// # Errors
    /// [`FetchError::Gated`], [`FetchError::Refused`] and [`FetchError::NotFound`] say what to do; [`FetchError::Unreachable`]
    /// may pass; [`FetchError::Offline`] where nothing is cached.
    pub fn resolve(&self, repo: &RepoId, revision: &str) -> Result<Commit, FetchError> {
        check_revision(revision)?;
        if let Ok(commit) = revision.parse() {
            return Ok(commit);
        }
        let cache = self.repo_cache(repo);
        let what = format!("revision `{revision}`");
        if self.options.offline {
            return cache
                .read_ref(revision)?
                .ok_or_else(|| self.offline(repo, what));
        }
        let url = self.client.address(
            &format!("api/{}/revision/{}", repo.in_api(), escape(revision)),
            None,
        );
        let (answer, _): (RevisionAnswer, _) = self.ask(
            &url,
            Subject {
                place: Place::Hub(repo),
                what: &what,
            },
        )?;
        let reason = "does not answer with a commit".to_owned();
        let commit = answer.sha.parse().map_err(|_| FetchError::Protocol {
            url: url.shown(),
            reason,
        })?;
        cache.write_ref(revision, &commit)?;
        Ok(commit)
    }

    /// All files of a commit, sorted by path, each name checked. Offline, the listing that was kept, or else the files of
    /// the commit that any client left in the cache.
    ///
    /// # Errors
    /// As [`Hub::resolve`]; [`FetchError::FileName`] where a name must not reach the file system.
    pub fn list(&self, repo: &RepoId, commit: &Commit) -> Result<Vec<RemoteFile>, FetchError> {
        let cache = self.repo_cache(repo);
        let what = format!("the listing at commit {commit}");
        if self.options.offline {
            let files = cache
                .read_listing(commit)?
                .ok_or_else(|| self.offline(repo, what))?;
            return files
                .iter()
                .try_for_each(|file| file.check(repo))
                .map(|()| files);
        }
        let subject = Subject {
            place: Place::Hub(repo),
            what: &what,
        };
        let first = "recursive=true".to_owned();
        let mut seen = BTreeSet::from([first.clone()]);
        let mut query = Some(first);
        let mut files = Vec::new();
        while let Some(page) = query {
            let url = self
                .client
                .address(&format!("api/{}/tree/{commit}", repo.in_api()), Some(page));
            let (entries, next): (Vec<TreeEntry>, _) = self.ask(&url, subject)?;
            for entry in entries.into_iter().filter(|entry| entry.kind == "file") {
                let (bytes, sha256) = entry
                    .lfs
                    .map_or((entry.size, None), |lfs| (lfs.size, Some(lfs.oid)));
                let file = RemoteFile {
                    path: entry.path,
                    bytes,
                    sha256,
                    git_sha1: entry.oid,
                };
                file.check(repo)?;
                files.push(file);
            }
            let wrong = |reason: &str| FetchError::Protocol {
                url: url.shown(),
                reason: reason.to_owned(),
            };
            if files.len() > MAX_FILES {
                return Err(wrong("lists more than two million files"));
            }
            // Only the query of the link counts: the page stays at our endpoint, so neither a mirror that repeats its
            // origin's links nor a hostile one moves the token.
            query = match next.as_deref().map(|link| url.join(link)) {
                None => None,
                Some(link) => {
                    let link =
                        link.map_err(|_| wrong("links to a next page that is not an address"))?;
                    Some(
                        link.query()
                            .ok_or_else(|| wrong("links to a next page without a cursor"))?
                            .to_owned(),
                    )
                }
            };
            if query
                .as_ref()
                .is_some_and(|query| !seen.insert(query.clone()))
            {
                return Err(wrong("links its pages in a circle"));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(pair) = files.windows(2).find(|pair| pair[0].path == pair[1].path) {
            let reason = "it is listed twice";
            return Err(FetchError::FileName {
                repo: repo.to_string(),
                path: pair[0].path.clone(),
                reason,
            });
        }
        cache.write_listing(commit, &files)?;
        Ok(files)
    }

    /// A local copy of a file whose size and hash were compared with `file` in this call, downloaded or completed if need
    /// be. The path is that of the commit's snapshot in the cache.
    ///
    /// # Errors
    /// As [`Hub::resolve`], and [`FetchError::WrongSize`], [`FetchError::WrongHash`] where the bytes are not those listed (none
    /// is published), [`FetchError::NoSpace`] before a byte is written.
    pub fn fetch(
        &self,
        repo: &RepoId,
        commit: &Commit,
        file: &RemoteFile,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<PathBuf, FetchError> {
        self.fetch_until(&AtomicBool::new(false), repo, commit, file, on_event)
    }

    /// As [`Hub::fetch`], until `stop` is set: what has come by then is kept.
    ///
    /// # Errors
    /// As [`Hub::fetch`], and [`FetchError::Stopped`].
    pub fn fetch_until(
        &self,
        stop: &AtomicBool,
        repo: &RepoId,
        commit: &Commit,
        file: &RemoteFile,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<PathBuf, FetchError> {
        file.check(repo)?;
        let cache = self.repo_cache(repo);
        let pointer = cache.pointer(commit, &file.path);
        let expected = Expected::of(repo.to_string(), file);
        let found = download::check(&pointer, &expected)?;
        if let Found::Whole { .. } = found {
            on_event(FetchEvent::Cached { bytes: file.bytes });
            return Ok(pointer);
        }
        let what = format!("file `{}` at commit {commit}", file.path);
        let job = Job {
            client: &self.client,
            manners: self.options.manners(),
            gate: &self.gate,
            url: self.file_address(repo, commit, &file.path),
            subject: Subject {
                place: Place::Hub(repo),
                what: &what,
            },
            expected,
            slot: cache.slot(file.content_id()),
            stop,
        };
        // Offline, not even the folder of the locks is made for what is not there.
        if self.options.offline
            && found == Found::Absent
            && download::check(&job.slot.blob(), &job.expected)? == Found::Absent
        {
            return Err(download::offline(&job));
        }
        let lock = job.slot.lock(stop, || on_event(FetchEvent::Waiting))?;
        download::bring(&job, on_event)?;
        let pointer = cache.link(commit, &file.path, file.content_id())?;
        drop(lock);
        Ok(pointer)
    }

    /// Bytes of a file that are not in the cache yet, by the sizes of what is there.
    #[must_use]
    pub fn missing_bytes(&self, repo: &RepoId, file: &RemoteFile) -> u64 {
        let slot = self.repo_cache(repo).slot(file.content_id());
        slot.missing(file.bytes)
    }

    fn repo_cache<'a>(&self, repo: &'a RepoId) -> RepoCache<'a> {
        RepoCache::new(&self.options.cache, repo)
    }

    fn offline(&self, repo: &RepoId, what: String) -> FetchError {
        FetchError::Offline {
            repo: repo.to_string(),
            what,
            cache: self.options.cache.display().to_string(),
        }
    }

    fn file_address(&self, repo: &RepoId, commit: &Commit, path: &str) -> Url {
        self.client.address(
            &format!("{}/resolve/{commit}/{}", repo.on_hub(), escape_path(path)),
            None,
        )
    }

    /// Asks the API until it answers with JSON or there is no point in asking; also returns the link to the next page.
    fn ask<T: serde::de::DeserializeOwned>(
        &self,
        url: &Url,
        subject: Subject<'_>,
    ) -> Result<(T, Option<String>), FetchError> {
        let mut patience = Patience::new(self.options.manners(), &url.to_string());
        loop {
            match self.ask_once(url, subject) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Retry { reason, after }) => {
                    std::thread::sleep(patience.wait(url, &reason, after)?);
                }
            }
        }
    }

    fn ask_once<T: serde::de::DeserializeOwned>(
        &self,
        url: &Url,
        subject: Subject<'_>,
    ) -> Result<(T, Option<String>), Failure> {
        let answer = self.client.get(url, &[], subject)?;
        if answer.status != 200 {
            let reason = format!(
                "HTTP {} in answer to a plain request",
                answer.status.as_u16()
            );
            return Err(FetchError::Protocol {
                url: url.shown(),
                reason,
            }
            .into());
        }
        let next = answer
            .headers
            .get_all(header::LINK)
            .iter()
            .find_map(|link| next_page(link.to_str().ok()?));
        let body = http::read_capped(answer, url, MAX_ANSWER_BYTES)?;
        // A login page of some network in between, as a rule: it goes away, or names itself here.
        let answer = serde_json::from_slice(&body).map_err(|error| {
            Failure::retry(format!("the answer is not the API's JSON ({error})"))
        })?;
        Ok((answer, next))
    }
}

/// The target of `rel="next"` in a `Link` header (RFC 8288).
fn next_page(header: &str) -> Option<String> {
    let mut rest = header;
    loop {
        let (_, after) = rest.split_once('<')?;
        let (target, after) = after.split_once('>')?;
        let end = after
            .find(",<")
            .or_else(|| after.find(", <"))
            .unwrap_or(after.len());
        let is_next = after[..end].split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let mut relations = value.trim().trim_matches(['"', ',']).split(' ');
            name.trim().eq_ignore_ascii_case("rel")
                && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.to_owned());
        }
        rest = &after[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        for (header, next) in [
            (
                "<https://h/x?cursor=a>; rel=\"next\"",
                Some("https://h/x?cursor=a"),
            ),
            (
                "<https://h/1>; rel=\"prev\", <https://h/2,3>; rel=next",
                Some("https://h/2,3"),
            ),
            (
                "<https://h/2>; title=\"x\"; REL=\"last next\"",
                Some("https://h/2"),
            ),
            ("<https://h/1>; rel=\"prev\"", None),
            ("<https://h/1; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next_page(header).as_deref(), next, "{header}");
        }
    }

    #[test]
    fn a_description_with_a_forged_hash_is_refused() {
        let repo: RepoId = "a/b".parse().unwrap();
        let good = RemoteFile {
            path: "x".into(),
            bytes: 1,
            sha256: Some("0".repeat(64)),
            git_sha1: "0".repeat(40),
        };
        good.check(&repo).unwrap();
        for (sha256, git_sha1) in [
            (Some("../../x".to_owned()), "0".repeat(40)),
            (None, "../x".to_owned()),
            (None, "A".repeat(40)),
        ] {
            assert!(
                RemoteFile {
                    sha256,
                    git_sha1,
                    ..good.clone()
                }
                .check(&repo)
                .is_err()
            );
        }
    }
}
