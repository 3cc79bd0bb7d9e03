//! A dataset in a store of objects, against a small store that lives on this machine's loopback interface.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use andromeda_tests::corpus::{RECIPE, Random, json_line, text, write_recipe, write_tokenizer};
use andromeda_tests::{Content, RemoteEntry, Reply, Request, Server};
use fs_err as fs;
use tempfile::TempDir;

use super::{andromeda, ended, files, root_hash};

const SECRET: &str = "canary-secret";

/// Objects by key, and the requests for them.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, RemoteEntry>,
    seen: Vec<String>,
}

/// Two keys of a listing on one page.
fn listing(bucket: &Bucket, request: &Request) -> Reply {
    let query: BTreeMap<&str, &str> = request
        .query()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let prefix = query
        .get("prefix")
        .map_or(String::new(), |p| p.replace("%2F", "/"));
    let from: usize = query
        .get("continuation-token")
        .map_or(0, |token| token.parse().unwrap());
    let all: Vec<_> = bucket
        .objects
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix))
        .collect();
    let mut xml = String::from("<?xml version=\"1.0\"?><ListBucketResult>");
    for (key, entry) in all.iter().skip(from).take(2) {
        let _ = write!(
            xml,
            "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.000Z</LastModified><ETag>&quot;{}&quot;</ETag>\
             <Size>{}</Size><StorageClass>STANDARD</StorageClass></Contents>",
            &entry.sha256[..32],
            entry.bytes
        );
    }
    let more = from + 2 < all.len();
    let _ = write!(xml, "<IsTruncated>{more}</IsTruncated>");
    if more {
        let _ = write!(
            xml,
            "<NextContinuationToken>{}</NextContinuationToken>",
            from + 2
        );
    }
    xml.push_str("</ListBucketResult>");
    Reply::new(200, xml).with("Content-Type", "application/xml")
}

fn answer(bucket: &Mutex<Bucket>, request: &Request) -> Reply {
    let mut bucket = bucket.lock().unwrap();
    bucket.seen.push(request.target.clone());
    let signed = request
        .header("authorization")
        .is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"));
    let presigned =
        request.query().contains("X-Amz-Signature=") && request.query().contains("AKID");
    if !(signed || presigned) {
        return Reply::new(403, "<Error><Code>AccessDenied</Code></Error>");
    }
    let Some(key) = request.path().strip_prefix("/bucket") else {
        return Reply::new(404, "<Error><Code>NoSuchBucket</Code></Error>");
    };
    let key = key.trim_start_matches('/');
    if key.is_empty() {
        return listing(&bucket, request);
    }
    let Some(entry) = bucket.objects.get(key) else {
        return Reply::new(404, "<Error><Code>NoSuchKey</Code></Error>");
    };
    let mut reply = Reply::new(200, "").with("ETag", format!("\"{}\"", &entry.sha256[..32]));
    reply.body = entry.content.clone();
    reply.length = entry.bytes;
    reply
}

fn entry(seed: u64) -> RemoteEntry {
    let mut random = Random(seed);
    let rows: Vec<String> = (0..40)
        .map(|_| json_line(&text(&mut random, 120)))
        .collect();
    RemoteEntry::new(Content::Memory(rows.concat().into_bytes().into())).unwrap()
}

fn program(folder: &TempDir, server: &Server, arguments: &str) -> Command {
    let mut command = andromeda(folder.path(), arguments);
    command
        .args(["--recipe", "planted"])
        .env("HF_HOME", folder.path().join("hf"))
        .env("AWS_ENDPOINT", server.origin())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "AKID")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env_remove("HF_HUB_OFFLINE");
    command
}

#[test]
fn objects_are_listed_pinned_and_fetched_with_signatures() {
    let bucket: Arc<Mutex<Bucket>> = Arc::default();
    for (seed, key) in (1..).zip([
        "data/a.jsonl",
        "data/b.jsonl",
        "data/deep/c.jsonl",
        "data/note.txt",
        "other/d.jsonl",
    ]) {
        bucket
            .lock()
            .unwrap()
            .objects
            .insert(key.to_owned(), entry(seed));
    }
    let server = Server::start(0, {
        let bucket = Arc::clone(&bucket);
        move |request: &Request| answer(&bucket, request)
    })
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    write_recipe(&manifests, "planted", RECIPE);
    write_tokenizer(&manifests);
    fs::create_dir_all(manifests.join("datasets")).unwrap();
    let manifest = "name = \"own\"\ndescription = \"Planted.\"\nprofile = \"plain\"\nlicence = \"CC0-1.0\"\n[source.store]\nurl = \
                    \"s3://bucket/data\"\nfiles = [\"**/*.jsonl\"]\n[render]\ntext = \"text\"\n";
    fs::write(manifests.join("datasets/own.toml"), manifest).unwrap();

    let said = ended(&mut program(&folder, &server, "plan --dataset own --json")).with(0, &[]);
    let planned: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(planned["datasets"][0]["files"], 3);
    let lock = fs::read_to_string(manifests.join("datasets.lock")).unwrap();
    assert!(
        lock.contains("\"s3://bucket/data/deep/c.jsonl\" = { bytes = "),
        "{lock}"
    );
    let listed = std::mem::take(&mut bucket.lock().unwrap().seen);
    assert_eq!(listed.len(), 2, "four objects, two on a page: {listed:?}");

    ended(&mut program(&folder, &server, "build --dataset own")).with(0, &[]);
    let seen = std::mem::take(&mut bucket.lock().unwrap().seen);
    assert_eq!(
        seen.len(),
        3,
        "pinned objects are not listed again: {seen:?}"
    );
    let lock = fs::read_to_string(manifests.join("datasets.lock")).unwrap();
    assert!(lock.contains(&entry(1).sha256), "{lock}");

    // Again without a network, credentials or an address.
    let root = root_hash(folder.path());
    fs::remove_dir_all(folder.path().join("shards")).unwrap();
    let mut offline = program(&folder, &server, "build --dataset own");
    offline
        .env("HF_HUB_OFFLINE", "1")
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    ended(&mut offline).with(0, &[]);
    assert_eq!(root_hash(folder.path()), root);
    assert!(bucket.lock().unwrap().seen.is_empty());

    // Another object of the same name is not taken for it.
    for path in files(&folder.path().join("work/downloads")) {
        fs::remove_file(path).unwrap();
    }
    bucket
        .lock()
        .unwrap()
        .objects
        .insert("data/a.jsonl".to_owned(), entry(9));
    fs::remove_dir_all(folder.path().join("shards")).unwrap();
    let said = ended(&mut program(&folder, &server, "build --dataset own"))
        .with(30, &["data/a.jsonl", "lock file"]);
    assert!(
        !said.stderr.contains("X-Amz") && !said.stderr.contains("canary"),
        "{said:?}"
    );

    // Strangers are told what to set.
    fs::remove_file(manifests.join("datasets.lock")).unwrap();
    let mut stranger = program(&folder, &server, "plan --dataset own");
    ended(stranger.env("AWS_ACCESS_KEY_ID", "other")).with(
        20,
        &[
            "s3://bucket/data",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SKIP_SIGNATURE",
        ],
    );
    for path in files(folder.path()) {
        let bytes = fs::read(&path).unwrap();
        assert!(
            !bytes.windows(6).any(|window| window == b"canary"),
            "{}",
            path.display()
        );
    }
}
