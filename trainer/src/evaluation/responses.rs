//! What a model answered, as a table of JSON lines: any model can be asked the requests of a task, and its answers be scored.
//!
//! A request is `{"task", "part", "item", "request", "kind", ...}` with a `context` and a `continuation`, or a `context`, `stop` and
//! `tokens`. An answer names `item` and `request` (0 if it is left out), and `task` where a table has several, and has either
//! `log_likelihood` (nats) and `greedy`, or `completion`; more answers to a request for text are more samples. `skipped` is a
//! reason why there is none: the item is then counted apart. Other members are not looked at.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::task::{Asked, Item, Task};
use crate::error::{Error, Result};

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To a question for a log-likelihood.
    LogLikelihood {
        /// In nats.
        nats: f64,
        /// Whether each token was the likeliest.
        greedy: bool,
    },
    /// To a question for text: the samples.
    Completions(Vec<String>),
    /// There is none, for this reason.
    Skipped(String),
}

/// The answers to the items of a task: of each item, to each request.
pub type Answers = Vec<Vec<Answer>>;

#[derive(Serialize)]
struct RequestLine<'a> {
    task: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    part: &'a str,
    item: usize,
    request: usize,
    #[serde(flatten)]
    asked: &'a Asked,
}

#[derive(Deserialize)]
struct AnswerLine {
    task: Option<String>,
    item: usize,
    #[serde(default)]
    request: usize,
    log_likelihood: Option<f64>,
    greedy: Option<bool>,
    completion: Option<String>,
    skipped: Option<String>,
}

/// Writes the requests of `items`, a line each.
///
/// # Errors
/// They cannot be written.
pub fn write_requests(task: &Task, items: &[Item], to: &mut impl Write) -> Result<()> {
    for item in items {
        for (request, asked) in item.asked.iter().enumerate() {
            let line = RequestLine {
                task: &task.name,
                part: &item.part,
                item: item.index,
                request,
                asked,
            };
            let written = serde_json::to_writer(&mut *to, &line).map_err(std::io::Error::from);
            written
                .and_then(|()| to.write_all(b"\n"))
                .map_err(Error::io("writing requests"))?;
        }
    }
    Ok(())
}

/// Reads the answers to `items` of `task` from the table at `path`.
///
/// # Errors
/// A line is no answer, answers what was not asked, or says it twice; or a request has no answer.
pub fn read_answers(task: &Task, items: &[Item], path: &Path) -> Result<Answers> {
    let file = fs_err::File::open(path).map_err(Error::io("reading responses"))?;
    let mut given: BTreeMap<(usize, usize), Answer> = BTreeMap::new();
    for (number, line) in BufReader::new(file).lines().enumerate() {
        let line = line.map_err(Error::io("reading responses"))?;
        if line.trim().is_empty() {
            continue;
        }
        let wrong = |problem: String| Error::Integrity {
            path: path.to_owned(),
            problem: format!("line {}: {problem}", number + 1),
        };
        let line: AnswerLine = serde_json::from_str(&line)
            .map_err(|error| wrong(format!("it is no answer: {error}")))?;
        if line.task.as_ref().is_some_and(|name| *name != task.name) {
            continue;
        }
        let place = (line.item, line.request);
        let asked = items
            .get(line.item)
            .and_then(|item| item.asked.get(line.request));
        let asked = asked.ok_or_else(|| {
            wrong(format!(
                "{} has no request {} of item {}",
                task.name, line.request, line.item
            ))
        })?;
        let answer = line.answer(asked).map_err(wrong)?;
        if let (Some(Answer::Completions(samples)), Answer::Completions(more)) =
            (given.get_mut(&place), &answer)
        {
            samples.extend(more.iter().cloned());
            continue;
        }
        if given.insert(place, answer).is_some() {
            let (item, request) = place;
            return Err(wrong(format!(
                "request {request} of item {item} was answered before"
            )));
        }
    }
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let mut of_item = Vec::with_capacity(item.asked.len());
        for request in 0..item.asked.len() {
            let answer = given.remove(&(item.index, request));
            of_item.push(answer.ok_or_else(|| Error::Integrity {
                path: path.to_owned(),
                problem: format!(
                    "no answer to request {request} of item {} of {}\nhint: \"skipped\": \"why\" counts an item apart",
                    item.index, task.name
                ),
            })?);
        }
        answers.push(of_item);
    }
    Ok(answers)
}

impl AnswerLine {
    fn answer(self, asked: &Asked) -> Result<Answer, String> {
        if let Some(reason) = self.skipped {
            return Ok(Answer::Skipped(reason));
        }
        match (asked, self.log_likelihood, self.completion) {
            (Asked::LogLikelihood { .. }, Some(nats), None) => Ok(Answer::LogLikelihood {
                nats,
                greedy: self.greedy.unwrap_or(false),
            }),
            (Asked::Generate { .. }, None, Some(text)) => Ok(Answer::Completions(vec![text])),
            (Asked::LogLikelihood { .. }, ..) => {
                Err("it must have log_likelihood, and no completion".to_owned())
            }
            (Asked::Generate { .. }, ..) => {
                Err("it must have completion, and no log_likelihood".to_owned())
            }
        }
    }
}
