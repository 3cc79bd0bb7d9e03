//! What rules cost, and what they say: MB of text per second of processor time, one thread.
//!
//! `cargo bench -p andromeda-pipeline --bench quality -- FILE.jsonl [--megabytes N] [--only NAME]
//! [--verdicts OUT.jsonl]`: the field `text` of each line of the file, up to N MB, and the rates whose name holds NAME. With `--verdicts` the file OUT gets what each rule says of each
//! document, its statistics, and what rules that edit leave, instead of the rates: `bench/quality/agreement.py` holds
//! them against other programs. There, a row's `path` and `language` are asked by the rules for files of programs, and its
//! `answers`, pairs of bytes where one begins and ends, by those for dialogues.

#![expect(clippy::print_stdout, reason = "a benchmark's report")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::ops::Range;

use andromeda_pipeline::analysis::signals::{SIGNALS, Signal, fill};
use andromeda_pipeline::analysis::{Analysis, Scratch, TokenKind};
use andromeda_pipeline::filter::beside::{About, BesideFilters};
use andromeda_pipeline::filter::lists::Lists;
use andromeda_pipeline::filter::{FilterOptions, Filters, Outcome, rules};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 5;

/// The rules whose rates are the ones to watch.
const TOGETHER: [&str; 4] = [
    "gopher-quality@datatrove",
    "gopher-repetition@datatrove",
    "c4@datatrove",
    "fineweb",
];

struct Document {
    id: serde_json::Value,
    text: String,
    about: About,
    answers: Option<Vec<Range<usize>>>,
}

/// The rules for files of programs, by whose they are.
const CODE_FILES: [&str; 3] = ["starcoder", "redpajama", "starcoder2"];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let Some(file) = arguments.first().filter(|first| !first.starts_with("--")) else {
        anyhow::bail!("name a file of JSON lines with a field `text`");
    };
    let megabytes: f64 = value("--megabytes").map_or(Ok(f64::MAX), |n| n.parse())?;
    let documents = read(file, megabytes)?;
    match value("--verdicts") {
        Some(out) => verdicts(&documents, out),
        None => rates(&documents, value("--only").map_or("", String::as_str)),
    }
}

fn read(file: &str, megabytes: f64) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    let mut bytes = 0;
    for line in std::io::BufRead::lines(std::io::BufReader::new(fs_err::File::open(file)?)) {
        if bytes as f64 >= megabytes * 1e6 {
            break;
        }
        let mut record: serde_json::Value = serde_json::from_str(&line?)?;
        let text = record["text"].as_str().unwrap_or_default().to_owned();
        bytes += text.len();
        let said = |key: &str| record[key].as_str().map(str::to_owned);
        let about = About {
            path: said("path"),
            language: said("language"),
            ..About::default()
        };
        let answers: Option<Vec<(usize, usize)>> =
            serde_json::from_value(record["answers"].take())?;
        documents.push(Document {
            id: record["id"].take(),
            text,
            about,
            answers: answers.map(|all| all.into_iter().map(|(from, to)| from..to).collect()),
        });
    }
    Ok(documents)
}

fn filters(names: &[&str]) -> anyhow::Result<Filters> {
    let options = FilterOptions {
        rules: names.iter().map(|&name| name.to_owned()).collect(),
        ..FilterOptions::default()
    };
    Filters::new(&options).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

fn rates(documents: &[Document], only: &str) -> anyhow::Result<()> {
    let bytes: usize = documents.iter().map(|document| document.text.len()).sum();
    println!(
        "{} documents, {:.1} MB",
        documents.len(),
        bytes as f64 / 1e6
    );
    let report = |name: &str, kept: Option<usize>, mut step: Box<dyn FnMut(&str) + '_>| {
        if !name.contains(only) {
            return;
        }
        let seconds = (0..ROUNDS)
            .map(|_| seconds_of(documents, &mut step))
            .fold(f64::MAX, f64::min);
        let rate = bytes as f64 / 1e6 / seconds;
        let kept = kept.map_or(String::new(), |kept| format!("{kept:>9} kept"));
        println!("{name:<44}{rate:>7.1} MB/CPU-s{kept}");
    };
    let four = filters(&TOGETHER)?;
    let in_a_row = |name: &str, rules: &Filters| {
        if !name.contains(only) {
            return;
        }
        let mut scratch = Scratch::default();
        let kept = documents
            .iter()
            .filter(|document| rules.judge(&document.text, &mut scratch).reason().is_none())
            .count();
        report(
            name,
            Some(kept),
            Box::new(|text| _ = black_box(rules.judge(text, &mut scratch))),
        );
    };
    in_a_row("Gopher + C4 + FineWeb, in a row", &four);
    let mut scratch = Scratch::default();
    let mut each = Vec::new();
    report(
        "Gopher + C4 + FineWeb, each judges all",
        None,
        Box::new(|text| {
            four.judge_each(text, None, &mut scratch, &mut each);
            black_box(&each);
        }),
    );
    let signals: Vec<Signal> = SIGNALS
        .iter()
        .filter(|signal| {
            signal.name.starts_with("datatrove-") || signal.name.starts_with("fineweb-")
        })
        .copied()
        .collect();
    let mut scratch = Scratch::default();
    let mut row = Vec::new();
    report(
        "all their statistics, of every document",
        None,
        Box::new(|text| {
            if let Some(document) = Analysis::new(text, &mut scratch) {
                fill(&signals, &document, &mut row);
                black_box(&row);
            }
        }),
    );
    type Part = (&'static str, fn(&Analysis<'_>));
    let parts: [Part; 4] = [
        ("of them: tokens", |d| {
            _ = black_box(d.tokens(TokenKind::English));
        }),
        ("of them: tokens and n-grams", |d| {
            _ = black_box(d.token_ngrams(TokenKind::English));
        }),
        ("of them: lines", |d| _ = black_box(d.lines())),
        ("of them: characters", |d| {
            _ = black_box(d.character_count());
        }),
    ];
    for (name, part) in parts {
        let mut scratch = Scratch::default();
        report(
            name,
            None,
            Box::new(|text| {
                if let Some(document) = Analysis::new(text, &mut scratch) {
                    part(&document);
                }
            }),
        );
    }
    for name in rules::names().filter(|name| !name.starts_with("fineweb-2@")) {
        in_a_row(name, &filters(&[name])?);
    }
    Ok(())
}

fn verdicts(documents: &[Document], out: &str) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(fs_err::File::create(out)?);
    let all: Vec<(&str, Filters)> = rules::names()
        .map(|name| Ok((name, filters(&[name])?)))
        .collect::<anyhow::Result<_>>()?;
    let code: Vec<(String, BesideFilters)> = CODE_FILES
        .iter()
        .filter_map(|rules| code_files(rules).transpose())
        .collect::<anyhow::Result<_>>()?;
    let mut scratch = Scratch::default();
    let mut row = Vec::new();
    for document in documents {
        let mut said = serde_json::Map::new();
        for (name, filters) in &code {
            let value = match filters.judge(&document.about, &document.text, &mut scratch) {
                Some((reason, value)) => serde_json::json!({
                    "keep": false, "reason": { "name": reason }, "says": format!("{reason} {value}")
                }),
                None => serde_json::json!({ "keep": true }),
            };
            said.insert(name.clone(), value);
        }
        for (name, filters) in &all {
            let answers = document.answers.as_deref();
            let value = match filters.apply(&document.text, answers, &mut scratch) {
                Outcome::Drop(reason) => {
                    serde_json::json!({ "keep": false, "reason": reason, "says": reason.to_string() })
                }
                Outcome::Keep(text) if *text == *document.text => {
                    serde_json::json!({ "keep": true })
                }
                Outcome::Keep(text) => serde_json::json!({ "keep": true, "text": text }),
            };
            said.insert((*name).to_owned(), value);
        }
        let mut statistics = BTreeMap::new();
        if let Some(analysis) = Analysis::new(&document.text, &mut scratch) {
            fill(SIGNALS, &analysis, &mut row);
            let names = SIGNALS.iter().map(|signal| signal.name);
            statistics.extend(names.zip(row.iter().copied()));
        }
        let record = serde_json::json!({ "id": document.id, "rules": said, "signals": statistics });
        serde_json::to_writer(&mut out, &record)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    println!("{} documents", documents.len());
    Ok(())
}

fn code_files(rules: &str) -> anyhow::Result<Option<(String, BesideFilters)>> {
    let options = serde_json::from_value(serde_json::json!({ "code-files": { "rules": rules } }))?;
    let filters = BesideFilters::new(&options, &Lists::default()).map_err(anyhow::Error::msg)?;
    Ok(filters.map(|filters| (format!("code-files@{rules}"), filters)))
}

fn seconds_of(documents: &[Document], step: &mut dyn FnMut(&str)) -> f64 {
    let start = processor_seconds();
    documents.iter().for_each(|document| step(&document.text));
    processor_seconds() - start
}

fn processor_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
