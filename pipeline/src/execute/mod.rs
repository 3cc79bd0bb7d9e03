//! Runs a plan. The only place that knows threads, tasks and files together.
//!
//! The stages and what each hands on:
//! ```text
//! fetch -> extract -> resolve -> trim -> encode -> pack -> finish
//!          blocks     clusters   cuts    ids       shards  tables, manifest
//! ```
//! Every stage but the last is made of tasks with receipts ([`store`]): a run that was killed anywhere is continued by
//! running the same command again, and gives the same bytes.

mod block;
mod contamination;
mod cpu;
pub mod dedup;
mod encode;
mod extract;
mod fetch;
mod files;
pub mod filter;
mod finish;
mod identity;
pub(crate) mod index;
mod judge;
mod note;
mod pack;
mod personal;
mod prepared;
mod profiles;
mod rejects;
mod reread;
mod resolve;
mod segments;
pub mod sets;
mod shingles;
mod signals;
mod spill;
pub mod store;
pub(crate) mod tables;
mod texts;
mod trim;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::{Build, Manifest, Split};
use serde::Serialize;

use crate::digest::Digest;
use crate::fetch::FetchError;
use crate::plan::Plan;
use crate::progress::{Event, Progress, Stage};
use crate::tokenize::TokenizeError;
pub use extract::Fault;
pub use note::{BuildTexts, Note};
pub(crate) use resolve::BYTES_A_DOCUMENT;
pub use resolve::ResolveCounters;
use store::Store;
pub use store::StoreError;

/// How a plan is run. Nothing here changes a byte of the build.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// Folder of intermediates.
    pub work: PathBuf,
    /// Folder where builds land.
    pub shards: PathBuf,
    /// The lock file, for hashes that are only known once their files came.
    pub lock: PathBuf,
    /// Worker threads.
    pub threads: usize,
    /// Bytes of memory to stay within.
    pub memory_bytes: u64,
    /// Files that cannot be read to their end are left out, with all of their rows that could be read kept.
    pub skip_bad_files: bool,
}

/// A build that is there.
#[derive(Debug)]
pub struct Built {
    /// Its folder.
    pub folder: PathBuf,
    /// Its manifest.
    pub manifest: Manifest,
    /// Whether an earlier run had made it.
    pub was_there: bool,
    /// Bytes of text and seconds of processor time of each part of the work, those of resumed tasks included.
    pub rates: Vec<Rate>,
    /// What the search for duplicates counted.
    pub resolve: ResolveCounters,
    /// Files that were left out because they could not be read to their end.
    pub faults: Vec<Fault>,
}

/// How fast a part of the work went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rate {
    /// The part.
    pub part: String,
    /// Bytes of document text that went through it.
    pub bytes: u64,
    /// Seconds of processor time it took, over all threads.
    pub seconds: f64,
}

/// Why there is no build.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The work folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A download.
    #[error("dataset {dataset}: {error}")]
    Fetch {
        /// The dataset.
        dataset: String,
        /// What happened.
        error: FetchError,
    },
    /// The tokenizer.
    #[error(transparent)]
    Tokenize(#[from] TokenizeError),
    /// The format.
    #[error(transparent)]
    Format(#[from] andromeda_format::FormatError),
    /// Publishing.
    #[error(transparent)]
    Finish(#[from] finish::FinishError),
    /// Files could not be read to their end.
    #[error("{} of the files could not be read to the end; everything else is done and kept. {}", .0.len(), way_out(.0))]
    BadFiles(Vec<Fault>),
    /// The render does not fit the rows, found by a look at the first of them.
    #[error(transparent)]
    Rows(#[from] crate::written::Problems),
    /// No document was kept.
    #[error("no document was kept: {0}")]
    Empty(String),
    /// Someone asked it to stop.
    #[error("interrupted; run the same command again to go on")]
    Interrupted,
    /// The machine gave no threads.
    #[error("no worker threads could be started: {0}")]
    Threads(String),
    /// A folder that should hold this build holds something else.
    #[error("{folder} holds something that is not this build ({why}); move it away and run again")]
    InTheWay {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

fn way_out(faults: &[Fault]) -> &'static str {
    if faults.iter().any(|fault| fault.passing) {
        "Run again when the disk is well; a file that no disk gives back is left out with `exclude` in its dataset's manifest"
    } else {
        "Mend them and run again, or leave them out with --skip-bad-files"
    }
}

impl From<std::io::Error> for BuildError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<pack::PackError> for BuildError {
    fn from(error: pack::PackError) -> Self {
        match error {
            pack::PackError::Store(error) => Self::Store(error),
            pack::PackError::Format(error) => Self::Format(error),
        }
    }
}

/// Makes the build that `plan` describes, or finds it made. `stop` asks the run to end soon; what is done stays done.
pub fn build(
    plan: &Plan,
    options: &BuildOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Built, BuildError> {
    let title = Title::of(plan);
    if let Some(built) = there(options, &title)? {
        return Ok(built);
    }
    let store = Store::open(&options.work)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .thread_name(|i| format!("worker-{i}"))
        .build()
        .map_err(|error| BuildError::Threads(error.to_string()))?;
    let result = pool.install(|| run(plan, options, title, &store, progress, stop));
    match result {
        Err(_) if stop.load(Ordering::Relaxed) => Err(BuildError::Interrupted),
        other => other,
    }
}

/// What a build is called, and the hash of all that decides its bytes.
struct Title {
    name: String,
    fingerprint: Digest,
}

impl Title {
    fn of(plan: &Plan) -> Self {
        Self {
            name: plan.name.clone(),
            fingerprint: plan.fingerprint,
        }
    }

    /// With files left out it is another build under another name: the plan's own name stays for the whole.
    fn without(plan: &Plan, faults: &[Fault], blocks: &[extract::DoneBlock]) -> Self {
        let left_out: Vec<_> = faults
            .iter()
            .map(|fault| (&fault.dataset, &fault.file, &fault.problem))
            .collect();
        let read: Vec<_> = blocks
            .iter()
            .map(|block| (block.dataset, block.unit, block.index))
            .collect();
        let fingerprint = Digest::of_value(&("without", plan.fingerprint, left_out, read));
        Self {
            name: format!("{}-without-{}", plan.name, &fingerprint.hex()[..8]),
            fingerprint,
        }
    }
}

/// The build of this title, if it was made before.
fn there(options: &BuildOptions, title: &Title) -> Result<Option<Built>, BuildError> {
    let folder = options.shards.join(&title.name);
    if !folder.join("manifest.json").exists() {
        return Ok(None);
    }
    match Build::open(&folder).map_err(|error| error.to_string()) {
        Ok(build) if build.manifest().fingerprint == title.fingerprint.hex() => Ok(Some(Built {
            manifest: build.manifest().clone(),
            folder,
            was_there: true,
            rates: Vec::new(),
            resolve: ResolveCounters::default(),
            faults: Vec::new(),
        })),
        Ok(build) => Err(BuildError::InTheWay {
            folder,
            why: format!("its fingerprint is {}", build.manifest().fingerprint),
        }),
        Err(why) => Err(BuildError::InTheWay { folder, why }),
    }
}

/// Where all files of a plan are on this machine.
fn bring(
    plan: &Plan,
    options: &BuildOptions,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<extract::Places, BuildError> {
    let datasets: Vec<_> = plan.all_datasets().collect();
    let kept = fetch::Kept {
        work: &options.work,
        lock: &options.lock,
    };
    fetch::fetch(&datasets, kept, progress, stop)
}

fn run(
    plan: &Plan,
    options: &BuildOptions,
    mut title: Title,
    store: &Store,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Built, BuildError> {
    let tokenizer = plan.load_tokenizer()?;
    let places = bring(plan, options, progress, stop)?;
    plan.look(&places)?;
    let extracted = extract::extract(plan, &places, store, progress, stop)?;
    if stop.load(Ordering::Relaxed) {
        return Err(BuildError::Interrupted);
    }
    if !extracted.faults.is_empty() {
        // What a failing disk took away is no property of the input: no build is made of what was left.
        if !options.skip_bad_files || extracted.faults.iter().any(|fault| fault.passing) {
            return Err(BuildError::BadFiles(extracted.faults));
        }
        title = Title::without(plan, &extracted.faults, &extracted.blocks);
        if let Some(mut built) = there(options, &title)? {
            built.faults = extracted.faults;
            return Ok(built);
        }
    }
    let folder = &options.shards.join(&title.name);
    let texts = texts::StoredTexts {
        plan,
        extracted: &extracted,
    };
    let survivors =
        resolve::Survivors::load(plan, &extracted, store, &texts, options.memory_bytes, stop)?;
    if survivors.lengths.is_empty() {
        return Err(BuildError::Empty(why_empty(&extracted)));
    }
    let (clusters, resolved) = resolve::resolve(
        plan,
        &extracted,
        &survivors,
        store,
        options.memory_bytes,
        progress,
    )?;
    let trimmed = trim::trim(
        plan,
        &extracted,
        &survivors,
        &clusters,
        store,
        options.memory_bytes,
        progress,
        stop,
    )?;
    let encoded = encode::encode(
        plan, &extracted, &survivors, &clusters, &trimmed, &tokenizer, store, progress, stop,
    )?;
    let identities = identity::Identities::load(plan, &extracted, &survivors)?;
    let order = pack::order(plan, &identities, &clusters, &encoded);
    if order.placed.is_empty() {
        return Err(BuildError::Empty(
            "every document that was left had too little in it that did not stand before, or could not be tokenized"
                .to_owned(),
        ));
    }
    if order.tokens(Split::Train) == 0 {
        return Err(BuildError::Empty(
            "every document that was left went to validation or test".to_owned(),
        ));
    }
    let spec = pack::spec(plan, &tokenizer);
    let shards = pack::pack(
        plan,
        &spec,
        &identities,
        &order,
        &encoded,
        store,
        progress,
        stop,
    )?;
    progress.event(&Event::Stage {
        stage: Stage::Finish,
        total: 1,
    });
    let parts = finish::Parts {
        plan,
        name: &title.name,
        fingerprint: title.fingerprint,
        places: &places,
        extracted: &extracted,
        survivors: &survivors,
        clusters: &clusters,
        trimmed: &trimmed,
        identities: &identities,
        encoded: &encoded,
        order: &order,
        shards: &shards,
        tokenizer: &tokenizer,
    };
    // Before the manifest, which is last: a build that is there has its note.
    let blocks = extracted.blocks.iter();
    let note = Note {
        used: store.used(),
        blocks: blocks
            .map(|block| (block.receipt.key, block.counters.rows))
            .collect(),
    };
    note.write(store.root(), &title.name)?;
    let manifest = finish::finish(&parts, folder, store)?;
    progress.event(&Event::Advanced {
        stage: Stage::Finish,
        by: 1,
        reused: false,
    });
    progress.event(&Event::Finished {
        folder: folder.clone(),
        root: manifest.root.clone(),
    });
    let rates = rates(&extracted, &encoded, &shards, &manifest);
    Ok(Built {
        folder: folder.clone(),
        manifest,
        was_there: false,
        rates,
        resolve: resolved,
        faults: extracted.faults,
    })
}

/// Texts of the documents that a build of `plan` would keep, spread over all of them, of about `most_bytes` together.
pub fn texts(
    plan: &Plan,
    options: &BuildOptions,
    most_bytes: u64,
    progress: &dyn Progress,
    stop: &AtomicBool,
) -> Result<Vec<String>, BuildError> {
    let store = Store::open(&options.work)?;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|error| BuildError::Threads(error.to_string()))?;
    pool.install(|| {
        let places = bring(plan, options, progress, stop)?;
        plan.look(&places)?;
        let extracted = extract::extract(plan, &places, &store, progress, stop)?;
        if stop.load(Ordering::Relaxed) {
            return Err(BuildError::Interrupted);
        }
        if !extracted.faults.is_empty() {
            return Err(BuildError::BadFiles(extracted.faults));
        }
        let texts = texts::StoredTexts {
            plan,
            extracted: &extracted,
        };
        let survivors =
            resolve::Survivors::load(plan, &extracted, &store, &texts, options.memory_bytes, stop)?;
        let (clusters, _) = resolve::resolve(
            plan,
            &extracted,
            &survivors,
            &store,
            options.memory_bytes,
            progress,
        )?;
        let trimmed = trim::trim(
            plan,
            &extracted,
            &survivors,
            &clusters,
            &store,
            options.memory_bytes,
            progress,
            stop,
        )?;
        let identities = identity::Identities::load(plan, &extracted, &survivors)?;
        Ok(encode::texts(
            &survivors,
            &clusters,
            &trimmed,
            &identities,
            most_bytes,
        )?)
    })
}

fn why_empty(extracted: &extract::Extracted) -> String {
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for block in &extracted.blocks {
        for (reason, count) in block
            .counters
            .dropped
            .iter()
            .chain(&block.counters.quarantined)
        {
            *reasons.entry(reason.clone()).or_default() += count.documents;
        }
    }
    let mut most: Vec<(u64, String)> = reasons
        .into_iter()
        .map(|(reason, count)| (count, reason))
        .collect();
    most.sort_by(|a, b| b.cmp(a));
    if most.is_empty() {
        return "the files hold no rows".to_owned();
    }
    let most: Vec<String> = most
        .into_iter()
        .take(3)
        .map(|(count, reason)| format!("{count} for {reason}"))
        .collect();
    format!("the rules took {}", most.join(", "))
}

/// How fast the parts of the extract stage went.
fn rates_of_extract(extracted: &extract::Extracted) -> Vec<Rate> {
    let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
    for block in &extracted.blocks {
        for (part, spent) in &block.receipt.seconds {
            *seconds.entry(part).or_default() += spent;
        }
    }
    let bytes = extracted
        .blocks
        .iter()
        .map(|block| block.counters.bytes)
        .sum();
    [
        "read",
        "normalize",
        "redact",
        "decontaminate",
        "exact",
        "signature",
        "write",
    ]
    .into_iter()
    .filter_map(|part| {
        Some(Rate {
            part: part.to_owned(),
            bytes,
            seconds: *seconds.get(part)?,
        })
    })
    .collect()
}

fn rates(
    extracted: &extract::Extracted,
    encoded: &[encode::Encoded],
    shards: &[pack::PackedShard],
    manifest: &Manifest,
) -> Vec<Rate> {
    let mut seconds: BTreeMap<&str, f64> = BTreeMap::new();
    let mut book = |parts: &BTreeMap<String, f64>, rename: &[(&str, &'static str)]| {
        for (part, spent) in parts {
            if let Some((_, name)) = rename.iter().find(|(from, _)| from == part) {
                *seconds.entry(name).or_default() += spent;
            }
        }
    };
    let extract = [
        ("read", "read"),
        ("normalize", "normalize"),
        ("filter", "filter"),
        ("redact", "redact"),
        ("decontaminate", "decontaminate"),
        ("exact", "exact"),
        ("signature", "signature"),
        ("write", "store"),
    ];
    extracted
        .blocks
        .iter()
        .for_each(|block| book(&block.receipt.seconds, &extract));
    encoded.iter().for_each(|block| {
        book(
            &block.seconds,
            &[("tokenize", "tokenize"), ("write", "store")],
        );
    });
    shards
        .iter()
        .for_each(|shard| book(&shard.seconds, &[("write", "write")]));
    let all: u64 = extracted
        .blocks
        .iter()
        .map(|block| block.counters.bytes)
        .sum();
    let survivors: u64 = extracted
        .blocks
        .iter()
        .map(|block| block.counters.survivors.bytes)
        .sum();
    let kept = manifest.funnel.kept.bytes;
    [
        ("read", all),
        ("normalize", all),
        ("filter", all),
        ("redact", all),
        ("decontaminate", survivors),
        ("exact", survivors),
        ("signature", survivors),
        ("store", survivors),
        ("tokenize", kept),
        ("write", kept),
    ]
    .into_iter()
    .filter_map(|(part, bytes)| {
        Some(Rate {
            part: part.to_owned(),
            bytes,
            seconds: *seconds.get(part)?,
        })
    })
    .collect()
}
