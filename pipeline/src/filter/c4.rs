//! The rules of C4, which drop lines and then pages (Raffel et al. 2020, JMLR 21(140), section 2.2): `c4` as the
//! released code has them, `c4@datatrove` as datatrove does.
//!
//! Sources: `tensorflow/datasets`, `text/c4_utils.py` (a line needs five words, a page three sentences);
//! `huggingface/datatrove` 0.10, `pipeline/filters/c4_filters.py` (three words, counted before citations are cut, and
//! five sentences, as the paper says; `'` ends a line too). Bad words, language and the removal of lines that other
//! pages have are rules of their own.
//!
//! Sentences of `c4@datatrove` are spaCy's. Those of `c4` are NLTK's trained Punkt model upstream; here they are
//! spaCy's as well, which differ where a line holds an abbreviation: a page of just enough sentences may be judged
//! otherwise.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::{memchr, memmem};
use serde::{Deserialize, Serialize};

use super::verdict::{above, below, beyond};
use super::{Edit, Edited, FilterError, Reason, Verdict};
use crate::analysis::{
    Analysis, DECIMALS, count_characters, has_words, is_space, strip, strip_end, strip_start,
};

/// The switches of `c4`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct C4Options {
    /// Characters of a page at most; not asked where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_characters: Option<u64>,
    /// A line with a word of more characters goes.
    pub max_word_characters: u64,
    /// Whether `[1]`, `[edit]` and `[citation needed]` are cut.
    pub remove_citations: bool,
    /// Whether lines go that do not end in a mark, or end in `...`.
    pub require_terminal_mark: bool,
    /// Words of a line at least.
    pub min_line_words: usize,
    /// Whether pages go that say "lorem ipsum".
    pub drop_lorem_ipsum: bool,
    /// Whether lines go that say "javascript".
    pub drop_javascript_lines: bool,
    /// Whether pages go that hold `{`.
    pub drop_curly_bracket: bool,
    /// Whether lines go that speak of cookies, privacy or terms of use.
    pub drop_policy_lines: bool,
    /// Sentences of the lines that stay at least.
    pub min_sentences: u64,
}

impl Default for C4Options {
    fn default() -> Self {
        Self {
            max_characters: Some(190_000),
            max_word_characters: 1000,
            remove_citations: true,
            require_terminal_mark: true,
            min_line_words: 5,
            drop_lorem_ipsum: true,
            drop_javascript_lines: true,
            drop_curly_bracket: true,
            drop_policy_lines: true,
            min_sentences: 3,
        }
    }
}

/// The switches of `c4@datatrove`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct C4DatatroveOptions {
    /// A line with a word of more characters goes.
    pub max_word_characters: u64,
    /// Whether `[1]`, `[edit]` and `[citation needed]` are cut.
    pub remove_citations: bool,
    /// Whether lines go that do not end in a mark, or end in `...`. `FineWeb` has it off.
    pub require_terminal_mark: bool,
    /// Words of a line at least, before citations are cut.
    pub min_line_words: usize,
    /// Whether pages go that say "lorem ipsum".
    pub drop_lorem_ipsum: bool,
    /// Whether lines go that say "javascript".
    pub drop_javascript_lines: bool,
    /// Whether pages go that hold `{`.
    pub drop_curly_bracket: bool,
    /// Whether lines go that speak of cookies, privacy or terms of use.
    pub drop_policy_lines: bool,
    /// Sentences of the lines that stay at least.
    pub min_sentences: u64,
}

impl Default for C4DatatroveOptions {
    fn default() -> Self {
        Self {
            max_word_characters: 1000,
            remove_citations: true,
            require_terminal_mark: true,
            min_line_words: 3,
            drop_lorem_ipsum: true,
            drop_javascript_lines: true,
            drop_curly_bracket: true,
            drop_policy_lines: true,
            min_sentences: 5,
        }
    }
}

impl C4Options {
    // Every whole number makes sense.
    pub(super) fn check(&self, _: &mut Vec<FilterError>) {}
}

impl C4DatatroveOptions {
    pub(super) fn check(&self, _: &mut Vec<FilterError>) {}

    fn common(&self) -> C4Options {
        C4Options {
            max_characters: None,
            max_word_characters: self.max_word_characters,
            remove_citations: self.remove_citations,
            require_terminal_mark: self.require_terminal_mark,
            min_line_words: self.min_line_words,
            drop_lorem_ipsum: self.drop_lorem_ipsum,
            drop_javascript_lines: self.drop_javascript_lines,
            drop_curly_bracket: self.drop_curly_bracket,
            drop_policy_lines: self.drop_policy_lines,
            min_sentences: self.min_sentences,
        }
    }
}

/// Either of the two.
pub(super) struct C4 {
    options: C4Options,
    marks: &'static [u8],
    /// Whether words count before citations are cut.
    words_first: bool,
}

impl C4 {
    pub(super) fn released(options: &C4Options) -> Self {
        Self {
            options: options.clone(),
            marks: b".?!\"",
            words_first: false,
        }
    }

    pub(super) fn datatrove(options: &C4DatatroveOptions) -> Self {
        Self {
            options: options.common(),
            marks: b".?!\"'",
            words_first: true,
        }
    }
}

const PHRASES: [&str; 8] = [
    "lorem ipsum",
    "javascript",
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
];

/// What they end in, so that fewer are looked for.
const ENDS: [&str; 5] = [
    "lorem ipsum",
    "javascript",
    "terms of use",
    " policy",
    " cookies",
];

static FIND_ENDS: LazyLock<[memmem::Finder<'static>; 5]> =
    LazyLock::new(|| ENDS.map(memmem::Finder::new));

/// The phrases that stand in a stretch of text, a bit each.
fn phrases_in(hits: &[(usize, usize)], start: usize, end: usize) -> u8 {
    hits.iter()
        .filter(|(at, number)| *at >= start && at + PHRASES[*number].len() <= end)
        .fold(0, |found, (_, number)| found | 1 << number)
}

const LOREM_IPSUM: u8 = 1;
const JAVASCRIPT: u8 = 1 << 1;
const POLICY: u8 = !(LOREM_IPSUM | JAVASCRIPT);

/// What becomes of a line.
enum Line<'t> {
    Goes,
    /// It stays, with its tokens and sentences.
    Stays(Cow<'t, str>, u64, u64),
}

impl Edit for C4 {
    fn edit(&self, document: &Analysis<'_>) -> Result<Option<Edited>, Reason> {
        let page = self.judged(document)?;
        let text = document.text();
        let mut kept = page.asked.join("\n");
        let end = strip_end(&kept).len();
        kept.truncate(end);
        let lead = kept.len() - strip_start(&kept).len();
        kept.drain(..lead);
        Ok((kept != text).then_some(Edited {
            text: kept,
            tokens: Some(page.tokens),
        }))
    }

    fn check(&self, document: &Analysis<'_>) -> Verdict {
        self.judged(document).err().into()
    }
}

impl C4 {
    /// What is left of a page that stays.
    fn judged<'t>(&self, document: &Analysis<'t>) -> Result<Page<'t>, Reason> {
        let options = &self.options;
        let text = document.text();
        if let Some(max) = options.max_characters {
            let characters = document.character_count() as f64;
            above("c4-too-long", "characters", characters, max as f64).map_or(Ok(()), Err)?;
        }
        // The one character whose small letter is ASCII in one of the phrases, the sign for kelvin.
        let kelvin = text.contains('\u{212a}');
        // Few pages hold a phrase, and those that do not are told by the lines that are left of them.
        let mut page = self.page(document, &[], kelvin);
        let asked = page.asked.iter().map(|line| &**line);
        if document.holds_any(asked, &*FIND_ENDS) {
            let hits = hits_of(document);
            page = self.page(document, &hits, kelvin);
        }
        page.reason.take().map_or(Ok(()), Err)?;
        let (sentences, min) = (page.sentences as f64, options.min_sentences as f64);
        below("c4-few-sentences", "c4-sentences", sentences, min).map_or(Ok(()), Err)?;
        Ok(page)
    }
}

/// What is left of a page.
#[derive(Default)]
struct Page<'t> {
    /// The lines that were asked for phrases, which are those that stay, and the one at which the page went.
    asked: Vec<Cow<'t, str>>,
    tokens: u64,
    sentences: u64,
    /// Why the page goes, if it does for a line.
    reason: Option<Reason>,
}

/// Where phrases stand in a text, and which.
fn hits_of(document: &Analysis<'_>) -> Vec<(usize, usize)> {
    let text = document.text().as_bytes();
    let mut hits = Vec::new();
    document.for_each_phrase(&*FIND_ENDS, |at, number| {
        let end = at + ENDS[number].len();
        for (number, phrase) in PHRASES.iter().enumerate() {
            let start = end.checked_sub(phrase.len());
            let stretch = start.and_then(|start| text.get(start..end));
            if stretch.is_some_and(|found| found.eq_ignore_ascii_case(phrase.as_bytes())) {
                hits.push((end - phrase.len(), number));
            }
        }
    });
    hits
}

impl C4 {
    /// Whether a line ends in a mark, and not in an ellipsis.
    fn ends(&self, line: &str) -> bool {
        let last = line.as_bytes().last();
        last.is_some_and(|last| self.marks.contains(last)) && !line.ends_with("...")
    }

    /// Judges all lines, of which `hits` are the phrases.
    fn page<'t>(&self, document: &Analysis<'t>, hits: &[(usize, usize)], kelvin: bool) -> Page<'t> {
        let text = document.text();
        let citations = self.options.remove_citations && memchr(b'[', text.as_bytes()).is_some();
        let mut page = Page::default();
        for (at, line) in document.split_lines() {
            let start = at + (line.len() - strip_start(line).len());
            let stripped = strip(line);
            match self.judge(document, stripped, start, hits, kelvin, citations) {
                Ok(Line::Goes) => {}
                Ok(Line::Stays(line, tokens, sentences)) => {
                    page.tokens += tokens;
                    page.sentences += sentences;
                    page.asked.push(line);
                }
                Err(reason) => {
                    page.asked.push(Cow::Borrowed(stripped));
                    page.reason = Some(reason);
                    break;
                }
            }
        }
        page
    }

    fn judge<'t>(
        &self,
        document: &Analysis<'_>,
        stripped: &'t str,
        start: usize,
        hits: &[(usize, usize)],
        kelvin: bool,
        citations: bool,
    ) -> Result<Line<'t>, Reason> {
        let options = &self.options;
        // Most lines that go do so for this, and what ends in no bracket ends in the same when citations are cut.
        if options.require_terminal_mark
            && stripped.as_bytes().last() != Some(&b']')
            && !self.ends(stripped)
        {
            return Ok(Line::Goes);
        }
        let most = options.max_word_characters;
        // Characters are no more than bytes.
        if stripped.len() as u64 > most
            && stripped
                .split(is_space)
                .any(|word| count_characters(word) > most)
        {
            return Ok(Line::Goes);
        }
        let line = if citations {
            without_citations(stripped)
        } else {
            Cow::Borrowed(stripped)
        };
        if options.require_terminal_mark && !self.ends(&line) {
            return Ok(Line::Goes);
        }
        let counted = if self.words_first { stripped } else { &line };
        if !has_words(counted, options.min_line_words) {
            return Ok(Line::Goes);
        }
        let edited = matches!(line, Cow::Owned(_));
        let found = if edited || kelvin {
            let lower = line.to_lowercase();
            (0..8)
                .filter(|&i| lower.contains(PHRASES[i]))
                .fold(0, |found, i| found | 1 << i)
        } else if hits.is_empty() {
            0
        } else {
            phrases_in(hits, start, start + stripped.len())
        };
        if options.drop_lorem_ipsum && found & LOREM_IPSUM != 0 {
            return Err(beyond(
                "c4-lorem-ipsum",
                "c4-lorem-ipsum-lines",
                1.0,
                0.0,
                true,
            ));
        }
        if options.drop_javascript_lines && found & JAVASCRIPT != 0 {
            return Ok(Line::Goes);
        }
        if options.drop_curly_bracket && memchr(b'{', line.as_bytes()).is_some() {
            return Err(beyond(
                "c4-curly-bracket",
                "c4-curly-bracket-lines",
                1.0,
                0.0,
                true,
            ));
        }
        if options.drop_policy_lines && found & POLICY != 0 {
            return Ok(Line::Goes);
        }
        let (tokens, sentences) = if edited {
            document.tokens_and_sentences_of(&line)
        } else {
            document.tokens_and_sentences(start..start + stripped.len())
        };
        Ok(Line::Stays(line, tokens, sentences))
    }
}

/// A line without `[12]`, `[]`, `[edit]` and `[citation needed]`.
fn without_citations(line: &str) -> Cow<'_, str> {
    let mut result = Cow::Borrowed(line);
    let mut kept = 0;
    let mut at = 0;
    while let Some(open) = memchr(b'[', &line.as_bytes()[at..]) {
        let open = at + open;
        let inside = &line[open + 1..];
        let digits = inside
            .find(|c| !DECIMALS.contains(c))
            .unwrap_or(inside.len());
        let length = if inside[digits..].starts_with(']') {
            digits + 1
        } else if inside.starts_with("edit]") {
            5
        } else if inside.starts_with("citation needed]") {
            16
        } else {
            at = open + 1;
            continue;
        };
        let result = match &mut result {
            Cow::Owned(result) => result,
            borrowed @ Cow::Borrowed(_) => {
                *borrowed = Cow::Owned(String::with_capacity(line.len()));
                borrowed.to_mut()
            }
        };
        result.push_str(&line[kept..open]);
        at = open + 1 + length;
        kept = at;
    }
    if let Cow::Owned(result) = &mut result {
        result.push_str(&line[kept..]);
    }
    result
}

#[cfg(test)]
mod tests;
