//! IPv4 and IPv6 addresses of the public internet.
//!
//! Four numbers with full stops between are also versions, sections and object identifiers. What follows a word such as
//! `version`, goes on with another number, or has numbers below 100 alone without a word such as `host` before it, is no
//! address: one in forty addresses is so small, and nearly all versions, sections and coordinates of drawings are.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::{before, in_word};

/// Words after which four numbers are no address.
const NOT: [&str; 22] = [
    "version",
    "ver.",
    "ver",
    "release",
    "rev",
    "revision",
    "section",
    "sect.",
    "sec.",
    "chapter",
    "figure",
    "fig.",
    "table",
    "clause",
    "build",
    "rule",
    "article",
    "paragraph",
    "appendix",
    "oid",
    "firmware",
    "upgrade",
];
/// Words that make an address of small numbers.
const HOSTS: [&str; 18] = [
    "ip",
    "ipv4",
    "host",
    "hostname",
    "addr",
    "address",
    "server",
    "nameserver",
    "dns",
    "ping",
    "from",
    "client",
    "gateway",
    "inet",
    "peer",
    "src",
    "dst",
    "via",
];
/// Resolvers that everybody knows, and the address of examples.
const WELL_KNOWN: [[u8; 4]; 6] = [
    [1, 2, 3, 4],
    [8, 8, 8, 8],
    [8, 8, 4, 4],
    [1, 1, 1, 1],
    [1, 0, 0, 1],
    [9, 9, 9, 9],
];
const WELL_KNOWN_V6: [[u16; 8]; 2] = [
    [0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888],
    [0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8844],
];

/// The address that begins at the digit at `at`, which no letter stands before.
pub(super) fn at(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    match rest.get(digits) {
        Some(b'.') if digits <= 3 => v4(text, at),
        Some(byte) if digits <= 4 && (*byte == b':' || byte.is_ascii_hexdigit()) => v6(text, at),
        _ => None,
    }
}

fn v4(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut octets = [0u8; 4];
    let mut end = at;
    for (i, octet) in octets.iter_mut().enumerate() {
        if i > 0 {
            if bytes.get(end) != Some(&b'.') {
                return None;
            }
            end += 1;
        }
        let digits = bytes[end..]
            .iter()
            .take(4)
            .take_while(|b| b.is_ascii_digit())
            .count();
        let number = &text[end..end + digits];
        if number.len() > 1 && number.starts_with('0') {
            return None;
        }
        *octet = number.parse().ok()?;
        end += digits;
    }
    let next = (bytes.get(end), bytes.get(end + 1));
    let goes_on = match next {
        (Some(b'.' | b'-' | b'_'), Some(after)) => after.is_ascii_alphanumeric(),
        (next, _) => in_word(next),
    };
    let behind = (at > 0).then(|| bytes[at - 1]);
    if goes_on
        || matches!(
            behind,
            Some(b'.' | b'-' | b'+' | b'$' | b'#' | b'%' | b'^' | b'~')
        )
    {
        return None;
    }
    let address = Ipv4Addr::from(octets);
    if !is_public(address) || address.is_multicast() || WELL_KNOWN.contains(&octets) {
        return None;
    }
    let context = before(text, at, 32);
    let context = context.trim_end_matches([' ', '=', ':', '"', '\'', '(', '[', 'v', '>', '<']);
    if NOT.iter().any(|word| ends_with_word(context, word)) {
        return None;
    }
    // `Chrome/114.0.0.0`, but `http://93.184.216.34`.
    let of_product = behind == Some(b'/') && at > 1 && bytes[at - 2].is_ascii_alphanumeric();
    let small = octets.iter().all(|octet| *octet < 100);
    let port = matches!(next.0, Some(b':' | b'/')) && next.1.is_some_and(u8::is_ascii_digit);
    if of_product || (small && !port && !is_of_host(&before(text, at, 32))) {
        return None;
    }
    Some(at..end)
}

/// Whether what stands before four numbers makes them an address: a scheme, or one of [`HOSTS`] as a whole word, or as the
/// last of a name such as `remoteAddr` or `client_ip`.
fn is_of_host(before: &str) -> bool {
    before.contains("://")
        || before.split(|c: char| !c.is_alphanumeric()).any(|word| {
            HOSTS
                .iter()
                .any(|host| word == *host || (host.len() > 3 && word.ends_with(host)))
        })
}

fn ends_with_word(text: &str, word: &str) -> bool {
    text.strip_suffix(word)
        .is_some_and(|rest| !in_word(rest.as_bytes().last()))
}

/// Python's `ipaddress.IPv4Address.is_global`, after the registry of IANA (RFC 6890), with the exceptions of 2024.
pub(super) fn is_public(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127, ..) | (240.., ..) => true,
        (169, 254, _) | (192, 168, _) | (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => true,
        (192, 0, 0) => !matches!(d, 9 | 10),
        (172, 16..=31, _) | (198, 18..=19, _) | (100, 64..=127, _) => true,
        _ => false,
    };
    !special
}

fn v6(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    // All public addresses begin so (2000::/3), and none with fewer than four digits.
    if !matches!(bytes[at], b'2' | b'3')
        || matches!((at > 0).then(|| bytes[at - 1]), Some(b':' | b'.' | b'-'))
    {
        return None;
    }
    let length = bytes[at..]
        .iter()
        .take(46)
        .take_while(|byte| byte.is_ascii_hexdigit() || **byte == b':')
        .count();
    let candidate = text[at..at + length].trim_end_matches(':');
    // An address may end with `::`, which was cut off with the colon of a sentence.
    let both = [candidate.len() + 2, candidate.len()];
    let ends = both.into_iter().filter(|end| *end <= length);
    for end in ends {
        let candidate = &text[at..at + end];
        let Ok(address) = candidate.parse::<Ipv6Addr>() else {
            continue;
        };
        let segments = address.segments();
        let documentation = (segments[0] == 0x2001 && segments[1] == 0xdb8)
            || (segments[0] == 0x3fff && segments[1] < 0x1000);
        // For protocols, and the test network that was given back in 2006 (RFC 3701).
        let special = (segments[0] == 0x2001 && segments[1] < 0x200) || segments[0] == 0x3ffe;
        let known = WELL_KNOWN_V6.contains(&segments);
        if segments[0] & 0xe000 != 0x2000
            || documentation
            || special
            || known
            || in_word(bytes.get(at + end))
        {
            return None;
        }
        return Some(at..at + end);
    }
    None
}
