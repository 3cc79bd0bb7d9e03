//! A backend of the tests on which chosen steps find a gradient that is no number.

use std::cell::{Cell, RefCell};
use std::ops::Range;

use crate::error::Result;
use crate::ops::{
    Activation, Attention, Backend, Fused, LossOptions, Losses, Norm, Place, RotaryTable, Rule,
    Targets,
};

type Inner = Fused<f32>;
type Buffer = <Inner as Backend>::Buffer;
type Store = <Inner as Backend>::Store;
type Table = <Inner as Backend>::Table;

/// [`Fused`], but for the gradient's norm at the steps in `at`, the first being 1, and for what the trait itself does on the host.
pub(crate) struct Planted<'a> {
    inner: Inner,
    at: &'a [u64],
    steps: Cell<u64>,
    /// Steps that changed parameters.
    updates: &'a RefCell<Vec<u64>>,
}

impl<'a> Planted<'a> {
    pub(crate) fn new(at: &'a [u64], updates: &'a RefCell<Vec<u64>>) -> Self {
        Self {
            inner: Inner::default(),
            at,
            steps: Cell::new(0),
            updates,
        }
    }
}

macro_rules! as_inner {
    ($(fn $name:ident($($argument:ident: $of:ty),*) -> $returned:ty;)*) => {
        $(fn $name(&self, $($argument: $of),*) -> Result<$returned> {
            self.inner.$name($($argument),*)
        })*
    };
}

impl Backend for Planted<'_> {
    type Buffer = Buffer;
    type Store = Store;
    type Table = Table;

    fn squares(&self, store: &Store) -> Result<f64> {
        self.steps.set(self.steps.get() + 1);
        if self.at.contains(&self.steps.get()) {
            return Ok(f64::NAN);
        }
        self.inner.squares(store)
    }

    fn update(
        &self,
        rule: Rule,
        parameters: &mut Store,
        gradients: &Store,
        factor: f64,
        moments: &mut [Store],
        index: usize,
    ) -> Result<()> {
        let step = self.steps.get();
        let mut updates = self.updates.borrow_mut();
        if updates.last() != Some(&step) {
            updates.push(step);
        }
        self.inner
            .update(rule, parameters, gradients, factor, moments, index)
    }

    as_inner! {
        fn store(places: &[Place]) -> Store;
        fn squares_of(store: &Store, index: usize) -> f64;
        fn add(sum: &mut Store, other: &Store, index: usize) -> ();
        fn clear(store: &mut Store) -> ();
        fn write(store: &mut Store, index: usize, numbers: &[f32]) -> ();
        fn read(store: &Store, index: usize) -> Vec<f32>;
        fn table(table: &RotaryTable) -> Table;
        fn numbers(buffer: &Buffer) -> Vec<f64>;
        fn copy(buffer: &Buffer) -> Buffer;
        fn join(parts: &[(&Buffer, Range<usize>)], width: usize) -> Buffer;
        fn add_rows(sum: &mut Buffer, other: &Buffer, width: usize, rows: usize) -> ();
        fn zeros(rows: usize, width: usize) -> Buffer;
        fn rows(buffer: &Buffer, width: usize, start: usize, end: usize) -> Buffer;
        fn embed(store: &Store, embedding: usize, ids: &[u32]) -> Buffer;
        fn embed_backward(ids: &[u32], dx: &Buffer, gradients: &mut Store, embedding: usize) -> ();
        fn norm(norm: Norm, x: &Buffer, store: &Store, gain: usize) -> Buffer;
        fn norm_backward(norm: Norm, x: &Buffer, store: &Store, gain: usize, dy: &Buffer, dx: &mut Buffer, gradients: &mut Store) -> ();
        fn linear(x: &Buffer, store: &Store, weight: usize) -> Buffer;
        fn add_linear(x: &Buffer, store: &Store, weight: usize, y: &mut Buffer) -> ();
        fn linear_input(dy: &Buffer, store: &Store, weight: usize) -> Buffer;
        fn add_linear_input(dy: &Buffer, store: &Store, weight: usize, dx: &mut Buffer) -> ();
        fn linear_weight(dy: &Buffer, x: &Buffer, gradients: &mut Store, weight: usize) -> ();
        fn rotate(x: &mut Buffer, table: &Table, heads: usize, inverse: bool) -> ();
        fn activate(activation: Activation, x: &Buffer, width: usize) -> Buffer;
        fn activate_backward(activation: Activation, x: Buffer, dy: &Buffer, width: usize) -> Buffer;
        fn attend(q: &Buffer, k: &Buffer, v: &Buffer, attention: &Attention) -> (Buffer, Buffer);
        fn attend_backward(q: &Buffer, k: &Buffer, v: &Buffer, o: &Buffer, sums: &Buffer, dout: &Buffer, attention: &Attention) -> (Buffer, Buffer, Buffer);
        fn loss(x: &Buffer, store: &Store, head: usize, targets: Targets<'_>, options: LossOptions, gradients: Option<&mut Store>) -> (Losses, Option<Buffer>);
    }
}
