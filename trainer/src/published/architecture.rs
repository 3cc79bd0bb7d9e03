//! Which published architecture a model of ours is.

use crate::error::{Error, Result};
use crate::model::{Block, ModelConfig, Positions};
use crate::ops::{Activation, Norm};

/// An architecture that `transformers` has without custom code, and `llama.cpp` too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `MptForCausalLM`: `MosaicML`'s MPT without biases.
    Mpt,
    /// `CohereForCausalLM`: attention and `SwiGLU` side by side from one norm, which is the `PaLM` block with plain rotary positions.
    Cohere,
    /// `LlamaForCausalLM`: a sequential block with RMS norms, rotary positions and `SwiGLU`.
    Llama,
}

/// What an architecture needs of a model: the key, its value, and whether the model has it.
type Needed = (&'static str, String, bool);

impl Architecture {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mpt, Self::Cohere, Self::Llama];

    /// The class of `transformers`.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Mpt => "MptForCausalLM",
            Self::Cohere => "CohereForCausalLM",
            Self::Llama => "LlamaForCausalLM",
        }
    }

    /// `model_type` of its `config.json`.
    pub const fn model_type(self) -> &'static str {
        match self {
            Self::Mpt => "mpt",
            Self::Cohere => "cohere",
            Self::Llama => "llama",
        }
    }

    /// The architecture that computes what the model does.
    ///
    /// # Errors
    /// None does; the message names the nearest and what it would need.
    pub fn of(config: &ModelConfig) -> Result<Self> {
        let lacking = Self::ALL.map(|architecture| (architecture, architecture.lacking(config)));
        let nearest = lacking.into_iter().min_by_key(|(_, lacking)| lacking.len());
        let Some((architecture, lacking)) = nearest else {
            return Err(Error::Usage("no architecture is known".to_owned()));
        };
        if lacking.is_empty() {
            return Ok(architecture);
        }
        Err(Error::Usage(format!(
            "no published architecture computes what this model does; the nearest, {}, needs {}\n\
             hint: train a model with these values, or keep this one in its run: it is sampled and evaluated there",
            architecture.class(),
            lacking.join(", ")
        )))
    }

    /// What the model would have to be for this architecture, as `model.key = value`.
    fn lacking(self, config: &ModelConfig) -> Vec<String> {
        let needed = self.needed(config).into_iter();
        needed
            .filter(|(_, _, met)| !met)
            .map(|(key, value, _)| format!("model.{key} = {value}"))
            .collect()
    }

    fn needed(self, config: &ModelConfig) -> Vec<Needed> {
        let word = |key, value: &str, met| (key, format!("{value:?}"), met);
        let (sequential, parallel) = (
            word("block", "sequential", config.block == Block::Sequential),
            word("block", "parallel", config.block == Block::Parallel),
        );
        let rotary = word("positions", "rotary", config.positions == Positions::Rotary);
        let swiglu = word(
            "activation",
            "swiglu",
            config.activation == Activation::Swiglu,
        );
        let layer = word("norm", "layer", config.norm == Norm::Layer);
        match self {
            Self::Mpt => {
                let size = |key, value: usize, is: usize| (key, value.to_string(), value == is);
                vec![
                    sequential,
                    word("positions", "alibi", config.positions == Positions::Alibi),
                    layer,
                    word("activation", "gelu", config.activation == Activation::Gelu),
                    size("key-heads", config.heads, config.key_heads),
                    size("width", config.heads * config.head_size, config.width),
                    size("feed-forward", 4 * config.width, config.feed_forward),
                ]
            }
            Self::Cohere => vec![parallel, rotary, layer, swiglu],
            Self::Llama => vec![
                sequential,
                rotary,
                word("norm", "rms", config.norm == Norm::Rms),
                swiglu,
                // transformers refuses the configuration otherwise, although it has a size of heads of its own.
                (
                    "heads",
                    format!("a divisor of {}", config.width),
                    config.width.is_multiple_of(config.heads.max(1)),
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PRESETS;

    #[test]
    fn every_preset_has_an_architecture() {
        for preset in PRESETS {
            let expected = if preset.name.starts_with("mpt") {
                Architecture::Mpt
            } else {
                Architecture::Cohere
            };
            let found = Architecture::of(&preset.model(128));
            assert_eq!(found.unwrap(), expected, "{}", preset.name);
        }
    }

    #[test]
    fn what_no_architecture_computes_is_refused_with_what_would_fit() {
        let palm = PRESETS[0].model(128);
        let mpt = PRESETS[5].model(128);
        for (config, expected) in [
            (
                ModelConfig {
                    positions: Positions::Xpos,
                    ..palm
                },
                "CohereForCausalLM, needs model.positions = \"rotary\"\n",
            ),
            (
                ModelConfig {
                    norm: Norm::Rms,
                    ..palm
                },
                "CohereForCausalLM, needs model.norm = \"layer\"\n",
            ),
            (
                ModelConfig {
                    key_heads: 1,
                    feed_forward: 100,
                    ..mpt
                },
                "MptForCausalLM, needs model.key-heads = 4, model.feed-forward = 512\n",
            ),
            (
                ModelConfig {
                    head_size: 16,
                    ..mpt
                },
                "MptForCausalLM, needs model.width = 64\n",
            ),
        ] {
            let error = Architecture::of(&config).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let llama = ModelConfig {
            block: Block::Sequential,
            norm: Norm::Rms,
            ..palm
        };
        assert_eq!(Architecture::of(&llama).unwrap(), Architecture::Llama);
        let uneven = ModelConfig { heads: 3, ..llama };
        let error = Architecture::of(&uneven).unwrap_err().to_string();
        assert!(
            error.contains("LlamaForCausalLM, needs model.heads = a divisor of 128\n"),
            "{error}"
        );
    }
}
