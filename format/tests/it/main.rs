//! The contract of the crate, tested with real files: bytes from the page, golden bytes, damage of every kind, the loader's
//! laws.

mod builds;
mod corpus;
mod damage;
mod golden;
mod loader;
mod page;
mod shards;
