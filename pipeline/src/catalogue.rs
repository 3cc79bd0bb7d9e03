//! The catalogue: one hand-written TOML file a dataset, saying where it is, what it is and how a row becomes a document.
//!
//! All files of the folder are read before anything else happens, and every problem of every file is reported at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fetch::RepoId;
use crate::read::ReadOptions;
use crate::render::RenderOptions;
use crate::written::{self, Problem, Problems};

/// How much a dataset matters. A document that is in several tiers belongs to the first of them, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Pretraining.
    High,
    /// Fine-tuning.
    Medium,
    /// The last stage.
    Low,
    /// What any machine that built this project has on its disk.
    Sample,
    /// A person's own corpus, outside the catalogue's tiers.
    Own,
}

impl Tier {
    /// The tier's name, as in manifests and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Sample => "sample",
            Self::Own => "own",
        }
    }
}

/// What a dataset's rows are. Decides which tokens carry loss.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Plain text: every token carries loss.
    #[default]
    Text,
    /// Turns with roles: loss on what the assistant says and on the end of text after it.
    Chat,
    /// A prompt with a chosen and a rejected answer.
    Preference,
    /// A problem and steps with ratings.
    Process,
}

impl Kind {
    /// The kind's name, as in manifests.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Chat => "chat",
            Self::Preference => "preference",
            Self::Process => "process",
        }
    }
}

/// A dataset as written in `manifests/datasets/<name>.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatasetManifest {
    /// The dataset's name: the file's stem.
    pub name: String,
    /// One sentence.
    pub description: String,
    /// The tiers it serves; empty for a corpus that is only ever asked for by name.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// What its rows are.
    #[serde(default)]
    pub kind: Kind,
    /// Name of the recipe's profile whose rules judge its documents.
    pub profile: String,
    /// The licence's SPDX identifier, or in words what is known of it.
    pub licence: String,
    /// Where it can be read about.
    #[serde(default)]
    pub homepage: Option<String>,
    /// Bytes of files to take at most; chosen spread out over the whole. Everything when absent.
    #[serde(default)]
    pub budget_bytes: Option<u64>,
    /// Where its files are.
    pub source: Source,
    /// How its files are read; everything has a default by file name.
    #[serde(default)]
    pub read: ReadOptions,
    /// How a row becomes a document.
    pub render: RenderOptions,
    /// Rows and the text they must give.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
}

/// Where a dataset's files are: exactly one of the tables.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Source {
    /// A dataset repository on the hub.
    pub hub: Option<HubSource>,
    /// A folder or file on this machine.
    pub folder: Option<FolderSource>,
    /// The sources of this project's own dependencies, as the build left them on this machine.
    pub cargo: Option<CargoSource>,
}

/// A dataset repository on the hub.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HubSource {
    /// `owner/name`.
    pub repository: RepoId,
    /// Branch, tag or commit; pinned to a commit in the lock file the first time it is used.
    #[serde(default = "main_branch")]
    pub revision: String,
    /// Glob patterns of the files to take.
    pub files: Vec<String>,
    /// Glob patterns of files to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether terms must be accepted on its page before a token opens it.
    #[serde(default)]
    pub gated: bool,
}

fn main_branch() -> String {
    "main".to_owned()
}

/// A folder or file on this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FolderSource {
    /// Absolute, or relative to the manifest's own folder.
    pub path: PathBuf,
    /// Glob patterns of the files to take, relative to `path`.
    #[serde(default = "everything")]
    pub files: Vec<String>,
    /// Glob patterns of files to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
}

fn everything() -> Vec<String> {
    vec!["**".to_owned()]
}

/// Packages of a `Cargo.lock` whose sources stand in `CARGO_HOME`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CargoSource {
    /// The lock file, relative to the manifest's own folder.
    pub lock: PathBuf,
    /// Glob patterns of the files to take, relative to a package.
    pub files: Vec<String>,
    /// Glob patterns of files to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// A row and the text it must give: a manifest that tests itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Example {
    /// The row, as the reader gives it.
    pub row: serde_json::Map<String, serde_json::Value>,
    /// The document's text.
    pub text: String,
}

/// A manifest with the file it was read from.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What was written.
    pub manifest: DatasetManifest,
    /// The file.
    pub file: PathBuf,
}

/// Every dataset manifest of a folder, by name.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    /// Sorted by name.
    pub datasets: Vec<Dataset>,
    folder: PathBuf,
}

/// What a build is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The datasets of these tiers.
    Tiers(Vec<Tier>),
    /// These datasets.
    Datasets(Vec<String>),
    /// One dataset manifest that need not be in the catalogue.
    File(PathBuf),
}

impl Catalogue {
    /// Reads `folder/*.toml`.
    pub fn load(folder: &Path) -> Result<Self, Problems> {
        let entries = fs_err::read_dir(folder).map_err(|error| {
            Problems(vec![Problem::of_file(
                folder,
                format!("the catalogue cannot be read: {error}"),
                "name its folder with --manifests".to_owned(),
            )])
        })?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .collect();
        files.sort();
        let mut problems = Vec::new();
        let mut datasets = Vec::new();
        for file in files {
            match Dataset::load(&file) {
                Ok(dataset) => datasets.push(dataset),
                Err(found) => problems.extend(found.0),
            }
        }
        datasets.sort_by(|a, b| a.manifest.name.cmp(&b.manifest.name));
        if problems.is_empty() {
            Ok(Self {
                datasets,
                folder: folder.to_path_buf(),
            })
        } else {
            Err(Problems(problems))
        }
    }

    /// The datasets of a selection, each with the tier it is taken in, most important tier first.
    pub fn select(&self, selection: &Selection) -> Result<Vec<(Tier, Dataset)>, Problems> {
        let problem = |message: String, hint: Option<String>| {
            Problems(vec![Problem::of_file(&self.folder, message, hint)])
        };
        let mut chosen: Vec<(Tier, Dataset)> = Vec::new();
        match selection {
            Selection::Tiers(tiers) => {
                let tiers: BTreeSet<Tier> = tiers.iter().copied().collect();
                for dataset in &self.datasets {
                    if let Some(tier) = dataset
                        .manifest
                        .tiers
                        .iter()
                        .filter(|t| tiers.contains(t))
                        .min()
                    {
                        chosen.push((*tier, dataset.clone()));
                    }
                }
                if chosen.is_empty() {
                    let names: Vec<_> = tiers.iter().map(|t| t.name()).collect();
                    return Err(problem(
                        format!("no dataset serves the tier {}", names.join(", ")),
                        None,
                    ));
                }
            }
            Selection::Datasets(names) => {
                for name in names {
                    let Some(dataset) = self.datasets.iter().find(|d| d.manifest.name == *name)
                    else {
                        let all = self.datasets.iter().map(|d| d.manifest.name.as_str());
                        let hint = match written::nearest(name, all.clone()) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => format!("there are {}", all.collect::<Vec<_>>().join(", ")),
                        };
                        return Err(problem(
                            format!("no dataset is called `{name}`"),
                            Some(hint),
                        ));
                    };
                    let tier = dataset
                        .manifest
                        .tiers
                        .iter()
                        .min()
                        .copied()
                        .unwrap_or(Tier::Own);
                    chosen.push((tier, dataset.clone()));
                }
            }
            Selection::File(file) => chosen.push((Tier::Own, Dataset::load(file)?)),
        }
        chosen.sort_by(|a, b| (a.0, &a.1.manifest.name).cmp(&(b.0, &b.1.manifest.name)));
        chosen.dedup_by(|a, b| a.1.manifest.name == b.1.manifest.name);
        Ok(chosen)
    }
}

impl Dataset {
    /// Reads and checks one manifest.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        let source = fs_err::read_to_string(file).map_err(|error| {
            Problems(vec![Problem::of_file(
                file,
                format!("the dataset manifest cannot be read: {error}"),
                None,
            )])
        })?;
        let manifest: DatasetManifest = written::parse(file, &source).map_err(Problems)?;
        let problems = check(file, &source, &manifest);
        if problems.is_empty() {
            Ok(Self {
                manifest,
                file: file.to_path_buf(),
            })
        } else {
            Err(Problems(problems))
        }
    }
}

fn check(file: &Path, source: &str, manifest: &DatasetManifest) -> Vec<Problem> {
    let mut problems = Vec::new();
    let at = |keys: &[&str], message: String| Problem::at(file, source, keys, message);
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    if manifest.name != stem {
        problems.push(
            at(
                &["name"],
                format!("the name `{}` is not the file's", manifest.name),
            )
            .hint(format!(
                "write name = \"{stem}\", or rename the file to {}.toml",
                manifest.name
            )),
        );
    }
    if manifest.licence.trim().is_empty() {
        problems.push(
            at(&["licence"], "the licence is empty".to_owned())
                .hint("write its SPDX identifier, or in words what is known of it"),
        );
    }
    let sources = [
        manifest.source.hub.is_some(),
        manifest.source.folder.is_some(),
        manifest.source.cargo.is_some(),
    ];
    if sources.iter().filter(|given| **given).count() != 1 {
        problems.push(
            at(&["source"], "a dataset has exactly one source".to_owned())
                .hint("write one of [source.hub], [source.folder], [source.cargo]"),
        );
    }
    let patterns: Vec<(&str, &Vec<String>)> = [
        manifest
            .source
            .hub
            .as_ref()
            .map(|s| ("hub", [&s.files, &s.exclude])),
        manifest
            .source
            .folder
            .as_ref()
            .map(|s| ("folder", [&s.files, &s.exclude])),
        manifest
            .source
            .cargo
            .as_ref()
            .map(|s| ("cargo", [&s.files, &s.exclude])),
    ]
    .into_iter()
    .flatten()
    .flat_map(|(name, lists)| lists.map(|list| (name, list)))
    .collect();
    for (table, list) in patterns {
        for pattern in list {
            if let Err(error) = globset::Glob::new(pattern) {
                problems.push(at(
                    &["source", table, "files"],
                    format!("`{pattern}` is not a glob pattern: {error}"),
                ));
            }
        }
    }
    match crate::render::Render::new(&manifest.render) {
        Err(error) => problems.push(at(&["render"], error.to_string())),
        Ok(render) => {
            for example in &manifest.examples {
                match render.render(example.row.clone()) {
                    Ok(rendered) if rendered.content.to_text() == example.text => {}
                    Ok(rendered) => problems.push(at(
                        &["example"],
                        format!(
                            "the example gives {:?}, not {:?}",
                            rendered.content.to_text(),
                            example.text
                        ),
                    )),
                    Err(fault) => problems.push(at(
                        &["example"],
                        format!("the example gives no document: {}", fault.reason()),
                    )),
                }
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "mine"
description = "My own corpus."
profile = "prose"
licence = "CC0-1.0"
[source.folder]
path = "texts"
[render]
text = "text"
[[example]]
row = { text = "hello" }
text = "hello"
"#;

    fn load(name: &str, text: &str) -> Result<Dataset, Problems> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        fs_err::write(&file, text).unwrap();
        Dataset::load(&file)
    }

    #[test]
    fn a_good_manifest_is_read() {
        let dataset = load("mine.toml", GOOD).unwrap();
        assert_eq!(dataset.manifest.kind, Kind::Text);
        assert_eq!(dataset.manifest.source.folder.unwrap().files, ["**"]);
    }

    #[test]
    fn a_wrong_name_licence_source_glob_and_example_are_reported_together() {
        let text = GOOD
            .replace("name = \"mine\"", "name = \"yours\"")
            .replace("CC0-1.0", " ")
            .replace("path = \"texts\"", "path = \"texts\"\nfiles = [\"a{\"]")
            .replace(
                "[render]",
                "[source.cargo]\nlock = \"Cargo.lock\"\nfiles = []\n[render]",
            )
            .replace("text = \"hello\"\n", "text = \"other\"\n");
        let problems = load("mine.toml", &text).unwrap_err().0;
        assert_eq!(problems.len(), 5, "{problems:#?}");
        assert!(problems.iter().all(|p| p.place.is_some()));
    }

    #[test]
    fn a_document_goes_to_the_most_important_tier_of_its_dataset() {
        let folder = tempfile::tempdir().unwrap();
        for (name, tiers) in [
            ("a", "[\"low\", \"high\"]"),
            ("b", "[\"high\"]"),
            ("c", "[\"low\"]"),
        ] {
            let text = GOOD
                .replace("\"mine\"", &format!("\"{name}\""))
                .replace("profile", &format!("tiers = {tiers}\nprofile"));
            fs_err::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        }
        let catalogue = Catalogue::load(folder.path()).unwrap();
        let all = catalogue
            .select(&Selection::Tiers(vec![Tier::Low, Tier::High]))
            .unwrap();
        let names: Vec<_> = all
            .iter()
            .map(|(tier, d)| (tier.name(), d.manifest.name.as_str()))
            .collect();
        assert_eq!(names, [("high", "a"), ("high", "b"), ("low", "c")]);
        let wrong = catalogue
            .select(&Selection::Datasets(vec!["d".into()]))
            .unwrap_err();
        assert!(wrong.to_string().contains("no dataset is called `d`"));
        assert!(
            catalogue
                .select(&Selection::Tiers(vec![Tier::Medium]))
                .is_err()
        );
    }
}
