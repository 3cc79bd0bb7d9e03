//! Rules that ask for more than the text: a document's address, the name of its file, its language, its licence, and lists
//! that stand in files.
//!
//! They judge before the rules on text, the cheapest first, and say with the reason what it was: the entry of a list, the
//! name, the value.

use super::FilterOptions;
use super::code::files;
use super::lists::Lists;
use super::url_lists::UrlFilter;
use super::words_list::BadWordsFilter;
use crate::analysis::{Analysis, Scratch};
use crate::tokenize::Tokenizer;

/// What a row says of a document beside its text, as far as rules ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Its address.
    pub url: Option<String>,
    /// The path of its file, where the document is one.
    pub path: Option<String>,
    /// The language of a program, as the row calls it.
    pub language: Option<String>,
    /// Its licences.
    pub licences: Vec<String>,
}

/// The rules of a profile that ask for more than the text.
#[derive(Debug)]
pub struct BesideFilters {
    options: FilterOptions,
    url: Option<UrlFilter>,
    bad_words: Option<BadWordsFilter>,
    tokenizer: Option<Tokenizer>,
}

impl BesideFilters {
    /// Reads the lists. `None` where a profile has no such rule.
    ///
    /// # Errors
    /// What is wrong with a list, in words that name it.
    pub fn new(options: &FilterOptions, lists: &Lists) -> Result<Option<Self>, String> {
        if !options.asks_beside() {
            return Ok(None);
        }
        let url = options.url.as_ref().map(|url| UrlFilter::new(url, lists));
        let words = options.bad_words.as_ref();
        let words = words.map(|words| BadWordsFilter::new(words, lists));
        Ok(Some(Self {
            options: options.clone(),
            url: url.transpose()?,
            bad_words: words.transpose()?,
            tokenizer: match &options.code_files {
                Some(code) => code.load(lists)?,
                None => None,
            },
        }))
    }

    /// The rule that drops a document, and what it found. Total: every document has a verdict.
    pub fn judge(
        &self,
        about: &About,
        text: &str,
        scratch: &mut Scratch,
    ) -> Option<(&'static str, String)> {
        let url = self.url.as_ref();
        if let Some(found) = url.and_then(|url| url.check(about.url.as_deref())) {
            return Some(found);
        }
        let licence = self.options.licence.as_ref();
        if let Some(found) = licence.and_then(|licence| licence.check(about)) {
            return Some(found);
        }
        if let Some(options) = &self.options.code_files
            && let Some(document) = Analysis::new(text, scratch)
            && let Some(found) = files::check(options, about, self.tokenizer.as_ref(), &document)
        {
            return Some(found);
        }
        self.bad_words.as_ref().and_then(|words| words.check(text))
    }
}

impl FilterOptions {
    /// Whether a profile has a rule that asks for more than the text.
    #[must_use]
    pub fn asks_beside(&self) -> bool {
        self.url.is_some()
            || self.bad_words.is_some()
            || self.code_files.is_some()
            || self.licence.is_some()
    }
}
