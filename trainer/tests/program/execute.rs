//! Programs of tasks, run: all that human-eval publishes, values that cross between interpreters, and what happens where a layer is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use andromeda_trainer::evaluation::execute::{Executor, Limits, Outcome, Program};
use serde_json::{Value, json};

use crate::support::World;

const HELPER: &str = env!("CARGO_BIN_EXE_andromeda-train");

/// None, said on stderr past the test runner's capture, where this machine lacks a layer. Where `ANDROMEDA_TESTS_SKIP=never` is set,
/// that is a failure.
pub(crate) fn executor(limits: Limits) -> Option<Executor> {
    match Executor::new(Path::new(HELPER), Path::new("python3"), limits) {
        Ok(executor) => Some(executor),
        Err(error) => {
            assert!(
                std::env::var("ANDROMEDA_TESTS_SKIP").as_deref() != Ok("never"),
                "not to be skipped here: {error}"
            );
            let said = format!("skipped: {error}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            None
        }
    }
}

fn sets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evaluation-sets")
}

fn rows() -> Vec<Value> {
    let path = sets().join("humaneval/HumanEval.jsonl.gz");
    let file = flate2::read::GzDecoder::new(fs::File::open(path).unwrap());
    let text = std::io::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Two answers to each problem: the published one, and one that gives nothing.
#[test]
fn published_solutions_pass_and_others_do_not() {
    if executor(Limits::default()).is_none() {
        return;
    }
    let world = World::new();
    let mut answers = String::new();
    for (item, row) in rows().iter().enumerate() {
        for completion in [
            row["canonical_solution"].as_str().unwrap(),
            "    return None\n",
        ] {
            answers += &format!("{}\n", json!({"item": item, "completion": completion}));
        }
    }
    fs::write(world.folder.path().join("answers.jsonl"), answers).unwrap();
    let sets = sets();
    let arguments = [
        "score",
        "humaneval",
        "--data",
        sets.to_str().unwrap(),
        "--responses",
        "answers.jsonl",
    ];
    let said = world.succeed(&arguments);
    assert!(
        said.contains("its programs were not run; --execute-untrusted runs them"),
        "{said}"
    );
    let mut run = arguments.to_vec();
    // Other tests have this machine's processors too.
    run.extend(["--execute-untrusted", "--program-seconds", "60", "--json"]);
    let scored: Value = serde_json::from_str(&world.succeed(&run)).unwrap();
    assert_eq!(
        scored["programs"],
        json!({"passed": 164, "failed": 164, "timed_out": 0, "blocked": 0})
    );
    let metrics = scored["metrics"].as_array().unwrap();
    assert_eq!(metrics.len(), 1, "{scored}");
    assert_eq!(
        (
            &metrics[0]["metric"],
            &metrics[0]["value"],
            &metrics[0]["items"]
        ),
        (&json!("pass@1"), &json!(0.5), &json!(164))
    );
}

fn program(completion: &str, test: &str) -> Program {
    Program {
        before: "def f(x):\n    '''What f does.'''\n".to_owned(),
        completion: completion.to_owned(),
        after: format!("\n{test}\n"),
        entry: "f".to_owned(),
    }
}

#[test]
fn values_are_the_same_on_both_sides() {
    let Some(executor) = executor(Limits::default()) else {
        return;
    };
    let same = "    return x\n";
    let of = |value: &str| {
        program(
            same,
            &format!(
                "value = {value}\nback = f(value)\nassert back == value and type(back) is type(value), back"
            ),
        )
    };
    let values = [
        "None",
        "True",
        "False",
        "0",
        "-1",
        "10 ** 5000",
        "0.1",
        "-0.0",
        "1e308",
        "float('inf')",
        "1j + 2",
        "''",
        "'\\ud800\\x00\\n'",
        "b'\\x00\\xff'",
        "bytearray(b'ab')",
        "[]",
        "[1, [2.5, 'x'], None]",
        "(1,)",
        "((), [()])",
        "{1, 'a'}",
        "frozenset([1])",
        "{}",
        "{(1, 2): [3], 'k': {None: True}}",
        "range(3, 30, 4)",
        "__import__('fractions').Fraction(1, 3)",
        "__import__('decimal').Decimal('0.10')",
    ];
    let mut programs: Vec<Program> = values.iter().map(|value| of(value)).collect();
    for (completion, test) in [
        (same, "assert f(float('nan')) != f(float('nan'))"),
        (
            "    return (i * i for i in range(4))\n",
            "assert tuple(f(0)) == (0, 1, 4, 9)",
        ),
        ("    return {1: 2}.keys()\n", "assert sorted(f(0)) == [1]"),
        (
            "    return map(str, x)\n",
            "assert list(f([1, 2])) == ['1', '2']",
        ),
        (
            "    import collections\n    return collections.Counter(x)\n",
            "assert f('aab') == {'a': 2, 'b': 1}",
        ),
        (
            "    import collections\n    return collections.namedtuple('P', 'a b')(1, 2)\n",
            "assert f(0) == (1, 2)",
        ),
        (
            "    raise ValueError('no ' + x)\n",
            "try: f('way')\nexcept ValueError as error: assert str(error) == 'no way'\nelse: assert False",
        ),
        (
            "    return g(x)\n\ndef g(x):\n    return 2 * x\n",
            "assert [f(i) for i in range(200)] == list(range(0, 400, 2))",
        ),
        (
            "    x.append(1)\n    return len(x)\n",
            "held = []\nassert f(held) == 1 and f(x=held) == 1",
        ),
    ] {
        programs.push(program(completion, test));
    }
    let outcomes = executor.run(&programs, &mut |_| Ok(())).unwrap();
    for (program, outcome) in programs.iter().zip(&outcomes) {
        assert_eq!(
            *outcome,
            Outcome::Passed,
            "{}{}",
            program.completion,
            program.after
        );
    }
    // What is of no plain type is told apart from what is; what a test cannot pass on is a fault of the test.
    let odd = [
        program("    return object()\n", "assert f(0) == f(0)"),
        program("    return f\n", "assert f(0) == f"),
        program(same, "f(object())"),
    ];
    let outcomes = executor.run(&odd, &mut |_| Ok(())).unwrap();
    assert!(matches!(outcomes[0], Outcome::Failed(_)), "{outcomes:?}");
    assert!(matches!(outcomes[1], Outcome::Failed(_)), "{outcomes:?}");
    assert!(
        matches!(&outcomes[2], Outcome::Unfit(why) if why.contains("argument of f")),
        "{outcomes:?}"
    );
}

#[test]
fn outcomes_are_in_the_order_of_programs_and_an_error_ends_them() {
    let Some(executor) = executor(Limits::default()) else {
        return;
    };
    let programs: Vec<Program> = (0..12)
        .map(|i| {
            let sleep = f64::from(i * 7 % 5) / 20.0;
            let completion = format!("    import time\n    time.sleep({sleep})\n    return {i}\n");
            program(&completion, &format!("assert f(0) % 3 == 0, 'it is {i}'"))
        })
        .collect();
    let mut told = Vec::new();
    let outcomes = executor
        .run(&programs, &mut |done| {
            told.push(done);
            Ok(())
        })
        .unwrap();
    assert_eq!(told, (1..=12).collect::<Vec<_>>());
    for (i, outcome) in outcomes.iter().enumerate() {
        let expected = match i % 3 {
            0 => Outcome::Passed,
            _ => Outcome::Failed(format!("AssertionError: it is {i}")),
        };
        assert_eq!(*outcome, expected);
    }
    let stopped = executor.run(&programs, &mut |done| match done {
        3 => Err(andromeda_trainer::error::Error::Ended(2)),
        _ => Ok(()),
    });
    assert_eq!(stopped.unwrap_err().exit_code(), 130);
}

/// The arguments that run one program of a task of our own, with that program.
fn one_program(world: &World, completion: &str) -> [String; 6] {
    let task = "name = \"own\"\ndescription = \"Own.\"\nrules = \"human-eval\"\nbenchmark = \"own\"\nfiles = [\"own.jsonl\"]\nprompt = \"{prompt}\"\n\
        [generate]\nstop = [\"\\nclass\"]\ntokens = 9\ntest = \"\\nassert f(1) == 2\"\nentry-point = \"f\"\n";
    let at = |name: &str| world.folder.path().join(name);
    fs::write(at("own.toml"), task).unwrap();
    fs::write(
        at("own.jsonl"),
        "{\"prompt\": \"def f(x):\\n    '''f'''\\n\"}\n",
    )
    .unwrap();
    fs::write(
        at("answers.jsonl"),
        json!({"item": 0, "completion": completion}).to_string(),
    )
    .unwrap();
    [
        "score",
        "own.toml",
        "--data",
        ".",
        "--responses",
        "answers.jsonl",
    ]
    .map(ToOwned::to_owned)
}

#[test]
fn what_is_missing_is_named_and_nothing_is_run_with_less() {
    if executor(Limits::default()).is_none() {
        return;
    }
    let world = World::new();
    let mut arguments = one_program(&world, "    return x + 1\n").to_vec();
    arguments.push("--execute-untrusted".to_owned());
    let run: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = world.succeed(&run);
    assert!(
        said.contains("of its programs 1 passed, 0 failed"),
        "{said}"
    );

    // A machine that permits no more namespaces of a kind: each is asked for by itself.
    for (kind, name) in [
        ("user", "user namespaces"),
        ("mnt", "mount namespaces"),
        ("pid", "process namespaces"),
        ("net", "network namespaces"),
        ("ipc", "IPC namespaces"),
        ("uts", "host name namespaces"),
        ("cgroup", "cgroup namespaces"),
    ] {
        let script = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces && exec \"$0\" \"$@\"");
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", &script, HELPER])
            .args(&run)
            .current_dir(world.folder.path())
            .output()
            .unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(20), "{kind}: {talk}");
        assert!(
            talk.contains(&format!("run without {name}: ")) && talk.contains("\nhint: "),
            "{kind}: {talk}"
        );
        assert_eq!(output.stdout, b"", "{kind}");
    }
    // Who is root of a container that has no nobody is a user of the machine: where that is root, whose processes no limit counts, all
    // is refused.
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", HELPER])
        .args(&run)
        .current_dir(world.folder.path())
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    if rustix::process::geteuid().is_root() {
        assert_eq!(output.status.code(), Some(20), "{talk}");
        assert!(
            talk.contains("run without limit of processes: a program got past it\nhint: "),
            "{talk}"
        );
    } else {
        assert!(output.status.success(), "{talk}");
    }
    // An interpreter that is none, and none at all.
    for python in ["/bin/true", "/no/python3"] {
        let mut run = run.clone();
        run.extend(["--python", python]);
        let talk = world.fail(&run, 20);
        assert!(
            talk.contains("run without a Python 3 interpreter: ") && talk.contains("--python PATH"),
            "{talk}"
        );
    }
    // An option of what is not asked for.
    let mut less = run.clone();
    less.pop();
    less.extend(["--python", "python3"]);
    assert!(world.fail(&less, 2).contains("--execute-untrusted"));
}

/// A model of words answers, whatever it says.
#[test]
fn a_run_is_evaluated_on_programs_where_that_is_asked_for() {
    if executor(Limits::default()).is_none() {
        return;
    }
    let world = World::new();
    one_program(&world, "");
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--run",
        "one",
        "--set",
        "schedule.steps=6",
    ]);
    let arguments = [
        "evaluate", "one", "--tasks", "own.toml", "--data", ".", "--json",
    ];
    let of = |more: &[&str]| {
        let said = world.succeed(&[&arguments[..], more].concat());
        let report: Value = serde_json::from_str(&said).unwrap();
        report["tasks"][0].clone()
    };
    let not_run = of(&[]);
    assert_eq!(not_run["metrics"], json!([]));
    assert_eq!(not_run["programs"], Value::Null);
    let run = of(&["--execute-untrusted"]);
    assert_eq!(
        run["programs"],
        json!({"passed": 0, "failed": 1, "timed_out": 0, "blocked": 0})
    );
    assert_eq!(run["metrics"][0]["metric"], "pass@1");
    assert_eq!(run["metrics"][0]["value"], 0.0);
}

/// Processes of this name.
fn named(name: &str) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let names =
        processes.filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
    names.filter(|of| of.trim_end() == name).count()
}

#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn no_program_outlives_who_waits_for_it() {
    if executor(Limits::default()).is_none() {
        return;
    }
    let world = World::new();
    let name = format!("stay{}", std::process::id());
    let completion = format!(
        "    import ctypes, os, time\n    ctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\n    os.fork()\n    os.setsid() if os.getppid() != 1 else 0\n    time.sleep(1e6)\n"
    );
    let arguments = one_program(&world, &completion);
    let mut run: Vec<&str> = arguments.iter().map(String::as_str).collect();
    run.extend(["--execute-untrusted", "--program-seconds", "3600"]);
    for signal in [rustix::process::Signal::KILL, rustix::process::Signal::TERM] {
        let mut command = world.program(&run);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        wait_until("the program does not start", || named(&name) == 2);
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        if signal == rustix::process::Signal::TERM {
            // The first is taken note of and the program waited for; the second is not waited with.
            std::thread::sleep(Duration::from_millis(200));
            let _ = rustix::process::kill_process(pid, signal);
        }
        child.wait().unwrap();
        wait_until("its program stays", || named(&name) == 0);
    }
}
