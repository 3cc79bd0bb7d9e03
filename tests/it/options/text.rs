//! The options of what is done to texts and asked beside them: evaluation sets, personal data, addresses, licences, code, lists.

use std::collections::BTreeSet;
use std::path::Path;

use andromeda_pipeline::recipe::Recipe;
use andromeda_tests::corpus::{RECIPE, Random, json_line, text, write_manifest, write_recipe};
use fs_err as fs;
use serde_json::json;

use super::{ALL, Base, NONE, leaves, sensitive};

/// Every option of evaluation sets, a value for it, and the stages that must run again where a document has an item.
pub(super) fn decontaminate_options()
-> Vec<(&'static str, Option<toml::Value>, &'static [&'static str])> {
    const EXTRACT: &[&str] = &["extract"];
    vec![
        ("decontaminate", None, ALL),
        (
            "decontaminate.against",
            Some(vec!["other.jsonl"].into()),
            ALL,
        ),
        // The evidence is another, and stands in the block; the documents are the same.
        (
            "decontaminate.n",
            Some(12.into()),
            &["extract", "resolve", "tokenize"],
        ),
        ("decontaminate.action", Some("cut".into()), ALL),
        // The document has more matches than that, and nothing else has any.
        ("decontaminate.min-matches", Some(2.into()), EXTRACT),
        ("decontaminate.min-item-words", Some(9.into()), EXTRACT),
        ("decontaminate.max-items", Some(9.into()), EXTRACT),
        (
            "decontaminate.min-left-characters",
            Some(99.into()),
            EXTRACT,
        ),
    ]
}

/// A corpus of which one document holds an item.
fn contaminated(root: &Path) {
    sensitive(root);
    let manifests = root.join("manifests");
    let mut random = Random(79);
    let items = [text(&mut random, 20), text(&mut random, 20)];
    for (name, item) in ["items.jsonl", "other.jsonl"].into_iter().zip(&items) {
        fs::write(manifests.join(name), format!("{}\n", json!({ "q": item }))).unwrap();
    }
    let file = root.join("corpus/own/x.jsonl");
    let mut out = fs::read_to_string(&file).unwrap();
    let parts = [
        text(&mut random, 80),
        items[0].to_uppercase(),
        text(&mut random, 80),
    ];
    out.push_str(&json_line(&parts.join("\n")));
    fs::write(file, out).unwrap();
    let recipe = format!("{RECIPE}[decontaminate]\nagainst = [\"items.jsonl\"]\n");
    write_recipe(&manifests, "planted", &recipe);
}

#[test]
fn every_option_of_evaluation_sets_runs_its_stages_again_and_no_others() {
    let base = Base::new(contaminated);
    for (path, value, stages) in decontaminate_options() {
        let again = base.with_recipe(path, value.clone());
        assert_eq!(again.stages(), stages, "{path} = {value:?}");
        assert!(!again.same_build, "{path} = {value:?}");
    }
    // An item more, which no document has.
    let again = base.again(|root| {
        let file = root.join("manifests/items.jsonl");
        let more = fs::read_to_string(&file).unwrap()
            + &fs::read_to_string(root.join("manifests/other.jsonl")).unwrap();
        fs::write(file, more).unwrap();
    });
    assert_eq!((again.stages(), again.same_build), (vec!["extract"], false));
    let unchanged = base.again(|_| {});
    assert_eq!(
        (unchanged.stages().as_slice(), unchanged.same_build),
        (NONE, true)
    );
}

/// Every option of the tables of a profile that no recipe of the program has, and another value for it.
fn profile_options() -> Vec<(&'static str, toml::Value)> {
    let list = |name: &str| toml::Value::from(vec![name]);
    vec![
        ("pii.kinds", list("email")),
        ("pii.placeholder", "fixed".into()),
        ("url.rule", "refinedweb".into()),
        ("url.domains", list("other.txt")),
        ("url.urls", list("other.txt")),
        ("url.words", list("other.txt")),
        ("url.soft-words", list("other.txt")),
        ("url.min-soft-words", 3.into()),
        ("url.subwords", list("other.txt")),
        ("url.drop-without", true.into()),
        ("licence.allow", list("ISC")),
        ("licence.drop-without", true.into()),
        ("code-files.rules", "starcoder".into()),
        ("bad-words.lists", list("other.txt")),
        ("bad-words.rule", "c4".into()),
        ("bad-words.language", "th".into()),
        ("bad-words.allow", list("x")),
        ("bad-words.keep-fraction", 0.5.into()),
    ]
}

const TABLES: &str = r#"
[profile.plain.pii]
[profile.plain.url]
domains = ["list.txt"]
[profile.plain.licence]
drop-without = false
[profile.plain.code-files]
rules = "starcoder2"
[profile.plain.bad-words]
lists = ["list.txt"]
"#;

/// A corpus that is judged by all of these tables, none of which takes all of it whatever one option says.
fn judged(root: &Path) {
    let manifests = root.join("manifests");
    let mut random = Random(83);
    let rows = (0..30).map(|row| {
        let words = text(&mut random, 80);
        let words: Vec<&str> = words.split_whitespace().collect();
        // Lines as short as those of a program.
        let lines: Vec<String> = words.chunks(6).map(|words| words.join(" ")).collect();
        let lines = lines.join("\n");
        match row % 3 {
            0 => json!({ "text": lines }),
            _ => json!({ "text": lines, "url": "http://three.example/", "licence": "MIT" }),
        }
    });
    let rows: String = rows.map(|row| format!("{row}\n")).collect();
    fs::create_dir_all(root.join("corpus/own")).unwrap();
    fs::write(root.join("corpus/own/x.jsonl"), rows).unwrap();
    let render = "url = \"url\"\nlicence = \"licence\"\n";
    let top = "tiers = [\"high\"]\n";
    write_manifest(&manifests, "own", top, "../../corpus/own", render);
    fs::write(manifests.join("list.txt"), "one.example\n").unwrap();
    fs::write(manifests.join("other.txt"), "two.example\n").unwrap();
    write_recipe(&manifests, "planted", &format!("{RECIPE}{TABLES}"));
}

#[test]
fn every_option_of_what_a_profile_does_beside_its_rules_runs_extract_again() {
    let base = Base::new(judged);
    for (option, value) in profile_options() {
        let path = format!("profile.plain.{option}");
        let again = base.with_recipe(&path, Some(value));
        assert!(again.tasks.contains_key("extract"), "{path}: {again:?}");
        assert!(!again.same_build, "{path}");
    }
    // Another list under the same name is another rule.
    let again =
        base.again(|root| fs::write(root.join("manifests/list.txt"), "x.example\n").unwrap());
    assert!(again.tasks.contains_key("extract"), "{again:?}");
    assert!(!again.same_build);
    let unchanged = base.again(|_| {});
    assert_eq!(
        (unchanged.stages().as_slice(), unchanged.same_build),
        (NONE, true)
    );
}

#[test]
fn every_option_of_these_tables_is_in_the_list() {
    let recipe: Recipe = toml::from_str(&format!("{RECIPE}{TABLES}")).unwrap();
    let profile = serde_json::to_value(&recipe.profile["plain"]).unwrap();
    let options: BTreeSet<String> = leaves(&profile)
        .into_iter()
        .filter(|path| !path.starts_with("length."))
        .collect();
    let listed = profile_options()
        .into_iter()
        .map(|(path, _)| path.to_owned());
    let mut listed: BTreeSet<String> = listed.collect();
    // Its other value asks for two more to change.
    listed.insert("pii.rule".to_owned());
    assert_eq!(options, listed);
}
