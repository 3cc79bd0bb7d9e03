//! Models in a recipe: the language of documents and of their lines, and a classifier of quality. What they say decides which
//! documents stay, stands in the table of documents, and belongs to the keys of the tasks that ask them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use andromeda_format::Build;
use andromeda_pipeline::classify::ModelFile;
use andromeda_pipeline::classify::rule::QualityOptions;
use andromeda_pipeline::documents::{self, Document};
use andromeda_pipeline::language::rule::{LanguageOptions, PerLine};
use andromeda_pipeline::plan;
use andromeda_tests::corpus::{RECIPE, json_line, write_manifest, write_recipe, write_tokenizer};
use fs_err as fs;
use serde_json::{Value, json};
use sha2::Digest as _;

use super::options::{Base, leaves};
use super::{build, only_build, plan_of, plan_options};

/// Models that fastText trained on five languages, with what it predicts: `pipeline/tests/fasttext/make.py`.
const TREE: &[u8] = include_bytes!("../../pipeline/tests/fasttext/tree.bin");
const SOFTMAX: &[u8] = include_bytes!("../../pipeline/tests/fasttext/softmax.bin");

const ENGLISH: &str = "The river runs past the old mill, under the bridge and out into the open country, where nobody \
                       asked why the train had stopped in the middle of a field on a Sunday afternoon.\n";
const GERMAN: &str = "Der Fluss fließt an der alten Mühle vorbei und unter der Brücke hindurch ins Freie, wo niemand fragte, \
                      warum der Zug an einem Sonntagnachmittag mitten auf dem Feld gehalten hatte.\n";

/// Documents in English, in German, of both, and of numbers: each over a hundred characters, and none like another.
fn documents_of(name: &str) -> String {
    let numbers = "0123456789 ".repeat(12);
    let own = |text: &str| json_line(&text.replace("the old mill", &format!("the mill of {name}")));
    [
        own(&format!("{ENGLISH}That is what we heard of {name}.\n")),
        own(&format!("{GERMAN}So hat es {name} erzählt.\n")),
        own(&format!("{ENGLISH}{GERMAN}{ENGLISH}{name}.\n")),
        own(&numbers),
    ]
    .concat()
}

/// Two datasets, `judged` and `plain`, each of a profile of its name, and models to name.
fn plant(root: &Path, recipe: &str) {
    let manifests = root.join("manifests");
    write_recipe(&manifests, "planted", recipe);
    write_tokenizer(&manifests);
    for (name, bytes) in [("tree.bin", TREE), ("softmax.bin", SOFTMAX)] {
        fs::create_dir_all(manifests.join("models")).unwrap();
        fs::write(manifests.join("models").join(name), bytes).unwrap();
    }
    for name in ["judged", "plain"] {
        let folder = root.join("corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("x.jsonl"), documents_of(name)).unwrap();
        let path = format!("../../corpus/{name}");
        write_manifest(&manifests, name, "tiers = [\"high\"]\n", &path, "");
    }
    let manifest = manifests.join("datasets/judged.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(
        manifest,
        text.replace("profile = \"plain\"", "profile = \"judged\""),
    )
    .unwrap();
}

/// The recipe of planted corpora with more tables of profiles, and without the search for near duplicates: texts here are alike.
fn with_profile(tables: &str) -> String {
    let (before, near) = RECIPE.split_once("[dedup.near]\n").unwrap();
    let (_, after) = near.split_once("[split]\n").unwrap();
    let before = before.replace("[dedup]\n", &format!("{tables}[dedup]\n"));
    format!("{before}[split]\n{after}")
}

/// The documents of `judged`, by row.
fn judged(root: &Path) -> Vec<Document> {
    let (found, _) = documents::find(&only_build(root), "judged/", usize::MAX).unwrap();
    found
}

#[test]
fn documents_and_lines_of_other_languages_go_and_the_table_says_what_each_is_in() {
    let root = tempfile::tempdir().unwrap();
    plant(
        root.path(),
        &with_profile("[profile.judged.language]\nallowed = [\"en\"]\nper-line = \"cut\"\n"),
    );
    let built = build(root.path(), &plan_of(root.path(), "planted"), 2, 1 << 30).unwrap();
    let rows = judged(root.path());
    let said: Vec<_> = rows
        .iter()
        .map(|row| {
            let reason = row.reason.as_deref();
            (row.verdict.as_str(), reason, row.language.as_deref())
        })
        .collect();
    assert_eq!(
        said,
        [
            ("kept", None, Some("en")),
            ("dropped", Some("language"), Some("de")),
            ("kept", None, Some("en")),
            ("dropped", Some("language-uncertain"), None),
        ]
    );
    assert!(rows[0].language_score.unwrap() > 0.9);
    assert_eq!(rows[3].language_score, None);
    let other: Vec<u64> = rows
        .iter()
        .map(|row| row.other_language_bytes.unwrap())
        .collect();
    assert_eq!(other, [0, GERMAN.len() as u64, GERMAN.len() as u64, 0]);
    let english = ENGLISH.replace("the old mill", "the mill of judged");
    assert_eq!(
        usize::try_from(rows[2].bytes).unwrap(),
        2 * english.len() + "judged.\n".len(),
        "the line in German was cut"
    );
    assert!(rows[1].bytes > GERMAN.len() as u64, "what goes, goes whole");

    // Of the dataset whose profile does not ask, nothing was dropped, and nothing is said.
    let (plain, _) = documents::find(&built.folder, "plain/", usize::MAX).unwrap();
    assert!(
        plain
            .iter()
            .all(|row| row.verdict == "kept" && row.language.is_none())
    );
    let manifest = Build::open(&built.folder).unwrap();
    let funnel = &manifest.manifest().datasets[0].funnel;
    let dropped: BTreeMap<&str, u64> = funnel
        .dropped
        .iter()
        .map(|(reason, count)| (reason.as_str(), count.documents))
        .collect();
    assert_eq!(
        dropped,
        BTreeMap::from([("language", 1), ("language-uncertain", 1)])
    );
}

#[test]
fn a_classifier_by_path_scores_what_the_rules_kept_and_the_manifest_says_which_it_was() {
    let root = tempfile::tempdir().unwrap();
    let tables = "[profile.judged.length]\nmin-characters = 200\n[profile.judged.quality]\nmodel = \"models/tree.bin\"\n\
                  label = \"__label__en\"\nmin-score = 0.5\n";
    plant(root.path(), &with_profile(tables));
    let plan = plan_of(root.path(), "planted");
    let built = build(root.path(), &plan, 2, 1 << 30).unwrap();
    let rows = judged(root.path());
    // As long as the numbers are, the rule of length let none of them pass; unjudged they have no score.
    assert_eq!(rows[3].reason.as_deref(), Some("too-short"));
    assert_eq!(rows[3].quality_score, None);
    assert_eq!(
        (rows[0].verdict.as_str(), rows[0].language.as_ref()),
        ("kept", None)
    );
    assert!(rows[0].quality_score.unwrap() >= 0.5, "{rows:?}");
    assert_eq!(rows[1].reason.as_deref(), Some("quality-low"));
    assert!(rows[1].quality_score.unwrap() < 0.5, "{rows:?}");
    let digest = sha256(TREE);
    let written = fs::read_to_string(built.folder.join("manifest.json")).unwrap();
    assert!(written.contains(&format!("tree.bin@sha256:{digest}")));

    // The same model at another place is the same build; another model at the same place is none.
    let manifests = root.path().join("manifests");
    fs::create_dir_all(manifests.join("elsewhere")).unwrap();
    fs::write(manifests.join("elsewhere/tree.bin"), TREE).unwrap();
    let moved = with_profile(&tables.replace("models/", "elsewhere/"));
    write_recipe(&manifests, "moved", &moved);
    let moved = plan_of(root.path(), "moved").recipe.profile;
    assert_eq!(
        serde_json::to_value(moved).unwrap(),
        serde_json::to_value(&plan.recipe.profile).unwrap()
    );
    fs::write(manifests.join("models/tree.bin"), SOFTMAX).unwrap();
    assert_ne!(
        plan_of(root.path(), "planted").fingerprint,
        plan.fingerprint
    );
}

#[test]
fn a_model_that_is_not_there_or_lacks_a_label_stops_the_plan_where_the_recipe_names_it() {
    let root = tempfile::tempdir().unwrap();
    plant(root.path(), RECIPE);
    let manifests = root.path().join("manifests");
    let options = |recipe: &str| {
        write_recipe(&manifests, "planted", recipe);
        plan::plan(&plan_options(root.path(), "planted"))
            .unwrap_err()
            .to_string()
    };
    for (tables, says) in [
        (
            "[profile.judged.quality]\nmodel = \"models/none.bin\"\nlabel = \"hq\"\n",
            "the model cannot be read",
        ),
        (
            "[profile.judged.quality]\nmodel = \"models/tree.bin\"\nlabel = \"hq\"\n",
            "the model has no label `hq`; it has en, de, pl, ru, ja",
        ),
        (
            "[profile.judged.language]\nmodel = \"models/tree.bin\"\nallowed = [\"fr\"]\n",
            "the model has no label `fr`",
        ),
        (
            "[profile.judged.language]\nallowed = [\"xx\"]\n",
            "the model in the program does not know `xx`",
        ),
    ] {
        let error = options(&with_profile(tables));
        assert!(error.contains(says), "{error}");
        assert!(error.contains("planted.toml"), "{error}");
    }
}

/// Every option of the tables that name models, with another value.
fn model_options() -> Vec<(&'static str, toml::Value)> {
    vec![
        ("language.allowed", vec!["en", "de"].into()),
        ("language.min-score", 0.5.into()),
        ("language.per-line", "count".into()),
        ("language.min-line-letters", 60.into()),
        ("language.max-other-share", 0.4.into()),
        ("language.model", "models/softmax.bin".into()),
        ("quality.model", "models/softmax.bin".into()),
        ("quality.label", "de".into()),
        ("quality.min-score", 0.4.into()),
    ]
}

#[test]
fn every_option_of_a_model_runs_extract_again_where_its_profile_judges_and_nowhere_else() {
    let tables = "[profile.judged.language]\nallowed = [\"en\"]\nmin-score = 0.6\nper-line = \"cut\"\nmin-line-letters = 50\n\
                  max-other-share = 0.5\nmodel = \"models/tree.bin\"\n\
                  [profile.judged.quality]\nmodel = \"models/tree.bin\"\nlabel = \"en\"\nmin-score = 0.3\n";
    let base = Base::new(|root| plant(root, &with_profile(tables)));
    for (option, value) in model_options() {
        let again = base.with_recipe(&format!("profile.judged.{option}"), Some(value));
        // The block of the profile's one dataset and the mark that its file was read to the end.
        assert_eq!(again.tasks.get("extract"), Some(&2), "{option}: {again:?}");
        assert!(!again.same_build, "{option}");
    }
    // The model in the program instead of one by path.
    let again = base.with_recipe("profile.judged.language.model", None);
    assert_eq!(again.tasks.get("extract"), Some(&2), "{again:?}");
    // Another model at the same place.
    let again = base.again(|root| {
        fs::write(root.join("manifests/models/tree.bin"), SOFTMAX).unwrap();
    });
    assert_eq!(again.tasks.get("extract"), Some(&2), "{again:?}");
    assert!(!again.same_build);
    let unchanged = base.again(|_| {});
    assert!(unchanged.tasks.is_empty() && unchanged.same_build);

    let language = LanguageOptions {
        allowed: vec!["en".to_owned()],
        per_line: Some(PerLine::Cut),
        max_other_share: Some(0.5),
        model: Some(ModelFile::new("x")),
        ..LanguageOptions::default()
    };
    let quality = QualityOptions {
        model: ModelFile::new("x"),
        label: "en".to_owned(),
        min_score: Some(0.5),
    };
    let listed: BTreeSet<String> = model_options()
        .iter()
        .map(|(option, _)| (*option).to_owned())
        .collect();
    let all: Value = json!({ "language": language, "quality": quality });
    assert_eq!(leaves(&all), listed);
}

fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
