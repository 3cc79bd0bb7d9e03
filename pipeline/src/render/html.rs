//! HTML that an export of chats left behind, made readable.
//!
//! `ShareGPT`'s early exports keep the page's markup: paragraphs, lists, code blocks with a button that says *Copy code*. Text
//! in which a person writes about HTML is not touched: only a turn that begins with a tag and closes it is markup.

/// Tags after which a new line begins.
const BLOCKS: [&str; 16] = [
    "p",
    "div",
    "br",
    "ul",
    "ol",
    "table",
    "tr",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "blockquote",
    "section",
];
/// Tags that say nothing in plain text.
const INLINE: [&str; 17] = [
    "span", "a", "strong", "em", "b", "i", "u", "img", "svg", "path", "button", "thead", "tbody",
    "td", "th", "sup", "sub",
];

/// The text without its markup; nothing if it is not markup.
pub(super) fn clean(text: &str) -> Option<String> {
    let (first, _) = tag(text.trim_start())?;
    let known =
        BLOCKS.contains(&first.name) || matches!(first.name, "pre" | "code" | "li" | "span");
    let closes = text.contains(&format!("</{}>", first.name)) || matches!(first.name, "br" | "hr");
    if first.closing || !known || !closes {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_code = false;
    let mut in_button = false;
    while let Some(next) = rest.chars().next() {
        match next {
            '<' => {
                if let Some((found, length)) = tag(rest)
                    && mark(found, &mut out, &mut in_code, &mut in_button)
                {
                    rest = &rest[length..];
                    continue;
                }
            }
            '&' => {
                if let Some((character, length)) = entity(rest) {
                    if !in_button {
                        out.push(character);
                    }
                    rest = &rest[length..];
                    continue;
                }
            }
            _ => {}
        }
        if !in_button {
            out.push(next);
        }
        rest = &rest[next.len_utf8()..];
    }
    if in_code {
        fence(&mut out);
    }
    Some(out.trim().to_owned())
}

/// A tag at the beginning of a text.
#[derive(Clone, Copy)]
struct Tag<'a> {
    name: &'a str,
    closing: bool,
}

/// The tag that `text` begins with, and its length. A tag is never longer than a line of attributes.
fn tag(text: &str) -> Option<(Tag<'_>, usize)> {
    const MOST: usize = 2000;
    let inner = text.strip_prefix('<')?;
    let closing = inner.starts_with('/');
    let name_start = 1 + usize::from(closing);
    let name_length = text[name_start..]
        .bytes()
        .take_while(u8::is_ascii_alphanumeric)
        .count();
    let end = text.bytes().take(MOST).position(|byte| byte == b'>')?;
    let name = &text[name_start..name_start + name_length];
    let after = text.as_bytes().get(name_start + name_length)?;
    let whole = name_length > 0 && matches!(after, b'>' | b' ' | b'/' | b'\n');
    whole.then_some((Tag { name, closing }, end + 1))
}

/// Writes what a tag means; false if it is none that is known, and is text.
fn mark(tag: Tag<'_>, out: &mut String, in_code: &mut bool, in_button: &mut bool) -> bool {
    match tag.name {
        "pre" => {
            if *in_code == tag.closing {
                fence(out);
                *in_code = !tag.closing;
            }
        }
        "code" if *in_code => {}
        "code" => out.push('`'),
        "button" => *in_button = !tag.closing,
        "li" => {
            line(out);
            if !tag.closing {
                out.push_str("- ");
            }
        }
        name if BLOCKS.contains(&name) => line(out),
        name if INLINE.contains(&name) => {}
        _ => return false,
    }
    true
}

/// Begins a new line if the last one has anything on it.
fn line(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') && !out.ends_with("- ") {
        out.push('\n');
    }
}

fn fence(out: &mut String) {
    line(out);
    out.push_str("```\n");
}

/// The character of the entity that `text` begins with, and its length.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(10).position(|byte| byte == b';')?;
    let character = match &text[1..end] {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        number => {
            let number = number.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code).filter(|character| !character.is_control())?
        }
    };
    Some((character, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_markup_of_an_export_becomes_text() {
        let text = "<div class=\"markdown prose\"><p>Use <code>a &lt; b</code>:</p><ol><li>one</li><li><p>two &amp; three</p></li></ol>\
            <pre><div class=\"bar\"><button>Copy code</button></div><code class=\"rust\">let x = vec![1];\nx</code></pre><p>It&#39;s done.</p></div>";
        assert_eq!(
            clean(text).unwrap(),
            "Use `a < b`:\n- one\n- two & three\n```\nlet x = vec![1];\nx\n```\nIt's done."
        );
    }

    #[test]
    fn text_about_markup_stays_as_it_is() {
        for text in [
            "The <div> tag begins a block; close it with </div>.",
            "<3 you",
            "<html><body>page</body></html>",
            "<p> is never closed here",
            "a &lt; b",
            "",
        ] {
            assert_eq!(clean(text), None, "{text}");
        }
        assert_eq!(
            clean("<p>if a <b && c> d: vec<T> &nothing; </p>").unwrap(),
            "if a  d: vec<T> &nothing;",
            "what looks like a known tag is taken for one, what does not is text"
        );
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(<[/a-z !\"=]{0,9}>|&[#a-z0-9]{0,9};|[<>&;é\n ]|[a-z]{1,5}){0,40}") {
            let marked = format!("<p>{text}</p>");
            for text in [&text, &marked] {
                if let Some(clean) = clean(text) {
                    prop_assert!(clean.len() <= 2 * text.len() + 8);
                }
            }
        }
    }
}
