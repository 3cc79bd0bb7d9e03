//! Repeated pieces are cut from the documents that stay: planted lines, paragraphs and spans of words, found afterwards by
//! what the tokens decode to, in the tables and in the counts.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use andromeda_format::{Build, Count, Funnel, Split};
use andromeda_pipeline::dedup::repeat::{self, RepeatOptions, Scope, Unit, remaining, repeated};
use andromeda_pipeline::documents::{self, Document};
use andromeda_pipeline::execute::{self, BuildError, BuildOptions, Built};
use andromeda_pipeline::progress::{Event, Progress, Silent, Stage};
use andromeda_pipeline::tokenize::Tokenizer;
use andromeda_tests::corpus::{
    RECIPE, Random, json_line, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use serde_json::json;
use tempfile::TempDir;

use super::end_to_end::ids_of;
use super::{andromeda, build, ended, files, plan_of, tree};

/// Nine words, of 32 characters and more.
const LINE: &str = "Subscribe to our newsletter and never miss any story.";
/// Lines that are too short to be looked at alone, and 15 words.
const PARAGRAPH: &str =
    "All rights are reserved here.\nNo part may be reproduced.\nAsk the press for leave.";
const OTHER_PARAGRAPH: &str =
    "This page was made by robots.\nIt is not to be relied on.\nSee the notes below.";
/// A sentence of 30 words.
const SPAN: &str = "When in the course of planted events it becomes necessary for one text to repeat the words \
     which have been written in another, a decent respect to readers requires a remark!";
/// Lines of one document, all of which stand in another one.
const LINES: [&str; 3] = [
    "Terms of use, privacy policy and accessibility statement.",
    "Cookie settings can be changed at any time, also later on.",
    "Copyright by the planted newspaper of an invented town.",
];

/// Their datasets in plan order: the most important tier first, whatever the names.
const DATASETS: [(&str, &str, &str); 4] = [
    ("z-first", "high", "plain"),
    ("a-second", "medium", "plain"),
    ("b-other", "medium", "other"),
    ("c-chat", "medium", "plain"),
];

/// Documents of each dataset of texts.
const DOCUMENTS: usize = 12;

/// What stands in a document: its dataset and its text; of dialogues none.
type Planted = (&'static str, Option<String>);

fn planted(random: &mut Random) -> Vec<Planted> {
    let mut rows = Vec::new();
    for (dataset, ..) in &DATASETS[..3] {
        for i in 0..DOCUMENTS {
            let mut out = text(random, 60);
            if i % 2 == 0 {
                out += &format!("\n{LINE}");
            }
            if i % 3 == 0 {
                out += &format!("\n\n{PARAGRAPH}");
            }
            if i % 3 == 1 {
                out += &format!("\n\n{OTHER_PARAGRAPH}");
            }
            if i == 0 {
                out += &format!("\n\n{}", LINES.join("\n"));
            }
            out += &format!("\n\n{}", text(random, 30));
            if i % 4 == 0 {
                out += &format!(" {SPAN} {}", text(random, 30));
            }
            out += &format!("\n{}", text(random, 60));
            rows.push((*dataset, Some(out)));
        }
        // Nothing in these is new, unless they are the first.
        if *dataset == "a-second" {
            rows.push((dataset, Some(LINES.join("\n"))));
            rows.push((dataset, Some(format!("{PARAGRAPH}\n\n{OTHER_PARAGRAPH}"))));
            rows.push((dataset, Some(SPAN.to_owned())));
        }
    }
    rows.extend((0..3).map(|_| ("c-chat", None)));
    rows
}

/// A corpus with repeated pieces, and a recipe that ends with `trim`.
fn plant(root: &Path, trim: &str) -> Vec<Planted> {
    let mut random = Random(31);
    let rows = planted(&mut random);
    let manifests = root.join("manifests");
    for (name, tier, profile) in DATASETS {
        let folder = root.join("corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        let of_dataset = rows.iter().filter(|(dataset, _)| *dataset == name);
        let lines: String = of_dataset
            .map(|(_, row)| match row {
                Some(text) => json_line(text),
                None => {
                    let answer = format!("{}\n{LINE}\n{}", text(&mut random, 40), text(&mut random, 40));
                    let turns = json!([{ "from": "human", "value": text(&mut random, 40) }, { "from": "gpt", "value": answer }]);
                    format!("{}\n", json!({ "conversations": turns }))
                }
            })
            .collect();
        fs::write(folder.join("x.jsonl"), lines).unwrap();
        let path = format!("../../corpus/{name}");
        write_manifest(
            &manifests,
            name,
            &format!("tiers = [\"{tier}\"]\n"),
            &path,
            "",
        );
        let file = manifests.join("datasets").join(format!("{name}.toml"));
        let mut manifest = fs::read_to_string(&file)
            .unwrap()
            .replace("\"plain\"", &format!("\"{profile}\""));
        if name == "c-chat" {
            manifest = manifest
                .replace("[source.folder]", "kind = \"chat\"\n[source.folder]")
                .replace("text = \"text\"\n", "turns = {}\n");
        }
        fs::write(file, manifest).unwrap();
    }
    let recipe = format!("{RECIPE}[profile.other.length]\nmin-characters = 50\n{trim}");
    write_recipe(&manifests, "planted", &recipe);
    write_tokenizer(&manifests);
    rows
}

/// What a build with these options shall leave of each document, found with the search alone.
struct Expected {
    /// Of each document: what is left, and the bytes each unit cut.
    left: Vec<(Option<String>, BTreeMap<&'static str, u64>)>,
}

struct Held(Vec<(u32, String)>);

impl repeat::Texts for Held {
    type Error = Infallible;

    fn bytes(&self) -> u64 {
        1 << 20
    }

    fn chunks(&self) -> usize {
        1
    }

    fn for_each_in(&self, _: usize, each: &mut dyn FnMut(u32, &str)) -> Result<(), Infallible> {
        self.0
            .iter()
            .for_each(|(document, text)| each(*document, text));
        Ok(())
    }
}

impl Expected {
    fn of(rows: &[Planted], taken: &[&str], units: &[(&'static str, Unit, Scope)]) -> Self {
        let mut left: Vec<_> = rows
            .iter()
            .map(|(_, text)| (text.clone(), BTreeMap::new()))
            .collect();
        for (name, unit, scope) in units {
            let numbered = (0u32..).zip(rows).zip(&left);
            let texts = numbered
                .filter(|((_, (dataset, _)), _)| taken.contains(dataset))
                .filter_map(|((number, _), (text, _))| Some((number, text.clone()?)));
            let options = RepeatOptions {
                unit: *unit,
                scope: *scope,
                memory_bytes: 1 << 20,
            };
            let Ok(found) = repeated(&Held(texts.collect()), &options);
            for (document, cuts) in found.iter() {
                let (text, bytes) = &mut left[document as usize];
                bytes.insert(
                    *name,
                    cuts.iter().map(|cut| u64::from(cut.end - cut.start)).sum(),
                );
                *text = Some(remaining(text.as_deref().unwrap(), cuts).into_owned());
            }
        }
        Self { left }
    }
}

fn lines() -> (&'static str, Unit, Scope) {
    ("lines", Unit::Lines { min_chars: 32 }, Scope::Corpus)
}

fn paragraphs() -> (&'static str, Unit, Scope) {
    (
        "paragraphs",
        Unit::Paragraphs { min_chars: 64 },
        Scope::Corpus,
    )
}

fn spans() -> (&'static str, Unit, Scope) {
    let words = NonZeroU32::new(20).unwrap();
    ("spans", Unit::Spans { words }, Scope::Corpus)
}

/// What the tokens of each kept document decode to, by its row.
fn decoded(build: &Build, found: &[Document]) -> BTreeMap<u64, String> {
    let manifest = build.manifest();
    let tokenizer = Tokenizer::load(&build.folder().join(&manifest.tokenizer.file), None).unwrap();
    let mut texts = BTreeMap::new();
    for split in Split::ALL {
        let Some(entry) = manifest.splits.get(&split) else {
            continue;
        };
        let ids = ids_of(build, split);
        for document in found {
            if document.split.as_deref() != Some(split.name()) {
                continue;
            }
            let shard = document.shard.as_deref().unwrap();
            let number = entry.shards.iter().position(|s| s.file == shard).unwrap() as u64;
            let first = number * manifest.shard_tokens + document.token.unwrap();
            let first = usize::try_from(first).unwrap();
            let end = first + document.tokens.unwrap() as usize - 1;
            texts.insert(document.row, tokenizer.decode(&ids[first..end]));
        }
    }
    texts
}

/// Builds and looks at every document: its text, its row, its counts.
fn holds(
    trim: &str,
    taken: &[&str],
    units: &[(&'static str, Unit, Scope)],
    least: usize,
) -> (TempDir, Vec<Document>, Funnel) {
    let folder = tempfile::tempdir().unwrap();
    let rows = plant(folder.path(), trim);
    let expected = Expected::of(&rows, taken, units);
    let plan = plan_of(folder.path(), "planted");
    let built = build(folder.path(), &plan, 2, 1 << 30).unwrap();
    let (found, _) = documents::find(&built.folder, "", usize::MAX).unwrap();
    assert_eq!(found.len(), rows.len());
    let texts = decoded(&Build::open(&built.folder).unwrap(), &found);
    let mut funnels: BTreeMap<&str, Funnel> = BTreeMap::new();
    for ((document, (dataset, text)), (left, bytes)) in found.iter().zip(&rows).zip(&expected.left)
    {
        assert_eq!(document.dataset, *dataset);
        let funnel = funnels.entry(dataset).or_default();
        funnel.documents_in += 1;
        funnel.bytes_in += document.bytes;
        let mut count = Count {
            documents: 1,
            bytes: document.bytes,
        };
        let (Some(text), Some(left)) = (text, left) else {
            assert_eq!(
                (document.verdict.as_str(), document.trimmed_bytes),
                ("kept", None)
            );
            assert!(
                texts[&document.row].contains(LINE),
                "dialogues are left alone"
            );
            funnel.kept += count;
            continue;
        };
        assert_eq!(document.bytes, text.len() as u64, "what came in");
        let cut: u64 = bytes.values().sum();
        if cut > 0 && left.chars().count() < least {
            let most = *bytes.values().max().unwrap();
            let unit = units
                .iter()
                .find(|(unit, ..)| bytes.get(unit) == Some(&most));
            let reason = format!("repeated-{}", unit.unwrap().0);
            assert_eq!(
                (document.verdict.as_str(), document.reason.as_deref()),
                ("dropped", Some(reason.as_str()))
            );
            assert_eq!((document.tokens, document.trimmed_bytes), (None, None));
            *funnel.dropped.entry(reason).or_default() += count;
            continue;
        }
        assert_eq!(document.verdict, "kept", "{}", document.id);
        assert_eq!(texts[&document.row], *left, "{}", document.id);
        assert_eq!(document.trimmed_bytes, Some(cut).filter(|cut| *cut > 0));
        for (unit, bytes) in bytes {
            let cut = Count {
                documents: 1,
                bytes: *bytes,
            };
            *funnel.trimmed.entry((*unit).to_owned()).or_default() += cut;
        }
        count.bytes -= cut;
        assert_eq!(count.bytes, left.len() as u64);
        funnel.kept += count;
    }
    let manifest = &built.manifest;
    for dataset in &manifest.datasets {
        assert_eq!(
            dataset.funnel,
            funnels[dataset.name.as_str()],
            "{}",
            dataset.name
        );
        assert!(dataset.funnel.balances());
        let text_bytes: u64 = dataset.splits.values().map(|split| split.text_bytes).sum();
        assert_eq!(text_bytes, dataset.funnel.kept.bytes);
    }
    assert!(manifest.funnel.balances());
    let report = andromeda_format::verify(&built.folder, &mut |_| {}).unwrap();
    assert_eq!(report.faults, []);
    let funnel = manifest.funnel.clone();
    (folder, found, funnel)
}

const ALL: [&str; 3] = ["z-first", "a-second", "b-other"];

#[test]
fn of_a_line_the_copy_of_the_most_important_tier_stays() {
    let (_folder, found, funnel) = holds("[dedup.trim.lines]\n", &ALL, &[lines()], 100);
    // Every other document of three datasets has it, and the first also the lines of the one that is dropped.
    let with = 3 * DOCUMENTS as u64 / 2;
    let trimmed = funnel.trimmed["lines"];
    assert_eq!(trimmed.documents, with - 1);
    assert!(trimmed.bytes >= (with - 1) * (LINE.len() as u64 + 1));
    assert_eq!(funnel.trimmed.len(), 1);
    assert_eq!(
        found[0].trimmed_bytes, None,
        "the first of the tier `high` keeps all of its lines"
    );
    assert_eq!(found[2].trimmed_bytes, Some(LINE.len() as u64 + 1));
    let gone = &found[2 * DOCUMENTS];
    assert_eq!(gone.reason.as_deref(), Some("repeated-lines"));
    assert_eq!(funnel.dropped["repeated-lines"].documents, 1);
}

#[test]
fn paragraphs_and_spans_are_cut_and_what_has_nothing_else_is_dropped() {
    let (_folder, _, funnel) = holds("[dedup.trim.paragraphs]\n", &ALL, &[paragraphs()], 100);
    assert!(funnel.trimmed["paragraphs"].documents > 15);
    assert_eq!(
        funnel.dropped["repeated-paragraphs"].documents, 2,
        "{funnel:?}"
    );
    let (_folder, _, funnel) = holds("[dedup.trim.spans]\nwords = 20\n", &ALL, &[spans()], 100);
    assert!(funnel.trimmed["spans"].documents >= 8);
    assert!(funnel.dropped["repeated-spans"].documents >= 1);
}

#[test]
fn units_are_cut_one_after_the_other() {
    let trim = "[dedup.trim]\nmin-left-characters = 1\n[dedup.trim.spans]\nwords = 20\n[dedup.trim.paragraphs]\n[dedup.trim.lines]\n";
    let (_folder, _, funnel) = holds(trim, &ALL, &[lines(), paragraphs(), spans()], 1);
    assert_eq!(funnel.trimmed.len(), 3);
    assert_eq!(funnel.dropped.len(), 3, "{funnel:?}");
}

#[test]
fn within_documents_and_other_profiles_nothing_is_cut() {
    let trim = "[dedup.trim.lines]\nscope = \"document\"\n";
    let within = ("lines", Unit::Lines { min_chars: 32 }, Scope::Document);
    let (_folder, _, funnel) = holds(trim, &ALL, &[within], 100);
    assert!(funnel.trimmed.is_empty() && funnel.dropped.is_empty());
    let trim = "[dedup.trim]\nprofiles = [\"other\"]\n[dedup.trim.lines]\n";
    let (_folder, found, funnel) = holds(trim, &["b-other"], &[lines()], 100);
    let touched = found.iter().filter(|d| d.trimmed_bytes.is_some());
    assert!(touched.clone().all(|d| d.dataset == "b-other"));
    assert_eq!(touched.count(), DOCUMENTS / 2 - 1);
    assert!(funnel.dropped.is_empty());
}

const TRIM: &str =
    "[dedup.trim]\nmin-left-characters = 50\n[dedup.trim.lines]\n[dedup.trim.spans]\nwords = 20\n";

#[test]
fn bytes_depend_on_neither_threads_nor_memory_nor_the_cutting_of_files_into_blocks() {
    let made = |threads, memory, block_bytes: Option<u32>| {
        let folder = tempfile::tempdir().unwrap();
        plant(folder.path(), TRIM);
        if let Some(bytes) = block_bytes {
            for manifest in files(&folder.path().join("manifests/datasets")) {
                let written = fs::read_to_string(&manifest).unwrap();
                fs::write(
                    manifest,
                    format!("{written}[read]\nblock-bytes = {bytes}\n"),
                )
                .unwrap();
            }
        }
        let plan = plan_of(folder.path(), "planted");
        let built = build(folder.path(), &plan, threads, memory).unwrap();
        assert!(!built.manifest.funnel.trimmed.is_empty());
        (tree(&built.folder), built.manifest.root)
    };
    let expected = made(1, 1 << 30, None);
    for (threads, memory) in [(2, 1 << 30), (2, 1 << 16), (1, 1 << 10)] {
        assert_eq!(
            made(threads, memory, None),
            expected,
            "{threads} threads, {memory} bytes"
        );
    }
    // Blocks are in the fingerprint, and so the manifest is another; nothing else is.
    let (mut other, _) = made(2, 1 << 30, Some(4096));
    other.remove("manifest.json");
    let mut expected = expected.0;
    expected.remove("manifest.json");
    assert_eq!(other, expected);
}

/// Asks the run to end when a stage begins, and notes which stages were found done.
struct StopsAt<'a> {
    stage: Option<Stage>,
    stop: &'a AtomicBool,
    reused: Mutex<Vec<(Stage, bool)>>,
}

impl Progress for StopsAt<'_> {
    fn event(&self, event: &Event) {
        match event {
            Event::Stage { stage, .. } if Some(*stage) == self.stage => {
                self.stop.store(true, Ordering::Relaxed);
            }
            Event::Advanced { stage, reused, .. } => {
                self.reused.lock().unwrap().push((*stage, *reused));
            }
            _ => {}
        }
    }
}

#[test]
fn a_run_that_was_interrupted_goes_on_from_what_it_had_cut() {
    let root_of = |stages: &[Stage]| {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        plant(root, TRIM);
        let plan = plan_of(root, "planted");
        let options = BuildOptions {
            work: root.join("work"),
            shards: root.join("shards"),
            lock: root.join("manifests/datasets.lock"),
            threads: 2,
            memory_bytes: 1 << 30,
            skip_bad_files: false,
        };
        let run = |stage: Option<Stage>| -> (Result<Built, BuildError>, Vec<(Stage, bool)>) {
            let stop = AtomicBool::new(false);
            let progress = StopsAt {
                stage,
                stop: &stop,
                reused: Mutex::default(),
            };
            let built = execute::build(&plan, &options, &progress, &stop);
            (built, progress.reused.into_inner().unwrap())
        };
        let receipts = || files(&root.join("work/trim")).len();
        for stage in stages {
            let (built, _) = run(Some(*stage));
            assert!(matches!(built, Err(BuildError::Interrupted)), "{built:?}");
            assert_eq!(receipts(), if *stage == Stage::Trim { 0 } else { 2 });
        }
        let (built, done) = run(None);
        let reused = stages.contains(&Stage::Tokenize);
        assert!(done.contains(&(Stage::Trim, reused)), "{done:?}");
        assert_eq!(receipts(), 2);
        built.unwrap().manifest.root
    };
    let expected = root_of(&[]);
    assert_eq!(root_of(&[Stage::Trim, Stage::Tokenize]), expected);
    assert_eq!(root_of(&[Stage::Trim]), expected);
}

#[test]
fn without_the_table_nothing_is_said_of_it_and_with_it_only_what_was_cut_is_tokenized_again() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, "");
    let plain = build(root, &plan_of(root, "planted"), 2, 1 << 30).unwrap();
    let manifest = fs::read_to_string(plain.folder.join("manifest.json")).unwrap();
    assert!(!manifest.contains("trim"));
    assert!(!root.join("work/trim").exists());
    let columns = |folder: &Path| {
        let file = fs::File::open(folder.join("documents.parquet")).unwrap();
        let reader = parquet::file::reader::SerializedFileReader::new(file.into_file()).unwrap();
        let metadata = parquet::file::reader::FileReader::metadata(&reader);
        let columns = metadata.file_metadata().schema_descr().columns().iter();
        columns.map(|c| c.name().to_owned()).collect::<Vec<_>>()
    };
    let mut before = columns(&plain.folder);
    let tokenized = || files(&root.join("work/tokenize")).len();
    let blocks = tokenized();
    plant(
        root,
        "[dedup.trim]\nprofiles = [\"other\"]\n[dedup.trim.lines]\n",
    );
    let trimmed = build(root, &plan_of(root, "planted"), 2, 1 << 30).unwrap();
    // An output and its receipt.
    assert_eq!(tokenized() - blocks, 2, "the block of one dataset of four");
    before.insert(5, "trimmed_bytes".to_owned());
    assert_eq!(columns(&trimmed.folder), before);
}

#[test]
fn a_tokenizer_is_trained_on_what_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, TRIM);
    let plan = plan_of(root, "planted");
    let options = BuildOptions {
        work: root.join("work"),
        shards: root.join("shards"),
        lock: root.join("manifests/datasets.lock"),
        threads: 2,
        memory_bytes: 1 << 30,
        skip_bad_files: false,
    };
    let stop = AtomicBool::new(false);
    let mut texts = execute::texts(&plan, &options, u64::MAX, &Silent, &stop).unwrap();
    let built = build(root, &plan, 2, 1 << 30).unwrap();
    let (found, _) = documents::find(&built.folder, "", usize::MAX).unwrap();
    let build = Build::open(&built.folder).unwrap();
    let mut kept: Vec<String> = decoded(&build, &found).into_values().collect();
    assert_eq!(texts.len(), kept.len());
    // Ends within a dialogue are tokens and no text.
    let plain = |texts: &mut Vec<String>| {
        texts.retain(|text| !text.contains("<|"));
        texts.sort();
    };
    plain(&mut texts);
    plain(&mut kept);
    assert!(kept.len() > 3 * DOCUMENTS - 2);
    let of_texts = |all: &[String]| {
        let texts = all
            .iter()
            .filter(|text| !text.contains("human") && !text.contains("user"));
        texts.cloned().collect::<Vec<_>>()
    };
    assert_eq!(of_texts(&texts), of_texts(&kept));
}

#[test]
fn plan_inspect_and_why_tell_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, TRIM);
    let plan = ended(&mut andromeda(
        root,
        "plan --priority high,medium --recipe planted",
    ))
    .with(0, &[]);
    for said in [
        "trim   lines from 32 characters on that stood before in any document, then spans from 20 words on",
        "of all profiles; what has fewer than 50 characters left is dropped",
    ] {
        assert!(plan.stdout.contains(said), "{plan:#?}");
    }
    ended(&mut andromeda(
        root,
        "build --priority high,medium --recipe planted",
    ))
    .with(0, &[]);
    let inspected = ended(&mut andromeda(root, "inspect")).with(0, &[]);
    for said in [
        "trimmed: lines",
        "trimmed: spans",
        "dropped: repeated-lines",
    ] {
        assert!(inspected.stdout.contains(said), "{inspected:#?}");
    }
    let (found, _) = documents::find(&super::only_build(root), "", usize::MAX).unwrap();
    let cut = found.iter().find(|d| d.trimmed_bytes.is_some()).unwrap();
    let why = ended(&mut andromeda(root, &format!("why {}", cut.id))).with(0, &[]);
    let said = format!("{} bytes were cut", cut.trimmed_bytes.unwrap());
    assert!(why.stdout.contains(&said), "{why:#?}");
    let gone = found.iter().find(|d| d.verdict == "dropped").unwrap();
    let why = ended(&mut andromeda(root, &format!("why {}", gone.id))).with(0, &[]);
    assert!(
        why.stdout.contains("too little of it did not stand before"),
        "{why:#?}"
    );
}

#[test]
fn what_cannot_be_trimmed_is_refused_where_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (trim, words) in [
        (
            "[dedup.trim]\n",
            &["nothing is sought", "lines, paragraphs and spans"][..],
        ),
        (
            "[dedup.trim]\nprofiles = [\"plane\"]\n[dedup.trim.lines]\n",
            &["no profile of this recipe", "plane"],
        ),
        (
            "[dedup.trim]\nmin-left-characters = 0\n[dedup.trim.lines]\n",
            &["at least 1 character", "min-left-characters"],
        ),
        (
            "[dedup.trim.lines]\nmin-characters = 0\n",
            &["a piece has at least 1 character", "min-characters = 0"],
        ),
        (
            "[dedup.trim.paragraphs]\nmin-characters = 0\n",
            &["a piece has at least 1 character"],
        ),
        (
            "[dedup.trim.spans]\nwords = 0\n",
            &["1 to 10,000 words", "words = 0"],
        ),
        (
            "[dedup.trim.lines]\nwords = 3\n",
            &["unknown field `words`"],
        ),
        (
            "[dedup.trim.lines]\nscope = \"tier\"\n",
            &["unknown variant `tier`"],
        ),
    ] {
        plant(root, trim);
        ended(&mut andromeda(
            root,
            "plan --priority high,medium --recipe planted",
        ))
        .with(2, words);
    }
}
