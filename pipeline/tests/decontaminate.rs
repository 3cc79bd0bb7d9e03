//! A thousand items of real evaluation sets, planted in real web text with other case, punctuation and spacing.
//!
//! The samples are not part of the repository; where they are, they stand at `../shared/data`. Elsewhere the items and the
//! texts are made up, as many of them.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is missing"
)]
#![expect(clippy::print_stderr, reason = "a test says what it had to do without")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;

use andromeda_pipeline::decontaminate::{Builder, DecontaminateOptions, Index};
use flate2::read::MultiGzDecoder;
use fs_err as fs;
use serde_json::Value;

const PLANTED: usize = 1000;

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

fn lines(path: &Path) -> Vec<Value> {
    let file = fs::File::open(path).unwrap();
    let reader: Box<dyn BufRead> = match path.extension().is_some_and(|e| e == "gz") {
        true => Box::new(BufReader::new(MultiGzDecoder::new(file))),
        false => Box::new(BufReader::new(file)),
    };
    let lines = reader.lines();
    lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect()
}

fn field(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap().to_owned()
}

/// Items, each a list of fields, and texts to plant them in.
fn items_and_texts() -> (Vec<Vec<String>>, Vec<String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if !root.is_dir() {
        eprintln!("without {}: items and texts are made up", root.display());
        let mut random = Random(1);
        let mut text = |words: usize| -> String {
            let words = (0..words).map(|_| format!("w{}", random.below(1 << 20)));
            words.collect::<Vec<_>>().join(" ")
        };
        let items = (0..3000).map(|_| vec![text(20), text(9)]).collect();
        return (items, (0..PLANTED).map(|_| text(400)).collect());
    }
    let mut items = Vec::new();
    for (path, fields) in [
        ("evals/gsm8k/test.jsonl", ["question", "answer"]),
        (
            "evals/humaneval/HumanEval.jsonl.gz",
            ["prompt", "canonical_solution"],
        ),
        ("evals/math/test.jsonl.gz", ["problem", "solution"]),
    ] {
        let rows = lines(&root.join(path));
        items.extend(
            rows.iter()
                .map(|row| fields.map(|name| field(row, name)).to_vec()),
        );
    }
    let lambada = lines(&root.join("evals/lambada/lambada_test.jsonl"));
    items.extend(lambada.iter().map(|row| vec![field(row, "text")]));
    let c4 = lines(&root.join("hub/allenai/c4/en/c4-train.00000-of-01024.json.gz"));
    (items, c4.iter().map(|row| field(row, "text")).collect())
}

/// The text as another hand would have typed it: case, spacing and marks at random.
fn disguised(text: &str, random: &mut Random) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            c if c.is_whitespace() => {
                out.push_str([" ", "  ", "\n", "\t ", ", ", " - ", "\u{a0}"][random.below(7)]);
            }
            // Full stops and commas end or divide numbers too, so they become other marks and never nothing.
            '.' | ',' | ';' | ':' | '!' | '?' | '"' => {
                out.push([';', '!', '"', '*', '\u{2026}'][random.below(5)]);
            }
            c if random.below(3) == 0 => out.extend(c.to_uppercase().filter(|_| c.is_ascii())),
            c => out.push(c),
        }
    }
    out
}

fn index(items: &[Vec<String>]) -> Index {
    let mut builder = Builder::new(&DecontaminateOptions::default());
    builder.set("items");
    for (number, item) in items.iter().enumerate() {
        let fields: Vec<&str> = item.iter().map(String::as_str).collect();
        let whole = format!(
            "Question: {}\nAnswer: {}",
            fields[0],
            fields.last().unwrap()
        );
        builder
            .item(number.to_string(), &fields, Some(&whole))
            .unwrap();
    }
    builder.build().unwrap()
}

fn words(text: &str) -> usize {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .count()
}

#[test]
fn a_thousand_planted_items_are_found_and_nothing_else_is() {
    let (items, texts) = items_and_texts();
    assert!(items.len() >= 3000 && texts.len() >= PLANTED);
    let index = index(&items);
    let mut random = Random(2);
    // In the absence of items: nothing. Real web text could hold some, and none of these does.
    let hit: Vec<&String> = texts
        .iter()
        .filter(|text| !index.find(text).is_empty())
        .collect();
    assert_eq!(hit, Vec::<&String>::new());
    let mut planted = BTreeSet::new();
    let mut missed = Vec::new();
    for text in &texts[..PLANTED] {
        let mut number = random.below(items.len());
        // One that has words enough in its first field and was not planted before.
        while planted.contains(&number) || words(&items[number][0]) < 20 {
            number = random.below(items.len());
        }
        planted.insert(number);
        let item = disguised(&items[number][0], &mut random);
        let mut middle = text.len() / 2;
        while !text.is_char_boundary(middle) {
            middle -= 1;
        }
        let (before, after) = text.split_at(middle);
        let whole = format!("{before}\n\n{item}\n\n{after}");
        let found = index.find(&whole);
        // A word beside the item may stand beside it in another item too: two passages of one book.
        let there = before.len()..whole.len() - after.len();
        let inside = found
            .iter()
            .all(|f| f.start < there.end && f.end > there.start);
        assert!(
            inside,
            "{found:?} not in {there:?} of {whole:?}: {:?}",
            found.iter().map(|f| index.item(f.item)).collect::<Vec<_>>()
        );
        // Several items may share a text; one of them is named.
        if found.is_empty() {
            missed.push(number);
        }
    }
    assert_eq!(planted.len(), PLANTED);
    assert_eq!(missed, [0usize; 0]);
}
