//! All blocks together: which documents are copies, and which copy stays.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::extract::Extracted;
use super::files::Files;
use super::index;
use super::shingles::ShingleFile;
use super::store::{SectionFile, Sections, Store, StoreError, column_u32};
use crate::dedup::cluster::{
    self, ClusterOptions, Clusters, Ordinal, Rank, Records, TextKey, Verify,
};
use crate::dedup::groups::Marks;
use crate::digest::Digest;
use crate::plan::{BYTES_VERSION, Plan};
use crate::progress::{Event, Progress, Stage};
use crate::recipe::{Keep, Scope};

/// The documents that passed the rules, of all blocks, in plan order; behind them those of the builds that this one is
/// compared with.
pub(super) struct Survivors<'a> {
    /// Set when the run is to end soon.
    stop: &'a AtomicBool,
    /// The blocks, in plan order.
    pub blocks: Vec<BlockSurvivors>,
    /// By ordinal: bytes of text.
    pub lengths: Vec<u64>,
    /// By ordinal: what the recipe prefers, the more the better; empty where that is the length.
    preferences: Vec<u64>,
    /// Parts of the indexes of other builds, whose ordinals follow those of the blocks.
    others: Vec<BlockSurvivors>,
    keep: Keep,
    bands: usize,
    signature_bytes: usize,
    files: Files,
    in_memory: Option<Vec<Vec<u8>>>,
    texts: &'a dyn super::shingles::MarkedTexts,
    shingles: std::sync::OnceLock<ShingleFile>,
    store: &'a Store,
}

/// One block's part of it, or one part of another build's index.
pub(super) struct BlockSurvivors {
    /// Its output.
    pub file: SectionFile,
    /// The ordinal of its first document.
    pub first: Ordinal,
    /// How many there are.
    documents: u32,
    /// Rank of their tier.
    rank: u8,
    /// Mixed into keys: documents of different salts never meet.
    salt: u64,
    signed: Signed,
}

/// Which documents of a block have a signature.
enum Signed {
    /// All of them, which is what most blocks are like.
    All,
    /// Those of these local numbers, ascending.
    Some(Vec<u32>),
}

impl Signed {
    fn read(file: &SectionFile, documents: u32) -> Result<Self, StoreError> {
        let signed = file.read_u32("signed")?;
        Ok(if signed.len() == documents as usize {
            Self::All
        } else {
            Self::Some(signed)
        })
    }

    fn len(&self, documents: u32) -> usize {
        match self {
            Self::All => documents as usize,
            Self::Some(signed) => signed.len(),
        }
    }

    /// The place of a document among those that have a signature.
    fn place(&self, local: u32) -> Option<usize> {
        match self {
            Self::All => Some(local as usize),
            Self::Some(signed) => signed.binary_search(&local).ok(),
        }
    }

    fn local(&self, place: usize) -> u32 {
        match self {
            // A block has fewer than 2^32 documents.
            Self::All => place as u32,
            Self::Some(signed) => signed[place],
        }
    }
}

/// What the stage counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResolveCounters {
    /// Documents that came in.
    pub documents: u64,
    /// Documents of other builds that they were compared with.
    pub others: u64,
    /// Largest number of documents in one bucket.
    pub largest_bucket: u64,
    /// Pairs that were compared.
    pub compared: u64,
    /// Compared pairs that were alike.
    pub joined: u64,
    /// Members of hot buckets that were left out; see [`cluster::Counts::unplaced`].
    pub unplaced: u64,
    /// Documents whose text was read again, to compare shingles.
    pub reread: u64,
}

impl BlockSurvivors {
    /// How many of its documents have no signature.
    pub(super) fn unsigned(&self) -> usize {
        self.documents as usize - self.signed.len(self.documents)
    }

    /// The ordinals of its documents.
    pub(super) fn ordinals(&self) -> std::ops::Range<Ordinal> {
        self.first..self.first + self.documents
    }
}

impl<'a> Survivors<'a> {
    /// Reads the columns that clustering needs at hand of every block.
    pub(super) fn load(
        plan: &Plan,
        extracted: &Extracted,
        store: &'a Store,
        texts: &'a dyn super::shingles::MarkedTexts,
        memory: u64,
        stop: &'a AtomicBool,
    ) -> Result<Self, StoreError> {
        let near = plan.recipe.dedup.near.as_ref();
        let mut all = Self {
            stop,
            blocks: Vec::with_capacity(extracted.blocks.len()),
            lengths: Vec::new(),
            preferences: Vec::new(),
            others: Vec::new(),
            keep: plan.recipe.dedup.keep,
            bands: near.map_or(0, |n| n.bands),
            signature_bytes: near.map_or(0, |n| n.bands * n.rows * 2),
            files: Files::default(),
            in_memory: None,
            texts,
            shingles: std::sync::OnceLock::new(),
            store,
        };
        for block in &extracted.blocks {
            let file = SectionFile::open(&store.data(Stage::Extract, block.receipt.key))?;
            let first = ordinal(all.lengths.len())?;
            let lengths = file.read_u64("lengths")?;
            let documents = ordinal(lengths.len())?;
            all.lengths.extend(lengths);
            let column = match all.keep {
                Keep::Longest | Keep::First => None,
                Keep::Newest => Some("dates"),
                Keep::HighestQuality => Some("qualities"),
            };
            if let Some(column) = column {
                // Of a dataset whose render does not name the field nothing is known.
                let values = match file.has(column) {
                    true => file.read_u64(column)?,
                    false => vec![0; documents as usize],
                };
                all.preferences.extend(values);
            }
            let tier = plan.datasets[block.dataset].tier as u8;
            all.blocks.push(BlockSurvivors {
                signed: Signed::read(&file, documents)?,
                file,
                first,
                documents,
                // The documents of other builds stay before any of this one.
                rank: tier + 1,
                salt: match plan.recipe.dedup.scope {
                    Scope::Everything => 0,
                    Scope::Tier => salt(u64::from(tier) + 1),
                    Scope::Dataset => salt(block.dataset as u64 + 1),
                },
            });
        }
        let mut first = all.lengths.len();
        for other in &plan.against {
            for part in &other.parts {
                let file = SectionFile::open(part)?;
                let documents = ordinal(file.extent(index::ROWS)?.1 as usize / index::ROW_BYTES)?;
                all.others.push(BlockSurvivors {
                    signed: Signed::read(&file, documents)?,
                    file,
                    first: ordinal(first)?,
                    documents,
                    rank: 0,
                    salt: 0,
                });
                first += documents as usize;
            }
        }
        ordinal(first)?;
        let signatures: u64 = all
            .chunks_of_all()
            .map(|b| (b.signed.len(b.documents) * (all.signature_bytes + 8)) as u64)
            .sum();
        if near.is_some() && signatures <= memory / 4 {
            let read = all.chunks_of_all().map(|b| b.file.read("signatures"));
            all.in_memory = Some(read.collect::<Result<_, _>>()?);
        }
        Ok(all)
    }

    fn chunks_of_all(&self) -> impl Iterator<Item = &BlockSurvivors> {
        self.blocks.iter().chain(&self.others)
    }

    fn chunk(&self, number: usize) -> &BlockSurvivors {
        match number.checked_sub(self.blocks.len()) {
            None => &self.blocks[number],
            Some(other) => &self.others[other],
        }
    }

    /// Documents of this build.
    pub(super) fn own(&self) -> Ordinal {
        // Checked while loading.
        self.lengths.len() as Ordinal
    }

    /// The block of a document of this build, and its number within the block.
    pub(super) fn locate(&self, document: Ordinal) -> (usize, u32) {
        locate(&self.blocks, document)
    }

    /// The part of another build's index that holds a document, counted over all builds, and its number within that part.
    pub(super) fn locate_other(&self, document: Ordinal) -> (usize, u32) {
        locate(&self.others, document)
    }

    /// The part of another build's index.
    pub(super) fn other(&self, part: usize) -> &SectionFile {
        &self.others[part].file
    }

    fn must_go_on(&self) -> Result<(), StoreError> {
        // A band of a large build takes minutes; nothing of it is kept.
        if self.stop.load(Ordering::Relaxed) {
            return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
        }
        Ok(())
    }

    /// Adds a 128-bit hash and a check of it for every document of a chunk that has one, and those of other builds and other
    /// scopes apart where they must not meet.
    fn hash_keys(
        &self,
        chunk: usize,
        hashes: &str,
        checks: Option<&str>,
        into: &mut Vec<(TextKey, Ordinal)>,
    ) -> Result<(), StoreError> {
        self.must_go_on()?;
        let block = self.chunk(chunk);
        if !block.file.has(hashes) {
            return Ok(());
        }
        let hashes = block.file.read_u64(hashes)?;
        let checks = match checks {
            Some(checks) => block.file.read_u64(checks)?,
            None => Vec::new(),
        };
        let keys = (block.first..).zip(hashes.as_chunks::<2>().0);
        let keys = keys.enumerate().map(|(i, (document, [low, high]))| {
            let check = checks.get(i).copied().unwrap_or(0);
            ([low ^ block.salt, *high, check], document)
        });
        if checks.is_empty() {
            into.extend(keys.filter(|(key, _)| [key[0] ^ block.salt, key[1]] != [0, 0]));
        } else {
            into.extend(keys);
        }
        Ok(())
    }
}

/// The last block that begins at or before a document; blocks without documents share their beginning with the next.
fn locate(blocks: &[BlockSurvivors], document: Ordinal) -> (usize, u32) {
    let block = blocks.partition_point(|block| block.first <= document) - 1;
    (block, document - blocks[block].first)
}

fn ordinal(number: usize) -> Result<Ordinal, StoreError> {
    Ordinal::try_from(number).map_err(|_| {
        std::io::Error::other(
            "more than 2^32 documents passed the rules; build the datasets apart, each against the builds before it",
        )
        .into()
    })
}

/// A number that is spread over all bits.
fn salt(number: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&number.to_le_bytes())
}

impl Records for Survivors<'_> {
    type Error = StoreError;

    fn len(&self) -> Ordinal {
        let last = self.others.last().map(|part| part.first + part.documents);
        last.unwrap_or_else(|| self.own())
    }

    fn chunks(&self) -> usize {
        self.blocks.len() + self.others.len()
    }

    fn text_keys(
        &self,
        chunk: usize,
        into: &mut Vec<(TextKey, Ordinal)>,
    ) -> Result<(), StoreError> {
        self.hash_keys(chunk, "hashes", Some("checks"), into)
    }

    fn url_keys(&self, chunk: usize, into: &mut Vec<(TextKey, Ordinal)>) -> Result<(), StoreError> {
        self.hash_keys(chunk, "urls", None, into)
    }

    fn rank(&self, document: Ordinal) -> Rank {
        if document >= self.own() {
            return (0, Reverse(0));
        }
        let at = document as usize;
        let preference = match self.keep {
            Keep::Longest => self.lengths[at],
            Keep::First => 0,
            Keep::Newest | Keep::HighestQuality => self.preferences[at],
        };
        (
            self.blocks[self.locate(document).0].rank,
            Reverse(preference),
        )
    }

    fn bands(&self) -> usize {
        self.bands
    }

    fn band_keys(
        &self,
        band: usize,
        chunk: usize,
        into: &mut Vec<(u64, Ordinal)>,
    ) -> Result<(), StoreError> {
        self.must_go_on()?;
        let block = self.chunk(chunk);
        let keys = block.file.read_u64(&format!("band-{band}"))?;
        if keys.len() != block.signed.len(block.documents) {
            return Err(StoreError::Damaged {
                file: block.file.path().to_path_buf(),
                what: format!("band {band} has another number of keys than there are signatures"),
            });
        }
        into.extend(keys.iter().enumerate().map(|(place, key)| {
            let document = block.first + block.signed.local(place);
            (key ^ block.salt, document)
        }));
        Ok(())
    }

    fn signature(&self, document: Ordinal, into: &mut Vec<u16>) -> Result<(), StoreError> {
        let (number, local) = if document < self.own() {
            self.locate(document)
        } else {
            let (part, local) = self.locate_other(document);
            (self.blocks.len() + part, local)
        };
        let block = self.chunk(number);
        let damaged = |what: &str| StoreError::Damaged {
            file: block.file.path().to_path_buf(),
            what: what.to_owned(),
        };
        let at = block
            .signed
            .place(local)
            .ok_or_else(|| damaged("a document in a bucket has no signature"))?;
        let record = self.signature_bytes + 8;
        let mut buffer = [0; 2048 + 8];
        let mut large;
        let bytes: &[u8] = match &self.in_memory {
            Some(blocks) => &blocks[number][at * record..][..record],
            None => {
                let buffer = match buffer.get_mut(..record) {
                    Some(buffer) => buffer,
                    None => {
                        large = vec![0; record];
                        &mut large
                    }
                };
                let (offset, _) = block.file.extent("signatures")?;
                self.files.read_at(
                    number,
                    block.file.path(),
                    offset + (at * record) as u64,
                    buffer,
                )?;
                buffer
            }
        };
        let (hashes, check) = bytes.split_at(self.signature_bytes);
        if xxhash_rust::xxh3::xxh3_64(hashes).to_le_bytes() != check {
            return Err(damaged("a signature"));
        }
        into.clear();
        into.extend(
            hashes
                .as_chunks::<2>()
                .0
                .iter()
                .map(|b| u16::from_le_bytes(*b)),
        );
        Ok(())
    }

    fn gather_shingles(&self, marked: &Marks) -> Result<(), StoreError> {
        let file = ShingleFile::gather(self, marked, self.texts, self.store)?;
        // Asked once a run.
        let _ = self.shingles.set(file);
        Ok(())
    }

    fn some_lack_shingles(&self) -> bool {
        !self.others.is_empty()
    }

    fn has_shingles(&self, document: Ordinal) -> bool {
        self.shingles.get().is_some_and(|file| file.has(document))
    }

    fn shingles(&self, document: Ordinal, into: &mut Vec<u32>) -> Result<(), StoreError> {
        match self.shingles.get() {
            Some(file) => file.read(document, into),
            None => {
                into.clear();
                Ok(())
            }
        }
    }
}

/// Runs the stage: finds clusters, or takes those that an earlier run found. The result has the documents of this build
/// alone; a keeper behind the last of them is a document of another build.
pub(super) fn resolve(
    plan: &Plan,
    extracted: &Extracted,
    survivors: &Survivors<'_>,
    store: &Store,
    memory: u64,
    progress: &dyn Progress,
) -> Result<(Clusters, ResolveCounters), StoreError> {
    let inputs: Vec<(usize, usize, Digest)> = extracted
        .blocks
        .iter()
        .map(|b| {
            (
                b.dataset,
                plan.datasets[b.dataset].tier as usize,
                b.receipt.sha256,
            )
        })
        .collect();
    let against: Vec<&str> = plan.against.iter().map(|b| b.root.as_str()).collect();
    let key = Digest::of_value(&(
        "resolve",
        BYTES_VERSION,
        inputs,
        plan.recipe.resolve_options(),
        against,
    ));
    progress.event(&Event::Stage {
        stage: Stage::Resolve,
        total: 1,
    });
    if let Some(receipt) = store.receipt(Stage::Resolve, key)? {
        let path = store.data(Stage::Resolve, key);
        let file = SectionFile::open(&path)?;
        let similarity = file.read_u32("similarity")?.into_iter();
        let found = Clusters {
            cluster: file.read_u32("cluster")?,
            keeper: file.read_u32("keeper")?,
            method: file.read("method")?,
            similarity: similarity.map(f32::from_bits).collect(),
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
    let near = plan.recipe.dedup.near.as_ref();
    let options = ClusterOptions {
        exact: plan.recipe.dedup.exact,
        url: plan.recipe.dedup.url,
        verify: near.map_or(Verify::Signature, |near| near.verify),
        similarity: near.map_or(1.0, |near| near.similarity),
        memory_bytes: room(u64::from(survivors.len()), memory),
    };
    let mut found = cluster::clusters(survivors, &options)?;
    watch.lap("resolve");
    let counters = ResolveCounters {
        documents: u64::from(survivors.own()),
        others: u64::from(survivors.len() - survivors.own()),
        largest_bucket: found.counts.largest_bucket,
        compared: found.counts.compared,
        joined: found.counts.joined,
        unplaced: found.counts.unplaced,
        reread: found.counts.reread,
    };
    let own = survivors.own() as usize;
    found.cluster.truncate(own);
    found.keeper.truncate(own);
    found.method.truncate(own);
    found.similarity.truncate(own);
    let mut sections = Sections::default();
    sections.push("cluster", column_u32(found.cluster.iter().copied()));
    sections.push("keeper", column_u32(found.keeper.iter().copied()));
    sections.push("method", found.method.clone());
    sections.push(
        "similarity",
        column_u32(found.similarity.iter().map(|share| share.to_bits())),
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

/// Bytes that clustering holds a document, whatever the memory: parents, keepers, methods, similarities, lengths.
pub(crate) const BYTES_A_DOCUMENT: u64 = 40;

/// What sorting may hold of `memory`: what the columns of all documents leave, and enough to go on with in any case.
fn room(documents: u64, memory: u64) -> u64 {
    let held = documents * BYTES_A_DOCUMENT;
    memory.saturating_sub(held).max(16 << 20) / 2
}
