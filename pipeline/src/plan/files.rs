//! A plan of files that are given by name: for the search for duplicates, and for tokenizing, on their own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Plan, PlanError, PlannedDataset, units};
use crate::catalogue::{Kind, Tier};
use crate::digest::{Digest, Remembered, Stamp};
use crate::filter::FilterOptions;
use crate::read::{FileFormat, ReadOptions};
use crate::recipe::Recipe;
use crate::render::RenderOptions;
use crate::source::{self, Location, PlannedFile, SourceError};
use crate::written::{Problem, Problems};

/// A row may have this many bytes: one is held at a time, and a document of 50 MB is nothing unusual.
const MAX_ROW_BYTES: usize = 1 << 30;

/// Longer than a file that nobody writes to takes to be at rest.
const MOST_WAIT: Duration = Duration::from_millis(3500);

/// Files and folders that are given, and how their rows are read.
#[derive(Debug, Clone)]
pub struct FilesOptions {
    /// Files, and folders whose files are all taken that have a name of the format.
    pub inputs: Vec<PathBuf>,
    /// What is done with them; profiles count for nothing.
    pub recipe: Recipe,
    /// What the recipe is called.
    pub recipe_name: String,
    /// The field with the text.
    pub text: String,
    /// The field with the address, if addresses count.
    pub url: Option<String>,
    /// Whether what is made of the files is to be known again: a file is what its path, size and times say, so those that were
    /// written to a moment ago are waited for, as their times do not tell the next write yet.
    pub known_again: bool,
}

/// What becomes of the files' documents when they are tokenized and nothing else.
#[derive(Debug, Clone)]
pub struct ToTokens {
    /// The tokenizer's file.
    pub tokenizer: PathBuf,
    /// Name of the folder that the build is.
    pub name: String,
    /// What the files together are called: their dataset in the build.
    pub dataset: String,
    /// The work folder's memory of digests.
    pub digests: PathBuf,
}

/// Plans the files of `options`, in the order of the names that they have below what was given. Reads none of them but those
/// that are still being written to.
pub fn of_files(options: &FilesOptions) -> Result<Plan, PlanError> {
    let mut files = Vec::new();
    for (path, local) in find(&options.inputs)? {
        let io = |error| unreadable(&path, error);
        let mut stamp = Stamp::of(&local).map_err(io)?;
        let waits_until = Instant::now() + MOST_WAIT;
        while options.known_again && !stamp.at_rest() && Instant::now() < waits_until {
            std::thread::sleep(Duration::from_millis(20));
            stamp = Stamp::of(&local).map_err(io)?;
        }
        let digest = if options.known_again && !stamp.at_rest() {
            format!("sha256:{}", Digest::of_file(&local).map_err(io)?)
        } else {
            let place = fs_err::canonicalize(&local).map_err(io)?;
            format!("stamp:{}", Digest::of_value(&(place, stamp)))
        };
        files.push(planned(path, local, stamp, digest));
    }
    let dataset = dataset(options, "files", files);
    let mut recipe = options.recipe.clone();
    recipe.dedup.index = false;
    let plan = assemble(options, recipe, dataset, PathBuf::new(), Digest::of(b""));
    Ok(Plan {
        name: format!("dedup-{}", &plan.fingerprint.hex()[..8]),
        ..plan
    })
}

/// Plans a build of the files of `options`: a build is known by its contents, so each file is what it holds, and is read for that once.
pub fn to_tokens(options: &FilesOptions, to: &ToTokens) -> Result<Plan, PlanError> {
    let found = find(&options.inputs)?;
    let places: Vec<PathBuf> = found.iter().map(|(_, local)| local.clone()).collect();
    let mut remembered = Remembered::open(&to.digests);
    let digests = remembered
        .digest_all(&places)
        .map_err(|error| unreadable(&to.dataset, error))?;
    if to
        .digests
        .parent()
        .is_some_and(|work| fs_err::create_dir_all(work).is_ok())
    {
        remembered.save();
    }
    let files = found
        .into_iter()
        .zip(digests)
        .map(|((path, local), (stamp, digest))| {
            planned(path, local, stamp, format!("sha256:{digest}"))
        })
        .collect();
    let tokenizer_digest = Digest::of_file(&to.tokenizer).map_err(|error| {
        let problem = Problem::of_file(&to.tokenizer, format!("the tokenizer cannot be read: {error}"), None);
        Problems(vec![problem.hint("name a tokenizer.json, a file of it in the manifests' folder, or one on the hub as hf://owner/name")])
    })?;
    let dataset = dataset(options, &to.dataset, files);
    let plan = assemble(
        options,
        options.recipe.clone(),
        dataset,
        to.tokenizer.clone(),
        tokenizer_digest,
    );
    Ok(Plan {
        name: to.name.clone(),
        keep_texts: true,
        ..plan
    })
}

fn unreadable(path: &str, error: std::io::Error) -> PlanError {
    PlanError::Source(SourceError::Io {
        dataset: path.to_owned(),
        error,
    })
}

fn planned(path: String, local: PathBuf, stamp: Stamp, digest: String) -> PlannedFile {
    PlannedFile {
        bytes: stamp.bytes(),
        digest,
        location: Location::Local { path: local, stamp },
        path,
    }
}

/// The files as one dataset whose rows are texts that nothing judges.
fn dataset(options: &FilesOptions, name: &str, files: Vec<PlannedFile>) -> PlannedDataset {
    let read = ReadOptions {
        max_row_bytes: MAX_ROW_BYTES,
        ..ReadOptions::default()
    };
    let mut units = units::units(files, &read, None).expect("names without a format were refused");
    for unit in &mut units {
        // C4 and others call files of one object a line `.json`.
        if unit.format == FileFormat::Json {
            unit.format = FileFormat::Jsonl;
        }
    }
    PlannedDataset {
        name: name.to_owned(),
        file: PathBuf::new(),
        tier: Tier::High,
        kind: Kind::Text,
        near: true,
        licence: String::new(),
        licence_note: None,
        stands_in_for: None,
        gated: false,
        rows: None,
        size_bytes: None,
        source: "files".to_owned(),
        revision: String::new(),
        profile: String::new(),
        filter: FilterOptions::default(),
        read,
        render: RenderOptions {
            text: Some(options.text.clone()),
            url: options.url.clone(),
            ..RenderOptions::default()
        },
        units,
        left_out: (0, 0),
        missing_bytes: 0,
        notes: Vec::new(),
    }
}

fn assemble(
    options: &FilesOptions,
    recipe: Recipe,
    dataset: PlannedDataset,
    tokenizer: PathBuf,
    tokenizer_digest: Digest,
) -> Plan {
    let datasets = vec![dataset];
    let fingerprint = super::fingerprint(&recipe, tokenizer_digest, &datasets, &[], &[], &[], &[]);
    Plan {
        name: String::new(),
        fingerprint,
        recipe_name: options.recipe_name.clone(),
        recipe,
        tokenizer,
        tokenizer_digest,
        datasets,
        keep_texts: false,
        against: Vec::new(),
        benchmarks: Vec::new(),
        lists: Vec::new(),
        contaminates: Vec::new(),
        left_out: Vec::new(),
    }
}

/// The files, each with the name that it has below what was given, sorted by it.
fn find(inputs: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, PlanError> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    let mut problems = Vec::new();
    for input in inputs {
        let unreadable = |error: std::io::Error| {
            Problem::of_file(input, format!("it cannot be read: {error}"), None)
        };
        match input.metadata() {
            Err(error) => problems.push(unreadable(error)),
            Ok(meta) if meta.is_dir() => match source::files_below(input) {
                Err(error) => problems.push(unreadable(error)),
                Ok(files) => {
                    let before = found.len();
                    found.extend(files.into_iter().filter(|(path, _)| takes(Path::new(path))));
                    if found.len() == before {
                        let message = "the folder holds no file called *.jsonl, *.json or *.parquet, plain, .gz or .zst";
                        problems.push(Problem::of_file(input, message, None));
                    }
                }
            },
            Ok(_) => {
                let name = input.file_name().and_then(|name| name.to_str());
                match name.filter(|name| takes(Path::new(name))) {
                    Some(name) => found.push((name.to_owned(), input.clone())),
                    None => problems.push(
                        Problem::of_file(input, "its name says no format that rows can be copied in", None)
                            .hint("jsonl, json (one object a line) and parquet are, and .gz and .zst of the first two"),
                    ),
                }
            }
        }
    }
    found.sort();
    found.dedup();
    for pair in found.windows(2) {
        if pair[0].0 == pair[1].0 {
            problems.push(
                Problem::of_file(
                    &pair[1].1,
                    format!(
                        "its survivors would have the name `{}`, as those of {} have",
                        pair[1].0,
                        pair[0].1.display()
                    ),
                    None,
                )
                .hint("name the folder above both instead of the two"),
            );
        }
    }
    if found.is_empty() && problems.is_empty() {
        problems.push(Problem::of_file(Path::new("."), "no file was given", None));
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(Problems(problems).into())
    }
}

fn takes(path: &Path) -> bool {
    use crate::read::Compression;
    matches!(
        FileFormat::from_path(path),
        Some((FileFormat::Jsonl | FileFormat::Json, _) | (FileFormat::Parquet, Compression::None))
    )
}
