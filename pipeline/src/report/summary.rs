//! What a build's tables say of it, counted for the report and the card.

use std::collections::BTreeMap;
use std::path::Path;

use andromeda_format::{Build, Manifest};
use xxhash_rust::xxh3::xxh3_64;

use super::columns::Table;
use super::rejects::{self, Reject};
use super::taken::{self, Hit};
use crate::documents::TableError;
use crate::execute::BuildTexts;

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The build cannot be opened.
    #[error(transparent)]
    Build(#[from] andromeda_format::FormatError),
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// An intermediate with texts cannot be read.
    #[error(transparent)]
    Texts(#[from] crate::execute::StoreError),
}

/// What becomes of a document, coarsely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// In the shards.
    Kept,
    /// A duplicate of another.
    Duplicate,
    /// Dropped by a rule.
    Dropped,
    /// No document.
    Quarantined,
}

impl Fate {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 4] = [
        Self::Kept,
        Self::Duplicate,
        Self::Dropped,
        Self::Quarantined,
    ];

    fn of(verdict: &str) -> Option<Self> {
        Some(match verdict {
            "kept" => Self::Kept,
            "duplicate" => Self::Duplicate,
            "dropped" => Self::Dropped,
            "quarantined" => Self::Quarantined,
            _ => return None,
        })
    }

    /// As a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Duplicate => "duplicate",
            Self::Dropped => "dropped",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Numbers of documents by power of two of some size: the key is the exponent of the bin's lower end.
pub type Histogram = BTreeMap<u32, [u64; 4]>;

/// A document with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its id.
    pub id: String,
    /// Its tokens.
    pub tokens: Option<u32>,
    /// The beginning of its text; nothing where the intermediates are gone.
    pub text: Option<String>,
}

/// A duplicate beside the copy that stayed.
#[derive(Debug, Clone, PartialEq)]
pub struct Twin {
    /// How it was found: `exact`, `near`, `url`.
    pub method: String,
    /// How alike they are.
    pub similarity: Option<f32>,
    /// The one that was dropped.
    pub dropped: Sample,
    /// The one that stayed.
    pub kept: Sample,
}

/// What a report shows.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The build's manifest.
    pub manifest: Manifest,
    /// Documents by bytes of text and fate.
    pub lengths: Histogram,
    /// Kept documents by tokens.
    pub tokens: Histogram,
    /// Clusters of at least two documents, by documents: the key as in [`Histogram`].
    pub clusters: BTreeMap<u32, u64>,
    /// Documents of the largest cluster.
    pub largest_cluster: u32,
    /// Near duplicates by similarity to the copy that stayed, in hundredths, two at a time.
    pub similarities: BTreeMap<u32, u64>,
    /// Duplicates of a dataset (first) whose copy that stayed is of another or the same (second), as places in the manifest's
    /// list of datasets.
    pub overlap: BTreeMap<(usize, usize), u64>,
    /// Documents by language and fate, in builds that identify it.
    pub languages: BTreeMap<String, [u64; 4]>,
    /// Some kept documents of each dataset.
    pub kept: Vec<Vec<Sample>>,
    /// Some duplicates, by method.
    pub twins: Vec<Twin>,
    /// Samples of what was dropped or no document.
    pub rejects: Vec<Reject>,
    /// Some passages of evaluation sets, by set.
    pub hits: Vec<Hit>,
}

/// What is gathered besides the counts.
#[derive(Debug, Clone, Copy)]
pub struct SummaryOptions {
    /// Kept documents a dataset, and duplicates a method, that are shown.
    pub samples: usize,
    /// Characters of each text.
    pub characters: usize,
}

/// The rows with the smallest hashes of their ids, so that the choice depends on nothing else.
#[derive(Debug, Clone, Default)]
struct Chosen(BTreeMap<(u64, u64), Candidate>);

#[derive(Debug, Clone)]
struct Candidate {
    id: String,
    tokens: Option<u32>,
    kept: Option<u64>,
    similarity: Option<f32>,
}

impl Chosen {
    fn offer(&mut self, most: usize, row: u64, id: &str, candidate: impl FnOnce() -> Candidate) {
        let key = (xxh3_64(id.as_bytes()), row);
        let last = self.0.last_key_value().map(|(key, _)| *key);
        if most == 0 || (self.0.len() >= most && last.is_some_and(|last| last < key)) {
            return;
        }
        self.0.insert(key, candidate());
        if self.0.len() > most {
            self.0.pop_last();
        }
    }
}

impl Summary {
    /// Of the build in `folder`; texts are taken from the intermediates in `work`, as far as they are still there.
    ///
    /// # Errors
    /// The build, a table or an intermediate cannot be read.
    pub fn of(folder: &Path, work: &Path, options: SummaryOptions) -> Result<Self, ReportError> {
        let build = Build::open(folder)?;
        let manifest = build.manifest().clone();
        let mut all = Self {
            lengths: Histogram::new(),
            tokens: Histogram::new(),
            clusters: BTreeMap::new(),
            largest_cluster: 0,
            similarities: BTreeMap::new(),
            overlap: BTreeMap::new(),
            languages: BTreeMap::new(),
            kept: Vec::new(),
            twins: Vec::new(),
            rejects: rejects::read(folder)?,
            hits: taken::hits(folder, options.samples)?,
            manifest,
        };
        for reject in &mut all.rejects {
            if let Some(text) = &mut reject.text {
                *text = beginning(text, options.characters);
            }
        }
        let (kept, twins, links) = all.scan(folder, options.samples)?;
        for ((dataset, keeper), count) in links {
            *all.overlap.entry((dataset, keeper)).or_default() += count;
        }
        let texts = BuildTexts::open(work, &all.manifest.name)?;
        let sample = |row: u64, id: &str, tokens: Option<u32>| -> Result<Sample, ReportError> {
            let text = texts.of_row(row)?;
            Ok(Sample {
                id: id.to_owned(),
                tokens,
                text: text.map(|text| beginning(&text, options.characters)),
            })
        };
        for chosen in &kept {
            let mut of_dataset = Vec::new();
            for ((_, row), candidate) in &chosen.0 {
                of_dataset.push(sample(*row, &candidate.id, candidate.tokens)?);
            }
            all.kept.push(of_dataset);
        }
        let keepers: Vec<u64> = twins
            .values()
            .flat_map(|chosen| chosen.0.values().filter_map(|candidate| candidate.kept))
            .collect();
        let ids = crate::documents::ids_of(folder, &keepers)?;
        for (method, chosen) in &twins {
            for ((_, row), candidate) in &chosen.0 {
                let Some((kept, id)) = candidate.kept.and_then(|row| ids.get_key_value(&row))
                else {
                    continue;
                };
                let (mut dropped, mut kept_text) = (texts.of_row(*row)?, texts.of_row(*kept)?);
                if let (Some(left), Some(right)) = (&mut dropped, &mut kept_text) {
                    from_the_difference(left, right, options.characters / 4);
                }
                let shown = |id: &str, text: Option<String>| Sample {
                    id: id.to_owned(),
                    tokens: None,
                    text: text.map(|text| beginning(&text, options.characters)),
                };
                all.twins.push(Twin {
                    method: method.clone(),
                    similarity: candidate.similarity,
                    dropped: shown(&candidate.id, dropped),
                    kept: shown(id, kept_text),
                });
            }
        }
        Ok(all)
    }

    /// Counts the table of documents. Which rows are shown: kept ones by dataset, duplicates of this build's own by method;
    /// and how many duplicates of a dataset have their copy in which.
    #[expect(clippy::type_complexity, reason = "three results of one walk")]
    fn scan(
        &mut self,
        folder: &Path,
        samples: usize,
    ) -> Result<
        (
            Vec<Chosen>,
            BTreeMap<String, Chosen>,
            BTreeMap<(usize, usize), u64>,
        ),
        TableError,
    > {
        let numbers: BTreeMap<String, usize> = (0..)
            .zip(&self.manifest.datasets)
            .map(|(number, dataset)| (dataset.name.clone(), number))
            .collect();
        let mut kept = vec![Chosen::default(); numbers.len()];
        let mut twins: BTreeMap<String, Chosen> = BTreeMap::new();
        let mut dataset_of: Vec<u32> = Vec::new();
        let mut links: Vec<(u32, u64)> = Vec::new();
        let has_language = Table::open(folder, "documents.parquet", Some(&["id"]))?.has("language");
        let mut columns = vec![
            "id",
            "dataset",
            "bytes",
            "verdict",
            "reason",
            "cluster",
            "cluster_documents",
            "kept",
            "kept_build",
            "similarity",
            "tokens",
        ];
        if has_language {
            columns.push("language");
        }
        Table::open(folder, "documents.parquet", Some(&columns))?.for_each(
            &mut |first, batch| {
                let (ids, datasets) = (batch.words("id")?, batch.words("dataset")?);
                let (verdicts, reasons) = (batch.words("verdict")?, batch.words("reason")?);
                let (bytes, tokens) = (batch.longs("bytes")?, batch.shorts("tokens")?);
                let (clusters, sizes) =
                    (batch.longs("cluster")?, batch.shorts("cluster_documents")?);
                let (keepers, builds) = (batch.longs("kept")?, batch.words("kept_build")?);
                let similarities = batch.floats("similarity")?;
                let languages = match has_language {
                    true => Some(batch.words("language")?),
                    false => None,
                };
                for (i, row) in (0..batch.rows()).zip(first..) {
                    let id = ids.get(i).unwrap_or_default();
                    let dataset = datasets.get(i).and_then(|name| numbers.get(name)).copied();
                    dataset_of.push(
                        dataset
                            .and_then(|d| u32::try_from(d).ok())
                            .unwrap_or(u32::MAX),
                    );
                    let Some(fate) = verdicts.get(i).and_then(Fate::of) else {
                        continue;
                    };
                    if fate != Fate::Quarantined {
                        let bin = exponent(bytes.get(i).unwrap_or_default());
                        self.lengths.entry(bin).or_default()[fate as usize] += 1;
                    }
                    if let Some(languages) = &languages
                        && let Some(language) = languages.get(i)
                    {
                        self.languages.entry(language.to_owned()).or_default()[fate as usize] += 1;
                    }
                    let size = sizes.get(i).unwrap_or_default();
                    if clusters.get(i) == Some(row) && size > 1 {
                        *self.clusters.entry(exponent(u64::from(size))).or_default() += 1;
                        self.largest_cluster = self.largest_cluster.max(size);
                    }
                    let candidate = || Candidate {
                        id: id.to_owned(),
                        tokens: tokens.get(i),
                        kept: keepers.get(i),
                        similarity: similarities.get(i),
                    };
                    match fate {
                        Fate::Kept => {
                            if let Some(tokens) = tokens.get(i) {
                                let bin = exponent(u64::from(tokens));
                                self.tokens.entry(bin).or_default()[0] += 1;
                            }
                            if let Some(dataset) = dataset {
                                kept[dataset].offer(samples, row, id, candidate);
                            }
                        }
                        Fate::Duplicate => {
                            let method = reasons.get(i).unwrap_or_default();
                            if method == "near"
                                && let Some(similarity) = similarities.get(i)
                            {
                                *self.similarities.entry(hundredths(similarity)).or_default() += 1;
                            }
                            if let (None, Some(keeper)) = (builds.get(i), keepers.get(i)) {
                                let number = dataset_of.last().copied().unwrap_or(u32::MAX);
                                links.push((number, keeper));
                                let chosen = twins.entry(method.to_owned()).or_default();
                                chosen.offer(samples, row, id, candidate);
                            }
                        }
                        Fate::Dropped | Fate::Quarantined => {}
                    }
                }
                Ok(())
            },
        )?;
        let mut overlap = BTreeMap::new();
        for (dataset, keeper) in links {
            let keeper = usize::try_from(keeper).ok();
            let keeper = keeper.and_then(|row| dataset_of.get(row)).copied();
            if let Some(keeper) = keeper.filter(|k| *k != u32::MAX && dataset != u32::MAX) {
                *overlap
                    .entry((dataset as usize, keeper as usize))
                    .or_default() += 1;
            }
        }
        Ok((kept, twins, overlap))
    }
}

/// The exponent of the largest power of two that is not above `value`; 0 for 0.
fn exponent(value: u64) -> u32 {
    value.max(1).ilog2()
}

/// A similarity in hundredths, rounded down to an even number.
fn hundredths(similarity: f32) -> u32 {
    (0..=100)
        .rev()
        .step_by(2)
        .find(|edge| similarity >= *edge as f32 / 100.0 - 1e-6)
        .unwrap_or(0)
}

/// Takes away what two texts begin with in common, but for the last `before` characters of it, where that is a good deal.
fn from_the_difference(left: &mut String, right: &mut String, before: usize) {
    let same = |(a, b): &(char, char)| a == b;
    let common = left.chars().zip(right.chars()).take_while(same).count();
    if left == right || common <= 2 * before {
        return;
    }
    for text in [left, right] {
        let kept: String = text.chars().skip(common - before).collect();
        *text = format!("[…] {kept}");
    }
}

fn beginning(text: &str, characters: usize) -> String {
    let mut out: String = text.chars().take(characters).collect();
    if out.len() < text.len() {
        out.push_str(" […]");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_powers_of_two_and_pairs_of_hundredths() {
        assert_eq!(
            [0, 1, 2, 3, 4, 1023, 1024].map(exponent),
            [0, 0, 1, 1, 2, 9, 10]
        );
        assert_eq!(
            [0.0, 0.7, 0.715, 0.72, 0.999, 1.0].map(hundredths),
            [0, 70, 70, 72, 98, 100]
        );
    }

    #[test]
    fn the_choice_of_rows_does_not_depend_on_their_order() {
        let candidate = |id: &str| Candidate {
            id: id.to_owned(),
            tokens: None,
            kept: None,
            similarity: None,
        };
        let ids: Vec<String> = (0..100).map(|number| format!("id {number}")).collect();
        let choose = |order: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            let mut chosen = Chosen::default();
            for at in order {
                chosen.offer(5, at as u64, &ids[at], || candidate(&ids[at]));
            }
            chosen
                .0
                .into_values()
                .map(|candidate| candidate.id)
                .collect()
        };
        let forward = choose(&mut (0..100));
        assert_eq!(forward.len(), 5);
        assert_eq!(forward, choose(&mut (0..100).rev()));
    }
}
