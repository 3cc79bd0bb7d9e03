//! Helpers of the forms' tests, and the forms on real samples.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::read::{self, ReadOptions};

pub(super) fn rendered(table: &str, row: &Value) -> Result<Rendered, RenderFault> {
    let render = Render::new(&toml::from_str(table).unwrap()).unwrap();
    render.render(row.as_object().unwrap().clone())
}

pub(super) fn reason(table: &str, row: &Value) -> &'static str {
    rendered(table, row).unwrap_err().reason()
}

/// The turns of a dialogue; panics when it is something else.
pub(super) fn chat(table: &str, row: &Value) -> Vec<(&'static str, &'static str)> {
    let Content::Chat(turns) = rendered(table, row).unwrap().content else {
        panic!("no chat")
    };
    let show = |turn: Turn| {
        let role = match turn.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Prompt => "prompt",
        };
        (role, &*turn.text.leak())
    };
    turns.into_iter().map(show).collect()
}

#[test]
fn the_text_and_its_meta_are_kept() {
    let row = serde_json::json!({"content": "x", "url": "u", "other": 1});
    let rendered = rendered("text = \"content\"\nmeta = [\"url\", \"absent\"]", &row).unwrap();
    assert_eq!(rendered.content, Content::Text("x".to_owned()));
    assert_eq!(
        Value::Object(rendered.meta),
        serde_json::json!({"url": "u"})
    );
}

#[test]
fn a_text_that_is_none_is_a_fault() {
    for (value, expected) in [
        (Value::Null, "missing-field"),
        (1.into(), "wrong-type"),
        (" \n".into(), "empty"),
        ("".into(), "empty"),
    ] {
        assert_eq!(
            reason("text = \"content\"", &serde_json::json!({"content": value})),
            expected
        );
    }
    assert_eq!(
        reason(
            "template = \"{content}\"",
            &serde_json::json!({"content": ""})
        ),
        "empty"
    );
}

#[test]
fn printed_bytes_are_undone_in_texts_and_templates() {
    let row = serde_json::json!({"question": "b'What is 1 + 1?\\n'", "answer": "b'2\\n'"});
    let text = |table: &str| {
        rendered(table, &row)
            .unwrap()
            .content
            .to_text()
            .into_owned()
    };
    assert_eq!(
        text("template = \"{question}\\n{answer}\"\npython-bytes = true"),
        "What is 1 + 1?\n2"
    );
    assert_eq!(text("text = \"answer\"\npython-bytes = true"), "2");
}

/// A file of the samples, a table for it, the documents it makes, and rows with a fault by reason.
type Real = (
    &'static str,
    &'static str,
    usize,
    &'static [(&'static str, usize)],
);

/// Counts of rows with a fault agree with a script over the files: equal and empty answers of hh-rlhf, PRM800K's marks.
const REAL: &[Real] = &[
    (
        "allenai/c4/en/c4-train.00000-of-01024.json.gz",
        "text = \"text\"\nmeta = [\"url\"]",
        1000,
        &[],
    ),
    (
        "tiiuae/falcon-refinedweb/data/train-00000-of-05534-b8fc5348cbe605a5.parquet",
        "text = \"content\"\nmeta = [\"timestamp\", \"image_urls\"]",
        400,
        &[],
    ),
    (
        "togethercomputer/RedPajama-Data-1T/common_crawl/2019-30/en_head_0000.json.gz.dedup.classifier.jsonl.zst",
        "text = \"text\"",
        20,
        &[],
    ),
    (
        "bigcode/ta-prompt/TA_prompt_v1.txt",
        "text = \"text\"",
        1,
        &[],
    ),
    (
        "openai/openai_humaneval/openai_humaneval/test-00000-of-00001.parquet",
        "template = \"{prompt}{canonical_solution}\"",
        164,
        &[],
    ),
    (
        "ybisk/piqa/plain_text/validation-00000-of-00001.parquet",
        "template = \"{goal}\\n{label?{sol1}|{sol2}}\"",
        1838,
        &[],
    ),
    (
        "deepmind/math_dataset/algebra__linear_1d/train-00000-of-00001.parquet",
        "template = \"{question}\\n{answer}\"\npython-bytes = true",
        450,
        &[],
    ),
    (
        "aps/super_glue/copa/validation-00000-of-00001.parquet",
        "template = \"{premise} {question} {label?{choice1}|{choice2}}\"\nchoices = { question = { cause = \"because\", effect = \"therefore\" } }",
        100,
        &[],
    ),
    (
        "aps/super_glue/copa/test-00000-of-00001.parquet",
        "template = \"{label?a|b}\"",
        0,
        &[("unlabelled", 1)],
    ),
    (
        "tatsu-lab/alpaca/data/train-00000-of-00001-a09b74b3ef9c3b56.parquet",
        "instruction = {}",
        2999,
        &[("empty", 1)],
    ),
    (
        "yahma/alpaca-cleaned/alpaca_data_cleaned.json",
        "instruction = {}",
        999,
        &[],
    ),
    (
        "databricks/databricks-dolly-15k/databricks-dolly-15k.jsonl",
        "instruction = { input = \"context\", response = \"response\" }",
        12,
        &[],
    ),
    (
        "Anthropic/hh-rlhf/harmless-base/test.jsonl.gz",
        "preference = {}",
        2303,
        &[("empty", 4), ("pair-of-different-prompts", 5)],
    ),
    (
        "Anthropic/hh-rlhf/harmless-base/test.jsonl.gz",
        "transcript = { field = \"chosen\" }",
        2309,
        &[("bad-turns", 3)],
    ),
    (
        "timdettmers/openassistant-guanaco/openassistant_best_replies_train.jsonl",
        "transcript = { user = \"### Human:\", assistant = \"### Assistant:\" }",
        90,
        &[],
    ),
    (
        "anon8231489123/ShareGPT_Vicuna_unfiltered/ShareGPT_V3_unfiltered_cleaned_split.json",
        "turns = {}",
        450,
        &[],
    ),
    (
        "ehartford/wizard_vicuna_70k_unfiltered/wizard_vicuna_dataset_unfiltered.json",
        "turns = {}",
        100,
        &[],
    ),
    (
        "OpenAssistant/oasst1/2023-04-12_oasst_ready.trees.jsonl.gz",
        "tree = {}",
        100,
        &[],
    ),
    (
        "openai/prm800k/prm800k/data/phase2_test.jsonl",
        "process = {}",
        113,
        &[("marked-unusable", 8)],
    ),
];

fn samples() -> Option<PathBuf> {
    let root = std::env::var_os("ANDROMEDA_TEST_DATA").map(PathBuf::from);
    let root = root
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"))
        .join("hub");
    if root.is_dir() {
        return Some(root);
    }
    println!(
        "skipped: no samples at {}; set ANDROMEDA_TEST_DATA",
        root.display()
    );
    None
}

#[test]
fn published_datasets_render() {
    let Some(root) = samples() else { return };
    for (file, table, documents, faults) in REAL {
        let render = Render::new(&toml::from_str(table).unwrap()).unwrap();
        let options = ReadOptions {
            fields: Some(render.fields()),
            ..ReadOptions::default()
        };
        let mut source = read::open(&root.join(file), &options).unwrap();
        let (mut made, mut found) = (0, BTreeMap::new());
        while let Some(block) = source.next_block().unwrap() {
            let each = &mut |_, row: Result<Row, _>| match render.render(row.unwrap()) {
                Ok(rendered) => {
                    let segments = rendered.content.segments();
                    assert!(
                        segments.iter().any(|segment| segment.trained)
                            || matches!(rendered.content, Content::Process { .. })
                    );
                    made += 1;
                }
                Err(fault) => *found.entry(fault.reason()).or_insert(0) += 1,
            };
            block.decode(each).unwrap();
        }
        assert_eq!(
            (made, found),
            (*documents, faults.iter().copied().collect()),
            "{file}"
        );
    }
}

/// The publisher's own `text` column is what the template must give.
#[test]
fn alpaca_renders_as_its_publisher_renders_it() {
    let Some(root) = samples() else { return };
    let file = root.join("tatsu-lab/alpaca/data/train-00000-of-00001-a09b74b3ef9c3b56.parquet");
    let render = Render::new(&toml::from_str("instruction = {}").unwrap()).unwrap();
    let mut source = read::open(&file, &ReadOptions::default()).unwrap();
    let mut compared = 0;
    while let Some(block) = source.next_block().unwrap() {
        let each = &mut |_, row: Result<Row, _>| {
            let row: Row = row.unwrap();
            let text = row["text"].clone();
            if let Ok(rendered) = render.render(row) {
                assert_eq!(rendered.content.to_text(), text.as_str().unwrap());
                compared += 1;
            }
        };
        block.decode(each).unwrap();
    }
    assert_eq!(compared, 2999);
}
