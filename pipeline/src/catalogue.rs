//! The catalogue: one hand-written TOML file a dataset, saying where it is, what it is and how a row becomes a document.
//!
//! All files of the folder are read before anything else happens, and every problem of every file is reported at once. A
//! manifest is what was written; its [`Part`]s are what it means: one for the whole, or one a `[[config]]` with all that the
//! config does not say taken from the dataset.

mod budget;
mod check;
mod draft;
mod example;
mod part;
pub(crate) mod patterns;
mod select;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fetch::{RemoteFile, RepoId};
use crate::read::ReadOptions;
use crate::render::RenderOptions;
use crate::source::{StoreSource, UrlListSource, WebSource};
use crate::written::{self, Problem, Problems};

pub use budget::BudgetBytes;
pub(crate) use draft::is_held_out;
pub use draft::{About, Layout, draft};
pub use part::Part;
pub use select::{Chosen, Selected, Selection};

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

/// The names of files that are most like `pattern`, for people.
pub(crate) fn like(pattern: &str, files: &[RemoteFile]) -> String {
    let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
    patterns::like(pattern, &paths)
}

/// A dataset as written in `manifests/datasets/<name>.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DatasetManifest {
    /// The dataset's name: the file's stem.
    pub name: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// The tiers it serves; empty for a corpus that is only ever asked for by name.
    #[serde(default)]
    pub tiers: Vec<Tier>,
    /// What its rows are.
    #[serde(default)]
    pub kind: Kind,
    /// Name of the recipe's profile whose rules judge its documents.
    #[serde(default)]
    pub profile: String,
    /// The licence's SPDX identifier, or in words what is known of it. Required as description and profile are; the checks
    /// tell their absence, since they can say what to write.
    #[serde(default)]
    pub licence: String,
    /// What follows from the licence: non-commercial, share-alike, per file, unclear, terms of use.
    #[serde(default)]
    pub licence_note: Option<String>,
    /// What was named but never published, and why this public set stands in for it.
    #[serde(default)]
    pub stands_in_for: Option<String>,
    /// Whether it is a benchmark: its rows are training data only for a person who insists.
    #[serde(default)]
    pub evaluation: bool,
    /// Whether documents that are nearly copies are looked for. Rows that share a passage or a beginning on purpose, as
    /// questions on one text do, say no; exact copies are looked for all the same.
    #[serde(default = "yes")]
    pub near_duplicates: bool,
    /// Published size of the chosen files, for people.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Published number of rows, for people.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Where it can be read about.
    #[serde(default)]
    pub homepage: Option<String>,
    /// Bytes of files to take at most; chosen spread out over the whole. Everything when absent.
    #[serde(default)]
    pub budget_bytes: Option<BudgetBytes>,
    /// Where its files are.
    #[serde(default)]
    pub source: Source,
    /// How its files are read; everything has a default by file name.
    #[serde(default)]
    pub read: ReadOptions,
    /// How a row becomes a document; may be absent where every config says it.
    #[serde(default)]
    pub render: RenderOptions,
    /// Parts that differ in files, kind, profile or render; each is planned, counted and reported by itself.
    #[serde(default, rename = "config")]
    pub configs: Vec<Config>,
    /// Rows and the documents they must give.
    #[serde(default, rename = "example")]
    pub examples: Vec<Example>,
}

fn yes() -> bool {
    true
}

/// A part of a dataset, called `dataset/config`: what it does not say is the dataset's.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Its name, unique in the dataset.
    pub name: String,
    /// Glob patterns of its files.
    #[serde(default)]
    pub files: Vec<String>,
    /// Glob patterns of files to leave out all the same, beside the dataset's.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Glob patterns of held-out files, beside the dataset's.
    #[serde(default)]
    pub evaluation_files: Vec<String>,
    /// What its rows are.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Name of the recipe's profile.
    #[serde(default)]
    pub profile: Option<String>,
    /// Its licence, where it has one of its own.
    #[serde(default)]
    pub licence: Option<String>,
    /// What follows from that licence.
    #[serde(default)]
    pub licence_note: Option<String>,
    /// Whether documents that are nearly copies are looked for.
    #[serde(default)]
    pub near_duplicates: Option<bool>,
    /// Published size of its files, for people.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// Published number of its rows, for people.
    #[serde(default)]
    pub rows: Option<u64>,
    /// Bytes of its files to take at most, in place of a share of the dataset's budget.
    #[serde(default)]
    pub budget_bytes: Option<u64>,
    /// How its files are read, in place of the dataset's whole table.
    #[serde(default)]
    pub read: Option<ReadOptions>,
    /// How its rows become documents, in place of the dataset's whole table.
    #[serde(default)]
    pub render: Option<RenderOptions>,
    /// Rows and the documents they must give.
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
    /// Files at addresses of their own.
    pub web: Option<WebSource>,
    /// Files whose addresses stand in lists that a hub repository keeps.
    pub url_list: Option<UrlListSource>,
    /// Objects of a store: `s3://bucket/prefix`.
    pub store: Option<StoreSource>,
}

impl Source {
    /// What a person would call the place.
    #[must_use]
    pub fn place(&self) -> String {
        if let Some(hub) = &self.hub {
            format!("hub:{}", hub.repository)
        } else if let Some(folder) = &self.folder {
            format!("folder:{}", folder.path.display())
        } else if let Some(cargo) = &self.cargo {
            let lock = cargo.lock.file_name().unwrap_or_default();
            format!("cargo:{}", lock.to_string_lossy())
        } else if let Some(web) = &self.web {
            let files = web.files.iter();
            let mut hosts: Vec<&str> = files.filter_map(|f| f.url.split('/').nth(2)).collect();
            hosts.sort_unstable();
            hosts.dedup();
            format!("web:{}", hosts.join(","))
        } else if let Some(list) = &self.url_list {
            format!("urls of hub:{}", list.repository)
        } else if let Some(store) = &self.store {
            format!("store:{}", store.url)
        } else {
            String::new()
        }
    }
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
    /// Glob patterns of the files to take; may be absent where every config has its own.
    #[serde(default)]
    pub files: Vec<String>,
    /// Glob patterns of held-out files, for evaluation and decontamination: they are never training data.
    #[serde(default)]
    pub evaluation_files: Vec<String>,
    /// Glob patterns of files whose rows stand before an evaluation's questions, as examples. They come with the evaluation
    /// files where these are had by name; no build reads them for it, and they may be training data.
    #[serde(default)]
    pub shot_files: Vec<String>,
    /// Glob patterns of files to leave out all the same.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Whether terms must be accepted on its page before a token opens it.
    #[serde(default)]
    pub gated: bool,
    /// How to get access, where it is gated.
    #[serde(default)]
    pub access: Option<String>,
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

/// A row and what it must give: a manifest that tests itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Example {
    /// The row, as the reader gives it.
    pub row: serde_json::Map<String, serde_json::Value>,
    /// The text of its one document.
    #[serde(default)]
    pub text: Option<String>,
    /// The texts of its documents, where a row gives several.
    #[serde(default)]
    pub texts: Option<Vec<String>>,
    /// What of all the texts is trained on, one stretch after another.
    #[serde(default)]
    pub trained: Option<String>,
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
        Self::parse(file, &source)
    }

    /// Checks the text of a manifest that is, or will be, in `file`.
    pub fn parse(file: &Path, source: &str) -> Result<Self, Problems> {
        let manifest: DatasetManifest = written::parse(file, source).map_err(Problems)?;
        let problems = check::check(file, source, &manifest);
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

    const GLUE: &str = r#"
name = "glue"
description = "Sentences and judgements."
tiers = ["high"]
profile = "task"
licence = "per task"
budget-bytes = { high = 5 }
[source.hub]
repository = "nyu-mll/glue"
evaluation-files = ["*/test-*.parquet"]
[render]
template = "{sentence}\n{label?bad|good}"
[[config]]
name = "cola"
files = ["cola/train-*.parquet"]
[[config.example]]
row = { sentence = "So be it.", label = 1 }
text = "So be it.\ngood"
[[config]]
name = "qqp"
files = ["qqp/train-*.parquet"]
evaluation-files = ["qqp/validation-*.parquet"]
kind = "chat"
profile = "chat"
licence = "non-commercial"
rows = 7
[config.render]
exchange = { prompt = "q", response = "a" }
[[config.example]]
row = { q = "Why?", a = "So." }
texts = ["\n\nHuman: Why?\n\nAssistant: So."]
trained = " So."
"#;

    #[test]
    fn a_config_inherits_what_it_does_not_say() {
        let parts = load("glue.toml", GLUE).unwrap().parts();
        let [cola, qqp] = parts.as_slice() else {
            panic!("{parts:#?}");
        };
        let (cola, qqp, of_qqp) = (&cola.dataset.manifest, &qqp.dataset.manifest, qqp);
        assert_eq!(
            (cola.name.as_str(), qqp.name.as_str()),
            ("glue/cola", "glue/qqp")
        );
        assert_eq!((cola.kind, qqp.kind), (Kind::Text, Kind::Chat));
        assert_eq!(
            (cola.profile.as_str(), qqp.profile.as_str()),
            ("task", "chat")
        );
        assert_eq!(
            (cola.licence.as_str(), qqp.licence.as_str()),
            ("per task", "non-commercial")
        );
        assert_eq!((cola.rows, qqp.rows), (None, Some(7)));
        assert!(cola.render.template.is_some() && qqp.render.template.is_none());
        let hub = qqp.source.hub.as_ref().unwrap();
        assert_eq!(hub.files, ["qqp/train-*.parquet"]);
        assert_eq!(
            of_qqp.held_out,
            ["*/test-*.parquet", "qqp/validation-*.parquet"]
        );
    }

    /// A catalogue of these manifests, in a folder that is gone again.
    fn catalogue(manifests: &[(&str, &str)]) -> Catalogue {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in manifests {
            fs_err::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        }
        Catalogue::load(folder.path()).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn named(names: &[&str]) -> Selection {
        Selection::Datasets(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_dataset_is_asked_for_whole_or_by_config() {
        let catalogue = catalogue(&[("glue", GLUE), ("mine", GOOD)]);
        let parts = |names: &[&str]| -> Vec<String> {
            let selected = catalogue.select(&named(names), false).unwrap();
            let parts = selected.chosen.iter().flat_map(|chosen| &chosen.parts);
            parts
                .map(|part| part.dataset.manifest.name.clone())
                .collect()
        };
        assert_eq!(parts(&["glue"]), ["glue/cola", "glue/qqp"]);
        assert_eq!(
            parts(&["mine", "glue/qqp"]),
            ["glue/qqp", "mine"],
            "most important tier first"
        );
        assert_eq!(
            parts(&["glue/qqp", "glue/cola", "glue/qqp"]),
            ["glue/cola", "glue/qqp"]
        );
        for (name, words) in [
            ("glue/cole", "did you mean `glue/cola`?"),
            ("glue/x", "it has cola, qqp"),
            ("mine/x", "`mine` is not divided"),
            ("nyu-mll/glue", "is called `glue` here"),
            ("gleu", "did you mean `glue`?"),
            ("nothing", "there are glue, mine"),
        ] {
            let said = catalogue.select(&named(&[name]), false).unwrap_err();
            assert!(said.to_string().contains(words), "{name}: {said}");
        }
    }

    #[test]
    fn a_benchmark_is_left_out_unless_a_person_insists() {
        let benchmark = GOOD
            .replace("\"mine\"", "\"test\"")
            .replace("profile", "evaluation = true\ntiers = [\"high\"]\nprofile");
        let catalogue = catalogue(&[("glue", GLUE), ("test", &benchmark)]);
        let high = Selection::Tiers(vec![Tier::High]);
        let names = |selected: &Selected| -> Vec<String> {
            let chosen = selected.chosen.iter();
            chosen.map(|chosen| chosen.name().to_owned()).collect()
        };
        let selected = catalogue.select(&high, false).unwrap();
        assert_eq!(names(&selected), ["glue"]);
        assert_eq!(selected.benchmarks, ["test"]);
        let selected = catalogue.select(&high, true).unwrap();
        assert_eq!(names(&selected), ["glue", "test"]);
        assert!(selected.benchmarks.is_empty());
        let said = catalogue.select(&named(&["test"]), false).unwrap_err();
        assert!(said.to_string().contains("--with-benchmarks"), "{said}");
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
            .select(&Selection::Tiers(vec![Tier::Low, Tier::High]), false)
            .unwrap();
        let names: Vec<_> = all
            .chosen
            .iter()
            .map(|chosen| (chosen.tiers[0].name(), chosen.name()))
            .collect();
        assert_eq!(names, [("high", "a"), ("high", "b"), ("low", "c")]);
        let medium = Selection::Tiers(vec![Tier::Medium]);
        assert!(catalogue.select(&medium, false).is_err());
    }
}
