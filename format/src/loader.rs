//! Sequences of equal length from one or more builds, in an order that is a pure function of builds, options and position.
//!
//! `SPEC.md` has the order, so that other programs read the same. The position is one integer and, with what it was counted
//! in ([`LoaderState`]), the whole state: a run that was stopped anywhere, or goes on with another number of machines, reads
//! the sequences it would have read. Nothing is drawn, buffered or remembered that the position does not tell.
//!
//! What it costs. A split of windows opens at once, whatever its size. Best-fit packing and datasets read the index of every
//! shard first (20 bytes a document) and keep 16 bytes for every chunk, of 1,048,576 tokens, not for every document. Then
//! each source holds the ids of one group of chunks as they are needed: with the defaults 32 MiB of two-byte ids. A dataset
//! is read by decoding every frame that has some of it; of documents in global order these are all frames, so a mixture of
//! the `d` datasets of one build decodes it `d` times, and of `d` builds each once.

use serde::{Deserialize, Serialize};

use crate::build::Build;
use crate::chunk::Chunk;
use crate::error::{FormatError, Result};
use crate::manifest::Split;
use crate::order::{given, source_at};
use crate::source::{Source, Taken};
use crate::state::{LoaderState, OrderIdentity, SourceIdentity};
use crate::stored::{Kept, Stored};

/// Shards kept open by all sources together, at least [`LEAST_OPEN`] each: each costs a file handle.
const OPEN_SHARDS: usize = 256;
/// As many as a group of chunks is likely to be in.
const LEAST_OPEN: usize = 4;
/// Decoded frames kept where chunks keep their ids: a frame that two chunks share is read by both.
const FEW_FRAMES: usize = 4;
/// Decoded frames kept where they do not: 8 MiB of two-byte ids in frames of 65,536 tokens.
const CACHED_FRAMES: usize = 64;

/// How documents are laid into sequences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Packing {
    /// End to end, cut into windows wherever they end: no token is lost, many documents are cut.
    #[default]
    Concatenate,
    /// Whole documents, put together so that little room is left (Ding et al., arXiv:2404.10830); only those longer than a
    /// sequence are cut. The room is filled with the end of text and carries no loss.
    BestFit,
}

/// How far the order of an epoch is from the stored one.
///
/// Chunks of neighbouring sequences are taken in pseudo-random order, a group of them at a time, and the sequences of a
/// group are permuted among each other. A sequence anywhere costs a whole frame; one in a group costs its own part, since
/// the group is decoded once. Documents were permuted globally before they were packed, so a group is a sample of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shuffle {
    /// Tokens of a chunk, more or less; at least 1. A dataset's chunks are smaller by its share of the split.
    pub chunk_tokens: u64,
    /// Chunks of a group; at least 1. So many are held in memory, unless it is [`u64::MAX`].
    pub group_chunks: u64,
}

impl Shuffle {
    /// All sequences among each other. Of a split of more than 16 chunks nothing is held, and each sequence decodes a frame.
    pub const FULL: Self = Self {
        chunk_tokens: 1 << 20,
        group_chunks: u64::MAX,
    };

    pub(crate) fn is_full(&self) -> bool {
        self.group_chunks == u64::MAX
    }
}

impl Default for Shuffle {
    /// 16 chunks of 1,048,576 tokens; smaller splits are shuffled as a whole.
    fn default() -> Self {
        Self {
            chunk_tokens: 1 << 20,
            group_chunks: 16,
        }
    }
}

/// What is read, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Tokens in a sequence: inputs, and as many targets.
    pub sequence_tokens: usize,
    /// Decides the order.
    pub seed: u64,
    /// How documents are laid into sequences.
    pub packing: Packing,
    /// How far the order is from the stored one.
    pub shuffle: Shuffle,
}

impl LoaderOptions {
    /// Documents end to end, with the default shuffle.
    pub fn new(sequence_tokens: usize, seed: u64) -> Self {
        Self {
            sequence_tokens,
            seed,
            packing: Packing::default(),
            shuffle: Shuffle::default(),
        }
    }
}

/// One of the sources of a mixture.
#[derive(Debug, Clone)]
pub struct MixtureSource {
    /// The build.
    pub build: Build,
    /// The split of it.
    pub split: Split,
    /// The dataset, by its name in the manifest; all of the split without one.
    pub dataset: Option<String>,
    /// Its share of the sequences: `weight` of the sum of all weights; at least 1.
    pub weight: u64,
}

/// A sequence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sequence {
    /// `sequence_tokens + 1` ids: inputs are all but the last, targets all but the first.
    pub ids: Vec<u32>,
    /// For each target, whether it carries loss.
    pub loss: Vec<bool>,
    /// Places in `ids` where a document begins, ascending, and in best-fit packing any piece of one; a document that began
    /// before the sequence is not among them.
    pub document_starts: Vec<u32>,
    /// Rows of the documents that have a token in it, in order.
    pub rows: Vec<u64>,
    /// The dataset of each of them, as its place in the manifest's list.
    pub datasets: Vec<u32>,
    /// Place of the first id in the split.
    pub first_token: u64,
    /// Ids at the end that are filling; none but in best-fit packing.
    pub padding: usize,
    /// Which of the loader's sources it is from.
    pub source: usize,
}

impl Sequence {
    /// The ranges of `ids` within which attention stays if documents shall not see each other: each document or part of one,
    /// and the padding. They cover `ids` in order.
    pub fn segments(&self) -> Vec<std::ops::Range<usize>> {
        let filled = self.ids.len() - self.padding.min(self.ids.len());
        let starts = self.document_starts.iter().map(|start| *start as usize);
        let mut bounds: Vec<usize> = [0].into_iter().chain(starts).collect();
        bounds.extend([filled, self.ids.len()]);
        let ranges = bounds.windows(2).map(|pair| pair[0]..pair[1]);
        ranges.filter(|range| !range.is_empty()).collect()
    }

    /// Empties it, with `targets` that carry loss.
    pub(crate) fn clear(&mut self, targets: usize) {
        self.ids.clear();
        self.loss.clear();
        self.loss.resize(targets, true);
        self.document_starts.clear();
        self.rows.clear();
        self.datasets.clear();
        self.first_token = 0;
        self.padding = 0;
    }

    pub(crate) fn starts_at(&mut self, place: usize) {
        self.document_starts
            .push(u32::try_from(place).unwrap_or(u32::MAX));
    }

    pub(crate) fn has_row(&mut self, row: u64, dataset: u32) {
        if self.rows.last() != Some(&row) {
            self.rows.push(row);
            self.datasets.push(dataset);
        }
    }

    /// Masks what is masked of a range of a chunk that stands at `place`. The id at a place is the target before it.
    pub(crate) fn mask(&mut self, chunk: &Chunk, range: std::ops::Range<usize>, place: usize) {
        let first = chunk.masked.partition_point(|span| span.end <= range.start);
        for span in &chunk.masked[first..] {
            if span.start >= range.end {
                break;
            }
            let start = place + span.start.max(range.start) - range.start;
            let end = place + span.end.min(range.end) - range.start;
            self.loss[start.max(1) - 1..end.max(1) - 1].fill(false);
        }
    }
}

/// What a source has given after so many sequences of the loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The build's name.
    pub build: String,
    /// The dataset, if it is one.
    pub dataset: Option<String>,
    /// Its weight.
    pub weight: u64,
    /// Sequences it has given.
    pub given: u64,
    /// Sequences of its epoch.
    pub epoch_sequences: u64,
    /// Tokens of its epoch, padding not counted.
    pub epoch_tokens: u64,
}

impl Account {
    /// Whole epochs it has given. What it gave of the next is `given % epoch_sequences`.
    pub fn epochs(&self) -> u64 {
        self.given / self.epoch_sequences.max(1)
    }
}

impl std::fmt::Display for Account {
    /// `prose of corpus: 1.25 epochs, 125 sequences; an epoch is 100 sequences, 204,800 tokens`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(dataset) = &self.dataset {
            write!(f, "{dataset} of ")?;
        }
        let epoch = self.epoch_sequences.max(1);
        let hundredths = u128::from(self.given % epoch) * 100 / u128::from(epoch);
        write!(
            f,
            "{}: {}.{hundredths:02} epochs, {} sequences; an epoch is {} sequences, {} tokens",
            self.build,
            self.epochs(),
            self.given,
            self.epoch_sequences,
            self.epoch_tokens
        )
    }
}

/// Reads sequences of one or more sources.
#[derive(Debug)]
pub struct Loader {
    splits: Vec<Stored>,
    /// Each with its split's place in `splits`.
    sources: Vec<(usize, Source)>,
    weights: Vec<u64>,
    names: Vec<String>,
    identity: OrderIdentity,
}

impl Loader {
    /// Reads one split.
    ///
    /// # Errors
    ///
    /// [`FormatError::TooShort`] if there is no sequence in the split, [`FormatError::Options`], and of best-fit packing what
    /// [`Build::shard`] finds.
    pub fn new(build: &Build, split: Split, options: LoaderOptions) -> Result<Self> {
        let source = MixtureSource {
            build: build.clone(),
            split,
            dataset: None,
            weight: 1,
        };
        Self::mixture(&[source], options)
    }

    /// Reads several sources, each by its weight.
    ///
    /// # Errors
    ///
    /// As [`Self::new`]; [`FormatError::Options`] for no source, one that is there twice, a dataset that the build does not
    /// have, builds of different tokenizers, and weights of 0 or together above `u64::MAX`.
    pub fn mixture(sources: &[MixtureSource], options: LoaderOptions) -> Result<Self> {
        check(sources, &options)?;
        let mut splits: Vec<Stored> = Vec::new();
        let kept = Kept {
            shards: (OPEN_SHARDS / sources.len().max(1)).max(LEAST_OPEN),
            frames: if options.shuffle.is_full() {
                CACHED_FRAMES
            } else {
                FEW_FRAMES
            },
        };
        let mut opened = Vec::new();
        for source in sources {
            let known = splits
                .iter()
                .position(|stored| stored.is(&source.build, source.split));
            let at = known.unwrap_or(splits.len());
            if at == splits.len() {
                splits.push(Stored::new(&source.build, source.split, kept));
            }
            let taken = taken(source)?;
            let root = &source.build.manifest().root;
            opened.push((at, Source::new(&mut splits[at], root, &taken, &options)?));
        }
        let identity = |source: &MixtureSource| SourceIdentity {
            root: source.build.manifest().root.clone(),
            split: source.split,
            dataset: source.dataset.clone(),
            weight: source.weight,
        };
        let name = |source: &MixtureSource| source.build.manifest().name.clone();
        Ok(Self {
            splits,
            sources: opened,
            weights: sources.iter().map(|source| source.weight).collect(),
            names: sources.iter().map(name).collect(),
            identity: OrderIdentity {
                order: 1,
                sequence_tokens: options.sequence_tokens as u64,
                seed: options.seed,
                packing: options.packing,
                shuffle: options.shuffle,
                sources: sources.iter().map(identity).collect(),
            },
        })
    }

    /// Sequences of an epoch, of all sources together.
    pub fn sequences(&self) -> u64 {
        let each = self.sources.iter().map(|(_, source)| source.sequences());
        each.fold(0, u64::saturating_add)
    }

    /// The sequence at `position`, which counts over all epochs.
    ///
    /// # Errors
    ///
    /// What [`Build::shard`] and [`crate::ShardReader::frame`] find; `sequence` is then of no use. A frame is checked before
    /// any of it is given, and one that is damaged fails those sequences alone that need it.
    pub fn read(&mut self, position: u64, sequence: &mut Sequence) -> Result<()> {
        let (number, at) = source_at(position, &self.weights);
        let (split, source) = &mut self.sources[number];
        source.read(&mut self.splits[*split], at, sequence)?;
        sequence.source = number;
        Ok(())
    }

    /// Sequence `number` in stored order, source after source, for evaluation; below [`Self::sequences`].
    ///
    /// # Errors
    ///
    /// As [`Self::read`], and [`FormatError::OutOfRange`].
    pub fn read_in_order(&mut self, number: u64, sequence: &mut Sequence) -> Result<()> {
        let mut at = number;
        for (i, (split, source)) in self.sources.iter_mut().enumerate() {
            let here = source.sequences();
            if at < here {
                source.read_in_order(&mut self.splits[*split], at, sequence)?;
                sequence.source = i;
                return Ok(());
            }
            at -= here;
        }
        let length = self.identity.sequence_tokens;
        let first = number.saturating_mul(length);
        Err(self.splits[0].outside(first, first.saturating_add(length).saturating_add(1)))
    }

    /// What each source has given in the sequences before `position`.
    pub fn accounts(&self, position: u64) -> Vec<Account> {
        let given = given(position, &self.weights);
        let sources = self.sources.iter().zip(&self.identity.sources);
        let sources = sources.zip(&self.names).zip(given);
        sources
            .map(|((((_, source), identity), name), given)| Account {
                build: name.clone(),
                dataset: identity.dataset.clone(),
                weight: identity.weight,
                given,
                epoch_sequences: source.sequences(),
                epoch_tokens: source.tokens(),
            })
            .collect()
    }

    /// What is to be kept to go on at `position` another time.
    pub fn state(&self, position: u64) -> LoaderState {
        LoaderState {
            position,
            identity: self.identity.clone(),
        }
    }

    /// The position of a state, if it was counted in this order.
    ///
    /// # Errors
    ///
    /// [`FormatError::Position`] with what differs: builds, weights or options.
    pub fn resume(&self, state: &LoaderState) -> Result<u64> {
        match state.identity.difference(&self.identity) {
            None => Ok(state.position),
            Some(what) => Err(FormatError::Position {
                position: state.position,
                what,
            }),
        }
    }
}

/// What of a split a source takes.
fn taken(source: &MixtureSource) -> Result<Taken> {
    let manifest = source.build.manifest();
    let Some(name) = &source.dataset else {
        let split = manifest.splits.get(&source.split);
        return Ok(Taken {
            dataset: None,
            tokens: split.map_or(0, |entry| entry.tokens),
        });
    };
    let mut datasets = manifest.datasets.iter().zip(0u32..);
    let Some((dataset, number)) = datasets.find(|(dataset, _)| dataset.name == *name) else {
        let names: Vec<&str> = manifest.datasets.iter().map(|d| d.name.as_str()).collect();
        return Err(FormatError::options(format!(
            "build {} has no dataset {name}; it has {}",
            manifest.name,
            names.join(", ")
        )));
    };
    let tokens = dataset.splits.get(&source.split).map_or(0, |s| s.tokens);
    Ok(Taken {
        dataset: Some((number, name.clone())),
        tokens,
    })
}

fn check(sources: &[MixtureSource], options: &LoaderOptions) -> Result<()> {
    let wrong = |what: String| Err(FormatError::options(what));
    let Some(first) = sources.first() else {
        return wrong("a mixture of nothing; name a build".to_owned());
    };
    if options.shuffle.chunk_tokens == 0 || options.shuffle.group_chunks == 0 {
        return wrong("a shuffle of no tokens or no chunks; each is at least 1".to_owned());
    }
    let mut sum = 0u64;
    for (i, source) in sources.iter().enumerate() {
        let manifest = source.build.manifest();
        let name = source.dataset.as_deref().unwrap_or(&manifest.name);
        if source.weight == 0 {
            return wrong(format!(
                "the weight of {name} is 0; leave it out, or give it at least 1"
            ));
        }
        let Some(with) = sum.checked_add(source.weight) else {
            return wrong("the weights are together above 2^64 - 1; make all smaller".to_owned());
        };
        sum = with;
        let same = |other: &&MixtureSource| {
            other.build.manifest().root == manifest.root
                && (other.split, &other.dataset) == (source.split, &source.dataset)
        };
        if sources[..i].iter().any(|other| same(&other)) {
            return wrong(format!("{name} is there twice; give it one weight"));
        }
        if manifest.tokenizer.sha256 != first.build.manifest().tokenizer.sha256 {
            return wrong(format!(
                "builds {} and {} were made with different tokenizers; make one of them again",
                first.build.manifest().name,
                manifest.name
            ));
        }
    }
    Ok(())
}
