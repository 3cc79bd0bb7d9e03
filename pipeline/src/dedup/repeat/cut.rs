//! Cuts are laid so that what remains reads on, and made.

use std::borrow::Cow;
use std::ops::Range;

use memchr::{memchr, memrchr};

/// The text without its cuts, which are those found in it; nothing is put in their place. Where they are laid is the rest:
///
/// 1. Whole lines go with their line ends. If the line before them is blank, or there is none, the blank lines after them
///    go too: of the two gaps around what is cut, the first stays.
/// 2. A cut that begins within a line and goes on beyond it leaves that line its end, so that no line is joined to another,
///    and takes the spaces before it. One that begins and ends within a line takes the space on one side.
/// 3. A cut after which there is only white space reaches to the end of the text and takes the white space before it; if
///    the text ends with a line end, so does what remains. If nothing but white space would remain, all is cut.
///
/// # Panics
/// The cuts are not in order, or within a character, or beyond the text: they are another text's.
#[must_use]
pub fn remaining<'a>(text: &'a str, cuts: &[Range<u32>]) -> Cow<'a, str> {
    if cuts.is_empty() {
        return Cow::Borrowed(text);
    }
    let cut: u32 = cuts.iter().map(|cut| cut.end - cut.start).sum();
    let mut rest = String::with_capacity(text.len() - cut as usize);
    let mut at = 0;
    for cut in cuts {
        rest.push_str(&text[at..cut.start as usize]);
        at = cut.end as usize;
    }
    rest.push_str(&text[at..]);
    Cow::Owned(rest)
}

/// Lays cuts that begin and end at a line, a sentence or a word. They are in order and do not overlap; the text is
/// shorter than 4 GiB.
pub(super) fn lay(text: &str, ranges: &[Range<usize>]) -> Vec<Range<u32>> {
    let mut laid = Vec::new();
    let mut rest = ranges.iter().cloned().peekable();
    while let Some(mut range) = rest.next() {
        while let Some(next) = rest.next_if(|next| next.start <= range.end) {
            range.end = range.end.max(next.end);
        }
        lay_one(text, range, &mut laid);
    }
    lay_end(text, &mut laid);
    let narrow = |at| u32::try_from(at).unwrap_or(u32::MAX);
    laid.into_iter()
        .map(|range| narrow(range.start)..narrow(range.end))
        .collect()
}

/// Rules 1 and 2.
fn lay_one(text: &str, range: Range<usize>, laid: &mut Vec<Range<usize>>) {
    if begins_line(text, range.start) {
        let is_whole = begins_line(text, range.end);
        let end = if is_whole && follows_blank_line(text, range.start) {
            after_blank_lines(text, range.end)
        } else {
            range.end
        };
        add(laid, range.start..end);
        return;
    }
    match memchr(b'\n', &text.as_bytes()[range.clone()]) {
        None => add(laid, range),
        Some(at) => {
            let line_end = range.start + at;
            let head = &text[range.start..line_end];
            let head_end = range.start + head.strip_suffix('\r').unwrap_or(head).len();
            let head_start = text[..range.start].trim_end_matches([' ', '\t']).len();
            add(laid, head_start..head_end);
            add(laid, line_end + 1..range.end);
        }
    }
}

/// Rule 3.
fn lay_end(text: &str, laid: &mut Vec<Range<usize>>) {
    let Some(mut last) = laid.pop() else {
        return;
    };
    if !text[last.end..].trim_start().is_empty() {
        laid.push(last);
        return;
    }
    last.end = text.len();
    loop {
        let floor = laid.last().map_or(0, |before| before.end);
        let kept = floor + text[floor..last.start].trim_end().len();
        if kept > floor {
            last.start = kept;
            let body = text.strip_suffix('\n').unwrap_or(text);
            last.end = body.strip_suffix('\r').map_or(body.len(), |body| {
                if body.len() + 2 == text.len() {
                    body.len()
                } else {
                    body.len() + 1
                }
            });
            break;
        }
        match laid.pop() {
            Some(before) => last.start = before.start,
            None => {
                last.start = 0;
                break;
            }
        }
    }
    add(laid, last);
}

/// Ranges that are empty vanish, and those that touch become one.
fn add(laid: &mut Vec<Range<usize>>, range: Range<usize>) {
    if range.is_empty() {
        return;
    }
    match laid.last_mut() {
        Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
        _ => laid.push(range),
    }
}

fn begins_line(text: &str, at: usize) -> bool {
    at == 0 || at == text.len() || text.as_bytes()[at - 1] == b'\n'
}

/// Whether the line that ends at `at` is blank, or there is none.
fn follows_blank_line(text: &str, at: usize) -> bool {
    let before = &text[..at];
    let line = before.strip_suffix('\n').unwrap_or(before);
    let start = memrchr(b'\n', line.as_bytes()).map_or(0, |at| at + 1);
    line[start..].trim().is_empty()
}

fn after_blank_lines(text: &str, mut at: usize) -> usize {
    while at < text.len() {
        let line = memchr(b'\n', &text.as_bytes()[at..]).map_or(text.len(), |end| at + end + 1);
        if !text[at..line].trim().is_empty() {
            break;
        }
        at = line;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts what stands between brackets.
    fn cut(marked: &str) -> String {
        let mut text = String::new();
        let mut ranges = Vec::new();
        for character in marked.chars() {
            match character {
                '[' => ranges.push(text.len()..text.len()),
                ']' => ranges.last_mut().unwrap().end = text.len(),
                other => text.push(other),
            }
        }
        let cuts = lay(&text, &ranges);
        for pair in cuts.windows(2) {
            assert!(pair[0].end < pair[1].start, "{cuts:?}");
        }
        assert!(cuts.iter().all(|cut| cut.start < cut.end), "{cuts:?}");
        remaining(&text, &cuts).into_owned()
    }

    #[test]
    fn whole_lines_go_with_their_ends_and_one_gap_stays() {
        assert_eq!(cut("a\n[b\n]c\n"), "a\nc\n");
        assert_eq!(cut("[a\n]b\n"), "b\n");
        assert_eq!(cut("a\n\n[b\n]\nc"), "a\n\nc");
        assert_eq!(cut("a\n\n[b\n] \n\t\n\nc"), "a\n\nc");
        assert_eq!(cut("[a\n]\n[b\n]\nc"), "c");
        assert_eq!(cut("x\n[a\n]\n[b\n]\nc"), "x\n\nc");
        assert_eq!(cut("a\r\n\r\n[b\r\n]\r\nc\r\n"), "a\r\n\r\nc\r\n");
        assert_eq!(cut("\n[a\n]\nb"), "\nb");
    }

    #[test]
    fn a_cut_within_lines_joins_none_of_them() {
        assert_eq!(cut("One. [Two. ]Three."), "One. Three.");
        assert_eq!(cut("One. [Two.\nThree. ]Four."), "One.\nFour.");
        assert_eq!(cut("One. \t[Two.\r\nThree.\r\n]Four."), "One.\r\nFour.");
        assert_eq!(cut("One. [Two.\n]\nThree."), "One.\n\nThree.");
        assert_eq!(
            cut("\u{4e00}\u{3002}[\u{4e8c}\u{3002}]\u{4e09}"),
            "\u{4e00}\u{3002}\u{4e09}"
        );
        assert_eq!(cut("a\n[One. ]Two.\n"), "a\nTwo.\n");
    }

    #[test]
    fn the_end_of_a_text_stays_as_it_was() {
        assert_eq!(cut("a\n\n[b]"), "a");
        assert_eq!(cut("a\n\n[b\n]"), "a\n");
        assert_eq!(cut("a\r\n\r\n[b\r\n]"), "a\r\n");
        assert_eq!(cut("a\n[b\n]\n \n"), "a\n");
        assert_eq!(cut("One. [Two.\nThree.\n]"), "One.\n");
        assert_eq!(cut("One. [Two.]"), "One.");
        assert_eq!(cut("a [b]\r"), "a");
        assert_eq!(cut(" \n[b\n] "), "");
        assert_eq!(cut("[b]"), "");
        assert_eq!(cut("\n[a\n]\n[b\n]\n"), "");
        assert_eq!(cut("[a\n]b\n[c\n]"), "b\n");
    }

    #[test]
    fn a_text_without_cuts_is_borrowed() {
        assert!(matches!(remaining("a", &[]), Cow::Borrowed("a")));
        assert_eq!(lay("a", &[]), []);
    }
}
