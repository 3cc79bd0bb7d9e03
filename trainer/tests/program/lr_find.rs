//! `andromeda-train lr-find`: what it prints, and that it leaves nothing behind.

use crate::support::World;

#[test]
fn a_sweep_ends_where_the_loss_runs_away_and_saves_nothing() {
    let world = World::new();
    let arguments = ["lr-find", "--config", "test.toml", "--steps", "60"];
    let json = world.succeed(&[&arguments[..], &["--last", "1e3", "--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["ran_away"], true, "{json}");
    let points = report["points"].as_array().unwrap();
    assert!(points.len() < 60, "{}", points.len());
    assert_eq!(points[0]["learning_rate"], 1e-6);
    // The first loss is that of a run, whose initial values and batches are the same.
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--set",
        "schedule.steps=5",
        "--set",
        "schedule.warmup-steps=1",
    ]);
    // The first line names the build.
    let first: serde_json::Value = serde_json::from_str(&world.metrics("test")[1]).unwrap();
    assert_eq!(points[0]["loss"], first["loss"]);
    let suggestion = report["suggestion"].as_f64().unwrap();
    assert!((1e-4..1e-1).contains(&suggestion), "{suggestion}");
    let before = std::fs::read_dir(world.folder.path()).unwrap().count();

    let table = world.succeed(&arguments);
    assert!(
        table.contains("schedule.peak-learning-rate") && table.lines().count() < 40,
        "{table}"
    );
    let after = std::fs::read_dir(world.folder.path()).unwrap().count();
    assert_eq!(before, after, "a sweep writes no file");
}

#[test]
fn a_range_that_does_not_rise_is_refused() {
    let world = World::new();
    let stderr = world.fail(&["lr-find", "--config", "test.toml", "--first", "2"], 2);
    assert!(stderr.contains("the first the lower one"), "{stderr}");
}
