//! Models and tokenizers that a recipe names on the hub: pinned, verified, shared with other clients of the cache, and judged
//! with as if they lay here.

use std::path::Path;
use std::process::Command;

use andromeda_tests::corpus::{write_manifest, write_recipe, write_tokenizer};
use andromeda_tests::{HubConfig, LoopbackHub, Misbehaviour, Repository};
use fs_err as fs;
use tempfile::TempDir;

use super::{andromeda, ended, only_build, root_hash};

const TREE: &[u8] = include_bytes!("../../pipeline/tests/fasttext/tree.bin");
const SOFTMAX: &[u8] = include_bytes!("../../pipeline/tests/fasttext/softmax.bin");
const MODEL: &str = "hf://owner/languages/tree.bin";
const TOKENIZER: &str = "hf://owner/tokens";

struct Bench {
    hub: LoopbackHub,
    folder: TempDir,
}

/// A recipe without the search for near duplicates: texts here are alike.
fn recipe(model: &str, tokenizer: &str) -> String {
    format!(
        "seed = 7\n[profile.plain.language]\nmodel = \"{model}\"\nallowed = [\"en\", \"de\"]\nmin-score = 0.2\n[dedup]\nexact = true\n[tokenize]\n\
         tokenizer = \"{tokenizer}\"\n[split]\nval = 0.2\ntest = 0.2\n[shard]\ntokens = 4096\nframe-tokens = 1024\n"
    )
}

impl Bench {
    fn new(config: HubConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifests = folder.path().join("manifests");
        write_tokenizer(&manifests);
        let tokenizer = fs::read(manifests.join("tokenizers/andromeda-16k.json")).unwrap();
        fs::create_dir_all(manifests.join("models")).unwrap();
        fs::write(manifests.join("models/tree.bin"), TREE).unwrap();
        write_recipe(
            &manifests,
            "here",
            &recipe("models/tree.bin", "tokenizers/andromeda-16k.json"),
        );
        write_recipe(&manifests, "there", &recipe(MODEL, TOKENIZER));
        fs::create_dir_all(folder.path().join("corpus")).unwrap();
        let lines: Vec<String> = (0..40)
            .map(|i| {
                let text = match i % 2 {
                    0 => format!(
                        "The old mill of page {i} stands by the river, and nobody asks why it does."
                    ),
                    _ => format!(
                        "Die alte Mühle von Seite {i} steht am Fluss, und niemand fragt, warum."
                    ),
                };
                serde_json::json!({ "text": text }).to_string()
            })
            .collect();
        fs::write(folder.path().join("corpus/x.jsonl"), lines.join("\n")).unwrap();
        write_manifest(
            &manifests,
            "own",
            "tiers = [\"high\"]\n",
            "../../corpus",
            "",
        );
        let repositories = [
            Repository::from_files(
                "models/owner/languages",
                [("tree.bin", TREE.to_vec()), ("README.md", b"x".to_vec())],
            ),
            Repository::from_files("models/owner/tokens", [("tokenizer.json", tokenizer)]),
        ];
        Self {
            hub: LoopbackHub::start(config, repositories).unwrap(),
            folder,
        }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, arguments: &str) -> Command {
        let mut command = andromeda(self.root(), arguments);
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.root().join("hf"))
            .env_remove("HF_TOKEN")
            .env_remove("HF_HUB_OFFLINE");
        command
    }

    /// Builds anew from a recipe and returns the root hash.
    fn build(&self, recipe: &str) -> String {
        for folder in ["shards", "work"] {
            drop(fs::remove_dir_all(self.root().join(folder)));
        }
        ended(&mut self.run(&format!("build --dataset own --recipe {recipe}"))).with(0, &[]);
        root_hash(self.root())
    }

    fn manifest(&self) -> serde_json::Value {
        let manifest = only_build(self.root()).join("manifest.json");
        serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap()
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.root().join("manifests/datasets.lock")).unwrap()
    }
}

#[test]
fn a_model_and_a_tokenizer_of_the_hub_build_what_the_same_files_build_from_here() {
    let bench = Bench::new(HubConfig::default());
    bench.build("here");
    let mut from_here = bench.manifest();
    let there = bench.build("there");
    let mut from_there = bench.manifest();
    let tokenizer = from_there["recipe"]["tokenize"]["tokenizer"].take();
    let tokenizer = tokenizer.as_str().unwrap();
    assert!(
        tokenizer.starts_with("hf://owner/tokens@") && tokenizer.ends_with("/tokenizer.json"),
        "{tokenizer}"
    );
    // Nothing else differs, the name with the plan's fingerprint included.
    from_here["recipe"]["tokenize"]["tokenizer"].take();
    for manifest in [&mut from_here, &mut from_there] {
        manifest["root"].take();
    }
    assert_eq!(from_here, from_there);
    let lock = bench.lock();
    for pinned in ["models/owner/languages@main", "models/owner/tokens@main"] {
        assert!(lock.contains(pinned), "{lock}");
    }
    // The cache is laid out as all clients of the hub have it.
    for folder in ["models--owner--languages", "models--owner--tokens"] {
        assert!(
            bench
                .root()
                .join("hf/hub")
                .join(folder)
                .join("snapshots")
                .is_dir()
        );
    }
    // Nothing is asked for again, with or without the hub.
    drop(bench.hub.take_seen());
    assert_eq!(bench.build("there"), there);
    let asked = bench.hub.take_seen();
    assert!(
        asked.iter().all(|seen| seen.target.contains("/tree/")),
        "{asked:?}"
    );
    fs::remove_dir_all(bench.root().join("shards")).unwrap();
    let mut offline = bench.run("build --dataset own --recipe there");
    ended(offline.env("HF_HUB_OFFLINE", "1")).with(0, &[]);
    assert_eq!(root_hash(bench.root()), there);

    // Another commit is taken when its line is deleted from the lock file, and not before.
    let other = Repository::from_files("models/owner/languages", [("tree.bin", SOFTMAX.to_vec())]);
    let commit = other.commit.clone();
    bench.hub.publish(other);
    assert_eq!(bench.build("there"), there);
    fs::remove_file(bench.root().join("manifests/datasets.lock")).unwrap();
    assert_ne!(bench.build("there"), there);
    assert!(bench.lock().contains(&commit));
    // A commit that is named needs no lock file.
    let pinned = recipe(
        &format!("hf://owner/languages@{commit}/tree.bin"),
        TOKENIZER,
    );
    write_recipe(&bench.root().join("manifests"), "pinned", &pinned);
    assert_ne!(bench.build("pinned"), there);
}

#[test]
fn what_cannot_be_had_from_the_hub_stops_the_plan_and_says_where_and_why() {
    let bench = Bench::new(HubConfig {
        gated: ["models/owner/tokens".to_owned()].into(),
        ..HubConfig::default()
    });
    let plan = |model: &str, tokenizer: &str| {
        write_recipe(
            &bench.root().join("manifests"),
            "wrong",
            &recipe(model, tokenizer),
        );
        ended(&mut bench.run("plan --dataset own --recipe wrong"))
    };
    let tokenizer = "tokenizers/andromeda-16k.json";
    plan("hf://owner/languages/three.bin", tokenizer).with(
        2,
        &[
            "wrong.toml",
            "`models/owner/languages` has no file `three.bin`",
            "`tree.bin`",
        ],
    );
    plan("hf://owner/languages", tokenizer).with(2, &["wrong.toml", "lacks the path of a file"]);
    plan("hf://languages", tokenizer).with(2, &["lacks the owner or the name"]);
    plan("hf://owner/none/tree.bin", tokenizer).with(
        20,
        &[
            "wrong.toml names hf://owner/none/tree.bin",
            "models/owner/none",
        ],
    );
    plan("hf://owner/languages/README.md", tokenizer).with(2, &["no fastText model"]);
    plan(MODEL, TOKENIZER).with(
        20,
        &[
            "names hf://owner/tokens",
            "model `models/owner/tokens` is gated",
            "HF_TOKEN",
        ],
    );
    bench
        .hub
        .spoil("storage /", 100, Misbehaviour::Corrupt(1000));
    drop(fs::remove_dir_all(bench.root().join("hf")));
    plan(MODEL, tokenizer).with(30, &["names hf://owner/languages/tree.bin"]);
    bench.hub.mend();
    plan(MODEL, tokenizer).with(0, &[]);
}

#[test]
fn languages_are_told_by_a_model_of_the_hub() {
    let bench = Bench::new(HubConfig::default());
    let identify = format!("language identify corpus --model {MODEL}");
    let there = bench.run(&identify).output().unwrap();
    let here = bench
        .run("language identify corpus --model manifests/models/tree.bin")
        .output()
        .unwrap();
    assert!(
        there.status.success(),
        "{}",
        String::from_utf8_lossy(&there.stderr)
    );
    assert_eq!(there.stdout, here.stdout);
    assert!(!here.stdout.is_empty());
    ended(&mut bench.run("language identify corpus --model hf://owner/languages/no.bin"))
        .with(2, &["has no file"]);
}
