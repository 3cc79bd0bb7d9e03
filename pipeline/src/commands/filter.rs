//! `andromeda filter`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::build::rates;
use super::{Interruption, grouped, local, print, print_json, rows_of_files, say, table, threads};
use crate::cli::{FilterArgs, Limits};
use crate::execute::filter::{FileCounts, FilterFiles, FilterFilesError, Filtered};
use crate::exit::{Usage, told};
use crate::fetch::HubFile;
use crate::filter::FilterOptions;
use crate::filter::lists::Lists;
use crate::filter::named::{NamedProfile, named};
use crate::plan::{self, FilesOptions};
use crate::recipe::Recipe;
use crate::screen::{JsonLines, Screen, safe};

pub(super) fn run(inputs: Vec<PathBuf>, args: FilterArgs, as_json: bool) -> anyhow::Result<()> {
    let profiles = profiles(&args)?;
    asks_for_fields(&profiles, &args)?;
    let lists = lists(&profiles, &args.manifests)?;
    let mut plan = plan::of_files(&FilesOptions {
        inputs,
        recipe: Recipe::default(),
        recipe_name: "the command line".to_owned(),
        text: args.fields.text,
        url: args.url,
        known_again: false,
    })?;
    for dataset in &mut plan.datasets {
        dataset.render.path.clone_from(&args.path);
        dataset.render.language.clone_from(&args.language);
        dataset.render.licence.clone_from(&args.licence);
    }
    let options = FilterFiles {
        out: args.out,
        profiles,
        lists,
        verdicts: args.verdicts,
        id: args.fields.id,
        threads: threads(&Limits {
            threads: args.threads,
            memory: None,
        }),
        skip_bad_files: args.skip_bad_files,
    };
    let interruption = Interruption::listen()?;
    let done = if as_json {
        crate::execute::filter::filter(&plan, &options, &JsonLines, &interruption.stop)
    } else {
        let screen = Screen::new();
        let done = crate::execute::filter::filter(&plan, &options, &screen, &interruption.stop);
        screen.clear();
        done
    };
    let done = match done {
        Err(FilterFilesError::Interrupted) => return Err(interruption.interrupted().into()),
        Err(FilterFilesError::BadFiles(faults)) => {
            for fault in &faults {
                say(safe(&format!("{}: {}", fault.file, fault.message)));
            }
            return Err(FilterFilesError::BadFiles(faults).into());
        }
        other => other?,
    };
    if as_json {
        return print_json(&json!({
            "folder": options.out, "verdicts": options.verdicts, "total": done.report.total, "files": done.report.files,
            "rates": done.rates,
            "faults": done.faults.iter().map(|f| json!({"file": f.file, "message": f.message})).collect::<Vec<_>>(),
        }));
    }
    say(summary(&done));
    for fault in &done.faults {
        let what = match done.report.files.contains_key(&fault.file) {
            true => "left out the rest of",
            false => "left out",
        };
        say(safe(&format!("{what} {}: {}", fault.file, fault.message)));
    }
    print(options.out.display())
}

/// The profiles that are named, with their models read.
fn profiles(args: &FilterArgs) -> anyhow::Result<Vec<NamedProfile>> {
    let mut recipe = Recipe::default();
    let mut file = PathBuf::new();
    if let Some(name) = &args.recipe {
        file = plan::recipe_file(&args.manifests, name)?;
        recipe = Recipe::load(&file)?;
    }
    let find = |profiles: &BTreeMap<String, FilterOptions>| {
        named(&args.profile, profiles).map_err(|errors| {
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Usage(errors.join("\n"))
        })
    };
    find(&recipe.profile)?;
    // Nobody asks the models of the others.
    recipe.profile.retain(|name, _| args.profile.contains(name));
    recipe.read_models(
        &mut |name| match HubFile::is_written(name) {
            true => local(Path::new(name), None).map_err(|error| told(&error)),
            false => Ok(args.manifests.join(name)),
        },
        &file,
    )?;
    Ok(find(&recipe.profile)?)
}

/// A rule that is told nothing of what it asks for would judge otherwise than in a build, and nobody would know.
fn asks_for_fields(profiles: &[NamedProfile], args: &FilterArgs) -> Result<(), Usage> {
    for NamedProfile { name, options } in profiles {
        for (table, asks, option, given) in [
            ("url", options.url.is_some(), "--url", &args.url),
            (
                "licence",
                options.licence.is_some(),
                "--licence",
                &args.licence,
            ),
            (
                "code-files",
                options.code_files.is_some(),
                "--path",
                &args.path,
            ),
        ] {
            if asks && given.is_none() {
                return Err(Usage(format!(
                    "the profile `{name}` has a table `{table}`: name the field it asks for with {option}"
                )));
            }
        }
    }
    Ok(())
}

/// Where the lists are that profiles name.
fn lists(profiles: &[NamedProfile], manifests: &Path) -> Result<Lists, Usage> {
    let mut found = Vec::new();
    for NamedProfile { name, options } in profiles {
        for list in options.list_files() {
            let path = manifests.join(list);
            if !path.is_file() {
                return Err(Usage(format!(
                    "the profile `{name}` names the file `{list}`, which is not at {}\n  hint: name a file, absolute or relative to the manifests' folder",
                    path.display()
                )));
            }
            found.push((list.clone(), path));
        }
    }
    Ok(Lists::new(found))
}

fn summary(done: &Filtered) -> String {
    let report = &done.report;
    let row = |name: &str, counts: &FileCounts| {
        vec![
            safe(name),
            grouped(counts.rows),
            grouped(counts.kept),
            grouped(counts.edited),
            grouped(counts.dropped_documents()),
            grouped(counts.unjudged.values().sum()),
        ]
    };
    let mut rows = rows_of_files(&report.files, &row);
    rows.push(row("all", &report.total));
    let head = ["file", "rows", "kept", "edited", "dropped", "no text"];
    let mut out = vec![table(&head, &rows), String::new()];
    let reasons = report.total.dropped.iter().flat_map(|(profile, reasons)| {
        let cells = move |(reason, count): (&String, &u64)| {
            vec![safe(profile), reason.clone(), grouped(*count)]
        };
        reasons.iter().map(cells)
    });
    let reasons: Vec<Vec<String>> = reasons.collect();
    if !reasons.is_empty() {
        out.push(table(&["first to drop", "reason", "documents"], &reasons));
        out.push(String::new());
    }
    out.push(rates(&done.rates));
    out.join("\n")
}
