//! The catalogue that is shipped: its examples, what the samples of its datasets come to, what was read by eye, and the table
//! of its page.
//!
//! The samples are not part of the repository. Where they are, they stand at `../shared/data/hub`, laid out as on the hub.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use andromeda_format::Build;
use andromeda_pipeline::catalogue::{Catalogue, Dataset, DatasetManifest, Part, Tier};
use andromeda_pipeline::read::{self, ReadOptions, Row};
use andromeda_pipeline::render::{Content, Render};
use andromeda_tests::corpus::{Random, json_line, text};
use andromeda_tests::samples::{CONVERTED, FORGED};
use andromeda_tests::{HubConfig, LoopbackHub, Repository};
use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, StringArray};
use fs_err as fs;
use globset::{Glob, GlobSet, GlobSetBuilder};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::{andromeda, ended, only_build};

/// What a row gives.
type Documents = Vec<Result<Content, &'static str>>;

pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn catalogue() -> Catalogue {
    Catalogue::load(&repository().join("manifests/datasets"))
        .unwrap_or_else(|problems| panic!("{problems}"))
}

/// The samples, where they are.
pub(super) fn samples() -> Option<PathBuf> {
    let root = repository().join("../shared/data/hub");
    if root.is_dir() {
        return Some(root);
    }
    // Not asserted: the samples are not part of the repository.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: no samples at {}",
        root.display()
    );
    None
}

/// Everything that a dataset's configs and the dataset itself ask for.
fn parts(catalogue: &Catalogue) -> Vec<Part> {
    catalogue.datasets.iter().flat_map(Dataset::parts).collect()
}

/// What the three tiers are made of, and what every evaluation runs on.
const NAMED: [&str; 37] = [
    "alpaca",
    "alpaca-cleaned",
    "alpaca-cot",
    "arc",
    "bbh",
    "c4",
    "distillation",
    "dolly",
    "falcon-books",
    "falcon-code",
    "falcon-conversations",
    "falcon-technical",
    "glue",
    "gsm8k",
    "guanaco-dataset",
    "hellaswag",
    "hh-rlhf",
    "humaneval",
    "lambada",
    "math",
    "math-dataset",
    "mmlu",
    "oasst1",
    "openassistant-guanaco",
    "openwebtext",
    "piqa",
    "prm800k",
    "redpajama-1t",
    "redpajama-sample",
    "refinedweb",
    "refinedweb-europe",
    "sharegpt",
    "super-glue",
    "ta-prompt",
    "the-stack-dedup",
    "toolformer",
    "wizard-vicuna-70k-unfiltered",
];

#[test]
fn every_dataset_of_the_mission_is_in_the_catalogue_with_examples_that_hold() {
    let catalogue = catalogue();
    let there: BTreeSet<&str> = catalogue
        .datasets
        .iter()
        .map(|dataset| dataset.manifest.name.as_str())
        .filter(|name| !name.starts_with("sample-"))
        .collect();
    assert_eq!(there, BTreeSet::from(NAMED));
    for part in parts(&catalogue) {
        let DatasetManifest {
            name,
            examples,
            render,
            ..
        } = &part.dataset.manifest;
        assert!(!examples.is_empty(), "{name} has no example");
        let render = Render::new(render).unwrap();
        for example in examples {
            let texts: Vec<String> = render
                .render_all(example.row.clone())
                .into_iter()
                .map(|document| document.unwrap().to_text().into_owned())
                .collect();
            let expected: Vec<String> = match (&example.text, &example.texts) {
                (Some(text), _) => vec![text.clone()],
                (None, texts) => texts.clone().unwrap(),
            };
            assert_eq!(texts, expected, "{name}");
        }
    }
}

#[test]
fn benchmarks_serve_no_tier_but_for_humaneval() {
    for dataset in &catalogue().datasets {
        let manifest = &dataset.manifest;
        if !manifest.evaluation {
            assert!(!manifest.tiers.is_empty(), "{}", manifest.name);
            continue;
        }
        let humaneval = manifest.name == "humaneval";
        let tiers: &[Tier] = if humaneval { &[Tier::Low] } else { &[] };
        assert_eq!(manifest.tiers, tiers, "{}", manifest.name);
    }
}

/// A file of the samples, as its part of the catalogue takes it.
struct Taken {
    part: usize,
    file: PathBuf,
    held_out: bool,
}

fn globs<'a>(patterns: impl IntoIterator<Item = &'a String>) -> GlobSet {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        set.add(Glob::new(pattern).unwrap());
    }
    set.build().unwrap()
}

/// The files of a sample repository by the paths that a part sees.
fn listed(part: &Part, root: &Path) -> Vec<(String, PathBuf)> {
    let source = &part.dataset.manifest.source;
    let (id, converted) = if let Some(hub) = &source.hub {
        (hub.repository.to_string(), hub.revision == CONVERTED)
    } else if let Some(list) = &source.url_list {
        (list.repository.to_string(), false)
    } else if source.web.is_some() {
        (FORGED.to_owned(), false)
    } else {
        return Vec::new();
    };
    let folder = root.join(&id);
    if !folder.is_dir() {
        return Vec::new();
    }
    let repository = Repository::open(&id, &folder).unwrap();
    let paths = |repository: &Repository| repository.files.keys().cloned().collect::<Vec<_>>();
    if let Some(web) = &source.web {
        // Its files have names of their own; what follows the last `/` is the same.
        let name = |path: &str| path.rsplit('/').next().map(str::to_owned);
        let of = |wanted: &str| {
            paths(&repository)
                .into_iter()
                .find(|path| name(path) == name(wanted))
        };
        return web
            .files
            .iter()
            .filter_map(|file| Some((file.path.clone(), folder.join(of(&file.path)?))))
            .collect();
    }
    if let Some(list) = &source.url_list {
        let lists = globs(&list.lists);
        let subset = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
        return paths(&repository)
            .into_iter()
            .filter(|path| lists.is_match(format!("urls/{}.txt", subset(path))))
            .map(|path| (path.clone(), folder.join(path)))
            .collect();
    }
    if !converted {
        return paths(&repository)
            .into_iter()
            .map(|path| (path.clone(), folder.join(path)))
            .collect();
    }
    // The hub's conversion numbers the files of each split anew.
    let sources = paths(&repository);
    let parquet = sources.iter().filter(|path| path.ends_with(".parquet"));
    parquet
        .map(|path| {
            let (folder_name, name) = path.rsplit_once('/').unwrap();
            let split = name.split_once("-0").unwrap().0;
            (
                format!("{folder_name}/{split}/0000.parquet"),
                folder.join(path),
            )
        })
        .collect()
}

/// Every file of the samples that a part of the catalogue takes, for training or for evaluation.
fn taken(parts: &[Part], root: &Path) -> Vec<Taken> {
    let mut taken = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        let source = &part.dataset.manifest.source;
        let files = source.hub.as_ref().map(|hub| (&hub.files, &hub.exclude));
        let files = files.or(source
            .url_list
            .as_ref()
            .map(|list| (&list.files, &list.exclude)));
        let (files, exclude) = match files {
            Some((files, exclude)) => (
                globs(files),
                globs(exclude.iter().chain(part.exclude.iter())),
            ),
            None => (globs(&["**".to_owned()]), globs(&part.exclude)),
        };
        let held_out = globs(&part.held_out);
        // A config's own held-out files lie in its folder; those of the dataset belong to whichever config they fit.
        let folder = part.only.first().and_then(|only| only.split_once('/'));
        for (path, file) in listed(part, root) {
            let held = held_out.is_match(&path)
                && folder.is_none_or(|(folder, _)| path.starts_with(&format!("{folder}/")));
            if exclude.is_match(&path) || !(held || files.is_match(&path)) {
                continue;
            }
            taken.push(Taken {
                part: number,
                file,
                held_out: held,
            });
        }
    }
    taken
}

/// What every row of a file gives.
fn rows(part: &Part, taken: &Taken) -> Vec<Documents> {
    let render = Render::new(&part.dataset.manifest.render).unwrap();
    let options = ReadOptions {
        fields: Some(render.fields()),
        ..part.dataset.manifest.read.clone()
    };
    let mut rows = Vec::new();
    let mut source = read::open(&taken.file, &options).unwrap();
    while let Some(block) = source.next_block().unwrap() {
        block
            .decode(&mut |_, row: Result<Row, _>| {
                rows.push(match row {
                    Ok(row) => render
                        .render_all(row)
                        .into_iter()
                        .map(|document| document.map_err(|fault| fault.reason()))
                        .collect(),
                    Err(_) => vec![Err("unreadable")],
                });
            })
            .unwrap();
    }
    rows
}

/// Rows, documents, and what gave none by reason.
type Counts = (usize, usize, BTreeMap<&'static str, usize>);

fn counted(rows: &[Documents]) -> Counts {
    let mut faults = BTreeMap::new();
    let mut documents = 0;
    for document in rows.iter().flatten() {
        match document {
            Ok(_) => documents += 1,
            Err(reason) => *faults.entry(*reason).or_insert(0) += 1,
        }
    }
    (rows.len(), documents, faults)
}

/// Files of the samples that the catalogue leaves alone, and why.
const LEFT_ALONE: &[(&str, &str)] = &[
    (
        "Skylion007/openwebtext/subsets/",
        "archives in archives; the parquet files have their documents",
    ),
    (
        "aps/super_glue/axb/",
        "a diagnostic set without training rows has no config",
    ),
    (
        "aps/super_glue/axg/",
        "a diagnostic set without training rows has no config",
    ),
    (
        "nyu-mll/glue/ax/",
        "a diagnostic set without training rows has no config",
    ),
    (
        "OpenAssistant/oasst1/data/",
        "the messages of the trees one by one",
    ),
    (
        "openai/prm800k/prm800k/math_splits/",
        "problems of MATH, which `math` has",
    ),
    (
        "openai/gsm8k/main/train-",
        "a benchmark's training rows are examples and no documents",
    ),
    ("cais/mmlu/", "of a benchmark the test split alone is taken"),
];

/// By part and split, in the order of the catalogue: rows, documents, and rows without one by reason.
fn counts_file() -> PathBuf {
    repository().join("tests/fixtures/sample-counts.txt")
}

fn counts(parts: &[Part], root: &Path) -> String {
    let mut by_split: BTreeMap<(usize, bool), Counts> = BTreeMap::new();
    for taken in taken(parts, root) {
        let (rows, documents, faults) = counted(&rows(&parts[taken.part], &taken));
        let of = by_split.entry((taken.part, taken.held_out)).or_default();
        of.0 += rows;
        of.1 += documents;
        for (reason, count) in faults {
            *of.2.entry(reason).or_insert(0) += count;
        }
    }
    let mut out = String::new();
    for ((part, held_out), (rows, documents, faults)) in by_split {
        let name = &parts[part].dataset.manifest.name;
        let split = if held_out { "held-out" } else { "training" };
        let faults: String = faults
            .iter()
            .map(|(reason, count)| format!(", {count} {reason}"))
            .collect();
        writeln!(
            out,
            "{name} {split}: {rows} rows, {documents} documents{faults}"
        )
        .unwrap();
    }
    out
}

#[test]
fn every_sample_is_read_and_rendered_as_the_catalogue_says() {
    let Some(root) = samples() else { return };
    let parts = parts(&catalogue());
    let there: BTreeSet<PathBuf> = taken(&parts, &root)
        .into_iter()
        .map(|taken| taken.file)
        .collect();
    for repository in Repository::open_all(&root).unwrap() {
        for path in repository.files.keys() {
            let whole = format!("{}/{path}", repository.id);
            let known = LEFT_ALONE.iter().any(|(left, _)| whole.starts_with(left));
            let is_there = there.contains(&root.join(&repository.id).join(path));
            assert!(is_there || known, "nothing of the catalogue takes {whole}");
        }
    }
    assert_eq!(
        counts(&parts, &root),
        fs::read_to_string(counts_file()).unwrap(),
        "if this is right, write it: cargo test --release -p andromeda-tests -- --ignored write_what_the_samples_come_to"
    );
}

#[test]
#[ignore = "writes what the test above expects"]
fn write_what_the_samples_come_to() {
    let root = samples().expect("the samples are needed");
    let counts = counts(&parts(&catalogue()), &root);
    fs::write(counts_file(), counts).unwrap();
}

/// Files of benchmarks that the samples lack: copies of other splits, and made-up rows in the published shape.
fn complete(root: &Path) {
    let copy = |from: &str, to: &str| {
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(root.join(from), to).unwrap();
    };
    let write = |to: &str, bytes: Vec<u8>| {
        let to = root.join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    };
    let validation = "validation-00000-of-00001.parquet";
    for config in ["ARC-Challenge", "ARC-Easy"] {
        let of = format!("allenai/ai2_arc/{config}");
        copy(
            &format!("{of}/{validation}"),
            &format!("{of}/test-00000-of-00001.parquet"),
        );
    }
    let mut random = Random(1 << 40);
    let mut column = |name: &str| -> (String, ArrayRef) {
        let texts = (0..50).map(|_| text(&mut random, 120));
        (
            name.to_owned(),
            Arc::new(StringArray::from_iter_values(texts)),
        )
    };
    let mut parquet = |names: &[&str]| -> Vec<u8> {
        let columns: Vec<_> = names.iter().map(|name| column(name)).collect();
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        out
    };
    write(
        "lukaemon/bbh/boolean_expressions/test-00000-of-00001.parquet",
        parquet(&["input", "target"]),
    );
    write(
        "EleutherAI/hendrycks_math/algebra/test-00000-of-00001.parquet",
        parquet(&["problem", "solution"]),
    );
    let mut random = Random(2 << 40);
    let lines: String = (0..50).map(|_| json_line(&text(&mut random, 60))).collect();
    write(
        "EleutherAI/lambada_openai/data/lambada_test_en.jsonl",
        lines.into_bytes(),
    );
    write(
        "Rowan/hellaswag/data/validation-00000-of-00001.parquet",
        endings(&mut random),
    );
}

/// `HellaSwag`'s columns that are read, made up.
fn endings(random: &mut Random) -> Vec<u8> {
    let mut endings = ListBuilder::new(StringBuilder::new());
    let mut columns = [const { Vec::new() }; 3];
    for row in 0..50 {
        for _ in 0..4 {
            endings.values().append_value(text(random, 9));
        }
        endings.append(true);
        columns[0].push(text(random, 2));
        columns[1].push(text(random, 20));
        columns[2].push((row % 4).to_string());
    }
    let [activity, context, label] =
        columns.map(|column| Arc::new(StringArray::from_iter_values(column)) as ArrayRef);
    let endings = Arc::new(endings.finish()) as ArrayRef;
    let batch = RecordBatch::try_from_iter([
        ("activity_label", activity),
        ("ctx", context),
        ("endings", endings),
        ("label", label),
    ])
    .unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    out
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::write(to, fs::read(entry.path()).unwrap()).unwrap();
        }
    }
}

/// A hub that has every repository of the catalogue's three tiers, and a folder to build in with the catalogue as it is shipped.
struct World {
    hub: LoopbackHub,
    folder: TempDir,
}

impl World {
    fn new(samples: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("hub");
        copy_tree(samples, &root);
        // The text of the books that the hub stands in with.
        let plays = "native/tinyshakespeare";
        copy_tree(&samples.join("..").join(plays), &folder.path().join(plays));
        // The tokenizer that the default recipe names.
        let tokenizer = "tokenizers/gpt-neox-20b";
        copy_tree(
            &samples.join("..").join(tokenizer),
            &folder.path().join(tokenizer),
        );
        complete(&root);
        let config = HubConfig {
            gated: BTreeSet::from(["bigcode/the-stack-dedup".to_owned()]),
            tokens: BTreeSet::from(["hf_good".to_owned()]),
            ..HubConfig::default()
        };
        let hub = LoopbackHub::start(config, []).unwrap();
        hub.serve_samples(&root).unwrap();
        copy_tree(
            &repository().join("manifests"),
            &folder.path().join("manifests"),
        );
        Self { hub, folder }
    }

    fn build(&self, what: &str, recipe: &str) -> andromeda_format::Manifest {
        let _ = fs::remove_dir_all(self.folder.path().join("shards"));
        let arguments =
            format!("build {what} --with-benchmarks --skip-unavailable --recipe {recipe}");
        let mut command = andromeda(self.folder.path(), &arguments);
        for variable in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN_PATH"] {
            command.env_remove(variable);
        }
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("ANDROMEDA_WEB_MIRROR", self.hub.mirror())
            .env("HF_HOME", self.folder.path().join("cache"))
            .env("HF_TOKEN", "hf_good");
        ended(&mut command).with(0, &[]);
        let build = Build::open(&only_build(self.folder.path())).unwrap();
        build.manifest().clone()
    }
}

/// Everything that the samples hold, neither filtered nor deduplicated: what a dataset comes to by itself.
const WHOLE: &str = "\
seed = 1
[normalize]
[profile.web.length]
min-characters = 1
[profile.prose.length]
min-characters = 1
[profile.code.length]
min-characters = 1
[profile.task.length]
min-characters = 1
[dedup]
exact = false
[tokenize]
tokenizer = \"tokenizers/andromeda-16k.json\"
[split]
val = 0.005
test = 0.005
[shard]
tokens = 1048576
frame-tokens = 65536
level = 3
";

/// Documents and tokens by dataset, configs together.
fn by_dataset(manifest: &andromeda_format::Manifest) -> BTreeMap<String, (u64, u64)> {
    let mut sums: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for entry in &manifest.datasets {
        assert!(entry.funnel.balances(), "{}", entry.name);
        let name = entry.name.split('/').next().unwrap();
        let sum = sums.entry(name.to_owned()).or_default();
        sum.0 += entry
            .splits
            .values()
            .map(|split| split.documents)
            .sum::<u64>();
        sum.1 += entry.splits.values().map(|split| split.tokens).sum::<u64>();
    }
    sums
}

const BEGIN: &str = "<!-- The table is written by a test: see the end of this page. -->\n";
const END: &str = "<!-- End of the table. -->\n";

fn page() -> PathBuf {
    repository().join("manifests/datasets/README.md")
}

/// The page's table as a build of the samples gives it.
fn page_table(catalogue: &Catalogue, sums: &BTreeMap<String, (u64, u64)>) -> String {
    let mut out = String::from(
        "| dataset | tiers | kind | licence | gated | documents | tokens | runs |\n|---|---|---|---|---|---:|---:|:-:|\n",
    );
    let mut datasets: Vec<&Dataset> = catalogue
        .datasets
        .iter()
        .filter(|dataset| !dataset.manifest.tiers.contains(&Tier::Sample))
        .collect();
    datasets.sort_by_key(|dataset| {
        let first = dataset.manifest.tiers.iter().min().copied();
        (first.unwrap_or(Tier::Own), &dataset.manifest.name)
    });
    for dataset in datasets {
        let manifest = &dataset.manifest;
        let mut tiers: Vec<&str> = manifest.tiers.iter().map(|tier| tier.name()).collect();
        if manifest.evaluation {
            tiers.push("evaluation");
        }
        let kinds: BTreeSet<&str> = dataset
            .parts()
            .iter()
            .map(|part| part.dataset.manifest.kind.name())
            .collect();
        let kinds: Vec<&str> = kinds.into_iter().collect();
        let gated = manifest.source.hub.as_ref().is_some_and(|hub| hub.gated);
        let (documents, tokens, runs) = match sums.get(&manifest.name) {
            Some((documents, tokens)) if *tokens > 0 => {
                (documents.to_string(), tokens.to_string(), "✓")
            }
            _ => ("–".to_owned(), "–".to_owned(), "–"),
        };
        writeln!(
            out,
            "| [{name}]({name}.toml) | {} | {} | {} | {} | {documents} | {tokens} | {runs} |",
            tiers.join(", "),
            kinds.join(", "),
            manifest.licence,
            if gated { "yes" } else { "" },
            name = manifest.name,
        )
        .unwrap();
    }
    out
}

/// The table of a build of the samples, after what must be true of it.
fn built_table(samples: &Path) -> String {
    let catalogue = catalogue();
    let world = World::new(samples);
    let recipes = world.folder.path().join("manifests/recipes");
    fs::write(recipes.join("whole.toml"), WHOLE).unwrap();
    let tiers = world.build("--priority all", "whole");
    assert_eq!(tiers.contaminates, ["humaneval"]);
    let names = |of: &dyn Fn(&DatasetManifest) -> bool| -> Vec<String> {
        let manifests = catalogue.datasets.iter().map(|dataset| &dataset.manifest);
        let named = manifests.filter(|manifest| of(manifest));
        named.map(|manifest| manifest.name.clone()).collect()
    };
    let benchmarks = names(&|manifest| manifest.tiers.is_empty());
    let benchmarks = world.build(&format!("--dataset {}", benchmarks.join(",")), "whole");
    let mut sums = by_dataset(&tiers);
    sums.extend(by_dataset(&benchmarks));
    for name in names(&|manifest| !manifest.tiers.contains(&Tier::Sample)) {
        let (documents, tokens) = sums.get(&name).copied().unwrap_or_default();
        assert!(documents > 0 && tokens > 0, "{name} gives nothing");
    }
    page_table(&catalogue, &sums)
}

fn table_of(page: &str) -> &str {
    let (_, rest) = page.split_once(BEGIN).expect("the page has a table");
    rest.split_once(END).expect("the table ends").0
}

#[test]
fn a_build_of_all_tiers_has_every_dataset_and_the_page_says_what_it_comes_to() {
    let Some(root) = samples() else { return };
    let table = built_table(&root);
    let page = fs::read_to_string(page()).unwrap();
    assert_eq!(
        table,
        table_of(&page),
        "if this is right, write it: cargo test --release -p andromeda-tests -- --ignored write_the_catalogue_page"
    );
}

#[test]
#[ignore = "writes the table of the catalogue's page"]
fn write_the_catalogue_page() {
    let root = samples().expect("the samples are needed");
    let table = built_table(&root);
    let written = fs::read_to_string(page()).unwrap();
    let old = format!("{BEGIN}{}{END}", table_of(&written));
    let new = format!("{BEGIN}{table}{END}");
    fs::write(page(), written.replacen(&old, &new, 1)).unwrap();
}

#[test]
fn every_dataset_of_the_catalogue_is_on_its_page() {
    let page = fs::read_to_string(page()).unwrap();
    for name in NAMED {
        assert!(
            page.contains(&format!("| [{name}]({name}.toml) |")),
            "{name}"
        );
    }
}

#[test]
fn what_two_datasets_share_is_kept_once() {
    let Some(root) = samples() else { return };
    let manifest = World::new(&root).build("--priority all", "default");
    let of = |name: &str| {
        let entry = manifest.datasets.iter().find(|entry| entry.name == name);
        &entry.unwrap_or_else(|| panic!("no {name}")).funnel
    };
    let duplicates = |name: &str| -> u64 {
        let duplicates = of(name).duplicates.values();
        duplicates.map(|count| count.documents).sum()
    };
    // The first rows of C4 are published three times over; whoever is named first keeps them.
    assert_eq!(of("c4").documents_in, 1000);
    assert_eq!(duplicates("c4"), 0);
    assert!(of("c4").kept.documents > 500);
    for (name, documents) in [("redpajama-1t/c4", 1000), ("refinedweb", 400)] {
        let funnel = of(name);
        assert_eq!(funnel.documents_in, documents, "{name}");
        assert_eq!(funnel.kept.documents, 0, "{name}");
        let dropped: u64 = funnel.dropped.values().map(|count| count.documents).sum();
        assert_eq!(duplicates(name) + dropped, documents, "{name}");
        assert!(duplicates(name) > documents / 2, "{name}");
    }
    assert!(duplicates("redpajama-sample/web") > 100);
    assert!(duplicates("toolformer") > 100);
}

/// Datasets whose licence lets a few rows of their samples be passed on; of the others the fixtures have the rows that their
/// manifests make up.
const PASSED_ON: [&str; 9] = [
    "alpaca-cot",
    "gsm8k",
    "math-dataset",
    "mmlu",
    "oasst1",
    "openassistant-guanaco",
    "prm800k",
    "ta-prompt",
    "wizard-vicuna-70k-unfiltered",
];

fn written_out(number: usize, part: &str, content: &Content, out: &mut String) {
    writeln!(out, "=== {number}: {part}").unwrap();
    for segment in content.segments() {
        let loss = if segment.trained { "trained" } else { "read" };
        let end = if segment.end_of_text {
            ", end of text"
        } else {
            ""
        };
        writeln!(out, "--- {loss}{end}\n{}", segment.text).unwrap();
    }
}

/// Documents of a dataset as they are read by eye: two of every way in which its rows become documents, shortest first.
fn by_eye(dataset: &Dataset, root: Option<&Path>) -> String {
    let mut out = String::new();
    let mut number = 0;
    let mut seen = Vec::new();
    for part in &dataset.parts() {
        let manifest = &part.dataset.manifest;
        let before = seen.iter().filter(|render| **render == manifest.render);
        let room = 2_usize.saturating_sub(before.count());
        let render = Render::new(&manifest.render).unwrap();
        let mut contents: Vec<Content> = Vec::new();
        if let Some(root) = root {
            let of_part = std::slice::from_ref(part);
            for taken in taken(of_part, root) {
                let rows = rows(part, &taken).into_iter().take(300).flatten();
                contents.extend(rows.filter_map(Result::ok));
            }
            contents.retain(|content| (80..1500).contains(&content.to_text().len()));
            contents.sort_by_key(|content| content.to_text().len());
        } else {
            let rows = manifest.examples.iter().map(|example| example.row.clone());
            contents.extend(
                rows.flat_map(|row| render.render_all(row))
                    .map(Result::unwrap),
            );
        }
        for content in contents.iter().take(room) {
            number += 1;
            written_out(number, &manifest.name, content, &mut out);
            seen.push(manifest.render.clone());
        }
    }
    let from = if root.is_some() {
        "rows of the samples"
    } else {
        "rows made up in the published shape"
    };
    format!("{}: {from}\n{out}", dataset.manifest.name)
}

fn eye_file(name: &str) -> PathBuf {
    repository().join(format!("tests/fixtures/rendered/{name}.txt"))
}

fn each_by_eye(each: &mut dyn FnMut(&str, String)) {
    let root = samples();
    for dataset in &catalogue().datasets {
        let name = &dataset.manifest.name;
        if !PASSED_ON.contains(&name.as_str()) {
            each(name, by_eye(dataset, None));
        } else if root.is_some() {
            each(name, by_eye(dataset, root.as_deref()));
        }
    }
}

#[test]
fn documents_are_as_they_were_when_they_were_read_by_eye() {
    each_by_eye(&mut |name, documents| {
        let before = fs::read_to_string(eye_file(name)).unwrap_or_default();
        assert_eq!(
            documents, before,
            "{name}: if this is right, write it: cargo test --release -p andromeda-tests -- --ignored write_what_is_read_by_eye"
        );
    });
}

#[test]
#[ignore = "writes documents to be read by eye"]
fn write_what_is_read_by_eye() {
    each_by_eye(&mut |name, documents| fs::write(eye_file(name), documents).unwrap());
}
