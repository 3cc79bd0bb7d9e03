//! A build whose sequences mix two datasets, and what the program tells of it document by document.

use std::collections::BTreeMap;
use std::path::Path;

use andromeda_format::{
    BUILD_FORMAT, Build, Count, DatasetEntry, DocumentEntry, EndOfText, Funnel, Loader,
    LoaderOptions, Manifest, Packing, Sequence, ShardEntry, ShardFlags, ShardSpec, Split,
    SplitEntry, SplitTokens, TokenWidth, TokenizerEntry, VERSION, write_shard,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{VOCABULARY, World, hex, tokenizer};

/// Tokens of a shard: documents cross their ends.
const SHARD_TOKENS: usize = 1_000;
pub(crate) const DATASETS: [&str; 2] = ["prose", "code"];

/// A document: its row, its dataset's number, its ids with the end of text. Prose has 5 bytes a token and code 2.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) row: u64,
    pub(crate) dataset: u32,
    pub(crate) ids: Vec<u32>,
}

const BYTES: [u64; 2] = [5, 2];

/// Prose counts upwards and code stays at one token, which is learnt sooner.
fn planted(split: Split, documents: u64) -> Vec<Planted> {
    let of_split = if split == Split::Train { 0 } else { 7 };
    let document = |number: u64| {
        let dataset = u32::try_from(number * number / 3 % 2).unwrap();
        let length = 6 + (number * 13 + of_split) % 41;
        let id = |place: u64| match dataset {
            0 => u32::try_from((number * 5 + place * (1 + number % 3)) % 30).unwrap() + 1,
            _ => 35,
        };
        let ids = (0..length).map(id).chain([0]).collect();
        Planted {
            row: 1_000 * of_split + 10 + 3 * number,
            dataset,
            ids,
        }
    };
    (0..documents).map(document).collect()
}

fn write_split(folder: &Path, split: Split, planted: &[Planted]) -> SplitEntry {
    let ids: Vec<u32> = planted
        .iter()
        .flat_map(|document| document.ids.clone())
        .collect();
    let mut ends = Vec::new();
    let mut end = 0;
    for document in planted {
        end += document.ids.len();
        ends.push(end);
    }
    let text_bytes = planted
        .iter()
        .map(|document| BYTES[document.dataset as usize] * document.ids.len() as u64);
    let mut entry = SplitEntry {
        tokens: ids.len() as u64,
        documents: planted.len() as u64,
        text_bytes: text_bytes.sum(),
        shards: Vec::new(),
    };
    for (number, of_shard) in ids.chunks(SHARD_TOKENS).enumerate() {
        let (first, last) = (
            number * SHARD_TOKENS,
            number * SHARD_TOKENS + of_shard.len(),
        );
        let spec = ShardSpec {
            width: TokenWidth::U16,
            vocab_size: VOCABULARY,
            end_of_text: 0,
            frame_tokens: 256,
            tokenizer_sha256: Sha256::digest(tokenizer()).into(),
            level: 3,
        };
        let touching = planted
            .iter()
            .zip(&ends)
            .filter(|(document, end)| **end > first && **end - document.ids.len() < last);
        let documents: Vec<DocumentEntry> = touching
            .map(|(document, end)| DocumentEntry {
                end: ((*end).min(last) - first) as u64,
                source: document.dataset,
                row: document.row,
            })
            .collect();
        let flags = ShardFlags {
            continues_from_previous: first > 0 && !ends.contains(&first),
            continues_in_next: !ends.contains(&last),
        };
        let (bytes, _) = write_shard(&spec, of_shard, &documents, &[], flags, Vec::new()).unwrap();
        let file = format!("{}-{number:05}.zst", split.name());
        std::fs::write(folder.join(&file), &bytes).unwrap();
        entry.shards.push(ShardEntry {
            file,
            bytes: bytes.len() as u64,
            sha256: hex(&Sha256::digest(&bytes)),
            tokens: of_shard.len() as u64,
            documents: documents.len() as u64,
        });
    }
    entry
}

fn dataset(name: &str, number: u32, all: &BTreeMap<Split, Vec<Planted>>) -> DatasetEntry {
    let mut splits = BTreeMap::new();
    let mut kept = Count::default();
    for (split, planted) in all {
        let own = planted.iter().filter(|document| document.dataset == number);
        let tokens: u64 = own.clone().map(|document| document.ids.len() as u64).sum();
        let part = SplitTokens {
            tokens,
            documents: own.count() as u64,
            text_bytes: BYTES[number as usize] * tokens,
        };
        kept.documents += part.documents;
        kept.bytes += part.text_bytes;
        splits.insert(*split, part);
    }
    DatasetEntry {
        name: name.to_owned(),
        tier: "sample".to_owned(),
        kind: "text".to_owned(),
        licence: "Apache-2.0".to_owned(),
        source: "made up".to_owned(),
        revision: String::new(),
        files: Vec::new(),
        faults: Vec::new(),
        redacted: BTreeMap::new(),
        funnel: Funnel {
            documents_in: kept.documents,
            bytes_in: kept.bytes,
            kept,
            ..Funnel::default()
        },
        splits,
    }
}

/// A build of 400 training documents, 60 to validate on and 60 to test on.
pub(crate) fn make_mixed_build(folder: &Path) {
    let all = [(Split::Train, 400), (Split::Val, 60), (Split::Test, 60)]
        .map(|(split, documents)| (split, planted(split, documents)));
    make_planted_build(folder, "mixed", DATASETS, &all.into());
}

/// A build called `name` of the documents of two datasets.
pub(crate) fn make_planted_build(
    folder: &Path,
    name: &str,
    names: [&str; 2],
    all: &BTreeMap<Split, Vec<Planted>>,
) {
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer()).unwrap();
    let splits = all
        .iter()
        .map(|(split, planted)| (*split, write_split(folder, *split, planted)));
    let splits: BTreeMap<Split, SplitEntry> = splits.collect();
    let datasets = [0, 1].map(|number| dataset(names[number as usize], number, all));
    let mut funnel = Funnel::default();
    for dataset in &datasets {
        funnel += &dataset.funnel;
    }
    let mut manifest = Manifest {
        format: BUILD_FORMAT.to_owned(),
        version: VERSION,
        root: String::new(),
        name: name.to_owned(),
        fingerprint: String::new(),
        tokenizer: TokenizerEntry {
            file: "tokenizer.json".to_owned(),
            sha256: hex(&Sha256::digest(tokenizer())),
            kind: "word-level".to_owned(),
            vocab_size: VOCABULARY,
            end_of_text: EndOfText {
                id: 0,
                token: "<|endoftext|>".to_owned(),
            },
        },
        token_width: TokenWidth::U16,
        frame_tokens: 256,
        shard_tokens: SHARD_TOKENS as u64,
        datasets: datasets.to_vec(),
        splits,
        funnel,
        tables: Vec::new(),
        recipe: Value::Null,
        contaminates: Vec::new(),
        decontaminated: Vec::new(),
        lists: Vec::new(),
        program: "test".to_owned(),
    };
    std::fs::write(folder.join("manifest.json"), manifest.to_bytes().unwrap()).unwrap();
}

pub(crate) fn mixed_world() -> World {
    let world = World::new();
    std::fs::remove_dir_all(world.folder.path().join("shards")).unwrap();
    make_mixed_build(&world.folder.path().join("shards/mixed"));
    world
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn validation_is_told_by_dataset() {
    let world = mixed_world();
    let stderr = world.call(&["run", "--config", "test.toml"]).stderr;
    let stderr = String::from_utf8(stderr).unwrap();
    for name in DATASETS {
        assert!(stderr.contains(&format!("  {name:<5}  ")), "{stderr}");
    }
    for split in ["val", "test"] {
        let report = json(&world.succeed(&["eval", "test", "--split", split, "--json"]));
        let datasets = report["datasets"].as_array().unwrap();
        assert_eq!(datasets.len(), 2, "{report}");
        let number = |of: &Value, key: &str| of[key].as_f64().unwrap();
        let (mut nats, mut tokens) = (0.0, 0.0);
        for ((of, name), bytes) in datasets.iter().zip(DATASETS).zip(BYTES) {
            assert_eq!(of["dataset"], name);
            let loss = number(of, "validation_loss");
            let bits = loss / std::f64::consts::LN_2 / bytes as f64;
            assert!((number(of, "bits_per_byte") - bits).abs() < 1e-9, "{of}");
            nats += loss * number(of, "trained_tokens");
            tokens += number(of, "trained_tokens");
        }
        assert_eq!(tokens, number(&report, "trained_tokens"));
        // Each token of these is a word, but for what ends a document.
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9 * b.abs();
        let mut words = 0.0;
        let of_all = [(&report, &report["perplexity"])];
        let of_each = datasets.iter().map(|of| {
            let name = of["dataset"].as_str().unwrap();
            (of, &report["perplexities"][name])
        });
        for (at, (of, perplexity)) in of_all.into_iter().chain(of_each).enumerate() {
            let (loss, tokens) = (number(of, "validation_loss"), number(of, "trained_tokens"));
            let counted = number(perplexity, "words");
            assert!(
                counted < tokens && counted > 0.9 * tokens,
                "{perplexity} {tokens}"
            );
            assert!(
                close(number(perplexity, "token"), loss.exp()),
                "{perplexity}"
            );
            assert!(close(
                number(perplexity, "word"),
                (loss * tokens / counted).exp()
            ));
            assert!(close(
                number(perplexity, "byte"),
                number(of, "bits_per_byte").exp2()
            ));
            words += if at == 0 { -counted } else { counted };
        }
        assert_eq!(words, 0.0);
        assert!((nats / tokens - number(&report, "validation_loss")).abs() < 1e-9);
        // One token over and over is learnt before counting is.
        let of = |at: usize| number(&datasets[at], "validation_loss");
        assert!(of(1) < 0.7 * of(0), "{report}");
        let table = world.succeed(&["eval", "test", "--split", split]);
        // The losses of all and of each dataset, and their perplexities.
        assert_eq!(table.lines().count(), 6, "{table}");
    }
    let evaluated: Vec<Value> = world
        .metrics("test")
        .iter()
        .map(|line| json(line))
        .collect();
    let evaluated = evaluated
        .iter()
        .filter(|line| line.get("datasets").is_some());
    assert!(
        evaluated.clone().count() == 6
            && evaluated
                .clone()
                .all(|line| line["datasets"][1]["dataset"] == "code")
    );
}

#[test]
fn a_trace_is_what_the_step_read() {
    let world = mixed_world();
    let folder = world.folder.path().join("shards/mixed");
    let documents = planted(Split::Train, 400);
    for packing in [Packing::Concatenate, Packing::BestFit] {
        let name = serde_json::to_value(packing).unwrap();
        let name = name.as_str().unwrap();
        let set = format!("data.packing={name}");
        let steps = [
            "--set",
            "schedule.steps=5",
            "--set",
            "schedule.warmup-steps=1",
        ];
        let run = ["run", "--config", "test.toml", "--run", name, "--set", &set];
        world.succeed(&[&run[..], &steps[..]].concat());
        let options = LoaderOptions {
            packing,
            ..LoaderOptions::new(64, 0)
        };
        let mut loader =
            Loader::new(&Build::open(&folder).unwrap(), Split::Train, options).unwrap();
        // A step is 4 sequences in 2 micro-batches; the sixth is not done.
        for step in 1..=6_u64 {
            let trace = json(&world.succeed(&["trace", name, &step.to_string(), "--json"]));
            assert_eq!(
                (&trace["step"], &trace["done"]),
                (&step.into(), &(step < 6).into())
            );
            let sequences = trace["sequences"].as_array().unwrap();
            assert_eq!(sequences.len(), 8);
            for (traced, position) in sequences.iter().zip(8 * (step - 1)..) {
                assert_eq!(traced["position"], position);
                let mut sequence = Sequence::default();
                loader.read(position, &mut sequence).unwrap();
                assert_eq!(traced["padding"], sequence.padding);
                of_sequence(traced, &sequence, &documents);
            }
        }
        let text = world.succeed(&["trace", name, "2"]);
        assert!(
            text.contains("\nsequence 8") && text.contains("train-0"),
            "{text}"
        );
        assert!(text.contains("  | w35 w35"), "{text}");
    }
    for step in ["0", "7"] {
        let stderr = world.fail(&["trace", "best-fit", step], 2);
        assert!(
            stderr.contains("it has done 5") && stderr.contains("hint:"),
            "{stderr}"
        );
    }
    let stderr = world.fail(&["trace", "nosuch", "1"], 2);
    assert!(stderr.contains("no run \"nosuch\""), "{stderr}");
    crate::support::make_build(&world.folder.path().join("shards/other"), 1);
    let other = ["trace", "best-fit", "1", "--build", "shards/other"];
    let stderr = world.fail(&other, 2);
    assert!(stderr.contains("was trained on the build"), "{stderr}");
}

/// The documents of a sequence cover it, each with its own text, and lie where they were planted.
fn of_sequence(traced: &Value, sequence: &Sequence, planted: &[Planted]) {
    let mut at = 0;
    let mut trained = 0;
    for document in traced["documents"].as_array().unwrap() {
        let number = |key: &str| usize::try_from(document[key].as_u64().unwrap()).unwrap();
        let (start, end) = (number("start"), number("end"));
        assert_eq!(start, at, "{traced}");
        at = end;
        let ids = &sequence.ids[start..end];
        let words: Vec<String> = ids
            .iter()
            .filter(|&&id| id != 0)
            .map(|id| format!("w{id}"))
            .collect();
        assert_eq!(document["text"], words.join(" "));
        let before = planted
            .iter()
            .take_while(|planted| document["row"] != planted.row);
        let place: usize = before.clone().map(|planted| planted.ids.len()).sum();
        let own = &planted[before.count()];
        assert!(
            own.ids.windows(ids.len()).any(|window| window == ids),
            "{document} {own:?}"
        );
        assert_eq!(document["dataset"], DATASETS[own.dataset as usize]);
        assert_eq!(number("split_token"), place);
        assert_eq!(number("shard_token"), place % SHARD_TOKENS);
        assert_eq!(
            document["shard"],
            format!("train-{:05}.zst", place / SHARD_TOKENS)
        );
        trained += number("trained_tokens");
    }
    assert_eq!(at + sequence.padding, sequence.ids.len());
    assert_eq!(trained, sequence.loss.iter().filter(|&&loss| loss).count());
}
