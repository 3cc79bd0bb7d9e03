//! Tests of the encoders against each other, published vectors and hostile definitions.

use serde_json::{Value, json};

use super::definition::{GPT2, KNOWN_SPLITS};
use super::*;

/// A tokenizer trained here, so that the tests run anywhere.
pub(super) fn small() -> Value {
    let texts = [
        include_str!("mod.rs"),
        include_str!("tests.rs"),
        include_str!("probes.rs"),
        "don't we'll they're naïve café 中文中文 中文 हिन्दी हिन्दी ไทย ไทย 1234 12 12 ABC ABC Äö Äö \u{1100}\u{1161} 가가",
    ];
    let texts = texts.iter().map(|text| (*text).to_owned());
    let options = TrainOptions {
        vocab_size: 1200,
        ..TrainOptions::default()
    };
    serde_json::from_slice(&train(texts, &options).unwrap()).unwrap()
}

fn load(json: &Value) -> Result<Tokenizer, TokenizeError> {
    Tokenizer::from_bytes(json.to_string().as_bytes(), Path::new("t.json"), None)
}

fn refusal(json: &Value) -> String {
    let message = load(json).unwrap_err().to_string();
    assert!(message.contains("t.json"), "{message}");
    message
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>, EncodeError> {
    let mut ids = Vec::new();
    tokenizer.encode(text, &mut ids).map(|()| ids)
}

fn reference_ids(json: &Value, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    let reference = Reference::load(&json.to_string()).unwrap();
    reference.encode(text, &mut ids).unwrap();
    ids
}

fn added(id: u32, content: &str, special: bool) -> Value {
    json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
           "normalized": false, "special": special})
}

/// One token a word; the end of text is a word of the vocabulary too.
fn one_token_a_word() -> Value {
    json!({"version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [added(1, "</s>", true)],
        "normalizer": null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "</s>": 1, "a": 2, "b": 3}, "unk_token": "[UNK]"}})
}

/// The small tokenizer with another normalizer and another split.
fn variants() -> Vec<(String, Value)> {
    let mut variants = vec![("gpt2".to_owned(), small())];
    let mut nfc = small();
    nfc["normalizer"] = json!({"type": "NFC"});
    variants.push(("gpt2 after NFC".to_owned(), nfc));
    for pattern in KNOWN_SPLITS {
        let mut split = small();
        split["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
        variants.push((pattern.to_owned(), split));
    }
    // As GPT-NeoX has them: runs of spaces that are tokens before any split.
    let mut spaces = small();
    for (id, length) in (1200..).zip((2..=24).rev()) {
        let mut token = added(id, &" ".repeat(length), false);
        token["normalized"] = json!(true);
        spaces["added_tokens"].as_array_mut().unwrap().push(token);
    }
    spaces["normalizer"] = json!({"type": "NFC"});
    variants.push(("space tokens".to_owned(), spaces));
    let mut falcon = small();
    falcon["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation", "behavior": "Contiguous"},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        {"type": "Digits", "individual_digits": false},
        {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]});
    variants.push(("falcon".to_owned(), falcon));
    variants
}

/// Every encoder that takes the file gives the reference's ids, and so does what is chosen among them.
fn assert_equal_ids(name: &str, json: &Value, texts: impl Iterator<Item = String>) {
    let tokenizer = load(json).unwrap();
    let definition =
        Definition::read(json.to_string().as_bytes(), Path::new("t.json"), None).unwrap();
    let reference = Reference::load(&definition.json).unwrap();
    let own = definition
        .own
        .map(|split| Bpe::load(&definition.json, split).unwrap());
    let fast = definition
        .only_reference
        .is_none()
        .then(|| ByteLevel::load(&definition.json).unwrap());
    let best = if own.is_some() {
        bpe::NAME
    } else {
        byte_level::NAME
    };
    assert_eq!(
        tokenizer.encoder_name(),
        best,
        "{name}: {}",
        tokenizer.choice()
    );
    for text in texts {
        let mut expected = Vec::new();
        reference.encode(&text, &mut expected).unwrap();
        assert!(
            encode(&tokenizer, &text).unwrap() == expected,
            "{name}: {text:?}"
        );
        let mut ids = Vec::new();
        if let Some(own) = &own {
            own.encode(&text, &mut ids).unwrap();
            assert!(ids == expected, "{name}, own: {text:?}");
        }
        if let Some(fast) = fast.as_ref().filter(|_| newer_unicode::is_settled(&text)) {
            ids.clear();
            fast.encode(&text, &mut ids).unwrap();
            assert!(ids == expected, "{name}, fast: {text:?}");
        }
    }
}

/// Strings of difficult pieces, the same in every run (xorshift64, Marsaglia 2003).
fn random_texts(count: usize) -> impl Iterator<Item = String> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = move |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % limit as u64).unwrap()
    };
    let more = [
        "<|endoftext|>",
        "<|padding|>",
        "<|endof",
        "\u{16d63}\u{16d67}",
        "\u{11938}",
        "\u{897}",
        "<|endoftext|",
    ];
    std::iter::repeat_with(move || {
        (0..=below(40))
            .map(|_| match below(probes::PIECES.len() + more.len() + 8) {
                n if n < more.len() => more[n].to_owned(),
                n if n - more.len() < probes::PIECES.len() => {
                    probes::PIECES[n - more.len()].to_owned()
                }
                _ => loop {
                    if let Some(character) =
                        u32::try_from(below(0x2_0000)).ok().and_then(char::from_u32)
                    {
                        break character.to_string();
                    }
                },
            })
            .collect()
    })
    .take(count)
}

pub(super) fn data() -> Option<PathBuf> {
    let folder = match std::env::var_os("ANDROMEDA_TEST_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
    }
    .join("tokenizers");
    if !folder.is_dir() {
        // Past the test runner's capture.
        let said = format!(
            "skipped: no test data at {}; set ANDROMEDA_TEST_DATA\n",
            folder.display()
        );
        std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes()).unwrap();
        return None;
    }
    Some(folder)
}

#[test]
fn published_vectors_are_reproduced() {
    let Some(folder) = data() else { return };
    // Kind and engine of each; the vectors are described in the data's own README.
    for (name, engine) in [
        ("gpt2", bpe::NAME),
        ("gpt-neox-20b", bpe::NAME),
        ("falcon", bpe::NAME),
    ] {
        let tokenizer = Tokenizer::load(&folder.join(name).join("tokenizer.json"), None).unwrap();
        assert_eq!(
            tokenizer.encoder_name(),
            engine,
            "{name}: {}",
            tokenizer.choice()
        );
        assert_eq!(tokenizer.end_of_text().1, "<|endoftext|>");
        assert_eq!(tokenizer.kind(), "byte-level-bpe");
        let json: Value = serde_json::from_slice(
            &std::fs::read(folder.join(name).join("tokenizer.json")).unwrap(),
        )
        .unwrap();
        let special: Vec<u64> = json["added_tokens"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|token| token["special"] == true)
            .filter_map(|token| token["id"].as_u64())
            .collect();
        let is_special = |id: &u32| special.contains(&u64::from(*id));
        let vectors = std::fs::read_to_string(folder.join(name).join("vectors.jsonl")).unwrap();
        let mut count = 0;
        for line in vectors.lines() {
            let vector: Value = serde_json::from_str(line).unwrap();
            let text = vector["text"].as_str().unwrap();
            let expected: Vec<u32> = serde_json::from_value(vector["ids"].clone()).unwrap();
            let ids = encode(&tokenizer, text).unwrap();
            if expected.iter().any(is_special) {
                // The publishers' tokenizers take special tokens out of text; here they stay text.
                assert!(!ids.iter().any(is_special), "{name}: {text:?}");
            } else {
                assert_eq!(ids, expected, "{name}: {text:?}");
            }
            if name != "gpt-neox-20b" {
                assert_eq!(tokenizer.decode(&ids), text, "{name}");
            }
            count += 1;
        }
        assert!(count >= 300, "{name}: {count}");
    }
}

#[test]
fn both_engines_agree_on_random_texts() {
    for (name, json) in variants() {
        assert_equal_ids(&name, &json, random_texts(150));
    }
}

/// 20,000 of them; a million and more with `cargo bench --bench exact`.
#[test]
fn encoders_agree_on_mutated_texts() {
    let sources = [
        include_str!("mod.rs"),
        include_str!("train.rs"),
        include_str!("probes.rs"),
        include_str!("../../../README.md"),
    ]
    .map(str::to_owned);
    let mut random = mutate::Random::new(1);
    let mut tokenizers = variants();
    if let Some(folder) = data() {
        for name in ["gpt2", "gpt-neox-20b", "falcon"] {
            let json = std::fs::read(folder.join(name).join("tokenizer.json")).unwrap();
            tokenizers.push((name.to_owned(), serde_json::from_slice(&json).unwrap()));
        }
    }
    let each = 20_000 / tokenizers.len() + 1;
    for (name, json) in tokenizers {
        let texts = std::iter::repeat_with(|| mutate::mutated(&sources, &mut random));
        assert_equal_ids(&name, &json, texts.take(each));
    }
}

#[test]
#[ignore = "minutes: every code point in several contexts, for every split, through both engines"]
fn both_engines_agree_on_every_code_point() {
    let mut tokenizers = variants();
    if let Some(folder) = data() {
        for name in ["gpt2", "gpt-neox-20b", "falcon"] {
            let json = std::fs::read(folder.join(name).join("tokenizer.json")).unwrap();
            tokenizers.push((name.to_owned(), serde_json::from_slice(&json).unwrap()));
        }
    }
    let characters: Vec<char> = ('\0'..=char::MAX)
        // Private use beyond the basic plane and the unassigned planes behave alike: one in 97 of them.
        .filter(|&c| {
            u32::from(c) < 0x34000
                || (0xe0000..0xe0200).contains(&u32::from(c))
                || u32::from(c) % 97 == 0
        })
        .collect();
    for (name, json) in tokenizers {
        let blocks = characters.chunks(48).map(|block| {
            block
                .iter()
                .map(|c| format!("a{c}b 1{c}2 !{c}? {c}{c}\n{c} \u{301}{c}'s{c}"))
                .collect::<String>()
        });
        assert_equal_ids(&name, &json, blocks);
        assert_equal_ids(&name, &json, random_texts(2000));
    }
}

#[test]
fn decoding_gives_the_text_back() {
    let tokenizer = load(&small()).unwrap();
    for text in random_texts(300) {
        assert_eq!(tokenizer.decode(&encode(&tokenizer, &text).unwrap()), text);
    }
    assert_eq!(tokenizer.decode(&[u32::MAX, 0]), "<|endoftext|>");
    assert_eq!(tokenizer.decode(&[]), "");
}

#[test]
fn a_document_cannot_forge_its_end() {
    let mut unmarked = small();
    unmarked["added_tokens"][0]["special"] = json!(false);
    for json in [small(), unmarked] {
        let tokenizer = load(&json).unwrap();
        assert_eq!(tokenizer.end_of_text(), (0, "<|endoftext|>"));
        let text = "a<|endoftext|>b <|endoftext|> <|padding|>";
        let ids = encode(&tokenizer, text).unwrap();
        assert!(!ids.contains(&0) && !ids.contains(&1), "{ids:?}");
        assert_eq!(tokenizer.decode(&ids), text);
    }
}

#[test]
fn an_end_of_text_that_the_model_itself_finds_is_refused() {
    let tokenizer = load(&one_token_a_word()).unwrap();
    assert_eq!(encode(&tokenizer, "a b c").unwrap(), [2, 3, 0]);
    let mut ids = vec![7];
    let error = tokenizer.encode("a </s> b", &mut ids).unwrap_err();
    assert_eq!(error.reason(), "forged-end-of-text");
    assert_eq!(ids, [7], "what was there stays, nothing is added");
}

#[test]
fn the_end_of_text_is_found_or_named() {
    let mut json = small();
    json["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(added(1200, "<|stop|>", true));
    let bytes = json.to_string();
    let named = |name| Tokenizer::from_bytes(bytes.as_bytes(), Path::new("t.json"), Some(name));
    assert_eq!(named("<|stop|>").unwrap().end_of_text(), (1200, "<|stop|>"));
    assert_eq!(named("<|stop|>").unwrap().vocab_size(), 1201);
    let message = named("</s>").unwrap_err().to_string();
    assert!(
        message.contains("\"</s>\"") && message.contains("<|stop|>"),
        "{message}"
    );
    json["added_tokens"] = json!([added(1200, "<|stop|>", true)]);
    assert!(refusal(&json).contains("one of: <|stop|>"));
    json["added_tokens"] = json!([]);
    assert!(refusal(&json).contains("one of: none"));
}

#[test]
fn ids_that_the_library_would_renumber_are_refused() {
    let mut json = small();
    json["added_tokens"] = json!([added(5000, "</s>", true)]);
    let message = refusal(&json);
    assert!(
        message.contains("5000") && message.contains("1200"),
        "{message}"
    );
}

#[test]
fn kinds_and_engines_are_told() {
    let tokenizer = load(&small()).unwrap();
    assert_eq!(tokenizer.kind(), "byte-level-bpe");
    assert_eq!(tokenizer.vocab_size(), 1200);
    assert!(
        tokenizer.choice().starts_with(bpe::NAME),
        "{}",
        tokenizer.choice()
    );
    let tokenizer = load(&one_token_a_word()).unwrap();
    assert_eq!(
        (tokenizer.kind(), tokenizer.encoder_name()),
        ("wordlevel", reference::NAME)
    );
    assert!(
        tokenizer.choice().contains("byte-level BPE only"),
        "{}",
        tokenizer.choice()
    );
    let mut prefixed = small();
    prefixed["pre_tokenizer"]["add_prefix_space"] = json!(true);
    let tokenizer = load(&prefixed).unwrap();
    assert_eq!(
        (tokenizer.kind(), tokenizer.encoder_name()),
        ("byte-level-bpe", reference::NAME)
    );
    assert!(
        tokenizer.choice().contains("pre-tokenizer"),
        "{}",
        tokenizer.choice()
    );
    let unigram = json!({"version": "1.0", "added_tokens": [added(0, "</s>", true)], "normalizer": null,
        "pre_tokenizer": null, "post_processor": null, "decoder": null, "truncation": null, "padding": null,
        "model": {"type": "Unigram", "unk_id": 1, "vocab": [["</s>", 0.0], ["<unk>", 0.0], ["a", -1.5]]}});
    let tokenizer = load(&unigram).unwrap();
    assert_eq!(tokenizer.kind(), "unigram");
    assert_eq!(encode(&tokenizer, "aa").unwrap(), [2, 2]);
    assert_eq!(
        encode(&tokenizer, "a</s>").unwrap_err().reason(),
        "forged-end-of-text"
    );
}

#[test]
fn engine_names_are_the_versions_in_the_lock_file() {
    let lock = include_str!("../../../Cargo.lock");
    for name in [byte_level::NAME, reference::NAME] {
        let version = name.strip_prefix("tokenizers ").unwrap();
        assert!(
            lock.contains(&format!("name = \"tokenizers\"\nversion = \"{version}\"\n")),
            "{name}"
        );
    }
}

#[test]
fn what_frames_or_shortens_a_sequence_is_ignored() {
    let mut json = small();
    json["truncation"] =
        json!({"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
    json["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 1, "pad_type_id": 0, "pad_token": "<|padding|>"});
    let text = "one two three four five six";
    let plain = encode(&load(&small()).unwrap(), text).unwrap();
    assert_eq!(encode(&load(&json).unwrap(), text).unwrap(), plain);
    json["pre_tokenizer"]["add_prefix_space"] = json!(true);
    let reference = load(&json).unwrap();
    assert_eq!(reference.encoder_name(), reference::NAME);
    assert_eq!(
        encode(&reference, " one two three four five six")
            .unwrap()
            .len(),
        encode(&load(&small()).unwrap(), " one two three four five six")
            .unwrap()
            .len()
    );
}

#[test]
fn damaged_files_are_refused_with_a_sentence() {
    let whole = small().to_string();
    for cut in [0, 1, 20, whole.len() / 2, whole.len() - 2, whole.len() - 1] {
        let error = Tokenizer::from_bytes(&whole.as_bytes()[..cut], Path::new("t.json"), None);
        let message = error.unwrap_err().to_string();
        assert!(
            message.contains("t.json") && message.contains("not JSON"),
            "{cut}: {message}"
        );
    }
    assert!(refusal(&json!([])).contains("not a JSON object"));
    assert!(refusal(&json!({"version": "1.0"})).contains("no `model`"));
    let broken = |path: &str, value: Value| {
        let mut json = small();
        *json.pointer_mut(path).unwrap() = value;
        refusal(&json)
    };
    assert!(broken("/model/type", json!("Oracle")).contains("none of BPE"));
    assert!(broken("/model/vocab", json!(7)).contains("neither an object nor an array"));
    assert!(broken("/model/vocab/a", json!(4_000_000_000_u32)).contains("4000000000"));
    assert!(broken("/model/vocab/a", json!(-1)).contains("whole numbers"));
    assert!(broken("/model/vocab/a", json!(70)).contains("share the id 70"));
    assert!(broken("/model/dropout", json!(0.1)).contains("random"));
    assert!(broken("/added_tokens/0/id", json!(1_u64 << 40)).contains("no id below"));
    broken("/model/merges", json!([["never", "seen"]]));
    broken("/model/merges", json!("text"));
    broken("/pre_tokenizer", json!({"type": "Unheard"}));
    broken("/version", json!("9.9"));
}

#[test]
fn files_that_are_absent_or_huge_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let message = Tokenizer::load(&path, None).unwrap_err().to_string();
    assert!(message.contains("tokenizer.json"), "{message}");
    // A file with a hole: the size is there, the blocks are not.
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(MAX_DEFINITION_BYTES + 1).unwrap();
    let message = Tokenizer::load(&path, None).unwrap_err().to_string();
    assert!(message.contains("is it another file"), "{message}");
}

#[test]
fn a_panic_of_the_engine_is_an_error_of_the_document() {
    struct Brittle;
    impl Encoder for Brittle {
        fn name(&self) -> &'static str {
            "brittle"
        }
        fn max_run(&self) -> usize {
            2000
        }
        fn encode(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), EncodeError> {
            ids.push(u32::try_from(text.len()).unwrap());
            assert!(text != "boom", "no {text}");
            Ok(())
        }
        fn decode(&self, _: &[u32]) -> String {
            panic!("never")
        }
    }
    let mut tokenizer = load(&small()).unwrap();
    tokenizer.encoder = Box::new(Brittle);
    let mut ids = vec![9];
    let error = tokenizer.encode("boom", &mut ids).unwrap_err();
    assert_eq!(error, EncodeError::Panicked("no boom".into()));
    assert_eq!(error.reason(), "tokenizer-panicked");
    assert_eq!(ids, [9]);
    tokenizer.encode("fine", &mut ids).unwrap();
    assert_eq!(ids, [9, 4]);
    assert_eq!(tokenizer.decode(&[1]), "");
    let error = tokenizer.encode(&"x".repeat(1200), &mut ids).unwrap_err();
    assert_eq!(error, EncodeError::UnknownId(1200));
    let error = tokenizer.encode(&"x".repeat(2001), &mut ids).unwrap_err();
    assert_eq!(error, EncodeError::LongRun { limit: 2000 });
}

#[test]
fn long_texts_are_cut_without_a_trace() {
    let words = [
        "some words",
        " of\n\n",
        "text,  don't\t",
        " and 中文 e\u{301}",
        "  <|endoftext|> ",
        "12345 x y",
    ];
    let text: String = (0..400_000)
        .map(|n: usize| words[n.wrapping_mul(n) % words.len()])
        .collect();
    assert!(text.len() > 3 * PIECE_BYTES);
    let (first, rest) = cut(&text);
    assert!(first.len() >= PIECE_BYTES && first.len() < PIECE_BYTES + 100 && rest.starts_with(' '));
    for (name, json) in variants() {
        let tokenizer = load(&json).unwrap();
        assert!(tokenizer.cuttable, "{name}");
        let mut whole = Vec::new();
        tokenizer.encoder.encode(&text, &mut whole).unwrap();
        assert!(encode(&tokenizer, &text).unwrap() == whole, "{name}");
    }
    // A token that reaches across a letter and a space forbids cutting.
    let mut reaching = small();
    reaching["added_tokens"]
        .as_array_mut()
        .unwrap()
        .push(added(1200, "some words", false));
    assert!(!load(&reaching).unwrap().cuttable);
    assert!(!load(&one_token_a_word()).unwrap().cuttable);
}

#[test]
fn texts_without_a_place_to_cut_stay_whole() {
    assert_eq!(cut("a b"), ("a b", ""));
    let run = "中".repeat(PIECE_BYTES);
    assert_eq!(cut(&run), (run.as_str(), ""));
    let edge = format!("{} b", "a".repeat(PIECE_BYTES));
    assert_eq!(cut(&edge), (edge.as_str(), ""));
    let edge = format!("{} b", "a".repeat(PIECE_BYTES + 1));
    assert_eq!(cut(&edge), (&edge[..=PIECE_BYTES], " b"));
}

#[test]
fn runs_on_which_the_reference_gives_up_are_refused_there() {
    let run = format!("x{}x", "\n".repeat(260_000));
    let fast = load(&small()).unwrap();
    assert_eq!(fast.decode(&encode(&fast, &run).unwrap()), run);
    let mut json = small();
    json["pre_tokenizer"]["add_prefix_space"] = json!(true);
    let reference = load(&json).unwrap();
    assert_eq!(
        encode(&reference, &run).unwrap_err().reason(),
        "run-too-long-to-tokenize"
    );
    let shorter = format!(" x{}x", "\n".repeat(240_000));
    assert_eq!(
        encode(&reference, &shorter).unwrap(),
        encode(&fast, &shorter).unwrap()
    );
}

#[test]
fn the_gpt2_pattern_is_the_one_that_byte_level_runs() {
    let mut split = small();
    split["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": GPT2}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]});
    for text in random_texts(50) {
        assert_eq!(reference_ids(&split, &text), reference_ids(&small(), &text));
    }
}

fn cpu_seconds() -> f64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}

#[test]
#[ignore = "a measurement: set ANDROMEDA_TEST_TEXT to a file of some 10 MB"]
fn rates() {
    let text = std::fs::read_to_string(std::env::var("ANDROMEDA_TEST_TEXT").unwrap()).unwrap();
    let documents: Vec<&str> = text
        .as_bytes()
        .chunks(4000)
        .filter_map(|chunk| std::str::from_utf8(chunk).ok())
        .collect();
    let bytes: usize = documents.iter().map(|document| document.len()).sum();
    let Some(folder) = data() else { return };
    for name in ["gpt-neox-20b", "gpt2", "falcon"] {
        let path = folder.join(name).join("tokenizer.json");
        let start = cpu_seconds();
        let tokenizer = Tokenizer::load(&path, None).unwrap();
        println!(
            "{name}: loaded in {:.2} CPU-s; {}",
            cpu_seconds() - start,
            tokenizer.choice()
        );
        let definition = Definition::read(&std::fs::read(&path).unwrap(), &path, None).unwrap();
        let reference = Reference::load(&definition.json).unwrap();
        let mut ids = Vec::new();
        let start = cpu_seconds();
        for document in &documents {
            tokenizer.encode(document, &mut ids).unwrap();
        }
        let chosen = cpu_seconds() - start;
        let tokens = ids.len();
        let mut expected = Vec::new();
        let start = cpu_seconds();
        for document in &documents {
            reference.encode(document, &mut expected).unwrap();
        }
        let slow = cpu_seconds() - start;
        let mb = bytes as f64 / 1e6;
        println!(
            "{name}: {mb:.1} MB, {tokens} tokens; {} {:.1} MB/s, {} {:.1} MB/s of CPU time; equal: {}",
            tokenizer.encoder_name(),
            mb / chosen,
            reference::NAME,
            mb / slow,
            ids == expected
        );
        assert!(ids == expected);
    }
}

#[test]
#[ignore = "a measurement of minutes: texts of a megabyte and more without a place to cut"]
fn long_runs_take_time_in_proportion() {
    let Some(folder) = data() else { return };
    for name in ["gpt-neox-20b", "gpt2", "falcon"] {
        let tokenizer = Tokenizer::load(&folder.join(name).join("tokenizer.json"), None).unwrap();
        for unit in [
            "a", " ", "\n", "中", "QUJDREVG", "-", "中文,", "0123,", "e\u{301}",
        ] {
            for bytes in [200_000, 2_000_000, 20_000_000] {
                if bytes > 2_000_000 && name != "gpt-neox-20b" {
                    continue;
                }
                let text = unit.repeat(bytes / unit.len());
                let start = cpu_seconds();
                let result = encode(&tokenizer, &text).map(|ids| ids.len());
                println!(
                    "{name} {unit:?} {bytes}: {:.3} CPU-s {result:?}, peak {} MiB",
                    cpu_seconds() - start,
                    peak_mib()
                );
            }
        }
    }
}
