//! The command lines of `andromeda tokenize` and `andromeda tokenizer`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{FieldArgs, Place, What, bytes, share};

/// How files become shards, or lines of ids.
#[derive(Debug, Args)]
pub struct TokenizeArgs {
    /// A tokenizer.json, here or in the manifests' folder, or one on the hub: `hf://owner/name[@revision][/file]`
    #[arg(long, value_name = "FILE|HUB")]
    pub tokenizer: String,
    /// Folder of the build: shards and a manifest
    #[arg(long, value_name = "DIR", required_unless_present = "ids")]
    pub out: Option<PathBuf>,
    /// Write lines of JSON with id and ids into a file instead, or to stdout
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-", conflicts_with = "out")]
    pub ids: Option<PathBuf>,
    /// Which fields hold what; ids count with --ids alone.
    #[command(flatten)]
    pub fields: FieldArgs,
    /// The token that ends a document [default: what the tokenizer calls so]
    #[arg(long, value_name = "TOKEN")]
    pub end_of_text: Option<String>,
    /// What the build calls the files together
    #[arg(long, value_name = "NAME", default_value = "files")]
    pub name: String,
    /// Share of documents for validation
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub val: f64,
    /// Share of documents for testing
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = share)]
    pub test: f64,
    /// Decides the order of documents, and which are for validation and testing
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Tokens in every shard but the last of its split
    #[arg(long, value_name = "N", default_value_t = 1 << 26, value_parser = clap::value_parser!(u64).range(1024..=1 << 32))]
    pub shard_tokens: u64,
}

/// Verbs for tokenizers.
#[derive(Debug, Subcommand)]
pub enum TokenizerCommand {
    /// Train a byte-level BPE on the documents that a plan keeps before duplicates are looked for
    Train {
        /// What is built.
        #[command(flatten)]
        what: What,
        /// Where things are.
        #[command(flatten)]
        place: Place,
        /// Ids of the vocabulary, special tokens included
        #[arg(long, default_value_t = 16_384, value_name = "N")]
        vocab_size: u32,
        /// Bytes of text to train on at most, spread over the documents
        #[arg(long, default_value = "64M", value_name = "BYTES", value_parser = bytes)]
        text: u64,
        /// The tokenizer.json to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show what a tokenizer is, which engine encodes with it and why, and how many tokens it makes of texts
    Show {
        /// Which one.
        #[command(flatten)]
        which: WhichTokenizer,
        /// A build, by name or folder, or files: count the tokens that it makes of their texts
        #[arg(long, value_name = "BUILD|FILE", num_args = 1..)]
        on: Vec<PathBuf>,
        /// Field with the text, of files
        #[arg(long, value_name = "FIELD", default_value = "text")]
        text: String,
        /// Field with the language, of files; a build has languages if its recipe asked for them
        #[arg(long, value_name = "FIELD", default_value = "lang")]
        language: String,
        /// Documents of a build to look at; they stand in random order
        #[arg(long, value_name = "N", default_value_t = 20_000)]
        documents: u64,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Tell whether a tokenizer is a build's: the same file, or at least the same ids
    Check {
        /// Which one.
        #[command(flatten)]
        which: WhichTokenizer,
        /// The build, by name or folder
        build: PathBuf,
        /// Documents whose ids are compared, where the file is another one
        #[arg(long, value_name = "N", default_value_t = 2_000)]
        documents: u64,
        /// Print JSON on stdout
        #[arg(long)]
        json: bool,
    },
    /// Encode stdin as one text: ids on stdout, separated by spaces
    Encode {
        /// Which one.
        #[command(flatten)]
        which: WhichTokenizer,
        /// Take every line for a text, and write a line of ids for each
        #[arg(long)]
        lines: bool,
        /// Print JSON arrays of ids
        #[arg(long)]
        json: bool,
    },
    /// Decode ids on stdin, separated by spaces, commas or brackets: the text on stdout
    Decode {
        /// Which one.
        #[command(flatten)]
        which: WhichTokenizer,
        /// Take every line for the ids of a text, and write a line of JSON, a string, for each
        #[arg(long)]
        json: bool,
    },
}

/// A tokenizer, and where things are.
#[derive(Debug, Args)]
pub struct WhichTokenizer {
    /// A tokenizer.json, here or in the manifests' folder, a build's folder, or one on the hub: `hf://owner/name[@revision][/file]`
    #[arg(value_name = "TOKENIZER")]
    pub tokenizer: String,
    /// The token that ends a document [default: what the tokenizer calls so]
    #[arg(long, value_name = "TOKEN")]
    pub end_of_text: Option<String>,
    /// Where things are.
    #[command(flatten)]
    pub place: Place,
}
