//! How a run is shown: a bar on a terminal, a line every few seconds elsewhere, or JSON lines on stdout. Data goes to stdout, talk to stderr.

pub(crate) mod ablate;
pub(crate) mod brief;
pub(crate) mod compare;
pub(crate) mod sweep;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

use crate::commands::strategy::StageReport;
use andromeda_trainer::bench::Bench;
use andromeda_trainer::config::Derived;
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::eval::Evaluation;
use andromeda_trainer::evaluation::execute::Ran;
use andromeda_trainer::evaluation::score::{MetricScore, TaskScore};
use andromeda_trainer::lr_find::{Point, Sweep};
use andromeda_trainer::memory;
use andromeda_trainer::objective::Judgement;
use andromeda_trainer::peak::Peak;
use andromeda_trainer::perplexity::Perplexity;
use andromeda_trainer::progress::{Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

/// Time between the lines of a run that no terminal shows.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Writes `value` to stdout as one line of JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(value).map_err(|error| to_stdout(error.into()))?;
    line(&text)
}

/// Writes a line to stdout.
pub(crate) fn line(text: &str) -> Result<()> {
    writeln!(stdout(), "{text}").map_err(to_stdout)
}

/// Writes a part of a line to stdout, to be seen at once.
pub(crate) fn piece(text: &str) -> Result<()> {
    let mut stdout = stdout().lock();
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(to_stdout)
}

/// Says something to whoever is there.
pub(crate) fn talk(text: &str) {
    // Nothing can be done if nobody listens any more.
    let _ = writeln!(stderr(), "{text}");
}

/// Writes a plan to stdout as a table.
pub(crate) fn plan(
    derived: &Derived,
    left_out: &[&str],
    available: Option<u64>,
    peak: Option<&Peak>,
) -> Result<()> {
    let row = |name: &str, value: String| line(&format!("{name:<22}{value:>16}"));
    row("parameters", counted(derived.parameters as f64))?;
    row("FLOPs a token", counted(derived.flops_per_token as f64))?;
    row("FLOPs in all", format!("{:.2e}", derived.total_flops))?;
    row("tokens a step", derived.tokens_per_step.to_string())?;
    row("steps", derived.steps.to_string())?;
    row("tokens", counted(derived.total_tokens as f64))?;
    row("epochs", format!("{:.2}", derived.epochs))?;
    for share in &derived.datasets {
        line(&format!("  {share}"))?;
    }
    if !left_out.is_empty() {
        line(&format!("  not trained on: {}", left_out.join(", ")))?;
    }
    match derived.workers {
        1 => row("memory", bytes(derived.memory_bytes))?,
        workers => {
            row("workers", workers.to_string())?;
            row("memory of each", bytes(derived.memory_bytes))?;
        }
    }
    for (name, part) in derived.memory.parts() {
        row(&format!("  {name}"), bytes(part))?;
    }
    let left = available.map_or_else(|| "not checked".to_owned(), bytes);
    row("the machine has left", left)?;
    let Some(peak) = peak else {
        return row("peak FLOP/s", "not known".to_owned());
    };
    row("peak FLOP/s", format!("{:.2e}", peak.flops_per_second))?;
    line(&format!("  {}", peak.basis))?;
    let seconds = derived.total_flops / peak.flops_per_second;
    row("time at the peak", duration(seconds))
}

/// Writes scores to stdout as a table, then what was skipped.
pub(crate) fn scores(scores: &[TaskScore], parts: bool) -> Result<()> {
    let width = scores
        .iter()
        .flat_map(|score| score.parts.keys().filter(|_| parts).map(String::len))
        .fold(14, usize::max);
    let names = scores.iter().flat_map(|score| &score.metrics);
    let wide = names.fold(32, |wide, metric| wide.max(metric.metric.chars().count()));
    line(&format!(
        "{:<width$} {:<11} {:<wide$} {:>9} {:>9} {:>9} {:>7}",
        "task", "rules", "metric", "value", "+-", "chance", "items"
    ))?;
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let row = |name: &str, score: &TaskScore, metric: &MetricScore| {
        line(&format!(
            "{name:<width$} {:<11} {:<wide$} {:>9} {:>9} {:>9} {:>7}",
            score.rules.name(),
            metric.metric,
            number(metric.value),
            number(metric.standard_error),
            number(metric.chance),
            metric.items
        ))
    };
    for score in scores {
        if score.metrics.is_empty() {
            line(&format!(
                "{:<width$} {:<11} not scored: its programs were not run; --execute-untrusted runs them",
                score.task,
                score.rules.name()
            ))?;
        }
        for metric in &score.metrics {
            row(&score.task, score, metric)?;
        }
        for (part, metrics) in score.parts.iter().filter(|_| parts) {
            for metric in metrics {
                row(part, score, metric)?;
            }
        }
        for (reason, items) in &score.skipped {
            line(&format!(
                "{:<width$} {items} items skipped: {reason}",
                score.task
            ))?;
        }
    }
    Ok(())
}

/// Writes what became of a task's programs to stdout.
pub(crate) fn programs(task: &str, ran: &Ran) -> Result<()> {
    let Ran {
        passed,
        failed,
        timed_out,
        blocked,
    } = ran;
    line(&format!(
        "{task:<14} of its programs {passed} passed, {failed} failed, {timed_out} took too long, {blocked} were killed for a system call"
    ))
}

/// Says a step of a sweep where somebody watches.
pub(crate) fn swept(point: &Point, steps: u64) {
    let mut stderr = stderr().lock();
    if stderr.is_terminal() {
        let (step, rate, loss) = (point.step, point.learning_rate, point.loss);
        let _ = write!(
            stderr,
            "\rstep {step}/{steps}  lr {rate:.2e}  loss {loss:.4}  "
        );
    }
}

/// Writes a sweep to stdout: every so manieth step as a table with bars, then what follows from it.
pub(crate) fn learning_rates(sweep: &Sweep) -> Result<()> {
    const ROWS: usize = 25;
    if stderr().is_terminal() {
        let _ = writeln!(stderr());
    }
    line("learning rate       loss   smoothed")?;
    let finite = sweep.points.iter().map(|point| point.smoothed_loss);
    let highest = finite.filter(|loss| loss.is_finite()).fold(0.0, f64::max);
    let every = sweep.points.len().div_ceil(ROWS).max(1);
    for point in sweep.points.iter().step_by(every) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "float casts saturate"
        )]
        let bar = (30.0 * point.smoothed_loss / highest) as usize;
        line(&format!(
            "{:>13.2e} {:>10.4} {:>10.4}  {}",
            point.learning_rate,
            point.loss,
            point.smoothed_loss,
            "#".repeat(bar.min(30))
        ))?;
    }
    if let Some(rate) = sweep.steepest {
        line(&format!("the smoothed loss fell most at {rate:.1e}"))?;
    }
    match sweep.suggestion {
        Some(rate) if sweep.ran_away => line(&format!(
            "suggestion: schedule.peak-learning-rate = {rate:.1e}, a tenth of the rate of the lowest loss"
        )),
        Some(rate) => line(&format!(
            "the loss did not run away: schedule.peak-learning-rate = {rate:.1e} or more; raise --last to know"
        )),
        None => line("no loss was a finite number: lower --first"),
    }
}

/// Writes what steps took to stdout as a table.
pub(crate) fn bench(bench: &Bench, peak: Option<&Peak>) -> Result<()> {
    let row = |name: &str, value: String| line(&format!("{name:<34}{value:>12}"));
    let memory = |known: Option<u64>| known.map_or_else(|| "not known".to_owned(), bytes);
    row("parameters", counted(bench.parameters as f64))?;
    row("tokens a step", bench.tokens_per_step.to_string())?;
    let seconds = bench.tokens_per_step as f64 / bench.tokens_per_second;
    row("seconds of the fastest step", format!("{seconds:.3}"))?;
    row("tokens/s", counted(bench.tokens_per_second))?;
    let rate = counted(bench.tokens_per_processor_second);
    row("tokens a processor second", rate)?;
    match (bench.mfu, peak) {
        (Some(mfu), Some(peak)) => {
            row("MFU", format!("{:.1} %", 100.0 * mfu))?;
            let flops = peak.flops_per_second;
            line(&format!("  of {flops:.2e} FLOP/s, {}", peak.basis))?;
        }
        _ => row("MFU", "not known".to_owned())?,
    }
    row("most memory", memory(bench.peak_memory_bytes))?;
    row("  estimated", bytes(bench.estimated_memory_bytes))?;
    for part in &bench.parts {
        let share = format!("{:.1} %", 100.0 * part.share);
        row(&format!("  {}", part.part.name()), share)?;
    }
    Ok(())
}

/// Says something where somebody may be reading.
pub(crate) fn say(text: &str) {
    // Nothing can be done if nobody listens any more.
    let _ = writeln!(stderr(), "{text}");
}

/// Writes what the stages of a strategy have learnt: a row a measure, a column a stage.
pub(crate) fn stages(reports: &[StageReport]) -> Result<()> {
    // In the order in which they first appear; cells by the number of the stage.
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    for (at, report) in reports.iter().enumerate() {
        for (name, cell) in cells(report) {
            let found = rows.iter().position(|(row, _)| *row == name);
            let row = found.unwrap_or_else(|| {
                rows.push((name, vec![String::new(); reports.len()]));
                rows.len() - 1
            });
            rows[row].1[at] = cell;
        }
    }
    let names = rows.iter().map(|(name, _)| name.chars().count());
    let width = names.fold("after".len(), usize::max);
    let wide = |cells: &mut dyn Iterator<Item = &str>| {
        cells.map(|cell| format!("{cell:>18}")).collect::<String>()
    };
    let stages = wide(&mut reports.iter().map(|report| report.stage.as_str()));
    line("")?;
    line(&format!("{:<width$}{stages}", "after"))?;
    for (name, cells) in &rows {
        let cells = wide(&mut cells.iter().map(String::as_str));
        line(format!("{name:<width$}{cells}").trim_end())?;
    }
    // Builds of later stages may say more of a task than those of earlier ones.
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for of in reports.last().iter().flat_map(|report| &report.tasks) {
        let shown = of.contamination.shown();
        known.entry(shown).or_default().insert(&of.score.task);
    }
    // What is the same after several stages is said once.
    let mut said: BTreeMap<(&str, String), Vec<&str>> = BTreeMap::new();
    for report in reports {
        for of in &report.tasks {
            let mut note = |what| {
                let stages = said.entry((&of.score.task, what)).or_default();
                stages.push(&report.stage);
            };
            for (reason, items) in &of.score.skipped {
                note(format!("{items} items skipped: {reason}"));
            }
            if of.truncated > 0 {
                note(format!(
                    "{} of {} requests are longer than the model's context and lost their beginning",
                    of.truncated, of.requests
                ));
            }
        }
    }
    for (shown, tasks) in known {
        let tasks: Vec<&str> = tasks.into_iter().collect();
        line(&format!("{}: {shown}", tasks.join(", ")))?;
    }
    for ((task, what), stages) in said {
        if stages.len() == reports.len() {
            line(&format!("{task}: {what}"))?;
        } else {
            line(&format!("{task}, after {}: {what}", stages.join(" and ")))?;
        }
    }
    Ok(())
}

/// What a stage has in the table: names of measures and their values.
fn cells(report: &StageReport) -> Vec<(String, String)> {
    let mut cells = Vec::new();
    for measure in &report.measures {
        let on = &measure.on;
        cells.push((
            format!("{on}'s build: nats a token"),
            format!("{:.4}", measure.validation_loss),
        ));
        cells.push((
            format!("{on}'s build: bits a byte"),
            format!("{:.4}", measure.bits_per_byte),
        ));
        cells.extend(measure.answers_loss.map(|loss| {
            let name = format!("{on}'s build: nats a token of answers");
            (name, format!("{loss:.4}"))
        }));
    }
    let with = |value: f64, error: Option<f64>| match error {
        Some(error) => format!("{value:.4} +- {error:.4}"),
        None => format!("{value:.4}"),
    };
    for judged in &report.judged {
        let name = format!("{} ({}), chance 0.5", judged.metric, judged.split);
        cells.push((name, with(judged.value, judged.error)));
    }
    for of in &report.tasks {
        for metric in &of.score.metrics {
            let rules = of.score.rules.name();
            let mut name = format!("{} {} ({rules})", of.score.task, metric.metric);
            if let Some(chance) = metric.chance {
                name.push_str(&format!(", chance {chance:.4}"));
            }
            let value = metric.value;
            let value = value.map(|value| with(value, metric.standard_error));
            cells.push((name, value.unwrap_or_else(|| "-".to_owned())));
        }
    }
    cells
}

/// A judgement as a part of a line.
fn judged(judgement: &Judgement) -> String {
    match judgement {
        Judgement::Preference(figures) => format!(
            "{} pairs: {:.1} % +- {:.1} told apart, loss {:.4}, margin {:.4}",
            figures.pairs,
            100.0 * figures.preference_accuracy,
            100.0 * figures.preference_accuracy_error,
            figures.preference_loss,
            figures.margin
        ),
        Judgement::Process(figures) => {
            let steps = figures.right_steps + figures.wrong_steps;
            let ranking = match (figures.ranking, figures.ranking_error) {
                (Some(ranking), Some(error)) => format!(
                    "a right one is above a wrong one {:.1} % +- {:.1} of the time",
                    100.0 * ranking,
                    100.0 * error
                ),
                _ => "all right or all wrong, so that there is no ranking".to_owned(),
            };
            format!("{steps} steps: {ranking}, loss {:.4}", figures.process_loss)
        }
    }
}

fn to_stdout(source: std::io::Error) -> Error {
    Error::Io {
        what: "writing to stdout".to_owned(),
        source,
    }
}

/// What suits where the output goes.
pub(crate) fn progress(json: bool) -> Box<dyn Progress> {
    if json {
        Box::new(Json)
    } else {
        Box::new(Talk {
            bar: stderr().is_terminal().then(ProgressBar::hidden),
            shown: None,
            began: None,
        })
    }
}

struct Json;

impl Progress for Json {
    fn report(&mut self, event: &Event<'_>) {
        // A reader that has gone must not stop the training.
        let _ = json(event);
    }
}

struct Talk {
    bar: Option<ProgressBar>,
    shown: Option<Instant>,
    /// When the first step of this process ended, and which it was.
    began: Option<(Instant, u64)>,
}

impl Talk {
    fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.suspend(|| drop(writeln!(stderr(), "{text}"))),
            _ => drop(writeln!(stderr(), "{text}")),
        }
    }

    fn remaining(&self, step: u64, steps: u64) -> String {
        match self.began {
            Some((began, first)) if step > first => {
                let seconds = began.elapsed().as_secs_f64() / (step - first) as f64
                    * steps.saturating_sub(step) as f64;
                format!("{} left", duration(seconds))
            }
            _ => String::new(),
        }
    }
}

impl Progress for Talk {
    fn report(&mut self, event: &Event<'_>) {
        match event {
            Event::Planned {
                run,
                build,
                root,
                config,
                derived,
                peak,
            } => {
                let text = config.to_toml().unwrap_or_default();
                self.say(&format!(
                    "run {} on build {} ({root})\n\n{text}",
                    run.display(),
                    build.display()
                ));
                self.say(&format!(
                    "{} parameters; {} tokens a step in {} micro-batches; {} steps = {} tokens = {:.2} epochs\n\
                     {} FLOP a token, {:.2e} in all; about {} of memory{}",
                    counted(derived.parameters as f64),
                    derived.tokens_per_step,
                    derived.micro_batches_per_step,
                    derived.steps,
                    counted(derived.total_tokens as f64),
                    derived.epochs,
                    counted(derived.flops_per_token as f64),
                    derived.total_flops,
                    bytes(derived.memory_bytes),
                    match derived.workers {
                        1 => String::new(),
                        workers => format!(" in each of {workers} workers"),
                    },
                ));
                for share in &derived.datasets {
                    self.say(&format!("  {share}"));
                }
                match peak {
                    Some(peak) => self.say(&format!(
                        "MFU is tokens/s x FLOP a token (attention counted causally) / {:.2e} FLOP/s ({})",
                        peak.flops_per_second, peak.basis
                    )),
                    None => self.say("MFU is not told: the peak of this device is not known\nhint: say it with compute.peak-flops"),
                }
                if let Some(bar) = &mut self.bar {
                    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
                    *bar = ProgressBar::new(derived.steps)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                }
            }
            Event::Resumed {
                checkpoint,
                step,
                position,
            } => {
                self.say(&format!(
                    "going on from {}: step {step}, position {position}",
                    checkpoint.display()
                ));
            }
            Event::Warned { message } => self.say(&format!("warning: {message}")),
            Event::Stepped { metrics, steps } => {
                if self.began.is_none() {
                    self.began = Some((Instant::now(), metrics.step));
                }
                let mfu = metrics.mfu.map(|mfu| format!("  MFU {:.1} %", 100.0 * mfu));
                let text = format!(
                    "loss {:.4}  lr {:.2e}  norm {:.2}  {} tokens/s{}  {}",
                    metrics.loss,
                    metrics.learning_rate,
                    metrics.gradient_norm,
                    counted(metrics.tokens_per_second),
                    mfu.unwrap_or_default(),
                    self.remaining(metrics.step, *steps)
                );
                if let Some(bar) = &self.bar {
                    bar.set_position(metrics.step);
                    bar.set_message(text);
                } else if self
                    .shown
                    .is_none_or(|shown| shown.elapsed() >= BETWEEN_LINES)
                    || metrics.step == *steps
                {
                    self.shown = Some(Instant::now());
                    self.say(&format!("step {}/{steps}  {text}", metrics.step));
                }
            }
            Event::Evaluated { step, evaluation } => {
                let mut text = format!(
                    "step {step}: validation loss {:.4}, {:.4} bits per byte ({} sequences)",
                    evaluation.validation_loss, evaluation.bits_per_byte, evaluation.sequences
                );
                for of_dataset in of_datasets(evaluation) {
                    text.push('\n');
                    text.push_str(&of_dataset);
                }
                self.say(&text);
            }
            Event::Prepared { what, done, of } => {
                // A line now and then, and the last.
                if done == of || done.is_power_of_two() {
                    self.say(&format!("{what}: {done} of {of}"));
                }
            }
            Event::Judged {
                step,
                split,
                judgement,
            } => {
                self.say(&format!("step {step}, {split}: {}", judged(judgement)));
            }
            Event::Saved { checkpoint, .. } => self.say(&format!("saved {}", checkpoint.display())),
            Event::Finished { step, tokens, .. } => {
                if let Some(bar) = &self.bar {
                    bar.finish_and_clear();
                }
                self.say(&format!(
                    "finished: {step} steps, {} tokens",
                    counted(*tokens as f64)
                ));
            }
            Event::Sampled { step, prompt, text } => {
                self.say(&format!("step {step}, a sample:"));
                let show = || drop(line(&format!("{prompt}{text}")));
                match &self.bar {
                    Some(bar) if !bar.is_hidden() => bar.suspend(show),
                    _ => show(),
                }
            }
        }
    }
}

/// A line for each dataset of an evaluation, where there are several.
pub(crate) fn of_datasets(evaluation: &Evaluation) -> Vec<String> {
    let datasets = &evaluation.datasets;
    if datasets.len() < 2 {
        return Vec::new();
    }
    let names = datasets.iter().map(|of| of.dataset.chars().count());
    let width = names.max().unwrap_or(0);
    let line = datasets.iter().map(|of| {
        format!(
            "  {:<width$}  {:.4} nats per token  {:.4} bits per byte  {} tokens",
            of.dataset, of.validation_loss, of.bits_per_byte, of.trained_tokens
        )
    });
    line.collect()
}

/// Perplexities as a part of a line.
pub(crate) fn perplexity(of: &Perplexity) -> String {
    let word = match of.word {
        Some(word) => format!("{word:.4} a word ({} of them)", of.words),
        None => "no word".to_owned(),
    };
    format!("{:.4} a token, {word}, {:.4} a byte", of.token, of.byte)
}

/// A line of text of which a terminal does nothing but show it.
pub(crate) fn safe(text: &str) -> String {
    let shown = |c: char| match c {
        '\t' => c,
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(shown).collect()
}

fn counted(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2}B", v / 1e9),
        v if v >= 1e6 => format!("{:.2}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

fn bytes(value: u64) -> String {
    memory::shown(value, 0)
}

fn duration(seconds: f64) -> String {
    // Saturating: an estimate after one slow step can be anything.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "float casts saturate"
    )]
    let whole = seconds as u64;
    format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
}
