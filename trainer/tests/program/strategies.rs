//! `andromeda-train strategy`: stages that take over from each other, resumed, gated, refused.

use andromeda_format::Split;
use serde_json::Value;

use crate::evaluate::write_the_task;
use crate::objectives::pairs;
use crate::support::{World, bytes_of, make_build_of, tokenizer};

const STRATEGY: &str = r#"
    name = "two"
    [evaluation]
    tasks = ["successor.toml"]
    data = "sets"
    [config]
    data.sequence-tokens = 64
    run = { save-every-steps = 20, evaluate-every-steps = 20, evaluation-sequences = 60 }
    sample.tokens = 4
    [sizes.tiny.evaluation]
    limit = 20
    [sizes.tiny.model]
    width = 64
    layers = 2
    heads = 2
    head-size = 32
    [[stage]]
    name = "pretrain"
    build = "markov-1"
    gates = [{ metric = "validation_loss", below = 3.4 }, { metric = "successor/acc", above = 0.5 }]
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
    let splits = [
        (Split::Train, pairs(1, 200)),
        (Split::Val, pairs(2, 60)),
        (Split::Test, pairs(3, 70)),
    ];
    make_build_of(
        &folder.join("shards/pairs"),
        "preference",
        &tokenizer(),
        &splits,
    );
    std::fs::write(folder.join("two.toml"), STRATEGY).unwrap();
    write_the_task(&world);
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
    // Each is measured on both builds, and asked the task.
    for report in &first {
        assert_eq!(report["measures"].as_array().unwrap().len(), 2, "{report}");
        let task = &report["tasks"][0];
        assert_eq!(
            (&task["task"], &task["items"]),
            (&"successor".into(), &20.into())
        );
        assert!(
            task["metrics"][0]["value"].as_f64().unwrap() > 0.5,
            "{report}"
        );
    }
    // The first stage's build has the benchmark's rows, and the second stage goes on from what it learnt.
    for report in &first {
        assert_eq!(report["tasks"][0]["contamination"], "training-split");
    }
    assert_eq!(first[0]["judged"], Value::Array(Vec::new()));
    // All pairs of the test split are judged, at the end.
    let lines = world.metrics("two-tiny-prefer").into_iter();
    let lines = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let tests: Vec<Value> = lines.filter(|line| !line["test"].is_null()).collect();
    let [test] = tests.as_slice() else {
        panic!("{tests:?}")
    };
    assert_eq!(
        (&test["step"], &test["test"]["pairs"]),
        (&40.into(), &70.into())
    );
    for (judged, split) in first[1]["judged"]
        .as_array()
        .unwrap()
        .iter()
        .zip(["val", "test"])
    {
        assert_eq!(
            (&judged["metric"], &judged["split"]),
            (&"preference_accuracy".into(), &split.into())
        );
        let [value, error] = ["value", "error"].map(|key| judged[key].as_f64().unwrap());
        assert!(value - 3.0 * error > 0.5, "{judged}");
    }
    assert_eq!(
        first[1]["judged"][1]["value"],
        test["test"]["preference_accuracy"]
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
    for word in [
        "after",
        "pretrain's build: bits a byte",
        "preference_accuracy (test), chance 0.5",
        "successor acc (harness), chance 0.5000",
        "successor: ",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    // The other spelling.
    assert_eq!(world.succeed(&["run", "two.toml", "--size", "tiny"]), table);
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
    let message = fail(&["--set", "evaluation.tasks=[\"piqu\"]"], 2);
    assert!(message.contains("piqa"), "{message}");
    let message = fail(&["--set", "evaluation.data=\"nowhere\""], 2);
    for word in ["nowhere", "successor", "evaluation.tasks=[]"] {
        assert!(message.contains(word), "{word}: {message}");
    }
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

    write(STRATEGY.replace("below = 3.4", "below = 0.1").replace(
        "above = 0.5 }]\n    [stage.config]\n    data.s",
        "above = 1.1 }]\n    [stage.config]\n    data.s",
    ));
    let message = fail(&[], 20);
    for word in [
        "pretrain",
        "validation_loss",
        "not below 0.1",
        "successor/acc",
        "not above 1.1",
        "hint",
    ] {
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
