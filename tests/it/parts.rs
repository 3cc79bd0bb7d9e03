//! Some row groups of a remote parquet file, without the others.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use andromeda_pipeline::fetch::{Hub, HubOptions, RepoId};
use andromeda_tests::corpus::{RECIPE, Random, text, write_recipe, write_tokenizer};
use andromeda_tests::{HubConfig, LoopbackHub, Misbehaviour, Repository};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use super::{andromeda, ended, files, root_hash};

const ID: &str = "owner/name";
const PATH: &str = "data/train-00000-of-00001.parquet";
const GROUPS: usize = 20;
const GROUP_ROWS: usize = 120;

/// Twenty row groups of a column that is read and of one that is not.
fn table() -> Vec<u8> {
    let mut random = Random(41);
    let mut columns = || {
        let rows = GROUPS * GROUP_ROWS;
        let texts: Vec<String> = (0..rows).map(|_| text(&mut random, 100)).collect();
        Arc::new(StringArray::from(texts)) as ArrayRef
    };
    let batch = RecordBatch::try_from_iter([("text", columns()), ("unread", columns())]).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out
}

struct Bench {
    hub: LoopbackHub,
    folder: TempDir,
    bytes: u64,
}

impl Bench {
    fn new() -> Self {
        let table = table();
        let bytes = table.len() as u64;
        let repository = Repository::from_files(ID, [(PATH, table)]);
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        write_recipe(&manifests, "planted", RECIPE);
        write_tokenizer(&manifests);
        fs::create_dir_all(manifests.join("datasets")).unwrap();
        let manifest = format!(
            "name = \"own\"\ndescription = \"Planted.\"\nprofile = \"plain\"\nlicence = \"CC0-1.0\"\nbudget-bytes = {}\n[source.hub]\nrepository \
             = \"{ID}\"\nfiles = [\"data/*.parquet\"]\n[read]\nblock-bytes = 65536\n[render]\ntext = \"text\"\n",
            bytes / 10
        );
        fs::write(manifests.join("datasets/own.toml"), manifest).unwrap();
        Self {
            hub: LoopbackHub::start(HubConfig::default(), [repository]).unwrap(),
            folder,
            bytes,
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn build(&self) -> Command {
        let mut command = andromeda(self.root(), "build --dataset own --recipe planted");
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.root().join("hf"))
            .env_remove("HF_HUB_OFFLINE");
        command
    }

    /// Builds again from nothing but what was downloaded, and returns the root hash and the bytes that were sent for it.
    fn again(&self) -> (String, u64) {
        for folder in ["shards", "work/extract"] {
            drop(fs::remove_dir_all(self.root().join(folder)));
        }
        self.hub.allowance().reset(0);
        ended(&mut self.build()).with(0, &[]);
        (root_hash(self.root()), self.hub.allowance().sent())
    }

    fn parts(&self) -> Vec<std::path::PathBuf> {
        let downloads = files(&self.root().join("work/downloads"));
        downloads
            .into_iter()
            .filter(|path| path.extension().is_some_and(|e| e == "parts"))
            .collect()
    }
}

#[test]
fn a_budget_of_a_tenth_of_a_file_takes_a_few_of_its_row_groups_and_builds_the_same() {
    let bench = Bench::new();
    let (root, sent) = bench.again();
    println!("{sent} of {} bytes were sent", bench.bytes);
    assert!(sent < bench.bytes * 2 / 5, "{sent} of {}", bench.bytes);
    let parts = bench.parts();
    assert_eq!(parts.len(), 1, "{parts:?}");
    assert_eq!(fs::metadata(&parts[0]).unwrap().len(), bench.bytes);

    // What is here is used; what was damaged here is noticed and comes again.
    assert_eq!(bench.again(), (root.clone(), 0));
    let mut offline = bench.build();
    fs::remove_dir_all(bench.root().join("shards")).unwrap();
    ended(offline.env("HF_HUB_OFFLINE", "1")).with(0, &[]);
    let mut content = fs::read(&parts[0]).unwrap();
    content[100] ^= 1;
    fs::write(&parts[0], content).unwrap();
    let (mended, again) = bench.again();
    assert_eq!(mended, root);
    assert!(again > 0 && again < sent, "{again} of {sent}");

    // A server that sends no parts sends the whole, and so does a cache that has it; the build is the same.
    for way in ["no parts", "cached"] {
        for folder in ["work", "shards", "hf"] {
            drop(fs::remove_dir_all(bench.root().join(folder)));
        }
        if way == "no parts" {
            bench
                .hub
                .spoil("storage /", u32::MAX, Misbehaviour::IgnoreRange);
        } else {
            let cache = bench.root().join("hf/hub");
            let client = Hub::new(HubOptions::new(&bench.hub.endpoint(), &cache)).unwrap();
            let repo: RepoId = ID.parse().unwrap();
            let commit = client.resolve(&repo, "main").unwrap();
            let file = &client.list(&repo, &commit).unwrap()[0];
            client.fetch(&repo, &commit, file, &|_| {}).unwrap();
        }
        let (whole, sent) = bench.again();
        assert_eq!(whole, root, "{way}");
        assert_eq!(sent == 0, way == "cached", "{way}: {sent}");
        bench.hub.mend();
    }
}

#[test]
fn parts_come_through_faults_and_end_where_the_hub_names_another_content() {
    let bench = Bench::new();
    let (root, _) = bench.again();
    for (fault, on) in [
        (Misbehaviour::Cut(1000), "storage /"),
        (Misbehaviour::HangUp, "storage /"),
        (Misbehaviour::Status(503, Vec::new()), "storage /"),
        (Misbehaviour::Status(403, Vec::new()), "storage /"),
        (Misbehaviour::Status(500, Vec::new()), "/resolve/"),
        (Misbehaviour::Chunked, "storage /"),
    ] {
        for folder in ["work", "shards", "hf"] {
            drop(fs::remove_dir_all(bench.root().join(folder)));
        }
        bench.hub.spoil(on, 2, fault.clone());
        assert_eq!(bench.again().0, root, "{fault:?}");
        bench.hub.mend();
    }
    for folder in ["work", "shards", "hf"] {
        drop(fs::remove_dir_all(bench.root().join(folder)));
    }
    // The first question plans; the file's address is only asked for by the build.
    let headers = vec![
        ("Location".to_owned(), "/other".to_owned()),
        (
            "X-Linked-Etag".to_owned(),
            format!("\"{}\"", "0".repeat(64)),
        ),
    ];
    bench
        .hub
        .spoil("/resolve/", 1, Misbehaviour::Status(302, headers));
    bench
        .hub
        .spoil("/other", 1, Misbehaviour::Status(200, Vec::new()));
    ended(&mut bench.build()).with(30, &[PATH, "content named", &"0".repeat(64)]);
}
