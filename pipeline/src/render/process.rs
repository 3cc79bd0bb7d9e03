//! Problems with judged steps, as PRM800K publishes them.
//!
//! Of each step the labeller chose a completion, wrote one, or found every one wrong; the last makes a solution end with
//! a step rated -1. Questions for quality control and for screening labellers, problems marked bad or given up, and
//! flagged completions say nothing about a solution and are left out.
//!
//! Three forms read such a row: the judged steps themselves; a solution that ends (`finish_reason` is `solution`) as a
//! dialogue to imitate; and, at each step with completions rated +1 and -1, a preference between them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::chat::dialogue;
use super::content::{ASSISTANT, Content, HUMAN, Role, Step, Turn};
use super::field::Path;
use super::options::Process;
use super::{RenderError, RenderFault};
use crate::read::Row;

const MARKS: [&str; 2] = [
    "is_quality_control_question",
    "is_initial_screening_question",
];

/// Which documents a row gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// The steps with their ratings.
    Steps,
    /// The solution as a dialogue.
    Solution,
    /// Preferences between completions of one step.
    Pairs,
}

#[derive(Debug, Clone)]
pub(super) struct ProcessForm {
    problem: Path,
    label: Path,
    gives: Gives,
}

/// A row whose marks allow its use.
struct Labelled {
    problem: String,
    finish_reason: String,
    steps: Vec<Value>,
}

impl ProcessForm {
    pub(super) fn new(options: &Process, gives: Gives) -> Result<Self, RenderError> {
        Ok(Self {
            gives,
            problem: Path::new("process.problem", &options.problem)?,
            label: Path::new("process.label", &options.label)?,
        })
    }

    pub(super) fn fields(&self, fields: &mut BTreeSet<String>) {
        fields.extend([self.problem.top(), self.label.top()].map(str::to_owned));
        fields.extend(MARKS.map(str::to_owned));
    }

    pub(super) fn render(&self, row: &mut Row) -> Vec<Result<Content, RenderFault>> {
        let labelled = match self.labelled(row) {
            Ok(labelled) => labelled,
            Err(fault) => return vec![Err(fault)],
        };
        match self.gives {
            Gives::Steps => vec![self.steps(labelled)],
            Gives::Solution => vec![self.solution(labelled)],
            Gives::Pairs => match self.pairs(labelled) {
                Ok(pairs) if pairs.is_empty() => vec![Err(RenderFault::BadPair {
                    problem: "no step has completions rated +1 and -1",
                    reason: "no-judged-pair",
                })],
                Ok(pairs) => pairs.into_iter().map(Ok).collect(),
                Err(fault) => vec![Err(fault)],
            },
        }
    }

    fn labelled(&self, row: &mut Row) -> Result<Labelled, RenderFault> {
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
        let finish_reason = label
            .get("finish_reason")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        for mark in ["bad_problem", "give_up"] {
            if finish_reason == mark {
                return Err(RenderFault::MarkedUnusable { mark });
            }
        }
        let Some(Value::Array(steps)) = label.get_mut("steps").map(Value::take) else {
            return Err(self.label.wrong("an object with a list of steps"));
        };
        if problem.trim().is_empty() {
            return Err(RenderFault::Empty {
                what: "the problem",
            });
        }
        Ok(Labelled {
            problem,
            finish_reason,
            steps,
        })
    }

    fn steps(&self, labelled: Labelled) -> Result<Content, RenderFault> {
        let mut steps = Vec::with_capacity(labelled.steps.len());
        for step in labelled.steps {
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
        if steps.is_empty() {
            return Err(RenderFault::Empty {
                what: "the solution",
            });
        }
        Ok(Content::Process {
            problem: labelled.problem,
            steps,
        })
    }

    fn solution(&self, labelled: Labelled) -> Result<Content, RenderFault> {
        if labelled.finish_reason != "solution" {
            return Err(RenderFault::MarkedUnusable {
                mark: "no solution",
            });
        }
        let Content::Process { problem, steps } = self.steps(labelled)? else {
            unreachable!("steps make a process");
        };
        if steps.iter().any(|step| step.rating == Some(-1)) {
            return Err(RenderFault::MarkedUnusable {
                mark: "a wrong step",
            });
        }
        let lines: Vec<String> = steps.into_iter().map(|step| step.text).collect();
        dialogue(vec![
            Turn {
                role: Role::User,
                text: problem,
            },
            Turn {
                role: Role::Assistant,
                text: lines.join("\n"),
            },
        ])
    }

    /// At each step, the first completion rated +1 against the first rated -1, after the steps that were gone on with.
    fn pairs(&self, labelled: Labelled) -> Result<Vec<Content>, RenderFault> {
        let mut pairs = Vec::new();
        let mut before = format!("{HUMAN} {}{ASSISTANT}", labelled.problem);
        let mut done = String::new();
        let mut first = true;
        for step in labelled.steps {
            let Some(Value::Array(completions)) = step.get("completions") else {
                return Err(self.label.wrong("steps with a list of completions"));
            };
            let rated = |wanted: i64| {
                let mut all = completions.iter();
                all.find(|one| {
                    one.get("rating").and_then(Value::as_i64) == Some(wanted)
                        && one.get("flagged") != Some(&Value::Bool(true))
                })
            };
            let lead = if first { " " } else { "\n" };
            if let (Some(right), Some(wrong)) = (rated(1), rated(-1)) {
                let (right, wrong) = (self.step(right)?.text, self.step(wrong)?.text);
                if right.trim() != wrong.trim()
                    && !right.trim().is_empty()
                    && !wrong.trim().is_empty()
                {
                    let asked = (Role::User, &labelled.problem);
                    let begun = (!done.is_empty()).then_some((Role::Assistant, &done));
                    let turns = [asked].into_iter().chain(begun);
                    let turns = turns.map(|(role, text)| Turn {
                        role,
                        text: text.clone(),
                    });
                    pairs.push(Content::Preference {
                        prompt: before.clone(),
                        turns: turns.collect(),
                        chosen: format!("{lead}{right}"),
                        rejected: format!("{lead}{wrong}"),
                    });
                }
            }
            let Some(completion) = self.completion(step)? else {
                break;
            };
            // A flagged step ends what can be asked, not what was asked before it.
            match self.step(&completion) {
                Ok(step) if step.rating != Some(-1) => {
                    before.extend([lead, &step.text]);
                    done.extend([if first { "" } else { lead }, &step.text]);
                }
                _ => break,
            }
            first = false;
        }
        Ok(pairs)
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
    fn whole_solutions_become_dialogues_and_others_do_not() {
        let good = serde_json::json!([
            {"completions": [one("a", 1)], "chosen_completion": 0},
            {"completions": [], "human_completion": {"text": "b"}, "chosen_completion": null},
        ]);
        let content = rendered("process-solutions = {}", &row(good))
            .unwrap()
            .content;
        assert_eq!(content.to_text(), "\n\nHuman: p\n\nAssistant: a\nb");
        assert!(matches!(content, Content::Chat(_)));
        let wrong = serde_json::json!([{"completions": [one("a", -1)], "chosen_completion": null}]);
        assert_eq!(
            reason("process-solutions = {}", &row(wrong)),
            "marked-unusable"
        );
        let mut unfinished =
            row(serde_json::json!([{"completions": [one("a", 1)], "chosen_completion": 0}]));
        unfinished["label"]["finish_reason"] = "found_error".into();
        assert_eq!(
            reason("process-solutions = {}", &unfinished),
            "marked-unusable"
        );
    }

    #[test]
    fn completions_of_one_step_that_were_judged_apart_are_pairs() {
        let steps = serde_json::json!([
            {"completions": [one("no", -1), one("a", 1)], "chosen_completion": 1},
            {"completions": [one("b", 1)], "chosen_completion": 0},
            {"completions": [one("d", -1), one("c", 1), one("e", -1)], "chosen_completion": null},
            {"completions": [one("never", 1), one("reached", -1)], "chosen_completion": 0},
        ]);
        let render =
            super::super::Render::new(&toml::from_str("process-pairs = {}").unwrap()).unwrap();
        let given = render.render_all(row(steps).as_object().unwrap().clone());
        let pair = |prompt: &str, done: Option<&str>, chosen: &str, rejected: &str| {
            let turns = [(Role::User, "p")].into_iter();
            let turns = turns.chain(done.map(|done| (Role::Assistant, done)));
            Ok(Content::Preference {
                prompt: prompt.to_owned(),
                turns: turns
                    .map(|(role, text)| Turn {
                        role,
                        text: text.to_owned(),
                    })
                    .collect(),
                chosen: chosen.to_owned(),
                rejected: rejected.to_owned(),
            })
        };
        assert_eq!(
            given,
            [
                pair("\n\nHuman: p\n\nAssistant:", None, " a", " no"),
                pair(
                    "\n\nHuman: p\n\nAssistant: a\nb",
                    Some("a\nb"),
                    "\nc",
                    "\nd"
                ),
            ]
        );
        let none = serde_json::json!([{"completions": [one("a", 1)], "chosen_completion": 0}]);
        assert_eq!(reason("process-pairs = {}", &row(none)), "no-judged-pair");
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
