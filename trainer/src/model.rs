//! The decoder of conceptofmind/PaLM (lucidrains' `palm_rlhf_pytorch`): attention and SwiGLU in parallel from one bias-free norm,
//! multi-query attention, rotary positions, a head tied to the embedding. Shapes in comments: B sequences of T tokens, d
//! width, H heads of n, V vocabulary; the rows of a matrix are B T.

use candle_core::{DType, Device, Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ops::{RotaryTable, XPos, causal_attention, layer_norm, linear, rotary, swiglu};
use crate::random::Stream;

/// Width of the feed-forward part as a multiple of the model's.
const FEED_FORWARD_RATIO: usize = 4;
/// Deviation of the initial embedding.
const EMBEDDING_DEVIATION: f64 = 0.02;

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
    /// H: query heads; key and value have one.
    pub heads: usize,
    /// n, even; H n need not be d.
    pub head_size: usize,
    /// Whether positions carry the xPos scale.
    pub xpos: bool,
}

/// What a parameter is, which decides its initial values and whether it decays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The tied embedding: normal, no decay.
    Embedding,
    /// A gain of a norm: ones, no decay.
    Gain,
    /// A matrix: uniform within one over the root of its inputs, decays.
    Matrix,
}

/// Name, role and shape of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Name in a checkpoint.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl ModelConfig {
    /// Every parameter, in the order of checkpoints, buffers and sums.
    pub fn shapes(&self) -> Vec<ParameterShape> {
        let attention = self.heads * self.head_size;
        let feed_forward = FEED_FORWARD_RATIO * self.width;
        let parameter = |name: String, role, shape: &[usize]| ParameterShape {
            name,
            role,
            shape: shape.to_vec(),
        };
        let mut shapes = vec![parameter(
            "embedding.weight".to_owned(),
            Role::Embedding,
            &[self.vocabulary, self.width],
        )];
        for layer in 0..self.layers {
            let mut add = |name, role, shape: &[usize]| {
                shapes.push(parameter(format!("layers.{layer}.{name}"), role, shape));
            };
            add("norm.gain", Role::Gain, &[self.width]);
            add("query.weight", Role::Matrix, &[attention, self.width]);
            add("key.weight", Role::Matrix, &[self.head_size, self.width]);
            add("value.weight", Role::Matrix, &[self.head_size, self.width]);
            add(
                "up_gate.weight",
                Role::Matrix,
                &[2 * feed_forward, self.width],
            );
            add(
                "attention_out.weight",
                Role::Matrix,
                &[self.width, attention],
            );
            add("down.weight", Role::Matrix, &[self.width, feed_forward]);
        }
        shapes.push(parameter("norm.gain".to_owned(), Role::Gain, &[self.width]));
        shapes
    }

    /// V d + L (d (H n + 2 n + 8 d) + H n d + 4 d^2 + d) + d.
    pub fn parameters(&self) -> u64 {
        let [v, d, l, h, n] = [
            self.vocabulary,
            self.width,
            self.layers,
            self.heads,
            self.head_size,
        ]
        .map(|x| x as u64);
        v * d + l * (d * (h * n + 2 * n + 8 * d) + h * n * d + 4 * d * d + d) + d
    }

    /// Operations of forward and backward a token at `positions` tokens a sequence, attention counted causally:
    /// 6 (N - (L + 1) d) + 6 L H n T.
    pub fn flops_per_token(&self, positions: usize) -> u64 {
        let [d, l, h, n] = [self.width, self.layers, self.heads, self.head_size].map(|x| x as u64);
        6 * (self.parameters() - (l + 1) * d) + 6 * l * h * n * positions as u64
    }

    /// Every problem of the sizes, as sentences.
    pub fn problems(&self) -> Vec<String> {
        // Bounds keep every product of sizes far from overflow; the largest preset is two orders below them.
        let bounds = [
            ("model.vocabulary", self.vocabulary, 1 << 24),
            ("model.width", self.width, 1 << 17),
            ("model.layers", self.layers, 1 << 10),
            ("model.heads", self.heads, 1 << 10),
            ("model.head-size", self.head_size, 1 << 12),
        ];
        let mut problems: Vec<String> = bounds
            .iter()
            .filter(|(_, value, most)| *value == 0 || value > most)
            .map(|(name, value, most)| format!("{name} must be between 1 and {most}, not {value}"))
            .collect();
        if !self.head_size.is_multiple_of(2) {
            problems.push(format!(
                "model.head-size must be even for rotary positions, not {}",
                self.head_size
            ));
        }
        problems
    }
}

/// A trained tensor.
#[derive(Debug)]
pub struct Parameter {
    /// Name, role and shape.
    pub of: ParameterShape,
    /// Its values.
    pub variable: Var,
}

impl Parameter {
    /// How many numbers it has.
    pub fn count(&self) -> usize {
        self.of.shape.iter().product()
    }
}

/// Positions of sequences of one length, for queries and keys.
#[derive(Debug, Clone)]
pub struct Positions {
    count: usize,
    query: RotaryTable,
    key: RotaryTable,
}

#[derive(Debug, Clone)]
struct Layer {
    norm: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    up_gate: Tensor,
    attention_out: Tensor,
    down: Tensor,
}

/// The forward pass. It holds views of the parameters; see [`Model::detached`] for one that records no graph.
#[derive(Debug, Clone)]
pub struct Model {
    /// Its sizes.
    pub config: ModelConfig,
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
}

impl Model {
    /// A model with random values that depend on `seed` and the parameters' names only, and its parameters in order.
    pub fn new(
        config: ModelConfig,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<(Self, Vec<Parameter>)> {
        let mut parameters = Vec::new();
        for of in config.shapes() {
            let values =
                Tensor::from_vec(initial_values(&of, seed), of.shape.as_slice(), &Device::Cpu)?;
            let variable = Var::from_tensor(&values.to_dtype(dtype)?.to_device(device)?)?;
            parameters.push(Parameter { of, variable });
        }
        let model = Self::over(
            config,
            parameters
                .iter()
                .map(|parameter| parameter.variable.as_tensor().clone()),
        )?;
        Ok((model, parameters))
    }

    /// The model over tensors given in the order of [`ModelConfig::shapes`].
    fn over(config: ModelConfig, tensors: impl IntoIterator<Item = Tensor>) -> Result<Self> {
        let mut tensors = tensors.into_iter();
        let mut next = || {
            let missing = || {
                candle_core::Error::Msg("fewer tensors than the model has parameters".to_owned())
            };
            tensors.next().ok_or_else(missing)
        };
        let embedding = next()?;
        let mut layers = Vec::with_capacity(config.layers);
        for _ in 0..config.layers {
            layers.push(Layer {
                norm: next()?,
                query: next()?,
                key: next()?,
                value: next()?,
                up_gate: next()?,
                attention_out: next()?,
                down: next()?,
            });
        }
        Ok(Self {
            config,
            embedding,
            layers,
            norm: next()?,
        })
    }

    /// The same parameters, seen without recording a graph: for evaluation and sampling.
    pub fn detached(&self) -> Self {
        let detach = |layer: &Layer| Layer {
            norm: layer.norm.detach(),
            query: layer.query.detach(),
            key: layer.key.detach(),
            value: layer.value.detach(),
            up_gate: layer.up_gate.detach(),
            attention_out: layer.attention_out.detach(),
            down: layer.down.detach(),
        };
        Self {
            config: self.config,
            embedding: self.embedding.detach(),
            layers: self.layers.iter().map(detach).collect(),
            norm: self.norm.detach(),
        }
    }

    /// Positions of sequences of `count` tokens.
    pub fn positions(&self, count: usize) -> Positions {
        let (query, key) = if self.config.xpos {
            (XPos::Query, XPos::Key)
        } else {
            (XPos::Off, XPos::Off)
        };
        let table = |xpos| RotaryTable::new(count, self.config.head_size, xpos);
        Positions {
            count,
            query: table(query),
            key: table(key),
        }
    }

    /// The last hidden states (B T, d) of `ids` (B T), whole sequences of the positions' length one after the other.
    pub fn forward(&self, ids: &[u32], positions: &Positions) -> Result<Tensor> {
        let ids = Tensor::from_slice(ids, ids.len(), self.embedding.device())?;
        let mut x = self.embedding.index_select(&ids, 0)?; // (B T, d)
        for layer in &self.layers {
            let h = layer_norm(&x, &layer.norm)?;
            let q = rotary(&linear(&h, &layer.query)?, &positions.query)?; // (B T, H n)
            let k = rotary(&linear(&h, &layer.key)?, &positions.key)?; // (B T, n)
            let v = linear(&h, &layer.value)?; // (B T, n)
            let attended = causal_attention(&q, &k, &v, positions.count, self.config.heads)?; // (B T, H n)
            let fed = swiglu(&linear(&h, &layer.up_gate)?)?; // (B T, 4 d)
            x = ((x + linear(&attended, &layer.attention_out)?)? + linear(&fed, &layer.down)?)?;
        }
        Ok(layer_norm(&x, &self.norm)?)
    }

    /// The head: the embedding (V, d).
    pub fn head(&self) -> &Tensor {
        &self.embedding
    }
}

fn initial_values(of: &ParameterShape, seed: u64) -> Vec<f32> {
    let stream = Stream::new(seed, &of.name);
    let count: usize = of.shape.iter().product();
    let bound = of
        .shape
        .last()
        .map_or(1.0, |&inputs| (inputs as f64).powf(-0.5));
    let value = |index: u64| match of.role {
        Role::Embedding => EMBEDDING_DEVIATION * stream.normal(index),
        Role::Gain => 1.0,
        Role::Matrix => bound * (2.0 * stream.uniform(index) - 1.0),
    };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "parameters are kept in single precision"
    )]
    (0..count as u64).map(|index| value(index) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{Targets, linear_cross_entropy};

    fn tiny(xpos: bool) -> ModelConfig {
        ModelConfig {
            vocabulary: 11,
            width: 6,
            layers: 2,
            heads: 3,
            head_size: 4,
            xpos,
        }
    }

    const IDS: [u32; 10] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
    const NEXT: [u32; 10] = [1, 4, 1, 5, 0, 2, 6, 5, 3, 10];

    fn loss(model: &Model) -> crate::loss::Loss {
        let hidden = model.forward(&IDS, &model.positions(5)).unwrap();
        linear_cross_entropy(
            &hidden,
            model.head(),
            Targets {
                ids: &NEXT,
                trained: &[true; 10],
            },
            0.1,
        )
        .unwrap()
    }

    fn numbers(tensor: &Tensor) -> Vec<f64> {
        tensor
            .to_dtype(DType::F64)
            .unwrap()
            .flatten_all()
            .unwrap()
            .to_vec1()
            .unwrap()
    }

    #[test]
    fn count_of_parameters_is_the_sum_of_the_shapes() {
        for config in [
            tiny(false),
            ModelConfig {
                vocabulary: 64,
                width: 32,
                layers: 3,
                heads: 2,
                head_size: 8,
                xpos: true,
            },
        ] {
            let sum: usize = config
                .shapes()
                .iter()
                .map(|of| of.shape.iter().product::<usize>())
                .sum();
            assert_eq!(config.parameters(), sum as u64);
        }
    }

    #[test]
    fn every_parameter_receives_a_finite_gradient_that_is_not_zero() {
        for dtype in [DType::F32, DType::F64] {
            for xpos in [false, true] {
                let (model, parameters) = Model::new(tiny(xpos), 1, dtype, &Device::Cpu).unwrap();
                let gradients = loss(&model).scaled.backward().unwrap();
                for parameter in parameters {
                    let gradient = gradients
                        .get(&parameter.variable)
                        .expect(&parameter.of.name);
                    let gradient = numbers(gradient);
                    assert!(
                        gradient.iter().all(|g| g.is_finite()),
                        "{}",
                        parameter.of.name
                    );
                    assert!(gradient.iter().any(|&g| g != 0.0), "{}", parameter.of.name);
                }
            }
        }
    }

    #[test]
    fn gradients_are_the_finite_differences_of_the_loss() {
        for xpos in [false, true] {
            let (model, parameters) = Model::new(tiny(xpos), 2, DType::F64, &Device::Cpu).unwrap();
            let gradients = loss(&model).scaled.backward().unwrap();
            for parameter in &parameters {
                let values = numbers(&parameter.variable);
                let gradient = numbers(gradients.get(&parameter.variable).unwrap());
                for index in [0, values.len() / 2, values.len() - 1] {
                    let at = |change: f64| {
                        let mut moved = values.clone();
                        moved[index] += change;
                        let shape = parameter.of.shape.as_slice();
                        parameter
                            .variable
                            .set(&Tensor::from_vec(moved, shape, &Device::Cpu).unwrap())
                            .unwrap();
                        loss(&model.detached()).nats / 10.0
                    };
                    let step = 1e-5;
                    let difference = (at(step) - at(-step)) / (2.0 * step);
                    at(0.0);
                    let name = &parameter.of.name;
                    assert!(
                        (difference - gradient[index]).abs() < 1e-8 + 1e-6 * difference.abs(),
                        "{name}[{index}]: {difference} by differences, {} by backward",
                        gradient[index]
                    );
                }
            }
        }
    }

    #[test]
    fn a_token_changes_nothing_before_itself() {
        let (model, _) = Model::new(tiny(true), 3, DType::F64, &Device::Cpu).unwrap();
        let model = model.detached();
        let before = numbers(&model.forward(&IDS, &model.positions(10)).unwrap());
        for place in 0..IDS.len() {
            let mut ids = IDS;
            ids[place] = 7;
            let after = numbers(&model.forward(&ids, &model.positions(10)).unwrap());
            assert_eq!(
                before[..place * 6],
                after[..place * 6],
                "token {place} changed an earlier row"
            );
            assert_ne!(
                before[place * 6..(place + 1) * 6],
                after[place * 6..(place + 1) * 6]
            );
        }
    }

    #[test]
    fn sequences_of_a_batch_do_not_see_each_other() {
        let (model, _) = Model::new(tiny(false), 3, DType::F64, &Device::Cpu).unwrap();
        let both = numbers(&model.forward(&IDS, &model.positions(5)).unwrap());
        let second = numbers(&model.forward(&IDS[5..], &model.positions(5)).unwrap());
        for (left, right) in both[30..].iter().zip(&second) {
            assert!((left - right).abs() < 1e-13);
        }
    }

    #[test]
    fn equal_seeds_give_equal_bits() {
        let run = |seed| {
            let (model, parameters) =
                Model::new(tiny(true), seed, DType::F32, &Device::Cpu).unwrap();
            let loss = loss(&model);
            let gradient = loss.scaled.backward().unwrap();
            (
                loss.nats,
                numbers(gradient.get(&parameters[0].variable).unwrap()),
            )
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5).0, run(6).0);
    }

    #[test]
    fn loss_of_a_new_model_is_that_of_guessing() {
        let config = ModelConfig {
            vocabulary: 512,
            width: 64,
            layers: 2,
            heads: 2,
            head_size: 32,
            xpos: false,
        };
        let (model, _) = Model::new(config, 4, DType::F32, &Device::Cpu).unwrap();
        let loss = loss(&model).nats / 10.0;
        assert!((loss - 512f64.ln()).abs() < 0.05, "{loss}");
    }

    /// The architecture once more, written from its description with loops over plain vectors.
    mod reference {
        use super::*;

        type Matrix = Vec<Vec<f64>>;

        fn normalized(row: &[f64], gain: &[f64]) -> Vec<f64> {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
            row.iter()
                .zip(gain)
                .map(|(x, g)| (x - mean) / (variance + 1e-5).sqrt() * g)
                .collect()
        }

        fn times(weight: &Matrix, row: &[f64]) -> Vec<f64> {
            weight
                .iter()
                .map(|w| w.iter().zip(row).map(|(a, b)| a * b).sum())
                .collect()
        }

        fn turned(row: &[f64], position: usize, length: usize, xpos: f64) -> Vec<f64> {
            let n = row.len();
            (0..n)
                .map(|i| {
                    let j = i % (n / 2);
                    let angle = position as f64 / 10_000f64.powf(2.0 * j as f64 / n as f64);
                    let scale = ((2 * j) as f64 + 0.4 * n as f64) / (1.4 * n as f64);
                    let scale = scale.powf(xpos * (position as f64 - (length / 2) as f64) / 512.0);
                    let partner = if i < n / 2 {
                        -row[i + n / 2]
                    } else {
                        row[i - n / 2]
                    };
                    scale * (row[i] * angle.cos() + partner * angle.sin())
                })
                .collect()
        }

        /// The mean loss of one sequence.
        pub(super) fn loss(
            config: &ModelConfig,
            parameters: &[Parameter],
            ids: &[u32],
            next: &[u32],
        ) -> f64 {
            let matrix = |name: &str| -> Matrix {
                let parameter = parameters.iter().find(|p| p.of.name == name).unwrap();
                numbers(&parameter.variable)
                    .chunks(*parameter.of.shape.last().unwrap())
                    .map(<[f64]>::to_vec)
                    .collect()
            };
            let xpos = if config.xpos { 1.0 } else { 0.0 };
            let embedding = matrix("embedding.weight");
            let mut x: Matrix = ids
                .iter()
                .map(|&id| embedding[id as usize].clone())
                .collect();
            for layer in 0..config.layers {
                let of = |name: &str| matrix(&format!("layers.{layer}.{name}"));
                let h: Matrix = x
                    .iter()
                    .map(|row| normalized(row, &of("norm.gain")[0]))
                    .collect();
                let rows =
                    |name: &str| -> Matrix { h.iter().map(|row| times(&of(name), row)).collect() };
                let (q, k, v, f) = (
                    rows("query.weight"),
                    rows("key.weight"),
                    rows("value.weight"),
                    rows("up_gate.weight"),
                );
                for t in 0..ids.len() {
                    let mut attended = Vec::new();
                    for head in q[t].chunks(config.head_size) {
                        let query = turned(head, t, ids.len(), xpos);
                        let weights: Vec<f64> = (0..=t)
                            .map(|s| {
                                let key = turned(&k[s], s, ids.len(), -xpos);
                                let product: f64 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
                                (product / (config.head_size as f64).sqrt()).exp()
                            })
                            .collect();
                        let sum: f64 = weights.iter().sum();
                        let of_place = |i: usize| {
                            weights.iter().zip(&v).map(|(w, v)| w * v[i]).sum::<f64>() / sum
                        };
                        attended.extend((0..config.head_size).map(of_place));
                    }
                    let (up, gate) = f[t].split_at(4 * config.width);
                    let fed: Vec<f64> = up
                        .iter()
                        .zip(gate)
                        .map(|(u, g)| u * g / (1.0 + (-g).exp()))
                        .collect();
                    let (a, b) = (
                        times(&of("attention_out.weight"), &attended),
                        times(&of("down.weight"), &fed),
                    );
                    for i in 0..config.width {
                        x[t][i] += a[i] + b[i];
                    }
                }
            }
            let losses = x.iter().zip(next).map(|(row, &next)| {
                let logits = times(&embedding, &normalized(row, &matrix("norm.gain")[0]));
                logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[next as usize]
            });
            losses.sum::<f64>() / ids.len() as f64
        }
    }

    #[test]
    fn loss_equals_that_of_the_plain_reference() {
        for xpos in [false, true] {
            let (model, parameters) = Model::new(tiny(xpos), 8, DType::F64, &Device::Cpu).unwrap();
            // Larger embeddings than the initial ones, so that attention is far from uniform.
            let embedding = &parameters[0].variable;
            embedding
                .set(&(embedding.as_detached_tensor() * 40.0).unwrap())
                .unwrap();
            let hidden = model.forward(&IDS, &model.positions(10)).unwrap();
            let targets = Targets {
                ids: &NEXT,
                trained: &[true; 10],
            };
            let ours = linear_cross_entropy(&hidden, model.head(), targets, 0.1)
                .unwrap()
                .nats
                / 10.0;
            let reference = reference::loss(&tiny(xpos), &parameters, &IDS, &NEXT);
            assert!(
                (ours - reference).abs() < 1e-11,
                "{ours} is not {reference}"
            );
        }
    }
}
