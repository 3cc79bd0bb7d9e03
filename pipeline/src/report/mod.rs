//! What a build is like, for people: its report as a page, its data card, its rejected documents, and how it differs from
//! another build. Everything is read from the build's own files; texts come from the intermediates, while they are there.

pub mod card;
pub mod charts;
pub mod columns;
pub mod diff;
pub mod page;
pub mod rejects;
pub mod signals;
#[cfg(feature = "tables")]
pub mod sql;
pub mod summary;
pub mod taken;
pub mod tune;
