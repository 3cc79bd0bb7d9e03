//! What tasks ask and how answers are read equal lm-evaluation-harness, which `trainer/oracle/tasks.py` ran on the same rows, and the
//! rules of chain-of-thought-hub as that program has them. Sets that may not be passed on are read
//! from the folder that `ANDROMEDA_EVALUATION_SETS` names.
#![expect(clippy::unwrap_used, reason = "what fails in a test shall panic")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use andromeda_trainer::evaluation::answers::Reading;
use andromeda_trainer::evaluation::responses::{Answer, Answers, read_answers, write_requests};
use andromeda_trainer::evaluation::score::{Passed, TaskScore, score};
use andromeda_trainer::evaluation::task::{Asked, Expected, Item, built_in, items, task};
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
    let Expected::Program { before, after } = &items[0].expected else {
        panic!("{:?}", items[0]);
    };
    assert!(
        before.starts_with("from typing import List\n\n\ndef has_close_elements("),
        "{before}"
    );
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
    assert!(
        text.contains("andromeda rows HUB/ybisk/piqa --out"),
        "{text}"
    );
    assert_eq!(error.exit_code(), 2);
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
