//! Which sequence stands where: the order of a source's sequences, epoch after epoch, and whose turn it is among several
//! sources. Pure functions of integers; `SPEC.md` has them with a program in Python.
//!
//! Within an epoch chunks of neighbouring sequences are permuted, and the sequences of a few chunks at a time among each
//! other. Each permutation is a Feistel network with cycle walking (Black and Rogaway, "Ciphers with Arbitrary Finite
//! Domains", CT-RSA 2002), so any place costs the same, wherever it is.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The chunks that a source's sequences stand in, in stored order.
#[derive(Debug)]
pub(crate) enum Table {
    /// All of one size but the last: nothing to remember.
    Even {
        /// Sequences; at least one.
        sequences: u64,
        /// Sequences a chunk; at least one.
        per_chunk: u64,
    },
    /// Found by reading the indices of the shards: 16 bytes a chunk.
    Listed {
        /// The token of the split that each chunk begins with.
        starts: Vec<u64>,
        /// Sequences before each chunk, and of all.
        firsts: Vec<u64>,
    },
}

impl Table {
    /// Sequences of an epoch.
    pub(crate) fn sequences(&self) -> u64 {
        match self {
            Self::Even { sequences, .. } => *sequences,
            Self::Listed { firsts, .. } => firsts.last().copied().unwrap_or(0),
        }
    }

    pub(crate) fn chunks(&self) -> u64 {
        match self {
            Self::Even {
                sequences,
                per_chunk,
            } => sequences.div_ceil(*per_chunk),
            Self::Listed { starts, .. } => starts.len() as u64,
        }
    }

    /// Sequences before a chunk; of all of them beyond the last.
    pub(crate) fn first(&self, chunk: u64) -> u64 {
        match self {
            Self::Even {
                sequences,
                per_chunk,
            } => chunk.saturating_mul(*per_chunk).min(*sequences),
            Self::Listed { firsts, .. } => {
                let at = usize::try_from(chunk).unwrap_or(usize::MAX);
                firsts.get(at).copied().unwrap_or_else(|| self.sequences())
            }
        }
    }

    pub(crate) fn size(&self, chunk: u64) -> u64 {
        self.first(chunk.saturating_add(1)) - self.first(chunk)
    }

    /// The chunk a sequence is in, and its place there.
    pub(crate) fn locate(&self, sequence: u64) -> (u64, u64) {
        match self {
            Self::Even { per_chunk, .. } => (sequence / per_chunk, sequence % per_chunk),
            Self::Listed { firsts, .. } => {
                let after = firsts.partition_point(|first| *first <= sequence);
                let chunk = after.saturating_sub(1);
                (chunk as u64, sequence - firsts[chunk])
            }
        }
    }
}

/// The order of one source.
#[derive(Debug)]
pub(crate) struct Order {
    /// What `seed`, build and dataset make of the key; the epoch is added.
    key: u64,
    /// Chunks whose sequences are permuted among each other.
    group_chunks: u64,
    /// The epoch asked for last.
    epoch: Option<Epoch>,
    /// The group asked for last; of no sequences before.
    group: Group,
}

#[derive(Debug)]
struct Epoch {
    number: u64,
    key: u64,
    /// The sequences before each group.
    before: Vec<u64>,
}

/// Positions that are permuted among each other.
#[derive(Debug, Default)]
struct Group {
    /// The first position.
    start: u64,
    sequences: u64,
    key: u64,
    /// Its chunks in the order taken, each with the sequences of the group before it; none where it is all of an epoch, and
    /// the table tells.
    chunks: Vec<(u64, u64)>,
}

impl Group {
    fn has(&self, position: u64) -> bool {
        position >= self.start && position - self.start < self.sequences
    }

    /// The chunk, and the sequence in it, of one of its sequences.
    fn locate(&self, sequence: u64, table: &Table) -> (u64, u64) {
        if self.chunks.is_empty() {
            return table.locate(sequence);
        }
        let of = self
            .chunks
            .partition_point(|(_, before)| *before <= sequence)
            - 1;
        let (chunk, before) = self.chunks[of];
        (chunk, sequence - before)
    }
}

impl Order {
    pub(crate) fn new(root: &str, dataset: Option<&str>, seed: u64, group_chunks: u64) -> Self {
        let of_dataset = dataset.map_or(0, |name| xxh3_64(name.as_bytes()));
        Self {
            key: xxh3_64_with_seed(root.as_bytes(), seed) ^ of_dataset,
            group_chunks,
            epoch: None,
            group: Group::default(),
        }
    }

    /// The chunk, and the sequence in it, at `position`.
    ///
    /// The first question of an epoch costs a look at each chunk, 50 nanoseconds or so; every other the same few.
    pub(crate) fn locate(&mut self, position: u64, table: &Table) -> (u64, u64) {
        let [place] = self.locate_each([position], table);
        place
    }

    /// [`Self::locate`] for several positions, which costs less than one by one if they are near each other.
    pub(crate) fn locate_each<const N: usize>(
        &mut self,
        positions: [u64; N],
        table: &Table,
    ) -> [(u64, u64); N] {
        let first = positions.first().copied().unwrap_or(0);
        if !self.group.has(first) {
            self.group = self.group_of(first, table);
        }
        let group = &self.group;
        if positions.iter().all(|position| group.has(*position)) {
            let places = positions.map(|position| position - group.start);
            return permute(places, group.sequences, group.key)
                .map(|sequence| group.locate(sequence, table));
        }
        positions.map(|position| self.locate(position, table))
    }

    fn group_of(&mut self, position: u64, table: &Table) -> Group {
        let (n, chunks) = (table.sequences(), table.chunks());
        let (epoch, place) = (position / n, position % n);
        let start = position - place;
        if chunks <= self.group_chunks {
            return Group {
                start,
                sequences: n,
                key: self.key_of(epoch),
                chunks: Vec::new(),
            };
        }
        let epoch = match self.epoch.take() {
            Some(known) if known.number == epoch => known,
            _ => {
                let key = self.key_of(epoch);
                let mut before = Vec::new();
                let mut sum = 0;
                for at in 0..chunks {
                    if at % self.group_chunks == 0 {
                        before.push(sum);
                    }
                    let [chunk] = permute([at], chunks, key);
                    sum += table.size(chunk);
                }
                Epoch {
                    number: epoch,
                    key,
                    before,
                }
            }
        };
        let number = epoch.before.partition_point(|first| *first <= place) - 1;
        let first = epoch.before[number];
        let number = number as u64;
        let mut group = Group {
            start: start + first,
            sequences: 0,
            key: xxh3_64_with_seed(&number.to_le_bytes(), epoch.key),
            chunks: Vec::new(),
        };
        let taken = number * self.group_chunks;
        for at in taken..chunks.min(taken.saturating_add(self.group_chunks)) {
            let [chunk] = permute([at], chunks, epoch.key);
            group.chunks.push((chunk, group.sequences));
            group.sequences += table.size(chunk);
        }
        self.epoch = Some(epoch);
        group
    }

    fn key_of(&self, epoch: u64) -> u64 {
        self.key ^ xxh3_64(&epoch.to_le_bytes())
    }
}

/// Which of several sources `position` belongs to, and the position in it. Weights are at least 1, and
/// together at most `u64::MAX`.
///
/// Nested two-way accounts: the first source has `round(p · w / W)` of the first `p` positions, the others the rest, among
/// which the second has its rounded share, and so on. Each line is Bresenham's ("Algorithm for computer control of a digital
/// plotter", IBM Systems Journal 1965), so no state is needed to know it anywhere.
pub(crate) fn source_at(position: u64, weights: &[u64]) -> (usize, u64) {
    let mut weight = total(weights);
    let mut rest = u128::from(position);
    let last = weights.len().saturating_sub(1);
    for (i, own) in weights.iter().enumerate().take(last) {
        let (before, with) = (
            share(rest, *own, weight),
            share(rest.saturating_add(1), *own, weight),
        );
        if with > before {
            return (i, narrow(before));
        }
        rest -= before;
        weight -= u128::from(*own);
    }
    (last, narrow(rest))
}

/// How many of the first `position` sequences each source has given.
pub(crate) fn given(position: u64, weights: &[u64]) -> Vec<u64> {
    let mut weight = total(weights);
    let mut rest = u128::from(position);
    let account = |own: &u64| {
        let given = share(rest, *own, weight);
        rest -= given;
        weight -= u128::from(*own);
        narrow(given)
    };
    weights.iter().map(account).collect()
}

fn total(weights: &[u64]) -> u128 {
    weights.iter().map(|weight| u128::from(*weight)).sum()
}

/// `round(of · own / all)`, halves upwards. No overflow: `of` is at most 2^64, and `own` and `all` are below it.
fn share(of: u128, own: u64, all: u128) -> u128 {
    (of * u128::from(own) + all / 2) / all.max(1)
}

/// A count of positions, which are fewer than 2^64.
fn narrow(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Places of a permutation of `0..n`: a balanced Feistel network on the next even number of bits, walked until it lands inside.
/// A round waits for the one before it, so that several places together cost little more than one.
fn permute<const N: usize>(places: [u64; N], n: u64, key: u64) -> [u64; N] {
    let bits = (64 - (n - 1).leading_zeros()).max(2).div_ceil(2);
    let mask = (1u64 << bits) - 1;
    let walked = |at: [u64; N]| -> [u64; N] {
        let (mut left, mut right) = (at.map(|at| at >> bits), at.map(|at| at & mask));
        for round in 0..ROUNDS {
            let seed = key.wrapping_add(round);
            let mixed = right.map(|right| xxh3_64_with_seed(&right.to_le_bytes(), seed) & mask);
            let next = std::array::from_fn(|i| left[i] ^ mixed[i]);
            (left, right) = (right, next);
        }
        std::array::from_fn(|i| left[i] << bits | right[i])
    };
    let mut at = walked(places);
    while at.iter().any(|at| *at >= n) {
        let further = walked(at);
        at = std::array::from_fn(|i| if at[i] < n { at[i] } else { further[i] });
    }
    at
}

/// Six rounds of a Feistel network are indistinguishable from random for this use; four are the theoretical least.
const ROUNDS: u64 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    fn permute_one(place: u64, n: u64, key: u64) -> u64 {
        permute([place], n, key)[0]
    }

    #[test]
    fn the_order_is_a_permutation_of_every_size() {
        for n in [1, 2, 3, 5, 16, 17, 100, 1000, 4097] {
            let mut seen = vec![false; usize::try_from(n).unwrap()];
            for place in 0..n {
                let at = usize::try_from(permute_one(place, n, 0x1234)).unwrap();
                assert!(!std::mem::replace(&mut seen[at], true), "n {n}");
            }
        }
    }

    #[test]
    fn a_permutation_of_more_places_than_can_be_listed_stays_inside_and_does_not_repeat() {
        for n in [
            (1u64 << 32) - 1,
            1 << 32,
            (1 << 32) + 1,
            1 << 63,
            (1 << 63) + 1,
            u64::MAX,
        ] {
            let places = (0..1000).chain(n - 1000..n);
            let mut order: Vec<u64> = places.map(|place| permute_one(place, n, 7)).collect();
            order.sort_unstable();
            assert!(
                order.windows(2).all(|w| w[0] < w[1]) && order[order.len() - 1] < n,
                "n {n}"
            );
        }
    }

    #[test]
    fn other_keys_give_other_orders_and_places_spread() {
        let n = 10_000;
        let order = |key| {
            (0..n)
                .map(|place| permute_one(place, n, key))
                .collect::<Vec<_>>()
        };
        let (a, b) = (order(1), order(2));
        let same = a.iter().zip(&b).filter(|(x, y)| x == y).count();
        assert!(same < 20, "{same}");
        // The mean distance of neighbours in a random order is n / 3.
        let distance: f64 = a
            .windows(2)
            .map(|w| w[0].abs_diff(w[1]) as f64)
            .sum::<f64>()
            / (n - 1) as f64;
        assert!((distance / n as f64 - 1.0 / 3.0).abs() < 0.02, "{distance}");
    }

    #[test]
    fn positions_together_are_where_each_is_alone() {
        for table in tables() {
            for group_chunks in [1, 2, 3, u64::MAX] {
                let order = || Order::new("root", None, 5, group_chunks);
                for start in (0..200).chain([u64::MAX - 50]) {
                    for step in [1, 3] {
                        let positions: [u64; 8] = std::array::from_fn(|i| start + step * i as u64);
                        let (mut together, mut alone) = (order(), order());
                        assert_eq!(
                            together.locate_each(positions, &table),
                            positions.map(|position| alone.locate(position, &table))
                        );
                    }
                }
            }
        }
    }

    fn tables() -> [Table; 3] {
        let sizes = [3, 1, 9, 4, 4, 2, 7, 5, 1, 1, 8];
        let sums = sizes.iter().scan(0, |sum, size| {
            *sum += size;
            Some(*sum)
        });
        [
            Table::Even {
                sequences: 94,
                per_chunk: 7,
            },
            Table::Even {
                sequences: 5,
                per_chunk: 9,
            },
            Table::Listed {
                starts: vec![0; sizes.len()],
                firsts: [0].into_iter().chain(sums).collect(),
            },
        ]
    }

    #[test]
    fn every_epoch_has_every_sequence_once_in_an_order_of_its_own() {
        for table in tables() {
            let n = table.sequences();
            for group_chunks in [1, 2, 4, 100, u64::MAX] {
                let mut order = Order::new("root", None, 3, group_chunks);
                let mut epoch = |epoch| -> Vec<(u64, u64)> {
                    (0..n)
                        .map(|place| order.locate(epoch * n + place, &table))
                        .collect()
                };
                let (first, second) = (epoch(0), epoch(1));
                assert_ne!(first, second);
                for mut order in [first, second] {
                    order.sort_unstable();
                    let stored: Vec<_> = (0..n).map(|at| table.locate(at)).collect();
                    assert_eq!(order, stored);
                    assert!(stored.iter().all(|(chunk, at)| *at < table.size(*chunk)));
                }
                // Backwards, from one epoch to another and back: nothing but the position counts.
                let positions = (0..3 * n).rev().chain([0, 2 * n, 1, u64::MAX]);
                let mut again = Order::new("root", None, 3, group_chunks);
                for position in positions {
                    let mut alone = Order::new("root", None, 3, group_chunks);
                    let at = alone.locate(position, &table);
                    assert_eq!(again.locate(position, &table), at);
                }
            }
        }
    }

    #[test]
    fn a_group_is_given_before_the_next_begins() {
        let [table, ..] = tables();
        let mut order = Order::new("root", None, 3, 4);
        let chunks: Vec<u64> = (0..94).map(|at| order.locate(at, &table).0).collect();
        // 14 chunks of 7 sequences, the last of 3, in groups of four.
        let mut at = 0;
        while at < chunks.len() {
            let mut group: Vec<u64> = Vec::new();
            while let Some(chunk) = chunks
                .get(at)
                .filter(|chunk| group.contains(chunk) || group.len() < 4)
            {
                if !group.contains(chunk) {
                    group.push(*chunk);
                }
                at += 1;
            }
            assert!(chunks[at..].iter().all(|chunk| !group.contains(chunk)));
        }
    }

    /// The numbers are those of the program in `SPEC.md`, run with Python 3.11 and xxhash 3.8: `sequence(i, [7] * 13 + [3],
    /// "root", 3, 4)` for i from 0, `sequence(94 + i, ..., dataset="prose")`, and `source(i, [7, 1, 5, 3])`.
    #[test]
    fn the_order_is_the_specified_one() {
        let [table, ..] = tables();
        let mut order = Order::new("root", None, 3, 4);
        let mut at = |position| {
            let (chunk, at) = order.locate(position, &table);
            table.first(chunk) + at
        };
        assert_eq!((0..10).map(&mut at).collect::<Vec<_>>(), GROUPED);
        let mut order = Order::new("root", Some("prose"), 3, 4);
        let mut at = |position| {
            let (chunk, at) = order.locate(position, &table);
            table.first(chunk) + at
        };
        assert_eq!((94..104).map(&mut at).collect::<Vec<_>>(), OF_A_DATASET);
        let sources: Vec<_> = (0..10).map(|at| source_at(at, &[7, 1, 5, 3])).collect();
        assert_eq!(sources, SOURCES);
    }

    const GROUPED: [u64; 10] = [8, 78, 2, 13, 11, 83, 4, 39, 12, 79];
    const OF_A_DATASET: [u64; 10] = [1, 35, 42, 37, 62, 36, 58, 61, 38, 43];
    const SOURCES: [(usize, u64); 10] = [
        (2, 0),
        (0, 0),
        (3, 0),
        (0, 1),
        (2, 1),
        (0, 2),
        (2, 2),
        (0, 3),
        (1, 0),
        (3, 1),
    ];

    #[test]
    fn every_source_has_its_share_at_any_time() {
        for weights in [
            &[1][..],
            &[1, 1],
            &[7, 1, 5, 3],
            &[1, 1000, 1],
            &[900, 50, 49, 1],
        ] {
            let all: u64 = weights.iter().sum();
            let mut counts = vec![0; weights.len()];
            for position in 0..3 * all {
                assert_eq!(given(position, weights), counts);
                let (source, at) = source_at(position, weights);
                assert_eq!(at, counts[source]);
                counts[source] += 1;
                for (count, weight) in counts.iter().zip(weights) {
                    let off = (i128::from(*count) * i128::from(all)
                        - i128::from(position + 1) * i128::from(*weight))
                    .unsigned_abs();
                    // Half the number of sources, with everything multiplied by twice the weights' sum.
                    assert!(2 * off <= weights.len() as u128 * u128::from(all));
                }
            }
            let thrice: Vec<u64> = weights.iter().map(|weight| 3 * weight).collect();
            assert_eq!(counts, thrice);
        }
    }

    #[test]
    fn weights_and_positions_of_any_size_are_counted() {
        for weights in [
            [u64::MAX / 3; 3],
            [1, u64::MAX - 2, 1],
            [u64::MAX - 2, 1, 1],
        ] {
            for position in [0, 1, u64::MAX - 1, u64::MAX] {
                let before = given(position, &weights);
                let sum: u128 = before.iter().map(|count| u128::from(*count)).sum();
                assert_eq!(sum, u128::from(position));
                let (source, at) = source_at(position, &weights);
                assert_eq!(before[source], at);
            }
        }
    }
}
