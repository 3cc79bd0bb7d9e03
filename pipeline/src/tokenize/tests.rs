use super::*;

fn corpus() -> impl Iterator<Item = String> + Send {
    let words = ["the", "quick", "brown", "fox", "don't", "fn", "main()", "{", "}", "caf\u{e9}", "\u{4e2d}\u{6587}", "1234", "\n", "\t"];
    let mut state = 1u64;
    (0..400).map(move |_| {
        let mut text = String::new();
        for _ in 0..60 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(words[usize::try_from(state >> 40).unwrap() % words.len()]);
            text.push(if state & (1 << 20) == 0 { ' ' } else { '\n' });
        }
        text
    })
}

fn small() -> (Vec<u8>, Tokenizer) {
    let json = train(corpus(), &TrainOptions { vocab_size: 400, min_frequency: 2 }).unwrap();
    let tokenizer = Tokenizer::from_bytes(&json, Path::new("small.json"), None).unwrap();
    (json, tokenizer)
}

#[test]
fn training_twice_and_on_other_threads_gives_the_same_bytes() {
    let options = TrainOptions { vocab_size: 400, min_frequency: 2 };
    let once = train(corpus(), &options).unwrap();
    assert_eq!(train(corpus(), &options).unwrap(), once);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(|| train(corpus(), &options).unwrap()), once, "{threads} threads");
    }
}

#[test]
fn a_trained_tokenizer_takes_the_fast_engine_and_is_lossless() {
    let (_, tokenizer) = small();
    assert_eq!(tokenizer.encoder_name(), "tokenizers 1.0.0-rc.3", "{}", tokenizer.choice());
    assert_eq!(tokenizer.end_of_text(), (0, "<|endoftext|>"));
    assert_eq!(tokenizer.vocab_size(), 400);
    for text in hard_texts(&[]).into_iter().chain(corpus().take(20)) {
        let mut ids = Vec::new();
        tokenizer.encode(&text, &mut ids).unwrap();
        assert_eq!(tokenizer.decode(&ids), text);
    }
}

#[test]
fn a_document_cannot_forge_an_end_of_document() {
    let (_, tokenizer) = small();
    let mut ids = Vec::new();
    tokenizer.encode("a<|endoftext|>b<|padding|>", &mut ids).unwrap();
    assert!(!ids.contains(&0) && !ids.contains(&1), "{ids:?}");
    assert_eq!(tokenizer.decode(&ids), "a<|endoftext|>b<|padding|>");
}

#[test]
fn both_engines_agree_on_random_texts() {
    let (json, tokenizer) = small();
    let reference = reference::Reference::new(&json).unwrap();
    let pieces = [" ", "  ", "\n", "\t", "\r\n", "\u{a0}", "'s", "'LL", "don't", "a", "the", "1", "12", "\u{b2}", "e\u{301}", "\u{e9}",
        "\u{1100}\u{1161}", "\u{4e2d}", "\u{1f468}\u{200d}\u{1f469}", "\0", "<|endoftext|>", "<|", "!!", "...", "_", "   x", "\u{feff}"];
    let mut state = 7u64;
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[usize::try_from(state >> 40).unwrap() % pieces.len()]);
        }
        let (mut a, mut b) = (Vec::new(), Vec::new());
        tokenizer.encode(&text, &mut a).unwrap();
        reference.encode(&text, &mut b).unwrap();
        assert_eq!(a, b, "{text:?}");
    }
}

#[test]
fn what_is_no_tokenizer_is_refused_with_a_sentence() {
    let (json, _) = small();
    let load = |bytes: &[u8], end: Option<&str>| Tokenizer::from_bytes(bytes, Path::new("t.json"), end).unwrap_err().to_string();
    for cut in [0, 1, 100, json.len() / 2, json.len() - 2] {
        assert!(load(&json[..cut], None).contains("t.json is no usable tokenizer.json"));
    }
    assert!(load(b"{\"model\": 3}", None).contains("no usable"));
    let missing = load(&json, Some("<eod>"));
    assert!(missing.contains("<eod>") && missing.contains("<|endoftext|>"), "{missing}");
}

#[test]
fn long_runs_take_time_in_proportion_to_their_length() {
    let (_, tokenizer) = small();
    for piece in ["a", " ", "\n", "=", "\u{4e2d}", "ab"] {
        let mut ids = Vec::new();
        tokenizer.encode(&piece.repeat(1_000_000 / piece.len()), &mut ids).unwrap();
        assert!(!ids.is_empty());
    }
}

#[test]
fn published_tokenizers_give_their_published_ids() {
    let Some(data) = crate::test_data("tokenizers") else { return };
    for name in ["gpt-neox-20b", "falcon", "gpt2"] {
        let tokenizer = Tokenizer::load(&data.join(name).join("tokenizer.json"), None).unwrap();
        let vectors = fs_err::read_to_string(data.join(name).join("vectors.jsonl")).unwrap();
        let mut checked = 0;
        for line in vectors.lines() {
            let vector: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = vector["text"].as_str().unwrap();
            // The vectors take special tokens in the text as such; ours are plain text, on purpose.
            if ["<|endoftext|>", "<|padding|>", ">>", "<|"].iter().any(|special| text.contains(special)) {
                continue;
            }
            let wanted: Vec<u32> = vector["ids"].as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect();
            let mut ids = Vec::new();
            tokenizer.encode(text, &mut ids).unwrap();
            assert_eq!(ids, wanted, "{name}: {text:?} ({})", tokenizer.choice());
            checked += 1;
        }
        assert!(checked > 40, "{name}: only {checked} vectors");
    }
}
