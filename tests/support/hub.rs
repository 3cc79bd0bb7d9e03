//! The hub's protocol over two origins: the endpoint (API, redirects, small files) and the storage (large files behind signed
//! addresses), on two ports, as the real one has them on two hosts. The endpoint also stands in for every other host, each
//! below `/mirror/<host>/`.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::repository::{Content, RemoteEntry, Repository};
use crate::server::{Allowance, Reply, Request, Server};

/// Options of a [`LoopbackHub`].
#[derive(Clone, Debug)]
pub struct HubConfig {
    /// Port of the endpoint; 0 takes a free one.
    pub port: u16,
    /// Entries of a listing on one page.
    pub page_size: usize,
    /// Repositories that need a token.
    pub gated: BTreeSet<String>,
    /// Tokens whose accounts have access to the gated ones; none means that every token does.
    pub tokens: BTreeSet<String>,
    /// Requests that the endpoint answers in such a time; more are told to come back when it is over.
    pub rate_limit: Option<(u32, Duration)>,
}

impl Default for HubConfig {
    fn default() -> Self {
        // The page size of the real hub.
        Self {
            port: 0,
            page_size: 1000,
            gated: BTreeSet::new(),
            tokens: BTreeSet::new(),
            rate_limit: None,
        }
    }
}

/// A request as the hub saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// `endpoint` or `storage`.
    pub origin: &'static str,
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// The `If-Range` header.
    pub if_range: Option<String>,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

/// A misbehaviour, on how many of the requests that it fits.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Part of `origin target`, for instance `storage /` or `endpoint /api`.
    pub on: String,
    /// Requests that it spoils before it is used up.
    pub times: u32,
    /// What it does to them.
    pub how: Misbehaviour,
}

/// What can go wrong.
#[derive(Clone, Debug)]
pub enum Misbehaviour {
    /// Close after so many bytes of the body.
    Cut(u64),
    /// Send nothing more after so many bytes of the body.
    Stall(u64),
    /// Flip a bit at this offset of the body.
    Corrupt(u64),
    /// Send zeros from this offset of the body on.
    Zeros(u64),
    /// Announce so many bytes more than are sent.
    AnnounceMore(u64),
    /// Announce so many bytes fewer than are sent.
    AnnounceFewer(u64),
    /// Send this content as if it were the file's.
    Other(Arc<[u8]>),
    /// Send pieces of so many bytes with such pauses.
    Trickle(usize, Duration),
    /// Announce no length.
    Chunked,
    /// Close before the status line.
    HangUp,
    /// Answer a range with the whole.
    IgnoreRange,
    /// Answer a range with another one that begins so many bytes later.
    ShiftRange(u64),
    /// Answer a range with 416.
    RefuseRange,
    /// Drop so many bytes from the end of the content, consistently.
    Shorten(u64),
    /// Append one byte to the content, consistently.
    Lengthen,
    /// Answer with this status and these headers.
    Status(u16, Vec<(String, String)>),
    /// Redirect with this status.
    Redirect(u16, String),
    /// Answer 200 with somebody's login page.
    Html,
    /// Claim that the body is compressed.
    Gzip,
}

struct State {
    config: HubConfig,
    /// By id; the last commit is `main`.
    repositories: Mutex<BTreeMap<String, Vec<Repository>>>,
    /// By id and name: commits that other references stand for.
    references: Mutex<BTreeMap<(String, String), Repository>>,
    /// By host and path: files of the web.
    web: Mutex<BTreeMap<String, RemoteEntry>>,
    /// When the window of the rate limit began, and the requests in it.
    window: Mutex<(Instant, u32)>,
    faults: Mutex<Vec<Fault>>,
    seen: Mutex<Vec<Seen>>,
    /// Faults that happened.
    spoilt: AtomicU64,
    allowance: Arc<Allowance>,
    storage_tag: Mutex<String>,
    storage: Mutex<String>,
    endpoint: Mutex<String>,
}

/// A running hub; dropping it ends it.
pub struct LoopbackHub {
    state: Arc<State>,
    endpoint: Server,
    storage: Server,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoopbackHub {
    /// Starts serving.
    ///
    /// # Errors
    /// Where the port is taken.
    pub fn start(
        config: HubConfig,
        repositories: impl IntoIterator<Item = Repository>,
    ) -> io::Result<Self> {
        let state = Arc::new(State {
            config,
            repositories: Mutex::default(),
            references: Mutex::default(),
            web: Mutex::default(),
            window: Mutex::new((Instant::now(), 0)),
            faults: Mutex::default(),
            seen: Mutex::default(),
            spoilt: AtomicU64::new(0),
            allowance: Arc::default(),
            storage_tag: Mutex::new("v1".to_owned()),
            storage: Mutex::default(),
            endpoint: Mutex::default(),
        });
        let serve = |port, origin: &'static str| {
            let state = Arc::clone(&state);
            Server::start(port, move |request: &Request| state.answer(origin, request))
        };
        let endpoint = serve(state.config.port, "endpoint")?;
        let storage = serve(0, "storage")?;
        *lock(&state.storage) = storage.origin();
        *lock(&state.endpoint) = endpoint.origin();
        let hub = Self {
            state,
            endpoint,
            storage,
        };
        for repository in repositories {
            hub.publish(repository);
        }
        Ok(hub)
    }

    /// Value of `HF_ENDPOINT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.origin()
    }

    /// Makes a commit the `main` of its repository; earlier ones can still be asked for.
    pub fn publish(&self, repository: Repository) {
        lock(&self.state.repositories)
            .entry(repository.id.clone())
            .or_default()
            .push(repository);
    }

    /// Makes a commit what a reference such as `refs/convert/parquet` stands for.
    pub fn publish_as(&self, reference: &str, repository: Repository) {
        let name = (repository.id.clone(), reference.to_owned());
        lock(&self.state.references).insert(name, repository);
    }

    /// Value of `ANDROMEDA_WEB_MIRROR`.
    #[must_use]
    pub fn mirror(&self) -> String {
        format!("{}/mirror", self.endpoint())
    }

    /// Serves a file of the web at its place on the mirror.
    pub fn serve_web(&self, url: &str, entry: RemoteEntry) {
        let place = url.split_once("://").map_or(url, |(_, place)| place);
        lock(&self.state.web).insert(place.to_owned(), entry);
    }

    /// Misbehaves from now on.
    pub fn spoil(&self, on: &str, times: u32, how: Misbehaviour) {
        lock(&self.state.faults).push(Fault {
            on: on.to_owned(),
            times,
            how,
        });
    }

    /// Behaves from now on.
    pub fn mend(&self) {
        lock(&self.state.faults).clear();
    }

    /// Gives all content of the storage new entity tags, as a move to other disks would.
    pub fn retag_storage(&self, tag: &str) {
        tag.clone_into(&mut lock(&self.state.storage_tag));
    }

    /// The requests so far, in order of arrival; forgets them.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *lock(&self.state.seen))
    }

    /// Requests that were spoilt so far.
    #[must_use]
    pub fn spoilt(&self) -> u64 {
        self.state.spoilt.load(Ordering::SeqCst)
    }

    /// What the storage has sent and may send.
    #[must_use]
    pub fn allowance(&self) -> &Allowance {
        &self.state.allowance
    }

    /// Connections so far, to both origins.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.endpoint.connections() + self.storage.connections()
    }
}

impl State {
    fn answer(&self, origin: &'static str, request: &Request) -> Reply {
        let header = |name| request.header(name).map(str::to_owned);
        lock(&self.seen).push(Seen {
            origin,
            method: request.method.clone(),
            target: request.target.clone(),
            range: header("range"),
            if_range: header("if-range"),
            authorization: header("authorization"),
        });
        let fault = self.fault(&format!("{origin} {}", request.target));
        match &fault {
            Some(Misbehaviour::Status(status, headers)) => {
                return headers
                    .iter()
                    .fold(Reply::new(*status, "no"), |reply, (name, value)| {
                        reply.with(name, value)
                    });
            }
            Some(Misbehaviour::Redirect(status, to)) => {
                return Reply::new(*status, "").with("Location", to);
            }
            Some(Misbehaviour::Html) => {
                return Reply::new(200, "<html>Please log in to this network</html>")
                    .with("Content-Type", "text/html");
            }
            _ => {}
        }
        let mut reply = if origin == "storage" {
            let mut reply = self.stored(request, &fault);
            reply.manner.allowance = Some(Arc::clone(&self.allowance));
            reply
        } else if let Some(refusal) = self.too_many() {
            refusal
        } else if let Some(place) = request.path().strip_prefix("/mirror/") {
            self.mirrored(place, request, &fault)
        } else {
            self.routed(request, &fault)
        };
        let manner = &mut reply.manner;
        match fault {
            Some(Misbehaviour::Cut(after)) => manner.cut_after = Some(after),
            Some(Misbehaviour::Stall(after)) => manner.stall_after = Some(after),
            Some(Misbehaviour::Corrupt(at)) => manner.corrupt_at = Some(at),
            Some(Misbehaviour::Zeros(from)) => manner.zero_from = Some(from),
            Some(Misbehaviour::AnnounceMore(by)) => manner.announce = Some(reply.length + by),
            Some(Misbehaviour::AnnounceFewer(by)) => {
                manner.announce = Some(reply.length.saturating_sub(by));
            }
            Some(Misbehaviour::Trickle(piece, pause)) => manner.trickle = Some((piece, pause)),
            Some(Misbehaviour::Chunked) => manner.chunked = true,
            Some(Misbehaviour::HangUp) => manner.hang_up = true,
            Some(Misbehaviour::Gzip) => reply = reply.with("Content-Encoding", "gzip"),
            _ => {}
        }
        reply
    }

    fn fault(&self, what: &str) -> Option<Misbehaviour> {
        let mut faults = lock(&self.faults);
        let fault = faults
            .iter_mut()
            .find(|fault| fault.times > 0 && what.contains(&fault.on))?;
        fault.times -= 1;
        self.spoilt.fetch_add(1, Ordering::SeqCst);
        Some(fault.how.clone())
    }

    /// The refusal of a request beyond the rate limit, as the hub's: the window's end in both headers.
    fn too_many(&self) -> Option<Reply> {
        let (requests, window) = self.config.rate_limit?;
        let mut current = lock(&self.window);
        if current.0.elapsed() >= window {
            *current = (Instant::now(), 0);
        }
        current.1 += 1;
        if current.1 <= requests {
            return None;
        }
        let left = window.saturating_sub(current.0.elapsed());
        let seconds = left.as_millis().div_ceil(1000).max(1);
        Some(
            refusal(429, "", "Too many requests")
                .with("Retry-After", seconds.to_string())
                .with("RateLimit", format!("\"api\";r=0;t={seconds}")),
        )
    }

    /// A file of another host.
    fn mirrored(&self, place: &str, request: &Request, fault: &Option<Misbehaviour>) -> Reply {
        let web = lock(&self.web);
        match web.get(place) {
            Some(entry) => {
                let tag = format!("\"{}-{}\"", lock(&self.storage_tag), &entry.sha256[..16]);
                content(entry, &tag, request, fault)
            }
            None => refusal(404, "", "not found"),
        }
    }

    fn routed(&self, request: &Request, fault: &Option<Misbehaviour>) -> Reply {
        let parts: Option<Vec<String>> = request.path().split('/').skip(1).map(unescape).collect();
        let Some(parts) = parts else {
            return refusal(400, "BadRequest", "the path is not UTF-8");
        };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (is_api, rest) = match parts.as_slice() {
            ["api", "datasets", rest @ ..] => (true, rest),
            ["api", rest @ ..] => (true, rest),
            ["datasets", rest @ ..] => (false, rest),
            // Models stand at the hub's root.
            rest => (false, rest),
        };
        let of_model: Vec<&str> = match rest {
            ["models", ..] => rest.to_vec(),
            _ => ["models"].into_iter().chain(rest.iter().copied()).collect(),
        };
        let is_of_dataset = matches!(parts.as_slice(), ["api", "datasets", ..] | ["datasets", ..]);
        let rest = if is_of_dataset { rest } else { &of_model };
        let repositories = lock(&self.repositories);
        let by_id = |parts: usize| {
            let id = rest.get(..parts)?.join("/");
            repositories
                .get(&id)
                .map(|commits| (commits, &rest[parts..]))
        };
        let found = match is_of_dataset {
            true => by_id(2).or_else(|| by_id(1)),
            false => by_id(3),
        };
        let Some((commits, rest)) = found else {
            // The real hub does not tell strangers which private repositories exist.
            let status = if request.header("authorization").is_some() {
                404
            } else {
                401
            };
            return refusal(status, "RepoNotFound", "Repository not found");
        };
        let Some(main) = commits.last() else {
            return refusal(404, "RepoNotFound", "Repository not found");
        };
        let references = lock(&self.references);
        let at = |revision: &str| match revision {
            "main" => Some(main),
            other => commits
                .iter()
                .find(|commit| commit.commit == other)
                .or_else(|| references.get(&(main.id.clone(), other.to_owned())))
                .or_else(|| {
                    let of_this = references.iter().filter(|((id, _), _)| *id == main.id);
                    of_this
                        .map(|(_, commit)| commit)
                        .find(|commit| commit.commit == other)
                }),
        };
        let unknown = || refusal(404, "RevisionNotFound", "Invalid rev id");
        match (is_api, rest) {
            (true, []) => json_reply(&info(main)),
            (true, ["revision", revision]) => {
                at(revision).map_or_else(unknown, |commit| json_reply(&info(commit)))
            }
            (true, ["tree", revision]) => match (self.gate(&main.id, request), at(revision)) {
                (Some(refusal), _) => refusal,
                (None, None) => unknown(),
                (None, Some(commit)) => self.tree(commit, request),
            },
            (false, ["resolve", revision, path @ ..]) => {
                match (self.gate(&main.id, request), at(revision)) {
                    (Some(refusal), _) => refusal,
                    (None, None) => unknown(),
                    (None, Some(commit)) => self.file(commit, &path.join("/"), request, fault),
                }
            }
            _ => refusal(404, "", "not found"),
        }
    }

    /// The refusal of a stranger, or of an account without access.
    fn gate(&self, id: &str, request: &Request) -> Option<Reply> {
        if !self.config.gated.contains(id) {
            return None;
        }
        let message =
            format!("Access to dataset {id} is restricted. Visit its page to ask for access.");
        match request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "))
        {
            None => Some(refusal(401, "GatedRepo", &message)),
            Some(token) if self.config.tokens.is_empty() || self.config.tokens.contains(token) => {
                None
            }
            Some(_) => Some(refusal(403, "GatedRepo", &message)),
        }
    }

    fn tree(&self, commit: &Repository, request: &Request) -> Reply {
        let query: BTreeMap<&str, &str> = request
            .query()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let is_recursive = query
            .get("recursive")
            .is_some_and(|value| matches!(*value, "true" | "True" | "1"));
        let from = query
            .get("cursor")
            .and_then(|cursor| cursor.parse().ok())
            .unwrap_or(0);
        let mut entries: BTreeMap<String, Value> = BTreeMap::new();
        for (path, file) in &commit.files {
            for (end, _) in path.match_indices('/') {
                let folder = &path[..end];
                entries.insert(
                    folder.to_owned(),
                    json!({"type": "directory", "oid": "0".repeat(40), "size": 0, "path": folder}),
                );
            }
            let mut entry =
                json!({"type": "file", "oid": file.oid(), "size": file.bytes, "path": path});
            if file.is_lfs {
                entry["lfs"] = json!({"oid": file.sha256, "size": file.bytes, "pointerSize": 134});
                // Where content is deduplicated by chunks; clients that do not know that get it whole all the same.
                entry["xetHash"] = json!(file.sha256.chars().rev().collect::<String>());
            }
            entries.insert(path.clone(), entry);
        }
        let entries: Vec<Value> = entries
            .into_iter()
            .filter(|(path, _)| is_recursive || !path.contains('/'))
            .map(|(_, entry)| entry)
            .collect();
        let size = self.config.page_size.max(1);
        let page: Vec<&Value> = entries.iter().skip(from).take(size).collect();
        let reply = json_reply(&json!(page));
        let next = from + size;
        if next >= entries.len() {
            return reply;
        }
        let address = format!(
            "{}{}?recursive={is_recursive}&cursor={next}",
            lock(&self.endpoint),
            request.path()
        );
        reply.with("Link", format!("<{address}>; rel=\"next\""))
    }

    fn file(
        &self,
        commit: &Repository,
        path: &str,
        request: &Request,
        fault: &Option<Misbehaviour>,
    ) -> Reply {
        let Some(entry) = commit.files.get(path) else {
            return refusal(404, "EntryNotFound", "Entry not found");
        };
        if !entry.is_lfs {
            let tag = format!("\"{}\"", entry.git_sha1);
            return content(entry, &tag, request, fault).with("X-Repo-Commit", &commit.commit);
        }
        let address = format!(
            "{}/{}?signature=s3cr3t&expires=never",
            lock(&self.storage),
            entry.sha256
        );
        Reply::new(302, "Found. Redirecting")
            .with("Location", address)
            .with("X-Repo-Commit", &commit.commit)
            .with("X-Linked-Size", entry.bytes.to_string())
            .with("X-Linked-Etag", format!("\"{}\"", entry.sha256))
            .with("X-Xet-Hash", entry.sha256.chars().rev().collect::<String>())
            .with(
                "Link",
                format!(
                    "<{}/api/datasets/{}/xet-read-token/{}>; rel=\"xet-auth\"",
                    lock(&self.endpoint),
                    commit.id,
                    commit.commit
                ),
            )
    }

    fn stored(&self, request: &Request, fault: &Option<Misbehaviour>) -> Reply {
        // As the real one: a signature and a token together are an error.
        if request.header("authorization").is_some() {
            return refusal(400, "", "Only one auth mechanism allowed");
        }
        if !request.query().contains("signature=s3cr3t") {
            return refusal(403, "", "Access denied");
        }
        let repositories = lock(&self.repositories);
        let references = lock(&self.references);
        let mut entries = repositories
            .values()
            .flatten()
            .chain(references.values())
            .flat_map(|commit| commit.files.values());
        let sha256 = request.path().trim_start_matches('/');
        let Some(entry) = entries.find(|entry| entry.is_lfs && entry.sha256 == sha256) else {
            return refusal(404, "", "No such key");
        };
        let tag = format!("\"{}-{}\"", lock(&self.storage_tag), &entry.sha256[..16]);
        content(entry, &tag, request, fault)
    }
}

/// The content of a file, or the part that is asked for (RFC 9110, sections 13.1.5 and 14.2).
fn content(
    entry: &RemoteEntry,
    tag: &str,
    request: &Request,
    fault: &Option<Misbehaviour>,
) -> Reply {
    let mut reply = Reply::new(200, "")
        .with("ETag", tag)
        .with("Accept-Ranges", "bytes");
    reply.body = entry.content.clone();
    reply.length = entry.bytes;
    match fault {
        Some(Misbehaviour::Other(bytes)) => {
            reply.body = Content::Memory(Arc::clone(bytes));
            reply.length = bytes.len() as u64;
        }
        Some(Misbehaviour::Shorten(bytes)) => reply.length = reply.length.saturating_sub(*bytes),
        Some(Misbehaviour::Lengthen) => {
            let mut longer = Reply::new(
                200,
                vec![b'x'; usize::try_from(entry.bytes).map_or(1, |bytes| bytes + 1)],
            );
            longer.headers = reply.headers;
            return longer;
        }
        _ => {}
    }
    let is_same = request
        .header("if-range")
        .is_none_or(|wanted| wanted == tag);
    let range = request
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.split_once('-'));
    let (Some((start, end)), true, false) = (
        range,
        is_same,
        matches!(fault, Some(Misbehaviour::IgnoreRange)),
    ) else {
        return reply;
    };
    let Ok(mut start) = start.parse::<u64>() else {
        return reply;
    };
    if let Some(Misbehaviour::ShiftRange(by)) = fault {
        start = start.saturating_add(*by);
    }
    let total = reply.length;
    if start >= total || matches!(fault, Some(Misbehaviour::RefuseRange)) {
        return refusal(416, "", "").with("Content-Range", format!("bytes */{total}"));
    }
    let end = end
        .parse::<u64>()
        .map_or(total, |end| end.saturating_add(1).min(total))
        .max(start + 1);
    reply.status = 206;
    reply.start = start;
    reply.length = end - start;
    reply.with(
        "Content-Range",
        format!("bytes {start}-{}/{total}", end - 1),
    )
}

fn info(commit: &Repository) -> Value {
    let siblings: Vec<Value> = commit
        .files
        .keys()
        .map(|path| json!({"rfilename": path}))
        .collect();
    json!({"id": commit.id, "sha": commit.commit, "private": false, "siblings": siblings})
}

fn json_reply(value: &Value) -> Reply {
    Reply::new(200, value.to_string()).with("Content-Type", "application/json")
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    let reply =
        Reply::new(status, json!({"error": message}).to_string()).with("X-Error-Message", message);
    if code.is_empty() {
        reply
    } else {
        reply.with("X-Error-Code", code)
    }
}

/// One component of a path without its escapes.
fn unescape(component: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = component.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        let escaped = (byte == b'%').then(|| rest.get(..2)).flatten();
        let digits = escaped
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        if let Some(digits) = digits {
            bytes.push(digits);
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
