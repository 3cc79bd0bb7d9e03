//! The program at its boundary: what it prints where, in text and in JSON, and how it ends.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing, its helpers too"
)]

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

const BUILD: &str = "build --dataset own --recipe small";

const RECIPE: &str = "\
seed = 1
[profile.plain.length]
min-characters = 100
[dedup.near]
[split]
val = 0.1
test = 0.1
[shard]
tokens = 4096
frame-tokens = 1024
";

/// 160 words that no text of another number has.
fn text(number: usize) -> String {
    let words: Vec<String> = (0..160)
        .map(|i| format!("w{}x{i}", number * 7919))
        .collect();
    words.join(" ")
}

/// A folder with one dataset of 40 documents and one of each other fate: rows 40 to 44.
fn corpus() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for part in [
        "manifests/datasets",
        "manifests/recipes",
        "manifests/tokenizers",
        "texts",
    ] {
        fs::create_dir_all(root.join(part)).unwrap();
    }
    let manifest = "name = \"own\"\ndescription = \"A few texts.\"\ntiers = [\"low\"]\nprofile = \"plain\"\nlicence = \
                    \"CC0-1.0\"\n[source.folder]\npath = \"../../texts\"\n[render]\ntext = \"text\"\n";
    fs::write(root.join("manifests/datasets/own.toml"), manifest).unwrap();
    fs::write(root.join("manifests/recipes/small.toml"), RECIPE).unwrap();
    let tokenizer = "tokenizers/andromeda-16k.json";
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../manifests")
        .join(tokenizer);
    fs::copy(shipped, root.join("manifests").join(tokenizer)).unwrap();
    let mut lines: Vec<String> = (0..40)
        .map(|number| json!({ "text": text(number) }).to_string())
        .collect();
    lines.push(json!({ "text": "too short" }).to_string());
    lines.push(json!({ "text": text(3) }).to_string());
    lines.push(json!({ "text": text(4).replace("x80 ", "y ") }).to_string());
    lines.push("{ broken".to_owned());
    lines.push(json!({ "txt": "misspelt" }).to_string());
    fs::write(root.join("texts/x.jsonl"), lines.join("\n")).unwrap();
    folder
}

fn command(folder: &TempDir, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_andromeda"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
}

/// Runs the program, which must end with `code` and must not panic: stdout and stderr.
#[track_caller]
fn run(folder: &TempDir, arguments: &str, code: i32) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command(folder, arguments).output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    );
    assert_eq!(status.code(), Some(code), "{arguments}\n{stdout}\n{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    (stdout, stderr)
}

#[track_caller]
fn json_of(folder: &TempDir, arguments: &str) -> Value {
    let (stdout, _) = run(folder, &format!("{arguments} --json"), 0);
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments}: {error}: {stdout}"))
}

#[test]
fn every_command_answers_in_json() {
    let folder = corpus();
    let plan = json_of(&folder, "plan --dataset own --recipe small");
    let name = plan["name"].as_str().unwrap();
    assert_eq!(plan["datasets"][0]["files"], 1);
    assert_eq!(plan["options"]["shard"]["tokens"], 4096);
    for key in ["bytes", "documents", "tokens", "memory_bytes", "disk_bytes"] {
        assert!(plan["estimate"][key].is_u64(), "{key}");
    }
    assert!(
        !folder.path().join("shards").exists(),
        "a plan makes nothing"
    );

    let (stdout, stderr) = run(&folder, &format!("{BUILD} --json"), 0);
    assert_eq!(stderr, "");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (result, events) = lines.split_last().unwrap();
    let stages: Vec<&str> = events
        .iter()
        .filter(|event| event["event"] == "stage")
        .map(|event| event["stage"].as_str().unwrap())
        .collect();
    assert_eq!(
        stages,
        ["extract", "resolve", "tokenize", "shards", "finish"]
    );
    assert_eq!(events.last().unwrap()["event"], "finished");
    assert_eq!(result["funnel"]["documents_in"], 45);
    assert_eq!(result["funnel"]["kept"]["documents"], 40);
    assert_eq!(result["faults"], json!([]));
    let root = result["root"].as_str().unwrap();
    assert_eq!(json_of(&folder, BUILD)["was_there"], true);

    let inspected = json_of(&folder, "inspect --documents 2");
    assert_eq!(inspected["manifest"]["root"], root);
    assert_eq!(inspected["manifest"]["name"], name);
    assert_eq!(inspected["documents"].as_array().unwrap().len(), 2);
    assert!(
        inspected["documents"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with('w')
    );
    let datasets = json_of(&folder, "datasets");
    assert_eq!(datasets["datasets"][0]["licence"], "CC0-1.0");
    let shown = json_of(&folder, "datasets show own");
    assert_eq!(shown["parts"][0]["render"], json!({ "text": "text" }));
    let verified = json_of(&folder, &format!("verify {name}"));
    assert_eq!(
        (&verified["root"], &verified["faults"]),
        (&json!(root), &json!([]))
    );
    let status = json_of(&folder, "status");
    assert_eq!(status["builds"][0]["state"], "complete");
    assert_eq!(status["builds"][0]["root"], root);
    assert_eq!(status["running"], Value::Null);
    assert_eq!(status["intermediates"][0]["stage"], "extract");
    let why = json_of(&folder, "why own/x.jsonl#0");
    assert_eq!(why["document"]["verdict"], "kept");
    assert_eq!(
        json_of(&folder, "gc"),
        json!({ "files": 0, "bytes": 0, "removed": false })
    );
}

#[test]
fn every_command_has_help_and_wrong_words_end_with_2() {
    let folder = corpus();
    let commands = [
        "",
        "plan",
        "build",
        "inspect",
        "verify",
        "why",
        "status",
        "gc",
        "datasets",
        "datasets show",
        "datasets add",
        "tokenizer",
        "tokenizer train",
    ];
    for name in commands {
        let (stdout, stderr) = run(&folder, &format!("{name} --help"), 0);
        assert!(stdout.contains("Usage: andromeda"), "{name}: {stdout}");
        assert_eq!(stderr, "");
    }
    assert!(run(&folder, "--help", 0).0.contains("Exit codes: 0 ok"));
    assert!(run(&folder, "--version", 0).0.starts_with("andromeda "));
    let wrong = [
        ("", "Usage"),
        ("biuld", "build"),
        ("build --recipee small", "--recipe"),
        ("build --priority urgent", "high"),
        ("build --priority low --dataset own", "cannot be used with"),
        ("build --threads 0", "--threads"),
        ("build --memory 4X", "write K, M, G or T"),
        ("build --dataset own --recipe small --budget half", "full"),
        ("plan --dataset won --recipe small", "did you mean `own`?"),
        ("datasets shwo", "show"),
        ("datasets show", "<NAME>"),
        ("datasets show won", "did you mean `own`?"),
        ("datasets add owner/name", "write hf://owner/name"),
        (
            "datasets add hf://owner/name --name own",
            "is not overwritten",
        ),
        ("why", "<DOCUMENT>"),
        ("verify nowhere", "is no finished build"),
        ("inspect", "holds no finished build"),
        ("verify --shards nowhere", "nowhere holds no finished build"),
    ];
    for (arguments, word) in wrong {
        let (stdout, stderr) = run(&folder, arguments, 2);
        assert!(stderr.contains(word), "{arguments}: {stderr}");
        assert_eq!(stdout, "", "{arguments}");
    }
}

#[test]
fn stdout_is_data_and_stderr_is_talk() {
    let folder = corpus();
    let (stdout, stderr) = run(&folder, "plan --dataset own --recipe small", 0);
    assert!(stdout.starts_with("build own-") && stdout.contains("bands x 8 rows"));
    assert_eq!(stderr, "");
    let (stdout, stderr) = run(&folder, BUILD, 0);
    let build = folder.path().join(stdout.trim_end());
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    assert!(build.join("manifest.json").is_file());
    for word in [
        "extract",
        "documents in",
        "quarantined: invalid-json",
        "dropped: too-short",
        "duplicate: near",
        "MB/s per core",
        "root ",
    ] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    for arguments in [
        "verify",
        "inspect",
        "status",
        "gc",
        "why own/x.jsonl#41",
        "datasets",
        "datasets show own",
    ] {
        let (stdout, stderr) = run(&folder, arguments, 0);
        assert_ne!(stdout, "", "{arguments}");
        assert_eq!(stderr, "", "{arguments}");
    }
    let (stdout, _) = run(
        &folder,
        "inspect --documents 1 --characters 20 --split val",
        0,
    );
    assert!(
        stdout.contains("CC0-1.0") && stdout.contains("[…]"),
        "{stdout}"
    );
}

#[test]
fn a_rerun_with_nothing_to_do_takes_less_than_a_second_and_says_so() {
    let folder = corpus();
    let (first, _) = run(&folder, BUILD, 0);
    // The shortest of three: other programs may be busy.
    let least = (0..3)
        .map(|_| {
            let begun = Instant::now();
            let (stdout, stderr) = run(&folder, BUILD, 0);
            assert_eq!(stdout, first);
            assert!(stderr.contains("nothing to do"), "{stderr}");
            begun.elapsed()
        })
        .min()
        .unwrap();
    assert!(least < Duration::from_secs(1), "{least:?}");
}

#[test]
fn why_tells_the_life_of_documents_of_every_fate() {
    let folder = corpus();
    run(&folder, BUILD, 0);
    let lives: [(usize, &[&str]); 6] = [
        (
            0,
            &[
                "verdict  kept",
                "stored   in ",
                "tier low, CC0-1.0",
                "row 0",
            ],
        ),
        (40, &["dropped by the rule `too-short`"]),
        (
            41,
            &[
                "dropped as exact duplicate",
                "its text equals own/x.jsonl#3",
                "cluster  2 documents, first own/x.jsonl#3",
            ],
        ),
        (
            42,
            &[
                "dropped as near duplicate",
                "%: own/x.jsonl#4",
                "which is in ",
            ],
        ),
        (43, &["quarantined", "(invalid-json)"]),
        (44, &["quarantined", "(missing-field)"]),
    ];
    for (row, words) in lives {
        let (stdout, _) = run(&folder, &format!("why own/x.jsonl#{row}"), 0);
        assert!(
            stdout.starts_with(&format!("own/x.jsonl#{row}\n")),
            "{stdout}"
        );
        for word in words {
            assert!(stdout.contains(word), "{word}: {stdout}");
        }
    }
    let exact = json_of(&folder, "why own/x.jsonl#41");
    assert_eq!(exact["document"]["similarity"], 1.0);
    assert_eq!(exact["kept_instead"]["id"], "own/x.jsonl#3");
    let near = json_of(&folder, "why own/x.jsonl#42");
    assert_eq!(near["document"]["reason"], "near");
    assert_eq!(near["kept_instead"]["id"], "own/x.jsonl#4");
    // A part of an id finds several; `--most` bounds them.
    let (some, _) = run(&folder, "why x.jsonl#4 --most 2", 0);
    assert!(some.contains("more than 2 documents match"), "{some}");
    let (lines, _) = run(&folder, "why x.jsonl#4 --most 9 --json", 0);
    // 4 and 40 to 44.
    let found: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(found.len(), 6);
    assert!(run(&folder, "why nothing-like-it", 2).1.contains("hint"));
}

#[test]
fn why_finds_the_document_of_every_token() {
    let folder = corpus();
    run(&folder, BUILD, 0);
    let manifest = &json_of(&folder, "inspect")["manifest"];
    for split in ["train", "val", "test"] {
        let tokens = manifest["splits"][split]["tokens"].as_u64().unwrap();
        for token in [0, tokens / 3, tokens - 1] {
            let document = &json_of(&folder, &format!("why {split}:{token}"))["document"];
            assert_eq!(document["split"], split);
            let shard: u64 = document["shard"]
                .as_str()
                .unwrap()
                .split(['-', '.'])
                .nth(1)
                .unwrap()
                .parse()
                .unwrap();
            let first = shard * 4096 + document["token"].as_u64().unwrap();
            let range = first..first + document["tokens"].as_u64().unwrap();
            assert!(
                range.contains(&token),
                "{split}:{token} is not in {range:?}"
            );
        }
        assert!(
            run(&folder, &format!("why {split}:{tokens}"), 2)
                .1
                .contains("tokens")
        );
    }
}

#[test]
fn status_and_gc_tell_finished_from_begun_and_keep_what_is_used() {
    let folder = corpus();
    assert!(run(&folder, "status", 0).0.contains("holds no builds"));
    assert!(run(&folder, "gc --yes", 0).0.contains("removed 0 files"));
    let build = folder.path().join(run(&folder, BUILD, 0).0.trim_end());
    let recipe = folder.path().join("manifests/recipes/small.toml");
    fs::write(&recipe, RECIPE.replace("seed = 1", "seed = 2")).unwrap();
    let other = folder.path().join(run(&folder, BUILD, 0).0.trim_end());
    assert_ne!(build, other);
    fs::remove_file(other.join("manifest.json")).unwrap();
    let states: Vec<Value> = json_of(&folder, "status")["builds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["state"].clone())
        .collect();
    assert_eq!(
        states.iter().filter(|state| *state == "complete").count(),
        1
    );
    assert_eq!(
        states.iter().filter(|state| *state == "unfinished").count(),
        1
    );
    // The other build's shards are of no use; what both stand on is.
    let would = json_of(&folder, "gc");
    assert!(would["files"].as_u64().unwrap() > 0 && would["removed"] == false);
    assert_eq!(json_of(&folder, "gc --yes")["files"], would["files"]);
    assert_eq!(json_of(&folder, "gc --yes")["files"], 0);
    fs::write(&recipe, RECIPE).unwrap();
    fs::remove_file(build.join("manifest.json")).unwrap();
    let (_, stderr) = run(&folder, BUILD, 0);
    assert_eq!(stderr.matches("all done before").count(), 4, "{stderr}");
    fs::write(build.join("manifest.json"), "{}").unwrap();
    assert_eq!(
        json_of(&folder, "status")["builds"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|b| b["state"] == "damaged")
            .count(),
        1
    );
    let (_, stderr) = run(&folder, BUILD, 30);
    assert!(stderr.contains("move it away"), "{stderr}");
    assert!(
        json_of(&folder, "gc --all --yes")["files"]
            .as_u64()
            .unwrap()
            > 0
    );
    assert_eq!(json_of(&folder, "status")["intermediates"], json!([]));
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let folder = corpus();
    run(&folder, BUILD, 0);
    for arguments in [
        "inspect --documents 30",
        "why own --most 100",
        "plan --dataset own --recipe small --json",
    ] {
        let mut child = command(&folder, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments}");
        assert_eq!(String::from_utf8(output.stderr).unwrap(), "", "{arguments}");
    }
}

#[test]
fn a_tokenizer_trained_here_is_one_to_build_with() {
    let folder = corpus();
    let arguments = "tokenizer train --dataset own --recipe small --vocab-size 400 --out manifests/tokenizers/mine.json";
    let (stdout, stderr) = run(&folder, arguments, 0);
    assert_eq!(stdout, "manifests/tokenizers/mine.json\n");
    assert!(stderr.contains("training on 40 documents"), "{stderr}");
    let recipe = format!("{RECIPE}[tokenize]\ntokenizer = \"tokenizers/mine.json\"\n");
    fs::write(folder.path().join("manifests/recipes/small.toml"), recipe).unwrap();
    run(&folder, BUILD, 0);
    let tokenizer = &json_of(&folder, "inspect")["manifest"]["tokenizer"];
    assert!(
        (257..=400).contains(&tokenizer["vocab_size"].as_u64().unwrap()),
        "{tokenizer}"
    );
    run(&folder, "verify", 0);
}

#[test]
fn fields_that_a_manifest_keeps_are_in_the_table_and_in_a_documents_life() {
    let folder = corpus();
    let manifest = folder.path().join("manifests/datasets/own.toml");
    let written = fs::read_to_string(&manifest).unwrap();
    let kept = written.replace("[render]\n", "[render]\nmeta = [\"url\", \"absent\"]\n");
    assert_ne!(written, kept);
    fs::write(&manifest, kept).unwrap();
    run(&folder, BUILD, 0);
    let life = json_of(&folder, "why own/x.jsonl#3");
    assert_eq!(
        life["document"]["meta"],
        Value::Null,
        "the row has no such field"
    );
    let file = folder.path().join("texts/x.jsonl");
    let rows = fs::read_to_string(&file).unwrap();
    let rows = rows.replacen("{", "{\"url\": \"https://example.com/\\u001b[31m\", ", 1);
    fs::write(&file, rows).unwrap();
    fs::remove_dir_all(folder.path().join("shards")).unwrap();
    run(&folder, BUILD, 0);
    let (text, _) = run(&folder, "why own/x.jsonl#0", 0);
    assert!(
        text.contains("  meta     {\"url\":\"https://example.com/"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'));
    assert_eq!(
        json_of(&folder, "why own/x.jsonl#1")["document"]["meta"],
        Value::Null
    );
}

#[cfg(feature = "tables")]
#[test]
fn a_build_answers_in_sql() {
    let folder = corpus();
    let (stdout, _) = run(&folder, &format!("{BUILD} --json"), 0);
    let result: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    let build = fs::read_dir(folder.path().join("shards"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let build = build.file_name().into_string().unwrap();
    let ask = |query: &str, code: i32| {
        let output = command(&folder, &format!("sql {build} --form json"))
            .arg(query)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert_eq!(
            output.status.code(),
            Some(code),
            "{query}\n{stdout}\n{stderr}"
        );
        let rows = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        (rows.collect::<Vec<Value>>(), stderr)
    };
    // What the table of documents says is what the funnel counts.
    let (rows, _) = ask(
        "select verdict, reason, count(*) as documents, sum(bytes) as bytes from documents group by verdict, reason order by verdict, reason",
        0,
    );
    let kept = rows.iter().find(|row| row["verdict"] == "kept").unwrap();
    assert_eq!(kept["documents"], result["funnel"]["kept"]["documents"]);
    assert_eq!(kept["bytes"], result["funnel"]["kept"]["bytes"]);
    assert_eq!(kept["reason"], Value::Null);
    let short = rows
        .iter()
        .find(|row| row["reason"] == "too-short")
        .unwrap();
    assert_eq!(
        short["documents"],
        result["funnel"]["dropped"]["too-short"]["documents"]
    );
    // Tables join: by row, and by what the manifest says.
    let (rows, _) = ask(
        "select d.id, k.id as kept, d.similarity from documents d join documents k on d.kept = k.row where d.reason = 'exact'",
        0,
    );
    assert_eq!(
        rows,
        [json!({ "id": "own/x.jsonl#41", "kept": "own/x.jsonl#3", "similarity": 1.0 })]
    );
    let (rows, _) = ask("select licence, kept, tokens from datasets", 0);
    assert_eq!(
        (&rows[0]["licence"], &rows[0]["kept"]),
        (&json!("CC0-1.0"), &json!(40))
    );
    let (rows, _) = ask("select sum(tokens) as tokens from shards", 0);
    assert!(rows[0]["tokens"].as_u64() > Some(1000), "{rows:?}");
    let (rows, _) = ask(
        "select dataset, reason, documents from funnel where verdict = 'quarantined' order by reason",
        0,
    );
    assert_eq!(rows.len(), 2);
    let (rows, _) = ask(
        "select reason, text from rejects where reason = 'too-short'",
        0,
    );
    assert_eq!(
        rows,
        [json!({ "reason": "too-short", "text": "too short" })]
    );
    // What is wrong is said, with its name; nothing is printed on stdout.
    for (query, words) in [
        ("select nothing from documents", "nothing"),
        ("select * from document", "document"),
        ("selekt", "sql"),
    ] {
        let (rows, stderr) = ask(query, 2);
        assert!(
            rows.is_empty() && stderr.to_lowercase().contains(words),
            "{query}: {stderr}"
        );
    }
    let (stdout, _) = run(&folder, &format!("sql {build}"), 0);
    assert!(
        stdout.contains("documents: a document that was read") && stdout.contains("similarity f32"),
        "{stdout}"
    );
    let csv = command(&folder, &format!("sql {build} --form csv"))
        .arg("select id, bytes from documents limit 1")
        .output()
        .unwrap();
    assert!(
        csv.stdout.starts_with(b"id,bytes\nown/x.jsonl#0,"),
        "{csv:?}"
    );
}
