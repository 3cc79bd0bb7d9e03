//! Disjoint sets over dense ids, four bytes an id. The root of a set is its smallest id, whatever the order of
//! unions.
//!
//! Linking by id in place of rank gives up the textbook bound, not the speed: with path halving (Tarjan and van
//! Leeuwen, 1984) a find is logarithmic amortized, and edges sorted by id, which is how buckets come, keep the
//! trees flat.

/// Sets of the ids `0..len`, each alone at first.
#[derive(Clone, Debug)]
pub struct UnionFind {
    parents: Vec<u32>,
}

impl UnionFind {
    /// `len` sets of one id each.
    #[must_use]
    pub fn new(len: u32) -> Self {
        Self {
            parents: (0..len).collect(),
        }
    }

    /// How many ids there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are no ids at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }

    /// The smallest id of the set that holds `id`; `None` if there is no such id.
    pub fn root(&mut self, id: u32) -> Option<u32> {
        let mut at = id;
        loop {
            let parent = *self.parents.get(at as usize)?;
            if parent == at {
                return Some(at);
            }
            let grandparent = self.parents[parent as usize];
            self.parents[at as usize] = grandparent;
            at = grandparent;
        }
    }

    /// The smallest id of the set that holds `id`, which must exist, without shortening the way to it: for many threads.
    #[must_use]
    pub fn find(&self, id: u32) -> u32 {
        let mut at = id;
        loop {
            let parent = self.parents[at as usize];
            if parent == at {
                return at;
            }
            at = parent;
        }
    }

    /// Joins the sets of two ids; returns whether they were apart, `None` if either id does not exist.
    pub fn union(&mut self, left: u32, right: u32) -> Option<bool> {
        let (left, right) = (self.root(left)?, self.root(right)?);
        let (low, high) = (left.min(right), left.max(right));
        self.parents[high as usize] = low;
        Some(low != high)
    }

    /// The root of every id, in the order of ids.
    #[must_use]
    pub fn into_roots(mut self) -> Vec<u32> {
        // A parent is never larger than its child, so its own entry is a root already.
        for id in 0..self.parents.len() {
            self.parents[id] = self.parents[self.parents[id] as usize];
        }
        self.parents
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_root_is_the_smallest_id_of_the_set() {
        let mut sets = UnionFind::new(6);
        assert_eq!(sets.union(5, 3), Some(true));
        assert_eq!(sets.union(3, 4), Some(true));
        assert_eq!(sets.union(4, 5), Some(false));
        assert_eq!(sets.root(5), Some(3));
        assert_eq!(sets.union(4, 1), Some(true));
        assert_eq!(sets.into_roots(), [0, 1, 2, 1, 1, 1]);
    }

    #[test]
    fn an_id_that_does_not_exist_is_none() {
        let mut sets = UnionFind::new(2);
        assert_eq!(sets.root(2), None);
        assert_eq!(sets.union(0, 2), None);
        assert!(UnionFind::new(0).is_empty());
    }

    proptest! {
        #[test]
        fn roots_equal_those_of_a_flood_and_do_not_depend_on_order(
            edges in prop::collection::vec((0_u32..40, 0_u32..40), 0..60),
        ) {
            let mut labels: Vec<u32> = (0..40).collect();
            // Spread the smallest label along the edges until nothing changes.
            for _ in 0..40 {
                for &(left, right) in &edges {
                    let low = labels[left as usize].min(labels[right as usize]);
                    labels[left as usize] = low;
                    labels[right as usize] = low;
                }
            }
            let mut forward = UnionFind::new(40);
            let mut backward = UnionFind::new(40);
            for &(left, right) in &edges {
                forward.union(left, right);
            }
            for &(left, right) in edges.iter().rev() {
                backward.union(right, left);
            }
            prop_assert_eq!(&forward.into_roots(), &labels);
            prop_assert_eq!(&backward.into_roots(), &labels);
        }
    }
}
