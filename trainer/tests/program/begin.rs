//! Runs that begin with what others learnt, imported or trained here.

use serde_json::Value;

use crate::support::{World, make_build};

fn state(world: &World, name: &str, step: u64) -> Value {
    let path = world.run(name).join(format!("step-{step:08}/state.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// The loss of a step; other lines of the metrics have none.
fn loss(world: &World, name: &str, step: u64) -> f64 {
    let lines = world.metrics(name);
    let lines = lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut of_step = lines
        .filter(|line| line["step"] == step)
        .filter_map(|line| line["loss"].as_f64());
    of_step.next().unwrap()
}

#[test]
fn a_run_goes_on_from_another_on_another_build() {
    let world = World::new();
    world.succeed(&["run", "--config", "test.toml", "--run", "base"]);
    make_build(&world.folder.path().join("shards/second"), 50);
    let tuned = ["[schedule]\nsteps = 6\nwarmup-steps = 1\npeak-learning-rate = 1e-4\n",
        "[data]\nsequence-tokens = 64\nsequences-per-micro-batch = 8\n[run]\nsave-every-steps = 2\nkeep-checkpoints = 9\n[sample]\ntokens = 8\n"].concat();
    std::fs::write(world.folder.path().join("tune.toml"), tuned).unwrap();
    let tune = ["run", "--config", "tune.toml", "--build", "shards/second"];
    let call = |more: &[&str]| world.call(&[&tune[..], more].concat());
    let succeed = |more: &[&str]| world.succeed(&[&tune[..], more].concat());

    succeed(&["--run", "tuned", "--from", "base"]);
    let first = loss(&world, "base", 1);
    let begun = loss(&world, "tuned", 1);
    // ln 64 is 4.16; after 40 steps of the same source much was learnt.
    assert!(first > 3.9 && begun < first - 0.5, "{first} and {begun}");
    let (base, tuned) = (state(&world, "base", 40), state(&world, "tuned", 6));
    let expected = serde_json::json!({
        "run": "base", "step": 40, "root": base["root"], "model_sha256": base["files"]["model.safetensors"]["sha256"]
    });
    assert_eq!(tuned["from"], expected);
    assert_ne!(tuned["root"], base["root"]);
    assert_eq!(tuned["config"]["model"], base["config"]["model"]);

    // Stopped anywhere and gone on with, it is the same run; with other parameters it is not.
    let whole = std::fs::read(world.run("tuned").join("step-00000006/model.safetensors")).unwrap();
    for step in [4, 6] {
        std::fs::remove_dir_all(world.run("tuned").join(format!("step-{step:08}"))).unwrap();
    }
    succeed(&["--run", "tuned", "--from", "base@40"]);
    assert!(
        whole == std::fs::read(world.run("tuned").join("step-00000006/model.safetensors")).unwrap()
    );
    let refused = |more: &[&str], says: &str| {
        let output = call(more);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.code() == Some(2) && stderr.contains(says),
            "{stderr}"
        );
    };
    refused(
        &["--run", "tuned", "--from", "base@39"],
        "began with base at step 40, not with base at step 39",
    );
    refused(
        &["--run", "tuned", "--from", "base", "--carry-moments"],
        "moments too",
    );
    refused(&["--run", "x", "--from", "base@7"], "there are: 40, 39, 36");
    refused(&["--run", "x", "--from", "base@last"], "a number of steps");
    refused(
        &[
            "--run",
            "x",
            "--from",
            "base",
            "--set",
            "model.preset=mpt-tiny",
        ],
        "other values of model.",
    );
    assert!(!world.run("x").join("step-00000000").exists());

    // Moments and how many updates they have seen are carried, so that the first step is another.
    succeed(&["--run", "carried", "--from", "base", "--carry-moments"]);
    assert_eq!(state(&world, "carried", 6)["from"]["updates"], 40);
    assert!(begun == loss(&world, "carried", 1));
    assert_ne!(loss(&world, "tuned", 2), loss(&world, "carried", 2));
    // And on from there: all that the moments have seen.
    succeed(&["--run", "twice", "--from", "carried@2", "--carry-moments"]);
    assert_eq!(state(&world, "twice", 0)["from"]["updates"], 42);
}

#[test]
fn an_imported_model_is_sampled_evaluated_and_trained() {
    let world = World::new();
    world.succeed(&["run", "--config", "test.toml", "--run", "base"]);
    world.succeed(&["export", "base", "--to", "transformers", "--out", "folder"]);
    let told: Value =
        serde_json::from_str(&world.succeed(&["import", "folder", "--run", "back", "--json"]))
            .unwrap();
    assert_eq!(
        (&told["class"], &told["parameters"]),
        (&"CohereForCausalLM".into(), &127_168.into())
    );
    let sample = |name| {
        world.succeed(&[
            "sample",
            name,
            "--prompt",
            "w3 w4",
            "--tokens",
            "9",
            "--seed",
            "9",
            "--temperature",
            "0",
        ])
    };
    assert_eq!(sample("base"), sample("back"));
    let eval = |name| {
        let told = world.succeed(&["eval", name, "--build", "shards/markov", "--json"]);
        let told: Value = serde_json::from_str(&told).unwrap();
        told["validation_loss"].as_f64().unwrap()
    };
    // Other numbers of sequences at once are other orders of the sum.
    assert!((eval("base") - eval("back")).abs() < 1e-12);
    assert!(
        world
            .fail(&["resume", "back"], 2)
            .contains("run --from back")
    );
    assert!(
        world
            .fail(&["import", "folder", "--run", "base"], 2)
            .contains("has checkpoints already")
    );
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--run",
        "on",
        "--from",
        "back",
        "--set",
        "schedule.steps=6",
    ]);
    assert!(loss(&world, "on", 1) < loss(&world, "base", 1) - 0.5);
}
