//! The builds that a plan is compared with, found and opened.

use std::path::{Path, PathBuf};

use andromeda_format::Build;

use crate::execute::index::{self, Shape};
use crate::recipe::Recipe;
use crate::written::{Problem, Problems};

/// A finished build whose documents another one shall not have again.
#[derive(Debug, Clone)]
pub struct Against {
    /// Its name.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Its root hash.
    pub root: String,
    /// Documents it kept.
    pub documents: u64,
    /// The parts of its index.
    pub parts: Vec<PathBuf>,
}

/// Opens the builds that a recipe names, in its order; one that is named twice counts once.
pub(super) fn resolve(
    recipe: &Recipe,
    shards: &Path,
    recipe_file: &Path,
) -> Result<Vec<Against>, Problems> {
    let mut found: Vec<Against> = Vec::new();
    let mut problems = Vec::new();
    let text = fs_err::read_to_string(recipe_file).unwrap_or_default();
    for named in &recipe.dedup.against {
        match open(named, recipe, shards) {
            Ok(build) if found.iter().any(|other| other.root == build.root) => {}
            Ok(build) => found.push(build),
            Err((message, hint)) => problems
                .push(Problem::at(recipe_file, &text, &["dedup", "against"], message).hint(hint)),
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(Problems(problems))
    }
}

fn open(named: &str, recipe: &Recipe, shards: &Path) -> Result<Against, (String, String)> {
    let by_name = shards.join(named);
    let folder = if by_name.join("manifest.json").is_file() {
        by_name
    } else {
        PathBuf::from(named)
    };
    if !folder.join("manifest.json").is_file() {
        return Err((
            format!("`{named}` is no finished build"),
            format!(
                "name one of {}, which `andromeda status` lists, or the folder of another",
                shards.display()
            ),
        ));
    }
    let build = Build::open(&folder).map_err(|error| {
        (
            format!("the build `{named}` cannot be opened: {error}"),
            "`andromeda verify` tells what is damaged".to_owned(),
        )
    })?;
    let manifest = build.manifest();
    let tables = manifest.tables.iter();
    let parts: Vec<PathBuf> = tables
        .filter(|table| index::is_part(&table.path))
        .map(|table| folder.join(&table.path))
        .collect();
    let again = "make it again, with the same [normalize] and [dedup.near] as this recipe and [dedup] index = true";
    let Some(first) = parts.first() else {
        return Err((
            format!("the build `{named}` has no index to compare with"),
            again.to_owned(),
        ));
    };
    let shape = Shape::read(first).map_err(|error| {
        (
            format!("the index of the build `{named}` cannot be read: {error}"),
            "`andromeda verify` tells what is damaged".to_owned(),
        )
    })?;
    if let Some(why) = Shape::of(recipe).differs(&shape) {
        return Err((
            format!("the build `{named}` cannot be compared with: {why}"),
            again.to_owned(),
        ));
    }
    Ok(Against {
        name: manifest.name.clone(),
        root: manifest.root.clone(),
        documents: manifest.funnel.kept.documents,
        folder,
        parts,
    })
}
