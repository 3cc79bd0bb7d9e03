//! The configuration of a run: what a person writes (strict TOML, everything optional) and what it means for a build (nothing
//! optional, checked, kept in the run folder and in every checkpoint).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::ModelConfig;
use crate::optimizer::AdamWOptions;
use crate::sample::SampleOptions;
use crate::schedule::Schedule;

/// The vocabulary of a model is the tokenizer's rounded up to a multiple of this.
const VOCABULARY_MULTIPLE: usize = 64;

/// Sizes of a model under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    width: usize,
    layers: usize,
    heads: usize,
    head_size: usize,
}

/// All presets. `palm-*` are the sizes of conceftofmind/PaLM; `andromeda-*` are the same block near 100M, 500M and 1B parameters at
/// vocabulary 50,304, with as many head dimensions as the width has (d = H n).
pub const PRESETS: [Preset; 8] = [
    Preset {
        name: "palm-tiny",
        width: 128,
        layers: 4,
        heads: 4,
        head_size: 32,
    },
    Preset {
        name: "palm-150m",
        width: 768,
        layers: 12,
        heads: 8,
        head_size: 128,
    },
    Preset {
        name: "palm-410m",
        width: 1024,
        layers: 24,
        heads: 8,
        head_size: 128,
    },
    Preset {
        name: "palm-1b",
        width: 2048,
        layers: 16,
        heads: 8,
        head_size: 128,
    },
    Preset {
        name: "palm-2b",
        width: 2560,
        layers: 24,
        heads: 8,
        head_size: 128,
    },
    Preset {
        name: "andromeda-100m",
        width: 640,
        layers: 12,
        heads: 5,
        head_size: 128,
    },
    Preset {
        name: "andromeda-500m",
        width: 1152,
        layers: 24,
        heads: 9,
        head_size: 128,
    },
    Preset {
        name: "andromeda-1b",
        width: 1792,
        layers: 20,
        heads: 14,
        head_size: 128,
    },
];

impl Preset {
    /// The model of this preset.
    pub fn model(&self, vocabulary: usize, xpos: bool) -> ModelConfig {
        let Self {
            width,
            layers,
            heads,
            head_size,
            ..
        } = *self;
        ModelConfig {
            vocabulary,
            width,
            layers,
            heads,
            head_size,
            xpos,
        }
    }
}

/// `[model]`: a preset, or sizes, or a preset with some sizes changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ModelOptions {
    /// Name of a preset.
    pub preset: Option<String>,
    /// d.
    pub width: Option<usize>,
    /// Blocks.
    pub layers: Option<usize>,
    /// Query heads.
    pub heads: Option<usize>,
    /// Numbers of a head.
    pub head_size: Option<usize>,
    /// The xPos scale on rotary positions.
    pub xpos: bool,
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
}

impl Default for DataOptions {
    fn default() -> Self {
        Self {
            sequence_tokens: 256,
            sequences_per_micro_batch: 8,
            micro_batches_per_step: 1,
            order_seed: 0,
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
    /// The optimizer.
    pub optimizer: AdamWOptions,
    /// The learning rate.
    pub schedule: Schedule,
    /// The run itself.
    pub run: RunOptions,
    /// The text printed at the end.
    pub sample: SampleOptions,
}

/// A configuration as meant for one build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RunConfig {
    /// The model.
    pub model: ModelConfig,
    /// The batches.
    pub data: DataOptions,
    /// The optimizer.
    pub optimizer: AdamWOptions,
    /// The learning rate.
    pub schedule: Schedule,
    /// The run itself.
    pub run: RunOptions,
    /// The text printed at the end.
    pub sample: SampleOptions,
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
        let written = &self.model;
        let preset = match &written.preset {
            None => None,
            Some(name) => match PRESETS.iter().find(|preset| preset.name == name) {
                None => {
                    let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
                    return Err(vec![format!(
                        "model.preset {name:?} is none of {}",
                        names.join(", ")
                    )]);
                }
                found => found,
            },
        };
        let mut problems = Vec::new();
        let mut size = |name: &str, written: Option<usize>, preset: Option<usize>| {
            written.or(preset).unwrap_or_else(|| {
                problems.push(format!("model.{name} is missing: give a preset or all of width, layers, heads, head-size"));
                1
            })
        };
        let model = ModelConfig {
            vocabulary: vocabulary.next_multiple_of(VOCABULARY_MULTIPLE),
            width: size("width", written.width, preset.map(|p| p.width)),
            layers: size("layers", written.layers, preset.map(|p| p.layers)),
            heads: size("heads", written.heads, preset.map(|p| p.heads)),
            head_size: size("head-size", written.head_size, preset.map(|p| p.head_size)),
            xpos: written.xpos,
        };
        if problems.is_empty() {
            problems.extend(model.problems());
        }
        problems.extend(self.data.problems());
        problems.extend(self.optimizer.problems());
        problems.extend(self.schedule.problems());
        problems.extend(self.run.problems());
        problems.extend(self.sample.problems());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(RunConfig {
            model,
            data: self.data.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            run: self.run.clone(),
            sample: self.sample.clone(),
        })
    }
}

impl RunConfig {
    /// The configuration as TOML.
    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self)
            .map_err(|error| Error::Usage(format!("the configuration cannot be written: {error}")))
    }

    /// Names of the keys in which two configurations differ, as `section.key`.
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
    /// Estimate of the memory in bytes: 16 a parameter, twice the gradients while they are made, activations and their
    /// gradients, a chunk of logits.
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
        // Numbers a token keeps in a block until its backward: norm, query twice, key and value, attention, up and gate, SwiGLU, outputs.
        let block =
            (18 * model.width + 3 * model.heads * model.head_size + 4 * model.head_size) as u64;
        let activations =
            micro_batch_tokens * (model.layers as u64 * block + 4 * model.width as u64);
        let logits = (micro_batch_tokens * model.vocabulary as u64).min(1 << 22);
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
            memory_bytes: 24 * parameters + 8 * activations + 4 * logits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preset(name: &str) -> ModelConfig {
        PRESETS
            .iter()
            .find(|preset| preset.name == name)
            .unwrap()
            .model(50_304, false)
    }

    #[test]
    fn presets_have_the_published_numbers_of_parameters() {
        // lucidrains' PaLM at vocabulary 50,304, counted from its state dictionary.
        assert_eq!(preset("palm-150m").parameters(), 144_811_776);
        assert_eq!(preset("palm-410m").parameters(), 410_149_888);
        assert_eq!(preset("palm-1b").parameters(), 983_861_248);
        assert_eq!(preset("palm-2b").parameters(), 2_157_836_800);
        // By the formula of `ModelConfig::parameters`, worked out apart from it.
        assert_eq!(preset("andromeda-100m").parameters(), 102_981_760);
        assert_eq!(preset("andromeda-500m").parameters(), 510_963_840);
        assert_eq!(preset("andromeda-1b").parameters(), 998_511_360);
    }

    #[test]
    fn operations_a_token_are_those_of_the_formula() {
        // 6 (144,811,776 - 13 x 768) + 6 x 12 x 1024 x 2048 = 1.020e9.
        assert_eq!(
            preset("palm-150m").flops_per_token(2048),
            868_810_752 + 150_994_944
        );
    }

    #[test]
    fn every_preset_resolves_and_fits_its_own_bounds() {
        for preset in PRESETS {
            let text = format!("[model]\npreset = \"{}\"", preset.name);
            let config = WrittenConfig::parse(&text, &[])
                .unwrap()
                .resolved(50_257)
                .unwrap();
            assert_eq!(config.model, preset.model(50_304, false));
            assert_eq!(
                toml::from_str::<RunConfig>(&config.to_toml().unwrap()).unwrap(),
                config
            );
        }
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
        assert_eq!(
            one.differences(&other).unwrap(),
            ["model.width", "schedule.steps"]
        );
        assert!(one.differences(&one).unwrap().is_empty());
    }
}
