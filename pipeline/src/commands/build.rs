//! `andromeda build`.

use serde_json::json;

use super::{
    Interruption, grouped, megabytes, memory, plan_options, print, print_json, say, table, threads,
};
use crate::cli::{Limits, Place, What};
use crate::execute::{self, BuildError, BuildOptions, Built, Rate};
use crate::progress::Progress;
use crate::screen::{JsonLines, Screen, safe};

pub(super) fn run(
    what: &What,
    place: &Place,
    limits: &Limits,
    skip_bad_files: bool,
    as_json: bool,
) -> anyhow::Result<()> {
    let options = plan_options(what, place);
    let screen = Screen::new();
    let progress: &dyn Progress = if as_json { &JsonLines } else { &screen };
    let plan = crate::plan::plan_with(&options, progress)?;
    screen.clear();
    let options = BuildOptions {
        work: place.work.clone(),
        shards: place.shards.clone(),
        lock: options.lock,
        threads: threads(limits),
        memory_bytes: memory(limits),
        skip_bad_files,
    };
    let there = place.shards.join(&plan.name).join("manifest.json").exists();
    if !there {
        plan.must_fit(options.threads, options.memory_bytes, &place.work)?;
    }
    let interruption = Interruption::listen()?;
    let built = execute::build(&plan, &options, progress, &interruption.stop);
    screen.clear();
    let built = match built {
        Err(BuildError::BadFiles(faults)) => {
            for fault in &faults {
                say(safe(&format!(
                    "{}/{}: {}",
                    fault.dataset, fault.file, fault.message
                )));
            }
            return Err(BuildError::BadFiles(faults).into());
        }
        other => other.map_err(|error| interruption.name(error))?,
    };
    if as_json {
        return print_json(&json!({
            "folder": built.folder, "root": built.manifest.root, "was_there": built.was_there, "funnel": built.manifest.funnel,
            "splits": built.manifest.splits.iter().map(|(s, e)| (s.name(), e.tokens)).collect::<std::collections::BTreeMap<_, _>>(),
            "rates": built.rates, "resolve": built.resolve,
            "faults": built.faults.iter().map(|f| json!({"dataset": f.dataset, "file": f.file, "message": f.message})).collect::<Vec<_>>(),
        }));
    }
    if built.was_there {
        say(format!(
            "{} is there and complete: nothing to do",
            built.folder.display()
        ));
    } else {
        say(summary(&built));
    }
    for fault in &built.faults {
        say(safe(&format!(
            "left out the rest of {}/{}: {}",
            fault.dataset, fault.file, fault.message
        )));
    }
    print(built.folder.display())
}

fn summary(built: &Built) -> String {
    let manifest = &built.manifest;
    let mut out = vec![super::inspect::funnel(manifest)];
    out.push(String::new());
    out.push(super::inspect::splits(manifest));
    out.push(String::new());
    out.push(rates(&built.rates));
    out.push(format!(
        "duplicates: {} pairs compared, {} alike; largest bucket {} documents",
        grouped(built.resolve.compared),
        grouped(built.resolve.joined),
        grouped(built.resolve.largest_bucket)
    ));
    if built.resolve.unplaced > 0 {
        out.push(crowded(built.resolve.unplaced));
    }
    out.push(format!("root {}", manifest.root));
    out.join("\n")
}

/// What hot buckets left undone.
pub(super) fn crowded(unplaced: u64) -> String {
    format!(
        "{} times a document of a crowded bucket was like none of the first 16 kinds there and was compared no further",
        grouped(unplaced)
    )
}

pub(super) fn rates(rates: &[Rate]) -> String {
    let rows: Vec<Vec<String>> = rates
        .iter()
        .map(|rate| {
            let speed = if rate.seconds > 0.0 {
                format!("{:.0}", rate.bytes as f64 / 1e6 / rate.seconds)
            } else {
                "-".to_owned()
            };
            vec![
                rate.part.clone(),
                megabytes(rate.bytes),
                format!("{:.2}", rate.seconds),
                speed,
            ]
        })
        .collect();
    table(
        &["part of the work", "text", "CPU seconds", "MB/s per core"],
        &rows,
    )
}
