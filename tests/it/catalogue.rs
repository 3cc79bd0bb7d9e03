//! The catalogue at the program's boundary: what is wrong with a manifest is shown with the place and the way out; configs,
//! budgets, benchmarks, terms and stand-ins come out of a plan and a build as they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use andromeda_tests::corpus::{Random, json_line, text, write_recipe, write_tokenizer};
use andromeda_tests::{HubConfig, LoopbackHub, Repository};
use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, andromeda, ended, only_build};

const RECIPE: &str = "\
seed = 1
[profile.plain.length]
min-characters = 1
[profile.task.length]
min-characters = 1
[profile.web.length]
min-characters = 1
[profile.code.length]
min-characters = 1
[split]
val = 0.01
test = 0.01
[shard]
tokens = 65536
frame-tokens = 1024
";

/// A hub, and a folder with manifests, work and cache.
struct Bench {
    hub: LoopbackHub,
    folder: TempDir,
}

impl Bench {
    fn new(repositories: Vec<Repository>) -> Self {
        let config = HubConfig {
            gated: BTreeSet::from(["owner/gated".to_owned()]),
            tokens: BTreeSet::from(["hf_good".to_owned()]),
            ..HubConfig::default()
        };
        let bench = Self {
            hub: LoopbackHub::start(config, repositories).unwrap(),
            folder: tempfile::tempdir().unwrap(),
        };
        let manifests = bench.path("manifests");
        fs::create_dir_all(manifests.join("datasets")).unwrap();
        write_recipe(&manifests, "small", RECIPE);
        write_tokenizer(&manifests);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn manifest(&self, name: &str, text: &str) {
        let file = self.path("manifests/datasets").join(format!("{name}.toml"));
        fs::write(file, text).unwrap();
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = andromeda(self.folder.path(), arguments);
        for variable in [
            "HF_TOKEN",
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "HF_TOKEN_PATH",
        ] {
            command.env_remove(variable);
        }
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.path("cache"));
        command
    }

    #[track_caller]
    fn run(&self, arguments: &str, code: i32) -> Ended {
        ended(&mut self.command(arguments)).with(code, &[])
    }

    #[track_caller]
    fn json(&self, arguments: &str) -> Value {
        let said = self.run(&format!("{arguments} --json"), 0);
        serde_json::from_str(&said.stdout).unwrap()
    }

    /// By dataset and tier: the paths that a plan takes, out of the memory of a build's manifest after it.
    #[track_caller]
    fn build(&self, arguments: &str) -> andromeda_format::Manifest {
        let _ = fs::remove_dir_all(self.path("shards"));
        self.run(&format!("build {arguments} --recipe small"), 0);
        let build = andromeda_format::Build::open(&only_build(self.folder.path())).unwrap();
        build.manifest().clone()
    }
}

fn sentences(seed: u64, rows: usize) -> Vec<u8> {
    let mut random = Random(seed << 32);
    let rows = (0..rows).map(|_| json_line(&text(&mut random, 60)).into_bytes());
    rows.flatten().collect()
}

fn glue() -> Repository {
    let rows = |rows: &[Value]| -> Vec<u8> {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        lines.join("\n").into_bytes()
    };
    let cola = |n: usize| json!({"sentence": format!("Sentence {n} of the task."), "label": n % 2});
    let qqp = |n: usize| json!({"q": format!("What is {n}?"), "a": format!("It is {n}.")});
    let of = |row: &dyn Fn(usize) -> Value, from: usize| -> Vec<u8> {
        rows(&(from..from + 20).map(row).collect::<Vec<_>>())
    };
    Repository::from_files(
        "owner/glue",
        [
            ("README.md", b"---\nlicense: mit\n---\n# Glue\n".to_vec()),
            ("cola/train-00000-of-00002.jsonl", of(&cola, 0)),
            ("cola/train-00001-of-00002.jsonl", of(&cola, 20)),
            ("cola/test-00000-of-00001.jsonl", of(&cola, 40)),
            ("qqp/train-00000-of-00001.jsonl", of(&qqp, 0)),
            ("qqp/test-00000-of-00001.jsonl", of(&qqp, 20)),
        ],
    )
}

const GLUE: &str = r#"name = "glue"
description = "Two tasks."
tiers = ["high"]
profile = "plain"
licence = "per task"
[source.hub]
repository = "owner/glue"
evaluation-files = ["*/test-*.jsonl"]
[render]
template = "{sentence}\n{label?bad|good}"
[[config]]
name = "cola"
files = ["cola/*.jsonl"]
[[config.example]]
row = { sentence = "So be it.", label = 1 }
text = "So be it.\ngood"
[[config]]
name = "qqp"
files = ["qqp/train-*.jsonl"]
kind = "chat"
profile = "task"
licence = "CC-BY-NC-4.0"
licence-note = "not for money"
rows = 20
[config.render]
exchange = { prompt = "q", response = "a" }
[[config.example]]
row = { q = "Why?", a = "So." }
text = "\n\nHuman: Why?\n\nAssistant: So."
trained = " So."
"#;

fn owner() -> Repository {
    Repository::from_files(
        "owner/name",
        [
            ("en/x-train.00000-of-00002.jsonl", sentences(1, 30)),
            ("en/x-train.00001-of-00002.jsonl", sentences(2, 30)),
            ("en/x-validation.00000-of-00001.jsonl", sentences(3, 30)),
        ],
    )
}

const OWN: &str = r#"name = "own"
description = "A few texts."
tiers = ["low"]
profile = "plain"
licence = "CC0-1.0"
[source.hub]
repository = "owner/name"
files = ["en/x-train.*.jsonl"]
[render]
text = "text"
[[example]]
row = { text = "hello" }
text = "hello"
"#;

#[test]
fn every_mistake_is_shown_with_its_place_and_what_to_write() {
    let bench = Bench::new(vec![owner(), glue()]);
    // What is changed in a good manifest, the command, and all that is said.
    let cases: [(&str, &str, &str, &str, &str); 14] = [
        (
            OWN,
            "profile",
            "profil",
            "own",
            r#"
manifests/datasets/own.toml:4:1: unknown field `profil`, expected one of `name`, `description`, `tiers`, `kind`, `profile`, `licence`, `licence-note`, `stands-in-for`, `evaluation`, `near-duplicates`, `size-bytes`, `rows`, `homepage`, `budget-bytes`, `source`, `read`, `render`, `config`, `example`
  |
4 | profil = "plain"
  | ^^^^^^
  hint: did you mean `profile`?"#,
        ),
        (
            OWN,
            "profile = \"plain\"\n",
            "",
            "own",
            r#"
manifests/datasets/own.toml: the dataset names no profile
  hint: write profile = "web" for running text, "prose" for documentation, "code", or "task" for rows of tasks and conversations"#,
        ),
        (
            OWN,
            "licence = \"CC0-1.0\"\n",
            "",
            "own",
            r#"
manifests/datasets/own.toml: the dataset says no licence
  hint: write licence = "CC-BY-4.0" (its SPDX identifier), or what is known of it in words, such as licence = "none stated by the publisher""#,
        ),
        (
            OWN,
            "x-train.*.jsonl",
            "x-trian.*.jsonl",
            "own",
            r#"
manifests/datasets/own.toml:8:1: dataset `own`: `en/x-trian.*.jsonl` matches none of the 3 files at hub:owner/name@COMMIT
  |
8 | files = ["en/x-trian.*.jsonl"]
  | ^^^^^
  hint: there are `en/x-train.*-of-*.jsonl` (2 files), `en/x-validation.*-of-*.jsonl`"#,
        ),
        (
            GLUE,
            "qqp/train-*",
            "qqp/dev-*",
            "glue",
            r#"
manifests/datasets/glue.toml:19:1: dataset `glue/qqp`: `qqp/dev-*.jsonl` matches none of the 6 files at hub:owner/glue@COMMIT
   |
19 | files = ["qqp/dev-*.jsonl"]
   | ^^^^^
  hint: there are `qqp/test-*-of-*.jsonl`, `qqp/train-*-of-*.jsonl`, `cola/test-*-of-*.jsonl`, `cola/train-*-of-*.jsonl` (2 files), `README.md`"#,
        ),
        (
            OWN,
            "repository = \"owner/name\"",
            "gated = true\nrepository = \"owner/name\"",
            "own",
            r#"
manifests/datasets/own.toml:7:1: the dataset is gated and does not say how to get access
  |
7 | gated = true
  | ^^^^^
  hint: write access = "Accept the terms at https://huggingface.co/datasets/owner/name, then set HF_TOKEN.""#,
        ),
        (
            GLUE,
            "name = \"qqp\"",
            "name = \"cola\"",
            "glue",
            r#"
manifests/datasets/glue.toml:18:1: the config `cola` is there twice
   |
18 | name = "cola"
   | ^^^^
  hint: give each its own name, or put their files into one"#,
        ),
        (
            GLUE,
            "text = \"So be it.\\ngood\"",
            "text = \"So be it.\\nbad\"",
            "glue",
            r#"
manifests/datasets/glue.toml:16:1: the example gives "So be it.\ngood", not "So be it.\nbad"
   |
16 | text = "So be it.\nbad"
   | ^^^^
  hint: they differ from character 11 on; mend the text, or [render]"#,
        ),
        (
            GLUE,
            "trained = \" So.\"",
            "trained = \"Why?\"",
            "glue",
            r#"
manifests/datasets/glue.toml:30:1: the example trains " So.", not "Why?"
   |
30 | trained = "Why?"
   | ^^^^^^^
  hint: write what carries loss: all of a text, the assistant's turns with the blank before each, the chosen answer, the steps before a wrong one"#,
        ),
        (
            GLUE,
            "row = { q = \"Why?\"",
            "row = { question = \"Why?\"",
            "glue",
            r#"
manifests/datasets/glue.toml:28:1: the example gives no document: field q is missing
   |
28 | row = { question = "Why?", a = "So." }
   | ^^^
  hint: the row has the fields a, question; mend it, or [render]"#,
        ),
        (
            GLUE,
            "profile = \"task\"",
            "profile = \"taks\"",
            "glue",
            r#"
manifests/datasets/glue.toml:21:1: the recipe `small` has no profile `taks`
   |
21 | profile = "taks"
   | ^^^^^^^
  hint: did you mean `task`?"#,
        ),
        (
            GLUE,
            "kind = \"chat\"\n",
            "",
            "glue",
            r#"
manifests/datasets/glue.toml:28:1: the kind is text, but the row gives a dialogue
   |
28 | text = "\n\nHuman: Why?\n\nAssistant: So."
   | ^^^^
  hint: write the kind that [render] makes: text, chat, preference or process"#,
        ),
        (
            OWN,
            "tiers = [\"low\"]",
            "tiers = [\"low\"]\nbudget-bytes = { high = 5 }",
            "own",
            r#"
manifests/datasets/own.toml:4:1: the budgets are not those of the dataset's tiers
  |
4 | budget-bytes = { high = 5 }
  | ^^^^^^^^^^^^
  hint: write one a tier, budget-bytes = { low = 20000000000 }, or a single number for all"#,
        ),
        (
            OWN,
            "[source.hub]\nrepository = \"owner/name\"\nfiles = [\"en/x-train.*.jsonl\"]\n",
            "",
            "own",
            r#"
manifests/datasets/own.toml: a dataset has exactly one source
  hint: write one of [source.hub], [source.folder], [source.cargo], [source.web], [source.url-list], [source.store]"#,
        ),
    ];
    for (good, from, to, name, expected) in cases {
        assert!(good.contains(from), "{from}");
        bench.manifest(name, &good.replacen(from, to, 1));
        let said = bench.run(&format!("plan --dataset {name} --recipe small"), 2);
        let commit = said.stderr.split_once('@').map(|(_, rest)| &rest[..40]);
        let stderr = commit.map_or(said.stderr.clone(), |commit| {
            said.stderr.replace(commit, "COMMIT")
        });
        let expected = format!("error: {}\n", &expected[1..]);
        assert!(stderr == expected, "{to:?}\n{stderr}\n--- not\n{expected}");
        assert_eq!(said.stdout, "");
        bench.manifest(name, good);
        bench.run(&format!("plan --dataset {name} --recipe small"), 0);
    }
}

#[test]
fn a_field_that_the_first_rows_lack_is_an_error_before_a_whole_run() {
    let bench = Bench::new(vec![owner(), glue()]);
    bench.manifest(
        "own",
        &OWN.replace("\"text\"\n[[example]]", "\"content\"\n[[example]]")
            .replace("{ text =", "{ content ="),
    );
    // A remote file is looked at when it has come, a local one before anything is done.
    bench.run("plan --dataset own --recipe small", 0);
    let expected = |file: &str| {
        format!(
            "dataset `own`, {file}: field content is missing in all of its first 20 rows\n  |\n9 | [render]\n  |  ^^^^^^\n  \
             hint: its fields are text; name one of them in [render]\n"
        )
    };
    let said = bench.run("build --dataset own --recipe small", 2);
    let place = "error: manifests/datasets/own.toml:9:2: ";
    assert!(
        said.stderr.ends_with(&format!(
            "{place}{}",
            expected("en/x-train.00000-of-00002.jsonl")
        )),
        "{}",
        said.stderr
    );
    fs::create_dir_all(bench.path("texts")).unwrap();
    fs::write(bench.path("texts/a.jsonl"), sentences(1, 30)).unwrap();
    let local = OWN
        .replace("[source.hub]", "[source.folder]")
        .replace("repository = \"owner/name\"", "path = \"../../texts\"")
        .replace("en/x-train.*.jsonl", "*.jsonl")
        .replace("\"text\"\n[[example]]", "\"content\"\n[[example]]")
        .replace("{ text =", "{ content =");
    bench.manifest("own", &local);
    let said = bench.run("plan --dataset own --recipe small", 2);
    assert_eq!(said.stderr, format!("{place}{}", expected("a.jsonl")));
    // A field that is there and is null in the first rows may be filled in later ones.
    let mut rows = b"{\"content\": null}\n".repeat(40);
    rows.extend(b"{\"content\": \"here it is\"}\n");
    fs::write(bench.path("texts/a.jsonl"), rows).unwrap();
    bench.run("plan --dataset own --recipe small", 0);
    // Rows that lack it now and then are what the run counts.
    let mut rows = sentences(1, 30);
    rows.extend(b"{\"content\": \"here it is\"}\n");
    rows.rotate_right(27);
    fs::write(bench.path("texts/a.jsonl"), rows).unwrap();
    bench.run("plan --dataset own --recipe small", 0);
}

#[test]
fn each_config_is_a_dataset_of_the_plan_the_build_and_the_command_line() {
    let bench = Bench::new(vec![glue()]);
    bench.manifest("glue", GLUE);
    let downloads = || {
        let plan = bench.json("plan --dataset glue --recipe small");
        plan["estimate"]["download_bytes"].as_u64().unwrap()
    };
    assert!(downloads() > 0);
    let manifest = bench.build("--dataset glue");
    assert_eq!(downloads(), 0, "what is here is not counted again");
    let told: Vec<_> = manifest
        .datasets
        .iter()
        .map(|d| {
            (
                d.name.as_str(),
                d.kind.as_str(),
                d.licence.as_str(),
                d.files.len(),
                d.funnel.documents_in,
            )
        })
        .collect();
    // The test files of cola match its pattern and are held out all the same.
    assert_eq!(
        told,
        [
            ("glue/cola", "text", "per task", 2, 40),
            ("glue/qqp", "chat", "CC-BY-NC-4.0", 1, 20)
        ]
    );
    assert!(manifest.name.starts_with("glue-"));
    let one = bench.build("--dataset glue/qqp");
    assert!(one.name.starts_with("glue-qqp-"), "{}", one.name);
    assert_eq!(one.datasets.len(), 1);
    let plan = bench.json("plan --dataset glue --recipe small");
    assert_eq!(
        plan["datasets"][0]["notes"],
        json!(["1 file is held out for evaluation"])
    );
    // Whoever holds nothing out is told what the names say.
    bench.manifest(
        "glue",
        &GLUE.replace("evaluation-files = [\"*/test-*.jsonl\"]\n", ""),
    );
    let careless = bench.json("plan --dataset glue --recipe small");
    assert_eq!(
        careless["datasets"][0]["notes"],
        json!([
            "1 of its 3 files are named after a test or validation split; evaluation-files would hold them out"
        ])
    );
    // Published rows beat a guess by size.
    assert_eq!(plan["datasets"][1]["documents"], 20);
    assert_eq!(
        plan["licences"],
        json!([
            {"licence": "CC-BY-NC-4.0", "note": "not for money", "datasets": ["glue/qqp"]},
            {"licence": "per task", "note": null, "datasets": ["glue/cola"]}
        ])
    );
}

/// A repository of 40 files of about a kilobyte.
fn many() -> (Repository, u64) {
    let files: Vec<(String, Vec<u8>)> = (0..40)
        .map(|n| (format!("part-{n:02}.jsonl"), sentences(n, 3)))
        .collect();
    let bytes = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let files = files
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.clone()));
    (Repository::from_files("owner/many", files), bytes)
}

/// The files that a build took, by dataset and tier.
fn taken(manifest: &andromeda_format::Manifest) -> BTreeMap<(String, String), BTreeSet<String>> {
    let mut taken = BTreeMap::new();
    for dataset in &manifest.datasets {
        let files = dataset.files.iter().map(|file| file.path.clone()).collect();
        taken.insert((dataset.name.clone(), dataset.tier.clone()), files);
    }
    taken
}

#[test]
fn a_later_tier_takes_the_files_beyond_the_earlier_ones_budget() {
    let (repository, bytes) = many();
    let bench = Bench::new(vec![repository]);
    let manifest = |high: u64, medium: u64| {
        let text = OWN
            .replace("\"own\"", "\"many\"")
            .replace("owner/name", "owner/many")
            .replace("en/x-train.*.jsonl", "*.jsonl")
            .replace(
                "tiers = [\"low\"]",
                &format!("tiers = [\"high\", \"medium\"]\nbudget-bytes = {{ high = {high}, medium = {medium} }}"),
            );
        bench.manifest("many", &text);
    };
    manifest(bytes / 4, bytes / 2);
    let of = |arguments: &str| taken(&bench.build(arguments));
    let key = |tier: &str| ("many".to_owned(), tier.to_owned());
    let high = of("--priority high");
    let medium = of("--priority medium");
    let both = of("--priority high,medium");
    let (first, second) = (&high[&key("high")], &medium[&key("medium")]);
    assert!((8..=10).contains(&first.len()), "{first:?}");
    assert!((18..=21).contains(&second.len()), "{second:?}");
    assert!(first.is_disjoint(second));
    assert_eq!(
        (&both[&key("high")], &both[&key("medium")]),
        (first, second)
    );
    // Spread out: the first and the last third of the names have files in the smaller share.
    assert!(
        first.iter().any(|path| path.as_str() < "part-13"),
        "{first:?}"
    );
    assert!(
        first.iter().any(|path| path.as_str() > "part-26"),
        "{first:?}"
    );
    // A larger budget takes the same and more.
    manifest(bytes / 3, bytes / 2);
    let more = of("--priority high");
    assert!(first.is_subset(&more[&key("high")]) && more[&key("high")].len() > first.len());
    manifest(bytes / 4, bytes / 2);
    assert_eq!(of("--priority high --budget full")[&key("high")].len(), 40);
    let full = of("--priority high,medium --budget full");
    assert_eq!(&full[&key("high")], first);
    assert_eq!(full[&key("medium")].len(), 40 - first.len());
}

#[test]
fn a_budget_smaller_than_a_file_takes_blocks_from_all_over_it() {
    let rows = sentences(7, 400);
    let bytes = rows.len() as u64;
    let bench = Bench::new(vec![Repository::from_files(
        "owner/one",
        [("x.jsonl", rows)],
    )]);
    let text = OWN
        .replace("\"own\"", "\"one\"")
        .replace("owner/name", "owner/one")
        .replace("en/x-train.*.jsonl", "x.jsonl")
        .replace("[render]", "[read]\nblock-bytes = 4000\n[render]");
    let with_budget = |budget: &str| {
        bench.manifest("one", &text.replace("tiers", &format!("{budget}\ntiers")));
    };
    with_budget(&format!("budget-bytes = {}", bytes / 4));
    let plan = bench.json("plan --dataset one --recipe small");
    assert_eq!(
        plan["datasets"][0]["notes"],
        json!([
            "its file is larger than the budget: 25 % of the file's blocks are read, evenly spread"
        ])
    );
    let quarter = bench.build("--dataset one").datasets[0].funnel.documents_in;
    assert!((80..=130).contains(&quarter), "{quarter}");
    let life = bench.json("why one/x.jsonl#0 --most 1");
    assert_eq!(life["document"]["id"], "one/x.jsonl#0");
    let ids: Vec<u64> = bench
        .run("why one/x.jsonl --most 400 --json", 0)
        .stdout
        .lines()
        .map(|line| {
            let life: Value = serde_json::from_str(line).unwrap();
            life["document"]["id"]
                .as_str()
                .unwrap()
                .split_once('#')
                .unwrap()
                .1
                .parse()
                .unwrap()
        })
        .collect();
    assert_eq!(ids.len() as u64, quarter);
    for part in 0..4 {
        let there = ids
            .iter()
            .filter(|row| (part * 100..part * 100 + 100).contains(*row));
        assert!(there.count() > 10, "{part}: {ids:?}");
    }
    assert_eq!(
        bench.build("--dataset one --budget full").datasets[0]
            .funnel
            .documents_in,
        400
    );
    // Its only file is the high tier's.
    let two = text.replace(
        "tiers = [\"low\"]",
        "tiers = [\"high\", \"low\"]\nbudget-bytes = { high = 5, low = 5 }",
    );
    bench.manifest("one", &two);
    let said = bench.run("plan --priority low --recipe small", 2);
    assert!(
        said.stderr
            .contains("nothing is left to build\n  hint: one: the budget"),
        "{}",
        said.stderr
    );
}

#[test]
fn what_cannot_fit_is_refused_with_the_number_and_the_flag_that_helps() {
    let bench = Bench::new(vec![owner()]);
    bench.manifest("own", OWN);
    let plan = "plan --dataset own --recipe small --threads";
    let needs = |threads: u64| {
        let plan = bench.json(&format!("{plan} {threads}"));
        plan["estimate"]["memory_bytes"].as_u64().unwrap()
    };
    let (one, four) = (needs(1), needs(4));
    let between = one.midpoint(four);
    let said = bench.run(&format!("{plan} 4 --memory {between}"), 10);
    let megabytes = |bytes: u64| bytes / 1_000_000;
    for word in [
        format!(
            "needs about {} MB and {} MB are allowed",
            megabytes(four),
            megabytes(between)
        ),
        format!(
            "--threads 2 fits, or give --memory {}M",
            four.div_ceil(1 << 20)
        ),
    ] {
        assert!(said.stderr.contains(&word), "{word}: {}", said.stderr);
    }
    bench.run(&format!("{plan} 2 --memory {between}"), 0);
    let said = bench.run(&format!("{plan} 4 --memory 1M"), 10);
    assert!(
        said.stderr.contains("give --memory ") && !said.stderr.contains("fits"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_budget_is_divided_among_configs_by_their_size_and_leaves_none_of_them_out() {
    let bench = Bench::new(vec![glue()]);
    let with_budget = |bytes: u64| {
        let text = GLUE.replacen("profile", &format!("budget-bytes = {bytes}\nprofile"), 1);
        bench.manifest("glue", &text);
        let plan = bench.json("plan --dataset glue --recipe small");
        let datasets = plan["datasets"].as_array().unwrap().clone();
        datasets
            .into_iter()
            .map(|d| {
                let number = |key: &str| d[key].as_u64().unwrap();
                (
                    number("files"),
                    number("left_out_files"),
                    d["notes"].to_string(),
                )
            })
            .collect::<Vec<_>>()
    };
    // About 1,000 bytes a file: two files and one.
    let [cola, qqp] = with_budget(2_500).try_into().unwrap();
    assert_eq!((cola.0, cola.1, qqp.0, qqp.1), (1, 1, 1, 0));
    assert!(cola.2.contains("the budget takes 1 of 2 files"), "{cola:?}");
    assert!(
        qqp.2.contains("its file is larger than the budget"),
        "{qqp:?}"
    );
    let [cola, qqp] = with_budget(10_000).try_into().unwrap();
    assert_eq!((cola.0, qqp.0), (2, 1));
    // A config's own budget is beside that of the others.
    let own = GLUE.replace("rows = 20", "budget-bytes = 100").replacen(
        "profile",
        "budget-bytes = 10000\nprofile",
        1,
    );
    bench.manifest("glue", &own);
    let plan = bench.json("plan --dataset glue --recipe small");
    assert_eq!(plan["datasets"][0]["files"], 2);
    assert!(
        plan["datasets"][1]["notes"]
            .to_string()
            .contains("larger than the budget")
    );
}

#[test]
fn a_benchmark_is_no_training_data_unless_a_person_insists_and_then_the_build_says_so() {
    let bench = Bench::new(vec![owner(), glue()]);
    bench.manifest("own", OWN);
    let benchmark = GLUE.replace("tiers = [\"high\"]", "tiers = [\"low\"]\nevaluation = true");
    bench.manifest("glue", &benchmark);
    let manifest = bench.build("--priority low");
    assert_eq!(manifest.datasets.len(), 1);
    assert!(manifest.contaminates.is_empty());
    let plan = bench.run("plan --priority low --recipe small", 0);
    assert!(
        plan.stdout
            .contains("├─ without glue: a benchmark is no training data"),
        "{}",
        plan.stdout
    );
    let with = bench.build("--priority low --with-benchmarks");
    assert_eq!(with.datasets.len(), 3);
    assert_eq!(with.contaminates, ["glue"]);
    let shown = bench.run(&format!("inspect shards/{}", with.name), 0);
    assert!(
        shown.stdout.contains("holds rows of the benchmarks glue: "),
        "{shown:#?}"
    );
    let plan = bench.json("plan --priority low --recipe small --with-benchmarks");
    assert_eq!(plan["contaminates"], json!(["glue"]));
    let said = bench.run("plan --dataset glue --recipe small", 2);
    assert!(
        said.stderr.contains("hint: --with-benchmarks"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_gated_dataset_says_how_to_get_access_and_the_others_can_be_built_without() {
    let gated = Repository::from_files("owner/gated", [("x.jsonl", sentences(5, 30))]);
    let bench = Bench::new(vec![owner(), gated]);
    bench.manifest("own", OWN);
    let text = OWN
        .replace("\"own\"", "\"closed\"")
        .replace("owner/name", "owner/gated")
        .replace(
            "en/x-train.*.jsonl\"]",
            "x.jsonl\"]\ngated = true\naccess = \"Ask the owner.\"",
        );
    bench.manifest("closed", &text);
    let plan = "plan --priority low --recipe small";
    let refused = |said: &Ended| {
        assert!(
            said.stderr
                .contains("dataset closed: dataset `owner/gated` is gated"),
            "{}",
            said.stderr
        );
        assert!(
            said.stderr
                .contains("hint: Ask the owner.\n  hint: --skip-unavailable"),
            "{}",
            said.stderr
        );
    };
    refused(&bench.run(plan, 20));
    let without = bench.json(&format!("{plan} --skip-unavailable"));
    assert_eq!(without["datasets"].as_array().unwrap().len(), 1);
    assert_eq!(without["left_out"][0]["name"], "closed");
    let opened = ended(bench.command(plan).env("HF_TOKEN", "hf_good")).with(0, &[]);
    assert!(
        opened.stdout.contains("├─ gated   closed: opens to you"),
        "{}",
        opened.stdout
    );
    // Now commit and listing are known here, and still the files do not open without a token.
    refused(&bench.run(plan, 20));
    let said = ended(bench.command(plan).env("HF_TOKEN", "hf_other")).with(20, &[]);
    refused(&said);
    assert!(
        said.stderr.contains("its account has no access yet") && !said.stderr.contains("hf_other")
    );
}

#[test]
fn what_is_gone_is_told_all_at_once_and_the_rest_can_be_built_without() {
    let bench = Bench::new(vec![owner(), glue()]);
    bench.manifest("own", OWN);
    for name in ["moved", "removed"] {
        let text = OWN
            .replace("\"own\"", &format!("\"{name}\""))
            .replace("owner/name", &format!("owner/{name}"));
        bench.manifest(name, &text);
    }
    let glue = GLUE
        .replace("tiers = [\"high\"]", "tiers = [\"low\"]")
        .replace("qqp/train-*", "qqp/dev-*");
    let plan = "plan --priority low --recipe small";
    let said = ended(bench.command(plan).env("HF_TOKEN", "hf_good")).with(20, &[]);
    for name in ["moved", "removed"] {
        let gone = format!("dataset {name}: ");
        assert!(said.stderr.contains(&gone), "{}", said.stderr);
    }
    assert!(
        said.stderr
            .ends_with("\n  hint: --skip-unavailable builds the others without\n"),
        "{}",
        said.stderr
    );
    // Where nothing else was asked for, there is nothing to build without it.
    let said = bench.run("plan --dataset moved --recipe small", 20);
    assert!(
        !said.stderr.contains("--skip-unavailable"),
        "{}",
        said.stderr
    );
    bench.manifest("glue", &glue);
    let without = bench.json(&format!("{plan} --skip-unavailable"));
    let names = |list: &Value| -> Vec<String> {
        let items = list.as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&without["datasets"]), ["glue/cola", "own"]);
    assert_eq!(
        names(&without["left_out"]),
        ["glue/qqp", "moved", "removed"]
    );
    assert!(
        without["left_out"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("`qqp/dev-*.jsonl` matches no file at hub:owner/glue@")
    );
    // Without the flag, what is wrong with each config is told.
    bench.manifest("glue", &glue.replace("cola/*.jsonl", "coal/*.jsonl"));
    let said = bench.run("plan --dataset glue --recipe small", 2);
    for word in [
        "`coal/*.jsonl` matches none",
        "`qqp/dev-*.jsonl` matches none",
    ] {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
}

#[test]
fn published_rows_are_believed_as_far_as_the_files_can_hold_them() {
    let bench = Bench::new(vec![owner()]);
    let documents = |published: &str| {
        bench.manifest(
            "own",
            &OWN.replacen("profile", &format!("{published}profile"), 1),
        );
        let plan = bench.json("plan --dataset own --recipe small");
        plan["estimate"]["documents"].as_u64().unwrap()
    };
    let by_size = documents("");
    assert_eq!(documents("rows = 60\n"), 60);
    // A mirror with a few rows of a dataset of many.
    assert_eq!(documents("rows = 300000000\n"), by_size);
    let bytes = bench.json("plan --dataset own --recipe small")["datasets"][0]["bytes"]
        .as_u64()
        .unwrap();
    let published = format!("rows = 300000000\nsize-bytes = {}\n", bytes * 5_000_000);
    assert_eq!(documents(&published), 60);
}

#[test]
fn what_stands_in_for_what_is_told() {
    let bench = Bench::new(vec![owner()]);
    let named = "Falcon's books, never published: chosen for their licence";
    bench.manifest(
        "own",
        &OWN.replace("profile", &format!("stands-in-for = \"{named}\"\nprofile")),
    );
    let plan = bench.run("plan --dataset own --recipe small", 0);
    assert!(
        plan.stdout
            .contains(&format!("├─ own stands in for {named}")),
        "{}",
        plan.stdout
    );
    assert_eq!(bench.json("datasets show own")["stands_in_for"], named);
}

#[test]
fn the_catalogue_is_shown_as_a_table_and_each_dataset_whole() {
    let bench = Bench::new(vec![]);
    bench.manifest("glue", GLUE);
    bench.manifest("own", &OWN.replace("tiers = [\"low\"]", "tiers = []"));
    let said = bench.run("datasets", 0);
    let rows: Vec<Vec<&str>> = said
        .stdout
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(
        rows,
        [
            vec![
                "dataset", "tiers", "kind", "licence", "size", "budget", "gated", "source"
            ],
            vec![
                "glue (2 configs)",
                "high",
                "chat+text",
                "per task",
                "-",
                "all",
                "-",
                "hub:owner/glue"
            ],
            vec![
                "own",
                "-",
                "text",
                "CC0-1.0",
                "-",
                "all",
                "-",
                "hub:owner/name"
            ],
        ]
    );
    let all = bench.json("datasets");
    assert_eq!(all["datasets"][0]["configs"], json!(["cola", "qqp"]));
    let shown = bench.run("datasets show glue", 0).stdout;
    for line in [
        "  licence        CC-BY-NC-4.0",
        "  held out       */test-*.jsonl",
        "  gives          So be it.",
        "                 good",
        "glue/qqp",
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
    let one = bench.json("datasets show glue/qqp");
    assert_eq!(one["parts"].as_array().unwrap().len(), 1);
    assert_eq!(
        one["parts"][0]["examples"][0]["documents"][0]["text"],
        "\n\nHuman: Why?\n\nAssistant: So."
    );
    let said = bench.run("datasets show glue/qpq", 2);
    assert!(
        said.stderr.contains("did you mean `glue/qqp`?"),
        "{}",
        said.stderr
    );
    assert_eq!(bench.hub.connections(), 0);
}

#[test]
fn a_dataset_of_the_hub_is_drafted_planned_and_built_without_a_line_by_hand() {
    let bench = Bench::new(vec![owner(), glue()]);
    let said = bench.run("datasets add hf://owner/glue", 0);
    assert_eq!(said.stdout, "manifests/datasets/glue.toml\n");
    assert!(
        said.stderr
            .contains("looking at cola/train-00000-of-00002.jsonl"),
        "{}",
        said.stderr
    );
    let draft = fs::read_to_string(bench.path("manifests/datasets/glue.toml")).unwrap();
    for line in [
        "licence = \"MIT\" # As its card says. DECIDE whether that holds for all of it.",
        "files = [\"cola/train-*-of-*.jsonl\"]",
        "evaluation-files = [\"qqp/test-*-of-*.jsonl\"] # Never training data.",
    ] {
        assert!(draft.lines().any(|found| found == line), "{line}\n{draft}");
    }
    let manifest = bench.build("--dataset glue");
    assert_eq!(
        taken(&manifest)
            .into_values()
            .map(|files| files.len())
            .collect::<Vec<_>>(),
        [2, 1]
    );
    // What a person wrote since is not overwritten.
    let said = bench.run("datasets add hf://owner/glue", 2);
    assert!(
        said.stderr
            .contains("is not overwritten\n  hint: choose another name with --name"),
        "{}",
        said.stderr
    );
    assert_eq!(
        fs::read_to_string(bench.path("manifests/datasets/glue.toml")).unwrap(),
        draft
    );
    let added = bench.json("datasets add hf://owner/name --name other");
    assert_eq!(
        (&added["name"], &added["decisions"]),
        (&json!("other"), &json!(4))
    );
    assert_eq!(
        bench.build("--dataset other").datasets[0]
            .funnel
            .documents_in,
        60
    );
    for (wrong, code, word) in [
        ("owner/name", 2, "write hf://owner/name"),
        ("hf://owner/none", 20, "owner/none"),
        ("hf://owner/name@nowhere", 20, "revision `nowhere`"),
    ] {
        let said = bench.run(&format!("datasets add {wrong} --name new"), code);
        assert!(said.stderr.contains(word), "{wrong}: {}", said.stderr);
        assert!(!bench.path("manifests/datasets/new.toml").exists());
    }
}

/// What the first rows of real datasets must be taken for.
const REAL: [(&str, &str, &str); 16] = [
    ("Anthropic/hh-rlhf", "preference", "preference = {}"),
    ("QingyiSi/Alpaca-CoT", "chat", "instruction = {"),
    ("Skylion007/openwebtext", "text", "text = \"text\""),
    ("allenai/c4", "text", "text = \"text\""),
    (
        "anon8231489123/ShareGPT_Vicuna_unfiltered",
        "chat",
        "turns = { field = \"conversations\", role = \"from\", text = \"value\" }",
    ),
    ("bigcode/the-stack-dedup", "text", "text = \"content\""),
    (
        "databricks/databricks-dolly-15k",
        "chat",
        "instruction = { prompt = \"instruction\", input = \"context\", response = \"response\" }",
    ),
    (
        "deepmind/math_dataset",
        "text",
        "template = \"Question: {question}\\nAnswer: {answer}\"",
    ),
    (
        "dmayhem93/toolformer-v0-postprocessed",
        "text",
        "text = \"text\"",
    ),
    (
        "ehartford/wizard_vicuna_70k_unfiltered",
        "chat",
        "turns = {",
    ),
    ("nyu-mll/glue", "text", "text = \"sentence\""),
    (
        "openai/gsm8k",
        "text",
        "template = \"Question: {question}\\nAnswer: {answer}\"",
    ),
    (
        "tatsu-lab/alpaca",
        "chat",
        "instruction = { prompt = \"instruction\", input = \"input\", response = \"output\" }",
    ),
    ("tiiuae/falcon-refinedweb", "text", "text = \"content\""),
    (
        "timdettmers/openassistant-guanaco",
        "chat",
        "transcript = { field = \"text\"",
    ),
    ("yahma/alpaca-cleaned", "chat", "instruction = {"),
];

#[test]
fn real_datasets_are_drafted_as_what_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/hub");
    if !root.is_dir() {
        // Not asserted: the samples are not part of the repository.
        use std::io::Write as _;
        let _ = writeln!(
            std::io::stderr(),
            "skipped: no samples at {}",
            root.display()
        );
        return;
    }
    let bench = Bench::new(Repository::open_all(&root).unwrap());
    for (id, kind, render) in REAL {
        let added = bench.json(&format!("datasets add hf://{id} --name drafted"));
        assert_eq!(added["kinds"], json!([kind]), "{id}");
        let file = bench.path("manifests/datasets/drafted.toml");
        let draft = fs::read_to_string(&file).unwrap();
        assert!(
            draft.lines().any(|line| line.starts_with(render)),
            "{id}: no {render} in\n{draft}"
        );
        let plan = bench.json("plan --dataset drafted --recipe small");
        assert!(plan["estimate"]["documents"].as_u64().unwrap() > 0, "{id}");
        fs::remove_file(file).unwrap();
    }
}
