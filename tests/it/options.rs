//! Every option of a recipe and of a dataset manifest, changed one at a time: which stages run again is read from the
//! receipts, and is what `ARCHITECTURE.md` says. An option that is in no list here fails a test.

mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use andromeda_pipeline::catalogue::Dataset;
use andromeda_pipeline::decontaminate::DecontaminateOptions;
use andromeda_pipeline::filter::rules::RULES;
use andromeda_pipeline::read::{Compression, FileFormat, ReadOptions};
use andromeda_pipeline::recipe::{Recipe, TrimLines, TrimOptions, TrimParagraphs, TrimSpans};
use andromeda_pipeline::render::{
    ChatFormat, Exchange, Instruction, Preference, Process, RenderOptions, Transcript, Tree,
    TreePaths, Turns,
};
use andromeda_tests::corpus::{
    RECIPE, Random, json_line, lengthened, shortened, text, write_manifest, write_recipe,
    write_tokenizer,
};
use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{build, files, plan_of};

/// A build that has run, to be copied and run again with one thing changed.
pub(super) struct Base {
    folder: TempDir,
    fingerprint: String,
}

/// What another run did that the base had not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Again {
    /// New tasks by stage.
    pub(super) tasks: BTreeMap<String, usize>,
    /// Whether the build has the base's name: nothing that can change its bytes was changed.
    pub(super) same_build: bool,
}

impl Again {
    fn stages(&self) -> Vec<&str> {
        ["extract", "resolve", "trim", "tokenize", "shards"]
            .into_iter()
            .filter(|stage| self.tasks.contains_key(*stage))
            .collect()
    }
}

/// Receipts in a work folder: stage and name.
fn receipts(work: &Path) -> BTreeSet<(String, String)> {
    files(work)
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .filter_map(|path| {
            let mut parts = path
                .strip_prefix(work)
                .unwrap()
                .iter()
                .map(|part| part.to_str().unwrap().to_owned());
            match (parts.next(), parts.next(), parts.next()) {
                (Some(stage), Some(_), Some(name)) => Some((stage, name)),
                _ => None,
            }
        })
        .collect()
}

fn copy(from: &Path, to: &Path) {
    for path in files(from) {
        let to = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&path, to).unwrap();
    }
}

impl Base {
    /// Builds what `plant` puts into a folder.
    pub(super) fn new(plant: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_recipe(&folder.path().join("manifests"), "planted", RECIPE);
        write_tokenizer(&folder.path().join("manifests"));
        plant(folder.path());
        let plan = plan_of(folder.path(), "planted");
        build(folder.path(), &plan, 2, 1 << 30).unwrap();
        Self {
            folder,
            fingerprint: plan.fingerprint.hex(),
        }
    }

    /// Runs it again with something changed.
    pub(super) fn again(&self, change: impl FnOnce(&Path)) -> Again {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        ["manifests", "corpus", "work"]
            .into_iter()
            .for_each(|part| copy(&self.folder.path().join(part), &root.join(part)));
        change(root);
        let before = receipts(&root.join("work"));
        let plan = plan_of(root, "planted");
        build(root, &plan, 2, 1 << 30).unwrap_or_else(|error| panic!("{error}"));
        let mut tasks: BTreeMap<String, usize> = BTreeMap::new();
        receipts(&root.join("work"))
            .difference(&before)
            .for_each(|(stage, _)| *tasks.entry(stage.clone()).or_default() += 1);
        Again {
            tasks,
            same_build: plan.fingerprint.hex() == self.fingerprint,
        }
    }

    /// The same with a manifest changed by replacing a part of it.
    #[track_caller]
    fn with_manifest(&self, name: &str, from: &str, to: &str) -> Again {
        self.again(|root| {
            replace(
                &root.join("manifests/datasets").join(format!("{name}.toml")),
                from,
                to,
            );
        })
    }

    /// The same with one value of the recipe changed.
    pub(super) fn with_recipe(&self, path: &str, value: Option<toml::Value>) -> Again {
        self.again(|root| {
            let file = root.join("manifests/recipes/planted.toml");
            let mut recipe: toml::Table =
                toml::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
            let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
            let mut table = &mut recipe;
            for name in tables.split('.').filter(|name| !name.is_empty()) {
                let inner = table
                    .entry(name.to_owned())
                    .or_insert_with(|| toml::Table::new().into());
                table = inner.as_table_mut().unwrap();
            }
            match value {
                Some(value) => table.insert(key.to_owned(), value),
                None => table.remove(key),
            };
            fs::write(&file, toml::to_string(&recipe).unwrap()).unwrap();
        })
    }
}

#[track_caller]
fn replace(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert_eq!(text.matches(from).count(), 1, "{from:?} in {text}");
    fs::write(file, text.replace(from, to)).unwrap();
}

/// Names of all values of a serialized table, such as `dedup.near.bands`.
pub(super) fn leaves(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(table) => table.iter().for_each(|(key, value)| {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                walk(value, &path, into);
            }),
            _ => {
                into.insert(path.to_owned());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", &mut found);
    found
}

const ALL: &[&str] = &["extract", "resolve", "tokenize", "shards"];
const NONE: &[&str] = &[];

/// A corpus on which every option of a recipe makes a difference.
fn sensitive(root: &Path) {
    let mut random = Random(77);
    let mut out = String::new();
    let plain: Vec<String> = (0..40).map(|_| text(&mut random, 160)).collect();
    plain.iter().for_each(|text| out.push_str(&json_line(text)));
    // Repairs of the text.
    for odd in [
        "caf\u{65}\u{301}",
        "line\rend",
        "bell\u{7}",
        "a\u{feff}mark",
    ] {
        out.push_str(&json_line(&format!("{odd} {}", text(&mut random, 160))));
    }
    // A near copy, a longer near copy, an exact copy that is too short for a signature, and what is just long enough.
    out.push_str(&json_line(&shortened(&plain[0])));
    out.push_str(&json_line(&lengthened(&plain[1])));
    let long_words = format!("{} {}", "ab".repeat(40), "cd".repeat(40));
    out.push_str(&json_line(&long_words).repeat(2));
    out.push_str(&json_line(&"x".repeat(150)));
    fs::create_dir_all(root.join("corpus/own")).unwrap();
    fs::write(root.join("corpus/own/x.jsonl"), out).unwrap();
    write_manifest(
        &root.join("manifests"),
        "own",
        "tiers = [\"high\"]\n",
        "../../corpus/own",
        "[read]\nblock-bytes = 16384\n",
    );
    // A copy in another dataset of the tier.
    let mut other = json_line(&plain[2]);
    other.push_str(&json_line(&text(&mut random, 160)));
    fs::create_dir_all(root.join("corpus/second")).unwrap();
    fs::write(root.join("corpus/second/x.jsonl"), other).unwrap();
    write_manifest(
        &root.join("manifests"),
        "second",
        "tiers = [\"high\"]\n",
        "../../corpus/second",
        "",
    );
}

/// Every option of a recipe but the rules of profiles, a value for it, and the stages that must run again.
fn recipe_options() -> Vec<(&'static str, Option<toml::Value>, &'static [&'static str])> {
    vec![
        ("seed", Some(8.into()), &["shards"]),
        // Nothing of the corpus is rejected, so the blocks are the same.
        ("rejects.samples", Some(4.into()), &["extract"]),
        ("rejects.characters", Some(7.into()), &["extract"]),
        (
            "signals.columns",
            Some(vec![toml::Value::from("characters")].into()),
            &["extract", "resolve", "tokenize"],
        ),
        // The corpus has no dialogues: see `loss`.
        ("chat.format", Some("alpaca".into()), NONE),
        ("normalize.nfc", Some(false.into()), ALL),
        ("normalize.line-ends", Some(false.into()), ALL),
        ("normalize.byte-order-marks", Some(false.into()), ALL),
        ("normalize.control-characters", Some(false.into()), ALL),
        (
            "dedup.exact",
            Some(false.into()),
            &["resolve", "tokenize", "shards"],
        ),
        (
            "dedup.keep",
            Some("first".into()),
            &["resolve", "tokenize", "shards"],
        ),
        // Nothing in the corpus has an address, so the search finds the same.
        ("dedup.url", Some(true.into()), &["resolve"]),
        // The second dataset has a copy of a document of the first.
        (
            "dedup.scope",
            Some("dataset".into()),
            &["resolve", "tokenize", "shards"],
        ),
        ("dedup.index", Some(false.into()), NONE),
        // The signatures that are equal to nine tenths are of texts that are equal to eight.
        ("dedup.near.verify", Some("signature".into()), &["resolve"]),
        // No document is like another only over a third.
        ("dedup.near.chain", Some(true.into()), &["resolve"]),
        (
            "dedup.near.similarity",
            Some(1.0.into()),
            &["resolve", "tokenize", "shards"],
        ),
        // The tokens are the same, but the blocks that they were made of are not: they hold other signatures.
        (
            "dedup.near.shingle-words",
            Some(4.into()),
            &["extract", "resolve", "tokenize"],
        ),
        (
            "dedup.near.bands",
            Some(15.into()),
            &["extract", "resolve", "tokenize"],
        ),
        (
            "dedup.near.rows",
            Some(7.into()),
            &["extract", "resolve", "tokenize"],
        ),
        ("dedup.near", None, ALL),
        // No line of the corpus stands in it twice, so nothing follows.
        (
            "dedup.trim.lines.min-characters",
            Some(32.into()),
            &["trim"],
        ),
        (
            "tokenize.tokenizer",
            Some("tokenizers/other.json".into()),
            &["tokenize", "shards"],
        ),
        (
            "tokenize.end-of-text",
            Some("<|padding|>".into()),
            &["tokenize", "shards"],
        ),
        ("split.val", Some(0.3.into()), &["shards"]),
        ("split.test", Some(0.3.into()), &["shards"]),
        ("shard.tokens", Some(8192.into()), &["shards"]),
        ("shard.frame-tokens", Some(2048.into()), &["shards"]),
        ("shard.level", Some(4.into()), &["shards"]),
    ]
}

#[test]
fn every_option_of_a_recipe_runs_its_stages_again_and_no_others() {
    let base = Base::new(|root| {
        sensitive(root);
        // The same tokens from a file of other bytes.
        let tokenizers = root.join("manifests/tokenizers");
        let json = fs::read_to_string(tokenizers.join("andromeda-16k.json")).unwrap();
        fs::write(tokenizers.join("other.json"), format!("{json}\n")).unwrap();
    });
    for (path, value, stages) in recipe_options() {
        let again = base.with_recipe(path, value.clone());
        assert_eq!(again.stages(), stages, "{path} = {value:?}");
        assert!(!again.same_build, "{path} = {value:?}");
    }
    let unchanged = base.again(|_| {});
    assert_eq!(
        (unchanged.stages().as_slice(), unchanged.same_build),
        (NONE, true)
    );
}

/// Every option of what is cut, a value for it, and the stages that must run again where something is cut already.
fn trim_options() -> Vec<(&'static str, Option<toml::Value>, &'static [&'static str])> {
    const AFTER: &[&str] = &["trim", "tokenize", "shards"];
    let document = || Some("document".into());
    vec![
        ("dedup.trim", None, &["tokenize", "shards"]),
        ("dedup.trim.lines", None, AFTER),
        ("dedup.trim.lines.scope", document(), AFTER),
        ("dedup.trim.lines.min-characters", Some(60.into()), AFTER),
        ("dedup.trim.paragraphs", None, AFTER),
        ("dedup.trim.paragraphs.scope", document(), AFTER),
        (
            "dedup.trim.paragraphs.min-characters",
            Some(200.into()),
            AFTER,
        ),
        ("dedup.trim.spans", None, AFTER),
        ("dedup.trim.spans.scope", document(), AFTER),
        ("dedup.trim.spans.words", Some(60.into()), AFTER),
        ("dedup.trim.min-left-characters", Some(5000.into()), AFTER),
        // No document is judged by it.
        (
            "dedup.trim.profiles",
            Some(vec!["other"].into()),
            &["trim", "tokenize", "shards"],
        ),
        // What is cut after the search for duplicates changes when other documents stay.
        (
            "dedup.keep",
            Some("first".into()),
            &["resolve", "trim", "tokenize", "shards"],
        ),
        ("seed", Some(8.into()), &["shards"]),
    ]
}

/// A corpus of which a line, a paragraph and a span are cut.
fn repetitive(root: &Path) {
    sensitive(root);
    let recipe = format!(
        "{RECIPE}[profile.other.length]\n[dedup.trim]\n[dedup.trim.lines]\n[dedup.trim.paragraphs]\n[dedup.trim.spans]\n"
    );
    write_recipe(&root.join("manifests"), "planted", &recipe);
    let mut random = Random(78);
    let line = "A line of some forty characters and more.";
    let paragraph =
        "A paragraph of short lines.\nNone of them is looked at\nalone, only all together.";
    // A small letter begins no sentence, so this is one.
    let span = text(&mut random, 55).replace('\n', " ");
    let span = format!("Span {}!", span.trim_end_matches('.'));
    let file = root.join("corpus/own/x.jsonl");
    let mut out = fs::read_to_string(&file).unwrap();
    for between in [line, paragraph] {
        for _ in 0..2 {
            let texts = [text(&mut random, 80), text(&mut random, 80)];
            out.push_str(&json_line(&texts.join(&format!("\n\n{between}\n\n"))));
        }
    }
    for _ in 0..2 {
        let texts = [text(&mut random, 80), text(&mut random, 80)];
        out.push_str(&json_line(&texts.join(&format!(" {span} "))));
    }
    fs::write(file, out).unwrap();
}

#[test]
fn every_option_of_what_is_cut_runs_its_stages_again_and_no_others() {
    let base = Base::new(repetitive);
    for (path, value, stages) in trim_options() {
        let again = base.with_recipe(path, value.clone());
        assert_eq!(again.stages(), stages, "{path} = {value:?}");
        assert!(!again.same_build, "{path} = {value:?}");
    }
}

#[test]
fn every_option_of_a_recipe_is_in_the_list() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/recipes/default.toml");
    let mut recipe = Recipe::load(&file).unwrap();
    recipe.dedup.trim = Some(TrimOptions {
        lines: Some(TrimLines::default()),
        paragraphs: Some(TrimParagraphs::default()),
        spans: Some(TrimSpans::default()),
        ..TrimOptions::default()
    });
    recipe.signals.columns = vec!["characters".to_owned()];
    recipe.chat.format = ChatFormat::Alpaca;
    recipe.decontaminate = Some(DecontaminateOptions::default());
    let written = serde_json::to_value(recipe).unwrap();
    let options: BTreeSet<String> = leaves(&written)
        .into_iter()
        .filter(|path| !path.starts_with("profile."))
        .collect();
    let listed: BTreeSet<String> = recipe_options()
        .iter()
        .chain(&trim_options())
        .chain(&text::decontaminate_options())
        .map(|(path, ..)| (*path).to_owned())
        .filter(|path| {
            options
                .iter()
                .all(|option| !option.starts_with(&format!("{path}.")))
        })
        .collect();
    let elsewhere = ["dedup.against", "dedup.near.characters"].map(str::to_owned);
    let options: BTreeSet<String> = options
        .into_iter()
        .filter(|path| !elsewhere.contains(path))
        .collect();
    assert_eq!(options, listed);
}

/// Another value of the same type, somewhere in it.
fn other(value: &Value) -> Value {
    match value {
        Value::Bool(on) => json!(!on),
        Value::Number(number) if number.is_u64() => json!(number.as_u64().unwrap() + 1),
        Value::Number(number) => json!(number.as_f64().unwrap() * 0.5 + 0.01),
        // The one option of rules that is a word.
        Value::String(text) if text == "english" => json!("unicode"),
        Value::String(text) => json!(format!("{text}x")),
        // A list of rules, in another order.
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().rev().cloned().collect()
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, item)| if i == 0 { other(item) } else { item.clone() })
            .collect(),
        Value::Null | Value::Object(_) => panic!("a rule's option is no {value}"),
    }
}

#[test]
fn every_option_of_every_rule_runs_extract_again_where_its_profile_judges_and_nowhere_else() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/recipes/default.toml");
    let mut recipe = serde_json::to_value(Recipe::load(&file).unwrap()).unwrap();
    let profiles = recipe["profile"].as_object_mut().unwrap();
    assert!(profiles.len() > 1);
    // And one of all rules, each with a table of its values.
    let names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
    let mut every = json!({ "rules": names });
    for rule in RULES {
        every[rule.table] = (rule.defaults)();
    }
    profiles.insert("every".to_owned(), every.clone());
    let every = toml::to_string(&json!({ "profile": { "every": every } })).unwrap();
    let profiles = &recipe["profile"].as_object().unwrap().clone();
    let base = Base::new(|root| {
        let manifests = root.join("manifests");
        fs::write(
            manifests.join("recipes/planted.toml"),
            format!(
                "{RECIPE}\n{}",
                fs::read_to_string(&file)
                    .unwrap()
                    .split_once("\n[dedup]")
                    .unwrap()
                    .0
                    .split_once("[normalize]")
                    .unwrap()
                    .1
            ) + "\n"
                + &every,
        )
        .unwrap();
        for (seed, name) in (0u64..).zip(profiles.keys().map(String::as_str).chain(["plain"])) {
            let mut random = Random(1000 + seed);
            fs::create_dir_all(root.join("corpus").join(name)).unwrap();
            let lines: String = (0..12)
                .map(|_| json_line(&text(&mut random, 160)))
                .collect();
            fs::write(root.join("corpus").join(name).join("x.jsonl"), lines).unwrap();
            write_manifest(
                &manifests,
                name,
                "tiers = [\"high\"]\n",
                &format!("../../corpus/{name}"),
                "",
            );
            replace(
                &manifests.join("datasets").join(format!("{name}.toml")),
                "profile = \"plain\"",
                &format!("profile = \"{name}\""),
            );
        }
    });
    for path in leaves(&json!({ "profile": profiles })) {
        let value = recipe
            .pointer(&format!("/{}", path.replace('.', "/")))
            .unwrap();
        if value.is_null() {
            continue;
        }
        let changed = toml::Value::try_from(other(value)).unwrap();
        let again = base.with_recipe(&path, Some(changed));
        // The block of the profile's one dataset and the mark that its file was read to the end.
        assert_eq!(again.tasks.get("extract"), Some(&2), "{path}: {again:?}");
        assert!(!again.same_build, "{path}");
    }
    // No published profile has an upper limit, so the recipe's own file does not name the option.
    let again = base.with_recipe(
        "profile.plain.length.max-characters",
        Some(1_000_000.into()),
    );
    assert_eq!(again.tasks.get("extract"), Some(&2), "{again:?}");
    assert!(!again.same_build);
}

#[test]
fn a_rule_that_turns_out_to_change_nothing_runs_nothing_after_it() {
    let base = Base::new(sensitive);
    let rule = "profile.plain.length.min-characters";
    assert_eq!(
        base.with_recipe(rule, Some(101.into())).stages(),
        ["extract"],
        "no document has 100 characters"
    );
    assert_eq!(
        base.with_recipe(rule, Some(151.into())).stages(),
        ALL,
        "one has 150"
    );
}

/// Two datasets; the first has what every read option and manifest key needs, the second stands by.
fn two_datasets(root: &Path) {
    for (seed, name) in [(5, "changed"), (6, "bystander")] {
        let mut random = Random(seed);
        fs::create_dir_all(root.join("corpus").join(name)).unwrap();
        for part in 0..2 {
            let rows: String = (0..15)
                .map(|i| format!("{i}\t{}\n", text(&mut random, 160).replace('\n', " ")))
                .collect();
            fs::write(
                root.join("corpus")
                    .join(name)
                    .join(format!("part-{part}.tsv")),
                format!("number\ttext\n{rows}"),
            )
            .unwrap();
        }
        let tables = "meta = []\n[read]\nmax-row-bytes = 1000000\n";
        write_manifest(
            &root.join("manifests"),
            name,
            "tiers = [\"high\"]\n",
            &format!("../../corpus/{name}"),
            tables,
        );
    }
}

/// Tasks of the first dataset's extraction: a block and an end of each file.
const CHANGED: Option<usize> = Some(4);

#[test]
fn every_key_of_a_dataset_manifest_runs_its_stages_again_and_no_others() {
    let base = Base::new(two_datasets);
    let path = "path = \"../../corpus/changed\"";
    // The key, what is replaced, by what, the stages that run again, whether the build is still the same one.
    let list: &[(&str, &str, &str, &[&str], bool)] = &[
        ("description", "Planted.", "Planted anew.", NONE, true),
        (
            "homepage",
            "profile =",
            "homepage = \"https://example.org\"\nprofile =",
            NONE,
            true,
        ),
        (
            "example",
            "[read]",
            "[[example]]\nrow = { text = \"a\" }\ntext = \"a\"\n[read]",
            NONE,
            true,
        ),
        ("licence", "CC0-1.0", "CC-BY-4.0", NONE, false),
        (
            "licence-note",
            "profile =",
            "licence-note = \"share-alike\"\nprofile =",
            NONE,
            true,
        ),
        (
            "stands-in-for",
            "profile =",
            "stands-in-for = \"a lost one\"\nprofile =",
            NONE,
            true,
        ),
        ("rows", "profile =", "rows = 30\nprofile =", NONE, true),
        (
            "size-bytes",
            "profile =",
            "size-bytes = 30000\nprofile =",
            NONE,
            true,
        ),
        // Without signatures the blocks are others, so all that stands on their bytes follows, and arrives at the same shards.
        (
            "near-duplicates",
            "profile =",
            "near-duplicates = false\nprofile =",
            &["extract", "resolve", "tokenize"],
            false,
        ),
        // A benchmark is left out.
        (
            "evaluation",
            "profile =",
            "evaluation = true\nprofile =",
            &["resolve", "shards"],
            false,
        ),
        // The config's name is in the ids.
        (
            "config",
            "[read]",
            "[[config]]\nname = \"part\"\n[read]",
            &["shards"],
            false,
        ),
        ("tiers", "[\"high\"]", "[\"medium\"]", &["resolve"], false),
        (
            "kind",
            "profile =",
            "kind = \"chat\"\nprofile =",
            &["extract"],
            false,
        ),
        ("profile", "\"plain\"", "\"strict\"", ALL, false),
        (
            "budget-bytes",
            "profile =",
            "budget-bytes = 20000\nprofile =",
            &["resolve", "shards"],
            false,
        ),
        (
            "source",
            path,
            "path = \"../../corpus/changed\"\nfiles = [\"*0.tsv\"]",
            &["resolve", "shards"],
            false,
        ),
        (
            "source",
            path,
            "path = \"../../corpus/changed\"\nexclude = [\"*1.tsv\"]",
            &["resolve", "shards"],
            false,
        ),
        (
            "source",
            path,
            "path = \"../../corpus/./changed\"",
            NONE,
            false,
        ),
        (
            "read",
            "max-row-bytes = 1000000",
            "max-row-bytes = 1000001",
            &["extract"],
            false,
        ),
        (
            "render",
            "text = \"text\"",
            "template = \"{text}\"",
            &["extract"],
            false,
        ),
        (
            "render",
            "text = \"text\"",
            "template = \"{number} {text}\"",
            ALL,
            false,
        ),
    ];
    for (key, from, to, stages, same_build) in list {
        let again = base.again(|root| {
            replace(
                &root.join("manifests/recipes/planted.toml"),
                "[dedup]\n",
                "[profile.strict.length]\nmin-characters = 1300\n[dedup]\n",
            );
            replace(&root.join("manifests/datasets/changed.toml"), from, to);
        });
        assert_eq!(
            (again.stages().as_slice(), again.same_build),
            (*stages, *same_build),
            "{key}: {to}"
        );
        assert!(
            again
                .tasks
                .get("extract")
                .is_none_or(|tasks| Some(*tasks) == CHANGED),
            "{key}: the bystander was read again"
        );
    }
    // The name is in the ids, and those decide the order of documents.
    let renamed = base.again(|root| {
        let datasets = root.join("manifests/datasets");
        replace(
            &datasets.join("changed.toml"),
            "name = \"changed\"",
            "name = \"called\"",
        );
        fs::rename(datasets.join("changed.toml"), datasets.join("called.toml")).unwrap();
    });
    assert_eq!(renamed.stages(), ["shards"]);

    // What keys there are, the reader of manifests says itself.
    let file = base.folder.path().join("manifests/datasets/changed.toml");
    replace(&file, "profile =", "nonsense = 1\nprofile =");
    let said = Dataset::load(&file).unwrap_err().to_string();
    let keys: BTreeSet<&str> = said
        .split_once("expected one of")
        .unwrap()
        .1
        .lines()
        .next()
        .unwrap()
        .split('`')
        .skip(1)
        .step_by(2)
        .collect();
    let listed: BTreeSet<&str> = list.iter().map(|(key, ..)| *key).chain(["name"]).collect();
    assert_eq!(keys, listed);
}

#[test]
fn every_read_option_runs_extract_again_for_its_dataset_alone() {
    let base = Base::new(two_datasets);
    let list: &[(&str, &str, &[&str])] = &[
        ("format", "\"tsv\"", &["extract"]),
        ("compression", "\"none\"", &["extract"]),
        ("max-compression-ratio", "999", &["extract"]),
        ("max-window-log", "26", &["extract"]),
        ("delimiter", "\"\\t\"", &["extract"]),
        ("quoting", "false", &["extract"]),
        // The header is then a row like the others, and too short.
        ("columns", "[\"number\", \"text\"]", ALL),
        // Blocks are cut elsewhere.
        ("block-bytes", "8192", ALL),
    ];
    for (key, value, stages) in list {
        let again = base.with_manifest("changed", "[read]", &format!("[read]\n{key} = {value}"));
        assert_eq!(again.stages(), *stages, "{key} = {value}");
        assert!(
            *key == "block-bytes" || again.tasks.get("extract").copied() == CHANGED,
            "{key}: {again:?}"
        );
        assert!(!again.same_build);
    }
    assert_eq!(
        base.with_manifest("changed", "max-row-bytes = 1000000", "max-row-bytes = 1200")
            .stages(),
        ALL
    );
    let options = ReadOptions {
        format: Some(FileFormat::Tsv),
        compression: Some(Compression::None),
        columns: Some(Vec::new()),
        delimiter: Some('\t'),
        quoting: Some(false),
        ..ReadOptions::default()
    };
    let listed: BTreeSet<String> = list
        .iter()
        .map(|(key, ..)| (*key).to_owned())
        .chain(["max-row-bytes".to_owned()])
        .collect();
    assert_eq!(leaves(&serde_json::to_value(options).unwrap()), listed);
}

/// A row from which every form makes a document.
fn row_of_all_forms(random: &mut Random) -> Value {
    let (question, answer, worse) = (text(random, 60), text(random, 80), text(random, 80));
    let reply =
        json!({"role": "assistant", "text": answer, "rank": 0, "deleted": false, "replies": []});
    let second =
        json!({"role": "assistant", "text": worse, "rank": 1, "deleted": false, "replies": []});
    json!({
        "text": format!("{question}\n{answer}"),
        "bytes": format!("b'{}'", answer.replace('\n', " ")),
        "label": "0",
        "conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}],
        "transcript": format!("\n\nHuman: {question}\n\nAssistant: {answer}"),
        "prompt": {"role": "prompter", "text": question, "rank": 0, "deleted": false, "replies": [reply, second]},
        "question": question, "answer": answer,
        "instruction": question, "input": "", "output": answer,
        "chosen": answer, "rejected": worse,
        "problem": {"problem": question},
        "label_steps": {"steps": [{"completions": [{"text": answer, "rating": 1}, {"text": worse, "rating": -1}],
                                   "human_completion": null, "chosen_completion": 0}],
                        "finish_reason": "solution"},
    })
}

/// The same with every field there twice, once with an `x` after its name: wherever a field's name is changed so, this row
/// still has it, and a plan finds no fault with the first rows.
fn doubled(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let twice = fields.iter().flat_map(|(name, value)| {
                let value = doubled(value);
                [(name.clone(), value.clone()), (format!("{name}x"), value)]
            });
            Value::Object(twice.collect())
        }
        Value::Array(items) => items.iter().map(doubled).collect(),
        other => other.clone(),
    }
}

#[test]
fn every_render_option_runs_extract_again_for_its_dataset_alone() {
    let exchange = Exchange {
        system: Some("text".to_owned()),
        prompt: "question".to_owned(),
        response: "answer".to_owned(),
    };
    let turns = Turns {
        html: true,
        ..Turns::default()
    };
    let tree = Tree {
        paths: TreePaths::All,
        reviewed: "passed".to_owned(),
        ..Tree::default()
    };
    let siblings = Tree {
        paths: TreePaths::Best,
        ..tree.clone()
    };
    let instruction = Instruction {
        dialogue: true,
        escaped_lines: true,
        ..Instruction::default()
    };
    let process = Process {
        problem: "problem.problem".to_owned(),
        label: "label_steps".to_owned(),
    };
    let of_label = |value: &str| {
        BTreeMap::from([(
            "label".to_owned(),
            BTreeMap::from([("0".to_owned(), value.to_owned())]),
        )])
    };
    let none = RenderOptions::default();
    let forms = [
        RenderOptions {
            text: Some("text".to_owned()),
            between: Some("-----".to_owned()),
            ..none.clone()
        },
        RenderOptions {
            template: Some("{question} {label} {answer}".to_owned()),
            replace: of_label("none"),
            ..none.clone()
        },
        RenderOptions {
            text: Some("bytes".to_owned()),
            python_bytes: true,
            meta: vec!["label".to_owned()],
            url: Some("url".to_owned()),
            date: Some("date".to_owned()),
            quality: Some("label".to_owned()),
            path: Some("label".to_owned()),
            language: Some("label".to_owned()),
            licence: Some("label".to_owned()),
            ..none.clone()
        },
        RenderOptions {
            template: Some("{question} {label} {answer}".to_owned()),
            choices: of_label("no"),
            ..none.clone()
        },
        RenderOptions {
            turns: Some(turns.clone()),
            ..none.clone()
        },
        RenderOptions {
            transcript: Some(Transcript {
                field: "transcript".to_owned(),
                ..Transcript::default()
            }),
            ..none.clone()
        },
        RenderOptions {
            tree: Some(tree.clone()),
            ..none.clone()
        },
        RenderOptions {
            ranked_siblings: Some(siblings.clone()),
            ..none.clone()
        },
        RenderOptions {
            exchange: Some(exchange.clone()),
            ..none.clone()
        },
        RenderOptions {
            instruction: Some(instruction.clone()),
            ..none.clone()
        },
        RenderOptions {
            preference: Some(Preference {
                prompt: Some("question".to_owned()),
                ..Preference::default()
            }),
            ..none.clone()
        },
        RenderOptions {
            process: Some(process.clone()),
            ..none.clone()
        },
        RenderOptions {
            process_solutions: Some(process.clone()),
            ..none.clone()
        },
        RenderOptions {
            process_pairs: Some(process.clone()),
            ..none
        },
    ];
    let mut listed = BTreeSet::new();
    let manifest = |root: &Path, render: &Value| {
        let render = toml::to_string(&BTreeMap::from([("render", render)])).unwrap();
        write_manifest(
            &root.join("manifests"),
            "changed",
            "tiers = [\"high\"]\n",
            "../../corpus/changed",
            "",
        );
        replace(
            &root.join("manifests/datasets/changed.toml"),
            "[render]\ntext = \"text\"\n",
            &render,
        );
    };
    for form in forms {
        let written = serde_json::to_value(&form).unwrap();
        let base = Base::new(|root| {
            two_datasets(root);
            let mut random = Random(9);
            let mut rows = format!("{}\n", doubled(&row_of_all_forms(&mut random)));
            rows.extend((0..20).map(|_| format!("{}\n", row_of_all_forms(&mut random))));
            fs::remove_dir_all(root.join("corpus/changed")).unwrap();
            fs::create_dir(root.join("corpus/changed")).unwrap();
            fs::write(root.join("corpus/changed/x.jsonl"), rows).unwrap();
            manifest(root, &written);
        });
        let plan = plan_of(base.folder.path(), "planted");
        let kept = build(base.folder.path(), &plan, 1, 1 << 30)
            .unwrap()
            .manifest
            .datasets[1]
            .funnel
            .kept
            .documents;
        // Of two answers to a question, each is the end of a path.
        let documents = if form.tree.is_some() { 42 } else { 21 };
        assert_eq!(kept, documents, "{written} renders the rows");
        for path in leaves(&written) {
            let pointer = format!("/{}", path.replace('.', "/"));
            let value = written.pointer(&pointer).unwrap();
            let changed = match (path.as_str(), value) {
                // There are three roles.
                (role, value) if role.contains(".roles.") => {
                    json!(if value == "user" { "system" } else { "user" })
                }
                ("template", _) => json!("{answer}{question}"),
                ("tree.paths", _) => json!("best"),
                ("meta", _) => json!(["label", "text"]),
                _ => other(value),
            };
            let mut render = written.clone();
            *render.pointer_mut(&pointer).unwrap() = changed;
            if path == "template" {
                render.as_object_mut().unwrap().remove("choices");
                render.as_object_mut().unwrap().remove("replace");
            }
            let again = base.again(|root| manifest(root, &render));
            assert_eq!(
                again.tasks.get("extract"),
                Some(&2),
                "{path} in {render}: {again:?}"
            );
            assert!(!again.same_build, "{path}");
            listed.insert(path);
        }
    }
    // The form with everything in it has no option that was not changed.
    let all = RenderOptions {
        text: Some(String::new()),
        template: Some(String::new()),
        turns: Some(turns),
        transcript: Some(Transcript::default()),
        tree: Some(tree),
        ranked_siblings: Some(siblings),
        exchange: Some(exchange),
        instruction: Some(instruction),
        preference: Some(Preference {
            prompt: Some(String::new()),
            ..Preference::default()
        }),
        process: Some(process.clone()),
        process_solutions: Some(process.clone()),
        process_pairs: Some(process),
        choices: of_label(""),
        replace: of_label(""),
        between: Some(String::new()),
        python_bytes: true,
        meta: vec![String::new()],
        url: Some(String::new()),
        path: Some(String::new()),
        language: Some(String::new()),
        licence: Some(String::new()),
        date: Some(String::new()),
        quality: Some(String::new()),
    };
    assert_eq!(leaves(&serde_json::to_value(all).unwrap()), listed);
}
