//! What tasks ask and how answers are read equal lm-evaluation-harness, which `trainer/oracle/tasks.py` ran on the same rows, and the
//! rules of chain-of-thought-hub as that program has them. Sets that may not be passed on are read
//! from the folder that `ANDROMEDA_EVALUATION_SETS` names.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use andromeda_trainer::evaluation::answers::Reading;
use andromeda_trainer::evaluation::metrics::expected_value;
use andromeda_trainer::evaluation::responses::{Answer, Answers, read_answers, write_requests};
use andromeda_trainer::evaluation::score::{Passed, TaskScore, score};
use andromeda_trainer::evaluation::task::{
    Asked, Expected, Item, Task, built_in, file, find, items, names, task,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Oracle {
    requests: BTreeMap<String, Vec<Case>>,
    readings: Vec<Read>,
}

#[derive(Deserialize)]
struct Case {
    #[serde(default)]
    part: String,
    requests: Vec<String>,
    label: Option<usize>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    answers: Vec<String>,
    stop: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Read {
    reading: Reading,
    completion: String,
    target: String,
    answer: Option<String>,
    right: bool,
}

fn oracle() -> Oracle {
    serde_json::from_str(include_str!("../oracle/tasks.json")).unwrap()
}

fn sets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/evaluation-sets")
}

fn of(name: &str) -> Vec<Item> {
    items_in(name, &sets())
}

fn items_in(name: &str, sets: &Path) -> Vec<Item> {
    items(&built_in(name).unwrap().unwrap(), sets, None).unwrap()
}

fn digest(asked: &Asked) -> String {
    let (context, continuation) = match asked {
        Asked::LogLikelihood {
            context,
            continuation,
        } => (context, continuation.as_str()),
        Asked::Generate { context, .. } => (context, ""),
    };
    let digest = Sha256::digest(format!("{context}\0{continuation}"));
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Compares items with the harness's, part by part as far as both have rows; how many there were.
fn compare(name: &str, sets: &Path, cases: &[Case]) -> usize {
    let mut compared = 0;
    let mut theirs: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for case in cases {
        theirs.entry(&case.part).or_default().push(case);
    }
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for item in items_in(name, sets) {
        let place = at.entry(item.part.clone()).or_default();
        let Some(case) = theirs
            .get(item.part.as_str())
            .and_then(|cases| cases.get(*place))
        else {
            continue;
        };
        *place += 1;
        let ours: Vec<String> = item.asked.iter().map(digest).collect();
        assert_eq!(
            ours, case.requests,
            "{name} {} {place}: {:?}",
            item.part, item.asked[0]
        );
        match &item.expected {
            Expected::Choice { label, .. } => {
                assert_eq!(Some(*label), case.label, "{name} {} {place}", item.part);
            }
            Expected::Names { names, answers } => assert_eq!(
                (names, answers),
                (&case.names, &case.answers),
                "{name} {place}"
            ),
            _ => {}
        }
        if let (Asked::Generate { stop, .. }, Some(theirs)) = (&item.asked[0], &case.stop) {
            assert_eq!(stop, theirs, "{name}");
        }
        compared += 1;
    }
    compared
}

#[test]
fn prompts_are_those_of_the_harness() {
    let oracle = oracle();
    for name in ["hellaswag", "mmlu", "gsm8k-cot", "math", "bbh"] {
        let compared = compare(name, &sets(), &oracle.requests[name]);
        assert!(compared >= 20, "{name}: only {compared} rows compared");
    }
}

/// Of the sets that may not be passed on, where they are: a folder that `andromeda rows` made of a hub's files, beside the others.
#[test]
fn prompts_of_all_tasks_are_those_of_the_harness() {
    let Some(sets) = std::env::var_os("ANDROMEDA_EVALUATION_SETS").map(PathBuf::from) else {
        let _ = writeln!(
            std::io::stderr(),
            "skipped: ANDROMEDA_EVALUATION_SETS names no folder"
        );
        return;
    };
    let oracle = oracle();
    assert_eq!(oracle.requests.len(), 26);
    for (name, cases) in &oracle.requests {
        let compared = compare(name, &sets, cases);
        assert_eq!(compared, cases.len(), "{name}");
        // Of MNLI there are two rows where these cases were made.
        assert!(
            compared >= 20 || name.starts_with("mnli"),
            "{name}: {compared}"
        );
    }
}

#[test]
fn answers_are_read_as_by_the_harness_and_the_hub() {
    let cases = oracle().readings;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for case in &cases {
        let (reading, completion) = (case.reading, &case.completion);
        let name = reading.name();
        assert_eq!(
            reading.answer(completion, &case.target),
            case.answer,
            "{name}: {completion:?}"
        );
        assert_eq!(
            reading.right(completion, &case.target),
            case.right,
            "{name}: {completion:?} for {:?}",
            case.target
        );
        *seen.entry(name).or_default() += 1;
    }
    assert_eq!(seen.len(), 10, "{seen:?}");
    for name in [
        "gsm8k-strict",
        "gsm8k-flexible",
        "gsm8k-hub",
        "math-harness",
        "bbh-harness",
        "bbh-hub",
        "math-hub",
    ] {
        assert!(seen[name] >= 20, "{seen:?}");
    }
}

/// The prompt of the five shots is made here from the rows by the words of the harness's template; its own five are drawn at random.
#[test]
fn gsm8k_has_the_first_five_rows_before_the_question() {
    let rows = std::fs::read_to_string(sets().join("gsm8k/train.jsonl")).unwrap();
    let mut prompt = String::new();
    for line in rows.lines().take(5) {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let (question, answer) = (
            row["question"].as_str().unwrap(),
            row["answer"].as_str().unwrap(),
        );
        prompt += &format!("Question: {question}\nAnswer: {answer}\n\n");
    }
    let items = of("gsm8k");
    assert_eq!(items.len(), 24);
    let Asked::Generate { context, .. } = &items[0].asked[0] else {
        panic!("{:?}", items[0]);
    };
    assert!(
        context.starts_with(&format!("{prompt}Question: Janet")),
        "{context}"
    );
    assert!(context.ends_with("\nAnswer:"), "{context}");
}

#[test]
fn the_hubs_prompts_are_as_it_describes_them() {
    let mmlu = of("mmlu-hub");
    assert_eq!(mmlu.len(), 36);
    let Asked::Generate {
        context, tokens, ..
    } = &mmlu[0].asked[0]
    else {
        panic!("{:?}", mmlu[0]);
    };
    assert_eq!(*tokens, 1);
    assert!(
        context.starts_with("The following are multiple choice questions (with answers) about  abstract algebra.\n\nFind all c in Z_3"),
        "{context}"
    );
    assert_eq!(context.matches("\nAnswer: ").count(), 5);
    assert!(context.ends_with("\nAnswer:"), "{context}");
    let bbh = of("bbh-hub");
    let prompt =
        std::fs::read_to_string(sets().join("bbh/cot-prompts/boolean_expressions.txt")).unwrap();
    let Asked::Generate { context, .. } = &bbh[0].asked[0] else {
        panic!("{:?}", bbh[0]);
    };
    let rest = context.strip_prefix(&prompt).unwrap();
    assert!(
        rest.starts_with("\n\nQ: ") && rest.ends_with("\nA: Let's think step by step."),
        "{rest}"
    );
}

#[test]
fn humaneval_is_its_prompts_and_tests() {
    let items = of("humaneval");
    assert_eq!(items.len(), 164);
    let Expected::Program {
        before,
        after,
        entry,
    } = &items[0].expected
    else {
        panic!("{:?}", items[0]);
    };
    assert!(
        before.starts_with("from typing import List\n\n\ndef has_close_elements("),
        "{before}"
    );
    assert_eq!(entry, "has_close_elements");
    assert!(
        after.starts_with("\n\n\nMETADATA") && after.ends_with("\ncheck(has_close_elements)"),
        "{after}"
    );
}

/// A likelihood for each choice, such that item i takes choice i modulo their number.
fn likelihoods(items: &[Item]) -> Answers {
    let of = |item: &Item, choice: usize| Answer::LogLikelihood {
        nats: if choice == item.index % item.asked.len() {
            -1.0
        } else {
            -2.0 - choice as f64
        },
        greedy: choice == 0,
    };
    items
        .iter()
        .map(|item| {
            (0..item.asked.len())
                .map(|choice| of(item, choice))
                .collect()
        })
        .collect()
}

fn value(score: &TaskScore, metric: &str) -> f64 {
    score
        .metrics
        .iter()
        .find(|of| of.metric == metric)
        .unwrap()
        .value
        .unwrap()
}

#[test]
fn scores_are_of_the_right_choices_in_all_and_by_part() {
    let (task, items) = (built_in("mmlu").unwrap().unwrap(), of("mmlu"));
    let scored = score(&task, &items, &likelihoods(&items), &Passed::new());
    let right = |part: &str| {
        let of_part = items
            .iter()
            .filter(|item| part.is_empty() || item.part == part);
        of_part
            .filter(|item| matches!(item.expected, Expected::Choice { label, .. } if label == item.index % 4))
            .count() as f64
    };
    assert!((value(&scored, "acc") - right("") / 36.0).abs() < 1e-12);
    assert_eq!(scored.metrics[0].chance, Some(0.25));
    assert_eq!(scored.parts.len(), 3);
    for (part, metrics) in &scored.parts {
        assert!(
            (metrics[0].value.unwrap() - right(part) / 12.0).abs() < 1e-12,
            "{part}"
        );
    }
}

#[test]
fn answers_of_any_model_are_scored_from_a_table() {
    let folder = tempfile::tempdir().unwrap();
    let (task, items) = (built_in("gsm8k-cot").unwrap().unwrap(), of("gsm8k-cot"));
    let mut requests = Vec::new();
    write_requests(&task, &items, &mut requests).unwrap();
    let requests = String::from_utf8(requests).unwrap();
    assert_eq!(requests.lines().count(), 24);
    // A model that is right on the first 10, in words, then goes on with the next question; of one item there is no answer.
    let rows = std::fs::read_to_string(sets().join("gsm8k/test.jsonl")).unwrap();
    let mut table = String::new();
    for (number, (row, line)) in rows.lines().zip(requests.lines()).enumerate() {
        let row: serde_json::Value = serde_json::from_str(row).unwrap();
        let mut line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["context"]
                .as_str()
                .unwrap()
                .ends_with(&format!("Q: {}\nA:", row["question"].as_str().unwrap()))
        );
        let answer = row["answer"]
            .as_str()
            .unwrap()
            .rsplit_once("#### ")
            .unwrap()
            .1
            .to_owned();
        let said = if number < 10 { answer } else { "-1".to_owned() };
        line["completion"] =
            format!(" So. The answer is {said}.\n\nQ: What is 1? The answer is 1.").into();
        if number == 23 {
            line = serde_json::json!({"item": 23, "skipped": "too long"});
        }
        table += &format!("{line}\n");
    }
    let path = folder.path().join("responses.jsonl");
    std::fs::write(&path, &table).unwrap();
    let answers = read_answers(&task, &items, &path).unwrap();
    let scored = score(&task, &items, &answers, &Passed::new());
    assert_eq!((scored.items, scored.skipped["too long"]), (23, 1));
    assert!((value(&scored, "exact-match (gsm8k-cot-strict)") - 10.0 / 23.0).abs() < 1e-12);
    assert!((value(&scored, "exact-match (gsm8k-flexible)") - 10.0 / 23.0).abs() < 1e-12);

    for (from, to, problem) in [
        (
            "\"item\":3,",
            "\"item\":99,",
            "gsm8k-cot has no request 0 of item 99",
        ),
        (
            "\"completion\"",
            "\"compledion\"",
            "line 1: it must have completion",
        ),
        ("\"item\":", "\"itam\":", "line 1: it is no answer"),
    ] {
        std::fs::write(&path, table.replacen(from, to, 1)).unwrap();
        let error = read_answers(&task, &items, &path).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
    let all_but_one: String = table
        .lines()
        .skip(1)
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&path, all_but_one).unwrap();
    let error = read_answers(&task, &items, &path).unwrap_err().to_string();
    assert!(
        error.contains("no answer to request 0 of item 0"),
        "{error}"
    );
}

#[test]
fn unknown_tasks_and_missing_sets_are_said_clearly() {
    let error = task("hellswag").unwrap_err().to_string();
    assert!(error.contains("did you mean hellaswag?"), "{error}");
    let piqa = task("piqa").unwrap();
    let error = items(&piqa, &sets(), None).unwrap_err();
    let text = error.to_string();
    let shown = sets().display().to_string();
    assert!(
        text.contains(&format!("its rows are not in {shown}; looked for"))
            && text.contains(&format!("`andromeda rows --of piqa --out {shown}`")),
        "{text}"
    );
    assert_eq!(error.exit_code(), 2);
    let stsb = items(&task("stsb").unwrap(), &sets(), None).unwrap_err();
    assert!(stsb.to_string().contains("rows --of glue --out"), "{stsb}");
    let nowhere = items(&piqa, Path::new("nowhere"), None)
        .unwrap_err()
        .to_string();
    assert!(
        nowhere.contains("not in nowhere, which is no folder"),
        "{nowhere}"
    );
    // Questions without the solved ones that stand before them.
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("openai/gsm8k/main");
    std::fs::create_dir_all(&main).unwrap();
    std::fs::write(
        main.join("test-0.jsonl"),
        "{\"question\": \"x\", \"answer\": \"#### 1\"}\n",
    )
    .unwrap();
    let error = items(&task("gsm8k").unwrap(), folder.path(), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("the rows of its shots are not in") && error.contains("rows --of gsm8k"),
        "{error}"
    );
    let error = items(&task("gsm8k-hub").unwrap(), &sets(), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("chain-of-thought-hub/gsm8k/lib_prompt/prompt_hardest.txt"),
        "{error}"
    );

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ybisk/piqa/plain_text");
    std::fs::create_dir_all(&path).unwrap();
    for (row, problem) in [
        (
            r#"{"goal": "x", "sol1": "a", "sol2": "b", "label": -1}"#,
            "row 1: its label is not published",
        ),
        (
            r#"{"goal": "x", "sol1": "a", "sol2": "b", "label": 2}"#,
            "row 1: its label is 2, of 2 choices",
        ),
        (
            r#"{"goal": "x", "sol1": "a", "label": 0}"#,
            "row 1: the row has no field \"sol2\"",
        ),
        ("[]", "line 1 is no row"),
        ("", "it has no rows"),
    ] {
        std::fs::write(path.join("validation-0.jsonl"), row).unwrap();
        let error = items(&piqa, folder.path(), None).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
    }
}

/// Where `andromeda rows --of` writes the rows of the sets of the catalogue: as the repositories name their files, and as the hub's own
/// conversion does (`tests/it/sets.rs` has the same of those that the samples have).
const WRITTEN: [(&str, &str, &str); 34] = [
    ("arc-challenge", "allenai/ai2_arc/ARC-Challenge/test", ""),
    ("arc-easy", "allenai/ai2_arc/ARC-Easy/test", ""),
    ("bbh", "lukaemon/bbh/snarks/test", ""),
    ("bbh-hub", "lukaemon/bbh/snarks/test", ""),
    ("boolq", "aps/super_glue/boolq/validation", ""),
    ("cb", "aps/super_glue/cb/validation", ""),
    ("cola", "nyu-mll/glue/cola/validation", ""),
    ("copa", "aps/super_glue/copa/validation", ""),
    ("gsm8k", "openai/gsm8k/main/test", "openai/gsm8k/main/train"),
    ("gsm8k-cot", "openai/gsm8k/main/test", ""),
    ("gsm8k-hub", "openai/gsm8k/main/test", ""),
    ("hellaswag", "Rowan/hellaswag/data/validation", ""),
    (
        "humaneval",
        "openai/openai_humaneval/openai_humaneval/test",
        "",
    ),
    ("lambada", "EleutherAI/lambada_openai/default/test", ""),
    ("math", "EleutherAI/hendrycks_math/algebra/test", ""),
    ("math-hub", "EleutherAI/hendrycks_math/algebra/test", ""),
    ("mmlu", "cais/mmlu/anatomy/test", "cais/mmlu/anatomy/dev"),
    ("mmlu-cot-hub", "cais/mmlu/anatomy/test", ""),
    (
        "mmlu-hub",
        "cais/mmlu/anatomy/test",
        "cais/mmlu/anatomy/dev",
    ),
    ("mnli", "nyu-mll/glue/mnli/validation_matched", ""),
    (
        "mnli-mismatch",
        "nyu-mll/glue/mnli/validation_mismatched",
        "",
    ),
    ("mrpc", "nyu-mll/glue/mrpc/validation", ""),
    ("multirc", "aps/super_glue/multirc/validation", ""),
    ("piqa", "ybisk/piqa/plain_text/validation", ""),
    ("qnli", "nyu-mll/glue/qnli/validation", ""),
    ("qqp", "nyu-mll/glue/qqp/validation", ""),
    ("record", "aps/super_glue/record/validation", ""),
    ("rte", "nyu-mll/glue/rte/validation", ""),
    ("sglue-rte", "aps/super_glue/rte/validation", ""),
    ("sst2", "nyu-mll/glue/sst2/validation", ""),
    ("stsb", "nyu-mll/glue/stsb/validation", ""),
    ("wic", "aps/super_glue/wic/validation", ""),
    ("wnli", "nyu-mll/glue/wnli/validation", ""),
    ("wsc", "aps/super_glue/wsc/validation", ""),
];

#[test]
fn rows_are_found_where_the_pipeline_writes_them() {
    assert!(WRITTEN.iter().map(|(name, ..)| *name).eq(names()));
    for converted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = |split: &str| match converted {
            false => format!("{split}-00000-of-00001.jsonl"),
            true => format!(
                "{}/0000.jsonl",
                split.replace("hellaswag/data", "hellaswag/default")
            ),
        };
        for split in WRITTEN.iter().flat_map(|(_, rows, shots)| [rows, shots]) {
            let file = folder.path().join(path(split));
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        for (name, rows, shots) in WRITTEN {
            let task = built_in(name).unwrap().unwrap();
            let found = |patterns: &[String]| -> Vec<PathBuf> {
                let found = find(folder.path(), patterns).unwrap();
                let named = patterns.iter().any(|pattern| pattern.contains("{part}"));
                assert!(
                    found.iter().all(|found| found.part.is_empty() != named),
                    "{name}: {found:?}"
                );
                found.into_iter().map(|found| found.path).collect()
            };
            assert_eq!(
                found(&task.files),
                [folder.path().join(path(rows))],
                "{name}"
            );
            let of_shots = task.shots.map(|shots| shots.files).unwrap_or_default();
            if !of_shots.is_empty() {
                assert_eq!(
                    found(&of_shots),
                    [folder.path().join(path(shots))],
                    "{name}"
                );
            }
            assert_eq!(of_shots.is_empty(), shots.is_empty(), "{name}");
        }
    }
    // The names that other repositories have.
    let folder = tempfile::tempdir().unwrap();
    for (name, path) in [
        (
            "lambada",
            "EleutherAI/lambada_openai/data/lambada_test_en.jsonl",
        ),
        (
            "wsc",
            "aps/super_glue/wsc.fixed/validation-00000-of-00001.jsonl",
        ),
    ] {
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "").unwrap();
        let task = built_in(name).unwrap().unwrap();
        let found = find(folder.path(), &task.files).unwrap();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].path, file, "{name}");
    }
}

/// The repository's root.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_set_that_a_task_wants_is_in_the_catalogue_and_made_by_the_makefile() {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for name in names() {
        let benchmark = built_in(name).unwrap().unwrap().benchmark;
        let (set, config) = benchmark.split_once('/').unwrap_or((&benchmark, ""));
        let manifest = root().join(format!("manifests/datasets/{set}.toml"));
        let manifest = std::fs::read_to_string(manifest).unwrap();
        let has = |name: &str| {
            manifest
                .lines()
                .any(|line| line == format!("name = \"{name}\""))
        };
        assert!(
            has(set) && (config.is_empty() || has(config)),
            "{benchmark}"
        );
        wanted.insert(set.to_owned());
    }
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let sets = makefile
        .lines()
        .find_map(|line| line.strip_prefix("SETS ?= "))
        .unwrap();
    assert_eq!(
        sets.split(',').map(str::to_owned).collect::<BTreeSet<_>>(),
        wanted
    );
}

#[derive(Deserialize)]
struct ScaleOracle {
    numbers: Vec<String>,
    cases: Vec<ScaleCase>,
}

#[derive(Deserialize)]
struct ScaleCase {
    labels: Vec<f64>,
    nats: Vec<Vec<f64>>,
    expected: Vec<f64>,
    pearson: f64,
    spearman: f64,
}

fn stsb_rows(labels: &[f64]) -> String {
    let row = |label: &f64| serde_json::json!({"sentence1": "A dog ran.", "sentence2": "A cat sat.", "label": label, "idx": 7});
    labels
        .iter()
        .map(|label| format!("{}\n", row(label)))
        .collect()
}

/// Items of the task stsb with these labels.
fn stsb(labels: &[f64]) -> Vec<Item> {
    let folder = tempfile::tempdir().unwrap();
    let of = folder.path().join("nyu-mll/glue/stsb");
    std::fs::create_dir_all(&of).unwrap();
    std::fs::write(of.join("validation-0.jsonl"), stsb_rows(labels)).unwrap();
    items_in("stsb", folder.path())
}

#[test]
fn stsb_correlates_the_mean_of_its_numbers_with_the_labels_as_scipy_does() {
    let oracle: ScaleOracle = serde_json::from_str(include_str!("../oracle/scale.json")).unwrap();
    let task = built_in("stsb").unwrap().unwrap();
    assert_eq!(task.scale.as_ref().unwrap().numbers, oracle.numbers);
    let values = task.scale.as_ref().unwrap().values().unwrap();
    for case in &oracle.cases {
        for (nats, expected) in case.nats.iter().zip(&case.expected) {
            let ours = expected_value(nats, &values).unwrap();
            assert!((ours - expected).abs() < 1e-12, "{ours} {expected}");
        }
        let items = stsb(&case.labels);
        let answer = |&nats: &f64| Answer::LogLikelihood {
            nats,
            greedy: false,
        };
        let answers: Answers = case
            .nats
            .iter()
            .map(|nats| nats.iter().map(answer).collect())
            .collect();
        let scored = score(&task, &items, &answers, &Passed::new());
        assert_eq!(scored.items, case.labels.len());
        for (metric, expected) in [("pearson", case.pearson), ("spearman", case.spearman)] {
            let ours = value(&scored, metric);
            assert!(
                (ours - expected).abs() < 1e-12,
                "{metric}: {ours} {expected}"
            );
        }
        let error = scored.metrics[0].standard_error;
        if case.labels.len() > 2 {
            // That of the normal distribution, (1 - r^2) / sqrt(n - 1), which the rows are not drawn from.
            let rough = (1.0 - case.pearson.powi(2)) / (case.labels.len() as f64 - 1.0).sqrt();
            let ratio = error.unwrap() / rough;
            assert!((0.3..3.0).contains(&ratio), "{error:?} {rough}");
        }
        assert_eq!(scored.metrics[0].chance, Some(0.0));
    }
    // An item without an answer is counted apart; of a model that says always the same there is no correlation.
    let items = stsb(&[1.0, 2.0, 5.0]);
    let same = Answer::LogLikelihood {
        nats: -1.0,
        greedy: false,
    };
    let mut answers: Answers = vec![vec![same; 51]; 3];
    answers[2][50] = Answer::Skipped("too long".to_owned());
    let scored = score(&task, &items, &answers, &Passed::new());
    assert_eq!((scored.items, scored.skipped["too long"]), (2, 1));
    assert_eq!(
        (scored.metrics[0].items, scored.metrics[0].value),
        (2, None)
    );
}

#[test]
fn stsb_asks_as_the_catalogue_writes_its_training_rows() {
    let manifest: toml::Table = toml::from_str(
        &std::fs::read_to_string(root().join("manifests/datasets/glue.toml")).unwrap(),
    )
    .unwrap();
    let configs = manifest["config"].as_array().unwrap();
    let stsb_config = configs
        .iter()
        .find(|config| config["name"].as_str() == Some("stsb"))
        .unwrap();
    let template = stsb_config["render"]["template"].as_str().unwrap();
    let prompt = template.strip_suffix(" {label:round-1}").unwrap();
    let task = built_in("stsb").unwrap().unwrap();
    assert_eq!(task.prompt.written(), prompt);
    let items = stsb(&[3.799_999_952_316_284]);
    let expected = "Sentence 1: A dog ran.\nSentence 2: A cat sat.\nQuestion: How much do both sentences mean the same thing, from 0.0 to 5.0?\nAnswer:";
    assert_eq!(items[0].asked.len(), 51);
    for (at, continuation) in [(0, " 0.0"), (38, " 3.8"), (50, " 5.0")] {
        let asked = Asked::LogLikelihood {
            context: expected.to_owned(),
            continuation: continuation.to_owned(),
        };
        assert_eq!(items[0].asked[at], asked);
    }
    assert!(
        matches!(&items[0].expected, Expected::Number { label, values } if *label == 3.799_999_952_316_284 && values.len() == 51)
    );
    let folder = tempfile::tempdir().unwrap();
    let of = folder.path().join("nyu-mll/glue/stsb");
    std::fs::create_dir_all(&of).unwrap();
    for (label, problem) in [
        ("-1", "row 1: its label is not published"),
        (
            "5.5",
            "row 1: its label is 5.5, and the scale is from 0 to 5",
        ),
        ("\"much\"", "row 1: its label is \"much\", not a number"),
    ] {
        let row = format!("{{\"sentence1\": \"a\", \"sentence2\": \"b\", \"label\": {label}}}\n");
        std::fs::write(of.join("validation-0.jsonl"), row).unwrap();
        let error = andromeda_trainer::evaluation::task::items(&task, folder.path(), None)
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
    }
    let written = file("stsb").unwrap();
    for (from, to, problem) in [
        (
            "\"0.0\", \"0.1\"",
            "\"0.0\", \"little\"",
            "something that is no number",
        ),
        (
            "\"pearson\"",
            "\"acc\"",
            "pearson and spearman are for a scale",
        ),
        (
            "[scale]\n",
            "[completion]\ntarget = \"x\"\n[scale]\n",
            "one of choices, scale, completion and generate",
        ),
    ] {
        let changed = written.replacen(from, to, 1);
        assert_ne!(changed, written, "{from}");
        let error = Task::parse(&changed, Path::new("own.toml"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(problem), "{error}");
    }
}
