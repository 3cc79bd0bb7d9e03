//! `andromeda plan`.

use serde_json::json;

use super::{grouped, megabytes, memory, plan_options, print, print_json, threads};
use crate::cli::{Limits, Place, What};
use crate::dedup::signature::s_curve;
use crate::plan::Plan;

pub(super) fn run(
    what: &What,
    place: &Place,
    limits: &Limits,
    as_json: bool,
) -> anyhow::Result<()> {
    let plan = crate::plan::plan(&plan_options(what, place))?;
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
            json!({
                "name": d.name, "tier": d.tier.name(), "kind": d.kind.name(), "profile": d.profile, "licence": d.licence,
                "source": d.source, "revision": d.revision,
                "files": d.units.iter().map(|u| u.files.len()).sum::<usize>(),
                "bytes": d.units.iter().map(crate::plan::Unit::bytes).sum::<u64>(),
                "left_out_files": d.left_out.0, "left_out_bytes": d.left_out.1, "notes": d.notes,
            })
        })
        .collect();
    json!({
        "name": plan.name, "fingerprint": plan.fingerprint, "recipe": plan.recipe_name, "options": plan.recipe,
        "tokenizer": { "file": plan.tokenizer, "sha256": plan.tokenizer_digest },
        "datasets": datasets, "estimate": plan.estimate(threads(limits)),
    })
}

fn tree(plan: &Plan, place: &Place, limits: &Limits) -> String {
    let mut lines = vec![format!("build {}  recipe {}", plan.name, plan.recipe_name)];
    for dataset in &plan.datasets {
        let files: usize = dataset.units.iter().map(|u| u.files.len()).sum();
        let bytes: u64 = dataset.units.iter().map(crate::plan::Unit::bytes).sum();
        lines.push(format!(
            "├─ {:<22} {:<6} {:>7} files {:>9}  {}@{}  profile {}  {}",
            dataset.name,
            dataset.tier.name(),
            grouped(files as u64),
            megabytes(bytes),
            dataset.source,
            &dataset.revision[..dataset.revision.len().min(8)],
            dataset.profile,
            dataset.licence,
        ));
        lines.extend(dataset.notes.iter().map(|note| format!("│    {note}")));
    }
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
            lines.push(format!(
                "├─ dedup  {exact}; {}-word shingles, {} bands x {} rows, joined from {:.0} % agreement on",
                near.shingle_words,
                near.bands,
                near.rows,
                near.agreement * 100.0
            ));
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
        "about {} documents, {} tokens; reads {}, downloads at most {}; needs {} of memory and {} of disk",
        grouped(estimate.documents),
        grouped(estimate.tokens),
        megabytes(estimate.bytes),
        megabytes(estimate.download_bytes),
        megabytes(estimate.memory_bytes),
        megabytes(estimate.disk_bytes)
    ));
    lines.join("\n")
}
