//! `andromeda plan`.

use std::collections::BTreeMap;

use serde_json::json;

use super::{grouped, megabytes, memory, plan_options, print, print_json, table, threads};
use crate::cli::{Limits, Place, What};
use crate::decontaminate::{Action, DecontaminateOptions};
use crate::dedup::cluster::Verify;
use crate::dedup::repeat::{self, Unit};
use crate::dedup::signature::s_curve;
use crate::plan::Plan;
use crate::recipe::TrimOptions;
use crate::screen::Screen;

pub(super) fn run(
    what: &What,
    place: &Place,
    limits: &Limits,
    as_json: bool,
) -> anyhow::Result<()> {
    let screen = Screen::new();
    let plan = crate::plan::plan_with(&plan_options(what, place), &screen)?;
    screen.clear();
    if as_json {
        print_json(&value(&plan, limits))?;
    } else {
        print(tree(&plan, place, limits))?;
    }
    Ok(plan.must_fit(threads(limits), memory(limits), &place.work)?)
}

fn value(plan: &Plan, limits: &Limits) -> serde_json::Value {
    let datasets: Vec<serde_json::Value> = plan
        .datasets
        .iter()
        .map(|d| {
            let contents = d.contents();
            json!({
                "name": d.name, "tier": d.tier.name(), "kind": d.kind.name(), "profile": d.profile,
                "licence": d.licence, "licence_note": d.licence_note, "stands_in_for": d.stands_in_for, "gated": d.gated,
                "source": d.source, "revision": d.revision,
                "files": d.files(), "bytes": d.bytes(), "documents": contents.documents, "tokens": contents.tokens,
                "left_out_files": d.left_out.0, "left_out_bytes": d.left_out.1, "notes": d.notes,
            })
        })
        .collect();
    let licences: Vec<serde_json::Value> = licences(plan)
        .into_iter()
        .map(|((licence, note), datasets)| {
            json!({ "licence": licence, "note": note, "datasets": datasets })
        })
        .collect();
    json!({
        "name": plan.name, "fingerprint": plan.fingerprint, "recipe": plan.recipe_name, "options": plan.recipe,
        "tokenizer": { "file": plan.tokenizer, "sha256": plan.tokenizer_digest },
        "against": plan.against.iter().map(|b| json!({ "name": b.name, "root": b.root, "documents": b.documents })).collect::<Vec<_>>(),
        "decontaminated": plan.benchmarks.iter().map(|b| json!({ "name": b.dataset.name, "files": b.dataset.files(), "bytes": b.dataset.bytes() })).collect::<Vec<_>>(),
        "datasets": datasets, "licences": licences, "left_out": plan.left_out, "contaminates": plan.contaminates,
        "estimate": plan.estimate(threads(limits)),
    })
}

/// The datasets of each licence and note.
fn licences(plan: &Plan) -> BTreeMap<(&str, Option<&str>), Vec<&str>> {
    let mut licences: BTreeMap<(&str, Option<&str>), Vec<&str>> = BTreeMap::new();
    for dataset in &plan.datasets {
        let key = (dataset.licence.as_str(), dataset.licence_note.as_deref());
        let names = licences.entry(key).or_default();
        // A dataset of two tiers is one dataset.
        if !names.contains(&dataset.name.as_str()) {
            names.push(&dataset.name);
        }
    }
    licences
}

/// Names of datasets for people: several configs of one dataset are one entry.
fn together(names: &[&str]) -> String {
    let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
    for name in names {
        let (dataset, config) = name.split_once('/').unwrap_or((name, ""));
        match told.last_mut() {
            Some((last, configs)) if *last == dataset => configs.push(config),
            _ => told.push((dataset, vec![config])),
        }
    }
    let told: Vec<String> = told
        .into_iter()
        .map(|(dataset, configs)| match configs.as_slice() {
            [""] => dataset.to_owned(),
            [config] => format!("{dataset}/{config}"),
            configs => format!("{dataset} ({} configs)", configs.len()),
        })
        .collect();
    told.join(", ")
}

fn datasets(plan: &Plan) -> String {
    let rows: Vec<Vec<String>> = plan
        .datasets
        .iter()
        .map(|d| {
            let contents = d.contents();
            let files = match d.left_out.0 {
                0 => grouped(d.files() as u64),
                left_out => format!(
                    "{} of {}",
                    grouped(d.files() as u64),
                    grouped((d.files() + left_out) as u64)
                ),
            };
            vec![
                format!("├─ {}", d.name),
                d.tier.name().to_owned(),
                d.kind.name().to_owned(),
                files,
                megabytes(d.bytes()),
                grouped(contents.documents),
                grouped(contents.tokens),
                d.profile.clone(),
                format!("{}@{}", d.source, &d.revision[..d.revision.len().min(8)]),
            ]
        })
        .collect();
    table(
        &[
            "├─ dataset",
            "tier",
            "kind",
            "files",
            "bytes",
            "about documents",
            "tokens",
            "profile",
            "pinned",
        ],
        &rows,
    )
}

/// What a person should know before saying yes: notes, licences, terms, stand-ins, benchmarks.
fn remarks(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    for dataset in &plan.datasets {
        let notes = dataset.notes.iter();
        lines.extend(notes.map(|note| format!("│    {}: {note}", dataset.name)));
    }
    for ((licence, note), datasets) in licences(plan) {
        let note = note.map_or_else(String::new, |note| format!(" ({note})"));
        lines.push(format!(
            "├─ licence {licence}{note}: {}",
            together(&datasets)
        ));
    }
    let mut gated: Vec<&str> = Vec::new();
    let mut stand_ins: Vec<(&str, Vec<&str>)> = Vec::new();
    for dataset in &plan.datasets {
        if dataset.gated {
            gated.push(&dataset.name);
        }
        let Some(named) = &dataset.stands_in_for else {
            continue;
        };
        match stand_ins.iter_mut().find(|(other, _)| other == named) {
            Some((_, datasets)) => datasets.push(&dataset.name),
            None => stand_ins.push((named, vec![&dataset.name])),
        }
    }
    if !gated.is_empty() {
        lines.push(format!("├─ gated   {}: opens to you", together(&gated)));
    }
    for (named, datasets) in stand_ins {
        lines.push(format!("├─ {} stands in for {named}", together(&datasets)));
    }
    for left_out in &plan.left_out {
        lines.push(format!("├─ without {}: {}", left_out.name, left_out.reason));
    }
    if !plan.contaminates.is_empty() {
        lines.push(format!(
            "├─ contaminates {}: a score on it says nothing of a model trained on this build",
            plan.contaminates.join(", ")
        ));
    }
    lines
}

fn tree(plan: &Plan, place: &Place, limits: &Limits) -> String {
    let mut lines = vec![
        format!("build {}  recipe {}", plan.name, plan.recipe_name),
        datasets(plan),
    ];
    lines.extend(remarks(plan));
    let profiles: std::collections::BTreeSet<&str> =
        plan.datasets.iter().map(|d| d.profile.as_str()).collect();
    for name in profiles {
        lines.push(format!(
            "├─ filter {name}: {}",
            serde_json::to_string(&plan.recipe.profile[name]).unwrap_or_default()
        ));
    }
    let exact = if plan.recipe.dedup.exact {
        "exact"
    } else {
        "no exact"
    };
    match &plan.recipe.dedup.near {
        None => lines.push(format!("├─ dedup  {exact}; no near duplicates")),
        Some(near) => {
            let by = match near.verify {
                Verify::Signature => "of the signature",
                Verify::Jaccard => "Jaccard similarity of the shingles",
            };
            lines.push(format!(
                "├─ dedup  {exact}; {}-word shingles, {} bands x {} rows, joined from {:.0} % {by} on",
                near.shingle_words,
                near.bands,
                near.rows,
                near.similarity * 100.0
            ));
            for (profile, characters) in &near.characters {
                lines.push(format!(
                    "│    documents of the profile {profile} are shingled by {characters} characters"
                ));
            }
            let curve: Vec<String> = [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9]
                .iter()
                .map(|s| format!("{s}: {:.0} %", 100.0 * s_curve(near.bands, near.rows, *s)))
                .collect();
            lines.push(format!(
                "│    chance that two documents of a similarity meet in a bucket: {}",
                curve.join("  ")
            ));
        }
    }
    if let Some(trim) = &plan.recipe.dedup.trim {
        lines.push(format!("├─ trim   {}", trimmed(trim)));
    }
    if let Some(table) = &plan.recipe.decontaminate {
        lines.push(format!("├─ {}", decontaminated(plan, table)));
    }
    for build in &plan.against {
        lines.push(format!(
            "├─ against {}: its {} documents are not taken again",
            build.name,
            grouped(build.documents)
        ));
    }
    lines.push(format!(
        "├─ split  val {} %, test {} %, by cluster; seed {}",
        plan.recipe.split.val * 100.0,
        plan.recipe.split.test * 100.0,
        plan.recipe.seed
    ));
    lines.push(format!(
        "├─ tokens {} ({})",
        plan.tokenizer.display(),
        &plan.tokenizer_digest.hex()[..8]
    ));
    lines.push(format!(
        "└─ shards {} tokens each, frames of {}, zstd {}  ->  {}",
        grouped(plan.recipe.shard.tokens),
        grouped(u64::from(plan.recipe.shard.frame_tokens)),
        plan.recipe.shard.level,
        place.shards.join(&plan.name).display()
    ));
    let estimate = plan.estimate(threads(limits));
    lines.push(format!(
        "about {} documents, {} tokens; reads {}, downloads {}; needs {} of memory and {} of disk",
        grouped(estimate.documents),
        grouped(estimate.tokens),
        megabytes(estimate.bytes),
        megabytes(estimate.download_bytes),
        megabytes(estimate.memory_bytes),
        megabytes(estimate.disk_bytes + estimate.download_bytes)
    ));
    let times: Vec<String> = estimate
        .times
        .iter()
        .filter(|time| time.seconds > 0.0)
        .map(|time| format!("{} {}", time.stage, duration(time.seconds)))
        .collect();
    lines.push(format!(
        "about, with {} threads: {}",
        threads(limits),
        times.join(", ")
    ));
    lines.join("\n")
}

/// What is cut from the documents that stay.
fn trimmed(trim: &TrimOptions) -> String {
    let units: Vec<String> = trim
        .units()
        .into_iter()
        .map(|(unit, sought, scope)| {
            let from = match sought {
                Unit::Lines { min_chars } | Unit::Paragraphs { min_chars } => {
                    format!("{} characters", grouped(u64::from(min_chars)))
                }
                Unit::Spans { words } => format!("{} words", grouped(u64::from(words.get()))),
            };
            let scope = match scope {
                repeat::Scope::Document => "their document",
                repeat::Scope::Corpus => "any document",
            };
            format!(
                "{} from {from} on that stood before in {scope}",
                unit.name()
            )
        })
        .collect();
    let profiles = if trim.profiles.is_empty() {
        "all profiles".to_owned()
    } else {
        format!("the profiles {}", trim.profiles.join(", "))
    };
    format!(
        "{}; of {profiles}; what has fewer than {} characters left is dropped",
        units.join(", then "),
        grouped(trim.min_left_characters)
    )
}

/// What is taken out of the documents, and how it is known.
fn decontaminated(plan: &Plan, table: &DecontaminateOptions) -> String {
    let names: Vec<&str> = plan
        .benchmarks
        .iter()
        .map(|benchmark| benchmark.dataset.name.as_str())
        .collect();
    let action = match table.action {
        Action::Drop => "documents that have them are dropped",
        Action::Cut => "they are cut from documents",
    };
    format!(
        "without items of {}: {}-word n-grams, shorter texts whole from {} words on; {action}",
        together(&names),
        table.n,
        table.min_item_words
    )
}

/// `3 s`, `12 min`, `1.5 h`: estimates have no more digits.
fn duration(seconds: f64) -> String {
    match seconds {
        ..1.0 => "under 1 s".to_owned(),
        ..100.0 => format!("{seconds:.0} s"),
        ..6000.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
