//! Whole documents of a split, for what is not learnt end to end: pairs of answers, judged steps, texts that builds have in common. Places and loss spans come from
//! the indices of the shards; tokens are read one document at a time, checked as the format checks everything.

use std::ops::Range;
use std::path::PathBuf;

use andromeda_format::{Build, DatasetEntry, FormatError, ShardReader, Split};

use crate::error::{Error, Result};

/// A document as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its row in the build's table of documents.
    pub row: u64,
    /// Its dataset, as its place in the build's list.
    pub dataset: u32,
    /// Its tokens, the end of text included.
    pub ids: Vec<u32>,
    /// Whether each of them carries loss.
    pub trained: Vec<bool>,
}

/// Where a document lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// First token of the split.
    start: u64,
    tokens: u64,
    row: u64,
    dataset: u32,
}

/// The documents of the chosen datasets in a split, in stored order.
#[derive(Debug)]
pub struct Documents {
    build: Build,
    split: Split,
    places: Vec<Place>,
    /// Tokens of the split that carry no loss: sorted, disjoint.
    masked: Vec<Range<u64>>,
    /// The shard that was read last.
    open: Option<(usize, ShardReader)>,
}

impl Documents {
    /// Those of the datasets whose kind is `kind`. Costs one read of each shard's index.
    ///
    /// # Errors
    /// A shard cannot be opened, or shards contradict each other.
    pub fn open(build: &Build, split: Split, kind: &str) -> Result<Self> {
        Self::open_those(build, split, |dataset| dataset.kind == kind)
    }

    /// Those of the datasets that are `wanted`, whatever their kinds.
    ///
    /// # Errors
    /// As [`Documents::open`].
    pub fn open_those(
        build: &Build,
        split: Split,
        wanted: impl Fn(&DatasetEntry) -> bool,
    ) -> Result<Self> {
        let manifest = build.manifest();
        let wanted: Vec<bool> = manifest.datasets.iter().map(wanted).collect();
        let mut documents = Self {
            build: build.clone(),
            split,
            places: Vec::new(),
            masked: Vec::new(),
            open: None,
        };
        let shards = manifest.splits.get(&split).map_or(0, |s| s.shards.len());
        // Tokens of the shards before, and the document that the last of them cut.
        let (mut before, mut cut): (u64, Option<Place>) = (0, None);
        for number in 0..shards {
            let reader = documents.shard(number)?;
            let index = reader.index();
            let mut start = 0;
            let last = index.documents.len().saturating_sub(1);
            let mut found = Vec::new();
            for (at, document) in index.documents.iter().enumerate() {
                let mut place = Place {
                    start: before + start,
                    tokens: document.end - start,
                    row: document.row,
                    dataset: document.source,
                };
                start = document.end;
                if let Some(begun) = cut.take() {
                    place.start = begun.start;
                    place.tokens += begun.tokens;
                }
                if at == last && index.continues_in_next {
                    cut = Some(place);
                } else if wanted.get(document.source as usize) == Some(&true) {
                    found.push(place);
                }
            }
            let masked: Vec<Range<u64>> = index
                .masked
                .iter()
                .map(|span| before + span.start..before + span.end)
                .collect();
            before += index.tokens;
            documents.places.append(&mut found);
            for span in masked {
                match documents.masked.last_mut() {
                    // A span that the end of a shard cut.
                    Some(last) if last.end == span.start => last.end = span.end,
                    _ => documents.masked.push(span),
                }
            }
        }
        Ok(documents)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Tokens of document `number`, its end of text included.
    pub fn tokens(&self, number: usize) -> u64 {
        self.places.get(number).map_or(0, |place| place.tokens)
    }

    /// Reads document `number`.
    ///
    /// # Errors
    /// There is none, or its shard is not what it should be.
    pub fn read(&mut self, number: usize, document: &mut Document) -> Result<()> {
        let place = self.places.get(number).copied().ok_or_else(|| {
            let (split, count) = (self.split.name(), self.places.len());
            Error::Usage(format!(
                "the {split} split has no document {number}, only {count}"
            ))
        })?;
        document.row = place.row;
        document.dataset = place.dataset;
        document.ids.clear();
        document.trained.clear();
        let whole = self.build.manifest().shard_tokens.max(1);
        let (mut at, end) = (place.start, place.start + place.tokens);
        let mut part = Vec::new();
        while at < end {
            let number = index(at / whole);
            let here = at % whole;
            let until = whole.min(here + (end - at));
            let failed = self.failed(number);
            let reader = self.shard(number)?;
            part.clear();
            reader.read_tokens(here..until, &mut part).map_err(failed)?;
            document.ids.extend_from_slice(&part);
            at += until - here;
        }
        document.trained.resize(document.ids.len(), false);
        for run in self.trained(place) {
            document.trained[run].fill(true);
        }
        Ok(())
    }

    /// The stretches of document `number` that carry loss, in tokens from its beginning. Reads nothing.
    pub fn trained_stretches(&self, number: usize) -> Vec<Range<usize>> {
        let place = self.places.get(number).copied();
        place.map_or_else(Vec::new, |place| self.trained(place))
    }

    fn trained(&self, place: Place) -> Vec<Range<usize>> {
        let end = place.start + place.tokens;
        let first = self.masked.partition_point(|span| span.end <= place.start);
        let (mut at, mut stretches) = (place.start, Vec::new());
        for span in &self.masked[first..] {
            if span.start >= end {
                break;
            }
            if at < span.start {
                stretches.push(index(at - place.start)..index(span.start - place.start));
            }
            at = span.end;
        }
        if at < end {
            stretches.push(index(at - place.start)..index(place.tokens));
        }
        stretches
    }

    fn failed(&self, number: usize) -> impl FnOnce(FormatError) -> Error + use<> {
        let what = format!(
            "reading shard {number} of the {} split of {}",
            self.split.name(),
            self.build.folder().display()
        );
        move |source| Error::Build { what, source }
    }

    fn shard(&mut self, number: usize) -> Result<&mut ShardReader> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != number) {
            let reader = self.build.shard(self.split, number);
            self.open = Some((number, reader.map_err(self.failed(number))?));
        }
        let reader = self.open.as_mut().map(|(_, reader)| reader);
        reader.ok_or_else(|| Error::Usage("no shard is open".to_owned()))
    }

    /// Folder of the build, for messages.
    pub fn folder(&self) -> PathBuf {
        self.build.folder().to_owned()
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
