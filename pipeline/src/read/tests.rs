//! What holds for every format: compression and block size change nothing, a cut file keeps its whole rows, and no
//! damage panics.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression as Codec, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use tempfile::TempDir;

use super::*;

/// Rows with their numbers, and how the file ended.
pub(super) type Outcome = (Vec<(u64, Result<Row, RowFault>)>, Option<ReadError>);

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).unwrap()
}

/// Reads a whole file and checks that the blocks follow one another.
pub(super) fn read(path: &Path, options: &ReadOptions) -> Outcome {
    let mut rows = Vec::new();
    let mut source = match open(path, options) {
        Ok(source) => source,
        Err(error) => return (rows, Some(error)),
    };
    let mut index = 0;
    loop {
        match source.next_block() {
            Ok(Some(block)) => {
                assert_eq!((block.index, block.first_row), (index, rows.len() as u64));
                assert!(block.rows() > 0);
                index += 1;
                let end = block.first_row + block.rows();
                let decoded = block.decode(&mut |number, row| {
                    assert_eq!(number, rows.len() as u64);
                    rows.push((number, row));
                });
                if let Err(error) = decoded {
                    return (rows, Some(error));
                }
                assert_eq!(rows.len() as u64, end);
            }
            Ok(None) => return (rows, None),
            Err(error) => {
                assert!(
                    matches!(source.next_block(), Ok(None)),
                    "an error is the last thing a source says"
                );
                return (rows, Some(error));
            }
        }
    }
}

/// A folder that holds one file.
pub(super) struct Folder(TempDir);

impl Folder {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str, bytes: &[u8], options: &ReadOptions) -> Outcome {
        read(&self.write(name, bytes), options)
    }
}

/// The rows of a sound file.
pub(super) fn rows(name: &str, bytes: &[u8]) -> Vec<Result<Row, RowFault>> {
    rows_with(name, bytes, &ReadOptions::default())
}

pub(super) fn rows_with(
    name: &str,
    bytes: &[u8],
    options: &ReadOptions,
) -> Vec<Result<Row, RowFault>> {
    let (rows, error) = Folder::new().read(name, bytes, options);
    assert!(error.is_none(), "{name}: {}", error.unwrap());
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The rows of a sound file as JSON text, faults as their reasons.
pub(super) fn shown(rows: &[Result<Row, RowFault>]) -> Vec<String> {
    let show = |row: &Result<Row, RowFault>| match row {
        Ok(row) => serde_json::to_string(row).unwrap(),
        Err(fault) => fault.reason().to_owned(),
    };
    rows.iter().map(show).collect()
}

pub(super) fn tar_of(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ::tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = ::tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(super) fn parquet_of(batches: &[RecordBatch], codec: Codec) -> Vec<u8> {
    parquet_with(batches, codec, 7)
}

fn parquet_with(batches: &[RecordBatch], codec: Codec, group_rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_max_row_group_row_count(Some(group_rows))
        .build();
    let mut writer =
        ArrowWriter::try_new(Vec::new(), batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

/// A small file of every format, uncompressed, with a row or two that is awkward in it.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let lines: Vec<String> = (0..12)
        .map(|n| format!("{{\"id\":{n},\"text\":\"Zeile {n} \\\"é\\\" ] }} , \\\\\",\"meta\":{{\"list\":[1,[2,\"]\"]]}}}}"))
        .collect();
    let jsonl = format!("{}\n\n5\r\n{{broken\n{}\n", lines.join("\n"), lines[0]);
    let json = format!("\u{feff}[\n {},\n 5, {{broken}} ]\n", lines.join(" ,\n"));
    let mut csv = String::from("id,text\r\n");
    for n in 0..12 {
        csv.push_str(&format!("{n},\"line\nand \"\"quote\"\", {n}\"\r\n"));
    }
    csv.push_str("ragged\n1,x");
    let tsv = "id\ttext\n1\t\"open quote\n2\tcafé\n\n3\t\"\"\n".to_owned();
    let texts: Vec<StringArray> = vec![
        (0..20)
            .map(|n| (n % 5 != 0).then(|| format!("Text {n} mit ä")))
            .collect(),
    ];
    let ids = Int64Array::from_iter_values(0..20);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("text", Arc::new(texts[0].clone())), ("id", Arc::new(ids))];
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let batch = [batch.unwrap()];
    let long = format!("{}/name.txt", "long".repeat(40));
    let tar = tar_of(&[
        ("a.txt", b"one\n"),
        ("empty.txt", b""),
        ("b_data.xz", b"\xfd7zXZ\0"),
        (&long, &[b'x'; 700]),
    ]);
    vec![
        ("x.jsonl", jsonl.into_bytes()),
        ("x.json", json.into_bytes()),
        ("lines.json", lines.join("\n").into_bytes()),
        ("x.csv", csv.into_bytes()),
        ("x.tsv", tsv.into_bytes()),
        ("x.txt", "ein Text\nmit Zeilen".as_bytes().to_vec()),
        ("x.tar", tar),
        ("x.parquet", parquet_of(&batch, Codec::SNAPPY)),
        (
            "zstd.parquet",
            parquet_of(&batch, Codec::ZSTD(ZstdLevel::default())),
        ),
    ]
}

/// Every sample plain and, where the format allows it, compressed.
fn packed_samples() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for (name, bytes) in samples() {
        if !name.ends_with("parquet") {
            all.push((format!("{name}.gz"), gzip(&bytes)));
            all.push((format!("{name}.zst"), zstd(&bytes)));
        }
        all.push((name.to_owned(), bytes));
    }
    all
}

/// Rows of one format must be equal however it is packed, but for the file's own name.
fn without_name(rows: Vec<Result<Row, RowFault>>, name: &str) -> Vec<String> {
    shown(&rows)
        .into_iter()
        .map(|row| row.replace(name, "NAME"))
        .collect()
}

#[test]
fn rows_are_the_same_plain_and_compressed() {
    for (name, bytes) in samples()
        .into_iter()
        .filter(|(name, _)| !name.ends_with("parquet"))
    {
        let plain = without_name(rows(name, &bytes), name);
        assert!(!plain.is_empty());
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc";
        for (ending, packed) in [
            (".gz", gzip(&bytes)),
            (".zst", zstd(&bytes)),
            (".gz", [gzip(half), gzip(b""), gzip(rest)].concat()),
            (
                ".zst",
                [
                    &skippable[..],
                    &zstd(half),
                    skippable,
                    &zstd(rest),
                    skippable,
                ]
                .concat(),
            ),
        ] {
            let packed_name = format!("{name}{ending}");
            assert_eq!(
                without_name(rows(&packed_name, &packed), &packed_name),
                plain,
                "{packed_name}"
            );
        }
    }
}

#[test]
fn block_size_does_not_change_rows() {
    for (name, bytes) in packed_samples() {
        let whole = rows(&name, &bytes);
        for block_bytes in [1, 2, 50, 333, 5000] {
            let options = ReadOptions {
                block_bytes,
                ..ReadOptions::default()
            };
            assert_eq!(
                rows_with(&name, &bytes, &options),
                whole,
                "{name} in blocks of {block_bytes}"
            );
        }
    }
}

#[test]
fn skipped_blocks_are_the_blocks_that_would_have_been_read() {
    let folder = Folder::new();
    for (name, bytes) in packed_samples() {
        let path = folder.write(&name, &bytes);
        let options = ReadOptions {
            block_bytes: 100,
            ..ReadOptions::default()
        };
        let (mut read, mut skipped) = (
            open(&path, &options).unwrap(),
            open(&path, &options).unwrap(),
        );
        loop {
            let block = read.next_block().unwrap().map(|block| block.head());
            assert_eq!(skipped.skip_block().unwrap(), block);
            if block.is_none() {
                break;
            }
        }
    }
}

#[test]
fn a_projection_keeps_the_named_fields() {
    for (name, bytes) in samples() {
        let field = if ["x.txt", "x.tar"].contains(&name) {
            "path"
        } else {
            "id"
        };
        let options = ReadOptions {
            fields: Some(vec![field.to_owned(), "absent".to_owned()]),
            ..Default::default()
        };
        let (all, few) = (rows(name, &bytes), rows_with(name, &bytes, &options));
        assert_eq!(all.len(), few.len());
        for (all, few) in all.into_iter().zip(few) {
            let kept = all.map(|row| {
                row.into_iter()
                    .filter(|(name, _)| name == field)
                    .collect::<Row>()
            });
            assert_eq!(few, kept, "{name}");
        }
    }
}

#[test]
fn a_cut_file_keeps_its_whole_rows_and_never_panics() {
    let folder = Folder::new();
    for (name, bytes) in packed_samples() {
        let (whole, _) = folder.read(&name, &bytes, &ReadOptions::default());
        let packed = name.ends_with(".gz") || name.ends_with(".zst");
        let mut before = 0;
        for length in 0..bytes.len() {
            let (rows, error) = folder.read(&name, &bytes[..length], &ReadOptions::default());
            // A plain text may end anywhere: its last row may be a shorter one.
            let open_ended = !packed
                && [".jsonl", "lines.json", ".csv", ".tsv", ".txt"]
                    .iter()
                    .any(|end| name.ends_with(end));
            let sure = if open_ended {
                rows.len().saturating_sub(1)
            } else {
                rows.len()
            };
            assert_eq!(rows[..sure], whole[..sure], "{name} cut to {length}");
            assert!(sure >= before, "{name} cut to {length} lost a row");
            before = sure;
            let complete = open_ended || rows.len() == whole.len();
            assert!(
                complete || error.is_some() || length == 0,
                "{name} cut to {length} goes unnoticed"
            );
            if let Some(error) = error {
                assert!(error.to_string().contains(&name), "{error}");
            }
        }
    }
}

/// xorshift64*, so that a failure comes again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % bound
    }
}

#[test]
fn damage_never_panics() {
    let folder = Folder::new();
    let mut random = Random(0x5eed);
    for (name, sound) in packed_samples() {
        let options = ReadOptions {
            block_bytes: 300,
            max_row_bytes: 1 << 20,
            ..ReadOptions::default()
        };
        for _ in 0..1000 {
            let mut bytes = sound.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                match random.below(5) {
                    0 => bytes[at] ^= 1 << random.below(8),
                    1 => bytes[at] = u8::try_from(random.below(256)).unwrap(),
                    2 => bytes.truncate(at + 1),
                    3 => {
                        let from = random.below(bytes.len());
                        bytes[at] = bytes[from];
                    }
                    _ => bytes.insert(at, b"\"\\\n{}[],\0\xff"[random.below(10)]),
                }
            }
            folder.read(&name, &bytes, &options);
        }
    }
}

#[test]
fn invalid_utf_8_is_a_fault_of_its_row_alone() {
    for (name, bytes, expected) in [
        (
            "x.jsonl",
            &b"{\"a\":1}\n{\"a\":\"\xff\"}\n{\"a\":\"\xc0\xaf\"}\n{\"a\":2}"[..],
            4,
        ),
        (
            "x.json",
            b"[{\"a\":1},{\"a\":\"\xff\"},{\"a\":\"\xc0\xaf\"},{\"a\":2}]",
            4,
        ),
        ("x.csv", b"a\n1\n\xff\n\xc0\xaf\n2", 4),
        ("x.tsv", b"a\n1\n\xff\n\xc0\xaf\n2", 4),
    ] {
        let rows = rows(name, bytes);
        assert_eq!(rows.len(), expected);
        assert!(rows[0].is_ok() && rows[3].is_ok(), "{name}");
        assert!(
            rows[1..3]
                .iter()
                .all(|row| matches!(row, Err(fault) if fault.reason() == "invalid-utf-8"))
        );
    }
    assert_eq!(shown(&rows("x.txt", b"a\xff")), ["invalid-utf-8"]);
    assert_eq!(
        shown(&rows("x.tar", &tar_of(&[("a", b"\xff"), ("b", b"b")]))),
        ["invalid-utf-8", r#"{"path":"b","text":"b"}"#]
    );
}

#[test]
fn a_row_of_200_megabytes_is_passed_over_without_being_held() {
    let filler = vec![b'a'; 1 << 20];
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.write_all(b"{\"a\":1}\n{\"a\":\"").unwrap();
    for _ in 0..200 {
        encoder.write_all(&filler).unwrap();
    }
    encoder.write_all(b"\"}\n{\"a\":2}\n").unwrap();
    let bytes = encoder.finish().unwrap();
    let options = ReadOptions {
        max_compression_ratio: 1 << 20,
        max_row_bytes: 1 << 20,
        ..Default::default()
    };
    for name in ["x.jsonl.zst", "x.json.zst", "x.tsv.zst"] {
        let folder = Folder::new();
        let mut source = open(&folder.write(name, &bytes), &options).unwrap();
        let block = source.next_block().unwrap().unwrap();
        assert!(block.bytes() < 1000, "{name} holds {}", block.bytes());
        let mut seen = Vec::new();
        block.decode(&mut |_, row| seen.push(row)).unwrap();
        assert!(
            seen.iter().any(
                |row| matches!(row, Err(RowFault::RowTooLong { bytes, .. }) if *bytes > 200 << 20)
            ),
            "{name}"
        );
        assert!(seen.last().unwrap().is_ok());
    }
}

#[test]
fn names_and_first_bytes_that_contradict_are_errors() {
    let folder = Folder::new();
    let failure = |name: &str, bytes: &[u8], options: &ReadOptions| {
        folder
            .read(name, bytes, options)
            .1
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let default = ReadOptions::default();
    assert!(failure("x", b"{}", &default).contains("set format"));
    assert!(failure("x.jsonl", &gzip(b"{}"), &default).contains("the first bytes say gzip"));
    assert!(failure("x.jsonl.gz", &zstd(b"{}"), &default).contains("the first bytes say zstd"));
    assert!(
        failure(
            "x.jsonl.gz",
            b"{}
{}
",
            &default
        )
        .contains("the first bytes say none")
    );
    assert!(
        failure(
            "x.jsonl.zst",
            b"{}
{}
",
            &default
        )
        .contains("the first bytes say none")
    );
    assert!(
        failure(
            "x.jsonl.gz",
            b"{}
",
            &default
        )
        .contains("inside a gzip member")
    );
    assert!(
        failure(
            "x.jsonl.gz",
            &[
                gzip(
                    b"{}
"
                ),
                b"{}
{}
{}
{}
"
                .to_vec()
            ]
            .concat(),
            &default
        )
        .contains("damaged gzip")
    );
    assert!(failure("x.txt", b"\xfd7zXZ\0", &default).contains("xz"));
    assert!(failure("x.csv", b"PK\x03\x04", &default).contains("zip"));
    let plain = ReadOptions {
        compression: Some(Compression::None),
        ..default
    };
    assert!(failure("x.jsonl.gz", b"{}\n", &plain).is_empty());
}

#[test]
fn every_real_sample_reads() {
    let root = std::env::var_os("ANDROMEDA_TEST_DATA").map(PathBuf::from);
    let root = root
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"))
        .join("hub");
    if !root.is_dir() {
        println!(
            "skipped: no samples at {}; set ANDROMEDA_TEST_DATA",
            root.display()
        );
        return;
    }
    let mut folders = vec![root];
    let (mut files, mut total) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if FileFormat::from_path(&path).is_some() {
                let (rows, error) = read(&path, &ReadOptions::default());
                assert!(error.is_none(), "{}", error.unwrap());
                assert!(!rows.is_empty(), "{} has no rows", path.display());
                // OpenWebText's subsets are archives of archives.
                let nested = path.extension().is_some_and(|ending| ending == "tar");
                for (number, row) in &rows {
                    let reason = row.as_ref().err().map(RowFault::reason);
                    assert_eq!(
                        reason,
                        nested.then_some("nested-archive"),
                        "{} row {number}",
                        path.display()
                    );
                }
                files += 1;
                total += rows.len();
            }
        }
    }
    println!("{files} files, {total} rows");
    assert!(files > 100 && total > 10_000, "{files} files, {total} rows");
}

/// Rates on one core: `cargo test --release -p andromeda-pipeline --lib read::tests::rates -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn rates() {
    let prose = "Every reader of a large file cuts it where rows end, \\\"quoted\\\" or not,\\nand decodes the rows elsewhere. ";
    let mut state: u64 = 1;
    let mut lines = String::new();
    let mut texts = StringBuilder::new();
    for id in 0..50_000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text.push_str(prose);
            text.push_str(&format!("{state:x} "));
        }
        texts.append_value(&text);
        lines.push_str(&format!("{{\"id\":\"{id}\",\"text\":\"{text}\",\"meta\":{{\"url\":\"https://example.org/{id}\",\"n\":[1,2]}}}}\n"));
    }
    let array = format!("[{}]", lines.trim_end().replace("}\n{", "},\n{"));
    let csv = format!(
        "id,text\n{}",
        lines
            .lines()
            .map(|line| format!("1,\"{}\"\n", line.replace('"', "\"\"")))
            .collect::<String>()
    );
    let texts: ArrayRef = Arc::new(texts.finish());
    let batch = RecordBatch::try_from_iter([("text", texts)]).unwrap();
    let folder = Folder::new();
    for (name, bytes) in [
        ("x.jsonl", lines.clone().into_bytes()),
        ("x.jsonl.gz", gzip(lines.as_bytes())),
        ("x.jsonl.zst", zstd(lines.as_bytes())),
        ("x.json", array.into_bytes()),
        ("x.csv", csv.into_bytes()),
        (
            "x.parquet",
            parquet_with(&[batch], Codec::ZSTD(ZstdLevel::default()), 5000),
        ),
    ] {
        let path = folder.write(name, &bytes);
        let options = ReadOptions {
            fields: Some(vec!["text".to_owned()]),
            ..ReadOptions::default()
        };
        let cpu = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            std::time::Duration::new(
                now.tv_sec.try_into().unwrap(),
                now.tv_nsec.try_into().unwrap(),
            )
        };
        let (mut cut, mut decode, mut text_bytes) =
            (std::time::Duration::ZERO, std::time::Duration::ZERO, 0);
        let mut source = open(&path, &options).unwrap();
        loop {
            let start = cpu();
            let Some(block) = source.next_block().unwrap() else {
                break;
            };
            let middle = cpu();
            block
                .decode(&mut |_, row| text_bytes += row.unwrap()["text"].as_str().unwrap().len())
                .unwrap();
            cut += middle - start;
            decode += cpu() - middle;
        }
        let rate = |time: std::time::Duration| text_bytes as f64 / 1e6 / time.as_secs_f64();
        println!(
            "{name}: {:.0} MB of text; MB/CPU-s: cut {:.0}, decode {:.0}, both {:.0}",
            text_bytes as f64 / 1e6,
            rate(cut),
            rate(decode),
            rate(cut + decode)
        );
    }
}
