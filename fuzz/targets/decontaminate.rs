//! A text that holds an item is found to hold it, wherever it stands; what is cut leaves the rest as it was.

#![no_main]

use andromeda_pipeline::decontaminate::words::for_each_word;
use andromeda_pipeline::decontaminate::{
    Action, Builder, DecontaminateOptions, Outcome, judge, without,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|texts: (&str, &str, &str)| {
    let (before, item, after) = texts;
    let options = DecontaminateOptions {
        n: 4,
        min_item_words: 2,
        action: Action::Cut,
        min_left_characters: 1,
        ..DecontaminateOptions::default()
    };
    let mut builder = Builder::new(&options);
    builder.set("set");
    builder.item("item".to_owned(), &[item], None).unwrap();
    let index = builder.build().unwrap();
    let mut words = 0;
    for_each_word(item, |_| {
        words += 1;
        true
    });
    // A separator on both sides, so that the item's words are words of the text.
    let text = format!("{before}\n{item}\n{after}");
    match judge(&index, &text, false) {
        Outcome::Clean => assert!(words < options.min_item_words, "{text:?}"),
        Outcome::Drop(found) => assert!(!found.is_empty()),
        Outcome::Cut(_, cuts) => {
            let cut: usize = cuts.iter().map(|cut| cut.end - cut.start).sum();
            assert_eq!(without(&text, &cuts).len() + cut, text.len());
        }
    }
});
