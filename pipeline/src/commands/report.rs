//! `andromeda report`, `card`, `rejects` and `diff`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use andromeda_format::Build;

use super::side_by_side::side_by_side;
use super::{grouped, megabytes, print, print_json, say, table};
use crate::exit::Usage;
use crate::report::diff::{self, Diff, Move};
use crate::report::rejects::{self, Reject};
use crate::report::summary::{Summary, SummaryOptions, Twin};
use crate::report::{card, page};
use crate::screen::safe;

/// Writes the page and says where it is.
pub(super) fn report(
    folder: &Path,
    work: &Path,
    out: Option<PathBuf>,
    options: SummaryOptions,
) -> anyhow::Result<()> {
    let summary = Summary::of(folder, work, options)?;
    let out = out.unwrap_or_else(|| {
        let name = format!("{}.html", summary.manifest.name);
        Path::new("reports").join(name)
    });
    if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder)?;
    }
    andromeda_format::write_atomic(&out, page::page(&summary).as_bytes())?;
    let texts = summary.kept.iter().flatten();
    if texts.clone().count() > 0 && texts.clone().all(|sample| sample.text.is_none()) {
        say(format!(
            "note: the texts of {} are not in {}, so the page shows no kept documents; --work names another folder",
            summary.manifest.name,
            work.display()
        ));
    }
    print(out.display())
}

/// Prints the data card.
pub(super) fn card(folder: &Path) -> anyhow::Result<()> {
    let options = SummaryOptions {
        samples: 0,
        characters: 0,
    };
    // No text is shown, so no intermediates are needed.
    let summary = Summary::of(folder, Path::new(""), options)?;
    print(card::card(&summary).trim_end())
}

/// Which rejected documents are shown, and how.
pub(super) struct Shown {
    /// Only those whose reason is or begins with this.
    pub reason: Option<String>,
    /// Only those of this dataset.
    pub dataset: Option<String>,
    /// Of each dataset and reason at most so many.
    pub most: usize,
    /// Characters of each text.
    pub characters: usize,
}

pub(super) fn rejects(
    folder: &Path,
    work: &Path,
    shown: &Shown,
    as_json: bool,
) -> anyhow::Result<()> {
    let build = Build::open(folder)?;
    let funnel = &build.manifest().funnel;
    let groups = [&funnel.dropped, &funnel.quarantined, &funnel.duplicates];
    let reasons: Vec<&String> = groups.iter().flat_map(|counts| counts.keys()).collect();
    let wanted = |reason: &str| {
        let prefix = shown.reason.as_deref().unwrap_or_default();
        reason == prefix || reason.starts_with(prefix)
    };
    if !reasons.iter().any(|reason| wanted(reason)) {
        let listed: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
        let what = match listed.is_empty() {
            true => "everything that was read was kept".to_owned(),
            false => format!("its reasons are {}", listed.join(", ")),
        };
        return Err(Usage(format!(
            "no document of {} was rejected for `{}`; {what}",
            folder.display(),
            shown.reason.as_deref().unwrap_or_default()
        ))
        .into());
    }
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let of_dataset = |dataset: &str| shown.dataset.as_deref().is_none_or(|name| name == dataset);
    for reject in rejects::read(folder)? {
        let key = (reject.dataset.clone(), reject.reason.clone());
        let before = counts.entry(key).or_default();
        if wanted(&reject.reason) && of_dataset(&reject.dataset) && *before < shown.most {
            *before += 1;
            if as_json {
                print_json(&reject)?;
            } else {
                print(rejected(&reject, shown.characters))?;
            }
        }
    }
    if !funnel.duplicates.keys().any(|method| wanted(method)) {
        return Ok(());
    }
    let options = SummaryOptions {
        samples: shown.most,
        characters: 100_000,
    };
    for twin in Summary::of(folder, work, options)?.twins {
        if wanted(&twin.method) && of_dataset(twin.dropped.id.split('/').next().unwrap_or_default())
        {
            if as_json {
                print_json(&serde_json::json!({
                    "id": twin.dropped.id, "reason": twin.method, "similarity": twin.similarity, "text": twin.dropped.text,
                    "kept": { "id": twin.kept.id, "text": twin.kept.text },
                }))?;
            } else {
                print(duplicate(&twin, shown.characters))?;
            }
        }
    }
    Ok(())
}

fn rejected(reject: &Reject, characters: usize) -> String {
    let evidence = reject
        .evidence
        .as_deref()
        .map_or_else(String::new, |evidence| format!(" ({evidence})"));
    let mut out = format!(
        "── {} · {}{} ──\n",
        safe(&reject.id),
        safe(&reject.reason),
        safe(&evidence)
    );
    match &reject.text {
        Some(text) => {
            let beginning: String = text.chars().take(characters).collect();
            let _ = writeln!(out, "{}", safe(&beginning));
        }
        None => {
            let _ = writeln!(
                out,
                "(row {} of {} is no document)",
                reject.file_row,
                safe(&reject.file)
            );
        }
    }
    out
}

fn duplicate(twin: &Twin, characters: usize) -> String {
    let alike = twin.similarity.map_or_else(String::new, |share| {
        format!(" ({:.0} % alike)", 100.0 * share)
    });
    let title = format!(
        "── {} · {}{alike} ──\n",
        safe(&twin.dropped.id),
        safe(&twin.method)
    );
    let of = |text: &Option<String>| {
        text.clone()
            .unwrap_or_else(|| "(its text is not at hand)".to_owned())
    };
    let left = (format!("kept: {}", twin.kept.id), of(&twin.kept.text));
    let right = (
        format!("dropped: {}", twin.dropped.id),
        of(&twin.dropped.text),
    );
    title + &side_by_side(&left, &right, characters)
}

pub(super) fn diff(
    first: &Path,
    second: &Path,
    samples: usize,
    as_json: bool,
) -> anyhow::Result<()> {
    let (one, two) = (Build::open(first)?, Build::open(second)?);
    let found = diff::diff(first, second, samples)?;
    if as_json {
        return print_json(&found);
    }
    let Diff {
        gained,
        lost,
        changed,
        both,
    } = &found;
    print(format!(
        "A  {}  root {}",
        first.display(),
        one.manifest().root
    ))?;
    print(format!(
        "B  {}  root {}",
        second.display(),
        two.manifest().root
    ))?;
    print(format!("both keep {} documents\n", grouped(*both)))?;
    let groups = [
        ("kept by B and not by A", "in A", gained),
        ("kept by A and not by B", "in B", lost),
        ("kept by neither, for other reasons", "A → B", changed),
    ];
    for (title, column, moves) in groups {
        if moves.is_empty() {
            continue;
        }
        let rows: Vec<Vec<String>> = moves
            .iter()
            .map(|(state, counts)| {
                vec![
                    safe(state),
                    grouped(counts.documents),
                    megabytes(counts.bytes),
                ]
            })
            .collect();
        print(format!(
            "{title}\n{}\n",
            table(&[column, "documents", "text"], &rows)
        ))?;
        for (state, Move { samples, .. }) in moves {
            for moved in samples {
                print(format!("  {}: {}", safe(state), safe(&moved.id)))?;
            }
        }
        if samples > 0 {
            print("")?;
        }
    }
    if gained.is_empty() && lost.is_empty() && changed.is_empty() {
        print("every document has the same fate in both")?;
    }
    Ok(())
}
