//! The decoded bytes of a file: plain, gzip (RFC 1952, any number of members) or zstd (RFC 8878, any number of frames).
//!
//! Every decoder is fenced: a zstd window above `max-window-log` is refused, and output beyond `max-compression-ratio`
//! times the input stops once 64 MiB have come out (1 GiB of zeros is 32,785 bytes of zstd). What was decoded before a
//! fault is handed out before the fault is reported.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use super::{Compression, ReadError, ReadOptions};

const BUFFER_BYTES: usize = 256 << 10;
/// Output that is allowed whatever the ratio: a small file may well be mostly blanks.
const FREE_BYTES: u64 = 64 << 20;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A file that knows how much of it the decoder took, and whether the file itself failed.
struct Counted {
    file: BufReader<File>,
    taken: u64,
    failed: bool,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(into).inspect_err(|_| self.failed = true)?;
        self.taken += got as u64;
        Ok(got)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.file.fill_buf().inspect_err(|_| self.failed = true)
    }

    fn consume(&mut self, amount: usize) {
        self.file.consume(amount);
        self.taken += amount as u64;
    }
}

enum Decoder {
    Plain(Counted),
    Gzip(Box<MultiGzDecoder<Counted>>),
    Zstd(ZstdDecoder<'static, Counted>),
}

impl Decoder {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(into),
            Self::Gzip(decoder) => decoder.read(into),
            Self::Zstd(decoder) => decoder.read(into),
        }
    }

    fn input(&self) -> &Counted {
        match self {
            Self::Plain(file) => file,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }
}

/// The decoded bytes of one file, in pieces.
pub(super) struct Bytes {
    path: PathBuf,
    compression: Compression,
    decoder: Decoder,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    produced: u64,
    max_ratio: u64,
    max_window_log: u32,
}

impl Bytes {
    pub(super) fn open(path: &Path, compression: Compression, options: &ReadOptions) -> Result<Self, ReadError> {
        let io = |source| ReadError::Io { path: path.to_owned(), offset: 0, source };
        let file = File::open(path).map_err(io)?;
        let mut file = Counted { file: BufReader::with_capacity(BUFFER_BYTES, file), taken: 0, failed: false };
        let found = magic(file.fill_buf().map_err(io)?);
        let agrees = match found {
            None => true,
            Some(found) => found == compression.to_string(),
        };
        // An unknown beginning under a name that promises compression is left to the decoder: it may be a cut file.
        if !agrees {
            let found = found.unwrap_or("unknown");
            return Err(ReadError::CompressionMismatch { path: path.to_owned(), expected: compression, found });
        }
        let decoder = match compression {
            Compression::None => Decoder::Plain(file),
            Compression::Gzip => Decoder::Gzip(Box::new(MultiGzDecoder::new(file))),
            Compression::Zstd => {
                let mut decoder = ZstdDecoder::with_buffer(file).map_err(io)?;
                decoder.window_log_max(options.max_window_log).map_err(io)?;
                Decoder::Zstd(decoder)
            }
        };
        Ok(Self {
            path: path.to_owned(),
            compression,
            decoder,
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            start: 0,
            end: 0,
            produced: 0,
            max_ratio: options.max_compression_ratio,
            max_window_log: options.max_window_log,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the file that the decoder took so far.
    pub(super) fn offset(&self) -> u64 {
        self.decoder.input().taken
    }

    /// The next piece of the content; empty at its end.
    pub(super) fn fill(&mut self) -> Result<&[u8], ReadError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    pub(super) fn consume(&mut self, amount: usize) {
        self.start = (self.start + amount).min(self.end);
    }

    /// Passes over a byte order mark; only of use before anything was consumed.
    pub(super) fn skip_bom(&mut self) -> Result<(), ReadError> {
        while self.end - self.start < BOM.len() {
            let before = self.end;
            self.read_more()?;
            if self.end == before {
                break;
            }
        }
        if self.buffer[self.start..self.end].starts_with(BOM) {
            self.consume(BOM.len());
        }
        Ok(())
    }

    /// Fills `into`; less only at the end of the content.
    pub(super) fn read_full(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let mut done = 0;
        while done < into.len() {
            let piece = self.fill()?;
            if piece.is_empty() {
                break;
            }
            let amount = piece.len().min(into.len() - done);
            into[done..done + amount].copy_from_slice(&piece[..amount]);
            self.consume(amount);
            done += amount;
        }
        Ok(done)
    }

    /// The error of a file that ends where it must not.
    pub(super) fn truncated(&self, inside: &'static str) -> ReadError {
        ReadError::Truncated { path: self.path.clone(), offset: self.offset(), inside }
    }

    fn read_more(&mut self) -> Result<(), ReadError> {
        let got = loop {
            match self.decoder.read(&mut self.buffer[self.end..]) {
                Ok(got) => break got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.classify(error)),
            }
        };
        self.end += got;
        self.produced += got as u64;
        let offset = self.offset();
        let bounded = self.compression == Compression::None
            || self.produced <= FREE_BYTES
            || self.produced / self.max_ratio <= offset;
        if bounded {
            Ok(())
        } else {
            self.end = self.start;
            Err(ReadError::Bomb { path: self.path.clone(), offset, produced: self.produced, limit: self.max_ratio })
        }
    }

    fn classify(&self, error: io::Error) -> ReadError {
        let (path, offset) = (self.path.clone(), self.offset());
        if self.decoder.input().failed || self.compression == Compression::None {
            return ReadError::Io { path, offset, source: error };
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            let inside = if self.compression == Compression::Gzip { "a gzip member" } else { "a zstd frame" };
            return self.truncated(inside);
        }
        let problem = error.to_string();
        // The only way that libzstd tells this fault from others is its name, ZSTD_error_frameParameter_windowTooLarge.
        if problem.contains("requires too much memory") {
            return ReadError::Window { path, offset, limit: self.max_window_log };
        }
        ReadError::Damaged { path, offset, compression: self.compression, problem }
    }
}

/// What the first bytes of a file say, where they cannot begin a text.
fn magic(first: &[u8]) -> Option<&'static str> {
    if first.starts_with(b"\x1f\x8b") {
        Some("gzip")
    } else if first.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable_frame(first) {
        Some("zstd")
    } else if first.starts_with(b"\xfd7zXZ\0") {
        Some("xz, which is not read: unpack it first")
    } else if first.starts_with(b"PK\x03\x04") {
        Some("a zip archive, which is not read: unpack it first")
    } else {
        None
    }
}

fn is_skippable_frame(first: &[u8]) -> bool {
    first.len() >= 4 && (0x50..=0x5f).contains(&first[0]) && first[1..4] == [0x2a, 0x4d, 0x18]
}
