//! Ids in a file, of a type that the file itself may not say, read in pieces and checked one by one.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::ImportError;

/// How an id is stored, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdType {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Two bytes with a sign.
    I16,
    /// Four bytes.
    U32,
    /// Four bytes with a sign.
    I32,
    /// Eight bytes with a sign.
    I64,
}

impl IdType {
    /// Its name, as numpy abbreviates it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::U8 => "u8",
            Self::U16 => "u16",
            Self::I16 => "i16",
            Self::U32 => "u32",
            Self::I32 => "i32",
            Self::I64 => "i64",
        }
    }

    /// Bytes an id.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    fn read(self, bytes: &[u8]) -> i64 {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        let [a, b, c, d, ..] = whole;
        match self {
            Self::U8 | Self::U16 | Self::U32 | Self::I64 => i64::from_le_bytes(whole),
            Self::I16 => i64::from(i16::from_le_bytes([a, b])),
            Self::I32 => i64::from(i32::from_le_bytes([a, b, c, d])),
        }
    }
}

/// Ids that are read at once: 64 Ki.
pub(super) const PIECE: usize = 1 << 16;
/// Pairs of ids that must look like ids twice as wide before they are taken for such.
const TELLING: usize = 16;

/// A file of ids.
#[derive(Debug)]
pub(super) struct IdFile {
    path: PathBuf,
    file: fs_err::File,
    kind: IdType,
    vocab_size: u32,
    tokens: u64,
    at: u64,
    bytes: Vec<u8>,
}

impl IdFile {
    /// Opens it and checks that it holds whole ids, at least one.
    pub(super) fn open(path: &Path, kind: IdType, vocab_size: u32) -> Result<Self, ImportError> {
        let file = fs_err::File::open(path)?;
        let bytes = file.metadata()?.len();
        let width = kind.bytes() as u64;
        if bytes == 0 {
            return Err(ImportError::damaged(path, "it is empty"));
        }
        if !bytes.is_multiple_of(width) {
            let what = format!(
                "its {bytes} bytes are no whole number of {}: it was cut short, or its ids are of another type (--dtype)",
                kind.name()
            );
            return Err(ImportError::damaged(path, what));
        }
        Ok(Self {
            path: path.to_path_buf(),
            file,
            kind,
            vocab_size,
            tokens: bytes / width,
            at: 0,
            bytes: Vec::new(),
        })
    }

    /// Ids in it.
    pub(super) fn tokens(&self) -> u64 {
        self.tokens
    }

    /// Refuses a file that has ids twice as wide as was thought: the upper halves of its ids are then within any vocabulary.
    pub(super) fn check_width(&mut self) -> Result<(), ImportError> {
        if self.kind != IdType::U16 {
            return Ok(());
        }
        let mut ids = Vec::new();
        let piece = usize::try_from(self.tokens).map_or(PIECE, |tokens| tokens.min(PIECE));
        self.read(piece, &mut ids)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.at = 0;
        // The upper half of an id of this vocabulary, read by itself, is at most this.
        let upper = (self.vocab_size - 1) >> 16;
        let pairs = ids.chunks_exact(2);
        if pairs.len() >= TELLING
            && pairs.clone().all(|pair| pair[1] <= upper)
            && pairs.clone().any(|pair| pair[0] > upper)
        {
            let what = format!(
                "every second of its ids is {upper} or less, as if ids of u32 were read as u16; say --dtype u32"
            );
            return Err(ImportError::damaged(&self.path, what));
        }
        Ok(())
    }

    /// Reads the next `count` ids, of which there are as many.
    pub(super) fn read(&mut self, count: usize, ids: &mut Vec<u32>) -> Result<(), ImportError> {
        let width = self.kind.bytes();
        ids.clear();
        ids.reserve(count);
        self.bytes.resize(count * width, 0);
        self.file.read_exact(&mut self.bytes)?;
        for bytes in self.bytes.chunks_exact(width) {
            let value = self.kind.read(bytes);
            let id = u32::try_from(value).ok().filter(|id| *id < self.vocab_size);
            let Some(id) = id else {
                let what = format!(
                    "id {value} at token {} is outside the vocabulary of {}: it is of another tokenizer, or its ids are not {} \
                     (--dtype)",
                    self.at + ids.len() as u64,
                    self.vocab_size,
                    self.kind.name()
                );
                return Err(ImportError::damaged(&self.path, what));
            };
            ids.push(id);
        }
        self.at += count as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_every_type_are_read() {
        // Of `numpy.array([-2], dtype).tobytes()`, and of 300 where there is no sign.
        assert_eq!(IdType::U8.read(&[0xfe]), 254);
        assert_eq!(IdType::U16.read(&[0x2c, 0x01]), 300);
        assert_eq!(IdType::U32.read(&[0x2c, 0x01, 0, 0]), 300);
        assert_eq!(IdType::I16.read(&[0xfe, 0xff]), -2);
        assert_eq!(IdType::I32.read(&[0xfe, 0xff, 0xff, 0xff]), -2);
        assert_eq!(
            IdType::I64.read(&[0xfe, 255, 255, 255, 255, 255, 255, 255]),
            -2
        );
    }
}
