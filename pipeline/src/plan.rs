//! The plan: everything a build will read and do, resolved and pinned, before any of it is done.
//!
//! Nothing in a plan is optional or depends on this machine's load; its fingerprint covers exactly what can change a byte
//! of the build. Files are grouped into units here, by content and never by the number of workers, so that a resumed run,
//! or one with other threads, finds the same tasks.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::catalogue::{Catalogue, Dataset, Kind, Selection, Tier};
use crate::digest::{Digest, Remembered};
use crate::fetch::Hub;
use crate::filter::FilterOptions;
use crate::lock::Lock;
use crate::read::{Compression, FileFormat, ReadOptions};
use crate::recipe::Recipe;
use crate::render::RenderOptions;
use crate::source::{self, Context, Location, PlannedFile, SourceError};
use crate::written::{self, Problem, Problems};

/// Raised whenever the same plan would give other bytes than before: part of every key and fingerprint.
pub const BYTES_VERSION: u32 = 1;

/// Small files are read together until they weigh about this much.
const GROUP_BYTES: u64 = 8 << 20;

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
}

/// A dataset of a plan.
#[derive(Debug, Clone)]
pub struct PlannedDataset {
    /// Its name.
    pub name: String,
    /// The tier it is taken in.
    pub tier: Tier,
    /// What its rows are.
    pub kind: Kind,
    /// Its licence.
    pub licence: String,
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
    /// For people.
    pub notes: Vec<String>,
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
    /// Hash of the paths and digests of its files.
    pub digest: Digest,
}

impl Unit {
    /// Bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Whether its files are whole documents read together.
    pub fn is_group(&self) -> bool {
        self.format == FileFormat::Text && self.compression == Compression::None
    }
}

/// What a build is expected to weigh. Guesses, but of the right size; exact numbers are in the manifest afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Estimate {
    /// Files to read.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes that must still come over the network.
    pub download_bytes: u64,
    /// Documents.
    pub documents: u64,
    /// Tokens, if nothing were dropped.
    pub tokens: u64,
    /// Memory at the peak.
    pub memory_bytes: u64,
    /// Disk for intermediates and shards.
    pub disk_bytes: u64,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Something written is wrong.
    #[error(transparent)]
    Written(#[from] Problems),
    /// Something outside did not work.
    #[error(transparent)]
    Source(SourceError),
    /// The lock file could not be written.
    #[error("the lock file {file} could not be written: {error}")]
    Lock {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It would not fit.
    #[error("{what} is too small: this build needs about {} MB and {} MB are allowed ({hint})", needed / 1_000_000, available / 1_000_000)]
    DoesNotFit {
        /// Memory or the disk of a folder.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes there.
        available: u64,
        /// What to do.
        hint: &'static str,
    },
}

/// Resolves a selection and a recipe. Writes nothing but the lock file and the work folder's memory of digests.
pub fn plan(options: &PlanOptions) -> Result<Plan, PlanError> {
    let catalogue = match &options.selection {
        Selection::File(_) => Catalogue::default(),
        _ => Catalogue::load(&options.manifests.join("datasets"))?,
    };
    let chosen = catalogue.select(&options.selection)?;
    let recipe_file = recipe_file(options)?;
    let recipe = Recipe::load(&recipe_file)?;
    let recipe_name = recipe_file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let tokenizer = options.manifests.join(&recipe.tokenize.tokenizer);
    let tokenizer_digest = if options.needs_tokenizer {
        Digest::of_file(&tokenizer)
    } else {
        Ok(Digest::of(b""))
    };
    let tokenizer_digest = tokenizer_digest.map_err(|error| {
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
            "name a tokenizer.json; `andromeda tokenizer train` makes one",
        )])
    })?;

    let mut problems = Vec::new();
    for (_, dataset) in &chosen {
        if !recipe.profile.contains_key(&dataset.manifest.profile) {
            let names = recipe.profile.keys().map(String::as_str);
            let hint = match written::nearest(&dataset.manifest.profile, names.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "the recipe `{recipe_name}` has {}",
                    names.collect::<Vec<_>>().join(", ")
                ),
            };
            let text = fs_err::read_to_string(&dataset.file).unwrap_or_default();
            let message = format!(
                "the recipe `{recipe_name}` has no profile `{}`",
                dataset.manifest.profile
            );
            problems.push(Problem::at(&dataset.file, &text, &["profile"], message).hint(hint));
        }
    }
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }

    let mut remembered = Remembered::open(&options.work.join("digests.json"));
    let mut lock = Lock::open(&options.lock, &options.work.join("listings"))?;
    let mut hub: Option<Hub> = None;
    let mut datasets = Vec::new();
    for (tier, dataset) in &chosen {
        let mut context = Context {
            remembered: &mut remembered,
            lock: &mut lock,
            hub: &mut hub,
        };
        match resolve(*tier, dataset, &recipe, options.full, &mut context) {
            Ok(planned) => datasets.push(planned),
            Err(SourceError::Written(problem)) => problems.push(problem),
            Err(other) => return Err(PlanError::Source(other)),
        }
    }
    if fs_err::create_dir_all(&options.work).is_ok() {
        remembered.save();
    }
    lock.save().map_err(|error| PlanError::Lock {
        file: options.lock.clone(),
        error,
    })?;
    if !problems.is_empty() {
        return Err(Problems(problems).into());
    }

    let fingerprint = fingerprint(&recipe, tokenizer_digest, &datasets);
    let label = match &options.selection {
        Selection::Tiers(tiers) => tiers.iter().map(|t| t.name()).collect::<Vec<_>>().join("-"),
        Selection::Datasets(names) if names.len() == 1 => names[0].clone(),
        Selection::Datasets(_) => "mixed".to_owned(),
        Selection::File(_) => datasets
            .first()
            .map_or_else(String::new, |d| d.name.clone()),
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
    })
}

fn recipe_file(options: &PlanOptions) -> Result<PathBuf, Problems> {
    let named = options
        .manifests
        .join("recipes")
        .join(format!("{}.toml", options.recipe));
    if named.is_file() {
        return Ok(named);
    }
    let path = PathBuf::from(&options.recipe);
    if path.is_file() {
        return Ok(path);
    }
    let folder = options.manifests.join("recipes");
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
        format!("no recipe is called `{}`", options.recipe),
        hint,
    )]))
}

fn resolve(
    tier: Tier,
    dataset: &Dataset,
    recipe: &Recipe,
    full: bool,
    context: &mut Context<'_>,
) -> Result<PlannedDataset, SourceError> {
    let manifest = &dataset.manifest;
    let listing = source::list(dataset, context)?;
    let mut notes = listing.notes;
    let all = listing.files.len();
    let all_bytes: u64 = listing.files.iter().map(|f| f.bytes).sum();
    let files = match manifest.budget_bytes {
        Some(budget) if !full && all_bytes > budget => {
            within_budget(listing.files, budget, &manifest.name)
        }
        _ => listing.files,
    };
    let kept_bytes: u64 = files.iter().map(|f| f.bytes).sum();
    let left_out = (all - files.len(), all_bytes - kept_bytes);
    if left_out.0 > 0 {
        notes.push(format!("the budget takes {} of {all} files", files.len()));
    }
    let units = units(files, &manifest.read).map_err(|path| {
        let text = fs_err::read_to_string(&dataset.file).unwrap_or_default();
        SourceError::Written(
            Problem::at(
                &dataset.file,
                &text,
                &["source"],
                format!("the format of `{path}` is not known by its name"),
            )
            .hint("write [read] format = \"jsonl\" (or json, parquet, csv, tsv, text, tar)"),
        )
    })?;
    Ok(PlannedDataset {
        name: manifest.name.clone(),
        tier,
        kind: manifest.kind,
        licence: manifest.licence.clone(),
        source: listing.source,
        revision: listing.revision,
        profile: manifest.profile.clone(),
        filter: recipe.profile[&manifest.profile].clone(),
        read: manifest.read.clone(),
        render: manifest.render.clone(),
        units,
        left_out,
        notes,
    })
}

/// Files in the order of a hash of their paths until the budget is full: spread out, and the same on every machine. A
/// larger budget takes the same files and more.
fn within_budget(files: Vec<PlannedFile>, budget: u64, dataset: &str) -> Vec<PlannedFile> {
    let mut order: Vec<(u64, PlannedFile)> = files
        .into_iter()
        .map(|file| {
            (
                xxhash_rust::xxh3::xxh3_64(format!("{dataset}/{}", file.path).as_bytes()),
                file,
            )
        })
        .collect();
    order.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    let mut left = budget;
    let mut taken: Vec<PlannedFile> = Vec::new();
    for (_, file) in order {
        if file.bytes > left && !taken.is_empty() {
            break;
        }
        left = left.saturating_sub(file.bytes);
        taken.push(file);
    }
    taken.sort_by(|a, b| a.path.cmp(&b.path));
    taken
}

/// One unit a file, but small whole-document files in groups. A group ends at a file chosen by the hash of its path, so
/// that one more file changes one group and not all after it. The error is the path whose format is unknown.
fn units(files: Vec<PlannedFile>, read: &ReadOptions) -> Result<Vec<Unit>, String> {
    let mut units = Vec::new();
    let mut group: Vec<PlannedFile> = Vec::new();
    let mut weight = 0;
    for file in files {
        let path = Path::new(&file.path);
        let format = read
            .format
            .or(FileFormat::from_path(path).map(|(format, _)| format))
            .ok_or_else(|| file.path.clone())?;
        let compression = read
            .compression
            .unwrap_or_else(|| Compression::from_path(path));
        if format == FileFormat::Text && compression == Compression::None {
            weight += file.bytes;
            let ends = xxhash_rust::xxh3::xxh3_64(file.path.as_bytes()).is_multiple_of(16);
            group.push(file);
            if (weight >= GROUP_BYTES && ends) || weight >= 4 * GROUP_BYTES {
                units.push(unit(
                    std::mem::take(&mut group),
                    FileFormat::Text,
                    Compression::None,
                ));
                weight = 0;
            }
        } else {
            units.push(unit(vec![file], format, compression));
        }
    }
    if !group.is_empty() {
        units.push(unit(group, FileFormat::Text, Compression::None));
    }
    units.sort_by(|a, b| a.files[0].path.cmp(&b.files[0].path));
    Ok(units)
}

fn unit(files: Vec<PlannedFile>, format: FileFormat, compression: Compression) -> Unit {
    let digest = Digest::of_value(&(
        files
            .iter()
            .map(|file| (&file.path, &file.digest))
            .collect::<Vec<_>>(),
        format!("{format:?}"),
        format!("{compression:?}"),
    ));
    Unit {
        files,
        format,
        compression,
        digest,
    }
}

fn fingerprint(recipe: &Recipe, tokenizer: Digest, datasets: &[PlannedDataset]) -> Digest {
    #[derive(Serialize)]
    struct Covered<'a> {
        name: &'a str,
        tier: Tier,
        kind: Kind,
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
    Digest::of_value(&(
        BYTES_VERSION,
        andromeda_format::VERSION,
        recipe,
        tokenizer,
        covered,
    ))
}

impl Plan {
    /// What the build is expected to weigh with `threads` workers.
    pub fn estimate(&self, threads: usize) -> Estimate {
        let mut estimate = Estimate::default();
        let mut text_bytes = 0;
        for unit in self.datasets.iter().flat_map(|d| &d.units) {
            let bytes = unit.bytes();
            let decoded = match (unit.compression, unit.format) {
                (Compression::None, FileFormat::Parquet) => bytes * 2,
                (Compression::None, _) => bytes,
                _ => bytes * 3,
            };
            estimate.files += unit.files.len() as u64;
            estimate.bytes += bytes;
            estimate.documents += if unit.is_group() {
                unit.files.len() as u64
            } else {
                decoded / 1_500 + 1
            };
            let remote = unit
                .files
                .iter()
                .filter(|f| matches!(f.location, Location::Hub { .. }));
            estimate.download_bytes += remote.map(|f| f.bytes).sum::<u64>();
            text_bytes += decoded;
        }
        estimate.tokens = text_bytes / 4;
        let block = self
            .datasets
            .iter()
            .map(|d| d.read.block_bytes as u64)
            .max()
            .unwrap_or(0);
        let workers = threads as u64 * (5 * block + (16 << 20));
        // Resolve holds a hash, a length, a place and a parent per document, and one band's keys at a time.
        let documents = estimate.documents * 120;
        // A shard is put together in memory.
        let width = 2;
        let shard = self.recipe.shard.tokens.min(estimate.tokens + 1) * width * 3;
        estimate.memory_bytes = (64 << 20) + workers.max(shard) + documents;
        let signatures = self
            .recipe
            .dedup
            .near
            .as_ref()
            .map_or(0, |near| (near.bands * (near.rows * 4 + 8)) as u64);
        estimate.disk_bytes = estimate.download_bytes
            + text_bytes / 3
            + estimate.documents * (signatures + 64)
            + estimate.tokens * width * 2;
        estimate
    }

    /// Refuses what cannot fit into `memory` bytes or on the disk of `work`.
    pub fn must_fit(&self, threads: usize, memory: u64, work: &Path) -> Result<(), PlanError> {
        let estimate = self.estimate(threads);
        if estimate.memory_bytes > memory {
            return Err(PlanError::DoesNotFit {
                what: "memory".to_owned(),
                needed: estimate.memory_bytes,
                available: memory,
                hint: "give more with --memory, or use fewer --threads, smaller read.block-bytes or shard.tokens",
            });
        }
        let mut place = work;
        while !place.exists() {
            match place.parent() {
                Some(parent) if parent != Path::new("") => place = parent,
                _ => {
                    place = Path::new(".");
                    break;
                }
            }
        }
        if let Ok(disk) = rustix::fs::statvfs(place) {
            let available = disk.f_bavail * disk.f_frsize;
            if estimate.disk_bytes > available {
                return Err(PlanError::DoesNotFit {
                    what: format!("the disk of {}", place.display()),
                    needed: estimate.disk_bytes,
                    available,
                    hint: "free some, name another folder with --work, or lower the datasets' budgets",
                });
            }
        }
        Ok(())
    }
}
