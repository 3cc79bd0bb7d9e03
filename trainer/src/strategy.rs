//! A strategy: the stages of a training in one file, each a run that begins with what the one before it learnt.
//!
//! A stage's configuration is laid together from four tables, later ones over earlier ones: the strategy's `[config]`, the chosen
//! size's `[sizes.SIZE]`, the stage's own `[stage.config]`, and what the stage says of that size, `[stage.sizes.SIZE]`. What comes of
//! it is a configuration like any other ([`WrittenConfig`]), so a stage can be run, resumed and looked at by itself. After each stage
//! the tasks of `[evaluation]`, over which `[sizes.SIZE.evaluation]` lies, are put to what was learnt so far.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::config::WrittenConfig;
use crate::error::{Error, Result};

/// What a stage takes over from the one before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Carry {
    /// The parameters; the moments of the optimizer begin with zeros.
    #[default]
    Weights,
    /// The moments too.
    Moments,
}

/// A condition on what the stage's last evaluation measured, without which the strategy does not go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Gate {
    /// A key of `metrics.jsonl`: `validation_loss`, `bits_per_byte`, `preference_accuracy`, `ranking`, ...; or a task and its
    /// metric, as `piqa/acc`.
    pub metric: String,
    /// It must be below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// It must be above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
}

impl Gate {
    /// Why `value` does not pass; nothing where it does.
    pub fn refuses(&self, value: Option<f64>) -> Option<String> {
        let metric = &self.metric;
        let Some(value) = value else {
            return Some(format!("{metric} was not measured"));
        };
        // A value that is no number is neither above nor below anything.
        let is = |wanted: Ordering, than: f64| value.partial_cmp(&than) == Some(wanted);
        let above = self.above.filter(|&least| !is(Ordering::Greater, least));
        let below = self.below.filter(|&most| !is(Ordering::Less, most));
        match (above, below) {
            (Some(least), _) => Some(format!("{metric} is {value}, not above {least}")),
            (_, Some(most)) => Some(format!("{metric} is {value}, not below {most}")),
            _ => None,
        }
    }
}

/// What is asked after each stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct EvaluationOptions {
    /// Tasks, or files of some; none by default.
    pub tasks: Vec<String>,
    /// Folder of evaluation sets.
    pub data: PathBuf,
    /// Only the first items of each part of a task.
    pub limit: Option<usize>,
}

impl Default for EvaluationOptions {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            data: PathBuf::from("evaluation-sets"),
            limit: None,
        }
    }
}

/// Key of what is no configuration of a run, and no name for a stage.
const EVALUATION: &str = "evaluation";

/// A stage as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenStage {
    name: String,
    build: PathBuf,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    carry: Carry,
    #[serde(default)]
    gates: Vec<Gate>,
    #[serde(default)]
    config: toml::Table,
    #[serde(default)]
    sizes: BTreeMap<String, toml::Table>,
}

/// A strategy as written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct WrittenStrategy {
    name: String,
    #[serde(default)]
    evaluation: toml::Table,
    #[serde(default)]
    config: toml::Table,
    #[serde(default)]
    sizes: BTreeMap<String, toml::Table>,
    #[serde(rename = "stage")]
    stages: Vec<WrittenStage>,
}

/// A stage, nothing optional.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name in the strategy.
    pub name: String,
    /// Name of its run.
    pub run: String,
    /// Name of the build, the newest of which is meant, or its folder.
    pub build: PathBuf,
    /// The stage whose parameters it begins with, and what else it takes over; none for random values.
    pub from: Option<(usize, Carry)>,
    /// What it must reach.
    pub gates: Vec<Gate>,
    /// Its configuration.
    pub config: WrittenConfig,
}

/// A strategy of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategy {
    /// Its name and size, which its runs begin with.
    pub name: String,
    /// Its stages, in order.
    pub stages: Vec<Stage>,
    /// What is asked after each of them.
    pub evaluation: EvaluationOptions,
}

impl Strategy {
    /// Reads the strategy at `path` in `size`; `overrides` (`STAGE.section.key=value`, `evaluation.key=value`) are laid over all.
    ///
    /// # Errors
    /// The file cannot be read; all its problems at once.
    pub fn read(path: &Path, size: Option<&str>, overrides: &[String]) -> Result<Self> {
        let text = fs_err::read_to_string(path).map_err(Error::io("reading the strategy"))?;
        Self::parse(&text, size, overrides).map_err(|problems| Error::Config {
            path: path.to_owned(),
            problem: problems.join("\n"),
        })
    }

    fn parse(text: &str, size: Option<&str>, overrides: &[String]) -> Result<Self, Vec<String>> {
        let mut written: WrittenStrategy =
            toml::from_str(text).map_err(|error| vec![error.to_string()])?;
        let mut problems = Vec::new();
        // What a size asks is not part of its runs' configuration.
        let mut asked = BTreeMap::new();
        for (of, table) in &mut written.sizes {
            asked.extend(table.remove(EVALUATION).map(|value| (of.clone(), value)));
        }
        let sizes: BTreeSet<&String> = written
            .sizes
            .keys()
            .chain(written.stages.iter().flat_map(|stage| stage.sizes.keys()))
            .collect();
        let known = sizes.iter().map(|size| size.as_str()).collect::<Vec<_>>();
        match size {
            Some(size) if !known.contains(&size) => {
                problems.push(format!(
                    "there is no size {size:?}, only {}",
                    known.join(", ")
                ));
            }
            None if !known.is_empty() => {
                problems.push(format!("which size? --size is one of {}", known.join(", ")));
            }
            _ => {}
        }
        let name = match size {
            Some(size) => format!("{}-{size}", written.name),
            None => written.name.clone(),
        };
        if written.stages.is_empty() {
            problems.push("a strategy needs a [[stage]]".to_owned());
        }
        let mut overriding = Overrides::parse(overrides, &mut problems);
        let mut stages: Vec<Stage> = Vec::with_capacity(written.stages.len());
        for (at, stage) in written.stages.iter().enumerate() {
            let before = &written.stages[..at];
            let label = &stage.name;
            let taken = label == EVALUATION || before.iter().any(|other| other.name == *label);
            if !is_plain(label) || taken {
                problems.push(format!(
                    "{label:?} is no name for a stage, or that of two: letters, digits and '-'"
                ));
            }
            let from = match &stage.from {
                None => at.checked_sub(1),
                Some(none) if none == "random" => None,
                Some(from) => {
                    let found = before.iter().position(|other| other.name == *from);
                    if found.is_none() {
                        problems.push(format!(
                            "stage {label}: from = {from:?} is neither a stage before it nor \"random\""
                        ));
                    }
                    found
                }
            };
            for gate in &stage.gates {
                if gate.below.is_none() && gate.above.is_none() {
                    problems.push(format!(
                        "stage {label}: the gate on {} needs `below` or `above`",
                        gate.metric
                    ));
                }
            }
            let mut table = written.config.clone();
            let of_size = |sizes: &BTreeMap<String, toml::Table>| {
                size.and_then(|size| sizes.get(size))
                    .cloned()
                    .unwrap_or_default()
            };
            lay(&mut table, of_size(&written.sizes));
            lay(&mut table, stage.config.clone());
            lay(&mut table, of_size(&stage.sizes));
            lay(&mut table, overriding.take(label));
            match table.try_into::<WrittenConfig>() {
                Ok(config) => stages.push(Stage {
                    name: label.clone(),
                    run: format!("{name}-{label}"),
                    build: stage.build.clone(),
                    from: from.map(|from| (from, stage.carry)),
                    gates: stage.gates.clone(),
                    config,
                }),
                Err(error) => problems.push(format!("stage {label}: {}", error.message())),
            }
        }
        let mut table = written.evaluation;
        match size.and_then(|size| asked.remove(size)) {
            None => {}
            Some(toml::Value::Table(of_size)) => lay(&mut table, of_size),
            Some(_) => problems.push(format!("sizes.{EVALUATION}: expected a table")),
        }
        lay(&mut table, overriding.take(EVALUATION));
        let evaluation = table.try_into::<EvaluationOptions>();
        if let Err(error) = &evaluation {
            problems.push(format!("{EVALUATION}: {}", error.message()));
        }
        if !is_plain(&name) {
            problems.push(format!(
                "{name:?} is no name for a strategy: letters, digits and '-'"
            ));
        }
        overriding.rest(&mut problems);
        match evaluation {
            Ok(evaluation) if problems.is_empty() => Ok(Self {
                name,
                stages,
                evaluation,
            }),
            _ => Err(problems),
        }
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Lays `over` over `table`, section by section.
fn lay(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => lay(below, above),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// What is laid over the stages' configurations, by stage.
struct Overrides(BTreeMap<String, toml::Table>);

impl Overrides {
    fn parse(overrides: &[String], problems: &mut Vec<String>) -> Self {
        let mut stages = BTreeMap::<String, toml::Table>::new();
        for assignment in overrides {
            let parts = assignment.split_once('=').and_then(|(key, value)| {
                let (stage, key) = key.split_once('.')?;
                if stage == EVALUATION {
                    return Some((stage, None, key, value));
                }
                let (section, key) = key.split_once('.')?;
                Some((stage, Some(section), key, value))
            });
            let Some((stage, section, key, value)) = parts else {
                problems.push(format!(
                    "--set {assignment}: expected STAGE.section.key=value or {EVALUATION}.key=value"
                ));
                continue;
            };
            let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
                .ok()
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| toml::Value::String(value.to_owned()));
            let mut table = toml::Table::from_iter([(key.to_owned(), value)]);
            if let Some(section) = section {
                let inner = toml::Value::Table(table);
                table = toml::Table::from_iter([(section.to_owned(), inner)]);
            }
            lay(stages.entry(stage.to_owned()).or_default(), table);
        }
        Self(stages)
    }

    fn take(&mut self, stage: &str) -> toml::Table {
        self.0.remove(stage).unwrap_or_default()
    }

    fn rest(self, problems: &mut Vec<String>) {
        let unknown = self.0.into_keys();
        problems.extend(unknown.map(|stage| format!("--set {stage}...: there is no such stage")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        name = "two"
        evaluation = { tasks = ["piqa"], limit = 500 }
        [config]
        schedule.steps = 100
        optimizer.beta1 = 0.8
        [sizes.tiny.model]
        preset = "palm-tiny"
        [sizes.tiny.evaluation]
        limit = 20
        [sizes.big.model]
        preset = "palm-1b"
        [[stage]]
        name = "first"
        build = "high"
        gates = [{ metric = "validation_loss", below = 4.0 }]
        [[stage]]
        name = "second"
        build = "medium"
        carry = "moments"
        config.schedule.steps = 50
        sizes.tiny.schedule.warmup-steps = 3
        [[stage]]
        name = "third"
        build = "shards/low-1"
        from = "first"
    "#;

    #[test]
    fn later_tables_lie_over_earlier_ones() {
        let overrides = ["second.data.sequence-tokens=32", "evaluation.data=sets"];
        let overrides = overrides.map(str::to_owned);
        let strategy = Strategy::parse(TEXT, Some("tiny"), &overrides).unwrap();
        let asked = &strategy.evaluation;
        assert_eq!(
            (&asked.tasks[..], asked.limit),
            (&["piqa".to_owned()][..], Some(20))
        );
        assert_eq!(asked.data, Path::new("sets"));
        assert_eq!(strategy.name, "two-tiny");
        let [first, second, third] = &strategy.stages[..] else {
            panic!("three stages")
        };
        assert_eq!(first.from, None);
        assert_eq!(second.from, Some((0, Carry::Moments)));
        assert_eq!(third.from, Some((0, Carry::Weights)));
        assert_eq!(second.run, "two-tiny-second");
        let steps = |stage: &Stage| stage.config.schedule.steps;
        assert_eq!([steps(first), steps(second), steps(third)], [100, 50, 100]);
        assert_eq!(second.config.schedule.warmup_steps, 3);
        assert_eq!(second.config.data.sequence_tokens, 32);
        for stage in &strategy.stages {
            assert_eq!(stage.config.model.preset.as_deref(), Some("palm-tiny"));
            assert!((stage.config.optimizer.beta1 - 0.8).abs() < 1e-12);
        }
        let big = Strategy::parse(TEXT, Some("big"), &[]).unwrap();
        assert_eq!(big.evaluation.limit, Some(500));
        assert_eq!(big.evaluation.data, Path::new("evaluation-sets"));
        assert_eq!(
            big.stages[0].config.model.preset.as_deref(),
            Some("palm-1b")
        );
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let wrong = TEXT
            .replace("from = \"first\"", "from = \"fourth\"")
            .replace("name = \"second\"", "name = \"first\"")
            .replace(", below = 4.0", "")
            .replace("beta1", "beta9");
        let overrides = ["nowhere.run.seed=1".to_owned(), "run.seed=1".to_owned()];
        let problems = Strategy::parse(&wrong, Some("huge"), &overrides).unwrap_err();
        let told = problems.join("\n");
        for word in [
            "\"huge\"",
            "big, tiny",
            "\"fourth\"",
            "\"first\"",
            "`below`",
            "beta9",
            "nowhere",
            "STAGE.section.key",
        ] {
            assert!(told.contains(word), "{word}: {told}");
        }
        let stage = TEXT.replace("name = \"third\"", "name = \"evaluation\"");
        let problems = Strategy::parse(&stage, Some("tiny"), &[]).unwrap_err();
        assert!(problems[0].contains("\"evaluation\""), "{problems:?}");
        let lettered = TEXT.replace("limit = 20", "limits = 20");
        let problems = Strategy::parse(&lettered, Some("tiny"), &[]).unwrap_err();
        assert!(problems[0].contains("limits"), "{problems:?}");
        let problems = Strategy::parse(TEXT, None, &[]).unwrap_err();
        assert!(problems[0].contains("--size"), "{problems:?}");
        let problems = Strategy::parse("name = \"x\"\nstages = []", None, &[]).unwrap_err();
        assert!(problems[0].contains("stage"), "{problems:?}");
    }

    #[test]
    fn a_gate_needs_its_measure() {
        let gate = Gate {
            metric: "ranking".to_owned(),
            below: None,
            above: Some(0.5),
        };
        assert_eq!(gate.refuses(Some(0.6)), None);
        assert!(gate.refuses(Some(0.5)).unwrap().contains("not above 0.5"));
        assert!(gate.refuses(Some(f64::NAN)).is_some());
        assert!(gate.refuses(None).unwrap().contains("not measured"));
    }
}
