//! A plan of files that are given by name: for the search for duplicates on its own.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Plan, PlanError, PlannedDataset, units};
use crate::catalogue::{Kind, Tier};
use crate::digest::{Digest, Stamp};
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
    /// What is done with them; profiles, tokenizer and shards count for nothing.
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

/// Plans the files of `options`, in the order of the names that they have below what was given. Reads none of them but those
/// that are still being written to.
pub fn of_files(options: &FilesOptions) -> Result<Plan, PlanError> {
    let found = find(&options.inputs)?;
    let mut files = Vec::with_capacity(found.len());
    for (path, local) in found {
        let io = |error| {
            PlanError::Source(SourceError::Io {
                dataset: path.clone(),
                error,
            })
        };
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
        files.push(PlannedFile {
            bytes: stamp.bytes(),
            digest,
            location: Location::Local { path: local, stamp },
            path,
        });
    }
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
    let mut recipe = options.recipe.clone();
    recipe.dedup.index = false;
    let dataset = PlannedDataset {
        name: "files".to_owned(),
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
    };
    let datasets = vec![dataset];
    let tokenizer_digest = Digest::of(b"");
    let fingerprint = super::fingerprint(&recipe, tokenizer_digest, &datasets, &[], &[], &[], &[]);
    Ok(Plan {
        name: format!("dedup-{}", &fingerprint.hex()[..8]),
        fingerprint,
        recipe_name: options.recipe_name.clone(),
        recipe,
        tokenizer: PathBuf::new(),
        tokenizer_digest,
        datasets,
        keep_texts: false,
        against: Vec::new(),
        benchmarks: Vec::new(),
        lists: Vec::new(),
        contaminates: Vec::new(),
        left_out: Vec::new(),
    })
}

/// The files, each with the name that it has below what was given, sorted by it.
fn find(inputs: &[PathBuf]) -> Result<Vec<(String, PathBuf)>, PlanError> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    let mut problems = Vec::new();
    for input in inputs {
        let unreadable = |error: std::io::Error| {
            Problem::of_file(input, format!("it cannot be read: {error}"), None)
        };
        match fs_err::metadata(input) {
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
