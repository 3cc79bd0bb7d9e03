//! Parts of a remote file, in a local file that has holes for the rest: for formats that say where their rows are, when few of
//! the rows are wanted.
//!
//! A part cannot be held against the hash of the whole. It comes from the pinned commit over the same connection as whole files
//! do, the hub is asked to name the content it comes from, and its own hash is noted when it came, so that damage to the local
//! file is found out. Such files are no content of the hub's cache and lie in a folder of ours.

use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use ureq::http::header;

use super::cache::{Lock, Slot, free_bytes, write_aside};
use super::download::{BUFFER_BYTES, FORGIVEN_AFTER_BYTES, Pace, content_range, cut_short, pause};
use super::hash::sha256_hex;
use super::http::{Failure, Hop, Method, Patience, Place, Subject};
use super::{Commit, FetchError, FetchEvent, Hub, RemoteFile, RepoId};

/// Bytes of one request, and of what is held in memory.
const PIECE_BYTES: u64 = 8 << 20;

/// A part that is here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    start: u64,
    end: u64,
    sha256: String,
}

/// A local file of a remote one's size that has some of its bytes. Nobody else changes it meanwhile.
pub struct Parts<'a> {
    hub: &'a Hub,
    repo: &'a RepoId,
    commit: &'a Commit,
    file: &'a RemoteFile,
    slot: Slot,
    content: fs::File,
    notes: Vec<Note>,
    _lock: Lock,
}

impl std::fmt::Debug for Parts<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Parts")
            .field("path", &self.slot.blob())
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// Opens what is in `folder` of a file's parts, which may be nothing. Asks for nothing.
    ///
    /// # Errors
    /// [`FetchError::Io`], [`FetchError::Stopped`].
    pub fn parts<'a>(
        &'a self,
        stop: &AtomicBool,
        repo: &'a RepoId,
        commit: &'a Commit,
        file: &'a RemoteFile,
        folder: &Path,
    ) -> Result<Parts<'a>, FetchError> {
        file.check(repo)?;
        let slot = Slot {
            folder: folder.to_owned(),
            locks: folder.join(".locks"),
            id: format!("{}.parts", file.content_id()),
        };
        let lock = slot.lock(stop, || {})?;
        let content = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(slot.blob());
        let content = content.map_err(FetchError::io("open a file of parts"))?;
        // A hole takes no room.
        content
            .set_len(file.bytes)
            .map_err(FetchError::io("size a file of parts"))?;
        let mut parts = Parts {
            hub: self,
            repo,
            commit,
            file,
            slot,
            content,
            notes: Vec::new(),
            _lock: lock,
        };
        parts.notes = parts.sound_notes()?;
        Ok(parts)
    }
}

impl Parts<'_> {
    /// The local file. Bytes that were not brought read as zeros.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.slot.blob()
    }

    /// Reads bytes that were brought.
    ///
    /// # Errors
    /// [`FetchError::Io`].
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FetchError> {
        self.content
            .file()
            .read_exact_at(buffer, offset)
            .map_err(FetchError::io("read a file of parts"))
    }

    /// Brings the bytes of `range` that are not here. False where the server does not send parts of this file.
    ///
    /// # Errors
    /// As [`Hub::fetch`].
    pub fn bring(
        &mut self,
        stop: &AtomicBool,
        range: Range<u64>,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<bool, FetchError> {
        let range = range.start..range.end.min(self.file.bytes);
        let gaps = gaps(&self.notes, range);
        let missing: u64 = gaps.iter().map(|gap| gap.end - gap.start).sum();
        if missing == 0 {
            return Ok(true);
        }
        if self.hub.options.offline {
            let what = format!("a part of file `{}`", self.file.path);
            return Err(self.hub.offline(self.repo, what));
        }
        let free = free_bytes(&self.slot.folder)?;
        if missing > free {
            return Err(FetchError::NoSpace {
                folder: self.slot.folder.clone(),
                needed: missing,
                free,
            });
        }
        let _permit = self.hub.gate.enter(stop)?;
        for gap in gaps {
            let mut start = gap.start;
            while start < gap.end {
                let end = start.saturating_add(PIECE_BYTES).min(gap.end);
                let Some(bytes) = self.piece(stop, start, end, on_event)? else {
                    return Ok(false);
                };
                self.content
                    .file()
                    .write_all_at(&bytes, start)
                    .and_then(|()| self.content.file().sync_data())
                    .map_err(FetchError::io("write a file of parts"))?;
                self.notes.push(Note {
                    start,
                    end,
                    sha256: sha256_hex(&bytes),
                });
                self.write_notes()?;
                on_event(FetchEvent::Received { bytes: end - start });
                start = end;
            }
        }
        Ok(true)
    }

    fn piece(
        &self,
        stop: &AtomicBool,
        start: u64,
        end: u64,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<Option<Vec<u8>>, FetchError> {
        let manners = self.hub.options.manners();
        let url = self
            .hub
            .file_address(self.repo, self.commit, &self.file.path);
        let mut patience = Patience::new(manners, &format!("{start} {url}"));
        let mut bytes = Vec::new();
        loop {
            let before = bytes.len();
            match self.ask(stop, start, end, &mut bytes) {
                Ok(true) => return Ok(Some(bytes)),
                Ok(false) => return Ok(None),
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Retry { reason, after }) => {
                    if (bytes.len() - before) as u64 >= FORGIVEN_AFTER_BYTES {
                        patience.forgive();
                    }
                    let wait = patience.wait(&url, &reason, after)?;
                    on_event(FetchEvent::Retry {
                        wait,
                        reason: &reason,
                    });
                    pause(wait, stop)?;
                }
            }
        }
    }

    /// One request for what is missing of a piece; false where the answer is no clean part.
    fn ask(
        &self,
        stop: &AtomicBool,
        start: u64,
        end: u64,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, Failure> {
        let from = start + bytes.len() as u64;
        let url = self
            .hub
            .file_address(self.repo, self.commit, &self.file.path);
        let what = format!("a part of file `{}`", self.file.path);
        let subject = Subject {
            place: Place::Hub(self.repo),
            what: &what,
        };
        let range = [(header::RANGE, format!("bytes={from}-{}", end - 1))];
        let client = &self.hub.client;
        let mut answer = client.send(Method::Get, Hop::first(&url), &range, subject)?;
        if let Some(linked) = answer
            .linked
            .as_deref()
            .filter(|linked| *linked != self.file.content_id())
        {
            return Err(FetchError::WrongHash {
                repo: self.repo.to_string(),
                path: self.file.path.clone(),
                kind: "content named",
                expected: self.file.content_id().to_owned(),
                found: linked
                    .chars()
                    .take(100)
                    .flat_map(char::escape_debug)
                    .collect(),
            }
            .into());
        }
        let is_clean = answer.status == 206
            && content_range(&answer.headers).is_some_and(|(first, last, total)| {
                (first, last) == (from, end - 1)
                    && total.is_none_or(|total| total == self.file.bytes)
            });
        if !is_clean {
            return Ok(false);
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut pace = Pace::new(self.hub.options.timeout);
        loop {
            if stop.load(Ordering::Relaxed) {
                return Err(FetchError::Stopped.into());
            }
            let missing = end - start - bytes.len() as u64;
            let read = match answer.body.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::retry(error.to_string())),
            };
            match (read, missing) {
                (0, 0) => return Ok(true),
                (0, missing) => return Err(cut_short(missing)),
                (read, missing) if read as u64 > missing => return Ok(false),
                _ => {}
            }
            bytes.extend_from_slice(&buffer[..read]);
            pace.keep(read)?;
        }
    }

    fn notes_path(&self) -> PathBuf {
        self.slot.folder.join(format!("{}.json", self.slot.id))
    }

    fn write_notes(&self) -> Result<(), FetchError> {
        let text = serde_json::to_vec(&self.notes)
            .map_err(|error| FetchError::io("note parts")(error.into()))?;
        write_aside(&self.notes_path(), &text)
    }

    /// The notes whose parts are what they say.
    fn sound_notes(&self) -> Result<Vec<Note>, FetchError> {
        let notes: Option<Vec<Note>> = fs::read(self.notes_path())
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        let mut sound = Vec::new();
        for note in notes.unwrap_or_default() {
            let length = note.end.checked_sub(note.start);
            let Some(length) = length
                .filter(|length| (1..=PIECE_BYTES).contains(length) && note.end <= self.file.bytes)
            else {
                continue;
            };
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            self.read_at(&mut bytes, note.start)?;
            if sha256_hex(&bytes) == note.sha256 {
                sound.push(note);
            }
        }
        Ok(sound)
    }
}

/// What of `range` no note covers.
fn gaps(notes: &[Note], range: Range<u64>) -> Vec<Range<u64>> {
    let mut covered: Vec<Range<u64>> = notes.iter().map(|note| note.start..note.end).collect();
    covered.sort_by_key(|part| part.start);
    let mut gaps = Vec::new();
    let mut at = range.start;
    for part in covered {
        if part.end <= at || part.start >= range.end {
            continue;
        }
        if part.start > at {
            gaps.push(at..part.start);
        }
        at = part.end;
    }
    if at < range.end {
        gaps.push(at..range.end);
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_what_no_part_covers() {
        let note = |start: u64, end: u64| Note {
            start,
            end,
            sha256: String::new(),
        };
        let notes = [note(10, 20), note(15, 30), note(50, 60), note(0, 5)];
        let between = |notes: &[Note], range| -> Vec<(u64, u64)> {
            let gaps = gaps(notes, range);
            gaps.into_iter().map(|gap| (gap.start, gap.end)).collect()
        };
        for (range, expected) in [
            (0..70, vec![(5, 10), (30, 50), (60, 70)]),
            (12..18, vec![]),
            (25..55, vec![(30, 50)]),
            (30..50, vec![(30, 50)]),
            (60..60, vec![]),
            (4..6, vec![(5, 6)]),
        ] {
            assert_eq!(between(&notes, range.clone()), expected, "{range:?}");
        }
        assert_eq!(between(&[], 3..9), [(3, 9)]);
    }
}
