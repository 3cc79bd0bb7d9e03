//! Addresses, which stay whole.

use super::characters::{Classes, class};
use crate::analysis::characters::{ALPHANUMERICS, DECIMALS};

/// Whether all of `text` is an address: optional scheme and user, a host of labels or four numbers, optional port
/// and path. Local addresses of the private ranges are none.
pub(super) fn is_address(text: &str, classes: &Classes) -> bool {
    if !may_hold_host(text.as_bytes()) {
        return false;
    }
    let in_scheme = |c: char| c == '+' || c == '-' || c == '.' || c == '_' || is_word_character(c);
    let scheme = text.find(|c| !in_scheme(c)).unwrap_or(text.len());
    let after_scheme = (text[scheme..].starts_with("://")
        && text[..scheme].chars().nth(1).is_some())
    .then_some(scheme + 3);
    [Some(0), after_scheme].into_iter().flatten().any(|start| {
        let rest = &text[start..];
        is_host_and_rest(rest, classes)
            || rest
                .match_indices('@')
                .any(|(at, _)| at > 0 && is_host_and_rest(&rest[at + 1..], classes))
    })
}

/// Whether a full stop stands before a digit, or before what may be two small letters: there is one in every host.
fn may_hold_host(text: &[u8]) -> bool {
    let small = |at: usize| {
        let byte = text.get(at);
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || *byte >= 0x80)
    };
    text.iter().enumerate().any(|(at, &byte)| {
        byte == b'.'
            && (text.get(at + 1).is_some_and(u8::is_ascii_digit)
                || (small(at + 1) && small(at + 2)))
    })
}

/// `\w` of Python.
fn is_word_character(character: char) -> bool {
    character == '_' || ALPHANUMERICS.contains(character)
}

fn is_host_and_rest(text: &str, classes: &Classes) -> bool {
    let host = text.find([':', '/', '?', '#']).unwrap_or(text.len());
    let (host, rest) = text.split_at(host);
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port) => {
            let digits = port.find(|c: char| !is_decimal(c)).unwrap_or(port.len());
            if !(2..=5).contains(&port[..digits].chars().count()) {
                return false;
            }
            &port[digits..]
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?', '#']))
        && (is_name(host, classes) || is_ip(host))
}

/// `\d` of Python.
fn is_decimal(character: char) -> bool {
    character.is_ascii_digit() || (!character.is_ascii() && DECIMALS.contains(character))
}

fn is_name(host: &str, classes: &Classes) -> bool {
    let mut labels = host.rsplit('.');
    let top = labels.next().unwrap_or_default();
    let letters = top.chars().count();
    let mut several = false;
    let ends = |c: char| c.is_ascii_alphanumeric() || ('\u{a1}'..='\u{ffff}').contains(&c);
    (2..=63).contains(&letters)
        && top.chars().all(|c| classes.of(c) & class::LOWER != 0)
        && labels.all(|label| {
            several = true;
            label.chars().count() <= 64
                && label.starts_with(ends)
                && label.ends_with(ends)
                && label.chars().all(|c| ends(c) || c == '_' || c == '-')
        })
        && several
}

fn is_ip(host: &str) -> bool {
    let mut octets = [0_u16; 4];
    let mut count = 0;
    for part in host.split('.') {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        let (Some(octet), true, 1..=3) = (octets.get_mut(count), digits, part.len()) else {
            return false;
        };
        let Ok(number) = part.parse() else {
            return false;
        };
        *octet = number;
        let plain = !part.starts_with('0');
        let allowed = match count {
            0 => plain && (1..=223).contains(&number),
            // Of three digits the first is no zero.
            1 | 2 => part.len() < 3 || (plain && number <= 255),
            _ => plain && (1..=254).contains(&number),
        };
        if !allowed {
            return false;
        }
        count += 1;
    }
    let private = matches!(octets, [10 | 127, ..] | [169, 254, ..] | [192, 168, ..])
        || (octets[0] == 172 && (16..=31).contains(&octets[1]));
    count == 4 && !private
}
