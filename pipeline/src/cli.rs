//! The command line of `andromeda`.

mod tokenizer;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::classify::train::TrainOptions;

pub use tokenizer::{TokenizeArgs, TokenizerCommand, WhichTokenizer};

/// From prioritized datasets to deduplicated, filtered, tokenized shards.
#[derive(Debug, Parser)]
#[command(
    name = "andromeda",
    version,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 ok · 2 usage · 10 try again later · 20 permanent · 30 integrity · 40 busy · 130 interrupted"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a build would read, do and weigh; do nothing
    Plan {
        /// What is built.
        #[command(flatten)]
        what: What,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// What the run may use.
        #[command(flatten)]
        limits: Limits,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Make a build, or go on with one that was stopped
    Build {
        /// What is built.
        #[command(flatten)]
        what: What,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// What the run may use.
        #[command(flatten)]
        limits: Limits,
        /// Leave out files that cannot be read to their end, instead of ending without a build
        #[arg(long)]
        skip_bad_files: bool,
        /// Print progress and result as JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Remove exact and near duplicates from files, and nothing else: files in, files out
    Dedup {
        /// Files and folders: .jsonl, .json (one object a line), plain, .gz or .zst, and .parquet
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// Folder of the survivors: a file of the same name for each input
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How they are found.
        #[command(flatten)]
        options: DedupArgs,
        /// What the run may use.
        #[command(flatten)]
        limits: Limits,
        /// Folder of intermediates [default: `work`]
        #[arg(long, value_name = "DIR", default_value = "work")]
        work: PathBuf,
        /// Take the rows of files that cannot be read to their end as far as they go
        #[arg(long)]
        skip_bad_files: bool,
        /// Print progress and result as JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Drop the documents of files that rules of quality drop, and nothing else: files in, files out
    Filter {
        /// Files and folders: .jsonl, .json (one object a line), plain, .gz or .zst, and .parquet
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// How.
        #[command(flatten)]
        options: FilterArgs,
        /// Print progress and result as JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Tokenize files, and nothing else: a build of all of their documents, or their ids as lines of JSON
    Tokenize {
        /// Files and folders: .jsonl, .json (one object a line), plain, .gz or .zst, and .parquet
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// How.
        #[command(flatten)]
        options: TokenizeArgs,
        /// What the run may use.
        #[command(flatten)]
        limits: Limits,
        /// Where tokenizers are, and intermediates.
        #[command(flatten)]
        place: Place,
        /// Print progress and result as JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Write the rows of files, or of evaluation sets by name, as JSON lines, as the trainer's evaluation reads them
    Rows {
        /// Files and folders: parquet, csv, tsv, json, jsonl, the last four plain, .gz or .zst
        #[arg(
            value_name = "IN",
            required_unless_present = "of",
            conflicts_with = "of"
        )]
        inputs: Vec<PathBuf>,
        /// Evaluation sets of the catalogue by name, such as piqa,glue: downloaded where they are not in the caches; those whose
        /// rows are there are checked
        #[arg(long, value_name = "NAME", value_delimiter = ',')]
        of: Vec<String>,
        /// Folder that is made: a file of the same path for each, ending in .jsonl; with --of below owner/name, in a folder that may
        /// hold other sets
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print JSON lines on stdout; with --of, progress too
        #[arg(long)]
        json: bool,
    },
    /// Show a build's manifest as tables, then some decoded documents
    Inspect {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// The split to show documents of
        #[arg(long, value_enum, default_value = "train")]
        split: SplitName,
        /// Documents to show
        #[arg(long, default_value_t = 3, value_name = "N")]
        documents: u64,
        /// Characters of each document to show
        #[arg(long, default_value_t = 600, value_name = "N")]
        characters: usize,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Read every byte of a build again and check it against its manifest
    Verify {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Copy a build from a server or a store of objects into the shards' folder, and check every byte
    FetchBuild {
        /// Which.
        #[command(flatten)]
        options: FetchBuildArgs,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print progress and result as JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Write a build as the token files of another trainer
    Export {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// What is written.
        #[command(flatten)]
        options: ExportArgs,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Make a build of the token files of another program
    Import {
        /// What is read.
        #[command(flatten)]
        options: ImportArgs,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Tell a document's life: where it came from, its verdict and why, its kept twin, its shard and offset
    Why {
        /// A document's id, a part of one, or a place such as `train:123456` (split and token)
        document: String,
        /// The build's folder; the newest of the shards' folder when absent
        #[arg(long)]
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Documents to show at most, if several match
        #[arg(long, default_value_t = 10, value_name = "N")]
        most: usize,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Show the largest clusters of duplicates, the text that stays beside those least like it
    Clusters {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Clusters to show
        #[arg(long, default_value_t = 10, value_name = "N")]
        largest: usize,
        /// Members of each to show beside the one that stays
        #[arg(long, default_value_t = 1, value_name = "N")]
        members: usize,
        /// Characters of each text to show
        #[arg(long, default_value_t = 400, value_name = "N")]
        characters: usize,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Write what a build is like as one HTML page: funnel, reasons with samples, sizes, duplicates, licences, recipe
    Report {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// The page [default: reports/BUILD.html]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Kept documents a dataset, and duplicates a method, to show
        #[arg(long, default_value_t = 3, value_name = "N")]
        samples: usize,
        /// Characters of each text to show
        #[arg(long, default_value_t = 1500, value_name = "N")]
        characters: usize,
    },
    /// Print a build's data card: Markdown as dataset hubs show it
    Card {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
    },
    /// Show documents that were not kept, by reason, with the values that caused it
    Rejects {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Only this reason, or those that begin so
        #[arg(long, value_name = "REASON")]
        reason: Option<String>,
        /// Only this dataset
        #[arg(long, value_name = "NAME")]
        dataset: Option<String>,
        /// Documents to show at most of each dataset and reason
        #[arg(long, default_value_t = 3, value_name = "N")]
        most: usize,
        /// Characters of each text to show
        #[arg(long, default_value_t = 600, value_name = "N")]
        characters: usize,
        /// Print JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Compare two builds: documents gained and lost, by reason, with samples
    Diff {
        /// One build's folder
        first: PathBuf,
        /// The other's
        second: PathBuf,
        /// Documents to name of each reason
        #[arg(long, default_value_t = 3, value_name = "N")]
        samples: usize,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Show how the statistics are spread that a build has of its documents (`[signals]` in its recipe)
    Signals {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// List the statistics that there are
        #[arg(long, conflicts_with_all = ["build", "dataset"])]
        list: bool,
        /// Only documents of this dataset
        #[arg(long, value_name = "NAME")]
        dataset: Option<String>,
        /// Print JSON lines on stdout
        #[arg(long)]
        json: bool,
    },
    /// Try a threshold on the statistics of a build: what it would drop, with the documents next to it
    Tune {
        /// The build's folder; the newest of the shards' folder when absent
        build: Option<PathBuf>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// The threshold.
        #[command(flatten)]
        options: TuneArgs,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Ask a build in SQL: its documents, duplicates, rejects, datasets, funnel and shards are tables
    #[cfg(feature = "tables")]
    Sql {
        /// The build's folder, or its name
        build: Option<PathBuf>,
        /// The query, such as "select reason, count(*) from documents group by reason"; the tables when absent
        query: Option<String>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// How the answer is printed
        #[arg(long, value_enum, default_value = "table", value_name = "FORM")]
        form: SqlForm,
    },
    /// List builds, finished and begun, and who is building now
    Status {
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Remove intermediates that no build stands on; only says what it would do unless told --yes
    Gc {
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Remove the intermediates of existing builds too
        #[arg(long)]
        all: bool,
        /// Do it
        #[arg(long)]
        yes: bool,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Show the catalogue: every dataset that a build can be made of
    #[command(args_conflicts_with_subcommands = true)]
    Datasets {
        /// What to do with one of them.
        #[command(subcommand)]
        command: Option<DatasetsCommand>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// List the rules and compositions of rules that a recipe's profiles may name
    Profiles {
        /// What to do with one of them.
        #[command(subcommand)]
        command: Option<ProfilesCommand>,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Languages of texts
    #[command(subcommand)]
    Language(LanguageCommand),
    /// Classifiers of quality
    #[command(subcommand)]
    Quality(QualityCommand),
    /// Tokenizers
    #[command(subcommand)]
    Tokenizer(TokenizerCommand),
}

/// Which build is copied.
#[derive(Debug, Args)]
pub struct FetchBuildArgs {
    /// Folder that has its manifest.json: `https://host/path` or `s3://bucket/prefix`
    #[arg(value_name = "ADDRESS")]
    pub address: String,
    /// Name of the copy in the shards' folder [default: the build's own]
    #[arg(long)]
    pub name: Option<String>,
    /// Root hash that the build must have
    #[arg(long, value_name = "HASH")]
    pub root: Option<String>,
}

/// What an export writes.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Whose files
    #[arg(long, value_enum, value_name = "WHOSE")]
    pub to: ExportTo,
    /// Folder to make
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Only these splits
    #[arg(long, value_enum, value_delimiter = ',')]
    pub split: Vec<SplitName>,
    /// mds: samples of so many tokens, instead of documents
    #[arg(long, value_name = "TOKENS")]
    pub length: Option<usize>,
    /// mds, jsonl: compress at this zstd level
    #[arg(long, value_name = "LEVEL")]
    pub zstd: Option<i32>,
    /// Write nothing if anything that changes what is trained would be lost
    #[arg(long)]
    pub strict: bool,
}

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportTo {
    /// train.bin, val.bin: ids and nothing else
    Nanogpt,
    /// .bin and .idx of Megatron's indexed datasets
    Megatron,
    /// Folders of mosaicml-streaming
    Mds,
    /// A row a document: ids, dataset, row, split, masked
    Parquet,
    /// The same as JSON lines
    Jsonl,
}

/// What an import reads, and what it makes.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files: .bin of nanoGPT; .bin or .idx of Megatron, or their common beginning; .ds of datatrove
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Whose files
    #[arg(long, value_enum, value_name = "WHOSE")]
    pub from: ImportFrom,
    /// The tokenizer.json that made the ids
    #[arg(long, value_name = "FILE")]
    pub tokenizer: PathBuf,
    /// The build's folder to make; its name is the build's
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// How ids are stored where files do not say [default: as the vocabulary needs it]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub dtype: Option<IdTypeName>,
    /// The token that ends a document [default: the tokenizer's, if it has a usual name]
    #[arg(long, value_name = "TOKEN")]
    pub end_of_text: Option<String>,
    /// The split of all files [default: val and test for files whose names begin so, else train]
    #[arg(long, value_enum)]
    pub split: Option<SplitName>,
    /// What the manifest says of the licence
    #[arg(long, value_name = "TEXT", default_value = "unknown")]
    pub licence: String,
    /// Tokens of a shard [default: 67108864]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 32))]
    pub shard_tokens: Option<u64>,
}

/// Whose files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFrom {
    /// Ids and nothing else; documents end with the end of text
    Nanogpt,
    /// .bin and .idx
    Megatron,
    /// .ds, with .ds.index, .ds.loss and .ds.metadata where they are
    Datatrove,
}

/// How an id is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum IdTypeName {
    /// Two bytes
    U16,
    /// Four bytes
    U32,
}

/// Rules.
#[derive(Debug, Subcommand)]
pub enum ProfilesCommand {
    /// What a rule or composition does, where it is published, and its values as a recipe writes them
    Show {
        /// Its name, such as `c4` or `gopher@datatrove`
        name: String,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
}

/// A threshold to try.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// A threshold of a rule, such as gopher-quality.min-words; at its published value unless another is given
    #[arg(long, value_name = "RULE.KEY", conflicts_with = "signal")]
    pub rule: Option<String>,
    /// A statistic
    #[arg(long, value_name = "NAME", required_unless_present = "rule")]
    pub signal: Option<String>,
    /// Documents below this go
    #[arg(long, value_name = "VALUE", conflicts_with = "max")]
    pub min: Option<f64>,
    /// Documents above this go
    #[arg(long, value_name = "VALUE")]
    pub max: Option<f64>,
    /// Find the threshold that keeps at least this share of the documents, such as 0.5
    #[arg(long, value_name = "SHARE", value_parser = share, conflicts_with_all = ["min", "max"])]
    pub keep: Option<f64>,
    /// With --signal and --keep: keep the largest values, not the smallest
    #[arg(long, requires = "keep", conflicts_with = "rule")]
    pub keep_largest: bool,
    /// Only documents of this dataset
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Documents next to the threshold to show on either side
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub samples: usize,
    /// Characters of each to show
    #[arg(long, default_value_t = 300, value_name = "N")]
    pub characters: usize,
}

/// How an answer is printed.
#[cfg(feature = "tables")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SqlForm {
    /// Columns; long texts are cut
    Table,
    /// Comma-separated values
    Csv,
    /// One JSON object a line
    Json,
}

/// How the duplicates among files are found.
#[derive(Debug, Args)]
pub struct DedupArgs {
    /// Only documents whose text is the same after normalization
    #[arg(long, conflicts_with_all = ["threshold", "verify", "shingle_words", "characters", "bands", "rows"])]
    pub exact_only: bool,
    /// Similarity from which on two documents are near duplicates [default: 0.7]
    #[arg(long, value_name = "J", value_parser = share)]
    pub threshold: Option<f64>,
    /// What the similarity is of: the sets of shingles themselves, or the estimate that signatures give
    #[arg(long, value_enum)]
    pub verify: Option<VerifyBy>,
    /// Words in a shingle [default: 5]
    #[arg(long, value_name = "N", conflicts_with = "characters")]
    pub shingle_words: Option<usize>,
    /// Shingles of this many characters in place of words: for code, and for scripts without spaces
    #[arg(long, value_name = "N")]
    pub characters: Option<usize>,
    /// Bands of a signature [default: 14]
    #[arg(long, value_name = "N")]
    pub bands: Option<usize>,
    /// Hashes in a band [default: 8]
    #[arg(long, value_name = "N")]
    pub rows: Option<usize>,
    /// Which copy stays; ties go to the first in the order of file names and rows
    #[arg(long, value_enum, default_value = "longest")]
    pub keep: KeepCopy,
    /// Rows with one address are duplicates too, whatever their text; the field that holds it
    #[arg(long, value_name = "FIELD")]
    pub url: Option<String>,
    /// The field with the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text: String,
    /// The field with the id, for the table of duplicates
    #[arg(long, value_name = "FIELD", default_value = "id")]
    pub id: String,
    /// The table of duplicates [default: duplicates.tsv in the folder of the survivors]
    #[arg(long, value_name = "FILE")]
    pub pairs: Option<PathBuf>,
}

/// How files are filtered.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Profiles: rules and compositions that `andromeda profiles` lists, with their published values, or those of --recipe. Each
    /// judges a document as it came, and one stays that every profile keeps; what profiles edit in its text (C4's and
    /// `RefinedWeb`'s lines, personal data) they edit in the order given, each what those before it left
    #[arg(long, required = true, value_name = "PROFILE", value_delimiter = ',')]
    pub profile: Vec<String>,
    /// Folder that is made: a file of the same name for each input, and filter.json with the counts
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A line of JSON a row, in order: what each profile by itself says of the document as it came, and what it measured
    #[arg(long, value_name = "FILE")]
    pub verdicts: Option<PathBuf>,
    /// A recipe of the manifests' folder, or a file, whose profiles can be named: they come before rules of the same name
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// Folder with recipes/, and with the lists and models that they name
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    pub manifests: PathBuf,
    /// Which fields hold what.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// Field with the address, for profiles that ask for it
    #[arg(long, value_name = "FIELD")]
    pub url: Option<String>,
    /// Field with the path of a program's file, likewise
    #[arg(long, value_name = "FIELD")]
    pub path: Option<String>,
    /// Field with the language of a program, likewise
    #[arg(long, value_name = "FIELD")]
    pub language: Option<String>,
    /// Field with the licence, likewise
    #[arg(long, value_name = "FIELD")]
    pub licence: Option<String>,
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// Take files of lines that cannot be read to their end as far as they go, and leave such parquet files out
    #[arg(long)]
    pub skip_bad_files: bool,
}

/// What confirms a near duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VerifyBy {
    /// Jaccard similarity of the sets of shingles; the texts of candidates are read once more
    Jaccard,
    /// Share of equal hashes of the signatures
    Signature,
}

/// Which copy stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KeepCopy {
    /// The one with the most text
    Longest,
    /// The first
    First,
}

/// Verbs for single datasets.
#[derive(Debug, Subcommand)]
pub enum DatasetsCommand {
    /// Everything about a dataset, its examples with the documents they give
    Show {
        /// Its name, or that of one of its configs: glue, glue/cola
        name: String,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Look at a dataset of the hub and write a draft of its manifest
    Add {
        /// The repository, such as `hf://allenai/c4` or `hf://owner/name@revision`
        repository: String,
        /// What to call it [default: the repository's name]
        #[arg(long)]
        name: Option<String>,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
}

/// Which fields of a row hold what.
#[derive(Debug, Args)]
pub struct FieldArgs {
    /// Field with a row's id; a row without one is called `file#row`
    #[arg(long, value_name = "FIELD", default_value = "id")]
    pub id: String,
    /// Field with the text
    #[arg(long, value_name = "FIELD", default_value = "text")]
    pub text: String,
}

/// Verbs for languages.
#[derive(Debug, Subcommand)]
pub enum LanguageCommand {
    /// Tell the language of each row of files: lines of JSON with id, language and score
    Identify {
        /// Files and folders: .jsonl, .json (one object a line), plain, .gz or .zst, and .parquet
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// Which fields hold what.
        #[command(flatten)]
        fields: FieldArgs,
        /// A fastText model, such as lid.176.ftz, or one that `train` made, instead of the one in the program: a file, or
        /// `hf://owner/name/path`
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
    },
    /// Measure how well and how fast the languages of rows are told that say their language
    Measure {
        /// Files and folders, as for `identify`
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// Field with the text
        #[arg(long, value_name = "FIELD", default_value = "text")]
        text: String,
        /// Field with the language
        #[arg(long, value_name = "FIELD", default_value = "lang")]
        label: String,
        /// As for `identify`
        #[arg(long, value_name = "FILE")]
        model: Option<PathBuf>,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Train a model as the one in the program was trained
    Train {
        /// Files and folders, as for `identify`; a field `set` may say where a row is from
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// Field with the text
        #[arg(long, value_name = "FIELD", default_value = "text")]
        text: String,
        /// Field with the language
        #[arg(long, value_name = "FIELD", default_value = "lang")]
        label: String,
        /// Samples of each language
        #[arg(long, default_value_t = crate::language::train::TrainOptions::default().samples, value_name = "N")]
        samples: usize,
        /// Decides which lines make which sample
        #[arg(long, default_value_t = 1, value_name = "N")]
        seed: u64,
        /// The model to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

/// Verbs for classifiers of quality.
#[derive(Debug, Subcommand)]
pub enum QualityCommand {
    /// Train a fastText model on good and bad texts; labels are `__label__hq` and `__label__cc`
    Train {
        /// Files and folders of good texts: .jsonl, .json (one object a line), plain, .gz or .zst, and .parquet
        #[arg(long, required = true, num_args = 1.., value_name = "IN")]
        good: Vec<PathBuf>,
        /// Files and folders of the others
        #[arg(long, required = true, num_args = 1.., value_name = "IN")]
        bad: Vec<PathBuf>,
        /// Field with the text
        #[arg(long, value_name = "FIELD", default_value = "text")]
        text: String,
        /// The model to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// How it is trained.
        #[command(flatten)]
        options: QualityTrainArgs,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Score each row of files: lines of JSON with id and score
    Score {
        /// Files and folders, as for `train`
        #[arg(required = true, value_name = "IN")]
        inputs: Vec<PathBuf>,
        /// Which fields hold what.
        #[command(flatten)]
        fields: FieldArgs,
        /// A supervised fastText model: a file, or `hf://owner/name/path`
        #[arg(long, value_name = "FILE")]
        model: PathBuf,
        /// The label whose probability is the score
        #[arg(long, value_name = "LABEL", default_value = "__label__hq")]
        label: String,
    },
}

/// How a classifier is trained.
#[derive(Debug, Args)]
pub struct QualityTrainArgs {
    /// Numbers of the hidden layer
    #[arg(long, default_value_t = TrainOptions::default().dim, value_name = "N")]
    pub dim: u16,
    /// Times that each text is looked at
    #[arg(long, default_value_t = TrainOptions::default().epochs, value_name = "N")]
    pub epochs: u16,
    /// The first step's length
    #[arg(long, default_value_t = TrainOptions::default().rate, value_name = "RATE")]
    pub rate: f32,
    /// Words of an n-gram at most
    #[arg(long, default_value_t = TrainOptions::default().word_ngrams, value_name = "N")]
    pub word_ngrams: u8,
    /// Rows for n-grams
    #[arg(long, default_value_t = TrainOptions::default().buckets, value_name = "N")]
    pub buckets: u32,
    /// Times that a word must occur to have a row of its own
    #[arg(long, default_value_t = TrainOptions::default().min_count, value_name = "N")]
    pub min_count: u32,
    /// Every so many texts one is held out, to measure on
    #[arg(long, default_value_t = TrainOptions::default().held_out_every, value_name = "N")]
    pub held_out_every: u32,
    /// Decides first weights, order and what is held out
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
}

impl From<QualityTrainArgs> for TrainOptions {
    fn from(args: QualityTrainArgs) -> Self {
        Self {
            dim: args.dim,
            epochs: args.epochs,
            rate: args.rate,
            word_ngrams: args.word_ngrams,
            buckets: args.buckets,
            min_count: args.min_count,
            held_out_every: args.held_out_every,
            seed: args.seed,
        }
    }
}

/// What is built.
#[derive(Debug, Args)]
pub struct What {
    /// Tiers, most important first
    #[arg(long, value_enum, value_delimiter = ',', conflicts_with_all = ["dataset", "manifest"])]
    pub priority: Vec<Priority>,
    /// Datasets of the catalogue by name, or single configs of them: glue, glue/cola
    #[arg(long, value_delimiter = ',', conflicts_with = "manifest")]
    pub dataset: Vec<String>,
    /// A dataset manifest outside the catalogue: a corpus of your own
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// A recipe of the manifests' folder, or a file [default: `sample` for the sample tier, else `default`]
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<String>,
    /// `full` lifts the datasets' budgets
    #[arg(long, value_enum, default_value = "default")]
    pub budget: Budget,
    /// Take benchmarks as training data too; the build is marked with what it contaminates
    #[arg(long)]
    pub with_benchmarks: bool,
    /// Finished builds, by name or folder, whose documents this one shall not have again
    #[arg(long, value_name = "BUILD", value_delimiter = ',')]
    pub against: Vec<String>,
    /// Leave out datasets that are gone, whose terms were not accepted or that lack files, instead of ending
    #[arg(long)]
    pub skip_unavailable: bool,
}

/// A tier, or all three that are trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Priority {
    /// Pretraining
    High,
    /// Fine-tuning
    Medium,
    /// The last stage
    Low,
    /// What any machine that built this project has on its disk
    Sample,
    /// High, medium and low
    All,
}

/// How much of each dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Budget {
    /// What its manifest says
    Default,
    /// Everything
    Full,
}

/// A split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitName {
    /// Training
    Train,
    /// Validation
    Val,
    /// Test
    Test,
}

/// Where things are.
#[derive(Debug, Args)]
pub struct Place {
    /// Folder with datasets/, recipes/ and tokenizers/
    #[arg(long, value_name = "DIR", default_value = "manifests")]
    pub manifests: PathBuf,
    /// Folder where builds land
    #[arg(long, value_name = "DIR", default_value = "shards")]
    pub shards: PathBuf,
    /// Folder of downloads and intermediates
    #[arg(long, value_name = "DIR", default_value = "work")]
    pub work: PathBuf,
}

/// What a run may use. Changes no byte of a build.
#[derive(Debug, Args)]
pub struct Limits {
    /// Worker threads [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub threads: Option<u16>,
    /// Memory to stay within, such as 4G [default: three quarters of what is free]
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub memory: Option<u64>,
}

/// Reads `512M`, `4G`, `1.5GB` or a plain number of bytes; the letters are powers of 1024.
fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit
        .trim()
        .to_ascii_uppercase()
        .trim_end_matches("IB")
        .trim_end_matches('B')
    {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        other => return Err(format!("`{other}` is no unit; write K, M, G or T")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("`{number}` is no number"))?;
    let bytes = number * (1u64 << shift) as f64;
    if (1.0..9e18).contains(&bytes) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is in range, and a fraction of a byte is none"
        )]
        Ok(bytes as u64)
    } else {
        Err(format!("{text} is no usable size"))
    }
}

/// Reads a share from 0 to 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a similarity is a number from 0 to 1".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        assert_eq!(bytes("512M"), Ok(512 << 20));
        assert_eq!(bytes("1.5GiB"), Ok(3 << 29));
        assert_eq!(bytes("77"), Ok(77));
        assert!(bytes("4X").is_err());
        assert!(bytes("-4G").is_err());
        assert!(bytes("0").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
