//! `andromeda-train ablate`: a planted bad dataset is found, and what is the same is no difference.

use std::collections::BTreeMap;

use andromeda_format::Split;
use serde_json::Value;

use crate::datasets::{Planted, make_planted_build};
use crate::support::{World, bytes_of, make_build_of, tokenizer};
use crate::texts::{Draws, documents, shuffled};

/// `prose` and `notes`, both of one grammar, in a build called `name`: nine documents of ten are notes. `change` is made to the notes, and `seed` orders the documents.
fn make(world: &World, name: &str, seed: u64, change: &dyn Fn(&[u32], &mut Draws) -> Vec<u32>) {
    let mut all = BTreeMap::new();
    for (split, count) in [(Split::Train, 600), (Split::Val, 400)] {
        let mut draws = Draws::new(seed, "order");
        let mut planted = Vec::new();
        for (row, ids) in (0..).zip(documents(5, split, count)) {
            let dataset = u32::from(row % 10 > 0);
            let ids = match dataset {
                0 => ids,
                _ => change(&ids, &mut draws),
            };
            planted.push(Planted { row, dataset, ids });
        }
        draws.shuffle(&mut planted);
        all.insert(split, planted);
    }
    let folder = world.folder.path().join("shards").join(name);
    make_planted_build(&folder, name, ["prose", "notes"], &all);
}

fn world() -> World {
    let world = World::new();
    std::fs::remove_dir_all(world.folder.path().join("shards")).unwrap();
    let same = |ids: &[u32], _: &mut Draws| ids.to_vec();
    make(&world, "clean", 1, &same);
    make(&world, "again", 2, &same);
    make(&world, "spoilt", 1, &shuffled);
    world
}

const ABLATE: [&str; 7] = [
    "ablate",
    "--config",
    "test.toml",
    "--set",
    "schedule.steps=60",
    "--set",
    "run.tensorboard=false",
];

fn report(world: &World, more: &[&str]) -> Value {
    let said = world.succeed(&[&ABLATE[..], more, &["--json"]].concat());
    serde_json::from_str(&said).unwrap()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn shuffled_words_are_found_worse_with_95_percent_confidence() {
    let world = world();
    let builds = ["--a", "clean", "--b", "spoilt"];
    let found = report(&world, &builds);
    let (judge, verdict) = (&found["judge"], &found["verdict"]);
    // Of the notes, which differ, none is judged on.
    assert_eq!(judge["in_common"], true);
    assert_eq!(judge["datasets"]["prose"], 40, "{judge}");
    assert_eq!(judge["datasets"].as_object().unwrap().len(), 1, "{judge}");
    assert_eq!(
        (&judge["of_one_alone"], &judge["trained_on"]),
        (&360.into(), &0.into())
    );
    assert_eq!(
        (verdict["better"].as_str(), verdict["unit"].as_str()),
        (Some("a"), Some("bits per byte"))
    );
    let interval: Vec<f64> = verdict["interval"]
        .as_array()
        .unwrap()
        .iter()
        .map(number)
        .collect();
    let value = number(&verdict["value"]);
    assert!(
        0.0 < interval[0] && interval[0] < value && value < interval[1],
        "{verdict}"
    );
    // What the runs say alone, and the parts of the error.
    let side = |side: &str| &found[side];
    assert!((number(&side("b")["mean"]) - number(&side("a")["mean"]) - value).abs() < 1e-9);
    let part = |name: &str| number(&verdict[name]).powi(2);
    let sum = part("seeds_error") + part("documents_error");
    assert!((sum - part("standard_error")).abs() < 1e-12 * sum.max(1.0));
    let runs = side("a")["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    let seeds: Vec<i64> = runs
        .iter()
        .map(|run| run["seed"].as_i64().unwrap())
        .collect();
    assert_eq!(seeds, [1337, 1338, 1339]);
    assert!(runs.iter().all(|run| run["step"] == 60), "{found}");

    // The other way round it is the other one; the runs are there already, and ordinary ones.
    let name = runs[0]["run"].as_str().unwrap();
    let before = bytes_of(&world.run(name));
    let turned = report(&world, &["--a", "spoilt", "--b", "clean"]);
    assert_eq!(turned["verdict"]["better"], "b");
    assert!((number(&turned["verdict"]["value"]) + value).abs() < 1e-9);
    assert!(
        bytes_of(&world.run(name)) == before,
        "nothing is trained twice"
    );
    let said = world.succeed(&[&ABLATE[..], &builds].concat());
    for word in [
        "a is better, with 95 % confidence",
        "judged on 40 documents",
        "360 in one validation split alone",
        "degrees of freedom",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    world.succeed(&["eval", name]);

    // One that was interrupted goes on, to the same answer.
    std::fs::remove_dir_all(world.run(name).join("step-00000060")).unwrap();
    std::fs::remove_dir_all(world.run(runs[2]["run"].as_str().unwrap())).unwrap();
    assert_eq!(report(&world, &builds), found);
}

#[test]
fn the_same_documents_in_another_order_are_no_difference() {
    let world = world();
    let builds = ["--a", "clean", "--b", "again"];
    let found = report(&world, &builds);
    assert_ne!(found["a"]["root"], found["b"]["root"]);
    // Both datasets are in common, each told by itself.
    assert_eq!(found["judge"]["documents"], 400, "{}", found["judge"]);
    let verdict = &found["verdict"];
    assert_eq!(
        verdict["datasets"].as_array().unwrap().len(),
        2,
        "{verdict}"
    );
    assert_eq!(verdict["better"], Value::Null, "{verdict}");
    let said = world.succeed(&[&ABLATE[..], &builds].concat());
    assert!(said.contains("no difference found"), "{said}");
}

#[test]
fn what_is_trained_on_is_not_judged_on() {
    let world = world();
    // Its validation split are 30 documents that both builds train on, one of them twice, and 25 of its own.
    let mut held_out = documents(5, Split::Train, 300);
    held_out.retain({
        let mut number = 0;
        move |_| {
            number += 1;
            // Prose alone: every tenth, from the first.
            number % 10 == 1
        }
    });
    held_out.push(held_out[3].clone());
    let own = documents(9, Split::Val, 25);
    held_out.extend(own.iter().cloned());
    held_out.push(own[0].clone());
    let planted = |documents: Vec<Vec<u32>>| {
        let planted = (0..).zip(documents);
        planted
            .map(|(row, ids)| Planted {
                row,
                dataset: 0,
                ids,
            })
            .collect()
    };
    let all = BTreeMap::from([
        (Split::Train, planted(documents(8, Split::Train, 30))),
        (Split::Val, planted(held_out)),
    ]);
    let folder = world.folder.path().join("judge");
    make_planted_build(&folder, "judge", ["elsewhere", "nothing"], &all);
    let builds = [
        "--a", "clean", "--b", "spoilt", "--judge", "judge", "--seeds", "2",
    ];
    let found = report(&world, &builds);
    let judge = &found["judge"];
    let counts = ["documents", "trained_on", "repeated", "of_one_alone"]
        .map(|key| judge[key].as_u64().unwrap());
    assert_eq!(counts, [25, 30, 2, 0], "{judge}");
    assert_eq!(judge["in_common"], false);
    assert_eq!(found["verdict"]["better"], "a", "{found}");
    // Fewer tokens are fewer documents, and never too few.
    let few = report(&world, &[&builds[..], &["--judge-tokens", "10"]].concat());
    assert_eq!(
        (&few["judge"]["documents"], &few["judge"]["beyond"]),
        (&20.into(), &5.into())
    );
}

#[test]
fn a_bad_plan_begins_nothing() {
    let world = world();
    let fail = |more: &[&str]| {
        let said = world.fail(&[&ABLATE[..], more].concat(), 2);
        assert!(!world.folder.path().join("runs").exists(), "{said}");
        said
    };
    // All at once.
    let made = |ids: Vec<Vec<u32>>| {
        let made = ids.into_iter().map(|ids| crate::support::Made {
            ids,
            masked: Vec::new(),
        });
        made.collect::<Vec<_>>()
    };
    let other = String::from_utf8(tokenizer())
        .unwrap()
        .replace("w30", "v30");
    let splits = [
        (Split::Train, made(documents(1, Split::Train, 40))),
        (Split::Val, made(documents(1, Split::Val, 40))),
    ];
    make_build_of(
        &world.folder.path().join("foreign"),
        "text",
        other.as_bytes(),
        &splits,
    );
    let said = fail(&[
        "--a",
        "clean",
        "--b",
        "foreign",
        "--seeds",
        "1",
        "--set",
        "data.sequence-tokens=0",
    ]);
    for word in [
        "--seeds must be",
        "different tokenizers",
        "clean",
        "foreign",
        "data.sequence-tokens must be",
    ] {
        assert!(said.contains(word), "{word}: {said}");
    }
    let said = fail(&["--a", "clean", "--b", "shards/clean"]);
    assert!(said.contains("the same build"), "{said}");
    let said = fail(&["--a", "clean", "--b", "nowhere"]);
    assert!(said.contains("nowhere") && said.contains("hint"), "{said}");
    // Without anything in common there is nothing to judge on but what is named.
    let apart = [
        (Split::Train, made(documents(21, Split::Train, 60))),
        (Split::Val, made(documents(22, Split::Val, 60))),
    ];
    make_build_of(
        &world.folder.path().join("apart"),
        "text",
        &tokenizer(),
        &apart,
    );
    let said = fail(&["--a", "clean", "--b", "apart"]);
    for word in ["0 documents in common", "--judge"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    // A run of that name with other values is another run.
    world.succeed(
        &[
            &ABLATE[..],
            &[
                "--a",
                "clean",
                "--b",
                "spoilt",
                "--seeds",
                "2",
                "--set",
                "schedule.steps=6",
                "--json",
            ],
        ]
        .concat(),
    );
    let said = world.fail(
        &[
            &ABLATE[..],
            &["--a", "clean", "--b", "spoilt", "--seeds", "2"],
        ]
        .concat(),
        2,
    );
    assert!(
        said.contains("schedule.steps") && said.contains("--name"),
        "{said}"
    );
}
