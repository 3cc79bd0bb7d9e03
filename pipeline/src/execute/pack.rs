//! Token ids become shards: documents are split by cluster, permuted over the whole build, and cut into equal shards.
//!
//! A document's split is a hash of the first document of its cluster, so near duplicates never stand on two sides; its
//! place is a hash of its own id. Both depend on the seed and on nothing else, so a shard is a pure function of the token
//! ids, and shards are independent tasks.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::{
    DocumentEntry, FormatError, Frame, ShardFlags, ShardSpec, ShardWriter, Split, TokenWidth,
    encode_frame,
};
use rayon::prelude::*;
use serde::Serialize;
use sha2::Digest as _;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::cpu::Watch;
use super::encode::Encoded;
use super::files::Files;
use super::identity::Identities;
use super::store::{Store, StoreError};
use crate::dedup::cluster::{Clusters, Ordinal};
use crate::digest::Digest;
use crate::plan::{BYTES_VERSION, Plan};
use crate::progress::{Event, Progress, Stage};
use crate::tokenize::Tokenizer;

/// A kept document in the order of its split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Placed {
    /// The split it is in.
    pub split: Split,
    /// Hash of its id: decides its place.
    pub key: u64,
    /// Its block.
    pub block: u32,
    /// Its place among the block's kept documents.
    pub place: u32,
    /// Its tokens, end of text included.
    pub tokens: u32,
    /// Its ordinal.
    pub document: Ordinal,
}

/// All kept documents in the order of their splits.
pub(super) struct Order {
    /// Sorted: by split, then by key.
    pub placed: Vec<Placed>,
    /// First token of each in its split.
    pub starts: Vec<u64>,
}

/// A finished shard.
#[derive(Debug, Clone)]
pub(super) struct PackedShard {
    /// Its split.
    pub split: Split,
    /// Its number in the split.
    pub number: u64,
    /// Key of its task.
    pub key: Digest,
    /// Bytes of the file.
    pub bytes: u64,
    /// sha256 of the file.
    pub sha256: Digest,
    /// Tokens in it.
    pub tokens: u64,
    /// Documents that are in it, whole or in part.
    pub documents: u64,
    /// Seconds by part, for people.
    pub seconds: BTreeMap<String, f64>,
}

/// Why shards could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The work folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The format refused.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl From<std::io::Error> for PackError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Gives every kept document its split and place.
pub(super) fn order(
    plan: &Plan,
    identities: &Identities<'_>,
    clusters: &Clusters,
    encoded: &[Encoded],
) -> Order {
    let seed = plan.recipe.seed;
    let (val, test) = (plan.recipe.split.val, plan.recipe.split.test);
    let mut placed: Vec<Placed> = encoded
        .par_iter()
        .enumerate()
        .flat_map_iter(|(block, encoded)| {
            (0u32..)
                .zip(&encoded.documents)
                .zip(&encoded.lengths)
                .filter(|(_, tokens)| **tokens > 0)
                .map(move |((place, document), tokens)| {
                    let cluster = identities.of(clusters.cluster[*document as usize]);
                    let key =
                        xxh3_64_with_seed(identities.of(*document).as_bytes(), seed ^ ORDER_SALT);
                    Placed {
                        split: split_of(
                            xxh3_64_with_seed(cluster.as_bytes(), seed ^ SPLIT_SALT),
                            val,
                            test,
                        ),
                        key,
                        block: u32::try_from(block).expect("there are fewer blocks than documents"),
                        place,
                        tokens: *tokens,
                        document: *document,
                    }
                })
        })
        .collect();
    placed.par_sort_unstable();
    let mut starts = Vec::with_capacity(placed.len());
    let mut at = (Split::Train, 0u64);
    for document in &placed {
        if document.split != at.0 {
            at = (document.split, 0);
        }
        starts.push(at.1);
        at.1 += u64::from(document.tokens);
    }
    Order { placed, starts }
}

/// Keep the two uses of the seed apart, so that a document's place says nothing of its split.
const SPLIT_SALT: u64 = 0x7370_6c69_7400_0000;
const ORDER_SALT: u64 = 0x6f72_6465_7200_0000;

fn split_of(hash: u64, val: f64, test: f64) -> Split {
    // 53 bits are what an f64 holds exactly.
    let share = (hash >> 11) as f64 / (1u64 << 53) as f64;
    if share < val {
        Split::Val
    } else if share < val + test {
        Split::Test
    } else {
        Split::Train
    }
}

impl Order {
    /// The documents of a split, as a range of `placed`.
    pub(super) fn of(&self, split: Split) -> Range<usize> {
        let first = self.placed.partition_point(|d| d.split < split);
        let end = self.placed.partition_point(|d| d.split <= split);
        first..end
    }

    /// Tokens of a split.
    pub(super) fn tokens(&self, split: Split) -> u64 {
        let range = self.of(split);
        if range.is_empty() {
            0
        } else {
            self.starts[range.end - 1] + u64::from(self.placed[range.end - 1].tokens)
        }
    }
}

/// What every shard of a build shares.
pub(super) fn spec(plan: &Plan, tokenizer: &Tokenizer) -> ShardSpec {
    ShardSpec {
        width: TokenWidth::for_vocab(tokenizer.vocab_size()),
        vocab_size: tokenizer.vocab_size(),
        end_of_text: tokenizer.end_of_text().0,
        frame_tokens: plan.recipe.shard.frame_tokens,
        tokenizer_sha256: plan.tokenizer_digest.0,
        level: plan.recipe.shard.level,
    }
}

/// Runs the stage on the calling rayon pool.
#[expect(clippy::too_many_arguments, reason = "each is another stage's result")]
pub(super) fn pack(
    plan: &Plan,
    spec: &ShardSpec,
    identities: &Identities<'_>,
    order: &Order,
    encoded: &[Encoded],
    store: &Store,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<PackedShard>, PackError> {
    let total: u64 = Split::ALL.iter().map(|split| order.tokens(*split)).sum();
    progress.event(&Event::Stage {
        stage: Stage::Shards,
        total,
    });
    let mut hash = sha2::Sha256::new();
    for document in &order.placed {
        let (source, row) = (
            identities.source(document.document),
            identities.row(document.document),
        );
        hash.update(document.key.to_le_bytes());
        hash.update([document.split as u8]);
        for number in [document.block, document.place, document.tokens, source] {
            hash.update(number.to_le_bytes());
        }
        hash.update(row.to_le_bytes());
    }
    let order_digest = Digest(hash.finalize().into());
    let contents: Vec<Digest> = encoded.iter().map(|e| e.sha256).collect();
    let stage_digest = Digest::of_value(&(
        "shards",
        BYTES_VERSION,
        andromeda_format::VERSION,
        plan.recipe.pack_options(),
        plan.tokenizer_digest,
        spec.vocab_size,
        spec.end_of_text,
        order_digest,
        contents,
    ));
    let files = Files::default();
    let mut packed = Vec::new();
    for split in Split::ALL {
        let tokens = order.tokens(split);
        for number in 0..tokens.div_ceil(plan.recipe.shard.tokens) {
            let first = number * plan.recipe.shard.tokens;
            let range = first..tokens.min(first + plan.recipe.shard.tokens);
            let key = Digest::of_value(&(stage_digest, split, number));
            let shard = Shard {
                spec,
                order,
                encoded,
                identities,
                files: &files,
                documents: order.overlapping(split, &range),
                range,
            };
            let reused = store.receipt(Stage::Shards, key)?;
            let mut was = true;
            let receipt = match reused {
                // A published shard is a link to this file: what happened to the one happened to the other.
                Some(receipt)
                    if Digest::of_file(&store.data(Stage::Shards, key))? == receipt.sha256 =>
                {
                    receipt
                }
                damaged_or_none => {
                    if damaged_or_none.is_some() {
                        store.forget(Stage::Shards, key)?;
                    }
                    was = false;
                    if stop.load(Ordering::Relaxed) {
                        return Err(std::io::Error::from(std::io::ErrorKind::Interrupted).into());
                    }
                    shard.write(store, key)?
                }
            };
            let tokens = shard.range.end - shard.range.start;
            progress.event(&Event::Advanced {
                stage: Stage::Shards,
                by: tokens,
                reused: was,
            });
            packed.push(PackedShard {
                split,
                number,
                key,
                bytes: receipt.bytes,
                sha256: receipt.sha256,
                tokens,
                documents: shard.documents.len() as u64,
                seconds: receipt.seconds,
            });
        }
    }
    Ok(packed)
}

impl Order {
    /// The documents that have a token in `tokens` of the split.
    fn overlapping(&self, split: Split, tokens: &Range<u64>) -> Range<usize> {
        let all = self.of(split);
        let starts = &self.starts[all.clone()];
        let first = starts
            .partition_point(|start| *start <= tokens.start)
            .saturating_sub(1);
        let end = starts.partition_point(|start| *start < tokens.end);
        all.start + first..all.start + end
    }
}

struct Shard<'a> {
    spec: &'a ShardSpec,
    order: &'a Order,
    encoded: &'a [Encoded],
    identities: &'a Identities<'a>,
    files: &'a Files,
    /// Tokens of the split that are in this shard.
    range: Range<u64>,
    /// Documents that are in it.
    documents: Range<usize>,
}

impl Shard<'_> {
    fn write(&self, store: &Store, key: Digest) -> Result<super::store::Receipt, PackError> {
        let split = self.order.placed[self.documents.start].split;
        let step = u64::from(self.spec.frame_tokens);
        let frames: Vec<(Frame, BTreeMap<String, f64>)> = (0..(self.range.end - self.range.start)
            .div_ceil(step))
            .into_par_iter()
            .map(|frame| {
                let mut watch = Watch::start();
                let first = self.range.start + frame * step;
                let range = first..self.range.end.min(first + step);
                let ids = self.ids(self.order.overlapping(split, &range), &range)?;
                let frame = encode_frame(self.spec, &ids)?;
                watch.lap("write");
                Ok((frame, watch.seconds()))
            })
            .collect::<Result<_, PackError>>()?;
        let mut watch = Watch::start();
        let mut documents = Vec::with_capacity(self.documents.len());
        let mut masked: Vec<Range<u64>> = Vec::new();
        for d in self.documents.clone() {
            let document = &self.order.placed[d];
            let start = self.order.starts[d];
            let inside =
                |token: u64| token.clamp(self.range.start, self.range.end) - self.range.start;
            documents.push(DocumentEntry {
                end: inside(start + u64::from(document.tokens)),
                source: self.identities.source(document.document),
                row: self.identities.row(document.document),
            });
            let spans = &self.encoded[document.block as usize].masked;
            let first = spans.partition_point(|span| span.0 < document.place);
            for span in spans[first..]
                .iter()
                .take_while(|span| span.0 == document.place)
            {
                let span = inside(start + u64::from(span.1))..inside(start + u64::from(span.2));
                match masked.last_mut() {
                    Some(last) if last.end == span.start => last.end = span.end,
                    _ if span.is_empty() => {}
                    _ => masked.push(span),
                }
            }
        }
        let flags = ShardFlags {
            continues_from_previous: self.order.starts[self.documents.start] < self.range.start,
            continues_in_next: {
                let last = self.documents.end - 1;
                self.order.starts[last] + u64::from(self.order.placed[last].tokens) > self.range.end
            },
        };
        let mut seconds = 0.0;
        let mut writer = ShardWriter::new(self.spec.clone(), store.attempt()?);
        for (frame, parts) in frames {
            writer.push_frame(frame)?;
            seconds += parts.values().sum::<f64>();
        }
        let counters = serde_json::json!({ "tokens": self.range.end - self.range.start, "documents": documents.len() });
        let (attempt, _) = writer.finish(&documents, &masked, flags)?;
        watch.lap("write");
        let mut parts = watch.seconds();
        *parts.entry("write".to_owned()).or_default() += seconds;
        Ok(store.commit(Stage::Shards, key, attempt, &counters, parts)?)
    }

    /// The ids of `range`, gathered from the blocks' outputs. Every document is read whole and checked.
    fn ids(&self, documents: Range<usize>, range: &Range<u64>) -> Result<Vec<u32>, PackError> {
        let width = self.spec.width.bytes();
        let mut ids = Vec::new();
        let mut buffer = Vec::new();
        for d in documents {
            let document = &self.order.placed[d];
            let start = self.order.starts[d];
            let block = &self.encoded[document.block as usize];
            let (offset, sum) = block.position(document.place, width)?;
            buffer.resize(document.tokens as usize * width, 0);
            self.files.read_at(
                document.block as usize,
                block.file.path(),
                offset,
                &mut buffer,
            )?;
            if xxh3_64(&buffer) != sum {
                let file = block.file.path().to_path_buf();
                return Err(StoreError::Damaged {
                    file,
                    what: format!("tokens of document {}", document.place),
                }
                .into());
            }
            let end = start + u64::from(document.tokens);
            let from =
                usize::try_from(range.start.saturating_sub(start)).expect("within a document");
            let to = usize::try_from(end.min(range.end) - start).expect("within a document");
            let part = &buffer[from * width..to * width];
            match self.spec.width {
                TokenWidth::U16 => ids.extend(
                    part.chunks_exact(2)
                        .map(|b| u32::from(u16::from_le_bytes([b[0], b[1]]))),
                ),
                TokenWidth::U32 => ids.extend(
                    part.chunks_exact(4)
                        .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])),
                ),
            }
        }
        Ok(ids)
    }
}
