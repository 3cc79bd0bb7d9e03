//! Causal multi-query attention (Shazeer, "Fast Transformer Decoding", 2019): all heads share one key and one value. Heads fold
//! into rows, so a tile of queries meets the keys in one product. Queries are taken in tiles that see only the keys up
//! to their last position, and the backward computes the probabilities again (Dao et al., "`FlashAttention`", 2022), so no (T, T)
//! matrix is kept: dV = P^T dO; dS = P (dO V^T - rowsum(dO O)); dQ = c dS K; dK = c dS^T Q; c = 1 / sqrt(head size).

use candle_core::{D, Device, Result, Tensor};
use rayon::prelude::*;

use super::numeric::{Real, dot, exponentials, maximum};
use super::{Numbers, by_dtype, change_in_place, node3, on_cpu};

/// Query positions of one tile.
const TILE: usize = 128;

/// The sizes of one call.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    sequences: usize,
    positions: usize,
    heads: usize,
    head_size: usize,
}

/// `q` (sequences x positions, heads x head size), `k` and `v` (sequences x positions, head size): the attended values, shaped as `q`.
pub fn causal_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    positions: usize,
    heads: usize,
) -> Result<Tensor> {
    let ((rows, width), (key_rows, head_size)) = (q.dims2()?, k.dims2()?);
    let whole = positions > 0 && rows % positions == 0 && key_rows == rows && k.dims() == v.dims();
    if !whole || head_size == 0 || width != heads * head_size {
        let (q, k, v) = (q.dims(), k.dims(), v.dims());
        candle_core::bail!(
            "attention: {q:?} {k:?} {v:?} are no {heads} heads over sequences of {positions}"
        );
    }
    let sizes = Sizes {
        sequences: rows / positions,
        positions,
        heads,
        head_size,
    };
    if on_cpu(q) {
        by_dtype!(q, analytic(q, k, v, sizes))
    } else {
        composed(q, k, v, sizes)
    }
}

fn composed(q: &Tensor, k: &Tensor, v: &Tensor, sizes: Sizes) -> Result<Tensor> {
    let Sizes {
        sequences,
        positions,
        heads,
        head_size,
    } = sizes;
    let q = q.reshape((sequences, positions * heads, head_size))?;
    let k = k.reshape((sequences, positions, head_size))?;
    let v = v.reshape((sequences, positions, head_size))?;
    let scores = (q.matmul(&k.t()?)? * (head_size as f64).powf(-0.5))?;
    let hidden: Vec<f32> = (0..positions * heads)
        .flat_map(|row| {
            (0..positions).map(move |key| {
                if key > row / heads {
                    f32::NEG_INFINITY
                } else {
                    0.0
                }
            })
        })
        .collect();
    let hidden = Tensor::from_vec(hidden, (1, positions * heads, positions), q.device())?
        .to_dtype(q.dtype())?;
    let probabilities = candle_nn::ops::softmax(&scores.broadcast_add(&hidden)?, D::Minus1)?;
    probabilities
        .matmul(&v)?
        .reshape((sequences * positions, heads * head_size))
}

fn analytic<T: Real>(q: &Tensor, k: &Tensor, v: &Tensor, sizes: Sizes) -> Result<Tensor> {
    let Sizes {
        sequences,
        positions,
        heads,
        head_size,
    } = sizes;
    let (q, k, v) = (q.contiguous()?, k.contiguous()?, v.contiguous()?);
    let folded = Folded {
        q: q.detach()
            .reshape((sequences, positions * heads, head_size))?,
        k: k.detach().reshape((sequences, positions, head_size))?,
        v: v.detach().reshape((sequences, positions, head_size))?,
        sizes,
    };
    let value = folded.forward::<T>()?;
    node3(
        "causal-attention",
        (&q, &k, &v),
        value,
        (sequences * positions, heads * head_size),
        move |result, gradient| folded.backward::<T>(result, gradient),
    )
}

/// Inputs outside the graph, heads folded into rows: q (B, T H, n), k and v (B, T, n).
struct Folded {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    sizes: Sizes,
}

/// Query positions `start..end` against keys `..end`.
struct Tile {
    start: usize,
    end: usize,
    q: Tensor,
    k: Tensor,
    v: Tensor,
}

impl Folded {
    fn tiles(&self) -> impl Iterator<Item = Result<Tile>> + '_ {
        let Sizes {
            positions, heads, ..
        } = self.sizes;
        (0..positions).step_by(TILE).map(move |start| {
            let end = (start + TILE).min(positions);
            Ok(Tile {
                start,
                end,
                q: self.q.narrow(1, start * heads, (end - start) * heads)?,
                k: self.k.narrow(1, 0, end)?,
                v: self.v.narrow(1, 0, end)?,
            })
        })
    }

    /// (B, tile rows, keys)
    fn probabilities<T: Real>(&self, tile: &Tile) -> Result<Tensor> {
        let Sizes {
            heads, head_size, ..
        } = self.sizes;
        let scale = T::from_f64((head_size as f64).powf(-0.5));
        let (rows, keys) = ((tile.end - tile.start) * heads, tile.end);
        let scores = tile.q.matmul(&tile.k.t()?)?;
        change_in_place::<T>(&scores, |scores| {
            scores
                .par_chunks_mut(keys)
                .with_min_len(16)
                .enumerate()
                .for_each(|(row, scores)| {
                    let (seen, unseen) = scores.split_at_mut(tile.start + row % rows / heads + 1);
                    for x in seen.iter_mut() {
                        *x *= scale;
                    }
                    let largest = maximum(seen);
                    let inverse = T::one() / exponentials(seen, largest);
                    for x in seen {
                        *x *= inverse;
                    }
                    unseen.fill(T::zero());
                });
            Ok(())
        })?;
        Ok(scores)
    }

    fn forward<T: Real>(&self) -> Result<Vec<T>> {
        let Sizes {
            positions,
            heads,
            head_size,
            ..
        } = self.sizes;
        let mut result = vec![T::zero(); self.q.elem_count()];
        for tile in self.tiles() {
            let tile = tile?;
            let attended = self.probabilities::<T>(&tile)?.matmul(&tile.v)?;
            place(
                &attended,
                &mut result,
                tile.start * heads * head_size,
                positions * heads * head_size,
            )?;
        }
        Ok(result)
    }

    fn backward<T: Real>(
        &self,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let Sizes {
            sequences,
            positions,
            heads,
            head_size,
        } = self.sizes;
        let scale = T::from_f64((head_size as f64).powf(-0.5));
        let row_sums: Vec<T> = {
            let (result, gradient) = (Numbers::of(result)?, Numbers::of(gradient)?);
            let (result, gradient) = (result.slice::<T>()?, gradient.slice::<T>()?);
            result
                .par_chunks(head_size)
                .zip(gradient.par_chunks(head_size))
                .map(|(o, g)| dot(o, g))
                .collect()
        };
        let gradient = gradient.reshape((sequences, positions * heads, head_size))?;
        let mut dq = vec![T::zero(); self.q.elem_count()];
        let (mut dk, mut dv) = (
            vec![T::zero(); self.k.elem_count()],
            vec![T::zero(); self.v.elem_count()],
        );
        for tile in self.tiles() {
            let tile = tile?;
            let (rows, keys) = ((tile.end - tile.start) * heads, tile.end);
            let gradient = gradient.narrow(1, tile.start * heads, rows)?;
            let probabilities = self.probabilities::<T>(&tile)?;
            add_keys(
                &probabilities.t()?.matmul(&gradient)?,
                &mut dv,
                positions * head_size,
            )?;
            let scores = gradient.matmul(&tile.v.t()?)?;
            let p = Numbers::of(&probabilities)?;
            let p = p.slice::<T>()?;
            change_in_place::<T>(&scores, |scores| {
                scores
                    .par_chunks_mut(keys)
                    .zip(p.par_chunks(keys))
                    .with_min_len(16)
                    .enumerate()
                    .for_each(|(row, (scores, p))| {
                        let (sequence, row) = (row / rows, row % rows);
                        let row_sum = row_sums[(sequence * positions + tile.start) * heads + row];
                        for (x, &p) in scores.iter_mut().zip(p) {
                            *x = p * (*x - row_sum) * scale;
                        }
                    });
                Ok(())
            })?;
            let turned = scores.matmul(&tile.k)?;
            place(
                &turned,
                &mut dq,
                tile.start * heads * head_size,
                positions * heads * head_size,
            )?;
            add_keys(
                &scores.t()?.matmul(&tile.q)?,
                &mut dk,
                positions * head_size,
            )?;
        }
        let rows = sequences * positions;
        Ok((
            Tensor::from_vec(dq, (rows, heads * head_size), &Device::Cpu)?,
            Tensor::from_vec(dk, (rows, head_size), &Device::Cpu)?,
            Tensor::from_vec(dv, (rows, head_size), &Device::Cpu)?,
        ))
    }
}

/// Copies a tile (B, rows, n) to `offset` of each sequence of `stride` numbers.
fn place<T: Real>(tile: &Tensor, whole: &mut [T], offset: usize, stride: usize) -> Result<()> {
    let width = tile.dim(1)? * tile.dim(2)?;
    let numbers = Numbers::of(tile)?;
    for (whole, tile) in whole
        .chunks_mut(stride)
        .zip(numbers.slice::<T>()?.chunks(width))
    {
        whole[offset..offset + width].copy_from_slice(tile);
    }
    Ok(())
}

/// Adds the gradient of the first keys (B, keys, n) to that of all keys.
fn add_keys<T: Real>(part: &Tensor, whole: &mut [T], stride: usize) -> Result<()> {
    let width = part.dim(1)? * part.dim(2)?;
    let numbers = Numbers::of(part)?;
    for (whole, part) in whole
        .chunks_mut(stride)
        .zip(numbers.slice::<T>()?.chunks(width))
    {
        for (total, &x) in whole.iter_mut().zip(part) {
            *total += x;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::oracle::{assert_same, variable};

    #[test]
    fn value_and_gradients_equal_the_composed_form() {
        for (sequences, positions, heads, head_size) in
            [(1, 1, 1, 2), (2, 9, 3, 4), (2, TILE + 5, 2, 6)]
        {
            let rows = sequences * positions;
            let q = variable("q", &[rows, heads * head_size]);
            let (k, v) = (
                variable("k", &[rows, head_size]),
                variable("v", &[rows, head_size]),
            );
            let sizes = Sizes {
                sequences,
                positions,
                heads,
                head_size,
            };
            assert_same(
                &[&q, &k, &v],
                1e-12,
                || causal_attention(&q, &k, &v, positions, heads),
                || composed(&q, &k, &v, sizes),
            );
        }
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        let (q, k) = (variable("q", &[6, 8]), variable("k", &[6, 4]));
        assert!(causal_attention(&q, &k, &k, 4, 2).is_err());
        assert!(causal_attention(&q, &k, &k, 3, 3).is_err());
        assert!(causal_attention(&q, &k, &variable("v", &[5, 4]), 3, 2).is_err());
    }
}
