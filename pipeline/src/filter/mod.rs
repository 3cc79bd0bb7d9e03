//! stub
#![allow(missing_docs, unused, clippy::all)]
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct FilterOptions { length: Option<Len>, gopher_quality: Option<Len>, gopher_repetition: Option<Len>, code: Option<Len> } impl FilterOptions { pub fn describe(&self) -> String { "x".into() } }
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Len { min_characters: Option<usize> }
#[derive(Debug, Clone, Copy, PartialEq)] pub enum Verdict { Keep, Drop(&'static str) }
pub struct Filters(usize); impl Filters { pub fn new(o: &FilterOptions) -> Self { Self(o.length.as_ref().and_then(|l| l.min_characters).unwrap_or(0)) } pub fn judge(&self, t: &str, s: &mut crate::analysis::Scratch) -> Verdict { if t.chars().count() < self.0 { Verdict::Drop("too-short") } else { Verdict::Keep } } }
