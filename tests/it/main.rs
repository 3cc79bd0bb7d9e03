//! Cross-crate tests.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing, its helpers too"
)]

mod hub;
