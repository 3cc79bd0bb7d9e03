//! `andromeda quality`.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::texts::{self, Fields};
use super::{grouped, print, print_json, say, table};
use crate::classify::train::{Example, TrainOptions, train as train_model};
use crate::classify::{Classifier, Scratch};
use crate::digest::Digest;

/// The label of good texts, as DCLM calls it.
const GOOD: &str = "hq";
/// The label of the others.
const BAD: &str = "cc";

/// Trains a classifier of good and bad texts, and says how it does on some that it did not see.
pub(super) fn train(
    good: &[PathBuf],
    bad: &[PathBuf],
    text: &str,
    out: &Path,
    options: &TrainOptions,
    as_json: bool,
) -> anyhow::Result<()> {
    let mut examples = Vec::new();
    for (label, inputs) in [(GOOD, good), (BAD, bad)] {
        let fields = Fields {
            id: "id",
            text,
            other: None,
        };
        texts::each(inputs, &fields, &mut |row| {
            examples.push(Example {
                label: label.to_owned(),
                text: row.text,
            });
            Ok(())
        })?;
    }
    let (model, held_out) = train_model(&examples, GOOD, options, &mut |epoch, loss| {
        say(format!(
            "epoch {epoch} of {}: loss {loss:.4}",
            options.epochs
        ));
    })?;
    let bytes = model.to_bytes().ok_or_else(|| {
        anyhow::anyhow!("the model has more words than its format can number: raise --min-count")
    })?;
    andromeda_format::write_atomic(out, &bytes)?;
    let sha256 = Digest::of(&bytes).hex();
    if as_json {
        return print_json(&json!({
            "file": out, "bytes": bytes.len(), "sha256": sha256, "texts": examples.len(), "options": options, "held_out": held_out,
        }));
    }
    say(format!(
        "{} texts, {} of them held out: {:.2} % right, area under the curve {:.4}, scores off by {:.3} on average",
        grouped(examples.len() as u64),
        grouped(held_out.texts as u64),
        100.0 * held_out.accuracy,
        held_out.area,
        held_out.calibration_error,
    ));
    let mut lines = Vec::new();
    for (tenth, bin) in (0u8..)
        .zip(&held_out.calibration)
        .filter(|(_, bin)| bin.texts > 0)
    {
        let from = f64::from(tenth) / 10.0;
        lines.push(vec![
            format!("{from:.1} to {:.1}", from + 0.1),
            grouped(bin.texts as u64),
            format!("{:.3}", bin.predicted),
            format!("{:.3}", bin.observed),
        ]);
    }
    say(table(
        &["score", "held out", "mean score", "share that is good"],
        &lines,
    ));
    say(format!("sha256 {sha256}"));
    print(out.display())
}

/// Rows with id and score.
pub(super) fn score(
    inputs: &[PathBuf],
    id: &str,
    text: &str,
    model: &Path,
    label: &str,
) -> anyhow::Result<()> {
    let model = Classifier::open(&super::local(model, None)?)?;
    let label = model.label(label)?;
    let mut scratch = Scratch::default();
    let fields = Fields {
        id,
        text,
        other: None,
    };
    texts::each(inputs, &fields, &mut |row| {
        let score = model.probability(&row.text, label, &mut scratch);
        let score = (score.unwrap_or(0.0).clamp(0.0, 1.0) * 1e6).round() / 1e6;
        print_json(&json!({"id": row.id, "score": score}))
    })
}
