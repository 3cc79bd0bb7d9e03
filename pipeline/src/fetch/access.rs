//! Whether a gated file opens, asked with one byte of it before a build is planned around it.

use ureq::http::header;

use super::http::{Failure, Place, Subject};
use super::{Commit, FetchError, Hub, RemoteFile, RepoId};

impl Hub {
    /// Asks for one byte of a file. Fails only if the hub says that whoever asks may not have it: a network that does not
    /// answer now may answer when the file is fetched. Offline, nothing is asked.
    ///
    /// # Errors
    /// [`FetchError::Gated`], [`FetchError::Refused`] and [`FetchError::NotFound`], as [`Hub::fetch`] would.
    pub fn may_read(
        &self,
        repo: &RepoId,
        commit: &Commit,
        file: &RemoteFile,
    ) -> Result<(), FetchError> {
        if self.options.offline {
            return Ok(());
        }
        file.check(repo)?;
        let url = self.file_address(repo, commit, &file.path);
        let what = format!("file `{}` at commit {commit}", file.path);
        let subject = Subject {
            place: Place::Hub(repo),
            what: &what,
        };
        match self
            .client
            .get(&url, &[(header::RANGE, "bytes=0-0".to_owned())], subject)
        {
            Err(Failure::Stop(error)) => Err(error),
            Ok(_) | Err(Failure::Retry { .. }) => Ok(()),
        }
    }
}
