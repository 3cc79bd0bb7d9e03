//! Which worker steps which parameter (the first stage of `ZeRO`; Rajbhandari et al., "`ZeRO`: Memory Optimizations Toward Training
//! Trillion Parameter Models", 2020): only the owner of a parameter has its moments. Whole parameters and not cuts through all of
//! them, since some rules look at a parameter as a whole.

use crate::model::ParameterShape;

/// The owners of all parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    owners: Vec<usize>,
    counts: Vec<usize>,
    workers: usize,
}

impl Owners {
    /// Shares parameters of so many numbers among `workers`: the largest first, each to the worker that has least (Graham, "Bounds
    /// on Multiprocessing Timing Anomalies", 1969).
    pub fn new(counts: Vec<usize>, workers: usize) -> Self {
        let mut order: Vec<usize> = (0..counts.len()).collect();
        order.sort_by_key(|&index| (std::cmp::Reverse(counts[index]), index));
        let mut loads = vec![0_usize; workers.max(1)];
        let mut owners = vec![0; counts.len()];
        for index in order {
            let least = (0..loads.len())
                .min_by_key(|&rank| (loads[rank], rank))
                .unwrap_or(0);
            loads[least] += counts[index];
            owners[index] = least;
        }
        Self {
            owners,
            counts,
            workers: loads.len(),
        }
    }

    /// The same of a model's parameters.
    pub fn of(shapes: &[ParameterShape], workers: usize) -> Self {
        Self::new(shapes.iter().map(ParameterShape::count).collect(), workers)
    }

    /// How many parameters there are.
    pub fn parameters(&self) -> usize {
        self.owners.len()
    }

    /// Who owns parameter `index`.
    pub fn owner(&self, index: usize) -> usize {
        self.owners[index]
    }

    /// The parameters of worker `rank`, ascending.
    pub fn owned(&self, rank: usize) -> Vec<usize> {
        let all = 0..self.owners.len();
        all.filter(|&index| self.owners[index] == rank).collect()
    }

    /// Numbers of parameter `index`.
    pub fn count(&self, index: usize) -> usize {
        self.counts[index]
    }

    /// Numbers that worker `rank` owns.
    pub fn numbers(&self, rank: usize) -> usize {
        let owned = self.owned(rank);
        owned.iter().map(|&index| self.counts[index]).sum()
    }

    /// Numbers of the worker that owns most.
    pub fn most_numbers(&self) -> usize {
        (0..self.workers)
            .map(|rank| self.numbers(rank))
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PRESETS;

    #[test]
    fn every_parameter_has_one_owner_and_owners_have_alike_much() {
        // 5 | 4, then 4 + 2, 5 + 2, 6 + 1.
        assert_eq!(Owners::new(vec![5, 1, 4, 2, 2], 2).owners, [0, 1, 1, 1, 0]);
        for preset in PRESETS {
            let shapes = preset.model(50_304).shapes();
            for workers in 1..=4 {
                let owners = Owners::of(&shapes, workers);
                let mut all: Vec<usize> =
                    (0..workers).flat_map(|rank| owners.owned(rank)).collect();
                all.sort_unstable();
                assert_eq!(all, (0..shapes.len()).collect::<Vec<_>>());
                let total: usize = shapes.iter().map(ParameterShape::count).sum();
                let largest = shapes.iter().map(ParameterShape::count).max().unwrap();
                // Graham's bound for the largest first.
                let best = largest.max(total.div_ceil(workers));
                assert!(
                    3 * owners.most_numbers() <= 4 * best,
                    "{} on {workers}",
                    preset.name
                );
                assert_eq!(
                    (0..workers).map(|rank| owners.numbers(rank)).sum::<usize>(),
                    total
                );
            }
        }
    }
}
