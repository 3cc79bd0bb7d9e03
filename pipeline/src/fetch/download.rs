//! One file: what is there is checked, what is missing is asked for, and only what adds up gets its name. The bytes that
//! came before a cut are kept and hashed again on the next attempt, so that a wrong prefix is found out like any other wrong
//! byte. `If-Range` with the storage's own tag guards against mixing two versions; should a server ignore ranges, its whole
//! answer replaces what was kept.

use fs_err as fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ureq::http::HeaderMap;
use ureq::http::header::{self, HeaderName};

use super::cache::{RepoCache, absent, free_bytes, remove, sync_folder};
use super::hash::ContentHash;
use super::http::{Answer, Failure, Patience, Subject, content_length};
use super::{Commit, FetchError, FetchEvent, Hub, RemoteFile, RepoId};

const BUFFER_BYTES: usize = 256 * 1024;
/// New bytes after which a failed attempt no longer counts: the connection is bad, but it gets there.
const FORGIVEN_AFTER_BYTES: u64 = 1 << 20;
/// A server that sends less than this per second, over four times the timeout, counts as stalled.
const SLOWEST_BYTES_PER_SECOND: u64 = 1024;

pub(super) fn fetch(
    hub: &Hub,
    repo: &RepoId,
    commit: &Commit,
    file: &RemoteFile,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<PathBuf, FetchError> {
    let cache = hub.repo_cache(repo);
    let pointer = cache.pointer(commit, &file.path);
    let cached = || on_event(FetchEvent::Cached { bytes: file.bytes });
    let found = check(&pointer, file)?;
    if found == Found::Whole {
        cached();
        return Ok(pointer);
    }
    if hub.options.offline
        && found == Found::Absent
        && check(&cache.blob(file.content_id()), file)? == Found::Absent
    {
        return Err(hub.offline(repo, format!("file `{}` at commit {commit}", file.path)));
    }
    let lock = cache.lock(file.content_id(), || on_event(FetchEvent::Waiting))?;
    let blob = cache.blob(file.content_id());
    match check(&blob, file)? {
        Found::Whole => cached(),
        Found::Wrong { bytes, hash } if hub.options.offline => {
            return Err(mismatch(repo, file, bytes, hash));
        }
        Found::Absent if hub.options.offline => {
            return Err(hub.offline(repo, format!("file `{}` at commit {commit}", file.path)));
        }
        wrong_or_absent => {
            if wrong_or_absent != Found::Absent {
                remove(&blob)?;
            }
            download(hub, &cache, Request { repo, commit, file }, on_event)?;
        }
    }
    let pointer = cache.link(commit, &file.path, file.content_id())?;
    drop(lock);
    Ok(pointer)
}

#[derive(Clone, Copy)]
struct Request<'a> {
    repo: &'a RepoId,
    commit: &'a Commit,
    file: &'a RemoteFile,
}

#[derive(PartialEq, Eq)]
enum Found {
    Absent,
    Whole,
    /// The hash is empty where the size alone is wrong.
    Wrong {
        bytes: u64,
        hash: String,
    },
}

/// Compares a file of the cache with its description.
fn check(path: &Path, file: &RemoteFile) -> Result<Found, FetchError> {
    let mut content = match fs::File::open(path) {
        Ok(content) => content,
        Err(error) if absent(&error) => return Ok(Found::Absent),
        Err(error) => return Err(FetchError::io("open a file of the cache")(error)),
    };
    let read = FetchError::io("read a file of the cache");
    let mut compare = || -> io::Result<Found> {
        let bytes = content.metadata()?.len();
        if bytes != file.bytes {
            return Ok(Found::Wrong {
                bytes,
                hash: String::new(),
            });
        }
        let mut hash = ContentHash::new(file);
        let bytes = hash.update_from(&mut content, u64::MAX)?;
        let hash = hash.finish();
        Ok(if hash == file.content_id() {
            Found::Whole
        } else {
            Found::Wrong { bytes, hash }
        })
    };
    compare().map_err(read)
}

fn mismatch(repo: &RepoId, file: &RemoteFile, bytes: u64, hash: String) -> FetchError {
    let (repo, path) = (repo.to_string(), file.path.clone());
    if bytes != file.bytes || hash.is_empty() {
        return FetchError::WrongSize {
            repo,
            path,
            expected: file.bytes,
            found: bytes,
        };
    }
    let kind = if file.sha256.is_some() {
        "sha256"
    } else {
        "git sha1"
    };
    FetchError::WrongHash {
        repo,
        path,
        kind,
        expected: file.content_id().to_owned(),
        found: hash,
    }
}

/// What came so far, on disk and in the hash; both always have the same bytes.
struct Partial<'a> {
    file: &'a RemoteFile,
    content: fs::File,
    hash: ContentHash,
    bytes: u64,
    /// Where the storage's tag is kept between processes.
    tag_path: PathBuf,
}

impl<'a> Partial<'a> {
    fn open(path: &Path, tag_path: PathBuf, file: &'a RemoteFile) -> io::Result<Self> {
        let mut content = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut hash = ContentHash::new(file);
        let mut bytes = content.metadata()?.len();
        if bytes > file.bytes {
            content.set_len(0)?;
            bytes = 0;
        }
        if hash.update_from(&mut content, bytes)? != bytes {
            return Err(io::Error::new(
                ErrorKind::UnexpectedEof,
                format!("{} shrinks while it is read", path.display()),
            ));
        }
        Ok(Self {
            file,
            content,
            hash,
            bytes,
            tag_path,
        })
    }

    fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.content.write_all(chunk)?;
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.content.set_len(0)?;
        self.content.seek(SeekFrom::Start(0))?;
        self.hash = ContentHash::new(self.file);
        self.bytes = 0;
        Ok(())
    }

    /// After a failed write the file may be longer than the hash knows.
    fn cut_to_hash(&mut self) -> io::Result<()> {
        self.content.set_len(self.bytes)?;
        self.content.seek(SeekFrom::Start(self.bytes)).map(drop)
    }

    /// The storage's tag of what is kept, if it gave a strong one.
    fn tag(&self) -> Option<String> {
        let mut tag = String::new();
        fs::File::open(&self.tag_path)
            .ok()?
            .take(1024)
            .read_to_string(&mut tag)
            .ok()?;
        is_strong(&tag).then_some(tag)
    }

    fn set_tag(&self, headers: &HeaderMap) -> Result<(), FetchError> {
        let tag = headers
            .get(header::ETAG)
            .and_then(|tag| tag.to_str().ok())
            .filter(|tag| is_strong(tag));
        match tag {
            Some(tag) => fs::write(&self.tag_path, tag)
                .map_err(FetchError::io("write a tag beside a partial file")),
            None => remove(&self.tag_path),
        }
    }
}

/// A strong entity tag (RFC 9110, section 8.8.3); weak ones may not be used with `If-Range`.
fn is_strong(tag: &str) -> bool {
    tag.len() > 2
        && tag.len() <= 256
        && tag.starts_with('"')
        && tag.ends_with('"')
        && tag[1..tag.len() - 1]
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

/// How one attempt ended, short of a failure.
enum Outcome {
    Complete,
    /// The size or range offered cannot be right; nothing was written.
    Offered {
        bytes: u64,
    },
    /// What is kept and what the server has do not fit together.
    Unfit {
        reason: &'static str,
    },
    /// More bytes than the file has.
    TooLong,
}

/// Downloads into `blobs/<id>.incomplete` and renames it to the blob. The lock of the blob is held.
fn download(
    hub: &Hub,
    cache: &RepoCache<'_>,
    request: Request<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<(), FetchError> {
    let file = request.file;
    let blob = cache.blob(file.content_id());
    let blobs = cache.blobs();
    let incomplete = blobs.join(format!("{}.incomplete", file.content_id()));
    fs::create_dir_all(&blobs).map_err(FetchError::io("make the folder of blobs"))?;
    let tag_path = blobs.join(format!("{}.etag", file.content_id()));
    let mut partial = Partial::open(&incomplete, tag_path, file)
        .map_err(FetchError::io("open a partial file"))?;
    preflight(&blobs, file.bytes - partial.bytes)?;
    on_event(FetchEvent::Started {
        kept: partial.bytes,
        bytes: file.bytes,
    });

    let url = hub.file_address(request.repo, request.commit, &file.path);
    let mut patience = Patience::new(&hub.options, &url.to_string());
    // One disagreement may be the fault of a kept prefix or of one transfer; two are the server's.
    let mut doubted = false;
    let found = loop {
        let before = partial.bytes;
        let outcome = if partial.bytes == file.bytes {
            Ok(Outcome::Complete)
        } else {
            attempt(hub, request, &mut partial, on_event)
        };
        let (reason, error) = match outcome {
            Ok(Outcome::Complete) => {
                let hash = std::mem::replace(&mut partial.hash, ContentHash::new(file)).finish();
                if hash == file.content_id() {
                    break Ok(());
                }
                (
                    "its hash is wrong",
                    mismatch(request.repo, file, partial.bytes, hash),
                )
            }
            Ok(Outcome::Unfit { reason }) => {
                let error = FetchError::Protocol {
                    url: url.shown(),
                    reason: reason.to_owned(),
                };
                (reason, error)
            }
            Ok(Outcome::TooLong) => (
                "it is longer than listed",
                mismatch(request.repo, file, file.bytes + 1, String::new()),
            ),
            Ok(Outcome::Offered { bytes }) => {
                let error = mismatch(request.repo, file, bytes, String::new());
                if std::mem::replace(&mut doubted, true) {
                    return Err(error);
                }
                let reason = "a file of another size is offered";
                let wait = patience.wait(&url, reason, None)?;
                on_event(FetchEvent::Retry { wait, reason });
                std::thread::sleep(wait);
                continue;
            }
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::Retry { reason, after }) => {
                if partial.bytes.saturating_sub(before) >= FORGIVEN_AFTER_BYTES {
                    patience.forgive();
                }
                let wait = patience.wait(&url, &reason, after)?;
                on_event(FetchEvent::Retry {
                    wait,
                    reason: &reason,
                });
                std::thread::sleep(wait);
                continue;
            }
        };
        if std::mem::replace(&mut doubted, true) {
            break Err(error);
        }
        on_event(FetchEvent::Restarted {
            lost: partial.bytes,
            reason,
        });
        partial
            .restart()
            .map_err(FetchError::io("empty a partial file"))?;
    };
    let synced = found.and_then(|()| {
        partial
            .content
            .sync_all()
            .map_err(FetchError::io("sync a download"))
    });
    let tag_path = partial.tag_path;
    drop(partial.content);
    if let Err(error) = synced {
        if error.is_integrity() {
            remove(&incomplete)?;
            remove(&tag_path)?;
        }
        return Err(error);
    }
    fs::rename(&incomplete, &blob).map_err(FetchError::io("publish a download"))?;
    sync_folder(&blobs)?;
    remove(&tag_path)
}

fn preflight(folder: &Path, needed: u64) -> Result<(), FetchError> {
    let free = free_bytes(folder)?;
    if needed > free {
        Err(FetchError::NoSpace {
            folder: folder.to_owned(),
            needed,
            free,
        })
    } else {
        Ok(())
    }
}

/// One request for what is missing, and as many of its bytes as come.
fn attempt(
    hub: &Hub,
    request: Request<'_>,
    partial: &mut Partial<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<Outcome, Failure> {
    let file = request.file;
    let url = hub.file_address(request.repo, request.commit, &file.path);
    let what = format!("file `{}`", file.path);
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    if partial.bytes > 0 {
        headers.push((header::RANGE, format!("bytes={}-", partial.bytes)));
        headers.extend(partial.tag().map(|tag| (header::IF_RANGE, tag)));
    }
    let answer = hub.client.get(
        &url,
        &headers,
        Subject {
            repo: request.repo,
            what: &what,
        },
    )?;
    match answer.status.as_u16() {
        206 => {
            let range = answer
                .headers
                .get(header::CONTENT_RANGE)
                .and_then(|range| range.to_str().ok());
            match range.and_then(parse_content_range) {
                _ if partial.bytes == 0 => {
                    return Ok(Outcome::Unfit {
                        reason: "a part is sent where the whole was asked for",
                    });
                }
                Some((start, end, total)) if start == partial.bytes && end < file.bytes => {
                    if let Some(total) = total.filter(|total| *total != file.bytes) {
                        return Ok(Outcome::Offered { bytes: total });
                    }
                }
                _ => {
                    return Ok(Outcome::Unfit {
                        reason: "another part is sent than was asked for",
                    });
                }
            }
        }
        416 => {
            return Ok(Outcome::Unfit {
                reason: "the server has no such part",
            });
        }
        _ => {
            if let Some(bytes) =
                content_length(&answer.headers).filter(|bytes| *bytes != file.bytes)
            {
                return Ok(Outcome::Offered { bytes });
            }
            if partial.bytes > 0 {
                let reason = "the server sends the whole file instead of the missing part";
                on_event(FetchEvent::Restarted {
                    lost: partial.bytes,
                    reason,
                });
                partial
                    .restart()
                    .map_err(FetchError::io("empty a partial file"))?;
            }
            partial.set_tag(&answer.headers)?;
        }
    }
    receive(hub.options.timeout, answer, partial, on_event)
}

fn receive(
    timeout: Duration,
    mut answer: Answer,
    partial: &mut Partial<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<Outcome, Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let window = timeout.saturating_mul(4);
    let slowest = window.as_secs().saturating_mul(SLOWEST_BYTES_PER_SECOND);
    let mut opened = Instant::now();
    let mut in_window = 0;
    loop {
        let read = match answer.body.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::retry(error.to_string())),
        };
        let missing = partial.file.bytes - partial.bytes;
        if read == 0 {
            return if missing == 0 {
                Ok(Outcome::Complete)
            } else {
                Err(Failure::retry(format!(
                    "the connection closed {missing} bytes early"
                )))
            };
        }
        let chunk = &buffer[..read];
        if read as u64 > missing {
            return Ok(Outcome::TooLong);
        }
        if let Err(source) = partial.append(chunk) {
            partial
                .cut_to_hash()
                .map_err(FetchError::io("cut a partial file"))?;
            return Err(write_failed(partial, source).into());
        }
        on_event(FetchEvent::Received { bytes: read as u64 });
        in_window += read as u64;
        if opened.elapsed() >= window {
            if in_window < slowest {
                return Err(Failure::retry(format!(
                    "{in_window} bytes came in {} seconds",
                    window.as_secs()
                )));
            }
            (opened, in_window) = (Instant::now(), 0);
        }
    }
}

fn write_failed(partial: &Partial<'_>, source: io::Error) -> FetchError {
    let folder = partial.tag_path.parent().unwrap_or(&partial.tag_path);
    if matches!(
        source.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    ) {
        let (needed, free) = (
            partial.file.bytes - partial.bytes,
            free_bytes(folder).unwrap_or(0),
        );
        return FetchError::NoSpace {
            folder: folder.to_owned(),
            needed,
            free,
        };
    }
    FetchError::Io {
        doing: "write a download",
        source,
    }
}

/// `bytes 5-9/10` as first, last and total (RFC 9110, section 14.4).
fn parse_content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end) = (start.parse().ok()?, end.parse().ok()?);
    let total = if total == "*" {
        None
    } else {
        Some(total.parse().ok()?)
    };
    (start <= end && total.is_none_or(|total| end < total)).then_some((start, end, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        for (text, range) in [
            ("bytes 5-9/10", Some((5, 9, Some(10)))),
            ("bytes 0-0/*", Some((0, 0, None))),
            ("bytes 9-5/10", None),
            ("bytes 5-10/10", None),
            ("bytes */10", None),
            ("bytes 5-9", None),
            ("items 5-9/10", None),
            ("bytes -5-9/10", None),
            ("bytes 5-99999999999999999999/*", None),
            ("", None),
        ] {
            assert_eq!(parse_content_range(text), range, "{text}");
        }
    }

    #[test]
    fn only_strong_tags_guard_a_range() {
        assert!(is_strong("\"abc\""));
        for weak in [
            "W/\"abc\"",
            "abc",
            "\"\"",
            "\"",
            "",
            "\"a\"b\"",
            "\"a\r\nb\"",
        ] {
            assert!(!is_strong(weak), "{weak:?}");
        }
    }

    #[test]
    fn a_full_disk_is_foretold_in_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let error = preflight(folder.path(), u64::MAX).unwrap_err();
        assert!(error.is_retriable());
        assert!(error.to_string().contains(&u64::MAX.to_string()), "{error}");
        preflight(folder.path(), 0).unwrap();
    }
}
