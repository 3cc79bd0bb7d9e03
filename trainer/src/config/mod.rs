//! The configuration of a run: what a person writes (strict TOML, everything optional) and what it means for a build (nothing
//! optional, checked, kept in the run folder and in every checkpoint). One section a file.

mod compute;
mod data;
mod derived;
mod loss;
mod model;
mod run;

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::objective::{Kind, ObjectiveOptions};
use crate::optimizer::OptimizerOptions;
use crate::sample::SampleOptions;
use crate::schedule::Schedule;

pub use compute::{ComputeOptions, DeviceName, Dtype};
pub use data::{Among, DataOptions};
pub use derived::{DatasetShare, Derived};
pub use loss::LossConfig;
pub use model::ModelOptions;
pub use run::{NonFinite, RunOptions};

/// A configuration as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WrittenConfig {
    /// The model.
    pub model: ModelOptions,
    /// The batches.
    pub data: DataOptions,
    /// What is learnt.
    pub objective: ObjectiveOptions,
    /// The loss.
    pub loss: LossConfig,
    /// The optimizer.
    pub optimizer: OptimizerOptions,
    /// The learning rate.
    pub schedule: Schedule,
    /// The run itself.
    pub run: RunOptions,
    /// The text printed at the end.
    pub sample: SampleOptions,
    /// Where and how to compute.
    pub compute: ComputeOptions,
}

/// A configuration as meant for one build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunConfig {
    /// The model.
    pub model: ModelConfig,
    /// The batches.
    pub data: DataOptions,
    /// What is learnt.
    #[serde(default)]
    pub objective: ObjectiveOptions,
    /// The loss.
    pub loss: LossConfig,
    /// The optimizer.
    pub optimizer: OptimizerOptions,
    /// The learning rate.
    pub schedule: Schedule,
    /// The run itself.
    pub run: RunOptions,
    /// The text printed at the end.
    pub sample: SampleOptions,
    /// Where and how to compute.
    pub compute: ComputeOptions,
}

impl WrittenConfig {
    /// Reads `path` and lays the `overrides` (`section.key=value`) over it.
    pub fn read(path: &Path, overrides: &[String]) -> Result<Self> {
        let text = fs_err::read_to_string(path).map_err(Error::io("reading the configuration"))?;
        Self::parse(&text, overrides).map_err(|problem| Error::Config {
            path: path.to_owned(),
            problem,
        })
    }

    /// The configuration of `text` with the `overrides` laid over it.
    pub(crate) fn parse(text: &str, overrides: &[String]) -> Result<Self, String> {
        // Errors of the file itself are reported from its own text, where they have a line and a caret.
        toml::from_str::<Self>(text).map_err(|error| error.to_string())?;
        let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        for assignment in overrides {
            let (key, value) = assignment
                .split_once('=')
                .ok_or_else(|| format!("--set {assignment}: expected section.key=value"))?;
            let (section, key) = key
                .split_once('.')
                .ok_or_else(|| format!("--set {assignment}: expected section.key=value"))?;
            let value = toml::from_str::<toml::Table>(&format!("value = {value}"))
                .ok()
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| toml::Value::String(value.to_owned()));
            let section = table
                .entry(section)
                .or_insert_with(|| toml::Value::Table(toml::Table::new()));
            match section {
                toml::Value::Table(section) => section.insert(key.to_owned(), value),
                _ => return Err(format!("--set {assignment}: not a section")),
            };
        }
        table
            .try_into()
            .map_err(|error: toml::de::Error| error.to_string())
    }

    /// What contradicts an objective that reads whole documents.
    fn of_documents(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.objective.kind.documents().is_none() {
            return problems;
        }
        if self.data.sequences_per_micro_batch != 1 {
            problems.push(format!(
                "data.sequences-per-micro-batch must be 1 where objective.kind is not \"next-token\", not {}: documents differ in length; data.micro-batches-per-step says how many make a step",
                self.data.sequences_per_micro_batch
            ));
        }
        if self.data.parts_per_step != 1 {
            problems.push(
                "data.parts-per-step must be 1 where objective.kind is not \"next-token\": one worker reads the documents"
                    .to_owned(),
            );
        }
        if !(self.data.weights.is_empty() && self.data.kinds.is_empty()) {
            problems.push(
                "data.weights and data.kinds have no meaning where objective.kind is not \"next-token\": all documents of its kind are read"
                    .to_owned(),
            );
        }
        let plain = self.loss.z_loss == 0.0 && self.loss.label_smoothing == 0.0;
        if self.objective.kind == Kind::Preference && !plain {
            problems.push(
                "loss.z-loss and loss.label-smoothing have no meaning with objective.kind = \"preference\"; there is objective.smoothing"
                    .to_owned(),
            );
        }
        problems
    }

    /// The configuration for a tokenizer of `vocabulary` tokens; `path` is for the error.
    pub fn resolve(&self, vocabulary: usize, path: &Path) -> Result<RunConfig> {
        self.resolved(vocabulary).map_err(|problems| Error::Config {
            path: path.to_owned(),
            problem: problems.join("; "),
        })
    }

    /// As [`WrittenConfig::resolve`] for a run that begins with the parameters of `model`: what is left out of `[model]` is that.
    pub fn resolve_from(
        &self,
        model: &ModelConfig,
        vocabulary: usize,
        path: &Path,
    ) -> Result<RunConfig> {
        let resolved = if self.model == ModelOptions::default() {
            self.resolved_with(Ok(*model))
        } else {
            self.resolved(vocabulary)
        };
        resolved
            .and_then(|config| config.with_parameters_of(model, vocabulary))
            .map_err(|problems| Error::Config {
                path: path.to_owned(),
                problem: problems.join("; "),
            })
    }

    fn resolved(&self, vocabulary: usize) -> Result<RunConfig, Vec<String>> {
        self.resolved_with(self.model.resolved(vocabulary))
    }

    fn resolved_with(
        &self,
        model: Result<ModelConfig, Vec<String>>,
    ) -> Result<RunConfig, Vec<String>> {
        let (model, mut problems) = match model {
            Ok(model) => (Some(model), Vec::new()),
            Err(problems) => (None, problems),
        };
        problems.extend(self.data.problems());
        problems.extend(self.objective.problems());
        problems.extend(self.of_documents());
        problems.extend(self.loss.problems());
        problems.extend(self.optimizer.problems());
        problems.extend(self.schedule.problems());
        problems.extend(self.run.problems());
        problems.extend(self.sample.problems());
        problems.extend(self.compute.problems());
        let Some(model) = model.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        Ok(RunConfig {
            model,
            data: self.data.clone(),
            objective: self.objective.clone(),
            loss: self.loss.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            run: self.run.clone(),
            sample: self.sample.clone(),
            compute: self.compute.clone(),
        })
    }
}

impl RunConfig {
    /// The configuration as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::Usage(format!("the configuration cannot be written: {error}")))
    }

    /// This configuration with rows of the vocabulary and first values as `model` has them, if nothing else of the model differs.
    fn with_parameters_of(
        mut self,
        model: &ModelConfig,
        vocabulary: usize,
    ) -> Result<Self, Vec<String>> {
        self.model.vocabulary = model.vocabulary;
        self.model.initial = model.initial;
        if model.vocabulary < vocabulary {
            return Err(vec![format!(
                "the run that is begun with has {} rows in its vocabulary, and the tokenizer has {vocabulary} tokens",
                model.vocabulary
            )]);
        }
        if self.model == *model {
            return Ok(self);
        }
        let other = Self {
            model: *model,
            ..self.clone()
        };
        let keys = self
            .differences(&other)
            .map_err(|error| vec![error.to_string()])?;
        Err(vec![format!(
            "the run that is begun with has other values of {}: leave [model] out, so that they are taken from there",
            keys.join(", ")
        )])
    }

    /// Names of the keys in which two configurations differ, as `section.key`, but for those that may change when a run is gone on
    /// with: what it prints, when it saves and is evaluated, and where it computes. The last may round in another way; nothing else
    /// that may change changes a bit of the parameters after a step, as long as all numbers are finite.
    ///
    /// # Errors
    /// A configuration is not to be written as TOML.
    pub fn differences(&self, other: &Self) -> Result<Vec<String>> {
        let table = |config: &Self| -> Result<toml::Table> {
            toml::Table::try_from(config).map_err(|error| {
                Error::Usage(format!("the configuration cannot be compared: {error}"))
            })
        };
        let (left, right) = (table(self)?, table(other)?);
        let mut keys = Vec::new();
        for (section, values) in &left {
            let (Some(values), Some(others)) = (
                values.as_table(),
                right.get(section).and_then(|v| v.as_table()),
            ) else {
                continue;
            };
            // A key that one of them leaves out is a difference too.
            let names: BTreeSet<&String> = values.keys().chain(others.keys()).collect();
            keys.extend(
                names
                    .into_iter()
                    .filter(|name| values.get(*name) != others.get(*name))
                    .filter(|name| !may_change(section, name))
                    .map(|name| format!("{section}.{name}")),
            );
        }
        Ok(keys)
    }
}

/// Whether a run may be gone on with under another value of `section.key`.
fn may_change(section: &str, key: &str) -> bool {
    match section {
        "compute" | "sample" => true,
        "run" => key != "seed",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Block, PRESETS, Positions, Preset};

    #[test]
    fn every_preset_resolves_and_fits_its_own_bounds() {
        for preset in PRESETS {
            let text = format!("[model]\npreset = \"{}\"", preset.name);
            let config = WrittenConfig::parse(&text, &[])
                .unwrap()
                .resolved(50_257)
                .unwrap();
            assert_eq!(config.model, preset.model(50_304));
            assert_eq!(
                toml::from_str::<RunConfig>(&config.to_toml().unwrap()).unwrap(),
                config
            );
        }
    }

    #[test]
    fn axes_lie_over_a_preset_or_a_family() {
        let model = |text: &str| {
            let text = format!("[model]\n{text}");
            WrittenConfig::parse(&text, &[])
                .unwrap()
                .resolved(100)
                .map(|config| config.model)
        };
        let palm = model("preset = \"palm-tiny\"\npositions = \"xpos\"\nkey-heads = 2").unwrap();
        assert_eq!(
            (palm.positions, palm.key_heads, palm.block),
            (Positions::Xpos, 2, Block::Parallel)
        );
        let mpt =
            model("family = \"mpt\"\nwidth = 24\nlayers = 1\nheads = 3\nhead-size = 8").unwrap();
        assert_eq!(
            (mpt.key_heads, mpt.feed_forward, mpt.positions),
            (3, 96, Positions::Alibi)
        );
        // As many key heads as heads stay so.
        assert_eq!(
            model("preset = \"mpt-tiny\"\nheads = 2").unwrap().key_heads,
            2
        );
        assert!(
            model("preset = \"mpt-tiny\"\nkey-heads = 3").unwrap_err()[0].contains("key-heads")
        );
        assert!(
            model("preset = \"mpt-tiny\"\nfamily = \"mpt\"").unwrap_err()[0].contains("family")
        );
    }

    #[test]
    fn unknown_keys_are_errors_with_their_line() {
        let error =
            WrittenConfig::parse("[model]\npreset = \"palm-tiny\"\nwidht = 3\n", &[]).unwrap_err();
        assert!(
            error.contains("line 3") && error.contains("widht"),
            "{error}"
        );
        let error = WrittenConfig::parse("", &["schedule.step=3".to_owned()]).unwrap_err();
        assert!(error.contains("step"), "{error}");
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[model]\npreset = \"palm-tiny\"\nhead-size = 3\n[data]\nsequence-tokens = 0\n[optimizer]\nbeta1 = 1.0\n[run]\nkeep-checkpoints = 0";
        let problems = WrittenConfig::parse(text, &[])
            .unwrap()
            .resolved(100)
            .unwrap_err();
        assert_eq!(problems.len(), 4, "{problems:?}");
        assert!(
            WrittenConfig::parse("", &[])
                .unwrap()
                .resolved(100)
                .unwrap_err()[0]
                .contains("model.width")
        );
    }

    #[test]
    fn what_a_run_begins_with_says_what_its_model_is() {
        let model = Preset::named("mpt-tiny").unwrap().model(256);
        let from = |text: &str, vocabulary| {
            let written = WrittenConfig::parse(text, &[]).unwrap();
            let resolved = written.resolve_from(&model, vocabulary, Path::new("x.toml"));
            resolved
                .map(|config| config.model)
                .map_err(|error| error.to_string())
        };
        assert_eq!(from("", 200), Ok(model));
        // Rows without a token are those of the source.
        assert_eq!(from("[model]\npreset = \"mpt-tiny\"", 100), Ok(model));
        let deeper = from("[model]\npreset = \"mpt-tiny\"\nlayers = 5", 200).unwrap_err();
        assert!(deeper.contains("other values of model.layers:"), "{deeper}");
        assert!(from("", 257).unwrap_err().contains("257 tokens"));
    }

    #[test]
    fn overrides_lie_over_the_file() {
        let overrides = [
            "schedule.steps=7".to_owned(),
            "model.preset=palm-150m".to_owned(),
        ];
        let config =
            WrittenConfig::parse("[schedule]\nsteps = 3\nwarmup-steps = 2", &overrides).unwrap();
        assert_eq!(
            (config.schedule.steps, config.schedule.warmup_steps),
            (7, 2)
        );
        assert_eq!(config.model.preset.as_deref(), Some("palm-150m"));
    }

    #[test]
    fn differences_name_their_keys() {
        let one = WrittenConfig::parse("[model]\npreset = \"palm-tiny\"", &[])
            .unwrap()
            .resolved(100)
            .unwrap();
        let mut other = one.clone();
        other.schedule.steps += 1;
        other.model.width += 1;
        other.run.seed += 1;
        assert_eq!(
            one.differences(&other).unwrap(),
            ["model.width", "run.seed", "schedule.steps"]
        );
        assert!(one.differences(&one).unwrap().is_empty());

        let mut weighted = one.clone();
        weighted.data.weights.insert("prose".to_owned(), 2);
        for (here, there) in [(&one, &weighted), (&weighted, &one)] {
            assert_eq!(here.differences(there).unwrap(), ["data.weights"]);
        }
    }

    #[test]
    fn what_leaves_the_parameters_alone_is_no_difference() {
        let config = |text: &str| {
            WrittenConfig::parse(&format!("[model]\npreset = \"palm-tiny\"\n{text}"), &[])
                .unwrap()
                .resolved(100)
                .unwrap()
        };
        let one = config("");
        for text in [
            "[compute]\nrecompute = true",
            "[sample]\nprompt = \"Once\"\ntokens = 7",
            "[run]\nsave-every-steps = 1\nkeep-checkpoints = 9",
            "[run]\nevaluate-every-steps = 1\nevaluation-sequences = 9",
            "[run]\nnon-finite = \"skip\"",
        ] {
            let other = config(text);
            assert_ne!(one, other, "{text}");
            assert!(one.differences(&other).unwrap().is_empty(), "{text}");
            assert!(other.differences(&one).unwrap().is_empty(), "{text}");
        }
    }
}
