//! The operations on an NVIDIA GPU: products by cuBLAS, the rest by kernels of our own (`kernels.cu`), which are compiled when the
//! program starts, so that building it takes no compiler of NVIDIA's for them. Everything is in single precision, but that
//! with [`Precision::Tf32`] and [`Precision::Bf16`] products round their inputs and run on tensor cores.
//!
//! Calls are put on one stream and return before they are done; what reads numbers back waits.

#![expect(
    unsafe_code,
    reason = "kernels and cuBLAS take device pointers; every call checks the lengths of the buffers that it names"
)]

mod attention;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use candle_core::cuda_backend::cudarc;
use cudarc::cublas::{CudaBlas, result, sys};
use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DevicePtr, LaunchConfig, PushKernelArg,
};
use cudarc::nvrtc::{CompileOptions, compile_ptx_with_opts};

use super::fused::{check_ids, chunk_rows};
use super::{
    Activation, Attention, Backend, Growth, LossOptions, Losses, Norm, Place, RotaryTable, Rule,
    Targets, misfit, one_after_the_other,
};
use crate::error::{Error, Result};

/// Threads of a block, as in `kernels.cu`.
const THREADS: u32 = 256;
/// Numbers that a block squares.
const STRETCH: usize = 1 << 16;
/// Rows whose gains a block of a norm's backward adds up.
const GAIN_ROWS: usize = 32;

const KERNELS: [&str; 18] = [
    "embed",
    "embed_backward",
    "norm_rows",
    "norm_backward",
    "add_parts",
    "rotate",
    "swiglu",
    "swiglu_backward",
    "gelu",
    "gelu_backward",
    "attend",
    "attend_backward",
    "row_loss",
    "squares",
    "adam",
    "lion",
    "outgrown",
    "round_rows",
];

/// What products round their inputs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Nothing: 24 bits of mantissa.
    Single,
    /// Eleven bits of mantissa, the range of single precision.
    Tf32,
    /// Eight bits of mantissa, the range of single precision.
    Bf16,
}

/// A GPU.
#[derive(Debug)]
pub struct Cuda {
    stream: Arc<CudaStream>,
    blas: CudaBlas,
    precision: Precision,
    kernels: HashMap<&'static str, CudaFunction>,
}

/// Numbers of all parameters, one after the other.
#[derive(Debug)]
pub struct Flat {
    numbers: CudaSlice<f32>,
    places: Vec<(Range<usize>, Place)>,
}

/// Cosines and sines, (positions, half).
#[derive(Debug)]
pub struct Table {
    cos: CudaSlice<f32>,
    sin: CudaSlice<f32>,
    positions: usize,
    half: usize,
}

/// An argument of a kernel.
#[derive(Debug, Clone, Copy)]
enum Argument {
    Pointer(u64),
    Int(i32),
    Long(i64),
    Float(f32),
    Double(f64),
}

/// A matrix on the device: rows `stride` numbers apart, and the next one of a batch `next` numbers on.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    pointer: u64,
    stride: usize,
    next: usize,
    transposed: bool,
}

impl Matrix {
    const fn new(pointer: u64, stride: usize) -> Self {
        Self {
            pointer,
            stride,
            next: 0,
            transposed: false,
        }
    }

    const fn transposed(self) -> Self {
        Self {
            transposed: !self.transposed,
            ..self
        }
    }

    /// One of a batch.
    const fn every(self, next: usize) -> Self {
        Self { next, ..self }
    }

    const fn operation(self) -> sys::cublasOperation_t {
        match self.transposed {
            true => sys::cublasOperation_t::CUBLAS_OP_T,
            false => sys::cublasOperation_t::CUBLAS_OP_N,
        }
    }

    fn next(self) -> Result<i64> {
        i64::try_from(self.next).map_err(|_| misfit("a product"))
    }

    /// The same from another number on.
    const fn from(self, offset: usize) -> Self {
        Self {
            pointer: self.pointer + 4 * offset as u64,
            ..self
        }
    }
}

/// A product of a batch: (rows, inner) times (inner, columns).
#[derive(Debug, Clone, Copy)]
struct Size {
    rows: usize,
    columns: usize,
    inner: usize,
    batch: usize,
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Device(error.to_string())
}

fn int(number: usize) -> Result<i32> {
    i32::try_from(number).map_err(|_| {
        Error::Usage(
            "a batch is too large for the GPU's kernels: lower data.sequences-per-micro-batch"
                .to_owned(),
        )
    })
}

impl Cuda {
    /// The GPU of that number.
    ///
    /// # Errors
    /// [`Error::Device`] if there is none, or its driver is too old.
    pub fn new(ordinal: usize, precision: Precision) -> Result<Self> {
        let context = CudaContext::new(ordinal).map_err(failed)?;
        // SAFETY: there is one stream, whose calls run in order, so no event has to order them.
        unsafe { context.disable_event_tracking() };
        let stream = context.default_stream();
        let blas = CudaBlas::new(Arc::clone(&stream)).map_err(failed)?;
        if precision == Precision::Tf32 {
            let mode = sys::cublasMath_t::CUBLAS_TF32_TENSOR_OP_MATH;
            // SAFETY: the handle is the one that was just made.
            unsafe { sys::cublasSetMathMode(*blas.handle(), mode) }
                .result()
                .map_err(failed)?;
        }
        let (major, minor) = context.compute_capability().map_err(failed)?;
        let options = CompileOptions {
            options: vec![format!("--gpu-architecture=compute_{major}{minor}")],
            ..CompileOptions::default()
        };
        let code = compile_ptx_with_opts(include_str!("kernels.cu"), options).map_err(failed)?;
        let module = context.load_module(code).map_err(failed)?;
        let kernels = KERNELS
            .iter()
            .map(|&name| Ok((name, module.load_function(name).map_err(failed)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            stream,
            blas,
            precision,
            kernels,
        })
    }

    fn at<T>(&self, slice: &CudaSlice<T>) -> Argument {
        Argument::Pointer(self.pointer(slice))
    }

    fn pointer<T>(&self, slice: &CudaSlice<T>) -> u64 {
        slice.device_ptr(&self.stream).0
    }

    /// Numbers of any values.
    fn take(&self, count: usize) -> Result<CudaSlice<f32>> {
        // SAFETY: every caller writes all of them before they are read.
        unsafe { self.stream.alloc::<f32>(count.max(1)) }.map_err(failed)
    }

    /// Runs a kernel, which is on the list and is given what it takes, on so many blocks.
    fn launch(&self, name: &'static str, blocks: usize, arguments: &[Argument]) -> Result<()> {
        if blocks == 0 {
            return Ok(());
        }
        let kernel = self.kernels.get(name).ok_or_else(|| misfit(name))?;
        let mut builder = self.stream.launch_builder(kernel);
        for argument in arguments {
            match argument {
                Argument::Pointer(pointer) => builder.arg(pointer),
                Argument::Int(number) => builder.arg(number),
                Argument::Long(number) => builder.arg(number),
                Argument::Float(number) => builder.arg(number),
                Argument::Double(number) => builder.arg(number),
            };
        }
        let blocks = u32::try_from(blocks).map_err(|_| misfit(name))?;
        let launch = LaunchConfig {
            grid_dim: (blocks, 1, 1),
            block_dim: (THREADS, 1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: callers pass what the kernel's declaration lists, with buffers of the lengths that it goes through.
        unsafe { builder.launch(launch) }.map_err(failed)?;
        Ok(())
    }

    /// Runs a kernel of which a thread takes a number.
    fn launch_each(&self, name: &'static str, count: usize, arguments: &[Argument]) -> Result<()> {
        self.launch(name, count.div_ceil(THREADS as usize), arguments)
    }

    /// `c = a b`, or `c += a b` with `add`. cuBLAS has columns where we have rows, so it is asked for `c^T = b^T a^T`.
    fn product(&self, size: Size, a: Matrix, b: Matrix, c: Matrix, add: bool) -> Result<()> {
        let Size {
            rows,
            columns,
            inner,
            batch,
        } = size;
        if rows == 0 || columns == 0 || inner == 0 || batch == 0 {
            return Ok(());
        }
        if self.precision == Precision::Bf16 {
            return self.rounded_product(size, a, b, c, add);
        }
        let (one, beta) = (1.0_f32, if add { 1.0_f32 } else { 0.0 });
        // SAFETY: callers name matrices within their buffers, `c` being none of the inputs.
        unsafe {
            result::sgemm_strided_batched(
                *self.blas.handle(),
                b.operation(),
                a.operation(),
                int(columns)?,
                int(rows)?,
                int(inner)?,
                &raw const one,
                b.pointer as *const f32,
                int(b.stride)?,
                b.next()?,
                a.pointer as *const f32,
                int(a.stride)?,
                a.next()?,
                &raw const beta,
                c.pointer as *mut f32,
                int(c.stride)?,
                c.next()?,
                int(batch)?,
            )
        }
        .map_err(failed)
    }

    /// [`Self::product`] of the numbers of `a` and `b` rounded to bf16, added up in single precision.
    fn rounded_product(
        &self,
        size: Size,
        a: Matrix,
        b: Matrix,
        c: Matrix,
        add: bool,
    ) -> Result<()> {
        let Size {
            rows,
            columns,
            inner,
            batch,
        } = size;
        let (a, _of_a) = self.rounded(a, (rows, inner), batch)?;
        let (b, _of_b) = self.rounded(b, (inner, columns), batch)?;
        let (one, beta) = (1.0_f32, if add { 1.0_f32 } else { 0.0 });
        let (rounded, single) = (
            sys::cudaDataType_t::CUDA_R_16BF,
            sys::cudaDataType_t::CUDA_R_32F,
        );
        // SAFETY: callers name matrices within their buffers, `c` being none of the inputs, and these are copies of them; what is freed
        // after the call is freed on the stream, after the product.
        unsafe {
            result::gemm_strided_batched_ex(
                *self.blas.handle(),
                b.operation(),
                a.operation(),
                int(columns)?,
                int(rows)?,
                int(inner)?,
                (&raw const one).cast(),
                b.pointer as *const _,
                rounded,
                int(b.stride)?,
                b.next()?,
                a.pointer as *const _,
                rounded,
                int(a.stride)?,
                a.next()?,
                (&raw const beta).cast(),
                c.pointer as *mut _,
                single,
                int(c.stride)?,
                c.next()?,
                int(batch)?,
                sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
                sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        }
        .map_err(failed)
    }

    /// Numbers of bf16 in a memory of their own, with what they are read as. `shape` is that of one of the batch as it is multiplied.
    fn rounded(
        &self,
        matrix: Matrix,
        shape: (usize, usize),
        batch: usize,
    ) -> Result<(Matrix, CudaSlice<u16>)> {
        let (rows, columns) = if matrix.transposed {
            (shape.1, shape.0)
        } else {
            shape
        };
        // The same for all of a batch, or one for each.
        let batch = if matrix.next == 0 { 1 } else { batch };
        let count = batch * rows * columns;
        // SAFETY: the kernel writes all of them.
        let numbers = unsafe { self.stream.alloc::<u16>(count) }.map_err(failed)?;
        let sizes = [columns, matrix.stride, rows, matrix.next, count];
        let sizes = sizes.map(|size| Argument::Long(size as i64));
        let mut arguments = vec![self.at(&numbers), Argument::Pointer(matrix.pointer)];
        arguments.extend(sizes);
        self.launch_each("round_rows", count, &arguments)?;
        let rounded = Matrix {
            pointer: self.pointer(&numbers),
            stride: columns,
            next: if matrix.next == 0 { 0 } else { rows * columns },
            transposed: matrix.transposed,
        };
        Ok((rounded, numbers))
    }

    fn upload<T: cudarc::driver::DeviceRepr>(&self, numbers: &[T]) -> Result<CudaSlice<T>> {
        self.stream.clone_htod(numbers).map_err(failed)
    }

    /// A parameter of a store: its matrix and shape.
    fn weight(&self, store: &Flat, index: usize) -> (Matrix, Place) {
        let (range, place) = &store.places[index];
        let whole = Matrix::new(self.pointer(&store.numbers), place.columns);
        (whole.from(range.start), *place)
    }

    fn linear_into(
        &self,
        x: &CudaSlice<f32>,
        rows: usize,
        store: &Flat,
        weight: usize,
        y: &CudaSlice<f32>,
        add: bool,
    ) -> Result<()> {
        let (matrix, place) = self.weight(store, weight);
        if x.len() < rows * place.columns || y.len() < rows * place.rows {
            return Err(misfit("a linear map"));
        }
        let size = Size {
            rows,
            columns: place.rows,
            inner: place.columns,
            batch: 1,
        };
        let x = Matrix::new(self.pointer(x), place.columns);
        let y = Matrix::new(self.pointer(y), place.rows);
        self.product(size, x, matrix.transposed(), y, add)
    }

    fn input_into(
        &self,
        dy: &CudaSlice<f32>,
        store: &Flat,
        weight: usize,
        dx: &CudaSlice<f32>,
        add: bool,
    ) -> Result<()> {
        let (matrix, place) = self.weight(store, weight);
        let rows = dy.len() / place.rows;
        if dx.len() < rows * place.columns {
            return Err(misfit("a linear map backward"));
        }
        let size = Size {
            rows,
            columns: place.columns,
            inner: place.rows,
            batch: 1,
        };
        let dy = Matrix::new(self.pointer(dy), place.rows);
        let dx = Matrix::new(self.pointer(dx), place.columns);
        self.product(size, dy, matrix, dx, add)
    }
}

impl Backend for Cuda {
    type Buffer = CudaSlice<f32>;
    type Store = Flat;
    type Table = Table;

    fn store(&self, places: &[Place]) -> Result<Flat> {
        let places = one_after_the_other(places);
        let end = places.last().map_or(0, |(range, _)| range.end);
        let numbers = self.stream.alloc_zeros(end.max(1)).map_err(failed)?;
        Ok(Flat { numbers, places })
    }

    fn clear(&self, store: &mut Flat) -> Result<()> {
        self.stream.memset_zeros(&mut store.numbers).map_err(failed)
    }

    fn write(&self, store: &mut Flat, index: usize, numbers: &[f32]) -> Result<()> {
        let range = store.places[index].0.clone();
        if range.len() != numbers.len() {
            return Err(misfit("writing a parameter"));
        }
        let mut place = store.numbers.slice_mut(range);
        self.stream.memcpy_htod(numbers, &mut place).map_err(failed)
    }

    fn read(&self, store: &Flat, index: usize) -> Result<Vec<f32>> {
        let place = store.numbers.slice(store.places[index].0.clone());
        self.stream.clone_dtoh(&place).map_err(failed)
    }

    fn squares(&self, store: &Flat) -> Result<f64> {
        let count = store.places.last().map_or(0, |(range, _)| range.end);
        let blocks = count.div_ceil(STRETCH);
        let parts = self
            .stream
            .alloc_zeros::<f64>(blocks.max(1))
            .map_err(failed)?;
        let arguments = [
            self.at(&parts),
            self.at(&store.numbers),
            Argument::Long(count as i64),
            Argument::Long(STRETCH as i64),
        ];
        self.launch("squares", blocks, &arguments)?;
        let parts: Vec<f64> = self.stream.clone_dtoh(&parts).map_err(failed)?;
        Ok(parts.iter().sum())
    }

    fn outgrown(
        &self,
        rule: Rule,
        gradients: &Flat,
        factor: f64,
        second: &Flat,
        index: usize,
    ) -> Result<f64> {
        let growth = Growth::of(rule, factor)?;
        let (of_gradients, place) = self.weight(gradients, index);
        let (of_second, _) = self.weight(second, index);
        let count = place.count();
        if second.places[index].0.len() != count {
            return Err(misfit("a step of the optimizer"));
        }
        let blocks = count.div_ceil(STRETCH);
        let zeros = self.stream.alloc_zeros::<f64>(blocks.max(1));
        let parts = zeros.map_err(failed)?;
        let arguments = [
            self.at(&parts),
            Argument::Pointer(of_gradients.pointer),
            Argument::Pointer(of_second.pointer),
            Argument::Long(count as i64),
            Argument::Long(STRETCH as i64),
            Argument::Double(growth.factor),
            Argument::Double(growth.beta2),
            Argument::Double(growth.correction),
            Argument::Double(growth.least.max(f64::MIN_POSITIVE)),
        ];
        self.launch("outgrown", blocks, &arguments)?;
        let parts: Vec<f64> = self.stream.clone_dtoh(&parts).map_err(failed)?;
        Ok(parts.iter().sum::<f64>() / count.max(1) as f64)
    }

    fn update(
        &self,
        rule: Rule,
        parameters: &mut Flat,
        gradients: &Flat,
        factor: f64,
        moments: &mut [Flat],
        index: usize,
    ) -> Result<()> {
        if let Rule::Muon { .. } = rule {
            let place = (index, parameters.places[index].1);
            return super::fused::on_host(
                self, rule, parameters, gradients, factor, moments, place,
            );
        }
        let count = parameters.places[index].0.len();
        // Each store by its own places: moments are kept only of parameters that have them.
        let place = |store: &Flat| {
            let start = 4 * store.places[index].0.start as u64;
            Argument::Pointer(self.pointer(&store.numbers) + start)
        };
        let number = |value: f64| Argument::Float(single(value));
        let mut arguments = vec![place(parameters), place(gradients)];
        arguments.extend(moments.iter().map(place));
        arguments.extend([Argument::Long(count as i64), number(factor)]);
        match (rule, moments.len()) {
            (
                Rule::Adam {
                    keep,
                    rate,
                    beta1,
                    beta2,
                    root,
                    epsilon,
                },
                2,
            ) => {
                let numbers = [
                    keep,
                    rate,
                    beta1,
                    1.0 - beta1,
                    beta2,
                    1.0 - beta2,
                    root,
                    epsilon,
                ];
                arguments.extend(numbers.map(number));
                self.launch_each("adam", count, &arguments)
            }
            (
                Rule::Lion {
                    keep,
                    rate,
                    beta1,
                    beta2,
                },
                1,
            ) => {
                let numbers = [keep, rate, beta1, 1.0 - beta1, beta2, 1.0 - beta2];
                arguments.extend(numbers.map(number));
                self.launch_each("lion", count, &arguments)
            }
            _ => Err(misfit("a step of the optimizer")),
        }
    }

    fn table(&self, table: &RotaryTable) -> Result<Table> {
        let numbers = |values: &[f64]| {
            let values: Vec<f32> = values.iter().map(|&value| single(value)).collect();
            self.upload(&values)
        };
        Ok(Table {
            cos: numbers(&table.cos)?,
            sin: numbers(&table.sin)?,
            positions: table.positions,
            half: table.half,
        })
    }

    fn numbers(&self, buffer: &CudaSlice<f32>) -> Result<Vec<f64>> {
        let numbers: Vec<f32> = self.stream.clone_dtoh(buffer).map_err(failed)?;
        Ok(numbers.iter().map(|&x| f64::from(x)).collect())
    }

    fn copy(&self, buffer: &CudaSlice<f32>) -> Result<CudaSlice<f32>> {
        self.stream.clone_dtod(buffer).map_err(failed)
    }

    fn zeros(&self, rows: usize, width: usize) -> Result<CudaSlice<f32>> {
        self.stream
            .alloc_zeros((rows * width).max(1))
            .map_err(failed)
    }

    fn rows(
        &self,
        buffer: &CudaSlice<f32>,
        width: usize,
        start: usize,
        end: usize,
    ) -> Result<CudaSlice<f32>> {
        let rows = buffer.try_slice(start * width..end * width);
        let rows = rows.ok_or_else(|| misfit("taking rows"))?;
        self.stream.clone_dtod(&rows).map_err(failed)
    }

    fn join(
        &self,
        parts: &[(&CudaSlice<f32>, Range<usize>)],
        width: usize,
    ) -> Result<CudaSlice<f32>> {
        let rows: usize = parts.iter().map(|(_, rows)| rows.len()).sum();
        let mut joined = self.take(rows * width)?;
        let mut at = 0;
        for (buffer, rows) in parts.iter().filter(|(_, rows)| !rows.is_empty()) {
            let from = buffer.try_slice(rows.start * width..rows.end * width);
            let to = joined.try_slice_mut(at..at + rows.len() * width);
            let (Some(from), Some(mut to)) = (from, to) else {
                return Err(misfit("joining rows"));
            };
            self.stream.memcpy_dtod(&from, &mut to).map_err(failed)?;
            at += rows.len() * width;
        }
        Ok(joined)
    }

    fn add_rows(
        &self,
        sum: &mut CudaSlice<f32>,
        other: &CudaSlice<f32>,
        width: usize,
        rows: usize,
    ) -> Result<()> {
        let count = rows * width;
        if count > sum.len().min(other.len()) {
            return Err(misfit("adding rows"));
        }
        if count == 0 {
            return Ok(());
        }
        let arguments = [
            self.at(sum),
            self.at(other),
            Argument::Int(1),
            Argument::Int(int(count)?),
        ];
        self.launch_each("add_parts", count, &arguments)
    }

    fn embed(&self, store: &Flat, embedding: usize, ids: &[u32]) -> Result<CudaSlice<f32>> {
        let (table, place) = self.weight(store, embedding);
        check_ids(ids, place.rows)?;
        let x = self.take(ids.len() * place.columns)?;
        let on_device = self.upload(ids)?;
        let arguments = [
            self.at(&x),
            Argument::Pointer(table.pointer),
            self.at(&on_device),
            Argument::Int(int(place.columns)?),
        ];
        self.launch("embed", ids.len(), &arguments)?;
        Ok(x)
    }

    fn embed_backward(
        &self,
        ids: &[u32],
        dx: &CudaSlice<f32>,
        gradients: &mut Flat,
        embedding: usize,
    ) -> Result<()> {
        let (table, place) = self.weight(gradients, embedding);
        check_ids(ids, place.rows)?;
        // Rows of one id one after the other, so that a block adds them up in an order that is always the same.
        let mut order: Vec<u32> = (0..).take(ids.len()).collect();
        order.sort_by_key(|&row| (ids[row as usize], row));
        let mut first: Vec<u32> = (0_u32..)
            .zip(&order)
            .filter(|&(at, &row)| {
                let id = |row: u32| ids[row as usize];
                at == 0 || id(order[at as usize - 1]) != id(row)
            })
            .map(|(at, _)| at)
            .collect();
        let distinct = first.len();
        first.push(u32::try_from(order.len()).map_err(failed)?);
        let (order, first, ids) = (
            self.upload(&order)?,
            self.upload(&first)?,
            self.upload(ids)?,
        );
        let arguments = [
            Argument::Pointer(table.pointer),
            self.at(dx),
            self.at(&order),
            self.at(&first),
            self.at(&ids),
            Argument::Int(int(place.columns)?),
        ];
        self.launch("embed_backward", distinct, &arguments)
    }

    fn norm(
        &self,
        norm: Norm,
        x: &CudaSlice<f32>,
        store: &Flat,
        gain: usize,
    ) -> Result<CudaSlice<f32>> {
        let (gain, place) = self.weight(store, gain);
        let y = self.take(x.len())?;
        let arguments = [
            self.at(&y),
            self.at(x),
            Argument::Pointer(gain.pointer),
            Argument::Int(int(place.columns)?),
            Argument::Int(i32::from(norm == Norm::Rms)),
        ];
        self.launch("norm_rows", x.len() / place.columns, &arguments)?;
        Ok(y)
    }

    fn norm_backward(
        &self,
        norm: Norm,
        x: &CudaSlice<f32>,
        store: &Flat,
        gain: usize,
        dy: &CudaSlice<f32>,
        dx: &mut CudaSlice<f32>,
        gradients: &mut Flat,
    ) -> Result<()> {
        let (values, place) = self.weight(store, gain);
        let (gradient, _) = self.weight(gradients, gain);
        let width = place.columns;
        let rows = x.len() / width;
        if dy.len() != x.len() || dx.len() != x.len() {
            return Err(misfit("a norm backward"));
        }
        let blocks = rows.div_ceil(GAIN_ROWS);
        let parts = self.take(blocks * width)?;
        let arguments = [
            self.at(dx),
            self.at(&parts),
            self.at(x),
            Argument::Pointer(values.pointer),
            self.at(dy),
            Argument::Int(int(width)?),
            Argument::Int(i32::from(norm == Norm::Rms)),
            Argument::Int(int(rows)?),
            Argument::Int(int(GAIN_ROWS)?),
        ];
        self.launch("norm_backward", blocks, &arguments)?;
        let arguments = [
            Argument::Pointer(gradient.pointer),
            self.at(&parts),
            Argument::Int(int(blocks)?),
            Argument::Int(int(width)?),
        ];
        self.launch_each("add_parts", width, &arguments)
    }

    fn linear(&self, x: &CudaSlice<f32>, store: &Flat, weight: usize) -> Result<CudaSlice<f32>> {
        let place = store.places[weight].1;
        let rows = x.len() / place.columns;
        let y = self.take(rows * place.rows)?;
        self.linear_into(x, rows, store, weight, &y, false)?;
        Ok(y)
    }

    fn add_linear(
        &self,
        x: &CudaSlice<f32>,
        store: &Flat,
        weight: usize,
        y: &mut CudaSlice<f32>,
    ) -> Result<()> {
        let rows = x.len() / store.places[weight].1.columns;
        self.linear_into(x, rows, store, weight, y, true)
    }

    fn linear_input(
        &self,
        dy: &CudaSlice<f32>,
        store: &Flat,
        weight: usize,
    ) -> Result<CudaSlice<f32>> {
        let place = store.places[weight].1;
        let dx = self.take(dy.len() / place.rows * place.columns)?;
        self.input_into(dy, store, weight, &dx, false)?;
        Ok(dx)
    }

    fn add_linear_input(
        &self,
        dy: &CudaSlice<f32>,
        store: &Flat,
        weight: usize,
        dx: &mut CudaSlice<f32>,
    ) -> Result<()> {
        self.input_into(dy, store, weight, dx, true)
    }

    fn linear_weight(
        &self,
        dy: &CudaSlice<f32>,
        x: &CudaSlice<f32>,
        gradients: &mut Flat,
        weight: usize,
    ) -> Result<()> {
        let (gradient, place) = self.weight(gradients, weight);
        let rows = dy.len() / place.rows;
        if x.len() != rows * place.columns {
            return Err(misfit("the gradient of a linear map"));
        }
        let size = Size {
            rows: place.rows,
            columns: place.columns,
            inner: rows,
            batch: 1,
        };
        let dy = Matrix::new(self.pointer(dy), place.rows).transposed();
        let x = Matrix::new(self.pointer(x), place.columns);
        self.product(size, dy, x, gradient, true)
    }

    fn rotate(
        &self,
        x: &mut CudaSlice<f32>,
        table: &Table,
        heads: usize,
        inverse: bool,
    ) -> Result<()> {
        let pairs = x.len() / 2;
        let arguments = [
            self.at(x),
            self.at(&table.cos),
            self.at(&table.sin),
            Argument::Int(int(table.positions)?),
            Argument::Int(int(heads)?),
            Argument::Int(int(table.half)?),
            Argument::Float(if inverse { -1.0 } else { 1.0 }),
            Argument::Long(pairs as i64),
        ];
        self.launch_each("rotate", pairs, &arguments)
    }

    fn activate(
        &self,
        activation: Activation,
        x: &CudaSlice<f32>,
        width: usize,
    ) -> Result<CudaSlice<f32>> {
        let count = x.len() / activation.inputs();
        let y = self.take(count)?;
        let name = match activation {
            Activation::Swiglu => "swiglu",
            Activation::Gelu => "gelu",
        };
        let arguments = [
            self.at(&y),
            self.at(x),
            Argument::Int(int(width)?),
            Argument::Long(count as i64),
        ];
        self.launch_each(name, count, &arguments)?;
        Ok(y)
    }

    fn activate_backward(
        &self,
        activation: Activation,
        x: CudaSlice<f32>,
        dy: &CudaSlice<f32>,
        width: usize,
    ) -> Result<CudaSlice<f32>> {
        let count = x.len() / activation.inputs();
        if dy.len() != count {
            return Err(misfit("an activation backward"));
        }
        let name = match activation {
            Activation::Swiglu => "swiglu_backward",
            Activation::Gelu => "gelu_backward",
        };
        let arguments = [
            self.at(&x),
            self.at(dy),
            Argument::Int(int(width)?),
            Argument::Long(count as i64),
        ];
        self.launch_each(name, count, &arguments)?;
        Ok(x)
    }

    fn attend(
        &self,
        q: &CudaSlice<f32>,
        k: &CudaSlice<f32>,
        v: &CudaSlice<f32>,
        attention: &Attention,
    ) -> Result<(CudaSlice<f32>, CudaSlice<f32>)> {
        self.attend_forward(q, k, v, attention)
    }

    fn attend_backward(
        &self,
        q: &CudaSlice<f32>,
        k: &CudaSlice<f32>,
        v: &CudaSlice<f32>,
        o: &CudaSlice<f32>,
        sums: &CudaSlice<f32>,
        dout: &CudaSlice<f32>,
        attention: &Attention,
    ) -> Result<(CudaSlice<f32>, CudaSlice<f32>, CudaSlice<f32>)> {
        self.attend_back([q, k, v, o, sums, dout], attention)
    }

    fn loss(
        &self,
        x: &CudaSlice<f32>,
        store: &Flat,
        head: usize,
        targets: Targets<'_>,
        options: LossOptions,
        gradients: Option<&mut Flat>,
    ) -> Result<(Losses, Option<CudaSlice<f32>>)> {
        let (weight, place) = self.weight(store, head);
        let (vocabulary, width) = (place.rows, place.columns);
        check_ids(targets.ids, vocabulary)?;
        let rows = targets.ids.len();
        if targets.trained.len() != rows || x.len() != rows * width {
            return Err(misfit("the loss"));
        }
        // A GPU wants more rows at once than a processor.
        let chunk = (8 * chunk_rows(vocabulary)).min(rows.max(1));
        let logits = self.take(chunk * vocabulary)?;
        let marks: Vec<u8> = targets
            .trained
            .iter()
            .map(|&trained| trained.into())
            .collect();
        let (ids, marks) = (self.upload(targets.ids)?, self.upload(&marks)?);
        let losses = self
            .stream
            .alloc_zeros::<f64>(2 * rows.max(1))
            .map_err(failed)?;
        let dhead = gradients.map(|gradients| self.weight(gradients, head).0);
        let dx = match dhead {
            Some(_) => Some(self.take(x.len())?),
            None => None,
        };
        let of_logits = Matrix::new(self.pointer(&logits), vocabulary);
        for first in (0..rows).step_by(chunk) {
            let count = chunk.min(rows - first);
            let x = Matrix::new(self.pointer(x), width).from(first * width);
            let size = Size {
                rows: count,
                columns: vocabulary,
                inner: width,
                batch: 1,
            };
            self.product(size, x, weight.transposed(), of_logits, false)?;
            let arguments = [
                self.at(&logits),
                Argument::Pointer(self.pointer(&losses) + 16 * first as u64),
                Argument::Pointer(self.pointer(&ids) + 4 * first as u64),
                Argument::Pointer(self.pointer(&marks) + first as u64),
                Argument::Int(int(vocabulary)?),
                Argument::Float(single(options.scale)),
                Argument::Float(single(options.z_loss)),
                Argument::Float(single(options.smoothing)),
            ];
            self.launch("row_loss", count, &arguments)?;
            if let (Some(dx), Some(dhead)) = (&dx, dhead) {
                let dx = Matrix::new(self.pointer(dx), width).from(first * width);
                let of_input = Size {
                    rows: count,
                    columns: width,
                    inner: vocabulary,
                    batch: 1,
                };
                self.product(of_input, of_logits, weight, dx, false)?;
                let of_head = Size {
                    rows: vocabulary,
                    columns: width,
                    inner: count,
                    batch: 1,
                };
                self.product(of_head, of_logits.transposed(), x, dhead, true)?;
            }
        }
        let by_row: Vec<f64> = self.stream.clone_dtoh(&losses).map_err(failed)?;
        let mut sums = Losses::default();
        for pair in by_row.chunks_exact(2) {
            sums.nats += pair[0];
            sums.objective += pair[1];
        }
        Ok((sums, dx))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "kernels are in single precision"
)]
fn single(value: f64) -> f32 {
    value as f32
}
