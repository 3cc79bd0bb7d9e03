//! An ablation as a table, and its answer.

use andromeda_trainer::ablate::{SeedRun, Side, Verdict};
use andromeda_trainer::error::Result;

use super::compare::{interval, shown};
use super::line;
use crate::commands::ablate::Report;

/// Writes what two builds came to, and which is better, to stdout.
pub(crate) fn ablation(report: &Report<'_>) -> Result<()> {
    let judge = &report.judge;
    let datasets: Vec<String> = judge
        .datasets
        .iter()
        .map(|(name, documents)| format!("{name} {documents}"))
        .collect();
    let whose = if judge.in_common {
        "that both validation splits have and neither build trains on".to_owned()
    } else {
        format!(
            "of the validation split of {}, that neither build trains on",
            judge.build.display()
        )
    };
    line(&format!(
        "judged on {} documents, {} tokens ({}) {whose}",
        judge.documents,
        judge.trained_tokens,
        datasets.join(", ")
    ))?;
    let left_out = [
        (judge.of_one_alone, "in one validation split alone"),
        (judge.trained_on, "trained on by one"),
        (judge.repeated, "there twice"),
        (judge.beyond, "beyond --judge-tokens"),
    ];
    let left_out: Vec<String> = left_out
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, why)| format!("{count} {why}"))
        .collect();
    if !left_out.is_empty() {
        line(&format!("documents left out: {}", left_out.join(", ")))?;
    }
    let unit = report.verdict.unit;
    let runs = report.a.runs.iter().chain(&report.b.runs);
    let width = runs
        .clone()
        .map(|run| run.run.chars().count())
        .fold(8, usize::max);
    line(&format!(
        "{:<2}{:<width$} {:>8} {unit:>16}",
        "", "run", "seed"
    ))?;
    for (name, side) in [("a", report.a), ("b", report.b)] {
        for run in &side.runs {
            seed(name, width, run)?;
        }
    }
    for (name, side) in [("a", report.a), ("b", report.b)] {
        line(&format!("{name}: {}", about(side, unit)))?;
    }
    answer(report.verdict)
}

fn seed(name: &str, width: usize, run: &SeedRun) -> Result<()> {
    line(&format!(
        "{name} {:<width$} {:>8} {:>16.4}",
        run.run, run.seed, run.value
    ))
}

fn about(side: &Side, unit: &str) -> String {
    format!(
        "{:.4} {unit} in the mean, {:.2} epochs of {} ({})",
        side.mean,
        side.epochs,
        side.build.display(),
        side.root
    )
}

fn answer(verdict: &Verdict) -> Result<()> {
    let found = &verdict.difference;
    let (more, between) = interval(Some(&found.difference));
    line(&format!(
        "b less a: {more} {}, 95 % from {between} (standard error {}: {} of seeds, {} of documents; {} degrees of freedom)",
        verdict.unit,
        shown(found.difference.standard_error),
        shown(found.seeds_error),
        shown(found.documents_error),
        found
            .difference
            .degrees_of_freedom
            .map_or_else(|| "-".to_owned(), |freedom| format!("{freedom:.1}")),
    ))?;
    for of in &verdict.datasets {
        let (more, between) = interval(Some(&of.difference.difference));
        line(&format!(
            "  {}, {} documents: {more}, 95 % from {between}",
            of.dataset, of.documents
        ))?;
    }
    match verdict.better {
        Some(better) => line(&format!(
            "{} is better, with 95 % confidence",
            better.name()
        )),
        None => line("no difference found: the interval holds zero"),
    }
}
