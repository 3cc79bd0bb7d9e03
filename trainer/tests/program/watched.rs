//! What a run leaves for those who watch it: samples, utilization, and TensorBoard's events.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::datasets::mixed_world;
use crate::support::World;

/// A run of 40 steps with samples every 16, and a copy of it that was set back to step 36 and resumed.
fn whole_and_resumed(world: &World) {
    let arguments = |name: &'static str| {
        let set = [
            "sample.every-steps=16",
            "sample.prompts=[\"\", \"w3 w4\"]",
            "run.keep-checkpoints=20",
        ];
        let run = ["run", "--config", "test.toml", "--run", name];
        let set = set.into_iter().flat_map(|assignment| ["--set", assignment]);
        run.into_iter().chain(set).collect::<Vec<_>>()
    };
    world.succeed(&arguments("whole"));
    world.succeed(&arguments("again"));
    for step in [39, 40] {
        std::fs::remove_dir_all(world.run("again").join(format!("step-{step:08}"))).unwrap();
    }
    world.succeed(&["resume", "again"]);
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn samples_of_every_prompt_are_taken_at_intervals_and_once() {
    let world = mixed_world();
    whole_and_resumed(&world);
    let of = |name: &str| lines(&world.run(name).join("samples.jsonl"));
    let samples = of("whole");
    let told: Vec<(u64, &str)> = samples
        .iter()
        .map(|sample| {
            (
                sample["step"].as_u64().unwrap(),
                sample["prompt"].as_str().unwrap(),
            )
        })
        .collect();
    let prompts = ["", "w3 w4"];
    let expected = [16, 32, 40].map(|step| prompts.map(|prompt| (step, prompt)));
    assert_eq!(told, expected.concat());
    assert_eq!(samples, of("again"));
    // The last one is what the command makes of the last checkpoint.
    let report = world.succeed(&["sample", "whole", "--prompt", "w3 w4", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(samples[5]["text"], report["text"]);
    assert!(samples[0]["text"] != samples[4]["text"], "{samples:?}");
}

#[test]
fn utilization_is_told_beside_its_peak() {
    let world = World::new();
    let set = ["--set", "compute.peak-flops=1e12"];
    let plan = world.succeed(&[&["plan", "--config", "test.toml", "--json"][..], &set].concat());
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(
        (&plan["peak"]["flops_per_second"], &plan["peak"]["basis"]),
        (&1e12.into(), &"given".into())
    );
    let output = world.call(&[&["run", "--config", "test.toml"][..], &set].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("1.00e12 FLOP/s (given by compute.peak-flops)"),
        "{stderr}"
    );
    // 6 x 126,976 numbers of matrices (64 x 64 of the embedding, padded, and two blocks of 64 (64 + 64 + 512) + 64 x 64 + 64 x 256)
    // and 6 x 2 layers x 2 heads x 32 x 64 tokens of attention: arXiv:2204.02311, appendix B, halved for causality.
    let flops = 6.0 * 126_976.0 + 49_152.0;
    assert_eq!(plan["flops_per_token"].as_f64(), Some(flops));
    let steps = lines(&world.run("test").join("metrics.jsonl"));
    let steps = steps.iter().filter(|line| line.get("loss").is_some());
    for step in steps.clone() {
        let rate = step["tokens_per_second"].as_f64().unwrap();
        let mfu = step["mfu"].as_f64().unwrap();
        assert!((mfu - rate * flops / 1e12).abs() < 1e-12, "{step}");
    }
    assert_eq!(steps.count(), 40);
    let table = world.succeed(&["plan", "--config", "test.toml"]);
    assert!(
        table.contains("measured: a product of") && table.contains("time at the peak"),
        "{table}"
    );
    let wrong = [
        "plan",
        "--config",
        "test.toml",
        "--set",
        "compute.peak-flops=0",
    ];
    assert!(
        world
            .fail(&wrong, 2)
            .contains("compute.peak-flops must be above 0")
    );
}

/// What TensorBoard's own reader finds in the events of a run: `[step, tag, number or text]`, without what depends on the clock.
/// Nothing where there is no such package, which is said past the test runner's capture.
fn by_tensorboard(folder: &Path) -> Option<Vec<Value>> {
    const SCRIPT: &str = "
import json, sys
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
found = []
for raw in RawEventFileLoader(sys.argv[1]).Load():
    event = Event.FromString(raw)
    if event.file_version:
        found.append([event.step, 'version', event.file_version])
    for value in event.summary.value:
        if value.tag.endswith(('tokens_per_second', 'mfu')):
            continue
        if value.metadata.plugin_data.plugin_name == 'text':
            found.append([event.step, value.tag, value.tensor.string_val[0].decode()])
        else:
            found.append([event.step, value.tag, value.simple_value])
    assert event.wall_time > 1.6e9
print(json.dumps(found))
";
    let python = std::env::var_os("ANDROMEDA_PYTHON").unwrap_or_else(|| "python3".into());
    let has = Command::new(&python)
        .args(["-c", "import tensorboard"])
        .output();
    if !has.is_ok_and(|output| output.status.success()) {
        let said = "skipped: TensorBoard's own reader; ANDROMEDA_PYTHON names an interpreter that has it\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
        return None;
    }
    let output = Command::new(&python)
        .args(["-c", SCRIPT])
        .arg(folder.join("events.out.tfevents.0.andromeda"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn tensorboard_reads_what_the_metrics_say_of_a_run_that_was_resumed() {
    let world = mixed_world();
    whole_and_resumed(&world);
    let events = |name: &str| by_tensorboard(&world.run(name).join("tensorboard"));
    let Some(found) = events("whole") else { return };
    assert_eq!(Some(&found), events("again").as_ref());
    assert_eq!(found[0], serde_json::json!([0, "version", "brain.Event:2"]));
    let of = |wanted: &str| {
        let tagged = found.iter().filter(move |event| event[1] == wanted);
        tagged
            .map(|event| (event[0].as_u64().unwrap(), event[2].clone()))
            .collect::<Vec<_>>()
    };
    let metrics = lines(&world.run("whole").join("metrics.jsonl"));
    let told = |key: &str, of: &dyn Fn(&Value) -> Value| {
        let lines = metrics.iter().filter(|line| line.get(key).is_some());
        lines
            .map(|line| (line["step"].as_u64().unwrap(), of(line)))
            .collect::<Vec<_>>()
    };
    let same = |tag: &str, key: &str, number: &dyn Fn(&Value) -> Value| {
        let (found, told) = (of(tag), told(key, number));
        assert_eq!(found.len(), told.len(), "{tag}");
        for ((step, number), (of_step, expected)) in found.iter().zip(&told) {
            let (number, expected) = (number.as_f64().unwrap(), expected.as_f64().unwrap());
            let close = (number - expected).abs() <= 1e-6 * expected.abs();
            assert!(
                step == of_step && close,
                "{tag} at {step}: {number} {expected}"
            );
        }
    };
    same("train/loss", "loss", &|line| line["loss"].clone());
    same("train/gradient_norm", "loss", &|line| {
        line["gradient_norm"].clone()
    });
    same("validation/bits_per_byte", "datasets", &|line| {
        line["bits_per_byte"].clone()
    });
    same("validation/loss/code", "datasets", &|line| {
        line["datasets"][1]["validation_loss"].clone()
    });
    let samples = lines(&world.run("whole").join("samples.jsonl"));
    let texts = of("sample/1");
    assert_eq!(texts.len(), 3);
    let last = format!("w3 w4{}", samples[5]["text"].as_str().unwrap());
    assert_eq!(texts[2], (40, last.into()));
}

#[test]
fn a_run_without_tensorboard_leaves_no_events() {
    let world = World::new();
    let run = [
        "run",
        "--config",
        "test.toml",
        "--set",
        "run.tensorboard=false",
        "--set",
        "schedule.steps=5",
    ];
    world.succeed(&run);
    assert!(!world.run("test").join("tensorboard").exists());
    assert!(world.run("test").join("samples.jsonl").is_file());
}

#[test]
fn a_bench_tells_rate_utilization_memory_and_shares() {
    let world = World::new();
    let bench = ["bench", "--config", "test.toml", "--vocabulary", "40"];
    let set = ["--set", "compute.peak-flops=1e12", "--json"];
    let report = world.succeed(&[&bench[..], &set[..]].concat());
    let report: Value = serde_json::from_str(&report).unwrap();
    let number = |key: &str| report[key].as_f64().unwrap();
    // As `plan` counts them; a step of 8 sequences of 64.
    assert_eq!(
        (number("parameters"), number("tokens_per_step")),
        (127_168.0, 512.0)
    );
    let seconds: Vec<f64> = serde_json::from_value(report["seconds"].clone()).unwrap();
    assert_eq!(seconds.len(), 4);
    let fastest = seconds[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let rate = number("tokens_per_second");
    assert!((rate - 512.0 / fastest).abs() < 1e-6 * rate, "{report}");
    let flops = 6.0 * 126_976.0 + 49_152.0;
    assert!(
        (number("mfu") - rate * flops / 1e12).abs() < 1e-9,
        "{report}"
    );
    assert!(number("peak_memory_bytes") > 1e6, "{report}");
    assert!(number("tokens_per_processor_second") > 0.0, "{report}");
    // No operation is left out and none is counted twice, though between them is a little of the step too.
    let parts = report["parts"].as_array().unwrap();
    let shares: f64 = parts
        .iter()
        .map(|part| part["share"].as_f64().unwrap())
        .sum();
    assert!(
        parts.len() == 12 && (0.5..1.000_001).contains(&shares),
        "{report}"
    );
    let table = world.succeed(&bench);
    assert!(
        table.contains("most memory") && table.contains("head and loss"),
        "{table}"
    );
    world.fail(&[&bench[..], &["--steps", "0"]].concat(), 2);
}
