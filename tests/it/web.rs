//! Files at plain addresses and in lists of addresses, and everything between a hub and a plan: pins, mirrors, offline runs,
//! long listings, the branch of parquet files, rate limits.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use andromeda_pipeline::fetch::{FetchError, Hub, HubOptions, Pin, RepoId, Web};
use andromeda_tests::corpus::{RECIPE, Random, json_line, text, write_recipe, write_tokenizer};
use andromeda_tests::samples::{FORGED_PREFIX, FORGED_RAW_PREFIX, LISTED, LISTED_PREFIX};
use andromeda_tests::{
    Content, HubConfig, LoopbackHub, Misbehaviour, RemoteEntry, Reply, Repository, Server,
};
use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

use super::{andromeda, ended, only_build, root_hash};

const CANARY: &str = "hf_canary";

/// A hub with a mirror, and a folder in which the program is run.
struct Bench {
    hub: LoopbackHub,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(HubConfig::default())
    }

    fn with(config: HubConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        write_recipe(&manifests, "planted", RECIPE);
        write_tokenizer(&manifests);
        Self {
            hub: LoopbackHub::start(config, []).unwrap(),
            folder,
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.root().join("manifests/datasets.lock")).unwrap()
    }

    /// Writes the manifest of a dataset of JSON lines.
    fn manifest(&self, name: &str, source: &str) {
        let manifest = format!(
            "name = \"{name}\"\ndescription = \"Planted.\"\nprofile = \"plain\"\nlicence = \"CC0-1.0\"\n{source}\n[render]\ntext = \
             \"text\"\n"
        );
        let folder = self.root().join("manifests/datasets");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{name}.toml")), manifest).unwrap();
    }

    fn program(&self, arguments: &str) -> Command {
        let mut command = andromeda(self.root(), arguments);
        command
            .args(["--recipe", "planted"])
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("ANDROMEDA_WEB_MIRROR", self.hub.mirror())
            .env("HF_HOME", self.root().join("hf"))
            .env("HF_TOKEN", CANARY)
            .env_remove("HF_HUB_OFFLINE");
        command
    }

    fn plan(&self, name: &str) -> Value {
        let ended = ended(&mut self.program(&format!("plan --dataset {name} --json"))).with(0, &[]);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn serve(&self, url: &str, content: Vec<u8>) {
        self.hub.serve_web(url, entry(content));
    }

    fn options(&self) -> HubOptions {
        let mut options = HubOptions::new(&self.hub.endpoint(), &self.root().join("hf/hub"));
        options.first_wait = Duration::from_millis(1);
        options
    }

    fn web(&self) -> Web {
        let downloads = self.root().join("work/downloads");
        Web::new(&self.options(), &downloads, Some(&self.hub.mirror())).unwrap()
    }
}

fn entry(content: Vec<u8>) -> RemoteEntry {
    RemoteEntry::new(Content::Memory(content.into())).unwrap()
}

fn rows(seed: u64, rows: usize) -> Vec<u8> {
    let mut random = Random(seed);
    let rows: Vec<String> = (0..rows)
        .map(|_| json_line(&text(&mut random, 120)))
        .collect();
    rows.concat().into_bytes()
}

/// The folder of samples, if it is on this machine.
#[expect(clippy::print_stdout, reason = "a test that is skipped says so")]
fn samples() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("ANDROMEDA_TEST_DATA")
        .map_or(beside, PathBuf::from)
        .join("hub");
    if !root.is_dir() {
        println!(
            "skipped: {} is absent; set ANDROMEDA_TEST_DATA to the folder of the samples",
            root.display()
        );
    }
    root.is_dir().then_some(root)
}

const TWO_FILES: &str = r#"
[source.web]
files = [
    { path = "a.jsonl", url = "https://one.example/data/a.jsonl" },
    { path = "deep/b.jsonl", url = "http://two.example:8080/b?version=3" },
]"#;

#[test]
fn a_dataset_of_addresses_is_pinned_built_and_built_again_without_a_network() {
    let bench = Bench::new();
    let (a, b) = (rows(1, 60), rows(2, 60));
    bench.serve("https://one.example/data/a.jsonl", a.clone());
    bench.serve("http://two.example:8080/b", b.clone());
    bench.manifest("two", TWO_FILES);

    let planned = bench.plan("two");
    assert_eq!(planned["datasets"][0]["files"], 2);
    assert_eq!(planned["datasets"][0]["bytes"], a.len() + b.len());
    assert_eq!(
        planned["datasets"][0]["source"],
        "web:one.example,two.example:8080"
    );
    let seen = bench.hub.take_seen();
    assert!(
        seen.iter().all(|seen| seen.method == "HEAD") && seen.len() == 2,
        "planning takes no file: {seen:?}"
    );
    let lock = bench.lock();
    // The mirror's own tags say nothing of the originals.
    assert!(
        lock.contains(&format!(
            "\"https://one.example/data/a.jsonl\" = {{ bytes = {} }}",
            a.len()
        )) && !lock.contains("sha256"),
        "{lock}"
    );

    ended(&mut bench.program("build --dataset two")).with(0, &[]);
    let seen = bench.hub.take_seen();
    assert!(
        seen.iter()
            .any(|seen| seen.target.ends_with("/two.example:8080/b?version=3"))
    );
    assert!(
        seen.iter().all(|seen| seen.authorization.is_none()),
        "the hub's token went to other hosts: {seen:?}"
    );
    // The hashes are pinned now, and the build is the one that was planned.
    let lock = bench.lock();
    assert!(
        lock.contains(&entry(a.clone()).sha256) && lock.contains(&entry(b).sha256),
        "{lock}"
    );
    assert_eq!(bench.plan("two")["name"], planned["name"]);
    assert_eq!(
        only_build(bench.root()).file_name().unwrap().to_str(),
        planned["name"].as_str()
    );

    // All over again from the lock file and the downloads, without one connection.
    let root = root_hash(bench.root());
    fs::remove_dir_all(bench.root().join("shards")).unwrap();
    let connections = bench.hub.connections();
    let mut offline = bench.program("build --dataset two");
    ended(offline.env("HF_HUB_OFFLINE", "1")).with(0, &[]);
    assert_eq!(bench.hub.connections(), connections);
    assert_eq!(root_hash(bench.root()), root);

    // Another machine with the same lock file takes the same bytes and no others.
    fs::remove_dir_all(bench.root().join("work")).unwrap();
    fs::remove_dir_all(bench.root().join("shards")).unwrap();
    let mut other = a;
    other[5] ^= 1;
    bench.serve("https://one.example/data/a.jsonl", other);
    ended(&mut bench.program("build --dataset two")).with(
        30,
        &["one.example/data/a.jsonl", "its sha256 was", "lock file"],
    );
    assert!(
        !bench.root().join("shards").exists()
            || fs::read_dir(bench.root().join("shards"))
                .unwrap()
                .next()
                .is_none()
    );
}

#[test]
fn an_address_says_what_is_wrong_with_it() {
    let bench = Bench::new();
    bench.serve("https://one.example/data/a.jsonl", rows(1, 3));
    let file = |line: &str| format!("[source.web]\nfiles = [{line}]");
    for (source, code, words) in [
        (
            TWO_FILES.to_owned(),
            20,
            vec!["two.example:8080/b", "HTTP 404", "check the address"],
        ),
        (
            file(""),
            2,
            vec!["the source names no files", "write files = [{ path"],
        ),
        (
            file("{ path = \"../a\", url = \"https://one.example/a\" }"),
            2,
            vec!["`../a` is no path of a file"],
        ),
        (
            file("{ path = \"a.jsonl\", url = \"https://user@one.example/a\" }"),
            2,
            vec!["it holds a user name"],
        ),
        (
            file("{ path = \"a.jsonl\", url = \"s3://bucket/a\" }"),
            2,
            vec!["it must begin with https:// or http://"],
        ),
        (
            file("{ path = \"a.jsonl\", url = \"https://one.example/a\", sha256 = \"ABC\" }"),
            2,
            vec!["`ABC` is no sha256", "sha256sum"],
        ),
        (
            file("{ path = \"a.jsonl\", url = \"https://one.example/data/a.jsonl\", bytes = 7 }"),
            30,
            vec!["its manifest states 7 bytes"],
        ),
        (
            "[source.url-list]\nrepository = \"a/b\"\nlists = []\nstrip = \"https://one.example\""
                .to_owned(),
            2,
            vec!["the source names no lists", "up to a slash"],
        ),
        (
            "[source.store]\nurl = \"https://bucket/a\"".to_owned(),
            2,
            vec!["is no store", "write s3://bucket/prefix"],
        ),
    ] {
        bench.manifest("bad", &source);
        ended(&mut bench.program("plan --dataset bad")).with(code, &words);
    }
}

#[test]
fn a_stated_hash_needs_no_question_and_is_held_against_the_content() {
    let bench = Bench::new();
    let content = rows(3, 60);
    let url = "https://one.example/a.jsonl";
    bench.serve(url, content.clone());
    let described = entry(content.clone());
    let source = |sha256: &str| {
        format!(
            "[source.web]\nfiles = [{{ path = \"a.jsonl\", url = \"{url}\", bytes = {}, sha256 = \"{sha256}\" }}]",
            content.len()
        )
    };
    bench.manifest("stated", &source(&described.sha256));
    bench.plan("stated");
    assert_eq!(bench.hub.connections(), 0);
    ended(&mut bench.program("build --dataset stated")).with(0, &[]);
    bench.manifest("stated", &source(&"0".repeat(64)));
    ended(&mut bench.program("build --dataset stated"))
        .with(30, &["one.example/a.jsonl", "its sha256 was"]);
}

#[test]
fn servers_that_answer_no_head_or_tell_no_size_are_asked_another_way_or_refused() {
    let content = rows(4, 3);
    let length = content.len() as u64;
    let server = Server::start(0, move |request| {
        match (request.path(), request.method.as_str()) {
            ("/no-head", "HEAD") => Reply::new(405, ""),
            ("/no-head", _) if request.header("range") == Some("bytes=0-0") => {
                let mut reply = Reply::new(206, content.clone());
                reply.length = 1;
                reply.with("Content-Range", format!("bytes 0-0/{}", content.len()))
            }
            ("/no-size", _) => {
                let mut reply = Reply::new(200, content.clone());
                reply.manner.chunked = true;
                reply
            }
            ("/closed", _) => Reply::new(403, ""),
            _ => Reply::new(200, content.clone()).with("ETag", "W/\"7\""),
        }
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(&server.origin(), folder.path());
    (options.retries, options.first_wait) = (0, Duration::from_millis(1));
    let web = Web::new(&options, folder.path(), None).unwrap();
    let probe = |path: &str| web.probe(&format!("{}{path}", server.origin()));
    let pin = |etag: Option<&str>| Pin {
        bytes: length,
        etag: etag.map(str::to_owned),
        sha256: None,
    };
    assert_eq!(probe("/plain").unwrap(), pin(Some("W/\"7\"")));
    assert_eq!(probe("/no-head").unwrap(), pin(None));
    assert!(matches!(probe("/no-size"), Err(FetchError::NoSize { .. })));
    let error = probe("/closed").unwrap_err().to_string();
    assert!(error.contains("[source.folder]"), "{error}");
    // A pinned version that has another tag by now is not taken for it, though no hash tells.
    let url = format!("{}/plain", server.origin());
    let stop = AtomicBool::new(false);
    let error = web
        .fetch(&stop, &url, &pin(Some("\"6\"")), &|_| {})
        .unwrap_err();
    assert!(matches!(error, FetchError::Changed { .. }), "{error}");
    assert_eq!(
        web.fetch(&stop, &url, &pin(Some("\"7\"")), &|_| {})
            .unwrap()
            .1
            .len(),
        64
    );
}

#[test]
fn the_login_page_of_a_network_is_not_pinned() {
    let bench = Bench::new();
    let content = rows(7, 3);
    let url = "https://one.example/a.jsonl";
    bench.serve(url, content.clone());
    bench.hub.spoil("/mirror/", 1, Misbehaviour::Html);
    assert_eq!(bench.web().probe(url).unwrap().bytes, content.len() as u64);
    bench.hub.spoil("/mirror/", u32::MAX, Misbehaviour::Html);
    let error = bench.web().probe(url).unwrap_err();
    assert!(
        error.is_retriable() && error.to_string().contains("a web page is sent"),
        "{error}"
    );
}

#[test]
fn lists_of_addresses_name_the_files_of_a_dataset() {
    let Some(samples) = samples() else { return };
    let bench = Bench::new();
    bench.hub.serve_samples(&samples).unwrap();
    let source = |files: &str| {
        format!(
            "[source.url-list]\nrepository = \"{LISTED}\"\nlists = [\"urls/*.txt\"]\nstrip = \"{LISTED_PREFIX}\"\n{files}"
        )
    };
    bench.manifest("all", &source(""));
    let planned = bench.plan("all");
    assert_eq!(planned["datasets"][0]["files"], 6, "{planned}");
    assert_eq!(planned["datasets"][0]["source"], format!("urls:{LISTED}"));
    bench.manifest("some", &source("files = [\"arxiv/*\", \"wikipedia/*\"]"));
    assert_eq!(bench.plan("some")["datasets"][0]["files"], 2);
    ended(&mut bench.program("build --dataset some")).with(0, &[]);
    bench.manifest("none", &source("files = [\"book/*.jsonl\"]"));
    ended(&mut bench.program("plan --dataset none"))
        .with(2, &["`book/*.jsonl` matches none of the 6 files"]);
    let elsewhere = source("").replace("data.together.xyz", "other.example");
    bench.manifest("elsewhere", &elsewhere);
    ended(&mut bench.program("plan --dataset elsewhere")).with(
        2,
        &[
            "line 1 of `urls/",
            "does not begin with `https://other.example/",
        ],
    );
}

#[test]
fn a_pointer_is_not_taken_for_the_file() {
    let Some(samples) = samples() else { return };
    let bench = Bench::new();
    bench.hub.serve_samples(&samples).unwrap();
    let name = "prm800k/data/phase2_test.jsonl";
    let stop = AtomicBool::new(false);
    let fetched = |prefix: &str| {
        let url = format!("{prefix}{name}");
        let pin = bench.web().probe(&url).unwrap();
        bench.web().fetch(&stop, &url, &pin, &|_| {})
    };
    let (path, _) = fetched(FORGED_PREFIX).unwrap();
    assert_eq!(
        fs::read(path).unwrap(),
        fs::read(samples.join("openai/prm800k").join(name)).unwrap()
    );
    let error = fetched(FORGED_RAW_PREFIX).unwrap_err();
    assert!(
        matches!(error, FetchError::Pointer { .. })
            && error.to_string().contains("phase2_test.jsonl"),
        "{error}"
    );

    // In a clone that lacks its large files, and in a repository that was filled from one.
    let pointer = entry(vec![0; 2_000_000]).pointer();
    fs::create_dir_all(bench.root().join("manifests/datasets/clone")).unwrap();
    fs::write(
        bench.root().join("manifests/datasets/clone/a.jsonl"),
        &pointer,
    )
    .unwrap();
    bench.manifest("clone", "[source.folder]\npath = \"clone\"");
    ended(&mut bench.program("plan --dataset clone"))
        .with(2, &["`a.jsonl` of `clone`", "git lfs pull"]);
    let filled = Repository::from_files("owner/filled", [("a.jsonl", pointer.into_bytes())]);
    bench.hub.publish(filled);
    let repo: RepoId = "owner/filled".parse().unwrap();
    let client = Hub::new(bench.options()).unwrap();
    let commit = client.resolve(&repo, "main").unwrap();
    let file = &client.list(&repo, &commit).unwrap()[0];
    let error = client.fetch(&repo, &commit, file, &|_| {}).unwrap_err();
    assert!(matches!(error, FetchError::Pointer { .. }), "{error}");
}

#[test]
fn the_branch_of_parquet_files_is_a_revision_like_others() {
    let Some(samples) = samples() else { return };
    let bench = Bench::new();
    bench.hub.serve_samples(&samples).unwrap();
    bench.manifest(
        "piqa",
        "[source.hub]\nrepository = \"ybisk/piqa\"\nrevision = \"refs/convert/parquet\"\nfiles = [\"plain_text/*/*.parquet\"]",
    );
    let planned = bench.plan("piqa");
    assert_eq!(planned["datasets"][0]["files"], 1);
    assert!(bench.lock().contains("ybisk/piqa@refs/convert/parquet"));
    let asked = bench.hub.take_seen();
    assert!(
        asked
            .iter()
            .any(|seen| seen.target.ends_with("/revision/refs%2Fconvert%2Fparquet")),
        "{asked:?}"
    );
    // Who asks a repository that is a script is told so.
    bench.hub.publish(Repository::from_files(
        "owner/script",
        [
            ("script.py", b"import datasets".to_vec()),
            ("README.md", Vec::new()),
        ],
    ));
    bench.manifest(
        "script",
        "[source.hub]\nrepository = \"owner/script\"\nfiles = [\"data/*.parquet\"]",
    );
    ended(&mut bench.program("plan --dataset script")).with(
        2,
        &[
            "a script and no data",
            "revision = \"refs/convert/parquet\"",
        ],
    );
    let repo: RepoId = "ybisk/piqa".parse().unwrap();
    let client = Hub::new(bench.options()).unwrap();
    let commit = client.resolve(&repo, "refs/convert/parquet").unwrap();
    for file in client.list(&repo, &commit).unwrap() {
        let path = client.fetch(&repo, &commit, &file, &|_| {}).unwrap();
        assert_eq!(fs::metadata(path).unwrap().len(), file.bytes);
    }
}

#[test]
fn a_listing_of_5534_files_is_planned_in_seconds_and_little_memory_and_asked_for_once() {
    let bench = Bench::new();
    bench
        .hub
        .publish(Repository::of_many_files("large/listing", 5534));
    bench.manifest(
        "large",
        "[source.hub]\nrepository = \"large/listing\"\nfiles = [\"data/*.jsonl\"]",
    );
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        let mut child = bench
            .program("plan --dataset large --json")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let status = PathBuf::from(format!("/proc/{}/status", child.id()));
        let mut peak_kib = 0;
        while child.try_wait().unwrap().is_none() {
            // std's reading: a process that ends meanwhile is no failure.
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let kib = text.lines().find_map(|line| {
                line.strip_prefix("VmHWM:")?
                    .trim()
                    .strip_suffix(" kB")?
                    .parse()
                    .ok()
            });
            peak_kib = peak_kib.max(kib.unwrap_or(0_u64));
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut stdout = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut stdout)
            .unwrap();
        let planned: Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!(planned["datasets"][0]["files"], 5534);
        rounds.push((planned["fingerprint"].clone(), begun.elapsed(), peak_kib));
    }
    println!("{rounds:?}");
    // Six pages, and one question for the commit; nothing at all the second time.
    assert_eq!(bench.hub.take_seen().len(), 7);
    assert_eq!(rounds[0].0, rounds[1].0);
    for (_, elapsed, peak_kib) in rounds {
        assert!(elapsed < Duration::from_secs(10), "{elapsed:?}");
        assert!(peak_kib > 0 && peak_kib < 128 * 1024, "{peak_kib} KiB");
    }
}

#[test]
fn offline_every_command_makes_no_connection() {
    let bench = Bench::new();
    bench.hub.publish(Repository::from_files(
        "owner/name",
        [("a.jsonl", rows(5, 60))],
    ));
    bench.serve("https://one.example/data/a.jsonl", rows(6, 60));
    bench.manifest(
        "hub",
        "[source.hub]\nrepository = \"owner/name\"\nfiles = [\"*.jsonl\"]",
    );
    bench.manifest(
        "web",
        "[source.web]\nfiles = [{ path = \"a.jsonl\", url = \"https://one.example/data/a.jsonl\" }]",
    );
    let commands = ["plan", "build"];
    for dataset in ["hub", "web"] {
        for command in commands {
            let mut program = bench.program(&format!("{command} --dataset {dataset}"));
            ended(program.env("HF_HUB_OFFLINE", "1"))
                .with(20, &["HF_HUB_OFFLINE is set", "run once with a network"]);
        }
    }
    assert_eq!(bench.hub.connections(), 0);
    // Planned but not fetched: the plan is there, the files are not.
    for dataset in ["hub", "web"] {
        bench.plan(dataset);
        let connections = bench.hub.connections();
        let mut plan = bench.program(&format!("plan --dataset {dataset}"));
        ended(plan.env("HF_HUB_OFFLINE", "1")).with(0, &[]);
        let mut build = bench.program(&format!("build --dataset {dataset}"));
        ended(build.env("HF_HUB_OFFLINE", "1")).with(20, &["HF_HUB_OFFLINE is set"]);
        assert_eq!(bench.hub.connections(), connections);
    }
}

#[test]
fn a_rate_limit_slows_a_run_and_does_not_end_it() {
    let bench = Bench::with(HubConfig {
        rate_limit: Some((6, Duration::from_secs(1))),
        ..HubConfig::default()
    });
    let names: Vec<String> = (0..8).map(|i| format!("{i}.jsonl")).collect();
    let files = names.iter().enumerate().map(|(i, name)| {
        let seed = 100 + u64::try_from(i).unwrap();
        (name.as_str(), rows(seed, 20))
    });
    bench
        .hub
        .publish(Repository::from_files("owner/name", files));
    bench.manifest(
        "limited",
        "[source.hub]\nrepository = \"owner/name\"\nfiles = [\"*.jsonl\"]",
    );
    let begun = Instant::now();
    ended(&mut bench.program("build --dataset limited")).with(0, &[]);
    // Ten requests of which six are answered a second.
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let asked = bench.hub.take_seen().len();
    assert!(asked > 10, "nothing was refused in {asked} requests");
}

#[test]
fn a_run_that_would_fill_the_disk_is_refused_before_a_byte_is_asked_for() {
    let bench = Bench::new();
    let url = "https://one.example/huge.jsonl";
    bench.manifest(
        "huge",
        &format!(
            "[source.web]\nfiles = [{{ path = \"huge.jsonl\", url = \"{url}\", bytes = 1000000000000000, sha256 = \"{}\" }}]",
            "0".repeat(64)
        ),
    );
    ended(&mut bench.program("build --dataset huge --memory 64G")).with(10, &[]);
    assert_eq!(bench.hub.connections(), 0);
    // Without the plan's own check of the disk, the download's says the same.
    let pin = Pin {
        bytes: 1 << 50,
        etag: None,
        sha256: Some("0".repeat(64)),
    };
    let stop = AtomicBool::new(false);
    let error = bench.web().fetch(&stop, url, &pin, &|_| {}).unwrap_err();
    assert!(
        matches!(error, FetchError::NoSpace { .. }) && error.is_retriable(),
        "{error}"
    );
    assert_eq!(bench.hub.connections(), 0);
}

#[test]
fn files_come_down_together_and_a_failure_of_one_is_told_and_leaves_the_others() {
    let bench = Bench::new();
    let names: Vec<String> = (0..6).map(|i| format!("{i}.jsonl")).collect();
    let files = names.iter().enumerate().map(|(i, name)| {
        let seed = 200 + u64::try_from(i).unwrap();
        (name.as_str(), rows(seed, 40))
    });
    bench
        .hub
        .publish(Repository::from_files("owner/name", files));
    bench.manifest(
        "many",
        "[source.hub]\nrepository = \"owner/name\"\nfiles = [\"*.jsonl\"]",
    );
    // Each pause is shared: six files of some thirty pieces take no longer than one.
    bench.hub.spoil(
        "/resolve/",
        6,
        Misbehaviour::Trickle(1000, Duration::from_millis(10)),
    );
    let begun = Instant::now();
    ended(&mut bench.program("build --dataset many")).with(0, &[]);
    let together = begun.elapsed();
    let root = root_hash(bench.root());
    println!("six trickling files and a build: {together:?}");

    for folder in ["shards", "work", "hf"] {
        fs::remove_dir_all(bench.root().join(folder)).unwrap();
    }
    bench
        .hub
        .spoil("/2.jsonl", u32::MAX, Misbehaviour::Status(404, Vec::new()));
    ended(&mut bench.program("build --dataset many")).with(20, &["dataset many", "2.jsonl"]);
    bench.hub.mend();
    ended(&mut bench.program("build --dataset many")).with(0, &[]);
    assert_eq!(
        root_hash(bench.root()),
        root,
        "the order of arrival leaves a trace"
    );
}
