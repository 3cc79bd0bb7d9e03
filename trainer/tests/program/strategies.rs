//! `andromeda-train strategy`: stages that take over from each other, resumed, gated, refused.

use andromeda_format::Split;
use serde_json::Value;

use crate::objectives::pairs;
use crate::support::{World, bytes_of, make_build_of, tokenizer};

const STRATEGY: &str = r#"
    name = "two"
    [config]
    data.sequence-tokens = 64
    run = { save-every-steps = 20, evaluate-every-steps = 20, evaluation-sequences = 60 }
    sample.tokens = 4
    [sizes.tiny.model]
    width = 64
    layers = 2
    heads = 2
    head-size = 32
    [[stage]]
    name = "pretrain"
    build = "markov-1"
    gates = [{ metric = "validation_loss", below = 3.4 }]
    [stage.config]
    data.sequences-per-micro-batch = 4
    schedule = { steps = 40, warmup-steps = 5, peak-learning-rate = 3e-3 }
    [[stage]]
    name = "prefer"
    build = "preference"
    gates = [{ metric = "preference_accuracy", above = 0.5 }]
    [stage.config]
    data = { sequences-per-micro-batch = 1, micro-batches-per-step = 8 }
    objective.kind = "preference"
    schedule = { steps = 40, warmup-steps = 5, peak-learning-rate = 1e-3 }
"#;

fn world() -> World {
    let world = World::new();
    let folder = world.folder.path();
    let splits = [(Split::Train, pairs(1, 200)), (Split::Val, pairs(2, 60))];
    make_build_of(
        &folder.join("shards/pairs"),
        "preference",
        &tokenizer(),
        &splits,
    );
    std::fs::write(folder.join("two.toml"), STRATEGY).unwrap();
    world
}

const RUN: [&str; 4] = ["strategy", "two.toml", "--size", "tiny"];

fn reports(world: &World) -> Vec<Value> {
    let said = world.succeed(&[&RUN[..], &["--json"]].concat());
    let lines = said
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| !line["stage"].is_null()).collect()
}

#[test]
fn stages_take_over_from_each_other_and_are_done_once() {
    let world = world();
    let first = reports(&world);
    assert_eq!(first.len(), 2, "{first:?}");
    let stages: Vec<&str> = first
        .iter()
        .map(|report| report["stage"].as_str().unwrap())
        .collect();
    assert_eq!(stages, ["pretrain", "prefer"]);
    // Each is measured on both builds.
    for report in &first {
        assert_eq!(report["measures"].as_array().unwrap().len(), 2, "{report}");
    }
    assert_eq!(first[1]["judged"][0][0], "preference_accuracy");
    assert!(
        first[1]["judged"][0][1].as_f64().unwrap() > 0.5,
        "{}",
        first[1]
    );

    // The second begins with the parameters of the first.
    let state = |run: &str, step: u64| -> Value {
        let path = world.run(run).join(format!("step-{step:08}/state.json"));
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let model = |state: &Value| state["files"]["model.safetensors"]["sha256"].clone();
    let (last, begun) = (state("two-tiny-pretrain", 40), state("two-tiny-prefer", 0));
    assert_eq!(model(&last), model(&begun));
    assert_eq!(begun["from"]["run"], "two-tiny-pretrain");

    // Again: nothing is trained any more and the same is said; without its end the second stage is made again to the bit.
    let checkpoint = world.run("two-tiny-prefer").join("step-00000040");
    let before = bytes_of(&checkpoint);
    assert_eq!(reports(&world), first);
    std::fs::remove_dir_all(&checkpoint).unwrap();
    assert_eq!(reports(&world), first);
    assert!(bytes_of(&checkpoint)["model.safetensors"] == before["model.safetensors"]);
    let table = world.succeed(&RUN);
    for word in ["after", "pretrain", "prefer", "bpb", "preference_accuracy"] {
        assert!(table.contains(word), "{word}: {table}");
    }
}

#[test]
fn a_gate_stops_and_a_bad_plan_begins_nothing() {
    let world = world();
    let fail = |more: &[&str], code| world.fail(&[&RUN[..], more].concat(), code);
    let nothing_began = || assert!(!world.folder.path().join("runs").exists());
    let message = world.fail(&["strategy", "two.toml"], 2);
    assert!(
        message.contains("--size") && message.contains("tiny"),
        "{message}"
    );
    let message = fail(&["--set", "prefer.objective.beta=-1"], 2);
    assert!(message.contains("objective.beta"), "{message}");
    let message = fail(&["--set", "later.run.seed=1"], 2);
    assert!(message.contains("later"), "{message}");
    nothing_began();

    let path = world.folder.path().join("two.toml");
    let write = |text: String| std::fs::write(&path, text).unwrap();
    write(STRATEGY.replace("\"preference\"\n    gates", "\"nowhere\"\n    gates"));
    let message = fail(&[], 2);
    assert!(
        message.contains("nowhere") && message.contains("hint"),
        "{message}"
    );
    nothing_began();

    write(STRATEGY.replace("below = 3.4", "below = 0.1"));
    let message = fail(&[], 20);
    for word in ["pretrain", "validation_loss", "not below 0.1", "hint"] {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert!(
        world
            .run("two-tiny-pretrain")
            .join("step-00000040")
            .exists()
    );
    assert!(!world.run("two-tiny-prefer").exists());
}
