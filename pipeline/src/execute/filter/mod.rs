//! Files to files: the documents that profiles of rules keep, with all of their fields as they were.
//!
//! One pass: a thread cuts a block from a file, judges its documents, and puts what stays behind what came before; rows are
//! copied byte for byte (JSON Lines) or column by column (parquet), but for what a profile edits in their text. A row
//! without text is judged by nobody: it is copied and counted. Files are many at once, blocks of one file too, and leave no
//! trace of who did what. The folder is filled aside and is there whole or not at all.

mod report;
mod run;
mod verdicts;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;

use self::run::Run;
use self::verdicts::Verdicts;
use super::Rate;
use super::profiles::Profiles;
use crate::filter::lists::Lists;
use crate::filter::named::NamedProfile;
use crate::filter::rules;
use crate::plan::{Plan, PlannedDataset};
use crate::progress::{Event, Progress, Stage};
use crate::publish::NewFolder;
use crate::render::Render;

pub use report::{
    BadFile, FileCounts, FilterFilesError, Filtered, ProfileCounts, ProfileUsed, REPORT, Report,
};

/// How files are filtered.
#[derive(Debug, Clone)]
pub struct FilterFiles {
    /// Folder that is made.
    pub out: PathBuf,
    /// Profiles; a document stays that all of them keep.
    pub profiles: Vec<NamedProfile>,
    /// Where the lists are that profiles name.
    pub lists: Lists,
    /// Where a line a row goes that says what each profile says of it.
    pub verdicts: Option<PathBuf>,
    /// The field with the id.
    pub id: String,
    /// Worker threads. They change no byte.
    pub threads: usize,
    /// Rows of files of lines that cannot be read to their end are taken as far as they go, and parquet files that cannot are
    /// left out.
    pub skip_bad_files: bool,
}

/// Writes the documents of the files of `plan`, which [`crate::plan::of_files`] made, that all profiles keep. `stop` asks it to
/// end soon, without a result. Holds two blocks a thread, and of a parquet file a batch of rows.
///
/// # Errors
/// [`FilterFilesError`] as its variants say. Nothing is left of the folder then.
pub fn filter(
    plan: &Plan,
    options: &FilterFiles,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Filtered, FilterFilesError> {
    let dataset = &plan.datasets[0];
    let profiles = Profiles::new(&options.profiles, &options.lists)
        .map_err(|(name, why)| FilterFilesError::Profile { name, why })?;
    let reserved = |profile: &&NamedProfile| matches!(profile.name.as_str(), "id" | "unjudged");
    if let (Some(_), Some(profile)) = (&options.verdicts, options.profiles.iter().find(reserved)) {
        return Err(FilterFilesError::Profile {
            name: profile.name.clone(),
            why: "a line of verdicts has another field of this name; give the profile another one"
                .to_owned(),
        });
    }
    let verdicts = options
        .verdicts
        .as_deref()
        .map(|path| Verdicts::new(path, &options.out));
    let verdicts = verdicts.transpose()?;
    check_names(dataset, options, verdicts.as_ref())?;
    let render = Render::new(&dataset.render)?;
    let folder = NewFolder::create(&options.out)?;
    let run = Run {
        dataset,
        options,
        profiles,
        names: options
            .profiles
            .iter()
            .map(|profile| json!(profile.name).to_string())
            .collect(),
        asks_beside: options.profiles.iter().any(|p| p.options.asks_beside()),
        render,
        folder: folder.path(),
        parts: parts_folder(dataset),
        progress,
        stop,
        halt: AtomicBool::new(false),
        held: AtomicUsize::new(0),
    };
    if verdicts.is_some() {
        fs_err::create_dir_all(run.folder.join(&run.parts))?;
    }
    progress.event(&Event::Stage {
        stage: Stage::Filter,
        total: dataset.bytes(),
    });
    let done = run.all()?;
    if stop.load(Ordering::Relaxed) {
        return Err(FilterFilesError::Interrupted);
    }
    let mut report = Report {
        profiles: options.profiles.iter().map(used).collect(),
        text: dataset.render.text.clone().unwrap_or_default(),
        id: options.id.clone(),
        files: BTreeMap::new(),
        total: FileCounts::default(),
        bad_files: Vec::new(),
    };
    let mut faults = Vec::new();
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for (unit, ended) in dataset.units.iter().zip(done.files) {
        let name = &unit.files[0].path;
        if let Some(counts) = ended.counts {
            report.total.add(&counts);
            report.files.insert(name.clone(), counts);
            let above = Path::new(name).ancestors().skip(1);
            folders.extend(above.map(|above| run.folder.join(above)));
        }
        if let Some(fault) = ended.fault {
            report.bad_files.push(BadFile {
                file: name.clone(),
                problem: fault.problem.clone(),
            });
            faults.push(fault);
        }
    }
    let passing = faults.iter().any(|fault| fault.passing);
    if !faults.is_empty() && (passing || !options.skip_bad_files) {
        return Err(FilterFilesError::BadFiles(faults));
    }
    let rates = rates(&done.seconds, report.total.text_bytes);
    let bytes = serde_json::to_vec_pretty(&report).map_err(io::Error::from)?;
    let mut file = fs_err::File::create_new(run.folder.join(REPORT))?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    if let Some(verdicts) = &verdicts {
        let parts = run.folder.join(&run.parts);
        verdicts.gather(run.folder, &parts, dataset, &report)?;
        fs_err::remove_dir_all(&parts)?;
    }
    for below in folders.iter().rev() {
        fs_err::File::open(below)?.sync_all()?;
    }
    folder.publish()?;
    progress.event(&Event::Finished {
        folder: options.out.clone(),
        root: crate::digest::Digest::of(&bytes).hex(),
    });
    Ok(Filtered {
        report,
        rates,
        faults,
    })
}

fn used(profile: &NamedProfile) -> ProfileUsed {
    ProfileUsed {
        name: profile.name.clone(),
        options: serde_json::to_value(&profile.options).unwrap_or_default(),
        versions: rules::versions(&profile.options),
    }
}

fn rates(seconds: &BTreeMap<String, f64>, bytes: u64) -> Vec<Rate> {
    let parts = ["read", "judge", "write"].into_iter();
    parts
        .filter_map(|part| {
            Some(Rate {
                part: part.to_owned(),
                bytes,
                seconds: *seconds.get(part)?,
            })
        })
        .collect()
}

/// No file may have the name of another.
fn check_names(
    dataset: &PlannedDataset,
    options: &FilterFiles,
    verdicts: Option<&Verdicts>,
) -> Result<(), FilterFilesError> {
    let names = |name: &str, way_out| FilterFilesError::Names {
        folder: options.out.clone(),
        name: name.to_owned(),
        way_out,
    };
    let is_input = |name: &str| dataset.units.iter().any(|unit| unit.files[0].path == name);
    if is_input(REPORT) {
        return Err(names(
            REPORT,
            "it says what was done; rename the input of this name, or name the files beside it instead of their folder",
        ));
    }
    match verdicts.and_then(|verdicts| verdicts.inside.as_deref()) {
        Some(inside) if inside == REPORT || is_input(inside) => {
            Err(names(inside, "name another file for the verdicts"))
        }
        _ => Ok(()),
    }
}

/// A name for the folder of the files' verdicts that no input has.
fn parts_folder(dataset: &PlannedDataset) -> String {
    let mut name = ".verdicts".to_owned();
    let taken = |name: &str| {
        dataset
            .units
            .iter()
            .any(|u| u.files[0].path.starts_with(name))
    };
    while taken(&name) {
        name.push('_');
    }
    name
}
