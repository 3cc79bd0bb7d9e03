//! What replacing personal data and looking for items of evaluation sets cost: MB of text per second of processor time.
//!
//! `cargo bench -p andromeda-pipeline --bench text -- FILE.jsonl [ITEMS.jsonl ...]`: the field `text` of each line of the
//! file, against all strings of the rows of the others, or against 40,000 made-up items of 60 words where there are none.

#![expect(clippy::print_stdout, reason = "a benchmark's report")]

use std::hint::black_box;
use std::io::{BufRead, BufReader};
use std::path::Path;

use andromeda_pipeline::decontaminate::{Builder, DecontaminateOptions};
use andromeda_pipeline::redact::{Kind, PiiOptions, Placeholder, Redactor, Rule};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

const ROUNDS: usize = 3;
/// Bytes of text that are enough.
const MOST_BYTES: usize = 200 << 20;

fn main() -> anyhow::Result<()> {
    let mut paths = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with("--"));
    let corpus = paths
        .next()
        .ok_or_else(|| anyhow::anyhow!("name a file of JSON Lines with a field `text`"))?;
    let mut documents = Vec::new();
    let mut bytes = 0;
    for line in BufReader::new(fs_err::File::open(&corpus)?).lines() {
        let record: Value = serde_json::from_str(&line?)?;
        let text = record["text"].as_str().unwrap_or_default().to_owned();
        bytes += text.len();
        documents.push(text);
        if bytes >= MOST_BYTES {
            break;
        }
    }
    println!(
        "{} documents, {:.1} MB",
        documents.len(),
        bytes as f64 / 1e6
    );
    let report = |name: &str, step: &mut dyn FnMut(&str) -> usize| {
        let mut found = 0;
        let seconds = (0..ROUNDS)
            .map(|_| {
                let start = processor_seconds();
                found = documents.iter().map(|text| step(text)).sum();
                processor_seconds() - start
            })
            .fold(f64::MAX, f64::min);
        let rate = bytes as f64 / 1e6 / seconds;
        println!("{name:<24}{rate:>8.0} MB/s{found:>10} found");
    };

    let all = Redactor::new(&PiiOptions::default());
    report("redact all", &mut |text| black_box(all.find(text)).len());
    for kind in Kind::ALL {
        let options = PiiOptions {
            kinds: vec![kind],
            ..PiiOptions::default()
        };
        let one = Redactor::new(&options);
        report(&format!("redact {}", kind.name()), &mut |text| {
            black_box(one.find(text)).len()
        });
    }
    let datatrove = Redactor::new(&PiiOptions {
        kinds: vec![Kind::Email, Kind::Ip],
        placeholder: Placeholder::Fixed,
        rule: Rule::Datatrove,
    });
    report("redact by datatrove", &mut |text| {
        usize::from(black_box(datatrove.redact(text)).is_some())
    });

    let mut builder = Builder::new(&DecontaminateOptions::default());
    let start = processor_seconds();
    let mut items = 0;
    for path in paths {
        builder.set(&path);
        let rows = BufReader::new(fs_err::File::open(Path::new(&path))?).lines();
        for (row, line) in rows.enumerate() {
            let record: Value = serde_json::from_str(&line?)?;
            let mut texts = Vec::new();
            strings(&record, &mut texts);
            builder.item(format!("{path}#{row}"), &texts, None)?;
            items += 1;
        }
    }
    if items == 0 {
        builder.set("made up");
        let mut state = 1u64;
        for number in 0..40_000 {
            let words: Vec<String> = (0..60)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    format!("w{}", state >> 44)
                })
                .collect();
            builder.item(number.to_string(), &[&words.join(" ")], None)?;
            items += 1;
        }
    }
    let index = builder.build()?;
    println!(
        "an index of {items} items in {:.1} s",
        processor_seconds() - start
    );
    report("decontaminate", &mut |text| {
        usize::from(!black_box(index.find(text)).is_empty())
    });
    Ok(())
}

fn strings<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => into.push(text),
        Value::Array(values) => values.iter().for_each(|value| strings(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| strings(value, into)),
        _ => {}
    }
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
