//! Personal data in texts: found by exact forms and replaced by placeholders, so that the document stays.
//!
//! One walk over the bytes stops at what such data cannot do without: an at sign, the first digit of a number, an equals
//! sign or colon before a quote; a second one, by many strings at once, at the beginnings of keys. What stands there is then
//! read exactly, by the rules of its kind, each in a file of its own. Example addresses, private and documentation
//! networks, test cards, versions and ISBNs are no personal data.
//!
//! Which kinds are worth replacing, and what for, follows `FineWeb` (Penedo et al. 2024, arXiv 2406.17557: e-mail and public
//! IP addresses) and `StarCoder` (Li et al. 2023, arXiv 2305.06161, section 4: e-mail and IP addresses, keys and passwords).

mod card;
mod datatrove;
mod email;
mod ip;
mod phone;
mod secret;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use secret::Keys;

/// What is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An e-mail address.
    Email,
    /// A public IPv4 or IPv6 address.
    Ip,
    /// A telephone number.
    Phone,
    /// The number of a payment card.
    Card,
    /// A key, token or password of a program.
    Secret,
}

impl Kind {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Email, Self::Ip, Self::Phone, Self::Card, Self::Secret];

    /// Its name, as in recipes and counts.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Ip => "ip",
            Self::Phone => "phone",
            Self::Card => "card",
            Self::Secret => "secret",
        }
    }

    /// What stands for it where placeholders are fixed: what is reserved for examples (RFC 2606, RFC 5737, the numbers
    /// 555-0100 to 555-0199 of North America).
    const fn fixed(self) -> &'static str {
        match self {
            Self::Email => "email@example.com",
            Self::Ip => "192.0.2.1",
            Self::Phone => "(555) 555-0100",
            Self::Card => "0000 0000 0000 0000",
            Self::Secret => "SECRET",
        }
    }

    /// What begins its placeholders where they are numbered.
    const fn word(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Ip => "IP",
            Self::Phone => "PHONE",
            Self::Card => "CARD",
            Self::Secret => "SECRET",
        }
    }
}

/// What stands for what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placeholder {
    /// `<EMAIL_1>`, `<EMAIL_2>`: the same number for the same original, within a document.
    Numbered,
    /// `email@example.com`: the same for all of a kind.
    Fixed,
}

/// Whose rule says what personal data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The one of this program.
    Andromeda,
    /// That of datatrove (`pipeline/formatters/pii.py`, 0.10), which finds e-mail and IPv4 addresses alone and has
    /// placeholders of its own; they begin anew in every document, so that a text does not depend on those before it.
    Datatrove,
}

/// A profile's `pii` table: which personal data is replaced, and by what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct PiiOptions {
    /// What is found.
    pub kinds: Vec<Kind>,
    /// What stands for it. Numbers by default: who writes to whom is still told, and no address is said a thousand times.
    pub placeholder: Placeholder,
    /// Whose rule is followed.
    pub rule: Rule,
}

impl Default for PiiOptions {
    fn default() -> Self {
        Self {
            kinds: Kind::ALL.to_vec(),
            placeholder: Placeholder::Numbered,
            rule: Rule::Andromeda,
        }
    }
}

impl PiiOptions {
    /// What makes no sense: the key, and what to write.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, &'static str)> {
        let mut faults = Vec::new();
        if self.kinds.is_empty() {
            faults.push((
                "kinds",
                "nothing is found: write some of email, ip, phone, card, secret, or leave the table out",
            ));
        }
        if self.rule == Rule::Datatrove {
            let others = |kind: &Kind| !matches!(kind, Kind::Email | Kind::Ip);
            if self.kinds.iter().any(others) {
                faults.push((
                    "kinds",
                    "the rule of datatrove finds email and ip alone: write kinds = [\"email\", \"ip\"]",
                ));
            }
            if self.placeholder == Placeholder::Numbered {
                faults.push((
                    "placeholder",
                    "the rule of datatrove has fixed placeholders: write placeholder = \"fixed\"",
                ));
            }
        }
        faults
    }
}

/// How many of each kind were replaced.
pub type Counts = BTreeMap<Kind, u32>;

/// What is there of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Bytes of the text.
    pub range: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// The numbers of a document's placeholders.
#[derive(Debug, Default)]
pub struct Numbers {
    known: BTreeMap<(Kind, String), usize>,
    last: [usize; 5],
}

/// Replaces personal data.
#[derive(Debug)]
pub struct Redactor {
    placeholder: Placeholder,
    datatrove: Option<datatrove::Pii>,
    kinds: [bool; 5],
    triggers: [bool; 256],
    keys: Option<Keys>,
}

impl Redactor {
    /// Makes one; `options` have no faults.
    #[must_use]
    pub fn new(options: &PiiOptions) -> Self {
        let mut kinds = [false; 5];
        options
            .kinds
            .iter()
            .for_each(|kind| kinds[*kind as usize] = true);
        let has = |kind: Kind| kinds[kind as usize];
        let mut triggers = [false; 256];
        triggers[usize::from(b'@')] = has(Kind::Email);
        for digit in b'0'..=b'9' {
            triggers[usize::from(digit)] = has(Kind::Ip) || has(Kind::Phone) || has(Kind::Card);
        }
        for sign in [b'=', b':'] {
            triggers[usize::from(sign)] = has(Kind::Secret);
        }
        Self {
            placeholder: options.placeholder,
            datatrove: (options.rule == Rule::Datatrove)
                .then(|| datatrove::Pii::new(has(Kind::Email), has(Kind::Ip))),
            kinds,
            triggers,
            keys: has(Kind::Secret).then(Keys::new).flatten(),
        }
    }

    fn has(&self, kind: Kind) -> bool {
        self.kinds[kind as usize]
    }

    /// What is in a text, in order and apart from each other, by the rule of this program.
    #[must_use]
    pub fn find(&self, text: &str) -> Vec<Found> {
        let mut found = Vec::new();
        if let Some(keys) = &self.keys {
            keys.find(text, &mut |range| {
                found.push(Found {
                    range,
                    kind: Kind::Secret,
                });
            });
        }
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(next) = self.trigger(bytes, at) {
            at = next;
            let hit = match bytes[at] {
                b'@' => email::at(text, at).map(|range| (range, Kind::Email)),
                b'=' | b':' => secret::assigned(text, at).map(|range| (range, Kind::Secret)),
                _ => self.number(text, at),
            };
            match hit {
                Some((range, kind)) => {
                    at = range.end.max(at + 1);
                    found.push(Found { range, kind });
                }
                None if bytes[at].is_ascii_digit() => {
                    at += bytes[at..]
                        .iter()
                        .take_while(|byte| byte.is_ascii_digit())
                        .count();
                }
                None => at += 1,
            }
        }
        // Of those that overlap, the first stays, and of those that begin together the longest.
        found.sort_by_key(|found| (found.range.start, usize::MAX - found.range.end));
        let mut end = 0;
        found.retain(|found| {
            let apart = found.range.start >= end;
            if apart {
                end = found.range.end;
            }
            apart
        });
        found
    }

    /// The first place from `at` on that personal data is sought at.
    fn trigger(&self, bytes: &[u8], mut at: usize) -> Option<usize> {
        let first = |bytes: &[u8]| {
            bytes
                .iter()
                .position(|byte| self.triggers[usize::from(*byte)])
        };
        // All triggers are among the 17 bytes from `0` to `@`, which compilers find in many bytes at once.
        while let Some(many) = bytes[at..].first_chunk::<32>() {
            let any = many.iter().fold(false, |any, byte| {
                any | (byte.wrapping_sub(b'0') <= b'@' - b'0')
            });
            if any && let Some(step) = first(many) {
                return Some(at + step);
            }
            at += many.len();
        }
        first(&bytes[at..]).map(|step| at + step)
    }

    /// What the number that begins at `at` is, if anything.
    fn number(&self, text: &str, at: usize) -> Option<(Range<usize>, Kind)> {
        let before = text.as_bytes()[..at].last();
        // Within a name, such as `x64`, or a fraction.
        if before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80)
        {
            return None;
        }
        if self.has(Kind::Ip)
            && let Some(range) = ip::at(text, at)
        {
            return Some((range, Kind::Ip));
        }
        if self.has(Kind::Card)
            && let Some(range) = card::at(text, at)
        {
            return Some((range, Kind::Card));
        }
        if self.has(Kind::Phone)
            && let Some(range) = phone::at(text, at)
        {
            return Some((range, Kind::Phone));
        }
        None
    }

    /// The text with placeholders, and how many of each kind; `None` where there is nothing to replace.
    #[must_use]
    pub fn redact(&self, text: &str) -> Option<(String, Counts)> {
        self.redact_part(text, &mut Numbers::default())
    }

    /// The same of a part of a document, with the numbers that the parts before it were given.
    #[must_use]
    pub fn redact_part(&self, text: &str, numbers: &mut Numbers) -> Option<(String, Counts)> {
        if let Some(datatrove) = &self.datatrove {
            return datatrove.redact(text);
        }
        let found = self.find(text);
        if found.is_empty() {
            return None;
        }
        let mut counts = Counts::new();
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for Found { range, kind } in found {
            out.push_str(&text[at..range.start]);
            *counts.entry(kind).or_default() += 1;
            match self.placeholder {
                Placeholder::Fixed => out.push_str(kind.fixed()),
                Placeholder::Numbered => {
                    let original = text[range.clone()].to_ascii_lowercase();
                    let last = &mut numbers.last[kind as usize];
                    let number = *numbers.known.entry((kind, original)).or_insert_with(|| {
                        *last += 1;
                        *last
                    });
                    out.push_str(&format!("<{}_{number}>", kind.word()));
                }
            }
            at = range.end;
        }
        out.push_str(&text[at..]);
        Some((out, counts))
    }
}

/// Whether a byte is of a word or of a name: what a number or key must not be in the middle of.
fn in_word(byte: Option<&u8>) -> bool {
    byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80)
}

/// What stands before a place, in lower case: at most so many bytes, of the same line.
fn before(text: &str, at: usize, most: usize) -> String {
    let mut start = at.saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let before = &text[start..at];
    let line = before.rsplit('\n').next().unwrap_or(before);
    line.to_ascii_lowercase()
}
