//! Everything is accounted for and published: tables, shards, and last the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use andromeda_format::{
    BenchmarkEntry, Count, DatasetEntry, EndOfText, FaultEntry, FileEntry, Funnel, Manifest,
    Redacted, ShardEntry, Split, SplitEntry, SplitTokens, TokenWidth, TokenizerEntry,
};
use parquet::errors::ParquetError;

use super::block::verdict;
use super::contamination::{self, ContaminationWriter};
use super::encode::Encoded;
use super::extract::Extracted;
use super::identity::Identities;
use super::judge::Said;
use super::pack::{Order, PackedShard};
use super::rejects::{OfDataset, Samples};
use super::resolve::Survivors;
use super::signals::SignalColumns;
use super::store::{SectionFile, Store, StoreError};
use super::tables::{
    Columns, DocumentRow, DocumentsWriter, DuplicateRow, DuplicatesWriter, RejectRow, RejectsWriter,
};
use super::trim::Trimmed;
use crate::decontaminate::Action;
use crate::dedup::cluster::{Clusters, Method, Ordinal};
use crate::digest::Digest;
use crate::filter::FilterOptions;
use crate::plan::{Plan, PlannedDataset};
use crate::progress::Stage;
use crate::tokenize::Tokenizer;

/// Why a build could not be published.
#[derive(Debug, thiserror::Error)]
pub enum FinishError {
    /// The work folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A table.
    #[error("a table of the build could not be written: {0}")]
    Table(#[from] ParquetError),
    /// A table of another build.
    #[error("a build that this one is compared with: {0}")]
    Other(#[from] crate::documents::TableError),
    /// The counts do not add up: a fault of this program.
    #[error(
        "the counts of dataset {dataset} do not balance; nothing was published, please report it"
    )]
    Unbalanced {
        /// The dataset.
        dataset: String,
    },
    /// The format refused.
    #[error(transparent)]
    Format(#[from] andromeda_format::FormatError),
}

impl FinishError {
    /// The exit code it ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(StoreError::Io(_))
            | Self::Table(_)
            | Self::Other(crate::documents::TableError::Io(_)) => crate::exit::RETRIABLE,
            Self::Format(error) if error.is_io() => crate::exit::RETRIABLE,
            Self::Store(_) | Self::Format(_) | Self::Other(_) => crate::exit::INTEGRITY,
            Self::Unbalanced { .. } => crate::exit::PERMANENT,
        }
    }
}

impl From<std::io::Error> for FinishError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Every stage's result.
pub(super) struct Parts<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The build's name: the plan's, or another where files were left out.
    pub name: &'a str,
    /// The fingerprint that goes with the name.
    pub fingerprint: Digest,
    /// Files on this machine.
    pub places: &'a super::extract::Places,
    /// Extract.
    pub extracted: &'a Extracted,
    /// Resolve.
    pub survivors: &'a Survivors<'a>,
    /// Resolve.
    pub clusters: &'a Clusters,
    /// Trim.
    pub trimmed: &'a Trimmed,
    /// Ids and rows.
    pub identities: &'a Identities<'a>,
    /// Tokenize.
    pub encoded: &'a [Encoded],
    /// Shards.
    pub order: &'a Order,
    /// Shards.
    pub shards: &'a [PackedShard],
    /// The tokenizer.
    pub tokenizer: &'a Tokenizer,
}

/// What a dataset's documents came to, while it is being counted.
#[derive(Debug, Clone, Default)]
struct Tally {
    funnel: Funnel,
    splits: BTreeMap<Split, SplitTokens>,
    redacted: BTreeMap<String, Redacted>,
}

/// What was found of an evaluation set.
#[derive(Debug, Clone, Default)]
struct OfSet {
    items: BTreeSet<String>,
    documents: u64,
}

/// By the name of the set.
type OfSets = BTreeMap<String, OfSet>;

/// Publishes the build in `folder` and returns its manifest.
pub(super) fn finish(
    parts: &Parts<'_>,
    folder: &Path,
    store: &Store,
) -> Result<Manifest, FinishError> {
    fs_err::create_dir_all(folder)?;
    let aside = folder.join(".tables");
    if aside.exists() {
        fs_err::remove_dir_all(&aside)?;
    }
    fs_err::create_dir_all(&aside)?;
    let (tallies, of_sets) = write_tables(parts, &aside)?;
    for (dataset, tally) in parts.plan.datasets.iter().zip(&tallies) {
        if !tally.funnel.balances() {
            return Err(FinishError::Unbalanced {
                dataset: dataset.name.clone(),
            });
        }
    }
    let mut names = Vec::new();
    let mut tables = Vec::new();
    let index = super::index::write(parts, &aside)?;
    let written = ["documents.parquet", "duplicates.parquet", "rejects.parquet"].map(str::to_owned);
    let contamination = parts.plan.recipe.decontaminate.is_some();
    let contamination = contamination.then(|| contamination::TABLE.to_owned());
    for name in written.into_iter().chain(contamination).chain(index) {
        let path = aside.join(&name);
        tables.push(FileEntry {
            path: name.clone(),
            bytes: fs_err::metadata(&path)?.len(),
            sha256: Digest::of_file(&path)?.hex(),
        });
        fs_err::rename(&path, folder.join(&name))?;
        names.push(name);
    }
    fs_err::remove_dir(&aside)?;
    let tokenizer = parts
        .plan
        .tokenizer_bytes()
        .map_err(std::io::Error::other)?;
    andromeda_format::write_atomic(&folder.join("tokenizer.json"), &tokenizer)?;
    names.push("tokenizer.json".to_owned());
    for shard in parts.shards {
        let name = shard_name(shard.split, shard.number);
        place(&store.data(Stage::Shards, shard.key), &folder.join(&name))?;
        names.push(name);
    }
    // What a dead run of another version may have left here belongs to nobody.
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let known = entry
            .file_name()
            .to_str()
            .is_some_and(|name| names.iter().any(|n| n == name));
        if !known && entry.file_type()?.is_file() {
            fs_err::remove_file(entry.path())?;
        }
    }
    let mut manifest = manifest(parts, tallies, &of_sets, tables)?;
    let bytes = manifest.to_bytes()?;
    fs_err::File::open(folder)?.sync_all()?;
    andromeda_format::write_atomic(&folder.join("manifest.json"), &bytes)?;
    Ok(manifest)
}

/// The file name of a shard.
pub(super) fn shard_name(split: Split, number: u64) -> String {
    format!("{}-{number:05}.zst", split.name())
}

/// The same bytes under another name: a link where the file systems allow it, a copy elsewhere.
fn place(from: &Path, to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        fs_err::remove_file(to)?;
    }
    if fs_err::hard_link(from, to).is_err() {
        let aside = to.with_extension("part");
        fs_err::copy(from, &aside)?;
        fs_err::File::open(&aside)?.sync_all()?;
        fs_err::rename(&aside, to)?;
    }
    Ok(())
}

fn write_tables(parts: &Parts<'_>, folder: &Path) -> Result<(Vec<Tally>, OfSets), FinishError> {
    let Parts {
        plan,
        extracted,
        survivors,
        clusters,
        trimmed,
        identities,
        ..
    } = *parts;
    let mut tallies = vec![Tally::default(); plan.datasets.len()];
    let decontaminate = plan.recipe.decontaminate.as_ref();
    let any = |of: fn(&FilterOptions) -> bool| plan.datasets.iter().any(|d| of(&d.filter));
    let columns = Columns {
        trims: plan.recipe.dedup.trim.is_some()
            || decontaminate.is_some_and(|table| table.action == Action::Cut),
        pii: any(|filter| filter.pii.is_some()),
        evidence: any(|filter| {
            filter.asks_beside() || filter.language.is_some() || filter.quality.is_some()
        }),
        language: any(|filter| filter.language.is_some()),
        other_language: any(|filter| {
            let language = filter.language.as_ref();
            language.is_some_and(|options| options.per_line.is_some())
        }),
        quality: any(|filter| filter.quality.is_some()),
        signals: plan.recipe.signals.signals(),
    };
    let mut of_sets = OfSets::new();
    let mut contaminations = match decontaminate {
        Some(_) => Some(ContaminationWriter::create(
            &folder.join(contamination::TABLE),
        )?),
        None => None,
    };
    let mut documents = DocumentsWriter::create(&folder.join("documents.parquet"), &columns)?;
    let mut duplicates = DuplicatesWriter::create(&folder.join("duplicates.parquet"))?;
    let mut rejects: Vec<OfDataset> = std::iter::repeat_with(OfDataset::default)
        .take(plan.datasets.len())
        .collect();
    let others = Others::of(parts)?;
    let mut sizes = vec![0u32; clusters.cluster.len()];
    for root in &clusters.cluster {
        sizes[*root as usize] += 1;
    }
    // Where each kept document's first token went, by block and place.
    let mut placed: Vec<Vec<(Split, u64)>> = parts
        .encoded
        .iter()
        .map(|e| vec![(Split::Train, u64::MAX); e.documents.len()])
        .collect();
    for (document, start) in parts.order.placed.iter().zip(&parts.order.starts) {
        placed[document.block as usize][document.place as usize] = (document.split, *start);
    }
    let mut documents_row = 0u64;
    for (b, (done, block)) in extracted.blocks.iter().zip(&survivors.blocks).enumerate() {
        let dataset = &plan.datasets[done.dataset];
        let tally = &mut tallies[done.dataset];
        let verdicts = block.file.read("verdicts")?;
        let reasons = block.file.read("reasons")?;
        let names: Vec<String> = block.file.read_json("reason-names")?;
        let bytes = block.file.read_u64("row-bytes")?;
        let encoded = &parts.encoded[b];
        let metas = metas(&block.file)?;
        let signals = SignalColumns::read(&block.file, &columns.signals, verdicts.len())?;
        let mut values = vec![f64::NAN; signals.len()];
        rejects[done.dataset].add(b, Samples::read(&block.file)?, plan.recipe.rejects.samples);
        let replaced = super::personal::replaced(&block.file)?;
        let evidence = evidence(&block.file)?;
        let item_cuts = contamination::cuts(&block.file)?;
        let stretches = contamination::stretches(&block.file)?;
        let mut stretches = stretches.iter().peekable();
        let said = Said::read(&block.file)?;
        let mut survivor = block.first;
        for (row, verdict) in (0u32..).zip(&verdicts) {
            let at = row as usize;
            let id = identities.of_row(b, row);
            let (file, file_row) = identities.file_row(b, row);
            let count = Count {
                documents: 1,
                bytes: bytes[at],
            };
            let mut sets: BTreeSet<&str> = BTreeSet::new();
            while let Some(stretch) = stretches.next_if(|stretch| stretch.row == row) {
                if let Some(table) = &mut contaminations {
                    table.push(&id, documents_row, stretch)?;
                }
                let of_set = of_sets.entry(stretch.set.clone()).or_default();
                of_set.items.insert(stretch.item.clone());
                of_set.documents += u64::from(sets.insert(&stretch.set));
            }
            documents_row += 1;
            let reason = names
                .get(usize::from(reasons[at]))
                .map_or("", String::as_str);
            for (value, column) in values.iter_mut().zip(&signals) {
                *value = column.get(at).copied().unwrap_or(f64::NAN);
            }
            let pii;
            let evidence = evidence.get(&row).map(String::as_str);
            let mut out = DocumentRow {
                id: &id,
                dataset: &dataset.name,
                file,
                file_row,
                bytes: bytes[at],
                meta: metas.get(at).and_then(Option::as_deref),
                signals: &values,
                evidence: evidence.filter(|evidence| !evidence.is_empty()),
                language: said.language(at),
                language_score: said.language_score(at),
                other_language_bytes: said.other_language_bytes(at),
                quality_score: said.quality(at),
                ..DocumentRow::default()
            };
            if let Some(counts) = replaced.get(&row) {
                pii = serde_json::to_string(counts).expect("counts are plain data");
                out.pii = Some(&pii);
                for (kind, items) in counts {
                    let of_kind = tally.redacted.entry(kind.name().to_owned()).or_default();
                    of_kind.documents += 1;
                    of_kind.items += u64::from(*items);
                }
            }
            let shard;
            tally.funnel.documents_in += 1;
            tally.funnel.bytes_in += bytes[at];
            match *verdict {
                verdict::DROPPED => {
                    // What was dropped for an item has the evidence, and nothing else has.
                    if sets.is_empty() == (reason == crate::decontaminate::REASON) {
                        return Err(FinishError::Unbalanced {
                            dataset: dataset.name.clone(),
                        });
                    }
                    (out.verdict, out.reason) = ("dropped", Some(reason));
                    *tally.funnel.dropped.entry(reason.to_owned()).or_default() += count;
                }
                verdict::QUARANTINED => {
                    (out.verdict, out.reason) = ("quarantined", Some(reason));
                    *tally
                        .funnel
                        .quarantined
                        .entry(reason.to_owned())
                        .or_default() += count;
                }
                _ => {
                    let d = survivor as usize;
                    let size = sizes[clusters.cluster[d] as usize];
                    out.cluster = Some(identities.row(clusters.cluster[d]));
                    out.cluster_documents = Some(size);
                    if let Some(unit) = trimmed.dropped(survivor) {
                        (out.verdict, out.reason) = ("dropped", Some(unit.reason()));
                        let dropped = &mut tally.funnel.dropped;
                        *dropped.entry(unit.reason().to_owned()).or_default() += count;
                    } else if clusters.method[d] == Method::Kept as u8 {
                        let place = encoded
                            .documents
                            .binary_search(&survivor)
                            .expect("every kept document was dropped, encoded or quarantined");
                        let tokens = encoded.lengths[place];
                        if tokens == 0 {
                            let reason = encoded
                                .quarantined
                                .iter()
                                .find(|(p, _)| *p as usize == place)
                                .map_or("", |(_, r)| r);
                            (out.verdict, out.reason) = ("quarantined", Some(reason));
                            *tally
                                .funnel
                                .quarantined
                                .entry(reason.to_owned())
                                .or_default() += count;
                        } else {
                            let (split, start) = placed[b][place];
                            shard = shard_name(split, start / plan.recipe.shard.tokens);
                            out.verdict = "kept";
                            out.split = Some(split.name());
                            out.shard = Some(&shard);
                            out.token = Some(start % plan.recipe.shard.tokens);
                            out.tokens = Some(tokens);
                            let mut left = count;
                            if let Some(cut) = item_cuts.get(at).filter(|cut| **cut > 0) {
                                left.bytes -= cut;
                                let cut = Count {
                                    documents: 1,
                                    bytes: *cut,
                                };
                                let trimmed = &mut tally.funnel.trimmed;
                                *trimmed.entry("contamination".to_owned()).or_default() += cut;
                            }
                            for (unit, bytes) in trimmed.bytes(survivor).into_iter().flatten() {
                                if bytes > 0 {
                                    left.bytes -= bytes;
                                    let cut = Count {
                                        documents: 1,
                                        bytes,
                                    };
                                    let trimmed = &mut tally.funnel.trimmed;
                                    *trimmed.entry(unit.name().to_owned()).or_default() += cut;
                                }
                            }
                            out.trimmed_bytes =
                                Some(bytes[at] - left.bytes).filter(|bytes| *bytes > 0);
                            tally.funnel.kept += left;
                            let of_split = tally.splits.entry(split).or_default();
                            of_split.tokens += u64::from(tokens);
                            of_split.documents += 1;
                            of_split.text_bytes += left.bytes;
                        }
                    } else {
                        let method = Method::name(clusters.method[d]).unwrap_or("exact");
                        let similarity = Some(clusters.similarity[d]).filter(|s| *s >= 0.0);
                        (out.verdict, out.reason) = ("duplicate", Some(method));
                        out.similarity = similarity;
                        let keeper = clusters.keeper[d];
                        let own;
                        let kept: &str = if keeper < survivors.own() {
                            out.kept = Some(identities.row(keeper));
                            own = identities.of(keeper);
                            &own
                        } else {
                            let other = others.get(keeper);
                            (out.kept, out.kept_build) =
                                (Some(other.row), Some(other.build.as_str()));
                            &other.id
                        };
                        *tally
                            .funnel
                            .duplicates
                            .entry(method.to_owned())
                            .or_default() += count;
                        duplicates.push(&DuplicateRow {
                            dropped: &id,
                            kept,
                            kept_build: out.kept_build,
                            similarity,
                            method,
                            cluster: identities.row(clusters.cluster[d]),
                            cluster_documents: size,
                        })?;
                    }
                    survivor += 1;
                }
            }
            documents.push(&out)?;
        }
    }
    documents.finish()?;
    duplicates.finish()?;
    if let Some(table) = contaminations {
        table.finish()?;
    }
    write_rejects(parts, &rejects, &folder.join("rejects.parquet"))?;
    Ok((tallies, of_sets))
}

/// Writes the samples of what was not kept, by dataset and reason.
fn write_rejects(parts: &Parts<'_>, rejects: &[OfDataset], path: &Path) -> Result<(), FinishError> {
    let identities = parts.identities;
    let mut table = RejectsWriter::create(path)?;
    for (dataset, samples) in parts.plan.datasets.iter().zip(rejects) {
        for (reason, (block, sample)) in samples.iter() {
            let (file, file_row) = identities.file_row(*block, sample.row);
            table.push(&RejectRow {
                id: &identities.of_row(*block, sample.row),
                dataset: &dataset.name,
                file,
                file_row,
                document: identities.table_row(*block, sample.row),
                reason,
                evidence: sample.evidence.as_deref(),
                text: sample.text.as_deref(),
            })?;
        }
    }
    Ok(table.finish()?)
}

/// A document of another build that stays instead of one of this build.
struct OtherDocument {
    build: String,
    row: u64,
    id: String,
}

/// The documents of other builds that stay instead of some of this build's.
struct Others(BTreeMap<Ordinal, OtherDocument>);

impl Others {
    fn of(parts: &Parts<'_>) -> Result<Self, FinishError> {
        let survivors = parts.survivors;
        let keepers = parts.clusters.keeper.iter().copied();
        let mut wanted: Vec<Ordinal> = keepers.filter(|k| *k >= survivors.own()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        // Parts of all builds are counted in one go.
        let builds: Vec<usize> = (0..)
            .zip(&parts.plan.against)
            .flat_map(|(number, build)| std::iter::repeat_n(number, build.parts.len()))
            .collect();
        let mut by_build: BTreeMap<usize, Vec<(Ordinal, u64)>> = BTreeMap::new();
        let mut rows: (usize, Vec<u64>) = (usize::MAX, Vec::new());
        for document in wanted {
            let (part, local) = survivors.locate_other(document);
            if rows.0 != part {
                rows = (part, survivors.other(part).read_u64(super::index::ROWS)?);
            }
            let of_build = by_build.entry(builds[part]).or_default();
            of_build.push((document, rows.1[local as usize]));
        }
        let mut all = BTreeMap::new();
        for (number, documents) in by_build {
            let build = &parts.plan.against[number];
            let mut rows: Vec<u64> = documents.iter().map(|(_, row)| *row).collect();
            rows.sort_unstable();
            let mut found = crate::documents::ids_of(&build.folder, &rows)?;
            for (document, row) in documents {
                let id = found.remove(&row).unwrap_or_default();
                let build = build.name.clone();
                all.insert(document, OtherDocument { build, row, id });
            }
        }
        Ok(Self(all))
    }

    fn get(&self, document: Ordinal) -> &OtherDocument {
        &self.0[&document]
    }
}

fn manifest(
    parts: &Parts<'_>,
    tallies: Vec<Tally>,
    of_sets: &OfSets,
    tables: Vec<FileEntry>,
) -> Result<Manifest, FinishError> {
    let plan = parts.plan;
    let mut funnel = Funnel::default();
    let mut splits: BTreeMap<Split, SplitEntry> = BTreeMap::new();
    let mut datasets = Vec::new();
    for ((d, dataset), tally) in plan.datasets.iter().enumerate().zip(tallies) {
        funnel += &tally.funnel;
        for (split, counts) in &tally.splits {
            let entry = splits.entry(*split).or_default();
            entry.tokens += counts.tokens;
            entry.documents += counts.documents;
            entry.text_bytes += counts.text_bytes;
        }
        datasets.push(DatasetEntry {
            name: dataset.name.clone(),
            tier: dataset.tier.name().to_owned(),
            kind: dataset.kind.name().to_owned(),
            licence: dataset.licence.clone(),
            source: dataset.source.clone(),
            revision: dataset.revision.clone(),
            files: sources(dataset, &parts.places[d])?,
            faults: faults(parts, d),
            funnel: tally.funnel,
            redacted: tally.redacted,
            splits: tally.splits,
        });
    }
    for shard in parts.shards {
        splits
            .entry(shard.split)
            .or_default()
            .shards
            .push(ShardEntry {
                file: shard_name(shard.split, shard.number),
                bytes: shard.bytes,
                sha256: shard.sha256.hex(),
                tokens: shard.tokens,
                documents: shard.documents,
            });
    }
    let mut recipe = plan.recipe.clone();
    recipe
        .profile
        .retain(|name, _| plan.datasets.iter().any(|d| d.profile == *name));
    let (id, token) = parts.tokenizer.end_of_text();
    Ok(Manifest {
        format: andromeda_format::BUILD_FORMAT.to_owned(),
        version: andromeda_format::VERSION,
        root: String::new(),
        name: parts.name.to_owned(),
        fingerprint: parts.fingerprint.hex(),
        tokenizer: TokenizerEntry {
            file: "tokenizer.json".to_owned(),
            sha256: plan.tokenizer_digest.hex(),
            kind: parts.tokenizer.kind().to_owned(),
            vocab_size: parts.tokenizer.vocab_size(),
            end_of_text: EndOfText {
                id,
                token: token.to_owned(),
            },
        },
        token_width: TokenWidth::for_vocab(parts.tokenizer.vocab_size()),
        frame_tokens: plan.recipe.shard.frame_tokens,
        shard_tokens: plan.recipe.shard.tokens,
        splits,
        datasets,
        funnel,
        tables,
        recipe: serde_json::to_value(&recipe).expect("a recipe is plain data"),
        contaminates: plan.contaminates.clone(),
        decontaminated: decontaminated(parts, of_sets)?,
        lists: plan
            .lists
            .iter()
            .map(|list| FileEntry {
                path: list.name.clone(),
                bytes: list.bytes,
                sha256: list.digest.hex(),
            })
            .collect(),
        program: format!("andromeda {}", env!("CARGO_PKG_VERSION")),
    })
}

/// By verdict of a block: what the rule found that dropped it, where it says so.
fn evidence(block: &SectionFile) -> Result<BTreeMap<u32, String>, StoreError> {
    let evidence: Vec<(u32, String)> = match block.has("evidence") {
        true => block.read_compressed_json("evidence", "evidence-bytes")?,
        false => Vec::new(),
    };
    Ok(evidence.into_iter().collect())
}

/// The evaluation sets, with what was found of them.
fn decontaminated(parts: &Parts<'_>, of_sets: &OfSets) -> Result<Vec<BenchmarkEntry>, StoreError> {
    let (plan, prepared) = (parts.plan, &parts.extracted.prepared);
    let Some(index) = prepared.index(plan, parts.places)? else {
        return Ok(Vec::new());
    };
    let places = parts.places.get(plan.datasets.len()..).unwrap_or_default();
    let sets = plan.benchmarks.iter().zip(places).zip(index.sets());
    sets.map(|((benchmark, places), set)| {
        let found = of_sets.get(&set.name);
        Ok(BenchmarkEntry {
            name: set.name.clone(),
            source: benchmark.dataset.source.clone(),
            revision: benchmark.dataset.revision.clone(),
            files: sources(&benchmark.dataset, places)?,
            items: set.items,
            sought: set.sought,
            found: found.map_or(0, |found| found.items.len() as u64),
            documents: found.map_or(0, |found| found.documents),
        })
    })
    .collect()
}

/// By verdict of a block: the fields of the row that its dataset's manifest keeps. Empty where it keeps none.
fn metas(block: &SectionFile) -> Result<Vec<Option<String>>, StoreError> {
    if !block.has("metas") {
        return Ok(Vec::new());
    }
    block.read_compressed_json("metas", "metas-bytes")
}

/// The files of a dataset that could not be read to their end.
fn faults(parts: &Parts<'_>, dataset: usize) -> Vec<FaultEntry> {
    let of = &parts.plan.datasets[dataset];
    let faults = parts.extracted.faults.iter();
    faults
        .filter(|fault| fault.dataset == of.name)
        .map(|fault| FaultEntry {
            path: fault.file.clone(),
            rows_read: parts
                .extracted
                .blocks
                .iter()
                .filter(|block| {
                    block.dataset == dataset && of.units[block.unit].files[0].path == fault.file
                })
                .map(|block| block.readable_rows())
                .sum(),
            problem: fault.problem.clone(),
        })
        .collect()
}

/// A dataset's files as the manifest lists them: small files that are read together are one entry, whose hash covers the
/// paths and hashes of them all.
fn sources(
    dataset: &PlannedDataset,
    places: &[Vec<std::path::PathBuf>],
) -> Result<Vec<FileEntry>, StoreError> {
    let mut entries = Vec::new();
    for (unit, places) in dataset.units.iter().zip(places) {
        let first = &unit.files[0];
        let entry = if unit.is_group() {
            let last = &unit.files[unit.files.len() - 1].path;
            FileEntry {
                path: format!("{} .. {last} ({} files)", first.path, unit.files.len()),
                bytes: unit.bytes(),
                sha256: unit.digest.hex(),
            }
        } else {
            let sha256 = match first.digest.strip_prefix("sha256:") {
                Some(hex) => hex.to_owned(),
                None => Digest::of_file(&places[0])?.hex(),
            };
            FileEntry {
                path: first.path.clone(),
                bytes: first.bytes,
                sha256,
            }
        };
        entries.push(entry);
    }
    Ok(entries)
}
