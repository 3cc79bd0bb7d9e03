//! Items of evaluation sets, planted in documents with other case, punctuation and spacing: all are found, nothing else is,
//! and every one is accounted for in the tables, the counts and the text of the shards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use andromeda_format::Split;
use andromeda_pipeline::documents;
use andromeda_pipeline::tokenize::Tokenizer;
use andromeda_tests::corpus::{
    RECIPE, Random, json_line, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use serde_json::json;

use super::end_to_end::ids_of;
use super::{andromeda, build, ended, plan_of, tree};

/// Words of an item: enough for an n-gram, for a short text as a whole, or too few for either.
const WORDS: [usize; 4] = [30, 14, 9, 4];
const ITEMS: usize = 40;

/// A text as somebody else would have written it.
fn disguised(text: &str, way: usize) -> String {
    match way % 4 {
        0 => text.to_uppercase(),
        1 => text.replace(' ', "\n  "),
        2 => text.replace(' ', ", "),
        _ => text.replace(['.', ','], " ;"),
    }
}

/// Evaluation items, and documents of which every other one holds an item; by document the number of its item.
fn plant(root: &Path, decontaminate: &str) -> (Vec<String>, Vec<(String, Option<usize>)>) {
    let mut random = Random(41);
    let items: Vec<String> = (0..ITEMS)
        .map(|i| text(&mut random, WORDS[i % WORDS.len()]))
        .collect();
    let manifests = root.join("manifests");
    // Three quarters are rows of an evaluation set of the catalogue, the rest are held out of a set for training or in a file.
    let part = |from: usize| -> String {
        let rows = items.iter().enumerate().filter(|(i, _)| i / 4 % 3 == from);
        rows.map(|(i, item)| format!("{}\n", json!({ "text": item, "number": i })))
            .collect()
    };
    for (name, top) in [
        ("bench", "evaluation = true\n"),
        ("own", "tiers = [\"high\"]\n"),
    ] {
        fs::create_dir_all(root.join("corpus").join(name)).unwrap();
        let path = format!("../../corpus/{name}");
        write_manifest(&manifests, name, top, &path, "");
    }
    fs::write(root.join("corpus/bench/x.jsonl"), part(0) + &part(1)).unwrap();
    fs::write(manifests.join("extra.jsonl"), part(2)).unwrap();
    let documents: Vec<(String, Option<usize>)> = (0..2 * ITEMS)
        .map(|i| {
            let (before, after) = (text(&mut random, 60), text(&mut random, 60));
            if i % 2 == 0 {
                return (format!("{before}\n{after}"), None);
            }
            let item = disguised(&items[i / 2], i / 2 / 4);
            (format!("{before}\n{item}\n{after}"), Some(i / 2))
        })
        .collect();
    let lines: String = documents.iter().map(|(text, _)| json_line(text)).collect();
    fs::write(root.join("corpus/own/x.jsonl"), lines).unwrap();
    let table = format!("[decontaminate]\nagainst = [\"bench\", \"extra.jsonl\"]\n{decontaminate}");
    write_recipe(&manifests, "planted", &format!("{RECIPE}{table}"));
    write_tokenizer(&manifests);
    (items, documents)
}

fn is_sought(item: usize) -> bool {
    WORDS[item % WORDS.len()] >= 8
}

#[test]
fn documents_with_items_are_dropped_and_the_evidence_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let (items, documents) = plant(root, "");
    let plan = plan_of(root, "planted");
    let built = build(root, &plan, 2, 1 << 30).unwrap();
    let manifest = &built.manifest;
    let expected: BTreeSet<usize> = (0..ITEMS).filter(|item| is_sought(*item)).collect();
    let funnel = &manifest.funnel;
    assert!(funnel.balances());
    let dropped = funnel.dropped["contaminated"].documents;
    assert_eq!(dropped, expected.len() as u64);
    assert_eq!(
        funnel.kept.documents,
        (documents.len() - expected.len()) as u64
    );
    let sets: BTreeMap<&str, (u64, u64, u64, u64)> = manifest
        .decontaminated
        .iter()
        .map(|set| {
            (
                set.name.as_str(),
                (set.items, set.sought, set.found, set.documents),
            )
        })
        .collect();
    let of = |from: &[usize]| {
        let all = (0..ITEMS).filter(|item| from.contains(&(item / 4 % 3)));
        let sought = all.clone().filter(|item| is_sought(*item)).count() as u64;
        (all.count() as u64, sought, sought, sought)
    };
    assert_eq!(sets["bench"], of(&[0, 1]));
    assert_eq!(sets["extra.jsonl"], of(&[2]));
    // Row by row, with the words themselves as evidence.
    let rows: Vec<u64> = (0..documents.len() as u64).collect();
    let stretches = documents::contaminations(&built.folder, &rows).unwrap();
    let found: BTreeSet<usize> = stretches
        .iter()
        .map(|stretch| {
            let (text, item) = &documents[usize::try_from(stretch.row).unwrap()];
            let item = item.unwrap();
            let at = |byte: u64| usize::try_from(byte).unwrap();
            assert_eq!(text[at(stretch.start)..at(stretch.end)], stretch.text);
            let letters = |text: &str| -> String {
                let letters = text.chars().filter(|c| c.is_alphanumeric());
                letters.collect::<String>().to_lowercase()
            };
            assert_eq!(letters(&stretch.text), letters(&items[item]));
            assert_eq!(stretch.verdict, "dropped");
            item
        })
        .collect();
    assert_eq!(found, expected);
    let said = ended(&mut andromeda(root, "why own/x.jsonl#1"));
    assert_eq!(said.code, Some(0), "{said:#?}");
    for words in [
        "evaluation set (contaminated)",
        "bench/x.jsonl#0",
        "18 n-grams",
    ] {
        assert!(said.stdout.contains(words), "{words}: {}", said.stdout);
    }
    // The page shows what was found, and a sample of the rejects says of what.
    ended(&mut andromeda(root, "report --out page.html")).with(0, &[]);
    let page = std::fs::read_to_string(root.join("page.html")).unwrap();
    for words in [
        "Evaluation sets",
        "dropped for bench/x.jsonl#",
        "n-grams of it",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let said = ended(&mut andromeda(root, "rejects --reason contaminated")).with(0, &[]);
    assert!(
        said.stdout.contains("contaminated (bench/x.jsonl#"),
        "{}",
        said.stdout
    );
}

#[test]
fn items_are_cut_and_the_rest_of_the_document_is_in_the_shards() {
    let made = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let (items, documents) = plant(folder.path(), "action = \"cut\"\n");
        let plan = plan_of(folder.path(), "planted");
        let built = build(folder.path(), &plan, threads, 1 << 30).unwrap();
        (folder, items, documents, built)
    };
    let (_folder, items, documents, built) = made(1);
    let funnel = &built.manifest.funnel;
    assert!(funnel.balances());
    assert_eq!(funnel.kept.documents, documents.len() as u64);
    let sought: Vec<usize> = (0..ITEMS).filter(|item| is_sought(*item)).collect();
    let cut = funnel.trimmed["contamination"];
    assert_eq!(cut.documents, sought.len() as u64);
    let in_bytes: u64 = documents.iter().map(|(text, _)| text.len() as u64).sum();
    assert_eq!(funnel.kept.bytes + cut.bytes, in_bytes);
    let tokenizer = Tokenizer::load(&built.folder.join("tokenizer.json"), None).unwrap();
    let build = andromeda_format::Build::open(&built.folder).unwrap();
    let mut all = String::new();
    for split in Split::ALL {
        all += &tokenizer.decode(&ids_of(&build, split));
    }
    let letters = |text: &str| -> String {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.collect::<String>().to_lowercase()
    };
    let all = letters(&all);
    for (number, item) in items.iter().enumerate() {
        // Where a text was disguised by marks alone, its letters stand in the shards unless they were cut.
        assert_eq!(all.contains(&letters(item)), !is_sought(number), "{item}");
    }
    let (_folder, _, _, again) = made(2);
    assert_eq!(tree(&again.folder), tree(&built.folder));
}

#[test]
fn a_set_that_is_not_there_stops_the_plan() {
    for (against, words) in [
        ("\"bunch\"", ["`bunch`", "did you mean `bench`?"]),
        (
            "\"evals/none.jsonl\"",
            ["`evals/none.jsonl`", "there is no file"],
        ),
        (
            "\"own\"",
            ["`own` has no files for evaluation", "evaluation-files"],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        plant(root, "");
        let recipe = root.join("manifests/recipes/planted.toml");
        let written = fs::read_to_string(&recipe).unwrap();
        let written = written.replace("\"bench\", \"extra.jsonl\"", against);
        fs::write(&recipe, written).unwrap();
        ended(&mut andromeda(
            root,
            "plan --priority high --recipe planted",
        ))
        .with(2, &words);
        assert!(!root.join("shards").exists());
    }
}

#[test]
fn a_build_without_evaluation_sets_is_what_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, "");
    write_recipe(&root.join("manifests"), "planted", RECIPE);
    let plan = plan_of(root, "planted");
    let built = build(root, &plan, 2, 1 << 30).unwrap();
    let manifest = fs::read_to_string(built.folder.join("manifest.json")).unwrap();
    assert!(!manifest.contains("decontaminate"), "{manifest}");
    assert!(!built.folder.join("contamination.parquet").exists());
}
