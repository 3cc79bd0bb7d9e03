//! Answers of MATH as lm-evaluation-harness 0.4.13 compares them (`hendrycks_math`, after Hendrycks et al., "Measuring Mathematical
//! Problem Solving With the MATH Dataset", 2021): the same formula written in two ways is to be the same, within reason. Where the
//! reference fails on a text, the texts are compared as they are.

/// What stands in the last `\boxed{}` of a solution.
pub fn boxed(solution: &str) -> Option<String> {
    if let Some((_, after)) = solution.rsplit_once("\\boxed ") {
        return Some(after.split('$').next().unwrap_or_default().to_owned());
    }
    let inside = solution.rsplit_once("\\boxed")?.1.strip_prefix('{')?;
    let mut open = 1usize;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some(inside[..at].to_owned());
        }
    }
    None
}

/// What stands between the first dollar and the last, or all where there are fewer than two.
pub(super) fn between_dollars(text: &str) -> &str {
    match (text.find('$'), text.rfind('$')) {
        (Some(first), Some(last)) if first < last => &text[first + 1..last],
        _ => text,
    }
}

/// Whether two answers are written alike but for what does not matter.
pub(super) fn equivalent(a: &str, b: &str) -> bool {
    match (plain(a), plain(b)) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

/// An answer without what does not matter; none where the reference fails.
fn plain(answer: &str) -> Option<String> {
    let mut text = answer
        .replace('\n', "")
        .replace("\\!", "")
        .replace("\\\\", "\\")
        .replace("tfrac", "frac")
        .replace("dfrac", "frac")
        .replace("\\left", "")
        .replace("\\right", "")
        .replace("^{\\circ}", "")
        .replace("^\\circ", "")
        .replace("\\$", "");
    // A unit stands at the right.
    let mut parts = text.split("\\text{ ");
    if let (Some(before), Some(_)) = (parts.next(), parts.next()) {
        if parts.next().is_some() {
            return None;
        }
        text = before.to_owned();
    }
    text = text
        .replace("\\%", "")
        .replace(" .", " 0.")
        .replace("{.", "{0.");
    if text.is_empty() {
        return Some(text);
    }
    if text.starts_with('.') {
        text.insert(0, '0');
    }
    // `x = 5`.
    if let Some((name, value)) = text.split_once('=')
        && !value.contains('=')
        && name.chars().count() <= 2
    {
        text = value.to_owned();
    }
    text = with_braces_under_roots(&text)?.replace(' ', "");
    text = with_braces_in_fractions(&text)?;
    if text == "0.5" {
        text = "\\frac{1}{2}".to_owned();
    }
    slash_as_fraction(text)
}

/// `\sqrt3` as `\sqrt{3}`.
fn with_braces_under_roots(text: &str) -> Option<String> {
    let mut parts = text.split("\\sqrt");
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let first = part.chars().next()?;
        out.push_str("\\sqrt");
        if first == '{' {
            out.push_str(part);
        } else {
            out.push_str(&format!("{{{first}}}{}", &part[first.len_utf8()..]));
        }
    }
    Some(out)
}

/// `\frac12`, `\frac1{2}` as `\frac{1}{2}`.
fn with_braces_in_fractions(text: &str) -> Option<String> {
    let mut parts = text.split("\\frac");
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let mut characters = part.chars();
        let first = characters.next()?;
        out.push_str("\\frac");
        if first == '{' {
            out.push_str(part);
            continue;
        }
        let Some(second) = characters.next() else {
            return Some(text.to_owned());
        };
        let rest = characters.as_str();
        if second == '{' {
            out.push_str(&format!("{{{first}}}{{{rest}"));
        } else {
            out.push_str(&format!("{{{first}}}{{{second}}}{rest}"));
        }
    }
    Some(out)
}

/// `a/b` of two whole numbers as a fraction. The reference fails where there is one stroke between other things.
fn slash_as_fraction(text: String) -> Option<String> {
    let Some((a, b)) = text.split_once('/').filter(|(_, b)| !b.contains('/')) else {
        return Some(text);
    };
    if !(is_integer(a) && is_integer(b)) {
        return None;
    }
    if is_canonical(a) && is_canonical(b) {
        return Some(format!("\\frac{{{a}}}{{{b}}}"));
    }
    Some(text)
}

/// Whether Python's `int` reads it.
fn is_integer(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits
        .split('_')
        .all(|run| !run.is_empty() && run.chars().all(char::is_numeric))
}

/// Whether Python writes the number it reads the same way.
fn is_canonical(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading = digits.starts_with('0') && text != "0";
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && !leading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_box_is_read_with_its_braces() {
        assert_eq!(
            boxed("$\\boxed{1}$ so $\\boxed{\\frac{1}{2}}$.").unwrap(),
            "\\frac{1}{2}"
        );
        assert_eq!(boxed("$\\boxed 7$ units").unwrap(), "7");
        assert_eq!(boxed("\\boxed{1"), None);
        assert_eq!(boxed("none"), None);
    }
}
