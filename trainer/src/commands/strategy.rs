//! `andromeda-train strategy`: the stages of a strategy, one run each, begun or gone on with; after each stage a table of what is
//! learnt so far, and the gates.

use std::path::{Path, PathBuf};

use andromeda_trainer::build::{self, OpenBuild, Part};
use andromeda_trainer::checkpoint::{self, State};
use andromeda_trainer::config::RunConfig;
use andromeda_trainer::data::Source;
use andromeda_trainer::device::{OnBackend, on_device};
use andromeda_trainer::error::{Error, Result};
use andromeda_trainer::eval::evaluate;
use andromeda_trainer::history::last_value;
use andromeda_trainer::model::ModelConfig;
use andromeda_trainer::ops::Backend;
use andromeda_trainer::origin::{self, Beginning};
use andromeda_trainer::run::Run;
use andromeda_trainer::strategy::{Carry, Stage, Strategy};
use serde::Serialize;

use super::{folder_of, load_model, newest, run};
use crate::cli::{StrategyArgs, WorkersArgs};
use crate::render;

/// What the stages' own evaluations may have measured besides losses.
const JUDGED: [&str; 2] = ["preference_accuracy", "ranking"];

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
    on: String,
    /// Nats per trained token.
    validation_loss: f64,
    /// Bits per byte of text.
    bits_per_byte: f64,
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
    /// What its last evaluation judged: the part of the pairs told apart, the ranking of steps.
    pub(crate) judged: Vec<(String, f64)>,
}

impl StageReport {
    /// What was measured on the build of `stage`: loss, bits per byte.
    pub(crate) fn on(&self, stage: &str) -> Option<(f64, f64)> {
        let measure = self.measures.iter().find(|measure| measure.on == stage)?;
        Some((measure.validation_loss, measure.bits_per_byte))
    }
}

pub(crate) fn strategy(arguments: &StrategyArgs) -> Result<()> {
    let strategy = Strategy::read(
        &arguments.strategy,
        arguments.size.as_deref(),
        &arguments.overrides,
    )?;
    let planned = plan(arguments, &strategy)?;
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
        reports.push(measure(stage, &planned)?);
        if json {
            render::json(&reports[at])?;
        } else {
            let names: Vec<&str> = planned.iter().map(|p| p.stage.name.as_str()).collect();
            render::stages(&reports, &names)?;
        }
        pass(stage)?;
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
            measures.push(Measure {
                on: stage.stage.name.clone(),
                validation_loss: evaluation.validation_loss,
                bits_per_byte: evaluation.bits_per_byte,
            });
        }
        Ok(measures)
    }
}

/// Measures a finished stage on the builds of all.
fn measure(stage: &Planned<'_>, planned: &[Planned<'_>]) -> Result<StageReport> {
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
    let mut judged = Vec::new();
    for metric in JUDGED {
        if let Some(value) = last_value(&stage.folder, metric)? {
            judged.push((metric.to_owned(), value));
        }
    }
    Ok(StageReport {
        stage: stage.stage.name.clone(),
        run: stage.stage.run.clone(),
        step: state.step,
        root: state.root.clone(),
        measures,
        judged,
    })
}

/// Whether a stage reached what it must.
fn pass(stage: &Planned<'_>) -> Result<()> {
    let mut refusals = Vec::new();
    for gate in &stage.stage.gates {
        let value = last_value(&stage.folder, &gate.metric)?;
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
