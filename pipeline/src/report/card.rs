//! The data card of a build: Markdown with the front matter that the Hugging Face hub reads (huggingface.co/docs/hub,
//! "Dataset cards"), after the questions of "Datasheets for Datasets" (Gebru et al., arXiv 1803.09010) that a build can
//! answer of itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use andromeda_format::{Count, Split};

use super::page::{grouped, licences, megabytes, percent, short};
use super::summary::Summary;

/// The card. The same build gives the same bytes.
pub fn card(summary: &Summary) -> String {
    let manifest = &summary.manifest;
    let tokens: u64 = manifest.splits.values().map(|split| split.tokens).sum();
    let funnel = &manifest.funnel;
    let mut out = String::from("---\n");
    let all = licences(summary);
    let licence = match all.as_slice() {
        [(licence, ..)] => licence.to_lowercase(),
        _ => "other".to_owned(),
    };
    let _ = writeln!(out, "pretty_name: {}", quoted(&manifest.name));
    let _ = writeln!(out, "license: {}", quoted(&licence));
    if all.len() > 1 {
        let names: Vec<&str> = all.iter().map(|(licence, ..)| licence.as_str()).collect();
        let _ = writeln!(out, "license_name: {}", quoted(&names.join(", ")));
    }
    if !summary.languages.is_empty() {
        out.push_str("language:\n");
        for language in summary.languages.iter().filter(|(_, counts)| counts[0] > 0) {
            let _ = writeln!(out, "- {}", quoted(language.0));
        }
    }
    out.push_str("task_categories:\n- text-generation\n");
    let _ = writeln!(
        out,
        "size_categories:\n- {}",
        size_category(funnel.kept.documents)
    );
    out.push_str("tags:\n- andromeda\n- pretokenized\n---\n\n");
    let _ = write!(
        out,
        "# {}\n\n{} tokens of {} documents ({} of text) as zstd shards, made from {} documents of {}. Root hash `{}`: it covers every file, and\nthe same sources and recipe give it again.\n\n",
        inline(&manifest.name),
        short(tokens as f64),
        grouped(funnel.kept.documents),
        megabytes(funnel.kept.bytes as f64),
        grouped(funnel.documents_in),
        match manifest.datasets.len() {
            1 => "one dataset".to_owned(),
            many => format!("{many} datasets"),
        },
        manifest.root,
    );
    if !manifest.contaminates.is_empty() {
        let _ = write!(
            out,
            "**Holds rows of the benchmarks {}:** a score on them says nothing of a model trained on this.\n\n",
            inline(&manifest.contaminates.join(", "))
        );
    }
    out.push_str("## Composition\n\n| dataset | tier | kind | documents | tokens | share | licence | source, pinned to |\n|---|---|---|---:|---:|---:|---|---|\n");
    for dataset in &manifest.datasets {
        let of_dataset: u64 = dataset.splits.values().map(|split| split.tokens).sum();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {} `{}` |",
            cell(&dataset.name),
            cell(&dataset.tier),
            cell(&dataset.kind),
            grouped(dataset.funnel.kept.documents),
            grouped(of_dataset),
            percent(of_dataset, tokens),
            cell(&dataset.licence),
            cell(&dataset.source),
            cell(&dataset.revision.chars().take(12).collect::<String>())
        );
    }
    out.push_str("\n## Licences\n\n| licence | tokens | share | datasets |\n|---|---:|---:|---|\n");
    for (licence, names, of_licence) in &all {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            cell(licence),
            grouped(*of_licence),
            percent(*of_licence, tokens),
            cell(&names.join(", "))
        );
    }
    out.push_str("\n## Collection and cleaning\n\n| what became of it | documents | share | text |\n|---|---:|---:|---:|\n");
    let mut line = |name: &str, count: &Count| {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            cell(name),
            grouped(count.documents),
            percent(count.documents, funnel.documents_in),
            megabytes(count.bytes as f64)
        );
    };
    let all_in = Count {
        documents: funnel.documents_in,
        bytes: funnel.bytes_in,
    };
    line("read", &all_in);
    let mut groups = |what: &str, counts: &BTreeMap<String, Count>| {
        for (reason, count) in counts {
            line(&format!("{what}: {reason}"), count);
        }
    };
    groups("no document", &funnel.quarantined);
    groups("dropped", &funnel.dropped);
    groups("duplicate", &funnel.duplicates);
    line("kept", &funnel.kept);
    out.push_str("\nWhy any one document is in or out: `andromeda why ID`; samples of each reason: `andromeda rejects`.\n");
    out.push_str("\n## Splits\n\n| split | documents | tokens | shards | bytes |\n|---|---:|---:|---:|---:|\n");
    for split in Split::ALL {
        if let Some(entry) = manifest.splits.get(&split) {
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                split.name(),
                grouped(entry.documents),
                grouped(entry.tokens),
                entry.shards.len(),
                megabytes(entry.shards.iter().map(|shard| shard.bytes).sum::<u64>() as f64)
            );
        }
    }
    let _ = write!(
        out,
        "\nDocuments of one cluster of duplicates are never in two splits. A shard is zstd frames of little-endian {}-bit ids; `zstd -dc` reads it.\n\n\
         ## Tokenizer\n\n{} with {} ids, sha256 `{}`, in the build as `{}`; every document ends with {} ({}).\n\n\
         ## How it was made\n\n{}, with this recipe:\n\n```json\n{}\n```\n",
        8 * manifest.token_width.bytes(),
        inline(&manifest.tokenizer.kind),
        grouped(u64::from(manifest.tokenizer.vocab_size)),
        manifest.tokenizer.sha256,
        inline(&manifest.tokenizer.file),
        inline(&manifest.tokenizer.end_of_text.token),
        manifest.tokenizer.end_of_text.id,
        inline(&manifest.program),
        serde_json::to_string_pretty(&manifest.recipe).unwrap_or_default()
    );
    out
}

/// The hub's categories of sizes, by rows.
fn size_category(documents: u64) -> &'static str {
    match documents {
        0..1_000 => "n<1K",
        1_000..10_000 => "1K<n<10K",
        10_000..100_000 => "10K<n<100K",
        100_000..1_000_000 => "100K<n<1M",
        1_000_000..10_000_000 => "1M<n<10M",
        10_000_000..100_000_000 => "10M<n<100M",
        100_000_000..1_000_000_000 => "100M<n<1B",
        _ => "n>1B",
    }
}

/// A YAML string: JSON strings are such.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Text within a paragraph of Markdown.
fn inline(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' => {
                out.push('\\');
                out.push(character);
            }
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Text in a cell of a table.
fn cell(text: &str) -> String {
    inline(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_is_no_markup() {
        assert_eq!(inline("a|b\n# *c* <d>"), "a\\|b \\# \\*c\\* \\<d\\>");
        assert_eq!(quoted("x: \"y\"\n"), "\"x: \\\"y\\\"\\n\"");
    }

    #[test]
    fn categories_are_the_hubs() {
        let found = [0, 999, 1_000, 17_077, 2_000_000_000].map(size_category);
        assert_eq!(found, ["n<1K", "n<1K", "1K<n<10K", "10K<n<100K", "n>1B"]);
    }
}
