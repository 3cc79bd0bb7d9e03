//! One file: what is there is checked, what is missing is asked for, and only what adds up gets its name. The bytes that
//! came before a cut are kept and hashed again on the next attempt, so that a wrong prefix is found out like any other wrong
//! byte. `If-Range` with the storage's own tag guards against mixing two versions; should a server ignore ranges, its whole
//! answer replaces what was kept.
//!
//! What is kept is always a beginning of the file, hashed as it grows. Several connections ([`pieces`](super::pieces)) make it
//! grow faster; whatever else than clean pieces comes to them is left to the one connection here, which knows every case.

use fs_err as fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::http::HeaderMap;
use ureq::http::header::{self, HeaderName};

use super::cache::{Slot, absent, free_bytes, read_small, remove, sync_folder, write_aside};
use super::gate::Gate;
use super::hash::{ContentHash, Expected, Promise, is_pointer};
use super::http::{Answer, Client, Failure, Manners, Patience, Subject, content_length};
use super::pieces;
use super::url::Url;
use super::{FetchError, FetchEvent};

pub(super) const BUFFER_BYTES: usize = 256 * 1024;
/// New bytes after which a failed attempt no longer counts: the connection is bad, but it gets there.
pub(super) const FORGIVEN_AFTER_BYTES: u64 = 1 << 20;
/// A server that sends less than this per second, over four times the timeout, counts as stalled.
const SLOWEST_BYTES_PER_SECOND: u64 = 1024;

/// One content to bring here, and everything that takes.
pub(super) struct Job<'a> {
    pub client: &'a Client,
    pub manners: Manners,
    pub gate: &'a Gate,
    pub url: Url,
    pub subject: Subject<'a>,
    pub expected: Expected,
    pub slot: Slot,
    pub stop: &'a AtomicBool,
}

/// Sleeps unless somebody asks to stop.
pub(super) fn pause(wait: Duration, stop: &AtomicBool) -> Result<(), FetchError> {
    let begun = Instant::now();
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(FetchError::Stopped);
        }
        match wait.checked_sub(begun.elapsed()) {
            None | Some(Duration::ZERO) => return Ok(()),
            Some(left) => std::thread::sleep(left.min(Duration::from_millis(50))),
        }
    }
}

/// Sees to it that the content is in its slot, and returns its hash. The lock of the slot is held.
pub(super) fn bring(
    job: &Job<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<String, FetchError> {
    let cached = || {
        on_event(FetchEvent::Cached {
            bytes: job.expected.bytes,
        });
    };
    match check_slot(job)? {
        Found::Whole { hash } => {
            cached();
            Ok(hash)
        }
        Found::Wrong { bytes, hash } if job.manners.offline => {
            Err(mismatch(&job.expected, bytes, hash))
        }
        Found::Absent if job.manners.offline => Err(offline(job)),
        wrong_or_absent => {
            if wrong_or_absent != Found::Absent {
                remove(&job.slot.blob())?;
                remove(&job.slot.learned())?;
            }
            let _permit = job.gate.enter(job.stop)?;
            download(job, on_event)
        }
    }
}

/// Says that a content cannot be had without a network.
pub(super) fn offline(job: &Job<'_>) -> FetchError {
    FetchError::Offline {
        repo: job.expected.owner.clone(),
        what: job.subject.what.to_owned(),
        cache: job.slot.folder.display().to_string(),
    }
}

#[derive(PartialEq, Eq)]
pub(super) enum Found {
    Absent,
    Whole {
        hash: String,
    },
    /// The hash is empty where the size alone is wrong.
    Wrong {
        bytes: u64,
        hash: String,
    },
}

fn check_slot(job: &Job<'_>) -> Result<Found, FetchError> {
    let mut expected = job.expected.clone();
    if let Promise::Tag(_) = expected.promise {
        // What came once is what it was then, or it is no longer believed.
        let learned = read_small(&job.slot.learned());
        expected.promise = Promise::Sha256(learned.unwrap_or_default());
    }
    check(&job.slot.blob(), &expected)
}

/// Compares a file of the cache with what it must be.
pub(super) fn check(path: &Path, expected: &Expected) -> Result<Found, FetchError> {
    let mut content = match fs::File::open(path) {
        Ok(content) => content,
        Err(error) if absent(&error) => return Ok(Found::Absent),
        Err(error) => return Err(FetchError::io("open a file of the cache")(error)),
    };
    let read = FetchError::io("read a file of the cache");
    let mut compare = || -> io::Result<Found> {
        let bytes = content.metadata()?.len();
        if bytes != expected.bytes {
            return Ok(Found::Wrong {
                bytes,
                hash: String::new(),
            });
        }
        let mut hash = ContentHash::new(expected);
        let bytes = hash.update_from(&mut content, u64::MAX)?;
        let hash = hash.finish();
        Ok(if expected.hash().is_none_or(|wanted| wanted == hash) {
            Found::Whole { hash }
        } else {
            Found::Wrong { bytes, hash }
        })
    };
    compare().map_err(read)
}

pub(super) fn mismatch(expected: &Expected, bytes: u64, hash: String) -> FetchError {
    let (repo, path) = (expected.owner.clone(), expected.path.clone());
    if bytes != expected.bytes || hash.is_empty() {
        return FetchError::WrongSize {
            repo,
            path,
            expected: expected.bytes,
            found: bytes,
        };
    }
    FetchError::WrongHash {
        repo,
        path,
        kind: expected.kind(),
        expected: expected.hash().unwrap_or_default().to_owned(),
        found: hash,
    }
}

/// What came so far, on disk and in the hash; both always have the same bytes.
pub(super) struct Partial<'a> {
    expected: &'a Expected,
    slot: &'a Slot,
    content: fs::File,
    hash: ContentHash,
    pub bytes: u64,
}

impl<'a> Partial<'a> {
    fn open(slot: &'a Slot, expected: &'a Expected) -> io::Result<Self> {
        let path = slot.incomplete();
        let mut content = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)?;
        let mut hash = ContentHash::new(expected);
        let mut bytes = content.metadata()?.len();
        if bytes > expected.bytes {
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
            expected,
            slot,
            content,
            hash,
            bytes,
        })
    }

    /// Adds the next bytes; what cannot be written whole is not there.
    pub(super) fn append(&mut self, chunk: &[u8]) -> Result<(), FetchError> {
        if let Err(source) = self.content.write_all(chunk) {
            self.cut_to_hash()
                .map_err(FetchError::io("cut a partial file"))?;
            return Err(self.write_failed(source));
        }
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> io::Result<()> {
        self.content.set_len(0)?;
        self.content.seek(SeekFrom::Start(0))?;
        self.hash = ContentHash::new(self.expected);
        self.bytes = 0;
        Ok(())
    }

    /// After a failed write the file may be longer than the hash knows.
    fn cut_to_hash(&mut self) -> io::Result<()> {
        self.content.set_len(self.bytes)?;
        self.content.seek(SeekFrom::Start(self.bytes)).map(drop)
    }

    /// The storage's tag of what is kept, if it gave a strong one.
    pub(super) fn tag(&self) -> Option<String> {
        read_small(&self.slot.tag()).filter(|tag| is_strong(tag))
    }

    pub(super) fn set_tag(&self, tag: Option<&str>) -> Result<(), FetchError> {
        match tag {
            Some(tag) => fs::write(self.slot.tag(), tag)
                .map_err(FetchError::io("write a tag beside a partial file")),
            None => remove(&self.slot.tag()),
        }
    }

    fn write_failed(&self, source: io::Error) -> FetchError {
        if matches!(
            source.kind(),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded
        ) {
            return FetchError::NoSpace {
                folder: self.slot.folder.clone(),
                needed: self.expected.bytes - self.bytes,
                free: free_bytes(&self.slot.folder).unwrap_or(0),
            };
        }
        FetchError::Io {
            doing: "write a download",
            source,
        }
    }
}

/// The tag of an answer, if it may stand in `If-Range`.
pub(super) fn strong_tag(headers: &HeaderMap) -> Option<&str> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    is_strong(tag).then_some(tag)
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

/// Refuses an answer that is another version than the one that was pinned, where no hash would tell.
pub(super) fn must_be_pinned(job: &Job<'_>, headers: &HeaderMap) -> Result<(), FetchError> {
    // Weak tags will do here (RFC 9110, section 8.8.3.2): they name the version, if not its exact bytes.
    let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    let Promise::Tag(Some(pinned)) = &job.expected.promise else {
        return Ok(());
    };
    let found = headers.get(header::ETAG).and_then(|tag| tag.to_str().ok());
    match found.map(opaque) {
        Some(found) if found != opaque(pinned) => Err(FetchError::Changed {
            url: job.url.shown(),
            what: format!("the server's tag was {pinned} and is {found}"),
        }),
        _ => Ok(()),
    }
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

/// Downloads into the slot's partial file, renames it to the content and returns its hash.
fn download(job: &Job<'_>, on_event: &dyn Fn(FetchEvent<'_>)) -> Result<String, FetchError> {
    let (slot, expected) = (&job.slot, &job.expected);
    fs::create_dir_all(&slot.folder).map_err(FetchError::io("make the folder of contents"))?;
    let mut partial =
        Partial::open(slot, expected).map_err(FetchError::io("open a partial file"))?;
    preflight(&slot.folder, expected.bytes - partial.bytes)?;
    on_event(FetchEvent::Started {
        kept: partial.bytes,
        bytes: expected.bytes,
    });

    let mut patience = Patience::new(job.manners, &job.url.to_string());
    // One disagreement may be the fault of a kept prefix or of one transfer; two are the server's.
    let mut doubted = false;
    let mut in_pieces = true;
    let found = loop {
        let before = partial.bytes;
        let outcome = if partial.bytes == expected.bytes {
            Ok(Outcome::Complete)
        } else {
            attempt(job, &mut partial, &mut in_pieces, on_event)
        };
        let (reason, error) = match outcome {
            Ok(Outcome::Complete) => {
                let hash =
                    std::mem::replace(&mut partial.hash, ContentHash::new(expected)).finish();
                if expected.hash().is_none_or(|wanted| wanted == hash) {
                    break Ok(hash);
                }
                ("its hash is wrong", mismatch(expected, partial.bytes, hash))
            }
            Ok(Outcome::Unfit { reason }) => {
                let error = FetchError::Protocol {
                    url: job.url.shown(),
                    reason: reason.to_owned(),
                };
                (reason, error)
            }
            Ok(Outcome::TooLong) => (
                "it is longer than listed",
                mismatch(expected, expected.bytes + 1, String::new()),
            ),
            Ok(Outcome::Offered { bytes }) => {
                let error = mismatch(expected, bytes, String::new());
                if std::mem::replace(&mut doubted, true) {
                    return Err(error);
                }
                let reason = "a file of another size is offered";
                let wait = patience.wait(&job.url, reason, None)?;
                on_event(FetchEvent::Retry { wait, reason });
                pause(wait, job.stop)?;
                continue;
            }
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::Retry { reason, after }) => {
                if partial.bytes.saturating_sub(before) >= FORGIVEN_AFTER_BYTES {
                    patience.forgive();
                }
                let wait = patience.wait(&job.url, &reason, after)?;
                on_event(FetchEvent::Retry {
                    wait,
                    reason: &reason,
                });
                pause(wait, job.stop)?;
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
    let published = found.and_then(|hash| {
        must_not_be_pointer(job, &mut partial.content)?;
        partial
            .content
            .sync_all()
            .map_err(FetchError::io("sync a download"))?;
        if expected.hash().is_none() {
            // Before the content: where this is missing, the content is not believed.
            write_aside(&slot.learned(), hash.as_bytes())?;
        }
        Ok(hash)
    });
    drop(partial);
    let hash = match published {
        Ok(hash) => hash,
        Err(error) => {
            if error.is_integrity() || matches!(error, FetchError::Pointer { .. }) {
                remove(&slot.incomplete())?;
                remove(&slot.tag())?;
            }
            return Err(error);
        }
    };
    fs::rename(slot.incomplete(), slot.blob()).map_err(FetchError::io("publish a download"))?;
    sync_folder(&slot.folder)?;
    remove(&slot.tag())?;
    Ok(hash)
}

/// A repository that was put together without Git LFS, or an address of git's raw files, holds pointers instead of files.
fn must_not_be_pointer(job: &Job<'_>, content: &mut fs::File) -> Result<(), FetchError> {
    if job.expected.bytes >= 1024 || matches!(job.expected.promise, Promise::Sha256(_)) {
        return Ok(());
    }
    let mut text = Vec::new();
    content
        .seek(SeekFrom::Start(0))
        .and_then(|_| content.read_to_end(&mut text))
        .map_err(FetchError::io("read a download"))?;
    if !is_pointer(&text) {
        return Ok(());
    }
    Err(FetchError::Pointer {
        place: job.expected.owner.clone(),
        path: job.expected.path.clone(),
        remedy: "the content was never put there; ask its owner, or name another place that has it",
    })
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

/// As many of the missing bytes as come: over several connections while that goes well, then over one.
fn attempt(
    job: &Job<'_>,
    partial: &mut Partial<'_>,
    in_pieces: &mut bool,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<Outcome, Failure> {
    let expected = &job.expected;
    if std::mem::replace(in_pieces, false) && pieces::extend(job, partial, on_event)? {
        return Ok(Outcome::Complete);
    }
    let mut headers: Vec<(HeaderName, String)> = Vec::new();
    if partial.bytes > 0 {
        headers.push((header::RANGE, format!("bytes={}-", partial.bytes)));
        headers.extend(partial.tag().map(|tag| (header::IF_RANGE, tag)));
    }
    let answer = job.client.get(&job.url, &headers, job.subject)?;
    must_be_pinned(job, &answer.headers)?;
    match answer.status.as_u16() {
        206 => match content_range(&answer.headers) {
            _ if partial.bytes == 0 => {
                return Ok(Outcome::Unfit {
                    reason: "a part is sent where the whole was asked for",
                });
            }
            Some((start, end, total)) if start == partial.bytes && end < expected.bytes => {
                if let Some(total) = total.filter(|total| *total != expected.bytes) {
                    return Ok(Outcome::Offered { bytes: total });
                }
            }
            _ => {
                return Ok(Outcome::Unfit {
                    reason: "another part is sent than was asked for",
                });
            }
        },
        416 => {
            return Ok(Outcome::Unfit {
                reason: "the server has no such part",
            });
        }
        _ => {
            if let Some(bytes) =
                content_length(&answer.headers).filter(|bytes| *bytes != expected.bytes)
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
            partial.set_tag(strong_tag(&answer.headers))?;
        }
    }
    receive(job, answer, partial, on_event)
}

fn receive(
    job: &Job<'_>,
    mut answer: Answer,
    partial: &mut Partial<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<Outcome, Failure> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut pace = Pace::new(job.manners.timeout);
    loop {
        if job.stop.load(Ordering::Relaxed) {
            return Err(FetchError::Stopped.into());
        }
        let read = match answer.body.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::retry(error.to_string())),
        };
        let missing = partial.expected.bytes - partial.bytes;
        if read == 0 {
            return if missing == 0 {
                Ok(Outcome::Complete)
            } else {
                Err(cut_short(missing))
            };
        }
        if read as u64 > missing {
            return Ok(Outcome::TooLong);
        }
        partial.append(&buffer[..read])?;
        on_event(FetchEvent::Received { bytes: read as u64 });
        pace.keep(read)?;
    }
}

pub(super) fn cut_short(missing: u64) -> Failure {
    Failure::retry(format!("the connection closed {missing} bytes early"))
}

/// Tells a slow server from one that only pretends to send.
pub(super) struct Pace {
    window: Duration,
    opened: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            window: timeout.saturating_mul(4),
            opened: Instant::now(),
            bytes: 0,
        }
    }

    /// Counts bytes that came; fails where they are too few for the time they took.
    pub(super) fn keep(&mut self, bytes: usize) -> Result<(), Failure> {
        self.bytes += bytes as u64;
        if self.opened.elapsed() < self.window {
            return Ok(());
        }
        let seconds = self.window.as_secs();
        if self.bytes < seconds.saturating_mul(SLOWEST_BYTES_PER_SECOND) {
            let bytes = self.bytes;
            return Err(Failure::retry(format!(
                "{bytes} bytes came in {seconds} seconds"
            )));
        }
        (self.opened, self.bytes) = (Instant::now(), 0);
        Ok(())
    }
}

/// First and last byte and total of a part, as its answer says.
pub(super) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let range = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    parse_content_range(range)
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
