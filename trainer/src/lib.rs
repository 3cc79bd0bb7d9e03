//! Trains decoder-only language models from Andromeda's shards, on candle.
#![warn(missing_docs)]

pub mod error;
pub mod gradient;
pub mod loss;
pub mod model;
pub mod ops;
pub mod optimizer;
pub mod random;
pub mod schedule;
