//! Comparisons as tables.

use andromeda_trainer::compare::{LossComparison, RunLoss, TaskComparison};
use andromeda_trainer::error::Result;
use andromeda_trainer::evaluation::paired::Difference;

use super::line;

/// A number with its digits, or a dash.
pub(crate) fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.4}"))
}

/// A difference with its sign, and from where to where it is.
pub(crate) fn interval(difference: Option<&Difference>) -> (String, String) {
    let Some(difference) = difference else {
        return ("-".to_owned(), String::new());
    };
    let between = difference.interval.map_or_else(
        || "too few to tell".to_owned(),
        |[low, high]| format!("{low:+.4} to {high:+.4}"),
    );
    (format!("{:+.4}", difference.value), between)
}

/// The widest of names and of the head of their column.
fn widest<'a>(names: impl Iterator<Item = &'a str>, least: usize) -> usize {
    names
        .map(|name| name.chars().count())
        .fold(least, usize::max)
}

/// Writes runs on one text to stdout as a table.
pub(crate) fn losses(comparison: &LossComparison) -> Result<()> {
    line(&format!(
        "{} split of {}: {} documents, {} tokens",
        comparison.split,
        comparison.build.display(),
        comparison.documents,
        comparison.trained_tokens
    ))?;
    if comparison.left_out > 0 {
        line(&format!(
            "{} documents at the ends of sequences are not whole for all runs, and count for none",
            comparison.left_out
        ))?;
    }
    rows("run", &comparison.runs)?;
    for of in &comparison.datasets {
        line("")?;
        rows(
            &format!("{}, {} documents", of.dataset, of.documents),
            &of.runs,
        )?;
    }
    line(
        "nats a token and bits a byte; differences to the first run, with 95 % intervals clustered by document",
    )?;
    comparison
        .notes
        .iter()
        .try_for_each(|note| line(&format!("note: {note}")))
}

fn rows(head: &str, runs: &[RunLoss]) -> Result<()> {
    let names = runs.iter().map(|run| run.run.as_str());
    let width = widest(names, head.chars().count());
    line(&format!(
        "{head:<width$} {:>8} {:>9} {:>8} {:>9} {:>9}  {:<20} {:>9}  {}",
        "step", "loss", "+-", "bpb", "loss", "95 %", "bpb", "95 %"
    ))?;
    for run in runs {
        let (loss, between) = interval(run.difference.as_ref());
        let (bits, bits_between) = interval(run.difference_bits_per_byte.as_ref());
        let row = format!(
            "{:<width$} {:>8} {:>9.4} {:>8} {:>9} {loss:>9}  {between:<20} {bits:>9}  {bits_between}",
            run.run,
            run.step,
            run.validation_loss,
            shown(run.standard_error),
            shown(run.bits_per_byte),
        );
        line(row.trim_end())?;
    }
    Ok(())
}

/// Writes runs on the same questions to stdout as a table.
pub(crate) fn tasks(comparisons: &[TaskComparison]) -> Result<()> {
    let tasks = comparisons.iter().map(|of| of.task.as_str());
    let width = widest(tasks, 14);
    let runs = comparisons.iter().flat_map(|of| &of.runs);
    let run_width = widest(runs.map(|run| run.run.as_str()), 8);
    line(&format!(
        "{:<width$} {:<24} {:<run_width$} {:>9} {:>9} {:>9} {:>7} {:>9}  {}",
        "task", "metric", "run", "value", "+-", "chance", "items", "more", "95 %"
    ))?;
    for of in comparisons {
        for run in &of.runs {
            let (more, between) = interval(run.difference.as_ref());
            let between = if run.contaminated {
                format!("{between} CONTAMINATED: its rows are training data")
            } else {
                between
            };
            let row = format!(
                "{:<width$} {:<24} {:<run_width$} {:>9} {:>9} {:>9} {:>7} {more:>9}  {between}",
                of.task,
                of.metric,
                run.run,
                shown(run.value),
                shown(run.standard_error),
                shown(of.chance),
                of.items,
            );
            line(row.trim_end())?;
        }
    }
    line(
        "more than the first run, on the items that all answered, with 95 % intervals of paired differences",
    )
}
