//! The answers to a task as programs, and what became of them as what its score is of.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Executor, Outcome, Program};
use crate::error::{Error, Result};
use crate::evaluation::responses::{Answer, Answers};
use crate::evaluation::score::{Passed, cut_at_stops};
use crate::evaluation::task::{Expected, Item, Task};

/// How many programs of a task came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Ran {
    /// Their tests ran to the end.
    pub passed: usize,
    /// They did not.
    pub failed: usize,
    /// Their time was up.
    pub timed_out: usize,
    /// They were killed for a system call.
    pub blocked: usize,
}

/// Runs the programs that `answers` make of `items`: each completion, cut at the first of its stops. `told` is told how many are done,
/// and of how many.
///
/// # Errors
/// As [`Executor::run`]; or a test cannot be run.
pub fn run_programs(
    executor: &Executor,
    task: &Task,
    items: &[Item],
    answers: &Answers,
    told: &mut dyn FnMut(usize, usize) -> Result<()>,
) -> Result<(Passed, Ran)> {
    let (mut places, mut programs) = (Vec::new(), Vec::new());
    for (item, answers) in items.iter().zip(answers) {
        let (
            Expected::Program {
                before,
                after,
                entry,
            },
            Some(Answer::Completions(samples)),
        ) = (&item.expected, answers.first())
        else {
            continue;
        };
        for (sample, completion) in samples.iter().enumerate() {
            places.push((item.index, sample));
            programs.push(Program {
                before: before.clone(),
                completion: cut_at_stops(item, completion).to_owned(),
                after: after.clone(),
                entry: entry.clone(),
            });
        }
    }
    let outcomes = executor.run(&programs, &mut |done| told(done, programs.len()))?;
    let (mut passed, mut ran) = (BTreeMap::new(), Ran::default());
    for (place, outcome) in places.into_iter().zip(outcomes) {
        *match &outcome {
            Outcome::Passed => &mut ran.passed,
            Outcome::Failed(_) => &mut ran.failed,
            Outcome::TimedOut => &mut ran.timed_out,
            Outcome::Blocked => &mut ran.blocked,
            Outcome::Unfit(why) => {
                return Err(Error::Task {
                    path: task.name.clone().into(),
                    problem: format!("the test of item {} cannot be run: {why}", place.0),
                });
            }
        } += 1;
        passed.insert(place, outcome == Outcome::Passed);
    }
    Ok((passed, ran))
}
