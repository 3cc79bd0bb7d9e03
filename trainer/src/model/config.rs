//! The sizes and axes of a decoder, and what follows from them: parameters, operations, memory.

use serde::{Deserialize, Serialize};

use crate::ops::{Activation, Heads, Norm, Place};

/// How attention and feed-forward stand in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Block {
    /// Side by side from one norm: x + attention(h) + feed-forward(h), h = norm(x). `PaLM`.
    Parallel,
    /// One after the other, each from its own norm. `MPT`.
    Sequential,
}

/// How a position is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Rotary angles.
    Rotary,
    /// Rotary angles with the `xPos` scale.
    Xpos,
    /// `ALiBi`: scores lose by distance.
    Alibi,
}

/// What the first values are drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initial {
    /// Embedding normal with deviation 0.02, matrices uniform within one over the root of their inputs: `PyTorch`'s own and that of
    /// conceptofmind/PaLM.
    Uniform,
    /// Everything normal with deviation sqrt(2 / inputs), what adds to the residual divided by sqrt(2 layers): `llm-foundry`'s
    /// `kaiming_normal_`.
    Kaiming,
}

/// The sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelConfig {
    /// V: rows of the embedding, the tokenizer's size rounded up to a multiple of 64.
    pub vocabulary: usize,
    /// d.
    pub width: usize,
    /// Blocks.
    pub layers: usize,
    /// H: query heads.
    pub heads: usize,
    /// G: key and value heads; divides H.
    pub key_heads: usize,
    /// n; H n need not be d.
    pub head_size: usize,
    /// f: numbers between the two maps of the feed-forward part.
    pub feed_forward: usize,
    /// How attention and feed-forward stand in a block.
    pub block: Block,
    /// How a position is told.
    pub positions: Positions,
    /// How rows are normalized.
    pub norm: Norm,
    /// What stands between the two maps of the feed-forward part.
    pub activation: Activation,
    /// The first values.
    pub initial: Initial,
}

/// What a parameter is, which decides its initial values and whether it decays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The tied embedding: no decay.
    Embedding,
    /// A gain of a norm: ones, no decay.
    Gain,
    /// A matrix whose outputs go into the block: decays.
    Matrix,
    /// A matrix whose outputs are added to the residual: decays.
    Residual,
}

impl Role {
    /// Whether weight decay is for it.
    pub const fn decays(self) -> bool {
        matches!(self, Self::Matrix | Self::Residual)
    }
}

/// Name, role and shape of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Name in a checkpoint.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its shape: (outputs, inputs), or the width of a gain.
    pub shape: Vec<usize>,
}

impl ParameterShape {
    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its place in a store.
    pub fn place(&self) -> Place {
        match self.shape.as_slice() {
            [rows, columns] => Place {
                rows: *rows,
                columns: *columns,
            },
            shape => Place {
                rows: 1,
                columns: shape.iter().product(),
            },
        }
    }
}

/// Where the parameters of a block are, as indices into [`ModelConfig::shapes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerIndices {
    /// The norm before attention, and before both parts of a parallel block.
    pub norm: usize,
    /// Queries.
    pub query: usize,
    /// Keys.
    pub key: usize,
    /// Values.
    pub value: usize,
    /// From attention to the residual.
    pub attention_out: usize,
    /// The norm before the feed-forward part of a sequential block.
    pub second_norm: Option<usize>,
    /// Into the feed-forward part.
    pub up: usize,
    /// Out of it.
    pub down: usize,
}

impl ModelConfig {
    /// The heads of attention.
    pub const fn attention_heads(&self) -> Heads {
        Heads {
            queries: self.heads,
            keys: self.key_heads,
            size: self.head_size,
        }
    }

    /// Every parameter, in the order of checkpoints, buffers and sums.
    pub fn shapes(&self) -> Vec<ParameterShape> {
        let attention = self.heads * self.head_size;
        let keys = self.key_heads * self.head_size;
        let into = self.activation.inputs() * self.feed_forward;
        let parameter = |name: String, role, shape: &[usize]| ParameterShape {
            name,
            role,
            shape: shape.to_vec(),
        };
        let d = self.width;
        let mut shapes = vec![parameter(
            "embedding.weight".to_owned(),
            Role::Embedding,
            &[self.vocabulary, d],
        )];
        for layer in 0..self.layers {
            let mut add = |name, role, shape: &[usize]| {
                shapes.push(parameter(format!("layers.{layer}.{name}"), role, shape));
            };
            let up = match self.activation {
                Activation::Swiglu => "up_gate.weight",
                Activation::Gelu => "up.weight",
            };
            add("norm.gain", Role::Gain, &[d]);
            add("query.weight", Role::Matrix, &[attention, d]);
            add("key.weight", Role::Matrix, &[keys, d]);
            add("value.weight", Role::Matrix, &[keys, d]);
            add("attention_out.weight", Role::Residual, &[d, attention]);
            if self.block == Block::Sequential {
                add("second_norm.gain", Role::Gain, &[d]);
            }
            add(up, Role::Matrix, &[into, d]);
            add("down.weight", Role::Residual, &[d, self.feed_forward]);
        }
        shapes.push(parameter("norm.gain".to_owned(), Role::Gain, &[d]));
        shapes
    }

    /// Index of the embedding, which is the head too.
    pub const EMBEDDING: usize = 0;

    /// Where the parameters of a block are.
    pub fn indices(&self, layer: usize) -> LayerIndices {
        let second = usize::from(self.block == Block::Sequential);
        let first = 1 + layer * (7 + second);
        LayerIndices {
            norm: first,
            query: first + 1,
            key: first + 2,
            value: first + 3,
            attention_out: first + 4,
            second_norm: (second == 1).then_some(first + 5),
            up: first + 5 + second,
            down: first + 6 + second,
        }
    }

    /// Index of the last norm.
    pub fn last_norm(&self) -> usize {
        self.indices(self.layers).norm
    }

    /// How many numbers all parameters have, the tied head counted once.
    pub fn parameters(&self) -> u64 {
        let per_layer = self.per_layer(false);
        let [v, d, l] = [self.vocabulary, self.width, self.layers].map(|x| x as u64);
        v * d + l * per_layer + d
    }

    /// d, H, G, n and f.
    fn sizes(&self) -> [u64; 5] {
        [
            self.width,
            self.heads,
            self.key_heads,
            self.head_size,
            self.feed_forward,
        ]
        .map(|x| x as u64)
    }

    /// Numbers of a block's parameters; with `products` only those of matrices.
    fn per_layer(&self, products: bool) -> u64 {
        let [d, h, g, n, f] = self.sizes();
        let norms = match self.block {
            Block::Parallel => d,
            Block::Sequential => 2 * d,
        };
        let matrices = d * n * (2 * h + 2 * g) + d * f * (1 + self.activation.inputs() as u64);
        matrices + if products { 0 } else { norms }
    }

    /// Operations of forward and backward a token at `positions` tokens a sequence, attention counted causally:
    /// 6 (numbers of matrices, the head's among them) + 6 L H n T.
    pub fn flops_per_token(&self, positions: usize) -> u64 {
        let [v, d, l, h, n] = [
            self.vocabulary,
            self.width,
            self.layers,
            self.heads,
            self.head_size,
        ]
        .map(|x| x as u64);
        6 * (v * d + l * self.per_layer(true)) + 6 * l * h * n * positions as u64
    }

    /// Numbers that one token keeps until its block's backward: what goes into the block, queries, keys, values, what is attended
    /// to, and what goes into the activation; of a sequential block what stands between its parts.
    pub fn kept_per_token(&self) -> u64 {
        let [d, h, g, n, f] = self.sizes();
        let between = match self.block {
            Block::Parallel => 0,
            Block::Sequential => d,
        };
        d + between + 2 * h * n + 2 * g * n + h + f * self.activation.inputs() as u64
    }

    /// Those that it keeps where blocks are computed again: what goes into the block and what attention gives, with its sums.
    pub fn kept_input_per_token(&self) -> u64 {
        let [d, h, _, n, _] = self.sizes();
        d + h * n + h
    }

    /// Numbers that one token needs while one block is worked on, over those that are kept.
    pub fn work_per_token(&self) -> u64 {
        let [d, h, g, n, f] = self.sizes();
        4 * d + 2 * h * n + 2 * g * n + 2 * f
    }

    /// Every problem of the sizes, as sentences.
    pub fn problems(&self) -> Vec<String> {
        // Bounds keep every product of sizes far from overflow; the largest preset is two orders below them.
        let bounds = [
            ("model.vocabulary", self.vocabulary, 1 << 24),
            ("model.width", self.width, 1 << 17),
            ("model.layers", self.layers, 1 << 10),
            ("model.heads", self.heads, 1 << 10),
            ("model.key-heads", self.key_heads, 1 << 10),
            ("model.head-size", self.head_size, 1 << 12),
            ("model.feed-forward", self.feed_forward, 1 << 19),
        ];
        let mut problems: Vec<String> = bounds
            .iter()
            .filter(|(_, value, most)| *value == 0 || value > most)
            .map(|(name, value, most)| format!("{name} must be between 1 and {most}, not {value}"))
            .collect();
        if self.key_heads > 0 && !self.heads.is_multiple_of(self.key_heads) {
            problems.push(format!(
                "model.key-heads must divide model.heads: {} does not divide {}",
                self.key_heads, self.heads
            ));
        }
        if self.positions != Positions::Alibi && !self.head_size.is_multiple_of(2) {
            problems.push(format!(
                "model.head-size must be even for rotary positions, not {}",
                self.head_size
            ));
        }
        problems
    }
}
