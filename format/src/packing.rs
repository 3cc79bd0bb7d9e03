//! Whole documents in sequences of equal length: best-fit-decreasing bin packing, as in Ding et al., "Fewer Truncations
//! Improve Language Modeling" (arXiv:2404.10830), a chunk at a time so that memory is bounded.

use std::collections::BTreeSet;

/// The sequences of a chunk: which pieces of documents stand in each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Packed {
    /// Pieces, sequence after sequence, in each by number.
    pieces: Vec<usize>,
    /// Where each sequence ends in `pieces`.
    ends: Vec<usize>,
}

impl Packed {
    pub(crate) fn sequences(&self) -> usize {
        self.ends.len()
    }

    /// The pieces of a sequence, by number; none beyond the last.
    pub(crate) fn sequence(&self, sequence: usize) -> &[usize] {
        let start = match sequence {
            0 => 0,
            _ => self.ends.get(sequence - 1).copied().unwrap_or(0),
        };
        let end = self.ends.get(sequence).copied().unwrap_or(start);
        &self.pieces[start..end]
    }
}

/// Packs pieces of these lengths into sequences of `room`, which none is above. Time grows with `p · log p`.
///
/// By falling length, then by number; each into the sequence with the least room that is enough, of several the first begun.
pub(crate) fn best_fit(lengths: &[u64], room: u64) -> Packed {
    let mut by_length: Vec<usize> = (0..lengths.len()).collect();
    by_length.sort_by_key(|piece| std::cmp::Reverse(lengths[*piece]));
    let mut of_piece = vec![0; lengths.len()];
    let mut sizes: Vec<usize> = Vec::new();
    // The sequences that have room: how much, and their number.
    let mut open: BTreeSet<(u64, usize)> = BTreeSet::new();
    for piece in by_length {
        let length = lengths[piece];
        let (had, sequence) = match open.range((length, 0)..).next().copied() {
            Some(found) => {
                open.remove(&found);
                found
            }
            None => {
                sizes.push(0);
                (room, sizes.len() - 1)
            }
        };
        of_piece[piece] = sequence;
        sizes[sequence] += 1;
        let left = had.saturating_sub(length);
        if left > 0 {
            open.insert((left, sequence));
        }
    }
    // Pieces to their sequences, by number: a counting sort.
    let mut next: Vec<usize> = Vec::with_capacity(sizes.len());
    let mut sum = 0;
    for size in &sizes {
        next.push(sum);
        sum += size;
    }
    let mut pieces = vec![0; lengths.len()];
    for (piece, sequence) in of_piece.iter().enumerate() {
        pieces[next[*sequence]] = piece;
        next[*sequence] += 1;
    }
    Packed { pieces, ends: next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(packed: &Packed) -> Vec<Vec<usize>> {
        (0..packed.sequences())
            .map(|sequence| packed.sequence(sequence).to_vec())
            .collect()
    }

    /// The rule by looking at everything each time.
    fn plainly(lengths: &[u64], room: u64) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|piece| (u64::MAX - lengths[*piece], *piece));
        let mut found: Vec<Vec<usize>> = Vec::new();
        let left = |sequence: &Vec<usize>| {
            room - sequence.iter().map(|piece| lengths[*piece]).sum::<u64>()
        };
        for piece in order {
            let fits = found
                .iter()
                .enumerate()
                .filter(|(_, s)| left(s) >= lengths[piece]);
            match fits
                .min_by_key(|(number, s)| (left(s), *number))
                .map(|(number, _)| number)
            {
                Some(number) => found[number].push(piece),
                None => found.push(vec![piece]),
            }
        }
        found.iter_mut().for_each(|pieces| pieces.sort_unstable());
        found
    }

    /// From the program in `SPEC.md`: `best_fit([5, 9, 3, 9, 2, 1, 7], 9)`.
    #[test]
    fn pieces_are_packed_as_specified() {
        let packed = best_fit(&[5, 9, 3, 9, 2, 1, 7], 9);
        assert_eq!(
            sequences(&packed),
            [vec![1], vec![3], vec![4, 6], vec![0, 2, 5]]
        );
        assert!(packed.sequence(4).is_empty());
        assert_eq!(best_fit(&[], 9).sequences(), 0);
        assert!(best_fit(&[], 9).sequence(0).is_empty());
    }

    #[test]
    fn packing_is_the_plain_rule_and_loses_nothing() {
        // A multiplicative generator (Lehmer; the constant is Steele and Vigna's of 2021) is random enough here.
        let mut state = 7u128;
        let mut random = move |below: u64| {
            state = state.wrapping_mul(0xDA94_2042_E4DD_58B5);
            u64::try_from(state >> 64).unwrap() % below
        };
        for _ in 0..300 {
            let room = 1 + random(60);
            let lengths: Vec<u64> = (0..random(80)).map(|_| 1 + random(room)).collect();
            let packed = best_fit(&lengths, room);
            assert_eq!(sequences(&packed), plainly(&lengths, room));
            let mut all: Vec<usize> = sequences(&packed).concat();
            all.sort_unstable();
            assert_eq!(all, (0..lengths.len()).collect::<Vec<_>>());
            let tokens: u64 = lengths.iter().sum();
            // No packing takes fewer sequences than this; best-fit decreasing takes at most 11/9 of the least, and one.
            let least = tokens.div_ceil(room);
            assert!(packed.sequences() as u64 >= least);
            for (i, one) in sequences(&packed).iter().enumerate() {
                let filled: u64 = one.iter().map(|piece| lengths[*piece]).sum();
                assert!(filled <= room, "sequence {i}");
            }
        }
    }
}
