//! The script of a letter, and the letter folded into one byte for the n-grams of its script.
//!
//! Scripts are told by Unicode's blocks (<https://www.unicode.org/Public/UCD/latest/ucd/Blocks.txt>), which is coarser than the
//! `Script` property and costs one look into a table; digits and punctuation inside the blocks of Arabic, Devanagari and
//! Latin-1 are told apart, since they are common.

/// A script that languages are told apart by or within.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Script {
    /// No letter: ends a word.
    None,
    /// Part of the word it stands in, and says nothing: joiners, soft hyphens, combining marks.
    Transparent,
    Latin,
    Cyrillic,
    Arabic,
    Devanagari,
    Bengali,
    Greek,
    Armenian,
    Hebrew,
    Gurmukhi,
    Gujarati,
    Oriya,
    Tamil,
    Telugu,
    Kannada,
    Malayalam,
    Sinhala,
    Thai,
    Lao,
    Tibetan,
    Myanmar,
    Georgian,
    Ethiopic,
    Khmer,
    Hangul,
    Kana,
    Han,
}

/// Number of scripts, the two that are none counted.
pub(super) const SCRIPTS: usize = Script::Han as usize + 1;

/// Scripts that several languages share: each has a linear model. They stand in a row, so that
/// `script as usize - Latin as usize` is an index.
pub(super) const SHARED: [Script; 5] = [
    Script::Latin,
    Script::Cyrillic,
    Script::Arabic,
    Script::Devanagari,
    Script::Bengali,
];

impl Script {
    /// Its place among the scripts that several languages share.
    pub(super) fn shared(self) -> Option<usize> {
        SHARED.iter().position(|script| *script == self)
    }

    /// The one language of the identifier that is written in it, where there is only one.
    pub(super) const fn language(self) -> Option<&'static str> {
        Some(match self {
            Self::Greek => "el",
            Self::Armenian => "hy",
            Self::Hebrew => "he",
            Self::Gurmukhi => "pa",
            Self::Gujarati => "gu",
            Self::Oriya => "or",
            Self::Tamil => "ta",
            Self::Telugu => "te",
            Self::Kannada => "kn",
            Self::Malayalam => "ml",
            Self::Sinhala => "si",
            Self::Thai => "th",
            Self::Lao => "lo",
            Self::Tibetan => "bo",
            Self::Myanmar => "my",
            Self::Georgian => "ka",
            Self::Ethiopic => "am",
            Self::Khmer => "km",
            Self::Hangul => "ko",
            Self::Kana => "ja",
            Self::Han => "zh",
            _ => return None,
        })
    }
}

/// First and last code point, by sixteens.
const BLOCKS: &[(u32, u32, Script)] = &[
    (0x00c0, 0x024f, Script::Latin),
    (0x0250, 0x02af, Script::Latin),
    (0x0300, 0x036f, Script::Transparent),
    (0x0370, 0x03ff, Script::Greek),
    (0x0400, 0x052f, Script::Cyrillic),
    (0x0530, 0x058f, Script::Armenian),
    (0x0590, 0x05ff, Script::Hebrew),
    (0x0600, 0x06ff, Script::Arabic),
    (0x0750, 0x077f, Script::Arabic),
    (0x08a0, 0x08ff, Script::Arabic),
    (0x0900, 0x097f, Script::Devanagari),
    (0x0980, 0x09ff, Script::Bengali),
    (0x0a00, 0x0a7f, Script::Gurmukhi),
    (0x0a80, 0x0aff, Script::Gujarati),
    (0x0b00, 0x0b7f, Script::Oriya),
    (0x0b80, 0x0bff, Script::Tamil),
    (0x0c00, 0x0c7f, Script::Telugu),
    (0x0c80, 0x0cff, Script::Kannada),
    (0x0d00, 0x0d7f, Script::Malayalam),
    (0x0d80, 0x0dff, Script::Sinhala),
    (0x0e00, 0x0e7f, Script::Thai),
    (0x0e80, 0x0eff, Script::Lao),
    (0x0f00, 0x0fff, Script::Tibetan),
    (0x1000, 0x109f, Script::Myanmar),
    (0x10a0, 0x10ff, Script::Georgian),
    (0x1100, 0x11ff, Script::Hangul),
    (0x1200, 0x139f, Script::Ethiopic),
    (0x1780, 0x17ff, Script::Khmer),
    (0x1c90, 0x1cbf, Script::Georgian),
    (0x1e00, 0x1eff, Script::Latin),
    (0x1f00, 0x1fff, Script::Greek),
    (0x2c60, 0x2c7f, Script::Latin),
    (0x2d00, 0x2d2f, Script::Georgian),
    (0x2d80, 0x2ddf, Script::Ethiopic),
    (0x2de0, 0x2dff, Script::Cyrillic),
    (0x3040, 0x30ff, Script::Kana),
    (0x3130, 0x318f, Script::Hangul),
    (0x31f0, 0x31ff, Script::Kana),
    (0x3400, 0x4dbf, Script::Han),
    (0x4e00, 0x9fff, Script::Han),
    (0xa640, 0xa69f, Script::Cyrillic),
    (0xa720, 0xa7ff, Script::Latin),
    (0xab00, 0xab2f, Script::Ethiopic),
    (0xac00, 0xd7ff, Script::Hangul),
    (0xf900, 0xfaff, Script::Han),
    (0xfb50, 0xfdff, Script::Arabic),
    (0xfe70, 0xfeff, Script::Arabic),
];

static BY_SIXTEENS: [Script; 4096] = {
    let mut table = [Script::None; 4096];
    let mut block = 0;
    while block < BLOCKS.len() {
        let (first, last, script) = BLOCKS[block];
        let mut at = first >> 4;
        while at <= last >> 4 {
            table[at as usize] = script;
            at += 1;
        }
        block += 1;
    }
    table
};

/// The script of a code point that is not ASCII.
#[inline]
pub(super) fn script_of(point: u32) -> Script {
    match BY_SIXTEENS.get((point >> 4) as usize) {
        Some(Script::None) => match point {
            0x00aa | 0x00ba => Script::Latin,
            0x00ad | 0x200b..=0x200d | 0x2060 | 0xfeff => Script::Transparent,
            _ => Script::None,
        },
        Some(Script::Latin) if matches!(point, 0xd7 | 0xf7) => Script::None,
        // Arabic signs and digits; tatweel only stretches a word.
        Some(Script::Arabic) => match point {
            0x0600..=0x061f | 0x0660..=0x066d | 0x06d4 | 0x06dd..=0x06e0 | 0x06f0..=0x06f9 => {
                Script::None
            }
            0x0640 | 0x064b..=0x065f | 0xfeff => Script::Transparent,
            _ => Script::Arabic,
        },
        // Danda and digits; the dandas end sentences in Bengali too.
        Some(Script::Devanagari) if matches!(point, 0x0964..=0x096f) => Script::None,
        Some(Script::Bengali) if matches!(point, 0x09e6..=0x09ef) => Script::None,
        Some(script) => *script,
        None if matches!(point, 0x20000..=0x3fffd) => Script::Han,
        None => Script::None,
    }
}

/// ASCII letters in lower case; 0 for all else.
pub(super) static ASCII: [u8; 128] = {
    let mut table = [0; 128];
    let mut letter = 0;
    while letter < 26 {
        table[b'A' as usize + letter as usize] = b'a' + letter;
        table[b'a' as usize + letter as usize] = b'a' + letter;
        letter += 1;
    }
    table
};

/// A letter that is not ASCII as one byte, never 0, in lower case; letters of a script that are common in one of its languages
/// have bytes of their own.
#[inline]
pub(super) fn fold(script: Script, point: u32) -> u8 {
    let byte = match script {
        Script::Latin => match point {
            // Capitals of Latin-1 lie 32 below their small letters.
            0x00c0..=0x00ff => 0xc0 | (point | 0x20) & 0x3f,
            // In Latin Extended-A small letters are odd, but for two stretches where they are even.
            0x0139..=0x0148 | 0x0179..=0x017e => 0x80 | ((point + 1) >> 1) & 0x3f,
            0x0100..=0x017f => 0x80 | (point >> 1) & 0x3f,
            0x1e00..=0x1eff => 0x01 | (point >> 1) & 0x3e | (point >> 6) & 1,
            _ => 0x40 | (point | 1) & 0x1f,
        },
        Script::Cyrillic => match point {
            0x0410..=0x042f => point + 0x20,
            0x0400..=0x040f => point + 0x50,
            0x0430..=0x045f => point,
            _ => point | 1,
        },
        _ => point,
    };
    match byte & 0xff {
        0 => 1,
        byte => u8::try_from(byte).unwrap_or(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_signs_and_joiners_are_told_apart() {
        let script = |c: char| script_of(c.into());
        for (letters, expected) in [
            ("ÀéßžőșơựəỲ", Script::Latin),
            ("ЖщѓҐӨ", Script::Cyrillic),
            ("عپڑ", Script::Arabic),
            ("हिन्दी", Script::Devanagari),
            ("বাং", Script::Bengali),
            ("ひカ", Script::Kana),
            ("漢𠀀", Script::Han),
            ("한", Script::Hangul),
            ("×÷«—。؟۹।२", Script::None),
            ("\u{ad}\u{200c}\u{301}", Script::Transparent),
        ] {
            for letter in letters.chars() {
                assert_eq!(script(letter), expected, "{letter}");
            }
        }
    }

    #[test]
    fn capitals_fold_with_their_small_letters_and_no_byte_is_zero() {
        for (script, pairs) in [
            (Script::Latin, "ÀàÉéÑñÖöŃńŁłŐőŞşŽžŹźČčĐđİįẠạỲỳ"),
            (Script::Cyrillic, "ЖжЩщЂђІіЇїҐґӨөҚқ"),
        ] {
            let letters: Vec<char> = pairs.chars().filter(|c| *c != 'İ' && *c != 'į').collect();
            for pair in letters.chunks(2) {
                let [upper, lower] = [pair[0], pair[1]].map(|c| fold(script, c.into()));
                assert_eq!(upper, lower, "{pair:?}");
            }
        }
        for point in 0x80..0x11_0000 {
            assert_ne!(fold(script_of(point), point), 0, "{point:x}");
        }
    }
}
