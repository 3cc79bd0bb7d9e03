//! From the hidden layer to probabilities: fastText's `loss.cc`.

use super::arithmetic::{logistic, softmax};
use super::matrix::Matrix;
use super::{EPSILON, Loss, Prediction};

/// The output layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    pub(super) loss: Loss,
    pub(super) matrix: Matrix,
    labels: usize,
    tree: Vec<Node>,
}

/// A node of the tree of the hierarchical softmax: the labels first, then what joins two, the root last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    parent: usize,
    /// Whether it is the right child.
    is_right: bool,
    /// Children of one that is no label.
    children: Option<(usize, usize)>,
}

/// fastText looks the logistic function up in a table of 512 steps from -8 to 8, for all but the tree.
fn tabled(x: f32) -> f64 {
    const STEPS: f32 = 512.0;
    const MOST: f32 = 8.0;
    if x < -MOST {
        0.0
    } else if x > MOST {
        1.0
    } else if x.is_nan() {
        f64::NAN
    } else {
        let step = ((x + MOST) * STEPS / MOST / 2.0).floor();
        let entry = logistic(f64::from(step * 2.0 * MOST / STEPS - MOST));
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the table has single precision"
        )]
        let entry = entry as f32;
        f64::from(entry)
    }
}

impl Output {
    /// `counts` of the labels make the tree.
    pub(super) fn new(loss: Loss, matrix: Matrix, counts: &[i64]) -> Self {
        let tree = if loss == Loss::HierarchicalSoftmax {
            tree(counts)
        } else {
            Vec::new()
        };
        Self {
            loss,
            matrix,
            labels: counts.len(),
            tree,
        }
    }

    /// Probabilities of all labels, into `scores`.
    pub(super) fn all(&self, hidden: &[f32], scores: &mut Vec<f64>, paths: &mut Vec<(usize, f64)>) {
        scores.clear();
        scores.resize(self.labels, 0.0);
        match self.loss {
            Loss::Softmax => {
                self.products(hidden, scores);
                softmax(scores);
                scores.iter_mut().for_each(|score| *score += EPSILON);
            }
            Loss::NegativeSampling | Loss::OneVersusAll => {
                for (label, score) in scores.iter_mut().enumerate() {
                    *score = tabled(self.matrix.dot(label, hidden)) + EPSILON;
                }
            }
            Loss::HierarchicalSoftmax => {
                paths.clear();
                paths.extend(self.tree.len().checked_sub(1).map(|root| (root, 1.0)));
                while let Some((node, probability)) = paths.pop() {
                    match self.tree[node].children {
                        None => scores[node] = probability,
                        Some((left, right)) => {
                            let (to_left, to_right) = self.turn(node, hidden);
                            paths.push((left, probability * to_left));
                            paths.push((right, probability * to_right));
                        }
                    }
                }
            }
        }
    }

    /// The likeliest label; of equals the first.
    pub(super) fn best(
        &self,
        hidden: &[f32],
        scores: &mut Vec<f64>,
        paths: &mut Vec<(usize, f64)>,
    ) -> Option<Prediction> {
        if self.loss == Loss::HierarchicalSoftmax {
            return self.best_of_tree(hidden, paths);
        }
        self.all(hidden, scores, paths);
        let mut best: Option<Prediction> = None;
        for (label, probability) in scores.iter().enumerate() {
            if best.is_none_or(|best| *probability > best.probability) {
                best = Some(Prediction {
                    label,
                    probability: *probability,
                });
            }
        }
        best
    }

    /// Goes down the tree, the likelier child first, and leaves what cannot be better than what was found.
    fn best_of_tree(&self, hidden: &[f32], paths: &mut Vec<(usize, f64)>) -> Option<Prediction> {
        let mut best: Option<Prediction> = None;
        paths.clear();
        paths.extend(self.tree.len().checked_sub(1).map(|root| (root, 1.0)));
        while let Some((node, probability)) = paths.pop() {
            // A turn can be likelier than 1 by the rounding, so that a path may grow by that much.
            if best.is_some_and(|best| probability * (1.0 + 64.0 * EPSILON) < best.probability) {
                continue;
            }
            match self.tree[node].children {
                None => {
                    let better = best.is_none_or(|best| {
                        probability > best.probability
                            || (probability == best.probability && node < best.label)
                    });
                    if better {
                        best = Some(Prediction {
                            label: node,
                            probability,
                        });
                    }
                }
                Some((left, right)) => {
                    let (to_left, to_right) = self.turn(node, hidden);
                    let mut children = [
                        (left, probability * to_left),
                        (right, probability * to_right),
                    ];
                    if to_left > to_right {
                        children.reverse();
                    }
                    paths.extend(children);
                }
            }
        }
        best
    }

    /// The probability of one label.
    pub(super) fn one(&self, hidden: &[f32], label: usize, scores: &mut Vec<f64>) -> Option<f64> {
        if label >= self.labels {
            return None;
        }
        match self.loss {
            Loss::Softmax => {
                scores.clear();
                scores.resize(self.labels, 0.0);
                self.products(hidden, scores);
                softmax(scores);
                scores.get(label).map(|score| score + EPSILON)
            }
            Loss::NegativeSampling | Loss::OneVersusAll => {
                Some(tabled(self.matrix.dot(label, hidden)) + EPSILON)
            }
            Loss::HierarchicalSoftmax => {
                let root = self.tree.len().checked_sub(1)?;
                let mut node = label;
                let mut probability = 1.0;
                while node != root {
                    let Node {
                        parent, is_right, ..
                    } = self.tree[node];
                    let (to_left, to_right) = self.turn(parent, hidden);
                    probability *= if is_right { to_right } else { to_left };
                    node = parent;
                }
                Some(probability)
            }
        }
    }

    fn products(&self, hidden: &[f32], scores: &mut [f64]) {
        for (label, score) in scores.iter_mut().enumerate() {
            *score = f64::from(self.matrix.dot(label, hidden));
        }
    }

    /// The probabilities of going left and right at a node that joins two.
    fn turn(&self, node: usize, hidden: &[f32]) -> (f64, f64) {
        let right = logistic(f64::from(self.matrix.dot(node - self.labels, hidden)));
        (1.0 - right + EPSILON, right + EPSILON)
    }
}

/// The Huffman tree of the labels' counts, which stand in falling order, exactly as fastText builds it: labels from the last,
/// joined ones in the order in which they were made, a label only where it is rarer.
fn tree(counts: &[i64]) -> Vec<Node> {
    let labels = counts.len();
    if labels == 0 {
        return Vec::new();
    }
    let leaf = Node {
        parent: 0,
        is_right: false,
        children: None,
    };
    let mut nodes = vec![leaf; 2 * labels - 1];
    // What is not made yet is rarer than nothing, as in fastText.
    let mut all: Vec<i64> = vec![1_000_000_000_000_000; nodes.len()];
    all[..labels].copy_from_slice(counts);
    let mut next_leaf = labels.checked_sub(1);
    let mut next_joined = labels;
    for made in labels..nodes.len() {
        let mut rarest = [0; 2];
        for rarest in &mut rarest {
            *rarest = match next_leaf {
                Some(leaf) if all[leaf] < all[next_joined] || next_joined >= made => {
                    next_leaf = leaf.checked_sub(1);
                    leaf
                }
                _ => {
                    next_joined += 1;
                    next_joined - 1
                }
            };
        }
        let [left, right] = rarest;
        nodes[made].children = Some((left, right));
        all[made] = all[left].saturating_add(all[right]);
        nodes[left].parent = made;
        nodes[right].parent = made;
        nodes[right].is_right = true;
    }
    nodes
}
