//! Kept documents become token ids, block by block.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::TokenWidth;
use rayon::prelude::*;

use super::cpu::Watch;
use super::extract::Extracted;
use super::identity::Identities;
use super::resolve::Survivors;
use super::segments::StoredSegment;
use super::store::{SectionFile, Sections, Store, StoreError, column_u32, column_u64};
use super::texts::Texts;
use super::trim::Trimmed;
use crate::dedup::cluster::{Clusters, Method, Ordinal};
use crate::dedup::repeat::remaining;
use crate::digest::Digest;
use crate::plan::{BYTES_VERSION, Plan};
use crate::progress::{Event, Progress, Stage};
use crate::tokenize::Tokenizer;

/// The token ids of one block's kept documents.
pub(super) struct Encoded {
    /// The output.
    pub file: SectionFile,
    /// Ordinals of the kept documents, ascending.
    pub documents: Vec<Ordinal>,
    /// Tokens of each, its end of text included; 0 for one that could not be tokenized.
    pub lengths: Vec<u32>,
    /// Ranges of untrained tokens: document's place in `documents`, first token and end within the document.
    pub masked: Vec<(u32, u32, u32)>,
    /// Why a document could not be tokenized: its place in `documents` and the reason.
    pub quarantined: Vec<(u32, String)>,
    /// Hash of each one's token bytes.
    sums: Vec<u64>,
    /// Tokens before each.
    starts: Vec<u64>,
    /// Where the ids begin in the output.
    ids: u64,
    /// sha256 of the output.
    pub sha256: Digest,
    /// Seconds by part, for people.
    pub seconds: BTreeMap<String, f64>,
}

impl Encoded {
    /// Where in the output the ids of a document begin, and what its bytes hash to.
    pub(super) fn position(&self, place: u32, width: usize) -> Result<(u64, u64), StoreError> {
        let at = place as usize;
        match (self.starts.get(at), self.sums.get(at)) {
            (Some(start), Some(sum)) => Ok((self.ids + start * width as u64, *sum)),
            _ => Err(StoreError::Damaged {
                file: self.file.path().to_path_buf(),
                what: "it has too few documents".to_owned(),
            }),
        }
    }
}

/// Runs the stage on the calling rayon pool; one entry a block, in plan order.
#[expect(clippy::too_many_arguments, reason = "each is another stage's result")]
pub(super) fn encode(
    plan: &Plan,
    extracted: &Extracted,
    survivors: &Survivors<'_>,
    clusters: &Clusters,
    trimmed: &Trimmed,
    tokenizer: &Tokenizer,
    store: &Store,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<Encoded>, StoreError> {
    let kept_bytes = |documents: &[Ordinal]| {
        documents
            .iter()
            .map(|d| survivors.lengths[*d as usize])
            .sum::<u64>()
    };
    let kept: Vec<Vec<Ordinal>> = (0..survivors.blocks.len())
        .map(|b| {
            survivors.blocks[b]
                .ordinals()
                .filter(|d| clusters.method[*d as usize] == Method::Kept as u8)
                .filter(|d| trimmed.stays(*d))
                .collect()
        })
        .collect();
    progress.event(&Event::Stage {
        stage: Stage::Tokenize,
        total: kept.iter().map(|k| kept_bytes(k)).sum(),
    });
    // Blocks are independent; the order of completion is put right by `collect`.
    kept.into_par_iter()
        .zip(&extracted.blocks)
        .zip(&survivors.blocks)
        .map(|((documents, block), survivors_of)| {
            let bytes = kept_bytes(&documents);
            let local: Vec<u32> = documents.iter().map(|d| d - survivors_of.first).collect();
            let key = Digest::of_value(&(
                "tokenize",
                BYTES_VERSION,
                block.receipt.sha256,
                &local,
                plan.tokenizer_digest,
                tokenizer.encoder_name(),
                tokenizer.end_of_text().0,
            ));
            let cuts: Vec<&[Range<u32>]> = documents.iter().map(|d| trimmed.cuts(*d)).collect();
            let key = if cuts.iter().all(|cuts| cuts.is_empty()) {
                key
            } else {
                Digest::of_value(&("trimmed", key, &cuts))
            };
            let reused = store.receipt(Stage::Tokenize, key)?;
            let was = reused.is_some();
            let receipt = match reused {
                Some(receipt) => receipt,
                None => {
                    if stop.load(Ordering::Relaxed) {
                        return Err(StoreError::Io(std::io::ErrorKind::Interrupted.into()));
                    }
                    run(&survivors_of.file, &local, &cuts, tokenizer, store, key)?
                }
            };
            progress.event(&Event::Advanced {
                stage: Stage::Tokenize,
                by: bytes,
                reused: was,
            });
            let file = SectionFile::open(&store.data(Stage::Tokenize, key))?;
            let lengths = file.read_u32("lengths")?;
            let starts = lengths
                .iter()
                .scan(0u64, |at, n| {
                    Some(std::mem::replace(at, *at + u64::from(*n)))
                })
                .collect();
            Ok(Encoded {
                documents,
                lengths,
                sums: file.read_u64("sums")?,
                starts,
                ids: file.extent("ids")?.0,
                masked: file.read_json("masked")?,
                quarantined: file.read_json("quarantined")?,
                file,
                sha256: receipt.sha256,
                seconds: receipt.seconds,
            })
        })
        .collect()
}

/// Texts of kept documents, chosen by the hash of their ids until they make about `most_bytes`.
pub(super) fn texts(
    survivors: &Survivors<'_>,
    clusters: &Clusters,
    trimmed: &Trimmed,
    identities: &Identities<'_>,
    most_bytes: u64,
) -> Result<Vec<String>, StoreError> {
    let kept = |d: Ordinal| clusters.method[d as usize] == Method::Kept as u8 && trimmed.stays(d);
    let total: u64 = (0..survivors.own())
        .filter(|d| kept(*d))
        .map(|d| survivors.lengths[d as usize] - cut_bytes(trimmed.cuts(d)))
        .sum();
    let share = (most_bytes as f64 / total.max(1) as f64).min(1.0);
    let mut chosen = Vec::new();
    for block in &survivors.blocks {
        let texts = Texts::read(&block.file)?;
        for d in block.ordinals().filter(|d| kept(*d)) {
            let hash = xxhash_rust::xxh3::xxh3_64(identities.of(d).as_bytes());
            if (hash as f64 / u64::MAX as f64) < share {
                let text = texts.get(d - block.first)?;
                chosen.push(remaining(text, trimmed.cuts(d)).into_owned());
            }
        }
    }
    Ok(chosen)
}

/// Bytes in ranges of a text.
fn cut_bytes(cuts: &[Range<u32>]) -> u64 {
    cuts.iter().map(|cut| u64::from(cut.end - cut.start)).sum()
}

fn run(
    block: &SectionFile,
    local: &[u32],
    cuts: &[&[Range<u32>]],
    tokenizer: &Tokenizer,
    store: &Store,
    key: Digest,
) -> Result<super::store::Receipt, StoreError> {
    let damaged = |what: &str| StoreError::Damaged {
        file: block.path().to_path_buf(),
        what: what.to_owned(),
    };
    let mut watch = Watch::start();
    let texts = Texts::read(block)?;
    let segments: Vec<StoredSegment> = block.read_json("segments")?;
    watch.lap("write");

    let width = TokenWidth::for_vocab(tokenizer.vocab_size());
    let (end_of_text, _) = tokenizer.end_of_text();
    // Of formats that have such tokens; no other block has segments with turns.
    let turn = match tokenizer.reserved() {
        [begin, end] => Some((*begin, *end)),
        _ => None,
    };
    let mut ids: Vec<u32> = Vec::new();
    let mut bytes: Vec<u8> = Vec::new();
    let mut sums = Vec::with_capacity(local.len());
    let mut counts = Vec::with_capacity(local.len());
    let mut masked: Vec<(u32, u32, u32)> = Vec::new();
    let mut quarantined: Vec<(u32, String)> = Vec::new();
    let mut input = 0u64;
    for ((place, document), cuts) in (0u32..).zip(local).zip(cuts) {
        // What has segments has no cuts.
        let text = &*remaining(texts.get(*document)?, cuts);
        input += text.len() as u64;
        ids.clear();
        let first = segments.partition_point(|segment| segment.0 < *document);
        let own = segments[first..]
            .iter()
            .take_while(|segment| segment.0 == *document);
        let mut outcome = Ok(());
        let mut from = 0usize;
        let mut any = false;
        for (_, end, trained, around) in own {
            any = true;
            let end = usize::try_from(*end).map_err(|_| damaged("its texts are too long"))?;
            let part = text
                .get(from..end)
                .ok_or_else(|| damaged("a segment ends inside a character"))?;
            let before = ids.len();
            ids.extend(turn.filter(|_| around.begins_turn).map(|(begin, _)| begin));
            outcome = outcome.and_then(|()| tokenizer.encode(part, &mut ids));
            ids.extend(turn.filter(|_| around.ends_turn).map(|(_, end)| end));
            ids.extend(around.end_of_text.then_some(end_of_text));
            if !trained && ids.len() > before {
                masked.push((place, token(before), token(ids.len())));
            }
            from = end;
        }
        if !any {
            outcome = tokenizer.encode(text, &mut ids);
        }
        match outcome {
            // Every document ends; one whose answer was cut off ends without teaching where to stop.
            Ok(()) if any && ids.last() == Some(&end_of_text) => {}
            Ok(()) => {
                ids.push(end_of_text);
                if any {
                    masked.push((place, token(ids.len() - 1), token(ids.len())));
                }
            }
            Err(error) => {
                ids.clear();
                masked.retain(|span| span.0 != place);
                quarantined.push((place, error.reason().to_owned()));
            }
        }
        let from = bytes.len();
        match width {
            TokenWidth::U16 => bytes.extend(ids.iter().flat_map(|id| narrow(*id).to_le_bytes())),
            TokenWidth::U32 => bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        }
        sums.push(xxhash_rust::xxh3::xxh3_64(&bytes[from..]));
        counts.push(token(ids.len()));
    }
    watch.lap("tokenize");
    let mut sections = Sections::default();
    sections.push("lengths", column_u32(counts));
    sections.push("sums", column_u64(sums));
    sections.push("masked", super::block::json(&masked));
    sections.push("quarantined", super::block::json(&quarantined));
    sections.push("ids", bytes);
    let mut attempt = store.attempt()?;
    sections.write(&mut attempt)?;
    watch.lap("write");
    let counters = serde_json::json!({ "documents": local.len(), "bytes": input });
    store.commit(Stage::Tokenize, key, attempt, &counters, watch.seconds())
}

/// Tokens of one document: at most as many as it has bytes, and a row is bounded far below 2^32 of those.
fn token(count: usize) -> u32 {
    u32::try_from(count).expect("a document has fewer than 2^32 tokens")
}

fn narrow(id: u32) -> u16 {
    u16::try_from(id).expect("a vocabulary of at most 65,536 ids has no larger one")
}
