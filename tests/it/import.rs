//! Token files of other programs arrive: what they say is in the build, and what is wrong with them is named.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use andromeda_format::{Build, Split, verify};
use andromeda_tests::corpus::Random;
use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::export::{Read, compare_with_real_readers, planted, python, read, skipped};
use super::{Ended, andromeda, ended, only_build, tree};

const TOKENIZER: &str = "manifests/tokenizers/andromeda-16k.json";
/// Of that tokenizer.
const END_OF_TEXT: u32 = 0;

fn import(root: &Path, arguments: &str) -> Ended {
    ended(&mut andromeda(
        root,
        &format!("import --tokenizer {TOKENIZER} {arguments}"),
    ))
}

/// The build in a folder, in which nothing is wrong and which `inspect` shows.
fn sound(root: &Path, folder: &str) -> Build {
    let path = root.join(folder);
    let report = verify(&path, &mut |_| {}).unwrap();
    assert_eq!(report.faults, []);
    ended(&mut andromeda(root, &format!("inspect {folder} --json"))).with(0, &[]);
    Build::open(&path).unwrap()
}

/// Ids and flags of each document; datasets and rows are those of the new build.
fn contents(documents: Vec<Read>) -> Vec<(Vec<u32>, Vec<bool>)> {
    documents.into_iter().map(|d| (d.ids, d.trained)).collect()
}

#[test]
fn what_was_exported_comes_back() {
    let root = planted();
    let made = Build::open(&only_build(root.path())).unwrap();
    let name = only_build(root.path());
    let name = name
        .strip_prefix(root.path())
        .unwrap()
        .display()
        .to_string();
    for target in ["nanogpt", "megatron"] {
        ended(&mut andromeda(
            root.path(),
            &format!("export {name} --to {target} --out out/{target}"),
        ))
        .with(0, &[]);
        let arguments = |from: &str| {
            let files = Split::ALL.map(|split| format!("{from}/{target}/{}.bin", split.name()));
            format!(
                "--from {target} {} --shard-tokens 5000 --out back/{target}",
                files.join(" ")
            )
        };
        import(root.path(), &arguments("out")).with(0, &[]);
        let build = sound(root.path(), &format!("back/{target}"));
        for split in Split::ALL {
            let (expected, found) = (read(&made, split), read(&build, split));
            let ids = |documents: &[Read]| {
                documents
                    .iter()
                    .flat_map(|d| d.ids.clone())
                    .collect::<Vec<u32>>()
            };
            assert_eq!(ids(&found), ids(&expected));
            if target == "megatron" {
                let of =
                    |documents: Vec<Read>| documents.into_iter().map(|d| d.ids).collect::<Vec<_>>();
                assert_eq!(
                    of(found),
                    of(expected),
                    "documents are told apart by the index"
                );
            } else {
                assert!(found.iter().all(
                    |d| d.ids.iter().position(|id| *id == END_OF_TEXT) == Some(d.ids.len() - 1)
                ));
            }
        }
        assert!(build.manifest().splits[&Split::Train].shards.len() > 2);
        assert_eq!(build.manifest().datasets[0].kind, "tokens");
        // The texts are as long as those that were tokenized, with the words of the roles.
        let bytes = |build: &Build| build.manifest().splits[&Split::Train].text_bytes;
        let (before, after) = (bytes(&made), bytes(&build));
        assert!((before..before + 5000).contains(&after), "{before} {after}");
        let said = ended(&mut andromeda(
            root.path(),
            &format!("why --build back/{target} --json train:6000"),
        ))
        .with(0, &[]);
        let life: Value = serde_json::from_str(&said.stdout).unwrap();
        assert!(life.to_string().contains("train.bin"), "{life}");
        // The same bytes again, from elsewhere.
        fs::rename(root.path().join("out"), root.path().join("moved")).unwrap();
        fs::rename(
            root.path().join("back").join(target),
            root.path().join("first"),
        )
        .unwrap();
        import(root.path(), &arguments("moved")).with(0, &[]);
        assert_eq!(
            tree(&root.path().join("first")),
            tree(&root.path().join("back").join(target))
        );
        fs::remove_dir_all(root.path().join("first")).unwrap();
        fs::rename(root.path().join("moved"), root.path().join("out")).unwrap();
    }
}

fn put_u16(path: &Path, ids: &[u32]) {
    let bytes: Vec<u8> = ids
        .iter()
        .flat_map(|id| u16::try_from(*id).unwrap().to_le_bytes())
        .collect();
    fs::write(path, bytes).unwrap();
}

fn put_u64(path: &Path, numbers: &[u64]) {
    let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    fs::write(path, bytes).unwrap();
}

/// A folder with the tokenizer, and documents of made-up ids.
fn folder() -> (TempDir, Vec<Vec<u32>>) {
    let root = tempfile::tempdir().unwrap();
    andromeda_tests::corpus::write_tokenizer(&root.path().join("manifests"));
    let mut random = Random(5);
    let documents = (0..50)
        .map(|_| {
            let tokens = 1 + random.below(200);
            let id = |random: &mut Random| u32::try_from(1 + random.below(16_000)).unwrap();
            let mut ids: Vec<u32> = (0..tokens).map(|_| id(&mut random)).collect();
            ids.push(END_OF_TEXT);
            ids
        })
        .collect();
    (root, documents)
}

/// Whether datatrove is installed, and has written the documents into a folder.
fn written_by_datatrove(folder: &Path, documents: &[Vec<u32>], trained: &[bool]) -> bool {
    fs::create_dir_all(folder).unwrap();
    let mut flags = trained.iter();
    let lines: String = documents
        .iter()
        .map(|ids| {
            let trained: Vec<bool> = flags.by_ref().take(ids.len()).copied().collect();
            format!("{}\n", json!({ "ids": ids, "trained": trained }))
        })
        .collect();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/write.py");
    let child = Command::new(python())
        .arg(script)
        .arg("datatrove")
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        skipped("datatrove's writer: no interpreter");
        return false;
    };
    // It may end before it has read them, where it is not installed.
    let _ = child.stdin.take().unwrap().write_all(lines.as_bytes());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => true,
        Some(3) => {
            skipped(&format!(
                "datatrove's writer: {}",
                said.lines().last().unwrap_or_default()
            ));
            false
        }
        _ => panic!("{said}"),
    }
}

#[test]
fn datatroves_files_keep_their_documents_and_their_loss() {
    let (root, mut documents) = folder();
    let at = |name: &str| root.path().join(name);
    // Two documents lack the end of text, and one has it in the middle too.
    documents[7].pop();
    documents[9].pop();
    documents[11][0] = END_OF_TEXT;
    let ids: Vec<u32> = documents.concat();
    let mut random = Random(6);
    let trained: Vec<bool> = ids.iter().map(|_| random.below(3) > 0).collect();
    let ends: Vec<u64> = documents
        .iter()
        .scan(0, |at, document| {
            *at += document.len() as u64;
            Some(*at)
        })
        .collect();
    put_u16(&at("x.ds"), &ids);
    // An empty document between others.
    let mut index = ends.clone();
    index.insert(3, ends[2]);
    put_u64(&at("x.ds.index"), &index);
    fs::write(
        at("x.ds.loss"),
        trained.iter().map(|t| u8::from(*t)).collect::<Vec<u8>>(),
    )
    .unwrap();
    fs::write(at("x.ds.metadata"), format!("name|2\n{}\n5 KT", ids.len())).unwrap();
    import(
        root.path(),
        "--from datatrove x.ds --split val --shard-tokens 777 --out built",
    )
    .with(
        0,
        &["2 documents did not end with", "1 documents had no tokens"],
    );
    let build = sound(root.path(), "built");
    let mut flags = trained.iter().copied();
    let expected: Vec<(Vec<u32>, Vec<bool>)> = documents
        .iter()
        .map(|document| {
            let mut ids = document.clone();
            let mut trained: Vec<bool> = flags.by_ref().take(ids.len()).collect();
            if ids.last() != Some(&END_OF_TEXT) {
                ids.push(END_OF_TEXT);
                trained.push(true);
            }
            (ids, trained)
        })
        .collect();
    assert_eq!(contents(read(&build, Split::Val)), expected);
    assert_eq!(build.manifest().splits.len(), 1);

    // The program itself, where it is installed, writes these bytes of the same documents.
    if written_by_datatrove(&root.path().join("theirs"), &documents, &trained) {
        put_u64(&at("x.ds.index"), &ends);
        for ending in ["", ".index", ".loss"] {
            let theirs = fs::read(at(&format!("theirs/x.ds{ending}"))).unwrap();
            assert_eq!(
                theirs,
                fs::read(at(&format!("x.ds{ending}"))).unwrap(),
                "x.ds{ending}"
            );
        }
        import(
            root.path(),
            "--from datatrove theirs/x.ds --split val --out theirs/built",
        )
        .with(0, &[]);
        let theirs = sound(root.path(), "theirs/built");
        assert_eq!(contents(read(&theirs, Split::Val)), expected);
    }

    // Without an index, documents end with the end of text.
    fs::remove_file(at("x.ds.index")).unwrap();
    import(root.path(), "--from datatrove x.ds --out by-ends").with(0, &[]);
    let build = sound(root.path(), "by-ends");
    let found = contents(read(&build, Split::Train));
    let (ids_found, flags_found): (Vec<Vec<u32>>, Vec<Vec<bool>>) = found.into_iter().unzip();
    assert_eq!(ids_found.concat(), ids);
    assert_eq!(flags_found.concat(), trained);
}

#[test]
fn ids_of_four_bytes_arrive_and_leave() {
    let (root, _) = folder();
    // The shipped tokenizer with words that no text has, so that the vocabulary needs four bytes.
    let path = root.path().join(TOKENIZER);
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let vocabulary = tokenizer["model"]["vocab"].as_object_mut().unwrap();
    let first = 1 + vocabulary.values().filter_map(Value::as_u64).max().unwrap();
    for id in first..70_000 {
        vocabulary.insert(format!("made-up {id}"), id.into());
    }
    fs::write(&path, serde_json::to_vec(&tokenizer).unwrap()).unwrap();
    let mut random = Random(8);
    let ids: Vec<u32> = (0..5000)
        .map(|i| match i % 97 {
            96 => END_OF_TEXT,
            _ => u32::try_from(1 + random.below(65_999)).unwrap() + 4000,
        })
        .collect();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    fs::write(root.path().join("train.bin"), &bytes).unwrap();
    import(
        root.path(),
        "--from nanogpt train.bin --shard-tokens 999 --out built",
    )
    .with(0, &["1 documents did not end"]);
    let build = sound(root.path(), "built");
    let found: Vec<u32> = read(&build, Split::Train)
        .into_iter()
        .flat_map(|d| d.ids)
        .collect();
    assert_eq!(found, [ids.as_slice(), &[END_OF_TEXT]].concat());
    compare_with_real_readers(root.path(), &build);
    let bin = fs::read(root.path().join("real/nanogpt/train.bin")).unwrap();
    assert_eq!(bin, [bytes.as_slice(), &END_OF_TEXT.to_le_bytes()].concat());
    // Ids of i32, as the index says.
    import(
        root.path(),
        "--from megatron real/megatron/train --out again",
    )
    .with(0, &[]);
    let again = sound(root.path(), "again");
    assert_eq!(
        contents(read(&again, Split::Train)),
        contents(read(&build, Split::Train))
    );
    import(root.path(), "--from nanogpt train.bin --dtype u16 --out no")
        .with(20, &["every second of its ids is 1 or less"]);
}

#[test]
fn files_that_lie_are_named_and_nothing_is_made_of_them() {
    let (root, documents) = folder();
    let at = |name: &str| root.path().join(name);
    let ids = documents.concat();
    let refused = |arguments: &str, words: &[&str]| {
        import(root.path(), &format!("{arguments} --out built")).with(20, words);
        assert!(
            !at("built").exists() && !at(".built.part").exists(),
            "{arguments}"
        );
    };
    // nanoGPT's.
    put_u16(&at("x.bin"), &ids);
    import(root.path(), "--from nanogpt x.bin --out good").with(0, &[]);
    put_u16(&at("even.bin"), &ids[..ids.len() / 2 * 2]);
    refused(
        "--from nanogpt even.bin --dtype u32",
        &["even.bin", "outside the vocabulary of 16384", "--dtype"],
    );
    let bytes = fs::read(at("x.bin")).unwrap();
    fs::write(at("cut.bin"), &bytes[..bytes.len() - 1]).unwrap();
    refused(
        "--from nanogpt cut.bin",
        &["cut.bin", "no whole number of u16"],
    );
    fs::write(at("empty.bin"), b"").unwrap();
    refused("--from nanogpt empty.bin", &["empty.bin", "empty"]);
    let wide: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    fs::write(at("wide.bin"), wide).unwrap();
    refused("--from nanogpt wide.bin", &["wide.bin", "--dtype u32"]);
    import(
        root.path(),
        "--from nanogpt wide.bin --dtype u32 --out wide",
    )
    .with(0, &[]);
    let mut foreign = ids.clone();
    foreign[100] = 16_384;
    put_u16(&at("foreign.bin"), &foreign);
    refused("--from nanogpt foreign.bin", &["id 16384 at token 100"]);
    import(root.path(), "--from nanogpt absent.bin --out built").with(10, &["absent.bin"]);
    import(
        root.path(),
        "--from nanogpt x.bin --end-of-text <none> --out built",
    )
    .with(2, &["<none>"]);

    // datatrove's.
    put_u16(&at("x.ds"), &ids);
    let tokens = ids.len() as u64;
    for (index, words) in [
        (
            vec![5, 4, tokens],
            &["document 1 ends at token 4, the one before at 5"][..],
        ),
        (vec![5, tokens + 1], &["ends at token", "tokens"]),
        (vec![5, u64::MAX], &["18446744073709551615"]),
        (vec![5, tokens - 1], &["its documents end at token"]),
    ] {
        put_u64(&at("x.ds.index"), &index);
        refused("--from datatrove x.ds", &[words, &["x.ds.index"]].concat());
    }
    fs::write(at("x.ds.index"), b"seven b").unwrap();
    refused("--from datatrove x.ds", &["x.ds.index", "7 bytes"]);
    put_u64(&at("x.ds.index"), &[tokens]);
    fs::write(at("x.ds.loss"), vec![1; ids.len() - 1]).unwrap();
    refused("--from datatrove x.ds", &["x.ds.loss", "one for each of"]);
    fs::write(at("x.ds.loss"), vec![2; ids.len()]).unwrap();
    refused("--from datatrove x.ds", &["x.ds.loss", "it holds 2"]);
    fs::remove_file(at("x.ds.loss")).unwrap();
    fs::write(at("x.ds.metadata"), "name|4\n").unwrap();
    refused("--from datatrove x.ds", &["x.ds", "--dtype"]);
    refused(
        "--from datatrove x.ds --dtype u16",
        &["x.ds.metadata", "u32, not u16"],
    );
    fs::write(at("x.ds.metadata"), format!("name|2\n{}\n", tokens + 1)).unwrap();
    refused("--from datatrove x.ds", &["x.ds.metadata", "it says"]);

    // Megatron's: an index of three sequences and two documents, each number of which is then a lie.
    put_u16(&at("m.bin"), &ids[..60]);
    let index = |code: u8, lengths: &[i32], places: &[i64], documents: &[i64]| {
        let mut bytes = b"MMIDIDX\x00\x00".to_vec();
        bytes.extend(1u64.to_le_bytes());
        bytes.push(code);
        bytes.extend((lengths.len() as u64).to_le_bytes());
        bytes.extend((documents.len() as u64).to_le_bytes());
        bytes.extend(lengths.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(places.iter().flat_map(|n| n.to_le_bytes()));
        bytes.extend(documents.iter().flat_map(|n| n.to_le_bytes()));
        bytes
    };
    let (lengths, places, ends) = ([10, 20, 30], [0, 20, 60], [0, 2, 3]);
    let good = index(8, &lengths, &places, &ends);
    fs::write(at("m.idx"), &good).unwrap();
    import(root.path(), "--from megatron m.idx --out two").with(0, &[]);
    let found = read(&sound(root.path(), "two"), Split::Train);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].ids[..30], ids[..30]);
    let megatron = |bytes: &[u8], words: &[&str]| {
        fs::write(at("m.idx"), bytes).unwrap();
        refused("--from megatron m.bin", &[words, &["m.idx"]].concat());
    };
    for cut in [0, 8, 33, 34, 50, good.len() - 1] {
        megatron(&good[..cut], &[]);
    }
    megatron(&[good.as_slice(), &[0]].concat(), &["bytes long"]);
    megatron(&[good.as_slice(), &[0; 3]].concat(), &["modalities"]);
    megatron(&[b"X", &good[1..]].concat(), &["does not begin"]);
    megatron(&[&good[..9], &[2], &good[10..]].concat(), &["version 2"]);
    megatron(&index(7, &lengths, &places, &ends), &["type 7"]);
    megatron(
        &[&good[..18], &[255; 8], &good[26..]].concat(),
        &["18446744073709551615 sequences"],
    );
    megatron(
        &[&good[..26], &[255; 8], &good[34..]].concat(),
        &["entries"],
    );
    megatron(
        &index(8, &[10, -20, 30], &places, &ends),
        &["length below 0"],
    );
    megatron(
        &index(8, &[10, 20, i32::MAX], &places, &ends),
        &["beyond the end"],
    );
    megatron(
        &index(8, &[10, 20, 29], &places, &ends),
        &["its sequences have 59 tokens"],
    );
    megatron(
        &index(8, &lengths, &[0, 22, 60], &ends),
        &["sequence 1 does not begin where"],
    );
    megatron(
        &index(8, &lengths, &[0, -20, 60], &ends),
        &["sequence 1 does not begin where"],
    );
    megatron(
        &index(8, &lengths, &places, &[0, 2, 4]),
        &["document 1 does not end"],
    );
    megatron(
        &index(8, &lengths, &places, &[0, 2, -1]),
        &["document 1 does not end"],
    );
    megatron(
        &index(8, &lengths, &places, &[1, 2, 3]),
        &["first document"],
    );
    megatron(
        &index(8, &lengths, &places, &[0, 1, 2]),
        &["2 of its 3 sequences"],
    );
    megatron(&index(8, &[], &[], &[]), &["entries"]);
    fs::write(at("m.idx"), &good).unwrap();
    refused("--from megatron m --dtype u32", &["m.idx", "u16, not u32"]);
    // Ids of i32 where there are u16: half as many, and none of the vocabulary.
    fs::write(at("m.idx"), index(4, &[10, 20], &[0, 40], &[0, 1, 2])).unwrap();
    refused("--from megatron m", &["m.bin", "outside the vocabulary"]);

    import(root.path(), "--from nanogpt x.bin --out good").with(2, &["is there already"]);
}
