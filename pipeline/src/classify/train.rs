//! Training a classifier: fastText's supervised model with softmax, by stochastic gradient descent on one thread, so that the
//! same texts, options and seed give the same bytes. fastText's own threads write over each other, so that no two of its runs agree.

use std::collections::HashMap;

use serde::Serialize;

use super::arithmetic::{Random, softmax};
use super::dictionary::{Dictionary, END_OF_LINE, Kind, PREFIX};
use super::loss::Output;
use super::matrix::{Dense, Matrix, dot};
use super::{Arguments, Classifier, Loss, Scratch};

/// How a classifier is trained. Defaults are fastText's for supervised models, but for two words an n-gram, as DCLM has it, and
/// a smaller hidden layer and fewer buckets: with two labels, more is only a larger file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainOptions {
    /// Numbers of the hidden layer.
    pub dim: u16,
    /// Times that each text is looked at.
    pub epochs: u16,
    /// The first step's length; it falls to nothing evenly.
    pub rate: f32,
    /// Words of an n-gram at most.
    pub word_ngrams: u8,
    /// Rows for n-grams.
    pub buckets: u32,
    /// Times that a word must occur to have a row of its own.
    pub min_count: u32,
    /// Every so many texts one is held out, to measure on.
    pub held_out_every: u32,
    /// Decides first weights, order and what is held out.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            dim: 16,
            epochs: 5,
            rate: 0.1,
            word_ngrams: 2,
            buckets: 1 << 18,
            min_count: 2,
            held_out_every: 10,
            seed: 1,
        }
    }
}

/// Why there is no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrainError {
    /// Too little to tell labels apart.
    #[error(
        "{label} has {texts} texts to train on: at least 10 are needed, and some thousand make sense"
    )]
    TooFew {
        /// The label.
        label: String,
        /// Its texts.
        texts: usize,
    },
    /// More words than the format can number.
    #[error("the texts have more words than a model can hold: raise --min-count")]
    TooManyWords,
    /// An option nothing can be trained with.
    #[error("{0} must not be 0")]
    Zero(&'static str),
}

/// A text and what it is an example of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Its label, without a prefix.
    pub label: String,
    /// The text; its line breaks count as spaces.
    pub text: String,
}

/// How well a model does on texts that it was not trained on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldOut {
    /// Texts that were held out.
    pub texts: usize,
    /// The share whose likeliest label is theirs.
    pub accuracy: f64,
    /// How often a text of the first label scores higher for it than one of another label, ties half: the area under the
    /// receiver's curve. 0.5 is chance.
    pub area: f64,
    /// By the probability of the first label, in tenths: how many texts, their mean probability, and the share that has it.
    pub calibration: Vec<Bin>,
    /// The mean distance of the last two, over texts.
    pub calibration_error: f64,
}

/// Texts whose probabilities are in one tenth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bin {
    /// How many.
    pub texts: usize,
    /// The mean of their probabilities.
    pub predicted: f64,
    /// The share that has the label.
    pub observed: f64,
}

/// Trains on `examples`, but for those that are held out, and measures on these; `note` is called after each epoch with its
/// number and mean loss, in nats a text. The calibration is of the label `first`.
///
/// # Errors
/// If a label has too few texts, or an option makes no sense.
pub fn train(
    examples: &[Example],
    first: &str,
    options: &TrainOptions,
    note: &mut dyn FnMut(u16, f64),
) -> Result<(Classifier, HeldOut), TrainError> {
    for (name, value) in [
        ("dim", u32::from(options.dim)),
        ("epochs", u32::from(options.epochs)),
        ("word-ngrams", u32::from(options.word_ngrams)),
        ("held-out-every", options.held_out_every),
    ] {
        if value == 0 {
            return Err(TrainError::Zero(name));
        }
    }
    // By content, so that a copy of a text is never on the other side.
    let (held_out, used): (Vec<&Example>, Vec<&Example>) = examples.iter().partition(|example| {
        xxhash_rust::xxh3::xxh3_64_with_seed(example.text.as_bytes(), options.seed)
            .is_multiple_of(u64::from(options.held_out_every))
    });
    let mut model = untrained(&used, options)?;
    descend(&mut model, &used, options, note);
    let measured = measure(&model, &held_out, first);
    Ok((model, measured))
}

/// A model with words, labels and random weights, as fastText begins.
fn untrained(examples: &[&Example], options: &TrainOptions) -> Result<Classifier, TrainError> {
    let mut words: HashMap<&[u8], i64> = HashMap::new();
    let mut labels: HashMap<&str, i64> = HashMap::new();
    let mut tokens = 0i64;
    for example in examples {
        *labels.entry(&example.label).or_default() += 1;
        let of_text = example.text.as_bytes().split(|byte| is_space(*byte));
        for word in of_text.filter(|word| !word.is_empty()).chain([END_OF_LINE]) {
            *words.entry(word).or_default() += 1;
            tokens += 1;
        }
    }
    let mut labels: Vec<(&str, i64)> = labels.into_iter().collect();
    labels.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    for (label, texts) in &labels {
        if *texts < 10 {
            return Err(TrainError::TooFew {
                label: (*label).to_owned(),
                texts: usize::try_from(*texts).unwrap_or(0),
            });
        }
    }
    if labels.len() < 2 {
        return Err(TrainError::TooFew {
            label: "a second label".to_owned(),
            texts: 0,
        });
    }
    let least = i64::from(options.min_count);
    let mut words: Vec<(&[u8], i64)> = words
        .into_iter()
        .filter(|(word, count)| *count >= least && !word.starts_with(PREFIX.as_bytes()))
        .collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let buckets = if options.word_ngrams > 1 {
        options.buckets
    } else {
        0
    };
    let rows = words.len() + buckets as usize;
    if i32::try_from(rows).is_err() {
        return Err(TrainError::TooManyWords);
    }
    let arguments = Arguments {
        dim: i32::from(options.dim),
        ws: 5,
        epoch: i32::from(options.epochs),
        min_count: i32::try_from(options.min_count).unwrap_or(i32::MAX),
        neg: 5,
        word_ngrams: i32::from(options.word_ngrams),
        loss: Loss::Softmax,
        bucket: i32::try_from(buckets).map_err(|_| TrainError::TooManyWords)?,
        minn: 0,
        maxn: 0,
        lr_update_rate: 100,
        t: 1e-4,
    };
    let counts: Vec<i64> = labels.iter().map(|(_, count)| *count).collect();
    let entries =
        words
            .iter()
            .map(|(word, count)| (word.to_vec(), *count, Kind::Word))
            .chain(labels.iter().map(|(label, count)| {
                (format!("{PREFIX}{label}").into_bytes(), *count, Kind::Label)
            }))
            .collect();
    let dim = usize::from(options.dim);
    let mut random = Random(options.seed);
    let numbers = (0..rows * dim)
        .map(|_| random.uniform() / f32::from(options.dim))
        .collect();
    let dense = |rows, numbers| Dense {
        rows,
        columns: dim,
        numbers,
    };
    Ok(Classifier {
        dictionary: Dictionary::new(entries, tokens, None, &arguments),
        input: Matrix::Dense(dense(rows, numbers)),
        output: Output::new(
            Loss::Softmax,
            Matrix::Dense(dense(counts.len(), vec![0.0; counts.len() * dim])),
            &counts,
        ),
        arguments,
    })
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | 0x0b | 0x0c | 0)
}

impl Random {
    /// A number from -1 to 1.
    fn uniform(&mut self) -> f32 {
        #[expect(clippy::cast_precision_loss, reason = "24 bits are exact")]
        let number = (self.next() >> 40) as f32;
        number / 8_388_608.0 - 1.0
    }
}

fn descend(
    model: &mut Classifier,
    examples: &[&Example],
    options: &TrainOptions,
    note: &mut dyn FnMut(u16, f64),
) {
    let (Matrix::Dense(input), Matrix::Dense(output)) =
        (&mut model.input, &mut model.output.matrix)
    else {
        return;
    };
    let dim = usize::from(options.dim);
    let numbers: HashMap<String, usize> = (0..model.dictionary.labels())
        .map(|label| {
            let name = model.dictionary.label(label);
            (name.strip_prefix(PREFIX).unwrap_or(name).to_owned(), label)
        })
        .collect();
    let mut random = Random(options.seed ^ 0x6f72_6465_7200_0000);
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let mut scratch = Scratch::default();
    let mut slope = vec![0f32; dim];
    let steps = examples.len() * usize::from(options.epochs);
    let mut step = 0usize;
    for epoch in 1..=options.epochs {
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
        let mut loss = 0.0;
        for &at in &order {
            #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
            let rate = options.rate * (1.0 - step as f32 / steps as f32);
            step += 1;
            let example = examples[at];
            let Some(&label) = numbers.get(&example.label) else {
                continue;
            };
            model
                .dictionary
                .rows(&example.text, &model.arguments, &mut scratch);
            if scratch.rows.is_empty() {
                continue;
            }
            input.mean(&scratch.rows, &mut scratch.hidden);
            let hidden = &scratch.hidden;
            let mut shares: Vec<f64> = (0..output.rows)
                .map(|row| f64::from(dot(output.row(row), hidden)))
                .collect();
            softmax(&mut shares);
            loss -= shares.get(label).copied().unwrap_or(1.0).max(1e-10).ln();
            slope.fill(0.0);
            for (row, share) in shares.iter().enumerate() {
                let aim = if row == label { 1.0 } else { 0.0 };
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "single precision is enough for a step"
                )]
                let alpha = rate * (aim - *share as f32);
                let weights = output.numbers.iter_mut().skip(row * dim).take(dim);
                for ((slope, weight), hidden) in slope.iter_mut().zip(weights).zip(hidden) {
                    *slope += alpha * *weight;
                    *weight += alpha * hidden;
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "a step need not be exact")]
            let share = 1.0 / scratch.rows.len() as f32;
            slope.iter_mut().for_each(|slope| *slope *= share);
            for row in &scratch.rows {
                let start = *row as usize * dim;
                if let Some(weights) = input.numbers.get_mut(start..start + dim) {
                    for (weight, slope) in weights.iter_mut().zip(&slope) {
                        *weight += slope;
                    }
                }
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        note(epoch, loss / examples.len().max(1) as f64);
    }
}

fn measure(model: &Classifier, examples: &[&Example], first: &str) -> HeldOut {
    let mut scratch = Scratch::default();
    let label = model.label(first).unwrap_or(0);
    let mut right = 0usize;
    let mut scores: Vec<(f64, bool)> = Vec::with_capacity(examples.len());
    for example in examples {
        let best = model.best(&example.text, &mut scratch);
        right += usize::from(best.is_some_and(|best| model.name(best.label) == example.label));
        let score = model.probability(&example.text, label, &mut scratch);
        scores.push((score.unwrap_or(0.0).clamp(0.0, 1.0), example.label == first));
    }
    let mut calibration = vec![Bin::default(); 10];
    for (score, has) in &scores {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a score is from 0 to 1"
        )]
        let bin = &mut calibration[((score * 10.0) as usize).min(9)];
        bin.texts += 1;
        bin.predicted += score;
        bin.observed += f64::from(u8::from(*has));
    }
    let ratio = |part: f64, whole: usize| {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let whole = whole.max(1) as f64;
        part / whole
    };
    let off = calibration
        .iter()
        .map(|bin| (bin.predicted - bin.observed).abs())
        .sum();
    for bin in &mut calibration {
        bin.predicted = ratio(bin.predicted, bin.texts);
        bin.observed = ratio(bin.observed, bin.texts);
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let right = right as f64;
    HeldOut {
        texts: examples.len(),
        accuracy: ratio(right, examples.len()),
        area: area(&mut scores),
        calibration,
        calibration_error: ratio(off, examples.len()),
    }
}

/// The area under the receiver's curve, by ranks (Mann and Whitney, 1947).
fn area(scores: &mut [(f64, bool)]) -> f64 {
    scores.sort_by(|a, b| f64::total_cmp(&a.0, &b.0));
    let (mut rank, mut of_first, mut firsts) = (0.0, 0.0, 0.0);
    for equal in scores.chunk_by(|a, b| a.0 == b.0) {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let count = equal.len() as f64;
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let own = equal.iter().filter(|score| score.1).count() as f64;
        of_first += own * (rank + (count + 1.0) / 2.0);
        firsts += own;
        rank += count;
    }
    let others = rank - firsts;
    if firsts == 0.0 || others == 0.0 {
        return 0.5;
    }
    (of_first - firsts * (firsts + 1.0) / 2.0) / (firsts * others)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two kinds of texts: words of one list with some of the other.
    fn examples(count: usize) -> Vec<Example> {
        let good = [
            "theorem",
            "because",
            "explain",
            "therefore",
            "step",
            "answer",
            "proof",
            "reason",
        ];
        let bad = [
            "click",
            "buy",
            "now",
            "free",
            "subscribe",
            "cart",
            "offer",
            "login",
        ];
        let mut random = Random(5);
        (0..count)
            .map(|i| {
                let (own, other) = if i % 3 == 0 { (good, bad) } else { (bad, good) };
                let words: Vec<&str> = (0..20)
                    .map(|_| if random.below(4) == 0 { other } else { own }[random.below(8)])
                    .collect();
                let label = if i % 3 == 0 { "hq" } else { "cc" };
                Example {
                    label: label.to_owned(),
                    text: format!("{i} {}", words.join(" ")),
                }
            })
            .collect()
    }

    fn small() -> TrainOptions {
        TrainOptions {
            dim: 8,
            buckets: 500,
            epochs: 4,
            rate: 0.5,
            ..TrainOptions::default()
        }
    }

    #[test]
    fn kinds_of_texts_are_learnt_and_the_same_texts_give_the_same_bytes() {
        let examples = examples(900);
        let mut losses = Vec::new();
        let (model, held_out) =
            train(&examples, "hq", &small(), &mut |_, loss| losses.push(loss)).unwrap();
        assert!(losses.is_sorted_by(|a, b| a > b), "{losses:?}");
        assert!((50..150).contains(&held_out.texts), "{held_out:?}");
        assert!(
            held_out.accuracy > 0.95 && held_out.area > 0.98,
            "{held_out:?}"
        );
        assert!(held_out.calibration_error < 0.1, "{held_out:?}");
        assert_eq!(model.labels(), ["cc", "hq"]);
        let again = train(&examples, "hq", &small(), &mut |_, _| ()).unwrap().0;
        assert_eq!(again.to_bytes().unwrap(), model.to_bytes().unwrap());
        let other = train(
            &examples,
            "hq",
            &TrainOptions { seed: 2, ..small() },
            &mut |_, _| (),
        )
        .unwrap()
        .0;
        assert_ne!(other.to_bytes().unwrap(), model.to_bytes().unwrap());
        let bytes = model.to_bytes().unwrap();
        assert_eq!(
            Classifier::read(&mut &bytes[..], bytes.len() as u64).unwrap(),
            model
        );
    }

    #[test]
    fn fasttext_itself_predicts_the_same_with_what_was_trained_here() {
        // The model of the test above, written to a file and read by fastText 0.9.2 (fasttext-wheel from PyPI), whose
        // predict() printed these for `__label__hq`; `python tests/fasttext/make.py FILE` does the like.
        let (model, _) = train(&examples(900), "hq", &small(), &mut |_, _| ()).unwrap();
        if let Some(file) = std::env::var_os("ANDROMEDA_WRITE_TRAINED_MODEL") {
            fs_err::write(file, model.to_bytes().unwrap()).unwrap();
        }
        let mut scratch = Scratch::default();
        let label = model.label("hq").unwrap();
        for (text, expected) in FASTTEXT_SAYS {
            let found = model.probability(text, label, &mut scratch).unwrap();
            assert!(
                (found - expected).abs() < 2e-6,
                "{text:?}: {found} and not {expected}"
            );
        }
    }

    const FASTTEXT_SAYS: [(&str, f64); 4] = [
        ("therefore the proof", 0.999_971_032_142_639_2),
        ("buy now", 1.358_913_868_898_525_8e-5),
        ("step click answer cart", 0.157_810_181_379_318_24),
        ("", 0.339_897_453_784_942_6),
    ];

    #[test]
    fn too_few_texts_and_options_of_nothing_are_refused() {
        let few = train(&examples(20), "hq", &small(), &mut |_, _| ()).unwrap_err();
        assert!(few.to_string().starts_with("hq has "), "{few}");
        let one: Vec<Example> = examples(300)
            .into_iter()
            .filter(|e| e.label == "cc")
            .collect();
        let one = train(&one, "hq", &small(), &mut |_, _| ()).unwrap_err();
        assert!(one.to_string().starts_with("a second label has 0"), "{one}");
        let none = TrainOptions { dim: 0, ..small() };
        assert_eq!(
            train(&examples(300), "hq", &none, &mut |_, _| ()).unwrap_err(),
            TrainError::Zero("dim")
        );
    }

    #[test]
    fn the_area_under_the_curve_is_that_of_a_case_by_hand() {
        // Of the six pairs of one with and one without the label, four are in order and one is a tie.
        let mut scores = [
            (0.9, true),
            (0.4, true),
            (0.4, false),
            (0.6, false),
            (0.1, false),
        ];
        assert!((area(&mut scores) - 4.5 / 6.0).abs() < 1e-12);
        assert_eq!(area(&mut [(0.5, true)]), 0.5);
    }
}
