//! The peak that a run's model FLOPs utilization (MFU) is measured against: given, measured on the processor, or by a GPU's data
//! sheet.
//!
//! MFU is tokens per second x FLOPs a token / peak (Chowdhery et al., `PaLM`, arXiv:2204.02311, appendix B), where the FLOPs a
//! token are those of the model, [`ModelConfig::flops_per_token`](crate::model::ModelConfig::flops_per_token): blocks that are
//! computed again are no work of the model and count nothing.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config::{ComputeOptions, DeviceName, Dtype};
use crate::error::Result;
use crate::ops::fused::Kernel;
use crate::ops::{Backend, Fused, Place};

/// How long the processor is measured.
const MEASURED_FOR: Duration = Duration::from_millis(200);
/// Products that are made at least: the first one starts threads and takes memory.
const LEAST_PRODUCTS: usize = 4;

/// Floating-point operations per second that a machine can do, and who says so.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Peak {
    /// Operations per second, a multiplication and an addition being two.
    pub flops_per_second: f64,
    /// Where the number is from.
    #[serde(flatten)]
    pub basis: Basis,
}

/// Where a peak is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(
    tag = "basis",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum Basis {
    /// `compute.peak-flops`.
    Given,
    /// The best of some products of two square matrices on this processor, now.
    Measured {
        /// Rows and columns of the matrices.
        size: usize,
        /// Threads that computed.
        threads: usize,
        /// `single precision` or `bf16`.
        precision: &'static str,
    },
    /// The data sheet of a GPU.
    Sheet {
        /// What the driver calls the GPU.
        gpu: String,
        /// `single precision` or `TF32`.
        precision: &'static str,
    },
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given => write!(f, "given by compute.peak-flops"),
            Self::Measured {
                size,
                threads,
                precision,
            } => write!(
                f,
                "measured: a product of {size} x {size} matrices in {precision} on {threads} threads"
            ),
            Self::Sheet { gpu, precision } => write!(f, "data sheet of {gpu}, {precision}"),
        }
    }
}

impl Peak {
    /// The peak of the device that `options` name; none where nothing is known of it: compute.peak-flops can say it.
    ///
    /// # Errors
    /// The processor could not be measured for want of memory.
    pub fn of(options: &ComputeOptions) -> Result<Option<Self>> {
        if let Some(flops_per_second) = options.peak_flops {
            return Ok(Some(Self {
                flops_per_second,
                basis: Basis::Given,
            }));
        }
        match options.device {
            DeviceName::Cpu | DeviceName::Portable => measured(options.dtype).map(Some),
            DeviceName::Cuda | DeviceName::CudaPortable => {
                let gpu = first_gpu(Path::new("/proc/driver/nvidia/gpus"));
                Ok(gpu.and_then(|gpu| of_sheet(gpu, options)))
            }
            DeviceName::Metal => Ok(None),
        }
    }

    /// The part of the peak that a model of so many FLOPs a token makes use of at `tokens_per_second`; 1 is all of it.
    pub fn utilization(&self, tokens_per_second: f64, flops_per_token: u64) -> f64 {
        tokens_per_second * flops_per_token as f64 / self.flops_per_second
    }
}

/// Measures this processor with the product that training spends its time in.
fn measured(dtype: Dtype) -> Result<Peak> {
    let threads = rayon::current_num_threads();
    // Two milliseconds of work or more, whatever the number of cores.
    let size: usize = if threads > 4 { 2048 } else { 1024 };
    let (backend, precision) = match dtype {
        Dtype::F32 => (Fused::<f32>::default(), "single precision"),
        Dtype::Bf16 => (Fused::<f32>::in_bf16(Kernel::fastest()), "bf16"),
    };
    let square = Place {
        rows: size,
        columns: size,
    };
    let mut store = backend.store(&[square])?;
    let numbers: Vec<f32> = [0.5, -0.25, 1.0, -2.0]
        .into_iter()
        .cycle()
        .take(square.count())
        .collect();
    backend.write(&mut store, 0, &numbers)?;
    let ids: Vec<u32> = (0..).take(size).collect();
    let rows = backend.embed(&store, 0, &ids)?;
    let (began, mut best, mut products) = (Instant::now(), f64::INFINITY, 0);
    while products < LEAST_PRODUCTS || began.elapsed() < MEASURED_FOR {
        let start = Instant::now();
        let product = backend.linear(&rows, &store, 0)?;
        best = best.min(start.elapsed().as_secs_f64());
        drop(product);
        products += 1;
    }
    let operations = 2.0 * (size as f64).powi(3);
    Ok(Peak {
        flops_per_second: operations / best.max(1e-9),
        basis: Basis::Measured {
            size,
            threads,
            precision,
        },
    })
}

/// What the driver calls the first GPU, by the files that it shows of each.
fn first_gpu(folder: &Path) -> Option<String> {
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let text = std::fs::read_to_string(paths.first()?.join("information")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
    Some(name.trim().to_owned())
}

/// GPUs by a part of their name, the more particular first: teraFLOP/s in single precision and in TF32 without sparsity, none where
/// there is no TF32. NVIDIA's data sheets and architecture papers; boards that are clocked otherwise differ.
const SHEETS: [(&str, f64, Option<f64>); 17] = [
    ("H200 NVL", 60.0, Some(418.0)),
    ("H200", 67.0, Some(494.7)),
    ("GH200", 67.0, Some(494.7)),
    ("H100 PCIe", 51.2, Some(378.0)),
    ("H100 NVL", 60.0, Some(418.0)),
    ("H100", 66.9, Some(494.7)),
    ("A100", 19.5, Some(156.0)),
    ("A40", 37.4, Some(74.8)),
    ("A30", 10.3, Some(82.0)),
    ("A10G", 31.2, Some(62.5)),
    ("A10", 31.2, Some(62.5)),
    ("L40S", 91.6, Some(183.0)),
    ("L4", 30.3, Some(60.0)),
    ("RTX 4090", 82.6, Some(82.6)),
    ("RTX 3090", 35.6, Some(35.6)),
    ("T4", 8.1, None),
    ("V100", 15.7, None),
];

/// Products of bf16 are twice as many as those of TF32 on all of them.
fn of_sheet(gpu: String, options: &ComputeOptions) -> Option<Peak> {
    let of_words = |name: &str| {
        let words: Vec<&str> = gpu.split([' ', '-']).collect();
        let sought: Vec<&str> = name.split(' ').collect();
        sought.iter().all(|word| words.contains(word))
    };
    let (_, single, rounded) = SHEETS.iter().find(|(name, ..)| of_words(name))?;
    let (teraflops, precision) = match rounded {
        Some(rounded) if options.dtype == Dtype::Bf16 => (2.0 * *rounded, "bf16"),
        Some(rounded) if options.tf32 => (*rounded, "TF32"),
        _ => (*single, "single precision"),
    };
    Some(Peak {
        flops_per_second: teraflops * 1e12,
        basis: Basis::Sheet { gpu, precision },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utilization_is_the_papers_ratio() {
        // PaLM 540B, arXiv:2204.02311, appendix B and table 3: 238.3 thousand tokens a second on 6144 TPU v4 of 275 teraFLOP/s are
        // 45.7 % without and 46.2 % with attention; 6N + 12LHQT with N 540.35e9, 118 layers of 48 heads of 256, 2048 tokens.
        let peak = Peak {
            flops_per_second: 6144.0 * 275e12,
            basis: Basis::Given,
        };
        let without = 6 * 540_350_000_000;
        let attention = 12 * 118 * 48 * 256 * 2048;
        let shown = |flops| format!("{:.3}", peak.utilization(238_300.0, flops));
        assert_eq!(shown(without), "0.457");
        assert_eq!(shown(without + attention), "0.462");
    }

    #[test]
    fn a_processor_is_measured_and_what_is_given_is_taken() {
        let mut options = ComputeOptions::default();
        let peak = Peak::of(&options).unwrap().unwrap();
        // Any processor that runs this does a hundred million operations a second, and none ten to the fifteen.
        assert!((1e8..1e15).contains(&peak.flops_per_second), "{peak:?}");
        let Basis::Measured { threads, .. } = peak.basis else {
            panic!("{peak:?}")
        };
        assert_eq!(threads, rayon::current_num_threads());
        options.peak_flops = Some(2e12);
        let given = Peak::of(&options).unwrap().unwrap();
        assert_eq!((given.flops_per_second, given.basis), (2e12, Basis::Given));
    }

    #[test]
    fn a_gpu_is_known_by_the_drivers_name() {
        let folder = tempfile::tempdir().unwrap();
        let gpu = folder.path().join("0000:04:00.0");
        std::fs::create_dir(&gpu).unwrap();
        let text = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 0\n";
        std::fs::write(gpu.join("information"), text).unwrap();
        let name = first_gpu(folder.path()).unwrap();
        assert_eq!(name, "NVIDIA H100 80GB HBM3");
        let flops = |name: &str, tf32| {
            let options = ComputeOptions {
                tf32,
                ..ComputeOptions::default()
            };
            of_sheet(name.to_owned(), &options).map(|peak| peak.flops_per_second / 1e12)
        };
        assert_eq!(flops(&name, false), Some(66.9));
        assert_eq!(flops(&name, true), Some(494.7));
        assert_eq!(flops("NVIDIA H100 PCIe", false), Some(51.2));
        assert_eq!(flops("NVIDIA A100-SXM4-80GB", true), Some(156.0));
        assert_eq!(flops("NVIDIA L40S", false), Some(91.6));
        assert_eq!(flops("Tesla V100-SXM2-16GB", true), Some(15.7));
        let in_bf16 = ComputeOptions {
            dtype: Dtype::Bf16,
            ..ComputeOptions::default()
        };
        let peak = of_sheet(name, &in_bf16).unwrap();
        assert!((peak.flops_per_second - 989.4e12).abs() < 1e9);
        // What is not in the table is not guessed, though a name in it is a part of this one.
        assert_eq!(flops("NVIDIA RTX A1000", false), None);
        assert_eq!(flops("NVIDIA L400", false), None);
        assert_eq!(first_gpu(&folder.path().join("none")), None);
    }
}
