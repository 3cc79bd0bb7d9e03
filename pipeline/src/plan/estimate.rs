//! What a build is expected to weigh and take, and the refusal of what cannot fit.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Plan, PlanError, PlannedDataset, Unit};
use crate::execute::{BYTES_A_DOCUMENT, store};
use crate::fetch::{HubOptions, free_bytes};
use crate::read::{Compression, FileFormat};

/// Bytes a second that one core does of each part of the work, in document text: measured on the sample tier (the README
/// has the figures and how they were got), rounded down. What a machine really does is printed after every build.
mod rates {
    pub(super) const READ: f64 = 450e6;
    pub(super) const RULES: f64 = 220e6;
    pub(super) const SIGNATURE: f64 = 250e6;
    pub(super) const TOKENIZE: f64 = 100e6;
    pub(super) const SHARDS: f64 = 250e6;
    /// Documents a second through the search for duplicates: 300,000 took 0.3 to 0.4 s.
    pub(super) const RESOLVE_DOCUMENTS: f64 = 700e3;
    /// Not measured: a line of 200 Mbit/s.
    pub(super) const DOWNLOAD: f64 = 25e6;
}

/// Bytes that a document has on average in any dataset one would meet.
const LIKELY_BYTES: std::ops::Range<u64> = 20..1_000_000;

/// What a build is expected to weigh. Guesses, but of the right size; exact numbers are in the manifest afterwards.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Estimate {
    /// Files to read.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Bytes that must still come over the network.
    pub download_bytes: u64,
    /// Documents.
    pub documents: u64,
    /// Tokens, if nothing were dropped.
    pub tokens: u64,
    /// Memory at the peak.
    pub memory_bytes: u64,
    /// Disk for intermediates and shards.
    pub disk_bytes: u64,
    /// Seconds of each stage, in order.
    pub times: Vec<StageTime>,
}

/// How long a stage is expected to take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTime {
    /// The stage.
    pub stage: &'static str,
    /// Seconds.
    pub seconds: f64,
}

/// What the files of a dataset are expected to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// Documents.
    pub documents: u64,
    /// Bytes of their text.
    pub text_bytes: u64,
    /// Tokens.
    pub tokens: u64,
}

impl PlannedDataset {
    /// Its share of the published rows. What is at the source may be far less than what was published: without a published
    /// size, rows that come to an unlikely number of bytes each are not believed.
    fn published_documents(&self, text_bytes: u64) -> Option<u64> {
        let rows = u128::from(self.rows?);
        let read: u64 = self.units.iter().map(Unit::read_bytes).sum();
        let all = self.bytes() + self.left_out.1;
        let share = |of: u64| u64::try_from(rows * u128::from(read) / u128::from(of.max(1))).ok();
        if let Some(size) = self.size_bytes {
            return share(size.max(all)).map(|documents| documents.max(1));
        }
        let documents = share(all)?.max(1);
        LIKELY_BYTES
            .contains(&(text_bytes / documents))
            .then_some(documents)
    }

    /// What its files are expected to hold: by its published rows where the manifest has them, else by size.
    pub fn contents(&self) -> Contents {
        let mut documents = 0;
        let mut text_bytes = 0;
        for unit in &self.units {
            let decoded = decoded_bytes(unit);
            text_bytes += decoded;
            documents += if unit.is_group() {
                unit.files.len() as u64
            } else {
                decoded / 1_500 + 1
            };
        }
        if let Some(published) = self.published_documents(text_bytes) {
            documents = published;
        }
        Contents {
            documents,
            text_bytes,
            tokens: text_bytes / 4,
        }
    }
}

fn decoded_bytes(unit: &Unit) -> u64 {
    let bytes = unit.read_bytes();
    match (unit.compression, unit.format) {
        (Compression::None, FileFormat::Parquet) => bytes.saturating_mul(2),
        (Compression::None, _) => bytes,
        _ => bytes.saturating_mul(3),
    }
}

impl Plan {
    /// What the build is expected to weigh and take with `threads` workers.
    pub fn estimate(&self, threads: usize) -> Estimate {
        let mut estimate = Estimate::default();
        let mut text_bytes = 0;
        for dataset in &self.datasets {
            let contents = dataset.contents();
            estimate.files += dataset.files() as u64;
            estimate.bytes += dataset.bytes();
            estimate.documents += contents.documents;
            text_bytes += contents.text_bytes;
            estimate.download_bytes += dataset.missing_bytes;
        }
        for benchmark in &self.benchmarks {
            estimate.bytes += benchmark.dataset.bytes();
            estimate.download_bytes += benchmark.dataset.missing_bytes;
        }
        estimate.tokens = text_bytes / 4;
        estimate.memory_bytes = self.memory_bytes(&estimate, threads);
        let width = 2;
        let signatures = self
            .recipe
            .dedup
            .near
            .as_ref()
            .map_or(0, |near| (near.bands * (near.rows * 2 + 8)) as u64);
        estimate.disk_bytes =
            text_bytes / 3 + estimate.documents * (signatures + 64) + estimate.tokens * width * 2;
        estimate.times = self.times(&estimate, text_bytes, threads);
        estimate
    }

    fn memory_bytes(&self, estimate: &Estimate, threads: usize) -> u64 {
        let blocks = self.datasets.iter().map(|d| d.read.block_bytes as u64);
        let block = blocks.max().unwrap_or(0);
        let workers = threads as u64 * (5 * block + (16 << 20));
        let others: u64 = self.against.iter().map(|build| build.documents).sum();
        let documents = (estimate.documents + others) * BYTES_A_DOCUMENT;
        // A shard is put together in memory.
        let width = 2;
        let shard = self.recipe.shard.tokens.min(estimate.tokens + 1) * width * 3;
        (64 << 20) + workers.max(shard) + documents
    }

    fn times(&self, estimate: &Estimate, text_bytes: u64, threads: usize) -> Vec<StageTime> {
        let text = text_bytes as f64;
        let threads = threads as f64;
        let signature = if self.recipe.dedup.near.is_some() {
            1.0 / rates::SIGNATURE
        } else {
            0.0
        };
        let extract = text * (1.0 / rates::READ + 1.0 / rates::RULES + signature) / threads;
        [
            ("fetch", estimate.download_bytes as f64 / rates::DOWNLOAD),
            ("extract", extract),
            (
                "resolve",
                estimate.documents as f64 / rates::RESOLVE_DOCUMENTS,
            ),
            ("tokenize", text / rates::TOKENIZE / threads),
            ("shards", text / rates::SHARDS / threads),
        ]
        .map(|(stage, seconds)| StageTime { stage, seconds })
        .into()
    }

    /// Refuses what cannot fit into `memory` bytes, on the disk of `work`, or on that of the downloads.
    pub fn must_fit(&self, threads: usize, memory: u64, work: &Path) -> Result<(), PlanError> {
        let estimate = self.estimate(threads);
        if estimate.memory_bytes > memory {
            let fewer = (1..threads)
                .rev()
                .find(|threads| self.memory_bytes(&estimate, *threads) <= memory);
            let hint = match fewer {
                Some(fewer) => format!(
                    "--threads {fewer} fits, or give --memory {}M",
                    estimate.memory_bytes.div_ceil(1 << 20)
                ),
                None => format!(
                    "give --memory {}M, or write smaller shard.tokens or [read] block-bytes, or take fewer datasets",
                    estimate.memory_bytes.div_ceil(1 << 20)
                ),
            };
            return Err(PlanError::DoesNotFit {
                what: "memory".to_owned(),
                needed: estimate.memory_bytes,
                available: memory,
                hint,
            });
        }
        // An interrupted run left its part of the work there: gone on with, it does not need that room again.
        let done: u64 = store::usage(work)
            .into_iter()
            .flatten()
            .map(|stage| stage.bytes)
            .sum();
        let work = existing(work);
        let mut places = vec![(
            work,
            estimate.disk_bytes.saturating_sub(done),
            "free some, name another folder with --work, or take less: a smaller budget-bytes, fewer datasets",
        )];
        // Settings that cannot be read are told by whatever uses the hub first.
        let cache = HubOptions::from_env().map(|options| existing(&options.cache));
        if let (true, Ok(cache)) = (estimate.download_bytes > 0, cache) {
            if device(&cache) == device(&places[0].0) {
                places[0].1 += estimate.download_bytes;
            } else {
                places.push((
                    cache,
                    estimate.download_bytes,
                    "free some, name another folder with HF_HUB_CACHE, or take less: a smaller budget-bytes, fewer datasets",
                ));
            }
        }
        for (place, needed, hint) in places {
            // A disk that does not say how much is free is found full or not when it is written to.
            if let Ok(available) = free_bytes(&place)
                && needed > available
            {
                return Err(PlanError::DoesNotFit {
                    what: format!("the disk of {}", place.display()),
                    needed,
                    available,
                    hint: hint.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// The nearest folder above a path that is there.
fn existing(path: &Path) -> PathBuf {
    path.ancestors()
        .find(|folder| !folder.as_os_str().is_empty() && folder.exists())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

fn device(place: &Path) -> Option<u64> {
    rustix::fs::stat(place).ok().map(|stat| stat.st_dev)
}
