//! Training from shards.
