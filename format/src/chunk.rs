//! A chunk: a stretch of neighbouring sequences, what documents it is made of, and their ids as far as they were needed.

use std::ops::{ControlFlow, Range};

use crate::error::Result;
use crate::memory::{self, Pages};
use crate::packing::{Packed, best_fit};
use crate::reader::widen;
use crate::stored::{Part, Stored};

/// So many lines of a window are brought near: two-byte ids of 256 tokens and one more.
const BROUGHT_LINES: usize = 9;

/// A document, or a piece of one, in a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Place of its first token in the split.
    pub(crate) start: u64,
    /// Place of its first token in the chunk.
    pub(crate) at: usize,
    /// Its tokens.
    pub(crate) tokens: usize,
    /// Row of its document.
    pub(crate) row: u64,
    /// Its dataset's place in the manifest.
    pub(crate) dataset: u32,
    /// Whether the document begins with it.
    pub(crate) begins: bool,
}

impl Piece {
    pub(crate) fn range(&self) -> Range<usize> {
        self.at..self.at + self.tokens
    }
}

/// What a chunk is made of.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    /// In stored order.
    pub(crate) pieces: Vec<Piece>,
    /// Places in the chunk that carry no loss; ascending.
    pub(crate) masked: Vec<Range<usize>>,
    /// How pieces are packed into sequences; empty where they are windows.
    pub(crate) packed: Packed,
    /// Of windows, the first piece that each touches: a search among all would miss the cache at every step.
    first_pieces: Vec<usize>,
    /// Its tokens.
    tokens: usize,
    /// Stretches that are one in the split too: place in the chunk, tokens of the split.
    runs: Vec<(usize, Range<u64>)>,
    /// The frames it needs, ascending, and whether their ids are in `ids`.
    frames: Vec<(u64, bool)>,
    /// Those whose ids are not there yet.
    missing: usize,
    /// Ids as they are stored; empty where they are taken from the frames each time.
    ids: Pages,
}

impl Chunk {
    /// Windows of `length` targets, `tokens` tokens of a source in all, from the token `start` of the split on.
    pub(crate) fn of_windows(
        stored: &mut Stored,
        start: u64,
        dataset: Option<u32>,
        length: usize,
        tokens: usize,
    ) -> Result<Self> {
        let mut chunk = Self::default();
        stored.documents(start, dataset, |part| {
            let wanted = (tokens - chunk.tokens) as u64;
            let end = part
                .tokens
                .end
                .min(part.tokens.start.saturating_add(wanted));
            let joined = !part.begins && part.tokens.start == part.shard_start;
            chunk.push(part, part.tokens.start..end, part.begins, joined);
            if chunk.tokens < tokens {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        if chunk.tokens < tokens {
            return Err(stored.outside(start, start.saturating_add(tokens as u64)));
        }
        chunk.finish(stored);
        let mut piece = 0;
        for start in (0..tokens - 1).step_by(length.max(1)) {
            while chunk.pieces[piece].range().end <= start {
                piece += 1;
            }
            chunk.first_pieces.push(piece);
        }
        Ok(chunk)
    }

    /// The chunk of pieces that begins at the token `start` of the split.
    pub(crate) fn of_pieces(
        stored: &mut Stored,
        start: u64,
        dataset: Option<u32>,
        cut: Cut,
    ) -> Result<Self> {
        let mut found = Self::default();
        let mut cutter = Cutter::new(cut);
        stored.documents(start, dataset, |part| {
            cutter.part(part, &mut |chunk| {
                found = chunk;
                ControlFlow::Break(())
            })
        })?;
        if found.tokens == 0 {
            found = cutter.rest();
        }
        found.packed = best_fit(&found.lengths(), cut.sequence);
        found.finish(stored);
        Ok(found)
    }

    fn lengths(&self) -> Vec<u64> {
        self.pieces
            .iter()
            .map(|piece| piece.tokens as u64)
            .collect()
    }

    /// Adds tokens of a part; `joined` to the piece before if there is one.
    fn push(&mut self, part: &Part<'_>, tokens: Range<u64>, begins: bool, joined: bool) {
        let length = usize::try_from(tokens.end - tokens.start).unwrap_or(usize::MAX);
        for span in part.masked {
            let span = (part.shard_start + span.start).max(tokens.start)
                ..(part.shard_start + span.end).min(tokens.end);
            if span.start >= tokens.end {
                break;
            }
            if span.is_empty() {
                continue;
            }
            let place = |token: u64| {
                self.tokens + usize::try_from(token - tokens.start).unwrap_or(usize::MAX)
            };
            let span = place(span.start)..place(span.end);
            match self.masked.last_mut() {
                Some(last) if last.end == span.start => last.end = span.end,
                _ => self.masked.push(span),
            }
        }
        match self.pieces.last_mut() {
            Some(last) if joined => last.tokens += length,
            _ => self.pieces.push(Piece {
                start: tokens.start,
                at: self.tokens,
                tokens: length,
                row: part.row,
                dataset: part.dataset,
                begins,
            }),
        }
        self.tokens += length;
    }

    fn finish(&mut self, stored: &Stored) {
        for piece in &self.pieces {
            let tokens = piece.start..piece.start + piece.tokens as u64;
            for frame in stored.frames_of(&tokens) {
                if self.frames.last().is_none_or(|(last, _)| *last < frame) {
                    self.frames.push((frame, false));
                    self.missing += 1;
                }
            }
            match self.runs.last_mut() {
                Some((_, run)) if run.end == tokens.start => run.end = tokens.end,
                _ => self.runs.push((piece.at, tokens)),
            }
        }
    }

    /// Keeps ids from now on, in `spare`.
    pub(crate) fn keep_ids(&mut self, stored: &Stored, spare: Pages) {
        let bytes = self.tokens * stored.width().bytes();
        self.ids = if spare.len() == bytes {
            spare
        } else {
            Pages::zeroed(bytes)
        };
    }

    /// The memory of its ids, for another chunk.
    pub(crate) fn into_ids(self) -> Pages {
        self.ids
    }

    /// The pieces from the first on that window `at` touches.
    pub(crate) fn pieces_from(&self, at: usize) -> &[Piece] {
        let first = self.first_pieces.get(at).copied();
        &self.pieces[first.unwrap_or(self.pieces.len())..]
    }

    /// Has the processor fetch the ids of window `at` of `length` targets, and what tells its pieces. They lie anywhere in
    /// some 32 MiB, so that whoever asks for them waits for memory; these looks do not wait for each other.
    pub(crate) fn bring_window(&self, at: u64, length: usize) {
        let Ok(at) = usize::try_from(at) else {
            return;
        };
        let width = self.ids.len() / self.tokens.max(1);
        let ids = at.saturating_mul(length).saturating_mul(width);
        let ids = self.ids.get(ids..).unwrap_or_default();
        // Further on the processor sees by itself what comes next.
        for byte in ids.iter().step_by(memory::LINE).take(BROUGHT_LINES) {
            memory::bring(byte);
        }
        if let Some(first) = self.first_pieces.get(at) {
            memory::bring(first);
        }
    }

    /// Has the processor fetch the first of the pieces that window `at` touches, some time after [`Self::bring_window`].
    pub(crate) fn bring_pieces(&self, at: u64) {
        let at = usize::try_from(at).ok();
        if let Some(piece) = at.and_then(|at| self.pieces_from(at).first()) {
            memory::bring(piece);
        }
    }

    /// Place in the split of a token of the chunk.
    pub(crate) fn place_of(&self, at: usize) -> u64 {
        let run = self.run_of(at);
        let (first, tokens) = &self.runs[run];
        tokens.start + (at - first) as u64
    }

    fn run_of(&self, at: usize) -> usize {
        let after = self.runs.partition_point(|(first, _)| *first <= at);
        after.saturating_sub(1)
    }

    /// Appends the ids of a range of the chunk, which is within it. Only the frames that hold them are read.
    pub(crate) fn ids(
        &mut self,
        stored: &mut Stored,
        range: Range<usize>,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let width = stored.width();
        let kept = !self.ids.is_empty();
        if kept && self.missing == 0 {
            let bytes = range.start * width.bytes()..range.end * width.bytes();
            widen(width, &self.ids[bytes], ids);
            return Ok(());
        }
        let mut at = range.start;
        let mut run = self.run_of(at);
        while at < range.end {
            let (first, tokens) = self.runs[run].clone();
            let start = tokens.start + (at - first) as u64;
            let end = tokens.end.min(start + (range.end - at) as u64);
            for frame in stored.frames_of(&(start..end)) {
                if kept {
                    self.load(stored, frame)?;
                    continue;
                }
                let of_frame = stored.tokens_of(frame);
                let (from, to) = (start.max(of_frame.start), end.min(of_frame.end));
                let bytes = bytes(from - of_frame.start, to - of_frame.start, width.bytes());
                widen(width, &stored.frame(frame)?[bytes], ids);
            }
            at += usize::try_from(end - start).unwrap_or(usize::MAX);
            run += 1;
        }
        if kept {
            let bytes = range.start * width.bytes()..range.end * width.bytes();
            widen(width, &self.ids[bytes], ids);
        }
        Ok(())
    }

    /// Takes what the chunk has of a frame, once.
    fn load(&mut self, stored: &mut Stored, frame: u64) -> Result<()> {
        let Ok(known) = self
            .frames
            .binary_search_by_key(&frame, |(frame, _)| *frame)
        else {
            return Ok(());
        };
        if self.frames[known].1 {
            return Ok(());
        }
        let width = stored.width();
        let of_frame = stored.tokens_of(frame);
        let first = self
            .runs
            .partition_point(|(_, run)| run.end <= of_frame.start);
        let within = |(at, run): &(usize, Range<u64>)| {
            let (from, to) = (run.start.max(of_frame.start), run.end.min(of_frame.end));
            let into = bytes(from - run.start, to - run.start, width.bytes());
            let at = at * width.bytes();
            (from..to, at + into.start..at + into.end)
        };
        let Some(run) = self.runs.get(first) else {
            return Ok(());
        };
        let (wanted, into) = within(run);
        if wanted == of_frame {
            stored.decode(frame, &mut self.ids[into])?;
            self.has_frame(known);
            return Ok(());
        }
        if wanted == (of_frame.start..of_frame.start + 1)
            && self.runs.get(first + 1).is_none()
            && let Some(id) = stored.first_id(frame)
        {
            self.ids[into].copy_from_slice(&id.to_le_bytes()[..width.bytes()]);
            self.has_frame(known);
            return Ok(());
        }
        let raw = stored.frame(frame)?;
        for run in &self.runs[first..] {
            if run.1.start >= of_frame.end {
                break;
            }
            let (wanted, into) = within(run);
            let source = bytes(
                wanted.start - of_frame.start,
                wanted.end - of_frame.start,
                width.bytes(),
            );
            self.ids[into].copy_from_slice(&raw[source]);
        }
        self.has_frame(known);
        Ok(())
    }

    fn has_frame(&mut self, known: usize) {
        self.frames[known].1 = true;
        self.missing -= 1;
    }
}

/// The bytes of tokens that memory holds.
fn bytes(start: u64, end: u64, width: usize) -> Range<usize> {
    let place = |token: u64| {
        usize::try_from(token)
            .unwrap_or(usize::MAX)
            .saturating_mul(width)
    };
    place(start)..place(end)
}

/// How documents are cut into pieces, and these into chunks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// Tokens of a piece at most: those of a sequence.
    pub(crate) sequence: u64,
    /// Tokens of a chunk at least, but of the last.
    pub(crate) chunk: u64,
}

/// Cuts documents into pieces and gives a chunk whenever one is full.
#[derive(Debug)]
pub(crate) struct Cutter {
    cut: Cut,
    chunk: Chunk,
    /// Tokens of the last piece, if it may go on.
    open: u64,
}

impl Cutter {
    pub(crate) fn new(cut: Cut) -> Self {
        Self {
            cut,
            chunk: Chunk::default(),
            open: 0,
        }
    }

    /// Takes a document's next part; breaks when `full` does.
    pub(crate) fn part(
        &mut self,
        part: &Part<'_>,
        full: &mut dyn FnMut(Chunk) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        // Only a part that a shard's end cut off goes on with the piece before it.
        if (part.begins || part.tokens.start != part.shard_start) && self.open > 0 {
            self.open = 0;
            self.close(full)?;
        }
        let mut at = part.tokens.start;
        while at < part.tokens.end {
            let end = part.tokens.end.min(at + (self.cut.sequence - self.open));
            let begins = part.begins && at == part.tokens.start;
            self.chunk.push(part, at..end, begins, self.open > 0);
            self.open += end - at;
            at = end;
            if self.open == self.cut.sequence || (at == part.tokens.end && part.ends) {
                self.open = 0;
                self.close(full)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// What is left when there are no more documents; maybe nothing.
    pub(crate) fn rest(&mut self) -> Chunk {
        std::mem::take(&mut self.chunk)
    }

    fn close(&mut self, full: &mut dyn FnMut(Chunk) -> ControlFlow<()>) -> ControlFlow<()> {
        if (self.chunk.tokens as u64) < self.cut.chunk {
            return ControlFlow::Continue(());
        }
        full(std::mem::take(&mut self.chunk))
    }
}

impl Chunk {
    /// Where it begins in the split, and how many sequences its pieces make; nothing of an empty one.
    pub(crate) fn count(&self, cut: Cut) -> Option<(u64, u64)> {
        let first = self.pieces.first()?;
        let packed = best_fit(&self.lengths(), cut.sequence);
        Some((first.start, packed.sequences() as u64))
    }
}
