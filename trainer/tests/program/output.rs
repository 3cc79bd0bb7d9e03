//! What the program says and learns.

use crate::support::World;

#[test]
fn json_lines_tell_the_whole_run() {
    let world = World::new();
    let stdout = world.succeed(&["run", "--config", "test.toml", "--json"]);
    let events: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<&str> = events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        (
            kinds[0],
            kinds[1],
            kinds[kinds.len() - 3],
            kinds[kinds.len() - 1]
        ),
        ("planned", "stepped", "sampled", "finished")
    );
    assert_eq!(kinds.iter().filter(|&&kind| kind == "stepped").count(), 40);
    assert_eq!(kinds.iter().filter(|&&kind| kind == "evaluated").count(), 6);
    // Vocabulary 40 is padded to 64: 64 x 64 + 2 (64 (64 + 64 + 512) + 64 x 64 + 4 x 64^2 + 64) + 64.
    assert_eq!(events[0]["derived"]["parameters"], 127_168);
    assert_eq!(events[0]["derived"]["tokens_per_step"], 512);
    let loss = |event: &serde_json::Value| event["loss"].as_f64().unwrap();
    assert!((loss(&events[1]) - 64f64.ln()).abs() < 0.2);
    let evaluated = events
        .iter()
        .rfind(|event| event["event"] == "evaluated")
        .unwrap();
    assert!(evaluated["validation_loss"].as_f64().unwrap() < 3.0);
    for name in ["config.toml", "tokenizer.json", "metrics.jsonl"] {
        assert!(world.run("test").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_run_is_evaluated_and_sampled_without_its_build_being_named() {
    let world = World::new();
    world.succeed(&["run", "--config", "test.toml"]);
    let report: serde_json::Value =
        serde_json::from_str(&world.succeed(&["eval", "test", "--json"])).unwrap();
    assert_eq!(
        (&report["step"], &report["split"], &report["whole_split"]),
        (&40.into(), &"val".into(), &true.into())
    );
    let loss = report["validation_loss"].as_f64().unwrap();
    // Four bytes a token.
    let bits = report["bits_per_byte"].as_f64().unwrap();
    assert!(
        (bits - loss / std::f64::consts::LN_2 / 4.0).abs() < 0.02 * bits,
        "{report}"
    );
    assert!(
        world
            .succeed(&["eval", "test", "--sequences", "3"])
            .contains("a part of the split")
    );
    let sample = [
        "sample", "test", "--prompt", "w3 w4", "--tokens", "5", "--seed", "9",
    ];
    let text = world.succeed(&sample);
    assert!(text.starts_with("w3 w4") && text.contains('w'), "{text}");
    assert_eq!(text, world.succeed(&sample));
    // What comes piece by piece is the text that JSON has as a whole.
    let mut as_json = sample.to_vec();
    as_json.push("--json");
    let report: serde_json::Value = serde_json::from_str(&world.succeed(&as_json)).unwrap();
    assert_eq!(text, format!("w3 w4{}\n", report["text"].as_str().unwrap()));
    world.fail(&["sample", "test", "--top-p", "0"], 2);
    world.fail(&["eval", "test", "--split", "test"], 2);
}

#[test]
fn a_plan_says_what_a_run_needs_and_refuses_what_does_not_fit() {
    let world = World::new();
    let plan = ["plan", "--config", "test.toml"];
    let table = world.succeed(&plan);
    for name in ["parameters", "epochs", "  moments", "  logits"] {
        assert!(table.contains(name), "{table}");
    }
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let told = json(&world.succeed(&[&plan[..], &["--json"]].concat()));
    // As counted for the run above; four bytes each.
    assert_eq!(told["parameters"], 127_168);
    assert_eq!(told["memory"]["parameters"], 4 * 127_168);
    assert_eq!(told["memory"]["moments"], 8 * 127_168);
    // 40 steps of 8 sequences of the 937 that 60,000 tokens make.
    assert!((told["epochs"].as_f64().unwrap() - 320.0 / 937.0).abs() < 1e-9);
    assert!(!world.run("test").exists());
    if told["available_bytes"].is_null() {
        return;
    }
    // 2^22 tokens keep 3 MiB each, 12 TiB together; parameters, gradients and moments take 1 GiB.
    let large = [
        "--set",
        "data.sequences-per-micro-batch=65536",
        "--set",
        "model.layers=1024",
    ];
    let refusal = world.fail(&[&plan[..], &large].concat(), 2);
    assert!(
        refusal.contains("of memory") && refusal.contains("hint: the same steps fit with"),
        "{refusal}"
    );
}

#[test]
fn requests_that_cannot_be_met_say_what_to_do() {
    let world = World::new();
    assert!(
        world
            .fail(&["resume", "none"], 2)
            .contains("hint: start one")
    );
    assert!(world.fail(&["resume", "../up"], 2).contains("is no name"));
    assert!(
        world
            .fail(&["run", "--config", "test.toml", "--shards", "none"], 2)
            .contains("hint: make one")
    );
    assert!(
        world
            .fail(
                &["run", "--config", "test.toml", "--set", "data.batch=3"],
                2
            )
            .contains("batch")
    );
    assert!(
        world
            .fail(
                &["run", "--config", "test.toml", "--set", "model.preset=palm"],
                2
            )
            .contains("palm-150m")
    );
    world.fail(
        &[
            "run",
            "--config",
            "test.toml",
            "--set",
            "data.sequence-tokens=100000",
        ],
        2,
    );
    world.fail(&["walk"], 2);
}
