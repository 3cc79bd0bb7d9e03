//! Disjoint sets of dense ids, with the smallest id of a set as its root, so that the result does not depend on the order
//! of unions.

/// The sets.
#[derive(Debug, Clone)]
pub struct UnionFind {
    parent: Vec<u32>,
}

impl UnionFind {
    /// `n` sets of one.
    pub fn new(n: u32) -> Self {
        Self { parent: (0..n).collect() }
    }

    /// The smallest id of the set of `id`, which is below the number of ids.
    pub fn find(&mut self, mut id: u32) -> u32 {
        // Path halving: every other step is shortened on the way (Tarjan and van Leeuwen, 1984).
        while self.parent[id as usize] != id {
            let grandparent = self.parent[self.parent[id as usize] as usize];
            self.parent[id as usize] = grandparent;
            id = grandparent;
        }
        id
    }

    /// Joins two sets; whether they were two.
    pub fn union(&mut self, a: u32, b: u32) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        let (root, other) = (a.min(b), a.max(b));
        self.parent[other as usize] = root;
        a != b
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn sets_are_those_of_a_slow_and_obvious_way(edges in prop::collection::vec((0u32..40, 0u32..40), 0..60)) {
            let mut sets = UnionFind::new(40);
            let mut label: Vec<u32> = (0..40).collect();
            for (a, b) in edges {
                sets.union(a, b);
                let (x, y) = (label[a as usize], label[b as usize]);
                label.iter_mut().filter(|l| **l == x.max(y)).for_each(|l| *l = x.min(y));
            }
            for id in 0..40 {
                prop_assert_eq!(sets.find(id), label[id as usize]);
            }
        }
    }
}
