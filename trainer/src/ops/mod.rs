//! Differentiable operations of the decoder. candle's own fused norm, softmax and rotary embedding have no backward and stop
//! gradients without a word, so each operation here comes in two forms: one composed of candle operations whose gradient
//! exists (any device; the oracle of the tests) and one analytic form on CPU slices, which saves memory and passes over it.

mod attention;
mod linear;
mod norm;
mod numeric;
mod rotary;
mod swiglu;

pub use attention::causal_attention;
pub use linear::linear;
pub use norm::{NORM_EPSILON, layer_norm};
pub(crate) use numeric::{Real, exponentials, maximum};
pub use rotary::{RotaryTable, XPos, rotary};
pub use swiglu::swiglu;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, InplaceOp1, Layout, Result, Shape, Storage,
    StorageRef, Tensor,
};

/// Calls a function generic over [`Real`] with the tensor's own number type.
macro_rules! by_dtype {
    ($tensor:expr, $function:ident ( $($argument:expr),* )) => {
        match $tensor.dtype() {
            candle_core::DType::F32 => $function::<f32>($($argument),*),
            candle_core::DType::F64 => $function::<f64>($($argument),*),
            other => candle_core::bail!("{}: number type {other:?} is not supported, use f32", stringify!($function)),
        }
    };
}
pub(crate) use by_dtype;

/// Whether the analytic CPU form applies.
pub(crate) fn on_cpu(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// The numbers of a contiguous CPU tensor, borrowed.
pub(crate) struct Numbers<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl<'a> Numbers<'a> {
    pub(crate) fn of(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let (start, end) = contiguous(layout)?;
        Ok(Self {
            storage,
            start,
            end,
        })
    }

    pub(crate) fn slice<T: Real>(&self) -> Result<&[T]> {
        match &*self.storage {
            Storage::Cpu(storage) => Ok(&T::cpu_storage_as_slice(storage)?[self.start..self.end]),
            _ => candle_core::bail!("expected a tensor on the CPU"),
        }
    }
}

pub(crate) fn contiguous(layout: &Layout) -> Result<(usize, usize)> {
    layout.contiguous_offsets().ok_or_else(|| {
        candle_core::Error::Msg(format!("expected a contiguous tensor, got {layout:?}")).bt()
    })
}

/// A value computed outside the graph, waiting to become the result of a graph node.
struct Value {
    name: &'static str,
    computed: Mutex<Option<(CpuStorage, Shape)>>,
}

impl Value {
    fn new<T: Real>(name: &'static str, numbers: Vec<T>, shape: impl Into<Shape>) -> Self {
        Self {
            name,
            computed: Mutex::new(Some((T::to_cpu_storage_owned(numbers), shape.into()))),
        }
    }

    fn take(&self) -> Result<(CpuStorage, Shape)> {
        match self
            .computed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            Some(computed) => Ok(computed),
            None => candle_core::bail!("{}: the value of a node was asked for twice", self.name),
        }
    }
}

struct Node<F> {
    value: Value,
    backward: F,
}

impl<F: Fn(&Tensor) -> Result<Tensor>> CustomOp1 for Node<F> {
    fn name(&self) -> &'static str {
        self.value.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.value.take()
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some((self.backward)(&gradient.contiguous()?)?))
    }
}

impl<F: Fn(&Tensor) -> Result<(Tensor, Tensor)>> CustomOp2 for Node<F> {
    fn name(&self) -> &'static str {
        self.value.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value.take()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (first, second) = (self.backward)(&gradient.contiguous()?)?;
        Ok((Some(first), Some(second)))
    }
}

impl<F: Fn(&Tensor, &Tensor) -> Result<(Tensor, Tensor, Tensor)>> CustomOp3 for Node<F> {
    fn name(&self) -> &'static str {
        self.value.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.value.take()
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        _: &Tensor,
        result: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (first, second, third) = (self.backward)(&result.detach(), &gradient.contiguous()?)?;
        Ok((Some(first), Some(second), Some(third)))
    }
}

/// Puts `numbers`, a function of `input`, into the graph; `backward` maps the gradient of the result to that of the input.
pub(crate) fn node1<T: Real>(
    name: &'static str,
    input: &Tensor,
    numbers: Vec<T>,
    shape: impl Into<Shape>,
    backward: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    input.apply_op1(Node {
        value: Value::new(name, numbers, shape),
        backward,
    })
}

/// As [`node1`], for two inputs.
pub(crate) fn node2<T: Real>(
    name: &'static str,
    inputs: (&Tensor, &Tensor),
    numbers: Vec<T>,
    shape: impl Into<Shape>,
    backward: impl Fn(&Tensor) -> Result<(Tensor, Tensor)> + Send + Sync + 'static,
) -> Result<Tensor> {
    inputs.0.apply_op2(
        inputs.1,
        Node {
            value: Value::new(name, numbers, shape),
            backward,
        },
    )
}

/// As [`node1`], for three inputs; `backward` is given the result too.
pub(crate) fn node3<T: Real>(
    name: &'static str,
    inputs: (&Tensor, &Tensor, &Tensor),
    numbers: Vec<T>,
    shape: impl Into<Shape>,
    backward: impl Fn(&Tensor, &Tensor) -> Result<(Tensor, Tensor, Tensor)> + Send + Sync + 'static,
) -> Result<Tensor> {
    inputs.0.apply_op3(
        inputs.1,
        inputs.2,
        Node {
            value: Value::new(name, numbers, shape),
            backward,
        },
    )
}

/// Runs `change` over the numbers of `tensor`, which must be contiguous and outside any graph.
pub(crate) fn change_in_place<T: Real>(
    tensor: &Tensor,
    change: impl FnMut(&mut [T]) -> Result<()>,
) -> Result<()> {
    struct Change<T, F>(RefCell<F>, PhantomData<T>);
    impl<T: Real, F: FnMut(&mut [T]) -> Result<()>> InplaceOp1 for Change<T, F> {
        fn name(&self) -> &'static str {
            "change-in-place"
        }

        fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
            let (start, end) = contiguous(layout)?;
            match T::slice_mut(storage).and_then(|numbers| numbers.get_mut(start..end)) {
                Some(numbers) => (self.0.borrow_mut())(numbers),
                None => candle_core::bail!(
                    "a tensor to be changed in place has an unexpected number type"
                ),
            }
        }
    }
    tensor.inplace_op1(&Change(RefCell::new(change), PhantomData))
}

#[cfg(test)]
pub(crate) mod oracle {
    //! What the tests of the operations share: made-up inputs, and the comparison of values and gradients.
    use candle_core::{Device, Result, Tensor, Var};

    use crate::random::Stream;

    pub(crate) fn variable(name: &str, shape: &[usize]) -> Var {
        let stream = Stream::new(11, name);
        let count = shape.iter().product::<usize>() as u64;
        let numbers: Vec<f64> = (0..count).map(|i| stream.normal(i)).collect();
        Var::from_vec(numbers, shape, &Device::Cpu).unwrap()
    }

    /// Value and gradients of two forms of one function, under a random linear functional of the result.
    pub(crate) fn assert_same(
        inputs: &[&Var],
        tolerance: f64,
        analytic: impl Fn() -> Result<Tensor>,
        composed: impl Fn() -> Result<Tensor>,
    ) {
        let (left, right) = (analytic().unwrap(), composed().unwrap());
        assert_eq!(left.dims(), right.dims());
        close(&left, &right, tolerance, "value");
        let weight = variable("functional", left.dims()).as_detached_tensor();
        let left = (left * &weight)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let right = (right * &weight)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        for (index, input) in inputs.iter().enumerate() {
            let analytic = left
                .get(input)
                .expect("the analytic form reaches every input");
            close(
                analytic,
                right.get(input).unwrap(),
                tolerance,
                &format!("gradient of input {index}"),
            );
        }
    }

    pub(crate) fn close(left: &Tensor, right: &Tensor, tolerance: f64, what: &str) {
        let difference = (left - right)
            .unwrap()
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap();
        let size = right
            .abs()
            .unwrap()
            .max_all()
            .unwrap()
            .to_scalar::<f64>()
            .unwrap();
        assert!(
            difference <= tolerance * size.max(1.0),
            "{what} differs by {difference} at size {size}"
        );
    }
}
