//! What each step costs a document: MB of text per second of processor time, one thread.
//!
//! `cargo bench -p andromeda-pipeline --bench document [-- FILE.jsonl]`: the field `text` of each line of the
//! file, or without one a made-up corpus of English-like prose (Zipf's law over 20,000 words), which is the
//! same on every machine.

#![expect(clippy::print_stdout, reason = "a benchmark's report")]
#![expect(clippy::cast_possible_truncation, reason = "made-up numbers are small")]

use std::hint::black_box;

use andromeda_pipeline::analysis::{Analysis, Scratch};
use andromeda_pipeline::dedup::exact::text_hashes;
use andromeda_pipeline::dedup::signature::{MinHashOptions, MinHasher};
use andromeda_pipeline::dedup::words::for_each_word;
use andromeda_pipeline::filter::{FilterOptions, Filters, Verdict};
use andromeda_pipeline::normalize::Normalize;
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 5;

fn main() -> anyhow::Result<()> {
    let path = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with("--"));
    let documents = match path {
        None => made_up_prose(),
        Some(path) => fs_err::read_to_string(path)?
            .lines()
            .map(|line| {
                let record: serde_json::Value = serde_json::from_str(line)?;
                Ok(record["text"].as_str().unwrap_or_default().to_owned())
            })
            .collect::<anyhow::Result<_>>()?,
    };
    let bytes: usize = documents.iter().map(String::len).sum();
    println!(
        "{} documents, {:.1} MB",
        documents.len(),
        bytes as f64 / 1e6
    );
    let report = |name: &str, mut step: Box<dyn FnMut(&str) + '_>| {
        let seconds = (0..ROUNDS)
            .map(|_| seconds_of(&documents, &mut step))
            .fold(f64::MAX, f64::min);
        println!("{name:<24}{:>8.0} MB/s", bytes as f64 / 1e6 / seconds);
    };

    let normalize = Normalize::default();
    let hasher = MinHasher::new(MinHashOptions::default())?;
    let mut signer = hasher.signer();
    let mut scratch = Scratch::default();
    report(
        "normalize",
        Box::new(|text| drop(black_box(normalize.normalize(text)))),
    );
    report(
        "exact hash",
        Box::new(|text| _ = black_box(text_hashes(text))),
    );
    report(
        "words",
        Box::new(|text| {
            let mut sum = 0;
            for_each_word(text, |start, end| sum += end ^ start);
            black_box(sum);
        }),
    );
    report(
        "signature",
        Box::new(|text| _ = black_box(signer.sign(text).is_some())),
    );
    report(
        "lines and paragraphs",
        Box::new(|text| {
            if let Some(document) = Analysis::new(text, &mut scratch) {
                black_box(document.layout());
            }
        }),
    );
    let mut scratch = Scratch::default();
    report(
        "split words",
        Box::new(|text| {
            if let Some(document) = Analysis::new(text, &mut scratch) {
                black_box(document.split_words());
            }
        }),
    );
    let mut scratch = Scratch::default();
    report(
        "symbols",
        Box::new(|text| {
            if let Some(document) = Analysis::new(text, &mut scratch) {
                black_box(document.symbols());
            }
        }),
    );
    let mut scratch = Scratch::default();
    report(
        "n-grams",
        Box::new(|text| {
            if let Some(document) = Analysis::new(text, &mut scratch) {
                black_box(document.ngrams());
            }
        }),
    );
    for table in [
        "length",
        "code",
        "gopher-quality",
        "gopher-repetition",
        "all",
    ] {
        let tables = ["length", "gopher-quality", "gopher-repetition"];
        let chosen: Vec<&str> = if table == "all" {
            tables.to_vec()
        } else {
            vec![table]
        };
        let written: String = chosen.iter().map(|table| format!("[{table}]\n")).collect();
        let options: FilterOptions = toml::from_str(&written)?;
        let filters = Filters::new(&options).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
        let mut scratch = Scratch::default();
        let kept = documents
            .iter()
            .filter(|text| filters.judge(text, &mut scratch) == Verdict::Keep)
            .count();
        report(
            &format!("filter {table}"),
            Box::new(|text| _ = black_box(filters.judge(text, &mut scratch))),
        );
        println!("{:<24}{kept:>8} kept", "");
    }
    Ok(())
}

fn seconds_of(documents: &[String], step: &mut dyn FnMut(&str)) -> f64 {
    let start = processor_seconds();
    documents.iter().for_each(|text| step(text));
    processor_seconds() - start
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn made_up_prose() -> Vec<String> {
    let mut state = 1_u64;
    let mut next = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut vocabulary: Vec<String> = (0..20_000)
        .map(|rank: u32| {
            let letters = 2 + u64::from((rank + 1).ilog2()) / 3 + next(4);
            (0..letters)
                .map(|_| char::from(b"etaoinshrdlucmfwypvbgkjqxz"[next(26) as usize]))
                .collect()
        })
        .collect();
    // The most frequent words are English ones, so that documents pass the rule of stop words.
    for (word, english) in vocabulary
        .iter_mut()
        .zip(["the", "of", "and", "to", "that"])
    {
        english.clone_into(word);
    }
    (0..4000)
        .map(|_| {
            let mut text = String::new();
            for word in 0..200 + next(600) {
                // A uniform exponent makes ranks follow Zipf's law.
                let rank =
                    (20_000_f64.powf(next(1 << 30) as f64 / f64::from(1 << 30)) - 1.0) as usize;
                text.push_str(&vocabulary[rank]);
                text.push_str(match word % 60 {
                    59 => ".\n\n",
                    14 | 29 | 44 => ". ",
                    7 | 22 => ", ",
                    _ => " ",
                });
            }
            text
        })
        .collect()
}
