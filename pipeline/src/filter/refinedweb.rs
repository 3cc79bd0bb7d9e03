//! The line rules of `RefinedWeb` (Penedo et al. 2023, arXiv 2306.01116, appendix G.2) as DataComp-LM reproduces them:
//! lines go that are capitals, numbers, counters ("3 likes") or single words, and phrases of menus are cut from short
//! lines; then the page goes if more than a twentieth of its words did.
//!
//! Source: `mlfoundations/dclm`, `baselines_configs/dclm_baseline_refinedweb.yaml` and `baselines/mappers/modifiers.py`.
//! Words of the last rule are fastText tokens that begin with a letter or digit. Addresses inside the text, which that
//! recipe cuts first, are left: it needs a list of top-level domains that changes by the month.

use serde::{Deserialize, Serialize};

use super::verdict::{above, beyond};
use super::{Edit, Edited, FilterError, Reason, check_thresholds};
use crate::analysis::{
    ALPHANUMERICS, Analysis, DECIMALS, Scratch, count_characters, is_space, strip,
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
        let share = |line: &str, count: usize| count as f64 / count_characters(line) as f64;
        // One step after the other, each on what the last one left, as blank ends are cut between them.
        let steps: [&dyn Fn(&str) -> bool; 3] = [
            &|line| {
                let capitals = line.chars().filter(|c| c.is_uppercase()).count();
                share(line, capitals) <= options.max_uppercase_fraction
            },
            &|line| {
                let digits = line.chars().filter(|&c| is_digit(c)).count();
                share(line, digits) <= options.max_digit_fraction
            },
            &|line| !is_counter(line),
        ];
        let mut text = document.text().to_owned();
        for step in steps {
            text = with_lines(&text, |line| {
                (line.is_empty() || step(line)).then_some(line)
            });
            text = nonempty(strip(&text).to_owned())?;
        }
        text = nonempty(with_lines(&text, |line| {
            (line.is_empty() || words(line) >= options.min_line_words).then_some(line)
        }))?;
        for cut in [cut_inside, cut_end, cut_start] {
            let mut buffer = String::new();
            text = with_lines_into(&text, |line, out| {
                if words(line) > options.max_menu_line_words {
                    out.push_str(line);
                    return true;
                }
                buffer.clear();
                cut(line, &mut buffer);
                out.push_str(&buffer);
                line.is_empty() || !buffer.chars().all(is_space)
            });
            text = nonempty(strip(&text).to_owned())?;
        }
        if text == document.text() {
            return if before == 0 { Err(REMOVED) } else { Ok(None) };
        }
        let mut scratch = Scratch::default();
        let after = Analysis::new(&text, &mut scratch).map_or(0, |left| left.split_words().tokens);
        if before == 0 {
            return Err(REMOVED);
        }
        let removed = (before as f64 - after as f64) / before as f64;
        above(
            "refinedweb-removed-words",
            "refinedweb-removed-word-fraction",
            removed,
            options.max_removed_word_fraction,
        )
        .map_or(Ok(Some(Edited { text, tokens: None })), Err)
    }
}

const REMOVED: Reason = beyond("refinedweb-nothing-left", "dclm-words", 0.0, 1.0, false);

fn nonempty(text: String) -> Result<String, Reason> {
    if text.is_empty() {
        Err(REMOVED)
    } else {
        Ok(text)
    }
}

fn with_lines(text: &str, keep: impl Fn(&str) -> Option<&str>) -> String {
    let kept: Vec<&str> = text.split('\n').filter_map(keep).collect();
    kept.join("\n")
}

fn with_lines_into(text: &str, mut take: impl FnMut(&str, &mut String) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut first = true;
    for line in text.split('\n') {
        let end = out.len();
        if !first {
            out.push('\n');
        }
        if take(line, &mut out) {
            first = false;
        } else {
            out.truncate(end);
        }
    }
    out
}

fn words(line: &str) -> usize {
    line.split(is_space).filter(|word| !word.is_empty()).count()
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

/// Cuts "items in cart" anywhere, with a space before.
fn cut_inside(line: &str, out: &mut String) {
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
}

/// Cuts "read more" and three characters at the end, with a space before.
fn cut_end(line: &str, out: &mut String) {
    let start = line
        .char_indices()
        .rev()
        .nth(11)
        .map_or(line.len(), |(at, _)| at);
    if phrase_length(&line[start..], "read more...") == Some(line.len() - start)
        && start < line.len()
    {
        let before = &line[..start];
        let space = before.chars().next_back().filter(|&c| is_space(c));
        out.push_str(&before[..before.len() - space.map_or(0, char::len_utf8)]);
    } else {
        out.push_str(line);
    }
}

/// Cuts "sign-in" at the start, with a space after.
fn cut_start(line: &str, out: &mut String) {
    match phrase_length(line, "sign-in") {
        None => out.push_str(line),
        Some(length) => {
            let rest = &line[length..];
            out.push_str(rest.strip_prefix(is_space).unwrap_or(rest));
        }
    }
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
