//! The contract of the crate, tested with real files: bytes from the page, golden bytes, damage of every kind, the loader's
//! laws.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "what fails in a test shall panic, and made-up corpora are small"
)]

mod builds;
mod by_hand;
mod corpus;
mod damage;
mod edits;
mod errors;
mod flips;
mod golden;
mod loader;
mod mixtures;
mod page;
mod python;
mod shards;
mod stores;
