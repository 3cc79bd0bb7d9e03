//! Objects of a store: `s3://bucket/prefix`.
//!
//! The lock file keeps what was there when it was first listed; later objects join where a pattern finds nothing else, or when
//! the lines are deleted.

use serde::Deserialize;

use super::{Context, Listing, Location, PlannedFile, SourceError, globs, web::Mistake};
use crate::catalogue::{Dataset, patterns};
use crate::digest::Digest;
use crate::fetch::{FetchError, HubOptions, Store};

/// Objects below a prefix of a store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StoreSource {
    /// `s3://bucket/prefix`. Keys, region and endpoint are those of the environment (`AWS_...`).
    pub url: String,
    /// Glob patterns of the objects to take, relative to the prefix.
    #[serde(default = "everything")]
    pub files: Vec<String>,
    /// Glob patterns of objects to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

impl StoreSource {
    /// What is wrong with it by itself.
    #[must_use]
    pub fn mistakes(&self) -> Vec<Mistake> {
        let rest = self.url.strip_prefix("s3://");
        if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')) {
            return Vec::new();
        }
        vec![(
            "url",
            format!("`{}` is no store", self.url.escape_debug()),
            "write s3://bucket/prefix".to_owned(),
        )]
    }
}

/// What an object is called in the lock file.
#[must_use]
pub fn object_name(url: &str, key: &str) -> String {
    format!("{}/{key}", url.trim_end_matches('/'))
}

/// The objects that were pinned, or else all there are, pinned now.
pub(super) fn store(
    dataset: &Dataset,
    source: &StoreSource,
    context: &mut Context<'_>,
) -> Result<Listing, SourceError> {
    let failed = |error| SourceError::Fetch {
        dataset: dataset.manifest.name.clone(),
        error,
    };
    let (files, exclude) = globs(dataset, &source.files, &source.exclude)?;
    let root = object_name(&source.url, "");
    let mut objects = context.lock.below(&root);
    let paths: Vec<&str> = objects.iter().map(|(path, _)| path.as_str()).collect();
    // A pattern that none of the pinned objects has a name for may be one of new objects.
    if objects.is_empty() || patterns::unmatched(&source.files, &paths).is_some() {
        let options = HubOptions::from_env().map_err(failed)?;
        if options.offline {
            return Err(failed(FetchError::Offline {
                repo: source.url.clone(),
                what: "the listing".to_owned(),
                cache: "lock file".to_owned(),
            }));
        }
        let listed = Store::open(&source.url, &options)
            .and_then(|store| store.list())
            .map_err(failed)?;
        let paths: Vec<&str> = listed.iter().map(|(path, _)| path.as_str()).collect();
        if let Some((pattern, like)) = patterns::unmatched(&source.files, &paths) {
            return Err(SourceError::Unmatched {
                dataset: dataset.manifest.name.clone(),
                pattern: pattern.to_owned(),
                place: source.url.clone(),
                files: paths.len(),
                like,
            });
        }
        for (path, pin) in listed {
            let name = object_name(&source.url, &path);
            if files.is_match(&path) && context.lock.web(&name).is_none() {
                context.lock.pin_web(&name, &pin);
            }
        }
        objects = context.lock.below(&root);
    }
    let files: Vec<PlannedFile> = objects
        .into_iter()
        .filter(|(path, _)| files.is_match(path) && !exclude.is_match(path))
        .map(|(path, pin)| PlannedFile {
            bytes: pin.bytes,
            digest: format!("web:{}", pin.version(&object_name(&source.url, &path))),
            location: Location::Store {
                url: source.url.clone(),
                key: path.clone(),
                pin,
            },
            path,
        })
        .collect();
    let revision = Digest::of_value(
        &files
            .iter()
            .map(|file| (&file.path, &file.digest))
            .collect::<Vec<_>>(),
    );
    Ok(Listing {
        source: format!("store:{}", source.url),
        revision: revision.hex(),
        files,
        notes: Vec::new(),
    })
}
