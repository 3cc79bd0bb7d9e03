//! The operations on a processor: analytic kernels over slices, with rayon over rows and tiles.

mod attention;
mod bfloat;
mod loss;
mod muon;
mod numeric;
mod pool;
mod product;
mod rows;

use std::cell::RefCell;
use std::ops::Range;

use andromeda_format::memory::Pages;
use rayon::prelude::*;

use self::attention::{Saved, Sizes};
use self::bfloat::Products;
use self::numeric::{CHUNK, vectorized};
use self::pool::Pool;
use self::product::{On, View};
use super::{
    Activation, Attention, Backend, Growth, LossOptions, Losses, Norm, Place, RotaryTable, Rule,
    Targets, misfit, one_after_the_other,
};
use crate::error::{Error, Result};

pub use self::attention::backward_sums;
pub use self::bfloat::{Kernel, PACKED_BYTES};
pub use self::loss::{chunk_rows, loss_numbers};
#[cfg(feature = "cuda")]
pub(super) use self::muon::on_host;
pub use self::numeric::Real;
pub use self::pool::Slab;
pub use self::rows::Table;

/// A processor with its memory for activations.
#[derive(Debug, Default)]
pub struct Fused<T> {
    pool: Pool<T>,
    products: RefCell<Products<T>>,
}

/// Numbers of all parameters, one after the other.
#[derive(Debug)]
pub struct Flat<T> {
    numbers: Pages<T>,
    places: Vec<(Range<usize>, Place)>,
}

impl<T: Real> Flat<T> {
    /// The numbers of parameter `index`.
    pub fn of(&self, index: usize) -> &[T] {
        &self.numbers[self.places[index].0.clone()]
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, index: usize) -> &mut [T] {
        &mut self.numbers[self.places[index].0.clone()]
    }

    fn weight(&self, index: usize) -> View<'_, T> {
        let (range, place) = &self.places[index];
        View::new(&self.numbers[range.clone()], place.rows, place.columns)
    }
}

impl<T: Real> Fused<T> {
    /// Rounds what goes into products, of linears, head, attention and their gradients, to bf16, and multiplies it with `kernel`. All
    /// else stays as it is.
    pub fn in_bf16(kernel: Kernel) -> Self {
        Self {
            pool: Pool::default(),
            products: RefCell::new(Products::new(Some(kernel))),
        }
    }

    /// `c = a b`, or `c += a b` with `add`, of weights and what meets them; rows of `c` are `stride` apart.
    fn product(&self, a: View<'_, T>, b: View<'_, T>, c: &mut [T], stride: usize, add: bool) {
        let mut products = self.products.borrow_mut();
        products.form(a, b, c, stride, add, On::AllThreads);
    }

    /// How numbers of bf16 are multiplied, if they are.
    fn kernel(&self) -> Option<Kernel> {
        self.products.borrow().kernel()
    }

    fn linear_into(&self, x: &[T], store: &Flat<T>, weight: usize, y: &mut [T], add: bool) {
        let weight = store.weight(weight);
        let (outputs, inputs) = weight.shape();
        let rows = x.len() / inputs;
        let x = View::new(x, rows, inputs);
        self.product(x, weight.transposed(), y, outputs, add);
    }

    fn input_into(&self, dy: &[T], store: &Flat<T>, weight: usize, dx: &mut [T], add: bool) {
        let weight = store.weight(weight);
        let (outputs, inputs) = weight.shape();
        let dy = View::new(dy, dy.len() / outputs, outputs);
        self.product(dy, weight, dx, inputs, add);
    }
}

impl<T: Real> Backend for Fused<T> {
    type Buffer = Slab<T>;
    type Store = Flat<T>;
    type Table = Table<T>;

    fn store(&self, places: &[Place]) -> Result<Flat<T>> {
        let places = one_after_the_other(places);
        let end = places.last().map_or(0, |(range, _)| range.end);
        Ok(Flat {
            numbers: Pages::zeroed(end),
            places,
        })
    }

    fn clear(&self, store: &mut Flat<T>) -> Result<()> {
        let chunks = store.numbers.par_chunks_mut(CHUNK);
        chunks.for_each(|chunk| chunk.fill(T::ZERO));
        Ok(())
    }

    fn write(&self, store: &mut Flat<T>, index: usize, numbers: &[f32]) -> Result<()> {
        let place = store.of_mut(index);
        if place.len() != numbers.len() {
            return Err(misfit("writing a parameter"));
        }
        for (x, &number) in place.iter_mut().zip(numbers) {
            *x = T::of(f64::from(number));
        }
        Ok(())
    }

    fn read(&self, store: &Flat<T>, index: usize) -> Result<Vec<f32>> {
        Ok(singles(store.of(index)))
    }

    fn squares(&self, store: &Flat<T>) -> Result<f64> {
        let all = 0..store.places.len();
        all.map(|index| self.squares_of(store, index)).sum()
    }

    fn squares_of(&self, store: &Flat<T>, index: usize) -> Result<f64> {
        // Doubles within a chunk too: a hundred million squares are added up.
        let of_chunk = |chunk: &[T]| {
            vectorized(
                #[inline(always)]
                || {
                    let mut lanes = [0.0_f64; 8];
                    let (blocks, rest) = chunk.as_chunks::<8>();
                    for block in blocks {
                        for (lane, &x) in lanes.iter_mut().zip(block) {
                            *lane += x.wide() * x.wide();
                        }
                    }
                    let rest: f64 = rest.iter().map(|&x| x.wide() * x.wide()).sum();
                    lanes.iter().sum::<f64>() + rest
                },
            )
        };
        let sums: Vec<f64> = store.of(index).par_chunks(CHUNK).map(of_chunk).collect();
        Ok(sums.iter().sum())
    }

    fn add(&self, sum: &mut Flat<T>, other: &Flat<T>, index: usize) -> Result<()> {
        let other = other.of(index).par_chunks(CHUNK);
        let chunks = sum.of_mut(index).par_chunks_mut(CHUNK).zip(other);
        chunks.for_each(|(sum, other)| {
            for (sum, &x) in sum.iter_mut().zip(other) {
                *sum += x;
            }
        });
        Ok(())
    }

    fn outgrown(
        &self,
        rule: Rule,
        gradients: &Flat<T>,
        factor: f64,
        second: &Flat<T>,
        index: usize,
    ) -> Result<f64> {
        let growth = Growth::of(rule, factor)?;
        let of_chunk = |(gradients, second): (&[T], &[T])| -> f64 {
            vectorized(
                #[inline(always)]
                || {
                    let parts = gradients.iter().zip(second);
                    parts.map(|(&g, &v)| growth.part(g.wide(), v.wide())).sum()
                },
            )
        };
        let (gradients, second) = (gradients.of(index), second.of(index));
        let chunks = (gradients.par_chunks(CHUNK)).zip(second.par_chunks(CHUNK));
        // Chunk by chunk, so that the sum does not depend on the threads.
        let sums: Vec<f64> = chunks.map(of_chunk).collect();
        Ok(sums.iter().sum::<f64>() / gradients.len().max(1) as f64)
    }

    fn update(
        &self,
        rule: Rule,
        parameters: &mut Flat<T>,
        gradients: &Flat<T>,
        factor: f64,
        moments: &mut [Flat<T>],
        index: usize,
    ) -> Result<()> {
        let factor = T::of(factor);
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
                let [new1, new2] = [beta1, beta2].map(|beta| T::of(1.0 - beta));
                let [keep, rate, beta1, beta2, root, epsilon] =
                    [keep, rate, beta1, beta2, root, epsilon].map(T::of);
                let first = first.of_mut(index).par_chunks_mut(CHUNK);
                let second = second.of_mut(index).par_chunks_mut(CHUNK);
                let values = parameters.of_mut(index).par_chunks_mut(CHUNK);
                values
                    .zip(gradients.of(index).par_chunks(CHUNK))
                    .zip(first.zip(second))
                    .for_each(|((p, g), (m, v))| {
                        vectorized(
                            #[inline(always)]
                            || {
                                for (((p, &g), m), v) in p.iter_mut().zip(g).zip(m).zip(v) {
                                    let g = g * factor;
                                    *m = beta1 * *m + new1 * g;
                                    *v = beta2 * *v + new2 * g * g;
                                    *p = *p * keep - rate * *m / (v.sqrt() * root + epsilon);
                                }
                            },
                        );
                    });
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
                let [new1, new2] = [beta1, beta2].map(|beta| T::of(1.0 - beta));
                let [keep, rate, beta1, beta2] = [keep, rate, beta1, beta2].map(T::of);
                let moment = moment.of_mut(index).par_chunks_mut(CHUNK);
                let values = parameters.of_mut(index).par_chunks_mut(CHUNK);
                let gradients = gradients.of(index).par_chunks(CHUNK);
                values.zip(gradients).zip(moment).for_each(|((p, g), m)| {
                    vectorized(
                        #[inline(always)]
                        || {
                            for ((p, &g), m) in p.iter_mut().zip(g).zip(m) {
                                let g = g * factor;
                                let step = beta1 * *m + new1 * g;
                                let step = if step > T::ZERO {
                                    rate
                                } else if step < T::ZERO {
                                    -rate
                                } else {
                                    T::ZERO
                                };
                                *p = *p * keep - step;
                                *m = beta2 * *m + new2 * g;
                            }
                        },
                    );
                });
            }
            (
                Rule::Muon {
                    keep,
                    rate,
                    momentum,
                },
                [moment, ..],
            ) => {
                let place = parameters.places[index].1;
                let (gradients, moment) = (gradients.of(index), moment.of_mut(index));
                let [keep, rate, momentum] = [keep, rate, momentum].map(T::of);
                let rule = muon::Muon {
                    keep,
                    rate,
                    momentum,
                    factor,
                };
                rule.update(
                    &self.pool,
                    place,
                    parameters.of_mut(index),
                    gradients,
                    moment,
                );
            }
            _ => return Err(misfit("a step of the optimizer")),
        }
        Ok(())
    }

    fn average(
        &self,
        keep: f64,
        parameters: &Flat<T>,
        average: &mut Flat<T>,
        index: usize,
    ) -> Result<()> {
        let new = T::of(1.0 - keep);
        let parameters = parameters.of(index).par_chunks(CHUNK);
        let averages = average.of_mut(index).par_chunks_mut(CHUNK);
        averages.zip(parameters).for_each(|(a, p)| {
            vectorized(
                #[inline(always)]
                || {
                    for (a, &p) in a.iter_mut().zip(p) {
                        *a += new * (p - *a);
                    }
                },
            );
        });
        Ok(())
    }

    fn table(&self, table: &RotaryTable) -> Result<Table<T>> {
        let numbers = |values: &[f64]| values.iter().map(|&value| T::of(value)).collect();
        Ok(Table {
            cos: numbers(&table.cos),
            sin: numbers(&table.sin),
            half: table.half,
        })
    }

    fn numbers(&self, buffer: &Slab<T>) -> Result<Vec<f64>> {
        Ok(buffer.iter().map(|&x| x.wide()).collect())
    }

    fn copy(&self, buffer: &Slab<T>) -> Result<Slab<T>> {
        let mut copy = self.pool.take(buffer.len());
        copy.copy_from_slice(buffer);
        Ok(copy)
    }

    fn zeros(&self, rows: usize, width: usize) -> Result<Slab<T>> {
        Ok(self.pool.zeros(rows * width))
    }

    fn rows(&self, buffer: &Slab<T>, width: usize, start: usize, end: usize) -> Result<Slab<T>> {
        let rows = buffer.get(start * width..end * width);
        let rows = rows.ok_or_else(|| misfit("taking rows"))?;
        let mut copy = self.pool.take(rows.len());
        copy.copy_from_slice(rows);
        Ok(copy)
    }

    fn join(&self, parts: &[(&Slab<T>, Range<usize>)], width: usize) -> Result<Slab<T>> {
        let rows: usize = parts.iter().map(|(_, rows)| rows.len()).sum();
        let mut joined = self.pool.take(rows * width);
        let mut rest = &mut joined[..];
        for (buffer, rows) in parts {
            let numbers = buffer.get(rows.start * width..rows.end * width);
            let numbers = numbers.ok_or_else(|| misfit("joining rows"))?;
            let (here, after) = rest.split_at_mut(numbers.len());
            here.copy_from_slice(numbers);
            rest = after;
        }
        Ok(joined)
    }

    fn add_rows(
        &self,
        sum: &mut Slab<T>,
        other: &Slab<T>,
        width: usize,
        rows: usize,
    ) -> Result<()> {
        let (sum, other) = (sum.get_mut(..rows * width), other.get(..rows * width));
        let (Some(sum), Some(other)) = (sum, other) else {
            return Err(misfit("adding rows"));
        };
        for (sum, &other) in sum.iter_mut().zip(other) {
            *sum += other;
        }
        Ok(())
    }

    fn embed(&self, store: &Flat<T>, embedding: usize, ids: &[u32]) -> Result<Slab<T>> {
        let (vocabulary, width) = store.weight(embedding).shape();
        check_ids(ids, vocabulary)?;
        let table = store.of(embedding);
        let mut x = self.pool.take(ids.len() * width);
        x.par_chunks_exact_mut(width)
            .zip(ids)
            .with_min_len(64)
            .for_each(|(row, &id)| {
                let at = id as usize * width;
                row.copy_from_slice(&table[at..at + width]);
            });
        Ok(x)
    }

    fn embed_backward(
        &self,
        ids: &[u32],
        dx: &Slab<T>,
        gradients: &mut Flat<T>,
        embedding: usize,
    ) -> Result<()> {
        let (vocabulary, width) = gradients.weight(embedding).shape();
        check_ids(ids, vocabulary)?;
        let table = gradients.of_mut(embedding);
        for (row, &id) in dx.chunks_exact(width).zip(ids) {
            let at = id as usize * width;
            for (sum, &x) in table[at..at + width].iter_mut().zip(row) {
                *sum += x;
            }
        }
        Ok(())
    }

    fn norm(&self, norm: Norm, x: &Slab<T>, store: &Flat<T>, gain: usize) -> Result<Slab<T>> {
        let mut y = self.pool.take(x.len());
        rows::norm(norm, x, store.of(gain), &mut y);
        Ok(y)
    }

    fn norm_backward(
        &self,
        norm: Norm,
        x: &Slab<T>,
        store: &Flat<T>,
        gain: usize,
        dy: &Slab<T>,
        dx: &mut Slab<T>,
        gradients: &mut Flat<T>,
    ) -> Result<()> {
        rows::norm_backward(norm, x, store.of(gain), dy, dx, gradients.of_mut(gain));
        Ok(())
    }

    fn linear(&self, x: &Slab<T>, store: &Flat<T>, weight: usize) -> Result<Slab<T>> {
        let (outputs, inputs) = store.weight(weight).shape();
        let mut y = self.pool.take(x.len() / inputs * outputs);
        self.linear_into(x, store, weight, &mut y, false);
        Ok(y)
    }

    fn add_linear(
        &self,
        x: &Slab<T>,
        store: &Flat<T>,
        weight: usize,
        y: &mut Slab<T>,
    ) -> Result<()> {
        self.linear_into(x, store, weight, y, true);
        Ok(())
    }

    fn linear_input(&self, dy: &Slab<T>, store: &Flat<T>, weight: usize) -> Result<Slab<T>> {
        let (outputs, inputs) = store.weight(weight).shape();
        let mut dx = self.pool.take(dy.len() / outputs * inputs);
        self.input_into(dy, store, weight, &mut dx, false);
        Ok(dx)
    }

    fn add_linear_input(
        &self,
        dy: &Slab<T>,
        store: &Flat<T>,
        weight: usize,
        dx: &mut Slab<T>,
    ) -> Result<()> {
        self.input_into(dy, store, weight, dx, true);
        Ok(())
    }

    fn linear_weight(
        &self,
        dy: &Slab<T>,
        x: &Slab<T>,
        gradients: &mut Flat<T>,
        weight: usize,
    ) -> Result<()> {
        let (outputs, inputs) = gradients.weight(weight).shape();
        let dy = View::new(dy, dy.len() / outputs, outputs);
        let x = View::new(x, x.len() / inputs, inputs);
        let gradient = gradients.of_mut(weight);
        self.product(dy.transposed(), x, gradient, inputs, true);
        Ok(())
    }

    fn rotate(&self, x: &mut Slab<T>, table: &Table<T>, heads: usize, inverse: bool) -> Result<()> {
        rows::rotate(x, table, heads, inverse);
        Ok(())
    }

    fn activate(&self, activation: Activation, x: &Slab<T>, width: usize) -> Result<Slab<T>> {
        let mut y = self.pool.take(x.len() / activation.inputs());
        match activation {
            Activation::Swiglu => rows::swiglu(x, &mut y, width),
            Activation::Gelu => rows::gelu(x, &mut y),
        }
        Ok(y)
    }

    fn activate_backward(
        &self,
        activation: Activation,
        mut x: Slab<T>,
        dy: &Slab<T>,
        width: usize,
    ) -> Result<Slab<T>> {
        match activation {
            Activation::Swiglu => rows::swiglu_backward(&mut x, dy, width),
            Activation::Gelu => rows::gelu_backward(&mut x, dy),
        }
        Ok(x)
    }

    fn attend(
        &self,
        q: &Slab<T>,
        k: &Slab<T>,
        v: &Slab<T>,
        attention: &Attention,
    ) -> Result<(Slab<T>, Slab<T>)> {
        let rows = fitting(q, k, v, attention)?;
        let sizes = Sizes::new(attention, rows, self.kernel());
        let mut o = self.pool.take(q.len());
        let mut sums = self.pool.take(rows * attention.heads.queries);
        attention::forward(&sizes, q, k, v, &mut o, &mut sums);
        Ok((o, sums))
    }

    fn attend_backward(
        &self,
        q: &Slab<T>,
        k: &Slab<T>,
        v: &Slab<T>,
        o: &Slab<T>,
        sums: &Slab<T>,
        dout: &Slab<T>,
        attention: &Attention,
    ) -> Result<(Slab<T>, Slab<T>, Slab<T>)> {
        let rows = fitting(q, k, v, attention)?;
        let sizes = Sizes::new(attention, rows, self.kernel());
        let mut dq = self.pool.take(q.len());
        let (mut dk, mut dv) = (self.pool.take(k.len()), self.pool.take(v.len()));
        let saved = Saved {
            q,
            k,
            v,
            o,
            sums,
            dout,
        };
        attention::backward(&sizes, &saved, &mut dq, &mut dk, &mut dv);
        Ok((dq, dk, dv))
    }

    fn loss(
        &self,
        x: &Slab<T>,
        store: &Flat<T>,
        head: usize,
        targets: Targets<'_>,
        options: LossOptions,
        gradients: Option<&mut Flat<T>>,
    ) -> Result<(Losses, Option<Slab<T>>)> {
        let (vocabulary, width) = store.weight(head).shape();
        check_ids(targets.ids, vocabulary)?;
        let rows = targets.ids.len();
        if targets.trained.len() != rows || x.len() != rows * width {
            return Err(misfit("the loss"));
        }
        let weight = store.weight(head);
        Ok(match gradients {
            None => (loss::loss(self, x, weight, targets, options, None), None),
            Some(gradients) => {
                let mut dx = self.pool.take(x.len());
                let both = loss::Gradients {
                    x: &mut dx,
                    head: gradients.of_mut(head),
                };
                let losses = loss::loss(self, x, weight, targets, options, Some(both));
                (losses, Some(dx))
            }
        })
    }
}

/// Ranges of `size` that make up `count`, the last of them with what is left.
fn blocks(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count)
        .step_by(size)
        .map(move |first| first..count.min(first + size))
}

/// The rows of an attention whose inputs fit each other.
fn fitting<T>(q: &Slab<T>, k: &Slab<T>, v: &Slab<T>, attention: &Attention) -> Result<usize> {
    let heads = attention.heads;
    let rows = q.len() / (heads.queries * heads.size).max(1);
    let keys = rows * heads.keys * heads.size;
    let whole = attention.positions > 0 && rows.is_multiple_of(attention.positions);
    let shared = heads.keys > 0 && heads.queries.is_multiple_of(heads.keys);
    let starts = attention
        .starts
        .as_ref()
        .is_none_or(|starts| starts.len() == rows);
    let slopes = attention
        .slopes
        .as_ref()
        .is_none_or(|slopes| slopes.len() == heads.queries);
    if whole && shared && starts && slopes && k.len() == keys && v.len() == keys {
        Ok(rows)
    } else {
        Err(misfit("attention"))
    }
}

/// Every id is a row of the embedding.
pub(super) fn check_ids(ids: &[u32], vocabulary: usize) -> Result<()> {
    match ids.iter().find(|&&id| id as usize >= vocabulary) {
        None => Ok(()),
        Some(id) => Err(Error::Usage(format!(
            "token {id} is outside the vocabulary of {vocabulary}: use the build and tokenizer that the model was made for"
        ))),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what leaves the kernels is in single precision"
)]
fn singles<T: Real>(numbers: &[T]) -> Vec<f32> {
    numbers.iter().map(|&x| x.wide() as f32).collect()
}
