//! Long words and hostile ones: the same ids as the reference's, in time that grows with the length alone.

use super::super::reference::Reference;
use super::super::{TrainOptions, mutate::Random, train};
use super::*;
use serde_json::json;

/// A tokenizer with long tokens and many that overlap: runs of letters, signs and bytes of three-byte characters.
fn definition() -> String {
    let mut texts: Vec<String> = vec![
        include_str!("mod.rs").to_owned(),
        include_str!("merge.rs").to_owned(),
        "nur für später über größere мир міра слово слова の中 です ます 文です。中です。 क्या किया हिन्दी".repeat(3),
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
    let lengths = [14, 15, 16, 17, 31, 32, 33, 63, 64, 65, 767, 1543, 3840];
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
            // With something before it, so that tokens begin elsewhere in what repeats.
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

/// Joins what has the lowest rank, and of several the leftmost, until nothing is left to join.
fn merged(word: &[u8], merges: &[(u16, u16, u16)]) -> Vec<u16> {
    let mut ids: Vec<u16> = word.iter().map(|byte| u16::from(*byte)).collect();
    loop {
        let at = |pair: &[u16]| {
            merges
                .iter()
                .position(|(left, right, _)| pair == [*left, *right])
        };
        let best = ids.windows(2).enumerate();
        let best = best
            .filter_map(|(place, pair)| Some((at(pair)?, place)))
            .min();
        let Some((rank, place)) = best else {
            return ids;
        };
        ids.splice(place..place + 2, [merges[rank].2]);
    }
}

#[test]
fn reading_gives_what_merging_gives() {
    let mut random = Random::new(11);
    let (mut unlike_longest, mut never) = (0, 0);
    for _ in 0..60 {
        // Bytes, and merges of any two tokens whose text is new; some of these tokens never come about, as other merges are before theirs.
        let letters = 2 + random.below(3);
        let mut bytes: Vec<Vec<u8>> = (0..=255u8).map(|byte| vec![byte]).collect();
        let mut merges = Vec::new();
        let mut known: Vec<u16> = (0..letters)
            .map(|letter| u16::from(b'a') + u16::try_from(letter).unwrap())
            .collect();
        while merges.len() < 40 {
            let (left, right) = (
                known[random.below(known.len())],
                known[random.below(known.len())],
            );
            let text = [
                bytes[usize::from(left)].as_slice(),
                &bytes[usize::from(right)],
            ]
            .concat();
            if text.len() < 12 && !bytes.contains(&text) {
                let id = u16::try_from(bytes.len()).unwrap();
                merges.push((left, right, id));
                known.push(id);
                never += usize::from(merged(&text, &merges) != [id]);
                bytes.push(text);
            }
        }
        let table = merge::Merges::new(bytes.clone(), &merges).unwrap();
        let mut scratch = merge::Scratch::new();
        for _ in 0..300 {
            let most = [merge::NEAR, 200][random.below(8) / 7];
            let length = 1 + random.below(most);
            let word: Vec<u8> = (0..length)
                .map(|_| b'a' + u8::try_from(random.below(letters)).unwrap())
                .collect();
            let expected = merged(&word, &merges);
            let mut far = vec![7];
            table.encode_far(&word, &mut scratch, &mut far);
            assert!(
                far[1..]
                    .iter()
                    .map(|id| u16::try_from(*id).unwrap())
                    .eq(expected.iter().copied()),
                "{word:?} {merges:?}"
            );
            if length <= merge::NEAR {
                let mut near = [0; merge::NEAR];
                let count = table.encode_near(&word, &mut scratch, &mut near);
                assert_eq!(near[..count], expected, "{word:?} {merges:?}");
            }
            assert!(!scratch.was_lost());
            let longest = known
                .iter()
                .filter(|id| word.starts_with(&bytes[usize::from(**id)]));
            let longest = longest.max_by_key(|id| bytes[usize::from(**id)].len());
            unlike_longest += usize::from(longest != expected.first());
        }
    }
    assert!(
        unlike_longest > 1000 && never > 100,
        "{unlike_longest} {never}"
    );
}

#[test]
fn a_stretch_is_the_same_wherever_it_stands() {
    let stretches = [
        "слово",
        "मिया",
        "किया",
        "中文字",
        "字。",
        "「中」",
        "xⅧ",
        "½",
        "a\u{a0}",
        "\u{3000}中",
        "e\u{301}",
        "\u{301}e",
        "क\u{958}",
        "中𝅘𝅥𝅮𝅘𝅥𝅮𝅘𝅥𝅮𝅘𝅥𝅮𝅘𝅥𝅮𝅘𝅥𝅮",
        "후에는",
        "\u{1161}\u{11a8}",
        "größere",
        "の中です中です中ですの中です中です",
    ];
    let around = [
        "", " ", "  ", "\n", "\n\n ", "!", "=", "1", "'s", "'", "\u{301}", "\u{338}", "\u{a0}",
        "x", "中", "²",
    ];
    let gpt2: Value = serde_json::from_str(&definition()).unwrap();
    let mut falcon = gpt2.clone();
    falcon["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation", "behavior": "Contiguous"},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        {"type": "Digits", "individual_digits": false},
        {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": false}]});
    for (mut json, split) in [(gpt2, Split::Gpt2), (falcon, Split::Falcon)] {
        for normalizer in [Value::Null, json!({"type": "NFC"})] {
            json["normalizer"] = normalizer;
            let json = json.to_string();
            let (own, reference) = (
                Bpe::load(&json, split).unwrap(),
                Reference::load(&json).unwrap(),
            );
            // One memory for all: what it learnt in one place must hold in the next.
            for stretch in stretches {
                for (before, after) in around
                    .map(|one| around.map(|other| (one, other)))
                    .as_flattened()
                {
                    let text =
                        format!("{before}{stretch}{after}{stretch} {stretch}{after}-{stretch}");
                    assert!(
                        ids(&own, &text) == ids(&reference, &text),
                        "{split:?} {text:?}"
                    );
                }
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
    assert!(
        refused(&|json| {
            // The byte's old id goes to what is merged first, and the other way round.
            let vocab = json["model"]["vocab"].as_object_mut().unwrap();
            let last = vocab
                .iter()
                .max_by_key(|(_, id)| id.as_u64())
                .unwrap()
                .0
                .clone();
            let (byte, merged) = (vocab["a"].clone(), vocab[&last].clone());
            vocab.insert("a".to_owned(), merged);
            vocab.insert(last, byte);
        })
        .contains("id")
    );
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
