//! `[model]`: a preset, or a family and sizes, or either with some axes changed.

use serde::{Deserialize, Serialize};

use crate::model::{Block, Family, Initial, ModelConfig, PRESETS, Positions, Preset};
use crate::ops::{Activation, Norm};

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
    pub(super) fn resolved(&self, vocabulary: usize) -> Result<ModelConfig, Vec<String>> {
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
