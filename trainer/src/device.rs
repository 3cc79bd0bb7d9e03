//! Which [`Backend`] a device name stands for.

use candle_core::{DType, Device};

use crate::config::{ComputeOptions, DeviceName, Dtype};
use crate::error::{Error, Result};
use crate::ops::fused::Kernel;
use crate::ops::{Backend, Fused, Portable};

/// The variable that says which worker of its machine this is, as launchers of several workers set it.
pub const LOCAL_RANK: &str = "LOCAL_RANK";

/// Which GPU of its machine a worker takes: that of the number in [`LOCAL_RANK`], the first without one.
///
/// # Errors
/// The variable is no number.
pub fn gpu() -> Result<usize> {
    let Some(value) = std::env::var_os(LOCAL_RANK).filter(|value| !value.is_empty()) else {
        return Ok(0);
    };
    let number = value.to_str().and_then(|value| value.parse().ok());
    number.ok_or_else(|| {
        Error::Usage(format!(
            "the variable {LOCAL_RANK} is {value:?} and should be the number of a GPU"
        ))
    })
}

/// Something to do on a backend that is known only when the program runs.
pub trait OnBackend {
    /// What comes of it.
    type Output;

    /// Does it.
    ///
    /// # Errors
    /// Its own.
    fn on<B: Backend>(self, backend: B) -> Result<Self::Output>;
}

/// Does `task` on the device that is named.
///
/// # Errors
/// There is no such device, this program was built without it, or the task failed.
pub fn on_device<T: OnBackend>(options: &ComputeOptions, task: T) -> Result<T::Output> {
    let bf16 = options.dtype == Dtype::Bf16;
    let portable = |device| {
        let portable = Portable::new(device, DType::F32);
        if bf16 { portable.in_bf16() } else { portable }
    };
    match options.device {
        DeviceName::Cpu if bf16 => task.on(Fused::<f32>::in_bf16(Kernel::fastest())),
        DeviceName::Cpu => task.on(Fused::<f32>::default()),
        DeviceName::Portable => task.on(portable(Device::Cpu)),
        #[cfg(feature = "cuda")]
        DeviceName::Cuda => {
            use crate::ops::cuda::{Cuda, Precision};
            let precision = match options.tf32 {
                _ if bf16 => Precision::Bf16,
                true => Precision::Tf32,
                false => Precision::Single,
            };
            task.on(Cuda::new(gpu()?, precision)?)
        }
        #[cfg(feature = "cuda")]
        DeviceName::CudaPortable => {
            candle_core::cuda_backend::set_gemm_reduced_precision_f32(options.tf32);
            task.on(portable(Device::new_cuda(gpu()?)?))
        }
        #[cfg(not(feature = "cuda"))]
        DeviceName::Cuda | DeviceName::CudaPortable => Err(without("cuda")),
        DeviceName::Metal if cfg!(feature = "metal") => task.on(portable(Device::new_metal(0)?)),
        DeviceName::Metal => Err(without("metal")),
    }
}

fn without(feature: &str) -> Error {
    Error::Usage(format!(
        "this program was built without {feature}\nhint: build it with `cargo build --release --features {feature} --bin andromeda-train`, \
         or set compute.device to cpu"
    ))
}
