//! Metrics equal the programs that others report them with: sacrebleu, scikit-learn, scipy, the `SQuAD` script of transformers,
//! lm-evaluation-harness. `trainer/oracle/metrics.py` ran those and wrote `metrics.json`, which says their versions.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall panic")]

use andromeda_trainer::evaluation::metrics::{
    Mean, Perplexity, binary_f1, bleu, exact_match, macro_f1, matthews, normalized, pass_at_k,
    pearson, spearman, token_f1,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Oracle {
    bleu: Vec<BleuCase>,
    squad: Squad,
    labels: Vec<Labels>,
    pairs: Vec<Pairs>,
    pass_at_k: Vec<Passes>,
    words: Vec<Words>,
}

#[derive(Deserialize)]
struct BleuCase {
    system: Vec<String>,
    references: Vec<Vec<String>>,
    score: f64,
    matches: [u64; 4],
    totals: [u64; 4],
    system_tokens: u64,
    reference_tokens: u64,
}

#[derive(Deserialize)]
struct Squad {
    normalized: Vec<Normalized>,
    pairs: Vec<Answers>,
}

#[derive(Deserialize)]
struct Normalized {
    answer: String,
    normalized: String,
}

#[derive(Deserialize)]
struct Answers {
    answer: String,
    reference: String,
    exact: u8,
    f1: f64,
}

#[derive(Deserialize)]
struct Labels {
    expected: Vec<usize>,
    predicted: Vec<usize>,
    matthews: f64,
    binary_f1: f64,
    macro_f1_of_3: f64,
    accuracy: f64,
    standard_error: f64,
}

#[derive(Deserialize)]
struct Pairs {
    x: Vec<f64>,
    y: Vec<f64>,
    pearson: f64,
    spearman: f64,
}

#[derive(Deserialize)]
struct Passes {
    n: usize,
    passed: usize,
    k: usize,
    value: f64,
}

#[derive(Deserialize)]
struct Words {
    text: String,
    words: u64,
    bytes: u64,
}

fn oracle() -> Oracle {
    serde_json::from_str(include_str!("../oracle/metrics.json")).unwrap()
}

#[track_caller]
fn close(ours: f64, theirs: f64) {
    assert!(
        (ours - theirs).abs() < 1e-12 * theirs.abs().max(1.0),
        "{ours} {theirs}"
    );
}

#[test]
fn bleu_is_sacrebleus() {
    let cases = oracle().bleu;
    assert!(cases.len() >= 15);
    for case in cases {
        let corpus: Vec<_> = case.system.into_iter().zip(case.references).collect();
        let ours = bleu(&corpus);
        assert_eq!(ours.matches, case.matches, "{corpus:?}");
        assert_eq!(ours.totals, case.totals, "{corpus:?}");
        assert_eq!(ours.system_tokens, case.system_tokens, "{corpus:?}");
        assert_eq!(ours.reference_tokens, case.reference_tokens, "{corpus:?}");
        close(ours.score, case.score);
    }
    close(bleu(&[]).score, 0.0);
}

#[test]
fn answers_are_compared_as_squads_script_does() {
    let squad = oracle().squad;
    for case in squad.normalized {
        assert_eq!(
            normalized(&case.answer),
            case.normalized,
            "{:?}",
            case.answer
        );
    }
    for case in squad.pairs {
        let (answer, reference) = (&case.answer, &case.reference);
        assert_eq!(
            u8::from(exact_match(answer, reference)),
            case.exact,
            "{answer:?} {reference:?}"
        );
        close(token_f1(answer, reference), case.f1);
    }
}

#[test]
fn f1_matthews_and_accuracy_are_scikit_learns() {
    for case in oracle().labels {
        let (expected, predicted) = (&case.expected, &case.predicted);
        close(matthews(expected, predicted), case.matthews);
        close(binary_f1(expected, predicted, 1), case.binary_f1);
        close(macro_f1(expected, predicted, 3), case.macro_f1_of_3);
        let right: Vec<f64> = expected
            .iter()
            .zip(predicted)
            .map(|(gold, made)| f64::from(u8::from(gold == made)))
            .collect();
        let accuracy = Mean::of(&right);
        close(accuracy.value, case.accuracy);
        close(accuracy.standard_error.unwrap(), case.standard_error);
    }
}

#[test]
fn correlations_are_scipys() {
    for case in oracle().pairs {
        close(pearson(&case.x, &case.y).unwrap(), case.pearson);
        close(spearman(&case.x, &case.y).unwrap(), case.spearman);
    }
    assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), None);
    assert_eq!(spearman(&[1.0], &[1.0]), None);
}

#[test]
fn pass_at_k_is_the_formula_of_whole_numbers() {
    for case in oracle().pass_at_k {
        close(pass_at_k(case.n, case.passed, case.k).unwrap(), case.value);
    }
    assert_eq!(pass_at_k(2, 1, 3), None);
}

#[test]
fn words_and_bytes_are_counted_as_the_harness_does() {
    for case in oracle().words {
        let mut of = Perplexity::default();
        of.add(&case.text, 1, 0.0);
        assert_eq!(
            (of.words, of.bytes),
            (case.words, case.bytes),
            "{:?}",
            case.text
        );
    }
    // Two documents of 2 + 1 words, 7 + 3 bytes and 4 tokens; ln 2 a token is 2 of perplexity.
    let mut of = Perplexity::default();
    of.add("one two", 3, 3.0 * std::f64::consts::LN_2);
    of.add("two", 1, std::f64::consts::LN_2);
    close(of.of_tokens(), 2.0);
    close(of.of_words(), 2f64.powf(4.0 / 3.0));
    close(of.of_bytes(), 2f64.powf(0.4));
    close(of.bits_per_byte(), 0.4);
}
