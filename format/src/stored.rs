//! A split of a build as one long row of tokens: shards opened when they are needed and kept, frames decoded, documents walked.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};

use crate::build::Build;
use crate::error::{FormatError, Result};
use crate::manifest::Split;
use crate::reader::{FrameDecoder, ShardReader, widen};
use crate::shard::TokenWidth;

/// Documents in the indices of open shards, 24 bytes each: 96 MiB. One shard is open in any case.
const OPEN_DOCUMENTS: usize = 1 << 22;

/// How much is kept of what was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kept {
    /// Shards open at once: each costs a file handle.
    pub(crate) shards: usize,
    /// Decoded frames.
    pub(crate) frames: usize,
}

/// First ids of frames that are remembered: 3 MiB or so, of 17 thousand million tokens in frames of 65,536.
const FIRST_IDS: usize = 1 << 18;

/// Ids in the kept frames, where frames are larger than the default: one frame is kept in any case.
const CACHED_IDS_A_FRAME: usize = 1 << 16;

/// A split whose shards are read.
#[derive(Debug)]
pub(crate) struct Stored {
    build: Build,
    split: Split,
    kept: Kept,
    shards: Vec<(usize, ShardReader)>,
    frames: Vec<(u64, Vec<u8>)>,
    decoder: FrameDecoder,
    frames_per_shard: u64,
    /// The first id of frames that were decoded: a window ends with the first id of the next, and a chunk of windows so in
    /// a frame of which it needs nothing else.
    first_ids: BTreeMap<u64, u32>,
}

/// A document, or what one shard has of it.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    /// Its tokens, as places in the split.
    pub(crate) tokens: Range<u64>,
    /// Its row in the table of documents.
    pub(crate) row: u64,
    /// Its dataset's place in the manifest.
    pub(crate) dataset: u32,
    /// Whether the document begins with it.
    pub(crate) begins: bool,
    /// Whether the document ends with it.
    pub(crate) ends: bool,
    /// The place of the shard's first token.
    pub(crate) shard_start: u64,
    /// The masked spans of the shard that may touch it, as places in the shard.
    pub(crate) masked: &'a [Range<u64>],
}

impl Stored {
    pub(crate) fn new(build: &Build, split: Split, kept: Kept) -> Self {
        let manifest = build.manifest();
        Self {
            build: build.clone(),
            split,
            kept,
            shards: Vec::new(),
            frames: Vec::new(),
            decoder: FrameDecoder::default(),
            first_ids: BTreeMap::new(),
            frames_per_shard: manifest
                .shard_tokens
                .div_ceil(u64::from(manifest.frame_tokens).max(1))
                .max(1),
        }
    }

    pub(crate) fn is(&self, build: &Build, split: Split) -> bool {
        self.split == split && self.build.folder() == build.folder()
    }

    pub(crate) fn split(&self) -> Split {
        self.split
    }

    /// Tokens of the split.
    pub(crate) fn tokens(&self) -> u64 {
        let splits = &self.build.manifest().splits;
        splits.get(&self.split).map_or(0, |entry| entry.tokens)
    }

    pub(crate) fn width(&self) -> TokenWidth {
        self.build.manifest().token_width
    }

    pub(crate) fn end_of_text(&self) -> u32 {
        self.build.manifest().tokenizer.end_of_text.id
    }

    /// The error of tokens that the split does not have.
    pub(crate) fn outside(&self, start: u64, end: u64) -> FormatError {
        FormatError::OutOfRange {
            file: self.build.folder().to_path_buf(),
            start,
            end,
            tokens: self.tokens(),
        }
    }

    /// Tells `take` the documents from the token `start` on, in stored order, until it breaks: those of `dataset`, or all. A
    /// document that crosses an end of a shard comes in parts.
    pub(crate) fn documents(
        &mut self,
        start: u64,
        dataset: Option<u32>,
        mut take: impl FnMut(&Part<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let (all, shard_tokens) = (self.tokens(), self.build.manifest().shard_tokens.max(1));
        let mut at = start;
        while at < all {
            let number = self.number(at / shard_tokens)?;
            let shard_start = number as u64 * shard_tokens;
            let shard = self.shard(number)?;
            let index = shard.index();
            let within = at - shard_start;
            let first = index.documents.partition_point(|d| d.end <= within);
            let mut span = index.masked.partition_point(|span| span.end <= within);
            for (d, document) in index.documents.iter().enumerate().skip(first) {
                let from = if d == 0 {
                    0
                } else {
                    index.documents[d - 1].end
                };
                if dataset.is_some_and(|source| source != document.source) {
                    continue;
                }
                while index
                    .masked
                    .get(span)
                    .is_some_and(|span| span.end <= from.max(within))
                {
                    span += 1;
                }
                let part = Part {
                    tokens: shard_start + from.max(within)..shard_start + document.end,
                    row: document.row,
                    dataset: document.source,
                    begins: from >= within && !(d == 0 && index.continues_from_previous),
                    ends: !(d + 1 == index.documents.len() && index.continues_in_next),
                    shard_start,
                    masked: &index.masked[span..],
                };
                if take(&part).is_break() {
                    return Ok(());
                }
            }
            at = shard_start + shard_tokens;
        }
        Ok(())
    }

    /// The frames that hold the tokens of a range; the place of each is `shard · frames of a shard + frame`.
    pub(crate) fn frames_of(&self, tokens: &Range<u64>) -> Range<u64> {
        if tokens.is_empty() {
            return 0..0;
        }
        self.frame_of(tokens.start)..self.frame_of(tokens.end - 1) + 1
    }

    pub(crate) fn frame_of(&self, token: u64) -> u64 {
        let manifest = self.build.manifest();
        let shard_tokens = manifest.shard_tokens.max(1);
        let frame = token % shard_tokens / u64::from(manifest.frame_tokens).max(1);
        (token / shard_tokens) * self.frames_per_shard + frame
    }

    /// The tokens of a frame.
    pub(crate) fn tokens_of(&self, frame: u64) -> Range<u64> {
        let manifest = self.build.manifest();
        let shard_start = frame / self.frames_per_shard * manifest.shard_tokens;
        let step = u64::from(manifest.frame_tokens);
        let start = shard_start + frame % self.frames_per_shard * step;
        let end = (start + step)
            .min(shard_start + manifest.shard_tokens)
            .min(self.tokens());
        start..end.max(start)
    }

    /// The ids of a frame as they are stored, checked.
    pub(crate) fn frame(&mut self, frame: u64) -> Result<&[u8]> {
        if let Some(at) = self.frames.iter().position(|(known, _)| *known == frame) {
            return Ok(&used_last(&mut self.frames, at).1);
        }
        let tokens = self.tokens_of(frame);
        let ids = usize::try_from(tokens.end - tokens.start).unwrap_or(usize::MAX);
        let most =
            (self.kept.frames * CACHED_IDS_A_FRAME / ids.max(1)).clamp(1, self.kept.frames.max(1));
        // What is forgotten is written over: making room anew costs as much as decoding.
        let spare = (self.frames.len() + 1).saturating_sub(most);
        let mut raw = match self.frames.drain(..spare).next() {
            Some((_, forgotten)) => forgotten,
            None => Vec::new(),
        };
        raw.resize(ids.saturating_mul(self.width().bytes()), 0);
        self.decode(frame, &mut raw)?;
        self.frames.push((frame, raw));
        Ok(&self.frames[self.frames.len() - 1].1)
    }

    /// Decodes a frame into `raw`, which has room for just its ids as they are stored.
    pub(crate) fn decode(&mut self, frame: u64, raw: &mut [u8]) -> Result<()> {
        let shard = self.number(frame / self.frames_per_shard)?;
        let number = self.number(frame % self.frames_per_shard)?;
        self.shard(shard)?;
        let reader = &self.shards[self.shards.len() - 1].1;
        reader.decode(number, &mut self.decoder, raw)?;
        let width = self.width();
        if let Some(first) = raw.get(..width.bytes()) {
            if self.first_ids.len() >= FIRST_IDS {
                self.first_ids.clear();
            }
            let mut id = Vec::with_capacity(1);
            widen(width, first, &mut id);
            self.first_ids.extend(id.first().map(|id| (frame, *id)));
        }
        Ok(())
    }

    /// The first id of a frame, if it was decoded some time.
    pub(crate) fn first_id(&self, frame: u64) -> Option<u32> {
        self.first_ids.get(&frame).copied()
    }

    /// A number of a shard or frame, which memory holds.
    fn number(&self, number: u64) -> Result<usize> {
        usize::try_from(number).map_err(|_| self.outside(number, number))
    }

    /// An open shard, the last of `self.shards` then.
    fn shard(&mut self, number: usize) -> Result<&ShardReader> {
        if let Some(at) = self.shards.iter().position(|(open, _)| *open == number) {
            return Ok(&used_last(&mut self.shards, at).1);
        }
        let reader = self.build.shard(self.split, number)?;
        self.shards.push((number, reader));
        let documents = |shard: &ShardReader| shard.index().documents.len();
        forget_oldest(
            &mut self.shards,
            self.kept.shards,
            OPEN_DOCUMENTS,
            documents,
        );
        Ok(&self.shards[self.shards.len() - 1].1)
    }
}

/// Moves entry `at` to the end, where it is forgotten last.
pub(crate) fn used_last<T>(kept: &mut [T], at: usize) -> &T {
    kept[at..].rotate_left(1);
    &kept[kept.len() - 1]
}

/// Forgets the entries unused for longest until there are at most `entries`, of at most `size` together; never the last.
fn forget_oldest<K, V>(
    kept: &mut Vec<(K, V)>,
    entries: usize,
    size: usize,
    of: impl Fn(&V) -> usize,
) {
    let mut total: usize = kept.iter().map(|(_, value)| of(value)).sum();
    while kept.len() > 1 && (kept.len() > entries || total > size) {
        let (_, oldest) = kept.remove(0);
        total -= of(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_unused_for_longest_is_forgotten_first() {
        let mut kept = vec![('a', 1), ('b', 1), ('c', 1)];
        assert_eq!(used_last(&mut kept, 0).0, 'a');
        kept.push(('d', 1));
        forget_oldest(&mut kept, 3, 100, |size| *size);
        assert_eq!(kept, [('c', 1), ('a', 1), ('d', 1)]);
        kept.push(('e', 9));
        forget_oldest(&mut kept, 3, 9, |size| *size);
        assert_eq!(kept, [('e', 9)]);
        kept.push(('f', 99));
        forget_oldest(&mut kept, 3, 9, |size| *size);
        assert_eq!(kept, [('f', 99)]);
    }
}
