//! The bytes of a shard: frames, index, seek table. `SPEC.md` has them on one page.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{FormatError, Result};
use crate::manifest::VERSION;

pub(crate) const INDEX_MAGIC: &[u8; 8] = b"ANDRSHRD";
pub(crate) const SKIPPABLE_INDEX: u32 = 0x184D_2A50;
pub(crate) const SKIPPABLE_SEEK_TABLE: u32 = 0x184D_2A5E;
pub(crate) const SEEKABLE_MAGIC: u32 = 0x8F92_EAB1;
/// Bytes of the index before its arrays.
pub(crate) const INDEX_HEAD: usize = 8 + 2 + 1 + 1 + 4 + 4 + 4 + 8 + 4 + 4 + 4 + 32;
/// Bytes after the seek table's entries.
pub(crate) const SEEK_FOOTER: usize = 9;

/// Tokens a frame may have: 64 MiB of ids. A reader holds a frame in memory on the word of the index alone.
pub(crate) const MAX_FRAME_TOKENS: u32 = 1 << 24;

const CONTINUES_FROM_PREVIOUS: u8 = 1;
const CONTINUES_IN_NEXT: u8 = 2;

/// How an id is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenWidth {
    /// Two bytes, little-endian; for vocabularies of at most 65,536 ids.
    U16,
    /// Four bytes, little-endian.
    U32,
}

impl TokenWidth {
    /// The smallest that holds every id of a vocabulary.
    pub const fn for_vocab(vocab_size: u32) -> Self {
        if vocab_size <= 1 << 16 {
            Self::U16
        } else {
            Self::U32
        }
    }

    /// Bytes an id.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }
}

/// What all shards of a build share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardSpec {
    /// How ids are stored.
    pub width: TokenWidth,
    /// Largest id plus one.
    pub vocab_size: u32,
    /// The id that ends every document.
    pub end_of_text: u32,
    /// Tokens in every frame but the last; 1 to 16,777,216.
    pub frame_tokens: u32,
    /// sha256 of the tokenizer's file.
    pub tokenizer_sha256: [u8; 32],
    /// zstd level.
    pub level: i32,
}

/// A document in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentEntry {
    /// The token of this shard after its last one here, its end of text included.
    pub end: u64,
    /// Index of its dataset in the manifest.
    pub source: u32,
    /// Its row in the build's table of documents.
    pub row: u64,
}

/// Whether documents cross the ends of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ShardFlags {
    /// The first document began in the shard before.
    pub continues_from_previous: bool,
    /// The last document goes on in the shard after.
    pub continues_in_next: bool,
}

/// A compressed frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    xxh3: u64,
    tokens: u32,
    width: TokenWidth,
    vocab_size: u32,
}

/// Everything a shard says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardIndex {
    /// How ids are stored.
    pub width: TokenWidth,
    /// Largest id plus one.
    pub vocab_size: u32,
    /// The id that ends every document.
    pub end_of_text: u32,
    /// Tokens in every frame but the last.
    pub frame_tokens: u32,
    /// Tokens in the shard.
    pub tokens: u64,
    /// sha256 of the tokenizer's file.
    pub tokenizer_sha256: [u8; 32],
    /// The first document began in the shard before.
    pub continues_from_previous: bool,
    /// The last document goes on in the shard after.
    pub continues_in_next: bool,
    /// The documents, in order.
    pub documents: Vec<DocumentEntry>,
    /// Ranges of tokens that carry no loss: sorted, disjoint, none empty.
    pub masked: Vec<Range<u64>>,
    /// Compressed size and hash of each frame.
    pub(crate) frames: Vec<(u32, u64)>,
}

/// Compresses one frame's ids. A pure function, so callers may run it on many threads.
///
/// # Errors
///
/// [`FormatError::Unwritable`] for no ids, for more than a frame's, and for an id outside the vocabulary.
pub fn encode_frame(spec: &ShardSpec, ids: &[u32]) -> Result<Frame> {
    let tokens = u32::try_from(ids.len())
        .ok()
        .filter(|n| (1..=spec.frame_tokens).contains(n));
    let tokens = tokens
        .ok_or_else(|| FormatError::unwritable(format!("a frame of {} tokens", ids.len())))?;
    if let Some(id) = ids.iter().find(|id| **id >= spec.vocab_size) {
        return Err(FormatError::unwritable(format!(
            "token {id} is outside the vocabulary of {}",
            spec.vocab_size
        )));
    }
    let mut raw = Vec::with_capacity(ids.len() * spec.width.bytes());
    match spec.width {
        TokenWidth::U16 => {
            for id in ids {
                let id = u16::try_from(*id).map_err(|_| {
                    FormatError::unwritable("two bytes do not hold this vocabulary")
                })?;
                raw.extend_from_slice(&id.to_le_bytes());
            }
        }
        TokenWidth::U32 => ids
            .iter()
            .for_each(|id| raw.extend_from_slice(&id.to_le_bytes())),
    }
    let compress = || {
        let mut compressor = zstd::bulk::Compressor::new(spec.level)?;
        compressor.include_checksum(true)?;
        compressor.include_contentsize(true)?;
        compressor.compress(&raw)
    };
    let bytes = compress().map_err(|error| FormatError::unwritable(error.to_string()))?;
    Ok(Frame {
        xxh3: xxh3_64(&bytes),
        bytes,
        tokens,
        width: spec.width,
        vocab_size: spec.vocab_size,
    })
}

/// Writes a shard frame by frame.
#[derive(Debug)]
pub struct ShardWriter<W> {
    spec: ShardSpec,
    to: W,
    frames: Vec<(u32, u64)>,
    tokens: u64,
    last_is_short: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSummary {
    /// Tokens.
    pub tokens: u64,
    /// Documents, whole or in part.
    pub documents: u64,
}

impl<W: Write> ShardWriter<W> {
    /// Writes to `to`, which should be buffered or take large writes well.
    pub fn new(spec: ShardSpec, to: W) -> Self {
        Self {
            spec,
            to,
            frames: Vec::new(),
            tokens: 0,
            last_is_short: false,
        }
    }

    /// Adds a frame; only the last may be short.
    pub fn push_frame(&mut self, frame: Frame) -> Result<()> {
        if self.last_is_short {
            return Err(FormatError::unwritable("a frame after a short one"));
        }
        if frame.width != self.spec.width
            || frame.vocab_size != self.spec.vocab_size
            || frame.tokens > self.spec.frame_tokens
        {
            return Err(FormatError::unwritable(
                "a frame that was made for other shards",
            ));
        }
        self.last_is_short = frame.tokens < self.spec.frame_tokens;
        self.tokens += u64::from(frame.tokens);
        let size = u32::try_from(frame.bytes.len())
            .map_err(|_| FormatError::unwritable("a frame of over 4 GiB"))?;
        self.frames.push((size, frame.xxh3));
        self.to
            .write_all(&frame.bytes)
            .map_err(FormatError::io(Path::new("shard")))
    }

    /// Writes index and seek table, and gives the writer back.
    pub fn finish(
        mut self,
        documents: &[DocumentEntry],
        masked: &[Range<u64>],
        flags: ShardFlags,
    ) -> Result<(W, ShardSummary)> {
        let index = ShardIndex {
            width: self.spec.width,
            vocab_size: self.spec.vocab_size,
            end_of_text: self.spec.end_of_text,
            frame_tokens: self.spec.frame_tokens,
            tokens: self.tokens,
            tokenizer_sha256: self.spec.tokenizer_sha256,
            continues_from_previous: flags.continues_from_previous,
            continues_in_next: flags.continues_in_next,
            documents: documents.to_vec(),
            masked: masked.to_vec(),
            frames: self.frames,
        };
        index.check().map_err(FormatError::unwritable)?;
        let payload = index.encode()?;
        let tail = tail(&index.frames, &payload)?;
        self.to
            .write_all(&tail)
            .map_err(FormatError::io(Path::new("shard")))?;
        Ok((
            self.to,
            ShardSummary {
                tokens: self.tokens,
                documents: documents.len() as u64,
            },
        ))
    }
}

/// Writes a whole shard from ids in memory.
pub fn write_shard<W: Write>(
    spec: &ShardSpec,
    ids: &[u32],
    documents: &[DocumentEntry],
    masked: &[Range<u64>],
    flags: ShardFlags,
    to: W,
) -> Result<(W, ShardSummary)> {
    let mut writer = ShardWriter::new(spec.clone(), to);
    // Of a spec without frame tokens, the index says what is wrong.
    for part in ids.chunks(spec.frame_tokens.max(1) as usize) {
        writer.push_frame(encode_frame(spec, part)?)?;
    }
    writer.finish(documents, masked, flags)
}

/// All bytes after the last frame: the index in its skippable frame, and the seek table in its own.
pub(crate) fn tail(frames: &[(u32, u64)], payload: &[u8]) -> Result<Vec<u8>> {
    let long = |_| FormatError::unwritable("the index is over 4 GiB; write smaller shards");
    let mut out = Vec::with_capacity(payload.len() + 16 + frames.len() * 8 + 32);
    out.extend_from_slice(&SKIPPABLE_INDEX.to_le_bytes());
    out.extend_from_slice(&u32::try_from(payload.len()).map_err(long)?.to_le_bytes());
    out.extend_from_slice(payload);
    let index_frame = u32::try_from(out.len()).map_err(long)?;
    Ok([
        out,
        seek_table(frames, index_frame, |i| {
            frame_bytes(payload, frames.len(), i)
        })?,
    ]
    .concat())
}

/// Decompressed size of frame `i`, from the head of an encoded index.
fn frame_bytes(payload: &[u8], frames: usize, i: usize) -> u32 {
    let word = |at: usize| {
        u32::from_le_bytes([
            payload[at],
            payload[at + 1],
            payload[at + 2],
            payload[at + 3],
        ])
    };
    let width = u64::from(payload[10]);
    let frame_tokens = u64::from(word(20));
    let tokens = u64::from(word(24)) | u64::from(word(28)) << 32;
    let in_frame = if i + 1 < frames {
        frame_tokens
    } else {
        tokens - frame_tokens * (frames as u64 - 1)
    };
    u32::try_from(in_frame * width).unwrap_or(u32::MAX)
}

/// The seek table of the zstd seekable format, without checksums: the index has stronger ones.
pub(crate) fn seek_table(
    frames: &[(u32, u64)],
    index_frame: u32,
    decompressed: impl Fn(usize) -> u32,
) -> Result<Vec<u8>> {
    let long = |_| FormatError::unwritable("more frames than a seek table holds");
    let entries = u32::try_from(frames.len() + 1).map_err(long)?;
    let size = u32::try_from((frames.len() + 1) * 8 + SEEK_FOOTER).map_err(long)?;
    let mut out = Vec::with_capacity(size as usize + 8);
    out.extend_from_slice(&SKIPPABLE_SEEK_TABLE.to_le_bytes());
    out.extend_from_slice(&size.to_le_bytes());
    for (i, (compressed, _)) in frames.iter().enumerate() {
        out.extend_from_slice(&compressed.to_le_bytes());
        out.extend_from_slice(&decompressed(i).to_le_bytes());
    }
    out.extend_from_slice(&index_frame.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out.extend_from_slice(&entries.to_le_bytes());
    out.push(0);
    out.extend_from_slice(&SEEKABLE_MAGIC.to_le_bytes());
    Ok(out)
}

impl ShardIndex {
    /// Tokens of a frame.
    pub(crate) fn frame_len(&self, frame: usize) -> u64 {
        let start = frame as u64 * u64::from(self.frame_tokens);
        u64::from(self.frame_tokens).min(self.tokens - start)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        let many =
            |_| FormatError::unwritable("more documents, frames or spans than a shard holds");
        let count = |n: usize| u32::try_from(n).map_err(many);
        let mut out = Vec::with_capacity(
            INDEX_HEAD
                + self.frames.len() * 12
                + self.documents.len() * 20
                + self.masked.len() * 16
                + 8,
        );
        out.extend_from_slice(INDEX_MAGIC);
        out.extend_from_slice(&u16::try_from(VERSION).map_err(many)?.to_le_bytes());
        out.push(match self.width {
            TokenWidth::U16 => 2,
            TokenWidth::U32 => 4,
        });
        out.push(
            if self.continues_from_previous {
                CONTINUES_FROM_PREVIOUS
            } else {
                0
            } | if self.continues_in_next {
                CONTINUES_IN_NEXT
            } else {
                0
            },
        );
        out.extend_from_slice(&self.vocab_size.to_le_bytes());
        out.extend_from_slice(&self.end_of_text.to_le_bytes());
        out.extend_from_slice(&self.frame_tokens.to_le_bytes());
        out.extend_from_slice(&self.tokens.to_le_bytes());
        out.extend_from_slice(&count(self.documents.len())?.to_le_bytes());
        out.extend_from_slice(&count(self.frames.len())?.to_le_bytes());
        out.extend_from_slice(&count(self.masked.len())?.to_le_bytes());
        out.extend_from_slice(&self.tokenizer_sha256);
        self.frames
            .iter()
            .for_each(|(size, _)| out.extend_from_slice(&size.to_le_bytes()));
        self.frames
            .iter()
            .for_each(|(_, hash)| out.extend_from_slice(&hash.to_le_bytes()));
        self.documents
            .iter()
            .for_each(|d| out.extend_from_slice(&d.end.to_le_bytes()));
        self.documents
            .iter()
            .for_each(|d| out.extend_from_slice(&d.source.to_le_bytes()));
        self.documents
            .iter()
            .for_each(|d| out.extend_from_slice(&d.row.to_le_bytes()));
        for span in &self.masked {
            out.extend_from_slice(&span.start.to_le_bytes());
            out.extend_from_slice(&span.end.to_le_bytes());
        }
        let hash = xxh3_64(&out);
        out.extend_from_slice(&hash.to_le_bytes());
        Ok(out)
    }

    /// Reads an index; `file` is for errors.
    pub(crate) fn decode(file: &Path, payload: &[u8]) -> Result<Self> {
        let wrong = |what| FormatError::IndexWrong {
            file: file.to_path_buf(),
            what,
        };
        if payload.len() < INDEX_HEAD + 8 || &payload[..8] != INDEX_MAGIC {
            return Err(FormatError::NoIndex {
                file: file.to_path_buf(),
            });
        }
        let version = u32::from(u16::from_le_bytes([payload[8], payload[9]]));
        if !(1..=VERSION).contains(&version) {
            return Err(FormatError::Version {
                file: file.to_path_buf(),
                found: version,
                newest: VERSION,
            });
        }
        let (content, hash) = payload.split_at(payload.len() - 8);
        if xxh3_64(content).to_le_bytes() != hash {
            return Err(FormatError::IndexDamaged {
                file: file.to_path_buf(),
            });
        }
        let mut at = Cursor {
            bytes: content,
            at: 10,
        };
        let width = match at.u8() {
            2 => TokenWidth::U16,
            4 => TokenWidth::U32,
            _ => return Err(wrong("tokens are neither two nor four bytes")),
        };
        let flags = at.u8();
        if flags & !(CONTINUES_FROM_PREVIOUS | CONTINUES_IN_NEXT) != 0 {
            return Err(wrong("it has flags that version 1 does not have"));
        }
        let (vocab_size, end_of_text, frame_tokens) = (at.u32(), at.u32(), at.u32());
        let tokens = at.u64();
        let (documents, frames, masked) = (at.u32() as usize, at.u32() as usize, at.u32() as usize);
        let mut tokenizer_sha256 = [0; 32];
        tokenizer_sha256.copy_from_slice(at.take(32));
        // In 128 bits, so that no declared count overflows; and before anything is allocated for it.
        let declared =
            INDEX_HEAD as u128 + frames as u128 * 12 + documents as u128 * 20 + masked as u128 * 16;
        if declared != content.len() as u128 {
            return Err(wrong("its length is not that of its arrays"));
        }
        let sizes: Vec<u32> = (0..frames).map(|_| at.u32()).collect();
        let hashes: Vec<u64> = (0..frames).map(|_| at.u64()).collect();
        let ends: Vec<u64> = (0..documents).map(|_| at.u64()).collect();
        let sources: Vec<u32> = (0..documents).map(|_| at.u32()).collect();
        let rows: Vec<u64> = (0..documents).map(|_| at.u64()).collect();
        let masked: Vec<Range<u64>> = (0..masked).map(|_| at.u64()..at.u64()).collect();
        let index = Self {
            width,
            vocab_size,
            end_of_text,
            frame_tokens,
            tokens,
            tokenizer_sha256,
            continues_from_previous: flags & CONTINUES_FROM_PREVIOUS != 0,
            continues_in_next: flags & CONTINUES_IN_NEXT != 0,
            documents: ends
                .into_iter()
                .zip(sources)
                .zip(rows)
                .map(|((end, source), row)| DocumentEntry { end, source, row })
                .collect(),
            masked,
            frames: sizes.into_iter().zip(hashes).collect(),
        };
        index.check().map_err(wrong)?;
        Ok(index)
    }

    /// What must hold in every index.
    fn check(&self) -> std::result::Result<(), &'static str> {
        if self.frame_tokens == 0 || self.vocab_size == 0 || self.end_of_text >= self.vocab_size {
            return Err("a frame of no tokens, no vocabulary, or an end of text outside it");
        }
        if self.frame_tokens > MAX_FRAME_TOKENS {
            return Err("a frame of over 16,777,216 tokens");
        }
        if self.width != TokenWidth::for_vocab(self.vocab_size) {
            return Err("the bytes of a token do not suit the vocabulary");
        }
        if self.tokens == 0
            || self.tokens.div_ceil(u64::from(self.frame_tokens)) != self.frames.len() as u64
        {
            return Err("the frames do not hold the tokens");
        }
        let mut before = 0;
        for document in &self.documents {
            if document.end <= before {
                return Err("documents are not in order");
            }
            before = document.end;
        }
        if before != self.tokens {
            return Err("the documents do not end where the tokens do");
        }
        let mut before = 0;
        for (i, span) in self.masked.iter().enumerate() {
            if span.start >= span.end
                || span.start < before
                || (i > 0 && span.start == before)
                || span.end > self.tokens
            {
                return Err("masked spans are not in order");
            }
            before = span.end;
        }
        Ok(())
    }
}

/// Reads little-endian numbers from bytes whose number was checked.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take(&mut self, n: usize) -> &[u8] {
        self.at += n;
        &self.bytes[self.at - n..self.at]
    }

    fn u8(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take(4).try_into().expect("four bytes"))
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.take(8).try_into().expect("eight bytes"))
    }
}
