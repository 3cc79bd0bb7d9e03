//! Numbers of payment cards: the lengths and beginnings of the large networks (ISO/IEC 7812, the issuers' published ranges),
//! in the groups in which they are written, or without any after a word such as `card`, with the check digit of Luhn (US
//! patent 2,950,048). One in ten of all numbers has the right one, so a bare number of 16 digits is most often something else,
//! and so are four groups in a longer row of groups.

use std::ops::Range;

use super::{before, in_word};

/// Words before a number without groups.
const WORDS: [&str; 11] = [
    "card",
    "visa",
    "mastercard",
    "amex",
    "discover",
    "credit",
    "debit",
    "payment",
    "billing",
    "cc",
    "pan",
];

/// Numbers that the networks publish for tests; documentation is full of them.
const FOR_TESTS: [&str; 12] = [
    "4111111111111111",
    "4242424242424242",
    "4012888888881881",
    "4000056655665556",
    "4000000000000002",
    "5555555555554444",
    "5105105105105100",
    "2223003122003222",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
];

/// The number that begins at the digit at `at`.
pub(super) fn at(text: &str, at: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let behind = (at > 0).then(|| bytes[at - 1]);
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let goes_before = behind == Some(b' ') && at > 1 && is_digit(at - 2);
    if goes_before || matches!(behind, Some(b'.' | b'-' | b'+' | b',' | b'/' | b':')) {
        return None;
    }
    let mut groups = [0usize; 5];
    let (mut count, mut end) = (0, at);
    let mut digits = 0;
    let mut separator = None;
    loop {
        let length = bytes[end..]
            .iter()
            .take(20)
            .take_while(|b| b.is_ascii_digit())
            .count();
        if length == 0 || count == groups.len() {
            return None;
        }
        groups[count] = length;
        count += 1;
        digits += length;
        end += length;
        // The common case is a year or a page: no first group of a card.
        if count == 1 && !(length == 4 || (14..=16).contains(&length)) {
            return None;
        }
        let next = bytes.get(end).copied();
        let goes_on = matches!(next, Some(b' ' | b'-'))
            && separator.is_none_or(|separator| Some(separator) == next)
            && bytes.get(end + 1).is_some_and(u8::is_ascii_digit)
            && digits < 16;
        if !goes_on {
            break;
        }
        separator = next;
        end += 1;
    }
    let next = bytes.get(end);
    let fraction = next == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
    // Goes on with a group, or is reckoned with.
    let goes_on = count > 1 && next == Some(&b' ') && is_digit(end + 1);
    if in_word(next) || fraction || goes_on || matches!(next, Some(b'-' | b'*')) {
        return None;
    }
    let well_grouped = matches!(
        &groups[..count],
        [14..=16] | [4, 4, 4, 4] | [4, 6, 5] | [4, 6, 4]
    );
    if !well_grouped {
        return None;
    }
    let digits: String = text[at..end].chars().filter(char::is_ascii_digit).collect();
    let all_alike = digits.bytes().all(|digit| digit == digits.as_bytes()[0]);
    (issued(&digits)
        && luhn(&digits)
        && !all_alike
        && !FOR_TESTS.contains(&digits.as_str())
        && (count > 1 || is_of_card(&before(text, at, 40))))
    .then_some(at..end)
}

fn is_of_card(before: &str) -> bool {
    before.split(|c: char| !c.is_alphanumeric()).any(|word| {
        WORDS
            .iter()
            .any(|of| word == *of || (of.len() > 3 && (word.starts_with(of) || word.ends_with(of))))
    })
}

/// Whether a network gives out numbers that begin so and are so long.
fn issued(digits: &str) -> bool {
    let begins = |count: usize| -> u32 { digits[..count].parse().unwrap_or(0) };
    match digits.len() {
        16 => {
            matches!(begins(1), 4)
                || matches!(begins(2), 51..=55 | 65 | 35)
                || matches!(begins(3), 644..=649)
                || matches!(begins(4), 2221..=2720 | 6011)
        }
        15 => matches!(begins(2), 34 | 37),
        14 => matches!(begins(2), 36 | 38 | 39) || matches!(begins(3), 300..=305),
        _ => false,
    }
}

fn luhn(digits: &str) -> bool {
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(digit - b'0');
            match i % 2 {
                0 => digit,
                _ if digit >= 5 => 2 * digit - 9,
                _ => 2 * digit,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}
