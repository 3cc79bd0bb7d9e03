//! What other crates say of texts, and how fast: `andromeda-language-peers TEXTS.jsonl` prints a JSON object a crate.

use std::hint::black_box;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let file = std::env::args()
        .nth(1)
        .context("name a file of JSON lines with \"text\"")?;
    let texts: Vec<String> = std::fs::read_to_string(&file)
        .with_context(|| file.clone())?
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line)?;
            Ok(row["text"].as_str().context("a row without text")?.to_owned())
        })
        .collect::<anyhow::Result<_>>()?;
    report("whichlang 0.1.1", &texts, |text| {
        Some(whichlang::detect_language(text).three_letter_code())
    });
    report("whatlang 0.18.0", &texts, |text| {
        whatlang::detect_lang(text).map(|lang| lang.code())
    });
    Ok(())
}

/// The best of five rounds, as `andromeda language measure` takes it.
fn report(name: &str, texts: &[String], identify: impl Fn(&str) -> Option<&'static str>) {
    let told: Vec<_> = texts.iter().map(|text| identify(text)).collect();
    let seconds = (0..5)
        .map(|_| {
            let start = cpu_seconds();
            for text in texts {
                black_box(identify(black_box(text)));
            }
            cpu_seconds() - start
        })
        .fold(f64::INFINITY, f64::min);
    let bytes: usize = texts.iter().map(String::len).sum();
    let rate = bytes as f64 / seconds / 1e6;
    println!("{}", json!({"tool": name, "told": told, "rate": rate}));
}

fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
