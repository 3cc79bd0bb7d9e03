//! Tokens per second of processor time, user and system, one thread.
//!
//! `cargo bench --profile release -p andromeda-format --bench loader -- BUILD [SEQUENCE_TOKENS]` reads an epoch of the split
//! `train` in every order and packing, beside zstd decompressing the same frames and nothing else, and what it costs to go on
//! at 1 %, 50 % and 99 % of an epoch. `-- BUILD table` writes the same ids again with other levels and frame sizes, `-- BUILD shuffles`
//! reads with other chunks and groups.
//! `bench/loader/run.py` runs it beside other programs' loaders.

#![expect(clippy::print_stdout, reason = "a benchmark's report")]
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use andromeda_format::{
    Build, DocumentEntry, Loader, LoaderOptions, MixtureSource, Packing, Prefetch, Sequence,
    ShardFlags, ShardReader, ShardSpec, Shuffle, Split, Stride, write_shard,
};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 3;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"))
        .collect();
    let Some(folder) = arguments.first() else {
        println!("no build was named: -- BUILD [SEQUENCE_TOKENS | table | shuffles]");
        return Ok(());
    };
    let start = Instant::now();
    let build = Build::open(Path::new(folder))?;
    let entry = &build.manifest().splits[&Split::Train];
    println!(
        "opened {} shards, {} tokens, {} documents in {:.2?}",
        entry.shards.len(),
        entry.tokens,
        entry.documents,
        start.elapsed()
    );
    match arguments.get(1).map(String::as_str) {
        Some("table") => table(&build),
        Some("shuffles") => shuffles(&build),
        Some(what @ ("shuffled" | "stored")) => {
            // For a profiler: one thing, several times.
            let tokens = entry.tokens;
            let length = arguments.get(2).map_or(Ok(2048), |length| length.parse())?;
            let make = || Loader::new(&build, Split::Train, LoaderOptions::new(length, 1));
            for _ in 0..ROUNDS {
                let rate = match what {
                    "stored" => in_order(&make)?,
                    _ => epoch(&make, tokens, false)?,
                };
                println!("{:.1}", rate / 1e6);
            }
            Ok(())
        }
        length => rates(&build, length.map_or(Ok(2048), str::parse)?),
    }
}

/// Processor time of the whole process, all threads, user and system.
fn processor_seconds() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}

fn rates(build: &Build, sequence_tokens: usize) -> Result<(), Box<dyn Error>> {
    let tokens = build.manifest().splits[&Split::Train].tokens;
    let shards = frames_of(build)?;
    let options = LoaderOptions::new(sequence_tokens, 1);
    let full = LoaderOptions {
        shuffle: Shuffle::FULL,
        ..options
    };
    let best_fit = LoaderOptions {
        packing: Packing::BestFit,
        ..options
    };
    let datasets = build.manifest().datasets.iter();
    let datasets: Vec<MixtureSource> = datasets
        .filter_map(|dataset| {
            let tokens = dataset.splits.get(&Split::Train)?.tokens;
            (tokens > sequence_tokens as u64).then(|| MixtureSource {
                build: build.clone(),
                split: Split::Train,
                dataset: Some(dataset.name.clone()),
                weight: tokens / 1000 + 1,
            })
        })
        .collect();
    let one = |options| move || Loader::new(build, Split::Train, options);
    let mixed = || Loader::mixture(&datasets, options);
    let mut rows: Vec<(&str, Vec<f64>)> = Vec::new();
    for round in 0..ROUNDS {
        let mut measured = vec![
            ("zstd alone", bare(&shards)?),
            ("shuffled", epoch(&one(options), tokens, false)?),
            ("in stored order", in_order(&one(options))?),
            ("best-fit, shuffled", epoch(&one(best_fit), tokens, false)?),
            ("datasets mixed, shuffled", epoch(&mixed, tokens, false)?),
            ("shuffled, read ahead", epoch(&one(options), tokens, true)?),
        ];
        if round == 0 {
            // A frame for each sequence: a part of an epoch is enough.
            measured.push(("full shuffle", epoch(&one(full), tokens / 20, false)?));
        }
        for (i, (name, rate)) in measured.into_iter().enumerate() {
            match rows.get_mut(i) {
                Some((_, rates)) => rates.push(rate),
                None => rows.push((name, vec![rate])),
            }
        }
    }
    let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
    let yardstick = best(&rows[0].1);
    for (name, rates) in &rows {
        let rate = best(rates);
        println!(
            "{name:<26}{:>8.1} million tokens a CPU-second  {:.2} of zstd",
            rate / 1e6,
            rate / yardstick
        );
    }
    resume("", &one(options))?;
    resume(", best-fit", &one(best_fit))
}

/// Rates by the size of chunks and groups.
fn shuffles(build: &Build) -> Result<(), Box<dyn Error>> {
    let tokens = build.manifest().splits[&Split::Train].tokens;
    let shards = frames_of(build)?;
    println!("chunk tokens  chunks a group  MiB of two-byte ids  of zstd");
    for chunk_tokens in [1 << 18, 1 << 19, 1 << 20, 1 << 21] {
        for group_chunks in [4, 8, 16, 32] {
            let options = LoaderOptions {
                shuffle: Shuffle {
                    chunk_tokens,
                    group_chunks,
                },
                ..LoaderOptions::new(2048, 1)
            };
            let (mut zstd, mut rate) = (0f64, 0f64);
            for _ in 0..ROUNDS {
                zstd = zstd.max(bare(&shards)?);
                let make = || Loader::new(build, Split::Train, options);
                rate = rate.max(epoch(&make, tokens, false)?);
            }
            println!(
                "{chunk_tokens:>12}{group_chunks:>16}{:>21}{:>9.2}",
                (chunk_tokens * group_chunks) >> 19,
                rate / zstd
            );
        }
    }
    Ok(())
}

/// Reads about `tokens` tokens in the loader's order; tokens a second.
fn epoch(
    make: &dyn Fn() -> andromeda_format::Result<Loader>,
    tokens: u64,
    ahead: bool,
) -> Result<f64, Box<dyn Error>> {
    let mut loader = make()?;
    let sequences = loader.sequences();
    let mut sequence = Sequence::default();
    loader.read(0, &mut sequence)?;
    let count = sequences.min(tokens / sequence.loss.len() as u64);
    // Start-up is not counted: the first sequences bring the buffers into being.
    let warm = count / 8;
    let mut read = 0;
    let start;
    if ahead {
        let mut prefetch = Prefetch::start(loader, Stride::alone(0), 64)?;
        for _ in 0..warm {
            prefetch.read(&mut sequence)?;
        }
        start = processor_seconds();
        for _ in 0..count {
            prefetch.read(&mut sequence)?;
            read += sequence.loss.len() - sequence.padding;
        }
    } else {
        for position in 0..warm {
            loader.read(position, &mut sequence)?;
        }
        start = processor_seconds();
        for position in warm..warm + count {
            loader.read(position, &mut sequence)?;
            read += sequence.loss.len() - sequence.padding;
        }
    }
    Ok(read as f64 / (processor_seconds() - start))
}

fn in_order(make: &dyn Fn() -> andromeda_format::Result<Loader>) -> Result<f64, Box<dyn Error>> {
    let mut loader = make()?;
    let mut sequence = Sequence::default();
    let start = processor_seconds();
    let mut read = 0;
    for number in 0..loader.sequences() {
        loader.read_in_order(number, &mut sequence)?;
        read += sequence.loss.len();
    }
    Ok(read as f64 / (processor_seconds() - start))
}

/// What it costs to make a loader that goes on somewhere, to its first sequence and to its thousandth.
fn resume(
    what: &str,
    make: &dyn Fn() -> andromeda_format::Result<Loader>,
) -> Result<(), Box<dyn Error>> {
    let sequences = make()?.sequences();
    for percent in [1, 50, 99] {
        let position = 3 * sequences + sequences * percent / 100;
        let mut first = f64::MAX;
        let mut thousand = f64::MAX;
        for _ in 0..ROUNDS {
            let start = processor_seconds();
            let state = make()?.state(position);
            let mut loader = make()?;
            let at = loader.resume(&state)?;
            let mut sequence = Sequence::default();
            loader.read(at, &mut sequence)?;
            first = first.min(processor_seconds() - start);
            for next in 1..1000 {
                loader.read(at + next, &mut sequence)?;
            }
            thousand = thousand.min(processor_seconds() - start);
        }
        println!(
            "go on at {percent:>2} % of epoch 3{what}: first sequence after {:.1} CPU-ms, 1000 sequences {:.0} CPU-ms",
            first * 1e3,
            thousand * 1e3
        );
    }
    Ok(())
}

/// A shard's file and the sizes of its frames, from its seek table.
type Frames = (PathBuf, Vec<(usize, usize)>);

fn frames_of(build: &Build) -> Result<Vec<Frames>, Box<dyn Error>> {
    let mut shards = Vec::new();
    for shard in &build.manifest().splits[&Split::Train].shards {
        let path = build.folder().join(&shard.file);
        let bytes = std::fs::read(&path)?;
        let word = |at: usize| -> Result<usize, Box<dyn Error>> {
            Ok(u32::from_le_bytes(bytes[at..at + 4].try_into()?) as usize)
        };
        let entries = word(bytes.len() - 9)?;
        let table = bytes.len() - 9 - entries * 8;
        let frames = (0..entries - 1).map(|i| Ok((word(table + i * 8)?, word(table + i * 8 + 4)?)));
        shards.push((path, frames.collect::<Result<_, Box<dyn Error>>>()?));
    }
    Ok(shards)
}

/// Every frame decompressed into one buffer and forgotten: what no reader of these bytes can do better with this library.
fn bare(shards: &[Frames]) -> Result<f64, Box<dyn Error>> {
    let mut zstd = zstd::bulk::Decompressor::new()?;
    let mut into = Vec::new();
    let mut bytes = Vec::new();
    let start = processor_seconds();
    let mut tokens = 0;
    for (path, frames) in shards {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::open(path)?;
        let mut at = 0;
        for (compressed, raw) in frames {
            bytes.resize(*compressed, 0);
            file.read_exact_at(&mut bytes, at)?;
            into.resize(*raw, 0);
            tokens += zstd.decompress_to_buffer(&bytes, &mut into[..])? / 2;
            at += *compressed as u64;
        }
    }
    Ok(tokens as f64 / (processor_seconds() - start))
}

/// Size, writing and reading of the same ids with other levels and frame sizes.
fn table(build: &Build) -> Result<(), Box<dyn Error>> {
    let mut source = build.shard(Split::Train, 0)?;
    let tokens = source.index().tokens.min(8 << 20);
    let mut ids = Vec::new();
    source.read_tokens(0..tokens, &mut ids)?;
    let index = source.index();
    let raw = ids.len() as f64 * index.width.bytes() as f64;
    println!("{tokens} tokens of {}", source.path().display());
    println!(
        "level  frame tokens  of raw size  write MB/s  sequential MB/s  a sequence of 2048 us"
    );
    let path = std::env::temp_dir().join(format!("andromeda-table-{}.zst", std::process::id()));
    for level in [1, 3, 6, 9, 19] {
        for frame_tokens in [1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20] {
            if level == 19 && frame_tokens != 1 << 16 {
                continue;
            }
            let spec = ShardSpec {
                width: index.width,
                vocab_size: index.vocab_size,
                end_of_text: index.end_of_text,
                frame_tokens,
                tokenizer_sha256: index.tokenizer_sha256,
                level,
            };
            let documents = [DocumentEntry {
                end: tokens,
                source: 0,
                row: 0,
            }];
            let flags = ShardFlags::default();
            let start = processor_seconds();
            let (bytes, _) = write_shard(&spec, &ids, &documents, &[], flags, Vec::new())?;
            let write = processor_seconds() - start;
            std::fs::write(&path, &bytes)?;
            let mut read = f64::MAX;
            for _ in 0..ROUNDS {
                let shard = ShardReader::open(&path)?;
                let start = processor_seconds();
                shard.verify()?;
                read = read.min(processor_seconds() - start);
            }
            let mut shard = ShardReader::open(&path)?;
            let mut into = Vec::new();
            let start = processor_seconds();
            let looks = 200u64;
            for look in 0..looks {
                // A multiplicative hash (Knuth, volume 3) spreads the places.
                let at = look.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (tokens - 2049);
                into.clear();
                shard.read_tokens(at..at + 2049, &mut into)?;
            }
            let random = (processor_seconds() - start) / looks as f64;
            println!(
                "{level:>5}{frame_tokens:>14}{:>13.3}{:>12.0}{:>17.0}{:>22.0}",
                bytes.len() as f64 / raw,
                raw / 1e6 / write,
                raw / 1e6 / read,
                random * 1e6
            );
        }
    }
    std::fs::remove_file(&path)?;
    Ok(())
}
