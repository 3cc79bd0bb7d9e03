//! The tensors of a published architecture, each as rows of our parameters.
//!
//! All that differs are names, what is joined to one tensor (MPT has queries, keys and values in one; ours has gate and up in one)
//! and the order of a head's rows: ours rotates number j with number j + n/2, as GPT-NeoX, and others rotate neighbours.

use std::ops::Range;

use super::Architecture;
use crate::model::{Block, LayerIndices, ModelConfig};

/// Whose names and order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `transformers`.
    Transformers,
    /// `llama.cpp`'s GGUF files.
    Gguf,
}

/// A tensor of a published model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedTensor {
    /// Its name.
    pub name: String,
    /// Its shape: (outputs, inputs), or the width of a gain.
    pub shape: Vec<usize>,
    /// What it is made of, one below the other.
    pub pieces: Vec<Piece>,
}

/// Rows of one of our parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Index into [`ModelConfig::shapes`].
    pub parameter: usize,
    /// The rows; a gain is one row.
    pub rows: Range<usize>,
    /// n, where the rows of each head stand in another order: those of a pair that is rotated together are neighbours.
    pub interleaved: Option<usize>,
}

impl Piece {
    /// Our rows in the order of the published ones.
    pub fn order(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.rows.start;
        (0..self.rows.len()).map(move |row| match self.interleaved {
            None => first + row,
            Some(n) => first + row / n * n + row % n % 2 * (n / 2) + row % n / 2,
        })
    }
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Embedding,
    Norm,
    QueryKeyValue,
    Query,
    Key,
    Value,
    AttentionOut,
    SecondNorm,
    Gate,
    Up,
    Down,
    LastNorm,
}

/// The name of a part, in which `#` stands for the number of the block.
const fn name(architecture: Architecture, form: Form, part: Part) -> &'static str {
    match (form, architecture) {
        (Form::Gguf, _) => match part {
            Part::Embedding => "token_embd.weight",
            Part::Norm => "blk.#.attn_norm.weight",
            Part::QueryKeyValue => "blk.#.attn_qkv.weight",
            Part::Query => "blk.#.attn_q.weight",
            Part::Key => "blk.#.attn_k.weight",
            Part::Value => "blk.#.attn_v.weight",
            Part::AttentionOut => "blk.#.attn_output.weight",
            Part::SecondNorm => "blk.#.ffn_norm.weight",
            Part::Gate => "blk.#.ffn_gate.weight",
            Part::Up => "blk.#.ffn_up.weight",
            Part::Down => "blk.#.ffn_down.weight",
            Part::LastNorm => "output_norm.weight",
        },
        (Form::Transformers, Architecture::Mpt) => match part {
            Part::Embedding => "transformer.wte.weight",
            Part::Norm => "transformer.blocks.#.norm_1.weight",
            Part::QueryKeyValue => "transformer.blocks.#.attn.Wqkv.weight",
            Part::AttentionOut => "transformer.blocks.#.attn.out_proj.weight",
            Part::SecondNorm => "transformer.blocks.#.norm_2.weight",
            Part::Up => "transformer.blocks.#.ffn.up_proj.weight",
            Part::Down => "transformer.blocks.#.ffn.down_proj.weight",
            Part::LastNorm => "transformer.norm_f.weight",
            // Joined, or not of this architecture.
            Part::Query | Part::Key | Part::Value | Part::Gate => "",
        },
        (Form::Transformers, Architecture::Cohere | Architecture::Llama) => match part {
            Part::Embedding => "model.embed_tokens.weight",
            Part::Norm => "model.layers.#.input_layernorm.weight",
            Part::QueryKeyValue => "",
            Part::Query => "model.layers.#.self_attn.q_proj.weight",
            Part::Key => "model.layers.#.self_attn.k_proj.weight",
            Part::Value => "model.layers.#.self_attn.v_proj.weight",
            Part::AttentionOut => "model.layers.#.self_attn.o_proj.weight",
            Part::SecondNorm => "model.layers.#.post_attention_layernorm.weight",
            Part::Gate => "model.layers.#.mlp.gate_proj.weight",
            Part::Up => "model.layers.#.mlp.up_proj.weight",
            Part::Down => "model.layers.#.mlp.down_proj.weight",
            Part::LastNorm => "model.norm.weight",
        },
    }
}

/// Whether pairs that are rotated together are neighbours: in `CohereForCausalLM`, and in what `llama.cpp` reads of both
/// architectures with rotary positions.
const fn interleaves(architecture: Architecture, form: Form) -> bool {
    match architecture {
        Architecture::Mpt => false,
        Architecture::Cohere => true,
        Architecture::Llama => matches!(form, Form::Gguf),
    }
}

/// The tensors of a model of `architecture` in the order of its blocks. The head is the embedding and no tensor of its own. Each row of each of our
/// parameters is in exactly one of them.
pub fn tensors(
    architecture: Architecture,
    form: Form,
    config: &ModelConfig,
) -> Vec<PublishedTensor> {
    let shapes = config.shapes();
    let whole = |parameter: usize| Piece {
        parameter,
        rows: 0..shapes[parameter].place().rows,
        interleaved: None,
    };
    let turned = |parameter: usize| Piece {
        interleaved: interleaves(architecture, form).then_some(config.head_size),
        ..whole(parameter)
    };
    let tensor = |layer: usize, part, pieces: Vec<Piece>| {
        let first = &shapes[pieces[0].parameter];
        let rows = pieces.iter().map(|piece| piece.rows.len()).sum();
        PublishedTensor {
            name: name(architecture, form, part).replace('#', &layer.to_string()),
            shape: match first.shape.as_slice() {
                [_, columns] => vec![rows, *columns],
                shape => shape.to_vec(),
            },
            pieces,
        }
    };
    let embedding = whole(ModelConfig::EMBEDDING);
    let mut all = vec![tensor(0, Part::Embedding, vec![embedding])];
    for layer in 0..config.layers {
        let at = config.indices(layer);
        let LayerIndices { up, down, .. } = at;
        let mut add = |part, pieces| all.push(tensor(layer, part, pieces));
        // A gain has one row, whatever `place` says of matrices.
        add(Part::Norm, vec![whole(at.norm)]);
        if architecture == Architecture::Mpt {
            let joined = [at.query, at.key, at.value].map(whole).to_vec();
            add(Part::QueryKeyValue, joined);
        } else {
            add(Part::Query, vec![turned(at.query)]);
            add(Part::Key, vec![turned(at.key)]);
            add(Part::Value, vec![whole(at.value)]);
        }
        add(Part::AttentionOut, vec![whole(at.attention_out)]);
        if let (Some(norm), Block::Sequential) = (at.second_norm, config.block) {
            add(Part::SecondNorm, vec![whole(norm)]);
        }
        if architecture == Architecture::Mpt {
            add(Part::Up, vec![whole(up)]);
        } else {
            // Ours is [up | gate] (`Activation::Swiglu`).
            let half = |rows| Piece { rows, ..whole(up) };
            let f = config.feed_forward;
            add(Part::Gate, vec![half(f..2 * f)]);
            add(Part::Up, vec![half(0..f)]);
        }
        add(Part::Down, vec![whole(down)]);
    }
    all.push(tensor(0, Part::LastNorm, vec![whole(config.last_norm())]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Family, Positions};
    use crate::ops::Norm;

    fn models() -> [(Architecture, ModelConfig); 3] {
        let palm = ModelConfig {
            key_heads: 2,
            feed_forward: 10,
            ..Family::Palm.model(64, 12, 2, 4, 6)
        };
        let llama = ModelConfig {
            block: Block::Sequential,
            norm: Norm::Rms,
            positions: Positions::Rotary,
            ..palm
        };
        [
            (Architecture::Mpt, Family::Mpt.model(64, 12, 2, 4, 3)),
            (Architecture::Cohere, palm),
            (Architecture::Llama, llama),
        ]
    }

    #[test]
    fn every_row_of_ours_is_published_once_under_a_name_of_its_own() {
        for (architecture, config) in models() {
            assert_eq!(Architecture::of(&config).unwrap(), architecture);
            for form in [Form::Transformers, Form::Gguf] {
                let all = tensors(architecture, form, &config);
                let mut rows: Vec<(usize, usize)> = Vec::new();
                for tensor in &all {
                    let pieces = tensor.pieces.iter();
                    rows.extend(
                        pieces.flat_map(|piece| piece.order().map(|row| (piece.parameter, row))),
                    );
                }
                rows.sort_unstable();
                let shapes = config.shapes();
                let expected = shapes.iter().enumerate();
                let expected: Vec<_> = expected
                    .flat_map(|(index, of)| (0..of.place().rows).map(move |row| (index, row)))
                    .collect();
                assert_eq!(rows, expected, "{architecture:?} {form:?}");
                let numbers: usize = all
                    .iter()
                    .map(|tensor| tensor.shape.iter().product::<usize>())
                    .sum();
                assert_eq!(numbers as u64, config.parameters());
                let mut names: Vec<_> = all.iter().map(|tensor| &tensor.name).collect();
                names.sort_unstable();
                names.dedup();
                assert_eq!(names.len(), all.len());
                assert!(
                    names
                        .iter()
                        .all(|name| name.ends_with(".weight") && !name.contains('#'))
                );
            }
        }
    }

    #[test]
    fn interleaved_rows_put_the_halves_of_each_head_side_by_side() {
        let piece = Piece {
            parameter: 3,
            rows: 0..12,
            interleaved: Some(6),
        };
        assert_eq!(
            piece.order().collect::<Vec<_>>(),
            [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
        );
    }
}
