//! `andromeda tokenizer show`: what a tokenizer is, and its fertility (tokens a byte and a word; Rust et al. 2021, "How Good is Your
//! Tokenizer?") on texts, by dataset and language.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use andromeda_format::Build;
use serde::Serialize;
use serde_json::json;

use super::super::texts::{self, Fields};
use super::super::{build_folder, grouped, print, print_json, say, table};
use super::{documents, open};
use crate::cli::WhichTokenizer;
use crate::digest::Digest;
use crate::documents as tables;
use crate::screen::safe;
use crate::tokenize::Tokenizer;

/// Documents whose texts are held while their languages are looked up.
const AT_ONCE: u64 = 1 << 20;

/// Of some texts.
#[derive(Default, Clone, Copy, Serialize)]
struct Counts {
    documents: u64,
    bytes: u64,
    characters: u64,
    /// Between white space.
    words: u64,
    tokens: u64,
    /// Texts that could not be encoded.
    refused: u64,
}

impl Counts {
    fn add(&mut self, text: &str, tokens: Option<usize>) {
        let Some(tokens) = tokens else {
            self.refused += 1;
            return;
        };
        self.documents += 1;
        self.bytes += text.len() as u64;
        self.characters += text.chars().count() as u64;
        self.words += text.split_whitespace().count() as u64;
        self.tokens += tokens as u64;
    }

    fn json(&self) -> serde_json::Value {
        json!({"documents": self.documents, "bytes": self.bytes, "characters": self.characters, "words": self.words,
               "tokens": self.tokens, "refused": self.refused, "tokens_per_byte": ratio(self.tokens, self.bytes),
               "tokens_per_word": ratio(self.tokens, self.words)})
    }
}

fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other.max(1) as f64
}

pub(super) fn run(
    which: &WhichTokenizer,
    on: &[PathBuf],
    text: &str,
    language: &str,
    most: u64,
    as_json: bool,
) -> anyhow::Result<()> {
    let (tokenizer, name) = open(which)?;
    // By dataset, then language.
    let mut counts: BTreeMap<(String, String), Counts> = BTreeMap::new();
    match on {
        [] => {}
        [one] if is_build(one, which) => {
            let folder = build_folder(Some(one.clone()), &which.place)?;
            of_build(&tokenizer, &folder, most, &mut counts)?;
        }
        files => {
            let mut ids = Vec::new();
            for file in files {
                let fields = Fields {
                    id: "id",
                    text,
                    other: Some(language),
                };
                let called = file.display().to_string();
                texts::each(std::slice::from_ref(file), &fields, &mut |row| {
                    ids.clear();
                    let tokens = tokenizer
                        .encode(&row.text, &mut ids)
                        .ok()
                        .map(|()| ids.len());
                    let key = (called.clone(), row.other.unwrap_or_default());
                    counts.entry(key).or_default().add(&row.text, tokens);
                    Ok(())
                })?;
            }
        }
    }
    let (id, token) = tokenizer.end_of_text();
    let sha256 = Digest(tokenizer.sha256());
    if as_json {
        let counts: Vec<_> = counts
            .iter()
            .map(|((dataset, language), counts)| {
                let mut entry = counts.json();
                entry["dataset"] = json!(dataset);
                entry["language"] = json!((!language.is_empty()).then_some(language));
                entry
            })
            .collect();
        return print_json(&json!({
            "tokenizer": name, "sha256": sha256, "kind": tokenizer.kind(), "vocab_size": tokenizer.vocab_size(),
            "end_of_text": {"id": id, "token": token}, "engine": tokenizer.encoder_name(), "choice": tokenizer.choice(),
            "on": counts,
        }));
    }
    print(safe(&format!("{name}\nsha256 {sha256}")))?;
    print(safe(&format!(
        "{}, {} ids, end of text {token} = {id}\nencoded by {}",
        tokenizer.kind(),
        grouped(u64::from(tokenizer.vocab_size())),
        tokenizer.choice()
    )))?;
    if on.is_empty() {
        return Ok(());
    }
    let head = [
        "dataset",
        "language",
        "documents",
        "bytes",
        "tokens",
        "tokens/byte",
        "tokens/word",
        "bytes/token",
    ];
    print(format!("\n{}", table(&head, &rows(&counts))))?;
    let refused: u64 = counts.values().map(|counts| counts.refused).sum();
    if refused > 0 {
        say(format!("{} texts cannot be encoded", grouped(refused)));
    }
    Ok(())
}

/// A row for each language of a dataset, and one for all of a dataset where it has several.
fn rows(counts: &BTreeMap<(String, String), Counts>) -> Vec<Vec<String>> {
    let mut datasets: BTreeMap<&str, (Counts, usize)> = BTreeMap::new();
    for ((dataset, _), counts) in counts {
        let (all, languages) = datasets.entry(dataset).or_default();
        *languages += 1;
        all.documents += counts.documents;
        all.bytes += counts.bytes;
        all.words += counts.words;
        all.tokens += counts.tokens;
    }
    let row = |dataset: &str, language: &str, counts: &Counts| {
        vec![
            safe(dataset),
            safe(language),
            grouped(counts.documents),
            grouped(counts.bytes),
            grouped(counts.tokens),
            format!("{:.3}", ratio(counts.tokens, counts.bytes)),
            format!("{:.2}", ratio(counts.tokens, counts.words)),
            format!("{:.2}", ratio(counts.bytes, counts.tokens)),
        ]
    };
    let mut rows = Vec::new();
    for (dataset, (all, languages)) in &datasets {
        if *languages > 1 {
            rows.push(row(dataset, "all", all));
        }
        let own = counts.iter().filter(|((name, _), _)| name == dataset);
        rows.extend(own.map(|((_, language), counts)| row(dataset, language, counts)));
    }
    rows
}

fn is_build(one: &Path, which: &WhichTokenizer) -> bool {
    one.join("manifest.json").is_file()
        || (!one.exists() && which.place.shards.join(one).join("manifest.json").is_file())
}

fn of_build(
    tokenizer: &Tokenizer,
    folder: &Path,
    most: u64,
    counts: &mut BTreeMap<(String, String), Counts>,
) -> anyhow::Result<()> {
    let build = Build::open(folder)?;
    let manifest = build.manifest();
    let own = Tokenizer::load(
        &folder.join(&manifest.tokenizer.file),
        Some(&manifest.tokenizer.end_of_text.token),
    )?;
    let mut found: Vec<(u32, u64, String, Option<usize>)> = Vec::new();
    let mut encoded = Vec::new();
    documents::first(&build, most.min(AT_ONCE), &mut |document| {
        let text = own.decode(document.ids);
        encoded.clear();
        let tokens = tokenizer
            .encode(&text, &mut encoded)
            .ok()
            .map(|()| encoded.len());
        found.push((document.dataset, document.row, text, tokens));
        Ok(())
    })?;
    let rows: Vec<u64> = found.iter().map(|(_, row, ..)| *row).collect();
    let documents = tables::at(folder, &rows)?;
    for (source, row, text, tokens) in found {
        let dataset = manifest
            .datasets
            .get(source as usize)
            .map(|dataset| dataset.name.clone());
        let language = documents
            .get(&row)
            .and_then(|document| document.language.clone());
        let key = (dataset.unwrap_or_default(), language.unwrap_or_default());
        counts.entry(key).or_default().add(&text, tokens);
    }
    Ok(())
}
