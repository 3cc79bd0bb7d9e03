//! Lines and paragraphs as datatrove's rules cut them, each rule its own way (`huggingface/datatrove` 0.10,
//! `gopher_repetition_filter.py`, `gopher_quality_filter.py`, `fineweb_quality_filter.py`), in one walk.

use memchr::{memchr, memchr_iter, memchr3, memmem};
use xxhash_rust::xxh3::xxh3_64;

use super::characters::{count_characters, is_blank, strip, strip_end, strip_start};
use super::english::ends_terminal;
use super::repetition::Tally;
use super::{Fraction, for_each_line};

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

pub(super) fn lines_of(text: &str, tally: &mut Tally) -> Lines {
    let bytes = text.as_bytes();
    let mut lines = Lines::default();
    let other_breaks = has_other_breaks(text);
    let ascii = text.is_ascii();
    let breaks = memchr_iter(b'\n', bytes).count();
    lines.page.breaks = breaks as u64;
    tally.begin(breaks + 1);
    let mut rest = Some(text);
    while let Some(unread) = rest {
        let end = memchr(b'\n', unread.as_bytes());
        let line = &unread[..end.unwrap_or(unread.len())];
        rest = end.map(|end| &unread[end + 1..]);
        if !other_breaks && (end.is_some() || !line.is_empty()) {
            lines.take_split(line);
        }
        if line.is_empty() {
            continue;
        }
        let characters = if ascii {
            line.len() as u64
        } else {
            count_characters(line)
        };
        let slot = tally_slot(tally, line);
        let repeated = u64::from(tally.count(slot) > 1);
        lines.lines.count += 1;
        lines.lines.repeats += repeated;
        lines.lines.characters += repeated * characters;
        if !is_blank(line) {
            lines.page.count += 1;
            lines.page.terminal += u64::from(ends_terminal(line));
            lines.page.short += u64::from(characters <= SHORT_LINE_CHARACTERS);
            lines.page.repeated_characters += repeated * characters;
        }
    }
    if other_breaks {
        for_each_line(text, |_, line| lines.take_split(line));
    }
    let empty = u64::from(text.is_empty());
    let ends = u64::from(text.starts_with('\n')) + u64::from(text.ends_with('\n'));
    lines.lines.count += ends + empty;
    lines.lines.repeats += u64::from(ends == 2);
    lines.paragraphs = paragraphs_of(strip(text), tally);
    lines
}

fn tally_slot(tally: &mut Tally, piece: &str) -> u32 {
    tally.add(xxh3_64(piece.as_bytes()))
}

fn paragraphs_of(text: &str, tally: &mut Tally) -> Repeats {
    let finder = memmem::Finder::new(b"\n\n");
    let mut paragraphs = Repeats::default();
    tally.begin(finder.find_iter(text.as_bytes()).count() + 1);
    let mut rest = Some(text);
    while let Some(unread) = rest {
        let end = finder.find(unread.as_bytes());
        let paragraph = &unread[..end.unwrap_or(unread.len())];
        rest = end.map(|end| unread[end..].trim_start_matches('\n'));
        paragraphs.count += 1;
        // Most texts have one, which is long.
        if rest.is_some() || paragraphs.count > 1 {
            let slot = tally_slot(tally, paragraph);
            if tally.count(slot) > 1 {
                paragraphs.repeats += 1;
                paragraphs.characters += count_characters(paragraph);
            }
        }
    }
    paragraphs
}

impl Lines {
    fn take_split(&mut self, line: &str) {
        self.split += 1;
        let start = strip_start(line);
        self.bullets += u64::from(start.starts_with(['•', '-']));
        let end = strip_end(line);
        self.ellipses += u64::from(end.ends_with("...") || end.ends_with('…'));
    }
}

/// Whether Python's `splitlines` breaks anywhere but at `\n`.
pub(super) fn has_other_breaks(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr3(b'\r', 0xb, 0xc, bytes).is_some()
        || memchr3(0x1c, 0x1d, 0x1e, bytes).is_some()
        || (!text.is_ascii()
            && ["\u{85}", "\u{2028}", "\u{2029}"]
                .iter()
                .any(|mark| memmem::find(bytes, mark.as_bytes()).is_some()))
}

/// Lines that are not blank of up to so many characters.
pub(super) fn short_lines(text: &str, characters: u64) -> u64 {
    text.split('\n')
        .filter(|line| !is_blank(line) && count_characters(line) <= characters)
        .count() as u64
}
