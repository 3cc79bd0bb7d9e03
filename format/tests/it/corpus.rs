//! Made-up corpora whose every token is known by construction, written as a build.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use andromeda_format::{
    BUILD_FORMAT, Count, DatasetEntry, DocumentEntry, EndOfText, FileEntry, Funnel, Manifest,
    ShardEntry, ShardFlags, ShardSpec, Split, SplitEntry, SplitTokens, TokenWidth, TokenizerEntry,
    VERSION, write_atomic, write_shard,
};
use sha2::{Digest, Sha256};

/// A document; its row is its place in the corpus.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) split: Split,
    pub(crate) source: u32,
    /// With the end of text.
    pub(crate) tokens: u64,
    /// Tokens of the document that carry no loss.
    pub(crate) masked: Range<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Corpus {
    pub(crate) vocab_size: u32,
    pub(crate) frame_tokens: u32,
    pub(crate) shard_tokens: u64,
    pub(crate) documents: Vec<Document>,
}

pub(crate) const TOKENIZER: &[u8] =
    b"{\"model\": \"any bytes do: nothing here reads a tokenizer\"}\n";
const TABLES: [(&str, &[u8]); 2] = [
    ("documents.parquet", b"a table"),
    ("duplicates.parquet", b"another table"),
];

impl Corpus {
    /// Documents of 2 to 40 tokens of two datasets, the second with masked prompts.
    pub(crate) fn small(vocab_size: u32) -> Self {
        let document = |i: u64| {
            let tokens = 2 + i * 17 % 39;
            Document {
                split: if i % 10 == 3 {
                    Split::Val
                } else {
                    Split::Train
                },
                source: u32::from(i % 3 == 1),
                tokens,
                masked: if i % 3 == 1 { 0..tokens / 2 } else { 0..0 },
            }
        };
        Self {
            vocab_size,
            frame_tokens: 64,
            shard_tokens: 300,
            documents: (0..40).map(document).collect(),
        }
    }

    pub(crate) fn spec(&self) -> ShardSpec {
        ShardSpec {
            width: TokenWidth::for_vocab(self.vocab_size),
            vocab_size: self.vocab_size,
            end_of_text: 0,
            frame_tokens: self.frame_tokens,
            tokenizer_sha256: Sha256::digest(TOKENIZER).into(),
            level: 3,
        }
    }

    /// Documents of a split: row, first token, document.
    pub(crate) fn placed(&self, split: Split) -> Vec<(u64, u64, &Document)> {
        let mut start = 0;
        let mut placed = Vec::new();
        for (row, document) in self
            .documents
            .iter()
            .enumerate()
            .filter(|(_, d)| d.split == split)
        {
            placed.push((row as u64, start, document));
            start += document.tokens;
        }
        placed
    }

    /// Every token of a split.
    pub(crate) fn tokens(&self, split: Split) -> Vec<u32> {
        let mut ids = Vec::new();
        for (row, _, document) in self.placed(split) {
            let text = (0..document.tokens - 1).map(|place| {
                1 + ((row * 31 + place * place * 7) % u64::from(self.vocab_size - 1)) as u32
            });
            ids.extend(text.chain([0]));
        }
        ids
    }

    /// Whether each token of a split carries loss.
    pub(crate) fn loss(&self, split: Split) -> Vec<bool> {
        let of = |document: &Document| {
            (0..document.tokens)
                .map(|place| !document.masked.contains(&place))
                .collect::<Vec<_>>()
        };
        self.placed(split)
            .into_iter()
            .flat_map(|(_, _, document)| of(document))
            .collect()
    }

    /// Writes the build and gives its manifest.
    pub(crate) fn write(&self, folder: &Path) -> Manifest {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join("tokenizer.json"), TOKENIZER).unwrap();
        for (name, bytes) in TABLES {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        let splits = Split::ALL
            .into_iter()
            .filter(|split| !self.placed(*split).is_empty());
        let splits = splits
            .map(|split| (split, self.write_split(split, folder)))
            .collect();
        let mut manifest = self.manifest(splits);
        let bytes = manifest.to_bytes().unwrap();
        write_atomic(&folder.join("manifest.json"), &bytes).unwrap();
        manifest
    }

    fn write_split(&self, split: Split, folder: &Path) -> SplitEntry {
        let (ids, loss, placed) = (self.tokens(split), self.loss(split), self.placed(split));
        let mut shards = Vec::new();
        let mut at = 0;
        while at < ids.len() as u64 {
            let range = at..(at + self.shard_tokens).min(ids.len() as u64);
            let overlapping = || {
                placed
                    .iter()
                    .filter(|(_, start, d)| *start < range.end && start + d.tokens > range.start)
            };
            let documents: Vec<DocumentEntry> = overlapping()
                .map(|(row, start, d)| DocumentEntry {
                    end: (start + d.tokens).min(range.end) - range.start,
                    source: d.source,
                    row: *row,
                })
                .collect();
            let flags = ShardFlags {
                continues_from_previous: overlapping().any(|(_, start, _)| *start < range.start),
                continues_in_next: overlapping().any(|(_, start, d)| start + d.tokens > range.end),
            };
            let here = range.start as usize..range.end as usize;
            let masked = spans(&loss[here.clone()]);
            let (bytes, summary) = write_shard(
                &self.spec(),
                &ids[here],
                &documents,
                &masked,
                flags,
                Vec::new(),
            )
            .unwrap();
            let file = format!("{}-{:05}.zst", split.name(), shards.len());
            std::fs::write(folder.join(&file), &bytes).unwrap();
            shards.push(ShardEntry {
                file,
                bytes: bytes.len() as u64,
                sha256: sha256(&bytes),
                tokens: summary.tokens,
                documents: summary.documents,
            });
            at = range.end;
        }
        let part = self.part(|document| document.split == split);
        SplitEntry {
            tokens: part.tokens,
            documents: part.documents,
            text_bytes: part.text_bytes,
            shards,
        }
    }

    fn part(&self, of: impl Fn(&Document) -> bool) -> SplitTokens {
        let mut part = SplitTokens::default();
        for document in self.documents.iter().filter(|d| of(d)) {
            part.tokens += document.tokens;
            part.documents += 1;
            part.text_bytes += 4 * (document.tokens - 1);
        }
        part
    }

    fn manifest(&self, splits: BTreeMap<Split, SplitEntry>) -> Manifest {
        let dataset = |(source, name): (u32, &str)| {
            let kept = self.part(|d| d.source == source);
            let gone = |reason: &str, documents| {
                BTreeMap::from([(
                    reason.to_owned(),
                    Count {
                        documents,
                        bytes: 100 * documents,
                    },
                )])
            };
            DatasetEntry {
                name: name.to_owned(),
                tier: "high".to_owned(),
                kind: "text".to_owned(),
                licence: "CC0-1.0".to_owned(),
                source: "made up".to_owned(),
                revision: "1".to_owned(),
                files: vec![FileEntry {
                    path: "part-0.jsonl".to_owned(),
                    bytes: 5,
                    sha256: sha256(b"bytes"),
                }],
                faults: Vec::new(),
                redacted: std::collections::BTreeMap::new(),
                funnel: Funnel {
                    documents_in: kept.documents + 6,
                    bytes_in: kept.text_bytes + 600,
                    kept: Count {
                        documents: kept.documents,
                        bytes: kept.text_bytes,
                    },
                    trimmed: BTreeMap::new(),
                    dropped: gone("too-short", 3),
                    duplicates: gone("exact", 2),
                    quarantined: gone("not-utf-8", 1),
                },
                splits: splits
                    .keys()
                    .map(|split| {
                        (
                            *split,
                            self.part(|d| d.source == source && d.split == *split),
                        )
                    })
                    .collect(),
            }
        };
        let datasets: Vec<_> = [(0, "prose"), (1, "chat")]
            .into_iter()
            .map(dataset)
            .collect();
        let mut funnel = Funnel::default();
        datasets.iter().for_each(|d| funnel += &d.funnel);
        Manifest {
            format: BUILD_FORMAT.to_owned(),
            version: VERSION,
            root: String::new(),
            name: "made-up".to_owned(),
            fingerprint: sha256(b"a plan"),
            tokenizer: TokenizerEntry {
                file: "tokenizer.json".to_owned(),
                sha256: sha256(TOKENIZER),
                kind: "byte-level-bpe".to_owned(),
                vocab_size: self.vocab_size,
                end_of_text: EndOfText {
                    id: 0,
                    token: "<|endoftext|>".to_owned(),
                },
            },
            token_width: TokenWidth::for_vocab(self.vocab_size),
            frame_tokens: self.frame_tokens,
            shard_tokens: self.shard_tokens,
            splits,
            datasets,
            funnel,
            tables: TABLES
                .map(|(path, bytes)| FileEntry {
                    path: path.to_owned(),
                    bytes: bytes.len() as u64,
                    sha256: sha256(bytes),
                })
                .into(),
            recipe: serde_json::json!({"shard": {"level": 3}, "ratio": 0.005}),
            contaminates: Vec::new(),
            decontaminated: Vec::new(),
            lists: Vec::new(),
            program: "andromeda test".to_owned(),
        }
    }
}

/// Runs of `false`.
fn spans(loss: &[bool]) -> Vec<Range<u64>> {
    let mut spans: Vec<Range<u64>> = Vec::new();
    for (place, _) in loss.iter().enumerate().filter(|(_, carries)| !**carries) {
        let place = place as u64;
        match spans.last_mut() {
            Some(last) if last.end == place => last.end += 1,
            _ => spans.push(place..place + 1),
        }
    }
    spans
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
