//! The operations as candle composes them, on any device of candle's. Every gradient is written out, as candle's graph would keep
//! all intermediates. Slower than what is made for a device, and what that is held against.

use std::ops::Range;

use candle_core::{D, DType, Device, Tensor};

use super::fused::chunk_rows;
use super::{
    Activation, Attention, Backend, Growth, LossOptions, Losses, NORM_EPSILON, NewtonSchulz, Norm,
    Place, RotaryTable, Rule, Targets, misfit,
};
use crate::error::Result;

/// Query positions whose scores exist at one time.
const TILE: usize = 1024;

/// A device of candle's, and the numbers it computes with.
#[derive(Debug, Clone)]
pub struct Portable {
    device: Device,
    dtype: DType,
    /// Whether what goes into products is rounded to bf16.
    bf16: bool,
}

/// Cosines and sines, (1, positions, 1, half).
#[derive(Debug)]
pub struct Table {
    cos: Tensor,
    sin: Tensor,
    positions: usize,
    half: usize,
}

impl Portable {
    /// Computes on `device` with numbers of `dtype`: `F32`, or `F64` for an exact oracle.
    pub const fn new(device: Device, dtype: DType) -> Self {
        Self {
            device,
            dtype,
            bf16: false,
        }
    }

    /// The same, but that what goes into products, of linears, head, attention and their gradients, is rounded to bf16.
    #[must_use]
    pub const fn in_bf16(mut self) -> Self {
        // A device with the feature `cuda` has a destructor, which taking the others out of `self` would run.
        self.bf16 = true;
        self
    }

    /// `a b`, of numbers that may be rounded first.
    fn product(&self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        if !self.bf16 {
            return Ok(a.matmul(b)?);
        }
        // By way of single precision: from double precision candle cuts off before it rounds.
        let round = |x: &Tensor| -> candle_core::Result<_> {
            x.to_dtype(DType::F32)?
                .to_dtype(DType::BF16)?
                .to_dtype(self.dtype)
        };
        Ok(round(a)?.matmul(&round(b)?)?)
    }

    fn tensor(&self, numbers: Vec<f64>, shape: &[usize]) -> Result<Tensor> {
        Ok(Tensor::from_vec(numbers, shape, &Device::Cpu)?
            .to_dtype(self.dtype)?
            .to_device(&self.device)?)
    }

    fn ids(&self, ids: &[u32]) -> Result<Tensor> {
        Ok(Tensor::from_slice(ids, ids.len(), &self.device)?)
    }

    /// What is added to the scores of query positions `first..end` on keys `..end`: (B or 1, G, R, queries, keys).
    fn bias(
        &self,
        attention: &Attention,
        sequences: usize,
        first: usize,
        end: usize,
    ) -> Result<Tensor> {
        let heads = attention.heads;
        let shared = heads.queries / heads.keys;
        let count = end - first;
        let mut causal = vec![0.0; count * end];
        let mut distance = vec![0.0; count * end];
        for i in 0..count {
            for j in 0..end {
                let at = i * end + j;
                if j > first + i {
                    causal[at] = f64::NEG_INFINITY;
                } else {
                    distance[at] = j as f64 - (first + i) as f64;
                }
            }
        }
        let mut bias = self.tensor(causal, &[1, 1, 1, count, end])?;
        if let Some(slopes) = &attention.slopes {
            let slopes = self.tensor(slopes.clone(), &[1, heads.keys, shared, 1, 1])?;
            let distance = self.tensor(distance, &[1, 1, 1, count, end])?;
            bias = bias.broadcast_add(&slopes.broadcast_mul(&distance)?)?;
        }
        if let Some(starts) = &attention.starts {
            let positions = attention.positions;
            let mut hidden = vec![0.0; sequences * count * end];
            for sequence in 0..sequences {
                for i in 0..count {
                    let position = first + i;
                    let start = starts[sequence * positions + position] as usize;
                    let row = (sequence * count + i) * end;
                    hidden[row..row + start.min(position)].fill(f64::NEG_INFINITY);
                }
            }
            let hidden = self.tensor(hidden, &[sequences, 1, 1, count, end])?;
            bias = bias.broadcast_add(&hidden)?;
        }
        Ok(bias)
    }
}

/// Heads before positions: rows (B T, G R n) of positions `first..end` to (B G, R (end - first), n).
fn by_heads(
    x: &Tensor,
    attention: &Attention,
    keys: usize,
    first: usize,
    end: usize,
) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    let (positions, size) = (attention.positions, attention.heads.size);
    let shared = width / (keys * size);
    Ok(
        x.reshape((rows / positions, positions, keys, shared, size))?
            .narrow(1, first, end - first)?
            .permute((0, 2, 3, 1, 4))?
            .contiguous()?
            .reshape((rows / positions * keys, shared * (end - first), size))?,
    )
}

/// The other way round: (B G, R count, n) to (B, count, G R n).
fn by_rows(x: &Tensor, keys: usize, count: usize) -> Result<Tensor> {
    let (outer, inner, size) = x.dims3()?;
    let shared = inner / count;
    Ok(x.reshape((outer / keys, keys, shared, count, size))?
        .permute((0, 3, 1, 2, 4))?
        .contiguous()?
        .reshape((outer / keys, count, keys * shared * size))?)
}

/// Query positions at a time.
fn tiles(positions: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..positions)
        .step_by(TILE)
        .map(move |first| (first, (first + TILE).min(positions)))
}

/// The normalized rows and the inverse of their deviations.
fn normalized(norm: Norm, x: &Tensor) -> candle_core::Result<(Tensor, Tensor)> {
    let centred = match norm {
        Norm::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
        Norm::Rms => x.clone(),
    };
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let inverse = (variance + NORM_EPSILON)?.sqrt()?.recip()?;
    Ok((centred.broadcast_mul(&inverse)?, inverse))
}

fn sigmoid(x: &Tensor) -> candle_core::Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// Φ(x).
fn normal_part(x: &Tensor) -> candle_core::Result<Tensor> {
    ((x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)? * 0.5
}

/// [`NewtonSchulz`] of a matrix.
fn orthogonal(matrix: &Tensor) -> candle_core::Result<Tensor> {
    let shape = matrix.dims();
    // A store keeps a single row without its first axis.
    let (rows, columns) = match shape {
        [columns] => (1, *columns),
        _ => matrix.dims2()?,
    };
    let wide = |x: &Tensor| {
        if rows > columns {
            x.t()?.contiguous()
        } else {
            Ok(x.clone())
        }
    };
    let norm = matrix
        .sqr()?
        .sum_all()?
        .to_dtype(DType::F64)?
        .to_scalar::<f64>()?
        .sqrt();
    let mut x = wide(&(matrix.reshape((rows, columns))? / norm.max(NewtonSchulz::LEAST))?)?;
    for _ in 0..NewtonSchulz::STEPS {
        let a = x.matmul(&x.t()?)?;
        let b = ((&a * NewtonSchulz::B)? + (a.matmul(&a)? * NewtonSchulz::C)?)?;
        x = ((&x * NewtonSchulz::A)? + b.matmul(&x)?)?;
    }
    wide(&x)?.reshape(shape)
}

impl Backend for Portable {
    type Buffer = Tensor;
    type Store = Vec<Tensor>;
    type Table = Table;

    fn store(&self, places: &[Place]) -> Result<Vec<Tensor>> {
        let zeros = |place: &Place| {
            let shape: &[usize] = match place.rows {
                1 => &[place.columns],
                _ => &[place.rows, place.columns],
            };
            Ok(Tensor::zeros(shape, self.dtype, &self.device)?)
        };
        places.iter().map(zeros).collect()
    }

    fn clear(&self, store: &mut Vec<Tensor>) -> Result<()> {
        for tensor in store {
            *tensor = tensor.zeros_like()?;
        }
        Ok(())
    }

    fn write(&self, store: &mut Vec<Tensor>, index: usize, numbers: &[f32]) -> Result<()> {
        let values = Tensor::from_slice(numbers, store[index].shape(), &Device::Cpu)?;
        store[index] = values.to_dtype(self.dtype)?.to_device(&self.device)?;
        Ok(())
    }

    fn read(&self, store: &Vec<Tensor>, index: usize) -> Result<Vec<f32>> {
        Ok(store[index]
            .to_dtype(DType::F32)?
            .flatten_all()?
            .to_vec1::<f32>()?)
    }

    fn squares(&self, store: &Vec<Tensor>) -> Result<f64> {
        let all = 0..store.len();
        all.map(|index| self.squares_of(store, index)).sum()
    }

    fn squares_of(&self, store: &Vec<Tensor>, index: usize) -> Result<f64> {
        let squares = store[index].sqr()?.flatten_all()?;
        // Parts first, so that single precision does not lose them in the sum.
        let squares = match squares.dims1()? {
            count if count % 1024 == 0 => squares.reshape((count / 1024, 1024))?.sum(1)?,
            _ => squares,
        };
        let sum = squares.to_dtype(DType::F64)?.sum_all()?;
        Ok(sum.to_scalar::<f64>()?)
    }

    fn add(&self, sum: &mut Vec<Tensor>, other: &Vec<Tensor>, index: usize) -> Result<()> {
        sum[index] = (&sum[index] + &other[index])?;
        Ok(())
    }

    fn outgrown(
        &self,
        rule: Rule,
        gradients: &Vec<Tensor>,
        factor: f64,
        second: &Vec<Tensor>,
        index: usize,
    ) -> Result<f64> {
        let Growth {
            factor,
            beta2,
            correction,
            least,
        } = Growth::of(rule, factor)?;
        let double = |store: &Vec<Tensor>| store[index].to_dtype(DType::F64);
        let square = (double(gradients)? * factor)?.sqr()?;
        let moment = (((double(second)? * beta2)? + (&square * (1.0 - beta2))?)? * correction)?;
        let moment = moment.maximum(least.max(f64::MIN_POSITIVE))?;
        Ok((square / moment)?.mean_all()?.to_scalar::<f64>()?)
    }

    fn update(
        &self,
        rule: Rule,
        parameters: &mut Vec<Tensor>,
        gradients: &Vec<Tensor>,
        factor: f64,
        moments: &mut [Vec<Tensor>],
        index: usize,
    ) -> Result<()> {
        let gradient = (&gradients[index] * factor)?;
        let mean = |moment: &Tensor, decay: f64, new: &Tensor| -> candle_core::Result<Tensor> {
            (moment * decay)? + (new * (1.0 - decay))?
        };
        match (rule, moments) {
            (
                Rule::Adam {
                    keep,
                    rate,
                    beta1,
                    beta2,
                    root,
                    epsilon,
                },
                [first, second],
            ) => {
                first[index] = mean(&first[index], beta1, &gradient)?;
                second[index] = mean(&second[index], beta2, &gradient.sqr()?)?;
                let below = ((second[index].sqrt()? * root)? + epsilon)?;
                let step = ((&first[index] * rate)? / below)?;
                parameters[index] = ((&parameters[index] * keep)? - step)?;
            }
            (
                Rule::Lion {
                    keep,
                    rate,
                    beta1,
                    beta2,
                },
                [moment],
            ) => {
                let step = (mean(&moment[index], beta1, &gradient)?.sign()? * rate)?;
                parameters[index] = ((&parameters[index] * keep)? - step)?;
                moment[index] = mean(&moment[index], beta2, &gradient)?;
            }
            (
                Rule::Muon {
                    keep,
                    rate,
                    momentum,
                },
                [moment, ..],
            ) => {
                moment[index] = mean(&moment[index], momentum, &gradient)?;
                let step = orthogonal(&mean(&moment[index], momentum, &gradient)?)?;
                parameters[index] = ((&parameters[index] * keep)? - (step * rate)?)?;
            }
            _ => {
                return Err(misfit("a step of the optimizer"));
            }
        }
        Ok(())
    }

    fn average(
        &self,
        keep: f64,
        parameters: &Vec<Tensor>,
        average: &mut Vec<Tensor>,
        index: usize,
    ) -> Result<()> {
        let away = (&parameters[index] - &average[index])?;
        average[index] = (&average[index] + (away * (1.0 - keep))?)?;
        Ok(())
    }

    fn table(&self, table: &RotaryTable) -> Result<Table> {
        let shape = [1, table.positions, 1, table.half];
        Ok(Table {
            cos: self.tensor(table.cos.clone(), &shape)?,
            sin: self.tensor(table.sin.clone(), &shape)?,
            positions: table.positions,
            half: table.half,
        })
    }

    fn numbers(&self, buffer: &Tensor) -> Result<Vec<f64>> {
        Ok(buffer
            .to_dtype(DType::F64)?
            .flatten_all()?
            .to_vec1::<f64>()?)
    }

    fn copy(&self, buffer: &Tensor) -> Result<Tensor> {
        // Nothing is changed in place.
        Ok(buffer.clone())
    }

    fn zeros(&self, rows: usize, width: usize) -> Result<Tensor> {
        Ok(Tensor::zeros((rows, width), self.dtype, &self.device)?)
    }

    fn rows(&self, buffer: &Tensor, _: usize, start: usize, end: usize) -> Result<Tensor> {
        Ok(buffer.narrow(0, start, end - start)?.contiguous()?)
    }

    fn join(&self, parts: &[(&Tensor, Range<usize>)], _: usize) -> Result<Tensor> {
        let parts = parts.iter().filter(|(_, rows)| !rows.is_empty());
        let parts: Vec<Tensor> = parts
            .map(|(buffer, rows)| buffer.narrow(0, rows.start, rows.len()))
            .collect::<candle_core::Result<_>>()?;
        Ok(Tensor::cat(&parts, 0)?)
    }

    fn add_rows(&self, sum: &mut Tensor, other: &Tensor, _: usize, rows: usize) -> Result<()> {
        if rows == 0 {
            return Ok(());
        }
        let all = sum.dim(0)?;
        let mut parts = vec![(sum.narrow(0, 0, rows)? + other.narrow(0, 0, rows)?)?];
        if rows < all {
            parts.push(sum.narrow(0, rows, all - rows)?);
        }
        *sum = Tensor::cat(&parts, 0)?;
        Ok(())
    }

    fn embed(&self, store: &Vec<Tensor>, embedding: usize, ids: &[u32]) -> Result<Tensor> {
        super::fused::check_ids(ids, store[embedding].dim(0)?)?;
        Ok(store[embedding].index_select(&self.ids(ids)?, 0)?)
    }

    fn embed_backward(
        &self,
        ids: &[u32],
        dx: &Tensor,
        gradients: &mut Vec<Tensor>,
        embedding: usize,
    ) -> Result<()> {
        gradients[embedding] = gradients[embedding].index_add(&self.ids(ids)?, dx, 0)?;
        Ok(())
    }

    fn norm(&self, norm: Norm, x: &Tensor, store: &Vec<Tensor>, gain: usize) -> Result<Tensor> {
        let (h, _) = normalized(norm, x)?;
        Ok(h.broadcast_mul(&store[gain])?)
    }

    fn norm_backward(
        &self,
        norm: Norm,
        x: &Tensor,
        store: &Vec<Tensor>,
        gain: usize,
        dy: &Tensor,
        dx: &mut Tensor,
        gradients: &mut Vec<Tensor>,
    ) -> Result<()> {
        let (h, inverse) = normalized(norm, x)?;
        gradients[gain] = (&gradients[gain] + (dy * &h)?.sum(0)?)?;
        let w = dy.broadcast_mul(&store[gain])?;
        let of_deviation = (&w * &h)?.mean_keepdim(D::Minus1)?;
        let mut inner = (&w - h.broadcast_mul(&of_deviation)?)?;
        if norm == Norm::Layer {
            inner = inner.broadcast_sub(&w.mean_keepdim(D::Minus1)?)?;
        }
        *dx = (&*dx + inner.broadcast_mul(&inverse)?)?;
        Ok(())
    }

    fn linear(&self, x: &Tensor, store: &Vec<Tensor>, weight: usize) -> Result<Tensor> {
        self.product(x, &store[weight].t()?)
    }

    fn add_linear(
        &self,
        x: &Tensor,
        store: &Vec<Tensor>,
        weight: usize,
        y: &mut Tensor,
    ) -> Result<()> {
        *y = (&*y + self.product(x, &store[weight].t()?)?)?;
        Ok(())
    }

    fn linear_input(&self, dy: &Tensor, store: &Vec<Tensor>, weight: usize) -> Result<Tensor> {
        self.product(dy, &store[weight])
    }

    fn add_linear_input(
        &self,
        dy: &Tensor,
        store: &Vec<Tensor>,
        weight: usize,
        dx: &mut Tensor,
    ) -> Result<()> {
        *dx = (&*dx + self.product(dy, &store[weight])?)?;
        Ok(())
    }

    fn linear_weight(
        &self,
        dy: &Tensor,
        x: &Tensor,
        gradients: &mut Vec<Tensor>,
        weight: usize,
    ) -> Result<()> {
        gradients[weight] = (&gradients[weight] + self.product(&dy.t()?, x)?)?;
        Ok(())
    }

    fn rotate(&self, x: &mut Tensor, table: &Table, heads: usize, inverse: bool) -> Result<()> {
        let (rows, width) = x.dims2()?;
        let half = table.half;
        let sin = if inverse {
            table.sin.neg()?
        } else {
            table.sin.clone()
        };
        let heads = x.reshape((rows / table.positions, table.positions, heads, 2 * half))?;
        let (first, second) = (heads.narrow(3, 0, half)?, heads.narrow(3, half, half)?);
        let turned = [
            (first.broadcast_mul(&table.cos)? - second.broadcast_mul(&sin)?)?,
            (second.broadcast_mul(&table.cos)? + first.broadcast_mul(&sin)?)?,
        ];
        *x = Tensor::cat(&turned, 3)?.reshape((rows, width))?;
        Ok(())
    }

    fn activate(&self, activation: Activation, x: &Tensor, width: usize) -> Result<Tensor> {
        Ok(match activation {
            Activation::Swiglu => {
                let (up, gate) = (x.narrow(1, 0, width)?, x.narrow(1, width, width)?);
                ((up * &gate)? * sigmoid(&gate)?)?
            }
            Activation::Gelu => (x * normal_part(x)?)?,
        })
    }

    fn activate_backward(
        &self,
        activation: Activation,
        x: Tensor,
        dy: &Tensor,
        width: usize,
    ) -> Result<Tensor> {
        Ok(match activation {
            Activation::Swiglu => {
                let (up, gate) = (x.narrow(1, 0, width)?, x.narrow(1, width, width)?);
                let s = sigmoid(&gate)?;
                let dup = ((dy * &gate)? * &s)?;
                let slope = ((&gate * (1.0 - &s)?)? + 1.0)?;
                let dgate = (((dy * &up)? * &s)? * slope)?;
                Tensor::cat(&[dup, dgate], 1)?
            }
            Activation::Gelu => {
                let density = ((x.sqr()? * -0.5)?.exp()? * 0.398_942_280_401_432_7)?;
                (dy * (normal_part(&x)? + (&x * density)?)?)?
            }
        })
    }

    fn attend(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        attention: &Attention,
    ) -> Result<(Tensor, Tensor)> {
        let (rows, width) = q.dims2()?;
        let (positions, heads) = (attention.positions, attention.heads);
        let sequences = rows / positions;
        let shared = heads.queries / heads.keys;
        let (mut outputs, mut sums) = (Vec::new(), Vec::new());
        for (first, end) in tiles(positions) {
            let count = end - first;
            let q = by_heads(q, attention, heads.keys, first, end)?;
            let k = by_heads(k, attention, heads.keys, 0, end)?;
            let v = by_heads(v, attention, heads.keys, 0, end)?;
            let bias = self.bias(attention, sequences, first, end)?;
            let scores = (self.product(&q, &k.t()?)? * (heads.size as f64).powf(-0.5))?
                .reshape((sequences, heads.keys, shared, count, end))?
                .broadcast_add(&bias)?;
            let largest = scores.max_keepdim(D::Minus1)?;
            let powers = scores.broadcast_sub(&largest)?.exp()?;
            let total = powers.sum_keepdim(D::Minus1)?;
            let flat = |x: &Tensor, width: usize| {
                x.reshape((sequences * heads.keys, shared * count, width))
            };
            let output = self
                .product(&flat(&powers, end)?, &v)?
                .broadcast_div(&flat(&total, 1)?)?;
            outputs.push(by_rows(&output, heads.keys, count)?);
            let log = (largest + total.log()?)?;
            sums.push(by_rows(&flat(&log, 1)?, heads.keys, count)?);
        }
        Ok((
            Tensor::cat(&outputs, 1)?.reshape((rows, width))?,
            Tensor::cat(&sums, 1)?.reshape((rows, heads.queries))?,
        ))
    }

    fn attend_backward(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        o: &Tensor,
        sums: &Tensor,
        dout: &Tensor,
        attention: &Attention,
    ) -> Result<(Tensor, Tensor, Tensor)> {
        let (rows, width) = q.dims2()?;
        let (positions, heads) = (attention.positions, attention.heads);
        let sequences = rows / positions;
        let shared = heads.queries / heads.keys;
        let scale = (heads.size as f64).powf(-0.5);
        let of_heads = Attention {
            heads: super::Heads { size: 1, ..heads },
            ..attention.clone()
        };
        let mut dq = Vec::new();
        let (mut dk, mut dv): (Option<Tensor>, Option<Tensor>) = (None, None);
        let flat =
            |x: &Tensor, width: usize, end: usize| x.reshape((sequences * heads.keys, width, end));
        for (first, end) in tiles(positions) {
            let count = end - first;
            let of_tile = |x: &Tensor| by_heads(x, attention, heads.keys, first, end);
            let (q, o, dout) = (of_tile(q)?, of_tile(o)?, of_tile(dout)?);
            let k = by_heads(k, attention, heads.keys, 0, end)?;
            let v = by_heads(v, attention, heads.keys, 0, end)?;
            let sums = by_heads(sums, &of_heads, heads.keys, first, end)?;
            let bias = self.bias(attention, sequences, first, end)?;
            let scores = (self.product(&q, &k.t()?)? * scale)?
                .reshape((sequences, heads.keys, shared, count, end))?
                .broadcast_add(&bias)?;
            let p = flat(&scores, shared * count, end)?
                .broadcast_sub(&sums)?
                .exp()?;
            let delta = (&dout * &o)?.sum_keepdim(D::Minus1)?;
            let dp = self.product(&dout, &v.t()?)?;
            let ds = ((dp.broadcast_sub(&delta)? * &p)? * scale)?;
            dq.push(by_rows(&self.product(&ds, &k)?, heads.keys, count)?);
            let parts = [self.product(&ds.t()?, &q)?, self.product(&p.t()?, &dout)?];
            for (sum, part) in [&mut dk, &mut dv].into_iter().zip(parts) {
                // Later tiles see more keys than earlier ones.
                let part = part.pad_with_zeros(1, 0, positions - end)?;
                *sum = Some(match sum.take() {
                    None => part,
                    Some(sum) => (sum + part)?,
                });
            }
        }
        let of_keys = |sum: Option<Tensor>| -> Result<Tensor> {
            let sum = sum.ok_or_else(|| misfit("attention"))?;
            Ok(by_rows(&sum, heads.keys, positions)?.reshape((rows, heads.keys * heads.size))?)
        };
        Ok((
            Tensor::cat(&dq, 1)?.reshape((rows, width))?,
            of_keys(dk)?,
            of_keys(dv)?,
        ))
    }

    fn loss(
        &self,
        x: &Tensor,
        store: &Vec<Tensor>,
        head: usize,
        targets: Targets<'_>,
        options: LossOptions,
        mut gradients: Option<&mut Vec<Tensor>>,
    ) -> Result<(Losses, Option<Tensor>)> {
        let weight = &store[head];
        let vocabulary = weight.dim(0)?;
        super::fused::check_ids(targets.ids, vocabulary)?;
        let rows = targets.ids.len();
        let chunk = chunk_rows(vocabulary).max(1);
        let mut losses = Losses::default();
        let mut dx = Vec::new();
        let LossOptions {
            scale,
            z_loss,
            smoothing,
        } = options;
        for first in (0..rows).step_by(chunk) {
            let count = chunk.min(rows - first);
            let x = x.narrow(0, first, count)?;
            let ids = self
                .ids(&targets.ids[first..first + count])?
                .reshape((count, 1))?;
            let marks = targets.trained[first..first + count].iter();
            let marks = marks.map(|&trained| if trained { 1.0 } else { 0.0 });
            let marks = self.tensor(marks.collect(), &[count, 1])?;
            let logits = self.product(&x, &weight.t()?)?;
            let largest = logits.max_keepdim(1)?;
            let powers = logits.broadcast_sub(&largest)?.exp()?;
            let total = powers.sum_keepdim(1)?;
            let log = (&largest + total.log()?)?;
            let nats = (&log - logits.gather(&ids, 1)?)?;
            let even = ((&log - logits.mean_keepdim(1)?)? * smoothing)?;
            let square = (log.sqr()? * z_loss)?;
            let objective = (((&nats * (1.0 - smoothing))? + even)? + square)?;
            let sum = |losses: &Tensor| -> candle_core::Result<f64> {
                // No number times nothing is no number: what is not trained is left out by choice, not by product.
                let zeros = losses.zeros_like()?;
                marks
                    .gt(0.5)?
                    .where_cond(losses, &zeros)?
                    .to_dtype(DType::F64)?
                    .sum_all()?
                    .to_scalar::<f64>()
            };
            losses.nats += sum(&nats)?;
            losses.objective += sum(&objective)?;
            if let Some(gradients) = &mut gradients {
                let p = powers.broadcast_div(&total)?;
                let factor = ((log * (2.0 * z_loss))? + 1.0)?;
                let at_targets = Tensor::full(1.0 - smoothing, (count, 1), &self.device)?
                    .to_dtype(self.dtype)?;
                let wanted = Tensor::full(
                    smoothing / vocabulary as f64,
                    (count, vocabulary),
                    &self.device,
                )?
                .to_dtype(self.dtype)?
                .scatter_add(&ids, &at_targets, 1)?;
                let dlogits =
                    (p.broadcast_mul(&factor)? - wanted)?.broadcast_mul(&(&marks * scale)?)?;
                dx.push(self.product(&dlogits, weight)?);
                gradients[head] = (&gradients[head] + self.product(&dlogits.t()?, &x)?)?;
            }
        }
        let dx = if gradients.is_some() {
            Some(Tensor::cat(&dx, 0)?)
        } else {
            None
        };
        Ok((losses, dx))
    }
}
