//! Cross-entropy of the head, with the head's product inside: logits exist for a chunk of rows at a time, and since the gradient of a
//! softmax is at hand where its value is, it is formed in the forward pass, in place of the logits. At a vocabulary of 50,304
//! this is the largest saving of time and memory in the whole step.

use rayon::prelude::*;

use super::Fused;
use super::numeric::{Real, exponentials, maximum, sum, vectorized};
use super::product::View;
use crate::ops::{LossOptions, Losses, Targets};

/// Logits that exist at one time: 100 MB of `f32` at most, and fewer rows than this.
const CHUNK_LOGITS: usize = 25 << 20;
const CHUNK_ROWS: usize = 512;

/// Rows whose logits exist at one time, by the size of the vocabulary.
pub fn chunk_rows(vocabulary: usize) -> usize {
    (CHUNK_LOGITS / vocabulary.max(1)).clamp(1, CHUNK_ROWS)
}

/// Losses of `x` (rows, d) under `weight` (vocabulary, d). `gradients` are those of `x`, which is overwritten, and of the head, which is
/// added to. `logits` holds a chunk.
pub(super) fn loss<T: Real>(
    fused: &Fused<T>,
    x: &[T],
    weight: View<'_, T>,
    targets: Targets<'_>,
    options: LossOptions,
    logits: &mut [T],
    mut gradients: Option<(&mut [T], &mut [T])>,
) -> Losses {
    let (vocabulary, width) = weight.shape();
    let rows = targets.ids.len();
    let chunk = chunk_rows(vocabulary);
    let mut losses = Losses::default();
    for first in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - first);
        let logits = &mut logits[..count * vocabulary];
        let x = View::new(&x[first * width..], count, width);
        fused.product(x, weight.transposed(), logits, vocabulary, false);
        let (ids, trained) = (
            &targets.ids[first..first + count],
            &targets.trained[first..first + count],
        );
        let of_rows: Vec<Losses> = logits
            .par_chunks_exact_mut(vocabulary)
            .zip(ids)
            .zip(trained)
            .map(|((row, &id), &trained)| {
                if trained {
                    vectorized(
                        #[inline(always)]
                        || row_loss(row, id as usize, options),
                    )
                } else {
                    row.fill(T::ZERO);
                    Losses::default()
                }
            })
            .collect();
        for of_row in of_rows {
            losses.nats += of_row.nats;
            losses.objective += of_row.objective;
        }
        if let Some((dx, dhead)) = &mut gradients {
            let dlogits = View::new(&*logits, count, vocabulary);
            let dx = &mut dx[first * width..(first + count) * width];
            fused.product(dlogits, weight, dx, width, false);
            fused.product(dlogits.transposed(), x, dhead, width, true);
        }
    }
    losses
}

/// The losses of a row of logits; the row becomes their scaled gradient. With p the probabilities, L their sum's logarithm, e the
/// smoothing and z the weight of the square of L: (p (1 + 2 z L) - (1 - e) onehot - e / V) scale.
#[inline(always)]
fn row_loss<T: Real>(row: &mut [T], target: usize, options: LossOptions) -> Losses {
    let LossOptions {
        scale,
        z_loss,
        smoothing,
    } = options;
    let largest = maximum(row, T::of(-1e30));
    let at_target = row[target].wide();
    let mean = if smoothing > 0.0 {
        sum(row).wide() / row.len() as f64
    } else {
        0.0
    };
    let total = exponentials(row, largest);
    let log = largest.wide() + total.wide().ln();
    let nats = log - at_target;
    let objective = nats + smoothing * (at_target - mean) + z_loss * log * log;
    let factor = T::of(scale * (1.0 + 2.0 * z_loss * log)) / total;
    let spread = T::of(scale * smoothing / row.len() as f64);
    for x in row.iter_mut() {
        *x = x.fused(factor, -spread);
    }
    row[target] -= T::of(scale * (1.0 - smoothing));
    Losses { nats, objective }
}
