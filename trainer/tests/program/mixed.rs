//! `[data.weights]`: a run of a mixture reads each dataset by its weight, says how often, and resumes exactly.

use std::collections::BTreeMap;

use andromeda_format::{Build, Loader, LoaderOptions, MixtureSource, Packing, Sequence, Split};
use andromeda_trainer::build::{OpenBuild, Part};
use andromeda_trainer::config::DataOptions;
use andromeda_trainer::data::Row;

use crate::support::{World, make_mixture};

/// Every third document is code: 39 of the 120 of the training split, which are of 500 tokens each.
const TURNS: [&str; 3] = ["prose", "prose", "code"];
/// Windows of 64 in 39 documents of code, and in 81 of prose.
const CODE_SEQUENCES: u64 = (39 * 500 - 1) / 64;
const PROSE_SEQUENCES: u64 = (81 * 500 - 1) / 64;

fn weights(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let named = of
        .iter()
        .map(|(name, weight)| ((*name).to_owned(), *weight));
    named.collect()
}

#[test]
fn a_mixture_gives_each_dataset_its_share_of_any_beginning() {
    let folder = tempfile::tempdir().unwrap();
    make_mixture(folder.path(), 1, &TURNS);
    let build = Build::open(folder.path()).unwrap();
    let opened = OpenBuild::open(folder.path()).unwrap();
    for packing in [Packing::Concatenate, Packing::BestFit] {
        let data = DataOptions {
            sequence_tokens: 64,
            order_seed: 3,
            packing,
            chunk_tokens: 3_000,
            group_chunks: 2,
            weights: weights(&[("prose", 1), ("code", 3)]),
            ..DataOptions::default()
        };
        let of = |name: &str, weight| MixtureSource {
            build: build.clone(),
            split: Split::Train,
            dataset: Some(name.to_owned()),
            weight,
        };
        let sources = [of("code", 3), of("prose", 1)];
        let mut loader = Loader::mixture(&sources, data.loader_options()).unwrap();
        let mut source = opened.source(Part::Training, &data).unwrap();
        let (mut row, mut sequence) = (Row::default(), Sequence::default());
        let mut code = 0_u64;
        // Some epochs of code, the first of prose.
        for position in 0..2_000 {
            source.sequences.read(position, &mut row).unwrap();
            loader.read(position, &mut sequence).unwrap();
            assert_eq!((&row.ids, &row.trained), (&sequence.ids, &sequence.loss));
            // Rows count from 1 in each shard, and every third is code.
            let is_code = |document: &u64| document.is_multiple_of(3);
            let all = row.documents.iter().all(is_code);
            assert!(all || !row.documents.iter().any(is_code), "{row:?}");
            code += u64::from(all);
            let accounts = source.sequences.accounts(position + 1);
            assert_eq!(
                (accounts[0].given, accounts[1].given),
                (code, position + 1 - code)
            );
            // Three of four, and never a whole sequence off.
            let share = (position + 1) * 3;
            assert!((code * 4).abs_diff(share) < 4, "{code} of {}", position + 1);
        }

        // What is evaluated on is all of the split, whatever is trained on.
        let windows = LoaderOptions::new(64, 3);
        let windows = Loader::new(&build, Split::Val, windows).unwrap();
        let validation = opened.source(Part::Validation, &data).unwrap();
        assert_eq!(validation.sequences.sequences(), windows.sequences());
        assert_eq!(opened.left_out(&data), [""; 0]);
        let data = DataOptions {
            weights: weights(&[("code", 9)]),
            ..data
        };
        assert_eq!(opened.left_out(&data), ["prose"]);
    }
}

#[test]
fn datasets_of_a_kind_have_their_shares_by_tokens() {
    let folder = tempfile::tempdir().unwrap();
    make_mixture(folder.path(), 1, &TURNS);
    let opened = OpenBuild::open(folder.path()).unwrap();
    let data = |text: &str| toml::from_str::<DataOptions>(text).unwrap();
    let mut kinds = data("sequence-tokens = 64\nkinds = [\"text\"]");
    let weights = format!("weights = {{ prose = {}, code = {} }}", 81 * 500, 39 * 500);
    let weights = data(&format!("sequence-tokens = 64\n{weights}"));
    let rows = |data: &DataOptions| -> Vec<Vec<u32>> {
        let mut source = opened.source(Part::Training, data).unwrap();
        let mut row = Row::default();
        let read = |position| {
            source.sequences.read(position, &mut row).unwrap();
            row.ids.clone()
        };
        (0..500).map(read).collect()
    };
    let by_kind = rows(&kinds);
    assert_eq!(by_kind, rows(&weights));
    // Each sequence is of one dataset; without the option they are of both.
    assert_ne!(by_kind, rows(&data("sequence-tokens = 64")));
    assert_eq!(opened.left_out(&kinds), [""; 0]);
    kinds.kinds = vec!["chat".to_owned()];
    let error = opened.source(Part::Training, &kinds).map(drop).unwrap_err();
    let message = error.to_string();
    for word in ["data.kinds", "`chat`", "it has text"] {
        assert!(message.contains(word), "{word}: {message}");
    }
}

#[test]
fn a_mixed_run_says_its_epochs_resumes_exactly_and_not_under_other_weights() {
    let world = World::new();
    let build = world.folder.path().join("shards/mixed");
    make_mixture(&build, 2, &TURNS);
    let arguments = |command: &str, name: &str, mixed: &str| {
        let mut arguments = vec![command, "--config", "test.toml", "--build", "shards/mixed"];
        if command == "run" {
            arguments.extend(["--run", name]);
        }
        for assignment in mixed.split(';').filter(|one| !one.is_empty()) {
            arguments.extend(["--set", assignment]);
        }
        arguments.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let call = |command: &str, name: &str, mixed: &str| {
        let arguments = arguments(command, name, mixed);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = world.call(&arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            stderr,
        )
    };
    let mixed = "data.weights={ prose = 1, code = 3 }";

    // 40 steps of 8 sequences: 240 of code and 80 of prose.
    let code = 240.0 / CODE_SEQUENCES as f64;
    let (status, table, stderr) = call("plan", "", mixed);
    assert_eq!(status, Some(0), "{stderr}");
    let epochs =
        format!("code: weight 3, {code:.2} epochs, 240 sequences; an epoch is {CODE_SEQUENCES}");
    assert!(table.contains(&epochs), "{table}");
    assert!(
        table.contains(&format!("80 sequences; an epoch is {PROSE_SEQUENCES}")),
        "{table}"
    );
    let (_, table, _) = call("plan", "", "data.weights={ code = 1 }");
    assert!(table.contains("not trained on: prose"), "{table}");

    let (status, _, stderr) = call("run", "whole", mixed);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(stderr.contains(&epochs), "{stderr}");
    assert_eq!(call("run", "again", mixed).0, Some(0));
    // Back to step 36: what comes after it is trained again.
    for step in [39, 40] {
        std::fs::remove_dir_all(world.run("again").join(format!("step-{step:08}"))).unwrap();
    }
    for other in [
        "",
        "data.weights={ prose = 2, code = 3 }",
        "data.weights={ code = 3 }",
    ] {
        let (status, _, stderr) = call("run", "again", other);
        assert!(
            status == Some(2) && stderr.contains("data.weights"),
            "{stderr}"
        );
    }
    world.succeed(&["resume", "again"]);
    assert!(
        world.last_checkpoint("whole") == world.last_checkpoint("again"),
        "the last checkpoints differ"
    );
    assert_eq!(world.metrics("whole"), world.metrics("again"));
    let text = std::fs::read_to_string(world.run("whole").join("metrics.jsonl")).unwrap();
    let step: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert!(step["data_wait_seconds"].as_f64().unwrap() >= 0.0, "{step}");
    // Without weights it trains on something else.
    assert_eq!(call("run", "plain", "").0, Some(0));
    assert_ne!(world.metrics("whole"), world.metrics("plain"));

    for (mixed, says) in [
        (
            "data.weights={ porse = 1, code = 3 }",
            "no dataset `porse`; did you mean `prose`?",
        ),
        (
            "data.weights={ mathematics = 1 }",
            "no dataset `mathematics`; it has code, prose",
        ),
        (
            "data.weights={ prose = 0 }",
            "data.weights.prose must be at least 1",
        ),
        // Of which code has no sequence, though the split has.
        (
            "data.weights={ code = 1 };data.sequence-tokens=32768",
            "dataset code has 19500 tokens in split train, too few",
        ),
    ] {
        let (status, _, stderr) = call("run", "bad", mixed);
        assert!(status == Some(2) && stderr.contains(says), "{stderr}");
    }
}
