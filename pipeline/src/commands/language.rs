//! `andromeda language`.

use std::path::{Path, PathBuf};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::texts::{self, Fields};
use super::{grouped, print, print_json, say, table};
use crate::classify::{self, Classifier};
use crate::exit::Usage;
use crate::language::measure::Measured;
use crate::language::train::{Corpus, TrainOptions};
use crate::language::{Identifier, Scratch};

/// The model in the program, one of its format by path, or fastText's.
enum Model {
    Own(Box<Identifier>),
    FastText(Box<Classifier>),
}

impl Model {
    fn open(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(file) = file else {
            return Ok(Self::Own(Box::new(Identifier::embedded().clone())));
        };
        let file = &super::local(file, None)?;
        let bytes = fs_err::read(file)?;
        Ok(match Identifier::read(&bytes) {
            Ok(own) => Self::Own(Box::new(own)),
            Err(crate::language::ModelError::Foreign) => {
                Self::FastText(Box::new(Classifier::open(file)?))
            }
            Err(damaged) => return Err(damaged.into()),
        })
    }

    fn identify(
        &self,
        text: &str,
        scratch: &mut (Scratch, classify::Scratch),
    ) -> Option<(&str, f64)> {
        match self {
            Self::Own(model) => {
                let guess = model.identify(text, &mut scratch.0)?;
                Some((guess.language, guess.score))
            }
            Self::FastText(model) => {
                let best = model.best(text, &mut scratch.1)?;
                Some((model.name(best.label), best.probability.min(1.0)))
            }
        }
    }
}

/// Rows with id, language and score.
pub(super) fn identify(
    inputs: &[PathBuf],
    id: &str,
    text: &str,
    model: Option<&Path>,
) -> anyhow::Result<()> {
    let model = Model::open(model)?;
    let mut scratch = Default::default();
    let fields = Fields {
        id,
        text,
        other: None,
    };
    texts::each(inputs, &fields, &mut |row| {
        let (language, score) = model.identify(&row.text, &mut scratch).unzip();
        let score = score.map(|score| (score * 1e6).round() / 1e6);
        print_json(&json!({"id": row.id, "language": language, "score": score}))
    })
}

/// How well and how fast texts of known language are told.
pub(super) fn measure(
    inputs: &[PathBuf],
    text: &str,
    label: &str,
    model: Option<&Path>,
    as_json: bool,
) -> anyhow::Result<()> {
    let model = Model::open(model)?;
    let mut rows = Vec::new();
    let fields = Fields {
        id: "id",
        text,
        other: Some(label),
    };
    texts::each(inputs, &fields, &mut |row| {
        if let Some(language) = row.other {
            rows.push((row.text, language));
        }
        Ok(())
    })?;
    if rows.is_empty() {
        return Err(Usage(format!("no row has a text and its language in the field `{label}`: name that field with --label")).into());
    }
    let mut scratch = Default::default();
    let mut measured = Measured::default();
    for (text, language) in &rows {
        measured.add(text, language, model.identify(text, &mut scratch));
    }
    // The best of several rounds: what else a machine does only makes it slower.
    let seconds = (0..5)
        .map(|_| {
            let start = cpu_seconds();
            for (text, _) in &rows {
                std::hint::black_box(model.identify(text, &mut scratch));
            }
            cpu_seconds() - start
        })
        .fold(f64::INFINITY, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "a rate need not be exact")]
    let rate = measured.bytes as f64 / seconds / 1e6;
    let all = measured.total(|_| true);
    if as_json {
        return print_json(&json!({
            "languages": measured.languages, "mistakes": measured.mistakes, "total": all, "percent": all.percent(),
            "scores": measured.scores, "calibration_error": measured.calibration_error(), "megabytes_per_cpu_second": rate,
        }));
    }
    let mut lines = Vec::new();
    for (language, right) in &measured.languages {
        let mut told: Vec<_> = measured
            .mistakes
            .get(language)
            .into_iter()
            .flatten()
            .collect();
        told.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let told: Vec<String> = told
            .iter()
            .take(4)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        lines.push(vec![
            language.clone(),
            grouped(right.texts),
            grouped(right.right),
            format!("{:.1}", right.percent()),
            told.join(", "),
        ]);
    }
    print(table(
        &["language", "texts", "right", "%", "told instead"],
        &lines,
    ))?;
    print(format!(
        "{:.2} % of {} texts; scores are off by {:.3} on average; {rate:.0} MB per CPU second",
        all.percent(),
        grouped(all.texts),
        measured.calibration_error()
    ))
}

/// Trains a model on texts of known language.
pub(super) fn train(
    inputs: &[PathBuf],
    text: &str,
    label: &str,
    out: &Path,
    options: &TrainOptions,
) -> anyhow::Result<()> {
    let mut corpus = Corpus::default();
    let fields = Fields {
        id: "set",
        text,
        other: Some(label),
    };
    texts::each(inputs, &fields, &mut |row| {
        if let Some(language) = row.other {
            corpus.add(&language, row.id.as_str().unwrap_or(""), &row.text);
        }
        Ok(())
    })?;
    let model = corpus.train(options, &mut |line| say(line))?;
    let bytes = model.write()?;
    andromeda_format::write_atomic(out, &bytes)?;
    say(format!(
        "{} bytes, {} languages",
        grouped(bytes.len() as u64),
        model.languages().len()
    ));
    print(out.display())
}

#[expect(clippy::cast_precision_loss, reason = "a clock's seconds are exact")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
