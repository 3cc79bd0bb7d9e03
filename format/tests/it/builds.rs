//! Opening and verifying builds, sound and not.

use std::path::Path;
use std::time::{Duration, Instant};

use andromeda_format::{
    Build, Count, FormatError, Funnel, Manifest, ShardEntry, Split, VerifyEvent, verify,
    write_atomic,
};

use crate::corpus::{Corpus, Document, TOKENIZER, sha256};

struct Made {
    folder: tempfile::TempDir,
    manifest: Manifest,
}

fn made() -> Made {
    let folder = tempfile::tempdir().unwrap();
    let manifest = Corpus::small(300).write(folder.path());
    Made { folder, manifest }
}

impl Made {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Result<Build, FormatError> {
        Build::open(self.folder.path())
    }

    fn faults(&self) -> Vec<(String, String)> {
        let mut told = Vec::new();
        let report = verify(self.folder.path(), &mut |event| {
            if let VerifyEvent::Fault { file, fault } = event {
                told.push((file, fault));
            }
        });
        let report = report.unwrap();
        assert_eq!(told, report.faults);
        told
    }

    /// The only fault.
    fn fault(&self) -> (String, String) {
        let mut faults = self.faults();
        assert_eq!(faults.len(), 1, "{faults:#?}");
        faults.remove(0)
    }

    /// Changes the manifest's text and makes its root suit again, as somebody would who wants to deceive.
    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path("manifest.json")).unwrap();
        assert!(text.contains(from), "{text}");
        self.put(&text.replacen(from, to, 1));
    }

    fn put(&self, text: &str) {
        let at = text.find("\"root\": \"").unwrap() + 9;
        let zeroed = [&text[..at], &"0".repeat(64), &text[at + 64..]].concat();
        let text = [&text[..at], &sha256(zeroed.as_bytes()), &text[at + 64..]].concat();
        std::fs::write(self.path("manifest.json"), text).unwrap();
    }

    /// Another shard file, with a manifest that knows it.
    fn replace_shard(
        &mut self,
        split: Split,
        number: usize,
        change: impl FnOnce(&mut ShardEntry) -> Vec<u8>,
    ) {
        let entry = &mut self.manifest.splits.get_mut(&split).unwrap().shards[number];
        let bytes = change(entry);
        entry.bytes = bytes.len() as u64;
        entry.sha256 = sha256(&bytes);
        std::fs::write(self.folder.path().join(&entry.file), bytes).unwrap();
        let bytes = self.manifest.to_bytes().unwrap();
        write_atomic(&self.path("manifest.json"), &bytes).unwrap();
    }
}

#[test]
fn a_sound_build_opens_and_every_file_of_it_is_read() {
    let made = made();
    let build = made.open().unwrap();
    assert_eq!(build.manifest(), &made.manifest);
    assert_eq!(build.folder(), made.folder.path());
    let mut checked = Vec::new();
    let report = verify(made.folder.path(), &mut |event| match event {
        VerifyEvent::Checked { file, bytes } => checked.push((file, bytes)),
        VerifyEvent::Fault { file, fault } => panic!("{file}: {fault}"),
    });
    let report = report.unwrap();
    let mut there: Vec<_> = std::fs::read_dir(made.folder.path())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().len(),
            )
        })
        .collect();
    there.sort();
    checked.sort();
    assert_eq!(checked, there);
    assert_eq!(report.files, there.len() as u64);
    assert_eq!(
        report.bytes,
        there.iter().map(|(_, bytes)| bytes).sum::<u64>()
    );
    assert_eq!(
        report.tokens,
        made.manifest
            .splits
            .values()
            .map(|split| split.tokens)
            .sum::<u64>()
    );
    assert_eq!(report.root, made.manifest.root);
}

#[test]
fn the_same_corpus_makes_the_same_root_and_another_another() {
    let root = |corpus: &Corpus| corpus.write(tempfile::tempdir().unwrap().path()).root;
    let corpus = Corpus::small(300);
    assert_eq!(root(&corpus), root(&corpus.clone()));
    let mut other = corpus.clone();
    other.documents.swap(0, 5);
    assert_ne!(root(&corpus), root(&other));
}

#[test]
fn shards_hold_the_split_cut_at_the_same_length() {
    let made = made();
    let corpus = Corpus::small(300);
    let build = made.open().unwrap();
    let shards = &made.manifest.splits[&Split::Train].shards;
    assert!(shards.len() > 1, "the corpus is to need several shards");
    let mut ids = Vec::new();
    for (number, entry) in shards.iter().enumerate() {
        let mut shard = build.shard(Split::Train, number).unwrap();
        shard.read_tokens(0..entry.tokens, &mut ids).unwrap();
    }
    assert_eq!(ids, corpus.tokens(Split::Train));
    let error = build.shard(Split::Train, shards.len()).unwrap_err();
    assert!(matches!(error, FormatError::Missing { .. }), "{error:?}");
}

#[test]
fn ten_thousand_shards_open_in_well_under_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let tokens = 4;
    let shards = 10_000;
    let document = |_| Document {
        split: Split::Train,
        source: 0,
        tokens,
        masked: 0..0,
    };
    let mut corpus = Corpus {
        vocab_size: 300,
        frame_tokens: 4,
        shard_tokens: tokens,
        documents: (0..1).map(document).collect(),
    };
    corpus.write(folder.path());
    let shard = std::fs::read(folder.path().join("train-00000.zst")).unwrap();
    corpus.documents = (0..shards).map(document).collect();
    let mut manifest = Corpus {
        documents: corpus.documents.clone(),
        shard_tokens: tokens * shards,
        ..corpus
    }
    .write(folder.path());
    manifest.shard_tokens = tokens;
    manifest.splits.get_mut(&Split::Train).unwrap().shards = (0..shards)
        .map(|number| {
            let file = format!("train-{number:05}.zst");
            // Links to one file: ten thousand of them take longer to write than to open.
            let path = folder.path().join(&file);
            if number == 0 {
                std::fs::write(path, &shard).unwrap();
            } else {
                std::fs::hard_link(folder.path().join("train-00000.zst"), path).unwrap();
            }
            ShardEntry {
                file,
                bytes: shard.len() as u64,
                sha256: sha256(&shard),
                tokens,
                documents: 1,
            }
        })
        .collect();
    std::fs::write(
        folder.path().join("manifest.json"),
        manifest.to_bytes().unwrap(),
    )
    .unwrap();
    let start = Instant::now();
    let build = Build::open(folder.path()).unwrap();
    let took = start.elapsed();
    println!("{shards} shards opened in {took:?}");
    // Well under a second where nothing else runs.
    assert!(took < Duration::from_secs(5), "{took:?}");
    build.shard(Split::Train, 9_999).unwrap().verify().unwrap();
}

#[test]
fn a_folder_without_a_manifest_is_no_build() {
    let folder = tempfile::tempdir().unwrap();
    for error in [
        Build::open(folder.path()).unwrap_err(),
        verify(folder.path(), &mut |_| {}).unwrap_err(),
    ] {
        assert!(
            matches!(&error, FormatError::Missing { file } if file.ends_with("manifest.json")),
            "{error:?}"
        );
    }
    let error = Build::open(Path::new("no/such/folder")).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn every_missing_file_is_named() {
    let names: Vec<String> = made().manifest.splits[&Split::Train]
        .shards
        .iter()
        .map(|s| s.file.clone())
        .collect();
    for name in names
        .iter()
        .map(String::as_str)
        .chain(["tokenizer.json", "documents.parquet"])
    {
        let made = made();
        std::fs::remove_file(made.path(name)).unwrap();
        assert!(
            matches!(made.open().unwrap_err(), FormatError::Missing { file } if file.ends_with(name)),
            "{name}"
        );
        let faults = made.faults();
        assert!(
            faults.iter().all(|(file, fault)| file == name
                && (fault.contains("missing") || fault.contains("No such"))),
            "{faults:?}"
        );
    }
}

#[test]
fn a_file_of_another_size_is_noticed_when_the_build_is_opened() {
    let made = made();
    let path = made.path("train-00001.zst");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.pop();
    std::fs::write(&path, &bytes).unwrap();
    let error = made.open().unwrap_err();
    assert!(
        matches!(&error, FormatError::Size { file, found, listed } if *file == path && found + 1 == *listed),
        "{error:?}"
    );
    assert_eq!(made.faults()[0].0, "train-00001.zst");
}

#[test]
fn changed_content_of_the_same_size_is_noticed_by_verification() {
    for name in ["tokenizer.json", "documents.parquet", "duplicates.parquet"] {
        let made = made();
        let mut bytes = std::fs::read(made.path(name)).unwrap();
        bytes[3] ^= 0x20;
        std::fs::write(made.path(name), bytes).unwrap();
        made.open().unwrap();
        let (file, fault) = made.fault();
        assert!(file == name && fault.contains("sha256"), "{fault}");
    }
}

#[test]
fn every_changed_bit_of_a_manifest_is_noticed() {
    let mut bytes = std::fs::read(made().path("manifest.json")).unwrap();
    let file = Path::new("manifest.json");
    Manifest::parse(file, &bytes).unwrap();
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(
            Manifest::parse(file, &bytes).is_err(),
            "bit {} of byte {}",
            bit % 8,
            bit / 8
        );
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..bytes.len() {
        assert!(
            Manifest::parse(file, &bytes[..length]).is_err(),
            "cut to {length}"
        );
    }
    bytes.push(b' ');
    assert!(matches!(
        Manifest::parse(file, &bytes).unwrap_err(),
        FormatError::Root { .. }
    ));
}

#[test]
fn an_edited_manifest_shows_in_its_root() {
    let made = made();
    let path = made.path("manifest.json");
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replacen("\"level\": 3", "\"level\": 4", 1);
    std::fs::write(&path, text).unwrap();
    match made.open().unwrap_err() {
        FormatError::Root {
            written, computed, ..
        } => {
            assert_eq!(written, made.manifest.root);
            assert_ne!(written, computed);
        }
        other => panic!("{other:?}"),
    }
    let (file, fault) = made.fault();
    assert!(
        file == "manifest.json" && fault.contains("was changed"),
        "{fault}"
    );
}

#[test]
fn what_was_trimmed_counts_in_bytes_and_not_in_documents() {
    let count = |documents, bytes| Count { documents, bytes };
    let mut funnel = Funnel {
        documents_in: 3,
        bytes_in: 300,
        kept: count(3, 250),
        ..Funnel::default()
    };
    assert!(!funnel.balances());
    funnel.trimmed.insert("lines".to_owned(), count(2, 30));
    funnel.trimmed.insert("spans".to_owned(), count(3, 20));
    assert!(funnel.balances());
    let mut twice = funnel.clone();
    twice += &funnel;
    assert_eq!(twice.trimmed["lines"], count(4, 60));
    assert!(twice.balances());
    funnel.trimmed.insert("lines".to_owned(), count(4, 30));
    assert!(!funnel.balances(), "more documents than were kept");

    let mut manifest = made().manifest;
    let plain = manifest.to_bytes().unwrap();
    assert!(!String::from_utf8(plain).unwrap().contains("trimmed"));
    for funnel in [&mut manifest.datasets[0].funnel, &mut manifest.funnel] {
        funnel.trimmed.insert("lines".to_owned(), count(1, 10));
        funnel.bytes_in += 10;
    }
    let bytes = manifest.to_bytes().unwrap();
    let read = Manifest::parse(Path::new("manifest.json"), &bytes).unwrap();
    assert_eq!(read, manifest);
}

#[test]
fn counts_that_do_not_add_up_are_noticed_even_under_a_root_that_suits() {
    let counts = |from: &str, to: &str, says: &str| {
        let made = made();
        made.edit(from, to);
        match made.open().unwrap_err() {
            FormatError::Counts { what } => assert!(what.contains(says), "{what}"),
            other => panic!("{other:?}"),
        }
        assert_eq!(made.fault().0, "manifest.json");
    };
    let made = made();
    let prose = &made.manifest.datasets[0];
    let documents_in = format!("\"documents_in\": {}", prose.funnel.documents_in);
    counts(
        &documents_in,
        "\"documents_in\": 7",
        "dataset prose: in is not kept",
    );
    counts(
        &documents_in,
        "\"documents_in\": 18446744073709551615",
        "dataset prose: in is not kept",
    );
    counts(
        "\"documents\": 3,",
        "\"documents\": 4,",
        "dataset prose: in is not kept",
    );
    for bytes_in in [
        prose.funnel.bytes_in - 1,
        prose.funnel.bytes_in + 1,
        u64::MAX,
    ] {
        let from = format!("\"bytes_in\": {}", prose.funnel.bytes_in);
        counts(
            &from,
            &format!("\"bytes_in\": {bytes_in}"),
            "dataset prose: in is not kept",
        );
    }
    let train = &made.manifest.splits[&Split::Train];
    let part = |split: Split| format!("\"tokens\": {}", prose.splits[&split].tokens);
    counts(
        &part(Split::Train),
        "\"tokens\": 18446744073709551615",
        "split train: the datasets' parts",
    );
    counts(
        &format!("\"tokens\": {}", train.tokens),
        "\"tokens\": 1",
        "split train: the datasets' parts",
    );
    counts(
        "\"tokens\": 300",
        "\"tokens\": 299",
        "split train: the shards do not hold",
    );
    counts(
        "\"shard_tokens\": 300",
        "\"shard_tokens\": 301",
        "the shards do not hold",
    );
    let mut funnel = made.manifest.clone();
    funnel.funnel.quarantined.clear();
    assert!(matches!(
        funnel.to_bytes().unwrap_err(),
        FormatError::Unwritable { .. }
    ));
    let mut splits = made.manifest.clone();
    splits.splits.remove(&Split::Val);
    assert!(
        matches!(splits.to_bytes().unwrap_err(), FormatError::Unwritable { what } if what.contains("no split val"))
    );
    let mut moved = made.manifest.clone();
    let val = moved.datasets[0].splits.get_mut(&Split::Val).unwrap();
    val.documents += 1;
    assert!(
        matches!(moved.to_bytes().unwrap_err(), FormatError::Unwritable { what } if what.contains("documents that were kept"))
    );
}

#[test]
fn what_is_no_manifest_says_why() {
    let manifest = |from: &str, to: &str, says: &str| {
        let made = made();
        made.edit(from, to);
        match made.open().unwrap_err() {
            FormatError::Manifest { file, what } => {
                assert!(
                    file.ends_with("manifest.json") && what.contains(says),
                    "{what}"
                );
            }
            other => panic!("{other:?}"),
        }
    };
    manifest("andromeda-build", "another-build", "its format is");
    manifest("\"program\"", "\"programme\"", "unknown field `programme`");
    manifest("\"name\": \"made-up\",", "", "missing field `name`");
    manifest("\"version\": 1", "\"version\": \"1\"", "invalid type");
    manifest("\"id\": 0", "\"id\": 300", "outside the vocabulary");
    manifest(
        "\"vocab_size\": 300",
        "\"vocab_size\": 70000",
        "do not suit the vocabulary",
    );
    manifest("\"frame_tokens\": 64", "\"frame_tokens\": 0", "no size");
    manifest(
        "\"frame_tokens\": 64",
        "\"frame_tokens\": 16777217",
        "no size",
    );
    manifest("\"shard_tokens\": 300", "\"shard_tokens\": 0", "no size");
    manifest("train-00001.zst", "train-00000.zst", "twice");
    manifest("documents.parquet", "tokenizer.json", "twice");
    let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    manifest("0.005", &deep, "recursion limit");
    manifest(&sha256(TOKENIZER), "none", "tokenizer's sha256");
    for outside in [
        "../train-00000.zst",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a\\\\b",
        "a\\u0000b",
    ] {
        manifest("train-00000.zst", outside, "no name of a file");
    }
    for (bytes, says) in [
        (&b"\xFF"[..], "utf-8"),
        (b"", "EOF"),
        (b"[]", "invalid"),
        (&[b'['; 100_000], "invalid type"),
    ] {
        match Manifest::parse(Path::new("manifest.json"), bytes).unwrap_err() {
            FormatError::Manifest { what, .. } => assert!(what.contains(says), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_later_version_is_told_from_a_broken_manifest() {
    let made = made();
    made.edit(
        "\"version\": 1",
        "\"version\": 2, \"field_of_version_2\": {}",
    );
    let error = made.open().unwrap_err();
    assert!(
        matches!(
            error,
            FormatError::Version {
                found: 2,
                newest: 1,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("newer"), "{error}");
}

#[test]
fn a_file_the_manifest_does_not_know_is_a_fault() {
    let made = made();
    std::fs::write(made.path(".train-00000.zst.1-0.part"), b"left over").unwrap();
    std::fs::write(made.path("a"), b"x").unwrap();
    let faults = made.faults();
    let names: Vec<&str> = faults.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(names, [".train-00000.zst.1-0.part", "a"]);
    made.open().unwrap();
}

#[test]
fn swapped_and_doubled_shards_are_noticed() {
    let swapped = made();
    let (a, b) = (
        swapped.path("train-00000.zst"),
        swapped.path("train-00001.zst"),
    );
    let (first, second) = (std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());
    std::fs::write(&a, &second).unwrap();
    std::fs::write(&b, &first).unwrap();
    let faults = swapped.faults();
    for name in ["train-00000.zst", "train-00001.zst"] {
        assert!(faults.iter().any(|(file, _)| file == name), "{faults:?}");
    }
    let doubled = made();
    std::fs::write(doubled.path("train-00001.zst"), &first).unwrap();
    assert_eq!(doubled.faults()[0].0, "train-00001.zst");
}

#[test]
fn a_shard_of_another_build_is_foreign() {
    let foreign = |change: fn(&mut Corpus), what: &str| {
        let mut made = made();
        let mut other = Corpus::small(300);
        change(&mut other);
        let folder = tempfile::tempdir().unwrap();
        let manifest = other.write(folder.path());
        let bytes = std::fs::read(folder.path().join("val-00000.zst")).unwrap();
        let same_tokens =
            manifest.splits[&Split::Val].tokens == made.manifest.splits[&Split::Val].tokens;
        assert!(same_tokens || what == "number of tokens");
        made.replace_shard(Split::Val, 0, |_| bytes);
        match made.open().unwrap().shard(Split::Val, 0).unwrap_err() {
            FormatError::Foreign { file, what: found } => {
                assert!(file.ends_with("val-00000.zst") && found == what, "{found}");
            }
            other => panic!("{other:?}"),
        }
        assert!(
            made.faults()
                .iter()
                .any(|(file, fault)| file == "val-00000.zst" && fault.contains(what))
        );
    };
    foreign(|corpus| corpus.vocab_size = 301, "vocabulary");
    foreign(|corpus| corpus.frame_tokens = 32, "frame size");
    foreign(|corpus| corpus.documents[3].tokens += 1, "number of tokens");
    foreign(
        |corpus| {
            let place = corpus
                .documents
                .iter()
                .position(|d| d.split == Split::Val && d.tokens > 9)
                .unwrap();
            let half = Document {
                tokens: 4,
                masked: 0..0,
                ..corpus.documents[place].clone()
            };
            corpus.documents[place].tokens -= 4;
            corpus.documents[place].masked = 0..0;
            corpus.documents.insert(place, half);
        },
        "number of documents",
    );
    let changed = |change: fn(&mut Manifest), what: &str| {
        let mut made = made();
        change(&mut made.manifest);
        let bytes = made.manifest.to_bytes().unwrap();
        std::fs::write(made.path("manifest.json"), bytes).unwrap();
        let error = made.open().unwrap().shard(Split::Train, 0).unwrap_err();
        assert!(
            matches!(&error, FormatError::Foreign { what: found, .. } if *found == what),
            "{error:?}"
        );
    };
    changed(
        |manifest| manifest.tokenizer.sha256 = sha256(b"another"),
        "tokenizer",
    );
    changed(
        |manifest| manifest.tokenizer.end_of_text.id = 1,
        "end of text",
    );
    changed(
        |manifest| {
            manifest.tokenizer.vocab_size = 70_000;
            manifest.token_width = andromeda_format::TokenWidth::U32;
        },
        "vocabulary",
    );
}

/// Writes a shard with the val split's ids and documents but for what `change` does.
fn rewrite_val(
    change: impl FnOnce(
        &mut Vec<u32>,
        &mut Vec<andromeda_format::DocumentEntry>,
        &mut andromeda_format::ShardFlags,
    ),
) -> Made {
    let mut made = made();
    let corpus = Corpus::small(300);
    let index = made
        .open()
        .unwrap()
        .shard(Split::Val, 0)
        .unwrap()
        .index()
        .clone();
    let (mut ids, mut documents) = (corpus.tokens(Split::Val), index.documents);
    let mut flags = andromeda_format::ShardFlags::default();
    change(&mut ids, &mut documents, &mut flags);
    let (bytes, summary) = andromeda_format::write_shard(
        &corpus.spec(),
        &ids,
        &documents,
        &index.masked,
        flags,
        Vec::new(),
    )
    .unwrap();
    made.replace_shard(Split::Val, 0, |entry| {
        entry.documents = summary.documents;
        bytes
    });
    made
}

#[test]
fn shards_that_were_packed_wrong_are_noticed_by_verification() {
    assert!(rewrite_val(|_, _, _| {}).faults().is_empty());
    let (file, fault) = rewrite_val(|ids, _, _| *ids.last_mut().unwrap() = 1).fault();
    assert!(
        file == "val-00000.zst" && fault.contains("does not end with the end of text"),
        "{fault}"
    );
    let (file, fault) =
        rewrite_val(|_, documents, _| documents[0].source = 1 - documents[0].source)
            .faults()
            .remove(0);
    assert!(
        file == "manifest.json" && fault.contains("dataset prose has"),
        "{fault}"
    );
    let faults = rewrite_val(|_, _, flags| flags.continues_from_previous = true).faults();
    assert!(
        faults[0].0 == "val-00000.zst" && faults[0].1.contains("does not continue"),
        "{faults:?}"
    );
    let (file, fault) = rewrite_val(|_, _, flags| flags.continues_in_next = true).fault();
    assert!(
        file == "manifest.json" && fault.contains("no end"),
        "{fault}"
    );
    let foreign = rewrite_val(|_, documents, _| documents[0].source = 2);
    let error = foreign.open().unwrap().shard(Split::Val, 0).unwrap_err();
    assert!(
        matches!(
            error,
            FormatError::Foreign {
                what: "list of datasets",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_document_that_goes_on_as_another_is_a_fault() {
    let mut made = made();
    let build = made.open().unwrap();
    let shard = build.shard(Split::Train, 1).unwrap();
    let index = shard.index().clone();
    assert!(
        index.continues_from_previous,
        "the corpus is to have a document across the first two shards"
    );
    let mut documents = index.documents.clone();
    documents[0].row += 1_000;
    let ids = &Corpus::small(300).tokens(Split::Train)[300..600];
    let flags = andromeda_format::ShardFlags {
        continues_from_previous: true,
        continues_in_next: index.continues_in_next,
    };
    let (bytes, _) = andromeda_format::write_shard(
        &Corpus::small(300).spec(),
        ids,
        &documents,
        &index.masked,
        flags,
        Vec::new(),
    )
    .unwrap();
    made.replace_shard(Split::Train, 1, |_| bytes);
    let (file, fault) = made.fault();
    assert!(
        file == "train-00001.zst" && fault.contains("does not continue"),
        "{fault}"
    );
}

#[test]
fn all_faults_are_collected_and_one_does_not_cause_others() {
    let made = made();
    let damage = |name: &str, place: usize| {
        let mut bytes = std::fs::read(made.path(name)).unwrap();
        bytes[place] ^= 1;
        std::fs::write(made.path(name), bytes).unwrap();
    };
    damage("tokenizer.json", 0);
    damage("train-00000.zst", 20);
    std::fs::remove_file(made.path("duplicates.parquet")).unwrap();
    std::fs::write(made.path("stray"), b"").unwrap();
    let faults = made.faults();
    let names: Vec<&str> = faults.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!(
        names,
        [
            "tokenizer.json",
            "train-00000.zst",
            "duplicates.parquet",
            "train-00000.zst",
            "stray"
        ],
        "{faults:#?}"
    );
    assert!(faults[3].1.contains("frame 0 of"), "{faults:#?}");
}
