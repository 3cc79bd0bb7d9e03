//! Downloads against servers that misbehave: a table of faults, each on every way a file can come, seeded and counted. After
//! every case the file is the promised one or is not there, and the next run against a mended server gets it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use andromeda_pipeline::fetch::{
    Commit, FetchError, FetchEvent, Hub, HubOptions, Pin, RemoteFile, RepoId, Token, Web,
};
use andromeda_tests::corpus::{RECIPE, Random, json_line, text, write_recipe, write_tokenizer};
use andromeda_tests::{
    Content, HubConfig, LoopbackHub, Misbehaviour, RemoteEntry, Reply, Repository, Request, Server,
};
use fs_err as fs;
use tempfile::TempDir;

use super::{andromeda, ended, files};

const ID: &str = "owner/name";
const LARGE: &str = "data/large.bin";
const TEXT: &str = "data/text.txt";
const ADDRESS: &str = "https://host.example/files/web.bin";
const CANARY: &str = "hf_canary";
const BYTES: usize = 300_000;
/// Pieces of the files above that come over several connections: some nine of them.
const PIECE: u64 = 32 * 1024;

/// Bytes without pattern, the same for the same seed.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let words = (0..bytes.div_ceil(8)).flat_map(|_| random.next_u64().to_le_bytes());
    words.take(bytes).collect()
}

/// Where a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Behind a redirect, in the hub's storage, known by its sha256.
    Storage,
    /// At the endpoint, known by git's sha1.
    Git,
    /// At an address, known by the sha256 that was pinned.
    Address,
}

const PLACES: [Place; 3] = [Place::Storage, Place::Git, Place::Address];

impl Place {
    /// What its requests for content have in them.
    fn on(self) -> &'static str {
        match self {
            Self::Storage => "storage /",
            Self::Git => "/resolve/",
            Self::Address => "/mirror/",
        }
    }

    fn content(self) -> Vec<u8> {
        match self {
            Self::Storage => noise(BYTES, 1),
            Self::Git => b"A line of a text file.\n".repeat(BYTES / 23),
            Self::Address => noise(BYTES, 3),
        }
    }
}

/// How it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// In one request.
    Plain,
    /// After another run got some of it.
    Resumed,
    /// Over four connections.
    Parallel,
}

const WAYS: [Way; 3] = [Way::Plain, Way::Resumed, Way::Parallel];

/// A hub and what it serves, in one folder.
struct Bench {
    hub: LoopbackHub,
    folder: TempDir,
    commit: Commit,
    listing: Vec<RemoteFile>,
    pin: Pin,
    cases: AtomicUsize,
}

impl Bench {
    fn new() -> Self {
        let repository = Repository::from_files(
            ID,
            [
                (LARGE, Place::Storage.content()),
                (TEXT, Place::Git.content()),
            ],
        );
        let hub = LoopbackHub::start(HubConfig::default(), [repository]).unwrap();
        let entry = RemoteEntry::new(Content::Memory(Place::Address.content().into())).unwrap();
        let pin = Pin {
            bytes: entry.bytes,
            etag: None,
            sha256: Some(entry.sha256.clone()),
        };
        hub.serve_web(ADDRESS, entry);
        let folder = tempfile::tempdir().unwrap();
        let client = Hub::new(HubOptions::new(&hub.endpoint(), folder.path())).unwrap();
        let commit = client.resolve(&id(), "main").unwrap();
        let listing = client.list(&id(), &commit).unwrap();
        let _ = hub.take_seen();
        Self {
            hub,
            folder,
            commit,
            listing,
            pin,
            cases: AtomicUsize::new(0),
        }
    }

    fn file(&self, path: &str) -> &RemoteFile {
        self.listing.iter().find(|file| file.path == path).unwrap()
    }

    /// A client with a cache of its own.
    fn case(&self, place: Place, way: Way) -> Case<'_> {
        let number = self.cases.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder.path().join(format!("case-{number}"));
        let mut options = HubOptions::new(&self.hub.endpoint(), &folder);
        options.token = Token::new(CANARY).unwrap();
        options.timeout = Duration::from_secs(20);
        options.first_wait = Duration::from_millis(1);
        options.connections = 1;
        options.piece_bytes = PIECE;
        if way == Way::Parallel {
            options.connections = 4;
        }
        Case {
            bench: self,
            place,
            folder,
            options,
        }
    }
}

fn id() -> RepoId {
    ID.parse().unwrap()
}

struct Case<'a> {
    bench: &'a Bench,
    place: Place,
    folder: PathBuf,
    options: HubOptions,
}

impl Case<'_> {
    fn fetch(&self) -> Result<PathBuf, FetchError> {
        self.fetch_and_tell(&|_| {})
    }

    fn fetch_and_tell(&self, on_event: &dyn Fn(FetchEvent<'_>)) -> Result<PathBuf, FetchError> {
        let bench = self.bench;
        let hub = || Hub::new(self.options.clone()).unwrap();
        match self.place {
            Place::Storage => hub().fetch(&id(), &bench.commit, bench.file(LARGE), on_event),
            Place::Git => hub().fetch(&id(), &bench.commit, bench.file(TEXT), on_event),
            Place::Address => {
                let mirror = bench.hub.mirror();
                let web = Web::new(&self.options, &self.folder, Some(&mirror)).unwrap();
                let stop = AtomicBool::new(false);
                let (path, _) = web.fetch(&stop, ADDRESS, &bench.pin, on_event)?;
                Ok(path)
            }
        }
    }

    /// Leaves a beginning of the file, as a run that was cut off does.
    fn begin(&mut self, bytes: u64) {
        self.bench
            .hub
            .spoil(self.place.on(), 1, Misbehaviour::Cut(bytes));
        let options = self.options.clone();
        (self.options.retries, self.options.connections) = (0, 1);
        self.fetch().unwrap_err();
        self.options = options;
    }

    /// Whether the content has its name in the cache; what has not come whole has other names.
    fn is_published(&self) -> bool {
        let names = [self.bench.file(LARGE), self.bench.file(TEXT)].map(RemoteFile::content_id);
        let version = self.bench.pin.version(ADDRESS);
        files(&self.folder).iter().any(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            names.contains(&name) || name == version || path.to_string_lossy().contains("snapshots")
        })
    }
}

/// The faults of a transfer, with offsets that depend on the case.
fn faults(random: &mut Random) -> Vec<Misbehaviour> {
    let within = |random: &mut Random| random.below(u64::from(20_000_u32)) + 1;
    let status = |code: u16| Misbehaviour::Status(code, Vec::new());
    vec![
        Misbehaviour::Corrupt(within(random)),
        Misbehaviour::Zeros(within(random)),
        Misbehaviour::Shorten(within(random)),
        Misbehaviour::Lengthen,
        Misbehaviour::AnnounceMore(within(random)),
        Misbehaviour::AnnounceFewer(within(random)),
        Misbehaviour::Gzip,
        Misbehaviour::Chunked,
        Misbehaviour::Html,
        Misbehaviour::Other(noise(BYTES, 77).into()),
        Misbehaviour::Other(noise(BYTES / 2, 78).into()),
        Misbehaviour::Cut(0),
        Misbehaviour::Cut(within(random)),
        Misbehaviour::Stall(within(random)),
        Misbehaviour::HangUp,
        Misbehaviour::IgnoreRange,
        Misbehaviour::ShiftRange(within(random)),
        Misbehaviour::RefuseRange,
        Misbehaviour::Trickle(4000, Duration::from_micros(100)),
        status(408),
        status(429),
        status(500),
        status(502),
        status(503),
        status(504),
    ]
}

/// True where the fault can only be told from none when a part is asked for.
fn is_about_ranges(fault: &Misbehaviour) -> bool {
    matches!(
        fault,
        Misbehaviour::IgnoreRange | Misbehaviour::ShiftRange(_) | Misbehaviour::RefuseRange
    )
}

#[test]
fn whatever_a_transfer_suffers_the_file_is_the_promised_one_or_is_not_there() {
    /// What came of the cases of one place and way.
    #[derive(Debug, Default)]
    struct Tally {
        cases: usize,
        failed: usize,
        bad: Vec<String>,
    }
    let (benches, begun) = ([Bench::new(), Bench::new(), Bench::new()], Instant::now());
    let tallies: Mutex<BTreeMap<(Place, Way), Tally>> = Mutex::default();
    std::thread::scope(|scope| {
        for (bench, place) in benches.iter().zip(PLACES) {
            let tallies = &tallies;
            scope.spawn(move || {
                let expected = place.content();
                for (seed, way) in (1..).zip(WAYS) {
                    let mut random = Random(seed);
                    let mut tally = Tally::default();
                    for always in [false, true] {
                        for fault in faults(&mut random) {
                            if way == Way::Plain && is_about_ranges(&fault) {
                                continue;
                            }
                            let mut case = bench.case(place, way);
                            if matches!(fault, Misbehaviour::Stall(_)) {
                                case.options.timeout = Duration::from_millis(400);
                            }
                            if way == Way::Resumed {
                                case.begin(random.below(100_000) + 1);
                            }
                            if always {
                                case.options.retries = 2;
                            }
                            let before = bench.hub.spoilt();
                            let times = if always { u32::MAX } else { 1 };
                            bench.hub.spoil(place.on(), times, fault.clone());
                            let result = case.fetch();
                            let what = format!("{place:?} {way:?} {always} {fault:?}: {result:?}");
                            assert!(
                                bench.hub.spoilt() > before,
                                "the fault did not happen: {what}"
                            );
                            tally.cases += 1;
                            match &result {
                                Ok(path) if fs::read(path).unwrap() != expected => {
                                    tally.bad.push(what.clone());
                                }
                                Ok(_) => {}
                                Err(error) => {
                                    tally.failed += 1;
                                    assert!(
                                        always,
                                        "a fault that passed ended the download: {what}"
                                    );
                                    if case.is_published() {
                                        tally.bad.push(what.clone());
                                    }
                                    let said = format!("{error} {error:?}");
                                    assert!(!said.contains("canary"), "{said}");
                                    assert!(
                                        error.is_retriable()
                                            || error.is_integrity()
                                            || matches!(error, FetchError::Protocol { .. }),
                                        "{what}"
                                    );
                                }
                            }
                            bench.hub.mend();
                            // Whatever was left behind, a good server mends it.
                            case.options.timeout = Duration::from_secs(20);
                            let path = case
                                .fetch()
                                .unwrap_or_else(|error| panic!("{what}, then {error}"));
                            assert!(
                                fs::read(path).unwrap() == expected,
                                "{what}, then other bytes"
                            );
                            fs::remove_dir_all(&case.folder).unwrap();
                        }
                    }
                    tallies.lock().unwrap().insert((place, way), tally);
                }
            });
        }
    });
    let tallies = tallies.into_inner().unwrap();
    let cases: usize = tallies.values().map(|tally| tally.cases).sum();
    let bad: Vec<&String> = tallies.values().flat_map(|tally| &tally.bad).collect();
    for (key, tally) in &tallies {
        println!(
            "{key:?}: {} cases, {} ended in an error",
            tally.cases, tally.failed
        );
    }
    println!(
        "{cases} faults in {:?}, {} bad files accepted",
        begun.elapsed(),
        bad.len()
    );
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(cases >= 400, "{cases}");
    // Of thousands of requests, those to storage and other hosts carried no token.
    let mut requests = 0;
    for bench in &benches {
        for seen in bench.hub.take_seen() {
            requests += 1;
            let is_elsewhere = seen.origin == "storage" || seen.target.starts_with("/mirror/");
            assert!(
                !(is_elsewhere && seen.authorization.is_some()),
                "a token leaked: {seen:?}"
            );
        }
    }
    assert!(requests > cases, "{requests}");
}

#[test]
fn a_content_that_changed_on_the_server_is_never_mixed_with_what_was_kept() {
    let bench = Bench::new();
    let mut random = Random(11);
    let mut cases = 0;
    for place in [Place::Storage, Place::Address] {
        for way in [Way::Resumed, Way::Parallel] {
            for round in 0..5 {
                let mut case = bench.case(place, way);
                case.begin(random.below(200_000) + 50_000);
                bench
                    .hub
                    .retag_storage(&format!("{place:?}-{way:?}-{round}"));
                let restarts = Mutex::new(0);
                let path = case
                    .fetch_and_tell(&|event| {
                        *restarts.lock().unwrap() +=
                            u32::from(matches!(event, FetchEvent::Restarted { .. }));
                    })
                    .unwrap();
                assert!(fs::read(path).unwrap() == place.content());
                assert_eq!(*restarts.lock().unwrap(), 1, "{place:?} {way:?}");
                cases += 1;
            }
        }
    }
    assert_eq!(cases, 20);
}

#[test]
fn several_connections_share_a_large_file_and_take_no_byte_twice() {
    let bench = Bench::new();
    for place in PLACES {
        let case = bench.case(place, Way::Parallel);
        let (received, started) = (Mutex::new(0), Mutex::new(Vec::new()));
        let path = case
            .fetch_and_tell(&|event| match event {
                FetchEvent::Received { bytes } => *received.lock().unwrap() += bytes,
                FetchEvent::Started { kept, bytes } => started.lock().unwrap().push((kept, bytes)),
                other => panic!("{other:?}"),
            })
            .unwrap();
        let expected = place.content();
        assert!(fs::read(path).unwrap() == expected);
        let bytes = expected.len() as u64;
        assert_eq!(*received.lock().unwrap(), bytes);
        assert_eq!(*started.lock().unwrap(), [(0, bytes)]);
        let seen = bench.hub.take_seen();
        let content = seen
            .iter()
            .filter(|seen| format!("{} {}", seen.origin, seen.target).contains(place.on()));
        let mut ranges: Vec<(u64, u64)> = content
            .map(|seen| {
                let range = seen.range.as_deref().unwrap();
                let (first, last) = range
                    .strip_prefix("bytes=")
                    .unwrap()
                    .split_once('-')
                    .unwrap();
                (first.parse().unwrap(), last.parse().unwrap())
            })
            .collect();
        ranges.sort_unstable();
        let cut: Vec<(u64, u64)> = (0..bytes.div_ceil(PIECE))
            .map(|i| (i * PIECE, ((i + 1) * PIECE).min(bytes) - 1))
            .collect();
        assert_eq!(ranges, cut, "{place:?}");
        // The hub is asked once where the file is, not once a piece.
        if place == Place::Storage {
            let asked = seen.iter().filter(|seen| seen.target.contains("/resolve/"));
            assert_eq!(asked.count(), 1);
        }
    }
}

#[test]
#[ignore = "a measurement; that several connections share a file is tested above"]
fn four_connections_are_faster_than_one_where_each_is_slow() {
    let bench = Bench::new();
    let slow = || {
        let pause = Duration::from_millis(2);
        bench
            .hub
            .spoil("storage /", u32::MAX, Misbehaviour::Trickle(4096, pause));
    };
    slow();
    let mut times = Vec::new();
    for way in [Way::Plain, Way::Parallel] {
        let case = bench.case(Place::Storage, way);
        let begun = Instant::now();
        case.fetch().unwrap();
        times.push(begun.elapsed());
    }
    println!("one connection {:?}, four {:?}", times[0], times[1]);
    assert!(times[1] * 4 < times[0] * 3, "{times:?}");
}

#[test]
fn a_download_ends_soon_after_it_is_asked_to_and_keeps_what_came() {
    let bench = Bench::new();
    for way in [Way::Plain, Way::Parallel] {
        let pause = Duration::from_millis(20);
        bench
            .hub
            .spoil("storage /", u32::MAX, Misbehaviour::Trickle(2048, pause));
        let case = bench.case(Place::Storage, way);
        let client = Hub::new(case.options.clone()).unwrap();
        let stop = AtomicBool::new(false);
        let received = Mutex::new(0);
        let begun = Instant::now();
        let error = client
            .fetch_until(&stop, &id(), &bench.commit, bench.file(LARGE), &|event| {
                if let FetchEvent::Received { bytes } = event {
                    *received.lock().unwrap() += bytes;
                    if *received.lock().unwrap() > 20_000 {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            })
            .unwrap_err();
        assert!(matches!(error, FetchError::Stopped), "{error}");
        assert!(
            begun.elapsed() < Duration::from_secs(2),
            "{way:?} {:?}",
            begun.elapsed()
        );
        bench.hub.mend();
        let kept = Mutex::new(0);
        case.fetch_and_tell(&|event| {
            if let FetchEvent::Started { kept: bytes, .. } = event {
                *kept.lock().unwrap() = bytes;
            }
        })
        .unwrap();
        assert_eq!(kept.into_inner().unwrap(), received.into_inner().unwrap());
    }
}

/// Not a test of its own: the body of the processes that the next test kills.
#[test]
fn child_process_that_is_killed() {
    let variable = |name: &str| std::env::var(name).ok();
    let (Some(endpoint), Some(cache), Some(connections)) = (
        variable("ANDROMEDA_TEST_KILLED_ENDPOINT"),
        variable("ANDROMEDA_TEST_KILLED_CACHE"),
        variable("ANDROMEDA_TEST_KILLED_CONNECTIONS"),
    ) else {
        return;
    };
    let options = killed_options(&endpoint, Path::new(&cache), connections.parse().unwrap());
    let client = Hub::new(options).unwrap();
    let commit = client.resolve(&id(), "main").unwrap();
    for file in client.list(&id(), &commit).unwrap() {
        client.fetch(&id(), &commit, &file, &|_| {}).unwrap();
    }
}

fn killed_options(endpoint: &str, cache: &Path, connections: usize) -> HubOptions {
    let mut options = HubOptions::new(endpoint, cache);
    options.connections = connections;
    options.piece_bytes = 128 * 1024;
    options
}

#[test]
fn killed_at_a_hundred_random_bytes_a_download_loses_less_than_a_hundredth_and_a_window() {
    const TOTAL: usize = 4_000_000;
    const KILLS: u64 = 100;
    let expected = noise(TOTAL, 21);
    let repository = Repository::from_files(ID, [(LARGE, expected.clone())]);
    let content = repository.files[LARGE].sha256.clone();
    let hub = LoopbackHub::start(HubConfig::default(), [repository]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let total = TOTAL as u64;
    let mut random = Random(22);
    // Half over one connection, whose window is a read; half over four, whose window is two pieces each.
    for (connections, window) in [(1_usize, 256 * 1024), (4, 2 * 4 * 128 * 1024)] {
        let (mut most, mut sum) = (0, 0);
        for kill in 0..KILLS / 2 {
            let cache = folder.path().join(format!("{connections}-{kill}"));
            let killed_at = 1 + random.below(total - 1);
            hub.allowance().reset(killed_at);
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "faults::child_process_that_is_killed"])
                .env("ANDROMEDA_TEST_KILLED_ENDPOINT", hub.endpoint())
                .env("ANDROMEDA_TEST_KILLED_CACHE", &cache)
                .env("ANDROMEDA_TEST_KILLED_CONNECTIONS", connections.to_string())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let deadline = Instant::now() + Duration::from_secs(60);
            while !hub.allowance().is_dry() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(
                hub.allowance().is_dry(),
                "the child did not get to byte {killed_at}"
            );
            // Over one connection, what is on its way arrives; nothing more does.
            let name = format!("datasets--owner--name/blobs/{content}.incomplete");
            let kept = || fs::metadata(cache.join(&name)).map_or(0, |file| file.len());
            while connections == 1 && kept() < killed_at && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let sent = hub.allowance().sent();
            assert_eq!(sent, killed_at);
            hub.allowance().reset(0);

            let options = killed_options(&hub.endpoint(), &cache, connections);
            let client = Hub::new(options).unwrap();
            let commit = client.resolve(&id(), "main").unwrap();
            let file = &client.list(&id(), &commit).unwrap()[0];
            let path = client.fetch(&id(), &commit, file, &|_| {}).unwrap();
            assert!(fs::read(path).unwrap() == expected, "killed at {killed_at}");
            let again = sent + hub.allowance().sent() - total;
            assert!(
                again <= total / 100 + window,
                "killed at {killed_at}: {again} of {total} bytes came twice"
            );
            most = most.max(again);
            sum += again;
            fs::remove_dir_all(&cache).unwrap();
        }
        println!(
            "{connections} connections: {} kills, at most {most} bytes twice, {} on average",
            KILLS / 2,
            sum / (KILLS / 2)
        );
    }
}

/// Things that are asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Revision,
    Listing,
    Redirect,
    Storage,
    Git,
    Probe,
    Address,
}

const ASKS: [Ask; 7] = [
    Ask::Revision,
    Ask::Listing,
    Ask::Redirect,
    Ask::Storage,
    Ask::Git,
    Ask::Probe,
    Ask::Address,
];

impl Ask {
    fn on(self) -> &'static str {
        match self {
            Self::Revision => "/revision/",
            Self::Listing => "/tree/",
            Self::Redirect | Self::Git => "/resolve/",
            Self::Storage => "storage /",
            Self::Probe | Self::Address => "/mirror/",
        }
    }

    fn of(self, bench: &Bench, retries: u32) -> Result<(), FetchError> {
        let place = match self {
            Self::Git => Place::Git,
            Self::Probe | Self::Address => Place::Address,
            _ => Place::Storage,
        };
        let mut case = bench.case(place, Way::Plain);
        case.options.retries = retries;
        let client = Hub::new(case.options.clone()).unwrap();
        match self {
            Self::Revision => client.resolve(&id(), "main").map(drop),
            Self::Listing => client.list(&id(), &bench.commit).map(drop),
            Self::Probe => {
                let mirror = bench.hub.mirror();
                let web = Web::new(&case.options, &case.folder, Some(&mirror)).unwrap();
                web.probe(ADDRESS).map(drop)
            }
            _ => case.fetch().map(drop),
        }
    }
}

#[test]
fn refusals_that_pass_are_waited_for_and_others_end_at_once() {
    let bench = Bench::new();
    let mut cases = 0;
    let asked = |ask: Ask| {
        let seen = bench.hub.take_seen();
        seen.iter()
            .filter(|seen| format!("{} {}", seen.origin, seen.target).contains(ask.on()))
            .count()
    };
    for ask in ASKS {
        for code in [408, 425, 429, 500, 502, 503, 504] {
            bench
                .hub
                .spoil(ask.on(), 1, Misbehaviour::Status(code, Vec::new()));
            ask.of(&bench, 3)
                .unwrap_or_else(|error| panic!("{ask:?} {code}: {error}"));
            assert_eq!(asked(ask), 2, "{ask:?} {code}");
            cases += 1;
        }
        bench
            .hub
            .spoil(ask.on(), u32::MAX, Misbehaviour::Status(503, Vec::new()));
        let error = ask.of(&bench, 3).unwrap_err();
        assert!(
            error.is_retriable() && error.to_string().contains("4 attempts"),
            "{ask:?}: {error}"
        );
        assert_eq!(asked(ask), 4, "{ask:?}");
        bench.hub.mend();
        cases += 1;
        for code in [400, 401, 403, 404, 410, 451] {
            bench
                .hub
                .spoil(ask.on(), u32::MAX, Misbehaviour::Status(code, Vec::new()));
            let error = ask.of(&bench, 3).unwrap_err();
            // A signed address that expired is refused too: a new one is asked for.
            let expires = ask == Ask::Storage && code == 403;
            assert_eq!(error.is_retriable(), expires, "{ask:?} {code}: {error}");
            let times = match ask {
                Ask::Storage if expires => 4,
                // Not every server answers HEAD, so GET decides.
                Ask::Probe => 2,
                _ => 1,
            };
            assert_eq!(asked(ask), times, "{ask:?} {code}");
            let said = error.to_string();
            assert!(
                said.contains(&code.to_string()) || said.contains("HTTP 404"),
                "{said}"
            );
            bench.hub.mend();
            cases += 1;
        }
    }
    // What a busy server asks for is given to it, in each of the two ways it may ask.
    for header in [("Retry-After", "1"), ("RateLimit", "\"resolvers\";r=0;t=1")] {
        let wish = vec![(header.0.to_owned(), header.1.to_owned())];
        bench
            .hub
            .spoil("/resolve/", 1, Misbehaviour::Status(429, wish));
        let begun = Instant::now();
        Ask::Git.of(&bench, 3).unwrap();
        assert!(begun.elapsed() >= Duration::from_secs(1), "{header:?}");
        cases += 1;
    }
    assert!(cases >= 60, "{cases}");
}

#[test]
fn servers_that_only_pretend_to_send_are_left() {
    let pretend = || {
        [
            Misbehaviour::Stall(0),
            Misbehaviour::Stall(5_000),
            Misbehaviour::Trickle(8, Duration::from_millis(20)),
        ]
    };
    let cases = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for place in PLACES {
            for way in WAYS {
                let cases = &cases;
                scope.spawn(move || {
                    let bench = Bench::new();
                    for fault in pretend() {
                        let mut case = bench.case(place, way);
                        if way == Way::Resumed {
                            case.begin(9_000);
                        }
                        case.options.timeout = Duration::from_millis(500);
                        bench.hub.spoil(place.on(), 1, fault.clone());
                        let retries = Mutex::new(Vec::new());
                        let begun = Instant::now();
                        let path = case.fetch_and_tell(&|event| {
                            if let FetchEvent::Retry { reason, .. } = event {
                                retries.lock().unwrap().push(reason.to_owned());
                            }
                        });
                        let what = format!("{place:?} {way:?} {fault:?}");
                        let path = path.unwrap_or_else(|error| panic!("{what}: {error}"));
                        assert!(fs::read(path).unwrap() == place.content(), "{what}");
                        assert!(!retries.lock().unwrap().is_empty(), "{what}");
                        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
                        cases.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
    });
    assert_eq!(cases.into_inner(), 27);
}

/// Answers 404 and remembers the requests, as `target authorization`.
fn stranger() -> (Server, Arc<Mutex<Vec<String>>>) {
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let server = Server::start(0, {
        let heard = Arc::clone(&heard);
        move |request: &Request| {
            let authorization = request.header("authorization").unwrap_or("none");
            let said = format!("{} {authorization}", request.target);
            heard.lock().unwrap().push(said);
            Reply::new(404, "")
        }
    });
    (server.unwrap(), heard)
}

#[test]
fn redirects_are_followed_where_they_make_sense_and_the_token_never_leaves_its_origin() {
    let bench = Bench::new();
    let (other, heard) = stranger();
    let endpoint = bench.hub.endpoint();
    let home = format!("/datasets/{ID}/resolve/{}/{TEXT}", bench.commit);
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    let back = {
        let to = format!("{endpoint}{home}");
        Server::start(0, move |_| Reply::new(302, "").with("Location", to.clone())).unwrap()
    };
    let authority = endpoint.strip_prefix("http://").unwrap();
    // Where to, and whether the file comes from there.
    let targets: Vec<(String, bool)> = vec![
        (home.clone(), true),
        (format!("{endpoint}{home}"), true),
        (format!("//{authority}{home}"), true),
        (format!("HTTP://{authority}{home}"), true),
        (format!("{by_name}{home}"), true),
        (format!("{by_name}{home}#fragment"), true),
        (back.origin(), true),
        (format!("{}/x", other.origin()), false),
        (format!("{}/x?token", other.origin()), false),
        (format!("http://user@{authority}{home}"), false),
        (
            format!(
                "http://{authority}@{}{home}",
                other.origin().strip_prefix("http://").unwrap()
            ),
            false,
        ),
        (format!("http:\\\\{authority}{home}"), false),
        ("ftp://127.0.0.1/x".to_owned(), false),
        ("file:///etc/passwd".to_owned(), false),
        ("javascript:alert(1)".to_owned(), false),
        ("http://".to_owned(), false),
        (String::new(), false),
        ("http://[::1".to_owned(), false),
        ("http://127.0.0.1:99999/".to_owned(), false),
    ];
    let mut cases = 0;
    for way in WAYS {
        for code in [301, 302, 303, 307, 308] {
            for (target, comes) in &targets {
                let mut case = bench.case(Place::Git, way);
                if way == Way::Resumed {
                    case.begin(7_000);
                }
                let times = if *comes { 1 } else { u32::MAX };
                bench.hub.spoil(
                    "/resolve/",
                    times,
                    Misbehaviour::Redirect(code, target.clone()),
                );
                let result = case.fetch();
                assert_eq!(
                    result.is_ok(),
                    *comes,
                    "{way:?} {code} {target}: {result:?}"
                );
                if let Err(error) = result {
                    assert!(!error.is_retriable(), "{error}");
                    assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
                }
                bench.hub.mend();
                cases += 1;
            }
        }
    }
    // Questions of the API go the same ways.
    for on in ["/revision/", "/tree/"] {
        for (target, _) in &targets {
            bench
                .hub
                .spoil(on, u32::MAX, Misbehaviour::Redirect(307, target.clone()));
            let client = Hub::new(bench.case(Place::Git, Way::Plain).options).unwrap();
            let failed = match on {
                "/revision/" => client.resolve(&id(), "main").err(),
                _ => client.list(&id(), &bench.commit).err(),
            };
            let said = format!("{:?}", failed.unwrap());
            assert!(!said.contains("canary"), "{said}");
            bench.hub.mend();
            cases += 1;
        }
    }
    // Ten hops are followed and not eleven.
    for (hops, comes) in [(10, true), (11, false)] {
        bench
            .hub
            .spoil("/resolve/", hops, Misbehaviour::Redirect(302, home.clone()));
        assert_eq!(bench.case(Place::Git, Way::Plain).fetch().is_ok(), comes);
        bench.hub.mend();
        cases += 1;
    }
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty());
    assert!(
        heard.iter().all(|request| request.ends_with(" none")),
        "a token leaked: {heard:?}"
    );
    println!("{cases} redirects, {} requests to a stranger", heard.len());
    assert!(cases >= 300, "{cases}");
}

#[test]
fn a_token_that_left_its_origin_does_not_come_back() {
    let bench = Bench::new();
    let home = format!("/datasets/{ID}/resolve/{}/{TEXT}", bench.commit);
    let endpoint = bench.hub.endpoint();
    let by_name = endpoint.replace("127.0.0.1", "localhost");
    let back = {
        let to = format!("{endpoint}{home}");
        Server::start(0, move |_| Reply::new(302, "").with("Location", to.clone())).unwrap()
    };
    for way in WAYS {
        // Also where the server that it came back to sends it on to itself.
        for (away, hops) in [
            (back.origin(), 1),
            (back.origin(), 2),
            (format!("{by_name}{home}"), 1),
        ] {
            let mut case = bench.case(Place::Git, way);
            if way == Way::Resumed {
                case.begin(7_000);
            }
            let _ = bench.hub.take_seen();
            bench
                .hub
                .spoil("/resolve/", 1, Misbehaviour::Redirect(302, away.clone()));
            for _ in 1..hops {
                let on = Misbehaviour::Redirect(307, home.clone());
                bench.hub.spoil("/resolve/", 1, on);
            }
            case.fetch().unwrap();
            let sent: Vec<bool> = bench
                .hub
                .take_seen()
                .iter()
                .map(|seen| seen.authorization.is_some())
                .collect();
            assert!(sent[0], "{way:?}: the endpoint is not told who asks");
            assert!(
                sent.len() > 1 && sent[1..].iter().all(|sent| !sent),
                "{way:?} {away}: {sent:?}"
            );
        }
    }
}

/// A hub whose program reads a planted dataset of it.
fn program_bench() -> (LoopbackHub, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    write_recipe(&manifests, "planted", RECIPE);
    write_tokenizer(&manifests);
    fs::create_dir_all(manifests.join("datasets")).unwrap();
    let manifest = format!(
        "name = \"own\"\ndescription = \"Planted.\"\nprofile = \"plain\"\nlicence = \"CC0-1.0\"\n[source.hub]\nrepository = \
         \"{ID}\"\nfiles = [\"*.jsonl\"]\n[render]\ntext = \"text\"\n"
    );
    fs::write(manifests.join("datasets/own.toml"), manifest).unwrap();
    let hub = LoopbackHub::start(HubConfig::default(), [rows_repository(31)]).unwrap();
    (hub, folder)
}

fn rows_repository(seed: u64) -> Repository {
    let mut random = Random(seed);
    let names = ["a.jsonl", "b.jsonl"];
    let rows = names.map(|name| {
        let rows: Vec<String> = (0..40)
            .map(|_| json_line(&text(&mut random, 120)))
            .collect();
        (name, rows.concat().into_bytes())
    });
    Repository::from_files(ID, rows)
}

fn program(hub: &LoopbackHub, root: &Path, arguments: &str) -> Command {
    let mut command = andromeda(root, arguments);
    command
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HOME", root.join("hf"))
        .env("HF_TOKEN", CANARY)
        .env("ANDROMEDA_WEB_MIRROR", hub.mirror())
        .env_remove("HF_HUB_OFFLINE");
    command
}

#[test]
fn the_token_is_in_nothing_that_any_command_says_or_writes() {
    let (hub, folder) = program_bench();
    let root = folder.path();
    let what = "--dataset own --recipe planted";
    let mut said = Vec::new();
    let mut run = |arguments: &str| {
        let ended = ended(&mut program(&hub, root, arguments));
        said.push(format!("{} {}", ended.stdout, ended.stderr));
        ended.code
    };
    for (fault, on) in [
        (Misbehaviour::Status(401, Vec::new()), "/revision/"),
        (
            Misbehaviour::Status(
                403,
                vec![("X-Error-Code".to_owned(), "GatedRepo".to_owned())],
            ),
            "/tree/",
        ),
        (
            Misbehaviour::Redirect(302, format!("http://{CANARY}@127.0.0.1/")),
            "/resolve/",
        ),
        (Misbehaviour::Corrupt(5), "/resolve/"),
        (Misbehaviour::Html, "/tree/"),
    ] {
        hub.spoil(on, 2, fault);
        let _ = run(&format!("build {what}"));
        hub.mend();
    }
    assert_eq!(run(&format!("plan {what}")), Some(0));
    assert_eq!(run(&format!("plan {what} --json")), Some(0));
    assert_eq!(run(&format!("build {what} --json")), Some(0));
    for command in ["inspect", "verify", "status", "gc", "why own/a.jsonl#0"] {
        let _ = run(command);
    }
    let tokens = hub
        .take_seen()
        .iter()
        .filter(|seen| seen.authorization.is_some())
        .count();
    assert!(tokens > 5, "the token was not used");
    for said in &said {
        assert!(!said.contains("canary"), "{said}");
    }
    for path in files(root) {
        let bytes = fs::read(&path).unwrap();
        let holds = bytes.windows(6).any(|window| window == b"canary");
        assert!(!holds, "{}", path.display());
    }
}

#[test]
fn a_branch_that_moves_changes_nothing_that_was_planned() {
    let (hub, folder) = program_bench();
    let root = folder.path();
    let what = "--dataset own --recipe planted";
    let plan = |hub: &LoopbackHub| {
        let said = ended(&mut program(hub, root, &format!("plan {what} --json"))).with(0, &[]);
        let planned: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        planned["fingerprint"].as_str().unwrap().to_owned()
    };
    let planned = plan(&hub);
    for seed in 0..5 {
        hub.publish(rows_repository(seed));
        let _ = hub.take_seen();
        assert_eq!(plan(&hub), planned);
        ended(&mut program(&hub, root, &format!("build {what}"))).with(0, &[]);
        assert!(
            hub.take_seen()
                .iter()
                .all(|seen| !seen.target.contains("/revision/")),
            "a pinned branch was asked for again"
        );
        for folder in ["work", "shards"] {
            fs::remove_dir_all(root.join(folder)).unwrap();
        }
    }
    // Until somebody takes the pin out of the lock file.
    fs::remove_file(root.join("manifests/datasets.lock")).unwrap();
    assert_ne!(plan(&hub), planned);
}

#[test]
fn more_than_two_hundred_hostile_names_stop_at_the_listing() {
    let parts = [
        "..",
        "../..",
        ".",
        "",
        "a\\b",
        "..\\x",
        "C:",
        "c:x",
        "\\\\server\\share",
        "\u{0}",
        "a\nb",
        "\u{1b}[2J",
        "x\u{202e}gpj",
        "con",
        "NUL.txt",
        "com1",
        "lpt9.x",
        ".git",
        ".GIT",
        "git~1",
        "a.",
        "a ",
        "aux.jsonl",
        "\u{7f}",
    ];
    let around = [
        "{}", "{}/x", "x/{}", "x/{}/y", "/{}", "{}/", "x//{}", "./{}", "../{}",
    ];
    let names: Arc<Mutex<String>> = Arc::default();
    let server = Server::start(0, {
        let names = Arc::clone(&names);
        move |_| Reply::new(200, names.lock().unwrap().clone())
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let client = Hub::new(HubOptions::new(
        &server.origin(),
        &folder.path().join("hub"),
    ))
    .unwrap();
    let commit: Commit = "4".repeat(40).parse().unwrap();
    let mut cases = 0;
    for part in parts {
        for around in around {
            let name = around.replace("{}", part);
            let entry = serde_json::json!([{"type": "file", "oid": "0".repeat(40), "size": 1, "path": name}]);
            *names.lock().unwrap() = entry.to_string();
            let error = client.list(&id(), &commit).unwrap_err();
            assert!(
                matches!(error, FetchError::FileName { .. }),
                "{name:?}: {error}"
            );
            assert!(
                !error.to_string().chars().any(char::is_control),
                "{error:?}"
            );
            cases += 1;
        }
    }
    assert!(cases >= 200, "{cases}");
    assert!(!folder.path().join("hub").exists(), "something was written");
}

#[test]
fn a_disk_that_is_too_small_is_told_with_numbers_and_a_larger_one_goes_on() {
    let (hub, folder) = program_bench();
    let root = folder.path();
    let allowed = Command::new("unshare")
        .args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"])
        .output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        println!("skipped: unshare and mount are not there or not allowed");
        return;
    }
    fs::create_dir(root.join("hf")).unwrap();
    let build = "build --dataset own --recipe planted";
    let script = format!(
        "mount -t tmpfs -o size=16k none hf || exit 99
         for size in 32 64 4096; do
             mount -o remount,size=${{size}}k hf || exit 98
             \"$PROGRAM\" {build} >/dev/null; echo \"code $?\"
         done"
    );
    let named = program(&hub, root, "");
    let mut shell = Command::new("unshare");
    shell
        .args(["-rm", "sh", "-c", &script])
        .env("PROGRAM", named.get_program())
        .current_dir(root);
    for (name, value) in named.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let said = ended(&mut shell).with(0, &["is too small", "HF_HUB_CACHE"]);
    assert_eq!(said.stdout, "code 10\ncode 10\ncode 0\n");
}
