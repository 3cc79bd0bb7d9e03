//! Every fault of a shard has its own error, and no changed bit gets through.

use std::sync::LazyLock;

use andromeda_format::{
    DocumentEntry, FormatError, ShardFlags, ShardReader, ShardSpec, write_shard,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::corpus::Corpus;

/// Where fields of the index are, as `SPEC.md` has them.
const VERSION: usize = 8;
const WIDTH: usize = 10;
const FLAGS: usize = 11;
const VOCAB: usize = 12;
const END_OF_TEXT: usize = 16;
const FRAME_TOKENS: usize = 20;
const TOKENS: usize = 24;
const DOCUMENTS: usize = 32;
const FRAMES: usize = 36;
const MASKED: usize = 40;
const ARRAYS: usize = 76;

/// Ids 2, 3, 0, 5, 0, 7, 8, 9, 0 in three frames, three documents, two masked spans.
fn shard() -> Vec<u8> {
    let spec = ShardSpec {
        frame_tokens: 4,
        ..Corpus::small(300).spec()
    };
    let documents = [(3, 0, 10), (5, 1, 11), (9, 0, 12)].map(|(end, source, row)| DocumentEntry {
        end,
        source,
        row,
    });
    write_shard(
        &spec,
        &[2, 3, 0, 5, 0, 7, 8, 9, 0],
        &documents,
        &[0..2, 5..7],
        ShardFlags::default(),
        Vec::new(),
    )
    .unwrap()
    .0
}

fn check(bytes: &[u8]) -> Result<(), FormatError> {
    let folder = tempfile::tempdir().unwrap();
    check_in(folder.path(), bytes)
}

fn check_in(folder: &std::path::Path, bytes: &[u8]) -> Result<(), FormatError> {
    let path = folder.join("train-00000.zst");
    // A new file each time: some file systems sync one that is cut to nothing and written again.
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, bytes).unwrap();
    ShardReader::open(&path)?.verify()
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// Takes the index out, lets `change` have it, and makes hash, frame and seek table suit again: what only somebody who
/// knows the format could write.
fn forge(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    static SHARD: LazyLock<Vec<u8>> = LazyLock::new(shard);
    let bytes: &[u8] = &SHARD;
    let entries = word(bytes, bytes.len() - 9);
    let table = bytes.len() - (17 + 8 * entries);
    let index_frame = word(bytes, bytes.len() - 17);
    let index = table - index_frame;
    let mut payload = bytes[index + 8..table - 8].to_vec();
    change(&mut payload);
    payload.extend(xxh3_64(&payload).to_le_bytes());
    let mut out = bytes[..index].to_vec();
    out.extend(&bytes[index..index + 4]);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(&payload);
    out.extend(&bytes[table..]);
    let entry = out.len() - 17;
    out[entry..entry + 4].copy_from_slice(&(payload.len() as u32 + 8).to_le_bytes());
    out
}

fn put(at: usize, bytes: impl AsRef<[u8]>) -> impl FnOnce(&mut Vec<u8>) {
    move |payload| payload[at..at + bytes.as_ref().len()].copy_from_slice(bytes.as_ref())
}

fn wrong_index(change: impl FnOnce(&mut Vec<u8>)) -> &'static str {
    match check(&forge(change)).unwrap_err() {
        FormatError::IndexWrong { what, .. } => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_shard_itself_is_sound_and_so_is_an_unchanged_forgery() {
    check(&shard()).unwrap();
    assert_eq!(forge(|_| {}), shard());
}

#[test]
fn every_changed_bit_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = shard();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        let result = check_in(folder.path(), &bytes);
        assert!(result.is_err(), "bit {} of byte {}", bit % 8, bit / 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn every_shortening_and_lengthening_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = shard();
    for length in 0..bytes.len() {
        assert!(
            check_in(folder.path(), &bytes[..length]).is_err(),
            "cut to {length}"
        );
        assert!(
            check_in(folder.path(), &bytes[bytes.len() - length..]).is_err(),
            "last {length}"
        );
    }
    for more in [&b"\0"[..], b"\n", &bytes, &bytes[bytes.len() - 9..]] {
        assert!(check_in(folder.path(), &[&bytes, more].concat()).is_err());
        let in_front = [more, &bytes].concat();
        assert!(matches!(
            check_in(folder.path(), &in_front).unwrap_err(),
            FormatError::WrongLength { .. }
        ));
    }
}

#[test]
fn a_file_without_a_seek_table_is_no_shard() {
    let bytes = shard();
    let mut other_descriptor = bytes.clone();
    let at = bytes.len() - 5;
    other_descriptor[at] = 0x80;
    let mut no_entries = bytes.clone();
    let at = bytes.len() - 9;
    no_entries[at..at + 4].fill(0);
    let mut other_table = bytes.clone();
    let at = bytes.len() - (17 + 8 * 4);
    other_table[at] ^= 1;
    let cut = &bytes[..bytes.len() - 1];
    for bad in [
        &[][..],
        b"PK\x05\x06",
        &[0; 500],
        cut,
        &other_descriptor,
        &no_entries,
        &other_table,
    ] {
        assert!(
            matches!(check(bad).unwrap_err(), FormatError::NoSeekTable { .. }),
            "{} bytes",
            bad.len()
        );
    }
}

#[test]
fn a_seek_table_of_another_length_than_the_file_is_noticed_before_it_is_read() {
    let mut bytes = shard();
    let length = bytes.len();
    bytes[length - 9..length - 5].fill(0xFF);
    match check(&bytes).unwrap_err() {
        FormatError::WrongLength {
            found, described, ..
        } => {
            assert_eq!(
                (found, described),
                (length as u64, 8 * u64::from(u32::MAX) + 17)
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        check(&shard()[20..]).unwrap_err(),
        FormatError::WrongLength { .. }
    ));
}

#[test]
fn another_programs_seekable_file_has_no_index() {
    // One empty frame and a seek table of one entry: what the zstd seekable format has of nothing.
    let frame = zstd::bulk::compress(b"", 3).unwrap();
    let entry = [(frame.len() as u32).to_le_bytes(), 0u32.to_le_bytes()].concat();
    let head = [0x184D_2A5E_u32.to_le_bytes(), 17u32.to_le_bytes()].concat();
    let foot = [
        &1u32.to_le_bytes()[..],
        &[0],
        &0x8F92_EAB1_u32.to_le_bytes(),
    ]
    .concat();
    for frame in [frame, vec![0; 9]] {
        let entry = if frame.len() == 9 {
            [9u32.to_le_bytes(), [0; 4]].concat()
        } else {
            entry.clone()
        };
        let foreign = [frame, head.clone(), entry, foot.clone()].concat();
        assert!(matches!(
            check(&foreign).unwrap_err(),
            FormatError::NoIndex { .. }
        ));
    }
    assert!(matches!(
        check(&forge(put(0, b"ANDRSHRE"))).unwrap_err(),
        FormatError::NoIndex { .. }
    ));
    assert!(matches!(
        check(&forge(|payload| payload.truncate(20))).unwrap_err(),
        FormatError::NoIndex { .. }
    ));
}

#[test]
fn a_later_version_says_that_a_newer_program_is_needed() {
    for version in [0u16, 2, 65_535] {
        match check(&forge(put(VERSION, version.to_le_bytes()))).unwrap_err() {
            FormatError::Version {
                found, newest: 1, ..
            } => assert_eq!(found, u32::from(version)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_index_that_does_not_hash_to_its_sum_is_damaged() {
    let mut bytes = shard();
    let at = bytes.windows(8).position(|w| w == b"ANDRSHRD").unwrap();
    bytes[at + ARRAYS + 40] ^= 4;
    assert!(matches!(
        check(&bytes).unwrap_err(),
        FormatError::IndexDamaged { .. }
    ));
}

#[test]
fn an_index_that_contradicts_itself_is_wrong_in_words() {
    let four = |n: u32| n.to_le_bytes();
    let eight = |n: u64| n.to_le_bytes();
    for width in [0, 1, 3, 8] {
        assert!(wrong_index(put(WIDTH, [width])).contains("neither two nor four"));
    }
    assert!(wrong_index(put(WIDTH, [4])).contains("do not suit the vocabulary"));
    assert!(wrong_index(put(FLAGS, [4])).contains("flags"));
    assert!(wrong_index(put(VOCAB, four(0))).contains("no vocabulary"));
    assert!(wrong_index(put(VOCAB, four(70_000))).contains("do not suit the vocabulary"));
    assert!(wrong_index(put(END_OF_TEXT, four(300))).contains("end of text"));
    assert!(wrong_index(put(FRAME_TOKENS, four(0))).contains("frame of no tokens"));
    assert!(wrong_index(put(FRAME_TOKENS, four((1 << 24) + 1))).contains("over 16,777,216"));
    assert!(wrong_index(put(FRAME_TOKENS, four(9))).contains("frames do not hold"));
    assert!(wrong_index(put(FRAME_TOKENS, four(3))).contains("seek table"));
    assert!(wrong_index(put(TOKENS, eight(0))).contains("frames do not hold"));
    assert!(wrong_index(put(TOKENS, eight(u64::MAX))).contains("frames do not hold"));
    assert!(wrong_index(put(TOKENS, eight(10))).contains("documents do not end"));
    for count in [DOCUMENTS, FRAMES, MASKED] {
        for n in [0, 7, u32::MAX] {
            assert!(
                wrong_index(put(count, four(n))).contains("length"),
                "{n} at {count}"
            );
        }
    }
    assert!(wrong_index(|payload| payload.push(0)).contains("length"));
    // Three frames have 12 bytes each, then come the ends of documents.
    let ends = ARRAYS + 3 * 12;
    assert!(wrong_index(put(ends, eight(0))).contains("documents are not in order"));
    assert!(wrong_index(put(ends + 8, eight(3))).contains("documents are not in order"));
    assert!(wrong_index(put(ends + 16, eight(8))).contains("documents do not end"));
    let spans = ends + 3 * 20;
    assert!(wrong_index(put(spans, eight(2))).contains("masked spans"));
    assert!(wrong_index(put(spans + 8, eight(5))).contains("masked spans"));
    assert!(wrong_index(put(spans + 24, eight(10))).contains("masked spans"));
    assert!(wrong_index(put(ARRAYS, four(1))).contains("seek table"));
}

#[test]
fn a_seek_table_that_disagrees_with_the_index_is_noticed() {
    // The sizes of the first two frames trade a byte, so that the table still adds up to the file.
    let mut bytes = shard();
    let entries = bytes.len() - 9 - 8 * 4;
    bytes[entries] += 1;
    bytes[entries + 8] -= 1;
    assert!(matches!(
        check(&bytes).unwrap_err(),
        FormatError::IndexWrong {
            what: "the seek table is another",
            ..
        }
    ));
}

#[test]
fn a_damaged_frame_is_named_and_the_others_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("val-00000.zst");
    let mut bytes = shard();
    let first = bytes.len() - 9 - 8 * 4;
    let second_frame = word(&bytes, first);
    bytes[second_frame + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut reader = ShardReader::open(&path).unwrap();
    let mut ids = Vec::new();
    reader.read_tokens(0..4, &mut ids).unwrap();
    reader.read_tokens(8..9, &mut ids).unwrap();
    assert_eq!(ids, [2, 3, 0, 5, 0]);
    let error = reader.read_tokens(3..6, &mut ids).unwrap_err();
    assert!(
        matches!(error, FormatError::FrameDamaged { frame: 1, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("val-00000.zst"), "{error}");
}

#[test]
fn a_frame_of_another_length_than_declared_is_damaged_whatever_its_hash() {
    // A frame of three ids, and one of five, in the place of the one of the last id, with hash and sizes that suit it.
    for ids in [&[1u16, 2, 3][..], &[1; 5], &[]] {
        let raw: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let frame = zstd::bulk::compress(&raw, 3).unwrap();
        let bytes = shard();
        let last = bytes.len() - 9 - 8 * 2;
        let sizes: Vec<usize> = (0..3)
            .map(|i| word(&bytes, bytes.len() - 9 - 8 * (4 - i)))
            .collect();
        let forged = forge(|payload| {
            payload[ARRAYS + 8..ARRAYS + 12].copy_from_slice(&(frame.len() as u32).to_le_bytes());
            payload[ARRAYS + 28..ARRAYS + 36].copy_from_slice(&xxh3_64(&frame).to_le_bytes());
        });
        let mut forged = [
            &forged[..sizes[0] + sizes[1]],
            &frame,
            &forged[sizes.iter().sum::<usize>()..],
        ]
        .concat();
        let at = forged.len() - (bytes.len() - last);
        forged[at..at + 4].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        let error = check(&forged).unwrap_err();
        assert!(
            matches!(error, FormatError::FrameDamaged { frame: 2, .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_token_outside_the_vocabulary_is_an_error() {
    match check(&forge(put(VOCAB, 9u32.to_le_bytes()))).unwrap_err() {
        FormatError::TokenOutside {
            frame: 1,
            id: 9,
            vocab_size: 9,
            ..
        } => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_forged_index_makes_the_reader_panic_or_fill_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    // A multiplicative generator (Lehmer; the constant is Steele and Vigna's of 2021) is random enough here.
    let mut state = 1u128;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(0xDA94_2042_E4DD_58B5);
        (state >> 64) as usize % below
    };
    for _ in 0..5_000 {
        let bytes = forge(|payload| {
            for _ in 0..1 + random(3) {
                let at = 10 + random(payload.len() - 10);
                payload[at] = [0, 1, 0x7F, 0x80, 0xFF, random(256) as u8][random(6)];
            }
        });
        if let Err(error) = check_in(folder.path(), &bytes) {
            assert!(!error.is_io(), "{error:?}");
        }
    }
}
