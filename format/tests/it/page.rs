//! `SPEC.md` and the code say the same: the bytes of the page's example are read, and written again.

use andromeda_format::{
    DocumentEntry, ShardFlags, ShardReader, ShardSpec, TokenWidth, write_shard,
};

/// The example's bytes, which were put together by a Python program from the page's words alone; its hashes are those of the
/// `xxhash` package.
pub(crate) fn example() -> Vec<u8> {
    let page = include_str!("../../SPEC.md");
    let example = page
        .split("### Example")
        .nth(1)
        .unwrap()
        .split("```")
        .nth(1)
        .unwrap();
    let bytes = example.lines().map(|line| line.split(';').next().unwrap());
    bytes
        .flat_map(str::split_whitespace)
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

/// sha256 of the empty string.
pub(crate) const NOTHING: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24,
    0x27, 0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];
const DOCUMENTS: [DocumentEntry; 2] = [
    DocumentEntry {
        end: 3,
        source: 0,
        row: 7,
    },
    DocumentEntry {
        end: 5,
        source: 1,
        row: 8,
    },
];

#[test]
fn the_bytes_of_the_page_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("train-00000.zst");
    std::fs::write(&path, example()).unwrap();
    let mut reader = ShardReader::open(&path).unwrap();
    reader.verify().unwrap();
    let mut ids = Vec::new();
    reader.read_tokens(0..5, &mut ids).unwrap();
    assert_eq!(ids, [2, 3, 0, 5, 0]);
    let index = reader.index();
    assert_eq!(
        (index.width, index.vocab_size, index.end_of_text),
        (TokenWidth::U16, 300, 0)
    );
    assert_eq!(
        (index.frame_tokens, index.tokens, reader.frames()),
        (4, 5, 2)
    );
    assert_eq!(
        (index.continues_from_previous, index.continues_in_next),
        (false, false)
    );
    assert_eq!(index.tokenizer_sha256, NOTHING);
    assert_eq!(index.documents, DOCUMENTS);
    let masked = 0..2;
    assert_eq!(index.masked, std::slice::from_ref(&masked));
}

#[test]
fn the_writer_writes_the_bytes_of_the_page() {
    let spec = ShardSpec {
        width: TokenWidth::U16,
        vocab_size: 300,
        end_of_text: 0,
        frame_tokens: 4,
        tokenizer_sha256: NOTHING,
        level: 3,
    };
    let masked = 0..2;
    let (bytes, _) = write_shard(
        &spec,
        &[2, 3, 0, 5, 0],
        &DOCUMENTS,
        std::slice::from_ref(&masked),
        ShardFlags::default(),
        Vec::new(),
    )
    .unwrap();
    assert_eq!(bytes, example());
}
