//! `andromeda-train compare`: runs on the same text and the same questions, held against what each says alone.

use serde_json::Value;

use crate::datasets::{DATASETS, mixed_world};
use crate::evaluate;
use crate::support::{World, make_build_of, tokenizer};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn train(world: &World, name: &str, more: &[&str]) {
    let run = ["run", "--config", "test.toml", "--run", name];
    world.succeed(&[&run[..], &["--set", "schedule.steps=20"], more].concat());
}

/// A run, the same again, and one that learnt less.
fn runs() -> World {
    let world = mixed_world();
    train(&world, "one", &[]);
    train(&world, "same", &[]);
    train(
        &world,
        "less",
        &["--set", "schedule.peak-learning-rate=1e-4"],
    );
    world
}

#[test]
fn losses_are_those_of_eval_and_differences_have_intervals() {
    let world = runs();
    let found = json(&world.succeed(&["compare", "one", "same", "less", "--json"]));
    let losses = &found["losses"];
    assert_eq!(
        (&losses["split"], &losses["left_out"]),
        (&"val".into(), &0.into())
    );
    assert_eq!(losses["notes"].as_array().unwrap().len(), 0, "{losses}");
    let rows = losses["runs"].as_array().unwrap();
    for row in rows {
        let alone = json(&world.succeed(&["eval", row["run"].as_str().unwrap(), "--json"]));
        let loss = number(&alone["validation_loss"]);
        assert!(
            (number(&row["validation_loss"]) - loss).abs() < 1e-6,
            "{row} {loss}"
        );
        assert_eq!(losses["trained_tokens"], alone["trained_tokens"]);
        for (of, dataset) in losses["datasets"].as_array().unwrap().iter().zip(DATASETS) {
            assert_eq!(of["dataset"], dataset);
            let own = of["runs"]
                .as_array()
                .unwrap()
                .iter()
                .find(|own| own["run"] == row["run"]);
            let alone = alone["datasets"].as_array().unwrap().iter();
            let alone = alone.clone().find(|of| of["dataset"] == dataset).unwrap();
            for key in ["validation_loss", "bits_per_byte"] {
                let (own, alone) = (number(&own.unwrap()[key]), number(&alone[key]));
                assert!((own - alone).abs() < 1e-6, "{dataset} {key}: {own} {alone}");
            }
        }
    }
    let ends = |row: &Value, of: &str| -> Vec<f64> {
        row[of]["interval"]
            .as_array()
            .unwrap()
            .iter()
            .map(number)
            .collect()
    };
    assert_eq!(rows[0]["difference"], Value::Null);
    assert_eq!(rows[1]["difference"]["value"], 0.0);
    assert_eq!(ends(&rows[1], "difference"), [0.0, 0.0]);
    for (of, key) in [
        ("difference", "validation_loss"),
        ("difference_bits_per_byte", "bits_per_byte"),
    ] {
        let more = number(&rows[2][key]) - number(&rows[0][key]);
        assert!((number(&rows[2][of]["value"]) - more).abs() < 1e-9);
        let ends = ends(&rows[2], of);
        assert!(
            0.0 < ends[0] && ends[0] < more && more < ends[1],
            "{ends:?} {more}"
        );
    }
    // What both find hard is no part of the difference: its error is below that of two runs that read different texts.
    let error = |row: &Value| number(&row["standard_error"]);
    let apart = error(&rows[0]).hypot(error(&rows[2]));
    assert!(error(&rows[2]["difference"]) < 0.8 * apart, "{found}");

    let table = world.succeed(&["compare", "one", "runs/less/", "--tokens", "640"]);
    for word in [
        "val split of",
        "one ",
        "less ",
        "prose, ",
        "clustered by document",
    ] {
        assert!(table.contains(word), "{word}: {table}");
    }
    world.fail(&["compare", "one", "one"], 2);
    world.fail(&["compare", "one"], 2);
    let said = world.fail(&["compare", "one", "less", "--tokens", "10"], 2);
    assert!(said.contains("more --tokens"), "{said}");
}

#[test]
fn runs_of_other_lengths_and_builds_are_compared_where_they_can_be() {
    let world = mixed_world();
    train(&world, "short", &[]);
    train(&world, "long", &["--set", "data.sequence-tokens=150"]);
    crate::support::make_build(&world.folder.path().join("shards/other"), 3);
    train(&world, "elsewhere", &["--build", "shards/other"]);
    let found = json(&world.succeed(&["compare", "short", "long", "elsewhere", "--json"]));
    let losses = &found["losses"];
    let notes = losses["notes"].to_string();
    assert!(
        notes.contains("64 and 150 tokens")
            && notes.contains("another build")
            && notes.contains("elsewhere"),
        "{notes}"
    );
    assert!(losses["left_out"].as_u64().unwrap() > 0, "{losses}");
    // Which documents of the first are trained on is not said, since it is trained on that build.
    assert!(!notes.contains("short"), "{notes}");
}

#[test]
fn another_tokenizer_is_refused_and_both_are_named() {
    let world = mixed_world();
    train(&world, "one", &[]);
    let other = String::from_utf8(tokenizer())
        .unwrap()
        .replace("w30", "v30");
    let made = crate::objectives::pairs(1, 60);
    let splits = [(andromeda_format::Split::Train, made)];
    make_build_of(
        &world.folder.path().join("shards/foreign"),
        "text",
        other.as_bytes(),
        &splits,
    );
    train(&world, "foreign", &["--build", "shards/foreign"]);
    let said = world.fail(&["compare", "one", "foreign"], 2);
    for word in [
        "the run foreign has the tokenizer",
        "shards/mixed",
        "--tasks-only",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(!said.contains("the run one has"), "{said}");
    // Of that build it is the other run that cannot be read.
    let said = world.fail(
        &["compare", "one", "foreign", "--build", "shards/foreign"],
        2,
    );
    assert!(said.contains("the run one has"), "{said}");
}

#[test]
fn answers_are_paired_item_by_item() {
    let world = evaluate::trained();
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--run",
        "two",
        "--set",
        "schedule.steps=6",
        "--set",
        "schedule.peak-learning-rate=1e-6",
    ]);
    let questions = ["--tasks", "successor.toml,count.toml", "--data", "sets"];
    let compare = ["compare", "one", "two", "--tasks-only"];
    let found = json(&world.succeed(&[&compare[..], &questions, &["--json"]].concat()));
    assert_eq!(found["losses"], Value::Null);
    let tasks = found["tasks"].as_array().unwrap();
    // acc, acc-norm, mcc of one, a reading of the other.
    assert_eq!(tasks.len(), 4, "{found}");
    for (number_of, run) in ["one", "two"].into_iter().enumerate() {
        let alone =
            json(&world.succeed(&[&["evaluate", run][..], &questions, &["--json"]].concat()));
        let metrics = alone["tasks"].as_array().unwrap().iter();
        let metrics = metrics.flat_map(|task| task["metrics"].as_array().unwrap());
        for (of, metric) in tasks.iter().zip(metrics) {
            let row = &of["runs"][number_of];
            assert_eq!(
                (&of["metric"], &row["run"]),
                (&metric["metric"], &run.into())
            );
            assert_eq!(
                (&row["value"], &row["standard_error"]),
                (&metric["value"], &metric["standard_error"])
            );
            assert_eq!(of["chance"], metric["chance"]);
        }
    }
    let (first, second) = (&tasks[0]["runs"][0], &tasks[0]["runs"][1]);
    assert_eq!(
        (&first["difference"], &tasks[0]["items"]),
        (&Value::Null, &30.into())
    );
    let less = number(&second["value"]) - number(&first["value"]);
    assert!(less < -0.2, "{found}");
    let difference = &second["difference"];
    assert!((number(&difference["value"]) - less).abs() < 1e-9);
    // Of right and wrong, by hand: items that one alone knows.
    let error = number(&difference["standard_error"]);
    assert!(error > 0.0 && error <= (1.0 / 29.0_f64).sqrt(), "{error}");
    assert!(number(&difference["interval"][1]) < 0.0, "{difference}");
    // Drawn again where it is no mean.
    assert_eq!(tasks[2]["metric"], "mcc");
    assert!(number(&tasks[2]["runs"][1]["difference"]["standard_error"]) > 0.0);

    let page = ["--out", "pages/both.html"];
    let said = world.succeed(&[&["compare", "one", "two"][..], &questions, &page].concat());
    assert!(
        said.contains("successor") && said.ends_with("pages/both.html\n"),
        "{said}"
    );
    let page = std::fs::read_to_string(world.folder.path().join("pages/both.html")).unwrap();
    for word in [
        "On the same text",
        "On the same questions",
        "Difference in bits per byte",
        "acc-norm",
        "default-src 'none'",
        "one, two",
    ] {
        assert!(page.contains(word), "{word}");
    }
    assert!(!page.contains("<script"));
    // Two of the text, one a metric but the reading, in which both are wrong always; three curves.
    assert!(
        page.matches("<svg").count() >= 8,
        "{}",
        page.matches("<svg").count()
    );
    let said = world.fail(&["compare", "one", "two", "--tasks-only"], 2);
    assert!(said.contains("--tasks"), "{said}");
}
