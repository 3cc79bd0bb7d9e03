//! Several workers on one run, as processes that talk over the loopback. Whatever their number, and whenever it changes, losses,
//! metrics and checkpoints have the bits of one worker.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{World, wait_for};

/// Five micro-batches of two sequences, in four parts.
const STEP: [&str; 3] = [
    "data.sequences-per-micro-batch=2",
    "data.micro-batches-per-step=5",
    "data.parts-per-step=4",
];

fn run<'a>(name: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["run", "--config", "test.toml", "--run", name];
    for assignment in STEP {
        arguments.extend(["--set", assignment]);
    }
    arguments.extend(more);
    arguments
}

/// An address that was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Starts worker `rank` of `workers` on `arguments`.
fn start(world: &World, arguments: &[&str], at: &str, rank: usize, workers: usize) -> Child {
    let (rank, workers) = (rank.to_string(), workers.to_string());
    let place = [
        "--coordinator",
        at,
        "--rank",
        &rank,
        "--world-size",
        &workers,
    ];
    let mut program = world.program(&[arguments, &place].concat());
    program.env("RAYON_NUM_THREADS", "1").spawn().unwrap()
}

fn all(world: &World, arguments: &[&str], workers: usize) -> Vec<Child> {
    let at = free_address();
    let ranks = 0..workers;
    ranks
        .map(|rank| start(world, arguments, &at, rank, workers))
        .collect()
}

fn ended(children: Vec<Child>) -> Vec<Output> {
    let outputs = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    outputs.collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn any_number_of_workers_gives_the_bits_of_one() {
    let world = World::new();
    let of = |kind| ["--set", kind];
    let grown = [
        of("optimizer.kind=muon"),
        of("optimizer.ema-decay=0.9"),
        of("data.batch-warmup-tokens=6400"),
    ];
    for (kind, options, numbers) in [
        ("adamw", vec![], &["2", "3", "4"][..]),
        ("stable", of("optimizer.kind=stable-adamw").to_vec(), &["2"]),
        // Steps of fewer micro-batches than parts at the beginning.
        ("grown", grown.concat(), &["3"]),
    ] {
        let whole = format!("{kind}-1");
        world.succeed(&run(&whole, &options));
        for workers in numbers {
            let name = format!("{kind}-{workers}");
            let shared = ["--workers", workers];
            world.succeed(&run(&name, &[&options, &shared[..]].concat()));
            assert!(
                world.last_checkpoint(&whole) == world.last_checkpoint(&name),
                "the last checkpoints differ with {workers} workers, {kind}"
            );
            assert_eq!(world.metrics(&whole), world.metrics(&name));
        }
    }
    // The parts are not without meaning: in another order the sums are others.
    let other = run("other", &["--set", "data.parts-per-step=1"]);
    world.succeed(&other);
    assert_ne!(world.metrics("other"), world.metrics("adamw-1"));
}

#[test]
fn the_number_of_workers_changes_at_every_start() {
    let world = World::new();
    world.succeed(&run("whole", &[]));
    // A signal to any worker stops all of them after the same step, which is saved.
    for (workers, signalled, steps) in [(2, 1, 5), (1, 0, 12), (3, 2, 17), (4, 0, 25)] {
        let arguments = run("elastic", &[]);
        let mut children = all(&world, &arguments, workers);
        wait_for(&world, "elastic", steps, &mut children[0]);
        let signalled = Pid::from_child(&children[signalled]);
        kill_process(signalled, Signal::TERM).unwrap();
        for output in ended(children) {
            assert_eq!(output.status.code(), Some(143), "{}", stderr(&output));
        }
        let lines = world.metrics("elastic");
        let done = lines
            .iter()
            .filter(|line| line.contains("gradient_norm"))
            .count();
        let saved = world.run("elastic").join(format!("step-{done:08}"));
        assert!(saved.is_dir(), "step {done} was not saved");
    }
    world.succeed(&["resume", "elastic", "--workers", "2"]);
    assert!(
        world.last_checkpoint("whole") == world.last_checkpoint("elastic"),
        "the last checkpoints differ"
    );
    assert_eq!(world.metrics("whole"), world.metrics("elastic"));
}

#[test]
fn a_killed_worker_ends_the_others_and_the_run_goes_on_exactly() {
    let world = World::new();
    world.succeed(&run("whole", &[]));
    for (killed, steps) in [(1, 6), (0, 14)] {
        let arguments = run("killed", &[]);
        let mut children = all(&world, &arguments, 3);
        wait_for(&world, "killed", steps, &mut children[0]);
        children[killed].kill().unwrap();
        let killed_at = Instant::now();
        let outputs = ended(children);
        assert!(killed_at.elapsed() < Duration::from_secs(30));
        for (rank, output) in outputs.iter().enumerate() {
            if rank == killed {
                continue;
            }
            let told = stderr(output);
            assert_eq!(output.status.code(), Some(10), "worker {rank}: {told}");
            assert!(
                told.contains("worker ") && told.contains("hint: start all workers again"),
                "{told}"
            );
        }
    }
    world.succeed(&run("killed", &["--workers", "4"]));
    assert!(
        world.last_checkpoint("whole") == world.last_checkpoint("killed"),
        "the last checkpoints differ"
    );
    assert_eq!(world.metrics("whole"), world.metrics("killed"));
}

#[test]
fn a_step_that_is_no_number_is_told_alike_by_all() {
    let world = World::new();
    let last = |text: &str| {
        let error = text.lines().find(|line| line.starts_with("error: "));
        error
            .unwrap_or_else(|| panic!("no error in {text}"))
            .to_owned()
    };
    for policy in ["stop", "rollback"] {
        let of_policy = format!("run.non-finite={policy}");
        let spoilt = [
            "--set",
            "schedule.peak-learning-rate=1e30",
            "--set",
            &of_policy,
        ];
        let (alone, shared) = (format!("alone-{policy}"), format!("shared-{policy}"));
        let told = last(&world.fail(&run(&alone, &spoilt), 20));
        for output in ended(all(&world, &run(&shared, &spoilt), 3)) {
            assert_eq!(output.status.code(), Some(20));
            // With the rows of all workers.
            assert_eq!(last(&stderr(&output)), told);
        }
        assert_eq!(world.metrics(&alone), world.metrics(&shared));
    }
}

#[test]
fn strangers_and_workers_of_another_run_are_refused() {
    let world = World::new();
    world.succeed(&run("whole", &[]));
    let at = free_address();
    let arguments = run("met", &[]);
    let first = start(&world, &arguments, &at, 0, 2);
    let stranger = |bytes: &[u8]| {
        let begun = Instant::now();
        loop {
            match TcpStream::connect(&at) {
                Ok(mut stream) => break stream.write_all(bytes).unwrap(),
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    stranger(b"GET / HTTP/1.1\r\n\r\n");
    stranger(&[0xff; 4096]);
    for (name, more, told) in [
        ("met", "schedule.warmup-steps=6", "schedule.warmup-steps"),
        ("other", "data.order-seed=0", "its run is other"),
    ] {
        let other = run(name, &["--set", more]);
        let output = start(&world, &other, &at, 1, 2).wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
    let second = start(&world, &arguments, &at, 1, 2);
    let outputs = ended(vec![first, second]);
    for output in &outputs {
        assert!(output.status.success(), "{}", stderr(output));
    }
    assert!(stderr(&outputs[0]).contains("is refused: what it sent is no message"));
    assert_eq!(world.metrics("whole"), world.metrics("met"));
}

#[test]
fn workers_are_found_by_the_variables_of_launchers() {
    let world = World::new();
    world.succeed(&run("whole", &[]));
    let at = free_address();
    let port = at.rsplit(':').next().unwrap();
    let children = ["0", "1"].map(|rank| {
        let mut program = world.program(&run("launched", &[]));
        program.envs([
            ("RANK", rank),
            ("WORLD_SIZE", "2"),
            ("MASTER_ADDR", "localhost"),
            ("MASTER_PORT", port),
        ]);
        program.spawn().unwrap()
    });
    for output in ended(children.into()) {
        assert!(output.status.success(), "{}", stderr(&output));
    }
    assert_eq!(world.metrics("whole"), world.metrics("launched"));
}

#[test]
fn workers_that_cannot_be_are_refused_with_what_to_do() {
    let world = World::new();
    let plain = ["run", "--config", "test.toml"];
    for (more, told) in [
        (&["--workers", "2"][..], "--set data.parts-per-step=2"),
        (&["--workers", "0"], "1 to 256 workers"),
        (&["--workers", "1000"], "1 to 256 workers"),
        (&["--rank", "1"], "--world-size"),
        (&["--world-size", "2", "--rank", "0"], "--coordinator"),
        (
            &[
                "--world-size",
                "2",
                "--rank",
                "2",
                "--coordinator",
                "localhost:1",
            ],
            "below --world-size",
        ),
        (&["--workers", "2", "--rank", "0"], "cannot be used with"),
        #[cfg(not(feature = "nccl"))]
        (
            &["--workers", "2", "--transport", "nccl"],
            "--features nccl",
        ),
        (&["--workers", "2", "--transport", "mpi"], "tcp, nccl"),
        (
            &["--set", "data.parts-per-step=3"],
            "data.parts-per-step must be between 1 and",
        ),
    ] {
        let refusal = world.fail(&[&plain, more].concat(), 2);
        assert!(refusal.contains(told), "{more:?}: {refusal}");
    }
    assert!(!world.run("test").exists());
}

#[test]
fn a_plan_says_what_a_worker_takes() {
    let world = World::new();
    let told = |workers: &str| -> serde_json::Value {
        let mut arguments = vec![
            "plan",
            "--config",
            "test.toml",
            "--json",
            "--workers",
            workers,
        ];
        for assignment in STEP {
            arguments.extend(["--set", assignment]);
        }
        serde_json::from_str(&world.succeed(&arguments)).unwrap()
    };
    let (one, two, four) = (told("1"), told("2"), told("4"));
    let numbers = 4 * 127_168;
    // Four parts are a tree of two levels: the gradients of the first half wait for the second, which is two itself.
    let gradients = [&one, &two, &four].map(|plan| plan["memory"]["gradients"].as_u64().unwrap());
    assert_eq!(gradients, [3 * numbers, 2 * numbers, numbers]);
    let moments = [&one, &two, &four].map(|plan| plan["memory"]["moments"].as_u64().unwrap());
    assert_eq!(moments[0], 2 * numbers);
    // The maps up, 64 x 512, are the largest parameters; two are a quarter of all each.
    assert!(
        (numbers..numbers + numbers / 8).contains(&moments[1]),
        "{moments:?}"
    );
    assert!((numbers / 2..numbers).contains(&moments[2]), "{moments:?}");
    let table = world.succeed(&[
        "plan",
        "--config",
        "test.toml",
        "--set",
        "data.parts-per-step=2",
        "--workers",
        "2",
    ]);
    assert!(table.contains("memory of each"), "{table}");
}
