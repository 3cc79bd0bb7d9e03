//! Corpus BLEU (Papineni et al., 2002) as sacrebleu reports it by default (Post, "A Call for Clarity in Reporting BLEU Scores", 2018):
//! `nrefs:N|case:mixed|eff:no|tok:13a|smooth:exp`.

use std::collections::BTreeMap;

use regex::Regex;
use serde::Serialize;

use super::is_space;

/// Longest n-grams.
const ORDER: usize = 4;

/// BLEU and what it is made of.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bleu {
    /// From 0 to 100.
    pub score: f64,
    /// For n = 1 to 4, n-grams that a reference has too.
    pub matches: [u64; ORDER],
    /// For n = 1 to 4, n-grams.
    pub totals: [u64; ORDER],
    /// Tokens of the translations.
    pub system_tokens: u64,
    /// Tokens of the references, for each translation those of the one closest in length.
    pub reference_tokens: u64,
}

/// BLEU of `translations`, each with its references.
pub fn bleu(translations: &[(String, Vec<String>)]) -> Bleu {
    let tokenizer = Tokenizer::new();
    let mut of = Bleu {
        score: 0.0,
        matches: [0; ORDER],
        totals: [0; ORDER],
        system_tokens: 0,
        reference_tokens: 0,
    };
    for (translation, references) in translations {
        let translation = tokenizer.tokens(translation);
        let references: Vec<Vec<String>> = references
            .iter()
            .map(|text| tokenizer.tokens(text))
            .collect();
        let tokens = translation.len();
        // Of references as close in length, the shorter.
        let closest = references
            .iter()
            .map(Vec::len)
            .min_by_key(|&length| (length.abs_diff(tokens), length));
        of.system_tokens += tokens as u64;
        of.reference_tokens += closest.unwrap_or(0) as u64;
        for n in 1..=ORDER {
            let mut most: BTreeMap<&[String], u64> = BTreeMap::new();
            for reference in &references {
                for (ngram, count) in ngrams(reference, n) {
                    let most = most.entry(ngram).or_default();
                    *most = count.max(*most);
                }
            }
            for (ngram, count) in ngrams(&translation, n) {
                of.totals[n - 1] += count;
                of.matches[n - 1] += count.min(most.get(ngram).copied().unwrap_or(0));
            }
        }
    }
    of.score = score(&of);
    of
}

fn ngrams(tokens: &[String], n: usize) -> BTreeMap<&[String], u64> {
    let mut counts = BTreeMap::new();
    for ngram in tokens.windows(n) {
        *counts.entry(ngram).or_default() += 1;
    }
    counts
}

/// `BP exp(mean ln p_n)`. Where no n-gram of a length matches, half of one does, then a quarter, and so on (smoothing `exp`).
fn score(of: &Bleu) -> f64 {
    if of.matches == [0; ORDER] || of.totals.contains(&0) {
        return 0.0;
    }
    let (system, reference) = (of.system_tokens as f64, of.reference_tokens as f64);
    let penalty = if system < reference {
        (1.0 - reference / system).exp()
    } else {
        1.0
    };
    let mut smooth = 1.0;
    let mut sum = 0.0;
    for (&matches, &total) in of.matches.iter().zip(&of.totals) {
        let precision = if matches == 0 {
            smooth *= 2.0;
            100.0 / (smooth * total as f64)
        } else {
            100.0 * matches as f64 / total as f64
        };
        sum += precision.ln();
    }
    penalty * (sum / ORDER as f64).exp()
}

/// The tokens of `mteval-v13a.pl`, the script of the NIST evaluations.
struct Tokenizer {
    rules: [(Regex, &'static str); 4],
}

impl Tokenizer {
    fn new() -> Self {
        let rule = |pattern, to| {
            let regex =
                Regex::new(pattern).expect("the four patterns below are regular expressions");
            (regex, to)
        };
        Self {
            rules: [
                // Marks that are never part of a word; then points and commas but between digits; then a dash after a digit.
                rule(r"([\{-\~\[-\` -\&\(-\+\:-\@/])", " $1 "),
                rule(r"([^0-9])([\.,])", "$1 $2 "),
                rule(r"([\.,])([^0-9])", " $1 $2"),
                rule(r"([0-9])(-)", "$1 $2 "),
            ],
        }
    }

    fn tokens(&self, text: &str) -> Vec<String> {
        let mut text = text
            .trim_end_matches(is_space)
            .replace("<skipped>", "")
            .replace("-\n", "")
            .replace('\n', " ");
        if text.contains('&') {
            text = text
                .replace("&quot;", "\"")
                .replace("&amp;", "&")
                .replace("&lt;", "<")
                .replace("&gt;", ">");
        }
        text = format!(" {text} ");
        for (regex, to) in &self.rules {
            text = regex.replace_all(&text, *to).into_owned();
        }
        let words = text.split(is_space).filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    }
}
