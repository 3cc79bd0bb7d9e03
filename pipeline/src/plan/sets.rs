//! Evaluation sets by their names in the catalogue: the files whose rows an evaluation reads, pinned as a build's are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::{PlanError, PlannedDataset, Unavailable, access, benchmarks, placed, problem_of};
use crate::catalogue::{Catalogue, Chosen, Dataset, Part, Selection};
use crate::digest::{Digest, Remembered};
use crate::fetch::{FetchError, Hub, Web};
use crate::lock::Lock;
use crate::read::{ReadOptions, lines_path};
use crate::source::{self, Context, Location, PlannedFile, SourceError};
use crate::written::{Problem, Problems};

/// Raised whenever the same files would give other rows than before.
const ROWS_VERSION: u32 = 1;

/// Which sets are wanted.
#[derive(Debug, Clone)]
pub struct SetsOptions {
    /// Folder with `datasets/`.
    pub manifests: PathBuf,
    /// Names of datasets; one that is there twice is one set.
    pub names: Vec<String>,
    /// Folder of downloads and intermediates.
    pub work: PathBuf,
    /// The lock file.
    pub lock: PathBuf,
}

/// A dataset's evaluation files, and those of the examples that stand before its questions.
#[derive(Debug, Clone)]
pub struct EvaluationSet {
    /// The dataset's name.
    pub name: String,
    /// Where its rows belong: `owner/name` of a hub's repository, the dataset's name for any other source.
    pub folder: String,
    /// Where it can be read about.
    pub homepage: Option<String>,
    /// Its licence; where configs have others, all of them.
    pub licence: String,
    /// What follows from it.
    pub licence_note: Option<String>,
    /// One a config that has evaluation files, then the examples. No file is in two of them.
    pub parts: Vec<PlannedDataset>,
}

impl EvaluationSet {
    /// Paths in the source, and below [`Self::folder`], of all files.
    pub fn paths(&self) -> impl Iterator<Item = (&str, String)> {
        files(&self.parts).map(|file| (file.path.as_str(), rows_path(&file.path)))
    }

    /// The place and what it was pinned to, for people.
    #[must_use]
    pub fn pinned(&self) -> (&str, &str) {
        let first = self.parts.first();
        first.map_or(("", ""), |part| (&part.source, &part.revision))
    }

    /// Hash of all that can change a byte of its rows.
    #[must_use]
    pub fn key(&self) -> Digest {
        let parts: Vec<(&ReadOptions, Vec<(&str, &str)>)> = self
            .parts
            .iter()
            .map(|part| {
                let files = files(std::slice::from_ref(part));
                let files = files.map(|file| (file.path.as_str(), file.digest.as_str()));
                (&part.read, files.collect())
            })
            .collect();
        Digest::of_value(&(ROWS_VERSION, &self.name, parts))
    }
}

fn files(parts: &[PlannedDataset]) -> impl Iterator<Item = &PlannedFile> {
    let units = parts.iter().flat_map(|part| &part.units);
    units.flat_map(|unit| &unit.files)
}

/// The file that has the rows of the file at `path`.
pub(crate) fn rows_path(path: &str) -> String {
    lines_path(path).unwrap_or_else(|| format!("{path}.jsonl"))
}

/// Finds and pins the sets of `options`, in the order in which they are named. Asks servers for lists of files and takes none.
/// Writes nothing but the lock file and the work folder's memory of digests.
///
/// # Errors
/// All names that are none, with the nearest ones, and all datasets without evaluation files, before any server is asked; then all
/// that cannot be had.
pub fn evaluation_sets(options: &SetsOptions) -> Result<Vec<EvaluationSet>, PlanError> {
    let chosen = choose(options)?;
    let mut remembered = Remembered::open(&options.work.join("digests.json"));
    let mut lock = Lock::open(&options.lock, &options.work.join("listings"))?;
    let (mut hub, mut web): (Option<Hub>, Option<Web>) = (None, None);
    let downloads = source::downloads(&options.work);
    let (mut sets, mut problems, mut unavailable) = (Vec::new(), Vec::new(), Vec::new());
    for chosen in &chosen {
        let mut context = Context {
            remembered: &mut remembered,
            lock: &mut lock,
            hub: &mut hub,
            web: &mut web,
            downloads: &downloads,
        };
        match set(chosen, &mut context) {
            Ok(set) => {
                problems.extend(same_names(&chosen.dataset, &set));
                sets.push(set);
            }
            Err(PlanError::Written(Problems(found))) => problems.extend(found),
            Err(PlanError::Source(SourceError::Fetch {
                error:
                    error @ (FetchError::Gated { .. }
                    | FetchError::Refused { .. }
                    | FetchError::NotFound { .. }),
                ..
            })) => unavailable.push(Unavailable {
                name: chosen.name().to_owned(),
                access: matches!(error, FetchError::Gated { .. }).then(|| access(chosen)),
                error,
            }),
            Err(other) => return Err(other),
        }
    }
    if fs_err::create_dir_all(&options.work).is_ok() {
        remembered.save();
    }
    lock.save().map_err(|error| PlanError::Lock {
        file: options.lock.clone(),
        error,
    })?;
    let mut folders: BTreeMap<&str, &str> = BTreeMap::new();
    for set in &sets {
        if let Some(other) = folders.insert(&set.folder, &set.name) {
            let message = format!(
                "`{other}` and `{}` are both of {}: their rows cannot be in one folder",
                set.name, set.folder
            );
            problems.push(Problem::of_file(
                &options.manifests.join("datasets"),
                message,
                "name one of them, and the other with another --out".to_owned(),
            ));
        }
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    if !unavailable.is_empty() {
        return Err(PlanError::Unavailable {
            datasets: unavailable,
            others: false,
        });
    }
    Ok(sets)
}

/// The datasets that are named, each once.
fn choose(options: &SetsOptions) -> Result<Vec<Chosen>, PlanError> {
    let catalogue = Catalogue::load(&options.manifests.join("datasets"))?;
    let (mut chosen, mut problems) = (Vec::new(), Vec::new());
    let mut seen = BTreeSet::new();
    for name in &options.names {
        if !seen.insert(name) {
            continue;
        }
        let found = catalogue.select(&Selection::Datasets(vec![name.clone()]), true);
        let found = match found {
            Ok(selected) => selected.chosen,
            Err(Problems(found)) => {
                problems.extend(found);
                continue;
            }
        };
        for of in found {
            let manifest = &of.dataset.manifest;
            let problem = |message: String, hint: String| {
                Problem::of_file(&of.dataset.file, message, None).hint(hint)
            };
            if manifest.name != *name {
                problems.push(problem(
                    format!("`{name}` is a part of an evaluation set, and sets are had whole"),
                    format!("name `{}`", manifest.name),
                ));
            } else if !manifest.evaluation && of.parts.iter().all(|part| part.held_out.is_empty()) {
                problems.push(problem(
                    format!("dataset `{name}` has no evaluation files"),
                    "write `evaluation-files` in its manifest, or `evaluation = true` if all of it is for evaluation"
                        .to_owned(),
                ));
            } else {
                chosen.push(of);
            }
        }
    }
    if problems.is_empty() {
        Ok(chosen)
    } else {
        Err(Problems(problems).into())
    }
}

fn set(chosen: &Chosen, context: &mut Context<'_>) -> Result<EvaluationSet, PlanError> {
    let dataset = &chosen.dataset;
    let manifest = &dataset.manifest;
    let hub = manifest.source.hub.as_ref();
    let (mut parts, mut problems) = (Vec::new(), Vec::new());
    let mut licences: Vec<(&str, Option<&str>)> = Vec::new();
    for part in &chosen.parts {
        match benchmarks::of_part(part, dataset, context) {
            Ok(None) => {}
            Ok(Some(planned)) => {
                let of = &part.dataset.manifest;
                let licence = (of.licence.as_str(), of.licence_note.as_deref());
                if !licences.contains(&licence) {
                    licences.push(licence);
                }
                parts.push(planned);
            }
            Err(PlanError::Source(error)) => match placed(part, error) {
                SourceError::Written(problem) => problems.push(problem),
                other => return Err(PlanError::Source(other)),
            },
            Err(PlanError::Written(Problems(found))) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    if parts.is_empty() && problems.is_empty() {
        let message = format!(
            "no file of `{}` is one of its evaluation files",
            manifest.name
        );
        let problem = Problem::of_file(&dataset.file, message, None);
        problems.push(problem.hint("look at the patterns of `evaluation-files`"));
    }
    match shots(chosen, context) {
        Ok(shots) => parts.extend(shots),
        Err(PlanError::Written(Problems(found))) => problems.extend(found),
        Err(other) => return Err(other),
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    // A file that several configs take is one file.
    let mut seen = BTreeSet::new();
    for part in &mut parts {
        for unit in &mut part.units {
            unit.files.retain(|file| seen.insert(file.path.clone()));
        }
        part.units.retain(|unit| !unit.files.is_empty());
    }
    parts.retain(|part| !part.units.is_empty());
    if hub.is_some_and(|hub| hub.gated) {
        opens(&parts, context).map_err(|error| {
            PlanError::Source(SourceError::Fetch {
                dataset: manifest.name.clone(),
                error,
            })
        })?;
    }
    let licence: BTreeSet<&str> = licences.iter().map(|(licence, _)| *licence).collect();
    let notes: BTreeSet<&str> = licences.iter().filter_map(|(_, note)| *note).collect();
    let joined = |words: BTreeSet<&str>| words.into_iter().collect::<Vec<_>>().join("; ");
    Ok(EvaluationSet {
        name: manifest.name.clone(),
        folder: hub.map_or_else(
            || manifest.name.clone(),
            |hub| hub.repository.as_str().to_owned(),
        ),
        homepage: manifest.homepage.clone(),
        licence: joined(licence),
        licence_note: (!notes.is_empty()).then(|| joined(notes)),
        parts,
    })
}

/// The examples that stand before a set's questions; `None` if its manifest names none.
fn shots(chosen: &Chosen, context: &mut Context<'_>) -> Result<Option<PlannedDataset>, PlanError> {
    let mut dataset = chosen.dataset.clone();
    let Some(hub) = dataset.manifest.source.hub.as_mut() else {
        return Ok(None);
    };
    if hub.shot_files.is_empty() {
        return Ok(None);
    }
    hub.files.clone_from(&hub.shot_files);
    let listing = source::list(&dataset, context);
    let part = Part {
        dataset,
        config: None,
        only: Vec::new(),
        exclude: Vec::new(),
        held_out: Vec::new(),
    };
    let listing = listing.map_err(|error| {
        let hint = match &error {
            SourceError::Unmatched { like, .. } => format!("there are {like}"),
            SourceError::NoFiles { .. } => "look at the patterns of `shot-files`".to_owned(),
            _ => return PlanError::Source(error),
        };
        let problem = problem_of(&part, &["source", "hub", "shot-files"], error.to_string());
        Problems(vec![problem.hint(hint)]).into()
    })?;
    benchmarks::planned(&part, listing.source, listing.revision, listing.files).map(Some)
}

/// Asks whether a gated dataset's files open: its listing says nothing of them.
fn opens(parts: &[PlannedDataset], context: &Context<'_>) -> Result<(), FetchError> {
    let first = files(parts).next().map(|file| &file.location);
    match (context.hub.as_ref(), first) {
        (
            Some(hub),
            Some(Location::Hub {
                repository,
                commit,
                file,
            }),
        ) => hub.may_read(repository, commit, file),
        _ => Ok(()),
    }
}

/// Files whose rows would have one name.
fn same_names(dataset: &Dataset, set: &EvaluationSet) -> Vec<Problem> {
    let mut names: BTreeMap<String, &str> = BTreeMap::new();
    let mut problems = Vec::new();
    for (path, rows) in set.paths() {
        if let Some(other) = names.insert(rows.clone(), path) {
            let message = format!("the rows of `{other}` and `{path}` would both be {rows}");
            let problem = Problem::of_file(&dataset.file, message, None);
            problems.push(problem.hint("let the patterns match one of the two"));
        }
    }
    problems
}
