//! Support for the cross-crate tests: a hub that lives on this machine's loopback interface.
//!
//! [`LoopbackHub`] speaks the part of the dataset hub's protocol that our client and the Python library need, serves
//! [`Repository`]s from folders or from memory, stands in for the hosts of other files, and misbehaves on request ([`Fault`]).
//! The program `andromeda-hub` is the same hub for people and other programs.

pub mod corpus;
mod hub;
mod repository;
pub mod samples;
mod server;

pub use hub::{Fault, HubConfig, LoopbackHub, Misbehaviour, Seen};
pub use repository::{Content, RemoteEntry, Repository};
pub use server::{Allowance, Manner, Reply, Request, Server};
