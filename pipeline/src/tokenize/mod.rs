//! stub
#![allow(missing_docs, unused, clippy::all)]
#[derive(Debug, thiserror::Error)] #[error("x")] pub struct TokenizeError; pub struct EncodeError; impl EncodeError { pub fn reason(&self) -> &'static str { "" } }
pub struct Tokenizer; impl Tokenizer { pub fn load(p: &std::path::Path, e: Option<&str>) -> Result<Self, TokenizeError> { todo!() } pub fn encode(&self, t: &str, i: &mut Vec<u32>) -> Result<(), EncodeError> { todo!() } pub fn decode(&self, i: &[u32]) -> String { todo!() } pub fn vocab_size(&self) -> u32 { 0 } pub fn end_of_text(&self) -> (u32, &str) { todo!() } pub fn kind(&self) -> &str { "" } pub fn encoder_name(&self) -> &str { "" } }
#[derive(Default)] pub struct TrainOptions { pub vocab_size: u32 } pub fn train(t: impl Iterator<Item = String> + Send, o: &TrainOptions) -> Result<Vec<u8>, TokenizeError> { todo!() }
