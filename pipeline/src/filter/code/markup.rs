//! How much of an HTML file a reader sees.
//!
//! What `bigcode-project/bigcode-dataset` takes for it: the text without tags, comments, scripts and styles, its lines
//! without white space around them, blank ones left out. Tags are told by their marks alone, as a browser that is given
//! broken pages does; character references count as they are written.

use memchr::memmem;

/// Characters that a reader sees, line ends between them included.
pub(super) fn visible(html: &str) -> u64 {
    let mut text = String::with_capacity(html.len() / 4);
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        rest = if let Some(comment) = rest.strip_prefix("<!--") {
            after(comment, "-->")
        } else if let Some(name) = hidden(rest) {
            let content = after(rest, ">");
            end_of(content, name)
        } else if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
            after(rest, ">")
        } else {
            text.push('<');
            &rest[1..]
        };
    }
    text.push_str(rest);
    let mut characters = 0;
    for line in text.lines() {
        for part in line
            .split("  ")
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            characters += part.chars().count() as u64 + 1;
        }
    }
    // Between the parts, not after the last.
    u64::saturating_sub(characters, 1)
}

/// What stands after the first `mark`; nothing if there is none.
fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    memmem::find(text.as_bytes(), mark.as_bytes()).map_or("", |at| &text[at + mark.len()..])
}

/// The name of an element that is not shown, if a tag that begins here opens one.
fn hidden(text: &str) -> Option<&'static str> {
    ["script", "style"].into_iter().find(|name| {
        let tag = text.as_bytes().get(1..=name.len());
        let next = text.as_bytes().get(1 + name.len());
        tag.is_some_and(|tag| tag.eq_ignore_ascii_case(name.as_bytes()))
            && next.is_none_or(|next| !next.is_ascii_alphanumeric())
    })
}

/// What stands after the end tag of an element.
fn end_of<'a>(mut text: &'a str, name: &str) -> &'a str {
    while let Some(at) = text.find("</") {
        let rest = &text[at + 2..];
        let found = rest.as_bytes().get(..name.len());
        if found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes())) {
            return after(rest, ">");
        }
        text = rest;
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_sees_is_counted() {
        for (html, expected) in [
            ("", 0),
            ("plain", 5),
            ("<p>one</p>\n\n  <p>two</p>", 7),
            ("<script>var x = '<p>';</script>a", 1),
            ("<SCRIPT src=x></Script >a<style>b</style>c", 2),
            ("<scripted>a</scripted>", 1),
            ("a<!-- b > c -->d", 2),
            ("1 < 2", 5),
            ("a<b", 1),
            ("<script>never closed", 0),
            ("\u{e9}  \u{e9}", 3),
        ] {
            assert_eq!(visible(html), expected, "{html}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_has_more_than_its_characters(html in "(<|>|/|script|style|!--|--|[a-z \n\u{e9}]){0,40}") {
            proptest::prop_assert!(visible(&html) <= html.chars().count() as u64);
        }
    }
}
