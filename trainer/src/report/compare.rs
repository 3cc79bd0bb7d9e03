//! A comparison as a page: the tables, the intervals, and the curves of the runs over each other.

use std::fmt::Write as _;

use super::page::{begin, configurations, end, escape, figures, legend, losses, table};
use super::read::ReportedRun;
use super::values::intervals;
use crate::compare::{LossComparison, RunLoss, TaskComparison};
use crate::error::Result;
use crate::evaluation::paired::Difference;

/// The page of a comparison of `runs`, as they were named. The same folders give the same bytes.
///
/// # Errors
/// A configuration cannot be written as TOML.
pub fn comparison_page(
    runs: &[ReportedRun],
    compared: Option<&LossComparison>,
    tasks: &[TaskComparison],
) -> Result<String> {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let mut out = begin("comparison", &names.join(", "));
    if let Some(compared) = compared {
        let _ = writeln!(
            out,
            "<p class=\"root\">{} documents, {} tokens of the {} split of build <code>{}</code></p>",
            compared.documents,
            compared.trained_tokens,
            compared.split,
            escape(&compared.root)
        );
    }
    out.push_str("</header>\n");
    if let Some(compared) = compared {
        held_out(&mut out, compared);
    }
    questions(&mut out, &names, tasks);
    losses(&mut out, runs);
    configurations(&mut out, runs)?;
    end(&mut out);
    Ok(out)
}

/// A number with its digits, or that there is none.
fn shown(number: Option<f64>) -> String {
    number.map_or_else(|| "none".to_owned(), |number| format!("{number:.4}"))
}

fn difference(difference: Option<&Difference>) -> [String; 2] {
    let more = difference.map_or_else(|| "–".to_owned(), |of| format!("{:+.4}", of.value));
    let between = difference.and_then(|of| of.interval);
    let between = between.map_or_else(
        || "–".to_owned(),
        |[low, high]| format!("{low:+.4} to {high:+.4}"),
    );
    [more, between]
}

/// The rows of a chart of intervals: each run but the first in its own colour.
fn rows<'a>(
    differences: impl Iterator<Item = Option<&'a Difference>>,
) -> Vec<(usize, f64, [f64; 2])> {
    let numbered = differences.enumerate();
    numbered
        .filter_map(|(colour, of)| {
            let of = of?;
            Some((colour, of.value, of.interval?))
        })
        .collect()
}

fn held_out(out: &mut String, compared: &LossComparison) {
    out.push_str("<section>\n<h2>On the same text</h2>\n<p>Differences are to the first run, document by document, with 95 % intervals clustered by document.</p>\n");
    for note in &compared.notes {
        let _ = writeln!(out, "<p class=\"note\">{}.</p>", escape(note));
    }
    if compared.left_out > 0 {
        let _ = writeln!(
            out,
            "<p class=\"note\">{} documents at the ends of sequences are not whole for all runs, and count for none.</p>",
            compared.left_out
        );
    }
    of_text(out, &compared.runs);
    for of in &compared.datasets {
        let _ = writeln!(
            out,
            "<h3>{}, {} documents</h3>",
            escape(&of.dataset),
            of.documents
        );
        of_text(out, &of.runs);
    }
    out.push_str("</section>\n");
}

fn of_text(out: &mut String, runs: &[RunLoss]) {
    legend(out, runs.iter().map(|run| run.run.as_str()));
    let in_loss = rows(runs.iter().map(|run| run.difference.as_ref()));
    let in_bits = rows(runs.iter().map(|run| run.difference_bits_per_byte.as_ref()));
    figures(
        out,
        &[
            (
                "Difference in nats per token: left is better",
                intervals(&in_loss, "nats per token"),
            ),
            (
                "Difference in bits per byte of text: left is better",
                intervals(&in_bits, "bits per byte"),
            ),
        ],
    );
    let head = [
        "run",
        "step",
        "nats per token",
        "±",
        "bits per byte",
        "difference in nats",
        "95 %",
        "difference in bits",
        "95 %",
    ];
    let cells = runs.iter().map(|run| {
        let [loss, loss_between] = difference(run.difference.as_ref());
        let [bits, bits_between] = difference(run.difference_bits_per_byte.as_ref());
        vec![
            run.run.clone(),
            run.step.to_string(),
            format!("{:.4}", run.validation_loss),
            shown(run.standard_error),
            shown(run.bits_per_byte),
            loss,
            loss_between,
            bits,
            bits_between,
        ]
    });
    table(out, &head, cells);
}

fn questions(out: &mut String, names: &[&str], tasks: &[TaskComparison]) {
    if tasks.is_empty() {
        return;
    }
    out.push_str("<section>\n<h2>On the same questions</h2>\n<p>Of the items that all runs answered; differences are to the first run, item by item, with 95 % intervals.</p>\n");
    legend(out, names.iter().copied());
    let charts: Vec<(String, Option<String>)> = tasks
        .iter()
        .map(|of| {
            let rows = rows(of.runs.iter().map(|run| run.difference.as_ref()));
            let caption = format!("{}, {}: difference", of.task, of.metric);
            (caption, intervals(&rows, &of.metric))
        })
        .collect();
    let charts: Vec<(&str, Option<String>)> = charts
        .iter()
        .map(|(caption, chart)| (caption.as_str(), chart.clone()))
        .collect();
    figures(out, &charts);
    let head = [
        "run",
        "task",
        "metric",
        "value",
        "±",
        "chance",
        "items",
        "difference",
        "95 %",
    ];
    let cells = tasks.iter().flat_map(|of| {
        of.runs.iter().map(|run| {
            let [more, between] = difference(run.difference.as_ref());
            let contaminated = if run.contaminated {
                " (contaminated)"
            } else {
                ""
            };
            vec![
                run.run.clone(),
                of.task.clone(),
                of.metric.clone(),
                format!("{}{contaminated}", shown(run.value)),
                shown(run.standard_error),
                shown(of.chance),
                of.items.to_string(),
                more,
                between,
            ]
        })
    });
    table(out, &head, cells);
    out.push_str("</section>\n");
}
