//! A split document by document, read frame by frame: what crosses shards comes together again.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::{Build, ShardIndex, ShardReader, Split};

use super::ExportError;

/// A document that has come to its end.
#[derive(Debug)]
pub(super) struct Whole<'a> {
    /// Index of its dataset in the manifest.
    pub source: u32,
    /// Its row in the table of documents.
    pub row: u64,
    /// Its tokens, end of text included.
    pub tokens: u64,
    /// Tokens of it that carry no loss: sorted, not touching.
    pub masked: &'a [Range<u64>],
}

/// What takes the documents of a split.
pub(super) trait Sink {
    /// More ids of the document that is under way: of one frame, so at most a frame's.
    fn ids(&mut self, ids: &[u32]) -> Result<(), ExportError>;

    /// The document is whole.
    fn end(&mut self, document: &Whole<'_>) -> Result<(), ExportError>;
}

/// The document that is under way.
struct Open {
    source: u32,
    row: u64,
    tokens: u64,
}

/// Hands all documents of a split to `sink`, in order. Holds one shard's index and one frame.
pub(super) fn walk(
    build: &Build,
    split: Split,
    sink: &mut dyn Sink,
    stop: &AtomicBool,
) -> Result<(), ExportError> {
    let mut joined = Joined::default();
    for number in 0..shards(build, split) {
        let shard = build.shard(split, number)?;
        let mut frames = Frames {
            shard: &shard,
            decoded: None,
        };
        joined.shard(&shard, |range, ended| {
            if stop.load(Ordering::Relaxed) {
                return Err(ExportError::Interrupted);
            }
            frames.each(range, &mut |ids| sink.ids(ids))?;
            match ended {
                Some(document) => sink.end(&document),
                None => Ok(()),
            }
        })?;
    }
    joined.finish(build, split)
}

/// The documents of a split without their ids: nothing but the shards' indices is read.
pub(super) fn documents(
    build: &Build,
    split: Split,
    each: &mut dyn FnMut(&Whole<'_>) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut joined = Joined::default();
    for number in 0..shards(build, split) {
        let shard = build.shard(split, number)?;
        joined.shard(&shard, |_, ended| match ended {
            Some(document) => each(&document),
            None => Ok(()),
        })?;
    }
    joined.finish(build, split)
}

/// Whether any token of a split carries no loss.
pub(super) fn has_masks(build: &Build, split: Split) -> Result<bool, ExportError> {
    for number in 0..shards(build, split) {
        if !build.shard(split, number)?.index().masked.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn shards(build: &Build, split: Split) -> usize {
    let entry = build.manifest().splits.get(&split);
    entry.map_or(0, |entry| entry.shards.len())
}

/// The frames of a shard, each decoded once where ranges follow each other.
struct Frames<'a> {
    shard: &'a ShardReader,
    decoded: Option<(usize, Vec<u32>)>,
}

impl Frames<'_> {
    fn each(
        &mut self,
        range: Range<u64>,
        to: &mut dyn FnMut(&[u32]) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let step = u64::from(self.shard.index().frame_tokens);
        let mut at = range.start;
        while at < range.end {
            let number = usize::try_from(at / step).expect("fewer frames than memory");
            let ids = match self.decoded.take() {
                Some((decoded, ids)) if decoded == number => ids,
                _ => self.shard.frame(number)?,
            };
            let first = number as u64 * step;
            let end = range.end.min(first + ids.len() as u64);
            let within =
                |token: u64| usize::try_from(token - first).expect("a frame is held in memory");
            to(&ids[within(at)..within(end)])?;
            self.decoded = Some((number, ids));
            at = end;
        }
        Ok(())
    }
}

/// Joins the parts of documents.
#[derive(Default)]
struct Joined {
    open: Option<Open>,
    masked: Vec<Range<u64>>,
}

impl Joined {
    /// Goes through a shard: for every part of a document its range of tokens, and the document where it ends.
    fn shard(
        &mut self,
        shard: &ShardReader,
        mut each: impl FnMut(Range<u64>, Option<Whole<'_>>) -> Result<(), ExportError>,
    ) -> Result<(), ExportError> {
        let index: &ShardIndex = shard.index();
        let continues = index.documents.first();
        let continues = continues.filter(|_| index.continues_from_previous);
        if continues.map(|d| (d.source, d.row)) != self.open.as_ref().map(|o| (o.source, o.row)) {
            return Err(ExportError::Crossing(shard.path().to_path_buf()));
        }
        let (mut start, mut span) = (0, 0);
        for (d, document) in index.documents.iter().enumerate() {
            let open = self.open.take();
            let before = open.as_ref().map_or(0, |open| open.tokens);
            let end = document.end;
            while let Some(masked) = index.masked.get(span).filter(|masked| masked.start < end) {
                let of = |token: u64| token.clamp(start, end) - start + before;
                let part = of(masked.start)..of(masked.end);
                match self.masked.last_mut() {
                    // A span that crosses the end of a shard is one again.
                    Some(last) if last.end == part.start => last.end = part.end,
                    _ => self.masked.push(part),
                }
                if masked.end > end {
                    break;
                }
                span += 1;
            }
            let tokens = before + (end - start);
            let whole = Whole {
                source: document.source,
                row: document.row,
                tokens,
                masked: &self.masked,
            };
            if d + 1 == index.documents.len() && index.continues_in_next {
                each(start..end, None)?;
                self.open = Some(Open {
                    source: document.source,
                    row: document.row,
                    tokens,
                });
            } else {
                each(start..end, Some(whole))?;
                self.masked.clear();
            }
            start = end;
        }
        Ok(())
    }

    fn finish(self, build: &Build, split: Split) -> Result<(), ExportError> {
        match self.open {
            None => Ok(()),
            Some(_) => {
                let shards = &build.manifest().splits[&split].shards;
                let last = shards.last().map_or("", |shard| shard.file.as_str());
                Err(ExportError::Crossing(build.folder().join(last)))
            }
        }
    }
}
