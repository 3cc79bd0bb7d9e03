//! A backend that takes the time of each operation, so that the parts of a step can be told.

use std::cell::RefCell;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{
    Activation, Attention, Backend, LossOptions, Losses, Norm, Place, RotaryTable, Rule, Targets,
};
use crate::error::Result;

/// What operations are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Products with weights, forward.
    Linear,
    /// Gradients of the inputs of these.
    LinearInput,
    /// Gradients of their weights.
    LinearWeight,
    /// Attention, forward.
    Attention,
    /// Its backward.
    AttentionBackward,
    /// The head's products and the cross-entropy, both ways.
    Loss,
    /// Activations of the feed-forward part, both ways.
    Activation,
    /// Norms, both ways.
    Norm,
    /// Rotation by positions, both ways.
    Rotary,
    /// Rows of the embedding, both ways.
    Embedding,
    /// The norm of the gradients, the step of the optimizer, and gradients made zero.
    Optimizer,
    /// Copies and what is read and written.
    Copies,
}

impl Part {
    /// All, in the order of a step.
    pub const ALL: [Self; 12] = [
        Self::Linear,
        Self::LinearInput,
        Self::LinearWeight,
        Self::Attention,
        Self::AttentionBackward,
        Self::Loss,
        Self::Activation,
        Self::Norm,
        Self::Rotary,
        Self::Embedding,
        Self::Optimizer,
        Self::Copies,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::LinearInput => "linear, gradient of the input",
            Self::LinearWeight => "linear, gradient of the weight",
            Self::Attention => "attention",
            Self::AttentionBackward => "attention, backward",
            Self::Loss => "head and loss",
            Self::Activation => "activation",
            Self::Norm => "norm",
            Self::Rotary => "rotary",
            Self::Embedding => "embedding",
            Self::Optimizer => "optimizer",
            Self::Copies => "copies",
        }
    }
}

/// `B`, with the time that each part took. An operation is counted while its call lasts, so this says nothing about devices that go on
/// after it.
#[derive(Debug, Default)]
pub struct Timed<B> {
    inner: B,
    times: RefCell<[Duration; Part::ALL.len()]>,
}

impl<B> Timed<B> {
    /// No time taken yet.
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            times: RefCell::default(),
        }
    }

    /// The time of each part since it was asked last, in the order of [`Part::ALL`].
    pub fn take(&self) -> Vec<(Part, Duration)> {
        let times = std::mem::take(&mut *self.times.borrow_mut());
        Part::ALL.into_iter().zip(times).collect()
    }

    fn timed<T>(&self, part: Part, work: impl FnOnce(&B) -> T) -> T {
        let start = Instant::now();
        let result = work(&self.inner);
        let all = &mut *self.times.borrow_mut();
        let sums = Part::ALL.into_iter().zip(all);
        for (_, sum) in sums.filter(|(of, _)| *of == part) {
            *sum += start.elapsed();
        }
        result
    }
}

macro_rules! timed {
    ($($part:ident: fn $name:ident($($argument:ident: $of:ty),*) -> $returned:ty;)*) => {
        $(fn $name(&self, $($argument: $of),*) -> Result<$returned> {
            self.timed(Part::$part, |inner| inner.$name($($argument),*))
        })*
    };
}

impl<B: Backend> Backend for Timed<B> {
    type Buffer = B::Buffer;
    type Store = B::Store;
    type Table = B::Table;

    timed! {
        Copies: fn store(places: &[Place]) -> B::Store;
        Optimizer: fn clear(store: &mut B::Store) -> ();
        Copies: fn write(store: &mut B::Store, index: usize, numbers: &[f32]) -> ();
        Copies: fn read(store: &B::Store, index: usize) -> Vec<f32>;
        Optimizer: fn squares(store: &B::Store) -> f64;
        Optimizer: fn squares_of(store: &B::Store, index: usize) -> f64;
        Optimizer: fn add(sum: &mut B::Store, other: &B::Store, index: usize) -> ();
        Optimizer: fn update(rule: Rule, parameters: &mut B::Store, gradients: &B::Store, factor: f64, moments: &mut [B::Store], index: usize) -> ();
        Optimizer: fn outgrown(rule: Rule, gradients: &B::Store, factor: f64, second: &B::Store, index: usize) -> f64;
        Optimizer: fn average(keep: f64, parameters: &B::Store, average: &mut B::Store, index: usize) -> ();
        Copies: fn table(table: &RotaryTable) -> B::Table;
        Copies: fn numbers(buffer: &B::Buffer) -> Vec<f64>;
        Copies: fn copy(buffer: &B::Buffer) -> B::Buffer;
        Copies: fn zeros(rows: usize, width: usize) -> B::Buffer;
        Copies: fn rows(buffer: &B::Buffer, width: usize, start: usize, end: usize) -> B::Buffer;
        Copies: fn join(parts: &[(&B::Buffer, Range<usize>)], width: usize) -> B::Buffer;
        Copies: fn add_rows(sum: &mut B::Buffer, other: &B::Buffer, width: usize, rows: usize) -> ();
        Embedding: fn embed(store: &B::Store, embedding: usize, ids: &[u32]) -> B::Buffer;
        Embedding: fn embed_backward(ids: &[u32], dx: &B::Buffer, gradients: &mut B::Store, embedding: usize) -> ();
        Norm: fn norm(norm: Norm, x: &B::Buffer, store: &B::Store, gain: usize) -> B::Buffer;
        Norm: fn norm_backward(norm: Norm, x: &B::Buffer, store: &B::Store, gain: usize, dy: &B::Buffer, dx: &mut B::Buffer, gradients: &mut B::Store) -> ();
        Linear: fn linear(x: &B::Buffer, store: &B::Store, weight: usize) -> B::Buffer;
        Linear: fn add_linear(x: &B::Buffer, store: &B::Store, weight: usize, y: &mut B::Buffer) -> ();
        LinearInput: fn linear_input(dy: &B::Buffer, store: &B::Store, weight: usize) -> B::Buffer;
        LinearInput: fn add_linear_input(dy: &B::Buffer, store: &B::Store, weight: usize, dx: &mut B::Buffer) -> ();
        LinearWeight: fn linear_weight(dy: &B::Buffer, x: &B::Buffer, gradients: &mut B::Store, weight: usize) -> ();
        Rotary: fn rotate(x: &mut B::Buffer, table: &B::Table, heads: usize, inverse: bool) -> ();
        Activation: fn activate(activation: Activation, x: &B::Buffer, width: usize) -> B::Buffer;
        Activation: fn activate_backward(activation: Activation, x: B::Buffer, dy: &B::Buffer, width: usize) -> B::Buffer;
        Attention: fn attend(q: &B::Buffer, k: &B::Buffer, v: &B::Buffer, attention: &Attention) -> (B::Buffer, B::Buffer);
        AttentionBackward: fn attend_backward(q: &B::Buffer, k: &B::Buffer, v: &B::Buffer, o: &B::Buffer, sums: &B::Buffer, dout: &B::Buffer, attention: &Attention) -> (B::Buffer, B::Buffer, B::Buffer);
        Loss: fn loss(x: &B::Buffer, store: &B::Store, head: usize, targets: Targets<'_>, options: LossOptions, gradients: Option<&mut B::Store>) -> (Losses, Option<B::Buffer>);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Fused;

    #[test]
    fn each_operation_is_counted_as_its_part_and_does_what_it_did() {
        let timed = Timed::new(Fused::<f32>::default());
        let places = [Place {
            rows: 300,
            columns: 200,
        }];
        let mut store = timed.store(&places).unwrap();
        let numbers: Vec<f32> = (0..60_000_u16).map(f32::from).collect();
        timed.write(&mut store, 0, &numbers).unwrap();
        timed.take();
        let x = timed.embed(&store, 0, &[7; 40]).unwrap();
        let y = timed.linear(&x, &store, 0).unwrap();
        let expected = Fused::<f32>::default();
        assert_eq!(*y, *expected.linear(&x, &store, 0).unwrap());
        let counted: Vec<Part> = timed
            .take()
            .into_iter()
            .filter(|(_, time)| !time.is_zero())
            .map(|(part, _)| part)
            .collect();
        assert_eq!(counted, [Part::Linear, Part::Embedding]);
        assert!(timed.take().iter().all(|(_, time)| time.is_zero()));
    }
}
