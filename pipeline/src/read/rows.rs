//! What the text formats share: a cutter finds one row after another, a source gathers rows into blocks.

use std::sync::{Arc, Mutex};

use super::{Block, BlockSource, Content, ReadError, ReadOptions, RowFault};

/// The most room that a block asks for at once, and that is kept for the next: the default block and its last row, unless that
/// is very long, go into it without being moved.
const MOST_CAPACITY: usize = 18 << 20;

/// Room of blocks that are done, for those to come: fresh pages are given out by the system one by one, and cleared.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Mutex<Vec<Vec<u8>>>>);

impl Room {
    fn take(&self, capacity: usize) -> Vec<u8> {
        let kept = self.lock().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    fn give_back(&self, mut bytes: Vec<u8>) {
        // More than this many were never in use at once for long, and one that had to grow is no common one.
        const MOST_KEPT: usize = 2;
        bytes.clear();
        let mut kept = self.lock();
        if kept.len() < MOST_KEPT && (1..=MOST_CAPACITY).contains(&bytes.capacity()) {
            kept.push(bytes);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<u8>>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Rows as byte ranges of one buffer. A row with a fault has no bytes.
pub(super) struct RowBuffer {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    faults: Vec<(usize, RowFault)>,
    max_row_bytes: usize,
    /// Bytes of the open row that are not held, because it is too long.
    passed_over: u64,
    room: Room,
}

impl Drop for RowBuffer {
    fn drop(&mut self) {
        self.room.give_back(std::mem::take(&mut self.bytes));
    }
}

impl RowBuffer {
    /// With room for `capacity` bytes or what an earlier buffer left: pages that are not written to cost nothing.
    pub(super) fn new(capacity: usize, max_row_bytes: usize, room: &Room) -> Self {
        Self {
            bytes: room.take(capacity),
            ends: Vec::new(),
            faults: Vec::new(),
            max_row_bytes,
            passed_over: 0,
            room: room.clone(),
        }
    }

    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// The open row, as far as it is held.
    pub(super) fn open_row(&self) -> &[u8] {
        &self.bytes[self.start()..]
    }

    /// Whether the open row is too long to be held.
    pub(super) fn is_too_long(&self) -> bool {
        self.passed_over > 0
    }

    /// Adds to the open row; once it is too long, its bytes are counted and not held.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let held = self.open_row().len();
        if self.passed_over > 0 || held + piece.len() > self.max_row_bytes {
            self.passed_over += (held + piece.len()) as u64;
            self.bytes.truncate(self.start());
        } else {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Takes the last `amount` bytes of the open row away.
    pub(super) fn trim(&mut self, amount: usize) {
        let end = self.bytes.len() - amount.min(self.open_row().len());
        self.bytes.truncate(end);
    }

    /// Forgets the open row.
    pub(super) fn discard(&mut self) {
        self.bytes.truncate(self.start());
        self.passed_over = 0;
    }

    /// Ends the open row; too long a one becomes a fault.
    pub(super) fn end_row(&mut self) {
        if self.passed_over > 0 {
            let fault = RowFault::RowTooLong {
                bytes: self.passed_over,
                limit: self.max_row_bytes,
            };
            self.fail_row(fault);
        } else {
            self.ends.push(self.bytes.len());
        }
    }

    /// Ends the open row with a fault in place of its bytes.
    pub(super) fn fail_row(&mut self, fault: RowFault) {
        self.discard();
        self.faults.push((self.ends.len(), fault));
        self.ends.push(self.bytes.len());
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.len()
    }

    /// Memory held, bookkeeping included: a million empty rows are not free.
    pub(super) fn held_bytes(&self) -> usize {
        let fault = size_of::<(usize, RowFault)>();
        self.bytes.len() + self.ends.len() * size_of::<usize>() + self.faults.len() * fault
    }

    /// All rows' bytes, one after another.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Every row in order: its position in the block and its bytes or fault.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Result<&[u8], RowFault>)> {
        let mut start = 0;
        let mut faults = self.faults.iter().peekable();
        self.ends.iter().enumerate().map(move |(row, &end)| {
            let bytes = &self.bytes[start..end];
            start = end;
            match faults.next_if(|(at, _)| *at == row) {
                Some((_, fault)) => (row, Err(fault.clone())),
                None => (row, Ok(bytes)),
            }
        })
    }
}

/// Finds the rows of one format.
pub(super) trait Cut: Send {
    type Content: Content + 'static;

    /// Reads one row into `rows` and ends it; `false` at the end of the file.
    fn next_row(&mut self, rows: &mut RowBuffer) -> Result<bool, ReadError>;

    /// What a block holds: the rows, and what is needed to decode them elsewhere.
    fn content(&mut self, rows: RowBuffer) -> Self::Content;
}

struct Source<C> {
    cut: C,
    block_bytes: usize,
    max_row_bytes: usize,
    next_index: u64,
    next_row: u64,
    end: End,
    room: Room,
}

enum End {
    Ahead,
    /// The fault to report now that the rows before it are delivered.
    Fault(ReadError),
    Reached,
}

/// The blocks of the rows that `cut` finds.
pub(super) fn source<C: Cut + 'static>(cut: C, options: &ReadOptions) -> Box<dyn BlockSource> {
    Box::new(Source {
        cut,
        block_bytes: options.block_bytes,
        max_row_bytes: options.max_row_bytes,
        next_index: 0,
        next_row: 0,
        end: End::Ahead,
        room: Room::default(),
    })
}

impl<C: Cut> BlockSource for Source<C> {
    fn next_block(&mut self) -> Result<Option<Block>, ReadError> {
        match std::mem::replace(&mut self.end, End::Reached) {
            End::Ahead => {}
            End::Fault(error) => return Err(error),
            End::Reached => return Ok(None),
        }
        let capacity = (self.block_bytes + self.block_bytes / 8).min(MOST_CAPACITY);
        let mut rows = RowBuffer::new(capacity, self.max_row_bytes, &self.room);
        self.end = loop {
            if rows.held_bytes() >= self.block_bytes {
                break End::Ahead;
            }
            match self.cut.next_row(&mut rows) {
                Ok(true) => {}
                Ok(false) => break End::Reached,
                Err(error) => {
                    rows.discard();
                    break End::Fault(error);
                }
            }
        };
        if rows.rows() == 0 {
            return match std::mem::replace(&mut self.end, End::Reached) {
                End::Fault(error) => Err(error),
                End::Ahead | End::Reached => Ok(None),
            };
        }
        let (index, first_row) = (self.next_index, self.next_row);
        self.next_index += 1;
        self.next_row += rows.rows() as u64;
        Ok(Some(Block {
            index,
            first_row,
            content: Box::new(self.cut.content(rows)),
        }))
    }
}
