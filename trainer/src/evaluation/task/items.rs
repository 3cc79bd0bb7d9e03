//! Rows become items: what is asked of a model, and what would be right.

use std::path::Path;

use serde::Serialize;

use super::rows::missing;
use super::template::texts;
use super::{Choices, Generate, Row, Scale, Task, find, rows};
use crate::error::{Error, Result};

/// A question to a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Asked {
    /// The log-likelihood of a continuation of a context, and whether each of its tokens is the likeliest.
    LogLikelihood {
        /// What stands before.
        context: String,
        /// What it is of, with the blank it begins with.
        continuation: String,
    },
    /// What the model goes on with.
    Generate {
        /// What stands before.
        context: String,
        /// It ends before the first of these.
        stop: Vec<String>,
        /// And after so many tokens.
        tokens: usize,
    },
}

/// What is right.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// One of the choices.
    Choice {
        /// Position of the right one.
        label: usize,
        /// All of them.
        choices: Vec<String>,
    },
    /// One of several names.
    Names {
        /// What each choice stands for.
        names: Vec<String>,
        /// The right ones.
        answers: Vec<String>,
    },
    /// A number.
    Number {
        /// It.
        label: f64,
        /// Those that were asked for.
        values: Vec<f64>,
    },
    /// The continuation itself.
    Completion,
    /// A text with the answer in it.
    Answer(String),
    /// A program that ends well: this stands before the completion, and that after.
    Program {
        /// Before.
        before: String,
        /// After.
        after: String,
        /// The name of what is tested.
        entry: String,
    },
}

/// A row as a model is asked about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The part of the task; empty where it has none.
    pub part: String,
    /// Position among the items of the task.
    pub index: usize,
    /// The questions.
    pub asked: Vec<Asked>,
    /// What is right.
    pub expected: Expected,
    /// The problem alone, where solutions of it can be judged.
    pub problem: Option<String>,
}

/// The items of `task`, of each part the first `limit`, from files below `data`.
///
/// # Errors
/// A file is missing or cannot be read, or a row is not what the task says.
pub fn items(task: &Task, data: &Path, limit: Option<usize>) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    let mut part: Option<(String, String, usize)> = None;
    let files = find(data, &task.files)?;
    if files.is_empty() {
        return Err(missing(task, data, &task.files, "its rows"));
    }
    for found in files {
        let rows = rows::read(task, &found.path)?;
        // A part may be of several files.
        let (of, before, mut taken) = match part.take() {
            Some(known) if known.0 == found.part => known,
            _ => {
                let before = before_of(task, data, &found.part)?;
                (found.part.clone(), before, 0)
            }
        };
        for (index, row) in rows.into_iter().enumerate() {
            if limit.is_some_and(|limit| taken >= limit) {
                break;
            }
            let item = item(task, row, &of, &before).map_err(|problem| Error::Integrity {
                path: found.path.clone(),
                problem: format!("row {}: {problem}", index + 1),
            })?;
            items.push(Item {
                index: items.len(),
                ..item
            });
            taken += 1;
        }
        part = Some((of, before, taken));
    }
    Ok(items)
}

/// What stands before every prompt of a part: the preamble, then the shots.
fn before_of(task: &Task, data: &Path, part: &str) -> Result<String> {
    let mut before = String::new();
    let named = Row::from_iter([("part".to_owned(), part.into())]);
    let wrong = |problem| Error::Task {
        path: task.name.clone().into(),
        problem,
    };
    if let Some(preamble) = &task.preamble {
        before.push_str(&preamble.fill(&named).map_err(wrong)?);
    }
    if let Some(file) = &task.preamble_file {
        let path = data.join(file.path.replace("{part}", part));
        let text = fs_err::read_to_string(&path).map_err(|error| {
            Error::Usage(format!(
                "task {}: its prompt cannot be read ({error})\nhint: it is a file of {}; put it there",
                task.name, file.from
            ))
        })?;
        let text = match &file.member {
            None => text,
            Some(member) => {
                let member = member.fill(&named).map_err(wrong)?;
                let whole: Option<Row> = serde_json::from_str(&text).ok();
                let found = whole.and_then(|whole| Some(whole.get(&member)?.as_str()?.to_owned()));
                found.ok_or_else(|| Error::Integrity {
                    path: path.clone(),
                    problem: format!("it is no JSON with a text {member:?}"),
                })?
            }
        };
        let mut lines = text.as_str();
        for _ in 0..file.skip_lines {
            lines = lines.split_once('\n').map_or("", |(_, rest)| rest);
        }
        let replaced = file.replace.iter();
        before
            .push_str(&replaced.fold(lines.to_owned(), |text, (from, to)| text.replace(from, to)));
    }
    let Some(shots) = &task.shots else {
        return Ok(before);
    };
    let mut rows = shots.rows.clone();
    if !shots.files.is_empty() {
        let found = find(data, &shots.files)?;
        if found.is_empty() {
            return Err(missing(task, data, &shots.files, "the rows of its shots"));
        }
        for found in found.iter().filter(|found| found.part == part) {
            rows.extend(rows::read(task, &found.path)?);
        }
    }
    if rows.len() < shots.number {
        return Err(Error::Usage(format!(
            "task {}: {} rows for the {} shots of {part:?}\nhint: the files of its shots are {}",
            task.name,
            rows.len(),
            shots.number,
            shots.files.join(", ")
        )));
    }
    for (index, row) in rows.into_iter().take(shots.number).enumerate() {
        let shot = shot(task, row, part)
            .map_err(|problem| wrong(format!("shot {}: {problem}", index + 1)))?;
        before.push_str(&shot);
    }
    Ok(before)
}

fn shot(task: &Task, row: Row, part: &str) -> Result<String, String> {
    let Some(shots) = &task.shots else {
        return Ok(String::new());
    };
    let row = prepared(task, row, part)?;
    let target = match (&shots.target, &task.choices) {
        (Some(target), _) => target.fill(&row)?,
        (None, Some(choices)) => {
            let (texts, label) = (choice_texts(choices, &row)?, label(choices, &row)?);
            let chosen = texts.get(label).cloned();
            chosen.ok_or_else(|| format!("there is no choice {label}"))?
        }
        (None, None) => return Err("the task says no target for shots".to_owned()),
    };
    let (joint, end) = (&shots.joint, &shots.end);
    Ok(format!("{}{joint}{target}{end}", task.prompt.fill(&row)?))
}

fn prepared(task: &Task, mut row: Row, part: &str) -> Result<Row, String> {
    row.entry("part").or_insert_with(|| part.into());
    if let Some(prepare) = task.prepare {
        prepare.apply(&mut row)?;
    }
    Ok(row)
}

fn item(task: &Task, row: Row, part: &str, before: &str) -> Result<Item, String> {
    let row = prepared(task, row, part)?;
    let context = format!("{before}{}", task.prompt.fill(&row)?);
    let (asked, expected) = if let Some(choices) = &task.choices {
        let texts = choice_texts(choices, &row)?;
        let asked = texts.iter().map(|choice| Asked::LogLikelihood {
            context: context.clone(),
            continuation: format!(" {choice}"),
        });
        (asked.collect(), expected_choice(choices, &row, &texts)?)
    } else if let Some(scale) = &task.scale {
        let asked = scale.numbers.iter().map(|number| Asked::LogLikelihood {
            context: context.clone(),
            continuation: format!(" {number}"),
        });
        (asked.collect(), expected_number(scale, &row)?)
    } else if let Some(completion) = &task.completion {
        let continuation = completion.target.fill(&row)?;
        let asked = Asked::LogLikelihood {
            context,
            continuation,
        };
        (vec![asked], Expected::Completion)
    } else if let Some(generate) = &task.generate {
        let expected = expected_text(generate, &row, &context)?;
        let asked = Asked::Generate {
            context,
            stop: generate.stop.clone(),
            tokens: generate.tokens,
        };
        (vec![asked], expected)
    } else {
        return Err("the task asks nothing".to_owned());
    };
    let problem = task.generate.as_ref().and_then(|of| of.problem.as_ref());
    Ok(Item {
        part: part.to_owned(),
        index: 0,
        asked,
        expected,
        problem: problem.map(|problem| problem.fill(&row)).transpose()?,
    })
}

fn choice_texts(choices: &Choices, row: &Row) -> Result<Vec<String>, String> {
    let texts = match &choices.list {
        Some(list) => texts(row, list)?,
        None => choices
            .texts
            .iter()
            .map(|text| text.fill(row))
            .collect::<Result<_, _>>()?,
    };
    if texts.is_empty() {
        return Err("there are no choices".to_owned());
    }
    Ok(texts)
}

fn label(choices: &Choices, row: &Row) -> Result<usize, String> {
    let written = match &choices.label {
        Some(label) => label.fill(row)?,
        None => return Err("the task has no label".to_owned()),
    };
    if let Some(among) = &choices.among {
        let place = texts(row, among)?.iter().position(|name| *name == written);
        return place.ok_or_else(|| format!("{written:?} is none of the field {among:?}"));
    }
    written.parse().map_err(|_| match written.as_str() {
        "-1" | "" => "its label is not published; use a split that has labels".to_owned(),
        _ => format!("its label is {written:?}, not a position"),
    })
}

fn expected_choice(choices: &Choices, row: &Row, of: &[String]) -> Result<Expected, String> {
    if let (Some(names), Some(answers)) = (&choices.names, &choices.answers) {
        let (names, answers) = (texts(row, names)?, texts(row, answers)?);
        if names.len() != of.len() {
            return Err(format!("{} names for {} choices", names.len(), of.len()));
        }
        return Ok(Expected::Names { names, answers });
    }
    let label = label(choices, row)?;
    if label >= of.len() {
        return Err(format!("its label is {label}, of {} choices", of.len()));
    }
    Ok(Expected::Choice {
        label,
        choices: of.to_vec(),
    })
}

fn expected_number(scale: &Scale, row: &Row) -> Result<Expected, String> {
    let written = scale.label.fill(row)?;
    let values = scale.values().ok_or("the scale has no numbers")?;
    let label: f64 = written
        .parse()
        .map_err(|_| format!("its label is {written:?}, not a number"))?;
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if !(least..=most).contains(&label) {
        return Err(match written.as_str() {
            "-1" | "-1.0" => "its label is not published; use a split that has labels".to_owned(),
            _ => format!("its label is {written}, and the scale is from {least} to {most}"),
        });
    }
    Ok(Expected::Number { label, values })
}

fn expected_text(generate: &Generate, row: &Row, context: &str) -> Result<Expected, String> {
    if let (Some(test), Some(entry)) = (&generate.test, &generate.entry_point) {
        return Ok(Expected::Program {
            before: context.to_owned(),
            after: test.fill(row)?,
            entry: entry.fill(row)?,
        });
    }
    match &generate.target {
        Some(target) => {
            let target = target.fill(row)?;
            for reading in &generate.readings {
                if reading.expected(&target).is_none() {
                    let name = reading.name();
                    return Err(format!("its answer {target:?} is none that {name} reads"));
                }
            }
            Ok(Expected::Answer(target))
        }
        None => Err("the task says no target".to_owned()),
    }
}
