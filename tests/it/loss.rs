//! Which tokens carry loss, from the rows of a dialogue dataset to the shards: everything that an assistant says and the
//! end of text after it, and nothing else, wherever a shard ends.

use andromeda_format::{Build, Split};
use andromeda_pipeline::documents;
use andromeda_pipeline::tokenize::Tokenizer;
use andromeda_tests::corpus::{Random, text};
use fs_err as fs;
use serde_json::json;

use super::hostile::{own, put};
use super::{andromeda, ended, only_build};

/// The recipe's.
const SHARD_TOKENS: u64 = 4096;

#[test]
fn of_a_dialogue_only_the_answers_and_their_ends_are_trained() {
    trained_in("", " ", |said, _| {
        format!("\n\nHuman: {said}\n\nAssistant:")
    });
}

#[test]
fn so_it_is_with_other_marks() {
    trained_in("[chat]\nformat = \"llama-2\"\n", " ", |said, _| {
        format!("[INST] {said} [/INST]")
    });
    trained_in("[chat]\nformat = \"alpaca\"\n", "", |said, first| {
        let before = if first {
            "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        } else {
            ""
        };
        format!("{before}\n\n### Instruction:\n{said}\n\n### Response:\n")
    });
}

/// Builds dialogues with more in the recipe; questions are written as `asked` says, answers begin with `begins`.
fn trained_in(recipe: &str, begins: &str, asked: impl Fn(&str, bool) -> String) {
    let folder = own("");
    let file = folder.path().join("manifests/recipes/planted.toml");
    let planted = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{planted}\n{recipe}")).unwrap();
    let manifest = folder.path().join("manifests/datasets/own.toml");
    let written = fs::read_to_string(&manifest).unwrap();
    let chat = written
        .replace("[source.folder]", "kind = \"chat\"\n[source.folder]")
        .replace("text = \"text\"\n", "turns = {}\n");
    assert_ne!(written, chat);
    fs::write(&manifest, chat).unwrap();
    let mut random = Random(77);
    // Long enough that documents, prompts and answers stand across the ends of shards.
    let dialogues: Vec<Vec<String>> = (0..60)
        .map(|i| {
            (0..2 * (1 + i % 3))
                .map(|_| text(&mut random, 90))
                .collect()
        })
        .collect();
    let lines: String = dialogues
        .iter()
        .map(|turns| {
            let turns: Vec<_> = (0..)
                .zip(turns)
                .map(|(i, said)| {
                    let speaker = ["human", "gpt"][i % 2];
                    json!({ "from": speaker, "value": said })
                })
                .collect();
            format!("{}\n", json!({ "conversations": turns }))
        })
        .collect();
    put(&folder, "x.jsonl", lines);
    ended(&mut andromeda(
        folder.path(),
        "build --manifest manifests/datasets/own.toml --recipe planted",
    ))
    .with(0, &[]);

    let build = Build::open(&only_build(folder.path())).unwrap();
    let tokenizer =
        Tokenizer::load(&only_build(folder.path()).join("tokenizer.json"), None).unwrap();
    let end_of_text = build.manifest().tokenizer.end_of_text.id;
    let (found, _) = documents::find(&only_build(folder.path()), "", usize::MAX).unwrap();
    let mut shards = 0;
    let mut across = 0;
    for split in Split::ALL {
        // Ids of the split one after another, each with whether it carries loss.
        let mut ids = Vec::new();
        for number in 0..build.manifest().splits[&split].shards.len() {
            let mut shard = build.shard(split, number).unwrap();
            let mut of_shard = Vec::new();
            shard
                .read_tokens(0..shard.index().tokens, &mut of_shard)
                .unwrap();
            let masked = &shard.index().masked;
            ids.extend((0u64..).zip(of_shard).map(|(at, id)| {
                let trained = !masked.iter().any(|span| span.contains(&at));
                (id, trained)
            }));
            shards += 1;
        }
        for document in found
            .iter()
            .filter(|d| d.split.as_deref() == Some(split.name()))
        {
            let shard: u64 = document.shard.as_ref().unwrap()[split.name().len() + 1..][..5]
                .parse()
                .unwrap();
            let start = shard * SHARD_TOKENS + document.token.unwrap();
            let end = start + u64::from(document.tokens.unwrap());
            across += u64::from(start / SHARD_TOKENS != (end - 1) / SHARD_TOKENS);
            let own_ids = &ids[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
            let turns = &dialogues[usize::try_from(document.file_row).unwrap()];
            let runs: Vec<(bool, Vec<u32>)> = own_ids
                .chunk_by(|a, b| a.1 == b.1)
                .map(|run| (run[0].1, run.iter().map(|(id, _)| *id).collect()))
                .collect();
            assert_eq!(runs.len(), turns.len(), "{}", document.id);
            for (at, ((trained, run), said)) in runs.iter().zip(turns).enumerate() {
                assert_eq!(*trained, at % 2 == 1);
                if *trained {
                    let (last, answer) = run.split_last().unwrap();
                    assert_eq!(*last, end_of_text, "{}", document.id);
                    assert_eq!(tokenizer.decode(answer), format!("{begins}{said}"));
                } else {
                    assert_eq!(tokenizer.decode(run), asked(said, at == 0));
                }
            }
        }
    }
    assert!(
        shards > 6 && across > 2,
        "{shards} shards, {across} documents across"
    );
}
