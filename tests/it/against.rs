//! Builds against builds, and what decides which copy stays.

use andromeda_pipeline::documents;
use andromeda_tests::corpus::{
    RECIPE, Random, shortened, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{andromeda, ended};

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

/// A catalogue of datasets, each with its rows, tier and `[render]` lines.
fn catalogue(datasets: &[(&str, &str, &str, Vec<Value>)], dedup: &str) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let manifests = root.path().join("manifests");
    write_tokenizer(&manifests);
    write_recipe(
        &manifests,
        "planted",
        &RECIPE.replace("[dedup]\n", &format!("[dedup]\n{dedup}\n")),
    );
    for (name, tier, render, rows) in datasets {
        let folder = root.path().join("corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x.jsonl"), lines(rows)).unwrap();
        write_manifest(
            &manifests,
            name,
            &format!("tiers = [\"{tier}\"]\n"),
            &format!("../../corpus/{name}"),
            render,
        );
    }
    root
}

fn row(text: &str) -> Value {
    json!({ "text": text })
}

fn build(root: &TempDir, arguments: &str) -> String {
    let command = format!("build --recipe planted {arguments}");
    let run = ended(&mut andromeda(root.path(), &command)).with(0, &[]);
    run.stdout.trim().to_owned()
}

#[test]
fn documents_of_another_build_are_not_taken_again() {
    let mut random = Random(31);
    let texts: Vec<String> = (0..30).map(|_| text(&mut random, 200)).collect();
    let high: Vec<Value> = texts[..20].iter().map(|t| row(t)).collect();
    let mut medium: Vec<Value> = texts[20..].iter().map(|t| row(t)).collect();
    // Two copies of what the first build has, one of them longer than its twin there, and a copy within.
    medium.push(row(&texts[3]));
    medium.push(row(&format!("{} And a little more at the end.", texts[4])));
    medium.push(row(&shortened(&texts[25])));
    let root = catalogue(
        &[
            ("first", "high", "", high),
            ("second", "medium", "", medium),
        ],
        "",
    );
    let first = build(&root, "--dataset first");
    let name = first.rsplit('/').next().unwrap().to_owned();
    let alone = build(&root, "--dataset second");
    let second = build(&root, &format!("--dataset second --against {name}"));
    assert_ne!(alone, second, "it is another build");

    let folder = root.path().join(&second);
    let (all, _) = documents::find(&folder, "", usize::MAX).unwrap();
    let fates: Vec<(&str, Option<&str>)> = all[10..]
        .iter()
        .map(|d| (d.verdict.as_str(), d.reason.as_deref()))
        .collect();
    assert_eq!(
        fates,
        [
            ("duplicate", Some("exact")),
            ("duplicate", Some("near")),
            ("duplicate", Some("near"))
        ]
    );
    assert_eq!(all[10].kept_build.as_deref(), Some(name.as_str()));
    assert_eq!(
        all[11].kept_build.as_deref(),
        Some(name.as_str()),
        "the other build's copy stays, though it is shorter"
    );
    assert_eq!(
        (all[11].kept, all[12].kept_build.as_deref()),
        (Some(4), None)
    );
    assert!(all[..10].iter().all(|d| d.verdict == "kept"));
    let why = ended(&mut andromeda(
        root.path(),
        &format!("why second/x.jsonl#11 --build {second}"),
    ))
    .with(0, &[]);
    assert!(
        why.stdout.contains("first/x.jsonl#4") && why.stdout.contains(&name),
        "{why:?}"
    );
    // What a joint build keeps of the second dataset is the same.
    let joint = root.path().join(build(&root, "--priority high,medium"));
    let (joint, _) = documents::find(&joint, "second/", usize::MAX).unwrap();
    for (own, joint) in all.iter().zip(&joint) {
        assert_eq!(
            (&own.id, &own.verdict, &own.reason),
            (&joint.id, &joint.verdict, &joint.reason)
        );
    }
    // The plan says so, and the same command finds the same build.
    let plan = ended(&mut andromeda(
        root.path(),
        &format!("plan --recipe planted --dataset second --against {name}"),
    ))
    .with(0, &[]);
    assert!(
        plan.stdout.contains("against") && plan.stdout.contains("20 documents"),
        "{plan:?}"
    );
    assert_eq!(
        build(&root, &format!("--dataset second --against {first}")),
        second
    );
    ended(&mut andromeda(root.path(), &format!("verify {second}"))).with(0, &[]);
}

#[test]
fn a_build_that_cannot_be_compared_with_is_told_before_any_work() {
    let mut random = Random(32);
    let rows: Vec<Value> = (0..12).map(|_| row(&text(&mut random, 200))).collect();
    let root = catalogue(
        &[
            ("first", "high", "", rows.clone()),
            ("second", "medium", "", rows),
        ],
        "",
    );
    let manifests = root.path().join("manifests");
    let first = build(&root, "--dataset first");
    let recipe = fs::read_to_string(manifests.join("recipes/planted.toml")).unwrap();
    let against = |recipe: &str| {
        fs::write(manifests.join("recipes/other.toml"), recipe).unwrap();
        ended(&mut andromeda(
            root.path(),
            &format!("build --recipe other --dataset second --against {first}"),
        ))
    };
    against(&recipe.replace("bands = 14", "bands = 15"))
        .with(2, &["its signatures have another shape"]);
    against(&recipe.replace("[dedup]\n", "[normalize]\nnfc = false\n[dedup]\n"))
        .with(2, &["normalized another way"]);
    let nowhere = "build --recipe planted --dataset second --against nowhere";
    ended(&mut andromeda(root.path(), nowhere))
        .with(2, &["`nowhere` is no finished build", "andromeda status"]);
    fs::write(
        manifests.join("recipes/planted.toml"),
        recipe.replace("[dedup]\n", "[dedup]\nindex = false\n"),
    )
    .unwrap();
    let without = build(&root, "--dataset first");
    let run = format!("build --recipe planted --dataset second --against {without}");
    ended(&mut andromeda(root.path(), &run)).with(2, &["has no index"]);
    // All copies: nothing is left, which is told as such.
    ended(&mut andromeda(
        root.path(),
        &format!("build --recipe planted --dataset second --against {first}"),
    ))
    .with(20, &["no document was kept"]);
}

#[test]
fn the_newest_or_the_best_or_the_first_stays() {
    let mut random = Random(33);
    let base = text(&mut random, 200);
    let others: Vec<String> = (0..12).map(|_| text(&mut random, 200)).collect();
    let mut rows = vec![
        json!({"text": base, "when": "2020-05-01", "score": 0.5}),
        json!({"text": shortened(&base), "when": "2024-01-01T10:00:00Z", "score": 0.25}),
        json!({"text": format!("{base} More words follow it here."), "when": "2021-01-01", "score": -1}),
        json!({"text": base, "score": 0.75}),
    ];
    rows.extend(others.iter().map(|text| row(text)));
    for (keep, expected) in [
        ("newest", 1),
        ("highest-quality", 3),
        ("longest", 2),
        ("first", 0),
    ] {
        let root = catalogue(
            &[(
                "one",
                "high",
                "date = \"when\"\nquality = \"score\"\n",
                rows.clone(),
            )],
            "",
        );
        let recipe = root.path().join("manifests/recipes/planted.toml");
        let text = fs::read_to_string(&recipe).unwrap();
        fs::write(
            &recipe,
            text.replace("keep = \"longest\"", &format!("keep = \"{keep}\"")),
        )
        .unwrap();
        let folder = root.path().join(build(&root, "--dataset one"));
        let (all, _) = documents::find(&folder, "", usize::MAX).unwrap();
        let kept: Vec<u64> = all[..4]
            .iter()
            .filter(|d| d.verdict == "kept")
            .map(|d| d.row)
            .collect();
        assert_eq!(kept, [expected], "{keep}");
    }
}

#[test]
fn clusters_shows_the_largest_with_their_texts() {
    let mut random = Random(34);
    let texts: Vec<String> = (0..12).map(|_| text(&mut random, 200)).collect();
    let mut rows: Vec<Value> = texts.iter().map(|t| row(t)).collect();
    rows.extend([row(&texts[2]), row(&shortened(&texts[2])), row(&texts[5])]);
    let root = catalogue(&[("one", "high", "", rows)], "");
    build(&root, "--dataset one");
    let shown = ended(&mut andromeda(root.path(), "clusters --members 5"))
        .with(0, &[])
        .stdout;
    assert!(
        shown.contains("cluster 1: 3 documents") && shown.contains("cluster 2: 2 documents"),
        "{shown}"
    );
    assert!(
        shown.contains("kept: one/x.jsonl#2") && shown.contains("exact: one/x.jsonl#12"),
        "{shown}"
    );
    let words = texts[2].split(' ').next().unwrap();
    assert!(shown.contains(words), "{shown}");
    let json = ended(&mut andromeda(root.path(), "clusters --largest 1 --json"))
        .with(0, &[])
        .stdout;
    let cluster: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(cluster["documents"], 3);
    assert_eq!(cluster["members"][0]["text"], texts[2].as_str());
    ended(&mut andromeda(root.path(), "gc --all --yes")).with(0, &[]);
    let shown = ended(&mut andromeda(root.path(), "clusters"))
        .with(0, &[])
        .stdout;
    assert!(shown.contains("not in the work folder any more"), "{shown}");
}

#[test]
fn the_scope_decides_which_documents_meet() {
    let mut random = Random(35);
    let texts: Vec<String> = (0..14).map(|_| text(&mut random, 200)).collect();
    let rows = |skip: usize| -> Vec<Value> {
        let mut rows: Vec<Value> = texts[skip..].iter().map(|t| row(t)).collect();
        rows.push(row(&shortened(&texts[13])));
        rows
    };
    for (scope, kept) in [
        ("everything", 14),
        ("tier", 14 + 12),
        ("dataset", 14 + 13 + 12),
    ] {
        let root = catalogue(
            &[
                ("one", "high", "", rows(0)),
                ("two", "high", "", rows(1)),
                ("three", "medium", "", rows(2)),
            ],
            &format!("scope = \"{scope}\""),
        );
        let folder = root.path().join(build(&root, "--priority high,medium"));
        let (all, _) = documents::find(&folder, "", usize::MAX).unwrap();
        let found = all.iter().filter(|d| d.verdict == "kept").count();
        assert_eq!(found, kept, "{scope}");
    }
}
