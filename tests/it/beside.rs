//! What is done to documents beside the rules on text, through whole builds: personal data is replaced and counted; addresses,
//! licences, file names and lists drop documents, and the tables say for what.

use std::collections::BTreeMap;
use std::path::Path;

use andromeda_format::{Redacted, Split};
use andromeda_pipeline::documents::{self, Document};
use andromeda_pipeline::tokenize::Tokenizer;
use andromeda_tests::corpus::{
    RECIPE, Random, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use serde_json::{Value, json};

use super::end_to_end::ids_of;
use super::{andromeda, build, ended, plan_of, tree};

/// Rows of one dataset of texts, and one dialogue.
fn plant(root: &Path, render: &str, rows: &[Value], tables: &str) {
    let manifests = root.join("manifests");
    let folder = root.join("corpus/own");
    fs::create_dir_all(&folder).unwrap();
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(folder.join("x.jsonl"), lines).unwrap();
    write_manifest(
        &manifests,
        "own",
        "tiers = [\"high\"]\n",
        "../../corpus/own",
        render,
    );
    write_recipe(&manifests, "planted", &format!("{RECIPE}{tables}"));
    write_tokenizer(&manifests);
}

fn documents_of(folder: &Path) -> Vec<Document> {
    let rows: Vec<u64> = (0..1000).collect();
    documents::at(folder, &rows)
        .unwrap()
        .into_values()
        .collect()
}

#[test]
fn personal_data_is_replaced_counted_and_in_no_shard() {
    let mut random = Random(51);
    let mut prose = || text(&mut random, 60);
    let rows = [
        json!({ "text": format!("{} Ask ada@posteo.net, bob@gmx.de or ADA@posteo.net. {}", prose(), prose()) }),
        json!({ "text": format!("{} It came from 81.2.69.142, call (650) 253-0000. {}", prose(), prose()) }),
        json!({ "text": prose() }),
        // Too short for the rules, and counted all the same.
        json!({ "text": "eve@posteo.net" }),
    ];
    let made = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path(), "", &rows, "[profile.plain.pii]\n");
        let plan = plan_of(folder.path(), "planted");
        let built = build(folder.path(), &plan, threads, 1 << 30).unwrap();
        (folder, built)
    };
    let (folder, built) = made(1);
    let redacted = &built.manifest.datasets[0].redacted;
    let count = |documents, items| Redacted { documents, items };
    let expected = BTreeMap::from([
        ("email".to_owned(), count(2, 4)),
        ("ip".to_owned(), count(1, 1)),
        ("phone".to_owned(), count(1, 1)),
    ]);
    assert_eq!(*redacted, expected);
    assert!(built.manifest.funnel.balances());
    let pii: Vec<Option<String>> = documents_of(&built.folder)
        .into_iter()
        .map(|d| d.pii)
        .collect();
    let of = |value: Value| Some(value.to_string());
    let expected = [
        of(json!({ "email": 3 })),
        of(json!({ "ip": 1, "phone": 1 })),
        None,
        of(json!({ "email": 1 })),
    ];
    assert_eq!(pii, expected);
    let tokenizer = Tokenizer::load(&built.folder.join("tokenizer.json"), None).unwrap();
    let opened = andromeda_format::Build::open(&built.folder).unwrap();
    let splits = opened.manifest().splits.keys().copied();
    let all: String = splits
        .map(|split: Split| tokenizer.decode(&ids_of(&opened, split)))
        .collect();
    for words in [
        "Ask <EMAIL_1>, <EMAIL_2> or <EMAIL_1>.",
        "from <IP_1>, call <PHONE_1>.",
    ] {
        assert!(all.contains(words), "{words}");
    }
    assert!(!all.contains("posteo") && !all.contains("81.2.69"));
    let said = ended(&mut andromeda(folder.path(), "why own/x.jsonl#0"));
    assert!(said.stdout.contains("personal data"), "{said:#?}");
    let (_folder, again) = made(2);
    assert_eq!(tree(&again.folder), tree(&built.folder));
}

#[test]
fn a_person_has_one_number_in_all_turns_of_a_dialogue() {
    let mut random = Random(52);
    let turns = json!([
        { "from": "human", "value": format!("{} I am ada@posteo.net", text(&mut random, 40)) },
        { "from": "gpt", "value": format!("{} Hello ada@posteo.net and bob@gmx.de", text(&mut random, 40)) },
    ]);
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(
        root,
        "",
        &[json!({ "conversations": turns })],
        "[profile.plain.pii]\n",
    );
    let manifest = root.join("manifests/datasets/own.toml");
    let written = fs::read_to_string(&manifest).unwrap();
    let written = written
        .replace(
            "text = \"text\"\n",
            "turns = { field = \"conversations\", role = \"from\", text = \"value\" }\n",
        )
        .replace("profile = ", "kind = \"chat\"\nprofile = ");
    fs::write(&manifest, written).unwrap();
    // The one document is for training.
    let recipe = root.join("manifests/recipes/planted.toml");
    let written = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, written.replace("= 0.2", "= 0.0")).unwrap();
    let plan = plan_of(root, "planted");
    let built = build(root, &plan, 1, 1 << 30).unwrap();
    let tokenizer = Tokenizer::load(&built.folder.join("tokenizer.json"), None).unwrap();
    let opened = andromeda_format::Build::open(&built.folder).unwrap();
    let all = tokenizer.decode(&ids_of(&opened, Split::Train));
    for words in ["I am <EMAIL_1>", "Hello <EMAIL_1> and <EMAIL_2>"] {
        assert!(all.contains(words), "{words} in {all}");
    }
}

#[test]
fn addresses_licences_files_and_words_drop_documents_and_say_for_what() {
    let mut random = Random(53);
    let mut row = |url: &str, path: &str, licence: Value, more: &str| {
        // Lines as short as those of a program.
        let words = text(&mut random, 60);
        let words: Vec<&str> = words.split_whitespace().collect();
        let lines: Vec<String> = words.chunks(6).map(|words| words.join(" ")).collect();
        json!({ "text": format!("{}\n{more}", lines.join("\n")), "url": url, "path": path, "licence": licence })
    };
    let rows = [
        row("http://good.com/a", "a.rs", json!("MIT"), ""),
        row("http://www.bad.com/a", "a.rs", json!("MIT"), ""),
        row("http://good.com/casino", "a.rs", json!("MIT"), ""),
        row(
            "http://good.com/b",
            "a.rs",
            json!(["MIT", "GPL-3.0-only"]),
            "",
        ),
        row("http://good.com/c", "a.rs", Value::Null, ""),
        row("http://good.com/d", "a.txt", json!("MIT"), ""),
        row("http://good.com/e", "a.rs", json!("MIT"), "oh darn it"),
    ];
    let tables = r#"
[profile.plain.url]
domains = ["lists/domains.gz"]
words = ["lists/words"]
[profile.plain.licence]
[profile.plain.code-files]
[profile.plain.bad-words]
lists = ["lists/bad"]
"#;
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let render = "url = \"url\"\npath = \"path\"\nlicence = \"licence\"\n";
    plant(root, render, &rows, tables);
    let lists = root.join("manifests/lists");
    // None is there yet: the plan says so of each, and does nothing.
    ended(&mut andromeda(
        root,
        "plan --priority high --recipe planted",
    ))
    .with(
        2,
        &[
            "lists/domains.gz",
            "lists/words",
            "lists/bad",
            "profile.plain.url",
        ],
    );
    fs::create_dir(&lists).unwrap();
    fs::write(
        lists.join("domains.gz"),
        andromeda_tests::corpus::gzip(b"bad.com\n"),
    )
    .unwrap();
    fs::write(lists.join("words"), "casino\n").unwrap();
    fs::write(lists.join("bad"), "darn\n").unwrap();
    // The one document that stays is for training.
    let recipe = root.join("manifests/recipes/planted.toml");
    let written = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, written.replace("= 0.2", "= 0.0")).unwrap();
    let plan = plan_of(root, "planted");
    let built = build(root, &plan, 2, 1 << 30).unwrap();
    let found: Vec<(String, Option<String>)> = documents_of(&built.folder)
        .into_iter()
        .map(|d| (d.reason.unwrap_or(d.verdict), d.evidence))
        .collect();
    let expected = [
        ("kept", None),
        ("url-domain", Some("bad.com")),
        ("url-word", Some("casino")),
        ("licence", Some("GPL-3.0-only")),
        ("licence-missing", None),
        ("code-text", Some("a.txt")),
        ("bad-word", Some("darn")),
    ]
    .map(|(reason, evidence)| (reason.to_owned(), evidence.map(str::to_owned)));
    assert_eq!(found, expected);
    let names: Vec<&str> = built
        .manifest
        .lists
        .iter()
        .map(|list| list.path.as_str())
        .collect();
    assert_eq!(names, ["lists/bad", "lists/domains.gz", "lists/words"]);
    assert!(built.manifest.funnel.balances());
    let said = ended(&mut andromeda(root, "why own/x.jsonl#1"));
    assert!(said.stdout.contains("bad.com"), "{said:#?}");
}
