//! The verbs of `andromeda`: each collects what it needs from the library and prints it. Nothing is computed here.

mod build;
mod clusters;
mod datasets;
mod dedup;
mod export;
mod fetch_build;
mod filter;
mod gc;
mod import;
mod inspect;
mod language;
mod plan;
mod profiles;
mod quality;
mod report;
mod rows;
mod sets;
mod side_by_side;
mod signals;
#[cfg(feature = "tables")]
mod sql;
mod status;
mod texts;
mod tokenize;
mod tokenizer;
mod verify;
mod why;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context as _;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::catalogue::{Selection, Tier};
use crate::cli::{
    Budget, Command, DatasetsCommand, LanguageCommand, Limits, Place, Priority, ProfilesCommand,
    QualityCommand, What,
};
use crate::execute::BuildError;
use crate::exit::{Interrupted, Usage};
use crate::fetch::HubFile;
use crate::lock::Lock;
use crate::plan::hub_files::HubFiles;
use crate::plan::{PlanError, PlanOptions};
use crate::report::summary::SummaryOptions;
use crate::screen::Screen;

/// Runs a command.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Plan {
            what,
            place,
            limits,
            json,
        } => plan::run(&what, &place, &limits, json),
        Command::Build {
            what,
            place,
            limits,
            skip_bad_files,
            json,
        } => build::run(&what, &place, &limits, skip_bad_files, json),
        Command::Dedup {
            inputs,
            out,
            options,
            limits,
            work,
            skip_bad_files,
            json,
        } => dedup::run(inputs, out, options, &limits, work, skip_bad_files, json),
        Command::Filter {
            inputs,
            options,
            json,
        } => filter::run(inputs, options, json),
        Command::Tokenize {
            inputs,
            options,
            limits,
            place,
            json,
        } => tokenize::run(inputs, options, &limits, &place, json),
        Command::Rows {
            inputs,
            of,
            out,
            place,
            json,
        } => match of.as_slice() {
            [] => rows::run(&inputs, &out, json),
            names => sets::run(names, &out, &place, json),
        },
        Command::Inspect {
            build,
            place,
            split,
            documents,
            characters,
            json,
        } => inspect::run(
            &build_folder(build, &place)?,
            split,
            documents,
            characters,
            json,
        ),
        Command::Verify { build, place, json } => verify::run(&build_folder(build, &place)?, json),
        Command::FetchBuild {
            options,
            place,
            json,
        } => fetch_build::run(options, &place, json),
        Command::Export {
            build,
            place,
            options,
            json,
        } => export::run(&build_folder(build, &place)?, options, json),
        Command::Import { options, json } => import::run(options, json),
        Command::Why {
            document,
            build,
            place,
            most,
            json,
        } => why::run(
            &build_folder(build, &place)?,
            &place.work,
            &document,
            most,
            json,
        ),
        Command::Clusters {
            build,
            place,
            largest,
            members,
            characters,
            json,
        } => {
            let shown = clusters::Shown {
                largest,
                members,
                characters,
            };
            clusters::run(&build_folder(build, &place)?, &place.work, &shown, json)
        }
        Command::Report {
            build,
            place,
            out,
            samples,
            characters,
        } => {
            let options = SummaryOptions {
                samples,
                characters,
            };
            report::report(&build_folder(build, &place)?, &place.work, out, options)
        }
        Command::Card { build, place } => report::card(&build_folder(build, &place)?),
        Command::Rejects {
            build,
            place,
            reason,
            dataset,
            most,
            characters,
            json,
        } => {
            let shown = report::Shown {
                reason,
                dataset,
                most,
                characters,
            };
            report::rejects(&build_folder(build, &place)?, &place.work, &shown, json)
        }
        Command::Diff {
            first,
            second,
            samples,
            json,
        } => report::diff(&first, &second, samples, json),
        Command::Signals {
            build,
            place,
            list,
            dataset,
            json,
        } => match list {
            true => signals::list(json),
            false => signals::spreads(&build_folder(build, &place)?, dataset.as_deref(), json),
        },
        Command::Tune {
            build,
            place,
            options,
            json,
        } => signals::tune(&build_folder(build, &place)?, &place.work, &options, json),
        #[cfg(feature = "tables")]
        Command::Sql {
            build,
            query,
            place,
            form,
        } => sql::run(&build_folder(build, &place)?, query.as_deref(), form),
        Command::Status { place, json } => status::run(&place, json),
        Command::Gc {
            place,
            all,
            yes,
            json,
        } => gc::run(&place, all, yes, json),
        Command::Datasets {
            command,
            place,
            json,
        } => match command {
            None => datasets::list(&place, json),
            Some(DatasetsCommand::Show { name, place, json }) => {
                datasets::show(&name, &place, json)
            }
            Some(DatasetsCommand::Add {
                repository,
                name,
                place,
                json,
            }) => datasets::add(&repository, name.as_deref(), &place, json),
        },
        Command::Profiles { command, json } => match command {
            None => profiles::list(json),
            Some(ProfilesCommand::Show { name, json }) => profiles::show(&name, json),
        },
        Command::Language(LanguageCommand::Identify {
            inputs,
            fields,
            model,
        }) => language::identify(&inputs, &fields.id, &fields.text, model.as_deref()),
        Command::Language(LanguageCommand::Measure {
            inputs,
            text,
            label,
            model,
            json,
        }) => language::measure(&inputs, &text, &label, model.as_deref(), json),
        Command::Language(LanguageCommand::Train {
            inputs,
            text,
            label,
            samples,
            seed,
            out,
        }) => {
            let options = crate::language::train::TrainOptions {
                seed,
                samples,
                ..Default::default()
            };
            language::train(&inputs, &text, &label, &out, &options)
        }
        Command::Quality(QualityCommand::Train {
            good,
            bad,
            text,
            out,
            options,
            json,
        }) => quality::train(&good, &bad, &text, &out, &options.into(), json),
        Command::Quality(QualityCommand::Score {
            inputs,
            fields,
            model,
            label,
        }) => quality::score(&inputs, &fields.id, &fields.text, &model, &label),
        Command::Tokenizer(command) => tokenizer::run(command),
    }
}

/// Writes a line of data to stdout.
fn print(text: impl std::fmt::Display) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever read us has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            std::process::exit(i32::from(crate::exit::OK))
        }
        other => other.context("standard output"),
    }
}

/// Writes a value as one line of JSON to stdout.
fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(serde_json::to_string(value)?)
}

/// Says something to the person at the terminal.
fn say(text: impl std::fmt::Display) {
    // Nobody is there to be told that nobody is there.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn plan_options(what: &What, place: &Place) -> PlanOptions {
    let selection = if let Some(file) = &what.manifest {
        Selection::File(file.clone())
    } else if !what.dataset.is_empty() {
        Selection::Datasets(what.dataset.clone())
    } else {
        let mut tiers: Vec<Tier> = what
            .priority
            .iter()
            .flat_map(|priority| match priority {
                Priority::High => vec![Tier::High],
                Priority::Medium => vec![Tier::Medium],
                Priority::Low => vec![Tier::Low],
                Priority::Sample => vec![Tier::Sample],
                Priority::All => vec![Tier::High, Tier::Medium, Tier::Low],
            })
            .collect();
        if tiers.is_empty() {
            tiers.push(Tier::Sample);
        }
        tiers.sort();
        tiers.dedup();
        Selection::Tiers(tiers)
    };
    let sample = selection == Selection::Tiers(vec![Tier::Sample]);
    PlanOptions {
        manifests: place.manifests.clone(),
        selection,
        recipe: what
            .recipe
            .clone()
            .unwrap_or_else(|| if sample { "sample" } else { "default" }.to_owned()),
        work: place.work.clone(),
        lock: place.manifests.join("datasets.lock"),
        full: what.budget == Budget::Full,
        with_benchmarks: what.with_benchmarks,
        skip_unavailable: what.skip_unavailable,
        shards: place.shards.clone(),
        against: what.against.clone(),
        needs_tokenizer: true,
    }
}

/// The file that is meant: as it is, or brought from the hub where it is `hf://...`, and `default` there where that names a
/// repository only.
fn local(named: &Path, default: Option<&str>) -> anyhow::Result<PathBuf> {
    let written = named.to_string_lossy();
    if !HubFile::is_written(&written) {
        return Ok(named.to_path_buf());
    }
    let screen = Screen::new();
    let mut files = HubFiles {
        lock: None,
        hub: &mut None,
        progress: &screen,
    };
    let found = files.find(&written, default);
    screen.clear();
    Ok(found?.0)
}

/// The file of a tokenizer, which is named by a path, here or in the manifests' folder, or by its address on the hub, pinned in the
/// lock file; and that name, of one on the hub with its commit.
fn find_tokenizer(name: &str, place: &Place) -> anyhow::Result<(PathBuf, String)> {
    if !HubFile::is_written(name) {
        let here = PathBuf::from(name);
        let there = place.manifests.join(name);
        let is_there = !here.is_file() && there.is_file();
        let file = if is_there { there } else { here };
        return Ok((file, name.to_owned()));
    }
    let file = place.manifests.join("datasets.lock");
    let mut lock = Lock::open(&file, &place.work.join("listings"))?;
    let screen = Screen::new();
    let mut files = HubFiles {
        lock: Some(&mut lock),
        hub: &mut None,
        progress: &screen,
    };
    let found = files.find(name, Some("tokenizer.json"));
    screen.clear();
    let found = found.map_err(|error| match error.is_written() {
        true => anyhow::Error::from(error),
        false => PlanError::HubFile {
            file: "the command line".to_owned(),
            name: name.to_owned(),
            error,
        }
        .into(),
    })?;
    lock.save()
        .map_err(|error| PlanError::Lock { file, error })?;
    Ok(found)
}

fn threads(limits: &Limits) -> usize {
    limits.threads.map_or_else(
        || std::thread::available_parallelism().map_or(1, usize::from),
        usize::from,
    )
}

fn memory(limits: &Limits) -> u64 {
    limits.memory.unwrap_or_else(|| {
        let free = fs_err::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| {
                let line = text
                    .lines()
                    .find(|line| line.starts_with("MemAvailable:"))?
                    .to_owned();
                line.split_whitespace().nth(1)?.parse::<u64>().ok()
            });
        // Where the system does not say, 4 GiB is what a machine that builds this has.
        free.map_or(4 << 30, |kib| kib * 1024 / 4 * 3)
    })
}

/// The named build, or the newest finished one.
fn build_folder(named: Option<PathBuf>, place: &Place) -> anyhow::Result<PathBuf> {
    if let Some(folder) = named {
        if folder.join("manifest.json").is_file() {
            return Ok(folder);
        }
        let by_name = place.shards.join(&folder);
        if by_name.join("manifest.json").is_file() {
            return Ok(by_name);
        }
        return Err(Usage(format!(
            "{} is no finished build: it has no manifest.json\n  hint: `andromeda status` lists the builds of {}",
            folder.display(),
            place.shards.display()
        ))
        .into());
    }
    builds(&place.shards)
        .into_iter()
        .filter(|folder| folder.join("manifest.json").is_file())
        .max_by_key(|folder| {
            fs_err::metadata(folder.join("manifest.json"))
                .and_then(|m| m.modified())
                .ok()
        })
        .ok_or_else(|| {
            Usage(format!(
                "{} holds no finished build\n  hint: `make shards` makes one in a few minutes",
                place.shards.display()
            ))
            .into()
        })
}

/// Folders of builds, finished or not, by name.
fn builds(shards: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs_err::read_dir(shards)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|e| e.path())
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    found
}

/// A flag that Ctrl-C and SIGTERM raise, and which of them it was.
struct Interruption {
    stop: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interruption {
    /// Listens. A second signal ends the process at once; nothing is lost by that either.
    fn listen() -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGINT, SIGTERM] {
            let code = 128 + number;
            let listen = || {
                signal_hook::flag::register_conditional_shutdown(number, code, Arc::clone(&stop))?;
                signal_hook::flag::register(number, Arc::clone(&stop))?;
                signal_hook::flag::register_usize(
                    number,
                    Arc::clone(&signal),
                    code.unsigned_abs() as usize,
                )
            };
            listen().context("signals cannot be caught")?;
        }
        Ok(Self { stop, signal })
    }

    /// The error of a command that was stopped, with the signal's exit code in it.
    fn name(&self, error: BuildError) -> anyhow::Error {
        match error {
            BuildError::Interrupted => self.interrupted().into(),
            other => other.into(),
        }
    }

    /// What ended a command that was stopped.
    fn interrupted(&self) -> Interrupted {
        let code = self.signal.load(Ordering::Relaxed);
        Interrupted(u8::try_from(code).unwrap_or(crate::exit::INTERRUPTED))
    }
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `12.3 MB`; decimal, as disks and networks are sold.
fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        1_000_000_000..1_000_000_000_000 => format!("{:.1} GB", bytes as f64 / 1e9),
        _ => format!("{:.1} TB", bytes as f64 / 1e12),
    }
}

/// Files of a table: a row of each of the first, and how many more there are.
fn rows_of_files<C>(
    files: &BTreeMap<String, C>,
    row: &dyn Fn(&str, &C) -> Vec<String>,
) -> Vec<Vec<String>> {
    const MOST: usize = 20;
    let shown = files.iter().take(MOST);
    let mut rows: Vec<Vec<String>> = shown.map(|(name, counts)| row(name, counts)).collect();
    if let Some(left) = files.len().checked_sub(MOST).filter(|&left| left > 0) {
        rows.push(vec![format!("... {left} more files")]);
    }
    rows
}

/// Columns as text: numbers stand to the right, words to the left.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let widths: Vec<usize> = head
        .iter()
        .enumerate()
        .map(|(column, head)| {
            let widths = cells(column).map(|cell| cell.chars().count());
            widths.chain([head.chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let is_number = |cell: &String| cell == "-" || cell.starts_with(|c: char| c.is_ascii_digit());
    let numbers: Vec<bool> = (0..head.len())
        .map(|column| column > 0 && cells(column).all(is_number))
        .collect();
    let line = |cells: Vec<&str>| {
        let cells: Vec<String> = cells
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, width))| {
                if numbers[i] {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            })
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut out = vec![line(head.to_vec())];
    out.extend(
        rows.iter()
            .map(|row| line(row.iter().map(String::as_str).collect())),
    );
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(megabytes(1_500_000), "1.5 MB");
    }
}
