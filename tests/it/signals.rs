//! Statistics in the table of documents, and thresholds tried on them, held against counts of our own.

use std::path::Path;

use andromeda_tests::corpus::{
    RECIPE, Random, json_line, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use serde_json::Value;

use super::{andromeda, ended};

/// Texts of many lengths, some shorter than the recipe's 100 characters, and a row that is none. Their texts.
fn plant(root: &Path) -> Vec<String> {
    let mut random = Random(41);
    let mut texts: Vec<String> = (0..60)
        .map(|number| text(&mut random, 30 + 5 * number))
        .collect();
    texts.extend((0..10).map(|number| format!("caf\u{e9} {number}")));
    let folder = root.join("corpus/own");
    fs::create_dir_all(&folder).unwrap();
    let mut lines: String = texts.iter().map(|text| json_line(text)).collect();
    lines += "{broken\n";
    fs::write(folder.join("x.jsonl"), lines).unwrap();
    let manifests = root.join("manifests");
    write_manifest(
        &manifests,
        "own",
        "tiers = [\"high\"]\n",
        "../../corpus/own",
        "",
    );
    write_tokenizer(&manifests);
    let recipe = format!(
        "{RECIPE}\n[signals]\ncolumns = [\"characters\", \"alphanumeric-*\", \"dclm-words\"]\n"
    );
    write_recipe(&manifests, "planted", &recipe);
    let build = "build --priority all --recipe planted --memory 512M";
    ended(&mut andromeda(root, build)).with(0, &[]);
    texts
}

fn json(root: &Path, arguments: &str) -> Value {
    let said = ended(&mut andromeda(root, arguments)).with(0, &[]);
    serde_json::from_str(&said.stdout).unwrap()
}

#[test]
fn statistics_are_of_every_document_and_thresholds_drop_what_they_say() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let texts = plant(root);
    let mut lengths: Vec<usize> = texts.iter().map(|text| text.chars().count()).collect();
    lengths.sort_unstable();

    let said = ended(&mut andromeda(root, "signals --json")).with(0, &[]);
    let spreads: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let names: Vec<&str> = spreads
        .iter()
        .map(|spread| spread["signal"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["characters", "alphanumeric-fraction", "dclm-words"]);
    let characters = &spreads[0];
    assert_eq!(characters["documents"], texts.len());
    let sum: usize = lengths.iter().sum();
    assert_eq!(characters["mean"], sum as f64 / texts.len() as f64);
    // The least, the median (of an even number the lower), the most.
    let at = |place: usize| characters["quantiles"][place].as_f64().unwrap();
    let middle = lengths[texts.len() / 2 - 1];
    assert_eq!(
        [at(0), at(4), at(8)],
        [lengths[0], middle, lengths[texts.len() - 1]].map(|length| length as f64)
    );

    // A minimum: what is shorter goes, and is said by what became of it.
    let tune = json(
        root,
        "tune --signal characters --min 500 --samples 2 --json",
    );
    let below: Vec<&usize> = lengths.iter().filter(|length| **length < 500).collect();
    assert_eq!(tune["all"]["dropped_documents"], below.len());
    assert_eq!(tune["all"]["documents"], texts.len());
    let short = lengths.iter().filter(|length| **length < 100).count();
    assert!(short >= 10);
    assert_eq!(
        tune["fates"]["dropped: too-short"]["dropped_documents"],
        short
    );
    assert_eq!(
        tune["fates"]["kept"]["dropped_documents"],
        below.len() - short
    );
    let samples = tune["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 4);
    // Nearest first on either side, with the text that was read.
    assert_eq!(samples[0]["value"], **below.last().unwrap() as f64);
    assert_eq!(samples[0]["goes"], true);
    let text = samples[0]["text"].as_str().unwrap();
    assert!(texts.iter().any(|whole| whole.starts_with(text)), "{text}");

    // A share: at least so many stay, and one less than that threshold would be too few.
    let tune = json(
        root,
        "tune --signal characters --keep 0.5 --keep-largest --json",
    );
    let limit = tune["limit"].as_f64().unwrap();
    let stay = lengths
        .iter()
        .filter(|length| **length as f64 >= limit)
        .count();
    assert!(stay * 2 >= texts.len());
    assert!(
        lengths
            .iter()
            .filter(|length| **length as f64 > limit)
            .count()
            * 2
            < texts.len()
    );
    assert_eq!(tune["all"]["dropped_documents"], texts.len() - stay);

    // A rule's own threshold, at its published value and at another.
    let tune = json(root, "tune --rule gopher-quality.min-words --json");
    assert_eq!(
        (&tune["signal"], &tune["limit"]),
        (&"dclm-words".into(), &50.0.into())
    );
    let said = ended(&mut andromeda(
        root,
        "tune --rule length.min-characters --min 90",
    ))
    .with(0, &[]);
    assert!(
        said.stdout
            .contains("[profile.NAME.\"length\"] min-characters = 90"),
        "{said:?}"
    );
}

#[test]
fn what_is_not_there_is_said_with_what_is() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    plant(root);
    for (arguments, words) in [
        (
            "tune --signal character --min 5",
            "did you mean `characters`?",
        ),
        (
            "tune --rule gopher-quality.min-word",
            "did you mean `gopher-quality.min-words`?",
        ),
        (
            "tune --rule gopher-quality.max-words --min 3",
            "is a maximum",
        ),
        (
            "tune --signal dolma-words --min 3",
            "has no column of dolma-words; it has characters",
        ),
        ("tune --signal characters", "--max VALUE, or --keep SHARE"),
        ("tune --min 3", "--signal"),
        ("signals --dataset other", "no dataset `other`; it has own"),
    ] {
        ended(&mut andromeda(root, arguments)).with(2, &[words]);
    }
    write_recipe(
        &root.join("manifests"),
        "wrong",
        &format!("{RECIPE}\n[signals]\ncolumns = [\"dclm-word\"]\n"),
    );
    ended(&mut andromeda(root, "plan --priority all --recipe wrong")).with(
        2,
        &[
            "no signal is called `dclm-word`",
            "did you mean `dclm-words`?",
            "signals --list",
        ],
    );
    write_recipe(&root.join("manifests"), "none", RECIPE);
    ended(&mut andromeda(
        root,
        "build --priority all --recipe none --memory 512M",
    ))
    .with(0, &[]);
    ended(&mut andromeda(root, "signals")).with(2, &["has no statistics", "[signals]"]);
    // All at once: no name is that of another column.
    write_recipe(
        &root.join("manifests"),
        "all",
        &format!("{RECIPE}\n[signals]\ncolumns = [\"*\"]\n"),
    );
    ended(&mut andromeda(
        root,
        "build --priority all --recipe all --memory 512M",
    ))
    .with(0, &[]);
    let listed = ended(&mut andromeda(root, "signals --list --json")).with(0, &[]);
    let there = ended(&mut andromeda(root, "signals --json")).with(0, &[]);
    assert_eq!(there.stdout.lines().count(), listed.stdout.lines().count());
    let said = ended(&mut andromeda(root, "signals --list")).with(0, &[]);
    assert!(said.stdout.contains("datatrove-top-2-gram-fraction"));
}
