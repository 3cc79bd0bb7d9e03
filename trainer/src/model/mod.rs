//! The decoder, forward and backward, block by block.
//!
//! The principal type is [`Model`]: parameters on a [`Backend`], and a pass over them. Nothing records a graph: a block keeps what
//! its backward needs, or with [`Keep::Inputs`] only what went into it, from which the rest is computed again (Chen et al.,
//! "Training Deep Nets with Sublinear Memory Cost", 2016). Shapes in comments: B sequences of T tokens, d width, H heads of n, G
//! heads of keys, f numbers between the maps of the feed-forward part, V vocabulary; the rows of a buffer are B T.

pub mod cache;
pub mod config;
pub mod fork;
pub mod likelihood;
pub mod presets;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::ops::{Attention, Backend, LossOptions, Losses, RotaryTable, Targets, XPos};
use crate::random::Stream;

pub use cache::Cache;
use fork::Fork;

pub use config::{Block, Initial, LayerIndices, ModelConfig, ParameterShape, Positions, Role};
pub use presets::{Family, PRESETS, Preset};

/// Deviation of the initial embedding of [`Initial::Uniform`].
const EMBEDDING_DEVIATION: f64 = 0.02;

/// What a forward pass keeps for the backward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// What each operation's backward needs.
    All,
    /// What went into each block, and what its attention gave, which takes long to compute again for its size.
    Inputs,
}

/// Sequences that go through the model at once.
#[derive(Debug, Clone, Copy)]
pub struct Sequences<'a> {
    /// Token ids, (B T).
    pub ids: &'a [u32],
    /// For each token the position at which its document begins in its sequence, if attention stays within documents.
    pub starts: Option<&'a [u32]>,
}

/// What a length of sequences needs, made once.
#[derive(Debug)]
pub struct Length<B: Backend> {
    attention: Attention,
    tables: Option<(B::Table, B::Table)>,
}

impl<B: Backend> Length<B> {
    /// T.
    pub const fn positions(&self) -> usize {
        self.attention.positions
    }
}

/// What a block keeps.
struct Kept<B: Backend> {
    q: B::Buffer,
    k: B::Buffer,
    v: B::Buffer,
    o: B::Buffer,
    sums: B::Buffer,
    /// What goes into the activation.
    up: B::Buffer,
    /// What stands between the parts of a sequential block.
    middle: Option<B::Buffer>,
}

/// What is kept of a block until its backward.
enum Held<B: Backend> {
    All(Kept<B>),
    Attended { o: B::Buffer, sums: B::Buffer },
}

/// What went into each block and what it keeps, and what came out of the last.
struct Passed<B: Backend> {
    inputs: Vec<(B::Buffer, Held<B>)>,
    x: B::Buffer,
}

/// What attention is given, and the norm of what went into the block.
struct Projected<B: Backend> {
    h: B::Buffer,
    q: B::Buffer,
    k: B::Buffer,
    v: B::Buffer,
}

/// What follows attention.
struct Continued<B: Backend> {
    y: Option<B::Buffer>,
    up: B::Buffer,
    middle: Option<B::Buffer>,
}

/// One pass over sequences.
struct Pass<'a, B: Backend> {
    length: &'a Length<B>,
    attention: Attention,
    /// Where the rows are two continuations of one beginning.
    fork: Option<&'a Fork>,
}

/// What is wanted of a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// What comes out, too.
    Output,
    /// Only what its backward needs.
    Kept,
}

/// Parameters and the passes over them.
#[derive(Debug)]
pub struct Model<B: Backend> {
    /// The sizes.
    pub config: ModelConfig,
    /// Name, role and shape of each parameter.
    pub shapes: Vec<ParameterShape>,
    /// The parameters, in the order of `shapes`.
    pub parameters: B::Store,
    /// Where it is.
    pub backend: B,
}

impl<B: Backend> Model<B> {
    /// A model with random values that depend on `seed` and the parameters' names only.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn new(config: ModelConfig, seed: u64, backend: B) -> Result<Self> {
        let mut model = Self::zeros(config, backend)?;
        for (index, of) in model.shapes.iter().enumerate() {
            let values = initial_values(&config, of, seed);
            model.backend.write(&mut model.parameters, index, &values)?;
        }
        Ok(model)
    }

    /// A model whose parameters are still to be written.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn zeros(config: ModelConfig, backend: B) -> Result<Self> {
        let shapes = config.shapes();
        let places: Vec<_> = shapes.iter().map(ParameterShape::place).collect();
        let parameters = backend.store(&places)?;
        Ok(Self {
            config,
            shapes,
            parameters,
            backend,
        })
    }

    /// Zeros in the shape of the parameters: gradients or moments.
    ///
    /// # Errors
    /// The device has not the memory.
    pub fn store(&self) -> Result<B::Store> {
        let places: Vec<_> = self.shapes.iter().map(ParameterShape::place).collect();
        self.backend.store(&places)
    }

    /// What sequences of `positions` tokens need.
    ///
    /// # Errors
    /// The device failed.
    pub fn length(&self, positions: usize) -> Result<Length<B>> {
        self.stretch(0, positions, positions)
    }

    /// What rows at these positions need in sequences of `whole`.
    fn at_positions(
        &self,
        at: impl IntoIterator<Item = usize> + Clone,
        whole: usize,
    ) -> Result<Length<B>> {
        let config = &self.config;
        let (slopes, tables) = match config.positions {
            Positions::Alibi => (Some(Attention::alibi(config.heads)), None),
            rotary => {
                let [of_queries, of_keys] = match rotary {
                    Positions::Xpos => [XPos::Query, XPos::Key],
                    _ => [XPos::Off; 2],
                };
                let table = |xpos| {
                    let table = RotaryTable::at(at.clone(), whole, config.head_size, xpos);
                    self.backend.table(&table)
                };
                (None, Some((table(of_queries)?, table(of_keys)?)))
            }
        };
        Ok(Length {
            attention: Attention {
                positions: at.into_iter().count(),
                heads: config.attention_heads(),
                slopes,
                starts: None,
            },
            tables,
        })
    }

    /// What the `positions` tokens from position `first` on need in sequences of `whole`.
    fn stretch(&self, first: usize, positions: usize, whole: usize) -> Result<Length<B>> {
        self.at_positions(first..first + positions, whole)
    }

    /// The block `layer` of `x` (B T, d): what comes out and what it keeps.
    fn block(
        &self,
        layer: usize,
        x: &B::Buffer,
        pass: &Pass<'_, B>,
    ) -> Result<(Option<B::Buffer>, Kept<B>)> {
        let at = self.config.indices(layer);
        let Projected { h, q, k, v } = self.project(&at, x, pass.length)?;
        let (o, sums) = match pass.fork {
            None => self.backend.attend(&q, &k, &v, &pass.attention)?,
            Some(fork) => fork.attend(&self.backend, [&q, &k, &v], &pass.attention)?,
        };
        let Continued { y, up, middle } = self.go_on(&at, x, h, &o, Wanted::Output)?;
        let kept = Kept {
            q,
            k,
            v,
            o,
            sums,
            up,
            middle,
        };
        Ok((y, kept))
    }

    /// What [`Model::block`] keeps, from what its attention gave.
    fn block_again(
        &self,
        layer: usize,
        x: &B::Buffer,
        (o, sums): (B::Buffer, B::Buffer),
        pass: &Pass<'_, B>,
    ) -> Result<Kept<B>> {
        let at = self.config.indices(layer);
        let Projected { h, q, k, v } = self.project(&at, x, pass.length)?;
        let Continued { up, middle, .. } = self.go_on(&at, x, h, &o, Wanted::Kept)?;
        Ok(Kept {
            q,
            k,
            v,
            o,
            sums,
            up,
            middle,
        })
    }

    /// The part of a block before attention.
    fn project(
        &self,
        at: &LayerIndices,
        x: &B::Buffer,
        length: &Length<B>,
    ) -> Result<Projected<B>> {
        let (backend, parameters, config) = (&self.backend, &self.parameters, &self.config);
        let h = backend.norm(config.norm, x, parameters, at.norm)?;
        let mut q = backend.linear(&h, parameters, at.query)?; // (B T, H n)
        let mut k = backend.linear(&h, parameters, at.key)?; // (B T, G n)
        let v = backend.linear(&h, parameters, at.value)?;
        if let Some((of_queries, of_keys)) = &length.tables {
            backend.rotate(&mut q, of_queries, config.heads, false)?;
            backend.rotate(&mut k, of_keys, config.key_heads, false)?;
        }
        Ok(Projected { h, q, k, v })
    }

    /// The part of a block after attention, which gave `o`.
    fn go_on(
        &self,
        at: &LayerIndices,
        x: &B::Buffer,
        h: B::Buffer,
        o: &B::Buffer,
        wanted: Wanted,
    ) -> Result<Continued<B>> {
        let (backend, parameters, config) = (&self.backend, &self.parameters, &self.config);
        let mut y = None;
        if wanted == Wanted::Output || at.second_norm.is_some() {
            let mut sum = backend.copy(x)?;
            backend.add_linear(o, parameters, at.attention_out, &mut sum)?;
            y = Some(sum);
        }
        let (h, middle) = match (at.second_norm, &y) {
            (Some(norm), Some(sum)) => {
                drop(h);
                let h = backend.norm(config.norm, sum, parameters, norm)?;
                (h, Some(backend.copy(sum)?))
            }
            _ => (h, None),
        };
        let up = backend.linear(&h, parameters, at.up)?; // (B T, f or 2 f)
        drop(h);
        if let (Wanted::Output, Some(sum)) = (wanted, &mut y) {
            let a = backend.activate(config.activation, &up, config.feed_forward)?; // (B T, f)
            backend.add_linear(&a, parameters, at.down, sum)?;
        }
        Ok(Continued { y, up, middle })
    }

    /// Backward of [`Model::block`]: from the gradient of what came out to that of `x`, with those of the parameters added.
    fn block_backward(
        &self,
        layer: usize,
        x: &B::Buffer,
        kept: Kept<B>,
        dy: B::Buffer,
        pass: &Pass<'_, B>,
        gradients: &mut B::Store,
    ) -> Result<B::Buffer> {
        let (backend, parameters, config) = (&self.backend, &self.parameters, &self.config);
        let at = config.indices(layer);
        let Kept {
            q,
            k,
            v,
            o,
            sums,
            up,
            middle,
        } = kept;
        // The feed-forward part.
        let a = backend.activate(config.activation, &up, config.feed_forward)?;
        backend.linear_weight(&dy, &a, gradients, at.down)?;
        drop(a);
        let da = backend.linear_input(&dy, parameters, at.down)?;
        let dup = backend.activate_backward(config.activation, up, &da, config.feed_forward)?;
        drop(da);
        // The residual passes its gradient on.
        let mut dx = dy;
        if let (Some(norm), Some(middle)) = (at.second_norm, &middle) {
            let h = backend.norm(config.norm, middle, parameters, norm)?;
            backend.linear_weight(&dup, &h, gradients, at.up)?;
            drop(h);
            let dh = backend.linear_input(&dup, parameters, at.up)?;
            backend.norm_backward(
                config.norm,
                middle,
                parameters,
                norm,
                &dh,
                &mut dx,
                gradients,
            )?;
        }
        drop(middle);
        // The attention part.
        backend.linear_weight(&dx, &o, gradients, at.attention_out)?;
        let dout = backend.linear_input(&dx, parameters, at.attention_out)?;
        let (mut dq, mut dk, dv) = match pass.fork {
            None => backend.attend_backward(&q, &k, &v, &o, &sums, &dout, &pass.attention)?,
            Some(fork) => {
                let given = [&q, &k, &v, &o, &sums, &dout];
                fork.attend_backward(backend, given, &pass.attention)?
            }
        };
        drop((q, k, v, o, sums, dout));
        if let Some((of_queries, of_keys)) = &pass.length.tables {
            backend.rotate(&mut dq, of_queries, config.heads, true)?;
            backend.rotate(&mut dk, of_keys, config.key_heads, true)?;
        }
        let h = backend.norm(config.norm, x, parameters, at.norm)?;
        backend.linear_weight(&dq, &h, gradients, at.query)?;
        backend.linear_weight(&dk, &h, gradients, at.key)?;
        backend.linear_weight(&dv, &h, gradients, at.value)?;
        let mut dh = backend.linear_input(&dq, parameters, at.query)?;
        backend.add_linear_input(&dk, parameters, at.key, &mut dh)?;
        backend.add_linear_input(&dv, parameters, at.value, &mut dh)?;
        drop((dq, dk, dv));
        if at.second_norm.is_none() {
            backend.linear_weight(&dup, &h, gradients, at.up)?;
            backend.add_linear_input(&dup, parameters, at.up, &mut dh)?;
        }
        drop((h, dup));
        backend.norm_backward(config.norm, x, parameters, at.norm, &dh, &mut dx, gradients)?;
        Ok(dx)
    }

    fn pass<'a>(length: &'a Length<B>, sequences: &Sequences<'_>) -> Pass<'a, B> {
        let attention = Attention {
            starts: sequences.starts.map(<[u32]>::to_vec),
            ..length.attention.clone()
        };
        Pass {
            length,
            attention,
            fork: None,
        }
    }

    /// The last hidden states (B T, d), normalized.
    ///
    /// # Errors
    /// A token is outside the vocabulary, or the device failed.
    pub fn hidden(&self, sequences: Sequences<'_>, length: &Length<B>) -> Result<B::Buffer> {
        let pass = Self::pass(length, &sequences);
        let mut x = self
            .backend
            .embed(&self.parameters, ModelConfig::EMBEDDING, sequences.ids)?;
        for layer in 0..self.config.layers {
            let (y, _) = self.block(layer, &x, &pass)?;
            x = y.unwrap_or(x);
        }
        let last = self.config.last_norm();
        self.backend
            .norm(self.config.norm, &x, &self.parameters, last)
    }

    /// The logits of the last token of each sequence.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn last_logits(&self, sequences: Sequences<'_>, length: &Length<B>) -> Result<Vec<f64>> {
        let hidden = self.hidden(sequences, length)?;
        let rows = sequences.ids.len();
        let last = self
            .backend
            .rows(&hidden, self.config.width, rows.saturating_sub(1), rows)?;
        self.logits(&last)
    }

    /// The logits of normalized hidden states.
    fn logits(&self, hidden: &B::Buffer) -> Result<Vec<f64>> {
        let head = ModelConfig::EMBEDDING;
        let logits = self.backend.linear(hidden, &self.parameters, head)?;
        self.backend.numbers(&logits)
    }

    /// The losses of `sequences`, without gradients.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn losses(
        &self,
        sequences: Sequences<'_>,
        targets: Targets<'_>,
        length: &Length<B>,
    ) -> Result<Losses> {
        let hidden = self.hidden(sequences, length)?;
        self.head_losses(&hidden, targets)
    }

    /// The losses of ranges of the targets of `sequences`, each by itself, without gradients.
    ///
    /// # Errors
    /// As [`Model::hidden`], or a range is not within the targets.
    pub fn losses_of(
        &self,
        sequences: Sequences<'_>,
        targets: Targets<'_>,
        length: &Length<B>,
        ranges: &[Range<usize>],
    ) -> Result<Vec<Losses>> {
        let hidden = self.hidden(sequences, length)?;
        let all = targets.ids.len().min(targets.trained.len());
        let of_range = |range: &Range<usize>| {
            if *range == (0..all) {
                return self.head_losses(&hidden, targets);
            }
            let (Some(ids), Some(trained)) = (
                targets.ids.get(range.clone()),
                targets.trained.get(range.clone()),
            ) else {
                return Err(Error::Usage(format!(
                    "targets {range:?} are not among {all}"
                )));
            };
            let width = self.config.width;
            let rows = self.backend.rows(&hidden, width, range.start, range.end)?;
            self.head_losses(&rows, Targets { ids, trained })
        };
        ranges.iter().map(of_range).collect()
    }

    /// The losses of normalized hidden states, without gradients.
    fn head_losses(&self, hidden: &B::Buffer, targets: Targets<'_>) -> Result<Losses> {
        let options = LossOptions::scaled(1.0);
        let head = ModelConfig::EMBEDDING;
        let (losses, _) =
            self.backend
                .loss(hidden, &self.parameters, head, targets, options, None)?;
        Ok(losses)
    }

    /// The losses of `sequences`, and the gradients of their scaled sum added to `gradients`.
    ///
    /// # Errors
    /// As [`Model::hidden`].
    pub fn add_gradients(
        &self,
        sequences: Sequences<'_>,
        targets: Targets<'_>,
        length: &Length<B>,
        options: LossOptions,
        keep: Keep,
        gradients: &mut B::Store,
    ) -> Result<Losses> {
        let (backend, parameters, config) = (&self.backend, &self.parameters, &self.config);
        let pass = Self::pass(length, &sequences);
        let head = ModelConfig::EMBEDDING;
        let passed = self.pass_through(sequences.ids, &pass, keep)?;
        let hidden = backend.norm(config.norm, &passed.x, parameters, config.last_norm())?;
        let (losses, dhidden) =
            backend.loss(&hidden, parameters, head, targets, options, Some(gradients))?;
        drop(hidden);
        self.pass_back(sequences.ids, passed, dhidden, &pass, gradients)?;
        Ok(losses)
    }

    /// All blocks, with what their backward needs.
    fn pass_through(&self, ids: &[u32], pass: &Pass<'_, B>, keep: Keep) -> Result<Passed<B>> {
        let (backend, config) = (&self.backend, &self.config);
        let mut x = backend.embed(&self.parameters, ModelConfig::EMBEDDING, ids)?;
        let mut inputs: Vec<(B::Buffer, Held<B>)> = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let (y, kept) = self.block(layer, &x, pass)?;
            let y = y.map_or_else(|| backend.copy(&x), Ok)?;
            // The last block's backward comes next, so it keeps all in any case.
            let held = if keep == Keep::All || layer + 1 == config.layers {
                Held::All(kept)
            } else {
                let Kept { o, sums, .. } = kept;
                Held::Attended { o, sums }
            };
            inputs.push((x, held));
            x = y;
        }
        Ok(Passed { inputs, x })
    }

    /// Backward of [`Model::pass_through`] and the last norm, from the gradient of what that gave, if there is one.
    fn pass_back(
        &self,
        ids: &[u32],
        passed: Passed<B>,
        dhidden: Option<B::Buffer>,
        pass: &Pass<'_, B>,
        gradients: &mut B::Store,
    ) -> Result<()> {
        let (backend, config) = (&self.backend, &self.config);
        let Passed { mut inputs, x } = passed;
        let mut dx = backend.zeros(ids.len(), config.width)?;
        if let Some(dhidden) = dhidden {
            backend.norm_backward(
                config.norm,
                &x,
                &self.parameters,
                config.last_norm(),
                &dhidden,
                &mut dx,
                gradients,
            )?;
        }
        drop(x);
        for layer in (0..config.layers).rev() {
            let Some((x, held)) = inputs.pop() else { break };
            let kept = match held {
                Held::All(kept) => kept,
                Held::Attended { o, sums } => self.block_again(layer, &x, (o, sums), pass)?,
            };
            dx = self.block_backward(layer, &x, kept, dx, pass, gradients)?;
        }
        backend.embed_backward(ids, &dx, gradients, ModelConfig::EMBEDDING)
    }
}

fn initial_values(config: &ModelConfig, of: &ParameterShape, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, &of.name);
    let inputs = of.shape.last().map_or(1.0, |&inputs| inputs as f64);
    let residual = match (config.initial, of.role) {
        (Initial::Kaiming, Role::Residual) => (2.0 * config.layers as f64).sqrt().recip(),
        _ => 1.0,
    };
    let value = |index: u64| match (of.role, config.initial) {
        (Role::Gain, _) => 1.0,
        (Role::Embedding, Initial::Uniform) => EMBEDDING_DEVIATION * stream.normal(index),
        (_, Initial::Uniform) => inputs.powf(-0.5) * (2.0 * stream.uniform(index) - 1.0),
        (_, Initial::Kaiming) => residual * (2.0 / inputs).sqrt() * stream.normal(index),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "parameters are kept in single precision"
    )]
    (0..of.count() as u64)
        .map(|index| value(index) as f32)
        .collect()
}

#[cfg(test)]
mod tests;
