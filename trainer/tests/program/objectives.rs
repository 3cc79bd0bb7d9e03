//! `[objective]`: pairs and judged steps, through the program, on made-up builds in which what is better is known.

use std::ops::Range;

use andromeda_format::Split;
use andromeda_trainer::checkpoint;
use andromeda_trainer::model::Model;
use andromeda_trainer::objective::process::{Lines, StepJudge};
use andromeda_trainer::ops::Fused;
use andromeda_trainer::random::Stream;
use serde_json::Value;

use crate::support::{Made, World, bytes_of, make_build_of, tokenizer};

const LINE_END: u32 = 36;
const PLUS: u32 = 37;
const MINUS: u32 = 38;

/// The tokenizer of the other tests with a line end and the two marks.
pub(crate) fn with_marks() -> Vec<u8> {
    let mut tokenizer: Value = serde_json::from_slice(&tokenizer()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    for (id, text) in [(LINE_END, "\n"), (PLUS, "+"), (MINUS, "-")] {
        vocabulary.remove(&format!("w{id}"));
        vocabulary.insert(text.to_owned(), id.into());
    }
    serde_json::to_vec(&tokenizer).unwrap()
}

/// `count` numbers from 1 to 32, each one above the one before.
fn rising(stream: &Stream, at: &mut u64, count: usize) -> Vec<u32> {
    *at += 1;
    let first = u32::try_from(stream.bits(*at) % 32).unwrap();
    (0..u32::try_from(count).unwrap())
        .map(|i| (first + i) % 32 + 1)
        .collect()
}

fn random(stream: &Stream, at: &mut u64, count: usize) -> Vec<u32> {
    let one = |_| {
        *at += 1;
        u32::try_from(stream.bits(*at) % 32).unwrap() + 1
    };
    (0..count).map(one).collect()
}

fn masked(before: usize, trained: usize, all: usize) -> Vec<Range<usize>> {
    let spans = [0..before, before + trained..all];
    spans.into_iter().filter(|span| !span.is_empty()).collect()
}

/// Of the two answers to a random prompt the preferred one rises.
pub(crate) fn pairs(seed: u64, count: usize) -> Vec<Made> {
    let (stream, mut at) = (Stream::new(seed, "pairs"), 0);
    let one = |number: usize| {
        let (prompt, answer) = (3 + number % 5, 6 + number % 7);
        let mut ids = random(&stream, &mut at, prompt);
        ids.extend(rising(&stream, &mut at, answer));
        ids.push(0);
        ids.extend(random(&stream, &mut at, answer + 2));
        ids.push(0);
        let masked = masked(prompt, answer + 1, ids.len());
        Made { ids, masked }
    };
    (0..count).map(one).collect()
}

/// Steps rise but for the first wrong one, with which every other solution ends.
pub(crate) fn solutions(seed: u64, count: usize) -> Vec<Made> {
    let (stream, mut at) = (Stream::new(seed, "solutions"), 0);
    let one = |number: usize| {
        let mut ids = random(&stream, &mut at, 4);
        let problem = ids.len();
        let right = number % 3 + usize::from(number.is_multiple_of(2));
        for step in 0..right {
            if step > 0 {
                ids.push(LINE_END);
            }
            ids.extend(rising(&stream, &mut at, 5));
        }
        let mut trained = ids.len() - problem;
        if number % 2 == 1 {
            if right > 0 {
                ids.push(LINE_END);
            }
            ids.extend(random(&stream, &mut at, 5));
        } else {
            trained += 1;
        }
        ids.push(0);
        let masked = masked(problem, trained, ids.len());
        Made { ids, masked }
    };
    (0..count).map(one).collect()
}

fn world(kind: &str, tokenizer: &[u8], make: fn(u64, usize) -> Vec<Made>) -> World {
    let world = World::new();
    let folder = world.folder.path();
    std::fs::remove_dir_all(folder.join("shards")).unwrap();
    let splits = [(Split::Train, make(1, 400)), (Split::Val, make(2, 120))];
    make_build_of(&folder.join("shards").join(kind), kind, tokenizer, &splits);
    let config = format!(
        "[model]\nwidth = 64\nlayers = 2\nheads = 2\nhead-size = 32\n\
         [data]\nsequence-tokens = 64\nsequences-per-micro-batch = 1\nmicro-batches-per-step = 16\n\
         [objective]\nkind = \"{kind}\"\n\
         [schedule]\nsteps = 40\nwarmup-steps = 5\npeak-learning-rate = 2e-3\n\
         [run]\nsave-every-steps = 10\nevaluate-every-steps = 10\nevaluation-sequences = 1000\n\
         [sample]\ntokens = 8\n"
    );
    std::fs::write(folder.join("test.toml"), config).unwrap();
    world
}

const RUN: [&str; 5] = ["run", "--config", "test.toml", "--run", "whole"];

/// The lines of the run's metrics that have `key`.
fn with(world: &World, run: &str, key: &str) -> Vec<Value> {
    let lines = world.metrics(run).into_iter();
    let lines = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    lines.filter(|line| !line[key].is_null()).collect()
}

fn first(world: &World, run: &str, key: &str) -> Value {
    with(world, run, key).swap_remove(0)
}

fn last(world: &World, run: &str, key: &str) -> Value {
    with(world, run, key).pop().unwrap()
}

#[test]
fn held_out_pairs_are_told_apart_and_a_resumed_run_is_the_same() {
    let world = world("preference", &tokenizer(), pairs);
    world.succeed(&RUN);
    let figures = last(&world, "whole", "preference_accuracy_error");
    assert_eq!(figures["pairs"], 120);
    let [accuracy, error] = ["preference_accuracy", "preference_accuracy_error"]
        .map(|key| figures[key].as_f64().unwrap());
    assert!(accuracy - 3.0 * error > 0.5, "{figures}");
    assert!(
        figures["preference_loss"].as_f64().unwrap() < std::f64::consts::LN_2,
        "{figures}"
    );
    // Before the first step both answers are as the reference has them: the loss is ln 2 and every pair a tie.
    let first = first(&world, "whole", "loss");
    assert!(
        (first["loss"].as_f64().unwrap() - std::f64::consts::LN_2).abs() < 1e-9,
        "{first}"
    );
    assert_eq!(
        (
            first["preference_accuracy"].as_f64(),
            first["margin"].as_f64()
        ),
        (Some(0.5), Some(0.0))
    );

    // Cut off after step 20 and gone on with.
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--run",
        "parts",
        "--set",
        "run.keep-checkpoints=9",
    ]);
    let parts = world.run("parts");
    for step in ["00000030", "00000040"] {
        std::fs::remove_dir_all(parts.join(format!("step-{step}"))).unwrap();
    }
    world.succeed(&["resume", "parts"]);
    let model =
        |run: &str| bytes_of(&world.run(run).join("step-00000040"))["model.safetensors"].clone();
    assert!(
        model("whole") == model("parts"),
        "the resumed run has other parameters"
    );
    assert_eq!(world.metrics("whole"), world.metrics("parts"));

    // Without the reference of the beginning there is no going on.
    std::fs::remove_dir_all(parts.join("step-00000040")).unwrap();
    std::fs::remove_file(parts.join("reference.bin")).unwrap();
    let message = world.fail(&["resume", "parts"], 30);
    assert!(
        message.contains("reference.bin") && message.contains("hint"),
        "{message}"
    );
}

#[test]
fn held_out_steps_are_judged_above_chance() {
    let world = world("process", &with_marks(), solutions);
    world.succeed(&[&RUN[..], &["--set", "schedule.steps=80"]].concat());
    let figures = last(&world, "whole", "ranking");
    // 120 solutions: of the 60 odd ones each has one wrong step.
    assert_eq!(figures["wrong_steps"], 60, "{figures}");
    let [ranking, error] = ["ranking", "ranking_error"].map(|key| figures[key].as_f64().unwrap());
    assert!(ranking - 3.0 * error > 0.5, "{figures}");

    let message = world.fail(
        &[
            &RUN[..3],
            &["--run", "other", "--set", "objective.good=w1 w2"],
        ]
        .concat(),
        2,
    );
    assert!(
        message.contains("objective.good") && message.contains("2 tokens"),
        "{message}"
    );
}

/// As [`solutions`], but that wrong steps are of other tokens than right ones.
fn telling(seed: u64, count: usize) -> Vec<Made> {
    let all = solutions(seed, count).into_iter();
    let told = all.map(|mut made| {
        let end = made.ids.len() - 1;
        let wrong = made
            .masked
            .last()
            .filter(|span| span.end > end)
            .map_or(end, |span| span.start);
        for (at, id) in made.ids.iter_mut().enumerate().take(end) {
            if *id < LINE_END {
                *id = (*id - 1) % 16 + if at < wrong { 1 } else { 17 };
            }
        }
        made
    });
    told.collect()
}

#[test]
fn of_two_solutions_a_judge_of_steps_prefers_that_without_a_wrong_one() {
    let world = world("process", &with_marks(), telling);
    world.succeed(&RUN);
    let folder = world.run("whole");
    let checkpoint = folder.join("step-00000040");
    let state = checkpoint::verify(&checkpoint).unwrap();
    let mut model = Model::zeros(state.config.model, Fused::<f32>::default()).unwrap();
    checkpoint::load_model(&checkpoint, &state, &mut model).unwrap();
    let lines = Lines::open(&folder.join("tokenizer.json"), &state.config.objective);
    let judge = StepJudge::new(&model, lines.unwrap(), 0).unwrap();
    let (stream, mut at) = (Stream::new(9, "judged"), 0);
    let mut better = 0;
    for _ in 0..60 {
        let mut low = |count| -> Vec<u32> {
            let ids = random(&stream, &mut at, count).into_iter();
            ids.map(|id| (id - 1) % 16 + 1).collect()
        };
        let problem = low(4);
        let begun = [low(5), vec![LINE_END]].concat();
        let last = low(5);
        let right = [begun.clone(), last.clone()].concat();
        let wrong = [begun, last.iter().map(|id| id + 16).collect()].concat();
        let judged = [&right, &wrong].map(|all| judge.judge(&problem, all).unwrap().unwrap());
        assert!(judged.iter().all(|&nats| nats < 0.0), "{judged:?}");
        better += usize::from(judged[0] > judged[1]);
    }
    // Four standard deviations above half.
    assert!(better > 45, "{better} of 60");
    assert_eq!(judge.judge(&[5, 6], &[]).unwrap(), None);
    assert_eq!(judge.judge(&[5, 6], &[LINE_END]).unwrap(), None);
}

#[test]
fn what_an_objective_cannot_read_is_refused_before_any_work() {
    let world = world("preference", &tokenizer(), pairs);
    let refused = |set: &[&str], words: &[&str]| {
        let mut arguments = RUN.to_vec();
        for assignment in set {
            arguments.extend(["--set", assignment]);
        }
        let message = world.fail(&arguments, 2);
        for word in words {
            assert!(message.contains(word), "{word}: {message}");
        }
        assert!(!world.run("whole").join("step-00000010").exists());
    };
    refused(
        &["data.sequences-per-micro-batch=4"],
        &["data.sequences-per-micro-batch", "micro-batches-per-step"],
    );
    refused(&["objective.beta=0"], &["objective.beta"]);
    refused(
        &["objective.loss=ipo", "objective.smoothing=0.1"],
        &["objective.smoothing"],
    );
    refused(
        &["loss.z-loss=0.0001"],
        &["loss.z-loss", "objective.smoothing"],
    );
    refused(&["objective.kind=process"], &["\"process\"", "hint"]);
    refused(
        &["data.sequence-tokens=3"],
        &["nothing to train on", "data.sequence-tokens"],
    );
    // Some answers are longer than six tokens: their pairs are left out, and it is said.
    let output = world.call(
        &[
            &RUN[..],
            &[
                "--set",
                "data.sequence-tokens=12",
                "--set",
                "schedule.steps=6",
            ],
        ]
        .concat()[..],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("documents left out") && said.contains("prompts cut"),
        "{said}"
    );
}

/// As [`pairs`], of which every tenth has its preferred answer twice.
fn with_equal_pairs(seed: u64, count: usize) -> Vec<Made> {
    let mut made = pairs(seed, count);
    for (number, pair) in made.iter_mut().enumerate().step_by(10) {
        let (prompt, answer) = (3 + number % 5, 7 + number % 7);
        pair.ids.truncate(prompt + answer);
        pair.ids.extend_from_within(prompt..);
        pair.masked = masked(prompt, answer, pair.ids.len());
    }
    made
}

#[test]
fn pairs_of_equal_answers_are_left_out_and_counted() {
    let world = world("preference", &tokenizer(), with_equal_pairs);
    let output = world.call(&[&RUN[..], &["--set", "schedule.steps=6"]].concat()[..]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("52 pairs left out since their two answers are the same"),
        "{said}"
    );
    // Of 120 held-out pairs 108 are judged.
    let figures = last(&world, "whole", "preference_accuracy_error");
    assert_eq!(figures["pairs"], 108);
}
