//! `andromeda dedup`: files in, files out. What survives is known beforehand, and every byte of it is what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use andromeda_tests::corpus::{Random, gzip, shortened, text};
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{andromeda, ended, tree};

/// Rows as lines, with fields that have nothing to do with duplicates and are not laid out as a program would.
fn line(id: &str, text: &str) -> String {
    format!(
        r#"{{ "n":1.50,"id" : {},"text":{},"tags":["a","b" ] , "deep":{{"x":null}}}}"#,
        json!(id),
        json!(text)
    )
}

/// Three files with exact and near copies within and across; which ids stay is known.
struct Made {
    root: TempDir,
    lines: BTreeMap<&'static str, Vec<String>>,
    kept: BTreeSet<String>,
    /// Dropped id, kept id and method.
    pairs: BTreeSet<(String, String, String)>,
}

fn made() -> Made {
    let root = tempfile::tempdir().unwrap();
    let mut random = Random(77);
    let mut lines: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut kept, mut pairs) = (BTreeSet::new(), BTreeSet::new());
    for (at, name) in ["a.jsonl", "b.jsonl", "c.jsonl"].into_iter().enumerate() {
        for i in 0..30 {
            let id = format!("{at}-{i}");
            let own = text(&mut random, 160);
            let target = lines.entry(name).or_default();
            target.push(line(&id, &own));
            kept.insert(id.clone());
            let copy = format!("{id}-copy");
            if i % 3 == 0 {
                // Another file's copies come after it in the order of names.
                let place = ["a.jsonl", "b.jsonl", "c.jsonl"][(at + 1).min(2)];
                lines.entry(place).or_default().push(line(&copy, &own));
                pairs.insert((copy, id, "exact".to_owned()));
            } else if i % 3 == 1 {
                // Shorter by some letters: the longer stays, whatever the order.
                lines
                    .entry("a.jsonl")
                    .or_default()
                    .push(line(&copy, &shortened(&own)));
                pairs.insert((copy, id, "near".to_owned()));
            }
        }
    }
    let made = Made {
        root,
        lines,
        kept,
        pairs,
    };
    for (name, lines) in &made.lines {
        let bytes = lines.join("\n") + "\n";
        fs::create_dir_all(made.path("in")).unwrap();
        fs::write(made.path("in").join(name), bytes).unwrap();
    }
    made
}

impl Made {
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, arguments: &str) -> super::Ended {
        ended(&mut andromeda(self.root.path(), arguments))
    }

    /// The lines that should be in each file of the survivors.
    fn expected(&self) -> BTreeMap<String, String> {
        let stays = |line: &&String| {
            let row: Value = serde_json::from_str(line).unwrap();
            self.kept.contains(row["id"].as_str().unwrap())
        };
        self.lines
            .iter()
            .map(|(name, lines)| {
                let lines = lines.iter().filter(stays);
                let text: String = lines.map(|line| format!("{line}\n")).collect();
                ((*name).to_owned(), text)
            })
            .collect()
    }
}

fn pairs_of(table: &Path) -> BTreeSet<(String, String, String)> {
    let table = fs::read_to_string(table).unwrap();
    let mut lines = table.lines();
    assert_eq!(
        lines.next(),
        Some("dropped\tkept\tsimilarity\tmethod\tcluster")
    );
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split('\t').collect();
            assert_eq!(cells.len(), 5, "{line}");
            let similarity: f64 = cells[2].parse().unwrap();
            assert!((0.7..=1.0).contains(&similarity), "{line}");
            assert!(cells[3] != "exact" || similarity == 1.0, "{line}");
            (cells[0].into(), cells[1].into(), cells[3].into())
        })
        .collect()
}

#[test]
fn survivors_are_the_lines_they_were_and_every_other_is_in_the_table() {
    let made = made();
    made.run("dedup in --out out --pairs pairs.tsv")
        .with(0, &[]);
    for (name, expected) in made.expected() {
        assert!(
            fs::read_to_string(made.path("out").join(&name)).unwrap() == expected,
            "{name}"
        );
    }
    assert_eq!(pairs_of(&made.path("pairs.tsv")), made.pairs);
    let report: Value =
        serde_json::from_slice(&fs::read(made.path("out/dedup.json")).unwrap()).unwrap();
    assert_eq!(report["total"]["rows"], 90 + made.pairs.len());
    assert_eq!(report["total"]["kept"], 90);
    let again = made.run("dedup in --out out --pairs pairs.tsv");
    again.with(0, &["nothing to do"]);
}

#[test]
fn exact_only_leaves_near_copies_and_a_threshold_decides_what_is_near() {
    let made = made();
    made.run("dedup in --out exact --exact-only").with(0, &[]);
    let of_method = |method: &str| {
        let pairs = made.pairs.iter();
        pairs
            .filter(|(.., m)| m == method)
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let found = pairs_of(&made.path("exact/duplicates.tsv"));
    assert_eq!(found, of_method("exact"));
    // 151 of 161 shingles are common: Jaccard 0.94.
    made.run("dedup in --out strict --threshold 0.97")
        .with(0, &[]);
    assert_eq!(
        pairs_of(&made.path("strict/duplicates.tsv")),
        of_method("exact")
    );
    made.run("dedup in --out loose --threshold 0.93 --verify signature")
        .with(0, &[]);
    let found = pairs_of(&made.path("loose/duplicates.tsv"));
    assert!(
        found.len() > of_method("exact").len(),
        "an estimate finds some"
    );
    made.run("dedup in --out x --exact-only --threshold 0.5")
        .with(2, &["cannot be used with"]);
}

#[test]
fn neither_threads_nor_memory_nor_the_order_of_inputs_change_a_byte() {
    let made = made();
    let mut trees = Vec::new();
    for (name, arguments) in [
        ("1", "in --threads 1"),
        ("2", "in --threads 2 --memory 64M"),
        ("3", "in/c.jsonl in/a.jsonl in/b.jsonl --memory 1K"),
        ("4", "in/b.jsonl in/a.jsonl in/c.jsonl --threads 7"),
    ] {
        let command = format!("dedup {arguments} --out out-{name} --work work-{name}");
        made.run(&command).with(0, &[]);
        let mut tree = tree(&made.path(&format!("out-{name}")));
        // Its fingerprint says where and when the input was; the counts are compared below.
        tree.remove("dedup.json");
        trees.push(tree);
    }
    assert_eq!(trees[0].len(), 4);
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:#?}");
}

#[test]
fn compressed_files_and_parquet_keep_the_same_rows() {
    let made = made();
    let pack = |name: &str, bytes: &[u8]| {
        let folder = made.path("packed");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    };
    for (name, lines) in &made.lines {
        let bytes = (lines.join("\n") + "\n").into_bytes();
        match *name {
            "a.jsonl" => pack("a.jsonl.gz", &gzip(&bytes)),
            "b.jsonl" => pack("b.jsonl.zst", &zstd::encode_all(&bytes[..], 1).unwrap()),
            _ => pack("c.parquet", &table(lines)),
        }
    }
    made.run("dedup packed --out out").with(0, &[]);
    assert_eq!(pairs_of(&made.path("out/duplicates.tsv")), made.pairs);
    let expected = made.expected();
    let mut a = String::new();
    let bytes = fs::read(made.path("out/a.jsonl.gz")).unwrap();
    std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&bytes[..]), &mut a)
        .unwrap();
    assert!(a == expected["a.jsonl"]);
    let b = zstd::stream::read::Decoder::new(fs::File::open(made.path("out/b.jsonl.zst")).unwrap())
        .unwrap();
    assert!(std::io::read_to_string(b).unwrap() == expected["b.jsonl"]);
    let file = fs::File::open(made.path("out/c.parquet")).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file.into_file())
            .unwrap();
    let batches: Vec<RecordBatch> = reader.build().unwrap().map(Result::unwrap).collect();
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(rows, expected["c.jsonl"].lines().count());
    assert_eq!(batches[0].num_columns(), 3, "other columns are there");
}

fn table(lines: &[String]) -> Vec<u8> {
    let rows: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let words = |field: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter(
            rows.iter().map(|row| row[field].as_str()),
        ))
    };
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(
        0..i64::try_from(rows.len()).unwrap(),
    ));
    let batch = RecordBatch::try_from_iter([
        ("number", numbers),
        ("text", words("text")),
        ("id", words("id")),
    ])
    .unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

#[test]
fn odd_documents_do_as_documented() {
    let root = tempfile::tempdir().unwrap();
    let huge = "many words of one kind make a long document and go on ".repeat(1_000_000);
    let thai = "ภาษาไทยไม่มีช่องว่างระหว่างคำ";
    let chinese = "今天天气很好我们一起去公园散步吧";
    let rows: Vec<Value> = vec![
        json!({"id": "empty-1", "text": ""}),
        json!({"id": "empty-2", "text": ""}),
        json!({"id": "space", "text": " \n\t "}),
        json!({"id": "null", "text": null}),
        json!({"id": "missing"}),
        json!({"id": "number", "text": 5}),
        json!({"id": "word-1", "text": "hello"}),
        json!({"id": "word-2", "text": "hello"}),
        json!({"id": "emoji-1", "text": "😀🎉"}),
        json!({"id": "emoji-2", "text": "😀🎉"}),
        json!({"id": "emoji-3", "text": "😀🎉🎉"}),
        json!({"id": "thai-1", "text": thai}),
        json!({"id": "thai-2", "text": format!("{thai}ๆ")}),
        json!({"id": "chinese-1", "text": chinese}),
        json!({"id": "chinese-2", "text": format!("{chinese}。")}),
        json!({"id": "huge-1", "text": huge}),
        json!({"id": "huge-2", "text": huge.to_uppercase()}),
        json!({"text": "no id here but a text of more than five words"}),
        json!({"text": "No id here, but a text of more than five words!"}),
    ];
    let mut bytes: String = rows.iter().map(|row| format!("{row}\n")).collect();
    bytes.push_str("this is no JSON\n[1,2]\n");
    fs::write(root.path().join("odd.jsonl"), bytes).unwrap();
    let run = ended(&mut andromeda(
        root.path(),
        "dedup odd.jsonl --out out --json",
    ));
    let run = run.with(0, &[]);
    let result: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    let dropped: Vec<(String, String)> = pairs_of(&root.path().join("out/duplicates.tsv"))
        .into_iter()
        .map(|(dropped, _, method)| (dropped, method))
        .collect();
    let expected = [
        ("chinese-1", "near"),
        ("emoji-2", "exact"),
        ("huge-2", "near"),
        ("odd.jsonl#17", "near"),
        ("thai-1", "near"),
        ("word-2", "exact"),
    ];
    assert_eq!(
        dropped,
        expected.map(|(id, method)| (id.to_owned(), method.to_owned()))
    );
    let kept = fs::read_to_string(root.path().join("out/odd.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 21 - 6);
    for id in ["empty-1", "empty-2", "space", "null", "missing", "number"] {
        assert!(kept.contains(id), "{id} is no duplicate of anything");
    }
    assert!(kept.ends_with("this is no JSON\n[1,2]\n"));
    let without: u64 = result["total"]["without_text"]
        .as_object()
        .unwrap()
        .values()
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(without, 8);
    assert_eq!(result["total"]["short"], 5, "hello twice and three emojis");
}

#[test]
fn a_killed_run_goes_on_to_the_same_files() {
    let made = made();
    // Many small files, so that there is something to be killed in.
    let mut random = Random(5);
    for file in 0..60 {
        let lines: String = (0..200)
            .map(|i| line(&format!("{file}.{i}"), &text(&mut random, 60)) + "\n")
            .collect();
        fs::write(made.path("in").join(format!("more-{file:02}.jsonl")), lines).unwrap();
    }
    made.run("dedup in --out whole --work other").with(0, &[]);
    let whole = tree(&made.path("whole"));
    let mut kills = 0;
    for wait in [3, 10, 20, 40, 80, 120, 160, 200] {
        let mut child = andromeda(made.root.path(), "dedup in --out out --threads 2")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        if !made.path("out/dedup.json").exists() {
            for path in super::files(&made.path("out")) {
                let name = path.file_name().unwrap().to_str().unwrap();
                let published = name.ends_with(".jsonl");
                let same = || tree(&made.path("out"))[name] == whole[name];
                assert!(!published || same(), "{name} is there and not whole");
            }
        }
    }
    assert!(kills > 0);
    made.run("dedup in --out out").with(0, &[]);
    let mut out = tree(&made.path("out"));
    assert_eq!(
        out.remove("dedup.json").is_some(),
        whole.contains_key("dedup.json")
    );
    for (name, hash) in out {
        assert_eq!(whole[&name], hash, "{name}");
    }
}

#[test]
fn files_that_were_written_a_moment_before_are_the_same_files_later() {
    let made = made();
    made.run("dedup in --out out").with(0, &[]);
    std::thread::sleep(Duration::from_millis(3000));
    made.run("dedup in --out out").with(0, &["nothing to do"]);
}

#[test]
fn what_cannot_be_done_is_told_before_anything_is_written() {
    let made = made();
    let root = made.root.path();
    fs::create_dir_all(root.join("other")).unwrap();
    fs::write(root.join("other/a.jsonl"), "{}\n").unwrap();
    fs::write(root.join("notes.docx"), "x").unwrap();
    for (arguments, code, words) in [
        (
            "dedup in/a.jsonl other/a.jsonl --out out",
            2,
            "would have the name `a.jsonl`",
        ),
        ("dedup notes.docx --out out", 2, "its name says no format"),
        ("dedup nowhere.jsonl --out out", 2, "cannot be read"),
        ("dedup in --out in", 30, "is read from it"),
        ("dedup in --out other", 30, "it is not empty"),
        ("dedup in --out out --threshold 2", 2, "from 0 to 1"),
        ("dedup in --out out --bands 0", 2, "choose a number"),
        ("dedup --out out", 2, "required"),
    ] {
        made.run(arguments).with(code, &[words]);
        assert!(!made.path("out").exists(), "{arguments}");
    }
    assert_eq!(fs::read_dir(made.path("other")).unwrap().count(), 1);
}

#[test]
fn a_damaged_file_is_named_and_nothing_is_published_unless_it_is_skipped() {
    let made = made();
    let lines = made.lines["b.jsonl"].join("\n") + "\n";
    let whole = gzip(lines.as_bytes());
    fs::remove_file(made.path("in/b.jsonl")).unwrap();
    fs::write(made.path("in/b.jsonl.gz"), &whole[..whole.len() * 2 / 3]).unwrap();
    made.run("dedup in --out out")
        .with(20, &["b.jsonl.gz", "--skip-bad-files"]);
    assert!(!made.path("out").exists());
    made.run("dedup in --out out --skip-bad-files")
        .with(0, &["left out the rest of b.jsonl.gz"]);
    assert!(made.path("out/a.jsonl").exists() && made.path("out/b.jsonl.gz").exists());
}

#[test]
fn rows_of_one_address_are_one_document() {
    let root = tempfile::tempdir().unwrap();
    let mut random = Random(9);
    let row = |id: &str, url: &str, text: &str| {
        json!({"id": id, "url": url, "text": text}).to_string() + "\n"
    };
    let lines = [
        row(
            "1",
            "http://www.Example.com/a/?utm_source=x",
            &text(&mut random, 50),
        ),
        row("2", "https://example.com/a", &text(&mut random, 60)),
        row("3", "https://example.com/b", &text(&mut random, 50)),
        row("4", "", &text(&mut random, 50)),
        row("5", "", &text(&mut random, 50)),
    ];
    fs::write(root.path().join("x.jsonl"), lines.concat()).unwrap();
    ended(&mut andromeda(
        root.path(),
        "dedup x.jsonl --out out --url url",
    ))
    .with(0, &[]);
    let table = fs::read_to_string(root.path().join("out/duplicates.tsv")).unwrap();
    let second: Vec<&str> = table.lines().skip(1).collect();
    assert_eq!(second.len(), 1, "{table}");
    assert!(
        second[0].starts_with("1\t2\t") && second[0].ends_with("\turl\t2"),
        "the longer stays: {table}"
    );
}
