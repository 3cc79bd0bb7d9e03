//! A sweep as a page: what trials are judged by over each field, the trials in order, and the curves of the best.

use std::fmt::Write as _;

use super::charts::COLOURS;
use super::page::{begin, end, escape, figures, losses, table};
use super::read::ReportedRun;
use super::values::{Axis, over_values};
use crate::sweep::{SweepResult, TrialResult};

/// The page of a sweep; `runs` are those of its trials that have a step, the best first. The same folders give the same bytes.
pub fn sweep_page(result: &SweepResult, runs: &[ReportedRun]) -> String {
    let mut out = begin("sweep", &result.sweep);
    let _ = writeln!(
        out,
        "<p class=\"root\">{} trials on build <code>{}</code></p>\n</header>",
        result.trials.len(),
        escape(&result.root)
    );
    fields(&mut out, result);
    trials(&mut out, result);
    let best: Vec<ReportedRun> = runs
        .iter()
        .filter(|run| {
            let of_run = |trial: &&TrialResult| trial.run == run.name;
            let trial = result.trials.iter().find(of_run);
            trial.is_some_and(|trial| trial.value.is_some())
        })
        .take(COLOURS.len())
        .cloned()
        .collect();
    if !best.is_empty() {
        if best.len() < result.trials.len() {
            let _ = writeln!(
                out,
                "<p class=\"note\">Curves of the best {} of {} trials.</p>",
                best.len(),
                result.trials.len()
            );
        }
        losses(&mut out, &best);
    }
    end(&mut out);
    out
}

fn fields(out: &mut String, result: &SweepResult) {
    let _ = writeln!(
        out,
        "<section>\n<h2>{} by field</h2>\n<p>A point a trial, the best in another colour; a line through the means of equal values. One seed each: how much of a difference is chance is not in here.</p>",
        escape(result.metric)
    );
    let judged: Vec<_> = result
        .trials
        .iter()
        .filter_map(|trial| Some((trial, trial.value?)))
        .collect();
    let chart = |field: &String| {
        let values: Vec<toml::Value> = judged
            .iter()
            .filter_map(|(trial, _)| trial.values.get(field).cloned())
            .collect();
        let (axis, places) = Axis::of(&values);
        let numbers = judged.iter().map(|(_, value)| *value);
        let points: Vec<(f64, f64)> = places.into_iter().zip(numbers).collect();
        // The best stands first.
        over_values(&points, &axis, field, 0)
    };
    let charts: Vec<(&str, Option<String>)> = result
        .fields
        .iter()
        .map(|field| (field.as_str(), chart(field)))
        .collect();
    figures(out, &charts);
    out.push_str("</section>\n");
}

fn trials(out: &mut String, result: &SweepResult) {
    out.push_str("<section>\n<h2>Trials</h2>\n");
    let mut head = vec!["run", result.metric, "steps"];
    head.extend(result.fields.iter().map(String::as_str));
    let cells = result.trials.iter().map(|trial| {
        let value = match (&trial.failure, trial.value) {
            (None, Some(value)) => format!("{value:.4}"),
            _ => "failed".to_owned(),
        };
        let mut cells = vec![trial.run.clone(), value, trial.step.to_string()];
        cells.extend(result.fields.iter().map(|field| {
            let value = trial.values.get(field);
            value.map_or_else(String::new, ToString::to_string)
        }));
        cells
    });
    table(out, &head, cells);
    for trial in result.failed() {
        let _ = writeln!(
            out,
            "<p class=\"note\">{} failed: {}</p>",
            escape(&trial.run),
            escape(trial.failure.as_deref().unwrap_or_default())
        );
    }
    out.push_str("</section>\n");
}
