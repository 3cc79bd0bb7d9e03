//! Found is what is there, and nothing else: by hand, and against a set of n-grams as strings.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn options(n: usize, min_item_words: usize) -> DecontaminateOptions {
    DecontaminateOptions {
        n,
        min_item_words,
        ..DecontaminateOptions::default()
    }
}

fn index(options: &DecontaminateOptions, items: &[&str]) -> Index {
    let mut builder = Builder::new(options);
    builder.set("set");
    for (number, item) in items.iter().enumerate() {
        builder.item(number.to_string(), &[item], None).unwrap();
    }
    builder.build().unwrap()
}

fn found(index: &Index, text: &str) -> Vec<(String, String)> {
    let found = index.find(text);
    let of = found.iter().map(|found| {
        let item = index.item(found.item).1.to_owned();
        (item, text[found.start..found.end].to_owned())
    });
    of.collect()
}

const SENTENCE: &str = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many clips did Natalia sell altogether?";

#[test]
fn an_item_is_found_however_it_is_spaced_cased_and_punctuated() {
    let index = index(&options(13, 8), &[SENTENCE]);
    for text in [
        SENTENCE.to_owned(),
        SENTENCE.to_uppercase(),
        SENTENCE.replace(' ', " \n\t"),
        SENTENCE.replace([',', '.', '?'], ""),
        SENTENCE.replace(' ', ", - "),
    ] {
        let text = format!("Something before. {text} And after.");
        let found = index.find(&text);
        assert_eq!(found.len(), 1, "{text}");
        assert_eq!(&text[..found[0].start], "Something before. ");
        assert_eq!(found[0].matches, 27 - 13 + 1);
    }
    let changed = SENTENCE
        .replace("April", "June")
        .replace("many clips", "few clips");
    assert_eq!(index.find(&changed), []);
}

#[test]
fn thirteen_words_in_a_row_are_enough_and_twelve_are_not() {
    let index = index(&options(13, 8), &[SENTENCE]);
    let words: Vec<&str> = SENTENCE.split(' ').collect();
    let twelve = words[5..17].join(" ");
    assert_eq!(index.find(&twelve), []);
    let thirteen = words[5..18].join(" ");
    let found = index.find(&thirteen);
    assert_eq!((found[0].start, found[0].end), (0, thirteen.len()));
}

#[test]
fn an_n_gram_of_the_most_words_is_all_of_them() {
    let words: Vec<String> = (0..64).map(|i| format!("w{i}")).collect();
    let index = index(&options(64, 8), &[&words.join(" ")]);
    assert_eq!(index.find(&words.join(" ")).len(), 1);
    assert_eq!(index.find(&words[1..].join(" ")), []);
    assert_eq!(index.find(&words[..63].join(" ")), []);
}

#[test]
fn a_short_item_is_found_whole_or_not_at_all() {
    let index = index(
        &options(13, 8),
        &[
            "Which of these is not a metal at all? Wood",
            "too short to be sought",
        ],
    );
    assert_eq!(
        (index.sets()[0].items, index.sets()[0].sought),
        (2, 1),
        "four words stand everywhere"
    );
    let text = "they asked: WHICH of these is not a metal (at all)? Wood, he said";
    assert_eq!(
        found(&index, text),
        [(
            "0".to_owned(),
            "WHICH of these is not a metal (at all)? Wood".to_owned()
        )]
    );
    assert_eq!(
        index.find("Which of these is not a metal at all? Stone"),
        []
    );
    assert_eq!(index.find("too short to be sought"), []);
}

#[test]
fn fields_are_sought_each_by_itself_and_straddling_n_grams_with_the_whole() {
    let question = "one two three four five six seven eight nine ten eleven twelve";
    let answer = "ant bee cat dog eel fox gnu hen ibis jay kite lynx";
    let mut builder = Builder::new(&options(13, 8));
    builder.set("set");
    let whole = format!("Question: {question} Answer: {answer}");
    builder
        .item("0".to_owned(), &[question, answer], Some(&whole))
        .unwrap();
    let index = builder.build().unwrap();
    // Each field alone, whole; and a stretch over both.
    for (text, hits) in [
        (question.to_owned(), 1),
        (answer.to_owned(), 1),
        (
            "eight nine ten eleven twelve answer ant bee cat dog eel fox gnu".to_owned(),
            1,
        ),
        (question.replace("one ", "uno "), 0),
    ] {
        assert_eq!(index.find(&text).len(), hits, "{text}");
    }
}

#[test]
fn a_way_of_asking_is_no_item_but_an_item_that_has_nothing_else_is() {
    let asking = "please read the following text and say whether it is true or false";
    let items: Vec<String> = (0..20)
        .map(|i| format!("{asking} a{i} b{i} c{i} d{i}"))
        .collect();
    let mut all: Vec<&str> = items.iter().map(String::as_str).collect();
    let index_of = index(&options(13, 8), &all);
    assert_eq!(index_of.find(asking), []);
    for item in &items {
        assert_eq!(index_of.find(item).len(), 1, "{item}");
    }
    all.push(asking);
    let index_of = index(&options(13, 8), &all);
    assert_eq!(
        found(&index_of, asking),
        [("20".to_owned(), asking.to_owned())]
    );
}

#[test]
fn more_matches_may_be_asked_for_than_an_item_has() {
    let exact = "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12 a13";
    let mut wanted = options(13, 8);
    wanted.min_matches = 5;
    let index = index(&wanted, &[exact, SENTENCE]);
    assert_eq!(index.find(exact).len(), 1, "all that it has");
    let words: Vec<&str> = SENTENCE.split(' ').collect();
    assert_eq!(index.find(&words[..16].join(" ")), []);
    assert_eq!(index.find(&words[..17].join(" ")).len(), 1);
}

#[test]
fn what_is_cut_is_the_item_and_a_little_that_was_changed_in_it() {
    let mut wanted = options(5, 5);
    wanted.action = Action::Cut;
    wanted.min_left_characters = 10;
    let item = "a1 a2 a3 a4 a5 a6 a7 a8 a9 a10 a11 a12";
    let index = index(&wanted, &[item]);
    let text =
        "Some words stand before. A1 a2 a3 a4 a5, x6, a7 a8 a9 a10 a11 a12! Some stand after.";
    let Outcome::Cut(found, cuts) = judge(&index, text, false) else {
        panic!("not cut");
    };
    assert_eq!((found.len(), found[0].matches), (1, 3));
    assert_eq!(
        without(text, &cuts),
        "Some words stand before. ! Some stand after."
    );
    assert!(matches!(judge(&index, text, true), Outcome::Drop(_)));
    let bare = "So. A1 a2 a3 a4 a5, x6, a7 a8 a9 a10 a11 a12!";
    assert!(matches!(judge(&index, bare, false), Outcome::Drop(_)));
    assert_eq!(judge(&index, "nothing of it", false), Outcome::Clean);
}

#[test]
fn an_item_repeated_without_end_is_told_once_a_stretch() {
    let index = index(&options(5, 5), &["a b c d e"]);
    let text = "a b c d e ".repeat(10_000);
    let found = index.find(&text);
    assert_eq!((found.len(), found[0].matches), (1, 10_000));
}

#[test]
fn an_index_of_nothing_finds_nothing() {
    let index = index(&options(13, 8), &[]);
    assert!(index.is_empty());
    assert_eq!(judge(&index, SENTENCE, false), Outcome::Clean);
}

/// The n-grams of a text as strings. Split by another rule that is the same for plain letters.
fn grams(text: &str, n: usize) -> BTreeSet<String> {
    let words: Vec<String> = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    words.windows(n).map(|words| words.join(" ")).collect()
}

proptest! {
    #[test]
    fn a_text_is_hit_where_it_shares_an_n_gram_with_an_item(
        items in prop::collection::vec("([abAB]{1,2}[ ,.]{1,2}){3,12}", 1..4),
        text in "([abAB]{1,2}[ ,.]{1,2}){0,40}",
        n in 2usize..6,
    ) {
        let mut wanted = options(n, n);
        wanted.max_items = usize::MAX;
        let of_items: Vec<&str> = items.iter().map(String::as_str).collect();
        let index = index(&wanted, &of_items);
        let hit: BTreeSet<usize> = index
            .find(&text)
            .iter()
            .map(|found| index.item(found.item).1.parse().unwrap())
            .collect();
        let of_text = grams(&text, n);
        let mut seen = BTreeSet::new();
        let mut expected = BTreeSet::new();
        for (number, item) in items.iter().enumerate() {
            let plain: Vec<String> = grams(item, 1).into_iter().collect();
            prop_assert!(!plain.is_empty());
            let of_item = grams(item, n);
            let words = item.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
            let words: Vec<String> = words.map(str::to_ascii_lowercase).collect();
            // An item with the words of an earlier one is known by that.
            if seen.insert(words) && !of_item.is_disjoint(&of_text) {
                expected.insert(number);
            }
        }
        prop_assert_eq!(hit, expected);
    }

    #[test]
    fn any_text_is_judged_and_cut_at_characters(text in "\\PC{0,200}", item in "\\PC{0,60}") {
        let mut wanted = options(3, 2);
        wanted.action = Action::Cut;
        wanted.min_left_characters = 1;
        let index = index(&wanted, &[&item]);
        let all = format!("{text} {item} {text}");
        for text in [&all, &text] {
            match judge(&index, text, false) {
                Outcome::Cut(_, cuts) => {
                    let left = without(text, &cuts);
                    let cut: usize = cuts.iter().map(|cut| cut.end - cut.start).sum();
                    prop_assert_eq!(left.len() + cut, text.len());
                    prop_assert!(cuts.windows(2).all(|two| two[0].end < two[1].start));
                }
                Outcome::Drop(found) => prop_assert!(!found.is_empty()),
                Outcome::Clean => {}
            }
        }
    }
}
