//! `andromeda tokenize` and `andromeda tokenizer`: files to a build and nothing else, ids as lines, tokenizers of the hub.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use andromeda_format::{Build, Split};
use andromeda_pipeline::tokenize::Tokenizer;
use andromeda_tests::corpus::{
    Random, gzip, json_line, table, text, write_manifest, write_recipe, write_tokenizer,
};
use andromeda_tests::{HubConfig, LoopbackHub, Misbehaviour, Repository};
use arrow_array::StringArray;
use fs_err as fs;
use serde_json::Value;

use super::{Ended, andromeda, ended, of_output, only_build, tree};

const TOKENIZER: &str = "tokenizers/andromeda-16k.json";

/// Texts that a build of a recipe would repair, drop or take for duplicates, among ordinary ones.
fn texts() -> Vec<String> {
    let mut random = Random(5);
    let mut texts: Vec<String> = (0..40).map(|_| text(&mut random, 90)).collect();
    texts.push(texts[3].clone());
    texts.push("short".to_owned());
    texts.push("line\r\nends\u{b} and e\u{301} and \u{feff} and \u{1} stay".to_owned());
    texts.push("<|endoftext|> is text here, <|padding|> too".to_owned());
    texts
}

/// Those texts in files of three kinds below `corpus`.
fn plant(root: &Path) -> Vec<String> {
    let texts = texts();
    let folder = root.join("corpus");
    fs::create_dir_all(folder.join("deep")).unwrap();
    let lines = |texts: &[String]| texts.iter().map(|text| json_line(text)).collect::<String>();
    fs::write(folder.join("a.jsonl"), lines(&texts[..10])).unwrap();
    fs::write(
        folder.join("b.jsonl.gz"),
        gzip(lines(&texts[10..20]).as_bytes()),
    )
    .unwrap();
    let packed = zstd::encode_all(lines(&texts[20..30]).as_bytes(), 3).unwrap();
    fs::write(folder.join("deep/c.json.zst"), packed).unwrap();
    let column = StringArray::from_iter_values(&texts[30..]);
    fs::write(folder.join("d.parquet"), table("text", column)).unwrap();
    write_tokenizer(&root.join("manifests"));
    texts
}

/// Texts of all documents of a build, sorted.
fn decoded(folder: &Path) -> Vec<String> {
    let build = Build::open(folder).unwrap();
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"), None).unwrap();
    let end_of_text = build.manifest().tokenizer.end_of_text.id;
    let mut texts = Vec::new();
    for (split, entry) in &build.manifest().splits {
        let mut ids = Vec::new();
        for shard in 0..entry.shards.len() {
            let mut reader = build.shard(*split, shard).unwrap();
            let tokens = reader.index().tokens;
            reader.read_tokens(0..tokens, &mut ids).unwrap();
        }
        for document in ids.split_inclusive(|id| *id == end_of_text) {
            assert_eq!(document.last(), Some(&end_of_text));
            texts.push(tokenizer.decode(&document[..document.len() - 1]));
        }
    }
    texts.sort();
    texts
}

#[test]
fn files_become_a_build_of_all_their_documents_as_they_are() {
    let root = tempfile::tempdir().unwrap();
    let mut expected = plant(root.path());
    expected.sort();
    let arguments = format!("tokenize corpus --tokenizer {TOKENIZER} --out built/mine");
    let run = |arguments: &str| ended(&mut andromeda(root.path(), arguments)).with(0, &[]);
    let made = run(&format!("{arguments} --threads 3"));
    assert_eq!(made.stdout.trim(), "built/mine");
    let folder = root.path().join("built/mine");
    assert_eq!(decoded(&folder), expected);
    let manifest = Build::open(&folder).unwrap().manifest().clone();
    assert_eq!(manifest.funnel.documents_in, expected.len() as u64);
    assert_eq!(manifest.funnel.kept.documents, expected.len() as u64);
    assert_eq!(manifest.datasets[0].name, "files");
    assert_eq!(manifest.splits.keys().collect::<Vec<_>>(), [&Split::Train]);
    run("verify built/mine");
    let shown = run("inspect built/mine --documents 2 --json");
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["documents"].as_array().unwrap().len(), 2);
    run(&arguments).with(0, &["nothing to do"]);

    // Another folder, another work folder, another number of threads: the same bytes.
    let elsewhere = tempfile::tempdir().unwrap();
    plant(elsewhere.path());
    ended(&mut andromeda(
        elsewhere.path(),
        &format!("tokenize corpus --tokenizer {TOKENIZER} --out mine --work w --threads 1"),
    ))
    .with(0, &[]);
    assert_eq!(tree(&elsewhere.path().join("mine")), tree(&folder));

    // Shares, sizes and names are what was asked for; what was there stays.
    run(&format!(
        "tokenize corpus --tokenizer {TOKENIZER} --out other --val 0.3 --test 0.2 --shard-tokens 2048 --name corpus --seed 4"
    ));
    let other = root.path().join("other");
    assert_eq!(decoded(&other), expected);
    let manifest = Build::open(&other).unwrap().manifest().clone();
    assert_eq!(manifest.splits.len(), 3);
    assert!(
        manifest.splits[&Split::Train].shards[..1]
            .iter()
            .all(|shard| shard.tokens == 2048)
    );
    assert_eq!(manifest.datasets[0].name, "corpus");
    ended(&mut andromeda(
        root.path(),
        &format!("{arguments} --seed 9"),
    ))
    .with(30, &["is not this build"]);
}

#[test]
fn what_cannot_be_tokenized_is_said_before_work() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path());
    let fails = |arguments: &str, code: i32, words: &[&str]| {
        ended(&mut andromeda(root.path(), arguments)).with(code, words);
    };
    fails(
        "tokenize corpus --tokenizer none.json --out x",
        2,
        &["none.json", "hf://"],
    );
    fails(
        &format!("tokenize corpus --tokenizer {TOKENIZER}"),
        2,
        &["--out"],
    );
    fails(
        &format!("tokenize corpus --tokenizer {TOKENIZER} --out x --ids y"),
        2,
        &["--ids"],
    );
    fails(
        &format!("tokenize corpus --tokenizer {TOKENIZER} --out x --val 0.5 --test 0.5"),
        2,
        &["nothing to train on"],
    );
    fails(
        &format!("tokenize nowhere --tokenizer {TOKENIZER} --out x"),
        2,
        &["nowhere"],
    );
    fs::write(root.path().join("bad.json"), "{\"model\": 7}").unwrap();
    fails(
        "tokenize corpus --tokenizer bad.json --out x",
        2,
        &["bad.json", "cannot be used"],
    );
    assert!(!root.path().join("x").exists());
}

#[test]
fn ids_are_lines() {
    let root = tempfile::tempdir().unwrap();
    let texts = plant(root.path());
    let tokenizer = Tokenizer::load(&root.path().join("manifests").join(TOKENIZER), None).unwrap();
    let expected = |text: &str| {
        let mut ids = Vec::new();
        tokenizer.encode(text, &mut ids).unwrap();
        ids
    };
    let arguments = format!("tokenize corpus/a.jsonl --tokenizer {TOKENIZER} --ids");
    let lines = ended(&mut andromeda(root.path(), &arguments))
        .with(0, &[])
        .stdout;
    let rows: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 10);
    for (row, text) in rows.iter().zip(&texts) {
        let ids: Vec<u32> = serde_json::from_value(row["ids"].clone()).unwrap();
        assert_eq!(ids, expected(text));
    }
    assert_eq!(rows[4]["id"], "a.jsonl#4");
    ended(&mut andromeda(
        root.path(),
        &format!("{arguments} ids.jsonl"),
    ))
    .with(0, &["10 documents"]);
    assert_eq!(
        fs::read_to_string(root.path().join("ids.jsonl")).unwrap(),
        lines
    );
}

fn piped(root: &Path, arguments: &str, input: &str) -> Ended {
    let mut child = andromeda(root, arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    of_output(child.wait_with_output().unwrap())
}

#[test]
fn a_tokenizer_encodes_decodes_and_says_what_it_is() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path());
    let text = "Two words,\n and naïve e\u{301} 中文.\n";
    let ids = piped(root.path(), &format!("tokenizer encode {TOKENIZER}"), text)
        .with(0, &[])
        .stdout;
    let back = piped(root.path(), &format!("tokenizer decode {TOKENIZER}"), &ids).with(0, &[]);
    assert_eq!(back.stdout, text);
    let lines = piped(
        root.path(),
        &format!("tokenizer encode {TOKENIZER} --lines --json"),
        "one\ntwo three\n",
    )
    .stdout;
    assert_eq!(lines.lines().count(), 2);
    let back = piped(
        root.path(),
        &format!("tokenizer decode {TOKENIZER} --json"),
        &lines,
    )
    .stdout;
    assert_eq!(back, "\"one\"\n\"two three\"\n");
    piped(
        root.path(),
        &format!("tokenizer decode {TOKENIZER}"),
        "1 99999",
    )
    .with(2, &["99999"]);

    let show = |arguments: &str| -> Value {
        let shown = ended(&mut andromeda(
            root.path(),
            &format!("tokenizer show {TOKENIZER} --json {arguments}"),
        ));
        serde_json::from_str(&shown.with(0, &[]).stdout).unwrap()
    };
    let plain = show("");
    assert_eq!(
        (plain["kind"].as_str(), plain["vocab_size"].as_u64()),
        (Some("byte-level-bpe"), Some(16384))
    );
    assert!(
        plain["choice"]
            .as_str()
            .unwrap()
            .starts_with(plain["engine"].as_str().unwrap())
    );

    // Three bytes a token of known words, in two languages: counted by hand from what `encode` says.
    let rows = [("en", "one two"), ("de", "eins zwei drei"), ("en", "three")];
    let lines: String = rows
        .iter()
        .map(|(lang, text)| format!("{}\n", serde_json::json!({"text": text, "lang": lang})))
        .collect();
    fs::write(root.path().join("two.jsonl"), lines).unwrap();
    let tokenizer = Tokenizer::load(&root.path().join("manifests").join(TOKENIZER), None).unwrap();
    let tokens = |text: &str| {
        let mut ids = Vec::new();
        tokenizer.encode(text, &mut ids).unwrap();
        ids.len() as u64
    };
    let shown = show("--on two.jsonl");
    let on = shown["on"].as_array().unwrap();
    assert_eq!(on.len(), 2);
    assert_eq!(on[0]["language"], "de");
    assert_eq!(
        (&on[1]["bytes"], &on[1]["words"], &on[1]["documents"]),
        (&12.into(), &3.into(), &2.into())
    );
    assert_eq!(on[1]["tokens"], tokens("one two") + tokens("three"));
    assert_eq!(
        on[0]["tokens_per_word"],
        tokens("eins zwei drei") as f64 / 3.0
    );

    ended(&mut andromeda(
        root.path(),
        &format!("tokenize corpus --tokenizer {TOKENIZER} --out shards/mine"),
    ))
    .with(0, &[]);
    let on = show("--on mine")["on"].clone();
    assert_eq!(
        (&on[0]["dataset"], &on[0]["documents"]),
        (&"files".into(), &(texts().len() as u64).into())
    );
    ended(&mut andromeda(
        root.path(),
        &format!("tokenizer show {TOKENIZER} --on shards/mine"),
    ))
    .with(0, &[]);

    ended(&mut andromeda(
        root.path(),
        &format!("tokenizer check {TOKENIZER} mine"),
    ))
    .with(0, &[]);
    // The same with a space more in its file: other bytes, the same ids.
    let file = fs::read_to_string(root.path().join("manifests").join(TOKENIZER)).unwrap();
    fs::write(root.path().join("spaced.json"), format!("{file} ")).unwrap();
    let ended_well = ended(&mut andromeda(
        root.path(),
        "tokenizer check spaced.json mine --json",
    ))
    .with(0, &[]);
    let said: Value = serde_json::from_str(&ended_well.stdout).unwrap();
    assert_eq!(
        (&said["same_file"], &said["fits"]),
        (&false.into(), &true.into())
    );
    assert_eq!(said["documents_compared"], texts().len());
    // Two merges in another order: other ids.
    let mut other: Value = serde_json::from_str(&file).unwrap();
    let merges = other["model"]["merges"].as_array_mut().unwrap();
    merges.truncate(2000);
    fs::write(root.path().join("other.json"), other.to_string()).unwrap();
    ended(&mut andromeda(
        root.path(),
        "tokenizer check other.json mine",
    ))
    .with(30, &["gives other ids", "does not fit"]);
}

const ON_HUB: &str = "hf://EleutherAI/gpt-neox-20b";

fn on_hub(hub: &LoopbackHub, root: &Path, arguments: &str) -> Command {
    let mut command = andromeda(root, arguments);
    command
        .env("HF_ENDPOINT", hub.endpoint())
        .env("HF_HOME", root.join("hf"))
        .env_remove("HF_HUB_OFFLINE")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN");
    command
}

fn repository(tokenizer: Vec<u8>) -> Repository {
    Repository::from_files(
        "models/EleutherAI/gpt-neox-20b",
        [
            ("tokenizer.json", tokenizer),
            ("README.md", b"A model.".to_vec()),
        ],
    )
}

#[test]
fn tokenizers_of_the_hub_are_pinned_and_checked() {
    let root = tempfile::tempdir().unwrap();
    let mut expected = plant(root.path());
    expected.sort();
    let file = fs::read(root.path().join("manifests").join(TOKENIZER)).unwrap();
    let hub = LoopbackHub::start(HubConfig::default(), [repository(file.clone())]).unwrap();
    // A bit that flips on the way is found, and nothing is built of it.
    hub.spoil("storage /", 100, Misbehaviour::Corrupt(9));
    hub.spoil("/resolve/", 100, Misbehaviour::Corrupt(9));
    let arguments = format!("tokenize corpus --tokenizer {ON_HUB} --out mine");
    ended(&mut on_hub(&hub, root.path(), &arguments)).with(30, &["gpt-neox-20b"]);
    hub.mend();
    ended(&mut on_hub(&hub, root.path(), &arguments)).with(0, &[]);
    let mine = root.path().join("mine");
    assert_eq!(decoded(&mine), expected);
    let lock = fs::read_to_string(root.path().join("manifests/datasets.lock")).unwrap();
    let line = lock
        .lines()
        .find(|line| line.contains("models/EleutherAI/gpt-neox-20b@main"))
        .unwrap();
    let commit = line.rsplit('"').nth(1).unwrap();
    let manifest = Build::open(&mine).unwrap().manifest().clone();
    let written = format!("{ON_HUB}@{commit}/tokenizer.json");
    assert!(
        serde_json::to_string(&manifest).unwrap().contains(&written),
        "{written}"
    );
    assert!(
        root.path()
            .join("hf/hub/models--EleutherAI--gpt-neox-20b/snapshots")
            .join(commit)
            .is_dir()
    );

    // A newer one is not taken as long as the lock file stands, and without the hub the cache does.
    let mut newer: Value = serde_json::from_slice(&file).unwrap();
    newer["model"]["merges"]
        .as_array_mut()
        .unwrap()
        .truncate(100);
    hub.publish(repository(newer.to_string().into_bytes()));
    let show = |offline: bool| {
        let mut command = on_hub(
            &hub,
            root.path(),
            &format!("tokenizer show {ON_HUB} --json"),
        );
        if offline {
            command.env("HF_HUB_OFFLINE", "1");
        }
        let shown: Value = serde_json::from_str(&ended(&mut command).with(0, &[]).stdout).unwrap();
        shown["sha256"].as_str().unwrap().to_owned()
    };
    assert_eq!(show(false), manifest.tokenizer.sha256);
    assert_eq!(show(true), manifest.tokenizer.sha256);
    fs::remove_file(root.path().join("manifests/datasets.lock")).unwrap();
    assert_ne!(show(false), manifest.tokenizer.sha256);

    // In a recipe.
    write_manifest(
        &root.path().join("manifests"),
        "own",
        "tiers = [\"high\"]\n",
        "../../corpus",
        "",
    );
    write_recipe(
        &root.path().join("manifests"),
        "hubs",
        &format!("[profile.plain]\n[tokenize]\ntokenizer = \"{ON_HUB}@{commit}\"\n"),
    );
    ended(&mut on_hub(
        &hub,
        root.path(),
        "build --dataset own --recipe hubs",
    ))
    .with(0, &[]);
    let built = Build::open(&only_build(root.path())).unwrap();
    assert_eq!(built.manifest().tokenizer.sha256, manifest.tokenizer.sha256);
}

#[test]
fn what_the_hub_gives_for_a_tokenizer_is_not_trusted() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path());
    let file = fs::read(root.path().join("manifests").join(TOKENIZER)).unwrap();
    let mut huge_id: Value = serde_json::from_slice(&file).unwrap();
    huge_id["model"]["vocab"]["a"] = 4_000_000_000_u32.into();
    let hub = LoopbackHub::start(HubConfig::default(), []).unwrap();
    let pointer = b"version https://git-lfs.github.com/spec/v1\n".to_vec();
    for (content, code, word) in [
        (huge_id.to_string().into_bytes(), 2, "4000000000"),
        (file[..file.len() / 2].to_vec(), 2, "not JSON"),
        (pointer, 20, "Git LFS"),
    ] {
        hub.publish(repository(content));
        let _ = fs::remove_file(root.path().join("manifests/datasets.lock"));
        let arguments = format!("tokenize corpus --tokenizer {ON_HUB} --out x");
        ended(&mut on_hub(&hub, root.path(), &arguments)).with(code, &[word, "tokenizer"]);
    }
    assert!(!root.path().join("x").exists());
    let fails = |name: &str, code: i32, words: &[&str]| {
        let arguments = format!("tokenize corpus --tokenizer {name} --out x");
        ended(&mut on_hub(&hub, root.path(), &arguments)).with(code, words);
    };
    fails("hf://nobody/nothing", 20, &["nobody/nothing"]);
    fails("hf://EleutherAI/gpt-neox-20b@v9", 20, &["v9"]);
    fails(
        "hf://EleutherAI/gpt-neox-20b/vocab.json",
        2,
        &["vocab.json", "tokenizer.json"],
    );
    fails("hf://EleutherAI", 2, &["hf://owner/name"]);
}
