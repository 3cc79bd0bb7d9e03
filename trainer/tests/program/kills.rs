//! The program killed at random moments of steps and at every kind of system call of a checkpoint: gone on with, it ends with the bytes
//! of a run that nobody disturbed.

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use andromeda_trainer::random::Stream;

use crate::support::{World, wait_for};

/// Eight micro-batches a step, so that nearly every moment is inside an accumulation.
fn arguments(name: &str) -> [&str; 9] {
    [
        "run",
        "--config",
        "test.toml",
        "--run",
        name,
        "--set",
        "data.micro-batches-per-step=8",
        "--set",
        "data.sequences-per-micro-batch=1",
    ]
}

/// A run that is gone on with after its end came too early is as the one called `whole`, and nothing else lies about.
#[track_caller]
fn ends_as_undisturbed(world: &World, name: &str, what: &str) {
    world.succeed(&arguments(name));
    assert!(
        world.last_checkpoint("whole") == world.last_checkpoint(name),
        "{what}: the last checkpoints differ"
    );
    assert_eq!(world.metrics("whole"), world.metrics(name), "{what}");
    let entries = |name: &str| -> Vec<_> {
        let entries = std::fs::read_dir(world.run(name)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(entries("whole"), entries(name), "{what}");
    std::fs::remove_dir_all(world.run(name)).unwrap();
}

fn killed_at_random_moments(kills: u64) {
    let world = World::new();
    let begun = Instant::now();
    world.succeed(&arguments("whole"));
    let step = begun.elapsed() / 40;
    let (stream, mut early) = (Stream::new(1, "kills"), 0);
    for kill in 0..kills {
        // After 0 to 44 lines of the metrics, of 46, and then some part of a step.
        let lines = usize::try_from(stream.bits(2 * kill) % 45).unwrap();
        let part = stream.uniform(2 * kill + 1);
        let mut child = world
            .program(&arguments("killed"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_for(&world, "killed", lines, &mut child);
        std::thread::sleep(step.mul_f64(part));
        child.kill().unwrap();
        early += u64::from(child.wait().unwrap().signal() == Some(9));
        let what = format!("kill {kill}, after {lines} lines and {part:.2} of a step");
        ends_as_undisturbed(&world, "killed", &what);
    }
    assert!(
        early > kills / 2,
        "only {early} of {kills} were killed before their end"
    );
}

/// The calls by which files of a run come to be, change their names and go.
const CALLS: [&str; 6] = ["openat", "write", "fsync", "mkdir", "rename", "unlinkat"];

/// Kills at every `spread`th of each kind of call.
fn killed_at_system_calls(spread: u64) {
    let world = World::new();
    let root = world.folder.path();
    let traced = |log: &Path, name: &str, inject: Option<(&str, u64)>| {
        let command = world.program(&arguments(name));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o"]).arg(log);
        strace.arg("-e").arg(format!("trace={}", CALLS.join(",")));
        if let Some((call, number)) = inject {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            strace.args(["-e", &inject]);
        }
        strace
            .arg(command.get_program())
            .args(command.get_args())
            .env("RAYON_NUM_THREADS", "1")
            .current_dir(root)
            .stdin(Stdio::null());
        strace
    };
    let log = root.join("calls");
    match traced(&log, "whole", None).output() {
        Ok(output) if output.status.success() => {}
        other => {
            assert!(
                std::env::var("ANDROMEDA_TESTS_SKIP").as_deref() != Ok("never"),
                "not to be skipped here: strace does not work ({other:?})"
            );
            return;
        }
    }
    // The tracer counts by thread and by call, and it is the first thread that trains and saves.
    let log = std::fs::read_to_string(log).unwrap();
    let calls: Vec<(&str, &str)> = log
        .lines()
        .filter_map(|line| line.split_once('(')?.0.split_once(' '))
        .map(|(thread, call)| (thread, call.trim()))
        .collect();
    let first = calls[0].0;
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, call) in calls.into_iter().filter(|(thread, _)| *thread == first) {
        *counts.entry(call).or_default() += 1;
    }
    assert!(
        CALLS.iter().all(|call| counts.contains_key(call)),
        "{counts:?}"
    );
    let stream = Stream::new(1, "calls");
    let mut killed = 0;
    for (at, (call, count)) in counts.into_iter().enumerate() {
        // Not the same step of each checkpoint again and again.
        for start in (1..=count).step_by(usize::try_from(spread).unwrap()) {
            let number = start + stream.bits(at as u64 * 1000 + start) % spread;
            let status = traced(Path::new("/dev/null"), "killed", Some((call, number)))
                .output()
                .unwrap()
                .status;
            killed += u64::from(!status.success());
            ends_as_undisturbed(&world, "killed", &format!("{call} {number} of {count}"));
        }
    }
    assert!(killed > 5, "only {killed} were killed");
}

#[test]
fn a_run_killed_inside_a_step_ends_as_an_undisturbed_one() {
    killed_at_random_moments(4);
}

#[test]
fn a_run_killed_inside_a_checkpoint_ends_as_an_undisturbed_one() {
    killed_at_system_calls(30);
}

#[test]
#[ignore = "minutes: cargo test --release -p andromeda-trainer --test program kills -- --ignored"]
fn fifty_runs_killed_inside_a_step_end_as_an_undisturbed_one() {
    killed_at_random_moments(50);
}

#[test]
#[ignore = "minutes: cargo test --release -p andromeda-trainer --test program kills -- --ignored"]
fn runs_killed_at_many_system_calls_end_as_an_undisturbed_one() {
    killed_at_system_calls(5);
}
