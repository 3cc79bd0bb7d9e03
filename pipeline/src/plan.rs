//! The plan: everything a build will read and do, resolved and pinned, before any of it is done.
//!
//! Nothing in a plan is optional or depends on this machine's load; its fingerprint covers exactly what can change a byte
//! of the build. Files are grouped into units here, by content and never by the number of workers, so that a resumed run,
//! or one with other threads, finds the same tasks.

mod against;
mod benchmarks;
mod choose;
mod error;
mod estimate;
mod files;
pub(crate) mod hub_files;
mod lists;
mod look;
mod sets;
mod units;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::Serialize;

use crate::catalogue::{Catalogue, Chosen, Kind, Part, Selection, Tier, patterns};
use crate::digest::{Digest, Remembered};
use crate::fetch::{FetchError, Hub, HubFile, Web};
use crate::filter::FilterOptions;
use crate::lock::Lock;
use crate::progress::{Progress, Silent};
use crate::read::{Compression, FileFormat, ReadOptions, Share};
use crate::recipe::Recipe;
use crate::render::RenderOptions;
use crate::source::{self, Context, Location, PlannedFile, SourceError};
use crate::tokenize::{TokenizeError, Tokenizer, with_reserved};
use crate::written::{self, Problem, Problems};

pub use against::Against;
use hub_files::HubFiles;

pub use benchmarks::Benchmark;
pub use error::{PlanError, Unavailable};
pub use estimate::{Contents, Estimate, StageTime};
pub use files::{FilesOptions, ToTokens, of_files, to_tokens};
pub use lists::List;
pub use look::first_rows;
pub(crate) use sets::rows_path;
pub use sets::{EvaluationSet, SetsOptions, evaluation_sets};

/// Raised whenever the same plan would give other bytes than before: part of every key and fingerprint.
pub const BYTES_VERSION: u32 = 3;

/// What a plan is made from.
#[derive(Debug, Clone)]
pub struct PlanOptions {
    /// Folder with `datasets/`, `recipes/` and `tokenizers/`.
    pub manifests: PathBuf,
    /// What is built.
    pub selection: Selection,
    /// A recipe's name in the manifests' folder, or a file.
    pub recipe: String,
    /// Folder of downloads and intermediates.
    pub work: PathBuf,
    /// The lock file.
    pub lock: PathBuf,
    /// Whether budgets are lifted.
    pub full: bool,
    /// Whether benchmarks may be training data, which the build is then marked with.
    pub with_benchmarks: bool,
    /// Whether datasets that are gone, whose terms were not accepted, or that lack the files asked for are left out, instead
    /// of ending without a plan.
    pub skip_unavailable: bool,
    /// Folder where builds are found by name.
    pub shards: PathBuf,
    /// Builds, by name or folder, whose documents are taken out, besides those of the recipe.
    pub against: Vec<String>,
    /// Whether documents will be tokenized; without, the tokenizer's file need not be there.
    pub needs_tokenizer: bool,
}

/// A resolved build.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The build's name: the selection and the beginning of the fingerprint.
    pub name: String,
    /// Hash of all that can change a byte of the build.
    pub fingerprint: Digest,
    /// The recipe's name.
    pub recipe_name: String,
    /// The recipe.
    pub recipe: Recipe,
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// Its sha256.
    pub tokenizer_digest: Digest,
    /// Most important tier first, then by name.
    pub datasets: Vec<PlannedDataset>,
    /// Whether the texts of documents are kept for the stages after the search for duplicates.
    pub keep_texts: bool,
    /// Builds whose documents are taken out.
    pub against: Vec<Against>,
    /// Evaluation sets whose items are taken out of the documents.
    pub benchmarks: Vec<Benchmark>,
    /// Files with lists that its profiles name.
    pub lists: Vec<List>,
    /// Benchmarks that are training data of this build: a score on them says nothing.
    pub contaminates: Vec<String>,
    /// Datasets that were asked for and left out, with the reason.
    pub left_out: Vec<LeftOut>,
}

/// A dataset that was asked for and left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// Its name.
    pub name: String,
    /// Why, and how it would be taken in.
    pub reason: String,
}

/// A dataset of a plan: a whole one, or one config of one.
#[derive(Debug, Clone)]
pub struct PlannedDataset {
    /// Its name: `dataset` or `dataset/config`.
    pub name: String,
    /// Its manifest.
    pub file: PathBuf,
    /// The tier it is taken in.
    pub tier: Tier,
    /// What its rows are.
    pub kind: Kind,
    /// Whether documents that are nearly copies are looked for.
    pub near: bool,
    /// Its licence.
    pub licence: String,
    /// What follows from it.
    pub licence_note: Option<String>,
    /// What it stands in for, and why.
    pub stands_in_for: Option<String>,
    /// Whether its terms had to be accepted; it opens, or there would be no plan.
    pub gated: bool,
    /// Published rows of all of it, where they are known.
    pub rows: Option<u64>,
    /// Published bytes of all of it, where they are known.
    pub size_bytes: Option<u64>,
    /// The place, for people.
    pub source: String,
    /// What it was pinned to.
    pub revision: String,
    /// The profile's name.
    pub profile: String,
    /// The profile's rules.
    pub filter: FilterOptions,
    /// How files become rows.
    pub read: ReadOptions,
    /// How rows become documents.
    pub render: RenderOptions,
    /// Pieces of work, in the order of their files' paths.
    pub units: Vec<Unit>,
    /// Files the budget left out, and their bytes.
    pub left_out: (usize, u64),
    /// Bytes of its files that are not on this machine yet.
    pub missing_bytes: u64,
    /// For people.
    pub notes: Vec<String>,
}

impl PlannedDataset {
    /// Files that are read.
    pub fn files(&self) -> usize {
        self.units.iter().map(|unit| unit.files.len()).sum()
    }

    /// Bytes of those files.
    pub fn bytes(&self) -> u64 {
        self.units.iter().map(Unit::bytes).sum()
    }
}

/// One file, or several small text files that are read together.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Sorted by path.
    pub files: Vec<PlannedFile>,
    /// Format of all of them.
    pub format: FileFormat,
    /// Compression of all of them.
    pub compression: Compression,
    /// What is read of the only file, where it is larger than the budget.
    pub share: Option<Share>,
    /// Hash of the paths and digests of its files.
    pub digest: Digest,
}

impl Unit {
    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes of its files that are read.
    pub fn read_bytes(&self) -> u64 {
        self.share
            .map_or_else(|| self.bytes(), |share| share.take.min(share.of))
    }

    /// Whether its files are whole documents read together.
    pub fn is_group(&self) -> bool {
        self.format == FileFormat::Text && self.compression == Compression::None
    }
}

/// As [`plan_with`], telling nobody.
///
/// # Errors
/// As [`plan_with`].
pub fn plan(options: &PlanOptions) -> Result<Plan, PlanError> {
    plan_with(options, &Silent)
}

/// Resolves a selection and a recipe. Writes nothing but the lock file and the work folder's memory of digests; models and
/// tokenizers of the hub come to its cache, with events of [`Stage::Fetch`](crate::progress::Stage).
///
/// # Errors
/// What is written and cannot be meant, what is not there or cannot be had.
pub fn plan_with(options: &PlanOptions, progress: &dyn Progress) -> Result<Plan, PlanError> {
    let catalogue = match &options.selection {
        Selection::File(_) => Catalogue::default(),
        _ => Catalogue::load(&options.manifests.join("datasets"))?,
    };
    let selected = catalogue.select(&options.selection, options.with_benchmarks)?;
    let recipe_file = recipe_file(&options.manifests, &options.recipe)?;
    let mut recipe = Recipe::load(&recipe_file)?;
    let mut lock = Lock::open(&options.lock, &options.work.join("listings"))?;
    let mut hub: Option<Hub> = None;
    let mut hub_files = HubFiles {
        lock: Some(&mut lock),
        hub: &mut hub,
        progress,
    };
    let mut failed = None;
    let mut find = |name: &str, default: Option<&str>| {
        if !HubFile::is_written(name) {
            return Ok((options.manifests.join(name), name.to_owned()));
        }
        hub_files.find(name, default).map_err(|error| {
            let said = error.to_string();
            if !error.is_written() {
                failed.get_or_insert((name.to_owned(), error));
            }
            said
        })
    };
    let models = recipe.read_models(
        &mut |name| find(name, None).map(|(path, _)| path),
        &recipe_file,
    );
    let named = &recipe.tokenize.tokenizer;
    let tokenizer = if options.needs_tokenizer {
        find(named, Some("tokenizer.json")).and_then(|(path, pinned)| {
            let digest = match recipe.chat.format.reserved() {
                [] => Digest::of_file(&path).map_err(|error| error.to_string())?,
                // The build's own file, which has more tokens.
                _ => {
                    Digest::of(&tokenizer_bytes(&recipe, &path).map_err(|error| error.to_string())?)
                }
            };
            Ok((path, digest, pinned))
        })
    } else {
        Ok((
            options.manifests.join(named),
            Digest::of(b""),
            named.clone(),
        ))
    };
    if let Some((name, error)) = failed {
        let file = recipe_file.display().to_string();
        return Err(PlanError::HubFile { file, name, error });
    }
    models?;
    recipe.dedup.against.extend(options.against.iter().cloned());
    let against = against::resolve(&recipe, &options.shards, &recipe_file)?;
    // A build is called the same wherever it lies.
    recipe.dedup.against = against.iter().map(|build| build.name.clone()).collect();
    let recipe_name = recipe_file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let (tokenizer, tokenizer_digest, pinned) = tokenizer.map_err(|error| {
        let problem = match fs_err::read_to_string(&recipe_file) {
            Ok(text) => Problem::at(
                &recipe_file,
                &text,
                &["tokenize", "tokenizer"],
                format!("the tokenizer cannot be read: {error}"),
            ),
            Err(_) => Problem::of_file(
                &recipe_file,
                format!("the tokenizer cannot be read: {error}"),
                None,
            ),
        };
        Problems(vec![problem.hint(
            "name a tokenizer.json, or hf://owner/name of one on the hub; `andromeda tokenizer train` makes one",
        )])
    })?;

    recipe.tokenize.tokenizer = pinned;

    let mut problems = unknown_profiles(&selected.chosen, &recipe, &recipe_name);
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }

    let mut remembered = Remembered::open(&options.work.join("digests.json"));
    let mut web: Option<Web> = None;
    let downloads = source::downloads(&options.work);
    let mut datasets = Vec::new();
    let mut seen = BTreeSet::new();
    let mut unavailable = Vec::new();
    let mut left_out: Vec<LeftOut> = Vec::new();
    for chosen in &selected.chosen {
        let mut context = Context {
            remembered: &mut remembered,
            lock: &mut lock,
            hub: &mut hub,
            web: &mut web,
            downloads: &downloads,
        };
        match resolve(chosen, &recipe, options, &mut context) {
            Ok((mut planned, without)) => {
                for dataset in &mut planned {
                    let files = dataset.units.iter().flat_map(|unit| &unit.files);
                    // Files that several configs read come once.
                    let files = files.filter(|file| seen.insert(file.digest.clone()));
                    dataset.missing_bytes = files.map(|file| missing_bytes(file, &context)).sum();
                }
                datasets.extend(planned);
                left_out.extend(without);
            }
            Err(Unresolved::Written(found)) => problems.extend(found),
            Err(Unresolved::Source(SourceError::Fetch {
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
            Err(Unresolved::Source(other)) => return Err(PlanError::Source(other)),
        }
    }
    let lists = lists::resolve(
        &recipe,
        datasets.iter().map(|dataset| dataset.profile.as_str()),
        &options.manifests,
        &recipe_file,
        &mut remembered,
    );
    let lists = match lists {
        Ok(lists) => lists,
        Err(Problems(found)) => {
            problems.extend(found);
            Vec::new()
        }
    };
    let mut benchmarks = Vec::new();
    if let Some(decontaminate) = &recipe.decontaminate {
        let mut context = Context {
            remembered: &mut remembered,
            lock: &mut lock,
            hub: &mut hub,
            web: &mut web,
            downloads: &downloads,
        };
        benchmarks = benchmarks::resolve(
            decontaminate,
            &options.manifests,
            &recipe_file,
            &mut context,
        )?;
        for benchmark in &mut benchmarks {
            let files = benchmark.dataset.units.iter().flat_map(|unit| &unit.files);
            let files = files.filter(|file| seen.insert(file.digest.clone()));
            let missing = files.map(|file| missing_bytes(file, &context)).sum();
            benchmark.dataset.missing_bytes = missing;
        }
    }
    if fs_err::create_dir_all(&options.work).is_ok() {
        remembered.save();
    }
    lock.save().map_err(|error| PlanError::Lock {
        file: options.lock.clone(),
        error,
    })?;
    problems.extend(datasets.iter().filter_map(look::at_local));
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }
    left_out.extend(selected.benchmarks.into_iter().map(|name| {
        LeftOut {
            name,
            reason:
                "a benchmark is no training data; --with-benchmarks takes it in and marks the build"
                    .to_owned(),
        }
    }));
    if !unavailable.is_empty() && (!options.skip_unavailable || datasets.is_empty()) {
        return Err(PlanError::Unavailable {
            datasets: unavailable,
            others: !datasets.is_empty(),
        });
    }
    left_out.extend(unavailable.into_iter().map(|dataset| LeftOut {
        name: dataset.name,
        reason: match dataset.access {
            Some(access) => format!("{}; {access}", dataset.error),
            None => dataset.error.to_string(),
        },
    }));
    if datasets.is_empty() {
        let reasons: Vec<String> = left_out
            .iter()
            .map(|left_out| format!("{}: {}", left_out.name, left_out.reason))
            .collect();
        let folder = options.manifests.join("datasets");
        let problem = Problem::of_file(&folder, "nothing is left to build", reasons.join("; "));
        return Err(Problems(vec![problem]).into());
    }
    datasets.sort_by(|a, b| (a.tier, &a.name).cmp(&(b.tier, &b.name)));
    let contaminates: Vec<String> = selected
        .chosen
        .iter()
        .filter(|chosen| chosen.dataset.manifest.evaluation)
        .map(|chosen| chosen.name().to_owned())
        .collect();

    let fingerprint = fingerprint(
        &recipe,
        tokenizer_digest,
        &datasets,
        &contaminates,
        &against,
        &benchmarks,
        &lists,
    );
    let label = match &options.selection {
        Selection::Tiers(tiers) => tiers.iter().map(|t| t.name()).collect::<Vec<_>>().join("-"),
        Selection::Datasets(names) if names.len() == 1 => names[0].replace('/', "-"),
        Selection::Datasets(_) => "mixed".to_owned(),
        // Of a manifest with parts, the whole: a build is a folder and never one within another.
        Selection::File(_) => datasets
            .first()
            .and_then(|dataset| dataset.name.split('/').next())
            .unwrap_or_default()
            .to_owned(),
    };
    let label = if label == "high-medium-low" {
        "all".to_owned()
    } else {
        label
    };
    let name = format!("{label}-{}", &fingerprint.hex()[..8]);
    Ok(Plan {
        name,
        fingerprint,
        recipe_name,
        recipe,
        tokenizer,
        tokenizer_digest,
        datasets,
        keep_texts: true,
        against,
        benchmarks,
        lists,
        contaminates,
        left_out,
    })
}

/// A recipe's tokenizer as builds have it: with the tokens that its chat format takes for itself.
fn tokenizer_bytes(recipe: &Recipe, path: &Path) -> Result<Vec<u8>, TokenizeError> {
    let read = |source| TokenizeError::Read {
        path: path.to_owned(),
        source,
    };
    let bytes = std::fs::read(path).map_err(read)?;
    let end_of_text = recipe.tokenize.end_of_text.as_deref();
    let reserved = recipe.chat.format.reserved();
    Ok(with_reserved(&bytes, reserved, path, end_of_text)?.into_owned())
}

impl Plan {
    /// The bytes of the build's `tokenizer.json`, of which [`Self::tokenizer_digest`] is the hash.
    ///
    /// # Errors
    ///
    /// It cannot be read, or its chat format's tokens cannot be added to it.
    pub(crate) fn tokenizer_bytes(&self) -> Result<Vec<u8>, TokenizeError> {
        tokenizer_bytes(&self.recipe, &self.tokenizer)
    }

    /// Loads the build's tokenizer.
    ///
    /// # Errors
    ///
    /// What [`Tokenizer::with_reserved`] finds.
    pub(crate) fn load_tokenizer(&self) -> Result<Tokenizer, TokenizeError> {
        let reserved = self.recipe.chat.format.reserved();
        let end_of_text = self.recipe.tokenize.end_of_text.as_deref();
        if reserved.is_empty() {
            return Tokenizer::load(&self.tokenizer, end_of_text);
        }
        let bytes = self.tokenizer_bytes()?;
        Tokenizer::with_reserved(&bytes, &self.tokenizer, end_of_text, reserved)
    }

    /// All that is read: the datasets, then the evaluation sets.
    pub(crate) fn all_datasets(&self) -> impl Iterator<Item = &PlannedDataset> {
        let benchmarks = self.benchmarks.iter().map(|benchmark| &benchmark.dataset);
        self.datasets.iter().chain(benchmarks)
    }

    /// Hash of what the lists hold that a profile names; `None` where it names none.
    pub(crate) fn lists_digest(&self, filter: &FilterOptions) -> Option<Digest> {
        lists::digest(&self.lists, filter)
    }

    /// Hash of what the evaluation sets hold; `None` where there are none.
    pub(crate) fn benchmarks_digest(&self) -> Option<Digest> {
        (!self.benchmarks.is_empty()).then(|| benchmarks::digest(&self.benchmarks))
    }
}

/// What a person must do before a gated dataset opens.
fn access(chosen: &Chosen) -> String {
    let hub = chosen.dataset.manifest.source.hub.as_ref();
    hub.and_then(|hub| hub.access.clone()).unwrap_or_else(|| {
        "its manifest does not say that it is gated: write gated = true and access = \"...\""
            .to_owned()
    })
}

fn unknown_profiles(chosen: &[Chosen], recipe: &Recipe, recipe_name: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for part in chosen.iter().flat_map(|chosen| &chosen.parts) {
        let dataset = &part.dataset;
        let profile = &dataset.manifest.profile;
        if recipe.profile.contains_key(profile) {
            continue;
        }
        let names = recipe.profile.keys().map(String::as_str);
        let hint = match written::nearest(profile, names.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!(
                "the recipe `{recipe_name}` has {}",
                names.collect::<Vec<_>>().join(", ")
            ),
        };
        let message = format!("the recipe `{recipe_name}` has no profile `{profile}`");
        let problem = problem_of(part, &["profile"], message).hint(hint);
        // Configs that inherit it have the same mistake.
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

/// A problem of a part at the entry `keys` of its config, or else of its dataset.
fn problem_of(part: &Part, keys: &[&str], message: String) -> Problem {
    let file = &part.dataset.file;
    let text = fs_err::read_to_string(file).unwrap_or_default();
    let whole = Problem::at(file, &text, keys, message.clone());
    let Some(number) = part.config.map(|number| number.to_string()) else {
        return whole;
    };
    let mut of_config = vec!["config", &number];
    of_config.extend(keys);
    let of_config = Problem::at(file, &text, &of_config, message);
    if of_config.place.is_some() {
        of_config
    } else {
        whole
    }
}

/// The file of a recipe: one of the manifests' folder by name, or any by path.
///
/// # Errors
/// There is none; names those that there are.
pub fn recipe_file(manifests: &Path, recipe: &str) -> Result<PathBuf, Problems> {
    let named = manifests.join("recipes").join(format!("{recipe}.toml"));
    if named.is_file() {
        return Ok(named);
    }
    let path = PathBuf::from(recipe);
    if path.is_file() {
        return Ok(path);
    }
    let folder = manifests.join("recipes");
    let mut names: Vec<String> = fs_err::read_dir(&folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_suffix(".toml")?
                    .to_owned(),
            )
        })
        .collect();
    names.sort();
    let hint = format!("there are {}; or name a file", names.join(", "));
    Err(Problems(vec![Problem::of_file(
        &folder,
        format!("no recipe is called `{recipe}`"),
        hint,
    )]))
}

/// A part's files, pinned, and what is told of them.
struct Listed<'a> {
    part: &'a Part,
    source: String,
    revision: String,
    notes: Vec<String>,
    files: Vec<PlannedFile>,
}

/// Why a chosen dataset is not planned.
enum Unresolved {
    /// What is written of it: of each of its parts.
    Written(Vec<Problem>),
    /// Something else, which ends the matter.
    Source(SourceError),
}

impl From<SourceError> for Unresolved {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Written(problem) => Self::Written(vec![problem]),
            other => Self::Source(other),
        }
    }
}

/// The planned datasets of a chosen one, one a part and tier, and the parts that no budget has room for.
fn resolve(
    chosen: &Chosen,
    recipe: &Recipe,
    options: &PlanOptions,
    context: &mut Context<'_>,
) -> Result<(Vec<PlannedDataset>, Vec<LeftOut>), Unresolved> {
    let mut listed = Vec::new();
    let mut problems = Vec::new();
    let mut left_out = Vec::new();
    for part in &chosen.parts {
        match list(part, context) {
            Ok(of) => listed.push(of),
            Err(error) => match (lacking(&error), placed(part, error)) {
                (Some(reason), _) if options.skip_unavailable => left_out.push(LeftOut {
                    name: part.dataset.manifest.name.clone(),
                    reason,
                }),
                (_, SourceError::Written(problem)) => problems.push(problem),
                (_, other) => return Err(other.into()),
            },
        }
    }
    if !problems.is_empty() {
        return Err(Unresolved::Written(problems));
    }
    let shares = choose::shares(chosen, &listed, options.full);
    let hub = chosen.dataset.manifest.source.hub.as_ref();
    if hub.is_some_and(|hub| hub.gated) {
        opens(&shares, context).map_err(|error| SourceError::Fetch {
            dataset: chosen.name().to_owned(),
            error,
        })?;
    }
    let without = |part: usize| !shares.iter().any(|share| share.part == part);
    let parts = listed.iter().enumerate();
    let without = parts.filter(|(part, _)| without(*part));
    left_out.extend(without.map(|(_, of)| LeftOut {
            name: of.part.dataset.manifest.name.clone(),
            reason: "the budget, or that of a more important tier, ends before its files; raise budget-bytes, or lift it with --budget full".to_owned(),
        }));
    let mut planned = Vec::new();
    for share in shares {
        let of = &listed[share.part];
        let manifest = &of.part.dataset.manifest;
        let mut notes = of.notes.clone();
        let bytes = |files: &[PlannedFile]| files.iter().map(|file| file.bytes).sum::<u64>();
        let left_out = (
            of.files.len() - share.files.len(),
            bytes(&of.files) - bytes(&share.files),
        );
        if left_out.0 > 0 {
            notes.push(format!(
                "the budget takes {} of {} files",
                share.files.len(),
                of.files.len()
            ));
        }
        if let Some(Share { take, of }) = share.share {
            notes.push(format!(
                "its file is larger than the budget: {:.0} % of the file's blocks are read, evenly spread",
                take as f64 * 100.0 / of as f64
            ));
        }
        let units =
            units::units(share.files, &manifest.read, share.share).map_err(|path| {
                let message = format!("the format of `{path}` is not known by its name");
                let problem = problem_of(of.part, &["source"], message);
                SourceError::Written(problem.hint(
                    "write [read] format = \"jsonl\" (or json, parquet, csv, tsv, text, tar)",
                ))
            })?;
        let hub = manifest.source.hub.as_ref();
        planned.push(PlannedDataset {
            name: manifest.name.clone(),
            file: of.part.dataset.file.clone(),
            tier: share.tier,
            kind: manifest.kind,
            // Pairs that share a prompt and an answer are alike on purpose: such documents are only ever exact duplicates.
            near: manifest.near_duplicates
                && !matches!(manifest.kind, Kind::Preference | Kind::Process),
            licence: manifest.licence.clone(),
            licence_note: manifest.licence_note.clone(),
            stands_in_for: manifest.stands_in_for.clone(),
            gated: hub.is_some_and(|hub| hub.gated),
            rows: manifest.rows,
            size_bytes: manifest.size_bytes,
            source: of.source.clone(),
            revision: of.revision.clone(),
            profile: manifest.profile.clone(),
            filter: recipe.profile[&manifest.profile].clone(),
            read: manifest.read.clone(),
            render: manifest.render.clone(),
            units,
            left_out,
            missing_bytes: 0,
            notes,
        });
    }
    Ok((planned, left_out))
}

/// Bytes of a file that must still come over the network.
fn missing_bytes(file: &PlannedFile, context: &Context<'_>) -> u64 {
    match (&file.location, &*context.hub, &*context.web) {
        (Location::Local { .. }, ..) => 0,
        (
            Location::Hub {
                repository, file, ..
            },
            Some(hub),
            _,
        ) => hub.missing_bytes(repository, file),
        (Location::Web { url, pin }, _, Some(web)) => web.missing_bytes(url, pin),
        _ => file.bytes,
    }
}

/// Asks whether a gated dataset's files open: a listing kept from before, or a public one, says nothing of them.
fn opens(shares: &[choose::Taken], context: &Context<'_>) -> Result<(), FetchError> {
    let Some(hub) = context.hub.as_ref() else {
        return Ok(());
    };
    let first = shares.iter().flat_map(|share| &share.files).next();
    match first.map(|file| &file.location) {
        Some(Location::Hub {
            repository,
            commit,
            file,
        }) => hub.may_read(repository, commit, file),
        _ => Ok(()),
    }
}

/// Which files a part lacks, if that is what is wrong.
fn lacking(error: &SourceError) -> Option<String> {
    match error {
        SourceError::Unmatched { pattern, place, .. } => {
            Some(format!("`{pattern}` matches no file at {place}"))
        }
        SourceError::NoFiles { place, .. } => Some(format!("there are no files of it at {place}")),
        _ => None,
    }
}

/// The error with its place in the manifest, where it is one of what is written there.
fn placed(part: &Part, error: SourceError) -> SourceError {
    let hint = match &error {
        SourceError::Unmatched { like, .. } => format!("there are {like}"),
        SourceError::NoFiles { .. } => {
            "look at the place, and at the patterns of `files` and `exclude`".to_owned()
        }
        _ => return error,
    };
    let source = &part.dataset.manifest.source;
    let keys: &[&str] = match part.config {
        Some(_) => &["files"],
        None if source.hub.is_some() => &["source", "hub", "files"],
        None => &["source"],
    };
    SourceError::Written(problem_of(part, keys, error.to_string()).hint(hint))
}

/// Lists a part: the files of its source that its config asks for, without those held out for evaluation.
fn list<'a>(part: &'a Part, context: &mut Context<'_>) -> Result<Listed<'a>, SourceError> {
    let listing = source::list(&part.dataset, context)?;
    let mut notes = listing.notes;
    let set = |patterns: &[String], keys: &[&str]| -> Result<GlobSet, SourceError> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let glob = Glob::new(pattern)
                .map_err(|error| SourceError::Written(problem_of(part, keys, error.to_string())))?;
            set.add(glob);
        }
        set.build()
            .map_err(|error| SourceError::Written(problem_of(part, keys, error.to_string())))
    };
    let only = set(&part.only, &["files"])?;
    let exclude = set(&part.exclude, &["exclude"])?;
    let held_out = set(&part.held_out, &["evaluation-files"])?;
    let paths: Vec<&str> = listing
        .files
        .iter()
        .map(|file| file.path.as_str())
        .collect();
    if let Some((pattern, like)) = patterns::unmatched(&part.only, &paths) {
        return Err(SourceError::Unmatched {
            dataset: part.dataset.manifest.name.clone(),
            pattern: pattern.to_owned(),
            place: listing.source,
            files: paths.len(),
            like,
        });
    }
    let all = listing.files.len();
    let mut files: Vec<PlannedFile> = listing
        .files
        .into_iter()
        .filter(|file| part.only.is_empty() || only.is_match(&file.path))
        .filter(|file| !exclude.is_match(&file.path))
        .collect();
    let asked = files.len();
    files.retain(|file| !held_out.is_match(&file.path));
    match asked - files.len() {
        0 => {}
        1 => notes.push("1 file is held out for evaluation".to_owned()),
        held_out => notes.push(format!("{held_out} files are held out for evaluation")),
    }
    let tests = files
        .iter()
        .filter(|file| crate::catalogue::is_held_out(&file.path))
        .count();
    if tests > 0 && !part.dataset.manifest.evaluation {
        notes.push(format!(
            "{tests} of its {} files are named after a test or validation split; evaluation-files would hold them out",
            files.len()
        ));
    }
    if files.is_empty() {
        let message = format!(
            "dataset `{}` takes none of the {all} files at {}",
            part.dataset.manifest.name, listing.source
        );
        let problem = problem_of(part, &["files"], message);
        return Err(SourceError::Written(problem.hint(
            "look at the patterns of `files`, `exclude` and `evaluation-files`",
        )));
    }
    Ok(Listed {
        part,
        source: listing.source,
        revision: listing.revision,
        notes,
        files,
    })
}

fn fingerprint(
    recipe: &Recipe,
    tokenizer: Digest,
    datasets: &[PlannedDataset],
    contaminates: &[String],
    against: &[Against],
    benchmarks: &[Benchmark],
    lists: &[List],
) -> Digest {
    #[derive(Serialize)]
    struct Covered<'a> {
        name: &'a str,
        tier: Tier,
        kind: Kind,
        near: bool,
        licence: &'a str,
        source: &'a str,
        revision: &'a str,
        filter: &'a FilterOptions,
        read: &'a ReadOptions,
        render: &'a RenderOptions,
        units: Vec<Digest>,
    }
    let covered: Vec<Covered<'_>> = datasets
        .iter()
        .map(|d| Covered {
            name: &d.name,
            tier: d.tier,
            kind: d.kind,
            near: d.near,
            licence: &d.licence,
            source: &d.source,
            revision: &d.revision,
            filter: &d.filter,
            read: &d.read,
            render: &d.render,
            units: d.units.iter().map(|unit| unit.digest).collect(),
        })
        .collect();
    // Profiles that judge nothing here do not count.
    let mut recipe = recipe.clone();
    recipe
        .profile
        .retain(|name, _| datasets.iter().any(|d| d.profile == *name));
    recipe.tokenize.tokenizer.clear();
    let fingerprint = Digest::of_value(&(
        BYTES_VERSION,
        andromeda_format::VERSION,
        recipe,
        tokenizer,
        covered,
        contaminates,
        against
            .iter()
            .map(|build| build.root.as_str())
            .collect::<Vec<_>>(),
    ));
    // Plans without evaluation sets and lists are what they were before there were such.
    let fingerprint = match benchmarks {
        [] => fingerprint,
        _ => Digest::of_value(&(fingerprint, benchmarks::digest(benchmarks))),
    };
    match lists {
        [] => fingerprint,
        _ => {
            let lists: Vec<_> = lists.iter().map(|list| (&list.name, list.digest)).collect();
            Digest::of_value(&(fingerprint, "lists", lists))
        }
    }
}
