use candle_core::{DType, Device};

use super::*;
use crate::ops::fused::Kernel;
use crate::ops::{Activation, Fused, Norm, Portable};

const IDS: [u32; 10] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
const NEXT: [u32; 10] = [1, 4, 1, 5, 9, 2, 6, 5, 3, 10];
const MASK: [bool; 10] = [true, true, false, true, true, true, true, true, false, true];
const STARTS: [u32; 10] = [0, 0, 2, 2, 2, 0, 0, 0, 3, 3];

/// Both families and the axes between them.
pub(super) fn all() -> Vec<ModelConfig> {
    let palm = Family::Palm.model(11, 6, 2, 3, 4);
    let mpt = Family::Mpt.model(11, 8, 2, 2, 4);
    vec![
        palm,
        ModelConfig {
            norm: Norm::Rms,
            positions: Positions::Xpos,
            ..palm
        },
        mpt,
        ModelConfig {
            heads: 4,
            key_heads: 2,
            positions: Positions::Rotary,
            activation: Activation::Swiglu,
            feed_forward: 5,
            ..mpt
        },
        ModelConfig {
            activation: Activation::Gelu,
            positions: Positions::Alibi,
            ..palm
        },
    ]
}

fn sequences(starts: bool) -> Sequences<'static> {
    Sequences {
        ids: &IDS,
        starts: starts.then_some(&STARTS),
    }
}

const TARGETS: Targets<'static> = Targets {
    ids: &NEXT,
    trained: &MASK,
};

/// A model whose embedding is large enough for attention to be far from uniform.
pub(super) fn lively<B: Backend>(config: ModelConfig, backend: B) -> Model<B> {
    let mut model = Model::new(config, 8, backend).unwrap();
    let embedding = model.backend.read(&model.parameters, 0).unwrap();
    let factor = match config.initial {
        Initial::Uniform => 40.0,
        Initial::Kaiming => 1.5,
    };
    let larger: Vec<f32> = embedding.iter().map(|x| factor * x).collect();
    model
        .backend
        .write(&mut model.parameters, 0, &larger)
        .unwrap();
    model
}

fn gradients<B: Backend>(model: &Model<B>, keep: Keep, starts: bool) -> (f64, Vec<Vec<f32>>) {
    let mut gradients = model.store().unwrap();
    let length = model.length(5).unwrap();
    let options = LossOptions::scaled(0.125);
    let losses = model
        .add_gradients(
            sequences(starts),
            TARGETS,
            &length,
            options,
            keep,
            &mut gradients,
        )
        .unwrap();
    let all = (0..model.shapes.len())
        .map(|index| model.backend.read(&gradients, index).unwrap())
        .collect();
    (losses.nats, all)
}

#[test]
fn gradients_are_those_of_finite_differences_and_reach_every_parameter() {
    for config in all() {
        for starts in [false, true] {
            let mut model = lively(config, Fused::<f64>::default());
            let (_, found) = gradients(&model, Keep::All, starts);
            let length = model.length(5).unwrap();
            for (index, found) in found.iter().enumerate() {
                let name = model.shapes[index].name.clone();
                let values = model.backend.read(&model.parameters, index).unwrap();
                assert!(
                    found.iter().any(|&g| g != 0.0) && found.iter().all(|g| g.is_finite()),
                    "{name} has no gradient"
                );
                for at in [0, values.len() / 2, values.len() - 1] {
                    let mut loss = |by: f32| {
                        let mut moved = values.clone();
                        moved[at] += by;
                        model
                            .backend
                            .write(&mut model.parameters, index, &moved)
                            .unwrap();
                        let losses = model.losses(sequences(starts), TARGETS, &length).unwrap();
                        (losses.nats * 0.125, f64::from(moved[at]))
                    };
                    let step = 1.0 / 4096.0;
                    let ((up, right), (down, left)) = (loss(step), loss(-step));
                    let slope = (up - down) / (right - left);
                    loss(0.0);
                    let ours = f64::from(found[at]);
                    assert!(
                        (slope - ours).abs() < 1e-7 + 1e-5 * slope.abs(),
                        "{name}[{at}] of {config:?}: {slope} by differences, {ours} backward"
                    );
                }
            }
        }
    }
}

#[test]
fn both_backends_have_the_same_losses_and_gradients() {
    for config in all() {
        let fused = lively(config, Fused::<f64>::default());
        let portable = lively(config, Portable::new(Device::Cpu, DType::F64));
        for starts in [false, true] {
            let left = gradients(&fused, Keep::All, starts);
            let right = gradients(&portable, Keep::All, starts);
            assert!((left.0 - right.0).abs() < 1e-10, "{config:?}");
            for ((left, right), of) in left.1.iter().zip(&right.1).zip(&fused.shapes) {
                let size = right.iter().fold(0f32, |most, x| most.max(x.abs()));
                let near = left
                    .iter()
                    .zip(right)
                    .all(|(l, r)| (l - r).abs() <= 1e-6 * size);
                assert!(near, "{} of {config:?}", of.name);
            }
        }
    }
}

/// Of each parameter the distance of two gradients, as a part of the length of the second.
fn apart(left: &[Vec<f32>], right: &[Vec<f32>]) -> Vec<f64> {
    let length = |numbers: &mut dyn Iterator<Item = f32>| -> f64 {
        numbers
            .map(|x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt()
    };
    let of_each = left.iter().zip(right).map(|(left, right)| {
        let distance = length(&mut left.iter().zip(right).map(|(l, r)| l - r));
        distance / length(&mut right.iter().copied())
    });
    of_each.collect()
}

#[test]
fn in_bf16_both_backends_and_all_kernels_have_the_same_losses_and_gradients() {
    for config in all() {
        let portable = lively(config, Portable::new(Device::Cpu, DType::F64).in_bf16());
        let exact = lively(config, Fused::<f32>::default());
        for starts in [false, true] {
            let oracle = gradients(&portable, Keep::All, starts);
            let fused = lively(config, Fused::<f64>::in_bf16(Kernel::Rounded));
            let in_doubles = gradients(&fused, Keep::All, starts);
            assert!((in_doubles.0 - oracle.0).abs() < 1e-10, "{config:?}");
            let apart_in_doubles = apart(&in_doubles.1, &oracle.1);
            assert!(
                apart_in_doubles.iter().all(|&apart| apart < 1e-6),
                "{apart_in_doubles:?}"
            );
            let single = gradients(&exact, Keep::All, starts);
            for kernel in Kernel::available() {
                let model = lively(config, Fused::<f32>::in_bf16(kernel));
                let ours = gradients(&model, Keep::All, starts);
                assert_eq!(ours, gradients(&model, Keep::Inputs, starts));
                // Sums of single precision are off by 1e-7, by which now and then a number is rounded to its other neighbour in bf16,
                // 2^-8 away.
                assert!((ours.0 - oracle.0).abs() < 1e-2, "{kernel:?} {config:?}");
                let near = apart(&ours.1, &oracle.1);
                assert!(
                    near.iter().all(|&apart| apart < 4e-3),
                    "{kernel:?} {near:?}"
                );
                // And rounding is to be seen, but is no more than that.
                for apart in apart(&ours.1, &single.1) {
                    assert!(
                        apart > 1e-4 && apart < 0.05,
                        "{kernel:?} {apart} of {config:?}"
                    );
                }
            }
        }
    }
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs an NVIDIA GPU: cargo test --release -p andromeda-trainer --features cuda --lib -- --ignored"]
fn a_gpu_has_the_same_losses_and_gradients() {
    use crate::ops::cuda::{Cuda, Precision};
    for config in all() {
        let fused = lively(config, Fused::<f32>::default());
        let cuda = lively(config, Cuda::new(0, Precision::Single).unwrap());
        for starts in [false, true] {
            let left = gradients(&cuda, Keep::All, starts);
            let right = gradients(&fused, Keep::All, starts);
            assert!((left.0 - right.0).abs() < 1e-4, "{config:?}");
            for ((left, right), of) in left.1.iter().zip(&right.1).zip(&fused.shapes) {
                let size = right.iter().fold(0f32, |most, x| most.max(x.abs()));
                let near = left
                    .iter()
                    .zip(right)
                    .all(|(l, r)| (l - r).abs() <= 1e-4 * size);
                assert!(near, "{} of {config:?}: {left:?} is not {right:?}", of.name);
            }
            assert_eq!(left, gradients(&cuda, Keep::Inputs, starts));
        }
    }
}

#[test]
fn computing_blocks_again_changes_no_bit() {
    for config in all() {
        let model = lively(config, Fused::<f32>::default());
        let [all, inputs] = [Keep::All, Keep::Inputs].map(|keep| gradients(&model, keep, false));
        assert_eq!(all, inputs);
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let palm = Family::Palm.model(300, 48, 2, 3, 16);
    for config in [palm, Family::Mpt.model(300, 48, 2, 3, 16)] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let model = Model::new(config, 1, Fused::<f32>::default()).unwrap();
                let ids: Vec<u32> = (0..4 * 200).map(|i| i * 7 % 300).collect();
                let trained = vec![true; ids.len()];
                let mut gradients = model.store().unwrap();
                let nats = model
                    .add_gradients(
                        Sequences {
                            ids: &ids,
                            starts: None,
                        },
                        Targets {
                            ids: &ids,
                            trained: &trained,
                        },
                        &model.length(200).unwrap(),
                        LossOptions::scaled(1e-3),
                        Keep::All,
                        &mut gradients,
                    )
                    .unwrap()
                    .nats;
                let all: Vec<Vec<f32>> = (0..model.shapes.len())
                    .map(|index| model.backend.read(&gradients, index).unwrap())
                    .collect();
                (nats, all)
            })
        };
        let one = with(1);
        for threads in [2, 3, 5] {
            assert!(one == with(threads), "{threads} threads");
        }
    }
}

#[test]
fn micro_batches_with_unequal_masks_add_up_to_the_whole_batch() {
    for config in all() {
        let model = lively(config, Fused::<f64>::default());
        let (whole, of_whole) = gradients(&model, Keep::All, false);
        let mut parts = model.store().unwrap();
        let length = model.length(5).unwrap();
        let mut sum = 0.0;
        for half in [0..5, 5..10] {
            let targets = Targets {
                ids: &NEXT[half.clone()],
                trained: &MASK[half.clone()],
            };
            let sequences = Sequences {
                ids: &IDS[half],
                starts: None,
            };
            let options = LossOptions::scaled(0.125);
            sum += model
                .add_gradients(sequences, targets, &length, options, Keep::All, &mut parts)
                .unwrap()
                .nats;
        }
        assert!((whole - sum).abs() < 1e-12);
        for (index, whole) in of_whole.iter().enumerate() {
            let parts = model.backend.read(&parts, index).unwrap();
            for (left, right) in whole.iter().zip(&parts) {
                assert!((left - right).abs() < 1e-6, "{}", model.shapes[index].name);
            }
        }
    }
}

#[test]
fn a_token_changes_nothing_before_itself_and_sequences_do_not_see_each_other() {
    for config in all() {
        let model = lively(config, Fused::<f64>::default());
        let length = model.length(5).unwrap();
        let hidden = |ids: &[u32]| {
            let hidden = model
                .hidden(Sequences { ids, starts: None }, &length)
                .unwrap();
            model.backend.numbers(&hidden).unwrap()
        };
        let width = config.width;
        let before = hidden(&IDS);
        for place in 0..10 {
            let mut ids = IDS;
            ids[place] = 7;
            let after = hidden(&ids);
            for row in 0..10 {
                let same =
                    before[row * width..(row + 1) * width] == after[row * width..(row + 1) * width];
                let sees = row >= place && row / 5 == place / 5;
                assert_eq!(same, !sees, "token {place}, row {row} of {config:?}");
            }
        }
    }
}

#[test]
fn seeds_and_names_decide_the_first_values() {
    let config = Family::Mpt.model(64, 64, 8, 2, 32);
    let values = |seed| {
        let model = Model::new(config, seed, Fused::<f32>::default()).unwrap();
        let read = |index| model.backend.read(&model.parameters, index).unwrap();
        (0..model.shapes.len()).map(read).collect::<Vec<_>>()
    };
    let first = values(5);
    assert_eq!(first, values(5));
    assert_ne!(first, values(6));
    let deviation = |numbers: &[f32]| {
        let squares: f64 = numbers.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        (squares / numbers.len() as f64).sqrt()
    };
    let at = config.indices(3);
    // sqrt(2 / 64), and a quarter of it where it adds to the residual of eight blocks.
    assert!((deviation(&first[at.query]) - 0.1768).abs() < 0.01);
    assert!((deviation(&first[at.attention_out]) - 0.0442).abs() < 0.003);
    assert!((deviation(&first[at.down]) - 0.0221).abs() < 0.002);
    assert!(first[at.norm].iter().all(|&gain| gain == 1.0));
}

#[test]
fn the_loss_of_a_new_model_is_that_of_guessing() {
    let config = Family::Palm.model(512, 64, 2, 2, 32);
    let model = Model::new(config, 4, Fused::<f32>::default()).unwrap();
    let length = model.length(5).unwrap();
    let losses = model.losses(sequences(false), TARGETS, &length).unwrap();
    let loss = losses.nats / MASK.iter().filter(|&&trained| trained).count() as f64;
    assert!((loss - 512f64.ln()).abs() < 0.05, "{loss}");
}

/// The architectures once more, written from their descriptions with loops over plain vectors.
mod reference {
    use super::*;

    type Matrix = Vec<Vec<f64>>;

    fn normalized(norm: Norm, row: &[f64], gain: &[f64]) -> Vec<f64> {
        let n = row.len() as f64;
        let mean = match norm {
            Norm::Layer => row.iter().sum::<f64>() / n,
            Norm::Rms => 0.0,
        };
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        let scaled = row.iter().zip(gain);
        scaled
            .map(|(x, g)| (x - mean) / (variance + 1e-5).sqrt() * g)
            .collect()
    }

    fn times(weight: &Matrix, row: &[f64]) -> Vec<f64> {
        let product = |w: &Vec<f64>| w.iter().zip(row).map(|(a, b)| a * b).sum();
        weight.iter().map(product).collect()
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

    fn fed(activation: Activation, up: &[f64]) -> Vec<f64> {
        match activation {
            Activation::Swiglu => {
                let (up, gate) = up.split_at(up.len() / 2);
                let gated = up.iter().zip(gate);
                gated.map(|(u, g)| u * g / (1.0 + (-g).exp())).collect()
            }
            Activation::Gelu => {
                let half = |x: f64| 0.5 * (1.0 + candle_core::cpu::erf::erf_f64(x / 2f64.sqrt()));
                up.iter().map(|&x| x * half(x)).collect()
            }
        }
    }

    /// The sum of the losses of one sequence.
    pub(super) fn loss<B: Backend>(
        model: &Model<B>,
        ids: &[u32],
        next: &[u32],
        trained: &[bool],
        starts: Option<&[u32]>,
    ) -> f64 {
        let config = &model.config;
        let matrix = |name: &str| -> Matrix {
            let index = model
                .shapes
                .iter()
                .position(|shape| shape.name == name)
                .unwrap();
            let columns = *model.shapes[index].shape.last().unwrap();
            let numbers = model.backend.read(&model.parameters, index).unwrap();
            let wide = |row: &[f32]| row.iter().map(|&x| f64::from(x)).collect();
            numbers.chunks(columns).map(wide).collect()
        };
        let xpos = if config.positions == Positions::Xpos {
            1.0
        } else {
            0.0
        };
        let embedding = matrix("embedding.weight");
        let mut x: Matrix = ids
            .iter()
            .map(|&id| embedding[id as usize].clone())
            .collect();
        for layer in 0..config.layers {
            let of = |name: &str| matrix(&format!("layers.{layer}.{name}"));
            let norm = |x: &Matrix, gain: &str| -> Matrix {
                let gain = &of(gain)[0];
                x.iter()
                    .map(|row| normalized(config.norm, row, gain))
                    .collect()
            };
            let rows = |h: &Matrix, name: &str| -> Matrix {
                let weight = of(name);
                h.iter().map(|row| times(&weight, row)).collect()
            };
            let h = norm(&x, "norm.gain");
            let (q, k, v) = (
                rows(&h, "query.weight"),
                rows(&h, "key.weight"),
                rows(&h, "value.weight"),
            );
            let n = config.head_size;
            let attended: Matrix = (0..ids.len())
                .map(|t| {
                    let mut attended = Vec::new();
                    for head in 0..config.heads {
                        let key = head / (config.heads / config.key_heads);
                        let place =
                            |row: &[f64], position: usize, power: f64| match config.positions {
                                Positions::Alibi => row.to_vec(),
                                _ => turned(row, position, ids.len(), power * xpos),
                            };
                        let query = place(&q[t][head * n..(head + 1) * n], t, 1.0);
                        let start = starts.map_or(0, |starts| starts[t] as usize);
                        let weights: Vec<f64> = (start..=t)
                            .map(|s| {
                                let key = place(&k[s][key * n..(key + 1) * n], s, -1.0);
                                let product: f64 = query.iter().zip(&key).map(|(a, b)| a * b).sum();
                                let bias = match config.positions {
                                    // 2^(-8 (h + 1) / H) where H is a power of two, as it is here or 3: then of 4.
                                    Positions::Alibi => {
                                        Attention::alibi(config.heads)[head] * (s as f64 - t as f64)
                                    }
                                    _ => 0.0,
                                };
                                (product / (n as f64).sqrt() + bias).exp()
                            })
                            .collect();
                        let sum: f64 = weights.iter().sum();
                        attended.extend((0..n).map(|i| {
                            let seen = (start..=t).zip(&weights);
                            seen.map(|(s, w)| w * v[s][key * n + i]).sum::<f64>() / sum
                        }));
                    }
                    attended
                })
                .collect();
            let out = rows(&attended, "attention_out.weight");
            let add = |x: &Matrix, y: &Matrix| -> Matrix {
                let rows = x.iter().zip(y);
                rows.map(|(x, y)| x.iter().zip(y).map(|(a, b)| a + b).collect())
                    .collect()
            };
            let up = match config.activation {
                Activation::Swiglu => "up_gate.weight",
                Activation::Gelu => "up.weight",
            };
            let feed = |h: &Matrix| -> Matrix {
                let a: Matrix = rows(h, up)
                    .iter()
                    .map(|row| fed(config.activation, row))
                    .collect();
                rows(&a, "down.weight")
            };
            x = match config.block {
                Block::Parallel => add(&add(&x, &out), &feed(&h)),
                Block::Sequential => {
                    let middle = add(&x, &out);
                    add(&middle, &feed(&norm(&middle, "second_norm.gain")))
                }
            };
        }
        let gain = &matrix("norm.gain")[0];
        let losses = x
            .iter()
            .zip(next)
            .zip(trained)
            .map(|((row, &next), &trained)| {
                let logits = times(&embedding, &normalized(config.norm, row, gain));
                let nats = logits.iter().map(|z| z.exp()).sum::<f64>().ln() - logits[next as usize];
                if trained { nats } else { 0.0 }
            });
        losses.sum()
    }
}

#[test]
fn losses_equal_those_of_the_plain_reference() {
    for config in all() {
        let model = lively(config, Fused::<f64>::default());
        for starts in [false, true] {
            let length = model.length(5).unwrap();
            let ours = model
                .losses(sequences(starts), TARGETS, &length)
                .unwrap()
                .nats;
            let reference: f64 = [0..5, 5..10]
                .into_iter()
                .map(|half| {
                    let (ids, next, mask) =
                        (&IDS[half.clone()], &NEXT[half.clone()], &MASK[half.clone()]);
                    reference::loss(&model, ids, next, mask, starts.then(|| &STARTS[half]))
                })
                .sum();
            assert!(
                (ours - reference).abs() < 1e-9,
                "{config:?}: {ours} is not {reference}"
            );
        }
    }
}
