//! Which of two builds teaches a model more: `andromeda-train ablate`.
//!
//! The same model is trained on both, for as many tokens, under the same seeds of first values and of order, and judged on the same text.
//! Which text decides the answer, so it must be fair to both:
//!
//! - no document of it stands in the training split of either build, to the token. What is nearly the same is not looked for: builds
//!   whose splits follow their clusters ([`crate::build`]) have none within themselves, and may have some across;
//! - without a build that is named as judge it is what the validation splits of both builds have in common. Builds with and without a
//!   dataset have the other datasets in common, so the answer is what the dataset does for these; it says nothing of what a model
//!   learns of the dataset itself, of which the other build has seen nothing. Builds with and without a filter have in common what the
//!   filter leaves, so the answer is what the filter does for such text. Who wants to be good at something else names it as judge;
//! - each document is read after the same others, laid end to end in an order that depends on their tokens alone, and by bits per byte.
//!
//! The answer combines what chance there is in seeds and in documents ([`paired::of_seeds`]). What it does not hold is another size of model or another
//! number of tokens: those are other questions.

use std::cmp::Ordering;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_128;

use crate::build::{OpenBuild, Part};
use crate::compare::bytes_of;
use crate::data::{DatasetPart, Row, Sequences, Source};
use crate::documents::{Document, Documents};
use crate::error::{Error, Result};
use crate::evaluation::paired::{self, SeedDifference};
use crate::held_out::DocumentLoss;

/// A judgement on fewer documents says nothing of others: with so few, the interval is not what it says it is.
pub const LEAST_DOCUMENTS: usize = 20;

/// The text that models are judged on.
#[derive(Debug, Clone)]
pub struct JudgeText {
    /// What is to be said of it.
    pub about: AboutJudge,
    documents: Vec<Document>,
    /// The datasets of the build that it is from.
    parts: Vec<DatasetPart>,
    /// Token that ends a document.
    end_of_text: u32,
}

/// What is to be said of the text that models are judged on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AboutJudge {
    /// Folder of the build whose validation split it is from.
    pub build: PathBuf,
    /// Its root hash.
    pub root: String,
    /// Whether it is what both builds have in common, and not a build that was named.
    pub in_common: bool,
    /// Its documents.
    pub documents: usize,
    /// Tokens of them that carry loss.
    pub trained_tokens: u64,
    /// Documents of each dataset.
    pub datasets: BTreeMap<String, usize>,
    /// Documents of that split which the validation split of the other build does not have.
    pub of_one_alone: usize,
    /// Documents which one of the builds trains on.
    pub trained_on: usize,
    /// Documents that stand there twice.
    pub repeated: usize,
    /// Documents beyond the number of tokens that was asked for.
    pub beyond: usize,
}

/// The tokens of a document by their hash. Two hashes of 128 bits are the same by chance as often as never.
fn key(document: &Document) -> u128 {
    let bytes: Vec<u8> = document
        .ids
        .iter()
        .flat_map(|id| id.to_le_bytes())
        .collect();
    xxh3_128(&bytes)
}

impl JudgeText {
    /// What the validation splits of `a` and `b` have in common, at most `most` tokens.
    ///
    /// # Errors
    /// It is too little, or a build cannot be read.
    pub fn in_common(a: &OpenBuild, b: &OpenBuild, most: u64) -> Result<Self> {
        let mut other = BTreeSet::new();
        each(&mut b.documents(Part::Validation, None)?, |_, document| {
            other.insert(key(document));
        })?;
        Self::choose(a, Some(&other), [a, b], most)
    }

    /// The validation split of `judge`, at most `most` tokens, without what `a` or `b` trains on.
    ///
    /// # Errors
    /// It is too little, or a build cannot be read.
    pub fn of(judge: &OpenBuild, a: &OpenBuild, b: &OpenBuild, most: u64) -> Result<Self> {
        Self::choose(judge, None, [a, b], most)
    }

    fn choose(
        judge: &OpenBuild,
        common: Option<&BTreeSet<u128>>,
        builds: [&OpenBuild; 2],
        most: u64,
    ) -> Result<Self> {
        let mut held_out = judge.documents(Part::Validation, None)?;
        let (mut of_one_alone, mut repeated) = (0, 0);
        let mut chosen: BTreeMap<u128, usize> = BTreeMap::new();
        each(&mut held_out, |number, document| {
            let key = key(document);
            if common.is_some_and(|common| !common.contains(&key)) {
                of_one_alone += 1;
                return;
            }
            match chosen.entry(key) {
                Entry::Vacant(free) => drop(free.insert(number)),
                Entry::Occupied(_) => repeated += 1,
            }
        })?;
        let found = chosen.len();
        for build in builds {
            leave_out_trained(&mut chosen, &held_out, build)?;
        }
        let mut about = AboutJudge {
            build: judge.path().to_owned(),
            root: judge.root().to_owned(),
            in_common: common.is_some(),
            documents: 0,
            trained_tokens: 0,
            datasets: BTreeMap::new(),
            of_one_alone,
            trained_on: found - chosen.len(),
            repeated,
            beyond: 0,
        };
        let parts = judge.parts(Part::Validation);
        let mut documents = Vec::new();
        let mut tokens = 0_u64;
        // In the order of their hashes, which is as good as drawn, and of nothing else.
        for number in chosen.values() {
            tokens = tokens.saturating_add(held_out.tokens(*number));
            if tokens > most && documents.len() >= LEAST_DOCUMENTS {
                break;
            }
            let mut document = Document::default();
            held_out.read(*number, &mut document)?;
            let part = part_of(&parts, document.dataset);
            let name = part.map_or_else(String::new, |part| part.name.clone());
            *about.datasets.entry(name).or_default() += 1;
            let trained = document.trained.iter().filter(|&&trained| trained);
            about.trained_tokens += trained.count() as u64;
            documents.push(document);
        }
        about.documents = documents.len();
        about.beyond = chosen.len() - documents.len();
        if about.documents < LEAST_DOCUMENTS || about.trained_tokens == 0 {
            return Err(too_little(&about, builds));
        }
        Ok(Self {
            about,
            documents,
            parts,
            end_of_text: judge.end_of_text(),
        })
    }

    /// The text as a model that looks back at `sequence_tokens` reads it: documents end to end after an end of text, the last sequence
    /// filled with what carries no loss. Rows are the numbers of the documents here.
    pub fn source(&self, sequence_tokens: usize) -> Source {
        let mut laid = Laid {
            ids: vec![self.end_of_text],
            trained: vec![false],
            starts: Vec::with_capacity(self.documents.len()),
            datasets: Vec::with_capacity(self.documents.len()),
            sequence_tokens: sequence_tokens.max(1),
            end_of_text: self.end_of_text,
        };
        for document in &self.documents {
            // The end of text in front belongs to the first document.
            let start = if laid.starts.is_empty() {
                0
            } else {
                laid.ids.len()
            };
            laid.starts.push(start);
            laid.datasets.push(document.dataset);
            laid.ids.extend_from_slice(&document.ids);
            laid.trained.extend_from_slice(&document.trained);
        }
        Source {
            tokens: laid.ids.len() as u64,
            text_bytes: 0,
            datasets: self.parts.clone(),
            sequence_tokens: laid.sequence_tokens,
            sequences: Box::new(laid),
        }
    }

    /// Nats of each document out of what a model made of [`JudgeText::source`].
    pub fn nats(&self, losses: &[DocumentLoss]) -> Vec<f64> {
        let mut nats = vec![0.0; self.documents.len()];
        for of in losses {
            let number = usize::try_from(of.row).ok();
            if let Some(sum) = number.and_then(|number| nats.get_mut(number)) {
                *sum += of.nats;
            }
        }
        nats
    }

    /// What two builds' models, the same seeds in the same order, make of the documents: nats a document ([`JudgeText::nats`]).
    pub fn verdict(&self, a: &[Vec<f64>], b: &[Vec<f64>]) -> Verdict {
        let weights = self.weights();
        let totals: Vec<Vec<f64>> = a
            .iter()
            .zip(b)
            .map(|(a, b)| a.iter().zip(b).map(|(a, b)| b - a).collect())
            .collect();
        let difference = self.difference(&totals, |_| true);
        let numbers: BTreeSet<u32> = self.documents.iter().map(|of| of.dataset).collect();
        let of_dataset = |number: u32| DatasetVerdict {
            dataset: part_of(&self.parts, number).map_or_else(String::new, |of| of.name.clone()),
            documents: self
                .documents
                .iter()
                .filter(|of| of.dataset == number)
                .count(),
            difference: self.difference(&totals, |dataset| dataset == number),
        };
        let several = numbers.len() > 1;
        Verdict {
            unit: if weights.in_bytes {
                "bits per byte"
            } else {
                "nats per token"
            },
            better: difference.difference.decides().map(|second| match second {
                // The second needs more bits.
                Ordering::Greater => Which::A,
                _ => Which::B,
            }),
            difference,
            datasets: numbers
                .into_iter()
                .filter(|_| several)
                .map(of_dataset)
                .collect(),
        }
    }

    /// Bits per byte of one model, or nats per token where no bytes are known.
    pub fn mean(&self, nats: &[f64]) -> f64 {
        self.difference(&[nats.to_vec()], |_| true).difference.value
    }

    fn difference(&self, totals: &[Vec<f64>], wanted: impl Fn(u32) -> bool) -> SeedDifference {
        let weights = self.weights();
        let mut of_wanted = weights.of_documents;
        for (weight, document) in of_wanted.iter_mut().zip(&self.documents) {
            if !wanted(document.dataset) {
                // No cluster then.
                *weight = 0.0;
            }
        }
        let found = paired::of_seeds(totals, &of_wanted);
        let factor = if weights.in_bytes {
            std::f64::consts::LOG2_E
        } else {
            1.0
        };
        SeedDifference {
            difference: found.difference.times(factor),
            seeds_error: found.seeds_error.map(|error| error * factor),
            documents_error: found.documents_error.map(|error| error * factor),
        }
    }

    fn weights(&self) -> Weights {
        let tokens = |document: &Document| {
            let trained = document.trained.iter().filter(|&&trained| trained);
            trained.count() as u64
        };
        let documents = self.documents.iter();
        let bytes: Vec<f64> = documents
            .clone()
            .map(|of| bytes_of(part_of(&self.parts, of.dataset), tokens(of)))
            .collect();
        // Of a document without a token that carries loss nothing is known or needed.
        let known = documents
            .clone()
            .zip(&bytes)
            .all(|(of, &bytes)| bytes > 0.0 || tokens(of) == 0);
        if known {
            return Weights {
                in_bytes: true,
                of_documents: bytes,
            };
        }
        Weights {
            in_bytes: false,
            of_documents: documents.map(|of| tokens(of) as f64).collect(),
        }
    }
}

struct Weights {
    in_bytes: bool,
    of_documents: Vec<f64>,
}

/// One of the two builds, and what its models came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// Folder of the build.
    pub build: PathBuf,
    /// Its root hash.
    pub root: String,
    /// Passes over its training split; beyond one, a small build is seen more often than a large one.
    pub epochs: f64,
    /// Its runs, a seed each.
    pub runs: Vec<SeedRun>,
    /// The mean of their values.
    pub mean: f64,
}

/// A run of one seed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeedRun {
    /// Its name.
    pub run: String,
    /// Seed of its first values.
    pub seed: u64,
    /// Steps of its checkpoint.
    pub step: u64,
    /// Bits per byte on the judge's text, or nats per token.
    pub value: f64,
}

/// One of the two builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// The first.
    A,
    /// The second.
    B,
}

impl Which {
    /// As it is written on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }
}

/// Which build is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// `bits per byte`, or `nats per token` where the judge knows no bytes.
    pub unit: &'static str,
    /// The build whose models need less; none where the interval holds zero.
    pub better: Option<Which>,
    /// How much more the models of `b` need than those of `a`.
    #[serde(flatten)]
    pub difference: SeedDifference,
    /// The same of each dataset, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetVerdict>,
}

/// How much more the models of `b` need for the documents of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetVerdict {
    /// Its name.
    pub dataset: String,
    /// Its documents.
    pub documents: usize,
    /// The difference.
    #[serde(flatten)]
    pub difference: SeedDifference,
}

/// Reads all documents in stored order, and tells each with its number.
fn each(documents: &mut Documents, mut told: impl FnMut(usize, &Document)) -> Result<()> {
    let mut document = Document::default();
    for number in 0..documents.len() {
        documents.read(number, &mut document)?;
        told(number, &document);
    }
    Ok(())
}

/// Leaves out what `build` trains on. Of its training split only the documents as long as one of these are read.
fn leave_out_trained(
    chosen: &mut BTreeMap<u128, usize>,
    held_out: &Documents,
    build: &OpenBuild,
) -> Result<()> {
    let lengths: BTreeSet<u64> = chosen.values().map(|&at| held_out.tokens(at)).collect();
    let mut trained = build.documents(Part::Training, None)?;
    let mut document = Document::default();
    for number in 0..trained.len() {
        if lengths.contains(&trained.tokens(number)) {
            trained.read(number, &mut document)?;
            chosen.remove(&key(&document));
        }
    }
    Ok(())
}

fn part_of(parts: &[DatasetPart], dataset: u32) -> Option<&DatasetPart> {
    parts.get(usize::try_from(dataset).ok()?)
}

fn too_little(about: &AboutJudge, builds: [&OpenBuild; 2]) -> Error {
    let [a, b] = builds.map(|build| build.path().display().to_string());
    let what = if about.in_common {
        format!(
            "the validation splits of {a} and {b} have {} documents in common that neither trains on ({} are in the first alone, {} are trained on)",
            about.documents, about.of_one_alone, about.trained_on
        )
    } else {
        format!(
            "the validation split of {} has {} documents that neither {a} nor {b} trains on ({} are trained on)",
            about.build.display(),
            about.documents,
            about.trained_on
        )
    };
    Error::Usage(format!(
        "{what}, and a judgement takes {LEAST_DOCUMENTS}\nhint: name a build with --judge whose validation split has text like what the models are for, or make the builds with a larger validation split and the same seed"
    ))
}

/// Documents end to end.
struct Laid {
    ids: Vec<u32>,
    trained: Vec<bool>,
    /// First token of each document.
    starts: Vec<usize>,
    datasets: Vec<u32>,
    sequence_tokens: usize,
    end_of_text: u32,
}

impl Sequences for Laid {
    fn sequences(&self) -> u64 {
        // The first token is no target.
        (self.ids.len() - 1).div_ceil(self.sequence_tokens) as u64
    }

    fn read(&mut self, position: u64, row: &mut Row) -> Result<()> {
        self.read_in_order(position % self.sequences().max(1), row)
    }

    fn read_in_order(&mut self, index: u64, row: &mut Row) -> Result<()> {
        let length = self.sequence_tokens;
        let from = usize::try_from(index)
            .ok()
            .filter(|_| index < self.sequences())
            .map(|index| index * length);
        let Some(from) = from else {
            return Err(Error::Usage(format!("the text has no sequence {index}")));
        };
        let until = (from + length + 1).min(self.ids.len());
        row.ids.clear();
        row.ids.extend_from_slice(&self.ids[from..until]);
        row.ids.resize(length + 1, self.end_of_text);
        row.trained.clear();
        row.trained
            .extend_from_slice(&self.trained[from + 1..until]);
        row.trained.resize(length, false);
        row.padding = from + length + 1 - until;
        row.targets = None;
        // The one that stands at the beginning, and those that begin later.
        let first = self.starts.partition_point(|&start| start <= from).max(1) - 1;
        let last = self.starts.partition_point(|&start| start < until);
        row.documents.clear();
        row.datasets.clear();
        row.document_starts.clear();
        for document in first..last {
            row.documents.push(document as u64);
            row.datasets.push(self.datasets[document]);
            if let Some(place) = self.starts[document].checked_sub(from) {
                row.document_starts.extend(u32::try_from(place).ok());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn text(lengths: &[usize], datasets: &[u32]) -> JudgeText {
        let mut next = 0;
        let document = |(&length, &dataset): (&usize, &u32)| {
            let ids = (0..length)
                .map(|_| {
                    next += 1;
                    next
                })
                .collect();
            Document {
                row: 7,
                dataset,
                ids,
                // The first token of each carries no loss.
                trained: (0..length).map(|place| place > 0).collect(),
            }
        };
        let documents: Vec<Document> = lengths.iter().zip(datasets).map(document).collect();
        let part = |name: &str, tokens, text_bytes| DatasetPart {
            name: name.to_owned(),
            tokens,
            text_bytes,
        };
        JudgeText {
            about: AboutJudge {
                build: Path::new("judge").to_owned(),
                root: String::new(),
                in_common: false,
                documents: documents.len(),
                trained_tokens: 0,
                datasets: BTreeMap::new(),
                of_one_alone: 0,
                trained_on: 0,
                repeated: 0,
                beyond: 0,
            },
            documents,
            parts: vec![part("x", 100, 400), part("y", 100, 200)],
            end_of_text: 0,
        }
    }

    #[test]
    fn every_token_is_a_target_once_and_counts_to_its_document() {
        let lengths = [5, 1, 9, 4, 7, 2];
        for sequence in [1, 3, 4, 7, 28, 29, 100] {
            let text = text(&lengths, &[0, 1, 0, 1, 0, 1]);
            let mut source = text.source(sequence);
            let mut row = Row::default();
            let mut seen = Vec::new();
            let mut trained = vec![0; lengths.len()];
            for index in 0..source.sequences.sequences() {
                source.sequences.read_in_order(index, &mut row).unwrap();
                assert_eq!((row.ids.len(), row.trained.len()), (sequence + 1, sequence));
                let real = sequence - row.padding;
                seen.extend_from_slice(&row.ids[1..=real]);
                assert!(row.trained[real..].iter().all(|trained| !trained));
                for (place, document) in row.documents_of_targets().enumerate() {
                    let number = usize::try_from(row.documents[document]).unwrap();
                    assert_eq!(row.datasets[document], u32::try_from(number % 2).unwrap());
                    trained[number] += usize::from(row.trained[place]);
                }
            }
            let all: u32 = 28;
            assert_eq!(seen, (1..=all).collect::<Vec<_>>(), "{sequence}");
            assert_eq!(trained, [4, 0, 8, 3, 6, 1], "{sequence}");
            assert!(source.sequences.read_in_order(1000, &mut row).is_err());
        }
    }

    #[test]
    fn a_verdict_is_in_bits_per_byte_and_tells_datasets_apart() {
        let text = text(&[5, 5, 5, 5, 5, 5], &[0, 0, 0, 1, 1, 1]);
        // 4 trained tokens each: 16 bytes a document of x, 8 of y.
        let a = vec![vec![8.0; 6]; 2];
        assert!((text.mean(&a[0]) - 48.0 / 72.0 * std::f64::consts::LOG2_E).abs() < 1e-12);
        let worse = |by: f64| {
            let nats = [0.0, 0.1, -0.1, by, by + 0.1, by - 0.1];
            nats.map(|more| 8.0 + more).to_vec()
        };
        let verdict = text.verdict(&a, &[worse(2.0), worse(2.1)]);
        assert_eq!(verdict.unit, "bits per byte");
        let bits = 3.0 * 2.05 / 72.0 * std::f64::consts::LOG2_E;
        assert!((verdict.difference.difference.value - bits).abs() < 1e-12);
        let [x, y] = &verdict.datasets[..] else {
            panic!("{verdict:?}")
        };
        assert_eq!((x.dataset.as_str(), x.documents), ("x", 3));
        assert_eq!(x.difference.difference.decides(), None);
        assert_eq!(y.difference.difference.decides(), Some(Ordering::Greater));
        let swapped = text.verdict(&[worse(2.0), worse(2.1)], &a);
        assert_eq!(
            swapped.difference.difference.value,
            -verdict.difference.difference.value
        );
        assert_eq!(text.verdict(&a, &a).better, None);
    }

    #[test]
    fn the_models_that_need_less_are_of_the_better_build() {
        let text = text(&[5; 30], &[0; 30]);
        let nats = |less: f64| {
            let of =
                |number: u32| 8.0 + f64::from(number % 5) - less * (1.0 + f64::from(number % 3));
            (0..30).map(of).collect::<Vec<f64>>()
        };
        let verdict = text.verdict(
            &[nats(0.0), nats(0.01), nats(-0.01)],
            &[nats(0.5), nats(0.52), nats(0.48)],
        );
        assert_eq!(verdict.better, Some(Which::B));
        assert!(verdict.difference.difference.value < 0.0 && verdict.datasets.is_empty());
    }
}
