//! A build in a store of objects becomes a checked copy, against a small store that lives on this machine's loopback interface and
//! answers as S3 does: signed requests alone, ranges, and no `HEAD` where `GET` was signed.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use andromeda_format::{Build, verify};
use andromeda_tests::{Reply, Request, Server};
use fs_err as fs;

use super::{Ended, andromeda, ended};

const SECRET: &str = "canary-secret";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/tests/golden/v1/narrow")
}

/// What the store does to requests for the content of `train-00001.zst`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// So many answers break off.
    Cut(u32),
    /// A bit of it is another.
    Flip,
    /// It is not there.
    Gone,
}

#[derive(Default)]
struct Bucket {
    fault: Fault,
    /// Methods and targets.
    seen: Vec<String>,
}

fn answer(bucket: &Mutex<Bucket>, request: &Request) -> Reply {
    let mut bucket = bucket.lock().unwrap();
    bucket
        .seen
        .push(format!("{} {}", request.method, request.target));
    let query = request.query();
    if request.method != "GET" || !(query.contains("X-Amz-Signature=") && query.contains("AKID")) {
        return Reply::new(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>");
    }
    let missing = || Reply::new(404, "<Error><Code>NoSuchKey</Code></Error>");
    let Some(name) = request.path().strip_prefix("/bucket/builds/one/") else {
        return missing();
    };
    let Ok(mut bytes) = fs::read(golden().join(name)) else {
        return missing();
    };
    let range = request
        .header("range")
        .unwrap()
        .strip_prefix("bytes=")
        .unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    // The question for its length asks for one byte.
    let spoilt = name == "train-00001.zst" && end > start;
    let total = bytes.len();
    let mut cut = false;
    match &mut bucket.fault {
        Fault::Gone if name == "train-00001.zst" => return missing(),
        Fault::Flip if spoilt => bytes[100] ^= 4,
        Fault::Cut(times) if spoilt && *times > 0 => {
            *times -= 1;
            cut = true;
        }
        _ => {}
    }
    let mut reply = Reply::new(206, &bytes[start..=end])
        .with("Content-Range", format!("bytes {start}-{end}/{total}"));
    if cut {
        reply.manner.cut_after = Some(10);
    }
    reply
}

struct Served {
    folder: tempfile::TempDir,
    bucket: Arc<Mutex<Bucket>>,
    server: Server,
}

fn served() -> Served {
    let bucket: Arc<Mutex<Bucket>> = Arc::default();
    let answers = Arc::clone(&bucket);
    Served {
        folder: tempfile::tempdir().unwrap(),
        server: Server::start(0, move |request: &Request| answer(&answers, request)).unwrap(),
        bucket,
    }
}

impl Served {
    fn fetch(&self, arguments: &str) -> Ended {
        let mut command = andromeda(self.folder.path(), &format!("fetch-build {arguments}"));
        command
            .env("HF_HOME", self.folder.path().join("hf"))
            .env("AWS_ENDPOINT", self.server.origin())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "AKID")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env_remove("HF_HUB_OFFLINE");
        let said = ended(&mut command);
        for text in [&said.stdout, &said.stderr] {
            assert!(
                !text.contains("X-Amz") && !text.contains("canary"),
                "{said:?}"
            );
        }
        said
    }

    fn spoil(&self, fault: Fault) {
        self.bucket.lock().unwrap().fault = fault;
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().join("shards/made-up")
    }
}

#[test]
fn a_build_in_a_store_is_copied_and_checked() {
    let served = served();
    // One answer breaks off, and is asked for again.
    served.spoil(Fault::Cut(1));
    let said = served
        .fetch("s3://bucket/builds/one/")
        .with(0, &["every byte is what the manifest says"]);
    assert_eq!(said.stdout.trim(), "shards/made-up");
    let build = Build::open(&served.folder()).unwrap();
    assert_eq!(build.manifest(), Build::open(&golden()).unwrap().manifest());
    assert_eq!(verify(&served.folder(), &mut |_| {}).unwrap().faults, []);
    assert_eq!(served.bucket.lock().unwrap().fault, Fault::Cut(0));
    let seen = std::mem::take(&mut served.bucket.lock().unwrap().seen);
    assert!(
        seen.iter().any(|one| one.contains("/train-00001.zst?")),
        "{seen:?}"
    );

    // Again: nothing is asked for but the manifest, twice, and the length of the tokenizer.
    served.fetch("s3://bucket/builds/one").with(0, &[]);
    let seen = &served.bucket.lock().unwrap().seen;
    assert!(
        !seen
            .iter()
            .any(|one| one.contains(".zst") || one.contains(".parquet")),
        "{seen:?}"
    );
}

#[test]
fn what_a_store_lacks_or_has_wrong_is_named_and_no_build() {
    for (fault, code, says) in [
        (Fault::Flip, 30, "train-00001.zst"),
        (Fault::Gone, 20, "train-00001.zst"),
    ] {
        let served = served();
        served.spoil(fault);
        served.fetch("s3://bucket/builds/one").with(code, &[says]);
        assert!(!served.folder().join("manifest.json").exists());
        assert!(!served.folder().join("train-00001.zst").exists());
        served.spoil(Fault::None);
        served.fetch("s3://bucket/builds/one").with(0, &[]);
        assert_eq!(verify(&served.folder(), &mut |_| {}).unwrap().faults, []);
    }
    served()
        .fetch("s3://bucket/builds/two")
        .with(20, &["manifest.json"]);
}
