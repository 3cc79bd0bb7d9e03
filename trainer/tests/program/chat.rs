//! Talking to a run.

use std::io::Write as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::World;

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
