// What every engine is measured with, by the bench `tokenize` of the pipeline and by the peers.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;

use anyhow::Context as _;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Appends the ids of a text.
pub(crate) type Encode = Box<dyn FnMut(&str, &mut Vec<u32>) -> anyhow::Result<()>>;

/// `ENGINE TOKENIZER CORPUS MEGABYTES HASHES`: loads, encodes the first MEGABYTES of text document by document, prints a JSON object,
/// and writes a hash of each document's ids, a line each, into HASHES.
pub(crate) fn run(load: impl FnOnce(&str, &Path) -> anyhow::Result<Encode>) -> anyhow::Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let mut next = |what: &str| arguments.next().with_context(|| format!("say {what}"));
    let (engine, tokenizer) = (next("which engine")?, next("which tokenizer.json")?);
    let (corpus, megabytes) = (
        next("which file of JSON lines")?,
        next("how many MB")?.parse::<f64>()?,
    );
    let hashes = next("where hashes go")?;
    let texts = texts(Path::new(&corpus), megabytes)?;
    let bytes: usize = texts.iter().map(String::len).sum();
    let resident = status("VmRSS:");
    let start = cpu_seconds();
    let mut encode = load(&engine, Path::new(&tokenizer))?;
    let loaded = cpu_seconds() - start;

    let mut told = String::new();
    let (mut tokens, mut seconds, mut failed) = (0, 0.0, 0);
    let mut ids = Vec::new();
    // Documents in groups, so that reading the clock costs nothing; hashes are made outside of the time.
    for group in texts.chunks(64) {
        let mut ends = Vec::with_capacity(group.len());
        ids.clear();
        let start = cpu_seconds();
        for text in group {
            let before = ids.len();
            if encode(text, &mut ids).is_err() {
                ids.truncate(before);
                failed += 1;
            }
            ends.push(ids.len());
        }
        seconds += cpu_seconds() - start;
        tokens += ids.len();
        let mut from = 0;
        for end in ends {
            let bytes: Vec<u8> = ids[from..end]
                .iter()
                .flat_map(|id| id.to_le_bytes())
                .collect();
            writeln!(told, "{:016x}", xxhash_rust::xxh3::xxh3_64(&bytes))?;
            from = end;
        }
    }
    std::fs::File::create(hashes)?.write_all(told.as_bytes())?;
    let report = json!({
        "engine": engine, "documents": texts.len(), "bytes": bytes, "tokens": tokens, "failed": failed,
        "load_seconds": loaded, "seconds": seconds, "rate": bytes as f64 / 1e6 / seconds,
        // What it needs beside the texts.
        "peak_mb": (status("VmHWM:").saturating_sub(resident)) as f64 * 1024.0 / 1e6,
    });
    println!("{report}");
    Ok(())
}

/// The field `text` of the first lines of a file, until there are so many MB of it.
fn texts(corpus: &Path, megabytes: f64) -> anyhow::Result<Vec<String>> {
    let file = std::fs::File::open(corpus).with_context(|| corpus.display().to_string())?;
    let (mut texts, mut bytes) = (Vec::new(), 0);
    for line in BufReader::with_capacity(1 << 20, file).lines() {
        let mut row: Value = serde_json::from_str(&line?)?;
        let Value::String(text) = row["text"].take() else {
            anyhow::bail!("{} has a row without `text`", corpus.display());
        };
        bytes += text.len();
        texts.push(text);
        if bytes as f64 >= megabytes * 1e6 {
            break;
        }
    }
    Ok(texts)
}

/// Processor time of the process, user and system, in seconds.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A line of `/proc/self/status`, in kB; 0 where there is none.
fn status(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}
