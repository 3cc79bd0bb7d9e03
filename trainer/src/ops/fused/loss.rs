//! Cross-entropy of the head, with the head's product inside: logits exist for a chunk of rows at a time, and what is done to them is done
//! where a block of columns is still in the caches. At a vocabulary of 50,304 this is the largest saving of time and memory in the whole
//! step.
//!
//! Each block's logits become exponentials of their distance from the block's own largest (as in Milakov and Gimelshein, "Online normalizer
//! calculation for softmax", 2018). When all blocks are there the sums are known, and with them what a row's exponentials are to be
//! multiplied with to be the gradient, block by block, which at once meets the head's weights and the rows of `x`.

use std::ops::Range;

use rayon::prelude::*;

use super::numeric::{Real, exponentials, maximum, sum, vectorized};
use super::product::View;
use super::{Fused, blocks};
use crate::ops::{LossOptions, Losses, Targets};

/// Logits that exist at one time: 100 MB of `f32` at most, and fewer rows than this.
const CHUNK_LOGITS: usize = 25 << 20;
const CHUNK_ROWS: usize = 512;

/// Columns of a block: 2 MB of `f32` for a chunk. The gradient of `x` is summed up in this order.
const BLOCK: usize = 1024;

/// Rows that work at a time, fewer for a thread being not worth its while.
const LEAST_ROWS: usize = 8;

/// Rows whose logits exist at one time, by the size of the vocabulary.
pub fn chunk_rows(vocabulary: usize) -> usize {
    (CHUNK_LOGITS / vocabulary.max(1)).clamp(1, CHUNK_ROWS)
}

/// Numbers that a loss with gradients keeps of so many rows, however many there are.
pub fn loss_numbers(rows: u64, vocabulary: usize) -> u64 {
    let chunk = rows.min(chunk_rows(vocabulary) as u64);
    chunk * (vocabulary + vocabulary.min(BLOCK)) as u64
}

/// A row's logits in a block of columns.
#[derive(Debug, Clone, Copy)]
struct Part<T> {
    largest: T,
    /// The sum of the exponentials of their distances from the largest.
    total: T,
    /// Their own sum, if that is asked for.
    sum: T,
}

/// Gradients that a loss writes: of `x`, and, added to what is there, of the head.
pub(super) struct Gradients<'a, T> {
    pub(super) x: &'a mut [T],
    pub(super) head: &'a mut [T],
}

/// Losses of `x` (rows, d) under `weight` (vocabulary, d).
pub(super) fn loss<T: Real>(
    fused: &Fused<T>,
    x: &[T],
    weight: View<'_, T>,
    targets: Targets<'_>,
    options: LossOptions,
    mut gradients: Option<Gradients<'_, T>>,
) -> Losses {
    let (vocabulary, width) = weight.shape();
    let rows = targets.ids.len();
    let mut losses = Losses::default();
    for rows in blocks(rows, chunk_rows(vocabulary)) {
        let numbers = rows.start * width..rows.end * width;
        let gradients = gradients.as_mut().map(|gradients| Gradients {
            x: &mut gradients.x[numbers.clone()],
            head: &mut *gradients.head,
        });
        let chunk = Chunk {
            x: View::new(&x[numbers], rows.len(), width),
            weight,
            ids: &targets.ids[rows.clone()],
            trained: &targets.trained[rows],
            options,
        };
        for of_row in chunk.losses(fused, gradients) {
            losses.nats += of_row.nats;
            losses.objective += of_row.objective;
        }
    }
    losses
}

/// Rows whose logits exist at the same time.
struct Chunk<'a, T> {
    x: View<'a, T>,
    weight: View<'a, T>,
    ids: &'a [u32],
    trained: &'a [bool],
    options: LossOptions,
}

impl<T: Real> Chunk<'_, T> {
    fn losses(&self, fused: &Fused<T>, gradients: Option<Gradients<'_, T>>) -> Vec<Losses> {
        let (vocabulary, width) = self.weight.shape();
        let count = self.ids.len();
        // Without gradients a block is not looked at again.
        let kept = if gradients.is_some() {
            vocabulary
        } else {
            BLOCK.min(vocabulary)
        };
        let mut logits = fused.pool.take(count * kept);
        let mut parts = Vec::new();
        let mut at_targets = vec![T::ZERO; count];
        for columns in blocks(vocabulary, BLOCK) {
            let block = &mut logits[at(&columns, kept, count)];
            let weight = self.weight.part(columns.clone(), 0..width);
            fused.product(self.x, weight.transposed(), block, columns.len(), false);
            for (logit, (&id, row)) in at_targets
                .iter_mut()
                .zip(self.ids.iter().zip(block.chunks_exact(columns.len())))
            {
                if columns.contains(&(id as usize)) {
                    *logit = row[id as usize - columns.start];
                }
            }
            parts.push(self.parts(block, columns.len()));
        }
        let of_row = |row: usize| {
            if self.trained[row] {
                self.row(parts.iter().map(|block| block[row]), at_targets[row].wide())
            } else {
                (Losses::default(), vec![T::ZERO; parts.len()])
            }
        };
        let (losses, factors): (Vec<_>, Vec<_>) = (0..count).map(of_row).unzip();
        let Some(gradients) = gradients else {
            return losses;
        };
        let mut slopes = fused.pool.take(count * BLOCK.min(vocabulary));
        for (index, columns) in blocks(vocabulary, BLOCK).enumerate() {
            let slopes = &mut slopes[..count * columns.len()];
            let exponentials = &logits[at(&columns, kept, count)];
            self.slopes(exponentials, &columns, |row| factors[row][index], slopes);
            let slopes = View::new(slopes, count, columns.len());
            let weight = self.weight.part(columns.clone(), 0..width);
            fused.product(slopes, weight, gradients.x, width, index > 0);
            let head = &mut gradients.head[columns.start * width..columns.end * width];
            fused.product(slopes.transposed(), self.x, head, width, true);
        }
        losses
    }

    /// What is to be known of the logits of a block, which become exponentials.
    fn parts(&self, logits: &mut [T], columns: usize) -> Vec<Part<T>> {
        logits
            .par_chunks_exact_mut(columns)
            .zip(self.trained)
            .with_min_len(LEAST_ROWS)
            .map(|(row, &trained)| {
                vectorized(
                    #[inline(always)]
                    || {
                        if !trained {
                            row.fill(T::ZERO);
                        }
                        let sum = if self.options.smoothing > 0.0 {
                            sum(row)
                        } else {
                            T::ZERO
                        };
                        let largest = maximum(row, T::of(-1e30));
                        let total = exponentials(row, largest);
                        Part {
                            largest,
                            total,
                            sum,
                        }
                    },
                )
            })
            .collect()
    }

    /// The losses of a row, and what its exponentials of each block are to be multiplied with. With p the probabilities, L their sum's
    /// logarithm, e the smoothing and z the weight of the square of L its gradient is (p (1 + 2 z L) - (1 - e) onehot - e / V) scale.
    fn row(
        &self,
        parts: impl Iterator<Item = Part<T>> + Clone,
        at_target: f64,
    ) -> (Losses, Vec<T>) {
        let LossOptions {
            scale,
            z_loss,
            smoothing,
        } = self.options;
        let largest = parts
            .clone()
            .map(|part| part.largest.wide())
            .fold(f64::NEG_INFINITY, f64::max);
        let smaller = |part: &Part<T>| (part.largest.wide() - largest).exp();
        let total: f64 = parts
            .clone()
            .map(|part| part.total.wide() * smaller(&part))
            .sum();
        let sum: f64 = parts.clone().map(|part| part.sum.wide()).sum();
        let mean = sum / self.weight.shape().0 as f64;
        let log = largest + total.ln();
        let nats = log - at_target;
        let objective = nats + smoothing * (at_target - mean) + z_loss * log * log;
        let factor = scale * (1.0 + 2.0 * z_loss * log) / total;
        let factors = parts.map(|part| T::of(factor * smaller(&part))).collect();
        (Losses { nats, objective }, factors)
    }

    /// The gradients of the logits of a block.
    fn slopes(
        &self,
        exponentials: &[T],
        columns: &Range<usize>,
        factor: impl Fn(usize) -> T + Sync,
        slopes: &mut [T],
    ) {
        let LossOptions {
            scale, smoothing, ..
        } = self.options;
        let spread = T::of(scale * smoothing / self.weight.shape().0 as f64);
        slopes
            .par_chunks_exact_mut(columns.len())
            .zip(exponentials.par_chunks_exact(columns.len()))
            .enumerate()
            .with_min_len(LEAST_ROWS)
            .for_each(|(row, (slopes, exponentials))| {
                if !self.trained[row] {
                    slopes.fill(T::ZERO);
                    return;
                }
                let factor = factor(row);
                vectorized(
                    #[inline(always)]
                    || {
                        for (slope, x) in slopes.iter_mut().zip(exponentials) {
                            *slope = x.fused(factor, -spread);
                        }
                    },
                );
                let target = self.ids[row] as usize;
                if columns.contains(&target) {
                    slopes[target - columns.start] -= T::of(scale * (1.0 - smoothing));
                }
            });
    }
}

/// Where a block's numbers of `count` rows are, if only one is kept or if all are.
fn at(columns: &Range<usize>, kept: usize, count: usize) -> Range<usize> {
    if columns.end <= kept {
        columns.start * count..columns.end * count
    } else {
        0..columns.len() * count
    }
}
