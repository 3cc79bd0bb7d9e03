//! stub until merged
#[derive(Debug, Default)]
pub struct Scratch;
