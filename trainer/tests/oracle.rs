//! Twenty steps beside PyTorch, from the same first values and batches: `oracle/losses.py` made the numbers in `oracle/losses.json`. With
//! faults planted in PyTorch the losses part, so the comparison would notice them here.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing"
)]

use andromeda_trainer::model::{Family, Keep, Model, ModelConfig, Positions, Sequences};
use andromeda_trainer::ops::{Backend, Fused, LossOptions, Norm, Portable, Targets};
use andromeda_trainer::optimizer::{MuonScale, Optimizer, OptimizerKind, OptimizerOptions};
use andromeda_trainer::random::Stream;
use andromeda_trainer::schedule::{Schedule, ScheduleKind};
use candle_core::{DType, Device};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What losses may differ by: sums in another order, in single precision.
const TOLERANCE: f64 = 2e-5;

#[derive(Deserialize)]
struct Oracle {
    settings: Settings,
    cases: BTreeMap<String, Trained>,
}

#[derive(Deserialize)]
struct Settings {
    steps: u64,
    warmup: u64,
    rate: f64,
    #[serde(rename = "final")]
    final_ratio: f64,
    betas: [f64; 2],
    epsilon: f64,
    decay: f64,
    clip: f64,
}

#[derive(Deserialize)]
struct Trained {
    case: Case,
    losses: Vec<f64>,
    norms: Vec<f64>,
    faults: BTreeMap<String, Vec<f64>>,
}

#[derive(Deserialize)]
struct Case {
    family: Family,
    vocabulary: usize,
    width: usize,
    layers: usize,
    heads: usize,
    head: usize,
    norm: Norm,
    positions: Positions,
    tokens: usize,
    sequences: usize,
    micro: usize,
    muon: Option<MuonScale>,
    adamw_rate: Option<f64>,
}

fn oracle() -> Oracle {
    serde_json::from_str(include_str!("../oracle/losses.json")).unwrap()
}

/// Losses and norms of the gradient of each step.
fn train<B: Backend>(
    settings: &Settings,
    case: &Case,
    backend: B,
    keep: Keep,
) -> (Vec<f64>, Vec<f64>) {
    let config = ModelConfig {
        norm: case.norm,
        positions: case.positions,
        ..case.family.model(
            case.vocabulary,
            case.width,
            case.layers,
            case.heads,
            case.head,
        )
    };
    let options = OptimizerOptions {
        beta1: settings.betas[0],
        beta2: settings.betas[1],
        epsilon: settings.epsilon,
        weight_decay: settings.decay,
        clip_norm: settings.clip,
        kind: case
            .muon
            .map_or(OptimizerKind::AdamW, |_| OptimizerKind::Muon),
        muon_scale: case.muon.unwrap_or_default(),
        adamw_rate: case.adamw_rate.unwrap_or(1.0),
        ..OptimizerOptions::default()
    };
    let schedule = Schedule {
        kind: ScheduleKind::Cosine,
        steps: settings.steps,
        warmup_steps: settings.warmup,
        peak_learning_rate: settings.rate,
        final_ratio: settings.final_ratio,
        ..Schedule::default()
    };
    let mut model = Model::new(config, 1, backend).unwrap();
    let mut optimizer = Optimizer::new(options.clone(), &model).unwrap();
    let mut gradients = model.store().unwrap();
    let length = model.length(case.tokens).unwrap();
    let (stream, mut counter) = (Stream::new(1, "batches"), 0);
    let (mut losses, mut norms) = (Vec::new(), Vec::new());
    for step in 0..settings.steps {
        let batches: Vec<_> = (0..case.micro)
            .map(|_| {
                let (mut ids, mut next) = (Vec::new(), Vec::new());
                for _ in 0..case.sequences {
                    let row: Vec<u32> = (0..=case.tokens as u64)
                        .map(|i| {
                            u32::try_from(stream.bits(counter + i) % case.vocabulary as u64)
                                .unwrap()
                        })
                        .collect();
                    counter += case.tokens as u64 + 1;
                    ids.extend_from_slice(&row[..case.tokens]);
                    next.extend_from_slice(&row[1..]);
                }
                let trained: Vec<bool> = (0..ids.len() as u64)
                    .map(|i| !(counter + i).is_multiple_of(7))
                    .collect();
                (ids, next, trained)
            })
            .collect();
        let count = |trained: &[bool]| trained.iter().filter(|&&trained| trained).count();
        let total: usize = batches.iter().map(|(_, _, trained)| count(trained)).sum();
        model.backend.clear(&mut gradients).unwrap();
        let scaled = LossOptions::scaled(1.0 / total as f64);
        let mut nats = 0.0;
        for (ids, next, trained) in &batches {
            let sequences = Sequences { ids, starts: None };
            let targets = Targets { ids: next, trained };
            nats += model
                .add_gradients(sequences, targets, &length, scaled, keep, &mut gradients)
                .unwrap()
                .nats;
        }
        let norm = model.backend.squares(&gradients).unwrap().sqrt();
        let factor = options.clip_factor(norm);
        optimizer
            .step(
                &mut model,
                &gradients,
                schedule.learning_rate(step, 0),
                factor,
            )
            .unwrap();
        losses.push(nats * scaled.scale);
        norms.push(norm);
    }
    (losses, norms)
}

fn apart(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter()
        .zip(right)
        .map(|(l, r)| (l - r).abs())
        .fold(0.0, f64::max)
}

#[test]
fn losses_follow_pytorch_at_every_step_with_and_without_computing_blocks_again() {
    let Oracle { settings, cases } = oracle();
    for (name, trained) in &cases {
        for keep in [Keep::All, Keep::Inputs] {
            let (losses, norms) = train(&settings, &trained.case, Fused::<f32>::default(), keep);
            let (of_losses, of_norms) = (
                apart(&losses, &trained.losses),
                apart(&norms, &trained.norms),
            );
            println!("{name} {keep:?}: losses apart by {of_losses:.1e}, norms by {of_norms:.1e}");
            assert!(
                of_losses <= TOLERANCE,
                "{name}: losses apart by {of_losses}"
            );
            assert!(
                of_norms <= 10.0 * TOLERANCE,
                "{name}: norms apart by {of_norms}"
            );
            for (fault, with_fault) in &trained.faults {
                let apart = apart(&losses, with_fault);
                assert!(
                    apart > 3.0 * TOLERANCE,
                    "{name}: {fault} would not be noticed: {apart}"
                );
            }
        }
    }
}

#[test]
fn the_portable_operations_follow_pytorch_too() {
    let Oracle { settings, cases } = oracle();
    for (name, trained) in &cases {
        let backend = Portable::new(Device::Cpu, DType::F32);
        let (losses, _) = train(&settings, &trained.case, backend, Keep::All);
        let apart = apart(&losses, &trained.losses);
        println!("{name}: losses apart by {apart:.1e}");
        assert!(apart <= TOLERANCE, "{name}: losses apart by {apart}");
    }
}

#[cfg(feature = "cuda")]
#[test]
#[ignore = "needs an NVIDIA GPU: cargo test --release -p andromeda-trainer --features cuda --test oracle -- --ignored"]
fn a_gpu_follows_pytorch_with_its_own_kernels_and_with_candles() {
    use andromeda_trainer::ops::cuda::{Cuda, Precision};
    use andromeda_trainer::ops::fused::Kernel;
    let Oracle { settings, cases } = oracle();
    for (name, trained) in &cases {
        let cuda = || Cuda::new(0, Precision::Single).unwrap();
        for keep in [Keep::All, Keep::Inputs] {
            let (losses, norms) = train(&settings, &trained.case, cuda(), keep);
            let (of_losses, of_norms) = (
                apart(&losses, &trained.losses),
                apart(&norms, &trained.norms),
            );
            println!("{name} {keep:?}: losses apart by {of_losses:.1e}, norms by {of_norms:.1e}");
            assert!(
                of_losses <= TOLERANCE && of_norms <= 10.0 * TOLERANCE,
                "{name}"
            );
            // The same again, bit for bit.
            assert_eq!(
                losses,
                train(&settings, &trained.case, cuda(), keep).0,
                "{name}"
            );
        }
        // In bf16 a loss is off by what rounding does, and no more than a processor's.
        let cuda = Cuda::new(0, Precision::Bf16).unwrap();
        let (losses, _) = train(&settings, &trained.case, cuda, Keep::All);
        let rounded = Fused::<f32>::in_bf16(Kernel::Rounded);
        let (others, _) = train(&settings, &trained.case, rounded, Keep::All);
        let of_losses = [apart(&losses, &trained.losses), apart(&losses, &others)];
        println!("{name} in bf16: losses apart by {of_losses:?}");
        assert!(of_losses.iter().all(|&apart| apart < 1e-2), "{name}");
        let portable = Portable::new(Device::new_cuda(0).unwrap(), DType::F32);
        let (losses, _) = train(&settings, &trained.case, portable, Keep::All);
        let apart = apart(&losses, &trained.losses);
        println!("{name} with candle's operations: losses apart by {apart:.1e}");
        assert!(apart <= TOLERANCE, "{name}: losses apart by {apart}");
    }
}

#[test]
fn every_fault_is_planted_somewhere() {
    let planted: Vec<String> = oracle()
        .cases
        .into_values()
        .flat_map(|trained| trained.faults.into_keys())
        .collect();
    for fault in [
        "epsilon-outside-root",
        "decay-on-norms",
        "interleaved-rotary",
        "slopes-off-by-one",
        "plain-momentum",
    ] {
        assert!(planted.iter().any(|planted| planted == fault), "{fault}");
    }
}
