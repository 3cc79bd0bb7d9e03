//! Which [`Backend`] a device name stands for.

use candle_core::{DType, Device};

use crate::config::DeviceName;
use crate::error::{Error, Result};
use crate::ops::{Backend, Fused, Portable};

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

/// Does `task` on the device of that name.
///
/// # Errors
/// There is no such device, this program was built without it, or the task failed.
pub fn on_device<T: OnBackend>(name: DeviceName, task: T) -> Result<T::Output> {
    let portable = |device| Portable::new(device, DType::F32);
    match name {
        DeviceName::Cpu => task.on(Fused::<f32>::default()),
        DeviceName::Portable => task.on(portable(Device::Cpu)),
        DeviceName::Cuda if cfg!(feature = "cuda") => task.on(portable(Device::new_cuda(0)?)),
        DeviceName::Metal if cfg!(feature = "metal") => task.on(portable(Device::new_metal(0)?)),
        DeviceName::Cuda => Err(without("cuda")),
        DeviceName::Metal => Err(without("metal")),
    }
}

fn without(feature: &str) -> Error {
    Error::Usage(format!(
        "this program was built without {feature}\nhint: build it with `cargo build --release --features {feature} --bin andromeda-train`, \
         or set compute.device to cpu"
    ))
}
