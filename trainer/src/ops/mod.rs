//! What a decoder computes on a device, forward and backward. candle's own fused norm, softmax and rotary embedding have no
//! backward and stop gradients without a word, and its graph keeps every intermediate; so the trainer has its own backward, and
//! this is what that is made of.
//!
//! The principal item is [`Backend`]. [`Portable`] composes each operation of candle's, on any device: it is the oracle of the
//! tests and what runs on a GPU. [`Fused`] is for processors: analytic kernels over slices, chosen at run time for the
//! instructions there are, with buffers that are used again and not given back. `Cuda`, with the feature of that name, has kernels
//! of its own for NVIDIA's GPUs.
//!
//! Shapes: rows are tokens, B sequences of T each one after the other; a buffer is (rows, width), row-major. Weights are
//! (outputs, inputs). Gradients of weights are added to what is there, so that micro-batches accumulate.

#[cfg(feature = "cuda")]
pub mod cuda;
pub mod fused;
pub mod portable;
mod rotary;
pub mod timed;

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

#[cfg(feature = "cuda")]
pub use cuda::Cuda;
pub use fused::Fused;
pub use portable::Portable;
pub use rotary::{RotaryTable, THETA, XPos};
pub use timed::Timed;

/// Added to the variance of a row.
pub const NORM_EPSILON: f64 = 1e-5;

/// How a row is normalized; both have a gain and no bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// Mean removed, divided by the deviation (Ba et al., "Layer Normalization", 2016).
    Layer,
    /// Divided by the root of the mean square (Zhang and Sennrich, "Root Mean Square Layer Normalization", 2019).
    Rms,
}

/// The non-linear part of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// `[u | g]` to `u silu(g)` (Shazeer, "GLU Variants Improve Transformer", 2020), the gate in the second half as in PaLM's
    /// published code: halves the width.
    Swiglu,
    /// `x Φ(x)`, exact, by the error function (Hendrycks and Gimpel, 2016).
    Gelu,
}

impl Activation {
    /// Numbers that go in for one that comes out.
    pub const fn inputs(self) -> usize {
        match self {
            Self::Swiglu => 2,
            Self::Gelu => 1,
        }
    }
}

/// Heads of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// H: of queries.
    pub queries: usize,
    /// G: of keys and values; divides H, and H / G neighbours share one.
    pub keys: usize,
    /// n: numbers of each.
    pub size: usize,
}

/// What attention needs besides its inputs.
#[derive(Debug, Clone)]
pub struct Attention {
    /// T.
    pub positions: usize,
    /// The heads.
    pub heads: Heads,
    /// `ALiBi` (Press et al., "Train Short, Test Long", 2022): what a head's score loses for each position between query and
    /// key, one a query head; none for no bias.
    pub slopes: Option<Vec<f64>>,
    /// For each row the first position of its sequence that it may see: where its document begins. None for position 0.
    pub starts: Option<Vec<u32>>,
}

impl Attention {
    /// `ALiBi`'s slopes of `heads` heads, `2^(-8 i / n)`; where `heads` is no power of two, those of the next power, every other
    /// one first, as in `llm-foundry`'s `gen_slopes`.
    pub fn alibi(heads: usize) -> Vec<f64> {
        let power = heads.next_power_of_two();
        let slope = |i: usize| (-8.0 * i as f64 / power as f64).exp2();
        let all = (1..=power).map(slope);
        if power == heads {
            return all.collect();
        }
        let (odd, even): (Vec<_>, Vec<_>) = all.enumerate().partition(|(at, _)| at % 2 == 1);
        let ordered = odd.into_iter().chain(even);
        ordered.map(|(_, slope)| slope).take(heads).collect()
    }
}

/// What is to be predicted: one target a row, and whether it carries loss.
#[derive(Debug, Clone, Copy)]
pub struct Targets<'a> {
    /// Token ids.
    pub ids: &'a [u32],
    /// False where a target carries neither loss nor gradient.
    pub trained: &'a [bool],
}

/// How losses become one number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossOptions {
    /// What each trained row's loss is multiplied by before it is differentiated: one over the trained tokens of the whole
    /// batch, so that micro-batches with unequal numbers of them add up to the batch's mean.
    pub scale: f64,
    /// `z`: adds `z ln(Z)^2` to each row's loss, Z the sum of exponentials (PaLM, 1e-4); it keeps logits from drifting.
    pub z_loss: f64,
    /// The part of a target's probability that is spread over the whole vocabulary (Szegedy et al., 2016).
    pub smoothing: f64,
}

impl LossOptions {
    /// The plain cross-entropy, times `scale`.
    pub const fn scaled(scale: f64) -> Self {
        Self {
            scale,
            z_loss: 0.0,
            smoothing: 0.0,
        }
    }
}

/// The losses of some rows, in nats and not scaled.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Losses {
    /// Sum of the cross-entropies of the trained rows, smoothing and z-loss left out.
    pub nats: f64,
    /// Sum of what is differentiated: with smoothing and z-loss.
    pub objective: f64,
}

/// A step of `AdamW`, Lion or Muon for the numbers of one parameter, all coefficients at hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// `p = p keep - rate m / (sqrt(v) root + epsilon)` with `m` and `v` as in Adam.
    Adam {
        /// 1 - lr decay.
        keep: f64,
        /// lr / (1 - beta1^t).
        rate: f64,
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second.
        beta2: f64,
        /// 1 / sqrt(1 - beta2^t).
        root: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
    },
    /// `p = p keep - rate sign(beta1 m + (1 - beta1) g)`, then `m = beta2 m + (1 - beta2) g` (Chen et al., "Symbolic Discovery of
    /// Optimization Algorithms", 2023).
    Lion {
        /// 1 - lr decay.
        keep: f64,
        /// lr.
        rate: f64,
        /// Weight of the moment in the step.
        beta1: f64,
        /// Decay of the moment.
        beta2: f64,
    },
    /// `m = momentum m + (1 - momentum) g`, then `p = p keep - rate O`, O being `momentum m + (1 - momentum) g` made nearly
    /// orthogonal by a Newton-Schulz iteration.
    Muon {
        /// 1 - lr decay.
        keep: f64,
        /// lr, adjusted to the shape.
        rate: f64,
        /// Decay of the moment.
        momentum: f64,
    },
}

/// The iteration of Muon that brings a matrix's singular values near 1 (Jordan et al., "Muon: An optimizer for hidden layers in
/// neural networks", 2024): `X / |X|`, then five times `X = a X + (b A + c A^2) X` with `A = X X^T`. Values that were above 0.001 or so of
/// the largest end between 0.68 and 1.13; these coefficients were chosen for their slope at 0 and not to converge.
#[derive(Debug, Clone, Copy)]
struct NewtonSchulz;

impl NewtonSchulz {
    const STEPS: usize = 5;
    const A: f64 = 3.4445;
    const B: f64 = -4.7750;
    const C: f64 = 2.0315;
    /// Least norm that a matrix is divided by, so that zeros stay zeros.
    const LEAST: f64 = 1e-7;
}

/// What [`Backend::outgrown`] needs of a rule.
#[derive(Debug, Clone, Copy)]
struct Growth {
    factor: f64,
    beta2: f64,
    /// 1 / (1 - beta2^t).
    correction: f64,
    /// Least second moment.
    least: f64,
}

impl Growth {
    fn of(rule: Rule, factor: f64) -> Result<Self> {
        let Rule::Adam {
            beta2,
            root,
            epsilon,
            ..
        } = rule
        else {
            return Err(misfit("a step of the optimizer"));
        };
        Ok(Self {
            factor,
            beta2,
            correction: root * root,
            least: epsilon * epsilon,
        })
    }

    /// What gradient `g` with the moment `v` before it adds to the sum.
    #[inline(always)]
    fn part(self, g: f64, v: f64) -> f64 {
        let square = (g * self.factor) * (g * self.factor);
        let moment = (self.beta2 * v + (1.0 - self.beta2) * square) * self.correction;
        // An epsilon whose square is 0 leaves 0 / 0 where nothing ever moved.
        square / moment.max(self.least).max(f64::MIN_POSITIVE)
    }
}

/// The name and shape of a parameter as a store needs them: (rows, columns), a gain being one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Outputs of a weight, rows of an embedding, 1 for a gain.
    pub rows: usize,
    /// Inputs of a weight, width of an embedding or a gain.
    pub columns: usize,
}

impl Place {
    /// How many numbers it has.
    pub const fn count(&self) -> usize {
        self.rows * self.columns
    }
}

/// Where parameters are that stand one after the other.
fn one_after_the_other(places: &[Place]) -> Vec<(Range<usize>, Place)> {
    let mut end = 0;
    let with_range = places.iter().map(|place| {
        let start = end;
        end += place.count();
        (start..end, *place)
    });
    with_range.collect()
}

/// Buffers whose lengths contradict each other, which only this program itself can bring about.
fn misfit(what: &str) -> Error {
    Error::Usage(format!(
        "{what}: buffers that do not fit; this is a fault of the program"
    ))
}

/// The operations of a decoder on one kind of device. Sums are taken in an order that does not depend on the number of threads.
pub trait Backend {
    /// Numbers of activations, (rows, width).
    type Buffer;
    /// Numbers of all parameters in their order: values, gradients or moments.
    type Store;
    /// A [`RotaryTable`] on the device.
    type Table;

    /// Zeros for parameters of these shapes, of which some may have no numbers.
    ///
    /// # Errors
    /// The device has not the memory.
    fn store(&self, places: &[Place]) -> Result<Self::Store>;
    /// Makes all numbers zero.
    ///
    /// # Errors
    /// The device failed.
    fn clear(&self, store: &mut Self::Store) -> Result<()>;
    /// Sets the numbers of parameter `index`.
    ///
    /// # Errors
    /// `numbers` are not as many, or the device failed.
    fn write(&self, store: &mut Self::Store, index: usize, numbers: &[f32]) -> Result<()>;
    /// The numbers of parameter `index`.
    ///
    /// # Errors
    /// The device failed.
    fn read(&self, store: &Self::Store, index: usize) -> Result<Vec<f32>>;
    /// The sum of the squares of all numbers, in double precision.
    ///
    /// # Errors
    /// The device failed.
    fn squares(&self, store: &Self::Store) -> Result<f64>;
    /// The part of parameter `index` in [`Backend::squares`]. On a processor that is the sum of these in order, to the bit. Here on the
    /// host, for devices without an operation of their own: all numbers of the parameter are copied.
    ///
    /// # Errors
    /// The device failed.
    fn squares_of(&self, store: &Self::Store, index: usize) -> Result<f64> {
        let numbers = self.read(store, index)?;
        Ok(numbers.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
    }
    /// Adds the numbers of parameter `index` of `other` to those of `sum`, each rounded once. Here on the host, for devices without
    /// an operation of their own: all numbers of the parameter are copied.
    ///
    /// # Errors
    /// The device failed.
    fn add(&self, sum: &mut Self::Store, other: &Self::Store, index: usize) -> Result<()> {
        let mut numbers = self.read(sum, index)?;
        for (sum, x) in numbers.iter_mut().zip(self.read(other, index)?) {
            *sum += x;
        }
        self.write(sum, index, &numbers)
    }
    /// One step of parameter `index` against its gradient times `factor`; `moments` are as many as the rule has.
    ///
    /// # Errors
    /// The device failed.
    fn update(
        &self,
        rule: Rule,
        parameters: &mut Self::Store,
        gradients: &Self::Store,
        factor: f64,
        moments: &mut [Self::Store],
        index: usize,
    ) -> Result<()>;

    /// How far the gradient of parameter `index`, times `factor`, outgrows its second moment: the mean of `g^2 / max(v, epsilon^2)`,
    /// v the corrected moment as `rule`, one of Adam, will leave it. Here on the host in double precision, for devices without an
    /// operation of their own: all numbers of the parameter and its moment are copied.
    ///
    /// # Errors
    /// The rule has no second moment, or the device failed.
    fn outgrown(
        &self,
        rule: Rule,
        gradients: &Self::Store,
        factor: f64,
        second: &Self::Store,
        index: usize,
    ) -> Result<f64> {
        let gradients = self.read(gradients, index)?;
        let second = self.read(second, index)?;
        let growth = Growth::of(rule, factor)?;
        let parts = gradients.iter().zip(&second);
        let sum: f64 = parts
            .map(|(&g, &v)| growth.part(f64::from(g), f64::from(v)))
            .sum();
        Ok(sum / gradients.len().max(1) as f64)
    }

    /// `average = keep average + (1 - keep) parameters` for parameter `index`. Here on the host, for devices without an operation of
    /// their own: all numbers of the parameter and its average are copied.
    ///
    /// # Errors
    /// The device failed.
    fn average(
        &self,
        keep: f64,
        parameters: &Self::Store,
        average: &mut Self::Store,
        index: usize,
    ) -> Result<()> {
        let parameters = self.read(parameters, index)?;
        let mut numbers = self.read(average, index)?;
        let new: f32 = fused::Real::of(1.0 - keep);
        for (a, p) in numbers.iter_mut().zip(parameters) {
            *a += new * (p - *a);
        }
        self.write(average, index, &numbers)
    }

    /// The table on the device.
    ///
    /// # Errors
    /// The device failed.
    fn table(&self, table: &RotaryTable) -> Result<Self::Table>;
    /// The numbers of a buffer.
    ///
    /// # Errors
    /// The device failed.
    fn numbers(&self, buffer: &Self::Buffer) -> Result<Vec<f64>>;
    /// A buffer with the same numbers.
    ///
    /// # Errors
    /// The device failed.
    fn copy(&self, buffer: &Self::Buffer) -> Result<Self::Buffer>;
    /// Zeros, (rows, width).
    ///
    /// # Errors
    /// The device failed.
    fn zeros(&self, rows: usize, width: usize) -> Result<Self::Buffer>;
    /// Rows `start..end` of a buffer of `width`.
    ///
    /// # Errors
    /// The device failed.
    fn rows(
        &self,
        buffer: &Self::Buffer,
        width: usize,
        start: usize,
        end: usize,
    ) -> Result<Self::Buffer>;

    /// Rows of buffers of `width`, one range after the other below each other; empty ranges are passed over.
    ///
    /// # Errors
    /// A buffer has not so many rows, or the device failed.
    fn join(&self, parts: &[(&Self::Buffer, Range<usize>)], width: usize) -> Result<Self::Buffer>;
    /// Adds the first `rows` rows of `other` to those of `sum`, both of `width`.
    ///
    /// # Errors
    /// One of them has not so many rows, or the device failed.
    fn add_rows(
        &self,
        sum: &mut Self::Buffer,
        other: &Self::Buffer,
        width: usize,
        rows: usize,
    ) -> Result<()>;

    /// The rows of the embedding that `ids` name.
    ///
    /// # Errors
    /// An id is outside the vocabulary, or the device failed.
    fn embed(&self, store: &Self::Store, embedding: usize, ids: &[u32]) -> Result<Self::Buffer>;
    /// Adds the rows of `dx` to those of the embedding's gradient that `ids` name, in their order.
    ///
    /// # Errors
    /// The device failed.
    fn embed_backward(
        &self,
        ids: &[u32],
        dx: &Self::Buffer,
        gradients: &mut Self::Store,
        embedding: usize,
    ) -> Result<()>;

    /// `x` normalized by rows, times the gain.
    ///
    /// # Errors
    /// The device failed.
    fn norm(
        &self,
        norm: Norm,
        x: &Self::Buffer,
        store: &Self::Store,
        gain: usize,
    ) -> Result<Self::Buffer>;
    /// Adds the gradient of `x` to `dx`, and that of the gain to its place.
    ///
    /// # Errors
    /// The device failed.
    #[expect(
        clippy::too_many_arguments,
        reason = "what a norm's backward is made of"
    )]
    fn norm_backward(
        &self,
        norm: Norm,
        x: &Self::Buffer,
        store: &Self::Store,
        gain: usize,
        dy: &Self::Buffer,
        dx: &mut Self::Buffer,
        gradients: &mut Self::Store,
    ) -> Result<()>;

    /// `x W^T`.
    ///
    /// # Errors
    /// The device failed.
    fn linear(&self, x: &Self::Buffer, store: &Self::Store, weight: usize) -> Result<Self::Buffer>;
    /// `y += x W^T`.
    ///
    /// # Errors
    /// The device failed.
    fn add_linear(
        &self,
        x: &Self::Buffer,
        store: &Self::Store,
        weight: usize,
        y: &mut Self::Buffer,
    ) -> Result<()>;
    /// `dy W`: the gradient of a linear's input.
    ///
    /// # Errors
    /// The device failed.
    fn linear_input(
        &self,
        dy: &Self::Buffer,
        store: &Self::Store,
        weight: usize,
    ) -> Result<Self::Buffer>;
    /// `dx += dy W`.
    ///
    /// # Errors
    /// The device failed.
    fn add_linear_input(
        &self,
        dy: &Self::Buffer,
        store: &Self::Store,
        weight: usize,
        dx: &mut Self::Buffer,
    ) -> Result<()>;
    /// `dW += dy^T x`.
    ///
    /// # Errors
    /// The device failed.
    fn linear_weight(
        &self,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        gradients: &mut Self::Store,
        weight: usize,
    ) -> Result<()>;

    /// Rotates each of `heads` heads of a row by the row's position, back with `inverse`; the latter is the backward too.
    ///
    /// # Errors
    /// The device failed.
    fn rotate(
        &self,
        x: &mut Self::Buffer,
        table: &Self::Table,
        heads: usize,
        inverse: bool,
    ) -> Result<()>;

    /// The non-linear part of a feed-forward block; rows of `x` are `width * activation.inputs()` wide.
    ///
    /// # Errors
    /// The device failed.
    fn activate(
        &self,
        activation: Activation,
        x: &Self::Buffer,
        width: usize,
    ) -> Result<Self::Buffer>;
    /// The gradient of `x`, whose place it may take.
    ///
    /// # Errors
    /// The device failed.
    fn activate_backward(
        &self,
        activation: Activation,
        x: Self::Buffer,
        dy: &Self::Buffer,
        width: usize,
    ) -> Result<Self::Buffer>;

    /// Causal attention of `q` (rows, H n) on `k` and `v` (rows, G n): what is attended to (rows, H n), and for each row and head
    /// the logarithm of the sum of its exponentials (rows, H), which is all that backward needs of the scores.
    ///
    /// # Errors
    /// The device failed.
    fn attend(
        &self,
        q: &Self::Buffer,
        k: &Self::Buffer,
        v: &Self::Buffer,
        attention: &Attention,
    ) -> Result<(Self::Buffer, Self::Buffer)>;
    /// The gradients of `q`, `k` and `v`. `o` and `sums` are what [`Backend::attend`] gave, `dout` is the gradient of `o`.
    ///
    /// # Errors
    /// The device failed.
    #[expect(
        clippy::too_many_arguments,
        reason = "what attention's backward is made of"
    )]
    fn attend_backward(
        &self,
        q: &Self::Buffer,
        k: &Self::Buffer,
        v: &Self::Buffer,
        o: &Self::Buffer,
        sums: &Self::Buffer,
        dout: &Self::Buffer,
        attention: &Attention,
    ) -> Result<(Self::Buffer, Self::Buffer, Self::Buffer)>;

    /// Cross-entropy of the head `x W^T`, whose logits exist for a few rows at a time. With `gradients`, the gradient of `x` is
    /// returned and that of the head added to its place.
    ///
    /// # Errors
    /// A target is outside the vocabulary, or the device failed.
    fn loss(
        &self,
        x: &Self::Buffer,
        store: &Self::Store,
        head: usize,
        targets: Targets<'_>,
        options: LossOptions,
        gradients: Option<&mut Self::Store>,
    ) -> Result<(Losses, Option<Self::Buffer>)>;
}

#[cfg(test)]
mod tests;
