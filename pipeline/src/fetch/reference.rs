//! Addresses of single files on the hub, as its own tools write them: `hf://owner/name@revision/path` of a model,
//! `hf://datasets/owner/name@revision/path` of a dataset (`HfFileSystem` of the Python library `huggingface_hub`). A slash
//! in a revision is written `%2F`.

use std::fmt;
use std::str::FromStr;

use super::{FetchError, RepoId, check_path, check_revision};

/// A file of a repository at a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubFile {
    /// The repository.
    pub repo: RepoId,
    /// A branch, a tag or a commit; `main` where none is written.
    pub revision: String,
    /// The path inside it; none where the address ends with the repository.
    pub path: Option<String>,
}

/// What an address of a file on the hub begins with.
const SCHEME: &str = "hf://";

impl HubFile {
    /// Whether what is written is meant as an address of this kind.
    #[must_use]
    pub fn is_written(address: &str) -> bool {
        address.starts_with(SCHEME)
    }
}

impl fmt::Display for HubFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.repo.on_hub();
        write!(out, "{SCHEME}{place}@{}", self.revision.replace('/', "%2F"))?;
        self.path
            .as_ref()
            .map_or(Ok(()), |path| write!(out, "/{path}"))
    }
}

impl FromStr for HubFile {
    type Err = FetchError;

    fn from_str(address: &str) -> Result<Self, FetchError> {
        let refuse = |reason| {
            Err(FetchError::HubAddress {
                address: address.escape_debug().to_string(),
                reason,
            })
        };
        let Some(rest) = address.strip_prefix(SCHEME) else {
            return refuse("it does not begin with hf://");
        };
        let (is_dataset, rest) = match rest.strip_prefix("datasets/") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let mut parts = rest.splitn(3, '/');
        let (Some(owner), Some(name)) = (parts.next(), parts.next()) else {
            return refuse("it lacks the owner or the name");
        };
        let (name, revision) = name.split_once('@').unwrap_or((name, "main"));
        let revision = revision.replace("%2F", "/").replace("%2f", "/");
        check_revision(&revision)?;
        let id = format!("{owner}/{name}");
        let repo = if is_dataset {
            id.parse()?
        } else {
            RepoId::model(&id)?
        };
        let path = parts.next().map(str::to_owned);
        if let Some(path) = &path {
            check_path(&repo, path)?;
        }
        Ok(Self {
            repo,
            revision,
            path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_hubs_own_tools_read_them() {
        let read = |address: &str| {
            let file: HubFile = address.parse().unwrap();
            (
                file.repo.as_str().to_owned(),
                file.revision,
                file.path.unwrap_or_default(),
            )
        };
        for (address, repo, revision, path) in [
            (
                "hf://EleutherAI/gpt-neox-20b",
                "models/EleutherAI/gpt-neox-20b",
                "main",
                "",
            ),
            ("hf://a/b@v1.0/model.bin", "models/a/b", "v1.0", "model.bin"),
            (
                "hf://a/b@refs%2Fpr%2F3/x/y.bin",
                "models/a/b",
                "refs/pr/3",
                "x/y.bin",
            ),
            ("hf://datasets/a/b/c/d.txt", "a/b", "main", "c/d.txt"),
        ] {
            let expected = (repo.to_owned(), revision.to_owned(), path.to_owned());
            assert_eq!(read(address), expected, "{address}");
            let file: HubFile = address.parse().unwrap();
            assert_eq!(file.to_string().parse::<HubFile>().unwrap(), file);
        }
        for bad in [
            "https://a/b",
            "hf://",
            "hf://gpt2",
            "hf://a/b@/x",
            "hf://a/b@v 1/x",
            "hf://a/b/../x",
            "hf://a/b/",
            "hf://../b/x",
            "hf://datasets/a",
        ] {
            assert!(bad.parse::<HubFile>().is_err(), "{bad}");
        }
    }
}
