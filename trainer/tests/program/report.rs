//! The report of runs: whole, escaped, the same again, and in a real browser, where there is one. Names of datasets and prompts are
//! hostile.

use std::path::Path;
use std::process::Command;

use crate::datasets::mixed_world;
use crate::support::World;

const HOSTILE: &str =
    "</pre></details><script>document.title='owned'</script><img src=\"http://127.0.0.1:9/x.png\">";

/// Runs `one` and `other`, of another learning rate, on a build of two datasets.
fn two_runs() -> World {
    let world = mixed_world();
    let prompt = format!(
        "sample.prompts=[{}, \"w3\"]",
        serde_json::to_string(HOSTILE).unwrap()
    );
    for (name, rate) in [("one", "3e-3"), ("other", "1e-3")] {
        let rate = format!("schedule.peak-learning-rate={rate}");
        let run = [
            "run",
            "--config",
            "test.toml",
            "--run",
            name,
            "--set",
            &rate,
        ];
        world.succeed(
            &[
                &run[..],
                &["--set", "sample.every-steps=20", "--set", &prompt],
            ]
            .concat(),
        );
    }
    // A dataset's name is whatever a build says.
    let metrics = world.run("one").join("metrics.jsonl");
    let text = std::fs::read_to_string(&metrics).unwrap();
    std::fs::write(metrics, text.replace("\"code\"", "\"<script>x\"")).unwrap();
    world
}

fn read(world: &World, path: &str) -> String {
    std::fs::read_to_string(world.folder.path().join(path.trim())).unwrap()
}

#[test]
fn the_page_holds_everything_escaped_and_is_the_same_again() {
    let world = two_runs();
    let said = world.succeed(&["report", "one"]);
    assert_eq!(said, "reports/one.html\n");
    let page = read(&world, &said);
    world.succeed(&["report", "runs/one/", "--out", "again.html"]);
    assert_eq!(read(&world, "again.html"), page);
    assert!(page.contains("Content-Security-Policy") && page.contains("default-src 'none'"));
    for tag in ["<script", "<img", "<link", "<iframe", "javascript:"] {
        assert!(!page.contains(tag), "{tag}");
    }
    let trace = world.succeed(&["trace", "one", "1", "--json"]);
    let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
    for word in [
        trace["root"].as_str().unwrap(),
        "&lt;script&gt;document.title",
        "&lt;script&gt;x",
        "prose",
        "peak-learning-rate = 0.003",
        "after step 40",
        "bits per byte",
    ] {
        assert!(page.contains(word), "{word}");
    }
    // Training, two of validation, two by dataset, learning rate, norm, rate, waiting, utilization.
    assert_eq!(page.matches("<svg").count(), 10);

    let said = world.succeed(&["report", "one", "other"]);
    assert_eq!(said, "reports/one-and-other.html\n");
    let both = read(&world, &said);
    assert!(
        both.contains("other: other schedule.peak-learning-rate than one"),
        "{both:.3000}"
    );
    // By dataset there is a pair of charts for each.
    assert_eq!(both.matches("<svg").count(), 12);
    assert!(both.contains("one, other on build <code>"));
    for line in ["#2A9D8F", "#457BD6"] {
        assert!(both.contains(line), "{line}");
    }
    let stderr = world.fail(&["report", "one", "third"], 2);
    assert!(stderr.contains("no run \"third\""), "{stderr}");
    std::fs::create_dir_all(world.run("empty")).unwrap();
    let stderr = world.fail(&["report", "empty"], 2);
    assert!(stderr.contains("has no metrics"), "{stderr}");
}

/// Opens a page as a person would, and says what the browser did besides showing it.
#[test]
fn a_browser_shows_the_page_and_asks_for_nothing() {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let Some(chromium) = names.into_iter().find(there) else {
        println!("skipped: there is no Chromium here");
        return;
    };
    let world = two_runs();
    world.succeed(&["report", "one", "other", "--out", "page.html"]);
    let root = world.folder.path();
    let file = format!("file://{}", root.join("page.html").display());
    for width in [390, 1280] {
        let log = root.join(format!("net-{width}.json"));
        let dom = shown(chromium, &file, width, root, &log);
        assert!(
            dom.contains("<title>one, other · Andromeda</title>"),
            "{dom:.500}"
        );
        let charts: Vec<&str> = dom.split("<svg").skip(1).collect();
        assert_eq!(charts.len(), 12);
        for chart in charts {
            let chart = chart.split("</svg>").next().unwrap();
            assert!(
                chart.contains("<polyline") && chart.contains("<text"),
                "{chart:.500}"
            );
        }
        // The log holds every address that anything asked for.
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains(&file), "the log does not know the page itself");
        assert!(
            !log.contains("127.0.0.1:9"),
            "something of the page was asked for"
        );
    }
}

fn shown(chromium: &str, file: &str, width: u32, root: &Path, log: &Path) -> String {
    let output = Command::new(chromium)
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
            root.join("profile").display()
        ))
        .arg(format!("--log-net-log={}", log.display()))
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.contains("CONSOLE"), "{said}");
    String::from_utf8(output.stdout).unwrap()
}
