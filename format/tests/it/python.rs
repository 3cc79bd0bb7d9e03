//! The Python package reads what the loader reads: sequence by sequence, id by id, over packings, shuffles, mixtures, epochs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use andromeda_format::{
    Build, Loader, LoaderOptions, MixtureSource, Packing, Sequence, Shuffle, Split,
};
use serde_json::{Value, json};

use crate::corpus::Corpus;

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../python")
}

/// The interpreter that `ANDROMEDA_PYTHON` names, or the machine's, with the package; nothing where it lacks what the package
/// needs, which is said past the test runner's capture.
fn interpreter() -> Option<Command> {
    let python = std::env::var_os("ANDROMEDA_PYTHON").unwrap_or_else(|| "python3".into());
    let command = || {
        let mut command = Command::new(&python);
        command.env("PYTHONPATH", package().join("src"));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    };
    let import = command().args(["-c", "import andromeda_shards"]).output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(command());
    }
    let said = "skipped: the Python package, for want of numpy, zstandard and xxhash; ANDROMEDA_PYTHON names an interpreter that has them\n";
    let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
    None
}

/// `SplitMix64` (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }
}

fn as_json(sequence: &Sequence) -> Value {
    json!({
        "ids": sequence.ids, "loss": sequence.loss, "document_starts": sequence.document_starts, "rows": sequence.rows,
        "first_token": sequence.first_token, "padding": sequence.padding, "source": sequence.source,
    })
}

/// A line of a case: what the loader gives at some positions.
fn case(sources: &[MixtureSource], options: LoaderOptions, random: &mut Random) -> Value {
    let mut loader = Loader::mixture(sources, options).unwrap();
    let epoch = loader.sequences();
    let mut read = Vec::new();
    let mut sequence = Sequence::default();
    let anywhere = (0..12).map(|_| random.below(5 * epoch));
    let positions: Vec<u64> = (0..10)
        .chain(epoch - 1..epoch + 2)
        .chain(anywhere)
        .collect();
    for position in positions {
        loader.read(position, &mut sequence).unwrap();
        read.push(json!([position, as_json(&sequence)]));
    }
    let mut in_order = Vec::new();
    for number in [0, epoch / 2, epoch - 1] {
        loader.read_in_order(number, &mut sequence).unwrap();
        in_order.push(json!([number, as_json(&sequence)]));
    }
    let position = random.below(1 << 40);
    let given: Vec<u64> = loader
        .accounts(position)
        .iter()
        .map(|account| account.given)
        .collect();
    let packing = match options.packing {
        Packing::Concatenate => "concatenate",
        Packing::BestFit => "best-fit",
    };
    let sources: Vec<Value> = sources
        .iter()
        .map(|source| {
            json!({
                "folder": source.build.folder(), "split": source.split.name(), "dataset": source.dataset, "weight": source.weight,
            })
        })
        .collect();
    json!({
        "sources": sources,
        "options": {
            "sequence_tokens": options.sequence_tokens, "seed": options.seed, "packing": packing,
            "chunk_tokens": options.shuffle.chunk_tokens, "group_chunks": options.shuffle.group_chunks,
        },
        "state": loader.state(position).to_json(), "sequences": epoch, "accounts": given, "read": read, "in_order": in_order,
    })
}

#[test]
fn python_reads_the_sequences_that_the_loader_reads() {
    let Some(mut python) = interpreter() else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    // Documents of two datasets in three splits, across frames and shards; one much longer than any sequence.
    let mut corpus = Corpus::small(300);
    for i in (0..900u64).rev() {
        let mut document = corpus.documents[(i * 7 % 40) as usize].clone();
        document.tokens = 2 + i * i * 31 % 257;
        document.masked = match document.source {
            1 => document.tokens / 3..document.tokens / 2,
            _ => 0..0,
        };
        if i % 19 == 5 {
            document.split = Split::Test;
        }
        corpus.documents.push(document);
    }
    corpus.documents[700].tokens = 3000;
    corpus.shard_tokens = 4001;
    corpus.write(&root.path().join("made"));
    let build = Build::open(&root.path().join("made")).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let wide = Build::open(&golden.join("wide")).unwrap();
    let narrow = Build::open(&golden.join("narrow")).unwrap();
    let source = |build: &Build, split, dataset: Option<&str>, weight| MixtureSource {
        build: build.clone(),
        split,
        dataset: dataset.map(str::to_owned),
        weight,
    };
    let train = Split::Train;
    let cases: Vec<(Vec<MixtureSource>, usize)> = vec![
        (vec![source(&build, train, None, 1)], 64),
        (vec![source(&build, train, None, 1)], 1),
        (vec![source(&build, Split::Val, None, 1)], 300),
        (vec![source(&build, train, Some("chat"), 1)], 100),
        (
            vec![
                source(&build, train, Some("prose"), 3),
                source(&build, train, Some("chat"), 5),
            ],
            77,
        ),
        (
            vec![
                source(&build, train, None, 9),
                source(&build, Split::Test, None, 2),
                source(&build, Split::Val, Some("chat"), 1),
            ],
            50,
        ),
        (vec![source(&narrow, train, None, 1)], 5),
        (vec![source(&wide, train, None, 1)], 5),
    ];
    let mut random = Random(2026);
    let mut text = String::new();
    let (mut lines, mut sequences) = (0, 0);
    for (sources, sequence_tokens) in &cases {
        for packing in [Packing::Concatenate, Packing::BestFit] {
            for (chunk_tokens, group_chunks) in
                [(1 << 20, 16), (1500, 3), (700, 1), (900, u64::MAX), (1, 2)]
            {
                let options = LoaderOptions {
                    sequence_tokens: *sequence_tokens,
                    seed: random.next_u64(),
                    packing,
                    shuffle: Shuffle {
                        chunk_tokens,
                        group_chunks,
                    },
                };
                let case = case(sources, options, &mut random);
                sequences += case["read"].as_array().unwrap().len() + 3;
                writeln!(text, "{case}").unwrap();
                lines += 1;
            }
        }
    }
    assert_eq!(lines, 80);
    let file = root.path().join("cases.jsonl");
    std::fs::write(&file, text).unwrap();
    let output = python
        .arg(package().join("tests/compare.py"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let compared: usize = String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(compared, sequences);
}

#[test]
fn the_packages_own_tests_pass() {
    let Some(mut python) = interpreter() else {
        return;
    };
    let output = python
        .args(["-m", "unittest", "discover", "--start-directory"])
        .arg(package().join("tests"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
