//! The evaluation sets that documents are held against, found and pinned as datasets are.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::{PlanError, PlannedDataset, units};
use crate::catalogue::{Catalogue, Dataset, Kind, Part, Selection, Tier};
use crate::decontaminate::DecontaminateOptions;
use crate::digest::Digest;
use crate::filter::FilterOptions;
use crate::read::{FileFormat, ReadOptions};
use crate::render::RenderOptions;
use crate::source::{self, Context, Location, PlannedFile, SourceError};
use crate::written::{self, Problem, Problems};

/// An evaluation set whose items are taken out of a build's documents.
#[derive(Debug, Clone)]
pub struct Benchmark {
    /// Its files, and how they are read.
    pub dataset: PlannedDataset,
    /// Whether its rows are rendered too: they are where a manifest says how.
    pub rendered: bool,
}

/// Finds the evaluation sets that a recipe names, in its order.
///
/// # Errors
/// Names that are neither a dataset nor a file, datasets without files for evaluation, or what a listing says.
pub(super) fn resolve(
    options: &DecontaminateOptions,
    manifests: &Path,
    recipe_file: &Path,
    context: &mut Context<'_>,
) -> Result<Vec<Benchmark>, PlanError> {
    let text = fs_err::read_to_string(recipe_file).unwrap_or_default();
    let mut catalogue: Option<Catalogue> = None;
    let mut found: Vec<Benchmark> = Vec::new();
    let mut problems = Vec::new();
    for (number, named) in options.against.iter().enumerate() {
        let at = number.to_string();
        let problem = |message: String| {
            Problem::at(
                recipe_file,
                &text,
                &["decontaminate", "against", &at],
                message,
            )
        };
        let path = manifests.join(named);
        if path.is_file() {
            match of_file(named, path, context)? {
                Some(benchmark) => found.push(benchmark),
                None => problems.push(
                    problem(format!("the format of `{named}` is not known by its name"))
                        .hint("jsonl, json, parquet, csv, tsv, txt, tar, and .gz or .zst of them"),
                ),
            }
            continue;
        }
        let catalogue = match &mut catalogue {
            Some(catalogue) => catalogue,
            none => none.insert(Catalogue::load(&manifests.join("datasets"))?),
        };
        let chosen = match catalogue.select(&Selection::Datasets(vec![named.clone()]), true) {
            Ok(selected) => selected.chosen,
            Err(_) => {
                let names = catalogue.datasets.iter().map(|d| d.manifest.name.as_str());
                let of_dataset = named.split('/').next().unwrap_or(named);
                let hint = match written::nearest(of_dataset, names) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("there is no file {} either", path.display()),
                };
                problems.push(
                    problem(format!("no dataset and no file is called `{named}`")).hint(hint),
                );
                continue;
            }
        };
        let before = found.len();
        for part in chosen.iter().flat_map(|chosen| &chosen.parts) {
            let whole = chosen.iter().map(|chosen| &chosen.dataset).next();
            let dataset = of_part(part, whole.unwrap_or(&part.dataset), context)?;
            found.extend(dataset.map(|dataset| Benchmark {
                dataset,
                rendered: true,
            }));
        }
        if found.len() == before {
            problems.push(
                problem(format!("dataset `{named}` has no files for evaluation")).hint(
                    "write `evaluation-files` in its manifest, or name the file of the evaluation set",
                ),
            );
        }
    }
    if problems.is_empty() {
        Ok(found)
    } else {
        Err(Problems(problems).into())
    }
}

/// A file whose rows are items. `None` if its name says no format.
fn of_file(
    named: &str,
    path: PathBuf,
    context: &mut Context<'_>,
) -> Result<Option<Benchmark>, PlanError> {
    let io = |error| {
        PlanError::Source(SourceError::Io {
            dataset: named.to_owned(),
            error,
        })
    };
    let digests = context
        .remembered
        .digest_all(std::slice::from_ref(&path))
        .map_err(io)?;
    let Some((stamp, digest)) = digests.into_iter().next() else {
        return Ok(None);
    };
    let file = PlannedFile {
        path: named.to_owned(),
        bytes: stamp.bytes(),
        digest: format!("sha256:{digest}"),
        location: Location::Local { path, stamp },
    };
    if FileFormat::from_path(Path::new(named)).is_none() {
        return Ok(None);
    }
    let dataset = Named {
        name: named.to_owned(),
        file: PathBuf::new(),
        licence: String::new(),
        source: "file".to_owned(),
        revision: digest.hex(),
        read: ReadOptions::default(),
        render: RenderOptions::default(),
    };
    Ok(dataset.planned(vec![file]).map(|dataset| Benchmark {
        dataset,
        rendered: false,
    }))
}

/// The evaluation files of a part of `dataset`; `None` if it has none.
pub(super) fn of_part(
    part: &Part,
    dataset: &Dataset,
    context: &mut Context<'_>,
) -> Result<Option<PlannedDataset>, PlanError> {
    let manifest = &part.dataset.manifest;
    let mut listed = part.dataset.clone();
    if let Some(hub) = listed.manifest.source.hub.as_mut() {
        if !manifest.evaluation {
            // What is training data of it is another matter.
            hub.files = vec!["**".to_owned()];
        } else if hub.files.is_empty() {
            hub.files = held_out(part, dataset);
        }
    }
    let listing = source::list(&listed, context).map_err(PlanError::Source)?;
    let held_out = globs(part, &held_out(part, dataset))?;
    let mut files = listing.files;
    if manifest.evaluation {
        let (only, exclude) = (globs(part, &part.only)?, globs(part, &part.exclude)?);
        files.retain(|file| {
            (part.only.is_empty() || only.is_match(&file.path)) && !exclude.is_match(&file.path)
        });
    } else {
        files.retain(|file| held_out.is_match(&file.path) && !is_training(&file.path));
    }
    if files.is_empty() {
        return Ok(None);
    }
    planned(part, listing.source, listing.revision, files).map(Some)
}

/// `files` of a part, as they are read; `source` and `revision` are those of their listing.
///
/// # Errors
/// A file's name says no format, and the manifest says none either.
pub(super) fn planned(
    part: &Part,
    source: String,
    revision: String,
    files: Vec<PlannedFile>,
) -> Result<PlannedDataset, PlanError> {
    let manifest = &part.dataset.manifest;
    let named = Named {
        name: manifest.name.clone(),
        file: part.dataset.file.clone(),
        licence: manifest.licence.clone(),
        source,
        revision,
        read: manifest.read.clone(),
        render: manifest.render.clone(),
    };
    named.planned(files).ok_or_else(|| {
        Problems(vec![
            Problem::of_file(
                &part.dataset.file,
                "the format of its evaluation files is not known by their names",
                None,
            )
            .hint("write [read] format = \"jsonl\" (or json, parquet, csv, tsv, text, tar)"),
        ])
        .into()
    })
}

/// The patterns of a part's evaluation files: a config's own, and of the dataset's those below a folder of the config.
fn held_out(part: &Part, dataset: &Dataset) -> Vec<String> {
    let Some(config) = part
        .config
        .and_then(|number| dataset.manifest.configs.get(number))
    else {
        return part.held_out.clone();
    };
    let plain = |pattern: &str| -> Option<String> {
        let first = pattern
            .split('/')
            .next()
            .filter(|_| pattern.contains('/'))?;
        (!first.contains(['*', '?', '[', '{'])).then(|| first.to_owned())
    };
    let folders: Vec<String> = config.files.iter().filter_map(|p| plain(p)).collect();
    let mut patterns = config.evaluation_files.clone();
    let of_dataset = part.held_out.iter();
    for pattern in of_dataset.filter(|p| !config.evaluation_files.contains(p)) {
        match pattern.strip_prefix("*/") {
            Some(rest) => patterns.extend(folders.iter().map(|folder| format!("{folder}/{rest}"))),
            None => patterns.push(pattern.clone()),
        }
    }
    patterns
}

/// Whether a file that a pattern of evaluation files takes along is named after a training split.
fn is_training(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let folder = path.rsplit('/').nth(1);
    [Some(name), folder].into_iter().flatten().any(|part| {
        part.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word.eq_ignore_ascii_case("train"))
    })
}

fn globs(part: &Part, patterns: &[String]) -> Result<GlobSet, PlanError> {
    let wrong = |error: globset::Error| {
        PlanError::Written(Problems(vec![Problem::of_file(
            &part.dataset.file,
            error.to_string(),
            None,
        )]))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).map_err(wrong)?);
    }
    set.build().map_err(wrong)
}

/// What is said of an evaluation set beside its files.
struct Named {
    name: String,
    file: PathBuf,
    licence: String,
    source: String,
    revision: String,
    read: ReadOptions,
    render: RenderOptions,
}

impl Named {
    /// `None` if a file's name says no format.
    fn planned(self, files: Vec<PlannedFile>) -> Option<PlannedDataset> {
        let units = units::units(files, &self.read, None).ok()?;
        Some(PlannedDataset {
            name: self.name,
            file: self.file,
            tier: Tier::Own,
            kind: Kind::Text,
            near: false,
            licence: self.licence,
            licence_note: None,
            stands_in_for: None,
            gated: false,
            rows: None,
            size_bytes: None,
            source: self.source,
            revision: self.revision,
            profile: String::new(),
            filter: FilterOptions::default(),
            read: self.read,
            render: self.render,
            units,
            left_out: (0, 0),
            missing_bytes: 0,
            notes: Vec::new(),
        })
    }
}

/// What of the evaluation sets decides which documents are found: names, ways of reading, contents.
pub(super) fn digest(benchmarks: &[Benchmark]) -> Digest {
    let covered: Vec<_> = benchmarks
        .iter()
        .map(|benchmark| {
            let of = &benchmark.dataset;
            let units: Vec<Digest> = of.units.iter().map(|unit| unit.digest).collect();
            (&of.name, benchmark.rendered, &of.read, &of.render, units)
        })
        .collect();
    Digest::of_value(&covered)
}
