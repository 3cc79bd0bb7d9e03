//! The program killed, stopped, damaged and given other data. N steps equal k steps, an end, and N - k steps, bit for bit.

use std::os::unix::process::ExitStatusExt;

use crate::support::{World, bytes_of, make_build, wait_for};

#[test]
fn a_killed_and_resumed_run_equals_an_uninterrupted_one_bit_for_bit() {
    let world = World::new();
    world.succeed(&["run", "--config", "test.toml", "--run", "whole"]);
    for (round, steps) in [7, 11].into_iter().enumerate() {
        let name = format!("killed-{round}");
        let mut child = world
            .program(&["run", "--config", "test.toml", "--run", &name])
            .spawn()
            .unwrap();
        wait_for(&world, &name, steps, &mut child);
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        // `run` goes on with a run that exists, `resume` needs no configuration.
        if round == 0 {
            world.succeed(&["resume", &name]);
        } else {
            world.succeed(&["run", "--config", "test.toml", "--run", &name]);
        }
        assert!(
            world.last_checkpoint("whole") == world.last_checkpoint(&name),
            "the last checkpoints differ"
        );
        assert_eq!(world.metrics("whole"), world.metrics(&name));
    }
}

#[test]
fn a_terminated_run_saves_where_it_is_and_goes_on_there() {
    let world = World::new();
    world.succeed(&["run", "--config", "test.toml", "--run", "whole"]);
    for (signal, code) in [
        (rustix::process::Signal::TERM, 143),
        (rustix::process::Signal::INT, 130),
    ] {
        let name = format!("stopped-{code}");
        let mut child = world
            .program(&["run", "--config", "test.toml", "--run", &name])
            .spawn()
            .unwrap();
        wait_for(&world, &name, 5, &mut child);
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        let done = world
            .metrics(&name)
            .iter()
            .filter(|line| line.contains("gradient_norm"))
            .count();
        assert!(
            world.run(&name).join(format!("step-{done:08}")).is_dir(),
            "step {done} was not saved"
        );
        world.succeed(&["resume", &name]);
        assert!(
            world.last_checkpoint("whole") == world.last_checkpoint(&name),
            "the last checkpoints differ"
        );
        assert_eq!(world.metrics("whole"), world.metrics(&name));
    }
}

#[test]
fn a_corrupt_newest_checkpoint_falls_back_to_the_one_before() {
    let world = World::new();
    world.succeed(&["run", "--config", "test.toml", "--run", "one"]);
    let whole = (world.last_checkpoint("one"), world.metrics("one"));
    let model = world.run("one").join("step-00000040/model.safetensors");
    let mut bytes = std::fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    std::fs::create_dir(world.run("one").join(".step-00000041.partial")).unwrap();
    let output = world.call(&["resume", "one"]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("warning: ") && stderr.contains("model.safetensors"),
        "{stderr}"
    );
    assert!(
        stderr.contains("going on from runs/one/step-00000039"),
        "{stderr}"
    );
    assert!(
        whole == (world.last_checkpoint("one"), world.metrics("one")),
        "the second end differs from the first"
    );
    assert!(!world.run("one").join(".step-00000041.partial").exists());
    let kept = std::fs::read_dir(world.run("one"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    assert_eq!(
        kept.filter(|name| name.to_str().unwrap().starts_with("step-"))
            .count(),
        3
    );
}

#[test]
fn another_build_is_refused_until_it_is_accepted() {
    let world = World::new();
    let short = [
        "run",
        "--config",
        "test.toml",
        "--set",
        "schedule.steps=6",
        "--set",
        "schedule.warmup-steps=2",
    ];
    world.succeed(&short);
    let before = bytes_of(&world.run("test"));
    let other = world.folder.path().join("other");
    make_build(&other, 2);
    let refusal = world.fail(&[&short[..], &["--build", "other"]].concat(), 30);
    let root = refusal.split("--accept-root ").nth(1).unwrap().trim();
    assert!(
        before == bytes_of(&world.run("test")),
        "a refused run changes nothing"
    );
    world.fail(
        &[
            &short[..],
            &["--build", "other", "--accept-root", "nonsense"],
        ]
        .concat(),
        30,
    );
    world.succeed(&[&short[..], &["--build", "other", "--accept-root", root]].concat());
}

#[test]
fn a_run_in_use_is_busy() {
    let world = World::new();
    let mut child = world
        .program(&[
            "run",
            "--config",
            "test.toml",
            "--set",
            "schedule.steps=4000",
            "--set",
            "run.save-every-steps=4000",
        ])
        .spawn()
        .unwrap();
    wait_for(&world, "test", 1, &mut child);
    let stderr = world.fail(&["resume", "test"], 2);
    assert!(stderr.contains("no checkpoint yet"), "{stderr}");
    let stderr = world.fail(
        &[
            "run",
            "--config",
            "test.toml",
            "--set",
            "schedule.steps=4000",
            "--set",
            "run.save-every-steps=4000",
        ],
        40,
    );
    assert!(stderr.contains("another process"), "{stderr}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let world = World::new();
    for threads in ["1", "2", "3"] {
        let arguments = ["run", "--config", "test.toml", "--run", threads];
        let mut program = world.program(&arguments);
        assert!(
            program
                .env("RAYON_NUM_THREADS", threads)
                .status()
                .unwrap()
                .success()
        );
    }
    for threads in ["2", "3"] {
        assert!(
            world.last_checkpoint("1") == world.last_checkpoint(threads),
            "the last checkpoints differ"
        );
        assert_eq!(world.metrics("1"), world.metrics(threads));
    }
}
