//! A build of `andromeda-format` as the trainer sees it: tokenizer, splits, sequences; and which build in a folder is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use andromeda_format::{
    Account, Build, ChatFormat, DatasetEntry, FormatError, Loader, LoaderOptions, Manifest,
    MixtureSource, Sequence, Split,
};
use serde::{Deserialize as _, Serialize};
use sha2::{Digest, Sha256};

use crate::chat::Dialogues;
use crate::config::{DataOptions, RunConfig};
use crate::data::{DatasetPart, Row, Sequences, Source};
use crate::documents::Documents;
use crate::error::{Error, Result};
use crate::objective::preference::{Omitted, Pairs};
use crate::objective::process::{Lines, Marks, Steps};
use crate::objective::{Kind, Reading};

const MANIFEST: &str = "manifest.json";
/// The largest tokenizer files are some tens of megabytes.
const LARGEST_TOKENIZER: u64 = 1 << 28;

/// A split by its use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Trained on, in shuffled order.
    Training,
    /// Evaluated on in the loop.
    Validation,
    /// Kept for the end.
    Test,
}

impl Part {
    /// As it is shown and stored.
    pub fn name(self) -> &'static str {
        self.split().name()
    }

    fn split(self) -> Split {
        match self {
            Self::Training => Split::Train,
            Self::Validation => Split::Val,
            Self::Test => Split::Test,
        }
    }
}

/// Where a document begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DocumentPlace {
    /// The shard's file.
    pub shard: String,
    /// Its first token in the shard.
    pub shard_token: u64,
    /// Its first token in the split.
    pub split_token: u64,
}

/// An opened build.
#[derive(Debug)]
pub struct OpenBuild {
    path: PathBuf,
    build: Build,
    root: String,
}

impl OpenBuild {
    /// Opens the build at `path`.
    pub fn open(path: &Path) -> Result<Self> {
        let build =
            Build::open(path).map_err(failed(format!("opening the build {}", path.display())))?;
        let root = build.manifest().root.clone();
        Ok(Self {
            path: path.to_owned(),
            build,
            root,
        })
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The build's name.
    pub fn name(&self) -> &str {
        &self.build.manifest().name
    }

    /// What it says of itself.
    pub fn manifest(&self) -> &Manifest {
        self.build.manifest()
    }

    /// Root hash over everything the build holds.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Tokens of the tokenizer.
    pub fn vocabulary(&self) -> usize {
        self.build.manifest().tokenizer.vocab_size as usize
    }

    /// Token that ends a document.
    pub fn end_of_text(&self) -> u32 {
        self.build.manifest().tokenizer.end_of_text.id
    }

    /// How its dialogues are written down.
    ///
    /// # Errors
    /// Its recipe names a way that is not known.
    pub fn dialogues(&self) -> Result<Dialogues> {
        let manifest = self.build.manifest();
        let named = &manifest.recipe["chat"]["format"];
        let format = if named.is_null() {
            ChatFormat::default()
        } else {
            ChatFormat::deserialize(named).map_err(|error| {
                Error::Usage(format!(
                    "the dialogues of {} are written in a way that is not known: {error}",
                    self.path.display()
                ))
            })?
        };
        // What of `format/SPEC.md`'s kinds is written with the marks.
        let marked = |kind: &str| matches!(kind, "chat" | "preference" | "process");
        let trained = manifest
            .datasets
            .iter()
            .any(|dataset| marked(&dataset.kind));
        Ok(Dialogues { format, trained })
    }

    /// The tokenizer file, checked against the manifest.
    pub fn tokenizer(&self) -> Result<Vec<u8>> {
        let entry = &self.build.manifest().tokenizer;
        let path = self.path.join(&entry.file);
        let unusable = |problem: &str| Error::Tokenizer {
            path: path.clone(),
            problem: problem.to_owned(),
        };
        if fs_err::metadata(&path)
            .map_err(Error::io("reading the tokenizer"))?
            .len()
            > LARGEST_TOKENIZER
        {
            return Err(unusable("too large for a tokenizer"));
        }
        let bytes = fs_err::read(&path).map_err(Error::io("reading the tokenizer"))?;
        let digest: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if digest != entry.sha256 {
            return Err(unusable(
                "it is not the file that the build was made with; make the build again",
            ));
        }
        Ok(bytes)
    }

    /// The datasets of `data.weights`, which the build must have, or those of `data.kinds`.
    fn mixture(&self, options: &DataOptions) -> Result<Vec<MixtureSource>> {
        let datasets = &self.build.manifest().datasets;
        let source = |(name, weight): (&String, u64)| MixtureSource {
            build: self.build.clone(),
            split: Split::Train,
            dataset: Some(name.clone()),
            weight,
        };
        if !options.kinds.is_empty() {
            let chosen = self.of_kinds(options)?.into_iter();
            return Ok(chosen
                .map(|(name, tokens)| source((name, tokens)))
                .collect());
        }
        let mut problems = Vec::new();
        for name in options.weights.keys() {
            if datasets.iter().any(|dataset| dataset.name == *name) {
                continue;
            }
            let names: Vec<&str> = datasets.iter().map(|d| d.name.as_str()).collect();
            let instead = match nearest(name, &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it has {}", names.join(", ")),
            };
            problems.push(format!(
                "data.weights: {} has no dataset `{name}`; {instead}",
                self.path.display()
            ));
        }
        if !problems.is_empty() {
            return Err(Error::Usage(problems.join("\n")));
        }
        let weights = options.weights.iter();
        Ok(weights
            .map(|(name, &weight)| source((name, weight)))
            .collect())
    }

    /// The datasets of `data.kinds` that have a sequence to train on, with their tokens.
    fn of_kinds(&self, options: &DataOptions) -> Result<Vec<(&String, u64)>> {
        let datasets = &self.build.manifest().datasets;
        let kinds: BTreeSet<&str> = datasets.iter().map(|d| d.kind.as_str()).collect();
        if let Some(unknown) = options
            .kinds
            .iter()
            .find(|kind| !kinds.contains(kind.as_str()))
        {
            let kinds: Vec<&str> = kinds.into_iter().collect();
            return Err(Error::Usage(format!(
                "data.kinds: {} has no dataset of the kind `{unknown}`; it has {}",
                self.path.display(),
                kinds.join(", ")
            )));
        }
        let of_kind = datasets.iter().filter(|d| options.kinds.contains(&d.kind));
        let with_tokens = of_kind.map(|dataset| {
            let trained = dataset.splits.get(&Split::Train);
            (&dataset.name, trained.map_or(0, |split| split.tokens))
        });
        // A sequence is of one dataset, and of its tokens and the one after them.
        let least = options.sequence_tokens as u64;
        Ok(with_tokens.filter(|(_, tokens)| *tokens > least).collect())
    }

    /// Datasets with tokens in the training split that a mixture leaves out.
    pub fn left_out(&self, options: &DataOptions) -> Vec<&str> {
        let chosen: Vec<&String> = match (options.weights.is_empty(), options.kinds.is_empty()) {
            (true, true) => return Vec::new(),
            (false, _) => options.weights.keys().collect(),
            // What is wrong with them is said where they are read.
            (true, false) => self
                .of_kinds(options)
                .unwrap_or_default()
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
        };
        let datasets = self.build.manifest().datasets.iter();
        let left = datasets.filter(|dataset| {
            let trained = dataset.splits.get(&Split::Train);
            trained.is_some_and(|split| split.tokens > 0) && !chosen.contains(&&dataset.name)
        });
        left.map(|dataset| dataset.name.as_str()).collect()
    }

    /// What the objective of `config` reads.
    ///
    /// # Errors
    /// A shard cannot be read, the tokenizer has no mark, or the build has no document of the kind.
    pub fn reading(&self, config: &RunConfig) -> Result<Reading> {
        let (data, objective) = (&config.data, &config.objective);
        let Some(kind) = objective.kind.documents() else {
            return Ok(Reading {
                training: self.source(Part::Training, data)?,
                validation: nothing(data.sequence_tokens),
                test: nothing(data.sequence_tokens),
                marks: None,
                omitted: Omitted::default(),
            });
        };
        if !self
            .build
            .manifest()
            .datasets
            .iter()
            .any(|d| d.kind == kind)
        {
            let build = self.path.display();
            return Err(Error::Usage(format!(
                "{build} has no dataset of the kind {kind:?}, which the objective needs\nhint: `andromeda inspect` shows the kinds of a build's datasets; name another build with --build"
            )));
        }
        let lines = match objective.kind {
            Kind::Process => {
                // Checks the file against the manifest.
                self.tokenizer()?;
                let file = &self.build.manifest().tokenizer.file;
                Some(Lines::open(&self.path.join(file), objective)?)
            }
            _ => None,
        };
        let marks: Option<Marks> = lines.as_ref().map(|lines| lines.marks);
        let mut omitted = Omitted::default();
        let mut open = |split| -> Result<Source> {
            let (length, seed) = (data.sequence_tokens, data.order_seed);
            let (sequences, less): (Box<dyn Sequences>, _) = match &lines {
                None => {
                    let (pairs, less) = Pairs::open(&self.build, split, length, seed)?;
                    (Box::new(pairs), less)
                }
                Some(lines) => {
                    let lines = lines.clone();
                    let (steps, less) = Steps::open(&self.build, split, length, seed, lines)?;
                    (Box::new(steps), less)
                }
            };
            omitted.add(less);
            Ok(Source {
                sequences,
                datasets: self.datasets(split),
                ..nothing(length)
            })
        };
        Ok(Reading {
            training: open(Split::Train)?,
            validation: open(Split::Val)?,
            test: open(Split::Test)?,
            marks,
            omitted,
        })
    }

    /// The sequences of a split, the training split mixed, packed and shuffled as `options` say, others end to end; none if the build has no such split, or none long enough.
    pub fn source(&self, part: Part, options: &DataOptions) -> Result<Source> {
        let sequence_tokens = options.sequence_tokens;
        let split = part.split();
        // A split that is too short for one sequence is as good as none; the loader refuses to open it.
        let entry = self
            .build
            .manifest()
            .splits
            .get(&split)
            .filter(|entry| entry.tokens > sequence_tokens as u64);
        let Some(entry) = entry else {
            return Ok(nothing(sequence_tokens));
        };
        let what = format!("the {} split of {}", split.name(), self.path.display());
        let loader = match part {
            Part::Training if !(options.weights.is_empty() && options.kinds.is_empty()) => {
                let mixture = self.mixture(options)?;
                if mixture.is_empty() {
                    return Ok(nothing(sequence_tokens));
                }
                Loader::mixture(&mixture, options.loader_options())
            }
            Part::Training => Loader::new(&self.build, split, options.loader_options()),
            // A measure must not change with how a run was trained.
            Part::Validation | Part::Test => {
                let laid = LoaderOptions::new(sequence_tokens, options.order_seed);
                Loader::new(&self.build, split, laid)
            }
        };
        let loader = match loader {
            // What was asked for cannot be had of this build; there is nothing wrong with the build.
            Err(FormatError::Options { what: problem }) => {
                return Err(Error::Usage(format!("{what}: {problem}")));
            }
            loader => loader.map_err(failed(what.clone()))?,
        };
        let stored = Stored {
            loader,
            sequence: Sequence::default(),
            what,
        };
        Ok(Source {
            tokens: entry.tokens,
            text_bytes: entry.text_bytes,
            datasets: self.datasets(split),
            sequence_tokens,
            sequences: Box::new(stored),
        })
    }

    /// The documents of a split that are of the datasets named, each as it is stored; of all datasets without names.
    ///
    /// # Errors
    /// A shard cannot be opened.
    pub fn documents(&self, part: Part, names: Option<&BTreeSet<String>>) -> Result<Documents> {
        let wanted =
            |dataset: &DatasetEntry| names.is_none_or(|names| names.contains(&dataset.name));
        Documents::open_those(&self.build, part.split(), wanted)
    }

    /// Where the documents of these rows begin in a split; those that it does not hold are left out. Indices are read until all are found.
    ///
    /// # Errors
    /// A shard cannot be opened.
    pub fn places(
        &self,
        part: Part,
        mut rows: BTreeSet<u64>,
    ) -> Result<BTreeMap<u64, DocumentPlace>> {
        let split = part.split();
        let shards = self.build.manifest().splits.get(&split);
        let mut places = BTreeMap::new();
        let mut before = 0;
        for (number, entry) in shards.iter().flat_map(|entry| &entry.shards).enumerate() {
            if rows.is_empty() {
                break;
            }
            let shard = self.build.shard(split, number);
            let shard = shard.map_err(failed(format!(
                "opening {} of {}",
                entry.file,
                self.path.display()
            )))?;
            let mut start = 0;
            for (at, document) in shard.index().documents.iter().enumerate() {
                let goes_on = at == 0 && shard.index().continues_from_previous;
                if !goes_on && rows.remove(&document.row) {
                    let place = DocumentPlace {
                        shard: entry.file.clone(),
                        shard_token: start,
                        split_token: before + start,
                    };
                    places.insert(document.row, place);
                }
                start = document.end;
            }
            before += entry.tokens;
        }
        Ok(places)
    }

    /// That the build is not what it should be.
    pub(crate) fn damaged(&self, problem: &str) -> Error {
        Error::Integrity {
            path: self.path.clone(),
            problem: format!("{problem}\nhint: `andromeda verify` tells what is damaged"),
        }
    }

    /// The datasets of the build in their order, each with its part of a split.
    pub fn parts(&self, part: Part) -> Vec<DatasetPart> {
        self.datasets(part.split())
    }

    fn datasets(&self, split: Split) -> Vec<DatasetPart> {
        let datasets = self.build.manifest().datasets.iter();
        datasets
            .map(|dataset| {
                let part = dataset.splits.get(&split).copied().unwrap_or_default();
                DatasetPart {
                    name: dataset.name.clone(),
                    tokens: part.tokens,
                    text_bytes: part.text_bytes,
                }
            })
            .collect()
    }
}

/// The name most like `written`, if one is near enough to be a slip of the hand: one character in three.
pub(crate) fn nearest<'a>(written: &str, names: &[&'a str]) -> Option<&'a str> {
    let limit = (written.chars().count() / 3).max(1);
    let edits = |name: &&'a str| (strsim::osa_distance(written, name), *name);
    let near = names.iter().map(edits).filter(|(edits, _)| *edits <= limit);
    near.min().map(|(_, name)| name)
}

fn failed(what: String) -> impl FnOnce(FormatError) -> Error {
    move |source| Error::Build { what, source }
}

/// Sequences in the shards of a split.
struct Stored {
    loader: Loader,
    sequence: Sequence,
    what: String,
}

impl Stored {
    fn give(&self, row: &mut Row) {
        row.ids.clone_from(&self.sequence.ids);
        row.trained.clone_from(&self.sequence.loss);
        row.documents.clone_from(&self.sequence.rows);
        row.datasets.clone_from(&self.sequence.datasets);
        row.padding = self.sequence.padding;
        row.document_starts
            .clone_from(&self.sequence.document_starts);
    }
}

impl Sequences for Stored {
    fn sequences(&self) -> u64 {
        self.loader.sequences()
    }

    fn read(&mut self, position: u64, row: &mut Row) -> Result<()> {
        let read = self.loader.read(position, &mut self.sequence);
        read.map_err(failed(format!(
            "reading position {position} of {}",
            self.what
        )))?;
        self.give(row);
        Ok(())
    }

    fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
        let read = self.loader.read_in_order(index, &mut self.sequence);
        read.map_err(failed(format!("reading sequence {index} of {}", self.what)))?;
        self.give(row);
        Ok(())
    }

    fn accounts(&self, position: u64) -> Vec<Account> {
        self.loader.accounts(position)
    }
}

/// A split that a build does not have.
struct Nothing;

fn nothing(sequence_tokens: usize) -> Source {
    Source {
        tokens: 0,
        text_bytes: 0,
        datasets: Vec::new(),
        sequence_tokens,
        sequences: Box::new(Nothing),
    }
}

impl Sequences for Nothing {
    fn sequences(&self) -> u64 {
        0
    }

    fn read(&mut self, _: u64, _: &mut Row) -> Result<()> {
        Err(Error::Usage(
            "the build has no such split, or none long enough".to_owned(),
        ))
    }

    fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
        self.read(index, row)
    }
}

/// All builds in `shards`, the newest first.
fn builds(shards: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs_err::read_dir(shards) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("listing builds"))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::io("listing builds"))?.path();
        // A build without its manifest is unfinished.
        let Ok(metadata) = fs_err::metadata(path.join(MANIFEST)) else {
            continue;
        };
        let modified = metadata.modified().map_err(Error::io("listing builds"))?;
        found.push((modified, path));
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, path)| path).collect())
}

/// The build in `shards` whose manifest was written last.
pub fn newest(shards: &Path) -> Result<PathBuf> {
    builds(shards)?.into_iter().next().ok_or_else(|| {
        let shards = shards.display();
        Error::Usage(format!(
            "no build in {shards}\nhint: make one with `make shards`, or name one with --build"
        ))
    })
}

/// The build called `name` in `shards` whose manifest was written last. What the pipeline calls a build ends with a piece of its
/// fingerprint, which may be left out: `high` is `high-288bd46e`.
///
/// # Errors
/// There is none.
pub fn newest_named(shards: &Path, name: &str) -> Result<PathBuf> {
    let is_called = |whole: &str| match whole.strip_prefix(name) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix('-')
            .is_some_and(|piece| !piece.is_empty() && piece.chars().all(|c| c.is_ascii_hexdigit())),
        None => false,
    };
    // Builds that cannot be opened are none of this run's business.
    let named = |path: &PathBuf| OpenBuild::open(path).is_ok_and(|build| is_called(build.name()));
    builds(shards)?.into_iter().find(named).ok_or_else(|| {
        let shards = shards.display();
        Error::Usage(format!(
            "no build called {name:?} in {shards}, and no folder of that name is one\nhint: make it, for a tier with `make shards PRIORITY={name}`, or name its folder"
        ))
    })
}

/// The build that a person means by `written`: the folder of one, else the newest build of that name in `shards`.
///
/// # Errors
/// There is none.
pub fn meant(shards: &Path, written: &Path) -> Result<PathBuf> {
    if written.join(MANIFEST).is_file() {
        return Ok(written.to_owned());
    }
    newest_named(shards, &written.to_string_lossy())
}

/// The build in `shards` with this root hash.
pub fn with_root(shards: &Path, root: &str) -> Result<PathBuf> {
    let found = builds(shards)?;
    // Builds that cannot be opened are none of this run's business.
    let same = |path: &PathBuf| OpenBuild::open(path).is_ok_and(|build| build.root() == root);
    found.into_iter().find(same).ok_or_else(|| {
        let shards = shards.display();
        Error::Usage(format!("the run was trained on the build {root}, which is not in {shards}\nhint: name its folder with --build"))
    })
}
