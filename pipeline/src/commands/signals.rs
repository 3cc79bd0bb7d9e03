//! `andromeda signals` and `andromeda tune`.

use std::path::Path;

use super::{grouped, megabytes, print, print_json, table};
use crate::analysis::signals::{SIGNALS, Signal};
use crate::cli::TuneArgs;
use crate::exit::Usage;
use crate::filter::thresholds::{Side, THRESHOLDS, Threshold};
use crate::report::signals::{self, QUANTILES};
use crate::report::tune::{self, Limit, Near, Share, TuneOptions};
use crate::screen::safe;
use crate::written::nearest;

/// Prints the statistics that there are.
pub(super) fn list(as_json: bool) -> anyhow::Result<()> {
    if as_json {
        return SIGNALS.iter().try_for_each(|signal| {
            print_json(&serde_json::json!({
                "signal": signal.name, "about": signal.about, "source": signal.source, "column": signal.column(),
            }))
        });
    }
    let rows: Vec<Vec<String>> = SIGNALS
        .iter()
        .map(|signal| vec![signal.name.to_owned(), signal.about.to_owned()])
        .collect();
    print(table(&["signal", "what it is"], &rows))
}

/// Prints how a build's statistics are spread.
pub(super) fn spreads(folder: &Path, dataset: Option<&str>, as_json: bool) -> anyhow::Result<()> {
    check_dataset(folder, dataset)?;
    let there = of_build(folder)?;
    let mut rows = Vec::new();
    for signal in there {
        let spread = signals::spread(folder, signal, dataset)?;
        if as_json {
            print_json(&spread)?;
            continue;
        }
        let mut row = vec![
            signal.name.to_owned(),
            grouped(spread.documents),
            short(spread.mean),
        ];
        row.extend(spread.quantiles.iter().map(|value| short(*value)));
        rows.push(row);
    }
    if as_json {
        return Ok(());
    }
    let percents: Vec<String> = QUANTILES
        .iter()
        .map(|percent| format!("{percent} %"))
        .collect();
    let mut head = vec!["signal", "documents", "mean"];
    head.extend(percents.iter().map(String::as_str));
    print(table(&head, &rows))
}

fn of_build(folder: &Path) -> anyhow::Result<Vec<&'static Signal>> {
    let there = signals::of_build(folder)?;
    if there.is_empty() {
        return Err(Usage(format!(
            "{} has no statistics of its documents\n  hint: name some in its recipe, such as `[signals]` with `columns = [\"characters\", \"dclm-*\"]`, and build again; `andromeda signals --list` lists them",
            folder.display()
        ))
        .into());
    }
    Ok(there)
}

fn check_dataset(folder: &Path, dataset: Option<&str>) -> anyhow::Result<()> {
    let build = andromeda_format::Build::open(folder)?;
    let names: Vec<&str> = build
        .manifest()
        .datasets
        .iter()
        .map(|of| of.name.as_str())
        .collect();
    match dataset {
        Some(name) if !names.contains(&name) => Err(Usage(format!(
            "{} has no dataset `{name}`; it has {}",
            folder.display(),
            names.join(", ")
        ))
        .into()),
        _ => Ok(()),
    }
}

/// What is meant by a name: a threshold of a rule, or a statistic with a side.
fn meant(
    arguments: &TuneArgs,
) -> Result<(&'static Signal, Side, Option<&'static Threshold>), Usage> {
    let known = |name: &str| SIGNALS.iter().find(|signal| signal.name == name);
    if let Some(name) = &arguments.rule {
        let threshold = THRESHOLDS
            .iter()
            .find(|threshold| threshold.name() == *name);
        let Some(threshold) = threshold else {
            let names: Vec<String> = THRESHOLDS.iter().map(Threshold::name).collect();
            let hint = match nearest(name, names.iter().map(String::as_str)) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("there are {}", names.join(", ")),
            };
            return Err(Usage(format!(
                "no threshold of a rule is called `{name}`: {hint}"
            )));
        };
        let signal = known(threshold.signal)
            .ok_or_else(|| Usage(format!("`{name}` bounds no statistic")))?;
        match (threshold.side, arguments.min, arguments.max) {
            (Side::Max, Some(_), _) => {
                return Err(Usage(format!("`{name}` is a maximum: say --max VALUE")));
            }
            (Side::Min, _, Some(_)) => {
                return Err(Usage(format!("`{name}` is a minimum: say --min VALUE")));
            }
            _ => {}
        }
        return Ok((signal, threshold.side, Some(threshold)));
    }
    let name = arguments.signal.as_deref().unwrap_or_default();
    let Some(signal) = known(name) else {
        let hint = nearest(name, SIGNALS.iter().map(|signal| signal.name));
        let hint = hint.map_or_else(
            || "`andromeda signals --list` lists them".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        return Err(Usage(format!("no signal is called `{name}`: {hint}")));
    };
    let side = match (arguments.min, arguments.max, arguments.keep_largest) {
        (Some(_), ..) | (_, _, true) => Side::Min,
        _ => Side::Max,
    };
    Ok((signal, side, None))
}

/// Prints what a threshold would drop.
pub(super) fn tune(
    folder: &Path,
    work: &Path,
    arguments: &TuneArgs,
    as_json: bool,
) -> anyhow::Result<()> {
    check_dataset(folder, arguments.dataset.as_deref())?;
    let (signal, side, threshold) = meant(arguments)?;
    let there = of_build(folder)?;
    if there.iter().all(|other| other.name != signal.name) {
        let names: Vec<&str> = there.iter().map(|signal| signal.name).collect();
        return Err(Usage(format!(
            "{} has no column of {}; it has {}\n  hint: add it to `[signals] columns` of the recipe and build again",
            folder.display(),
            signal.name,
            names.join(", ")
        ))
        .into());
    }
    let value = match side {
        Side::Min => arguments.min,
        Side::Max => arguments.max,
    };
    let limit = match (
        arguments.keep,
        value,
        threshold.and_then(|threshold| threshold.published()),
    ) {
        (Some(share), ..) => Limit::Keep(share),
        (None, Some(value), _) => Limit::Value(value),
        (None, None, Some(published)) => Limit::Value(published),
        (None, None, None) => {
            let flag = if side == Side::Min { "--min" } else { "--max" };
            return Err(Usage(format!(
                "say where the threshold is: {flag} VALUE, or --keep SHARE"
            ))
            .into());
        }
    };
    let found = tune::tune(
        folder,
        work,
        &TuneOptions {
            signal,
            side,
            limit,
            dataset: arguments.dataset.clone(),
            samples: arguments.samples,
            characters: arguments.characters,
        },
    )?;
    if as_json {
        return print_json(&found);
    }
    let sign = if side == Side::Min { "below" } else { "above" };
    print(format!(
        "{} ({}): documents {sign} {} go",
        signal.name,
        signal.about,
        short(found.limit)
    ))?;
    if let Some(threshold) = threshold {
        print(format!(
            "in a recipe: [profile.NAME.\"{}\"] {} = {}",
            threshold.table, threshold.key, found.limit
        ))?;
    }
    let mut rows = vec![row("all", &found.all)];
    if found.datasets.len() > 1 {
        rows.extend(found.datasets.iter().map(|(name, share)| row(name, share)));
    }
    print(format!(
        "\n{}",
        table(
            &[
                "documents of",
                "documents",
                "would go",
                "share",
                "text",
                "would go",
                "share"
            ],
            &rows
        )
    ))?;
    let rows: Vec<Vec<String>> = found
        .fates
        .iter()
        .map(|(name, share)| row(name, share))
        .collect();
    print(format!(
        "\n{}",
        table(
            &[
                "in the build",
                "documents",
                "would go",
                "share",
                "text",
                "would go",
                "share"
            ],
            &rows
        )
    ))?;
    for Near {
        id,
        value,
        goes,
        fate,
        text,
    } in &found.samples
    {
        let what = if *goes { "would go" } else { "would stay" };
        print(format!(
            "\n── {what} · {} {} · {} · {} ──",
            signal.name,
            short(*value),
            safe(id),
            safe(fate)
        ))?;
        let text = text.as_deref().unwrap_or("(its text is not at hand)");
        print(safe(text))?;
    }
    Ok(())
}

fn row(name: &str, share: &Share) -> Vec<String> {
    let percent =
        |part: u64, whole: u64| format!("{:.2} %", 100.0 * part as f64 / whole.max(1) as f64);
    vec![
        safe(name),
        grouped(share.documents),
        grouped(share.dropped_documents),
        percent(share.dropped_documents, share.documents),
        megabytes(share.bytes),
        megabytes(share.dropped_bytes),
        percent(share.dropped_bytes, share.bytes),
    ]
}

/// A statistic with as many digits as are read.
fn short(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        format!("{value}")
    } else {
        format!("{value:.4}")
    }
}
