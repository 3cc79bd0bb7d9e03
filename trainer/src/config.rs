//! The configuration of a run: what a person writes (strict TOML, everything optional) and what it means for a build (nothing
//! optional, checked, kept in the run folder and in every checkpoint).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Block, Family, Initial, Keep, ModelConfig, PRESETS, Positions, Preset};
use crate::ops::fused::chunk_rows;
use crate::ops::{Activation, LossOptions, Norm};
use crate::optimizer::OptimizerOptions;
use crate::sample::SampleOptions;
use crate::schedule::Schedule;

/// The vocabulary of a model is the tokenizer's rounded up to a multiple of this.
const VOCABULARY_MULTIPLE: usize = 64;

/// `[model]`: a preset, or a family and sizes, or either with some axes changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ModelOptions {
    /// Name of a preset.
    pub preset: Option<String>,
    /// What sizes without a preset are those of; `palm` where nothing is said.
    pub family: Option<Family>,
    /// d.
    pub width: Option<usize>,
    /// Blocks.
    pub layers: Option<usize>,
    /// Query heads.
    pub heads: Option<usize>,
    /// Key and value heads.
    pub key_heads: Option<usize>,
    /// Numbers of a head.
    pub head_size: Option<usize>,
    /// Numbers between the two maps of the feed-forward part; four times the width where nothing is said.
    pub feed_forward: Option<usize>,
    /// How attention and feed-forward stand in a block.
    pub block: Option<Block>,
    /// How a position is told.
    pub positions: Option<Positions>,
    /// How rows are normalized.
    pub norm: Option<Norm>,
    /// What stands between the two maps of the feed-forward part.
    pub activation: Option<Activation>,
    /// The first values.
    pub initial: Option<Initial>,
}

impl ModelOptions {
    /// The model for a tokenizer of `vocabulary` tokens.
    fn resolved(&self, vocabulary: usize) -> Result<ModelConfig, Vec<String>> {
        let preset = match &self.preset {
            None => None,
            Some(name) => match Preset::named(name) {
                None => {
                    let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
                    let names = names.join(", ");
                    return Err(vec![format!("model.preset {name:?} is none of {names}")]);
                }
                found => found,
            },
        };
        if preset.is_some() && self.family.is_some() {
            return Err(vec![
                "model.family is that of the preset: leave one of the two out".to_owned(),
            ]);
        }
        let vocabulary = vocabulary.next_multiple_of(VOCABULARY_MULTIPLE);
        let mut problems = Vec::new();
        let base = match preset {
            Some(preset) => preset.model(vocabulary),
            None => {
                let mut size = |name: &str, written: Option<usize>| {
                    written.unwrap_or_else(|| {
                        problems.push(format!(
                            "model.{name} is missing: give a preset or all of width, layers, heads, head-size"
                        ));
                        1
                    })
                };
                let [width, layers, heads, head_size] = [
                    size("width", self.width),
                    size("layers", self.layers),
                    size("heads", self.heads),
                    size("head-size", self.head_size),
                ];
                let family = self.family.unwrap_or(Family::Palm);
                family.model(vocabulary, width, layers, heads, head_size)
            }
        };
        let width = self.width.unwrap_or(base.width);
        let heads = self.heads.unwrap_or(base.heads);
        let all_heads = base.key_heads == base.heads && base.heads > 1;
        let model = ModelConfig {
            vocabulary,
            width,
            layers: self.layers.unwrap_or(base.layers),
            heads,
            key_heads: self
                .key_heads
                .unwrap_or(if all_heads { heads } else { base.key_heads }),
            head_size: self.head_size.unwrap_or(base.head_size),
            feed_forward: self.feed_forward.unwrap_or(4 * width),
            block: self.block.unwrap_or(base.block),
            positions: self.positions.unwrap_or(base.positions),
            norm: self.norm.unwrap_or(base.norm),
            activation: self.activation.unwrap_or(base.activation),
            initial: self.initial.unwrap_or(base.initial),
        };
        if problems.is_empty() {
            problems.extend(model.problems());
        }
        if problems.is_empty() {
            Ok(model)
        } else {
            Err(problems)
        }
    }
}

/// `[loss]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LossConfig {
    /// Weight of the square of the logarithm of the sum of exponentials; 1e-4 in `PaLM`.
    pub z_loss: f64,
    /// The part of a target's probability that is spread over the vocabulary.
    pub label_smoothing: f64,
}

impl LossConfig {
    /// The losses of a batch of so many trained tokens.
    pub fn scaled(&self, trained_tokens: u64) -> LossOptions {
        LossOptions {
            scale: 1.0 / trained_tokens.max(1) as f64,
            z_loss: self.z_loss,
            smoothing: self.label_smoothing,
        }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !(self.z_loss.is_finite() && self.z_loss >= 0.0) {
            problems.push(format!(
                "loss.z-loss must not be negative, not {}",
                self.z_loss
            ));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            problems.push(format!(
                "loss.label-smoothing must be at least 0 and below 1, not {}",
                self.label_smoothing
            ));
        }
        problems
    }
}

/// Where a run computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceName {
    /// The processor, with kernels of its own.
    #[default]
    Cpu,
    /// The processor, with candle's operations: slow, and what runs on other devices.
    Portable,
    /// The first NVIDIA GPU, with kernels of its own, in a program built with the feature `cuda`.
    Cuda,
    /// The first NVIDIA GPU with candle's operations: what those kernels are held against.
    CudaPortable,
    /// Apple's GPU, in a program built with the feature `metal`.
    Metal,
}

/// `[compute]`: what may change from one start of a run to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ComputeOptions {
    /// Where to compute.
    pub device: DeviceName,
    /// Whether products on a GPU may round their inputs to eleven bits of mantissa (TF32), which makes them several times as fast.
    pub tf32: bool,
    /// Whether blocks are computed again in the backward instead of kept: about a fifth of the memory of activations, for a sixth of
    /// the time. Changes no bit.
    pub recompute: bool,
}

impl ComputeOptions {
    /// What a forward pass keeps.
    pub const fn keep(&self) -> Keep {
        if self.recompute {
            Keep::Inputs
        } else {
            Keep::All
        }
    }
}

/// `[data]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct DataOptions {
    /// T: tokens of a sequence.
    pub sequence_tokens: usize,
    /// Sequences that go through the model at once.
    pub sequences_per_micro_batch: usize,
    /// Micro-batches whose gradients make one step.
    pub micro_batches_per_step: usize,
    /// Seed of the order of sequences.
    pub order_seed: u64,
    /// Whether attention stays within a document, so that the documents of a sequence do not see each other.
    pub stay_in_documents: bool,
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            sequence_tokens: 256,
            sequences_per_micro_batch: 8,
            micro_batches_per_step: 1,
            order_seed: 0,
            stay_in_documents: false,
        }
    }
}

impl DataOptions {
    /// Sequences of one step.
    pub fn sequences_per_step(&self) -> u64 {
        self.sequences_per_micro_batch as u64 * self.micro_batches_per_step as u64
    }

    /// Tokens of one step.
    pub fn tokens_per_step(&self) -> u64 {
        self.sequences_per_step() * self.sequence_tokens as u64
    }

    fn problems(&self) -> Vec<String> {
        let bounds = [
            ("data.sequence-tokens", self.sequence_tokens, 1 << 20),
            (
                "data.sequences-per-micro-batch",
                self.sequences_per_micro_batch,
                1 << 16,
            ),
            (
                "data.micro-batches-per-step",
                self.micro_batches_per_step,
                1 << 16,
            ),
        ];
        bounds
            .iter()
            .filter(|(_, value, most)| *value == 0 || value > most)
            .map(|(name, value, most)| format!("{name} must be between 1 and {most}, not {value}"))
            .collect()
    }
}

/// `[run]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RunOptions {
    /// Seed of the initial values.
    pub seed: u64,
    /// Steps between checkpoints; one is saved at the end and on a signal too.
    pub save_every_steps: u64,
    /// Valid checkpoints to keep.
    pub keep_checkpoints: usize,
    /// Steps between evaluations; one is made at the end too.
    pub evaluate_every_steps: u64,
    /// Sequences of the validation split that an evaluation in the loop reads, from its beginning.
    pub evaluation_sequences: u64,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            seed: 1337,
            save_every_steps: 500,
            keep_checkpoints: 3,
            evaluate_every_steps: 250,
            evaluation_sequences: 256,
        }
    }
}

impl RunOptions {
    fn problems(&self) -> Vec<String> {
        let zero = [
            ("run.save-every-steps", self.save_every_steps == 0),
            ("run.keep-checkpoints", self.keep_checkpoints == 0),
            ("run.evaluate-every-steps", self.evaluate_every_steps == 0),
            ("run.evaluation-sequences", self.evaluation_sequences == 0),
        ];
        zero.iter()
            .filter(|(_, is_zero)| *is_zero)
            .map(|(name, _)| format!("{name} must be at least 1"))
            .collect()
    }
}

/// A configuration as written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct WrittenConfig {
    /// The model.
    pub model: ModelOptions,
    /// The batches.
    pub data: DataOptions,
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

    fn parse(text: &str, overrides: &[String]) -> Result<Self, String> {
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

    /// The configuration for a tokenizer of `vocabulary` tokens; `path` is for the error.
    pub fn resolve(&self, vocabulary: usize, path: &Path) -> Result<RunConfig> {
        self.resolved(vocabulary).map_err(|problems| Error::Config {
            path: path.to_owned(),
            problem: problems.join("; "),
        })
    }

    fn resolved(&self, vocabulary: usize) -> Result<RunConfig, Vec<String>> {
        let (model, mut problems) = match self.model.resolved(vocabulary) {
            Ok(model) => (Some(model), Vec::new()),
            Err(problems) => (None, problems),
        };
        problems.extend(self.data.problems());
        problems.extend(self.loss.problems());
        problems.extend(self.optimizer.problems());
        problems.extend(self.schedule.problems());
        problems.extend(self.run.problems());
        problems.extend(self.sample.problems());
        let Some(model) = model.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        Ok(RunConfig {
            model,
            data: self.data.clone(),
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

    /// Names of the keys in which two configurations differ, as `section.key`, but for `[compute]`.
    pub fn differences(&self, other: &Self) -> Result<Vec<String>> {
        let table = |config: &Self| -> Result<toml::Table> {
            toml::Table::try_from(config).map_err(|error| {
                Error::Usage(format!("the configuration cannot be compared: {error}"))
            })
        };
        let (left, right) = (table(self)?, table(other)?);
        let mut keys = Vec::new();
        for (section, values) in left.iter().filter(|(section, _)| *section != "compute") {
            let (Some(values), Some(others)) = (
                values.as_table(),
                right.get(section).and_then(|v| v.as_table()),
            ) else {
                continue;
            };
            keys.extend(
                values
                    .iter()
                    .filter(|(key, value)| others.get(*key) != Some(value))
                    .map(|(key, _)| format!("{section}.{key}")),
            );
        }
        Ok(keys)
    }
}

/// The numbers that follow from a configuration and a build, said before the first step.
#[derive(Debug, Clone, Serialize)]
pub struct Derived {
    /// Parameters, the tied head counted once.
    pub parameters: u64,
    /// Sequences of a step.
    pub sequences_per_step: u64,
    /// Micro-batches of a step.
    pub micro_batches_per_step: u64,
    /// Tokens of a step.
    pub tokens_per_step: u64,
    /// Steps of the run.
    pub steps: u64,
    /// Tokens of the run.
    pub total_tokens: u64,
    /// Passes over the training split.
    pub epochs: f64,
    /// Operations of forward and backward a token, attention counted causally.
    pub flops_per_token: u64,
    /// Operations of the run.
    pub total_flops: f64,
    /// Estimate of the memory in bytes: parameters, gradients and moments, activations, a chunk of logits.
    pub memory_bytes: u64,
}

impl Derived {
    /// Derives the numbers for a training split of `sequences`.
    pub fn new(config: &RunConfig, sequences: u64) -> Self {
        let (model, data) = (&config.model, &config.data);
        let parameters = model.parameters();
        let total_tokens = config.schedule.steps.saturating_mul(data.tokens_per_step());
        let flops_per_token = model.flops_per_token(data.sequence_tokens);
        let micro_batch_tokens =
            data.sequences_per_micro_batch as u64 * data.sequence_tokens as u64;
        let kept = match config.compute.keep() {
            Keep::All => model.layers as u64 * model.kept_per_token(),
            Keep::Inputs => model.layers as u64 * model.width as u64 + model.kept_per_token(),
        };
        let activations = micro_batch_tokens * (kept + model.work_per_token());
        let logits =
            micro_batch_tokens.min(chunk_rows(model.vocabulary) as u64) * model.vocabulary as u64;
        Self {
            parameters,
            sequences_per_step: data.sequences_per_step(),
            micro_batches_per_step: data.micro_batches_per_step as u64,
            tokens_per_step: data.tokens_per_step(),
            steps: config.schedule.steps,
            total_tokens,
            epochs: config.schedule.steps as f64 * data.sequences_per_step() as f64
                / sequences.max(1) as f64,
            flops_per_token,
            total_flops: flops_per_token as f64 * total_tokens as f64,
            memory_bytes: 4 * (2 + config.optimizer.kind.moments()) * parameters
                + 4 * (activations + logits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        other.compute.recompute = true;
        assert_eq!(
            one.differences(&other).unwrap(),
            ["model.width", "schedule.steps"]
        );
        assert!(one.differences(&one).unwrap().is_empty());
    }
}
