//! A linear model of the languages of one script over hashed n-grams of letters.
//!
//! A text is its letters in lower case, one byte each ([`fold`](super::script::fold)), with a zero after each word. Each of its
//! 3-grams and 4-grams, and each of its words (of a long one the last seven letters), picks a row of weights by its hash; the
//! rows are added up. That is the classifier of fastText (Joulin et al. 2016, arXiv 1607.01759) without its hidden layer, trained as
//! multinomial logistic regression (`train`), with 8 bits a weight.

#![expect(
    unsafe_code,
    reason = "a kernel compiled for a wider instruction set is entered after the processor was asked"
)]

/// The most languages of a script.
pub(super) const MOST_LANGUAGES: usize = 64;
/// Weights of a row come in multiples of this many: a vector of 16-bit sums.
pub(super) const LANES: usize = 16;
/// Rows added up in 16 bits: so many weights of at most 128 fit.
const BATCH: usize = 255;
/// Letters before the first: what a word or an n-gram of the first may reach back to.
const BEFORE: usize = 8;
/// Letters that are held before they are looked at.
const HELD: usize = 1024;

/// Multipliers of the hashes (Fibonacci hashing, Knuth 6.4), one for each kind of feature: of the golden ratio and of primes.
const THREES: u32 = 0x9e37_79b1;
const FOURS: u32 = 0x85eb_ca6b;
const WORDS: u64 = 0xc2b2_ae3d_27d4_eb4f;

/// Letters of one script, a byte each, with a zero after each word.
#[derive(Debug, Clone)]
pub(super) struct Letters {
    bytes: [u8; HELD],
    /// Places after the zeros.
    ends: [u16; HELD],
}

/// Where in its [`Letters`] a reader is: small enough to live in registers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    bytes: usize,
    ends: usize,
    in_word: bool,
    /// Where the first word that has not ended yet began.
    began: usize,
}

impl Letters {
    /// No letters.
    pub(super) const NONE: Self = Self {
        bytes: [0; HELD],
        ends: [0; HELD],
    };

    /// Adds a letter, or a zero that ends a word. Branches on nothing that depends on the text: where words end is what a
    /// processor predicts worst.
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "places are below the letters that are held"
    )]
    pub(super) fn push(&mut self, position: &mut Position, byte: u8) {
        let is_letter = byte != 0;
        let at = position.bytes.min(HELD - 1);
        self.bytes[at] = byte;
        let moved = at + usize::from(is_letter | position.in_word);
        let end = position.ends.min(HELD - 1);
        self.ends[end] = moved as u16;
        position.ends = end + usize::from(!is_letter & position.in_word);
        position.bytes = moved;
        position.in_word = is_letter;
    }
}

impl Letters {
    /// Forgets the letters of a text before the first of another.
    pub(super) fn begin(&mut self) -> Position {
        self.bytes[..BEFORE].fill(0);
        Position::NONE
    }

    fn text(&self, position: Position) -> Text<'_> {
        Text {
            bytes: &self.bytes[..position.bytes.min(HELD)],
            ends: self.ends.get(..position.ends).unwrap_or(&[]),
            began: position.began,
        }
    }

    /// Keeps of the letters what later ones reach back to; how many rows the others picked.
    fn forget(&mut self, position: &mut Position) -> u64 {
        let last = position.bytes.min(HELD);
        let ends = self.ends.get(..position.ends).unwrap_or(&[]);
        let rows = 2 * (last - BEFORE) + ends.len();
        let began = ends.last().map_or(position.began, |end| usize::from(*end));
        let moved = last - BEFORE;
        self.bytes.copy_within(moved..last, 0);
        position.bytes = BEFORE;
        position.ends = 0;
        position.began = began.saturating_sub(moved);
        rows as u64
    }

    /// The rows that letters pick in a table of `2^bits` rows, for training: the same as [`Table::add`] adds up.
    pub(super) fn rows(&mut self, position: &mut Position, bits: u32, rows: &mut Vec<u32>) {
        let text = self.text(*position);
        for window in text.grams().array_windows::<4>() {
            let window = u32::from_le_bytes(*window);
            rows.push(hash(window >> 8, THREES, bits));
            rows.push(hash(window, FOURS, bits));
        }
        let mut began = text.began;
        for end in text.ends {
            rows.extend(text.word(*end, &mut began, bits));
        }
        self.forget(position);
    }
}

impl Position {
    /// Before the first letter.
    pub(super) const NONE: Self = Self {
        bytes: BEFORE,
        ends: 0,
        in_word: false,
        began: BEFORE,
    };

    /// Letters for which there is room before they must be [added up](Table::add).
    #[inline(always)]
    pub(super) fn room(self) -> usize {
        (HELD - 1).saturating_sub(self.bytes)
    }
}

/// Weights of the languages of one script.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// Its languages, in the order of a row's weights.
    pub(super) languages: Vec<&'static str>,
    /// log2 of its rows.
    pub(super) bits: u32,
    /// Weights, row by row, each padded with zeros to whole lanes.
    pub(super) weights: Vec<i8>,
    /// What one unit of a weight is worth.
    pub(super) step: f32,
    /// By what evidence is multiplied to be log-odds, for texts of 1, 2, 4, ... features.
    pub(super) calibration: Vec<f32>,
}

impl Table {
    /// Weights in a row.
    pub(super) fn lanes(&self) -> usize {
        self.languages.len().next_multiple_of(LANES)
    }

    /// Adds up the rows of letters that were not yet; how many rows that were. Afterwards there is room for more.
    pub(super) fn add(
        &self,
        letters: &mut Letters,
        position: &mut Position,
        sums: &mut [i32; MOST_LANGUAGES],
    ) -> u64 {
        let text = letters.text(*position);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was just asked.
            unsafe { add_avx2(self, &text, sums) };
        } else {
            add(self, &text, sums);
        }
        #[cfg(not(target_arch = "x86_64"))]
        add(self, &text, sums);
        letters.forget(position)
    }

    /// Adds up rows one by one, as [`Table::add`] does in batches.
    pub(super) fn add_rows(&self, rows: &[u32], sums: &mut [i32; MOST_LANGUAGES]) {
        for row in rows {
            let weights = self.weights.iter().skip(*row as usize * self.lanes());
            for (sum, weight) in sums.iter_mut().zip(weights.take(self.lanes())) {
                *sum = sum.saturating_add(i32::from(*weight));
            }
        }
    }

    /// Log-odds of the languages, up to a constant, from sums over `features` rows, into the beginning of `logits`.
    pub(super) fn logits<'a>(
        &self,
        sums: &[i32; MOST_LANGUAGES],
        features: u64,
        logits: &'a mut [f64; MOST_LANGUAGES],
    ) -> &'a mut [f64] {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 features")]
        let features = features.max(1) as f64;
        let scale = f64::from(self.step) / features.sqrt() * self.confidence(features);
        for (logit, sum) in logits.iter_mut().zip(sums) {
            *logit = f64::from(*sum) * scale;
        }
        &mut logits[..self.languages.len().min(MOST_LANGUAGES)]
    }

    /// The calibration of a text with so many features: linear between powers of two, and constant from the last on.
    fn confidence(&self, features: f64) -> f64 {
        let mut low = 1.0;
        for pair in self.calibration.windows(2) {
            if features < 2.0 * low {
                let share = (features - low) / low;
                return f64::from(pair[0]) * (1.0 - share) + f64::from(pair[1]) * share;
            }
            low *= 2.0;
        }
        self.calibration.last().map_or(1.0, |last| f64::from(*last))
    }
}

/// Letters to add up.
struct Text<'a> {
    /// The first [`BEFORE`] were added up before.
    bytes: &'a [u8],
    /// Places after the zeros.
    ends: &'a [u16],
    /// Where the first word began.
    began: usize,
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_avx2(table: &Table, text: &Text<'_>, sums: &mut [i32; MOST_LANGUAGES]) {
    add(table, text, sums);
}

#[inline(always)]
fn add(table: &Table, text: &Text<'_>, sums: &mut [i32; MOST_LANGUAGES]) {
    match table.lanes() {
        16 => add_lanes::<16>(table, text, sums),
        32 => add_lanes::<32>(table, text, sums),
        48 => add_lanes::<48>(table, text, sums),
        _ => add_lanes::<64>(table, text, sums),
    }
}

#[inline(always)]
fn add_lanes<const N: usize>(table: &Table, text: &Text<'_>, sums: &mut [i32; MOST_LANGUAGES]) {
    let (rows, _) = table.weights.as_chunks::<N>();
    let Some(none) = rows.first() else { return };

    // Found first and added up afterwards, two by two: so both loops are compiled to vectors.
    let mut found = [0u32; BATCH];
    let grams = text.grams();
    for batch in (0..grams.len().saturating_sub(3)).step_by(BATCH / 2) {
        let end = (batch + BATCH / 2 + 3).min(grams.len());
        let windows = grams[batch..end].array_windows::<4>();
        let (pairs, _) = found.as_chunks_mut::<2>();
        for (window, pair) in windows.zip(pairs) {
            let window = u32::from_le_bytes(*window);
            *pair = [
                hash(window >> 8, THREES, table.bits),
                hash(window, FOURS, table.bits),
            ];
        }
        add_rows(rows, none, &found[..2 * (end - batch - 3)], sums);
    }
    let mut began = text.began;
    for batch in text.ends.chunks(BATCH) {
        for (end, word) in batch.iter().zip(&mut found) {
            *word = text.word(*end, &mut began, table.bits).unwrap_or(0);
        }
        add_rows(rows, none, &found[..batch.len()], sums);
    }
}

/// Adds up at most [`BATCH`] rows.
#[inline(always)]
fn add_rows<const N: usize>(
    table: &[[i8; N]],
    none: &[i8; N],
    rows: &[u32],
    sums: &mut [i32; MOST_LANGUAGES],
) {
    let row = |index: u32| table.get(index as usize).unwrap_or(none);
    let mut short = [0i16; N];
    let (pairs, odd) = rows.as_chunks::<2>();
    for [one, other] in pairs {
        for ((sum, one), other) in short.iter_mut().zip(row(*one)).zip(row(*other)) {
            *sum = sum.wrapping_add(i16::from(*one).wrapping_add(i16::from(*other)));
        }
    }
    for (sum, short) in sums.iter_mut().zip(short) {
        *sum = sum.saturating_add(i32::from(short));
    }
    for index in odd {
        for (sum, weight) in sums.iter_mut().zip(row(*index)) {
            *sum = sum.saturating_add(i32::from(*weight));
        }
    }
}

impl Text<'_> {
    /// The n-grams that end at each letter: windows of four bytes, the last of them the latest letter.
    #[inline(always)]
    fn grams(&self) -> &[u8] {
        self.bytes.get(BEFORE - 3..).unwrap_or(&[])
    }

    /// The row of the word that ends at `end` and began at `began`, which becomes the place of the next.
    #[inline(always)]
    fn word(&self, end: u16, began: &mut usize, bits: u32) -> Option<u32> {
        let end = usize::from(end);
        // With its zero; of longer words the last seven letters.
        let length = end.saturating_sub(*began).clamp(1, 8);
        *began = end;
        let window = self.bytes.get(..end)?.last_chunk::<8>()?;
        let word = u64::from_le_bytes(*window) >> (64 - 8 * length);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the shift leaves `bits` bits"
        )]
        let index = (word.wrapping_mul(WORDS) >> (64 - bits)) as u32;
        Some(index)
    }
}

#[inline(always)]
fn hash(key: u32, multiplier: u32, bits: u32) -> u32 {
    key.wrapping_mul(multiplier) >> (32 - bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of words, straight from the description at the head of this module, sorted.
    fn expected(words: &[Vec<u8>], bits: u32) -> Vec<u32> {
        let row = |key: u128, multiplier: u128, width: u32| {
            let product = key * multiplier % (1u128 << width);
            u32::try_from(product >> (width - bits)).unwrap()
        };
        let key = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |key, byte| key * 256 + u128::from(*byte))
        };
        let mut text = vec![0; 3];
        let mut rows = Vec::new();
        for word in words {
            let ended: Vec<u8> = word.iter().copied().chain([0]).collect();
            text.extend(&ended);
            let tail = &ended[ended.len().saturating_sub(8)..];
            rows.push(row(key(tail), u128::from(WORDS), 64));
        }
        for end in 4..=text.len() {
            rows.push(row(key(&text[end - 3..end]), u128::from(THREES), 32));
            rows.push(row(key(&text[end - 4..end]), u128::from(FOURS), 32));
        }
        rows.sort_unstable();
        rows
    }

    fn words(count: usize) -> Vec<Vec<u8>> {
        (0..count)
            .map(|i| {
                let length = i * i % 13 + 1;
                (0..length)
                    .map(|at| u8::try_from((i * 31 + at * at * 7) % 255 + 1).unwrap())
                    .collect()
            })
            .collect()
    }

    /// Holds words as the identifier does, and calls `flush` whenever there is no more room, and at the end.
    fn hold(words: &[Vec<u8>], flush: &mut dyn FnMut(&mut Letters, &mut Position)) {
        let mut letters = Letters::NONE;
        let mut position = Position::NONE;
        for word in words {
            for letter in word.iter().copied().chain([0, 0]) {
                if position.room() == 0 {
                    flush(&mut letters, &mut position);
                }
                letters.push(&mut position, letter);
            }
        }
        flush(&mut letters, &mut position);
    }

    #[test]
    fn rows_are_those_of_the_description_wherever_letters_are_flushed() {
        for count in [0, 1, 2, 40, 150, 171, 172, 500] {
            let words = words(count);
            let mut rows = Vec::new();
            hold(&words, &mut |letters, position| {
                letters.rows(position, 12, &mut rows);
            });
            rows.sort_unstable();
            assert_eq!(rows, expected(&words, 12), "{count} words");
        }
    }

    #[test]
    fn sums_are_those_of_the_rows_for_every_number_of_languages() {
        for languages in [2, 16, 17, 33, 64] {
            let lanes = usize::next_multiple_of(languages, LANES);
            let weights = (0..lanes << 8).map(|i| {
                // The largest and smallest weights are among them.
                let weight = u8::try_from(i * 131 % 256).unwrap().cast_signed();
                if i % lanes < languages { weight } else { 0 }
            });
            let weights: Vec<i8> = weights.collect();
            let table = Table {
                languages: vec!["en"; languages],
                bits: 8,
                weights,
                step: 0.5,
                calibration: vec![1.0],
            };
            let words = words(300);
            let mut sums = [0; MOST_LANGUAGES];
            let mut features = 0;
            hold(&words, &mut |letters, position| {
                features += table.add(letters, position, &mut sums);
            });
            let rows = expected(&words, 8);
            let mut by_hand = [0i32; MOST_LANGUAGES];
            for row in &rows {
                for (language, sum) in by_hand.iter_mut().take(languages).enumerate() {
                    *sum += i32::from(table.weights[*row as usize * lanes + language]);
                }
            }
            assert_eq!(
                (features, sums),
                (rows.len() as u64, by_hand),
                "{languages}"
            );
            let mut logits = [0.0; MOST_LANGUAGES];
            let logits = table.logits(&sums, features, &mut logits);
            assert_eq!(logits.len(), languages);
            let first =
                f64::from(by_hand[0]) * 0.5 / f64::from(u32::try_from(features).unwrap()).sqrt();
            assert!((logits[0] - first).abs() < 1e-9);
        }
    }

    #[test]
    fn confidence_is_linear_between_powers_of_two_and_constant_after_the_last() {
        let table = Table {
            languages: vec!["en"],
            bits: 1,
            weights: vec![0; 2 * LANES],
            step: 1.0,
            calibration: vec![1.0, 3.0, 2.0],
        };
        for (features, expected) in [
            (1.0, 1.0),
            (1.5, 2.0),
            (2.0, 3.0),
            (3.0, 2.5),
            (4.0, 2.0),
            (1e9, 2.0),
        ] {
            let found = table.confidence(features);
            assert!((found - expected).abs() < 1e-12, "{features}: {found}");
        }
    }
}
