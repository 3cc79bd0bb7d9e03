//! Exact and near duplicates: what one document contributes, and how documents join into clusters.
//!
//! The way of a document: [`exact::text_hashes`] of its normalized text; [`words`] in lower case; word [`shingle`]s; a MinHash
//! [`signature`]; one key a band. Documents that share a hash are exact duplicates; those that share a band key are
//! candidates, verified by the agreement of their signatures and joined in [`cluster`]. Nothing here knows a file.

pub mod cluster;
pub mod exact;
pub mod groups;
pub mod repeat;
pub mod shingle;
pub mod signature;
pub mod union_find;
pub mod url;
mod word_classes;
pub mod words;

/// Options that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DedupError {
    /// A number of bands, rows or words out of bounds.
    #[error("{key} = {value}: choose a number from 1 to {most}")]
    OutOfBounds {
        /// The option, as written.
        key: &'static str,
        /// Its value.
        value: usize,
        /// The largest value allowed.
        most: usize,
    },
}
