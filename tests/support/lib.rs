//! Support for the cross-crate tests: a hub that lives on this machine's loopback interface.
//!
//! [`LoopbackHub`] speaks the part of the dataset hub's protocol that our client and the Python library need, serves
//! [`Repository`]s from folders or from memory, stands in for the hosts of other files, and misbehaves on request ([`Fault`]).
//! The program `andromeda-hub` is the same hub for people and other programs.

mod completed;
pub mod corpus;
mod hub;
mod repository;
pub mod samples;
mod server;

/// Says on stderr, past the test runner's capture, that a test did not run for want of something on this machine. Where
/// `ANDROMEDA_TESTS_SKIP=never` is set, as on machines that were made for the tests, that is a failure.
///
/// # Panics
/// The test may not be skipped here.
pub fn skip(why: &str) {
    assert!(
        std::env::var("ANDROMEDA_TESTS_SKIP").as_deref() != Ok("never"),
        "not to be skipped here: {why}"
    );
    let _ = std::io::Write::write_all(
        &mut std::io::stderr(),
        format!("skipped: {why}\n").as_bytes(),
    );
}

pub use hub::{Fault, HubConfig, LoopbackHub, Misbehaviour, Seen};
pub use repository::{Content, RemoteEntry, Repository};
pub use server::{Allowance, Manner, Reply, Request, Server};
