//! Files of the hub that a recipe names itself: models that judge, and the tokenizer. They are read before a plan stands, so
//! that a wrong label or a broken file stops it; so they are brought while it is made, to the cache that all the hub's clients
//! share. Their revisions are pinned in the lock file, as those of datasets are.

use std::path::PathBuf;

use crate::catalogue::patterns;
use crate::fetch::{FetchError, FetchEvent, Hub, HubFile};
use crate::lock::Lock;
use crate::progress::{Event, Progress, Stage};

/// What it takes to find them.
pub(crate) struct HubFiles<'a> {
    /// Without one, revisions are what they are now.
    pub(crate) lock: Option<&'a mut Lock>,
    /// Made when first needed: most plans need none.
    pub(crate) hub: &'a mut Option<Hub>,
    pub(crate) progress: &'a dyn Progress,
}

impl HubFiles<'_> {
    /// A verified local copy of the file at an address `hf://...`, which is `default` where it names a repository only, and
    /// the address with its commit and path. What has to come is told as events of [`Stage::Fetch`].
    ///
    /// # Errors
    /// As [`Hub::resolve`], [`Hub::list`] and [`Hub::fetch`]; [`FetchError::HubAddress`], and [`FetchError::NoFile`] where the
    /// repository has no such file.
    pub(crate) fn find(
        &mut self,
        address: &str,
        default: Option<&str>,
    ) -> Result<(PathBuf, String), FetchError> {
        let HubFile {
            repo,
            revision,
            path,
        } = address.parse()?;
        let path = path.as_deref().or(default);
        let path = path.ok_or_else(|| FetchError::HubAddress {
            address: address.escape_debug().to_string(),
            reason: "it lacks the path of a file",
        })?;
        if self.hub.is_none() {
            *self.hub = Some(Hub::from_env()?);
        }
        let hub = self.hub.as_ref().expect("set just above");
        let pinned = self.lock.as_ref();
        let commit = match pinned.and_then(|lock| lock.commit(hub.endpoint(), &repo, &revision)) {
            Some(commit) => commit,
            None => hub.resolve(&repo, &revision)?,
        };
        let listed = match &mut self.lock {
            Some(lock) => {
                lock.pin(hub.endpoint(), &repo, &revision, &commit);
                lock.listing(hub, &repo, &commit)?
            }
            None => hub.list(&repo, &commit)?,
        };
        let Some(file) = listed.iter().find(|file| file.path == path) else {
            let names: Vec<&str> = listed.iter().map(|file| file.path.as_str()).collect();
            let like = match names.is_empty() {
                true => ", which has none at all".to_owned(),
                false => format!("; it has {}", patterns::like(path, &names)),
            };
            return Err(FetchError::NoFile {
                repo: repo.to_string(),
                path: path.to_owned(),
                commit: commit.to_string(),
                like,
            });
        };
        let advanced = |by, reused| {
            self.progress.event(&Event::Advanced {
                stage: Stage::Fetch,
                by,
                reused,
            });
        };
        let local = hub.fetch(&repo, &commit, file, &|event| match event {
            FetchEvent::Started { kept, bytes } => {
                self.progress.event(&Event::Stage {
                    stage: Stage::Fetch,
                    total: bytes,
                });
                advanced(kept, true);
            }
            FetchEvent::Received { bytes } => advanced(bytes, false),
            _ => {}
        })?;
        let pinned = HubFile {
            repo,
            revision: commit.to_string(),
            path: Some(path.to_owned()),
        };
        Ok((local, pinned.to_string()))
    }
}
