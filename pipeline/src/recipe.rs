//! The recipe: the options of the phases. Every option here can change the bytes of a build, and nothing else can.
//!
//! Which stage an option belongs to is decided by the `*_options` functions and [`DedupOptions::trim`]: what they return goes into the keys of
//! that stage's tasks, so a changed option re-runs its stage and what depends on it.

mod models;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::analysis::signals::{self, Signal};
use crate::decontaminate::DecontaminateOptions;
use crate::dedup::cluster::Verify;
use crate::dedup::repeat::{self, Unit};
use crate::dedup::signature::{MinHashOptions, MinHasher};
use crate::digest::Digest;
use crate::filter::{FilterOptions, Filters, rules};
use crate::normalize::Normalize;
use crate::render::ChatFormat;
use crate::written::{self, Problem, Problems};

/// A whole recipe, as in `manifests/recipes/<name>.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[derive(Default)]
pub struct Recipe {
    /// Decides splits and the order of documents.
    pub seed: u64,
    /// Text repairs.
    pub normalize: Normalize,
    /// Named sets of rules; a dataset names the one that judges it.
    pub profile: BTreeMap<String, FilterOptions>,
    /// Duplicates.
    pub dedup: DedupOptions,
    /// Evaluation sets whose items are taken out of the documents; none where the table does not stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decontaminate: Option<DecontaminateOptions>,
    /// How dialogues are written down.
    #[serde(skip_serializing_if = "ChatOptions::is_default")]
    pub chat: ChatOptions,
    /// The tokenizer.
    pub tokenize: TokenizeOptions,
    /// Validation and test shares.
    pub split: SplitOptions,
    /// The shards.
    pub shard: ShardOptions,
    /// Samples of what was not kept.
    pub rejects: RejectOptions,
    /// Statistics in the table of documents.
    #[serde(skip_serializing_if = "SignalOptions::is_empty")]
    pub signals: SignalOptions,
}

/// Which statistics of documents become columns of `documents.parquet`, so that thresholds can be chosen by what they would
/// drop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SignalOptions {
    /// Their names, or the beginning of several with a `*`.
    pub columns: Vec<String>,
}

impl SignalOptions {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The signals; those that do not exist were refused before.
    pub(crate) fn signals(&self) -> Vec<Signal> {
        signals::asked(self.columns.iter().map(String::as_str)).unwrap_or_default()
    }
}

/// How much of what was not kept can be looked at afterwards, in `rejects.parquet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RejectOptions {
    /// Documents a reason and dataset, chosen by their texts alone.
    pub samples: u32,
    /// Characters of each.
    pub characters: u32,
}

impl Default for RejectOptions {
    fn default() -> Self {
        Self {
            samples: 5,
            characters: 2000,
        }
    }
}

/// Which duplicates are found, and which copy stays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct DedupOptions {
    /// Documents whose normalized text is equal.
    pub exact: bool,
    /// Documents of one address, where a dataset's render names the field that holds it.
    pub url: bool,
    /// Among which documents duplicates are looked for.
    pub scope: Scope,
    /// Builds whose documents this one shall not have again: names in the folder of builds, or folders.
    pub against: Vec<String>,
    /// Whether the build keeps what other builds need to be compared with it.
    pub index: bool,
    /// Near duplicates; looked for where the table stands.
    pub near: Option<NearOptions>,
    /// Which copy stays among those of the most important tier.
    pub keep: Keep,
    /// What is cut from the documents that stay; nothing where the table does not stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trim: Option<TrimOptions>,
}

/// Among which documents duplicates are looked for. Other builds are compared with whatever the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Among all of the build.
    Everything,
    /// Among those of each tier.
    Tier,
    /// Among those of each dataset.
    Dataset,
}

/// The order in which the copies of one tier are preferred; ties go to the first document in dataset, file and row order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// The one with the most bytes of text.
    Longest,
    /// The first in dataset, file and row order.
    First,
    /// The one with the latest date, where a dataset's render names the field that holds it; then the longest.
    Newest,
    /// The one with the highest quality, where a dataset's render names the field that holds it; then the longest.
    HighestQuality,
}

/// MinHash parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NearOptions {
    /// Words in a shingle.
    pub shingle_words: usize,
    /// Profiles whose documents are shingled by characters, and how many: for code and for scripts without spaces.
    pub characters: BTreeMap<String, usize>,
    /// Bands of a signature.
    pub bands: usize,
    /// Hashes in a band.
    pub rows: usize,
    /// What confirms that two documents of one bucket are alike.
    pub verify: Verify,
    /// The similarity from which on they are.
    pub similarity: f64,
    /// Whether a document goes that is like the one that stays only over others, as where clusters are merged blindly.
    pub chain: bool,
}

/// Which repeated pieces are cut from the documents that stay: lines, then paragraphs of what they left, then spans of what
/// these left. Of each piece the first copy stays, in dataset, file and row order, of the most important tier. Documents with
/// parts of their own, such as dialogues, are left as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TrimOptions {
    /// Profiles whose documents are trimmed; all where it is empty.
    pub profiles: Vec<String>,
    /// A document of which something was cut is dropped when it has fewer characters left.
    pub min_left_characters: u64,
    /// Lines; sought where the table stands.
    pub lines: Option<TrimLines>,
    /// Paragraphs; sought where the table stands.
    pub paragraphs: Option<TrimParagraphs>,
    /// Runs of words; sought where the table stands.
    pub spans: Option<TrimSpans>,
}

/// How repeated lines are sought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TrimLines {
    /// Where an earlier copy counts.
    pub scope: repeat::Scope,
    /// Characters from which on a line is looked at.
    pub min_characters: u32,
}

/// How repeated paragraphs are sought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TrimParagraphs {
    /// Where an earlier copy counts.
    pub scope: repeat::Scope,
    /// Characters from which on a paragraph is looked at.
    pub min_characters: u32,
}

/// How repeated spans are sought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TrimSpans {
    /// Where an earlier copy counts.
    pub scope: repeat::Scope,
    /// Words from which on a run of words is a copy.
    pub words: u32,
}

/// How dialogues are written down.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ChatOptions {
    /// `human-assistant`, `alpaca`, `llama-2` or `chatml`; of dialogues, and of the prompts of preferences and processes.
    pub format: ChatFormat,
}

impl ChatOptions {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        self.format.is_default()
    }
}

/// The tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TokenizeOptions {
    /// A `tokenizer.json`: absolute, or relative to the manifests' folder; or `hf://owner/name`, `hf://owner/name@revision` or
    /// `hf://owner/name@revision/path` of one on the hub, pinned in the lock file.
    pub tokenizer: String,
    /// The token that ends a document; found in the file when absent.
    pub end_of_text: Option<String>,
}

/// Shares held out of training, by hash of the cluster, so that near duplicates never stand on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SplitOptions {
    /// Share of validation documents.
    pub val: f64,
    /// Share of test documents.
    pub test: f64,
}

/// The shards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ShardOptions {
    /// Tokens in every shard but the last of its split.
    pub tokens: u64,
    /// Tokens in a frame.
    pub frame_tokens: u32,
    /// zstd level.
    pub level: i32,
}

impl Default for DedupOptions {
    fn default() -> Self {
        Self {
            exact: true,
            url: false,
            scope: Scope::Everything,
            against: Vec::new(),
            index: true,
            near: None,
            keep: Keep::Longest,
            trim: None,
        }
    }
}

impl Default for TrimOptions {
    fn default() -> Self {
        Self {
            profiles: Vec::new(),
            min_left_characters: 100,
            lines: None,
            paragraphs: None,
            spans: None,
        }
    }
}

impl Default for TrimLines {
    fn default() -> Self {
        Self {
            scope: repeat::Scope::Corpus,
            min_characters: 32,
        }
    }
}

impl Default for TrimParagraphs {
    fn default() -> Self {
        Self {
            scope: repeat::Scope::Corpus,
            min_characters: 64,
        }
    }
}

impl Default for TrimSpans {
    fn default() -> Self {
        Self {
            scope: repeat::Scope::Corpus,
            words: 50,
        }
    }
}

/// What can be cut, in the order in which it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrimUnit {
    /// Lines.
    Lines,
    /// Paragraphs.
    Paragraphs,
    /// Runs of words.
    Spans,
}

impl TrimUnit {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Lines, Self::Paragraphs, Self::Spans];

    /// Its name, as in recipes and counts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lines => "lines",
            Self::Paragraphs => "paragraphs",
            Self::Spans => "spans",
        }
    }

    /// Why a document is dropped of which it left too little.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Lines => "repeated-lines",
            Self::Paragraphs => "repeated-paragraphs",
            Self::Spans => "repeated-spans",
        }
    }
}

impl TrimOptions {
    /// What is sought, in the order in which it is cut.
    pub fn units(&self) -> Vec<(TrimUnit, Unit, repeat::Scope)> {
        let lines = self.lines.as_ref().map(|lines| {
            let min_chars = lines.min_characters;
            (TrimUnit::Lines, Unit::Lines { min_chars }, lines.scope)
        });
        let paragraphs = self.paragraphs.as_ref().map(|paragraphs| {
            let min_chars = paragraphs.min_characters;
            let unit = Unit::Paragraphs { min_chars };
            (TrimUnit::Paragraphs, unit, paragraphs.scope)
        });
        let spans = self.spans.as_ref().and_then(|spans| {
            let words = NonZeroU32::new(spans.words)?;
            Some((TrimUnit::Spans, Unit::Spans { words }, spans.scope))
        });
        [lines, paragraphs, spans].into_iter().flatten().collect()
    }

    /// Whether documents of a profile are trimmed.
    pub fn takes(&self, profile: &str) -> bool {
        self.profiles.is_empty() || self.profiles.iter().any(|name| name == profile)
    }
}

impl Default for NearOptions {
    fn default() -> Self {
        Self {
            shingle_words: 5,
            characters: BTreeMap::new(),
            bands: 14,
            rows: 8,
            verify: Verify::Jaccard,
            similarity: 0.7,
            chain: false,
        }
    }
}

impl Default for TokenizeOptions {
    fn default() -> Self {
        Self {
            tokenizer: "tokenizers/andromeda-16k.json".to_owned(),
            end_of_text: None,
        }
    }
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self {
            val: 0.005,
            test: 0.005,
        }
    }
}

impl Default for ShardOptions {
    fn default() -> Self {
        Self {
            tokens: 1 << 26,
            frame_tokens: 1 << 16,
            level: 3,
        }
    }
}

/// What the extract stage of one dataset depends on besides its files.
#[derive(Debug, Serialize)]
pub struct ExtractOptions<'a> {
    normalize: &'a Normalize,
    filter: &'a FilterOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<String>,
    /// What the language model in the program is, where it is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    language_model: Option<String>,
    near: Option<MinHashOptions>,
    rejects: RejectOptions,
    /// Names of the signals.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signals: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decontaminate: Option<&'a DecontaminateOptions>,
    /// What the evaluation sets hold, which the plan knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) benchmarks: Option<Digest>,
    /// What the lists hold that the profile names, which the plan knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) lists: Option<Digest>,
    /// How dialogues are written down, of datasets that have some.
    #[serde(skip_serializing_if = "ChatFormat::is_default")]
    pub(crate) chat: ChatFormat,
}

/// What the resolve stage depends on besides the extracted documents.
#[derive(Debug, Serialize)]
pub struct ResolveOptions<'a> {
    exact: bool,
    url: bool,
    scope: Scope,
    near: Option<(Verify, f64, bool)>,
    keep: &'a Keep,
}

/// What the shards stage depends on besides the token ids.
#[derive(Debug, Serialize)]
pub struct PackOptions<'a> {
    seed: u64,
    split: &'a SplitOptions,
    shard: &'a ShardOptions,
}

impl NearOptions {
    /// The shape of a signature of the documents of a profile.
    pub fn minhash(&self, profile: &str) -> MinHashOptions {
        MinHashOptions {
            shingle_words: self.shingle_words,
            shingle_characters: self.characters.get(profile).copied(),
            bands: self.bands,
            rows: self.rows,
        }
    }
}

impl Recipe {
    /// Reads and checks a recipe.
    pub fn load(file: &Path) -> Result<Self, Problems> {
        let source = fs_err::read_to_string(file).map_err(|error| {
            Problems(vec![Problem::of_file(
                file,
                format!("the recipe cannot be read: {error}"),
                "name a recipe of the manifests' folder, or a file, with --recipe".to_owned(),
            )])
        })?;
        let recipe: Self = written::parse(file, &source).map_err(Problems)?;
        let problems = recipe.check(file, &source);
        if problems.is_empty() {
            Ok(recipe)
        } else {
            Err(Problems(problems))
        }
    }

    fn check(&self, file: &Path, source: &str) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut require = |holds: bool, keys: &[&str], message: &str| {
            if !holds {
                problems.push(Problem::at(file, source, keys, message));
            }
        };
        if let Some(near) = &self.dedup.near {
            if let Err(error) = MinHasher::new(near.minhash("")) {
                require(false, &["dedup", "near"], &error.to_string());
            }
            for profile in near.characters.keys() {
                let keys = ["dedup", "near", "characters", profile];
                require(
                    self.profile.contains_key(profile),
                    &keys,
                    "no profile of this recipe is called so",
                );
                if let Err(error) = MinHasher::new(near.minhash(profile)) {
                    require(false, &keys, &error.to_string());
                }
            }
            require(
                (0.0..=1.0).contains(&near.similarity),
                &["dedup", "near", "similarity"],
                "similarity is a share from 0 to 1",
            );
        }
        if let Some(trim) = &self.dedup.trim {
            let at = |key: &'static str| ["dedup", "trim", key];
            let on = [
                trim.lines.is_some(),
                trim.paragraphs.is_some(),
                trim.spans.is_some(),
            ];
            require(
                on.contains(&true),
                &["dedup", "trim"],
                "nothing is sought: write one or more of the tables lines, paragraphs and spans below it",
            );
            for (i, profile) in trim.profiles.iter().enumerate() {
                require(
                    self.profile.contains_key(profile),
                    &["dedup", "trim", "profiles", &i.to_string()],
                    "no profile of this recipe is called so",
                );
            }
            require(
                trim.min_left_characters > 0,
                &at("min-left-characters"),
                "a document has at least 1 character",
            );
            let lines = trim.lines.as_ref().map(|lines| lines.min_characters);
            let paragraphs = trim.paragraphs.as_ref().map(|p| p.min_characters);
            for (key, least) in [("lines", lines), ("paragraphs", paragraphs)] {
                require(
                    least != Some(0),
                    &["dedup", "trim", key, "min-characters"],
                    "a piece has at least 1 character",
                );
            }
            require(
                trim.spans
                    .as_ref()
                    .is_none_or(|spans| (1..=10_000).contains(&spans.words)),
                &["dedup", "trim", "spans", "words"],
                "a span has 1 to 10,000 words",
            );
        }
        for (name, filter) in &self.profile {
            if let Err(errors) = Filters::new(filter) {
                for error in &errors {
                    let inner = error.keys();
                    let keys: Vec<&str> = ["profile", name]
                        .into_iter()
                        .chain(inner.iter().map(String::as_str))
                        .collect();
                    require(false, &keys, &error.to_string());
                }
            }
            for (table, key, message) in models::faults(filter) {
                require(false, &["profile", name, table, key], &message);
            }
        }
        for (key, message) in self.decontaminate.iter().flat_map(|table| table.faults()) {
            require(false, &["decontaminate", key], message);
        }
        let share = |value: f64| (0.0..1.0).contains(&value);
        require(
            share(self.split.val),
            &["split", "val"],
            "a share is from 0 up to, not including, 1",
        );
        require(
            share(self.split.test),
            &["split", "test"],
            "a share is from 0 up to, not including, 1",
        );
        require(
            self.split.val + self.split.test < 1.0,
            &["split"],
            "nothing is left to train on",
        );
        require(
            (1 << 10..=1 << 24).contains(&self.shard.frame_tokens),
            &["shard", "frame-tokens"],
            "a frame has 1,024 to 16,777,216 tokens",
        );
        require(
            self.shard.tokens >= u64::from(self.shard.frame_tokens) && self.shard.tokens <= 1 << 32,
            &["shard", "tokens"],
            "a shard has at least one frame and at most 2^32 tokens",
        );
        if let Err(unknown) = signals::asked(self.signals.columns.iter().map(String::as_str)) {
            let message = format!("{unknown}; `andromeda signals --list` lists them");
            require(false, &["signals", "columns"], &message);
        }
        require(
            self.rejects.samples <= 1000,
            &["rejects", "samples"],
            "at most 1,000 samples of a reason are kept; documents.parquet has all of them",
        );
        require(
            self.rejects.characters <= 100_000,
            &["rejects", "characters"],
            "at most 100,000 characters of a sample are kept",
        );
        require(
            (1..=19).contains(&self.shard.level),
            &["shard", "level"],
            "a zstd level is from 1 to 19",
        );
        problems
    }

    /// Options of the extract stage for documents judged by `filter`, which is called `profile`.
    pub fn extract_options<'a>(
        &'a self,
        profile: &str,
        filter: &'a FilterOptions,
    ) -> ExtractOptions<'a> {
        ExtractOptions {
            normalize: &self.normalize,
            filter,
            rules: rules::versions(filter),
            language_model: models::embedded(filter),
            near: self.dedup.near.as_ref().map(|near| near.minhash(profile)),
            rejects: self.rejects,
            signals: self
                .signals
                .signals()
                .iter()
                .map(|signal| signal.name)
                .collect(),
            decontaminate: self.decontaminate.as_ref(),
            benchmarks: None,
            lists: None,
            chat: ChatFormat::default(),
        }
    }

    /// Options of the resolve stage.
    pub fn resolve_options(&self) -> ResolveOptions<'_> {
        let near = self.dedup.near.as_ref();
        ResolveOptions {
            exact: self.dedup.exact,
            url: self.dedup.url,
            scope: self.dedup.scope,
            near: near.map(|near| (near.verify, near.similarity, near.chain)),
            keep: &self.dedup.keep,
        }
    }

    /// Options of the shards stage.
    pub fn pack_options(&self) -> PackOptions<'_> {
        PackOptions {
            seed: self.seed,
            split: &self.split,
            shard: &self.shard,
        }
    }
}
