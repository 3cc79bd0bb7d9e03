//! Cross-entropy of the tied head, with the head's product inside: logits exist for a chunk of rows at a time, and since the
//! gradient of a softmax is at hand where its value is, it is formed in the forward pass, in place of the logits. At a
//! vocabulary of 50,304 this is the largest saving of time and memory in the whole step.

use candle_core::{D, Device, Result, Tensor};
use rayon::prelude::*;

use crate::ops::{
    self, Numbers, Real, by_dtype, change_in_place, exponentials, linear, maximum, node2, on_cpu,
};

/// Logits that exist at one time: 16 MiB, which allocators keep for the next chunk instead of giving it back to the system.
const CHUNK_LOGITS: usize = 1 << 22;

/// What is to be predicted: one target a row, and whether it carries loss.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// False where a target carries neither loss nor gradient.
    pub trained: &'a [bool],
}

/// The loss of some rows.
#[derive(Debug)]
pub struct Loss {
    /// `scale` times the sum of the trained rows' losses, a scalar in the graph.
    pub scaled: Tensor,
    /// The sum of the trained rows' losses in nats, not scaled.
    pub nats: f64,
}

/// Loss of `hidden` (rows, d) under the head `weight` (vocabulary, d). `scale` is one over the trained tokens of the
/// whole batch, so that micro-batches with unequal numbers of trained tokens add up to the batch's mean.
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    targets: Targets<'_>,
    scale: f64,
) -> Result<Loss> {
    let ((rows, width), (vocabulary, d)) = (hidden.dims2()?, weight.dims2()?);
    if width != d || targets.ids.len() != rows || targets.trained.len() != rows {
        let (ids, mask) = (targets.ids.len(), targets.trained.len());
        candle_core::bail!(
            "loss: ({rows}, {width}) rows, a head for {d}, {ids} targets and {mask} marks do not fit"
        );
    }
    if let Some(id) = targets.ids.iter().find(|&&id| id as usize >= vocabulary) {
        candle_core::bail!("loss: token {id} is outside the vocabulary of {vocabulary}");
    }
    if on_cpu(hidden) {
        by_dtype!(hidden, analytic(hidden, weight, targets, scale))
    } else {
        composed(hidden, weight, targets, scale)
    }
}

fn composed(hidden: &Tensor, weight: &Tensor, targets: Targets<'_>, scale: f64) -> Result<Loss> {
    let rows = targets.ids.len();
    let log_probabilities = candle_nn::ops::log_softmax(&linear(hidden, weight)?, D::Minus1)?;
    let ids = Tensor::from_slice(targets.ids, (rows, 1), hidden.device())?;
    let marks: Vec<f64> = targets
        .trained
        .iter()
        .map(|&trained| if trained { -1.0 } else { 0.0 })
        .collect();
    let marks = Tensor::from_vec(marks, (rows, 1), &Device::Cpu)?
        .to_dtype(hidden.dtype())?
        .to_device(hidden.device())?;
    let sum = (log_probabilities.gather(&ids, 1)? * marks)?.sum_all()?;
    let nats = sum.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
    Ok(Loss {
        scaled: (sum * scale)?,
        nats,
    })
}

fn analytic<T: Real>(
    hidden: &Tensor,
    weight: &Tensor,
    targets: Targets<'_>,
    scale: f64,
) -> Result<Loss> {
    let (rows, d) = hidden.dims2()?;
    let vocabulary = weight.dim(0)?;
    let differentiate = hidden.track_op() || weight.track_op();
    let (x, w) = (hidden.contiguous()?.detach(), weight.contiguous()?.detach());
    let mut nats = 0.0;
    let mut dx: Vec<Tensor> = Vec::new();
    let mut dw: Option<Tensor> = None;
    let chunk = (CHUNK_LOGITS / vocabulary.max(1)).max(1);
    for start in (0..rows).step_by(chunk) {
        let count = chunk.min(rows - start);
        let (ids, trained) = (
            &targets.ids[start..start + count],
            &targets.trained[start..start + count],
        );
        let x = x.narrow(0, start, count)?;
        let logits = ops::linear(&x, &w)?;
        change_in_place::<T>(&logits, |logits| {
            let rows = logits.par_chunks_mut(vocabulary).zip(ids).zip(trained);
            let of_rows: Vec<f64> = rows
                .map(|((row, &id), &trained)| {
                    if trained {
                        row_loss(row, id as usize, scale)
                    } else {
                        untrained(row)
                    }
                })
                .collect();
            nats += of_rows.iter().sum::<f64>();
            Ok(())
        })?;
        if differentiate {
            dx.push(logits.matmul(&w)?);
            let part = logits.t()?.matmul(&x)?;
            dw = Some(match dw {
                None => part,
                Some(sum) => {
                    let part = Numbers::of(&part)?;
                    let part = part.slice::<T>()?;
                    change_in_place::<T>(&sum, |sum| {
                        sum.par_iter_mut()
                            .zip(part)
                            .with_min_len(1 << 14)
                            .for_each(|(sum, &part)| *sum += part);
                        Ok(())
                    })?;
                    sum
                }
            });
        }
    }
    let value = T::from_f64(nats * scale);
    let Some(dw) = dw else {
        return Ok(Loss {
            scaled: Tensor::from_vec(vec![value], (), &Device::Cpu)?,
            nats,
        });
    };
    let dx = if dx.len() == 1 {
        dx.swap_remove(0)
    } else {
        Tensor::cat(&dx, 0)?
    }
    .reshape((rows, d))?;
    let scaled = node2(
        "linear-cross-entropy",
        (hidden, weight),
        vec![value],
        (),
        move |gradient| {
            let factor = gradient
                .to_dtype(candle_core::DType::F64)?
                .to_scalar::<f64>()?;
            // The loss is where backward starts, so the factor is one but for callers that go on computing with it.
            if factor == 1.0 {
                Ok((dx.clone(), dw.clone()))
            } else {
                Ok(((&dx * factor)?, (&dw * factor)?))
            }
        },
    )?;
    Ok(Loss { scaled, nats })
}

/// The loss of a row of logits in nats; the row becomes its scaled gradient.
fn row_loss<T: Real>(row: &mut [T], target: usize, scale: f64) -> f64 {
    let largest = maximum(row);
    let at_target = row[target];
    let sum = exponentials(row, largest);
    let factor = T::from_f64(scale) / sum;
    for x in row.iter_mut() {
        *x *= factor;
    }
    row[target] -= T::from_f64(scale);
    (largest - at_target).to_f64() + sum.to_f64().ln()
}

fn untrained<T: Real>(row: &mut [T]) -> f64 {
    row.fill(T::zero());
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::oracle::{assert_same, variable};

    const IDS: [u32; 5] = [3, 0, 6, 6, 2];
    const MASK: [bool; 5] = [true, false, true, true, true];

    #[test]
    fn value_and_gradients_equal_the_composed_form() {
        let (x, w) = (variable("x", &[5, 4]), variable("w", &[7, 4]));
        let targets = Targets {
            ids: &IDS,
            trained: &MASK,
        };
        let form = |form: fn(&Tensor, &Tensor, Targets<'_>, f64) -> Result<Loss>| {
            form(&x, &w, targets, 0.25).map(|loss| (loss.scaled * 3.0).unwrap())
        };
        assert_same(
            &[&x, &w],
            1e-13,
            || form(linear_cross_entropy),
            || form(composed),
        );
        let (ours, oracle) = (
            linear_cross_entropy(&x, &w, targets, 0.25).unwrap(),
            composed(&x, &w, targets, 0.25).unwrap(),
        );
        assert!((ours.nats - oracle.nats).abs() < 1e-12);
    }

    #[test]
    fn masked_rows_carry_neither_loss_nor_gradient() {
        let (x, w) = (variable("x", &[5, 4]), variable("w", &[7, 4]));
        let loss = linear_cross_entropy(
            &x,
            &w,
            Targets {
                ids: &IDS,
                trained: &[false; 5],
            },
            1.0,
        )
        .unwrap();
        assert_eq!(loss.nats, 0.0);
        let gradients = loss.scaled.backward().unwrap();
        let of_x = gradients
            .get(&x)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1::<f64>()
            .unwrap();
        assert!(of_x.iter().all(|&g| g == 0.0));
    }

    #[test]
    fn chunks_add_up_to_the_whole() {
        // 40,000 logits a row: 104 rows a chunk.
        let rows = 500;
        let (x, w) = (variable("x", &[rows, 2]), variable("w", &[40_000, 2]));
        let ids: Vec<u32> = (0..500).map(|i| i * 79).collect();
        let targets = Targets {
            ids: &ids,
            trained: &vec![true; rows],
        };
        let whole = linear_cross_entropy(&x, &w, targets, 1.0 / rows as f64).unwrap();
        let oracle = composed(&x, &w, targets, 1.0 / rows as f64).unwrap();
        assert!((whole.nats - oracle.nats).abs() < 1e-8 * oracle.nats);
        let (ours, oracle) = (
            whole.scaled.backward().unwrap(),
            oracle.scaled.backward().unwrap(),
        );
        crate::ops::oracle::close(
            ours.get(&w).unwrap(),
            oracle.get(&w).unwrap(),
            1e-12,
            "weight gradient",
        );
        crate::ops::oracle::close(
            ours.get(&x).unwrap(),
            oracle.get(&x).unwrap(),
            1e-12,
            "input gradient",
        );
    }

    #[test]
    fn token_outside_the_vocabulary_is_refused() {
        let (x, w) = (variable("x", &[1, 4]), variable("w", &[7, 4]));
        let error = linear_cross_entropy(
            &x,
            &w,
            Targets {
                ids: &[7],
                trained: &[true],
            },
            1.0,
        )
        .unwrap_err();
        assert!(
            error
                .to_string()
                .contains("token 7 is outside the vocabulary of 7"),
            "{error}"
        );
    }
}
