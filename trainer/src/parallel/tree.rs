//! Which worker has which part of a step, and in which order gradients are summed.
//!
//! Sums of floating-point numbers depend on their order, so the order is a property of the run and not of who computes it: a step's
//! micro-batches are cut into parts, and the gradients of parts are the leaves of one binary tree. A node of n parts is its first
//! 2^k, the largest power of two below n, plus the others (the tree of RFC 6962). A worker has neighbouring parts, sums what nodes
//! lie within them, and the rest is summed where those meet: the same additions whatever the number of workers.

use std::collections::VecDeque;
use std::ops::Range;

/// Which of `parts` worker `rank` of `workers` has: neighbours, as many as any other or one more.
pub fn share(parts: usize, rank: usize, workers: usize) -> Range<usize> {
    cut(parts, rank, workers)..cut(parts, rank + 1, workers)
}

/// Which of a step's `micro_batches` are part `part` of `parts`; none where there are fewer of them than parts.
pub fn micro_batches(micro_batches: usize, part: usize, parts: usize) -> Range<usize> {
    cut(micro_batches, part, parts)..cut(micro_batches, part + 1, parts)
}

/// Where piece `index` of `pieces` begins in `whole`.
const fn cut(whole: usize, index: usize, pieces: usize) -> usize {
    // Both are at most 2^16 where they come from a configuration.
    whole.saturating_mul(index) / if pieces == 0 { 1 } else { pieces }
}

/// Where the two halves of a node meet. Nodes of one part have none.
pub fn middle(node: &Range<usize>) -> usize {
    let below = node.len().next_power_of_two() / 2;
    node.start + below
}

/// The largest nodes of the tree over `parts` that lie within `share`, in order.
pub fn nodes(parts: usize, share: &Range<usize>) -> Vec<Range<usize>> {
    fn within(node: Range<usize>, share: &Range<usize>, found: &mut Vec<Range<usize>>) {
        if node.start >= share.end || node.end <= share.start || node.is_empty() {
            return;
        }
        if share.start <= node.start && node.end <= share.end {
            found.push(node);
            return;
        }
        let middle = middle(&node);
        within(node.start..middle, share, found);
        within(middle..node.end, share, found);
    }
    let mut found = Vec::new();
    within(0..parts, share, &mut found);
    found
}

/// Gradients of all parameters that exist at one time where the nodes within `share` are summed: one a node, and on the way one for
/// each left half that waits for its right one.
pub fn stores(parts: usize, share: &Range<usize>) -> usize {
    fn of(node: &Range<usize>) -> usize {
        if node.len() <= 1 {
            return 1;
        }
        let middle = middle(node);
        of(&(node.start..middle)).max(1 + of(&(middle..node.end)))
    }
    let nodes = nodes(parts, share);
    let each = nodes.iter().enumerate().map(|(done, node)| done + of(node));
    each.max().unwrap_or(0)
}

/// The sum of the tree over `parts` from the sums of nodes that together are all of it, in order. None if they are not.
pub fn sum(parts: usize, nodes: Vec<(Range<usize>, Vec<f32>)>) -> Option<Vec<f32>> {
    fn of(node: Range<usize>, nodes: &mut VecDeque<(Range<usize>, Vec<f32>)>) -> Option<Vec<f32>> {
        if nodes.front()?.0 == node {
            return nodes.pop_front().map(|(_, numbers)| numbers);
        }
        if node.len() <= 1 {
            return None;
        }
        let middle = middle(&node);
        let mut left = of(node.start..middle, nodes)?;
        let right = of(middle..node.end, nodes)?;
        if left.len() != right.len() {
            return None;
        }
        for (sum, x) in left.iter_mut().zip(right) {
            *sum += x;
        }
        Some(left)
    }
    let mut nodes = VecDeque::from(nodes);
    let sum = of(0..parts, &mut nodes)?;
    nodes.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_have_all_parts_once_and_nearly_as_many_each() {
        for parts in 1..40 {
            for workers in 1..=parts {
                let shares: Vec<_> = (0..workers)
                    .map(|rank| share(parts, rank, workers))
                    .collect();
                let all: Vec<usize> = shares.iter().cloned().flatten().collect();
                assert_eq!(all, (0..parts).collect::<Vec<_>>());
                let sizes = shares.iter().map(|share| share.len());
                assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn the_tree_is_the_one_of_rfc_6962() {
        // Section 2.1.3 of the RFC draws the tree over seven leaves: ((d0 d1) (d2 d3)) ((d4 d5) d6).
        assert_eq!(
            (middle(&(0..7)), middle(&(4..7)), middle(&(0..4))),
            (4, 6, 2)
        );
        assert_eq!(nodes(7, &(0..7)), vec![0..7; 1]);
        assert_eq!(nodes(7, &(3..7)), [3..4, 4..7]);
        assert_eq!(nodes(7, &(1..6)), [1..2, 2..4, 4..6]);
    }

    #[test]
    fn the_sum_has_the_same_bits_however_the_parts_are_shared() {
        for parts in 1..20 {
            // Numbers of many sizes, so that another order gives another sum.
            let leaf = |part: usize| -> Vec<f32> {
                let number = |i: usize| {
                    ((part * 7 + i * 13) as f32).sin() * 10f32.powf((part % 7) as f32 - 3.0)
                };
                (0..50).map(number).collect()
            };
            let of_node = |node: Range<usize>| {
                let leaves = node
                    .clone()
                    .map(|part| (part - node.start..part - node.start + 1, leaf(part)));
                sum(node.len(), leaves.collect()).unwrap()
            };
            let alone = of_node(0..parts);
            let mut in_order = leaf(0);
            for part in 1..parts {
                for (sum, x) in in_order.iter_mut().zip(leaf(part)) {
                    *sum += x;
                }
            }
            assert_eq!(alone != in_order, parts > 3, "{parts} parts");
            for workers in 1..=parts {
                let mut all = Vec::new();
                for rank in 0..workers {
                    let nodes = nodes(parts, &share(parts, rank, workers));
                    all.extend(nodes.into_iter().map(|node| {
                        // A node has the same shape wherever it stands, since all before it is a multiple of its power of two.
                        let numbers = of_node(node.clone());
                        (node, numbers)
                    }));
                }
                assert_eq!(
                    sum(parts, all).unwrap(),
                    alone,
                    "{parts} parts, {workers} workers"
                );
            }
        }
    }

    #[test]
    fn nodes_that_are_not_the_whole_have_no_sum() {
        assert_eq!(sum(2, vec![(0..1, vec![1.0])]), None);
        assert_eq!(sum(1, vec![(0..1, vec![1.0]), (1..2, vec![1.0])]), None);
        assert_eq!(sum(2, vec![(0..1, vec![1.0]), (1..2, vec![])]), None);
        assert_eq!(sum(3, vec![(0..1, vec![1.0]), (1..3, vec![1.0])]), None);
    }

    #[test]
    fn stores_are_those_of_summing_depth_first() {
        assert_eq!(stores(1, &(0..1)), 1);
        assert_eq!([2, 4, 8].map(|parts| stores(parts, &(0..parts))), [2, 3, 4]);
        // One node done, and a pair.
        assert_eq!(stores(7, &(3..6)), 3);
        assert_eq!(stores(8, &(2..4)), 2);
        assert_eq!(stores(8, &(2..3)), 1);
    }
}
