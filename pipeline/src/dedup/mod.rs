//! Exact and near duplicates.
//!
//! Per document: [`exact`] hashes the text, [`words`] and [`signature`] make a MinHash signature of its word shingles. For all
//! documents together: [`cluster`] joins them.

pub mod cluster;
pub mod exact;
pub mod signature;
pub mod union_find;
pub mod words;
