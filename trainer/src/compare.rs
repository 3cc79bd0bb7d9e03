//! Runs held against each other on the same text and the same questions: `andromeda-train compare`.
//!
//! All runs read one split of one build, and what each makes of a document is set beside what the first run makes of it, so that errors
//! are those of paired differences ([`crate::evaluation::paired`]). A run is compared with the first one and with no other; with many
//! runs, one interval in twenty misses by chance alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::build::{self, OpenBuild, Part};
use crate::checkpoint::State;
use crate::data::DatasetPart;
use crate::error::{Error, Result};
use crate::evaluation::contamination::Contamination;
use crate::evaluation::evaluate::{self, Evaluating, TaskAnswers};
use crate::evaluation::paired::{Difference, of_clusters};
use crate::evaluation::respond::{self, Drawing};
use crate::evaluation::responses::Answer;
use crate::evaluation::score;
use crate::evaluation::task::Rules;
use crate::held_out::{DocumentLoss, losses_of_checkpoint};
use crate::run::tokenizer_path;

/// A run and the checkpoint that is compared.
#[derive(Debug, Clone)]
pub struct Compared {
    /// Name of the run.
    pub name: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Folder of the checkpoint.
    pub checkpoint: PathBuf,
    /// Its state.
    pub state: State,
}

/// Runs on one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LossComparison {
    /// Folder of the build.
    pub build: PathBuf,
    /// Its root hash.
    pub root: String,
    /// The split: `val` or `test`.
    pub split: &'static str,
    /// Documents of which all runs predict the same tokens.
    pub documents: usize,
    /// Tokens of them that carry loss.
    pub trained_tokens: u64,
    /// Documents of which they do not, where sequences of other lengths end: they count for none.
    pub left_out: usize,
    /// What makes the comparison less than it looks.
    pub notes: Vec<String>,
    /// The runs in the order they were named.
    pub runs: Vec<RunLoss>,
    /// The same of each dataset, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<DatasetComparison>,
}

/// Runs on the documents of a dataset.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DatasetComparison {
    /// Its name.
    pub dataset: String,
    /// Its documents.
    pub documents: usize,
    /// The runs in the order they were named.
    pub runs: Vec<RunLoss>,
}

/// A run on a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunLoss {
    /// The run.
    pub run: String,
    /// Steps of its checkpoint.
    pub step: u64,
    /// Tokens that it looks back at, at most.
    pub sequence_tokens: usize,
    /// Nats per trained token.
    pub validation_loss: f64,
    /// Its standard error, clustered by document; none of a single document.
    pub standard_error: Option<f64>,
    /// Bits per byte; none where the build knows no bytes.
    pub bits_per_byte: Option<f64>,
    /// How much higher the loss is than that of the first run; none of the first.
    pub difference: Option<Difference>,
    /// The same in bits per byte.
    pub difference_bits_per_byte: Option<Difference>,
}

/// Runs on the same questions, in one metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskComparison {
    /// The task.
    pub task: String,
    /// Whose prompt and parser it has.
    pub rules: Rules,
    /// The metric.
    pub metric: String,
    /// What guessing gives.
    pub chance: Option<f64>,
    /// Items that all runs answered.
    pub items: usize,
    /// The runs in the order they were named.
    pub runs: Vec<RunScore>,
}

/// A run in a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunScore {
    /// The run.
    pub run: String,
    /// Its value; none where it is not defined.
    pub value: Option<f64>,
    /// Its standard error.
    pub standard_error: Option<f64>,
    /// How much more it has than the first run; none of the first.
    pub difference: Option<Difference>,
    /// Whether rows of the benchmark are training data of the run's build.
    pub contaminated: bool,
}

/// Refuses runs whose tokenizer is not that of the build, all at once: losses of other tokens cannot be paired.
///
/// # Errors
/// There is one; or a tokenizer cannot be read.
pub fn check_tokenizers(runs: &[Compared], opened: &OpenBuild) -> Result<()> {
    let of_build = opened.tokenizer()?;
    let parsed = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    let mut others = Vec::new();
    for run in runs {
        let path = tokenizer_path(&run.folder);
        let own = fs_err::read(&path).map_err(Error::io("reading the run's tokenizer"))?;
        // Of one meaning, however it is laid out.
        let same =
            own == of_build || parsed(&own).is_some_and(|own| Some(own) == parsed(&of_build));
        if !same {
            others.push(format!(
                "the run {} has the tokenizer {}, the build {} has {}",
                run.name,
                digest(&own),
                opened.path().display(),
                digest(&of_build)
            ));
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{}\nhint: losses can be paired between runs of one tokenizer alone; of others, make builds of the same text with each tokenizer and set \
         the bits per byte of `andromeda-train eval RUN --build BUILD` side by side, or compare their answers: --tasks ... --tasks-only",
        others.join("\n")
    )))
}

/// The beginning of a file's SHA-256.
fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What is read of which build.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// The build.
    pub opened: &'a OpenBuild,
    /// The split: validation or test.
    pub part: Part,
    /// Tokens of it at most, from its beginning; without a number all of it.
    pub tokens: Option<u64>,
}

/// The losses of `runs` on the same `text`. `told` is told the run, how many sequences are read and of how many, and ends it with an
/// error of its own.
///
/// # Errors
/// A run has another tokenizer than the build; the split has no sequence as long as a run reads; something cannot be read.
pub fn losses(
    runs: &[Compared],
    text: Text<'_>,
    told: &mut dyn FnMut(&str, u64, u64) -> Result<()>,
) -> Result<LossComparison> {
    check_tokenizers(runs, text.opened)?;
    let split = text.part.name();
    let mut sources = Vec::with_capacity(runs.len());
    for run in runs {
        let data = &run.state.config.data;
        let source = text.opened.source(text.part, data)?;
        let most = text
            .tokens
            .map_or(u64::MAX, |most| most / data.sequence_tokens.max(1) as u64);
        if source.sequences.sequences().min(most) == 0 {
            return Err(Error::Usage(format!(
                "the {split} split of {} has no sequence of {} tokens, which the run {} reads\nhint: name another build with --build, or another split, or more --tokens",
                text.opened.path().display(),
                data.sequence_tokens,
                run.name
            )));
        }
        sources.push((source, most));
    }
    let mut of_runs = Vec::with_capacity(runs.len());
    for (run, (source, most)) in runs.iter().zip(&mut sources) {
        let mut told = |done, of| told(&run.name, done, of);
        let found = losses_of_checkpoint(&run.checkpoint, &run.state, source, *most, &mut told)?;
        of_runs.push(found);
    }
    let (common, left_out) = in_common(&of_runs);
    let parts = text.opened.parts(text.part);
    let all = |_: u32| true;
    let mut datasets = Vec::new();
    let named: BTreeSet<u32> = common
        .iter()
        .filter_map(|of| Some(of.first()?.dataset))
        .collect();
    if named.len() > 1 {
        for &number in &named {
            let only = |dataset: u32| dataset == number;
            let of_dataset = common.iter().filter(|of| of[0].dataset == number);
            datasets.push(DatasetComparison {
                dataset: part_of(&parts, number).map_or_else(String::new, |of| of.name.clone()),
                documents: of_dataset.count(),
                runs: run_losses(runs, &common, &parts, &only),
            });
        }
    }
    let trained = common.iter().map(|of| of[0].trained_tokens);
    Ok(LossComparison {
        build: text.opened.path().to_owned(),
        root: text.opened.root().to_owned(),
        split,
        documents: common.len(),
        trained_tokens: trained.sum(),
        left_out,
        notes: notes(runs, text.opened),
        runs: run_losses(runs, &common, &parts, &all),
        datasets,
    })
}

/// The documents of which all runs predicted the same tokens, each with what every run made of it; and how many others there are.
fn in_common(of_runs: &[Vec<DocumentLoss>]) -> (Vec<Vec<DocumentLoss>>, usize) {
    let mut documents: BTreeMap<u64, Vec<DocumentLoss>> = BTreeMap::new();
    for of_run in of_runs {
        for of in of_run.iter().filter(|of| of.trained_tokens > 0) {
            documents.entry(of.row).or_default().push(*of);
        }
    }
    let found = documents.len();
    let same = |of: &Vec<DocumentLoss>| {
        of.len() == of_runs.len()
            && of
                .iter()
                .all(|other| other.trained_tokens == of[0].trained_tokens)
    };
    let common: Vec<_> = documents.into_values().filter(same).collect();
    let left_out = found - common.len();
    (common, left_out)
}

fn part_of(parts: &[DatasetPart], dataset: u32) -> Option<&DatasetPart> {
    parts.get(usize::try_from(dataset).ok()?)
}

/// Bytes of the text behind so many tokens of a dataset: its bytes times their part of its tokens.
pub(crate) fn bytes_of(part: Option<&DatasetPart>, tokens: u64) -> f64 {
    part.map_or(0.0, |part| {
        part.text_bytes as f64 * tokens as f64 / part.tokens.max(1) as f64
    })
}

fn run_losses(
    runs: &[Compared],
    common: &[Vec<DocumentLoss>],
    parts: &[DatasetPart],
    wanted: &dyn Fn(u32) -> bool,
) -> Vec<RunLoss> {
    let common: Vec<&Vec<DocumentLoss>> = common
        .iter()
        .filter(|of| of.first().is_some_and(|of| wanted(of.dataset)))
        .collect();
    let tokens: Vec<f64> = common
        .iter()
        .map(|of| of[0].trained_tokens as f64)
        .collect();
    let bytes: Vec<f64> = common
        .iter()
        .map(|of| bytes_of(part_of(parts, of[0].dataset), of[0].trained_tokens))
        .collect();
    let known = !bytes.is_empty() && bytes.iter().all(|&bytes| bytes > 0.0);
    let of_run = |(number, run): (usize, &Compared)| {
        let nats: Vec<f64> = common.iter().map(|of| of[number].nats).collect();
        let less: Vec<f64> = common
            .iter()
            .map(|of| of[number].nats - of[0].nats)
            .collect();
        let own = of_clusters(&nats, &tokens);
        let in_bits = |totals: &[f64]| {
            known.then(|| of_clusters(totals, &bytes).times(std::f64::consts::LOG2_E))
        };
        RunLoss {
            run: run.name.clone(),
            step: run.state.step,
            sequence_tokens: run.state.config.data.sequence_tokens,
            validation_loss: own.value,
            standard_error: own.standard_error,
            bits_per_byte: in_bits(&nats).map(|bits| bits.value),
            difference: (number > 0).then(|| of_clusters(&less, &tokens)),
            difference_bits_per_byte: in_bits(&less).filter(|_| number > 0),
        }
    };
    runs.iter().enumerate().map(of_run).collect()
}

/// What makes a comparison of `runs` less than it looks.
fn notes(runs: &[Compared], opened: &OpenBuild) -> Vec<String> {
    let mut notes = Vec::new();
    let lengths: BTreeSet<usize> = runs
        .iter()
        .map(|run| run.state.config.data.sequence_tokens)
        .collect();
    if lengths.len() > 1 {
        let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
        notes.push(format!(
            "the runs look back at {} tokens, each in sequences as it was trained: more context is a part of the difference",
            lengths.join(" and ")
        ));
    }
    let elsewhere: Vec<&str> = runs
        .iter()
        .filter(|run| run.state.root != opened.root())
        .map(|run| run.name.as_str())
        .collect();
    if !elsewhere.is_empty() {
        notes.push(format!(
            "trained on another build, which may have trained on documents of this split: {}",
            elsewhere.join(", ")
        ));
    }
    notes
}

/// Which questions.
#[derive(Debug, Clone, Copy)]
pub struct Questions<'a> {
    /// Folder of builds, where those that the runs were trained on are looked for.
    pub shards: &'a Path,
    /// Names of tasks, or paths of files of some.
    pub tasks: &'a [String],
    /// Folder of evaluation sets.
    pub data: &'a Path,
    /// Only the first items of each part.
    pub limit: Option<usize>,
}

/// The scores of `runs` on the same questions, a comparison a task and metric. What a run answered before is found beside it.
///
/// # Errors
/// As [`evaluate::evaluate`].
pub fn tasks(
    runs: &[Compared],
    questions: Questions<'_>,
    told: &mut dyn FnMut(&str, &str, respond::Answered) -> Result<()>,
) -> Result<Vec<TaskComparison>> {
    let mut of_runs = Vec::with_capacity(runs.len());
    // The likeliest tokens, as they are asked for alone.
    let drawing = Drawing::default();
    for run in runs {
        let open = |root: &str| {
            let path = build::with_root(questions.shards, root).ok()?;
            OpenBuild::open(&path).ok()
        };
        let opened: Vec<Option<OpenBuild>> = run.state.roots().into_iter().map(open).collect();
        let builds: Vec<Option<&OpenBuild>> = opened.iter().map(Option::as_ref).collect();
        let evaluating = Evaluating {
            run: &run.folder,
            checkpoint: &run.checkpoint,
            state: &run.state,
            builds: &builds,
            tasks: questions.tasks,
            data: questions.data,
            limit: questions.limit,
            drawing: &drawing,
            judge: None,
            executor: None,
        };
        let mut told = |task: &str, answered| told(&run.name, task, answered);
        let answers = evaluate::answers(evaluating, &mut told)?;
        of_runs.push((run, opened, answers));
    }
    let mut comparisons = Vec::new();
    for task in 0..questions.tasks.len() {
        comparisons.extend(of_task(&of_runs, task));
    }
    Ok(comparisons)
}

/// A run, the builds that it was trained on where they are at hand, and its answers.
type RunAnswers<'a> = (&'a Compared, Vec<Option<OpenBuild>>, Vec<TaskAnswers>);

fn of_task(of_runs: &[RunAnswers<'_>], task: usize) -> Vec<TaskComparison> {
    let of_task: Vec<(&Compared, bool, &TaskAnswers)> = of_runs
        .iter()
        .filter_map(|(run, opened, answers)| {
            let answers = answers.get(task)?;
            let manifests = opened
                .iter()
                .map(|opened| opened.as_ref().map(OpenBuild::manifest));
            let contamination = Contamination::of(manifests, &answers.task.benchmark);
            Some((*run, contamination == Contamination::TrainedOn, answers))
        })
        .collect();
    let Some((_, _, first)) = of_task.first() else {
        return Vec::new();
    };
    let answered = |answers: &[Answer]| {
        let skipped = |answer: &Answer| matches!(answer, Answer::Skipped(_));
        !answers.iter().any(skipped)
    };
    let by_all: Vec<usize> = (0..first.items.len())
        .filter(|&item| {
            // The files may have changed since the first run read them.
            let by = |of: &TaskAnswers| {
                of.items.get(item) == first.items.get(item)
                    && of.answers.get(item).is_some_and(|of| answered(of))
            };
            of_task.iter().all(|(_, _, answers)| by(answers))
        })
        .collect();
    let values: Vec<Vec<score::ItemValues>> = of_task
        .iter()
        .map(|(_, _, of)| {
            let items = by_all.iter();
            let items: Vec<score::Answered<'_>> = items
                .map(|&item| (&of.items[item], of.answers[item].as_slice()))
                .collect();
            score::item_values(&of.task, &items)
        })
        .collect();
    let metrics = values.first().map_or(0, Vec::len);
    let of_metric = |metric: usize| {
        let own = &values[0][metric];
        let runs = of_task.iter().zip(&values).enumerate();
        let scores = runs.filter_map(|(number, ((run, contaminated, _), values))| {
            let values = values.get(metric)?;
            let score = values.score();
            Some(RunScore {
                run: run.name.clone(),
                value: score.value,
                standard_error: score.standard_error,
                difference: own.difference(values).filter(|_| number > 0),
                contaminated: *contaminated,
            })
        });
        TaskComparison {
            task: first.task.name.clone(),
            rules: first.task.rules,
            metric: own.metric.clone(),
            chance: own.chance,
            items: by_all.len(),
            runs: scores.collect(),
        }
    };
    (0..metrics).map(of_metric).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(row: u64, trained_tokens: u64, nats: f64) -> DocumentLoss {
        DocumentLoss {
            row,
            dataset: 0,
            nats,
            trained_tokens,
        }
    }

    #[test]
    fn a_document_counts_where_all_runs_predict_the_same_of_it() {
        let of_runs = [
            vec![of(3, 10, 20.0), of(1, 5, 9.0), of(7, 4, 8.0), of(8, 0, 0.0)],
            // Longer sequences end elsewhere: of the last one a part, of another one nothing.
            vec![of(3, 10, 18.0), of(1, 5, 9.5), of(7, 2, 4.0)],
        ];
        let (common, left_out) = in_common(&of_runs);
        let rows: Vec<u64> = common.iter().map(|of| of[0].row).collect();
        assert_eq!((rows, left_out), (vec![1, 3], 1));
        assert_eq!(common[1][1].nats, 18.0);
        assert_eq!(in_common(&[vec![], vec![of(1, 1, 1.0)]]), (vec![], 1));
    }
}
