//! The rule of datatrove: `pipeline/formatters/pii.py` of `huggingface/datatrove`, version 0.10.1, with its defaults.
//!
//! Its expressions, its six addresses and its order are kept. Its one state, which placeholder comes next, is that of a
//! document here and of a whole run there. Word boundaries are those of Unicode in both.

use std::net::Ipv4Addr;

use regex::{Captures, Regex};

use super::{Counts, Kind, ip};

/// The expression for e-mail addresses.
const EMAIL: &str = concat!(
    r"\b[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*@",
    r"(?:(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?",
    r"|\[(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}",
    r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?|[A-Za-z0-9-]*[A-Za-z0-9]:)])",
);
/// The expression for addresses of hosts.
const IP: &str = concat!(
    r"(?:(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)\.){3}",
    r"(?:25[0-5]|2[0-4][0-9]|[01]?[0-9][0-9]?)",
);
const EMAILS: [&str; 2] = ["email@example.com", "firstname.lastname@example.org"];
const IPS: [&str; 6] = [
    "22.214.171.124",
    "126.96.36.199",
    "188.8.131.52",
    "184.108.40.206",
    "220.127.116.11",
    "18.104.22.168",
];

/// What it looks for.
#[derive(Debug)]
pub(super) struct Pii {
    email: Option<Regex>,
    ip: Option<Regex>,
}

impl Pii {
    pub(super) fn new(email: bool, ip: bool) -> Self {
        Self {
            email: email.then(|| Regex::new(EMAIL).ok()).flatten(),
            ip: ip.then(|| Regex::new(IP).ok()).flatten(),
        }
    }

    pub(super) fn redact(&self, text: &str) -> Option<(String, Counts)> {
        let mut counts = Counts::new();
        let mut out = None;
        if let Some(email) = &self.email
            && memchr::memchr(b'@', text.as_bytes()).is_some()
        {
            let mut next = 0;
            let replaced = email.replace_all(text, |_: &Captures<'_>| {
                next += 1;
                EMAILS[(next - 1) % EMAILS.len()]
            });
            if next > 0 {
                out = Some(replaced.into_owned());
                counts.insert(Kind::Email, u32::try_from(next).unwrap_or(u32::MAX));
            }
        }
        if let Some(ip) = &self.ip {
            let before = out.as_deref().unwrap_or(text);
            let mut next = 0;
            let replaced = ip.replace_all(before, |found: &Captures<'_>| {
                // Rust refuses zeros before a number, as Python does.
                let public = found[0].parse::<Ipv4Addr>().is_ok_and(ip::is_public);
                if !public {
                    return found[0].to_owned();
                }
                next += 1;
                IPS[(next - 1) % IPS.len()].to_owned()
            });
            if next > 0 {
                out = Some(replaced.into_owned());
                counts.insert(Kind::Ip, u32::try_from(next).unwrap_or(u32::MAX));
            }
        }
        out.map(|out| (out, counts))
    }
}
