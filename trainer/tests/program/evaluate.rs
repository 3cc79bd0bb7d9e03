//! `tasks`, `score` and `evaluate` as a person meets them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use andromeda_format::Split;
use serde_json::{Value, json};

use crate::objectives::{solutions, with_marks};
use crate::support::{World, make_build_of};

/// A task of which a model of the source can know the answer: after token i comes i + 1, i + 2 or i + 4.
const TASK: &str = r#"
name = "successor"
description = "Which token comes next."
rules = "harness"
benchmark = "markov"
files = ["successor.jsonl"]
prompt = "{context}"
metrics = ["acc", "acc-norm", "mcc"]

[choices]
texts = ["{a}", "{b}"]
label = "{label}"
"#;

const GENERATE: &str = r#"
name = "count"
description = "What comes next, in words."
rules = "hub"
benchmark = "other"
files = ["successor.jsonl"]
prompt = "{context}"

[generate]
stop = ["w9"]
tokens = 5
readings = ["mmlu-hub"]
target = "{label}"
"#;

/// A task in the world's folder, `successor.toml`, with 30 rows below `sets`.
pub(crate) fn write_the_task(world: &World) {
    let mut rows = String::new();
    for i in 0..30 {
        let word = |at: usize| format!("w{}", at % 32 + 1);
        let context: Vec<String> = (0..6 + i % 5).map(|back| word(i + back)).collect();
        let (next, other) = (word(i + 6 + i % 5), word(i + 20 + i % 5));
        let (a, b) = if i % 2 == 0 {
            (&next, &other)
        } else {
            (&other, &next)
        };
        let row = json!({"context": context.join(" "), "a": a, "b": b, "label": i % 2});
        rows += &format!("{row}\n");
    }
    let data = world.folder.path().join("sets");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("successor.jsonl"), rows).unwrap();
    std::fs::write(world.folder.path().join("successor.toml"), TASK).unwrap();
}

pub(crate) fn trained() -> World {
    let world = World::new();
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--run",
        "one",
        "--set",
        "schedule.steps=40",
    ]);
    write_the_task(&world);
    std::fs::write(world.folder.path().join("count.toml"), GENERATE).unwrap();
    world
}

fn evaluated(world: &World, more: &[&str]) -> Value {
    let mut arguments = vec![
        "evaluate",
        "one",
        "--tasks",
        "successor.toml,count.toml",
        "--data",
        "sets",
        "--json",
    ];
    arguments.extend(more);
    serde_json::from_str(&world.succeed(&arguments)).unwrap()
}

fn kept(world: &World) -> PathBuf {
    let folder = world.run("one").join("evaluation");
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let [file] = files.as_slice() else {
        panic!("{files:?}");
    };
    file.clone()
}

#[test]
fn a_trained_model_knows_the_successor_and_says_it_again_after_a_kill() {
    let world = trained();
    let report = evaluated(&world, &[]);
    let acc = &report["tasks"][0]["metrics"][0];
    assert_eq!(
        (acc["metric"].as_str(), acc["items"].as_u64()),
        (Some("acc"), Some(30))
    );
    assert_eq!(acc["chance"], 0.5);
    let value = acc["value"].as_f64().unwrap();
    assert!(value > 0.85, "{report}");
    let error = acc["standard_error"].as_f64().unwrap();
    assert!(
        (error - (value * (1.0 - value) / 29.0).sqrt()).abs() < 1e-9,
        "{report}"
    );
    assert_eq!(report["tasks"][0]["requests"], 60);
    // The build says nothing of either benchmark but that one is a dataset of its.
    assert_eq!(report["tasks"][0]["contamination"], "training-split");
    assert_eq!(report["tasks"][1]["contamination"], "not-looked-for");

    // As a killed process leaves it: some batches, and a line that is cut off.
    let file = kept(&world);
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(evaluated(&world, &[]), report);
    // From what was kept alone.
    assert_eq!(evaluated(&world, &[]), report);
    std::fs::remove_file(&file).unwrap();
    assert_eq!(evaluated(&world, &[]), report);

    let table = world.succeed(&[
        "evaluate",
        "one",
        "--tasks",
        "successor.toml",
        "--data",
        "sets",
        "--limit",
        "4",
    ]);
    let row = table.lines().find(|line| line.contains(" acc ")).unwrap();
    assert!(
        row.starts_with("successor") && row.contains("0.5000") && row.ends_with(" 4"),
        "{table}"
    );
}

#[test]
fn contexts_that_are_too_long_lose_their_beginning_and_are_counted() {
    let world = trained();
    let long: Vec<String> = (0..200).map(|i| format!("w{}", i % 32 + 1)).collect();
    let words: Vec<String> = (0..70).map(|_| "w3".to_owned()).collect();
    let rows = [
        json!({"context": long.join(" "), "a": "w9", "b": "w30", "label": 0}),
        json!({"context": "w1", "a": words.join(" "), "b": "w2", "label": 1}),
        json!({"context": "", "a": "w5", "b": "w6", "label": 1}),
    ];
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(world.folder.path().join("sets/successor.jsonl"), rows).unwrap();
    let report = evaluated(&world, &[]);
    let of = &report["tasks"][0];
    assert_eq!(of["truncated"], 2, "{of}");
    assert_eq!(of["items"], 2, "{of}");
    assert_eq!(report["tasks"][1]["truncated"], 1, "{report}");
    assert_eq!(
        of["skipped"]["a continuation is longer than the model's context"], 1,
        "{of}"
    );
}

#[test]
fn what_cannot_be_evaluated_is_said_before_anything_is_loaded() {
    let world = trained();
    let call = |tasks: &str, code| {
        world.fail(
            &["evaluate", "one", "--tasks", tasks, "--data", "sets"],
            code,
        )
    };
    assert!(call("piqua", 2).contains("did you mean piqa?"));
    let error = call("successor.toml,piqa", 2);
    assert!(
        error.contains("sets/ybisk/piqa/plain_text/validation-*.jsonl")
            && error.contains("andromeda rows --of piqa --out sets"),
        "{error}"
    );
    std::fs::write(
        world.folder.path().join("successor.toml"),
        TASK.replace("label =", "lable ="),
    )
    .unwrap();
    assert!(call("successor.toml", 2).contains("lable"));
    std::fs::write(world.folder.path().join("successor.toml"), TASK).unwrap();
    let tokenizer = world.run("one").join("tokenizer.json");
    let other = std::fs::read_to_string(&tokenizer)
        .unwrap()
        .replace("\"w20\"", "\"v20\"");
    std::fs::write(&tokenizer, other).unwrap();
    let error = call("successor.toml", 20);
    assert!(error.contains("not the tokenizer of the build"), "{error}");
}

/// A run `judge` that was trained to judge steps, beside the run `one`.
fn add_a_judge(world: &World) {
    let folder = world.folder.path();
    let splits = [
        (Split::Train, solutions(1, 100)),
        (Split::Val, solutions(2, 30)),
    ];
    make_build_of(
        &folder.join("shards/steps"),
        "process",
        &with_marks(),
        &splits,
    );
    let config = "[model]\nwidth = 64\nlayers = 2\nheads = 2\nhead-size = 32\n\
        [data]\nsequence-tokens = 64\nsequences-per-micro-batch = 1\nmicro-batches-per-step = 8\n\
        [objective]\nkind = \"process\"\n[schedule]\nsteps = 10\nwarmup-steps = 2\npeak-learning-rate = 2e-3\n";
    std::fs::write(folder.join("judge.toml"), config).unwrap();
    let build = ["--build", "shards/steps"];
    world.succeed(&[&["run", "--config", "judge.toml"][..], &build].concat());
}

#[test]
fn of_several_completions_a_judge_of_steps_chooses() {
    let world = trained();
    add_a_judge(&world);
    let task = GENERATE
        .replace(
            "stop = [\"w9\"]",
            "stop = [\"w9\"]\nproblem = \"{context}\"",
        )
        .replace("mmlu-hub", "mmlu-cot-hub");
    std::fs::write(world.folder.path().join("count.toml"), task).unwrap();
    let judged = ["--samples", "4", "--judge", "judge"];
    let report = evaluated(&world, &judged);
    assert_eq!(
        (&report["judge"]["run"], &report["judge"]["step"]),
        (&"judge".into(), &10.into())
    );
    let metrics = report["tasks"][1]["metrics"].as_array().unwrap();
    let names: Vec<&str> = metrics
        .iter()
        .map(|metric| metric["metric"].as_str().unwrap())
        .collect();
    let exact = "exact-match (mmlu-cot-hub)";
    assert_eq!(
        names,
        [
            exact,
            &format!("{exact}, best of 4"),
            &format!("{exact}, majority of 4")
        ]
    );
    assert!(
        metrics.iter().all(|metric| metric["items"] == 30),
        "{report}"
    );
    // What needs no text is asked as ever.
    assert_eq!(report["tasks"][0]["metrics"].as_array().unwrap().len(), 3);

    // Four different completions, the same after a kill, others with another seed.
    let file = kept(&world);
    let whole = std::fs::read_to_string(&file).unwrap();
    let drawn = |text: &str| -> Vec<Value> {
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        let texts = lines.map(|line| line["answers"][0]["completions"].clone());
        texts.filter(|texts| !texts.is_null()).collect()
    };
    let before = drawn(&whole);
    let different = |texts: &Value| {
        let texts: BTreeSet<&str> = texts
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        texts.len() > 2
    };
    assert_eq!(
        (
            before.len(),
            before.iter().filter(|texts| different(texts)).count() > 15
        ),
        (30, true),
        "{before:?}"
    );
    std::fs::write(&file, &whole[..whole.len() * 3 / 4]).unwrap();
    assert_eq!(evaluated(&world, &judged), report);
    let mut again = drawn(
        &std::fs::read_to_string(&file)
            .unwrap()
            .lines()
            .filter(|line| serde_json::from_str::<Value>(line).is_ok())
            .collect::<Vec<_>>()
            .join("\n"),
    );
    again.sort_by_key(ToString::to_string);
    let mut sorted = before.clone();
    sorted.sort_by_key(ToString::to_string);
    assert_eq!(again, sorted);
    evaluated(&world, &["--samples", "4", "--seed", "5"]);
    let lines = std::fs::read_to_string(&file).unwrap();
    let with_another: Vec<Value> = drawn(
        &lines
            .lines()
            .filter(|line| serde_json::from_str::<Value>(line).is_ok())
            .collect::<Vec<_>>()
            .join("\n"),
    );
    assert!(with_another.len() == 60 && with_another[30..] != before[..]);

    let call = |more: &[&str]| {
        let start = ["evaluate", "one", "--tasks", "count.toml", "--data", "sets"];
        world.fail(&[&start[..], more].concat(), 2)
    };
    assert!(call(&["--judge", "judge"]).contains("--samples"));
    assert!(call(&["--samples", "2", "--temperature", "0"]).contains("--temperature"));
    let message = call(&["--samples", "2", "--judge", "one"]);
    assert!(
        message.contains("not trained to judge steps") && message.contains("process"),
        "{message}"
    );
    assert!(call(&["--samples", "2", "--judge", "none"]).contains("none"));
}

#[test]
fn any_model_can_be_asked_and_scored() {
    let world = trained();
    let listed = world.succeed(&["tasks"]);
    assert!(
        listed.lines().count() > 30 && listed.contains("\npiqa "),
        "{listed}"
    );
    let shown = world.succeed(&["tasks", "--show", "piqa"]);
    assert!(
        shown.contains("prompt = \"Question: {goal}\\nAnswer:\""),
        "{shown}"
    );
    world.succeed(&[
        "score",
        "successor.toml",
        "--data",
        "sets",
        "--requests",
        "requests.jsonl",
    ]);
    let requests = std::fs::read_to_string(world.folder.path().join("requests.jsonl")).unwrap();
    let mut answers = String::new();
    for line in requests.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        // The first choice always: right where the label is 0, half of the rows.
        let nats = -1.0 - line["request"].as_f64().unwrap();
        answers += &format!(
            "{}\n",
            json!({"item": line["item"], "request": line["request"], "log_likelihood": nats})
        );
    }
    std::fs::write(world.folder.path().join("answers.jsonl"), answers).unwrap();
    let arguments = [
        "score",
        "successor.toml",
        "--data",
        "sets",
        "--responses",
        "answers.jsonl",
        "--json",
    ];
    let scored: Value = serde_json::from_str(&world.succeed(&arguments)).unwrap();
    assert_eq!(scored["metrics"][0]["value"], 0.5);
    assert_eq!(scored["metrics"][2]["value"], 0.0);
    let error = world.fail(&["score", "successor.toml", "--data", "sets"], 2);
    assert!(error.contains("--responses"), "{error}");
}
