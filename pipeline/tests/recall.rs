//! How well near duplicates are found, against theory: planted pairs of known Jaccard similarity, signed and compared with
//! what the library offers. Similarities are those of sets of five words in a row, made here with nothing of the library's.
//!
//! Two kinds of pairs. *Contiguous*: a run of words is replaced, of a length that makes the similarity exactly a multiple of
//! 0.05. *Scattered*: words are replaced, left out and put in anywhere; such a pair stands in the step that it is nearest to.
//! A step is judged by the theory of its pairs' own similarities: each row of two signatures agrees with probability J,
//! independently of the others. Everything is made from fixed seeds. `cargo test --test recall -- --nocapture` prints the tables.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing, its helpers too"
)]

use std::sync::OnceLock;

use andromeda_pipeline::dedup::shingle::Shingler;
use andromeda_pipeline::dedup::signature::{MinHashOptions, MinHasher, Signer, agreement, s_curve};
use andromeda_pipeline::dedup::words::{WordHasher, for_each_word};
use rayon::prelude::*;

/// Contiguous pairs a step; of scattered ones, as many altogether and at least half as many a step.
const PAIRS: u64 = 10_000;
/// Steps of 0.05, of which there are 20 to 1.
const STEPS: std::ops::RangeInclusive<usize> = 10..=20;
/// The shapes looked at: bands, rows. The first is the default.
const SHAPES: [(usize, usize); 2] = [(14, 8), (20, 5)];
/// Rows of the default's signature.
const ROWS: usize = 112;
/// Two points.
const TOLERANCE: f64 = 0.02;

/// What is measured of a pair of texts.
#[derive(Clone, Copy)]
struct Pair {
    contiguous: bool,
    /// The multiple of 0.05 that its similarity is nearest to.
    step: usize,
    /// Of the sets of five words in a row.
    similarity: f64,
    /// Of the sets of the library's shingles.
    hashed_similarity: f64,
    /// Equal rows of the default's signatures.
    agreeing: usize,
    /// For each shape, whether a key of the same band is equal.
    meets: [bool; SHAPES.len()],
}

#[test]
fn bands_meet_as_often_as_the_s_curve_says() {
    println!("pairs that share a band: measured, theory");
    for step in &steps() {
        for (shape, (bands, rows)) in SHAPES.into_iter().enumerate() {
            let measured = step.share(|pair| pair.meets[shape]);
            let theory = step.mean(|pair| s_curve(bands, rows, pair.similarity));
            println!("{step}  {bands}x{rows}  {measured:.4}  {theory:.4}");
            assert!(
                (measured - theory).abs() < TOLERANCE,
                "{step} {bands}x{rows}: {measured}, not {theory}"
            );
        }
    }
}

#[test]
fn verified_recall_is_that_of_independent_rows() {
    println!("pairs that share a band and agree: measured, theory");
    for step in &steps() {
        for threshold in [0.7, 0.75, 0.8] {
            let measured = step.share(|pair| pair.joins(threshold));
            let theory = step.mean(|pair| joins_in_theory(threshold, pair.similarity));
            println!("{step}  {threshold:.2}  {measured:.4}  {theory:.4}");
            assert!(
                (measured - theory).abs() < TOLERANCE,
                "{step}, agreement {threshold}: {measured}, not {theory}"
            );
        }
    }
}

#[test]
fn unlike_texts_are_not_joined() {
    let unlike: Vec<Pair> = pairs()
        .iter()
        .copied()
        .filter(|pair| pair.similarity < 0.6)
        .collect();
    let count = unlike.len() as f64;
    let candidates = unlike.iter().filter(|pair| pair.meets[0]).count();
    let exact = unlike
        .iter()
        .filter(|pair| pair.meets[0] && pair.hashed_similarity >= 0.7)
        .count();
    println!(
        "{count} pairs below 0.6: {candidates} share a band; verified, they join: measured, theory"
    );
    println!("exact similarity 0.7  {exact}  0");
    assert_eq!(exact, 0);
    let mut held = 0;
    for threshold in [0.7, 0.75, 0.8] {
        let joined = unlike.iter().filter(|pair| pair.joins(threshold)).count() as f64;
        let theory: f64 = unlike
            .iter()
            .map(|pair| joins_in_theory(threshold, pair.similarity))
            .sum();
        println!("agreement {threshold:.2}  {joined}  {theory:.2}");
        if theory / count < 1e-4 {
            held += 1;
            assert!(joined / count < 1e-4, "{joined} of {count} at {threshold}");
        }
    }
    assert!(held > 0, "no threshold is that strict");
}

#[test]
fn the_program_drops_what_shares_a_band_and_is_alike_and_nothing_else() {
    // The two kinds in turn, so that each original has one other.
    let chosen: Vec<(usize, u64)> = STEPS
        .flat_map(|step| (0..1000).map(move |number| (step, number)))
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("pairs.jsonl");
    let mut lines = String::new();
    for &(step, number) in &chosen {
        let [original, contiguous, scattered] = texts_of(step, &mut seeded(step, number));
        let other = if number % 2 == 0 {
            contiguous
        } else {
            scattered
        };
        for (kind, text) in [("original", original), ("other", other)] {
            let row = serde_json::json!({ "id": format!("{step}/{number}/{kind}"), "text": text });
            lines.push_str(&row.to_string());
            lines.push('\n');
        }
    }
    std::fs::write(&input, lines).unwrap();
    for verify in ["jaccard", "signature"] {
        let out = folder.path().join(verify);
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_andromeda"));
        program.arg("dedup").arg(&input).arg("--out").arg(&out);
        program.args(["--verify", verify, "--threshold", "0.7", "--work"]);
        let ran = program.arg(folder.path().join("work")).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
        let table = std::fs::read_to_string(out.join("duplicates.tsv")).unwrap();
        let dropped: std::collections::BTreeMap<String, String> = table
            .lines()
            .skip(1)
            .map(|line| {
                let mut fields = line.split('\t');
                let mut next = || {
                    fields
                        .next()
                        .unwrap()
                        .rsplit_once('/')
                        .unwrap()
                        .0
                        .to_owned()
                };
                (next(), next())
            })
            .collect();
        assert!(dropped.iter().all(|(dropped, kept)| dropped == kept));
        let (mut differ, mut unlike) = (0, 0);
        for &(step, number) in &chosen {
            let place = (step - STEPS.start()) * usize::try_from(PAIRS).unwrap();
            let at = 2 * (place + usize::try_from(number).unwrap());
            let pair = pairs()[at + usize::try_from(number % 2).unwrap()];
            let expected = match verify {
                "jaccard" => pair.meets[0] && pair.hashed_similarity >= 0.7,
                _ => pair.joins(0.7),
            };
            let found = dropped.contains_key(&format!("{step}/{number}"));
            differ += usize::from(found != expected);
            unlike += usize::from(found && pair.similarity < 0.6);
        }
        println!(
            "{verify}: {} of {} pairs; {unlike} below 0.6",
            dropped.len(),
            chosen.len()
        );
        if verify == "jaccard" {
            assert_eq!((differ, unlike), (0, 0));
        } else {
            // Of each minimum the lower 16 bits are kept: of 112 unequal rows one looks equal in 600 pairs.
            assert!(differ <= 10, "{differ}");
        }
    }
}

#[test]
fn shingles_are_as_similar_as_the_words_they_hash() {
    for pair in pairs() {
        // Two of some 400 shingles may have one hash of 32 bits.
        assert!(
            (pair.similarity - pair.hashed_similarity).abs() < 0.01,
            "{} and {}",
            pair.similarity,
            pair.hashed_similarity
        );
    }
}

#[test]
fn the_estimate_has_no_bias_and_the_spread_of_the_binomial() {
    println!("error of the estimate: mean, its standard error; spread, that of theory");
    for step in &steps() {
        let error = |pair: &Pair| pair.agreeing as f64 / ROWS as f64 - pair.similarity;
        let variance = step.mean(|pair| pair.similarity * (1.0 - pair.similarity) / ROWS as f64);
        let expected = variance.sqrt();
        let deviation = expected / (step.pairs.len() as f64).sqrt();
        let mean = step.mean(error);
        let spread = step.mean(|pair| error(pair).powi(2)).sqrt();
        println!("{step}  {mean:+.5}  {deviation:.5}  {spread:.5}  {expected:.5}");
        assert!(
            mean.abs() <= 3.0 * deviation,
            "{step}: bias {mean}, standard error {deviation}"
        );
        assert!(
            (spread - expected).abs() <= 0.05 * expected,
            "{step}: spread {spread}, not {expected}"
        );
    }
}

#[test]
fn the_theory_of_verified_pairs_is_that_of_all_outcomes() {
    // Two bands of two rows: what the dynamic programme gives, counted over all sixteen outcomes.
    for similarity in [0.0, 0.3, 0.8, 1.0_f64] {
        for least in 0..=4_u32 {
            let counted: f64 = (0..16_u32)
                .filter(|outcome| outcome & 3 == 3 || outcome >> 2 == 3)
                .filter(|outcome| outcome.count_ones() >= least)
                .map(|outcome| {
                    let equal = i32::try_from(outcome.count_ones()).unwrap();
                    similarity.powi(equal) * (1.0 - similarity).powi(4 - equal)
                })
                .sum();
            let programme = shares_band_and_agrees(2, 2, least as usize, similarity);
            assert!((programme - counted).abs() < 1e-12);
        }
    }
    assert!((shares_band_and_agrees(14, 8, 0, 0.7) - s_curve(14, 8, 0.7)).abs() < 1e-12);
}

impl Pair {
    /// Whether it is joined: a band in common and enough equal rows.
    fn joins(&self, threshold: f64) -> bool {
        self.meets[0] && self.agreeing >= least_equal(threshold)
    }
}

fn least_equal(threshold: f64) -> usize {
    (0..=ROWS)
        .find(|equal| *equal as f64 >= threshold * ROWS as f64)
        .unwrap()
}

fn joins_in_theory(threshold: f64, similarity: f64) -> f64 {
    let (bands, rows) = SHAPES[0];
    shares_band_and_agrees(bands, rows, least_equal(threshold), similarity)
}

/// The probability that all rows of some band agree and at least `least` rows altogether, where each row agrees with
/// probability `similarity`, independently: all outcomes with so many equal rows less those without a whole band.
fn shares_band_and_agrees(bands: usize, rows: usize, least: usize, similarity: f64) -> f64 {
    let mut one_band: Vec<f64> = vec![1.0];
    for _ in 0..rows {
        one_band = convolve(&one_band, &[1.0 - similarity, similarity]);
    }
    let at_least = |one_band: &[f64]| -> f64 {
        let all = (0..bands).fold(vec![1.0], |all, _| convolve(&all, one_band));
        all.iter().skip(least).sum()
    };
    at_least(&one_band) - at_least(&one_band[..rows])
}

/// The distribution of the sum of two counts.
fn convolve(left: &[f64], right: &[f64]) -> Vec<f64> {
    let mut sum = vec![0.0; left.len() + right.len() - 1];
    for (i, a) in left.iter().enumerate() {
        for (j, b) in right.iter().enumerate() {
            sum[i + j] += a * b;
        }
    }
    sum
}

/// The pairs of one kind nearest to one multiple of 0.05.
struct Step {
    contiguous: bool,
    similarity: f64,
    pairs: Vec<Pair>,
}

impl Step {
    fn share(&self, holds: impl Fn(&Pair) -> bool) -> f64 {
        self.mean(|pair| f64::from(u8::from(holds(pair))))
    }

    fn mean(&self, value: impl Fn(&Pair) -> f64) -> f64 {
        self.pairs.iter().map(value).sum::<f64>() / self.pairs.len() as f64
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.contiguous {
            "contiguous"
        } else {
            "scattered"
        };
        write!(
            f,
            "{:.2} {kind:10} {:6} pairs",
            self.similarity,
            self.pairs.len()
        )
    }
}

fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for contiguous in [true, false] {
        for step in STEPS {
            let pairs: Vec<Pair> = pairs()
                .iter()
                .copied()
                .filter(|pair| pair.contiguous == contiguous && pair.step == step)
                .collect();
            let wanted = if contiguous { PAIRS } else { PAIRS / 2 };
            assert!(
                pairs.len() as u64 >= wanted,
                "{} at step {step}",
                pairs.len()
            );
            steps.push(Step {
                contiguous,
                similarity: step as f64 / 20.0,
                pairs,
            });
        }
    }
    steps
}

/// All pairs, made once for all tests.
fn pairs() -> &'static [Pair] {
    static PAIRS_MADE: OnceLock<Vec<Pair>> = OnceLock::new();
    PAIRS_MADE.get_or_init(|| {
        let hashers = SHAPES.map(|(bands, rows)| {
            MinHasher::new(MinHashOptions {
                bands,
                rows,
                ..MinHashOptions::default()
            })
            .unwrap()
        });
        assert_eq!(hashers[0].options(), MinHashOptions::default());
        assert_eq!(hashers[0].permutations(), ROWS);
        let seeds: Vec<(usize, u64)> = STEPS
            .flat_map(|step| (0..PAIRS).map(move |number| (step, number)))
            .collect();
        seeds
            .into_par_iter()
            .map_init(
                || Reader::new(&hashers),
                |reader, (step, number)| pairs_of(step, &mut seeded(step, number), reader),
            )
            .flatten_iter()
            .collect()
    })
}

fn seeded(step: usize, number: u64) -> Random {
    Random(number << 8 | step as u64)
}

/// A pair of exactly `step / 20`, and the same original with scattered changes of about that size.
fn pairs_of(step: usize, random: &mut Random, reader: &mut Reader<'_>) -> [Pair; 2] {
    let [original, contiguous, scattered] = texts_of(step, random).map(|text| reader.read(&text));
    let contiguous = original.pair(&contiguous, true);
    assert!(
        (contiguous.similarity * 20.0 - step as f64).abs() < 1e-9,
        "{} is not {step} / 20",
        contiguous.similarity
    );
    [contiguous, original.pair(&scattered, false)]
}

/// An original, its contiguous change and its scattered one.
fn texts_of(step: usize, random: &mut Random) -> [String; 3] {
    // With S shingles of which D are lost and as many new: J = (S - D) / (S + D).
    let size = 5 + random.below(2);
    let shingles = (20 + step) * size;
    let lost = (20 - step) * size;
    let words: Vec<String> = (0..shingles + 4).map(|_| random.word(4)).collect();

    let mut replaced = words.clone();
    if lost > 0 {
        // Far enough from both ends, a run of m words is part of m + 4 shingles.
        let run = lost - 4;
        let start = 4 + random.below(words.len() - run - 7);
        replaced[start..start + run].fill_with(|| random.word(5));
    }
    let contiguous = replaced
        .join(if lost > 0 { " " } else { ",\n" })
        .to_uppercase();

    // The mean similarity is spread evenly over the steps and a little beyond, so that every step is met from both sides.
    let wanted = 0.46 + random.share() * 0.54;
    let kept = (1.0 - (1.0 - wanted) / (1.0 + wanted)).powf(0.2);
    let changed: Vec<String> = words
        .iter()
        .flat_map(|word| {
            if random.share() < kept {
                return vec![word.clone()];
            }
            match random.below(4) {
                0 => vec![],
                1 => vec![word.clone(), random.word(5)],
                _ => vec![random.word(5)],
            }
        })
        .collect();
    [words.join(" "), contiguous, changed.join(" ")]
}

/// Reads texts: with the library, and plainly.
struct Reader<'a> {
    hashers: &'a [MinHasher; SHAPES.len()],
    signers: [Signer<'a>; SHAPES.len()],
    words: WordHasher,
    shingler: Shingler,
}

/// All that a text is compared by.
struct Text {
    fives: Vec<[u64; 5]>,
    shingles: Vec<u32>,
    signature: Vec<u32>,
    band_keys: [Vec<u64>; SHAPES.len()],
}

impl<'a> Reader<'a> {
    fn new(hashers: &'a [MinHasher; SHAPES.len()]) -> Self {
        Self {
            hashers,
            signers: hashers.each_ref().map(MinHasher::signer),
            words: WordHasher::default(),
            shingler: Shingler::new(5),
        }
    }

    fn read(&mut self, text: &str) -> Text {
        let words: Vec<u64> = text
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(spelled)
            .collect();
        let fives = words.windows(5).map(|five| five.try_into().unwrap());
        let mut shingles = Vec::new();
        self.shingler.clear();
        for_each_word(text, |start, end| {
            shingles.extend(self.shingler.push(self.words.lower_case(text, start, end)));
        });
        let mut signature = Vec::new();
        let mut band_keys = [const { Vec::new() }; SHAPES.len()];
        for ((hasher, signer), keys) in self
            .hashers
            .iter()
            .zip(&mut self.signers)
            .zip(&mut band_keys)
        {
            let signed = signer.sign(text).unwrap();
            keys.extend(hasher.band_keys(signed));
            if signature.is_empty() {
                signature.extend_from_slice(signed);
            }
        }
        Text {
            fives: set(fives.collect()),
            shingles: set(shingles),
            signature,
            band_keys,
        }
    }
}

impl Text {
    fn pair(&self, other: &Self, contiguous: bool) -> Pair {
        let meets = |shape: usize| {
            let mut keys = self.band_keys[shape].iter().zip(&other.band_keys[shape]);
            keys.any(|(left, right)| left == right)
        };
        let similarity = jaccard(&self.fives, &other.fives);
        let distance = |step: &usize| (similarity * 20.0 - *step as f64).abs();
        Pair {
            contiguous,
            step: (0..=20)
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .unwrap(),
            similarity,
            hashed_similarity: jaccard(&self.shingles, &other.shingles),
            agreeing: agreement(&self.signature, &other.signature),
            meets: [meets(0), meets(1)],
        }
    }
}

/// A word of at most eight ASCII letters, in lower case, as a number: other words are other numbers.
fn spelled(word: &str) -> u64 {
    assert!(word.len() <= 8 && word.is_ascii(), "{word}");
    let letters = word.bytes().map(|letter| letter.to_ascii_lowercase());
    letters.fold(0, |number, letter| number << 8 | u64::from(letter))
}

fn set<T: Ord>(mut members: Vec<T>) -> Vec<T> {
    members.sort_unstable();
    members.dedup();
    members
}

fn jaccard<T: Ord>(left: &[T], right: &[T]) -> f64 {
    let shared = |member: &&T| right.binary_search(member).is_ok();
    let common = left.iter().filter(shared).count();
    common as f64 / (left.len() + right.len() - common) as f64
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut output = self.0;
        output = (output ^ (output >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        output = (output ^ (output >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        output ^ (output >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    /// A number from 0 to below 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Of four letters there are half a million, so that no shingle comes twice; of five are the words put in, so that none
    /// equals what it replaces.
    fn word(&mut self, letters: u32) -> String {
        let number = self.next();
        (0..letters)
            .map(|place| char::from(b'a' + u8::try_from((number >> (8 * place)) % 26).unwrap()))
            .collect()
    }
}
