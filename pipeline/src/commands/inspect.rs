//! `andromeda inspect`.

use std::path::Path;

use andromeda_format::{Build, Count, Manifest, Split};
use serde_json::json;

use super::{grouped, megabytes, print, print_json, table};
use crate::cli::SplitName;
use crate::documents;
use crate::screen::safe;
use crate::tokenize::Tokenizer;

pub(super) fn run(
    folder: &Path,
    split: SplitName,
    wanted: u64,
    characters: usize,
    as_json: bool,
) -> anyhow::Result<()> {
    let build = Build::open(folder)?;
    let manifest = build.manifest();
    let tokenizer = Tokenizer::load(
        &folder.join(&manifest.tokenizer.file),
        Some(&manifest.tokenizer.end_of_text.token),
    )?;
    let split = Split::from(split);
    let mut shown = Vec::new();
    if wanted > 0
        && manifest
            .splits
            .get(&split)
            .is_some_and(|entry| !entry.shards.is_empty())
    {
        let mut reader = build.shard(split, 0)?;
        let index = reader.index().clone();
        let mut start = 0;
        for (number, document) in index.documents.iter().enumerate() {
            if shown.len() as u64 == wanted {
                break;
            }
            if !(number == 0 && index.continues_from_previous) {
                let mut ids = Vec::new();
                reader.read_tokens(start..document.end, &mut ids)?;
                let masked: u64 = index
                    .masked
                    .iter()
                    .map(|span| {
                        span.end
                            .min(document.end)
                            .saturating_sub(span.start.max(start))
                    })
                    .sum();
                shown.push((document.row, document.source, ids, masked));
            }
            start = document.end;
        }
    }
    let rows: Vec<u64> = shown.iter().map(|(row, ..)| *row).collect();
    let ids = documents::ids_of(folder, &rows)?;
    let end_of_text = manifest.tokenizer.end_of_text.id;
    let shown: Vec<_> = shown
        .into_iter()
        .map(|(row, source, mut tokens, masked)| {
            let count = tokens.len();
            if tokens.last() == Some(&end_of_text) {
                tokens.pop();
            }
            (
                ids.get(&row).cloned().unwrap_or_default(),
                source,
                count,
                masked,
                tokenizer.decode(&tokens),
            )
        })
        .collect();
    if as_json {
        let documents: Vec<_> = shown
            .iter()
            .map(|(id, source, tokens, masked, text)| {
                json!({"id": id, "dataset": manifest.datasets[*source as usize].name, "tokens": tokens, "untrained_tokens": masked,
                       "text": cut(text, characters)})
            })
            .collect();
        return print_json(&json!({ "manifest": manifest, "documents": documents }));
    }
    print(format!("{}  root {}", folder.display(), manifest.root))?;
    print(format!(
        "tokenizer {} ({} ids, {}), end of text {} = {}; tokens are {} bits",
        manifest.tokenizer.kind,
        grouped(u64::from(manifest.tokenizer.vocab_size)),
        &manifest.tokenizer.sha256[..8],
        manifest.tokenizer.end_of_text.token,
        end_of_text,
        8 * manifest.token_width.bytes()
    ))?;
    print(format!(
        "\n{}\n\n{}\n\n{}",
        datasets(manifest),
        funnel(manifest),
        splits(manifest)
    ))?;
    if !manifest.contaminates.is_empty() {
        print(format!(
            "holds rows of the benchmarks {}: a score on them says nothing of a model trained on this build",
            manifest.contaminates.join(", ")
        ))?;
    }
    if !manifest.decontaminated.is_empty() {
        print(format!("\n{}\n", decontaminated(manifest)))?;
    }
    for dataset in &manifest.datasets {
        if !dataset.redacted.is_empty() {
            let kinds = dataset.redacted.iter();
            let kinds: Vec<String> = kinds
                .map(|(kind, count)| {
                    format!(
                        "{} {kind} in {} documents",
                        grouped(count.items),
                        grouped(count.documents)
                    )
                })
                .collect();
            print(format!(
                "personal data replaced in {}: {}",
                dataset.name,
                kinds.join(", ")
            ))?;
        }
    }
    for dataset in &manifest.datasets {
        for fault in &dataset.faults {
            print(safe(&format!(
                "not read to its end: {}/{}, after {} rows: {}",
                dataset.name,
                fault.path,
                grouped(fault.rows_read),
                fault.problem
            )))?;
        }
    }
    for (id, _, tokens, masked, text) in &shown {
        let loss = if *masked > 0 {
            format!(", {masked} without loss")
        } else {
            String::new()
        };
        print(format!(
            "\n── {} · {} tokens{loss} ──\n{}",
            safe(id),
            grouped(*tokens as u64),
            safe(&cut(text, characters))
        ))?;
    }
    Ok(())
}

fn cut(text: &str, characters: usize) -> String {
    let mut out: String = text.chars().take(characters).collect();
    if out.len() < text.len() {
        out.push_str(" […]");
    }
    out
}

/// What was found of each evaluation set.
fn decontaminated(manifest: &Manifest) -> String {
    let rows: Vec<Vec<String>> = manifest
        .decontaminated
        .iter()
        .map(|set| {
            vec![
                set.name.clone(),
                grouped(set.items),
                grouped(set.sought),
                grouped(set.found),
                grouped(set.documents),
            ]
        })
        .collect();
    table(
        &[
            "evaluation set",
            "items",
            "looked for",
            "found",
            "in documents",
        ],
        &rows,
    )
}

fn datasets(manifest: &Manifest) -> String {
    let rows: Vec<Vec<String>> = manifest
        .datasets
        .iter()
        .map(|d| {
            let tokens: u64 = d.splits.values().map(|s| s.tokens).sum();
            vec![
                d.name.clone(),
                d.tier.clone(),
                d.kind.clone(),
                grouped(d.funnel.documents_in),
                grouped(d.funnel.kept.documents),
                grouped(tokens),
                d.licence.clone(),
            ]
        })
        .collect();
    table(
        &[
            "dataset",
            "tier",
            "kind",
            "documents",
            "kept",
            "tokens",
            "licence",
        ],
        &rows,
    )
}

/// What became of the documents that came in.
pub(super) fn funnel(manifest: &Manifest) -> String {
    let funnel = &manifest.funnel;
    let share =
        |count: &Count| 100.0 * count.documents as f64 / (funnel.documents_in.max(1)) as f64;
    let row = |name: String, count: &Count| {
        vec![
            name,
            grouped(count.documents),
            format!("{:.1} %", share(count)),
            megabytes(count.bytes),
        ]
    };
    let mut rows = vec![row(
        "documents in".to_owned(),
        &Count {
            documents: funnel.documents_in,
            bytes: funnel.bytes_in,
        },
    )];
    let groups = [
        ("quarantined", &funnel.quarantined),
        ("dropped", &funnel.dropped),
        ("duplicate", &funnel.duplicates),
    ];
    for (what, counts) in groups {
        rows.extend(
            counts
                .iter()
                .map(|(reason, count)| row(format!("  {what}: {reason}"), count)),
        );
    }
    // Of documents that are kept, so it has no share of its own.
    rows.extend(funnel.trimmed.iter().map(|(what, count)| {
        let mut row = row(format!("  trimmed: {what}"), count);
        row[2] = String::new();
        row
    }));
    rows.push(row("kept".to_owned(), &funnel.kept));
    table(&["", "documents", "share", "text"], &rows)
}

/// Tokens by split.
pub(super) fn splits(manifest: &Manifest) -> String {
    let rows: Vec<Vec<String>> = manifest
        .splits
        .iter()
        .map(|(split, entry)| {
            vec![
                split.name().to_owned(),
                grouped(entry.documents),
                grouped(entry.tokens),
                megabytes(entry.text_bytes),
                grouped(entry.shards.len() as u64),
                megabytes(entry.shards.iter().map(|s| s.bytes).sum()),
            ]
        })
        .collect();
    table(
        &["split", "documents", "tokens", "text", "shards", "on disk"],
        &rows,
    )
}
