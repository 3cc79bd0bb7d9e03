//! `andromeda inspect`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use andromeda_format::{Build, Count, Manifest, Split};
use serde::Deserialize as _;
use serde_json::json;

use super::{grouped, megabytes, print, print_json, table};
use crate::cli::SplitName;
use crate::documents;
use crate::render::ChatFormat;
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
    let file = folder.join(&manifest.tokenizer.file);
    let names = chat_format(manifest).reserved();
    let tokenizer = Tokenizer::with_reserved(
        &fs_err::read(&file)?,
        &file,
        Some(&manifest.tokenizer.end_of_text.token),
        names,
    )?;
    let reserved: BTreeMap<&str, u32> = names
        .iter()
        .copied()
        .zip(tokenizer.reserved().to_vec())
        .collect();
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
                let spans = index.masked.iter().filter_map(|span| {
                    let span = span.start.max(start)..span.end.min(document.end);
                    (!span.is_empty()).then(|| span.start - start..span.end - start)
                });
                shown.push((
                    document.row,
                    document.source,
                    ids,
                    spans.collect::<Vec<_>>(),
                ));
            }
            start = document.end;
        }
    }
    let rows: Vec<u64> = shown.iter().map(|(row, ..)| *row).collect();
    let ids = documents::ids_of(folder, &rows)?;
    let end_of_text = manifest.tokenizer.end_of_text.id;
    let shown: Vec<Shown> = shown
        .into_iter()
        .map(|(row, source, tokens, masked)| Shown {
            id: ids.get(&row).cloned().unwrap_or_default(),
            dataset: manifest.datasets[source as usize].name.clone(),
            tokens: tokens.len() as u64,
            text: tokenizer.decode(without_end(&tokens, end_of_text)),
            parts: parts(without_end(&tokens, end_of_text), &masked, &tokenizer),
            masked,
        })
        .collect();
    if as_json {
        let documents: Vec<_> = shown
            .iter()
            .map(|shown| {
                let masked: Vec<[u64; 2]> =
                    shown.masked.iter().map(|span| [span.start, span.end]).collect();
                json!({"id": shown.id, "dataset": shown.dataset, "tokens": shown.tokens, "untrained_tokens": shown.untrained(),
                       "masked": masked, "text": cut(&shown.text, characters)})
            })
            .collect();
        return print_json(
            &json!({ "manifest": manifest, "reserved": reserved, "documents": documents }),
        );
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
    if !reserved.is_empty() {
        let tokens = reserved.iter().map(|(token, id)| format!("{token} = {id}"));
        let tokens: Vec<String> = tokens.collect();
        print(format!(
            "turns of dialogues stand between tokens that no text becomes: {}",
            tokens.join(", ")
        ))?;
    }
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
    for shown in &shown {
        let loss = match shown.untrained() {
            0 => String::new(),
            untrained => format!(", {untrained} without loss: ‹what they say›"),
        };
        print(format!(
            "\n── {} · {} tokens{loss} ──\n{}",
            safe(&shown.id),
            grouped(shown.tokens),
            safe(&match shown.masked.is_empty() {
                true => cut(&shown.text, characters),
                false => marked(&shown.parts, characters),
            })
        ))?;
    }
    Ok(())
}

/// A document that is shown.
struct Shown {
    id: String,
    dataset: String,
    tokens: u64,
    /// Ranges of its tokens that carry no loss.
    masked: Vec<Range<u64>>,
    text: String,
    parts: Vec<Part>,
}

impl Shown {
    fn untrained(&self) -> u64 {
        self.masked.iter().map(|span| span.end - span.start).sum()
    }
}

/// A stretch of a document.
struct Part {
    trained: bool,
    text: String,
}

/// A document without the end of text that every one has.
fn without_end(ids: &[u32], end_of_text: u32) -> &[u32] {
    ids.strip_suffix(&[end_of_text]).unwrap_or(ids)
}

/// The text of a document by what carries loss and what does not.
fn parts(ids: &[u32], masked: &[Range<u64>], tokenizer: &Tokenizer) -> Vec<Part> {
    let place = |token: u64| usize::try_from(token).unwrap_or(usize::MAX).min(ids.len());
    let mut parts = Vec::new();
    let mut add = |range: Range<usize>, trained| {
        if !range.is_empty() {
            let text = tokenizer.decode(&ids[range]);
            parts.push(Part { trained, text });
        }
    };
    let mut from = 0;
    for span in masked {
        let (start, end) = (place(span.start), place(span.end));
        add(from..start, true);
        add(start..end, false);
        from = end;
    }
    add(from..ids.len(), true);
    parts
}

/// The beginning of a document, what carries no loss between `‹` and `›`.
fn marked(parts: &[Part], mut characters: usize) -> String {
    let mut out = String::new();
    for part in parts {
        let text = cut(&part.text, characters);
        match part.trained {
            true => out.push_str(&text),
            false => out.extend(["‹", &text, "›"]),
        }
        characters = characters.saturating_sub(part.text.chars().count());
        if characters == 0 {
            break;
        }
    }
    out
}

/// How the build's dialogues are written down.
fn chat_format(manifest: &Manifest) -> ChatFormat {
    let written = manifest.recipe.pointer("/chat/format");
    let format = written.and_then(|name| ChatFormat::deserialize(name).ok());
    format.unwrap_or_default()
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
