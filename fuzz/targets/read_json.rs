//! Whatever bytes a JSON file holds, its rows do not depend on where blocks are cut, and come in order.

#![no_main]

use std::path::Path;

use andromeda_pipeline::read::{self, FileFormat, ReadOptions};
use libfuzzer_sys::fuzz_target;

/// The rows, faults among them, and how the file ended, without the words for it.
fn rows(path: &Path, format: FileFormat, block_bytes: usize) -> (Vec<String>, bool) {
    let options = ReadOptions {
        format: Some(format),
        block_bytes,
        max_row_bytes: 1 << 16,
        ..ReadOptions::default()
    };
    let mut rows = Vec::new();
    let Ok(mut source) = read::open(path, &options) else {
        return (rows, false);
    };
    loop {
        match source.next_block() {
            Ok(Some(block)) => {
                let decoded = block.decode(&mut |number, row| {
                    assert_eq!(number, rows.len() as u64);
                    rows.push(row.map_or_else(|fault| fault.to_string(), |row| format!("{row:?}")));
                });
                assert!(decoded.is_ok(), "only parquet fails as a whole");
            }
            Ok(None) => return (rows, true),
            Err(_) => return (rows, false),
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rows");
    std::fs::write(&path, bytes).expect("a temporary file");
    for format in [FileFormat::Json, FileFormat::Jsonl] {
        assert_eq!(rows(&path, format, 1), rows(&path, format, 1 << 20));
    }
});
