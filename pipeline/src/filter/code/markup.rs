//! How much of an HTML file a reader sees.
//!
//! What `bigcode-project/bigcode-dataset` takes for it, `filter_html` of `preprocessing/filtering.py`: the text without tags,
//! comments, scripts and styles, with its white space, of which there is one character where nothing else stands between
//! two tags outside of `pre`: so has Beautiful Soup it. Tags are told by their marks alone, as a browser that is given broken
//! pages does; a character reference is one character.

use memchr::memmem;

use crate::analysis::count_characters;

/// Characters of an HTML file that are text, white space included.
pub(super) fn visible(html: &str) -> u64 {
    let mut count = 0;
    // Where the text begins that goes up to the next tag: a mark that opens no tag is of it.
    let mut start = 0;
    let mut at = 0;
    let mut kept = 0_u32;
    while let Some(next) = html[at..].find('<') {
        let rest = &html[at + next..];
        let left = if let Some(comment) = rest.strip_prefix("<!--") {
            after(comment, "-->")
        } else if let Some(name) = hidden(rest) {
            let content = after(rest, ">");
            end_of(content, name)
        } else if rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c)) {
            after(rest, ">")
        } else {
            at += next + 1;
            continue;
        };
        count += characters(&html[start..at + next], kept > 0);
        if keeps_space(&rest[1..]) {
            kept += 1;
        } else if rest[1..].strip_prefix('/').is_some_and(keeps_space) {
            kept = kept.saturating_sub(1);
        }
        at = html.len() - left.len();
        start = at;
    }
    count + characters(&html[start..], kept > 0)
}

/// Characters of text between two tags; a reference such as `&lt;` or `&#60;` is one, and so is all of a text that is blank, but
/// where space is `kept`.
fn characters(text: &str, kept: bool) -> u64 {
    if !kept && text.bytes().all(|byte| byte.is_ascii_whitespace()) {
        return u64::from(!text.is_empty());
    }
    let mut parts = text.split('&');
    let first = parts.next().map_or(0, count_characters);
    let rest = parts.map(|part| match part.split_once(';') {
        Some((name, after)) if is_reference(name) => 1 + count_characters(after),
        _ => 1 + count_characters(part),
    });
    first + rest.sum::<u64>()
}

/// Whether this is what stands between `&` and `;` of a character reference; no name of HTML's has more than 31 letters.
fn is_reference(name: &str) -> bool {
    let digits = name.strip_prefix('#').unwrap_or(name);
    (1..=31).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a tag's name, with which `tag` begins, is that of an element in which white space is text.
fn keeps_space(tag: &str) -> bool {
    ["pre", "textarea"]
        .into_iter()
        .any(|name| is_named(tag, name))
}

fn is_named(tag: &str, name: &str) -> bool {
    let bytes = tag.as_bytes();
    let next = bytes.get(name.len());
    let found = bytes.get(..name.len());
    found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        && next.is_none_or(|next| !next.is_ascii_alphanumeric())
}

/// What stands after the first `mark`; nothing if there is none.
fn after<'a>(text: &'a str, mark: &str) -> &'a str {
    memmem::find(text.as_bytes(), mark.as_bytes()).map_or("", |at| &text[at + mark.len()..])
}

/// The name of an element that is not shown, if a tag that begins here opens one.
fn hidden(text: &str) -> Option<&'static str> {
    ["script", "style"]
        .into_iter()
        .find(|name| is_named(&text[1..], name))
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

    // The numbers are those of Beautiful Soup 4.13.4: `len(soup.get_text())` with `html.parser`, scripts and styles taken out;
    // but for a tag that is not closed, which it takes for text.
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
            ("\u{e9}  \u{e9}", 4),
            ("<pre><b>a</b>  \n<b>b</b></pre>  <i>c</i>", 7),
            ("a &amp; b&#233;", 6),
            ("a & b; c &;", 11),
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
