//! The files with lists that the profiles of a plan name, found and pinned.

use std::path::{Path, PathBuf};

use crate::digest::{Digest, Remembered};
use crate::filter::FilterOptions;
use crate::recipe::Recipe;
use crate::written::{Problem, Problems};

/// A file with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// As the recipe has it.
    pub name: String,
    /// On this machine.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its sha256.
    pub digest: Digest,
}

/// Finds the lists of the profiles that judge some dataset.
///
/// # Errors
/// Every list that is not there, at the profile that names it.
pub(super) fn resolve<'a>(
    recipe: &Recipe,
    profiles: impl Iterator<Item = &'a str>,
    manifests: &Path,
    recipe_file: &Path,
    remembered: &mut Remembered,
) -> Result<Vec<List>, Problems> {
    let text = fs_err::read_to_string(recipe_file).unwrap_or_default();
    let mut profiles: Vec<&str> = profiles.collect();
    profiles.sort_unstable();
    profiles.dedup();
    let mut lists: Vec<List> = Vec::new();
    let mut problems = Vec::new();
    for profile in profiles {
        let Some(filter) = recipe.profile.get(profile) else {
            continue;
        };
        for name in filter.list_files() {
            if lists.iter().any(|list| list.name == *name) {
                continue;
            }
            let path = manifests.join(name);
            let found = match path.is_file() {
                true => remembered.digest_all(std::slice::from_ref(&path)),
                false => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
            };
            match found.map(|found| found.into_iter().next()) {
                Ok(Some((stamp, digest))) => lists.push(List {
                    name: name.clone(),
                    path,
                    bytes: stamp.bytes(),
                    digest,
                }),
                Ok(None) => {}
                Err(error) => {
                    let code = filter.code_files.as_ref();
                    let table = if filter
                        .url
                        .as_ref()
                        .is_some_and(|url| url.files().any(|f| f == name))
                    {
                        "url"
                    } else if code.is_some_and(|code| code.tokenizer.as_ref() == Some(name)) {
                        "code-files"
                    } else {
                        "bad-words"
                    };
                    let message = format!(
                        "the file `{name}` cannot be read at {}: {error}",
                        path.display()
                    );
                    problems.push(
                        Problem::at(recipe_file, &text, &["profile", profile, table], message)
                            .hint("name a file, absolute or relative to the manifests' folder; none is part of the program"),
                    );
                }
            }
        }
    }
    if problems.is_empty() {
        Ok(lists)
    } else {
        Err(Problems(problems))
    }
}

/// What the lists hold that a profile names; `None` where it names none.
pub(super) fn digest(lists: &[List], filter: &FilterOptions) -> Option<Digest> {
    let files = filter.list_files();
    let named = lists.iter().filter(|list| files.contains(&&list.name));
    let named: Vec<_> = named.map(|list| (&list.name, list.digest)).collect();
    (!named.is_empty()).then(|| Digest::of_value(&named))
}
