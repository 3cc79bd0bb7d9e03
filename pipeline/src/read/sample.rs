//! Some of a file's blocks, evenly spread over it: what a budget takes of a file that is larger than itself.

use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use super::{Block, BlockHead, BlockSource, ReadError, ReadOptions};

/// So many bytes of a file of so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Share {
    /// Bytes to take, more or less: whole blocks are taken, the first one always.
    pub take: u64,
    /// Bytes of the file.
    pub of: u64,
}

impl Share {
    /// Whether the block with this number is taken. The blocks taken stand as far from each other as possible, since a file
    /// is often sorted by something.
    fn takes(self, block: u64) -> bool {
        let before = |block: u64| {
            u128::from(block) * u128::from(self.take.min(self.of)) / u128::from(self.of.max(1))
        };
        block == 0 || before(block) > before(block - 1)
    }
}

/// Bytes at the end of a parquet file that say how many bytes before them are its footer.
pub const PARQUET_TAIL_BYTES: u64 = 8;

/// The bytes of a parquet file's footer, tail included, by its last [`PARQUET_TAIL_BYTES`]; nothing if it is no such file.
#[must_use]
pub fn parquet_footer_bytes(tail: [u8; 8]) -> Option<u64> {
    let [a, b, c, d, magic @ ..] = tail;
    let length = u64::from(u32::from_le_bytes([a, b, c, d]));
    (magic == *b"PAR1").then_some(length + PARQUET_TAIL_BYTES)
}

/// Where in a parquet file, of which nothing but the footer need be there, the bytes stand that `share` takes.
///
/// # Errors
/// The footer is not what it should be.
pub fn parquet_extents(
    path: &Path,
    options: &ReadOptions,
    share: Share,
) -> Result<Vec<Range<u64>>, ReadError> {
    let source = super::parquet::ParquetSource::open(path, options)?;
    source.extents(&|block| share.takes(block))
}

/// Passes over the blocks that a share does not take. Rows keep their numbers.
struct Sample {
    source: Box<dyn BlockSource>,
    share: Share,
    next: u64,
}

/// The blocks of `source` that `share` takes; all of them without one.
#[must_use]
pub fn sampled(source: Box<dyn BlockSource>, share: Option<Share>) -> Box<dyn BlockSource> {
    match share {
        None => source,
        Some(share) => Box::new(Sample {
            source,
            share,
            next: 0,
        }),
    }
}

impl Sample {
    /// Goes to the next block that is taken; `false` where the file ends before it.
    fn advance(&mut self) -> Result<bool, ReadError> {
        while !self.share.takes(self.next) {
            self.next += 1;
            if self.source.skip_block()?.is_none() {
                return Ok(false);
            }
        }
        self.next += 1;
        Ok(true)
    }
}

impl BlockSource for Sample {
    fn next_block(&mut self) -> Result<Option<Block>, ReadError> {
        if self.advance()? {
            self.source.next_block()
        } else {
            Ok(None)
        }
    }

    fn skip_block(&mut self) -> Result<Option<BlockHead>, ReadError> {
        if self.advance()? {
            self.source.skip_block()
        } else {
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::open;

    #[test]
    fn blocks_are_taken_evenly_and_rows_keep_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.jsonl");
        let rows: Vec<String> = (0..1000).map(|n| format!("{{\"n\": {n}}}\n")).collect();
        fs_err::write(&file, rows.concat()).unwrap();
        let options = ReadOptions {
            block_bytes: 100,
            ..ReadOptions::default()
        };
        let read = |share: Option<Share>, skip: bool| -> Vec<u64> {
            let mut source = sampled(open(&file, &options).unwrap(), share);
            let mut numbers = Vec::new();
            if skip {
                numbers.push(source.skip_block().unwrap().unwrap().first_row);
            }
            while let Some(block) = source.next_block().unwrap() {
                block
                    .decode(&mut |number, row| {
                        assert_eq!(row.unwrap()["n"], number);
                        numbers.push(number);
                    })
                    .unwrap();
            }
            numbers
        };
        let all = read(None, false);
        assert_eq!(all.len(), 1000);
        let quarter = read(Some(Share { take: 25, of: 100 }), false);
        assert!((230..=270).contains(&quarter.len()), "{}", quarter.len());
        for part in 0..10 {
            let range = part * 100..(part + 1) * 100;
            let there = quarter.iter().filter(|number| range.contains(*number));
            assert!((10..=45).contains(&there.count()), "{range:?}");
        }
        assert_eq!(read(Some(Share { take: 100, of: 100 }), false), all);
        // A block that is passed over because it is done is one of those taken.
        let resumed = read(Some(Share { take: 25, of: 100 }), true);
        assert_eq!(resumed[0], 0);
        assert!(quarter.ends_with(&resumed[1..]) && resumed.len() < quarter.len());
        let first = read(Some(Share { take: 0, of: 100 }), false);
        assert!(!first.is_empty() && first.len() < 10);
    }
}
