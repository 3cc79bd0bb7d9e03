//! A sweep as a table.

use andromeda_trainer::error::Result;
use andromeda_trainer::sweep::SweepResult;

use super::compare::shown;
use super::{line, safe};

/// Writes the trials to stdout, the best first.
pub(crate) fn trials(result: &SweepResult) -> Result<()> {
    let mut widths: Vec<usize> = result
        .fields
        .iter()
        .map(|field| field.chars().count())
        .collect();
    let cells: Vec<Vec<String>> = result
        .trials
        .iter()
        .map(|trial| {
            let value = |field: &String| {
                let value = trial.values.get(field);
                value.map_or_else(String::new, ToString::to_string)
            };
            result.fields.iter().map(value).collect()
        })
        .collect();
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let names = result.trials.iter().map(|trial| trial.run.chars().count());
    let run = names.fold("run".len(), usize::max);
    let padded = |cells: &[String]| {
        let padded = cells.iter().zip(&widths);
        padded
            .map(|(cell, &width)| format!("  {cell:>width$}"))
            .collect::<String>()
    };
    line(&format!(
        "{:<run$} {:>20}{}",
        "run",
        result.metric,
        padded(&result.fields)
    ))?;
    for (trial, cells) in result.trials.iter().zip(&cells) {
        let value = match (&trial.failure, trial.value) {
            (Some(_), _) => "failed".to_owned(),
            (None, value) => shown(value),
        };
        line(&format!("{:<run$} {value:>20}{}", trial.run, padded(cells)))?;
    }
    for trial in result.failed() {
        let failure = trial.failure.as_deref().unwrap_or_default();
        let first = failure.lines().next().unwrap_or_default();
        line(&format!("{} failed: {}", trial.run, safe(first)))?;
    }
    if let [best, second, ..] = &result.trials[..]
        && best.value.is_some()
        && second.value.is_some()
    {
        line(&format!(
            "whether the best two differ by more than chance: andromeda-train compare {} {}",
            best.run, second.run
        ))?;
    }
    Ok(())
}
