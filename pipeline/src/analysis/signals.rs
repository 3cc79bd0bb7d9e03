//! The statistics that rules rest on, by name: what they count, in which unit, and whose definition it is.
//!
//! Names are stable. A row of chosen signals costs no more than the rules that need them: each is read from the
//! shared [`Analysis`].

use super::{Analysis, Fraction, TokenKind};

/// A statistic of a document.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Its name, which begins with its publisher's.
    pub name: &'static str,
    /// What it is, in which unit.
    pub about: &'static str,
    /// Whose definition it is.
    pub source: &'static str,
    /// The number; 0 where it would be a part of nothing.
    pub value: fn(&Analysis<'_>) -> f64,
}

const UNICODE: &str = "Unicode scalars";
const DCLM: &str = "mlfoundations/dclm, baselines/mappers/filters/content_filters.py";
const DATATROVE: &str = "huggingface/datatrove 0.10, pipeline/filters";
const DOLMA: &str = "allenai/dolma 1.2, python/dolma/taggers/gopher.py, gopher_v1";
const BIGCODE: &str = "bigcode-project/bigcode-dataset, preprocessing/filtering.py";

/// Part of whole; 0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    Fraction { part, whole }.value()
}

const ENGLISH: TokenKind = TokenKind::English;

macro_rules! signals {
    ($($name:literal, $source:ident, $about:literal, $value:expr;)*) => {
        /// All of them, those of one publisher together.
        pub const SIGNALS: &[Signal] = &[$(Signal {
            name: $name,
            about: $about,
            source: $source,
            value: $value,
        },)*];
    };
}

signals! {
    "characters", UNICODE, "characters", |d| d.character_count() as f64;
    "alphanumeric-fraction", UNICODE, "letters and digits, of all characters", |d| share(d.characters().alphanumeric, d.characters().count);
    "code-lines", BIGCODE, "lines at every kind of line end", |d| d.all_lines().count as f64;
    "code-longest-line-characters", BIGCODE, "characters of the longest line", |d| d.all_lines().longest as f64;
    "code-mean-line-characters", BIGCODE, "mean characters a line", |d| share(d.all_lines().characters, d.all_lines().count);
    "dclm-words", DCLM, "fastText tokens that begin with a letter or digit", |d| d.split_words().tokens as f64;
    "dclm-split-words", DCLM, "words split at space", |d| d.split_words().count as f64;
    "dclm-mean-word-characters", DCLM, "mean characters a word split at space", |d| share(d.split_words().characters, d.split_words().count);
    "dclm-symbol-word-fraction", DCLM, "`#` and ellipses a word", |d| share(d.symbols(), d.split_words().count);
    "dclm-bullet-line-fraction", DCLM, "lines that start with a bullet, of those that are not blank", |d| share(d.layout().bullets, d.layout().lines.count);
    "dclm-ellipsis-line-fraction", DCLM, "lines that end in an ellipsis, of those that are not blank", |d| share(d.layout().ellipses, d.layout().lines.count);
    "dclm-non-alphabetic-word-fraction", DCLM, "words without a letter, of all", |d| share(d.split_words().without_letter, d.split_words().count);
    "dclm-stop-words", DCLM, "occurrences of eight English stop words, in any case", |d| d.split_words().stop_words as f64;
    "dclm-lines", DCLM, "lines that are not blank", |d| d.layout().lines.count as f64;
    "dclm-duplicate-line-fraction", DCLM, "lines that have an equal, of all", |d| d.layout().lines.duplicate_fraction().value();
    "dclm-duplicate-paragraph-fraction", DCLM, "paragraphs that have an equal, of all", |d| d.layout().paragraphs.duplicate_fraction().value();
    "dclm-duplicate-line-character-fraction", DCLM, "characters of lines that have an equal, of those of all", |d| d.layout().lines.duplicate_character_fraction().value();
    "dclm-duplicate-paragraph-character-fraction", DCLM, "characters of paragraphs that have an equal, of those of all", |d| d.layout().paragraphs.duplicate_character_fraction().value();
    "dclm-top-2-gram-fraction", DCLM, "characters of the most frequent word 2-gram times its count, of all words'", |d| d.ngrams().top[0].value();
    "dclm-top-3-gram-fraction", DCLM, "characters of the most frequent word 3-gram times its count, of all words'", |d| d.ngrams().top[1].value();
    "dclm-top-4-gram-fraction", DCLM, "characters of the most frequent word 4-gram times its count, of all words'", |d| d.ngrams().top[2].value();
    "dclm-duplicate-5-gram-fraction", DCLM, "characters of words in a repeated 5-gram, of all words'", |d| d.ngrams().duplicate[0].value();
    "dclm-duplicate-6-gram-fraction", DCLM, "characters of words in a repeated 6-gram, of all words'", |d| d.ngrams().duplicate[1].value();
    "dclm-duplicate-7-gram-fraction", DCLM, "characters of words in a repeated 7-gram, of all words'", |d| d.ngrams().duplicate[2].value();
    "dclm-duplicate-8-gram-fraction", DCLM, "characters of words in a repeated 8-gram, of all words'", |d| d.ngrams().duplicate[3].value();
    "dclm-duplicate-9-gram-fraction", DCLM, "characters of words in a repeated 9-gram, of all words'", |d| d.ngrams().duplicate[4].value();
    "dclm-duplicate-10-gram-fraction", DCLM, "characters of words in a repeated 10-gram, of all words'", |d| d.ngrams().duplicate[5].value();
    "datatrove-tokens", DATATROVE, "tokens of spaCy's English tokenizer", |d| d.token_count(ENGLISH) as f64;
    "datatrove-words", DATATROVE, "tokens that are not all punctuation", |d| d.tokens(ENGLISH).words as f64;
    "datatrove-mean-word-characters", DATATROVE, "mean characters of those", |d| share(d.tokens(ENGLISH).word_characters, d.tokens(ENGLISH).words);
    "datatrove-hash-token-fraction", DATATROVE, "`#` a token", |d| share(occurrences(d.text(), "#"), d.token_count(ENGLISH));
    "datatrove-ellipsis-token-fraction", DATATROVE, "`...` and `…` a token", |d| share(occurrences(d.text(), "...") + occurrences(d.text(), "…"), d.token_count(ENGLISH));
    "datatrove-bullet-line-fraction", DATATROVE, "lines that start with `•` or `-`, of all", |d| share(d.lines().bullets, d.lines().split);
    "datatrove-ellipsis-line-fraction", DATATROVE, "lines that end in an ellipsis, of all", |d| share(d.lines().ellipses, d.lines().split);
    "datatrove-alphabetic-token-fraction", DATATROVE, "tokens with a letter, of all", |d| share(d.tokens(ENGLISH).with_letter, d.token_count(ENGLISH));
    "datatrove-stop-words", DATATROVE, "how many of eight English stop words occur, in small letters", |d| d.tokens(ENGLISH).stop_words as f64;
    "datatrove-duplicate-paragraph-fraction", DATATROVE, "paragraphs that stood before, of all", |d| d.lines().paragraphs.fraction().value();
    "datatrove-duplicate-paragraph-character-fraction", DATATROVE, "characters of paragraphs that stood before, of the text's", |d| share(d.lines().paragraphs.characters, d.character_count());
    "datatrove-duplicate-line-fraction", DATATROVE, "lines that stood before, of all", |d| d.lines().lines.fraction().value();
    "datatrove-duplicate-line-character-fraction", DATATROVE, "characters of lines that stood before, of the text's", |d| share(d.lines().lines.characters, d.character_count());
    "datatrove-top-2-gram-fraction", DATATROVE, "characters of the most frequent token 2-gram times its count, of the text's", |d| d.token_ngrams(ENGLISH).top[0].value();
    "datatrove-top-3-gram-fraction", DATATROVE, "characters of the most frequent token 3-gram times its count, of the text's", |d| d.token_ngrams(ENGLISH).top[1].value();
    "datatrove-top-4-gram-fraction", DATATROVE, "characters of the most frequent token 4-gram times its count, of the text's", |d| d.token_ngrams(ENGLISH).top[2].value();
    "datatrove-duplicate-5-gram-fraction", DATATROVE, "characters of 5-grams that stood before, of the text's", |d| d.token_ngrams(ENGLISH).duplicate[0].value();
    "datatrove-duplicate-6-gram-fraction", DATATROVE, "characters of 6-grams that stood before, of the text's", |d| d.token_ngrams(ENGLISH).duplicate[1].value();
    "datatrove-duplicate-7-gram-fraction", DATATROVE, "characters of 7-grams that stood before, of the text's", |d| d.token_ngrams(ENGLISH).duplicate[2].value();
    "datatrove-duplicate-8-gram-fraction", DATATROVE, "characters of 8-grams that stood before, of the text's", |d| d.token_ngrams(ENGLISH).duplicate[3].value();
    "datatrove-duplicate-9-gram-fraction", DATATROVE, "characters of 9-grams that stood before, of the text's", |d| d.token_ngrams(ENGLISH).duplicate[4].value();
    "datatrove-duplicate-10-gram-fraction", DATATROVE, "characters of 10-grams that stood before, of the text's", |d| d.token_ngrams(ENGLISH).duplicate[5].value();
    "fineweb-terminal-line-fraction", DATATROVE, "lines that end a sentence, of those that are not blank", |d| share(d.lines().page.terminal, d.lines().page.count);
    "fineweb-short-line-fraction", DATATROVE, "lines of up to 30 characters, of those that are not blank", |d| share(d.lines().page.short, d.lines().page.count);
    "fineweb-duplicate-line-character-fraction", DATATROVE, "characters of lines that stood before, of all but line ends", |d| share(d.lines().page.repeated_characters, d.character_count() - d.lines().page.breaks);
    "fineweb-line-break-token-fraction", DATATROVE, "line ends a token", |d| share(d.lines().page.breaks, d.token_count(ENGLISH));
    "dolma-words", DOLMA, "words split at space", |d| d.dolma().words as f64;
    "dolma-median-word-characters", DOLMA, "median characters a word", |d| d.dolma().median_word_characters;
    "dolma-symbol-word-fraction", DOLMA, "words that hold `#` or `…`, of all", |d| share(d.dolma().with_symbol, d.dolma().words);
    "dolma-alphabetic-word-fraction", DOLMA, "words with a letter, of all", |d| share(d.dolma().with_letter, d.dolma().words);
    "dolma-stop-words", DOLMA, "occurrences of eight English stop words, in small letters", |d| d.dolma().stop_words as f64;
    "dolma-bullet-line-fraction", DOLMA, "lines that start with `*` or `-`, of all", |d| share(d.dolma().bullets, d.dolma().lines);
    "dolma-ellipsis-line-fraction", DOLMA, "lines that end in `…`, of all", |d| share(d.dolma().ellipses, d.dolma().lines);
    "dolma-duplicate-line-fraction", DOLMA, "lines that have an equal, of all", |d| share(d.dolma().duplicate_lines, d.dolma().lines);
    "dolma-duplicate-line-character-fraction", DOLMA, "characters of lines that have an equal, of all words'", |d| share(d.dolma().duplicate_line_characters, d.dolma().characters.max(1));
    "dolma-top-2-gram-fraction", DOLMA, "characters of the most frequent word 2-gram times its count, of all words'", |d| share(d.dolma().top[0], d.dolma().characters);
    "dolma-top-3-gram-fraction", DOLMA, "characters of the most frequent word 3-gram times its count, of all words'", |d| share(d.dolma().top[1], d.dolma().characters);
    "dolma-top-4-gram-fraction", DOLMA, "characters of the most frequent word 4-gram times its count, of all words'", |d| share(d.dolma().top[2], d.dolma().characters);
    "dolma-duplicate-5-gram-fraction", DOLMA, "characters of repeated 5-grams, of those of all 5-grams", |d| d.dolma().duplicate[0].value();
    "dolma-duplicate-6-gram-fraction", DOLMA, "characters of repeated 6-grams, of those of all 6-grams", |d| d.dolma().duplicate[1].value();
    "dolma-duplicate-7-gram-fraction", DOLMA, "characters of repeated 7-grams, of those of all 7-grams", |d| d.dolma().duplicate[2].value();
    "dolma-duplicate-8-gram-fraction", DOLMA, "characters of repeated 8-grams, of those of all 8-grams", |d| d.dolma().duplicate[3].value();
    "dolma-duplicate-9-gram-fraction", DOLMA, "characters of repeated 9-grams, of those of all 9-grams", |d| d.dolma().duplicate[4].value();
    "dolma-duplicate-10-gram-fraction", DOLMA, "characters of repeated 10-grams, of those of all 10-grams", |d| d.dolma().duplicate[5].value();
}

/// Occurrences of `part` that do not overlap.
pub(crate) fn occurrences(text: &str, part: &str) -> u64 {
    memchr::memmem::find_iter(text.as_bytes(), part.as_bytes()).count() as u64
}

/// A name that no signal has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no signal is called `{name}`{}", .nearest.map(|name| format!(": did you mean `{name}`?")).unwrap_or_default())]
pub struct UnknownSignal {
    /// The name.
    pub name: String,
    /// The one most like it.
    pub nearest: Option<&'static str>,
}

/// The signals of these names, in their order.
///
/// # Errors
/// The first name that is unknown.
pub fn chosen<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Vec<Signal>, UnknownSignal> {
    names
        .into_iter()
        .map(|name| {
            let known = SIGNALS.iter().find(|signal| signal.name == name);
            known.copied().ok_or_else(|| UnknownSignal {
                name: name.to_owned(),
                nearest: crate::written::nearest(name, SIGNALS.iter().map(|signal| signal.name)),
            })
        })
        .collect()
}

impl Signal {
    /// Its column in a table: its name with `_` for `-`, as SQL wants names.
    #[must_use]
    pub fn column(&self) -> String {
        self.name.replace('-', "_")
    }
}

/// The signals that `names` ask for, each once: a name, or the beginning of several with a `*`.
///
/// # Errors
/// The first name that asks for nothing.
pub fn asked<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Vec<Signal>, UnknownSignal> {
    let mut asked: Vec<Signal> = Vec::new();
    for name in names {
        let found: Vec<Signal> = match name.strip_suffix('*') {
            Some(beginning) => SIGNALS
                .iter()
                .filter(|signal| signal.name.starts_with(beginning))
                .copied()
                .collect(),
            None => Vec::new(),
        };
        let found = if found.is_empty() {
            chosen([name])?
        } else {
            found
        };
        for signal in found {
            if asked.iter().all(|other| other.name != signal.name) {
                asked.push(signal);
            }
        }
    }
    Ok(asked)
}

/// Puts the values of `signals` for a document into `row`, one each.
pub fn fill(signals: &[Signal], document: &Analysis<'_>, row: &mut Vec<f64>) {
    row.clear();
    row.extend(signals.iter().map(|signal| (signal.value)(document)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Scratch;

    #[test]
    fn names_are_told_apart_and_unknown_ones_refused() {
        let names: std::collections::BTreeSet<_> = SIGNALS.iter().map(|s| s.name).collect();
        assert_eq!(names.len(), SIGNALS.len());
        let error = chosen(["characters", "dclm-word"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no signal is called `dclm-word`: did you mean `dclm-words`?"
        );
    }

    #[test]
    fn a_star_asks_for_all_that_begin_so_and_none_comes_twice() {
        let names = |asked: &[&str]| -> Vec<&str> {
            super::asked(asked.iter().copied())
                .unwrap()
                .iter()
                .map(|s| s.name)
                .collect()
        };
        assert_eq!(names(&["characters", "fineweb-*", "characters"]).len(), 5);
        assert_eq!(names(&["*"]).len(), SIGNALS.len());
        assert!(super::asked(["zz*"]).is_err());
        assert_eq!(
            super::asked(["characters"]).unwrap()[0].column(),
            "characters"
        );
    }

    #[test]
    fn a_row_has_the_chosen_values_and_an_empty_text_has_all() {
        let mut scratch = Scratch::default();
        let mut row = Vec::new();
        let signals = chosen(["datatrove-tokens", "characters", "dclm-split-words"]).unwrap();
        let document = Analysis::new("Don't stop.", &mut scratch).unwrap();
        fill(&signals, &document, &mut row);
        assert_eq!(row, [4.0, 11.0, 2.0]);
        for text in ["", " ", "\n\n", "#", "\0"] {
            let document = Analysis::new(text, &mut scratch).unwrap();
            fill(SIGNALS, &document, &mut row);
            assert_eq!(row.len(), SIGNALS.len());
            assert!(
                row.iter().all(|value| value.is_finite()),
                "{text:?} {row:?}"
            );
        }
    }
}
