//! The rules by which a chunk is cut: what comes off at its ends, and what joins two words.

use super::address::is_address;
use super::characters::{CLASSES, Classes, class};
use super::exceptions::Exceptions;

/// Cuts one chunk by the rules.
#[derive(Debug, Default)]
pub(super) struct Cutter {
    /// Where its tokens end.
    pub(super) ends: Vec<usize>,
    /// Where what came off at the end ends, the last first.
    suffixes: Vec<usize>,
}

impl Cutter {
    pub(super) fn cut(&mut self, chunk: &str, exceptions: Option<&Exceptions>) {
        let classes = &*CLASSES;
        let exception = |text: &str| exceptions.and_then(|known| known.number_of(text));
        self.ends.clear();
        self.suffixes.clear();
        let (mut from, mut to) = (0, chunk.len());
        // The exception that what is left is known to be, or not to be.
        let mut known = None;
        while from < to {
            let rest = &chunk[from..to];
            let number = known.take().unwrap_or_else(|| exception(rest));
            known = Some(number);
            if number.is_some() {
                break;
            }
            let prefix = prefix(rest, classes);
            if prefix > 0 {
                let number = exception(&rest[prefix..]);
                known = Some(number);
                if number.is_some() {
                    from += prefix;
                    self.ends.push(from);
                    break;
                }
            }
            let suffix = suffix(&rest[prefix..], classes);
            if suffix > 0 {
                let number = exception(&rest[..rest.len() - suffix]);
                known = (prefix == 0 || number.is_some()).then_some(number);
                if number.is_some() {
                    self.suffixes.push(to);
                    to -= suffix;
                    break;
                }
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
            let number = known.unwrap_or_else(|| exception(middle));
            if let (Some(number), Some(exceptions)) = (number, exceptions) {
                let ends = exceptions.ends(number).iter();
                self.ends.extend(ends.map(|end| from + end));
            } else if !middle.bytes().any(may_cut) || is_address(middle, classes) {
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
        loop {
            // What joins no words is passed over quickly.
            let rest = &text.as_bytes()[at..];
            let cut = rest.iter().position(|&byte| may_cut(byte));
            let Some(cut) = cut else { break };
            if cut > 0 {
                before = classes.ascii()[usize::from(rest[cut - 1])];
                at += cut;
            }
            let Some(character) = text[at..].chars().next() else {
                break;
            };
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

/// Whether a byte may begin what joins two words; every address has one, too, which is its full stop.
#[inline]
fn may_cut(byte: u8) -> bool {
    MAY_CUT[usize::from(byte)]
}

static MAY_CUT: [bool; 256] = {
    let mut may = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // `*+,-./` and `:;<=>`, of which `;` does nothing, and `^`, `~`.
        may[byte] = matches!(byte, 0x2a..=0x2f | 0x3a..=0x3e | 0x5e | 0x7e | 0x80..);
        byte += 1;
    }
    may
};

fn dots(text: &str) -> usize {
    text.len() - text.trim_start_matches('.').len()
}

/// Bytes that come off at the start.
pub(super) fn prefix(text: &str, classes: &Classes) -> usize {
    // Nothing that begins with another letter or digit loses anything.
    if let Some(first) = text.as_bytes().first()
        && first.is_ascii_alphanumeric()
        && !matches!(first, b'U' | b'A' | b'C')
    {
        return 0;
    }
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

/// Whether one of the last five bytes is a digit: the units of ASCII letters have up to four.
fn is_unit_end(text: &[u8]) -> bool {
    text.iter().rev().take(5).any(u8::is_ascii_digit)
}

/// Bytes that come off at the end: of all that could, the longest.
pub(super) fn suffix(text: &str, classes: &Classes) -> usize {
    // After a letter only units come off, and clitics.
    if let [.., before, last] = text.as_bytes()
        && last.is_ascii_alphanumeric()
        && before.is_ascii_alphabetic()
        && (last.is_ascii_digit() || !is_unit_end(text.as_bytes()))
    {
        return 0;
    }
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
    // No unit ends in another mark, or in a digit.
    if last.is_ascii() && !last.is_ascii_alphabetic() && !matches!(last, '%' | '$') {
        return longest;
    }
    // A unit stands after a digit and holds none, so it is all that follows the last digit.
    let nearest = &text.as_bytes()[text.len().saturating_sub(LONGEST_UNIT + 1)..];
    if let Some(digit) = nearest.iter().rposition(u8::is_ascii_digit) {
        let tail = &nearest[digit + 1..];
        let begins = |first: &u8| UNIT_BEGINS[usize::from(*first)];
        if tail.first().is_some_and(begins) && UNITS.iter().any(|unit| unit.as_bytes() == tail) {
            longest = longest.max(tail.len());
        }
    }
    longest
}

/// Units and currencies of several letters that come off after a digit. "тбكم" is two in one in spaCy's list.
#[rustfmt::skip]
const UNITS: [&str; 106] = [
    "US$", "C$", "A$", "cm²", "cm³", "dm²", "dm³", "km²", "km³", "mm²", "mm³", "m²", "m³", "µg", "µm", "ГБ",
    "Гб", "КБ", "Кб", "МБ", "Мб", "Па", "ТБ", "Тб", "г", "гб", "дм", "дм²", "дм³", "кПа", "кб", "кг", "км",
    "км/ч", "км²", "км³", "м", "м/с", "м²", "м³", "мб", "мбар", "мг", "мм", "мм²", "мм³", "нм", "см", "см²",
    "см³", "тбكم", "اكواب", "جرام", "جم", "سم", "سم²", "سم³", "غرام", "كغ", "كم", "كم²", "كم³", "كوب", "م",
    "م²", "م³", "ملغ", "مم", "مم²", "مم³", "%", "G", "GB", "K", "KB", "M", "MB", "Pa", "T", "TB", "cm", "dm",
    "ft", "g", "gb", "hPa", "ha", "in", "kb", "kg", "km", "km/h", "kmh", "lb", "m", "m/s", "mb", "mbar", "mg",
    "mm", "mph", "nm", "oz", "t", "tb", "yd",
];

/// Bytes of the longest.
const LONGEST_UNIT: usize = 10;

/// Bytes with which one begins.
static UNIT_BEGINS: [bool; 256] = {
    let mut begins = [false; 256];
    let mut number = 0;
    while number < UNITS.len() {
        begins[UNITS[number].as_bytes()[0] as usize] = true;
        number += 1;
    }
    begins
};

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
            if before & class::DIGIT != 0
                && (next & class::DIGIT != 0 || text[1..].starts_with('-'))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_comes_off_after_a_digit_only() {
        for unit in UNITS {
            assert!(unit.len() <= LONGEST_UNIT, "{unit}");
            for (before, expected) in [("25", unit.len()), ("x5", unit.len())] {
                let text = format!("{before}{unit}");
                assert_eq!(suffix(&text, &CLASSES), expected, "{text}");
            }
            let letter = format!("x{unit}");
            assert!(suffix(&letter, &CLASSES) < unit.len().max(2), "{letter}");
        }
        assert_eq!(suffix("s390x", &CLASSES), 0);
        assert_eq!(suffix("5 a very long tail", &CLASSES), 0);
    }
}
