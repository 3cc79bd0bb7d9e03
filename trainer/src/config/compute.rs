//! `[compute]`: where and how to compute.

use serde::{Deserialize, Serialize};

use crate::model::Keep;

/// Where a run computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceName {
    /// The processor, with kernels of its own.
    #[default]
    Cpu,
    /// The processor, with candle's operations: slow, and what runs on other devices.
    Portable,
    /// The first NVIDIA GPU, with kernels of its own, in a program built with the feature `cuda`.
    Cuda,
    /// The first NVIDIA GPU with candle's operations: what those kernels are held against.
    CudaPortable,
    /// Apple's GPU, in a program built with the feature `metal`.
    Metal,
}

/// What products, of linears, head, attention and their gradients, round their inputs to. Parameters, gradients, moments, positions, norms,
/// softmax, loss and all sums are in single precision in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dtype {
    /// Nothing: 24 bits of mantissa.
    #[default]
    F32,
    /// Eight bits of mantissa: faster on AMD's processors with `avx512_bf16` and on GPUs with tensor cores for it, and the same numbers, no
    /// faster, on all others.
    Bf16,
}

/// `[compute]`: what may change from one start of a run to the next.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ComputeOptions {
    /// Where to compute.
    pub device: DeviceName,
    /// What products round their inputs to.
    pub dtype: Dtype,
    /// Whether products on a GPU may round their inputs to eleven bits of mantissa (TF32), which makes them several times as fast.
    pub tf32: bool,
    /// Whether blocks are computed again in the backward instead of kept, but for their attention: about a quarter of the memory of
    /// activations, for a seventh of the time. Changes no bit.
    pub recompute: bool,
    /// Floating-point operations per second that the device can do, against which utilization is told. Without it a processor is
    /// measured, and a GPU is looked up in a table.
    pub peak_flops: Option<f64>,
}

impl ComputeOptions {
    pub(super) fn problems(&self) -> Vec<String> {
        let wrong = self
            .peak_flops
            .filter(|flops| !(flops.is_finite() && *flops > 0.0));
        let told = wrong.map(|flops| format!("compute.peak-flops must be above 0, not {flops}"));
        told.into_iter().collect()
    }

    /// What a forward pass keeps.
    pub const fn keep(&self) -> Keep {
        if self.recompute {
            Keep::Inputs
        } else {
            Keep::All
        }
    }
}
