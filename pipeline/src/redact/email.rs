//! E-mail addresses: the common part of RFC 5321's form, at a domain whose suffix is one of the public suffix list.
//!
//! The list tells addresses from code (`this@Activity.method`) and from versions (`lodash@4.17.21`). Nobody lives at the
//! names that RFC 2606 reserves, nor at `git@`, which is how repositories are named.

use std::ops::Range;

/// Bytes of a local part and of a domain (RFC 5321, section 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_DOMAIN: usize = 255;

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte)
}

/// The address around the at sign at `at`.
pub(super) fn at(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut start = at;
    while start > 0 && at - start < MAX_LOCAL && is_local(bytes[start - 1]) {
        start -= 1;
    }
    // What quotes, paths, assignments and markup put before an address is none of it.
    if let Some(last) = bytes[start..at]
        .iter()
        .rposition(|byte| b"`'/=|{}&?#!$*^~".contains(byte))
    {
        start += last + 1;
    }
    while start < at && !bytes[start].is_ascii_alphanumeric() && bytes[start] != b'_' {
        start += 1;
    }
    let local = &text[start..at];
    let letters = local.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if !letters || local.ends_with('.') || local.contains("..") || local.eq_ignore_ascii_case("git")
    {
        return None;
    }
    // A letter of another script goes on into what stands here.
    if start > 0 && bytes[start - 1] >= 0x80 {
        return None;
    }
    let domain = bytes[at + 1..]
        .iter()
        .take(MAX_DOMAIN)
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'-' || **byte == b'.')
        .count();
    let mut domain = text[at + 1..at + 1 + domain].trim_end_matches(['.', '-']);
    // In running text a sentence may go on after the full stop without a space: `x@y.com.It`.
    let capital = |label: &str| label.starts_with(|first: char| first.is_ascii_uppercase());
    if let Some((rest, last)) = domain.rsplit_once('.')
        && capital(last)
        && !rest.split('.').any(capital)
        && is_domain(rest)
    {
        domain = rest;
    }
    while !is_domain(domain) {
        domain = domain.rsplit_once('.')?.0;
    }
    if is_reserved(domain) {
        return None;
    }
    Some(start..at + 1 + domain.len())
}

fn is_domain(domain: &str) -> bool {
    let labels_fit = domain.split('.').all(|label| {
        !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    });
    if !labels_fit || !domain.contains('.') {
        return false;
    }
    let lower = domain.to_ascii_lowercase();
    let suffix = psl::suffix(lower.as_bytes());
    suffix.is_some_and(|suffix| suffix.is_known() && suffix.as_bytes().len() < lower.len())
}

/// Whether the name is for examples, or one under which SSH names its algorithms (RFC 4251, section 6).
fn is_reserved(domain: &str) -> bool {
    let lower = domain.to_ascii_lowercase();
    let registered = lower.rsplitn(3, '.').take(2).collect::<Vec<_>>();
    matches!(registered.as_slice(), [top, second]
        if *second == "example" && matches!(*top, "com" | "org" | "net" | "edu"))
        || ["openssh.com", "libssh.org"].contains(&lower.as_str())
        || ["example", "test", "invalid", "localhost", "local"]
            .contains(&lower.rsplit('.').next().unwrap_or_default())
}
