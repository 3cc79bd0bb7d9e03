//! Two continuations of one beginning in one pass: the rows of the beginning go through the model once, those of the continuations
//! below them, each at the positions after the beginning. All but attention is row by row; attention is asked twice, of the beginning
//! with either continuation, and of the second time only the second continuation's rows are taken.

use std::ops::Range;

use super::{Keep, Length, Model, ModelConfig, Pass};
use crate::error::{Error, Result};
use crate::ops::{Attention, Backend, LossOptions, Targets};

/// Two sequences of the same beginning.
#[derive(Debug, Clone, Copy)]
pub struct Continuations<'a> {
    /// Tokens of the beginning whose successor is not asked for, (S).
    pub beginning: &'a [u32],
    /// The tokens after it in each, at least one, of which the successor is asked for.
    pub inputs: [&'a [u32]; 2],
    /// The successors, as many.
    pub next: [&'a [u32]; 2],
}

impl Continuations<'_> {
    fn check(&self) -> Result<()> {
        let mut lengths = self.inputs.iter().zip(&self.next);
        if lengths.all(|(inputs, next)| !inputs.is_empty() && inputs.len() == next.len()) {
            return Ok(());
        }
        Err(Error::Usage(
            "a continuation needs a token, and each token one after it".to_owned(),
        ))
    }

    fn fork(&self) -> Fork {
        let beginning = self.beginning.len();
        let first = beginning + self.inputs[0].len();
        Fork {
            beginning,
            first,
            rows: first + self.inputs[1].len(),
        }
    }

    fn ids(&self) -> Vec<u32> {
        [self.beginning, self.inputs[0], self.inputs[1]].concat()
    }
}

/// Where rows are parted: the beginning, the first continuation, the second one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fork {
    /// S.
    beginning: usize,
    /// The end of the first continuation.
    first: usize,
    rows: usize,
}

impl Fork {
    /// The rows of each continuation.
    fn continuations(&self) -> [Range<usize>; 2] {
        [self.beginning..self.first, self.first..self.rows]
    }

    /// Tokens of the longer of the two sequences.
    fn longest(&self) -> usize {
        self.first.max(self.beginning + self.rows - self.first)
    }

    /// Attention within the first sequence and within the second.
    fn attentions(&self, attention: &Attention) -> [Attention; 2] {
        [self.first, self.beginning + self.rows - self.first].map(|positions| Attention {
            positions,
            ..attention.clone()
        })
    }

    /// The rows of the first sequence.
    fn one<B: Backend>(&self, backend: &B, of: &B::Buffer, width: usize) -> Result<B::Buffer> {
        backend.rows(of, width, 0, self.first)
    }

    /// The rows of the second sequence.
    fn two<B: Backend>(&self, backend: &B, of: &B::Buffer, width: usize) -> Result<B::Buffer> {
        backend.join(
            &[(of, 0..self.beginning), (of, self.first..self.rows)],
            width,
        )
    }

    /// As [`Backend::attend`] of queries, keys and values.
    pub(super) fn attend<B: Backend>(
        &self,
        backend: &B,
        [q, k, v]: [&B::Buffer; 3],
        attention: &Attention,
    ) -> Result<(B::Buffer, B::Buffer)> {
        let (queries, keys) = widths(attention);
        let [of_first, of_second] = self.attentions(attention);
        let (o, sums) = backend.attend(
            &self.one(backend, q, queries)?,
            &self.one(backend, k, keys)?,
            &self.one(backend, v, keys)?,
            &of_first,
        )?;
        let (other, other_sums) = backend.attend(
            &self.two(backend, q, queries)?,
            &self.two(backend, k, keys)?,
            &self.two(backend, v, keys)?,
            &of_second,
        )?;
        let below = |first: &B::Buffer, second: &B::Buffer, width| {
            let rows = self.beginning..of_second.positions;
            backend.join(&[(first, 0..self.first), (second, rows)], width)
        };
        let heads = attention.heads.queries;
        Ok((
            below(&o, &other, queries)?,
            below(&sums, &other_sums, heads)?,
        ))
    }

    /// As [`Backend::attend_backward`] of queries, keys, values, what was attended to, sums, and the gradient of what was attended to.
    pub(super) fn attend_backward<B: Backend>(
        &self,
        backend: &B,
        [q, k, v, o, sums, dout]: [&B::Buffer; 6],
        attention: &Attention,
    ) -> Result<(B::Buffer, B::Buffer, B::Buffer)> {
        let (queries, keys) = widths(attention);
        let heads = attention.heads.queries;
        let [of_first, of_second] = self.attentions(attention);
        let (dq, mut dk, mut dv) = backend.attend_backward(
            &self.one(backend, q, queries)?,
            &self.one(backend, k, keys)?,
            &self.one(backend, v, keys)?,
            &self.one(backend, o, queries)?,
            &self.one(backend, sums, heads)?,
            &self.one(backend, dout, queries)?,
            &of_first,
        )?;
        // What the beginning's rows look at counts once.
        let nothing = backend.zeros(self.beginning.max(1), queries)?;
        let parts = [(&nothing, 0..self.beginning), (dout, self.first..self.rows)];
        let (other_dq, other_dk, other_dv) = backend.attend_backward(
            &self.two(backend, q, queries)?,
            &self.two(backend, k, keys)?,
            &self.two(backend, v, keys)?,
            &self.two(backend, o, queries)?,
            &self.two(backend, sums, heads)?,
            &backend.join(&parts, queries)?,
            &of_second,
        )?;
        // Both continuations look at the beginning's keys and values.
        backend.add_rows(&mut dk, &other_dk, keys, self.beginning)?;
        backend.add_rows(&mut dv, &other_dv, keys, self.beginning)?;
        let below = |first: &B::Buffer, second: &B::Buffer, width| {
            let rows = self.beginning..of_second.positions;
            backend.join(&[(first, 0..self.first), (second, rows)], width)
        };
        Ok((
            below(&dq, &other_dq, queries)?,
            below(&dk, &other_dk, keys)?,
            below(&dv, &other_dv, keys)?,
        ))
    }
}

/// Numbers of a row of queries, and of keys.
fn widths(attention: &Attention) -> (usize, usize) {
    let heads = attention.heads;
    (heads.queries * heads.size, heads.keys * heads.size)
}

impl<B: Backend> Model<B> {
    /// The positions of the rows of a fork.
    fn forked(&self, fork: &Fork) -> Result<Length<B>> {
        let second = fork.beginning..fork.beginning + fork.rows - fork.first;
        self.at_positions((0..fork.first).chain(second), fork.longest())
    }

    /// The negative log-likelihood of each continuation's successors, in nats.
    ///
    /// # Errors
    /// A continuation is empty, a token is outside the vocabulary, or the device failed.
    pub fn continuation_nats(&self, continuations: &Continuations<'_>) -> Result<[f64; 2]> {
        continuations.check()?;
        let (backend, config) = (&self.backend, &self.config);
        let fork = continuations.fork();
        let length = self.forked(&fork)?;
        let pass = forked_pass(&length, &fork);
        let ids = continuations.ids();
        let mut x = backend.embed(&self.parameters, ModelConfig::EMBEDDING, &ids)?;
        for layer in 0..config.layers {
            let (y, _) = self.block(layer, &x, &pass)?;
            x = y.unwrap_or(x);
        }
        let hidden = backend.norm(config.norm, &x, &self.parameters, config.last_norm())?;
        self.nats(&hidden, continuations, &fork)
    }

    /// As [`Self::continuation_nats`], and the gradient added to `gradients` of what has these derivatives: by the nats of the first
    /// continuation and of the second, as `slopes` says of the nats.
    ///
    /// # Errors
    /// As [`Self::continuation_nats`].
    pub fn add_continuation_gradients(
        &self,
        continuations: &Continuations<'_>,
        slopes: &mut dyn FnMut([f64; 2]) -> [f64; 2],
        keep: Keep,
        gradients: &mut B::Store,
    ) -> Result<[f64; 2]> {
        continuations.check()?;
        let (backend, parameters, config) = (&self.backend, &self.parameters, &self.config);
        let fork = continuations.fork();
        let length = self.forked(&fork)?;
        let pass = forked_pass(&length, &fork);
        let ids = continuations.ids();
        let passed = self.pass_through(&ids, &pass, keep)?;
        let hidden = backend.norm(config.norm, &passed.x, parameters, config.last_norm())?;
        // The head is asked twice: how much its gradient counts is known once all nats are.
        let nats = self.nats(&hidden, continuations, &fork)?;
        let head = ModelConfig::EMBEDDING;
        let mut parts = vec![backend.zeros(fork.beginning.max(1), config.width)?];
        let each = fork.continuations().into_iter().zip(continuations.next);
        for ((rows, next), slope) in each.zip(slopes(nats)) {
            let of = backend.rows(&hidden, config.width, rows.start, rows.end)?;
            let trained = vec![true; next.len()];
            let targets = Targets {
                ids: next,
                trained: &trained,
            };
            let options = LossOptions::scaled(slope);
            let (_, dhidden) =
                backend.loss(&of, parameters, head, targets, options, Some(gradients))?;
            parts.push(match dhidden {
                Some(dhidden) => dhidden,
                None => backend.zeros(rows.len(), config.width)?,
            });
        }
        drop(hidden);
        let lengths = [
            fork.beginning,
            fork.first - fork.beginning,
            fork.rows - fork.first,
        ];
        let parts: Vec<_> = parts
            .iter()
            .zip(lengths)
            .map(|(part, rows)| (part, 0..rows))
            .collect();
        let dhidden = backend.join(&parts, config.width)?;
        drop(parts);
        self.pass_back(&ids, passed, Some(dhidden), &pass, gradients)?;
        Ok(nats)
    }

    /// The nats of the continuations, from normalized hidden states.
    fn nats(
        &self,
        hidden: &B::Buffer,
        continuations: &Continuations<'_>,
        fork: &Fork,
    ) -> Result<[f64; 2]> {
        let mut nats = [0.0; 2];
        let each = fork.continuations().into_iter().zip(continuations.next);
        for ((rows, next), nats) in each.zip(&mut nats) {
            let of = self
                .backend
                .rows(hidden, self.config.width, rows.start, rows.end)?;
            let trained = vec![true; next.len()];
            let targets = Targets {
                ids: next,
                trained: &trained,
            };
            *nats = self.head_losses(&of, targets)?.nats;
        }
        Ok(nats)
    }
}

fn forked_pass<'a, B: Backend>(length: &'a Length<B>, fork: &'a Fork) -> Pass<'a, B> {
    Pass {
        length,
        attention: length.attention.clone(),
        fork: Some(fork),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::model::Sequences;
    use crate::model::tests::{all, lively};
    use crate::ops::{Fused, Portable};

    const IDS: [u32; 19] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8];
    /// What the nats of the two continuations are weighed by.
    const SLOPES: [f64; 2] = [0.7, -1.3];

    /// Each sequence by itself: its nats, and the gradient added.
    fn alone<B: Backend>(
        model: &Model<B>,
        of: &Continuations<'_>,
        gradients: &mut B::Store,
    ) -> [f64; 2] {
        [0, 1].map(|which| {
            let ids = [of.beginning, of.inputs[which]].concat();
            let mut next = ids[1..].to_vec();
            next.push(of.next[which][of.next[which].len() - 1]);
            let trained: Vec<bool> = (0..ids.len()).map(|at| at >= of.beginning.len()).collect();
            // The successors asked for are those of the sequence.
            assert_eq!(next[of.beginning.len()..], *of.next[which]);
            let sequences = Sequences {
                ids: &ids,
                starts: None,
            };
            let targets = Targets {
                ids: &next,
                trained: &trained,
            };
            let length = model.length(ids.len()).unwrap();
            let options = LossOptions::scaled(SLOPES[which]);
            let made =
                model.add_gradients(sequences, targets, &length, options, Keep::All, gradients);
            made.unwrap().nats
        })
    }

    fn together_is_each_alone<B: Backend>(backend: impl Fn() -> B) {
        for config in all() {
            let model = lively(config, backend());
            for (beginning, first) in [(6, 13), (0, 9), (1, 2), (17, 18)] {
                let other: Vec<u32> = IDS[beginning..].iter().rev().copied().collect();
                let of = Continuations {
                    beginning: &IDS[..beginning],
                    inputs: [&IDS[beginning..first], &other[..other.len() - 1]],
                    next: [&IDS[beginning + 1..=first], &other[1..]],
                };
                let mut apart = model.store().unwrap();
                let nats = alone(&model, &of, &mut apart);
                assert_eq!(
                    model.continuation_nats(&of).unwrap().map(|n| n > 0.0),
                    [true; 2]
                );
                for keep in [Keep::All, Keep::Inputs] {
                    let mut gradients = model.store().unwrap();
                    let mut slopes = |_| SLOPES;
                    let made = model
                        .add_continuation_gradients(&of, &mut slopes, keep, &mut gradients)
                        .unwrap();
                    // To the bit: the margin of a pair against its reference begins with nothing.
                    assert_eq!(made, model.continuation_nats(&of).unwrap());
                    for (made, nats) in made.iter().zip(nats) {
                        assert!((made - nats).abs() < 1e-4, "{made} {nats} {config:?}");
                    }
                    for index in 0..model.shapes.len() {
                        let [made, apart] =
                            [&gradients, &apart].map(|of| model.backend.read(of, index).unwrap());
                        let size =
                            |of: &[f32]| of.iter().map(|g| f64::from(g * g)).sum::<f64>().sqrt();
                        let difference: Vec<f32> =
                            made.iter().zip(&apart).map(|(a, b)| a - b).collect();
                        assert!(
                            size(&difference) < 1e-4 * size(&apart) + 1e-7,
                            "{} of {} at {}: {config:?}",
                            size(&difference),
                            size(&apart),
                            model.shapes[index].name
                        );
                    }
                }
            }
            let none = Continuations {
                beginning: &IDS[..3],
                inputs: [&IDS[3..5], &[]],
                next: [&IDS[4..6], &[]],
            };
            assert!(model.continuation_nats(&none).is_err());
        }
    }

    #[test]
    fn together_is_each_alone_on_fused_kernels() {
        together_is_each_alone(Fused::<f32>::default);
    }

    #[test]
    fn together_is_each_alone_on_candle() {
        together_is_each_alone(|| Portable::new(Device::Cpu, DType::F32));
    }
}
