//! A finished build on a server or in a store of objects, as a [`Store`](andromeda_format::Store) of its files.
//!
//! With [`andromeda_format::copy_build`] it becomes a checked copy on this machine, from which a loader reads. A file comes in
//! ranges of one connection, each tried again as all requests are; what came is held against the manifest, not against the server.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use andromeda_format::FormatError;

use super::store::Store as Objects;
use super::url::escape;
use super::{FetchError, Web};

/// Where the address of each file comes from.
enum Place<'a> {
    /// Below an address.
    Below(String),
    /// Objects with a prefix, whose addresses are signed when they are needed.
    Objects(&'a Objects, String),
}

/// The files of a build elsewhere.
pub struct RemoteBuild<'a> {
    web: &'a Web,
    place: Place<'a>,
}

impl std::fmt::Debug for RemoteBuild<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("RemoteBuild")
            .field("place", &self.shown(""))
            .finish_non_exhaustive()
    }
}

impl<'a> RemoteBuild<'a> {
    /// The build whose `manifest.json` is at `<address>/manifest.json`, and every other file beside it.
    #[must_use]
    pub fn at(web: &'a Web, address: &str) -> Self {
        let place = Place::Below(address.trim_end_matches('/').to_owned());
        Self { web, place }
    }

    /// The build whose files are the objects `<prefix>/<file>` of a store.
    #[must_use]
    pub fn in_store(web: &'a Web, objects: &'a Objects, prefix: &str) -> Self {
        let place = Place::Objects(objects, prefix.trim_end_matches('/').to_owned());
        Self { web, place }
    }

    fn address(&self, file: &str) -> Result<String, FetchError> {
        match &self.place {
            Place::Below(address) => Ok(format!("{address}/{}", escape(file))),
            Place::Objects(objects, prefix) if prefix.is_empty() => objects.address(file),
            Place::Objects(objects, prefix) => objects.address(&format!("{prefix}/{file}")),
        }
    }

    /// The name of a file in messages: a signed address is a secret for a while.
    fn shown(&self, file: &str) -> PathBuf {
        match &self.place {
            Place::Objects(_, place) if place.is_empty() => file.into(),
            Place::Below(place) | Place::Objects(_, place) => format!("{place}/{file}").into(),
        }
    }

    fn failed(&self, file: &str) -> impl FnOnce(FetchError) -> FormatError {
        let file = self.shown(file);
        move |error| FormatError::Io {
            file,
            error: io::Error::other(error),
        }
    }
}

impl andromeda_format::Store for RemoteBuild<'_> {
    fn length(&self, file: &str) -> andromeda_format::Result<u64> {
        let pin = self.address(file).and_then(|url| self.web.probe(&url));
        Ok(pin.map_err(self.failed(file))?.bytes)
    }

    fn read(
        &self,
        file: &str,
        range: Range<u64>,
        into: &mut Vec<u8>,
    ) -> andromeda_format::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        let read = self
            .address(file)
            .and_then(|url| self.web.range(&url, range));
        into.append(&mut read.map_err(self.failed(file))?);
        Ok(())
    }
}
