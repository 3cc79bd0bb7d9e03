//! `--ema`: the average of the weights in place of the last ones, where the run keeps one.

use crate::support::World;

#[test]
fn the_average_is_evaluated_and_sampled_where_a_run_keeps_one() {
    let world = World::new();
    let average = ["--set", "optimizer.ema-decay=0.9"];
    let run = ["run", "--config", "test.toml", "--run"];
    world.succeed(&[&run[..], &["averaged"], &average].concat());
    world.succeed(&[&run[..], &["plain"]].concat());
    let loss = |arguments: &[&str]| -> f64 {
        let json = world.succeed(&[&["eval"][..], arguments, &["--json"]].concat());
        let report: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(report["ema"], arguments.contains(&"--ema"), "{json}");
        report["validation_loss"].as_f64().unwrap()
    };
    // It trains nothing: without it the weights are the same.
    let last = loss(&["averaged"]);
    assert_eq!(last, loss(&["plain"]));
    let averaged = loss(&["averaged", "--ema"]);
    assert!(
        (averaged - last).abs() > 1e-4 && averaged < 3.0,
        "{averaged}, {last}"
    );
    world.succeed(&["sample", "averaged", "--ema", "--tokens", "3"]);
    for command in ["eval", "sample"] {
        let stderr = world.fail(&[command, "plain", "--ema"], 2);
        assert!(stderr.contains("optimizer.ema-decay"), "{stderr}");
    }
    let stderr = world.fail(&[&run[..], &["plain"], &average].concat(), 2);
    assert!(stderr.contains("optimizer.ema-decay"), "{stderr}");
}
