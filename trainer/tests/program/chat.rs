//! Talking to a run.

use std::io::Write as _;
use std::process::Stdio;

use andromeda_format::{Manifest, Split};
use serde_json::{Value, json};

use crate::support::{Made, World, make_build_of, tokenizer};

#[test]
fn a_dialogue_is_a_turn_a_line() {
    let world = World::new();
    world.succeed(&[
        "run",
        "--config",
        "test.toml",
        "--run",
        "base",
        "--set",
        "schedule.steps=10",
    ]);
    let kept = std::fs::read_to_string(world.run("base").join("dialogues.json")).unwrap();
    assert_eq!(kept, "{\"format\":\"human-assistant\",\"trained\":false}\n");
    let talk = |more: &[&str], input: &[u8], code: i32| {
        let arguments = [&["chat", "base", "--tokens", "4", "--seed", "3"][..], more].concat();
        let mut child = world
            .program(&arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        // The program may end before it has read all.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        (String::from_utf8(output.stdout).unwrap(), stderr)
    };
    let (stdout, stderr) = talk(&[], b"w3 w4\n\nw5\n/reset\nw3 w4\n/exit\nw6\n", 0);
    assert_eq!(stdout.lines().count(), 3, "{stdout}");
    assert!(
        stderr.contains("not known to be trained on dialogues"),
        "{stderr}"
    );
    assert!(stderr.contains("forgotten"), "{stderr}");
    assert_eq!(talk(&[], b"w3 w4\nw5\n/reset\nw3 w4", 0).0, stdout);

    let (json, _) = talk(&["--json", "--format", "llama-2"], b"w3 w4\nw5\n", 0);
    let answers: Vec<Value> = json
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((answers.len(), &answers[1]["question"]), (2, &"w5".into()));
    assert!(answers[0]["tokens"].as_u64().unwrap() <= 4);
    // 64 tokens of context, a turn of at most 4 and marks: many turns do not fit.
    let (json, _) = talk(&["--json"], "w3 w4\n".repeat(12).as_bytes(), 0);
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert!(
        last["dropped_turns"].as_u64() >= Some(1) && last["context_tokens"].as_u64() <= Some(64),
        "{last}"
    );

    assert!(
        talk(&[], "w3 ".repeat(90).as_bytes(), 2)
            .1
            .contains("say it shorter")
    );
    assert!(talk(&[], b"\xff\n", 2).1.contains("UTF-8"));
    talk(&["--top-p", "2"], b"", 2);
}

#[test]
fn a_run_learns_from_chatml_and_speaks_it() {
    let world = World::new();
    let folder = world.folder.path();
    std::fs::remove_dir_all(folder.join("shards")).unwrap();
    let mut own: Value = serde_json::from_slice(&tokenizer()).unwrap();
    for (id, token) in [(37, "<|im_start|>"), (38, "<|im_end|>")] {
        let vocabulary = own["model"]["vocab"].as_object_mut().unwrap();
        vocabulary.remove(&format!("w{id}"));
        vocabulary.insert(token.to_owned(), id.into());
        let mut added = own["added_tokens"][0].clone();
        added["id"] = id.into();
        added["content"] = token.into();
        own["added_tokens"].as_array_mut().unwrap().push(added);
    }
    let own = serde_json::to_vec(&own).unwrap();
    // A question of one word, whose answer is the next one: words that are not known are 39.
    let made = |count: u32| -> Vec<Made> {
        let one = |at: u32| {
            let word = at % 32 + 1;
            let ids = vec![37, 39, word, 38, 37, 39, word % 32 + 1, 38, 0];
            Made {
                ids,
                masked: std::iter::once(0..6).collect(),
            }
        };
        (0..count).map(one).collect()
    };
    let build = folder.join("shards/talk");
    let splits = [(Split::Train, made(640)), (Split::Val, made(64))];
    make_build_of(&build, "chat", &own, &splits);
    let path = build.join("manifest.json");
    let mut manifest: Manifest = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest.recipe = json!({ "chat": { "format": "chatml" } });
    std::fs::write(&path, manifest.to_bytes().unwrap()).unwrap();

    let steps = ["--set", "schedule.steps=80"];
    world.succeed(
        &[
            &["run", "--config", "test.toml", "--run", "talk"][..],
            &steps,
        ]
        .concat(),
    );
    let kept = std::fs::read_to_string(world.run("talk").join("dialogues.json")).unwrap();
    assert_eq!(kept, "{\"format\":\"chatml\",\"trained\":true}\n");
    let mut child = world
        .program(&["chat", "talk", "--json", "--temperature", "0"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"w7\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = [&answer["text"], &answer["tokens"], &answer["ended"]];
    assert_eq!(told, [&json!("w8"), &json!(1), &json!("end-of-text")]);

    world.succeed(&["export", "talk", "--to", "transformers", "--out", "out"]);
    let read = |name: &str| -> Value {
        serde_json::from_slice(&std::fs::read(folder.join("out").join(name)).unwrap()).unwrap()
    };
    assert_eq!(
        read("generation_config.json")["eos_token_id"],
        json!([0, 38])
    );
    let template = &read("tokenizer_config.json")["chat_template"];
    assert!(
        template.as_str().unwrap().contains("<|im_start|>"),
        "{template}"
    );
}
