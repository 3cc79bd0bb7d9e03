//! The numbers of some parameters as one row that is read and written piece by piece, so that what is on its way between workers is
//! never more than a piece of each.

use crate::error::Result;
use crate::ops::Backend;
use crate::parallel::Owners;

/// Numbers of a piece, 4 MiB.
pub(super) const PIECE: usize = 1 << 20;

/// Numbers of piece `index` of a row of `count`.
pub(super) fn length(count: usize, index: usize) -> usize {
    count.saturating_sub(index.saturating_mul(PIECE)).min(PIECE)
}

/// Appends `numbers` as they are sent: four bytes each, least first.
pub(super) fn to_bytes(numbers: &[f32], bytes: &mut Vec<u8>) {
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

/// The numbers of such bytes.
pub(super) fn from_bytes(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// Reads a row.
#[derive(Debug)]
pub(super) struct Reader {
    indices: Vec<usize>,
    /// Which parameter comes after `current`.
    next: usize,
    current: Vec<f32>,
    read: usize,
}

impl Reader {
    /// The row of the parameters that worker `rank` owns.
    pub(super) fn new(owners: &Owners, rank: usize) -> Self {
        Self {
            indices: owners.owned(rank),
            next: 0,
            current: Vec::new(),
            read: 0,
        }
    }

    /// The next `count` numbers of `store`, or as many as are left. What was read of a parameter once is not read again.
    pub(super) fn next<B: Backend>(
        &mut self,
        backend: &B,
        store: &B::Store,
        count: usize,
    ) -> Result<Vec<f32>> {
        let mut piece = Vec::with_capacity(count);
        while piece.len() < count {
            if self.read == self.current.len() {
                let Some(&index) = self.indices.get(self.next) else {
                    break;
                };
                self.current = backend.read(store, index)?;
                (self.next, self.read) = (self.next + 1, 0);
            }
            let end = self.current.len().min(self.read + count - piece.len());
            piece.extend_from_slice(&self.current[self.read..end]);
            self.read = end;
        }
        Ok(piece)
    }
}

/// Writes a row.
#[derive(Debug)]
pub(super) struct Writer {
    /// Parameters and how many numbers each has.
    indices: Vec<(usize, usize)>,
    next: usize,
    current: Vec<f32>,
}

impl Writer {
    /// The row of the parameters that worker `rank` owns.
    pub(super) fn new(owners: &Owners, rank: usize) -> Self {
        let indices = owners.owned(rank).into_iter();
        Self {
            indices: indices.map(|index| (index, owners.count(index))).collect(),
            next: 0,
            current: Vec::new(),
        }
    }

    /// Appends a piece; each parameter is written to `store` when it is whole.
    pub(super) fn push<B: Backend>(
        &mut self,
        backend: &B,
        store: &mut B::Store,
        mut piece: &[f32],
    ) -> Result<()> {
        while let Some(&(index, count)) = self.indices.get(self.next) {
            let taken = piece.len().min(count - self.current.len());
            self.current.extend_from_slice(&piece[..taken]);
            piece = &piece[taken..];
            if self.current.len() < count {
                break;
            }
            backend.write(store, index, &self.current)?;
            self.current.clear();
            self.next += 1;
        }
        Ok(())
    }
}
