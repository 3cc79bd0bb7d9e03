//! Whether ids equal those of `tokenizers` 0.23, on as much text as one likes. The oracle does some 4 MB a second.
//!
//! ```text
//! cargo bench -p andromeda-pipeline --bench exact -- TOKENIZER.json text FILE.jsonl SKIP_MB MB
//! cargo bench -p andromeda-pipeline --bench exact -- TOKENIZER.json mutated FILE.jsonl SEED COUNT
//! ```
//! The first compares the field `text` of each line, MB of them after the first `SKIP_MB`; the second `COUNT` mutated pieces of the first 20
//! MB. Prints what was compared and how many differ, and fails if any does.

#![expect(clippy::print_stdout, reason = "a report")]

#[path = "../src/tokenize/mutate.rs"]
mod mutate;
#[path = "../src/tokenize/probes.rs"]
#[expect(dead_code, reason = "its pieces are used, its texts are not")]
mod probes;

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use andromeda_pipeline::tokenize::Tokenizer;
use anyhow::{Context as _, anyhow, bail};
use serde_json::Value;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [tokenizer, what, corpus, first, second] = arguments.as_slice() else {
        bail!(
            "say TOKENIZER.json text FILE.jsonl SKIP_MB MB, or TOKENIZER.json mutated FILE.jsonl SEED COUNT"
        );
    };
    let mut both = Both::load(Path::new(tokenizer))?;
    println!("{tokenizer}: {}", both.tokenizer.choice());
    match what.as_str() {
        "text" => {
            let (skip, most) = (megabytes(first)?, megabytes(second)?);
            let mut before = 0;
            texts(Path::new(corpus), &mut |text| {
                before += text.len();
                if before > skip {
                    both.compare(&text)?;
                }
                Ok(both.bytes < most)
            })?;
        }
        "mutated" => {
            let mut some = Vec::new();
            let mut bytes = 0;
            texts(Path::new(corpus), &mut |text| {
                bytes += text.len();
                some.push(text);
                Ok(bytes < 20_000_000)
            })?;
            let mut random = mutate::Random::new(first.parse()?);
            for _ in 0..second.parse::<u64>()? {
                both.compare(&mutate::mutated(&some, &mut random))?;
            }
        }
        _ => bail!("{what:?} is neither `text` nor `mutated`"),
    }
    both.tell();
    if both.differ > 0 {
        bail!("{} differ", both.differ);
    }
    Ok(())
}

fn megabytes(text: &str) -> anyhow::Result<usize> {
    Ok(text.parse::<usize>()? * 1_000_000)
}

fn texts(path: &Path, each: &mut dyn FnMut(String) -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    for line in BufReader::new(file).lines() {
        let mut row: Value = serde_json::from_str(&line?)?;
        let Value::String(text) = row["text"].take() else {
            bail!("{} has a row without `text`", path.display());
        };
        if !each(text)? {
            break;
        }
    }
    Ok(())
}

/// What is compared, and how it went.
struct Both {
    tokenizer: Tokenizer,
    oracle: tokenizers_reference::Tokenizer,
    texts: u64,
    bytes: usize,
    tokens: usize,
    differ: u64,
    told: usize,
}

impl Both {
    fn load(path: &Path) -> anyhow::Result<Self> {
        let mut oracle =
            tokenizers_reference::Tokenizer::from_file(path).map_err(|error| anyhow!("{error}"))?;
        oracle.set_encode_special_tokens(true);
        Ok(Self {
            tokenizer: Tokenizer::load(path, None)?,
            oracle,
            texts: 0,
            bytes: 0,
            tokens: 0,
            differ: 0,
            told: 0,
        })
    }

    fn compare(&mut self, text: &str) -> anyhow::Result<()> {
        let mut ids = Vec::new();
        self.tokenizer.encode(text, &mut ids)?;
        let expected = self
            .oracle
            .encode_fast(text, false)
            .map_err(|error| anyhow!("{error}"))?;
        self.texts += 1;
        self.bytes += text.len();
        self.tokens += ids.len();
        if ids != expected.get_ids() {
            self.differ += 1;
            if self.differ <= 5 {
                let start: String = text.chars().take(300).collect();
                println!("other ids for {start:?}");
            }
        }
        if self.bytes >= self.told + 5_000_000 {
            self.told = self.bytes;
            self.tell();
        }
        Ok(())
    }

    fn tell(&self) {
        println!(
            "{} texts, {:.1} MB, {} tokens: {} differ",
            self.texts,
            self.bytes as f64 / 1e6,
            self.tokens,
            self.differ
        );
    }
}
