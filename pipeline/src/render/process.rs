//! Problems with judged steps, as PRM800K publishes them.
//!
//! Of each step the labeller chose a completion, wrote one, or found every one wrong; the last makes a solution end with
//! a step rated -1. Questions for quality control and for screening labellers, problems marked bad or given up, and
//! flagged completions say nothing about a solution and are left out.

use std::collections::BTreeSet;

use serde_json::Value;

use super::content::{Content, Step};
use super::field::Path;
use super::options::Process;
use super::{RenderError, RenderFault};
use crate::read::Row;

const MARKS: [&str; 2] = [
    "is_quality_control_question",
    "is_initial_screening_question",
];

#[derive(Debug, Clone)]
pub(super) struct ProcessForm {
    problem: Path,
    label: Path,
}

impl ProcessForm {
    pub(super) fn new(options: &Process) -> Result<Self, RenderError> {
        Ok(Self {
            problem: Path::new("process.problem", &options.problem)?,
            label: Path::new("process.label", &options.label)?,
        })
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        fields.extend([self.problem.top(), self.label.top()].map(str::to_owned));
        fields.extend(MARKS.map(str::to_owned));
    }

    pub(super) fn render(&self, row: &mut Row) -> Result<Content, RenderFault> {
        if let Some(mark) = MARKS
            .into_iter()
            .find(|mark| row.get(*mark) == Some(&Value::Bool(true)))
        {
            return Err(RenderFault::MarkedUnusable { mark });
        }
        let problem = self.problem.take_text(row)?;
        let label = self.label.take(row).ok_or_else(|| self.label.missing())?;
        let Value::Object(mut label) = label else {
            return Err(self.label.wrong("an object"));
        };
        match label.get("finish_reason").and_then(Value::as_str) {
            Some("bad_problem") => {
                return Err(RenderFault::MarkedUnusable {
                    mark: "bad_problem",
                });
            }
            Some("give_up") => return Err(RenderFault::MarkedUnusable { mark: "give_up" }),
            _ => {}
        }
        let Some(Value::Array(judged)) = label.get_mut("steps").map(Value::take) else {
            return Err(self.label.wrong("an object with a list of steps"));
        };
        let mut steps = Vec::with_capacity(judged.len());
        for step in judged {
            let Some(completion) = self.completion(step)? else {
                break;
            };
            let step = self.step(&completion)?;
            let wrong = step.rating == Some(-1);
            steps.push(step);
            if wrong {
                break;
            }
        }
        if problem.trim().is_empty() || steps.is_empty() {
            return Err(RenderFault::Empty {
                what: "the problem or its solution",
            });
        }
        Ok(Content::Process { problem, steps })
    }

    /// The completion that the solution goes on with: the chosen one, the labeller's own, or the first that is wrong.
    fn completion(&self, mut step: Value) -> Result<Option<Value>, RenderFault> {
        let chosen = step.get("chosen_completion").and_then(Value::as_u64);
        let human = step
            .get_mut("human_completion")
            .map(Value::take)
            .filter(Value::is_object);
        let Some(Value::Array(mut completions)) = step.get_mut("completions").map(Value::take)
        else {
            return Err(self.label.wrong("steps with a list of completions"));
        };
        let at = match chosen {
            Some(chosen) => usize::try_from(chosen)
                .ok()
                .filter(|at| *at < completions.len()),
            None if human.is_some() => return Ok(human),
            None => completions
                .iter()
                .position(|one| one.get("rating") == Some(&Value::from(-1))),
        };
        Ok(at.map(|at| completions.swap_remove(at)))
    }

    fn step(&self, completion: &Value) -> Result<Step, RenderFault> {
        if completion.get("flagged") == Some(&Value::Bool(true)) {
            return Err(RenderFault::MarkedUnusable { mark: "flagged" });
        }
        let text = completion.get("text").and_then(Value::as_str);
        let text = text
            .ok_or_else(|| self.label.wrong("completions with a text"))?
            .to_owned();
        let rating = completion
            .get("rating")
            .and_then(Value::as_i64)
            .and_then(|rating| i8::try_from(rating).ok());
        Ok(Step {
            text,
            rating: rating.filter(|rating| (-1..=1).contains(rating)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{reason, rendered};
    use super::*;

    fn row(steps: Value) -> Value {
        serde_json::json!({"question": {"problem": "p"}, "label": {"steps": steps, "finish_reason": "solution"}})
    }

    fn one(text: &str, rating: i64) -> Value {
        serde_json::json!({"text": text, "rating": rating, "flagged": null})
    }

    #[test]
    fn chosen_written_and_wrong_steps_are_followed() {
        let steps = serde_json::json!([
            {"completions": [one("no", -1), one("a", 1)], "human_completion": null, "chosen_completion": 1},
            {"completions": [one("no", -1)], "human_completion": {"text": "b", "rating": null}, "chosen_completion": null},
            {"completions": [one("c", 0)], "chosen_completion": 0},
            {"completions": [one("skipped", 0), one("d", -1)], "human_completion": null, "chosen_completion": null},
            {"completions": [one("never", 1)], "chosen_completion": 0},
        ]);
        let Content::Process { problem, steps } =
            rendered("process = {}", &row(steps)).unwrap().content
        else {
            panic!("another form");
        };
        assert_eq!(problem, "p");
        let steps: Vec<(&str, Option<i8>)> = steps
            .iter()
            .map(|step| (step.text.as_str(), step.rating))
            .collect();
        assert_eq!(
            steps,
            [("a", Some(1)), ("b", None), ("c", Some(0)), ("d", Some(-1))]
        );
    }

    #[test]
    fn marked_and_malformed_rows_are_faults() {
        let good = serde_json::json!([{"completions": [one("a", 1)], "chosen_completion": 0}]);
        let mut marked = row(good.clone());
        marked["is_quality_control_question"] = true.into();
        let mut given_up = row(good.clone());
        given_up["label"]["finish_reason"] = "give_up".into();
        let mut flagged = row(good.clone());
        flagged["label"]["steps"][0]["completions"][0]["flagged"] = true.into();
        let mut beyond = row(good);
        beyond["label"]["steps"][0]["chosen_completion"] = 7.into();
        for (row, expected) in [
            (marked, "marked-unusable"),
            (given_up, "marked-unusable"),
            (flagged, "marked-unusable"),
            (beyond, "empty"),
            (row(serde_json::json!([])), "empty"),
            (row(serde_json::json!([5])), "wrong-type"),
            (row(Value::Null), "wrong-type"),
            (
                serde_json::json!({"question": {"problem": "p"}}),
                "missing-field",
            ),
        ] {
            assert_eq!(reason("process = {}", &row), expected, "{row}");
        }
    }
}
