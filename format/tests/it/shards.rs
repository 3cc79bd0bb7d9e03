//! What goes into a shard comes out of it, for this crate and for every zstd program.

use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use andromeda_format::{
    DocumentEntry, FormatError, ShardFlags, ShardReader, ShardSpec, ShardWriter, TokenWidth,
    encode_frame, write_shard,
};
use proptest::prelude::*;

use crate::corpus::Corpus;

fn spec(vocab_size: u32, frame_tokens: u32) -> ShardSpec {
    Corpus {
        vocab_size,
        frame_tokens,
        shard_tokens: 1,
        documents: Vec::new(),
    }
    .spec()
}

fn open(bytes: &[u8]) -> (tempfile::TempDir, ShardReader) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-00000.zst");
    std::fs::write(&path, bytes).unwrap();
    let reader = ShardReader::open(&path).unwrap();
    (folder, reader)
}

fn raw(width: TokenWidth, ids: &[u32]) -> Vec<u8> {
    ids.iter()
        .flat_map(|id| id.to_le_bytes().into_iter().take(width.bytes()))
        .collect()
}

fn plain_zstd(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    zstd::stream::read::Decoder::new(bytes)
        .unwrap()
        .read_to_end(&mut out)
        .unwrap();
    out
}

#[derive(Debug, Clone)]
struct Case {
    vocab_size: u32,
    frame_tokens: u32,
    ids: Vec<u32>,
    documents: Vec<DocumentEntry>,
    masked: Vec<Range<u64>>,
    flags: ShardFlags,
    ranges: Vec<Range<u64>>,
}

fn cases() -> impl Strategy<Value = Case> {
    let vocab = prop_oneof![
        2u32..300,
        Just(1 << 16),
        Just((1 << 16) + 1),
        Just(u32::MAX)
    ];
    let lengths = prop::collection::vec((1u64..40, any::<u32>(), any::<u64>()), 1..30);
    (
        vocab,
        1u32..70,
        lengths,
        any::<u64>(),
        any::<(bool, bool)>(),
    )
        .prop_flat_map(|(vocab_size, frame_tokens, lengths, seed, flags)| {
            let mut documents = Vec::new();
            let mut end = 0;
            for (tokens, source, row) in lengths {
                end += tokens;
                documents.push(DocumentEntry { end, source, row });
            }
            let ids = prop::collection::vec(0..vocab_size, end as usize);
            let ranges = prop::collection::vec((0..=end, 0..=end), 0..6);
            // Spans of 1 to 3 tokens with at least one between them, from the bits of the seed.
            let masked: Vec<_> = (0..end / 5)
                .filter(|i| seed >> (i % 64) & 1 == 1)
                .map(|i| i * 5..i * 5 + 1 + (seed + i) % 3)
                .collect();
            (ids, ranges).prop_map(move |(ids, ranges)| Case {
                vocab_size,
                frame_tokens,
                ids,
                documents: documents.clone(),
                masked: masked.clone(),
                flags: ShardFlags {
                    continues_from_previous: flags.0,
                    continues_in_next: flags.1,
                },
                ranges: ranges
                    .into_iter()
                    .map(|(a, b)| a.min(b)..a.max(b))
                    .collect(),
            })
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(case in cases()) {
        let spec = spec(case.vocab_size, case.frame_tokens);
        let (bytes, summary) = write_shard(&spec, &case.ids, &case.documents, &case.masked, case.flags, Vec::new()).unwrap();
        prop_assert_eq!((summary.tokens, summary.documents), (case.ids.len() as u64, case.documents.len() as u64));
        prop_assert_eq!(plain_zstd(&bytes), raw(spec.width, &case.ids));
        let (_folder, mut reader) = open(&bytes);
        reader.verify().unwrap();
        let index = reader.index();
        prop_assert_eq!(&index.documents, &case.documents);
        prop_assert_eq!(&index.masked, &case.masked);
        prop_assert_eq!((index.continues_from_previous, index.continues_in_next), (case.flags.continues_from_previous, case.flags.continues_in_next));
        prop_assert_eq!((index.vocab_size, index.end_of_text, index.frame_tokens), (spec.vocab_size, 0, spec.frame_tokens));
        prop_assert_eq!((index.tokenizer_sha256, index.width), (spec.tokenizer_sha256, spec.width));
        let mut out = Vec::new();
        for range in case.ranges {
            out.clear();
            reader.read_tokens(range.clone(), &mut out).unwrap();
            prop_assert_eq!(&out, &case.ids[range.start as usize..range.end as usize]);
        }
    }
}

#[test]
fn the_zstd_program_decompresses_a_shard_to_its_ids() {
    let folder = tempfile::tempdir().unwrap();
    for vocab_size in [50_277, 128_256] {
        let corpus = Corpus::small(vocab_size);
        corpus.write(folder.path());
        let out = match Command::new("zstd")
            .args(["-dc", "--"])
            .arg(folder.path().join("train-00000.zst"))
            .output()
        {
            Ok(out) => out,
            Err(error) => {
                // Past the test runner's capture.
                let text = format!("skipped: zstd cannot be run: {error}\n");
                let said = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
                assert!(
                    said.is_ok() && std::env::var("ANDROMEDA_TESTS_SKIP").as_deref() != Ok("never"),
                    "not to be skipped here: {error}"
                );
                return;
            }
        };
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        let ids = &corpus.tokens(andromeda_format::Split::Train)[..300];
        assert_eq!(out.stdout, raw(corpus.spec().width, ids));
    }
}

#[test]
fn frames_written_one_by_one_make_the_same_shard() {
    let corpus = Corpus::small(300);
    let ids = corpus.tokens(andromeda_format::Split::Train);
    let documents = [DocumentEntry {
        end: ids.len() as u64,
        source: 0,
        row: 0,
    }];
    let mut writer = ShardWriter::new(corpus.spec(), Vec::new());
    for part in ids.chunks(64) {
        writer
            .push_frame(encode_frame(&corpus.spec(), part).unwrap())
            .unwrap();
    }
    let (by_frame, _) = writer
        .finish(&documents, &[], ShardFlags::default())
        .unwrap();
    let (whole, _) = write_shard(
        &corpus.spec(),
        &ids,
        &documents,
        &[],
        ShardFlags::default(),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(by_frame, whole);
}

#[test]
fn every_frame_has_its_content_size_and_checksum() {
    // RFC 8878, 3.1.1.1.1: bit 2 of the frame header descriptor is the content checksum flag.
    let (bytes, _) = write_shard(
        &spec(300, 64),
        &[7; 64],
        &[DocumentEntry {
            end: 64,
            source: 0,
            row: 0,
        }],
        &[],
        ShardFlags::default(),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(bytes[4] & 4, 4);
    assert_eq!(
        zstd::zstd_safe::get_frame_content_size(&bytes).unwrap(),
        Some(128)
    );
}

fn unwritable<T: std::fmt::Debug>(result: Result<T, FormatError>) -> String {
    match result.unwrap_err() {
        FormatError::Unwritable { what } => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_shard_cannot_hold_is_not_written() {
    let good = spec(300, 4);
    let one = |end| {
        [DocumentEntry {
            end,
            source: 0,
            row: 0,
        }]
    };
    let write =
        |spec: &ShardSpec, ids: &[u32], documents: &[DocumentEntry], masked: &[Range<u64>]| {
            unwritable(write_shard(
                spec,
                ids,
                documents,
                masked,
                ShardFlags::default(),
                Vec::new(),
            ))
        };
    assert!(write(&good, &[], &[], &[]).contains("do not hold the tokens"));
    assert!(write(&good, &[1, 300], &one(2), &[]).contains("300 is outside the vocabulary"));
    assert!(write(&good, &[1, 2], &one(3), &[]).contains("documents do not end"));
    assert!(write(&good, &[1, 2], &[], &[]).contains("documents do not end"));
    assert!(
        write(&good, &[1, 2], &[one(2), one(2)].concat(), &[])
            .contains("documents are not in order")
    );
    for masked in [
        &[0..0, 1..2][..],
        &[0..1, 1..3],
        &[0..1, 1..2],
        &[1..2, 0..1],
    ] {
        assert!(
            write(&good, &[1, 2], &one(2), masked).contains("masked spans"),
            "{masked:?}"
        );
    }
    assert!(
        write(
            &ShardSpec {
                width: TokenWidth::U32,
                ..good
            },
            &[1],
            &one(1),
            &[]
        )
        .contains("do not suit")
    );
    assert!(
        write(
            &ShardSpec {
                end_of_text: 300,
                ..good
            },
            &[1],
            &one(1),
            &[]
        )
        .contains("end of text")
    );
    for frame_tokens in [0, (1 << 24) + 1] {
        write(
            &ShardSpec {
                frame_tokens,
                ..good
            },
            &[1],
            &one(1),
            &[],
        );
    }
    let wide = ShardSpec {
        width: TokenWidth::U16,
        vocab_size: 70_000,
        ..good
    };
    assert!(write(&wide, &[69_999], &one(1), &[]).contains("two bytes"));
}

#[test]
fn frames_that_do_not_belong_are_refused() {
    let mut writer = ShardWriter::new(spec(300, 4), Vec::new());
    let frame = |spec: &ShardSpec, n: usize| encode_frame(spec, &vec![1; n]).unwrap();
    for other in [spec(70_000, 4), spec(299, 4), spec(300, 5)] {
        let tokens = other.frame_tokens as usize;
        assert!(unwritable(writer.push_frame(frame(&other, tokens))).contains("other shards"));
    }
    writer.push_frame(frame(&spec(300, 4), 3)).unwrap();
    assert!(unwritable(writer.push_frame(frame(&spec(300, 4), 4))).contains("after a short one"));
    unwritable(encode_frame(&spec(300, 4), &[]));
    unwritable(encode_frame(&spec(300, 4), &[1; 5]));
}

#[test]
fn tokens_beyond_the_end_are_an_error() {
    let (bytes, _) = write_shard(
        &spec(300, 4),
        &[1, 2, 0],
        &[DocumentEntry {
            end: 3,
            source: 0,
            row: 0,
        }],
        &[],
        ShardFlags::default(),
        Vec::new(),
    )
    .unwrap();
    let (_folder, mut reader) = open(&bytes);
    let backwards = Range { start: 2, end: 1 };
    for range in [0..4, 4..4, backwards, u64::MAX - 1..u64::MAX] {
        let error = reader.read_tokens(range, &mut Vec::new()).unwrap_err();
        assert!(
            matches!(error, FormatError::OutOfRange { tokens: 3, .. }),
            "{error:?}"
        );
    }
    reader.read_tokens(3..3, &mut Vec::new()).unwrap();
}

#[test]
fn a_shard_that_is_not_there_is_named() {
    let error = ShardReader::open(Path::new("no/such/train-00000.zst")).unwrap_err();
    assert!(
        error.is_io() && error.to_string().starts_with("no/such/train-00000.zst: "),
        "{error}"
    );
}

/// What nanoGPT's `train.py` does with `train.bin`: a memory map of uint16, and blocks of it, and of it one further, as int64.
const NANOGPT: &str = r#"
import sys
try:
    import numpy as np
except ImportError:
    sys.exit(77)
data = np.memmap(sys.argv[1], dtype=np.uint16, mode="r")
block = int(sys.argv[2])
print(len(data))
for i in range(0, len(data) - block, block):
    x, y = (np.asarray(data[at : at + block], dtype=np.int64) for at in (i, i + 1))
    print(*x, y[-1])
"#;

#[test]
fn nanogpts_way_of_reading_takes_a_decompressed_shard_as_it_is() {
    let skip = |why: &str| {
        // Past the test runner's capture.
        let text = format!("skipped: {why}; PYTHON names another\n");
        let said = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        let must = std::env::var("ANDROMEDA_TESTS_SKIP").as_deref() == Ok("never");
        assert!(said.is_ok() && !must, "not to be skipped here: {why}");
    };
    let folder = tempfile::tempdir().unwrap();
    let corpus = Corpus::small(50_277);
    corpus.write(folder.path());
    let shard = folder.path().join("train-00000.zst");
    let Ok(raw) = Command::new("zstd").arg("-dcq").arg(shard).output() else {
        return skip("zstd cannot be run");
    };
    let bin = folder.path().join("train.bin");
    std::fs::write(&bin, raw.stdout).unwrap();
    let python = std::env::var("ANDROMEDA_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let read = Command::new(&python)
        .args(["-c", NANOGPT])
        .arg(bin)
        .arg("16")
        .output();
    let Ok(read) = read.inspect_err(|error| skip(&format!("{python} cannot be run: {error}")))
    else {
        return;
    };
    if read.status.code() == Some(77) {
        // Never a failure, as for the other readers that are Python packages.
        eprintln!(
            "skipped: {python} has no numpy; ANDROMEDA_PYTHON names an interpreter that has it"
        );
        return;
    }
    assert!(
        read.status.success(),
        "{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let said = String::from_utf8(read.stdout).unwrap();
    let mut lines = said.lines().map(|line| {
        let numbers = line.split(' ').map(|number| number.parse::<u32>().unwrap());
        numbers.collect::<Vec<_>>()
    });
    let ids = &corpus.tokens(andromeda_format::Split::Train)[..300];
    assert_eq!(lines.next().unwrap(), [300]);
    let blocks: Vec<Vec<u32>> = lines.collect();
    assert_eq!(blocks.len(), 18);
    for (number, block) in blocks.iter().enumerate() {
        assert_eq!(block, &ids[number * 16..number * 16 + 17]);
    }
}
