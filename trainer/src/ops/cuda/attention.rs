//! Attention as products with kernels between them, for a tile of query positions at a time.

use candle_core::cuda_backend::cudarc::driver::CudaSlice;

use super::{Argument, Cuda, Matrix, Size, int, misfit, single};
use crate::error::Result;
use crate::ops::{Attention, Heads};

/// Scores that exist at one time: 1 GiB, twice in backward.
const SCORES: usize = 1 << 28;

/// Which heads go through a product together.
struct Groups {
    /// One key head for all: heads fold into rows, sequences are a batch.
    folded: bool,
    /// Products of a sequence, or of all where heads are folded.
    each: Vec<Group>,
}

/// One product of a sequence.
#[derive(Clone, Copy)]
struct Group {
    /// First query head.
    head: usize,
    /// First key head.
    key: usize,
    /// How many heads are a batch.
    batch: usize,
    /// Key heads from one of the batch to the next.
    key_step: usize,
}

fn groups(heads: Heads) -> Groups {
    let shared = heads.queries / heads.keys;
    if heads.keys == 1 {
        let group = Group {
            head: 0,
            key: 0,
            batch: 1,
            key_step: 0,
        };
        return Groups {
            folded: true,
            each: vec![group],
        };
    }
    let each = match shared {
        1 => vec![Group {
            head: 0,
            key: 0,
            batch: heads.queries,
            key_step: 1,
        }],
        _ => (0..heads.keys)
            .map(|key| Group {
                head: key * shared,
                key,
                batch: shared,
                key_step: 0,
            })
            .collect(),
    };
    Groups {
        folded: false,
        each,
    }
}

/// The sizes of one call.
struct Call<'a> {
    attention: &'a Attention,
    sequences: usize,
    /// Query positions of a tile.
    tile: usize,
    slopes: Option<CudaSlice<f32>>,
    starts: Option<CudaSlice<u32>>,
    groups: Groups,
}

/// Query positions `first..end` on keys `..end`.
#[derive(Clone, Copy)]
struct Tile {
    first: usize,
    end: usize,
}

impl Tile {
    const fn count(self) -> usize {
        self.end - self.first
    }
}

impl Call<'_> {
    fn tiles(&self) -> impl Iterator<Item = Tile> {
        let positions = self.attention.positions;
        let tile = self.tile;
        (0..positions).step_by(tile).map(move |first| Tile {
            first,
            end: (first + tile).min(positions),
        })
    }

    /// Numbers of a row of queries, and of one of keys.
    fn widths(&self) -> (usize, usize) {
        let heads = self.attention.heads;
        (heads.queries * heads.size, heads.keys * heads.size)
    }

    /// The products of a tile: which sequence they begin with, the group, and how many are a batch.
    fn products(&self) -> impl Iterator<Item = (usize, Group, usize)> + '_ {
        let sequences = if self.groups.folded {
            1
        } else {
            self.sequences
        };
        (0..sequences).flat_map(move |sequence| {
            self.groups.each.iter().map(move |&group| {
                let batch = if self.groups.folded {
                    self.sequences
                } else {
                    group.batch
                };
                (sequence, group, batch)
            })
        })
    }

    /// Rows of a product.
    fn rows(&self, tile: Tile) -> usize {
        let folded = if self.groups.folded {
            self.attention.heads.queries
        } else {
            1
        };
        tile.count() * folded
    }

    /// Queries of a tile, or what is shaped like them.
    fn queries(&self, pointer: u64, tile: Tile, sequence: usize, group: Group) -> Matrix {
        let heads = self.attention.heads;
        let (width, _) = self.widths();
        let at =
            (sequence * self.attention.positions + tile.first) * width + group.head * heads.size;
        if self.groups.folded {
            let next = self.attention.positions * width;
            return Matrix::new(pointer, heads.size).from(at).every(next);
        }
        Matrix::new(pointer, width).from(at).every(heads.size)
    }

    /// Keys or values of a sequence, or what is shaped like them.
    fn keys(&self, pointer: u64, sequence: usize, group: Group) -> Matrix {
        let heads = self.attention.heads;
        let (_, width) = self.widths();
        let at = sequence * self.attention.positions * width + group.key * heads.size;
        let next = if self.groups.folded {
            self.attention.positions * width
        } else {
            group.key_step * heads.size
        };
        Matrix::new(pointer, width).from(at).every(next)
    }

    /// Scores of a product.
    fn scores(&self, pointer: u64, tile: Tile, sequence: usize, group: Group) -> Matrix {
        let of_head = tile.count() * tile.end;
        let heads = self.attention.heads.queries;
        let at = (sequence * heads + group.head) * of_head;
        let next = if self.groups.folded {
            heads * of_head
        } else {
            of_head
        };
        Matrix::new(pointer, tile.end).from(at).every(next)
    }
}

impl Cuda {
    fn call<'a>(&self, attention: &'a Attention, lengths: [usize; 3]) -> Result<(Call<'a>, usize)> {
        let heads = attention.heads;
        let positions = attention.positions;
        let rows = lengths[0] / (heads.queries * heads.size).max(1);
        let keys = rows * heads.keys * heads.size;
        let fits = positions > 0
            && rows.is_multiple_of(positions)
            && heads.keys > 0
            && heads.queries.is_multiple_of(heads.keys)
            && lengths[1] == keys
            && lengths[2] == keys;
        if !fits {
            return Err(misfit("attention"));
        }
        let sequences = rows / positions;
        let of_position = (sequences * heads.queries * positions).max(1);
        let slopes = attention.slopes.as_ref().map(|slopes| {
            let slopes: Vec<f32> = slopes.iter().map(|&slope| single(slope)).collect();
            self.upload(&slopes)
        });
        let starts = attention.starts.as_ref().map(|starts| self.upload(starts));
        let call = Call {
            attention,
            sequences,
            tile: (SCORES / of_position).clamp(16, positions.max(16)),
            slopes: slopes.transpose()?,
            starts: starts.transpose()?,
            groups: groups(heads),
        };
        Ok((call, rows))
    }

    /// The arguments that say what rows of scores are.
    fn about(&self, call: &Call<'_>, tile: Tile) -> Result<([Argument; 2], [Argument; 5])> {
        let nothing = Argument::Pointer(0);
        let slopes = call
            .slopes
            .as_ref()
            .map_or(nothing, |slopes| self.at(slopes));
        let starts = call
            .starts
            .as_ref()
            .map_or(nothing, |starts| self.at(starts));
        let sizes = [
            tile.count(),
            tile.first,
            tile.end,
            call.attention.positions,
            call.attention.heads.queries,
        ];
        let mut ints = [Argument::Int(0); 5];
        for (int_argument, size) in ints.iter_mut().zip(sizes) {
            *int_argument = Argument::Int(int(size)?);
        }
        Ok(([slopes, starts], ints))
    }

    pub(super) fn attend_forward(
        &self,
        q: &CudaSlice<f32>,
        k: &CudaSlice<f32>,
        v: &CudaSlice<f32>,
        attention: &Attention,
    ) -> Result<(CudaSlice<f32>, CudaSlice<f32>)> {
        let (call, rows) = self.call(attention, [q.len(), k.len(), v.len()])?;
        let heads = attention.heads;
        let o = self.take(q.len())?;
        let sums = self.take(rows * heads.queries)?;
        let scores = self.take(call.sequences * heads.queries * call.tile * attention.positions)?;
        let [q, k, v, to] = [q, k, v, &o].map(|buffer| self.pointer(buffer));
        let at = self.pointer(&scores);
        let scale = Argument::Float(single((heads.size as f64).powf(-0.5)));
        for tile in call.tiles() {
            for (sequence, group, batch) in call.products() {
                let size = Size {
                    rows: call.rows(tile),
                    columns: tile.end,
                    inner: heads.size,
                    batch,
                };
                let queries = call.queries(q, tile, sequence, group);
                let keys = call.keys(k, sequence, group).transposed();
                self.product(
                    size,
                    queries,
                    keys,
                    call.scores(at, tile, sequence, group),
                    false,
                )?;
            }
            let ([slopes, starts], ints) = self.about(&call, tile)?;
            let mut arguments = vec![self.at(&scores), self.at(&sums), slopes, starts];
            arguments.extend(ints);
            arguments.extend([Argument::Int(i32::from(call.groups.folded)), scale]);
            let blocks = call.sequences * heads.queries * tile.count();
            self.launch("attend", blocks, &arguments)?;
            for (sequence, group, batch) in call.products() {
                let size = Size {
                    rows: call.rows(tile),
                    columns: heads.size,
                    inner: tile.end,
                    batch,
                };
                let p = call.scores(at, tile, sequence, group);
                let values = call.keys(v, sequence, group);
                self.product(
                    size,
                    p,
                    values,
                    call.queries(to, tile, sequence, group),
                    false,
                )?;
            }
        }
        Ok((o, sums))
    }

    /// `inputs` are queries, keys, values, what was attended to, sums and the gradient of what was attended to.
    pub(super) fn attend_back(
        &self,
        inputs: [&CudaSlice<f32>; 6],
        attention: &Attention,
    ) -> Result<(CudaSlice<f32>, CudaSlice<f32>, CudaSlice<f32>)> {
        let [q, k, v, o, sums, dout] = inputs;
        let (call, rows) = self.call(attention, [q.len(), k.len(), v.len()])?;
        let heads = attention.heads;
        if o.len() != q.len() || dout.len() != q.len() || sums.len() != rows * heads.queries {
            return Err(misfit("attention backward"));
        }
        let dq = self.take(q.len())?;
        let zeros = |count: usize| self.stream.alloc_zeros::<f32>(count.max(1));
        let (dk, dv) = (
            zeros(k.len()).map_err(super::failed)?,
            zeros(v.len()).map_err(super::failed)?,
        );
        let most = call.sequences * heads.queries * call.tile * attention.positions;
        let (scores, dscores) = (self.take(most)?, self.take(most)?);
        let pointers = [q, k, v, dout, &dq, &dk, &dv].map(|buffer| self.pointer(buffer));
        let [q, k, v, dout_at, dq_at, dk_at, dv_at] = pointers;
        let (p_at, ds_at) = (self.pointer(&scores), self.pointer(&dscores));
        let scale = Argument::Float(single((heads.size as f64).powf(-0.5)));
        for tile in call.tiles() {
            for (sequence, group, batch) in call.products() {
                let size = Size {
                    rows: call.rows(tile),
                    columns: tile.end,
                    inner: heads.size,
                    batch,
                };
                for (left, right, to) in [(q, k, p_at), (dout_at, v, ds_at)] {
                    let left = call.queries(left, tile, sequence, group);
                    let right = call.keys(right, sequence, group).transposed();
                    self.product(
                        size,
                        left,
                        right,
                        call.scores(to, tile, sequence, group),
                        false,
                    )?;
                }
            }
            let ([slopes, starts], ints) = self.about(&call, tile)?;
            let mut arguments = vec![
                self.at(&scores),
                self.at(&dscores),
                self.at(sums),
                self.at(o),
                self.at(dout),
                slopes,
                starts,
            ];
            arguments.extend(ints);
            arguments.extend([
                Argument::Int(int(heads.size)?),
                Argument::Int(i32::from(call.groups.folded)),
                scale,
            ]);
            let blocks = call.sequences * heads.queries * tile.count();
            self.launch("attend_backward", blocks, &arguments)?;
            for (sequence, group, batch) in call.products() {
                let rows = call.rows(tile);
                let of_queries = Size {
                    rows,
                    columns: heads.size,
                    inner: tile.end,
                    batch,
                };
                let ds = call.scores(ds_at, tile, sequence, group);
                let p = call.scores(p_at, tile, sequence, group);
                let keys = call.keys(k, sequence, group);
                self.product(
                    of_queries,
                    ds,
                    keys,
                    call.queries(dq_at, tile, sequence, group),
                    false,
                )?;
                // Where heads share a key without being folded, one after the other adds to it.
                let one_by_one = !call.groups.folded && group.key_step == 0;
                let (turns, batch) = if one_by_one { (batch, 1) } else { (1, batch) };
                let of_keys = Size {
                    rows: tile.end,
                    columns: heads.size,
                    inner: rows,
                    batch,
                };
                for turn in 0..turns {
                    let of = |matrix: Matrix| matrix.from(turn * matrix.next);
                    let parts = [(ds, q, dk_at), (p, dout_at, dv_at)];
                    for (left, right, to) in parts {
                        let left = of(left).transposed();
                        let right = of(call.queries(right, tile, sequence, group));
                        self.product(of_keys, left, right, call.keys(to, sequence, group), true)?;
                    }
                }
            }
        }
        Ok((dq, dk, dv))
    }
}
