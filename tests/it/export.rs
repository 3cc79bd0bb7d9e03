//! A build leaves as other programs' files: read byte by byte by their published layouts, and by the programs themselves where
//! they are installed. What was expected is read from the shards by the format's own reader.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use andromeda_format::{Build, Split};
use andromeda_tests::corpus::{
    RECIPE, Random, json_line, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use sha1::Digest as _;
use tempfile::TempDir;

use super::{andromeda, ended, only_build, tree};

/// A document as the shards have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Read {
    pub dataset: String,
    pub row: u64,
    pub ids: Vec<u32>,
    /// Whether each id carries loss.
    pub trained: Vec<bool>,
}

/// A build with dialogues and prose, whose documents cross the ends of shards, in a folder that has its manifests.
pub(super) fn planted() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let manifests = root.path().join("manifests");
    write_recipe(&manifests, "planted", RECIPE);
    write_tokenizer(&manifests);
    for name in ["prose", "talk"] {
        let path = format!("../../corpus/{name}");
        write_manifest(&manifests, name, "tiers = [\"high\"]\n", &path, "");
        fs::create_dir_all(root.path().join("corpus").join(name)).unwrap();
    }
    let talk = manifests.join("datasets/talk.toml");
    let written = fs::read_to_string(&talk).unwrap();
    let chat = written
        .replace("[source.folder]", "kind = \"chat\"\n[source.folder]")
        .replace("text = \"text\"\n", "turns = {}\n");
    assert_ne!(written, chat);
    fs::write(talk, chat).unwrap();
    let mut random = Random(61);
    let prose: String = (0..40)
        .map(|i| json_line(&text(&mut random, 40 + 25 * (i % 23))))
        .collect();
    let talk: String = (0..40)
        .map(|i| {
            let turns: Vec<Value> = (0..2 * (1 + i % 3))
                .map(|turn| {
                    let speaker = ["human", "gpt"][turn % 2];
                    json!({ "from": speaker, "value": text(&mut random, 70) })
                })
                .collect();
            format!("{}\n", json!({ "conversations": turns }))
        })
        .collect();
    fs::write(root.path().join("corpus/prose/a.jsonl"), prose).unwrap();
    fs::write(root.path().join("corpus/talk/a.jsonl"), talk).unwrap();
    ended(&mut andromeda(
        root.path(),
        "build --dataset prose,talk --recipe planted",
    ))
    .with(0, &[]);
    root
}

/// The documents of a split, joined across shards.
pub(super) fn read(build: &Build, split: Split) -> Vec<Read> {
    let manifest = build.manifest();
    let mut documents: Vec<Read> = Vec::new();
    let shards = manifest.splits.get(&split).map_or(0, |s| s.shards.len());
    for number in 0..shards {
        let mut shard = build.shard(split, number).unwrap();
        let index = shard.index().clone();
        let mut start = 0;
        for (d, document) in index.documents.iter().enumerate() {
            let mut ids = Vec::new();
            shard.read_tokens(start..document.end, &mut ids).unwrap();
            let trained = (start..document.end)
                .map(|token| !index.masked.iter().any(|span| span.contains(&token)))
                .collect();
            let part = Read {
                dataset: manifest.datasets[document.source as usize].name.clone(),
                row: document.row,
                ids,
                trained,
            };
            if d == 0 && index.continues_from_previous {
                let last = documents.last_mut().unwrap();
                assert_eq!((&last.dataset, last.row), (&part.dataset, part.row));
                last.ids.extend(part.ids);
                last.trained.extend(part.trained);
            } else {
                documents.push(part);
            }
            start = document.end;
        }
    }
    assert_eq!(
        documents.len() as u64,
        manifest.splits.get(&split).map_or(0, |s| s.documents)
    );
    documents
}

/// Ranges of ids that carry no loss, found flag by flag.
fn masked(trained: &[bool]) -> Vec<[u64; 2]> {
    let mut spans: Vec<[u64; 2]> = Vec::new();
    for (at, _) in (0u64..).zip(trained).filter(|(_, trained)| !**trained) {
        match spans.last_mut() {
            Some([_, end]) if *end == at => *end += 1,
            _ => spans.push([at, at + 1]),
        }
    }
    spans
}

/// Runs an export of the only build of `root` into `out`.
fn export(root: &Path, arguments: &str) -> super::Ended {
    let build = only_build(root);
    ended(andromeda(root, &format!("export {arguments}")).arg(build))
}

fn number(bytes: &[u8], at: usize, width: usize) -> u64 {
    let mut whole = [0; 8];
    whole[..width].copy_from_slice(&bytes[at..at + width]);
    u64::from_le_bytes(whole)
}

fn ids_of(bytes: &[u8], width: usize) -> Vec<u32> {
    assert_eq!(bytes.len() % width, 0);
    (0..bytes.len() / width)
        .map(|i| u32::try_from(number(bytes, i * width, width)).unwrap())
        .collect()
}

fn joined(documents: &[Read]) -> Vec<u32> {
    documents.iter().flat_map(|d| d.ids.clone()).collect()
}

fn note(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("export.json")).unwrap()).unwrap()
}

/// The note lists every file with size and hash, and no other is there.
fn check_note(folder: &Path, build: &Build) {
    let note = note(folder);
    assert_eq!(note["root"], build.manifest().root);
    let mut listed: BTreeMap<String, String> = note["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| {
            let path = file["path"].as_str().unwrap();
            let length = fs::metadata(folder.join(path)).unwrap().len();
            assert_eq!(file["bytes"], length, "{path}");
            (path.to_owned(), file["sha256"].as_str().unwrap().to_owned())
        })
        .collect();
    let found = tree(folder);
    listed.insert("export.json".to_owned(), found["export.json"].clone());
    assert_eq!(found, listed);
}

/// Documents of an index by the layout of Megatron's `indexed_dataset.py`.
fn megatron(folder: &Path, split: &str) -> Vec<Vec<u32>> {
    let bin = fs::read(folder.join(format!("{split}.bin"))).unwrap();
    let idx = fs::read(folder.join(format!("{split}.idx"))).unwrap();
    assert_eq!(&idx[..9], b"MMIDIDX\x00\x00");
    assert_eq!(number(&idx, 9, 8), 1, "version");
    let width = match idx[17] {
        8 => 2,
        4 => 4,
        code => panic!("type {code}"),
    };
    let sequences = usize::try_from(number(&idx, 18, 8)).unwrap();
    let entries = usize::try_from(number(&idx, 26, 8)).unwrap();
    assert_eq!(entries, sequences + 1);
    assert_eq!(idx.len(), 34 + sequences * 12 + entries * 8);
    (0..sequences)
        .map(|i| {
            let length = usize::try_from(number(&idx, 34 + 4 * i, 4)).unwrap();
            let place = number(&idx, 34 + 4 * sequences + 8 * i, 8);
            let place = usize::try_from(place).unwrap();
            for at in [i, i + 1] {
                assert_eq!(number(&idx, 34 + 12 * sequences + 8 * at, 8), at as u64);
            }
            ids_of(&bin[place..place + length * width], width)
        })
        .collect()
}

/// A sample's columns by name, by the layout of streaming's `mds/reader.py` and `mds/encodings.py`.
fn mds(folder: &Path, split: &str) -> Vec<BTreeMap<String, Vec<u8>>> {
    let folder = folder.join(split);
    let index: Value =
        serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["version"], 2);
    let mut samples = Vec::new();
    for shard in index["shards"].as_array().unwrap() {
        let check = |data: &Value, bytes: &[u8]| {
            assert_eq!(data["bytes"], bytes.len());
            let sha1: [u8; 20] = sha1::Sha1::digest(bytes).into();
            let hex: String = sha1.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(data["hashes"]["sha1"], hex);
        };
        let read =
            |data: &Value| fs::read(folder.join(data["basename"].as_str().unwrap())).unwrap();
        let raw = usize::try_from(shard["raw_data"]["bytes"].as_u64().unwrap()).unwrap();
        let bytes = match &shard["zip_data"] {
            Value::Null => read(&shard["raw_data"]),
            zip => {
                let bytes = read(zip);
                check(zip, &bytes);
                zstd::bulk::decompress(&bytes, raw).unwrap()
            }
        };
        check(&shard["raw_data"], &bytes);
        let names = shard["column_names"].as_array().unwrap();
        let sizes = shard["column_sizes"].as_array().unwrap();
        let encodings = shard["column_encodings"].as_array().unwrap();
        let many = usize::try_from(number(&bytes, 0, 4)).unwrap();
        assert_eq!(shard["samples"], many);
        for i in 0..many {
            let place = |at: usize| usize::try_from(number(&bytes, 4 + 4 * at, 4)).unwrap();
            let sample = &bytes[place(i)..place(i + 1)];
            let mut at = 0;
            let lengths: Vec<usize> = sizes
                .iter()
                .map(|size| match size.as_u64() {
                    Some(size) => usize::try_from(size).unwrap(),
                    None => {
                        at += 4;
                        usize::try_from(number(sample, at - 4, 4)).unwrap()
                    }
                })
                .collect();
            let mut columns = BTreeMap::new();
            for ((name, length), encoding) in names.iter().zip(lengths).zip(encodings) {
                let mut value = &sample[at..at + length];
                at += length;
                let encoding = encoding.as_str().unwrap();
                if encoding.starts_with("ndarray:") && encoding.matches(':').count() == 1 {
                    assert_eq!(value[0] >> 2, 1, "axes");
                    let bytes = 1 << (value[0] & 3);
                    let items = usize::try_from(number(value, 1, bytes)).unwrap();
                    value = &value[1 + bytes..];
                    assert_eq!(value.len() % items, 0);
                }
                columns.insert(name.as_str().unwrap().to_owned(), value.to_vec());
            }
            assert_eq!(at, sample.len());
            samples.push(columns);
        }
    }
    samples
}

fn parquet(folder: &Path, split: &str) -> Vec<(Read, Vec<[u64; 2]>)> {
    let path = folder.join(format!("{split}-00000.parquet"));
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap().into_file()).unwrap();
    let rows: Vec<Row> = reader
        .get_row_iter(None)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let whole = |field: &Field| match field {
        Field::UShort(n) => u64::from(*n),
        Field::UInt(n) => u64::from(*n),
        Field::ULong(n) => *n,
        other => panic!("{other:?}"),
    };
    rows.iter()
        .map(|row| {
            let columns: BTreeMap<&str, &Field> = row
                .get_column_iter()
                .map(|(name, field)| (name.as_str(), field))
                .collect();
            let list = |name: &str| match columns[name] {
                Field::ListInternal(list) => list.elements().to_vec(),
                other => panic!("{other:?}"),
            };
            assert_eq!(columns["split"].to_string(), format!("{split:?}"));
            let ids: Vec<u32> = list("ids")
                .iter()
                .map(|id| u32::try_from(whole(id)).unwrap())
                .collect();
            let spans = list("masked");
            let spans = spans.iter().map(|span| match span {
                Field::Group(row) => {
                    let ends: Vec<u64> = row
                        .get_column_iter()
                        .map(|(_, field)| whole(field))
                        .collect();
                    [ends[0], ends[1]]
                }
                other => panic!("{other:?}"),
            });
            let read = Read {
                dataset: columns["dataset"].to_string().trim_matches('"').to_owned(),
                row: whole(columns["row"]),
                ids,
                trained: Vec::new(),
            };
            (read, spans.collect())
        })
        .collect()
}

#[test]
fn every_target_has_every_id_of_every_document_in_order() {
    let root = planted();
    let build = Build::open(&only_build(root.path())).unwrap();
    assert!(build.manifest().splits[&Split::Train].shards.len() > 3);
    let out = |name: &str| root.path().join("out").join(name);
    for target in ["nanogpt", "megatron", "mds", "parquet", "jsonl"] {
        export(root.path(), &format!("--to {target} --out out/{target}")).with(0, &[]);
        check_note(&out(target), &build);
        // The same bytes again.
        export(
            root.path(),
            &format!("--to {target} --out out/again-{target}"),
        )
        .with(0, &[]);
        assert_eq!(tree(&out(target)), tree(&out(&format!("again-{target}"))));
    }
    export(
        root.path(),
        "--to mds --length 64 --zstd 3 --out out/windows",
    )
    .with(0, &["lost is the last"]);
    check_note(&out("windows"), &build);
    export(root.path(), "--to jsonl --zstd 3 --out out/zst").with(0, &[]);
    for split in Split::ALL {
        let name = split.name();
        let documents = read(&build, split);
        let ids = joined(&documents);
        let trained: Vec<u8> = documents
            .iter()
            .flat_map(|d| d.trained.iter().map(|t| u8::from(*t)))
            .collect();
        assert!(trained.contains(&0) && trained.contains(&1));

        let bin = fs::read(out("nanogpt").join(format!("{name}.bin"))).unwrap();
        assert_eq!(ids_of(&bin, 2), ids);

        let of_documents: Vec<Vec<u32>> = documents.iter().map(|d| d.ids.clone()).collect();
        assert_eq!(megatron(&out("megatron"), name), of_documents);

        let samples = mds(&out("mds"), name);
        assert_eq!(samples.len(), documents.len());
        for (sample, document) in samples.iter().zip(&documents) {
            assert_eq!(ids_of(&sample["tokens"], 2), document.ids);
            let loss: Vec<u8> = document.trained.iter().map(|t| u8::from(*t)).collect();
            assert_eq!(sample["loss"], loss);
            assert_eq!(sample["dataset"], document.dataset.as_bytes());
            assert_eq!(number(&sample["row"], 0, 8), document.row);
        }
        let windows = mds(&out("windows"), name);
        assert_eq!(windows.len(), ids.len() / 64);
        for (i, window) in windows.iter().enumerate() {
            assert_eq!(ids_of(&window["tokens"], 2), ids[64 * i..64 * i + 64]);
            assert_eq!(window["loss"], trained[64 * i..64 * i + 64]);
        }

        let rows = parquet(&out("parquet"), name);
        let plain = fs::read_to_string(out("jsonl").join(format!("{name}.jsonl"))).unwrap();
        let zst = fs::read(out("zst").join(format!("{name}.jsonl.zst"))).unwrap();
        let unzipped = zstd::bulk::decompress(&zst, plain.len()).unwrap();
        assert_eq!(unzipped, plain.as_bytes());
        let lines: Vec<Value> = plain
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(
            (rows.len(), lines.len()),
            (documents.len(), documents.len())
        );
        for ((document, (row, spans)), line) in documents.iter().zip(&rows).zip(&lines) {
            assert_eq!(
                (&row.ids, &row.dataset, row.row),
                (&document.ids, &document.dataset, document.row)
            );
            assert_eq!(*spans, masked(&document.trained));
            let expected = json!({
                "ids": document.ids, "dataset": document.dataset, "row": document.row, "split": name,
                "masked": masked(&document.trained),
            });
            assert_eq!(*line, expected);
        }
    }
}

#[test]
fn what_is_lost_is_said_and_not_done_where_nothing_may_be() {
    let root = planted();
    for target in ["nanogpt", "megatron"] {
        export(
            root.path(),
            &format!("--to {target} --strict --out out/{target}"),
        )
        .with(20, &["carry no loss", "--strict"]);
        export(root.path(), &format!("--to {target} --out out/{target}"))
            .with(0, &["carry no loss"]);
        let lost = note(&root.path().join("out").join(target))["lost"].clone();
        assert!(
            lost[0].as_str().unwrap().contains("carry no loss"),
            "{lost}"
        );
    }
    // The dialogues have an end of text after every answer.
    let lost = note(&root.path().join("out/nanogpt"))["lost"].to_string();
    assert!(
        lost.contains("ends of text stand within documents"),
        "{lost}"
    );
    export(
        root.path(),
        "--to mds --length 1000 --strict --out out/windows",
    )
    .with(20, &["fill no window"]);
    for target in ["mds", "parquet", "jsonl"] {
        export(
            root.path(),
            &format!("--to {target} --strict --out out/{target}"),
        )
        .with(0, &[]);
        assert_eq!(
            note(&root.path().join("out").join(target))["lost"],
            json!([])
        );
    }
    let made: Vec<String> = fs::read_dir(root.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(made.len(), 5, "no failure left a folder: {made:?}");
}

#[test]
fn a_split_is_named_and_options_that_do_not_go_together_are_refused() {
    let root = planted();
    export(root.path(), "--to nanogpt --split val --out out/val").with(0, &[]);
    let names: Vec<String> = tree(&root.path().join("out/val")).into_keys().collect();
    assert_eq!(names, ["export.json", "tokenizer.json", "val.bin"]);
    export(root.path(), "--to nanogpt --out out/val").with(2, &["is there already"]);
    for (arguments, word) in [
        ("--to nanogpt --length 8", "--length is for --to mds"),
        ("--to mds --length 0", "at least one token"),
        ("--to mds --length 100000000", "has only"),
        ("--to parquet --zstd 3", "--zstd is for"),
        ("--to mds --zstd 23", "levels are 1 to 22"),
    ] {
        export(root.path(), &format!("{arguments} --out out/no")).with(2, &[word]);
        assert!(!root.path().join("out/no").exists());
    }
    // A damaged frame is noticed before anything is published.
    let shard = only_build(root.path()).join("train-00001.zst");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[40] ^= 1;
    fs::write(&shard, bytes).unwrap();
    export(root.path(), "--to megatron --out out/no").with(30, &["train-00001.zst", "damaged"]);
    assert!(!root.path().join("out/no").exists());
    assert!(!root.path().join("out/.no.part").exists());
}

/// The interpreter for tests of other programs' readers: `ANDROMEDA_PYTHON`, or the machine's.
pub(super) fn python() -> PathBuf {
    std::env::var_os("ANDROMEDA_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Says past the test runner's capture what was not tested for want of Python packages. Never a failure: they may bring
/// hundreds of megabytes, and what they read is tested without them too.
pub(super) fn skipped(what: &str) {
    let line = format!("skipped: {what}; ANDROMEDA_PYTHON names an interpreter that has it\n");
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}

/// What the real reader reads, or nothing where it is not installed, which is said.
fn real(reader: &str, folder: &Path, width: &str) -> Option<Vec<Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/read.py");
    let output = Command::new(python())
        .arg(script)
        .args([reader])
        .arg(folder)
        .arg(width)
        .output();
    let said = match &output {
        Err(error) => error.to_string(),
        Ok(output) if output.status.code() == Some(3) => String::from_utf8_lossy(&output.stderr)
            .lines()
            .last()
            .unwrap_or_default()
            .to_owned(),
        Ok(output) => {
            assert!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
            let text = String::from_utf8(output.stdout.clone()).unwrap();
            return Some(
                text.lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect(),
            );
        }
    };
    skipped(&format!("the reader {reader} ({said})"));
    None
}

/// Compares every export of a build with what its real reader reads.
pub(super) fn compare_with_real_readers(root: &Path, build: &Build) {
    let folder = build.folder().display();
    let width = match build.manifest().token_width.bytes() {
        2 => "u16",
        _ => "u32",
    };
    let out = |name: &str| root.join("real").join(name);
    for (name, arguments) in [
        ("nanogpt", "--to nanogpt"),
        ("megatron", "--to megatron"),
        ("mds", "--to mds"),
        ("zipped", "--to mds --zstd 3"),
        ("windows", "--to mds --length 100"),
        ("parquet", "--to parquet"),
    ] {
        ended(&mut andromeda(
            root,
            &format!("export {folder} {arguments} --out real/{name}"),
        ))
        .with(0, &[]);
    }
    let splits: Vec<Split> = build.manifest().splits.keys().copied().collect();
    let all: Vec<(Split, Read)> = splits
        .iter()
        .flat_map(|split| {
            read(build, *split)
                .into_iter()
                .map(|document| (*split, document))
        })
        .collect();
    if let Some(files) = real("nanogpt", &out("nanogpt"), width) {
        let expected: Vec<Value> = splits
            .iter()
            .map(|split| json!({ "split": split.name(), "ids": joined(&read(build, *split)) }))
            .collect();
        assert_eq!(files, expected);
    }
    if let Some(sequences) = real("megatron", &out("megatron"), width) {
        let expected: Vec<Value> = all
            .iter()
            .map(|(split, d)| json!({ "split": split.name(), "ids": d.ids }))
            .collect();
        assert_eq!(sequences, expected);
    }
    let masks = all
        .iter()
        .any(|(_, document)| document.trained.contains(&false));
    for name in ["mds", "zipped"] {
        if let Some(samples) = real("mds", &out(name), width) {
            let expected: Vec<Value> = all
                .iter()
                .map(|(split, d)| {
                    let mut sample = json!({
                        "split": split.name(), "ids": d.ids, "dataset": d.dataset, "row": d.row,
                    });
                    if masks {
                        let loss: Vec<u8> = d.trained.iter().map(|t| u8::from(*t)).collect();
                        sample["loss"] = json!(loss);
                    }
                    sample
                })
                .collect();
            assert_eq!(samples, expected);
        }
    }
    if let Some(windows) = real("mds", &out("windows"), width) {
        let expected: Vec<Value> = splits
            .iter()
            .flat_map(|split| {
                let ids = joined(&read(build, *split));
                let windows: Vec<Vec<u32>> = ids.chunks_exact(100).map(<[u32]>::to_vec).collect();
                windows
                    .into_iter()
                    .map(|ids| json!({ "split": split.name(), "ids": ids }))
            })
            .collect();
        let found: Vec<Value> = windows
            .iter()
            .map(|w| json!({ "split": w["split"], "ids": w["ids"] }))
            .collect();
        assert_eq!(found, expected);
    }
    for name in ["mds", "windows"] {
        if let Some(files) = real("mds-rewrite", &out(name), width) {
            assert!(files.len() >= 2 * splits.len());
            for file in files {
                assert_eq!(
                    file["same"], true,
                    "the publisher's writer writes another {file}"
                );
            }
        }
    }
    for reader in ["parquet", "datasets"] {
        if let Some(rows) = real(reader, &out("parquet"), width) {
            let mut expected: Vec<Value> = all
                .iter()
                .map(|(split, d)| {
                    let spans: Vec<Value> = masked(&d.trained)
                        .iter()
                        .map(|[start, end]| json!({ "start": start, "end": end }))
                        .collect();
                    json!({
                        "ids": d.ids, "dataset": d.dataset, "row": d.row, "split": split.name(), "masked": spans,
                    })
                })
                .collect();
            let mut rows = rows;
            let key = |row: &Value| row["row"].as_u64();
            rows.sort_by_key(key);
            expected.sort_by_key(key);
            assert_eq!(rows, expected);
        }
    }
}

#[test]
fn the_programs_they_are_for_read_the_same() {
    let root = planted();
    let build = Build::open(&only_build(root.path())).unwrap();
    compare_with_real_readers(root.path(), &build);
}
