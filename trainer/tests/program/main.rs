//! Tests of `andromeda-train` as a process, on tiny builds.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall panic")]

mod ablate;
mod average;
mod begin;
mod chat;
mod compare;
mod datasets;
#[cfg(target_os = "linux")]
mod escapes;
mod evaluate;
#[cfg(target_os = "linux")]
mod execute;
mod export;
mod kills;
mod laid;
mod lr_find;
mod mixed;
mod objectives;
mod output;
mod parallel;
mod report;
mod resume;
mod strategies;
mod support;
mod sweep;
mod texts;
mod watched;
