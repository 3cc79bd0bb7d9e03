//! What the search for duplicates costs as documents grow in number: seconds, memory and disk, within a given memory and
//! without a limit.
//!
//! `cargo bench -p andromeda-pipeline --bench resolve [-- DOCUMENTS ...]`: made-up documents of twelve words (the smallest
//! that have signatures worth the name, so that the search is all there is), one in twenty an exact copy of an earlier one
//! and one in ten a near copy. Each line is a process of its own: `search` is the stage alone, `peak` what the process held
//! at most since it began to search. Files lie in `target/bench/resolve`, about 500 bytes a document.

#![expect(clippy::print_stdout, reason = "a benchmark's report")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use andromeda_pipeline::dedup::cluster::Verify;
use andromeda_pipeline::digest::Digest;
use andromeda_pipeline::execute::dedup::{FilesToFiles, dedup};
use andromeda_pipeline::plan::{FilesOptions, of_files};
use andromeda_pipeline::progress::{Event, Progress, Stage};
use andromeda_pipeline::recipe::{NearOptions, Recipe};
use rustix::time::{ClockId, clock_gettime};

/// Little memory for ten million documents, and more than there is need for.
const MEMORIES: [(&str, u64); 2] = [("512M", 512 << 20), ("no limit", 1 << 40)];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    if let [mode, documents, memory] = arguments.as_slice()
        && mode == "run"
    {
        return run(documents.parse()?, memory.parse()?);
    }
    let mut sizes: Vec<u64> = arguments
        .iter()
        .map(|size| size.replace('_', "").parse())
        .collect::<Result<_, _>>()?;
    if sizes.is_empty() {
        sizes = vec![100_000, 1_000_000];
    }
    println!(
        "{:>12} {:>9} {:>9} {:>9} {:>9} {:>12}  survivors, hash of the table",
        "documents", "memory", "search s", "CPU s", "peak MB", "bytes/doc"
    );
    for documents in sizes {
        for (name, memory) in MEMORIES {
            let output = Command::new(std::env::current_exe()?)
                .args(["run", &documents.to_string(), &memory.to_string()])
                .output()?;
            anyhow::ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let line = String::from_utf8_lossy(&output.stdout);
            println!("{documents:>12} {name:>9} {}", line.trim());
        }
        fs_err::remove_dir_all(folder(documents))?;
    }
    Ok(())
}

fn folder(documents: u64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/bench/resolve")
        .join(documents.to_string())
}

/// One search; the extract stage is done by the first run of a size and found by the second.
fn run(documents: u64, memory: u64) -> anyhow::Result<()> {
    let folder = folder(documents);
    let input = folder.join("made-up.jsonl");
    if !input.exists() {
        write(&input, documents)?;
        // A file that was just written is hashed instead of trusted.
        std::thread::sleep(std::time::Duration::from_secs(3));
    }
    let (work, out) = (folder.join("work"), folder.join("out"));
    for again in [work.join("resolve"), out.clone()] {
        if again.exists() {
            fs_err::remove_dir_all(again)?;
        }
    }
    let recipe = Recipe {
        dedup: andromeda_pipeline::recipe::DedupOptions {
            near: Some(NearOptions {
                verify: Verify::Signature,
                ..NearOptions::default()
            }),
            ..Default::default()
        },
        ..Recipe::default()
    };
    let plan = of_files(&FilesOptions {
        inputs: vec![input],
        recipe,
        recipe_name: "bench".to_owned(),
        text: "text".to_owned(),
        url: None,
        known_again: false,
    })?;
    let options = FilesToFiles {
        out: out.clone(),
        pairs: None,
        id: "id".to_owned(),
        work: work.clone(),
        threads: std::thread::available_parallelism()?.get(),
        memory_bytes: memory,
        skip_bad_files: false,
    };
    let watch = Watch(Mutex::default());
    let done = dedup(&plan, &options, &watch, &AtomicBool::new(false))?;
    let marks = watch.0.into_inner().unwrap_or_default();
    let [begun, ended] = marks.as_slice() else {
        anyhow::bail!("the search was not run");
    };
    let stored: u64 = folder_bytes(&work)?;
    println!(
        "{:>9.2} {:>9.2} {:>9.0} {:>12.0}  {} {}",
        (ended.0 - begun.0).as_secs_f64(),
        ended.1 - begun.1,
        ended.2 as f64 / 1e6,
        stored as f64 / documents as f64,
        done.report.total.kept,
        // Equal where the results are.
        &Digest::of_file(&out.join("duplicates.tsv"))?.hex()[..16]
    );
    Ok(())
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        bytes += match entry.file_type()?.is_dir() {
            true => folder_bytes(&entry.path())?,
            false => entry.metadata()?.len(),
        };
    }
    Ok(bytes)
}

/// When the search began and ended, processor seconds then, and the most memory held in between.
struct Watch(Mutex<Vec<(Instant, f64, u64)>>);

impl Progress for Watch {
    fn event(&self, event: &Event) {
        if let Event::Stage { stage, .. } = event
            && matches!(stage, Stage::Resolve | Stage::Finish)
            && let Ok(mut marks) = self.0.lock()
        {
            let time = clock_gettime(ClockId::ProcessCPUTime);
            let cpu = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
            marks.push((Instant::now(), cpu, peak()));
            // From here on the peak is that of the search.
            let _ = std::fs::write("/proc/self/clear_refs", "5");
        }
    }
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn write(path: &Path, documents: u64) -> anyhow::Result<()> {
    fs_err::create_dir_all(path.parent().expect("it is in a folder"))?;
    let mut file = std::io::BufWriter::with_capacity(1 << 20, fs_err::File::create(path)?);
    let mut text = String::new();
    for document in 0..documents {
        let kind = number(document, 0) % 100;
        // A copy of a document that is no copy itself, or nearly so.
        let source = match kind {
            0..15 if document > 0 => number(document, 1) % document,
            _ => document,
        };
        text.clear();
        for word in 0..12 {
            let word = number(source, 2 + word) % 200_000;
            text.push_str(&format!("w{word:x} "));
        }
        if (5..15).contains(&kind) {
            text.push_str("indeed");
        }
        writeln!(file, "{{\"id\":{document},\"text\":\"{text}\"}}")?;
    }
    file.flush()?;
    Ok(())
}

/// A number that looks like chance and is a function of two others.
fn number(a: u64, b: u64) -> u64 {
    let mut z = (a * 64 + b).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
