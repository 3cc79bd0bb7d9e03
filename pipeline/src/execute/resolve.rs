//! All blocks together: which documents are copies, and which copy stays.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::extract::Extracted;
use super::files::Files;
use super::store::{SectionFile, Sections, Store, StoreError, column_u32};
use crate::dedup::cluster::{self, ClusterOptions, Clusters, Ordinal, Records};
use crate::digest::Digest;
use crate::plan::{BYTES_VERSION, Plan};
use crate::progress::{Event, Progress, Stage};
use crate::recipe::Keep;

/// The documents that passed the rules, of all blocks, in plan order.
pub(super) struct Survivors<'a> {
    /// Set when the run is to end soon.
    stop: &'a AtomicBool,
    /// The blocks, in plan order.
    pub blocks: Vec<BlockSurvivors>,
    /// By ordinal: the 128-bit hash of the text.
    hashes: Vec<u128>,
    checks: Vec<u64>,
    /// By ordinal: bytes of text.
    pub lengths: Vec<u64>,
    ranks: Vec<u8>,
    keep: Keep,
    bands: usize,
    signature_bytes: usize,
    files: Files,
    in_memory: Option<Vec<Vec<u8>>>,
}

/// One block's part of it.
pub(super) struct BlockSurvivors {
    /// Its output.
    pub file: SectionFile,
    /// The ordinal of its first survivor.
    pub first: Ordinal,
    /// Local numbers of the survivors that have a signature, ascending.
    signed: Vec<u32>,
}

/// What the stage counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveCounters {
    /// Documents that came in.
    pub documents: u64,
    /// Largest number of documents in one bucket.
    pub largest_bucket: u64,
    /// Pairs of signatures that were compared.
    pub compared: u64,
    /// Members of hot buckets that were left out; see [`Clusters::unplaced`].
    pub unplaced: u64,
}

impl<'a> Survivors<'a> {
    /// Reads the columns that clustering needs of every block.
    pub(super) fn load(
        plan: &Plan,
        extracted: &Extracted,
        store: &Store,
        memory: u64,
        stop: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        let near = plan.recipe.dedup.near.as_ref();
        let mut all = Self {
            stop,
            blocks: Vec::with_capacity(extracted.blocks.len()),
            hashes: Vec::new(),
            checks: Vec::new(),
            lengths: Vec::new(),
            ranks: Vec::new(),
            keep: plan.recipe.dedup.keep,
            bands: near.map_or(0, |n| n.bands),
            signature_bytes: near.map_or(0, |n| n.bands * n.rows * 4),
            files: Files::default(),
            in_memory: None,
        };
        for block in &extracted.blocks {
            let file = SectionFile::open(&store.data(Stage::Extract, block.receipt.key))?;
            let first = Ordinal::try_from(all.lengths.len()).map_err(|_| {
                std::io::Error::other(
                    "more than 2^32 documents passed the rules; build the datasets apart",
                )
            })?;
            all.hashes.extend(
                file.read("hashes")?
                    .chunks_exact(16)
                    .map(|b| u128::from_le_bytes(b.try_into().expect("sixteen bytes"))),
            );
            all.checks.extend(file.read_u64("checks")?);
            all.lengths.extend(file.read_u64("lengths")?);
            all.ranks
                .resize(all.lengths.len(), plan.datasets[block.dataset].tier as u8);
            let signed = file.read_u32("signed")?;
            all.blocks.push(BlockSurvivors {
                file,
                first,
                signed,
            });
        }
        let signatures: u64 = all
            .blocks
            .iter()
            .map(|b| (b.signed.len() * (all.signature_bytes + 8)) as u64)
            .sum();
        if near.is_some() && signatures <= memory / 4 {
            all.in_memory = Some(
                all.blocks
                    .iter()
                    .map(|b| b.file.read("signatures"))
                    .collect::<Result<_, _>>()?,
            );
        }
        Ok(all)
    }

    /// The block of a document, and its number within the block.
    pub(super) fn locate(&self, document: Ordinal) -> (usize, u32) {
        // The last block that begins at or before it; blocks without survivors share their beginning with the next.
        let block = self.blocks.partition_point(|block| block.first <= document) - 1;
        (block, document - self.blocks[block].first)
    }
}

impl Records for Survivors<'_> {
    type Error = StoreError;

    fn len(&self) -> Ordinal {
        u32::try_from(self.lengths.len()).expect("checked while loading")
    }

    fn text_hashes(&self, document: Ordinal) -> (u128, u64) {
        (
            self.hashes[document as usize],
            self.checks[document as usize],
        )
    }

    fn rank(&self, document: Ordinal) -> (u8, Reverse<u64>) {
        let length = match self.keep {
            Keep::Longest => self.lengths[document as usize],
            Keep::First => 0,
        };
        (self.ranks[document as usize], Reverse(length))
    }

    fn bands(&self) -> usize {
        self.bands
    }

    fn band_keys(&self, band: usize, each: &mut dyn FnMut(Ordinal, u64)) -> Result<(), StoreError> {
        for block in &self.blocks {
            // A band of a large build takes minutes; nothing of it is kept.
            if self.stop.load(Ordering::Relaxed) {
                return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
            }
            let keys = block.file.read_u64(&format!("band-{band}"))?;
            for (local, key) in block.signed.iter().zip(keys) {
                each(block.first + local, key);
            }
        }
        Ok(())
    }

    fn signature(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), StoreError> {
        let (number, local) = self.locate(document);
        let block = &self.blocks[number];
        let damaged = |what: &str| StoreError::Damaged {
            file: block.file.path().to_path_buf(),
            what: what.to_owned(),
        };
        let at = block
            .signed
            .binary_search(&local)
            .map_err(|_| damaged("a document in a bucket has no signature"))?;
        let record = self.signature_bytes + 8;
        let mut buffer;
        let bytes: &[u8] = match &self.in_memory {
            Some(blocks) => &blocks[number][at * record..][..record],
            None => {
                buffer = vec![0; record];
                let (offset, _) = block.file.extent("signatures")?;
                self.files.read_at(
                    number,
                    block.file.path(),
                    offset + (at * record) as u64,
                    &mut buffer,
                )?;
                &buffer
            }
        };
        let (hashes, check) = bytes.split_at(self.signature_bytes);
        if xxhash_rust::xxh3::xxh3_64(hashes).to_le_bytes() != check {
            return Err(damaged("a signature"));
        }
        into.clear();
        into.extend(
            hashes
                .chunks_exact(4)
                .map(|b| u32::from_le_bytes(b.try_into().expect("four bytes"))),
        );
        Ok(())
    }
}

/// Runs the stage: finds clusters, or takes those that an earlier run found.
pub(super) fn resolve(
    plan: &Plan,
    extracted: &Extracted,
    survivors: &Survivors<'_>,
    store: &Store,
    memory: u64,
    progress: &dyn Progress,
) -> Result<(Clusters, ResolveCounters), StoreError> {
    let inputs: Vec<(usize, Digest)> = extracted
        .blocks
        .iter()
        .map(|b| (plan.datasets[b.dataset].tier as usize, b.receipt.sha256))
        .collect();
    let key = Digest::of_value(&(
        "resolve",
        BYTES_VERSION,
        inputs,
        plan.recipe.resolve_options(),
    ));
    progress.event(&Event::Stage {
        stage: Stage::Resolve,
        total: 1,
    });
    if let Some(receipt) = store.receipt(Stage::Resolve, key)? {
        let path = store.data(Stage::Resolve, key);
        let file = SectionFile::open(&path)?;
        let found = Clusters {
            cluster: file.read_u32("cluster")?,
            keeper: file.read_u32("keeper")?,
            method: file.read("method")?,
            agreeing: file
                .read_u32("agreeing")?
                .into_iter()
                .map(|n| u16::try_from(n).unwrap_or(u16::MAX))
                .collect(),
            ..Clusters::default()
        };
        let counters =
            serde_json::from_value(receipt.counters).map_err(|error| StoreError::Damaged {
                file: path.with_extension("json"),
                what: error.to_string(),
            })?;
        progress.event(&Event::Advanced {
            stage: Stage::Resolve,
            by: 1,
            reused: true,
        });
        return Ok((found, counters));
    }
    let mut watch = super::cpu::Watch::start();
    let options = ClusterOptions {
        exact: plan.recipe.dedup.exact,
        agreement: plan
            .recipe
            .dedup
            .near
            .as_ref()
            .map_or(1.0, |near| near.agreement),
        memory_bytes: memory / 4,
    };
    let found = cluster::clusters(survivors, &options)?;
    watch.lap("resolve");
    let counters = ResolveCounters {
        documents: u64::from(survivors.len()),
        largest_bucket: found.largest_bucket,
        compared: found.compared,
        unplaced: found.unplaced,
    };
    let mut sections = Sections::default();
    sections.push("cluster", column_u32(found.cluster.iter().copied()));
    sections.push("keeper", column_u32(found.keeper.iter().copied()));
    sections.push("method", found.method.clone());
    sections.push(
        "agreeing",
        column_u32(found.agreeing.iter().map(|n| u32::from(*n))),
    );
    let mut attempt = store.attempt()?;
    sections.write(&mut attempt)?;
    store.commit(Stage::Resolve, key, attempt, &counters, watch.seconds())?;
    progress.event(&Event::Advanced {
        stage: Stage::Resolve,
        by: 1,
        reused: false,
    });
    Ok((found, counters))
}
