//! Telephone numbers: international ones, with their plus sign (ITU-T E.164), and those of North America in the ways they
//! are written (area and exchange begin with 2 to 9). Numbers for fiction, 555-0100 to 555-0199, are nobody's, and neither
//! is 555-1212, which asks for another number.

use std::net::Ipv4Addr;
use std::ops::Range;

use super::{before, in_word};

/// Words before ten digits in groups that only spaces divide.
const WORDS: [&str; 9] = [
    "tel", "phone", "call", "fax", "mobile", "cell", "whatsapp", "hotline", "contact",
];

/// The number that begins at the digit at `at`, or at the plus sign or parenthesis before it.
pub(super) fn at(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let behind = (at > 0).then(|| bytes[at - 1]);
    let two_behind = (at > 1).then(|| bytes[at - 2]);
    match behind {
        Some(b'+') => international(text, at - 1),
        Some(b'(') if two_behind == Some(b'+') => None,
        Some(b'(') => national(text, at - 1),
        // Part of something longer.
        Some(b'-' | b'.' | b'/' | b',' | b'=' | b'$' | b'#' | b'%' | b'*' | b'^') => None,
        Some(b' ' | b')') if two_behind.is_some_and(|b| b.is_ascii_digit()) => None,
        _ => national(text, at),
    }
}

/// From the plus sign on: groups of digits with one space, dash, full stop or parentheses between.
fn international(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let behind = (start > 0).then(|| bytes[start - 1]);
    if in_word(behind.as_ref()) || matches!(behind, Some(b'+' | b'.' | b')' | b']')) {
        return None;
    }
    let mut at = start + 1;
    if bytes.get(at) == Some(&b'0') {
        return None;
    }
    let (mut digits, mut groups, mut longest) = (0, 0, 0);
    let mut full_stops = 0;
    let mut end = at;
    loop {
        let length = bytes[at..]
            .iter()
            .take(16)
            .take_while(|b| b.is_ascii_digit())
            .count();
        // What comes after does not belong to it if it would be too long.
        if length == 0 || digits + length > 15 {
            break;
        }
        digits += length;
        groups += 1;
        longest = longest.max(length);
        at += length;
        end = at;
        let mut next = at;
        while next < at + 3 && bytes.get(next).is_some_and(|b| b" -.()".contains(b)) {
            full_stops += usize::from(bytes[next] == b'.');
            next += 1;
        }
        // A column of numbers with signs and fractions: `+8 16.4 14.7 -1.7`.
        let between = &bytes[at..next];
        let minus = between.starts_with(b" -") && bytes.get(next).is_some_and(u8::is_ascii_digit);
        let one_digit = between == b"." && !bytes.get(next + 1).is_some_and(u8::is_ascii_digit);
        if minus || one_digit {
            return None;
        }
        if next == at || !bytes.get(next).is_some_and(u8::is_ascii_digit) {
            break;
        }
        at = next;
    }
    let next = bytes.get(end);
    let goes_on = in_word(next)
        || (matches!(next, Some(b'.' | b',' | b'-'))
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit));
    if goes_on || !(9..=15).contains(&digits) {
        return None;
    }
    // Without groups it may be any number with a sign, so it is as long as a telephone number at the least; and a number
    // with one full stop is a fraction.
    let written = match groups {
        1 => (11..=14).contains(&digits),
        2 => longest <= 12 && full_stops == 0,
        _ => longest <= 8,
    };
    // `+192.168.0.1`: something is added, and it is an address.
    let of_host = text[start + 1..end].parse::<Ipv4Addr>().is_ok();
    (written && !of_host && !is_fiction(&text[start..end])).then_some(start..end)
}

/// `(ddd) ddd-dddd`, `ddd-ddd-dddd`, `ddd.ddd.dddd`, all with `1` before them or without, and `ddd ddd dddd` after a word.
fn national(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut at = start;
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let first_behind = (start > 0).then(|| bytes[start - 1]);
    if in_word(first_behind.as_ref()) {
        return None;
    }
    if bytes.get(at) == Some(&b'1')
        && matches!(bytes.get(at + 1), Some(b'-' | b'.' | b' '))
        && (digit(at + 2) || bytes.get(at + 2) == Some(&b'('))
    {
        at += 2;
    }
    let parenthesis = bytes.get(at) == Some(&b'(');
    at += usize::from(parenthesis);
    let group = |at: usize, length: usize| -> Option<&str> {
        (at..at + length).all(digit).then(|| &text[at..at + length])
    };
    let area = group(at, 3)?;
    at += 3;
    let separator = if parenthesis {
        if bytes.get(at) != Some(&b')') {
            return None;
        }
        at += 1;
        at += usize::from(bytes.get(at) == Some(&b' '));
        None
    } else {
        let separator = bytes.get(at).copied();
        if !matches!(separator, Some(b'-' | b'.' | b' ')) {
            return None;
        }
        at += 1;
        separator
    };
    let exchange = group(at, 3)?;
    at += 3;
    let second = bytes.get(at).copied();
    let fits = match separator {
        Some(separator) => second == Some(separator),
        None => matches!(second, Some(b'-' | b'.' | b' ')),
    };
    if !fits {
        return None;
    }
    at += 1;
    group(at, 4)?;
    at += 4;
    let next = bytes.get(at);
    let goes_on =
        in_word(next) || (matches!(next, Some(b'.' | b',' | b'-' | b'/')) && digit(at + 1));
    let begins = |group: &str| group.as_bytes()[0] >= b'2';
    if goes_on || !begins(area) || !begins(exchange) || is_fiction(&text[start..at]) {
        return None;
    }
    let known = parenthesis || separator == Some(b'-') || {
        let context = before(text, start, 24);
        WORDS.iter().any(|word| context.contains(word))
    };
    known.then_some(start..at)
}

/// Whether the last seven digits are 555-01xx or 555-1212.
fn is_fiction(number: &str) -> bool {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    let last = &digits[digits.len().saturating_sub(7)..];
    last.starts_with("55501") || last == "5551212"
}
