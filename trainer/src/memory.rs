//! Whether a run fits into the machine's memory, and what would.

use std::path::Path;

use serde::Serialize;

use crate::config::{Derived, DeviceName, RunConfig};

/// Memory of a run in bytes, by what it holds: an estimate, without what the program itself takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Values of the model.
    pub parameters: u64,
    /// One gradient a parameter.
    pub gradients: u64,
    /// What the optimizer remembers of each parameter, and the average of the weights.
    pub moments: u64,
    /// What a micro-batch keeps for its backward, and what one block works with.
    pub activations: u64,
    /// The chunk of logits that is held at once.
    pub logits: u64,
}

impl Memory {
    /// All parts together.
    pub const fn total(&self) -> u64 {
        self.parameters
            .saturating_add(self.gradients)
            .saturating_add(self.moments)
            .saturating_add(self.activations)
            .saturating_add(self.logits)
    }

    /// The parts with their names.
    pub const fn parts(&self) -> [(&'static str, u64); 5] {
        [
            ("parameters", self.parameters),
            ("gradients", self.gradients),
            ("moments", self.moments),
            ("activations", self.activations),
            ("logits", self.logits),
        ]
    }
}

/// Bytes that a run may take of the machine's memory: `MemAvailable` of Linux, or the lowest limit of the control groups that this
/// process is in. None for a device with memory of its own, and where the system does not say.
pub fn available(device: DeviceName) -> Option<u64> {
    if matches!(device, DeviceName::Cuda | DeviceName::CudaPortable) {
        return None;
    }
    let told = std::fs::read_to_string("/proc/meminfo").ok();
    let free = told.as_deref().and_then(mem_available);
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limit = limit(&groups, Path::new("/sys/fs/cgroup"));
    free.into_iter().chain(limit).min()
}

fn mem_available(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// The lowest `memory.max` from the process's group (version 2) up to the root of the mount. `max` is no number and no limit.
fn limit(groups: &str, mount: &Path) -> Option<u64> {
    let own = groups
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))
        .unwrap_or_default();
    Path::new(own)
        .ancestors()
        .filter_map(|group| std::fs::read_to_string(mount.join(group).join("memory.max")).ok())
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}

/// Says that the run of `config` needs more than `available` bytes and what would fit with the same steps: blocks computed again,
/// or smaller micro-batches and more of them. None if it fits.
pub fn shortfall(config: &RunConfig, available: u64) -> Option<String> {
    let memory = Derived::new(config, 1).memory;
    if memory.total() <= available {
        return None;
    }
    let (has, needs) = (shown(available, 1), shown(memory.total(), 1));
    let mut text =
        format!("the run needs about {needs} of memory and the machine has {has} left\nhint: ");
    let fixed = Memory {
        activations: 0,
        logits: 0,
        ..memory
    };
    let ways = [false, true].map(|recompute| fitting(config, recompute, available));
    let ways: Vec<String> = ways.into_iter().flatten().collect();
    if !ways.is_empty() {
        text.push_str("the same steps fit with ");
        text.push_str(&ways.join(", or "));
    } else if fixed.total() > available {
        text.push_str(&format!(
            "parameters, gradients and moments alone take {}: take a smaller model, or a machine with more memory",
            shown(fixed.total(), 1)
        ));
    } else {
        text.push_str(
            "no smaller micro-batch fits, even with compute.recompute: lower data.sequence-tokens, or take a smaller model",
        );
    }
    Some(text)
}

/// The largest micro-batch that fits and divides the one of `config`, as settings.
fn fitting(config: &RunConfig, recompute: bool, available: u64) -> Option<String> {
    if config.compute.recompute && !recompute {
        return None;
    }
    let whole = config.data.sequences_per_micro_batch;
    (1..=whole)
        .filter(|parts| whole.is_multiple_of(*parts))
        .find_map(|parts| {
            let mut tried = config.clone();
            tried.compute.recompute = recompute;
            tried.data.sequences_per_micro_batch = whole / parts;
            tried.data.micro_batches_per_step =
                config.data.micro_batches_per_step.checked_mul(parts)?;
            let needs = Derived::new(&tried, 1).memory.total();
            let mut settings = Vec::new();
            if recompute && !config.compute.recompute {
                settings.push("compute.recompute = true".to_owned());
            }
            if parts > 1 {
                settings.push(format!(
                    "data.sequences-per-micro-batch = {} and data.micro-batches-per-step = {}",
                    tried.data.sequences_per_micro_batch, tried.data.micro_batches_per_step
                ));
            }
            (needs <= available && tried.data.problems().is_empty())
                .then(|| format!("{} ({})", settings.join(", "), shown(needs, 1)))
        })
}

/// Bytes for a person: MiB with so many `decimals`, or GiB from ten of them on.
pub fn shown(bytes: u64, decimals: usize) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes >= 10_240.0 {
        format!("{:.1} GiB", mebibytes / 1024.0)
    } else {
        format!("{mebibytes:.decimals$} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::WrittenConfig;

    fn config() -> RunConfig {
        let text = "[model]\nwidth = 64\nlayers = 8\nheads = 2\nhead-size = 32\n\
            [data]\nsequence-tokens = 64\nsequences-per-micro-batch = 12\nmicro-batches-per-step = 2\n\
            [schedule]\nsteps = 4\nwarmup-steps = 1\n";
        let written: WrittenConfig = toml::from_str(text).unwrap();
        written.resolve(40, Path::new("test.toml")).unwrap()
    }

    #[test]
    fn parts_are_those_counted_by_hand() {
        let memory = Derived::new(&config(), 1).memory;
        // Vocabulary 64: 64 x 64 + 8 (64 (64 + 64 + 512) + 64 x 64 + 4 x 64^2 + 64) + 64 numbers of four bytes; AdamW has two moments.
        let parameters = 4 * (64 * 64 + 8 * (64 * 640 + 64 * 64 + 4 * 64 * 64 + 64) + 64);
        assert_eq!(memory.parameters, parameters);
        assert_eq!(
            (memory.gradients, memory.moments),
            (parameters, 2 * parameters)
        );
        // 12 x 64 tokens; a block keeps 64 + 2 x 64 + 2 x 32 + 2 + 512 numbers, one works with 256 + 128 + 64 + 512, and attention
        // sums up 32 of a key and 32 of a value, once a sequence.
        assert_eq!(memory.activations, 4 * 768 * (8 * 770 + 960 + 64));
        // Two blocks of 4,096 x 768, rounded, and no copies of weights.
        let mut rounding = config();
        rounding.compute.dtype = crate::config::Dtype::Bf16;
        let rounding = Derived::new(&rounding, 1).memory;
        assert_eq!(rounding.activations, memory.activations + (24 << 20));
        assert_eq!(rounding.total(), memory.total() + (24 << 20));
        assert_eq!(
            memory.total(),
            memory.parts().iter().map(|part| part.1).sum::<u64>()
        );
    }

    #[test]
    fn what_does_not_fit_says_what_would() {
        let config = config();
        let memory = Derived::new(&config, 1).memory;
        let total = memory.total();
        assert_eq!(shortfall(&config, total), None);
        let text = shortfall(&config, total - 1).unwrap();
        assert!(
            text.contains("compute.recompute = true (")
                && text
                    .contains("sequences-per-micro-batch = 6 and data.micro-batches-per-step = 4"),
            "{text}"
        );
        let fixed = memory.parameters + memory.gradients + memory.moments;
        let text = shortfall(&config, fixed).unwrap();
        assert!(text.contains("no smaller micro-batch fits"), "{text}");
        let text = shortfall(&config, fixed - 1).unwrap();
        assert!(text.contains("moments alone take"), "{text}");
        // What is recommended fits.
        let mut less = config;
        less.compute.recompute = true;
        assert_eq!(shortfall(&less, total - 1), None);
        let text = shortfall(&less, Derived::new(&less, 1).memory.total() - 1).unwrap();
        assert!(!text.contains("recompute = true"), "{text}");
    }

    #[test]
    fn the_lowest_limit_above_a_process_counts() {
        let told = "MemTotal:  16 kB\nMemAvailable:    3 kB\n";
        assert_eq!(mem_available(told), Some(3072));
        assert_eq!(mem_available("MemAvailable: x kB\n"), None);
        let mount = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(mount.path().join("a/b")).unwrap();
        std::fs::write(mount.path().join("a/memory.max"), "4096\n").unwrap();
        std::fs::write(mount.path().join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(limit("0::/a/b\n", mount.path()), Some(4096));
        assert_eq!(limit("0::/\n", mount.path()), None);
        std::fs::write(mount.path().join("memory.max"), "512\n").unwrap();
        assert_eq!(limit("0::/a/b\n", mount.path()), Some(512));
    }
}
