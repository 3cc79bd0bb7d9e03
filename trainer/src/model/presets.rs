//! Sizes of models under names.

use serde::{Deserialize, Serialize};

use super::config::{Block, Initial, ModelConfig, Positions};
use crate::ops::{Activation, Norm};

/// A family: what its sizes have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// conceftofmind/PaLM (lucidrains' `palm_rlhf_pytorch`): parallel block, one key head, rotary positions, `SwiGLU`.
    Palm,
    /// `MosaicML`'s MPT: sequential block, as many key heads as query heads, `ALiBi`, exact GELU.
    Mpt,
}

/// Sizes of a model under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// The name.
    pub name: &'static str,
    family: Family,
    width: usize,
    layers: usize,
    heads: usize,
    head_size: usize,
}

const fn preset(
    name: &'static str,
    family: Family,
    width: usize,
    layers: usize,
    heads: usize,
    head_size: usize,
) -> Preset {
    Preset {
        name,
        family,
        width,
        layers,
        heads,
        head_size,
    }
}

/// All presets. `palm-*` are the sizes of conceptofmind/PaLM, `mpt-*` those of `llm-foundry`'s `scripts/train/yamls/pretrain`;
/// `andromeda-*` are the `PaLM` block near 100M, 500M and 1B parameters at vocabulary 50,304, with as many head dimensions as the width
/// has (d = H n).
pub const PRESETS: [Preset; 15] = [
    preset("palm-tiny", Family::Palm, 128, 4, 4, 32),
    preset("palm-150m", Family::Palm, 768, 12, 8, 128),
    preset("palm-410m", Family::Palm, 1024, 24, 8, 128),
    preset("palm-1b", Family::Palm, 2048, 16, 8, 128),
    preset("palm-2b", Family::Palm, 2560, 24, 8, 128),
    preset("mpt-tiny", Family::Mpt, 128, 4, 4, 32),
    preset("mpt-125m", Family::Mpt, 768, 12, 12, 64),
    preset("mpt-350m", Family::Mpt, 1024, 24, 16, 64),
    preset("mpt-760m", Family::Mpt, 1536, 24, 12, 128),
    preset("mpt-1b", Family::Mpt, 2048, 24, 16, 128),
    preset("mpt-3b", Family::Mpt, 2560, 32, 20, 128),
    preset("mpt-7b", Family::Mpt, 4096, 32, 32, 128),
    preset("andromeda-100m", Family::Palm, 640, 12, 5, 128),
    preset("andromeda-500m", Family::Palm, 1152, 24, 9, 128),
    preset("andromeda-1b", Family::Palm, 1792, 20, 14, 128),
];

impl Family {
    /// A model of this family.
    pub const fn model(
        self,
        vocabulary: usize,
        width: usize,
        layers: usize,
        heads: usize,
        head_size: usize,
    ) -> ModelConfig {
        let config = ModelConfig {
            vocabulary,
            width,
            layers,
            heads,
            key_heads: 1,
            head_size,
            feed_forward: 4 * width,
            block: Block::Parallel,
            positions: Positions::Rotary,
            norm: Norm::Layer,
            activation: Activation::Swiglu,
            initial: Initial::Uniform,
        };
        match self {
            Self::Palm => config,
            Self::Mpt => ModelConfig {
                key_heads: heads,
                block: Block::Sequential,
                positions: Positions::Alibi,
                activation: Activation::Gelu,
                initial: Initial::Kaiming,
                ..config
            },
        }
    }
}

impl Preset {
    /// The preset of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// The model of this preset.
    pub const fn model(&self, vocabulary: usize) -> ModelConfig {
        let Self {
            family,
            width,
            layers,
            heads,
            head_size,
            ..
        } = *self;
        family.model(vocabulary, width, layers, heads, head_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, vocabulary: usize) -> u64 {
        let config = Preset::named(name).unwrap().model(vocabulary);
        let shapes = config.shapes();
        let counted: u64 = shapes.iter().map(|shape| shape.count() as u64).sum();
        assert_eq!(config.parameters(), counted, "{name}");
        assert_eq!(shapes[config.last_norm()].name, "norm.gain");
        for layer in 0..config.layers {
            let indices = config.indices(layer);
            assert_eq!(
                shapes[indices.norm].name,
                format!("layers.{layer}.norm.gain")
            );
            assert_eq!(
                shapes[indices.down].name,
                format!("layers.{layer}.down.weight")
            );
        }
        counted
    }

    #[test]
    fn presets_have_the_published_numbers_of_parameters() {
        // lucidrains' PaLM at vocabulary 50,304, counted from its state dictionary.
        assert_eq!(count("palm-150m", 50_304), 144_811_776);
        assert_eq!(count("palm-410m", 50_304), 410_149_888);
        assert_eq!(count("palm-1b", 50_304), 983_861_248);
        assert_eq!(count("palm-2b", 50_304), 2_157_836_800);
        // By the formula of `ModelConfig::parameters`, worked out apart from it.
        assert_eq!(count("andromeda-100m", 50_304), 102_981_760);
        assert_eq!(count("andromeda-500m", 50_304), 510_963_840);
        assert_eq!(count("andromeda-1b", 50_304), 998_511_360);
        // llm-foundry's MPT at vocabulary 50,432 with ALiBi and without biases.
        assert_eq!(count("mpt-125m", 50_432), 123_685_632);
        assert_eq!(count("mpt-350m", 50_432), 353_682_432);
        assert_eq!(count("mpt-760m", 50_432), 757_016_064);
        assert_eq!(count("mpt-1b", 50_432), 1_311_344_640);
        assert_eq!(count("mpt-3b", 50_432), 2_645_854_720);
        assert_eq!(count("mpt-7b", 50_432), 6_649_286_656);
    }

    #[test]
    fn operations_are_those_of_the_published_formula() {
        // 6 (N - (L + 1) d) + 6 L H n T: 1.020, 2.763, 6.104 and 13.249 GFLOP a token at T = 2048.
        for (name, gigaflops) in [
            ("palm-150m", 1.020),
            ("palm-410m", 2.763),
            ("palm-1b", 6.104),
            ("palm-2b", 13.249),
        ] {
            let config = Preset::named(name).unwrap().model(50_304);
            let counted = config.flops_per_token(2048) as f64 / 1e9;
            assert!((counted - gigaflops).abs() < 6e-4, "{name}: {counted}");
        }
    }
}
