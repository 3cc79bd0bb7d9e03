//! The recipe: the options of the phases. Every option here can change the bytes of a build, and nothing else can.
//!
//! Which stage an option belongs to is decided by the four `*_options` functions: what they return goes into the keys of
//! that stage's tasks, so a changed option re-runs its stage and what depends on it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::dedup::cluster::Verify;
use crate::dedup::signature::{MinHashOptions, MinHasher};
use crate::filter::{FilterOptions, Filters};
use crate::normalize::Normalize;
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
    /// The tokenizer.
    pub tokenize: TokenizeOptions,
    /// Validation and test shares.
    pub split: SplitOptions,
    /// The shards.
    pub shard: ShardOptions,
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
}

/// The tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TokenizeOptions {
    /// A `tokenizer.json`: absolute, or relative to the manifests' folder.
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
        }
    }
}

impl Default for NearOptions {
    fn default() -> Self {
        Self {
            shingle_words: 5,
            characters: BTreeMap::new(),
            bands: 14,
            rows: 8,
            verify: Verify::Signature,
            similarity: 0.7,
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
    near: Option<MinHashOptions>,
}

/// What the resolve stage depends on besides the extracted documents.
#[derive(Debug, Serialize)]
pub struct ResolveOptions<'a> {
    exact: bool,
    url: bool,
    scope: Scope,
    near: Option<(Verify, f64)>,
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
        for (name, filter) in &self.profile {
            if let Err(errors) = Filters::new(filter) {
                errors
                    .iter()
                    .for_each(|error| require(false, &["profile", name], &error.to_string()));
            }
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
            near: self.dedup.near.as_ref().map(|near| near.minhash(profile)),
        }
    }

    /// Options of the resolve stage.
    pub fn resolve_options(&self) -> ResolveOptions<'_> {
        let near = self.dedup.near.as_ref();
        ResolveOptions {
            exact: self.dedup.exact,
            url: self.dedup.url,
            scope: self.dedup.scope,
            near: near.map(|near| (near.verify, near.similarity)),
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
