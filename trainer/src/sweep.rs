//! A sweep: one configuration with some fields varied, each combination a run of its own: `andromeda-train sweep`.
//!
//! `[grid]` has lists, and all combinations are tried, the last field (in alphabetic order) changing fastest. `[random]` has distributions: the draws of
//! a trial are a function of seed, field and trial, so that more trials go on where fewer stopped (Bergstra and Bengio, "Random Search for
//! Hyper-Parameter Optimization", 2012, says why draws find more than a grid of as many trials where few of the fields matter).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::build::nearest;
use crate::config::WrittenConfig;
use crate::error::{Error, Result};
use crate::objective::Kind;
use crate::random::Stream;
use crate::strategy::{Carry, Stage, Strategy};

/// More trials than anybody waits for.
const MOST_TRIALS: usize = 1000;
/// What drawn numbers are rounded to: who reads them can write them.
const DIGITS: usize = 4;

/// What trials are judged by: the last value of a key of `metrics.jsonl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The key.
    pub name: &'static str,
    /// Whether the lowest is the best.
    pub lowest_is_best: bool,
    /// Of which objective it is; none if of all.
    pub of: Option<Kind>,
}

/// All of them; the first is judged by where none is named.
pub const METRICS: [Metric; 8] = [
    Metric::new("validation_loss", true, None),
    Metric::new("bits_per_byte", true, None),
    Metric::new("loss", true, None),
    Metric::new("preference_loss", true, Some(Kind::Preference)),
    Metric::new("preference_accuracy", false, Some(Kind::Preference)),
    Metric::new("margin", false, Some(Kind::Preference)),
    Metric::new("process_loss", true, Some(Kind::Process)),
    Metric::new("ranking", false, Some(Kind::Process)),
];

impl Metric {
    const fn new(name: &'static str, lowest_is_best: bool, of: Option<Kind>) -> Self {
        Self {
            name,
            lowest_is_best,
            of,
        }
    }

    /// Whether it is measured on the validation split.
    pub fn needs_validation(&self) -> bool {
        matches!(self.name, "validation_loss" | "bits_per_byte")
    }
}

/// A sweep as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenSweep {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    config: Option<PathBuf>,
    #[serde(default)]
    strategy: Option<WrittenStage>,
    #[serde(default)]
    build: Option<PathBuf>,
    #[serde(default)]
    metric: Option<String>,
    /// Laid over the configuration of all trials.
    #[serde(default)]
    set: Table,
    #[serde(default)]
    grid: Option<Table>,
    #[serde(default)]
    random: Option<Table>,
}

/// The stage of a strategy that is varied, as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenStage {
    file: PathBuf,
    #[serde(default)]
    size: Option<String>,
    stage: String,
}

/// What all trials of a sweep over a stage begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeginsWith {
    /// Name of the run whose newest checkpoint it is.
    pub run: String,
    /// Whether the moments of its optimizer are carried over too.
    pub moments: bool,
}

/// A trial: a run with its own values.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Name of the run: `SWEEP-001` and so on.
    pub run: String,
    /// The values of the varied fields, by `section.key`.
    pub values: BTreeMap<String, Value>,
    /// Its configuration.
    pub config: WrittenConfig,
}

/// A sweep, and what is wrong with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Sweep {
    /// Its name, which its runs begin with.
    pub name: String,
    /// The configuration that is varied.
    pub base: PathBuf,
    /// Name of the build, the newest of which is meant, or its folder; none for the newest of all.
    pub build: Option<PathBuf>,
    /// What its trials begin with; none for random values.
    pub from: Option<BeginsWith>,
    /// What trials are judged by.
    pub metric: Metric,
    /// The varied fields, as `section.key`, sorted.
    pub fields: Vec<String>,
    /// The trials, those left out whose configuration cannot be read.
    pub trials: Vec<Trial>,
    /// Every problem of the file, as sentences. A sweep with one is not begun.
    pub problems: Vec<String>,
}

impl Sweep {
    /// Reads the sweep at `path`, and the configuration that it varies. A path in it is one from where the program was started.
    ///
    /// # Errors
    /// A file cannot be read, or is not laid out as a sweep; what else is wrong is in [`Sweep::problems`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs_err::read_to_string(path).map_err(Error::io("reading the sweep"))?;
        let wrong = |problem: String| Error::Config {
            path: path.to_owned(),
            problem,
        };
        let mut written: WrittenSweep =
            toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let stem = stem.unwrap_or_default();
        match (written.config.take(), written.strategy.take()) {
            (Some(config), None) => {
                let base = fs_err::read_to_string(&config);
                let base = base.map_err(Error::io("reading the configuration"))?;
                Ok(Self::of(written, config, &base, stem))
            }
            (None, Some(of)) => {
                let (stage, from) = stage_of(&of)?;
                let base = toml::to_string(&stage.config);
                let base = base.map_err(|error| wrong(error.to_string()))?;
                written.build.get_or_insert(stage.build);
                let sweep = Self::of(written, of.file, &base, stem);
                Ok(Self { from, ..sweep })
            }
            _ => Err(wrong(
                "either config = a configuration, or strategy = { file = ..., size = ..., stage = ... }"
                    .to_owned(),
            )),
        }
    }

    fn of(written: WrittenSweep, file: PathBuf, base: &str, stem: &str) -> Self {
        let mut problems = Vec::new();
        let name = written.name.unwrap_or_else(|| stem.to_owned());
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
            problems.push(format!(
                "name: {name:?} is no name for runs: letters, digits, '-' and '_'"
            ));
        }
        let metric = match written.metric.as_deref() {
            None => METRICS[0],
            Some(wanted) => named(wanted).unwrap_or_else(|problem| {
                problems.push(problem);
                METRICS[0]
            }),
        };
        let points = match (&written.grid, &written.random) {
            (Some(grid), None) => of_grid(grid, &mut problems),
            (None, Some(random)) => of_draws(random, &mut problems),
            _ => {
                problems.push(
                    "either [grid] with lists or [random] with distributions, as `schedule.peak-learning-rate = [1e-3, 3e-3]`"
                        .to_owned(),
                );
                Vec::new()
            }
        };
        let set = fields(&written.set, "set", &mut problems);
        let varied = points.first().map_or_else(Vec::new, |point: &Point| {
            point.keys().cloned().collect::<Vec<String>>()
        });
        for field in varied.iter().filter(|field| set.contains_key(*field)) {
            problems.push(format!(
                "{field} is both in [set] and varied; leave one out"
            ));
        }
        let mut told = Told::default();
        let mut trials = Vec::with_capacity(points.len());
        for (number, values) in (1..).zip(points) {
            let overrides: Vec<String> = set
                .iter()
                .chain(&values)
                .map(|(field, value)| format!("{field}={value}"))
                .collect();
            let run = format!("{name}-{number:03}");
            match WrittenConfig::parse(base, &overrides) {
                Ok(config) => trials.push(Trial {
                    run,
                    values,
                    config,
                }),
                Err(problem) => told.add(&run, problem.trim_end().to_owned()),
            }
        }
        problems.extend(told.sentences());
        Self {
            name,
            base: file,
            build: written.build,
            from: None,
            metric,
            fields: varied,
            trials,
            problems,
        }
    }
}

/// The stage of a strategy, and what it begins with.
fn stage_of(of: &WrittenStage) -> Result<(Stage, Option<BeginsWith>)> {
    let strategy = Strategy::read(&of.file, of.size.as_deref(), &[])?;
    let Some(stage) = strategy.stages.iter().find(|stage| stage.name == of.stage) else {
        let names: Vec<&str> = strategy.stages.iter().map(|s| s.name.as_str()).collect();
        return Err(Error::Config {
            path: of.file.clone(),
            problem: format!(
                "there is no stage {:?}, only {}",
                of.stage,
                names.join(", ")
            ),
        });
    };
    let from = stage.from.and_then(|(from, carry)| {
        let from = strategy.stages.get(from)?;
        Some(BeginsWith {
            run: from.run.clone(),
            moments: carry == Carry::Moments,
        })
    });
    Ok((stage.clone(), from))
}

/// Problems of trials: what many have in common is said once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told(Vec<(String, Vec<String>)>);

impl Told {
    /// Adds a problem of a trial.
    pub fn add(&mut self, run: &str, problem: String) {
        match self.0.iter_mut().find(|(known, _)| *known == problem) {
            Some((_, runs)) => runs.push(run.to_owned()),
            None => self.0.push((problem, vec![run.to_owned()])),
        }
    }

    /// A sentence a problem.
    pub fn sentences(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(problem, runs)| match &runs[..] {
            [first, _, ..] => format!("{first} and {} more: {problem}", runs.len() - 1),
            [only] => format!("{only}: {problem}"),
            [] => problem,
        })
    }
}

/// The values of the varied fields of a trial.
type Point = BTreeMap<String, Value>;

fn named(wanted: &str) -> Result<Metric, String> {
    let found = METRICS.iter().find(|metric| metric.name == wanted);
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        let instead = match nearest(wanted, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are {}", names.join(", ")),
        };
        format!("metric: no run is judged by `{wanted}`; {instead}")
    })
}

/// The values of a table of sections by `section.key`.
fn fields(table: &Table, name: &str, problems: &mut Vec<String>) -> Point {
    let mut fields = Point::new();
    for (section, keys) in table {
        let Value::Table(keys) = keys else {
            problems.push(format!(
                "[{name}] {section}: a field is SECTION.KEY, not in quotation marks"
            ));
            continue;
        };
        for (key, value) in keys {
            fields.insert(format!("{section}.{key}"), value.clone());
        }
    }
    fields
}

/// All combinations.
fn of_grid(grid: &Table, problems: &mut Vec<String>) -> Vec<Point> {
    let mut lists: Vec<(String, Vec<Value>)> = Vec::new();
    let mut count = 1_usize;
    for (field, values) in fields(grid, "grid", problems) {
        match values {
            Value::Array(values) if !values.is_empty() => {
                let twice = (1..values.len()).find(|&at| values[..at].contains(&values[at]));
                if let Some(at) = twice {
                    problems.push(format!("[grid] {field}: {} stands there twice", values[at]));
                }
                count = count.saturating_mul(values.len());
                lists.push((field, values));
            }
            _ => problems.push(format!("[grid] {field} must be a list of values")),
        }
    }
    if lists.is_empty() {
        problems.push("[grid] names no field".to_owned());
        return Vec::new();
    }
    if count > MOST_TRIALS {
        problems.push(format!(
            "[grid] has {count} combinations, and at most {MOST_TRIALS} are tried; [random] draws some of them"
        ));
        return Vec::new();
    }
    let point = |number: usize| {
        let mut left = number;
        let mut point = Point::new();
        for (field, values) in lists.iter().rev() {
            point.insert(field.clone(), values[left % values.len()].clone());
            left /= values.len();
        }
        point
    };
    (0..count).map(point).collect()
}

/// How a field is drawn.
#[derive(Debug, Clone, PartialEq)]
enum Distribution {
    Uniform(f64, f64),
    LogUniform(f64, f64),
    /// Whole numbers, both ends among them.
    Whole(i64, i64),
    LogWhole(i64, i64),
    Choice(Vec<Value>),
}

impl Distribution {
    fn read(value: &Value) -> Result<Self, String> {
        const EXPECTED: &str = "must be { uniform = [LOW, HIGH] }, { log-uniform = [LOW, HIGH] } or { choice = [VALUES] }";
        let table = value.as_table().filter(|table| table.len() == 1);
        let one = table.and_then(|table| table.iter().next());
        let Some((kind, Value::Array(values))) = one else {
            return Err(EXPECTED.to_owned());
        };
        let log = kind == "log-uniform";
        if kind == "choice" {
            if values.is_empty() {
                return Err("has nothing to choose from".to_owned());
            }
            return Ok(Self::Choice(values.clone()));
        }
        if !(log || kind == "uniform") {
            return Err(EXPECTED.to_owned());
        }
        let rising = |low: f64, high: f64| {
            if !(low.is_finite() && high.is_finite() && low < high) {
                return Err(format!("must rise, not from {low} to {high}"));
            }
            if log && low <= 0.0 {
                return Err(format!(
                    "must begin above 0 to be drawn by logarithm, not at {low}"
                ));
            }
            Ok(())
        };
        match values[..] {
            [Value::Integer(low), Value::Integer(high)] => {
                rising(low as f64, high as f64)?;
                Ok(if log {
                    Self::LogWhole(low, high)
                } else {
                    Self::Whole(low, high)
                })
            }
            [ref low, ref high] => {
                let number = |value: &Value| match value {
                    Value::Float(number) => Ok(*number),
                    Value::Integer(number) => Ok(*number as f64),
                    _ => Err(EXPECTED.to_owned()),
                };
                let (low, high) = (number(low)?, number(high)?);
                rising(low, high)?;
                Ok(if log {
                    Self::LogUniform(low, high)
                } else {
                    Self::Uniform(low, high)
                })
            }
            _ => Err(EXPECTED.to_owned()),
        }
    }

    /// The value at a place in 0..1.
    fn at(&self, place: f64) -> Value {
        let between = |low: f64, high: f64| low + place * (high - low);
        match self {
            Self::Uniform(low, high) => Value::Float(rounded(between(*low, *high), *low, *high)),
            Self::LogUniform(low, high) => {
                let number = between(low.ln(), high.ln()).exp();
                Value::Float(rounded(number, *low, *high))
            }
            Self::Whole(low, high) => {
                let number = between(*low as f64, *high as f64 + 1.0);
                Value::Integer(whole(number).clamp(*low, *high))
            }
            Self::LogWhole(low, high) => {
                let number = between((*low as f64).ln(), (*high as f64 + 1.0).ln()).exp();
                Value::Integer(whole(number).clamp(*low, *high))
            }
            Self::Choice(values) => {
                let at = whole(place * values.len() as f64);
                let at = usize::try_from(at).unwrap_or(0).min(values.len() - 1);
                values[at].clone()
            }
        }
    }
}

/// The number with [`DIGITS`] digits, not beyond the ends.
fn rounded(number: f64, low: f64, high: f64) -> f64 {
    let text = format!("{number:.*e}", DIGITS - 1);
    text.parse::<f64>().unwrap_or(number).clamp(low, high)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "float casts saturate, and what is beyond the ends is clamped"
)]
fn whole(number: f64) -> i64 {
    number.floor() as i64
}

/// The draws, those left out that were made before.
fn of_draws(random: &Table, problems: &mut Vec<String>) -> Vec<Point> {
    let mut table = random.clone();
    let mut whole_number = |key: &str, least: i64, most: i64| match table.remove(key) {
        Some(Value::Integer(number)) if (least..=most).contains(&number) => Some(number),
        _ => {
            problems.push(format!(
                "[random] {key} must be a whole number from {least} to {most}"
            ));
            None
        }
    };
    let trials = whole_number("trials", 1, i64::try_from(MOST_TRIALS).unwrap_or(i64::MAX));
    let seed = whole_number("seed", 0, i64::MAX);
    let mut distributions = Vec::new();
    for (field, value) in fields(&table, "random", problems) {
        match Distribution::read(&value) {
            Ok(distribution) => distributions.push((field, distribution)),
            Err(problem) => problems.push(format!("[random] {field} {problem}")),
        }
    }
    if distributions.is_empty() {
        problems.push("[random] names no field".to_owned());
        return Vec::new();
    }
    let (Some(trials), Some(seed)) = (trials, seed) else {
        return Vec::new();
    };
    let seed = seed.unsigned_abs();
    let streams: Vec<Stream> = distributions
        .iter()
        .map(|(field, _)| Stream::new(seed, field))
        .collect();
    let mut points: Vec<Point> = Vec::new();
    for trial in 0..trials.unsigned_abs() {
        let drawn = distributions.iter().zip(&streams);
        let point: Point = drawn
            .map(|((field, distribution), stream)| {
                (field.clone(), distribution.at(stream.uniform(trial)))
            })
            .collect();
        if !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrialResult {
    /// Name of its run.
    pub run: String,
    /// The values of the varied fields.
    pub values: BTreeMap<String, Value>,
    /// Steps done.
    pub step: u64,
    /// What it is judged by; none where it failed or was not measured.
    pub value: Option<f64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a sweep came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SweepResult {
    /// Its name.
    pub sweep: String,
    /// Folder of the build.
    pub build: PathBuf,
    /// Its root hash.
    pub root: String,
    /// What trials are judged by.
    pub metric: &'static str,
    /// Whether the lowest is the best.
    pub lowest_is_best: bool,
    /// The varied fields.
    pub fields: Vec<String>,
    /// The trials, the best first, those without a value last.
    pub trials: Vec<TrialResult>,
}

impl SweepResult {
    /// Puts the trials in order.
    pub fn sort(&mut self) {
        let lowest = self.lowest_is_best;
        let key = |trial: &TrialResult| match trial.value.filter(|value| value.is_finite()) {
            Some(value) if lowest => value,
            Some(value) => -value,
            None => f64::INFINITY,
        };
        self.trials.sort_by(|a, b| {
            let better = key(a).total_cmp(&key(b));
            better.then_with(|| a.run.cmp(&b.run))
        });
    }

    /// Trials that failed.
    pub fn failed(&self) -> impl Iterator<Item = &TrialResult> {
        self.trials.iter().filter(|trial| trial.failure.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "[model]\nwidth = 64\n[schedule]\nsteps = 40\n";

    fn read(text: &str) -> Sweep {
        let written = toml::from_str(&format!("config = \"base.toml\"\n{text}")).unwrap();
        Sweep::of(written, PathBuf::from("test.toml"), BASE, "rates")
    }

    fn values(sweep: &Sweep, field: &str) -> Vec<String> {
        let trials = sweep.trials.iter();
        trials
            .map(|trial| trial.values[field].to_string())
            .collect()
    }

    #[test]
    fn a_grid_is_all_combinations_in_one_order() {
        let sweep = read(
            "set.run.seed = 3\n[grid]\nschedule.peak-learning-rate = [1e-3, 0.03]\nmodel.layers = [1, 2, 4]\nmodel.positions = [\"xpos\"]\n",
        );
        assert!(sweep.problems.is_empty(), "{:?}", sweep.problems);
        assert_eq!(
            sweep.fields,
            [
                "model.layers",
                "model.positions",
                "schedule.peak-learning-rate"
            ]
        );
        assert_eq!(
            values(&sweep, "model.layers"),
            ["1", "1", "2", "2", "4", "4"]
        );
        let rates: Vec<f64> = sweep
            .trials
            .iter()
            .map(|trial| trial.config.schedule.peak_learning_rate)
            .collect();
        assert_eq!(rates, [1e-3, 0.03, 1e-3, 0.03, 1e-3, 0.03]);
        let last = &sweep.trials[5];
        assert_eq!(last.run, "rates-006");
        assert_eq!((last.config.run.seed, last.config.schedule.steps), (3, 40));
        assert_eq!(last.config.model.layers, Some(4));
    }

    #[test]
    fn the_sweep_of_the_readme_is_one() {
        let readme = include_str!("../../README.md");
        let block = readme.split("# rates.toml\n").nth(1).unwrap();
        let written = toml::from_str(block.split("```").next().unwrap()).unwrap();
        let sweep = Sweep::of(written, PathBuf::from("test.toml"), BASE, "rates");
        assert!(sweep.problems.is_empty(), "{:?}", sweep.problems);
        assert_eq!((sweep.trials.len(), sweep.metric), (6, METRICS[0]));
    }

    #[test]
    fn mixtures_of_datasets_can_be_varied() {
        let sweep = read("[grid]\ndata.weights = [{ web = 1 }, { web = 3, code = 1 }]\n");
        assert!(sweep.problems.is_empty(), "{:?}", sweep.problems);
        let weights = &sweep.trials[1].config.data.weights;
        assert_eq!(weights.get("code"), Some(&1));
        assert_eq!(sweep.trials[0].config.data.weights.len(), 1);
    }

    #[test]
    fn draws_are_within_their_ends_and_more_go_on_where_fewer_stopped() {
        let text = |trials: usize, seed: u64| {
            format!(
                "[random]\ntrials = {trials}\nseed = {seed}\nschedule.peak-learning-rate = {{ log-uniform = [1e-4, 1e-2] }}\n\
                 optimizer.beta2 = {{ uniform = [0.9, 0.99] }}\nmodel.layers = {{ uniform = [1, 4] }}\n\
                 data.sequence-tokens = {{ log-uniform = [16, 256] }}\nmodel.positions = {{ choice = [\"xpos\", \"rotary\"] }}\n"
            )
        };
        let sweep = read(&text(200, 1));
        assert!(sweep.problems.is_empty(), "{:?}", sweep.problems);
        assert_eq!(sweep.trials.len(), 200);
        assert_eq!(read(&text(30, 1)).trials[..], sweep.trials[..30]);
        assert_ne!(read(&text(30, 2)).trials, sweep.trials[..30]);
        let (mut low, mut layers, mut short) = (0, BTreeMap::new(), 0);
        for trial in &sweep.trials {
            let rate = trial.config.schedule.peak_learning_rate;
            assert!((1e-4..=1e-2).contains(&rate), "{rate}");
            low += usize::from(rate < 1e-3);
            *layers.entry(trial.config.model.layers).or_insert(0) += 1;
            let tokens = trial.config.data.sequence_tokens;
            assert!((16..=256).contains(&tokens));
            short += usize::from(tokens < 64);
            assert_eq!(rounded(rate, 0.0, 1.0), rate);
        }
        // Half of them below the geometric middle: three deviations of 200 throws are 21.
        assert!((79..=121).contains(&low), "{low}");
        assert!((79..=121).contains(&short), "{short}");
        // A quarter each: three deviations are 18.
        assert_eq!(layers.len(), 4);
        assert!(
            layers.values().all(|count| (32..=68).contains(count)),
            "{layers:?}"
        );
        // Of two values there are two trials.
        let few = read("[random]\ntrials = 9\nseed = 0\nmodel.layers = { choice = [1, 2] }\n");
        assert_eq!(few.trials.len(), 2);
    }

    #[test]
    fn all_problems_are_told_at_once_and_each_once() {
        let sweep = read(
            "name = \"a b\"\nmetric = \"validation_los\"\n[set]\nmodel.layers = 1\n[grid]\nmodel.layers = [1, 2]\nmodel.wdith = [8, 16]\nrun.seed = 3\n\"data.order-seed\" = [1]\nschedule.steps = [5, 5]\n",
        );
        let told = sweep.problems.join("\n");
        for word in [
            "\"a b\"",
            "did you mean `validation_loss`?",
            "model.layers is both",
            "wdith",
            "-001 and 7 more",
            "run.seed must be a list",
            "not in quotation marks",
            "5 stands there twice",
        ] {
            assert!(told.contains(word), "{word}: {told}");
        }
        assert_eq!(told.matches("unknown field").count(), 1, "{told}");
        assert!(sweep.trials.is_empty());
        for (text, word) in [
            ("", "either [grid]"),
            ("[grid]\n", "names no field"),
            ("[grid]\n[random]\n", "either [grid]"),
            (
                "[random]\ntrials = 0\nseed = 1\nrun.seed = { choice = [1] }\n",
                "trials must be",
            ),
            (
                "[random]\ntrials = 3\nrun.seed = { choice = [1] }\n",
                "seed must be",
            ),
            (
                "[random]\ntrials = 3\nseed = 1\nrun.seed = { choose = [1, 2] }\n",
                "run.seed must be {",
            ),
            (
                "[random]\ntrials = 3\nseed = 1\nrun.seed = { uniform = [2, 1] }\n",
                "must rise",
            ),
            (
                "[random]\ntrials = 3\nseed = 1\noptimizer.beta1 = { log-uniform = [0.0, 1.0] }\n",
                "above 0",
            ),
        ] {
            let told = read(text).problems.join("\n");
            assert!(told.contains(word), "{word}: {told}");
        }
        let long: Vec<String> = (0..40).map(|number| number.to_string()).collect();
        let list = long.join(", ");
        let many = read(&format!(
            "[grid]\nrun.seed = [{list}]\nmodel.layers = [{list}]\n"
        ));
        assert!(
            many.problems[0].contains("1600 combinations"),
            "{:?}",
            many.problems
        );
    }

    #[test]
    fn the_best_stands_first_and_what_failed_last() {
        let trial = |run: &str, value| TrialResult {
            run: run.to_owned(),
            values: BTreeMap::new(),
            step: 1,
            value,
            failure: None,
        };
        let mut result = SweepResult {
            sweep: "rates".to_owned(),
            build: PathBuf::new(),
            root: String::new(),
            metric: "ranking",
            lowest_is_best: false,
            fields: Vec::new(),
            trials: vec![
                trial("a", Some(0.5)),
                trial("b", None),
                trial("c", Some(0.9)),
                trial("d", Some(f64::NAN)),
            ],
        };
        let order = |result: &SweepResult| {
            let runs = result.trials.iter().map(|trial| trial.run.clone());
            runs.collect::<Vec<_>>().concat()
        };
        result.sort();
        assert_eq!(order(&result), "cabd");
        result.lowest_is_best = true;
        result.sort();
        assert_eq!(order(&result), "acbd");
    }
}
