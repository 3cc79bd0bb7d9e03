//! What a build shows of itself: the page (in a real browser, where there is one), the card, the rejects, the difference of
//! two builds. Texts are hostile: markup, scripts, addresses that a page would ask for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use andromeda_format::Build;
use andromeda_tests::corpus::{
    RECIPE, Random, json_line, text, write_manifest, write_recipe, write_tokenizer,
};
use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

use super::{andromeda, ended, only_build, root_hash, tree};

const HOSTILE: &str = "</pre></details><script>document.title='owned'</script><img src=\"http://127.0.0.1:9/x.png\"> \
    <style>@import url(http://127.0.0.1:9/y.css);</style> \u{202e}backwards\u{0}";

/// Two datasets: texts that stay, some that are too short, copies within and across, rows that are no documents.
fn plant(root: &Path) {
    let manifests = root.join("manifests");
    let mut random = Random(77);
    let shared: Vec<String> = (0..6).map(|_| text(&mut random, 60)).collect();
    for (name, tier) in [("first", "high"), ("second", "medium")] {
        let folder = root.join("corpus").join(name);
        fs::create_dir_all(&folder).unwrap();
        let mut lines = String::new();
        for _ in 0..30 {
            lines += &json_line(&text(&mut random, 60));
        }
        for number in 0..8 {
            lines += &json_line(&format!("{number} <b>short</b>"));
        }
        shared.iter().for_each(|text| lines += &json_line(text));
        lines += &json_line(&format!("{HOSTILE} {}", text(&mut random, 60)));
        lines += "{\"text\": 5}\n{broken\n";
        fs::write(folder.join("x.jsonl"), lines).unwrap();
        let tiers = format!("tiers = [\"{tier}\"]\n");
        write_manifest(
            &manifests,
            name,
            &tiers,
            &format!("../../corpus/{name}"),
            "",
        );
    }
    write_recipe(&manifests, "planted", RECIPE);
    write_tokenizer(&manifests);
}

fn planted() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    plant(root.path());
    make(root.path(), "planted");
    root
}

fn make(root: &Path, recipe: &str) {
    let arguments = format!("build --priority all --recipe {recipe} --memory 512M");
    ended(&mut andromeda(root, &arguments)).with(0, &[]);
}

#[test]
fn the_page_holds_everything_escaped_and_is_the_same_again() {
    let root = planted();
    let said = ended(&mut andromeda(root.path(), "report --samples 100")).with(0, &[]);
    let page = root.path().join(said.stdout.trim());
    let first = fs::read_to_string(&page).unwrap();
    ended(&mut andromeda(
        root.path(),
        "report --samples 100 --out again.html",
    ))
    .with(0, &[]);
    assert_eq!(
        fs::read_to_string(root.path().join("again.html")).unwrap(),
        first
    );

    assert!(first.contains("Content-Security-Policy") && first.contains("default-src 'none'"));
    for tag in [
        "<script",
        "<img",
        "<link",
        "<iframe",
        "onload=",
        "javascript:",
    ] {
        assert!(!first.contains(tag), "{tag}");
    }
    assert!(first.contains("&lt;script&gt;document.title"));
    assert!(!first.contains(['\u{202e}', '\u{0}']));
    for word in [
        root_hash(root.path()).as_str(),
        "too-short",
        "&lt;b&gt;short&lt;/b&gt;",
        "wrong-type",
        "Overlap",
        "<svg",
        "CC0-1.0",
    ] {
        assert!(first.contains(word), "{word}");
    }
    // Without intermediates the page still has what the build itself keeps.
    fs::remove_dir_all(root.path().join("work")).unwrap();
    let said = ended(&mut andromeda(
        root.path(),
        "report --samples 100 --out less.html",
    ));
    said.with(0, &["--work names another folder"]);
    let less = fs::read_to_string(root.path().join("less.html")).unwrap();
    assert!(less.contains("&lt;b&gt;short&lt;/b&gt;") && less.contains("not at hand"));
}

/// Opens a page as a person would, and says what the browser did besides showing it.
#[test]
fn a_browser_shows_the_page_and_asks_for_nothing() {
    let Some(chromium) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())
    else {
        println!("skipped: there is no Chromium here");
        return;
    };
    let root = planted();
    ended(&mut andromeda(
        root.path(),
        "report --samples 100 --out page.html",
    ))
    .with(0, &[]);
    let file = format!("file://{}", root.path().join("page.html").display());
    for width in [390, 1280] {
        let log = root.path().join(format!("net-{width}.json"));
        let shown = Command::new(chromium)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--disable-quic", "--enable-logging=stderr", "--dump-dom"])
            .arg(format!("--window-size={width},900"))
            .arg(format!(
                "--user-data-dir={}",
                root.path().join("profile").display()
            ))
            .arg(format!("--log-net-log={}", log.display()))
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&shown.stderr);
        assert!(!said.contains("CONSOLE"), "{said}");
        let dom = String::from_utf8_lossy(&shown.stdout);
        assert!(dom.contains("<title>all-"), "{dom:.500}");
        // Every chart has marks and words.
        let charts: Vec<&str> = dom.split("<svg").skip(1).collect();
        assert!(charts.len() >= 4, "{} charts", charts.len());
        for chart in charts {
            let chart = chart.split("</svg>").next().unwrap();
            assert!(
                chart.contains("<rect") && chart.contains("<text"),
                "{chart:.500}"
            );
        }
        assert!(dom.matches("<details").count() >= 4);
        // The log holds every address that anything asked for.
        let log = fs::read_to_string(log).unwrap();
        assert!(log.contains(&file), "the log does not know the page itself");
        assert!(
            !log.contains("127.0.0.1:9"),
            "something of the page was asked for"
        );
    }
}

#[test]
fn rejects_are_the_same_however_the_work_was_cut_and_say_why() {
    let root = planted();
    let build = only_build(root.path());
    let funnel = Build::open(&build).unwrap().manifest().funnel.clone();
    let said = ended(&mut andromeda(root.path(), "rejects --most 100 --json")).with(0, &[]);
    let rows: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut by_reason: BTreeMap<String, usize> = BTreeMap::new();
    for row in &rows {
        *by_reason
            .entry(row["reason"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    // Five a dataset and reason, or all that there are.
    assert_eq!(by_reason["too-short"], 10);
    let quarantined: u64 = funnel
        .quarantined
        .values()
        .map(|count| count.documents)
        .sum();
    assert_eq!(quarantined, 4);
    for reason in funnel.quarantined.keys() {
        assert_eq!(by_reason[reason], 2, "{reason}");
    }
    assert_eq!(
        by_reason["exact"] as u64,
        funnel.duplicates["exact"].documents
    );
    let short = rows
        .iter()
        .find(|row| row["reason"] == "too-short")
        .unwrap();
    assert!(
        short["text"].as_str().unwrap().ends_with("<b>short</b>"),
        "{short}"
    );
    let twin = rows.iter().find(|row| row["reason"] == "exact").unwrap();
    assert_eq!(twin["text"], twin["kept"]["text"], "{twin}");

    // One thread, blocks of other sizes: the same table.
    let other = tempfile::tempdir().unwrap();
    plant(other.path());
    for name in ["first", "second"] {
        let file = other.path().join(format!("manifests/datasets/{name}.toml"));
        let manifest = fs::read_to_string(&file).unwrap();
        fs::write(file, manifest + "[read]\nblock-bytes = 4096\n").unwrap();
    }
    make(other.path(), "planted");
    let table = |root: &Path| tree(&only_build(root))["rejects.parquet"].clone();
    assert_eq!(table(root.path()), table(other.path()));

    let only = ended(&mut andromeda(
        root.path(),
        "rejects --reason too --dataset second",
    ))
    .with(0, &[]);
    assert_eq!(only.stdout.matches("── second/").count(), 3, "{only:?}");
    assert_eq!(only.stdout.matches("── first/").count(), 0);
    ended(&mut andromeda(root.path(), "rejects --reason nothing"))
        .with(2, &["`nothing`", "too-short"]);
}

#[test]
fn a_changed_threshold_is_a_difference_with_names() {
    let root = planted();
    let first = only_build(root.path());
    let changed = RECIPE.replace("min-characters = 100", "min-characters = 5");
    assert_ne!(changed, RECIPE);
    write_recipe(&root.path().join("manifests"), "shorter", &changed);
    make(root.path(), "shorter");
    let second = fs::read_dir(root.path().join("shards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| *path != first)
        .unwrap();
    let command = format!("diff {} {} --samples 2", first.display(), second.display());
    let said = ended(&mut andromeda(root.path(), &format!("{command} --json"))).with(0, &[]);
    let diff: Value = serde_json::from_str(&said.stdout).unwrap();
    // Eight of each dataset are equal texts: the second's are duplicates now.
    assert_eq!(diff["gained"]["dropped: too-short"]["documents"], 8);
    assert_eq!(
        diff["changed"]["dropped: too-short → duplicate: exact"]["documents"],
        8
    );
    assert_eq!(diff["lost"], serde_json::json!({}));
    let kept = Build::open(&first)
        .unwrap()
        .manifest()
        .funnel
        .kept
        .documents;
    assert_eq!(diff["both"], kept);
    let samples = diff["gained"]["dropped: too-short"]["samples"]
        .as_array()
        .unwrap();
    assert_eq!(samples.len(), 2);
    assert!(samples[0]["id"].as_str().unwrap().starts_with("first/"));
    // The other way round what was gained is lost.
    let back = format!("diff {} {} --json", second.display(), first.display());
    let back: Value = serde_json::from_str(
        &ended(&mut andromeda(root.path(), &back))
            .with(0, &[])
            .stdout,
    )
    .unwrap();
    assert_eq!(back["lost"]["dropped: too-short"]["documents"], 8);
    let said = ended(&mut andromeda(root.path(), &command)).with(0, &[]);
    assert!(said.stdout.contains("kept by B and not by A"), "{said:?}");
    let same = format!("diff {} {}", first.display(), first.display());
    assert!(
        ended(&mut andromeda(root.path(), &same))
            .with(0, &[])
            .stdout
            .contains("the same fate")
    );
}

#[test]
fn the_card_is_what_a_hub_reads() {
    let root = planted();
    let card = ended(&mut andromeda(root.path(), "card"))
        .with(0, &[])
        .stdout;
    let mut parts = card.splitn(3, "---\n");
    assert_eq!(parts.next(), Some(""));
    let front = parts.next().unwrap();
    assert!(
        front.contains("license: \"cc0-1.0\"") && front.contains("- n<1K"),
        "{front}"
    );
    let body = parts.next().unwrap();
    for word in [
        root_hash(root.path()).as_str(),
        "| first | high |",
        "dropped: too-short",
        "## Splits",
    ] {
        assert!(body.contains(word), "{word}: {body}");
    }
}
