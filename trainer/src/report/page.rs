//! The report as one HTML file without scripts and without requests. Several runs are drawn over each other.

use std::fmt::Write as _;

use super::charts::{COLOURS, Line, over_steps, smoothed, tick};
use super::read::ReportedRun;
use crate::error::Result;
use crate::history::{DatasetLine, EvaluationLine, StepLine};

/// What may be loaded: nothing. Styles stand in the page itself.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("page.css");

/// Of each run the first and the last samples are shown, so many of each.
const SAMPLES_AT_AN_END: usize = 20;

/// The page of `runs`, of which there is one at least. The same folders give the same bytes.
///
/// # Errors
/// A configuration cannot be written as TOML.
pub fn page(runs: &[ReportedRun]) -> Result<String> {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let mut out = begin("training report", &names.join(", "));
    for (root, names) in roots(runs) {
        let of = if runs.len() > 1 {
            format!("{} on ", escape(&names.join(", ")))
        } else {
            String::new()
        };
        let _ = writeln!(
            out,
            "<p class=\"root\">{of}build <code>{}</code></p>",
            escape(root)
        );
    }
    out.push_str("</header>\n");
    match runs {
        [run] => numbers(&mut out, run),
        _ => table_of_runs(&mut out, runs),
    }
    losses(&mut out, runs);
    datasets(&mut out, runs);
    steps(&mut out, runs);
    samples(&mut out, runs);
    configurations(&mut out, runs)?;
    end(&mut out);
    Ok(out)
}

/// The beginning of a page of some kind, down to its heading; its header is still open.
pub(super) fn begin(kind: &str, title: &str) -> String {
    let (kind, title) = (escape(kind), escape(title));
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{title} · Andromeda</title>\n<style>\n{STYLE}{}</style>\n</head>\n<body>\n\
         <header>\n<p class=\"brand\">Andromeda · {kind}</p>\n<h1>{title}</h1>\n",
        colours(),
    );
    out
}

/// The end of a page.
pub(super) fn end(out: &mut String) {
    out.push_str("</body>\n</html>\n");
}

/// A table of text, escaped here.
pub(super) fn table(out: &mut String, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    out.push_str("<div class=\"scroll\"><table>\n<tr>");
    for name in head {
        let _ = write!(out, "<th>{}", escape(name));
    }
    out.push_str("</tr>\n");
    for row in rows {
        out.push_str("<tr>");
        for (number, cell) in row.iter().enumerate() {
            let tag = if number == 0 { "th" } else { "td" };
            let _ = write!(out, "<{tag}>{}", escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
}

/// The builds, each with the runs that were trained on it last.
fn roots(runs: &[ReportedRun]) -> Vec<(&str, Vec<&str>)> {
    let mut roots: Vec<(&str, Vec<&str>)> = Vec::new();
    for run in runs {
        let Some(root) = run.root() else { continue };
        match roots.iter_mut().find(|(known, _)| *known == root) {
            Some((_, names)) => names.push(&run.name),
            None => roots.push((root, vec![&run.name])),
        }
    }
    roots
}

fn colours() -> String {
    let mut out = String::new();
    for (number, colour) in COLOURS.iter().enumerate() {
        let _ = writeln!(
            out,
            ".c{number} {{ --colour: rgb({} {} {}); }}",
            colour.0, colour.1, colour.2
        );
    }
    out
}

/// A number of each step.
fn of_steps(run: &ReportedRun, number: impl Fn(&StepLine) -> Option<f64>) -> Vec<(f64, f64)> {
    let steps = run.history.steps.iter();
    steps
        .map(|line| (line.step as f64, number(line).unwrap_or(f64::NAN)))
        .collect()
}

/// A number of each evaluation.
fn of_evaluations(
    run: &ReportedRun,
    number: impl Fn(&EvaluationLine) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let evaluations = run.history.evaluations.iter();
    evaluations
        .filter_map(|line| Some((line.step as f64, number(line)?)))
        .collect()
}

/// The last training loss, smoothed as it is drawn.
fn last_loss(run: &ReportedRun) -> Option<f64> {
    let mut points = of_steps(run, |step| step.loss);
    points.retain(|point| point.1.is_finite());
    smoothed(&points).last().map(|point| point.1)
}

/// The number that half of the steps are below.
fn median(run: &ReportedRun, number: impl Fn(&StepLine) -> Option<f64>) -> Option<f64> {
    let mut numbers: Vec<f64> = run.history.steps.iter().filter_map(number).collect();
    numbers.retain(|number| number.is_finite());
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// What a run came to: name, number, more of it.
fn key_numbers(run: &ReportedRun) -> Vec<(&'static str, String, String)> {
    let last = run.history.steps.last();
    let evaluation = run.history.evaluations.last();
    let shown = |number: Option<f64>| {
        number.map_or_else(|| "none".to_owned(), |number| format!("{number:.4}"))
    };
    let at = evaluation.map_or_else(String::new, |line| format!("after step {}", line.step));
    let mfu = median(run, |step| step.mfu);
    vec![
        (
            "steps",
            last.map_or(0, |last| last.step).to_string(),
            match run.config.schedule.tokens {
                None => format!("of {}", run.config.schedule.steps),
                Some(tokens) => format!("until {} tokens are read", tick(tokens as f64)),
            },
        ),
        (
            "tokens",
            tick(last.map_or(0, |last| last.tokens) as f64),
            format!("{} parameters", tick(run.config.model.parameters() as f64)),
        ),
        (
            "training loss",
            shown(last_loss(run)),
            "nats per token, smoothed".to_owned(),
        ),
        (
            "validation loss",
            shown(evaluation.and_then(|line| line.validation_loss)),
            at.clone(),
        ),
        (
            "bits per byte",
            shown(evaluation.and_then(|line| line.bits_per_byte)),
            at,
        ),
        (
            "tokens per second",
            median(run, |step| step.tokens_per_second).map_or_else(|| "none".to_owned(), tick),
            mfu.map_or_else(
                || "median".to_owned(),
                |mfu| format!("median; MFU {:.1} %", 100.0 * mfu),
            ),
        ),
    ]
}

fn numbers(out: &mut String, run: &ReportedRun) {
    out.push_str("<section class=\"numbers\">\n");
    for (what, number, more) in key_numbers(run) {
        let _ = writeln!(
            out,
            "<div><strong>{}</strong><span>{what}</span><small>{}</small></div>",
            escape(&number),
            escape(&more)
        );
    }
    out.push_str("</section>\n");
}

fn table_of_runs(out: &mut String, runs: &[ReportedRun]) {
    out.push_str("<section>\n<h2>Runs</h2>\n");
    legend(out, runs.iter().map(|run| run.name.as_str()));
    out.push_str("<div class=\"scroll\"><table>\n<tr><th>run");
    for (what, ..) in runs.first().map(key_numbers).unwrap_or_default() {
        let _ = write!(out, "<th>{what}");
    }
    out.push_str("</tr>\n");
    for run in runs {
        let _ = write!(out, "<tr><th>{}", escape(&run.name));
        for (_, number, _) in key_numbers(run) {
            let _ = write!(out, "<td>{}", escape(&number));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n</section>\n");
}

/// Names with the colours of their lines, where there are several.
pub(super) fn legend<'a>(out: &mut String, names: impl ExactSizeIterator<Item = &'a str>) {
    if names.len() < 2 {
        return;
    }
    out.push_str("<p class=\"legend\">");
    for (number, name) in names.enumerate() {
        let _ = write!(
            out,
            "<span class=\"c{}\">{}</span>",
            number % COLOURS.len(),
            escape(name)
        );
    }
    out.push_str("</p>\n");
}

/// A chart of one line a run.
fn of_runs(
    runs: &[ReportedRun],
    noisy: bool,
    points: impl Fn(&ReportedRun) -> Vec<(f64, f64)>,
) -> Option<String> {
    let line = |(colour, run): (usize, &ReportedRun)| Line {
        colour,
        points: points(run),
        noisy,
    };
    over_steps(&runs.iter().enumerate().map(line).collect::<Vec<_>>())
}

pub(super) fn figures(out: &mut String, charts: &[(&str, Option<String>)]) {
    out.push_str("<div class=\"figures\">\n");
    for (caption, chart) in charts {
        if let Some(svg) = chart {
            let _ = writeln!(
                out,
                "<figure><figcaption>{}</figcaption>{svg}</figure>",
                escape(caption)
            );
        }
    }
    out.push_str("</div>\n");
}

pub(super) fn losses(out: &mut String, runs: &[ReportedRun]) {
    out.push_str("<section>\n<h2>Loss</h2>\n");
    legend(out, runs.iter().map(|run| run.name.as_str()));
    let evaluated = |number: fn(&EvaluationLine) -> Option<f64>| {
        of_runs(runs, false, move |run| of_evaluations(run, number))
    };
    figures(
        out,
        &[
            (
                "Training, nats per token: smoothed, each step behind it",
                of_runs(runs, true, |run| of_steps(run, |step| step.loss)),
            ),
            (
                "Validation, nats per token",
                evaluated(|line| line.validation_loss),
            ),
            (
                "Validation, bits per byte of text",
                evaluated(|line| line.bits_per_byte),
            ),
        ],
    );
    out.push_str("</section>\n");
}

/// Validation by dataset: a chart and a table for each run whose build has several.
fn datasets(out: &mut String, runs: &[ReportedRun]) {
    let of_several = runs.iter().filter_map(|run| {
        let last = run.history.evaluations.last()?;
        (last.datasets.len() > 1).then_some((run, last))
    });
    let mut begun = false;
    for (run, last) in of_several {
        if !begun {
            out.push_str("<section>\n<h2>Validation by dataset</h2>\n<p>A token counts to the dataset of its own document.</p>\n");
            begun = true;
        }
        if runs.len() > 1 {
            let _ = writeln!(out, "<h3>{}</h3>", escape(&run.name));
        }
        legend(out, last.datasets.iter().map(|of| of.dataset.as_str()));
        let lines = |number: fn(&DatasetLine) -> Option<f64>| {
            let line = |(colour, name): (usize, &str)| {
                let of = |line: &EvaluationLine| {
                    let found = line.datasets.iter().find(|of| of.dataset == name);
                    found.and_then(number)
                };
                Line {
                    colour,
                    points: of_evaluations(run, of),
                    noisy: false,
                }
            };
            let names = last.datasets.iter().map(|of| of.dataset.as_str());
            over_steps(&names.enumerate().map(line).collect::<Vec<_>>())
        };
        figures(
            out,
            &[
                ("Nats per token", lines(|of| of.validation_loss)),
                ("Bits per byte of text", lines(|of| of.bits_per_byte)),
            ],
        );
        let _ = writeln!(
            out,
            "<div class=\"scroll\"><table>\n<tr><th>dataset<th>nats per token<th>bits per byte</tr>"
        );
        let shown =
            |number: Option<f64>| number.map_or_else(|| "none".to_owned(), |n| format!("{n:.4}"));
        for of in &last.datasets {
            let _ = writeln!(
                out,
                "<tr><th>{}<td>{}<td>{}</tr>",
                escape(&of.dataset),
                shown(of.validation_loss),
                shown(of.bits_per_byte)
            );
        }
        let _ = writeln!(
            out,
            "</table></div>\n<p class=\"note\">After step {}.</p>",
            last.step
        );
    }
    if begun {
        out.push_str("</section>\n");
    }
}

fn steps(out: &mut String, runs: &[ReportedRun]) {
    out.push_str("<section>\n<h2>Steps</h2>\n");
    legend(out, runs.iter().map(|run| run.name.as_str()));
    let of = |noisy, number: fn(&StepLine) -> Option<f64>| {
        of_runs(runs, noisy, move |run| of_steps(run, number))
    };
    figures(
        out,
        &[
            ("Learning rate", of(false, |step| step.learning_rate)),
            (
                "Norm of the gradient before it is clipped",
                of(true, |step| step.gradient_norm),
            ),
            ("Tokens per second", of(true, |step| step.tokens_per_second)),
            (
                "Milliseconds of a step in which it waited for its batch",
                of(true, |step| {
                    step.data_wait_seconds.map(|seconds| 1e3 * seconds)
                }),
            ),
            (
                "Model FLOPs utilization: tokens per second x FLOPs a token / peak, percent",
                of(true, |step| step.mfu.map(|mfu| 100.0 * mfu)),
            ),
        ],
    );
    out.push_str("</section>\n");
}

fn samples(out: &mut String, runs: &[ReportedRun]) {
    if runs.iter().all(|run| run.samples.is_empty()) {
        return;
    }
    out.push_str("<section>\n<h2>Samples</h2>\n<p>What the model goes on with after a prompt, which is underlined.</p>\n");
    for run in runs.iter().filter(|run| !run.samples.is_empty()) {
        if runs.len() > 1 {
            let _ = writeln!(out, "<h3>{}</h3>", escape(&run.name));
        }
        let count = run.samples.len();
        let left_out = SAMPLES_AT_AN_END..count.saturating_sub(SAMPLES_AT_AN_END);
        for (number, sample) in run.samples.iter().enumerate() {
            if left_out.contains(&number) {
                if number == left_out.start {
                    let _ = writeln!(
                        out,
                        "<p class=\"note\">{} more are in the run's samples.jsonl.</p>",
                        left_out.len()
                    );
                }
                continue;
            }
            let open = if number + 1 == count { " open" } else { "" };
            let _ = writeln!(
                out,
                "<details{open}><summary><span class=\"name\">after step {}</span><span class=\"prompt\">{}</span></summary><pre><u>{}</u>{}</pre></details>",
                sample.step,
                escape(&shortened(&sample.prompt)),
                escape(&sample.prompt),
                escape(&sample.text)
            );
        }
    }
    out.push_str("</section>\n");
}

/// The beginning of a prompt's first line.
fn shortened(prompt: &str) -> String {
    const MOST: usize = 40;
    let line = prompt.lines().next().unwrap_or_default();
    match line.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

pub(super) fn configurations(out: &mut String, runs: &[ReportedRun]) -> Result<()> {
    out.push_str("<section>\n<h2>Configuration</h2>\n");
    if let [first, others @ ..] = runs {
        for other in others {
            let keys = other.config.differences(&first.config)?;
            let what = if keys.is_empty() {
                "configured as".to_owned()
            } else {
                format!("other {} than", keys.join(", "))
            };
            let _ = writeln!(
                out,
                "<p>{}: {} {}.</p>",
                escape(&other.name),
                escape(&what),
                escape(&first.name)
            );
        }
    }
    for run in runs {
        let _ = writeln!(
            out,
            "<details><summary><span class=\"name\">{}</span></summary><pre>{}</pre></details>",
            escape(&run.name),
            escape(&run.config.to_toml()?)
        );
    }
    out.push_str("</section>\n");
    Ok(())
}

/// Text as it stands in HTML. Control characters, which HTML has no way to write, become the sign for what cannot be shown.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            other if other.is_control() => out.push('\u{fffd}'),
            // What turns the direction of the text that follows must not reach beyond its own.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        assert_eq!(
            escape("<script>alert('x' & \"y\")</script>\u{0}\u{202e}é\n"),
            "&lt;script&gt;alert(&#39;x&#39; &amp; &quot;y&quot;)&lt;/script&gt;\u{fffd}\u{fffd}é\n"
        );
    }
}
