//! A planted corpus in nine formats goes through the pipeline; every row's fate is known beforehand and found afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use andromeda_format::{Build, Count, Funnel, Split};
use andromeda_pipeline::documents::{self, Document};
use andromeda_pipeline::tokenize::Tokenizer;
use andromeda_tests::corpus::{
    Corpus, Fate, Planted, RECIPE, Random, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use tempfile::TempDir;

use super::{andromeda, build, ended, files, only_build, plan_of, root_hash, tree};

/// Plain documents of each dataset.
const PLAIN: usize = 24;

/// A planted corpus and what the pipeline made of it.
struct Made {
    root: TempDir,
    rows: Vec<Planted>,
    build: Build,
    documents: Vec<Document>,
}

fn made() -> Made {
    let root = tempfile::tempdir().unwrap();
    let rows = Corpus::plant(root.path(), PLAIN).rows;
    let built = build(root.path(), &plan_of(root.path(), "planted"), 2, 1 << 30).unwrap();
    let (documents, more) = documents::find(&built.folder, "", usize::MAX).unwrap();
    assert!(!more);
    Made {
        root,
        rows,
        build: Build::open(&built.folder).unwrap(),
        documents,
    }
}

#[test]
fn every_row_meets_its_planted_fate() {
    let made = made();
    let ids: Vec<&str> = made.documents.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(ids.len(), made.rows.len());
    for (row, document) in made.rows.iter().zip(&made.documents) {
        assert_eq!(document.id, row.id, "all rows are there, in plan order");
        let kept = document
            .kept
            .map(|row| ids[usize::try_from(row).unwrap()].to_owned());
        let fate = match (document.verdict.as_str(), document.reason.as_deref()) {
            ("kept", None) => Fate::Kept,
            ("dropped", Some("too-short")) => Fate::TooShort,
            ("duplicate", Some("exact")) => Fate::Exact(kept.unwrap()),
            ("duplicate", Some("near")) => Fate::Near(kept.unwrap()),
            ("quarantined", Some(reason)) => match &row.fate {
                Fate::Quarantined(planted) if *planted == reason => row.fate.clone(),
                _ => panic!(
                    "{} was quarantined for {reason}, but planted as {:?}",
                    row.id, row.fate
                ),
            },
            other => panic!("{}: {other:?}", row.id),
        };
        assert_eq!(fate, row.fate, "{}", row.id);
        assert_eq!(
            document.bytes,
            row.text.as_ref().map_or(0, |text| text.len() as u64),
            "{}",
            row.id
        );
        assert_eq!(document.dataset, row.dataset);
        assert!(document.id.contains(&document.file));
    }
}

#[test]
fn the_funnel_of_each_dataset_is_what_was_planted_and_balances() {
    let made = made();
    let manifest = made.build.manifest();
    let mut planted: BTreeMap<&str, Funnel> = BTreeMap::new();
    for row in &made.rows {
        let count = Count {
            documents: 1,
            bytes: row.text.as_ref().map_or(0, |text| text.len() as u64),
        };
        let funnel = planted.entry(row.dataset).or_default();
        funnel.documents_in += 1;
        funnel.bytes_in += count.bytes;
        let (counts, reason) = match &row.fate {
            Fate::Kept => {
                funnel.kept += count;
                continue;
            }
            Fate::TooShort => (&mut funnel.dropped, "too-short"),
            Fate::Exact(_) => (&mut funnel.duplicates, "exact"),
            Fate::Near(_) => (&mut funnel.duplicates, "near"),
            Fate::Quarantined(reason) => (&mut funnel.quarantined, *reason),
        };
        *counts.entry(reason.to_owned()).or_default() += count;
    }
    let mut all = Funnel::default();
    for dataset in &manifest.datasets {
        assert_eq!(
            dataset.funnel,
            planted[dataset.name.as_str()],
            "{}",
            dataset.name
        );
        assert!(dataset.funnel.balances(), "{}", dataset.name);
        all += &dataset.funnel;
    }
    assert_eq!(manifest.datasets.len(), planted.len());
    assert_eq!(manifest.funnel, all);
    let by_split: u64 = manifest.splits.values().map(|split| split.documents).sum();
    assert_eq!(by_split, all.kept.documents);
    let report = andromeda_format::verify(made.build.folder(), &mut |_| {}).unwrap();
    assert_eq!(report.faults, []);
    assert_eq!(
        report.tokens,
        manifest
            .splits
            .values()
            .map(|split| split.tokens)
            .sum::<u64>()
    );
}

/// The ids of a whole split, shard after shard.
pub(super) fn ids_of(build: &Build, split: Split) -> Vec<u32> {
    let entry = &build.manifest().splits[&split];
    let mut ids = Vec::new();
    for number in 0..entry.shards.len() {
        let mut shard = build.shard(split, number).unwrap();
        let tokens = shard.index().tokens;
        shard.read_tokens(0..tokens, &mut ids).unwrap();
    }
    assert_eq!(ids.len() as u64, entry.tokens);
    ids
}

#[test]
fn every_kept_document_decodes_to_its_text_where_the_table_says_it_is() {
    let made = made();
    let manifest = made.build.manifest();
    let tokenizer =
        Tokenizer::load(&made.build.folder().join(&manifest.tokenizer.file), None).unwrap();
    let end_of_text = manifest.tokenizer.end_of_text.id;
    let mut across = 0;
    for split in Split::ALL {
        let ids = ids_of(&made.build, split);
        let mut covered = 0;
        for (row, document) in made.rows.iter().zip(&made.documents) {
            if document.split.as_deref() != Some(split.name()) {
                continue;
            }
            let shard = document.shard.as_deref().unwrap();
            let number = manifest.splits[&split]
                .shards
                .iter()
                .position(|entry| entry.file == shard)
                .unwrap() as u64;
            let first = number * manifest.shard_tokens + document.token.unwrap();
            let tokens = u64::from(document.tokens.unwrap());
            across += u64::from(
                first / manifest.shard_tokens != (first + tokens - 1) / manifest.shard_tokens,
            );
            let range = usize::try_from(first).unwrap()..usize::try_from(first + tokens).unwrap();
            let (last, text) = ids[range].split_last().unwrap();
            assert_eq!(*last, end_of_text, "{}", row.id);
            assert!(
                !text.contains(&end_of_text),
                "{} forged an end of text",
                row.id
            );
            assert_eq!(Some(tokenizer.decode(text)), row.text, "{}", row.id);
            covered += tokens;
        }
        assert_eq!(
            covered,
            ids.len() as u64,
            "every token of {} belongs to a document",
            split.name()
        );
    }
    assert!(
        across > 10,
        "the shards are small, so that documents stand across their borders"
    );
}

#[test]
fn the_index_of_a_shard_names_the_row_of_every_document_in_it() {
    let made = made();
    for (split, entry) in &made.build.manifest().splits {
        for (number, file) in entry.shards.iter().enumerate() {
            let shard = made.build.shard(*split, number).unwrap();
            let mut start = 0;
            for (place, document) in shard.index().documents.iter().enumerate() {
                let row = &made.documents[usize::try_from(document.row).unwrap()];
                assert_eq!(row.split.as_deref(), Some(split.name()));
                assert_eq!(
                    made.build.manifest().datasets[document.source as usize].name,
                    row.dataset
                );
                if place > 0 || !shard.index().continues_from_previous {
                    assert_eq!(
                        (row.shard.as_deref(), row.token),
                        (Some(file.file.as_str()), Some(start)),
                        "{}",
                        row.id
                    );
                }
                start = document.end;
            }
        }
    }
}

#[test]
fn a_cluster_keeps_one_document_and_stands_in_one_split() {
    let made = made();
    assert_eq!(
        made.build.manifest().splits.len(),
        3,
        "the shares are large enough for all three"
    );
    let mut clusters: BTreeMap<u64, Vec<&Document>> = BTreeMap::new();
    for document in &made.documents {
        if let Some(cluster) = document.cluster {
            clusters.entry(cluster).or_default().push(document);
        }
    }
    for (first, members) in &clusters {
        assert_eq!(
            *first, members[0].row,
            "a cluster is called by its first document"
        );
        assert!(
            members
                .iter()
                .all(|d| d.cluster_documents.map(|n| n as usize) == Some(members.len()))
        );
        let kept: Vec<&&Document> = members.iter().filter(|d| d.verdict == "kept").collect();
        assert_eq!(kept.len(), 1, "{first}");
        assert!(
            members
                .iter()
                .filter(|d| d.verdict != "kept")
                .all(|d| d.kept == Some(kept[0].row) && d.split.is_none())
        );
    }
    // Planted twins are in one cluster, and nobody else is.
    let cluster_of: BTreeMap<&str, Option<u64>> = made
        .documents
        .iter()
        .map(|d| (d.id.as_str(), d.cluster))
        .collect();
    let mut copies: BTreeMap<&str, u32> = BTreeMap::new();
    for row in &made.rows {
        if let Fate::Exact(of) | Fate::Near(of) = &row.fate {
            assert_eq!(
                cluster_of[row.id.as_str()],
                cluster_of[of.as_str()],
                "{}",
                row.id
            );
            *copies.entry(of).or_default() += 1;
        }
    }
    for document in made.documents.iter().filter(|d| d.verdict == "kept") {
        let copies = copies.get(document.id.as_str()).copied().unwrap_or(0);
        assert_eq!(
            document.cluster_documents,
            Some(1 + copies),
            "{}",
            document.id
        );
    }
}

/// The rows of a table of the build, read by the parquet library alone.
fn rows_of(path: &Path) -> Vec<BTreeMap<String, Field>> {
    let reader = SerializedFileReader::new(fs::File::open(path).unwrap().into_file()).unwrap();
    let rows = reader.get_row_iter(None).unwrap();
    rows.map(|row| {
        row.unwrap()
            .get_column_iter()
            .map(|(name, field)| (name.clone(), field.clone()))
            .collect()
    })
    .collect()
}

#[test]
fn the_table_of_duplicates_names_each_dropped_copy_with_its_kept_twin() {
    let made = made();
    let planted: Vec<(&str, &str, &str)> = made
        .rows
        .iter()
        .filter_map(|row| match &row.fate {
            Fate::Exact(of) => Some((row.id.as_str(), of.as_str(), "exact")),
            Fate::Near(of) => Some((row.id.as_str(), of.as_str(), "near")),
            _ => None,
        })
        .collect();
    let rows = rows_of(&made.build.folder().join("duplicates.parquet"));
    assert_eq!(rows.len(), planted.len());
    for (row, (dropped, kept, method)) in rows.iter().zip(planted) {
        assert_eq!(row["dropped"], Field::Str(dropped.to_owned()));
        assert_eq!(row["kept"], Field::Str(kept.to_owned()), "{dropped}");
        assert_eq!(row["method"], Field::Str(method.to_owned()), "{dropped}");
        let Field::Float(similarity) = row["similarity"] else {
            panic!("{:?}", row["similarity"])
        };
        // One word of 160 or more was changed: a similarity of 0.93 at the least, signed with 112 hashes.
        let least = if method == "exact" { 1.0 } else { 0.8 };
        assert!(
            (least..=1.0).contains(&similarity),
            "{dropped}: {similarity}"
        );
    }
}

#[test]
fn a_copy_in_a_later_tier_loses_even_if_it_is_longer() {
    let made = made();
    let tiers: BTreeMap<&str, &str> = made
        .build
        .manifest()
        .datasets
        .iter()
        .map(|d| (d.name.as_str(), d.tier.as_str()))
        .collect();
    let mut across = BTreeSet::new();
    for document in &made.documents {
        let Some(kept) = document.kept else { continue };
        let kept = &made.documents[usize::try_from(kept).unwrap()];
        let (lost, won) = (
            tiers[document.dataset.as_str()],
            tiers[kept.dataset.as_str()],
        );
        assert!(
            won <= lost,
            "high comes before medium: {} lost to {}",
            document.id,
            kept.id
        );
        if won < lost && document.bytes > kept.bytes {
            across.insert(document.id.clone());
        }
    }
    assert!(!across.is_empty(), "such a copy was planted");
}

/// Copies a folder, files created in the reverse order of their paths.
fn copy_backwards(from: &Path, to: &Path) {
    let all: Vec<PathBuf> = files(from);
    for path in all.iter().rev() {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(path, to).unwrap();
    }
}

#[test]
fn bytes_depend_on_neither_threads_nor_memory_nor_the_order_of_files_nor_the_environment() {
    let one = tempfile::tempdir().unwrap();
    Corpus::plant(one.path(), PLAIN);
    let built = build(one.path(), &plan_of(one.path(), "planted"), 1, 64 << 30).unwrap();
    let expected = tree(&built.folder);
    // 64 KiB hold neither the signatures nor the keys of one band: other passes, the same answer.
    for (threads, memory) in [(2, 64 << 30), (3, 1 << 16), (1, 1 << 10)] {
        let other = tempfile::tempdir().unwrap();
        copy_backwards(
            one.path().join("corpus").as_path(),
            &other.path().join("corpus"),
        );
        copy_backwards(
            one.path().join("manifests").as_path(),
            &other.path().join("manifests"),
        );
        let plan = plan_of(other.path(), "planted");
        let built = build(other.path(), &plan, threads, memory).unwrap();
        assert_eq!(
            tree(&built.folder),
            expected,
            "{threads} threads, {memory} bytes"
        );
        assert!(built.folder.ends_with(&plan.name));
    }
    let arguments = [
        "--threads 1 --memory 500M",
        "--threads 3 --memory 64G --work elsewhere/work --shards elsewhere/shards",
    ];
    for (zone, language, mask, arguments) in [
        ("UTC", "C", "000", arguments[0]),
        ("Asia/Kathmandu", "tr_TR.UTF-8", "077", arguments[1]),
    ] {
        let other = tempfile::tempdir().unwrap();
        copy_backwards(
            one.path().join("corpus").as_path(),
            &other.path().join("corpus"),
        );
        copy_backwards(
            one.path().join("manifests").as_path(),
            &other.path().join("manifests"),
        );
        let command = andromeda(
            other.path(),
            &format!("build --priority high,medium --recipe planted {arguments}"),
        );
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", &format!("umask {mask}; exec \"$0\" \"$@\"")])
            .arg(command.get_program())
            .args(command.get_args());
        shell
            .current_dir(other.path())
            .env("TZ", zone)
            .env("LANG", language)
            .env("LC_ALL", language);
        ended(&mut shell).with(0, &[]);
        let place = if arguments.contains("elsewhere") {
            other.path().join("elsewhere")
        } else {
            other.path().to_path_buf()
        };
        assert_eq!(
            tree(&place.join("shards").join(built.folder.file_name().unwrap())),
            expected,
            "{zone} {language} {mask}"
        );
        assert_eq!(root_hash(&place), built.manifest.root);
    }
    drop(one);
}

#[test]
fn building_again_changes_nothing() {
    let made = made();
    let before = tree(made.root.path());
    let plan = plan_of(made.root.path(), "planted");
    let again = build(made.root.path(), &plan, 2, 1 << 30).unwrap();
    assert!(again.was_there);
    assert_eq!(again.manifest, *made.build.manifest());
    let mut after = tree(made.root.path());
    // The memory of file digests may have learnt more; it is no result.
    after.remove("work/digests.json");
    assert!(
        after
            .iter()
            .all(|(name, hash)| before.get(name) == Some(hash))
    );
    // Without its manifest a build is unfinished: it is made again from the intermediates, to the byte.
    fs::remove_file(again.folder.join("manifest.json")).unwrap();
    let third = build(made.root.path(), &plan, 1, 1 << 30).unwrap();
    assert!(!third.was_there);
    let mut finished = tree(made.root.path());
    finished.remove("work/digests.json");
    assert_eq!(finished, after);
}

#[test]
fn the_sources_of_dependencies_are_found_through_cargo_home_and_those_that_are_not_there_are_counted()
 {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let manifests = root.join("manifests");
    write_manifest(
        &manifests,
        "crates",
        "",
        "none",
        "[read]\nformat = \"text\"\n",
    );
    write_recipe(&manifests, "planted", RECIPE);
    write_tokenizer(&manifests);
    let file = manifests.join("datasets/crates.toml");
    let written = fs::read_to_string(&file).unwrap().replace(
        "[source.folder]\npath = \"none\"",
        "[source.cargo]\nlock = \"../../Cargo.lock\"\nfiles = [\"**/*.rs\"]\nexclude = [\"**/tests/**\"]",
    );
    fs::write(&file, written).unwrap();
    let mut lock = "version = 4\n".to_owned();
    // The workspace's own package has no source; `gone` is not on this machine; `other` is in no lock file.
    for (name, source) in [("own", ""), ("here", "s"), ("there", "s"), ("gone", "s")] {
        lock += &format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
        if !source.is_empty() {
            lock += "source = \"registry+https://registry.example/index\"\n";
        }
    }
    fs::write(root.join("Cargo.lock"), lock).unwrap();
    let mut random = Random(5);
    let mut put = |path: &str| {
        let path = root.join("home/registry/src").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text(&mut random, 160)).unwrap();
    };
    for path in [
        "index-1/here-1.0.0/src/lib.rs",
        "index-1/here-1.0.0/src/deep/er.rs",
        "index-1/here-1.0.0/tests/it.rs",
        "index-1/here-1.0.0/README.md",
        "index-1/other-1.0.0/src/lib.rs",
        "index-2/there-1.0.0/lib.rs",
    ] {
        put(path);
    }
    let arguments = "--dataset crates --recipe planted";
    let plan =
        ended(andromeda(root, &format!("plan {arguments}")).env("CARGO_HOME", root.join("home")))
            .with(0, &[]);
    assert!(
        plan.stdout
            .contains("1 of 3 packages are not on this machine"),
        "{plan:#?}"
    );
    ended(andromeda(root, &format!("build {arguments}")).env("CARGO_HOME", root.join("home")))
        .with(0, &[]);
    let (found, _) = documents::find(&only_build(root), "", usize::MAX).unwrap();
    let ids: Vec<&str> = found.iter().map(|d| d.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "crates/here-1.0.0/src/deep/er.rs",
            "crates/here-1.0.0/src/lib.rs",
            "crates/there-1.0.0/lib.rs",
        ]
    );
    ended(andromeda(root, &format!("plan {arguments}")).env("CARGO_HOME", root.join("nowhere")))
        .with(2, &["no dependency's sources", "CARGO_HOME", "cargo fetch"]);
}
