//! The loopback hub as a program.
fn main() {}
