//! `andromeda-train sweep`: trials, resumed and sorted; those that fail; plans that begin nothing.

use std::path::Path;

use serde_json::Value;

use crate::support::{World, bytes_of};

const GRID: &str = r#"
    config = "test.toml"
    build = "markov-1"
    [set]
    schedule.steps = 12
    run = { save-every-steps = 6, evaluate-every-steps = 6, tensorboard = false }
    [grid]
    schedule.peak-learning-rate = [1e-4, 3e-3]
    model.positions = ["xpos", "alibi"]
"#;

fn world(text: &str) -> World {
    let world = World::new();
    std::fs::write(world.folder.path().join("rates.toml"), text).unwrap();
    world
}

fn result(world: &World) -> Value {
    serde_json::from_str(&world.succeed(&["sweep", "rates.toml", "--json"])).unwrap()
}

fn exists(world: &World, path: &str) -> bool {
    world.folder.path().join(path).exists()
}

#[test]
fn trials_are_sorted_and_trained_once() {
    let world = world(GRID);
    let first = result(&world);
    let trials = first["trials"].as_array().unwrap();
    let values: Vec<f64> = trials
        .iter()
        .map(|trial| trial["value"].as_f64().unwrap())
        .collect();
    assert!(values.len() == 4 && values.is_sorted(), "{first}");
    // The rate that learns nothing in twelve steps is the worse one, whatever the positions.
    for (place, trial) in trials.iter().enumerate() {
        let rate = if place < 2 { 3e-3 } else { 1e-4 };
        assert_eq!(
            trial["values"]["schedule.peak-learning-rate"], rate,
            "{first}"
        );
        assert_eq!(trial["step"], 12);
        // It is what the run itself says.
        let name = trial["run"].as_str().unwrap();
        let text = std::fs::read_to_string(world.run(name).join("config.toml")).unwrap();
        assert!(
            text.contains(&format!("peak-learning-rate = {rate}")),
            "{text}"
        );
        let last = world
            .metrics(name)
            .into_iter()
            .rev()
            .find(|line| line.contains("validation_loss"));
        let last: Value = serde_json::from_str(&last.unwrap()).unwrap();
        assert_eq!(last["validation_loss"], trial["value"]);
    }
    let page = std::fs::read_to_string(world.folder.path().join("reports/rates.html")).unwrap();
    for word in [
        "validation_loss by field",
        "schedule.peak-learning-rate",
        "alibi",
        "rates-004",
        "default-src 'none'",
    ] {
        assert!(page.contains(word), "{word}");
    }
    // A chart a field, and three of losses.
    assert_eq!(page.matches("<svg").count(), 5);

    // Again nothing is trained; what was interrupted goes on, to the same bits.
    let checkpoint = world.run("rates-002").join("step-00000012");
    let (before, other) = (bytes_of(&checkpoint), bytes_of(&world.run("rates-001")));
    std::fs::remove_dir_all(&checkpoint).unwrap();
    let again = world.call(&["sweep", "rates.toml", "--out", "page.html"]);
    let (said, talk) = (
        String::from_utf8(again.stdout).unwrap(),
        String::from_utf8(again.stderr).unwrap(),
    );
    assert!(talk.contains("rates-002: going on from step 6"), "{talk}");
    assert!(!talk.contains("rates-001: trial"), "{talk}");
    assert!(bytes_of(&checkpoint) == before && bytes_of(&world.run("rates-001")) == other);
    let best = trials[0]["run"].as_str().unwrap();
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("run ") && lines[1].starts_with(best),
        "{said}"
    );
    assert!(
        said.contains(&format!("andromeda-train compare {best} ")) && said.ends_with("page.html\n"),
        "{said}"
    );
    assert_eq!(
        std::fs::read_to_string(world.folder.path().join("page.html")).unwrap(),
        page
    );
    assert_eq!(result(&world), first);
    world.succeed(&["resume", "rates-003"]);
}

#[test]
fn a_trial_that_diverges_is_listed_and_the_others_are_done() {
    let text = GRID
        .replace("[1e-4, 3e-3]", "[1e30, 3e-3]")
        .replace("[\"xpos\", \"alibi\"]", "[\"xpos\"]");
    let world = world(&text);
    let said = world.fail(&["sweep", "rates.toml"], 20);
    for word in ["1 of 2 trials failed", "rates-001", "hint:"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let output = world.call(&["sweep", "rates.toml", "--json"]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let trials = result["trials"].as_array().unwrap();
    assert_eq!(
        (&trials[0]["run"], &trials[1]["run"]),
        (&"rates-002".into(), &"rates-001".into())
    );
    assert_eq!(
        (&trials[1]["value"], output.status.code()),
        (&Value::Null, Some(20))
    );
    let failure = trials[1]["failure"].as_str().unwrap();
    assert!(failure.contains("at step"), "{failure}");
    assert!(exists(&world, "reports/rates.html"));
    let table = String::from_utf8(world.call(&["sweep", "rates.toml"]).stdout).unwrap();
    assert!(table.contains("rates-001 failed: "), "{table}");
}

#[test]
fn a_bad_plan_is_told_as_a_whole_and_begins_nothing() {
    let text = GRID
        .replace("[1e-4, 3e-3]", "[-1.0, 3e-3]")
        .replace("model.positions", "model.position")
        + "data.sequence-tokens = [64, 100000]\n";
    let world = world(&text);
    let said = world.fail(&["sweep", "rates.toml"], 2);
    assert!(
        said.contains("position") && said.contains("-001 and 7 more"),
        "{said}"
    );
    let fixed = |text: &str| {
        std::fs::write(world.folder.path().join("rates.toml"), text).unwrap();
        let said = world.fail(&["sweep", "rates.toml"], 2);
        assert!(
            !exists(&world, "runs") && !exists(&world, "reports"),
            "{said}"
        );
        said
    };
    let said = fixed(&text.replace("model.position ", "model.positions "));
    for word in [
        "peak-learning-rate",
        "-001 and 3 more",
        "nothing to train on",
        "no validation sequence",
        "hint: nothing was begun",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let said = fixed(&GRID.replace("    build =", "    metric = \"ranking\"\n    build ="));
    assert!(said.contains("ranking is not measured"), "{said}");
    let said = fixed(&GRID.replace("markov-1", "nowhere"));
    assert!(said.contains("nowhere"), "{said}");
    let said = fixed(&GRID.replace("[grid]", "[gird]"));
    assert!(said.contains("gird"), "{said}");
}

#[test]
fn more_draws_go_on_where_fewer_stopped_and_other_values_are_another_sweep() {
    let text = |trials: usize| {
        let random = format!("[random]\n    trials = {trials}\n    seed = 7\n");
        let random = random + "    schedule.peak-learning-rate = { log-uniform = [1e-4, 1e-2] }\n";
        let start = GRID.find("[grid]").unwrap();
        format!("{}{random}", &GRID[..start])
    };
    let world = world(&text(2));
    let two = result(&world);
    let first = bytes_of(&world.run("rates-001"));
    std::fs::write(world.folder.path().join("rates.toml"), text(3)).unwrap();
    let three = result(&world);
    assert_eq!(three["trials"].as_array().unwrap().len(), 3);
    for trial in two["trials"].as_array().unwrap() {
        assert!(
            three["trials"].as_array().unwrap().contains(trial),
            "{three}"
        );
    }
    assert!(bytes_of(&world.run("rates-001")) == first);
    // Runs of that name that were of other values are not gone on with.
    std::fs::write(
        world.folder.path().join("rates.toml"),
        text(4).replace("seed = 7", "seed = 8"),
    )
    .unwrap();
    let said = world.fail(&["sweep", "rates.toml"], 2);
    for word in [
        "schedule.peak-learning-rate",
        "another name",
        &format!("runs{}rates-001", std::path::MAIN_SEPARATOR),
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!world.run("rates-004").exists());
    assert!(Path::new(&world.run("rates-003")).exists());
}

/// Two stages on one build, of which the second is varied: its configuration, its build, what it begins with.
const STAGES: &str = r#"
    name = "two"
    [config]
    data.sequence-tokens = 64
    run = { save-every-steps = 8, evaluate-every-steps = 8, evaluation-sequences = 40, tensorboard = false }
    sample.tokens = 4
    [sizes.small.model]
    width = 64
    layers = 2
    heads = 2
    head-size = 32
    [[stage]]
    name = "first"
    build = "markov-1"
    config.schedule = { steps = 24, warmup-steps = 2, peak-learning-rate = 3e-3 }
    [[stage]]
    name = "second"
    build = "markov-1"
    config.schedule = { steps = 8, warmup-steps = 1, peak-learning-rate = 1e-3 }
"#;

#[test]
fn a_stage_of_a_strategy_is_varied_from_where_it_begins() {
    let world = world(
        "strategy = { file = \"two.toml\", size = \"small\", stage = \"second\" }\n\
         [grid]\nschedule.peak-learning-rate = [1e-3, 2e-3]\n",
    );
    std::fs::write(world.folder.path().join("two.toml"), STAGES).unwrap();
    // Nothing to begin with yet.
    let message = world.fail(&["sweep", "rates.toml"], 2);
    assert!(message.contains("two-small-first"), "{message}");
    world.succeed(&["strategy", "two.toml", "--size", "small"]);
    let first = result(&world);
    assert_eq!(first["trials"].as_array().unwrap().len(), 2);
    let json = |path: &str| -> Value {
        let bytes = std::fs::read(world.folder.path().join(path)).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let model = |state: &Value| state["files"]["model.safetensors"]["sha256"].clone();
    let before = json("runs/two-small-first/step-00000024/state.json");
    for run in ["rates-001", "rates-002"] {
        let begun = json(&format!("runs/{run}/step-00000000/state.json"));
        assert_eq!(begun["from"]["run"], "two-small-first");
        assert_eq!(model(&begun), model(&before));
    }
    // With the stage's own value a trial is the stage.
    let stage = json("runs/two-small-second/step-00000008/state.json");
    let trial = json("runs/rates-001/step-00000008/state.json");
    assert_eq!(model(&stage), model(&trial));
    assert_ne!(
        model(&stage),
        model(&json("runs/rates-002/step-00000008/state.json"))
    );
    assert_eq!(result(&world), first);

    let rates = world.folder.path().join("rates.toml");
    let text = std::fs::read_to_string(&rates).unwrap();
    std::fs::write(&rates, text.replace("\"second\"", "\"third\"")).unwrap();
    let message = world.fail(&["sweep", "rates.toml"], 2);
    assert!(
        message.contains("\"third\"") && message.contains("first, second"),
        "{message}"
    );
    std::fs::write(&rates, format!("config = \"test.toml\"\n{text}")).unwrap();
    let message = world.fail(&["sweep", "rates.toml"], 2);
    assert!(message.contains("strategy = {"), "{message}");
}
