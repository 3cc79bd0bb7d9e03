//! The program `andromeda`.
fn main() {}
