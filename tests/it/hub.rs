//! The hub client against the loopback hub: what is promised about downloads, the token, names and the cache.

use andromeda_pipeline::fetch::{
    Commit, FetchError, FetchEvent, Hub, HubOptions, RemoteFile, RepoId, Token,
};
use andromeda_tests::{
    HubConfig, LoopbackHub, Misbehaviour, Reply, Repository, Request, Seen, Server,
};
use fs_err as fs;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ID: &str = "owner/name";
const LARGE: &str = "data/part one/train-00000-of-00001.parquet";
const SMALL: &str = "README.md";
const LARGE_BYTES: usize = 700_000;

/// Bytes without pattern, the same for the same seed (xorshift64).
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

/// A number below `bound`, the same for the same seed.
fn below(bound: u64, seed: u64) -> u64 {
    u64::from_le_bytes(noise(64, seed)[56..].try_into().unwrap()) % bound
}

fn small_text() -> Vec<u8> {
    "# A dataset\nwith a line or two.\n"
        .repeat(400)
        .into_bytes()
}

fn repository() -> Repository {
    Repository::from_files(
        ID,
        [
            (LARGE, noise(LARGE_BYTES, 7)),
            (SMALL, small_text()),
            ("empty.txt", Vec::new()),
        ],
    )
}

/// A hub, a cache, and clients of both.
struct Bench {
    hub: LoopbackHub,
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::with(HubConfig::default(), [repository()])
    }

    fn with(config: HubConfig, repositories: impl IntoIterator<Item = Repository>) -> Self {
        let hub = LoopbackHub::start(config, repositories).unwrap();
        Self {
            hub,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn options(&self) -> HubOptions {
        let mut options = HubOptions::new(&self.hub.endpoint(), &self.folder.path().join("hub"));
        options.timeout = Duration::from_secs(20);
        options.first_wait = Duration::from_millis(1);
        options
    }

    fn client(&self) -> Hub {
        Hub::new(self.options()).unwrap()
    }

    fn commit_and_file(&self, path: &str) -> (Commit, RemoteFile) {
        let client = self.client();
        let commit = client.resolve(&id(), "main").unwrap();
        let file = client
            .list(&id(), &commit)
            .unwrap()
            .into_iter()
            .find(|file| file.path == path)
            .unwrap();
        let _ = self.hub.take_seen();
        (commit, file)
    }

    fn repo_folder(&self) -> PathBuf {
        self.folder.path().join("hub/datasets--owner--name")
    }

    /// Names in `blobs`, sorted.
    fn blobs(&self) -> Vec<String> {
        names_in(&self.repo_folder().join("blobs"))
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn id() -> RepoId {
    ID.parse().unwrap()
}

/// What `fetch` reported.
#[derive(Default)]
struct Diary {
    received: u64,
    kept: u64,
    cached: bool,
    restarts: Vec<String>,
    retries: Vec<String>,
}

fn fetch(client: &Hub, commit: &Commit, file: &RemoteFile) -> (Result<PathBuf, FetchError>, Diary) {
    let diary = RefCell::new(Diary::default());
    let result = client.fetch(&id(), commit, file, &|event| {
        let mut diary = diary.borrow_mut();
        match event {
            FetchEvent::Waiting => {}
            FetchEvent::Cached { .. } => diary.cached = true,
            FetchEvent::Started { kept, .. } => diary.kept = kept,
            FetchEvent::Received { bytes } => diary.received += bytes,
            FetchEvent::Restarted { reason, .. } => diary.restarts.push(reason.to_owned()),
            FetchEvent::Retry { reason, .. } => diary.retries.push(reason.to_owned()),
        }
    });
    (result, diary.into_inner())
}

#[test]
fn a_listing_has_every_file_with_size_and_hashes_sorted_over_many_pages() {
    let paths: Vec<String> = (0..23)
        .map(|number| format!("d{}/f{}.txt", number % 3, 22 - number))
        .collect();
    let mut files: Vec<(&str, Vec<u8>)> = paths
        .iter()
        .map(|path| (path.as_str(), path.clone().into_bytes()))
        .collect();
    files.push(("z.bin", noise(1000, 3)));
    let repository = Repository::from_files(ID, files);
    let bench = Bench::with(
        HubConfig {
            page_size: 4,
            ..HubConfig::default()
        },
        [repository.clone()],
    );
    let client = bench.client();
    let commit = client.resolve(&id(), "main").unwrap();
    assert_eq!(commit.as_str(), repository.commit);
    let listing = client.list(&id(), &commit).unwrap();
    let expected: Vec<RemoteFile> = repository
        .files
        .iter()
        .map(|(path, entry)| RemoteFile {
            path: path.clone(),
            bytes: entry.bytes,
            sha256: entry.is_lfs.then(|| entry.sha256.clone()),
            git_sha1: entry.oid(),
        })
        .collect();
    assert_eq!(listing, expected);
    assert_eq!(
        listing.iter().filter(|file| file.sha256.is_some()).count(),
        1
    );
    // 24 files and 3 folders, 4 a page.
    assert_eq!(
        bench
            .hub
            .take_seen()
            .iter()
            .filter(|seen| seen.target.contains("/tree/"))
            .count(),
        7
    );
}

#[test]
fn the_cache_has_the_layout_of_the_python_library() {
    let bench = Bench::new();
    let client = bench.client();
    let commit = client.resolve(&id(), "main").unwrap();
    let mut contents = BTreeSet::new();
    for file in client.list(&id(), &commit).unwrap() {
        let path = client.fetch(&id(), &commit, &file, &|_| {}).unwrap();
        let snapshot = bench.repo_folder().join("snapshots").join(commit.as_str());
        assert_eq!(path, snapshot.join(&file.path));
        let up = "../".repeat(file.path.matches('/').count() + 2);
        assert_eq!(
            fs::read_link(&path).unwrap(),
            Path::new(&format!("{up}blobs/{}", file.content_id()))
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), file.bytes);
        contents.insert(file.content_id().to_owned());
    }
    assert_eq!(
        fs::read(
            bench
                .repo_folder()
                .join("snapshots")
                .join(commit.as_str())
                .join(LARGE)
        )
        .unwrap(),
        noise(LARGE_BYTES, 7)
    );
    assert_eq!(
        fs::read_to_string(bench.repo_folder().join("refs/main")).unwrap(),
        commit.as_str()
    );
    // Nothing but contents under their hashes: no partial file, tag or link is left.
    assert_eq!(bench.blobs(), contents.into_iter().collect::<Vec<_>>());
    assert_eq!(
        names_in(&bench.repo_folder()),
        ["blobs", "refs", "snapshots", "trees"]
    );
    assert_eq!(
        names_in(&bench.folder.path().join("hub")),
        [".locks", "datasets--owner--name"]
    );
}

#[test]
fn what_another_client_cached_is_used_without_a_download() {
    let bench = Bench::new();
    let repository = repository();
    let folder = bench.repo_folder();
    let snapshot = folder.join("snapshots").join(&repository.commit);
    fs::create_dir_all(folder.join("blobs")).unwrap();
    fs::create_dir_all(snapshot.join("data/part one")).unwrap();
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::write(folder.join("refs/main"), &repository.commit).unwrap();
    let large = &repository.files[LARGE];
    fs::write(
        folder.join("blobs").join(&large.sha256),
        noise(LARGE_BYTES, 7),
    )
    .unwrap();
    std::os::unix::fs::symlink(
        format!("../../../../blobs/{}", large.sha256),
        snapshot.join(LARGE),
    )
    .unwrap();
    // A copy in place of a link, as the library leaves on systems without links.
    fs::write(snapshot.join(SMALL), small_text()).unwrap();

    for offline in [false, true] {
        let mut options = bench.options();
        options.offline = offline;
        let client = Hub::new(options).unwrap();
        let connections = bench.hub.connections();
        let commit = client.resolve(&id(), "main").unwrap();
        let listing = client.list(&id(), &commit).unwrap();
        for path in [LARGE, SMALL] {
            let file = listing.iter().find(|file| file.path == path).unwrap();
            assert_eq!(file.git_sha1, repository.files[path].oid());
            let (result, diary) = fetch(&client, &commit, file);
            assert_eq!(result.unwrap(), snapshot.join(path));
            assert!(diary.cached && diary.received == 0);
        }
        assert_eq!(bench.hub.connections() == connections, offline);
        assert!(
            bench
                .hub
                .take_seen()
                .iter()
                .all(|seen| !seen.target.contains("/resolve/"))
        );
        // The second round has only what the library would leave.
        drop(fs::remove_dir_all(folder.join("trees")));
    }
}

#[test]
fn listings_are_kept_in_the_format_of_the_python_library() {
    let bench = Bench::with(
        HubConfig::default(),
        [Repository::from_files(
            ID,
            [("a/b.txt", b"hello\n".to_vec()), ("c.bin", vec![0; 5])],
        )],
    );
    let client = bench.client();
    let commit = client.resolve(&id(), "main").unwrap();
    let listing = client.list(&id(), &commit).unwrap();
    let tree = bench.repo_folder().join(format!("trees/{commit}.json"));
    // The docstring of huggingface_hub 2.4.0, `_tree_cache.py`; ids from `git hash-object` and `sha256sum`.
    let sha256 = "8855508aade16ec573d21e6a485dfd0a7624085c1a14b5ecdd6485de0c6839a4";
    let expected = serde_json::json!({
        "format_version": 1,
        "files": {
            "a/b.txt": {"size": 6, "blob_id": "ce013625030ba8dba906f756967f9e9ca394464a"},
            "c.bin": {"size": 5, "blob_id": listing[1].git_sha1, "lfs_sha256": sha256, "lfs_size": 5},
        },
    });
    let written = fs::read_to_string(&tree).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&written).unwrap(),
        expected
    );

    let mut options = bench.options();
    options.offline = true;
    let offline = Hub::new(options).unwrap();
    let library = written.replace("\"lfs_size\": 5", "\"lfs_size\": 5, \"xet_hash\": \"1f\"");
    fs::write(&tree, &library).unwrap();
    assert_eq!(offline.list(&id(), &commit).unwrap(), listing);
    client.list(&id(), &commit).unwrap();
    assert_eq!(
        fs::read_to_string(&tree).unwrap(),
        library,
        "what the library knows is kept"
    );
    for damaged in ["", "[]", "{\"format_version\": 2, \"files\": {}}"] {
        fs::write(&tree, damaged).unwrap();
        assert!(
            matches!(
                offline.list(&id(), &commit),
                Err(FetchError::Offline { .. })
            ),
            "{damaged}"
        );
        assert_eq!(client.list(&id(), &commit).unwrap(), listing);
        assert_eq!(fs::read_to_string(&tree).unwrap(), written);
    }
    fs::write(&tree, written.replace("a/b.txt", "../b.txt")).unwrap();
    assert!(matches!(
        offline.list(&id(), &commit),
        Err(FetchError::FileName { .. })
    ));
}

#[test]
fn a_damaged_copy_in_the_cache_is_replaced_and_offline_refused() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    let path = fetch(&bench.client(), &commit, &file).0.unwrap();
    let blob = bench.repo_folder().join("blobs").join(file.content_id());
    for damage in [noise(LARGE_BYTES, 8), noise(10, 7)] {
        fs::write(&blob, damage).unwrap();
        let mut options = bench.options();
        options.offline = true;
        let error = fetch(&Hub::new(options).unwrap(), &commit, &file)
            .0
            .unwrap_err();
        assert!(
            error.is_integrity() && error.to_string().contains(LARGE),
            "{error}"
        );
        let (again, diary) = fetch(&bench.client(), &commit, &file);
        assert_eq!((again.unwrap(), diary.received), (path.clone(), file.bytes));
        assert_eq!(fs::read(&path).unwrap(), noise(LARGE_BYTES, 7));
    }
}

#[test]
fn a_cut_download_goes_on_in_another_client_and_fetches_no_byte_twice() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    for round in 0..40 {
        let cut = match round {
            0 => 1,
            1 => file.bytes - 1,
            round => 1 + below(file.bytes - 1, round),
        };
        bench.hub.spoil("storage /", 1, Misbehaviour::Cut(cut));
        let mut options = bench.options();
        options.retries = 0;
        let (result, first) = fetch(&Hub::new(options).unwrap(), &commit, &file);
        let error = result.unwrap_err();
        assert!(error.is_retriable(), "{error}");
        assert_eq!(first.received, cut);
        assert!(
            !bench.blobs().contains(&file.content_id().to_owned()),
            "published after {cut} bytes"
        );
        let _ = bench.hub.take_seen();

        let (result, second) = fetch(&bench.client(), &commit, &file);
        let path = result.unwrap();
        assert_eq!(
            (second.kept, second.received),
            (cut, file.bytes - cut),
            "round {round}"
        );
        assert_eq!(fs::read(&path).unwrap(), noise(LARGE_BYTES, 7));
        let seen = bench.hub.take_seen();
        let ranged = seen.iter().find(|seen| seen.origin == "storage").unwrap();
        assert_eq!(ranged.range, Some(format!("bytes={cut}-")));
        assert!(ranged.if_range.as_deref().unwrap().starts_with("\"v1-"));
        fs::remove_dir_all(bench.repo_folder().join("blobs")).unwrap();
    }
}

#[test]
fn a_small_file_is_resumed_from_the_endpoint_too() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(SMALL);
    assert_eq!(file.sha256, None);
    bench.hub.spoil("/resolve/", 1, Misbehaviour::Cut(5000));
    let (result, diary) = fetch(&bench.client(), &commit, &file);
    assert_eq!(fs::read(result.unwrap()).unwrap(), small_text());
    assert_eq!((diary.received, diary.retries.len()), (file.bytes, 1));
    assert_eq!(
        bench.hub.take_seen()[1].if_range,
        Some(format!("\"{}\"", file.git_sha1))
    );
}

#[test]
#[ignore = "no test of its own: the body of the process that the next test kills"]
fn child_process_that_fetches() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(endpoint), Some(cache)) = (
        variable("ANDROMEDA_TEST_ENDPOINT"),
        variable("ANDROMEDA_TEST_CACHE"),
    ) else {
        return;
    };
    let client = Hub::new(HubOptions::new(&endpoint, Path::new(&cache))).unwrap();
    let commit = client.resolve(&id(), "main").unwrap();
    for file in client.list(&id(), &commit).unwrap() {
        client.fetch(&id(), &commit, &file, &|_| {}).unwrap();
    }
}

#[test]
fn killed_processes_leave_a_download_that_the_next_one_completes() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    let incomplete = bench
        .repo_folder()
        .join(format!("blobs/{}.incomplete", file.content_id()));
    let mut kept = 0;
    for round in 0..6 {
        bench.hub.mend();
        bench.hub.spoil(
            "storage /",
            100,
            Misbehaviour::Trickle(8 * 1024, Duration::from_millis(3)),
        );
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hub::child_process_that_fetches", "--ignored"])
            .env("ANDROMEDA_TEST_ENDPOINT", bench.hub.endpoint())
            .env("ANDROMEDA_TEST_CACHE", bench.folder.path().join("hub"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let length = || fs::metadata(&incomplete).map_or(0, |metadata| metadata.len());
        let enough = kept + 1 + below(file.bytes / 8, round);
        let deadline = Instant::now() + Duration::from_secs(60);
        while length() < enough && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(length() >= enough, "nothing was kept in round {round}");
        kept = length();
    }
    bench.hub.mend();
    let (result, diary) = fetch(&bench.client(), &commit, &file);
    assert_eq!(fs::read(result.unwrap()).unwrap(), noise(LARGE_BYTES, 7));
    assert_eq!((diary.kept, diary.received), (kept, file.bytes - kept));
    // The children fetched the small file too, and nothing partial is left of either.
    assert!(
        bench.blobs().iter().all(|name| !name.contains('.')),
        "{:?}",
        bench.blobs()
    );
}

#[test]
fn a_connection_that_always_breaks_gets_there_in_one_call() {
    let bytes = 12_000_000;
    let bench = Bench::with(
        HubConfig::default(),
        [Repository::from_files(ID, [("x.bin", noise(bytes, 5))])],
    );
    let (commit, file) = bench.commit_and_file("x.bin");
    bench
        .hub
        .spoil("storage /", u32::MAX, Misbehaviour::Cut(1_100_000));
    let mut options = bench.options();
    options.connections = 1;
    let (result, diary) = fetch(&Hub::new(options).unwrap(), &commit, &file);
    assert_eq!(fs::metadata(result.unwrap()).unwrap().len(), bytes as u64);
    assert_eq!(
        (diary.received, diary.retries.len(), diary.restarts.len()),
        (bytes as u64, 10, 0)
    );
}

#[test]
fn faults_that_pass_end_with_the_right_bytes() {
    let pause = Duration::from_millis(1);
    let status = |code: u16| Misbehaviour::Status(code, Vec::new());
    for path in [LARGE, SMALL] {
        // Fault, and why a kept part is given up for it, if it is.
        for (fault, reason) in [
            (Misbehaviour::IgnoreRange, Some("sends the whole file")),
            (Misbehaviour::ShiftRange(3), Some("another part is sent")),
            (Misbehaviour::RefuseRange, Some("no such part")),
            (Misbehaviour::Corrupt(100), Some("hash is wrong")),
            (Misbehaviour::Chunked, None),
            (Misbehaviour::Trickle(4000, pause), None),
            (Misbehaviour::HangUp, None),
            (Misbehaviour::Cut(0), None),
            (Misbehaviour::Cut(77), None),
            (Misbehaviour::Shorten(1), None),
            (Misbehaviour::Lengthen, None),
            (Misbehaviour::Html, None),
            (Misbehaviour::Gzip, None),
            (status(408), None),
            (status(429), None),
            (status(500), None),
            (status(503), None),
        ] {
            let bench = Bench::new();
            let (commit, file) = bench.commit_and_file(path);
            let on = if path == LARGE {
                "storage /"
            } else {
                "/resolve/"
            };
            bench.hub.spoil(on, 1, Misbehaviour::Cut(6000));
            bench.hub.spoil(on, 1, fault.clone());
            let (result, diary) = fetch(&bench.client(), &commit, &file);
            let found =
                fs::read(result.unwrap_or_else(|error| panic!("{path} {fault:?}: {error}")))
                    .unwrap();
            assert!(
                found
                    == if path == LARGE {
                        noise(LARGE_BYTES, 7)
                    } else {
                        small_text()
                    },
                "{path} {fault:?}"
            );
            let reasons = diary.restarts.concat();
            assert!(
                reason.map_or(reasons.is_empty(), |reason| reasons.contains(reason)),
                "{path} {fault:?}: {reasons}"
            );
            assert_eq!(bench.blobs(), [file.content_id()], "{path} {fault:?}");
        }
    }
}

#[test]
fn wrong_bytes_are_never_published() {
    for path in [LARGE, SMALL] {
        for (fault, is_integrity) in [
            (Misbehaviour::Corrupt(0), true),
            (Misbehaviour::Corrupt(7000), true),
            (Misbehaviour::Shorten(1), true),
            (Misbehaviour::Shorten(6000), true),
            (Misbehaviour::Lengthen, true),
            (Misbehaviour::Html, true),
            (Misbehaviour::Gzip, false),
            (Misbehaviour::Cut(100), false),
            (Misbehaviour::HangUp, false),
        ] {
            for kept in [None, Some(5000)] {
                let bench = Bench::new();
                let (commit, file) = bench.commit_and_file(path);
                let on = if path == LARGE {
                    "storage /"
                } else {
                    "/resolve/"
                };
                if let Some(kept) = kept {
                    bench.hub.spoil(on, 1, Misbehaviour::Cut(kept));
                    let mut options = bench.options();
                    options.retries = 0;
                    fetch(&Hub::new(options).unwrap(), &commit, &file)
                        .0
                        .unwrap_err();
                }
                bench.hub.spoil(on, u32::MAX, fault.clone());
                let error = fetch(&bench.client(), &commit, &file).0.unwrap_err();
                let case = format!("{path} {fault:?} after {kept:?}: {error}");
                assert_eq!(
                    (error.is_integrity(), error.is_retriable()),
                    (is_integrity, !is_integrity),
                    "{case}"
                );
                assert!(
                    !bench.blobs().contains(&file.content_id().to_owned()),
                    "{case}"
                );
                assert!(
                    !bench
                        .repo_folder()
                        .join("snapshots")
                        .join(commit.as_str())
                        .join(path)
                        .exists(),
                    "{case}"
                );
                bench.hub.mend();
                fetch(&bench.client(), &commit, &file).0.unwrap();
            }
        }
    }
}

#[test]
fn the_length_is_checked_where_the_server_announces_none() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    let other = Server::start(0, |_| {
        let mut reply = Reply::new(200, noise(LARGE_BYTES + 1, 7));
        reply.manner.chunked = true;
        reply
    });
    let other = other.unwrap();
    bench.hub.spoil(
        "/resolve/",
        u32::MAX,
        Misbehaviour::Redirect(302, other.origin()),
    );
    let error = fetch(&bench.client(), &commit, &file).0.unwrap_err();
    assert!(matches!(error, FetchError::WrongSize { .. }), "{error}");
    assert_eq!(bench.blobs(), [] as [&str; 0]);
}

#[test]
fn a_partial_file_of_unknown_origin_is_not_believed() {
    for planted in [
        noise(9000, 99),
        noise(LARGE_BYTES, 99),
        noise(LARGE_BYTES + 5, 7),
        noise(LARGE_BYTES, 7),
    ] {
        let bench = Bench::new();
        let (commit, file) = bench.commit_and_file(LARGE);
        fs::create_dir_all(bench.repo_folder().join("blobs")).unwrap();
        fs::write(
            bench
                .repo_folder()
                .join(format!("blobs/{}.incomplete", file.content_id())),
            &planted,
        )
        .unwrap();
        let (result, diary) = fetch(&bench.client(), &commit, &file);
        assert_eq!(fs::read(result.unwrap()).unwrap(), noise(LARGE_BYTES, 7));
        let is_whole = planted == noise(LARGE_BYTES, 7);
        assert_eq!(
            diary.received == 0,
            is_whole,
            "{} bytes planted",
            planted.len()
        );
    }
}

#[test]
fn a_changed_tag_starts_the_file_anew() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    bench.hub.spoil("storage /", 1, Misbehaviour::Cut(300_000));
    let mut options = bench.options();
    options.retries = 0;
    fetch(&Hub::new(options).unwrap(), &commit, &file)
        .0
        .unwrap_err();
    bench.hub.retag_storage("v2");
    let (result, diary) = fetch(&bench.client(), &commit, &file);
    result.unwrap();
    assert_eq!(
        (diary.kept, diary.received, diary.restarts.len()),
        (300_000, file.bytes, 1)
    );
}

#[test]
fn a_server_that_falls_silent_or_trickles_is_left_and_asked_again() {
    for fault in [
        Misbehaviour::Stall(400_000),
        Misbehaviour::Stall(0),
        Misbehaviour::Trickle(1, Duration::from_millis(300)),
    ] {
        let bench = Bench::new();
        let (commit, file) = bench.commit_and_file(LARGE);
        bench.hub.spoil("storage /", 1, fault.clone());
        let mut options = bench.options();
        options.timeout = Duration::from_secs(1);
        let begun = Instant::now();
        let (result, diary) = fetch(&Hub::new(options).unwrap(), &commit, &file);
        result.unwrap();
        assert_eq!(
            (diary.received, diary.retries.len()),
            (file.bytes, 1),
            "{fault:?}"
        );
        assert!(begun.elapsed() >= Duration::from_millis(900), "{fault:?}");
    }
}

#[test]
fn a_busy_server_is_given_the_time_it_asks_for() {
    let busy = |seconds: &str| {
        Misbehaviour::Status(429, vec![("Retry-After".to_owned(), seconds.to_owned())])
    };
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    bench.hub.spoil("/resolve/", 1, busy("1"));
    let begun = Instant::now();
    fetch(&bench.client(), &commit, &file).0.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    bench.hub.spoil("/revision/", 1, busy("1"));
    let begun = Instant::now();
    bench.client().resolve(&id(), "main").unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    bench.hub.spoil("/revision/", 1, busy("86400"));
    let error = bench.client().resolve(&id(), "main").unwrap_err();
    assert!(
        error.is_retriable() && error.to_string().contains("86400 seconds"),
        "{error}"
    );
}

#[test]
fn attempts_are_counted_and_end() {
    let bench = Bench::new();
    for (fault, fails) in [
        (500, 5),
        (503, 6),
        (404, 1),
        (401, 1),
        (403, 1),
        (400, 1),
        (204, 1),
    ] {
        bench.hub.mend();
        bench
            .hub
            .spoil("/revision/", fails, Misbehaviour::Status(fault, Vec::new()));
        let _ = bench.hub.take_seen();
        let result = bench.client().resolve(&id(), "main");
        let asked = bench.hub.take_seen().len();
        match (fault, result) {
            (500, result) => assert_eq!((result.is_ok(), asked), (true, 6)),
            (503, Err(error)) => assert!(error.is_retriable() && asked == 6, "{asked}: {error}"),
            (_, Err(error)) => assert!(
                !error.is_retriable() && asked == 1,
                "{fault}, {asked}: {error}"
            ),
            (_, Ok(_)) => panic!("{fault} was taken for an answer"),
        }
    }
}

#[test]
fn a_hub_that_is_not_there_is_retriable() {
    let gone = Server::start(0, |_| Reply::new(200, "")).unwrap().origin();
    let folder = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(&gone, folder.path());
    (options.retries, options.first_wait) = (2, Duration::from_millis(1));
    let error = Hub::new(options)
        .unwrap()
        .resolve(&id(), "main")
        .unwrap_err();
    assert!(
        error.is_retriable() && error.to_string().contains("3 attempts"),
        "{error}"
    );
}

#[test]
fn refusals_say_what_to_do() {
    let config = HubConfig {
        gated: BTreeSet::from([ID.to_owned()]),
        tokens: BTreeSet::from(["hf_canary_good".to_owned()]),
        ..HubConfig::default()
    };
    let bench = Bench::with(config, [repository()]);
    let commit: Commit = repository().commit.parse().unwrap();
    let client = |token: Option<&str>| {
        let mut options = bench.options();
        options.token = token.and_then(|token| Token::new(token).unwrap());
        Hub::new(options).unwrap()
    };
    let page = format!("{}/datasets/{ID}", bench.hub.endpoint());
    let stranger = client(None).list(&id(), &commit).unwrap_err().to_string();
    assert!(
        stranger.contains(&page) && stranger.contains("set HF_TOKEN"),
        "{stranger}"
    );
    let outsider = client(Some("hf_canary_other"))
        .list(&id(), &commit)
        .unwrap_err()
        .to_string();
    assert!(
        outsider.contains(&page) && outsider.contains("has no access yet"),
        "{outsider}"
    );
    assert!(!outsider.contains("canary"), "{outsider}");

    let member = client(Some("hf_canary_good"));
    let listing = member.list(&id(), &commit).unwrap();
    let large = listing.iter().find(|file| file.path == LARGE).unwrap();
    fetch(&member, &commit, large).0.unwrap();
    let small = listing.iter().find(|file| file.path == SMALL).unwrap();
    let error = fetch(&client(None), &commit, small).0.unwrap_err();
    assert!(matches!(error, FetchError::Gated { .. }), "{error}");

    let absent: RepoId = "owner/absent".parse().unwrap();
    let error = client(None).resolve(&absent, "main").unwrap_err();
    assert!(
        matches!(error, FetchError::Refused { status: 401, .. })
            && error.to_string().contains("owner/absent"),
        "{error}"
    );
    let error = member.resolve(&absent, "main").unwrap_err();
    assert!(
        matches!(error, FetchError::NotFound { .. })
            && error.to_string().contains("owner and name"),
        "{error}"
    );
    let error = member.resolve(&id(), "refs/convert/parquet").unwrap_err();
    assert!(
        error
            .to_string()
            .contains("revision `refs/convert/parquet`"),
        "{error}"
    );
    let moved = RemoteFile {
        path: "gone.txt".to_owned(),
        git_sha1: "0".repeat(40),
        ..small.clone()
    };
    let error = fetch(&member, &commit, &moved).0.unwrap_err();
    assert!(
        error.to_string().contains("file `gone.txt`")
            && error.to_string().contains("list the repository again"),
        "{error}"
    );
}

/// Requests to a server that answers 404, each as `target authorization`.
fn listener() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let server = Server::start(0, {
        let heard = Arc::clone(&heard);
        move |request: &Request| {
            let authorization = request.header("authorization").unwrap_or("none");
            heard
                .lock()
                .unwrap()
                .push(format!("{} {authorization}", request.target));
            Reply::new(404, "")
        }
    });
    (server.unwrap(), heard)
}

#[test]
fn the_token_reaches_the_endpoint_and_no_other_origin() {
    let bench = Bench::new();
    let mut options = bench.options();
    options.token = Token::new("hf_canary").unwrap();
    let client = Hub::new(options.clone()).unwrap();
    let (commit, file) = bench.commit_and_file(LARGE);
    let same = format!("/datasets/{ID}/resolve/{commit}/{SMALL}");
    let endpoint = bench.hub.endpoint();
    let with_token = |seen: &[Seen]| -> Vec<bool> {
        seen.iter()
            .map(|seen| seen.authorization.is_some())
            .collect()
    };

    // The usual way: endpoint with token, storage without, API with.
    client.resolve(&id(), "main").unwrap();
    client.list(&id(), &commit).unwrap();
    fetch(&client, &commit, &file).0.unwrap();
    let seen = bench.hub.take_seen();
    assert_eq!(with_token(&seen), [true, true, true, false]);
    assert_eq!(seen[0].authorization.as_deref(), Some("Bearer hf_canary"));

    // A resumed range request follows the same rule.
    fs::remove_dir_all(bench.repo_folder().join("blobs")).unwrap();
    bench.hub.spoil("storage /", 1, Misbehaviour::Cut(100));
    fetch(&client, &commit, &file).0.unwrap();
    assert_eq!(
        with_token(&bench.hub.take_seen()),
        [true, false, true, false]
    );

    // Redirects that stay: absolute, relative, in another spelling of the same origin.
    let small = client
        .list(&id(), &commit)
        .unwrap()
        .into_iter()
        .find(|file| file.path == SMALL)
        .unwrap();
    let _ = bench.hub.take_seen();
    for status in [301, 302, 303, 307, 308] {
        for to in [
            format!("{endpoint}{same}"),
            same.clone(),
            format!("HTTP{}{same}#part", &endpoint[4..]),
        ] {
            drop(fs::remove_dir_all(bench.repo_folder().join("blobs")));
            bench
                .hub
                .spoil("/resolve/", 1, Misbehaviour::Redirect(status, to.clone()));
            fetch(&client, &commit, &small)
                .0
                .unwrap_or_else(|error| panic!("{status} {to}: {error}"));
            assert_eq!(
                with_token(&bench.hub.take_seen()),
                [true, true],
                "{status} {to}"
            );
        }
    }
    drop(fs::remove_dir_all(bench.repo_folder().join("blobs")));

    // Redirects that leave: another port, another name of this machine, and there and back again.
    let (stranger, heard) = listener();
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    for status in [301, 302, 303, 307, 308] {
        for on in ["/resolve/", "/revision/", "/tree/"] {
            bench.hub.spoil(
                on,
                1,
                Misbehaviour::Redirect(status, format!("{}/x", stranger.origin())),
            );
            let failed = match on {
                "/resolve/" => fetch(&client, &commit, &small).0.err(),
                "/revision/" => client.resolve(&id(), "main").err(),
                _ => client.list(&id(), &commit).err(),
            };
            let message = format!("{:?}", failed.unwrap());
            assert!(!message.contains("canary"), "{message}");
        }
    }
    let heard = std::mem::take(&mut *heard.lock().unwrap());
    assert_eq!(heard, vec!["/x none"; 15]);
    let _ = bench.hub.take_seen();

    bench.hub.spoil(
        "/resolve/",
        1,
        Misbehaviour::Redirect(307, format!("{by_name}{same}")),
    );
    fetch(&client, &commit, &small).0.unwrap();
    assert_eq!(with_token(&bench.hub.take_seen()), [true, false]);

    let home = format!("{endpoint}{same}");
    let mirror = Server::start(0, move |_| {
        Reply::new(302, "").with("Location", home.clone())
    })
    .unwrap();
    drop(fs::remove_dir_all(bench.repo_folder().join("blobs")));
    bench
        .hub
        .spoil("/resolve/", 1, Misbehaviour::Redirect(302, mirror.origin()));
    fetch(&client, &commit, &small).0.unwrap();
    assert_eq!(
        with_token(&bench.hub.take_seen()),
        [true, false],
        "restored on the way back"
    );
    assert!(!format!("{client:?}{options:?}").contains("canary"));
}

#[test]
fn a_link_to_the_next_page_cannot_lead_the_token_away() {
    let (stranger, heard) = listener();
    let away = format!("<{}/steal?cursor=2>; rel=\"next\"", stranger.origin());
    let pages: Arc<Mutex<Vec<String>>> = Arc::default();
    let endpoint = Server::start(0, {
        let pages = Arc::clone(&pages);
        move |request: &Request| {
            pages.lock().unwrap().push(request.target.clone());
            let reply = Reply::new(200, "[]");
            if request.query().contains("cursor") {
                reply
            } else {
                reply.with("Link", away.clone())
            }
        }
    });
    let endpoint = endpoint.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut options = HubOptions::new(&endpoint.origin(), folder.path());
    options.token = Token::new("hf_canary").unwrap();
    let commit: Commit = "1".repeat(40).parse().unwrap();
    assert_eq!(Hub::new(options).unwrap().list(&id(), &commit).unwrap(), []);
    assert_eq!(*heard.lock().unwrap(), [] as [String; 0]);
    assert_eq!(
        pages.lock().unwrap()[1],
        format!("/api/datasets/{ID}/tree/{commit}?cursor=2")
    );
}

#[test]
fn redirects_are_bounded_and_must_make_sense() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(SMALL);
    let home = format!("/datasets/{ID}/resolve/{commit}/{SMALL}");
    for (times, works) in [(10, true), (11, false)] {
        bench.hub.spoil(
            "/resolve/",
            times,
            Misbehaviour::Redirect(302, home.clone()),
        );
        let result = fetch(&bench.client(), &commit, &file).0;
        assert_eq!(result.is_ok(), works, "{times} redirects: {result:?}");
        assert_eq!(bench.hub.take_seen().len(), 11);
        drop(fs::remove_dir_all(bench.repo_folder().join("blobs")));
        bench.hub.mend();
    }
    for bad in [
        "",
        "ftp://127.0.0.1/x",
        "http://user@127.0.0.1/x",
        "http://127.0.0.1\\@x/",
        "http://",
        "file:///etc/passwd",
    ] {
        bench
            .hub
            .spoil("/resolve/", 1, Misbehaviour::Redirect(302, bad.to_owned()));
        let error = fetch(&bench.client(), &commit, &file).0.unwrap_err();
        assert!(
            matches!(error, FetchError::Protocol { .. }) && !error.is_retriable(),
            "{bad}: {error}"
        );
        bench.hub.mend();
    }
    bench
        .hub
        .spoil("/resolve/", 1, Misbehaviour::Status(302, Vec::new()));
    let error = fetch(&bench.client(), &commit, &file).0.unwrap_err();
    assert!(error.to_string().contains("Location"), "{error}");
}

#[test]
fn offline_makes_no_connection_and_names_what_is_missing() {
    let bench = Bench::new();
    let (commit, large) = bench.commit_and_file(LARGE);
    fetch(&bench.client(), &commit, &large).0.unwrap();
    let listing = bench.client().list(&id(), &commit).unwrap();
    let connections = bench.hub.connections();

    let mut options = bench.options();
    options.offline = true;
    let client = Hub::new(options).unwrap();
    assert_eq!(client.resolve(&id(), "main").unwrap(), commit);
    assert_eq!(
        client.list(&id(), &commit).unwrap(),
        listing,
        "the whole listing, not only what is cached"
    );
    assert!(fetch(&client, &commit, &large).1.cached);
    let small = listing.iter().find(|file| file.path == SMALL).unwrap();
    let other: Commit = "2".repeat(40).parse().unwrap();
    for (error, names) in [
        (fetch(&client, &commit, small).0.unwrap_err(), [SMALL, ID]),
        (client.resolve(&id(), "v2").unwrap_err(), ["v2", ID]),
        (
            client.list(&id(), &other).unwrap_err(),
            [other.as_str(), ID],
        ),
        (
            client.resolve(&"a/b".parse().unwrap(), "main").unwrap_err(),
            ["main", "a/b"],
        ),
    ] {
        let text = error.to_string();
        assert!(
            matches!(error, FetchError::Offline { .. }) && !error.is_retriable(),
            "{text}"
        );
        assert!(
            names.iter().all(|name| text.contains(name)) && text.contains("HF_HUB_OFFLINE"),
            "{text}"
        );
    }
    // The same content under another commit needs no network either.
    assert_eq!(
        fs::read(fetch(&client, &other, &large).0.unwrap()).unwrap(),
        noise(LARGE_BYTES, 7)
    );
    assert_eq!(bench.hub.connections(), connections);
}

#[test]
fn many_runs_that_want_one_file_download_it_once() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    bench.hub.spoil(
        "storage /",
        1,
        Misbehaviour::Trickle(20_000, Duration::from_millis(5)),
    );
    let waited = Mutex::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let path = bench.client().fetch(&id(), &commit, &file, &|event| {
                    *waited.lock().unwrap() += u32::from(event == FetchEvent::Waiting);
                });
                assert_eq!(fs::read(path.unwrap()).unwrap(), noise(LARGE_BYTES, 7));
            });
        }
    });
    let downloads = bench
        .hub
        .take_seen()
        .iter()
        .filter(|seen| seen.origin == "storage")
        .count();
    assert_eq!(downloads, 1);
    assert!(*waited.lock().unwrap() >= 1);
    assert_eq!(bench.blobs(), [file.content_id()]);
}

#[test]
fn equal_content_is_kept_and_fetched_once() {
    let content = noise(5000, 1);
    let bench = Bench::with(
        HubConfig::default(),
        [Repository::from_files(
            ID,
            [("a.bin", content.clone()), ("b/c.bin", content.clone())],
        )],
    );
    let (commit, first) = bench.commit_and_file("a.bin");
    let (_, second) = bench.commit_and_file("b/c.bin");
    fetch(&bench.client(), &commit, &first).0.unwrap();
    let (path, diary) = fetch(&bench.client(), &commit, &second);
    assert_eq!(fs::read(path.unwrap()).unwrap(), content);
    assert!(diary.cached && diary.received == 0);
    assert_eq!(bench.blobs(), [first.content_id()]);
}

#[test]
fn a_commit_stays_what_it_was_when_the_branch_moves() {
    let bench = Bench::new();
    let client = bench.client();
    let commit = client.resolve(&id(), "main").unwrap();
    bench
        .hub
        .publish(Repository::from_files(ID, [(SMALL, b"moved".to_vec())]));
    let listing = client.list(&id(), &commit).unwrap();
    let small = listing.iter().find(|file| file.path == SMALL).unwrap();
    assert_eq!(
        fs::read(fetch(&client, &commit, small).0.unwrap()).unwrap(),
        small_text()
    );
    let moved = client.resolve(&id(), "main").unwrap();
    assert_ne!(moved, commit);
    assert_eq!(
        fs::read_to_string(bench.repo_folder().join("refs/main")).unwrap(),
        moved.as_str()
    );
    assert_eq!(client.list(&id(), &moved).unwrap().len(), 1);
}

#[test]
fn hostile_names_in_a_listing_stop_before_the_file_system() {
    for name in [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "..\\evil",
        "a\0b",
        ".git/config",
        "con",
    ] {
        let repository =
            Repository::from_files(ID, [(name, b"x".to_vec()), ("good.txt", b"y".to_vec())]);
        let commit: Commit = repository.commit.parse().unwrap();
        let bench = Bench::with(HubConfig::default(), [repository]);
        let error = bench.client().list(&id(), &commit).unwrap_err();
        assert!(matches!(error, FetchError::FileName { .. }), "{error}");
        let file = RemoteFile {
            path: name.to_owned(),
            bytes: 1,
            sha256: None,
            git_sha1: "0".repeat(40),
        };
        let error = fetch(&bench.client(), &commit, &file).0.unwrap_err();
        assert!(matches!(error, FetchError::FileName { .. }), "{error}");
        assert!(!bench.folder.path().join("hub").exists() || !bench.repo_folder().exists());
    }
}

#[test]
fn a_file_larger_than_the_disk_is_refused_before_a_byte_is_asked_for() {
    let bench = Bench::new();
    let (commit, file) = bench.commit_and_file(LARGE);
    let huge = RemoteFile {
        bytes: 1 << 60,
        ..file
    };
    let error = fetch(&bench.client(), &commit, &huge).0.unwrap_err();
    assert!(
        error.is_retriable() && error.to_string().contains(&(1_u64 << 60).to_string()),
        "{error}"
    );
    assert_eq!(bench.hub.take_seen(), []);
}

#[test]
fn answers_of_the_api_that_are_not_its_json_are_not_believed() {
    let commit: Commit = "3".repeat(40).parse().unwrap();
    let oid = "0".repeat(40);
    for (answer, what) in [
        ("<html>", "a login page"),
        ("{}", "the wrong shape"),
        (
            "[{\"type\":\"file\",\"oid\":\"zz\",\"size\":1,\"path\":\"a\"}]",
            "a forged hash",
        ),
        (
            &format!(
                "[{0},{0}]",
                format!("{{\"type\":\"file\",\"oid\":\"{oid}\",\"size\":1,\"path\":\"a\"}}")
            ),
            "a file twice",
        ),
        (
            "[{\"type\":\"file\",\"oid\":\"0\",\"size\":-1,\"path\":\"a\"}]",
            "a negative size",
        ),
    ] {
        let answer = answer.to_owned();
        let server = Server::start(0, move |_| Reply::new(200, answer.clone())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut options = HubOptions::new(&server.origin(), folder.path());
        (options.retries, options.first_wait) = (1, Duration::from_millis(1));
        let client = Hub::new(options).unwrap();
        assert!(client.list(&id(), &commit).is_err(), "{what}");
        assert!(client.resolve(&id(), "main").is_err(), "{what}");
    }
    let circle = |request: &Request| {
        Reply::new(200, "[]").with("Link", format!("<{}>; rel=\"next\"", request.target))
    };
    let server = Server::start(0, circle).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = Hub::new(HubOptions::new(&server.origin(), folder.path())).unwrap();
    assert!(
        client
            .list(&id(), &commit)
            .unwrap_err()
            .to_string()
            .contains("circle")
    );
}

#[test]
fn the_program_serves_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("root/owner/name/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("x.bin"), noise(4000, 2)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_andromeda-hub"))
        .arg("--root")
        .arg(folder.path().join("root"))
        .args(["--gated", ID, "--token", "hf_good"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let endpoint = line.trim_end().strip_prefix("HF_ENDPOINT=").unwrap();
    let mut options = HubOptions::new(endpoint, &folder.path().join("cache"));
    options.token = Token::new("hf_good").unwrap();
    let client = Hub::new(options).unwrap();
    let commit = client.resolve(&id(), "main").unwrap();
    let files = client.list(&id(), &commit).unwrap();
    let path = client.fetch(&id(), &commit, &files[0], &|_| {}).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(4000, 2));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn every_sample_repository_is_listed_and_fetched() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let root = std::env::var_os("ANDROMEDA_TEST_DATA")
        .map_or(beside, PathBuf::from)
        .join("hub");
    if !root.is_dir() {
        println!(
            "skipped: {} is absent; set ANDROMEDA_TEST_DATA to the folder of the samples",
            root.display()
        );
        return;
    }
    let repositories = Repository::open_all(&root).unwrap();
    let gated = BTreeSet::from(["bigcode/the-stack-dedup".to_owned()]);
    let bench = Bench::with(
        HubConfig {
            page_size: 7,
            gated,
            ..HubConfig::default()
        },
        repositories.clone(),
    );
    let mut options = bench.options();
    options.token = Token::new("hf_any").unwrap();
    let client = Hub::new(options).unwrap();
    let (mut files, mut bytes) = (0, 0);
    for repository in repositories {
        let repo: RepoId = repository.id.parse().unwrap();
        let commit = client.resolve(&repo, "main").unwrap();
        assert_eq!(commit.as_str(), repository.commit);
        let listing = client.list(&repo, &commit).unwrap();
        assert_eq!(listing.len(), repository.files.len(), "{repo}");
        for file in listing {
            let path = client.fetch(&repo, &commit, &file, &|_| {}).unwrap();
            let original = root.join(&repository.id).join(&file.path);
            assert!(
                fs::read(path).unwrap() == fs::read(original).unwrap(),
                "{repo} {}",
                file.path
            );
            files += 1;
            bytes += file.bytes;
        }
    }
    println!("{files} files, {bytes} bytes");
}
