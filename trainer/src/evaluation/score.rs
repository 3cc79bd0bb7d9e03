//! Answers become scores: a function of a task's items and what some model answered, whichever that was.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::answers::{Reading, cut};
use super::metrics::{
    Mean, binary_f1, bootstrap, exact_match, expected_value, likeliest, likeliest_by_bytes,
    likeliest_by_characters, macro_f1, matthews, pass_at_k, pearson, spearman, token_f1,
};
use super::paired::{self, Difference};
use super::responses::{Answer, Answers};
use super::task::{Asked, Expected, Item, Metric, Rules, Task};

/// Samples of pass@k that are reported where there are as many.
const SAMPLES: [usize; 3] = [1, 10, 100];

/// A task's results.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskScore {
    /// The task.
    pub task: String,
    /// Whose prompt and parser it has.
    pub rules: Rules,
    /// Items that were scored.
    pub items: usize,
    /// Items that were not, by reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub skipped: BTreeMap<String, usize>,
    /// Over all items.
    pub metrics: Vec<MetricScore>,
    /// Over those of each part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, Vec<MetricScore>>,
}

/// A metric's value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricScore {
    /// Its name.
    pub metric: String,
    /// Its value; none where it is not defined.
    pub value: Option<f64>,
    /// Of a mean over items, the sample deviation over the root of their number; of other metrics, by drawing items again.
    pub standard_error: Option<f64>,
    /// What guessing gives; none where guessing gives nothing or it is not known.
    pub chance: Option<f64>,
    /// Items it is of.
    pub items: usize,
}

/// Which programs ended well: of each item and sample. Empty where none were run.
pub type Passed = BTreeMap<(usize, usize), bool>;

/// The right choice and the likeliest one.
type Pair = (usize, usize);

/// The right number and the expected one.
type Numbers = (f64, f64);

/// An item and its answers.
pub type Answered<'a> = (&'a Item, &'a [Answer]);

/// Scores `answers` to `items`, one list an item. `passed` is what became of programs.
pub fn score(task: &Task, items: &[Item], answers: &Answers, passed: &Passed) -> TaskScore {
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut answered: Vec<Answered<'_>> = Vec::with_capacity(items.len());
    for (item, answers) in items.iter().zip(answers) {
        let reason = answers.iter().find_map(|answer| match answer {
            Answer::Skipped(reason) => Some(reason),
            _ => None,
        });
        match reason {
            Some(reason) => *skipped.entry(reason.clone()).or_default() += 1,
            None => answered.push((item, answers)),
        }
    }
    let parts: BTreeSet<&str> = answered
        .iter()
        .map(|(item, _)| item.part.as_str())
        .collect();
    let of_parts = parts.iter().filter(|part| !part.is_empty()).map(|part| {
        let of_part: Vec<_> = answered
            .iter()
            .filter(|(item, _)| item.part == **part)
            .copied()
            .collect();
        ((*part).to_owned(), metrics(task, &of_part, passed))
    });
    TaskScore {
        task: task.name.clone(),
        rules: task.rules,
        items: answered.len(),
        skipped,
        metrics: metrics(task, &answered, passed),
        parts: of_parts.collect(),
    }
}

/// What a metric is made of, item by item.
#[derive(Debug, Clone)]
pub struct ItemValues {
    /// The metric.
    pub metric: String,
    /// What guessing gives; none where guessing gives nothing or it is not known.
    pub chance: Option<f64>,
    values: Values,
}

#[derive(Debug, Clone)]
enum Values {
    /// The metric is their mean.
    Mean(Vec<f64>),
    /// It is e to their mean.
    Exponential(Vec<f64>),
    /// It is a function of all choices together.
    Pairs(Vec<Pair>, OfPairs),
    /// It is how the right numbers and the expected ones go together.
    Numbers(Vec<(f64, f64)>, Correlation),
}

/// The correlation of two rows of numbers, where it is defined.
type Correlation = fn(&[f64], &[f64]) -> Option<f64>;

fn correlation(numbers: &[(f64, f64)], of: Correlation) -> Option<f64> {
    let (right, made): (Vec<f64>, Vec<f64>) = numbers.iter().copied().unzip();
    of(&right, &made)
}

/// A metric of choices that is no mean over items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OfPairs {
    BinaryF1,
    /// Of so many classes.
    MacroF1(usize),
    Mcc,
}

impl OfPairs {
    fn value(self, pairs: &[Pair]) -> f64 {
        let (gold, made): (Vec<usize>, Vec<usize>) = pairs.iter().copied().unzip();
        match self {
            Self::BinaryF1 => binary_f1(&gold, &made, 1),
            Self::MacroF1(classes) => macro_f1(&gold, &made, classes),
            Self::Mcc => matthews(&gold, &made),
        }
    }
}

impl ItemValues {
    fn mean(metric: String, values: Vec<f64>, chance: Option<f64>) -> Self {
        Self {
            metric,
            chance,
            values: Values::Mean(values),
        }
    }

    /// The metric over the items, and its standard error.
    pub fn score(&self) -> MetricScore {
        let (value, standard_error, items) = match &self.values {
            Values::Mean(values) => {
                let mean = Mean::of(values);
                (Some(mean.value), mean.standard_error, values.len())
            }
            Values::Exponential(values) => {
                let error = bootstrap(values, |drawn| Some(Mean::of(drawn).value.exp()));
                (Some(Mean::of(values).value.exp()), error, values.len())
            }
            Values::Pairs(pairs, of) => {
                let error = bootstrap(pairs, |drawn| Some(of.value(drawn)));
                (Some(of.value(pairs)), error, pairs.len())
            }
            Values::Numbers(numbers, of) => {
                let error = bootstrap(numbers, |drawn| correlation(drawn, *of));
                (correlation(numbers, *of), error, numbers.len())
            }
        };
        MetricScore {
            metric: self.metric.clone(),
            value: value.filter(|_| items > 0),
            standard_error,
            chance: self.chance,
            items,
        }
    }

    /// How much more than this `second` has, which is of the same items: of means by the differences of items, of other metrics by
    /// drawing items again. None where they are not of the same.
    pub fn difference(&self, second: &Self) -> Option<Difference> {
        match (&self.values, &second.values) {
            (Values::Mean(own), Values::Mean(other)) if own.len() == other.len() => {
                let both = own.iter().zip(other);
                let differences: Vec<f64> = both.map(|(own, other)| other - own).collect();
                Some(paired::of_items(&differences))
            }
            (Values::Exponential(own), Values::Exponential(other)) if own.len() == other.len() => {
                let both: Vec<(f64, f64)> =
                    own.iter().copied().zip(other.iter().copied()).collect();
                paired::of_metric(&both, |drawn| {
                    let (own, other): (Vec<f64>, Vec<f64>) = drawn.iter().copied().unzip();
                    Mean::of(&other).value.exp() - Mean::of(&own).value.exp()
                })
            }
            (Values::Pairs(own, of), Values::Pairs(other, _)) if own.len() == other.len() => {
                let both: Vec<(Pair, Pair)> =
                    own.iter().copied().zip(other.iter().copied()).collect();
                paired::of_metric(&both, |drawn| {
                    let (own, other): (Vec<Pair>, Vec<Pair>) = drawn.iter().copied().unzip();
                    of.value(&other) - of.value(&own)
                })
            }
            (Values::Numbers(own, of), Values::Numbers(other, _)) if own.len() == other.len() => {
                let both: Vec<_> = own.iter().copied().zip(other.iter().copied()).collect();
                let more = |drawn: &[(Numbers, Numbers)]| {
                    let (own, other): (Vec<_>, Vec<_>) = drawn.iter().copied().unzip();
                    let own = correlation(&own, *of)?;
                    Some(correlation(&other, *of)? - own)
                };
                more(&both)?;
                // Where it is not defined on a draw there is no error.
                paired::of_metric(&both, |drawn| more(drawn).unwrap_or(f64::NAN))
            }
            _ => None,
        }
    }
}

/// What the metrics of `task` are made of, of items with all their answers, none of them skipped. Programs are not run, so those that
/// need it are not among them.
pub fn item_values(task: &Task, answered: &[Answered<'_>]) -> Vec<ItemValues> {
    values(task, answered, &Passed::new())
}

fn metrics(task: &Task, answered: &[Answered<'_>], passed: &Passed) -> Vec<MetricScore> {
    let values = values(task, answered, passed);
    values.iter().map(ItemValues::score).collect()
}

fn values(task: &Task, answered: &[Answered<'_>], passed: &Passed) -> Vec<ItemValues> {
    let Some(generate) = &task.generate else {
        return task
            .metrics
            .iter()
            .map(|&metric| likelihoods(metric, answered))
            .collect();
    };
    if generate.test.is_some() {
        return programs(answered, passed);
    }
    let readings = generate.readings.iter();
    readings.map(|&reading| read(reading, answered)).collect()
}

/// Exact match under a reading; of several samples, their mean.
pub(super) fn read(reading: Reading, answered: &[Answered<'_>]) -> ItemValues {
    let right: Vec<f64> = answered
        .iter()
        .map(|(item, answers)| {
            let (Expected::Answer(target), Some(Answer::Completions(samples))) =
                (&item.expected, answers.first())
            else {
                return 0.0;
            };
            let one = |sample: &String| {
                f64::from(u8::from(reading.right(cut_at_stops(item, sample), target)))
            };
            samples.iter().map(one).sum::<f64>() / samples.len().max(1) as f64
        })
        .collect();
    ItemValues::mean(format!("exact-match ({})", reading.name()), right, None)
}

/// A completion as far as its task goes.
pub fn cut_at_stops<'a>(item: &Item, completion: &'a str) -> &'a str {
    match item.asked.first() {
        Some(Asked::Generate { stop, .. }) => cut(completion, stop),
        _ => completion,
    }
}

fn programs(answered: &[Answered<'_>], passed: &Passed) -> Vec<ItemValues> {
    if passed.is_empty() {
        return Vec::new();
    }
    let counts: Vec<(usize, usize)> = answered
        .iter()
        .map(|(item, answers)| match answers.first() {
            Some(Answer::Completions(samples)) => {
                let well = (0..samples.len())
                    .filter(|&sample| passed.get(&(item.index, sample)) == Some(&true));
                (samples.len(), well.count())
            }
            _ => (0, 0),
        })
        .collect();
    let of = |k| {
        counts
            .iter()
            .map(move |&(n, well)| pass_at_k(n, well, k))
            .collect::<Option<Vec<f64>>>()
    };
    let values = SAMPLES.iter().filter_map(|&k| Some((k, of(k)?)));
    values
        .map(|(k, values)| ItemValues::mean(format!("pass@{k}"), values, None))
        .collect()
}

/// What a model that was asked for log-likelihoods took.
struct Taken {
    /// Log-likelihood of each choice.
    nats: Vec<f64>,
    /// Whether the tokens of the first one were the likeliest.
    greedy: bool,
}

fn taken(answers: &[Answer]) -> Taken {
    let of = |answer: &Answer| match answer {
        Answer::LogLikelihood { nats, greedy } => (*nats, *greedy),
        _ => (f64::NAN, false),
    };
    Taken {
        nats: answers.iter().map(|answer| of(answer).0).collect(),
        greedy: answers.first().is_some_and(|answer| of(answer).1),
    }
}

fn likelihoods(metric: Metric, answered: &[Answered<'_>]) -> ItemValues {
    let name = metric.name().to_owned();
    let each = |value: fn(Metric, &Item, &Taken) -> f64| {
        let values = answered
            .iter()
            .map(|(item, answers)| value(metric, item, &taken(answers)));
        values.collect::<Vec<f64>>()
    };
    let of_pairs = |of: OfPairs, chance| {
        let pairs = answered
            .iter()
            .filter_map(|(item, answers)| pair(item, answers));
        ItemValues {
            metric: name.clone(),
            chance,
            values: Values::Pairs(pairs.collect(), of),
        }
    };
    let of_names = answered
        .iter()
        .any(|(item, _)| matches!(item.expected, Expected::Names { .. }));
    match metric {
        Metric::F1 if of_names => ItemValues::mean(name, each(of_the_likeliest_name), None),
        Metric::F1 => of_pairs(OfPairs::BinaryF1, None),
        Metric::MacroF1 => {
            let classes = answered.iter().map(|(item, _)| item.asked.len()).max();
            of_pairs(OfPairs::MacroF1(classes.unwrap_or(0)), None)
        }
        Metric::Pearson => correlated(name, answered, pearson),
        Metric::Spearman => correlated(name, answered, spearman),
        Metric::Mcc => of_pairs(OfPairs::Mcc, Some(0.0)),
        Metric::ExactMatch => ItemValues::mean(name, each(of_the_likeliest_name), None),
        Metric::Perplexity => {
            let nats = each(|_, _, taken| -taken.nats.first().copied().unwrap_or(f64::NAN));
            ItemValues {
                metric: name,
                chance: None,
                values: Values::Exponential(nats),
            }
        }
        Metric::Acc | Metric::AccNorm | Metric::AccBytes => {
            let guesses = answered.iter().map(|(item, _)| match item.expected {
                Expected::Choice { .. } => 1.0 / item.asked.len() as f64,
                _ => 0.0,
            });
            let chance = Mean::of(&guesses.collect::<Vec<_>>()).value;
            ItemValues::mean(name, each(right_choice), (chance > 0.0).then_some(chance))
        }
    }
}

/// How the right numbers and the expected ones go together.
fn correlated(metric: String, answered: &[Answered<'_>], of: Correlation) -> ItemValues {
    let numbers = answered
        .iter()
        .filter_map(|(item, answers)| match &item.expected {
            Expected::Number { label, values } => {
                Some((*label, expected_value(&taken(answers).nats, values)?))
            }
            _ => None,
        });
    ItemValues {
        metric,
        chance: Some(0.0),
        values: Values::Numbers(numbers.collect(), of),
    }
}

/// 1 where the choice that the metric takes is the right one.
fn right_choice(metric: Metric, item: &Item, taken: &Taken) -> f64 {
    let right = match &item.expected {
        Expected::Choice { label, choices } => {
            let took = match metric {
                Metric::AccNorm => likeliest_by_characters(&taken.nats, choices),
                Metric::AccBytes => likeliest_by_bytes(&taken.nats, choices),
                _ => likeliest(&taken.nats),
            };
            took == Some(*label)
        }
        Expected::Completion => taken.greedy,
        _ => false,
    };
    f64::from(u8::from(right))
}

/// The best agreement of the likeliest name with an answer.
fn of_the_likeliest_name(metric: Metric, item: &Item, taken: &Taken) -> f64 {
    let Expected::Names { names, answers } = &item.expected else {
        return 0.0;
    };
    let Some(name) = likeliest(&taken.nats).and_then(|at| names.get(at)) else {
        return 0.0;
    };
    let agreement = answers.iter().map(|answer| match metric {
        Metric::F1 => token_f1(name, answer),
        _ => f64::from(u8::from(exact_match(name, answer))),
    });
    agreement.fold(0.0, f64::max)
}

/// Of an item with choices.
fn pair(item: &Item, answers: &[Answer]) -> Option<Pair> {
    match item.expected {
        Expected::Choice { label, .. } => Some((label, likeliest(&taken(answers).nats)?)),
        _ => None,
    }
}
