//! Differences between models that answered the same, and how far they can be trusted.
//!
//! Two models are held against each other item by item, since what is easy for one is easy for the other: the error of the mean difference is
//! smaller than what the errors of the two means would say (Miller, "Adding Error Bars to Evals", 2024, section 4.2). Tokens of one document
//! lean the same way, so the document is what is drawn by chance and not its tokens (the same, section 2.2: clustered standard errors).
//! Where data are judged by training on them several times, the seed is drawn by chance too ([`of_seeds`]).
//!
//! `trainer/oracle/paired.py` has the same numbers from scipy and statsmodels.

use std::cmp::Ordering;

use serde::Serialize;

use super::metrics::bootstrap;

/// The part of the intervals that hold the true difference.
pub const CONFIDENCE: f64 = 0.95;

/// A difference, the second model less the first, and how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// In the unit of what was compared.
    pub value: f64,
    /// None where there are too few to tell.
    pub standard_error: Option<f64>,
    /// Of Student's t; none where the error is that of drawing again, and the interval the normal distribution's.
    pub degrees_of_freedom: Option<f64>,
    /// From where to where the true difference lies, with [`CONFIDENCE`]; none without a standard error.
    pub interval: Option<[f64; 2]>,
}

impl Difference {
    /// The difference of this standard error, and its interval.
    fn new(value: f64, standard_error: Option<f64>, degrees_of_freedom: Option<f64>) -> Self {
        let standard_error = standard_error.filter(|error| error.is_finite());
        let reach = standard_error.map(|error| {
            let degrees_of_freedom = degrees_of_freedom.unwrap_or(f64::INFINITY);
            error * student_t(0.5 + CONFIDENCE / 2.0, degrees_of_freedom)
        });
        Self {
            value,
            standard_error,
            degrees_of_freedom: degrees_of_freedom.filter(|_| standard_error.is_some()),
            interval: reach.map(|reach| [value - reach, value + reach]),
        }
    }

    /// Whether the second is above or below the first; none where the interval holds zero, or there is none.
    pub fn decides(&self) -> Option<Ordering> {
        match self.interval? {
            [low, _] if low > 0.0 => Some(Ordering::Greater),
            [_, high] if high < 0.0 => Some(Ordering::Less),
            _ => None,
        }
    }

    /// The same in another unit, of which one of this is `factor`, above 0.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            standard_error: self.standard_error.map(|error| error * factor),
            interval: self.interval.map(|ends| ends.map(|end| end * factor)),
            ..self
        }
    }
}

/// The mean difference a unit of weight, where `totals` are the differences of documents and `weights` their tokens, or bytes: the ratio of
/// the sums. Its variance is linearized and clustered by document, G / (G - 1) sum (t - R w)^2 / (sum w)^2, which is the sandwich
/// estimator of a regression of tokens on a constant; Student's t with G - 1 degrees of freedom. What has no weight is no cluster.
pub fn of_clusters(totals: &[f64], weights: &[f64]) -> Difference {
    let (value, variance, clusters) = ratio(totals, weights);
    let freedom = clusters.saturating_sub(1) as f64;
    let error = (clusters > 1).then(|| variance.sqrt());
    Difference::new(value, error, Some(freedom))
}

/// The mean of paired differences of items, each of which is a cluster of its own.
pub fn of_items(differences: &[f64]) -> Difference {
    of_clusters(differences, &vec![1.0; differences.len()])
}

/// The difference of a metric that is no mean over items, where `pairs` has both models' answers to each: its standard error by drawing
/// items again, both answers together, and the interval of the normal distribution.
pub fn of_metric<T: Clone>(pairs: &[T], difference: impl Fn(&[T]) -> f64) -> Option<Difference> {
    if pairs.is_empty() {
        return None;
    }
    let error = bootstrap(pairs, |drawn| Some(difference(drawn)));
    Some(Difference::new(difference(pairs), error, None))
}

/// A difference between what two builds make of a model, and where its uncertainty comes from.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeedDifference {
    /// The difference.
    #[serde(flatten)]
    pub difference: Difference,
    /// Part of the standard error: how the difference changes from seed to seed.
    pub seeds_error: Option<f64>,
    /// Part of the standard error: how it changes from document to document.
    pub documents_error: Option<f64>,
}

/// The mean over seeds of the differences a unit of weight, where `totals` has for each seed the differences of the documents, all judged by both.
///
/// Seeds and documents are both drawn by chance, and crossed. The variance is that of the seeds' ratios over their number, plus that of
/// the documents ([`of_clusters`] of the means over seeds): the two-way clustered variance of Cameron, Gelbach and Miller ("Robust
/// Inference with Multiway Clustering", 2011) without its third term, which takes away what both parts hold of the interaction; so the
/// interval is a little too wide and never too narrow. Student's t with the degrees of freedom of Welch and Satterthwaite ("An
/// Approximate Distribution of Estimates of Variance Components", 1946), which few seeds make few.
pub fn of_seeds(totals: &[Vec<f64>], weights: &[f64]) -> SeedDifference {
    let seeds = totals.len() as f64;
    let ratios: Vec<f64> = totals.iter().map(|of| ratio(of, weights).0).collect();
    let mean = |at: usize| {
        let of_seeds = totals.iter().filter_map(|of| of.get(at));
        of_seeds.sum::<f64>() / seeds.max(1.0)
    };
    let means: Vec<f64> = (0..weights.len()).map(mean).collect();
    let (value, of_documents, documents) = ratio(&means, weights);
    if totals.len() < 2 || documents < 2 {
        return SeedDifference {
            difference: Difference::new(value, None, None),
            seeds_error: None,
            documents_error: (documents > 1 && totals.len() == 1).then(|| of_documents.sqrt()),
        };
    }
    let center = ratios.iter().sum::<f64>() / seeds;
    let squares: f64 = ratios.iter().map(|ratio| (ratio - center).powi(2)).sum();
    let of_seeds = squares / (seeds - 1.0) / seeds;
    let variance = of_seeds + of_documents;
    let (free_seeds, free_documents) = (seeds - 1.0, documents as f64 - 1.0);
    let freedom = if variance > 0.0 {
        variance.powi(2) / (of_seeds.powi(2) / free_seeds + of_documents.powi(2) / free_documents)
    } else {
        free_seeds.min(free_documents)
    };
    SeedDifference {
        difference: Difference::new(value, Some(variance.sqrt()), Some(freedom)),
        seeds_error: Some(of_seeds.sqrt()),
        documents_error: Some(of_documents.sqrt()),
    }
}

/// The ratio of the sums, its clustered variance, and how many clusters there are; 0 of nothing.
fn ratio(totals: &[f64], weights: &[f64]) -> (f64, f64, usize) {
    let weighted = || {
        let both = totals.iter().copied().zip(weights.iter().copied());
        both.filter(|(_, weight)| *weight > 0.0)
    };
    let weight: f64 = weighted().map(|(_, weight)| weight).sum();
    let clusters = weighted().count();
    if clusters == 0 {
        return (0.0, 0.0, 0);
    }
    let value = weighted().map(|(total, _)| total).sum::<f64>() / weight;
    let squares: f64 = weighted()
        .map(|(total, of)| (total - value * of).powi(2))
        .sum();
    let count = clusters as f64;
    let variance = count / (count - 1.0).max(1.0) * squares / weight.powi(2);
    (value, variance, clusters)
}

/// The number that Student's t with `degrees_of_freedom` stays below with `probability`, between 1/2 and 1; the normal distribution's for
/// infinitely many. Found by halving where the regularized incomplete beta function has that value (`DLMF` 8.17).
pub fn student_t(probability: f64, degrees_of_freedom: f64) -> f64 {
    // From here on the normal distribution's to ten digits; nearer ones are reached by the continued fraction.
    const MOST: f64 = 1e7;
    let freedom = degrees_of_freedom.clamp(1e-3, MOST);
    let beyond = (1.0 - probability).clamp(1e-12, 0.5);
    let tail = |t: f64| 0.5 * incomplete_beta(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    let (mut low, mut high) = (0.0, 1.0);
    while tail(high) > beyond && high < 1e300 {
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if tail(middle) > beyond {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// The regularized incomplete beta function, by its continued fraction (`DLMF` 8.17.22) after Lentz.
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    // It converges fast on this side of the mean; the other side is the complement.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_below(b, a, 1.0 - x);
    }
    incomplete_beta_below(a, b, x)
}

fn incomplete_beta_below(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    let kept = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for step in 1..20_000_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        d = 1.0 / kept(1.0 + even * d);
        c = kept(1.0 + even / c);
        fraction *= d * c;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        d = 1.0 / kept(1.0 + odd * d);
        c = kept(1.0 + odd / c);
        let factor = d * c;
        fraction *= factor;
        if (factor - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * fraction / a
}

/// The logarithm of the gamma function of a positive number: Stirling's series (`DLMF` 5.11.1) above 15, shifted there from below.
fn ln_gamma(number: f64) -> f64 {
    let (mut x, mut shift) = (number, 0.0);
    while x < 15.0 {
        shift -= x.ln();
        x += 1.0;
    }
    let square = 1.0 / (x * x);
    let series = [
        1.0 / 12.0,
        -1.0 / 360.0,
        1.0 / 1260.0,
        -1.0 / 1680.0,
        1.0 / 1188.0,
    ];
    let sum = series
        .iter()
        .rev()
        .fold(0.0, |sum, term| sum * square + term);
    shift + (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + sum / x
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::evaluation::metrics::Mean;
    use crate::random::Stream;

    /// By scipy 1.17.1 and statsmodels 0.15.0.
    fn oracle() -> Value {
        serde_json::from_str(include_str!("../../oracle/paired.json")).unwrap()
    }

    fn number(value: &Value) -> f64 {
        value.as_f64().unwrap()
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().unwrap().iter().map(number).collect()
    }

    fn near(own: f64, other: f64) {
        assert!(
            (own - other).abs() <= 1e-9 * other.abs().max(1e-3),
            "{own} {other}"
        );
    }

    fn is(difference: &Difference, of: &Value) {
        near(difference.value, number(&of["value"]));
        near(
            difference.standard_error.unwrap(),
            number(&of["standard_error"]),
        );
        near(
            difference.degrees_of_freedom.unwrap(),
            number(&of["degrees_of_freedom"]),
        );
        let ends = numbers(&of["interval"]);
        let own = difference.interval.unwrap();
        near(own[0], ends[0]);
        near(own[1], ends[1]);
    }

    #[test]
    fn quantiles_are_those_of_scipy() {
        for of in oracle()["quantiles"].as_array().unwrap() {
            let t = student_t(
                number(&of["probability"]),
                number(&of["degrees_of_freedom"]),
            );
            near(t, number(&of["t"]));
        }
        // scipy.stats.norm.ppf(0.975)
        assert!((student_t(0.975, f64::INFINITY) - 1.959_963_984_540_054).abs() < 1e-6);
    }

    #[test]
    fn clustered_errors_are_those_of_statsmodels() {
        for of in oracle()["clusters"].as_array().unwrap() {
            let own = of_clusters(&numbers(&of["totals"]), &numbers(&of["weights"]));
            is(&own, of);
        }
    }

    #[test]
    fn seeds_and_documents_add_up_as_in_welchs_test() {
        for of in oracle()["seeds"].as_array().unwrap() {
            let totals: Vec<Vec<f64>> = of["totals"]
                .as_array()
                .unwrap()
                .iter()
                .map(numbers)
                .collect();
            let own = of_seeds(&totals, &numbers(&of["weights"]));
            is(&own.difference, of);
            near(own.seeds_error.unwrap(), number(&of["seeds_error"]));
            near(own.documents_error.unwrap(), number(&of["documents_error"]));
        }
    }

    #[test]
    fn of_items_it_is_the_error_of_their_mean() {
        let differences = [1.0, 0.0, 0.0, -1.0, 1.0, 0.0, 1.0];
        let (own, mean) = (of_items(&differences), Mean::of(&differences));
        near(own.value, mean.value);
        near(own.standard_error.unwrap(), mean.standard_error.unwrap());
        assert_eq!(own.decides(), None);
        // By drawing again; 500 draws tell an error to 1 in 30.
        let drawn = of_metric(&differences, |drawn| Mean::of(drawn).value).unwrap();
        near(drawn.value, mean.value);
        let part = drawn.standard_error.unwrap() / mean.standard_error.unwrap();
        assert!((part - (6.0_f64 / 7.0).sqrt()).abs() < 0.1, "{part}");
    }

    #[test]
    fn too_few_decide_nothing_and_what_is_equal_is_no_difference() {
        for difference in [
            of_items(&[]),
            of_items(&[3.0]),
            of_clusters(&[1.0, 2.0], &[0.0, 5.0]),
            of_seeds(&[vec![1.0, 2.0]], &[1.0, 1.0]).difference,
            of_seeds(&[vec![1.0], vec![2.0]], &[1.0]).difference,
            of_seeds(&[], &[]).difference,
            of_items(&[1.0, f64::NAN]),
        ] {
            assert_eq!((difference.interval, difference.decides()), (None, None));
        }
        let equal = of_seeds(&[vec![0.0; 5], vec![0.0; 5]], &[1.0; 5]).difference;
        assert_eq!((equal.interval, equal.decides()), (Some([0.0; 2]), None));
        let sure = of_items(&[2.0, 2.1, 2.2, 2.1]);
        assert_eq!(sure.decides(), Some(Ordering::Greater));
        assert_eq!(sure.times(2.0).value, 2.0 * sure.value);
        assert_eq!(
            of_items(&[-2.0, -2.1, -2.2]).decides(),
            Some(Ordering::Less)
        );
        assert_eq!(of_metric::<f64>(&[], |_| 0.0), None);
    }

    /// What the intervals promise: of 2000 experiments in which seeds, documents and their interaction are drawn anew and the true
    /// difference is 0.3, so many intervals hold it.
    #[test]
    fn intervals_hold_the_truth_as_often_as_they_say() {
        const EXPERIMENTS: usize = 2000;
        let stream = Stream::new(3, "experiments");
        let mut counter = 0;
        let mut normal = |deviation: f64| {
            counter += 1;
            deviation * stream.normal(counter)
        };
        for (of_seed, of_document, of_both) in [
            (0.1, 0.0, 0.0),
            (0.0, 1.0, 0.0),
            (0.1, 0.6, 0.0),
            (0.1, 0.6, 0.6),
        ] {
            let (seeds, documents) = (3, 40);
            let mut held = 0;
            for _ in 0..EXPERIMENTS {
                let documents: Vec<f64> = (0..documents).map(|_| normal(of_document)).collect();
                let mut experiment = || {
                    let seed = 0.3 + normal(of_seed);
                    let one = |document: &f64| seed + document + normal(of_both);
                    documents.iter().map(one).collect::<Vec<f64>>()
                };
                let totals: Vec<Vec<f64>> = (0..seeds).map(|_| experiment()).collect();
                let own = of_seeds(&totals, &vec![1.0; documents.len()]);
                let [low, high] = own.difference.interval.unwrap();
                held += usize::from(low < 0.3 && 0.3 < high);
            }
            let part = held as f64 / EXPERIMENTS as f64;
            // Three standard errors of a part of 2000 below 0.95: 0.0146. Above it the third term that is left out, and few seeds.
            assert!(part > 0.935, "{of_seed} {of_document} {of_both}: {part}");
            assert!(part < 0.998, "{of_seed} {of_document} {of_both}: {part}");
        }
    }
}
