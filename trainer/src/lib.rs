//! Trains decoder-only language models from Andromeda's shards, on candle.
#![warn(missing_docs)]

pub mod loss;
pub mod ops;
pub mod random;
pub mod schedule;
