//! The word-break classes that [`super::words`] handles itself, for the common scripts of the basic plane.
//!
//! The classes are those of UAX #29 (table 3, `Word_Break` property values, Unicode 17), with everything rare
//! or entangled folded into [`Class::Complex`], which the scanner hands to `unicode-segmentation`. A character
//! that is listed nowhere is complex, so the table may be short without being wrong. The ranges were found by
//! asking `unicode-segmentation` how each character breaks beside others; the test below asks it again, for
//! every character.

/// How a character takes part in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Left to `unicode-segmentation`: modifier signs, Hebrew, joiners, regional indicators, rare scripts, all
    /// of the upper planes.
    Complex,
    /// Breaks on both sides and is in no word: punctuation, symbols, space.
    Other,
    /// `ALetter`.
    Letter,
    /// Numeric.
    Numeric,
    /// Katakana.
    Katakana,
    /// `ExtendNumLet`: the underscore and its like join words but make none.
    ExtendNumLet,
    /// `MidLetter`: joins two letters.
    MidLetter,
    /// `MidNum`: joins two digits.
    MidNum,
    /// `MidNumLet` and the apostrophe: joins two letters or two digits.
    MidNumLet,
    /// Breaks on both sides and is a word: ideographs, kana, Thai letters, superscript digits.
    Single,
    /// Extend and Format without the zero width joiner: belongs to what stands before it.
    Mark,
}

const RANGES: [(Class, &str); 10] = {
    use Class::*;
    [
        (
            Other,
            "0000-0026 0028-002B 002D 002F 003C-0040 005B-005E 0060 007B-00A9 00AB-00AC 00AE-00B1 00B4 00B6 00BB \
             00BF 00D7 00F7 02D8-02DD 0375 0378-0379 0380-0385 038B 038D 03A2 03F6 0482 0530 0557-0558 055D \
             058B-058F 0606-060B 060E-060F 061B 061D-061F 066A 066D 06D4 06DE 06E9 06FD-06FE 0964-0965 0970 0E00 \
             0E3B-0E3F 0E4F 0E5A-0E7F 10C6 10C8-10CC 10CE-10CF 10FB 1F16-1F17 1F1E-1F1F 1F46-1F47 1F4E-1F4F 1F58 \
             1F5A 1F5C 1F5E 1F7E-1F7F 1FB5 1FBD 1FBF-1FC1 1FC5 1FCD-1FCF 1FD4-1FD5 1FDC-1FDF 1FED-1FF1 1FF5 \
             1FFD-1FFF 2007 200B 2010-2017 201A-2023 2025-2026 2028-2029 2030-203E 2041-2043 2045-2053 2055-205E \
             2065 20A0-20CF 2100-2101 2103-2106 2108-2109 2114 2116-2118 211E-2123 2125 2127 2129 212E 213A-213B \
             2140-2144 214A-214D 214F 218A-23FF 2500-2775 2794-27BF 3001-3004 3008-3020 3030 3036-3037 303D-3040 \
             3097-3098 30FB 4DC0-4DFF FF00-FF06 FF08-FF0B FF0D FF0F FF1C-FF20 FF3B-FF3E FF40 FF5B-FF65 FFBF-FFC1 \
             FFC8-FFC9 FFD0-FFD1 FFD8-FFD9 FFDD-FFEF",
        ),
        (
            Letter,
            "0041-005A 0061-007A 00AA 00B5 00BA 00C0-00D6 00D8-00F6 00F8-02C1 02C6-02D1 02E0-02E4 02EC 02EE \
             0370-0374 0376-0377 037A-037D 037F 0386 0388-038A 038C 038E-03A1 03A3-03F5 03F7-0481 048A-052F \
             0531-0556 0559 0560-0588 0620-064A 066E-066F 0671-06D3 06D5 06E5-06E6 06EE-06EF 06FA-06FC 06FF \
             0904-0939 093D 0950 0958-0961 0971-097F 10A0-10C5 10C7 10CD 10D0-10FA 10FC-10FF 1E00-1F15 1F18-1F1D \
             1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC \
             1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 \
             212A-212D 212F-2139 213C-213F 2145-2149 214E 2160-2188 3005 303B-303C AC00-D7A3 FF21-FF3A FF41-FF5A \
             FFA0-FFBE FFC2-FFC7 FFCA-FFCF FFD2-FFD7 FFDA-FFDC",
        ),
        (
            Numeric,
            "0030-0039 0660-0669 06F0-06F9 0966-096F 0E50-0E59 FF10-FF19",
        ),
        (Katakana, "3031-3035 30A1-30FA 30FC-30FF FF66-FF9D"),
        (ExtendNumLet, "005F 202F 203F-2040 2054 FF3F"),
        (MidLetter, "003A 00B7 0387 055F 2027 FF1A"),
        (MidNum, "002C 003B 037E 0589 060C-060D 066C 2044 FF0C FF1B"),
        (MidNumLet, "0027 002E 2018-2019 2024 FF07 FF0E"),
        (
            Single,
            "00B2-00B3 00B9 00BC-00BE 0E01-0E30 0E32-0E33 0E40-0E46 2150-215F 2189 2776-2793 3006-3007 3021-3029 \
             3038-303A 3041-3096 309D-309F 3400-4DBF 4E00-9FFF",
        ),
        (
            Mark,
            "00AD 0300-036F 0483-0489 0610-061A 061C 064B-065F 0670 06D6-06DC 06DF-06E4 06E7-06E8 06EA-06ED \
             0900-0903 093A-093C 093E-094F 0951-0957 0962-0963 0E31 0E34-0E3A 0E47-0E4E 200C 200E-200F 202A-202E \
             2060-2064 2066-206F 302A-302F 3099-309A FF9E-FF9F",
        ),
    ]
};

/// The class of every character of the basic plane, by code point.
pub(super) static CLASSES: [Class; 0x10000] = expand();

const fn expand() -> [Class; 0x10000] {
    let mut classes = [Class::Complex; 0x10000];
    let mut row = 0;
    while row < RANGES.len() {
        let (class, text) = RANGES[row];
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            let first = hexadecimal(text, at);
            at += 4;
            let mut last = first;
            if at < text.len() && text[at] == b'-' {
                last = hexadecimal(text, at + 1);
                at += 5;
            }
            at += 1;
            let mut code = first;
            while code <= last {
                classes[code] = class;
                code += 1;
            }
        }
        row += 1;
    }
    classes
}

const fn hexadecimal(text: &[u8], at: usize) -> usize {
    let mut value = 0;
    let mut digit = 0;
    while digit < 4 {
        let byte = text[at + digit];
        value = value * 16
            + (if byte <= b'9' {
                byte - b'0'
            } else {
                byte - b'A' + 10
            }) as usize;
        digit += 1;
    }
    value
}

#[cfg(test)]
mod tests {
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    /// The class, found from how the character breaks beside others.
    fn probe(character: char) -> Class {
        let whole = |before: &str, after: &str| {
            format!("{before}{character}{after}")
                .split_word_bounds()
                .count()
                == 1
        };
        if whole("!", "") {
            return if whole("", "\u{263a}") {
                Class::Complex
            } else {
                Class::Mark
            };
        }
        let hebrew = whole("", "\"\u{5d0}");
        let regional_indicator = whole("\u{1f1e6}", "");
        let wide_space = character != ' ' && whole(" ", "");
        if hebrew || regional_indicator || wide_space {
            return Class::Complex;
        }
        let is_word = character.to_string().unicode_words().count() == 1;
        match () {
            () if whole("a", "") && whole("\u{30a1}", "") => Class::ExtendNumLet,
            // A few letters and digits by class are neither by general category, and alone no word.
            () if whole("a:", "") => {
                if is_word {
                    Class::Letter
                } else {
                    Class::Complex
                }
            }
            () if whole("1,", "") => {
                if is_word {
                    Class::Numeric
                } else {
                    Class::Complex
                }
            }
            () if whole("\u{30a1}", "") => {
                if is_word {
                    Class::Katakana
                } else {
                    Class::Complex
                }
            }
            () if whole("a", "a") && whole("1", "1") => Class::MidNumLet,
            () if whole("a", "a") => Class::MidLetter,
            () if whole("1", "1") => Class::MidNum,
            () if is_word => Class::Single,
            () => Class::Other,
        }
    }

    #[test]
    fn every_listed_character_breaks_as_its_class_says() {
        for character in '\0'..='\u{ffff}' {
            let class = CLASSES[character as usize];
            if class != Class::Complex {
                assert_eq!(class, probe(character), "U+{:04X}", character as u32);
            }
        }
    }

    #[test]
    fn ascii_is_listed_whole() {
        assert!(CLASSES[..0x80].iter().all(|&class| class != Class::Complex));
    }
}
