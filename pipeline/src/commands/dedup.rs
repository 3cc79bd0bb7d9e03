//! `andromeda dedup`.

use std::path::PathBuf;

use serde_json::json;

use super::build::{crowded, rates};
use super::{Interruption, grouped, memory, print, print_json, rows_of_files, say, table, threads};
use crate::cli::{DedupArgs, KeepCopy, Limits, VerifyBy};
use crate::dedup::cluster::Verify;
use crate::dedup::signature::MinHasher;
use crate::execute::BuildError;
use crate::execute::dedup::{Deduplicated, FileCounts, FilesToFiles};
use crate::exit::Usage;
use crate::plan::{self, FilesOptions};
use crate::recipe::{DedupOptions, Keep, NearOptions, Recipe, RejectOptions};
use crate::screen::{JsonLines, Screen, safe};

pub(super) fn run(
    inputs: Vec<PathBuf>,
    out: PathBuf,
    args: DedupArgs,
    limits: &Limits,
    work: PathBuf,
    skip_bad_files: bool,
    as_json: bool,
) -> anyhow::Result<()> {
    let near = near(&args)?;
    let recipe = Recipe {
        dedup: DedupOptions {
            near,
            url: args.url.is_some(),
            keep: match args.keep {
                KeepCopy::Longest => Keep::Longest,
                KeepCopy::First => Keep::First,
            },
            ..DedupOptions::default()
        },
        // Whatever has no text is copied.
        rejects: RejectOptions {
            samples: 0,
            ..RejectOptions::default()
        },
        ..Recipe::default()
    };
    let plan = plan::of_files(&FilesOptions {
        inputs,
        recipe,
        recipe_name: "the command line".to_owned(),
        text: args.text,
        url: args.url,
        known_again: true,
    })?;
    let options = FilesToFiles {
        out,
        pairs: args.pairs,
        id: args.id,
        work,
        threads: threads(limits),
        memory_bytes: memory(limits),
        skip_bad_files,
    };
    let interruption = Interruption::listen()?;
    let done = if as_json {
        crate::execute::dedup::dedup(&plan, &options, &JsonLines, &interruption.stop)
    } else {
        let screen = Screen::new();
        let done = crate::execute::dedup::dedup(&plan, &options, &screen, &interruption.stop);
        screen.clear();
        done
    };
    let done = match done {
        Err(BuildError::BadFiles(faults)) => {
            for fault in &faults {
                say(safe(&format!("{}: {}", fault.file, fault.message)));
            }
            return Err(BuildError::BadFiles(faults).into());
        }
        other => other.map_err(|error| interruption.name(error))?,
    };
    if as_json {
        return print_json(&json!({
            "folder": options.out, "pairs": done.pairs, "was_there": done.was_there, "total": done.report.total,
            "files": done.report.files, "resolve": done.report.resolve, "rates": done.rates,
            "faults": done.faults.iter().map(|f| json!({"file": f.file, "message": f.message})).collect::<Vec<_>>(),
        }));
    }
    if done.was_there {
        say(format!(
            "{} is there and complete: nothing to do",
            options.out.display()
        ));
    } else {
        say(summary(&done));
    }
    for fault in &done.faults {
        say(safe(&format!(
            "left out the rest of {}: {}",
            fault.file, fault.message
        )));
    }
    print(options.out.display())
}

/// The near part of the recipe that the command line stands for.
fn near(args: &DedupArgs) -> anyhow::Result<Option<NearOptions>> {
    if args.exact_only {
        return Ok(None);
    }
    let default = NearOptions::default();
    // Files have no profile, which is the profile of no name.
    let characters = args.characters.map(|n| (String::new(), n));
    let near = NearOptions {
        shingle_words: args.shingle_words.unwrap_or(default.shingle_words),
        characters: characters.into_iter().collect(),
        bands: args.bands.unwrap_or(default.bands),
        rows: args.rows.unwrap_or(default.rows),
        verify: match args.verify {
            None | Some(VerifyBy::Jaccard) => Verify::Jaccard,
            Some(VerifyBy::Signature) => Verify::Signature,
        },
        similarity: args.threshold.unwrap_or(default.similarity),
        chain: default.chain,
    };
    MinHasher::new(near.minhash("")).map_err(|error| Usage(format!("--{error}")))?;
    Ok(Some(near))
}

fn summary(done: &Deduplicated) -> String {
    let report = &done.report;
    let row = |name: &str, counts: &FileCounts| {
        let of = |method: &str| grouped(counts.duplicates.get(method).copied().unwrap_or(0));
        vec![
            safe(name),
            grouped(counts.rows),
            grouped(counts.kept),
            of("exact"),
            of("near"),
            of("url"),
            grouped(counts.without_text.values().sum()),
            grouped(counts.short),
        ]
    };
    let mut rows = rows_of_files(&report.files, &row);
    rows.push(row("all", &report.total));
    let head = [
        "file", "rows", "kept", "exact", "near", "url", "no text", "short",
    ];
    let mut out = vec![table(&head, &rows), String::new(), rates(&done.rates)];
    let resolve = &report.resolve;
    out.push(format!(
        "{} pairs compared, {} alike; largest bucket {} documents",
        grouped(resolve.compared),
        grouped(resolve.joined),
        grouped(resolve.largest_bucket)
    ));
    if resolve.unplaced > 0 {
        out.push(crowded(resolve.unplaced));
    }
    out.push(format!("duplicates are listed in {}", done.pairs.display()));
    out.join("\n")
}
