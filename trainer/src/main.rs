//! The program `andromeda-train`.
fn main() {}
