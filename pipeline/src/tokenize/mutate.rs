//! Texts with something wrong in them, for comparisons of encoders: pieces of real text into which difficult things were put, with parts
//! taken out, said twice or spelled otherwise. The same seed gives the same texts.

use super::probes::PIECES;

/// What is only rarely in a text, and what a document must not be able to forge.
const RARE: [&str; 10] = [
    "<|endoftext|>",
    "<|padding|>",
    "<|endof",
    ">>TITLE<<",
    "\u{16d63}\u{16d67}",
    "\u{11938}",
    "\u{897}",
    "\u{fb1d}",
    "\u{f900}",
    "\u{1d15e}",
];

/// Numbers that look random (xorshift64, Marsaglia 2003).
pub(super) struct Random(u64);

impl Random {
    /// Numbers of a seed.
    pub(super) fn new(seed: u64) -> Self {
        // A state of 0 would stay 0.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, which is above 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or_default()
    }

    fn character(&mut self) -> char {
        // Half of them where most scripts are.
        let limit = if self.below(2) == 0 {
            0x3000
        } else {
            0x11_0000
        };
        loop {
            let code = u32::try_from(self.below(limit)).unwrap_or_default();
            if let Some(character) = char::from_u32(code) {
                return character;
            }
        }
    }
}

/// Up to 200 bytes of one of `texts`, and one to eight changes. There must be a text.
pub(super) fn mutated(texts: &[String], random: &mut Random) -> String {
    let text = texts
        .get(random.below(texts.len().max(1)))
        .map_or("", String::as_str);
    let from = text.floor_char_boundary(random.below(text.len() + 1));
    let to = text.floor_char_boundary((from + random.below(200)).min(text.len()));
    let mut out = text.get(from..to).unwrap_or_default().to_owned();
    for _ in 0..=random.below(8) {
        let at = out.floor_char_boundary(random.below(out.len() + 1));
        let end = out
            .floor_char_boundary((at + random.below(12)).min(out.len()))
            .max(at);
        let part = out.get(at..end).unwrap_or_default().to_owned();
        match random.below(9) {
            0..=2 => out.insert_str(at, PIECES[random.below(PIECES.len())]),
            3 => out.insert_str(at, RARE[random.below(RARE.len())]),
            4 => out.insert(at, random.character()),
            5 => out.replace_range(at..end, ""),
            6 => out.insert_str(at, &part.repeat(random.below(12))),
            7 => out.replace_range(at..end, &part.to_uppercase()),
            // Runs of one character, and white space of all kinds and lengths.
            _ => {
                let one = [
                    ' ', '\n', '\t', '\r', 'a', '0', '-', '=', 'é', '中', '\u{301}', '\u{a0}',
                ];
                let run: String =
                    std::iter::repeat_n(one[random.below(one.len())], random.below(90)).collect();
                out.insert_str(at, &run);
            }
        }
    }
    out
}
