//! Long words and hostile ones: the same ids as the reference's, in time that grows with the length alone.

use super::super::reference::Reference;
use super::super::{TrainOptions, mutate::Random, train};
use super::*;

/// A tokenizer with long tokens and many that overlap: runs of letters, signs and bytes of three-byte characters.
fn definition() -> String {
    let mut texts: Vec<String> = vec![
        include_str!("mod.rs").to_owned(),
        include_str!("merge.rs").to_owned(),
        "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVo= YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=".to_owned(),
    ];
    for unit in ["a", "ab", "aab", "-", "=-", "中", "中文字", "\n", "é"] {
        for length in [2, 3, 5, 8, 13, 64, 300] {
            texts.push(format!(
                "{} {}",
                unit.repeat(length),
                unit.repeat(length + 1)
            ));
        }
    }
    let options = TrainOptions {
        vocab_size: 1500,
        ..TrainOptions::default()
    };
    String::from_utf8(train(texts.into_iter(), &options).unwrap()).unwrap()
}

fn letters(random: &mut Random, from: &[char], count: usize) -> String {
    (0..count).map(|_| from[random.below(from.len())]).collect()
}

fn ids(encoder: &dyn Encoder, text: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    encoder.encode(text, &mut ids).unwrap();
    ids
}

#[test]
fn long_words_have_the_ids_of_the_reference() {
    let json = definition();
    let (own, reference) = (
        Bpe::load(&json, Split::Gpt2).unwrap(),
        Reference::load(&json).unwrap(),
    );
    let mut random = Random::new(3);
    let window = merge::WINDOW;
    let lengths = [
        15,
        16,
        17,
        63,
        64,
        65,
        window - 1,
        window,
        window + 1,
        2 * window + 7,
        5 * window,
    ];
    let alphabets: [&[char]; 6] = [
        &['a', 'b'],
        &['a', 'b', 'c', 'd', 'e', 'Q', 'U', 'R'],
        &['-', '='],
        &['中', '文', '字'],
        &['a', 'é'],
        &['\n', '\t'],
    ];
    for length in lengths {
        for unit in [
            "a",
            "ab",
            "aab",
            "-",
            "=-",
            "中",
            "中文字",
            "\n",
            "é",
            "abcQ",
        ] {
            // With something before it, so that windows begin elsewhere in what repeats.
            for before in ["", "b", "aa", "Q="] {
                let text = format!("{before}{}", unit.repeat(length / unit.len() + 1));
                assert!(
                    ids(&own, &text) == ids(&reference, &text),
                    "{before:?} {unit:?} {length}"
                );
            }
        }
        for alphabet in alphabets {
            for _ in 0..6 {
                let text = letters(&mut random, alphabet, length);
                assert!(ids(&own, &text) == ids(&reference, &text), "{text:?}");
            }
        }
    }
}

#[test]
fn time_grows_with_the_length_alone() {
    let json = definition();
    let own = Bpe::load(&json, Split::Gpt2).unwrap();
    let seconds = |text: &str| {
        // The least of some: others use the machine too.
        let took = || {
            let start = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            assert!(!ids(&own, text).is_empty());
            let end = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            (end.tv_sec - start.tv_sec) as f64 + (end.tv_nsec - start.tv_nsec) as f64 * 1e-9
        };
        (0..3).map(|_| took()).fold(f64::INFINITY, f64::min)
    };
    let mut random = Random::new(9);
    let any: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
    let mut texts: Vec<(String, String)> =
        ["a", "ab", "-", "中", "\n", "QUJDREVG", " ", "e\u{301}"]
            .map(|unit| (unit.to_owned(), unit.repeat(1_000_000 / unit.len())))
            .to_vec();
    texts.push(("letters".to_owned(), letters(&mut random, &any, 1_000_000)));
    for (name, text) in texts {
        let (one, four) = (seconds(&text), seconds(&text.repeat(4)));
        // Four times, were it exact; sixteen, were it the square.
        assert!(four < 9.0 * one + 0.02, "{name}: {one} and {four} s");
        // A megabyte is a matter of hundredths of a second; with the square of its length it would be one of hours.
        assert!(one < 3.0, "{name}: {one} s");
    }
}

#[test]
fn words_come_out_of_the_memory_as_they_went_in() {
    let json = definition();
    let own = Bpe::load(&json, Split::Gpt2).unwrap();
    let mut random = Random::new(4);
    let any: Vec<char> = ('a'..='z').collect();
    // More words than there are places, of all lengths, each twice; and the same by encoders that have no memory yet.
    let words: Vec<String> = (0..300_000)
        .map(|_| {
            let count = 1 + random.below(24);
            letters(&mut random, &any, count)
        })
        .collect();
    let text = words.join(" ");
    let first = ids(&own, &text);
    assert!(first == ids(&own, &text));
    let mut apart = Vec::new();
    for part in text
        .as_bytes()
        .chunk_by(|_, next| *next != b' ')
        .collect::<Vec<_>>()
        .chunks(30_000)
    {
        let fresh = Bpe::load(&json, Split::Gpt2).unwrap();
        let part = String::from_utf8(part.concat()).unwrap();
        apart.extend(ids(&fresh, &part));
    }
    assert!(first == apart);
}

#[test]
fn what_it_does_not_know_is_refused_with_a_reason() {
    let whole: Value = serde_json::from_str(&definition()).unwrap();
    let refused = |change: &dyn Fn(&mut Value)| {
        let mut json = whole.clone();
        change(&mut json);
        Bpe::load(&json.to_string(), Split::Gpt2).err().unwrap()
    };
    let merges = |json: &mut Value, change: &dyn Fn(&mut Vec<Value>)| {
        change(json["model"]["merges"].as_array_mut().unwrap());
    };
    assert!(
        refused(&|json| json["model"]["ignore_merges"] = true.into()).contains("ignore_merges")
    );
    assert!(refused(&|json| merges(json, &|merges| merges.swap(3, 9))).contains("order"));
    assert!(
        refused(&|json| merges(json, &|merges| merges.insert(4, merges[3].clone())))
            .contains("order"),
        "a merge twice has an id that does not grow"
    );
    assert!(refused(&|json| json["model"]["vocab"]["a"] = 70_000.into()).contains("65,534"));
    let added = |content: &str| {
        let mut token = whole["added_tokens"][0].clone();
        token["content"] = content.into();
        token["special"] = false.into();
        token["normalized"] = true.into();
        token["id"] = 1500.into();
        refused(&|json| {
            json["added_tokens"]
                .as_array_mut()
                .unwrap()
                .push(token.clone());
        })
    };
    assert!(added("word").contains("\"word\""));
    assert!(added("   ").contains("leave out a length"));
}
