//! Tokens of English as spaCy's tokenizer (3.8, MIT licence, `spacy.blank("en")`) makes them, which is what
//! datatrove calls the words of an English text.
//!
//! A text is cut at white space into chunks, and each chunk by itself: exceptions first ("don't", "e.g.", ":-)"),
//! then what comes off at either end (quotation marks, brackets, units after a number), again and again until
//! nothing does, then an address stays whole and anything else is cut at what joins words ("-", "/" between
//! letters). At the end, neighbouring tokens that together are an exception become it, also where they came from
//! the ends of a chunk. The rules are spaCy's; the code is not its regular expressions but what they come to.
//!
//! Nearly all chunks of prose are letters, or letters and a mark: these are told without the rules. What the
//! rules say of other chunks is remembered by hash, so a chunk that comes again costs a look.

mod classes;

use std::collections::HashMap;
use std::sync::LazyLock;

use xxhash_rust::xxh3::xxh3_64;

use super::characters::{LETTERS, byte, is_space};
use crate::dedup::words::letter_bits;

/// Bits of the classes of a character.
mod class {
    pub(super) const ALPHA: u16 = 1;
    pub(super) const LOWER: u16 = 1 << 1;
    pub(super) const UPPER: u16 = 1 << 2;
    pub(super) const ICON: u16 = 1 << 3;
    pub(super) const MARK: u16 = 1 << 4;
    pub(super) const QUOTE: u16 = 1 << 5;
    pub(super) const BEFORE_STOP: u16 = 1 << 6;
    pub(super) const CURRENCY: u16 = 1 << 7;
    pub(super) const SENTENCE_END: u16 = 1 << 8;
    pub(super) const PUNCTUATION: u16 = 1 << 9;
    pub(super) const SYMBOL: u16 = 1 << 10;
    pub(super) const TERMINAL: u16 = 1 << 11;
    /// Python's `isalpha`.
    pub(super) const LETTER: u16 = 1 << 12;
    pub(super) const DIGIT: u16 = 1 << 13;
}

/// What a token is, in bits.
pub(super) mod fact {
    /// It holds a character that is not one of datatrove's punctuation.
    pub(crate) const WORD: u8 = 1;
    /// It holds a letter.
    pub(crate) const LETTER: u8 = 1 << 1;
    /// It is all punctuation (general category P).
    pub(crate) const PUNCTUATION: u8 = 1 << 2;
    /// It is one mark that ends a sentence.
    pub(crate) const SENTENCE_END: u8 = 1 << 3;
    /// A space stands before it, and nothing else.
    pub(crate) const AFTER_SPACE: u8 = 1 << 4;
    /// Other white space stands before it, which is a token of its own to spaCy.
    pub(crate) const AFTER_GAP: u8 = 1 << 5;
    /// An exception may begin with it.
    pub(crate) const BEGINS: u8 = 1 << 6;
}

/// One token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Of its bytes. Equal tokens have equal hashes.
    pub(super) hash: u64,
    /// Where it starts in the text.
    pub(super) start: u32,
    /// Its bytes.
    pub(super) length: u32,
    /// Its characters.
    pub(super) characters: u32,
    /// See [`fact`].
    pub(super) facts: u8,
    /// 0, or the number from 1 of the stop word that it is.
    pub(super) stop_word: u8,
}

/// Classes of all characters: 256 characters a page, equal pages once.
struct Classes {
    pages: Vec<u16>,
    flags: Vec<[u16; 256]>,
}

static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    let tables = [
        (class::ALPHA, classes::ALPHA),
        (class::LOWER, classes::LOWER),
        (class::UPPER, classes::UPPER),
        (class::ICON, classes::ICON),
        (class::MARK, classes::MARK),
        (class::QUOTE, classes::QUOTE),
        (class::BEFORE_STOP, classes::BEFORE_STOP),
        (class::CURRENCY, classes::CURRENCY),
        (class::SENTENCE_END, classes::SENTENCE_END),
        (class::PUNCTUATION, classes::PUNCTUATION),
        (class::SYMBOL, classes::SYMBOL),
        (class::TERMINAL, classes::TERMINAL),
        (class::DIGIT, &[(0x30, 0x39)]),
    ];
    let mut flat = vec![0_u16; 0x11_0000];
    for (bit, ranges) in tables {
        for &(low, high) in ranges {
            flat[low as usize..=high as usize]
                .iter_mut()
                .for_each(|flags| *flags |= bit);
        }
    }
    for (code, flags) in (0_u32..).zip(&mut flat) {
        if char::from_u32(code).is_some_and(|character| LETTERS.contains(character)) {
            *flags |= class::LETTER;
        }
    }
    let mut known: HashMap<[u16; 256], u16> = HashMap::new();
    let mut classes = Classes {
        pages: Vec::new(),
        flags: Vec::new(),
    };
    for page in flat.as_chunks::<256>().0 {
        let number = *known.entry(*page).or_insert_with(|| {
            classes.flags.push(*page);
            u16::try_from(classes.flags.len() - 1).unwrap_or(0)
        });
        classes.pages.push(number);
    }
    classes
});

impl Classes {
    #[inline]
    fn of(&self, character: char) -> u16 {
        let code = character as usize;
        self.flags[usize::from(self.pages[code >> 8])][code & 255]
    }
}

/// Whether `text` ends in one of datatrove's `TERMINAL_PUNCTUATION`.
#[inline]
pub(super) fn ends_terminal(text: &str) -> bool {
    match text.as_bytes().last() {
        None => false,
        Some(byte @ ..0x80) => matches!(byte, b'!' | b'.' | b'?'),
        Some(_) => text
            .chars()
            .next_back()
            .is_some_and(|last| CLASSES.of(last) & class::TERMINAL != 0),
    }
}

const LENGTH_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const MULTIPLIER: u64 = 0xd6e8_feb8_6659_fd93;

/// The hash of `bytes[start..end]`: for up to eight bytes one-to-one but for the length.
#[inline(always)]
fn hash(bytes: &[u8], start: usize, end: usize) -> u64 {
    let length = end - start;
    let seed = (length as u64).wrapping_mul(LENGTH_MULTIPLIER);
    let mix = |value: u64| {
        let product = value.wrapping_mul(MULTIPLIER);
        product ^ product >> 32
    };
    if length <= 8 {
        return mix(group(bytes, start, length) ^ seed).wrapping_mul(MULTIPLIER);
    }
    if length <= 16 {
        let first = group(bytes, start, 8);
        let last = group(bytes, end - 8, 8);
        return mix(mix(first ^ seed).wrapping_mul(MULTIPLIER) ^ last).wrapping_mul(MULTIPLIER);
    }
    xxh3_64(&bytes[start..end])
}

const MASKS: [u64; 9] = {
    let mut masks = [u64::MAX; 9];
    let mut length = 0;
    while length < 8 {
        masks[length] = (1 << (8 * length)) - 1;
        length += 1;
    }
    masks
};

/// Up to eight bytes as a number, the first the lowest.
#[inline(always)]
fn group(bytes: &[u8], start: usize, length: usize) -> u64 {
    if let Some(eight) = bytes
        .get(start..)
        .and_then(<[u8]>::first_chunk::<8>)
    {
        return u64::from_le_bytes(*eight) & MASKS[length];
    }
    bytes[start..start + length]
        .iter()
        .rev()
        .fold(0, |group, &byte| group << 8 | u64::from(byte))
}

/// The tokens of an exception as the rules alone cut it, by hash, and its number.
type Pattern = (Vec<u64>, u16);

/// The exceptions, and what neighbouring tokens can become one.
struct Exceptions {
    /// Of each, the bytes at which its tokens end.
    ends: Vec<Vec<usize>>,
    /// By hash.
    numbers: HashMap<u64, u16>,
    /// By the first two tokens: all tokens of those that the rules without exceptions cut, and the exception.
    patterns: HashMap<(u64, u64), Vec<Pattern>>,
    /// A bit for each hash's highest sixteen bits: what is not here is neither an exception nor begins one.
    seen: Vec<u64>,
    /// Hashes of tokens that begin an exception.
    begins: HashMap<u64, ()>,
}

static EXCEPTIONS: LazyLock<Exceptions> = LazyLock::new(|| {
    let mut exceptions = Exceptions {
        ends: Vec::new(),
        numbers: HashMap::new(),
        patterns: HashMap::new(),
        seen: vec![0; 1 << 10],
        begins: HashMap::new(),
    };
    let mut cutter = Cutter::default();
    for (number, line) in (0_u16..).zip(include_str!("english/exceptions.txt").lines()) {
        let text = line.replace('\u{1f}', "");
        let mut end = 0;
        exceptions.ends.push(
            line.split('\u{1f}')
                .map(|token| {
                    end += token.len();
                    end
                })
                .collect(),
        );
        let whole = hash(text.as_bytes(), 0, text.len());
        exceptions.numbers.insert(whole, number);
        exceptions.see(whole);
        // What is cut by no rule is found chunk by chunk.
        cutter.cut(&text, None);
        let mut start = 0;
        let tokens: Vec<u64> = cutter
            .ends
            .iter()
            .map(|&end| hash(text.as_bytes(), std::mem::replace(&mut start, end), end))
            .collect();
        if let [first, second, ..] = tokens[..] {
            exceptions.see(first);
            exceptions.begins.insert(first, ());
            exceptions
                .patterns
                .entry((first, second))
                .or_default()
                .push((tokens, number));
        }
    }
    exceptions
});

impl Exceptions {
    fn see(&mut self, hash: u64) {
        self.seen[(hash >> 54) as usize] |= 1 << (hash >> 48 & 63);
    }

    /// Whether a hash may be of an exception or of what begins one: nearly no other is.
    #[inline(always)]
    fn may_know(&self, hash: u64) -> bool {
        self.seen[(hash >> 54) as usize] >> (hash >> 48 & 63) & 1 == 1
    }

    #[inline]
    fn number(&self, hash: u64) -> Option<u16> {
        self.may_know(hash)
            .then(|| self.numbers.get(&hash).copied())
            .flatten()
    }

    fn number_of(&self, text: &str) -> Option<u16> {
        // The longest has twelve characters.
        (text.len() <= 48)
            .then(|| self.number(hash(text.as_bytes(), 0, text.len())))
            .flatten()
    }

    fn ends(&self, number: u16) -> &[usize] {
        &self.ends[usize::from(number)]
    }
}

/// Cuts one chunk by the rules.
#[derive(Debug, Default)]
struct Cutter {
    /// Where its tokens end.
    ends: Vec<usize>,
    /// Where what came off at the end ends, the last first.
    suffixes: Vec<usize>,
}

impl Cutter {
    fn cut(&mut self, chunk: &str, exceptions: Option<&Exceptions>) {
        let classes = &*CLASSES;
        let exception = |text: &str| exceptions.and_then(|known| known.number_of(text));
        self.ends.clear();
        self.suffixes.clear();
        let (mut from, mut to) = (0, chunk.len());
        while from < to {
            let rest = &chunk[from..to];
            if exception(rest).is_some() {
                break;
            }
            let prefix = prefix(rest, classes);
            if prefix > 0 && exception(&rest[prefix..]).is_some() {
                from += prefix;
                self.ends.push(from);
                break;
            }
            let suffix = suffix(&rest[prefix..], classes);
            if suffix > 0 && exception(&rest[..rest.len() - suffix]).is_some() {
                self.suffixes.push(to);
                to -= suffix;
                break;
            }
            if prefix == 0 && suffix == 0 {
                break;
            }
            if prefix > 0 {
                from += prefix;
                self.ends.push(from);
            }
            if suffix > 0 {
                self.suffixes.push(to);
                to -= suffix;
            }
        }
        if from < to {
            let middle = &chunk[from..to];
            if let (Some(number), Some(known)) = (exception(middle), exceptions) {
                self.ends
                    .extend(known.ends(number).iter().map(|end| from + end));
            } else if is_address(middle, classes) {
                self.ends.push(to);
            } else {
                self.cut_inside(middle, from, classes);
            }
        }
        self.ends.extend(self.suffixes.iter().rev());
    }

    fn cut_inside(&mut self, text: &str, offset: usize, classes: &Classes) {
        let mut cut_to = 0;
        let mut at = 0;
        let mut before = 0;
        while let Some(character) = text[at..].chars().next() {
            let flags = classes.of(character);
            let width = infix(&text[at..], character, flags, before, classes);
            if width == 0 {
                before = flags;
                at += character.len_utf8();
                continue;
            }
            if at > 0 {
                if at > cut_to {
                    self.ends.push(offset + at);
                }
                cut_to = at + width;
                self.ends.push(offset + cut_to);
            }
            before = text[at..at + width]
                .chars()
                .next_back()
                .map_or(0, |last| classes.of(last));
            at += width;
        }
        if cut_to < text.len() {
            self.ends.push(offset + text.len());
        }
    }
}

fn dots(text: &str) -> usize {
    text.len() - text.trim_start_matches('.').len()
}

/// Bytes that come off at the start.
fn prefix(text: &str, classes: &Classes) -> usize {
    let Some(first) = text.chars().next() else {
        return 0;
    };
    match first {
        '.' => match dots(text) {
            1 => 0,
            many => many,
        },
        '+' => usize::from(!text.as_bytes().get(1).is_some_and(u8::is_ascii_digit)),
        '§' | '%' | '=' | '—' | '–' => first.len_utf8(),
        'U' if text.starts_with("US$") => 3,
        'A' | 'C' if text.as_bytes().get(1) == Some(&b'$') => 2,
        _ if classes.of(first) & (class::MARK | class::CURRENCY | class::ICON) != 0 => {
            first.len_utf8()
        }
        _ => 0,
    }
}

/// Bytes that come off at the end: of all that could, the longest.
fn suffix(text: &str, classes: &Classes) -> usize {
    let Some(last) = text.chars().next_back() else {
        return 0;
    };
    let rest = &text[..text.len() - last.len_utf8()];
    let flags_before = |text: &str| text.chars().next_back().map_or(0, |c| classes.of(c));
    let mut longest = 0;
    match last {
        '.' => {
            let many = text.len() - text.trim_end_matches('.').len();
            if many > 1 {
                return many;
            }
            let mut before = rest.chars().rev();
            let one = before.next();
            let two = before.next();
            let flags = |c: Option<char>| c.map_or(0, |c| classes.of(c));
            let degrees =
                two == Some('°') && matches!(one, Some('F' | 'f' | 'C' | 'c' | 'K' | 'k'));
            let capitals = flags(one) & flags(two) & class::UPPER != 0;
            return usize::from(flags(one) & class::BEFORE_STOP != 0 || degrees || capitals);
        }
        '…' => longest = if rest.ends_with('…') { 6 } else { 3 },
        's' | 'S' if rest.ends_with('\'') => longest = 2,
        's' | 'S' if rest.ends_with('’') => longest = 4,
        '—' | '–' => longest = 3,
        '+' if rest.as_bytes().last().is_some_and(u8::is_ascii_digit) => longest = 1,
        _ if classes.of(last) & (class::MARK | class::ICON) != 0 => longest = last.len_utf8(),
        _ if classes.of(last) & class::CURRENCY != 0 && flags_before(rest) & class::DIGIT != 0 => {
            longest = last.len_utf8();
        }
        _ => {}
    }
    // A unit stands after a digit and holds none, so it is all that follows the last digit.
    if let Some(digit) = text.bytes().rposition(|byte| byte.is_ascii_digit()) {
        let tail = &text[digit + 1..];
        if UNITS.contains(&tail) {
            longest = longest.max(tail.len());
        }
    }
    longest
}

/// Units and currencies of several letters that come off after a digit. "тбكم" is two in one in spaCy's list.
const UNITS: [&str; 106] = [
    "US$", "C$", "A$", "cm²", "cm³", "dm²", "dm³", "km²", "km³", "mm²", "mm³", "m²", "m³", "µg", "µm", "ГБ", "Гб", "КБ", "Кб", "МБ", "Мб", "Па", "ТБ", "Тб", "г", "гб", "дм", "дм²", "дм³", "кПа", "кб", "кг", "км", "км/ч", "км²", "км³", "м", "м/с", "м²", "м³", "мб", "мбар", "мг", "мм", "мм²", "мм³", "нм", "см", "см²", "см³", "тбكم", "اكواب", "جرام", "جم", "سم", "سم²", "سم³", "غرام", "كغ", "كم", "كم²", "كم³", "كوب", "م", "م²", "م³", "ملغ", "مم", "مم²", "مم³", "%", "G", "GB", "K", "KB", "M", "MB", "Pa", "T", "TB", "cm", "dm", "ft", "g", "gb", "hPa", "ha", "in", "kb", "kg", "km", "km/h", "kmh", "lb", "m", "m/s", "mb", "mbar", "mg", "mm", "mph", "nm", "oz", "t", "tb", "yd",
];

/// Bytes of what joins two words at the start of `text`, whose first character is given; 0 if nothing does.
fn infix(text: &str, first: char, flags: u16, before: u16, classes: &Classes) -> usize {
    let after = |width: usize| text[width..].chars().next().map_or(0, |c| classes.of(c));
    let next = after(first.len_utf8());
    let after_word = before & (class::ALPHA | class::DIGIT) != 0;
    match first {
        '.' => match dots(text) {
            1 => usize::from(
                before & (class::LOWER | class::QUOTE) != 0
                    && next & (class::UPPER | class::QUOTE) != 0,
            ),
            many => many,
        },
        '…' => 3,
        '+' | '*' | '^' => usize::from(
            before & class::DIGIT != 0 && (next & class::DIGIT != 0 || text[1..].starts_with('-')),
        ),
        '-' => {
            if before & class::DIGIT != 0 && (next & class::DIGIT != 0 || text[1..].starts_with('-'))
            {
                return 1;
            }
            let run = text.len() - text.trim_start_matches('-').len();
            usize::from(after_word && run <= 3 && after(run) & class::ALPHA != 0) * run
        }
        '—' => {
            let run = if text[3..].starts_with('—') { 6 } else { 3 };
            usize::from(after_word && after(run) & class::ALPHA != 0) * run
        }
        '–' | '~' => usize::from(after_word && next & class::ALPHA != 0) * first.len_utf8(),
        ',' => usize::from(before & next & class::ALPHA != 0),
        ':' | '<' | '>' | '=' | '/' => usize::from(after_word && next & class::ALPHA != 0),
        _ if flags & class::ICON != 0 => first.len_utf8(),
        _ => 0,
    }
}

/// Whether all of `text` is an address: optional scheme and user, a host of labels or four numbers, optional port
/// and path. Local addresses of the private ranges are none.
fn is_address(text: &str, classes: &Classes) -> bool {
    // No host is without a dot.
    if !text.contains('.') {
        return false;
    }
    let in_scheme = |c: char| c == '+' || c == '-' || c == '.' || c == '_' || is_word_character(c);
    let scheme = text.find(|c| !in_scheme(c)).unwrap_or(text.len());
    let after_scheme = (text[scheme..].starts_with("://") && text[..scheme].chars().nth(1).is_some())
        .then_some(scheme + 3);
    [Some(0), after_scheme].into_iter().flatten().any(|start| {
        let rest = &text[start..];
        is_host_and_rest(rest, classes)
            || rest
                .match_indices('@')
                .any(|(at, _)| at > 0 && is_host_and_rest(&rest[at + 1..], classes))
    })
}

/// `\w` of Python.
fn is_word_character(character: char) -> bool {
    character == '_' || super::characters::ALPHANUMERICS.contains(character)
}

fn is_host_and_rest(text: &str, classes: &Classes) -> bool {
    let host = text.find([':', '/', '?', '#']).unwrap_or(text.len());
    let (host, rest) = text.split_at(host);
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port) => {
            let digits = port
                .find(|c: char| !is_decimal(c))
                .unwrap_or(port.len());
            if !(2..=5).contains(&port[..digits].chars().count()) {
                return false;
            }
            &port[digits..]
        }
    };
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])) && (is_name(host, classes) || is_ip(host))
}

/// `\d` of Python.
fn is_decimal(character: char) -> bool {
    character.is_ascii_digit()
        || (!character.is_ascii() && super::characters::DECIMALS.contains(character))
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

/// What the rules made of a chunk of up to 255 bytes and seven tokens.
#[derive(Clone, Copy, Debug, Default)]
struct Remembered {
    hash: u64,
    count: u8,
    ends: [u8; 7],
}

const REMEMBERED: usize = 1 << 11;

/// Tokenizes texts one after the other, and keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Tokenizer {
    /// The tokens of the text, without white space.
    pub(super) tokens: Vec<Token>,
    spare: Vec<Token>,
    /// Tokens with which an exception may begin.
    suspects: Vec<u32>,
    cutter: Cutter,
    remembered: Vec<Remembered>,
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "texts are shorter than 2^30 bytes, what is remembered than 2^8"
)]
impl Tokenizer {
    /// Forgets the tokens.
    pub(super) fn begin(&mut self) {
        self.tokens.clear();
        self.suspects.clear();
    }

    /// Adds a token that no rule of English looks at.
    pub(super) fn push_segment(&mut self, text: &str, start: usize, end: usize, before: u8) {
        self.tokens
            .push(token(text, start, end, before, &EXCEPTIONS));
    }

    /// Makes the tokens of `text`.
    pub(super) fn read(&mut self, text: &str) {
        let exceptions = &*EXCEPTIONS;
        let bytes = text.as_bytes();
        self.begin();
        self.remembered.resize(REMEMBERED, Remembered::default());
        let mut at = 0;
        let mut before = fact::AFTER_GAP;
        while at < bytes.len() {
            if byte::FLAGS[usize::from(bytes[at])] & byte::SPACE != 0 {
                // One space only parts; anything more, or else, is a token.
                before = if before == 0 && bytes[at] == b' ' {
                    fact::AFTER_SPACE
                } else {
                    fact::AFTER_GAP
                };
                at += 1;
                continue;
            }
            let (end, _) = super::plain_word_end(bytes, at);
            let plain = bytes
                .get(end)
                .is_none_or(|&next| byte::FLAGS[usize::from(next)] & byte::SPACE != 0);
            if plain {
                self.take_plain(text, at, end, before, exceptions);
                at = end;
            } else {
                let rest = &text[at..];
                let length = rest.find(is_space).unwrap_or(rest.len());
                if length == 0 {
                    // A space beyond ASCII.
                    before = fact::AFTER_GAP;
                    at += rest.chars().next().map_or(1, char::len_utf8);
                    continue;
                }
                self.take(text, at, at + length, before, exceptions);
                at += length;
            }
            before = 0;
        }
        if !self.suspects.is_empty() {
            self.join_exceptions(text, exceptions);
        }
    }

    /// Takes a chunk of visible ASCII.
    #[inline(always)]
    fn take_plain(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        before: u8,
        exceptions: &Exceptions,
    ) {
        let bytes = text.as_bytes();
        let letters = letters_end(bytes, start, end);
        if letters == end {
            self.take_letters(text, start, end, before, exceptions);
            return;
        }
        if letters + 1 == end && letters > start {
            let mark = bytes[letters];
            let comes_off = match mark {
                b',' | b';' | b':' | b'!' | b'?' | b')' => true,
                b'.' => {
                    let last = bytes[letters - 1];
                    let cut = last.is_ascii_lowercase()
                        || (letters > start + 1 && bytes[letters - 2].is_ascii_uppercase());
                    cut && exceptions.number(hash(bytes, start, end)).is_none()
                }
                _ => false,
            };
            if comes_off {
                self.take_letters(text, start, letters, before, exceptions);
                self.push_any(text, letters, end, 0, exceptions);
                return;
            }
        }
        self.take(text, start, end, before, exceptions);
    }

    /// Takes letters that no rule cuts.
    #[inline(always)]
    fn take_letters(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        before: u8,
        exceptions: &Exceptions,
    ) {
        let hash = hash(text.as_bytes(), start, end);
        if exceptions.may_know(hash) {
            self.take_known(text, start, end, before, exceptions, hash);
            return;
        }
        self.push(
            Token {
                hash,
                start: start as u32,
                length: (end - start) as u32,
                characters: (end - start) as u32,
                facts: fact::WORD | fact::LETTER | before,
                stop_word: stop_word(text.as_bytes(), start, end),
            },
            exceptions,
        );
    }

    #[inline(never)]
    fn take_known(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        mut before: u8,
        exceptions: &Exceptions,
        hash: u64,
    ) {
        match exceptions.number(hash) {
            None => self.push_any(text, start, end, before, exceptions),
            Some(number) => {
                let mut from = start;
                for token in exceptions.ends(number) {
                    self.push_any(text, from, start + token, before, exceptions);
                    from = start + token;
                    before = 0;
                }
            }
        }
    }

    /// Takes any chunk, by exceptions and rules.
    #[inline(never)]
    fn take(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        mut before: u8,
        exceptions: &Exceptions,
    ) {
        let hash = hash(text.as_bytes(), start, end);
        let slot = (hash >> 20) as usize % REMEMBERED;
        let known = self.remembered[slot];
        if known.hash == hash && known.count > 0 {
            let mut from = start;
            for &token in &known.ends[..usize::from(known.count)] {
                let to = start + usize::from(token);
                self.push_any(text, from, to, before, exceptions);
                from = to;
                before = 0;
            }
            return;
        }
        let mut cutter = std::mem::take(&mut self.cutter);
        cutter.cut(&text[start..end], Some(exceptions));
        if end - start < 256 && cutter.ends.len() <= 7 {
            let mut ends = [0; 7];
            for (to, from) in ends.iter_mut().zip(&cutter.ends) {
                *to = *from as u8;
            }
            self.remembered[slot] = Remembered {
                hash,
                count: cutter.ends.len() as u8,
                ends,
            };
        }
        let mut from = start;
        for token in &cutter.ends {
            self.push_any(text, from, start + token, before, exceptions);
            from = start + token;
            before = 0;
        }
        self.cutter = cutter;
    }

    #[inline]
    fn push_any(
        &mut self,
        text: &str,
        start: usize,
        end: usize,
        before: u8,
        exceptions: &Exceptions,
    ) {
        let token = token(text, start, end, before, exceptions);
        self.push(token, exceptions);
    }

    #[inline(always)]
    fn push(&mut self, token: Token, exceptions: &Exceptions) {
        if let Some(last) = self.tokens.last()
            && last.facts & fact::BEGINS != 0
            && token.facts & fact::AFTER_GAP == 0
            && exceptions.patterns.contains_key(&(last.hash, token.hash))
        {
            self.suspects.push(self.tokens.len() as u32 - 1);
        }
        self.tokens.push(token);
    }

    /// Turns neighbours that are an exception into it: the longest first, then the first.
    #[cold]
    fn join_exceptions(&mut self, text: &str, exceptions: &Exceptions) {
        let mut found: Vec<(usize, usize, u16)> = Vec::new();
        for &start in &self.suspects {
            let start = start as usize;
            let tokens = &self.tokens[start..];
            let patterns = &exceptions.patterns[&(tokens[0].hash, tokens[1].hash)];
            for (pattern, number) in patterns {
                let hit = pattern.len() <= tokens.len()
                    && pattern.iter().zip(tokens).all(|(hash, token)| *hash == token.hash)
                    && tokens[1..pattern.len()]
                        .iter()
                        .all(|token| token.facts & fact::AFTER_GAP == 0);
                if hit {
                    found.push((start, start + pattern.len(), *number));
                }
            }
        }
        found.sort_by_key(|&(start, end, _)| (std::cmp::Reverse(end - start), start));
        let mut taken = vec![false; self.tokens.len()];
        found.retain(|&(start, end, _)| {
            let free = !taken[start] && !taken[end - 1];
            taken[start..end].fill(true);
            free
        });
        // Over a space they stay as they are, but were in the way of others.
        found.retain(|&(start, end, _)| {
            self.tokens[start + 1..end]
                .iter()
                .all(|token| token.facts & fact::AFTER_SPACE == 0)
        });
        if found.is_empty() {
            return;
        }
        found.sort_unstable();
        let mut kept = 0;
        self.spare.clear();
        for (start, end, number) in found {
            self.spare.extend_from_slice(&self.tokens[kept..start]);
            kept = end;
            let first = self.tokens[start].start as usize;
            let mut before =
                self.tokens[start].facts & (fact::AFTER_SPACE | fact::AFTER_GAP);
            let mut from = first;
            for cut in exceptions.ends(number) {
                self.spare
                    .push(token(text, from, first + cut, before, exceptions));
                from = first + cut;
                before = 0;
            }
        }
        self.spare.extend_from_slice(&self.tokens[kept..]);
        std::mem::swap(&mut self.tokens, &mut self.spare);
    }
}

/// Where the ASCII letters from `start` on end, at `end` at the latest.
#[inline(always)]
fn letters_end(bytes: &[u8], start: usize, end: usize) -> usize {
    let mut at = start;
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let others = !letter_bits(u64::from_le_bytes(*eight)) & 0x8080_8080_8080_8080;
        if others != 0 {
            return (at + (others.trailing_zeros() / 8) as usize).min(end);
        }
        at += 8;
    }
    while at < end && bytes[at].is_ascii_alphabetic() {
        at += 1;
    }
    at.min(end)
}

#[inline(always)]
fn stop_word(bytes: &[u8], start: usize, end: usize) -> u8 {
    match &bytes[start..end] {
        b"the" => 1,
        b"be" => 2,
        b"to" => 3,
        b"of" => 4,
        b"and" => 5,
        b"that" => 6,
        b"have" => 7,
        b"with" => 8,
        _ => 0,
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "texts are shorter than 2^30 bytes"
)]
fn token(text: &str, start: usize, end: usize, before: u8, exceptions: &Exceptions) -> Token {
    let hash = hash(text.as_bytes(), start, end);
    let classes = &*CLASSES;
    let mut characters = 0;
    let (mut any, mut all) = (0, u16::MAX);
    let mut word = false;
    for character in text[start..end].chars() {
        let flags = classes.of(character);
        characters += 1;
        any |= flags;
        all &= flags;
        word |= flags & class::SYMBOL == 0;
    }
    let begins = exceptions.may_know(hash) && exceptions.begins.contains_key(&hash);
    let bit = |holds: bool, bit: u8| if holds { bit } else { 0 };
    Token {
        hash,
        start: start as u32,
        length: (end - start) as u32,
        characters,
        facts: before
            | bit(word, fact::WORD)
            | bit(any & class::LETTER != 0, fact::LETTER)
            | bit(all & class::PUNCTUATION != 0, fact::PUNCTUATION)
            | bit(characters == 1 && all & class::SENTENCE_END != 0, fact::SENTENCE_END)
            | bit(begins, fact::BEGINS),
        stop_word: stop_word(text.as_bytes(), start, end),
    }
}

/// How many sentences spaCy's `sentencizer` makes of a stretch of tokens: one ends at a mark, and the next begins
/// with the first token that is no punctuation.
pub(super) fn count_sentences(tokens: &[Token]) -> u64 {
    let mut count = u64::from(!tokens.is_empty());
    let mut ended = false;
    for (number, token) in tokens.iter().enumerate() {
        // White space between is a token that is no punctuation.
        if ended && number > 0 && token.facts & fact::AFTER_GAP != 0 {
            count += 1;
            ended = false;
        }
        if token.facts & fact::SENTENCE_END != 0 {
            ended = true;
        } else if ended && token.facts & fact::PUNCTUATION == 0 {
            count += 1;
            ended = false;
        }
    }
    count
}

#[cfg(test)]
mod tests;
