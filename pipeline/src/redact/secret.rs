//! Keys, tokens and passwords of programs: those whose form their issuers publish, and strings of high entropy that are
//! assigned to a name such as `api_key`.
//!
//! Forms after the issuers' own documentation: AWS access keys, GitHub, GitLab, Slack, Stripe, Google, npm, Hugging Face,
//! `OpenAI`, `SendGrid`, JSON web tokens (RFC 7519), private keys in PEM (RFC 7468) and `OpenPGP` armor.

use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

use super::in_word;

/// How a key goes on after its beginning.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// So many letters and digits, and no more.
    Exactly(usize),
    /// Letters, digits and these others: at least so many.
    AtLeast(usize, &'static [u8]),
    /// Two more parts of base64 after full stops.
    WebToken,
    /// The body and the end line of a private key.
    PrivateKey,
}

const DASHES: &[u8] = b"_-";
const FORMS: [(&str, Form); 25] = [
    ("AKIA", Form::Exactly(16)),
    ("ASIA", Form::Exactly(16)),
    ("ghp_", Form::AtLeast(36, b"")),
    ("gho_", Form::AtLeast(36, b"")),
    ("ghu_", Form::AtLeast(36, b"")),
    ("ghs_", Form::AtLeast(36, b"")),
    ("ghr_", Form::AtLeast(36, b"")),
    ("github_pat_", Form::AtLeast(50, b"_")),
    ("glpat-", Form::AtLeast(20, DASHES)),
    ("xoxb-", Form::AtLeast(20, b"-")),
    ("xoxp-", Form::AtLeast(20, b"-")),
    ("xoxa-", Form::AtLeast(20, b"-")),
    ("xoxr-", Form::AtLeast(20, b"-")),
    ("xoxs-", Form::AtLeast(20, b"-")),
    ("sk_live_", Form::AtLeast(16, b"")),
    ("rk_live_", Form::AtLeast(16, b"")),
    ("AIza", Form::AtLeast(35, DASHES)),
    ("npm_", Form::Exactly(36)),
    ("hf_", Form::Exactly(34)),
    ("sk-ant-", Form::AtLeast(32, DASHES)),
    ("sk-proj-", Form::AtLeast(32, DASHES)),
    ("sk-", Form::AtLeast(40, b"")),
    ("SG.", Form::AtLeast(60, b"._-")),
    ("eyJ", Form::WebToken),
    ("-----BEGIN ", Form::PrivateKey),
];
/// Bytes of the name of a form of private keys.
const MAX_NAME_BYTES: usize = 40;
/// Bytes that the body of a private key may have.
const MAX_KEY_BYTES: usize = 32 << 10;
/// Bytes that a key on one line may have if it is to be looked for in the rest of what looks like one.
const MAX_TOKEN_BYTES: usize = 1024;
/// Names that secrets are assigned to, in lower case and without dashes.
const NAMES: [&str; 12] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "authkey",
    "privatekey",
    "secretkey",
    "credential",
    "authorization",
];
/// What examples are made of.
const EXAMPLES: [&str; 14] = [
    "example",
    "xxxx",
    "your",
    "placeholder",
    "changeme",
    "dummy",
    "sample",
    "test",
    "redacted",
    "foobar",
    "insert",
    "abcdef",
    "12345678",
    "....",
];

/// The beginnings of keys, sought all at once.
#[derive(Debug)]
pub(super) struct Keys(AhoCorasick);

impl Keys {
    /// `None` only if the automaton of these few strings could not be made.
    pub(super) fn new() -> Option<Self> {
        AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(FORMS.iter().map(|(begins, _)| begins))
            .ok()
            .map(Self)
    }

    /// Calls `each` with the bytes of every key.
    pub(super) fn find(&self, text: &str, each: &mut dyn FnMut(Range<usize>)) {
        let bytes = text.as_bytes();
        let mut end_of_last = 0;
        for hit in self.0.find_iter(text) {
            let (start, at) = (hit.start(), hit.end());
            let behind = (start > 0).then(|| bytes[start - 1]);
            if start < end_of_last || in_word(behind.as_ref()) {
                continue;
            }
            let run = |from: usize, others: &[u8]| -> usize {
                bytes[from..]
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || others.contains(b))
                    .count()
            };
            let (_, form) = FORMS[hit.pattern().as_usize()];
            let end = match form {
                Form::Exactly(length) => {
                    let found = run(at, b"_");
                    (found == length).then_some(at + length)
                }
                Form::AtLeast(length, others) => {
                    let found = run(at, others);
                    (found >= length).then_some(at + found)
                }
                Form::WebToken => web_token(bytes, at),
                Form::PrivateKey => private_key(text, at),
            };
            let plain = matches!(form, Form::PrivateKey | Form::WebToken);
            let is_key = |whole: &str| plain || (has_digit(whole) && !is_example(whole));
            if let Some(end) = end.filter(|end| is_key(&text[start..*end])) {
                end_of_last = end;
                each(start..end);
                continue;
            }
            // What goes on for long and is no key is data, in which no key is looked for: it would be read again and again.
            let data = run(at, b"._-");
            if data > MAX_TOKEN_BYTES {
                end_of_last = at + data;
            }
        }
    }
}

fn has_digit(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_example(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    EXAMPLES.iter().any(|word| lower.contains(word))
}

/// The end of a token whose first part goes on at `at`.
fn web_token(bytes: &[u8], at: usize) -> Option<usize> {
    let run = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter()
            .take_while(|b| b.is_ascii_alphanumeric() || DASHES.contains(b))
            .count()
    };
    let mut end = at + run(at);
    if end - at < 8 {
        return None;
    }
    for least in [8, 16] {
        let length = run(end + 1);
        if bytes.get(end) != Some(&b'.') || length < least {
            return None;
        }
        end += 1 + length;
    }
    Some(end)
}

/// The end of a private key whose first line goes on at `at`. A line that only names the form holds no key.
fn private_key(text: &str, at: usize) -> Option<usize> {
    // No further than a name goes: a line may be as long as the text.
    let mut most = text.len().min(at + MAX_NAME_BYTES + 5);
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    let (name, _) = text[at..most].split_once("-----")?;
    let private = name.ends_with("PRIVATE KEY") || name.ends_with("PRIVATE KEY BLOCK");
    if !private || name.contains('\n') {
        return None;
    }
    let body = at + name.len() + 5;
    let mut most = text.len().min(body + MAX_KEY_BYTES);
    while !text.is_char_boundary(most) {
        most -= 1;
    }
    let rest = &text[body..most];
    let dashes = rest.find("-----");
    let end = match dashes.filter(|last| rest[*last..].starts_with("-----END ")) {
        Some(last) => {
            let after = &rest[last + 9..];
            let closing = after.find("-----").map_or(0, |closing| closing + 5);
            (body + last, body + last + 9 + closing)
        }
        // Cut off: as far as there is base64.
        None => {
            let length = rest
                .bytes()
                .take_while(|b| b.is_ascii_alphanumeric() || b"+/= \r\n\\".contains(b))
                .count();
            (body + length, body + length)
        }
    };
    let letters = text[body..end.0]
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .count();
    (letters >= 64).then_some(end.1)
}

/// The string that is assigned by the sign at `at`, if it is a secret: the name says so, and so does the string.
pub(super) fn assigned(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let mut start = at + 1;
    // `:=`, `=>`, and at most one space.
    if matches!(bytes.get(start), Some(b'=' | b'>')) {
        start += 1;
    }
    if bytes.get(start) == Some(&b' ') {
        start += 1;
    }
    let quote = *bytes.get(start)?;
    if !matches!(quote, b'"' | b'\'' | b'`') {
        return None;
    }
    start += 1;
    let length = bytes[start..]
        .iter()
        .take(512)
        .take_while(|b| b.is_ascii_alphanumeric() || b"+/=_-.~".contains(b))
        .count();
    let end = start + length;
    if length < 16 || bytes.get(end) != Some(&quote) || !is_secret_name(text, at) {
        return None;
    }
    let value = &text[start..end];
    let letters = value.bytes().any(|byte| byte.is_ascii_alphabetic());
    let random = letters && has_digit(value) && entropy(value) >= 3.3;
    // Paths, addresses and names in words are no secrets, however long.
    let words = value
        .split(['/', '.', '-', '_'])
        .filter(|part| part.len() >= 3 && part.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let plain = words.count() >= 2 || is_of_words(value);
    (random && !plain && !is_example(value)).then_some(start..end)
}

/// Whether a string is a name such as `Wav2Vec2CTCTokenizer`: few digits, and half of it capitals that small letters follow.
fn is_of_words(value: &str) -> bool {
    let bytes = value.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let (mut at, mut of_words) = (0, 0);
    while at < bytes.len() {
        let small = bytes[at + 1..]
            .iter()
            .take_while(|b| b.is_ascii_lowercase())
            .count();
        if bytes[at].is_ascii_uppercase() && small >= 2 {
            of_words += 1 + small;
            at += small;
        }
        at += 1;
    }
    digits <= 2 && 2 * of_words >= bytes.len()
}

/// Whether the name before an assigning sign is that of a secret.
fn is_secret_name(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let mut end = at;
    while end > 0 && b" \"'`]):".contains(&bytes[end - 1]) && at - end < 4 {
        end -= 1;
    }
    let mut start = end;
    while start > 0
        && end - start < 64
        && (bytes[start - 1].is_ascii_alphanumeric() || b"_-.".contains(&bytes[start - 1]))
    {
        start -= 1;
    }
    let name: String = text[start..end]
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .map(|byte| char::from(byte.to_ascii_lowercase()))
        .collect();
    NAMES.iter().any(|word| name.contains(word))
}

/// Bits a byte (Shannon 1948), of the frequencies within the string.
fn entropy(text: &str) -> f64 {
    let mut counts = [0u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let all = text.len() as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / all;
            -share * share.log2()
        })
        .sum()
}
