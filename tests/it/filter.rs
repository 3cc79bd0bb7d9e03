//! `andromeda filter`: files in, files out. What each profile says is held against publishers' programs and against builds, and
//! every byte that stays is what it was.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use andromeda_pipeline::documents;
use andromeda_tests::corpus::{RECIPE, gzip, write_manifest, write_recipe, write_tokenizer};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_array::{LargeStringArray, RecordBatchReader as _};
use fs_err as fs;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Ended, andromeda, build, ended, files, plan_of, tree};

/// A text, and what publishers' programs say of it: by rule nothing, a reason, or the text that is left.
struct Case {
    text: String,
    rules: BTreeMap<String, Value>,
}

/// The golden cases of the rules: texts that are real or hard, with the verdicts of datatrove, Dolma, C4 and DCLM.
fn cases() -> Vec<Case> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pipeline/src/filter/golden.jsonl");
    let golden = fs::read_to_string(golden).unwrap();
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap();
        Case {
            text: case["text"].as_str().unwrap().to_owned(),
            rules: serde_json::from_value(case["rules"].clone()).unwrap(),
        }
    };
    golden.lines().map(case).collect()
}

/// A row as no program would write it.
fn line(id: &str, text: &str) -> String {
    format!(
        r#"{{ "n":1.50,"id" : {},"text":{},"tags":["a","b" ] , "deep":{{"text":"x"}}}}"#,
        json!(id),
        json!(text)
    )
}

fn id(number: usize) -> String {
    format!("case-{number:03}")
}

/// A folder with the golden cases as lines of `in/a.jsonl` and `in/deep/b.jsonl`.
struct Made {
    root: TempDir,
    cases: Vec<Case>,
}

fn made() -> Made {
    let made = Made {
        root: tempfile::tempdir().unwrap(),
        cases: cases(),
    };
    fs::create_dir_all(made.path("in/deep")).unwrap();
    for (name, range) in made.parts() {
        let lines: String = range
            .map(|at| line(&id(at), &made.cases[at].text) + "\n")
            .collect();
        fs::write(made.path("in").join(name), lines).unwrap();
    }
    made
}

impl Made {
    fn parts(&self) -> [(&'static str, std::ops::Range<usize>); 2] {
        [("a.jsonl", 0..70), ("deep/b.jsonl", 70..self.cases.len())]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn run(&self, arguments: &str) -> Ended {
        ended(&mut andromeda(self.root.path(), arguments))
    }

    fn verdicts(&self, name: &str) -> BTreeMap<String, Value> {
        by_id(&fs::read_to_string(self.path(name)).unwrap())
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    /// Lines of both files of a folder, by id.
    fn lines(&self, folder: &str) -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        for (name, _) in self.parts() {
            let text = fs::read_to_string(self.path(folder).join(name)).unwrap();
            assert!(text.is_empty() || text.ends_with('\n'));
            for line in text.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                lines.insert(row["id"].as_str().unwrap().to_owned(), line.to_owned());
            }
        }
        lines
    }
}

fn by_id(lines: &str) -> BTreeMap<String, Value> {
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["id"].as_str().unwrap().to_owned(), row)
    };
    lines.lines().map(row).collect()
}

fn sum(counts: &Value) -> u64 {
    match counts {
        Value::Object(counts) => counts.values().map(sum).sum(),
        other => other.as_u64().unwrap_or(0),
    }
}

#[test]
fn verdicts_are_those_of_the_publishers_whoever_else_judges() {
    let made = made();
    let rules: Vec<&str> = made.cases[0].rules.keys().map(String::as_str).collect();
    assert!(rules.len() > 8, "{rules:?}");
    let rules = rules.join(",");
    made.run(&format!(
        "filter in --out out --profile {rules} --verdicts v.jsonl"
    ))
    .with(0, &[]);
    let said = fs::read_to_string(made.path("v.jsonl")).unwrap();
    let mut asked = 0;
    for (at, (line, case)) in said.lines().zip(&made.cases).enumerate() {
        let said: Value = serde_json::from_str(line).unwrap();
        assert_eq!(said["id"], id(at), "lines come in the order of rows");
        if case.text.trim().is_empty() {
            assert_eq!(said, json!({ "id": id(at), "unjudged": "empty" }));
            continue;
        }
        for (rule, expected) in &case.rules {
            let found = &said[rule];
            assert_eq!(
                found["keep"],
                expected.get("reason").is_none(),
                "{rule}: {line}"
            );
            assert_eq!(
                found.get("reason"),
                expected.get("reason"),
                "{rule}: {line}"
            );
            let values = found["values"].as_object().unwrap();
            let measured = usize::from(found.get("limit").is_some());
            assert!(found["keep"] == false || measured == 0, "{line}");
            assert_eq!(values.len(), measured, "{line}");
            asked += 1;
        }
    }
    assert_eq!(said.lines().count(), made.cases.len());
    assert!(asked > 1400, "{asked}");
    // One at a time they say the same.
    for rule in ["c4", "gopher-quality@dolma", "refinedweb-lines"] {
        made.run(&format!(
            "filter in --out alone/{rule} --profile {rule} --verdicts {rule}.jsonl"
        ))
        .with(0, &[]);
        let alone = made.verdicts(&format!("{rule}.jsonl"));
        for (id, said) in by_id(&said) {
            assert_eq!(alone[&id].get(rule), said.get(rule), "{rule} of {id}");
        }
    }
}

#[test]
fn verdicts_are_those_of_a_build_with_the_rule_alone() {
    let made = made();
    let root = made.root.path();
    let rules = [
        "c4@datatrove",
        "gopher-quality@dclm",
        "refinedweb-lines",
        "fineweb",
        "code",
    ];
    made.run(&format!(
        "filter in --out out --profile {} --verdicts v.jsonl",
        rules.join(",")
    ))
    .with(0, &[]);
    let said = made.verdicts("v.jsonl");
    let manifests = root.join("manifests");
    write_tokenizer(&manifests);
    write_manifest(
        &manifests,
        "own",
        "tiers = [\"high\"]\n",
        "../../in",
        "meta = [\"id\"]\n",
    );
    for rule in rules {
        let recipe = RECIPE
            .replace("[profile.plain.length]\nmin-characters = 100", &format!("[profile.plain]\nrules = [\"{rule}\"]\n[normalize]\nline-ends = false\ncontrol-characters = false\nbyte-order-marks = false\nnfc = false"))
            .replace("exact = true", "exact = false")
            .replace("[dedup.near]\nshingle-words = 5\nbands = 14\nrows = 8\nsimilarity = 0.7\n", "")
            .replace("= 0.2", "= 0.0");
        write_recipe(&manifests, "planted", &recipe);
        let plan = plan_of(root, "planted");
        let built = build(root, &plan, 2, 1 << 30).unwrap();
        let rows: Vec<u64> = (0..1000).collect();
        let documents = documents::at(&built.folder, &rows).unwrap();
        assert_eq!(documents.len(), made.cases.len());
        let mut kept = 0;
        for document in documents.values() {
            let meta: Value = serde_json::from_str(document.meta.as_deref().unwrap()).unwrap();
            let said = &said[meta["id"].as_str().unwrap()];
            if document.verdict == "quarantined" {
                assert_eq!(said["unjudged"], document.reason.as_deref().unwrap());
                continue;
            }
            let found = &said[rule];
            assert_eq!(found["keep"], document.verdict == "kept", "{rule}: {said}");
            assert_eq!(
                found["reason"].as_str(),
                document.reason.as_deref(),
                "{rule}: {said}"
            );
            kept += usize::from(document.verdict == "kept");
        }
        assert!((1..161).contains(&kept), "{rule}: {kept}");
        // What was measured is what the build's samples of rejects say.
        for reject in andromeda_pipeline::report::rejects::read(&built.folder).unwrap() {
            let Some(evidence) = &reject.evidence else {
                continue;
            };
            let at = usize::try_from(reject.file_row).unwrap();
            let at = at + if reject.file == "a.jsonl" { 0 } else { 70 };
            let found = &said[&id(at)][rule];
            let (statistic, value) = found["values"].as_object().unwrap().iter().next().unwrap();
            let words: Vec<&str> = evidence.split(' ').collect();
            assert_eq!(words[0], statistic, "{evidence}");
            let written: f64 = words[1].parse().unwrap();
            assert!(
                (written - value.as_f64().unwrap()).abs() < 6e-5,
                "{evidence} {value}"
            );
            assert_eq!(
                words[3].parse::<f64>().unwrap(),
                found["limit"].as_f64().unwrap()
            );
        }
    }
}

#[test]
fn survivors_are_the_lines_they_were_and_the_counts_are_those_of_the_verdicts() {
    let made = made();
    let profiles = ["fineweb", "gopher-quality@dolma"];
    let arguments = format!(
        "filter in --profile {} --verdicts out/said/v.jsonl",
        profiles.join(",")
    );
    let run = made
        .run(&format!("{arguments} --out out --json"))
        .with(0, &[]);
    let said = made.verdicts("out/said/v.jsonl");
    let mut expected: BTreeMap<&str, String> = BTreeMap::new();
    let mut dropped: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut kept = 0;
    for (name, range) in made.parts() {
        let text = expected.entry(name).or_default();
        for at in range {
            let said = &said[&id(at)];
            let first = profiles
                .iter()
                .find(|profile| said[**profile]["keep"] == false);
            match first {
                None => {
                    *text += &(line(&id(at), &made.cases[at].text) + "\n");
                    kept += u64::from(said.get("unjudged").is_none());
                }
                Some(profile) => {
                    let reasons = dropped.entry((*profile).to_owned()).or_default();
                    let reason = said[*profile]["reason"].as_str().unwrap().to_owned();
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    assert!(kept > 10 && dropped.len() == 2, "{kept} {dropped:?}");
    for (name, expected) in expected {
        assert!(
            fs::read_to_string(made.path("out").join(name)).unwrap() == expected,
            "{name}"
        );
    }
    let report = made.json("out/filter.json");
    let total = &report["total"];
    assert_eq!(total["rows"], made.cases.len());
    assert_eq!(total["kept"], kept);
    assert_eq!(total["dropped"], json!(dropped));
    for counts in report["files"].as_object().unwrap().values().chain([total]) {
        let documents = counts["rows"].as_u64().unwrap() - sum(&counts["unjudged"]);
        assert_eq!(
            documents,
            counts["kept"].as_u64().unwrap() + sum(&counts["dropped"])
        );
        for profile in profiles {
            assert_eq!(documents, sum(&counts["profiles"][profile]));
        }
    }
    for profile in profiles {
        let keep = said
            .values()
            .filter(|said| said[profile]["keep"] == true)
            .count();
        assert_eq!(total["profiles"][profile]["kept"], keep);
    }
    assert_eq!(report["files"].as_object().unwrap().len(), 2);
    let result: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(result["total"], *total);
    assert_eq!(files(&made.path("out")).len(), 4, "nothing else is there");
    made.run(&format!("{arguments} --out out"))
        .with(2, &["is there already"]);
    // Without verdicts the same is kept and counted, and nobody is asked once it is known.
    made.run(&format!(
        "filter in --out again --profile {}",
        profiles.join(",")
    ))
    .with(0, &["gopher"]);
    let mut again = made.json("again/filter.json");
    assert!(again["total"].get("profiles").is_none());
    again["total"]["profiles"] = total["profiles"].clone();
    assert_eq!(again["total"], *total);
}

#[test]
fn texts_are_edited_in_place_and_in_the_order_of_the_profiles() {
    let made = made();
    made.run("filter in --out c4 --profile c4@datatrove --verdicts c4.jsonl")
        .with(0, &[]);
    let lines = made.lines("c4");
    let mut edited = 0;
    for (at, case) in made.cases.iter().enumerate() {
        let said = &case.rules["c4@datatrove"];
        let left = said["text"].as_str();
        let stays = said.get("reason").is_none() || case.text.trim().is_empty();
        let expected = stays.then(|| line(&id(at), left.unwrap_or(&case.text)));
        assert_eq!(lines.get(&id(at)), expected.as_ref());
        edited += usize::from(stays && left.is_some());
    }
    assert!(edited > 5, "{edited}");
    assert_eq!(made.json("c4/filter.json")["total"]["edited"], edited);
    // Of two that edit, the second edits what the first left, as if one ran after the other; but each must keep what came.
    made.run("filter in --out both --profile refinedweb-newlines,refinedweb-lines,c4 --verdicts both.jsonl").with(0, &[]);
    made.run("filter in --out first --profile refinedweb-newlines")
        .with(0, &[]);
    made.run("filter first/a.jsonl first/deep --out second --profile refinedweb-lines")
        .with(0, &[]);
    fs::create_dir_all(made.path("second/deep")).unwrap();
    fs::rename(
        made.path("second/b.jsonl"),
        made.path("second/deep/b.jsonl"),
    )
    .unwrap();
    fs::remove_file(made.path("second/filter.json")).unwrap();
    made.run("filter second --out third --profile c4")
        .with(0, &[]);
    let said = made.verdicts("both.jsonl");
    let names = ["refinedweb-newlines", "refinedweb-lines", "c4"];
    let mut chain = made.lines("third");
    chain.retain(|id, _| names.iter().all(|name| said[id][*name]["keep"] != false));
    assert!(chain.len() > 5);
    assert_eq!(made.lines("both"), chain);
}

fn unpacked(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let mut text = String::new();
    match path.extension().unwrap().to_str().unwrap() {
        "gz" => flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut text)
            .unwrap(),
        "zst" => zstd::stream::read::Decoder::new(&bytes[..])
            .unwrap()
            .read_to_string(&mut text)
            .unwrap(),
        _ => unreachable!("no other is packed"),
    };
    text
}

/// The cases as a table with columns of other types, and a text inside a struct.
fn columns(cases: &[Case]) -> RecordBatch {
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter(cases.iter().map(|case| {
            (!case.text.is_empty()).then_some(case.text.as_str())
        })));
    let large: ArrayRef = Arc::new(LargeStringArray::from_iter_values(
        cases.iter().map(|case| &case.text),
    ));
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values((0..cases.len()).map(id)));
    let numbers: ArrayRef = Arc::new(
        (0..i64::try_from(cases.len()).unwrap())
            .map(|n| (n % 3 > 0).then_some(n))
            .collect::<Int64Array>(),
    );
    let inner = StructArray::try_from(vec![
        ("text", Arc::clone(&texts)),
        ("number", Arc::clone(&numbers)),
    ])
    .unwrap();
    let columns: [(&str, ArrayRef); 5] = [
        ("number", numbers),
        ("text", texts),
        ("large", large),
        ("id", ids),
        ("inner", Arc::new(inner)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .unwrap()
}

fn write_table(path: &Path, batch: &RecordBatch) {
    let file = fs::File::create(path).unwrap();
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_row_count(Some(60))
        .build();
    let mut writer =
        ArrowWriter::try_new(file.into_file(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn read_table(path: &Path) -> RecordBatch {
    let file = fs::File::open(path).unwrap().into_file();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .with_batch_size(1 << 20)
        .build()
        .unwrap();
    let schema = reader.schema();
    let mut batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    assert!(batches.len() < 2);
    batches
        .pop()
        .unwrap_or_else(|| RecordBatch::new_empty(schema))
}

#[test]
fn compressed_files_and_parquet_keep_the_same_rows_with_the_same_edits() {
    let made = made();
    fs::create_dir_all(made.path("packed")).unwrap();
    let a = fs::read(made.path("in/a.jsonl")).unwrap();
    let b = fs::read(made.path("in/deep/b.jsonl")).unwrap();
    fs::write(made.path("packed/a.json.gz"), gzip(&a)).unwrap();
    fs::write(
        made.path("packed/b.jsonl.zst"),
        zstd::encode_all(&b[..], 1).unwrap(),
    )
    .unwrap();
    let table = columns(&made.cases);
    write_table(&made.path("packed/c.parquet"), &table);
    made.run("filter in --out plain --profile c4 --verdicts plain.jsonl")
        .with(0, &[]);
    made.run("filter packed --out out --profile c4 --verdicts packed.jsonl")
        .with(0, &[]);
    for (packed, plain) in [("a.json.gz", "a.jsonl"), ("b.jsonl.zst", "deep/b.jsonl")] {
        let expected = fs::read_to_string(made.path("plain").join(plain)).unwrap();
        assert!(
            unpacked(&made.path("out").join(packed)) == expected,
            "{packed}"
        );
    }
    let said = fs::read_to_string(made.path("packed.jsonl")).unwrap();
    let plain = fs::read_to_string(made.path("plain.jsonl")).unwrap();
    assert!(
        said.starts_with(&plain),
        "both files of lines come before the table"
    );
    let plain = by_id(&plain);
    let of_table = by_id(
        &said
            .lines()
            .skip(plain.len())
            .collect::<Vec<_>>()
            .join("\n"),
    );
    for (id, said) in &plain {
        // A null is missing where an empty string was empty.
        assert_eq!(said.get("c4"), of_table[id].get("c4"), "{id}");
    }
    let written = read_table(&made.path("out/c.parquet"));
    assert_eq!(written.schema().fields(), table.schema().fields());
    let (texts, ids) = (
        written.column(1).as_string::<i32>(),
        written.column(3).as_string::<i32>(),
    );
    let mut stays = Vec::new();
    for (at, case) in made.cases.iter().enumerate() {
        if of_table[&id(at)]["c4"]["keep"] != false {
            let row = stays.len();
            assert_eq!(ids.value(row), id(at));
            let left = case.rules["c4"]["text"].as_str().unwrap_or(&case.text);
            assert_eq!(
                if texts.is_valid(row) {
                    texts.value(row)
                } else {
                    ""
                },
                left
            );
            stays.push(Some(at as u64));
        }
    }
    assert_eq!(written.num_rows(), stays.len());
    let stays = arrow_array::UInt64Array::from(stays);
    for other in [0, 2, 4] {
        for (row, at) in stays.values().iter().enumerate() {
            let at = usize::try_from(*at).unwrap();
            assert_eq!(
                written.column(other).slice(row, 1).as_ref(),
                table.column(other).slice(at, 1).as_ref()
            );
        }
    }
    // The text may stand in a struct, and be of a larger kind.
    for (field, column) in [("inner.text", 4), ("large", 2)] {
        made.run(&format!(
            "filter packed/c.parquet --out {field} --profile c4 --text {field}"
        ))
        .with(0, &[]);
        let written = read_table(&made.path(field).join("c.parquet"));
        assert!(written.num_rows() >= stays.len());
        let row = (0..written.num_rows()).find(|row| {
            let at = written.column(3).as_string::<i32>().value(*row);
            let at: usize = at.trim_start_matches("case-").parse().unwrap();
            let left = made.cases[at].rules["c4"]["text"].as_str();
            let text = match column {
                4 => written
                    .column(4)
                    .as_struct()
                    .column(0)
                    .as_string::<i32>()
                    .value(*row),
                _ => written.column(2).as_string::<i64>().value(*row),
            };
            assert_eq!(text, left.unwrap_or(&made.cases[at].text));
            left.is_some()
        });
        assert!(row.is_some(), "some text of {field} is edited");
    }
    // Rows of lines whose text is deeper.
    let deep = line("x", "y").replace(
        r#""text":"x""#,
        &format!(
            r#""text":{}"#,
            json!(
                made.cases
                    .iter()
                    .find_map(|case| case.rules["c4"].get("text").map(|_| case.text.clone()))
                    .unwrap()
            )
        ),
    );
    fs::write(made.path("deep.jsonl"), format!("{deep}\n")).unwrap();
    made.run("filter deep.jsonl --out deep --profile c4 --text deep.text")
        .with(0, &[]);
    let row: Value =
        serde_json::from_str(&fs::read_to_string(made.path("deep/deep.jsonl")).unwrap()).unwrap();
    let was: Value = serde_json::from_str(&deep).unwrap();
    assert_ne!(row["deep"], was["deep"]);
    assert_eq!((&row["text"], &row["tags"]), (&was["text"], &was["tags"]));
}

/// The cases many times over: several blocks.
fn large(made: &Made) {
    let mut lines = String::new();
    for copy in 0..64 {
        for (at, case) in made.cases.iter().enumerate() {
            lines += &(line(&format!("{copy}-{}", id(at)), &case.text) + "\n");
        }
    }
    assert!(lines.len() > 5 << 20, "{}", lines.len());
    fs::write(made.path("in/large.jsonl"), &lines).unwrap();
    fs::write(made.path("in/packed.jsonl.gz"), gzip(lines.as_bytes())).unwrap();
    fs::write(
        made.path("in/packed.jsonl.zst"),
        zstd::encode_all(lines.as_bytes(), 1).unwrap(),
    )
    .unwrap();
}

#[test]
fn threads_and_the_order_of_inputs_change_no_byte() {
    let made = made();
    large(&made);
    write_table(&made.path("in/t.parquet"), &columns(&made.cases));
    let mut trees = Vec::new();
    for (name, inputs) in [
        ("1", "in --threads 1"),
        ("3", "in --threads 3"),
        ("7", "in/t.parquet in --threads 7"),
    ] {
        let command = format!(
            "filter {inputs} --out {name}/out --verdicts {name}/v.jsonl --profile c4,fineweb,gopher@dclm"
        );
        made.run(&command).with(0, &[]);
        trees.push(tree(&made.path(name)));
    }
    assert_eq!(trees[0].len(), 8);
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:#?}");
    let read = |name: &str| fs::read_to_string(made.path("1/out").join(name)).unwrap();
    assert!(read("large.jsonl") == unpacked(&made.path("1/out/packed.jsonl.gz")));
    assert!(read("large.jsonl") == unpacked(&made.path("1/out/packed.jsonl.zst")));
}

#[test]
fn rows_without_text_are_copied_and_counted_and_have_their_lines() {
    let root = tempfile::tempdir().unwrap();
    let long = "A sentence of some length that stays. ".repeat(8);
    let rows = [
        format!("\u{feff}{{\"id\":1,\"text\":{}}}\r", json!(long)),
        String::new(),
        json!({ "text": long }).to_string(),
        json!({ "id": null, "text": "short" }).to_string(),
        json!({ "id": "empty", "text": "" }).to_string(),
        json!({ "id": "space", "text": " \n\t " }).to_string(),
        json!({ "id": "null", "text": null }).to_string(),
        json!({ "id": "missing" }).to_string(),
        json!({ "id": "number", "text": 5 }).to_string(),
        "this is no JSON".to_owned(),
        "[1,2]".to_owned(),
        format!("{{\"id\":{{\"a\":[1]}},\"text\":{}}}", json!(long)),
    ];
    fs::write(root.path().join("odd.jsonl"), rows.join("\n")).unwrap();
    let run = ended(&mut andromeda(
        root.path(),
        "filter odd.jsonl --out out --profile length --verdicts v.jsonl --json",
    ))
    .with(0, &[]);
    let result: Value = serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
    let total = &result["total"];
    let keep = json!({ "keep": true, "values": {} });
    let said: Vec<Value> = fs::read_to_string(root.path().join("v.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let short = &said[2]["length"];
    assert_eq!(said[2]["id"], "odd.jsonl#2");
    assert_eq!(
        (&short["keep"], &short["values"]),
        (&json!(false), &json!({ "characters": 5.0 }))
    );
    assert_eq!(
        [&said[..2], &said[3..]].concat(),
        [
            json!({ "id": 1, "length": keep }),
            json!({ "id": "odd.jsonl#1", "length": keep }),
            json!({ "id": "empty", "unjudged": "empty" }),
            json!({ "id": "space", "unjudged": "empty" }),
            json!({ "id": "null", "unjudged": "missing-field" }),
            json!({ "id": "missing", "unjudged": "missing-field" }),
            json!({ "id": "number", "unjudged": "wrong-type" }),
            json!({ "id": "odd.jsonl#8", "unjudged": "invalid-json" }),
            json!({ "id": "odd.jsonl#9", "unjudged": "not-an-object" }),
            json!({ "id": { "a": [1] }, "length": keep }),
        ]
    );
    assert_eq!((&total["rows"], &total["kept"]), (&json!(11), &json!(3)));
    assert_eq!(
        total["unjudged"],
        json!({ "empty": 2, "invalid-json": 1, "missing-field": 2, "not-an-object": 1, "wrong-type": 1 })
    );
    let kept: Vec<&str> = rows
        .iter()
        .map(|row| row.trim_start_matches('\u{feff}'))
        .filter(|row| !row.is_empty() && !row.contains("short"))
        .collect();
    assert_eq!(
        fs::read_to_string(root.path().join("out/odd.jsonl")).unwrap(),
        kept.join("\n") + "\n"
    );
    fs::write(root.path().join("none.jsonl"), "").unwrap();
    ended(&mut andromeda(
        root.path(),
        "filter none.jsonl --out none --profile c4 --verdicts none/v",
    ))
    .with(0, &[]);
    assert_eq!(fs::read(root.path().join("none/none.jsonl")).unwrap(), b"");
    assert_eq!(fs::read(root.path().join("none/v")).unwrap(), b"");
}

#[test]
fn damaged_files_are_all_named_and_nothing_is_written_unless_they_are_skipped() {
    let made = made();
    large(&made);
    fs::remove_file(made.path("in/large.jsonl")).unwrap();
    fs::remove_file(made.path("in/packed.jsonl.zst")).unwrap();
    let whole = fs::read(made.path("in/packed.jsonl.gz")).unwrap();
    fs::write(made.path("in/packed.jsonl.gz"), &whole[..whole.len() / 2]).unwrap();
    fs::write(made.path("in/no.jsonl.gz"), "no gzip at all").unwrap();
    let table = made.path("in/t.parquet");
    write_table(&table, &columns(&made.cases));
    let mut bytes = fs::read(&table).unwrap();
    // The metadata stand at the end; what they point to is gone.
    let damaged = bytes.len() / 2;
    bytes[4..damaged].fill(0xff);
    fs::write(&table, &bytes).unwrap();
    fs::write(made.path("in/u.parquet"), "PAR1").unwrap();
    made.run("filter in --out out --profile c4 --verdicts v.jsonl")
        .with(
            20,
            &[
                "no.jsonl.gz: ",
                "packed.jsonl.gz: ",
                "t.parquet: ",
                "u.parquet: ",
                "4 of the files",
                "--skip-bad-files",
            ],
        );
    let left: Vec<PathBuf> = fs::read_dir(made.root.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(left, [made.path("in")], "nothing is left");
    made.run("filter in --out out --profile c4 --verdicts v.jsonl --skip-bad-files")
        .with(
            0,
            &[
                "left out the rest of packed.jsonl.gz",
                "left out no.jsonl.gz",
                "left out t.parquet",
                "left out u.parquet",
            ],
        );
    let report = made.json("out/filter.json");
    let names: Vec<&String> = report["files"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["a.jsonl", "deep/b.jsonl", "packed.jsonl.gz"]);
    assert_eq!(report["bad_files"].as_array().unwrap().len(), 4);
    let rows = report["total"]["rows"].as_u64().unwrap();
    let of_packed = report["files"]["packed.jsonl.gz"]["rows"].as_u64().unwrap();
    assert!((500..9000).contains(&of_packed), "{of_packed}");
    let said = fs::read_to_string(made.path("v.jsonl")).unwrap();
    assert_eq!(said.lines().count() as u64, rows);
    let kept = unpacked(&made.path("out/packed.jsonl.gz"));
    let counts = &report["files"]["packed.jsonl.gz"];
    assert_eq!(
        kept.lines().count() as u64,
        counts["kept"].as_u64().unwrap() + sum(&counts["unjudged"])
    );
    assert_eq!(files(&made.path("out")).len(), 4);
}

#[test]
fn what_cannot_be_done_is_told_before_any_work() {
    let made = made();
    let root = made.root.path();
    fs::create_dir_all(root.join("other")).unwrap();
    fs::write(root.join("other/a.jsonl"), "{}\n").unwrap();
    fs::write(root.join("filter.json"), "{}\n").unwrap();
    fs::write(root.join("notes.docx"), "x").unwrap();
    write_recipe(
        &root.join("manifests"),
        "own",
        "[profile.web.url]\nwords = [\"words.txt\"]\n[profile.plain.length]\nmin-characters = 3\n[profile.id.length]\n",
    );
    for (arguments, code, words) in [
        (
            "in --out out --profile c4@datatrov",
            2,
            "did you mean `c4@datatrove`?",
        ),
        (
            "in --out out --profile c4,nothing-like-it",
            2,
            "`andromeda profiles` lists",
        ),
        (
            "in --out out --profile c4,fineweb,c4",
            2,
            "`c4` is named twice",
        ),
        ("in --out out", 2, "--profile"),
        ("--out out --profile c4", 2, "required"),
        (
            "in --out out --profile plain",
            2,
            "no profile is called `plain`",
        ),
        (
            "in --out out --profile plian --recipe own",
            2,
            "did you mean `plain`?",
        ),
        (
            "in --out out --profile plain --recipe owm",
            2,
            "there are own",
        ),
        ("in --out out --profile web --recipe own", 2, "--url"),
        (
            "in --out out --profile web --recipe own --url url",
            2,
            "words.txt",
        ),
        (
            "in --out out --profile id --recipe own --verdicts v",
            2,
            "another field of this name",
        ),
        (
            "in/a.jsonl other/a.jsonl --out out --profile c4",
            2,
            "would have the name `a.jsonl`",
        ),
        (
            "notes.docx --out out --profile c4",
            2,
            "its name says no format",
        ),
        ("nowhere.jsonl --out out --profile c4", 2, "cannot be read"),
        (
            "filter.json --out out --profile c4",
            2,
            "called filter.json",
        ),
        (
            "in --out out --profile c4 --verdicts out/a.jsonl",
            2,
            "name another file for the verdicts",
        ),
        ("in --out out --profile c4 --text a..b", 2, "no field name"),
        ("in --out in --profile c4", 2, "is there already"),
        ("in --out other --profile c4", 2, "is there already"),
    ] {
        made.run(&format!("filter {arguments}"))
            .with(code, &[words]);
        assert!(
            !made.path("out").exists() && !made.path("v").exists(),
            "{arguments}"
        );
    }
    assert_eq!(fs::read_dir(root.join("other")).unwrap().count(), 1);
    assert_eq!(files(&made.path("in")).len(), 2);
}

#[test]
fn profiles_of_a_recipe_come_first_and_bring_what_they_ask_for() {
    let root = tempfile::tempdir().unwrap();
    let manifests = root.path().join("manifests");
    write_recipe(
        &manifests,
        "own",
        "[profile.code.length]\nmin-characters = 20\n[profile.mail.pii]\n[profile.mail.length]\nmin-characters = 30\n\
         [profile.web.url]\ndomains = [\"domains.txt\"]\n[profile.english.language]\nallowed = [\"en\"]\n",
    );
    fs::write(manifests.join("domains.txt"), "bad.example.org\n").unwrap();
    let english = "The river runs past the old mill, under the bridge and out into the open country, as it did before.";
    let german = "Der Fluss fließt an der alten Mühle vorbei und unter der Brücke hindurch ins Freie, wie er es immer tat.";
    let rows = [
        json!({ "id": "plain", "url": "http://good.example.org/", "text": english }),
        json!({ "id": "bad", "url": "http://bad.example.org/x", "text": english }),
        json!({ "id": "mail", "url": "http://good.example.org/", "text": format!("{english} Ask ada@posteo.net.") }),
        json!({ "id": "german", "url": "http://good.example.org/", "text": german }),
        json!({ "id": "short", "url": "http://good.example.org/", "text": "Short." }),
    ];
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    fs::write(root.path().join("x.jsonl"), lines).unwrap();
    ended(&mut andromeda(root.path(), "filter x.jsonl --out out --recipe own --profile code,mail,web,english,c4 --url url --verdicts v.jsonl")).with(0, &[]);
    let said = by_id(&fs::read_to_string(root.path().join("v.jsonl")).unwrap());
    let code = &said["short"]["code"];
    assert_eq!(
        (&code["values"], &code["limit"]),
        (&json!({ "characters": 6.0 }), &json!(20.0)),
        "the recipe's, not the rule"
    );
    assert_eq!(said["bad"]["web"]["keep"], false);
    assert_eq!(said["bad"]["web"]["found"], "bad.example.org");
    assert_eq!(said["plain"]["web"]["keep"], true);
    assert_eq!(said["german"]["english"]["reason"], "language");
    assert!(
        said["german"]["english"]["found"]
            .as_str()
            .unwrap()
            .starts_with("de ")
    );
    assert_eq!(said["mail"]["mail"], json!({ "keep": true, "values": {} }));
    assert_eq!(said["plain"]["c4"]["reason"], "c4-few-sentences");
    ended(&mut andromeda(root.path(), "filter x.jsonl --out again --recipe manifests/recipes/own.toml --profile mail,english,web --url url")).with(0, &[]);
    let kept = fs::read_to_string(root.path().join("again/x.jsonl")).unwrap();
    let expected = [&rows[0], &rows[2]]
        .map(|row| row.to_string().replace("ada@posteo.net", "<EMAIL_1>") + "\n");
    assert_eq!(kept, expected.concat());
}

#[test]
fn a_killed_run_leaves_nothing_and_a_stopped_one_not_even_that() {
    let made = made();
    large(&made);
    let arguments = "filter in --out out --profile c4,gopher@datatrove,fineweb --verdicts v.jsonl";
    made.run(
        &arguments
            .replace("--out out", "--out whole")
            .replace("v.jsonl", "whole.jsonl"),
    )
    .with(0, &[]);
    let start = |wait: u64, signal: rustix::process::Signal| {
        let mut child = andromeda(made.root.path(), arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let running = child.try_wait().unwrap().is_none();
        if running {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, signal).unwrap();
        }
        let status = child.wait().unwrap();
        (running && status.code() != Some(0), status.code())
    };
    let mut kills = 0;
    for wait in [2, 20, 60, 120] {
        let (killed, _) = start(wait, rustix::process::Signal::KILL);
        if killed {
            kills += 1;
            assert!(!made.path("out").exists() && !made.path("v.jsonl").exists());
        } else {
            fs::remove_dir_all(made.path("out")).unwrap();
        }
    }
    assert!(kills > 0);
    for wait in [30, 60, 120] {
        let (stopped, code) = start(wait, rustix::process::Signal::TERM);
        if stopped && code == Some(143) {
            assert!(!made.path("out").exists() && !made.path(".out.part").exists());
            assert!(!made.path("v.jsonl").exists());
        } else if made.path("out").exists() {
            fs::remove_dir_all(made.path("out")).unwrap();
        }
    }
    made.run(arguments).with(0, &[]);
    assert_eq!(tree(&made.path("out")), tree(&made.path("whole")));
    assert!(!made.path(".out.part").exists());
    assert!(fs::read(made.path("v.jsonl")).unwrap() == fs::read(made.path("whole.jsonl")).unwrap());
}
