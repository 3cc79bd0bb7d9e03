//! Evaluation sets by name: out of the catalogue and the hub to the paths where the trainer's tasks look for them, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use andromeda_tests::{HubConfig, LoopbackHub, Repository};
use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

use super::datasets::{copy_tree, repository, samples};
use super::{Ended, andromeda, ended, files, tree};

/// A hub, and a folder with a catalogue to call the program in.
struct World {
    hub: LoopbackHub,
    folder: TempDir,
}

/// A set for evaluation alone, whose questions have examples before them.
const SOLVED: &str = "\
name = \"solved\"
description = \"Problems, after solved ones.\"
evaluation = true
profile = \"task\"
licence = \"MIT\"
[source.hub]
repository = \"owner/solved\"
files = [\"main/test-*.jsonl\"]
shot-files = [\"main/train-*.csv\"]
[render]
text = \"question\"
";

/// A set for training in two parts, of which one has held-out rows.
const PARTS: &str = "\
name = \"parts\"
description = \"Two parts.\"
tiers = [\"high\"]
profile = \"task\"
licence = \"CC0-1.0\"
licence-note = \"Nothing follows.\"
[source.hub]
repository = \"owner/parts\"
[render]
text = \"text\"
[[config]]
name = \"a\"
files = [\"a/train.jsonl\"]
evaluation-files = [\"a/validation/*.jsonl\"]
[[config]]
name = \"b\"
files = [\"b/train.jsonl\"]
licence = \"MIT\"
";

/// A set for training, and nothing else.
const PLAIN: &str = "\
name = \"plain\"
description = \"Rows.\"
tiers = [\"high\"]
profile = \"task\"
licence = \"CC0-1.0\"
[source.hub]
repository = \"owner/plain\"
files = [\"*.jsonl\"]
[render]
text = \"text\"
";

/// A benchmark that says its files as others say what they hold out.
const HELD: &str = "\
name = \"held\"
description = \"Rows.\"
evaluation = true
profile = \"task\"
licence = \"MIT\"
[source.hub]
repository = \"owner/held\"
evaluation-files = [\"test.tsv\"]
[render]
text = \"text\"
";

impl World {
    fn new(config: HubConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let datasets = folder.path().join("manifests/datasets");
        fs::create_dir_all(&datasets).unwrap();
        for (name, manifest) in [
            ("solved", SOLVED),
            ("parts", PARTS),
            ("plain", PLAIN),
            ("held", HELD),
        ] {
            fs::write(datasets.join(format!("{name}.toml")), manifest).unwrap();
        }
        let bytes = |text: &str| text.as_bytes().to_vec();
        let repositories = [
            Repository::from_files(
                "owner/solved",
                [
                    (
                        "main/test-0.jsonl",
                        bytes("{\"question\": \"é?\", \"n\": [1, 2.5]}\n{\"question\": null}\n"),
                    ),
                    (
                        "main/train-0.csv",
                        bytes("question,answer\n\"1, 2?\",3\nwhy?,so\n"),
                    ),
                    ("README.md", bytes("no rows")),
                ],
            ),
            Repository::from_files(
                "owner/parts",
                [
                    ("a/train.jsonl", bytes("{\"text\": \"train\"}\n")),
                    (
                        "a/validation/0000.jsonl",
                        bytes("{\"text\": \"held out\"}\n"),
                    ),
                    ("b/train.jsonl", bytes("{\"text\": \"train\"}\n")),
                ],
            ),
            Repository::from_files("owner/plain", [("x.jsonl", bytes("{\"text\": \"x\"}\n"))]),
            Repository::from_files("owner/held", [("test.tsv", bytes("text\tn\nx\t1\n"))]),
        ];
        let hub = LoopbackHub::start(config, repositories).unwrap();
        Self { hub, folder }
    }

    /// The catalogue as it is shipped, and a hub with some of the samples.
    fn shipped(samples: &Path, repositories: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("hub");
        for id in repositories {
            copy_tree(&samples.join(id), &root.join(id));
        }
        // Of ARC the samples have the validation split alone.
        for config in ["ARC-Challenge", "ARC-Easy"] {
            let of = root.join("allenai/ai2_arc").join(config);
            fs::copy(
                of.join("validation-00000-of-00001.parquet"),
                of.join("test-00000-of-00001.parquet"),
            )
            .unwrap();
        }
        copy_tree(
            &repository().join("manifests"),
            &folder.path().join("manifests"),
        );
        let hub = LoopbackHub::start(HubConfig::default(), []).unwrap();
        hub.serve_samples(&root).unwrap();
        Self { hub, folder }
    }

    fn command(&self, of: &str, more: &str) -> Command {
        let arguments = format!("rows --of {of} --out sets {more}");
        let mut command = andromeda(self.folder.path(), &arguments);
        for variable in [
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
        ] {
            command.env_remove(variable);
        }
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("ANDROMEDA_WEB_MIRROR", self.hub.mirror())
            .env("HF_HOME", self.folder.path().join("cache"));
        command
    }

    fn rows(&self, of: &str) -> Ended {
        ended(&mut self.command(of, ""))
    }

    /// The lines of every file of rows, by the path below the folder of all sets.
    fn lines(&self) -> BTreeMap<String, Vec<Value>> {
        let sets = self.folder.path().join("sets");
        let rows = files(&sets).into_iter().filter(|path| {
            let record = path.ends_with("andromeda-rows.json");
            assert!(record || path.extension().is_some_and(|e| e == "jsonl"));
            !record
        });
        let lines = rows.map(|path| {
            let name = path.strip_prefix(&sets).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let lines = text
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect();
            (name.to_owned(), lines)
        });
        lines.collect()
    }

    fn manifest(&self, name: &str) -> std::path::PathBuf {
        let datasets = self.folder.path().join("manifests/datasets");
        datasets.join(format!("{name}.toml"))
    }
}

fn rows_of(json: &str) -> Vec<Value> {
    json.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn sets_of_the_catalogue_are_where_the_tasks_look_for_them() {
    let Some(samples) = samples() else { return };
    let repositories = [
        "ybisk/piqa",
        "nyu-mll/glue",
        "aps/super_glue",
        "allenai/ai2_arc",
        "openai/gsm8k",
        "cais/mmlu",
        "openai/openai_humaneval",
    ];
    let world = World::shipped(&samples, &repositories);
    let all = "piqa,glue,super-glue,arc,gsm8k,mmlu,humaneval";
    let said = world.rows(all).with(0, &[]);
    let there: BTreeMap<String, usize> = world
        .lines()
        .into_iter()
        .map(|(path, lines)| (path, lines.len()))
        .collect();
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    let name = |path: &str| format!("{path}-00000-of-00001.jsonl");
    for (path, rows) in [
        ("allenai/ai2_arc/ARC-Challenge/test", 299),
        ("allenai/ai2_arc/ARC-Challenge/validation", 299),
        ("allenai/ai2_arc/ARC-Easy/test", 570),
        ("allenai/ai2_arc/ARC-Easy/validation", 570),
        ("aps/super_glue/boolq/test", 1),
        ("aps/super_glue/boolq/validation", 600),
        ("aps/super_glue/cb/test", 1),
        ("aps/super_glue/cb/validation", 56),
        ("aps/super_glue/copa/test", 1),
        ("aps/super_glue/copa/validation", 100),
        ("aps/super_glue/multirc/test", 58),
        ("aps/super_glue/multirc/validation", 4848),
        ("aps/super_glue/record/test", 1),
        ("aps/super_glue/record/validation", 32),
        ("aps/super_glue/rte/test", 1),
        ("aps/super_glue/rte/validation", 277),
        ("aps/super_glue/wic/test", 1),
        ("aps/super_glue/wic/validation", 638),
        ("aps/super_glue/wsc/test", 1),
        ("aps/super_glue/wsc/validation", 104),
        ("cais/mmlu/abstract_algebra/dev", 5),
        ("cais/mmlu/abstract_algebra/test", 100),
        ("cais/mmlu/high_school_us_history/dev", 5),
        ("cais/mmlu/high_school_us_history/test", 204),
        ("cais/mmlu/moral_scenarios/dev", 5),
        ("cais/mmlu/moral_scenarios/test", 895),
        ("nyu-mll/glue/cola/validation", 1043),
        ("nyu-mll/glue/mnli/validation_matched", 2),
        ("nyu-mll/glue/mnli/validation_mismatched", 2),
        ("nyu-mll/glue/mrpc/validation", 408),
        ("nyu-mll/glue/qnli/validation", 2000),
        ("nyu-mll/glue/qqp/validation", 3000),
        ("nyu-mll/glue/rte/validation", 277),
        ("nyu-mll/glue/sst2/validation", 872),
        ("nyu-mll/glue/stsb/validation", 1500),
        ("nyu-mll/glue/wnli/validation", 70),
        ("openai/gsm8k/main/test", 1319),
        ("openai/gsm8k/main/train", 2000),
        ("openai/openai_humaneval/openai_humaneval/test", 164),
    ] {
        expected.insert(name(path), rows);
    }
    // The hub's conversion names its files otherwise.
    expected.insert(
        "ybisk/piqa/plain_text/validation/0000.jsonl".to_owned(),
        1838,
    );
    assert_eq!(there, expected);
    for said_of in [
        "sets/ybisk/piqa: 1,838 rows of 1 files, ",
        "licence: not stated on the card (The authors publish it for research",
        "sets/openai/gsm8k: 3,319 rows of 2 files, ",
        "licence: MIT\n",
    ] {
        assert!(said.stdout.contains(said_of), "{said:#?}");
    }
    let fields = |path: &str| -> BTreeSet<String> {
        let lines = &world.lines()[path];
        lines[0].as_object().unwrap().keys().cloned().collect()
    };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let piqa: BTreeSet<String> = names(&["goal", "label", "sol1", "sol2"]);
    assert_eq!(fields("ybisk/piqa/plain_text/validation/0000.jsonl"), piqa);
    let stsb: BTreeSet<String> = names(&["idx", "label", "sentence1", "sentence2"]);
    assert_eq!(fields(&name("nyu-mll/glue/stsb/validation")), stsb);

    // Once is enough: nothing is asked of the hub, and nothing written.
    let before = tree(&world.folder.path().join("sets"));
    let _ = world.hub.take_seen();
    let again = world.rows(all).with(0, &[]);
    assert_eq!(again.stdout.matches("there before").count(), 7);
    assert_eq!(world.hub.take_seen(), []);
    assert_eq!(tree(&world.folder.path().join("sets")), before);
}

#[test]
fn held_out_rows_and_examples_become_lines_and_a_set_is_added_to_others() {
    let world = World::new(HubConfig::default());
    let said = world.rows("solved").with(0, &[]);
    assert!(
        said.stdout
            .starts_with("sets/owner/solved: 4 rows of 2 files, ")
            && said.stdout.ends_with("; licence: MIT\n"),
        "{said:#?}"
    );
    let solved = BTreeMap::from([
        (
            "owner/solved/main/test-0.jsonl".to_owned(),
            rows_of("{\"question\": \"é?\", \"n\": [1, 2.5]}\n{\"question\": null}"),
        ),
        (
            "owner/solved/main/train-0.jsonl".to_owned(),
            rows_of(
                "{\"question\": \"1, 2?\", \"answer\": \"3\"}\n{\"question\": \"why?\", \"answer\": \"so\"}",
            ),
        ),
    ]);
    assert_eq!(world.lines(), solved);
    let before = tree(&world.folder.path().join("sets/owner/solved"));
    let said = ended(&mut world.command("solved,parts,held,solved", "--json")).with(0, &[]);
    let told: Vec<Value> = rows_of(&said.stdout)
        .into_iter()
        .filter(|line| line.get("set").is_some())
        .collect();
    let states: Vec<_> = told
        .iter()
        .map(|of| (of["set"].as_str().unwrap(), of["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            ("solved", "kept"),
            ("parts", "written"),
            ("held", "written")
        ]
    );
    // Of the part without held-out rows nothing is there, so nothing follows from its licence.
    assert_eq!(told[1]["licence"], "CC0-1.0");
    assert_eq!(told[1]["licence_note"], "Nothing follows.");
    assert_eq!(told[1]["rows"], 1);
    assert_eq!(told[1]["files"][0]["from"], "a/validation/0000.jsonl");
    let mut lines = world.lines();
    assert_eq!(
        lines.remove("owner/parts/a/validation/0000.jsonl").unwrap(),
        rows_of("{\"text\": \"held out\"}")
    );
    assert_eq!(
        lines.remove("owner/held/test.jsonl").unwrap(),
        rows_of("{\"text\": \"x\", \"n\": \"1\"}")
    );
    assert_eq!(lines, solved);
    assert_eq!(tree(&world.folder.path().join("sets/owner/solved")), before);
}

#[test]
fn names_that_are_none_are_told_together_before_anything_is_asked() {
    let world = World::new(HubConfig::default());
    world.rows("sloved,plain,parts/a,solved").with(
        2,
        &[
            "no dataset is called `sloved`",
            "did you mean `solved`?",
            "dataset `plain` has no evaluation files",
            "write `evaluation-files` in its manifest",
            "`parts/a` is a part of an evaluation set",
            "name `parts`",
        ],
    );
    assert_eq!(world.hub.take_seen(), []);
    assert!(!world.folder.path().join("sets").exists());
    let both = andromeda(world.folder.path(), "rows --of solved manifests --out sets")
        .output()
        .unwrap();
    assert_eq!(both.status.code(), Some(2));
    let neither = andromeda(world.folder.path(), "rows --out sets")
        .output()
        .unwrap();
    assert_eq!(neither.status.code(), Some(2));
}

#[test]
fn what_the_hub_lacks_or_refuses_is_told_together_before_a_download() {
    let world = World::new(HubConfig::default());
    let wrong = SOLVED.replace("main/train-*.csv", "main/trian-*.csv");
    fs::write(world.manifest("solved"), wrong).unwrap();
    let wrong = HELD.replace("\"test.tsv\"", "\"test.csv\"");
    fs::write(world.manifest("held"), wrong).unwrap();
    world.rows("parts,solved,held").with(
        2,
        &[
            "`main/trian-*.csv` matches none of the 3 files",
            "shot-files = [\"main/trian-*.csv\"]",
            "there are `main/train-*.csv`",
            "`test.csv` matches none of the 1 files",
        ],
    );
    let downloads = world.hub.take_seen();
    let downloads = downloads
        .iter()
        .filter(|of| of.target.contains("/resolve/"));
    assert_eq!(downloads.count(), 0);
    fs::write(
        world.manifest("held"),
        HELD.replace("[\"test.tsv\"]", "[\"te[st\"]"),
    )
    .unwrap();
    let wrong = SOLVED.replace("[\"main/train-*.csv\"]", "[\"tr[ain\"]");
    fs::write(world.manifest("solved"), wrong).unwrap();
    world.rows("parts").with(
        2,
        &[
            "`te[st` is not a glob pattern",
            "`tr[ain` is not a glob pattern",
        ],
    );
    assert!(!world.folder.path().join("sets").exists());

    // Two sets of one repository, and two files whose rows would have one name.
    let world = World::new(HubConfig::default());
    let twin = SOLVED.replace("\"solved\"", "\"twin\"");
    fs::write(world.manifest("twin"), twin).unwrap();
    let bytes = || b"{\"text\": \"x\"}\n".to_vec();
    let files = [("x.json", bytes()), ("x.jsonl", bytes())];
    world
        .hub
        .publish(Repository::from_files("owner/same", files));
    let same = HELD.replace("held", "same").replace("test.tsv", "x.*");
    fs::write(world.manifest("same"), same).unwrap();
    world.rows("solved,twin,same").with(
        2,
        &[
            "`solved` and `twin` are both of owner/solved",
            "the rows of `x.json` and `x.jsonl` would both be x.jsonl",
        ],
    );
    // An example that is a question, too, is there once.
    let both = SOLVED.replace("main/train-*.csv", "main/*");
    fs::write(world.manifest("solved"), both).unwrap();
    world.rows("solved").with(0, &[]);
    assert_eq!(world.lines().len(), 2);

    let gated = HubConfig {
        gated: BTreeSet::from(["owner/solved".to_owned(), "owner/held".to_owned()]),
        ..HubConfig::default()
    };
    let world = World::new(gated);
    world
        .rows("solved,parts,held")
        .with(20, &["dataset solved: ", "dataset held: "]);
    assert!(!world.folder.path().join("sets").exists());
}

#[test]
fn a_set_is_there_whole_or_not_at_all() {
    let world = World::new(HubConfig::default());
    let broken = b"text\tn\nx\t1\ty\n".to_vec();
    world
        .hub
        .publish(Repository::from_files("owner/held", [("test.tsv", broken)]));
    world.rows("parts,held").with(
        20,
        &["evaluation set held: test.tsv: row 0 cannot be read: "],
    );
    let there: Vec<String> = world.lines().into_keys().collect();
    assert_eq!(there, ["owner/parts/a/validation/0000.jsonl"]);
    assert!(!world.folder.path().join("sets/owner/.held.part").exists());
}

#[test]
fn folders_that_hold_something_else_are_told_and_left() {
    let world = World::new(HubConfig::default());
    let root = world.folder.path();
    world.rows("solved,parts").with(0, &[]);
    // A byte of a file, and a manifest that wants other files.
    let damaged = root.join("sets/owner/parts/a/validation/0000.jsonl");
    let whole = fs::read_to_string(&damaged).unwrap();
    fs::write(&damaged, whole.replace("held", "hold")).unwrap();
    let other = SOLVED.replace("shot-files = [\"main/train-*.csv\"]\n", "");
    fs::write(world.manifest("solved"), other).unwrap();
    let before = tree(&root.join("sets"));
    world.rows("solved,parts,held").with(
        30,
        &[
            "sets/owner/parts: its file a/validation/0000.jsonl is not the one that was written",
            "sets/owner/solved: it has the rows of solved from hub:owner/solved@",
            "move it away, or delete it",
        ],
    );
    assert_eq!(tree(&root.join("sets")), before);
    world.rows("solved").with(20, &[]);
    // What others put there is theirs.
    fs::create_dir_all(root.join("sets/owner/held")).unwrap();
    fs::write(root.join("sets/owner/held/mine.jsonl"), "{}\n").unwrap();
    let said = world.rows("held").with(0, &[]);
    assert!(
        said.stdout.contains("sets/owner/held: left as it is"),
        "{said:#?}"
    );
    assert_eq!(files(&root.join("sets/owner/held")).len(), 1);
}
