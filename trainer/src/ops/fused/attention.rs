//! Causal attention in tiles (Dao et al., "`FlashAttention`", 2022): no (T, T) matrix is kept, and backward computes the
//! probabilities again from the saved sums: dV = P^T dO; dS = P (dO V^T - rowsum(dO O)); dQ = c dS K; dK = c dS^T Q;
//! c = 1 / sqrt(head size).
//!
//! Where all heads share one key and value (Shazeer, "Fast Transformer Decoding", 2019), heads fold into rows, so that a tile of
//! queries meets a block of keys in one product; otherwise each head has its own.

use rayon::prelude::*;

use super::bfloat::{Kernel, Products};
use super::numeric::{Real, dot, exponentials, maximum, vectorized};
use super::product::{On, View};
use crate::ops::{Attention, Heads};

/// Keys of a block.
const BLOCK: usize = 128;

/// The sizes of one call, in the numbers of the kernels.
pub(super) struct Sizes<'a, T> {
    sequences: usize,
    /// T.
    positions: usize,
    /// H.
    queries: usize,
    /// G.
    keys: usize,
    /// n.
    size: usize,
    slopes: Option<Vec<T>>,
    starts: Option<&'a [u32]>,
    /// 1 / sqrt(n).
    scale: T,
    /// How what goes into products is multiplied where it is rounded to bf16: queries, keys, values, the exponentials of scores, and the
    /// gradients of outputs and scores.
    kernel: Option<Kernel>,
}

/// Heads that go through a product together: all that are folded into rows, or one.
struct Lane {
    /// The first of its query heads.
    head: usize,
    /// How many there are in each position's rows.
    folded: usize,
    /// Its key and value head.
    key: usize,
}

/// Query positions `first..end` of a sequence.
#[derive(Clone, Copy)]
struct Tile {
    sequence: usize,
    first: usize,
    end: usize,
}

impl<'a, T: Real> Sizes<'a, T> {
    pub(super) fn new(attention: &'a Attention, rows: usize, kernel: Option<Kernel>) -> Self {
        let heads = attention.heads;
        Self {
            sequences: rows / attention.positions.max(1),
            positions: attention.positions,
            queries: heads.queries,
            keys: heads.keys,
            size: heads.size,
            slopes: attention
                .slopes
                .as_ref()
                .map(|slopes| slopes.iter().map(|&slope| T::of(slope)).collect()),
            starts: attention.starts.as_deref(),
            scale: T::of((heads.size as f64).powf(-0.5)),
            kernel,
        }
    }

    /// What a task multiplies with.
    fn products(&self) -> Products<T> {
        Products::new(self.kernel)
    }

    /// Numbers of a row of queries.
    fn width(&self) -> usize {
        self.queries * self.size
    }

    /// Numbers of a row of keys.
    fn key_width(&self) -> usize {
        self.keys * self.size
    }

    /// Rows of a lane of so many positions.
    fn rows(&self, positions: usize) -> usize {
        if self.keys == 1 {
            positions * self.queries
        } else {
            positions
        }
    }

    fn lanes(&self) -> Vec<Lane> {
        if self.keys == 1 {
            let folded = self.queries;
            return vec![Lane {
                head: 0,
                folded,
                key: 0,
            }];
        }
        let shared = self.queries / self.keys;
        let lane = |head| Lane {
            head,
            folded: 1,
            key: head / shared,
        };
        (0..self.queries).map(lane).collect()
    }

    /// Positions of a tile.
    fn tile_positions(&self) -> usize {
        tile_positions(self.queries, self.keys)
    }

    fn tiles(&self) -> impl Iterator<Item = Tile> + '_ {
        let step = self.tile_positions();
        (0..self.sequences).flat_map(move |sequence| {
            (0..self.positions).step_by(step).map(move |first| Tile {
                sequence,
                first,
                end: (first + step).min(self.positions),
            })
        })
    }

    /// The first position that a position of a sequence sees.
    #[inline(always)]
    fn start(&self, sequence: usize, position: usize) -> usize {
        self.starts.map_or(0, |starts| {
            (starts[sequence * self.positions + position] as usize).min(position)
        })
    }

    /// The first position that any of a tile's sees.
    fn first_key(&self, tile: Tile) -> usize {
        let starts = (tile.first..tile.end).map(|position| self.start(tile.sequence, position));
        starts.min().unwrap_or(0)
    }

    /// Key blocks of a tile: first key and how many.
    fn blocks(&self, tile: Tile) -> impl Iterator<Item = (usize, usize)> {
        (self.first_key(tile)..tile.end)
            .step_by(BLOCK)
            .map(move |first| (first, BLOCK.min(tile.end - first)))
    }

    /// The queries, or what is shaped like them, of a tile and lane: `numbers` begins with the tile's first row.
    fn queries<'n>(&self, numbers: &'n [T], tile: Tile, lane: &Lane) -> View<'n, T> {
        let positions = tile.end - tile.first;
        if self.keys == 1 {
            return View::new(numbers, positions * self.queries, self.size);
        }
        View::strided(
            &numbers[lane.head * self.size..],
            positions,
            self.size,
            self.width(),
        )
    }

    /// The distance between the rows of a lane.
    fn stride(&self) -> usize {
        if self.keys == 1 {
            self.size
        } else {
            self.width()
        }
    }

    /// Keys or values of a block.
    fn keys<'n>(
        &self,
        numbers: &'n [T],
        tile: Tile,
        lane: &Lane,
        first: usize,
        count: usize,
    ) -> View<'n, T> {
        let at = (tile.sequence * self.positions + first) * self.key_width() + lane.key * self.size;
        View::strided(&numbers[at..], count, self.size, self.key_width())
    }

    /// Of a row of scores the keys that it sees, as places in the block.
    #[inline(always)]
    fn visible(&self, tile: Tile, position: usize, first: usize, count: usize) -> (usize, usize) {
        let end = (position + 1).saturating_sub(first).min(count);
        let start = self.start(tile.sequence, position).saturating_sub(first);
        (start.min(end), end)
    }

    /// Scales scores and takes off what distance costs.
    #[inline(always)]
    fn scores(&self, row: &mut [T], head: usize, position: usize, first: usize) {
        match &self.slopes {
            None => row.iter_mut().for_each(|score| *score *= self.scale),
            Some(slopes) => {
                let slope = slopes[head];
                let mut bias = slope * (T::of(first as f64) - T::of(position as f64));
                for score in row {
                    *score = score.fused(self.scale, bias);
                    bias += slope;
                }
            }
        }
    }
}

/// Writes what is attended to into `o` (rows, H n) and the logarithms of the sums into `sums` (rows, H).
pub(super) fn forward<T: Real>(
    sizes: &Sizes<'_, T>,
    q: &[T],
    k: &[T],
    v: &[T],
    o: &mut [T],
    sums: &mut [T],
) {
    let (width, heads) = (sizes.width(), sizes.queries);
    let mut tasks: Vec<(Tile, &mut [T], &mut [T])> = Vec::new();
    let (mut o, mut sums) = (o, sums);
    for tile in sizes.tiles() {
        let positions = tile.end - tile.first;
        let (of_tile, rest) = std::mem::take(&mut o).split_at_mut(positions * width);
        let (sums_of_tile, sums_rest) = std::mem::take(&mut sums).split_at_mut(positions * heads);
        tasks.push((tile, of_tile, sums_of_tile));
        (o, sums) = (rest, sums_rest);
    }
    // The longest first, so that no thread is left with one at the end.
    tasks.sort_by_key(|(tile, ..)| std::cmp::Reverse(tile.end));
    tasks
        .into_par_iter()
        .with_max_len(1)
        .for_each(|(tile, o, sums)| forward_tile(sizes, tile, q, k, v, o, sums));
}

fn forward_tile<T: Real>(
    sizes: &Sizes<'_, T>,
    tile: Tile,
    q: &[T],
    k: &[T],
    v: &[T],
    o: &mut [T],
    sums: &mut [T],
) {
    let size = sizes.size;
    let positions = tile.end - tile.first;
    let q = &q[(tile.sequence * sizes.positions + tile.first) * sizes.width()..];
    o.fill(T::ZERO);
    let rows = sizes.rows(positions);
    let mut products = sizes.products();
    let mut scores = vec![T::ZERO; rows * BLOCK];
    let (mut largest, mut total) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
    for lane in sizes.lanes() {
        let stride = sizes.stride();
        let queries = sizes.queries(q, tile, &lane);
        let at = if sizes.keys == 1 { 0 } else { lane.head * size };
        let o = &mut o[at..];
        largest.fill(T::of(-1e30));
        total.fill(T::ZERO);
        for (block, (first, count)) in sizes.blocks(tile).enumerate() {
            let keys = sizes.keys(k, tile, &lane, first, count);
            products.form(
                queries,
                keys.transposed(),
                &mut scores,
                BLOCK,
                false,
                On::ThisThread,
            );
            vectorized(
                #[inline(always)]
                || {
                    for (row, scores) in scores.chunks_exact_mut(BLOCK).enumerate() {
                        let position = tile.first + row / lane.folded;
                        let scores = &mut scores[..count];
                        let (start, end) = sizes.visible(tile, position, first, count);
                        scores[..start].fill(T::ZERO);
                        scores[end..].fill(T::ZERO);
                        let seen = &mut scores[start..end];
                        if seen.is_empty() {
                            continue;
                        }
                        let head = lane.head + row % lane.folded;
                        sizes.scores(seen, head, position, first + start);
                        let new = maximum(seen, largest[row]);
                        if new > largest[row] {
                            if block > 0 {
                                let factor = (largest[row] - new).exp();
                                total[row] *= factor;
                                for x in &mut o[row * stride..row * stride + size] {
                                    *x *= factor;
                                }
                            }
                            largest[row] = new;
                        }
                        total[row] += exponentials(seen, new);
                    }
                },
            );
            let values = sizes.keys(v, tile, &lane, first, count);
            let scores = View::strided(&scores, rows, count, BLOCK);
            products.form(scores, values, o, stride, true, On::ThisThread);
        }
        for row in 0..rows {
            let inverse = T::ONE / total[row];
            for x in &mut o[row * stride..row * stride + size] {
                *x *= inverse;
            }
            let (position, head) = (row / lane.folded, lane.head + row % lane.folded);
            sums[position * sizes.queries + head] = largest[row] + T::of(total[row].wide().ln());
        }
    }
}

/// What backward reads.
pub(super) struct Saved<'a, T> {
    pub(super) q: &'a [T],
    pub(super) k: &'a [T],
    pub(super) v: &'a [T],
    pub(super) o: &'a [T],
    pub(super) sums: &'a [T],
    pub(super) dout: &'a [T],
}

/// Tiles of one task, each with its place in `dq`, and what they add to the keys and values of their sequence.
struct Share<'a, T> {
    tiles: Vec<(Tile, &'a mut [T])>,
    dk: Vec<T>,
    dv: Vec<T>,
}

/// Positions of a tile of so many heads.
fn tile_positions(queries: usize, keys: usize) -> usize {
    if keys == 1 {
        (256 / queries.max(1)).clamp(16, 128)
    } else {
        128
    }
}

/// Parts of a sequence that are gone through backward at a time, each with sums of its own for keys and values: by the sizes alone,
/// so that sums do not depend on the number of threads; where keys are as many as queries, each part's sums are large.
fn shares(sequences: usize, positions: usize, queries: usize, keys: usize) -> usize {
    let tiles = positions.div_ceil(tile_positions(queries, keys));
    let most = 4 * queries / keys.max(1);
    (16 / sequences.max(1))
        .clamp(1, most.max(1))
        .min(tiles.max(1))
}

/// Numbers that backward sums up in for so many sequences of so many positions.
pub fn backward_sums(sequences: usize, positions: usize, heads: Heads) -> u64 {
    let shares = shares(sequences, positions, heads.queries, heads.keys) as u64;
    let of_keys = (positions as u64).saturating_mul((heads.keys * heads.size) as u64);
    (sequences as u64 * 2 * shares).saturating_mul(of_keys)
}

/// Writes the gradients of queries, keys and values.
pub(super) fn backward<T: Real>(
    sizes: &Sizes<'_, T>,
    saved: &Saved<'_, T>,
    dq: &mut [T],
    dk: &mut [T],
    dv: &mut [T],
) {
    let width = sizes.width();
    let of_keys = sizes.positions * sizes.key_width();
    let tiles = sizes.positions.div_ceil(sizes.tile_positions());
    let shares = shares(sizes.sequences, sizes.positions, sizes.queries, sizes.keys);
    let mut tasks: Vec<Share<'_, T>> = Vec::new();
    for _ in 0..sizes.sequences * shares {
        tasks.push(Share {
            tiles: Vec::new(),
            dk: Vec::new(),
            dv: Vec::new(),
        });
    }
    let mut rest = dq;
    for (index, tile) in sizes.tiles().enumerate() {
        let (of_tile, after) =
            std::mem::take(&mut rest).split_at_mut((tile.end - tile.first) * width);
        rest = after;
        // There and back again, as later tiles see more keys.
        let turn = index % tiles % (2 * shares);
        let share = if turn < shares {
            turn
        } else {
            2 * shares - 1 - turn
        };
        tasks[tile.sequence * shares + share]
            .tiles
            .push((tile, of_tile));
    }
    tasks.par_iter_mut().with_max_len(1).for_each(|share| {
        share.dk = vec![T::ZERO; of_keys];
        share.dv = vec![T::ZERO; of_keys];
        for (tile, dq) in std::mem::take(&mut share.tiles) {
            backward_tile(sizes, tile, saved, dq, &mut share.dk, &mut share.dv);
        }
    });
    dk.par_chunks_mut(of_keys)
        .zip(dv.par_chunks_mut(of_keys))
        .zip(tasks.par_chunks(shares))
        .for_each(|((dk, dv), shares)| {
            for (at, share) in shares.iter().enumerate() {
                for (sum, part) in [(&mut *dk, &share.dk), (&mut *dv, &share.dv)] {
                    if at == 0 {
                        sum.copy_from_slice(part);
                    } else {
                        sum.iter_mut()
                            .zip(part)
                            .for_each(|(sum, &part)| *sum += part);
                    }
                }
            }
        });
}

fn backward_tile<T: Real>(
    sizes: &Sizes<'_, T>,
    tile: Tile,
    saved: &Saved<'_, T>,
    dq: &mut [T],
    dk: &mut [T],
    dv: &mut [T],
) {
    let size = sizes.size;
    let positions = tile.end - tile.first;
    let from = tile.sequence * sizes.positions + tile.first;
    let at = from * sizes.width();
    let (q, dout, o) = (&saved.q[at..], &saved.dout[at..], &saved.o[at..]);
    let sums = &saved.sums[from * sizes.queries..];
    dq.fill(T::ZERO);
    let stride = sizes.stride();
    let rows = sizes.rows(positions);
    let (mut p, mut ds) = (vec![T::ZERO; rows * BLOCK], vec![T::ZERO; rows * BLOCK]);
    let mut delta = vec![T::ZERO; rows];
    let mut products = sizes.products();
    for lane in sizes.lanes() {
        let of_lane = if sizes.keys == 1 { 0 } else { lane.head * size };
        let (queries, doutputs) = (
            sizes.queries(q, tile, &lane),
            sizes.queries(dout, tile, &lane),
        );
        let of_row = |numbers: &'_ [T], row: usize| -> std::ops::Range<usize> {
            let start = of_lane + row * stride;
            debug_assert!(start + size <= numbers.len());
            start..start + size
        };
        vectorized(
            #[inline(always)]
            || {
                for (row, delta) in delta.iter_mut().enumerate() {
                    *delta = dot(&dout[of_row(dout, row)], &o[of_row(o, row)]);
                }
            },
        );
        for (first, count) in sizes.blocks(tile) {
            let keys = sizes.keys(saved.k, tile, &lane, first, count);
            let values = sizes.keys(saved.v, tile, &lane, first, count);
            products.form(
                queries,
                keys.transposed(),
                &mut p,
                BLOCK,
                false,
                On::ThisThread,
            );
            products.form(
                doutputs,
                values.transposed(),
                &mut ds,
                BLOCK,
                false,
                On::ThisThread,
            );
            vectorized(
                #[inline(always)]
                || {
                    let both = p.chunks_exact_mut(BLOCK).zip(ds.chunks_exact_mut(BLOCK));
                    for (row, (p, ds)) in both.enumerate() {
                        let position = tile.first + row / lane.folded;
                        let head = lane.head + row % lane.folded;
                        let (start, end) = sizes.visible(tile, position, first, count);
                        for hidden in [&mut p[..start], &mut ds[..start]] {
                            hidden.fill(T::ZERO);
                        }
                        for hidden in [&mut p[end..count], &mut ds[end..count]] {
                            hidden.fill(T::ZERO);
                        }
                        let (p, ds) = (&mut p[start..end], &mut ds[start..end]);
                        sizes.scores(p, head, position, first + start);
                        exponentials(p, sums[(position - tile.first) * sizes.queries + head]);
                        let (delta, scale) = (delta[row], sizes.scale);
                        for (ds, &p) in ds.iter_mut().zip(p.iter()) {
                            *ds = p * (*ds - delta) * scale;
                        }
                    }
                },
            );
            let (p, ds) = (
                View::strided(&p, rows, count, BLOCK),
                View::strided(&ds, rows, count, BLOCK),
            );
            // What a tile adds to keys stands in its sequence's own numbers.
            let at = first * sizes.key_width() + lane.key * size;
            let key_width = sizes.key_width();
            products.form(
                p.transposed(),
                doutputs,
                &mut dv[at..],
                key_width,
                true,
                On::ThisThread,
            );
            products.form(
                ds.transposed(),
                queries,
                &mut dk[at..],
                key_width,
                true,
                On::ThisThread,
            );
            products.form(ds, keys, &mut dq[of_lane..], stride, true, On::ThisThread);
        }
    }
}
