//! The next token without the earlier ones going through the model again: their keys and values are kept (Shazeer, "Fast Transformer
//! Decoding", 2019).
//!
//! The cache is in the memory of the host, and attention of the one new query is computed there: it is a small part of a step, whose
//! time goes into reading the weights, and so every [`Backend`] has it by the operations that training needs.
//! That attention is in single precision, also where training rounds what it multiplies to bf16.

use rayon::prelude::*;

use super::{Model, Pass, Projected, Sequences, Wanted};
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Positions};
use crate::ops::{Attention, Backend, Place};

/// Sums that are added up side by side in a dot product.
const LANES: usize = 16;

/// Keys and values, (positions, G n) each, of a layer.
#[derive(Debug, Clone, Default)]
struct Layer {
    keys: Vec<f32>,
    values: Vec<f32>,
}

/// The keys and values of the tokens of one sequence, of at most so many.
#[derive(Debug)]
pub struct Cache<B: Backend> {
    capacity: usize,
    ids: Vec<u32>,
    layers: Vec<Layer>,
    /// Rows of H n, by the first of which what is attended to goes to the device. Two, as a single one would be a gain.
    rows: B::Store,
    slopes: Option<Vec<f64>>,
}

impl<B: Backend> Cache<B> {
    /// Tokens whose keys and values it has.
    pub const fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Keeps those of the first `tokens` tokens: what goes on from them otherwise need not put them through the model again.
    pub fn shorten(&mut self, tokens: usize) {
        let known = self.ids.len();
        if tokens >= known {
            return;
        }
        for layer in &mut self.layers {
            for rows in [&mut layer.keys, &mut layer.values] {
                rows.truncate(rows.len() / known * tokens);
            }
        }
        self.ids.truncate(tokens);
    }
}

impl<B: Backend> Model<B> {
    /// An empty cache for contexts of `capacity` tokens, at least one.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn cache(&self, capacity: usize) -> Result<Cache<B>> {
        let config = &self.config;
        let columns = config.heads * config.head_size;
        Ok(Cache {
            capacity: capacity.max(1),
            ids: Vec::new(),
            layers: vec![Layer::default(); config.layers],
            rows: self.backend.store(&[Place { rows: 2, columns }])?,
            slopes: (config.positions == Positions::Alibi).then(|| Attention::alibi(config.heads)),
        })
    }

    /// The logits of what follows `ids`, of which at most the cache's capacity are looked back at: those of
    /// [`Model::last_logits`] but for rounding. Where `ids` go on from what the cache has, only those after go through the model;
    /// otherwise, as when the context is full and slides, all of them do and the cache is made anew: in each layer a key has taken
    /// up what its token saw, so that nothing can be kept once the first token is gone.
    ///
    /// # Errors
    /// There are no `ids`, one is outside the vocabulary, or the device failed.
    pub fn next_logits(&self, cache: &mut Cache<B>, ids: &[u32]) -> Result<Vec<f64>> {
        let window = &ids[ids.len().saturating_sub(cache.capacity)..];
        let Some((_, earlier)) = window.split_last() else {
            return Err(Error::Usage(
                "nothing to go on from: give at least one token".to_owned(),
            ));
        };
        let begun = !cache.ids.is_empty() && earlier.starts_with(&cache.ids);
        let advanced = if begun {
            self.advance(cache, &window[cache.ids.len()..])
        } else {
            self.fill(cache, window)
        };
        if advanced.is_err() {
            // Some layers may be ahead of others.
            cache.ids.clear();
        }
        self.logits(&advanced?)
    }

    /// Puts all of `window` through the model: the normalized hidden state of its last token.
    fn fill(&self, cache: &mut Cache<B>, window: &[u32]) -> Result<B::Buffer> {
        let (backend, config) = (&self.backend, &self.config);
        // The scale of xPos is about the middle of the whole context, here and in each step after.
        let length = self.stretch(0, window.len(), cache.capacity)?;
        let sequences = Sequences {
            ids: window,
            starts: None,
        };
        let pass: Pass<'_, B> = Self::pass(&length, &sequences);
        let mut x = backend.embed(&self.parameters, ModelConfig::EMBEDDING, window)?;
        for (layer, kept) in cache.layers.iter_mut().enumerate() {
            let (y, of_block) = self.block(layer, &x, &pass)?;
            kept.keys = singles(&backend.numbers(&of_block.k)?);
            kept.values = singles(&backend.numbers(&of_block.v)?);
            x = y.unwrap_or(x);
        }
        window.clone_into(&mut cache.ids);
        let last = backend.rows(&x, config.width, window.len() - 1, window.len())?;
        backend.norm(config.norm, &last, &self.parameters, config.last_norm())
    }

    /// Puts more tokens through the model: the normalized hidden state of the last.
    fn advance(&self, cache: &mut Cache<B>, ids: &[u32]) -> Result<B::Buffer> {
        let (backend, config) = (&self.backend, &self.config);
        let (known, rows) = (cache.ids.len(), ids.len());
        let length = self.stretch(known, rows, cache.capacity)?;
        let columns = config.heads * config.head_size;
        let mut several = match rows {
            1 => None,
            rows => Some(backend.store(&[Place { rows, columns }])?),
        };
        let order: Vec<u32> = (0..).take(rows).collect();
        let mut x = backend.embed(&self.parameters, ModelConfig::EMBEDDING, ids)?;
        for (layer, kept) in cache.layers.iter_mut().enumerate() {
            let at = config.indices(layer);
            let Projected { h, q, k, v } = self.project(&at, &x, &length)?;
            kept.keys.extend(singles(&backend.numbers(&k)?));
            kept.values.extend(singles(&backend.numbers(&v)?));
            let q = singles(&backend.numbers(&q)?);
            let mut o = Vec::with_capacity(2 * columns);
            for (row, q) in q.chunks_exact(columns).enumerate() {
                let seen = kept.first(config, known + row + 1);
                o.extend(attend_last(config, q, seen, cache.slopes.as_deref()));
            }
            let store = several.as_mut().unwrap_or(&mut cache.rows);
            if rows == 1 {
                o.resize(2 * columns, 0.0);
            }
            backend.write(store, 0, &o)?;
            let o = backend.embed(store, 0, &order)?;
            x = self.go_on(&at, &x, h, &o, Wanted::Output)?.y.unwrap_or(x);
        }
        cache.ids.extend_from_slice(ids);
        let last = backend.rows(&x, config.width, rows - 1, rows)?;
        backend.norm(config.norm, &last, &self.parameters, config.last_norm())
    }
}

/// Keys and values of a beginning, (positions, G n) each.
#[derive(Clone, Copy)]
struct Seen<'a> {
    keys: &'a [f32],
    values: &'a [f32],
}

impl Layer {
    /// Those of the first `positions`.
    fn first(&self, config: &ModelConfig, positions: usize) -> Seen<'_> {
        let end = positions * config.key_heads * config.head_size;
        Seen {
            keys: &self.keys[..end],
            values: &self.values[..end],
        }
    }
}

/// Attention of the query `q` (H n) of the last of the positions that are seen.
fn attend_last(
    config: &ModelConfig,
    q: &[f32],
    kept: Seen<'_>,
    slopes: Option<&[f64]>,
) -> Vec<f32> {
    let size = config.head_size;
    let width = config.key_heads * size;
    let positions = kept.keys.len() / width;
    let scale = (size as f64).powf(-0.5);
    let mut o = vec![0.0; q.len()];
    let heads = o.par_chunks_exact_mut(size).zip(q.par_chunks_exact(size));
    heads.enumerate().for_each(|(head, (o, q))| {
        let first = head / (config.heads / config.key_heads) * size;
        let slope = slopes.map_or(0.0, |slopes| slopes[head]);
        let of_head = first..first + size;
        let score = |(position, key): (usize, &[f32])| {
            let distance = (positions - 1 - position) as f64;
            f64::from(dot(q, &key[of_head.clone()])) * scale - slope * distance
        };
        let rows = kept.keys.chunks_exact(width).enumerate();
        let scores: Vec<f64> = rows.map(score).collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weights: Vec<f64> = scores.iter().map(|score| (score - largest).exp()).collect();
        let weights = singles(&weights);
        let total: f32 = weights.iter().sum();
        for (weight, value) in weights.iter().zip(kept.values.chunks_exact(width)) {
            for (sum, x) in o.iter_mut().zip(&value[of_head.clone()]) {
                *sum += weight * x;
            }
        }
        for sum in o {
            *sum /= total;
        }
    });
    o
}

/// The dot product, in lanes that the compiler makes vectors of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "backends compute in single precision"
)]
fn singles(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&number| number as f32).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::model::tests::{all, lively};
    use crate::ops::{Fused, Portable};

    const IDS: [u32; 26] = [
        3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 6, 2, 6, 4, 3, 3,
    ];
    /// Of the largest logit; single precision has a step of 6e-8, and sums are in another order.
    const TOLERANCE: f64 = 2e-5;

    fn full<B: Backend>(model: &Model<B>, ids: &[u32]) -> Vec<f64> {
        let length = model.length(ids.len()).unwrap();
        model
            .last_logits(Sequences { ids, starts: None }, &length)
            .unwrap()
    }

    fn difference(left: &[f64], right: &[f64]) -> f64 {
        let largest = right.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let apart = left.iter().zip(right).map(|(a, b)| (a - b).abs());
        apart.fold(0.0, f64::max) / largest
    }

    /// Tokens that come together give what they give one by one.
    fn stretches_are_the_full_forward<B: Backend>(backend: impl Fn() -> B) {
        for config in all() {
            let model = lively(config, backend());
            let mut cache = model.cache(30).unwrap();
            for end in [3, 9, 10, 17, 26] {
                let logits = model.next_logits(&mut cache, &IDS[..end]).unwrap();
                let apart = difference(&logits, &full(&model, &IDS[..end]));
                assert!(apart < TOLERANCE, "{apart} apart at {end} of {config:?}");
                assert_eq!(cache.len(), end);
            }
            // Back to the first twelve, and on from them by other tokens.
            cache.shorten(12);
            assert_eq!(cache.len(), 12);
            let mut ids = IDS[..20].to_vec();
            ids[12..].reverse();
            let logits = model.next_logits(&mut cache, &ids).unwrap();
            let apart = difference(&logits, &full(&model, &ids));
            assert!(
                apart < TOLERANCE,
                "{apart} apart after shortening, {config:?}"
            );
            cache.shorten(0);
            assert!(cache.is_empty());
        }
    }

    #[test]
    fn stretches_are_the_full_forward_on_fused_kernels() {
        stretches_are_the_full_forward(Fused::<f32>::default);
    }

    #[test]
    fn stretches_are_the_full_forward_on_candle() {
        stretches_are_the_full_forward(|| Portable::new(Device::Cpu, DType::F32));
    }

    /// From a prompt of three over a whole context of 17, and on as it slides.
    fn steps_are_the_full_forward<B: Backend>(backend: impl Fn() -> B) {
        const CONTEXT: usize = 17;
        for config in all() {
            let model = lively(config, backend());
            let mut cache = model.cache(CONTEXT).unwrap();
            for end in 3..=IDS.len() {
                let ids = &IDS[..end];
                let logits = model.next_logits(&mut cache, ids).unwrap();
                let whole = full(&model, &ids[end.saturating_sub(CONTEXT)..]);
                let apart = difference(&logits, &whole);
                assert!(
                    apart < TOLERANCE,
                    "{apart} apart after {end} tokens of {config:?}"
                );
                assert_eq!(cache.len(), end.min(CONTEXT));
            }
        }
    }

    #[test]
    fn steps_are_the_full_forward_on_fused_kernels() {
        steps_are_the_full_forward(Fused::<f32>::default);
    }

    #[test]
    fn steps_are_the_full_forward_on_candle() {
        steps_are_the_full_forward(|| Portable::new(Device::Cpu, DType::F32));
    }

    #[test]
    fn what_is_kept_is_used_for_its_own_tokens_only() {
        for config in all() {
            let model = lively(config, Fused::<f32>::default());
            let mut cache = model.cache(20).unwrap();
            model.next_logits(&mut cache, &IDS[..9]).unwrap();
            // With other values kept, a step gives something else.
            cache.layers[0].values.fill(0.0);
            let stepped = model.next_logits(&mut cache, &IDS[..10]).unwrap();
            assert!(difference(&stepped, &full(&model, &IDS[..10])) > 1e-3);
            let stretch = model.next_logits(&mut cache, &IDS[..14]).unwrap();
            assert!(difference(&stretch, &full(&model, &IDS[..14])) > 1e-3);
            // Another beginning is not that of the cache.
            let other = &IDS[4..15];
            let refilled = model.next_logits(&mut cache, other).unwrap();
            assert!(difference(&refilled, &full(&model, other)) < TOLERANCE);
            // After an error nothing is taken for known.
            let wrong = [other, &[99]].concat();
            assert!(model.next_logits(&mut cache, &wrong).is_err() && cache.is_empty());
            assert!(model.next_logits(&mut cache, &[]).is_err());
        }
    }
}
