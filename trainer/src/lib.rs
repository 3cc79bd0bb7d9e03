//! Trains decoder-only language models from Andromeda's shards, on candle.
//!
//! The principal function is [`train::train`]: it takes a [`train::Job`] (a locked [`run::Run`], a [`config::RunConfig`], two
//! [`data::Source`]s), resumes the newest valid [`checkpoint`], and reports [`progress::Event`]s. One step is: a [`data::Batch`],
//! [`model::Model::add_gradients`] over the operations of a backend ([`ops`], chosen by [`device`]), then [`optimizer::Optimizer`] at
//! the rate of [`schedule`].
//! The trainer never reads text but to print a sample, and [`trace`] what a step was trained on.
#![warn(missing_docs)]

pub mod ablate;
pub mod bench;
pub mod build;
pub mod chat;
pub mod checkpoint;
pub mod compare;
pub mod config;
pub mod data;
pub mod device;
pub mod documents;
pub mod error;
pub mod eval;
pub mod evaluation;
pub mod export;
pub mod held_out;
pub mod history;
pub mod import;
pub mod lr_find;
pub mod memory;
pub mod metrics;
pub mod model;
pub mod objective;
pub mod ops;
pub mod optimizer;
pub mod order;
pub mod origin;
pub mod parallel;
pub mod peak;
pub mod perplexity;
#[cfg(test)]
mod planted;
pub mod progress;
pub mod published;
pub mod random;
pub mod report;
pub mod run;
pub mod sample;
pub mod samples;
pub mod schedule;
pub mod strategy;
pub mod streaming;
pub mod sweep;
pub mod tensorboard;
pub mod trace;
pub mod train;
