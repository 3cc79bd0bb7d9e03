//! What is exported is what other programs compute with: `transformers` loads the folders and gives our logits and our tokens, what it
//! saves comes back as it was, and `llama.cpp`'s own package reads the same numbers from its files.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use andromeda_format::ChatFormat;
use andromeda_trainer::checkpoint::{self, State};
use andromeda_trainer::config::WrittenConfig;
use andromeda_trainer::model::{Model, Sequences};
use andromeda_trainer::ops::Fused;
use andromeda_trainer::optimizer::Optimizer;
use andromeda_trainer::parallel::Team;
use andromeda_trainer::run::Run;
use andromeda_trainer::sample::{SampleOptions, generate};
use serde_json::{Value, json};

use crate::support::{VOCABULARY, World, bytes_of, tokens};

/// A model of each architecture, by what is laid over the configuration: what attention has beside the width is another number,
/// and keys are shared by some of the queries.
const MODELS: [(&str, &str, &[&str]); 4] = [
    (
        "palm",
        "CohereForCausalLM",
        &["model.heads=3", "model.head-size=16"],
    ),
    (
        "grouped",
        "CohereForCausalLM",
        &[
            "model.heads=4",
            "model.head-size=8",
            "model.key-heads=2",
            "model.feed-forward=96",
        ],
    ),
    (
        "mpt",
        "MptForCausalLM",
        &["model.family=mpt", "model.heads=4", "model.head-size=16"],
    ),
    (
        "llama",
        "LlamaForCausalLM",
        &[
            "model.block=sequential",
            "model.norm=rms",
            "model.heads=4",
            "model.head-size=8",
        ],
    ),
];

/// The interpreter that `ANDROMEDA_PYTHON` names, or the machine's; nothing where it cannot import `modules`, which is said past
/// the test runner's capture. These packages weigh gigabytes, so no machine must have them: `ANDROMEDA_TESTS_SKIP` is not asked.
fn interpreter(modules: &str) -> Option<PathBuf> {
    let python = std::env::var_os("ANDROMEDA_PYTHON").unwrap_or_else(|| "python3".into());
    let import = Command::new(&python)
        .args(["-c", &format!("import {modules}")])
        .output();
    if import.is_ok_and(|output| output.status.success()) {
        return Some(python.into());
    }
    let said = format!(
        "skipped: {modules} cannot be imported; ANDROMEDA_PYTHON names an interpreter that has them\n"
    );
    let _ = std::io::stderr().write_all(said.as_bytes());
    None
}

fn train(world: &World, name: &str, set: &[&str]) {
    let mut arguments = vec!["run", "--config", "test.toml", "--run", name];
    arguments.extend(set.iter().flat_map(|set| ["--set", set]));
    world.succeed(&arguments);
}

fn export(world: &World, name: &str, out: &str, more: &[&str]) -> String {
    let arguments = ["export", name, "--to", "transformers", "--out", out];
    world.succeed(&[&arguments[..], more].concat())
}

/// Dialogues of a run are in one way each.
fn format_of(name: &str) -> Option<ChatFormat> {
    match name {
        "palm" => Some(ChatFormat::HumanAssistant),
        "mpt" => Some(ChatFormat::Alpaca),
        "llama" => Some(ChatFormat::Llama2),
        _ => None,
    }
}

/// System, question, answer, question, as the format writes them; and all but the system turn.
fn dialogues(name: &str) -> [Option<String>; 2] {
    [Some("S"), None].map(|system| {
        let format = format_of(name)?;
        let mut written = "<|endoftext|>".to_owned();
        format.ask(system, true, "Q", &mut written);
        written.extend([format.answers(), " A", "<|endoftext|>"]);
        format.ask(None, false, "R", &mut written);
        written.push_str(format.answers());
        // Alpaca's answers begin on a line of their own.
        Some(written.replace(":\n A", ":\nA"))
    })
}

/// Our own logits after each of `ids`, and so many tokens more, taken greedily.
fn ours(checkpoint: &Path, ids: &[u32], tokens: usize) -> (Vec<Vec<f64>>, Vec<u32>) {
    let state = checkpoint::verify(checkpoint).unwrap();
    let mut model = Model::zeros(state.config.model, Fused::<f32>::default()).unwrap();
    checkpoint::load_model(checkpoint, &state, &mut model).unwrap();
    let logits = (1..=ids.len()).map(|end| {
        let sequences = Sequences {
            ids: &ids[..end],
            starts: None,
        };
        model
            .last_logits(sequences, &model.length(end).unwrap())
            .unwrap()
    });
    let logits = logits.collect();
    let options = SampleOptions {
        tokens,
        temperature: 0.0,
        ..SampleOptions::default()
    };
    let mut more = ids.to_vec();
    let known = VOCABULARY as usize;
    generate(&model, &mut more, &options, 64, known, 0, &mut |_| Ok(())).unwrap();
    (logits, more[ids.len()..].to_vec())
}

#[test]
fn transformers_gives_the_logits_and_the_tokens_of_the_run() {
    let Some(python) = interpreter("torch, transformers") else {
        return;
    };
    let world = World::new();
    let mut folders = Vec::new();
    for (name, _, set) in MODELS {
        train(&world, name, set);
        // As if the build had dialogues; without any, no template is written.
        if let Some(format) = format_of(name) {
            let kept = json!({ "format": format, "trained": true });
            std::fs::write(world.run(name).join("dialogues.json"), kept.to_string()).unwrap();
        }
        export(&world, name, &format!("out/{name}"), &[]);
        export(
            &world,
            name,
            &format!("out/{name}-bf16"),
            &["--dtype", "bf16"],
        );
        folders.extend([format!("out/{name}"), format!("out/{name}-bf16")]);
    }
    let mut ids = vec![0];
    ids.extend(tokens(9, 24));
    let mut process = Command::new(python)
        .current_dir(world.folder.path())
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/transformers_reads.py"))
        .args(&folders)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let dialogue = [
        ("system", "S"),
        ("user", "Q"),
        ("assistant", "A"),
        ("user", "R"),
    ];
    let request = json!({ "ids": ids, "tokens": 32, "text": "w3 w17 w39", "dialogue": dialogue });
    process
        .stdin
        .take()
        .unwrap()
        .write_all(request.to_string().as_bytes())
        .unwrap();
    let output = process.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), 2 * MODELS.len());
    for ((name, class, _), answers) in MODELS.iter().zip(answers.chunks(2)) {
        let (single, half) = (&answers[0], &answers[1]);
        assert_eq!(
            (&single["class"], &single["dtype"]),
            (&json!(class), &json!("torch.float32"))
        );
        assert_eq!(half["dtype"], "torch.bfloat16");
        // What torch rounds the one to is what the other holds.
        assert_eq!(single["bf16"], half["bf16"], "{name}");
        let (logits, more) = ours(&world.run(name).join("step-00000040"), &ids, 32);
        for (at, (ours, theirs)) in logits
            .iter()
            .zip(single["logits"].as_array().unwrap())
            .enumerate()
        {
            let theirs: Vec<f64> = serde_json::from_value(theirs.clone()).unwrap();
            let apart = ours
                .iter()
                .zip(&theirs)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            assert!(
                ours.len() == theirs.len() && apart < 1e-4,
                "{name}: {apart} apart at {at}"
            );
        }
        assert_eq!(single["more"], json!(more), "{name}");
        assert_eq!(more.len(), 32);
        for answer in answers {
            assert_eq!(answer["ids"], json!([3, 17, 39]));
            assert_eq!(answer["end"], json!(["<|endoftext|>", 0, 0]));
            assert_eq!(answer["context"], 64);
            assert_eq!(answer["dialogues"], json!(dialogues(name)));
        }
        // What transformers saves is imported again without a changed bit.
        let again = format!("{name}-again");
        world.succeed(&["import", &format!("out/{name}-saved"), "--run", &again]);
        let numbers = |run: &Path, step: &str| {
            std::fs::read(run.join(step).join("model.safetensors")).unwrap()
        };
        assert!(
            numbers(&world.run(name), "step-00000040")
                == numbers(&world.run(&again), "step-00000000"),
            "{name} came back otherwise"
        );
    }
}

#[test]
fn an_export_is_the_same_bytes_again_and_says_their_hashes() {
    let world = World::new();
    train(&world, "mpt", MODELS[2].2);
    let said = export(&world, "mpt", "one", &[]);
    export(&world, "mpt", "two", &["--step", "40"]);
    let (one, two) = (
        world.folder.path().join("one"),
        world.folder.path().join("two"),
    );
    let files = bytes_of(&one);
    assert!(files == bytes_of(&two), "the files differ");
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    let expected: Vec<String> = files
        .iter()
        .map(|(name, bytes)| format!("{}  one/{name}", crate::support::sha256(bytes)))
        .collect();
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    // Rows 40 to 63 fill up the vocabulary and have no token.
    let generation: Value = serde_json::from_slice(&files["generation_config.json"]).unwrap();
    assert_eq!(
        generation["suppress_tokens"],
        json!((40..64).collect::<Vec<_>>())
    );

    export(&world, "mpt", "earlier", &["--step", "36", "--json"]);
    let earlier = bytes_of(&world.folder.path().join("earlier"));
    assert!(earlier["model.safetensors"] != files["model.safetensors"]);
    let average = [
        "export",
        "mpt",
        "--to",
        "transformers",
        "--out",
        "no",
        "--ema",
    ];
    assert!(
        world
            .fail(&average, 2)
            .contains("no average of the weights\nhint:")
    );
    train(
        &world,
        "averaged",
        &[
            MODELS[2].2,
            &["optimizer.ema-decay=0.9", "schedule.steps=8"],
        ]
        .concat(),
    );
    export(&world, "averaged", "weights", &[]);
    export(&world, "averaged", "average", &["--ema"]);
    let tensors = |out: &str| bytes_of(&world.folder.path().join(out)).remove("model.safetensors");
    assert!(tensors("weights").unwrap() != tensors("average").unwrap());
    let again = ["export", "mpt", "--to", "transformers", "--out", "one"];
    assert!(world.fail(&again, 2).contains("one exists already\nhint:"));
    let absent = [
        "export",
        "mpt",
        "--to",
        "transformers",
        "--out",
        "no",
        "--step",
        "3",
    ];
    assert!(world.fail(&absent, 2).contains("there are: 40, 39, 36"));
    assert!(!world.folder.path().join("no").exists());
}

#[test]
fn what_no_architecture_computes_is_not_exported() {
    let world = World::new();
    train(
        &world,
        "xpos",
        &[
            "model.positions=xpos",
            "schedule.steps=5",
            "schedule.warmup-steps=1",
        ],
    );
    let refusal = world.fail(
        &["export", "xpos", "--to", "transformers", "--out", "no"],
        2,
    );
    assert!(
        refusal.contains("CohereForCausalLM, needs model.positions = \"rotary\"\nhint:"),
        "{refusal}"
    );
    assert!(!world.folder.path().join("no").exists());
    std::fs::write(world.run("xpos").join("tokenizer.json"), "{}").unwrap();
    train(
        &world,
        "plain",
        &["schedule.steps=5", "schedule.warmup-steps=1"],
    );
    std::fs::write(world.run("plain").join("tokenizer.json"), "{}").unwrap();
    world.fail(
        &["export", "plain", "--to", "transformers", "--out", "no"],
        20,
    );
}

/// A run of random values, with a tokenizer of 256 bytes, two merges and a token that ends a text.
fn make_run(world: &World, name: &str, model: &str) {
    let shown = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let hidden = (0..256).filter(|&byte| !shown(byte));
    let codes = (0..256)
        .filter(|&byte| shown(byte))
        .chain((256..).take(hidden.count()));
    let tokens = codes.map(|code| char::from_u32(code).unwrap().to_string());
    let tokens = std::iter::once("<end>".to_owned()).chain(tokens);
    let tokens = tokens.chain(["he", "hel"].map(str::to_owned));
    let vocabulary: serde_json::Map<String, Value> = tokens
        .zip(0..)
        .map(|(token, id)| (token, json!(id)))
        .collect();
    let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "post_processor": null,
        "added_tokens": [{"id": 0, "content": "<end>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "pre_tokenizer": bytes, "decoder": bytes,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary,
            "merges": [["h", "e"], ["he", "l"]]}
    });
    let run = Run::lock(&world.run(name)).unwrap();
    run.write_tokenizer(tokenizer.to_string().as_bytes())
        .unwrap();
    let written: WrittenConfig = toml::from_str(model).unwrap();
    let config = written.resolve(259, Path::new("test")).unwrap();
    let model = Model::new(config.model, 7, Fused::<f32>::default()).unwrap();
    let optimizer = Optimizer::new(config.optimizer.clone(), &model).unwrap();
    let mut state = State::new(config, "none".to_owned(), 0);
    checkpoint::save(
        run.path(),
        &mut state,
        &model,
        &optimizer,
        &Team::alone(&model),
    )
    .unwrap();
}

#[test]
fn files_for_llama_cpp_hold_the_numbers_of_those_for_transformers() {
    let Some(python) = interpreter("torch, transformers, gguf") else {
        return;
    };
    let world = World::new();
    let palm = "layers = 2\nwidth = 36\nheads = 4\nhead-size = 8\nkey-heads = 2\nfeed-forward = 50";
    for (name, architecture, model) in [
        (
            "mpt",
            "mpt",
            "family = \"mpt\"\nlayers = 2\nwidth = 36\nheads = 3\nhead-size = 12".to_owned(),
        ),
        ("palm", "command-r", palm.to_owned()),
        (
            "llama",
            "llama",
            format!("{palm}\nblock = \"sequential\"\nnorm = \"rms\""),
        ),
    ] {
        make_run(&world, name, &format!("[model]\n{model}"));
        export(&world, name, &format!("{name}-folder"), &[]);
        let mut told = Vec::new();
        for (dtype, out) in [
            ("f32", format!("{name}-gguf")),
            ("bf16", format!("{name}-half")),
        ] {
            world.succeed(&[
                "export", name, "--to", "gguf", "--out", &out, "--dtype", dtype,
            ]);
            let output = Command::new(&python)
                .current_dir(world.folder.path())
                .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/gguf_reads.py"))
                .args([
                    architecture,
                    &format!("{out}/model.gguf"),
                    &format!("{name}-folder"),
                ])
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {stderr}");
            told.push(serde_json::from_slice::<Value>(&output.stdout).unwrap());
        }
        let (keys, of_half) = (&told[0], &told[1]);
        assert_eq!(
            (&keys["general.file_type"], &of_half["general.file_type"]),
            (&json!(0), &json!(32))
        );
        let key = |key: &str| &keys[format!("{architecture}.{key}")];
        assert_eq!(
            (key("context_length"), key("vocab_size")),
            (&json!(256), &json!(320))
        );
        assert_eq!(
            key("attention.head_count"),
            if name == "mpt" { 3 } else { 4 }
        );
        assert_eq!(
            key("attention.head_count_kv"),
            if name == "mpt" { 3 } else { 2 }
        );
        assert_eq!(
            key("feed_forward_length"),
            if name == "mpt" { 144 } else { 50 }
        );
        let tokens = keys["tokenizer.ggml.tokens"].as_array().unwrap();
        assert_eq!(tokens.len(), 320);
        assert_eq!(
            (&tokens[0], &tokens[258], &tokens[259]),
            (&json!("<end>"), &json!("hel"), &json!("[PAD259]"))
        );
        let types = &keys["tokenizer.ggml.token_type"];
        assert_eq!(
            (&types[0], &types[1], &types[319]),
            (&json!(3), &json!(1), &json!(5))
        );
        assert_eq!(keys["tokenizer.ggml.merges"], json!(["h e", "he l"]));
        assert_eq!(keys["tokenizer.ggml.pre"], "gpt-2");
    }
    train(
        &world,
        "words",
        &["schedule.steps=5", "schedule.warmup-steps=1"],
    );
    let refusal = world.fail(&["export", "words", "--to", "gguf", "--out", "no"], 2);
    assert!(
        refusal.contains("\"WordLevel\", and it has byte-level BPE\nhint:"),
        "{refusal}"
    );
}

/// Reads the little-endian integers, strings and values of a GGUF file as `docs/gguf.md` lays them out.
struct Gguf<'a>(&'a [u8]);

impl Gguf<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *head
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    fn count(&mut self) -> usize {
        usize::try_from(u64::from_le_bytes(self.take())).unwrap()
    }

    fn string(&mut self) -> String {
        let length = self.count();
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8(text.to_vec()).unwrap()
    }

    fn value(&mut self, kind: u32) -> Value {
        match kind {
            4 => json!(self.u32()),
            5 => json!(i32::from_le_bytes(self.take())),
            6 => json!(f32::from_le_bytes(self.take())),
            7 => json!(self.take::<1>() == [1]),
            8 => json!(self.string()),
            9 => {
                let (kind, count) = (self.u32(), self.count());
                (0..count).map(|_| self.value(kind)).collect()
            }
            _ => panic!("values of kind {kind}"),
        }
    }
}

#[test]
fn a_file_for_llama_cpp_is_laid_out_as_its_specification_says() {
    let world = World::new();
    make_run(
        &world,
        "palm",
        "[model]\nlayers = 1\nwidth = 12\nheads = 2\nhead-size = 6\nfeed-forward = 10",
    );
    let checkpoint =
        std::fs::read(world.run("palm").join("step-00000000/model.safetensors")).unwrap();
    let ours = safetensors::SafeTensors::deserialize(&checkpoint).unwrap();
    for (dtype, kind, each) in [("f32", 0, 4), ("bf16", 30, 2)] {
        world.succeed(&[
            "export", "palm", "--to", "gguf", "--out", dtype, "--dtype", dtype,
        ]);
        let bytes = std::fs::read(world.folder.path().join(dtype).join("model.gguf")).unwrap();
        let mut file = Gguf(&bytes);
        assert_eq!((&file.take::<4>(), file.u32()), (b"GGUF", 3));
        let (tensors, keys) = (file.count(), file.count());
        let keys: serde_json::Map<String, Value> = (0..keys)
            .map(|_| {
                let (key, kind) = (file.string(), file.u32());
                let value = file.value(kind);
                (key, value)
            })
            .collect();
        assert_eq!(keys["general.architecture"], "command-r");
        assert_eq!(keys["command-r.rope.freq_base"], 10_000.0);
        assert_eq!(keys["command-r.logit_scale"], 1.0);
        let places: Vec<(String, Vec<usize>, u32, usize)> = (0..tensors)
            .map(|_| {
                let (name, dimensions) = (file.string(), file.u32());
                let sizes = (0..dimensions).map(|_| file.count()).collect();
                (name, sizes, file.u32(), file.count())
            })
            .collect();
        let header = bytes.len() - file.0.len();
        let numbers = &bytes[header.next_multiple_of(32)..];
        let mut end = 0;
        for (name, sizes, found, offset) in &places {
            let gain = sizes.len() == 1;
            assert_eq!(*found, if gain { 0 } else { kind }, "{name}");
            assert_eq!(*offset, end, "{name}");
            let each = if gain { 4 } else { each };
            end = (offset + each * sizes.iter().product::<usize>()).next_multiple_of(32);
        }
        assert_eq!(end, numbers.len());
        // The second head of the queries: rows 6, 9, 7, 10, 8, 11, the upper half of each number where they are rounded down.
        let (_, sizes, _, offset) = places
            .iter()
            .find(|place| place.0 == "blk.0.attn_q.weight")
            .unwrap();
        assert_eq!(*sizes, [12, 12]);
        let query = ours
            .tensor("layers.0.query.weight")
            .unwrap()
            .data()
            .to_vec();
        for (row, from) in [(6, 6), (7, 9), (8, 7), (9, 10), (10, 8), (11, 11)] {
            for column in 0..12 {
                let at = 4 * (12 * from + column);
                let single = f32::from_le_bytes(query[at..at + 4].try_into().unwrap());
                let at = offset + each * (12 * row + column);
                let stored = &numbers[at..at + each];
                let stored = match each {
                    4 => f32::from_le_bytes(stored.try_into().unwrap()),
                    _ => f32::from_bits(
                        u32::from(u16::from_le_bytes(stored.try_into().unwrap())) << 16,
                    ),
                };
                let most = if each == 4 { 0.0 } else { single.abs() / 256.0 };
                assert!(
                    (stored - single).abs() <= most,
                    "{row} {column}: {stored} for {single}"
                );
            }
        }
    }
}
