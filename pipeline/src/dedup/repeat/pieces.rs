//! Lines and paragraphs: what is hashed of each and what is cut.

use std::ops::Range;

use memchr::memchr;

/// Calls back with each line of at least `min_chars` characters: its content without the white space around it, and
/// where it stands with its line end. Only `\n` ends a line; a `\r` before it is white space.
pub(super) fn for_each_line(text: &str, min_chars: u32, mut each: impl FnMut(&str, Range<usize>)) {
    for_any_line(text, |line, range| {
        if has_chars(line, min_chars) {
            each(line, range);
        }
    });
}

/// Calls back with each paragraph of at least `min_chars` characters: from its first character that is not white space to
/// its last, and where it stands with its last line end.
pub(super) fn for_each_paragraph(
    text: &str,
    min_chars: u32,
    mut each: impl FnMut(&str, Range<usize>),
) {
    let mut paragraph: Option<Range<usize>> = None;
    let mut close = |paragraph: Option<Range<usize>>| {
        if let Some(range) = paragraph {
            let content = text[range.clone()].trim();
            if has_chars(content, min_chars) {
                each(content, range);
            }
        }
    };
    for_any_line(text, |line, range| {
        if line.is_empty() {
            close(paragraph.take());
        } else {
            let start = paragraph.take().map_or(range.start, |begun| begun.start);
            paragraph = Some(start..range.end);
        }
    });
    close(paragraph);
}

/// Calls back with each line, trimmed and blank ones included, and where it stands.
pub(super) fn for_any_line(text: &str, mut each: impl FnMut(&str, Range<usize>)) {
    let mut start = 0;
    while start < text.len() {
        let end = memchr(b'\n', &text.as_bytes()[start..]).map_or(text.len(), |at| start + at + 1);
        each(text[start..end].trim(), start..end);
        start = end;
    }
}

/// Whether there are at least so many characters, and one.
fn has_chars(content: &str, min_chars: u32) -> bool {
    let wanted = min_chars.max(1) as usize;
    content.len() >= wanted && (content.len() / 4 >= wanted || content.chars().count() >= wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, min_chars: u32) -> Vec<(String, Range<usize>)> {
        let mut found = Vec::new();
        for_each_line(text, min_chars, |line, range| {
            found.push((line.to_owned(), range));
        });
        found
    }

    fn paragraphs(text: &str, min_chars: u32) -> Vec<(String, Range<usize>)> {
        let mut found = Vec::new();
        for_each_paragraph(text, min_chars, |paragraph, range| {
            found.push((paragraph.to_owned(), range));
        });
        found
    }

    #[test]
    fn lines_are_trimmed_and_stand_with_their_ends() {
        let found = lines("  one\r\n\n\u{3000}\ntwo \u{a0}\n\0", 0);
        let expected = [("one", 0..7), ("two", 12..19), ("\0", 19..20)];
        assert_eq!(
            found,
            expected.map(|(line, range)| (line.to_owned(), range))
        );
    }

    #[test]
    fn length_counts_characters() {
        assert_eq!(
            lines("four\n\u{4f60}\u{597d}\u{4f60}\u{597d}\nsix", 4).len(),
            2
        );
        assert_eq!(lines("\u{4f60}\u{597d}\u{4f60}", 4), []);
        assert_eq!(lines("    }    \n", 4), []);
        assert_eq!(lines("", 0), []);
        assert_eq!(lines("\n \n", 0), []);
    }

    #[test]
    fn paragraphs_are_the_same_whatever_the_line_ends() {
        for text in [
            "a\n b\n\nc\n \t\n\n d",
            "\n\na\r\n b\r\n\r\nc\r\n \r\n d\r\n\n",
        ] {
            let contents: Vec<String> = paragraphs(text, 0)
                .into_iter()
                .map(|(content, range)| {
                    assert_eq!(text[range].trim(), content);
                    content.replace('\r', "")
                })
                .collect();
            assert_eq!(contents, ["a\n b", "c", "d"]);
        }
        assert_eq!(paragraphs("a\n\nb\n", 0)[0].1, 0..2);
        assert_eq!(paragraphs(" \n\t", 0), []);
    }
}
