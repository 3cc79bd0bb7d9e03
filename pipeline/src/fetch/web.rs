//! Files at plain addresses, of servers that know nothing of repositories: pinned by what their server says of them when they
//! are first seen, by their SHA-256 once they came, and kept in a folder of ours.
//!
//! No token of anybody goes along. `ANDROMEDA_WEB_MIRROR` names a server that has the files of all others, each at
//! `<mirror>/<host>/<path>`: for networks without a way out, and for tests.

use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use ureq::http::HeaderMap;
use ureq::http::header;

use super::cache::Slot;
use super::download::{self, Job, content_range, pause};
use super::gate::Gate;
use super::hash::{Expected, Promise};
use super::http::{
    Answer, Client, Failure, Hop, Manners, Method, Patience, Place, Subject, content_length,
    read_capped,
};
use super::url::Url;
use super::{FetchError, FetchEvent, HubOptions, is_hex};
use crate::digest::Digest;

/// Variable with the address of a server that stands in for all others.
const MIRROR: &str = "ANDROMEDA_WEB_MIRROR";

/// What a file at an address was when it was first seen. Kept in the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// Size in bytes.
    pub bytes: u64,
    /// The server's own tag of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// SHA-256 of the content, if it was stated or once came here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Pin {
    /// Names the version of the content at `url`, whether or not its hash is known yet.
    #[must_use]
    pub fn version(&self, url: &str) -> String {
        Digest::of_value(&("web", url, self.bytes, &self.etag)).hex()
    }
}

/// A client of servers at large, with a folder of what came from them.
pub struct Web {
    client: Client,
    manners: Manners,
    gate: Gate,
    folder: PathBuf,
    mirror: Option<Url>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Web")
            .field("folder", &self.folder)
            .field("mirror", &self.mirror)
            .finish_non_exhaustive()
    }
}

impl Web {
    /// A client as the environment describes it, which keeps files in `folder`.
    ///
    /// # Errors
    /// [`FetchError::Setting`] naming the variable that cannot be used.
    pub fn from_env(folder: &Path) -> Result<Self, FetchError> {
        let mirror = std::env::var(MIRROR).ok().filter(|value| !value.is_empty());
        Self::new(&HubOptions::from_env()?, folder, mirror.as_deref())
    }

    /// A client with these options, of which endpoint, token and cache mean nothing here.
    ///
    /// # Errors
    /// [`FetchError::Setting`] where the mirror is not a plain `http(s)://host[:port][/path]`.
    pub fn new(
        options: &HubOptions,
        folder: &Path,
        mirror: Option<&str>,
    ) -> Result<Self, FetchError> {
        let refuse = |reason: &str| FetchError::Setting {
            name: MIRROR,
            reason: reason.to_owned(),
        };
        let mirror = mirror.map(Url::parse).transpose().map_err(refuse)?;
        if mirror.as_ref().is_some_and(|url| url.query().is_some()) {
            return Err(refuse("it holds a query"));
        }
        Ok(Self {
            client: Client::anonymous(options.timeout),
            manners: options.manners(),
            gate: Gate::new(options.connections),
            folder: folder.to_owned(),
            mirror,
        })
    }

    /// Folder of what came.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Asks the server of `url` what it has there, without taking it.
    ///
    /// # Errors
    /// [`FetchError::Address`] and [`FetchError::Web`] say what to change; [`FetchError::NoSize`] where the server does not say;
    /// [`FetchError::Unreachable`] may pass; [`FetchError::Offline`].
    pub fn probe(&self, url: &str) -> Result<Pin, FetchError> {
        let asked = self.address(url)?;
        if self.manners.offline {
            return Err(FetchError::Offline {
                repo: asked.shown(),
                what: "the size".to_owned(),
                cache: "lock file".to_owned(),
            });
        }
        let mut patience = Patience::new(self.manners, &asked.to_string());
        loop {
            match self.probe_once(&asked) {
                Ok(pin) => return Ok(pin),
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Retry { reason, after }) => {
                    let wait = patience.wait(&asked, &reason, after)?;
                    pause(wait, &AtomicBool::new(false))?;
                }
            }
        }
    }

    fn probe_once(&self, url: &Url) -> Result<Pin, Failure> {
        let subject = Subject {
            place: Place::Web,
            what: "the size",
        };
        let head = self
            .client
            .send(Method::Head, Hop::first(url), &[], subject);
        let size = |answer: &Answer| match content_range(&answer.headers) {
            Some((_, _, total)) if answer.status == 206 => total,
            _ => content_length(&answer.headers).filter(|_| answer.status == 200),
        };
        let (bytes, headers) = match head {
            Ok(answer) if size(&answer).is_some() => (size(&answer), answer.headers),
            Err(retry @ Failure::Retry { .. }) => return Err(retry),
            // Not every server answers this question; all answer the one for the first byte.
            _ => {
                let first = [(header::RANGE, "bytes=0-0".to_owned())];
                let answer = self.client.get(url, &first, subject)?;
                (size(&answer), answer.headers)
            }
        };
        let kind = headers.get(header::CONTENT_TYPE);
        let is_page = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
        if is_page && !url.shown().ends_with(".html") {
            // A login page of some network in between, as a rule, whose size must not be pinned.
            return Err(Failure::retry("a web page is sent and not the file"));
        }
        let bytes = bytes.ok_or_else(|| FetchError::NoSize { url: url.shown() })?;
        Ok(Pin {
            bytes,
            // A mirror has tags of its own, which say nothing of the original.
            etag: etag(&headers).filter(|_| self.mirror.is_none()),
            sha256: None,
        })
    }

    /// Bytes `range` of the file at `url`, which is not empty and fits in memory: as many as there are.
    ///
    /// # Errors
    /// As [`Web::probe`], and [`FetchError::Protocol`] of a server that answers with another range.
    pub(super) fn range(&self, url: &str, range: Range<u64>) -> Result<Vec<u8>, FetchError> {
        let asked = self.address(url)?;
        if self.manners.offline {
            return Err(FetchError::Offline {
                repo: asked.shown(),
                what: "a part of it".to_owned(),
                cache: "folder".to_owned(),
            });
        }
        let mut patience = Patience::new(self.manners, &asked.to_string());
        loop {
            match self.range_once(&asked, &range) {
                Ok(bytes) => return Ok(bytes),
                Err(Failure::Stop(error)) => return Err(error),
                Err(Failure::Retry { reason, after }) => {
                    let wait = patience.wait(&asked, &reason, after)?;
                    pause(wait, &AtomicBool::new(false))?;
                }
            }
        }
    }

    fn range_once(&self, url: &Url, range: &Range<u64>) -> Result<Vec<u8>, Failure> {
        let subject = Subject {
            place: Place::Web,
            what: "a part of the file",
        };
        let (first, last) = (range.start, range.end - 1);
        let header = [(header::RANGE, format!("bytes={first}-{last}"))];
        let answer = self.client.get(url, &header, subject)?;
        let whole = answer.status == 200
            && first == 0
            && content_length(&answer.headers) == Some(range.end);
        let part = answer.status == 206
            && content_range(&answer.headers)
                .is_some_and(|(from, to, _)| (from, to) == (first, last));
        if !whole && !part {
            return Err(FetchError::Protocol {
                url: url.shown(),
                reason: format!("does not send bytes {first} to {last} alone when asked for them"),
            }
            .into());
        }
        let bytes = read_capped(answer, url, range.end - first)?;
        if bytes.len() as u64 == range.end - first {
            Ok(bytes)
        } else {
            Err(Failure::retry("the answer was cut short"))
        }
    }

    /// A local copy of the file at `url` that is what `pin` says, downloaded or completed if need be, and its SHA-256.
    ///
    /// # Errors
    /// As [`Web::probe`], and [`FetchError::Changed`] where the file is not the pinned one (nothing is published then),
    /// [`FetchError::NoSpace`] before a byte is written, [`FetchError::Stopped`].
    pub fn fetch(
        &self,
        stop: &AtomicBool,
        url: &str,
        pin: &Pin,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<(PathBuf, String), FetchError> {
        let tag = pin.etag.clone().filter(|_| self.mirror.is_none());
        let manners = self.manners;
        self.bring(manners, stop, url, self.address(url)?, tag, pin, on_event)
    }

    /// As [`Web::fetch`], of an object called `name` whose address is made when it is needed, since it is only good for a while.
    ///
    /// # Errors
    /// As [`Web::fetch`], and those of `address`.
    pub fn fetch_at(
        &self,
        stop: &AtomicBool,
        name: &str,
        address: &dyn Fn() -> Result<String, FetchError>,
        pin: &Pin,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<(PathBuf, String), FetchError> {
        let mut manners = self.manners;
        let tag = pin.etag.clone();
        if manners.offline || self.missing_bytes(name, pin) == 0 {
            // What is here needs no address; this one is never asked.
            manners.offline = true;
            let place = name.split_once("://").map_or(name, |(_, place)| place);
            let place = place.replace(|c: char| !c.is_ascii_graphic(), "_");
            let nowhere = parse(&format!("https://{place}"))?;
            let here = self.bring(manners, stop, name, nowhere, tag.clone(), pin, on_event);
            if here.is_ok() || self.manners.offline {
                return here;
            }
        }
        let address = parse(&address()?)?;
        self.bring(self.manners, stop, name, address, tag, pin, on_event)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "what the two kinds of addresses differ in"
    )]
    fn bring(
        &self,
        manners: Manners,
        stop: &AtomicBool,
        name: &str,
        address: Url,
        tag: Option<String>,
        pin: &Pin,
        on_event: &dyn Fn(FetchEvent<'_>),
    ) -> Result<(PathBuf, String), FetchError> {
        if let Some(sha256) = pin.sha256.as_deref().filter(|sha256| !is_hex(sha256, 64)) {
            return Err(FetchError::Changed {
                url: address.shown(),
                what: format!("`{sha256}` is no sha256 in lower-case hexadecimal"),
            });
        }
        let job = Job {
            client: &self.client,
            manners,
            gate: &self.gate,
            subject: Subject {
                place: Place::Web,
                what: "the file",
            },
            expected: Expected {
                owner: address.shown(),
                path: file_name(name).to_owned(),
                bytes: pin.bytes,
                promise: pin
                    .sha256
                    .clone()
                    .map_or(Promise::Tag(tag), Promise::Sha256),
            },
            url: address,
            slot: self.slot(name, pin),
            stop,
        };
        let changed = |what: String| FetchError::Changed {
            url: job.url.shown(),
            what,
        };
        let brought = job
            .slot
            .lock(stop, || on_event(FetchEvent::Waiting))
            .and_then(|_lock| download::bring(&job, on_event));
        match brought {
            Ok(sha256) => Ok((job.slot.blob(), sha256)),
            Err(FetchError::WrongSize {
                expected, found, ..
            }) => Err(changed(format!("it had {expected} bytes and has {found}"))),
            Err(FetchError::WrongHash {
                expected, found, ..
            }) => Err(changed(format!("its sha256 was {expected} and is {found}"))),
            Err(error) => Err(error),
        }
    }

    /// Bytes of a file that are not here yet, by the sizes of what is here.
    #[must_use]
    pub fn missing_bytes(&self, url: &str, pin: &Pin) -> u64 {
        self.slot(url, pin).missing(pin.bytes)
    }

    fn slot(&self, url: &str, pin: &Pin) -> Slot {
        Slot {
            folder: self.folder.clone(),
            locks: self.folder.join(".locks"),
            id: pin.version(url),
        }
    }

    /// Where `url` is asked for.
    fn address(&self, url: &str) -> Result<Url, FetchError> {
        let address = parse(url)?;
        Ok(match &self.mirror {
            Some(mirror) => address.mirrored(mirror),
            None => address,
        })
    }
}

/// Checks that `url` is an address that can be asked for.
///
/// # Errors
/// [`FetchError::Address`] with the rule that it breaks.
pub fn check_address(url: &str) -> Result<(), FetchError> {
    parse(url).map(drop)
}

fn parse(url: &str) -> Result<Url, FetchError> {
    Url::parse(url).map_err(|reason| FetchError::Address {
        url: url.chars().take(300).flat_map(char::escape_debug).collect(),
        reason,
    })
}

fn etag(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    (tag.len() <= 256).then(|| tag.to_owned())
}

/// The last component of an address's path.
fn file_name(url: &str) -> &str {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    path.rsplit('/').next().unwrap_or(path)
}
