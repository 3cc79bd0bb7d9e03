//! Lines and paragraphs as datatrove's rules cut them, each rule its own way (`huggingface/datatrove` 0.10,
//! `gopher_repetition_filter.py`, `gopher_quality_filter.py`, `fineweb_quality_filter.py`), in one walk.

use std::ops::Range;

use memchr::{memchr3, memmem};
use xxhash_rust::xxh3::xxh3_64;

use super::characters::{count_characters, is_blank, strip_end, strip_start};
use super::english::ends_terminal;
use super::repetition::Tally;
use super::{Fraction, SplitLines};

pub(super) mod breaks;

/// Pieces of a text, and those that stood there before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repeats {
    /// All.
    pub count: u64,
    /// Those of which an earlier one is equal.
    pub repeats: u64,
    /// Characters of these.
    pub characters: u64,
}

impl Repeats {
    /// Repeats by number.
    #[must_use]
    pub fn fraction(&self) -> Fraction {
        Fraction {
            part: self.repeats,
            whole: self.count,
        }
    }
}

/// Lines that are not blank, between `\n`, as FineWeb's filter has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PageLines {
    /// Those that are not blank.
    pub count: u64,
    /// Those whose last character ends a sentence in some script.
    pub terminal: u64,
    /// Those of up to thirty characters.
    pub short: u64,
    /// Characters of those of which an earlier one is equal.
    pub repeated_characters: u64,
    /// How many `\n` there are, the ends of blank lines too.
    pub breaks: u64,
}

/// All of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Between runs of `\n`; a run at either end leaves an empty piece there.
    pub lines: Repeats,
    /// Between runs of two `\n` or more, of the stripped text.
    pub paragraphs: Repeats,
    /// Lines as Python's `splitlines` makes them, blank ones included.
    pub split: u64,
    /// Those of them that start with `•` or `-` after space.
    pub bullets: u64,
    /// Those of them that end in `...` or `…` before space.
    pub ellipses: u64,
    /// FineWeb's lines.
    pub page: PageLines,
}

/// Lines up to this are short in [`PageLines::short`].
pub const SHORT_LINE_CHARACTERS: u64 = 30;

/// `ends` are the places of `\n`, and `ascii` says that there is nothing else in the text.
pub(super) fn lines_of(
    text: &str,
    ends: &[u32],
    ascii: bool,
    other_breaks: bool,
    tally: &mut Tally,
) -> Lines {
    let mut lines = Lines::default();
    lines.page.breaks = ends.len() as u64;
    tally.begin(ends.len() + 1);
    let mut paragraphs = Paragraphs::of(text);
    let mut next = 0;
    let ends = ends.iter().map(|&end| (end as usize, true));
    for (end, breaks) in ends.chain([(text.len(), false)]) {
        let (start, line) = (next, &text[next..end]);
        next = end + 1;
        if line.is_empty() {
            lines.split += u64::from(breaks && !other_breaks);
            paragraphs.end();
            continue;
        }
        let visible = strip_start(line);
        if !other_breaks {
            lines.take_split(visible);
        }
        let characters = if ascii {
            line.len() as u64
        } else {
            count_characters(line)
        };
        let hash = xxh3_64(line.as_bytes());
        paragraphs.take(text, start, line.len(), hash, characters);
        let slot = tally.add(hash);
        let repeated = u64::from(tally.count(slot) > 1);
        lines.lines.count += 1;
        lines.lines.repeats += repeated;
        lines.lines.characters += repeated * characters;
        if !visible.is_empty() {
            lines.page.count += 1;
            lines.page.terminal += u64::from(ends_terminal(line));
            lines.page.short += u64::from(characters <= SHORT_LINE_CHARACTERS);
            lines.page.repeated_characters += repeated * characters;
        }
    }
    if other_breaks {
        SplitLines::new(text).for_each(|(_, line)| lines.take_split(strip_start(line)));
    }
    let empty = u64::from(text.is_empty());
    let ends = u64::from(text.starts_with('\n')) + u64::from(text.ends_with('\n'));
    lines.lines.count += ends + empty;
    lines.lines.repeats += u64::from(ends == 2);
    lines.paragraphs = paragraphs.count(tally);
    lines
}

/// The paragraphs of a stripped text, told apart by the hashes of their lines.
struct Paragraphs {
    /// Where the stripped text stands.
    text: Range<usize>,
    /// Hash and characters, of those that are over.
    over: Vec<(u64, u64)>,
    /// The same of the one that goes on, if one does.
    now: Option<(u64, u64)>,
}

impl Paragraphs {
    fn of(text: &str) -> Self {
        let start = text.len() - strip_start(text).len();
        Self {
            text: start..strip_end(text).len().max(start),
            over: Vec::new(),
            now: None,
        }
    }

    /// Takes the next line that is not empty, of which `text` is the whole.
    #[inline]
    fn take(&mut self, text: &str, start: usize, length: usize, hash: u64, characters: u64) {
        let end = start + length;
        let (mut hash, mut characters) = (hash, characters);
        if start < self.text.start || end > self.text.end {
            let line = start.max(self.text.start)..end.min(self.text.end);
            if line.is_empty() {
                return;
            }
            hash = xxh3_64(&text.as_bytes()[line.clone()]);
            characters = count_characters(&text[line]);
        }
        self.now = Some(match self.now {
            None => (hash, characters),
            // A break between them. Places matter, so equal lines do not cancel out.
            Some((before, so_far)) => (
                before.rotate_left(23).wrapping_mul(MULTIPLIER) ^ hash,
                so_far + characters + 1,
            ),
        });
    }

    /// Takes an empty line.
    #[inline]
    fn end(&mut self) {
        self.over.extend(self.now.take());
    }

    fn count(mut self, tally: &mut Tally) -> Repeats {
        self.end();
        let mut paragraphs = Repeats {
            // Of nothing, Python's `split` makes one piece.
            count: self.over.len().max(1) as u64,
            ..Repeats::default()
        };
        if self.over.len() > 1 {
            tally.begin(self.over.len());
            for (hash, characters) in self.over {
                let slot = tally.add(hash);
                if tally.count(slot) > 1 {
                    paragraphs.repeats += 1;
                    paragraphs.characters += characters;
                }
            }
        }
        paragraphs
    }
}

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

impl Lines {
    /// Takes a line without the space before it.
    #[inline]
    fn take_split(&mut self, line: &str) {
        self.split += 1;
        self.bullets += u64::from(line.starts_with('-') || line.starts_with('•'));
        let end = strip_end(line);
        self.ellipses += u64::from(end.ends_with("...") || end.ends_with('…'));
    }
}

/// Whether Python's `splitlines` breaks anywhere but at `\n`.
pub(super) fn has_other_breaks(text: &str, found: breaks::Bytes) -> bool {
    let bytes = text.as_bytes();
    let holds = |mark: &str| memmem::find(bytes, mark.as_bytes()).is_some();
    (found.control
        && (memchr3(b'\r', 0xb, 0xc, bytes).is_some()
            || memchr3(0x1c, 0x1d, 0x1e, bytes).is_some()))
        || (found.beyond_ascii && ["\u{85}", "\u{2028}", "\u{2029}"].into_iter().any(holds))
}

/// Lines that are not blank of up to so many characters.
pub(super) fn short_lines(text: &str, characters: u64) -> u64 {
    text.split('\n')
        .filter(|line| !is_blank(line) && count_characters(line) <= characters)
        .count() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analysis::characters::{is_line_break, is_space};
    use crate::analysis::tests::any_text;
    use crate::analysis::{Analysis, Scratch};

    fn slow_repeats(pieces: &[&str]) -> Repeats {
        let before = |at: usize| pieces[..at].contains(&pieces[at]);
        let repeated = (0..pieces.len()).filter(|&at| before(at));
        Repeats {
            count: pieces.len() as u64,
            repeats: repeated.clone().count() as u64,
            characters: repeated.map(|at| pieces[at].chars().count() as u64).sum(),
        }
    }

    /// Python's `re.split` at runs of `\n` of a length or more.
    fn split_at_runs(text: &str, least: usize) -> Vec<&str> {
        let mut pieces = Vec::new();
        let (mut start, mut at) = (0, 0);
        while let Some(found) = text[at..].find('\n') {
            let first = at + found;
            let run = text[first..]
                .bytes()
                .take_while(|&byte| byte == b'\n')
                .count();
            at = first + run;
            if run >= least {
                pieces.push(&text[start..first]);
                start = at;
            }
        }
        pieces.push(&text[start..]);
        pieces
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn lines_and_paragraphs_equal_those_of_the_obvious_way(text in any_text()) {
            let mut scratch = Scratch::default();
            let lines = Analysis::new(&text, &mut scratch).unwrap().lines();
            prop_assert_eq!(lines.lines, slow_repeats(&split_at_runs(&text, 1)));
            let stripped = text.trim_matches(is_space);
            prop_assert_eq!(lines.paragraphs, slow_repeats(&split_at_runs(stripped, 2)));
            let joined = text.replace("\r\n", "\n");
            let mut split: Vec<&str> = joined.split(is_line_break).collect();
            if split.last() == Some(&"") {
                split.pop();
            }
            prop_assert_eq!(lines.split, split.len() as u64);
            let bullets = split.iter().filter(|line| line.trim_start_matches(is_space).starts_with(['•', '-']));
            prop_assert_eq!(lines.bullets, bullets.count() as u64);
            let page: Vec<&str> = text.split('\n').filter(|line| !line.chars().all(is_space)).collect();
            prop_assert_eq!(lines.page.count, page.len() as u64);
            prop_assert_eq!(lines.page.repeated_characters, slow_repeats(&page).characters);
        }
    }
}
