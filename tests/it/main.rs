//! Cross-crate tests: planted corpora through the pipeline, read back through the format; the program killed, starved, fed
//! with broken files and asked with every option.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing, its helpers too"
)]

mod against;
mod beside;
mod catalogue;
mod datasets;
mod decontaminate;
mod end_to_end;
mod export;
mod faults;
mod files;
mod filter;
mod hostile;
mod hub;
mod hub_files;
mod import;
mod loss;
mod models;
mod options;
mod parts;
mod remote_builds;
mod report;
mod resume;
mod sets;
mod signals;
#[cfg(feature = "object-store")]
mod store;
#[cfg(feature = "object-store")]
mod store_builds;
mod tokenize;
mod trim;
mod web;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::AtomicBool;

use andromeda_pipeline::catalogue::{Selection, Tier};
use andromeda_pipeline::execute::{self, BuildOptions, Built};
use andromeda_pipeline::plan::{self, Plan, PlanOptions};
use andromeda_pipeline::progress::Silent;
use fs_err as fs;
use sha2::Digest as _;

/// Plans the tiers high and medium of the catalogue in `root/manifests` with a recipe of it.
fn plan_of(root: &Path, recipe: &str) -> Plan {
    plan::plan(&plan_options(root, recipe)).unwrap_or_else(|error| panic!("{error}"))
}

/// What is asked of such a plan.
fn plan_options(root: &Path, recipe: &str) -> PlanOptions {
    let manifests = root.join("manifests");
    PlanOptions {
        selection: Selection::Tiers(vec![Tier::High, Tier::Medium]),
        recipe: recipe.to_owned(),
        work: root.join("work"),
        lock: manifests.join("datasets.lock"),
        full: false,
        with_benchmarks: false,
        skip_unavailable: false,
        shards: "shards".into(),
        against: Vec::new(),
        needs_tokenizer: true,
        manifests,
    }
}

/// Runs a plan in `root/work` and `root/shards`.
fn build(root: &Path, plan: &Plan, threads: usize, memory_bytes: u64) -> anyhow::Result<Built> {
    let options = BuildOptions {
        work: root.join("work"),
        shards: root.join("shards"),
        lock: root.join("manifests/datasets.lock"),
        threads,
        memory_bytes,
        skip_bad_files: false,
    };
    Ok(execute::build(
        plan,
        &options,
        &Silent,
        &AtomicBool::new(false),
    )?)
}

/// The program, to be run in the folder `root`: its manifests, work and shards are there by default.
fn andromeda(root: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andromeda-under-test"));
    command
        .args(arguments.split_whitespace())
        .current_dir(root)
        .stdin(Stdio::null());
    command
}

/// How a program ended and what it said.
#[derive(Debug)]
struct Ended {
    /// `None` if a signal ended it.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs a command to its end. Whatever happens, it must not panic.
fn ended(command: &mut Command) -> Ended {
    of_output(command.output().unwrap())
}

fn of_output(output: Output) -> Ended {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let ended = Ended {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    };
    assert!(!ended.stderr.contains("panicked"), "{ended:#?}");
    ended
}

impl Ended {
    /// The same, having ended with `code` and said all of `words` on stderr.
    #[track_caller]
    fn with(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(
                self.stderr.contains(word),
                "stderr does not say {word:?}: {self:#?}"
            );
        }
        self
    }
}

/// sha256 of every file below a folder, by path.
fn tree(folder: &Path) -> BTreeMap<String, String> {
    files(folder)
        .into_iter()
        .map(|path| {
            let hash: [u8; 32] = sha2::Sha256::digest(fs::read(&path).unwrap()).into();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            (
                name,
                hash.iter().map(|byte| format!("{byte:02x}")).collect(),
            )
        })
        .collect()
}

/// Every file below a folder, sorted; none if there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The only build in `root/shards`.
fn only_build(root: &Path) -> PathBuf {
    let mut builds: Vec<PathBuf> = fs::read_dir(root.join("shards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(builds.len(), 1, "{builds:?}");
    builds.remove(0)
}

/// The root hash that the manifest of the only build in `root/shards` has.
fn root_hash(root: &Path) -> String {
    andromeda_format::Build::open(&only_build(root))
        .unwrap()
        .manifest()
        .root
        .clone()
}
