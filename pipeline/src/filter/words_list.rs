//! Bad words: documents that have an entry of a list go.
//!
//! Two published rules. `datatrove`: `C4BadWordsFilter` of `pipeline/filters/c4_filters.py`, version 0.10.1: an entry between
//! characters that are no part of a word, in the text in lower case; in Japanese, Thai and Chinese anywhere. `c4`: the
//! released code of C4 (`tensorflow/datasets`, `c4_utils.py`): an entry between characters other than `a` to `z`, on a line,
//! of which both have to be there, so that an entry at the beginning or end of a line does not count.
//!
//! A share of the documents may stay all the same. Which ones is drawn from the hash of the text, so that it depends on
//! nothing else (there it is drawn from a generator, in the order of the documents). No list is part of the program.

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, MatchKind};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::lists::Lists;

/// Where an entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordsRule {
    /// datatrove's.
    Datatrove,
    /// C4's.
    C4,
}

/// A profile's `bad-words` table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BadWordsOptions {
    /// Files with lists, absolute or relative to the manifests' folder, plain or gzip.
    pub lists: Vec<String>,
    /// Where an entry counts.
    pub rule: WordsRule,
    /// The language of the lists, which decides on boundaries: `ja`, `th` and `zh` have none.
    pub language: String,
    /// Entries that do not count, such as parts of common words.
    pub allow: Vec<String>,
    /// The share of documents with an entry that stays.
    pub keep_fraction: f64,
}

impl Default for BadWordsOptions {
    fn default() -> Self {
        Self {
            lists: Vec::new(),
            rule: WordsRule::Datatrove,
            language: "en".to_owned(),
            allow: Vec::new(),
            keep_fraction: 0.0,
        }
    }
}

impl BadWordsOptions {
    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &String> {
        self.lists.iter()
    }

    /// What makes no sense: the key, and what to write.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        if self.lists.is_empty() {
            faults.push((
                "lists",
                "nothing is listed: name files with one entry a line",
            ));
        }
        if !(0.0..=1.0).contains(&self.keep_fraction) {
            faults.push(("keep-fraction", "a share is from 0 to 1"));
        }
        faults
    }
}

/// The seed of the draw: another draw than any other of the same hash.
const SEED: u64 = 0x6261_6477_6f72_6473;

/// The lists of a table, read.
#[derive(Debug)]
pub(super) struct BadWordsFilter {
    options: BadWordsOptions,
    entries: Option<(AhoCorasick, Vec<String>)>,
}

impl BadWordsFilter {
    /// # Errors
    /// What is wrong with a list, in words.
    pub(super) fn new(options: &BadWordsOptions, lists: &Lists) -> Result<Self, String> {
        let mut entries = BTreeSet::new();
        for file in &options.lists {
            lists.each_line(file, &mut |line| {
                let line = line.trim();
                if !line.is_empty() && !options.allow.iter().any(|word| word == line) {
                    // Texts are compared in lower case, where no other entry could be.
                    entries.insert(line.to_lowercase());
                }
            })?;
        }
        let entries: Vec<String> = entries.into_iter().collect();
        let entries = match entries.is_empty() {
            true => None,
            false => {
                let automaton = AhoCorasick::builder()
                    .match_kind(MatchKind::Standard)
                    .build(&entries)
                    .map_err(|error| error.to_string())?;
                Some((automaton, entries))
            }
        };
        Ok(Self {
            options: options.clone(),
            entries,
        })
    }

    /// The entry for which a document goes.
    pub(super) fn check(&self, text: &str) -> Option<(&'static str, String)> {
        let (automaton, entries) = self.entries.as_ref()?;
        let lower = text.to_lowercase();
        let bounded = !matches!(self.options.language.as_str(), "ja" | "th" | "zh");
        let rule = self.options.rule;
        let hit = automaton.find_overlapping_iter(&lower).find(|hit| {
            let before = lower[..hit.start()].chars().next_back();
            let after = lower[hit.end()..].chars().next();
            match rule {
                WordsRule::Datatrove => {
                    !bounded || (before.is_none_or(is_outside) && after.is_none_or(is_outside))
                }
                WordsRule::C4 => {
                    let outside = |c: char| !c.is_ascii_lowercase() && !is_line_end(c);
                    before.is_some_and(outside) && after.is_some_and(outside)
                }
            }
        })?;
        if self.options.keep_fraction > 0.0 {
            let draw = xxh3_64_with_seed(text.as_bytes(), SEED);
            // 53 bits are a number from 0 to 1.
            let draw = (draw >> 11) as f64 / (1u64 << 53) as f64;
            if draw < self.options.keep_fraction {
                return None;
            }
        }
        Some(("bad-word", entries[hit.pattern().as_usize()].clone()))
    }
}

/// Whether a character is none of Python's `\w`.
fn is_outside(c: char) -> bool {
    !(c.is_alphanumeric() || c == '_')
}

/// Where Python's `splitlines` divides.
fn is_line_end(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(options: &str) -> BadWordsFilter {
        let options: BadWordsOptions =
            toml::from_str(&format!("lists = [\"words\"]\n{options}")).unwrap();
        assert_eq!(options.faults(), []);
        let lists = Lists::of_texts(&[("words", "Darn\nbad word\n\u{6027}\nsm\n")]);
        BadWordsFilter::new(&options, &lists).unwrap()
    }

    fn drops(filter: &BadWordsFilter, text: &str) -> bool {
        filter.check(text).is_some()
    }

    #[test]
    fn an_entry_counts_between_characters_of_no_word() {
        let filter = filter("");
        // What the expression `(?:\W|^)(darn|bad\ word|...)(?:\W|$)` of datatrove finds, in the text in lower case.
        for (text, expected) in [
            ("darn", true),
            ("Oh DARN!", true),
            ("darned", false),
            ("un_darn", false),
            ("so-darn-good", true),
            ("a bad word here", true),
            ("a bad  word here", false),
            ("\u{e9}darn", false),
            ("it is \u{6027}.", true),
            ("it is \u{4e2d}\u{6027}", false),
        ] {
            assert_eq!(drops(&filter, text), expected, "{text}");
        }
        assert_eq!(filter.check("A Bad Word.").unwrap().1, "bad word");
    }

    #[test]
    fn in_scripts_without_spaces_it_counts_anywhere_unless_it_is_allowed() {
        let filter = filter("language = \"zh\"\nallow = [\"sm\"]");
        assert!(drops(&filter, "\u{4e2d}\u{6027}\u{4e2d}"));
        assert!(!drops(&filter, "small"));
    }

    #[test]
    fn the_rule_of_c4_wants_a_character_on_both_sides() {
        let filter = filter("rule = \"c4\"");
        // What the expression `[^a-z](darn|...)[^a-z]` finds on a line in lower case.
        for (text, expected) in [
            ("oh darn it", true),
            ("darn it", false),
            ("oh darn", false),
            ("oh\ndarn it", false),
            ("un_darn_ed", true),
            ("1darn2", true),
            ("\u{e9}darn\u{e9}", true),
            ("darned it", false),
        ] {
            assert_eq!(drops(&filter, text), expected, "{text}");
        }
    }

    #[test]
    fn the_share_that_stays_depends_on_the_text_alone() {
        let half = filter("keep-fraction = 0.5");
        let texts: Vec<String> = (0..2000).map(|i| format!("darn number {i}")).collect();
        let kept = texts.iter().filter(|text| !drops(&half, text)).count();
        // A thousand, and four times the square root of 2000 / 4 around it.
        assert!((911..=1089).contains(&kept), "{kept}");
        let again = filter("keep-fraction = 0.5");
        assert!(
            texts
                .iter()
                .all(|text| drops(&half, text) == drops(&again, text))
        );
        let all = filter("keep-fraction = 1.0");
        assert!(texts.iter().all(|text| !drops(&all, text)));
        let none = filter("");
        assert!(texts.iter().all(|text| drops(&none, text)));
    }

    #[test]
    fn options_that_make_no_sense_are_told() {
        let wrong = BadWordsOptions {
            keep_fraction: f64::NAN,
            ..BadWordsOptions::default()
        };
        assert_eq!(wrong.faults().len(), 2);
    }
}
