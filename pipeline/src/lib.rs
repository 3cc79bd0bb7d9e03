//! From prioritized datasets to deduplicated, filtered, tokenized shards.
//!
//! Modules stand in the order the data flows.

pub mod analysis;
pub mod dedup;
pub mod fetch;
pub mod filter;
pub mod normalize;
pub mod read;
pub mod render;
pub mod tokenize;
