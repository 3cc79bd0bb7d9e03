//! Training the model: multinomial logistic regression by stochastic gradient descent, one table for each script that several
//! languages share. One thread, a seeded generator and arithmetic that every machine does alike: the same texts give the same
//! bytes.
//!
//! A sample is a random number of lines of one language, 20 to 600 characters, drawn from its sets by the square roots of their
//! sizes, so that a large set (a manual) does not drown a small one (messages). Into every third sample of another language a
//! piece of English is put, since names of programs, options and licences stand in texts of every language. Samples of lines
//! that were kept apart calibrate the probabilities: a factor for each power of two of features.

use std::collections::BTreeMap;

use super::Identifier;
use super::linear::{LANES, Letters, MOST_LANGUAGES, Position, Table};
use super::script::{ASCII, SHARED, Script, fold, script_of};
use crate::classify::arithmetic::{Random, softmax};

/// The languages of each script that several share, in alphabetical order.
pub const LANGUAGES: [&[&str]; 5] = [
    &[
        "af", "az", "br", "ca", "cs", "cy", "da", "de", "en", "eo", "es", "et", "eu", "fi", "fr",
        "fy", "ga", "gd", "gl", "hr", "hu", "id", "is", "it", "lt", "lv", "nb", "nl", "nn", "oc",
        "pl", "pt", "ro", "sk", "sl", "sq", "sv", "tl", "tr", "uz", "vi", "xh", "zu",
    ],
    &["be", "bg", "kk", "mk", "mn", "ru", "sr", "tg", "uk"],
    &["ar", "fa", "ug", "ur"],
    &["hi", "mr", "ne"],
    &["as", "bn"],
];

/// log2 of the rows of each script's table.
const BITS: [u32; 5] = [12, 12, 11, 10, 9];

/// Texts of known language.
#[derive(Debug, Default)]
pub struct Corpus {
    /// Lines by language and set.
    lines: BTreeMap<(&'static str, String), Vec<String>>,
}

/// How a model is trained.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainOptions {
    /// Decides which lines make which sample.
    pub seed: u64,
    /// Samples of each language.
    pub samples: usize,
    /// The first step's length; it falls to nothing evenly.
    pub rate: f32,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            samples: 12_000,
            rate: 0.5,
        }
    }
}

/// Why no model could be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A language without enough text.
    #[error(
        "there are {lines} lines of {language} in its script, too few to train on: add texts with \"lang\": \"{language}\""
    )]
    TooFew {
        /// Its code.
        language: &'static str,
        /// Lines that there are.
        lines: usize,
    },
}

impl Corpus {
    /// Adds the lines of a text; of a language that shares no script, or is unknown, nothing.
    pub fn add(&mut self, language: &str, set: &str, text: &str) {
        let known = LANGUAGES.iter().flat_map(|languages| languages.iter());
        let Some(language) = known.copied().find(|known| *known == language) else {
            return;
        };
        let lines = self.lines.entry((language, set.to_owned())).or_default();
        lines.extend(text.lines().map(str::to_owned));
    }

    /// Trains a model.
    ///
    /// # Errors
    /// If a language has next to no text.
    pub fn train(
        &self,
        options: &TrainOptions,
        note: &mut dyn FnMut(&str),
    ) -> Result<Identifier, TrainError> {
        let mut tables = Vec::new();
        for (script, (languages, bits)) in SHARED.iter().zip(LANGUAGES.iter().zip(BITS)) {
            let pools: Vec<Pool<'_>> = languages
                .iter()
                .map(|language| self.pool(language, *script))
                .collect::<Result<_, _>>()?;
            let mut random = Random(options.seed);
            let mut table = Trained::new(languages, bits);
            table.descend(&pools, *script, options, &mut random);
            let mut quantized = table.quantize();
            quantized.calibration = calibrate(
                &quantized,
                &pools,
                *script,
                options.samples.min(200),
                &mut random,
            );
            note(&format!(
                "{script:?}: {} languages, calibration {:?}",
                languages.len(),
                quantized.calibration
            ));
            tables.push(quantized);
        }
        Ok(Identifier { tables })
    }

    fn pool(&self, language: &'static str, script: Script) -> Result<Pool<'_>, TrainError> {
        let mut pool = Pool::default();
        let sets = self.lines.range((language, String::new())..);
        for (_, lines) in sets.take_while(|((of, _), _)| *of == language) {
            let mut part = Part::default();
            for line in lines.iter().filter(|line| mostly(line, script)) {
                if xxhash_rust::xxh3::xxh3_64(line.as_bytes()).is_multiple_of(16) {
                    pool.apart.push(line);
                } else {
                    part.bytes += line.len();
                    part.lines.push(line);
                }
            }
            if !part.lines.is_empty() {
                pool.parts.push(part);
            }
        }
        let lines = pool.parts.iter().map(|part| part.lines.len()).sum();
        if lines < 100 || pool.apart.is_empty() {
            return Err(TrainError::TooFew { language, lines });
        }
        Ok(pool)
    }
}

/// Lines of one language.
#[derive(Default)]
struct Pool<'a> {
    parts: Vec<Part<'a>>,
    /// Kept apart for the calibration.
    apart: Vec<&'a str>,
}

#[derive(Default)]
struct Part<'a> {
    lines: Vec<&'a str>,
    bytes: usize,
}

impl Pool<'_> {
    /// A line of a set that is drawn by the square root of its size.
    fn draw(&self, random: &mut Random) -> &str {
        let root = |part: &Part<'_>| part.bytes.isqrt().max(1);
        let mut at = random.below(self.parts.iter().map(root).sum());
        for part in &self.parts {
            if at < root(part) {
                return part.lines[random.below(part.lines.len())];
            }
            at -= root(part);
        }
        ""
    }

    fn draw_apart(&self, random: &mut Random) -> &str {
        self.apart[random.below(self.apart.len())]
    }
}

/// Whether most letters of a line are of a script.
fn mostly(line: &str, script: Script) -> bool {
    let (mut own, mut others) = (0, 0);
    for c in line.chars() {
        let found = match c {
            'a'..='z' | 'A'..='Z' => Script::Latin,
            _ if c.is_ascii() => Script::None,
            _ => script_of(c.into()),
        };
        if found == script {
            own += 1;
        } else if !matches!(found, Script::None | Script::Transparent) {
            others += 1;
        }
    }
    own > 8 && own > others
}

/// The rows of a text in one script.
pub(super) fn rows_of(text: &str, script: Script, bits: u32, rows: &mut Vec<u32>) {
    let mut letters = Letters::NONE;
    let mut position = Position::NONE;
    rows.clear();
    let mut push = |byte| {
        if position.room() == 0 {
            letters.rows(&mut position, bits, rows);
        }
        letters.push(&mut position, byte);
    };
    for c in text.chars() {
        let point = u32::from(c);
        if c.is_ascii() {
            let letter = ASCII[point as usize];
            push(if script == Script::Latin { letter } else { 0 });
        } else {
            match script_of(point) {
                Script::Transparent => {}
                same if same == script => push(fold(script, point)),
                _ => push(0),
            }
        }
    }
    push(0);
    letters.rows(&mut position, bits, rows);
}

/// Weights while they are trained.
struct Trained {
    languages: &'static [&'static str],
    bits: u32,
    lanes: usize,
    weights: Vec<f32>,
}

impl Trained {
    fn new(languages: &'static [&'static str], bits: u32) -> Self {
        let lanes = languages.len().next_multiple_of(LANES);
        Self {
            languages,
            bits,
            lanes,
            weights: vec![0.0; lanes << bits],
        }
    }

    fn descend(
        &mut self,
        pools: &[Pool<'_>],
        script: Script,
        options: &TrainOptions,
        random: &mut Random,
    ) {
        let english = self.languages.iter().position(|language| *language == "en");
        let mut order: Vec<usize> = (0..pools.len()).collect();
        let mut text = String::new();
        let mut rows = Vec::new();
        for round in 0..options.samples {
            for i in (1..order.len()).rev() {
                order.swap(i, random.below(i + 1));
            }
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let rate = options.rate * (1.0 - round as f32 / options.samples as f32);
            for &language in &order {
                let length = length(random);
                sample(&mut text, length, || pools[language].draw(random));
                if let Some(english) = english
                    && english != language
                    && random.below(3) == 0
                {
                    let piece = pools[english].draw(random);
                    let length = 1 + random.below(text.len() / 4 + 1);
                    text.push(' ');
                    text.extend(piece.chars().take(length));
                }
                rows_of(&text, script, self.bits, &mut rows);
                self.step(&rows, language, rate);
            }
        }
    }

    fn step(&mut self, rows: &[u32], language: usize, rate: f32) {
        match self.lanes {
            16 => self.step_of::<16>(rows, language, rate),
            32 => self.step_of::<32>(rows, language, rate),
            48 => self.step_of::<48>(rows, language, rate),
            _ => self.step_of::<64>(rows, language, rate),
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "single precision is enough for a gradient"
    )]
    fn step_of<const N: usize>(&mut self, rows: &[u32], language: usize, rate: f32) {
        if rows.is_empty() {
            return;
        }
        let (table, _) = self.weights.as_chunks_mut::<N>();
        let mut sums = [0f32; N];
        for row in rows {
            for (sum, weight) in sums.iter_mut().zip(&table[*row as usize]) {
                *sum += weight;
            }
        }
        let root = 1.0 / (rows.len() as f32).sqrt();
        let mut logits: Vec<f64> = sums[..self.languages.len()]
            .iter()
            .map(|sum| f64::from(sum * root))
            .collect();
        softmax(&mut logits);
        let mut slope = [0f32; N];
        for (i, (slope, share)) in slope.iter_mut().zip(&logits).enumerate() {
            let aim = if i == language { 1.0 } else { 0.0 };
            *slope = rate * root * (aim - *share as f32);
        }
        for row in rows {
            for (weight, slope) in table[*row as usize].iter_mut().zip(slope) {
                *weight += slope;
            }
        }
    }

    /// Eight bits a weight. The mean of a row says nothing, so it is taken off; the few weights that are far out are cut, so
    /// that the others have finer steps.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "rounded and cut to eight bits just before"
    )]
    fn quantize(mut self) -> Table {
        let languages = self.languages.len();
        for row in self.weights.chunks_mut(self.lanes) {
            #[expect(clippy::cast_precision_loss, reason = "at most 64 languages")]
            let mean = row[..languages].iter().sum::<f32>() / languages as f32;
            row[..languages]
                .iter_mut()
                .for_each(|weight| *weight -= mean);
        }
        let mut sizes: Vec<f32> = self
            .weights
            .chunks(self.lanes)
            .flat_map(|row| row[..languages].iter().map(|weight| weight.abs()))
            .collect();
        sizes.sort_by(f32::total_cmp);
        let most = sizes[sizes.len() - 1 - sizes.len() / 2000].max(1e-6);
        let step = most / LEVELS;
        Table {
            languages: self.languages.to_vec(),
            bits: self.bits,
            weights: self
                .weights
                .iter()
                .map(|weight| (weight / step).round().clamp(-LEVELS, LEVELS) as i8)
                .collect(),
            step,
            calibration: vec![1.0],
        }
    }
}

/// Steps of a weight to either side of zero.
const LEVELS: f32 = 40.0;

/// Lines until `length` characters are there.
fn sample<'a>(text: &mut String, length: usize, mut draw: impl FnMut() -> &'a str) {
    text.clear();
    let mut characters = 0;
    while characters < length {
        let before = text.len();
        text.extend(draw().chars().take(length - characters));
        characters += text[before..].chars().count() + 1;
        text.push(' ');
    }
}

/// Factors for texts of 1, 2, 4, ... features: of each the one under which so many samples of each language cost least.
fn calibrate(
    table: &Table,
    pools: &[Pool<'_>],
    script: Script,
    samples: usize,
    random: &mut Random,
) -> Vec<f32> {
    const POWERS: u32 = 12;
    let mut text = String::new();
    let mut rows = Vec::new();
    let mut factors: Vec<f32> = Vec::new();
    // Up to 3.6: where every sample is right, no factor would be too much.
    let factor = |step: u16| 0.02 * 1.06f32.powi(i32::from(step));
    for power in 0..POWERS {
        let mut losses = vec![0.0; 90];
        let wanted = 1usize << power;
        for (language, pool) in pools.iter().enumerate() {
            for _ in 0..samples {
                sample(&mut text, wanted.div_ceil(2) + 2, || {
                    pool.draw_apart(random)
                });
                rows_of(&text, script, table.bits, &mut rows);
                let mut sums = [0; MOST_LANGUAGES];
                table.add_rows(&rows, &mut sums);
                let mut logits = [0.0; MOST_LANGUAGES];
                let logits = table.logits(&sums, rows.len() as u64, &mut logits);
                for (step, loss) in (0u16..).zip(&mut losses) {
                    let mut shares: Vec<f64> =
                        logits.iter().map(|x| x * f64::from(factor(step))).collect();
                    softmax(&mut shares);
                    *loss += cost(shares[language]);
                }
            }
        }
        let best = (0u16..)
            .zip(&losses)
            .min_by(|a, b| f64::total_cmp(a.1, b.1))
            .map_or(0, |best| best.0);
        factors.push(factor(best));
    }
    factors
}

/// What a probability given to the truth costs: Brier's score of one class, which needs no logarithm and forgives a sample that
/// is in truth of another language.
fn cost(probability: f64) -> f64 {
    (1.0 - probability) * (1.0 - probability)
}

/// 20 to 639 characters: of each doubling as many as of the next.
fn length(random: &mut Random) -> usize {
    let base = 20 << random.below(5);
    base + random.below(base)
}
