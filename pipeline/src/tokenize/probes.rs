//! Texts on which tokenizer engines are known to part ways: runs of spaces that are added tokens, contractions after
//! other whitespace than a space, combining marks, Hangul, digits beyond ASCII, controls, and the spellings of special
//! tokens, whole and in part. Both engines must give the same ids for all of them before the fast one is used. The
//! choice follows the differences that a comparison of seven engines found in practice.

/// Pieces that are joined in twos and stand alone.
pub(super) const PIECES: [&str; 56] = [
    " ",
    "  ",
    "   ",
    "        ",
    "                         ",
    "\n",
    "\n\n",
    "\r\n",
    "\t",
    "\t\t",
    "\u{a0}",
    "\u{3000}",
    "\u{2003}",
    "\u{85}",
    "\u{2028}",
    "\u{b}",
    "\u{1c}",
    "\u{0}",
    "\u{7f}",
    "\u{feff}",
    "\u{200d}",
    "'s",
    "'LL",
    "'re",
    "don't",
    "’t",
    "a",
    "the",
    " The",
    "XMLHttp",
    "_",
    "1",
    "12",
    "1234567",
    "²",
    "½",
    "٣",
    "Ⅷ",
    "é",
    "e\u{301}",
    "q\u{307}\u{323}",
    "\u{212b}",
    "\u{1100}\u{1161}\u{11a8}",
    "\u{ac00}\u{11a8}",
    "中文",
    "ひらがな",
    "ไทย",
    "हिन्दी",
    "שָׁלוֹם",
    "👨\u{200d}👩\u{200d}👧",
    "\u{10ffff}",
    "!!",
    "...",
    "//",
    "<|",
    "|>",
];

/// The texts to compare, with the added tokens of the file at hand among them.
pub(super) fn texts(added: &[String]) -> Vec<String> {
    let mut texts = vec![String::new()];
    // All pairs in one text per first piece: a pair at the end of a text and one before more text both occur.
    for first in PIECES {
        texts.push(first.to_owned());
        texts.push(PIECES.map(|second| format!("{first}{second}")).concat());
        texts.push(PIECES.map(|second| format!("{first}{second}x")).concat());
    }
    for run in [" ", "\n", "a", "é", "-", "中", "\t ", "ab", "0"] {
        texts.push(run.repeat(700));
        texts.push(format!("{}x", run.repeat(701)));
    }
    // A tokenizer with thousands of added tokens is compared on the first ones.
    for token in added.iter().take(64) {
        let (half, _) = token.split_at(token.floor_char_boundary(token.len() / 2));
        texts.push(token.clone());
        texts.push(format!(
            "a{token}b {token} {token}{token}\n{half} {half}{token}{half}"
        ));
    }
    texts
}
