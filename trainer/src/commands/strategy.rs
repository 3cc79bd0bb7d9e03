//! `andromeda-train strategy`: the stages of a strategy, one run each, begun or gone on with; after each stage a table of what is
//! learnt so far, with the strategy's tasks, and the gates.

use std::path::{Path, PathBuf};

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::checkpoint::{self, State};
use andromeda_trainer::config::RunConfig;
use andromeda_trainer::data::Source;
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::eval::evaluate;
use andromeda_trainer::evaluation::evaluate::{self as tasks, Evaluated, Evaluating};
use andromeda_trainer::evaluation::respond::Drawing;
use andromeda_trainer::history::{last_object, last_value};
use andromeda_trainer::model::ModelConfig;
use andromeda_trainer::ops::Backend;
use andromeda_trainer::origin::{self, Beginning};
use andromeda_trainer::run::Run;
use andromeda_trainer::strategy::{Carry, EvaluationOptions, Stage, Strategy};
use serde::Serialize;

use super::evaluate::watched;
use super::{folder_of, load_model, newest, run};
use crate::cli::{StrategyArgs, WorkersArgs};
use crate::render;

/// What the stages' own evaluations may have measured besides losses, and the standard errors.
const JUDGED: [(&str, &str); 2] = [
    ("preference_accuracy", "preference_accuracy_error"),
    ("ranking", "ranking_error"),
];
/// Kind of the datasets whose loss is of answers alone.
const DIALOGUES: &str = "chat";

/// A stage and what it will be trained on, everything checked.
struct Planned<'a> {
    stage: &'a Stage,
    folder: PathBuf,
    build: PathBuf,
    opened: OpenBuild,
    config: RunConfig,
}

/// Loss and bits per byte of a model on the validation split of a stage's build.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Measure {
    /// The stage whose build it is.
    pub(crate) on: String,
    /// Nats per trained token.
    pub(crate) validation_loss: f64,
    /// Bits per byte of text.
    pub(crate) bits_per_byte: f64,
    /// Nats per trained token of its dialogues, which are the tokens of answers and their ends; none where it has none.
    pub(crate) answers_loss: Option<f64>,
}

/// What a stage's own objective judged at its end.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Judged {
    /// What: the part of the pairs told apart, the ranking of steps. 0.5 is chance.
    pub(crate) metric: String,
    /// Of this split.
    pub(crate) split: &'static str,
    /// Its value.
    pub(crate) value: f64,
    /// Its standard error.
    pub(crate) error: Option<f64>,
}

/// What stands in the table after a stage.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct StageReport {
    /// The stage.
    pub(crate) stage: String,
    /// Its run.
    run: String,
    /// Steps of it.
    step: u64,
    /// Root hash of its build.
    root: String,
    /// Of every build of the strategy.
    pub(crate) measures: Vec<Measure>,
    /// What its objective judged.
    pub(crate) judged: Vec<Judged>,
    /// What it made of the tasks.
    pub(crate) tasks: Vec<Evaluated>,
}

impl StageReport {
    /// The value of `TASK/METRIC`.
    fn of_task(&self, name: &str) -> Option<f64> {
        let (task, metric) = name.split_once('/')?;
        let of_task = self.tasks.iter().find(|of| of.score.task == task)?;
        let metrics = &of_task.score.metrics;
        metrics.iter().find(|of| of.metric == metric)?.value
    }
}

pub(crate) fn strategy(arguments: &StrategyArgs) -> Result<()> {
    let strategy = Strategy::read(
        &arguments.strategy,
        arguments.size.as_deref(),
        &arguments.overrides,
    )?;
    let planned = plan(arguments, &strategy)?;
    let asked = &strategy.evaluation;
    check(asked)?;
    let mut reports: Vec<StageReport> = Vec::with_capacity(planned.len());
    for (at, stage) in planned.iter().enumerate() {
        begin(stage, &planned)?;
        let json = arguments.folders.json;
        run::go(
            &stage.folder,
            &stage.build,
            &stage.opened,
            &stage.config,
            None,
            json,
            &WorkersArgs::alone(),
        )?;
        reports.push(measure(stage, &planned, asked)?);
        if json {
            render::json(&reports[at])?;
        } else {
            render::stages(&reports)?;
        }
        pass(stage, &reports[at])?;
    }
    Ok(())
}

/// Opens every build and resolves every configuration, before any work.
fn plan<'a>(arguments: &StrategyArgs, strategy: &'a Strategy) -> Result<Vec<Planned<'a>>> {
    let path = &arguments.strategy;
    let mut planned: Vec<Planned<'a>> = Vec::with_capacity(strategy.stages.len());
    for stage in &strategy.stages {
        let folder = folder_of(&arguments.folders.runs, &stage.run)?;
        let build = build_of(&arguments.folders.shards, stage, &folder)?;
        let opened = OpenBuild::open(&build)?;
        if let Some(first) = planned.first()
            && first.opened.tokenizer()? != opened.tokenizer()?
        {
            return Err(Error::Usage(format!(
                "{} and {} have different tokenizers, and one model learns from both\nhint: make them with the same tokenizer",
                first.build.display(),
                build.display()
            )));
        }
        let before: Option<&ModelConfig> = stage
            .from
            .and_then(|(from, _)| planned.get(from))
            .map(|from| &from.config.model);
        let config = match before {
            None => stage.config.resolve(opened.vocabulary(), path)?,
            Some(model) => stage
                .config
                .resolve_from(model, opened.vocabulary(), path)?,
        };
        if opened.reading(&config)?.training.sequences.sequences() == 0 {
            let tokens = config.data.sequence_tokens;
            return Err(Error::Usage(format!(
                "stage {}: {} has nothing to train on in sequences of {tokens} tokens\nhint: another data.sequence-tokens, or more data",
                stage.name,
                build.display()
            )));
        }
        planned.push(Planned {
            stage,
            folder,
            build,
            opened,
            config,
        });
    }
    Ok(planned)
}

/// That there are the tasks, and their evaluation sets.
fn check(asked: &EvaluationOptions) -> Result<()> {
    match tasks::asked(&asked.tasks, &asked.data, asked.limit) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::Usage(format!(
            "{error}\nhint: what a strategy asks is in its table [evaluation]; without any: --set evaluation.tasks=[]"
        ))),
    }
}

/// The build of a stage: the one that its run was begun on, else the folder it names, else the newest build of that name.
fn build_of(shards: &Path, stage: &Stage, folder: &Path) -> Result<PathBuf> {
    if folder.is_dir()
        && let Some((_, state)) = checkpoint::newest_valid(folder, |_, _| ())?
    {
        return build::with_root(shards, &state.root);
    }
    if stage.build.join("manifest.json").is_file() {
        return Ok(stage.build.clone());
    }
    build::newest_named(shards, &stage.build.to_string_lossy())
}

/// Gives the run of a stage its beginning, where it takes over from another.
fn begin(stage: &Planned<'_>, planned: &[Planned<'_>]) -> Result<()> {
    let Some((from, carry)) = stage.stage.from else {
        return Ok(());
    };
    let from = &planned[from];
    let runs = from.folder.parent().unwrap_or(Path::new("."));
    let source = run::source(runs, &from.stage.run, carry == Carry::Moments)?;
    let beginning = Beginning {
        run: &Run::lock(&stage.folder)?,
        config: &stage.config,
        root: stage.opened.root(),
        tokenizer: &stage.opened.tokenizer()?,
        end_of_text: stage.opened.end_of_text(),
    };
    origin::begin(beginning, &source)
}

/// A checkpoint and the validation splits that it is measured on.
struct Measuring<'a> {
    checkpoint: &'a Path,
    state: &'a State,
    sources: Vec<(&'a Planned<'a>, Source)>,
}

impl OnBackend for Measuring<'_> {
    type Output = Vec<Measure>;

    fn on<B: Backend>(self, backend: B) -> Result<Vec<Measure>> {
        let model = load_model(self.checkpoint, self.state, backend)?;
        let mut measures = Vec::with_capacity(self.sources.len());
        for (stage, mut source) in self.sources {
            if source.sequences.sequences() == 0 {
                continue;
            }
            let (most, data) = (stage.config.run.evaluation_sequences, &stage.config.data);
            let evaluation = evaluate(&model, &mut source, most, data)?;
            let datasets = &stage.opened.manifest().datasets;
            let dialogues = evaluation.datasets.iter().filter(|of| {
                let dataset = datasets.iter().find(|dataset| dataset.name == of.dataset);
                dataset.is_some_and(|dataset| dataset.kind == DIALOGUES)
            });
            let (mut nats, mut tokens) = (0.0, 0);
            for of in dialogues {
                nats += of.validation_loss * of.trained_tokens as f64;
                tokens += of.trained_tokens;
            }
            measures.push(Measure {
                on: stage.stage.name.clone(),
                validation_loss: evaluation.validation_loss,
                bits_per_byte: evaluation.bits_per_byte,
                answers_loss: (tokens > 0).then(|| nats / tokens as f64),
            });
        }
        Ok(measures)
    }
}

/// Measures a finished stage on the builds of all, and on the tasks.
fn measure(
    stage: &Planned<'_>,
    planned: &[Planned<'_>],
    asked: &EvaluationOptions,
) -> Result<StageReport> {
    let (checkpoint, state) = newest(&stage.folder)?;
    let mut sources = Vec::with_capacity(planned.len());
    let mut roots = Vec::new();
    for other in planned {
        // Stages that share a build share a column: that of the first of them.
        if roots.contains(&other.opened.root()) {
            continue;
        }
        roots.push(other.opened.root());
        let source = other.opened.source(Part::Validation, &other.config.data)?;
        sources.push((other, source));
    }
    let measuring = Measuring {
        checkpoint: &checkpoint,
        state: &state,
        sources,
    };
    let measures = on_device(&state.config.compute, measuring)?;
    let tasks = if asked.tasks.is_empty() {
        Vec::new()
    } else {
        let with_root = |root| {
            let found = planned.iter().find(|other| other.opened.root() == root);
            found.map(|other| &other.opened)
        };
        let builds: Vec<Option<&OpenBuild>> = state.roots().into_iter().map(with_root).collect();
        let evaluating = Evaluating {
            run: &stage.folder,
            checkpoint: &checkpoint,
            state: &state,
            builds: &builds,
            tasks: &asked.tasks,
            data: &asked.data,
            limit: asked.limit,
            drawing: &Drawing::default(),
            judge: None,
            // Programs are run where a person asks for it, and stages follow each other without one.
            executor: None,
        };
        watched(evaluating)?.tasks
    };
    Ok(StageReport {
        stage: stage.stage.name.clone(),
        run: stage.stage.run.clone(),
        step: state.step,
        root: state.root.clone(),
        measures,
        judged: judged(&stage.folder)?,
        tasks,
    })
}

/// What the objective of the run in `folder` judged last of the validation split, and of the test split.
fn judged(folder: &Path) -> Result<Vec<Judged>> {
    let mut judged = Vec::new();
    let test = last_object(folder, "test")?.unwrap_or_default();
    let of_test = |key: &str| test.get(key).and_then(serde_json::Value::as_f64);
    for (metric, error) in JUDGED {
        let found = [
            (
                Part::Validation,
                last_value(folder, metric)?,
                last_value(folder, error)?,
            ),
            (Part::Test, of_test(metric), of_test(error)),
        ];
        for (part, value, error) in found {
            judged.extend(value.map(|value| Judged {
                metric: metric.to_owned(),
                split: part.name(),
                value,
                error,
            }));
        }
    }
    Ok(judged)
}

/// Whether a stage reached what it must.
fn pass(stage: &Planned<'_>, report: &StageReport) -> Result<()> {
    let mut refusals = Vec::new();
    for gate in &stage.stage.gates {
        let value = match report.of_task(&gate.metric) {
            None => last_value(&stage.folder, &gate.metric)?,
            value => value,
        };
        refusals.extend(gate.refuses(value));
    }
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Error::Gate {
        stage: stage.stage.name.clone(),
        refusals: refusals.join("; "),
    })
}
