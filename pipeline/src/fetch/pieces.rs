//! Several connections for one large file. Each fetches a piece into memory; the pieces are appended in their order, so that
//! what is on disk is a beginning of the file, hashed as it grows, whatever the order in which they came. A process that is
//! killed loses what was in memory and nothing else.
//!
//! The redirect to the storage is followed once and its target asked for every piece, until it refuses.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ureq::http::header;

use super::download::{
    BUFFER_BYTES, FORGIVEN_AFTER_BYTES, Job, Pace, Partial, content_range, cut_short,
    must_be_pinned, pause, strong_tag,
};
use super::gate::Permit;
use super::hash::Promise;
use super::http::{Failure, Hop, Method, Patience};
use super::{FetchError, FetchEvent};

/// Fewest pieces for which more than one connection is opened.
const FEWEST_PIECES: u64 = 2;

/// What the workers and the writer share.
struct State {
    /// The next piece begins here.
    next: u64,
    /// What is on disk ends here.
    written: u64,
    /// Pieces that came, by their beginning.
    done: BTreeMap<u64, Vec<u8>>,
    /// Where the pieces are, once the first answer said so.
    source: Option<Source>,
    /// Whether that answer was there.
    opened: bool,
    workers: usize,
    /// News for the writer's listener.
    retries: Vec<(Duration, String)>,
    end: Option<End>,
}

#[derive(Clone)]
struct Source {
    hop: Hop,
    tag: Option<String>,
}

enum End {
    /// The server does something that needs the other way.
    Unfit,
    Failed(FetchError),
}

struct Shared<'a> {
    job: &'a Job<'a>,
    state: Mutex<State>,
    changed: Condvar,
    over: AtomicBool,
    /// Where the tag of what is kept from earlier is, the whole depends on it.
    kept_tag: Option<String>,
}

impl Shared<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        // A worker that panicked left no half-made value behind: pieces go in whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        // Woken now and then to see whether somebody asks to stop.
        let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn end(&self, end: End) {
        self.state().end.get_or_insert(end);
        self.over.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.job.stop.load(Ordering::Relaxed)
    }
}

/// Makes the partial file grow by pieces; true when it is complete. False, without harm, where the file is small, nobody
/// spares a connection, or the server does anything but send clean pieces.
pub(super) fn extend(
    job: &Job<'_>,
    partial: &mut Partial<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
) -> Result<bool, FetchError> {
    let missing = job.expected.bytes - partial.bytes;
    let piece = job.manners.piece_bytes.max(1);
    if missing / piece < FEWEST_PIECES {
        return Ok(false);
    }
    let Some(permit) = job.gate.spare() else {
        return Ok(false);
    };
    let shared = Shared {
        job,
        state: Mutex::new(State {
            next: partial.bytes,
            written: partial.bytes,
            done: BTreeMap::new(),
            source: None,
            opened: false,
            workers: 1,
            retries: Vec::new(),
            end: None,
        }),
        changed: Condvar::new(),
        over: AtomicBool::new(false),
        kept_tag: (partial.bytes > 0).then(|| partial.tag()).flatten(),
    };
    std::thread::scope(|scope| {
        scope.spawn(|| work(&shared, None));
        let mut permits = vec![permit];
        let result = write(&shared, partial, on_event, &mut |state: &mut State| {
            // As many as there are to spare; each gives its own back when somebody has none.
            let pieces_ahead = (job.expected.bytes - state.next).div_ceil(piece);
            while u64::try_from(state.workers).is_ok_and(|workers| workers < pieces_ahead)
                && !job.gate.is_wanted()
            {
                let Some(permit) = permits.pop().or_else(|| job.gate.spare()) else {
                    break;
                };
                state.workers += 1;
                let shared = &shared;
                scope.spawn(move || work(shared, Some(permit)));
            }
        });
        shared.over.store(true, Ordering::Relaxed);
        shared.changed.notify_all();
        result
    })
}

/// Appends pieces in order until the file is complete or something ends it.
fn write(
    shared: &Shared<'_>,
    partial: &mut Partial<'_>,
    on_event: &dyn Fn(FetchEvent<'_>),
    grow: &mut dyn FnMut(&mut State),
) -> Result<bool, FetchError> {
    let job = shared.job;
    let mut has_tag = false;
    while partial.bytes < job.expected.bytes {
        let mut state = shared.state();
        let (retries, piece) = loop {
            if job.stop.load(Ordering::Relaxed) {
                return Err(FetchError::Stopped);
            }
            let retries = std::mem::take(&mut state.retries);
            let piece = state.done.remove(&partial.bytes);
            if piece.is_some() || !retries.is_empty() {
                break (retries, piece);
            }
            match state.end.take() {
                Some(End::Unfit) => return Ok(false),
                Some(End::Failed(error)) => return Err(error),
                None => {}
            }
            if state.opened {
                grow(&mut state);
            }
            state = shared.wait(state);
        };
        let tag = state.source.as_ref().and_then(|source| source.tag.clone());
        drop(state);
        for (wait, reason) in &retries {
            on_event(FetchEvent::Retry {
                wait: *wait,
                reason,
            });
        }
        let Some(piece) = piece else { continue };
        if partial.bytes == 0 && !std::mem::replace(&mut has_tag, true) {
            partial.set_tag(tag.as_deref())?;
        }
        partial.append(&piece)?;
        shared.state().written = partial.bytes;
        shared.changed.notify_all();
        on_event(FetchEvent::Received {
            bytes: piece.len() as u64,
        });
    }
    Ok(true)
}

/// Fetches piece after piece.
fn work(shared: &Shared<'_>, permit: Option<Permit<'_>>) {
    let job = shared.job;
    let (piece, total) = (job.manners.piece_bytes.max(1), job.expected.bytes);
    let is_first = permit.is_none();
    let mut has_begun = false;
    loop {
        let mut state = shared.state();
        let start = loop {
            let gives_way = !is_first && job.gate.is_wanted();
            if shared.is_over() || state.next >= total || gives_way {
                state.workers -= 1;
                return;
            }
            // Nobody runs further ahead than two pieces a connection: that is what memory holds, and a kill loses.
            let ahead = (state.next - state.written) / piece;
            let room = ahead < 2 * u64::try_from(state.workers).unwrap_or(1);
            if room && (state.opened || (is_first && !has_begun)) {
                break state.next;
            }
            state = shared.wait(state);
        };
        has_begun = true;
        let end = start.saturating_add(piece).min(total);
        state.next = end;
        drop(state);
        match fetch(shared, start, end) {
            Ok(Some(bytes)) => {
                shared.state().done.insert(start, bytes);
                shared.changed.notify_all();
            }
            Ok(None) => return shared.end(End::Unfit),
            Err(error) => return shared.end(End::Failed(error)),
        }
    }
}

/// One piece, whatever it takes; nothing where the server does not send pieces.
fn fetch(shared: &Shared<'_>, start: u64, end: u64) -> Result<Option<Vec<u8>>, FetchError> {
    let job = shared.job;
    let mut patience = Patience::new(job.manners, &format!("{start} {}", job.url));
    let length = usize::try_from(end - start).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(length);
    loop {
        let before = bytes.len();
        match ask(shared, start, end, &mut bytes) {
            Ok(true) => return Ok(Some(bytes)),
            Ok(false) => return Ok(None),
            Err(Failure::Stop(error)) => return Err(error),
            Err(Failure::Retry { reason, after }) => {
                if shared.is_over() {
                    return Err(FetchError::Stopped);
                }
                if (bytes.len() - before) as u64 >= FORGIVEN_AFTER_BYTES {
                    patience.forgive();
                }
                // The address may be what is wrong.
                if let Some(source) = &mut shared.state().source {
                    source.hop = Hop::first(&job.url);
                }
                let wait = patience.wait(&job.url, &reason, after)?;
                shared.state().retries.push((wait, reason));
                shared.changed.notify_all();
                pause(wait, &shared.over)?;
            }
        }
    }
}

/// One request for what is missing of a piece; false where the answer is no clean piece.
fn ask(shared: &Shared<'_>, start: u64, end: u64, bytes: &mut Vec<u8>) -> Result<bool, Failure> {
    let job = shared.job;
    let source = shared.state().source.clone();
    let (hop, tag) = match source {
        Some(source) => (source.hop, source.tag),
        None => (Hop::first(&job.url), shared.kept_tag.clone()),
    };
    let from = start + bytes.len() as u64;
    let mut headers = vec![(header::RANGE, format!("bytes={from}-{}", end - 1))];
    headers.extend(tag.clone().map(|tag| (header::IF_RANGE, tag)));
    let mut answer = job.client.send(Method::Get, hop, &headers, job.subject)?;
    must_be_pinned(job, &answer.headers)?;
    let range = content_range(&answer.headers);
    let is_clean = answer.status == 206
        && range.is_some_and(|(first, last, whole)| {
            (first, last) == (from, end - 1)
                && whole.is_none_or(|bytes| bytes == job.expected.bytes)
        });
    let answered = strong_tag(&answer.headers).map(str::to_owned);
    // Where no hash tells versions apart, only a tag that holds for all pieces does.
    let is_safe = !matches!(job.expected.promise, Promise::Tag(_)) || answered.is_some();
    let is_same = tag.is_none() || answered.is_none() || tag == answered;
    if !(is_clean && is_safe && is_same) {
        return Ok(false);
    }
    {
        let mut state = shared.state();
        state.opened = true;
        let tag = tag.or(answered);
        let hop = answer.hop.clone();
        state.source = Some(Source { hop, tag });
    }
    shared.changed.notify_all();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut pace = Pace::new(job.manners.timeout);
    loop {
        if shared.is_over() {
            return Err(FetchError::Stopped.into());
        }
        let missing = end - start - bytes.len() as u64;
        if missing == 0 {
            // The rest of the answer, which is nothing, is read so that its connection can serve the next.
            let rest = answer.body.read(&mut buffer[..1]);
            return Ok(rest.is_ok_and(|rest| rest == 0));
        }
        let read = match answer.body.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::retry(error.to_string())),
        };
        if read == 0 {
            return Err(cut_short(missing));
        }
        if read as u64 > missing {
            return Ok(false);
        }
        bytes.extend_from_slice(&buffer[..read]);
        pace.keep(read)?;
    }
}
