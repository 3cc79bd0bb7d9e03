//! The order of whole documents: epoch after epoch, each a permutation that depends on the seed and the epoch alone.

use crate::random::Stream;

/// A shuffled order that goes on for ever.
#[derive(Debug, Clone)]
pub struct Shuffled {
    seed: u64,
    name: &'static str,
    count: usize,
    /// The permutation that was made last, of the epoch before it.
    made: Option<(u64, Vec<u64>)>,
}

impl Shuffled {
    /// The order of `count` things called `name` under `seed`.
    pub const fn new(seed: u64, name: &'static str, count: usize) -> Self {
        Self {
            seed,
            name,
            count,
            made: None,
        }
    }

    /// What stands at `position`; 0 of nothing.
    pub fn at(&mut self, position: u64) -> u64 {
        if self.count == 0 {
            return 0;
        }
        let count = self.count as u64;
        let (epoch, place) = (position / count, position % count);
        if self.made.as_ref().is_none_or(|(made, _)| *made != epoch) {
            let stream = Stream::new(self.seed, &format!("{} {epoch}", self.name));
            let mut order: Vec<u64> = (0..count).collect();
            order.sort_unstable_by_key(|&index| (stream.bits(index), index));
            self.made = Some((epoch, order));
        }
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        self.made
            .as_ref()
            .and_then(|(_, order)| order.get(place).copied())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_is_another_permutation_of_all() {
        let epoch = |number: u64| -> Vec<u64> {
            let mut order = Shuffled::new(3, "test", 50);
            (number * 50..(number + 1) * 50)
                .map(|position| order.at(position))
                .collect()
        };
        let (first, second) = (epoch(0), epoch(1));
        assert_ne!(first, second);
        for order in [&first, &second] {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        // Read from anywhere, in any order of asking.
        let mut order = Shuffled::new(3, "test", 50);
        assert_eq!((order.at(77), order.at(3)), (second[27], first[3]));
        assert_eq!(Shuffled::new(3, "test", 0).at(9), 0);
    }
}
