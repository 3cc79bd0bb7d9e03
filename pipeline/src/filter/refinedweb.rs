//! The line rules of `RefinedWeb` (Penedo et al. 2023, arXiv 2306.01116, appendix G.2) as DataComp-LM reproduces them:
//! lines go that are capitals, numbers, counters ("3 likes") or single words, and phrases of menus are cut from short
//! lines; then the page goes if more than a twentieth of its words did.
//!
//! Source: `mlfoundations/dclm`, `baselines_configs/dclm_baseline_refinedweb.yaml` and `baselines/mappers/modifiers.py`.
//! Words of the last rule are fastText tokens that begin with a letter or digit. Addresses inside the text, which that
//! recipe cuts first, are left: it needs a list of top-level domains that changes by the month.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::verdict::{above, beyond};
use super::{Edit, Edited, FilterError, Reason, check_thresholds};
use crate::analysis::{
    ALPHANUMERICS, Analysis, DECIMALS, count_characters, has_words, is_blank, is_space, strip_end,
    strip_start, tokens_of,
};

/// Thresholds of the line rules. A value on a threshold passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RefinedwebLinesOptions {
    /// Capitals of a line, of its characters.
    pub max_uppercase_fraction: f64,
    /// Digits of a line, of its characters.
    pub max_digit_fraction: f64,
    /// Words of a line at least.
    pub min_line_words: usize,
    /// Words up to which menu phrases are cut from a line.
    pub max_menu_line_words: usize,
    /// Words that went, of those of the page.
    pub max_removed_word_fraction: f64,
}

impl Default for RefinedwebLinesOptions {
    fn default() -> Self {
        Self {
            max_uppercase_fraction: 0.5,
            max_digit_fraction: 0.999_999,
            min_line_words: 2,
            max_menu_line_words: 10,
            max_removed_word_fraction: 0.05,
        }
    }
}

impl RefinedwebLinesOptions {
    pub(super) fn check(&self, errors: &mut Vec<FilterError>) {
        let thresholds = [
            ("max-uppercase-fraction", self.max_uppercase_fraction),
            ("max-digit-fraction", self.max_digit_fraction),
            ("max-removed-word-fraction", self.max_removed_word_fraction),
        ];
        check_thresholds("refinedweb-lines", &thresholds, errors);
    }
}

pub(super) struct RefinedwebLines(pub(super) RefinedwebLinesOptions);

impl Edit for RefinedwebLines {
    fn edit(&self, document: &Analysis<'_>) -> Result<Option<Edited>, Reason> {
        let options = &self.0;
        let before = document.split_words().tokens;
        let mut page = Page::new(document.text());
        // One step after the other, each on what the last one left, as blank ends are cut between them.
        page.keep(|line| {
            let share = share(line, |byte| byte.is_ascii_uppercase(), char::is_uppercase);
            share <= options.max_uppercase_fraction
        });
        page.strip()?;
        page.keep(|line| {
            let share = share(line, |byte| byte.is_ascii_digit(), is_digit);
            share <= options.max_digit_fraction
        });
        page.strip()?;
        page.keep(|line| !is_counter(line));
        page.strip()?;
        page.keep(|line| has_words(line, options.min_line_words));
        if page.lines.iter().all(|line| line.now.is_empty()) && page.lines.len() < 2 {
            return Err(REMOVED);
        }
        for cut in [cut_inside, cut_end, cut_start] {
            page.cut(options.max_menu_line_words, cut);
            page.strip()?;
        }
        if before == 0 {
            return Err(REMOVED);
        }
        if !page.changed {
            return Ok(None);
        }
        let after = page.tokens(before);
        let removed = (before as f64 - after as f64) / before as f64;
        above(
            "refinedweb-removed-words",
            "refinedweb-removed-word-fraction",
            removed,
            options.max_removed_word_fraction,
        )
        .map_or_else(
            || {
                let text = page.text();
                Ok(Some(Edited { text, tokens: None }))
            },
            Err,
        )
    }
}

const REMOVED: Reason = beyond("refinedweb-nothing-left", "dclm-words", 0.0, 1.0, false);

/// A line, as it was and as it is.
struct Line<'t> {
    was: &'t str,
    now: Cow<'t, str>,
}

/// The lines that are left of a text.
struct Page<'t> {
    lines: Vec<Line<'t>>,
    /// Tokens of lines that went.
    removed: u64,
    /// Whether anything did.
    changed: bool,
}

impl<'t> Page<'t> {
    fn new(text: &'t str) -> Self {
        let line = |was| Line {
            was,
            now: Cow::Borrowed(was),
        };
        Self {
            lines: text.split('\n').map(line).collect(),
            removed: 0,
            changed: false,
        }
    }

    /// Keeps empty lines and those that `keep` says yes to.
    fn keep(&mut self, keep: impl Fn(&str) -> bool) {
        let (removed, changed) = (&mut self.removed, &mut self.changed);
        self.lines.retain(|line| {
            let stays = line.now.is_empty() || keep(&line.now);
            if !stays {
                *removed += tokens_of(line.was);
                *changed = true;
            }
            stays
        });
    }

    /// Cuts phrases from lines of few words; a line of which nothing but space is left goes.
    fn cut(&mut self, most_words: usize, cut: fn(&str) -> Option<String>) {
        let (removed, changed) = (&mut self.removed, &mut self.changed);
        self.lines.retain_mut(|line| {
            if line.now.is_empty() || has_words(&line.now, most_words + 1) {
                return true;
            }
            if let Some(left) = cut(&line.now) {
                line.now = Cow::Owned(left);
                *changed = true;
            }
            let stays = !is_blank(&line.now);
            if !stays {
                *removed += tokens_of(line.was);
                *changed = true;
            }
            stays
        });
    }

    /// `str.strip` of the text: blank lines at its ends go, and blank ends of what is then first and last.
    fn strip(&mut self) -> Result<(), Reason> {
        let first = self.lines.iter().position(|line| !is_blank(&line.now));
        let last = self.lines.iter().rposition(|line| !is_blank(&line.now));
        let (Some(first), Some(last)) = (first, last) else {
            return Err(REMOVED);
        };
        let blank = self.lines[..first].iter().chain(&self.lines[last + 1..]);
        self.removed += blank.map(|line| tokens_of(line.was)).sum::<u64>();
        self.changed |= first > 0 || last + 1 < self.lines.len();
        self.lines.truncate(last + 1);
        self.lines.drain(..first);
        if let Some(line) = self.lines.first_mut() {
            self.changed |= trim(line, strip_start);
        }
        if let Some(line) = self.lines.last_mut() {
            self.changed |= trim(line, strip_end);
        }
        Ok(())
    }

    /// Tokens of what is left, of `before` in all: no token goes beyond a line.
    fn tokens(&self, before: u64) -> u64 {
        let edited = self
            .lines
            .iter()
            .filter(|line| line.now.len() != line.was.len());
        let mut tokens = before - self.removed;
        for line in edited {
            tokens = tokens + tokens_of(&line.now) - tokens_of(line.was);
        }
        tokens
    }

    fn text(&self) -> String {
        let bytes = self.lines.iter().map(|line| line.now.len() + 1).sum();
        let mut text = String::with_capacity(bytes);
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            text.push_str(&line.now);
        }
        text
    }
}

/// Whether anything was trimmed.
fn trim(line: &mut Line<'_>, trimmed: impl Fn(&str) -> &str) -> bool {
    let left = match &line.now {
        Cow::Borrowed(text) => Cow::Borrowed(trimmed(text)),
        Cow::Owned(text) => Cow::Owned(trimmed(text).to_owned()),
    };
    let less = left.len() < line.now.len();
    line.now = left;
    less
}

/// Characters of a kind, of all of a line that is not empty.
fn share(line: &str, of_ascii: impl Fn(&u8) -> bool, of_all: impl Fn(char) -> bool) -> f64 {
    let (found, all) = if line.is_ascii() {
        let found = line.as_bytes().iter().filter(|byte| of_ascii(byte));
        (found.count(), line.len() as u64)
    } else {
        let found = line.chars().filter(|&character| of_all(character));
        (found.count(), count_characters(line))
    };
    found as f64 / all as f64
}

/// Python's `isdigit`: decimals, and the small, raised, circled and other digits.
fn is_digit(character: char) -> bool {
    DECIMALS.contains(character)
        || (!character.is_ascii()
            && matches!(character,
                '\u{b2}' | '\u{b3}' | '\u{b9}' | '\u{1369}'..='\u{1371}' | '\u{19da}' | '\u{2070}'
                | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}' | '\u{2460}'..='\u{2468}'
                | '\u{2474}'..='\u{247c}' | '\u{2488}'..='\u{2490}' | '\u{24ea}'
                | '\u{24f5}'..='\u{24fd}' | '\u{24ff}' | '\u{2776}'..='\u{277e}'
                | '\u{2780}'..='\u{2788}' | '\u{278a}'..='\u{2792}' | '\u{10a40}'..='\u{10a43}'
                | '\u{10e60}'..='\u{10e68}' | '\u{11052}'..='\u{1105a}' | '\u{1f100}'..='\u{1f10a}'))
}

const COUNTED: [&str; 12] = [
    "likes",
    "shares",
    "comments",
    "retweets",
    "reposts",
    "quotes",
    "bookmarks",
    "upvotes",
    "downvotes",
    "downloads",
    "views",
    "followers",
];

/// Whether a line says how often something was liked, shared, viewed, and nothing else.
fn is_counter(line: &str) -> bool {
    let in_word = |c: char| c == '_' || ALPHANUMERICS.contains(c);
    // Nearly every line begins with a word that is no number.
    let first = line.chars().find(|&c| in_word(c));
    if !first.is_some_and(|c| DECIMALS.contains(c)) {
        return false;
    }
    let lower = line.to_lowercase();
    let rest = lower.trim_start_matches(|c| !in_word(c));
    let number = rest.trim_start_matches(|c| c == ',' || c == '.' || DECIMALS.contains(c));
    if !rest.starts_with(|c| DECIMALS.contains(c)) {
        return false;
    }
    let unit = number.strip_prefix(['k', 'm', 'b']).unwrap_or(number);
    let word = unit.trim_start_matches(is_space);
    word.len() < unit.len()
        && COUNTED
            .iter()
            .filter_map(|counted| word.strip_prefix(counted))
            .any(|after| !after.contains(in_word))
}

/// Whether `text` begins with ASCII small letters `phrase`, in any case; a full stop stands for any character.
fn phrase_length(text: &str, phrase: &str) -> Option<usize> {
    let mut rest = text.chars();
    for wanted in phrase.chars() {
        let found = rest.next()?;
        if wanted != '.' && !found.eq_ignore_ascii_case(&wanted) {
            return None;
        }
    }
    Some(text.len() - rest.as_str().len())
}

/// Cuts "items in cart" anywhere, with a space before. Nothing where it does not stand, as for the other two.
fn cut_inside(line: &str) -> Option<String> {
    const PHRASE: &[u8] = b"items in cart";
    let mut windows = line.as_bytes().windows(PHRASE.len());
    if !windows.any(|window| window.eq_ignore_ascii_case(PHRASE)) {
        return None;
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let after_space = if is_space(first) { first.len_utf8() } else { 0 };
        let hit = phrase_length(&rest[after_space..], "items in cart")
            .map(|length| after_space + length)
            .or_else(|| phrase_length(rest, "items in cart"));
        match hit {
            Some(length) => rest = &rest[length..],
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    Some(out)
}

/// Cuts "read more" and three characters at the end, with a space before.
fn cut_end(line: &str) -> Option<String> {
    let (start, _) = line.char_indices().rev().nth(11)?;
    phrase_length(&line[start..], "read more...")?;
    let before = &line[..start];
    let space = before.chars().next_back().filter(|&c| is_space(c));
    Some(before[..before.len() - space.map_or(0, char::len_utf8)].to_owned())
}

/// Cuts "sign-in" at the start, with a space after.
fn cut_start(line: &str) -> Option<String> {
    let rest = &line[phrase_length(line, "sign-in")?..];
    Some(rest.strip_prefix(is_space).unwrap_or(rest).to_owned())
}

/// Runs of three line ends or more become two: `refinedweb-newlines`.
pub(super) struct RefinedwebNewlines;

impl Edit for RefinedwebNewlines {
    fn edit(&self, document: &Analysis<'_>) -> Result<Option<Edited>, Reason> {
        let text = document.text();
        if !text.contains("\n\n\n") {
            return Ok(None);
        }
        let mut out = String::with_capacity(text.len());
        let mut breaks = 0;
        for character in text.chars() {
            breaks = if character == '\n' { breaks + 1 } else { 0 };
            if breaks <= 2 {
                out.push(character);
            }
        }
        Ok(Some(Edited {
            text: out,
            tokens: None,
        }))
    }
}

#[cfg(test)]
mod tests;
