//! What the tests of the program share: tiny builds of a source with known entropy, and the program itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use andromeda_format::{
    BUILD_FORMAT, Build, Count, DatasetEntry, DocumentEntry, EndOfText, Funnel, Manifest,
    ShardEntry, ShardFlags, ShardSpec, Split, SplitEntry, SplitTokens, TokenWidth, TokenizerEntry,
    VERSION, write_shard,
};
use andromeda_trainer::random::Stream;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) const VOCABULARY: u32 = 40;

/// After token i comes i + 1, i + 2 or i + 4 (modulo 32, plus 1) with 1/2, 1/4, 1/4; token 0 ends a document after every 500.
pub(crate) fn tokens(seed: u64, count: usize) -> Vec<u32> {
    let stream = Stream::new(seed, "markov");
    let mut state = 0;
    (0..count as u64)
        .map(|i| {
            state = (state + [1, 1, 2, 4][(stream.bits(i) >> 62) as usize]) % 32;
            if i % 500 == 499 { 0 } else { state + 1 }
        })
        .collect()
}

pub(crate) fn tokenizer() -> Vec<u8> {
    let mut vocabulary = BTreeMap::from([("<|endoftext|>".to_owned(), 0)]);
    vocabulary.extend((1..VOCABULARY).map(|id| (format!("w{id}"), id)));
    let end = serde_json::json!({
        "id": 0, "content": "<|endoftext|>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true
    });
    let tokenizer = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [end], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w39"}
    });
    serde_json::to_vec(&tokenizer).unwrap()
}

pub(crate) struct World {
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_build(&folder.path().join("shards/markov"), 1);
        let config = "[model]\nwidth = 64\nlayers = 2\nheads = 2\nhead-size = 32\n\
            [data]\nsequence-tokens = 64\nsequences-per-micro-batch = 4\nmicro-batches-per-step = 2\n\
            [schedule]\nsteps = 40\nwarmup-steps = 5\npeak-learning-rate = 3e-3\n\
            [run]\nsave-every-steps = 3\nevaluate-every-steps = 7\nevaluation-sequences = 8\n\
            [sample]\ntokens = 8\n";
        std::fs::write(folder.path().join("test.toml"), config).unwrap();
        Self { folder }
    }

    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_andromeda-train"));
        command
            .current_dir(self.folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Output {
        self.program(arguments).output().unwrap()
    }

    /// Calls the program, which must succeed, and returns its stdout.
    pub(crate) fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.call(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Calls the program, which must fail with `code`, and returns its stderr.
    pub(crate) fn fail(&self, arguments: &[&str], code: i32) -> String {
        let output = self.call(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        stderr
    }

    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.folder.path().join("runs").join(name)
    }

    /// Lines of the metrics without the numbers that depend on the clock.
    pub(crate) fn metrics(&self, name: &str) -> Vec<String> {
        let text =
            std::fs::read_to_string(self.run(name).join("metrics.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .map(|mut line| {
                for timed in ["tokens_per_second", "data_wait_seconds", "mfu"] {
                    line.as_object_mut().unwrap().remove(timed);
                }
                line.to_string()
            })
            .collect()
    }

    /// Every byte of the checkpoint at the end of the run.
    pub(crate) fn last_checkpoint(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        bytes_of(&self.run(name).join("step-00000040"))
    }
}

/// Waits until the metrics of a run have so many lines: one a step, one an evaluation.
pub(crate) fn wait_for(world: &World, name: &str, lines: usize, child: &mut Child) {
    let start = Instant::now();
    loop {
        // Asked first: what it wrote before its end counts.
        let ended = child.try_wait().unwrap().is_some();
        if world.metrics(name).len() >= lines {
            return;
        }
        assert!(!ended, "the run ended early");
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "the run does not get on"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The files of a folder, not of the folders in it.
pub(crate) fn bytes_of(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap());
    let files = files.filter(|file| file.file_type().unwrap().is_file());
    files
        .map(|file| {
            (
                file.file_name().into_string().unwrap(),
                std::fs::read(file.path()).unwrap(),
            )
        })
        .collect()
}

/// A build of 60,000 training tokens in three shards and 4,000 validation tokens in one.
pub(crate) fn make_build(folder: &Path, seed: u64) {
    make_mixture(folder, seed, &["markov"]);
}

/// The same, and document after document, from each shard's first, is of the dataset whose name is next in `turns`.
pub(crate) fn make_mixture(folder: &Path, seed: u64, turns: &[&str]) {
    const SHARD_TOKENS: usize = 20_000;
    let mut names = turns.to_vec();
    names.sort_unstable();
    names.dedup();
    let mut of_datasets = vec![BTreeMap::<Split, SplitTokens>::new(); names.len()];
    std::fs::create_dir_all(folder).unwrap();
    let tokenizer = tokenizer();
    std::fs::write(folder.join("tokenizer.json"), &tokenizer).unwrap();
    let mut splits = BTreeMap::new();
    for (split, seed, count) in [
        (Split::Train, seed, 60_000),
        (Split::Val, seed + 100, 4_000),
    ] {
        let mut entry = SplitEntry::default();
        for (number, ids) in tokens(seed, count).chunks(SHARD_TOKENS).enumerate() {
            let spec = ShardSpec {
                width: TokenWidth::U16,
                vocab_size: VOCABULARY,
                end_of_text: 0,
                frame_tokens: 4_096,
                tokenizer_sha256: Sha256::digest(&tokenizer).into(),
                level: 3,
            };
            let turns = turns.iter().cycle();
            let documents: Vec<DocumentEntry> = (1..=ids.len() as u64 / 500)
                .zip(turns)
                .map(|(document, name)| {
                    let source = names.binary_search(name).unwrap();
                    let counts = of_datasets[source].entry(split).or_default();
                    counts.documents += 1;
                    counts.tokens += 500;
                    counts.text_bytes += 2_000;
                    DocumentEntry {
                        end: document * 500,
                        source: u32::try_from(source).unwrap(),
                        row: document,
                    }
                })
                .collect();
            let flags = ShardFlags::default();
            let (bytes, _) = write_shard(&spec, ids, &documents, &[], flags, Vec::new()).unwrap();
            let file = format!("{}-{number:05}.zst", split.name());
            std::fs::write(folder.join(&file), &bytes).unwrap();
            entry.shards.push(ShardEntry {
                file,
                bytes: bytes.len() as u64,
                sha256: hex(&Sha256::digest(&bytes)),
                tokens: ids.len() as u64,
                documents: documents.len() as u64,
            });
            entry.tokens += ids.len() as u64;
            entry.documents += documents.len() as u64;
            entry.text_bytes += 4 * ids.len() as u64;
        }
        splits.insert(split, entry);
    }
    let funnel = |documents: u64| {
        let kept = Count {
            documents,
            bytes: 2_000 * documents,
        };
        Funnel {
            documents_in: kept.documents,
            bytes_in: kept.bytes,
            kept,
            ..Funnel::default()
        }
    };
    let datasets = names.iter().zip(of_datasets).map(|(name, splits)| {
        let documents = splits.values().map(|counts| counts.documents).sum();
        DatasetEntry {
            name: (*name).to_owned(),
            tier: "sample".to_owned(),
            kind: "text".to_owned(),
            licence: "Apache-2.0".to_owned(),
            source: "made up".to_owned(),
            revision: String::new(),
            files: Vec::new(),
            faults: Vec::new(),
            redacted: BTreeMap::new(),
            funnel: funnel(documents),
            splits,
        }
    });
    let mut manifest = Manifest {
        format: BUILD_FORMAT.to_owned(),
        version: VERSION,
        root: String::new(),
        name: format!("markov-{seed}"),
        fingerprint: String::new(),
        tokenizer: TokenizerEntry {
            file: "tokenizer.json".to_owned(),
            sha256: hex(&Sha256::digest(&tokenizer)),
            kind: "word-level".to_owned(),
            vocab_size: VOCABULARY,
            end_of_text: EndOfText {
                id: 0,
                token: "<|endoftext|>".to_owned(),
            },
        },
        token_width: TokenWidth::U16,
        frame_tokens: 4_096,
        shard_tokens: SHARD_TOKENS as u64,
        datasets: datasets.collect(),
        splits,
        funnel: funnel(128),
        tables: Vec::new(),
        recipe: serde_json::Value::Null,
        contaminates: Vec::new(),
        decontaminated: Vec::new(),
        lists: Vec::new(),
        program: "test".to_owned(),
    };
    std::fs::write(folder.join("manifest.json"), manifest.to_bytes().unwrap()).unwrap();
}

/// SHA-256, hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A document of a made-up build: its tokens, closed by 0, and which of them carry no loss.
pub(crate) struct Made {
    pub(crate) ids: Vec<u32>,
    pub(crate) masked: Vec<std::ops::Range<usize>>,
}

/// A build with one dataset of `kind` in shards of 1,000 tokens, with `tokenizer`, whose end of text is 0.
pub(crate) fn make_build_of(
    folder: &Path,
    kind: &str,
    tokenizer: &[u8],
    splits: &[(Split, Vec<Made>)],
) {
    const SHARD_TOKENS: usize = 1_000;
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer).unwrap();
    let spec = ShardSpec {
        width: TokenWidth::U16,
        vocab_size: VOCABULARY,
        end_of_text: 0,
        frame_tokens: 256,
        tokenizer_sha256: Sha256::digest(tokenizer).into(),
        level: 3,
    };
    let (mut entries, mut row) = (BTreeMap::new(), 0);
    for (split, documents) in splits {
        let (mut ids, mut ends, mut masked) =
            (Vec::new(), Vec::new(), Vec::<std::ops::Range<usize>>::new());
        for document in documents {
            for span in &document.masked {
                let span = ids.len() + span.start..ids.len() + span.end;
                match masked.last_mut() {
                    Some(last) if last.end == span.start => last.end = span.end,
                    _ => masked.push(span),
                }
            }
            ids.extend_from_slice(&document.ids);
            ends.push((ids.len(), row));
            row += 1;
        }
        let mut entry = SplitEntry {
            tokens: ids.len() as u64,
            documents: documents.len() as u64,
            text_bytes: 4 * ids.len() as u64,
            ..SplitEntry::default()
        };
        for (number, part) in ids.chunks(SHARD_TOKENS).enumerate() {
            let (from, to) = (number * SHARD_TOKENS, number * SHARD_TOKENS + part.len());
            let mut inside = Vec::new();
            for (end, row) in &ends {
                let before = inside.last().map_or(0, |last: &DocumentEntry| last.end);
                if *end > from && before < part.len() as u64 {
                    let end = (*end).min(to) - from;
                    inside.push(DocumentEntry {
                        end: end as u64,
                        source: 0,
                        row: *row,
                    });
                }
            }
            let flags = ShardFlags {
                continues_from_previous: from > 0 && !ends.iter().any(|(end, _)| *end == from),
                continues_in_next: !ends.iter().any(|(end, _)| *end == to),
            };
            let masked: Vec<std::ops::Range<u64>> = masked
                .iter()
                .map(|span| span.start.max(from)..span.end.min(to))
                .filter(|span| span.start < span.end)
                .map(|span| (span.start - from) as u64..(span.end - from) as u64)
                .collect();
            let (bytes, _) = write_shard(&spec, part, &inside, &masked, flags, Vec::new()).unwrap();
            let file = format!("{}-{number:05}.zst", split.name());
            std::fs::write(folder.join(&file), &bytes).unwrap();
            entry.shards.push(ShardEntry {
                file,
                bytes: bytes.len() as u64,
                sha256: hex(&Sha256::digest(&bytes)),
                tokens: part.len() as u64,
                documents: inside.len() as u64,
            });
        }
        entries.insert(*split, entry);
    }
    make_build(&folder.join("like"), 1);
    let like = Build::open(&folder.join("like")).unwrap();
    std::fs::remove_dir_all(folder.join("like")).unwrap();
    let mut manifest = like.manifest().clone();
    kind.clone_into(&mut manifest.name);
    manifest.tokenizer.sha256 = hex(&Sha256::digest(tokenizer));
    manifest.frame_tokens = 256;
    manifest.shard_tokens = SHARD_TOKENS as u64;
    let kept = Count {
        documents: row,
        bytes: 1_000,
    };
    manifest.funnel = Funnel {
        documents_in: kept.documents,
        bytes_in: kept.bytes,
        kept,
        ..Funnel::default()
    };
    let dataset = &mut manifest.datasets[0];
    kind.clone_into(&mut dataset.kind);
    dataset.funnel = manifest.funnel.clone();
    dataset.splits = entries
        .iter()
        .map(|(split, entry)| {
            let of = SplitTokens {
                tokens: entry.tokens,
                documents: entry.documents,
                text_bytes: entry.text_bytes,
            };
            (*split, of)
        })
        .collect();
    manifest.splits = entries;
    std::fs::write(folder.join("manifest.json"), manifest.to_bytes().unwrap()).unwrap();
}
