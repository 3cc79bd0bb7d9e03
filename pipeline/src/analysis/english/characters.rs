//! Which class a character is of to spaCy's tokenizer and to datatrove, in one look.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::tables;
use crate::analysis::characters::LETTERS;

/// Bits of the classes of a character.
pub(super) mod class {
    pub(crate) const ALPHA: u16 = 1;
    pub(crate) const LOWER: u16 = 1 << 1;
    pub(crate) const UPPER: u16 = 1 << 2;
    pub(crate) const ICON: u16 = 1 << 3;
    pub(crate) const MARK: u16 = 1 << 4;
    pub(crate) const QUOTE: u16 = 1 << 5;
    pub(crate) const BEFORE_STOP: u16 = 1 << 6;
    pub(crate) const CURRENCY: u16 = 1 << 7;
    pub(crate) const SENTENCE_END: u16 = 1 << 8;
    pub(crate) const PUNCTUATION: u16 = 1 << 9;
    pub(crate) const SYMBOL: u16 = 1 << 10;
    pub(crate) const TERMINAL: u16 = 1 << 11;
    /// Python's `isalpha`.
    pub(crate) const LETTER: u16 = 1 << 12;
    pub(crate) const DIGIT: u16 = 1 << 13;
}

/// Classes of all characters: 256 characters a page, equal pages once.
pub(super) struct Classes {
    pages: Vec<u16>,
    flags: Vec<[u16; 256]>,
}

pub(super) static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    let tables = [
        (class::ALPHA, tables::ALPHA),
        (class::LOWER, tables::LOWER),
        (class::UPPER, tables::UPPER),
        (class::ICON, tables::ICON),
        (class::MARK, tables::MARK),
        (class::QUOTE, tables::QUOTE),
        (class::BEFORE_STOP, tables::BEFORE_STOP),
        (class::CURRENCY, tables::CURRENCY),
        (class::SENTENCE_END, tables::SENTENCE_END),
        (class::PUNCTUATION, tables::PUNCTUATION),
        (class::SYMBOL, tables::SYMBOL),
        (class::TERMINAL, tables::TERMINAL),
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
    pub(super) fn ascii(&self) -> &[u16; 256] {
        &self.flags[usize::from(self.pages[0])]
    }

    #[inline]
    pub(super) fn of(&self, character: char) -> u16 {
        let code = character as usize;
        self.flags[usize::from(self.pages[code >> 8])][code & 255]
    }
}

/// Whether `text` ends in one of datatrove's `TERMINAL_PUNCTUATION`.
#[inline]
pub(crate) fn ends_terminal(text: &str) -> bool {
    match text.as_bytes().last() {
        None => false,
        Some(byte @ ..0x80) => matches!(byte, b'!' | b'.' | b'?'),
        Some(_) => text
            .chars()
            .next_back()
            .is_some_and(|last| CLASSES.of(last) & class::TERMINAL != 0),
    }
}
