//! `andromeda why`.

use std::path::Path;

use andromeda_format::{Build, Split};

use super::side_by_side::side_by_side;
use super::{grouped, megabytes, print, print_json};
use crate::documents::{self, Contamination, Document};
use crate::execute::BuildTexts;
use crate::exit::Usage;
use crate::recipe::TrimUnit;
use crate::screen::safe;

pub(super) fn run(
    folder: &Path,
    work: &Path,
    query: &str,
    most: usize,
    as_json: bool,
) -> anyhow::Result<()> {
    let build = Build::open(folder)?;
    let (found, more) = match place(query) {
        Some((split, token)) => {
            let row = row_at(&build, split, token)?;
            (
                documents::at(folder, &[row])?.into_values().collect(),
                false,
            )
        }
        None => documents::find(folder, query, most)?,
    };
    if found.is_empty() {
        return Err(Usage(format!(
            "no document of {} is called `{query}` or has it in its id\n  hint: an id is dataset/path or dataset/path#row; `andromeda inspect` shows some",
            folder.display()
        ))
        .into());
    }
    let mut twins: Vec<u64> = found
        .iter()
        .flat_map(|d| [d.kept.filter(|_| d.kept_build.is_none()), d.cluster])
        .flatten()
        .collect();
    twins.sort_unstable();
    twins.dedup();
    let twins = documents::at(folder, &twins)?;
    let rows: Vec<u64> = found.iter().map(|document| document.row).collect();
    let stretches = documents::contaminations(folder, &rows)?;
    if as_json {
        for document in &found {
            let kept = document.kept.and_then(|row| twins.get(&row));
            let of_document = stretches.iter().filter(|s| s.row == document.row);
            let of_document: Vec<_> = of_document.collect();
            print_json(
                &serde_json::json!({ "document": document, "kept_instead": kept, "contamination": of_document }),
            )?;
        }
    } else {
        for document in &found {
            print(life(&build, document, &twins))?;
            let of_document = stretches.iter().filter(|s| s.row == document.row);
            for stretch in of_document.take(most) {
                print(of_benchmark(stretch))?;
            }
            // One document alone is asked about: what it was taken for is shown.
            let kept = document.kept.filter(|_| document.kept_build.is_none());
            let twin = kept.and_then(|row| twins.get(&row));
            if let (1, Some(twin)) = (found.len(), twin) {
                let texts = BuildTexts::open(work, &build.manifest().name)?;
                let (kept, own) = (texts.of_row(twin.row)?, texts.of_row(document.row)?);
                if let (Some(kept), Some(own)) = (kept, own) {
                    let left = (format!("kept: {}", twin.id), kept);
                    let right = (format!("dropped: {}", document.id), own);
                    print(side_by_side(&left, &right, 600))?;
                }
            }
        }
        if more {
            print(format!(
                "more than {most} documents match; a longer part of the id, or --most, shows others"
            ))?;
        }
    }
    Ok(())
}

/// What a document has of an evaluation set.
fn of_benchmark(stretch: &Contamination) -> String {
    let done = match stretch.verdict.as_str() {
        "cut" => "cut",
        _ => "found",
    };
    let text: String = stretch.text.chars().take(300).collect();
    format!(
        "  item     {}, {done} at bytes {} to {}, {} n-grams\n           {}",
        safe(&stretch.item),
        grouped(stretch.start),
        grouped(stretch.end),
        grouped(u64::from(stretch.matches)),
        safe(&text.replace(['\n', '\r', '\t'], " "))
    )
}

fn place(query: &str) -> Option<(Split, u64)> {
    let (split, token) = query.split_once(':')?;
    let split = Split::ALL.into_iter().find(|s| s.name() == split)?;
    Some((split, token.replace(['_', ','], "").parse().ok()?))
}

/// The row of the document that token `token` of a split belongs to.
fn row_at(build: &Build, split: Split, token: u64) -> anyhow::Result<u64> {
    let shard_tokens = build.manifest().shard_tokens;
    let tokens = build
        .manifest()
        .splits
        .get(&split)
        .map_or(0, |entry| entry.tokens);
    if token >= tokens {
        return Err(Usage(format!(
            "the split {} has {} tokens",
            split.name(),
            grouped(tokens)
        ))
        .into());
    }
    let reader = build.shard(split, usize::try_from(token / shard_tokens)?)?;
    let at = token % shard_tokens;
    let index = reader.index();
    let document = index
        .documents
        .partition_point(|document| document.end <= at);
    Ok(index.documents[document].row)
}

fn life(
    build: &Build,
    document: &Document,
    twins: &std::collections::BTreeMap<u64, Document>,
) -> String {
    let mut lines = vec![safe(&document.id)];
    let manifest = build.manifest();
    if let Some(dataset) = manifest
        .datasets
        .iter()
        .find(|d| d.name == document.dataset)
    {
        lines.push(format!(
            "  from     dataset {} (tier {}, {}), {}@{}, file {}, row {}",
            dataset.name,
            dataset.tier,
            dataset.licence,
            dataset.source,
            &dataset.revision[..dataset.revision.len().min(12)],
            safe(&document.file),
            document.file_row
        ));
    }
    if let Some(meta) = &document.meta {
        lines.push(format!("  meta     {}", safe(meta)));
    }
    lines.push(format!(
        "  text     {} after normalization; row {} of documents.parquet",
        megabytes(document.bytes),
        document.row
    ));
    if let Some(cut) = document.trimmed_bytes {
        lines.push(format!(
            "  trimmed  {} bytes were cut, since they stood before or are of an evaluation set; {} were left",
            grouped(cut),
            grouped(document.bytes.saturating_sub(cut))
        ));
    }
    if let Some(evidence) = &document.evidence {
        lines.push(format!("  found    {}", safe(evidence)));
    }
    if let Some(pii) = &document.pii {
        lines.push(format!("  replaced personal data: {}", safe(pii)));
    }
    let reason = document.reason.as_deref().unwrap_or("");
    match document.verdict.as_str() {
        "quarantined" => lines.push(format!("  verdict  quarantined: it is no document ({reason})")),
        "dropped" if TrimUnit::ALL.iter().any(|unit| unit.reason() == reason) => lines.push(format!(
            "  verdict  passed every rule; dropped since too little of it did not stand before ({reason})"
        )),
        "dropped" if reason == crate::decontaminate::REASON => lines.push("  verdict  passed every rule; dropped for what it has of an evaluation set (contaminated)".to_owned()),
        "dropped" => lines.push(format!("  verdict  passed as a document; dropped by the rule `{reason}`; not compared with others")),
        "duplicate" => {
            let twin = document.kept.and_then(|row| twins.get(&row));
            let similarity = document.similarity.unwrap_or(0.0);
            let how = match reason {
                "exact" => "its text equals".to_owned(),
                "url" => "it has the address of".to_owned(),
                _ => format!("it is alike to {:.0} %:", 100.0 * similarity),
            };
            lines.push(format!("  verdict  passed every rule; dropped as {reason} duplicate"));
            if let (Some(other), Some(row)) = (&document.kept_build, document.kept) {
                let id = in_other(build, other, row);
                lines.push(format!("  kept     {how} {id}"));
                lines.push(format!("           which is in the build {}", safe(other)));
            } else if let Some(twin) = twin {
                let via = if reason == "near" && f64::from(similarity) < threshold(build) { " (joined over others of the cluster)" } else { "" };
                lines.push(format!("  kept     {how} {}{via}", safe(&twin.id)));
                lines.push(format!("           which is {}", stored(twin)));
            }
        }
        _ => {
            lines.push("  verdict  kept".to_owned());
            lines.push(format!("  stored   {}", stored(document)));
        }
    }
    if let (Some(size), Some(root)) = (document.cluster_documents, document.cluster)
        && size > 1
    {
        let first = twins
            .get(&root)
            .map_or_else(String::new, |d| format!(", first {}", safe(&d.id)));
        lines.push(format!("  cluster  {size} documents{first}"));
    }
    lines.join("\n")
}

/// The id of a document of another build, where that stands beside this one.
fn in_other(build: &Build, other: &str, row: u64) -> String {
    let folder = build.folder().with_file_name(other);
    let ids = documents::ids_of(&folder, &[row]).ok();
    ids.and_then(|mut ids| ids.remove(&row))
        .map_or_else(|| format!("row {row} of documents.parquet"), |id| safe(&id))
}

fn threshold(build: &Build) -> f64 {
    let near = build
        .manifest()
        .recipe
        .pointer("/dedup/near/similarity")
        .and_then(serde_json::Value::as_f64);
    near.unwrap_or(0.0)
}

fn stored(document: &Document) -> String {
    match (
        &document.split,
        &document.shard,
        document.token,
        document.tokens,
    ) {
        (Some(split), Some(shard), Some(token), Some(tokens)) => {
            format!(
                "in {split}, {shard}, tokens {} to {}",
                grouped(token),
                grouped(token + u64::from(tokens))
            )
        }
        _ => document.verdict.clone(),
    }
}
