//! The program is killed at random moments, and at chosen system calls; run again, it ends with the bytes of a run that
//! nobody disturbed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use andromeda_tests::corpus::{Corpus, Random, gzip};
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use super::hostile::{lines, own, put};
use super::{andromeda, ended, files, of_output, only_build, root_hash, tree};

const BUILD: &str = "build --priority high,medium --recipe planted --threads 2";

/// A planted corpus of which every dataset is read in blocks of `block_bytes`.
fn plant(root: &Path, plain: usize, block_bytes: usize) {
    let corpus = Corpus::plant(root, plain);
    for manifest in files(&corpus.manifests.join("datasets")) {
        let mut file = fs::OpenOptions::new().append(true).open(manifest).unwrap();
        write!(file, "[read]\nblock-bytes = {block_bytes}\n").unwrap();
    }
}

/// Runs the command to its end in a fresh work folder, and forgets everything: what it made, and in what time.
fn undisturbed(root: &Path) -> (BTreeMap<String, String>, Duration) {
    let begun = Instant::now();
    ended(&mut andromeda(root, BUILD)).with(0, &[]);
    let spent = begun.elapsed();
    let expected = made(root);
    forget(root);
    (expected, spent)
}

/// What a run left: the files of the build with their hashes, and the names of all intermediates.
fn made(root: &Path) -> BTreeMap<String, String> {
    let mut made = tree(&only_build(root));
    made.extend(files(&root.join("work")).into_iter().map(|path| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        (name.to_owned(), String::new())
    }));
    // Digests of files that were just written are not remembered, so this one comes with time.
    made.remove("work/digests.json");
    made
}

fn forget(root: &Path) {
    fs::remove_dir_all(root.join("work")).unwrap();
    fs::remove_dir_all(root.join("shards")).unwrap();
}

/// The build is what it should be, and nothing else lies about.
#[track_caller]
fn is_as_undisturbed(root: &Path, expected: &BTreeMap<String, String>) {
    let made = made(root);
    // Told by what differs: whole maps would fill the screen.
    let beside = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let beside = one
            .iter()
            .filter(|(name, hash)| other.get(*name) != Some(hash));
        beside.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        (beside(&made, expected), beside(expected, &made)),
        (Vec::new(), Vec::new()),
        "files that lie about or differ, and files that are missing"
    );
    let root_hash = root_hash(root);
    assert_eq!(
        ended(&mut andromeda(root, "verify"))
            .with(0, &[])
            .stdout
            .trim_end()
            .rsplit(' ')
            .next(),
        Some(root_hash.as_str())
    );
}

#[test]
fn twenty_kills_at_random_moments_leave_no_trace() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, 24, 8192);
    let (expected, spent) = undisturbed(root);
    let mut random = Random(20);
    let mut kills = 0;
    while kills < 20 {
        // A chain: killed, gone on with, killed again, until it gets through.
        loop {
            let child = andromeda(root, BUILD)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let pid = Pid::from_child(&child);
            std::thread::sleep(Duration::from_micros(
                random.below(u64::try_from(spent.as_micros()).unwrap()),
            ));
            // It may have ended by itself; until it is waited for, its number is nobody else's.
            kill_process(pid, Signal::KILL).unwrap();
            let output = child.wait_with_output().unwrap();
            if output.status.signal() == Some(9) {
                kills += 1;
                continue;
            }
            of_output(output).with(0, &[]);
            break;
        }
        is_as_undisturbed(root, &expected);
        forget(root);
    }
}

#[test]
fn a_file_whose_end_was_seen_before_its_last_block_was_done_is_read_again() {
    let folder = own("[read]\nblock-bytes = 8192\n");
    let root = folder.path();
    put(&folder, "x.jsonl.gz", gzip(&lines(1, 60)));
    let build = "build --manifest manifests/datasets/own.toml --recipe planted";
    ended(&mut andromeda(root, build)).with(0, &[]);
    let expected = made(root);
    let blocks: Vec<_> = files(&root.join("work/extract"))
        .into_iter()
        .filter(|path| {
            path.extension().is_some_and(|e| e == "json")
                && fs::read_to_string(path).unwrap().contains("first_row")
        })
        .collect();
    assert!(blocks.len() > 5);
    for block in blocks {
        // What a thread had not done yet when another saw the end and the run was killed.
        fs::remove_dir_all(root.join("shards")).unwrap();
        fs::remove_file(&block).unwrap();
        ended(&mut andromeda(root, build)).with(0, &["done before"]);
        assert!(block.exists());
        is_as_undisturbed(root, &expected);
    }
}

#[test]
fn kills_at_chosen_system_calls_leave_no_trace() {
    let folder = own("[read]\nblock-bytes = 32768\n");
    let root = folder.path();
    put(&folder, "x.jsonl", lines(1, 60));
    put(&folder, "y.txt", lines(2, 1));
    let build = "build --manifest manifests/datasets/own.toml --recipe planted --threads 1";
    let traced = |log: &str, inject: Option<(&str, u64)>| {
        let command = andromeda(root, build);
        let mut strace = Command::new("strace");
        strace.args([
            "-f",
            "-qq",
            "-o",
            log,
            "-e",
            "trace=rename,linkat,fsync,mkdir",
        ]);
        if let Some((call, number)) = inject {
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
        }
        strace
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(root)
            .stdin(Stdio::null());
        strace
    };
    match traced("calls", None).output() {
        Ok(output) if output.status.success() => {}
        other => {
            return andromeda_tests::skip(&format!("strace does not work here ({other:?})"));
        }
    }
    let expected = made(root);
    // The tracer counts by thread and by call, and one worker thread makes those that matter.
    let log = fs::read_to_string(root.join("calls")).unwrap();
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (thread, call) in log
        .lines()
        .filter_map(|line| line.split_once('(')?.0.split_once(' '))
    {
        *counts.entry((thread, call.trim())).or_default() += 1;
    }
    let mut kills = 0;
    for call in ["rename", "linkat", "fsync", "mkdir"] {
        let count = counts
            .iter()
            .filter(|((_, name), _)| *name == call)
            .map(|(_, count)| *count)
            .max()
            .unwrap();
        // Publishing is at the end, and there every call is tried; before, tasks are alike.
        let last = count.saturating_sub(8).max(1);
        let spread = usize::try_from(count.div_ceil(4)).unwrap();
        for number in (1..last).step_by(spread).chain(last..=count) {
            forget(root);
            let status = traced("/dev/null", Some((call, number)))
                .output()
                .unwrap()
                .status;
            kills += u64::from(!status.success());
            ended(&mut andromeda(root, build)).with(0, &[]);
            is_as_undisturbed(root, &expected);
        }
    }
    assert!(kills > 30, "{kills} of the runs were killed");
}

#[test]
fn an_interrupt_ends_with_130_a_termination_with_143_and_the_same_command_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, 72, 8192);
    let (expected, _) = undisturbed(root);
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let mut child = andromeda(root, BUILD)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        while files(&root.join("work/extract")).len() < 8 && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        kill_process(Pid::from_child(&child), signal).unwrap();
        let interrupted = of_output(child.wait_with_output().unwrap())
            .with(code, &["interrupted", "run the same command again"]);
        assert_eq!(interrupted.stdout, "");
        let done = files(&root.join("work/extract"));
        assert!(!done.is_empty());
        let stamps = |paths: &[std::path::PathBuf]| -> Vec<_> {
            paths
                .iter()
                .map(|p| fs::metadata(p).unwrap().modified().unwrap())
                .collect()
        };
        let before = stamps(&done);
        let resumed = ended(&mut andromeda(root, BUILD)).with(0, &["done before"]);
        assert!(resumed.stderr.contains("extract"));
        assert_eq!(stamps(&done), before, "what was done was not done again");
        is_as_undisturbed(root, &expected);
        forget(root);
    }
}

#[test]
fn a_second_run_is_told_who_builds_and_ends_with_40() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, 72, 8192);
    let (expected, _) = undisturbed(root);
    let mut child = andromeda(root, BUILD)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while files(&root.join("work/extract")).is_empty() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let owner = child.id().to_string();
    // Stopped, it holds the folder for as long as the others look.
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    ended(&mut andromeda(root, BUILD)).with(40, &["in use by another run", &owner, "--work"]);
    ended(&mut andromeda(root, "gc --all --yes")).with(40, &[&owner]);
    let status = ended(&mut andromeda(root, "status --json")).with(0, &[]);
    assert!(
        status.stdout.contains(&format!("\"running\":\"{owner}\"")),
        "{}",
        status.stdout
    );
    kill_process(Pid::from_child(&child), Signal::CONT).unwrap();
    of_output(child.wait_with_output().unwrap()).with(0, &[]);
    is_as_undisturbed(root, &expected);
}
