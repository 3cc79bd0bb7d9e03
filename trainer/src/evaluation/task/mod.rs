//! A task: a set of rows, the prompt each becomes, what is asked of a model, and how its answers are read. One task is one TOML file
//! (`trainer/tasks/`), strict, with everything that distinguishes it from others.

mod built_in;
mod items;
mod prepare;
mod rows;
mod template;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use strsim::levenshtein;

use super::answers::Reading;
use crate::error::{Error, Result};

pub use built_in::{built_in, file, names};
pub use items::{Asked, Expected, Item, items};
pub use prepare::Prepare;
pub use rows::{Found, find};
pub use template::Template;

/// A row of an evaluation set: names and values.
pub type Row = serde_json::Map<String, serde_json::Value>;

/// Whose rules a task follows; results under other rules are other numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rules {
    /// lm-evaluation-harness 0.4.13.
    Harness,
    /// chain-of-thought-hub.
    Hub,
    /// `OpenAI`'s human-eval.
    HumanEval,
    /// Ours, where nobody published any.
    Andromeda,
}

impl Rules {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Harness => "harness",
            Self::Hub => "hub",
            Self::HumanEval => "human-eval",
            Self::Andromeda => "andromeda",
        }
    }
}

/// What a task is reported in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// The likeliest choice is the right one.
    Acc,
    /// As `acc`, log-likelihoods over characters.
    AccNorm,
    /// As `acc`, log-likelihoods over bytes.
    AccBytes,
    /// Matthews' correlation coefficient of the likeliest choices.
    Mcc,
    /// F1 of the choice at position 1; of answers that are names, the F1 of their words.
    F1,
    /// The mean of the F1 of each choice against the others.
    MacroF1,
    /// The likeliest name is one of the answers.
    ExactMatch,
    /// exp of the mean negative log-likelihood of a completion.
    Perplexity,
    /// Pearson's correlation of the right numbers with the expected ones of a scale.
    Pearson,
    /// Spearman's.
    Spearman,
}

impl Metric {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc-norm",
            Self::AccBytes => "acc-bytes",
            Self::Mcc => "mcc",
            Self::F1 => "f1",
            Self::MacroF1 => "macro-f1",
            Self::ExactMatch => "exact-match",
            Self::Perplexity => "perplexity",
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
        }
    }

    /// Whether it is of numbers, and not of choices or a completion.
    const fn is_of_numbers(self) -> bool {
        matches!(self, Self::Pearson | Self::Spearman)
    }
}

/// A task as its file has it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Whose prompt and parser it has.
    pub rules: Rules,
    /// The name that a build's manifest has for the rows, as a dataset or an evaluation set.
    pub benchmark: String,
    /// Patterns of paths below the folder of evaluation sets; the first that any file is like holds.
    pub files: Vec<String>,
    /// The member with the rows, in a JSON file.
    pub rows: Option<String>,
    /// The columns of a CSV file, which has no header; columns of one name make a list.
    pub columns: Option<Vec<String>>,
    /// What is added to each row.
    pub prepare: Option<Prepare>,
    /// What stands before all.
    pub preamble: Option<Template>,
    /// A file below the folder of evaluation sets with what stands before all.
    pub preamble_file: Option<PreambleFile>,
    /// Rows that stand before, with their answers.
    pub shots: Option<Shots>,
    /// The prompt.
    pub prompt: Template,
    /// Of several continuations the likeliest is the answer.
    pub choices: Option<Choices>,
    /// Of several numbers the mean by their likelihoods is the answer.
    pub scale: Option<Scale>,
    /// The likelihood of one continuation.
    pub completion: Option<Completion>,
    /// Text that the model makes.
    pub generate: Option<Generate>,
    /// What it is reported in; of what a model makes, whatever its readings say.
    #[serde(default)]
    pub metrics: Vec<Metric>,
}

/// A prompt that others publish as a file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PreambleFile {
    /// Its path; `{part}` is the name of the part.
    pub path: String,
    /// The member of a JSON file that it is.
    pub member: Option<Template>,
    /// Where it is from, for who has not got it.
    pub from: String,
    /// Lines at its beginning that are no prompt.
    #[serde(default)]
    pub skip_lines: usize,
    /// Texts in it, and what stands for each.
    #[serde(default)]
    pub replace: BTreeMap<String, String>,
}

/// Rows that stand before the prompt: the first ones, the same for every row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Shots {
    /// How many.
    pub number: usize,
    /// Patterns of their files, as those of a task.
    #[serde(default)]
    pub files: Vec<String>,
    /// Or the rows themselves.
    #[serde(default)]
    pub rows: Vec<Row>,
    /// The answer after each, where it is no choice.
    pub target: Option<Template>,
    /// What joins it to its prompt.
    #[serde(default = "blank")]
    pub joint: String,
    /// What ends each.
    #[serde(default = "blank_line")]
    pub end: String,
}

fn blank() -> String {
    " ".to_owned()
}

fn blank_line() -> String {
    "\n\n".to_owned()
}

/// Continuations of which the likeliest is the answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Choices {
    /// The continuations.
    #[serde(default)]
    pub texts: Vec<Template>,
    /// Or the field with a list of them.
    pub list: Option<String>,
    /// Position of the right one, from 0.
    pub label: Option<Template>,
    /// The list that `label` is a member of, where it is no position.
    pub among: Option<String>,
    /// The list of names that the choices stand for, where several may be right.
    pub names: Option<String>,
    /// The list of right names.
    pub answers: Option<String>,
}

/// Continuations that are numbers. The answer is their mean, each weighted by its likelihood among them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Scale {
    /// The numbers, as they are written.
    pub numbers: Vec<String>,
    /// The right one, which need be none of them but lies among them.
    pub label: Template,
}

impl Scale {
    /// The numbers; none if one of them is no number.
    pub fn values(&self) -> Option<Vec<f64>> {
        let values = self.numbers.iter().map(|number| number.parse().ok());
        let values: Option<Vec<f64>> = values.collect();
        values.filter(|values| values.iter().all(|value| value.is_finite()))
    }
}

/// One continuation.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Completion {
    /// It, with the blank that it begins with.
    pub target: Template,
}

/// Text that a model makes, the likeliest token always.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Generate {
    /// It ends before the first of these.
    pub stop: Vec<String>,
    /// And after so many tokens.
    pub tokens: usize,
    /// How an answer is read out of it: several ways are several metrics.
    #[serde(default)]
    pub readings: Vec<Reading>,
    /// What holds the right answer.
    pub target: Option<Template>,
    /// Or a program: the prompt and the completion are run, then this, which must end well.
    pub test: Option<Template>,
    /// The problem alone, for a judge of its solutions; without it they cannot be judged.
    pub problem: Option<Template>,
    /// With a test: the name of the function that it tests.
    pub entry_point: Option<Template>,
}

impl Task {
    /// Reads a task's file; `path` is for messages.
    ///
    /// # Errors
    /// It is no task.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let wrong = |problem: String| Error::Task {
            path: path.to_owned(),
            problem,
        };
        let task: Self =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        let problems = task.problems();
        if problems.is_empty() {
            Ok(task)
        } else {
            Err(wrong(problems.join("; ")))
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut must = |holds: bool, problem: &str| {
            if !holds {
                problems.push(problem.to_owned());
            }
        };
        let forms = [
            self.choices.is_some(),
            self.scale.is_some(),
            self.completion.is_some(),
            self.generate.is_some(),
        ];
        must(
            forms.iter().filter(|form| **form).count() == 1,
            "a task has one of choices, scale, completion and generate",
        );
        must(!self.files.is_empty(), "files names no pattern");
        if let Some(choices) = &self.choices {
            must(
                choices.texts.is_empty() == choices.list.is_some(),
                "choices have either texts or a list",
            );
            must(
                choices.label.is_some() != (choices.names.is_some() && choices.answers.is_some()),
                "choices have either a label, or names and answers",
            );
        }
        if let Some(scale) = &self.scale {
            let values = scale.values();
            must(
                values.is_some(),
                "scale.numbers has something that is no number",
            );
            must(
                values.is_none_or(|values| values.iter().any(|value| *value != values[0])),
                "scale.numbers needs two numbers that differ",
            );
        }
        let of_numbers = |metric: &Metric| metric.is_of_numbers() == self.scale.is_some();
        must(
            self.metrics.iter().all(of_numbers),
            "pearson and spearman are for a scale, and a scale has no others",
        );
        if let Some(generate) = &self.generate {
            must(
                generate.test.is_some()
                    != (generate.target.is_some() && !generate.readings.is_empty()),
                "generate has either a test, or a target and readings",
            );
            must(
                generate.test.is_some() == generate.entry_point.is_some(),
                "a test has an entry-point, the name of the function that it tests",
            );
            must(generate.tokens > 0, "generate.tokens must be above 0");
            must(
                generate.stop.iter().all(|stop| !stop.is_empty()),
                "generate.stop has an empty text",
            );
        }
        must(
            self.metrics.is_empty() == self.generate.is_some(),
            "metrics are for choices, scale and completion; generate has readings",
        );
        if let Some(shots) = &self.shots {
            must(
                shots.files.is_empty() != shots.rows.is_empty(),
                "shots have either files or rows",
            );
            must(
                shots.target.is_some() == self.choices.is_none(),
                "shots have a target where there are no choices",
            );
        }
        problems
    }

    /// Whether answers are programs, whose score is of what becomes of them when they are run.
    pub fn has_programs(&self) -> bool {
        let generate = self.generate.as_ref();
        generate.is_some_and(|generate| generate.test.is_some())
    }

    /// What is asked of a model, in a word.
    pub const fn form(&self) -> &'static str {
        match self {
            Self {
                choices: Some(_), ..
            } => "choices",
            Self { scale: Some(_), .. } => "scale",
            Self {
                completion: Some(_),
                ..
            } => "completion",
            Self {
                generate: Some(Generate { test: Some(_), .. }),
                ..
            } => "program",
            _ => "generate",
        }
    }
}

/// The task of this name, or of the file at this path.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn task(name: &str) -> Result<Task> {
    if name.ends_with(".toml") {
        let path = Path::new(name);
        let text = fs_err::read_to_string(path).map_err(Error::io("reading the task"))?;
        return Task::parse(&text, path);
    }
    built_in(name)?.ok_or_else(|| {
        let near = names().min_by_key(|other| levenshtein(name, other));
        let near = near.filter(|other| levenshtein(name, other) <= 3);
        let meant = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Error::Usage(format!(
            "no task {name:?}{meant}\nhint: `andromeda-train tasks` lists them; a task of your own is a file that ends in .toml"
        ))
    })
}

/// The file of the task of this name, or at this path.
///
/// # Errors
/// As [`task`].
pub fn file_of(name: &str) -> Result<String> {
    task(name)?;
    match file(name) {
        Some(text) => Ok(text.to_owned()),
        None => fs_err::read_to_string(name).map_err(Error::io("reading the task")),
    }
}
