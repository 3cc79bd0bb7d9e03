//! Each operation against its other form and, backward, against finite differences, in double precision.

#![expect(
    clippy::cast_possible_truncation,
    reason = "made-up numbers are rounded to what a backend takes, and small counts are ids"
)]

use candle_core::{DType, Device};

use super::fused::Kernel;
use super::*;
use crate::random::Stream;

fn made_up(name: &str, count: usize) -> Vec<f32> {
    let stream = Stream::new(11, name);
    (0..count as u64).map(|i| stream.normal(i) as f32).collect()
}

/// A backend with one weight (rows, columns) that holds made-up numbers, which is how a test gets a buffer too.
fn store<B: Backend>(backend: &B, places: &[(usize, usize)]) -> B::Store {
    let places: Vec<Place> = places
        .iter()
        .map(|&(rows, columns)| Place { rows, columns })
        .collect();
    let mut store = backend.store(&places).unwrap();
    for (index, place) in places.iter().enumerate() {
        let numbers = made_up(&format!("weight {index}"), place.count());
        backend.write(&mut store, index, &numbers).unwrap();
    }
    store
}

/// A buffer of given numbers: an embedding's rows in order.
fn buffer<B: Backend>(backend: &B, numbers: &[f32], width: usize) -> B::Buffer {
    let rows = numbers.len() / width;
    // Two rows at least: a place of one is a gain.
    let mut padded = numbers.to_vec();
    padded.resize((rows + 1) * width, 0.0);
    let place = Place {
        rows: rows + 1,
        columns: width,
    };
    let mut store = backend.store(&[place]).unwrap();
    backend.write(&mut store, 0, &padded).unwrap();
    let ids: Vec<u32> = (0..rows as u32).collect();
    backend.embed(&store, 0, &ids).unwrap()
}

fn both() -> (Fused<f64>, Portable) {
    (Fused::default(), Portable::new(Device::Cpu, DType::F64))
}

fn close<L, R>(left: &[L], right: &[R], what: &str)
where
    L: Copy + Into<f64>,
    R: Copy + Into<f64>,
{
    assert_eq!(left.len(), right.len(), "{what}");
    let size = right.iter().fold(1f64, |most, &x| most.max(x.into().abs()));
    for (at, (&l, &r)) in left.iter().zip(right).enumerate() {
        let (l, r): (f64, f64) = (l.into(), r.into());
        assert!(
            (l - r).abs() <= 1e-6 * size,
            "{what} [{at}]: {l} is not {r}"
        );
    }
}

/// The derivative of `value` at each number by differences, against `gradient`.
fn differences<G>(numbers: &[f32], gradient: &[G], what: &str, value: impl Fn(&[f32]) -> f64)
where
    G: Copy + Into<f64>,
{
    assert_eq!(numbers.len(), gradient.len(), "{what}");
    let size = gradient
        .iter()
        .fold(1f64, |most, &x| most.max(x.into().abs()));
    let step = 1.0 / 4096.0;
    for at in 0..numbers.len() {
        // How far a number moved is what single precision made of the step.
        let moved = |by: f32| {
            let mut moved = numbers.to_vec();
            moved[at] += by;
            (value(&moved), f64::from(moved[at]))
        };
        let ((up, right), (down, left)) = (moved(step), moved(-step));
        let slope = (up - down) / (right - left);
        let ours: f64 = gradient[at].into();
        assert!(
            (slope - ours).abs() <= 3e-6 * size,
            "{what} [{at}]: {slope} by differences, {ours} backward"
        );
    }
}

/// A made-up linear functional of a result.
fn functional(numbers: &[f64]) -> f64 {
    let weights = made_up("functional", numbers.len());
    let products = numbers.iter().zip(weights);
    products.map(|(&x, w)| x * f64::from(w)).sum()
}

/// As a backend takes them.
fn narrow(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&x| x as f32).collect()
}

/// As [`close`] wants them.
fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|&x| f64::from(x)).collect()
}

#[test]
fn norms_and_their_gradients() {
    let width = 21;
    let x = made_up("x", 5 * width);
    for norm in [Norm::Layer, Norm::Rms] {
        fn run<B: Backend>(backend: &B, norm: Norm, x: &[f32], width: usize) -> [Vec<f64>; 3] {
            let gains = store(backend, &[(1, width)]);
            let mut gradients = backend
                .store(&[Place {
                    rows: 1,
                    columns: width,
                }])
                .unwrap();
            let rows = x.len() / width;
            let x = buffer(backend, x, width);
            let y = backend.norm(norm, &x, &gains, 0).unwrap();
            let dy = buffer(backend, &made_up("functional", rows * width), width);
            let mut dx = backend.zeros(rows, width).unwrap();
            backend
                .norm_backward(norm, &x, &gains, 0, &dy, &mut dx, &mut gradients)
                .unwrap();
            [
                backend.numbers(&y).unwrap(),
                backend.numbers(&dx).unwrap(),
                wide(&backend.read(&gradients, 0).unwrap()),
            ]
        }
        let (fused, portable) = both();
        let (left, right) = (
            run(&fused, norm, &x, width),
            run(&portable, norm, &x, width),
        );
        for (left, right) in left.iter().zip(&right) {
            close(left, right, "norm");
        }
        differences(&x, &left[1], "norm", |x| {
            functional(&run(&fused, norm, x, width)[0])
        });
    }
}

#[test]
fn activations_and_their_gradients() {
    for (activation, width) in [(Activation::Swiglu, 21), (Activation::Gelu, 18)] {
        fn run<B: Backend>(
            backend: &B,
            activation: Activation,
            x: &[f32],
            width: usize,
        ) -> [Vec<f64>; 2] {
            let wide = width * activation.inputs();
            let rows = x.len() / wide;
            let x = buffer(backend, x, wide);
            let y = backend.activate(activation, &x, width).unwrap();
            let dy = buffer(backend, &made_up("functional", rows * width), width);
            let dx = backend
                .activate_backward(activation, x, &dy, width)
                .unwrap();
            [backend.numbers(&y).unwrap(), backend.numbers(&dx).unwrap()]
        }
        let x = made_up("x", 7 * 18);
        let (fused, portable) = both();
        let left = run(&fused, activation, &x, width);
        let right = run(&portable, activation, &x, width);
        for (left, right) in left.iter().zip(&right) {
            close(left, right, "activation");
        }
        differences(&x, &left[1], "activation", |x| {
            functional(&run(&fused, activation, x, width)[0])
        });
    }
}

#[test]
fn linear_maps_and_their_gradients() {
    let (rows, inputs, outputs) = (4, 6, 5);
    fn run<B: Backend>(backend: &B, x: &[f32], outputs: usize, inputs: usize) -> [Vec<f64>; 3] {
        let weights = store(backend, &[(outputs, inputs)]);
        let mut gradients = store(backend, &[(outputs, inputs)]);
        let rows = x.len() / inputs;
        let x = buffer(backend, x, inputs);
        let mut y = backend.linear(&x, &weights, 0).unwrap();
        backend.add_linear(&x, &weights, 0, &mut y).unwrap();
        let dy = buffer(backend, &made_up("functional", rows * outputs), outputs);
        let mut dx = backend.linear_input(&dy, &weights, 0).unwrap();
        backend.add_linear_input(&dy, &weights, 0, &mut dx).unwrap();
        backend.linear_weight(&dy, &x, &mut gradients, 0).unwrap();
        [
            backend.numbers(&y).unwrap(),
            backend.numbers(&dx).unwrap(),
            wide(&backend.read(&gradients, 0).unwrap()),
        ]
    }
    let x = made_up("x", rows * inputs);
    let (fused, portable) = both();
    let left = run(&fused, &x, outputs, inputs);
    for (left, right) in left.iter().zip(&run(&portable, &x, outputs, inputs)) {
        close(left, right, "linear");
    }
    differences(&x, &left[1], "linear", |x| {
        functional(&run(&fused, x, outputs, inputs)[0])
    });
    // Gradients are added to what is there.
    let before = wide(&made_up("weight 0", outputs * inputs));
    let dy = made_up("functional", rows * outputs);
    for o in 0..outputs {
        for i in 0..inputs {
            let added: f32 = (0..rows)
                .map(|r| dy[r * outputs + o] * x[r * inputs + i])
                .sum();
            assert!(
                (left[2][o * inputs + i] - before[o * inputs + i] - f64::from(added)).abs() < 1e-5
            );
        }
    }
}

#[test]
fn rotations_keep_what_distance_says_and_turn_back() {
    let (positions, heads, size) = (7, 2, 6);
    for xpos in [XPos::Off, XPos::Query, XPos::Key] {
        let table = RotaryTable::new(0, positions, positions, size, xpos);
        fn run<B: Backend>(
            backend: &B,
            table: &RotaryTable,
            x: &[f32],
            heads: usize,
            inverse: bool,
        ) -> Vec<f64> {
            let on_device = backend.table(table).unwrap();
            let mut x = buffer(backend, x, heads * 2 * table.half);
            backend.rotate(&mut x, &on_device, heads, inverse).unwrap();
            backend.numbers(&x).unwrap()
        }
        let x = made_up("x", 3 * positions * heads * size);
        let (fused, portable) = both();
        let left = run(&fused, &table, &x, heads, false);
        close(&left, &run(&portable, &table, &x, heads, false), "rotation");
        // The backward is the transpose, and that is the inverse but for the scale.
        let weights = made_up("functional", x.len());
        let gradient = run(&fused, &table, &weights, heads, true);
        differences(&x, &gradient, "rotation", |x| {
            functional(&run(&fused, &table, x, heads, false))
        });
        if xpos == XPos::Off {
            close(
                &run(&fused, &table, &narrow(&left), heads, true),
                &x,
                "there and back",
            );
        }
    }
    // Products of rotated queries and keys depend on the distance alone, also from another place on.
    let (fused, _) = both();
    let (positions, size) = (40, 8);
    let row = |name: &str| made_up(name, size).repeat(positions);
    let rotated = |name: &str, first: usize, xpos| {
        let table = RotaryTable::new(first, positions, 64, size, xpos);
        let table = fused.table(&table).unwrap();
        let mut x = buffer(&fused, &row(name), size);
        fused.rotate(&mut x, &table, 1, false).unwrap();
        fused.numbers(&x).unwrap()
    };
    for (of_queries, of_keys) in [(XPos::Off, XPos::Off), (XPos::Query, XPos::Key)] {
        let (q, k) = (rotated("q", 5, of_queries), rotated("k", 5, of_keys));
        let product = |i: usize, j: usize| -> f64 {
            let (q, k) = (&q[i * size..(i + 1) * size], &k[j * size..(j + 1) * size]);
            q.iter().zip(k).map(|(a, b)| a * b).sum()
        };
        assert!((product(9, 4) - product(35, 30)).abs() < 1e-9);
        assert!((product(9, 4) - product(9, 5)).abs() > 1e-3);
    }
}

/// Attention with plain loops.
fn slow_attention(q: &[f32], k: &[f32], v: &[f32], attention: &Attention) -> Vec<f64> {
    let Heads {
        queries,
        keys,
        size,
    } = attention.heads;
    let positions = attention.positions;
    let rows = q.len() / (queries * size);
    let mut o = Vec::new();
    for row in 0..rows {
        let (sequence, t) = (row / positions, row % positions);
        let start = attention
            .starts
            .as_ref()
            .map_or(0, |starts| starts[row] as usize);
        for head in 0..queries {
            let of_key = |numbers: &[f32], s: usize, i: usize| -> f64 {
                let key = head / (queries / keys);
                f64::from(numbers[((sequence * positions + s) * keys + key) * size + i])
            };
            let scores: Vec<f64> = (start..=t)
                .map(|s| {
                    let product: f64 = (0..size)
                        .map(|i| f64::from(q[(row * queries + head) * size + i]) * of_key(k, s, i))
                        .sum();
                    let bias = attention
                        .slopes
                        .as_ref()
                        .map_or(0.0, |slopes| slopes[head] * (s as f64 - t as f64));
                    (product / (size as f64).sqrt() + bias).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            for i in 0..size {
                let seen = (start..=t).zip(&scores);
                let sum: f64 = seen.map(|(s, score)| score * of_key(v, s, i)).sum();
                o.push(sum / total);
            }
        }
    }
    o
}

#[test]
fn attention_and_its_gradients() {
    // One key head for all, as many as queries, and one for two; a length that no tile or block divides; documents.
    for (queries, keys) in [(3, 1), (2, 2), (4, 2)] {
        for (positions, sequences) in [(5, 2), (150, 1)] {
            for alibi in [false, true] {
                for documents in [false, true] {
                    let size = 4;
                    let rows = positions * sequences;
                    let starts = documents.then(|| {
                        let start = |row: usize| (row % positions) / 3 * 3;
                        (0..rows).map(|row| start(row) as u32).collect()
                    });
                    let attention = Attention {
                        positions,
                        heads: Heads {
                            queries,
                            keys,
                            size,
                        },
                        slopes: alibi.then(|| Attention::alibi(queries)),
                        starts,
                    };
                    attention_of(&attention, rows);
                }
            }
        }
    }
}

#[test]
fn attention_in_bf16_rounds_what_it_multiplies_and_no_more() {
    let distance = |left: &[f64], right: &[f64]| -> f64 {
        let squares = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
        let apart = squares(&mut left.iter().zip(right).map(|(l, r)| l - r));
        (apart / squares(&mut right.iter().copied())).sqrt()
    };
    for (queries, keys) in [(3, 1), (2, 2)] {
        // One block of keys, where both round the same numbers, and several, where exponentials are of distances from other numbers.
        for (positions, near) in [(100, 1e-6), (300, 4e-3)] {
            let size = 16;
            let attention = Attention {
                positions,
                heads: Heads {
                    queries,
                    keys,
                    size,
                },
                slopes: None,
                starts: None,
            };
            let q = made_up("q", positions * queries * size);
            let (k, v) = (
                made_up("k", positions * keys * size),
                made_up("v", positions * keys * size),
            );
            let inputs = [&q[..], &k, &v];
            let (fused, portable) = both();
            let exact = attended(&fused, &attention, inputs);
            let oracle = attended(&portable.in_bf16(), &attention, inputs);
            let all = |of: &(Vec<f64>, [Vec<f64>; 3])| [&[of.0.clone()][..], &of.1].concat();
            let check = |ours: (Vec<f64>, [Vec<f64>; 3]), near: f64| {
                let numbers = all(&ours).into_iter().zip(all(&oracle));
                for ((ours, oracle), exact) in numbers.zip(all(&exact)) {
                    let (apart, rounded) = (distance(&ours, &oracle), distance(&ours, &exact));
                    assert!(apart < near, "{positions}: {apart}");
                    assert!(rounded > 5e-4 && rounded < 1e-2, "{rounded}");
                }
            };
            let doubles = Fused::<f64>::in_bf16(Kernel::Rounded);
            check(attended(&doubles, &attention, inputs), near);
            for kernel in Kernel::available() {
                let singles = Fused::<f32>::in_bf16(kernel);
                check(attended(&singles, &attention, inputs), 4e-3);
            }
        }
    }
}

/// What is attended to, and the gradients of queries, keys and values.
fn attended<B: Backend>(
    backend: &B,
    attention: &Attention,
    inputs: [&[f32]; 3],
) -> (Vec<f64>, [Vec<f64>; 3]) {
    let Heads {
        queries,
        keys,
        size,
    } = attention.heads;
    let q = buffer(backend, inputs[0], queries * size);
    let k = buffer(backend, inputs[1], keys * size);
    let v = buffer(backend, inputs[2], keys * size);
    let (o, sums) = backend.attend(&q, &k, &v, attention).unwrap();
    let dout = buffer(
        backend,
        &made_up("functional", inputs[0].len()),
        queries * size,
    );
    let (dq, dk, dv) = backend
        .attend_backward(&q, &k, &v, &o, &sums, &dout, attention)
        .unwrap();
    (
        backend.numbers(&o).unwrap(),
        [dq, dk, dv].map(|gradient| backend.numbers(&gradient).unwrap()),
    )
}

fn attention_of(attention: &Attention, rows: usize) {
    let Heads {
        queries,
        keys,
        size,
    } = attention.heads;
    let q = made_up("q", rows * queries * size);
    let (k, v) = (
        made_up("k", rows * keys * size),
        made_up("v", rows * keys * size),
    );
    let (fused, portable) = both();
    let (o, gradients) = attended(&fused, attention, [&q, &k, &v]);
    let (other, others) = attended(&portable, attention, [&q, &k, &v]);
    close(&o, &other, "attention");
    close(&o, &slow_attention(&q, &k, &v, attention), "attention");
    for (gradient, other) in gradients.iter().zip(&others) {
        close(gradient, other, "gradient of attention");
    }
    if rows <= 10 {
        let value = |inputs: [&[f32]; 3]| functional(&attended(&fused, attention, inputs).0);
        differences(&q, &gradients[0], "queries", |q| value([q, &k, &v]));
        differences(&k, &gradients[1], "keys", |k| value([&q, k, &v]));
        differences(&v, &gradients[2], "values", |v| value([&q, &k, v]));
    }
}

#[test]
fn a_position_sees_nothing_after_itself_or_before_its_document() {
    let (fused, _) = both();
    let attention = Attention {
        positions: 6,
        heads: Heads {
            queries: 2,
            keys: 1,
            size: 4,
        },
        slopes: None,
        starts: Some(vec![0, 0, 2, 2, 2, 5]),
    };
    let (q, mut k, v) = (made_up("q", 48), made_up("k", 24), made_up("v", 24));
    let run = |k: &[f32]| {
        let (q, k, v) = (
            buffer(&fused, &q, 8),
            buffer(&fused, k, 4),
            buffer(&fused, &v, 4),
        );
        fused
            .numbers(&fused.attend(&q, &k, &v, &attention).unwrap().0)
            .unwrap()
    };
    let before = run(&k);
    // The key of position 3, in the document of 2 to 4.
    k[3 * 4] += 1.0;
    let after = run(&k);
    for position in 0..6 {
        let same =
            before[position * 8..(position + 1) * 8] == after[position * 8..(position + 1) * 8];
        assert_eq!(same, !(3..5).contains(&position), "position {position}");
    }
}

#[test]
fn slopes_are_those_of_llm_foundry() {
    // llmfoundry.models.layers.attention.gen_slopes(4) and gen_slopes(6).
    assert_eq!(Attention::alibi(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
    assert_eq!(
        Attention::alibi(6),
        [0.25, 0.0625, 0.015_625, 0.003_906_25, 0.5, 0.125]
    );
}

/// Losses, the gradient of `x` and that of the weights.
fn loss_on<B: Backend>(
    backend: &B,
    x: &[f32],
    weight: &[f32],
    width: usize,
    targets: Targets<'_>,
    options: LossOptions,
) -> (Losses, Vec<f64>, Vec<f64>) {
    let place = Place {
        rows: weight.len() / width,
        columns: width,
    };
    let mut weights = backend.store(&[place]).unwrap();
    backend.write(&mut weights, 0, weight).unwrap();
    let mut gradients = backend.store(&[place]).unwrap();
    let x = buffer(backend, x, width);
    let (alone, none) = backend
        .loss(&x, &weights, 0, targets, options, None)
        .unwrap();
    assert!(none.is_none());
    let (losses, dx) = backend
        .loss(&x, &weights, 0, targets, options, Some(&mut gradients))
        .unwrap();
    assert!((alone.objective - losses.objective).abs() < 1e-12);
    let dx = backend.numbers(&dx.unwrap()).unwrap();
    (losses, dx, wide(&backend.read(&gradients, 0).unwrap()))
}

#[test]
fn losses_over_several_blocks_of_a_vocabulary() {
    let (rows, width, vocabulary) = (5, 4, 2 * 1024 + 7);
    let ids = [3, 1023, 1024, 2054, 1500];
    let targets = Targets {
        ids: &ids,
        trained: &[true, true, true, true, false],
    };
    let options = LossOptions {
        scale: 0.3,
        z_loss: 1e-2,
        smoothing: 0.1,
    };
    let x = made_up("x", rows * width);
    let mut weight = made_up("w", vocabulary * width);
    // The probability of whole blocks is next to none for some rows, which is no reason for theirs to be none.
    for (at, weight) in weight.iter_mut().enumerate() {
        *weight *= [1.0, 40.0, 4.0][at / width / 1024];
    }
    let (fused, portable) = both();
    let ours = loss_on(&fused, &x, &weight, width, targets, options);
    let other = loss_on(&portable, &x, &weight, width, targets, options);
    assert!((ours.0.nats - other.0.nats).abs() < 1e-9);
    assert!((ours.0.objective - other.0.objective).abs() < 1e-9);
    close(&ours.1, &other.1, "dx");
    close(&ours.2, &other.2, "dW");
}

#[test]
fn losses_and_their_gradients() {
    let (rows, width, vocabulary) = (6, 4, 7);
    let ids = [3, 0, 6, 6, 2, 1];
    let trained = [true, false, true, true, true, true];
    for (z_loss, smoothing) in [(0.0, 0.0), (1e-2, 0.0), (0.0, 0.1), (1e-2, 0.1)] {
        let options = LossOptions {
            scale: 0.3,
            z_loss,
            smoothing,
        };
        let run_on = |x: &[f32], weight: &[f32]| {
            let targets = Targets {
                ids: &ids,
                trained: &trained,
            };
            let (fused, portable) = both();
            let ours = loss_on(&fused, x, weight, width, targets, options);
            let other = loss_on(&portable, x, weight, width, targets, options);
            assert!((ours.0.nats - other.0.nats).abs() < 1e-9);
            assert!((ours.0.objective - other.0.objective).abs() < 1e-9);
            close(&ours.1, &other.1, "dx");
            close(&ours.2, &other.2, "dW");
            ours
        };
        let (x, weight) = (made_up("x", rows * width), made_up("w", vocabulary * width));
        let (losses, dx, dweight) = run_on(&x, &weight);
        differences(&x, &dx, "loss", |x| {
            run_on(x, &weight).0.objective * options.scale
        });
        differences(&weight, &dweight, "loss", |w| {
            run_on(&x, w).0.objective * options.scale
        });
        assert!(dx[width..2 * width].iter().all(|&x| x == 0.0));
        if z_loss == 0.0 && smoothing == 0.0 {
            assert_eq!(losses.nats, losses.objective);
        }
    }
}

#[test]
fn embeddings_and_their_gradients() {
    let ids = [4, 1, 4, 0];
    fn run<B: Backend>(backend: &B, ids: &[u32]) -> [Vec<f64>; 2] {
        let table = store(backend, &[(5, 3)]);
        let mut gradients = store(backend, &[(5, 3)]);
        let x = backend.embed(&table, 0, ids).unwrap();
        let dx = buffer(backend, &made_up("functional", 12), 3);
        backend.embed_backward(ids, &dx, &mut gradients, 0).unwrap();
        assert!(backend.embed(&table, 0, &[5]).is_err());
        [
            backend.numbers(&x).unwrap(),
            wide(&backend.read(&gradients, 0).unwrap()),
        ]
    }
    let (fused, portable) = both();
    let (left, right) = (run(&fused, &ids), run(&portable, &ids));
    let table = made_up("weight 0", 15);
    assert_eq!(
        left[0],
        wide(&[&table[12..15], &table[3..6], &table[12..15], &table[0..3]].concat())
    );
    for (left, right) in left.iter().zip(&right) {
        close(left, right, "embedding");
    }
}

#[test]
fn steps_of_both_backends_are_the_same() {
    let rules = [
        (
            Rule::Adam {
                keep: 0.99,
                rate: 0.1,
                beta1: 0.9,
                beta2: 0.95,
                root: 1.3,
                epsilon: 1e-8,
            },
            2,
        ),
        (
            Rule::Lion {
                keep: 0.99,
                rate: 0.1,
                beta1: 0.9,
                beta2: 0.99,
            },
            1,
        ),
    ];
    for (rule, moments) in rules {
        fn run<B: Backend>(backend: &B, rule: Rule, moments: usize) -> Vec<Vec<f32>> {
            let places = [(3, 4), (1, 5)];
            let mut values = store(backend, &places);
            let gradients = store(backend, &places);
            let places = places.map(|(rows, columns)| Place { rows, columns });
            let mut moments: Vec<_> = (0..moments)
                .map(|_| backend.store(&places).unwrap())
                .collect();
            for _ in 0..3 {
                for index in 0..2 {
                    backend
                        .update(rule, &mut values, &gradients, 0.5, &mut moments, index)
                        .unwrap();
                }
            }
            (0..2)
                .map(|index| backend.read(&values, index).unwrap())
                .collect()
        }
        let (fused, portable) = both();
        for (left, right) in run(&fused, rule, moments)
            .iter()
            .zip(&run(&portable, rule, moments))
        {
            close(left, right, "step");
        }
    }
}

/// How far gradients outgrow moments that several steps have left, of more numbers than a block takes.
#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs an NVIDIA GPU: cargo test --release -p andromeda-trainer --features cuda --lib -- --ignored"]
fn a_gpu_tells_the_same_growth() {
    fn run<B: Backend>(backend: &B) -> [f64; 2] {
        let rule = Rule::Adam {
            keep: 0.99,
            rate: 0.1,
            beta1: 0.9,
            beta2: 0.95,
            root: 1.3,
            epsilon: 1e-8,
        };
        let places = [(300, 400), (1, 5)];
        let mut values = store(backend, &places);
        let gradients = store(backend, &places);
        let places = places.map(|(rows, columns)| Place { rows, columns });
        let mut moments: Vec<_> = (0..2).map(|_| backend.store(&places).unwrap()).collect();
        [0, 1].map(|index| {
            backend
                .update(rule, &mut values, &gradients, 0.5, &mut moments, index)
                .unwrap();
            backend
                .outgrown(rule, &gradients, 2.0, &moments[1], index)
                .unwrap()
        })
    }
    let cuda = super::cuda::Cuda::new(0, super::cuda::Precision::Single).unwrap();
    for (gpu, processor) in run(&cuda).into_iter().zip(run(&Fused::<f32>::default())) {
        assert!((gpu / processor - 1.0).abs() < 1e-5, "{gpu} {processor}");
    }
}

#[test]
fn sums_of_squares_are_whole() {
    let (fused, portable) = both();
    let places = [(3, 1024), (1, 5)];
    let expected: f64 = (0..2)
        .flat_map(|i| made_up(&format!("weight {i}"), [3072, 5][i]))
        .map(|x| f64::from(x) * f64::from(x))
        .sum();
    for sum in [
        fused.squares(&store(&fused, &places)).unwrap(),
        portable.squares(&store(&portable, &places)).unwrap(),
    ] {
        assert!(
            (sum - expected).abs() < 1e-9 * expected,
            "{sum} is not {expected}"
        );
    }
}
