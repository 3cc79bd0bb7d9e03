//! Reads a shard and trusts nothing in it.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{FormatError, Result};
use crate::shard::{
    SEEK_FOOTER, SEEKABLE_MAGIC, SKIPPABLE_INDEX, SKIPPABLE_SEEK_TABLE, ShardIndex, TokenWidth,
    seek_table,
};

/// What decoding needs and a caller keeps from frame to frame: making it anew costs a tenth of a frame.
#[derive(Default)]
pub(crate) struct FrameDecoder {
    compressed: Vec<u8>,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
}

impl std::fmt::Debug for FrameDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameDecoder").finish_non_exhaustive()
    }
}

/// Appends stored ids to `ids`.
pub(crate) fn widen(width: TokenWidth, raw: &[u8], ids: &mut Vec<u32>) {
    match width {
        TokenWidth::U16 => ids.extend(
            raw.chunks_exact(2)
                .map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))),
        ),
        TokenWidth::U32 => ids.extend(
            raw.chunks_exact(4)
                .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
        ),
    }
}

/// An id that is no token of the vocabulary.
fn outside(width: TokenWidth, vocab_size: u32, raw: &[u8]) -> Option<u32> {
    let most = match width {
        TokenWidth::U16 => {
            let ids = raw
                .chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]));
            u32::from(ids.fold(0, u16::max))
        }
        TokenWidth::U32 => {
            let ids = raw.chunks_exact(4);
            ids.map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                .fold(0, u32::max)
        }
    };
    (most >= vocab_size).then_some(most)
}

/// An open shard.
///
/// Checks happen in this order: the seek table's magic, sizes against the file's, the index's magic, version and hash,
/// declared counts against the index's length, the seek table against the index; and for each frame its hash before it is
/// decompressed into a buffer of exactly the declared size, then every id against the vocabulary. A flipped bit anywhere in
/// the file is noticed before a token behind it is used.
#[derive(Debug)]
pub struct ShardReader {
    path: PathBuf,
    file: File,
    index: ShardIndex,
    /// Offset of each frame.
    offsets: Vec<u64>,
    /// The last frame that was decoded, and its ids.
    decoded: Option<(usize, Vec<u32>)>,
}

impl ShardReader {
    /// Opens a shard and checks everything but the frames.
    ///
    /// # Errors
    ///
    /// One variant of [`FormatError`] for each of the checks above.
    pub fn open(path: &Path) -> Result<Self> {
        let io = || FormatError::io(path);
        let file = File::open(path).map_err(io())?;
        let length = file.metadata().map_err(io())?.len();
        let no_table = || FormatError::NoSeekTable {
            file: path.to_path_buf(),
        };
        let mut footer = [0u8; SEEK_FOOTER];
        if length < (8 + SEEK_FOOTER) as u64 {
            return Err(no_table());
        }
        file.read_exact_at(&mut footer, length - SEEK_FOOTER as u64)
            .map_err(io())?;
        let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let entries = u64::from(word(&footer));
        if word(&footer[5..]) != SEEKABLE_MAGIC || footer[4] != 0 || entries < 1 {
            return Err(no_table());
        }
        let table_bytes = entries * 8 + (8 + SEEK_FOOTER) as u64;
        let mismatch = |described: u64| FormatError::WrongLength {
            file: path.to_path_buf(),
            found: length,
            described,
        };
        if table_bytes > length {
            return Err(mismatch(table_bytes));
        }
        let mut table = vec![0u8; usize::try_from(table_bytes).map_err(|_| no_table())?];
        file.read_exact_at(&mut table, length - table_bytes)
            .map_err(io())?;
        if word(&table) != SKIPPABLE_SEEK_TABLE {
            return Err(no_table());
        }
        let sizes: Vec<u64> = table[8..table.len() - SEEK_FOOTER]
            .chunks_exact(8)
            .map(|entry| u64::from(word(entry)))
            .collect();
        let described = sizes
            .iter()
            .fold(table_bytes, |sum, size| sum.saturating_add(*size));
        if described != length {
            return Err(mismatch(described));
        }
        let index_frame = sizes[sizes.len() - 1];
        let no_index = || FormatError::NoIndex {
            file: path.to_path_buf(),
        };
        if index_frame < 8 {
            return Err(no_index());
        }
        let mut frame = vec![0u8; usize::try_from(index_frame).map_err(|_| no_index())?];
        file.read_exact_at(&mut frame, length - table_bytes - index_frame)
            .map_err(io())?;
        if word(&frame) != SKIPPABLE_INDEX || u64::from(word(&frame[4..])) != index_frame - 8 {
            return Err(no_index());
        }
        let index = ShardIndex::decode(path, &frame[8..])?;
        let width = index.width.bytes() as u64;
        let implied = seek_table(
            &index.frames,
            u32::try_from(index_frame).map_err(|_| no_index())?,
            |i| u32::try_from(index.frame_len(i) * width).unwrap_or(u32::MAX),
        )?;
        if implied != table {
            return Err(FormatError::IndexWrong {
                file: path.to_path_buf(),
                what: "the seek table is another",
            });
        }
        let offsets = index
            .frames
            .iter()
            .scan(0u64, |at, (size, _)| {
                Some(std::mem::replace(at, *at + u64::from(*size)))
            })
            .collect();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            index,
            offsets,
            decoded: None,
        })
    }

    /// What the shard says about itself.
    pub fn index(&self) -> &ShardIndex {
        &self.index
    }

    /// The shard's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Decodes a frame; below [`Self::frames`].
    ///
    /// # Errors
    ///
    /// [`FormatError::FrameDamaged`] and [`FormatError::TokenOutside`].
    pub fn frame(&self, frame: usize) -> Result<Vec<u32>> {
        let tokens = match self.index.frames.get(frame) {
            Some(_) => usize::try_from(self.index.frame_len(frame)).unwrap_or(usize::MAX),
            None => 0,
        };
        let mut raw = vec![0; tokens * self.index.width.bytes()];
        self.decode(frame, &mut FrameDecoder::default(), &mut raw)?;
        let mut ids = Vec::new();
        widen(self.index.width, &raw, &mut ids);
        Ok(ids)
    }

    /// Decodes a frame into `raw`, which is as long as its ids are stored; checked as [`Self::frame`] does. After an error
    /// there is anything in it.
    pub(crate) fn decode(
        &self,
        frame: usize,
        decoder: &mut FrameDecoder,
        raw: &mut [u8],
    ) -> Result<()> {
        let damaged = || FormatError::FrameDamaged {
            file: self.path.clone(),
            frame,
        };
        let (size, hash) = *self.index.frames.get(frame).ok_or_else(damaged)?;
        decoder.compressed.resize(size as usize, 0);
        self.file
            .read_exact_at(&mut decoder.compressed, self.offsets[frame])
            .map_err(FormatError::io(&self.path))?;
        if xxh3_64(&decoder.compressed) != hash {
            return Err(damaged());
        }
        if raw.len() as u64 != self.index.frame_len(frame) * self.index.width.bytes() as u64 {
            return Err(damaged());
        }
        let zstd = match &mut decoder.zstd {
            Some(zstd) => zstd,
            none => {
                none.insert(zstd::bulk::Decompressor::new().map_err(FormatError::io(&self.path))?)
            }
        };
        let written = zstd.decompress_to_buffer(&decoder.compressed, raw);
        if written.map_err(|_| damaged())? != raw.len() {
            return Err(damaged());
        }
        match outside(self.index.width, self.index.vocab_size, raw) {
            None => Ok(()),
            Some(id) => Err(FormatError::TokenOutside {
                file: self.path.clone(),
                frame,
                id,
                vocab_size: self.index.vocab_size,
            }),
        }
    }

    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.index.frames.len()
    }

    /// Appends the ids of `range`. Only the frames that hold them are read; the last one is kept for the next call.
    pub fn read_tokens(&mut self, range: Range<u64>, ids: &mut Vec<u32>) -> Result<()> {
        let outside = || FormatError::OutOfRange {
            file: self.path.clone(),
            start: range.start,
            end: range.end,
            tokens: self.index.tokens,
        };
        if range.start > range.end || range.end > self.index.tokens {
            return Err(outside());
        }
        let step = u64::from(self.index.frame_tokens);
        let mut at = range.start;
        while at < range.end {
            let number = usize::try_from(at / step).map_err(|_| outside())?;
            if self
                .decoded
                .as_ref()
                .is_none_or(|(decoded, _)| *decoded != number)
            {
                self.decoded = Some((number, self.frame(number)?));
            }
            let (_, frame) = self.decoded.as_ref().expect("decoded just above");
            let first = number as u64 * step;
            let end = range.end.min(first + step);
            let within =
                |token: u64| usize::try_from(token - first).expect("a frame is held in memory");
            ids.extend_from_slice(&frame[within(at)..within(end)]);
            at = end;
        }
        Ok(())
    }

    /// Reads every frame.
    ///
    /// # Errors
    ///
    /// That of the first frame that is wrong.
    pub fn verify(&self) -> Result<()> {
        (0..self.frames()).try_for_each(|frame| self.frame(frame).map(drop))
    }
}
